"""Recurrent sequences: LSTM and GRU over time as composites, and the plain scan of any cell.

The fast forms do what a scan over a cell cannot: the inputs of all steps are projected in one
product, the backward scan keeps only what depends on the step after, and all weight gradients are
large products at the end. `layers/rnn.py` chooses between these and the plain scan; a cell's own
arithmetic, step by step, is in `layers/cells.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.core.composite import composite


def _keep(mask: Any, new: Any, old: Any) -> Any:
    """`new` in the rows where `mask` [B] is True, everywhere without a mask."""
    return new if mask is None else jnp.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _time_major(x: Any, mask: Any, go_backwards: bool) -> tuple[Any, Any]:
    x = jnp.swapaxes(x, 0, 1)
    mask = None if mask is None else jnp.swapaxes(mask.astype(bool), 0, 1)
    if go_backwards:
        x, mask = jnp.flip(x, 0), None if mask is None else jnp.flip(mask, 0)
    return x, mask


def scan_cell(
    step: Callable[[Any, Any], tuple[Any, Any]],
    sequences: Any,
    states: Any,
    *,
    mask: Any = None,
    go_backwards: bool = False,
    unroll: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[Any, Any]:
    """Steps any cell over time: sequences [B, T, D] -> (outputs [B, T, U], last states).

    `step(inputs [B, D], states) -> (output [B, U], states)`. Where `mask` [B, T] is False the
    states stay and the output is the one before (zeros at first, or always zeros on demand).
    """
    xs, ms = _time_major(sequences, mask, go_backwards)
    output = jax.eval_shape(step, xs[0], states)[0]

    def body(carry: Any, item: Any) -> Any:
        before, last = carry
        x, m = item
        out, after = step(x, before)
        after = jax.tree.map(functools.partial(_keep, m), after, before)
        out = _keep(m, out, jnp.zeros_like(out) if zero_output_for_mask else last)
        return (after, out), out

    start = (states, jnp.zeros(output.shape, output.dtype))
    (states, _), outputs = lax.scan(body, start, (xs, ms), unroll=len(xs) if unroll else 1)
    return jnp.swapaxes(outputs, 0, 1), states


# ---- LSTM. One pass of tanh makes all four gates: sigmoid(x) = (1 + tanh(x / 2)) / 2, so with
# scale s = (1/2, 1/2, 1, 1/2) for i, f, g, o every gate is s tanh(s z) + (1 - s).


def _gate_scale(units: int, dtype: Any) -> Any:
    half = jnp.full((units,), 0.5, dtype)
    return jnp.concatenate([half, half, jnp.ones((units,), dtype), half])


def _block(x: Any, index: int, blocks: int) -> Any:
    """One of the blocks that stand side by side on the last axis, one a gate."""
    units = x.shape[-1] // blocks
    return x[..., index * units : (index + 1) * units]


_quarter = functools.partial(_block, blocks=4)
_third = functools.partial(_block, blocks=3)


def _lstm_step(z: Any, h: Any, c: Any, scale: Any, m: Any) -> tuple[Any, ...]:
    """From the sums z [B, 4U] of a step: its gates, tanh of its cell, and the new h and c."""
    # The barriers keep XLA from computing the tanh again in each fusion that reads a gate.
    gates = lax.optimization_barrier(scale * jnp.tanh(scale * z) + (1 - scale))
    i, f, g, o = (_quarter(gates, k) for k in range(4))
    new_c = lax.optimization_barrier(f * c + i * g)
    squashed = lax.optimization_barrier(jnp.tanh(new_c))
    new_h = lax.optimization_barrier(o * squashed)
    return gates, squashed, _keep(m, new_h, h), _keep(m, new_c, c)


@composite("lstm")
def _lstm_plain(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, mask: Any) -> Any:
    """x [T, B, D] -> h of every step [T, B, U] and the last c [B, U]."""
    scale = _gate_scale(h.shape[-1], h.dtype)

    def body(carry: Any, item: Any) -> Any:
        h, c = carry
        z, m = item
        _, _, h, c = _lstm_step(z + h @ u, h, c, scale, m)
        return (h, c), h

    (_, c), hidden = lax.scan(body, (h, c), (x @ w + b, mask))
    return hidden, c


@composite("lstm_train")
def _lstm_forward(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, mask: Any) -> Any:
    """As `_lstm_plain`, with c and tanh(c) [T, B, U] and the gates [T, B, 4U] of every step.

    The gates overwrite the projected inputs, which saves the largest buffer, its zeros and the
    pages that it would touch first; the bias is added in the loop, where the sums are at hand.
    """
    scale = _gate_scale(h.shape[-1], h.dtype)

    def body(carry: Any, item: Any) -> Any:
        h, c, rows = carry
        t, m = item
        z = lax.dynamic_index_in_dim(rows, t, 0, keepdims=False) + h @ u + b
        gates, squashed, h, c = _lstm_step(z, h, c, scale, m)
        rows = lax.dynamic_update_index_in_dim(rows, gates, t, 0)
        return (h, c, rows), (h, c, squashed)

    steps = jnp.arange(x.shape[0])
    (_, _, gates), (hidden, cell, squashed) = lax.scan(body, (h, c, x @ w), (steps, mask))
    return hidden, cell, squashed, gates


def _before(first: Any, rows: Any) -> Any:
    """The value before each step."""
    return jnp.concatenate([first[None], rows[:-1]], axis=0)


def _products(x: Any, before: Any, dz: Any, w: Any) -> tuple[Any, Any, Any]:
    """Gradients of x, W and U from those of the sums of all steps, as three large products."""
    flat = dz.reshape(-1, dz.shape[-1])
    dx = (flat @ w.T).reshape(x.shape)
    return dx, x.reshape(-1, x.shape[-1]).T @ flat, before.reshape(-1, before.shape[-1]).T @ flat


@composite("lstm_grad", version=2)
def _lstm_backward(
    u: Any, c0: Any, cell: Any, squashed: Any, gates: Any, d_hidden: Any, d_last: Any, mask: Any
) -> Any:
    """The way back through `_lstm_plain`, from the gradients by h of every step [T, B, U] and by
    the last c, to those by the sums x W + h U + b [T, B, 4U] and by the first h and c [B, U].

    With the gates known, everything that does not depend on later steps is one large elementwise
    pass (`factors`); the scan does the rest: a product and a few multiplications a step.
    """
    i, f, g, o = (_quarter(gates, k) for k in range(4))
    before = _before(c0, cell)
    through = o * (1 - squashed * squashed)
    factors = [g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)]
    transposed = u.T

    def body(carry: Any, item: Any) -> Any:
        dh, dc = carry
        dh_step, through, factor, f, m = item
        dh = dh + dh_step
        live_h, live_c = _keep(m, dh, jnp.zeros_like(dh)), _keep(m, dc, jnp.zeros_like(dc))
        inner = live_c + live_h * through
        parts = [inner * _quarter(factor, k) for k in range(3)]
        dz = jnp.concatenate([*parts, live_h * _quarter(factor, 3)], axis=-1)
        return (_keep(m, dz @ transposed, dh), _keep(m, inner * f, dc)), dz

    items = (d_hidden, through, jnp.concatenate(factors, axis=-1), f, mask)
    (dh0, dc0), dz = lax.scan(body, (jnp.zeros_like(d_last), d_last), items, reverse=True)
    return dz, dh0, dc0


def _lstm_fwd(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, mask: Any) -> Any:
    hidden, cell, squashed, gates = _lstm_forward(x, h, c, w, u, b, mask)
    return (hidden, cell[-1]), (x, h, c, w, u, mask, hidden, cell, squashed, gates)


def _lstm_bwd(saved: Any, gradients: Any) -> Any:
    x, h0, c0, w, u, mask, hidden, cell, squashed, gates = saved
    dz, dh0, dc0 = _lstm_backward(u, c0, cell, squashed, gates, *gradients, mask)
    dx, dw, du = _products(x, _before(h0, hidden), dz, w)
    return dx, dh0, dc0, dw, du, jnp.sum(dz, axis=(0, 1)), None


_lstm = jax.custom_vjp(_lstm_plain)
_lstm.defvjp(_lstm_fwd, _lstm_bwd)


def lstm(
    x: Any,
    h: Any,
    c: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    *,
    mask: Any = None,
    go_backwards: bool = False,
) -> tuple[Any, Any, Any]:
    """Long short-term memory (Hochreiter and Schmidhuber 1997) over whole sequences.

    z[t] = x[t] W + h[t-1] U + b in four blocks i, f, g, o of width U;
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g);  h[t] = sigmoid(o) tanh(c[t]).

    x [B, T, D], h and c [B, U], kernel W [D, 4U], recurrent_kernel U [U, 4U], bias b [4U], mask
    [B, T] -> (h of every step [B, T, U], last h [B, U], last c [B, U]).
    `go_backwards` starts at the last step; outputs stand in the order of running.
    """
    x, mask = _time_major(x, mask, go_backwards)
    hidden, c = _lstm(x, h, c, kernel, recurrent_kernel, bias, mask)
    return _outputs(hidden, mask), hidden[-1], c


def _outputs(hidden: Any, mask: Any) -> Any:
    """[B, T, U]: zeros at masked steps before a row's first real one, not the initial state."""
    if mask is not None:
        started = lax.cummax(mask.astype(jnp.int32), axis=0) > 0
        hidden = jnp.where(started[..., None], hidden, 0)
    return jnp.swapaxes(hidden, 0, 1)


# ---- GRU. The two forms differ in what the reset gate multiplies: the product h Ug + b' (after),
# or h itself (before). Gates stand in the order z, r, g.


def _gru_step(x: Any, h: Any, u: Any, inner_bias: Any, m: Any, after: bool) -> tuple[Any, ...]:
    """From the projected inputs x [B, 3U] of a step: its gates z, r, g, what r multiplied, h."""
    units = h.shape[-1]
    sums = h @ (u if after else u[:, : 2 * units])
    sums = sums + inner_bias if after else sums
    half = 0.5 * (x[:, : 2 * units] + sums[:, : 2 * units])
    both = lax.optimization_barrier(0.5 * jnp.tanh(half) + 0.5)
    update, reset = both[:, :units], both[:, units:]
    gated = sums[:, 2 * units :] if after else h
    late = reset * gated if after else (reset * h) @ u[:, 2 * units :]
    g = lax.optimization_barrier(jnp.tanh(_third(x, 2) + late))
    new = lax.optimization_barrier(update * h + (1 - update) * g)
    return jnp.concatenate([both, g], axis=-1), gated, _keep(m, new, h)


@composite("gru", static=("after",))
def _gru_plain(x: Any, h: Any, w: Any, u: Any, b: Any, mask: Any, after: bool) -> Any:
    """x [T, B, D] -> h of every step [T, B, U]."""
    outer, inner = (b[0], b[1]) if after else (b, None)

    def body(h: Any, item: Any) -> Any:
        *_, h = _gru_step(item[0], h, u, inner, item[1], after)
        return h, h

    return lax.scan(body, h, (x @ w + outer, mask))[1]


@composite("gru_train", static=("after",))
def _gru_forward(x: Any, h: Any, w: Any, u: Any, b: Any, mask: Any, after: bool) -> Any:
    """As `_gru_plain`, with the gates [T, B, 3U], which overwrite the projected inputs, and what
    the reset gate multiplied [T, B, U]."""
    outer, inner = (b[0], b[1]) if after else (b, None)

    def body(carry: Any, item: Any) -> Any:
        h, rows = carry
        t, m = item
        z = lax.dynamic_index_in_dim(rows, t, 0, keepdims=False) + outer
        gates, gated, h = _gru_step(z, h, u, inner, m, after)
        return (h, lax.dynamic_update_index_in_dim(rows, gates, t, 0)), (h, gated)

    steps = jnp.arange(x.shape[0])
    (_, gates), (hidden, gated) = lax.scan(body, (h, x @ w), (steps, mask))
    return hidden, gated, gates


@composite("gru_grad", static=("after",))
def _gru_backward(saved: Any, d_hidden: Any, after: bool) -> Any:
    """Gradients of `_gru_plain` from that of h of every step [T, B, U]; see `_lstm_backward`."""
    x, h0, w, u, mask, hidden, gated, gates = saved
    z, r, g = (_third(gates, k) for k in range(3))
    before = _before(h0, hidden)
    units = u.shape[0]
    transposed, gate_u, late_u = u.T, u[:, : 2 * units].T, u[:, 2 * units :].T
    to_z, to_g, to_r = (before - g) * z * (1 - z), (1 - z) * (1 - g * g), gated * r * (1 - r)

    def body(dh: Any, item: Any) -> Any:
        dh_step, to_z, to_g, to_r, z, r, m = item
        dh = dh + dh_step
        live = _keep(m, dh, jnp.zeros_like(dh))
        dz, dg = live * to_z, live * to_g
        if after:
            dr = dg * to_r
            back = jnp.concatenate([dz, dr, dg * r], axis=-1) @ transposed
        else:
            late = dg @ late_u
            dr = late * to_r
            back = jnp.concatenate([dz, dr], axis=-1) @ gate_u + late * r
        return _keep(m, live * z + back, dh), jnp.concatenate([dz, dr, dg], axis=-1)

    items = (d_hidden, to_z, to_g, to_r, z, r, mask)
    dh0, sums = lax.scan(body, jnp.zeros_like(h0), items, reverse=True)
    dx, dw, du = _products(x, before, sums, w)
    late = _third(sums, 2)
    met = late * r if after else late  # what met h Ug, and what it met
    rows = (before if after else r * before).reshape(-1, units)
    du = jnp.concatenate([du[:, : 2 * units], rows.T @ met.reshape(-1, units)], axis=-1)
    db = jnp.sum(sums, axis=(0, 1))
    if after:
        db = jnp.stack([db, jnp.concatenate([db[: 2 * units], jnp.sum(met, axis=(0, 1))])])
    return dx, dh0, dw, du, db


def _gru_fwd(x: Any, h: Any, w: Any, u: Any, b: Any, mask: Any, after: bool) -> Any:
    hidden, gated, gates = _gru_forward(x, h, w, u, b, mask, after)
    return hidden, (x, h, w, u, mask, hidden, gated, gates)


_gru = jax.custom_vjp(_gru_plain, nondiff_argnums=(6,))
_gru.defvjp(_gru_fwd, lambda after, saved, d: (*_gru_backward(saved, d, after), None))


def gru(
    x: Any,
    h: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    *,
    reset_after: bool = True,
    mask: Any = None,
    go_backwards: bool = False,
) -> tuple[Any, Any]:
    """Gated recurrent units (Cho et al. 2014) over whole sequences, inputs projected in one go.

    In three blocks z, r, g of width U, with s = sigmoid and x' = x[t] W + b:
    z = s(x'z + h Uz), r = s(x'r + h Ur), g = tanh(x'g + r (h Ug + b')) with `reset_after` (bias
    [2, 3U] holds b and the recurrent b'), else tanh(x'g + (r h) Ug);  h = z h + (1 - z) g.

    x [B, T, D], h [B, U] -> (h of every step [B, T, U], last h [B, U]).
    """
    x, mask = _time_major(x, mask, go_backwards)
    hidden: Any = _gru(x, h, kernel, recurrent_kernel, bias, mask, reset_after)
    return _outputs(hidden, mask), hidden[-1]
