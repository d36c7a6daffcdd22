"""How well predictions follow targets: R2, and the correlations of Pearson and of Lin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.losses.base import pair
from carnyx.metrics.base import Metric, spread_weights
from carnyx.metrics.reduction import PlainMean

AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")
SUMS = ("squared_sum", "sum", "residual", "count")


@dataclass(eq=False, repr=False)
class R2Score(Metric):
    """1 - sum((y - f)^2) / sum((y - mean(y))^2) for each output, over all samples so far.

    Shapes: y_true, y_pred [B, D] -> a number, or [D] without aggregation.

    Args:
        class_aggregation: "uniform_average" over outputs, "variance_weighted_average" or None.
        num_regressors: p > 0 gives the adjusted 1 - (1 - R2) (n - 1) / (n - p - 1).

    Raises ValueError for arguments outside these, and for inputs that are not [B, D].

    >>> round(float(R2Score()([[1.0], [2.0], [3.0]], [[1.0], [2.0], [4.0]])), 4)
    0.5
    """

    class_aggregation: str | None = "uniform_average"
    num_regressors: int = 0
    name: str | None = "r2_score"
    dtype: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_aggregation not in AGGREGATIONS:
            raise ValueError(
                f"R2Score: class_aggregation is one of {AGGREGATIONS}. "
                f"Received: {self.class_aggregation!r}"
            )
        if self.num_regressors < 0:
            raise ValueError(
                "R2Score: num_regressors is a whole number from 0. "
                f"Received: {self.num_regressors!r}"
            )
        self.num_samples = self.add_variable((), name="num_samples")
        self.built = False

    def build(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        """Makes the sums [D]."""
        if self.built:
            return
        if len(y_true_shape) != 2 or len(y_pred_shape) != 2:
            raise ValueError(
                f"Metric '{self.name}' wants y_true and y_pred of shape [B, D]. Received: y_true "
                f"{tuple(y_true_shape)}, y_pred {tuple(y_pred_shape)}."
            )
        self.sums = {n: self.add_variable((y_pred_shape[-1],), name=n) for n in SUMS}
        self.built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = jnp.asarray(y_true, "float32"), jnp.asarray(y_pred, "float32")
        self.build(y_true.shape, y_pred.shape)
        weights = spread_weights(sample_weight, y_true.shape)
        new = (y_true**2, y_true, (y_true - y_pred) ** 2, jnp.ones_like(y_true))
        for name, value in zip(SUMS, new, strict=True):
            self.sums[name].assign_add(jnp.sum(value * weights, axis=0))
        self.num_samples.assign_add(float(y_true.size))

    def result(self) -> Any:
        squares, total, residual, count = (self.sums[name].value for name in SUMS)
        variance = squares - total**2 / count
        scores = 1 - residual / variance
        scores = jnp.where(jnp.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = jnp.mean(scores)
        elif self.class_aggregation is not None:
            scores = jnp.sum(variance * scores) / jnp.sum(variance)
        if self.num_regressors:
            n, p = self.num_samples.value, self.num_regressors
            adjusted = 1 - (1 - scores) * (n - 1) / jnp.maximum(n - p - 1, 1)
            scores = jnp.where(n - p - 1 > 0, adjusted, scores)  # else there is no adjustment
        return scores.astype(self.dtype)


def _centred(y_true: Any, y_pred: Any, axis: Any) -> tuple[Any, ...]:
    """Means and deviations from them, of both."""
    y_true, y_pred = pair(y_true, y_pred)
    means = [jnp.mean(y, axis, keepdims=True) for y in (y_true, y_pred)]
    return *means, y_true - means[0], y_pred - means[1]


def pearson_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Any:
    """cov(y, f) / (std(y) std(f)) along `axis`, in [-1, 1].

    >>> round(float(pearson_correlation([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])), 4)
    1.0
    """
    _, _, y, f = _centred(y_true, y_pred, axis)
    return jnp.mean(y * f, axis) / (jnp.std(y, axis) * jnp.std(f, axis))


def concordance_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Any:
    """2 cov(y, f) / (var(y) + var(f) + (mean(y) - mean(f))^2) along `axis`, in [-1, 1].

    Paper: Lin 1989.

    >>> round(float(concordance_correlation([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])), 4)
    1.0
    """
    mean_y, mean_f, y, f = _centred(y_true, y_pred, axis)
    apart = jnp.square(mean_y - mean_f).mean(axis)
    norm = jnp.var(y, axis) + jnp.var(f, axis) + apart + dtypes.epsilon()
    return 2 * jnp.mean(y * f, axis) / norm


class PearsonCorrelation(PlainMean, function=pearson_correlation):
    """The mean of `pearson_correlation` over samples."""

    axis: Any = -1


class ConcordanceCorrelation(PlainMean, function=concordance_correlation):
    """The mean of `concordance_correlation` over samples."""

    axis: Any = -1


__all__ = """
    ConcordanceCorrelation PearsonCorrelation R2Score concordance_correlation pearson_correlation
""".split()
