"""Operations beyond NumPy: segments, largest elements, distances, special functions.

Norms and factors of matrices are in `linalg.py`, cross-entropies in `crossentropy.py`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.ops.table import op, operations, publish


def _segment(function: Any) -> Any:
    def run(data: Any, ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
        return function(jnp.asarray(data), jnp.asarray(ids), num_segments, sorted)

    return run


TABLES = {
    "x": {
        "erf": (jax.scipy.special.erf, "2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."),
        "erfc": (jax.scipy.special.erfc, "1 - erf(x), exact for large x."),
        "erfinv": (jax.scipy.special.erfinv, "Inverse of erf."),
        "rsqrt": (lambda x: lax.rsqrt(jnp.asarray(x)), "1 / sqrt(x)."),
    },
    "data, segment_ids, num_segments=None, sorted=False": {
        "segment_max": (_segment(jax.ops.segment_max), "The maximum of the rows of each segment."),
        "segment_min": (_segment(jax.ops.segment_min), "The minimum of the rows of each segment."),
        "segment_prod": (_segment(jax.ops.segment_prod), "The product of each segment's rows."),
        "segment_sum": (_segment(jax.ops.segment_sum), "The sum of the rows of each segment."),
    },
    "x, axis=None, keepdims=False": {
        "logsumexp": (jax.scipy.special.logsumexp, "log(sum(exp x)) over `axis`; never overflows."),
    },
}
publish(globals(), TABLES)


@op
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The k largest elements of the last axis, in descending order, and their indices.

    >>> [part.tolist() for part in top_k([1, 9, 5], 2)]
    [[9, 5], [1, 2]]
    """
    return tuple(lax.top_k(jnp.asarray(x), k))


@op
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether the predicted value of each target class is among the k largest: [B], [B, C] -> [B].

    >>> in_top_k([1, 0], [[0.1, 0.9], [0.1, 0.9]], 1).tolist()
    [True, False]
    """
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    own = jnp.take_along_axis(predictions, targets[:, None], axis=-1)
    return jnp.sum(predictions > own, axis=-1) < k


@op
def cdist(x: Any, y: Any) -> Any:
    """Euclidean distances between rows: [..., M, D], [..., N, D] -> [..., M, N].

    >>> cdist([[0.0, 0.0]], [[3.0, 4.0]]).tolist()
    [[5.0]]
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    if min(x.ndim, y.ndim) < 2 or x.shape[-1] != y.shape[-1]:
        raise ValueError(
            "ops.cdist: rows of one length, [..., M, D] and [..., N, D]. "
            f"Received: shapes {x.shape} and {y.shape}."
        )
    # |x|^2 - 2 x y + |y|^2 would be cheaper and lose all digits for near points.
    square = jnp.sum(jnp.square(x[..., :, None, :] - y[..., None, :, :]), -1)
    # The root's slope at 0 is infinite; a point's distance to itself has the gradient 0.
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


__all__ = operations(globals())  # noqa: PLE0605
