"""Max and average pooling of any rank.

Windows that do not overlap are read by reshaping: the maximum of a short axis is a few elementwise
maxima, and the gradient goes back by the index of the first maximum, one byte a window. Other
windows use the sliding-window primitives.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core.composite import composite
from carnyx.core.dtypes import standardize_data_format
from carnyx.ops.convolution import tuple_of, window_padding
from carnyx.ops.table import operations, publish


def _adaptive(reduce: Any) -> Any:
    """Cell i of o over n places is from floor(i n / o) up to ceil((i + 1) n / o)."""

    def run(x: Any, output_size: Any, *, data_format: str | None) -> Any:
        x, form = _checked(x, data_format)
        first = 1 if form == "channels_last" else 2
        for axis, cells in enumerate(tuple_of(output_size, x.ndim - 2, "output_size"), first):
            size = x.shape[axis]
            bounds = [(i * size // cells, -(-(i + 1) * size // cells)) for i in range(cells)]
            parts = [reduce(lax.slice_in_dim(x, a, b, axis=axis), axis) for a, b in bounds]
            x = jnp.stack(parts, axis)
        return x

    return run


def _checked(x: Any, data_format: str | None) -> tuple[Any, str]:
    if jnp.ndim(x) < 3:
        raise ValueError(f"Pooling is of [B, *space, C]. Received: shape {jnp.shape(x)}.")
    return jnp.asarray(x), standardize_data_format(data_format)


def _pool(windows: Any, disjoint: Any) -> Any:
    def run(x: Any, size: Any, *, strides: Any, padding: str, data_format: Any) -> Any:
        x, form = _checked(x, data_format)
        rank = x.ndim - 2
        window = tuple_of(size, rank, "pool_size")
        strides = window if strides is None else tuple_of(strides, rank, "strides")
        x = jnp.moveaxis(x, 1, -1) if form == "channels_first" else x
        sizes = x.shape[1:-1]
        pads = window_padding(padding, sizes, window, strides, (1,) * rank)
        if padding == "valid" and any(n < k for n, k in zip(sizes, window, strict=True)):
            raise ValueError(
                f"pooling window {window} is larger than the input of size {sizes}. Use a smaller "
                "pool_size or padding='same'."
            )
        apart = window == strides and not any(a or b for a, b in pads)
        y = disjoint(x, window) if apart else windows(x, window, strides, pads)
        return jnp.moveaxis(y, -1, 1) if form == "channels_first" else y

    return run


def _slid(x: Any, start: Any, reduce: Any, window: Any, strides: Any, pads: Any) -> Any:
    start, pads = np.asarray(start, x.dtype), [(0, 0), *pads, (0, 0)]
    return lax.reduce_window(x, start, reduce, (1, *window, 1), (1, *strides, 1), pads)


def _max_windows(x: Any, *window: Any) -> Any:
    low = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return _slid(x, low, lax.max, *window)


def _mean_windows(x: Any, window: Any, strides: Any, pads: Any) -> Any:
    total = functools.partial(
        _slid, start=0, reduce=lax.add, window=window, strides=strides, pads=pads
    )
    if not any(a or b for a, b in pads):
        return total(x) / np.asarray(np.prod(window), x.dtype)
    return total(x) / total(jnp.ones((1, *x.shape[1:-1], 1), x.dtype))


def _split(x: Any, window: Any) -> Any:
    """[B, n, m, C] -> [B, n // a, a, m // b, b, C], what is left over cut off."""
    cropped = tuple(slice(n // k * k) for n, k in zip(x.shape[1:-1], window, strict=True))
    x = x[(slice(None), *cropped)]
    pairs = [p for n, k in zip(x.shape[1:-1], window, strict=True) for p in (n // k, k)]
    return x.reshape(x.shape[0], *pairs, x.shape[-1])


def _inner_axes(rank: int) -> tuple[int, ...]:
    return tuple(range(2, 2 * rank + 1, 2))


def _mean_disjoint(x: Any, window: Any) -> Any:
    return jnp.mean(_split(x, window), axis=_inner_axes(len(window)))


def _places(x: Any, window: Any) -> list[Any]:
    """The elements at each place of the windows, in the order of reading: each [B, *space', C]."""
    split = _split(x, window)
    return [
        split[(slice(None), *(p for k in place for p in (slice(None), k)))]
        for place in itertools.product(*map(range, window))
    ]


# XLA's CPU compiler keeps a concatenation of more than eight arrays as a step of its own. Anything
# smaller dissolves into what reads it: the backward pass then finds every window's maximum again,
# and a reshape that follows costs the loop its vector instructions (0.57 ms instead of 0.17 for
# 32 x 26 x 26 x 32; a whole training step on such images takes 0.85 of the time).
PARTS = 9


@composite("max_pool", static=("window",))
def _max_forward(x: Any, window: Any) -> tuple[Any, Any]:
    """The maxima, and the place of the first one in each window; in parts along the batch."""
    rows = x.shape[0]
    parts = PARTS if rows >= PARTS else 1
    cuts = [rows * k // parts for k in range(parts + 1)]
    found = [_first_maxima(x[a:b], window) for a, b in itertools.pairwise(cuts)]
    best, index = zip(*found, strict=True)
    return jnp.concatenate(best), jnp.concatenate(index)


def _first_maxima(x: Any, window: Any) -> tuple[Any, Any]:
    places = _places(x, window)
    best = functools.reduce(jnp.maximum, places)
    index = jnp.full(best.shape, len(places) - 1, jnp.uint8 if len(places) < 256 else jnp.int32)
    for k in reversed(range(len(places) - 1)):
        index = jnp.where(places[k] == best, jnp.asarray(k, index.dtype), index)
    return best, index


@composite("max_pool_grad", static=("window", "shape"))
def _max_backward(index: Any, gradient: Any, window: Any, shape: Any) -> Any:
    apart = _inner_axes(len(window))
    place = jnp.arange(int(np.prod(window)), dtype=index.dtype).reshape(window)
    place = place.reshape(1, *(p for k in window for p in (1, k)), 1)
    hit = jnp.expand_dims(index, apart) == place
    spread = jnp.where(hit, jnp.expand_dims(gradient, apart), jnp.zeros((), gradient.dtype))
    covered = [n // k * k for n, k in zip(shape[1:-1], window, strict=True)]
    full = spread.reshape(shape[0], *covered, shape[-1])
    rest = [(0, n - m) for n, m in zip(shape[1:-1], covered, strict=True)]
    return jnp.pad(full, [(0, 0), *rest, (0, 0)]) if any(b for _, b in rest) else full


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_disjoint(x: Any, window: Any) -> Any:
    return functools.reduce(jnp.maximum, _places(x, window))


def _max_fwd(x: Any, window: Any) -> Any:
    best, index = _max_forward(x, window)
    return best, (index, jnp.zeros((0, *x.shape), x.dtype))


def _max_bwd(window: Any, saved: Any, gradient: Any) -> Any:
    index, like = saved
    return (_max_backward(index, gradient, window, like.shape[1:]),)


_max_disjoint.defvjp(_max_fwd, _max_bwd)

TABLES = {
    "inputs, pool_size, strides=None, padding='valid', data_format=None": {
        "average_pool": (
            _pool(_mean_windows, _mean_disjoint),
            "The mean of every window, padded places not counted: [B, *space, C].",
        ),
        "max_pool": (
            _pool(_max_windows, _max_disjoint),
            "The maximum of every window: [B, *space, C] -> [B, *space', C].\n\n"
            "`strides` is `pool_size` by default; 'same' pads with minus infinity. The gradient\n"
            "goes to the first maximum of a window; NaN in a window is its maximum.",
        ),
    },
    "inputs, output_size, data_format=None": {
        "adaptive_average_pool": (
            _adaptive(jnp.mean),
            "Means of `output_size` cells of nearly equal size an axis: [B, *output_size, C].",
        ),
        "adaptive_max_pool": (
            _adaptive(jnp.max),
            "Maxima of `output_size` cells of nearly equal size an axis: [B, *output_size, C].",
        ),
    },
}
publish(globals(), TABLES)
__all__ = operations(globals())  # noqa: PLE0605
