"""Layers that move numbers without changing them: flatten, reshape, permute, repeat, pad, crop.

Joining several tensors is in `merge.py`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.fields import declared
from carnyx.core.layer import InputSpec, Layer
from carnyx.core.symbol import KerasTensor
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, Declared, Several, Sides, Whole, Window
from carnyx.layers.spatial import SpatialLayer
from carnyx.ops.image import METHODS


@declared
class Flatten(Declared, Layer):
    """All axes but the batch as one: [B, ...] -> [B, product]; [B] -> [B, 1].

    Args:
        [shared] With "channels_first" the channels are moved last before,
            so that weights behind it mean the same in both formats.

    >>> Flatten()(jnp.ones((2, 3, 4))).shape
    (2, 12)
    """

    input_spec = InputSpec(min_ndim=1)
    data_format: DataFormat = None

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_first" and inputs.ndim > 1:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return jnp.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))


@declared
class Reshape(Declared, Layer):
    """Another shape for each sample, in the same order of numbers: [B, ...] -> [B, *target].

    Args:
        target_shape: the shape without the batch axis; one size may be -1, which is what is left.

    Raises:
        ValueError: sizes that do not multiply to the size of a sample.

    >>> Reshape((-1, 2))(jnp.ones((5, 3, 4))).shape
    (5, 6, 2)
    """

    target_shape: Several

    def _set_up(self) -> None:
        shape = self.target_shape
        good = all(arguments.is_whole(n) and (n > 0 or n == -1) for n in shape)
        if not good or shape.count(-1) > 1:
            wanted = "a tuple of sizes from 1, without the batch, of which one may be -1"
            raise arguments.refuse(self, "target_shape", shape, wanted)
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


@declared
class Permute(Declared, Layer):
    """The axes of each sample in another order: output axis i is input axis dims[i - 1].

    Args:
        dims: a permutation of 1, 2...; the batch, axis 0, stays and is not named.

    Raises:
        ValueError: `dims` that is no permutation, or not of as many axes as the input has.

    >>> Permute((2, 1))(jnp.ones((5, 3, 4))).shape
    (5, 4, 3)
    """

    dims: Any

    def _set_up(self) -> None:
        dims = self.dims
        if not isinstance(dims, (list, tuple)) or sorted(dims) != list(range(1, len(dims) + 1)):
            wanted = "a permutation of 1, 2, ... (the batch, axis 0, stays)"
            raise arguments.refuse(self, "dims", dims, wanted)
        self.dims = tuple(dims)
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> Any:
        return jnp.transpose(inputs, (0, *self.dims))


@declared
class RepeatVector(Declared, Layer):
    """Each vector n times: [B, C] -> [B, n, C].

    Args:
        n: how often, from 1.

    >>> RepeatVector(3)(jnp.ones((2, 4))).shape
    (2, 3, 4)
    """

    input_spec = InputSpec(ndim=2)
    n: Whole

    def call(self, inputs: Any) -> Any:
        return jnp.repeat(inputs[:, None], self.n, axis=1)


class Margins(SpatialLayer):
    """Base: (before, after) on each spatial axis, in the attribute that a subclass names."""

    margins = ""

    def _set_up(self) -> None:
        pairs = getattr(self, self.margins)
        self._pairs = self.spread(pairs, (0, 0))
        if self.rank == 1:
            setattr(self, self.margins, pairs[0])


@declared
class ZeroPadding(Margins):
    """Zeros around each sample's space.

    Args:
        padding: zeros added before and after on every axis: one number, a number for each axis,
            or pairs (before, after).
        [shared]
    """

    margins = "padding"
    padding: Sides = 1
    data_format: DataFormat = None

    def call(self, inputs: Any) -> Any:
        return jnp.pad(inputs, self._pairs)


class ZeroPadding1D(ZeroPadding, rank=1):
    """Zeros before and after a sequence: [B, T, C] -> [B, before + T + after, C].

    >>> ZeroPadding1D((1, 2))(jnp.ones((2, 3, 4))).shape
    (2, 6, 4)
    """


class ZeroPadding2D(ZeroPadding, rank=2):
    """Zeros around images: [B, H, W, C] -> [B, H', W', C].

    >>> ZeroPadding2D(((1, 0), (2, 2)))(jnp.ones((2, 3, 4, 1))).shape
    (2, 4, 8, 1)
    """


class ZeroPadding3D(ZeroPadding, rank=3):
    """Zeros around volumes: [B, D, H, W, C] -> [B, D', H', W', C].

    >>> ZeroPadding3D()(jnp.ones((2, 3, 4, 5, 1))).shape
    (2, 5, 6, 7, 1)
    """


class Cropping(Margins):
    """What the cropping layers share.

    Args:
        cropping: places taken off before and after on every axis: one number, a number for each
            axis, or pairs (before, after).
        [shared]

    Raises:
        ValueError: nothing is left of the input.
    """

    margins = "cropping"

    def call(self, inputs: Any) -> Any:
        slices = []
        for axis, (before, after) in enumerate(self._pairs):
            size = inputs.shape[axis]
            if before + after >= size:
                raise ValueError(
                    f"{type(self).__name__} '{self.name}': cropping {(before, after)} leaves "
                    f"nothing of axis {axis} of the input, which has shape {inputs.shape}. "
                    "Crop less."
                )
            slices.append(slice(before, size - after))
        return inputs[tuple(slices)]


@declared
class Cropping1D(Cropping, rank=1):
    """A sequence without its ends: [B, T, C] -> [B, T - before - after, C].

    >>> Cropping1D((1, 2))(jnp.ones((2, 6, 4))).shape
    (2, 3, 4)
    """

    cropping: Sides = (1, 1)


@declared
class Cropping2D(Cropping, rank=2):
    """Images without their edges: [B, H, W, C] -> [B, H', W', C].

    >>> Cropping2D(((1, 0), (2, 2)))(jnp.ones((2, 4, 8, 1))).shape
    (2, 3, 4, 1)
    """

    cropping: Sides = ((0, 0), (0, 0))
    data_format: DataFormat = None


@declared
class Cropping3D(Cropping, rank=3):
    """Volumes without their edges: [B, D, H, W, C] -> [B, D', H', W', C].

    >>> Cropping3D(1)(jnp.ones((2, 3, 4, 5, 1))).shape
    (2, 1, 2, 3, 1)
    """

    cropping: Sides = ((1, 1), (1, 1), (1, 1))
    data_format: DataFormat = None


class UpSampling(SpatialLayer):
    """What the upsampling layers share.

    Args:
        size: how often each place is there afterwards, from 1: a number for each axis, or one.
        [shared]
    """

    size: Any

    def _set_up(self) -> None:
        self._times = self.spread(self.size, 1)
        if self.rank == 1:
            (self.size,) = self.size

    def call(self, inputs: Any) -> Any:
        for axis, times in enumerate(self._times):
            if times > 1:
                inputs = jnp.repeat(inputs, times, axis=axis)
        return inputs


@declared
class UpSampling1D(UpSampling, rank=1):
    """Each step of a sequence `size` times: [B, T, C] -> [B, T * size, C].

    >>> UpSampling1D(2)(jnp.array([[[1.0], [2.0]]]))[0, :, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    size: Window = 2


@declared
class UpSampling2D(UpSampling, rank=2):
    """Images enlarged: [B, H, W, C] -> [B, H * size[0], W * size[1], C].
        interpolation: "nearest" (repetition), "bilinear", "bicubic", "lanczos3" or "lanczos5",
            with pixels as areas: places are compared at the centres of pixels.

    >>> UpSampling2D((2, 3))(jnp.ones((1, 4, 5, 2))).shape
    (1, 8, 15, 2)
    """

    size: Window = (2, 2)
    data_format: DataFormat = None
    interpolation: str = "nearest"

    def _set_up(self) -> None:
        super()._set_up()
        known = tuple(METHODS)
        self.interpolation = arguments.choice(self, "interpolation", self.interpolation, known)

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest":
            return super().call(inputs)
        shape = [n * times for n, times in zip(inputs.shape, self._times, strict=True)]
        return jax.image.resize(inputs, shape, self.interpolation)


@declared
class UpSampling3D(UpSampling, rank=3):
    """Volumes enlarged by repetition: [B, D, H, W, C] -> [B, D * a, H * b, W * c, C].

    >>> UpSampling3D(2)(jnp.ones((1, 2, 3, 4, 1))).shape
    (1, 4, 6, 8, 1)
    """

    size: Window = (2, 2, 2)
    data_format: DataFormat = None


__all__ = """
    Cropping1D Cropping2D Cropping3D Flatten Permute RepeatVector Reshape UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
""".split()
