"""Bounding boxes against Keras on JAX, by loops, and by going there and back."""

import itertools

import jax
import keras
import numpy as np
import pytest

from carnyx.ops import boxes as box_ops
from carnyx.utils import bounding_boxes

THEIRS = keras.utils.bounding_boxes
RNG = np.random.default_rng(0)
CORNERS = np.sort(RNG.uniform(0, 10, (2, 3, 2, 2)), 2).reshape(2, 3, 4).astype("float32")
KNOWN = [f for f in box_ops.FORMATS if f != "rel_center_yxhw"]  # Keras lacks that one
VARIANCE = [0.1, 0.1, 0.2, 0.2]
NUMBERS = [np.array(v, "float32") for v in ([30, -80], [0.3, 0], [0.4, 0.1], [2, 0.5])]


def close(found, expected, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("source", KNOWN)
def test_formats_equal_keras(source):
    boxes = THEIRS.convert_format(CORNERS, "xyxy", source, 20, 10)
    for target in KNOWN:
        found = bounding_boxes.convert_format(boxes, source.upper(), target, 20, 10)
        close(found, THEIRS.convert_format(boxes, source, target, 20, 10))


def test_formats_there_and_back():
    for source, target in itertools.product(box_ops.FORMATS, repeat=2):
        there = box_ops.convert(CORNERS, source, target, 7, 5)
        close(box_ops.convert(there, target, source, 7, 5), CORNERS, 1e-4)


def test_formats_of_dicts_and_types():
    given = {"boxes": CORNERS, "labels": np.zeros((2, 3), int)}
    found = bounding_boxes.convert_format(given, "xyxy", "yxyx", dtype="float16")
    assert found["boxes"].dtype == "float16" and found["labels"] is given["labels"]
    whole = box_ops.convert(np.array([[1, 2, 3, 4]]), "xyxy", "xywh", dtype=None)
    assert whole.dtype.kind == "i" and whole.tolist() == [[1, 2, 2, 2]]
    assert box_ops.convert(np.zeros((0, 4)), "xyxy", "rel_xywh", 3, 4).shape == (0, 4)


def test_format_errors():
    with pytest.raises(ValueError, match="Did you mean 'xyxy'"):
        bounding_boxes.convert_format(CORNERS, "xyyx", "xywh")
    with pytest.raises(ValueError, match="need the image's height and width"):
        bounding_boxes.convert_format(CORNERS, "xyxy", "rel_xywh", 3)
    with pytest.raises(ValueError, match="4 numbers on the last axis"):
        bounding_boxes.convert_format(CORNERS[..., :3], "xyxy", "xywh")
    with pytest.raises(ValueError, match="which is not given"):
        bounding_boxes.crop(CORNERS, 1, 1, 2, 2, "rel_xyxy")
    with pytest.raises(ValueError, match="need image_shape"):
        bounding_boxes.compute_iou(CORNERS, CORNERS, "rel_xyxy")
    with pytest.raises(ValueError, match="one of the formats"):
        bounding_boxes.encode_box_to_deltas(CORNERS, CORNERS, "xyxy", "xyxy", "xyxy")
    with pytest.raises(ValueError, match="4 numbers, one for each delta"):
        bounding_boxes.decode_deltas_to_boxes(CORNERS, CORNERS, "xyxy", "xyxy", variance=[1.0])
    with pytest.raises(ValueError, match="need the image's height"):
        bounding_boxes.clip_to_image_size({"boxes": CORNERS, "labels": CORNERS[..., 0]})


def test_cutting_equals_keras():
    boxes = np.array(
        [[-10, -20, 150, 160], [50, 40, 70, 80], [130, 5, 140, 9], [5, 5, 5, 9]], "int32"
    )
    given = {"boxes": boxes, "labels": np.arange(4, dtype="int32")}
    for size in ((100, 120), (60, 60)):
        found = bounding_boxes.clip_to_image_size(given, *size)
        close(found, THEIRS.clip_to_image_size(given, *size))
    close(bounding_boxes.crop(boxes, 10, 20, 40, 30), THEIRS.crop(boxes, 10, 20, 40, 30))
    close(bounding_boxes.pad(boxes, 10, 20), THEIRS.pad(boxes, 10, 20))
    relative = {"boxes": (boxes / 100).astype("float32"), "labels": given["labels"]}
    found = bounding_boxes.clip_to_image_size(relative, bounding_box_format="rel_xyxy")
    close(found, THEIRS.clip_to_image_size(relative, bounding_box_format="rel_xyxy"))


@pytest.mark.parametrize("form", ["xywh", "center_yxhw", "yxyx"])
def test_cutting_in_other_formats_is_cutting_corners(form):
    there = box_ops.convert(CORNERS, "xyxy", form)
    for name, numbers in (("crop", (1, 2, 4, 3)), ("pad", (1, 2))):
        act = getattr(bounding_boxes, name)
        back = box_ops.convert(act(there, *numbers, bounding_box_format=form), form, "xyxy")
        close(back, act(CORNERS, *numbers))
    one_hot = {"boxes": there[:1, :2] + 100, "labels": np.eye(2)[None]}
    found = bounding_boxes.clip_to_image_size(one_hot, 10, 10, form)
    assert (np.asarray(found["labels"]) == -1).all()


@pytest.mark.parametrize(("shear_x", "shear_y"), [(0, 0), (10, 0), (0, 20), (10, 20)])
def test_affine_equals_keras(shear_x, shear_y):
    shears = [np.array([s, -s], "float32") for s in (shear_x, shear_y)]
    for centre in ((None, None), (0.2, 0.3)):
        arguments = (CORNERS, *NUMBERS, *shears, 50, 60, *centre)
        expected = THEIRS.affine_transform(*arguments)
        close(bounding_boxes.affine_transform(*arguments), expected, 1e-4)


def test_affine_maps_exactly():
    boxes = np.array([[0.0, 0, 2, 1]], "float32")
    turned = bounding_boxes.affine_transform(boxes, 90, 0, 0, 1, 0, 0, 5, 5)
    np.testing.assert_allclose(turned, [[0, 2, 1, 4]], atol=1e-6)  # (x, y) to (y, 4 - x)
    there = box_ops.convert(boxes, "xyxy", "rel_center_xywh", 5, 5)
    arguments = (90, 0, 0, 1, 0, 0, 5, 5)
    back = bounding_boxes.affine_transform(there, *arguments, bounding_box_format="rel_center_xywh")
    np.testing.assert_allclose(
        box_ops.convert(back, "rel_center_xywh", "xyxy", 5, 5), turned, atol=1e-6
    )


def iou_by_counting(a, b):
    """Overlap of boxes with whole corners, cell by cell."""

    def cells(box):
        x1, y1, x2, y2 = (int(v) for v in box)
        return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}

    both, either = cells(a) & cells(b), cells(a) | cells(b)
    return len(both) / len(either) if either else 0


def test_iou_by_counting_cells():
    boxes = np.sort(RNG.integers(0, 7, (12, 2, 2)), 1).reshape(12, 4)
    found = bounding_boxes.compute_iou(boxes[:5], boxes[5:], "xyxy")
    expected = [[iou_by_counting(a, b) for b in boxes[5:]] for a in boxes[:5]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    batched = bounding_boxes.compute_iou(boxes[None, :5], boxes[5:], "xyxy")
    np.testing.assert_array_equal(batched[0], found)


def test_iou_equals_keras():
    boxes = np.array([[0, 0, 4, 4], [1, 2, 5, 9], [-1, -1, -1, -1]], "float32")
    for options in ({}, {"use_masking": True}, {"use_masking": True, "mask_val": -7}):
        for form in ("xyxy", "rel_yxyx"):
            options["image_shape"] = (10, 20, 3)
            # Keras fails where one is batched, the other is not, and masks are asked for
            given = CORNERS[0] if "use_masking" in options else CORNERS
            found = bounding_boxes.compute_iou(given, boxes, form, **options)
            close(found, THEIRS.compute_iou(given, boxes, form, **options))


def test_ciou_equals_keras():
    other = CORNERS + np.array([1, 0, 2, 1], "float32")
    for form in ("xyxy", "xywh"):
        found = bounding_boxes.compute_ciou(CORNERS, other, form)
        close(found, THEIRS.compute_ciou(CORNERS, other, form))
    small, shape = CORNERS / 10, (10, 10, 3)
    found = bounding_boxes.compute_ciou(small, other / 10, "rel_xyxy", shape)
    close(found, bounding_boxes.compute_ciou(CORNERS, other, "xyxy"), 1e-4)


@pytest.mark.parametrize("encoding", bounding_boxes.ENCODINGS)
@pytest.mark.parametrize("variance", [None, VARIANCE])
def test_deltas_equal_keras_and_invert(encoding, variance):
    anchors, boxes = CORNERS[0], CORNERS[1:]
    form = ("xyxy", "rel_xywh", encoding, variance, (10, 20, 3))
    deltas = bounding_boxes.encode_box_to_deltas(anchors, boxes, *form)
    close(deltas, THEIRS.encode_box_to_deltas(anchors, boxes, *form), 1e-4)
    back = bounding_boxes.decode_deltas_to_boxes(anchors, deltas, *form)
    close(back, boxes, 1e-4)
    levels = bounding_boxes.decode_deltas_to_boxes({"p": anchors}, {"p": deltas}, *form)
    np.testing.assert_array_equal(levels["p"], back)
