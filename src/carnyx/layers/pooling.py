"""Pooling: max and average over windows, over cells, and over all places.

The arithmetic of windows and cells is `ops/pooling.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from carnyx import ops
from carnyx.core.fields import declared, tail
from carnyx.layers.arguments import DataFormat, Padding, Window
from carnyx.layers.spatial import SpatialLayer


@tail
class Named:
    """For signatures that have the name."""

    name: str | None = None


@declared
class Pooling(Named, SpatialLayer):
    """What the windowed pooling layers share.

    y[p, c] is the maximum, or the mean, of x[p * strides + o, c] over the offsets o of a window;
    places that padding adds do not count.

    Args:
        pool_size: size of the window, a number or one for each spatial axis.
        strides: steps between windows; None for `pool_size`.
        [shared]

    Raises:
        ValueError: sizes below 1, an unknown padding, a window larger than the input.
    """

    paddings = ("valid", "same")
    pool: ClassVar[Any] = None  # an operation
    pool_size: Window
    strides: Window | None = None
    padding: Padding = "valid"
    data_format: DataFormat = None

    def _set_up(self) -> None:
        self.strides = self.strides or self.pool_size

    def call(self, inputs: Any) -> Any:
        return self.pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


@declared
class MaxPooling(Pooling):
    """Windows of two by default."""

    pool = staticmethod(ops.max_pool)
    pool_size: Window = 2


class AveragePooling(Pooling):
    """Windows that are always given."""

    pool = staticmethod(ops.average_pool)


class MaxPooling1D(MaxPooling, rank=1):
    """Maxima over windows of a sequence: [B, T, C] -> [B, T', C].

    >>> MaxPooling1D()(jnp.arange(6.0).reshape(1, 6, 1))[0, :, 0].tolist()
    [1.0, 3.0, 5.0]
    """


class MaxPooling2D(MaxPooling, rank=2):
    """Maxima over windows of images: [B, H, W, C] -> [B, H', W', C].

    >>> MaxPooling2D((2, 2))(jnp.ones((1, 26, 26, 32))).shape
    (1, 13, 13, 32)
    """


class MaxPooling3D(MaxPooling, rank=3):
    """Maxima over windows of volumes: [B, D, H, W, C] -> [B, D', H', W', C].

    >>> MaxPooling3D()(jnp.ones((1, 4, 6, 8, 2))).shape
    (1, 2, 3, 4, 2)
    """


class AveragePooling1D(AveragePooling, rank=1):
    """Means over windows of a sequence: [B, T, C] -> [B, T', C].

    >>> AveragePooling1D(3)(jnp.arange(6.0).reshape(1, 6, 1))[0, :, 0].tolist()
    [1.0, 4.0]
    """


class AveragePooling2D(AveragePooling, rank=2):
    """Means over windows of images: [B, H, W, C] -> [B, H', W', C].

    >>> AveragePooling2D(2, padding="same")(jnp.ones((1, 5, 5, 1))).shape
    (1, 3, 3, 1)
    """


class AveragePooling3D(AveragePooling, rank=3):
    """Means over windows of volumes: [B, D, H, W, C] -> [B, D', H', W', C].

    >>> AveragePooling3D(2)(jnp.ones((1, 4, 6, 8, 2))).shape
    (1, 2, 3, 4, 2)
    """


@declared
class GlobalPooling(SpatialLayer):
    """What pooling over all places shares: [B, *space, C] -> [B, C].

    Args:
        [shared]
        keepdims: whether the spatial axes stay, with size 1.
    """

    reduce: ClassVar[Any] = None  # an operation
    data_format: DataFormat = None
    keepdims: bool = False

    def _set_up(self) -> None:
        first = 1 if self.data_format == "channels_last" else 2
        self._places = tuple(range(first, first + self.rank))

    def call(self, inputs: Any) -> Any:
        return self.reduce(inputs, self._places, keepdims=self.keepdims)


class GlobalMaxPooling(GlobalPooling):
    """The maximum over all places."""

    reduce = staticmethod(jnp.max)


class GlobalAveragePooling(GlobalPooling):
    """The mean over all places."""

    reduce = staticmethod(jnp.mean)


class GlobalMaxPooling1D(GlobalMaxPooling, rank=1):
    """Maxima over a sequence: [B, T, C] -> [B, C].

    >>> GlobalMaxPooling1D()(jnp.arange(6.0).reshape(1, 3, 2)).tolist()
    [[4.0, 5.0]]
    """


class GlobalMaxPooling2D(GlobalMaxPooling, rank=2):
    """Maxima over images: [B, H, W, C] -> [B, C].

    >>> GlobalMaxPooling2D()(jnp.ones((2, 4, 4, 3))).shape
    (2, 3)
    """


class GlobalMaxPooling3D(GlobalMaxPooling, rank=3):
    """Maxima over volumes: [B, D, H, W, C] -> [B, C].

    >>> GlobalMaxPooling3D(keepdims=True)(jnp.ones((2, 4, 4, 4, 3))).shape
    (2, 1, 1, 1, 3)
    """


class GlobalAveragePooling1D(GlobalAveragePooling, rank=1):
    """Means over a sequence: [B, T, C] -> [B, C]; masked steps (mask [B, T]) do not count.

    A sample without any step that counts gives 0.

    >>> x = jnp.array([[[2.0], [4.0], [9.0]]])
    >>> GlobalAveragePooling1D()(x, mask=jnp.array([[True, True, False]])).tolist()
    [[3.0]]
    """

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(inputs)
        channel = 2 if self.data_format == "channels_last" else 1
        kept = jnp.expand_dims(jnp.asarray(mask, inputs.dtype), channel)
        total = jnp.sum(inputs * kept, self._places, keepdims=self.keepdims)
        count = jnp.sum(kept, self._places, keepdims=self.keepdims)
        return total / jnp.maximum(count, 1)  # a wholly masked sample gives 0, not NaN

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None  # the axis that the mask was about is gone


class GlobalAveragePooling2D(GlobalAveragePooling, rank=2):
    """Means over images: [B, H, W, C] -> [B, C].

    >>> GlobalAveragePooling2D()(jnp.ones((2, 4, 4, 3))).shape
    (2, 3)
    """


class GlobalAveragePooling3D(GlobalAveragePooling, rank=3):
    """Means over volumes: [B, D, H, W, C] -> [B, C].

    >>> GlobalAveragePooling3D()(jnp.ones((2, 4, 4, 4, 3))).shape
    (2, 3)
    """


@declared
class AdaptivePooling(SpatialLayer):
    """What the adaptive layers share: cells of nearly equal size, `output_size` of them an axis.

    Cell i of o over n places is from floor(i n / o) up to ceil((i + 1) n / o).

    Args:
        output_size: cells on each spatial axis, a number or one for each, from 1.
        [shared]
    """

    pool: ClassVar[Any] = None  # an operation
    output_size: Window
    data_format: DataFormat = None

    def call(self, inputs: Any) -> Any:
        return self.pool(inputs, self.output_size, self.data_format)


class AdaptiveAveragePooling(AdaptivePooling):
    """The mean of each cell."""

    pool = staticmethod(ops.adaptive_average_pool)


class AdaptiveMaxPooling(AdaptivePooling):
    """The maximum of each cell."""

    pool = staticmethod(ops.adaptive_max_pool)


class AdaptiveAveragePooling1D(AdaptiveAveragePooling, rank=1):
    """Means of `output_size` cells: [B, T, C] -> [B, output_size, C].

    >>> AdaptiveAveragePooling1D(2)(jnp.ones((1, 5, 3))).shape
    (1, 2, 3)
    """


class AdaptiveAveragePooling2D(AdaptiveAveragePooling, rank=2):
    """Means of `output_size` cells an axis: [B, H, W, C] -> [B, *output_size, C].

    >>> AdaptiveAveragePooling2D(2)(jnp.ones((1, 5, 5, 3))).shape
    (1, 2, 2, 3)
    """


class AdaptiveAveragePooling3D(AdaptiveAveragePooling, rank=3):
    """Means of `output_size` cells an axis: [B, D, H, W, C] -> [B, *output_size, C].

    >>> AdaptiveAveragePooling3D(2)(jnp.ones((1, 5, 5, 5, 3))).shape
    (1, 2, 2, 2, 3)
    """


class AdaptiveMaxPooling1D(AdaptiveMaxPooling, rank=1):
    """Maxima of `output_size` cells: [B, T, C] -> [B, output_size, C].

    >>> AdaptiveMaxPooling1D(2)(jnp.ones((1, 5, 3))).shape
    (1, 2, 3)
    """


class AdaptiveMaxPooling2D(AdaptiveMaxPooling, rank=2):
    """Maxima of `output_size` cells an axis: [B, H, W, C] -> [B, *output_size, C].

    >>> AdaptiveMaxPooling2D(2)(jnp.ones((1, 5, 5, 3))).shape
    (1, 2, 2, 3)
    """


class AdaptiveMaxPooling3D(AdaptiveMaxPooling, rank=3):
    """Maxima of `output_size` cells an axis: [B, D, H, W, C] -> [B, *output_size, C].

    >>> AdaptiveMaxPooling3D(2)(jnp.ones((1, 5, 5, 5, 3))).shape
    (1, 2, 2, 2, 3)
    """


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D

__all__ = [name for name in dir() if name.endswith(("1D", "2D", "3D"))]
