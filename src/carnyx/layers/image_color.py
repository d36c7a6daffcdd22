"""Layers that change the colours of images and leave every pixel where it is.

Each draws one number (or a few) for each image of the batch, in training only, and puts it into an
arithmetic of `ops/image_color.py`. Boxes, masks and labels pass as they are. The base, which knows
batches, dicts and data formats, is in `image.py`; mixtures of images are in `image_mix.py`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from carnyx.core.fields import declared
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, Fraction, Number, Window
from carnyx.layers.image import ImageLayer, Interval, Limits, Seed, Seeded, Share
from carnyx.layers.image_geometry import happens
from carnyx.ops import image_color as colour


class ColourLayer(ImageLayer):
    """Base: images whose values lie in `value_range`, and draws of one number an image."""

    moves = False
    factor: Any

    def sample(self, shape: Any, key: Any, interval: Any = None) -> Any:
        """A number an image, [B, 1, 1, 1], uniform in the interval (by default `factor`)."""
        lower, upper = interval or self.factor
        return jax.random.uniform(key, (shape[0], 1, 1, 1), minval=lower, maxval=upper)

    def clip(self, images: Any) -> Any:
        """The images cut to `value_range`."""
        return jnp.clip(images, self.low, self.high)

    def to_bytes(self, images: Any) -> Any:
        """The images scaled from `value_range` to [0, 255]."""
        scaled = jnp.clip((images - self.low) / (self.high - self.low) * 255, 0, 255)
        # whole levels stay whole: 9 / 127.5 - 1 comes back as 8.999998 and would be cut to 8
        nearest = jnp.round(scaled)
        return jnp.where(jnp.abs(scaled - nearest) < 1e-4, nearest, scaled)

    def from_bytes(self, images: Any) -> Any:
        """The images scaled from [0, 255] to `value_range`."""
        return images / 255 * (self.high - self.low) + self.low


@declared
class FactorLayer(ColourLayer):
    """Base: a factor is drawn for each image."""

    sorts_range = True
    factor: Interval
    value_range: Limits = (0, 255)
    data_format: DataFormat = None
    seed: Seed = None

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return self.sample(shape, key)


@declared
class RandomBrightness(FactorLayer):
    """In training x + f (greatest - least), f drawn for each image.

    Args:
        factor: the interval of f within [-1, 1], or a number b for [-b, b].
        [shared]

    >>> RandomBrightness((0.1, 0.1))([[[0.0, 100.0, 250.0]]]).tolist()
    [[[25.5, 125.5, 255.0]]]
    """

    data_format: ClassVar[Any]

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return self.sample(shape, key) * (self.high - self.low)

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.clip(images + drawn)


@declared
class RandomContrast(FactorLayer):
    """In training m + f (x - m), m the mean of each channel of each image, f drawn for each image.

    Args:
        factor: (a, b) within [0, 1] for f in [1 - a, 1 + b]; a number b is (0, b).
        [shared]

    >>> RandomContrast((0, 0))([[[1.0], [3.0]]]).tolist()
    [[[1.0], [3.0]]]
    """

    bounds = (0.0, 1.0)
    sorts_range = False
    data_format: ClassVar[Any]

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return self.sample(shape, key, (1 - self.factor[0], 1 + self.factor[1]))

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.clip(colour.blend(images.mean((1, 2), keepdims=True), images, drawn))


class RandomSaturation(FactorLayer):
    """In training saturation is multiplied by f / (1 - f), at most to 1; f drawn for each image.

    With hue and value kept, a colour x of value v becomes v + r (x - v), the ratio r between 0
    (grey) and what takes its least channel to the least value; Keras does not stop there.

    Args:
        factor: the interval of f: 0 (and all below) gives grey, 0.5 the image, 1 pure colours. A
            number b is the interval (-b, b), as in Keras, so half of the images become grey: give
            (0.5 - c, 0.5 + c) for a jitter.
        [shared]

    >>> RandomSaturation((0.0, 0.0))([[[10.0, 20.0, 30.0]]]).tolist()
    [[[30.0, 30.0, 30.0]]]
    """

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        factor = self.sample(shape, key)
        return factor / jnp.maximum(1 - factor, 1e-7)

    def change_images(self, images: Any, drawn: Any) -> Any:
        _, chroma, value = (part[..., None] for part in colour.hue_chroma_value(images))
        most = (value - self.low) / jnp.where(chroma > 0, chroma, 1)
        return colour.blend(value, images, jnp.clip(drawn, 0, most))


class RandomHue(FactorLayer):
    """In training the hue is turned by f / 2 of the colour circle, one way or the other.

    Args:
        factor: the interval of f within [0, 1], or a number b for [0, b].
        [shared]

    >>> RandomHue((1, 1))([[[255.0, 0.0, 0.0]]]).tolist()
    [[[0.0, 255.0, 255.0]]]
    """

    bounds = (0.0, 1.0)
    sorts_range = False

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        way, turn = jax.random.split(key)
        turned = self.sample(shape, turn) / 2
        return jnp.where(self.sample(shape, way, (0, 1)) < 0.5, -turned, turned)

    def change_images(self, images: Any, drawn: Any) -> Any:
        hue, chroma, value = colour.hue_chroma_value(images)
        return colour.of_hue_chroma_value(hue + drawn[..., 0], chroma, value)


@declared
class RandomColorJitter(Seeded, ColourLayer):
    """RandomBrightness, RandomContrast, RandomSaturation, RandomHue, in this order.

    Args:
        brightness_factor, contrast_factor, saturation_factor, hue_factor: each as in its layer;
            None leaves it out.
        [shared]

    >>> RandomColorJitter(contrast_factor=0.5, hue_factor=0.1)([[[1, 2, 3]]]).shape
    (1, 1, 3)
    """

    value_range: Limits = (0, 255)
    brightness_factor: Any = None
    contrast_factor: Any = None
    saturation_factor: Any = None
    hue_factor: Any = None

    def _set_up(self) -> None:
        steps = {
            RandomBrightness: self.brightness_factor,
            RandomContrast: self.contrast_factor,
            RandomSaturation: self.saturation_factor,
            RandomHue: self.hue_factor,
        }
        self.steps = [
            part_of(self, cls, factor, self.value_range)
            for cls, factor in steps.items()
            if factor is not None
        ]

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        keys = jax.random.split(key, max(len(self.steps), 1))
        return [step.draw(shape, k) for step, k in zip(self.steps, keys, strict=False)]

    def change_images(self, images: Any, drawn: Any) -> Any:
        for step, one in zip(self.steps, drawn, strict=True):
            images = step.change_images(images, one)
        return images


def part_of(whole: ImageLayer, cls: Any, *args: Any, **kwargs: Any) -> Any:
    """A layer inside another one, which gives it channels-last batches and random keys."""
    part = cls(*args, data_format="channels_last", dtype=whole.dtype_policy, **kwargs)
    part.seed_generator = None
    return part


class RandomColorDegeneration(FactorLayer):
    """In training x + f (g - x), g the grey image (as in `RandomGrayscale`), f for each image.

    Args:
        factor: the interval of f: 0 gives the image, 1 grey, below 0 stronger colours. A number
            b is the interval (-b, b), as in Keras.
        [shared]

    >>> RandomColorDegeneration((1, 1))([[[100.0, 100.0, 0.0]]]).tolist()
    [[[88.5..., 88.5..., 88.5...]]]
    """

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.clip(colour.blend(images, colour.grey(images), drawn))


@declared
class RandomGrayscale(ColourLayer):
    """In training 0.2989 R + 0.587 G + 0.114 B in all three channels, with a probability.

    Args:
        factor: the probability for an image, in [0, 1].
        [shared]

    >>> RandomGrayscale(1.0)([[[100.0, 0.0, 0.0]]]).tolist()
    [[[29.8..., 29.8..., 29.8...]]]
    """

    unsaved = ("seed",)
    factor: Fraction = 0.5
    data_format: DataFormat = None
    seed: Seed = None

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return self.sample(shape, key, (0, 1)) < self.factor

    def change_images(self, images: Any, drawn: Any) -> Any:
        return jnp.where(drawn, colour.grey(images), images)


class RandomPosterization(FactorLayer):
    """In training only the first n of eight bits are kept, n for each image (Cubuk et al. 2018).

    Args:
        factor: the interval within [1, 8] that n is drawn from, floor of a real number: its end
            is only reached when the interval is a point. A number b is (1, b).
        [shared]

    >>> RandomPosterization((2, 2))([[[10.0, 100.0, 255.0]]]).tolist()
    [[[0.0, 64.0, 192.0]]]
    """

    bounds = (1.0, 8.0)

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return jnp.exp2(8 - jnp.floor(self.sample(shape, key)))

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.from_bytes(jnp.floor(self.to_bytes(images) / drawn) * drawn)


class RandomSharpness(FactorLayer):
    """In training b + 2 f (x - b), b the image averaged over 3 x 3 pixels, f for each image.

    In the average the centre counts 5 and its neighbours 1 of 13; around the image are zeros.

    Args:
        factor: the interval of f within [0, 1]: 0 gives the average, 0.5 the image, 1 twice its
            edges. A number b is (0, b).
        [shared]

    >>> RandomSharpness((0.5, 0.5))([[[10.0], [20.0]]]).tolist()
    [[[10.0], [20.0]]]
    """

    bounds = (0.0, 1.0)

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return 2 * self.sample(shape, key)

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.clip(colour.blend(colour.sharpness_base(images), images, drawn))


@declared
class RandomGaussianBlur(ColourLayer):
    """In training a Gaussian blur with a probability; its width is each image's (Keras: a batch's).

    Args:
        kernel_size: odd sizes of the window, (height, width) or one for both.
        sigma: the interval of the standard deviations in pixels, drawn for height and for width;
            a number b up to 1 is (0, b).
        [shared]

    >>> RandomGaussianBlur((1, 1), 3, (1.0, 1.0))([[[0.0], [1.0], [0.0]]]).round(3).tolist()
    [[[0.124...], [0.204...], [0.124...]]]
    """

    factor: Share = 1.0
    kernel_size: Window = 3
    sigma: Any = 1.0
    value_range: Limits = (0, 255)
    data_format: DataFormat = None
    seed: Seed = None

    def _set_up(self) -> None:
        if not all(size % 2 for size in self.kernel_size):
            raise arguments.refuse(self, "kernel_size", self.kernel_size, "odd")
        paired = isinstance(self.sigma, (list, tuple))
        self.sigma = self.interval("sigma", self.sigma, (0.0, math.inf if paired else 1.0))

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        chance, width = jax.random.split(key)
        lower, upper = self.sigma
        sigmas = jax.random.uniform(width, (shape[0], 2), minval=lower, maxval=upper)
        return happens(chance, shape[0], self.factor)[:, None, None, None], sigmas

    def change_images(self, images: Any, drawn: Any) -> Any:
        blurred, sigmas = drawn
        rows, columns = (colour.gaussian(n, sigmas[:, i]) for i, n in enumerate(self.kernel_size))
        return jnp.where(blurred, colour.smooth(images, rows, columns), images)


@declared
class RandomInvert(Seeded, ColourLayer):
    """In training least + greatest - x, with a probability.

    Keras has greatest - x, which is the same where the least value is 0.

    Args:
        [shared]

    >>> RandomInvert((1, 1))([[[0.0, 55.0, 255.0]]]).tolist()
    [[[255.0, 200.0, 0.0]]]
    """

    factor: Share = 1.0
    value_range: Limits = (0, 255)

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        return happens(key, shape[0], self.factor)[:, None, None, None]

    def change_images(self, images: Any, drawn: Any) -> Any:
        return jnp.where(drawn, self.low + self.high - images, images)


@declared
class Solarization(ColourLayer):
    """In training a (greatest - least) is added, and values from a threshold up are inverted.

    Args:
        addition_factor: the interval of a within [0, 1]; a number b is (0, b).
        threshold_factor: the interval of the threshold, as a fraction of the value range; by
            default all values are inverted.
        [shared]

    >>> Solarization(threshold_factor=(0.5, 0.5))([[[59.0, 62.0, 200.0]]]).tolist()
    [[[59.0, 62.0, 55.0]]]
    """

    sorts_range = True
    addition_factor: Share = 0.0
    threshold_factor: Share = 0.0
    value_range: Limits = (0, 255)
    seed: Seed = None

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        first, second = jax.random.split(key)
        size = self.high - self.low
        added = self.sample(shape, first, self.addition_factor) * size
        return added, self.sample(shape, second, self.threshold_factor) * size + self.low

    def change_images(self, images: Any, drawn: Any) -> Any:
        added, threshold = drawn
        images = self.clip(images + added)
        return jnp.where(images < threshold, images, self.low + self.high - images)


@declared
class AutoContrast(ColourLayer):
    """Each channel of each image is stretched to the whole value range, in inference too.

    A channel of one value stays.

    Args:
        [shared]

    >>> AutoContrast()([[[10.0], [15.0], [20.0]]]).tolist()
    [[[0.0], [127.5], [255.0]]]
    """

    always = True
    sorts_range = True
    value_range: Limits = (0, 255)

    def change_images(self, images: Any, drawn: Any) -> Any:
        least, most = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
        flat = least == most
        stretched = (images - least) / jnp.where(flat, 1, most - least)
        return jnp.where(flat, images, stretched * (self.high - self.low) + self.low)


# ---- histograms: levels are whole numbers [0, bins), groups say whose histogram a pixel counts in


def histograms(levels: Any, groups: Any, count: Any, bins: int) -> Any:
    """How many pixels of each group have each level: float32 [count, bins], exact."""
    counted = jnp.zeros(count * bins, "int32").at[groups * bins + levels].add(1)
    return counted.reshape(count, bins).astype("float32")


def look_up(tables: Any, levels: Any, groups: Any) -> Any:
    """tables[group, level] of every pixel."""
    return tables.ravel()[groups * tables.shape[-1] + levels]


@declared
class Equalization(ColourLayer):
    """In training each channel of each image gets a flat histogram.

    A value becomes the share of pixels up to its level, the darkest level being 0, rounded to a
    255th of the value range. A channel of one level stays. (Keras 3.15 takes one histogram for all
    images of the batch.)

    Args:
        bins: the number of levels, from 2.
        [shared]

    >>> Equalization()([[[0.0], [10.0], [10.0], [200.0]]]).tolist()
    [[[0.0], [170.0], [170.0], [255.0]]]
    """

    sorts_range = True
    value_range: Limits = (0, 255)
    bins: int = 256
    data_format: DataFormat = None

    def _set_up(self) -> None:
        self.bins = arguments.whole(self, "bins", self.bins, 2)

    def change_images(self, images: Any, drawn: Any) -> Any:
        batch, *_, channels = images.shape
        groups = jnp.arange(batch * channels).reshape(batch, 1, 1, channels)
        levels = jnp.floor(self.to_bytes(images) * (self.bins - 1) / 255).astype("int32")
        sums = jnp.cumsum(histograms(levels, groups, batch * channels, self.bins), -1)
        # the count of the darkest level that occurs: no other sum above 0 is less
        darkest = jnp.where(sums > 0, sums, jnp.inf).min(-1, keepdims=True)
        rest = sums[:, -1:] - darkest
        tables = jnp.round((sums - darkest) * 255 / jnp.where(rest > 0, rest, 1))
        flat = (rest == 0).reshape(groups.shape)
        return jnp.where(flat, images, self.from_bytes(look_up(tables, levels, groups)))


@declared
class ContrastLimitedAdaptiveHistogramEqualization(ColourLayer):
    """Each tile of each channel gets a nearly flat histogram (Zuiderveld 1994), in inference too.

    The histogram of 256 levels is cut at `clip_limit` times its mean, what is cut off is shared
    out equally, and a value becomes the share of pixels up to its level. Between the centres of
    tiles the four nearest tables are interpolated. Images that the tiles do not divide are
    mirrored at their end.

    Args:
        clip_limit: how steep a table may be, in multiples of the identity; none at 0 and below.
        tile_grid_size: the number of tiles along height and width.
        [shared]

    >>> clahe = ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(1, 1), clip_limit=0)
    >>> clahe([[[0.0], [100.0], [200.0]]]).tolist()
    [[[0.0], [127.5], [255.0]]]
    """

    always = True
    value_range: Limits = (0, 255)
    clip_limit: Number = 4.0
    tile_grid_size: Window = (8, 8)
    data_format: DataFormat = None

    def change_images(self, images: Any, drawn: Any) -> Any:
        size = images.shape[1:3]
        tile = [-(-n // tiles) for n, tiles in zip(size, self.tile_grid_size, strict=True)]
        levels = jnp.floor(self.to_bytes(images)).astype("int32")
        tables = self.tables(levels, tile)
        rows, columns = map(self.neighbours, size, tile, self.tile_grid_size)
        total: Any = 0
        for row, row_weight in rows:
            for column, column_weight in columns:
                found = look_up(tables, levels, self.group(images.shape, row, column))
                total += found * row_weight[:, None, None] * column_weight[:, None]
        return self.clip(self.from_bytes(total))  # the weights' sum is rounded

    def tables(self, levels: Any, tile: Any) -> Any:
        """What each level becomes in each tile of each channel: [B tiles C, 256]."""
        batch, *size, channels = levels.shape
        grid = self.tile_grid_size
        margins = [(0, t * g - n) for t, g, n in zip(tile, grid, size, strict=True)]
        levels = jnp.pad(levels, [(0, 0), *margins, (0, 0)], mode="symmetric")
        row, column = (jnp.arange(t * g) // t for t, g in zip(tile, grid, strict=True))
        count = batch * math.prod(grid) * channels
        heights = histograms(levels, self.group(levels.shape, row, column), count, 256)
        if self.clip_limit > 0:
            limit = self.clip_limit * math.prod(tile) / 256
            cut = jnp.minimum(heights, limit)
            heights = cut + (heights - cut).sum(-1, keepdims=True) / 256
        sums = jnp.cumsum(heights, -1)
        rest = sums[:, -1:] - sums[:, :1]
        return (sums - sums[:, :1]) * 255 / jnp.where(rest > 0, rest, 1)

    def group(self, shape: Any, row: Any, column: Any) -> Any:
        """The number of (image, tile, channel) for tiles by row [H] and column [W]."""
        batch, _, _, channels = shape
        high, wide = self.tile_grid_size
        image = jnp.arange(batch)[:, None, None, None]
        tile = (image * high + row[:, None, None]) * wide + column[:, None]
        return tile * channels + jnp.arange(channels)

    def neighbours(self, size: int, tile: int, tiles: int) -> Any:
        """The two tiles that each line of pixels lies between, and their weights."""
        place = jnp.clip(jnp.arange(size) / tile - 0.5, 0, tiles - 1)
        first = jnp.floor(place).astype("int32")
        second = jnp.minimum(first + 1, tiles - 1)
        return (first, 1 - (place - first)), (second, place - first)


__all__ = """
    AutoContrast ContrastLimitedAdaptiveHistogramEqualization Equalization RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomGaussianBlur RandomGrayscale
    RandomHue RandomInvert RandomPosterization RandomSaturation RandomSharpness Solarization
""".split()
