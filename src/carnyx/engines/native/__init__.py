"""Kernels in C++ that the XLA engine calls on a CPU, in place of what XLA runs slower.

The library is built when the package is (`hatch_build.py`), if there is a C++ compiler; without it
every composite runs as its plain decomposition, which is also the kernels' oracle. `kernels.h` is
their table, `lstm.h` and `product.h` compute, `stages.h` says how threads share the work, and
`module.cpp` is what XLA calls.
"""

from __future__ import annotations

import ctypes
import warnings
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
# The axes over which a product of matrices sums -> its kernel.
PRODUCTS = {
    (((1,), (0,)), ((), ())): "carnyx_product",
    (((0,), (0,)), ((), ())): "carnyx_product_transposed",
}


@cache
def library() -> Any:
    """The library, its kernels made known to XLA; None where it was not built."""
    if not LIBRARY.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        for name in ("carnyx_lstm", "carnyx_lstm_gradient", *PRODUCTS.values()):
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)))
    except (OSError, RuntimeError) as error:  # of another machine, or an older XLA
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


def _call(name: str, shapes: list[Any], *operands: Any) -> Any:
    results = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    return jax.ffi.ffi_call(name, results)(*operands)


# Composite -> its kernel, for operands that `_takes`: the second is always [rows, units].
KERNELS = {
    "carnyx.lstm.v1": _lstm,
    "carnyx.lstm_train.v1": _lstm_train,
    "carnyx.lstm_grad.v2": _lstm_grad,
}


def _takes(first: Any, state: Any, *rest: Any) -> bool:
    """Whether a kernel takes operands of these shapes and types, and is the faster way."""
    rows, units = state.shape
    is_float32 = all(aval.dtype in (np.float32, np.bool_) for aval in (first, state, *rest))
    return (
        is_float32
        and units % library().carnyx_lanes() == 0
        and (units <= IN_CACHE or rows <= FEW)
        and min(first.size, rows) > 0
    )


def _product(equation: Any) -> Any:
    """A product as a call of its kernel, where that takes it and is the faster way."""
    name = PRODUCTS.get(equation.params["dimension_numbers"])
    left, right, out = (v.aval for v in (*equation.invars, *equation.outvars))
    if name is None or any(aval.dtype != np.float32 for aval in (left, right, out)):
        return equation
    columns = right.shape[1]
    if columns % library().carnyx_lanes() or min(left.shape) < SIDE:
        return equation
    if not LEAST <= 2 * left.size * columns <= MOST:
        return equation
    call = jax.jit(lambda *factors: _call(name, [out.shape], *factors)[0])
    (made,) = jax.make_jaxpr(call)(left, right).eqns
    return equation.replace(primitive=made.primitive, params=made.params)


def with_kernels(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The jaxpr with kernels for products of matrices and for bodies of composites."""
    if library() is None:
        return closed
    equations = [_with_kernel(equation) for equation in closed.jaxpr.eqns]
    return ClosedJaxpr(closed.jaxpr.replace(eqns=equations), closed.consts)


def _with_kernel(equation: Any) -> Any:
    if equation.primitive.name == "dot_general":
        return _product(equation)
    kernel = KERNELS.get(str(equation.params.get("name")))
    operands = [variable.aval for variable in equation.invars]
    if kernel and _takes(*operands):
        body = jax.make_jaxpr(kernel)(*operands)
        return equation.replace(params={**equation.params, "jaxpr": body})
    return equation.replace(params=over_bodies(equation.params, with_kernels))
