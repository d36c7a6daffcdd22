"""Transposed, depthwise and separable convolutions. Plain ones are in `conv.py`.

The arithmetic is `ops/convolution.py`.
"""

from __future__ import annotations

from typing import Any

from carnyx.core.fields import declared
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, KernelOptions, Padding, Whole, Window
from carnyx.layers.conv import Windowed
from carnyx.ops import convolution


@declared
class ConvTranspose(KernelOptions, Windowed):
    """What Conv1DTranspose, Conv2DTranspose and Conv3DTranspose share.

    y[p * strides + o * dilation_rate, k] = activation(b[k] + sum of x[p, c] W[o, k, c]);
    an axis of T' = T strides for "same", and at least that for "valid". Weights: kernel W
    [*kernel_size, filters, C], bias b [filters].

    Args:
        [shared]
        output_padding: elements more at the end, from 0, below strides; None: as said above.

    Raises:
        ValueError: sizes below 1, an output_padding that is not below strides.

    Dumoulin & Visin (2016).
    """

    filters: Whole
    kernel_size: Window
    strides: Window = 1
    padding: Padding = "valid"
    output_padding: Any = None
    data_format: DataFormat = None
    dilation_rate: Window = 1
    activation: Any = None
    use_bias: bool = True

    def _set_up(self) -> None:
        super()._set_up()
        given = self.output_padding
        if given is not None:
            more = arguments.sizes(self, "output_padding", given, self.rank, least=0)
            if any(m >= s for m, s in zip(more, self.strides, strict=True)):
                wanted = f"below strides={self.strides}"
                raise arguments.refuse(self, "output_padding", given, wanted)
            self.output_padding = more

    def build(self, input_shape: Any) -> None:
        shape = (*self.kernel_size, self.filters, self._channels(input_shape))
        self.kernel = arguments.add_weight(self, "kernel", shape)
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        more = {"output_padding": self.output_padding}
        return self._finish(self._slide(convolution.conv_transpose, inputs, self.kernel, **more))


@declared
class DepthwiseConv(Windowed):
    """What DepthwiseConv1D and DepthwiseConv2D share.

    y[p, c M + m] = activation(b + sum over o of x[p * strides + o * dilation_rate, c] W[o, c, m]).
    Weights: kernel W [*kernel_size, C, M], bias b [C M].

    Args:
        [shared]
    """

    kernel_size: Window
    strides: Window = 1
    padding: Padding = "valid"
    depth_multiplier: Whole = 1
    data_format: DataFormat = None
    dilation_rate: Window = 1
    activation: Any = None
    use_bias: bool = True
    depthwise_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    depthwise_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    depthwise_constraint: Any = None
    bias_constraint: Any = None

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = arguments.add_weight(self, "kernel", shape, prefix="depthwise")
        self._add_bias(channels * self.depth_multiplier)

    def call(self, inputs: Any) -> Any:
        return self._finish(self._slide(convolution.depthwise_conv, inputs, self.kernel))


@declared
class SeparableConv(Windowed):
    """What SeparableConv1D and SeparableConv2D share.

    A weighted sum over the C M channels that a depthwise convolution makes. Weights:
    depthwise_kernel [*kernel_size, C, M], pointwise_kernel [1..., C M, filters], bias [filters].

    Args:
        [shared]

    Chollet (2017), "Xception".
    """

    filters: Whole
    kernel_size: Window
    strides: Window = 1
    padding: Padding = "valid"
    data_format: DataFormat = None
    dilation_rate: Window = 1
    depth_multiplier: Whole = 1
    activation: Any = None
    use_bias: bool = True
    depthwise_initializer: Any = "glorot_uniform"
    pointwise_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    depthwise_regularizer: Any = None
    pointwise_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    depthwise_constraint: Any = None
    pointwise_constraint: Any = None
    bias_constraint: Any = None

    def build(self, input_shape: Any) -> None:
        channels, multiplier = self._channels(input_shape), self.depth_multiplier
        self.depthwise_kernel = arguments.add_weight(
            self, "depthwise_kernel", (*self.kernel_size, channels, multiplier), "depthwise"
        )
        shape = (*(1,) * self.rank, channels * multiplier, self.filters)
        self.pointwise_kernel = arguments.add_weight(self, "pointwise_kernel", shape, "pointwise")
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        x = self._slide(convolution.depthwise_conv, inputs, self.depthwise_kernel)
        x = convolution.conv(x, self.pointwise_kernel.value, data_format=self.data_format)
        return self._finish(x)


class Conv1DTranspose(ConvTranspose, rank=1):
    """The transpose of Conv1D, which makes sequences longer: [B, T, C] -> [B, T', filters].

    >>> import numpy as np
    >>> Conv1DTranspose(4, 3, strides=2, padding="same")(np.ones((1, 5, 2))).shape
    (1, 10, 4)
    """


class Conv2DTranspose(ConvTranspose, rank=2):
    """The transpose of Conv2D, which makes images larger: [B, H, W, C] -> [B, H', W', filters].

    >>> import numpy as np
    >>> Conv2DTranspose(4, 3, strides=2, padding="same")(np.ones((1, 5, 6, 2))).shape
    (1, 10, 12, 4)
    """


class Conv3DTranspose(ConvTranspose, rank=3):
    """The transpose of Conv3D: [B, D, H, W, C] -> [B, D', H', W', filters].

    >>> import numpy as np
    >>> Conv3DTranspose(4, 2, strides=2)(np.ones((1, 2, 3, 4, 2))).shape
    (1, 4, 6, 8, 4)
    """


class DepthwiseConv1D(DepthwiseConv, rank=1):
    """Each channel of a sequence with filters of its own: [B, T, C] -> [B, T', C M].

    >>> import numpy as np
    >>> DepthwiseConv1D(3, depth_multiplier=2)(np.ones((1, 5, 4))).shape
    (1, 3, 8)
    """


class DepthwiseConv2D(DepthwiseConv, rank=2):
    """Each channel of an image with filters of its own: [B, H, W, C] -> [B, H', W', C M].

    >>> import numpy as np
    >>> DepthwiseConv2D(3, padding="same")(np.ones((1, 5, 6, 4))).shape
    (1, 5, 6, 4)
    """


class SeparableConv1D(SeparableConv, rank=1):
    """A depthwise convolution, then one over channels alone: [B, T, C] -> [B, T', filters].

    >>> import numpy as np
    >>> SeparableConv1D(3, 2, padding="same")(np.ones((1, 5, 4))).shape
    (1, 5, 3)
    """


class SeparableConv2D(SeparableConv, rank=2):
    """A depthwise convolution, then one over channels alone: [B, H, W, C] -> [B, H', W', filters].

    >>> import numpy as np
    >>> SeparableConv2D(3, 2)(np.ones((1, 5, 6, 4))).shape
    (1, 4, 5, 3)
    """


Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D

__all__ = """
    Conv1DTranspose Conv2DTranspose Conv3DTranspose Convolution1DTranspose Convolution2DTranspose
    Convolution3DTranspose DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D
    SeparableConvolution1D SeparableConvolution2D
""".split()
