"""Optimizers by name. The algorithms are in `rules.py`, what they share in `base.py`."""
# ruff: noqa: F403, F405  # `rules.py` says in its `__all__` what is public

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carnyx.core import config as _config
from carnyx.optimizers import schedules
from carnyx.optimizers.base import Optimizer
from carnyx.optimizers.loss_scale import LossScaleOptimizer
from carnyx.optimizers.multi import MultiOptimizer, OptimizerMap
from carnyx.optimizers.rules import *
from carnyx.optimizers.rules import RULES

CLASSES = {cls.__name__: cls for cls in (*RULES, LossScaleOptimizer, MultiOptimizer)}
# Every name by which a program or a file may ask for an optimizer.
TABLE: dict[str, Any] = CLASSES | {name.lower(): cls for name, cls in CLASSES.items()}

__all__ = [  # noqa: PLE0604  # from the table
    *CLASSES,
    "Optimizer",
    "OptimizerMap",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]


def get(identifier: Any) -> Any:
    """The optimizer for a name (whatever its case), a config or an object.

    >>> type(get("adam")).__name__, type(get("RMSprop")).__name__
    ('Adam', 'RMSprop')
    """
    if isinstance(identifier, str) and identifier not in TABLE and identifier.lower() in TABLE:
        identifier = identifier.lower()
    optimizer = _config.resolve(identifier, TABLE, "optimizer", Optimizer)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"Cannot interpret {identifier!r} as an optimizer: pass a name, a config or an "
            "Optimizer of Carnyx."
        )
    return optimizer


def serialize(optimizer: Any) -> Any:
    """Plain data for an optimizer."""
    return _config.serialize(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The optimizer that `serialize` described.

    >>> deserialize(serialize(SGD(0.5))).get_config()["learning_rate"]
    0.5
    """
    with _config.CustomObjectScope(custom_objects or {}):
        return get(config)
