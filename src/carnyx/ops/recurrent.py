"""Recurrent sequences: LSTM and GRU over time as composites, and the plain scan of any cell.

The fast LSTM does what a scan over a cell cannot: the inputs of all steps are projected in one
product, the backward scan keeps only what depends on the step after, and all weight gradients are
one large product at the end. `layers/rnn.py` chooses between these and the plain scan.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.core.composite import composite


def _where_row(mask: Any, new: Any, old: Any) -> Any:
    """`new` in the rows where `mask` [B] is True."""
    return jnp.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)


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
    xs = jnp.swapaxes(sequences, 0, 1)
    ms = None if mask is None else jnp.swapaxes(mask.astype(bool), 0, 1)
    if go_backwards:
        xs, ms = jnp.flip(xs, 0), None if ms is None else jnp.flip(ms, 0)
    output = jax.eval_shape(step, xs[0], states)[0]

    def body(carry: Any, item: Any) -> Any:
        before, last = carry
        x, m = item
        out, after = step(x, before)
        if m is None:
            return (after, out), out
        keep = functools.partial(_where_row, m)
        after = jax.tree.map(keep, after, before)
        out = keep(out, jnp.zeros_like(out) if zero_output_for_mask else last)
        return (after, out), out

    start = (states, jnp.zeros(output.shape, output.dtype))
    (states, _), outputs = lax.scan(body, start, (xs, ms), unroll=len(xs) if unroll else 1)
    return jnp.swapaxes(outputs, 0, 1), states


# ---- LSTM. One pass of tanh makes all four gates: sigmoid(x) = (1 + tanh(x / 2)) / 2, so with
# scale s = (1/2, 1/2, 1, 1/2) for i, f, g, o every gate is s tanh(s z) + (1 - s).


def _gate_scale(units: int, dtype: Any) -> Any:
    half = jnp.full((units,), 0.5, dtype)
    return jnp.concatenate([half, half, jnp.ones((units,), dtype), half])


def _quarter(x: Any, index: int) -> Any:
    units = x.shape[-1] // 4
    return x[..., index * units : (index + 1) * units]


def _lstm_scan(projected: Any, h: Any, c: Any, recurrent_kernel: Any, mask: Any) -> Any:
    """projected [T, B, 4U] -> hidden, cell [T, B, U] and gates [T, B, 4U] of every step."""
    scale = _gate_scale(h.shape[-1], h.dtype)

    def body(carry: Any, item: Any) -> Any:
        h, c = carry
        z, m = item
        # The barriers keep XLA from computing the tanh again in each fusion that reads a gate.
        gates = scale * jnp.tanh(scale * (z + h @ recurrent_kernel)) + (1 - scale)
        gates = lax.optimization_barrier(gates)
        i, f, g, o = (_quarter(gates, k) for k in range(4))
        new_c = lax.optimization_barrier(f * c + i * g)
        new_h = lax.optimization_barrier(o * jnp.tanh(new_c))
        if m is not None:
            new_h, new_c = jnp.where(m[:, None], new_h, h), jnp.where(m[:, None], new_c, c)
        return (new_h, new_c), (new_h, new_c, gates)

    return lax.scan(body, (h, c), (projected, mask))[1]


def _lstm_forward(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, mask: Any) -> Any:
    return _lstm_scan(x @ w + b, h, c, u, mask)


def _before(first: Any, rows: Any) -> Any:
    """The value before each step."""
    return jnp.concatenate([first[None], rows[:-1]], axis=0)


def _lstm_backward(saved: Any, d_hidden: Any, d_cell: Any) -> Any:
    """Gradients of `_lstm_forward` from those of hidden and cell [T, B, U] of every step.

    With the gates known, everything that does not depend on later steps is one large elementwise
    pass (`factors`); the scan does the rest: a product and a few multiplications a step.
    """
    x, h0, c0, w, u, mask, hidden, cell, gates = saved
    i, f, g, o = (_quarter(gates, k) for k in range(4))
    # The cell that a step computed; where the mask is False `cell` is the one before it.
    before = _before(c0, cell)
    squashed = jnp.tanh(cell if mask is None else f * before + i * g)
    through = o * (1 - squashed * squashed)
    factors = [g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)]
    width = u.shape[0]
    transposed = u.T

    def body(carry: Any, item: Any) -> Any:
        dh, dc = carry
        dh_step, dc_step, through, factor, f, m = item
        dh, dc = dh + dh_step, dc + dc_step
        live_h = dh if m is None else jnp.where(m[:, None], dh, 0)
        live_c = dc if m is None else jnp.where(m[:, None], dc, 0)
        inner = live_c + live_h * through
        parts = [inner * factor[:, k * width : (k + 1) * width] for k in range(3)]
        dz = jnp.concatenate([*parts, live_h * factor[:, 3 * width :]], axis=-1)
        dh_before, dc_before = dz @ transposed, inner * f
        if m is not None:
            dh_before = jnp.where(m[:, None], dh_before, dh)
            dc_before = jnp.where(m[:, None], dc_before, dc)
        return (dh_before, dc_before), dz

    start = (jnp.zeros_like(h0), jnp.zeros_like(c0))
    items = (d_hidden, d_cell, through, jnp.concatenate(factors, axis=-1), f, mask)
    (dh0, dc0), dz = lax.scan(body, start, items, reverse=True)
    flat = dz.reshape(-1, 4 * width)
    dw = x.reshape(-1, x.shape[-1]).T @ flat
    du = _before(h0, hidden).reshape(-1, width).T @ flat
    dx = (flat @ w.T).reshape(x.shape)
    return dx, dh0, dc0, dw, du, jnp.sum(flat, axis=0)


_forward_call = composite("lstm")(_lstm_forward)
_backward_call = composite("lstm_grad")(_lstm_backward)


@jax.custom_vjp
def _lstm(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, mask: Any) -> Any:
    hidden, cell, _ = _forward_call(x, h, c, w, u, b, mask)
    return hidden, cell


def _lstm_fwd(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, mask: Any) -> Any:
    hidden, cell, gates = _forward_call(x, h, c, w, u, b, mask)
    return (hidden, cell), (x, h, c, w, u, mask, hidden, cell, gates)


def _lstm_bwd(saved: Any, gradients: Any) -> Any:
    return (*_backward_call(saved, *gradients), None)


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
    hidden, cell = _lstm(x, h, c, kernel, recurrent_kernel, bias, mask)
    # Where nothing was computed yet, a masked step's output is zero, not the initial state.
    outputs = hidden if mask is None else _silent_start(hidden, mask)
    return jnp.swapaxes(outputs, 0, 1), hidden[-1], cell[-1]


def _time_major(x: Any, mask: Any, go_backwards: bool) -> tuple[Any, Any]:
    x = jnp.swapaxes(x, 0, 1)
    mask = None if mask is None else jnp.swapaxes(mask.astype(bool), 0, 1)
    if go_backwards:
        x, mask = jnp.flip(x, 0), None if mask is None else jnp.flip(mask, 0)
    return x, mask


def _silent_start(hidden: Any, mask: Any) -> Any:
    """Zeros at the masked steps before a row's first real one."""
    started = lax.cummax(mask.astype(jnp.int32), axis=0) > 0
    return jnp.where(started[..., None], hidden, 0)


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
    units = h.shape[-1]
    projected = x @ kernel + (bias[0] if reset_after else bias)

    def step(z: Any, states: list[Any]) -> Any:
        (h,) = states
        if reset_after:
            inner = h @ recurrent_kernel + bias[1]
            gates = jax.nn.sigmoid(z[:, : 2 * units] + inner[:, : 2 * units])
            update, reset = gates[:, :units], gates[:, units:]
            g = jnp.tanh(z[:, 2 * units :] + reset * inner[:, 2 * units :])
        else:
            inner = h @ recurrent_kernel[:, : 2 * units]
            gates = jax.nn.sigmoid(z[:, : 2 * units] + inner)
            update, reset = gates[:, :units], gates[:, units:]
            g = jnp.tanh(z[:, 2 * units :] + (reset * h) @ recurrent_kernel[:, 2 * units :])
        h = update * h + (1 - update) * g
        return h, [h]

    outputs, (h,) = scan_cell(step, projected, [h], mask=mask, go_backwards=go_backwards)
    return outputs, h
