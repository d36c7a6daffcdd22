"""Feeds: what each kind of loader says about its batches, a function a kind.

`kinds.py` has the table of them; `streams.py` runs a Feed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from carnyx.data import kinds, rows
from carnyx.data.pydataset import Runner
from carnyx.data.streams import Feed, nothing


def feed(value: Any, place: str, shuffle: Any = False, seed: int | None = None) -> Feed:
    """The Feed of a loader, an iterator, an iterable, or a function that returns one."""
    name = kinds.find(kinds.FEEDS, value)
    if name is None:
        return of_iterable(value, place)
    return globals()[name](value, shuffle, seed)


def of_iterable(value: Any, place: str) -> Feed:
    """A generator cannot begin anew; an iterable, or a function that makes one, can."""
    name = f"generator {getattr(value, '__name__', type(value).__name__)!r}"

    def begin() -> Iterator[Any]:
        calls = callable(value) and not hasattr(value, "__iter__")
        stream: Any = value() if calls else value
        if not hasattr(stream, "__iter__"):
            raise TypeError(
                f"{place}: {name} returned {type(stream).__name__}. Expected an iterator "
                "of batches: write it with `yield`."
            )
        return iter(stream)

    once = hasattr(value, "__next__")
    return Feed(begin, name, _length(value), renewable=not once, lists=False)


def _length(value: Any) -> int | None:
    """`len`, where the object has one and knows it."""
    try:
        return len(value)
    except TypeError:
        return None


def _named(value: Any) -> str:
    return f"{type(value).__module__.partition('.')[0]}'s {type(value).__name__}"


def of_pydataset(dataset: Any, shuffle: Any, seed: int | None) -> Feed:
    """Batches by index, in a new order each pass when shuffled; workers work ahead."""
    count, random, runner = dataset.num_batches, rows.shuffler(shuffle, seed), Runner(dataset)

    def begin(first: int = 0) -> Iterator[Any]:
        if count is None:
            return runner.batches(itertools.count(first))
        order = np.arange(count) if random is None else random.permutation(count)
        return runner.batches(order[first:].tolist())

    return Feed(
        begin,
        f"PyDataset {type(dataset).__name__!r}",
        count,
        endless=count is None,
        on_epoch_begin=getattr(dataset, "on_epoch_begin", nothing),
        on_epoch_end=getattr(dataset, "on_epoch_end", nothing),
        jump=begin,
        random=random,
    )


def of_dataset(dataset: Any, shuffle: Any, seed: int | None) -> Feed:
    """A dataset of this package shuffles itself, if told so where it was made."""
    length = dataset.cardinality()
    return Feed(lambda: iter(dataset), repr(dataset), length, endless=dataset.endless)


def of_torch(loader: Any, shuffle: Any, seed: int | None) -> Feed:
    hint = "A DataLoader makes batches with batch_size=..."
    return Feed(lambda: iter(loader), _named(loader), _length(loader), batch_hint=hint)


def of_tensorflow(dataset: Any, shuffle: Any, seed: int | None) -> Feed:
    count = int(dataset.cardinality())  # -1 endless, -2 unknown
    hint = "A tf.data.Dataset makes batches with .batch(32)."
    return Feed(
        lambda: iter(dataset.as_numpy_iterator() if _dense(dataset) else dataset),
        "tf.data.Dataset",
        count if count >= 0 else None,
        endless=count == -1,
        lists=False,
        batch_hint=hint,
    )


def _dense(dataset: Any) -> bool:
    """Whether every part is a plain tensor; ragged and sparse ones are refused with their names."""
    leaves = jax.tree.leaves(dataset.element_spec)
    return all(type(leaf).__name__ == "TensorSpec" for leaf in leaves)


def of_grain(loader: Any, shuffle: Any, seed: int | None) -> Feed:
    hint = "A grain dataset makes batches with .batch(32), a grain DataLoader with grain.Batch(32)."
    length = _length(loader)
    endless = length is not None and length >= 2**62  # .repeat() without a number
    length = None if endless else length
    return Feed(lambda: iter(loader), _named(loader), length, endless=endless, batch_hint=hint)


def of_huggingface(table: Any, shuffle: Any, seed: int | None) -> Feed:
    hint = "An IterableDataset makes batches with .batch(32)."
    return Feed(lambda: iter(table), "Hugging Face IterableDataset", lists=False, batch_hint=hint)
