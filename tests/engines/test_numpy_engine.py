"""Every primitive on the NumPy engine, against XLA and against what must hold by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from carnyx.engines import get_engine
from carnyx.engines.numpy import LOWERINGS
from carnyx.program.primitives import PRIMITIVES, verify
from carnyx.program.trace import Slot, trace

RNG = np.random.default_rng(0)
F = RNG.normal(size=(4, 6)).astype("float32")
G = RNG.normal(size=(4, 6)).astype("float32")
POSITIVE = np.abs(F) + 0.5
INSIDE = np.clip(F, -0.9, 0.9)
ODD = np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 1e-30], "float32")
I = RNG.integers(-20, 20, (4, 6)).astype("int32")  # noqa: E741
J = RNG.integers(-5, 5, (4, 6)).astype("int32")
W = RNG.integers(0, 2**32, (4, 6), dtype="uint32")
P = F > 0
Q = G > 0
EMPTY = np.zeros((0, 6), "float32")
IMAGE = RNG.normal(size=(2, 7, 8, 4)).astype("float32")
KERNEL = RNG.normal(size=(3, 2, 2, 6)).astype("float32")
HALF = jnp.asarray(F, jnp.bfloat16)
BATCH = RNG.normal(size=(2, 3, 3)).astype("float32")
SPD = (F @ F.T + 4 * np.eye(4)).astype("float32")


def conv(x: Any, k: Any, **options: Any) -> Any:
    dims = options.pop("dims", ("NHWC", "HWIO", "NHWC"))
    return lax.conv_general_dilated(x, k, dimension_numbers=dims, **options)


def parts(z: Any) -> Any:
    return lax.real(z), lax.imag(z)


def window(kind: Any, start: float, **options: Any) -> Callable[[Any], Any]:
    settings = {"window_strides": (2, 1), "padding": ((1, 0), (0, 2)), **options}
    return lambda x: lax.reduce_window(x, np.float32(start), kind, (2, 3), **settings)


def rebuilt(*factors: Any) -> Any:
    """The matrix of (U, s, V') or (eigenvectors, values): free of the vectors' signs."""
    if len(factors) == 3:
        return (factors[0] * factors[1][..., None, :]) @ factors[2]
    return (factors[0] * factors[1]) @ factors[0].T


def pool_gradient(x: Any, y: Any) -> Any:
    return jax.grad(lambda a: jnp.sum(window(lax.max, -np.inf)(a) ** 2))(jnp.round(x * 2) + 0 * y)


def pool_tangent(x: Any, y: Any) -> Any:
    return jax.jvp(window(lax.max, -np.inf), (x,), (y,))[1]


Row = tuple[str, Callable[..., Any], tuple[Any, ...]]
ONE: dict[str, Callable[[Any], Any]] = {
    "abs": lax.abs,
    "acos": lax.acos,
    "asin": lax.asin,
    "asinh": lax.asinh,
    "atan": lax.atan,
    "atanh": lax.atanh,
    "cbrt": lax.cbrt,
    "ceil": lax.ceil,
    "cos": lax.cos,
    "cosh": lax.cosh,
    "digamma": lax.digamma,
    "erf": lax.erf,
    "erf_inv": lax.erf_inv,
    "erfc": lax.erfc,
    "exp": lax.exp,
    "exp2": lax.exp2,
    "expm1": lax.expm1,
    "floor": lax.floor,
    "is_finite": lax.is_finite,
    "lgamma": lax.lgamma,
    "log1p": lax.log1p,
    "logistic": lax.logistic,
    "neg": lax.neg,
    "sign": lax.sign,
    "sin": lax.sin,
    "sinh": lax.sinh,
    "square": lax.square,
    "tan": lax.tan,
    "tanh": lax.tanh,
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": lax.add,
    "atan2": lax.atan2,
    "div": lax.div,
    "eq": lax.eq,
    "ge": lax.ge,
    "gt": lax.gt,
    "le": lax.le,
    "lt": lax.lt,
    "max": lax.max,
    "min": lax.min,
    "mul": lax.mul,
    "ne": lax.ne,
    "nextafter": lax.nextafter,
    "rem": lax.rem,
    "sub": lax.sub,
}
ROWS: list[Row] = [
    *((name, fn, (INSIDE,)) for name, fn in ONE.items()),
    *((name, fn, (F, G)) for name, fn in TWO.items()),
    *((n, TWO[n], (ODD, ODD[::-1].copy())) for n in ("add", "max", "min", "mul", "eq", "lt")),
    *((n, TWO[n], (I, np.where(J == 0, 3, J))) for n in ("add", "sub", "mul", "div", "rem", "max")),
    *((n, TWO[n], (HALF, HALF * 0.5)) for n in ("add", "mul", "div", "max")),
    ("add", lax.add, (EMPTY, EMPTY)),
    ("acosh", lax.acosh, (POSITIVE + 1,)),
    ("log", lax.log, (POSITIVE,)),
    ("sqrt", lax.sqrt, (POSITIVE,)),
    ("rsqrt", lax.rsqrt, (POSITIVE,)),
    ("pow", lax.pow, (POSITIVE, G)),
    ("integer_pow", lambda x: lax.integer_pow(x, 3), (F,)),
    ("integer_pow", lambda x: lax.integer_pow(x, -2), (F,)),
    ("and", lax.bitwise_and, (I, J)),
    ("or", lax.bitwise_or, (P, Q)),
    ("xor", lax.bitwise_xor, (W, W[::-1].copy())),
    ("not", lax.bitwise_not, (I,)),
    ("not", lax.bitwise_not, (P,)),
    ("shift_left", lax.shift_left, (W, (W % 40).astype("uint32"))),
    ("shift_right_logical", lax.shift_right_logical, (I, np.abs(J))),
    ("shift_right_arithmetic", lax.shift_right_arithmetic, (I, np.abs(J))),
    ("population_count", lax.population_count, (W,)),
    ("round", lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), (F * 2,)),
    ("round", lambda x: lax.round(x * 0.5), (I.astype("float32"),)),
    ("reduce_precision", lambda x: lax.reduce_precision(x, 8, 7), (F,)),
    ("clamp", lambda x: lax.clamp(-0.5, x, 0.5), (F,)),
    ("select_n", lax.select_n, (P, F, G)),
    ("select_n", lax.select_n, (np.abs(J) % 3, F, G, F + G)),
    ("convert_element_type", lambda x: x.astype(jnp.int32), (F * 3,)),
    ("convert_element_type", lambda x: x.astype(jnp.int8), (ODD * 1e3,)),
    ("convert_element_type", lambda x: x.astype(jnp.bfloat16), (F,)),
    ("convert_element_type", lambda x: x.astype(bool), (I,)),
    ("bitcast_convert_type", lambda x: lax.bitcast_convert_type(x, jnp.uint32), (F,)),
    ("bitcast_convert_type", lambda x: lax.bitcast_convert_type(x, jnp.uint16), (HALF,)),
    ("optimization_barrier", lambda x: lax.optimization_barrier(x) * 2, (F,)),
    ("argmax", lambda x: lax.argmax(x, 1, jnp.int32), (np.round(F),)),
    ("argmin", lambda x: lax.argmin(x, 0, jnp.int32), (np.round(F),)),
    ("argmax", lambda x: lax.argmax(x, 0, jnp.int32), (ODD,)),
    ("cumsum", lambda x: lax.cumsum(x, 1), (F,)),
    ("cumprod", lambda x: lax.cumprod(x, 0, reverse=True), (F,)),
    ("cummax", lambda x: lax.cummax(x, 1), (F,)),
    ("cummin", lambda x: lax.cummin(x, 1, reverse=True), (F,)),
    ("cumlogsumexp", lambda x: lax.cumlogsumexp(x, 1), (F,)),
    ("reduce_sum", lambda x: jnp.sum(x, (0, 1)), (F,)),
    ("reduce_sum", lambda x: jnp.sum(x, 0), (HALF,)),
    ("reduce_sum", lambda x: jnp.sum(x, 0), (EMPTY,)),
    ("reduce_max", lambda x: jnp.max(x, 1), (F,)),
    ("reduce_min", lambda x: jnp.min(x, 0), (I,)),
    ("reduce_prod", lambda x: jnp.prod(x, 1), (F,)),
    ("reduce_and", lambda x: jnp.all(x, 1), (P,)),
    ("reduce_or", lambda x: jnp.any(x, 0), (P,)),
    ("reduce_xor", lambda x: lax.reduce_xor(x, (1,)), (P,)),
    ("reduce_window_max", window(lax.max, -np.inf), (F,)),
    ("reduce_window_min", window(lax.min, np.inf), (F,)),
    ("reduce_window_sum", window(lax.add, 0.0, window_dilation=(1, 2)), (F,)),
    ("select_and_scatter_add", pool_gradient, (F, G)),
    ("select_and_gather_add", pool_tangent, (F, G)),
    ("broadcast_in_dim", lambda x: lax.broadcast_in_dim(x, (2, 4, 3, 6), (1, 3)), (F,)),
    ("concatenate", lambda x, y: lax.concatenate([x, y, x], 1), (F, G)),
    ("dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i[0, 0], i[0, 1]), (2, 3)), (F, I)),
    (
        "dynamic_update_slice",
        lambda x, y, i: lax.dynamic_update_slice(x, y[:2, :3], (i[0, 0], i[1, 1])),
        (F, G, I),
    ),
    ("iota", lambda x: x + lax.broadcasted_iota(jnp.float32, (4, 6), 1), (F,)),
    ("pad", lambda x: lax.pad(x, 2.0, ((1, -1, 2), (-2, 3, 0))), (F,)),
    ("reshape", lambda x: x.reshape(3, 8), (F,)),
    ("rev", lambda x: lax.rev(x, (1,)), (F,)),
    ("slice", lambda x: lax.slice(x, (1, 0), (4, 6), (2, 3)), (F,)),
    ("split", lambda x: jnp.split(x, [1, 4], axis=1), (F,)),
    ("squeeze", lambda x: lax.squeeze(lax.expand_dims(x, (1,)), (1,)) if x.ndim else x, (F[:1],)),
    ("squeeze", lambda x: lax.squeeze(x, (0,)), (F[:1],)),
    ("stack", lambda x, y: jnp.stack([x, y], 1), (F, G)),
    ("tile", lambda x: jnp.tile(x, (2, 3)), (F,)),
    ("transpose", lambda x: x.T, (F,)),
    ("sort", lambda x, y: lax.sort((jnp.round(x), y), dimension=1, num_keys=1), (F, G)),
    ("sort", lambda x, y: lax.sort((x % 3, y % 3, x), dimension=0, num_keys=2), (I, J)),
    ("top_k", lambda x: lax.top_k(x, 3), (F,)),
    ("gather", lambda x, i: x[i], (F, I[0] % 4)),
    ("gather", lambda x, i: x.at[i].get(mode="fill", fill_value=7.0), (F, I[0])),
    ("gather", lambda x, i: jnp.take(x, i, axis=1, mode="clip"), (F, I)),
    ("gather", lambda x, i: jnp.take_along_axis(x, i, 1), (F, np.abs(I) % 6)),
    ("gather", lambda x, i: x[i, :, i + 1], (IMAGE, np.abs(J[0]) % 2)),
    ("scatter", lambda x, y: x.at[jnp.array([2, 0])].set(y[:2]), (F, G)),
    ("scatter-add", lambda x, i: x.at[i].add(1.0), (F, I[0])),
    ("scatter-add", lambda x, i: x.at[:, i, 1:3].add(2.0), (IMAGE, np.abs(J[0]))),
    ("scatter-max", lambda x, y: x.at[jnp.array([1, 1])].max(y[:2]), (F, G)),
    ("scatter-min", lambda x, y: x.at[jnp.array([1, 1])].min(y[:2]), (F, G)),
    ("scatter-mul", lambda x, y: x.at[jnp.array([1, 3])].multiply(y[:2]), (F, G)),
    ("dot_general", lambda x, y: x @ y.T, (F, G)),
    ("dot_general", lambda x, y: jnp.einsum("bij,bkj->bik", x, y), (IMAGE[0], IMAGE[1])),
    ("dot_general", lambda x, y: x @ y.T, (HALF, HALF)),
    ("dot_general", lambda x, y: x.T @ y, (EMPTY, EMPTY)),
    (
        "conv_general_dilated",
        lambda x, k: conv(x[..., :2], k, window_strides=(1, 2), padding="SAME"),
        (IMAGE, KERNEL),
    ),
    (
        "conv_general_dilated",
        lambda x, k: conv(
            x, k, window_strides=(1, 1), padding=((2, 0), (-1, 3)), rhs_dilation=(2, 1),
            lhs_dilation=(1, 2), feature_group_count=2,
        ),
        (IMAGE, KERNEL),
    ),
    (
        "conv_general_dilated",
        lambda x, k: jax.grad(
            lambda b: jnp.sum(conv(x[..., :2], b, window_strides=(2, 1), padding="SAME") ** 2)
        )(k),
        (IMAGE, KERNEL),
    ),
    ("complex", lambda x, y: parts(lax.complex(x, y) * lax.complex(y, x)), (F, G)),
    ("complex", lambda x: parts(lax.complex(x, x[::-1])), (ODD,)),
    ("conj", lambda x, y: parts(lax.conj(lax.complex(x, y))), (F, G)),
    ("real", lambda x, y: lax.real(lax.complex(x, y)), (F, G)),
    ("imag", lambda x, y: lax.imag(lax.complex(x, y)), (F, G)),
    ("fft", lambda x, y: parts(jnp.fft.fft(lax.complex(x, y))), (F, G)),
    ("fft", lambda x, y: parts(jnp.fft.ifft2(lax.complex(x, y))), (F, G)),
    ("fft", lambda x: parts(jnp.fft.rfft(x, 5)), (F,)),
    ("fft", lambda x, y: jnp.fft.irfft(lax.complex(x, y), 9), (F, G)),
    ("fft", lambda x: jax.grad(lambda a: jnp.sum(jnp.abs(jnp.fft.rfft(a)) ** 3))(x), (F,)),
    ("qr", lambda x: jnp.linalg.qr(x), (F,)),
    ("svd", lambda x: jnp.linalg.svd(x, compute_uv=False), (F,)),
    ("svd", lambda x: rebuilt(*jnp.linalg.svd(x, full_matrices=False)), (BATCH,)),
    ("eigh", lambda x: lax.linalg.eigh(x)[1], (SPD,)),
    ("eigh", lambda x: rebuilt(*lax.linalg.eigh(x, lower=False)), (SPD,)),
    ("eig", lambda x: jnp.sum(jnp.linalg.eig(x)[0] ** 3), (F[:, :4],)),
    ("eig", lambda x: jnp.prod(lax.linalg.eig(x)[0], -1), (BATCH,)),
    ("lu", lambda x: lax.linalg.lu(x), (BATCH,)),
    ("lu", lambda x: lax.linalg.lu(x), (F,)),
    ("bessel_i0e", lax.bessel_i0e, (F,)),
    ("bessel_i1e", lax.bessel_i1e, (F,)),
    ("complex", lax.complex, (F, G)),
    ("conj", lambda x, y: lax.conj(lax.complex(x, y)), (F, G)),
    ("real", lambda x, y: lax.real(lax.complex(x, y) ** 2), (F, G)),
    ("imag", lambda x, y: lax.imag(lax.complex(x, y) ** 2), (F, G)),
    ("cholesky", lambda x: lax.linalg.cholesky(x, symmetrize_input=False), (SPD,)),
    (
        "triangular_solve",
        lambda a, b: lax.linalg.triangular_solve(
            a, b, left_side=True, lower=True, transpose_a=True
        ),
        (np.tril(SPD), F),
    ),
    ("scan", lambda x: lax.scan(lambda c, a: (c * 0.5 + a, c), x[0], x, reverse=True), (F,)),
    (
        "while",
        lambda x: lax.while_loop(lambda c: jnp.sum(c) < 50, lambda c: c * 2, jnp.abs(x)),
        (F,),
    ),
    (  # each line until its own condition fails
        "while",
        jax.vmap(lambda x: lax.while_loop(lambda c: jnp.sum(c) < 50, lambda c: c * 2, jnp.abs(x))),
        (F * np.array([[1], [3], [9], [27]], "float32"),),
    ),
    ("cond", lambda x, i: lax.switch(i[0, 0], [jnp.sin, jnp.cos, jnp.exp], x), (F, I)),
]  # fmt: skip


def program(fn: Callable[..., Any], operands: tuple[Any, ...]) -> Any:
    slots = [Slot(f"x{i}", tuple(a.shape), str(a.dtype), "data") for i, a in enumerate(operands)]

    def outputs(avals: Any) -> list[Slot]:
        return [Slot(f"y{i}", a.shape, str(a.dtype), "output") for i, a in enumerate(avals)]

    return trace("row", lambda values: jax.tree.leaves(fn(*values)), slots, outputs)


def primitives_of(made: Any) -> set[str]:
    return {equation.primitive.name for equation, _ in made.equations()}


@pytest.mark.parametrize(
    ("name", "fn", "operands"), ROWS, ids=[f"{r[0]}-{i}" for i, r in enumerate(ROWS)]
)
def test_numpy_means_what_xla_does(name: str, fn: Any, operands: tuple[Any, ...]) -> None:
    made = program(fn, operands)
    assert name in primitives_of(made) or name == "squeeze"
    verify(made)
    ours = get_engine("numpy").compile(made)([np.asarray(a) for a in operands])
    theirs = get_engine("xla").compile(made)(list(operands))
    for a, b in zip(ours, theirs, strict=True):
        b = np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        if a.dtype.kind in "biu":
            np.testing.assert_array_equal(a, b)
        else:  # libraries differ by a few units in the last place; bfloat16 has 8 bits
            half = a.dtype.name == "bfloat16"
            rtol, atol = (8e-3, 8e-3) if half else (2e-5, 2e-5)
            wide = "c16" if a.dtype.kind == "c" else "f8"
            np.testing.assert_allclose(a.astype(wide), b.astype(wide), rtol=rtol, atol=atol)


def test_every_primitive_has_a_lowering_or_a_limitation() -> None:
    limited = {item.primitive for item in get_engine("numpy").limitations}
    assert set(PRIMITIVES) == set(LOWERINGS) | limited


def test_most_primitives_have_a_row() -> None:
    """What no row holds is named here, so that the list cannot grow unseen."""
    covered = {row[0] for row in ROWS}
    rest = set(PRIMITIVES) - covered
    assert rest <= {"jit", "unstack"}, rest


def test_verify_refuses_what_is_not_in_the_list() -> None:
    with pytest.raises(ValueError, match=r"'schur'.*not in the list"):
        program(lambda x: lax.linalg.schur(x)[0], (SPD,))


def test_what_is_expanded_keeps_its_meaning() -> None:
    """Searching compares in the total order of floats; code for one platform is no Program's."""
    line, sought = np.sort(np.append(F, [np.nan, -np.inf]).astype("float32")), np.append(G, ODD)
    for side in ("left", "right"):
        made = program(lambda a, v, side=side: jnp.searchsorted(a, v, side=side), (line, sought))
        found = get_engine("numpy").compile(made)([line, sought])[0]
        np.testing.assert_array_equal(found, jnp.searchsorted(line, sought, side=side))
    made = program(jnp.corrcoef, (F,))
    np.testing.assert_allclose(
        get_engine("numpy").compile(made)([F])[0], np.corrcoef(F), rtol=1e-5, atol=1e-6
    )


def test_a_missing_lowering_is_an_error_before_anything_runs(monkeypatch) -> None:
    monkeypatch.delitem(LOWERINGS, "sin")
    with pytest.raises(NotImplementedError, match="numpy engine has no lowering for 'sin'"):
        get_engine("numpy").compile(program(jnp.sin, (F,)))
