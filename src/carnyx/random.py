"""Random numbers: seed generators, whose state is a Variable, and the draws from them.

The arithmetic below the draws, and its NumPy twin for weights, is in `ops/random.py`.

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

from carnyx.core import dtypes, state
from carnyx.core.config import Configurable, unique_name
from carnyx.core.variable import Variable
from carnyx.ops import random as _ops

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

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ValueError(f"SeedGenerator: a seed is a whole number or None. Received: {seed!r}")
        self.name = name or unique_name("seed_generator")
        start = make_default_seed() if seed is None else int(seed)
        with state.name_scope(self.name):
            self.state = Variable(
                np.array([start % 2**32, 0], "uint32"),
                trainable=False,
                autocast=False,
                name="seed_generator_state",
            )
        self.state.kind = "seed"

    def next(self, ordered: bool = True) -> Any:
        """The key now, uint32 [2]; the state moves on.

        `ordered` counts the second word up. Otherwise both words are scattered over [0, 933199),
        as Keras does for its global generator.
        """
        key = self.state.value
        if ordered:
            self.state.assign(key + np.array([0, 1], "uint32"))
        else:
            self.state.assign((key + np.uint32(1)) * np.uint32(5387) % np.uint32(933199))
        return key


def global_seed_generator() -> SeedGenerator:
    """The generator behind `seed=None`.

    Raises ValueError in code that is being compiled: the numbers would be the same at every step.
    """
    if any(not scope.permissive for scope in state.context.scopes):
        raise ValueError(
            "A random function was called with seed=None in code that is being compiled, which "
            "would give the same numbers at every step. Keep a generator as an attribute of the "
            "layer, `self.seeds = carnyx.random.SeedGenerator()`, and pass `seed=self.seeds`."
        )
    if _global["generator"] is None:
        _global["generator"] = SeedGenerator()
    return _global["generator"]


def set_random_seed(seed: int) -> None:
    """Seeds Python's `random`, NumPy's global generator and Carnyx: runs repeat bit for bit."""
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"set_random_seed: a whole number in [0, 2^32). Received: {seed!r}")
    python_random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002  # user programs draw from it
    _global["generator"] = None  # made anew when it is needed, from Python's `random`


def draw_seed(seed: Any) -> Any:
    """The key, uint32 [2], of an int, a SeedGenerator, a key, or None."""
    if seed is None:
        return global_seed_generator().next(ordered=False)
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return np.array([int(seed) % 2**32, 0], "uint32")
    if isinstance(seed, (jax.Array, np.ndarray)) and tuple(seed.shape) == (2,):
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
    """Indices drawn with probabilities softmax(logits): [B, C] -> [B, num_samples].

    >>> categorical([[0.0, -100.0], [-100.0, 0.0]], 3, seed=1).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    logits = jnp.asarray(logits)
    if logits.ndim != 2:
        raise ValueError(f"categorical: logits are [B, C]. Received shape {logits.shape}")
    # the layout of the draws, samples before classes, is the one that Keras's numbers come from
    shape = (logits.shape[0], num_samples)
    drawn = jax.random.categorical(draw_seed(seed), logits[..., None], axis=1, shape=shape)
    return drawn.astype(dtypes.standardize_dtype(dtype))


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Each element kept with probability 1 - rate and then divided by it, else 0
    (Srivastava et al. 2014). `noise_shape` has 1 (or None: as the input) on axes that drop as one.

    >>> sorted(set(dropout(jnp.ones(50), 0.5, seed=1).tolist()))
    [0.0, 2.0]
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout: rate is in [0, 1]. Received: {rate!r}")
    inputs = jnp.asarray(inputs)
    return inputs if rate == 0 else _ops.dropout(draw_seed(seed), inputs, rate, noise_shape)


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """The elements along `axis` in random order, each line of the other axes in its own.

    >>> sorted(shuffle([1, 2, 3], seed=1).tolist())
    [1, 2, 3]
    """
    return jax.random.permutation(draw_seed(seed), jnp.asarray(x), axis, independent=True)


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Gamma numbers of shape parameter `alpha` > 0 and scale 1."""
    dtype = dtypes.standardize_dtype(dtype)
    return jax.random.gamma(draw_seed(seed), jnp.asarray(alpha), tuple(shape), dtype)


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Beta numbers, in (0, 1), of parameters `alpha`, `beta` > 0."""
    dtype = dtypes.standardize_dtype(dtype)
    alpha, beta = jnp.asarray(alpha), jnp.asarray(beta)
    return jax.random.beta(draw_seed(seed), alpha, beta, tuple(shape), dtype)


def binomial(
    shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Any:
    """How many of `counts` trials succeed, each with its probability.

    >>> binomial((3,), 5, 1.0, seed=1).tolist()
    [5.0, 5.0, 5.0]
    """
    dtype = dtypes.standardize_dtype(dtype)
    counts, chances = jnp.asarray(counts), jnp.asarray(probabilities)
    return jax.random.binomial(draw_seed(seed), counts, chances, tuple(shape), dtype)


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
