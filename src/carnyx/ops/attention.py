"""Attention: softmax(q k' / sqrt(D)) v, with masks, groups of heads and windows.

Two ways to the same numbers. The plain one makes the whole matrix of logits [.., T, S], which
dropout and returned weights need. The other, "flash", has one block of it at a time: its memory,
that of the gradient too, grows with T + S, not with T S.

The layers with projections are in `layers/attention.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core.composite import composite
from carnyx.core.settings import settings
from carnyx.ops.table import op, operations, wide

SIDE = 256  # the most targets and sources of a block
MANY = 512 * 512  # pairs of a target and a source from which blocks are used unasked


class Form(NamedTuple):
    """What is known of the logits before any array is."""

    causal: bool = False  # no source after its target
    window: int | None = None  # no source so far from its target
    soft_cap: float | None = None  # c tanh(logit / c)


def attend(
    query: Any,
    key: Any,
    value: Any,
    form: Form,
    masks: Sequence[Any] = (),
    scale: float | None = None,
    bias: Any = None,
    dropout: Callable[[Any], Any] | None = None,
    scores: bool = False,
    flash: bool | None = None,
) -> tuple[Any, Any]:
    """The attended values [B, T, K, V] and, with `scores`, the weights [B, K, T, S] before dropout.

    query [B, T, K, D], key [B, S, G, D], value [B, S, G, V], G a divisor of K: each key and value
    head serves K / G query heads in a row, without being repeated. masks (bool, True where all of
    them let attention go) and bias (added to the logits) broadcast to [B, K, T, S]. The softmax is
    in float32; a row without any source gives zeros. `flash` None: by blocks where it pays.
    """
    batch, targets, heads, size = query.shape
    sources, groups = key.shape[1:3]
    scale = 1 / math.sqrt(size) if scale is None else scale
    query = query * jnp.asarray(scale, query.dtype)
    q = query.reshape(batch, targets, groups, heads // groups, size).transpose(0, 2, 3, 1, 4)
    k, v = key.transpose(0, 2, 3, 1), value.transpose(0, 2, 3, 1)  # [B, G, D, S]
    masks = tuple(_grouped(mask, groups) for mask in masks)
    bias = None if bias is None else wide(_grouped(bias, groups))
    pairs = targets * sources
    if flash is None:
        flash = settings["flash_attention"] and pairs >= MANY
    if flash and pairs and dropout is None and not scores:
        out, weights = _by_blocks(q, k, v, bias, masks, form), None
    else:
        out, weights = _plain(q, k, v, bias, masks, form, dropout)
        weights = weights.reshape(batch, heads, targets, sources)
    return out.transpose(0, 3, 1, 2, 4).reshape(batch, targets, heads, value.shape[-1]), weights


def _grouped(x: Any, groups: int) -> Any:
    """[B, K, T, S], or its last axes, as [B, G, K / G, T, S]; axes of 1 stay."""
    batch, heads, *rest = (1,) * (4 - jnp.ndim(x)) + jnp.shape(x)
    groups = min(groups, heads)
    return jnp.reshape(x, (batch, groups, heads // groups, *rest))


def _logits(products: Any, bias: Any, soft_cap: float | None) -> Any:
    logits = products if bias is None else products + bias
    return logits if soft_cap is None else soft_cap * jnp.tanh(logits / soft_cap)


def _meeting(masks: Sequence[Any], form: Form, targets: Any, sources: Any) -> Any:
    """Which of these targets and sources, given by number, may meet; None for all."""
    t, s, found = targets[:, None], sources, list(masks)
    if form.causal:
        found.append(s <= t)
    if form.window is not None:
        found.append(jnp.abs(t - s) < form.window)
    return functools.reduce(jnp.logical_and, found) if found else None


def _plain(q: Any, k: Any, v: Any, bias: Any, masks: Any, form: Form, dropout: Any) -> Any:
    """The output [B, G, K / G, T, V] and the weights of all pairs."""
    logits = _logits(wide(jnp.einsum("bgrtd,bgds->bgrts", q, k)), bias, form.soft_cap)
    meeting = _meeting(masks, form, *map(jnp.arange, logits.shape[-2:]))
    if meeting is not None:  # a finite number: a row without any source must not become NaN
        logits = jnp.where(meeting, logits, -0.7 * float(jnp.finfo(logits.dtype).max))
    weights = jax.nn.softmax(logits, axis=-1).astype(q.dtype)
    if meeting is not None:  # such a row attends to nothing
        weights = jnp.where(meeting, weights, 0)
    used = weights if dropout is None else dropout(weights)
    return jnp.einsum("bgrts,bgvs->bgrtv", used, v), weights


# ---- Blocks. A row keeps the greatest logit m so far, the sum l of exp(logit - m) and the sum o of
# exp(logit - m) v; where a block raises m, both sums shrink by exp(m - new m) before it is added
# (Milakov and Gimelshein 2018; Rabe and Staats 2021). The gradient makes the weights of each block
# again, from m and l (Dao et al. 2022, algorithm 4). Not from m + log(l), as there: that loses l
# beside the m = -1e9 of a row that a bias hides. Arrays are stacks of blocks, [I, J, ..]: of the
# targets I or 1, of the sources J or 1. Blocks without a pair that may meet are left out.


def _by_blocks(q: Any, k: Any, v: Any, bias: Any, masks: Any, form: Form) -> Any:
    """The output [B, G, K / G, T, V]."""
    targets, sources = q.shape[-2], k.shape[-1]
    tall, broad = (math.ceil(n / math.ceil(n / SIDE)) for n in (targets, sources))
    if sources % broad:  # what fills the last block is masked
        masks = *masks, jnp.ones((1, 1, 1, 1, sources), bool)
    bias, masks = jax.tree.map(lambda x: _stack(x, tall, broad), (bias, masks))
    k, v = _stack(k, k.shape[-2], broad), _stack(v, v.shape[-2], broad)
    out: Any = _blocks(_stack(q, tall, q.shape[-1]), k, v, bias, masks, form)
    out = jnp.moveaxis(out[:, 0], 0, -3)
    return out.reshape(*out.shape[:-3], -1, out.shape[-1])[..., :targets, :]


def _stack(x: Any, tall: int, broad: int) -> Any:
    """[.., n, m] as [I, J, .., tall, broad], filled up with zeros; axes of 1 stay."""
    *rest, n, m = x.shape
    tall, broad = min(tall, n), min(broad, m)
    x = jnp.pad(x, [(0, 0)] * len(rest) + [(0, -n % tall), (0, -m % broad)])
    return jnp.moveaxis(x.reshape(*rest, -1, tall, -(-m // broad), broad), (-4, -2), (0, 1))


def _at(x: Any, i: Any, j: Any) -> Any:
    """A block; from a stack of one that one, since `lax` keeps a slice inside."""
    return lax.dynamic_slice(x, (i, j, *[0] * (x.ndim - 2)), (1, 1, *x.shape[2:]))[0, 0]


def _put(x: Any, new: Any, i: Any, j: Any) -> Any:
    return lax.dynamic_update_slice(x, new[None, None], (i, j, *[0] * new.ndim))


def _product(equation: str, left: Any, right: Any) -> Any:
    """A product that adds up in float32 at least."""
    dtype = jnp.promote_types(right.dtype, "float32")
    return jnp.einsum(equation, left, right, preferred_element_type=dtype)


def _over_blocks(step: Callable[..., Any], start: Any, q: Any, k: Any, form: Form) -> Any:
    """Runs step(carry, i, j) for each block with pairs that may meet."""
    i, j = np.indices((q.shape[0], k.shape[1]), "int32").reshape(2, -1)
    tall, broad = q.shape[-2], k.shape[-1]
    ahead, behind = j * broad - (i + 1) * tall + 1, i * tall - (j + 1) * broad + 1  # at least
    meet = (ahead <= 0) | (not form.causal)
    if form.window is not None:
        meet &= np.maximum(ahead, behind) < form.window
    return lax.scan(lambda carry, at: (step(carry, *at), None), start, (i[meet], j[meet]))[0]


def _block_logits(
    q: Any, k: Any, bias: Any, masks: Any, form: Form, i: Any, j: Any
) -> tuple[Any, Any]:
    """Logits, -inf where masked, and what makes gradients of products and bias of that of them."""
    bias, masks = jax.tree.map(lambda x: _at(x, i, j), (bias, masks))
    products = _product("bgrtd,bgds->bgrts", _at(q, i, 0), _at(k, 0, j))
    logits, pull = jax.vjp(lambda x, b: _logits(x, b, form.soft_cap), products, bias)
    tall, broad = logits.shape[-2:]
    meeting = _meeting(masks, form, i * tall + jnp.arange(tall), j * broad + jnp.arange(broad))
    return logits if meeting is None else jnp.where(meeting, logits, -jnp.inf), pull


@composite("attention", static=("form",))
def _forward(q: Any, k: Any, v: Any, bias: Any, masks: Any, form: Form) -> Any:
    """The output, and of each row the greatest logit m and the sum l of exp(logit - m)."""

    def step(carry: Any, i: Any, j: Any) -> Any:
        out, top, total = (_at(x, i, 0) for x in carry)
        logits, _ = _block_logits(q, k, bias, masks, form, i, j)
        greatest = jnp.maximum(top, logits.max(-1, keepdims=True))
        weights, shrink = jnp.exp(logits - greatest), jnp.exp(top - greatest)
        values = _product("bgrts,bgvs->bgrtv", weights.astype(v.dtype), _at(v, 0, j))
        total = total * shrink + weights.sum(-1, keepdims=True)
        new = out * shrink + values, greatest, total
        return tuple(_put(x, n, i, 0) for x, n in zip(carry, new, strict=True))

    out = wide(jnp.zeros((*q.shape[:-1], v.shape[-2]), v.dtype))
    top = jnp.full_like(out[..., :1], jnp.finfo(out.dtype).min)
    out, top, total = _over_blocks(step, (out, top, jnp.zeros_like(top)), q, k, form)
    total = jnp.where(total == 0, 1, total)  # a row without any source gives zeros
    return (out / total).astype(v.dtype), top, total


@composite("attention_grad", static=("form",))
def _backward(saved: Any, d_out: Any, form: Form) -> Any:
    """The gradients of q, k, v and bias from that of the output."""
    q, k, v, bias, masks, out, top, total = saved
    mean = (wide(out) * d_out).sum(-1, keepdims=True)  # of the gradient of a row's weights

    def step(carry: Any, i: Any, j: Any) -> Any:
        logits, pull = _block_logits(q, k, bias, masks, form, i, j)
        slope = _at(d_out, i, 0)
        weights = jnp.exp(logits - _at(top, i, 0)) / _at(total, i, 0)
        d_weights = _product("bgrtv,bgvs->bgrts", slope, _at(v, 0, j))
        d_products, d_bias = pull(weights * (d_weights - _at(mean, i, 0)))
        d_products, weights = d_products.astype(q.dtype), weights.astype(v.dtype)
        new = (
            _product("bgrts,bgds->bgrtd", d_products, _at(k, 0, j)),
            _product("bgrtd,bgrts->bgds", _at(q, i, 0), d_products),
            _product("bgrtv,bgrts->bgvs", slope, weights),
            d_bias,
        )
        return jax.tree.map(lambda x, n: _put(x, _at(x, i, j) + n, i, j), carry, new)

    given = q, k, v, bias
    start = jax.tree.map(lambda x: wide(jnp.zeros_like(x)), given)
    found = _over_blocks(step, start, q, k, form)
    return jax.tree.map(lambda d, x: d.astype(x.dtype), found, given)


def _saving(*given: Any) -> Any:
    found = _forward(*given)
    return found[0], (*given[:-1], *found)


_blocks = jax.custom_vjp(lambda *given: _forward(*given)[0], nondiff_argnums=(5,))
_blocks.defvjp(_saving, lambda form, saved, d_out: (*_backward(saved, d_out, form), None))


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

    `scale` is 1 / sqrt(D) by default; `mask` is True where attention may go.

    `flash_attention` goes by blocks: logits [T, S] are never in memory (8 heads of 64, 8192 x 8192:
    68 MB instead of 6.5 GB, with the gradient 90 MB instead of 8.6 GB). On two cores it takes 0.5
    to 1.1 of the time at 512 x 512, and 0.5 at 1024 x 1024 (with the gradient 0.7, causal 0.4). So
    None goes by blocks from 512 x 512 on, unless `config.disable_flash_attention()`. Blocks have no
    forward derivative (`ops.jvp`). Dao et al. (2022).

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
    masks = [] if mask is None else [jnp.asarray(mask, bool)]
    form = Form(is_causal, soft_cap=attn_logits_soft_cap)
    return attend(query, key, value, form, masks, scale, bias, flash=flash_attention)[0]


__all__ = operations(globals())  # noqa: PLE0605
