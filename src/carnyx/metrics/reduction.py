"""Sum, Mean and means of functions: the statistics that most metrics are made of.

The functions whose means are taken are in `accuracy.py`, `regression.py` and `carnyx.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax.numpy as jnp

from carnyx.core.state import get_mask
from carnyx.losses.base import FunctionConfig, align_weights, divide_no_nan, merge_mask, same_rank
from carnyx.metrics.base import Metric


def per_sample(values: Any, sample_weight: Any, reduce: Callable[..., Any]) -> tuple[Any, Any]:
    """Values weighed and reduced to one per sample, [B, ...] -> [B], and the samples' weights.

    Values are reduced over the axes that the weights do not have, then weighed, then reduced over
    all but the first axis; so are the weights.
    """
    mask = get_mask(values)
    values = jnp.asarray(values, "float32")
    if sample_weight is not None:
        weights = merge_mask(jnp.asarray(sample_weight, "float32"), mask, "float32", mean=False)
        values, weights = same_rank(values, weights)
        if values.ndim > weights.ndim:
            values = reduce(values, axis=tuple(range(weights.ndim, values.ndim)))
        weights = align_weights(weights, values.shape) if values.ndim else weights
        values, sample_weight = values * weights, jnp.broadcast_to(weights, values.shape)
        if weights.ndim > 1:
            sample_weight = reduce(sample_weight, axis=tuple(range(1, sample_weight.ndim)))
    if values.ndim > 1:
        values = reduce(values, axis=tuple(range(1, values.ndim)))
    return values, sample_weight


class Sum(Metric):
    """The weighted sum of values, sum(w v).

    >>> float(Sum()([1.0, 3.0], sample_weight=[1.0, 2.0]))
    7.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values, _ = per_sample(values, sample_weight, jnp.sum)
        self.total.assign_add(jnp.sum(values))

    def result(self) -> Any:
        return self.total.value.astype(self.dtype)


class Mean(Metric):
    """The weighted mean of values over all samples so far, sum(w v) / sum(w); 0 before any.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0])
    >>> mean.update_state([8.0])
    >>> float(mean.result())
    4.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), name="total")
        self.count = self.add_variable((), name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values, sample_weight = per_sample(values, sample_weight, jnp.mean)
        count = values.size if sample_weight is None else jnp.sum(sample_weight)
        self.total.assign_add(jnp.sum(values))
        self.count.assign_add(count)

    def result(self) -> Any:
        return divide_no_nan(self.total.value, self.count.value).astype(self.dtype)


class MeanMetricWrapper(FunctionConfig, Mean):
    """The weighted mean of `fn(y_true, y_pred, **kwargs)` over all samples so far.

    >>> metric = MeanMetricWrapper(lambda t, p: abs(t - p), name="distance")
    >>> float(metric(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])))
    1.0
    """

    _home = "metrics"
    _: KW_ONLY
    name: Any = None
    dtype: Any = None

    def __init__(self, fn: Any, name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self._wrap(fn, kwargs)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        mask = get_mask(y_pred)
        if getattr(y_pred, "dtype", None) in (jnp.bfloat16, jnp.float16):
            y_pred = y_pred.astype("float32")
        values = self.fn(y_true, y_pred, **self._fn_kwargs)
        weights = merge_mask(sample_weight, mask, "float32", mean=False)
        super().update_state(values, weights)


@dataclass(eq=False, repr=False)
class PlainMean(MeanMetricWrapper):
    """The mean of a function that a subclass names; fields of the subclass are its arguments.

    >>> class Distance(PlainMean, function=lambda t, p: abs(t - p), name="distance"): ...
    >>> metric = Distance()
    >>> metric.name, float(metric(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])))
    ('distance', 1.0)
    """

    name: str | None = None
    dtype: Any = None


__all__ = "Mean MeanMetricWrapper Sum".split()
