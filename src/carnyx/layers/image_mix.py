"""Mixtures: two images into one (MixUp, CutMix), and policies that choose among other layers.

The layers that policies choose from are in `image_color.py` and `image_geometry.py`, the base of
all is in `image.py`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.core.fields import declared
from carnyx.layers import arguments, image_color, image_geometry
from carnyx.layers.arguments import DataFormat, FromZero, Whole
from carnyx.layers.image import ImageLayer, Interpolation, Limits, Seed, Seeded, Share
from carnyx.layers.image_color import part_of
from carnyx.ops.image_color import blend


def symmetric_beta(key: Any, alpha: Any, shape: Any) -> Any:
    """Beta(alpha, alpha) numbers, alpha from 0, of two uniform numbers each.

    t^2 = 2a (u^(-1/a) - 1) cos^2(2 pi v) is the square of a Student variable with 2a degrees of
    freedom (Bailey 1994), and 1/2 + t / (2 sqrt(2a + t^2)) is Beta(a, a) (Devroye 1996).

    >>> bool(abs(symmetric_beta(jax.random.PRNGKey(0), 2.0, (1000,)).mean() - 0.5) < 0.03)
    True
    """
    u, v = jax.random.uniform(key, (2, *shape))
    wave = jnp.cos(2 * jnp.pi * v)
    square = jnp.expm1(-jnp.log(u) / alpha) * wave**2
    return 0.5 + jnp.sign(wave) / (2 * jnp.sqrt(1 + 1 / square))


def columns(x: Any, like: Any) -> Any:
    """x [B] with axes of size 1, so that it goes along the first axis of `like`."""
    return x.reshape(-1, *[1] * (jnp.ndim(like) - 1))


class MixingLayer(ImageLayer):
    """Base: each image is mixed with another of the batch; a draw begins with (order, weight): the
    other image's index and the share of its own, [B] each."""

    def blended(self, x: Any, drawn: Any) -> Any:
        """w x + (1 - w) x[order], for any array [B, ...]."""
        order, weight = drawn[:2]
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return blend(x[order], x, columns(weight, x))

    def change_labels(self, labels: Any, drawn: Any) -> Any:
        labels = jnp.asarray(labels)
        if labels.ndim == 1 and not jnp.issubdtype(labels.dtype, jnp.floating):
            raise ValueError(
                f"{type(self).__name__} '{self.name}': labels are mixed, which numbers of classes "
                f"cannot be. Received labels of type {labels.dtype.name} and shape {labels.shape}. "
                "Make them one-hot first: carnyx.ops.one_hot(labels, num_classes)."
            )
        return self.blended(labels, drawn)


@declared
class MixUp(MixingLayer):
    """In training w x + (1 - w) x', x' another image of the batch, w ~ Beta(alpha, alpha) for each.

    Labels [B, ...] (one-hot or real) and masks are mixed alike; boxes and their labels of both
    images are kept: [B, N, 4] -> [B, 2 N, 4].

    Args:
        alpha: from 0 (whole images) by 1 (any share alike) to large numbers (halves).
        [shared]

    Raises:
        ValueError: labels that are numbers of classes.

    Zhang, Cisse, Dauphin, Lopez-Paz (2018); for boxes Zhang et al. (2019).

    >>> import numpy as np
    >>> y = MixUp(1.0, seed=1)({"images": np.ones((2, 4, 4, 3)), "labels": np.eye(2)})
    >>> y["labels"].sum(1).tolist()
    [1.0, 1.0]
    """

    alpha: FromZero = 0.2
    data_format: DataFormat = None
    seed: Seed = None

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        shuffled, share = jax.random.split(key)
        order = jnp.argsort(jax.random.uniform(shuffled, shape[:1]))
        return order, symmetric_beta(share, self.alpha, shape[:1])

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.blended(images, drawn)

    def _boxes(self, boxes: Any, drawn: Any, active: bool, before: Any, after: Any) -> Any:
        if not active or before.single:
            return boxes
        order = drawn[0]
        return jax.tree.map(lambda x: jnp.concatenate([x, x[order]], 1), boxes)


@declared
class CutMix(Seeded, MixingLayer):
    """In training a rectangle of each image is another image's of the batch (Yun et al. 2019).

    Its sides are sqrt(1 - w) of the image's, rounded, w ~ Beta(a, a), a drawn for each image; it
    lies inside the image. Labels [B, ...] (one-hot or real) are mixed by the shares of the pixels
    (Keras takes w, before rounding); masks are cut alike.

    Args:
        factor: the interval of a within [0, 1], or a number b for (0, b); 1 makes all w alike.
        [shared]

    Raises:
        ValueError: labels that are numbers of classes, or boxes, which cannot be cut.

    >>> import numpy as np
    >>> images = np.arange(2.0).reshape(2, 1, 1, 1) * np.ones((2, 4, 4, 1))
    >>> y = CutMix(seed=1)({"images": images, "labels": np.array([0.0, 1.0])})
    >>> (y["images"].mean((1, 2, 3)) == y["labels"]).tolist()
    [True, True]
    """

    factor: Share = 1.0

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        batch, *size = shape[:3]
        keys = jax.random.split(key, 5)
        lower, upper = self.factor
        alpha = jax.random.uniform(keys[0], (batch,), minval=lower, maxval=upper)
        side = jnp.sqrt(1 - symmetric_beta(keys[1], alpha, (batch,)))
        order = jnp.argsort(jax.random.uniform(keys[2], (batch,)))
        cuts = [jnp.round(side * length) for length in size]
        starts = [
            jnp.floor(jax.random.uniform(place, (batch,)) * (length - cut + 1))
            for place, length, cut in zip(keys[3:], size, cuts, strict=True)
        ]
        share = cuts[0] / size[0] * (cuts[1] / size[1])
        return order, 1 - share, image_geometry.patches(shape, *starts, *cuts)

    def change_images(self, images: Any, drawn: Any) -> Any:
        order, _, patch = drawn
        return jnp.where(patch, images[order], images)

    def _boxes(self, boxes: Any, drawn: Any, active: bool, before: Any, after: Any) -> Any:
        if active:
            raise NotImplementedError(
                f"CutMix '{self.name}': what a pasted rectangle leaves of bounding boxes is not "
                "defined. Leave 'bounding_boxes' out, or use MixUp."
            )
        return boxes


# ---- policies


MOVES = "RandomShear RandomTranslation RandomRotation".split()
COLOURS = "RandomBrightness RandomColorDegeneration RandomContrast RandomSharpness".split()
LEVELS = "RandomPosterization Solarization AutoContrast Equalization".split()
# How many factors they take, if not one.
FACTORS = dict(RandomShear=2, RandomTranslation=2, Solarization=2, AutoContrast=0, Equalization=0)


class PolicyLayer(Seeded, ImageLayer):
    """Base: `parts` are layers of which steps choose one by number. A step is (number, key); all
    images of a batch go through the same layer, each with numbers of its own."""

    value_range: Limits
    factor: Any
    parts: list[Any]

    def part(self, name: str) -> Any:
        """The layer called `name`, of strength `factor`."""
        factor = self.factor
        if name == "RandomPosterization":  # bits
            factor = (1, max(int(8 * factor[1]), 1))
        factors = [factor] * FACTORS.get(name, 1)
        if name in MOVES:
            options = {"fill_mode": "reflect", "interpolation": self.interpolation}
            return part_of(self, getattr(image_geometry, name), *factors, **options)
        return part_of(self, getattr(image_color, name), *factors, value_range=self.value_range)

    def walk(self, method: str, x: Any, steps: Any, shape: Any, *rest: Any) -> Any:
        """x after the steps (numbers [S], keys [S, 2]); the number len(parts) changes nothing."""

        def branch(part: Any) -> Any:
            return lambda x, key: getattr(part, method)(x, part.draw(shape, key), *rest)

        branches = [*map(branch, self.parts), lambda x, key: x]
        return lax.scan(
            lambda x, step: (lax.switch(step[0], branches, x, step[1]), None), x, steps
        )[0]


@declared
class RandAugment(PolicyLayer):
    """In training `num_ops` layers, chosen for each batch, in turn (Cubuk, Zoph, Shlens, Le 2020).

    Chosen from: RandomShear, RandomTranslation, RandomRotation, RandomBrightness,
    RandomColorDegeneration, RandomContrast, RandomSharpness, RandomPosterization, Solarization,
    AutoContrast, Equalization. Boxes and masks move with the images.

    Args:
        num_ops: the number of layers, from 1.
        factor: the interval within [0, 1] of the layers' own factors, or a number b for (0, b).
        [shared]

    >>> RandAugment(seed=1).compute_output_shape((2, 8, 8, 3))
    (2, 8, 8, 3)
    """

    value_range: Limits = (0, 255)
    num_ops: Whole = 2
    factor: Share = 0.5
    interpolation: Interpolation = "bilinear"

    def _set_up(self) -> None:
        self.parts = [self.part(name) for name in [*MOVES, *COLOURS, *LEVELS]]

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        choice, rest = jax.random.split(key)
        chosen = jax.random.randint(choice, (self.num_ops,), 0, len(self.parts))
        return chosen, jax.random.split(rest, self.num_ops)

    def change_images(self, images: Any, drawn: Any) -> Any:
        return self.walk("change_images", images, drawn, images.shape)

    def change_masks(self, masks: Any, drawn: Any) -> Any:
        return self.walk("change_masks", masks, drawn, masks.shape)

    def change_boxes(self, boxes: Any, drawn: Any, size: tuple[int, int]) -> Any:
        return self.walk("change_boxes", boxes, drawn, (len(boxes), *size, 3), size)


@declared
class AugMix(PolicyLayer):
    """In training (1 - m) x + m sum_i w_i chain_i(x), chains of layers (Hendrycks et al. 2020).

    m ~ Beta(alpha, alpha) and w ~ Dirichlet(alpha) are drawn for each image. A chain is a random
    number of layers, the same for the batch. Boxes and masks stay (Keras blends masks' classes).

    Args:
        num_chains: the number of chains, from 1.
        chain_depth: the greatest number of layers in a chain, from 1; the least is 0.
        factor: the interval within [0, 1] of the layers' own factors, or a number b for (0, b).
        alpha: of both distributions, above 0.
        all_ops: whether the layers include RandomBrightness, RandomColorDegeneration,
            RandomContrast and RandomSharpness, besides RandomShear, RandomTranslation,
            RandomRotation, RandomPosterization, Solarization, AutoContrast and Equalization.
        [shared]

    >>> AugMix(seed=1).compute_output_shape((2, 8, 8, 3))
    (2, 8, 8, 3)
    """

    moves = False
    value_range: Limits = (0, 255)
    num_chains: Whole = 3
    chain_depth: Whole = 3
    factor: Share = 0.3
    alpha: float = 1.0
    all_ops: bool = True
    interpolation: Interpolation = "bilinear"

    def _set_up(self) -> None:
        self.alpha = arguments.number(self, "alpha", self.alpha, 1e-6)
        names = [*MOVES, *LEVELS, *(COLOURS if self.all_ops else ())]
        self.parts = [self.part(name) for name in names]

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        keys = jax.random.split(key, 5)
        size = (self.num_chains, self.chain_depth)
        chosen = jax.random.randint(keys[0], size, 0, len(self.parts))
        depth = jax.random.randint(keys[1], (size[0], 1), 0, size[1] + 1)
        chosen = jnp.where(jnp.arange(size[1]) < depth, chosen, len(self.parts))
        weights = jax.random.dirichlet(keys[2], jnp.full(size[0], self.alpha), shape[:1])
        mixed = symmetric_beta(keys[3], self.alpha, shape[:1])
        return chosen, jax.random.split(keys[4], size), weights.T, mixed

    def change_images(self, images: Any, drawn: Any) -> Any:
        *steps, weights, mixed = drawn

        def add(total: Any, chain: Any) -> Any:
            *steps, weight = chain
            changed = self.walk("change_images", images, tuple(steps), images.shape)
            return total + columns(weight, images) * changed, None

        total, _ = lax.scan(add, jnp.zeros_like(images), (*steps, weights))
        return blend(images, total, columns(mixed, images))


__all__ = ["AugMix", "CutMix", "MixUp", "RandAugment"]
