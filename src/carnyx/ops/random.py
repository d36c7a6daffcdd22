"""The arithmetic of randomness: counter-based bits and the distributions made of them.

Every function here is pure: a key (uint32[2]) in, numbers out; the same key gives the same numbers
on every engine. Where keys come from (seeds, generators, the global seed) is `carnyx/random.py`,
which is also the public face of these functions.

There are two ways to the same bits. `jax.random` serves traced code. Code that runs once, as the
initializers of weights do, takes `host_*`: NumPy, because compiling a program for every new shape
(0.2 to 2 s) would take far longer than the numbers themselves.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
CHUNK = 1 << 14  # counters hashed at once: three such arrays stay in the first-level caches
HOST_LIMIT = 1 << 23  # above this many numbers, compiling costs less than what NumPy loses

# erf^-1(x) = x p(w), w = -ln(1 - x^2): p for w < 5 in powers of w - 2.5, and for w >= 5 in powers
# of sqrt(w) - 3, highest power first (Giles 2010, "Approximating the erfinv function", table 5).
ERFINV_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
ERFINV_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def threefry(key: Any, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with 20 rounds: hashes the counters (high, low) under a key, in NumPy.

    Each round is x0 += x1; x1 = rotate(x1, r) ^ x0; after every fourth the next two of the three
    key words (the third is k0 ^ k1 ^ parity) and the count of such steps are added.
    Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".

    >>> zero = np.zeros(1, "uint32")
    >>> [hex(int(word[0])) for word in threefry((0, 0), zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    k0, k1 = (int(word) for word in key)
    keys = [np.uint32(k) for k in (k0, k1, k0 ^ k1 ^ PARITY)]
    x0, x1 = high + keys[0], low + keys[1]
    spare = np.empty_like(x1)
    for step in range(5):
        for rotation in ROTATIONS[step % 2]:
            x0 += x1
            np.left_shift(x1, np.uint32(rotation), out=spare)
            np.right_shift(x1, np.uint32(32 - rotation), out=x1)
            x1 |= spare
            x1 ^= x0
        x0 += keys[(step + 1) % 3]
        # words wrap around by design; np.uint32 scalars would warn about it
        x1 += np.uint32((int(keys[(step + 2) % 3]) + step + 1) & 0xFFFFFFFF)
    return x0, x1


def host_bits(key: Any, size: int) -> np.ndarray:
    """`size` random uint32: both words of the hash of 0, 1, 2..., xor-ed."""
    out = np.empty(size, np.uint32)
    for start in range(0, size, CHUNK):
        counts = np.arange(start, min(start + CHUNK, size), dtype=np.uint64)
        high, low = (counts >> np.uint64(32)).astype(np.uint32), counts.astype(np.uint32)
        x0, x1 = threefry(key, high, low)
        np.bitwise_xor(x0, x1, out=out[start : start + CHUNK])
    return out


def host_uniform(key: Any, shape: Any, minval: Any = 0.0, maxval: Any = 1.0) -> np.ndarray:
    """float32 numbers, uniform in [minval, maxval): 23 random bits as the mantissa of [1, 2)."""
    low, high = np.float32(minval), np.float32(maxval)
    bits = host_bits(key, math.prod(shape))
    bits >>= np.uint32(9)
    bits |= np.uint32(0x3F800000)
    numbers = bits.view(np.float32)
    numbers -= np.float32(1)
    # float64 holds the product exactly, so that this rounds once, as a fused multiply-add does
    scaled = numbers.astype(np.float64)
    scaled *= np.float64(high - low)
    scaled += np.float64(low)
    return np.maximum(low, scaled.astype(np.float32)).reshape(shape)


def _horner(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """The polynomial in float32, each step rounded once, as a fused multiply-add does."""
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = (total.astype(np.float64) * x + np.float32(c)).astype(np.float32)
    return total


def _host_erfinv(x: np.ndarray) -> np.ndarray:
    # x^2 is rounded to float32 as in XLA: near +-1 the logarithm magnifies that rounding 100-fold
    w = -np.log1p(-(x * x).astype(np.float64)).astype(np.float32)
    out = _horner(ERFINV_CENTRE, w - np.float32(2.5))
    tail = w >= 5
    out[tail] = _horner(ERFINV_TAIL, np.sqrt(w[tail]) - np.float32(3))
    return out * x


def host_normal(key: Any, shape: Any) -> np.ndarray:
    """float32 numbers of mean 0 and standard deviation 1: sqrt(2) erf^-1(u), u in (-1, 1)."""
    low = np.nextafter(np.float32(-1), np.float32(0))
    flat = host_uniform(key, (math.prod(shape),), low, 1.0)
    return (np.float32(math.sqrt(2)) * _host_erfinv(flat)).reshape(shape)


def host_truncated_normal(key: Any, shape: Any) -> np.ndarray:
    """As `host_normal`, all within two standard deviations."""
    edge = np.float32(math.erf(math.sqrt(2)))
    flat = host_uniform(key, (math.prod(shape),), -edge, edge)
    end = np.nextafter(np.float32(2), np.float32(0))
    return np.clip(np.float32(math.sqrt(2)) * _host_erfinv(flat), -end, end).reshape(shape)


def placed(array: np.ndarray) -> Any:
    """A fresh NumPy array as a JAX one. `jnp.asarray` would compile a copy for every new shape."""
    return jax.device_put(np.asarray(array, order="C"))


def on_host(key: Any, shape: Any, dtype: str) -> bool:
    """Whether `host_*` may make these numbers: a known key, float32, not too many."""
    known = not isinstance(key, Tracer)
    return known and dtype == "float32" and math.prod(shape) <= HOST_LIMIT


def keep_mask(key: Any, rate: float, shape: Any) -> Any:
    """bool `shape`, False with probability `rate`: 23 random bits compared as integers."""
    kept = math.ceil(float(np.float32(1.0 - rate)) * 2**23)
    return jax.random.bits(key, tuple(shape), "uint32") >> 9 < jnp.uint32(kept)


def dropout(key: Any, inputs: Any, rate: float, noise_shape: Any = None) -> Any:
    """Zeroes a share `rate` of the inputs and divides the others by 1 - rate."""
    if rate == 1.0:
        return jnp.zeros_like(inputs)
    noise = inputs.shape
    if noise_shape is not None:
        noise = tuple(
            own if given is None else given
            for own, given in zip(inputs.shape, noise_shape, strict=True)
        )
    mask = jnp.broadcast_to(keep_mask(key, rate, noise), inputs.shape)
    return jnp.where(mask, inputs / (1.0 - rate), jnp.zeros_like(inputs))
