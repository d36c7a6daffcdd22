"""Layers by name. One file per family; what several families share is in `arguments.py`.

Each file says in its `__all__` what is public. The base class is `carnyx.core.layer.Layer`.
"""

from __future__ import annotations

from types import ModuleType as _Module
from typing import Any

from carnyx.core.config import deserialize
from carnyx.core.config import serialize as _serialize
from carnyx.core.errors import missing_attribute as _missing_attribute
from carnyx.core.graph import Input, InputLayer
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers.activation import *
from carnyx.layers.attention import *
from carnyx.layers.audio import *
from carnyx.layers.cells import *
from carnyx.layers.conv import *
from carnyx.layers.conv_rnn import *
from carnyx.layers.conv_variants import *
from carnyx.layers.dense import *
from carnyx.layers.dropout import *
from carnyx.layers.embedding import *
from carnyx.layers.foreign import *
from carnyx.layers.hashing import *
from carnyx.layers.image import *
from carnyx.layers.image_color import *
from carnyx.layers.image_geometry import *
from carnyx.layers.image_mix import *
from carnyx.layers.lookup import *
from carnyx.layers.merge import *
from carnyx.layers.norm import *
from carnyx.layers.pooling import *
from carnyx.layers.reshape import *
from carnyx.layers.rnn import *
from carnyx.layers.tabular import *
from carnyx.layers.text import *
from carnyx.layers.wrappers import *

# Importing a family above makes it an attribute here.
_FAMILIES = [m for m in vars().values() if isinstance(m, _Module) and hasattr(m, "__all__")]


def serialize(layer: Layer) -> Any:
    """Plain data for a layer, from which `deserialize` makes a twin.

    >>> serialize(Dense(3, name="d"))["config"]["units"]
    3
    """
    return _serialize(layer)


__all__ = [  # noqa: PLE0604  # each family names its own
    "Input",
    "InputLayer",
    "InputSpec",
    "Layer",
    "deserialize",
    "serialize",
    *(n for family in _FAMILIES for n in family.__all__),
]

__getattr__ = _missing_attribute(__name__, __all__)
