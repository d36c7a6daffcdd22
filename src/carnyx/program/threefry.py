"""Random numbers as integer arithmetic: threefry-2x32 with 20 rounds.

Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3". The n-th number
of a shape is a function of the key and of n alone, so any engine can make it. Keys are uint32
[..., 2]; the numbers are those of `jax.random` with its partitionable threefry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# The rotation distances of even and of odd groups of four rounds, and the key schedule's constant.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


def block(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """The block function: two words of key and two of counter -> two uint32 of their shape."""
    schedule = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            x0 = x0 + x1
            left = lax.shift_left(x1, jnp.full_like(x1, distance))
            right = lax.shift_right_logical(x1, jnp.full_like(x1, 32 - distance))
            x1 = x0 ^ (left | right)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def _over_keys(fn: Callable[..., Any], *batched: Any) -> Any:
    """`fn` of one key (and what goes with it), mapped over the leading axes of many."""
    for _ in range(batched[0].ndim - 1):
        fn = jax.vmap(fn)
    return fn(*batched)


def _counters(shape: Sequence[int]) -> tuple[Any, Any]:
    """Each element's number in two words; the high one is 0 below 2^32 elements."""
    size = int(np.prod(shape))
    if size >= 2**32:
        raise ValueError(f"Random arrays have fewer than 2^32 elements. Received shape {shape}.")
    low = lax.iota(jnp.uint32, size).reshape(tuple(shape))
    return jnp.zeros_like(low), low


def random_bits(key: Any, width: int, shape: Sequence[int]) -> Any:
    """Unsigned integers of `width` bits: keys [..., 2] -> [..., *shape]."""

    def bits(key: Any) -> Any:
        b0, b1 = block(key[0], key[1], *_counters(shape))
        if width == 64:
            return lax.shift_left(b0.astype("uint64"), np.uint64(32)) | b1.astype("uint64")
        word = b0 ^ b1
        return word if width == 32 else word.astype(f"uint{width}")

    return _over_keys(bits, key)


def split(key: Any, shape: Sequence[int]) -> Any:
    """New keys: keys [..., 2] -> [..., *shape, 2]."""
    return _over_keys(
        lambda k: jnp.stack(block(k[0], k[1], *_counters(shape)), axis=-1), key
    )


def fold_in(key: Any, data: Any) -> Any:
    """The key that belongs to a number: keys [..., 2] and integers [...] -> [..., 2]."""

    def fold(key: Any, number: Any) -> Any:
        return jnp.stack(block(key[0], key[1], *seed(number)), axis=-1)

    return _over_keys(fold, key, data)


def seed(number: Any) -> Any:
    """The key of a seed: integers [...] -> [..., 2], the high word first."""
    low = number.astype("uint32")
    high = jnp.zeros_like(low)
    if number.dtype.itemsize == 8:
        high = lax.shift_right_logical(number, np.asarray(32, number.dtype)).astype("uint32")
    return jnp.stack([high, low], axis=-1)
