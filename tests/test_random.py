"""Random numbers: Keras's for the same seed, the published threefry vectors, seeds as state."""

import functools
import random

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import carnyx
from carnyx.core.state import Scope, pure
from carnyx.ops import random as arithmetic

LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], "float32"))
X = jnp.arange(24, dtype="float32").reshape(4, 6) + 1
# name -> arguments; the seed is added.
DRAWS = {
    "normal": ((5, 3), 2.0, 0.5),
    "uniform": ((5, 3), -1.0, 2.0),
    "randint": ((5, 3), -4, 9),
    "truncated_normal": ((5, 3), 1.0, 2.0),
    "categorical": (LOGITS, 8),
    "dropout": (X, 0.3),
    "shuffle": (X, 1),
    "gamma": ((5, 3), 2.0),
    "binomial": ((5, 3), 10.0, 0.3),
    "beta": ((5, 3), 2.0, 3.0),
}
every_draw = pytest.mark.parametrize("name", DRAWS)


@every_draw
def test_same_numbers_as_keras(name: str):
    ours, theirs = (getattr(m.random, name)(*DRAWS[name], seed=7) for m in (carnyx, keras))
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@every_draw
def test_generator_and_global_seed_go_on_as_in_keras(name: str):
    streams = []
    for module in (carnyx, keras):
        module.utils.set_random_seed(3)
        draw, generator = getattr(module.random, name), module.random.SeedGenerator(5)
        seeds = (generator, generator, None, None)
        streams.append([np.asarray(draw(*DRAWS[name], seed=seed)) for seed in seeds])
    np.testing.assert_array_equal(*streams)
    first, second = streams[0][:2]
    assert not np.array_equal(first, second)


def test_dropout_shares_zeros_along_axes_of_one():
    for shape in ((4, 1), (None, 1), (1, 6)):
        ours, theirs = (
            m.random.dropout(X, 0.5, noise_shape=shape, seed=2) for m in (carnyx, keras)
        )
        np.testing.assert_array_equal(ours, theirs)
    rows = np.asarray(carnyx.random.dropout(X, 0.5, noise_shape=(None, 1), seed=2)) == 0
    assert (rows.all(axis=1) | ~rows.any(axis=1)).all()


def test_dropout_at_the_ends_of_its_rate():
    np.testing.assert_array_equal(carnyx.random.dropout(X, 0.0, seed=1), X)
    np.testing.assert_array_equal(carnyx.random.dropout(X, 1.0, seed=1), 0 * X)
    kept = np.asarray(carnyx.random.dropout(np.ones(100_000, "float32"), 0.25, seed=1)) != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.01)
    with pytest.raises(ValueError, match=r"rate is in \[0, 1\]"):
        carnyx.random.dropout(X, 1.5)


def test_threefry_gives_the_published_vectors():
    # Salmon et al. 2011, known answers of threefry2x32 with 20 rounds: counter, key, output
    rows = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ]
    for counter, key, expected in rows:
        words = arithmetic.threefry(key, *(np.array([c], np.uint32) for c in counter))
        assert tuple(int(word[0]) for word in words) == expected


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (40_000,)])
def test_numpy_draws_are_the_compiled_ones(shape: tuple):
    key = np.array([123, 4], np.uint32)
    bits = arithmetic.host_bits(key, int(np.prod(shape))).reshape(shape)
    np.testing.assert_array_equal(bits, jax.random.bits(key, shape, "uint32"))
    # as users compile it, also under --quick-compile: the optimiser fuses products with sums
    draw = functools.partial(jax.random.uniform, shape=shape, minval=-0.1, maxval=0.3)
    uniform = jax.jit(draw, compiler_options={"xla_backend_optimization_level": 3})(key)
    np.testing.assert_array_equal(arithmetic.host_uniform(key, shape, -0.1, 0.3), uniform)
    # XLA's float32 logarithm differs from NumPy's in the last bit
    np.testing.assert_array_max_ulp(
        arithmetic.host_normal(key, shape), np.asarray(jax.random.normal(key, shape)), 4
    )
    np.testing.assert_array_max_ulp(
        arithmetic.host_truncated_normal(key, shape),
        np.asarray(jax.random.truncated_normal(key, -2.0, 2.0, shape)),
        4,
    )


def test_generator_state_is_keras_s():
    ours, theirs = carnyx.random.SeedGenerator(9, name="g"), keras.random.SeedGenerator(9, name="g")
    for _ in range(3):
        np.testing.assert_array_equal(ours.next(), theirs.next())
    for _ in range(3):
        np.testing.assert_array_equal(ours.next(ordered=False), theirs.next(ordered=False))
    assert (ours.state.path, ours.state.dtype) == (theirs.state.path, theirs.state.dtype)
    assert ours.get_config() == theirs.get_config()
    assert not ours.state.trainable
    twin = carnyx.random.SeedGenerator.from_config(ours.get_config())
    np.testing.assert_array_equal(twin.state, [9, 0])


def test_generator_is_state_in_compiled_code():
    generator = carnyx.random.SeedGenerator(1)
    draw = jax.jit(pure(lambda: carnyx.random.uniform((4,), seed=generator), [generator.state]))
    values, drawn = [generator.state.value], []
    for _ in range(2):
        out, values = draw(values)
        drawn.append(np.asarray(out))
    np.testing.assert_array_equal(values[0], [1, 2])
    np.testing.assert_array_equal(generator.state, [1, 0])  # only values moved
    eager = [np.asarray(carnyx.random.uniform((4,), seed=generator)) for _ in range(2)]
    np.testing.assert_array_equal(drawn, eager)


def test_global_seed_is_refused_in_compiled_code():
    with pytest.raises(ValueError, match="SeedGenerator"):
        jax.jit(pure(lambda: carnyx.random.normal((2,)), []))([])
    with Scope(permissive=True):  # shape inference changes nothing
        assert carnyx.random.normal((2,)).shape == (2,)


def test_set_random_seed_seeds_python_and_numpy():
    drawn = []
    for _ in range(2):
        carnyx.utils.set_random_seed(11)
        unseeded = carnyx.random.SeedGenerator().next()
        drawn.append([random.random(), np.random.rand(), *np.asarray(unseeded)])
    assert drawn[0] == drawn[1]
    with pytest.raises(ValueError, match="whole number"):
        carnyx.utils.set_random_seed(-1)


def test_bad_seeds_are_refused():
    for seed in ("one", 1.5, True):
        with pytest.raises(ValueError, match="seed is"):
            carnyx.random.normal((2,), seed=seed)
        with pytest.raises(ValueError, match="seed is"):
            carnyx.random.SeedGenerator(seed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\[B, C\]"):
        carnyx.random.categorical(LOGITS[0], 2)
