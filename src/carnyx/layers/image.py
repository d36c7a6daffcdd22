"""What layers that change images share: batches and single images, dicts with boxes and masks.

A subclass says what one random draw is (`draw`) and what it does to a batch of channels-last images
(`change_images`), and, where needed, to boxes, masks and labels. Everything else is here, once.
Layers that move pixels are in `image_geometry.py`, those that change colours in `image_color.py`,
policies and mixtures of several images in `image_mix.py`.

Called on arrays outside a model (in a data pipeline), a layer compiles itself: one compiled call a
shape, instead of one a primitive. `Pipeline` calls several in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from carnyx.core import state
from carnyx.core.fields import tail
from carnyx.core.layer import Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat
from carnyx.ops import boxes as box_ops
from carnyx.ops import image as ops
from carnyx.random import SeedGenerator, draw_seed

arguments.SHARED["height, width"] = "the new size, from 1."
arguments.SHARED.update(
    factor=(
        "the chance that an image is changed, in [0, 1]: a pair (least, most) or f for (0, f),\n"
        "            from which each image draws its own, so that 1.0 changes half of them."
    ),
    fill_mode=(
        'what is read outside the image: "constant" (k k | a b c | k k, k the fill_value),\n'
        '            "nearest" (a a | a b c | c c), "reflect" (b a | a b c | c b) or "wrap"\n'
        "            (b c | a b c | a b)."
    ),
    fill_value='what "constant" fills with.',
    interpolation='"nearest" or "bilinear"; masks are always read at the nearest pixel.',
    value_range="(lowest, highest) of what the images hold.",
)

# Types in constructors, see `arguments.keep_given`.
Interval = Any  # a pair, or f for (-f, f), within the layer's `bounds`
Share = Any  # a pair, or f for (0, f), within [0, 1]
Interpolation = FillMode = str  # one of the layer's `interpolations`, `fill_modes`
Limits = Any  # two numbers that differ
Seed = int | None  # of the generator that the layer then has
arguments.RULES.update(
    Interval=lambda layer, name, value: layer.interval(name, value),
    Share=lambda layer, name, value: layer.interval(name, value, (0.0, 1.0)),
    Interpolation=lambda layer, name, v: arguments.choice(layer, name, v, layer.interpolations),
    FillMode=lambda layer, name, value: arguments.choice(layer, name, value, layer.fill_modes),
    Limits=lambda layer, name, value: layer.limits(name, value),
    Seed=lambda layer, name, value: layer.seeded(value),
)


@tail
class Seeded:
    """The last fields of most layers that draw."""

    seed: Seed = None
    data_format: DataFormat = None


@tail
class ImageOptions:
    """What type checkers shall know of `ImageLayer`'s constructor, besides the layers' fields."""

    bounding_box_format: str | None = None


class ImageLayer(ImageOptions, arguments.Declared, Layer):
    """Base: `call(data, training=True)`; data is an image [H, W, C], a batch [B, H, W, C] or a dict
    of "images" and any of "labels", "bounding_boxes" ({"boxes": [B, N, 4], "labels": [B, N]}) and
    "segmentation_masks" [B, H, W, 1]; other entries pass through.

    In inference the images pass through, cast to the compute type, unless `always` is set.
    """

    always = False  # whether the layer acts in inference too, with no key to draw from
    seed_generator: Any = None  # where nothing is drawn
    moves = True  # whether masks and boxes change with the images
    bounds = (-1.0, 1.0)  # what `factor` may be
    sorts_range = False  # whether configs hold `value_range` sorted, in a list, or as it was given
    rank = 2  # the axes of a `Window`
    interpolations: tuple[str, ...] = tuple(ops.ORDERS)
    fill_modes: tuple[str, ...] = ("constant", "nearest", "reflect", "wrap")
    interpolation, fill_mode = "bilinear", "constant"
    fill_value: Any = 0.0
    low: float  # the ends of `value_range`
    high: float

    def __init__(
        self, bounding_box_format: str | None = None, data_format: DataFormat = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if bounding_box_format is not None:
            arguments.choice(self, "bounding_box_format", bounding_box_format, box_ops.FORMATS)
        self.bounding_box_format = bounding_box_format
        self.data_format: Any = arguments.data_format(self, data_format)
        self.autocast = False  # integers and boxes stay as they are; `change` casts the images
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self.built = True

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: all but what is compiled, which is made anew when needed."""
        return {**self.__dict__, "_compiled": {}}

    def interval(self, name: str, value: Any, bounds: Any = None) -> tuple[float, float]:
        """(lower, upper) of a factor: a pair as it is, a number f as (-f, f) within the bounds."""
        least, most = bounds or self.bounds
        paired = isinstance(value, (tuple, list))
        if paired and len(value) != 2:
            raise arguments.refuse(self, name, value, "a number or a pair (lower, upper)")
        for end in value if paired else (value,):
            arguments.number(self, name, end, least, most)
        lower, upper = sorted(value if paired else (-abs(value), abs(value)))
        return max(lower, least), min(upper, most)

    def seeded(self, seed: Any) -> Any:
        """The seed, which `seed_generator` begins with."""
        self.seed_generator = SeedGenerator(seed)
        return seed

    def limits(self, name: str, value: Any) -> Any:
        """`value_range`, whose ends become `low` and `high`."""
        pair = isinstance(value, (list, tuple)) and len(value) == 2
        for end in value if pair else ():
            arguments.number(self, name, end)
        if not pair or value[0] == value[1]:
            raise arguments.refuse(self, name, value, "two different numbers, (least, greatest)")
        self.low, self.high = (float(end) for end in sorted(value))
        return sorted(value) if self.sorts_range else value

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        if name == "bounding_box_format":  # as in Keras's files
            return value is not None
        return super()._in_config(name, value, default, owner)

    # ---- what a subclass says, about channels-last batches

    def draw(self, shape: tuple[int, ...], key: Any) -> Any:
        """The random numbers for images of `shape` [B, H, W, C]: a structure of arrays [B, ...].

        `key` is None in the inference of layers that act always."""
        return None

    def change_images(self, images: Any, drawn: Any) -> Any:
        """The images [B, H, W, C] changed."""
        raise NotImplementedError

    def change_masks(self, masks: Any, drawn: Any) -> Any:
        """Segmentation masks [B, H, W, C] changed."""
        return self.change_images(masks, drawn) if self.moves else masks

    def change_boxes(self, boxes: Any, drawn: Any, size: tuple[int, int]) -> Any:
        """Corners [B, N, 4] as x1, y1, x2, y2 in pixels, in images of `size` (H, W)."""
        return boxes

    def change_labels(self, labels: Any, drawn: Any) -> Any:
        """The labels [B, ...] of the images."""
        return labels

    def output_type(self, images: Any) -> Any:
        """The type that images leave with."""
        return self.compute_dtype

    # ---- the rest, the same for all

    def call(self, data: Any, training: bool = True) -> Any:
        if isinstance(data, (list, tuple)):  # a nested list of numbers
            data = jnp.asarray(data, self.compute_dtype)
        active = bool(training) or self.always
        key = self.seed_generator.next() if training and self.seed_generator else None
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((data, key))):
            return self.apply(data, key, active)
        if active not in self._compiled:
            self._compiled[active] = jax.jit(lambda data, key: self.apply(data, key, active))
        return self._compiled[active](data, key)

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        """One draw for this batch, to be passed to the `transform_` methods."""
        if not (training or self.always):
            return None
        images = self._batch(data["images"] if isinstance(data, dict) else data).x
        seeds = self.seed_generator if seed is None else seed
        key = None if seeds is None or not training else draw_seed(seeds)
        if "draw" not in self._compiled:
            self._compiled["draw"] = jax.jit(self.draw, static_argnums=0)
        return self._compiled["draw"](images.shape, key)

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """The images under one draw of `get_random_transformation`."""
        batch = self._batch(images)
        x, dtype = batch.x, self.output_type(batch.x)
        if training or self.always:
            x = self.change_images(x.astype(jnp.promote_types(dtype, jnp.float32)), transformation)
        return batch.back(x.astype(dtype))

    def transform_segmentation_masks(
        self, segmentation_masks: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Masks under one draw, with nearest neighbours where pixels move."""
        batch = self._batch(segmentation_masks)
        active = training or self.always
        return batch.back(self.change_masks(batch.x, transformation) if active else batch.x)

    def transform_labels(self, labels: Any, transformation: Any, training: bool = True) -> Any:
        """Labels under one draw."""
        return self.change_labels(labels, transformation) if training or self.always else labels

    def apply(self, data: Any, key: Any, active: bool) -> Any:
        """The whole layer as a pure function of the data and a random key."""
        if not isinstance(data, dict):
            return self.apply({"images": data}, key, active)["images"]
        if "images" not in data:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': the input is an image, a batch, or a dict "
                "of 'images' and any of 'labels', 'bounding_boxes' and 'segmentation_masks'. "
                f"Received the keys {sorted(data)}."
            )
        out, before = dict(data), self._batch(data["images"])
        drawn = self.draw(before.x.shape, key) if active else None
        out["images"] = self.transform_images(data["images"], drawn, active)
        if "segmentation_masks" in data:
            masks = data["segmentation_masks"]
            out["segmentation_masks"] = self.transform_segmentation_masks(masks, drawn, active)
        if "labels" in data and active:
            labels = jnp.asarray(data["labels"])
            changed = self.change_labels(labels[None] if before.single else labels, drawn)
            out["labels"] = changed[0] if before.single else changed
        if "bounding_boxes" in data and self.moves:
            boxes, after = data["bounding_boxes"], self._batch(out["images"])
            out["bounding_boxes"] = self._boxes(boxes, drawn, active, before, after)
        return out

    def _boxes(self, boxes: Any, drawn: Any, active: bool, before: Any, after: Any) -> Any:
        """The boxes of images which as batches are `before`, and then `after`."""
        if self.bounding_box_format is None:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': the input has 'bounding_boxes', whose "
                'format is not said. Give the layer bounding_box_format="xyxy" (or another).'
            )
        if not active:
            return boxes
        boxes = jax.tree.map(lambda x: jnp.asarray(x)[None if before.single else ...], boxes)
        corners = box_ops.convert(boxes["boxes"], self.bounding_box_format, "xyxy", *before.size)
        changed = self.change_boxes(corners, drawn, before.size)
        # those that left the image get label -1 and zero corners
        out = box_ops.clip({**boxes, "boxes": changed}, *after.size)
        out["boxes"] = box_ops.convert(out["boxes"], "xyxy", self.bounding_box_format, *after.size)
        return jax.tree.map(lambda x: x[0], out) if before.single else out

    def _batch(self, images: Any) -> Any:
        """The images as a channels-last batch `x`, and the way `back` to the form of the input."""
        return ops.Batch(f"{type(self).__name__} '{self.name}'", images, self.data_format)


class Pipeline(Layer):
    """Several layers, each on what the one before gave: a plain layer, where Sequential is a model.

    `layers` get the call's `training`, as far as they take it; images or dicts pass through.

    >>> from carnyx import layers
    >>> pipe = Pipeline([layers.CenterCrop(4, 4), layers.Rescaling(1 / 2)])
    >>> float(pipe(jnp.ones((8, 8, 3)))[0, 0, 0])
    0.5
    """

    def __init__(self, layers: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise arguments.refuse(self, "layers", layers, "a list of layers")
        self._steps = list(layers)
        self.autocast = False
        self.built = True

    @property
    def layers(self) -> list[Any]:
        return list(self._steps)

    def call(self, inputs: Any, training: bool = True, mask: Any = None) -> Any:
        if mask is not None:  # it travels with the tensors
            state.set_mask(inputs, mask)
        for layer in self._steps:
            inputs = layer(inputs, training=training)
        return inputs


__all__ = ["Pipeline"]
