"""Carnyx: the Keras API, written once; one Program that any engine compiles.

Only names stand here. Each is imported when it is first used, so `import carnyx` is instant and
loads no JAX.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> the module that has it.
_NAMES = {
    "DTypePolicy": "core.dtypes",
    "FloatDTypePolicy": "dtype_policies",
    "Function": "core.graph",
    "Functional": "models",
    "Initializer": "initializers",
    "Input": "core.graph",
    "InputSpec": "core.layer",
    "KerasTensor": "core.symbol",
    "Layer": "core.layer",
    "Loss": "losses",
    "Metric": "metrics",
    "Model": "models",
    "Operation": "core.symbol",
    "Optimizer": "optimizers",
    "Regularizer": "regularizers",
    "RematScope": "core.transforms",
    "Sequential": "models",
    "StatelessScope": "core.state",
    "SymbolicScope": "core.state",
    "Variable": "core.variable",
    "name_scope": "core.state",
    "device": "core.settings",
    "grad": "core.transforms",
    "jit": "core.transforms",
    "remat": "core.transforms",
    "value_and_grad": "core.transforms",
    "vmap": "core.transforms",
}
_MODULES = (
    "activations backend callbacks config constraints datasets dtype_policies initializers layers "
    "losses metrics mixed_precision models ops optimizers preprocessing random regularizers saving "
    "tree utils wrappers"
).split()

__all__ = ["__version__", "version", *_NAMES, *_MODULES]  # noqa: PLE0604  # made from the tables above


def version() -> str:
    """The version of Carnyx."""
    return __version__


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f"carnyx.{_NAMES[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"carnyx.{name}")
    else:
        from carnyx.core.errors import nearest

        raise AttributeError(f"module 'carnyx' has no attribute {name!r}.{nearest(name, __all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
