"""Activations against Keras: values and gradients, argument by argument; names and configs."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import carnyx
from carnyx import activations
from carnyx.core.symbol import KerasTensor

GRID = np.concatenate([np.linspace(-7, 7, 57), [-60.0, 60.0]]).astype("float32")
ROWS = np.random.default_rng(0).normal(size=(5, 8)).astype("float32") * 2
ALONG_AXIS = ("softmax", "log_softmax", "sparsemax", "glu")
ARGUMENTS: dict[str, list[dict]] = {
    "relu": [
        {"negative_slope": 0.3},
        {"max_value": 2.0},
        {"max_value": 6},
        {"threshold": 1.1},
        {"negative_slope": 0.3, "max_value": 2.0, "threshold": 0.7},
        {"negative_slope": 0.3, "threshold": -0.7},
    ],
    "leaky_relu": [{"negative_slope": 0.01}],
    "elu": [{"alpha": 0.5}],
    "celu": [{"alpha": 2.0}],
    "gelu": [{"approximate": True}],
    "squareplus": [{"b": 2.0}],
    "hard_shrink": [{"threshold": 1.1}],
    "soft_shrink": [{"threshold": 1.1}],
    "threshold": [{"threshold": 1.1, "default_value": -2.0}],
    "softmax": [{"axis": 0}],
    "log_softmax": [{"axis": 0}],
    "glu": [{"axis": 1}],
}
CASES = [
    (name, kwargs)
    for name in activations.TABLE
    for kwargs in ([] if name == "threshold" else [{}]) + ARGUMENTS.get(name, [])
]
# Keras's sparsemax adds up cumulative sums where the paper adds up the largest elements.
AS_KERAS = [(name, kwargs) for name, kwargs in CASES if name != "sparsemax"]


@pytest.mark.parametrize(
    ("name", "kwargs"), AS_KERAS, ids=[f"{n}-{'-'.join(map(str, k))}" for n, k in AS_KERAS]
)
def test_value_and_gradient_are_keras_s(name: str, kwargs: dict):
    x = jnp.asarray(ROWS if name in ALONG_AXIS else GRID)
    ours, theirs = (getattr(m.activations, name) for m in (carnyx, keras))
    y, pull = jax.vjp(lambda x: ours(x, **kwargs), x)
    expected, pull_theirs = jax.vjp(lambda x: theirs(x, **kwargs), x)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=y.shape).astype("float32"))
    np.testing.assert_allclose(pull(cotangent)[0], pull_theirs(cotangent)[0], rtol=2e-6, atol=2e-6)


def _sparsemax(z: np.ndarray) -> np.ndarray:
    """Projection onto the simplex by bisection of t in sum(max(z - t, 0)) = 1."""
    low, high = z.min() - 1, z.max()
    for _ in range(60):
        t = (low + high) / 2
        low, high = (t, high) if np.maximum(z - t, 0).sum() > 1 else (low, t)
    return np.maximum(z - t, 0)


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    expected = [_sparsemax(row) for row in ROWS.astype("float64")]
    np.testing.assert_allclose(activations.sparsemax(ROWS), expected, atol=1e-6)
    np.testing.assert_allclose(activations.sparsemax(ROWS.T, axis=0).T, expected, atol=1e-6)
    # its derivative projects on the support: the mean there is taken off
    support = np.asarray(expected[0]) > 0
    direction = np.random.default_rng(2).normal(size=8).astype("float32")
    _, slope = jax.jvp(activations.sparsemax, (jnp.asarray(ROWS[0]),), (jnp.asarray(direction),))
    mean = direction[support].mean()
    np.testing.assert_allclose(slope, np.where(support, direction - mean, 0), atol=1e-6)


def test_softmax_over_several_axes_and_of_large_numbers():
    x = np.stack([ROWS, ROWS + 1000])
    e = np.exp((x - x.max(axis=(1, 2), keepdims=True)).astype("float64"))
    expected = e / e.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(activations.softmax(x, axis=(1, 2)), expected, rtol=2e-6, atol=1e-7)


FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "exponential": np.exp,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str):
    expected = FORMULAS[name](GRID.astype("float64"))
    np.testing.assert_allclose(activations.get(name)(GRID), expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, kwargs in CASES if not kwargs])
def test_takes_symbols_lists_variables_and_half_types(name: str):
    function, x = activations.get(name), ROWS[0]
    expected = function(jnp.asarray(x))
    np.testing.assert_array_equal(function(x.tolist()), expected)
    np.testing.assert_array_equal(function(carnyx.Variable(x)), expected)
    assert function(jnp.asarray(x, "bfloat16")).dtype == "bfloat16"
    symbol = function(KerasTensor((None, 8)))
    assert symbol.shape == (None, 4 if name == "glu" else 8)
    assert isinstance(symbol, KerasTensor)


@pytest.mark.parametrize("name", list(activations.TABLE))
def test_names_and_configs(name: str):
    function = activations.get(name)
    assert getattr(activations, name) is function
    serialized = activations.serialize(function)
    assert serialized == keras.activations.serialize(getattr(keras.activations, name))
    assert activations.deserialize(serialized) is function
    assert activations.get(function) is function


def test_own_functions():
    @carnyx.saving.register_keras_serializable("tests_activations")
    def doubled(x):
        return 2 * x

    config = activations.serialize(doubled)
    assert activations.deserialize(config) is doubled
    assert activations.get(None) is activations.linear
    with pytest.raises(ValueError, match="(?i)did you mean 'relu'"):
        activations.get("rleu")
    with pytest.raises(TypeError, match="activation"):
        activations.get(3)
