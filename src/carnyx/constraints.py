"""Constraints: projections of weights, applied after every update.

`axis` is the axis (or axes) along which a vector of weights lies: 0 for a Dense kernel, whose
columns belong to units; (0, 1, 2) for the kernel of a 2-D convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from carnyx.core import config as _config
from carnyx.core.config import Configurable, snake_case
from carnyx.core.dtypes import epsilon
from carnyx.core.errors import missing_attribute


class Constraint(Configurable):
    """Base of all constraints: a subclass defines `__call__(w) -> w`.

    >>> Constraint()(3.0)
    3.0
    """

    def __call__(self, w: Any) -> Any:
        return w


def _norm(w: Any, axis: Any) -> Any:
    axis = tuple(axis) if isinstance(axis, list) else axis
    return jnp.sqrt(jnp.sum(jnp.square(w), axis=axis, keepdims=True))


class MaxNorm(Constraint):
    """Vectors longer than `max_value` are shortened to it (Srivastava et al. 2014).

    >>> [round(float(v), 4) for v in MaxNorm(1.0)([[3.0], [4.0]])[:, 0]]
    [0.6, 0.8]
    """

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Any:
        w = jnp.asarray(w)
        norm = _norm(w, self.axis)
        return w * (jnp.clip(norm, 0, self.max_value) / (epsilon() + norm))


class NonNeg(Constraint):
    """Negative weights become 0.

    >>> NonNeg()([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    def __call__(self, w: Any) -> Any:
        return jnp.maximum(jnp.asarray(w), 0)


class UnitNorm(Constraint):
    """Vectors get length 1.

    >>> [round(float(v), 4) for v in UnitNorm()([[3.0], [4.0]])[:, 0]]
    [0.6, 0.8]
    """

    def __init__(self, axis: Any = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        w = jnp.asarray(w)
        return w / (epsilon() + _norm(w, self.axis))


class MinMaxNorm(Constraint):
    """Lengths are moved towards [min_value, max_value]: all the way at `rate` 1, not at all at 0.

    >>> MinMaxNorm(2.0, 3.0, rate=0.5)([[1.0]]).round(4).tolist()
    [[1.5]]
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0
    ) -> None:
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Any) -> Any:
        w = jnp.asarray(w)
        norm = _norm(w, self.axis)
        wanted = jnp.clip(norm, self.min_value, self.max_value)
        return w * ((self.rate * wanted + (1 - self.rate) * norm) / (epsilon() + norm))


_CLASSES = (MaxNorm, MinMaxNorm, NonNeg, UnitNorm)
# Every name by which a program or a file may ask for a constraint, attributes of this module too.
TABLE: dict[str, Any] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake_case(cls.__name__): cls for cls in _CLASSES},
}
globals().update(TABLE)

__all__ = ["Constraint", *TABLE, "deserialize", "get", "serialize"]  # noqa: PLE0604  # the table
__getattr__ = missing_attribute(__name__, __all__)


def get(identifier: Any) -> Any:
    """The constraint for a name, a config, a class, a callable or None.

    >>> type(get("non_neg")).__name__, get(None)
    ('NonNeg', None)
    """
    return _config.resolve(identifier, TABLE, "constraint", Constraint)


def serialize(constraint: Any) -> Any:
    """Plain data for a constraint."""
    return _config.serialize(constraint)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The constraint that `serialize` described.

    >>> deserialize(serialize(UnitNorm(1))).axis
    1
    """
    with _config.CustomObjectScope(custom_objects or {}):
        return get(config)
