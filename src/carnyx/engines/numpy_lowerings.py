"""Indexing, windows, products and factorisations for the NumPy engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import linalg


def pad(avals: Any, params: Any, x: np.ndarray, value: np.ndarray) -> np.ndarray:
    """`value` before, after and between the elements; negative amounts cut."""
    config = params["padding_config"]
    shape = [n + max(n - 1, 0) * inner for n, (_, _, inner) in zip(x.shape, config, strict=True)]
    spread = np.full(shape, value, x.dtype)
    spread[tuple(slice(None, None, inner + 1) for _, _, inner in config)] = x
    grow = [(max(low, 0), max(high, 0)) for low, high, _ in config]
    spread = np.pad(spread, grow, constant_values=value)
    cut = [
        slice(max(-low, 0), n - max(-high, 0))
        for n, (low, high, _) in zip(spread.shape, config, strict=True)
    ]
    return spread[tuple(cut)]


# ---- gather and scatter. Both build, for every operand axis, an array of indices of shape
# (batch..., window...), where the batch axes are those of the index vectors.


def _window_indices(
    shape: Sequence[int],
    sizes: Sequence[int],
    starts: np.ndarray,
    start_map: Sequence[int],
    batching: Sequence[tuple[int, int]],
    clip: bool,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Indices of every operand axis, and whether each window lies inside the operand."""
    batch = starts.shape[:-1]
    inside = np.ones(batch, bool)
    base: list[np.ndarray] = [np.zeros(batch, np.int64) for _ in shape]
    for column, axis in enumerate(start_map):
        start = starts[..., column].astype(np.int64)
        if starts.dtype.kind == "u":
            start = np.where(starts[..., column] > np.iinfo(np.int32).max, shape[axis], start)
        limit = shape[axis] - sizes[axis]
        inside &= (start >= 0) & (start <= limit)
        base[axis] = np.clip(start, 0, max(limit, 0)) if clip else start
    for operand_axis, batch_axis in batching:
        line = np.arange(batch[batch_axis])
        base[operand_axis] = np.broadcast_to(
            line.reshape([-1 if i == batch_axis else 1 for i in range(len(batch))]), batch
        )
    indices = []
    for axis, size in enumerate(sizes):
        window = np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(sizes))])
        indices.append(base[axis].reshape(*batch, *[1] * len(sizes)) + window)
    return indices, inside


def _gather(avals: Any, params: Any, x: np.ndarray, starts: np.ndarray) -> np.ndarray:
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    batching = list(
        zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    )
    fill = params["mode"].name == "FILL_OR_DROP"
    indices, inside = _window_indices(
        x.shape, sizes, starts, numbers.start_index_map, batching, clip=True
    )
    rank = starts.ndim - 1
    shape = (*starts.shape[:-1], *sizes)
    out = np.zeros(shape, x.dtype) if 0 in x.shape else x[tuple(indices)].reshape(shape)
    if fill:
        value = params["fill_value"]
        if value is None:
            value = _missing(x.dtype)
        out = np.where(inside.reshape(*inside.shape, *[1] * len(sizes)), out, value).astype(x.dtype)
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    out = out.reshape(*starts.shape[:-1], *(n for axis, n in enumerate(sizes) if axis not in gone))
    places = list(numbers.offset_dims)
    rest = [axis for axis in range(out.ndim) if axis not in places]
    return np.moveaxis(out, range(out.ndim), [*rest[:rank], *places])


def _missing(dtype: Any) -> Any:
    """What a gather outside the operand gives."""
    if dtype.kind == "f" or dtype.name == "bfloat16":
        return np.nan
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).max if dtype.kind == "u" else np.iinfo(dtype).min


def _scatter(combine: Callable[..., None]) -> Callable[..., np.ndarray]:
    def lowering(
        avals: Any, params: Any, x: np.ndarray, starts: np.ndarray, updates: np.ndarray
    ) -> np.ndarray:
        numbers = params["dimension_numbers"]
        window_axes = list(numbers.update_window_dims)
        batch_axes = [axis for axis in range(updates.ndim) if axis not in window_axes]
        updates = np.transpose(updates, [*batch_axes, *window_axes])
        gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        window = iter(updates.shape[len(batch_axes) :])
        sizes = [1 if axis in gone else next(window) for axis in range(x.ndim)]
        batching = list(
            zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
        )
        clip = params["mode"].name == "CLIP"
        indices, inside = _window_indices(
            x.shape, sizes, starts, numbers.scatter_dims_to_operand_dims, batching, clip
        )
        shape = (*starts.shape[:-1], *sizes)
        updates = updates.reshape(shape)
        if not clip:  # windows that stick out are left out whole
            indices = [np.broadcast_to(i, shape)[inside] for i in indices]
            updates = updates[inside]
        out = x.copy()
        combine(out, tuple(indices), updates)
        return out

    return lowering


def _assign(out: np.ndarray, indices: Any, updates: np.ndarray) -> None:
    out[indices] = updates


def _sort(avals: Any, params: Any, *operands: np.ndarray) -> list[np.ndarray]:
    axis = params["dimension"]
    order = np.arange(operands[0].shape[axis])
    order = np.broadcast_to(
        order.reshape([-1 if i == axis else 1 for i in range(operands[0].ndim)]), operands[0].shape
    )
    for key in reversed(operands[: params["num_keys"]]):  # stable: the last key first
        now = np.take_along_axis(key, order, axis)
        order = np.take_along_axis(order, np.argsort(now, axis=axis, kind="stable"), axis)
    return [np.take_along_axis(x, order, axis) for x in operands]


def _top_k(avals: Any, params: Any, x: np.ndarray) -> list[np.ndarray]:
    axis, k = params.get("axis", x.ndim - 1), params["k"]
    rank = np.argsort(-x if x.dtype.kind == "f" else -x.astype(np.int64), axis=axis, kind="stable")
    index = np.take(rank, range(k), axis=axis)
    return [np.take_along_axis(x, index, axis), index.astype(avals[1].dtype)]


# ---- windows


def _windows(x: np.ndarray, params: Any, start: Any) -> np.ndarray:
    """Every window: [*output, *window], what sticks out filled with `start`."""
    size, strides = params["window_dimensions"], params["window_strides"]
    base = params.get("base_dilation") or (1,) * x.ndim
    dilation = params.get("window_dilation") or (1,) * x.ndim
    config = [(a, b, d - 1) for (a, b), d in zip(params["padding"], base, strict=True)]
    x = pad(None, {"padding_config": config}, x, np.asarray(start, x.dtype))
    reach = [(n - 1) * d + 1 for n, d in zip(size, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach)
    outer = tuple(slice(None, None, s) for s in strides)
    inner = tuple(slice(None, None, d) for d in dilation)
    return view[(*outer, *inner)]


def _limit(dtype: Any, least: bool) -> Any:
    if dtype.kind == "f":
        return -np.inf if least else np.inf
    return np.iinfo(dtype).min if least else np.iinfo(dtype).max


def _reduce_window(function: Any, start: Callable[[Any], Any]) -> Callable[..., np.ndarray]:
    def lowering(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
        windows = _windows(x, params, start(x.dtype))
        return function(windows, axis=tuple(range(x.ndim, 2 * x.ndim))).astype(x.dtype)

    return lowering


def _first_selected(x: np.ndarray, params: Any) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """For each window the place in the padded operand of the element that `select_prim` keeps."""
    greatest = params["select_prim"].name in ("ge", "gt")
    padding = params["padding"]
    padded = pad(
        None,
        {"padding_config": [(a, b, 0) for a, b in padding]},
        x,
        np.asarray(_limit(x.dtype, greatest), x.dtype),
    )
    windows = _windows(padded, {**params, "padding": [(0, 0)] * x.ndim}, 0)
    flat = windows.reshape(*windows.shape[: x.ndim], -1)
    chosen = (np.argmax if greatest else np.argmin)(flat, axis=-1)
    inner = np.unravel_index(chosen, params["window_dimensions"])
    outer = np.indices(chosen.shape)
    strides = params["window_strides"]
    place = tuple(o * s + i for o, s, i in zip(outer, strides, inner, strict=True))
    return padded, place


def _select_and_scatter(avals: Any, params: Any, source: np.ndarray, x: np.ndarray) -> np.ndarray:
    padded, place = _first_selected(x, params)
    out = np.zeros(padded.shape, source.dtype)
    np.add.at(out, place, source)
    inside = (slice(low, low + n) for n, (low, _) in zip(x.shape, params["padding"], strict=True))
    return out[tuple(inside)]


def _select_and_gather(avals: Any, params: Any, tangent: np.ndarray, x: np.ndarray) -> np.ndarray:
    _, place = _first_selected(x, params)
    config = [(a, b, 0) for a, b in params["padding"]]
    padded = pad(None, {"padding_config": config}, tangent, np.zeros((), tangent.dtype))
    return padded[place]


# ---- products


def _dot(avals: Any, params: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Both sides as stacks of matrices: [batch, free, contracted] @ [batch, contracted, free]."""
    (cx, cy), (bx, by) = params["dimension_numbers"]
    fx = [a for a in range(x.ndim) if a not in (*cx, *bx)]
    fy = [a for a in range(y.ndim) if a not in (*cy, *by)]
    batch = [x.shape[a] for a in bx]
    inner = int(np.prod([x.shape[a] for a in cx], dtype=int))
    dtype = avals[0].dtype if avals[0].dtype.name not in ("bfloat16", "float16") else np.float32
    left = np.transpose(x, (*bx, *fx, *cx)).reshape(
        *batch, -1 if 0 not in x.shape else int(np.prod([x.shape[a] for a in fx], dtype=int)), inner
    )
    right = np.transpose(y, (*by, *cy, *fy)).reshape(
        *batch, inner, -1 if 0 not in y.shape else int(np.prod([y.shape[a] for a in fy], dtype=int))
    )
    out = np.matmul(left.astype(dtype), right.astype(dtype))
    return out.reshape(*batch, *(x.shape[a] for a in fx), *(y.shape[a] for a in fy))


def _conv(avals: Any, params: Any, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    numbers = params["dimension_numbers"]
    x = np.transpose(x, numbers.lhs_spec)  # batch, channels, space
    kernel = np.transpose(kernel, numbers.rhs_spec)  # filters, channels, space
    groups, batch_groups = params["feature_group_count"], params["batch_group_count"]
    if batch_groups > 1:
        parts = [
            _conv_one(a, b, params)
            for a, b in zip(np.split(x, batch_groups), np.split(kernel, batch_groups), strict=True)
        ]
    else:
        pairs = zip(np.split(x, groups, axis=1), np.split(kernel, groups), strict=True)
        parts = [_conv_one(a, b, params) for a, b in pairs]
    out = np.concatenate(parts, axis=1)
    return np.transpose(out, np.argsort(numbers.out_spec)).astype(avals[0].dtype)


def _conv_one(x: np.ndarray, kernel: np.ndarray, params: Any) -> np.ndarray:
    config = [(0, 0, 0), (0, 0, 0)]
    config += [
        (a, b, d - 1) for (a, b), d in zip(params["padding"], params["lhs_dilation"], strict=True)
    ]
    x = pad(None, {"padding_config": config}, x, np.zeros((), x.dtype))
    space, dilation = kernel.shape[2:], params["rhs_dilation"]
    reach = [(n - 1) * d + 1 for n, d in zip(space, dilation, strict=True)]
    axes = tuple(range(2, x.ndim))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=axes)
    outer = tuple(slice(None, None, s) for s in params["window_strides"])
    inner = tuple(slice(None, None, d) for d in dilation)
    view = view[(slice(None), slice(None), *outer, *inner)]
    rank = len(space)
    contracted = [1, *range(2 + rank, 2 + 2 * rank)]
    out = np.tensordot(view, kernel, (contracted, [1, *range(2, 2 + rank)]))
    return np.moveaxis(out, -1, 1)


_TRANSFORMS = {"FFT": np.fft.fftn, "IFFT": np.fft.ifftn, "RFFT": np.fft.rfftn}


def _fft(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    lengths, kind = params["fft_lengths"], params["fft_type"].name
    axes = tuple(range(-len(lengths), 0))
    transform = _TRANSFORMS.get(kind, np.fft.irfftn)
    return transform(x, lengths, axes).astype(avals[0].dtype)  # NumPy may widen to 64 bits


# ---- factorisations, on the last two axes


def _stacked(function: Callable[..., Any], *operands: np.ndarray) -> Any:
    """`function` on every matrix of stacks of matrices."""
    batch = operands[0].shape[:-2]
    if not batch:
        return function(*operands)
    flat = [x.reshape(-1, *x.shape[-2:]) for x in operands]
    results = [function(*parts) for parts in zip(*flat, strict=True)]
    if isinstance(results[0], tuple):
        return tuple(np.stack(r).reshape(*batch, *r[0].shape) for r in zip(*results, strict=True))
    return np.stack(results).reshape(*batch, *results[0].shape)


def _triangular(avals: Any, params: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a = a.conj() if params["conjugate_a"] else a
        unit, lower = params["unit_diagonal"], params["lower"]
        if params["left_side"]:
            return linalg.solve_triangular(
                a, b, trans=int(params["transpose_a"]), lower=lower, unit_diagonal=unit
            )
        other = int(not params["transpose_a"])
        return linalg.solve_triangular(a, b.T, trans=other, lower=lower, unit_diagonal=unit).T

    return _stacked(solve, a, b).astype(a.dtype)


def _qr(avals: Any, params: Any, x: np.ndarray) -> list[np.ndarray]:
    mode = "complete" if params["full_matrices"] else "reduced"
    return list(_stacked(lambda a: tuple(np.linalg.qr(a, mode)), x))


def _svd(avals: Any, params: Any, x: np.ndarray) -> list[np.ndarray]:
    if not params["compute_uv"]:
        return [np.linalg.svd(x, compute_uv=False)]
    u, s, vt = np.linalg.svd(x, params["full_matrices"])
    return [s, u, vt]


def _eigh(avals: Any, params: Any, x: np.ndarray) -> list[np.ndarray]:
    values, vectors = np.linalg.eigh(x, "L" if params["lower"] else "U")
    return [vectors, values]


def _eig(avals: Any, params: Any, x: np.ndarray) -> list[np.ndarray]:
    wanted = (params["compute_left_eigenvectors"], params["compute_right_eigenvectors"])

    def solve(a: np.ndarray) -> tuple[np.ndarray, ...]:
        found: Any = linalg.eig(a, left=wanted[0], right=wanted[1])
        return tuple(found) if any(wanted) else (found,)

    return list(_stacked(solve, x))


def _lu(avals: Any, params: Any, x: np.ndarray) -> list[np.ndarray]:
    def factor(a: np.ndarray) -> tuple[np.ndarray, ...]:
        factors, pivots = linalg.lu_factor(a)
        order = np.arange(len(a))
        for place, other in enumerate(pivots):
            order[[place, other]] = order[[other, place]]
        return factors, pivots.astype("int32"), order.astype("int32")

    return list(_stacked(factor, x))


LOWERINGS: dict[str, Callable[..., Any]] = {
    "gather": _gather,
    "scatter": _scatter(_assign),
    "scatter-add": _scatter(np.add.at),
    "scatter-max": _scatter(np.maximum.at),
    "scatter-min": _scatter(np.minimum.at),
    "scatter-mul": _scatter(np.multiply.at),
    "sort": _sort,
    "top_k": _top_k,
    "reduce_window_max": _reduce_window(np.max, lambda dtype: _limit(dtype, True)),
    "reduce_window_min": _reduce_window(np.min, lambda dtype: _limit(dtype, False)),
    "reduce_window_sum": _reduce_window(np.sum, lambda dtype: 0),
    "select_and_scatter_add": _select_and_scatter,
    "select_and_gather_add": _select_and_gather,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "fft": _fft,
    "cholesky": lambda avals, params, x: _stacked(np.linalg.cholesky, x),
    "triangular_solve": _triangular,
    "qr": _qr,
    "svd": _svd,
    "eig": _eig,
    "eigh": _eigh,
    "lu": _lu,
}
