"""Preprocessing of numbers and categories, against Keras on JAX and by formula."""

import keras
import numpy as np
import pytest

import carnyx
from carnyx import layers

IDS = np.array([[1, 2, 2], [0, 3, 1]])
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 1), (3,), (1, 2, 2)])
def test_category_encoding_equals_keras(mode, shape):
    ids = RNG.integers(0, 4, shape)
    ours, theirs = (
        m.CategoryEncoding(4, output_mode=mode, name="e") for m in (layers, keras.layers)
    )
    found, expected = ours(ids), theirs(ids)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert ours.get_config() == theirs.get_config()
    if len(shape) == 2:
        assert ours(carnyx.KerasTensor((None, shape[1]), "int32")).shape == (None, *found.shape[1:])


@pytest.mark.parametrize(
    ("name", "arguments", "numbers"),
    [
        ("Rescaling", {"scale": 2.0}, [1.0, 2.0]),
        ("Normalization", {"mean": [1.0, 2.0], "variance": [1.0, 4.0]}, [[2.0, 20.0]]),
        ("CategoryEncoding", {"num_tokens": 3}, [0, 2]),
        ("Discretization", {"bin_boundaries": [0.0, 1.0]}, [-0.5, 2.0]),
    ],
)
def test_numbers_may_come_in_lists(name, arguments, numbers):
    layer = getattr(layers, name)(**arguments)
    other = getattr(keras.layers, name)(**arguments)
    np.testing.assert_allclose(layer(numbers), other(np.array(numbers)))


def test_category_weights():
    layer = layers.CategoryEncoding(4, output_mode="count")
    found = layer(IDS, count_weights=np.array([[0.5, 1, 1], [2, 1, 1]]))
    assert found.tolist() == [[0, 0.5, 2, 0], [2, 1, 0, 1]]


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_discretization_equals_keras(mode):
    x = np.array([[-1, 0.0, 0.5], [1, 2, 3]], "float32")
    ours, theirs = (
        m.Discretization([0.0, 1.0, 2.0], output_mode=mode, name="d")
        for m in (layers, keras.layers)
    )
    found, expected = ours(x), theirs(x)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert ours.get_config()["bin_boundaries"] == theirs.get_config()["bin_boundaries"]
    twin = layers.Discretization.from_config(theirs.get_config())
    np.testing.assert_array_equal(twin(x), expected)


def test_discretization_adapts_to_equal_bins():
    data = RNG.normal(size=(1000, 3))
    layer, other = layers.Discretization(num_bins=5), layers.Discretization(num_bins=5)
    layer.adapt(data)
    other.adapt(data[i : i + 70] for i in range(0, 1000, 70))
    assert layer.bin_boundaries == other.bin_boundaries
    assert np.bincount(np.asarray(layer(data)).ravel()).tolist() == pytest.approx([600] * 5, abs=2)
    small = layers.Discretization(num_bins=3)
    small.adapt(np.arange(10.0))
    # the share of samples up to rank r is r / 10: a third lies between ranks 3 and 4, at 2 + 1 / 3
    np.testing.assert_allclose(small.bin_boundaries, [7 / 3, 17 / 3], rtol=1e-6)


@pytest.mark.parametrize("axis", [-1, None, (1, 2), 1])
def test_normalization_adapts_over_unequal_batches(axis):
    data = RNG.normal(size=(50, 3, 4)).astype("float32") * [1, 10, 100, 0] + [0, 5, 1e4, 7]
    layer, theirs = layers.Normalization(axis=axis), keras.layers.Normalization(axis=axis)
    layer.adapt(data[i : i + 13] for i in range(0, 50, 13))
    theirs.adapt(data.astype("float32"))
    kept = (2,) if axis == -1 else () if axis is None else axis if axis != 1 else (1,)
    reduced = tuple(a for a in range(3) if a not in kept)
    mean, deviation = data.mean(reduced, keepdims=True), data.std(reduced, keepdims=True)
    x = data[:5].astype("float32")
    expected = (x - mean) / np.maximum(deviation, 1e-7)
    varied = np.broadcast_to(deviation > 0, expected.shape)
    np.testing.assert_allclose(layer(x)[varied], expected[varied], rtol=1e-3, atol=1e-3)
    assert [w.shape for w in layer.weights] == [w.shape for w in theirs.weights]
    twin = layers.Normalization.from_config(layer.get_config())
    twin.build(x.shape)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(x), layer(x))
    back = layers.Normalization(axis=axis, invert=True)
    back.build(x.shape)
    back.set_weights(layer.get_weights())
    np.testing.assert_allclose(back(layer(x)), x, rtol=1e-4, atol=1e-3)


def test_a_table_trains_in_fit():
    x = RNG.normal(size=(400, 3)) * [1, 50, 0.01] + [3, -200, 0.5]
    y = ((x[:, 1] + 200) / 50 > 0).astype("float32")
    normal = layers.Normalization()
    normal.adapt(x)
    model = carnyx.Sequential([carnyx.Input((3,)), normal, layers.Dense(1, "sigmoid")])
    model.compile(carnyx.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=5, verbose=0)
    assert history.history["accuracy"][-1] > 0.95


@pytest.mark.parametrize("tied", [True, False])
def test_embedding_there_and_back(tied):
    options = {"tie_weights": tied, "logit_soft_cap": 2.0}
    ours, theirs = (m.ReversibleEmbedding(5, 3, **options) for m in (layers, keras.layers))
    ours.build(None)
    theirs.build(None)
    theirs.set_weights(ours.get_weights())
    x = RNG.normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(ours(x, reverse=True), theirs(x, reverse=True), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Normalization(mean=1.0), "mean and variance are given together"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(IDS), "would change nothing"),
        (lambda: layers.Normalization().adapt(np.zeros((0, 3))), "no data"),
        (lambda: layers.Normalization(axis=0)(IDS), "the axis of samples"),
        (lambda: layers.CategoryEncoding(0), "num_tokens must be a whole number from 1"),
        (lambda: layers.CategoryEncoding(3)(IDS), r"categories lie in \[0, 3\)"),
        (lambda: layers.CategoryEncoding(4)(IDS, count_weights=IDS), "for output_mode='count'"),
        (lambda: layers.CategoryEncoding(4, sparse=True), "sparse must be False"),
        (lambda: layers.Discretization(), "give bin_boundaries or num_bins"),
        (lambda: layers.Discretization([1.0, 0.0]), "rising numbers"),
        (lambda: layers.Discretization(num_bins=3)(IDS), r"call adapt\(data\) first"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
