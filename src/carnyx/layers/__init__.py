"""Layers by name. One file per family; what several families share is in `arguments.py`.

Each file says in its `__all__` what is public. The base class is `carnyx.core.layer.Layer`.
"""

from __future__ import annotations

from carnyx.core.errors import missing_attribute as _missing_attribute
from carnyx.core.graph import Input, InputLayer
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import (
    activation,
    cells,
    conv,
    dense,
    dropout,
    embedding,
    merge,
    norm,
    pooling,
    reshape,
    rnn,
    wrappers,
)
from carnyx.layers.activation import *
from carnyx.layers.cells import *
from carnyx.layers.conv import *
from carnyx.layers.dense import *
from carnyx.layers.dropout import *
from carnyx.layers.embedding import *
from carnyx.layers.merge import *
from carnyx.layers.norm import *
from carnyx.layers.pooling import *
from carnyx.layers.reshape import *
from carnyx.layers.rnn import *
from carnyx.layers.wrappers import *

_FAMILIES = (
    activation,
    cells,
    conv,
    dense,
    dropout,
    embedding,
    merge,
    norm,
    pooling,
    reshape,
    rnn,
    wrappers,
)

__all__ = [  # noqa: PLE0604  # each family names its own
    "Input",
    "InputLayer",
    "InputSpec",
    "Layer",
    *(n for family in _FAMILIES for n in family.__all__),
]

__getattr__ = _missing_attribute(__name__, __all__)
