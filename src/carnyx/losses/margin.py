"""Margin losses: unreduced formulas first, then their classes.

y is y_true and f is y_pred in the formulas; means are over the last axis. Weights and reduction
are in `base.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.losses.base import LossFunctionWrapper, pair
from carnyx.losses.targets import expects


def _margin(y_true: Any, y_pred: Any) -> Any:
    """max(1 - y f, 0); labels that are all 0 or 1 count as -1 and 1."""
    y_true, y_pred = pair(y_true, y_pred)
    binary = jnp.all((y_true == 0) | (y_true == 1))
    y_true = jnp.where(binary, 2.0 * y_true - 1.0, y_true)
    return jnp.maximum(1.0 - y_true * y_pred, 0.0)


@expects("same")
def hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y f, 0)) for y in {-1, 1} (or {0, 1}), [B, ..., D] -> [B, ...].

    >>> hinge([[-1.0, 1.0]], [[0.5, 0.5]]).tolist()
    [1.0]
    """
    return jnp.mean(_margin(y_true, y_pred), axis=-1)


@expects("same")
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y f, 0)^2) for y in {-1, 1} (or {0, 1}), [B, ..., D] -> [B, ...].

    >>> squared_hinge([[-1.0, 1.0]], [[0.5, 0.5]]).tolist()
    [1.25]
    """
    return jnp.mean(jnp.square(_margin(y_true, y_pred)), axis=-1)


@expects("one_hot")
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(1 + max((1 - y) f) - sum(y f), 0) for one-hot y, [B, ..., C] -> [B, ...].

    Paper: Weston and Watkins 1999, with Crammer and Singer's maximum.

    >>> categorical_hinge([[0.0, 1.0]], [[0.75, 0.5]]).tolist()
    [1.25]
    """
    y_true, y_pred = pair(y_true, y_pred)
    right = jnp.sum(y_true * y_pred, axis=-1)
    wrong = jnp.max((1.0 - y_true) * y_pred, axis=-1)
    return jnp.maximum(wrong - right + 1.0, 0.0)


class Hinge(LossFunctionWrapper, function=hinge):
    """The hinge loss."""


class SquaredHinge(LossFunctionWrapper, function=squared_hinge):
    """The squared hinge loss."""


class CategoricalHinge(LossFunctionWrapper, function=categorical_hinge):
    """The hinge loss of one-hot classes."""


__all__ = "CategoricalHinge Hinge SquaredHinge categorical_hinge hinge squared_hinge".split()
