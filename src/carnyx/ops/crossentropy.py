"""Cross-entropies, unreduced: the arithmetic that the losses of probabilities are made of.

y is the target and p the output in the formulas. With `from_logits` the output holds logits x, and
p = softmax(x) or sigmoid(x); otherwise probabilities, kept in [epsilon, 1 - epsilon].
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import dtypes
from carnyx.ops.table import op, operations


def clipped(p: Any) -> Any:
    return jnp.clip(p, dtypes.epsilon(), 1.0 - dtypes.epsilon())


def normalised(p: Any, axis: int) -> Any:
    return clipped(p / jnp.sum(p, axis=axis, keepdims=True))


def as_floats(target: Any, output: Any) -> tuple[Any, Any]:
    """Both as float arrays of the output's type (`floatx` for integers)."""
    output = jnp.asarray(output)
    if not jnp.issubdtype(output.dtype, jnp.floating):
        output = output.astype(dtypes.floatx())
    return jnp.asarray(target).astype(output.dtype), output


def same_shape(name: str, y_true: Any, y_pred: Any) -> None:
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{name}: y_true of shape {y_true.shape} and y_pred of shape {y_pred.shape} must have "
            "the same shape. For integer labels use sparse_categorical_crossentropy."
        )


def log_probabilities(x: Any, from_logits: bool, axis: int) -> Any:
    """log p of all classes, x shifted by its maximum: exp(89) is infinite in float32."""
    if not from_logits:
        return jnp.log(normalised(x, axis))
    x = x - jax.lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    return x - jnp.log(jnp.sum(jnp.exp(x), axis=axis, keepdims=True))


@op
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-y log(p) - (1 - y) log(1 - p), elementwise.

    >>> [round(v, 4) for v in binary_crossentropy([1.0, 0.0], [0.5, 0.5]).tolist()]
    [0.6931, 0.6931]
    """
    y, x = as_floats(target, output)
    same_shape("binary_crossentropy", y, x)
    if from_logits:
        # log(1 + exp(x)) - x y; -log(1 - sigmoid(90)) would be infinite in float32.
        return jnp.logaddexp(x, 0.0) - y * x
    p = clipped(x)
    return -(y * jnp.log(p) + (1.0 - y) * jnp.log(1.0 - p))


@op
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-sum(y log(p)) over `axis`, [B, ..., C] -> [B, ...]; p is divided by its sum first.

    >>> [round(v, 4) for v in categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).tolist()]
    [0.6931]
    """
    y, x = as_floats(target, output)
    same_shape("categorical_crossentropy", y, x)
    return -jnp.sum(y * log_probabilities(x, from_logits, axis), axis=axis)


@op
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log(p[y]), labels [B, ...] and output [B, ..., C] -> [B, ...]; 0 for labels not in [0, C).

    The labels may have an axis of size 1 for the classes.

    >>> [round(v, 4) for v in sparse_categorical_crossentropy([1], [[0.5, 0.5]]).tolist()]
    [0.6931]
    """
    _, x = as_floats(0, output)
    axis = axis % x.ndim
    labels = class_labels(target, x, axis)
    if from_logits:
        return _of_logits(x, labels, axis)
    # Only the label's own logarithm is needed: C times fewer than over all the classes.
    picked = jnp.sum(jnp.where(_one_hot(labels, x, axis), x, 0.0), axis=axis) / jnp.sum(
        x, axis=axis
    )
    known = (labels >= 0) & (labels < x.shape[axis])
    return jnp.where(known, -jnp.log(clipped(picked)), 0.0)


def _one_hot(labels: Any, x: Any, axis: int) -> Any:
    places = jax.lax.broadcasted_iota(labels.dtype, x.shape, axis)
    return places == jnp.expand_dims(labels, axis)


def _exponentials(x: Any, labels: Any, axis: int) -> tuple[Any, Any, Any]:
    """-log softmax(x)[label], exp(x - max x), and 1 / its sum; both 0 for a label not in [0, C)."""
    known = (labels >= 0) & (labels < x.shape[axis])
    known, labels = (jnp.expand_dims(it, axis) for it in (known, jnp.where(known, labels, 0)))
    highest = jnp.max(x, axis=axis, keepdims=True)  # exp(89) is infinite in float32
    exponentials = jnp.exp(x - highest)
    total = jnp.sum(exponentials, axis=axis, keepdims=True)
    own = jnp.take_along_axis(x, labels, axis, mode="clip") - highest
    values = jnp.where(known, jnp.log(total) - own, 0.0)
    return jnp.squeeze(values, axis), exponentials, jnp.where(known, 1 / total, 0.0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _of_logits(x: Any, labels: Any, axis: int) -> Any:
    """-log softmax(x)[label], whose derivative is softmax(x) - one_hot(label).

    JAX's own derivative computes the exponentials again, and adds up arrays of x's size.
    """
    return _exponentials(x, labels, axis)[0]


@_of_logits.defjvp
def _of_logits_tangent(axis: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    x, labels = primals
    values, exponentials, scale = _exponentials(x, labels, axis)
    slope = exponentials * scale - _one_hot(labels, x, axis).astype(x.dtype)
    return values, jnp.sum(slope * tangents[0], axis=axis)


def class_labels(labels: Any, output: Any, axis: int) -> Any:
    """Labels as int32 in the shape of the output without its axis of classes."""
    labels = jnp.asarray(labels).astype("int32")
    if labels.ndim == output.ndim and labels.shape[axis] == 1:
        labels = jnp.squeeze(labels, axis)
    expected = tuple(n for i, n in enumerate(output.shape) if i != axis % output.ndim)
    if labels.shape != expected:
        raise ValueError(
            f"sparse_categorical_crossentropy: y_pred of shape {output.shape} wants labels of "
            f"shape {expected}. Received: y_true of shape {labels.shape}. For one-hot targets use "
            "categorical_crossentropy."
        )
    return labels


__all__ = operations(globals())  # noqa: PLE0605
