"""The closed list of primitives that a canonical Program may hold, as data, and `verify`.

An engine needs a lowering for each of these and for nothing else; `engines/numpy.py` is their
definition by example. A primitive that is not here must be expanded by `canonical.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carnyx.core.composite import composite_name
from carnyx.program.trace import bodies


@dataclass(frozen=True)
class Primitive:
    """One primitive: its family and what it means."""

    name: str
    kind: str
    meaning: str


_ELEMENTWISE = {
    "abs": "absolute value",
    "acos": "inverse cosine",
    "acosh": "inverse hyperbolic cosine",
    "add": "x + y, integers wrap around",
    "and": "bitwise or logical and",
    "asin": "inverse sine",
    "asinh": "inverse hyperbolic sine",
    "atan": "inverse tangent",
    "atan2": "angle of the point (y, x)",
    "atanh": "inverse hyperbolic tangent",
    "bessel_i0e": "exp(-|x|) times the modified Bessel function of order 0",
    "bessel_i1e": "the same of order 1",
    "bitcast_convert_type": "the same bits as another type",
    "cbrt": "cube root",
    "ceil": "least integer from x up",
    "clamp": "x cut to [low, high]",
    "complex": "x + i y",
    "conj": "complex conjugate; complex of a real number",
    "convert_element_type": "x in another type; floats to integers are cut towards zero",
    "cos": "cosine",
    "cosh": "hyperbolic cosine",
    "digamma": "derivative of lgamma",
    "div": "x / y; integers are cut towards zero",
    "eq": "x == y",
    "erf": "error function",
    "erf_inv": "its inverse",
    "erfc": "1 - erf",
    "exp": "e to the x",
    "exp2": "2 to the x",
    "expm1": "exp(x) - 1",
    "floor": "greatest integer up to x",
    "ge": "x >= y",
    "gt": "x > y",
    "imag": "imaginary part",
    "integer_pow": "x to a constant integer",
    "is_finite": "neither infinite nor NaN",
    "le": "x <= y",
    "lgamma": "logarithm of the absolute gamma function",
    "log": "natural logarithm",
    "log1p": "log(1 + x)",
    "logistic": "1 / (1 + exp(-x))",
    "lt": "x < y",
    "max": "greater of x and y; NaN wins",
    "min": "lesser of x and y; NaN wins",
    "mul": "x y",
    "ne": "x != y",
    "neg": "-x",
    "nextafter": "next number from x towards y",
    "not": "bitwise or logical not",
    "optimization_barrier": "x; compilers do not move code across it",
    "or": "bitwise or logical or",
    "population_count": "number of bits that are 1",
    "pow": "x to the y",
    "real": "real part",
    "reduce_precision": "x rounded to fewer bits",
    "rem": "remainder with the sign of x",
    "round": "nearest integer; half away from zero, or to even",
    "rsqrt": "1 / sqrt(x)",
    "select_n": "the case that the predicate picks, element by element",
    "shift_left": "bits moved left",
    "shift_right_arithmetic": "bits moved right, the sign kept",
    "shift_right_logical": "bits moved right, zeros moved in",
    "sign": "-1, 0 or 1",
    "sin": "sine",
    "sinh": "hyperbolic sine",
    "sqrt": "square root",
    "square": "x x",
    "sub": "x - y",
    "tan": "tangent",
    "tanh": "hyperbolic tangent",
    "xor": "bitwise exclusive or",
}
_REDUCTION = {
    "argmax": "index of the first maximum; NaN is greatest",
    "argmin": "index of the first minimum; NaN is least",
    "cumlogsumexp": "running log of the sum of exp",
    "cummax": "running maximum",
    "cummin": "running minimum",
    "cumprod": "running product",
    "cumsum": "running sum",
    "reduce_and": "and along axes",
    "reduce_max": "maximum along axes",
    "reduce_min": "minimum along axes",
    "reduce_or": "or along axes",
    "reduce_prod": "product along axes",
    "reduce_sum": "sum along axes",
    "reduce_window_max": "maximum of each window",
    "reduce_window_min": "minimum of each window",
    "reduce_window_sum": "sum of each window",
    "reduce_xor": "exclusive or along axes",
    "select_and_gather_add": "the tangent at each window's selected element",
    "select_and_scatter_add": "each source added at its window's selected element",
}
_SHAPE = {
    "broadcast_in_dim": "axes put in places of a larger shape, repeated along the others",
    "concatenate": "arrays one after another along an axis",
    "dynamic_slice": "a part of fixed size from a start given as numbers, kept inside",
    "dynamic_update_slice": "the operand with such a part replaced",
    "gather": "slices at indices",
    "iota": "0, 1, 2... along an axis",
    "pad": "a value put around and between elements; negative amounts cut",
    "reshape": "the elements in the same order in another shape",
    "rev": "axes turned round",
    "scatter": "the operand with slices at indices replaced",
    "scatter-add": "slices added at indices",
    "scatter-max": "maximum with slices at indices",
    "scatter-min": "minimum with slices at indices",
    "scatter-mul": "slices multiplied in at indices",
    "slice": "a part with constant bounds and strides",
    "sort": "operands sorted together by the first ones",
    "split": "consecutive parts along an axis",
    "squeeze": "axes of size 1 taken out",
    "stack": "arrays side by side along a new axis",
    "tile": "copies side by side",
    "top_k": "the greatest along the last axis and their indices",
    "transpose": "axes in another order",
    "unstack": "the slices along an axis",
}
_LINEAR = {
    "conv_general_dilated": "convolution with strides, padding, dilations and groups",
    "cholesky": "lower factor of a positive matrix",
    "eig": "eigenvalues and, as asked, left and right eigenvectors of a matrix",
    "eigh": "eigenvectors and ascending eigenvalues of a symmetric or Hermitian matrix",
    "lu": "L and U in one matrix with row pivots, and the permutation that these are",
    "svd": "singular values and, as asked, U and V transposed",
    "dot_general": "sum of products over contracting axes, batch axes kept",
    "fft": "discrete Fourier transform of the last axes, its inverse, or of real numbers",
    "qr": "Q and R of a matrix",
    "triangular_solve": "solution with a triangular matrix",
}
_CONTROL = {
    "cond": "one of several bodies, by index",
    "jit": "a composite: a named body that an engine may replace",
    "scan": "a body run along an axis with carried values",
    "while": "a body run while a condition holds",
}

PRIMITIVES: dict[str, Primitive] = {
    name: Primitive(name, kind, meaning)
    for kind, table in (
        ("elementwise", _ELEMENTWISE),
        ("reduction", _REDUCTION),
        ("shape", _SHAPE),
        ("linear", _LINEAR),
        ("control", _CONTROL),
    )
    for name, meaning in table.items()
}
TYPES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
    "complex64 complex128"
).split()


def verify(program: Any) -> None:
    """Raises ValueError if a Program holds anything that the list does not allow."""
    _verify(program.jaxpr.jaxpr, program.name)


def _verify(jaxpr: Any, where: str) -> None:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name not in PRIMITIVES:
            _illegal(where, equation, "it is not in the list of primitives")
        if name == "jit" and not composite_name(str(equation.params["name"])):
            _illegal(where, equation, "a call that is no composite must be inlined")
        for variable in equation.outvars:
            if variable.aval.dtype.name not in TYPES:
                _illegal(where, equation, f"it makes values of type {variable.aval.dtype}")
        for body in bodies(equation):
            _verify(body.jaxpr, where)


def _illegal(where: str, equation: Any, why: str) -> None:
    stack = str(equation.source_info.name_stack) or "no layer"
    raise ValueError(
        f"Program '{where}' holds the primitive {equation.primitive.name!r} (in {stack}): {why}. "
        "Add it to program/primitives.py and to every engine, or expand it in canonical.py."
    )
