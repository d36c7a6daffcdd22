"""Colour layers: Keras on JAX given the same draws, PIL, NumPy's histograms, statistics."""

import functools

import jax
import keras
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage, stats

from carnyx import layers
from carnyx.core.state import pure
from tests.cases.image_color import quickly

CLAHE = "ContrastLimitedAdaptiveHistogramEqualization"
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (3, 9, 8, 3)).astype("uint8")
BYTES[0, :3] = 77  # grey pixels, without a hue
BYTES[1, :, 0] = [255, 0, 0]
SHADES = (RNG.beta(2, 5, (2, 21, 26, 3)) * 255).astype("float32")


# ---- what Keras's layer calls our draw


def flat(x):
    return np.asarray(x)[:, 0, 0, 0]


TRANSLATE = {
    "RandomBrightness": lambda d: {"rgb_delta": d},
    "RandomContrast": lambda d: {"contrast_factor": d},
    "RandomSaturation": lambda d: {"factor": flat(d)},
    "RandomHue": lambda d: {"factor": flat(d)},
    "RandomColorDegeneration": lambda d: {"factor": d},
    "RandomGrayscale": lambda d: d,
    "RandomPosterization": lambda d: {"shift_factor": np.log2(flat(d)).astype("uint8")},
    "RandomSharpness": lambda d: {"factor": flat(d) / 2},
    "RandomInvert": lambda d: {"apply_inversion": flat(d)},
    "Solarization": lambda d: {"additions": d[0], "thresholds": d[1]},
}
ROWS = {
    "RandomBrightness": {"factor": 0.7},
    "RandomContrast": {"factor": 0.9},
    "RandomSaturation": {"factor": (0.3, 0.9)},
    "RandomHue": {"factor": 0.8},
    "RandomColorDegeneration": {"factor": 0.8},
    "RandomGrayscale": {},
    "RandomPosterization": {"factor": 7},
    "RandomSharpness": {"factor": 1.0},
    "RandomInvert": {},
    "Solarization": {"addition_factor": 0.5, "threshold_factor": 0.9},
}
by_name = pytest.mark.parametrize("name", ROWS)


def pair(name, **kwargs):
    return [getattr(home, name)(**kwargs, seed=4) for home in (layers, keras.layers)]


def changed(layer, images, drawn):
    return np.asarray(quickly(lambda x: layer.transform_images(x, drawn), images))


@by_name
def test_equals_keras_for_the_same_draw(name):
    ours, theirs = pair(name, **ROWS[name])
    x = BYTES.astype("float32")
    drawn = ours.get_random_transformation(x)
    translated = TRANSLATE[name](drawn)
    found, wanted = quickly(
        lambda x: (
            ours.transform_images(x, drawn),
            theirs.transform_images(x, translated, training=True),
        ),
        x,
    )
    if name == "RandomSaturation":  # Keras lets saturations above 1 leave the range
        assert np.asarray(wanted).min() < 0
        kept = np.asarray(wanted).min(-1, keepdims=True) >= 0
        found, wanted = np.where(kept, found, 0), np.where(kept, wanted, 0)
        assert 0.5 < kept.mean() < 1
    # through hue and back, Keras's numbers carry a few roundings of numbers up to 255
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert np.abs(found - x).max() > 1


# what Keras makes of a least value other than 0 is not what it says, in those left out
@pytest.mark.parametrize("name", sorted(set(ROWS) - {"RandomInvert", "RandomSaturation"}))
def test_other_value_ranges(name):
    extra = {} if name == "RandomGrayscale" else {"value_range": (-1, 1)}
    ours, theirs = pair(name, **ROWS[name], **extra)
    images = (BYTES / 127.5 - 1).astype("float32")
    drawn = ours.get_random_transformation(images)
    translated = TRANSLATE[name](drawn)
    if name == "Solarization":  # Keras draws in [0, 255], whatever the range
        translated = {"additions": drawn[0] * 127.5, "thresholds": (drawn[1] + 1) * 127.5}
    if name == "RandomPosterization":  # whole levels stay whole, where Keras loses some
        wanted = (
            np.asarray(layers.RandomPosterization(7).transform_images(BYTES, drawn)) / 127.5 - 1
        )
    else:
        wanted = quickly(lambda x: theirs.transform_images(x, translated, training=True), images)
    np.testing.assert_allclose(changed(ours, images, drawn), wanted, atol=3e-6)


@pytest.mark.parametrize("name", ["RandomInvert", "RandomSaturation"])
def test_ranges_are_only_a_scale(name):
    wide, unit = (getattr(layers, name)(0.9, value_range=r) for r in ((0, 255), (-1, 1)))
    drawn = wide.get_random_transformation(BYTES, seed=3)
    wanted = changed(wide, BYTES, drawn) / 127.5 - 1
    images = (BYTES / 127.5 - 1).astype("float32")
    np.testing.assert_allclose(changed(unit, images, drawn), wanted, atol=2e-6)


@by_name
def test_draws_are_distributed_as_keras_own(name):
    many = np.zeros((1500, 1, 1, 3), "float32")
    ours, theirs = pair(name, **ROWS[name])
    found = TRANSLATE[name](ours.get_random_transformation(many))
    wanted = theirs.get_random_transformation(many)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        a, b = np.ravel(a).astype(float), np.ravel(b).astype(float)
        assert len(a) == 1500 and len(np.unique(a)) > 1
        assert len(np.unique(a)) == len(np.unique(b)) or len(np.unique(a)) > 1000
        # equal distributions fail this in one of a thousand such draws
        assert stats.kstest(a, b).pvalue > 1e-3


def test_a_seed_repeats_the_draws():
    images = np.repeat(BYTES[:1], 8, 0)
    first, again = (layers.RandomBrightness(0.5, seed=5) for _ in range(2))
    found = np.asarray(first(images))
    assert len({image.tobytes() for image in found}) == 8
    np.testing.assert_array_equal(found, again(images))
    assert np.abs(found - first(images)).max() > 0  # the next draw is another


@pytest.mark.parametrize("name", ["RandomHue", "RandomSharpness"])
def test_channels_first_and_single_images(name):
    x = BYTES.astype("float32")
    last, first = (
        getattr(layers, name)(0.9, data_format=f) for f in ("channels_last", "channels_first")
    )
    drawn = last.get_random_transformation(x, seed=1)
    wanted = changed(last, x, drawn)
    moved = changed(first, x.transpose(0, 3, 1, 2), drawn)
    np.testing.assert_allclose(moved.transpose(0, 2, 3, 1), wanted, atol=1e-4)
    single = changed(last, x[0], drawn[:1])
    np.testing.assert_allclose(single, wanted[0], atol=1e-4)


def test_dicts():
    boxes = {"boxes": np.array([[[-1.0, 2, 3, 4]]] * 3), "labels": np.array([[1]] * 3)}
    masks = RNG.integers(0, 3, (3, 9, 8, 1))
    data = {"images": BYTES, "labels": np.arange(3), "bounding_boxes": boxes}
    for layer in (layers.RandomBrightness(0.5), layers.AutoContrast()):
        out = layer({**data, "segmentation_masks": masks})
        assert np.abs(out["images"] - BYTES).max() > 0
        np.testing.assert_array_equal(out["segmentation_masks"], masks)
        np.testing.assert_array_equal(out["labels"], np.arange(3))
        np.testing.assert_array_equal(out["bounding_boxes"]["boxes"], boxes["boxes"])


# ---- against other libraries


def by_pil(change, images):
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def test_pil_knows_these_layers():
    x = BYTES.astype("float32")
    cases = [
        (layers.AutoContrast(), ImageOps.autocontrast),
        (layers.RandomInvert((1, 1)), ImageOps.invert),
        (layers.RandomPosterization((3, 3)), functools.partial(ImageOps.posterize, bits=3)),
        (
            layers.Solarization(0, (128 / 255,) * 2),
            functools.partial(ImageOps.solarize, threshold=128),
        ),
        (layers.RandomColorDegeneration((0.7, 0.7)), lambda i: ImageEnhance.Color(i).enhance(0.3)),
        (
            layers.RandomColorDegeneration((-0.5, -0.5)),
            lambda i: ImageEnhance.Color(i).enhance(1.5),
        ),
    ]
    for layer, change in cases:
        # PIL rounds grey, and cuts the result, to whole numbers
        np.testing.assert_allclose(layer(x), by_pil(change, BYTES), atol=1.6, err_msg=layer.name)
    sharp = layers.RandomSharpness((0.9, 0.9))(x)
    wanted = by_pil(lambda i: ImageEnhance.Sharpness(i).enhance(1.8), BYTES)
    np.testing.assert_allclose(sharp[:, 1:-1, 1:-1], wanted[:, 1:-1, 1:-1], atol=1.6)


def test_saturation_keeps_hue_and_value():
    x = RNG.uniform(0, 255, (4, 9, 9, 3)).astype("float32")
    layer = layers.RandomSaturation(0.9)
    drawn = np.asarray(layer.get_random_transformation(x, seed=1))
    to_hsv = keras.ops.image.rgb_to_hsv
    before, after = quickly(
        lambda x: (to_hsv(x / 255), to_hsv(layer.transform_images(x, drawn) / 255)), x
    )
    (h0, s0, v0), (h1, s1, v1) = (np.moveaxis(hsv, -1, 0) for hsv in (before, after))
    np.testing.assert_allclose(v1, v0, atol=1e-6)
    np.testing.assert_allclose(s1, np.clip(s0 * drawn[..., 0], 0, 1), atol=2e-5)
    away = np.abs(h1 - h0)[s1 > 0.05]
    assert len(away) > 100
    np.testing.assert_allclose(np.minimum(away, 1 - away), 0, atol=1e-4)


# ---- blur


def test_blur_is_scipys_for_every_image():
    x = RNG.uniform(0, 255, (5, 9, 8, 2)).astype("float32")
    layer = layers.RandomGaussianBlur(1.0, (3, 7), (0.3, 2.0))
    happens, sigmas = (np.asarray(d) for d in layer.get_random_transformation(x, seed=3))
    found = changed(layer, x, (happens, sigmas))
    assert 0 < happens.sum() < 5 and len(np.unique(sigmas)) == 10
    for i in range(5):
        kernels = []
        for size, sigma in zip((3, 7), sigmas[i], strict=True):
            place = np.arange(size) - size // 2
            height = np.exp(-(place**2) / 2 / sigma**2)
            kernels.append(height / height.sum())
        blurred = ndimage.correlate(
            x[i].astype(float), np.outer(*kernels)[..., None], mode="constant"
        )
        np.testing.assert_allclose(found[i], blurred if happens[i] else x[i], atol=1e-3)


def test_blur_equals_keras_whose_width_is_one_for_all():
    ours, theirs = pair("RandomGaussianBlur", kernel_size=5, sigma=(0.5, 2.0))
    happens, sigmas = np.array([True, False, True]), np.array([0.7, 1.9], "float32")
    found = changed(ours, BYTES, (happens.reshape(3, 1, 1, 1), sigmas[None]))
    drawn = {"blur_factor": sigmas[::-1], "should_apply_blur": happens}
    x = BYTES.astype("float32")
    wanted = quickly(lambda x: theirs.transform_images(x, drawn, training=True), x)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize(("factor", "share"), [(1.0, 0.5), ((0.3, 0.3), 0.3), ((1, 1), 1.0)])
def test_how_often(factor, share):
    many = np.zeros((4000, 1, 1, 3), "float32")
    for name in ("RandomInvert", "RandomGaussianBlur"):
        layer = getattr(layers, name)(factor)
        drawn = layer.get_random_transformation(many, seed=1)
        happens = drawn[0] if name == "RandomGaussianBlur" else drawn
        # four standard deviations of a mean of 4000
        assert abs(float(happens.mean()) - share) <= 4 * 0.5 / 4000**0.5


# ---- jitter


def test_jitter_is_its_layers_in_keras_order():
    fixed = {"brightness_factor": (0.2, 0.2), "saturation_factor": (0.4, 0.4)}
    ours, theirs = pair("RandomColorJitter", **fixed)
    x = BYTES.astype("float32")
    drawn = [np.full((3, 1, 1, 1), number, "float32") for number in (0.2 * 255, 0.4 / 0.6)]
    found = changed(ours, x, drawn)
    np.testing.assert_allclose(found, theirs(x), atol=2e-3)
    # brightness clips, so that the other order would be another picture
    bright, saturated = layers.RandomBrightness(0.2), layers.RandomSaturation(0.4)
    other = changed(bright, changed(saturated, x, drawn[1]), drawn[0])
    assert np.abs(other - found).max() > 1
    np.testing.assert_array_equal(layers.RandomColorJitter()(x), x)


# ---- histograms


def equalized(x, bins):
    """By NumPy's counts, an image and a channel at a time."""
    out = np.array(x, "float32")
    for image in out:
        for c in range(image.shape[-1]):
            level = np.floor(image[..., c] * np.float32(bins - 1) / np.float32(255)).astype(int)
            sums = np.bincount(level.ravel(), minlength=bins).cumsum()
            least = sums[sums > 0][0]
            if sums[-1] > least:
                image[..., c] = np.round((sums - least) / (sums[-1] - least) * 255)[level]
    return out


@pytest.mark.parametrize("bins", [256, 10])
def test_equalization(bins):
    x = np.concatenate([SHADES, np.full((1, *SHADES.shape[1:]), 9, "float32")])
    found = np.asarray(quickly(layers.Equalization(bins=bins), x))
    np.testing.assert_allclose(found, equalized(x, bins), atol=1e-4)
    if bins == 10:  # one image, as Keras pools the batch's; and few bins, as it compiles long
        wanted = quickly(lambda x: keras.layers.Equalization(bins=bins)(x), x[:1])
        np.testing.assert_allclose(found[:1], wanted, atol=1e-4)
    scaled = quickly(layers.Equalization((-1, 1), bins=bins), (BYTES / 127.5 - 1).astype("float32"))
    np.testing.assert_allclose(scaled, equalized(BYTES, bins) / 127.5 - 1, atol=1e-6)


def test_equalization_is_nearly_pils():
    x = (RNG.beta(2, 5, (1, 90, 90, 3)) * 255).astype("uint8")
    found = np.asarray(layers.Equalization()(x))
    wanted = by_pil(ImageOps.equalize, x)
    # PIL divides in whole numbers, by a step of 31 here instead of 31.7
    assert np.abs(found - wanted).max() < 8 and np.abs(found - wanted).mean() < 4


@pytest.mark.parametrize(
    ("shape", "kwargs"),
    [
        ((17, 22), {}),
        ((16, 24), {"tile_grid_size": (4, 3), "clip_limit": 1.5}),
        ((17, 22), {"tile_grid_size": (3, 4), "clip_limit": 0.0}),
    ],
)
def test_clahe_equals_keras(shape, kwargs):
    x = SHADES[:, : shape[0], : shape[1]]
    ours, theirs = (getattr(home, CLAHE)(**kwargs) for home in (layers, keras.layers))
    found, wanted = quickly(lambda x: (ours(x), theirs(x)), x)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_clahe_of_one_tile_without_limit_is_equalization():
    layer = getattr(layers, CLAHE)(tile_grid_size=(1, 1), clip_limit=0)
    x = np.minimum(SHADES, 200)
    x[:, 0, 0] = 0  # CLAHE counts from level 0, equalization from the darkest that occurs
    found, rounded = quickly(lambda x: (layer(x), layers.Equalization()(x)), x)
    np.testing.assert_allclose(found, rounded, atol=0.51)


def test_clahe_is_bounded_and_scales():
    for x in (np.zeros((1, 9, 9, 1)), np.full((1, 9, 9, 1), 255.0)):
        found = np.asarray(quickly(getattr(layers, CLAHE)(), x.astype("float32")))
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 255
    kwargs = {"tile_grid_size": (2, 2), "data_format": "channels_first"}
    wide, unit = (getattr(layers, CLAHE)((0, top), **kwargs) for top in (255, 1))
    x = BYTES.transpose(0, 3, 1, 2).astype("float32")
    wide, unit = quickly(lambda x: (wide(x), unit(x / 255)), x)
    np.testing.assert_allclose(unit, np.asarray(wide) / 255, atol=1e-5)


def test_auto_contrast_keeps_flat_channels():
    x = np.array([[[[7.0, 1], [7, 3]]]])
    np.testing.assert_array_equal(layers.AutoContrast()(x), [[[[7, 0], [7, 255]]]])
    ours, theirs = (home.AutoContrast((-1, 1)) for home in (layers, keras.layers))
    found, wanted = quickly(lambda x: (ours(x, training=False), theirs(x)), SHADES)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


# ---- the rest


def test_mistakes():
    for make, message in (
        (lambda: layers.RandomBrightness(1.5), r"\[-1, 1\]. Received: factor=1.5"),
        (lambda: layers.RandomContrast(-0.1), r"\[0, 1\]"),
        (lambda: layers.RandomHue((0, 2)), "factor"),
        (lambda: layers.RandomHue((0, 0.1, 0.2)), "a pair"),
        (lambda: layers.RandomPosterization(9), r"\[1, 8\]"),
        (lambda: layers.RandomGrayscale((0.1, 0.2)), "factor must be a number"),
        (lambda: layers.RandomGaussianBlur(kernel_size=4), "must be odd"),
        (lambda: layers.RandomGaussianBlur(sigma=2.0), "sigma"),
        (lambda: layers.Solarization(value_range=(1, 1)), "two different numbers"),
        (lambda: layers.RandomHue(0.1, fill_mode="wrap"), "has no argument 'fill_mode'"),
        (lambda: layers.RandomInvert(value_range=255), "value_range"),
        (lambda: layers.Equalization(bins=1), "bins"),
        (lambda: getattr(layers, CLAHE)(tile_grid_size=(0, 1)), "tile_grid_size"),
        (lambda: layers.RandomBrightness(0.1)(np.zeros(3)), r"\[H, W, C\]"),
        (lambda: layers.RandomBrightness(0.1)({"image": BYTES}), "keys"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("name", ["RandomContrast", "RandomGaussianBlur", "Equalization", CLAHE])
def test_empty_batches(name):
    layer = getattr(layers, name)(**ROWS.get(name, {}))
    assert layer(np.zeros((0, 4, 5, 3), "float32")).shape == (0, 4, 5, 3)


def test_inside_a_compiled_step():
    layer = layers.RandomColorJitter(brightness_factor=0.3, hue_factor=0.5, seed=1)
    step = jax.jit(pure(lambda x: layer(x, training=True), layer.variables))
    start = [v.numpy() for v in layer.variables]
    first, state = step(start, BYTES)
    second, _ = step(state, BYTES)
    np.testing.assert_allclose(first, layer(BYTES), atol=1e-4)
    assert np.abs(first - second).max() > 1
