"""Adapters: what users pass as data, made into sources of batches.

Arrays stay whole and are gathered by index on the device; a generator gives a batch at a time.
What is refused, and how, is in `checks.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from carnyx.data.batches import OutOfData, Segment
from carnyx.data.checks import NAMES, check_count, check_data, class_weights, is_stream, to_arrays

BATCH_SIZE = 32
VALIDATION_NAMES = tuple(f"validation_data[{i}]" for i in range(3))


class ArraySource:
    """Rows of arrays in memory, in a new order each pass when shuffled.

    An epoch is one pass, or `steps` batches. In the latter case the next epoch goes on where this
    one stopped, unless `restart`; where rows run out, the epoch ends with a warning.
    """

    def __init__(
        self,
        arrays: tuple[Any, Any, Any],
        samples: int,
        batch_size: int,
        *,
        shuffle: bool | str = False,
        steps: int | None = None,
        seed: int | None = None,
        restart: bool = False,
        place: str = "fit()",
    ) -> None:
        self.arrays, self.samples = arrays, samples
        self.batch_size = min(batch_size, samples)
        self.shuffle, self.restart, self.place = shuffle, restart, place
        self.steps = steps or math.ceil(samples / self.batch_size)
        self._left = np.zeros(0, np.int32)
        self._random: np.random.Generator | None = None
        if shuffle:
            # NumPy's global generator, which `set_random_seed` seeds, decides once.
            start = np.random.randint(2**31) if seed is None else seed  # noqa: NPY002
            self._random = np.random.default_rng(start)

    def __repr__(self) -> str:
        return f"arrays of {self.samples} samples"

    def peek(self) -> tuple[Any, Any, Any]:
        """The first rows as they lie."""
        return jax.tree.map(lambda a: a[: self.batch_size], self.arrays)

    def _order(self) -> np.ndarray:
        rows = np.arange(self.samples, dtype=np.int32)
        if self._random is None:
            return rows
        if self.shuffle == "batch":  # whole batches change places, the smaller last one stays
            whole = self.samples // self.batch_size * self.batch_size
            batches = rows[:whole].reshape(-1, self.batch_size)
            return np.concatenate([self._random.permutation(batches).ravel(), rows[whole:]])
        return self._random.permutation(rows)

    def segments(self, epoch: int) -> Iterator[Segment]:
        """The full batches in one segment, and the smaller last one in another."""
        size = self.batch_size
        if self.restart or not len(self._left):
            self._left = self._order()
        taken, self._left = np.split(self._left, [min(self.steps * size, len(self._left))])
        full, rest = divmod(len(taken), size)
        if full:
            yield Segment(self.arrays, taken[: full * size], size, full)
        if rest:
            yield Segment(self.arrays, taken[full * size :], rest, 1)
        if full + bool(rest) < self.steps:
            warnings.warn(
                f"{self.place}: the data ended after {full + bool(rest)} of {self.steps} batches "
                f"of an epoch: {self!r} make {math.ceil(self.samples / size)} batches of {size}. "
                "Ask for fewer steps or make the batches smaller.",
                stacklevel=2,
            )


class StreamSource:
    """Batches from an iterator, an iterable, or a function that returns one.

    An epoch is all batches, or `steps` of them; in the latter case the next epoch goes on where
    this one stopped, unless `restart`. What can begin anew (not a generator) does so when it has
    ended.
    """

    arrays = None
    batch_size = None
    samples = None

    def __init__(
        self,
        stream: Any,
        *,
        steps: int | None = None,
        class_weight: Any = None,
        restart: bool = False,
        place: str = "fit()",
    ) -> None:
        self.steps, self.class_weight = steps, class_weight
        self.restart, self.place = restart, place
        self._stream = stream
        self._iterator = self._begin()
        self._renewable = self._iterator is not stream
        self._waiting: list[tuple[Any, Any, Any]] = []  # a batch that `peek` took
        self._form: Any = None
        self._given = 0  # batches that came so far
        self._fresh = True  # nothing came since the stream began

    def __repr__(self) -> str:
        return f"generator {getattr(self._stream, '__name__', type(self._stream).__name__)!r}"

    def _begin(self) -> Iterator[Any]:
        calls = callable(self._stream) and not hasattr(self._stream, "__iter__")
        stream: Any = self._stream() if calls else self._stream
        if not hasattr(stream, "__iter__"):
            raise TypeError(
                f"{self.place}: {self!r} returned {type(stream).__name__}. Expected an iterator "
                "of batches: write it with `yield`."
            )
        return iter(stream)

    def peek(self) -> tuple[Any, Any, Any]:
        """The next batch, which the next epoch begins with."""
        if not self._waiting:
            batch = self._pull()
            if batch is None:
                raise OutOfData(
                    f"{self.place}: {self!r} gave no batch. Let it yield x, (x, y) or "
                    "(x, y, sample_weight); a generator that was used up must be made again."
                )
            self._waiting.append(batch)
        return self._waiting[0]

    def _pull(self) -> tuple[Any, Any, Any] | None:
        try:
            given = next(self._iterator)
        except StopIteration:
            return None
        self._fresh = False
        self._given += 1
        return self._batch(given, f"{self.place}: batch {self._given} of {self!r}")

    def _batch(self, given: Any, place: str) -> tuple[Any, Any, Any]:
        """One batch as (x, y, sample_weight) of arrays, checked."""
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
        x, y, weight = [*(to_arrays(p, f"{place}: {n}") for p, n in named), None, None][:3]
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
        """One segment for each batch."""
        whole = self.restart or self.steps is None
        if whole and self._renewable and not self._waiting and not self._fresh:
            self._renew()
        done = 0
        while self.steps is None or done < self.steps:
            batch = self._waiting.pop() if self._waiting else self._pull()
            if batch is None and done == 0 and self._renewable and not self._fresh:
                self._renew()
                batch = self._pull()
            if batch is None:
                break
            rows = len(jax.tree.leaves(batch)[0])
            yield Segment(batch, np.arange(rows, dtype=np.int32), rows, 1)
            done += 1
        self._check_end(done)

    def _renew(self) -> None:
        self._iterator, self._fresh = self._begin(), True

    def _check_end(self, done: int) -> None:
        remedy = "Pass a function that makes the generator, so that it can begin anew"
        if done == 0:
            raise OutOfData(
                f"{self.place}: {self!r} has no batch left after {self._given}, and an epoch is "
                f"still to run. {remedy}, or an endless one with a number of steps."
            )
        if self.steps is not None and done < self.steps:
            warnings.warn(
                f"{self.place}: {self!r} ended after {done} of {self.steps} batches of an epoch. "
                f"Ask for fewer steps, or make it endless. {remedy} for the next epoch.",
                stacklevel=3,
            )


def adapt(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    shuffle: bool | str = False,
    class_weight: Any = None,
    steps_per_epoch: int | None = None,
    where: str = "fit",
    seed: int | None = None,
    validation: bool = False,
) -> ArraySource | StreamSource:
    """The source of what a user passed as data to the method `where`.

    Args:
        x, y, sample_weight: arrays or structures of them, [B, ...] each; or one generator as x.
        batch_size: rows of a batch, 32 if None (with `steps_per_epoch`: all rows in so many).
        shuffle: True permutes the rows each pass, "batch" whole batches; not for generators.
        class_weight: dict from label to weight, made into row weights.
        steps_per_epoch: batches of an epoch, one pass if None; needed for endless generators.
        seed: of the order; None draws it from NumPy's global generator.
        validation: the data are fit's validation data: messages say so, and every epoch begins
            with the same rows.

    Raises ValueError or TypeError for bad data.

    >>> source = adapt(np.arange(5.0), np.arange(5), batch_size=2)
    >>> [(s.batch_size, s.steps, s.order.tolist()) for s in source.segments(0)]
    [(2, 2, [0, 1, 2, 3]), (1, 1, [4])]
    """
    place = f"{where}()"
    steps_name = "steps_per_epoch" if where == "fit" else "steps"
    check_count("batch_size", batch_size, place)
    check_count("validation_steps" if validation else steps_name, steps_per_epoch, place)
    if shuffle not in (True, False, None, "batch"):
        raise ValueError(f"{place}: shuffle is True, False or 'batch'. Received: {shuffle!r}")
    if is_stream(x):
        _check_stream_arguments(y, sample_weight, batch_size, place)
        return StreamSource(
            x, steps=steps_per_epoch, class_weight=class_weight, restart=validation, place=place
        )
    names = VALIDATION_NAMES if validation else NAMES
    x, y, sample_weight = (
        to_arrays(part, f"{place}: {name}")
        for part, name in zip((x, y, sample_weight), names, strict=True)
    )
    samples = check_data(x, y, sample_weight, place, names)
    if class_weight is not None:
        sample_weight = class_weights(class_weight, y, sample_weight, place, names[1])
    if batch_size is None:
        batch_size = math.ceil(samples / steps_per_epoch) if steps_per_epoch else BATCH_SIZE
    return ArraySource(
        (x, y, sample_weight),
        samples,
        int(batch_size),
        shuffle=shuffle or False,
        steps=steps_per_epoch,
        seed=seed,
        restart=validation,
        place=place,
    )


def _check_stream_arguments(y: Any, sample_weight: Any, batch_size: Any, place: str) -> None:
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{place}: {name} came beside a generator as x. The generator gives targets and "
                f"weights too: let it yield (x, y, sample_weight), and leave {name} out."
            )
    if batch_size is not None:
        warnings.warn(
            f"{place}: batch_size={batch_size} is not used: a generator makes its own batches.",
            stacklevel=4,
        )


def split(x: Any, y: Any, sample_weight: Any, validation_split: float) -> tuple[Any, Any]:
    """(training, validation) parts (x, y, sample_weight); the last fraction is for validation.

    The rows are split as they lie, before any shuffling. Raises ValueError for a fraction outside
    (0, 1) or one that leaves a side empty, and for generators.

    >>> train, held_out = split(np.arange(10), None, None, 0.2)
    >>> held_out[0].tolist()
    [8, 9]
    """
    if isinstance(validation_split, bool) or not 0 < validation_split < 1:
        raise ValueError(
            "fit(): validation_split is a fraction between 0 and 1, both excluded. "
            f"Received: {validation_split!r}"
        )
    if is_stream(x):
        raise ValueError(
            "fit(): validation_split needs arrays, and x is a generator. Pass validation_data."
        )
    x, y, sample_weight = arrays = tuple(
        to_arrays(part, f"fit(): {name}")
        for part, name in zip((x, y, sample_weight), NAMES, strict=True)
    )
    samples = check_data(x, y, sample_weight, "fit()")
    at = math.floor(samples * (1 - validation_split))
    if at in (0, samples):
        side = "training" if at == 0 else "validation"
        raise ValueError(
            f"fit(): validation_split={validation_split} of {samples} samples leaves none for "
            f"{side}. Change the fraction, or pass validation_data."
        )
    return (
        jax.tree.map(lambda a: a[:at], arrays),
        jax.tree.map(lambda a: a[at:], arrays),
    )
