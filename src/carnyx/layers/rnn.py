"""Recurrent layers: the RNN that runs any cell over time, LSTM, GRU, SimpleRNN, Bidirectional.

The cells are in `cells.py`, the fast sequence forms in `ops/recurrent.py`; a layer uses one when
its options allow it and otherwise steps its cell with a scan, which is the definition that the fast
form must equal.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.config import snake_case
from carnyx.core.layer import InputSpec, Layer, call_parameters
from carnyx.core.variable import Variable
from carnyx.layers import arguments
from carnyx.layers.arguments import Fraction, Whole
from carnyx.layers.cells import (
    GRUCell,
    LSTMCell,
    RecurrentCell,
    SimpleRNNCell,
    StackedRNNCells,
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
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
            raise ValueError(
                f"{type(self).__name__} '{self.name}': a cell has a call() method and a "
                f"`state_size`. Received: cell={cell!r}"
            )
        self.cell = cell
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.stateful = bool(go_backwards), bool(stateful)
        self.unroll, self.zero_output_for_mask = bool(unroll), bool(zero_output_for_mask)
        self.input_spec = InputSpec(ndim=3 + self.rank)
        self.states: list[Variable] | None = None

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
            leaves = jax.tree.leaves(self._start(sequences_shape))
            self.states = [
                Variable(leaf, trainable=False, name=f"state_{i}") for i, leaf in enumerate(leaves)
            ]
            for state in self.states:
                state.kind = "state"

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
        if len(states) != tree.num_leaves:
            raise ValueError(
                f"the cell has {tree.num_leaves} states and `initial_state` {len(states)}."
            )
        shapes = [s.shape for s in jax.tree.leaves(zeros)]
        if [s.shape for s in states] != shapes:
            raise ValueError(
                f"initial states must have the shapes {shapes} for this input. Received: "
                f"{[s.shape for s in states]}"
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
        masks = jax.tree.leaves(previous_mask)
        mask = masks[0] if masks and self.return_sequences else None
        states = len(jax.tree.leaves(self.cell.state_size)) if self.return_state else 0
        return [mask, *[None] * states] if self.return_state else mask

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


class CellLayer(RNN):
    """What layers share that make their cell: SimpleRNN, LSTM, GRU, and `conv_rnn.py`'s. Their
    arguments are the cell's and RNN's, and the cell's can be read from the layer too."""

    fused: Any = None  # the run over time as one operation of `ops/recurrent.py`

    def _make(self, cell: Any, given: dict[str, Any], **more: Any) -> None:
        """The work of a constructor, from its `locals()`."""
        own = {key: given[key] for key in given.keys() - {"self", "kwargs", "use_cudnn"}}
        run = {*call_parameters(RNN.__init__), "activity_regularizer"} & own.keys()
        of_cell = {key: own[key] for key in own.keys() - run}
        kwargs = {**{key: own[key] for key in run}, **given["kwargs"]}
        more |= {"dtype": kwargs.get("dtype"), "name": snake_case(cell.__name__)}
        RNN.__init__(self, cell(**of_cell, **more), **kwargs)
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


class SimpleRNN(CellLayer):
    """A plain recurrent layer over time: h[t] = activation(x[t] W + h[t-1] U + b).

    sequences [B, T, D] -> [B, U], or [B, T, U] with `return_sequences`. See `SimpleRNNCell` and
    `RNN` for the arguments.

    >>> SimpleRNN(3)(jnp.ones((2, 5, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        units: Whole,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: Fraction = 0.0,
        recurrent_dropout: Fraction = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        self._make(SimpleRNNCell, locals())


class LSTM(CellLayer):
    """Long short-term memory over time: sequences [B, T, D] -> [B, U], or [B, T, U].

    See `LSTMCell` for the equations and the weights, `RNN` for the other arguments. With tanh and
    sigmoid and no recurrent dropout the whole sequence is one composite operation.

    >>> LSTM(3, return_sequences=True)(jnp.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    fused = staticmethod(recurrent.lstm)

    def __init__(
        self,
        units: Whole,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: Fraction = 0.0,
        recurrent_dropout: Fraction = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        kwargs.pop("implementation", None)
        self._make(LSTMCell, locals())
        self.use_cudnn = use_cudnn


class GRU(CellLayer):
    """Gated recurrent units over time: sequences [B, T, D] -> [B, U], or [B, T, U].

    See `GRUCell` for the equations and the weights, `RNN` for the other arguments.

    >>> GRU(3)(jnp.ones((2, 5, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        units: Whole,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: Fraction = 0.0,
        recurrent_dropout: Fraction = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        kwargs.pop("implementation", None)
        self._make(GRUCell, locals())
        self.use_cudnn = use_cudnn

    def fused(self, *arrays: Any, **options: Any) -> Any:
        return recurrent.gru(*arrays, reset_after=self.cell.reset_after, **options)


MERGES = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    None: lambda a, b: [a, b],
}


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
    unsaved = ("weights",)

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        if not hasattr(layer, "go_backwards"):
            raise ValueError(f"Bidirectional wraps a recurrent layer. Received: layer={layer!r}")
        if merge_mode not in MERGES:
            raise ValueError(
                f"Bidirectional: merge_mode is one of {list(MERGES)}. Received: {merge_mode!r}"
            )
        super().__init__(**kwargs)
        self.layer = layer
        self.forward_layer = _twin(layer, "forward", None)
        self.backward_layer = backward_layer or _twin(layer, "backward", not layer.go_backwards)
        if self.backward_layer.go_backwards == self.forward_layer.go_backwards:
            raise ValueError(
                "Bidirectional: the two layers run in the same direction. Give backward_layer "
                f"go_backwards={not layer.go_backwards}."
            )
        self.merge_mode = merge_mode
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful
        self.input_spec = layer.input_spec
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
        states = [s for run in runs for s in run[1:]] if self.return_state else []
        forward, backward = (run[0] for run in runs) if self.return_state else runs
        if self.return_sequences:
            backward = jnp.flip(backward, axis=1)
        merged = MERGES[self.merge_mode](forward, backward)
        if not self.return_state:
            return merged
        return [*(merged if self.merge_mode is None else [merged]), *states]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        masks = jax.tree.leaves(previous_mask)
        mask = masks[0] if masks and self.return_sequences else None
        return [mask, mask] if self.merge_mode is None else mask

    def reset_states(self) -> None:
        """Sets the states of stateful layers to zeros."""
        self.forward_layer.reset_states()
        self.backward_layer.reset_states()

    reset_state = reset_states

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        given = name != "backward_layer" or value is not None
        return given and super()._in_config(name, value, default, owner)


def _twin(layer: Any, prefix: str, go_backwards: bool | None) -> Any:
    config = {**layer.get_config(), "name": f"{prefix}_{layer.name}"}
    if go_backwards is not None:
        config["go_backwards"] = go_backwards
    return type(layer).from_config(config)


__all__ = """
    Bidirectional GRU LSTM RNN SimpleRNN
""".split()
