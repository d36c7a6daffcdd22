"""Optimizers by name. The algorithms are in `rules.py`, what they share in `base.py`."""

from __future__ import annotations

from typing import Any

from carnyx.core.config import deserialize as deserialize
from carnyx.core.config import resolve
from carnyx.core.config import serialize_object as serialize
from carnyx.optimizers import schedules
from carnyx.optimizers.base import Optimizer
from carnyx.optimizers.loss_scale import LossScaleOptimizer
from carnyx.optimizers.rules import RULES, SGD, Adam, AdamW, RMSprop

TABLE: dict[str, Any] = {rule.__name__: rule for rule in (*RULES, LossScaleOptimizer)}
TABLE |= {name.lower(): rule for name, rule in TABLE.items()}


def get(identifier: Any) -> Any:
    """The optimizer for a name, a config or an object.

    >>> get("adam").name
    'adam'
    """
    optimizer = resolve(identifier, TABLE, "optimizer", Optimizer)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"Cannot interpret {identifier!r} as an optimizer: pass a name or object.")
    return optimizer


__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "LossScaleOptimizer",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]
