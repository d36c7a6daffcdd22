"""NumPy's functions as operations: tables where Keras's signature is shared, the rest below.

Types and indexing are in `core.py`, activations in `nn.py`, segments and norms in `math.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core.dtypes import standardize_dtype
from carnyx.ops.table import op, publish


def _one(x: Any) -> Any: ...


def _two(x1: Any, x2: Any) -> Any: ...


def _bits(x: Any, y: Any) -> Any: ...


def _reduction(x: Any, axis: Any = None, keepdims: bool = False) -> Any: ...


def _extreme(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any: ...


def _index(x: Any, axis: Any = None, keepdims: bool = False) -> Any: ...


def _typed(x: Any, axis: Any = None, dtype: Any = None) -> Any: ...


def _along(x: Any, axis: int = -1) -> Any: ...


def _diagonal(x: Any, k: int = 0) -> Any: ...


def _shaped(shape: Any, dtype: Any = None) -> Any: ...


def _like(x: Any, dtype: Any = None) -> Any: ...


def _divide_no_nan(x1: Any, x2: Any) -> Any:
    safe = jnp.where(x2 == 0, jnp.ones_like(x2), x2)  # keeps the gradient finite too
    return jnp.where(x2 == 0, 0, jnp.divide(x1, safe))


def _matmul(x1: Any, x2: Any) -> Any:
    return jnp.matmul(jnp.asarray(x1), jnp.asarray(x2))


ONE = {
    "abs": (jnp.abs, "|x|, elementwise."),
    "absolute": (jnp.abs, "|x|, elementwise."),
    "arccos": (jnp.arccos, "Inverse of cos, in [0, pi]."),
    "arccosh": (jnp.arccosh, "Inverse of cosh."),
    "arcsin": (jnp.arcsin, "Inverse of sin, in [-pi/2, pi/2]."),
    "arcsinh": (jnp.arcsinh, "Inverse of sinh."),
    "arctan": (jnp.arctan, "Inverse of tan, in [-pi/2, pi/2]."),
    "arctanh": (jnp.arctanh, "Inverse of tanh."),
    "bitwise_not": (jnp.bitwise_not, "Every bit turned over."),
    "ceil": (jnp.ceil, "The smallest whole number not below x."),
    "conj": (jnp.conj, "The complex conjugate."),
    "cos": (jnp.cos, "cos x, x in radians."),
    "cosh": (jnp.cosh, "(exp x + exp -x) / 2."),
    "exp": (jnp.exp, "e to the power x."),
    "exp2": (jnp.exp2, "2 to the power x."),
    "expm1": (jnp.expm1, "exp(x) - 1, exact for small x."),
    "floor": (jnp.floor, "The largest whole number not above x."),
    "imag": (jnp.imag, "The imaginary part."),
    "isfinite": (jnp.isfinite, "Whether x is neither infinite nor NaN."),
    "isinf": (jnp.isinf, "Whether x is infinite."),
    "isnan": (jnp.isnan, "Whether x is NaN."),
    "log": (jnp.log, "The natural logarithm."),
    "log10": (jnp.log10, "The logarithm to base 10."),
    "log1p": (jnp.log1p, "log(1 + x), exact for small x."),
    "log2": (jnp.log2, "The logarithm to base 2."),
    "logical_not": (jnp.logical_not, "Whether x is false."),
    "negative": (jnp.negative, "-x."),
    "ravel": (jnp.ravel, "All elements in one axis."),
    "real": (jnp.real, "The real part."),
    "reciprocal": (jnp.reciprocal, "1 / x."),
    "sign": (jnp.sign, "-1, 0 or 1 as x is negative, zero or positive."),
    "sin": (jnp.sin, "sin x, x in radians."),
    "sinh": (jnp.sinh, "(exp x - exp -x) / 2."),
    "sqrt": (jnp.sqrt, "The square root."),
    "square": (jnp.square, "x times x."),
    "tan": (jnp.tan, "tan x, x in radians."),
    "tanh": (jnp.tanh, "sinh x / cosh x."),
    "trunc": (jnp.trunc, "x without its fraction."),
}
TWO = {
    "add": (jnp.add, "x1 + x2, elementwise."),
    "arctan2": (jnp.arctan2, "The angle of the point (x2, x1), in [-pi, pi]."),
    "divide": (jnp.true_divide, "x1 / x2, elementwise."),
    "divide_no_nan": (_divide_no_nan, "x1 / x2, and 0 where x2 is 0."),
    "dot": (jnp.dot, "Sum of products over the last axis of x1 and the last but one of x2."),
    "equal": (jnp.equal, "Whether x1 == x2, elementwise."),
    "floor_divide": (jnp.floor_divide, "floor(x1 / x2)."),
    "greater": (jnp.greater, "Whether x1 > x2, elementwise."),
    "greater_equal": (jnp.greater_equal, "Whether x1 >= x2, elementwise."),
    "hypot": (jnp.hypot, "sqrt(x1^2 + x2^2)."),
    "inner": (jnp.inner, "Sum of products over the last axes."),
    "less": (jnp.less, "Whether x1 < x2, elementwise."),
    "less_equal": (jnp.less_equal, "Whether x1 <= x2, elementwise."),
    "logaddexp": (jnp.logaddexp, "log(exp x1 + exp x2)."),
    "logical_and": (jnp.logical_and, "Whether both are true."),
    "logical_or": (jnp.logical_or, "Whether either is true."),
    "logical_xor": (jnp.logical_xor, "Whether one only is true."),
    "matmul": (_matmul, "The matrix product over the last two axes."),
    "maximum": (jnp.maximum, "The larger, elementwise."),
    "minimum": (jnp.minimum, "The smaller, elementwise."),
    "mod": (jnp.mod, "x1 - x2 floor(x1 / x2): has the sign of x2."),
    "multiply": (jnp.multiply, "x1 x2, elementwise."),
    "not_equal": (jnp.not_equal, "Whether x1 != x2, elementwise."),
    "outer": (jnp.outer, "Every product of an element of x1 and one of x2."),
    "power": (jnp.power, "x1 to the power x2."),
    "subtract": (jnp.subtract, "x1 - x2, elementwise."),
    "true_divide": (jnp.true_divide, "x1 / x2, elementwise."),
    "vdot": (jnp.vdot, "Sum of products of all elements."),
}
BITS = {
    "bitwise_and": (jnp.bitwise_and, "Bits set in both."),
    "bitwise_or": (jnp.bitwise_or, "Bits set in either."),
    "bitwise_xor": (jnp.bitwise_xor, "Bits set in one only."),
}
REDUCTIONS = {
    "all": (jnp.all, "Whether every element over `axis` is true."),
    "amax": (jnp.max, "The maximum over `axis`."),
    "amin": (jnp.min, "The minimum over `axis`."),
    "any": (jnp.any, "Whether some element over `axis` is true."),
    "mean": (jnp.mean, "The mean over `axis`."),
    "median": (jnp.median, "The median over `axis`."),
    "std": (jnp.std, "sqrt(mean((x - mean x)^2)) over `axis`."),
    "sum": (jnp.sum, "The sum over `axis`."),
    "var": (jnp.var, "mean((x - mean x)^2) over `axis`."),
}
EXTREMES = {
    "max": (jnp.max, "The maximum over `axis`, and of `initial` if given."),
    "min": (jnp.min, "The minimum over `axis`, and of `initial` if given."),
}
INDICES = {
    "argmax": (jnp.argmax, "The index of the first maximum over `axis`; None: of all elements."),
    "argmin": (jnp.argmin, "The index of the first minimum over `axis`; None: of all elements."),
}
CUMULATIVE = {
    "cumprod": (jnp.cumprod, "Products of all elements up to each one along `axis`."),
    "cumsum": (jnp.cumsum, "Sums of all elements up to each one along `axis`."),
}
ALONG = {
    "argsort": (jnp.argsort, "The indices that sort x along `axis`."),
    "sort": (jnp.sort, "x in ascending order along `axis`."),
}
DIAGONALS = {
    "diag": (jnp.diag, "The k-th diagonal of a matrix, or a matrix with that diagonal."),
    "tril": (jnp.tril, "x with 0 above the k-th diagonal."),
    "triu": (jnp.triu, "x with 0 below the k-th diagonal."),
}
SHAPED = {
    "empty": (jnp.zeros, "An array to be filled; its values, zeros here, mean nothing."),
    "ones": (jnp.ones, "An array of ones."),
    "zeros": (jnp.zeros, "An array of zeros."),
}
LIKE = {
    "ones_like": (jnp.ones_like, "Ones in the shape (and type, unless given) of x."),
    "zeros_like": (jnp.zeros_like, "Zeros in the shape (and type, unless given) of x."),
}

for _template, _rows in (
    (_one, ONE),
    (_two, TWO),
    (_bits, BITS),
    (_reduction, REDUCTIONS),
    (_extreme, EXTREMES),
    (_index, INDICES),
    (_typed, CUMULATIVE),
    (_along, ALONG),
    (_diagonal, DIAGONALS),
    (_like, LIKE),
):
    publish(globals(), _template, _rows)


def _with_type(function: Any) -> Any:
    return lambda shape, dtype=None: function(shape, standardize_dtype(dtype))


publish(globals(), _shaped, {k: (_with_type(f), doc) for k, (f, doc) in SHAPED.items()})


@op
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """start, start + step... below `stop`; with one argument 0, 1... below it.

    >>> arange(3).tolist()
    [0, 1, 2]
    """
    return jnp.arange(start, stop, step, dtype)


@op
def array(x: Any, dtype: Any = None) -> Any:
    """x as an array, of that type if given.

    >>> array([1, 2]).shape
    (2,)
    """
    return jnp.asarray(x, None if dtype is None else standardize_dtype(dtype))


@op
def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """sum(w x) / sum(w) over `axis`; the mean without weights.

    >>> float(average([1.0, 4.0], weights=[2, 1]))
    2.0
    """
    return jnp.average(x, axis, weights)


@op
def broadcast_to(x: Any, shape: Any) -> Any:
    """x repeated along axes of size 1 and new leading axes.

    >>> broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    return jnp.broadcast_to(x, shape)


@op
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """min(max(x, x_min), x_max).

    >>> clip([1, 5, 9], 2, 6).tolist()
    [2, 5, 6]
    """
    return jnp.clip(x, x_min, x_max)


@op
def concatenate(xs: Any, axis: int | None = 0) -> Any:
    """Arrays one behind another on `axis`.

    >>> concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    return jnp.concatenate([jnp.asarray(x) for x in xs], axis)


@op
def count_nonzero(x: Any, axis: Any = None) -> Any:
    """How many elements over `axis` are not 0.

    >>> int(count_nonzero([0, 3, 5]))
    2
    """
    return jnp.count_nonzero(x, axis)


@op
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours along `axis`, taken n times.

    >>> diff([1, 4, 9]).tolist()
    [3, 5]
    """
    return jnp.diff(a, n, axis)


@op
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """Sums of products over the letters that the result does not name.

    >>> einsum("ij,jk->ik", [[1, 2]], [[3], [4]]).tolist()
    [[11]]
    """
    return jnp.einsum(subscripts, *operands, **kwargs)


@op
def expand_dims(x: Any, axis: Any) -> Any:
    """x with a new axis of size 1 at `axis`.

    >>> expand_dims([1, 2], -1).shape
    (2, 1)
    """
    return jnp.expand_dims(x, axis)


@op
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """A matrix [N, M or N] with ones on the k-th diagonal.

    >>> eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.eye(N, M, k, standardize_dtype(dtype))


@op
def flip(x: Any, axis: Any = None) -> Any:
    """x with the order reversed along `axis` (None: all axes).

    >>> flip([1, 2, 3]).tolist()
    [3, 2, 1]
    """
    return jnp.flip(x, axis)


@op
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array of one value.

    >>> full((2,), 3).tolist()
    [3, 3]
    """
    return jnp.full(shape, fill_value, None if dtype is None else standardize_dtype(dtype))


@op
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array of one value in the shape (and type, unless given) of x.

    >>> full_like([1, 2], 7).tolist()
    [7, 7]
    """
    return jnp.full_like(x, fill_value, dtype)


@op
def hstack(xs: Any) -> Any:
    """Arrays side by side: on axis 1, vectors on axis 0.

    >>> hstack([[1], [2]]).tolist()
    [1, 2]
    """
    return jnp.hstack([jnp.asarray(x) for x in xs])


@op
def identity(n: int, dtype: Any = None) -> Any:
    """The identity matrix [n, n].

    >>> identity(1).tolist()
    [[1.0]]
    """
    return jnp.eye(n, dtype=standardize_dtype(dtype))


@op
def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether |x1 - x2| <= atol + rtol |x2|.

    >>> isclose([1.0, 2.0], [1.0, 2.1]).tolist()
    [True, False]
    """
    return jnp.isclose(x1, x2, rtol, atol, equal_nan)


@op
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` numbers at equal distances from `start` to `stop`.

    >>> linspace(0, 1, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    return jnp.linspace(start, stop, num, endpoint, retstep, dtype, axis)


@op
def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """Coordinates of a grid from the coordinates on its axes.

    >>> [a.tolist() for a in meshgrid([1, 2], [3])]
    [[[1, 2]], [[3, 3]]]
    """
    return jnp.meshgrid(*(jnp.asarray(a) for a in x), indexing=indexing)


@op
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """x with axes moved to other places.

    >>> moveaxis(zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    return jnp.moveaxis(x, source, destination)


@op
def nan_to_num(x: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """x with NaN and infinities replaced by numbers.

    >>> nan_to_num([float("nan"), 1.0]).tolist()
    [0.0, 1.0]
    """
    return jnp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


@op
def ndim(x: Any) -> int:
    """The number of axes.

    >>> ndim([[1]])
    2
    """
    return jnp.ndim(x)


@op
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """x with (before, after) elements added on each axis.

    >>> pad([1, 2], (1, 0)).tolist()
    [0, 1, 2]
    """
    if mode != "constant":
        if constant_values is not None:
            raise ValueError(
                f"ops.pad: constant_values={constant_values!r} is for mode='constant', and mode "
                f"is {mode!r}. Leave it out."
            )
        return jnp.pad(x, pad_width, mode)
    return jnp.pad(x, pad_width, constant_values=0 if constant_values is None else constant_values)


@op
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product over `axis`.

    >>> int(prod([2, 3]))
    6
    """
    return jnp.prod(x, axis, dtype, keepdims=keepdims)


@op
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element `repeats` times along `axis` (None: of the flattened array).

    >>> repeat([1, 2], 2).tolist()
    [1, 1, 2, 2]
    """
    return jnp.repeat(x, repeats, axis)


@op
def reshape(x: Any, newshape: Any) -> Any:
    """The same elements in another shape; one size may be -1.

    >>> reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    return jnp.reshape(x, newshape)


@op
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """x shifted along `axis`; what leaves at one end enters at the other.

    >>> roll([1, 2, 3], 1).tolist()
    [3, 1, 2]
    """
    return jnp.roll(x, shift, axis)


@op
def round(x: Any, decimals: int = 0) -> Any:
    """x rounded to that many decimals, halves to even.

    >>> round([0.5, 1.5]).tolist()
    [0.0, 2.0]
    """
    return jnp.round(x, decimals)


@op
def size(x: Any) -> int:
    """The number of elements.

    >>> size([[1, 2]])
    2
    """
    return jnp.size(x)


@op
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """A list of parts: equal ones for a number, cut at the indices for a list.

    >>> [part.tolist() for part in split([1, 2, 3], [1])]
    [[1], [2, 3]]
    """
    return jnp.split(x, indices_or_sections, axis)


@op
def squeeze(x: Any, axis: Any = None) -> Any:
    """x without its axes of size 1 (or without those of `axis`).

    >>> squeeze([[1, 2]]).shape
    (2,)
    """
    return jnp.squeeze(x, axis)


@op
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged.

    >>> swapaxes(zeros((2, 3)), 0, 1).shape
    (3, 2)
    """
    return jnp.swapaxes(x, axis1, axis2)


@op
def stack(x: Any, axis: int = 0) -> Any:
    """Arrays of one shape as one, on a new axis.

    >>> stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    return jnp.stack(list(x), axis)


@op
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices of x at `indices` along `axis`; NaN (or the smallest integer) outside.

    >>> take([5, 6, 7], [2, 0]).tolist()
    [7, 5]
    """
    return jnp.take(x, indices, axis)


@op
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The element at each index along `axis`, `indices` having an entry for every other place.

    >>> take_along_axis([[5, 6]], [[1]], 1).tolist()
    [[6]]
    """
    return jnp.take_along_axis(x, indices, axis)


@op
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Sums of products over the last `axes` of x1 and the first of x2, or over given pairs.

    >>> int(tensordot([1, 2], [3, 4], 1))
    11
    """
    return jnp.tensordot(x1, x2, axes)


@op
def tile(x: Any, repeats: Any) -> Any:
    """x repeated as a whole, so often along each axis.

    >>> tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    return jnp.tile(x, repeats)


@op
def transpose(x: Any, axes: Any = None) -> Any:
    """x with its axes in another order, reversed by default.

    >>> transpose([[1, 2]]).tolist()
    [[1], [2]]
    """
    return jnp.transpose(x, axes)


@op
def vstack(xs: Any) -> Any:
    """Arrays on top of each other, on axis 0.

    >>> vstack([[1], [2]]).tolist()
    [[1], [2]]
    """
    return jnp.vstack([jnp.asarray(x) for x in xs])


@op
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2; the indices where it holds without them.

    >>> where([True, False], 1, 2).tolist()
    [1, 2]
    """
    return jnp.where(condition, x1, x2)


_OWN = (
    "arange array average broadcast_to clip concatenate count_nonzero diff einsum expand_dims eye "
    "flip full full_like hstack identity isclose linspace meshgrid moveaxis nan_to_num ndim pad "
    "prod repeat reshape roll round size split squeeze stack swapaxes take take_along_axis "
    "tensordot tile transpose vstack where"
)
_TABLES = (
    ONE, TWO, BITS, REDUCTIONS, EXTREMES, INDICES, CUMULATIVE, ALONG, DIAGONALS, SHAPED, LIKE
)  # fmt: skip
__all__ = sorted([*_OWN.split(), *(name for table in _TABLES for name in table)])  # noqa: PLE0605
