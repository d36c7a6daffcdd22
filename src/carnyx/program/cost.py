"""What a Program costs: floating-point operations and results, by layer, read off its equations.

A multiplication and an addition are two operations; a function such as exp counts as one. What
only moves numbers is free. A `while` counts as one pass, since nobody can know how many it takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from carnyx.program.primitives import PRIMITIVES
from carnyx.program.trace import Program, bodies, layer_path


@dataclass
class Cost:
    """Of one layer: operations, and bytes of all results that its equations write."""

    flops: int = 0
    bytes: int = 0


def costs(program: Program) -> dict[str, Cost]:
    """Layer path -> its Cost, in the order of the equations; "" is what stands in no layer.

    >>> import jax.numpy as jnp
    >>> from carnyx.program.trace import Slot, trace
    >>> names = ("a", (2, 3), "data"), ("b", (3, 4), "data"), ("c", (2, 4), "output")
    >>> slots = [Slot(name, shape, "float32", role) for name, shape, role in names]
    >>> product = trace("product", lambda v: [jnp.tanh(v[0] @ v[1])], slots[:2], slots[2:])
    >>> costs(product)  # 2 * 2 * 3 * 4 operations, and 8 tanh
    {'': Cost(flops=56, bytes=64)}
    """
    found: dict[str, Cost] = {}
    _add(found, program.jaxpr.jaxpr, "", 1)
    return found


def _add(found: dict[str, Cost], jaxpr: Any, outer: str, times: int) -> None:
    for equation in jaxpr.eqns:
        place, name = layer_path(equation, outer), equation.primitive.name
        inner = [body.jaxpr for body in bodies(equation)]
        if name == "cond":  # the branch that costs most
            inner = [max(inner, key=_flops)]
        for body in inner if name in LOOKED_INTO else ():
            _add(found, body, place, times * equation.params.get("length", 1))
        if name in LOOKED_INTO:
            continue
        cost = found.setdefault(place, Cost())
        cost.flops += times * _operations(equation)
        cost.bytes += times * sum(_size(v) * v.aval.dtype.itemsize for v in equation.outvars)


def _flops(jaxpr: Any) -> int:
    found: dict[str, Cost] = {}
    _add(found, jaxpr, "", 1)
    return sum(cost.flops for cost in found.values())


def _size(atom: Any) -> int:
    return math.prod(atom.aval.shape)


def _each_result(equation: Any) -> int:
    return sum(_size(v) for v in equation.outvars if v.aval.dtype.kind in "fcV")


def _product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * _each_result(equation) * math.prod(shape[axis] for axis in contracted)


def _convolution(equation: Any) -> int:
    """Each result is a sum over the window and the channels of its group."""
    kernel = equation.invars[1]
    filters = kernel.aval.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2 * _each_result(equation) * (_size(kernel) // max(filters, 1))


def _operations(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    kind = PRIMITIVES[name].kind if name in PRIMITIVES else ""
    if name in PRODUCTS:
        return PRODUCTS[name](equation)
    if "window_dimensions" in params:
        return _each_result(equation) * math.prod(params["window_dimensions"])
    if kind == "reduction" or name == "scatter-add":
        return _size(equation.invars[-1])
    return _each_result(equation) if kind == "elementwise" and name not in FREE else 0


LOOKED_INTO = {"jit", "scan", "while", "cond"}
PRODUCTS = {"dot_general": _product, "conv_general_dilated": _convolution}
FREE = {"bitcast_convert_type", "convert_element_type", "optimization_barrier"}
