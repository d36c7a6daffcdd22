"""Layers against NumPy loops of their formulas; what they refuse; what they do in training."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core.config import deserialize, serialize
from carnyx.core.state import get_mask, pure, set_mask
from carnyx.core.symbol import KerasTensor

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


# ---- formulas


def windows(size, window, stride, dilation, padding):
    """For every output place the input places under the window; places outside are dropped."""
    reach = (window - 1) * dilation + 1
    if padding == "valid":
        count, before = (size - reach) // stride + 1, 0
    elif padding == "causal":
        count, before = -(-size // stride), reach - 1
    else:
        count = -(-size // stride)
        before = max((count - 1) * stride + reach - size, 0) // 2
    return [[p * stride - before + o * dilation for o in range(window)] for p in range(count)]


def loop_conv(x, kernel, bias, strides, padding, dilation, groups):
    """y[b, p, k] = bias[k] + sum over o, c of x[b, p s + o d, c] W[o, c, k], one term at a time."""
    *window, _, filters = kernel.shape
    options = zip(x.shape[1:-1], window, strides, dilation, strict=True)
    tables = [windows(n, k, s, d, padding) for n, k, s, d in options]
    y = np.zeros((x.shape[0], *map(len, tables), filters))
    per_group_in, per_group_out = kernel.shape[-2], filters // groups
    for b, k in itertools.product(range(x.shape[0]), range(filters)):
        start = k // per_group_out * per_group_in
        for p in itertools.product(*(range(len(t)) for t in tables)):
            total = bias[k]
            for o in itertools.product(*map(range, window)):
                place = [t[i][j] for t, i, j in zip(tables, p, o, strict=True)]
                if all(0 <= q < n for q, n in zip(place, x.shape[1:-1], strict=True)):
                    row = x[(b, *place)]
                    total += row[start : start + per_group_in] @ kernel[(*o, slice(None), k)]
            y[(b, *p, k)] = total
    return y


CONVOLUTIONS = [
    (1, (9, 4), {"kernel_size": 3}),
    (1, (9, 4), {"kernel_size": 3, "strides": 2, "padding": "same"}),
    (1, (9, 4), {"kernel_size": 3, "dilation_rate": 2, "padding": "causal"}),
    (2, (5, 6, 4), {"kernel_size": (2, 3), "groups": 2}),
    (2, (5, 6, 4), {"kernel_size": 3, "strides": (2, 1), "padding": "same"}),
    (2, (6, 6, 3), {"kernel_size": 2, "dilation_rate": (1, 3)}),
    (3, (3, 4, 3, 2), {"kernel_size": 2, "padding": "same"}),
]


@pytest.mark.parametrize(("rank", "shape", "kwargs"), CONVOLUTIONS)
def test_convolution_is_the_sum_of_products(rank, shape, kwargs):
    x = normal(2, *shape)
    layer = getattr(layers, f"Conv{rank}D")(4, bias_initializer="random_normal", **kwargs)
    y = jax.jit(layer)(x)
    kernel, bias = layer.get_weights()
    options = (layer.strides, layer.padding, layer.dilation_rate, layer.groups)
    expected = loop_conv(x.astype(float), kernel.astype(float), bias, *options)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


POOLINGS = [
    (1, (9, 2), {"pool_size": 2}),
    (1, (9, 2), {"pool_size": 3, "strides": 2, "padding": "same"}),
    (2, (5, 6, 3), {"pool_size": (2, 3)}),
    (2, (5, 6, 3), {"pool_size": 3, "strides": (1, 2), "padding": "same"}),
    (3, (3, 4, 5, 2), {"pool_size": 2, "strides": 1}),
]


@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize(("rank", "shape", "kwargs"), POOLINGS)
def test_pooling_is_the_maximum_or_mean_of_windows(kind, rank, shape, kwargs):
    x = normal(2, *shape)
    layer = getattr(layers, f"{kind}Pooling{rank}D")(**kwargs)
    options = zip(shape, layer.pool_size, layer.strides, strict=False)
    tables = [windows(n, k, s, 1, layer.padding) for n, k, s in options]
    expected = np.zeros((2, *map(len, tables), shape[-1]))
    for p in itertools.product(*(range(len(t)) for t in tables)):
        kept = [[q for q in t[i] if 0 <= q < n] for t, i, n in zip(tables, p, shape, strict=False)]
        values = np.stack([x[(slice(None), *q)] for q in itertools.product(*kept)])
        expected[(slice(None), *p)] = values.max(0) if kind == "Max" else values.mean(0)
    np.testing.assert_allclose(jax.jit(layer)(x), expected, rtol=1e-5, atol=1e-6)


def test_dense_embedding_and_softmax():
    x = normal(3, 5, 4)
    layer = layers.Dense(2, activation="softmax", bias_initializer="random_normal")
    y = layer(x)
    kernel, bias = layer.get_weights()
    z = np.exp(x @ kernel + bias)
    np.testing.assert_allclose(y, z / z.sum(-1, keepdims=True), rtol=1e-5)
    table = normal(6, 3)
    ids = RNG.integers(0, 6, (2, 4))
    embedding = layers.Embedding(6, 3, weights=[table])
    np.testing.assert_array_equal(embedding(ids), table[ids])
    big = np.array([[1000.0, 1000.0, -1000.0]], "float32")
    np.testing.assert_allclose(layers.Softmax()(big), [[0.5, 0.5, 0.0]])


def test_batch_normalization_training_and_inference():
    layer = layers.BatchNormalization(momentum=0.9)
    layer.build((None, 6, 3))
    gamma, beta = normal(3), normal(3)
    layer.set_weights([gamma, beta, np.zeros(3), np.ones(3)])
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = 2 * normal(4, 6, 3) + 5
        y = layer(x, training=True)
        m, v = x.astype(float).mean((0, 1)), x.astype(float).var((0, 1))
        np.testing.assert_allclose(y, gamma * (x - m) / np.sqrt(v + 1e-3) + beta, atol=1e-4)
        mean, variance = 0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * v
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    layer.trainable = False  # frozen: inference statistics in training too
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)


@pytest.mark.parametrize("cls", ["BatchNormalization", "LayerNormalization"])
def test_statistics_keep_their_digits(cls):
    x = (1000 + 0.1 * RNG.normal(size=(64, 64))).astype("float32")
    layer = getattr(layers, cls)(epsilon=1e-9)
    axis = 0 if cls == "BatchNormalization" else 1
    wide = x.astype(float)
    expected = (wide - wide.mean(axis, keepdims=True)) / wide.std(axis, keepdims=True)
    # float32 holds 1000 to 6e-5, so a mean of 64 of them divided by 0.1 is good to 1e-3
    np.testing.assert_allclose(layer(x, training=True) if axis == 0 else layer(x), expected,
                               atol=2e-3)  # fmt: skip


def test_layer_and_group_normalization():
    x = normal(2, 4, 5, 6) * 3 + 1
    layer = layers.LayerNormalization(axis=(2, 3))
    layer.build(x.shape)
    gamma, beta = normal(5, 6), normal(5, 6)
    layer.set_weights([gamma, beta])
    m, v = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    np.testing.assert_allclose(layer(x), gamma * (x - m) / np.sqrt(v + 1e-3) + beta, atol=1e-4)
    group = layers.GroupNormalization(3)
    parts = []
    for part in np.split(x, 3, axis=-1):
        m, v = (f(part, (1, 2, 3), keepdims=True) for f in (np.mean, np.var))
        parts.append((part - m) / np.sqrt(v + 1e-3))
    np.testing.assert_allclose(group(x), np.concatenate(parts, -1), atol=1e-4)


def test_masked_steps_do_not_count():
    x, mask = normal(2, 5, 3), np.arange(5) < np.array([[5], [2]])
    other = np.where(mask[..., None], x, 99.0).astype("float32")
    for layer in (
        layers.GlobalAveragePooling1D(),
        layers.BatchNormalization(),
        layers.LSTM(4),
    ):
        kwargs = {"training": True} if layer.name.startswith("batch") else {}
        a, b = (np.asarray(layer(v, mask=mask, **kwargs)) for v in (x, other))
        if a.ndim == 3:
            a, b = a[mask], b[mask]
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    nothing = layers.GlobalAveragePooling1D()(x, mask=np.zeros((2, 5), bool))
    np.testing.assert_array_equal(nothing, np.zeros((2, 3)))


# ---- random layers


RANDOM = [
    (layers.Dropout, {"rate": 0.3}, 1.0, 0.3 / 0.7),
    (layers.GaussianDropout, {"rate": 0.3}, 1.0, 0.3 / 0.7),
    (layers.GaussianNoise, {"stddev": 0.5}, 1.0, 0.25),
    (layers.SpatialDropout1D, {"rate": 0.3}, 1.0, 0.3 / 0.7),
]


@pytest.mark.parametrize(("cls", "kwargs", "mean", "variance"), RANDOM)
def test_random_layers_in_training(cls, kwargs, mean, variance):
    layer, x = cls(**kwargs, seed=1), np.ones((100, 5, 200), "float32")
    np.testing.assert_array_equal(layer(x), x)
    first, second = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    assert (first != second).any(), "each call draws anew"
    draws = first[:, 0] if cls is layers.SpatialDropout1D else first
    # the standard error of a mean of 20,000 numbers of variance 0.43 is 0.005
    assert draws.mean() == pytest.approx(mean, abs=0.02)
    assert draws.var() == pytest.approx(variance, abs=0.02)
    twin = cls(**kwargs, seed=1)
    np.testing.assert_array_equal(twin(x, training=True), first)
    assert layer.weights == [] and len(layer.variables) == 1


def test_alpha_dropout_keeps_mean_and_variance():
    x = normal(200, 200)
    y = layers.AlphaDropout(0.2, seed=0)(x, training=True)
    assert float(jnp.mean(y)) == pytest.approx(x.mean(), abs=0.03)
    assert float(jnp.var(y)) == pytest.approx(x.var(), abs=0.05)


def test_dropout_of_everything_and_of_nothing():
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(layers.Dropout(1.0)(x, training=True), np.zeros((2, 3)))
    np.testing.assert_array_equal(layers.Dropout(0)(x, training=True), x)
    assert layers.Dropout(0).variables == []
    gradient = jax.grad(lambda x: layers.Dropout(1.0)(x, training=True).sum())(x)
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_dropout_noise_shape_and_state():
    layer = layers.Dropout(0.5, noise_shape=(None, 1, None), seed=2)
    x = jnp.ones((4, 6, 8))
    y = np.asarray(layer(x, training=True))
    assert (y == y[:, :1]).all() and set(np.unique(y)) == {0.0, 2.0}
    state = [v.value for v in layer.variables]
    out, new = jax.jit(pure(lambda x: layer(x, training=True), layer.variables))(state, x)
    assert (np.asarray(new[0]) != np.asarray(state[0])).any()
    np.testing.assert_array_equal(out, layer(x, training=True))


# ---- masks


def test_masks_of_embedding_masking_and_concatenate():
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    embedded = layers.Embedding(5, 4, mask_zero=True)(ids)
    np.testing.assert_array_equal(get_mask(embedded), ids != 0)
    steps = np.array([[[0.0, 1.0], [0.0, 0.0]]], "float32")
    np.testing.assert_array_equal(get_mask(layers.Masking()(steps)), [[True, False]])
    plain = jnp.ones((2, 2, 4))
    joined = layers.Concatenate(axis=1)([embedded, plain])
    expected = np.concatenate([ids != 0, np.ones((2, 2), bool)], axis=1)
    np.testing.assert_array_equal(get_mask(joined), expected)


def test_time_distributed_keeps_its_mask_and_hands_on_inner_ones():
    x, mask = jnp.asarray(normal(2, 3, 4, 5)), np.ones((2, 3, 4), bool)
    mask[0, 2] = False
    mask[1, :, 2:] = False
    set_mask(x, mask)
    layer = layers.TimeDistributed(layers.LSTM(3))
    y = layer(x)
    np.testing.assert_array_equal(get_mask(y), mask.any(-1))
    for t in range(3):
        expected = layer.layer(x[:, t], mask=mask[:, t])
        np.testing.assert_allclose(y[:, t], expected, rtol=1e-5, atol=1e-6)


# ---- shapes and files


def test_unknown_sizes_take_part_in_merging_and_reshaping():
    def infer(layer, *shapes):
        tensors = [KerasTensor(s) for s in shapes]
        return layer(tensors if len(shapes) > 1 else tensors[0]).shape

    assert infer(layers.Add(), (None, None, 4), (None, 5, 4)) == (None, 5, 4)
    assert infer(layers.Add(), (None, None, 4), (None, 1, 4)) == (None, None, 4)
    assert infer(layers.Add(), (None, None, 4), (None, 4)) == (None, None, 4)
    assert infer(layers.Concatenate(), (None, None, 4), (None, 5, 2)) == (None, 5, 6)
    assert infer(layers.Concatenate(axis=1), (None, None, 4), (None, 5, 4)) == (None, None, 4)
    assert infer(layers.Dot(axes=(1, 2)), (None, None, 4), (None, 2, 5)) == (None, 4, 2)
    assert infer(layers.Reshape((-1, 2)), (None, None, 4)) == (None, None, 2)
    assert infer(layers.Flatten(), (None, None, 4)) == (None, None)
    assert infer(layers.Conv1D(2, 3, strides=2), (None, None, 4)) == (None, None, 2)
    assert infer(layers.GlobalMaxPooling2D(), (None, None, None, 3)) == (None, 3)
    assert infer(layers.TimeDistributed(layers.Dense(2)), (None, None, 4)) == (None, None, 2)


def test_functional_forms():
    x, y = normal(2, 3), normal(2, 3)
    for name, expected in {
        "add": x + y,
        "subtract": x - y,
        "multiply": x * y,
        "average": (x + y) / 2,
        "maximum": np.maximum(x, y),
        "minimum": np.minimum(x, y),
        "concatenate": np.concatenate([x, y], -1),
        "dot": (x * y).sum(-1, keepdims=True),
    }.items():
        np.testing.assert_allclose(getattr(layers, name)([x, y]), expected, rtol=1e-5)
    total = layers.add([carnyx.Input((3,)), carnyx.Input((3,))], name="total")
    assert total.shape == (None, 3)


def test_lambda_passes_what_the_function_takes():
    x = np.ones((2, 3), "float32")
    layer = layers.Lambda(lambda x, training, by=1: x * by + training, arguments={"by": 4})
    np.testing.assert_array_equal(layer(x, training=True), 5 * x)
    masked = layers.Lambda(lambda x: x + 1, mask=lambda inputs, mask: inputs[..., 0] > 0)
    np.testing.assert_array_equal(get_mask(masked(x)), [True, True])


def double(x):
    return 2 * x


@pytest.mark.parametrize("function", [double, lambda x: x, carnyx.activations.relu])
def test_lambda_is_not_loaded_unless_registered(function):
    config = serialize(layers.Lambda(function))
    with pytest.raises(ValueError, match="does not run code from files"):
        deserialize(config)
    twin = deserialize(config, {function.__name__: double})
    np.testing.assert_array_equal(twin(np.ones((1, 2))), [[2, 2]])


def test_lambda_code_in_a_file_of_keras_is_refused():
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAA==", "defaults": None}}
    config = {"name": "l", "function": code, "arguments": {}}
    with pytest.raises(ValueError, match="does not run code from files"):
        layers.Lambda.from_config(config)


def test_options_that_only_keras_has():
    config = {**layers.Dense(3).get_config(), "quantization_config": None, "lora_rank": None}
    assert layers.Dense.from_config(config).units == 3
    with pytest.raises(ValueError, match="quantization_config='int8', which Carnyx does not"):
        layers.Dense.from_config({**config, "quantization_config": "int8"})
    config = {**layers.LayerNormalization().get_config(), "rms_scaling": True}
    with pytest.raises(ValueError, match="rms_scaling=True"):
        layers.LayerNormalization.from_config(config)


def test_older_names_of_arguments():
    assert layers.LeakyReLU(alpha=0.2).negative_slope == 0.2
    assert layers.Embedding(5, 2, input_length=4)._batch_shape == (None, 4)


def test_float_indices_serve_if_whole():
    layer = layers.Embedding(500, 3, dtype="mixed_bfloat16")
    ids = np.array([[1, 257]])  # bfloat16 has no 257
    np.testing.assert_array_equal(layer(ids.astype("float32")), layer(ids))


# ---- mistakes

X, IMAGE = np.ones((2, 5, 4), "float32"), np.ones((2, 6, 6, 3), "float32")
MISTAKES = {
    # what is made and called, and what the message says
    "units": (lambda: layers.Dense(0), "units must be a whole number from 1. Received: units=0"),
    "units float": (lambda: layers.Dense(2.5), "Received: units=2.5"),
    "use_bias": (lambda: layers.Dense(2, use_bias="no"), "use_bias must be True or False"),
    "argument": (lambda: layers.Dense(2, kernel_initialiser="zeros"), "'kernel_initializer'"),
    "activation": (lambda: layers.Dense(2, activation="rulu"), "'relu'"),
    "rank": (lambda: layers.Dense(2)(np.ones(3)), "at least 2 axes"),
    "width": (
        lambda: layers.Dense(2)(KerasTensor((None, None))),
        "size of the last axis \\(axis -1\\) must be known",
    ),
    "later width": (
        lambda: (lambda d: (d(np.ones((1, 3))), d(np.ones((1, 4)))))(layers.Dense(2)),
        "axis -1 to have size 3 and received 4",
    ),
    "filters": (lambda: layers.Conv2D(0, 3), "filters must be a whole number from 1"),
    "kernel": (lambda: layers.Conv2D(2, 0), "kernel_size must be a whole number from 1"),
    "kernel rank": (lambda: layers.Conv2D(2, (3, 3, 3)), "tuple of 2"),
    "padding": (lambda: layers.Conv2D(2, 3, padding="sam"), "Did you mean 'same'"),
    "causal": (lambda: layers.Conv2D(2, 3, padding="causal"), "one of 'valid', 'same'"),
    "strides": (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), "two together"),
    "groups": (lambda: layers.Conv2D(4, 3, groups=3), "divisible by groups=3"),
    "channels": (lambda: layers.Conv2D(4, 3, groups=2)(IMAGE), "3 channels.*does not divide"),
    "image rank": (lambda: layers.Conv2D(4, 3)(X), "expected 4 axes"),
    "window": (lambda: layers.Conv2D(4, 9)(IMAGE), "does not fit.*smaller kernel_size"),
    "data_format": (lambda: layers.Conv2D(4, 3, data_format="last"), "channels_last"),
    "pool": (lambda: layers.MaxPooling2D(0), "pool_size must be a whole number from 1"),
    "pool window": (lambda: layers.MaxPooling2D(7)(IMAGE), "larger than the input"),
    "pool padding": (lambda: layers.MaxPooling1D(2, padding="causal"), "'valid', 'same'"),
    "rate": (lambda: layers.Dropout(1.5), "rate must be a number in \\[0, 1\\]. Received"),
    "rate word": (lambda: layers.Dropout("0.5"), "rate must be a number"),
    "noise": (lambda: layers.Dropout(0.5, noise_shape=3), "noise_shape must be"),
    "infinite": (lambda: layers.GaussianDropout(1.0), "below 1"),
    "reshape": (lambda: layers.Reshape((3, 3))(X), "20 numbers.*target_shape=\\(3, 3\\)"),
    "reshape rest": (lambda: layers.Reshape((-1, 3))(X), "cannot hold"),
    "reshape two": (lambda: layers.Reshape((-1, -1)), "one may be -1"),
    "permute": (lambda: layers.Permute((0, 1)), "permutation of 1, 2"),
    "permute rank": (lambda: layers.Permute((2, 1))(IMAGE), "expected 3 axes"),
    "repeat": (lambda: layers.RepeatVector(0), "n must be a whole number from 1"),
    "crop": (lambda: layers.Cropping1D(3)(X), "leaves nothing of axis 1"),
    "pad": (lambda: layers.ZeroPadding2D((1, 2, 3)), "padding must be"),
    "pad below": (lambda: layers.ZeroPadding1D(-1), "none below 0"),
    "size": (lambda: layers.UpSampling2D(2, interpolation="linear"), "'bilinear'"),
    "axis": (lambda: layers.BatchNormalization(axis=3)(X), "axis of the input, which has 3"),
    "momentum": (lambda: layers.BatchNormalization(momentum=2), "in \\[0, 1\\]"),
    "axis twice": (lambda: layers.LayerNormalization(axis=(1, -2))(X), "once each"),
    "norm groups": (lambda: layers.GroupNormalization(3)(X), "divisor of the 4 channels"),
    "softmax axis": (lambda: layers.Softmax(axis=5)(X), "axis must be an axis of the input"),
    "concatenate": (
        lambda: layers.Concatenate()([X, np.ones((2, 4, 4))]),
        "same sizes on every axis but 2.*\\(2, 5, 4\\), \\(2, 4, 4\\)",
    ),
    "concatenate rank": (lambda: layers.Concatenate()([X, IMAGE]), "same number of axes"),
    "concatenate axis": (lambda: layers.Concatenate(axis=4)([X, X]), "axis must be an axis"),
    "add": (lambda: layers.Add()([X, np.ones((2, 5, 3))]), "sizes that are equal or 1"),
    "add batch": (lambda: layers.Add()([X, np.ones((3, 5, 4))]), "the same batch size"),
    "add one": (lambda: layers.Add()(X), "takes a list of tensors"),
    "add none": (lambda: layers.Add()([]), "at least 1 tensor and received 0"),
    "subtract": (lambda: layers.Subtract()([X, X, X]), "takes 2 tensors and received 3"),
    "dot": (lambda: layers.Dot(axes=(1, 2))([X, X]), "same size on the axes"),
    "dot batch": (lambda: layers.Dot(axes=0), "not the batch axis 0"),
    "indices": (lambda: layers.Embedding(5, 3)(0.5 * X), "whole numbers from 0 to 4"),
    "rows": (lambda: layers.Embedding(0, 3), "input_dim must be a whole number from 1"),
    "equation": (lambda: layers.EinsumDense("ab->a", 3), "input,kernel->output"),
    "equation sizes": (
        lambda: layers.EinsumDense("abc,cd->abd", (None, None))(X),
        "neither the input",
    ),
    "wrapper": (lambda: layers.TimeDistributed(layers.Dense), "must be a Layer.*Dense\\(10\\)"),
    "time": (
        lambda: layers.TimeDistributed(layers.Dense(2))(np.ones((2, 3))),
        "at least 3 axes",
    ),
    "lambda": (lambda: layers.Lambda("relu"), "function must be callable"),
    "slope": (lambda: layers.ReLU(negative_slope=-1), "number from 0"),
    "shared": (lambda: layers.PReLU(shared_axes=[3])(X), "axes of the input"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    action, message = MISTAKES[name]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        action()


def test_messages_name_the_layer():
    with pytest.raises(ValueError, match="Conv2D 'eye': padding must be one of"):
        layers.Conv2D(2, 3, padding="full", name="eye")
    model = carnyx.Sequential([carnyx.Input((5, 4)), layers.Flatten(name="flat")], name="net")
    with pytest.raises(ValueError, match="in layer 'net/cut' \\(Cropping1D\\)"):
        model.add(layers.Cropping1D(1, name="cut"))


def test_softmax_of_a_row_without_places_is_zero():
    out = layers.Softmax()(np.ones((1, 3), "float32"), mask=np.zeros((1, 3), bool))
    assert out.tolist() == [[0, 0, 0]]


def test_shared_descriptions_are_spliced_in() -> None:
    """A rank says what its base says, and of shared arguments those that it takes."""
    docs = {name: getattr(layers, name).__doc__ or "" for name in dir(layers)}
    assert not [name for name, doc in docs.items() if "[shared]" in doc]
    one, two = docs["Cropping1D"], docs["Cropping2D"]
    assert "data_format" not in one and two.count("data_format:") == 1
    for doc in (one, two, docs["ZeroPadding3D"], docs["MaxPooling1D"]):
        assert doc.count("Args:\n") == 1
    assert two.index("Images without") < two.index("cropping: places") < two.index(">>>")
