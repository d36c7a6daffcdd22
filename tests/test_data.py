"""Data: sources against plain NumPy slicing and Keras's batches, and every refusal."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from carnyx.data.adapters import adapt, split
from carnyx.data.batches import OutOfData

X, Y = np.arange(20, dtype="float32").reshape(10, 2), np.arange(10)


def batches(source: Any, epoch: int = 0) -> list[Any]:
    """The batches of an epoch as the loop gathers them."""
    found = []
    for segment in source.segments(epoch):
        assert segment.order.dtype == np.int32
        assert len(segment.order) >= segment.steps * segment.batch_size  # the rest is not used
        for i in range(segment.steps):
            rows = segment.order[i * segment.batch_size : (i + 1) * segment.batch_size]
            found.append(jax.tree.map(lambda a, rows=rows: a[rows], segment.data))
    return found


def labels(source: Any, epoch: int = 0) -> list[list[int]]:
    return [y.tolist() for _, y, _ in batches(source, epoch)]


def keras_labels(epochs: int = 1, **arguments: Any) -> list[list[list[int]]]:
    from keras.src.trainers.epoch_iterator import EpochIterator

    iterator = EpochIterator(X, Y, **arguments)
    return [
        [next(it)[1].tolist() for _, _, it in iterator._enumerate_iterator()] for _ in range(epochs)
    ]


# ---- arrays


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 32])
def test_batches_are_those_of_keras(batch_size: int) -> None:
    source = adapt(X, Y, batch_size=batch_size)
    assert labels(source) == keras_labels(batch_size=batch_size)[0]
    assert source.steps == math.ceil(10 / batch_size)


def test_full_batches_are_one_segment_and_the_rest_another() -> None:
    found = list(adapt(X, Y, batch_size=4).segments(0))
    assert [(s.batch_size, s.steps) for s in found] == [(4, 2), (2, 1)]


@pytest.mark.filterwarnings("ignore:.*ran out of data:UserWarning")
def test_steps_go_on_over_epochs_as_in_keras() -> None:
    expected = keras_labels(epochs=4, batch_size=2, steps_per_epoch=3)
    source = adapt(X, Y, batch_size=2, steps_per_epoch=3)
    found = [labels(source, 0)]
    with pytest.warns(UserWarning, match="ended after 2 of 3 batches"):
        found.append(labels(source, 1))
    found.append(labels(source, 2))
    with pytest.warns(UserWarning, match="fit.*ended after 2 of 3"):
        found.append(labels(source, 3))
    assert found == expected


def test_steps_decide_the_batch_size_as_in_keras() -> None:
    assert labels(adapt(X, Y, steps_per_epoch=3)) == keras_labels(steps_per_epoch=3)[0]


def test_validation_begins_anew_each_epoch() -> None:
    source = adapt(X, Y, batch_size=2, steps_per_epoch=2, validation=True)
    assert labels(source, 0) == labels(source, 7) == [[0, 1], [2, 3]]


def test_resident_arrays_are_the_same_objects_each_epoch() -> None:
    source = adapt([X, X], Y, batch_size=4, shuffle=True)
    first = [id(a) for s in source.segments(0) for a in jax.tree.leaves(s.data)]
    assert first == [id(a) for s in source.segments(1) for a in jax.tree.leaves(s.data)]
    assert next(source.segments(2)).data[0][0] is X  # float32 is not copied


def test_shuffling_permutes_rows_anew_each_epoch() -> None:
    source = adapt(X, Y, batch_size=4, shuffle=True, seed=1)
    first, second = labels(source), labels(source, 1)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(10))
    assert len({str(first), str(second), str(labels(adapt(X, Y, batch_size=4)))}) == 3
    assert first == labels(adapt(X, Y, batch_size=4, shuffle=True, seed=1))
    for x, y, _ in batches(source, 2):
        np.testing.assert_array_equal(x, X[y])  # rows stay together


def test_numpy_seed_decides_the_order() -> None:
    def order() -> list[list[int]]:
        np.random.seed(5)  # noqa: NPY002
        return labels(adapt(X, Y, shuffle=True))

    assert order() == order()


def test_shuffling_batches_keeps_them_whole() -> None:
    found = labels(adapt(X, Y, batch_size=3, shuffle="batch", seed=3))
    assert sorted(found[:3]) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]] and found[3] == [9]
    assert found[:3] != sorted(found[:3])


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.ones((3, 2)), "float32"),
        (np.ones((3, 2), "float16"), "float16"),
        (np.ones((3, 2), "uint8"), "uint8"),
        (np.ones((3, 2), bool), "bool"),
        (np.ones((3, 2), "int64"), "int64"),
        (np.ones((3, 2), "longdouble"), "float32"),
        (jnp.ones((3, 2), "bfloat16"), "bfloat16"),
        ([[1.0, 2.0]] * 3, "float32"),
        ([1, 2, 3], "int64"),
        ([np.float32(1), np.float32(2)], "float32"),
        (range(3), "int64"),
    ],
)
def test_types_are_kept_but_for_wide_floats(given: Any, dtype: str) -> None:
    x, y, weight = adapt(given).peek()
    assert isinstance(x, np.ndarray) and x.dtype == dtype
    assert y is None and weight is None


def test_structures_stay() -> None:
    x = {"a": X, "b": [X, (jnp.asarray(X), None)]}
    found = adapt(x, (Y, Y.tolist()), batch_size=4).peek()
    assert jax.tree.structure(found) == jax.tree.structure((x, (Y, Y), None))
    assert all(len(leaf) == 4 for leaf in jax.tree.leaves(found[0]))


def test_great_finite_values_are_no_infinity() -> None:
    adapt(np.full(100, 1e38, "float32"))
    adapt(jnp.full((70000,), 3.0, "bfloat16"))
    adapt(np.full(70000, 3.0, "float16"))


# ---- weights


@pytest.mark.parametrize("shape", [(10,), (10, 1), (10, 3)])
def test_class_weights_are_those_of_keras(shape: tuple[int, ...]) -> None:
    from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

    y = np.random.default_rng(0).integers(0, 3, 10)
    weights = {0: 1.0, 1: 2.5, 2: 0.0, 7: 9.0}
    given = np.eye(3)[y] if shape[-1] == 3 else y.reshape(shape).astype("float32")
    _, _, found = next(adapt(X, given, class_weight=weights).segments(0)).data
    np.testing.assert_array_equal(found, class_weight_to_sample_weights(given, weights))


def test_class_weights_multiply_sample_weights() -> None:
    source = adapt(X, Y % 2, np.full((10, 1), 2.0), class_weight={0: 1.0, 1: 3.0})
    assert source.peek()[2].tolist() == [2.0, 6.0] * 5


def test_class_weights_of_sequences() -> None:
    y = np.eye(2)[np.array([[0, 1, 1], [1, 0, 0]])]
    found = adapt(np.ones((2, 3)), y, class_weight={0: 1.0, 1: 5.0}).peek()[2]
    assert found.tolist() == [[1, 5, 5], [5, 1, 1]]


def test_class_weights_work_on_streams() -> None:
    source = adapt(iter([(X, Y % 2)]), class_weight={0: 1.0, 1: 3.0})
    assert source.peek()[2].tolist() == [1.0, 3.0] * 5


@pytest.mark.parametrize(
    ("y", "weight"),
    [
        (Y, np.ones((10, 1))),
        (np.ones((10, 4, 2)), np.ones((10, 4))),
        (np.ones((10, 4, 2)), np.ones(10)),
        ([Y, Y], np.ones(10)),
        ([Y, np.ones((10, 4))], [np.ones(10), np.ones((10, 4))]),
        (None, np.ones(10)),
    ],
)
def test_weights_that_fit_are_taken(y: Any, weight: Any) -> None:
    adapt(X, y, weight)


# ---- splits


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.99])
def test_split_is_that_of_keras(fraction: float) -> None:
    from keras.src.trainers.data_adapters.array_slicing import train_validation_split

    x = np.arange(101)
    expected = train_validation_split((x, x, None), fraction)
    for found, wanted in zip(split(x, x, None, fraction), expected, strict=True):
        np.testing.assert_array_equal(found[0], np.asarray(wanted[0][:]))
        assert found[2] is None


# ---- streams


def stream(count: int = 4, endless: bool = False) -> Any:
    i = 0
    while endless or i < count:
        yield np.full((2, 3), i, "float64"), np.array([i, i])
        i += 1


def firsts(source: Any, epoch: int = 0) -> list[int]:
    return [int(y[0]) for _, y, _ in batches(source, epoch)]


def test_peeking_loses_no_batch() -> None:
    source = adapt(stream())
    assert source.peek()[0].dtype == "float32" and source.peek() is source.peek()
    assert source.steps is None
    assert firsts(source) == [0, 1, 2, 3]


def test_endless_generators_go_on_over_epochs() -> None:
    source = adapt(stream(endless=True), steps_per_epoch=2)
    source.peek()
    assert [firsts(source, e) for e in range(3)] == [[0, 1], [2, 3], [4, 5]]


def test_generator_that_ends_early_warns_and_then_has_nothing() -> None:
    source = adapt(stream(), steps_per_epoch=3)
    assert firsts(source) == [0, 1, 2]
    with pytest.warns(UserWarning, match="ended after 1 of 3 batches"):
        assert firsts(source, 1) == [3]
    with pytest.raises(OutOfData, match="no batch left after 4.*function that makes"):
        firsts(source, 2)


def test_used_up_generator_without_steps_is_an_error_in_the_next_epoch() -> None:
    source = adapt(stream())
    firsts(source)
    with pytest.raises(OutOfData, match="no batch left after 4"):
        firsts(source, 1)


class Again:
    def __iter__(self) -> Any:
        return stream()


@pytest.mark.parametrize("renewable", [stream, Again(), lambda: list(stream())])
def test_functions_and_iterables_begin_anew(renewable: Any) -> None:
    source = adapt(renewable)
    source.peek()
    assert [firsts(source, e) for e in range(3)] == [[0, 1, 2, 3]] * 3
    source = adapt(renewable, steps_per_epoch=3)
    assert firsts(source) == [0, 1, 2]
    with pytest.warns(UserWarning, match="ended after 1 of 3"):
        assert firsts(source, 1) == [3]
    assert firsts(source, 2) == [0, 1, 2]
    source = adapt(renewable, steps_per_epoch=2, validation=True)
    assert [firsts(source, e) for e in (4, 5)] == [[0, 1]] * 2
    source = adapt(renewable, steps_per_epoch=4)
    assert [firsts(source, e) for e in (0, 1)] == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize(
    ("batch", "empty"), [(X, (1, 2)), ((X,), (1, 2)), (([X, X], Y), (2,)), ((X, Y, Y), ())]
)
def test_batches_may_have_one_to_three_parts(batch: Any, empty: tuple[int, ...]) -> None:
    found = adapt(iter([batch])).peek()
    assert [i for i in range(3) if found[i] is None] == list(empty)


# ---- refusals

bad = X.copy()
bad[7, 1] = bad[3, 0] = np.nan
one = np.ones(10)
inf = np.where(Y == 4, np.inf, 1.0)
hot = np.eye(2)[Y % 2]

REFUSED = [
    # what is passed, the error's beginning
    (dict(x=None), r"fit\(\): x is missing"),
    (dict(x=[]), r"fit\(\): x is empty: its shape is \(0,\)"),
    (dict(x=np.zeros((0, 3))), r"fit\(\): x is empty: its shape is \(0, 3\)"),
    (dict(x=X, y=Y[:9]), r"x has 10 samples and y has 9\. Expected one entry"),
    (dict(x=X, y=[Y, Y[:9]]), r"x has 10 samples and y\[1\] has 9"),
    (dict(x={"a": X, "b": X[:3]}), r"x\['a'\] has 10 samples and x\['b'\] has 3"),
    (dict(x=[X[0]] * 10, y=Y[:5]), r"10 arrays, which means 10 inputs; .*np.stack\(x\)"),
    (dict(x=X, y=Y, sample_weight=one[:9]), r"sample_weight has 9\."),
    (dict(x=bad), r"x has NaN in row 3, at index \(3, 0\); 2 of its 20 values, in 2 of 10 rows"),
    (dict(x=X, y=[Y, inf]), r"y\[1\] has infinity in row 4"),
    (dict(x=X, y=Y, sample_weight=-inf), r"sample_weight has infinity in row 4"),
    (dict(x=X.astype("complex64") * np.nan), "x has NaN in row 0"),
    (dict(x=jnp.asarray(bad, "bfloat16")), "x has NaN in row 3"),
    (dict(x=np.full(3, 1e300)), "x has infinity in row 0"),
    (dict(x=Y + 2**40), r"integers from 1099511627776 to .* 32-bit"),
    (dict(x=["a", "b"]), r"x has dtype <U1 \(list\), where numbers"),
    (dict(x="text"), r"x has dtype <U4"),
    (dict(x=np.array([None, 1])), "x has dtype object"),
    (dict(x=X, y=np.array(["2020-01-01"] * 10, "M8")), "y has dtype datetime64"),
    (dict(x=[[1, 2], [3]]), "x is a nested list whose rows have different lengths"),
    (dict(x=3.0), r"x is a single number, 3\.0"),
    (dict(x=X, y=5), "y is a single number, 5"),
    (dict(x=X, batch_size=0), "batch_size is a whole number from 1. Received: batch_size=0"),
    (dict(x=X, batch_size=-4), "Received: batch_size=-4"),
    (dict(x=X, batch_size=2.5), r"Received: batch_size=2\.5"),
    (dict(x=X, batch_size=True), "Received: batch_size=True"),
    (dict(x=X, steps_per_epoch=-1), "Received: steps_per_epoch=-1"),
    (dict(x=X, steps_per_epoch=0, where="predict"), r"predict\(\): steps is a whole"),
    (dict(x=X, steps_per_epoch=0, validation=True), "validation_steps is a whole number"),
    (dict(x=X, shuffle="rows"), "shuffle is True, False or 'batch'. Received: 'rows'"),
    (dict(x=bad, validation=True), r"fit\(\): validation_data\[0\] has NaN"),
    (dict(x=X, y=iter([Y])), "y is a list_iterator, where an array is expected"),
    (dict(x=stream(), y=Y), "y came beside a generator as x"),
    (dict(x=stream(), sample_weight=Y), "sample_weight came beside a generator"),
    (dict(x=X, y=Y, class_weight={0: 1.0}), r"no weight for the labels \[1, 2, .*keys: \[0\]"),
    (dict(x=X, y=Y, class_weight=[1.0] * 10), "class_weight is a dict from label to weight"),
    (dict(x=X, y=Y, class_weight={"0": 1.0}), "class_weight has the key '0'"),
    (dict(x=X, y=Y, class_weight={0.5: 1.0}), r"class_weight has the key 0\.5"),
    (dict(x=X, y=Y, class_weight={0: -1.0}), r"class_weight\[0\] is a finite number from 0"),
    (dict(x=X, y=Y, class_weight={0: None}), r"class_weight\[0\] is a finite .* Received: None"),
    (dict(x=X, class_weight={0: 1.0}), "class_weight needs the labels .* nothing"),
    (dict(x=X, y=[Y, Y], class_weight={0: 1.0}), "class_weight needs the labels .* 2 arrays"),
    (dict(x=X, y=np.ones((10, 3)), class_weight={0: 1.0}), "rows that do not sum to 1"),
    (dict(x=X, y=Y, sample_weight=np.ones((10, 2))), r"sample_weight has shape \(10, 2\)"),
    (dict(x=X, y=hot, sample_weight=np.ones((10, 3))), r"y has shape \(10, 2\)\. Expected one"),
    (dict(x=X, y=[Y, Y], sample_weight=np.ones((10, 2))), "weights for several outputs"),
    (dict(x=X, y=[Y, Y], sample_weight=[one, hot]), r"sample_weight\[1\] has .* y\[1\]"),
    (dict(x=lambda: 3), "generator '<lambda>' returned int"),
    (dict(x=iter([])), "generator 'list_iterator' gave no batch"),
    (dict(x=iter([None])), "batch 1 of generator 'list_iterator' is None"),
    (dict(x=iter([(X, Y, Y, Y)])), "is a tuple of 4. Expected x, or a tuple"),
    (dict(x=iter([[X, Y]])), "is a list of 2. Expected x, or a tuple"),
    (dict(x=iter([()])), "is a tuple of 0"),
    (dict(x=iter([(X, Y[:9])])), "batch 1 of .*x has 10 samples and y has 9"),
    (dict(x=iter([(X, ["a"] * 10)])), "batch 1 of .*: y has dtype <U1"),
    (dict(x=iter([(X[:0], Y[:0])])), "batch 1 of .*x is empty"),
    (dict(x=iter([(X, Y), X])), "batch 2 of .* has the structure"),
    (dict(x=iter([(X, Y), (X[..., None], Y)])), r"ranks \[3, 1\], and the first .* \[2, 1\]"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        source = adapt(**arguments)
        source.peek()
        batches(source)
    assert str(caught.value).startswith(("fit():", "predict():"))


@pytest.mark.parametrize(
    ("x", "fraction", "message"),
    [
        (X, 1.0, "between 0 and 1, both excluded. Received: 1.0"),
        (X, -0.5, "Received: -0.5"),
        (X, True, "Received: True"),
        (X[:1], 0.5, "leaves none for training"),
        (X, 0.99999, "leaves none for training"),
        (stream, 0.5, "x is a generator. Pass validation_data"),
        (bad, 0.5, "x has NaN in row 3"),
    ],
)
def test_refused_splits(x: Any, fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(x, None, None, fraction)


def test_sparse_matrices_are_refused() -> None:
    from scipy import sparse

    with pytest.raises(TypeError, match=r"x is a sparse matrix .* Pass its `.toarray"):
        adapt(sparse.csr_array(X))


def batches_with(*of_third: Any) -> Any:
    """Four batches, of which the third is given."""
    yield X[:4], Y[:4]
    yield X[4:], Y[4:]
    yield of_third
    yield of_third


def test_not_finite_values_of_a_stream_are_warned_of_once() -> None:
    source = adapt(batches_with(bad, Y))
    said = (
        r"fit\(\): batch 3 of .*batches_with.*: x has NaN in row 3, at index \(3, 0\); 2 of its 20 "
        r"values, in 2 of 10 rows, are NaN or infinite\. .* fill them in"
    )
    with pytest.warns(UserWarning, match=said) as caught:
        found = [s.steps for s in source.segments(0)]
    assert sum(found) == 4 and len(caught) == 1, "it goes on, and the fourth is not told"
    with pytest.warns(UserWarning, match=r"batch 3 .* y has infinity in row 4"):
        list(adapt(batches_with(X, inf), where="evaluate").segments(0))


def test_a_warning_made_an_error_ends_the_reading() -> None:
    with pytest.raises(UserWarning, match="batch 3"):  # warnings are errors in tests
        list(adapt(batches_with(bad, Y)).segments(0))


def test_wide_integers_of_a_stream_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch 3 .*: y has integers from .* 32-bit"):
        list(adapt(batches_with(X, Y + 2**40)).segments(0))


def test_stored_rows_that_are_not_finite_are_warned_of(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", np.asarray(bad, "float32"))
    with pytest.warns(UserWarning, match=r"batch 1 of rows of 10 samples: x has NaN in row 3"):
        list(adapt(np.load(tmp_path / "x.npy", mmap_mode="r"), Y).segments(0))


def test_batch_size_of_a_generator_is_not_used() -> None:
    with pytest.warns(UserWarning, match="batch_size=8 is not used"):
        adapt(stream(), batch_size=8)
