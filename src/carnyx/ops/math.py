"""Operations beyond NumPy: segments, largest elements, norms, special functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.ops.table import op, publish


def _one(x: Any) -> Any: ...


def _segments(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any: ...


def _segment(function: Any) -> Any:
    def run(data: Any, ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
        return function(jnp.asarray(data), jnp.asarray(ids), num_segments, sorted)

    return run


ONE = {
    "erf": (jax.scipy.special.erf, "2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."),
    "erfinv": (jax.scipy.special.erfinv, "Inverse of erf."),
    "rsqrt": (lambda x: lax.rsqrt(jnp.asarray(x)), "1 / sqrt(x)."),
}
SEGMENTS = {
    "segment_max": (_segment(jax.ops.segment_max), "The maximum of the rows of each segment."),
    "segment_sum": (_segment(jax.ops.segment_sum), "The sum of the rows of each segment."),
}
publish(globals(), _one, ONE)
publish(globals(), _segments, SEGMENTS)


@op
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp x)) over `axis`, without overflow.

    >>> float(logsumexp([1000.0, -1000.0]))
    1000.0
    """
    return jax.scipy.special.logsumexp(x, axis, keepdims=keepdims)


@op
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The length of vectors, or a norm of matrices, over `axis`.

    >>> float(norm([3.0, 4.0]))
    5.0
    """
    return jnp.linalg.norm(jnp.asarray(x), ord, axis, keepdims)


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


__all__ = sorted([*ONE, *SEGMENTS, "in_top_k", "logsumexp", "norm", "top_k"])  # noqa: PLE0605
