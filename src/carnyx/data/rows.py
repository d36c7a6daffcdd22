"""Rows that stay where they are stored, and are read by index: files larger than memory.

`Rows` is one array of them (a memory-mapped .npy, an HDF5 data set, a column of a Hugging Face
table); `RowBatches` is an order of passes over several. Nothing is imported that stores them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from carnyx.core import dtypes


class Rows:
    """An array [N, ...] of which rows are read when they are asked for.

    `read(indices)` gives the rows of an int array of indices. `x[2:7]` is a window that reads
    nothing; `take` reads. 64-bit floats come as `floatx`.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], np.ndarray],
        shape: Sequence[int],
        dtype: Any,
        window: range | None = None,
    ) -> None:
        self._read = read
        self._window = range(*shape[:1]) if window is None and shape else window or range(0)
        self.shape: tuple[int, ...] = (len(self._window), *shape[1:]) if shape else ()
        self.ndim = len(shape)
        self.dtype = narrow(np.dtype(dtype))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"stored rows {self.shape}"

    def __getitem__(self, part: slice) -> Rows:
        return Rows(self._read, self.shape, self.dtype, self._window[part])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these indices, in their order."""
        found = self._read(self._window.start + rows * self._window.step)
        return np.asarray(found).astype(self.dtype, copy=False)


def narrow(dtype: np.dtype) -> np.dtype:
    """`floatx` for 64-bit floats, any other type as it is."""
    return np.dtype(dtypes.floatx()) if dtype.kind == "f" and dtype.itemsize > 4 else dtype


def take(array: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of an array in memory or of `Rows`."""
    return array.take(rows) if isinstance(array, Rows) else array[rows]


def from_memmap(array: np.memmap, what: str) -> Rows:
    """Only the pages of the rows that are taken are read."""
    return Rows(lambda rows: array[_span(rows)], array.shape, array.dtype)


def from_hdf5(dataset: Any, what: str) -> Rows:
    """HDF5 reads ascending rows without repetition; the order is mended afterwards."""

    def read(rows: np.ndarray) -> np.ndarray:
        span = _span(rows)
        if isinstance(span, slice):
            return dataset[span]
        ascending, places = np.unique(rows, return_inverse=True)
        return dataset[ascending][places]

    return Rows(read, dataset.shape, dataset.dtype)


def _span(rows: np.ndarray) -> Any:
    """A slice where the rows follow each other: stores read it in one piece."""
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def from_huggingface(table: Any, what: str) -> dict[str, Rows]:
    """Column -> its rows, of a Hugging Face `Dataset`."""
    return {name: _column(table, name, f"{what}[{name!r}]") for name in table.column_names}


def from_huggingface_column(column: Any, what: str) -> Rows:
    return _column(column.source, column.column_name, what)


def _column(table: Any, name: str, what: str) -> Rows:
    """A column of numbers is [N, 1], one of arrays [N, ...]."""
    if table.format["type"] not in ("numpy", "custom"):
        table = table.with_format("numpy", columns=[name])

    def read(rows: np.ndarray) -> np.ndarray:
        found = np.asarray(table[rows.tolist()][name])
        if found.dtype == object or found.ndim == 0:
            raise ValueError(f"{what} has rows of different shapes. {_PAD}")
        return found[:, None] if found.ndim == 1 else found

    if not len(table):
        raise ValueError(f"{what} is empty. Pass at least one sample.")
    first = read(np.arange(1))
    if first.dtype.kind in "USOM":
        raise TypeError(
            f"{what} holds {first.dtype} (such as {first.ravel()[0]!r:.40}), where numbers are "
            f"expected. Make numbers of it with .map(), or leave it out: .remove_columns({name!r})."
        )
    return Rows(read, (len(table), *first.shape[1:]), first.dtype)


_PAD = "Pad or resize them to one with .map()."


def ordered(
    samples: int, batch_size: int, shuffle: bool | str, random: np.random.Generator | None
) -> np.ndarray:
    """The order of the rows in one pass: int32 [samples], or int64 where they are so many.

    >>> ordered(5, 2, False, None).tolist()
    [0, 1, 2, 3, 4]
    """
    rows = np.arange(samples, dtype=np.int32 if samples < 2**31 else np.int64)
    if random is None:
        return rows
    if shuffle == "batch":  # whole batches change places, the smaller last one stays
        whole = samples // batch_size * batch_size
        batches = rows[:whole].reshape(-1, batch_size)
        return np.concatenate([random.permutation(batches).ravel(), rows[whole:]])
    return random.permutation(rows)


def shuffler(shuffle: Any, seed: int | None) -> np.random.Generator | None:
    """What decides the orders of a source; None leaves the rows as they lie."""
    if not shuffle:
        return None
    # NumPy's global generator, which `set_random_seed` seeds, decides once.
    return np.random.default_rng(np.random.randint(2**31) if seed is None else seed)  # noqa: NPY002


def resident_limit() -> float:
    """Bytes of arrays that the device keeps as a whole: half of its memory.

    Where the device is the processor, a quarter of the machine's: the arrays themselves are in it.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] / 2
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 4
    except (AttributeError, ValueError, OSError):  # not every system tells
        return math.inf


def stay_on_host(arrays: Any) -> bool:
    """Whether batches are gathered here: rows in files, or arrays too large for the device."""
    leaves = jax.tree.leaves(arrays)
    if any(isinstance(leaf, Rows) for leaf in leaves):
        return True
    return sum(leaf.nbytes for leaf in leaves) > resident_limit()


class RowBatches:
    """Passes over (x, y, sample_weight) that stay on the host: batches gathered by index."""

    def __init__(
        self, arrays: Any, samples: int, batch_size: int, shuffle: Any, seed: int | None
    ) -> None:
        self.arrays, self.samples, self.shuffle = arrays, samples, shuffle
        self.batch_size = min(batch_size, samples)
        self.random = shuffler(shuffle, seed)

    def __len__(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def batches(self, first: int = 0) -> Iterator[Any]:
        """A pass, without its first batches; those are not read.

        Its order is drawn now, not when a batch is asked for: where a training goes on after an
        epoch, none is.
        """
        order = ordered(self.samples, self.batch_size, self.shuffle, self.random)
        starts = range(first * self.batch_size, self.samples, self.batch_size)
        return map(self._gathered, (order[at : at + self.batch_size] for at in starts))

    def _gathered(self, rows: np.ndarray) -> Any:
        return jax.tree.map(lambda array: take(array, rows), self.arrays)
