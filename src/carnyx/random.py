"""Random numbers: seed generators, whose state is a Variable, and the draws from them.

A draw is a function of a key: uint32 (seed, count). `seed` may be an int (the same numbers at each
call), a `SeedGenerator` (the next numbers at each call) or None (the global generator's). The bits
are threefry's, so a seed gives the same numbers on every engine.
"""

from __future__ import annotations

import random as python_random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes
from carnyx.core.config import Configurable, unique_name
from carnyx.core.variable import Variable

_global: dict[str, Any] = {"generator": None}


def make_default_seed() -> int:
    """A seed for what was given none, drawn from Python's `random`."""
    return python_random.randint(1, int(1e9))


class SeedGenerator(Configurable):
    """A stream of keys: its state, uint32 (seed, count), is a Variable that every draw advances.

    As an attribute of a layer it is found and becomes a part of the Program's state.

    >>> generator = SeedGenerator(7)
    >>> [generator.next().tolist() for _ in range(2)]
    [[7, 0], [7, 1]]
    """

    is_seed_generator = True

    def __init__(self, seed: int | None = None, name: str | None = None, **_: Any) -> None:
        self.name = name or unique_name("seed_generator")
        self._given = seed
        self.initial_seed = make_default_seed() if seed is None else seed
        if not isinstance(self.initial_seed, (int, np.integer)):
            raise ValueError(f"SeedGenerator: a seed is a whole number or None. Received: {seed!r}")
        start = np.array([self.initial_seed % 2**32, 0], "uint32")
        self.state = Variable(start, trainable=False, autocast=False, name="seed_generator_state")

    def next(self, ordered: bool = True) -> Any:
        """The key now, uint32 [2]; the count goes up by one."""
        key = self.state.value
        self.state.assign(key + np.array([0, 1], "uint32"))
        return key

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._given}


def global_seed_generator() -> SeedGenerator:
    """The generator behind `seed=None`."""
    if _global["generator"] is None:
        _global["generator"] = SeedGenerator()
    return _global["generator"]


def set_random_seed(seed: int) -> None:
    """Seeds Python's `random`, NumPy's global generator and Carnyx: runs repeat bit for bit."""
    if not isinstance(seed, (int, np.integer)):
        raise ValueError(f"set_random_seed: expected a whole number. Received: {seed!r}")
    python_random.seed(int(seed))
    np.random.seed(int(seed) % 2**32)  # noqa: NPY002  # user programs draw from it
    _global["generator"] = SeedGenerator(int(seed), name="global_seed_generator")


def draw_seed(seed: Any) -> Any:
    """The key, uint32 [2], of an int, a SeedGenerator, a key, or None."""
    if seed is None:
        return global_seed_generator().next()
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, (int, np.integer)):
        return jnp.asarray(np.array([int(seed) % 2**32, 0], "uint32"))
    if hasattr(seed, "shape") and tuple(seed.shape) == (2,):
        return seed
    raise ValueError(f"A seed is an int, a SeedGenerator or None. Received: {seed!r}")


def normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normal numbers of that mean and standard deviation.

    >>> normal((2, 3), seed=1).shape
    (2, 3)
    """
    dtype = dtypes.standardize_dtype(dtype)
    return jax.random.normal(draw_seed(seed), tuple(shape), dtype) * stddev + mean


def uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Uniform numbers in [minval, maxval)."""
    dtype = dtypes.standardize_dtype(dtype)
    return jax.random.uniform(draw_seed(seed), tuple(shape), dtype, minval, maxval)


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Whole numbers in [minval, maxval)."""
    return jax.random.randint(draw_seed(seed), tuple(shape), minval, maxval, dtype)


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normal numbers, those farther than two standard deviations from the mean drawn anew."""
    dtype = dtypes.standardize_dtype(dtype)
    draws = jax.random.truncated_normal(draw_seed(seed), -2.0, 2.0, tuple(shape), dtype)
    return draws * stddev + mean


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Indices drawn with probabilities softmax(logits): [B, C] -> [B, num_samples]."""
    logits = jnp.asarray(logits)
    shape = (num_samples, *logits.shape[:-1])
    return jax.random.categorical(draw_seed(seed), logits, -1, shape).T.astype(dtype)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Each element kept with probability 1 - rate and then divided by it, else 0
    (Srivastava et al. 2014). `noise_shape` has 1 (or None: as the input) on axes that drop as one.
    """
    keep = 1.0 - rate
    shape = inputs.shape if noise_shape is None else _noise_shape(inputs, noise_shape)
    mask = jax.random.bernoulli(draw_seed(seed), keep, shape)
    return jnp.where(mask, inputs / jnp.asarray(keep, inputs.dtype), jnp.zeros((), inputs.dtype))


def _noise_shape(inputs: Any, noise_shape: Any) -> tuple[int, ...]:
    return tuple(
        n if given is None else given
        for n, given in zip(inputs.shape, noise_shape, strict=True)
    )


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """`x` with its slices along `axis` in random order."""
    return jax.random.permutation(draw_seed(seed), jnp.asarray(x), axis)


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Gamma numbers of shape parameter `alpha` and scale 1."""
    dtype = dtypes.standardize_dtype(dtype)
    return jax.random.gamma(draw_seed(seed), alpha, tuple(shape), dtype)


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Beta numbers."""
    dtype = dtypes.standardize_dtype(dtype)
    return jax.random.beta(draw_seed(seed), alpha, beta, tuple(shape), dtype)


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> Any:
    """How many of `counts` trials succeed, each with its probability."""
    dtype = dtypes.standardize_dtype(dtype)
    return jax.random.binomial(
        draw_seed(seed), jnp.asarray(counts, dtype), probabilities, tuple(shape), dtype
    )


__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "global_seed_generator",
    "normal",
    "randint",
    "set_random_seed",
    "shuffle",
    "truncated_normal",
    "uniform",
]
