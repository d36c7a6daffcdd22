"""Normalisation: over the batch, over axes of each sample, over groups of channels, to length 1.

Statistics are computed in float32 at least, whatever the layer's type. Means are taken before
variances (two passes over the data): the one-pass form E[x^2] - E[x]^2 loses every digit for
inputs such as 1000 +- 0.1.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from carnyx import initializers
from carnyx.core import state
from carnyx.core.fields import declared, tail
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import Axes, Axis, Declared, FileOptions, Fraction, FromZero, Whole
from carnyx.layers.wrappers import Wrapper
from carnyx.ops import nn
from carnyx.ops.table import wide


@tail
class ScaleOptions:
    """Fields of layers with a learned scale gamma and centre beta."""

    epsilon: FromZero = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = "zeros"
    gamma_initializer: Any = "ones"
    beta_regularizer: Any = None
    gamma_regularizer: Any = None
    beta_constraint: Any = None
    gamma_constraint: Any = None


class Rescaled(FileOptions, Layer):
    """What these layers share."""

    supports_masking = True
    center: bool
    scale: bool
    gamma: Any = None
    beta: Any = None

    def _add_scale(self, shape: Any) -> None:
        """gamma and beta, where they are wanted; kept out of half precision."""
        if self.scale:
            self.gamma = arguments.add_weight(self, "gamma", shape, autocast=False)
        if self.center:
            self.beta = arguments.add_weight(self, "beta", shape, autocast=False)

    @property
    def _scales(self) -> tuple[Any, Any]:
        """The values of gamma and beta, None where there is none."""
        return tuple(None if w is None else w.value for w in (self.gamma, self.beta))  # type: ignore[return-value]


@declared
class BatchNormalization(Rescaled):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, statistics of each channel in the batch.

    In training the statistics are the batch's, and the moving ones go towards them:
    moving <- momentum moving + (1 - momentum) batch. Otherwise, or when the layer is frozen
    (trainable = False), the moving ones are used. Shapes stay as they are.

    Weights: gamma, beta, moving_mean, moving_variance, each [C]; the last two not trainable, in
    float32.

    Args:
        axis: the channel axis.
        momentum: the fraction of the moving statistics that is kept at a step, in [0, 1].
        [shared]
        synchronized: whether replicas share statistics; has no effect on one device.
        renorm: batch renormalisation (Ioffe 2017): in training the result of above is r times
            larger and moved by d, so that it is what the moving statistics would give:
            r = batch stddev / renorm_stddev, d = (batch mean - renorm_mean) / renorm_stddev, both
            without gradient. Three more weights: moving_stddev, renorm_mean, renorm_stddev.
        renorm_clipping: bounds of r and d, a dictionary with "rmin", "rmax" and "dmax", or fewer.
        renorm_momentum: the fraction of renorm_mean and renorm_stddev that is kept at a step.

    Call arguments:
        mask: bool [B, T]; steps where it is False do not count in the statistics.

    Raises:
        ValueError: an axis that the input does not have, or of unknown size.

    Ioffe and Szegedy (2015). The variance is the biased one everywhere.

    >>> import numpy as np
    >>> layer = BatchNormalization(epsilon=0)
    >>> layer(np.array([[1.0], [3.0]]), training=True).tolist()
    [[-1.0], [1.0]]
    >>> round(float(layer.moving_mean[0]), 6)
    0.02
    """

    axis: Axis = -1
    momentum: Fraction = 0.99
    epsilon: FromZero = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = "zeros"
    gamma_initializer: Any = "ones"
    moving_mean_initializer: Any = "zeros"
    moving_variance_initializer: Any = "ones"
    beta_regularizer: Any = None
    gamma_regularizer: Any = None
    beta_constraint: Any = None
    gamma_constraint: Any = None
    renorm: bool = False
    renorm_clipping: Any = None
    renorm_momentum: Fraction = 0.99
    synchronized: bool = False

    def _set_up(self) -> None:
        if self.renorm:
            self.renorm_clipping = self._bounds(self.renorm_clipping)

    def build(self, input_shape: Any) -> None:
        (axis,) = arguments.axes_of(self, self.axis, len(input_shape))
        size = arguments.known(self, input_shape, axis, "the channel axis")
        self._add_scale((size,))
        narrow = self.variable_dtype in ("float16", "bfloat16")
        fixed = {"dtype": "float32" if narrow else None, "trainable": False, "autocast": False}

        def moving(name: str, start: Any) -> Any:
            return self.add_weight((size,), start, name=name, **fixed)

        mean, variance = self.moving_mean_initializer, self.moving_variance_initializer
        self.moving_mean = moving("moving_mean", mean)
        self.moving_variance = moving("moving_variance", variance)
        if self.renorm:
            self.moving_stddev = moving("moving_stddev", _rooted(variance))
            self.renorm_mean = moving("renorm_mean", mean)
            self.renorm_stddev = moving("renorm_stddev", _rooted(variance))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: size})

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        x = wide(inputs)
        gamma, beta = self._scales
        if training and self.trainable:
            mean, variance = self._batch_statistics(x, mask)
            if self.renorm:
                r, d = self._renormalise(*map(lax.stop_gradient, (mean, variance)))
                beta = d * (1 if gamma is None else gamma) + (0 if beta is None else beta)
                gamma = r if gamma is None else r * gamma
            else:
                self._move("moving_mean", mean, self.momentum)
                self._move("moving_variance", variance, self.momentum)
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        y = nn.batch_normalization(x, mean, variance, self.axis, beta, gamma, self.epsilon)
        return y.astype(inputs.dtype)

    def _move(self, name: str, batch: Any, momentum: float) -> Any:
        """Moves a statistic towards the batch's; returns where it was."""
        before = (moving := getattr(self, name)).value
        moving.assign(momentum * before + (1 - momentum) * lax.stop_gradient(batch))
        return before

    def _renormalise(self, mean: Any, variance: Any) -> tuple[Any, Any]:
        """r and d for the batch's statistics, which the moving ones then go towards."""
        stddev, bounds = jnp.sqrt(variance + self.epsilon), self.renorm_clipping
        reference_mean = self._move("renorm_mean", mean, self.renorm_momentum)
        reference = self._move("renorm_stddev", stddev, self.renorm_momentum)
        self._move("moving_mean", mean, self.momentum)
        self._move("moving_stddev", stddev, self.momentum)
        moved = jnp.square(self.moving_stddev.value) - self.epsilon
        self.moving_variance.assign(jnp.maximum(moved, 0))
        r = jnp.clip(stddev / reference, bounds.get("rmin"), bounds.get("rmax"))
        d, most = (mean - reference_mean) / reference, bounds.get("dmax")
        return r, d if most is None else jnp.clip(d, -most, most)

    def _bounds(self, given: Any) -> dict[str, float]:
        """`renorm_clipping`, checked."""
        bounds = {} if given is None else given
        if not isinstance(bounds, dict) or not set(bounds) <= {"rmin", "rmax", "dmax"}:
            raise arguments.refuse(
                self, "renorm_clipping", given, 'a dictionary with keys of "rmin", "rmax", "dmax"'
            )
        for name, bound in bounds.items():
            arguments.number(self, f"renorm_clipping[{name!r}]", bound, 0)
        if bounds.get("rmin", 0) > bounds.get("rmax", float("inf")):
            raise arguments.refuse(self, "renorm_clipping", given, "a dictionary with rmin <= rmax")
        return dict(bounds)

    def _batch_statistics(self, x: Any, mask: Any) -> tuple[Any, Any]:
        axes = [a for a in range(x.ndim) if a != self.axis % x.ndim]
        if mask is None:
            return nn.moments(x, axes)
        weight = jnp.asarray(mask, x.dtype)
        weight = weight.reshape(*weight.shape, *(1,) * (x.ndim - weight.ndim))
        weight = jnp.broadcast_to(weight, x.shape)
        total = jnp.maximum(jnp.sum(weight, axes, keepdims=True), 1)  # all masked: zeros, not NaN
        mean = jnp.sum(x * weight, axes, keepdims=True) / total
        variance = jnp.sum(jnp.square(x - mean) * weight, axes, keepdims=True) / total
        return jnp.squeeze(mean, axes), jnp.squeeze(variance, axes)


def _rooted(initializer: Any) -> Any:
    return lambda shape, dtype=None: jnp.sqrt(initializer(shape, dtype=dtype))


@declared
class LayerNormalization(ScaleOptions, Rescaled):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, statistics of each sample over `axis`.

    Weights: gamma and beta, with the sizes of the normalised axes. Shapes stay as they are.

    Args:
        axis: an axis or a list of axes.
        [shared]

    Ba, Kiros and Hinton (2016).

    >>> import numpy as np
    >>> LayerNormalization(epsilon=0)(np.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """

    absent = {"rms_scaling": False}

    axis: Axes = -1

    def build(self, input_shape: Any) -> None:
        axes = sorted(arguments.axes_of(self, self.axis, len(input_shape)))
        shape = [arguments.known(self, input_shape, a, "a normalised axis") for a in axes]
        self._add_scale(tuple(shape))

    def call(self, inputs: Any) -> Any:
        gamma, beta = self._scales
        axes = arguments.axes_of(self, self.axis, inputs.ndim)
        return nn.layer_normalization(inputs, gamma, beta, axes, self.epsilon)


@declared
class GroupNormalization(ScaleOptions, Rescaled):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, statistics of each sample and group.

    The channels are cut into `groups`; a group's statistics go over its channels and all places.
    Weights: gamma and beta [C]. Shapes stay as they are.

    Args:
        groups: how many groups, dividing the channels; -1 for one for each channel.
        axis: the channel axis.
        [shared]

    Raises:
        ValueError: `groups` that does not divide the channels.

    Wu and He (2018).

    >>> import numpy as np
    >>> GroupNormalization(2, epsilon=0)(np.array([[1.0, 3.0, 5.0, 9.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    groups: int = 32
    axis: Axis = -1

    def _set_up(self) -> None:
        if self.groups != -1:
            self.groups = arguments.whole(self, "groups", self.groups)

    def build(self, input_shape: Any) -> None:
        (axis,) = arguments.axes_of(self, self.axis, len(input_shape))
        size = arguments.known(self, input_shape, axis, "the channel axis")
        if self.groups != -1 and size % self.groups:
            raise arguments.refuse(
                self, "groups", self.groups, f"a divisor of the {size} channels (axis {axis})"
            )
        self._add_scale((size,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: size})

    def call(self, inputs: Any) -> Any:
        x = jnp.moveaxis(wide(inputs), self.axis, -1)
        groups = x.shape[-1] if self.groups == -1 else self.groups
        grouped = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
        y = nn.layer_normalization(grouped, axis=(1, 3), epsilon=self.epsilon).reshape(x.shape)
        gamma, beta = self._scales
        y = y if gamma is None else y * gamma
        y = y if beta is None else y + beta
        return jnp.moveaxis(y, -1, self.axis).astype(inputs.dtype)


@declared
class RMSNormalization(Declared, Layer):
    """scale x / sqrt(mean(x^2) + epsilon), the mean of each sample over `axis`.

    Weights: scale, with the sizes of the normalised axes. Shapes stay as they are.

    Args:
        axis: an axis or a list of axes.
        epsilon: added to the mean square, so that its root is not 0.

    Zhang and Sennrich (2019).

    >>> import numpy as np
    >>> RMSNormalization(epsilon=0)(np.array([[3.0, 3.0]])).tolist()
    [[1.0, 1.0]]
    """

    axis: Any = -1
    epsilon: FromZero = 1e-6

    def build(self, input_shape: Any) -> None:
        axes = sorted(arguments.axes_of(self, self.axis, len(input_shape)))
        shape = [arguments.known(self, input_shape, a, "a normalised axis") for a in axes]
        self.scale = self.add_weight(tuple(shape), "ones", autocast=False, name="scale")

    def call(self, inputs: Any) -> Any:
        axes = arguments.axes_of(self, self.axis, inputs.ndim)
        return nn.rms_normalization(inputs, self.scale.value, axes, self.epsilon)


@declared
class UnitNormalization(Declared, Layer):
    """x divided by its length over `axis`: the squares of the result sum to 1.

    Args:
        axis: an axis or a list of axes.

    >>> import numpy as np
    >>> [round(v, 6) for v in UnitNormalization()(np.array([[3.0, 4.0]]))[0].tolist()]
    [0.6, 0.8]
    """

    supports_masking = True
    axis: Axes = -1

    def call(self, inputs: Any) -> Any:
        axes = arguments.axes_of(self, self.axis, inputs.ndim)
        return nn.normalize(inputs, axes, epsilon=1e-6)


@declared
class SpectralNormalization(Wrapper):
    """A layer whose kernel is divided by its spectral norm, so that it stretches by at most 1.

    In every training call, with W the kernel as a matrix [-1, C] and u [1, C] kept between calls,
    `power_iterations` times: v = u W^T / |u W^T|, u = v W / |v W|; then the kernel becomes
    W / sigma with sigma = v W u^T. The gradient goes through sigma, not through u and v. Other
    calls use the kernel as it is.

    Weights: those of the layer, and vector_u [1, C], not trainable.

    Args:
        layer: a layer with a `kernel` or `embeddings`, e.g. Dense or Conv2D.
        power_iterations: how often u and v are bettered in a call, from 1.

    Raises:
        ValueError: a layer that has neither.

    Miyato et al. (2018), algorithm 1; there the quotient is used and W kept.

    >>> import numpy as np
    >>> from carnyx.layers.dense import Dense
    >>> layer = SpectralNormalization(Dense(2, kernel_initializer="ones"), power_iterations=3)
    >>> [round(v, 5) for v in layer(np.ones((1, 2)), training=True)[0].tolist()]  # ones: sigma = 2
    [1.0, 1.0]
    """

    layer: Any
    power_iterations: Whole = 1

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        for name in ("kernel", "embeddings"):
            if hasattr(self.layer, name):
                self.kernel = getattr(self.layer, name)
                break
        else:
            raise arguments.refuse(
                self, "layer", self.layer, "a layer with a weight `kernel` or `embeddings`"
            )
        self.vector_u = self.add_weight(
            (1, self.kernel.shape[-1]),
            initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
            autocast=False,
            name="vector_u",
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            with state.autocast_scope(None):  # kernel / sigma is stored: not rounded to a half type
                self._normalise()
        return self.layer(inputs)

    def _normalise(self) -> None:
        kernel = self.kernel.value
        w, u = wide(kernel).reshape(-1, kernel.shape[-1]), wide(self.vector_u.value)
        fixed = lax.stop_gradient(w)
        v = u @ fixed.T
        for _ in range(self.power_iterations):
            v = _unit(u @ fixed.T)
            u = _unit(v @ fixed)
        sigma = v @ w @ u.T
        self.vector_u.assign(u)
        self.kernel.assign(kernel / jnp.where(sigma == 0, 1, sigma)[0, 0])


def _unit(x: Any) -> Any:
    return x * lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x)), 1e-12))


__all__ = """
    BatchNormalization GroupNormalization LayerNormalization RMSNormalization
    SpectralNormalization UnitNormalization
""".split()
