"""Recurrent cells: one step of time of SimpleRNN, LSTM and GRU, and cells stacked as one.

`rnn.py` runs cells over sequences.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx import activations, constraints, initializers, regularizers
from carnyx.core.config import serialize_object
from carnyx.core.layer import Layer
from carnyx.core.variable import Variable
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
    kernel_size: tuple[int, ...] = ()  # a window over space, in `conv_rnn.py`
    channel_axis = -1
    dropout: float
    recurrent_dropout: float
    bias_initializer: Any

    def _setup(self, options: dict[str, Any]) -> None:
        """Keeps the options that the cells share, as objects and checked."""
        self._size(options)
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

    def _size(self, options: dict[str, Any]) -> None:
        """How wide the cell is."""
        self.units = options["units"]
        if isinstance(self.units, bool) or not isinstance(self.units, int) or self.units <= 0:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': units must be a whole number from 1. "
                f"Received: units={self.units!r}"
            )
        self.state_size: Any = self.units
        self.output_size = self.units

    def build(self, input_shape: Any) -> None:
        width, window, channels = self.gates * self.units, self.kernel_size, self.channel_axis
        self.kernel = self._matrix((*window, input_shape[channels], width), "kernel", "kernel")
        recurrent = (*window, self.units, width)
        self.recurrent_kernel = self._matrix(recurrent, "recurrent", "recurrent_kernel")
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
        """Masks for one step's inputs and for the state, once a sequence; None: no drop."""
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


class LongShortCell(RecurrentCell):
    """The arithmetic of an LSTM, whatever makes its sums: products, or convolutions."""

    gates = 4
    recurrent_activation: Any
    unit_forget_bias: bool

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

    def project(self, inputs: Any) -> Any:
        """What the inputs add to the sums of the four gates."""
        z = inputs @ self.kernel.value
        return z if self.bias is None else z + self.bias.value

    def recur(self, h: Any) -> Any:
        """What the state adds."""
        return h @ self.recurrent_kernel.value

    def advance(self, inputs: Any, states: list[Any]) -> Any:
        return self.finish(self.project(inputs), states)

    def finish(self, z: Any, states: list[Any]) -> Any:
        """`advance`, from what `project` made of the inputs."""
        h, c = states
        i, f, g, o = jnp.split(z + self.recur(h), 4, axis=self.channel_axis)
        s, a = self.recurrent_activation, self.activation
        c = s(f) * c + s(i) * a(g)
        h = s(o) * a(c)
        return h, [h, c]


class LSTMCell(LongShortCell):
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    i = s(x Wi + h Ui + bi), f = s(x Wf + h Uf + bf), g = a(x Wg + h Ug + bg),
    o = s(x Wo + h Uo + bo), c = f c + i g, h = o a(c), where s is the recurrent activation and a
    the activation. The four blocks of each weight stand in the order i, f, g, o.

    >>> cell = LSTMCell(3)
    >>> output, (h, c) = cell(jnp.ones((2, 4)), [jnp.zeros((2, 3)), jnp.zeros((2, 3))])
    >>> c.shape
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
        bias: Any = jnp.zeros(self._bias_shape(), h.dtype) if self.bias is None else self.bias.value
        input_bias = bias[0] if self.reset_after else bias
        x = inputs @ self.kernel.value + input_bias
        if self.reset_after:
            inner = h @ recurrent_kernel + bias[1]
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
    >>> stack.state_size
    [[3, 3], [2, 2]]
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
        return [start_states(cell, batch_size) for cell in self.cells]

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


def start_states(cell: Any, batch_size: int) -> Any:
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    sizes = cell.state_size if isinstance(cell.state_size, (list, tuple)) else [cell.state_size]
    return [jnp.zeros((batch_size, size)) for size in sizes]


__all__ = """
    GRUCell LSTMCell SimpleRNNCell StackedRNNCells
""".split()
