"""Operations of neural networks: activations, softmax, one-hot, normalisation, patches.

Layers that use these are in `layers/`. Convolution, pooling, recurrence, attention and the
cross-entropies are in files of their own.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core.dtypes import epsilon as _epsilon
from carnyx.core.dtypes import standardize_data_format, standardize_dtype
from carnyx.ops.convolution import tuple_of
from carnyx.ops.table import elsewhere, of_floats, op, operations, publish, wide


def _glu(x: Any, axis: int = -1) -> Any:
    if jnp.shape(x)[axis] % 2:
        raise ValueError(f"ops.glu: axis {axis} has two halves. Received: shape {jnp.shape(x)}.")
    return jax.nn.glu(x, axis)


def _hard_tanh(x: Any) -> Any:
    """In floats: the -1 of uint8 is 255."""
    return of_floats(jax.nn.hard_tanh)(x).astype(jnp.result_type(x, 1))


def _kept(x: Any, threshold: float = 0.5) -> Any:
    """x where |x| > threshold, else 0."""
    return jnp.where(jnp.abs(x) > threshold, x, jnp.zeros_like(x))


def _shrunk(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by `threshold`, and no further than 0."""
    inside = jnp.where(x < -threshold, x + threshold, jnp.zeros_like(x))
    return jnp.where(x > threshold, x - threshold, inside)


TABLES = {
    "x": {
        "hard_sigmoid": "min(max(x / 6 + 0.5, 0), 1).",
        "hard_silu": "x hard_sigmoid(x).",
        "hard_swish": (jax.nn.hard_silu, "x hard_sigmoid(x)."),
        "hard_tanh": (_hard_tanh, "min(max(x, -1), 1)."),
        "log_sigmoid": (of_floats(jax.nn.log_sigmoid), "-log(1 + exp(-x))."),
        "relu": "max(x, 0).",
        "relu6": "min(max(x, 0), 6).",
        "selu": "1.0507 x above 0, 1.7581 (exp(x) - 1) below.",
        "sigmoid": "1 / (1 + exp(-x)).",
        "silu": "x sigmoid(x).",
        "softplus": "log(1 + exp(x)).",
        "softsign": (jax.nn.soft_sign, "x / (1 + |x|)."),
        "sparse_plus": "0 below -1, (x + 1)^2 / 4 up to 1, x above.",
        "sparse_sigmoid": "(x + 1) / 2, between 0 and 1.",
        "swish": (jax.nn.silu, "x sigmoid(x)."),
        "tanh_shrink": (lambda x: x - jnp.tanh(x), "x - tanh(x)."),
    },
    "x, negative_slope=0.2": {"leaky_relu": "x above 0, else negative_slope x (Maas et al. 2013)."},
    "x, alpha=1.0": {
        "celu": "x above 0, alpha (exp(x / alpha) - 1) below (Barron 2017).",
        "elu": "x above 0, alpha (exp(x) - 1) below (Clevert et al. 2016).",
    },
    "x, approximate=True": {
        "gelu": "x P(Z <= x) for a normal Z, by default by a tanh (Hendrycks, Gimpel 2016)."
    },
    "x, b=4": {"squareplus": "(x + sqrt(x^2 + b)) / 2 (Barron 2021)."},
    "x, threshold=0.5": {
        "hard_shrink": (of_floats(_kept), "x where |x| > threshold, else 0."),
        "soft_shrink": (of_floats(_shrunk), "x moved towards 0 by `threshold`, at most to 0."),
    },
    "x, axis=-1": {
        "glu": (_glu, "a sigmoid(b) for the halves a, b of `axis` (Dauphin et al. 2017)."),
        "log_softmax": (of_floats(jax.nn.log_softmax), "x - log(sum(exp x)) along `axis`."),
        "softmax": (of_floats(jax.nn.softmax), "exp(x) / sum(exp x) along `axis`."),
    },
    "abs_, angle": {
        "polar": (lambda r, a: lax.complex(r * jnp.cos(a), r * jnp.sin(a)), "abs_ exp(i angle).")
    },
}
publish(globals(), TABLES, jax.nn)


@op
def threshold(x: Any, threshold: Any, default_value: Any) -> Any:
    """x where x > threshold, else `default_value`.

    >>> threshold([1.0, 3.0], 2.0, -1.0).tolist()
    [-1.0, 3.0]
    """
    x = jnp.asarray(x)
    return jnp.where(x > threshold, x, jnp.asarray(default_value, x.dtype))


@op
def sparsemax(x: Any, axis: int = -1) -> Any:
    """The point of the probability simplex nearest to x: max(x - t, 0) with a sum of 1.

    t = (the sum of the k largest - 1) / k, k the number of places with 1 + k z_k > z_1 + ... + z_k
    for z sorted downwards (Martins and Astudillo 2016, equation 7). Keras 3.15 adds up the k
    cumulative sums instead of the k largest, so that its outputs do not sum to 1; this one's do.

    >>> sparsemax([2.0, 0.0]).tolist(), sparsemax([0.5, 0.5]).tolist()
    ([1.0, 0.0], [0.5, 0.5])
    """
    z = -jnp.sort(-x, axis=axis)
    count = jnp.cumsum(jnp.ones_like(z), axis=axis)
    support = 1 + count * z > jnp.cumsum(z, axis=axis)
    size = jnp.sum(support, axis=axis, keepdims=True)
    total = jnp.sum(jnp.where(support, z, jnp.zeros_like(z)), axis=axis, keepdims=True)
    return jax.nn.relu(x - (total - 1) / size.astype(z.dtype))


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
def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
    **kwargs: Any,
) -> Any:
    """1 at every class that a row has, 0 elsewhere: [B, N] -> [B, num_classes], [N] likewise.

    A negative or too large class counts for nothing. `num_tokens` is an old name of `num_classes`.

    >>> multi_hot([[0, 2], [1, 1]], 3).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    num_classes = kwargs.pop("num_tokens", num_classes)
    if num_classes is None or kwargs:
        raise ValueError(f"ops.multi_hot: give num_classes, and nothing unknown ({list(kwargs)}).")
    rows = 1 if jnp.ndim(inputs) > 1 else 0
    return jnp.max(one_hot(inputs, num_classes, axis, dtype, sparse), rows)


def _places(size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """Where every window's offsets fall in a padded image: rows [h, H'], columns [w, W']."""
    sides = (
        tuple_of(kernel, 2, "kernel_size"), tuple_of(dilation, 2, "dilation"),
        tuple_of(padding, 2, "padding", least=0), tuple_of(stride, 2, "stride"),
    )  # fmt: skip
    found = []
    for n, k, d, p, s in zip(size, *sides, strict=True):
        count = (n + 2 * p - d * (k - 1) - 1) // s + 1
        if count < 1:
            raise ValueError(f"ops.fold, ops.unfold: {k} places do not fit into {n} (padding {p}).")
        found.append(np.arange(k)[:, None] * d + np.arange(count) * s)
    return found[0], found[1], sides[2]


@op
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """All windows of images, as columns: [B, C, H, W] -> [B, C h w, windows].

    >>> unfold(jnp.arange(4.0).reshape(1, 1, 2, 2), (1, 2)).tolist()
    [[[0.0, 2.0], [1.0, 3.0]]]
    """
    x = jnp.asarray(x)
    if x.ndim != 4:
        raise ValueError(f"ops.unfold: images are [B, C, H, W]. Received: shape {x.shape}.")
    rows, columns, (p, q) = _places(x.shape[2:], kernel_size, dilation, padding, stride)
    x = jnp.pad(x, ((0, 0), (0, 0), (p, p), (q, q)))
    x = x[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # B C h w H' W'
    return jnp.reshape(x, (x.shape[0], -1, rows.shape[1] * columns.shape[1]))


@op
def fold(
    x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The transpose of `unfold`: columns added up in their places, [B, C h w, windows] ->
    [B, C, *output_size].

    >>> fold(jnp.ones((1, 2, 2)), (1, 3), (1, 2)).tolist()
    [[[[1.0, 2.0, 1.0]]]]
    """
    x = jnp.asarray(x)
    size = tuple_of(output_size, 2, "output_size")
    rows, columns, _ = _places(size, kernel_size, dilation, padding, stride)
    places, windows = (rows.shape[i] * columns.shape[i] for i in range(2))
    if x.ndim != 3 or x.shape[1] % places or x.shape[2] != windows:
        raise ValueError(
            f"ops.fold: columns are [B, C {places}, {windows}] for that output_size and these "
            f"windows. Received: shape {x.shape}."
        )
    images = jax.ShapeDtypeStruct((x.shape[0], x.shape[1] // places, *size), x.dtype)
    cut = lambda y: unfold(y, kernel_size, dilation, padding, stride)  # noqa: E731
    return jax.linear_transpose(cut, images)(x)[0]


def _blocks(name: str, x: Any, block_size: int, data_format: Any) -> tuple[Any, bool]:
    """Images with channels last, and whether they were first."""
    x, first = jnp.asarray(x), standardize_data_format(data_format) == "channels_first"
    x = jnp.moveaxis(x, 1, -1) if first and x.ndim == 4 else x
    good = x.ndim == 4 and isinstance(block_size, int) and block_size > 0
    if good and name == "depth_to_space":
        good = x.shape[-1] % block_size**2 == 0
    elif good:
        good = x.shape[1] % block_size == x.shape[2] % block_size == 0
    if not good:
        raise ValueError(
            f"ops.{name}: images have 4 axes, and block_size divides their height and width (for "
            "depth_to_space: its square divides the number of channels). Received: [B, H, W, C] = "
            f"{x.shape}, block_size={block_size!r}"
        )
    return x, first


@op
def depth_to_space(x: Any, block_size: int, data_format: str | None = "channels_last") -> Any:
    """Channels as blocks of s x s pixels: [B, H, W, C s s] -> [B, H s, W s, C].

    >>> depth_to_space(jnp.arange(4.0).reshape(1, 1, 1, 4), 2)[0, :, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    x, first = _blocks("depth_to_space", x, block_size, data_format)
    batch, height, width, channels = x.shape
    s = block_size
    x = jnp.reshape(x, (batch, height, width, s, s, channels // (s * s)))
    x = jnp.reshape(jnp.swapaxes(x, 2, 3), (batch, height * s, width * s, -1))
    return jnp.moveaxis(x, -1, 1) if first else x


@op
def space_to_depth(x: Any, block_size: int, data_format: str | None = "channels_last") -> Any:
    """Blocks of s x s pixels as channels: [B, H s, W s, C] -> [B, H, W, s s C].

    >>> space_to_depth(jnp.arange(4.0).reshape(1, 2, 2, 1), 2).tolist()
    [[[[0.0, 1.0, 2.0, 3.0]]]]
    """
    x, first = _blocks("space_to_depth", x, block_size, data_format)
    batch, height, width, _ = x.shape
    s = block_size
    x = jnp.reshape(x, (batch, height // s, s, width // s, s, x.shape[-1]))
    x = jnp.reshape(jnp.swapaxes(x, 2, 3), (batch, height // s, width // s, -1))
    return jnp.moveaxis(x, -1, 1) if first else x


@op
def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """20 log10(max_val) - 10 log10(mean((x1 - x2)^2)), in decibels; infinite for equal images.

    >>> psnr([1.0, 2.0], [2.0, 3.0], 10.0).tolist()
    20.0
    """
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    if x1.shape != x2.shape:
        raise ValueError(f"ops.psnr: images of one shape. Received: {x1.shape} and {x2.shape}")
    error = jnp.mean(jnp.square(x1 - x2))
    return 20 * jnp.log10(jnp.asarray(max_val, error.dtype)) - 10 * jnp.log10(error)


def _broadcast(x: Any, v: Any, axis: Any) -> Any:
    """A weight over `axis` in a shape that broadcasts against x."""
    axes = sorted(a % x.ndim for a in (axis if isinstance(axis, (list, tuple)) else (axis,)))
    return jnp.reshape(v, [x.shape[a] if a in axes else 1 for a in range(x.ndim)])


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _variance(x: Any, mean: Any, axes: tuple[int, ...]) -> Any:
    """mean((x - mean)^2) for the mean of x, which being the least of all makes the slope by the
    mean 0: computing that 0 would cost a pass over x, half the time of a batch normalisation."""
    return jnp.mean(jnp.square(x - mean), axes, keepdims=True)


@_variance.defjvp
def _variance_slope(axes: Any, primals: Any, tangents: Any) -> tuple[Any, Any]:
    (x, mean), slope = primals, tangents[0]
    return _variance(x, mean, axes), 2 * jnp.mean((x - mean) * slope, axes, keepdims=True)


@op
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """Mean and variance over `axes`, accumulated in float32: mean(x), mean((x - mean)^2).

    >>> [float(m) for m in moments(jnp.array([1.0, 3.0]), [0])]
    [2.0, 1.0]
    """
    axes = tuple(axes) if isinstance(axes, (list, tuple)) else (axes,)
    floats = wide(jnp.asarray(x))
    mean = jnp.mean(floats, axes, keepdims=True)
    variance = _variance(floats, mean, axes)
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
    floats = wide(x)
    centred = floats - jnp.mean(floats, axis, keepdims=True)
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
    floats = wide(x)
    power = jnp.mean(jnp.square(floats), axis, keepdims=True)
    y = floats * lax.rsqrt(power + (_epsilon() if epsilon is None else epsilon))
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
        square = jnp.sum(jnp.square(wide(x)), axis, keepdims=True)
        return (x * lax.rsqrt(jnp.maximum(square, least**2))).astype(x.dtype)
    return x / jnp.maximum(jnp.linalg.norm(x, order, axis, keepdims=True), least)


# What Keras lists in this module, and stands elsewhere.
__getattr__ = elsewhere(
    __name__, "ctc_decode ctc_loss dot_product_attention", homes="convolution crossentropy pooling"
)
__all__ = operations(globals())  # noqa: PLE0605
