"""Recurrent cells: one step of time of SimpleRNN, LSTM and GRU, and cells stacked as one.

`rnn.py` runs cells over sequences. The fields of both are put together from groups, which stand
first here: a constructor has them in the order of the class's bases.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from carnyx.activations import sigmoid, tanh
from carnyx.core.fields import declared, tail
from carnyx.core.layer import Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import Declared, Fraction, Whole
from carnyx.random import SeedGenerator, dropout


@declared
class UnitOptions(Declared):
    """The first fields of all but ConvLSTM."""

    units: Whole
    activation: Any = "tanh"
    recurrent_activation: Any = "sigmoid"
    use_bias: bool = True


@tail
class RecurrentOptions:
    """What follows; a class takes away what it has not."""

    kernel_initializer: Any = "glorot_uniform"
    recurrent_initializer: Any = "orthogonal"
    bias_initializer: Any = "zeros"
    unit_forget_bias: bool = True
    kernel_regularizer: Any = None
    recurrent_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    recurrent_constraint: Any = None
    bias_constraint: Any = None
    dropout: Fraction = 0.0
    recurrent_dropout: Fraction = 0.0


@tail
class ResetAfter:
    reset_after: bool = True


@tail
class Seeded:
    seed: Any = None


class RecurrentCell(Declared, Layer):
    """What SimpleRNNCell, LSTMCell and GRUCell share: options, weights and dropout masks.

    A cell's `call(inputs [B, D], states) -> (output [B, U], new states)` is one step of time.
    """

    gates, memories = 1, 1  # blocks of a weight, and states
    kernel_size: tuple[int, ...] = ()  # a window over space, in `conv_rnn.py`
    channel_axis = -1
    units: int
    activation: Any
    recurrent_activation: Any
    use_bias: bool
    bias_initializer: Any
    dropout: float
    recurrent_dropout: float
    seed: Any
    bias: Any = None
    advance: Any  # a method, the cell's equations: (inputs, states) -> (output, new states)

    def _set_up(self) -> None:
        super()._set_up()
        self.seed_generator = SeedGenerator(self.seed)
        self.output_size = self.units
        self.state_size = self.units if self.memories == 1 else [self.units] * self.memories

    def build(self, input_shape: Any) -> None:
        width, window = self.gates * self.units, self.kernel_size
        shape = (*window, input_shape[self.channel_axis], width)
        self.kernel = arguments.add_weight(self, "kernel", shape)
        name, shape = "recurrent_kernel", (*window, self.units, width)
        self.recurrent_kernel = arguments.add_weight(self, name, shape, prefix="recurrent")
        if self.use_bias:
            start = self._bias_start()
            self.bias = arguments.add_weight(self, "bias", self._bias_shape(), initializer=start)

    def _bias_start(self) -> Any:
        return self.bias_initializer

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    @property
    def is_standard(self) -> bool:
        """Whether the gates are sigmoids and the rest is tanh."""
        return (self.activation, self.recurrent_activation) == (tanh, sigmoid)

    def bias_value(self, dtype: Any) -> Any:
        """The bias, or zeros."""
        return jnp.zeros(self._bias_shape(), dtype) if self.bias is None else self.bias.value

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros for each state."""
        return _zeros(self.state_size, batch_size, self.compute_dtype)

    def dropout_masks(self, inputs: Any, state: Any, training: bool) -> tuple[Any, Any]:
        """Masks for one step's inputs and for the state, once a sequence; None: no drop."""

        def mask(like: Any, rate: float) -> Any:
            if not training or not rate:
                return None
            return dropout(jnp.ones_like(like), rate, seed=self.seed_generator)

        return mask(inputs, self.dropout), mask(state, self.recurrent_dropout)

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        states = list(states) if isinstance(states, (list, tuple)) else [states]
        masks = self.dropout_masks(inputs, states[0], training)
        return self.step(inputs, states, masks)

    def step(self, inputs: Any, states: Any, masks: tuple[Any, Any], advance: Any = None) -> Any:
        """One step with the dropout masks given, by the cell's equations or a part of them."""
        if masks[0] is not None:
            inputs = inputs * masks[0]
        if masks[1] is not None:
            states = [states[0] * masks[1], *states[1:]]
        return (advance or self.advance)(inputs, states)


@declared
class SimpleRNNCell(UnitOptions, RecurrentOptions, Seeded, RecurrentCell):
    """One step of a plain recurrent layer: h = activation(x W + h U + b) (Elman 1990).

    Args:
        activation: a name or function of the sums.
        [shared]

    >>> cell = SimpleRNNCell(3)
    >>> output, (state,) = cell(jnp.ones((2, 4)), [jnp.zeros((2, 3))])
    >>> output.shape
    (2, 3)
    """

    recurrent_activation: ClassVar[Any]
    unit_forget_bias: ClassVar[bool]
    activity_regularizer: ClassVar[Any]

    def advance(self, inputs: Any, states: list[Any]) -> Any:
        z = inputs @ self.kernel.value + states[0] @ self.recurrent_kernel.value
        output = self.activation(z if self.bias is None else z + self.bias.value)
        return output, [output]


class LongShortCell(RecurrentCell):
    """The arithmetic of an LSTM, whatever makes its sums: products, or convolutions."""

    gates, memories = 4, 2
    unit_forget_bias: bool

    def _bias_start(self) -> Any:
        """The forget gate starts open: its bias is 1 (Jozefowicz et al. 2015)."""
        u, make = self.units, self.bias_initializer

        def forgetful(shape: Any, dtype: Any = None) -> Any:
            parts = make((u,), dtype=dtype), jnp.ones((u,), dtype), make((2 * u,), dtype=dtype)
            return jnp.concatenate(parts)

        return forgetful if self.unit_forget_bias else make

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


@declared
class LSTMCell(UnitOptions, RecurrentOptions, Seeded, LongShortCell):
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    i = s(x Wi + h Ui + bi), f = s(x Wf + h Uf + bf), g = a(x Wg + h Ug + bg),
    o = s(x Wo + h Uo + bo), c = f c + i g, h = o a(c), where s is the recurrent activation and a
    the activation. The four blocks of each weight stand in the order i, f, g, o.

    Args:
        activation, recurrent_activation: functions of the candidate and of the gates.
        [shared]

    >>> cell = LSTMCell(3)
    >>> output, (h, c) = cell(jnp.ones((2, 4)), [jnp.zeros((2, 3)), jnp.zeros((2, 3))])
    >>> c.shape
    (2, 3)
    """

    ignored = ("implementation",)
    activity_regularizer: ClassVar[Any]


@declared
class GRUCell(UnitOptions, RecurrentOptions, ResetAfter, Seeded, RecurrentCell):
    """One step of a gated recurrent unit (Cho et al. 2014).

    z = s(x Wz + h Uz + bz), r = s(x Wr + h Ur + br), and the candidate
    g = a(x Wg + r (h Ug + bg') + bg) with `reset_after`, else g = a(x Wg + (r h) Ug + bg);
    h = z h + (1 - z) g. The three blocks of each weight stand in the order z, r, g.

    Args:
        activation, recurrent_activation: functions of the candidate and of the gates.
        reset_after: whether r is applied after the product with U.
        [shared]

    >>> cell = GRUCell(3)
    >>> cell(jnp.ones((2, 4)), [jnp.zeros((2, 3))])[0].shape
    (2, 3)
    """

    gates = 3
    ignored = ("implementation",)
    unit_forget_bias: ClassVar[bool]
    activity_regularizer: ClassVar[Any]

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def advance(self, inputs: Any, states: list[Any]) -> Any:
        h, s, a, u = states[0], self.recurrent_activation, self.activation, self.units
        kernel, bias = self.recurrent_kernel.value, self.bias_value(states[0].dtype)
        outer = inputs @ self.kernel.value + (bias[0] if self.reset_after else bias)
        xz, xr, xg = jnp.split(outer, 3, axis=-1)
        if self.reset_after:
            hz, hr, hg = jnp.split(h @ kernel + bias[1], 3, axis=-1)
            z, r = s(xz + hz), s(xr + hr)
            g = a(xg + r * hg)
        else:
            hz, hr = jnp.split(h @ kernel[:, : 2 * u], 2, axis=-1)
            z, r = s(xz + hz), s(xr + hr)
            g = a(xg + (r * h) @ kernel[:, 2 * u :])
        h = z * h + (1 - z) * g
        return h, [h]


@declared
class StackedRNNCells(Layer):
    """Cells on top of each other, to be run as one.

    >>> stack = StackedRNNCells([LSTMCell(3), LSTMCell(2)])
    >>> stack.state_size
    [[3, 3], [2, 2]]
    """

    cells: Any

    def _set_up(self) -> None:
        super()._set_up()
        for cell in self.cells:
            if not hasattr(cell, "state_size"):
                raise ValueError(f"StackedRNNCells: {cell!r} has no `state_size`: it is no cell.")
        self.cells = list(self.cells)

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


def start_states(cell: Any, batch_size: int) -> Any:
    """What the cell asks for, or zeros for each state."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    return _zeros(cell.state_size, batch_size)


def _zeros(state_size: Any, batch_size: Any, dtype: Any = None) -> list[Any]:
    sizes = state_size if isinstance(state_size, (list, tuple)) else [state_size]
    return [jnp.zeros((batch_size, size), dtype) for size in sizes]


__all__ = """
    GRUCell LSTMCell SimpleRNNCell StackedRNNCells
""".split()
