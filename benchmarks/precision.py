"""`python -m benchmarks.precision`: float32 beside bfloat16, where products take the time.

Three Dense layers of 1024 units, 4,096 rows in batches of 256; medians of interleaved rounds.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import carnyx
from carnyx import layers

POLICIES = ("float32", "mixed_bfloat16", "bfloat16")
ROWS, BATCH, UNITS, ROUNDS = 4096, 256, 1024, 7


def model(policy: str) -> carnyx.Sequential:
    made = carnyx.Sequential([layers.Input((UNITS,))])
    for _ in range(3):
        made.add(layers.Dense(UNITS, "relu", dtype=policy))
    made.add(layers.Dense(10, dtype="float32"))
    made.compile("sgd", "mse")
    return made


def main() -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, UNITS)).astype("float32")
    y = np.zeros((ROWS, 10), "float32")
    models = {policy: model(policy) for policy in POLICIES}
    spent: dict[tuple[str, str], list[float]] = {}
    for _ in range(1 + ROUNDS):
        for policy, made in models.items():
            for name, run in (("fit", made.fit), ("predict", made.predict)):
                data = (x, y) if name == "fit" else (x,)
                start = time.perf_counter()
                run(*data, batch_size=BATCH, verbose=0)
                spent.setdefault((name, policy), []).append(time.perf_counter() - start)
    for name in ("fit", "predict"):
        times = {policy: statistics.median(spent[name, policy][1:]) for policy in POLICIES}
        shown = (f"{p} {1e3 * t:.0f} ms ({t / times['float32']:.2f})" for p, t in times.items())
        print(f"{name}:", ", ".join(shown))


if __name__ == "__main__":
    main()
