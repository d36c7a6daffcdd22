"""Recurrent layers over images: ConvLSTM1D, ConvLSTM2D and ConvLSTM3D, one rank-generic layer.

The gates are the LSTM's in `cells.py`, the run over time is `RNN`'s in `rnn.py`;
here convolutions stand where the LSTM has products.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from carnyx.core.fields import declared
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, Padding, Whole, Window
from carnyx.layers.cells import LongShortCell, RecurrentOptions, Seeded
from carnyx.layers.conv import Windowed
from carnyx.layers.rnn import CellLayer, RunOptions
from carnyx.layers.spatial import SpatialLayer
from carnyx.ops import convolution


class ConvLSTMCell(Windowed, LongShortCell):
    """One step of a ConvLSTM: inputs [B, *space, C], states h and c [B, *space', filters].

    The inputs' convolution has the given strides, padding and dilation; that of h has stride 1 and
    keeps its size.
    """

    def __init__(self, rank: int, dtype: Any, name: str, **options: Any) -> None:
        super().__init__(dtype=dtype, name=name)
        self.rank = rank
        arguments.keep_given(self, options, of=ConvLSTM)
        self.units = self.filters
        self._set_up()

    def build(self, input_shape: Any) -> None:
        self._channels(input_shape)
        super().build(input_shape)
        self._step_shape = tuple(input_shape[1:])

    def project(self, inputs: Any) -> Any:
        return self._biased(self._slide(convolution.conv, inputs, self.kernel))

    def recur(self, h: Any) -> Any:
        kernel = self.recurrent_kernel.value
        return convolution.conv(h, kernel, padding="same", data_format=self.data_format)

    def start(self, shape: Any) -> list[Any]:
        """Zeros for both states, for inputs of this shape [B, *space, C]."""
        z = jax.eval_shape(self.project, jax.ShapeDtypeStruct(shape, self.kernel.value.dtype))
        sizes = list(z.shape)
        sizes[self.channel_axis] = self.filters
        return [jnp.zeros(sizes, self.compute_dtype)] * 2

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return self.start((batch_size, *self._step_shape))


@declared
class ConvLSTM(RecurrentOptions, Seeded, RunOptions, CellLayer, SpatialLayer):
    """What ConvLSTM1D, ConvLSTM2D and ConvLSTM3D share.

    With * a convolution, s the recurrent activation and a the activation:

    i = s(x * Wi + h * Ui + bi), f = s(x * Wf + h * Uf + bf), g = a(x * Wg + h * Ug + bg),
    o = s(x * Wo + h * Uo + bo), c = f c + i g, h = o a(c)

    Weights: kernel W [*kernel_size, C, 4 filters], recurrent_kernel U [*kernel_size, filters,
    4 filters], bias b [4 filters], the blocks in the order i, f, g, o.

    Args:
        [shared]
        activation, recurrent_activation: functions of the candidate and of the gates.
        seed, return_sequences, return_state, go_backwards, stateful: see `RNN`.

    Call arguments:
        initial_state: h and c to start with.
        mask: bool [B, T]; steps where it is False keep state and output.

    Raises:
        ValueError: sizes below 1, an unknown padding, strides together with dilation.

    Shi et al. (2015), without the peephole weights of their equation 3.
    """

    kind = ConvLSTMCell
    filters: Whole
    kernel_size: Window
    strides: Window = 1
    padding: Padding = "valid"
    data_format: DataFormat = None
    dilation_rate: Window = 1
    activation: Any = "tanh"
    recurrent_activation: Any = "sigmoid"
    use_bias: bool = True
    unroll: ClassVar[bool]

    def _keep_fields(self, owner: type, given: dict[str, Any]) -> None:
        super()._keep_fields(owner, {**given, "rank": self.rank})
        self.data_format = self.cell.data_format

    def _start(self, sequences_shape: Any) -> Any:
        return self.cell.start((sequences_shape[0], *sequences_shape[2:]))

    def run(self, sequences: Any, states: Any, mask: Any, training: bool) -> tuple[Any, Any]:
        """As `RNN.run`; the inputs of all steps are convolved in one go, outside the loop."""
        cell, times = self.cell, sequences.shape[:2]
        keep_inputs, keep_state = cell.dropout_masks(sequences[:, 0], states[0], training)
        if keep_inputs is not None:
            sequences = sequences * keep_inputs[:, None]
        z = cell.project(sequences.reshape(times[0] * times[1], *sequences.shape[2:]))
        z, masks = z.reshape(*times, *z.shape[1:]), (None, keep_state)
        return self._scan(lambda z, s: cell.step(z, s, masks, cell.finish), z, states, mask)


class ConvLSTM1D(ConvLSTM, rank=1):
    """An LSTM over time of rows: [B, T, W, C] -> [B, W', filters], or [B, T, W', filters].

    >>> ConvLSTM1D(3, 2)(jnp.ones((1, 4, 6, 2))).shape
    (1, 5, 3)
    """


class ConvLSTM2D(ConvLSTM, rank=2):
    """An LSTM over time of images: [B, T, H, W, C] -> [B, H', W', filters], or with T.

    >>> ConvLSTM2D(3, 2, padding="same", return_sequences=True)(jnp.ones((1, 2, 4, 5, 1))).shape
    (1, 2, 4, 5, 3)
    """


class ConvLSTM3D(ConvLSTM, rank=3):
    """An LSTM over time of volumes: [B, T, D, H, W, C] -> [B, D', H', W', filters], or with T.

    >>> ConvLSTM3D(3, 2, strides=2)(jnp.ones((1, 2, 4, 4, 4, 1))).shape
    (1, 2, 2, 2, 3)
    """


__all__ = """
    ConvLSTM1D ConvLSTM2D ConvLSTM3D
""".split()
