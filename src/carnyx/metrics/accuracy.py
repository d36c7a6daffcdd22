"""Accuracies: the share of predictions that are right. Functions first, then their classes.

Each function gives 1.0 or 0.0 per prediction; the classes average them. Which of them "accuracy"
means for given shapes is `resolve_accuracy` in `__init__.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.losses.base import same_rank
from carnyx.metrics.reduction import MeanMetricWrapper, PlainMean


def _ones(right: Any) -> Any:
    return right.astype(dtypes.floatx())


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where y_true = y_pred, any shape.

    >>> accuracy([1, 2, 3], [1, 2, 4]).tolist()
    [1.0, 1.0, 0.0]
    """
    y_true, y_pred = same_rank(jnp.asarray(y_true), jnp.asarray(y_pred))
    return _ones(y_true == y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where (y_pred > threshold) = y_true, any shape.

    >>> binary_accuracy([1, 0, 1], [0.9, 0.8, 0.7]).tolist()
    [1.0, 0.0, 1.0]
    """
    y_true, y_pred = same_rank(jnp.asarray(y_true), jnp.asarray(y_pred))
    return _ones(y_true == (y_pred > threshold).astype(y_true.dtype))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where argmax(y_true) = argmax(y_pred), [B, ..., C] -> [B, ...].

    >>> categorical_accuracy([[0, 1], [1, 0]], [[0.1, 0.9], [0.2, 0.8]]).tolist()
    [1.0, 0.0]
    """
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    return _ones(jnp.argmax(y_true, axis=-1) == jnp.argmax(y_pred, axis=-1))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where y_true = argmax(y_pred), labels [B, ...] (or [B, ..., 1]) -> [B, ...].

    >>> sparse_categorical_accuracy([1, 1], [[0.1, 0.9], [0.8, 0.2]]).tolist()
    [1.0, 0.0]
    """
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    matches = _ones(y_true == jnp.argmax(y_pred, axis=-1))
    return matches[..., 0] if matches.ndim > 1 and matches.shape[-1] == 1 else matches


def _in_top_k(labels: Any, scores: Any, k: int) -> Any:
    """Whether fewer than k classes have a higher score than the label's, [B, ...] bool."""
    chosen = labels[..., None] == jnp.arange(scores.shape[-1])
    own = jnp.max(jnp.where(chosen, scores, -jnp.inf), axis=-1, keepdims=True)
    own = jnp.where(jnp.isnan(own), -jnp.inf, own)  # a nan score is in no top k
    return jnp.sum(scores > own, axis=-1) < k


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where argmax(y_true) is among the k highest of y_pred, [B, ..., C] -> [B, ...].

    >>> top_k_categorical_accuracy([[0, 0, 1]], [[0.1, 0.5, 0.4]], k=2).tolist()
    [1.0]
    """
    labels = jnp.argmax(jnp.asarray(y_true), axis=-1)
    return _ones(_in_top_k(labels, jnp.asarray(y_pred), k))


def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """1 where the label y_true is among the k highest of y_pred, [B, ...], [B, ..., C] -> [B, ...].

    With `from_sorted_ids`, y_pred holds class ids, the likeliest first.

    >>> sparse_top_k_categorical_accuracy([2], [[0.1, 0.5, 0.4]], k=2).tolist()
    [1.0]
    """
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    shape = y_true.shape
    labels = y_true.reshape(y_pred.shape[:-1])
    if from_sorted_ids:
        right = jnp.any(labels[..., None] == y_pred[..., :k], axis=-1)
    else:
        right = _in_top_k(labels, y_pred, k)
    return _ones(right).reshape(shape)


class Accuracy(PlainMean, function=accuracy):
    """The share of predictions that equal the targets."""


class BinaryAccuracy(PlainMean, function=binary_accuracy):
    """The share of predictions on the right side of a threshold in [0, 1].

    >>> float(BinaryAccuracy()([1, 1, 0, 0], [0.98, 1.0, 0.0, 0.6]))
    0.75
    """

    threshold: float = 0.5


class CategoricalAccuracy(PlainMean, function=categorical_accuracy):
    """The share of rows with the right class on top, one-hot targets."""


class SparseCategoricalAccuracy(PlainMean, function=sparse_categorical_accuracy):
    """The share of rows with the right class on top, integer labels."""


class TopKCategoricalAccuracy(MeanMetricWrapper, function=top_k_categorical_accuracy):
    """The share of rows with the right class among the k highest, one-hot targets."""

    k: int = 5


class SparseTopKCategoricalAccuracy(MeanMetricWrapper, function=sparse_top_k_categorical_accuracy):
    """The share of rows with the right class among the k highest, integer labels."""

    k: int = 5
    name: str | None = "sparse_top_k_categorical_accuracy"
    dtype: Any = None
    from_sorted_ids: bool = False


__all__ = """
    Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy
    SparseTopKCategoricalAccuracy TopKCategoricalAccuracy binary_accuracy categorical_accuracy
    sparse_categorical_accuracy sparse_top_k_categorical_accuracy top_k_categorical_accuracy
""".split()
