"""Recurrent layers: the RNN that runs any cell over time, LSTM, GRU, SimpleRNN, Bidirectional.

The cells are in `cells.py`, the fast sequence forms in `ops/recurrent.py`; a layer uses one when
its options allow it and otherwise steps its cell with a scan, which is the definition that the fast
form must equal.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from carnyx.core.config import snake_case
from carnyx.core.fields import Given, declared, tail
from carnyx.core.layer import InputSpec, Layer, call_parameters
from carnyx.core.variable import Variable
from carnyx.layers import arguments
from carnyx.layers.cells import (
    GRUCell,
    LSTMCell,
    RecurrentCell,
    RecurrentOptions,
    ResetAfter,
    Seeded,
    SimpleRNNCell,
    StackedRNNCells,
    UnitOptions,
    start_states,
)
from carnyx.ops import recurrent


class RNN(arguments.Declared, Layer):
    """Runs a cell over the time axis: sequences [B, T, D] -> [B, U], or [B, T, U].

    Args:
        cell: a layer with `call(inputs, states) -> (output, new states)`, `state_size` and,
            optionally, `output_size` and `get_initial_state(batch_size)`; or a list of cells.
        return_sequences: give the output of every step, not the last alone.
        return_state: give the last states too.
        go_backwards: run from the last step to the first (outputs in the order of running).
        stateful: a batch starts with the states that the one before ended with.
        unroll: write the steps one after another in the Program instead of a loop.
        zero_output_for_mask: masked steps give zeros instead of the output before.

    A mask [B, T] makes steps that are False keep state and output as they were.

    >>> RNN(LSTMCell(3), return_sequences=True)(jnp.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    supports_masking = True
    rank = 0  # how many axes of space a step has
    states: list[Variable] | None = None  # those that a stateful layer keeps

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.stateful = bool(go_backwards), bool(stateful)
        self.unroll, self.zero_output_for_mask = bool(unroll), bool(zero_output_for_mask)
        self._set_cell(StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else cell)

    def _set_cell(self, cell: Any) -> None:
        if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
            wanted = "a layer with a call() method and a `state_size`"
            raise arguments.refuse(self, "cell", cell, wanted)
        self.cell = cell
        self.input_spec = InputSpec(ndim=3 + self.rank)

    def build(self, sequences_shape: Any) -> None:
        ndim = 3 + self.rank
        channels = 2 if getattr(self.cell, "channel_axis", -1) == 1 else ndim - 1
        self.input_spec = InputSpec(ndim=ndim, axes={channels: sequences_shape[channels]})
        if not self.cell.built:
            self.cell.build((sequences_shape[0], *sequences_shape[2:]))
            self.cell.built = True
        if self.stateful and self.states is None:
            if sequences_shape[0] is None:
                raise ValueError(
                    "a stateful layer keeps one state for each row of the batch, so the batch "
                    "size must be known: start the model with Input(batch_shape=(32, ...)) or "
                    "batch_size=..."
                )
            self.states = []
            for zeros in jax.tree.leaves(self._start(sequences_shape)):
                state = Variable(zeros, trainable=False, name=f"state_{len(self.states)}")
                state.kind = "state"
                self.states.append(state)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        if not sequences.shape[1]:
            raise ValueError("the sequences have no steps: axis 1, time, must have size 1 or more")
        zeros = self._start(sequences.shape)
        tree = jax.tree.structure(zeros)
        if initial_state is None:
            initial_state = [v.value for v in self.states or ()] if self.stateful else zeros
        states = jax.tree.leaves(initial_state)
        shapes, given = ([s.shape for s in some] for some in (jax.tree.leaves(zeros), states))
        if given != shapes:
            raise ValueError(
                f"initial_state must have {len(shapes)} states, of the shapes {shapes} for this "
                f"input. Received {len(given)}, of the shapes {given}."
            )
        states = [s.astype(self.compute_dtype) for s in states]
        outputs, states = self.run(sequences, jax.tree.unflatten(tree, states), mask, training)
        flat = jax.tree.leaves(states)
        if self.stateful:
            for variable, value in zip(self.states or (), flat, strict=True):
                variable.assign(value)
        result = outputs if self.return_sequences else outputs[:, -1]
        return [result, *flat] if self.return_state else result

    def run(self, sequences: Any, states: Any, mask: Any, training: bool) -> tuple[Any, Any]:
        """(outputs of all steps [B, T, U], last states), by stepping the cell."""
        cell = self.cell
        if isinstance(cell, RecurrentCell):  # one mask of dropout for all steps
            masks = cell.dropout_masks(sequences[:, 0], jax.tree.leaves(states)[0], training)
            return self._scan(lambda x, s: cell.step(x, s, masks), sequences, states, mask)
        trains = "training" in call_parameters(type(cell).call)
        options = {"training": training} if trains else {}
        return self._scan(lambda x, s: cell(x, s, **options), sequences, states, mask)

    def _scan(self, step: Any, sequences: Any, states: Any, mask: Any) -> tuple[Any, Any]:
        names = "go_backwards", "unroll", "zero_output_for_mask"
        options = {name: getattr(self, name) for name in names}
        return recurrent.scan_cell(step, sequences, states, mask=mask, **options)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = _mask_of_outputs(self, previous_mask)
        if not self.return_state:
            return mask
        return [mask, *(None for _ in jax.tree.leaves(self.cell.state_size))]

    def get_initial_state(self, batch_size: int) -> Any:
        return start_states(self.cell, batch_size)

    def _start(self, sequences_shape: Any) -> Any:
        """The states that sequences of this shape start with."""
        return start_states(self.cell, sequences_shape[0])

    def reset_states(self) -> None:
        """Sets the states of a stateful layer to zeros."""
        for variable in self.states or ():
            variable.assign(jnp.zeros(variable.shape, variable.dtype))

    reset_state = reset_states

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        if name == "cell" and owner is RNN and type(self).__init__ is not RNN.__init__:
            return False  # the subclass makes it
        return super()._in_config(name, value, default, owner)


@tail
class RunOptions:
    """Fields of layers that make the cell which they run."""

    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False


@tail
class KernelChoice:
    """Options of Keras's signatures that have no effect here."""

    ignored = ("implementation",)
    use_cudnn: Any = "auto"


class CellLayer(RNN):
    """What layers share that make their cell: SimpleRNN, LSTM, GRU, and `conv_rnn.py`'s. Their
    arguments are the cell's and RNN's, and the cell's can be read from the layer too."""

    kind: Any  # the class of the cell
    fused: Any = None  # the run over time as one operation of `ops/recurrent.py`

    def __init__(
        self,
        activity_regularizer: Any = None,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        options = {"activity_regularizer": activity_regularizer, **kwargs}
        super(RNN, self).__init__(**options)  # RNN's own asks for a cell, which comes of the fields
        self.unroll, self.zero_output_for_mask = bool(unroll), bool(zero_output_for_mask)

    def _keep_fields(self, owner: type, given: dict[str, Any]) -> None:
        of_cell, of_run = {**given}, call_parameters(RNN.__init__)
        for name in [n for n in given if n in of_run]:
            setattr(self, name, bool(of_cell.pop(name)))
        if "use_cudnn" in given:
            self.use_cudnn = of_cell.pop("use_cudnn")
        name = snake_case(self.kind.__name__)
        self._set_cell(self.kind(name=name, dtype=self._dtype_policy, **of_cell))
        self._of_cell = tuple(of_cell)

    def __getattr__(self, name: str) -> Any:
        if name in vars(self).get("_of_cell", ()):
            return getattr(self.cell, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def run(self, sequences: Any, states: Any, mask: Any, training: bool) -> tuple[Any, Any]:
        """As one operation, if there is one for these options, else step by step."""
        cell, fused = self.cell, self.fused
        stepped = self.unroll or (training and cell.recurrent_dropout)
        if fused is None or stepped or not cell.is_standard:
            return super().run(sequences, states, mask, training)
        keep, _ = cell.dropout_masks(sequences[:, 0], states[0], training)
        x = sequences if keep is None else sequences * keep[:, None]
        weights = cell.kernel.value, cell.recurrent_kernel.value, cell.bias_value(x.dtype)
        options = {"mask": mask, "go_backwards": self.go_backwards}
        outputs, *last = fused(x, *states, *weights, **options)
        return outputs, last


@declared
class SimpleRNN(UnitOptions, RecurrentOptions, RunOptions, Seeded, CellLayer):
    """A plain recurrent layer over time: h[t] = activation(x[t] W + h[t-1] U + b).

    sequences [B, T, D] -> [B, U], or [B, T, U] with `return_sequences`. See `SimpleRNNCell` and
    `RNN` for the arguments.

    >>> SimpleRNN(3)(jnp.ones((2, 5, 4))).shape
    (2, 3)
    """

    kind = SimpleRNNCell
    recurrent_activation: ClassVar[Any]
    unit_forget_bias: ClassVar[bool]


@declared
class LSTM(UnitOptions, RecurrentOptions, Seeded, RunOptions, KernelChoice, CellLayer):
    """Long short-term memory over time: sequences [B, T, D] -> [B, U], or [B, T, U].

    See `LSTMCell` for the equations and the weights, `RNN` for the other arguments. With tanh and
    sigmoid and no recurrent dropout the whole sequence is one composite operation.

    >>> LSTM(3, return_sequences=True)(jnp.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    kind = LSTMCell
    fused = staticmethod(recurrent.lstm)


@declared
class GRU(UnitOptions, RecurrentOptions, Seeded, RunOptions, ResetAfter, KernelChoice, CellLayer):
    """Gated recurrent units over time: sequences [B, T, D] -> [B, U], or [B, T, U].

    See `GRUCell` for the equations and the weights, `RNN` for the other arguments.

    >>> GRU(3)(jnp.ones((2, 5, 4))).shape
    (2, 3)
    """

    kind = GRUCell
    unit_forget_bias: ClassVar[bool]

    def fused(self, *arrays: Any, **options: Any) -> Any:
        return recurrent.gru(*arrays, reset_after=self.cell.reset_after, **options)


MERGES = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    None: lambda a, b: [a, b],
}


@declared
class Bidirectional(arguments.Declared, Layer):
    """Runs a recurrent layer forwards and its twin backwards, and joins the two outputs.

    Args:
        layer: the recurrent layer that runs forwards.
        merge_mode: "sum", "mul", "ave", "concat" (of the last axis), or None for a list of both.
        weights: initial weights of both, in the order of `weights`.
        backward_layer: the layer that runs backwards; by default made from `layer`'s config.

    (Schuster and Paliwal 1997.)

    >>> Bidirectional(LSTM(3))(jnp.ones((2, 5, 4))).shape
    (2, 6)
    """

    supports_masking = True
    layer: Any
    merge_mode: str | None = "concat"
    weights: Given = None
    backward_layer: Any = None

    def _set_up(self, weights: Any) -> None:
        super()._set_up()
        layer = self.layer
        if not hasattr(layer, "go_backwards"):
            raise arguments.refuse(self, "layer", layer, "a recurrent layer")
        if self.merge_mode not in MERGES:
            raise arguments.refuse(self, "merge_mode", self.merge_mode, f"one of {list(MERGES)}")
        back = not layer.go_backwards
        self.forward_layer = _twin(layer, "forward")
        self.backward_layer = self.backward_layer or _twin(layer, "backward", go_backwards=back)
        if self.backward_layer.go_backwards != back:
            wanted = f"a layer that runs in the other direction (go_backwards={back})"
            raise arguments.refuse(self, "backward_layer", self.backward_layer, wanted)
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful, self.input_spec = layer.stateful, layer.input_spec
        self._initial_weights = weights

    def _owned(self, kind: Any) -> Any:  # not `layer`, a pattern that has no weights
        pair = (self.forward_layer, self.backward_layer)
        return (layer for layer in pair if isinstance(kind, type) and isinstance(layer, kind))

    def build(self, sequences_shape: Any) -> None:
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(sequences_shape)
        if self._initial_weights:
            self.set_weights(self._initial_weights)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        starts = (None, None)
        if initial_state is not None:
            half = len(initial_state) // 2
            starts = (initial_state[:half], initial_state[half:])
        runs = [
            layer(sequences, initial_state=start, mask=mask, training=training)
            for layer, start in zip((self.forward_layer, self.backward_layer), starts, strict=True)
        ]
        (forward, *ahead), (backward, *back) = runs if self.return_state else ([r] for r in runs)
        if self.return_sequences:
            backward = jnp.flip(backward, axis=1)
        merged = MERGES[self.merge_mode](forward, backward)
        if not self.return_state:
            return merged
        return [*(merged if self.merge_mode is None else [merged]), *ahead, *back]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = _mask_of_outputs(self, previous_mask)
        return [mask, mask] if self.merge_mode is None else mask

    def reset_states(self) -> None:
        """Sets the states of stateful layers to zeros."""
        self.forward_layer.reset_states()
        self.backward_layer.reset_states()

    reset_state = reset_states

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        given = name != "backward_layer" or value is not None
        return given and super()._in_config(name, value, default, owner)


def _twin(layer: Any, prefix: str, **options: Any) -> Any:
    config = {**layer.get_config(), "name": f"{prefix}_{layer.name}", **options}
    return type(layer).from_config(config)


def _mask_of_outputs(layer: Any, masks: Any) -> Any:
    """The mask of the sequences, if they come out."""
    return next(iter(jax.tree.leaves(masks)), None) if layer.return_sequences else None


__all__ = """
    Bidirectional GRU LSTM RNN SimpleRNN
""".split()
