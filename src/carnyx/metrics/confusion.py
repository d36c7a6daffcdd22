"""Metrics of true and false positives and negatives, at one threshold or at many.

`counts` is the one place that compares predictions with thresholds; the classes keep its sums and
divide them. F-scores are in `fscore.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes
from carnyx.losses.base import divide_no_nan, same_rank
from carnyx.metrics.base import Metric, spread_weights

LOWEST = -1e10  # the score of what is not among the top k: below any threshold
COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


def even(thresholds: Sequence[float] | np.ndarray) -> bool:
    """Whether thresholds are 0, 1/(n-1), ..., 1 (up to epsilon), at least three."""
    steps = np.linspace(0.0, 1.0, len(thresholds))
    return len(thresholds) >= 3 and np.allclose(thresholds, steps, atol=dtypes.epsilon())


def parse_thresholds(thresholds: Any, default: float) -> list[float]:
    """A list of thresholds from a number, a list or None; each in [0, 1]."""
    if thresholds is None:
        return [default]
    listed = list(thresholds) if isinstance(thresholds, (list, tuple)) else [thresholds]
    bad = [t for t in listed if t is None or not 0 <= t <= 1]
    if bad or not listed:
        raise ValueError(f"thresholds must be numbers in [0, 1]. Received: {thresholds!r}")
    return listed


def _only_top_k(scores: Any, k: int) -> Any:
    """Scores [..., C] with `LOWEST` outside the k highest."""
    _, index = jax.lax.top_k(scores, k)
    chosen = jnp.any(index[..., None] == jnp.arange(scores.shape[-1]), axis=-2)
    return jnp.where(chosen, scores, LOWEST)


def _above(scores: Any, labels: Any, thresholds: np.ndarray) -> Any:
    """sum(labels where scores > t) for each t: scores [N, L], labels [K, N, L] -> [K, T, L]."""
    if len(thresholds) == 1:
        return jnp.sum(jnp.where(scores > float(thresholds[0]), labels, 0.0), axis=1)[:, None]
    over = (scores > thresholds.astype("float32")[:, None, None]).astype("float32")
    return jnp.einsum("tnl,knl->ktl", over, labels, precision="highest")  # counts are exact


def _above_even(scores: Any, labels: Any, thresholds: np.ndarray) -> Any:
    """`_above` for evenly spaced thresholds: a histogram, then sums from the right, O(N + T)."""
    count = len(thresholds)
    # How many thresholds lie below each score.
    below = jnp.ceil(jnp.clip(scores, 0.0, 1.0) * (count - 1)).astype("int32")
    if thresholds[0] < 0:
        below = jnp.maximum(below, 1)
    label = jnp.broadcast_to(jnp.arange(scores.shape[1]), scores.shape)
    empty = jnp.zeros((labels.shape[0], count, scores.shape[1]), "float32")
    histogram = empty.at[:, below, label].add(labels)
    sums = jnp.cumsum(histogram[:, ::-1], axis=1)[:, ::-1]
    return jnp.concatenate([sums[:, 1:], jnp.zeros_like(sums[:, :1])], axis=1)


def counts(
    y_true: Any,
    y_pred: Any,
    thresholds: np.ndarray,
    sample_weight: Any = None,
    top_k: int | None = None,
    class_id: int | None = None,
    multi_label: bool = False,
    label_weights: Any = None,
) -> dict[str, Any]:
    """The weights of true and false positives and negatives at each threshold.

    Args:
        y_true: booleans, [B, ...]; y_pred: scores of the same shape; above t means positive.
        thresholds: [T].
        sample_weight: [B] or of y_pred's shape.
        top_k: only the k highest of the last axis can be positive.
        class_id: only this index of the last axis counts.
        multi_label: keeps the last axis L of [B, L] apart: results [T, L] rather than [T].
        label_weights: [L], weights of the last axis.
    """
    y_pred, y_true = same_rank(jnp.asarray(y_pred, "float32"), jnp.asarray(y_true))
    y_true = y_true.astype("bool")
    if top_k is not None:
        y_pred = _only_top_k(y_pred, top_k)
    if class_id is not None:
        if y_pred.ndim < 2:
            raise ValueError(f"class_id wants y_pred of shape [B, C]. Received: {y_pred.shape}")
        y_true, y_pred = y_true[..., class_id, None], y_pred[..., class_id, None]
    weights = spread_weights(sample_weight, y_pred.shape)
    if label_weights is not None:
        weights = weights * jnp.asarray(label_weights, "float32")
    labels = jnp.where(jnp.stack([y_true, ~y_true]), weights, 0.0)

    last = y_pred.shape[-1] if multi_label else 1
    scores, labels = y_pred.reshape(-1, last), labels.reshape(2, -1, last)
    above = (_above_even if even(thresholds) else _above)(scores, labels, thresholds)
    if not multi_label:
        above, labels = above[..., 0], labels[..., 0]
    true_positives, false_positives = above
    positives, negatives = jnp.sum(labels, axis=1)
    found = (
        true_positives,
        false_positives,
        negatives - false_positives,
        positives - true_positives,
    )
    return dict(zip(COUNTS, found, strict=True))


class CountMetric(Metric):
    """Keeps some of `COUNTS` at thresholds."""

    kept: tuple[str, ...] = COUNTS
    thresholds: Any

    def _add_counts(self, shape: tuple[int, ...]) -> None:
        for name in self.kept:
            setattr(self, name, self.add_variable(shape, name=name))

    def _accumulate(self, y_true: Any, y_pred: Any, **options: Any) -> None:
        new = counts(y_true, y_pred, np.asarray(self.thresholds), **options)
        for name in self.kept:
            getattr(self, name).assign_add(new[name])

    def _count(self, name: str) -> Any:
        return getattr(self, name).value

    def _share(self, part: str, rest: str) -> Any:
        """part / (part + rest), 0 where both are 0."""
        return divide_no_nan(self._count(part), self._count(part) + self._count(rest))

    def _first(self, value: Any) -> Any:
        """One number for one threshold, [T] for a list of several."""
        return (value[0] if len(self.thresholds) == 1 else value).astype(self.dtype)

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name == "thresholds":  # as given: the attribute has the defaults and end points too
            return recorded
        return super()._config_value(name, recorded, owner)


class _ConditionCount(CountMetric):
    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.thresholds = parse_thresholds(thresholds, 0.5)
        self.accumulator = self.add_variable((len(self.thresholds),), name="accumulator")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        new = counts(y_true, y_pred, np.asarray(self.thresholds), sample_weight)
        self.accumulator.assign_add(new[self.kept[0]])

    def result(self) -> Any:
        return self._first(self.accumulator.value)


class TruePositives(_ConditionCount):
    """The weight of positives that were predicted: y_true true, y_pred > threshold.

    Args:
        thresholds: in [0, 1], a number (None: 0.5) or a list, which gives a result for each.

    >>> float(TruePositives()([0, 1, 1, 1], [1, 0, 1, 1]))
    2.0
    """

    kept = ("true_positives",)


class FalsePositives(_ConditionCount):
    """The weight of negatives that were predicted positive. Arguments as in `TruePositives`.

    >>> float(FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1]))
    2.0
    """

    kept = ("false_positives",)


class TrueNegatives(_ConditionCount):
    """The weight of negatives that were predicted negative. Arguments as in `TruePositives`.

    >>> float(TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0]))
    2.0
    """

    kept = ("true_negatives",)


class FalseNegatives(_ConditionCount):
    """The weight of positives that were predicted negative. Arguments as in `TruePositives`.

    >>> float(FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0]))
    2.0
    """

    kept = ("false_negatives",)


@dataclass(eq=False, repr=False)
class _Share(CountMetric):
    """kept[0] / (kept[0] + kept[1]) at thresholds."""

    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None
    name: str | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        default = 0.5 if self.top_k is None else LOWEST
        self.thresholds = parse_thresholds(self.thresholds, default)
        self._add_counts((len(self.thresholds),))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._accumulate(
            y_true,
            y_pred,
            sample_weight=sample_weight,
            top_k=self.top_k,
            class_id=self.class_id,
        )

    def result(self) -> Any:
        return self._first(self._share(*self.kept))


class Precision(_Share):
    """The share of true ones among those predicted positive, TP / (TP + FP); 0 if there are none.

    Args:
        thresholds: in [0, 1], a number (None: 0.5) or a list, which gives a result for each.
        top_k: only the k highest scores of a row can be positive.
        class_id: only this column counts.

    >>> round(float(Precision()([0, 1, 1, 1], [1, 0, 1, 1])), 4)
    0.6667
    """

    kept = ("true_positives", "false_positives")


class Recall(_Share):
    """The share of positives that were found, TP / (TP + FN). Arguments as in `Precision`.

    >>> round(float(Recall()([0, 1, 1, 1], [1, 0, 1, 1])), 4)
    0.6667
    """

    kept = ("true_positives", "false_negatives")


@dataclass(eq=False, repr=False)
class AUC(CountMetric):
    """The area under the ROC or the precision-recall curve, from counts at thresholds.

    Args:
        num_thresholds: how many points of the curve, at least 2, evenly spaced in [0, 1].
        curve: "ROC", "PR" or "PRGAIN" (Flach and Kull 2015).
        summation_method: "interpolation" (trapezoids; for PR the interpolation of Davis and
            Goadrich 2006), "minoring" or "majoring" (the lower or higher end of each step).
        thresholds: points of one's own in [0, 1] instead; 0 and 1 are added.
        multi_label: one curve per column of [B, L], averaged with `label_weights` [L].
        num_labels: L, with `multi_label`.
        from_logits: y_pred holds logits.

    Raises ValueError for an unknown curve or method.

    >>> round(float(AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])), 4)
    0.75
    """

    CURVES = ("ROC", "PR", "PRGAIN")
    METHODS = ("interpolation", "minoring", "majoring")

    num_thresholds: int = 200
    curve: str = "ROC"
    summation_method: str = "interpolation"
    name: str | None = None
    dtype: Any = None
    thresholds: Sequence[float] | None = None
    multi_label: bool = False
    num_labels: int | None = None
    label_weights: Sequence[float] | None = None
    from_logits: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.curve = _one_of("curve", str(self.curve).upper(), self.CURVES)
        method = str(self.summation_method).lower()
        self.summation_method = _one_of("summation_method", method, self.METHODS)
        count = self.num_thresholds
        if self.thresholds is not None:
            inner = np.sort(parse_thresholds(list(self.thresholds), 0.5))
        elif count < 2:
            raise ValueError(f"AUC: num_thresholds must be at least 2. Received: {count}")
        else:
            inner = np.arange(1, count - 1) / (count - 1)
        edge = dtypes.epsilon()
        self.thresholds = [-edge, *inner.tolist(), 1.0 + edge]
        self.num_thresholds = len(self.thresholds)
        if self.num_labels and not self.multi_label:
            raise ValueError("AUC: num_labels is for multi_label=True only.")
        self.label_weights = None if self.label_weights is None else list(self.label_weights)
        self.built = False
        if self.num_labels or not self.multi_label:
            self.build((), (0, self.num_labels or 1))

    def build(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        """Makes the counts: [T], or [T, L] with `multi_label`."""
        if self.built:
            return
        if self.multi_label and len(y_pred_shape) != 2:
            raise ValueError(
                f"AUC(multi_label=True) wants y_pred of shape [B, L]. Received: {y_pred_shape}"
            )
        labels = (y_pred_shape[-1],) if self.multi_label else ()
        self._add_counts((self.num_thresholds, *labels))
        self.built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = jnp.asarray(y_pred)
        self.build(np.shape(y_true), y_pred.shape)
        self._accumulate(
            y_true,
            jax.nn.sigmoid(y_pred) if self.from_logits else y_pred,
            sample_weight=sample_weight,
            multi_label=self.multi_label,
            label_weights=None if self.multi_label else self.label_weights,
        )

    def result(self) -> Any:
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = self._interpolated_pr()
        else:
            x, y = self._curve()
            heights = {
                "interpolation": (y[:-1] + y[1:]) / 2.0,
                "minoring": jnp.minimum(y[:-1], y[1:]),
                "majoring": jnp.maximum(y[:-1], y[1:]),
            }[self.summation_method]
            areas = (x[:-1] - x[1:]) * heights
        area = jnp.sum(areas, axis=0)
        if self.multi_label and self.label_weights is not None:
            weights = jnp.asarray(self.label_weights, "float32")
            area = divide_no_nan(jnp.sum(area * weights), jnp.sum(weights))
        return jnp.mean(area).astype(self.dtype)

    def _curve(self) -> tuple[Any, Any]:
        recall = self._share("true_positives", "false_negatives")
        if self.curve == "ROC":
            return self._share("false_positives", "true_negatives"), recall
        if self.curve == "PR":
            return recall, self._share("true_positives", "false_positives")
        tp, fp, tn, fn = (self._count(name) for name in COUNTS)
        odds = divide_no_nan(tp + fn, tn + fp)
        recall_gain = jnp.where(tp == 0, 0.0, 1.0 - odds * divide_no_nan(fn, tp))
        precision_gain = jnp.where(tp == 0, 1.0, 1.0 - odds * divide_no_nan(fp, tp))
        return jnp.maximum(recall_gain, 0.0), precision_gain

    def _interpolated_pr(self) -> Any:
        """The area between neighbouring points when TP is linear in TP + FP there.

        With TP = a + s P between two points (P = TP + FP), the integral of TP / P over TP is
        s (TP_1 - TP_0 + a log(P_1 / P_0)), divided by all positives.
        """
        tp, fp, fn = (self._count(COUNTS[i]) for i in (0, 1, 3))
        predicted = tp + fp
        rise, run = tp[:-1] - tp[1:], predicted[:-1] - predicted[1:]
        slope = divide_no_nan(rise, jnp.maximum(run, 0.0))
        intercept = tp[1:] - slope * predicted[1:]
        both = (predicted[:-1] > 0) & (predicted[1:] > 0)
        ratio = jnp.where(both, divide_no_nan(predicted[:-1], predicted[1:]), 1.0)
        return divide_no_nan(slope * (rise + intercept * jnp.log(ratio)), tp[1:] + fn[1:])


def _one_of(argument: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"AUC: unknown {argument} {value!r}. Expected one of {known}.")
    return value


__all__ = "AUC FalseNegatives FalsePositives Precision Recall TrueNegatives TruePositives".split()
