"""Programs and how they are made: a pure function of named slots, traced and made canonical.

Here is what a Program is. The rewriting is in `canonical.py`, the closed list of primitives in
`primitives.py`, the many-steps form in `loop.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from carnyx.program.canonical import canonicalize
from carnyx.program.jaxinternals import name_stack
from carnyx.program.primitives import verify

ROLES = (
    "trainable",  # a weight that the optimizer updates
    "state",  # another weight: moving statistics, counters
    "seed",  # the state of a random generator
    "optimizer",
    "metric",
    "data",  # a batch, or the rows that batches are gathered from
    "control",  # which rows, how many steps
    "output",  # predictions
    "log",  # a metric's value after a step
)


@dataclass(frozen=True)
class Slot:
    """A named input or output of a Program."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    role: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"Slot '{self.path}': unknown role {self.role!r}. Known: {ROLES}")


@dataclass(frozen=True)
class Program:
    """A pure, closed, canonical jaxpr with named inputs and outputs."""

    name: str
    jaxpr: ClosedJaxpr
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]

    def __call__(self, *values: Any) -> list[Any]:
        """Evaluates the equations one by one, or inlines them into a trace."""
        return jaxpr_as_fun(self.jaxpr)(*values)

    def equations(self) -> Iterator[tuple[Any, str]]:
        """(equation, path of the layer it belongs to), those of nested bodies included."""
        yield from _walk(self.jaxpr.jaxpr, "")

    def __str__(self) -> str:
        lines = [f"Program {self.name}"]
        for title, slots in (("in", self.inputs), ("out", self.outputs)):
            lines += [f"  {title:3} {s.role:9} {s.dtype}{list(s.shape)} {s.path}" for s in slots]
        counts: dict[str, int] = {}
        for _, layer in self.equations():
            counts[layer or "(no layer)"] = counts.get(layer or "(no layer)", 0) + 1
        lines += [f"  {count:5} equations in {layer}" for layer, count in counts.items()]
        return "\n".join(lines)


def layer_path(stack: str) -> str:
    """The layer in a name stack: transformations' wrappers are taken off.

    >>> layer_path("transpose(jvp(sequential/dense))")
    'sequential/dense'
    """
    previous = None
    while previous != stack:
        previous = stack
        stack = re.sub(r"\b(?:jvp|transpose|vmap|rematted_computation|checkpoint)\(([^()]*)\)", r"\1", stack)
    return "/".join(part for part in stack.split("/") if part and part not in ("while", "body"))


def sub_jaxprs(equation: Any) -> Iterator[Any]:
    """The jaxprs in an equation's parameters: bodies of loops, branches, composites."""
    for value in equation.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(item, "jaxpr") and hasattr(item, "consts"):
                yield item


def _walk(jaxpr: Any, outer: str) -> Iterator[tuple[Any, str]]:
    for equation in jaxpr.eqns:
        own = layer_path(name_stack(equation))
        place = own if not outer or own.startswith(outer) else f"{outer}/{own}".rstrip("/")
        yield equation, place
        for inner in sub_jaxprs(equation):
            yield from _walk(inner.jaxpr, place)


def trace(
    name: str,
    fn: Callable[[list[Any]], Sequence[Any]],
    inputs: Sequence[Slot],
    outputs: Callable[[Sequence[Any]], Sequence[Slot]],
) -> Program:
    """The Program of `fn`, which takes a list of arrays in slot order and returns a list.

    `outputs` makes the output slots from the outputs' shapes and dtypes.
    """
    specs = [jax.ShapeDtypeStruct(s.shape, jnp.dtype(s.dtype)) for s in inputs]
    closed = jax.make_jaxpr(lambda *values: list(fn(list(values))))(*specs)
    return finish(name, closed, inputs, outputs(closed.out_avals))


def finish(name: str, closed: Any, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> Program:
    """A Program of a raw jaxpr: made canonical and verified."""
    program = Program(name, canonicalize(closed), tuple(inputs), tuple(outputs))
    verify(program)
    return program
