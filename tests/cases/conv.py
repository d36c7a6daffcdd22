"""Rows of transposed, depthwise and separable convolutions."""

from tests.cases.case import IMAGE, VOLUME, Case, X

UP = {"filters": 3, "kernel_size": 3}

ROWS = [
    Case("Conv1DTranspose", UP, X),
    Case("Conv1DTranspose", {**UP, "strides": 2, "padding": "same", "activation": "tanh"}, X),
    Case("Conv1DTranspose", {"filters": 3, "kernel_size": 2, "strides": 3}, X),
    Case("Conv1DTranspose", {**UP, "strides": 3, "output_padding": 1}, X),
    Case("Conv2DTranspose", {**UP, "strides": 2, "padding": "same", "output_padding": 1}, IMAGE),
    Case("Conv2DTranspose", {**UP, "kernel_size": (2, 4), "padding": "same", "strides": 2}, IMAGE),
    Case("Conv2DTranspose", {**UP, "dilation_rate": 2, "data_format": "channels_first"}, IMAGE),
    Case("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "strides": 2}, VOLUME),
    Case("DepthwiseConv1D", {"kernel_size": 3, "strides": 2, "padding": "same"}, X),
    Case("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"}, IMAGE),
    Case(
        "DepthwiseConv2D",
        {"kernel_size": (2, 1), "dilation_rate": 2, "data_format": "channels_first"},
        (2, 3, 5, 6),
    ),
    Case("SeparableConv1D", {**UP, "padding": "same", "depth_multiplier": 2}, X),
    Case("SeparableConv2D", {**UP, "strides": 2, "activation": "relu"}, IMAGE),
]
