"""Metrics that average a loss function, and the root of the mean squared error.

The functions and their formulas are in `carnyx.losses`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    categorical_hinge,
    hinge,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from carnyx.losses.base import divide_no_nan, pair
from carnyx.losses.regression import cosine
from carnyx.metrics.reduction import Mean, PlainMean


class MeanSquaredError(PlainMean, function=mean_squared_error):
    """The mean squared error over all samples so far."""


class RootMeanSquaredError(Mean):
    """The root of the mean squared error over all values so far, sqrt(mean((y - f)^2)).

    >>> round(float(RootMeanSquaredError()([[0.0], [0.0]], [[1.0], [3.0]])), 4)
    2.2361
    """

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch: values [B, ...], weights [B] or of the values' shape."""
        y_true, y_pred = pair(y_true, y_pred)
        super().update_state(jnp.square(y_pred - y_true), sample_weight)

    def result(self) -> Any:
        mean = divide_no_nan(self.total.value, self.count.value)
        return jnp.sqrt(mean).astype(self.dtype)


class MeanAbsoluteError(PlainMean, function=mean_absolute_error):
    """The mean absolute error over all samples so far."""


class MeanAbsolutePercentageError(PlainMean, function=mean_absolute_percentage_error):
    """The mean relative error in percent over all samples so far."""


class MeanSquaredLogarithmicError(PlainMean, function=mean_squared_logarithmic_error):
    """The mean squared difference of logarithms over all samples so far."""


class CosineSimilarity(PlainMean, function=cosine, name="cosine_similarity"):
    """The mean cosine of the angle between targets and predictions: 1 for equal directions.

    >>> float(CosineSimilarity()([[0.0, 2.0]], [[0.0, 3.0]]))
    1.0
    """

    axis: int = -1


class LogCoshError(PlainMean, function=log_cosh, name="logcosh"):
    """The mean logarithm of the hyperbolic cosine of the error."""


class Hinge(PlainMean, function=hinge):
    """The mean hinge loss over all samples so far."""


class SquaredHinge(PlainMean, function=squared_hinge):
    """The mean squared hinge loss over all samples so far."""


class CategoricalHinge(PlainMean, function=categorical_hinge):
    """The mean categorical hinge loss over all samples so far."""


class KLDivergence(PlainMean, function=kl_divergence):
    """The mean Kullback-Leibler divergence over all samples so far."""


class Poisson(PlainMean, function=poisson):
    """The mean Poisson loss over all samples so far."""


class BinaryCrossentropy(PlainMean, function=binary_crossentropy):
    """The mean binary cross-entropy over all samples so far."""

    from_logits: bool = False
    label_smoothing: float = 0.0


class CategoricalCrossentropy(PlainMean, function=categorical_crossentropy):
    """The mean cross-entropy of one-hot targets over all samples so far."""

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


class SparseCategoricalCrossentropy(PlainMean, function=sparse_categorical_crossentropy):
    """The mean cross-entropy of integer labels over all samples so far."""

    from_logits: bool = False
    ignore_class: int | None = None
    axis: int = -1


__all__ = """
    BinaryCrossentropy CategoricalCrossentropy CategoricalHinge CosineSimilarity Hinge KLDivergence
    LogCoshError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError
    MeanSquaredLogarithmicError Poisson RootMeanSquaredError SparseCategoricalCrossentropy
    SquaredHinge
""".split()
