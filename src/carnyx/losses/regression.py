"""Losses of measurements and directions: unreduced formulas first, then their classes.

y is y_true and f is y_pred in the formulas; means are over the last axis. Cross-entropies are in
`probabilistic.py`, margin losses in `margin.py`, weights and reduction in `base.py`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.losses.base import LossFunctionWrapper, pair
from carnyx.losses.targets import expects


@expects("same")
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y - f)^2), [B, ..., D] -> [B, ...].

    >>> mean_squared_error([[0.0, 1.0]], [[2.0, 1.0]]).tolist()
    [2.0]
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(jnp.square(y_pred - y_true), axis=-1)


@expects("same")
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y - f|), [B, ..., D] -> [B, ...].

    >>> mean_absolute_error([[0.0, 1.0]], [[2.0, 1.0]]).tolist()
    [1.0]
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(jnp.abs(y_pred - y_true), axis=-1)


@expects("same")
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 mean(|y - f| / max(|y|, epsilon)), [B, ..., D] -> [B, ...], in percent.

    >>> mean_absolute_percentage_error([[4.0, 2.0]], [[5.0, 2.0]]).tolist()
    [12.5]
    """
    y_true, y_pred = pair(y_true, y_pred)
    size = jnp.maximum(jnp.abs(y_true), dtypes.epsilon())
    return 100.0 * jnp.mean(jnp.abs(y_true - y_pred) / size, axis=-1)


@expects("same")
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """mean((log(1 + y) - log(1 + f))^2), [B, ..., D] -> [B, ...]; y and f at least epsilon.

    >>> [round(x, 4) for x in mean_squared_logarithmic_error([[1.0]], [[0.0]]).tolist()]
    [0.4805]
    """
    y_true, y_pred = pair(y_true, y_pred)
    log_true, log_pred = (jnp.log(jnp.maximum(x, dtypes.epsilon()) + 1.0) for x in (y_true, y_pred))
    return jnp.mean(jnp.square(log_pred - log_true), axis=-1)


@expects("same")
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """mean(e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2), e = f - y.

    Shapes: [B, ..., D] -> [B, ...]. Paper: Huber 1964, "Robust Estimation of a Location Parameter".

    >>> huber([[0.0, 0.0]], [[1.0, 3.0]]).tolist()
    [1.5]
    """
    y_true, y_pred = pair(y_true, y_pred)
    error = jnp.abs(y_pred - y_true)
    inside = jnp.minimum(error, delta)
    return jnp.mean(inside * (error - 0.5 * inside), axis=-1)


@expects("same")
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """mean(log(cosh(f - y))), [B, ..., D] -> [B, ...].

    >>> [round(x, 4) for x in log_cosh([[0.0]], [[1.0]]).tolist()]
    [0.4338]
    """
    y_true, y_pred = pair(y_true, y_pred)
    error = jnp.abs(y_pred - y_true)
    # cosh(100) is infinite in float32.
    return jnp.mean(error + jnp.log1p(jnp.exp(-2.0 * error)) - math.log(2.0), axis=-1)


def cosine(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """sum(y / |y| * f / |f|) over `axis`, norms at least epsilon; the metric's sign."""

    def unit(x: Any) -> Any:
        square = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
        return x * jax.lax.rsqrt(jnp.maximum(square, dtypes.epsilon() ** 2))

    y_true, y_pred = pair(y_true, y_pred)
    return jnp.sum(unit(y_true) * unit(y_pred), axis=axis)


@expects("same")
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """-sum(y / |y| * f / |f|) over `axis`, in [-1, 1]: -1 for equal directions.

    Shapes: [B, ..., D] -> [B, ...] for the last axis.

    >>> cosine_similarity([[0.0, 2.0]], [[0.0, 3.0]]).tolist()
    [-1.0]
    """
    return -cosine(y_true, y_pred, axis)


class MeanSquaredError(LossFunctionWrapper, function=mean_squared_error):
    """The mean of squared errors."""


class MeanAbsoluteError(LossFunctionWrapper, function=mean_absolute_error):
    """The mean of absolute errors."""


class MeanAbsolutePercentageError(LossFunctionWrapper, function=mean_absolute_percentage_error):
    """The mean of relative errors in percent."""


class MeanSquaredLogarithmicError(LossFunctionWrapper, function=mean_squared_logarithmic_error):
    """The mean of squared differences of logarithms."""


class Huber(LossFunctionWrapper, function=huber, name="huber_loss"):
    """Squared for errors up to `delta` (above 0), linear beyond.

    >>> float(Huber(delta=2.0)([[0.0]], [[4.0]]))
    6.0
    """

    delta: float = 1.0


class LogCosh(LossFunctionWrapper, function=log_cosh):
    """The logarithm of the hyperbolic cosine of the error."""


class CosineSimilarity(LossFunctionWrapper, function=cosine_similarity):
    """Minus the cosine of the angle between targets and predictions."""

    axis: int = -1


__all__ = """
    CosineSimilarity Huber LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError
    MeanSquaredLogarithmicError cosine_similarity huber log_cosh mean_absolute_error
    mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error
""".split()
