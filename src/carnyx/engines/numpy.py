"""The NumPy engine: the definition of every primitive, plain and readable, run one by one.

Nothing is compiled and no JAX function computes. Elementwise functions, reductions, shapes and
control flow are here; indexing, windows, products and factorisations, which need more words, are
in `numpy_lowerings.py`. Half types compute in float32 and are rounded at the end of each equation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import Literal
from scipy import special

from carnyx.engines import numpy_lowerings as more
from carnyx.engines.base import Compiled, Engine, UnsupportedError
from carnyx.program.trace import Program

HALVES = ("bfloat16", "float16")
Lowering = Callable[..., Any]


class NumpyEngine(Engine):
    """Interprets Programs with NumPy: the reference that other engines are tested against."""

    name = "numpy"

    def put(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def get(self, native: Any) -> np.ndarray:
        return native

    def compile(self, program: Program, donate: Sequence[str] = ()) -> Compiled:
        closed, names = program.jaxpr, {eq.primitive.name for eq, _ in program.equations()}
        for name in names - set(LOWERINGS):
            for limitation in self.limitations:
                if limitation.primitive == name:
                    raise UnsupportedError(limitation)
            raise NotImplementedError(f"The numpy engine has no lowering for {name!r}.")

        def run(values: Sequence[Any]) -> list[Any]:
            with np.errstate(all="ignore"):  # infinities and NaN are results, as IEEE 754 says
                return interpret(closed.jaxpr, closed.consts, values)

        return run


def interpret(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    """Runs the equations in order; a value is dropped after its last use."""
    values: dict[Any, np.ndarray] = {}
    last: dict[Any, int] = {
        atom: index
        for index, equation in enumerate(jaxpr.eqns)
        for atom in equation.invars
        if not isinstance(atom, Literal)
    }
    kept = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}

    def read(atom: Any) -> np.ndarray:
        if isinstance(atom, Literal):
            aval: Any = atom.aval
            return np.asarray(atom.val, aval.dtype)
        return values[atom]

    for variable, value in zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True):
        values[variable] = np.asarray(value)
    for index, equation in enumerate(jaxpr.eqns):
        results = apply(equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
        for atom in equation.invars:
            if not isinstance(atom, Literal) and last[atom] == index and atom not in kept:
                values.pop(atom, None)
    return [read(atom) for atom in jaxpr.outvars]


def apply(equation: Any, operands: list[np.ndarray]) -> list[np.ndarray]:
    """One equation's results; their shapes and types are the equation's own."""
    name, params = equation.primitive.name, equation.params
    avals = [v.aval for v in equation.outvars]
    if name not in CONTROL and name not in BITWISE:
        operands = [x.astype(np.float32) if x.dtype.name in HALVES else x for x in operands]
    out = LOWERINGS[name](avals, params, *operands)
    results = list(out) if equation.primitive.multiple_results else [out]
    checked = []
    for value, aval in zip(results, avals, strict=True):
        value = np.asarray(value)
        if value.dtype != aval.dtype and (aval.dtype.name in HALVES or name in LOOSE):
            value = value.astype(aval.dtype)
        assert value.shape == aval.shape and value.dtype == aval.dtype, (
            f"{name}: {value.dtype}{value.shape} instead of {aval.dtype}{aval.shape}"
        )
        checked.append(value)
    return checked


def _plain(function: Callable[..., Any]) -> Lowering:
    """A lowering of a function of the operands alone."""
    return lambda avals, params, *operands: function(*operands)


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if np.issubdtype(x.dtype, np.integer):  # towards zero; by zero: all bits set, as XLA does
        safe = np.where(y == 0, 1, y).astype(x.dtype)
        quotient = (
            np.trunc(x.astype(object) / safe.astype(object)) if x.dtype.itemsize == 8 else None
        )
        if quotient is None:
            quotient = np.trunc(x.astype(np.float64) / safe.astype(np.float64))
        return np.where(y == 0, np.asarray(-1).astype(x.dtype), quotient.astype(x.dtype))
    return np.divide(x, y)


def _complex(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = np.empty(np.broadcast_shapes(x.shape, y.shape), np.result_type(x, np.complex64))
    z.real, z.imag = x, y  # x + 1j y would be NaN where y is infinite
    return z


def _remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if np.issubdtype(x.dtype, np.integer):
        return np.where(y == 0, x, np.fmod(x, np.where(y == 0, 1, y))).astype(x.dtype)
    return np.fmod(x, y)


def _shift(x: np.ndarray, by: np.ndarray, how: str) -> np.ndarray:
    bits = x.dtype.itemsize * 8
    unsigned = np.dtype(f"uint{bits}")
    amount = by.astype(unsigned)
    inside = amount < bits
    amount = np.where(inside, amount, 0).astype(unsigned)
    if how == "arithmetic":
        full = np.where(inside, amount, bits - 1).astype(x.dtype)
        return np.right_shift(x, full)
    raw = x.astype(unsigned)
    moved = np.left_shift(raw, amount) if how == "left" else np.right_shift(raw, amount)
    return np.where(inside, moved, 0).astype(unsigned).astype(x.dtype)


def _round(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    if int(params["rounding_method"]) == 1:
        return np.rint(x)
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.sign(x), whole).astype(x.dtype)


def _convert(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    target = np.dtype(params["new_dtype"])
    if target.kind in "iu" and x.dtype.kind == "f":  # out of range: the nearest; NaN: zero
        info = np.iinfo(target)
        wide = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0, posinf=np.inf, neginf=-np.inf)
        low, high = wide <= info.min, wide >= info.max
        inner = np.where(low | high, 0, wide).astype(target)
        return np.where(low, info.min, np.where(high, info.max, inner)).astype(target)
    if target == np.bool_:
        return x != 0
    return x.astype(target)


def _bitcast(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    target = np.dtype(params["new_dtype"])
    x = np.ascontiguousarray(x)
    if target.itemsize == x.dtype.itemsize:
        return x.view(target).reshape(x.shape)
    if target.itemsize < x.dtype.itemsize:
        ratio = x.dtype.itemsize // target.itemsize
        return x.reshape(*x.shape, 1).view(target).reshape(*x.shape, ratio)
    return x.view(target).reshape(x.shape[:-1])


def _select(which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    if len(cases) == 1:
        return cases[0]
    if which.dtype == np.bool_:
        return np.where(which, cases[1], cases[0])
    return np.choose(np.broadcast_to(which, cases[0].shape), cases)


def _integer_pow(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    y = params["y"]
    power = np.ones_like(x)
    for _ in range(abs(y)):
        power = power * x
    return power if y >= 0 else np.asarray(1, x.dtype) / power


def _logical(bitwise: Any, logical: Any) -> Lowering:
    return _plain(lambda *a: logical(*a) if a[0].dtype == np.bool_ else bitwise(*a))


def _erf_inv(x: np.ndarray) -> np.ndarray:
    return special.erfinv(x.astype(np.float64)).astype(x.dtype)


def _logistic(x: np.ndarray) -> np.ndarray:
    return special.expit(x)


def _reduce_precision(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    """Rounds the significand to `mantissa_bits`, half to even, and overflows like the type."""
    if x.dtype != np.float32:
        raise NotImplementedError("reduce_precision is defined for float32 here.")
    bits = x.view(np.uint32)
    dropped = 23 - params["mantissa_bits"]
    if dropped > 0:
        odd = (bits >> np.uint32(dropped)) & np.uint32(1)
        half = np.uint32((1 << (dropped - 1)) - 1)
        bits = (bits + half + odd) & np.uint32(~((1 << dropped) - 1) & 0xFFFFFFFF)
    out = np.where(np.isfinite(x), bits.view(np.float32), x)
    greatest = 2.0 ** (2 ** (params["exponent_bits"] - 1))
    return np.where(np.abs(out) >= greatest, np.sign(out) * np.inf, out).astype(np.float32)


ELEMENTWISE: dict[str, Lowering] = {
    name: _plain(function)
    for name, function in {
        "abs": np.abs,
        "acos": np.arccos,
        "acosh": np.arccosh,
        "add": np.add,
        "asin": np.arcsin,
        "asinh": np.arcsinh,
        "atan": np.arctan,
        "atan2": np.arctan2,
        "atanh": np.arctanh,
        "bessel_i0e": special.i0e,
        "bessel_i1e": special.i1e,
        "cbrt": np.cbrt,
        "ceil": np.ceil,
        "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
        "complex": _complex,
        "conj": np.conj,
        "cos": np.cos,
        "cosh": np.cosh,
        "digamma": special.digamma,
        "div": _divide,
        "eq": np.equal,
        "erf": special.erf,
        "erf_inv": _erf_inv,
        "erfc": special.erfc,
        "exp": np.exp,
        "exp2": np.exp2,
        "expm1": np.expm1,
        "floor": np.floor,
        "ge": np.greater_equal,
        "gt": np.greater,
        "imag": np.imag,
        "is_finite": np.isfinite,
        "le": np.less_equal,
        "lgamma": special.gammaln,
        "log": np.log,
        "log1p": np.log1p,
        "logistic": _logistic,
        "lt": np.less,
        "max": np.maximum,
        "min": np.minimum,
        "mul": np.multiply,
        "ne": np.not_equal,
        "neg": np.negative,
        "nextafter": np.nextafter,
        "pow": lambda x, y: np.power(x, y.astype(x.dtype)),
        "real": np.real,
        "rem": _remainder,
        "rsqrt": lambda x: np.asarray(1, x.dtype) / np.sqrt(x),
        "select_n": _select,
        "shift_left": lambda x, y: _shift(x, y, "left"),
        "shift_right_arithmetic": lambda x, y: _shift(x, y, "arithmetic"),
        "shift_right_logical": lambda x, y: _shift(x, y, "logical"),
        "sign": np.sign,
        "sin": np.sin,
        "sinh": np.sinh,
        "sqrt": np.sqrt,
        "square": np.square,
        "sub": np.subtract,
        "tan": np.tan,
        "tanh": np.tanh,
        "population_count": lambda x: np.bitwise_count(x),
    }.items()
}
ELEMENTWISE |= {
    "and": _logical(np.bitwise_and, np.logical_and),
    "or": _logical(np.bitwise_or, np.logical_or),
    "xor": _logical(np.bitwise_xor, np.logical_xor),
    "not": _logical(np.bitwise_not, np.logical_not),
    "convert_element_type": _convert,
    "bitcast_convert_type": _bitcast,
    "integer_pow": _integer_pow,
    "round": _round,
    "reduce_precision": _reduce_precision,
    "optimization_barrier": lambda avals, params, *operands: operands,
}


# ---- reductions


def _reduce(function: Any, **keywords: Any) -> Lowering:
    return lambda avals, params, x: function(x, axis=tuple(params["axes"]), **keywords)


def _sum(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    return np.sum(x, axis=tuple(params["axes"]), dtype=x.dtype)


def _argument(function: Any) -> Lowering:
    def lowering(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
        (axis,) = params["axes"]
        return function(x, axis=axis).astype(params["index_dtype"])

    return lowering


def _cumulative(function: Any) -> Lowering:
    def lowering(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
        axis = params["axis"]
        if params["reverse"]:
            return np.flip(function(np.flip(x, axis), axis), axis)
        return function(x, axis)

    return lowering


def _extreme(function: Any, start: int) -> Lowering:
    """max and min along axes; of nothing: the least, or the greatest, number of the type."""

    def lowering(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
        if x.size:
            return function(x, axis=tuple(params["axes"]))
        info = np.finfo(x.dtype) if x.dtype.kind == "f" else np.iinfo(x.dtype)
        edge = (-np.inf, np.inf) if x.dtype.kind == "f" else (info.min, info.max)
        return np.full(avals[0].shape, edge[start], x.dtype)

    return lowering


REDUCTIONS: dict[str, Lowering] = {
    "argmax": _argument(np.argmax),
    "argmin": _argument(np.argmin),
    "cumsum": _cumulative(lambda x, axis: np.cumsum(x, axis, dtype=x.dtype)),
    "cumprod": _cumulative(lambda x, axis: np.cumprod(x, axis, dtype=x.dtype)),
    "cummax": _cumulative(np.maximum.accumulate),
    "cummin": _cumulative(np.minimum.accumulate),
    "cumlogsumexp": _cumulative(np.logaddexp.accumulate),
    "reduce_sum": _sum,
    "reduce_max": _extreme(np.max, 0),
    "reduce_min": _extreme(np.min, 1),
    "reduce_prod": lambda avals, params, x: np.prod(x, axis=tuple(params["axes"]), dtype=x.dtype),
    "reduce_and": _reduce(np.all),
    "reduce_or": _reduce(np.any),
    "reduce_xor": _reduce(np.logical_xor.reduce),
}


# ---- shapes


def _broadcast(avals: Any, params: Any, x: np.ndarray, *_: Any) -> np.ndarray:
    shape, places = params["shape"], params["broadcast_dimensions"]
    inner = [1] * len(shape)
    for size, place in zip(x.shape, places, strict=True):
        inner[place] = size
    return np.broadcast_to(x.reshape(inner), shape)


def _slice(avals: Any, params: Any, x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * x.ndim
    parts = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return x[tuple(slice(*part) for part in parts)]


def _starts(x: np.ndarray, sizes: Sequence[int], starts: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """Parts of those sizes, moved inside where they would stick out."""
    return tuple(
        slice(a, a + n)
        for n, a in (
            (n, min(max(int(s), 0), full - n))
            for n, s, full in zip(sizes, starts, x.shape, strict=True)
        )
    )


def _dynamic_slice(avals: Any, params: Any, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    return x[_starts(x, params["slice_sizes"], starts)]


def _dynamic_update(
    avals: Any, params: Any, x: np.ndarray, update: np.ndarray, *starts: np.ndarray
) -> np.ndarray:
    out = x.copy()
    out[_starts(x, update.shape, starts)] = update
    return out


def _split(avals: Any, params: Any, x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(params["sizes"])[:-1], axis=params["axis"])


def _iota(avals: Any, params: Any) -> np.ndarray:
    shape, axis = params["shape"], params["dimension"]
    inner = [n if i == axis else 1 for i, n in enumerate(shape)]
    line = np.arange(shape[axis]).astype(params["dtype"])
    return np.broadcast_to(line.reshape(inner), shape)


SHAPES: dict[str, Lowering] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda avals, params, *xs: np.concatenate(xs, axis=params["dimension"]),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "iota": _iota,
    "pad": more.pad,
    "reshape": lambda avals, params, x: x.reshape(params["new_sizes"]),
    "rev": lambda avals, params, x: np.flip(x, tuple(params["dimensions"])),
    "slice": _slice,
    "split": _split,
    "squeeze": lambda avals, params, x: np.squeeze(x, tuple(params["dimensions"])),
    "stack": lambda avals, params, *xs: np.stack(xs, axis=params["axis"]),
    "tile": lambda avals, params, x: np.tile(x, params["reps"]),
    "transpose": lambda avals, params, x: np.transpose(x, params["permutation"]),
    "unstack": lambda avals, params, x: list(np.moveaxis(x, params["axis"], 0)),
}


# ---- control flow


def _body(closed: Any, values: Sequence[Any]) -> list[np.ndarray]:
    return interpret(closed.jaxpr, closed.consts, values)


def _while(avals: Any, params: Any, *operands: np.ndarray) -> list[np.ndarray]:
    n, m = params["cond_nconsts"], params["body_nconsts"]
    test, constants, carried = operands[:n], operands[n : n + m], list(operands[n + m :])
    while (going := _body(params["cond_jaxpr"], [*test, *carried])[0]).any():
        new = _body(params["body_jaxpr"], [*constants, *carried])
        # under vmap there is a condition a line: lines that have ended stay
        masks = [going.reshape(going.shape + (1,) * (x.ndim - going.ndim)) for x in new]
        carried = [np.where(*line) for line in zip(masks, new, carried, strict=True)]
    return carried


def _scan(avals: Any, params: Any, *operands: np.ndarray) -> list[np.ndarray]:
    n, m, length = params["num_consts"], params["num_carry"], params["length"]
    constants, carried, lines = operands[:n], list(operands[n : n + m]), operands[n + m :]
    stacked = [np.zeros(a.shape, a.dtype) for a in avals[m:]]
    steps = reversed(range(length)) if params["reverse"] else range(length)
    for i in steps:
        out = _body(params["jaxpr"], [*constants, *carried, *(x[i] for x in lines)])
        carried = out[:m]
        for place, value in zip(stacked, out[m:], strict=True):
            place[i] = value
    return [*carried, *stacked]


def _cond(avals: Any, params: Any, index: np.ndarray, *operands: np.ndarray) -> list[np.ndarray]:
    branches = params["branches"]
    return _body(branches[min(max(int(index), 0), len(branches) - 1)], operands)


CONTROL: dict[str, Lowering] = {
    "cond": _cond,
    "jit": lambda avals, params, *operands: _body(params["jaxpr"], operands),
    "scan": _scan,
    "while": _while,
}
BITWISE = ("bitcast_convert_type",)  # half types keep their bits here
LOOSE = (
    "population_count",
    "conj",
    "eig",
    "lgamma",
    "digamma",
    "erf",
    "erfc",
    "logistic",
)  # SciPy may widen

LOWERINGS: dict[str, Lowering] = {
    **ELEMENTWISE,
    **REDUCTIONS,
    **SHAPES,
    **CONTROL,
    **more.LOWERINGS,
}
