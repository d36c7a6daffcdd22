"""The steps of training, testing and predicting, traced into Programs.

A step is written with layers and variables as if these were plain objects (`Trainer.train_step` in
`model.py`); here it becomes a pure function of named slots: the state (weights, optimizer, metrics,
seeds) and a batch in, the new state and the logs out. How often it runs is `loop.py`'s business.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from carnyx.core import state
from carnyx.program.trace import Program, Slot, trace


@functools.cache
def canonical_dtype(dtype: Any) -> np.dtype:
    """The type that a Program has for data of this one: 64-bit numbers become 32-bit."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


@dataclass(frozen=True)
class Signature:
    """What makes two batches the same to a compiled step: structure, shapes of a row, types."""

    mode: str
    tree: Any
    rows: tuple[tuple[tuple[int, ...], str], ...]
    batch_size: int
    trained: tuple[int, ...] = ()  # ids of the variables that are trained now

    @classmethod
    def of(cls, mode: str, data: Any, batch_size: int, trained: tuple[int, ...] = ()) -> Signature:
        leaves, tree = jax.tree.flatten(data)
        rows = tuple((tuple(a.shape[1:]), canonical_dtype(a.dtype).name) for a in leaves)
        return cls(mode, tree, rows, batch_size, trained)


@dataclass
class Step:
    """A traced step: the variables that are its state, in slot order, and its Program."""

    program: Program
    variables: list[Any]
    logs: list[str] = field(default_factory=list)
    changed: list[Any] = field(default_factory=list)  # what a step of predict gives back changed
    output_tree: Any = None


def state_of(model: Any, mode: str) -> list[tuple[Any, str]]:
    """(variable, role) of everything that a step of this mode may read or change."""
    found: dict[int, tuple[Any, str]] = {}
    for v in model.variables:
        role = "trainable" if v.trainable else "seed" if v.kind == "seed" else "state"
        found[id(v)] = (v, role)
    for optimizer in model.optimizers if mode == "train" else ():
        for v in optimizer.variables:
            found.setdefault(id(v), (v, "optimizer"))
    if mode != "predict":
        for v in model.metrics_variables:
            found.setdefault(id(v), (v, "metric"))
    return list(found.values())


def trace_step(model: Any, signature: Signature) -> Step:
    """Traces one step of `model` for batches of this signature."""
    run = {"train": model.train_step, "test": model.test_step, "predict": model.predict_step}
    method, held = run[signature.mode], state_of(model, signature.mode)
    variables = [v for v, _ in held]
    slots = [Slot(v.path, v.shape, v._dtype, role) for v, role in held]
    names = _leaf_names(signature)
    slots += [
        Slot(name, (signature.batch_size, *shape), dtype, "data")
        for name, (shape, dtype) in zip(names, signature.rows, strict=True)
    ]
    step = Step(program=None, variables=variables)  # type: ignore[arg-type]  # filled below

    def flat(values: Sequence[Any]) -> list[Any]:
        data = jax.tree.unflatten(signature.tree, values[len(variables) :])
        with state.name_scope_root():
            out, new = state.pure(method, variables)(values[: len(variables)], data)
        if signature.mode == "predict":  # little changes: seeds of noise, recurrent states
            pairs = zip(variables, values, new, strict=False)
            kept = [(v, after) for v, before, after in pairs if after is not before]
            step.changed = [v for v, _ in kept]
            leaves, step.output_tree = jax.tree.flatten(out)
            return [*(value for _, value in kept), *leaves]
        step.logs = list(out)
        return [*new, *out.values()]

    def out_slots(avals: Sequence[Any]) -> list[Slot]:
        if signature.mode == "predict":
            changed = {id(v) for v in step.changed}
            head = [slots[i] for i, v in enumerate(variables) if id(v) in changed]
            return head + [
                Slot(f"output{i}", tuple(a.shape), str(a.dtype), "output")
                for i, a in enumerate(avals[len(head) :])
            ]
        head = slots[: len(variables)]
        tail = avals[len(variables) :]
        logs = [
            Slot(name, tuple(a.shape), str(a.dtype), "log")
            for name, a in zip(step.logs, tail, strict=True)
        ]
        return [*head, *logs]

    step.program = trace(f"{model.name}.{signature.mode}_step", flat, slots, out_slots)
    return step


def _leaf_names(signature: Signature) -> list[str]:
    """ "x", "y", "sample_weight", or "x[0]", "x['name']"... for structures."""
    empty = jax.tree.unflatten(signature.tree, range(len(signature.rows)))
    parts = ("x", "y", "sample_weight")
    paths = jax.tree_util.tree_flatten_with_path(empty)[0]
    if signature.mode == "predict":
        return ["x" + jax.tree_util.keystr(path) for path, _ in paths]
    return [parts[path[0].idx] + jax.tree_util.keystr(path[1:]) for path, _ in paths]
