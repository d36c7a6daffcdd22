"""Segments and sources: the contract between data and the training loop.

Sources themselves are in `adapters.py`; the loop that reads them is `train/loop.py`.
"""

from __future__ import annotations

import random
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
    them on its device once. Step i takes the rows `order[i * batch_size : (i + 1) * batch_size]`;
    those before `first` ran already, before a training was interrupted.
    """

    data: tuple[Any, Any, Any]
    order: np.ndarray  # int32 [steps * batch_size]
    batch_size: int
    steps: int
    first: int = 0


class Source(Protocol):
    """What the loop reads: an epoch is a sequence of segments."""

    steps: int | None  # batches of an epoch, a smaller last one counted; None if unknown
    batch_size: int | None
    samples: int | None
    arrays: tuple[Any, Any, Any] | None  # all rows, where they are at hand
    recording: bool  # whether `position` will be asked for

    def segments(self, epoch: int) -> Iterator[Segment]:
        """The segments of an epoch."""
        ...

    def peek(self) -> tuple[Any, Any, Any]:
        """(x, y, sample_weight) of one batch, which is not lost by it."""
        ...

    def position(self, done: int) -> dict[str, Any]:
        """Where it is after `done` batches of the epoch (0: between two epochs), as plain data.

        "draws" in it are the `global_draws` of that place, where the source itself makes them.
        """
        ...

    def restore(self, position: dict[str, Any]) -> None:
        """Goes there: a new source of the same data gives what the old one would have given."""
        ...


def global_draws() -> dict[str, Any]:
    """The states of Python's and NumPy's global generators, as plain data."""
    version, state, gauss = random.getstate()
    return {
        "python": [version, np.array(state, np.int64), gauss],
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # user programs draw from it
    }


def set_global_draws(draws: dict[str, Any]) -> None:
    """Puts both generators back into these states."""
    version, state, gauss = draws["python"]
    random.setstate((version, tuple(map(int, state)), gauss))
    np.random.set_state(draws["numpy"])  # noqa: NPY002


def check_position(source: Any, position: dict[str, Any], *names: str) -> None:
    """Raises ValueError where a position is of other data: its entries differ from attributes."""
    for name in names:
        if position.get(name) != getattr(source, name):
            raise ValueError(
                f"fit(): the backup is of a training on other data: its {name} is "
                f"{position.get(name)}, that of {source!r} is {getattr(source, name)}. Train on "
                "the same data, with the same arguments, or delete the backup to begin anew."
            )
