"""Operations: the table's promises, on arrays, Variables, lists and KerasTensors."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import ops
from carnyx.core.symbol import KerasTensor
from carnyx.ops import core, math, nn, numpy

HOMES = (core, math, nn, numpy)
RNG = np.random.default_rng(0)
POSITIVE = RNG.uniform(1, 2, (2, 3)).astype("float32")
DOMAIN = {"arccos", "arcsin", "arctanh", "erfinv"}  # of [-1, 1]
WHOLE = {"bitwise_not"}
ONE = [(home, name) for home in (math, nn, numpy) for name in home.ONE]
SCIPY = {"erf", "erfinv", "rsqrt"}


def argument(name):
    return POSITIVE / 3 if name in DOMAIN else POSITIVE


@pytest.mark.parametrize("name", [n for _, n in ONE if n not in WHOLE])
def test_elementwise_on_all_kinds_of_tensors(name):
    x, operation = argument(name), getattr(ops, name)
    y = operation(x)
    np.testing.assert_allclose(operation(carnyx.Variable(x)), y)
    np.testing.assert_allclose(operation(x.tolist()), y, rtol=1e-6)
    symbol = operation(KerasTensor((None, 3)))
    assert symbol.shape[-1:] == y.shape[-1:] or name == "ravel"
    assert symbol.dtype == y.dtype.name
    if hasattr(np, name):
        np.testing.assert_allclose(y, getattr(np, name)(x.astype(float)), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*numpy.TWO, *numpy.REDUCTIONS, *numpy.INDICES])
def test_against_numpy(name):
    x, operation = RNG.normal(size=(3, 3)).astype("float32") + 3, getattr(ops, name)
    if name in numpy.TWO:
        y = RNG.normal(size=(3, 3)).astype("float32") + 4
        if name == "divide_no_nan":
            y[0] = 0
            np.testing.assert_array_equal(operation(x, y)[0], np.zeros(3))
            return
        np.testing.assert_allclose(
            operation(x, y), getattr(np, name)(x.astype(float), y), rtol=1e-5
        )
        assert operation(KerasTensor((3, 3)), y).shape == operation(x, y).shape
        return
    reference = getattr(np, name)
    if name in ("any", "all"):
        x = x > 3
    np.testing.assert_allclose(operation(x, axis=1), reference(x, axis=1), rtol=1e-5)
    np.testing.assert_allclose(operation(x), reference(x), rtol=1e-5)
    assert operation(x, 1, True).shape == (3, 1)
    assert operation(KerasTensor((None, 3)), axis=1, keepdims=True).shape == (None, 1)


def test_nodes_make_models():
    a, b = carnyx.Input((3,)), carnyx.Input((3,))
    out = ops.concatenate([ops.relu(a), ops.stack([a, b], axis=1)[:, 1]], axis=-1)
    model = carnyx.Functional([a, b], ops.sum(ops.einsum("bi,bi->bi", out, out), axis=-1))
    x, y = RNG.normal(size=(2, 4, 3)).astype("float32")
    expected = (np.maximum(x, 0) ** 2).sum(-1) + (y**2).sum(-1)
    np.testing.assert_allclose(model([x, y]), expected, rtol=1e-5)


def test_arguments_by_name_and_types():
    x = jnp.arange(6.0).reshape(2, 3)
    assert ops.reshape(x=x, newshape=(3, 2)).shape == (3, 2)
    assert ops.add(x1=x.astype("bfloat16"), x2=1.0).dtype == jnp.bfloat16
    assert ops.convert_to_tensor([1.0, 2.0]).dtype == jnp.float32
    assert ops.convert_to_tensor(np.float64(3)).dtype == jnp.float32
    assert ops.one_hot([1], 3).dtype == jnp.float32
    assert ops.zeros((2,)).dtype == jnp.float32 and ops.zeros((2,), "int32").dtype == jnp.int32
    assert ops.shape(KerasTensor((None, 2))) == (None, 2)
    v = carnyx.Variable([1.0, 2.0])
    np.testing.assert_array_equal(ops.stack([v, v]), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(ops.matmul([[1.0, 2.0]], v), [5.0])
    with pytest.raises(TypeError, match=r"ops.add\(x1, x2\): missing a required argument: 'x2'"):
        ops.add(1)
    with pytest.raises(AttributeError, match="no operation 'reshpae'. Did you mean 'reshape'"):
        ops.reshpae  # noqa: B018


def test_operations_show_their_signature_and_say_what_they_do():
    for home in HOMES:
        for name in home.__all__:
            operation = getattr(ops, name)
            kinds = {p.kind for p in inspect.signature(operation).parameters.values()}
            assert operation.__doc__ and operation.__name__ == name
            if name not in ("einsum", "layer_normalization"):
                assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_gradients_flow_and_stop():
    slope = jax.grad(lambda x: ops.sum(ops.normalize(x)))(jnp.zeros(3))
    assert np.isfinite(slope).all()
    assert np.isfinite(jax.grad(lambda y: ops.divide_no_nan(1.0, y))(0.0))
    assert float(jax.grad(lambda x: ops.square(ops.stop_gradient(x)) + x)(2.0)) == 1.0


def test_segments_and_norms():
    data, ids = RNG.normal(size=(5, 2)).astype("float32"), np.array([0, 1, 0, 2, 1])
    expected = np.stack([data[ids == i].sum(0) for i in range(3)])
    np.testing.assert_allclose(ops.segment_sum(data, ids, num_segments=3), expected, rtol=1e-6)
    expected = np.stack([data[ids == i].max(0) for i in range(3)])
    np.testing.assert_allclose(ops.segment_max(data, ids, num_segments=3), expected, rtol=1e-6)
    for order in (None, 1, 2, np.inf):
        np.testing.assert_allclose(
            ops.norm(data, order, axis=1), np.linalg.norm(data, order, axis=1), rtol=1e-5
        )
