"""Segments and sources: the contract between data and the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Segment:
    """Steps of one batch size over resident rows.

    `data` is (x, y, sample_weight), each a structure of arrays (or None) with the same first size;
    step i takes the rows `order[i * batch_size : (i + 1) * batch_size]`.
    """

    data: tuple[Any, Any, Any]
    order: np.ndarray
    batch_size: int
    steps: int


class Source(Protocol):
    """What the loop reads: an epoch is a sequence of segments."""

    steps: int | None  # batches of an epoch, None if unknown
    batch_size: int | None
    arrays: tuple[Any, Any, Any] | None  # all rows, where they are at hand

    def segments(self, epoch: int) -> Iterator[Segment]:
        """The segments of an epoch."""
        ...

    def peek(self) -> tuple[Any, Any, Any]:
        """(x, y, sample_weight) of one batch, which is not lost by it."""
        ...
