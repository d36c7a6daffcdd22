"""Bounding boxes [..., 4]: formats, cutting to an image, affine maps, overlaps, deltas.

The public names with Keras's arguments are in `utils/bounding_boxes.py`; the layers that move
pixels are in `layers/image_geometry.py`. All is done on corners, "xyxy" in pixels: x1, y1, x2, y2.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.ops.table import choose

# The four numbers of a format as corners, and back; "rel_" before a name divides x by the width of
# the image and y by its height.
_TO_CORNERS = {
    "xyxy": lambda a, b, c, d: (a, b, c, d),
    "yxyx": lambda a, b, c, d: (b, a, d, c),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "center_xywh": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
    "center_yxhw": lambda y, x, h, w: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
}
_FROM_CORNERS = {
    "xyxy": lambda a, b, c, d: (a, b, c, d),
    "yxyx": lambda a, b, c, d: (b, a, d, c),
    "xywh": lambda a, b, c, d: (a, b, c - a, d - b),
    "center_xywh": lambda a, b, c, d: ((a + c) / 2, (b + d) / 2, c - a, d - b),
    "center_yxhw": lambda a, b, c, d: ((b + d) / 2, (a + c) / 2, d - b, c - a),
}
FORMATS = (*_TO_CORNERS, *(f"rel_{name}" for name in _TO_CORNERS))


def standardize(name: Any) -> str:
    """The name of a format in lower case; raises ValueError for one that is not there."""
    word = name.lower() if isinstance(name, str) else name
    return choose("Boxes", "bounding_box_format", word, FORMATS)


def is_relative(name: str) -> bool:
    """Whether a format counts in fractions of the image."""
    return standardize(name).startswith("rel_")


def convert(
    boxes: Any,
    source: str,
    target: str,
    height: Any = None,
    width: Any = None,
    dtype: Any = "float32",
) -> Any:
    """Boxes [..., 4] of one format in another; `height` and `width` are those of the image, and
    needed between pixels and fractions only. `dtype=None` keeps integers where they stay exact.

    >>> convert([[1, 2, 5, 8]], "xyxy", "rel_center_xywh", 10, 20).tolist()
    [[0.15000000596046448, 0.5, 0.20000000298023224, 0.6000000238418579]]
    """
    source, target = standardize(source), standardize(target)
    boxes = jnp.asarray(boxes, None if dtype is None else dtypes.standardize_dtype(dtype))
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"Boxes have 4 numbers on the last axis. Received shape {boxes.shape}.")
    corners = _TO_CORNERS[source.removeprefix("rel_")](*(boxes[..., i] for i in range(4)))
    if is_relative(source) != is_relative(target):
        if height is None or width is None:
            raise ValueError(
                f"Boxes from {source!r} to {target!r} need the image's height and width, as one "
                f"is in pixels and the other is not. Received: height={height}, width={width}."
            )
        sizes = (width, height, width, height)
        scaled = zip(corners, sizes, strict=True)
        corners = [c * size if is_relative(source) else c / size for c, size in scaled]
    values = _FROM_CORNERS[target.removeprefix("rel_")](*corners)
    # made of integers, a half in a quotient makes all four floats
    return jnp.stack(jnp.broadcast_arrays(*values), -1).astype(dtype or jnp.result_type(*values))


def limit(corners: Any, height: Any, width: Any) -> Any:
    """Corners moved to the edge of the image where they lie outside."""
    most = jnp.asarray([width, height, width, height])
    return jnp.clip(corners, 0, most.astype(corners.dtype))


def clip(boxes: dict[str, Any], height: Any, width: Any) -> dict[str, Any]:
    """{"boxes": corners, "labels": ...} cut to the image; the label of a box without area is -1.

    >>> clip({"boxes": jnp.array([[-5, 2, 4, 9], [12, 0, 15, 3]]), "labels": [3, 4]}, 8, 10)[
    ...     "labels"
    ... ].tolist()
    [3, -1]
    """
    corners = limit(jnp.asarray(boxes["boxes"]), height, width)
    out = {**boxes, "boxes": corners}
    if "labels" in boxes:
        labels = jnp.asarray(boxes["labels"])
        seen = (corners[..., 2] > corners[..., 0]) & (corners[..., 3] > corners[..., 1])
        seen = seen.reshape(seen.shape + (1,) * (labels.ndim - seen.ndim))  # one-hot labels too
        out["labels"] = jnp.where(seen, labels, -1)
    return out


def move(corners: Any, matrix: Any) -> Any:
    """The upright boxes around boxes under projective maps: [..., N, 4], matrices [..., 3, 3].

    A matrix maps the point (x, y) to (u, v) / w with (u, v, w) = matrix (x, y, 1).
    """
    x1, y1, x2, y2 = (corners[..., i] for i in range(4))
    x, y = jnp.stack([x1, x2, x2, x1], -1), jnp.stack([y1, y1, y2, y2], -1)  # [..., N, 4]
    points = jnp.stack([x, y, jnp.ones_like(x)], -1)
    u, v, w = jnp.moveaxis(jnp.einsum("...nki,...ji->...nkj", points, matrix), -1, 0)
    x, y = u / w, v / w
    return jnp.stack([x.min(-1), y.min(-1), x.max(-1), y.max(-1)], -1)


def affine_matrix(
    angle: Any, translate: Any, scale: Any, shear: Any, size: Any, centre: Any
) -> Any:
    """Matrices [B, 3, 3] that turn by `angle` degrees (counter-clockwise as one sees it), shear by
    two angles in degrees and scale about `centre`, after moving by `translate`.

    Pairs are (x, y); translations and the centre are fractions of (W - 1, H - 1), size is (H, W).
    """
    angle, shear_x, shear_y = (jnp.deg2rad(a) for a in (angle, *shear))
    far = size[1] - 1, size[0] - 1
    cx, cy = (c * f for c, f in zip(centre, far, strict=True))
    tx, ty = (t * f for t, f in zip(translate, far, strict=True))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    # The signs are Keras's: with both an angle and a shear in x this is no product of the two.
    lower = sin - cos * jnp.tan(shear_y), cos + sin * jnp.tan(shear_y)
    a, b = (scale * (r + jnp.tan(shear_x) * s) for r, s in zip((cos, sin), lower, strict=True))
    c, d = -scale * lower[0], scale * lower[1]
    x, y = tx - cx, ty - cy
    last = jnp.zeros_like(a), jnp.zeros_like(a), jnp.ones_like(a)
    rows = (a, b, a * x + b * y + cx), (c, d, c * x + d * y + cy), last
    return jnp.stack([jnp.stack(jnp.broadcast_arrays(*row), -1) for row in rows], -2)


def area(corners: Any) -> Any:
    """Width times height."""
    return (corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1])


def intersection(corners1: Any, corners2: Any) -> Any:
    """The area that boxes share, element by element."""
    low = jnp.maximum(corners1[..., :2], corners2[..., :2])
    high = jnp.minimum(corners1[..., 2:], corners2[..., 2:])
    return jnp.prod(jnp.maximum(high - low, 0), -1)


def iou(corners1: Any, corners2: Any) -> Any:
    """Shared area / area of the union, element by element; 0 where the union is empty."""
    shared = intersection(corners1, corners2)
    union = area(corners1) + area(corners2) - shared
    return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1), 0)


def ciou(corners1: Any, corners2: Any, epsilon: float) -> Any:
    """iou - (distance of centres)^2 / (diagonal of the hull)^2 - alpha v, with
    v = 4 / pi^2 (atan(w2 / h2) - atan(w1 / h1))^2, alpha = v / (1 - iou + v) (Zheng et al. 2020).
    """
    first, second = (convert(c, "xyxy", "center_xywh") for c in (corners1, corners2))
    shared = intersection(corners1, corners2)
    overlap = shared / (area(corners1) + area(corners2) - shared + epsilon)
    low = jnp.minimum(corners1[..., :2], corners2[..., :2])
    high = jnp.maximum(corners1[..., 2:], corners2[..., 2:])
    diagonal = jnp.sum((high - low) ** 2, -1) + epsilon
    distance = jnp.sum((first[..., :2] - second[..., :2]) ** 2, -1)
    angles = (jnp.arctan(b[..., 2] / (b[..., 3] + epsilon)) for b in (first, second))
    v = 4 / math.pi**2 * (next(angles) - next(angles)) ** 2
    alpha = v / (1 - overlap + v + epsilon)
    return overlap - distance / diagonal - alpha * v


def encode(anchors: Any, boxes: Any) -> Any:
    """Deltas of boxes to anchors, both as centre, centre, size, size: the difference of centres in
    sizes of the anchor, and the logarithm of the ratio of sizes (Girshick et al. 2014)."""
    centre = (boxes[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    least = dtypes.epsilon()  # the logarithm of a box without area
    size = jnp.log(jnp.maximum(boxes[..., 2:], least) / anchors[..., 2:])
    return jnp.concatenate([centre, size], -1)


def decode(anchors: Any, deltas: Any) -> Any:
    """The boxes that `encode` gave these deltas for."""
    centre = deltas[..., :2] * anchors[..., 2:] + anchors[..., :2]
    return jnp.concatenate([centre, jnp.exp(deltas[..., 2:]) * anchors[..., 2:]], -1)
