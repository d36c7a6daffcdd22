"""Convolutions: Conv1D, Conv2D and Conv3D, one rank-generic layer.

The arithmetic is `ops/convolution.py`; transposed, depthwise and separable convolutions are in
`conv_variants.py`.
"""

from __future__ import annotations

from typing import Any

from carnyx import activations
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import FileOptions, documented
from carnyx.ops import convolution


class Windowed(FileOptions, Layer):
    """What layers with a window that slides share; `rank` is the number of spatial axes."""

    rank = 0
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    bias: Any = None

    def _start(self, options: dict[str, Any]) -> None:
        """Keeps the arguments that every such layer has, from its constructor's `locals()`."""
        for name in ("kernel_size", "strides", "dilation_rate"):
            setattr(self, name, arguments.sizes(self, name, options[name], self.rank))
        self.padding = arguments.choice(self, "padding", options["padding"], self.paddings())
        self.data_format = arguments.data_format(self, options["data_format"])
        self.activation = activations.get(options["activation"])
        self.use_bias = arguments.flag(self, "use_bias", options["use_bias"])
        arguments.keep_given(self, options)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise arguments.refuse(
                self,
                "strides",
                options["strides"],
                f"1 where dilation_rate is above 1 (it is {self.dilation_rate}): the two together "
                "are not defined. Set one of them to 1",
            )
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @classmethod
    def paddings(cls) -> tuple[str, ...]:
        return ("valid", "same")

    def _channels(self, input_shape: Any) -> int:
        """The channels of the input, which from now on every input must have."""
        axis = -1 if self.data_format == "channels_last" else 1
        channels = arguments.known(self, input_shape, axis, "the channel axis")
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _options(self) -> dict[str, Any]:
        """The window for the operations of `ops/convolution.py`."""
        return {
            "strides": self.strides,
            "padding": self.padding,
            "dilation": self.dilation_rate,
            "data_format": self.data_format,
        }

    def _finish(self, outputs: Any) -> Any:
        """Bias and activation."""
        if self.bias is not None:
            last = self.data_format == "channels_last"
            outputs = outputs + self.bias.value.reshape(-1, *(() if last else (1,) * self.rank))
        return self.activation(outputs)


class Conv(Windowed):
    """What Conv1D, Conv2D and Conv3D share."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        options = locals()
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = arguments.whole(self, "filters", filters)
        self.groups = arguments.whole(self, "groups", groups)
        self._start(options)
        if self.filters % self.groups:
            raise arguments.refuse(self, "filters", filters, f"divisible by groups={self.groups}")

    @classmethod
    def paddings(cls) -> tuple[str, ...]:
        return ("valid", "same", "causal") if cls.rank == 1 else ("valid", "same")

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
        self.bias = arguments.add_weight(self, "bias", (self.filters,)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        kernel = self.kernel.value
        return self._finish(convolution.conv(inputs, kernel, groups=self.groups, **self._options()))


_SHARED = ("kernel_size", "strides, dilation_rate", "activation", "use_bias", "weight_options")
_SHARED += ("activity_regularizer", "data_format")
_DOC = """

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


def _complete(cls: Any) -> Any:
    """Splices the shared description in after the first line of a class's docstring."""
    first, _, rest = cls.__doc__.partition("\n")
    cls.__doc__ = first + _DOC + rest
    return documented(*_SHARED)(cls)


@_complete
class Conv1D(Conv):
    """Convolution over one axis: [B, T, C] -> [B, T', filters].

    >>> import numpy as np
    >>> Conv1D(8, 3, padding="causal")(np.ones((2, 10, 4))).shape
    (2, 10, 8)
    """

    rank = 1


@_complete
class Conv2D(Conv):
    """Convolution over images: [B, H, W, C] -> [B, H', W', filters].

    >>> import numpy as np
    >>> Conv2D(32, (3, 3), activation="relu")(np.ones((1, 28, 28, 1))).shape
    (1, 26, 26, 32)
    """

    rank = 2


@_complete
class Conv3D(Conv):
    """Convolution over volumes: [B, D, H, W, C] -> [B, D', H', W', filters].

    >>> import numpy as np
    >>> Conv3D(2, 3, strides=2, padding="same")(np.ones((1, 5, 6, 7, 1))).shape
    (1, 3, 3, 4, 2)
    """

    rank = 3


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D

__all__ = """
    Conv1D Conv2D Conv3D Convolution1D Convolution2D Convolution3D
""".split()
