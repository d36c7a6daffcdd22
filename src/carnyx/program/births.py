"""Where the first number of a step that is not finite was born: its equations, run one by one.

A reader of Programs: nothing is traced and nothing costs until a step has gone wrong. What watches
for that is the callback `TerminateOnNaN`; `train/loop.py` knows which step to look into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from carnyx.program.trace import Program, layer_path, operation_name


@dataclass(frozen=True)
class Birth:
    """The equation that made the first NaN or infinity that reached a result of the step."""

    layer: str
    operation: str
    inputs: tuple[str, ...]  # what each operand was
    output: str

    def __str__(self) -> str:
        if not self.inputs and self.operation.startswith("input "):
            return f"{self.operation}, which came as {self.output}"
        place = f"layer '{self.layer}'" if self.layer else "no layer: the loss or the optimizer"
        given = "; ".join(self.inputs) or "nothing"
        return f"'{self.operation}' in {place}\n  received: {given}\n  gave: {self.output}"


def find_birth(program: Program, values: Sequence[Any]) -> Birth | None:
    """Runs one step on these inputs; None if all its results are finite.

    A value that goes no further (the logarithm of 0 that a `where` leaves out) is no birth.

    >>> import jax.numpy as jnp
    >>> from carnyx.program.trace import Slot, trace
    >>> slots = [Slot(n, (2,), "float32", r) for n, r in (("x", "data"), ("y", "output"))]
    >>> step = trace("step", lambda v: [jnp.log(v[0]) + 1], slots[:1], slots[1:])
    >>> print(find_birth(step, [jnp.array([1.0, -2.0])]))
    'log' in no layer: the loss or the optimizer
      received: float32[2] in [-2, 1]
      gave: float32[2] in [0, 0], 1 NaN
    """
    origins: list[Any] = []
    for slot, value in zip(program.inputs, values, strict=True):
        bad = _is_bad(value)
        given = (
            Birth("", f"input '{slot.path}' ({slot.role})", (), describe(value)) if bad else None
        )
        origins.append(given)
    closed = program.jaxpr
    consts = [None] * len(closed.consts)
    results, found = _run(closed, [*closed.consts, *values], [*consts, *origins], "")
    return next((o for r, o in zip(results, found, strict=True) if o and _is_bad(r)), None)


def _run(
    closed: ClosedJaxpr, values: Sequence[Any], origins: Sequence[Any], outer: str
) -> tuple[list[Any], list[Any]]:
    """(results, the birth behind each that is not finite) of a body; constants come first."""
    jaxpr = closed.jaxpr
    names = [*jaxpr.constvars, *jaxpr.invars]
    held: dict[Any, tuple[Any, Any]] = dict(
        zip(names, zip(values, origins, strict=True), strict=True)
    )

    def read(atom: Any) -> tuple[Any, Any]:
        return (atom.val, None) if isinstance(atom, Literal) else held[atom]

    for equation in jaxpr.eqns:
        given = [read(atom) for atom in equation.invars]
        out = _step(equation, [v for v, _ in given], [o for _, o in given], outer)
        held.update(zip(equation.outvars, zip(*out, strict=True), strict=True))
    found = [read(atom) for atom in jaxpr.outvars]
    return [v for v, _ in found], [o for _, o in found]


def _step(equation: Any, values: list[Any], origins: list[Any], outer: str) -> Any:
    """One equation; composites, branches and scans are looked into, a `while` counts as one."""
    place, name = layer_path(equation, outer), equation.primitive.name
    params = equation.params
    if name == "jit":
        return _body(params["jaxpr"], values, origins, place)
    if name == "cond":
        return _body(params["branches"][int(values[0])], values[1:], origins[1:], place)
    if name == "scan":
        return _scan(params, values, origins, place)
    made = equation.primitive.bind(*values, **params)
    results = list(made) if equation.primitive.multiple_results else [made]
    return results, [_origin(equation, r, values, origins, place) for r in results]


def _origin(equation: Any, result: Any, values: Any, origins: Any, place: str) -> Any:
    """What to blame for a result: an operand's birth, else this equation."""
    if not _is_bad(result):
        return None
    inherited = next((o for o in origins if o is not None), None)
    if inherited is not None:
        return inherited
    if any(map(_is_bad, values)) and not (_has_nan(result) and not any(map(_has_nan, values))):
        return None  # a constant, such as the -inf of a mask, handed on
    operation = operation_name(equation)
    return Birth(place, operation, tuple(map(describe, values)), describe(result))


def _body(closed: ClosedJaxpr, values: Any, origins: Any, place: str) -> Any:
    consts = list(closed.consts)
    return _run(closed, [*consts, *values], [*[None] * len(consts), *origins], place)


def _scan(params: Any, values: list[Any], origins: list[Any], place: str) -> Any:
    """A loop, step by step."""
    first, second = params["num_consts"], params["num_consts"] + params["num_carry"]
    fixed, carry, rows = values[:first], values[first:second], values[second:]
    blame, carried, rows_blame = origins[:first], origins[first:second], origins[second:]
    stacks: list[list[Any]] = []
    found: list[list[Any]] = []
    steps = range(params["length"])
    for step in reversed(steps) if params["reverse"] else steps:
        inputs = [*fixed, *carry, *(r[step] for r in rows)]
        out, who = _body(params["jaxpr"], inputs, [*blame, *carried, *rows_blame], place)
        carry, carried = out[: len(carry)], who[: len(carry)]
        stacks.append(out[len(carry) :])
        found.append(who[len(carry) :])
    if params["reverse"]:
        stacks.reverse()
    columns = [jax.numpy.stack(column) for column in zip(*stacks, strict=True)]
    first_bad = [next(filter(None, column), None) for column in zip(*found, strict=True)]
    return [*carry, *columns], [*carried, *first_bad]


def is_finite(value: Any) -> bool:
    """Whether there is no NaN and no infinity in an array; whole numbers have none."""
    value = np.asarray(value)
    return not _floats(value) or bool(np.isfinite(value.astype("float32")).all())


def _is_bad(value: Any) -> bool:
    return not is_finite(value)


def _has_nan(value: Any) -> bool:
    value = np.asarray(value)
    return _floats(value) and bool(np.isnan(value.astype("float32")).any())


def _floats(value: np.ndarray) -> bool:
    return value.dtype.kind == "f" or value.dtype.name == "bfloat16"


def describe(value: Any) -> str:
    """Type, shape, range of what is finite, and how much is not."""
    value = np.asarray(value)
    text = f"{value.dtype.name}[{','.join(map(str, value.shape))}]"
    if not value.size or value.dtype.kind in "OV" and not _floats(value):
        return text
    numbers = value.astype("float64") if value.dtype.kind != "c" else np.abs(value)
    finite = numbers[np.isfinite(numbers)]
    if finite.size:
        text += f" in [{finite.min():.4g}, {finite.max():.4g}]"
    kinds = {"NaN": np.isnan(numbers), "inf": numbers == np.inf, "-inf": numbers == -np.inf}
    return text + "".join(f", {bad.sum()} {name}" for name, bad in kinds.items() if bad.any())
