"""Operations of order and search: sort, unique, where a value is, what a condition picks.

Keras lists them in `ops.numpy`, the k largest (`top_k`) at the top only: they are in `math.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core.symbol import KerasTensor
from carnyx.ops.table import known, op, operations, publish, tensor


def _digitize(x: Any, bins: Any) -> Any:
    return jnp.searchsorted(jnp.asarray(bins), jnp.asarray(x), side="right")


def _searchsorted(sequence: Any, values: Any, side: str = "left") -> Any:
    sequence = jnp.asarray(sequence)
    if sequence.ndim != 1:
        raise ValueError(
            "ops.searchsorted: sorted_sequence has one axis. "
            f"Received: an array of shape {sequence.shape}. Use ops.vectorized_map for several."
        )
    return jnp.searchsorted(sequence, values, side=side)


TABLES = {
    "x, axis=-1": {
        "argsort": "The indices that sort x along `axis`.",
        "sort": "x in ascending order along `axis`.",
    },
    "x, kth, axis=-1": {
        "argpartition": "Indices with that of the kth smallest at k, the smaller before it."
    },
    "x, bins": {"digitize": (_digitize, "How many of the ascending `bins` are <= x, elementwise.")},
    "sorted_sequence, values, side='left'": {
        "searchsorted": (
            _searchsorted,
            "Where each value belongs into an ascending sequence: before equals, or after (right).",
        )
    },
    "x1, x2, assume_unique=False, invert=False": {
        "isin": "Whether each element of x1 is anywhere in x2; `invert`: whether not."
    },
    "condlist, choicelist, default=0": {
        "select": "The choice whose condition is the first to hold, elementwise."
    },
}
publish(globals(), TABLES)


def _indices(x: KerasTensor) -> tuple[KerasTensor, ...]:
    return tuple(KerasTensor((None,), "int32") for _ in x.shape)


def _where_symbols(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """Indices for a condition alone; else the shape is known."""
    return _indices(condition) if x1 is None and x2 is None else None


@op(symbols=_indices)
def nonzero(x: Any) -> Any:
    """Where x is not 0: indices [N] for every axis. Not for compiled code.

    >>> [axis.tolist() for axis in nonzero([[0, 5], [7, 0]])]
    [[0, 1], [1, 0]]
    """
    known("nonzero", x)
    return jnp.nonzero(x)


@op(symbols=_where_symbols)
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2; `nonzero(condition)` without them.

    >>> where([True, False], 1, 2).tolist()
    [1, 2]
    """
    if x1 is not None and x2 is not None:
        return jnp.where(condition, x1, x2)
    if x1 is not None or x2 is not None:
        raise ValueError("ops.where: give both x1 and x2, or neither of them.")
    known("where", condition)
    return jnp.where(condition)


def _unique_symbols(
    x: Any, sorted: Any = True, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: int | None = None, size: int | None = None,
    fill_value: Any = None,
) -> Any:  # fmt: skip
    if size is not None:
        return None
    shape = [None] if axis is None else [*x.shape]
    shape[axis or 0] = None
    inverse = x.shape if axis is None else (x.shape[axis],)
    found = [KerasTensor(shape, x.dtype)]
    found += [KerasTensor((None,), "int32")] * return_index
    found += [KerasTensor(inverse, "int32")] * return_inverse
    found += [KerasTensor((None,), "int32")] * return_counts
    return tuple(found) if len(found) > 1 else found[0]


@op(symbols=_unique_symbols)
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements (or slices along `axis`) in ascending order, whatever `sorted` says.

    Args:
        return_index: also where each is first.
        return_inverse: also which of them each element of x is, in the shape of x.
        return_counts: also how often each is there.
        size: of the result, which compiled code needs: cut, or filled with `fill_value` (by
            default the smallest element).

    >>> [part.tolist() for part in unique([3, 1, 3], return_counts=True)]
    [[1, 3], [1, 2]]
    """
    if size is None:
        known("unique", x)
    return jnp.unique(
        jnp.asarray(tensor(x)), return_index, return_inverse, return_counts,
        axis=axis, size=size, fill_value=fill_value,
    )  # fmt: skip


__all__ = operations(globals())  # noqa: PLE0605
