"""Pooling: max and average over windows, and over all places.

The arithmetic of windows is `ops/pooling.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import documented
from carnyx.ops import pooling


class Pooling(Layer):
    """What the windowed pooling layers share; `rank` is the number of spatial axes."""

    rank = 0
    pool: Any = None

    def _setup(self, pool_size: Any, strides: Any, padding: str, data_format: str | None) -> None:
        self.pool_size = arguments.sizes(self, "pool_size", pool_size, self.rank)
        strides = self.pool_size if strides is None else strides
        self.strides = arguments.sizes(self, "strides", strides, self.rank)
        self.padding = arguments.choice(self, "padding", padding, ("valid", "same"))
        self.data_format = arguments.data_format(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        return type(self).pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


class MaxPooling(Pooling):
    """Windows of two by default."""

    pool = staticmethod(pooling.max_pool)

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self._setup(pool_size, strides, padding, data_format)


class AveragePooling(Pooling):
    """Windows that are always given."""

    pool = staticmethod(pooling.average_pool)

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self._setup(pool_size, strides, padding, data_format)


_DOC = """

    y[p, c] = {what} of x[p * strides + o, c] over the offsets o of a window; places that padding
    adds do not count.

    Args:
        pool_size: size of the window, a number or one for each spatial axis.
        strides: steps between windows; None for `pool_size`.
        [shared]

    Raises:
        ValueError: sizes below 1, an unknown padding, a window larger than the input.
"""


def _complete(what: str) -> Any:
    """Splices the shared description in after the first line of a class's docstring."""

    def decorate(cls: Any) -> Any:
        first, _, rest = cls.__doc__.partition("\n")
        cls.__doc__ = first + _DOC.format(what=what) + rest
        return documented("padding", "data_format")(cls)

    return decorate


@_complete("maximum")
class MaxPooling1D(MaxPooling):
    """Maxima over windows of a sequence: [B, T, C] -> [B, T', C].

    >>> import numpy as np
    >>> MaxPooling1D()(np.arange(6.0).reshape(1, 6, 1))[0, :, 0].tolist()
    [1.0, 3.0, 5.0]
    """

    rank = 1


@_complete("maximum")
class MaxPooling2D(MaxPooling):
    """Maxima over windows of images: [B, H, W, C] -> [B, H', W', C].

    >>> import numpy as np
    >>> MaxPooling2D((2, 2))(np.ones((1, 26, 26, 32))).shape
    (1, 13, 13, 32)
    """

    rank = 2


@_complete("maximum")
class MaxPooling3D(MaxPooling):
    """Maxima over windows of volumes: [B, D, H, W, C] -> [B, D', H', W', C].

    >>> import numpy as np
    >>> MaxPooling3D()(np.ones((1, 4, 6, 8, 2))).shape
    (1, 2, 3, 4, 2)
    """

    rank = 3


@_complete("mean")
class AveragePooling1D(AveragePooling):
    """Means over windows of a sequence: [B, T, C] -> [B, T', C].

    >>> import numpy as np
    >>> AveragePooling1D(3)(np.arange(6.0).reshape(1, 6, 1))[0, :, 0].tolist()
    [1.0, 4.0]
    """

    rank = 1


@_complete("mean")
class AveragePooling2D(AveragePooling):
    """Means over windows of images: [B, H, W, C] -> [B, H', W', C].

    >>> import numpy as np
    >>> AveragePooling2D(2, padding="same")(np.ones((1, 5, 5, 1))).shape
    (1, 3, 3, 1)
    """

    rank = 2


@_complete("mean")
class AveragePooling3D(AveragePooling):
    """Means over windows of volumes: [B, D, H, W, C] -> [B, D', H', W', C].

    >>> import numpy as np
    >>> AveragePooling3D(2)(np.ones((1, 4, 6, 8, 2))).shape
    (1, 2, 3, 4, 2)
    """

    rank = 3


@documented("data_format")
class GlobalPooling(Layer):
    """What pooling over all places shares: [B, *space, C] -> [B, C].

    Args:
        [shared]
        keepdims: whether the spatial axes stay, with size 1.
    """

    rank = 0

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = arguments.data_format(self, data_format)
        self.keepdims = arguments.flag(self, "keepdims", keepdims)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def places(self) -> tuple[int, ...]:
        """The spatial axes."""
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank))


class GlobalMaxPooling(GlobalPooling):
    """The maximum over all places."""

    def call(self, inputs: Any) -> Any:
        return jnp.max(inputs, self.places(), keepdims=self.keepdims)


class GlobalAveragePooling(GlobalPooling):
    """The mean over all places."""

    def call(self, inputs: Any) -> Any:
        return jnp.mean(inputs, self.places(), keepdims=self.keepdims)


class GlobalMaxPooling1D(GlobalMaxPooling):
    """Maxima over a sequence: [B, T, C] -> [B, C]; `keepdims` leaves [B, 1, C].

    >>> import numpy as np
    >>> GlobalMaxPooling1D()(np.arange(6.0).reshape(1, 3, 2)).tolist()
    [[4.0, 5.0]]
    """

    rank = 1


class GlobalMaxPooling2D(GlobalMaxPooling):
    """Maxima over images: [B, H, W, C] -> [B, C]; `keepdims` leaves [B, 1, 1, C].

    >>> import numpy as np
    >>> GlobalMaxPooling2D()(np.ones((2, 4, 4, 3))).shape
    (2, 3)
    """

    rank = 2


class GlobalMaxPooling3D(GlobalMaxPooling):
    """Maxima over volumes: [B, D, H, W, C] -> [B, C]; `keepdims` leaves [B, 1, 1, 1, C].

    >>> import numpy as np
    >>> GlobalMaxPooling3D(keepdims=True)(np.ones((2, 4, 4, 4, 3))).shape
    (2, 1, 1, 1, 3)
    """

    rank = 3


class GlobalAveragePooling1D(GlobalAveragePooling):
    """Means over a sequence: [B, T, C] -> [B, C]; masked steps (mask [B, T]) do not count.

    A sample without any step that counts gives 0.

    >>> import numpy as np
    >>> x = np.array([[[2.0], [4.0], [9.0]]])
    >>> GlobalAveragePooling1D()(x, mask=np.array([[True, True, False]])).tolist()
    [[3.0]]
    """

    rank = 1

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(inputs)
        channel = 2 if self.data_format == "channels_last" else 1
        kept = jnp.expand_dims(jnp.asarray(mask, inputs.dtype), channel)
        total = jnp.sum(inputs * kept, self.places(), keepdims=self.keepdims)
        count = jnp.sum(kept, self.places(), keepdims=self.keepdims)
        return total / jnp.maximum(count, 1)  # a wholly masked sample gives 0, not NaN

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None  # the axis that the mask was about is gone


class GlobalAveragePooling2D(GlobalAveragePooling):
    """Means over images: [B, H, W, C] -> [B, C]; `keepdims` leaves [B, 1, 1, C].

    >>> import numpy as np
    >>> GlobalAveragePooling2D()(np.ones((2, 4, 4, 3))).shape
    (2, 3)
    """

    rank = 2


class GlobalAveragePooling3D(GlobalAveragePooling):
    """Means over volumes: [B, D, H, W, C] -> [B, C]; `keepdims` leaves [B, 1, 1, 1, C].

    >>> import numpy as np
    >>> GlobalAveragePooling3D()(np.ones((2, 4, 4, 4, 3))).shape
    (2, 3)
    """

    rank = 3


class AdaptivePooling(Layer):
    """What the adaptive layers share: cells of nearly equal size, `output_size` of them an axis.

    Cell i of o over n places is from floor(i n / o) up to ceil((i + 1) n / o).
    """

    rank = 0
    pool: Any = None  # of `ops.pooling`

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = arguments.sizes(self, "output_size", output_size, self.rank)
        self.data_format = arguments.data_format(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        return self.pool(inputs, self.output_size, self.data_format)


class AdaptiveAveragePooling(AdaptivePooling):
    """The mean of each cell."""

    pool = staticmethod(pooling.adaptive_average_pool)


class AdaptiveMaxPooling(AdaptivePooling):
    """The maximum of each cell."""

    pool = staticmethod(pooling.adaptive_max_pool)


class AdaptiveAveragePooling1D(AdaptiveAveragePooling):
    """Means of `output_size` cells: [B, T, C] -> [B, output_size, C].

    >>> import numpy as np
    >>> AdaptiveAveragePooling1D(2)(np.ones((1, 5, 3))).shape
    (1, 2, 3)
    """

    rank = 1


class AdaptiveAveragePooling2D(AdaptiveAveragePooling):
    """Means of `output_size` cells an axis: [B, H, W, C] -> [B, *output_size, C].

    >>> import numpy as np
    >>> AdaptiveAveragePooling2D(2)(np.ones((1, 5, 5, 3))).shape
    (1, 2, 2, 3)
    """

    rank = 2


class AdaptiveAveragePooling3D(AdaptiveAveragePooling):
    """Means of `output_size` cells an axis: [B, D, H, W, C] -> [B, *output_size, C].

    >>> import numpy as np
    >>> AdaptiveAveragePooling3D(2)(np.ones((1, 5, 5, 5, 3))).shape
    (1, 2, 2, 2, 3)
    """

    rank = 3


class AdaptiveMaxPooling1D(AdaptiveMaxPooling):
    """Maxima of `output_size` cells: [B, T, C] -> [B, output_size, C].

    >>> import numpy as np
    >>> AdaptiveMaxPooling1D(2)(np.ones((1, 5, 3))).shape
    (1, 2, 3)
    """

    rank = 1


class AdaptiveMaxPooling2D(AdaptiveMaxPooling):
    """Maxima of `output_size` cells an axis: [B, H, W, C] -> [B, *output_size, C].

    >>> import numpy as np
    >>> AdaptiveMaxPooling2D(2)(np.ones((1, 5, 5, 3))).shape
    (1, 2, 2, 3)
    """

    rank = 2


class AdaptiveMaxPooling3D(AdaptiveMaxPooling):
    """Maxima of `output_size` cells an axis: [B, D, H, W, C] -> [B, *output_size, C].

    >>> import numpy as np
    >>> AdaptiveMaxPooling3D(2)(np.ones((1, 5, 5, 5, 3))).shape
    (1, 2, 2, 2, 3)
    """

    rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D

__all__ = """
    AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AveragePooling1D
    AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D
    GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D MaxPool1D MaxPool2D
    MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D
""".split()
