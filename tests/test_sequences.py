"""Padding, windows over series, halves of data sets and packing, against Keras."""

from __future__ import annotations

import importlib.util
from typing import Any

import jax
import numpy as np
import pytest

import carnyx
from carnyx.data.dataset import Dataset

utils: Any = carnyx.utils

NESTED = [[1], [2, 3], [4, 5, 6], []]


@pytest.mark.parametrize(
    ("sequences", "arguments"),
    [
        (NESTED, {}),
        (NESTED, {"maxlen": 2}),
        (NESTED, {"maxlen": 2, "truncating": "post"}),
        (NESTED, {"maxlen": 5, "padding": "post", "value": -1}),
        ([[0.5], [1.5, 2.5]], {"dtype": "float32", "padding": "post"}),
        ([["a"], ["b", "c"]], {"dtype": object, "value": "pad"}),
        ([[[1, 2]], [[3, 4], [5, 6]]], {"maxlen": 3}),
        ([np.array([1, 2]), np.array([3])], {}),
    ],
)
def test_padding_is_that_of_keras(sequences: Any, arguments: dict[str, Any]) -> None:
    import keras

    found = utils.pad_sequences(sequences, **arguments)
    wanted = keras.utils.pad_sequences(sequences, **arguments)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(sequences=NESTED, padding="left"), "padding is 'pre' or 'post'. Received: 'left'"),
        (dict(sequences=NESTED, truncating="x"), "truncating is 'pre' or 'post'"),
        (dict(sequences=5), "pass a list of sequences"),
        (dict(sequences=[1, 2]), "sequence 0 is 1. Expected a list of lists"),
        (dict(sequences=NESTED, value="pad"), "'pad' is a text and dtype is int32"),
        (
            dict(sequences=[[[1, 2]], [[1]]]),
            r"entries of shape \(1,\), an earlier one of shape \(2,",
        ),
    ],
)
def test_refused_padding(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.pad_sequences(**arguments)


SERIES = np.arange(24).reshape(12, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"sequence_stride": 2, "sampling_rate": 2, "batch_size": 2},
        {"sequence_stride": 3, "batch_size": 4},
        {"start_index": 2, "end_index": 9},
        {"start_index": 1, "sampling_rate": 3},
        {"batch_size": None, "end_index": 7},
    ],
)
@pytest.mark.parametrize("labelled", [0, 5, 12])
def test_windows_are_those_of_keras(arguments: dict[str, Any], labelled: int) -> None:
    pytest.importorskip("grain", reason="Keras makes windows with it; in the `test` extra")
    import keras

    if labelled == 5 and "start_index" in arguments:
        labelled = 8  # Keras asks for targets that are not there
    targets = np.arange(labelled) * 10 if labelled else None
    given = (SERIES, targets, 3)
    theirs = keras.utils.timeseries_dataset_from_array(*given, **arguments, format="grain")
    ours = utils.timeseries_dataset_from_array(*given, **arguments)
    found, wanted = list(ours), list(theirs)
    assert len(found) == len(wanted) == len(ours)
    for mine, their in zip(found, wanted, strict=True):
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(their), strict=True):
            np.testing.assert_array_equal(a, b)


def test_windows_shuffle_anew_and_read_only_what_they_need(tmp_path: Any) -> None:
    np.save(tmp_path / "series.npy", SERIES)
    stored = np.load(tmp_path / "series.npy", mmap_mode="r")
    data = utils.timeseries_dataset_from_array(
        stored, np.arange(12), 3, shuffle=True, seed=1, batch_size=4
    )
    orders = [[int(i) for _, y in data for i in y] for _ in range(2)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    for x, y in data:
        np.testing.assert_array_equal(x[:, 0], SERIES[y])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(sequence_length=0), "sequence_length is a whole number from 1"),
        (dict(sequence_length=13), "12 steps hold no window of 13 steps"),
        (dict(sequence_length=2, start_index=5, end_index=4), "start_index < end_index <= 12"),
        (dict(sequence_length=2, end_index=20), "the length of the series"),
        (dict(sequence_length=2, sampling_rate=-1), "sampling_rate is a whole number"),
    ],
)
def test_refused_windows(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.timeseries_dataset_from_array(SERIES, None, **arguments)


# ---- halves


@pytest.mark.parametrize(
    "sizes",
    [
        {"left_size": 0.7},
        {"left_size": 3},
        {"right_size": 4},
        {"right_size": 0.25},
        {"left_size": 2, "right_size": 3},
        {"left_size": 0.25, "right_size": 0.25},
        {"left_size": 0.75},
        {"left_size": 3, "shuffle": True, "seed": 1},
    ],
)
def test_halves_are_those_of_keras(sizes: dict[str, Any]) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed: Keras splits with it (1.3 GB; `make bench`)")
    import keras

    theirs = keras.utils.split_dataset(np.arange(10), **sizes, preferred_backend="tensorflow")
    ours = utils.split_dataset(np.arange(10), **sizes)
    for mine, their in zip(ours, theirs, strict=True):
        assert [int(s) for s in mine] == [int(s) for s in their]


def test_halves_of_every_kind_of_data() -> None:
    x, y = np.arange(10), np.arange(10) * 2
    data = Dataset.of_samples(list(zip(x, y, strict=True)), None)
    for given in ((x, y), [x, y], data, iter(list(data))):
        left, right = utils.split_dataset(given, left_size=0.8)
        assert [(int(a), int(b)) for a, b in right] == [(8, 16), (9, 18)]
        assert [len(a) for a, _ in left.batch(3)] == [3, 3, 2]
    (sample,) = utils.split_dataset({"x": x}, right_size=1)[1]
    assert sample == {"x": 9}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(), "pass left_size or right_size"),
        (dict(left_size=11), "left_size is a fraction .* of the 10 samples. Received: 11"),
        (dict(left_size=1.5), "Received: 1.5"),
        (dict(left_size=True), "Received: True"),
        (dict(left_size=0.5, right_size=0.6), "make 5 and 6: more than there are"),
        (dict(left_size=10), "make 10 and 0"),
    ],
)
def test_refused_halves(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.split_dataset(np.arange(10), **arguments)
    with pytest.raises(ValueError, match=r"have \[9, 10\] samples"):
        utils.split_dataset([np.arange(10), np.arange(9)], 0.5)
    with pytest.raises(TypeError, match="Received: int"):
        utils.split_dataset(5, 0.5)


# ---- packing and our own data sets


@pytest.mark.parametrize("parts", [(1,), ([1, 2],), ((1, 2),), (1, 2), (1, 2, 3), (1, None, 3)])
def test_packing_is_that_of_keras(parts: Any) -> None:
    import keras

    packed = utils.pack_x_y_sample_weight(*parts)
    assert packed == keras.utils.pack_x_y_sample_weight(*parts)
    assert utils.unpack_x_y_sample_weight(packed) == keras.utils.unpack_x_y_sample_weight(packed)
    assert utils.unpack_x_y_sample_weight([1, 2]) == (1, 2, None)
    with pytest.raises(ValueError, match="A batch is x, "):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))


def numbers() -> Dataset:
    return Dataset.of_samples(list(range(7)), None, name="seven")


@pytest.mark.parametrize(
    ("make", "items"),
    [
        (lambda d: d.map(lambda i: i * 2), [0, 2, 4, 6, 8, 10, 12]),
        (lambda d: d.take(3), [0, 1, 2]),
        (lambda d: d.take(9), list(range(7))),
        (lambda d: d.skip(5), [5, 6]),
        (lambda d: d.skip(9), []),
        (lambda d: d.repeat(2).skip(6).take(3), [6, 0, 1]),
        (lambda d: d.repeat().take(9), [0, 1, 2, 3, 4, 5, 6, 0, 1]),
        (lambda d: d.batch(3).unbatch(), list(range(7))),
        (lambda d: d.cache().prefetch(1), list(range(7))),
        (lambda d: d.shuffle(1), list(range(7))),
    ],
)
def test_methods_of_datasets(make: Any, items: list[int]) -> None:
    data = make(numbers())
    for _ in range(2):
        assert [int(i) for i in data.as_numpy_iterator()] == items
    assert data.name == "seven"
    assert data.cardinality() in (len(items), None)


def test_batches_lengths_and_ends() -> None:
    data = numbers()
    assert [b.tolist() for b in data.batch(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    dropped = data.batch(3, drop_remainder=True)
    assert [len(b) for b in dropped] == [3, 3] and len(dropped) == 2
    assert sorted(data.shuffle(4, seed=1)) == list(range(7)) != list(data.shuffle(4, seed=1))
    assert len(data.repeat(2)) == 14 and data.repeat().endless and data.repeat()
    with pytest.raises(TypeError, match="never ends: .take"):
        len(data.repeat())
    with pytest.raises(TypeError, match="nobody knows"):
        len(data.unbatch())


def test_cache_reads_once() -> None:
    read: list[int] = []
    data = numbers().map(lambda i: read.append(i) or i).cache()
    list(data.take(2))  # not a whole pass: nothing is kept
    assert list(data) == list(data) == list(range(7))
    assert read == [0, 1, *range(7)] or read == [0, 1, 2, *range(7)]


# ---- small utilities


def test_config_behaves_as_in_keras() -> None:
    import keras

    for module in (carnyx, keras):
        config = module.utils.Config(a=1, b={"x": 2})
        config.c = 3
        config["d"] = 4
        assert (config.c, config["d"], len(config), "a" in config) == (3, 4, 4, True)
        assert config.pop("d") == 4 and config.get("d", 0) == 0 and list(config) == ["a", "b", "c"]
        assert config.as_dict() == {"a": 1, "b": {"x": 2}, "c": 3}
        assert repr(config) == "<Config {'a': 1, 'b': {'x': 2}, 'c': 3}>"
        config.freeze()
        for change in (
            lambda c=config: setattr(c, "a", 2),
            lambda c=config: c.update({"q": 1}),
            lambda c=config: c.pop("a"),
        ):
            with pytest.raises(ValueError, match="frozen"):
                change()
        with pytest.raises(AttributeError, match="zz"):
            config.zz  # noqa: B018
        config.unfreeze()
        config.a = 5
        assert config.to_json() == '{"a": 5, "b": {"x": 2}, "c": 3}'
    with pytest.raises(AttributeError, match="Did you mean 'rate'"):
        carnyx.utils.Config(rate=1).rat  # noqa: B018


def test_names_of_utils_are_there() -> None:
    import keras

    theirs = {n for n in dir(keras.utils) if not n.startswith("_")}
    assert theirs - set(dir(utils)) <= {"FeatureSpace", "bounding_boxes", "legacy"}
    assert utils.standardize_dtype(np.float32) == "float32"
    assert utils.is_keras_tensor(carnyx.Input((2,)))
