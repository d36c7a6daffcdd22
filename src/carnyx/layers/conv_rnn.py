"""Recurrent layers over images: ConvLSTM1D, ConvLSTM2D and ConvLSTM3D, one rank-generic layer.

The gates are the LSTM's in `cells.py`, the run over time is `RNN`'s in `rnn.py`;
here convolutions stand where the LSTM has products.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx import activations
from carnyx.layers import arguments
from carnyx.layers.arguments import documented
from carnyx.layers.cells import LongShortCell
from carnyx.layers.rnn import RNN, own_arguments
from carnyx.ops import convolution, recurrent


class ConvLSTMCell(LongShortCell):
    """One step of a ConvLSTM: inputs [B, *space, C], states h and c [B, *space', filters].

    The inputs' convolution has the given strides, padding and dilation; that of h has stride 1 and
    keeps its size.
    """

    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]

    def __init__(self, rank: int, options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = rank
        self._setup(options)
        self.recurrent_activation = activations.get(options["recurrent_activation"])
        self.unit_forget_bias = arguments.flag(
            self, "unit_forget_bias", options["unit_forget_bias"]
        )

    def _size(self, options: dict[str, Any]) -> None:
        self.filters = self.units = arguments.whole(self, "filters", options["filters"])
        for name in ("kernel_size", "strides", "dilation_rate"):
            setattr(self, name, arguments.sizes(self, name, options[name], self.rank))
        self.padding = arguments.choice(self, "padding", options["padding"], ("valid", "same"))
        self.data_format = arguments.data_format(self, options["data_format"])
        self.channel_axis = 1 if self.data_format == "channels_first" else -1
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise arguments.refuse(
                self, "strides", self.strides, f"1 with dilation_rate={self.dilation_rate}"
            )
        self.state_size, self.output_size = [self.units, self.units], self.units

    def build(self, input_shape: Any) -> None:
        arguments.known(self, input_shape, self.channel_axis, "the channel axis")
        super().build(input_shape)
        self._step_shape = tuple(input_shape[1:])

    def project(self, inputs: Any) -> Any:
        z = convolution.conv(
            inputs,
            self.kernel.value,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.bias is None:
            return z
        return z + self.bias.value.reshape(-1, *(1,) * (self.rank if self.channel_axis == 1 else 0))

    def recur(self, h: Any) -> Any:
        kernel = self.recurrent_kernel.value
        return convolution.conv(h, kernel, padding="same", data_format=self.data_format)

    def start(self, shape: Any) -> list[Any]:
        """Zeros for both states, for inputs of this shape [B, *space, C]."""
        z = jax.eval_shape(self.project, jax.ShapeDtypeStruct(shape, self.compute_dtype))
        sizes = list(z.shape)
        sizes[self.channel_axis] = self.filters
        return [jnp.zeros(sizes, self.compute_dtype)] * 2

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return self.start((batch_size, *self._step_shape))


class ConvLSTM(RNN):
    """What ConvLSTM1D, ConvLSTM2D and ConvLSTM3D share."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        **kwargs: Any,
    ) -> None:
        options = own_arguments(dict(locals()))
        cell = ConvLSTMCell(self.rank, options, dtype=kwargs.get("dtype"), name="conv_lstm_cell")
        super().__init__(
            cell,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )

    def _start(self, sequences_shape: Any) -> Any:
        return self.cell.start((sequences_shape[0], *sequences_shape[2:]))

    def run(self, sequences: Any, states: Any, mask: Any, training: bool) -> tuple[Any, Any]:
        """As `RNN.run`; the inputs of all steps are convolved in one go, outside the loop."""
        cell, times = self.cell, sequences.shape[:2]
        keep_inputs, keep_state = cell.dropout_masks(sequences[:, 0], states[0], training)
        if keep_inputs is not None:
            sequences = sequences * keep_inputs[:, None]
        z = cell.project(sequences.reshape(times[0] * times[1], *sequences.shape[2:]))

        def step(z: Any, states: Any) -> Any:
            h, c = states
            return cell.finish(z, [h if keep_state is None else h * keep_state, c])

        return recurrent.scan_cell(
            step,
            z.reshape(*times, *z.shape[1:]),
            states,
            mask=mask,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
        )


_SHARED = ("kernel_size", "strides, dilation_rate", "padding", "data_format", "use_bias")
_SHARED += ("weight_options", "activity_regularizer")
_DOC = """

    With * a convolution, s the recurrent activation and a the activation:

    i = s(x * Wi + h * Ui + bi), f = s(x * Wf + h * Uf + bf), g = a(x * Wg + h * Ug + bg),
    o = s(x * Wo + h * Uo + bo), c = f c + i g, h = o a(c)

    Weights: kernel W [*kernel_size, C, 4 filters], recurrent_kernel U [*kernel_size, filters,
    4 filters], bias b [4 filters], the blocks in the order i, f, g, o.

    Args:
        filters: the number of output channels, from 1.
        [shared]
        activation, recurrent_activation: functions of the candidate and of the gates.
        unit_forget_bias: whether the forget gate's bias starts at 1.
        dropout, recurrent_dropout: fraction in [0, 1] of the inputs, or of the state, that a
            training call drops, with one mask for all steps.
        seed, return_sequences, return_state, go_backwards, stateful: see `RNN`.

    Call arguments:
        initial_state: h and c to start with.
        mask: bool [B, T]; steps where it is False keep state and output.

    Raises:
        ValueError: sizes below 1, an unknown padding, strides together with dilation.

    Shi et al. (2015), without the peephole weights of their equation 3.
"""


def _complete(cls: Any) -> Any:
    """Splices the shared description in after the first line of a class's docstring."""
    first, _, rest = cls.__doc__.partition("\n")
    cls.__doc__ = first + _DOC + rest
    return documented(*_SHARED)(cls)


@_complete
class ConvLSTM1D(ConvLSTM):
    """An LSTM over time of rows: [B, T, W, C] -> [B, W', filters], or [B, T, W', filters].

    >>> ConvLSTM1D(3, 2)(jnp.ones((1, 4, 6, 2))).shape
    (1, 5, 3)
    """

    rank = 1


@_complete
class ConvLSTM2D(ConvLSTM):
    """An LSTM over time of images: [B, T, H, W, C] -> [B, H', W', filters], or with T.

    >>> ConvLSTM2D(3, 2, padding="same", return_sequences=True)(jnp.ones((1, 2, 4, 5, 1))).shape
    (1, 2, 4, 5, 3)
    """

    rank = 2


@_complete
class ConvLSTM3D(ConvLSTM):
    """An LSTM over time of volumes: [B, T, D, H, W, C] -> [B, D', H', W', filters], or with T.

    >>> ConvLSTM3D(3, 2, strides=2)(jnp.ones((1, 2, 4, 4, 4, 1))).shape
    (1, 2, 2, 2, 3)
    """

    rank = 3


__all__ = """
    ConvLSTM1D ConvLSTM2D ConvLSTM3D
""".split()
