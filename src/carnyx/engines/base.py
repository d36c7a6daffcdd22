"""What an engine is: it puts arrays where it computes, gets them back, and compiles Programs.

The table of engines is in `__init__.py`, each engine in its own file. What the primitives mean is
said in `carnyx/program/primitives.py` and, in code, by the reference engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from carnyx.program.trace import Program

# A compiled Program: native inputs to native outputs, both in slot order.
Compiled = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Limitation:
    """Something that an engine cannot do; it filters tests, makes the error, fills the docs.

    >>> print(Limitation("abacus", "sort", "arrays of more than ten numbers", "It has ten wires."))
    The abacus engine does not support sort: arrays of more than ten numbers. It has ten wires.
    """

    engine: str
    primitive: str
    what: str
    why: str

    def __str__(self) -> str:
        which = f"The {self.engine} engine does not support {self.primitive}"
        return f"{which}: {self.what}. {self.why}"


class Kernel(NamedTuple):
    """What a compiled Program spent in one of its pieces while it was profiled."""

    program: str
    scope: str  # the named scopes and the operation that it came from, as JAX writes them
    name: str
    seconds: float
    runs: int


class UnsupportedError(NotImplementedError):
    """A Program needs what the engine has declared that it cannot do."""

    def __init__(self, limitation: Limitation, layer: str = "") -> None:
        self.limitation = limitation
        where = f"\n  in layer '{layer}'" if layer else ""
        super().__init__(f"{limitation}{where}\n  Compile the model for another engine.")


class Engine(ABC):
    """Compiles Programs. State stays native between calls: a step copies none of it."""

    name: str
    limitations: tuple[Limitation, ...] = ()

    @abstractmethod
    def put(self, array: Any) -> Any:
        """The array as the engine's own; no copy when it is that already.

        For what serves many calls: weights, resident data. The engine may share the memory of a
        NumPy array, which must then not change while the engine uses it.
        """

    @abstractmethod
    def get(self, native: Any) -> np.ndarray:
        """The engine's array as NumPy."""

    @abstractmethod
    def compile(self, program: Program, donate: Sequence[str] = ()) -> Compiled:
        """A function from the native inputs to the native outputs, both in slot order.

        It takes NumPy arrays too: for what serves one call, that costs less than `put`.
        `donate` names roles of input slots whose arrays the caller gives up: the engine may reuse
        their memory, and they must not be read after the call. An engine is free not to.
        """

    def profile(self, run: Callable[[], Any]) -> list[Kernel]:
        """Calls `run` and measures the pieces of the compiled Programs that run in it.

        Raises UnsupportedError where the engine cannot.
        """
        why = "It runs no compiled pieces that could be measured."
        raise UnsupportedError(Limitation(self.name, "profile", "measuring its pieces", why))
