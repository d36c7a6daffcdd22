"""What an engine is: it puts arrays where it computes, gets them back, and compiles Programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carnyx.program.trace import Program


@dataclass(frozen=True)
class Limitation:
    """Something that an engine cannot do; it filters tests, makes the error, fills the docs."""

    engine: str
    primitive: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"The {self.engine} engine does not support {self.primitive}: {self.what}. {self.why}"


class Engine(ABC):
    """Compiles Programs. State stays native between calls."""

    name: str
    limitations: tuple[Limitation, ...] = ()

    @abstractmethod
    def put(self, array: Any) -> Any:
        """The array as the engine's own; no copy when it is that already."""

    @abstractmethod
    def get(self, native: Any) -> np.ndarray:
        """The engine's array as NumPy."""

    @abstractmethod
    def compile(self, program: Program) -> Callable[[Sequence[Any]], list[Any]]:
        """A function from the native inputs to the native outputs, both in slot order."""
