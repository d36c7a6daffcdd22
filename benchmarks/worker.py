"""One framework's process: reads requests as lines of JSON, answers with lines of JSON.

Started by __main__.py as `python -m benchmarks.worker FRAMEWORK`. It stays alive between requests,
so that the frameworks take turns while their compiled programs stay warm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.cases import CASES, CHARS, MAXLEN, Case, data
from benchmarks.models import make

WARM_UPS = 2
PREDICT_SECONDS, PREDICT_CALLS = 0.5, 200
GENERATE_SECONDS, GENERATED = 3.0, 400


class Worker:
    """Models and data of one framework, made when a case first asks for them."""

    def __init__(self, framework: str):
        self.framework = framework
        self.ready: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {}

    def measure(self, case: Case) -> float:
        """Milliseconds a step or a call, or seconds, as the case's unit says."""
        return getattr(self, f"_{case.kind}")(case)

    def _get(self, case: Case, warm_up: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        if case.name not in self.ready:
            prepared = (
                make(self.framework, case.model),
                *data(case.model, case.batch * case.steps),
            )
            for _ in range(WARM_UPS):
                warm_up(*prepared)
            self.ready[case.name] = prepared
        return self.ready[case.name]

    def _fit(self, case: Case) -> float:
        model, x, y = self._get(case, lambda model, x, y: model.fit(x, y, case.batch))
        start = time.perf_counter()
        model.fit(x, y, case.batch)
        return (time.perf_counter() - start) / case.steps * 1e3

    def _predict(self, case: Case) -> float:
        model, x, _ = self._get(case, lambda model, x, _: model.predict(x))
        start, calls = time.perf_counter(), 0
        while calls < PREDICT_CALLS and time.perf_counter() - start < PREDICT_SECONDS:
            model.predict(x)
            calls += 1
        return (time.perf_counter() - start) / calls * 1e3

    def _generate(self, case: Case) -> float:
        """Seconds for 400 characters; a slow framework's are extrapolated from the first 3 s."""
        model, _, _ = self._get(case, lambda model, x, _: model.predict(x.astype("float64")))
        rng, window = np.random.default_rng(0), [0] * MAXLEN
        start, made = time.perf_counter(), 0
        while made < GENERATED and time.perf_counter() - start < GENERATE_SECONDS:
            sampled = np.zeros((1, MAXLEN, CHARS))
            for t, code in enumerate(window):
                sampled[0, t, code] = 1.0
            preds = model.predict(sampled)[0].astype("float64")
            window = [*window[1:], int(rng.multinomial(1, preds / preds.sum()).argmax())]
            made += 1
        return (time.perf_counter() - start) / made * GENERATED

    def _first_step(self, case: Case) -> float:
        """Only the step; the caller has timed this whole process, import and all."""
        model = make(self.framework, case.model)
        model.fit(*data(case.model, case.batch), case.batch)
        return 0.0


def serve(measure: Callable[[Case], float], cases: Sequence[Case]) -> None:
    """Answer requests until the input ends. Whatever a framework prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    named = {case.name: case for case in cases}
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"value": measure(named[json.loads(line)["case"]])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    serve(Worker(sys.argv[1]).measure, CASES)
