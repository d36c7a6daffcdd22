"""Adapters: what users pass as data, made into sources of batches.

Arrays stay whole and are gathered by index on the device; generators give a batch at a time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from carnyx.data.batches import Segment
from carnyx.data.checks import check_arrays, check_count, class_weights, to_arrays

BATCH_SIZE = 32


class ArraySource:
    """Rows of arrays in memory, in a new order each epoch when shuffled."""

    def __init__(
        self,
        arrays: tuple[Any, Any, Any],
        samples: int,
        batch_size: int,
        shuffle: bool | str,
        steps: int | None,
    ) -> None:
        self.arrays = arrays
        self.samples, self.batch_size, self.shuffle = samples, batch_size, shuffle
        self.steps = steps or math.ceil(samples / batch_size)
        # NumPy's global generator, which `set_random_seed` seeds, decides the order once.
        self._random = np.random.default_rng(np.random.randint(2**31)) if shuffle else None  # noqa: NPY002

    def __repr__(self) -> str:
        return f"arrays of {self.samples} samples"

    def peek(self) -> tuple[Any, Any, Any]:
        count = min(self.batch_size, self.samples)
        return jax.tree.map(lambda a: a[:count], self.arrays)

    def _order(self) -> np.ndarray:
        rows = np.arange(self.samples, dtype=np.int32)
        if self._random is None:
            return rows
        if self.shuffle == "batch":
            whole = self.samples // self.batch_size * self.batch_size
            batches = rows[:whole].reshape(-1, self.batch_size)
            return np.concatenate([self._random.permutation(batches).ravel(), rows[whole:]])
        return self._random.permutation(rows)

    def segments(self, epoch: int) -> Iterator[Segment]:
        """Full batches in one segment, then the smaller rest; more than one pass if steps ask."""
        left = self.steps
        while left > 0:
            order = self._order()
            full = min(self.samples // self.batch_size, left)
            if full:
                used = order[: full * self.batch_size]
                yield Segment(self.arrays, used, self.batch_size, full)
                left -= full
            rest = self.samples % self.batch_size
            if left and rest:
                yield Segment(self.arrays, order[-rest:], rest, 1)
                left -= 1


class StreamSource:
    """Batches from a Python iterator."""

    arrays = None
    batch_size = None
    samples = None

    def __init__(self, stream: Any, steps: int | None, class_weight: Any, where: str) -> None:
        self.steps, self.where, self.class_weight = steps, where, class_weight
        self._stream = stream() if callable(stream) else stream
        self._iterator: Iterator[Any] = iter(self._stream)
        self._waiting: list[tuple[Any, Any, Any]] = []
        self._spec: Any = None

    def __repr__(self) -> str:
        return f"generator {self._stream!r}"

    def peek(self) -> tuple[Any, Any, Any]:
        if not self._waiting:
            batch = self._pull()
            if batch is None:
                raise ValueError(
                    f"{self.where}(): the generator gave nothing. Make it yield batches: x, "
                    "(x, y) or (x, y, sample_weight). A used-up generator must be made again."
                )
            self._waiting.append(batch)
        return self._waiting[0]

    def _pull(self) -> tuple[Any, Any, Any] | None:
        try:
            return self._batch(next(self._iterator))
        except StopIteration:
            return None

    def _batch(self, given: Any) -> tuple[Any, Any, Any]:
        where = f"{self.where}(): a batch of the generator"
        parts = given if isinstance(given, tuple) else (given,)
        if not 1 <= len(parts) <= 3 or parts[0] is None:
            raise ValueError(
                f"{where} is x, (x, y) or (x, y, sample_weight). Received "
                f"{'None' if parts and parts[0] is None else f'{len(parts)} parts'}."
            )
        names = ("x", "y", "sample_weight")
        arrays = [to_arrays(p, f"{where}: {n}") for p, n in zip(parts, names, strict=False)]
        x, y, weight = [*arrays, None, None][:3]
        sizes = {a.shape[0] for a in jax.tree.leaves((x, y, weight))}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(f"{where} has arrays of {sorted(sizes)} rows: all need the same, > 0.")
        if self.class_weight:
            weight = class_weights(self.class_weight, y, weight, self.where)
        tree = jax.tree.structure((x, y, weight))
        if self._spec is not None and tree != self._spec:
            raise ValueError(f"{where} has another structure than the first: {tree}, {self._spec}.")
        self._spec = tree
        return x, y, weight

    def segments(self, epoch: int) -> Iterator[Segment]:
        """One segment for each batch."""
        done = 0
        if self.steps is None and epoch > 0 and not self._waiting:
            self._restart()
        while self.steps is None or done < self.steps:
            batch = self._waiting.pop() if self._waiting else self._pull()
            if batch is None:
                break
            rows = jax.tree.leaves(batch)[0].shape[0]
            yield Segment(batch, np.arange(rows, dtype=np.int32), rows, 1)
            done += 1
        if self.steps is not None and 0 < done < self.steps:
            warnings.warn(
                f"{self.where}(): the generator ended after {done} of {self.steps} batches of an "
                "epoch. Make it endless, or pass a smaller steps_per_epoch.",
                stacklevel=2,
            )

    def _restart(self) -> None:
        """Re-iterables (a list, a class with __iter__) start anew; generators cannot."""
        self._iterator = iter(self._stream)


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
) -> Any:
    """The source of what a user passed as data to `where`; raises ValueError for bad data."""
    check_count("batch_size", batch_size, where)
    check_count("steps_per_epoch" if where == "fit" else "steps", steps_per_epoch, where)
    if _is_stream(x):
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"{where}(): with a generator as x, the targets and weights come from it too: it "
                "yields (x, y, sample_weight). Leave y and sample_weight out."
            )
        return StreamSource(x, steps_per_epoch, class_weight, where)
    x, y = to_arrays(x, f"{where}(): x"), to_arrays(y, f"{where}(): y")
    weight = to_arrays(sample_weight, f"{where}(): sample_weight")
    samples = check_arrays(x, y, weight, where)
    if class_weight:
        weight = class_weights(class_weight, y, weight, where)
    size = min(batch_size or BATCH_SIZE, samples)
    return ArraySource((x, y, weight), samples, size, shuffle, steps_per_epoch)


def _is_stream(x: Any) -> bool:
    array_like = hasattr(x, "shape") or isinstance(x, (list, tuple, dict, str))
    return not array_like and (hasattr(x, "__next__") or hasattr(x, "__iter__") or callable(x))


def split(x: Any, y: Any, sample_weight: Any, fraction: float) -> tuple[Any, Any]:
    """(training, validation) parts: the last `fraction` of the rows is for validation."""
    if not 0 < fraction < 1:
        raise ValueError(
            f"fit(): validation_split is a fraction between 0 and 1. Received: {fraction!r}"
        )
    if _is_stream(x):
        raise ValueError("fit(): validation_split needs arrays. Pass validation_data instead.")
    arrays = tuple(
        to_arrays(part, f"fit(): {name}")
        for part, name in ((x, "x"), (y, "y"), (sample_weight, "sample_weight"))
    )
    samples = check_arrays(*arrays, "fit")
    at = math.floor(samples * (1 - fraction))
    if at in (0, samples):
        raise ValueError(
            f"fit(): validation_split={fraction} of {samples} samples leaves one side empty. "
            "Change the fraction or pass validation_data."
        )
    return (
        jax.tree.map(lambda a: a[:at], arrays),
        jax.tree.map(lambda a: a[at:], arrays),
    )
