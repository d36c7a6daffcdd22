"""Layers by name. One file per family; what several families share is in `arguments.py`.

Each file says in its `__all__` what is public. The base class is `carnyx.core.layer.Layer`.
"""

from __future__ import annotations

from typing import Any

from carnyx.core.config import deserialize
from carnyx.core.config import serialize as _serialize
from carnyx.core.errors import missing_attribute as _missing_attribute
from carnyx.core.graph import Input, InputLayer
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import (
    activation,
    attention,
    cells,
    conv,
    conv_variants,
    dense,
    dropout,
    embedding,
    foreign,
    merge,
    norm,
    pooling,
    reshape,
    rnn,
    tabular,
    wrappers,
)
from carnyx.layers.activation import *
from carnyx.layers.attention import *
from carnyx.layers.cells import *
from carnyx.layers.conv import *
from carnyx.layers.conv_variants import *
from carnyx.layers.dense import *
from carnyx.layers.dropout import *
from carnyx.layers.embedding import *
from carnyx.layers.foreign import *
from carnyx.layers.merge import *
from carnyx.layers.norm import *
from carnyx.layers.pooling import *
from carnyx.layers.reshape import *
from carnyx.layers.rnn import *
from carnyx.layers.tabular import *
from carnyx.layers.wrappers import *

_FAMILIES = (
    activation,
    attention,
    cells,
    conv,
    conv_variants,
    dense,
    dropout,
    embedding,
    foreign,
    merge,
    norm,
    pooling,
    reshape,
    rnn,
    tabular,
    wrappers,
)


def serialize(layer: Layer) -> Any:
    """Plain data for a layer, from which `deserialize` makes a twin.

    >>> serialize(Dense(3, name="d"))["config"]["units"]  # noqa: F405
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
