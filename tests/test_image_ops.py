"""Operations that move pixels, against Keras on JAX, SciPy and by exact identities."""

import inspect

import jax
import keras
import numpy as np
import pytest
from scipy import ndimage

import carnyx
from carnyx.ops import image

THEIRS = keras.ops.image
RNG = np.random.default_rng(0)
X = RNG.uniform(0, 255, (2, 7, 9, 3)).astype("float32")
RAMP = np.stack(np.meshgrid(np.arange(11.0), np.arange(9.0)), -1).astype("float32")  # x, y


QUICK = {"xla_backend_optimization_level": 0}  # compiling is what takes the time


def quick(function, *args):
    """The result of a function compiled once, without optimisations."""
    return jax.jit(function, compiler_options=QUICK)(*args)


def equal(name, x, *rest, atol=1e-3, **options):
    """Holds an operation against Keras's of the same name."""
    found, expected = quick(
        lambda x: tuple(getattr(m, name)(x, *rest, **options) for m in (image, THEIRS)), x
    )
    close(found, expected, atol)


def close(found, expected, atol=1e-3):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=atol)


def test_signatures_equal_keras():
    for name in image.__all__:
        ours, theirs = (inspect.signature(getattr(m, name)) for m in (image, THEIRS))
        assert [(p.name, p.default) for p in ours.parameters.values()] == [
            (p.name, p.default) for p in theirs.parameters.values()
        ]


@pytest.mark.parametrize("interpolation", list(image.METHODS))
@pytest.mark.parametrize("antialias", [False, True])
def test_resize_equals_keras(interpolation, antialias):
    options = {"interpolation": interpolation, "antialias": antialias}
    equal("resize", X, (4, 12), **options)


@pytest.mark.parametrize("kind", ["uint8", "int32", "float16"])
def test_resize_keeps_the_type(kind):
    x = X.astype(kind)
    for interpolation in ("nearest", "bicubic"):
        # Keras computes halves in float16: two roundings to 11 bits of numbers up to 255
        equal("resize", x, (5, 6), interpolation, atol=0.5 if kind == "float16" else 0)


SIZES = [((7, 9), (4, 4)), ((7, 9), (9, 4)), ((5, 7), (8, 4)), ((9, 5), (3, 11)), ((6, 6), (3, 3))]


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_resize_keeps_the_aspect_ratio_as_keras(size, target):
    x = RNG.uniform(size=(*size, 1)).astype("float32")
    for options in ({"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}):
        options["fill_value"] = 0.3
        equal("resize", x, target, **options)


def test_crop_and_pad_equal_keras():
    for numbers in ((1, 2, 1, 1), (1, 2, None, None, 2, 3), (None, None, 1, 1, 2, 3)):
        equal("crop_images", X, *numbers)
    for numbers in ((1, 2, 1, 0), (1, 2, None, None, 9, 13), (None, None, 0, 1, 9, 13)):
        for x in (X, X[0].astype("uint8")):
            equal("pad_images", x, *numbers)


PATCHES = [
    ((2,), {}),
    (((2, 3), 1), {}),
    (((2, 3), (1, 2)), {"padding": "same"}),
    ((2, 1, 2), {}),
    (((3, 2), 2), {"padding": "same"}),
    ((3,), {"padding": "same"}),
]


@pytest.mark.parametrize(("arguments", "options"), PATCHES)
def test_patches_equal_keras(arguments, options):
    for x in (X, X[0]):
        equal("extract_patches", x, *arguments, **options)


def test_patches_of_volumes_equal_keras():
    v = RNG.uniform(size=(2, 4, 5, 6, 2)).astype("float32")
    for arguments, options in (((2,), {}), (((2, 1, 3), 1), {"padding": "same"})):
        equal("extract_patches_3d", v, *arguments, **options)
    whole = image.extract_patches(v[0], (4, 5, 6))
    np.testing.assert_array_equal(whole.ravel(), v[0].ravel())


COORDINATES = RNG.uniform(-20, 25, (2, 40))
# SciPy's names of the same extensions ("wrap" there repeats one element less)
SCIPY = {"constant": "grid-constant", "wrap": "grid-wrap"}


@pytest.mark.parametrize("mode", image.FILL_MODES)
@pytest.mark.parametrize("order", [0, 1])
def test_map_coordinates_equals_scipy(mode, order):
    x = X[0, ..., 0].astype("float64")
    found = quick(
        lambda at: image.map_coordinates(x.astype("float32"), at, order, mode, -5), COORDINATES
    )
    expected = ndimage.map_coordinates(
        x, COORDINATES, order=order, mode=SCIPY.get(mode, mode), cval=-5
    )
    # coordinates in float32: an error of 2^-20 pixels at 20, times steps of up to 255
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("mode", image.FILL_MODES)
def test_map_coordinates_equals_keras(mode):
    volume = RNG.integers(0, 255, (3, 4, 5), dtype="uint8")
    places = RNG.uniform(-4, 8, (3, 6, 2)).astype("float32")
    halves = np.array([[-0.5, 0.5, 1.5], [2.5, 3.5, -0.5], [0.5, 4.5, 1.5]], "float32")
    # outside Keras rounds a half after it has folded it, we before: there a tie is each one's own
    rows = [(0, places), (1, places), (1, halves)] + [(0, halves)] * (mode == "constant")
    for order, at in rows:
        equal("map_coordinates", volume, at, order, mode, 7, atol=0)


TRANSFORMS = np.array(
    [[1.5, 0.1, -2, 0.2, 0.7, 1, 0, 0], [0.8, -0.6, 3, 0.6, 0.8, -1, 0, 0]], "float32"
)


@pytest.mark.parametrize("mode", image.FILL_MODES)
@pytest.mark.parametrize("interpolation", list(image.ORDERS))
def test_affine_equals_keras(mode, interpolation):
    equal("affine_transform", X, TRANSFORMS, interpolation, mode, 9, atol=1e-2)


def test_affine_of_other_forms():
    def forms(x):
        one, many = TRANSFORMS[0], TRANSFORMS
        whole, single = image.affine_transform(x, one), image.affine_transform(x[1], many[:1])
        first = image.affine_transform(x.transpose(0, 3, 1, 2), one, data_format="channels_first")
        half = image.affine_transform(x.astype("float16"), many)
        return whole, single, first.transpose(0, 2, 3, 1), image.affine_transform(x, many), half

    whole, single, first, many, half = quick(forms, X)
    close(whole[1], single)
    np.testing.assert_array_equal(first, whole)
    np.testing.assert_allclose(half, many, atol=0.2)
    assert half.dtype == "float16"
    equal("affine_transform", X.astype("uint8"), TRANSFORMS, atol=0)


def test_affine_identities():
    identity = np.array([1, 0, 0, 0, 1, 0, 0, 0], "float32")
    quarter = np.array([0, -1, 6, 1, 0, 0, 0, 0], "float32")  # reads (6 - y, x)
    projective = np.array([1, 0, 0, 0, 1, 0, 0.1, 0.05], "float32")
    square = X[:, :, :7]
    given = ((X, identity), (square, quarter), (RAMP, projective))
    same, turned, seen = quick(lambda g: [image.affine_transform(*pair) for pair in g], given)
    np.testing.assert_array_equal(same, X)
    np.testing.assert_array_equal(turned, np.rot90(square, 1, (1, 2)))
    k = 1 + 0.1 * RAMP[..., :1] + 0.05 * RAMP[..., 1:]
    np.testing.assert_allclose(seen, RAMP / k, rtol=1e-5, atol=1e-5)


CORNERS = np.array([[0.0, 0], [10, 0], [0, 8], [10, 8]], "float32")
MOVED = CORNERS + np.array([[1, 0.5], [-1, 1], [0.6, -1], [-1.5, -2]], "float32")


@pytest.mark.parametrize("interpolation", list(image.ORDERS))
def test_perspective_equals_keras(interpolation):
    x = np.stack([RAMP, RAMP**2])
    points = [np.stack([p, p + 1]) for p in (CORNERS, MOVED)]
    equal("perspective_transform", x, *points, interpolation, 3.0, atol=2e-3)


@pytest.mark.parametrize("size", [10.0, 4000.0])
def test_homography_takes_points_to_points(size):
    start, end = CORNERS / 10 * size, MOVED / 10 * size
    matrix = np.asarray(quick(image.homography, start, end))
    mapped = np.concatenate([start, np.ones((4, 1))], 1) @ matrix.T
    np.testing.assert_allclose(mapped[:, :2] / mapped[:, 2:], end, atol=2e-6 * size)


def test_elastic_displacements():
    key = np.array([3, 0], "uint32")
    sigma = np.array([1.0, 3, 3, 6], "float32")
    fields = quick(lambda s: image.displacements(key, (4, 96, 128), 2.0, s), sigma)
    for field in fields:
        # 2 / sqrt(4 pi), the error of a mean over some hundred independent places
        np.testing.assert_allclose(np.std(field[:3], (1, 2)), 0.564, rtol=0.12)
    both = np.corrcoef(np.ravel(fields[0]), np.ravel(fields[1]))[0, 1]
    assert abs(both) < 0.1
    for axis in (0, 1):  # a Gaussian of sigma 3 correlates places d apart by exp(-d^2 / 36)
        z = np.moveaxis(np.asarray(fields[0][1]), axis, 0)
        found = [np.corrcoef(z[:-d].ravel(), z[d:].ravel())[0, 1] for d in (1, 4)]
        np.testing.assert_allclose(found, np.exp(-np.array([1, 16]) / 36), atol=0.06)
    noise = np.asarray(jax.random.normal(key, (4, 96, 128)))
    expected = ndimage.gaussian_filter(noise[1], 3, mode="constant", truncate=3)
    expected = 2 * 3 * expected
    np.testing.assert_allclose(fields[0][1], expected, atol=1e-4)


def test_elastic_transform():
    options = {"interpolation": "bilinear", "fill_mode": "nearest", "seed": 4}
    found = quick(lambda x: image.elastic_transform(x, 0.5, 2.0, **options), RAMP)
    expected = THEIRS.elastic_transform(RAMP, 0.5, 2.0, **options)
    key = np.array([4, 0], "uint32")
    x, y = quick(lambda k: image.displacements(k, (1, 9, 11), 0.5, 2.0), key)
    moved = np.clip(RAMP + np.stack([x[0], y[0]], -1), 0, [10, 8])
    np.testing.assert_allclose(found, moved, atol=1e-5)
    np.testing.assert_allclose(found[..., 0], expected[..., 0], atol=1e-4)  # in x; y is our own
    still = quick(lambda x: image.elastic_transform(x, 0.0, seed=1), X.astype("uint8"))
    np.testing.assert_array_equal(still, X.astype("uint8"))


@pytest.mark.parametrize("method", ["linear", "bicubic", "lanczos3"])
def test_scale_and_translate_equals_keras(method):
    for x in (X[0, ..., 0], X[0, ..., 0].astype("int32")):
        scale, translation = np.array([0.5, 1.4], "float32"), np.array([0.3, -1.0], "float32")
        equal("scale_and_translate", x, (5, 12), scale, translation, (0, 1), method)


def test_symbols():
    x = carnyx.KerasTensor((None, 8, 10, 3), "uint8")
    resized = image.resize(x, (4, 5))
    assert resized.shape == (None, 4, 5, 3) and resized.dtype == "uint8"
    assert image.extract_patches(x, 2).shape == (None, 4, 5, 12)
    assert image.affine_transform(x, TRANSFORMS[0]).shape == (None, 8, 10, 3)


def test_gradient_of_sampling_is_the_finite_difference():
    direction = RNG.normal(size=X.shape).astype("float32")

    def energy(step):
        return (image.affine_transform(X + step * direction, TRANSFORMS) * X).sum()

    slope, low, high = quick(lambda t: (jax.grad(energy)(t), energy(t), energy(t + 1)), 0.0)
    np.testing.assert_allclose(slope, high - low, rtol=1e-2)


ERRORS = [
    (lambda: image.resize(X[0, 0], (3, 4)), "images are"),
    (lambda: image.resize(X, 3), "size is"),
    (lambda: image.resize(X, (0, 4)), "size is"),
    (lambda: image.resize(X, (3, 4), "bilinaer"), "Did you mean 'bilinear'"),
    (lambda: image.resize(X, (3, 4), fill_mode="wrap"), "fill_mode is one of 'constant'"),
    (lambda: image.resize(X, (3, 4), "nearest", False, True, True), "exclude each other"),
    (lambda: image.map_coordinates(X, np.zeros((3, 2)), 1), "one row for each axis"),
    (lambda: image.map_coordinates(X, np.zeros((4, 2)), 2), "order is one of"),
    (lambda: image.affine_transform(X, np.zeros(6)), "8 numbers"),
    (lambda: image.affine_transform(X, np.zeros((3, 8))), "3 for 2 images"),
    (lambda: image.affine_transform(X, TRANSFORMS, "cubic"), "interpolation is one of"),
    (lambda: image.perspective_transform(X, CORNERS[:3], CORNERS), "start_points are"),
    (lambda: image.crop_images(X, 1), "exactly two are given"),
    (lambda: image.crop_images(X, 1, 1, 9, 1), "not negative"),
    (lambda: image.crop_images(X, 1, 1, target_height=9, target_width=2), "not negative"),
    (lambda: image.pad_images(X, 1, 1, target_height=3, target_width=3), "not negative"),
    (lambda: image.extract_patches(X, 2.5), "size is a whole number"),
    (lambda: image.extract_patches(X, 2, padding="full"), "padding is one of"),
    (lambda: image.extract_patches_3d(X[0], 2), "D, H, W"),
    (lambda: image.scale_and_translate(X, (1,), [1.0], [1.0], (0,), "nearest"), "method is one of"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_empty_batches():
    none = np.zeros((0, 4, 5, 3), "float32")
    assert image.resize(none, (2, 3)).shape == (0, 2, 3, 3)
    assert image.affine_transform(none, TRANSFORMS[0]).shape == (0, 4, 5, 3)
    assert image.extract_patches(none, 2).shape == (0, 2, 2, 12)
    assert image.extract_patches(X, 20).shape == (2, 0, 0, 1200)


def test_both_halves_are_in_one_module():
    assert carnyx.ops.image is image
    with pytest.raises(AttributeError, match="Did you mean 'resize'"):
        image.resise  # noqa: B018
