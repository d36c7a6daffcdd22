"""Convolutions: Conv1D, Conv2D and Conv3D, one rank-generic layer.

The arithmetic is `ops/convolution.py`; transposed, depthwise and separable convolutions are in
`conv_variants.py`.
"""

from __future__ import annotations

from typing import Any

from carnyx.core.fields import declared
from carnyx.core.layer import InputSpec
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, FileOptions, KernelOptions, Padding, Whole, Window
from carnyx.layers.spatial import SpatialLayer
from carnyx.ops import convolution


class Windowed(FileOptions, SpatialLayer):
    """What layers with a window that slides share; `rank` is the number of spatial axes."""

    paddings: tuple[str, ...] = ("valid", "same")
    filters: int
    strides: Any
    padding: str
    dilation_rate: Any
    activation: Any
    use_bias: bool
    bias: Any = None

    def _set_up(self) -> None:
        super()._set_up()
        self._check_window()

    def _check_window(self) -> None:
        """What every such layer asks of the arguments that it has kept."""
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise arguments.refuse(
                self,
                "strides",
                self.strides,
                f"1 where dilation_rate is above 1 (it is {self.dilation_rate}): the two together "
                "are not defined. Set one of them to 1",
            )

    @property
    def channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def _channels(self, input_shape: Any) -> int:
        """The channels of the input, which from now on every input must have."""
        axis = self.channel_axis
        channels = arguments.known(self, input_shape, axis, "the channel axis")
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _add_bias(self, size: int) -> None:
        self.bias = arguments.add_weight(self, "bias", (size,)) if self.use_bias else None

    def _slide(self, operation: Any, inputs: Any, kernel: Any, **more: Any) -> Any:
        """An operation of `ops/convolution.py` with this window."""
        more |= {"data_format": self.data_format, "dilation_rate": self.dilation_rate}
        return operation(inputs, kernel.value, strides=self.strides, padding=self.padding, **more)

    def _biased(self, outputs: Any) -> Any:
        if self.bias is None:
            return outputs
        after = () if self.channel_axis == -1 else (1,) * self.rank
        return outputs + self.bias.value.reshape(-1, *after)

    def _finish(self, outputs: Any) -> Any:
        return self.activation(self._biased(outputs))


@declared
class Conv(KernelOptions, Windowed):
    """What Conv1D, Conv2D and Conv3D share.

    y[p, k] = activation(b[k] + sum over offsets o and channels c of
                         x[p * strides + o * dilation_rate, c] W[o, c, k])

    Weights: kernel W [*kernel_size, C / groups, filters], bias b [filters].

    Args:
        filters: the number of output channels, from 1, divisible by `groups`.
        [shared]
        padding: "valid" (none), "same" (output size = ceil(input size / stride)), and for Conv1D
            "causal" (all of it before, so that no output sees later inputs).
        groups: the channels are cut into this many groups, each with its own filters.

    Raises:
        ValueError: sizes below 1, an unknown padding, channels or filters that `groups` does not
            divide, a window larger than the input.
    """

    filters: Whole
    kernel_size: Window
    strides: Window = 1
    padding: Padding = "valid"
    data_format: DataFormat = None
    dilation_rate: Window = 1
    groups: Whole = 1
    activation: Any = None
    use_bias: bool = True

    def _set_up(self) -> None:
        super()._set_up()
        if self.filters % self.groups:
            wanted = f"divisible by groups={self.groups}"
            raise arguments.refuse(self, "filters", self.filters, wanted)

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': the input has {channels} channels "
                f"(its shape is {tuple(input_shape)}), which groups={self.groups} does not divide. "
                "Choose groups that divide both the channels and the filters."
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = arguments.add_weight(self, "kernel", shape)
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        outputs = self._slide(convolution.conv, inputs, self.kernel)
        return self._finish(outputs)


class Conv1D(Conv, rank=1):
    """Convolution over one axis: [B, T, C] -> [B, T', filters].

    >>> import numpy as np
    >>> Conv1D(8, 3, padding="causal")(np.ones((2, 10, 4))).shape
    (2, 10, 8)
    """

    paddings = ("valid", "same", "causal")


class Conv2D(Conv, rank=2):
    """Convolution over images: [B, H, W, C] -> [B, H', W', filters].

    >>> import numpy as np
    >>> Conv2D(32, (3, 3), activation="relu")(np.ones((1, 28, 28, 1))).shape
    (1, 26, 26, 32)
    """


class Conv3D(Conv, rank=3):
    """Convolution over volumes: [B, D, H, W, C] -> [B, D', H', W', filters].

    >>> import numpy as np
    >>> Conv3D(2, 3, strides=2, padding="same")(np.ones((1, 5, 6, 7, 1))).shape
    (1, 3, 3, 4, 2)
    """


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D

__all__ = """
    Conv1D Conv2D Conv3D Convolution1D Convolution2D Convolution3D
""".split()
