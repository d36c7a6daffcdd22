"""FeatureSpace: every kind of feature by its formula, crosses, forms of data, configs, models."""

import inspect
import json

import jax
import keras
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core.config import serialize
from carnyx.utils import FeatureSpace

DATA = {
    "age": np.array([30.0, 40.0, 50.0, 20.0]),
    "pay": np.array([1, 3, 2, 9]),
    "town": np.array(["Ulm", "Bern", "Ulm", "Graz"]),
}
KINDS = {"age": "float", "pay": "integer_categorical", "town": "string_categorical"}


def batches(data=DATA, size=3):
    """The rows of a table, some at a time, each with a label."""
    count = len(next(iter(data.values())))
    for start in range(0, count, size):
        yield {k: v[start : start + size] for k, v in data.items()}, np.zeros(size)


def adapted(features, data=DATA, **more):
    space = FeatureSpace(features, **more)
    space.adapt(data)
    return space


def one_hot(ids, size):
    return np.eye(size)[np.asarray(ids).ravel()]


def test_one_row_for_each_sample():
    space = adapted(KINDS)
    pays, towns = [-1, 9, 3, 2, 1], ["[UNK]", "Ulm", "Graz", "Bern"]
    assert space.preprocessors["pay"].get_vocabulary() == pays
    assert space.preprocessors["town"].get_vocabulary() == towns
    pay = one_hot([pays.index(p) for p in DATA["pay"]], 5)
    town = one_hot([towns.index(t) for t in DATA["town"]], 4)
    expected = np.concatenate([DATA["age"][:, None], pay, town], 1)
    np.testing.assert_array_equal(space(DATA), expected)
    columns = {k: v[:, None] for k, v in DATA.items()}
    np.testing.assert_array_equal(space(columns), expected)
    lists = {k: v.tolist() for k, v in DATA.items()}
    np.testing.assert_array_equal(space(lists), expected)
    single = {k: v[1].item() for k, v in DATA.items()}
    np.testing.assert_array_equal(space(single), expected[1])
    unknown = space({"age": [1.0], "pay": [77], "town": ["Rom"]})
    np.testing.assert_array_equal(unknown, [[1, 1, 0, 0, 0, 0, 1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("float", [1, 2, 3, 4], [[1], [2], [3], [4]]),
        (FeatureSpace.float_rescaled(0.5, 1.0), [1, 2, 3, 4], [[1.5], [2], [2.5], [3]]),
        ("float_normalized", [1, 3, 1, 3], [[-1], [1], [-1], [1]]),
        (FeatureSpace.float_discretized(2), [1, 2, 3, 4], one_hot([0, 1, 1, 1], 2)),
        (FeatureSpace.float_discretized(None, [2.0, 3.0]), [1, 2, 3, 4], one_hot([0, 1, 2, 2], 3)),
        (FeatureSpace.integer_categorical(max_tokens=2), [7, 7, 7, 5], one_hot([1, 1, 1, 0], 2)),
        (
            FeatureSpace.string_categorical(num_oov_indices=0),
            list("abba"),
            one_hot([1, 0, 0, 1], 2),
        ),
        (FeatureSpace.integer_hashed(4), [1, 2, 3, 4], one_hot(layers.Hashing(4)([1, 2, 3, 4]), 4)),
        ("string_hashed", list("abcd"), one_hot(layers.Hashing(6)(list("abcd")), 6)),
    ],
)
def test_kinds(kind, values, expected):
    data = {"x": np.array(values)}
    space = adapted({"x": kind}, data, hashing_dim=6)
    np.testing.assert_allclose(space(data), expected, atol=1e-6)
    assert space.get_encoded_features().shape == (None, np.shape(expected)[1])
    found = space({"x": values[2]})
    np.testing.assert_allclose(found, expected[2], atol=1e-6)


@pytest.mark.parametrize("mode", ["int", "one_hot"])
def test_crosses_and_order(mode):
    """Features, then crosses of what they became, each in the order of their names."""
    crosses = [("town", "pay"), FeatureSpace.cross(("pay", "town"), 7, output_mode=mode)]
    features = {k: KINDS[k] for k in ("town", "pay", "age")}
    space = adapted(features, crosses=crosses, crossing_dim=5, output_mode="dict")
    found = space(DATA)
    assert list(found) == ["age", "pay", "town", "pay_X_town", "town_X_pay"]
    assert list(space.get_encoded_features()) == list(found)
    ids = [space.preprocessors[name](DATA[name][:, None]) for name in ("pay", "town")]
    expected = layers.HashedCrossing(7, output_mode=mode)(ids)
    np.testing.assert_array_equal(found["pay_X_town"], expected)
    expected = layers.HashedCrossing(5, output_mode="one_hot")(ids[::-1])
    np.testing.assert_array_equal(found["town_X_pay"], expected)
    first = space({k: v[0] for k, v in DATA.items()})
    jax.tree.map(np.testing.assert_array_equal, first, {k: v[0] for k, v in found.items()})
    if mode == "one_hot":
        joined = adapted(features, crosses=crosses, crossing_dim=5)(DATA)
        np.testing.assert_array_equal(joined, np.concatenate(list(found.values()), 1))


def test_a_space_of_keras():
    # Keras 3.15 gave this, with TensorFlow for its strings
    features = {"z": "float", "a": "integer_categorical", "m": "string_hashed"}
    data = {"z": np.array([0.5, 0.25]), "a": [1, 2], "m": ["x", "y"]}
    crosses = [("m", "a"), ("a", "m")]
    space = adapted(features, data, hashing_dim=3, crosses=crosses, crossing_dim=5)
    assert space(data).tolist() == [
        [0, 0, 1, 0, 0, 1, 0.5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 1, 0.25, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
    ]


def test_data_by_batches():
    features = {**KINDS, "age": "float_normalized"}
    whole = np.asarray(adapted(features)(DATA))
    rows = [{k: v[i] for k, v in DATA.items()} for i in range(4)]
    for data in (batches(), list(batches()), rows, [DATA]):
        np.testing.assert_allclose(adapted(features, data)(DATA), whole, rtol=1e-6)
    again = adapted(features)
    again.adapt({k: v[:2] for k, v in DATA.items()})
    assert again(DATA).shape == (4, 1 + 3 + 3)
    assert again.get_encoded_features().shape == (None, 7)


def test_layers_of_ones_own():
    texts = layers.TextVectorization(max_tokens=4, output_mode="multi_hot")
    lookup = layers.StringLookup(vocabulary=["Ulm"])
    features = {
        "age": FeatureSpace.feature("float32", layers.Rescaling(2.0), "float"),
        "text": FeatureSpace.feature("string", texts, "float"),
        "town": FeatureSpace.feature("string", lookup, "one_hot"),
    }
    data = {"age": [1.0, 2.0], "text": ["x y", "y z"], "town": ["Ulm", "Bern"]}
    space = adapted(features, data)
    assert texts.get_vocabulary() == ["[UNK]", "y", "z", "x"]
    assert space(data).tolist() == [[2, 0, 1, 0, 1, 0, 1], [4, 0, 1, 1, 0, 1, 0]]


def test_nothing_to_learn_needs_no_adapt():
    space = FeatureSpace({"x": "float", "n": FeatureSpace.integer_hashed(3)})
    assert space({"x": [1.0], "n": [5]}).shape == (1, 4)
    assert space.get_inputs()["n"].dtype == "int32"


def test_inputs_and_features_make_models():
    numbers = {"age": "float_normalized", "pay": KINDS["pay"]}
    space = adapted(numbers)
    inputs, encoded = space.get_inputs(), space.get_encoded_features()
    assert {k: (t.shape, t.name) for k, t in inputs.items()} == {k: ((None, 1), k) for k in numbers}
    y = DATA["age"] / 10
    hidden = layers.Dense(1)(encoded)
    on_features = carnyx.Model(encoded, hidden)
    on_features.compile("sgd", "mse")
    losses = on_features.fit(space(DATA), y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    on_data = carnyx.Model(inputs, hidden)
    raw = {k: DATA[k][:, None] for k in numbers}
    on_data.compile("sgd", "mse")
    expected = on_features.predict(space(DATA), verbose=0)
    np.testing.assert_allclose(on_data.predict(raw, verbose=0), expected, rtol=1e-5)


def test_strings_are_a_part_of_graphs_too():
    space = adapted(KINDS, crosses=[("pay", "town")], crossing_dim=6)
    encoded = space.get_encoded_features()
    assert encoded.shape == (None, 1 + 5 + 4 + 6)
    model = carnyx.Model(encoded, layers.Dense(2)(encoded))
    assert model(space(DATA)).shape == (4, 2)


def test_config_round_trip():
    features = {
        **KINDS,
        "bins": FeatureSpace.float_discretized(3),
        "rescaled": "float_rescaled",
        "hashed": "string_hashed",
    }
    data = {**DATA, "bins": DATA["age"], "rescaled": DATA["age"], "hashed": DATA["town"]}
    crosses = [FeatureSpace.cross(("pay", "town"), 7)]
    space = adapted(features, data, crosses=crosses, hashing_dim=4, name="table")
    config = json.loads(json.dumps(space.get_config()))
    twin = FeatureSpace.from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config
    assert twin.name == "table" and twin.crosses[0].name == "pay_X_town"
    with pytest.raises(ValueError, match=r"has not seen: \['pay', 'town'\]"):
        twin(data)
    for name in ("pay", "town"):  # as a file's assets do
        twin.preprocessors[name].set_vocabulary(space.preprocessors[name].get_vocabulary())
    np.testing.assert_array_equal(twin(data), space(data))


def test_configs_of_keras():
    # without strings and whole numbers, for which Keras needs TensorFlow
    features = {"a": "float", "b": "float_rescaled", "c": "float_normalized"}
    theirs = keras.utils.FeatureSpace(features, hashing_dim=5)
    ours = FeatureSpace.from_config(theirs.get_config())
    assert {k: type(f.preprocessor).__name__ for k, f in ours.features.items()} == {
        "a": "Identity",
        "b": "Rescaling",
        "c": "Normalization",
    }
    back = keras.saving.deserialize_keras_object(serialize(ours))
    assert list(back.features) == list(features) and back.hashing_dim == 5
    assert back.features["b"].preprocessor.get_config() == (
        theirs.features["b"].preprocessor.get_config()
    )


def test_signatures_are_keras_own():
    names = "float float_rescaled float_normalized float_discretized integer_categorical".split()
    names += "string_categorical integer_hashed string_hashed cross feature adapt".split()
    pairs = [(getattr(FeatureSpace, n), getattr(keras.utils.FeatureSpace, n)) for n in names]
    for ours, theirs in [(FeatureSpace, keras.utils.FeatureSpace), *pairs]:
        described = [
            [(p.name, p.default) for p in inspect.signature(f).parameters.values()]
            for f in (ours, theirs)
        ]
        assert described[0] == described[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureSpace({}), "a dict of one or more"),
        (lambda: FeatureSpace({"x": "floating"}), r"features\['x'\] must be one of .*Did you"),
        (lambda: FeatureSpace(KINDS, output_mode="list"), "output_mode must be one of 'concat'"),
        (lambda: FeatureSpace.integer_categorical(output_mode="count"), "output_mode must be"),
        (lambda: FeatureSpace.feature("float32", None, "float"), "preprocessor is a layer"),
        (
            lambda: FeatureSpace.cross(("a", "b"), 3, "float"),
            "Cross 'a_X_b': output_mode must be one",
        ),
        (lambda: FeatureSpace(KINDS, crosses=[("pay",)]), "a cross is of two or more"),
        (lambda: FeatureSpace(KINDS, crosses=[("pay", "toun")]), "Did you mean 'town'"),
        (lambda: FeatureSpace(KINDS, crosses=[("pay", "age")]), "'age' is a float and cannot"),
        (lambda: FeatureSpace(KINDS)(DATA), r"adapt\(dataset\) first. .* \['pay', 'town'\]"),
        (lambda: FeatureSpace(KINDS).get_inputs(), r"call adapt\(dataset\) first"),
        (lambda: FeatureSpace(KINDS).adapt({"pay": [1]}), "no column is named 'town' among"),
        (lambda: adapted(KINDS)({"age": [1.0]}), "no column is named 'pay' among"),
        (lambda: adapted(KINDS)([1.0]), "takes a dict of columns; received list"),
        (lambda: adapted(KINDS)({**DATA, "town": [1, 2, 3, 4]}), "takes strings; received int"),
        (
            lambda: adapted({"pay": FeatureSpace.integer_categorical(output_mode="int")}),
            "feature 'pay' has whole numbers",
        ),
        (
            lambda: FeatureSpace(
                {"x": FeatureSpace.feature("float32", layers.Rescaling(2.0), "one_hot")}
            )({"x": [1.0]}),
            "does not tell how many numbers it gives",
        ),
        (
            lambda: FeatureSpace(
                {"x": FeatureSpace.feature("int32", layers.Identity(), "one_hot")}
            )({"x": [1]}),
            "does not tell how many numbers it gives",
        ),
    ],
)
def test_mistakes(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
