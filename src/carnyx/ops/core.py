"""Operations on types, shapes and places: cast, convert, slice, scatter, stop_gradient.

Control flow that carries state (scan, cond, while_loop) belongs in `control.py`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core import dtypes
from carnyx.core.dtypes import standardize_dtype
from carnyx.core.symbol import KerasTensor, is_symbol
from carnyx.core.variable import Variable
from carnyx.ops.table import choose, op, operations, tensor


@op
def cast(x: Any, dtype: Any) -> Any:
    """x in another type.

    >>> cast([0.7, 2.0], "int32").tolist()
    [0, 2]
    """
    return jnp.asarray(x).astype(dtype)


@op
def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """x as an array, of that type if given; Python floats are of type `floatx`.

    >>> convert_to_tensor(1.5).dtype.name
    'float32'
    """
    if dtype is None and isinstance(x, float):
        dtype = dtypes.floatx()
    return jnp.asarray(x, dtype)


@op
def saturate_cast(x: Any, dtype: Any) -> Any:
    """x in another type, what is outside its range at the nearest end of it.

    >>> saturate_cast([-7, 300], "uint8").tolist()
    [0, 255]
    """
    x = jnp.asarray(x)
    y = x.astype(dtype)
    if jnp.issubdtype(y.dtype, jnp.complexfloating):
        return y
    least, most = _range(x.dtype)
    for end, outside in zip(_range(y.dtype), (jnp.less_equal, jnp.greater_equal), strict=True):
        if jnp.issubdtype(x.dtype, jnp.inexact):  # 65504 < 2^31, but infinity is beyond both
            bound = end if least <= end <= most else np.copysign(np.inf, end)
        elif least < end < most:
            bound = end
        else:
            continue
        y = jnp.where(outside(x, bound), jnp.asarray(end, y.dtype), y)
    return y


def _range(dtype: Any) -> tuple[Any, Any]:
    """The least and greatest number of a type, as Python numbers."""
    if jnp.issubdtype(dtype, jnp.bool_):
        return 0, 1
    if jnp.issubdtype(dtype, jnp.integer):
        return int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max)
    return float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max)


def convert_to_numpy(x: Any) -> np.ndarray:
    """x as a NumPy array.

    >>> convert_to_numpy([1, 2]).tolist()
    [1, 2]
    """
    return np.array(tensor(x))


def is_tensor(x: Any) -> bool:
    """Whether x is an array of the backend (NumPy arrays and Variables are none).

    >>> is_tensor(jnp.ones(2)), is_tensor(np.ones(2))
    (True, False)
    """
    return isinstance(x, (jax.Array, KerasTensor))


def shape(x: Any) -> tuple[int | None, ...]:
    """The sizes of x, None where a KerasTensor does not know.

    >>> shape([[1, 2]])
    (1, 2)
    """
    return tuple(x.shape) if is_symbol(x) or isinstance(x, Variable) else jnp.shape(tensor(x))


def dtype(x: Any) -> str:
    """The name of x's type.

    >>> dtype(jnp.ones(2))
    'float32'
    """
    return standardize_dtype(x.dtype if hasattr(x, "dtype") else jnp.asarray(tensor(x)).dtype)


@op
def stop_gradient(variable: Any) -> Any:
    """The same value, through which no gradient flows.

    >>> float(jax.grad(lambda x: x * stop_gradient(x))(3.0))
    3.0
    """
    return jax.tree.map(lax.stop_gradient, variable)


@op
def get_item(x: Any, key: Any) -> Any:
    """x[key]: key is an index, a slice, None, an ellipsis, an array, or a tuple of these.

    >>> get_item([[1, 2], [3, 4]], (1, 0)).tolist()
    3
    """
    return jnp.asarray(x)[tuple(map(_index, key)) if isinstance(key, tuple) else _index(key)]


def _index(key: Any) -> Any:
    return jnp.asarray(tensor(key)) if isinstance(key, (list, Variable)) else key


@op
def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """The block of that shape that starts at `start_indices`, which may be traced.

    >>> slice([1, 2, 3, 4], [1], [2]).tolist()
    [2, 3]
    """
    return lax.dynamic_slice(jnp.asarray(inputs), tensor(start_indices), shape)


@op
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """`inputs` with the block that starts at `start_indices` replaced by `updates`.

    >>> slice_update([1, 2, 3, 4], [1], [7, 8]).tolist()
    [1, 7, 8, 4]
    """
    x = jnp.asarray(inputs)
    return lax.dynamic_update_slice(x, jnp.asarray(updates, x.dtype), tensor(start_indices))


@op
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of that shape to which each value is added at its index: indices [N, axes].

    >>> scatter([[1], [1]], [5, 6], (3,)).tolist()
    [0, 11, 0]
    """
    values = jnp.asarray(values)
    return jnp.zeros(shape, values.dtype).at[_places(indices)].add(values)


REDUCTIONS = {None: "set", "add": "add", "max": "max", "min": "min", "mul": "multiply"}


@op
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """`inputs` with each update at its index: indices [N, axes].

    `reduction` says how an update meets what is there: None replaces it; "add", "max", "min" and
    "mul" combine the two.

    >>> scatter_update([1, 2, 3], [[0], [2]], [7, 8]).tolist()
    [7, 2, 8]
    """
    choose("ops.scatter_update", "reduction", reduction, REDUCTIONS)
    place = jnp.asarray(inputs).at[_places(indices)]
    return getattr(place, REDUCTIONS[reduction])(updates)


def _places(indices: Any) -> tuple[Any, ...]:
    indices = jnp.asarray(indices)
    return tuple(indices[..., axis] for axis in range(indices.shape[-1]))


@op
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """The slices of x along `axis`, as a list.

    >>> [part.tolist() for part in unstack([[1, 2], [3, 4]])]
    [[1, 2], [3, 4]]
    """
    x = jnp.asarray(x)
    if num is not None and num != x.shape[axis]:
        raise ValueError(
            f"ops.unstack: axis {axis} of an array of shape {x.shape} has {x.shape[axis]} slices, "
            f"and num={num}. Leave `num` out."
        )
    return [jnp.squeeze(part, axis) for part in jnp.split(x, x.shape[axis], axis)]


__all__ = operations(globals(), "convert_to_numpy dtype is_tensor shape")  # noqa: PLE0605
