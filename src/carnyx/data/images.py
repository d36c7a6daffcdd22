"""Pictures: read and written by Pillow (imported when first used), resized by NumPy."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from carnyx.core import dtypes
from carnyx.core.errors import nearest

COLOR_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
PILLOW_FILTERS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Pictures need Pillow: pip install pillow") from error
    return Image


def _chosen(name: str, value: Any, known: Any) -> Any:
    """The value, if it is one of those known."""
    if value not in known:
        hint = nearest(str(value), [str(k) for k in known])
        raise ValueError(
            f"{name} is one of {', '.join(map(repr, known))}. Received: {value!r}.{hint}"
        )
    return value


def _layout(data_format: str | None) -> str:
    data_format = data_format or dtypes.image_data_format()
    return _chosen("data_format", data_format, ("channels_last", "channels_first"))


def _size(name: str, size: Any) -> tuple[int, int]:
    whole = isinstance(size, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in size)
    if not whole or len(size) != 2 or min(size) < 1:
        raise ValueError(f"{name} is (height, width), two whole numbers from 1. Received: {size!r}")
    return int(size[0]), int(size[1])


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: Any = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """A picture from a file as a Pillow image.

    Args:
        path: a path, or an open binary file (io.BytesIO too).
        color_mode: "grayscale" (16 and 32 bits a pixel stay), "rgb" or "rgba".
        target_size: (height, width), or None for the size it has.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos", with
            Pillow's antialiasing.
        keep_aspect_ratio: whether the middle of the target's proportions is cut out first.
    """
    _chosen("color_mode", color_mode, COLOR_MODES)
    _chosen("interpolation", interpolation, PILLOW_FILTERS)
    if not isinstance(path, io.IOBase):
        with open(os.fspath(path), "rb") as file:
            path = io.BytesIO(file.read())
    img = _pillow().open(path)
    deep = color_mode == "grayscale" and img.mode in ("I;16", "I")
    if not deep and img.mode != COLOR_MODES[color_mode]:
        img = img.convert(COLOR_MODES[color_mode])
    if target_size is None:
        return img
    height, width = _size("target_size", target_size)
    box = None
    if keep_aspect_ratio:
        rows, columns = _window(img.height, img.width, height, width)
        box = (columns.start, rows.start, columns.stop, rows.stop)
    elif img.size == (width, height):
        return img
    return img.resize((width, height), _pillow().Resampling[interpolation.upper()], box=box)


def _window(height: int, width: int, wanted_h: int, wanted_w: int) -> tuple[slice, slice]:
    """The largest middle part of a picture with the proportions wanted_h : wanted_w."""
    crop_h = min(height, width * wanted_h // wanted_w)
    crop_w = min(width, height * wanted_w // wanted_h)
    top, left = (height - crop_h) // 2, (width - crop_w) // 2
    return slice(top, top + crop_h), slice(left, left + crop_w)


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """A Pillow image (or an array of rank 2 or 3) as an array [H, W, C] or [C, H, W]."""
    data_format = _layout(data_format)
    x = np.asarray(img, dtype=dtypes.standardize_dtype(dtype or dtypes.floatx()))
    if x.ndim == 2:
        x = x[..., None]
    elif x.ndim == 3:
        return x.transpose(2, 0, 1) if data_format == "channels_first" else x
    else:
        raise ValueError(f"img_to_array: a picture has rank 2 or 3. Received shape {x.shape}")
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """An array [H, W, C] or [C, H, W], C = 1, 3 or 4, as a Pillow image.

    With `scale`, its least value becomes 0 and its greatest 255; else values are cut to whole ones.
    """
    data_format = _layout(data_format)
    x = np.asarray(x, dtype=dtypes.standardize_dtype(dtype or dtypes.floatx()))
    if x.ndim != 3:
        raise ValueError(
            f"array_to_img: one picture has rank 3, [H, W, C]. Received shape {x.shape}"
        )
    if data_format == "channels_first":
        x = x.transpose(1, 2, 0)
    if scale:
        x = x - x.min()
        x = x / (x.max() or 1) * 255
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if x.shape[2] not in modes:
        raise ValueError(
            f"array_to_img: a picture has 1, 3 or 4 channels. Received shape {x.shape}"
        )
    deep = x.shape[2] == 1 and x.max() > 255
    x = x[..., 0] if x.shape[2] == 1 else x
    return _pillow().fromarray(x.astype("int32" if deep else "uint8"))


def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Writes an array as a picture; the format is that of the path's ending, or `file_format`.

    `kwargs` go to Pillow's `Image.save`, such as quality=90. JPEG files have no transparency: it is
    left out with a warning.
    """
    img = array_to_img(x, data_format=data_format, scale=scale)
    jpeg = (file_format or str(path).rpartition(".")[2]).lower() in ("jpg", "jpeg")
    if img.mode == "RGBA" and jpeg:
        warnings.warn("save_img: JPEG has no transparency: saved as RGB.", stacklevel=2)
        img = img.convert("RGB")
    img.save(path, format="jpeg" if (file_format or "").lower() == "jpg" else file_format, **kwargs)


# ---- resizing: separable, without antialiasing, pixel centres at half coordinates


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0)


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """The cubics of Mitchell and Netravali (1988), eq. 8; (0, 1/2) is Keys's, Catmull-Rom."""

    def kernel(x: np.ndarray) -> np.ndarray:
        near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)
        far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x
        return np.where(x < 1, near, np.where(x < 2, far + 8 * b + 24 * c, 0)) / 6

    return kernel


# Name -> (radius in pixels, weight of a pixel at a distance)
KERNELS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "bilinear": (1, lambda x: np.maximum(0, 1 - x)),
    "bicubic": (2, _cubic(0, 0.5)),
    "mitchellcubic": (2, _cubic(1 / 3, 1 / 3)),
    "gaussian": (2, lambda x: np.where(x < 1.5, np.exp(-2 * x**2), 0)),
    "lanczos3": (3, _lanczos(3)),
    "lanczos5": (5, _lanczos(5)),
}
INTERPOLATIONS = ("nearest", "area", *KERNELS)


def _taps(size: int, wanted: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """The old pixels that each new one along an axis is made of, and their weights: [wanted, n]."""
    scale, new = size / wanted, np.arange(wanted)[:, None]
    if interpolation == "nearest":
        return np.floor((new + 0.5) * scale).astype(int), np.ones((wanted, 1), "float32")
    if interpolation == "area":  # how much of an old pixel the new one covers
        old = np.floor(new * scale).astype(int) + np.arange(math.ceil(scale) + 1)
        weights = np.minimum(old + 1, (new + 1) * scale) - np.maximum(old, new * scale)
        weights = np.maximum(weights, 0)
    else:
        radius, kernel = KERNELS[interpolation]
        centre = (new + 0.5) * scale - 0.5
        old = np.floor(centre).astype(int) + np.arange(1 - radius, radius + 1)
        weights = kernel(np.abs(centre - old))
    weights = np.where((old >= 0) & (old < size), weights, 0)
    weights = weights / weights.sum(1, keepdims=True)
    return np.clip(old, 0, size - 1), weights.astype("float32")


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """[..., H, W, C] -> float32 [..., *size, C].

    >>> resize(np.array([[[0.0], [4.0]]]), (1, 4))[0, :, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    _chosen("interpolation", interpolation, INTERPOLATIONS)
    x = np.asarray(image, "float32")
    for axis, wanted in ((-3, size[0]), (-2, size[1])):
        if x.shape[axis] == wanted:
            continue
        old, weights = _taps(x.shape[axis], wanted, interpolation)
        shape = (wanted, *[1] * (-axis - 1))
        parts = (
            np.take(x, o, axis) * w.reshape(shape) for o, w in zip(old.T, weights.T, strict=True)
        )
        x = sum(parts, start=np.float32(0))
    return np.asarray(x)


def smart_resize(
    x: Any,
    size: Any,
    interpolation: str = "bilinear",
    data_format: str = "channels_last",
    backend_module: Any = None,
) -> np.ndarray:
    """The middles of pictures [..., H, W, C], with the proportions of `size`, resized to it."""
    x, size = np.asarray(x), _size("size", size)
    if x.ndim not in (3, 4):
        raise ValueError(f"smart_resize: pictures have rank 3 or 4. Received shape {x.shape}")
    first = _layout(data_format) == "channels_first"
    x = np.moveaxis(x, -3, -1) if first else x
    rows, columns = _window(x.shape[-3], x.shape[-2], *size)
    found = resize(x[..., rows, columns, :], size, interpolation)
    return np.moveaxis(found, -1, -3) if first else found


def pad_resize(x: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """A picture [H, W, C] laid on a black ground of the proportions of `size`, then resized."""
    height, width = x.shape[:2]
    # The border is as wide on both sides, as in Keras: the proportions may miss by a pixel.
    top = max(0, int(width * size[0] / size[1]) - height) // 2
    left = max(0, int(height * size[1] / size[0]) - width) // 2
    return resize(np.pad(x, ((top, top), (left, left), (0, 0))), size, interpolation)
