"""The few names of Keras's legacy backend module that programs still call."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from carnyx.core.config import clear_session, unique_name
from carnyx.core.dtypes import INTEGERS, standardize_dtype
from carnyx.core.dtypes import is_float as is_float_dtype
from carnyx.core.symbol import is_symbol


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a symbol of a model's graph, such as `Input` gives.

    >>> from carnyx import Input
    >>> is_keras_tensor(Input((2,))), is_keras_tensor(jnp.ones(2))
    (True, False)
    """
    return is_symbol(x)


def is_int_dtype(dtype: Any) -> bool:
    """Whether `dtype` is an integer type; bool is none.

    >>> is_int_dtype("uint8"), is_int_dtype("bool")
    (True, False)
    """
    return standardize_dtype(dtype) in INTEGERS


def result_type(*dtypes: Any) -> str:
    """The type of an operation's result on tensors of these types.

    The Python types int, float and bool stand for numbers, which take the tensors' type where it
    can hold them; None is `floatx`. 64 bits become 32 unless JAX has them enabled.

    >>> (
    ...     result_type("int32", "float16"),
    ...     result_type("float16", "bfloat16"),
    ...     result_type("int8", int),
    ... )
    ('float16', 'float32', 'int8')
    """
    weak = {int: 0, float: 0.0, bool: False}
    found = [weak[d] if d in weak else standardize_dtype(d) for d in dtypes or (None,)]
    with jax.enable_x64(True):  # else int8 with uint64, which is a float, is int8 with uint32
        wide = jnp.result_type(*found)
    return standardize_dtype(jax.dtypes.canonicalize_dtype(wide))


def get_uid(prefix: str = "") -> int:
    """1, 2, ...: how often this prefix has been asked for since the last `clear_session`.

    >>> get_uid("layer"), get_uid("layer")
    (1, 2)
    """
    key = f"get_uid({prefix})"
    return int(unique_name(key).removeprefix(key)[1:] or 0) + 1


__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]
