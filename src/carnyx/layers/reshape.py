"""Layers that move numbers without changing them: flatten, reshape, permute, repeat, pad, crop.

Joining several tensors is in `merge.py`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.layer import InputSpec, Layer
from carnyx.core.symbol import KerasTensor
from carnyx.layers import arguments
from carnyx.layers.arguments import documented


@documented("data_format")
class Flatten(Layer):
    """All axes but the batch as one: [B, ...] -> [B, product]; [B] -> [B, 1].

    Args:
        [shared] With "channels_first" the channels are moved last before,
            so that weights behind it mean the same in both formats.

    >>> import numpy as np
    >>> Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = arguments.data_format(self, data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_first" and inputs.ndim > 1:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return jnp.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))


class Reshape(Layer):
    """Another shape for each sample, in the same order of numbers: [B, ...] -> [B, *target].

    Args:
        target_shape: the shape without the batch axis; one size may be -1, which is what is left.

    Raises:
        ValueError: sizes that do not multiply to the size of a sample.

    >>> import numpy as np
    >>> Reshape((-1, 2))(np.ones((5, 3, 4))).shape
    (5, 6, 2)
    """

    def __init__(self, target_shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        shape = (target_shape,) if arguments.is_whole(target_shape) else target_shape
        good = isinstance(shape, (list, tuple)) and all(arguments.is_whole(n) for n in shape)
        if not good or any(n < -1 or n == 0 for n in shape) or list(shape).count(-1) > 1:
            raise arguments.refuse(
                self,
                "target_shape",
                target_shape,
                "a tuple of sizes from 1, without the batch, of which one may be -1",
            )
        self.target_shape = tuple(int(n) for n in shape)

    def compute_output_spec(self, inputs: Any) -> Any:
        # By hand: trial sizes for unknown axes rarely divide by the target's sizes.
        if None not in inputs.shape[1:]:
            return super().compute_output_spec(inputs)
        shape = tuple(None if n == -1 else n for n in self.target_shape)
        return KerasTensor((inputs.shape[0], *shape), inputs.dtype)

    def call(self, inputs: Any) -> Any:
        size, rest = math.prod(inputs.shape[1:]), math.prod(n for n in self.target_shape if n > 0)
        if size % rest or (-1 not in self.target_shape and size != rest):
            raise ValueError(
                f"Reshape '{self.name}': a sample of shape {inputs.shape[1:]} has {size} numbers, "
                f"which target_shape={self.target_shape} cannot hold. Choose sizes whose product "
                f"is {size}, or -1 for one of them."
            )
        shape = [size // rest if n == -1 else n for n in self.target_shape]
        return jnp.reshape(inputs, (inputs.shape[0], *shape))


class Permute(Layer):
    """The axes of each sample in another order: output axis i is input axis dims[i - 1].

    Args:
        dims: a permutation of 1, 2...; the batch, axis 0, stays and is not named.

    Raises:
        ValueError: `dims` that is no permutation, or not of as many axes as the input has.

    >>> import numpy as np
    >>> Permute((2, 1))(np.ones((5, 3, 4))).shape
    (5, 4, 3)
    """

    def __init__(self, dims: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(dims, (list, tuple)) or sorted(dims) != list(range(1, len(dims) + 1)):
            raise arguments.refuse(
                self, "dims", dims, "a permutation of 1, 2, ... (the batch, axis 0, stays)"
            )
        self.dims = tuple(dims)
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> Any:
        return jnp.transpose(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """Each vector n times: [B, C] -> [B, n, C].

    Args:
        n: how often, from 1.

    >>> import numpy as np
    >>> RepeatVector(3)(np.ones((2, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = arguments.whole(self, "n", n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        return jnp.repeat(inputs[:, None], self.n, axis=1)


class SpatialLayer(Layer):
    """What padding, cropping and upsampling share: which axes are space."""

    rank = 0
    data_format = "channels_last"

    def _setup(self, data_format: str | None) -> None:
        self.data_format = arguments.data_format(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def spread(self, values: Any, other: Any) -> list[Any]:
        """A value for every axis of the input: `values` for space, `other` for the rest."""
        if self.data_format == "channels_first":
            return [other, other, *values]
        return [other, *values, other]


@documented("data_format")
class ZeroPadding(SpatialLayer):
    """Zeros around each sample's space.

    Args:
        padding: zeros added before and after on every axis: one number, a number for each axis,
            or pairs (before, after).
        [shared]
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._setup(data_format)
        pairs = arguments.margins(self, "padding", padding, self.rank)
        self.padding = pairs[0] if self.rank == 1 else pairs

    def call(self, inputs: Any) -> Any:
        pairs = (self.padding,) if self.rank == 1 else self.padding
        return jnp.pad(inputs, self.spread(pairs, (0, 0)))


class ZeroPadding1D(ZeroPadding):
    """Zeros before and after a sequence: [B, T, C] -> [B, before + T + after, C].

    >>> import numpy as np
    >>> ZeroPadding1D((1, 2))(np.ones((2, 3, 4))).shape
    (2, 6, 4)
    """

    rank = 1


class ZeroPadding2D(ZeroPadding):
    """Zeros around images: [B, H, W, C] -> [B, H', W', C].

    >>> import numpy as np
    >>> ZeroPadding2D(((1, 0), (2, 2)))(np.ones((2, 3, 4, 1))).shape
    (2, 4, 8, 1)
    """

    rank = 2


class ZeroPadding3D(ZeroPadding):
    """Zeros around volumes: [B, D, H, W, C] -> [B, D', H', W', C].

    >>> import numpy as np
    >>> ZeroPadding3D()(np.ones((2, 3, 4, 5, 1))).shape
    (2, 5, 6, 7, 1)
    """

    rank = 3


class Cropping(SpatialLayer):
    """What the cropping layers share."""

    def crop(self, inputs: Any, pairs: Any) -> Any:
        slices = []
        for axis, (before, after) in enumerate(self.spread(pairs, (0, 0))):
            size = inputs.shape[axis]
            if before + after >= size:
                raise ValueError(
                    f"{type(self).__name__} '{self.name}': cropping {(before, after)} leaves "
                    f"nothing of axis {axis} of the input, which has shape {inputs.shape}. "
                    "Crop less."
                )
            slices.append(slice(before, size - after))
        return inputs[tuple(slices)]


class Cropping1D(Cropping):
    """A sequence without its ends: [B, T, C] -> [B, T - before - after, C].

    Args:
        cropping: steps taken off, a number for both ends or a pair (before, after).

    >>> import numpy as np
    >>> Cropping1D((1, 2))(np.ones((2, 6, 4))).shape
    (2, 3, 4)
    """

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._setup("channels_last")
        self.cropping = arguments.margins(self, "cropping", cropping, 1)[0]

    def call(self, inputs: Any) -> Any:
        return self.crop(inputs, (self.cropping,))


@documented("data_format")
class Cropping2D(Cropping):
    """Images without their edges: [B, H, W, C] -> [B, H', W', C].

    Args:
        cropping: rows and columns taken off: one number, one for each axis, or pairs.
        [shared]

    >>> import numpy as np
    >>> Cropping2D(((1, 0), (2, 2)))(np.ones((2, 4, 8, 1))).shape
    (2, 3, 4, 1)
    """

    rank = 2

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._setup(data_format)
        self.cropping = arguments.margins(self, "cropping", cropping, 2)

    def call(self, inputs: Any) -> Any:
        return self.crop(inputs, self.cropping)


@documented("data_format")
class Cropping3D(Cropping):
    """Volumes without their edges: [B, D, H, W, C] -> [B, D', H', W', C].

    Args:
        cropping: planes, rows and columns taken off: one number, one for each axis, or pairs.
        [shared]

    >>> import numpy as np
    >>> Cropping3D(1)(np.ones((2, 3, 4, 5, 1))).shape
    (2, 1, 2, 3, 1)
    """

    rank = 3

    def __init__(
        self,
        cropping: Any = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._setup(data_format)
        self.cropping = arguments.margins(self, "cropping", cropping, 3)

    def call(self, inputs: Any) -> Any:
        return self.crop(inputs, self.cropping)


class UpSampling(SpatialLayer):
    """What the upsampling layers share: nearest neighbours, that is, repetition."""

    def repeat(self, inputs: Any, sizes: Any) -> Any:
        for axis, times in enumerate(self.spread(sizes, 1)):
            if times > 1:
                inputs = jnp.repeat(inputs, times, axis=axis)
        return inputs


class UpSampling1D(UpSampling):
    """Each step of a sequence `size` times: [B, T, C] -> [B, T * size, C].

    >>> import numpy as np
    >>> UpSampling1D(2)(np.array([[[1.0], [2.0]]]))[0, :, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._setup("channels_last")
        self.size = arguments.whole(self, "size", size)

    def call(self, inputs: Any) -> Any:
        return self.repeat(inputs, (self.size,))


INTERPOLATIONS = {
    "nearest": "nearest",
    "bilinear": "linear",
    "bicubic": "cubic",
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
}


@documented("data_format")
class UpSampling2D(UpSampling):
    """Images enlarged: [B, H, W, C] -> [B, H * size[0], W * size[1], C].

    Args:
        size: factors from 1, one for each axis or one for both.
        [shared]
        interpolation: "nearest" (repetition), "bilinear", "bicubic", "lanczos3" or "lanczos5",
            with pixels as areas: places are compared at the centres of pixels.

    >>> import numpy as np
    >>> UpSampling2D((2, 3))(np.ones((1, 4, 5, 2))).shape
    (1, 8, 15, 2)
    """

    rank = 2

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._setup(data_format)
        self.size = arguments.sizes(self, "size", size, 2)
        self.interpolation = arguments.choice(
            self, "interpolation", interpolation, tuple(INTERPOLATIONS)
        )

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest":
            return self.repeat(inputs, self.size)
        factors = self.spread(self.size, 1)
        shape = [n * k for n, k in zip(inputs.shape, factors, strict=True)]
        return jax.image.resize(inputs, shape, INTERPOLATIONS[self.interpolation])


@documented("data_format")
class UpSampling3D(UpSampling):
    """Volumes enlarged by repetition: [B, D, H, W, C] -> [B, D * a, H * b, W * c, C].

    Args:
        size: factors (a, b, c) from 1, one for each axis or one for all.
        [shared]

    >>> import numpy as np
    >>> UpSampling3D(2)(np.ones((1, 2, 3, 4, 1))).shape
    (1, 4, 6, 8, 1)
    """

    rank = 3

    def __init__(
        self, size: Any = (2, 2, 2), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._setup(data_format)
        self.size = arguments.sizes(self, "size", size, 3)

    def call(self, inputs: Any) -> Any:
        return self.repeat(inputs, self.size)


__all__ = """
    Cropping1D Cropping2D Cropping3D Flatten Permute RepeatVector Reshape UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
""".split()
