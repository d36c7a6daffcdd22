"""Regularizers: penalties on weights or activities, added to the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from carnyx.core import config as _config
from carnyx.core.config import Configurable, snake_case
from carnyx.core.errors import missing_attribute


class Regularizer(Configurable):
    """Base of all regularizers: a subclass defines `__call__(x) -> scalar`.

    >>> class Mean(Regularizer):
    ...     def __call__(self, x):
    ...         return jnp.mean(x)
    >>> float(Mean()(jnp.array([1.0, 3.0])))
    2.0
    """

    def __call__(self, x: Any) -> Any:
        return 0.0


def _factor(name: str, value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is a finite number from 0. Received: {name}={value!r}")
    return float(value)


class L1L2(Regularizer):
    """l1 sum(|x|) + l2 sum(x^2).

    >>> float(L1L2(0.5, 0.25)(jnp.array([1.0, -2.0])))
    2.75
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        x = jnp.asarray(x)
        penalty = jnp.zeros((), x.dtype)
        if self.l1:
            penalty = penalty + self.l1 * jnp.sum(jnp.abs(x))
        if self.l2:
            penalty = penalty + self.l2 * jnp.sum(jnp.square(x))
        return penalty


class L1(Regularizer):
    """l1 sum(|x|).

    >>> float(L1(0.5)(jnp.array([1.0, -2.0])))
    1.5
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = _factor("l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Any) -> Any:
        return self.l1 * jnp.sum(jnp.abs(jnp.asarray(x)))


class L2(Regularizer):
    """l2 sum(x^2).

    >>> float(L2(0.5)(jnp.array([1.0, -2.0])))
    2.5
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = _factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        return self.l2 * jnp.sum(jnp.square(jnp.asarray(x)))


class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean |cosine| between different rows (or columns) of a matrix.

    Args:
        factor: from 0.
        mode: "rows" or "columns", which are to be orthogonal.

    >>> float(OrthogonalRegularizer(0.5)(jnp.array([[1.0, 0.0], [1.0, 0.0]])))
    0.5
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ValueError(
                f"OrthogonalRegularizer: mode is 'rows' or 'columns'. Received: {mode!r}"
            )
        self.factor, self.mode = _factor("factor", factor), mode

    def __call__(self, x: Any) -> Any:
        x = jnp.asarray(x)
        if x.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer needs a matrix. Received shape: {x.shape}")
        rows = x if self.mode == "rows" else x.T
        # a row of zeros has no direction: it counts as orthogonal to all, with a finite gradient
        rows = rows / jnp.sqrt(jnp.maximum(jnp.sum(rows**2, axis=1, keepdims=True), 1e-12))
        count = rows.shape[0]
        others = 1 - jnp.eye(count, dtype=x.dtype)
        total = 0.5 * jnp.sum(jnp.abs(rows @ rows.T * others))
        return self.factor * total / (count * (count - 1) / 2)


_CLASSES = (L1, L1L2, L2, OrthogonalRegularizer)
# Every name by which a program or a file may ask for a regularizer, attributes of this module too.
TABLE: dict[str, Any] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake_case(cls.__name__): cls for cls in _CLASSES},
    "l1_l2": L1L2,
}
globals().update(TABLE)

__all__ = ["Regularizer", *TABLE, "deserialize", "get", "serialize"]  # noqa: PLE0604  # the table
__getattr__ = missing_attribute(__name__, __all__)


def get(identifier: Any) -> Any:
    """The regularizer for a name, a config, a class, a callable or None.

    >>> get("l2").l2, get(None)
    (0.01, None)
    """
    return _config.resolve(identifier, TABLE, "regularizer", Regularizer)


def serialize(regularizer: Any) -> Any:
    """Plain data for a regularizer."""
    return _config.serialize(regularizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The regularizer that `serialize` described.

    >>> deserialize(serialize(L1(0.5))).l1
    0.5
    """
    with _config.CustomObjectScope(custom_objects or {}):
        return get(config)
