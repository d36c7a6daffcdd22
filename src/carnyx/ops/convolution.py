"""Convolution of any rank: in training as a product of patches with the kernel matrix.

On CPUs the gradient of XLA's own convolution runs on one thread inside loops, 15 to 80 times slower
than the same arithmetic as a matrix product. So where a gradient is taken, a convolution is written
as products: one with all patches side by side while these fit in the cache hierarchy, else a sum of
one product for each offset of the kernel, which needs no memory for patches. Where none is taken,
XLA's convolution is the faster one (20 us against 50 for one digit of 28 x 28) and is used.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core.composite import composite
from carnyx.core.dtypes import standardize_data_format
from carnyx.ops.table import op, operations

# Above this many bytes of patches, one product an offset: 9 copies of a large image batch would
# fill the memory, and reading them back costs more than the larger product gains.
PATCH_BYTES = 64 * 2**20


def tuple_of(value: Any, rank: int, name: str, least: int = 1) -> tuple[int, ...]:
    """`value`, an int or a sequence of `rank` ints, as a tuple; errors name the argument."""
    values = tuple(value) if np.ndim(value) else (value,) * rank
    good = all(isinstance(v, (int, np.integer)) and v >= least for v in values)
    if len(values) != rank or not good:
        raise ValueError(
            f"{name} is a whole number from {least} or a tuple of {rank} of them. "
            f"Received: {name}={value!r}"
        )
    return tuple(int(v) for v in values)


def window_padding(
    padding: Any,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> list[tuple[int, int]]:
    """(before, after) for each axis: "valid" none; "same" so that the output has size
    ceil(n / stride), the odd one after; "causal" all before."""
    if not isinstance(padding, str):
        return [(int(a), int(b)) for a, b in padding]
    pads = []
    for n, k, s, d in zip(sizes, window, strides, dilation, strict=True):
        reach = d * (k - 1)
        if padding == "valid":
            pads.append((0, 0))
        elif padding == "causal":
            pads.append((reach, 0))
        else:
            total = max((-(-n // s) - 1) * s + reach + 1 - n, 0)
            pads.append((total // 2, total - total // 2))
    return pads


@op
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Discrete convolution in the sense of deep learning (the kernel is not flipped):

    y[b, p, k] = sum over offsets o and channels c of x[b, p * strides + o * dilation, c] w[o, c, k]

    x [B, *space, C] (or [B, C, *space] for "channels_first"), kernel [*window, C / groups, K] ->
    y [B, *space', K]. `padding` is "valid", "same", "causal" (one axis) or pairs of ints.

    >>> conv(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 3))).shape
    (1, 3, 3)
    """
    return _slide("conv", _grouped, inputs, kernel, strides, padding, data_format, dilation_rate)


@op
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Each channel with filters of its own: x [B, *space, C], kernel [*window, C, M] ->
    [B, *space', C M]; the M results of a channel stand side by side.

    >>> depthwise_conv(jnp.ones((1, 4, 3)), jnp.ones((2, 3, 2))).shape
    (1, 3, 6)
    """
    options = (strides, padding, data_format, dilation_rate)
    return _slide("depthwise_conv", _depthwise, inputs, kernel, *options)


@op
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`depthwise_conv`, then a mixture of its channels, kernel [1..., C M, K]: [B, *space', K].

    >>> separable_conv(jnp.ones((1, 4, 3)), jnp.ones((2, 3, 2)), jnp.ones((1, 6, 5))).shape
    (1, 3, 5)
    """
    y = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(y, pointwise_kernel, 1, "valid", data_format)


@op
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """The transpose of convolution: y[p * strides + o * dilation, k] sums x[p, c] w[o, k, c].

    x [B, *space, C], kernel [*window, K, C] -> [B, *space', K] with the sizes n strides for "same",
    and for "valid" what more the window covers; `output_padding` adds to (n - 1) strides + the
    window's size instead ("same": less its margins).

    >>> conv_transpose(jnp.ones((1, 4, 1)), jnp.ones((2, 3, 1)), strides=2).shape
    (1, 8, 3)
    """
    x, kernel, first = _channels_last("conv_transpose", inputs, kernel, -1, data_format)
    rank = kernel.ndim - 2
    strides = tuple_of(strides, rank, "strides")
    dilation = tuple_of(dilation_rate, rank, "dilation_rate")
    extra = (None,) * rank
    if output_padding is not None:
        extra = tuple_of(output_padding, rank, "output_padding", least=0)
    cuts = []
    for n, k, s, d, more in zip(
        x.shape[1:-1], kernel.shape, strides, dilation, extra, strict=False
    ):
        reach = d * (k - 1) + 1
        if padding == "valid":
            cuts.append((0, (n - 1) * s + max(reach, s if more is None else 0) + (more or 0)))
            continue
        size = n * s if more is None else (n - 1) * s + reach % 2 + more
        margins = size - (n - 1) * s + reach - 2  # around x with s - 1 zeros between its elements
        cuts.append((max(reach - 1 - (margins + 1) // 2, 0), size))
    y: Any = _transposed(x, kernel, strides, dilation, tuple(cuts))
    return jnp.moveaxis(y, -1, 1) if first else y


def _channels_last(
    name: str, x: Any, kernel: Any, channels: int, data_format: Any
) -> tuple[Any, Any, bool]:
    """x with channels last, the kernel, and whether the channels of x were first."""
    first = standardize_data_format(data_format) == "channels_first"
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    if x.ndim != kernel.ndim or x.ndim < 3:
        raise ValueError(
            f"ops.{name}: the inputs [B, *space, C] and the kernel have as many axes, at least 3. "
            f"Received: shapes {x.shape} and {kernel.shape}."
        )
    found, taken = x.shape[1 if first else -1], kernel.shape[channels]
    if found % taken or (channels == -1 and found != taken):
        raise ValueError(
            f"ops.{name}: the kernel of shape {kernel.shape} takes {taken} channels, which does "
            f"not fit the input's {found} (shape {x.shape})."
        )
    return jnp.moveaxis(x, 1, -1) if first else x, kernel, first


def _slide(
    name: str, inner: Any, x: Any, kernel: Any, strides: Any, padding: Any, form: Any, dilation: Any
) -> Any:
    """Calls `inner(x, kernel, strides, dilation)` with x channels-last and padded."""
    x, kernel, first = _channels_last(name, x, kernel, -2, form)
    rank = kernel.ndim - 2
    strides = tuple_of(strides, rank, "strides")
    dilation = tuple_of(dilation, rank, "dilation_rate")
    pads = window_padding(padding, x.shape[1:-1], kernel.shape[:rank], strides, dilation)
    if any(before or after for before, after in pads):
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
    if min(_space(x, kernel, strides, dilation)) <= 0:
        raise ValueError(
            f"convolution window {kernel.shape[:rank]} with dilation {dilation} does not fit into "
            f"the input of size {x.shape[1:-1]} (padding included). Use a smaller kernel_size or "
            "padding='same'."
        )
    y: Any = inner(x, kernel, strides, dilation)
    return jnp.moveaxis(y, -1, 1) if first else y


def _space(x: Any, kernel: Any, strides: Any, dilation: Any) -> list[int]:
    """The sizes of the output."""
    return [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[1:-1], kernel.shape, strides, dilation, strict=False)
    ]


def _slid(
    x: Any,
    kernel: Any,
    strides: Any,
    padding: Any,
    dilation: Any,
    groups: int = 1,
    spread: Any = None,
) -> Any:
    """XLA's convolution, channels last; `spread` is how far apart the elements of x are put."""
    space = "DHW"[-len(strides) :]
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        lhs_dilation=spread,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=groups,
    )


_OPTIONS = ("strides", "dilation", "groups")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x: Any, kernel: Any, strides: Any, dilation: Any, groups: int) -> Any:
    """x [B, *space, C], padded already."""
    return _slid(x, kernel, strides, "VALID", dilation, groups=groups)


def _grouped(x: Any, kernel: Any, strides: Any, dilation: Any) -> Any:
    return _conv(x, kernel, strides, dilation, x.shape[-1] // kernel.shape[-2])


@composite("conv_grad", static=_OPTIONS)
def _gradients(
    x: Any, kernel: Any, gradient: Any, strides: Any, dilation: Any, groups: int
) -> tuple[Any, Any]:
    """Gradients of x and of the kernel."""
    products = functools.partial(_products, strides=strides, dilation=dilation, groups=groups)
    return jax.vjp(products, x, kernel)[1](gradient)


def _products(x: Any, kernel: Any, strides: Any, dilation: Any, groups: int) -> Any:
    space = _space(x, kernel, strides, dilation)
    if groups == 1:
        return _as_products(x, kernel, space, strides, dilation)
    parts = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([_as_products(a, w, space, strides, dilation) for a, w in parts], -1)


_forward_call = composite("conv", static=_OPTIONS)(_products)  # whose derivative is plain


def _conv_fwd(x: Any, kernel: Any, *window: Any) -> Any:
    return _forward_call(x, kernel, *window), (x, kernel)


def _conv_bwd(*args: Any) -> Any:
    *window, saved, gradient = args
    return _gradients(*saved, gradient, *window)


_conv.defvjp(_conv_fwd, _conv_bwd)


def _as_products(x: Any, kernel: Any, space: Any, strides: Any, dilation: Any) -> Any:
    *window, channels, filters = kernel.shape
    shifted = [
        _shift(x, offset, space, strides, dilation)
        for offset in itertools.product(*map(range, window))
    ]
    bytes_of_patches = x.shape[0] * int(np.prod(space) * np.prod(window)) * channels * 4
    if bytes_of_patches <= PATCH_BYTES:
        patches = jnp.concatenate(shifted, axis=-1).reshape(-1, len(shifted) * channels)
        y = patches @ kernel.reshape(-1, filters)
        return y.reshape(x.shape[0], *space, filters)
    weights = kernel.reshape(len(shifted), channels, filters)
    return sum(part @ weight for part, weight in zip(shifted, weights, strict=True))


def _shift(x: Any, offset: Any, space: Any, strides: Any, dilation: Any) -> Any:
    """What one offset of the kernel meets at every position: [B, *space, C]."""
    starts = [o * d for o, d in zip(offset, dilation, strict=True)]
    limits = [a + (n - 1) * s + 1 for a, n, s in zip(starts, space, strides, strict=True)]
    return lax.slice(x, (0, *starts, 0), (x.shape[0], *limits, x.shape[-1]), (1, *strides, 1))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: Any, kernel: Any, strides: Any, dilation: Any) -> Any:
    """x [B, *space, C], padded already; kernel [*window, C, M]."""
    one_each = kernel.reshape(*kernel.shape[:-2], 1, -1)
    return _slid(x, one_each, strides, "VALID", dilation, groups=x.shape[-1])


def _depthwise_sum(x: Any, kernel: Any, strides: Any, dilation: Any) -> Any:
    """The same as a sum over the window's offsets, whose gradient is fast inside loops."""
    *window, channels, multiplier = kernel.shape
    space = _space(x, kernel, strides, dilation)
    y = sum(
        _shift(x, offset, space, strides, dilation)[..., None] * kernel[offset]
        for offset in itertools.product(*map(range, window))
    )
    return y.reshape(x.shape[0], *space, channels * multiplier)  # type: ignore[union-attr]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _transposed(x: Any, kernel: Any, strides: Any, dilation: Any, cuts: Any) -> Any:
    """x [B, *space, C], kernel [*window, K, C]; `cuts` (elements cut before, size) of each axis."""
    rank = len(strides)
    padding = []
    for n, k, s, d, (before, size) in zip(
        x.shape[1:-1], kernel.shape[:rank], strides, dilation, cuts, strict=True
    ):
        low = d * (k - 1) - before
        padding.append((low, size - ((n - 1) * s + 1) - low + d * (k - 1)))
    turned = jnp.swapaxes(jnp.flip(kernel, range(rank)), -1, -2)
    return _slid(x, turned, (1,) * rank, padding, dilation, spread=strides)


def _transposed_sum(x: Any, kernel: Any, strides: Any, dilation: Any, cuts: Any) -> Any:
    """The same as one product with the kernel and a sum over offsets, each put in its places."""
    *window, filters, channels = kernel.shape
    z = x.reshape(-1, channels) @ kernel.reshape(-1, channels).T
    z = z.reshape(*x.shape[:-1], *window, filters)
    y: Any = 0
    for offset in itertools.product(*map(range, window)):
        part = z[(..., *offset, slice(None))]
        places = [(0, 0, 0)]
        for n, o, s, d, (before, size) in zip(
            x.shape[1:-1], offset, strides, dilation, cuts, strict=True
        ):
            low = o * d - before
            places.append((low, size - ((n - 1) * s + 1) - low, s - 1))
        y = y + lax.pad(part, jnp.zeros((), x.dtype), [*places, (0, 0, 0)])
    return y


def _by_sums(function: Any, sums: Any) -> None:
    """Gives an operation the gradient of its other form, which is also what training runs."""

    def forward(x: Any, kernel: Any, *window: Any) -> Any:
        return sums(x, kernel, *window), (x, kernel)

    def backward(*args: Any) -> Any:
        *window, (x, kernel), gradient = args
        return jax.vjp(lambda x, kernel: sums(x, kernel, *window), x, kernel)[1](gradient)

    function.defvjp(forward, backward)


_by_sums(_depthwise, _depthwise_sum)
_by_sums(_transposed, _transposed_sum)

__all__ = operations(globals())  # noqa: PLE0605
