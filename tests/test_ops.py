"""Operations: the table's promises, on arrays, Variables, lists and KerasTensors."""

import importlib
import inspect
import pydoc

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import carnyx
from carnyx import ops
from carnyx.core.symbol import KerasTensor

HOMES = ops.homes()
RNG = np.random.default_rng(0)
POSITIVE = RNG.uniform(1, 2, (2, 3)).astype("float32")


@pytest.mark.parametrize("name", ["sqrt", "relu", "erf", "isnan", "softmax"])
def test_all_kinds_of_tensors(name):
    operation = getattr(ops, name)
    y = operation(POSITIVE)
    for x in (carnyx.Variable(POSITIVE), POSITIVE.tolist(), jnp.asarray(POSITIVE)):
        np.testing.assert_allclose(operation(x), y, rtol=1e-6)
    symbol = operation(KerasTensor((None, 3)))
    assert symbol.shape == (None, 3) and symbol.dtype == y.dtype.name


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
            if name not in ("einsum", "layer_normalization", "multi_hot", "rearrange"):
                assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_help_shows_every_operation():
    for home in HOMES:
        for name in home.__all__:
            operation = getattr(ops, name)
            shown = pydoc.plain(pydoc.render_doc(operation))
            assert f"{name}{inspect.signature(operation)}" in shown
            assert operation.__doc__.strip().splitlines()[0] in shown


def test_gradients_flow_and_stop():
    slope = jax.grad(lambda x: ops.sum(ops.normalize(x)))(jnp.zeros(3))
    assert np.isfinite(slope).all()
    assert np.isfinite(jax.grad(lambda y: ops.divide_no_nan(1.0, y))(0.0))
    assert float(jax.grad(lambda x: ops.square(ops.stop_gradient(x)) + x)(2.0)) == 1.0


@pytest.mark.parametrize("module", ["numpy", "nn", "linalg"])
def test_modules_list_what_those_of_keras_do(module):
    ours = importlib.import_module(f"carnyx.ops.{module}")
    missing = {n for n in dir(keras.ops) if not hasattr(ops, n)}  # written elsewhere
    for name in set(dir(getattr(keras.ops, module))) - missing:
        if not name.startswith("_"):
            assert getattr(ours, name) is getattr(ops, name)
    with pytest.raises(AttributeError, match="has no attribute 'conv9'"):
        ours.conv9  # noqa: B018


def test_half_types_keep_their_width_and_statistics_theirs():
    x = np.full(4000, 0.1, "float16")
    assert ops.sum(x).dtype == "float16" and abs(float(ops.sum(x)) - 400) < 1
    assert abs(float(ops.mean(x)) - 0.1) < 1e-3
    assert ops.mean(np.array([1, 2])).dtype == "float32" and ops.sum([True, True]) == 2
    assert (ops.matmul(np.full((1, 9), 100, "int8"), np.full((9, 1), 100, "int8"))) == 90000


def test_saturation():
    x = np.array([1e12, np.inf, -np.inf, 2.7, -7], "float32")
    limits = np.iinfo("int32")
    found = ops.saturate_cast(x, "int32").tolist()
    assert found == [limits.max, limits.max, limits.min, 2, -7]
    assert ops.saturate_cast(x, "float16").tolist()[:3] == [65504, 65504, -65504]
    assert ops.saturate_cast(np.array([65504, np.inf], "float16"), "int32").tolist() == [
        65504,
        limits.max,
    ]
    assert ops.saturate_cast([-5, 0, 3], "bool").tolist() == [False, False, True]
    assert ops.saturate_cast(np.array([200], "uint8"), "int8").tolist() == [127]
    assert ops.saturate_cast([-1, 2**30], "float32").tolist() == [-1, 2**30]


def test_unknown_types_are_refused():
    with pytest.raises(ValueError, match="Unknown dtype 'flot32'. Did you mean 'float32'"):
        ops.zeros((2,), "flot32")


MISTAKES = {
    "There is no '->'": lambda: ops.rearrange(POSITIVE, "a b"),
    "Unknown character '\\?'": lambda: ops.rearrange(POSITIVE, "a ? -> a"),
    "Imbalanced parentheses": lambda: ops.rearrange(POSITIVE, "(a b -> a b"),
    "on both\\): {'b'}": lambda: ops.rearrange(POSITIVE, "a b -> a"),
    r"for shape \(2, 3\): Wrong shape: expected 1": lambda: ops.rearrange(POSITIVE, "a -> a"),
    "Could not infer sizes": lambda: ops.rearrange(POSITIVE, "(a b) c -> a b c"),
    "can't divide axis of length 3": lambda: ops.rearrange(POSITIVE, "c (a b) -> a b c", a=2),
    "Axis z is not used": lambda: ops.rearrange(POSITIVE, "a b -> b a", z=2),
    r"ops.inv: expected square matrices.*\(2, 3\)": lambda: ops.inv(POSITIVE),
    r"ops.svd: expected matrices \[..., M, N\].*\(3,\)": lambda: ops.svd(POSITIVE[0]),
    "mode is 'reduced' or 'complete'": lambda: ops.qr(POSITIVE, mode="r"),
    "give both x1 and x2": lambda: ops.where(POSITIVE > 1, 1.0),
    "sparse tensors are not supported": lambda: ops.bincount([1], sparse=True),
    "range is a pair": lambda: ops.histogram(POSITIVE, range=(3, 1)),
    "sorted_sequence has one axis": lambda: ops.searchsorted(POSITIVE, [1.0]),
    "takes 5 channels, which does not fit the input's 3": lambda: ops.conv_transpose(
        np.ones((1, 4, 3)), np.ones((2, 4, 5))
    ),
    "the kernel have as many axes": lambda: ops.depthwise_conv(np.ones((1, 4, 3)), np.ones((2, 3))),
    "images have 4 axes": lambda: ops.depth_to_space(POSITIVE, 2),
    r"Pooling is of \[B, \*space, C\]. Received: shape \(2, 3\)": lambda: ops.max_pool(POSITIVE, 2),
    r"two halves. Received: shape \(2, 3\)": lambda: ops.glu(POSITIVE),
    "rows of one length": lambda: ops.cdist(POSITIVE, POSITIVE.T),
    "b has the 2 rows of a": lambda: ops.solve(np.eye(2), np.ones(3)),
    r"columns are \[B, C 4, 4\]": lambda: ops.fold(np.ones((1, 4, 5)), (3, 3), 2),
    r"images are \[B, C, H, W\]": lambda: ops.unfold(POSITIVE, 2),
    "block_size divides": lambda: ops.space_to_depth(np.ones((1, 3, 2, 3)), 2),
    "do not fit into 2": lambda: ops.unfold(np.ones((1, 1, 2, 2)), 3),
    "images of one shape": lambda: ops.psnr(POSITIVE, POSITIVE[0], 1.0),
    "give num_classes": lambda: ops.multi_hot([1, 2]),
    "must have the same shape": lambda: ops.binary_crossentropy([1.0], [0.5, 0.5]),
    "output_size is a whole number": lambda: ops.adaptive_max_pool(np.ones((1, 4, 1)), 0),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_explained(message):
    with pytest.raises(ValueError, match=message) as caught:
        MISTAKES[message]()
    assert any("in ops." in note for note in caught.value.__notes__)
