"""Layers that act in training only: dropout and noise; and penalties on activity.

Random numbers come from `carnyx.random`, with a seed generator that belongs to the layer.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx import random, regularizers
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import documented
from carnyx.random import SeedGenerator


class RandomLayer(Layer):
    """What layers that draw random numbers in training share."""

    def _setup(self, seed: Any, active: bool) -> None:
        self.seed = seed
        self.seed_generator = SeedGenerator(seed) if active else None
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.seed_generator is None:
            return inputs
        return self.disturb(inputs)

    def disturb(self, inputs: Any) -> Any:
        """What training does to the inputs."""
        raise NotImplementedError


@documented("seed")
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

    >>> import numpy as np
    >>> y = Dropout(0.5, seed=1)(np.ones((1, 1000)), training=True)
    >>> sorted(set(np.asarray(y)[0].tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = arguments.number(self, "rate", rate, 0, 1)
        self.noise_shape = None
        if noise_shape is not None:
            good = isinstance(noise_shape, (list, tuple)) and all(
                n is None or (arguments.is_whole(n) and n > 0) for n in noise_shape
            )
            if not good:
                raise arguments.refuse(
                    self, "noise_shape", noise_shape, "a tuple of sizes from 1, or None for sizes"
                )
            self.noise_shape = tuple(noise_shape)
        self._setup(seed, rate > 0)

    def disturb(self, inputs: Any) -> Any:
        return random.dropout(inputs, self.rate, self.noise_shape, seed=self.seed_generator)


class SpatialDropout(RandomLayer):
    """Dropout of whole channels (Tompson et al. 2015).

    A neighbourhood of a feature map says nearly the same thing twice, so that dropping single
    places would change little.
    """

    rank = 0
    data_format = "channels_last"

    def _start(self, rate: Any, seed: Any) -> None:
        self.rate = arguments.number(self, "rate", rate, 0, 1)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self._setup(seed, self.rate > 0)

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name == "dtype":  # in these layers' files a plain name
            return self.dtype_policy.name
        return super()._config_value(name, recorded, owner)

    def disturb(self, inputs: Any) -> Any:
        ones = (1,) * self.rank
        shape = (None, *ones, None) if self.data_format == "channels_last" else (None, None, *ones)
        return random.dropout(inputs, self.rate, shape, seed=self.seed_generator)


@documented("seed")
class SpatialDropout1D(SpatialDropout):
    """In training each channel of a sequence [B, T, C] is dropped as a whole.

    Args:
        rate: fraction in [0, 1] of the channels.
        [shared]

    >>> import numpy as np
    >>> y = SpatialDropout1D(0.5, seed=1)(np.ones((4, 3, 5)), training=True)
    >>> bool((y[:, :1] == y).all())
    True
    """

    rank = 1

    def __init__(
        self, rate: float, seed: Any = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._start(rate, seed)


@documented("data_format", "seed")
class SpatialDropout2D(SpatialDropout):
    """In training each channel of an image [B, H, W, C] is dropped as a whole.

    Args:
        rate: fraction in [0, 1] of the channels.
        [shared]

    >>> import numpy as np
    >>> y = SpatialDropout2D(0.5, seed=1)(np.ones((4, 3, 3, 5)), training=True)
    >>> bool((y[:, :1, :1] == y).all())
    True
    """

    rank = 2

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.data_format = arguments.data_format(self, data_format)
        self._start(rate, seed)


@documented("data_format", "seed")
class SpatialDropout3D(SpatialDropout):
    """In training each channel of a volume [B, D, H, W, C] is dropped as a whole.

    Args:
        rate: fraction in [0, 1] of the channels.
        [shared]

    >>> import numpy as np
    >>> y = SpatialDropout3D(0.5, seed=1)(np.ones((4, 2, 2, 2, 5)), training=True)
    >>> bool((y[:, :1, :1, :1] == y).all())
    True
    """

    rank = 3

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.data_format = arguments.data_format(self, data_format)
        self._start(rate, seed)


@documented("seed")
class GaussianNoise(RandomLayer):
    """In training x + n, n normal with mean 0 and standard deviation `stddev`; otherwise x.

    Args:
        stddev: in [0, 1].
        [shared]

    >>> import numpy as np
    >>> GaussianNoise(0.1)(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, stddev: float, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = arguments.number(self, "stddev", stddev, 0, 1)
        self._setup(seed, self.stddev > 0)

    def disturb(self, inputs: Any) -> Any:
        dtype = self.compute_dtype
        return inputs + random.normal(
            inputs.shape, 0.0, self.stddev, dtype, seed=self.seed_generator
        )


@documented("seed")
class GaussianDropout(RandomLayer):
    """In training x n, n normal with mean 1 and variance rate / (1 - rate); otherwise x.

    Args:
        rate: in [0, 1), with the same mean and variance as Dropout of that rate.
        [shared]

    Srivastava et al. (2014), section 10.

    >>> import numpy as np
    >>> GaussianDropout(0.3)(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, rate: float, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = arguments.number(self, "rate", rate, 0, 1)
        if self.rate == 1:  # the variance would be infinite
            raise arguments.refuse(self, "rate", rate, "below 1")
        self._setup(seed, self.rate > 0)

    def disturb(self, inputs: Any) -> Any:
        spread = (self.rate / (1 - self.rate)) ** 0.5
        dtype = self.compute_dtype
        return inputs * random.normal(inputs.shape, 1.0, spread, dtype, seed=self.seed_generator)


# Klambauer et al. (2017), equation 14: the fixed point of SELU, and the value that a dropped
# activation takes, -lambda alpha.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@documented("seed")
class AlphaDropout(RandomLayer):
    """Dropout for SELU networks: keeps mean 0 and variance 1 of its inputs.

    In training a (x or, where dropped, -lambda alpha) + b, with a and b such that mean and
    variance stay.

    Args:
        rate: fraction in [0, 1] that is dropped.
        noise_shape: as in `Dropout`.
        [shared]

    Klambauer et al. (2017).

    >>> import numpy as np
    >>> AlphaDropout(0.3)(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = arguments.number(self, "rate", rate, 0, 1)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self._setup(seed, self.rate > 0)

    def disturb(self, inputs: Any) -> Any:
        if self.rate == 1:
            return jnp.zeros_like(inputs)
        floor, keep = -SELU_ALPHA * SELU_SCALE, 1 - self.rate
        shape = self.noise_shape or inputs.shape
        shape = [own if n is None else n for n, own in zip(shape, inputs.shape, strict=True)]
        kept = random.uniform(shape, seed=self.seed_generator) >= self.rate
        a = (keep * (1 + self.rate * floor**2)) ** -0.5
        return a * (jnp.where(kept, inputs, floor) - self.rate * floor)


class ActivityRegularization(Layer):
    """Passes its input on and adds l1 sum |x| + l2 sum x^2 to the loss.

    Args:
        l1, l2: factors from 0.

    >>> import numpy as np
    >>> layer = ActivityRegularization(l2=0.5)
    >>> _ = layer(np.array([[3.0, 4.0]]))
    >>> float(sum(layer.losses))
    12.5
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.l1 = arguments.number(self, "l1", l1, 0)
        self.l2 = arguments.number(self, "l2", l2, 0)
        self.activity_regularizer = regularizers.L1L2(l1, l2)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


__all__ = """
    ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise
    SpatialDropout1D SpatialDropout2D SpatialDropout3D
""".split()
