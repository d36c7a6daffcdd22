"""Kernels in C++ that the XLA engine calls on a CPU, in place of what XLA runs slower.

The library is built when the package is (`hatch_build.py`), if there is a C++ compiler; without it
every composite runs as its plain decomposition, which is also the kernels' oracle. `kernels.h` is
their table, `lstm.h` and `product.h` compute, `stages.h` says how threads share the work, and
`module.cpp` is what XLA calls.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from carnyx.program.canonical import over_bodies

LIBRARY = Path(__file__).with_name("kernels.so")
IN_CACHE = 256  # units of an LSTM whose recurrent weights stay in a core's second-level cache
FEW = 4  # rows that one reading of the weights serves
LEAST, MOST = 1_000_000, 16_000_000  # operations of a product
SIDE = 16  # its least number of rows, and of terms in a sum
# The axes over which a product of matrices sums -> its kernel, and the least operations for it: for
# small ones XLA has a fast way if the left one need not be transposed.
PRODUCTS = {
    (((1,), (0,)), ((), ())): ("carnyx_product", LEAST),
    (((0,), (0,)), ((), ())): ("carnyx_product_transposed", 4_000),
}
CLIPPED = jax.lax.GatherScatterMode.CLIP, jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
MOST_ROWS, MOST_BYTES = 256, 1 << 22  # of rows taken out of an array
NAMES = ("carnyx_lstm", "carnyx_lstm_gradient", "carnyx_adam", "carnyx_rows")


@cache
def library() -> Any:
    """The library, its kernels made known to XLA; None where it was not built."""
    if not LIBRARY.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        for name in (*NAMES, *(name for name, _ in PRODUCTS.values())):
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)))
    except (OSError, AttributeError, RuntimeError) as error:  # of another machine or version
        warnings.warn(
            f"The native kernels of Carnyx cannot be loaded: {error}. Models run without them, and "
            "some are slower. Install Carnyx anew here to build them again.",
            stacklevel=2,
        )
        return None
    return loaded


def _lstm(x: Any, h: Any, c: Any, *more: Any) -> Any:
    """The composite `lstm`: h of every step [T, B, U] and the last c [B, U]."""
    gates = (*x.shape[:2], 4 * h.shape[1])
    return _call("carnyx_lstm", [(len(x), *h.shape), c.shape, gates], x, h, c, *more)[:2]


def _lstm_train(x: Any, h: Any, *more: Any) -> Any:
    """`lstm_train`: h, c and tanh(c) [T, B, U] and the gates [T, B, 4U] of every step."""
    each, gates = (len(x), *h.shape), (*x.shape[:2], 4 * h.shape[1])
    shapes = [each, each, gates, each]
    hidden, cell, gates, squashed = _call("carnyx_lstm", shapes, x, h, *more)
    return hidden, cell, squashed, gates


def _lstm_grad(u: Any, c: Any, cell: Any, squashed: Any, gates: Any, *more: Any) -> Any:
    """`lstm_grad`: gradients by the sums of every step [T, B, 4U], by the first h and c [B, U]."""
    shapes = [gates.shape, c.shape, c.shape]
    return _call("carnyx_lstm_gradient", shapes, u.T, c, cell, squashed, gates, *more)


def _adam(g: Any, w: Any, *more: Any) -> Any:
    """The composite `adam`: the weights and both means after a step, in the places of the old."""
    places = {1: 0, 6: 1, 7: 2}
    return _call("carnyx_adam", [w.shape] * 3, g, w, *more, input_output_aliases=places)


def _call(name: str, shapes: list[Any], *operands: Any, **options: Any) -> Any:
    results = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    return jax.ffi.ffi_call(name, results, **options)(*operands)


def _lstm_takes(first: Any, state: Any, *rest: Any) -> bool:
    """Whether it is the faster way; `state` is [rows, units]."""
    rows, units = state.shape
    return (
        all(aval.dtype in (np.float32, np.bool_) for aval in (first, state, *rest))
        and units % library().carnyx_lanes() == 0
        and (units <= IN_CACHE or rows <= FEW)
        and min(first.size, rows) > 0
    )


def _adam_takes(*operands: Any) -> bool:
    """Whether these are g, w, four numbers, m and v; `amsgrad` has a ninth operand."""
    g, w, *more = operands
    shapes = [aval.shape for aval in (g, *more)]
    is_float32 = all(aval.dtype == np.float32 for aval in operands)
    return is_float32 and shapes == [w.shape, *[()] * 4, w.shape, w.shape]


# Composite -> what operands its kernel takes, and the kernel.
KERNELS: dict[str, tuple[Callable[..., bool], Callable[..., Any]]] = {
    "carnyx.adam.v1": (_adam_takes, _adam),
    "carnyx.lstm.v1": (_lstm_takes, _lstm),
    "carnyx.lstm_train.v1": (_lstm_takes, _lstm_train),
    "carnyx.lstm_grad.v2": (_lstm_takes, _lstm_grad),
}


def _product(equation: Any) -> Callable[..., Any] | None:
    """The kernel of a product, where that takes it and is the faster way."""
    name, least = PRODUCTS.get(equation.params["dimension_numbers"], ("", 0))
    left, right, out = (v.aval for v in (*equation.invars, *equation.outvars))
    if not name or any(aval.dtype != np.float32 for aval in (left, right, out)):
        return None
    columns = right.shape[1]
    operations = 2 * left.size * columns
    if min(left.shape) < SIDE or not least <= operations <= MOST:
        return None
    if columns % library().carnyx_lanes() and (operations > LEAST or columns < FEW):
        return None  # too many computed in vain
    return lambda *factors: _call(name, [out.shape], *factors)[0]


def _rows(equation: Any) -> Callable[..., Any] | None:
    """The kernel that takes whole rows of an array by their numbers, if `gather` does just that."""
    array, indices, out = (v.aval for v in (*equation.invars, *equation.outvars))
    whole = jax.lax.GatherDimensionNumbers(tuple(range(1, array.ndim)), (0,), (0,))
    if (
        equation.params["dimension_numbers"] != whole
        or equation.params["slice_sizes"] != (1, *array.shape[1:])
        or equation.params["mode"] not in CLIPPED
        or (indices.ndim, indices.dtype) != (2, np.int32)
        or jax.dtypes.itemsize_bits(array.dtype) % 8
    ):
        return None
    size = np.int64(array.size // array.shape[0] * array.dtype.itemsize)
    if out.shape[0] > MOST_ROWS or size * out.shape[0] > MOST_BYTES:
        return None
    result = jax.ShapeDtypeStruct(out.shape, out.dtype)
    return lambda *operands: jax.ffi.ffi_call("carnyx_rows", result)(*operands, bytes=size)


PRIMITIVES = {"dot_general": _product, "gather": _rows}


def with_kernels(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The jaxpr with kernels for primitives and for bodies of composites."""
    if library() is None:
        return closed
    equations = [_with_kernel(equation) for equation in closed.jaxpr.eqns]
    return ClosedJaxpr(closed.jaxpr.replace(eqns=equations), closed.consts)


def _with_kernel(equation: Any) -> Any:
    operands = [variable.aval for variable in equation.invars]
    if choose := PRIMITIVES.get(equation.primitive.name):
        if (kernel := choose(equation)) is None:
            return equation
        (made,) = jax.make_jaxpr(jax.jit(kernel))(*operands).eqns
        return equation.replace(primitive=made.primitive, params=made.params)
    if known := KERNELS.get(str(equation.params.get("name"))):
        takes, kernel = known
        if takes(*operands):
            body = jax.make_jaxpr(kernel)(*operands)
            return equation.replace(params={**equation.params, "jaxpr": body})
    return equation.replace(params=over_bodies(equation.params, with_kernels))
