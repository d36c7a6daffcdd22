"""StreamSource: batches from whatever gives them one at a time, read ahead by a thread.

What the kinds of streams say about themselves is a `Feed`; who makes it is in `loaders.py`.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from carnyx.core import errors
from carnyx.data.ahead import CHUNK_STEPS, DEPTH, ReadAhead
from carnyx.data.batches import OutOfData, Segment, check_position, global_draws
from carnyx.data.checks import (
    NAMES,
    check_batch_values,
    check_data,
    class_weights,
    to_arrays,
)


def nothing() -> None:
    """What a stream without hooks does at the beginning and the end of an epoch."""


def as_given(x: Any, what: str) -> Any:
    """How inputs are read that need no reading."""
    return x


@dataclass
class Feed:
    """What a kind of stream says about itself.

    begin: the iterator of a new pass. name: for messages. length: batches of a pass, None where
    nobody knows. renewable: whether it can begin anew. endless: whether a pass never ends.
    lists: whether [x, y] means (x, y). batch_hint: how its batches are made, for messages.
    jump: a new pass without its first n batches, where these need not be made. random: what decides
    the order of a pass when it begins.
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
    jump: Callable[[int], Iterator[Any]] | None = None
    random: np.random.Generator | None = None


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
    recording = False

    def __init__(
        self,
        feed: Feed,
        *,
        steps: int | None = None,
        class_weight: Any = None,
        restart: bool = False,
        place: str = "fit()",
        read: Callable[[Any, str], Any] = as_given,
    ) -> None:
        if feed.endless and steps is None:
            raise ValueError(
                f"{place}: {feed.name} never ends. Say how many batches an epoch has: "
                f"{'steps_per_epoch' if place == 'fit()' else 'steps'}=..."
            )
        self.feed, self.class_weight = feed, class_weight
        self.restart, self.place, self._read = restart, place, read
        self.limit, self.steps = steps, feed.length if steps is None else steps
        self.waited = 0.0
        self._iterator: Iterator[Any] | None = None
        self._waiting: list[tuple[Any, Any, Any]] = []  # a batch that `peek` took
        self._form: Any = None
        self._warned = False  # of values that are not finite
        self._given = 0  # batches that came so far
        self._fresh = True  # nothing came since the stream began
        self._begun = False  # an epoch's beginning was announced
        self._epochs = 0  # that ended
        self._passes = 0  # that began
        self._pulled = 0  # batches of this pass that came
        self._start = 0  # batches of this pass before this epoch
        self._first = 0  # batches of the next epoch that ran already
        self._order: Any = None  # the state of the feed's generator before this pass
        # (batches done, global draws after them) of those that may be asked for
        self._drawn: deque[tuple[int, Any]] = deque(maxlen=(DEPTH + 2) * CHUNK_STEPS)

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
        self._epochs += 1
        self.feed.on_epoch_end()

    def _pull(self) -> tuple[Any, Any, Any] | None:
        given = self._next()
        if given is None:
            return None
        return self._batch(given[0], f"{self.place}: batch {self._given} of {self!r}")

    def _next(self) -> tuple[Any] | None:
        """What comes next, unchecked, as a tuple of one; None at the end."""
        if self._iterator is None:
            self._renew()
        assert self._iterator is not None
        try:
            given = next(self._iterator)
        except StopIteration:
            return None
        self._fresh = False
        self._given += 1
        self._pulled += 1
        return (given,)

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
        try:
            named = zip((self._read(parts[0], f"{place}: x"), *parts[1:]), NAMES, strict=False)
            x, y, weight = [*(to_arrays(p, f"{place}: {n}") for p, n in named), None, None][:3]
        except ValueError as error:
            raise ValueError(f"{error} {self.feed.batch_hint}".rstrip()) from None
        check_data(x, y, weight, place, values=False)
        if not self._warned and (warning := check_batch_values(x, y, weight, place)):
            self._warned = True
            warnings.warn(warning, stacklevel=2)
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
        done, self._first = self._first, 0
        if self._whole and not done and not self._waiting and not self._fresh:
            self._renew()
        self._begin_epoch()
        self._drawn.clear()
        ahead = ReadAhead(self._epoch_batches(done))
        try:
            for segment in ahead:
                done += segment.steps
                yield segment
        finally:
            ahead.close()
            self.waited += ahead.waited
        self._check_end(done)
        self._end_epoch()

    @property
    def _whole(self) -> bool:
        """Whether each epoch is a pass of its own."""
        return self.feed.renewable and (self.restart or self.limit is None)

    def _epoch_batches(self, done: int) -> Iterator[tuple[Any, Any, Any]]:
        """The batches of an epoch after the first `done`; the thread runs it."""
        while self.limit is None or done < self.limit:
            batch = self._waiting.pop() if self._waiting else self._pull()
            if batch is None and done == 0 and self.feed.renewable and not self._fresh:
                self._renew()
                batch = self._pull()
            if batch is None:
                return
            if done == 0:
                self._start = self._pulled - 1
            done += 1
            if self.recording:
                self._drawn.append((done, global_draws()))
            yield batch

    def _renew(self, skipped: int = 0) -> None:
        if self.feed.random is not None:
            self._order = self.feed.random.bit_generator.state
        self._iterator = self.feed.jump(skipped) if self.feed.jump else self.feed.begin()
        self._passes += 1
        self._pulled, self._fresh = skipped, not skipped

    def position(self, done: int) -> dict[str, Any]:
        """Passes begun, batches of this one, epochs ended, and how the pass's order was drawn."""
        batches = self._start + done if done else self._pulled - len(self._waiting)
        if self._whole and not done:
            batches = min(batches, 1)  # the next epoch begins anew, wherever this one ended
        position = {
            "steps": self.steps,
            "passes": self._passes,
            "batches": batches,
            "epochs": self._epochs - bool(done and not self._begun),  # those before this one
            "given": self._given,
            "order": self._order,
            "done": done,
        }
        # a copy at one go: the thread goes on adding
        drawn = [draws for at, draws in list(self._drawn) if at == done]
        return {**position, "draws": drawn[-1]} if drawn else position

    def restore(self, position: dict[str, Any]) -> None:
        """Begins passes and goes through this one up to the place, or jumps there.

        Of passes before, the first batch is taken: most streams draw their order then.
        """
        check_position(self, position, "steps")
        passes, batches, done = (position[name] for name in ("passes", "batches", "done"))
        while self._epochs < position["epochs"]:
            self._begin_epoch()
            self._end_epoch()
        if self.feed.jump is not None:
            if self.feed.random is not None and position["order"] is not None:
                self.feed.random.bit_generator.state = position["order"]
            self._passes = passes - 1
            self._renew(batches)
            self._given = position["given"]
        while self._passes < passes:
            if self._fresh and self._iterator is not None:
                self._next()
            self._renew()
        while self._pulled < batches:
            if self._next() is None:
                raise OutOfData(
                    f"{self.place}: the backup was made after {errors.count(batches, 'batch')} of "
                    f"{self!r}, which ended after {self._pulled} now. Give the same data, a "
                    "generator made anew."
                )
        if self._pulled == batches:
            self._waiting.clear()
        self._start, self._first = batches - done, done
        if done:
            self._begin_epoch()

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
