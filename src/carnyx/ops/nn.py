"""Operations of neural networks: activations, softmax, one-hot, normalisation.

Layers that use these are in `layers/`; convolution, pooling and recurrence have files of their own.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.core.dtypes import epsilon as _epsilon
from carnyx.core.dtypes import standardize_data_format, standardize_dtype
from carnyx.ops import convolution, pooling
from carnyx.ops.table import op, publish


def _one(x: Any) -> Any: ...


def _along(x: Any, axis: Any = -1) -> Any: ...


def _pooled(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any: ...


def _pool(function: Any) -> Any:
    def run(
        x: Any, size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None
    ) -> Any:
        return function(x, size, strides, padding, standardize_data_format(data_format))

    return run


ONE = {
    "hard_sigmoid": (jax.nn.hard_sigmoid, "min(max(x / 6 + 0.5, 0), 1)."),
    "hard_silu": (jax.nn.hard_silu, "x hard_sigmoid(x)."),
    "hard_swish": (jax.nn.hard_silu, "x hard_sigmoid(x)."),
    "hard_tanh": (jax.nn.hard_tanh, "min(max(x, -1), 1)."),
    "log_sigmoid": (jax.nn.log_sigmoid, "-log(1 + exp(-x))."),
    "relu": (jax.nn.relu, "max(x, 0)."),
    "relu6": (jax.nn.relu6, "min(max(x, 0), 6)."),
    "selu": (jax.nn.selu, "1.0507 x above 0, 1.7581 (exp(x) - 1) below."),
    "sigmoid": (jax.nn.sigmoid, "1 / (1 + exp(-x))."),
    "silu": (jax.nn.silu, "x sigmoid(x)."),
    "softplus": (jax.nn.softplus, "log(1 + exp(x))."),
    "softsign": (jax.nn.soft_sign, "x / (1 + |x|)."),
    "swish": (jax.nn.silu, "x sigmoid(x)."),
    "tanh_shrink": (lambda x: x - jnp.tanh(x), "x - tanh(x)."),
}
ALONG = {
    "log_softmax": (jax.nn.log_softmax, "x - log(sum(exp x)) along `axis`."),
    "softmax": (jax.nn.softmax, "exp(x) / sum(exp x) along `axis`."),
}
POOLS = {
    "average_pool": (_pool(pooling.average_pool), "The mean of every window."),
    "max_pool": (_pool(pooling.max_pool), "The maximum of every window."),
}
publish(globals(), _one, ONE)
publish(globals(), _along, ALONG)
publish(globals(), _pooled, POOLS)


@op
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x above 0, negative_slope x below.

    >>> leaky_relu(jnp.array([-2.0, 2.0]), 0.5).tolist()
    [-1.0, 2.0]
    """
    return jax.nn.leaky_relu(x, negative_slope)


@op
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, alpha (exp(x) - 1) below.

    >>> elu(jnp.array([-100.0, 2.0])).tolist()
    [-1.0, 2.0]
    """
    return jax.nn.elu(x, alpha)


@op
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, alpha (exp(x / alpha) - 1) below.

    >>> celu(jnp.array([-100.0, 2.0])).tolist()
    [-1.0, 2.0]
    """
    return jax.nn.celu(x, alpha)


@op
def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution function of x, by a tanh approximation unless told not to.

    >>> float(gelu(0.0))
    0.0
    """
    return jax.nn.gelu(x, approximate)


@op
def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """1 at the class and 0 elsewhere, on a new axis: [...] -> [..., num_classes].

    A negative or too large class gives zeros only.

    >>> one_hot([1, 0], 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if sparse:
        raise ValueError("ops.one_hot: sparse tensors are not supported. Use sparse=False.")
    return jax.nn.one_hot(x, num_classes, dtype=standardize_dtype(dtype), axis=axis)


@op
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Convolution: [B, *space, C], [*window, C / groups, K] -> [B, *space', K].

    >>> conv(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 3))).shape
    (1, 3, 3)
    """
    data_format = standardize_data_format(data_format)
    inputs, kernel = jnp.asarray(inputs), jnp.asarray(kernel)
    channels = inputs.shape[-1 if data_format == "channels_last" else 1]
    if channels % kernel.shape[-2]:
        raise ValueError(
            f"ops.conv: the kernel of shape {kernel.shape} takes {kernel.shape[-2]} channels, "
            f"which does not divide the input's {channels} (shape {inputs.shape})."
        )
    return convolution.conv(
        inputs, kernel, strides=strides, padding=padding, dilation=dilation_rate,
        groups=channels // kernel.shape[-2], data_format=data_format,
    )  # fmt: skip


def widened(x: Any) -> Any:
    """Half types as float32, in which statistics are computed."""
    return x.astype("float32") if x.dtype.itemsize < 4 else x


def _broadcast(x: Any, v: Any, axis: Any) -> Any:
    """A weight over `axis` in a shape that broadcasts against x."""
    axes = sorted(a % x.ndim for a in (axis if isinstance(axis, (list, tuple)) else (axis,)))
    return jnp.reshape(v, [x.shape[a] if a in axes else 1 for a in range(x.ndim)])


@op
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """Mean and variance over `axes`, accumulated in float32: mean(x), mean((x - mean)^2).

    >>> [float(m) for m in moments(jnp.array([1.0, 3.0]), [0])]
    [2.0, 1.0]
    """
    axes = tuple(axes) if isinstance(axes, (list, tuple)) else (axes,)
    wide = widened(jnp.asarray(x))
    mean = jnp.mean(wide, axes, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axes, keepdims=True)
    if not keepdims:
        mean, variance = jnp.squeeze(mean, axes), jnp.squeeze(variance, axes)
    return mean.astype(x.dtype), variance.astype(x.dtype)


@op
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, all given along `axis`.

    >>> batch_normalization(jnp.ones((1, 2)), jnp.zeros(2), jnp.ones(2), -1, epsilon=0).tolist()
    [[1.0, 1.0]]
    """
    inverse = lax.rsqrt(variance + epsilon)
    if scale is not None:
        inverse = inverse * scale
    # The mean first: x * inverse - mean * inverse loses digits when the mean is large.
    y = (x - _broadcast(x, mean, axis)) * _broadcast(x, inverse, axis)
    return y if offset is None else y + _broadcast(x, offset, axis)


@op
def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: Any = -1,
    epsilon: float | None = None,
    **kwargs: Any,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, statistics over `axis`.

    >>> layer_normalization(jnp.array([[1.0, 3.0]]), epsilon=0).tolist()
    [[-1.0, 1.0]]
    """
    if kwargs:
        raise ValueError(f"ops.layer_normalization: unknown arguments {sorted(kwargs)}.")
    x = jnp.asarray(x)
    wide = widened(x)
    centred = wide - jnp.mean(wide, axis, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis, keepdims=True)
    y = centred * lax.rsqrt(variance + (_epsilon() if epsilon is None else epsilon))
    y = y if gamma is None else y * _broadcast(x, gamma, axis)
    y = y if beta is None else y + _broadcast(x, beta, axis)
    return y.astype(x.dtype)


@op
def rms_normalization(
    x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None
) -> Any:
    """x / sqrt(mean(x^2) + epsilon) * scale, the mean over `axis`.

    >>> rms_normalization(jnp.array([[3.0, 3.0]]), epsilon=0).tolist()
    [[1.0, 1.0]]
    """
    x = jnp.asarray(x)
    wide = widened(x)
    power = jnp.mean(jnp.square(wide), axis, keepdims=True)
    y = wide * lax.rsqrt(power + (_epsilon() if epsilon is None else epsilon))
    if scale is not None:
        scale = jnp.asarray(scale)
        y = y * (_broadcast(x, scale, axis) if scale.ndim else scale)
    return y.astype(x.dtype)


@op
def normalize(x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Any:
    """x divided by its norm of that order over `axis`, or by `epsilon` if that is larger.

    >>> normalize(jnp.array([3.0, 4.0])).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    x = jnp.asarray(x)
    least = _epsilon() if epsilon is None else epsilon
    if order == 2:  # the root of a maximum: its gradient at 0 is finite
        square = jnp.sum(jnp.square(widened(x)), axis, keepdims=True)
        return (x * lax.rsqrt(jnp.maximum(square, least**2))).astype(x.dtype)
    return x / jnp.maximum(jnp.linalg.norm(x, order, axis, keepdims=True), least)


_OWN = (
    "batch_normalization celu conv elu gelu layer_normalization leaky_relu moments normalize "
    "one_hot rms_normalization"
)
__all__ = sorted([*_OWN.split(), *ONE, *ALONG, *POOLS])  # noqa: PLE0605
