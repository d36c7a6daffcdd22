"""Statistics: without NaN, quantiles, counts, correlation. Keras lists them in `ops.numpy`.

Plain sums, means and extremes are in `numpy.py`, moments and normalisation in `nn.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.symbol import KerasTensor
from carnyx.ops.table import known, op, operations, publish


def _marked(function: Callable[..., Any]) -> Callable[..., Any]:
    """An index of NaN-skipping search, -1 where all elements are NaN."""

    def run(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = jnp.asarray(x)
        found = function(x, axis, keepdims=keepdims)
        return jnp.where(jnp.all(jnp.isnan(x), axis, keepdims=keepdims), -1, found)

    return run


TABLES = {
    "x, axis=None, keepdims=False": {
        "median": "The median over `axis`.",
        "nanargmax": (_marked(jnp.nanargmax), "Where the maximum is; -1 if all are NaN."),
        "nanargmin": (_marked(jnp.nanargmin), "Where the minimum is; -1 if all are NaN."),
        "nanmax": "The maximum over `axis` of what is not NaN.",
        "nanmean": "The mean over `axis` of what is not NaN.",
        "nanmedian": "The median over `axis` of what is not NaN.",
        "nanmin": "The minimum over `axis` of what is not NaN.",
        "nanprod": "The product over `axis`, NaN taken as 1.",
        "nanstd": "The standard deviation over `axis` of what is not NaN.",
        "nansum": "The sum over `axis`, NaN taken as 0.",
        "nanvar": "The variance over `axis` of what is not NaN.",
    },
    "x, axis=None, dtype=None": {
        "nancumprod": "Products up to each element along `axis`, NaN taken as 1.",
        "nancumsum": "Sums up to each element along `axis`, NaN taken as 0.",
    },
    "x, q, axis=None, method='linear', keepdims=False": {
        "nanpercentile": "`percentile` of what is not NaN.",
        "nanquantile": "`quantile` of what is not NaN.",
        "percentile": "The values with q percent of x below, q in [0, 100].",
        "quantile": (
            jnp.quantile,
            "The values with a part q of x below, q in [0, 1], on a first axis; `method` of two "
            "neighbours: 'linear', 'lower', 'higher', 'midpoint', 'nearest'.",
        ),
    },
    "x, axis=None, weights=None": {
        "average": "sum(w x) / sum(w) over `axis`; the mean without weights."
    },
    "x, axis=None": {"count_nonzero": "How many elements over `axis` are not 0."},
    "a, n=1, axis=-1": {"diff": "Differences of neighbours along `axis`, taken n times."},
    "x": {"corrcoef": "Pearson's correlations of the rows: [N, observations] -> [N, N]."},
}
publish(globals(), TABLES)


@op
def histogram(x: Any, bins: int = 10, range: Any = None) -> Any:
    """How many elements are in each of `bins` equal cells, and the bins + 1 edges of these.

    `range` is (least, greatest), by default those of x; elements outside do not count, and the
    greatest is in the last cell.

    >>> [part.tolist() for part in histogram([1.0, 2.0, 2.0], bins=2)]
    [[1.0, 2.0], [1.0, 1.5, 2.0]]
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise TypeError(f"ops.histogram: bins is a whole number from 1. Received: bins={bins!r}")
    if range is not None and (len(range) != 2 or range[0] > range[1]):
        raise ValueError(
            f"ops.histogram: range is a pair (least, greatest). Received: range={range!r}"
        )
    return jnp.histogram(x, bins, range)


def _counts(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    dtype = "int32" if weights is None else weights.dtype
    return KerasTensor((*x.shape[:-1], None), dtype)


@op(symbols=_counts)
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each of 0, 1... is in x, or the sum of its weights: [N] or [B, N] -> [..., length].

    The length is that of the greatest number plus 1, and at least `minlength`; so this is not for
    compiled code.

    >>> bincount([0, 2, 2]).tolist()
    [1, 0, 2]
    """
    if sparse:
        raise ValueError("ops.bincount: sparse tensors are not supported. Use sparse=False.")
    known("bincount", x)
    x = jnp.asarray(x)
    length = max(minlength, int(jnp.max(x)) + 1 if x.size else 0)
    count = lambda x, w: jnp.bincount(x, w, length=length)  # noqa: E731
    if x.ndim == 1:
        return count(x, weights)
    return jax.vmap(count)(x, None if weights is None else jnp.asarray(weights))


__all__ = operations(globals())  # noqa: PLE0605
