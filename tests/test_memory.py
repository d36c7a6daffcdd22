"""Nothing is left of a model that is dropped, and nothing of a call that is over.

Each test runs in a process of its own, whose memory nothing else has used.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

COMMON = """
import gc, json, os, resource, sys
import numpy as np
import carnyx
from carnyx import layers

x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = np.arange(64) % 2

def memory():
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize() / 2**20
    every = gc.get_objects()
    own = sum(str(type(o).__module__).startswith("carnyx") for o in every)
    return resident, len(every), own
"""

MODELS = """
def one():
    model = carnyx.Sequential(
        [layers.Dense(16, "relu"), layers.Dropout(0.1), layers.Dense(1, "sigmoid")]
    )
    model.compile("adam", "binary_crossentropy", metrics=["mae"])
    model.fit(x, y, batch_size=32, verbose=0)

found = []
for _ in range(int(sys.argv[1])):
    one()
    found.append(memory())
print(json.dumps(found))
"""

PREDICT = """
model = carnyx.Sequential([carnyx.Input((8,)), layers.Dense(16, "relu"), layers.Dense(2)])
rows = np.random.default_rng(1).permutation(np.arange(1000) % 20 + 1)
compiled = []
compile_ = model.executor.engine.compile
model.executor.engine.compile = lambda *a, **k: compiled.append(a) or compile_(*a, **k)

def calls(sizes):
    for size in sizes:
        model.predict(x[:size], verbose=0)
    return (*memory(), len(compiled))

print(json.dumps([calls([*range(1, 21)] * 2), calls(rows)]))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def run(script: str, *arguments: Any) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", COMMON + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("first", "count"), [(3, 8), pytest.param(10, 200, marks=pytest.mark.slow)]
)
def test_dropped_models_leave_nothing(first: int, count: int) -> None:
    """Of the resident size, 50 MB are granted to the allocators of Python and LLVM. Of a model's
    thousands of objects none of ours may stay; JAX's caches, which have limits, keep about 20."""
    found = run(MODELS, count)
    resident, objects, own = found[first - 1]
    later, more, still = found[-1]
    assert still == own and own < 1000
    assert more - objects < 50 * count
    assert later - resident < 50


def test_predictions_leave_nothing() -> None:
    (resident, objects, own, compiled), (later, more, still, again) = run(PREDICT)
    assert compiled == again == 20
    assert still == own and more - objects < 100
    assert later - resident < 20
