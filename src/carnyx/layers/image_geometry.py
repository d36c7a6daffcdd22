"""Layers that move pixels, and with them boxes and segmentation masks: sizes and crops, flips,
affine and perspective maps, elastic deformations, erased patches.

The arithmetic is in `ops/image.py` (one sampler of images) and `ops/boxes.py`; the base, which
knows batches, dicts and data formats, is in `image.py`; colours are in `image_color.py`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.core.fields import declared, tail
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, Fraction, Number, Whole
from carnyx.layers.image import (
    FillMode,
    ImageLayer,
    Interpolation,
    Interval,
    Limits,
    Seed,
    Seeded,
    Share,
)
from carnyx.ops import boxes as box_ops
from carnyx.ops import image as ops


class ReadingLayer(ImageLayer):
    """Base: pixels are read at other places, between and outside pixels; masks at whole ones."""

    def read(self, images: Any, drawn: Any, interpolation: str) -> Any:
        """The images read with an interpolation."""
        raise NotImplementedError

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.read(images, drawn, self.interpolation)

    def change_masks(self, masks: Any, drawn: Any) -> Any:
        return self.read(masks, drawn, "nearest")


# ---- sizes


class FrameLayer(ReadingLayer):
    """Base: a part of the image, made the size (height, width); acts in inference too."""

    always = True
    antialias = False
    height: int
    width: int

    @property
    def target(self) -> tuple[int, int]:
        return self.height, self.width

    def part(self, size: tuple[int, int], drawn: Any) -> tuple[Any, ...]:
        """(top, left, height, width) of what is kept of an image of `size`."""
        raise NotImplementedError

    def read(self, images: Any, drawn: Any, interpolation: str) -> Any:
        top, left, *size = self.part(images.shape[1:3], drawn)
        if isinstance(top, int):
            images = ops.framed(images, (top, left, *size), self.fill_value)
        else:
            start, shape = (0, top, left, 0), (len(images), *size, images.shape[-1])
            images = lax.dynamic_slice(images, start, shape)
        if tuple(size) == self.target:
            return images
        return ops.resized(images, self.target, interpolation, self.antialias)

    def change_boxes(self, boxes: Any, drawn: Any, size: tuple[int, int]) -> Any:
        top, left, height, width = self.part(size, drawn)
        scale = jnp.asarray([self.width / width, self.height / height] * 2)
        return (boxes - jnp.asarray([left, top, left, top])) * scale


@declared
class Resizing(FrameLayer):
    """Images resized to (height, width), in training and inference; integers stay integers.

    Args:
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5"; masks are always
            read at the nearest pixel.
        crop_to_aspect_ratio, pad_to_aspect_ratio: cut what does not fit, or put `fill_value`
            around, instead of distorting; at most one of them.
        fill_mode: "constant" only.
        antialias: whether to average over what one output pixel covers when shrinking.
        [shared]

    Keras moves boxes as if nothing was cut or put around; here they follow the image.

    >>> Resizing(1, 2)(jnp.arange(4.0).reshape(1, 4, 1)).ravel().tolist()
    [0.5, 2.5]
    """

    interpolations = ops.METHODS
    fill_modes = ("constant",)
    height: Whole
    width: Whole
    interpolation: Interpolation = "bilinear"
    crop_to_aspect_ratio: bool = False
    pad_to_aspect_ratio: bool = False
    fill_mode: FillMode = "constant"
    fill_value: Number = 0.0
    antialias: bool = False
    data_format: DataFormat = None

    def _set_up(self) -> None:
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise arguments.refuse(
                self, "pad_to_aspect_ratio", True, "False where crop_to_aspect_ratio is True"
            )

    def part(self, size: tuple[int, int], drawn: Any) -> tuple[Any, ...]:
        if self.crop_to_aspect_ratio or self.pad_to_aspect_ratio:
            return ops.window(size, self.target, self.crop_to_aspect_ratio)
        return (0, 0, *size)

    def output_type(self, images: Any) -> Any:
        whole = jnp.issubdtype(images.dtype, jnp.integer)
        return images.dtype if whole else self.compute_dtype


@declared
class CenterCrop(FrameLayer):
    """The middle of (height, width) pixels, in training and inference.

    From a smaller image, the greatest window of that aspect ratio is resized.

    Args:
        [shared]

    >>> CenterCrop(1, 2)(jnp.arange(4.0).reshape(1, 4, 1)).ravel().tolist()
    [1.0, 2.0]
    """

    height: Whole
    width: Whole
    data_format: DataFormat = None

    def part(self, size: tuple[int, int], drawn: Any) -> tuple[Any, ...]:
        (height, width), (rows, columns) = self.target, size
        if height > rows or width > columns:
            return ops.window(size, self.target, True)
        return (rows - height) // 2, (columns - width) // 2, height, width


class RandomCrop(FrameLayer):
    """In training a part of (height, width) pixels, at one random place for the whole batch.

    In inference, and from a smaller image, the greatest window of that aspect ratio is resized, as
    Keras documents; what Keras on JAX does in inference is to leave the images at their size.

    Args:
        [shared]

    >>> RandomCrop(2, 3, seed=1)(jnp.ones((5, 5, 1))).shape
    (2, 3, 1)
    """

    # by hand: for type checkers a field `name` would be the first argument
    def __init__(
        self,
        height: Whole,
        width: Whole,
        seed: Seed = None,
        data_format: DataFormat = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, name=name, **kwargs)
        arguments.keep_given(self, locals())

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        """(top, left), each the same for all images; None where the window is resized."""
        room = jnp.asarray([shape[1] - self.height, shape[2] - self.width])
        if key is None or self.height > shape[1] or self.width > shape[2]:
            return None
        return tuple(jax.random.randint(key, (2,), 0, room + 1))

    def part(self, size: tuple[int, int], drawn: Any) -> tuple[Any, ...]:
        return ops.window(size, self.target, True) if drawn is None else (*drawn, *self.target)


# ---- flips


@declared
class RandomFlip(Seeded, ImageLayer):
    """In training each image is turned over with a chance of 1/2: left to right, top to bottom.

    Args:
        mode: "horizontal", "vertical" or "horizontal_and_vertical", where both are drawn each for
            itself (Keras draws once for both, a half turn or nothing).
        [shared]

    >>> RandomFlip("horizontal", seed=1)(jnp.arange(8.0).reshape(4, 1, 2, 1))[..., 0].tolist()
    [[[1.0, 0.0]], [[2.0, 3.0]], [[4.0, 5.0]], [[6.0, 7.0]]]
    """

    mode: str = "horizontal_and_vertical"

    def _set_up(self) -> None:
        modes = ("horizontal", "vertical", "horizontal_and_vertical")
        self.mode = arguments.choice(self, "mode", self.mode, modes)

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return {"flips": jax.random.uniform(key, (shape[0], 2)) < 0.5}

    def _turned(self, drawn: Any) -> list[tuple[Any, int]]:
        """(whether [B], axis of images) for each direction of the mode."""
        flips = drawn["flips"]
        flips = flips[..., 0, 0] if flips.ndim == 4 else flips  # Keras's, one for both directions
        axes = (("horizontal", flips[:, 0], 2), ("vertical", flips[:, -1], 1))
        return [(flip, axis) for word, flip, axis in axes if word in self.mode]

    def change_images(self, images: Any, drawn: Any) -> Any:
        for flip, axis in self._turned(drawn):
            images = jnp.where(flip[:, None, None, None], jnp.flip(images, axis), images)
        return images

    def change_boxes(self, boxes: Any, drawn: Any, size: tuple[int, int]) -> Any:
        x1, y1, x2, y2 = (boxes[..., i] for i in range(4))
        for flip, axis in self._turned(drawn):
            flip, length = flip[:, None], size[axis - 1]
            if axis == 2:
                x1, x2 = jnp.where(flip, length - x2, x1), jnp.where(flip, length - x1, x2)
            else:
                y1, y2 = jnp.where(flip, length - y2, y1), jnp.where(flip, length - y1, y2)
        return jnp.stack([x1, y1, x2, y2], -1)


# ---- affine and projective maps


@tail
class Filled:
    """The last fields of most of these layers."""

    fill_mode: FillMode = "reflect"
    interpolation: Interpolation = "bilinear"
    seed: Seed = None
    fill_value: Number = 0.0
    data_format: DataFormat = None


class WarpLayer(ReadingLayer):
    """Base: every output pixel is read at the place that a matrix gives; boxes go the other way.

    The box around a turned box is the upright one around its corners.
    """

    def matrix(self, drawn: Any, size: tuple[int, int]) -> Any:
        """[B, 3, 3], from (x, y, 1) of an output pixel to where it is read."""
        raise NotImplementedError

    def read(self, images: Any, drawn: Any, interpolation: str) -> Any:
        matrix, order = self.matrix(drawn, images.shape[1:3]), ops.ORDERS[interpolation]
        return ops.warp(images, matrix, order, self.fill_mode, self.fill_value)

    def change_boxes(self, boxes: Any, drawn: Any, size: tuple[int, int]) -> Any:
        return box_ops.move(boxes, ops.adjugate(self.matrix(drawn, size)))


def matrices(*rows: Any) -> Any:
    """Matrices [B, 3, 3] of (x, y) -> (a x + b y + c, d x + e y + f), from [B] or numbers each."""
    columns = jnp.broadcast_arrays(*rows, 0.0, 0.0, 1.0)
    return jnp.stack(columns, -1).reshape(*columns[0].shape, 3, 3)


def affine(a: Any, b: Any, c: Any, d: Any, size: tuple[int, int]) -> Any:
    """Matrices [B, 3, 3] of (x, y) -> (a x + b y, c x + d y) about the middle between the first
    and the last pixel of images of `size`."""
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    return matrices(a, b, x - a * x - b * y, c, d, y - c * x - d * y)


def between(key: Any, count: int, *intervals: tuple[float, float]) -> Any:
    """Uniform numbers [B] within each interval."""
    uniform = jax.random.uniform(key, (len(intervals), count))
    return [low + (high - low) * u for (low, high), u in zip(intervals, uniform, strict=True)]


@declared
class RandomRotation(Filled, WarpLayer):
    """In training each image is turned about its middle by an angle of its own.

    Args:
        factor: the angle as a fraction of a full turn, counter-clockwise where positive: a pair
            (least, most) within [-1, 1], or f for (-f, f).
        [shared]

    >>> RandomRotation(0.1, seed=1)(jnp.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    factor: Interval

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        (turns,) = between(key, shape[0], self.factor)
        return {"angle": turns * 360}  # degrees

    def matrix(self, drawn: Any, size: tuple[int, int]) -> Any:
        angle = jnp.deg2rad(drawn["angle"])
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return affine(cos, -sin, sin, cos, size)


@declared
class RandomTranslation(Filled, WarpLayer):
    """In training each image is moved by a distance of its own.

    Args:
        height_factor, width_factor: how far down and to the right, in heights and widths of the
            image: a pair (least, most) within [-1, 1], or f for (-f, f).
        [shared]

    >>> right = RandomTranslation(0.0, (0.5, 0.5), fill_mode="constant")
    >>> right(jnp.arange(1.0, 5.0).reshape(1, 4, 1)).ravel().tolist()
    [0.0, 0.0, 1.0, 2.0]
    """

    height_factor: Any
    width_factor: Any

    def _set_up(self) -> None:
        self._down = self.interval("height_factor", self.height_factor)
        self._right = self.interval("width_factor", self.width_factor)

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        down, right = between(key, shape[0], self._down, self._right)
        return {"translations": jnp.stack([right * shape[2], down * shape[1]], -1)}

    def matrix(self, drawn: Any, size: tuple[int, int]) -> Any:
        x, y = jnp.moveaxis(drawn["translations"], -1, 0)
        return matrices(1.0, 0.0, -x, 0.0, 1.0, -y)


@declared
class RandomZoom(Filled, WarpLayer):
    """In training each image is zoomed about its middle by factors of its own.

    Args:
        height_factor: how much more is seen (negative: less, larger) of the height, as a fraction:
            a pair (least, most) within (-1, 1], or f for (-f, f).
        width_factor: the same of the width; None to keep the aspect ratio.
        [shared]

    >>> RandomZoom(0.1, seed=1)(jnp.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    bounds = (math.nextafter(-1, 0), 1.0)  # at -1 nothing would be seen
    height_factor: Any
    width_factor: Any = None

    def _set_up(self) -> None:
        self._seen = [self.interval("height_factor", self.height_factor)]
        if self.width_factor is not None:
            self._seen.append(self.interval("width_factor", self.width_factor))

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        zooms = [1 + seen[:, None] for seen in between(key, shape[0], *self._seen)]
        return {"height_zoom": zooms[0], "width_zoom": zooms[-1]}

    def matrix(self, drawn: Any, size: tuple[int, int]) -> Any:
        height, width = drawn["height_zoom"][:, 0], drawn["width_zoom"][:, 0]
        return affine(width, 0.0, 0.0, height, size)


@declared
class RandomShear(WarpLayer):
    """In training each image is sheared, (x, y) being read at (x + a y, b x + y).

    Args:
        x_factor, y_factor: what a and b are drawn from: a pair (least, most) within [-1, 1], or f
            for (-f, f).
        [shared]

    Keras moves boxes by a shear about another place; here they follow the image.

    >>> RandomShear(0.2, 0.1, seed=1)(jnp.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    x_factor: Interval = 0.0
    y_factor: Interval = 0.0
    interpolation: Interpolation = "bilinear"
    fill_mode: FillMode = "reflect"
    fill_value: Number = 0.0
    data_format: DataFormat = None
    seed: Seed = None

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return {"shear_factor": jnp.stack(between(key, shape[0], self.x_factor, self.y_factor), -1)}

    def matrix(self, drawn: Any, size: tuple[int, int]) -> Any:
        a, b = jnp.moveaxis(drawn["shear_factor"], -1, 0)
        return matrices(1.0, a, 0.0, b, 1.0, 0.0)


def happens(key: Any, count: int, factor: tuple[float, float]) -> Any:
    """Whether it happens to each image [B]: with a chance of its own, drawn from `factor`."""
    chance, draw = between(key, count, factor, (0.0, 1.0))
    return draw < chance


@declared
class RandomPerspective(Seeded, WarpLayer):
    """In training images are seen from aside: their corners move, each for itself.

    Args:
        scale: s in [0, 1]; a corner moves by up to s / 2 of the image's width and height. (In Keras
            coordinates of 0 stay at 0, so that the first corner never moves.)
        [shared]

    >>> RandomPerspective(scale=0.2, seed=1)(jnp.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    factor: Share = 1.0
    scale: Fraction = 1.0
    interpolation: Interpolation = "bilinear"
    fill_value: Number = 0.0

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        keys, count = jax.random.split(key), shape[0]
        x, y = shape[2] - 1, shape[1] - 1
        frame = jnp.asarray([[0, 0], [x, 0], [0, y], [x, y]], "float32")
        corners = jnp.broadcast_to(frame, (count, 4, 2))
        half = self.scale / 2
        moved = jax.random.uniform(keys[1], (count, 4, 2), minval=-half, maxval=half)
        return {
            "apply_perspective": happens(keys[0], count, self.factor),
            "start_points": corners,
            "end_points": corners + moved * jnp.asarray([x, y]),
        }

    def matrix(self, drawn: Any, size: tuple[int, int]) -> Any:
        found = ops.homography(drawn["end_points"], drawn["start_points"])
        return jnp.where(drawn["apply_perspective"][:, None, None], found, jnp.eye(3))


# ---- elastic deformations and erased patches


@declared
class RandomElasticTransform(Seeded, ReadingLayer):
    """In training images are deformed by smooth random fields (Simard, Steinkraus, Platt 2003).

    Args:
        scale: s, a pair (least, most) within [0, 1] or s for (0, s), of which each image draws its
            own: displacements near 0.03 s of the longer side, smooth over 0.05 s of the shorter.
        [shared]

    Raises:
        ValueError: boxes are given, which would no more be boxes.

    >>> RandomElasticTransform(seed=1)(jnp.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    factor: Share = 1.0
    scale: Share = 1.0
    interpolation: Interpolation = "bilinear"
    fill_mode: FillMode = "reflect"
    fill_value: Number = 0.0
    value_range: Limits = (0, 255)

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        keys = jax.random.split(key, 3)
        (strength,) = between(keys[1], shape[0], self.scale)
        alpha, sigma = 0.1 * max(shape[1:3]) * strength, 0.05 * min(shape[1:3]) * strength
        return {
            "apply_transform": happens(keys[0], shape[0], self.factor),
            "distortion_factor": strength,
            "displacements": ops.displacements(keys[2], shape[:3], alpha, sigma),
        }

    def read(self, images: Any, drawn: Any, interpolation: str) -> Any:
        moved, order = drawn["displacements"], ops.ORDERS[interpolation]
        out = ops.deform(images, moved, order, self.fill_mode, self.fill_value)
        return jnp.where(drawn["apply_transform"][:, None, None, None], out, images)

    def change_images(self, images: Any, drawn: Any) -> Any:
        return jnp.clip(super().change_images(images, drawn), self.low, self.high)

    def change_boxes(self, boxes: Any, drawn: Any, size: tuple[int, int]) -> Any:
        raise ValueError(
            f"RandomElasticTransform '{self.name}': boxes do not follow an elastic deformation. "
            "Use segmentation masks, or a layer such as RandomPerspective."
        )


def patches(shape: Any, top: Any, left: Any, heights: Any, widths: Any) -> Any:
    """[B, H, W, 1]: the pixels in a rectangle of each image, from [B] each."""

    def inside(size: int, start: Any, length: Any) -> Any:
        pixels = jnp.arange(size)
        return (pixels >= start[:, None]) & (pixels < (start + length)[:, None])

    rows, columns = inside(shape[1], top, heights), inside(shape[2], left, widths)
    return rows[:, :, None, None] & columns[:, None, :, None]


@declared
class RandomErasing(Seeded, ImageLayer):
    """In training a patch of an image is replaced (Zhong, Zheng, Kang, Li and Yang 2017).

    Its height is H sqrt(a) and its width W sqrt(b), with a and b drawn from `scale`; it lies
    anywhere inside. Boxes, labels and masks stay.

    Args:
        scale: a pair (least, most) within [0, 1], or s for (0, s).
        fill_value: what the patch holds; None for noise, `highest` times a normal number, cut to
            `value_range`, in each element.
        [shared]

    >>> erased = RandomErasing((1.0, 1.0), (0.25, 0.25), 0.0, seed=1)(jnp.ones((8, 8, 1)))
    >>> int(erased.sum())
    48
    """

    moves = False
    factor: Share = 1.0
    scale: Share = (0.02, 0.33)
    fill_value: Number | None = None
    value_range: Limits = (0, 255)

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        keys = jax.random.split(key, 3)
        unit = (0.0, 1.0)
        draws = between(keys[1], shape[0], self.scale, self.scale, unit, unit)
        heights, widths = shape[1] * jnp.sqrt(draws[0]), shape[2] * jnp.sqrt(draws[1])
        top, left = draws[2] * (shape[1] - heights), draws[3] * (shape[2] - widths)
        fill = self.fill_value
        if fill is None:
            noise = self.high * jax.random.normal(keys[2], shape)
            fill = jnp.clip(noise, self.low, self.high)
        return {
            "apply_erasing": happens(keys[0], shape[0], self.factor),
            "batch_masks": patches(shape, top, left, heights, widths),
            "fill_value": fill,
        }

    def change_images(self, images: Any, drawn: Any) -> Any:
        erased = drawn["batch_masks"] & drawn["apply_erasing"][:, None, None, None]
        return jnp.where(erased, jnp.asarray(drawn["fill_value"], images.dtype), images)


@declared
class MaxNumBoundingBoxes(ImageLayer):
    """Dicts whose bounding boxes are `max_number` for each image: the first ones, or as many more
    with boxes and labels of `fill_value`.

    >>> boxes = {"boxes": jnp.ones((1, 3, 4)), "labels": jnp.ones((1, 3))}
    >>> data = {"images": jnp.ones((1, 4, 4, 3)), "bounding_boxes": boxes}
    >>> MaxNumBoundingBoxes(2, bounding_box_format="xyxy")(data)["bounding_boxes"]["boxes"].shape
    (1, 2, 4)
    """

    always = True
    max_number: Whole
    fill_value: Number = -1

    def change_images(self, images: Any, drawn: Any) -> Any:
        return images

    def output_type(self, images: Any) -> Any:
        return images.dtype

    def _boxes(self, boxes: Any, drawn: Any, active: bool, before: Any, after: Any) -> Any:
        axis = 0 if before.single else 1  # of boxes: a single image has no batch axis

        def fit(x: Any) -> Any:
            x = lax.slice_in_dim(x, 0, min(x.shape[axis], self.max_number), axis=axis)
            edges = [(0, 0)] * x.ndim
            edges[axis] = (0, self.max_number - x.shape[axis])
            return jnp.pad(x, edges, constant_values=jnp.asarray(self.fill_value, x.dtype))

        return {key: fit(jnp.asarray(value)) for key, value in boxes.items()}


__all__ = """
    CenterCrop MaxNumBoundingBoxes RandomCrop RandomElasticTransform RandomErasing RandomFlip
    RandomPerspective RandomRotation RandomShear RandomTranslation RandomZoom Resizing
""".split()
