"""Many steps in one call: a one-step Program becomes a loop over rows gathered on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.program.trace import Program, Slot, finish, specs

STATE_ROLES = ("trainable", "state", "seed", "optimizer", "metric")


def repeat(step: Program, capacity: int, rows: int, order_length: int) -> Program:
    """The Program that runs `count` steps of `step`, a number given at run time.

    `step` takes state slots and then data slots [B, ...]; it returns those of its state slots that
    it changes, and then logs and outputs. Step i of the loop takes the rows order[i B : (i + 1) B].

    Inputs: the state slots; the data slots with `rows` rows instead of B; `order` int32
    [order_length], rows in the order of their use; `start` and `count` int32, the first step and
    how many, count <= capacity and (start + count) B <= order_length.
    Outputs: the changed state; each log of every step [capacity, ...]; each output, all its steps'
    rows one below the other [capacity B, ...]. What is beyond `count` steps is zero.

    Raises ValueError when the step's slots are of other kinds or in another order.
    """
    held, data = _split_inputs(step)
    changed = [s for s in step.outputs if s.role in STATE_ROLES]
    places = _places(step, held, changed)
    batch = data[0].shape[0]
    buffers = [_buffer(s, capacity) for s in step.outputs[len(changed) :]]
    inputs = [*held, *(Slot(s.path, (rows, *s.shape[1:]), s.dtype, s.role) for s in data)]
    inputs.append(Slot("order", (order_length,), "int32", "control"))
    inputs += [Slot(name, (), "int32", "control") for name in ("start", "count")]

    def run(*values: Any) -> list[Any]:
        fixed, (order, start, count) = values[: len(held)], values[-3:]
        arrays = values[len(held) : -3]

        def body(i: Any, carry: tuple[list[Any], list[Any]]) -> tuple[list[Any], list[Any]]:
            state, kept = carry
            full = list(fixed)
            for place, value in zip(places, state, strict=True):
                full[place] = value
            picked = lax.dynamic_slice(order, ((start + i) * batch,), (batch,))
            # rows are in range, whoever makes the order sees to that: no masks for others
            found = step(*full, *(jnp.take(a, picked, axis=0, mode="clip") for a in arrays))
            rest = zip(kept, found[len(places) :], step.outputs[len(places) :], strict=True)
            return found[: len(places)], [_keep(*each, i) for each in rest]

        empty = [jnp.zeros(s.shape, s.dtype) for s in buffers]
        state, kept = lax.fori_loop(0, count, body, ([fixed[p] for p in places], empty))
        return [*state, *kept]

    closed = jax.make_jaxpr(run)(*specs(inputs))
    return finish(f"{step.name}s", closed, inputs, [*changed, *buffers])


def _split_inputs(step: Program) -> tuple[list[Slot], list[Slot]]:
    held = [s for s in step.inputs if s.role in STATE_ROLES]
    data = list(step.inputs[len(held) :])
    if not data or any(s.role != "data" for s in data):
        raise ValueError(
            f"Program '{step.name}' cannot be repeated: its inputs have the roles "
            f"{[s.role for s in step.inputs]}. Expected state slots, then at least one data slot."
        )
    if len({s.shape[:1] for s in data}) > 1 or not data[0].shape:
        raise ValueError(
            f"Program '{step.name}' cannot be repeated: its data slots have the shapes "
            f"{[s.shape for s in data]}. Expected the same batch size first in all."
        )
    return held, data


def _places(step: Program, held: Sequence[Slot], changed: Sequence[Slot]) -> list[int]:
    """Where among the state inputs each changed state slot stands."""
    places: list[int] = []
    for slot in changed:  # in order, so that slots that look alike are not mixed up
        first = places[-1] + 1 if places else 0
        places += [i for i, other in enumerate(held) if i >= first and other == slot][:1]
    if len(places) != len(changed) or list(changed) != list(step.outputs[: len(changed)]):
        raise ValueError(
            f"Program '{step.name}' cannot be repeated: it returns\n  "
            + "\n  ".join(map(str, step.outputs))
            + "\nExpected state slots in the order in which they are inputs, then logs and outputs."
        )
    return places


def _buffer(slot: Slot, capacity: int) -> Slot:
    shape = (capacity, *slot.shape)
    if slot.role == "output":
        shape = (capacity * slot.shape[0], *slot.shape[1:])
    return Slot(slot.path, shape, slot.dtype, slot.role)


def _keep(buffer: Any, value: Any, slot: Slot, step: Any) -> Any:
    """The buffer with one step's value written to its place."""
    if slot.role == "output":
        return lax.dynamic_update_slice_in_dim(buffer, value, step * slot.shape[0], 0)
    return lax.dynamic_update_index_in_dim(buffer, value, step, 0)
