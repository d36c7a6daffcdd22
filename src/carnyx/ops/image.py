"""Images [B, H, W, C] or [H, W, C] whose pixels move: resizing, cropping, sampling, patches.

`sample` is the one interpolator: affine and perspective maps, elastic deformations and
`map_coordinates` only say where to read. Colours and filters are in `image_color.py`, whose names
are names of this module too, as in `keras.ops.image`. Boxes are in `boxes.py`.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.core import dtypes
from carnyx.core.config import public
from carnyx.ops.convolution import tuple_of, window_padding
from carnyx.ops.table import choose, elsewhere, op, operations, tensor, wide

METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")  # of `resize`
ORDERS = {"nearest": 0, "bilinear": 1}  # of `sample`
FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")
TRANSLATED = "linear bilinear trilinear triangle cubic bicubic tricubic lanczos3 lanczos5".split()


class Batch:
    """Images of either rank and data format as [B, *space, C]; `back` gives a result that form."""

    def __init__(self, name: str, images: Any, data_format: str | None, rank: int = 2) -> None:
        images = jnp.asarray(tensor(images))
        if images.ndim not in (rank + 1, rank + 2):
            space = "H, W" if rank == 2 else "D, H, W"
            raise ValueError(
                f"{name}: images are [{space}, C] or [B, {space}, C]. "
                f"Received the shape {images.shape}."
            )
        self.single = images.ndim == rank + 1
        self.first = dtypes.standardize_data_format(data_format) == "channels_first"
        images = images[None] if self.single else images
        self.x = jnp.moveaxis(images, 1, -1) if self.first else images
        self.size = tuple(self.x.shape[1:-1])

    def back(self, x: Any) -> Any:
        x = jnp.moveaxis(x, -1, 1) if self.first else x
        return x[0] if self.single else x


def to_type(x: Any, dtype: Any) -> Any:
    """Floats as another type: rounded and cut to its range where it is an integer."""
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        x = jnp.clip(lax.round(x), float(limits.min), float(limits.max))
    return x.astype(dtype)


# ---- reading between pixels


def _inside(c: Any, size: int, fill_mode: str) -> Any:
    """Coordinates folded into an image of `size` pixels: [0, size - 1], [0, size) for "wrap".

    Between -1/2 and 0 "reflect" reads twice the same pixel, so its fold is cut at 0.
    """

    def rest(c: Any, period: int) -> Any:
        return c - period * jnp.floor(c / period)  # a third of the time that c % period takes

    if fill_mode == "wrap":
        c = rest(c, size)
        return jnp.where(c < size, c, 0)  # the rest of -1e-9 is rounded to the period
    if fill_mode == "mirror" and size > 1:
        c = size - 1 - jnp.abs(rest(c, 2 * (size - 1)) - (size - 1))
    elif fill_mode == "reflect":
        c = size - 0.5 - jnp.abs(rest(c + 0.5, 2 * size) - size)
    return jnp.clip(c, 0, size - 1)


def sample(
    images: Any, coordinates: Sequence[Any], order: int, fill_mode: str, fill_value: Any
) -> Any:
    """Images [B, *space, C] read at coordinates, one array [B, *out] an axis: [B, *out, C].

    Order 0 takes the nearest pixel, a half up; order 1 is linear. With "constant" the image is
    surrounded by `fill_value`, to which the last pixel fades over one step.
    """
    given, margin = images.dtype, int(fill_mode == "constant")
    if order:
        images = wide(images)
    if margin:
        edges = [(0, 0), *((1, 1),) * len(coordinates), (0, 0)]
        images = jnp.pad(images, edges, constant_values=jnp.asarray(fill_value, images.dtype))
    batch, *sizes, channels = images.shape
    reads: list[list[tuple[Any, Any]]] = []  # for each axis, (index, weight) of each pixel read
    for c, size in zip(coordinates, sizes, strict=True):
        c = (c if order else lax.round(c)) + margin
        c = _inside(c, size, fill_mode)
        low = jnp.floor(c).astype("int32")
        high = (low + 1) % size if fill_mode == "wrap" else jnp.minimum(low + 1, size - 1)
        part = (c - low)[..., None]
        reads.append([(low, 1 - part), (high, part)] if order else [(low, None)])
    flat = images.reshape(batch * math.prod(sizes), channels)
    total: Any = 0
    for corner in itertools.product(*reads):
        index = jnp.arange(batch, dtype="int32").reshape(batch, *(1,) * (corner[0][0].ndim - 1))
        for (axis_index, _), size in zip(corner, sizes, strict=True):
            index = index * size + axis_index
        value = flat.at[index].get(mode="clip")
        total = total + math.prod((w for _, w in corner), start=value) if order else value
    return to_type(total, given) if order else total


def grid(height: int, width: int) -> tuple[Any, Any]:
    """The coordinates (x, y) of every pixel, each float32 [H, W]."""
    y, x = jnp.meshgrid(
        jnp.arange(height, dtype="float32"), jnp.arange(width, dtype="float32"), indexing="ij"
    )
    return x, y


def warp(images: Any, matrix: Any, order: int, fill_mode: str, fill_value: Any) -> Any:
    """Images [B, H, W, C] whose output pixel (x, y) is read at (u, v) / w,
    (u, v, w) = matrix (x, y, 1), matrices [B, 3, 3]."""
    x, y = grid(*images.shape[1:3])
    u, v, w = (
        m[:, 0, None, None] * x + m[:, 1, None, None] * y + m[:, 2, None, None]
        for m in jnp.moveaxis(jnp.asarray(matrix, "float32"), 1, 0)
    )
    return sample(images, (v / w, u / w), order, fill_mode, fill_value)


@op
def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: Any = 0
) -> Any:
    """The input at any coordinates: [*space], coordinates [rank, *out] -> [*out].

    Args:
        order: 0 for the nearest element, 1 for linear interpolation.
        fill_mode: what is outside: "constant" (k k | a b c | k k), "nearest" (a a | a b c | c c),
            "wrap" (b c | a b c | a b), "mirror" (c b | a b c | b a), "reflect" (b a | a b c | c b).

    >>> map_coordinates(jnp.array([0.0, 10.0]), jnp.array([[0.5, 2.0]]), 1).tolist()
    [5.0, 0.0]
    """
    choose("map_coordinates", "order", order, (0, 1))
    choose("map_coordinates", "fill_mode", fill_mode, FILL_MODES)
    inputs, coordinates = jnp.asarray(tensor(inputs)), jnp.asarray(tensor(coordinates))
    if coordinates.ndim == 0 or coordinates.shape[0] != inputs.ndim:
        raise ValueError(
            "map_coordinates: coordinates are [rank, ...], one row for each axis of the input. "
            f"Received: an input of shape {inputs.shape}, coordinates of {coordinates.shape}."
        )
    places = wide(coordinates)[:, None]
    return sample(inputs[None, ..., None], places, order, fill_mode, fill_value)[0, ..., 0]


def _warped(
    name: str, images: Any, matrix: Any, interpolation: str, fill: Any, data_format: Any
) -> Any:
    choose(name, "interpolation", interpolation, ORDERS)
    choose(name, "fill_mode", fill[0], FILL_MODES)
    batch = Batch(name, images, data_format)
    count = batch.x.shape[0]
    if matrix.shape[0] not in (1, count):
        raise ValueError(
            f"{name}: one transformation for all images, or one for each. Received "
            f"{matrix.shape[0]} for {count} images."
        )
    matrix = jnp.broadcast_to(matrix, (count, 3, 3))
    return batch.back(warp(batch.x, matrix, ORDERS[interpolation], *fill))


@op
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: Any = 0,
    data_format: str | None = None,
) -> Any:
    """Images whose output pixel (x, y) is read at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k),
    k = c0 x + c1 y + 1, with transform = (a0, a1, a2, b0, b1, b2, c0, c1), [8] or [B, 8].

    Keras on JAX leaves c0 and c1 out. Fill modes are those of `map_coordinates`.

    >>> image = jnp.arange(3.0).reshape(1, 3, 1)
    >>> affine_transform(image, jnp.array([1.0, 0, 1, 0, 1, 0, 0, 0]))[0, :, 0].tolist()
    [1.0, 2.0, 0.0]
    """
    rows = jnp.atleast_2d(jnp.asarray(tensor(transform), "float32"))
    if rows.ndim != 2 or rows.shape[-1] != 8:
        raise ValueError(
            f"affine_transform: a transform is 8 numbers, [8] or [B, 8]. Received: {rows.shape}"
        )
    matrix = jnp.concatenate([rows, jnp.ones_like(rows[:, :1])], -1).reshape(-1, 3, 3)
    fill = (fill_mode, fill_value)
    return _warped("affine_transform", images, matrix, interpolation, fill, data_format)


def adjugate(m: Any) -> Any:
    """The inverse of matrices [..., 3, 3] times their determinants: always finite."""
    a, b, c = (m[..., i] for i in range(3))  # columns
    return jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], -2)


def homography(start: Any, end: Any) -> Any:
    """The matrices [..., 3, 3] of the projective maps that take four points to four points.

    The columns of P are three points and L = P^-1 p4: P diag(L) takes the basis to the points, and
    a map is one such matrix times the inverse of the other. Points are [..., 4, 2] as (x, y).
    """

    def basis(points: Any) -> Any:
        columns = jnp.swapaxes(
            jnp.concatenate([points, jnp.ones_like(points[..., :1])], -1), -1, -2
        )
        weights = jnp.einsum("...ij,...j->...i", adjugate(columns[..., :3]), columns[..., 3])
        # a common factor changes nothing; without this one float32 overflows at sizes of 10^4
        weights = weights / jnp.max(jnp.abs(weights), -1, keepdims=True)
        return columns[..., :3] * weights[..., None, :]

    return jnp.einsum("...ij,...jk->...ik", basis(end), adjugate(basis(start)))


@op
def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: Any = 0,
    data_format: str | None = None,
) -> Any:
    """Images whose four `start_points` come to lie at `end_points`, each [4, 2] or [B, 4, 2] as
    (x, y); what comes from outside is `fill_value`.

    >>> image = jnp.arange(3.0).reshape(1, 3, 1)
    >>> corners = jnp.array([[0.0, 0], [2, 0], [0, 1], [2, 1]])
    >>> perspective_transform(image, corners, corners + jnp.array([1, 0]))[0, :, 0].tolist()
    [0.0, 0.0, 1.0]
    """
    points = []
    for what, value in (("start_points", start_points), ("end_points", end_points)):
        given = jnp.asarray(tensor(value), "float32")
        if given.ndim not in (2, 3) or given.shape[-2:] != (4, 2):
            raise ValueError(
                f"perspective_transform: {what} are [4, 2] or [B, 4, 2]. Received: {given.shape}"
            )
        points.append(given if given.ndim == 3 else given[None])
    matrix = homography(points[1], points[0])
    fill = ("constant", fill_value)
    return _warped("perspective_transform", images, matrix, interpolation, fill, data_format)


def displacements(key: Any, shape: tuple[int, ...], alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """Two smooth random fields (x, y), each [B, H, W]: alpha sigma times normal noise filtered by a
    Gaussian of sum 1, cut at 3 sigma; the deviation is alpha / sqrt(4 pi) for any sigma above 1/2.

    `alpha` and `sigma` are numbers or [B]. (Simard, Steinkraus and Platt 2003)
    """
    batch, height, width = shape
    alpha, sigma = (
        jnp.broadcast_to(jnp.asarray(v, "float32"), (batch,))[:, None, None] for v in (alpha, sigma)
    )

    def gaussian(size: int) -> Any:
        def taps(distance: Any) -> Any:
            bell = jnp.exp(-((distance / jnp.maximum(sigma, 1e-3)) ** 2) / 2)
            return jnp.where(jnp.abs(distance) <= 3 * sigma + 0.5, bell, 0)

        place = jnp.arange(size, dtype="float32")
        total = taps(jnp.arange(1 - size, size, dtype="float32")).sum(-1, keepdims=True)
        return taps(place[:, None] - place) / total  # [B, size, size]

    noise = jnp.stack([jax.random.normal(k, shape) for k in (key, jax.random.fold_in(key, 1))])
    rows = jnp.einsum("bij,nbjw->nbiw", gaussian(height), noise)
    smooth = jnp.einsum("bij,nbhj->nbhi", gaussian(width), rows)
    x, y = alpha * sigma * smooth
    return x, y


def deform(images: Any, moved: tuple[Any, Any], order: int, fill_mode: str, fill_value: Any) -> Any:
    """Images [B, H, W, C] read at every pixel's place plus displacements (x, y) [B, H, W]."""
    x, y = grid(*images.shape[1:3])
    return sample(images, (y + moved[1], x + moved[0]), order, fill_mode, fill_value)


@op
def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: Any = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Any:
    """Images deformed by smooth random fields (Simard, Steinkraus and Platt 2003).

    Displacements have a standard deviation of 0.28 `alpha` pixels and are smooth over `sigma`
    pixels. Those in x and in y are independent; Keras takes the same for both.

    >>> elastic_transform(jnp.ones((4, 5, 1)), seed=1).shape
    (4, 5, 1)
    """
    choose("elastic_transform", "interpolation", interpolation, ORDERS)
    choose("elastic_transform", "fill_mode", fill_mode, FILL_MODES)
    batch = Batch("elastic_transform", images, data_format)
    moved = displacements(public("random").draw_seed(seed), batch.x.shape[:3], alpha, sigma)
    return batch.back(deform(batch.x, moved, ORDERS[interpolation], fill_mode, fill_value))


# ---- sizes


def window(size: tuple[int, ...], target: tuple[int, ...], inside: bool) -> tuple[int, ...]:
    """(top, left, height, width) of the greatest window within an image, or the least around it,
    that has the aspect ratio of `target`, about the same centre."""
    choice = min if inside else max
    height = choice(size[0], int(size[1] * target[0] / target[1]))
    width = choice(size[1], int(size[0] * target[1] / target[0]))
    top, left = int((size[0] - height) / 2), int((size[1] - width) / 2)
    if not inside:  # as much after as before
        height, width = size[0] - 2 * top, size[1] - 2 * left
    return top, left, height, width


def resized(images: Any, size: tuple[int, int], interpolation: str, antialias: bool) -> Any:
    """Images [B, H, W, C] as [B, *size, C], of the same type."""
    shape = (images.shape[0], *size, images.shape[-1])
    exact = interpolation == "nearest" or images.dtype == jnp.float64
    x = images if exact else images.astype("float32")
    y = jax.image.resize(x, shape, interpolation, antialias=antialias)
    return y if exact else to_type(y, images.dtype)


@op
def resize(
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: Any = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images of another size (height, width): [B, H, W, C] -> [B, *size, C], of the same type.

    Args:
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        antialias: whether to average over what one output pixel covers when shrinking.
        crop_to_aspect_ratio: cut the sides that do not fit, instead of distorting.
        pad_to_aspect_ratio: put `fill_value` around instead; not together with cropping.
        fill_mode: "constant" only.

    >>> resize(jnp.arange(4.0).reshape(1, 4, 1), (1, 2))[0, :, 0].tolist()
    [0.5, 2.5]
    """
    choose("resize", "interpolation", interpolation, METHODS)
    choose("resize", "fill_mode", fill_mode, ("constant",))
    good = isinstance(size, (tuple, list)) and len(size) == 2
    if not good or not all(isinstance(s, int) and s > 0 for s in size):
        raise ValueError(f"resize: size is (height, width), whole and positive. Received: {size!r}")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            "resize: crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other. "
            "Received True for both."
        )
    batch, target = Batch("resize", images, data_format), (size[0], size[1])
    x = batch.x
    if crop_to_aspect_ratio or pad_to_aspect_ratio:
        x = framed(x, window(batch.size, target, crop_to_aspect_ratio), fill_value)
    return batch.back(resized(x, target, interpolation, antialias))


def framed(images: Any, part: tuple[int, ...], fill_value: Any = 0) -> Any:
    """The part (top, left, height, width) of images [B, H, W, C], with `fill_value` where it
    reaches outside."""
    top, left, height, width = part
    sides = ((top, height, images.shape[1]), (left, width, images.shape[2]))
    edges = [(-start, start + length - size, 0) for start, length, size in sides]
    fill = jnp.asarray(fill_value, images.dtype)
    return lax.pad(images, fill, [(0, 0, 0), *edges, (0, 0, 0)])


def _side(name: str, numbers: tuple[Any, ...], size: int, signs: int) -> Any:
    """(start, length) of what stays of one axis, from the margins before and after it and the
    target, of which two are given; signs -1 cuts."""
    before, after, target = numbers
    if sum(v is None for v in numbers) != 1:
        raise ValueError(
            f"{name}: of the margin before, the margin after and the target size of an axis, "
            f"exactly two are given. Received: {before}, {after} and {target}."
        )
    if target is not None:
        rest = signs * (target - size)
        before = rest - after if before is None else before
        after = rest - before if after is None else after
    length = size + signs * (before + after)
    if before < 0 or after < 0 or length < 0:
        raise ValueError(
            f"{name}: margins and the resulting size are not negative. Received: {before} before, "
            f"{after} after an axis of {size}."
        )
    return -signs * before, length


def _margins(name: str, images: Any, rows: Any, columns: Any, data_format: Any, signs: int) -> Any:
    batch = Batch(name, images, data_format)
    top, height = _side(name, rows, batch.size[0], signs)
    left, width = _side(name, columns, batch.size[1], signs)
    return batch.back(framed(batch.x, (top, left, height, width)))


@op
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images without some rows and columns; of top, bottom and target height two are given, and so
    of left, right and target width.

    >>> crop_images(jnp.arange(4.0).reshape(1, 4, 1), 0, 1, 0, 1)[0, :, 0].tolist()
    [1.0, 2.0]
    """
    rows = (top_cropping, bottom_cropping, target_height)
    columns = (left_cropping, right_cropping, target_width)
    return _margins("crop_images", images, rows, columns, data_format, -1)


@op
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images with rows and columns of zeros around; of top, bottom and target height two are given,
    and so of left, right and target width.

    >>> pad_images(jnp.ones((1, 2, 1)), 0, 1, 0, target_width=4)[0, :, 0].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    rows = (top_padding, bottom_padding, target_height)
    columns = (left_padding, right_padding, target_width)
    return _margins("pad_images", images, rows, columns, data_format, 1)


@op
def scale_and_translate(
    images: Any,
    output_shape: Any,
    scale: Any,
    translation: Any,
    spatial_dims: Any,
    method: str,
    antialias: bool = True,
) -> Any:
    """An array resampled at (output place - translation) / scale along `spatial_dims`, pixels being
    centred at halves; what is outside is zero.

    `scale` and `translation` have a number for each of `spatial_dims`; `method` is "linear",
    "cubic" (also "bilinear", "bicubic", ...), "lanczos3" or "lanczos5".

    >>> scale_and_translate(
    ...     jnp.arange(2.0), (4,), jnp.array([2.0]), jnp.array([0.0]), (0,), "linear"
    ... ).tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    choose("scale_and_translate", "method", method, TRANSLATED)
    images = jnp.asarray(tensor(images))
    if not jnp.issubdtype(images.dtype, jnp.inexact):
        images = images.astype(dtypes.floatx())
    scale, translation = (jnp.asarray(tensor(v), "float32") for v in (scale, translation))
    return jax.image.scale_and_translate(
        images, tuple(output_shape), tuple(spatial_dims), scale, translation, method, antialias
    )


# ---- patches


@op
def extract_patches(
    images: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Windows of images as channels, each in the order (row, column, channel):
    [B, H, W, C] -> [B, h, w, size size C]; with three sizes, of volumes [B, D, H, W, C].

    `strides` are by default the size: windows side by side. "same" puts zeros around.

    >>> extract_patches(jnp.arange(4.0).reshape(1, 4, 1), (1, 2))[0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    choose("extract_patches", "padding", padding, ("valid", "same"))
    rank = 3 if isinstance(size, (tuple, list)) and len(size) == 3 else 2
    batch, size = Batch("extract_patches", images, data_format, rank), tuple_of(size, rank, "size")
    strides = size if strides is None else tuple_of(strides, rank, "strides")
    dilation = tuple_of(dilation_rate, rank, "dilation_rate")
    pads = window_padding(padding, batch.size, size, strides, dilation)
    x, counts = jnp.pad(batch.x, [(0, 0), *pads, (0, 0)]), []
    for axis, (s, stride, rate) in enumerate(zip(size, strides, dilation, strict=True)):
        position = 2 * axis + 1
        counts.append(max(0, (x.shape[position] - (s - 1) * rate - 1) // stride + 1))
        places = jnp.arange(counts[-1])[:, None] * stride + jnp.arange(s) * rate
        x = jnp.take(x, places, axis=position, mode="clip")
    # [B, n, k, n, k, ..., C] -> [B, n, n, ..., k k C]
    order = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
    width = math.prod(size) * x.shape[-1]
    return batch.back(x.transpose(order).reshape(x.shape[0], *counts, width))


@op
def extract_patches_3d(
    volumes: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """`extract_patches` of volumes: [B, D, H, W, C] -> [B, d, h, w, size size size C].

    >>> extract_patches_3d(jnp.ones((2, 2, 2, 1)), 2).shape
    (1, 1, 1, 8)
    """
    size = tuple_of(size, 3, "size")
    return extract_patches(volumes, size, strides, dilation_rate, padding, data_format)


# The other half, whose operations Keras lists in this module too.
__getattr__ = elsewhere(__name__, homes="image_color")
__all__ = operations(globals())  # noqa: PLE0605


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("carnyx.ops.image_color").__all__})
