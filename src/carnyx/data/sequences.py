"""Sequences: padding, windows over time series, halves of data sets, packing of batches."""

from __future__ import annotations

import math
import random
from typing import Any

import jax
import numpy as np

from carnyx.data import kinds
from carnyx.data.checks import check_count, is_stream, to_arrays
from carnyx.data.dataset import Dataset
from carnyx.data.rows import Rows, shuffler, take


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences of different lengths as one array [B, T, ...].

    Args:
        sequences: lists (of numbers, or of arrays of one shape).
        maxlen: T; None takes the longest sequence's length.
        dtype: of the result; `object` or str for texts.
        padding, truncating: "pre" or "post": where `value` is filled in, and where too long
            sequences are cut.

    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2).tolist()
    [[0, 1], [2, 3], [5, 6]]
    """
    for name, where in (("padding", padding), ("truncating", truncating)):
        if where not in ("pre", "post"):
            raise ValueError(f"pad_sequences: {name} is 'pre' or 'post'. Received: {where!r}")
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"pad_sequences: pass a list of sequences. Received: {sequences!r}")
    for index, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(
                f"pad_sequences: sequence {index} is {sequence!r}. Expected a list of lists."
            )
    text = np.issubdtype(dtype, np.str_)
    if isinstance(value, str) and dtype is not object and not text:
        raise ValueError(
            f"pad_sequences: the value {value!r} is a text and dtype is {dtype}. Pass dtype=object."
        )
    length = max((len(s) for s in sequences), default=0) if maxlen is None else maxlen
    shape = next((np.shape(s)[1:] for s in sequences if len(s)), ())
    found = np.full((len(sequences), length, *shape), value, dtype=dtype)
    for row, sequence in zip(found, sequences, strict=True):
        if not len(sequence) or not length:
            continue
        kept = np.asarray(sequence[-length:] if truncating == "pre" else sequence[:length], dtype)
        if kept.shape[1:] != shape:
            raise ValueError(
                f"pad_sequences: one sequence has entries of shape {kept.shape[1:]}, an earlier "
                f"one of shape {shape}. Expected the same in all."
            )
        row[slice(length - len(kept), None) if padding == "pre" else slice(len(kept))] = kept
    return found


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Dataset:
    """A Dataset of windows [B, sequence_length, ...] over a series [T, ...], and their targets.

    Window i holds the steps i s, i s + r, ..., i s + (sequence_length - 1) r with s the
    `sequence_stride` and r the `sampling_rate`; its target is `targets[i s]`.

    Args:
        targets: [T, ...], or None for windows alone.
        batch_size: None gives single windows.
        shuffle, seed: whether windows come in a new order each pass.
        start_index, end_index: the part of the series that is used.
        format: kept for Keras's signature: "tf" and "grain" give the same Dataset.

    >>> data = timeseries_dataset_from_array(np.arange(6), np.arange(6) * 10, 2, sampling_rate=3)
    >>> [(x.tolist(), y.tolist()) for x, y in data]
    [([[0, 3], [1, 4], [2, 5]], [0, 10, 20])]
    """
    place = "timeseries_dataset_from_array()"
    counts = {"sequence_length": sequence_length, "sequence_stride": sequence_stride}
    for name, number in {
        **counts,
        "sampling_rate": sampling_rate,
        "batch_size": batch_size,
    }.items():
        check_count(name, number, place)
    length = len(data)
    start, stop = start_index or 0, length if end_index is None else end_index
    if not 0 <= start < stop <= length:
        raise ValueError(
            f"{place}: 0 <= start_index < end_index <= {length}, the length of the series. "
            f"Received: start_index={start_index}, end_index={end_index}"
        )
    windows = stop - start - (sequence_length - 1) * sampling_rate
    if targets is not None:
        windows = min(windows, len(targets) - start)
    if windows < 1:
        raise ValueError(
            f"{place}: {stop - start} steps hold no window of {sequence_length} steps at a "
            f"distance of {sampling_rate}. Make windows shorter, or give more steps."
        )
    firsts = np.arange(start, start + windows, sequence_stride)
    steps, orders = np.arange(sequence_length) * sampling_rate, shuffler(shuffle, seed)
    size = batch_size or 1

    def begin() -> Any:
        order = firsts if orders is None else orders.permutation(firsts)
        for at in range(0, len(order), size):
            rows = order[at : at + size]
            x = np.asarray(data[(rows[:, None] + steps).ravel()])
            x = x.reshape(len(rows), sequence_length, *x.shape[1:])
            batch = x if targets is None else (x, np.asarray(targets[rows]))
            yield batch if batch_size else jax.tree.map(lambda a: a[0], batch)

    data, targets = _indexable(data), _indexable(targets)
    return Dataset(begin, math.ceil(len(firsts) / size))


def _indexable(value: Any) -> Any:
    """What takes arrays of indices: lists become arrays, memory-mapped files stay files."""
    return np.asarray(value) if value is not None and not isinstance(value, np.ndarray) else value


def split_dataset(
    dataset: Any,
    left_size: float | int | None = None,
    right_size: float | int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Dataset, Dataset]:
    """The first and the last samples as two Datasets of samples (call `.batch(32)` on them).

    Args:
        dataset: arrays, or a list, tuple or dict of arrays with one first size, or anything that
            gives samples one by one (a tf.data.Dataset, a PyTorch dataset, a Dataset), which is
            read whole.
        left_size, right_size: a fraction in [0, 1] of the samples, or their number; one may be
            left out and is then all the rest.
        shuffle, seed: whether samples change places first.
        preferred_backend: kept for Keras's signature.

    >>> left, right = split_dataset(np.arange(10), left_size=0.8)
    >>> [int(sample) for sample in right]
    [8, 9]
    """
    samples = _samples(dataset)
    left, right = _sizes(left_size, right_size, len(samples))
    order = list(range(len(samples)))
    if shuffle:
        random.Random(seed).shuffle(order)

    def part(rows: list[int]) -> Dataset:
        return Dataset.of_samples(rows, None, lambda i: samples[i])

    return part(order[:left]), part(order[len(order) - right :])


class _Arrays:
    """Samples of arrays: row i of each."""

    def __init__(self, arrays: Any) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.arrays)[0])

    def __getitem__(self, i: int) -> Any:
        def row(array: Any) -> Any:
            return take(array, np.array([i]))[0] if isinstance(array, Rows) else array[i]

        found = jax.tree.map(row, self.arrays)
        return tuple(found) if isinstance(found, list) else found


def _samples(dataset: Any) -> Any:
    listed = isinstance(dataset, (np.ndarray, list, tuple, dict)) or kinds.is_array(dataset)
    indexed = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if listed or (hasattr(dataset, "__array__") and hasattr(dataset, "shape")):
        arrays = to_arrays(dataset, "split_dataset: dataset")
        sizes = {len(leaf) for leaf in jax.tree.leaves(arrays)}
        if len(sizes) != 1:
            raise ValueError(
                f"split_dataset: the arrays have {sorted(sizes)} samples. Expected one length."
            )
        return _Arrays(arrays)
    if is_stream(dataset):
        return list(getattr(dataset, "as_numpy_iterator", lambda: dataset)())
    if indexed:
        return [dataset[i] for i in range(len(dataset))]
    raise TypeError(
        "split_dataset: pass arrays, a data set, or a list, tuple or dict of arrays. Received: "
        f"{type(dataset).__name__}"
    )


def _sizes(left: Any, right: Any, total: int) -> tuple[int, int]:
    """Numbers of samples; the one that is left out is the rest."""
    if left is None and right is None:
        raise ValueError("split_dataset: pass left_size or right_size, or both.")
    for name, size in (("left_size", left), ("right_size", right)):
        fraction = isinstance(size, float)
        known = size is None or (isinstance(size, (int, float)) and not isinstance(size, bool))
        if not known or (size is not None and not 0 <= size <= (1 if fraction else total)):
            raise ValueError(
                f"split_dataset: {name} is a fraction in [0, 1] or a number of the {total} samples."
                f" Received: {size!r}"
            )
    first = None if left is None else round(left * total) if isinstance(left, float) else left
    last = None if right is None else round(right * total) if isinstance(right, float) else right
    first = total - (last or 0) if first is None else first
    last = total - first if last is None else last
    if first + last > total or not first or not last:
        raise ValueError(
            f"split_dataset: left_size={left!r} and right_size={right!r} of {total} samples make "
            f"{first} and {last}: more than there are, or none on a side."
        )
    return first, last


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """What `fit` takes as a batch: x alone (a list of inputs in a tuple), (x, y) or all three.

    >>> pack_x_y_sample_weight([1, 2]), pack_x_y_sample_weight(1, 2)
    (([1, 2],), (1, 2))
    """
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) of a batch as `train_step` gets it, None for what is not there.

    >>> unpack_x_y_sample_weight((1, 2))
    (1, 2, None)
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"A batch is x, (x, y) or (x, y, sample_weight). Received: {data!r}")
    x, y, weight = [*data, None, None][:3]
    return x, y, weight
