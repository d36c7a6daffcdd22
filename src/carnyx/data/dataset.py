"""Dataset: batches that can be gone through again and again, in a for loop or by fit.

What the functions of `folders.py` and `sequences.py` return. It has those methods of a
tf.data.Dataset that programs call on theirs; each returns a new Dataset and reads nothing yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from carnyx.data.pydataset import map_ahead
from carnyx.data.rows import shuffler


def stack(samples: list[Any]) -> Any:
    """A list of samples (structures of one kind) as one structure of arrays [B, ...]."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(v) for v in leaves]), *samples)


class Dataset:
    """Items (mostly batches) from `begin()`, which starts a new pass.

    `length` is the number of items of a pass, None if unknown, `math.inf` if it never ends.
    Further keyword arguments become attributes, such as `class_names`.

    >>> data = Dataset.of_samples([(np.float32(i), i % 2) for i in range(5)], batch_size=2)
    >>> [(x.tolist(), y.tolist()) for x, y in data]
    [([0.0, 1.0], [0, 1]), ([2.0, 3.0], [0, 1]), ([4.0], [0])]
    >>> len(data), len(data.take(1)), [len(x) for x, y in data.unbatch().batch(4)]
    (3, 1, [4, 1])
    """

    def __init__(
        self, begin: Callable[[], Iterable[Any]], length: float | None = None, **attributes: Any
    ) -> None:
        self._begin, self._length = begin, length
        self._attributes = attributes
        vars(self).update(attributes)

    @classmethod
    def of_samples(
        cls,
        samples: Any,
        batch_size: int | None,
        read: Any = None,
        shuffle: bool = False,
        seed: int | None = None,
        workers: int = 0,
        batch: Any = stack,
        **attributes: Any,
    ) -> Dataset:
        """Samples of a sequence, read one by one, in batches if `batch_size`.

        `read` makes a sample of an entry, `workers` threads at a time; `shuffle` gives the samples
        a new order each pass; `batch` makes a batch of a list of samples.
        """
        orders = shuffler(shuffle, seed)

        def begin() -> Iterator[Any]:
            order = range(len(samples)) if orders is None else orders.permutation(len(samples))
            entries = (samples[int(i)] for i in order)
            if read is None:
                return entries
            return map_ahead(read, entries, workers) if workers else map(read, entries)

        data = cls(begin, len(samples), **attributes)
        return data if batch_size is None else data.batch(batch_size, together=batch)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._begin())

    def __repr__(self) -> str:
        return f"dataset of {'unknown' if self._length is None else self._length} batches"

    def __len__(self) -> int:
        if self._length is None or self.endless:
            known = "never ends" if self.endless else "has a length that nobody knows"
            raise TypeError(f"This dataset {known}: .take(n) makes one of n items.")
        return int(self._length)

    def __bool__(self) -> bool:
        return self._length != 0

    @property
    def endless(self) -> bool:
        return self._length == math.inf

    def cardinality(self) -> int | None:
        """The number of items, None where it is not known or there is no end."""
        return None if self._length is None or self.endless else int(self._length)

    def _like(self, begin: Callable[[], Iterable[Any]], length: float | None) -> Dataset:
        return Dataset(begin, length, **self._attributes)

    def map(self, map_func: Any, num_parallel_calls: Any = None, **_: Any) -> Dataset:
        """Each item through a function; the parts of a tuple are its arguments."""

        def begin() -> Iterator[Any]:
            for item in self:
                yield map_func(*item) if isinstance(item, tuple) else map_func(item)

        return self._like(begin, self._length)

    def take(self, count: int) -> Dataset:
        """The first `count` items."""

        def begin() -> Iterator[Any]:
            items = iter(self)
            for _, item in zip(range(count), items, strict=False):
                yield item

        return self._like(begin, None if self._length is None else min(count, self._length))

    def skip(self, count: int) -> Dataset:
        """What is left without the first `count` items."""

        def begin() -> Iterator[Any]:
            return (item for i, item in enumerate(self) if i >= count)

        return self._like(begin, None if self._length is None else max(0, self._length - count))

    def repeat(self, count: int | None = None) -> Dataset:
        """One pass after the other, `count` of them or without end."""
        endless = count is None or count < 0

        def begin() -> Iterator[Any]:
            passes = 0
            while endless or passes < (count or 0):
                yield from self
                passes += 1

        return self._like(begin, math.inf if endless else self._times(count or 0))

    def _times(self, count: float) -> float | None:
        return None if self._length is None else self._length * count

    def batch(
        self, batch_size: int, drop_remainder: bool = False, together: Any = stack, **_: Any
    ) -> Dataset:
        """`batch_size` items made into one by `together`; the last may be smaller."""

        def begin() -> Iterator[Any]:
            held: list[Any] = []
            for item in self:
                held.append(item)
                if len(held) == batch_size:
                    yield together(held)
                    held = []
            if held and not drop_remainder:
                yield together(held)

        length = self._times(1 / batch_size)
        if length is not None and not self.endless:
            length = math.floor(length) if drop_remainder else math.ceil(length)
        return self._like(begin, length)

    def unbatch(self) -> Dataset:
        """The rows of the batches one by one."""

        def begin() -> Iterator[Any]:
            for batch in self:
                for i in range(len(jax.tree.leaves(batch)[0])):
                    yield jax.tree.map(lambda a, i=i: a[i], batch)

        return self._like(begin, None)

    def shuffle(self, buffer_size: int, seed: int | None = None, **_: Any) -> Dataset:
        """Each item drawn from the next `buffer_size` ones, in a new order each pass."""
        seeds = shuffler(True, seed)
        assert seeds is not None

        def begin() -> Iterator[Any]:
            # one draw a pass: a training that goes on in a later pass need not read those before
            random = np.random.default_rng(seeds.integers(2**63))
            held: list[Any] = []
            for item in self:
                held.append(item)
                if len(held) >= buffer_size:
                    yield held.pop(random.integers(len(held)))
            random.shuffle(held)
            yield from held

        return self._like(begin, self._length)

    def cache(self, *_: Any) -> Dataset:
        """The items of the first whole pass kept in memory for the others."""
        kept: list[list[Any]] = []

        def begin() -> Iterator[Any]:
            if not kept:
                items = []
                for item in self:
                    items.append(item)
                    yield item
                kept.append(items)
            else:
                yield from kept[0]

        return self._like(begin, self._length)

    def prefetch(self, *_: Any, **__: Any) -> Dataset:
        """The same: `fit` always reads ahead."""
        return self

    def as_numpy_iterator(self) -> Iterator[Any]:
        """The items; they are NumPy arrays already."""
        return iter(self)
