"""NumPy's functions as operations: elementwise, reductions, creation.

Keras's module of this name lists more: shapes are in `layout.py`, order and search in `sorting.py`,
NaN-skipping, quantiles and counts in `statistics.py`, types and indexing in `core.py`. A table's
key is the signature that its rows share; what is no row stands below.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core.dtypes import standardize_dtype
from carnyx.ops.table import elsewhere, of_floats, op, operations, publish


def _divide_no_nan(x1: Any, x2: Any) -> Any:
    safe = jnp.where(x2 == 0, jnp.ones_like(x2), x2)  # keeps the gradient finite too
    return jnp.where(x2 == 0, 0, jnp.divide(x1, safe))


def _matmul(x1: Any, x2: Any) -> Any:
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    bytes_only = x1.dtype == x2.dtype == jnp.int8  # sums of their products need more
    return jnp.matmul(x1, x2, preferred_element_type="int32" if bytes_only else None)


def _floats(function: Any) -> Any:
    """The function, whose results are of type `floatx` if no type is asked for."""

    def run(*args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        return function(*args, dtype=standardize_dtype(dtype), **kwargs)

    return run


TABLES = {
    "x": {
        "abs": "|x|, elementwise.",
        "absolute": (jnp.abs, "|x|, elementwise."),
        "angle": "The angle of a complex number in [-pi, pi]; of a real one 0 or pi.",
        "arccos": "Inverse of cos, in [0, pi].",
        "arccosh": "Inverse of cosh.",
        "arcsin": "Inverse of sin, in [-pi/2, pi/2].",
        "arcsinh": "Inverse of sinh.",
        "arctan": "Inverse of tan, in [-pi/2, pi/2].",
        "arctanh": "Inverse of tanh.",
        "bitwise_invert": (jnp.bitwise_not, "Every bit turned over."),
        "bitwise_not": "Every bit turned over.",
        "cbrt": "The cube root, of negative numbers too.",
        "ceil": (of_floats(jnp.ceil), "The smallest whole number not below x."),
        "conj": "The complex conjugate.",
        "conjugate": (jnp.conj, "The complex conjugate."),
        "copy": (lambda x: jnp.array(x, copy=True), "An array of its own with the same values."),
        "cos": "cos x, x in radians.",
        "cosh": "(exp x + exp -x) / 2.",
        "deg2rad": "x pi / 180: degrees as radians.",
        "exp": "e to the power x.",
        "exp2": "2 to the power x.",
        "expm1": "exp(x) - 1, exact for small x.",
        "fabs": "|x| as a float.",
        "floor": (of_floats(jnp.floor), "The largest whole number not above x."),
        "i0": "The modified Bessel function of the first kind and order 0.",
        "imag": "The imaginary part.",
        "isfinite": "Whether x is neither infinite nor NaN.",
        "isinf": "Whether x is infinite.",
        "isnan": "Whether x is NaN.",
        "isneginf": "Whether x is minus infinity.",
        "isposinf": "Whether x is plus infinity.",
        "isreal": "Whether the imaginary part is 0.",
        "log": "The natural logarithm.",
        "log10": "The logarithm to base 10.",
        "log1p": "log(1 + x), exact for small x.",
        "log2": "The logarithm to base 2.",
        "logical_not": "Whether x is false.",
        "ndim": "The number of axes, an int.",
        "negative": "-x.",
        "rad2deg": "x 180 / pi: radians as degrees.",
        "real": "The real part.",
        "reciprocal": "1 / x.",
        "sign": "-1, 0 or 1 as x is negative, zero or positive.",
        "signbit": "Whether the sign bit is set: x < 0, or -0.",
        "sin": "sin x, x in radians.",
        "sinc": "sin(pi x) / (pi x), 1 at 0.",
        "sinh": "(exp x - exp -x) / 2.",
        "size": "The number of elements, an int.",
        "sqrt": "The square root.",
        "square": "x times x.",
        "tan": "tan x, x in radians.",
        "tanh": "sinh x / cosh x.",
        "trunc": "x without its fraction.",
    },
    "x1, x2": {
        "add": "x1 + x2, elementwise.",
        "arctan2": "The angle of the point (x2, x1), in [-pi, pi].",
        "divide": (jnp.true_divide, "x1 / x2, elementwise."),
        "divide_no_nan": (_divide_no_nan, "x1 / x2, and 0 where x2 is 0."),
        "dot": "Sum of products over the last axis of x1 and the last but one of x2.",
        "equal": "Whether x1 == x2, elementwise.",
        "floor_divide": "floor(x1 / x2).",
        "fmax": "The larger, elementwise; a number rather than NaN.",
        "fmin": "The smaller, elementwise; a number rather than NaN.",
        "fmod": "The remainder of x1 / x2 with the sign of x1.",
        "gcd": "The greatest common divisor of integers.",
        "greater": "Whether x1 > x2, elementwise.",
        "greater_equal": "Whether x1 >= x2, elementwise.",
        "heaviside": "0 where x1 < 0, x2 where x1 == 0, 1 where x1 > 0.",
        "hypot": "sqrt(x1^2 + x2^2).",
        "inner": "Sum of products over the last axes.",
        "kron": "The Kronecker product: x2 times every element of x1, as blocks.",
        "lcm": "The least common multiple of integers.",
        "ldexp": "x1 2^x2, x2 an integer.",
        "less": "Whether x1 < x2, elementwise.",
        "less_equal": "Whether x1 <= x2, elementwise.",
        "logaddexp": "log(exp x1 + exp x2).",
        "logaddexp2": "log2(2^x1 + 2^x2).",
        "logical_and": "Whether both are true.",
        "logical_or": "Whether either is true.",
        "logical_xor": "Whether one only is true.",
        "matmul": (_matmul, "The matrix product over the last two axes."),
        "maximum": "The larger, elementwise.",
        "minimum": "The smaller, elementwise.",
        "mod": "x1 - x2 floor(x1 / x2): has the sign of x2.",
        "multiply": "x1 x2, elementwise.",
        "nextafter": "The next float from x1 towards x2.",
        "not_equal": "Whether x1 != x2, elementwise.",
        "outer": "Every product of an element of x1 and one of x2.",
        "power": "x1 to the power x2.",
        "subtract": "x1 - x2, elementwise.",
        "true_divide": "x1 / x2, elementwise.",
        "vdot": "Sum of products of all elements.",
    },
    "x, y": {
        "bitwise_and": "Bits set in both.",
        "bitwise_left_shift": (jnp.left_shift, "x 2^y: bits moved left by y places."),
        "bitwise_or": "Bits set in either.",
        "bitwise_right_shift": (jnp.right_shift, "floor(x / 2^y): bits moved right by y places."),
        "bitwise_xor": "Bits set in one only.",
        "left_shift": "x 2^y: bits moved left by y places.",
        "right_shift": "floor(x / 2^y): bits moved right by y places.",
    },
    "x, axis=None, keepdims=False": {
        "all": "Whether every element over `axis` is true.",
        "amax": (jnp.max, "The maximum over `axis`."),
        "amin": (jnp.min, "The minimum over `axis`."),
        "any": "Whether some element over `axis` is true.",
        "argmax": "Where the first maximum over `axis` is; None: of all elements.",
        "argmin": "Where the first minimum over `axis` is; None: of all elements.",
        "mean": "The mean over `axis`.",
        "ptp": "The maximum less the minimum, over `axis`.",
        "std": "sqrt(mean((x - mean x)^2)) over `axis`.",
        "sum": "The sum over `axis`.",
        "var": "mean((x - mean x)^2) over `axis`.",
    },
    "x, axis=None, keepdims=False, initial=None": {
        "max": "The maximum over `axis`, and of `initial` if given.",
        "min": "The minimum over `axis`, and of `initial` if given.",
    },
    "x, axis=None, dtype=None": {
        "cumprod": "Products of all elements up to each one along `axis`.",
        "cumsum": "Sums of all elements up to each one along `axis`.",
    },
    "shape, dtype=None": {
        "empty": (_floats(jnp.zeros), "An array to be filled; its values (zeros) mean nothing."),
        "ones": (_floats(jnp.ones), "An array of ones."),
        "zeros": (_floats(jnp.zeros), "An array of zeros."),
    },
    "x, dtype=None": {
        "empty_like": (jnp.zeros_like, "An array to be filled, in the shape (and type) of x."),
        "array": "x as an array of its own, of that type if given.",
        "ones_like": "Ones in the shape (and type, unless given) of x.",
        "zeros_like": "Zeros in the shape (and type, unless given) of x.",
    },
    "shape, fill_value, dtype=None": {"full": (_floats(jnp.full), "An array of one value.")},
    "x, fill_value, dtype=None": {
        "full_like": "An array of one value in the shape (and type) of x."
    },
    "start, stop=None, step=None, dtype=None": {
        "arange": "start, start + step... below `stop`; of one number: 0, 1..."
    },
    "N, M=None, k=0, dtype=None": {
        "eye": (_floats(jnp.eye), "A matrix [N, M or N] with ones on the k-th diagonal."),
        "tri": (_floats(jnp.tri), "A matrix [N, M or N] with ones on and below the k-th diagonal."),
    },
    "n, dtype=None": {"identity": (_floats(jnp.identity), "The identity matrix [n, n].")},
    "start, stop, num=50, endpoint=True, dtype=None, axis=0": {
        "geomspace": "`num` numbers from `start` to `stop`, of equal ratios."
    },
    "start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0": {
        "logspace": "`num` numbers from base^start to base^stop, of equal ratios."
    },
    "start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0": {
        "linspace": "`num` numbers from `start` to `stop`, of equal distances."
    },
    "x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False": {
        "allclose": "Whether |x1 - x2| <= atol + rtol |x2| everywhere.",
        "isclose": "Whether |x1 - x2| <= atol + rtol |x2|, elementwise.",
    },
    "x1, x2, mode='valid'": {"correlate": "sum over n of x1[n + k] conj(x2[n]) for every shift k."},
    "x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None": {
        "cross": "The vector product of vectors of 3 (or 2) along an axis."
    },
    "x1, x2, axes=2": {
        "tensordot": "Sums of products over the last `axes` of x1 and the first of x2, or pairs."
    },
    "y, x=None, dx=1.0, axis=-1": {
        "trapezoid": "The integral of y along `axis` by the trapezoidal rule."
    },
    "x, N=None, increasing=False": {
        "vander": "Powers of a vector as columns, the highest first: [N, powers]."
    },
    "x, decimals=0": {"round": "x rounded to that many decimals, halves to even."},
    "x, axis=None, keepdims=False, dtype=None": {"prod": "The product over `axis`."},
    "x, x_min, x_max": {"clip": "min(max(x, x_min), x_max)."},
    "x, nan=0.0, posinf=None, neginf=None": {
        "nan_to_num": "x with NaN and infinities replaced by numbers."
    },
}
publish(globals(), TABLES)


@op
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """Sums of products over the letters that the result does not name.

    >>> einsum("ij,jk->ik", [[1, 2]], [[3], [4]]).tolist()
    [[11]]
    """
    return jnp.einsum(subscripts, *operands, **kwargs)


@op
def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """Coordinates of a grid from the coordinates on its axes.

    >>> [a.tolist() for a in meshgrid([1, 2], [3])]
    [[[1, 2]], [[3, 3]]]
    """
    return jnp.meshgrid(*(jnp.asarray(a) for a in x), indexing=indexing)


# What Keras lists in this module, and stands elsewhere.
__getattr__ = elsewhere(
    __name__,
    "bartlett blackman hamming hanning kaiser get_item vectorize slogdet view",
    homes="layout sorting statistics",
)
__all__ = operations(globals())  # noqa: PLE0605
