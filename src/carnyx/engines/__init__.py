"""Engines: each compiles a Program. This table and the engine's own file alone name one."""

from __future__ import annotations

import importlib
from typing import Any

from carnyx.core.errors import nearest
from carnyx.engines.base import Engine, Limitation

# Name -> (module, class).
ENGINES = {
    "xla": ("carnyx.engines.xla", "XLAEngine"),
    "numpy": ("carnyx.engines.numpy", "NumpyEngine"),
}

_chosen = {"name": "xla"}
_made: dict[str, Engine] = {}


def engine_name() -> str:
    """The engine that models compile for when `compile` names none."""
    return _chosen["name"]


def set_engine(name: str) -> None:
    """Sets `engine_name`."""
    get_engine(name)
    _chosen["name"] = name


def get_engine(name: str | None = None) -> Any:
    """The engine of that name, made once; None means the chosen one."""
    name = engine_name() if name is None else name
    if name not in ENGINES:
        raise ValueError(
            f"Unknown engine {name!r}.{nearest(str(name), ENGINES)} Engines: {list(ENGINES)}."
        )
    if name not in _made:
        module, cls = ENGINES[name]
        _made[name] = getattr(importlib.import_module(module), cls)()
    return _made[name]


__all__ = ["ENGINES", "Engine", "Limitation", "engine_name", "get_engine", "set_engine"]
