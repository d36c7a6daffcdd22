"""Colours and contrasts of images: grey, hue and saturation, blur, edges, similarity.

The functions of channels-last arrays come first, the layers of `layers/image_color.py` are made of
them; the public operations, which take both data formats and single images, stand below. What moves
pixels is in `image.py`, which has these operations too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from carnyx.ops.image import Batch
from carnyx.ops.table import op, operations, wide

# How bright the eye finds red, green and blue: ITU-R BT.601, four digits as in image libraries.
LUMA = (0.2989, 0.587, 0.114)


def blend(start: Any, end: Any, amount: Any) -> Any:
    """start + amount (end - start): between the two for amounts in [0, 1], else beyond them."""
    return start + amount * (end - start)


def grey(images: Any) -> Any:
    """The luma of RGB: [..., 3] -> [..., 1]."""
    red, green, blue = (images[..., i : i + 1] * weight for i, weight in enumerate(LUMA))
    return red + green + blue


def hue_chroma_value(images: Any) -> tuple[Any, Any, Any]:
    """RGB [..., 3] as three arrays [...]: hue in [0, 1), chroma (max - min), value (max).

    Hue 0 is red, 1/3 green, 2/3 blue, and where there is no chroma 0.
    """
    red, green, blue = (images[..., i] for i in range(3))
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    sixth = 1 / jnp.where(chroma > 0, 6 * chroma, 1)
    hue = jnp.where(
        value == red,
        (green - blue) * sixth,
        jnp.where(value == green, (blue - red) * sixth + 1 / 3, (red - green) * sixth + 2 / 3),
    )
    return jnp.where(chroma > 0, jnp.where(hue < 0, hue + 1, hue), 0), chroma, value


def of_hue_chroma_value(hue: Any, chroma: Any, value: Any) -> Any:
    """RGB [..., 3] from hue (any real number: it goes round), chroma and value [...].

    A channel is `value` within a sixth of the circle around its own hue, `value - chroma` within a
    sixth around the opposite one, and between them a straight line.
    """
    apart = 6 * hue[..., None] - jnp.array([0, 2, 4], hue.dtype)
    apart = jnp.abs(apart - 6 * jnp.round(apart / 6))  # sixths of the circle, in [0, 3]
    return value[..., None] - chroma[..., None] * jnp.clip(apart - 1, 0, 1)


def gaussian(size: int, sigma: Any) -> Any:
    """A Gaussian at `size` points around 0, of sum 1: sigma [...] -> [..., size]."""
    place = jnp.arange(size, dtype="float32") - (size - 1) / 2
    spread = jnp.maximum(jnp.asarray(sigma, "float32"), 1e-6)[..., None]
    # softmax: with a narrow peak and no point at its centre, exp alone gives 0 / 0
    return jax.nn.softmax(-((place / spread) ** 2) / 2)


def correlate(images: Any, kernel: Any, axis: int, padding: str = "same") -> Any:
    """sum_k kernel[k] x[i + k] along a spatial axis of [B, H, W, C]; "same" has zeros around.

    `kernel` is [K], or [B, K] for a kernel an image. A sum of moved copies: one pass over the
    images, where a convolution with a group for each channel would be many times slower.
    """
    size = kernel.shape[-1]
    if padding == "same":
        margins = [(0, 0)] * 4
        margins[axis] = ((size - 1) // 2, size // 2)
        images = jnp.pad(images, margins)
    count = images.shape[axis] - size + 1
    where: list[Any] = [slice(None)] * 4
    total: Any = 0
    for k in range(size):
        where[axis] = slice(k, k + count)
        weight = kernel[..., k]
        total += images[tuple(where)] * (weight[:, None, None, None] if weight.ndim else weight)
    return total


def smooth(images: Any, rows: Any, columns: Any, padding: str = "same") -> Any:
    """Images correlated with the product of two kernels, `rows` along H and `columns` along W."""
    return correlate(correlate(images, rows, 1, padding), columns, 2, padding)


def sharpness_base(images: Any) -> Any:
    """Images averaged over 3 x 3 places, the centre counted five times, zeros around."""
    ones = jnp.ones(3, images.dtype)
    return (smooth(images, ones, ones) + 4 * images) / 13


# ---- the public operations


def _as_type(y: Any, dtype: Any, otherwise: Any) -> Any:
    """In the type of the input if that holds fractions."""
    return y.astype(dtype if jnp.issubdtype(dtype, jnp.floating) else otherwise)


def _colours(name: str, images: Any, data_format: str | None, counts: tuple[int, ...]) -> Batch:
    batch = Batch(name, images, data_format)
    if batch.x.shape[-1] not in counts:
        wanted = " or ".join(map(str, counts))
        raise ValueError(
            f"{name}: images have {wanted} channels. Received {batch.x.shape[-1]} channels in the "
            f"shape {np.shape(images)}; is data_format={data_format!r} right?"
        )
    return batch


def _unit(name: str, images: Any, data_format: str | None) -> Batch:
    batch = _colours(name, images, data_format, (3,))
    if not jnp.issubdtype(batch.x.dtype, jnp.floating):
        raise ValueError(
            f"{name}: images are floats in [0, 1]. Received the type {batch.x.dtype.name}; divide "
            "by 255 first."
        )
    return batch


@op
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """0.2989 R + 0.587 G + 0.114 B, in the input's type: [..., H, W, 3] -> [..., H, W, 1].

    Images of one channel pass. Whole numbers are cut towards zero.

    >>> rgb_to_grayscale(jnp.ones((2, 2, 3))).shape
    (2, 2, 1)
    """
    batch = _colours("rgb_to_grayscale", images, data_format, (3, 1))
    x = batch.x
    return batch.back(grey(wide(x)).astype(x.dtype) if x.shape[-1] == 3 else x)


@op
def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Hue, saturation and value, all in [0, 1], of RGB in [0, 1] (Smith 1978).

    Value is the greatest of the channels, saturation (greatest - least) / greatest, hue the
    direction in the colour circle: 0 red, 1/3 green, 2/3 blue.

    >>> rgb_to_hsv([[[0.0, 0.5, 0.0]]]).tolist()[0][0][1:]
    [1.0, 0.5]
    """
    batch = _unit("rgb_to_hsv", images, data_format)
    hue, chroma, value = hue_chroma_value(wide(batch.x))
    saturation = jnp.where(value > 0, chroma / jnp.where(value > 0, value, 1), 0)
    return batch.back(jnp.stack([hue, saturation, value], -1).astype(batch.x.dtype))


@op
def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """RGB in [0, 1] of hue, saturation and value in [0, 1]: the inverse of `rgb_to_hsv`.

    >>> hsv_to_rgb([[[0.0, 1.0, 0.5]]]).tolist()
    [[[0.5, 0.0, 0.0]]]
    """
    batch = _unit("hsv_to_rgb", images, data_format)
    hue, saturation, value = (wide(batch.x)[..., i] for i in range(3))
    colours = of_hue_chroma_value(hue, saturation * value, value)
    return batch.back(colours.astype(batch.x.dtype))


@op
def gaussian_blur(
    images: Any,
    kernel_size: Any = (3, 3),
    sigma: Any = (1.0, 1.0),
    data_format: str | None = None,
) -> Any:
    """Images correlated with a Gaussian of sum 1, zeros around: the shape stays.

    `kernel_size` and `sigma` (in pixels) are (height, width); in Keras 3.15 they act the other way
    round. Whole numbers give float32.

    >>> gaussian_blur(jnp.ones((1, 5, 5, 1)), (3, 3))[0, 2, 2].tolist()
    [1.0]
    """
    sizes, sigmas = tuple(kernel_size), tuple(sigma)
    good = len(sizes) == len(sigmas) == 2 and all(n == int(n) >= 1 for n in sizes)
    if not good or not all(s > 0 for s in sigmas):
        raise ValueError(
            "gaussian_blur: kernel_size is two whole numbers from 1, sigma two numbers above 0, "
            f"height first. Received: kernel_size={kernel_size!r}, sigma={sigma!r}"
        )
    rows, columns = (gaussian(int(n), s) for n, s in zip(sizes, sigmas, strict=True))
    batch = Batch("gaussian_blur", images, data_format)
    blurred = smooth(wide(batch.x), rows, columns)
    return batch.back(_as_type(blurred, batch.x.dtype, "float32"))


@op
def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """How fast brightness grows downwards and to the right: [B, H, W, C] -> [B, H, W, C, 2].

    The differences x[i + 1] - x[i - 1] along one axis, averaged with weights 1, 2, 1 along the
    other (not divided by 4), zeros around. Types of whole numbers give int32.

    >>> sobel_edges(jnp.arange(9.0).reshape(1, 3, 3, 1))[0, 1, 1, 0].tolist()
    [24.0, 8.0]
    """
    slope, mean = jnp.array([-1.0, 0.0, 1.0]), jnp.array([1.0, 2.0, 1.0])
    batch = Batch("sobel_edges", images, data_format)
    both = [smooth(wide(batch.x), *kernels) for kernels in ((slope, mean), (mean, slope))]
    edges = jnp.stack([batch.back(edge) for edge in both], -1)
    return _as_type(edges, batch.x.dtype, "int32")


@op
def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """Structural similarity, 1 for equal images: two batches [B, H, W, C] -> [B], two images -> [].

    The mean over windows and channels of
    (2 m1 m2 + c1)(2 cov + c2) / ((m1^2 + m2^2 + c1)(var1 + var2 + c2)), where means, variances and
    covariance are weighted by a Gaussian and c = (k max_val)^2.

    Args:
        image1, image2: of one shape, H and W from `filter_size`; whole numbers are made floats.
        max_val: the greatest value that a pixel can have.
        filter_size, filter_sigma: the window's side and standard deviation in pixels.
        k1, k2: small numbers that keep the quotients finite in flat regions.

    Wang, Bovik, Sheikh, Simoncelli (2004), equation 13.

    >>> float(ssim(jnp.ones((12, 12, 3)), jnp.ones((12, 12, 3))))
    1.0
    """
    first, second = (Batch("ssim", image, data_format) for image in (image1, image2))
    dtype, x, y = jnp.result_type(first.x, second.x), wide(first.x), wide(second.x)
    if x.shape != y.shape or min(first.size) < filter_size:
        raise ValueError(
            f"ssim: the images have one shape, height and width from filter_size={filter_size}. "
            f"Received the shapes {np.shape(image1)} and {np.shape(image2)} "
            f"(data_format={data_format!r})."
        )
    kernel = gaussian(int(filter_size), filter_sigma)
    products = jnp.concatenate([x, y, x * x, y * y, x * y], -1)
    mean1, mean2, square1, square2, product = jnp.split(
        smooth(products, kernel, kernel, "valid"), 5, -1
    )
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    both, squares = mean1 * mean2, mean1**2 + mean2**2
    luminance = (2 * both + c1) / (squares + c1)
    structure = (2 * (product - both) + c2) / (square1 + square2 - squares + c2)
    similarity = _as_type((luminance * structure).mean((1, 2, 3)), dtype, "float32")
    return similarity[0] if first.single else similarity


__all__ = operations(globals())  # noqa: PLE0605
