"""Losses of overlap between masks: Dice and Tversky. In the formulas y is y_true, f is y_pred."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.losses.base import LossFunctionWrapper, pair


def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """1 - 2 sum(y f) / (sum(y) + sum(f)), the sums over `axis` (None: everything).

    Paper: Milletari et al. 2016.

    >>> round(float(dice([[1.0, 0.0]], [[0.5, 0.5]])), 4)
    0.5
    """
    y_true, y_pred = pair(y_true, y_pred)
    both = jnp.sum(y_true * y_pred, axis)
    sizes = jnp.sum(y_true, axis) + jnp.sum(y_pred, axis)
    return 1 - 2 * both / (sizes + dtypes.epsilon())


def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None
) -> Any:
    """1 - sum(y f) / (sum(y f) + alpha sum((1 - f) y) + beta sum(f (1 - y))).

    `alpha` weighs what was missed and `beta` what was found wrongly. Paper: Salehi et al. 2017.

    >>> round(float(tversky([[1.0, 0.0]], [[0.5, 0.5]], alpha=1.0, beta=0.0)), 4)
    0.5
    """
    y_true, y_pred = pair(y_true, y_pred)
    both = jnp.sum(y_true * y_pred, axis)
    missed = jnp.sum((1 - y_pred) * y_true, axis)
    wrong = jnp.sum(y_pred * (1 - y_true), axis)
    return 1 - both / (both + alpha * missed + beta * wrong + dtypes.epsilon())


class Dice(LossFunctionWrapper, function=dice):
    """The Dice loss.

    >>> round(float(Dice(axis=-1)([[1.0, 0.0]], [[0.5, 0.5]])), 4)
    0.5
    """

    reduction: str | None = "sum_over_batch_size"
    name: str | None = "dice"
    axis: Any = None
    dtype: Any = None


class Tversky(LossFunctionWrapper, function=tversky):
    """The Tversky loss."""

    alpha: float = 0.5
    beta: float = 0.5
    reduction: str | None = "sum_over_batch_size"
    name: str | None = "tversky"
    axis: Any = None
    dtype: Any = None


__all__ = "Dice Tversky dice tversky".split()
