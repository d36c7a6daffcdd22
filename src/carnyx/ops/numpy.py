"""NumPy's functions as operations: elementwise, reductions, creation, shapes, order, statistics.

A table's key is the signature that its rows share; what is no row stands below. Patterns of axes
(`rearrange`) are in `einops.py`, types and indexing in `core.py`, the k largest in `math.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.dtypes import standardize_dtype
from carnyx.core.symbol import KerasTensor
from carnyx.ops.table import elsewhere, known, of_floats, op, operations, publish, tensor


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


def _digitize(x: Any, bins: Any) -> Any:
    return jnp.searchsorted(jnp.asarray(bins), jnp.asarray(x), side="right")


def _searchsorted(sequence: Any, values: Any, side: str = "left") -> Any:
    sequence = jnp.asarray(sequence)
    if sequence.ndim != 1:
        raise ValueError(
            "ops.searchsorted: sorted_sequence has one axis. "
            f"Received: an array of shape {sequence.shape}. Use ops.vectorized_map for several."
        )
    return jnp.searchsorted(sequence, values, side=side)


def _marked(function: Callable[..., Any]) -> Callable[..., Any]:
    """An index of NaN-skipping search, -1 where all elements are NaN."""

    def run(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = jnp.asarray(x)
        found = function(x, axis, keepdims=keepdims)
        return jnp.where(jnp.all(jnp.isnan(x), axis, keepdims=keepdims), -1, found)

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
        "fliplr": "x with the order along axis 1 reversed.",
        "flipud": "x with the order along axis 0 reversed.",
        "ravel": "All elements in one axis.",
        "corrcoef": "Pearson's correlations of the rows: [N, observations] -> [N, N].",
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
        "median": "The median over `axis`.",
        "nanargmax": (_marked(jnp.nanargmax), "Where the maximum is; -1 if all are NaN."),
        "nanargmin": (_marked(jnp.nanargmin), "Where the minimum is; -1 if all are NaN."),
        "nanmax": "The maximum over `axis` of what is not NaN.",
        "nanmean": "The mean over `axis` of what is not NaN.",
        "nanmedian": "The median over `axis` of what is not NaN.",
        "nanmin": "The minimum over `axis` of what is not NaN.",
        "nanprod": "The product over `axis`, NaN taken as 1.",
        "nanstd": "The standard deviation over `axis` of what is not NaN.",
        "nansum": "The sum over `axis`, NaN taken as 0.",
        "nanvar": "The variance over `axis` of what is not NaN.",
    },
    "x, axis=None, keepdims=False, initial=None": {
        "max": "The maximum over `axis`, and of `initial` if given.",
        "min": "The minimum over `axis`, and of `initial` if given.",
    },
    "x, axis=None, dtype=None": {
        "cumprod": "Products of all elements up to each one along `axis`.",
        "cumsum": "Sums of all elements up to each one along `axis`.",
        "nancumprod": "Products up to each element along `axis`, NaN taken as 1.",
        "nancumsum": "Sums up to each element along `axis`, NaN taken as 0.",
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
    "x, fill_value, dtype=None": {"full_like": "One value in the shape (and type) of x."},
    "start, stop=None, step=None, dtype=None": {
        "arange": "start, start + step... below `stop`; of one number: 0, 1...",
    },
    "N, M=None, k=0, dtype=None": {
        "eye": (_floats(jnp.eye), "A matrix [N, M or N] with ones on the k-th diagonal."),
        "tri": (_floats(jnp.tri), "A matrix [N, M or N] with ones on and below the k-th diagonal."),
    },
    "n, dtype=None": {"identity": (_floats(jnp.identity), "The identity matrix [n, n].")},
    "start, stop, num=50, endpoint=True, dtype=None, axis=0": {
        "geomspace": "`num` numbers from `start` to `stop`, of equal ratios.",
    },
    "start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0": {
        "logspace": "`num` numbers from base^start to base^stop, of equal ratios.",
    },
    "start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0": {
        "linspace": "`num` numbers from `start` to `stop`, of equal distances.",
    },
    "x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False": {
        "allclose": "Whether |x1 - x2| <= atol + rtol |x2| everywhere.",
        "isclose": "Whether |x1 - x2| <= atol + rtol |x2|, elementwise.",
    },
    "x1, x2, mode='valid'": {"correlate": "sum over n of x1[n + k] conj(x2[n]) for every shift k."},
    "x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None": {
        "cross": "The vector product of vectors of 3 (or 2) along an axis.",
    },
    "x1, x2, axes=2": {
        "tensordot": "Sums of products over the last `axes` of x1 and the first of x2, or pairs.",
    },
    "y, x=None, dx=1.0, axis=-1": {"trapezoid": "The integral of y along `axis`, by trapezoids."},
    "x, N=None, increasing=False": {
        "vander": "Powers of a vector as columns, the highest first: [N, powers].",
    },
    "x, decimals=0": {"round": "x rounded to that many decimals, halves to even."},
    "x, axis=None, keepdims=False, dtype=None": {"prod": "The product over `axis`."},
    "x, x_min, x_max": {"clip": "min(max(x, x_min), x_max)."},
    "x, nan=0.0, posinf=None, neginf=None": {"nan_to_num": "x, with numbers for NaN and infinity."},
    "x, k=0": {
        "diag": "The k-th diagonal of a matrix, or a matrix with that diagonal.",
        "diagflat": "A matrix whose k-th diagonal holds all elements of x.",
        "tril": "x with 0 above the k-th diagonal.",
        "triu": "x with 0 below the k-th diagonal.",
    },
    "x, offset=0, axis1=0, axis2=1": {
        "diagonal": "The diagonals of the matrices of two axes, on the last axis.",
        "trace": "The sums of the diagonals of the matrices of two axes.",
    },
    "x, axis=None": {
        "flip": "x with the order reversed along `axis` (None: all axes).",
        "squeeze": "x without its axes of size 1 (or without those of `axis`).",
        "count_nonzero": "How many elements over `axis` are not 0.",
    },
    "x, axis": {"expand_dims": "x with a new axis of size 1 at `axis`."},
    "x, shape": {"broadcast_to": "x repeated along axes of size 1, and new ones."},
    "x, newshape": {"reshape": "The same elements in another shape; one size may be -1."},
    "x, axes=None": {"transpose": "x with its axes in another order, reversed by default."},
    "x, source, destination": {"moveaxis": "x with axes moved to other places."},
    "x, axis1, axis2": {"swapaxes": "x with two axes exchanged."},
    "x, shift, axis=None": {"roll": "x shifted along `axis`, from its end round to its start."},
    "array, k=1, axes=(0, 1)": {
        "rot90": "A plane turned by k quarters, first axis towards second.",
    },
    "x, repeats, axis=None": {"repeat": "Elements `repeats` times each along `axis` (None: flat)."},
    "x, repeats": {"tile": "x repeated as a whole, so often along each axis."},
    "x, indices, axis=None": {
        "take": "The slices of x at `indices` along `axis`; NaN or the least integer outside.",
        "take_along_axis": "The element at each index along `axis`, one for every other place.",
    },
    "xs": {
        "dstack": "Arrays one behind another on axis 2.",
        "hstack": "Arrays side by side: on axis 1, vectors on axis 0.",
        "vstack": "Arrays on top of each other, on axis 0.",
    },
    "xs, axis=0": {"concatenate": "Arrays one behind another on `axis`."},
    "x, axis=0": {"stack": "Arrays of one shape as one, on a new axis."},
    "x1, x2, axis=None": {"append": "x1 and then x2 along `axis`; None: all elements in one axis."},
    "x, indices_or_sections, axis=0": {
        "array_split": "A list of parts, of sizes that may differ by one.",
        "split": "A list of parts: equal ones for a number, cut at indices for a list.",
    },
    "x, indices_or_sections": {
        "dsplit": "`split` along axis 2.",
        "hsplit": "`split` along axis 1 (of a vector: 0).",
        "vsplit": "`split` along axis 0.",
    },
    "indices, shape": {"unravel_index": "Flat indices of an array of that shape, axis by axis."},
    "x, axis=-1": {
        "argsort": "The indices that sort x along `axis`.",
        "sort": "x in ascending order along `axis`.",
    },
    "x, kth, axis=-1": {
        "argpartition": "Indices with that of the kth smallest at k, the smaller before it.",
    },
    "x, bins": {"digitize": (_digitize, "How many of the ascending `bins` are <= x, elementwise.")},
    "sorted_sequence, values, side='left'": {
        "searchsorted": (
            _searchsorted,
            "Where each value belongs into an ascending sequence: before equals, or after (right).",
        ),
    },
    "x1, x2, assume_unique=False, invert=False": {
        "isin": "Whether each element of x1 is anywhere in x2; `invert`: whether not.",
    },
    "condlist, choicelist, default=0": {
        "select": "The choice whose condition is the first to hold, elementwise.",
    },
    "x, q, axis=None, method='linear', keepdims=False": {
        "nanpercentile": "`percentile` of what is not NaN.",
        "nanquantile": "`quantile` of what is not NaN.",
        "percentile": "The values with q percent of x below, q in [0, 100].",
        "quantile": (
            jnp.quantile,
            "The values with a part q of x below, q in [0, 1], on a first axis; `method` of two "
            "neighbours: 'linear', 'lower', 'higher', 'midpoint', 'nearest'.",
        ),
    },
    "x, axis=None, weights=None": {"average": "sum(w x) / sum(w) over `axis`; w is 1 by default."},
    "a, n=1, axis=-1": {"diff": "Differences of neighbours along `axis`, taken n times."},
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
def view(x: Any, dtype: Any = None) -> Any:
    """The same bits read as another type; the last axis grows or shrinks with its size.

    >>> view(jnp.ones(1, "float32"), "int16").tolist()
    [0, 16256]
    """
    x = jnp.asarray(x)
    return x if dtype is None else x.view(dtype)


def _indices(x: KerasTensor) -> tuple[KerasTensor, ...]:
    return tuple(KerasTensor((None,), "int32") for _ in x.shape)


def _where_symbols(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """Indices for a condition alone; else the shape is known."""
    return _indices(condition) if x1 is None and x2 is None else None


@op(symbols=_indices)
def nonzero(x: Any) -> Any:
    """Where x is not 0: indices [N] for every axis. Not for compiled code.

    >>> [axis.tolist() for axis in nonzero([[0, 5], [7, 0]])]
    [[0, 1], [1, 0]]
    """
    known("nonzero", x)
    return jnp.nonzero(x)


@op(symbols=_where_symbols)
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2; `nonzero(condition)` without them.

    >>> where([True, False], 1, 2).tolist()
    [1, 2]
    """
    if x1 is not None and x2 is not None:
        return jnp.where(condition, x1, x2)
    if x1 is not None or x2 is not None:
        raise ValueError("ops.where: give both x1 and x2, or neither of them.")
    known("where", condition)
    return jnp.where(condition)


def _unique_symbols(
    x: Any, sorted: Any = True, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: int | None = None, size: int | None = None,
    fill_value: Any = None,
) -> Any:  # fmt: skip
    if size is not None:
        return None
    shape = [None] if axis is None else [*x.shape]
    shape[axis or 0] = None
    inverse = x.shape if axis is None else (x.shape[axis],)
    found = [KerasTensor(shape, x.dtype)]
    found += [KerasTensor((None,), "int32")] * return_index
    found += [KerasTensor(inverse, "int32")] * return_inverse
    found += [KerasTensor((None,), "int32")] * return_counts
    return tuple(found) if len(found) > 1 else found[0]


@op(symbols=_unique_symbols)
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements (or slices along `axis`) in ascending order, whatever `sorted` says.

    Args:
        return_index: also where each is first.
        return_inverse: also which of them each element of x is, in the shape of x.
        return_counts: also how often each is there.
        size: of the result, which compiled code needs: cut, or filled with `fill_value` (by
            default the smallest element).

    >>> [part.tolist() for part in unique([3, 1, 3], return_counts=True)]
    [[1, 3], [1, 2]]
    """
    if size is None:
        known("unique", x)
    return jnp.unique(
        jnp.asarray(tensor(x)), return_index, return_inverse, return_counts,
        axis=axis, size=size, fill_value=fill_value,
    )  # fmt: skip


@op
def histogram(x: Any, bins: int = 10, range: Any = None) -> Any:
    """How many elements are in each of `bins` equal cells, and the bins + 1 edges of these.

    `range` is (least, greatest), by default those of x; elements outside do not count, and the
    greatest is in the last cell.

    >>> [part.tolist() for part in histogram([1.0, 2.0, 2.0], bins=2)]
    [[1.0, 2.0], [1.0, 1.5, 2.0]]
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise TypeError(f"ops.histogram: bins is a whole number from 1. Received: bins={bins!r}")
    if range is not None and (len(range) != 2 or range[0] > range[1]):
        raise ValueError(
            f"ops.histogram: range is a pair (least, greatest). Received: range={range!r}"
        )
    return jnp.histogram(x, bins, range)


def _counts(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    dtype = "int32" if weights is None else weights.dtype
    return KerasTensor((*x.shape[:-1], None), dtype)


@op(symbols=_counts)
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each of 0, 1... is in x, or the sum of its weights: [N] or [B, N] -> [..., length].

    The length is that of the greatest number plus 1, and at least `minlength`; so this is not for
    compiled code.

    >>> bincount([0, 2, 2]).tolist()
    [1, 0, 2]
    """
    if sparse:
        raise ValueError("ops.bincount: sparse tensors are not supported. Use sparse=False.")
    known("bincount", x)
    x = jnp.asarray(x)
    # `max` is the operation here
    length = int(jnp.maximum(minlength, int(jnp.max(x)) + 1 if x.size else 0))
    count = lambda x, w: jnp.bincount(x, w, length=length)  # noqa: E731
    if x.ndim == 1:
        return count(x, weights)
    return jax.vmap(count)(x, None if weights is None else jnp.asarray(weights))


# What Keras lists in this module, and stands elsewhere.
__getattr__ = elsewhere(
    __name__, "bartlett blackman hamming hanning kaiser get_item vectorize slogdet"
)
__all__ = operations(globals())  # noqa: PLE0605
