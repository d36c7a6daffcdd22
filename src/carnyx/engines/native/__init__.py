"""Kernels in C++ that the XLA engine calls on a CPU, in place of composites that it runs slower.

The library is built when the package is (`hatch_build.py`), if there is a C++ compiler; without it
every composite runs as its plain decomposition, which is also the kernels' oracle. What a kernel
computes is in `lstm.h` and `lstm.cpp`, how its threads share the work in `stages.h`, and what XLA
calls in `module.cpp`.
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

from carnyx.core.composite import composite_name
from carnyx.program.canonical import over_bodies

LIBRARY = Path(__file__).with_name("kernels.so")
IN_CACHE = 256  # units of an LSTM whose recurrent weights stay in a core's second-level cache
FEW = 4  # rows that one reading of the weights serves


@cache
def library() -> Any:
    """The library, its kernels made known to XLA; None where it was not built."""
    if not LIBRARY.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        jax.ffi.register_ffi_target("carnyx_lstm", jax.ffi.pycapsule(loaded.carnyx_lstm))
    except (OSError, RuntimeError) as error:  # of another machine, or an older XLA
        warnings.warn(
            f"The native kernels of Carnyx cannot be loaded: {error}. Models run without them, and "
            "some are slower. Install Carnyx anew here to build them again.",
            stacklevel=2,
        )
        return None
    return loaded


def _lstm(x: Any, h: Any, c: Any, *weights_and_mask: Any) -> Any:
    """The composite `lstm`: h of every step [T, B, U] and the last c [B, U]."""
    steps, rows, _ = x.shape
    shapes = (steps, *h.shape), c.shape, (steps, rows, 4 * h.shape[1])
    results = [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes]
    return jax.ffi.ffi_call("carnyx_lstm", results)(x, h, c, *weights_and_mask)[:2]


def _lstm_takes(x: Any, h: Any, *rest: Any) -> bool:
    rows, units = h.shape
    if units % library().carnyx_lanes():
        return False
    return x.size > 0 and (units <= IN_CACHE or rows <= FEW)


# Composite -> its kernel, and whether that takes operands of these shapes (all are float32).
KERNELS = {"carnyx.lstm.v1": (_lstm, _lstm_takes)}


def with_kernels(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The jaxpr with kernels for bodies of the composites that have one."""
    if library() is None:
        return closed
    equations = [_with_kernel(equation) for equation in closed.jaxpr.eqns]
    return ClosedJaxpr(closed.jaxpr.replace(eqns=equations), closed.consts)


def _with_kernel(equation: Any) -> Any:
    name = composite_name(str(equation.params.get("name", "")))
    kernel, takes = KERNELS.get(name or "", (None, None))
    operands = [variable.aval for variable in equation.invars]
    if kernel and takes and _is_float32(operands) and takes(*operands):
        body = jax.make_jaxpr(kernel)(*operands)
        return equation.replace(params={**equation.params, "jaxpr": body})
    return equation.replace(params=over_bodies(equation.params, with_kernels))


def _is_float32(operands: list[Any]) -> bool:
    return all(aval.dtype in (np.float32, np.bool_) for aval in operands)
