"""StreamSource: batches from whatever gives them one at a time, read ahead by a thread.

What the kinds of streams say about themselves is a `Feed`; who makes it is in `loaders.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax

from carnyx.data.ahead import ReadAhead
from carnyx.data.batches import OutOfData, Segment
from carnyx.data.checks import NAMES, check_data, class_weights, to_arrays


def nothing() -> None:
    """What a stream without hooks does at the beginning and the end of an epoch."""


@dataclass
class Feed:
    """What a kind of stream says about itself.

    begin: the iterator of a new pass. name: for messages. length: batches of a pass, None where
    nobody knows. renewable: whether it can begin anew. endless: whether a pass never ends.
    lists: whether [x, y] means (x, y). batch_hint: how its batches are made, for messages.
    """

    begin: Callable[[], Iterator[Any]]
    name: str
    length: int | None = None
    renewable: bool = True
    endless: bool = False
    lists: bool = True
    batch_hint: str = ""
    on_epoch_begin: Callable[[], None] = nothing
    on_epoch_end: Callable[[], None] = nothing


class StreamSource:
    """Batches of a `Feed`.

    An epoch is all batches, or `steps` of them; in the latter case the next epoch goes on where
    this one stopped, unless `restart`. What can begin anew (not a generator) does so when it has
    ended. A thread reads an epoch's batches ahead, never those of the next; `waited` counts the
    seconds in which the device had to wait for it.
    """

    arrays = None
    batch_size = None
    samples = None

    def __init__(
        self,
        feed: Feed,
        *,
        steps: int | None = None,
        class_weight: Any = None,
        restart: bool = False,
        place: str = "fit()",
    ) -> None:
        if feed.endless and steps is None:
            raise ValueError(
                f"{place}: {feed.name} never ends. Say how many batches an epoch has: "
                f"{'steps_per_epoch' if place == 'fit()' else 'steps'}=..."
            )
        self.feed, self.class_weight = feed, class_weight
        self.restart, self.place = restart, place
        self.limit, self.steps = steps, feed.length if steps is None else steps
        self.waited = 0.0
        self._iterator: Iterator[Any] | None = None
        self._waiting: list[tuple[Any, Any, Any]] = []  # a batch that `peek` took
        self._form: Any = None
        self._given = 0  # batches that came so far
        self._fresh = True  # nothing came since the stream began
        self._begun = False  # an epoch's beginning was announced

    def __repr__(self) -> str:
        return self.feed.name

    def peek(self) -> tuple[Any, Any, Any]:
        """The next batch, which the next epoch begins with."""
        if not self._waiting:
            self._begin_epoch()
            batch = self._pull()
            if batch is None:
                raise OutOfData(
                    f"{self.place}: {self!r} gave no batch. Let it yield x, (x, y) or "
                    "(x, y, sample_weight); a generator that was used up must be made again."
                )
            self._waiting.append(batch)
        return self._waiting[0]

    def _begin_epoch(self) -> None:
        if not self._begun:
            self.feed.on_epoch_begin()
            self._begun = True

    def _end_epoch(self) -> None:
        self._begun = False
        self.feed.on_epoch_end()

    def _pull(self) -> tuple[Any, Any, Any] | None:
        if self._iterator is None:
            self._iterator = self.feed.begin()
        try:
            given = next(self._iterator)
        except StopIteration:
            return None
        self._fresh = False
        self._given += 1
        return self._batch(given, f"{self.place}: batch {self._given} of {self!r}")

    def _batch(self, given: Any, place: str) -> tuple[Any, Any, Any]:
        """One batch as (x, y, sample_weight) of arrays, checked."""
        if self.feed.lists and isinstance(given, list):
            given = tuple(given)
        parts = given if isinstance(given, tuple) else (given,)
        if isinstance(given, list) or not 1 <= len(parts) <= 3 or parts[0] is None:
            found = "None"
            if isinstance(given, (list, tuple)):
                found = f"a {type(given).__name__} of {len(given)}"
            raise ValueError(
                f"{place} is {found}. Expected x, or a tuple (x, y) or "
                "(x, y, sample_weight); several inputs go into x as a list: ([a, b], y)."
            )
        named = zip(parts, NAMES, strict=False)
        try:
            x, y, weight = [*(to_arrays(p, f"{place}: {n}") for p, n in named), None, None][:3]
        except ValueError as error:
            raise ValueError(f"{error} {self.feed.batch_hint}".rstrip()) from None
        check_data(x, y, weight, place, values=False)
        if self.class_weight is not None:
            weight = class_weights(self.class_weight, y, weight, place)
        self._check_form((x, y, weight), place)
        return x, y, weight

    def _check_form(self, batch: Any, place: str) -> None:
        """Structure and ranks stay those of the first batch."""
        form = (jax.tree.structure(batch), [a.ndim for a in jax.tree.leaves(batch)])
        if self._form is None:
            self._form = form
        if form != self._form:
            raise ValueError(
                f"{place} has the structure {form[0]} with ranks {form[1]}, and the first batch "
                f"had {self._form[0]} with ranks {self._form[1]}. Expected the same in all."
            )

    def segments(self, epoch: int) -> Iterator[Segment]:
        """The epoch's batches, as many in a segment as the thread has ready."""
        whole = self.restart or self.limit is None
        if whole and self.feed.renewable and not self._waiting and not self._fresh:
            self._renew()
        self._begin_epoch()
        ahead = ReadAhead(self._epoch_batches())
        done = 0
        try:
            for segment in ahead:
                done += segment.steps
                yield segment
        finally:
            ahead.close()
            self.waited += ahead.waited
        self._check_end(done)
        self._end_epoch()

    def _epoch_batches(self) -> Iterator[tuple[Any, Any, Any]]:
        """The batches of an epoch; the thread runs it."""
        done = 0
        while self.limit is None or done < self.limit:
            batch = self._waiting.pop() if self._waiting else self._pull()
            if batch is None and done == 0 and self.feed.renewable and not self._fresh:
                self._renew()
                batch = self._pull()
            if batch is None:
                return
            yield batch
            done += 1

    def _renew(self) -> None:
        self._iterator, self._fresh = self.feed.begin(), True

    def _check_end(self, done: int) -> None:
        remedy = "Pass a function that makes the generator, so that it can begin anew"
        if done == 0:
            raise OutOfData(
                f"{self.place}: {self!r} has no batch left after {self._given}, and an epoch is "
                f"still to run. {remedy}, or an endless one with a number of steps."
            )
        if self.limit is not None and done < self.limit:
            warnings.warn(
                f"{self.place}: {self!r} ended after {done} of {self.limit} batches of an epoch. "
                f"Ask for fewer steps, or make it endless. {remedy} for the next epoch.",
                stacklevel=3,
            )
