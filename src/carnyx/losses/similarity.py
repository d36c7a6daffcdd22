"""Losses of embeddings that should lie near or far from each other: Circle."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.state import set_mask
from carnyx.losses.base import LossFunctionWrapper


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """log(1 + sum exp(gamma a_n (m' - d_n)) sum exp(-gamma a_p (m - d_p))), [B], [B, D] -> [B].

    d are cosine distances 1 - f f' of unit vectors f, to those of the same label (p) and of other
    labels (n); m = margin, m' = 1 - margin, a_p = max(m + d_p, 0), a_n = max(1 + m - d_n, 0).
    `ref_labels` [R] and `ref_embeddings` [R, D] are compared with, by default the batch itself,
    without each row's own (`remove_diagonal`). Rows without a partner count for nothing.

    Paper: Sun et al. 2020, "Circle loss".

    >>> circle([0, 0, 1], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).round(3).tolist()
    [0.0, 0.0, 0.0]
    """
    labels, f = jnp.asarray(y_true).astype("int32").reshape(-1), jnp.asarray(y_pred)
    others = labels if ref_labels is None else jnp.asarray(ref_labels).astype("int32").reshape(-1)
    distance = jnp.maximum(
        1 - f @ jnp.asarray(f if ref_embeddings is None else ref_embeddings).T, 0
    )
    same = labels[:, None] == others
    different = ~same
    if remove_diagonal:
        same = same & ~jnp.eye(*same.shape, dtype=bool)
    pull = -gamma * jnp.maximum(margin + distance, 0) * (margin - distance)
    push = gamma * jnp.maximum(1 + margin - distance, 0) * (1 - margin - distance)
    paired = same.any(1) & different.any(1)

    def soft_maximum(values: Any, kept: Any) -> Any:
        # a row of nothing but -inf would have the gradient NaN
        kept = kept | ~paired[:, None]
        return jax.nn.logsumexp(jnp.where(kept, values, -jnp.inf), axis=1)

    both = soft_maximum(pull, same) + soft_maximum(push, different)
    values = jnp.where(paired, jax.nn.softplus(both), 0)
    set_mask(values, values > 0)
    return values


class Circle(LossFunctionWrapper, function=circle):
    """The circle loss of integer labels and unit embeddings."""

    gamma: float = 80.0
    margin: float = 0.4
    remove_diagonal: bool = True

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(y_true, y_pred, **self._fn_kwargs)


__all__ = "Circle circle".split()
