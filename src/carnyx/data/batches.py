"""Segments and sources: the contract between data and the training loop.

Sources themselves are in `adapters.py`; the loop that reads them is `train/loop.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class OutOfData(ValueError):
    """A generator that cannot begin anew was asked for one more epoch than it had."""


@dataclass(frozen=True)
class Segment:
    """Steps of one batch size over resident rows.

    `data` is (x, y, sample_weight), each a structure of NumPy arrays (or None) with the same first
    size. The arrays of resident data are the same objects in each epoch, so that an engine puts
    them on its device once. Step i takes the rows `order[i * batch_size : (i + 1) * batch_size]`.
    """

    data: tuple[Any, Any, Any]
    order: np.ndarray  # int32 [steps * batch_size]
    batch_size: int
    steps: int


class Source(Protocol):
    """What the loop reads: an epoch is a sequence of segments."""

    steps: int | None  # batches of an epoch, a smaller last one counted; None if unknown
    batch_size: int | None
    samples: int | None
    arrays: tuple[Any, Any, Any] | None  # all rows, where they are at hand

    def segments(self, epoch: int) -> Iterator[Segment]:
        """The segments of an epoch."""
        ...

    def peek(self) -> tuple[Any, Any, Any]:
        """(x, y, sample_weight) of one batch, which is not lost by it."""
        ...
