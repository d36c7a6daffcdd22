"""Engines: each compiles Programs. This table and the engine's own file alone name one."""

from __future__ import annotations

import importlib

from carnyx.core.errors import nearest
from carnyx.engines.base import Engine, Limitation, UnsupportedError

# Name -> (module, class). A module is imported when its engine is first asked for.
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


def get_engine(name: str | None = None) -> Engine:
    """The engine of that name, made once; None means the chosen one.

    >>> get_engine("xla").name
    'xla'
    """
    name = engine_name() if name is None else name
    if name not in ENGINES:
        raise ValueError(
            f"Unknown engine {name!r}.{nearest(str(name), ENGINES)} Expected one of "
            f"{', '.join(ENGINES)}."
        )
    if name not in _made:
        module, cls = ENGINES[name]
        _made[name] = getattr(importlib.import_module(module), cls)()
    return _made[name]


__all__ = [
    "ENGINES",
    "Engine",
    "Limitation",
    "UnsupportedError",
    "engine_name",
    "get_engine",
    "set_engine",
]
