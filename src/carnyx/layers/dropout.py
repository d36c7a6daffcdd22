"""Layers that act in training only: dropout and noise; and penalties on activity.

Random numbers come from `carnyx.random`, with a seed generator that belongs to the layer.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx import random, regularizers
from carnyx.core.fields import declared
from carnyx.core.layer import Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, Declared, Fraction, FromZero
from carnyx.layers.spatial import SpatialLayer
from carnyx.random import SeedGenerator

NoiseShape = Any  # a tuple


def noise_shape(layer: Any, argument: str, value: Any) -> tuple[int | None, ...]:
    """The shape of what is drawn."""
    given = isinstance(value, (list, tuple))
    if not given or not all(n is None or (arguments.is_whole(n) and n > 0) for n in value):
        raise arguments.refuse(layer, argument, value, "a tuple of sizes from 1, or None for sizes")
    return tuple(value)


arguments.RULES["NoiseShape"] = noise_shape


class RandomLayer(Declared, Layer):
    """What layers that draw random numbers in training share."""

    supports_masking = True
    strength = "rate"  # the argument that says how much is disturbed: at 0 nothing is drawn
    seed: Any

    def _set_up(self) -> None:
        self.seed_generator = SeedGenerator(self.seed) if getattr(self, self.strength) > 0 else None
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.seed_generator is None:
            return inputs
        return self.disturb(inputs)

    def disturb(self, inputs: Any) -> Any:
        """What training does to the inputs."""
        raise NotImplementedError


@declared
class Dropout(RandomLayer):
    """In training each element is 0 with probability `rate`, else x / (1 - rate); otherwise x.

    Args:
        rate: fraction in [0, 1] that is dropped.
        noise_shape: shape of the mask, with 1 on axes that drop as one and None where it is the
            input's size; None for a mask element for every input element.
        [shared]

    Raises:
        ValueError: `rate` outside [0, 1].

    Srivastava et al. (2014).

    >>> y = Dropout(0.5, seed=1)(jnp.ones((1, 1000)), training=True)
    >>> sorted(set(y[0].tolist()))
    [0.0, 2.0]
    """

    rate: Fraction
    noise_shape: NoiseShape | None = None
    seed: Any = None

    def disturb(self, inputs: Any) -> Any:
        return random.dropout(inputs, self.rate, self.noise_shape, seed=self.seed_generator)


class SpatialDropout(RandomLayer, SpatialLayer):
    """Dropout of whole channels.

    A neighbourhood of a feature map says nearly the same thing twice, so that dropping single
    places would change little (Tompson et al. 2015).

    Args:
        rate: fraction in [0, 1] of the channels.
        data_format: of images and volumes, "channels_last" or "channels_first" (B, C, *space);
            None for the global setting.
        [shared]
    """

    plain_dtype = True
    rate: float

    def __init__(  # not declared: takes no other options
        self,
        rate: Fraction,
        data_format: DataFormat = None,
        seed: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        arguments.keep_given(self, locals())
        self._set_up()

    def disturb(self, inputs: Any) -> Any:
        shape = self.spread([1] * self.rank, None)
        return random.dropout(inputs, self.rate, shape, seed=self.seed_generator)


class SpatialDropout1D(SpatialDropout, rank=1):
    """In training each channel of a sequence [B, T, C] is dropped as a whole.

    >>> y = SpatialDropout1D(0.5, seed=1)(jnp.ones((4, 3, 5)), training=True)
    >>> bool((y[:, :1] == y).all())
    True
    """

    def __init__(
        self, rate: float, seed: Any = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(rate, "channels_last", seed, name, dtype)


class SpatialDropout2D(SpatialDropout, rank=2):
    """In training each channel of an image [B, H, W, C] is dropped as a whole.

    >>> y = SpatialDropout2D(0.5, seed=1)(jnp.ones((4, 3, 3, 5)), training=True)
    >>> bool((y[:, :1, :1] == y).all())
    True
    """


class SpatialDropout3D(SpatialDropout, rank=3):
    """In training each channel of a volume [B, D, H, W, C] is dropped as a whole.

    >>> y = SpatialDropout3D(0.5, seed=1)(jnp.ones((4, 2, 2, 2, 5)), training=True)
    >>> bool((y[:, :1, :1, :1] == y).all())
    True
    """


@declared
class GaussianNoise(RandomLayer):
    """In training x + n, n normal with mean 0 and standard deviation `stddev`; otherwise x.

    Args:
        stddev: in [0, 1].
        [shared]

    >>> GaussianNoise(0.1)(jnp.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    strength = "stddev"
    stddev: Fraction
    seed: Any = None

    def disturb(self, inputs: Any) -> Any:
        dtype = self.compute_dtype
        return inputs + random.normal(inputs.shape, 0, self.stddev, dtype, self.seed_generator)


@declared
class GaussianDropout(RandomLayer):
    """In training x n, n normal with mean 1 and variance rate / (1 - rate); otherwise x.

    Args:
        rate: in [0, 1), with the same mean and variance as Dropout of that rate.
        [shared]

    Srivastava et al. (2014), section 10.

    >>> GaussianDropout(0.3)(jnp.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    rate: Fraction
    seed: Any = None

    def _set_up(self) -> None:
        super()._set_up()
        if self.rate == 1:  # the variance would be infinite
            raise arguments.refuse(self, "rate", self.rate, "below 1")

    def disturb(self, inputs: Any) -> Any:
        spread = (self.rate / (1 - self.rate)) ** 0.5
        dtype = self.compute_dtype
        return inputs * random.normal(inputs.shape, 1, spread, dtype, self.seed_generator)


# Klambauer et al. (2017), equation 14: the fixed point of SELU, and the value that a dropped
# activation takes, -lambda alpha.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@declared
class AlphaDropout(RandomLayer):
    """Dropout for SELU networks: keeps mean 0 and variance 1 of its inputs.

    In training a (x or, where dropped, -lambda alpha) + b, with a and b such that mean and
    variance stay.

    Args:
        rate: fraction in [0, 1] that is dropped.
        noise_shape: as in `Dropout`.
        [shared]

    Klambauer et al. (2017).

    >>> AlphaDropout(0.3)(jnp.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    rate: Fraction
    noise_shape: NoiseShape | None = None
    seed: Any = None

    def disturb(self, inputs: Any) -> Any:
        if self.rate == 1:
            return jnp.zeros_like(inputs)
        floor, keep = -SELU_ALPHA * SELU_SCALE, 1 - self.rate
        shape = self.noise_shape or inputs.shape
        shape = [own if n is None else n for n, own in zip(shape, inputs.shape, strict=True)]
        kept = random.uniform(shape, seed=self.seed_generator) >= self.rate
        a = (keep * (1 + self.rate * floor**2)) ** -0.5
        return a * (jnp.where(kept, inputs, floor) - self.rate * floor)


@declared
class ActivityRegularization(Declared, Layer):
    """Passes its input on and adds l1 sum |x| + l2 sum x^2 to the loss.

    Args:
        l1, l2: factors from 0.

    >>> layer = ActivityRegularization(l2=0.5)
    >>> _ = layer(jnp.array([[3.0, 4.0]]))
    >>> float(sum(layer.losses))
    12.5
    """

    supports_masking = True
    l1: FromZero = 0.0
    l2: FromZero = 0.0

    def _set_up(self) -> None:
        self.activity_regularizer = regularizers.L1L2(self.l1, self.l2)

    def call(self, inputs: Any) -> Any:
        return inputs


__all__ = """
    ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise
    SpatialDropout1D SpatialDropout2D SpatialDropout3D
""".split()
