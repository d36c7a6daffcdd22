"""`python -m benchmarks.callbacks`: what callbacks that watch over a training cost.

Program A and the MLP (`cases.py`) train without a callback and with each, in turn, round after
round. A cost is the median over the rounds of a step's time with the callback by that without, in
seconds of the clock and in those of the processor, of all threads: on a machine with other work the
latter is the better measure.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cases import CASES, data
from benchmarks.models import make

FITS = {case.model: case for case in CASES if case.kind == "fit" and case.model != "B"}
WARM_UPS = 3


def hooks(folder: str) -> dict[str, Callable[[], list[Any]]]:
    """Name -> what makes the callbacks of a `fit`."""
    from carnyx import callbacks

    return {
        "none": list,
        "none again": list,  # how far chance goes
        "TerminateOnNaN()": lambda: [callbacks.TerminateOnNaN()],
        'BackupAndRestore("epoch")': lambda: [callbacks.BackupAndRestore(f"{folder}/epoch")],
        "BackupAndRestore(50)": lambda: [callbacks.BackupAndRestore(f"{folder}/steps", 50)],
    }


def measure(name: str, steps: int, rounds: int, folder: str) -> dict[str, tuple[float, float]]:
    """Callback -> (by the clock, by the processor) of a step with it by one without."""
    case, made = FITS[name], hooks(folder)
    x, y = data(name, case.batch * steps)
    model = make("carnyx", name).model
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in made}
    for number in range(-WARM_UPS, rounds):
        turn = number % len(made)
        for kind in [*made][turn:] + [*made][:turn]:
            callbacks = made[kind]()
            before = time.perf_counter(), time.process_time()
            model.fit(x, y, batch_size=case.batch, verbose=0, callbacks=callbacks)
            after = time.perf_counter(), time.process_time()
            if number >= 0:
                taken[kind].append((after[0] - before[0], after[1] - before[1]))
    wall, cpu = (statistics.median(t[i] for t in taken["none"]) / steps * 1e6 for i in (0, 1))
    print(f"{name}: a step without callbacks takes {wall:,.0f} us, {cpu:,.0f} us of processors")
    return {
        kind: tuple(
            statistics.median(t[i] / none[i] for t, none in zip(times, taken["none"], strict=True))
            for i in (0, 1)
        )
        for kind, times in taken.items()
    }  # type: ignore[return-value]  # two of them


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.callbacks", description=__doc__)
    parser.add_argument("--models", default=",".join(FITS), help="by comma")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a fit, about")
    options = parser.parse_args(argv)
    pace = {"A": 0.003, "MLP": 0.0003}  # seconds a step, about
    for name in options.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            steps = int(options.seconds / pace[name])
            for kind, (wall, cpu) in measure(name, steps, options.rounds, folder).items():
                print(f"  {kind:28s} {wall:6.3f} by the clock {cpu:6.3f} by the processor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
