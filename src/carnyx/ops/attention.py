"""Attention: softmax(q k' / sqrt(D)) v, with masks, groups of heads and windows.

The layers with projections are in `layers/attention.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.ops.table import op, operations, wide


def causal_mask(targets: int, sources: int) -> Any:
    """bool [1, T, S]: True where the source does not come after the target."""
    return jnp.tri(targets, sources, dtype=bool)[None]


def window_mask(targets: int, sources: int, window: int) -> Any:
    """bool [1, T, S]: True where source and target are less than `window` apart."""
    apart = jnp.arange(targets)[:, None] - jnp.arange(sources)
    return (jnp.abs(apart) < window)[None]


def attend(
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    scale: float | None = None,
    bias: Any = None,
    soft_cap: float | None = None,
    dropout: Callable[[Any], Any] | None = None,
) -> tuple[Any, Any]:
    """The attended values [B, T, K, V] and the weights [B, K, T, S] before dropout.

    query [B, T, K, D], key [B, S, G, D], value [B, S, G, V], G a divisor of K: each key and value
    head serves K / G query heads in a row, without being repeated. mask (bool, True where attention
    may go) and bias (added to the logits) broadcast to [B, K, T, S]. The softmax is in float32.
    """
    batch, targets, heads, size = query.shape
    sources, groups = key.shape[1:3]
    grouped = query.reshape(batch, targets, groups, heads // groups, size)
    scale = 1 / math.sqrt(size) if scale is None else scale
    logits = jnp.einsum("btgrd,bsgd->bgrts", grouped * jnp.asarray(scale, query.dtype), key)
    logits = logits.reshape(batch, heads, targets, sources)
    logits = wide(logits)
    if bias is not None:
        logits = logits + bias
    if soft_cap is not None:
        logits = soft_cap * jnp.tanh(logits / soft_cap)
    if mask is not None:  # a finite number: a row without any source must not become NaN
        logits = jnp.where(mask, logits, -0.7 * float(jnp.finfo(logits.dtype).max))
    weights = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
    if mask is not None:  # such a row attends to nothing
        weights = jnp.where(mask, weights, 0)
    used = weights if dropout is None else dropout(weights)
    used = used.reshape(batch, groups, heads // groups, targets, sources)
    out = jnp.einsum("bgrts,bsgv->btgrv", used, value)
    return out.reshape(batch, targets, heads, value.shape[-1]), weights


@op
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """softmax(scale q k' + bias) v: [B, T, K, D], [B, S, G, D], [B, S, G, V] -> [B, T, K, V].

    `scale` is 1 / sqrt(D) by default; `mask` is True where attention may go; `flash_attention` asks
    for one kernel, which no engine has yet, and changes nothing.

    >>> import jax.numpy as jnp
    >>> q = jnp.ones((1, 3, 2, 4))
    >>> dot_product_attention(q, q, q, is_causal=True).shape
    (1, 3, 2, 4)
    """
    query, key, value = jnp.asarray(query), jnp.asarray(key), jnp.asarray(value)
    shapes = query.shape, key.shape, value.shape
    if any(len(shape) != 4 for shape in shapes) or query.shape[2] % key.shape[2]:
        raise ValueError(
            "dot_product_attention: query, key and value are [B, length, heads, size], and the "
            f"heads of query a multiple of key's. Received the shapes {shapes}."
        )
    if is_causal:
        causal = causal_mask(query.shape[1], key.shape[1])[None]
        mask = causal if mask is None else jnp.logical_and(mask, causal)
    return attend(query, key, value, mask, scale, bias, attn_logits_soft_cap)[0]


__all__ = operations(globals())  # noqa: PLE0605
