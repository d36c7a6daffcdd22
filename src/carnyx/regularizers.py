"""Regularizers: penalties on weights or activities, added to the loss."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from carnyx.core.config import Configurable, resolve
from carnyx.core.config import deserialize as deserialize
from carnyx.core.config import serialize_object as serialize


class Regularizer(Configurable):
    """Base: subclasses define `__call__(x) -> scalar`."""

    def __call__(self, x: Any) -> Any:
        return 0.0


def _factor(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"Regularizer: {name} is a number. Received: {name}={value!r}")
    if value < 0 or not math.isfinite(value):
        raise ValueError(
            f"Regularizer: {name} is a finite number from 0. Received: {name}={value!r}"
        )
    return float(value)


class L1L2(Regularizer):
    """l1 sum(abs(x)) + l2 sum(x^2).

    >>> float(L1L2(0.5, 0.25)(jnp.array([1.0, -2.0])))
    2.75
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        x = jnp.asarray(getattr(x, "value", x))
        penalty = jnp.zeros((), x.dtype)
        if self.l1:
            penalty = penalty + self.l1 * jnp.sum(jnp.abs(x))
        if self.l2:
            penalty = penalty + self.l2 * jnp.sum(jnp.square(x))
        return penalty


class L1(Regularizer):
    """l1 sum(abs(x))."""

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor("l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Any) -> Any:
        return L1L2(l1=self.l1)(x)


class L2(Regularizer):
    """l2 sum(x^2)."""

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        return L1L2(l2=self.l2)(x)


class OrthogonalRegularizer(Regularizer):
    """factor times the mean absolute cosine between different rows (or columns) of a matrix."""

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: mode is 'rows' or 'columns'. Got: {mode!r}")
        self.factor, self.mode = _factor("factor", factor), mode

    def __call__(self, x: Any) -> Any:
        x = jnp.asarray(getattr(x, "value", x))
        if x.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer needs a matrix. Received shape {x.shape}")
        rows = x if self.mode == "rows" else x.T
        norm = jnp.sqrt(jnp.maximum(jnp.sum(rows**2, axis=1, keepdims=True), 1e-12))
        cosines = (rows / norm) @ (rows / norm).T
        n = rows.shape[0]
        pairs = n * (n - 1) / 2
        return self.factor * 0.5 * jnp.sum(jnp.abs(cosines * (1 - jnp.eye(n)))) / pairs


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """An L1L2."""
    return L1L2(l1, l2)


l1, l2, orthogonal_regularizer = L1, L2, OrthogonalRegularizer
TABLE: dict[str, Any] = {c.__name__: c for c in (L1, L2, L1L2, OrthogonalRegularizer)}
TABLE |= {"l1": L1, "l2": L2, "orthogonal_regularizer": OrthogonalRegularizer}
TABLE |= {"l1_l2": l1_l2}


def get(identifier: Any) -> Any:
    """The regularizer for a name, a config, an object or a callable.

    >>> get("l2").l2
    0.01
    """
    return l1_l2() if identifier == "l1_l2" else resolve(identifier, TABLE, "regularizer")


__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]
