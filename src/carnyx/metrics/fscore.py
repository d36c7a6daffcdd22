"""F-scores: harmonic means of precision and recall, per class or averaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.metrics.base import Metric

AVERAGES = (None, "micro", "macro", "weighted")
COUNTS = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


@dataclass(eq=False, repr=False)
class FBetaScore(Metric):
    """(1 + b^2) P R / (b^2 P + R) for precision P and recall R of one-hot targets.

    Shapes: y_true and y_pred [B, C] -> [C] without average, else a scalar.

    Args:
        average: None gives a score per class; "micro" counts over all classes together; "macro"
            is the plain mean over classes; "weighted" weighs classes by their share of targets.
        beta: a float above 0: how much more recall counts than precision.
        threshold: a float in (0, 1]: scores above it are positive; None: the highest of each row.

    Raises ValueError for arguments outside these ranges, and for inputs that are not [B, C].

    >>> score = FBetaScore(average="micro", beta=2.0, threshold=0.5)
    >>> round(float(score([[1, 0], [0, 1]], [[0.9, 0.8], [0.1, 0.6]])), 4)
    0.9091
    """

    average: str | None = None
    beta: float = 1.0
    threshold: float | None = None
    name: str | None = "fbeta_score"
    dtype: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, threshold = type(self).__name__, self.threshold
        if self.average not in AVERAGES:
            raise ValueError(
                f"{kind}: average must be one of {AVERAGES}. Received: {self.average!r}"
            )
        if not isinstance(self.beta, float) or self.beta <= 0:
            raise ValueError(f"{kind}: beta must be a float above 0. Received: {self.beta!r}")
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise ValueError(
                f"{kind}: threshold must be None or a float in (0, 1]. Received: {threshold!r}"
            )
        self.built = False

    def build(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        """Makes the counts: [C], or scalars for "micro"."""
        if self.built:
            return
        if len(y_true_shape) != 2 or len(y_pred_shape) != 2:
            raise ValueError(
                f"Metric '{self.name}' wants y_true and y_pred of shape [B, C]. Received: y_true "
                f"{tuple(y_true_shape)}, y_pred {tuple(y_pred_shape)}. One-hot integer labels with "
                "keras.utils.to_categorical."
            )
        shape = () if self.average == "micro" else (y_pred_shape[-1],)
        for name in COUNTS:
            setattr(self, name, self.add_variable(shape, name=name))
        self.built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = jnp.asarray(y_true, "float32"), jnp.asarray(y_pred, "float32")
        self.build(y_true.shape, y_pred.shape)
        if self.threshold is None:
            # A row of zeros has no highest score.
            highest = jnp.max(y_pred, axis=-1, keepdims=True)
            chosen = (y_pred >= highest) & (jnp.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        y_pred = chosen.astype("float32")
        values = (y_pred * y_true, y_pred * (1 - y_true), (1 - y_pred) * y_true, y_true)
        weights = 1.0
        if sample_weight is not None:
            weights = jnp.asarray(sample_weight, "float32").reshape(-1, 1)
        axis = None if self.average == "micro" else 0
        for name, value in zip(COUNTS, values, strict=True):
            getattr(self, name).assign_add(jnp.sum(value * weights, axis=axis))

    def result(self) -> Any:
        epsilon = dtypes.epsilon()
        found, false, missed, support = (getattr(self, name).value for name in COUNTS)
        precision = found / (found + false + epsilon)
        recall = found / (found + missed + epsilon)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + epsilon)
        if self.average == "weighted":
            score = jnp.sum(score * support / (jnp.sum(support) + epsilon))
        elif self.average is not None:
            score = jnp.mean(score)
        return score.astype(self.dtype)


@dataclass(eq=False, repr=False)
class F1Score(FBetaScore):
    """2 P R / (P + R) for precision P and recall R of one-hot targets, see `FBetaScore`.

    >>> F1Score()([[1, 0], [0, 1]], [[0.9, 0.8], [0.1, 0.6]]).round(3).tolist()
    [1.0, 1.0]
    """

    beta: float = field(default=1.0, init=False)
    name: str | None = "f1_score"


__all__ = "F1Score FBetaScore".split()
