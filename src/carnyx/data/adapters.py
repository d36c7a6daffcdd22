"""Adapters: what users pass as data, made into sources of batches.

Arrays in memory are put on the device once and gathered there by index (`ArraySource`); rows in
files, arrays too large for the device and streams give batches, read ahead (`streams.py`). Which
libraries' objects are known is in `kinds.py`, what is refused, and how, in `checks.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from carnyx.core import errors
from carnyx.data.batches import Segment, check_position
from carnyx.data.checks import NAMES, check_count, check_data, class_weights, is_stream, to_arrays
from carnyx.data.loaders import feed
from carnyx.data.rows import RowBatches, ordered, shuffler, stay_on_host
from carnyx.data.streams import Feed, StreamSource, as_given

BATCH_SIZE = 32
VALIDATION_NAMES = tuple(f"validation_data[{i}]" for i in range(3))


class ArraySource:
    """Rows of arrays in memory, in a new order each pass when shuffled.

    An epoch is one pass, or `steps` batches. In the latter case the next epoch goes on where this
    one stopped, unless `restart`; where rows run out, the epoch ends with a warning.
    """

    recording = False

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
        self._random = shuffler(shuffle, seed)
        self._before = self._state()  # of the generator, before this pass
        self._begun = False  # a pass
        self._left = np.zeros(0, np.int32)  # rows of this pass that no epoch has taken
        self._start = 0  # rows of this pass before this epoch
        self._first = 0  # batches of the next epoch that ran already

    def __repr__(self) -> str:
        return f"arrays of {errors.count(self.samples, 'sample')}"

    def peek(self) -> tuple[Any, Any, Any]:
        """The first rows as they lie."""
        return jax.tree.map(lambda a: a[: self.batch_size], self.arrays)

    def segments(self, epoch: int) -> Iterator[Segment]:
        """The full batches in one segment, and the smaller last one in another."""
        size = self.batch_size
        first, self._first = self._first, 0
        if self.restart or not len(self._left):
            self._begin_pass()
        self._start = self.samples - len(self._left)
        taken, self._left = np.split(self._left, [min(self.steps * size, len(self._left))])
        full, rest = divmod(len(taken), size)
        if first < full:
            yield Segment(self.arrays, taken[: full * size], size, full, first)
        if rest and first <= full:
            yield Segment(self.arrays, taken[full * size :], rest, 1)
        if full + bool(rest) < self.steps:
            warnings.warn(
                f"{self.place}: the data ended after {full + bool(rest)} of {self.steps} batches "
                f"of an epoch: {self!r} make {math.ceil(self.samples / size)} batches of {size}. "
                "Ask for fewer steps or make the batches smaller.",
                stacklevel=2,
            )

    def _state(self) -> Any:
        return None if self._random is None else self._random.bit_generator.state

    def _begin_pass(self) -> None:
        self._before, self._begun = self._state(), True
        self._left = ordered(self.samples, self.batch_size, self.shuffle, self._random)

    def position(self, done: int) -> dict[str, Any]:
        """The order is not kept, but what it was drawn from."""
        rows = self._start if done else self.samples - len(self._left)
        return {
            "samples": self.samples,
            "batch_size": self.batch_size,
            "order": self._before,
            "rows": rows if self._begun else 0,
            "done": done,
        }

    def restore(self, position: dict[str, Any]) -> None:
        """See `Source`."""
        check_position(self, position, "samples", "batch_size")
        if self._random is not None and position["order"] is not None:
            self._random.bit_generator.state = position["order"]
        if position["rows"] or position["done"]:
            self._begin_pass()
            self._left = self._left[position["rows"] :]
        self._first = position["done"]


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
    read: Callable[[Any, str], Any] = as_given,
) -> ArraySource | StreamSource:
    """The source of what a user passed as data to the method `where`.

    Args:
        x, y, sample_weight: arrays or structures of them, [B, ...] each (NumPy, JAX, PyTorch,
            TensorFlow; tables and their columns; memory-mapped, HDF5 and Hugging Face rows, which
            are read by index); or, as x, one stream of batches: a generator, a function that
            makes one, an iterable, a PyDataset, a loader of PyTorch, tf.data or grain.
        batch_size: rows of a batch, 32 if None (with `steps_per_epoch`: all rows in so many).
        shuffle: True permutes the rows each pass, "batch" whole batches; of streams only a
            PyDataset's batches.
        class_weight: dict from label to weight, made into row weights.
        steps_per_epoch: batches of an epoch, one pass if None; needed for endless generators.
        seed: of the order; None draws it from NumPy's global generator.
        validation: the data are fit's validation data: messages say so, and every epoch begins
            with the same rows.
        read: takes `x`, or that of each batch of a stream, and its name, and gives what is used.

    Raises ValueError or TypeError for bad data, such as arrays with NaN; of NaN in the batches of
    streams and rows in files it warns once: a model may treat them itself.

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
            feed(x, place, shuffle and not validation, seed),
            steps=steps_per_epoch,
            class_weight=class_weight,
            restart=validation,
            place=place,
            read=read,
        )
    names = VALIDATION_NAMES if validation else NAMES
    x = read(x, f"{place}: {names[0]}")
    x, y, sample_weight = (
        to_arrays(part, f"{place}: {name}")
        for part, name in zip((x, y, sample_weight), names, strict=True)
    )
    samples = check_data(x, y, sample_weight, place, names)
    if batch_size is None:
        batch_size = math.ceil(samples / steps_per_epoch) if steps_per_epoch else BATCH_SIZE
    arrays = (x, y, sample_weight)
    if stay_on_host(arrays):
        rows = RowBatches(arrays, samples, int(batch_size), shuffle, seed)
        return StreamSource(
            Feed(
                rows.batches,
                f"rows of {errors.count(samples, 'sample')}",
                len(rows),
                jump=rows.batches,
                random=rows.random,
            ),
            steps=steps_per_epoch,
            class_weight=class_weight,
            restart=validation,
            place=place,
        )
    if class_weight is not None:
        sample_weight = class_weights(class_weight, y, sample_weight, place, names[1])
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
            f"fit(): validation_split={validation_split} of {errors.count(samples, 'sample')} "
            f"leaves none for {side}. Change the fraction, or pass validation_data."
        )
    return (
        jax.tree.map(lambda a: a[:at], arrays),
        jax.tree.map(lambda a: a[at:], arrays),
    )
