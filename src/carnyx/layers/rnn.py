"""Recurrent layers: cells, the RNN that runs any cell over time, LSTM, GRU, SimpleRNN,
Bidirectional.

The fast sequence forms are in `ops/recurrent.py`; a layer uses one when its options allow it and
otherwise steps its cell with a scan, which is the definition that the fast form must equal.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx import activations, constraints, initializers, regularizers
from carnyx.core.config import deserialize, serialize_object
from carnyx.core.layer import InputSpec, Layer
from carnyx.core.variable import Variable
from carnyx.ops import recurrent
from carnyx.random import SeedGenerator, dropout

_GATED_DOC = """
    Args:
        units: U, the size of the output, from 1.
        activation, recurrent_activation: functions of the candidate and of the gates.
        use_bias: whether a bias is added.
        kernel_initializer, recurrent_initializer, bias_initializer: how weights start.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties on them.
        kernel_constraint, recurrent_constraint, bias_constraint: projections after updates.
        dropout, recurrent_dropout: fraction in [0, 1] of the inputs, or of the state, that a
            training call drops, with one mask for all steps (Gal and Ghahramani 2016).
        seed: of the dropout.
"""


class RecurrentCell(Layer):
    """What SimpleRNNCell, LSTMCell and GRUCell share: options, weights and dropout masks.

    A cell's `call(inputs [B, D], states) -> (output [B, U], new states)` is one step of time.
    """

    gates = 1

    def _setup(self, options: dict[str, Any]) -> None:
        """Keeps the options that the three cells share, as objects and checked."""
        self.units = options["units"]
        if isinstance(self.units, bool) or not isinstance(self.units, int) or self.units <= 0:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': units must be a whole number from 1. "
                f"Received: units={self.units!r}"
            )
        self.activation = activations.get(options["activation"])
        self.use_bias = options["use_bias"]
        for weight in ("kernel", "recurrent", "bias"):
            for what, module in (
                ("initializer", initializers),
                ("regularizer", regularizers),
                ("constraint", constraints),
            ):
                key = f"{weight}_{what}"
                setattr(self, key, module.get(options[key]))
        for key in ("dropout", "recurrent_dropout"):
            rate = options[key]
            if not 0 <= rate <= 1:
                raise ValueError(
                    f"{type(self).__name__} '{self.name}': {key} is a fraction in [0, 1]. "
                    f"Received: {rate!r}"
                )
            setattr(self, key, float(rate))
        self.seed = options["seed"]
        self.seed_generator = SeedGenerator(self.seed)
        self.state_size: Any = self.units
        self.output_size = self.units

    def build(self, input_shape: Any) -> None:
        width = self.gates * self.units
        self.kernel = self._matrix((input_shape[-1], width), "kernel", "kernel")
        self.recurrent_kernel = self._matrix((self.units, width), "recurrent", "recurrent_kernel")
        self.bias = None
        if self.use_bias:
            self.bias = self._matrix(self._bias_shape(), "bias", "bias")

    def _matrix(self, shape: Any, kind: str, name: str) -> Variable:
        return self.add_weight(
            shape,
            self._initializer(kind),
            name=name,
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _initializer(self, kind: str) -> Any:
        return getattr(self, f"{kind}_initializer")

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros for each state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        return [jnp.zeros((batch_size, size), self.compute_dtype) for size in sizes]

    def dropout_masks(self, inputs: Any, state: Any, training: bool) -> tuple[Any, Any]:
        """Masks for one step's inputs and for the state, drawn once a sequence; None for no drop."""
        rates = (self.dropout, self.recurrent_dropout)
        pair = [
            dropout(jnp.ones_like(t), rate, seed=self.seed_generator) if training and rate else None
            for t, rate in zip((inputs, state), rates, strict=True)
        ]
        return pair[0], pair[1]

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        states = list(states) if isinstance(states, (list, tuple)) else [states]
        masks = self.dropout_masks(inputs, states[0], training)
        return self.step(inputs, states, masks)

    def step(self, inputs: Any, states: list[Any], masks: tuple[Any, Any]) -> Any:
        """One step with the dropout masks given."""
        if masks[0] is not None:
            inputs = inputs * masks[0]
        if masks[1] is not None:
            states = [states[0] * masks[1], *states[1:]]
        return self.advance(inputs, states)

    def advance(self, inputs: Any, states: list[Any]) -> Any:
        """The cell's equations: (output, new states)."""
        raise NotImplementedError


class SimpleRNNCell(RecurrentCell):
    """One step of a plain recurrent layer: h = activation(x W + h U + b) (Elman 1990).

    >>> cell = SimpleRNNCell(3)
    >>> output, (state,) = cell(jnp.ones((2, 4)), [jnp.zeros((2, 3))])
    >>> output.shape
    (2, 3)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        options = dict(locals())
        super().__init__(**kwargs)
        self._setup(options)

    def advance(self, inputs: Any, states: list[Any]) -> Any:
        z = inputs @ self.kernel.value + states[0] @ self.recurrent_kernel.value
        output = self.activation(z if self.bias is None else z + self.bias.value)
        return output, [output]


class LSTMCell(RecurrentCell):
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    i = s(x Wi + h Ui + bi), f = s(x Wf + h Uf + bf), g = a(x Wg + h Ug + bg),
    o = s(x Wo + h Uo + bo), c = f c + i g, h = o a(c), where s is the recurrent activation and a
    the activation. The four blocks of each weight stand in the order i, f, g, o.

    >>> cell = LSTMCell(3)
    >>> output, (h, c) = cell(jnp.ones((2, 4)), [jnp.zeros((2, 3)), jnp.zeros((2, 3))])
    >>> c.shape
    (2, 3)
    """

    gates = 4

    def __init__(
        self,
        units: int,
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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        options = dict(locals())
        kwargs.pop("implementation", None)
        super().__init__(**kwargs)
        self._setup(options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.state_size = [self.units, self.units]

    def _initializer(self, kind: str) -> Any:
        if kind == "bias" and self.unit_forget_bias:
            return self._forgetful_bias
        return super()._initializer(kind)

    def _forgetful_bias(self, shape: Any, dtype: Any = None) -> Any:
        """The forget gate starts open: its bias is 1 (Jozefowicz et al. 2015)."""
        u, make = self.units, self.bias_initializer
        return jnp.concatenate(
            [make((u,), dtype=dtype), jnp.ones((u,), dtype), make((2 * u,), dtype=dtype)]
        )

    def advance(self, inputs: Any, states: list[Any]) -> Any:
        h, c = states
        z = inputs @ self.kernel.value + h @ self.recurrent_kernel.value
        z = z if self.bias is None else z + self.bias.value
        i, f, g, o = jnp.split(z, 4, axis=-1)
        s, a = self.recurrent_activation, self.activation
        c = s(f) * c + s(i) * a(g)
        h = s(o) * a(c)
        return h, [h, c]


class GRUCell(RecurrentCell):
    """One step of a gated recurrent unit (Cho et al. 2014).

    z = s(x Wz + h Uz + bz), r = s(x Wr + h Ur + br), and the candidate
    g = a(x Wg + r (h Ug + bg') + bg) with `reset_after`, else g = a(x Wg + (r h) Ug + bg);
    h = z h + (1 - z) g. The three blocks of each weight stand in the order z, r, g.

    >>> cell = GRUCell(3)
    >>> cell(jnp.ones((2, 4)), [jnp.zeros((2, 3))])[0].shape
    (2, 3)
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        options = dict(locals())
        kwargs.pop("implementation", None)
        super().__init__(**kwargs)
        self._setup(options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = reset_after

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def advance(self, inputs: Any, states: list[Any]) -> Any:
        h, u = states[0], self.units
        s, a, recurrent_kernel = (
            self.recurrent_activation,
            self.activation,
            self.recurrent_kernel.value,
        )
        bias = 0.0 if self.bias is None else self.bias.value
        input_bias = bias[0] if self.reset_after and self.use_bias else bias
        x = inputs @ self.kernel.value + input_bias
        if self.reset_after:
            inner = h @ recurrent_kernel + (bias[1] if self.use_bias else 0.0)
            z, r = s(x[:, :u] + inner[:, :u]), s(x[:, u : 2 * u] + inner[:, u : 2 * u])
            g = a(x[:, 2 * u :] + r * inner[:, 2 * u :])
        else:
            inner = h @ recurrent_kernel[:, : 2 * u]
            z, r = s(x[:, :u] + inner[:, :u]), s(x[:, u : 2 * u] + inner[:, u:])
            g = a(x[:, 2 * u :] + (r * h) @ recurrent_kernel[:, 2 * u :])
        h = z * h + (1 - z) * g
        return h, [h]


for _cell in (SimpleRNNCell, LSTMCell, GRUCell):
    _cell.__doc__ = (_cell.__doc__ or "").rstrip() + "\n" + _GATED_DOC


class StackedRNNCells(Layer):
    """Cells on top of each other, to be run as one.

    >>> stack = StackedRNNCells([LSTMCell(3), LSTMCell(2)])
    >>> RNN(stack)(jnp.ones((1, 5, 4))).shape
    (1, 2)
    """

    def __init__(self, cells: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            if not hasattr(cell, "state_size"):
                raise ValueError(f"StackedRNNCells: {cell!r} has no `state_size`: it is no cell.")
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        return getattr(self.cells[-1], "output_size", self.cells[-1].state_size)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return [_initial_state(cell, batch_size) for cell in self.cells]

    def build(self, input_shape: Any) -> None:
        for cell in self.cells:
            if not cell.built:
                cell.build(input_shape)
            size = getattr(cell, "output_size", cell.state_size)
            input_shape = (*input_shape[:-1], size[0] if isinstance(size, list) else size)

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            inputs, state = cell(inputs, state, training=training)
            new.append(state)
        return inputs, new

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cells": [serialize_object(c) for c in self.cells]}


def _initial_state(cell: Any, batch_size: int) -> Any:
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    sizes = cell.state_size if isinstance(cell.state_size, (list, tuple)) else [cell.state_size]
    return [jnp.zeros((batch_size, size)) for size in sizes]


class RNN(Layer):
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
        self.go_backwards, self.stateful, self.unroll = (
            bool(go_backwards),
            bool(stateful),
            bool(unroll),
        )
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self.supports_masking = True
        self.input_spec = InputSpec(ndim=3)
        self.states: list[Variable] | None = None

    def build(self, sequences_shape: Any) -> None:
        self.input_spec = InputSpec(ndim=3, axes={2: sequences_shape[2]})
        if not self.cell.built:
            self.cell.build((sequences_shape[0], sequences_shape[2]))
            self.cell.built = True
        if self.stateful and self.states is None:
            if sequences_shape[0] is None:
                raise ValueError(
                    "a stateful layer keeps one state for each row of the batch, so the batch "
                    "size must be known: start the model with Input(batch_shape=(32, ...)) or "
                    "batch_size=..."
                )
            leaves = jax.tree.leaves(_initial_state(self.cell, sequences_shape[0]))
            self.states = [
                Variable(leaf, trainable=False, name=f"state_{i}") for i, leaf in enumerate(leaves)
            ]

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        tree = jax.tree.structure(_initial_state(self.cell, 1))
        if initial_state is not None:
            states = jax.tree.leaves(initial_state)
        elif self.stateful:
            states = [v.value for v in self.states or ()]
        else:
            states = jax.tree.leaves(_initial_state(self.cell, sequences.shape[0]))
        if len(states) != tree.num_leaves:
            raise ValueError(
                f"the cell has {tree.num_leaves} states and `initial_state` {len(states)}."
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
        step = self._cell_step(sequences, states, training)
        return recurrent.scan_cell(
            step,
            sequences,
            states,
            mask=mask,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
        )

    def _cell_step(self, sequences: Any, states: Any, training: bool) -> Any:
        """A function (inputs, states) -> (output, states); dropout masks are drawn here, once."""
        cell = self.cell
        if isinstance(cell, RecurrentCell):
            masks = cell.dropout_masks(sequences[:, 0], jax.tree.leaves(states)[0], training)
            return lambda x, s: cell.step(x, s, masks)
        return lambda x, s: cell(x, s, training=training) if _trains(cell) else cell(x, s)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        masks = jax.tree.leaves(previous_mask)
        mask = masks[0] if masks and self.return_sequences else None
        states = len(jax.tree.leaves(_initial_state(self.cell, 1))) if self.return_state else 0
        return [mask, *[None] * states] if self.return_state else mask

    def get_initial_state(self, batch_size: int) -> Any:
        return _initial_state(self.cell, batch_size)

    def reset_states(self) -> None:
        """Sets the states of a stateful layer to zeros."""
        for variable in self.states or ():
            variable.assign(jnp.zeros(variable.shape, variable.dtype))

    reset_state = reset_states

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if type(self) is RNN:
            config["cell"] = serialize_object(self.cell)
        return config

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if type(self) is not RNN and name not in vars(self) and hasattr(self.cell, name):
            if name not in ("name", "trainable", "dtype"):
                return getattr(self.cell, name)
        return super()._config_value(name, recorded, owner)


def _trains(cell: Any) -> bool:
    from carnyx.core.layer import call_parameters

    return "training" in call_parameters(type(cell).call)


def _own_arguments(options: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """The constructor's arguments that go to the cell."""
    skipped = {"self", "kwargs", "__class__", "activity_regularizer", "use_cudnn", *left_out}
    skipped |= {"return_sequences", "return_state", "go_backwards", "stateful", "unroll"}
    return {key: value for key, value in options.items() if key not in skipped}


class SimpleRNN(RNN):
    """A plain recurrent layer over time: h[t] = activation(x[t] W + h[t-1] U + b).

    sequences [B, T, D] -> [B, U], or [B, T, U] with `return_sequences`. See `SimpleRNNCell` and
    `RNN` for the arguments.

    >>> SimpleRNN(3)(jnp.ones((2, 5, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        units: int,
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
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        cell = SimpleRNNCell(
            **_own_arguments(dict(locals())), dtype=kwargs.get("dtype"), name="simple_rnn_cell"
        )
        super().__init__(
            cell,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )


class LSTM(RNN):
    """Long short-term memory over time: sequences [B, T, D] -> [B, U], or [B, T, U].

    See `LSTMCell` for the equations and the weights, `RNN` for the other arguments. With tanh and
    sigmoid and no recurrent dropout the whole sequence is one composite operation.

    >>> LSTM(3, return_sequences=True)(jnp.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    def __init__(
        self,
        units: int,
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
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
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
        cell = LSTMCell(
            **_own_arguments(dict(locals())), dtype=kwargs.get("dtype"), name="lstm_cell"
        )
        super().__init__(
            cell,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = use_cudnn

    def run(self, sequences: Any, states: Any, mask: Any, training: bool) -> tuple[Any, Any]:
        cell = self.cell
        if not _is_standard(cell) or self.unroll or (training and cell.recurrent_dropout):
            return super().run(sequences, states, mask, training)
        sequences = _dropped(cell, sequences, states, training)
        bias = _bias_of(cell, sequences.dtype)
        outputs, h, c = recurrent.lstm(
            sequences,
            *states,
            cell.kernel.value,
            cell.recurrent_kernel.value,
            bias,
            mask=mask,
            go_backwards=self.go_backwards,
        )
        return outputs, [h, c]


class GRU(RNN):
    """Gated recurrent units over time: sequences [B, T, D] -> [B, U], or [B, T, U].

    See `GRUCell` for the equations and the weights, `RNN` for the other arguments.

    >>> GRU(3)(jnp.ones((2, 5, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        units: int,
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
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
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
        cell = GRUCell(**_own_arguments(dict(locals())), dtype=kwargs.get("dtype"), name="gru_cell")
        super().__init__(
            cell,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = use_cudnn


def _is_standard(cell: Any) -> bool:
    return cell.activation is activations.tanh and cell.recurrent_activation is activations.sigmoid


def _dropped(cell: Any, sequences: Any, states: Any, training: bool) -> Any:
    mask, _ = cell.dropout_masks(sequences[:, 0], states[0], training)
    return sequences if mask is None else sequences * mask[:, None]


def _bias_of(cell: Any, dtype: Any) -> Any:
    if cell.bias is not None:
        return cell.bias.value
    return jnp.zeros(cell._bias_shape(), dtype)


MERGES = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    None: lambda a, b: [a, b],
}


class Bidirectional(Layer):
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

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"Bidirectional wraps a recurrent layer. Received: layer={layer!r}")
        if merge_mode not in MERGES:
            raise ValueError(
                f"Bidirectional: merge_mode is one of {list(MERGES)}. Received: {merge_mode!r}"
            )
        kwargs.setdefault("name", None)
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
        self._given_backward = backward_layer is not None
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful
        self.supports_masking = True
        self.input_spec = layer.input_spec
        self._initial_weights = weights

    def _owned(self, kind: Any) -> Any:
        for name, value in (("forward", self.forward_layer), ("backward", self.backward_layer)):
            if isinstance(kind, type) and isinstance(value, kind) and name:
                yield value

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

    def get_config(self) -> dict[str, Any]:
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": super().get_config()["dtype"],
            "merge_mode": self.merge_mode,
            "layer": serialize_object(self.layer),
        }
        if self._given_backward:
            config["backward_layer"] = serialize_object(self.backward_layer)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        config = dict(config)
        for key in ("layer", "backward_layer"):
            if isinstance(config.get(key), dict):
                config[key] = deserialize(config[key])
        return cls(**config)


def _twin(layer: Any, prefix: str, go_backwards: bool | None) -> Any:
    config = {**layer.get_config(), "name": f"{prefix}_{layer.name}"}
    if go_backwards is not None:
        config["go_backwards"] = go_backwards
    return type(layer).from_config(config)


__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
]
