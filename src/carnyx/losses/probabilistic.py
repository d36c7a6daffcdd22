"""Losses of probabilities: unreduced formulas first, then their classes.

y is y_true and p is y_pred in the formulas. With `from_logits` y_pred holds logits x, and
p = softmax(x) or sigmoid(x); otherwise probabilities, which are kept in [epsilon, 1 - epsilon].
Their arithmetic is in `ops/crossentropy.py`; weights, masks and reduction are in `base.py`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.core.state import set_mask
from carnyx.losses.base import LossFunctionWrapper, pair
from carnyx.losses.targets import expects
from carnyx.ops import crossentropy


def _check_axis(name: str, axis: Any) -> None:
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(f"{name}: axis must be an int. Received: axis={axis!r}")


def _smooth(y_true: Any, label_smoothing: float, classes: int) -> Any:
    """Labels mixed with the uniform distribution (Szegedy et al. 2016, section 7)."""
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + label_smoothing / classes


@expects("same")
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(y log(y / p)), [B, ..., C] -> [B, ...]; y and p are kept in [epsilon, 1].

    Paper: Kullback and Leibler 1951.

    >>> [round(x, 4) for x in kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]).tolist()]
    [0.1438]
    """
    y_true, y_pred = (jnp.clip(x, dtypes.epsilon(), 1.0) for x in pair(y_true, y_pred))
    return jnp.sum(y_true * jnp.log(y_true / y_pred), axis=-1)


@expects("same")
def poisson(y_true: Any, y_pred: Any) -> Any:
    """mean(f - y log(f + epsilon)), f a rate above 0, [B, ..., D] -> [B, ...].

    >>> poisson([[0.0, 0.0]], [[1.0, 2.0]]).tolist()
    [1.5]
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(y_pred - y_true * jnp.log(y_pred + dtypes.epsilon()), axis=-1)


@expects("binary")
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """mean(-y log(p) - (1 - y) log(1 - p)) over `axis`, [B, ..., D] -> [B, ...].

    Args:
        y_true: in [0, 1]; `label_smoothing` in [0, 1] moves them towards 1/2.
        y_pred: probabilities, or logits with `from_logits`.

    >>> [round(x, 4) for x in binary_crossentropy([[1.0]], [[0.5]]).tolist()]
    [0.6931]
    """
    y_true, y_pred = pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    return jnp.mean(crossentropy.binary_crossentropy(y_true, y_pred, from_logits), axis=axis)


@expects("binary")
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """mean((1 - q)^gamma b) over `axis`: b the binary cross-entropy, q = y p + (1 - y)(1 - p).

    Shapes: [B, ..., D] -> [B, ...].

    Args:
        apply_class_balancing: weighs class 1 by `alpha` and class 0 by 1 - `alpha`.
        alpha: in [0, 1].
        gamma: how far easy examples count less, at least 0.

    Paper: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 4.

    >>> [round(x, 4) for x in binary_focal_crossentropy([[1.0]], [[0.5]]).tolist()]
    [0.1733]
    """
    y_true, y_pred = pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    if from_logits:
        y_pred = jax.nn.sigmoid(y_pred)
    values = crossentropy.binary_crossentropy(y_true, y_pred)
    right = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    values = (1.0 - right) ** gamma * values
    if apply_class_balancing:
        values = values * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return jnp.mean(values, axis=axis)


@expects("one_hot")
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-sum(y log(p)) over `axis`, [B, ..., C] -> [B, ...]; p is divided by its sum first.

    Args:
        y_true: one-hot rows or probabilities; `label_smoothing` in [0, 1] moves them towards 1/C.
        y_pred: probabilities, or logits with `from_logits`.
        axis: the axis of the classes.

    Raises ValueError for shapes that differ.

    >>> categorical_crossentropy([[0.0, 1.0]], [[3.0, 3.0]], from_logits=True).round(4).tolist()
    [0.6930999755859375]
    """
    _check_axis("categorical_crossentropy", axis)
    y_true, y_pred = pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    return crossentropy.categorical_crossentropy(y_true, y_pred, from_logits, axis)


@expects("one_hot")
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-sum(alpha (1 - p)^gamma y log(p)) over `axis`, [B, ..., C] -> [B, ...].

    Args:
        alpha: a weight, or one per class.
        gamma: how far easy examples count less, at least 0.

    Paper: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 5.

    >>> v = categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    >>> [round(x, 4) for x in v.tolist()]
    [0.0433]
    """
    _check_axis("categorical_focal_crossentropy", axis)
    y_true, y_pred = pair(y_true, y_pred)
    crossentropy.same_shape("categorical_focal_crossentropy", y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    if from_logits:
        y_pred = jax.nn.softmax(y_pred, axis=axis)
    p = crossentropy.normalised(y_pred, axis)
    weight = (1.0 - p) ** gamma * jnp.asarray(alpha, p.dtype)
    return -jnp.sum(weight * y_true * jnp.log(p), axis=axis)


@expects("labels")
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """-log(p[y]), labels [B, ...] and predictions [B, ..., C] -> [B, ...].

    Args:
        y_true: integers in [0, C), with or without an axis of size 1 for the classes.
        y_pred: probabilities, or logits with `from_logits`.
        ignore_class: a label whose places count nothing (and are masked).
        axis: the axis of the classes.

    Raises ValueError for shapes that do not match.

    >>> [round(x, 4) for x in sparse_categorical_crossentropy([1], [[0.5, 0.5]]).tolist()]
    [0.6931]
    """
    _check_axis("sparse_categorical_crossentropy", axis)
    _, y_pred = crossentropy.as_floats(0, y_pred)
    labels = crossentropy.class_labels(y_true, y_pred, axis)
    valid = None if ignore_class is None else labels != ignore_class
    if valid is not None:
        labels = jnp.where(valid, labels, 0)
        # An ignored place may hold anything: 0 * nan would reach the sum.
        y_pred = jnp.where(jnp.expand_dims(valid, axis), y_pred, 1.0)
    values = crossentropy.sparse_categorical_crossentropy(labels, y_pred, from_logits, axis)
    if valid is not None:
        values = jnp.where(valid, values, 0.0)
        set_mask(values, valid)
    return values


class KLDivergence(LossFunctionWrapper, function=kl_divergence):
    """The Kullback-Leibler divergence."""


class Poisson(LossFunctionWrapper, function=poisson):
    """The negative log-likelihood of counts without its constant."""


class BinaryCrossentropy(LossFunctionWrapper, function=binary_crossentropy):
    """The cross-entropy of yes-or-no targets.

    >>> round(float(BinaryCrossentropy(from_logits=True)([[1.0]], [[0.0]])), 4)
    0.6931
    """

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


class BinaryFocalCrossentropy(LossFunctionWrapper, function=binary_focal_crossentropy):
    """The focal loss of yes-or-no targets."""

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


class CategoricalCrossentropy(LossFunctionWrapper, function=categorical_crossentropy):
    """The cross-entropy of one-hot targets."""

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


class CategoricalFocalCrossentropy(LossFunctionWrapper, function=categorical_focal_crossentropy):
    """The focal loss of one-hot targets."""

    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


class SparseCategoricalCrossentropy(LossFunctionWrapper, function=sparse_categorical_crossentropy):
    """The cross-entropy of integer labels."""

    from_logits: bool = False
    ignore_class: int | None = None
    reduction: str | None = "sum_over_batch_size"
    axis: int = -1
    name: str | None = "sparse_categorical_crossentropy"
    dtype: Any = None


@expects("labels")
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """(1 - p^q) / q, where p is the probability of the labelled class: [B], [B, C] -> [B].

    q in (0, 1): towards 0 it is the cross-entropy, at 1 the mean absolute error, which bears wrong
    labels better. Paper: Zhang and Sabuncu 2018.

    >>> categorical_generalized_cross_entropy([1], [[0.75, 0.25]], q=0.5).tolist()
    [1.0]
    """
    y_pred = jnp.asarray(y_pred)
    labels = jnp.asarray(y_true).astype("int32")
    if labels.ndim == y_pred.ndim:
        labels = labels[..., 0]
    right = jnp.take_along_axis(y_pred, labels[..., None], axis=-1)[..., 0]
    return (1 - right**q) / q


class CategoricalGeneralizedCrossEntropy(
    LossFunctionWrapper, function=categorical_generalized_cross_entropy
):
    """The generalised cross-entropy."""

    q: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.q < 1:
            kind = type(self).__name__
            raise ValueError(f"{kind}: q lies between 0 and 1. Received: q={self.q!r}")
        super().__post_init__()


__all__ = """
    BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy
    CategoricalGeneralizedCrossEntropy KLDivergence Poisson SparseCategoricalCrossentropy
    binary_crossentropy binary_focal_crossentropy categorical_crossentropy
    categorical_focal_crossentropy categorical_generalized_cross_entropy kl_divergence poisson
    sparse_categorical_crossentropy
""".split()
