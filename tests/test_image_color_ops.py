"""Colour operations against colorsys, SciPy, Keras on JAX, and by their own identities."""

import colorsys
import functools
import inspect
from typing import Any

import keras
import numpy as np
import pytest
from scipy import ndimage

import carnyx
from carnyx.ops import image_color as ours
from tests.cases.image_color import quickly

theirs = keras.ops.image
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(2, 12, 13, 3)).astype("float32")
# primaries, mixtures of two, greys, and colours in which two channels are equal
PURE = np.array(np.meshgrid(*[[0, 0.25, 1]] * 3), "float32").reshape(3, 9, 3).transpose(1, 2, 0)
COLOURS = ("rgb_to_grayscale", "rgb_to_hsv", "hsv_to_rgb", "gaussian_blur", "sobel_edges")


def gaussian(size, sigma):
    place = np.arange(size) - (size - 1) / 2
    height = np.exp(-(place**2) / 2 / sigma**2)
    return height / height.sum()


@pytest.mark.parametrize("name", ("rgb_to_hsv", "hsv_to_rgb"))
def test_hsv_is_that_of_colorsys(name):
    x = np.concatenate([PURE.reshape(-1, 3), X.reshape(-1, 3)])[None]
    one = getattr(colorsys, name)
    wanted = np.array([one(*map(float, pixel)) for pixel in x[0]])[None]
    np.testing.assert_allclose(getattr(ours, name)(x), wanted, atol=3e-7)


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("data_format", ("channels_last", "channels_first"))
def test_equals_keras(name, data_format):
    x = X if data_format == "channels_last" else X.transpose(0, 3, 1, 2)
    operation = functools.partial(getattr(ours, name), data_format=data_format)
    found, single, wanted = quickly(
        lambda x: (
            operation(x),
            operation(x[1]),
            getattr(theirs, name)(x, data_format=data_format),
        ),
        x,
    )
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(single, found[1], atol=1e-6)
    shape = operation(carnyx.KerasTensor((None, *x.shape[1:])))
    assert shape.shape == (None, *found.shape[1:])


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("dtype", ("uint8", "bfloat16"))
def test_types(name, dtype):
    x = (X * (1 if "float" in dtype else 255)).astype("float32")
    x = carnyx.ops.cast(x, dtype)
    if "hsv" in name and "float" not in dtype:
        with pytest.raises(ValueError, match="divide by 255 first"):
            getattr(ours, name)(x)
        return
    operation = getattr(ours, name)
    found, exact = quickly(lambda x: (operation(x), operation(x.astype("float32"))), x)
    kinds = {"gaussian_blur": "float32", "sobel_edges": "int32", "rgb_to_grayscale": dtype}
    assert found.dtype == (dtype if "float" in dtype else kinds[name])
    scale = np.abs(exact).max()
    # float types round the result once, to 2^-9 of it at most; whole ones cut it
    rounding = scale * 2**-8 if "float" in dtype else 1.0 if found.dtype != "float32" else 0
    np.testing.assert_allclose(np.asarray(found).astype("float32"), exact, atol=rounding)


def test_grey_of_whole_numbers_is_keras_own():
    x = RNG.integers(0, 256, (1, 16, 16, 3)).astype("uint8")
    np.testing.assert_array_equal(ours.rgb_to_grayscale(x), theirs.rgb_to_grayscale(x))
    np.testing.assert_array_equal(ours.rgb_to_grayscale(x[..., :1]), x[..., :1])


@pytest.mark.parametrize("sizes", [(3, 5), (4, 2), (1, 7)])
@pytest.mark.parametrize("sigmas", [(1.0, 1.0), (0.4, 2.5)])
def test_blur_is_scipys(sizes, sigmas):
    kernel = np.outer(*map(gaussian, sizes, sigmas))
    origin: Any = tuple(-1 if n % 2 == 0 else 0 for n in sizes)
    wanted = [
        [ndimage.correlate(c, kernel, mode="constant", origin=origin) for c in image]
        for image in X.transpose(0, 3, 1, 2).astype(float)
    ]
    found = quickly(lambda x: ours.gaussian_blur(x, sizes, sigmas), X).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    # Keras 3.15 takes (width, height) where it says (height, width)
    swapped = quickly(
        lambda x: theirs.gaussian_blur(x, sizes[::-1], sigmas[::-1], "channels_last"), X
    )
    np.testing.assert_allclose(found, np.asarray(swapped).transpose(0, 3, 1, 2), atol=1e-6)


def test_wide_blur_is_gaussian_filter():
    wanted = ndimage.gaussian_filter(X[0].astype(float), (1.5, 0.8, 0), mode="constant", truncate=6)
    found = quickly(lambda x: ours.gaussian_blur(x, (19, 11), (1.5, 0.8)), X[0])
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_narrow_blur_changes_nothing():
    np.testing.assert_array_equal(ours.gaussian_blur(X, (5, 3), (1e-9, 1e-9)), X)
    pairs = np.asarray(ours.gaussian_blur(X, (2, 1), (1e-9, 1.0)))  # no point at the centre
    np.testing.assert_allclose(pairs[:, :-1], (X[:, 1:] + X[:, :-1]) / 2, atol=1e-6)


def test_sobel_is_scipys():
    found = np.asarray(ours.sobel_edges(X))
    for axis in (0, 1):
        wanted = [
            [ndimage.sobel(c, axis, mode="constant") for c in image]
            for image in X.transpose(0, 3, 1, 2).astype(float)
        ]
        np.testing.assert_allclose(found[..., axis].transpose(0, 3, 1, 2), wanted, atol=1e-5)


@pytest.mark.parametrize("kwargs", [{}, {"filter_size": 4, "filter_sigma": 0.7, "k2": 0.1}])
def test_similarity_equals_keras(kwargs):
    noisy = np.clip(X + RNG.normal(scale=0.2, size=X.shape), 0, 1).astype("float32")
    found, wanted = quickly(lambda *x: [m.ssim(*x, **kwargs) for m in (ours, theirs)], X, noisy)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_similarity_of_other_forms():
    noisy = np.clip(X + RNG.normal(scale=0.2, size=X.shape), 0, 1).astype("float32")
    found = quickly(ours.ssim, X, noisy)
    np.testing.assert_allclose(quickly(ours.ssim, X[0], noisy[0]), found[0], rtol=1e-5)
    first = [x.transpose(0, 3, 1, 2) for x in (X, noisy)]
    moved = quickly(functools.partial(ours.ssim, data_format="channels_first"), *first)
    np.testing.assert_allclose(moved, found, rtol=1e-5)
    bytes_of = [(x * 255).astype("uint8") for x in (X, noisy)]
    scaled = quickly(functools.partial(ours.ssim, max_val=255), *bytes_of)
    np.testing.assert_allclose(scaled, found, atol=5e-3)  # bytes hold 1 / 255
    np.testing.assert_allclose(quickly(ours.ssim, X, X), [1, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ours.rgb_to_hsv(X[0, 0]), r"\[H, W, C\] or \[B, H, W, C\].*\(13, 3\)"),
        (lambda: ours.rgb_to_hsv(X[..., :2]), "3 channels. Received 2"),
        (lambda: ours.hsv_to_rgb(X, data_format="channels_first"), "3 channels. Received 12"),
        (lambda: ours.rgb_to_grayscale(X[..., :2]), "3 or 1 channels"),
        (lambda: ours.rgb_to_hsv(X, data_format="last"), "data_format must be"),
        (lambda: ours.gaussian_blur(X, (0, 3)), r"kernel_size=\(0, 3\)"),
        (lambda: ours.gaussian_blur(X, sigma=(1.0, 0.0)), "above 0"),
        (lambda: ours.ssim(X, X[:1]), "one shape.*12, 13, 3.*1, 12"),
        (lambda: ours.ssim(X, X, filter_size=13), "from filter_size=13"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_empty_batches():
    empty = np.zeros((0, 12, 13, 3), "float32")
    for name in ("rgb_to_hsv", "gaussian_blur"):
        assert quickly(getattr(ours, name), empty).shape == empty.shape
    assert quickly(ours.ssim, empty, empty).shape == (0,)


def test_signatures_are_keras_own():
    for name in ours.__all__:
        mine, wanted = (
            [(p.name, p.default, p.kind) for p in inspect.signature(f).parameters.values()]
            for f in (getattr(carnyx.ops.image, name), getattr(theirs, name))
        )
        assert mine == wanted, name
    assert len(ours.__all__) == 6
