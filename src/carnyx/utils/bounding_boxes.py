"""Bounding boxes: formats, overlaps, what cropping, padding and affine maps do, deltas to anchors.

Formats, in any case of letters: "xyxy", "yxyx", "xywh" (the corner with the least x and y, then the
size), "center_xywh", "center_yxhw" in pixels, and each after "rel_" in fractions of the image. A
function that takes "boxes" with "labels" takes a dict of them. The arithmetic is in `ops/boxes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from carnyx.core.dtypes import epsilon
from carnyx.ops import boxes as ops

ENCODINGS = ("center_xywh", "center_yxhw")


def convert_format(
    boxes: Any,
    source: str,
    target: str,
    height: Any = None,
    width: Any = None,
    dtype: Any = "float32",
) -> Any:
    """Boxes [..., 4], or a dict of "boxes" and others, from one format to another.

    Raises ValueError for an unknown format, and between pixels and fractions without the size of
    the image.

    >>> convert_format([[10, 20, 30, 50]], "xyxy", "xywh").tolist()
    [[10.0, 20.0, 20.0, 30.0]]
    """
    return _on_boxes(boxes, lambda b: ops.convert(b, source, target, height, width, dtype))


def clip_to_image_size(
    bounding_boxes: dict[str, Any],
    height: Any = None,
    width: Any = None,
    bounding_box_format: str = "xyxy",
) -> dict[str, Any]:
    """{"boxes": [..., N, 4], "labels": [..., N]} cut to the image; labels of boxes that have no
    area left are -1. Boxes in fractions need no size.

    >>> clip_to_image_size({"boxes": [[-5.0, 2.0, 4.0, 9.0]], "labels": [3]}, 8, 10)[
    ...     "boxes"
    ... ].tolist()
    [[0.0, 2.0, 4.0, 8.0]]
    """
    corners = "xyxy"
    if ops.is_relative(bounding_box_format):
        corners, height, width = "rel_xyxy", 1, 1
    elif height is None or width is None:
        raise ValueError(
            "clip_to_image_size: boxes in pixels need the image's height and width. Received: "
            f"height={height}, width={width}, bounding_box_format={bounding_box_format!r}."
        )
    boxes = ops.convert(bounding_boxes["boxes"], bounding_box_format, corners, dtype=None)
    out = ops.clip({**bounding_boxes, "boxes": boxes}, height, width)
    return out | {"boxes": ops.convert(out["boxes"], corners, bounding_box_format, dtype=None)}


def crop(
    boxes: Any, top: Any, left: Any, height: Any, width: Any, bounding_box_format: str = "xyxy"
) -> Any:
    """Boxes in pixels as seen in the part of `height` and `width` from (`top`, `left`).

    >>> crop(jnp.array([[10, 20, 50, 60]]), 10, 20, 40, 30).tolist()
    [[0, 10, 30, 40]]
    """

    def cut(corners: Any) -> Any:
        return ops.limit(corners - jnp.asarray([left, top, left, top]), height, width)

    return _on_corners("crop", boxes, bounding_box_format, cut)


def pad(
    boxes: Any,
    top: Any,
    left: Any,
    height: Any = None,
    width: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """Boxes in pixels after `top` rows and `left` columns were added before the image.

    `height` and `width` are there for Keras's signature and say nothing.

    >>> pad(jnp.array([[10, 20, 50, 60]]), 1, 2).tolist()
    [[12, 21, 52, 61]]
    """

    def moved(corners: Any) -> Any:
        return corners + jnp.asarray([left, top, left, top])

    return _on_corners("pad", boxes, bounding_box_format, moved)


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: int,
    width: int,
    center_x: Any = None,
    center_y: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """The upright boxes around turned, moved, scaled and sheared boxes [N, 4] or [B, N, 4].

    Angles are degrees; translations and the centre are fractions of W - 1 and H - 1 (the centre is
    by default 0.5); each is a number, or [B].

    >>> affine_transform(jnp.array([[0.0, 0.0, 2.0, 1.0]]), 90, 0, 0, 1, 0, 0, 5, 5).round(
    ...     4
    ... ).tolist()
    [[0.0, 2.0, 1.0, 4.0]]
    """
    numbers = [
        jnp.asarray(v, "float32")
        for v in (angle, translate_x, translate_y, scale, shear_x, shear_y)
    ]
    turn, tx, ty, factor, sx, sy = numbers
    centre = [jnp.asarray(0.5 if v is None else v) for v in (center_x, center_y)]
    matrix = ops.affine_matrix(turn, (tx, ty), factor, (sx, sy), (height, width), centre)
    if jnp.ndim(boxes) == 2 and matrix.ndim == 3:
        matrix = matrix[0] if matrix.shape[0] == 1 else matrix
    sizes = {"height": height, "width": width}
    corners = ops.convert(boxes, bounding_box_format, "xyxy", **sizes)
    return ops.convert(ops.move(corners, matrix), "xyxy", bounding_box_format, **sizes)


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: float = -1,
    image_shape: Any = None,
) -> Any:
    """Area shared / area of the union for all pairs: [..., M, 4], [..., N, 4] -> [..., M, N].

    `use_masking` puts `mask_val` where all four numbers of either box are negative.

    >>> compute_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2]], "xyxy").round(4).tolist()
    [[1.0, 0.33329999446868896]]
    """
    first, second = _corners("compute_iou", (boxes1, boxes2), bounding_box_format, image_shape)
    if first.ndim not in (2, 3) or second.ndim not in (2, 3):
        raise ValueError(
            "compute_iou: boxes are [N, 4] or [B, N, 4]. Received the shapes "
            f"{first.shape} and {second.shape}."
        )
    table = ops.iou(first[..., :, None, :], second[..., None, :, :])
    if not use_masking:
        return table
    empty1, empty2 = ((jnp.asarray(b) < 0).all(-1) for b in (boxes1, boxes2))
    return jnp.where(empty1[..., :, None] | empty2[..., None, :], mask_val, table)


def compute_ciou(
    boxes1: Any, boxes2: Any, bounding_box_format: str, image_shape: Any = None
) -> Any:
    """Complete IoU of pairs [..., 4] -> [...]: the IoU less the distance of the centres and the
    difference of the aspect ratios (Zheng et al. 2020, Distance-IoU loss).

    >>> compute_ciou([[0, 0, 2, 2]], [[0, 0, 2, 2]], "xyxy").round(4).tolist()
    [1.0]
    """
    first, second = _corners("compute_ciou", (boxes1, boxes2), bounding_box_format, image_shape)
    return ops.ciou(first, second, epsilon())


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """How boxes [..., N, 4] differ from anchors [N, 4]: the centres in sizes of the anchor, the
    logarithm of the ratio of sizes, all divided by `variance` (4 numbers).

    >>> encode_box_to_deltas([[0, 0, 2, 2]], [[1, 0, 3, 2]], "xyxy", "xyxy").tolist()
    [[0.0, 0.5, 0.0, 0.0]]
    """
    encoding, scale = _encoding(encoding_format, variance)
    size = _size(image_shape)
    deltas = ops.encode(
        ops.convert(anchors, anchor_format, encoding, *size),
        ops.convert(boxes, box_format, encoding, *size),
    )
    return deltas / scale


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """The boxes, in `box_format`, that `encode_box_to_deltas` gave these deltas for; anchors and
    deltas may be dicts of the same keys.

    >>> decode_deltas_to_boxes([[0, 0, 2, 2]], [[0.0, 0.5, 0, 0]], "xyxy", "xyxy").tolist()
    [[1.0, 0.0, 3.0, 2.0]]
    """
    encoding, scale = _encoding(encoded_format, variance)
    size = _size(image_shape)

    def decoded(anchor: Any, delta: Any) -> Any:
        anchor = ops.convert(anchor, anchor_format, encoding, *size)
        found = ops.decode(anchor, jnp.asarray(delta, "float32") * scale)
        return ops.convert(found, encoding, box_format, *size)

    if isinstance(anchors, dict):
        return {key: decoded(anchors[key], delta) for key, delta in boxes_delta.items()}
    return decoded(anchors, boxes_delta)


def _on_boxes(boxes: Any, change: Callable[[Any], Any]) -> Any:
    """`change` on boxes, or on those in a dict."""
    return {**boxes, "boxes": change(boxes["boxes"])} if isinstance(boxes, dict) else change(boxes)


def _on_corners(name: str, boxes: Any, form: str, change: Callable[[Any], Any]) -> Any:
    """`change` on corners in pixels; the result is in the format of the input."""
    if ops.is_relative(form):
        raise ValueError(
            f"{name}: boxes in fractions change with the size of the image, which is not given. "
            f"Convert them from {form!r} with convert_format first."
        )

    def changed(given: Any) -> Any:
        corners = change(ops.convert(given, form, "xyxy", dtype=None))
        return ops.convert(corners, "xyxy", form, dtype=None)

    return _on_boxes(boxes, changed)


def _size(image_shape: Any) -> tuple[Any, Any]:
    return (None, None) if image_shape is None else (image_shape[0], image_shape[1])


def _corners(name: str, boxes: Any, form: str, image_shape: Any) -> list[Any]:
    if ops.is_relative(form) and image_shape is None:
        raise ValueError(
            f"{name}: boxes in fractions ({form!r}) need image_shape=(height, width, channels)."
        )
    return [ops.convert(b, form, "xyxy", *_size(image_shape)) for b in boxes]


def _encoding(name: str, variance: Any) -> tuple[str, Any]:
    if str(name).lower() not in ENCODINGS:
        raise ValueError(f"Deltas are in one of the formats {ENCODINGS}. Received: {name!r}")
    scale = jnp.ones(4) if variance is None else jnp.asarray(variance, "float32")
    if scale.shape != (4,):
        raise ValueError(f"variance has 4 numbers, one for each delta. Received: {variance!r}")
    return name.lower(), scale


__all__ = """
    affine_transform clip_to_image_size compute_ciou compute_iou convert_format crop
    decode_deltas_to_boxes encode_box_to_deltas pad
""".split()
