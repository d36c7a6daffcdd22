"""Constraints: projections of weights, applied after every update."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core.config import Configurable, resolve, snake_case
from carnyx.core.config import deserialize as deserialize
from carnyx.core.config import serialize_object as serialize
from carnyx.core.dtypes import epsilon


class Constraint(Configurable):
    """Base: subclasses define `__call__(w) -> w`."""

    def __call__(self, w: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w).")


def _norm(w: Any, axis: Any) -> Any:
    return jnp.sqrt(jnp.sum(jnp.square(w), axis=axis, keepdims=True))


class MaxNorm(Constraint):
    """Vectors along `axis` longer than `max_value` are shortened to it (Srivastava et al. 2014)."""

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Any:
        norm = _norm(w, self.axis)
        return w * (jnp.clip(norm, 0, self.max_value) / (epsilon() + norm))


class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, w: Any) -> Any:
        return jnp.maximum(w, 0)


class UnitNorm(Constraint):
    """Vectors along `axis` get length 1."""

    def __init__(self, axis: Any = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        return w / (epsilon() + _norm(w, self.axis))


class MinMaxNorm(Constraint):
    """Lengths along `axis` are moved towards [min_value, max_value] at `rate` in [0, 1]."""

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0
    ) -> None:
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Any) -> Any:
        norm = _norm(w, self.axis)
        wanted = jnp.clip(norm, self.min_value, self.max_value)
        return w * ((self.rate * wanted + (1 - self.rate) * norm) / (epsilon() + norm))


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm
TABLE: dict[str, Any] = {c.__name__: c for c in (MaxNorm, NonNeg, UnitNorm, MinMaxNorm)}
TABLE |= {snake_case(name): c for name, c in TABLE.items()}


def get(identifier: Any) -> Any:
    """The constraint for a name, a config, an object or a callable.

    >>> get("non_neg")(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return resolve(identifier, TABLE, "constraint", Constraint)


__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]
