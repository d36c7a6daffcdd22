"""The C++ kernels against NumPy loops of the formulas, for each set of instructions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun
from scipy.special import expit

import carnyx
from carnyx import layers
from carnyx.engines import native
from carnyx.engines.base import Limitation
from carnyx.ops import recurrent
from carnyx.optimizers.rules import _adam
from carnyx.program.canonical import canonicalize

NOT_BUILT = Limitation(
    "xla", "native kernels", "not built here", "There was no C++ compiler at the installation."
)
pytestmark = pytest.mark.skipif(native.library() is None, reason=str(NOT_BUILT))

RNG = np.random.default_rng(2)
CALL = native._call


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    global RNG
    RNG = np.random.default_rng(2)


def operands(steps: int, rows: int, inputs: int, units: int, masked: bool = False) -> list[Any]:
    """x, h, c, W, U, b, and perhaps a mask; weights of about the size that initializers give."""
    shapes = (steps, rows, inputs), (rows, units), (rows, units)
    weights = (inputs, 4 * units), (units, 4 * units), (4 * units,)
    made = [RNG.normal(size=shape) for shape in shapes]
    made += [RNG.normal(size=shape) / units**0.5 for shape in weights]
    given: list[Any] = [array.astype("float32") for array in made]
    return [*given, RNG.random((steps, rows)) < 0.6] if masked else given


def loop(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, mask: Any = None) -> tuple[Any, Any]:
    """(h of every step, the last c) in float64, step by step."""
    x, h, c, w, u, b = (np.asarray(a, "float64") for a in (x, h, c, w, u, b))
    hidden = []
    for t in range(len(x)):
        i, f, g, o = np.split(x[t] @ w + h @ u + b, 4, axis=-1)
        i, f, o = map(expit, (i, f, o))
        live = np.ones((len(h), 1), bool) if mask is None else mask[t][:, None]
        c = np.where(live, f * c + i * np.tanh(g), c)
        h = np.where(live, o * np.tanh(c), h)
        hidden.append(h)
    return np.stack(hidden), c


def check(call: Any, given: list[Any]) -> None:
    for got, expected in zip(call(*given), loop(*given), strict=True):
        # float32 sums of some hundred terms, in the states of all steps before
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=5e-6)


def names(closed: Any) -> list[str]:
    """The primitives inside the first equation, a composite."""
    return [equation.primitive.name for equation in closed.eqns[0].params["jaxpr"].eqns]


SHAPES = [
    (1, 1, 1, 16),
    (5, 1, 3, 16),
    (7, 3, 60, 48),
    (9, 6, 5, 128),
    (4, 9, 70, 144),
    (3, 2, 2, 320),
]


def kernel(name: str, suffix: str) -> Any:
    """A kernel of one set of instructions as a function of (shapes of results, operands)."""
    target = f"{name}{suffix}"
    handler = getattr(native.library(), target, None)
    if handler is None:
        pytest.skip(str(Limitation("xla", target, "other processors", "It is of x86-64.")))
    jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(handler))
    return lambda shapes, *given: CALL(target, shapes, *given)


@pytest.mark.parametrize("suffix", ["", "_avx2", "_plain"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_kernels_equal_the_loop(suffix: str, shape: tuple[int, ...], masked: bool) -> None:
    steps, rows, _, units = shape
    shapes = [(steps, rows, units), (rows, units), (steps, rows, 4 * units)]
    call = kernel("carnyx_lstm", suffix)
    check(lambda *given: call(shapes, *given)[:2], operands(*shape, masked=masked))


@pytest.mark.parametrize("suffix", ["", "_avx2", "_plain"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_training_kernels_equal_the_plain_forms(
    suffix: str, shape: tuple[int, ...], masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {name: kernel(name, suffix) for name in ("carnyx_lstm", "carnyx_lstm_gradient")}
    monkeypatch.setattr(native, "_call", lambda name, *rest: calls[name](*rest))
    x, h, c, w, u, b, *mask = operands(*shape, masked=masked)
    kept = recurrent._lstm_forward(x, h, c, w, u, b, *(mask or [None]))
    for got, expected in zip(native._lstm_train(x, h, c, w, u, b, *mask), kept, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=5e-6)
    hidden, cell, squashed, gates = kept
    d_hidden, d_last = (RNG.normal(size=a.shape).astype("float32") for a in (hidden, c))
    given = u, c, cell, squashed, gates, d_hidden, d_last
    expected = recurrent._lstm_backward(*given, *(mask or [None]))
    for got, right in zip(native._lstm_grad(*given, *mask), expected, strict=True):
        # gradients grow on their way back: to 1e-5 of the largest
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-5 * float(np.abs(right).max()))


@pytest.mark.parametrize("suffix", ["", "_avx2", "_plain"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 16), (7, 30, 16), (33, 5, 144), (100, 200, 64), (9, 700, 80), (6, 40, 3), (21, 32, 70)],
    ids=str,
)
def test_products_equal_numpy(suffix: str, transposed: bool, sizes: tuple[int, ...]) -> None:
    rows, inner, columns = sizes
    left, right = RNG.normal(size=(rows, inner)), RNG.normal(size=(inner, columns))
    call = kernel("carnyx_product_transposed" if transposed else "carnyx_product", suffix)
    given = left.T.copy() if transposed else left
    (got,) = call([(rows, columns)], given.astype("float32"), right.astype("float32"))
    # float32 sums of `inner` terms of size 1
    np.testing.assert_allclose(got, left @ right, rtol=1e-5, atol=1e-6 * inner)


@pytest.mark.parametrize(
    ("equation", "left", "right", "dtype", "taken"),
    [
        ("mk,kn->mn", (64, 200), (200, 64), "float32", True),
        ("km,kn->mn", (64, 200), (64, 96), "float32", True),
        ("km,kn->mn", (32, 64), (32, 10), "float32", True),  # XLA has no fast way
        ("km,kn->mn", (32, 64), (32, 3), "float32", False),  # a register would be almost empty
        ("km,kn->mn", (64, 200), (64, 70), "float32", False),  # not whole registers
        ("mk,nk->mn", (64, 200), (64, 200), "float32", False),  # no kernel
        ("mk,kn->mn", (64, 200), (200, 64), "bfloat16", False),
        ("mk,kn->mn", (64, 200), (200, 70), "float32", False),  # not whole registers
        ("mk,kn->mn", (20, 20), (20, 64), "float32", False),  # too small
        ("mk,kn->mn", (8, 784), (784, 256), "float32", False),  # too few rows
        ("bmk,bkn->bmn", (2, 64, 200), (2, 200, 64), "float32", False),
    ],
)
def test_products_get_the_kernel_where_it_is_faster(
    equation: str, left: Any, right: Any, dtype: str, taken: bool
) -> None:
    factors = [RNG.normal(size=shape).astype(dtype) for shape in (left, right)]
    closed = jax.make_jaxpr(lambda *pair: jnp.einsum(equation, *pair))(*factors)
    closed = canonicalize(closed)
    with_kernels = native.with_kernels(closed)
    found = [equation.primitive.name for equation in with_kernels.eqns]
    plain = [equation.primitive.name for equation in closed.eqns]
    assert found == (["jit"] if taken else plain)
    got = np.asarray(jax.jit(jaxpr_as_fun(with_kernels))(*factors)[0], "float64")
    expected = np.einsum(equation, *(factor.astype("float64") for factor in factors))
    tolerance = 1e-5 if dtype == "float32" else 2**-7  # the last place of bfloat16
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("suffix", ["", "_avx2", "_plain"])
@pytest.mark.parametrize("size", [1, 15, 1000, 100_001])
def test_adam_equals_the_plain_form(suffix: str, size: int) -> None:
    w, g, m = (RNG.normal(size=size) for _ in range(3))
    v = RNG.random(size)
    a, share_m, share_v, epsilon = 0.01, 0.1, 0.001, 1e-7
    given = [np.float32(x) for x in (g, w, a, share_m, share_v, epsilon, m, v)]
    got = kernel("carnyx_adam", suffix)([(size,)] * 3, *given)
    m, v = m + share_m * (g - m), v + share_v * (g**2 - v)
    for array, expected in zip(got, (w - a * m / (v**0.5 + epsilon), m, v), strict=True):
        # numbers of size 1 after some roundings to float32
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=5e-7)


def test_adam_gets_the_kernel_where_its_numbers_are_numbers() -> None:
    array, number, one = np.ones((3, 4), "float32"), np.float32(1), np.ones(1, "float32")
    given = [array, array, number, number, number, number, array, array]
    for operands, taken in (
        (given, True),
        ([*given, array], False),  # amsgrad
        ([*given[:2], one, *given[3:]], False),
        ([array.astype("float16") if a is array else a for a in given], False),
    ):
        closed = jax.make_jaxpr(_adam)(*operands)
        assert ("ffi_call" in str(native.with_kernels(closed))) is taken


@pytest.mark.parametrize(("amsgrad", "dtype"), [(False, "float32"), (True, "float32"), (False, "")])
def test_training_with_adam_is_the_same_on_the_reference_engine(amsgrad: bool, dtype: str) -> None:
    x, y = (RNG.normal(size=(24, n)).astype("float32") for n in (5, 3))
    weights = []
    for engine in ("xla", "numpy"):
        carnyx.utils.set_random_seed(1)
        model = carnyx.Sequential([layers.Dense(3, dtype=dtype or "bfloat16")])
        optimizer = carnyx.optimizers.Adam(0.01, amsgrad=amsgrad)
        model.compile(optimizer, "mse", engine=engine)
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        weights.append([np.asarray(w, "float32") for w in model.get_weights()])
    for got, expected in zip(*weights, strict=True):
        # the last places of float32, and of bfloat16, after nine steps of 0.01
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 if dtype else 0.02)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool", "bfloat16", "complex64", "int32"])
@pytest.mark.parametrize("shape", [(9,), (9, 3), (9, 4, 5)], ids=str)
def test_rows_are_taken_as_numpy_takes_them(dtype: str, shape: tuple[int, ...]) -> None:
    array = jnp.asarray(RNG.normal(size=shape) * 10).astype(dtype)
    places = np.array([3, 8, 0, 3, -5, 99], "int32")  # brought into 0 to 8

    def take(array: Any, places: Any) -> Any:
        return array.at[places].get(mode="clip", wrap_negative_indices=False)

    closed = canonicalize(jax.make_jaxpr(take)(array, places))
    made = native.with_kernels(closed)
    assert "ffi_call" in str(made)
    (got,) = jax.jit(jaxpr_as_fun(made))(array, places)
    np.testing.assert_array_equal(got, np.asarray(array)[places.clip(0, 8)])


@pytest.mark.parametrize(
    "take",
    [
        lambda a, i: a.at[i].get(mode="fill"),
        lambda a, i: a.at[:, i].get(mode="clip"),
        lambda a, i: jax.lax.dynamic_slice_in_dim(a, i[0], 4),
        lambda a, i: a.at[jnp.tile(i, 60)].get(mode="clip"),  # XLA takes so many better
    ],
)
def test_other_gatherings_are_left_to_xla(take: Any) -> None:
    given = np.zeros((9, 9), "float32"), np.arange(5, dtype="int32")
    closed = canonicalize(jax.make_jaxpr(take)(*given))
    assert "ffi_call" not in str(native.with_kernels(closed))


def test_how_many_threads_share_the_work_does_not_change_a_bit() -> None:
    left, right = RNG.normal(size=(37, 50)), RNG.normal(size=(50, 70))
    call = jax.ffi.ffi_call("carnyx_product", jax.ShapeDtypeStruct((37, 70), np.float32))
    factors = left.astype("float32"), right.astype("float32")
    alone, *shared = (call(*factors, parts=np.int64(parts)) for parts in (1, 2, 5, 8))
    for got in shared:
        np.testing.assert_array_equal(got, alone)


def test_extreme_sums_saturate_and_nan_stays() -> None:
    given = operands(3, 2, 4, 16)
    given[0] *= 1e4
    check(jax.jit(native._lstm), given)
    given[0][1, 0, 0] = np.nan
    hidden, cell = jax.jit(native._lstm)(*given)
    assert np.isnan(hidden[1:, 0]).all() and np.isnan(cell[0]).all()
    assert np.isfinite(hidden[0]).all() and np.isfinite(hidden[:, 1]).all()


def test_threads_that_call_at_once_do_not_disturb_each_other() -> None:
    cases = [operands(30, 1, 8, 256) for _ in range(8)]
    call = jax.jit(native._lstm)
    expected = [np.asarray(call(*given)[0]) for given in cases]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for got, right in zip(pool.map(lambda g: call(*g)[0], cases), expected, strict=True):
                np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize(
    ("shape", "dtype", "taken"),
    [
        ((5, 2, 4, 64), "float32", True),
        ((5, 2, 4, 30), "float32", False),  # not a whole number of registers
        ((5, 2, 4, 64), "bfloat16", False),
        ((2, 4, 4, 512), "float32", True),
        ((2, 5, 4, 512), "float32", False),  # XLA's large products are better
        ((5, 0, 4, 64), "float32", False),
    ],
    ids=str,
)
def test_composites_get_the_kernel_where_it_takes_them(
    shape: tuple[int, ...], dtype: str, taken: bool
) -> None:
    given = [array.astype(dtype) for array in operands(*shape)]
    closed = jax.make_jaxpr(recurrent._lstm_plain)(*given, None)
    assert names(native.with_kernels(closed)) == (["ffi_call"] if taken else names(closed))


def test_models_predict_what_they_predict_on_the_reference_engine() -> None:
    inputs = carnyx.Input((None, 6))
    y = layers.Masking()(inputs)
    y = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(y)
    model = carnyx.Model(inputs, layers.LSTM(32, go_backwards=True, return_state=True)(y))
    x = RNG.normal(size=(3, 11, 6)).astype("float32")
    x[1, 4:] = 0
    outputs = []
    for engine in ("xla", "numpy"):
        model.compile(engine=engine)
        outputs.append(model.predict(x, verbose=0))
    for got, expected in zip(*outputs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)
