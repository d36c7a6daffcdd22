"""Programs and how they are made: a pure function of named slots, traced and made canonical.

Here is what a Program is and how to walk it. The rewriting is in `canonical.py`, the closed list of
primitives in `primitives.py`, the many-steps form in `loop.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from carnyx.program.canonical import canonicalize
from carnyx.program.jaxinternals import scopes

# What a slot is to the step, in the order in which listings show them.
ROLES = {
    "trainable": "a weight that the optimizer updates",
    "state": "another weight: moving statistics, frozen weights, counters",
    "seed": "the state of a random generator",
    "optimizer": "the optimizer's own state",
    "metric": "what a metric has gathered so far",
    "data": "a batch, or the rows that batches are gathered from",
    "control": "which rows, how many steps",
    "output": "predictions, one row per row of the batch",
    "log": "a number to report after a step",
}


@dataclass(frozen=True)
class Slot:
    """A named input or output of a Program."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    role: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(
                f"Slot '{self.path}' has the unknown role {self.role!r}. Expected one of "
                f"{', '.join(ROLES)}."
            )
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.shape))
        return f"{self.role:<9} {self.dtype}[{sizes}] {self.path}"


@dataclass(frozen=True)
class Program:
    """A pure, closed, canonical jaxpr with named inputs and outputs.

    >>> double = trace(
    ...     "double",
    ...     lambda values: [2 * values[0]],
    ...     [Slot("x", (3,), "float32", "data")],
    ...     [Slot("y", (3,), "float32", "output")],
    ... )
    >>> print(double)
    Program double: 1 input, 1 output, 1 equation
      in  data      float32[3] x
      out output    float32[3] y
      (no layer): mul
    """

    name: str
    jaxpr: ClosedJaxpr
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]

    def __post_init__(self) -> None:
        _check_slots(self, "input", self.inputs, self.jaxpr.in_avals)
        _check_slots(self, "output", self.outputs, self.jaxpr.out_avals)

    def __call__(self, *values: Any) -> list[Any]:
        """Evaluates the equations one by one, or writes them into the trace under way."""
        return jaxpr_as_fun(self.jaxpr)(*values)

    def equations(self) -> Iterator[tuple[Any, str]]:
        """(equation, path of the layer it belongs to), those of nested bodies after their owner."""
        yield from _walk(self.jaxpr.jaxpr, "")

    def __str__(self) -> str:
        layers: dict[str, Counter[str]] = {}
        for equation, layer in self.equations():
            layers.setdefault(layer, Counter())[operation_name(equation)] += 1
        count = sum(counts.total() for counts in layers.values())
        sizes = ((len(self.inputs), "input"), (len(self.outputs), "output"), (count, "equation"))
        lines = [f"Program {self.name}: " + ", ".join(_count(*size) for size in sizes)]
        both = set(self.inputs) & set(self.outputs)
        lines += [f"  {'i/o' if slot in both else 'in '} {slot}" for slot in self.inputs]
        lines += [f"  out {slot}" for slot in self.outputs if slot not in both]
        for layer, counts in layers.items():
            kinds = (name if n == 1 else f"{n} {name}" for name, n in counts.most_common())
            lines.append(f"  {layer or '(no layer)'}: {', '.join(kinds)}")
        return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_slots(program: Program, kind: str, slots: Sequence[Slot], avals: Sequence[Any]) -> None:
    if len(slots) != len(avals):
        raise ValueError(
            f"Program '{program.name}': its function has {_count(len(avals), kind)}, but "
            f"{_count(len(slots), 'slot')} name them: {[slot.path for slot in slots]}."
        )
    for slot, aval in zip(slots, avals, strict=True):
        if (slot.shape, slot.dtype) != (tuple(aval.shape), str(aval.dtype)):
            raise ValueError(
                f"Program '{program.name}': {kind} slot '{slot.path}' says {slot.dtype} of shape "
                f"{slot.shape}, but the function has {aval.dtype} of shape {tuple(aval.shape)}."
            )


def operation_name(equation: Any) -> str:
    """What an equation does: its primitive's name, or the name of the composite it calls.

    >>> operation_name(jax.make_jaxpr(jax.numpy.sin)(1.0).eqns[0])
    'sin'
    """
    name = equation.primitive.name
    return equation.params["name"] if name == "jit" else name


def layer_path(equation: Any, outer: str = "") -> str:
    """The path of the layer that an equation was traced in, "" outside of all layers.

    `outer` is the path of the equation in whose body this one stands. Gradients belong to the
    layer whose gradient they are.

    >>> dense = jax.named_call(jax.numpy.sin, name="model/dense")
    >>> {layer_path(equation) for equation in jax.make_jaxpr(jax.grad(dense))(1.0).eqns}
    {'model/dense'}
    """
    path: list[str] = []
    for names in scopes(equation):
        names = [name for name in names if name and name != "rematted_computation"]
        # what is recomputed for a gradient carries its place twice, below each transformation
        path = names if names[: len(path)] == path else path + names
    return "/".join([outer, *path] if outer else path)


def bodies(equation: Any) -> Iterator[ClosedJaxpr]:
    """The jaxprs in an equation's parameters: bodies of loops, branches, composites."""
    for value in equation.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item


def _walk(jaxpr: Any, outer: str) -> Iterator[tuple[Any, str]]:
    for equation in jaxpr.eqns:
        place = layer_path(equation, outer)
        yield equation, place
        for inner in bodies(equation):
            yield from _walk(inner.jaxpr, place)


def trace(
    name: str,
    fn: Callable[[list[Any]], Sequence[Any]],
    inputs: Sequence[Slot],
    outputs: Sequence[Slot] | Callable[[Sequence[Any]], Sequence[Slot]],
) -> Program:
    """The Program of `fn`, which takes a list of arrays in slot order and returns such a list.

    `fn` is called once. `outputs` are the output slots, or a function that makes them from the
    outputs' shapes and dtypes, called after `fn`.
    """
    closed = jax.make_jaxpr(lambda *values: list(fn(list(values))))(*specs(inputs))
    slots = outputs(closed.out_avals) if callable(outputs) else outputs
    return finish(name, closed, inputs, slots)


def specs(slots: Sequence[Slot]) -> list[jax.ShapeDtypeStruct]:
    """What JAX traces in place of the slots' arrays."""
    return [jax.ShapeDtypeStruct(s.shape, jax.dtypes.canonicalize_dtype(s.dtype)) for s in slots]


def finish(
    name: str, closed: ClosedJaxpr, inputs: Sequence[Slot], outputs: Sequence[Slot]
) -> Program:
    """A Program of a raw jaxpr: made canonical and verified."""
    from carnyx.program.primitives import verify  # which reads Programs itself

    program = Program(name, canonicalize(closed), tuple(inputs), tuple(outputs))
    verify(program)
    return program
