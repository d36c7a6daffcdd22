"""Blocks for data of the host: used again, and never while anything still reads them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from carnyx.engines import xla
from carnyx.engines.xla import XLAEngine

SIZE = xla.LARGE + 1000


def numbers(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype("float32")


def place(array: jax.Array) -> int:
    return array.unsafe_buffer_pointer() // xla.ALIGNMENT


def blocks(engine: XLAEngine) -> int:
    gc.collect()
    return len(engine._memory._kept)


def test_a_block_that_nothing_uses_is_used_again() -> None:
    engine = XLAEngine()
    first = engine.put(numbers(1))
    where = place(first)
    assert blocks(engine) == 0
    del first
    assert blocks(engine) == 1
    second = engine.put(numbers(2, SIZE - 7))
    assert place(second) == where and blocks(engine) == 0
    np.testing.assert_array_equal(second, numbers(2, SIZE - 7))


@pytest.mark.parametrize(
    "use",
    [
        lambda a: a,
        lambda a: np.asarray(a),  # a view, which XLA gives without copying
        lambda a: np.asarray(a)[5:].reshape(-1, 1)[:, 0],
        lambda a: jax.device_put(a),
        lambda a: jnp.asarray(a),
        lambda a: jax.dlpack.from_dlpack(a),
    ],
)
def test_a_block_in_use_is_let_alone(use: Callable[[Any], Any]) -> None:
    engine = XLAEngine()
    array = engine.put(numbers(1))
    kept = use(array)
    before = np.array(kept)
    del array
    others = [engine.put(numbers(seed)) for seed in range(2, 6)]
    np.testing.assert_array_equal(kept, before)
    assert len(others) == 4


def test_a_donated_block_is_not_given_to_others() -> None:
    engine = XLAEngine()
    step = jax.jit(lambda w: w + 1, donate_argnums=0)
    w = engine.put(numbers(1))
    for seed in range(2, 6):
        w = step(w)
        gc.collect()
        engine.put(numbers(seed)).block_until_ready()
    np.testing.assert_array_equal(w, (((numbers(1) + 1) + 1) + 1) + 1)


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla, "KEPT_BYTES", 10 * SIZE)
    engine = XLAEngine()
    arrays = [engine.put(numbers(seed)) for seed in range(4)]
    assert len({place(array) for array in arrays}) == 4
    arrays.clear()
    assert blocks(engine) == 2  # of 4 SIZE bytes each
    large = engine.put(numbers(1, 4 * SIZE))
    np.testing.assert_array_equal(large, numbers(1, 4 * SIZE))
    del large
    assert blocks(engine) == 0  # it alone is more than the bound, and came last
