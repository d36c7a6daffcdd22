"""Many steps in one call: a one-step Program becomes a loop over rows gathered on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.program.trace import Program, Slot, finish

STATE_ROLES = ("trainable", "state", "seed", "optimizer", "metric")


def repeat(step: Program, capacity: int, rows: int, order_length: int) -> Program:
    """The Program that runs `count` steps of `step`, a number given at run time.

    Inputs: the state slots; the data slots with `rows` rows instead of a batch; `order` int32
    [order_length], the rows in the order of their use; `start` and `count` int32, the first step
    and how many (at most `capacity`). Step i takes the rows order[i B : (i + 1) B].
    Outputs: the state; then every log with one entry a step, [capacity, ...].
    """
    state = [s for s in step.inputs if s.role in STATE_ROLES]
    data = [s for s in step.inputs if s.role == "data"]
    logs = step.outputs[len(state) :]
    batch = data[0].shape[0]
    resident = [Slot(s.path, (rows, *s.shape[1:]), s.dtype, "data") for s in data]
    control = [Slot("order", (order_length,), "int32", "control")]
    control += [Slot(name, (), "int32", "control") for name in ("start", "count")]
    inputs = [*state, *resident, *control]
    buffers = [Slot(s.path, (capacity, *s.shape), s.dtype, s.role) for s in logs]

    def run(*values: Any) -> list[Any]:
        held = list(values[: len(state)])
        arrays = values[len(state) : -3]
        order, start, count = values[-3:]

        def body(i: Any, carry: tuple[list[Any], list[Any]]) -> Any:
            now, kept = carry
            index = lax.dynamic_slice(order, ((start + i) * batch,), (batch,))
            out = step(*now, *(_rows(array, index) for array in arrays))
            new, found = out[: len(state)], out[len(state) :]
            kept = [lax.dynamic_update_index_in_dim(b, v, i, 0) for b, v in zip(kept, found, strict=True)]
            return new, kept

        empty = [jnp.zeros(s.shape, s.dtype) for s in buffers]
        new, kept = lax.fori_loop(0, count, body, (held, empty))
        return [*new, *kept]

    specs = [jax.ShapeDtypeStruct(s.shape, jnp.dtype(s.dtype)) for s in inputs]
    closed = jax.make_jaxpr(run)(*specs)
    return finish(step.name.replace("step", "loop"), closed, inputs, [*state, *buffers])


def _rows(array: Any, index: Any) -> Any:
    """array[index] along the first axis. Indices are in range: they are made by the adapters."""
    return jnp.take(array, index, axis=0, mode="clip")


