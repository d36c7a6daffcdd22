"""Convolution, pooling and recurrent sequences against NumPy loops of their formulas, and their
gradients against those that JAX derives from the plain primitives."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from carnyx.ops import convolution, pooling, recurrent
from carnyx.program.canonical import canonicalize

# Sums of at most some hundred products of numbers near 1: float32 keeps five digits of them.
CLOSE = 1e-5


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def close(ours: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=CLOSE, atol=CLOSE)


def same_gradients(ours: Any, plain: Any, *args: Any) -> None:
    """Values and gradients of all arguments, for a random direction of the result."""
    close(*jax.jit(both_ways(ours, plain))(*args))


def both_ways(ours: Any, plain: Any) -> Any:
    """One function of the arguments for both, as one thing to compile costs half of two."""

    def found(function: Any, *args: Any) -> Any:
        out, back = jax.vjp(function, *args)
        leaves, tree = jax.tree.flatten(out)
        direction = [jnp.asarray(normal(9 + k, *a.shape)) for k, a in enumerate(leaves)]
        return out, back(jax.tree.unflatten(tree, direction))

    return lambda *args: (found(ours, *args), found(plain, *args))


# ---- convolution


def loop_conv(x, kernel, strides, pads, dilation, groups) -> np.ndarray:
    """The formula, place by place: x [B, *space, C] -> [B, *space', K]."""
    rank = kernel.ndim - 2
    window, filters = kernel.shape[:rank], kernel.shape[-1]
    x = np.pad(x.astype("float64"), [(0, 0), *pads, (0, 0)])
    space = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[1:-1], window, strides, dilation, strict=True)
    ]
    y = np.zeros((len(x), *space, filters))
    per_in, per_out = kernel.shape[rank], filters // groups
    for place in itertools.product(*map(range, space)):
        for offset in itertools.product(*map(range, window)):
            at = tuple(
                p * s + o * d for p, s, o, d in zip(place, strides, offset, dilation, strict=True)
            )
            for k in range(groups):
                ins = slice(k * per_in, (k + 1) * per_in)
                outs = slice(k * per_out, (k + 1) * per_out)
                seen = x[(slice(None), *at, ins)]
                y[(slice(None), *place, outs)] += seen @ kernel[(*offset, slice(None), outs)]
    return y


def keras_pads(padding: Any, sizes, window, strides, dilation) -> list[tuple[int, int]]:
    if not isinstance(padding, str):
        return list(padding)
    reach = [d * (k - 1) for k, d in zip(window, dilation, strict=True)]
    if padding != "same":
        return [(r if padding == "causal" else 0, 0) for r in reach]
    total = [
        max((int(np.ceil(n / s)) - 1) * s + r + 1 - n, 0)
        for n, r, s in zip(sizes, reach, strides, strict=True)
    ]
    return [(t // 2, t - t // 2) for t in total]


CONVOLUTIONS = {  # (x, kernel, options)
    "1d": ((2, 9, 3), (3, 3, 4), {}),
    "1d causal dilated": ((2, 9, 3), (3, 3, 4), {"padding": "causal", "dilation_rate": 2}),
    "1d same strided": ((2, 8, 3), (4, 3, 2), {"padding": "same", "strides": 3}),
    "2d": ((2, 7, 6, 1), (3, 3, 1, 4), {}),
    "2d one by one": ((2, 5, 4, 3), (1, 1, 3, 2), {"strides": 2}),
    "2d same odd": ((2, 7, 5, 2), (2, 4, 2, 3), {"padding": "same"}),
    "2d strides": ((2, 8, 7, 2), (3, 2, 2, 3), {"strides": (3, 2)}),
    "2d dilated same": ((2, 7, 8, 2), (3, 2, 2, 3), {"padding": "same", "dilation_rate": (1, 2)}),
    "2d groups": ((2, 6, 5, 4), (3, 3, 2, 6), {"padding": "same"}),
    "2d depthwise": ((2, 6, 5, 3), (3, 3, 1, 6), {}),
    "2d explicit": ((2, 5, 5, 2), (3, 3, 2, 3), {"padding": [(2, 0), (1, 3)]}),
    "3d": ((2, 4, 5, 3, 2), (2, 3, 2, 2, 3), {"padding": "same", "strides": (1, 2, 1)}),
}


def conv_case(name: str) -> tuple[Any, Any, dict[str, Any], tuple[Any, ...]]:
    shape, kernel_shape, options = CONVOLUTIONS[name]
    rank = len(shape) - 2
    each = [options.get(key, 1) for key in ("strides", "dilation_rate")]
    strides, dilation = [(v,) * rank if isinstance(v, int) else v for v in each]
    window = kernel_shape[:rank]
    pads = keras_pads(options.get("padding", "valid"), shape[1:-1], window, strides, dilation)
    plain = (strides, pads, dilation, shape[-1] // kernel_shape[-2])
    return normal(0, *shape), normal(1, *kernel_shape), options, plain


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_is_its_formula(name: str) -> None:
    x, kernel, options, plain = conv_case(name)
    last, first = jax.jit(
        lambda x, turned, kernel: (
            convolution.conv(x, kernel, **options),
            convolution.conv(turned, kernel, data_format="channels_first", **options),
        )
    )(x, np.moveaxis(x, -1, 1), kernel)
    expected = loop_conv(x, kernel, *plain)
    close((last, np.moveaxis(first, 1, -1)), (expected, expected))


def xla_conv(strides, pads, dilation, groups) -> Any:
    space = "DHW"[-len(strides) :]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lambda x, w: lax.conv_general_dilated(
        x, w, strides, pads, None, dilation, numbers, feature_group_count=groups
    )


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_of_convolution(name: str) -> None:
    x, kernel, options, plain = conv_case(name)
    same_gradients(lambda x, w: convolution.conv(x, w, **options), xla_conv(*plain), x, kernel)


@pytest.mark.parametrize("name", ["1d causal dilated", "2d strides", "2d groups", "3d"])
def test_gradients_with_one_product_an_offset(name: str, monkeypatch: Any) -> None:
    """The way of inputs whose patches would fill the memory."""
    monkeypatch.setattr(convolution, "PATCH_BYTES", 0)
    x, kernel, options, plain = conv_case(name)
    x = np.concatenate([x, x, x[:1]])  # five rows: traces are kept, by shape, from the test above
    same_gradients(lambda x, w: convolution.conv(x, w, **options), xla_conv(*plain), x, kernel)


def test_second_derivative_of_convolution() -> None:
    x, kernel, options, plain = conv_case("1d same strided")

    def slopes(conv: Any) -> Any:
        return jax.grad(lambda w: jnp.sum(conv(x, w) ** 2))

    ours, plainly = slopes(lambda x, w: convolution.conv(x, w, **options)), slopes(xla_conv(*plain))
    both = jax.jit(lambda w: [jax.jacrev(f)(w) for f in (ours, plainly)])
    close(*both(jnp.asarray(kernel)))


# ---- pooling

POOLS = {  # (x, options)
    "1d": ((2, 8, 3), {"pool_size": 2}),
    "1d odd": ((2, 9, 3), {"pool_size": 2}),
    "1d overlap": ((2, 9, 3), {"pool_size": 3, "strides": 2}),
    "2d": ((2, 6, 4, 3), {"pool_size": 2}),
    "2d cropped": ((2, 7, 8, 3), {"pool_size": (2, 3)}),
    "2d same": ((2, 7, 5, 2), {"pool_size": 2, "padding": "same"}),
    "2d same exact": ((2, 6, 4, 2), {"pool_size": 2, "padding": "same"}),
    "2d same overlap": ((2, 5, 6, 2), {"pool_size": 3, "strides": (1, 2), "padding": "same"}),
    "2d gaps": ((2, 7, 7, 2), {"pool_size": 2, "strides": 3}),
    "3d": ((2, 4, 5, 3, 2), {"pool_size": (2, 2, 1)}),
    "many rows": ((21, 6, 5, 2), {"pool_size": 2}),
    "nine rows": ((9, 4, 4, 1), {"pool_size": 2}),
}
KINDS = {"max": pooling.max_pool, "average": pooling.average_pool}


def pool_case(name: str) -> tuple[np.ndarray, dict[str, Any], tuple[Any, ...]]:
    """Small whole numbers, so that nearly every window has several equal maxima."""
    shape, options = POOLS[name]
    rank = len(shape) - 2
    given = (options["pool_size"], options.get("strides") or options["pool_size"])
    window, strides = [(v,) * rank if isinstance(v, int) else v for v in given]
    padding = options.get("padding", "valid")
    pads = keras_pads(padding, shape[1:-1], window, strides, (1,) * rank)
    x = np.random.default_rng(3).integers(-2, 3, shape).astype("float32")
    return x, options, (window, strides, pads)


def loop_pool(kind: str, x: np.ndarray, window, strides, pads) -> np.ndarray:
    x = np.pad(x.astype("float64"), [(0, 0), *pads, (0, 0)], constant_values=np.nan)
    space = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], window, strides, strict=True)]
    y = np.zeros((len(x), *space, x.shape[-1]))
    for place in itertools.product(*map(range, space)):
        part = tuple(
            slice(p * s, p * s + k) for p, s, k in zip(place, strides, window, strict=True)
        )
        seen = x[(slice(None), *part)].reshape(len(x), -1, x.shape[-1])
        y[(slice(None), *place)] = (np.nanmax if kind == "max" else np.nanmean)(seen, axis=1)
    return y


@pytest.mark.parametrize("name", POOLS)
def test_pooling_is_its_formula(name: str) -> None:
    x, options, plain = pool_case(name)
    last, first = jax.jit(
        lambda x, turned: (
            [pool(x, **options) for pool in KINDS.values()],
            [pool(turned, data_format="channels_first", **options) for pool in KINDS.values()],
        )
    )(x, np.moveaxis(x, -1, 1))
    for kind, y, turned in zip(KINDS, last, first, strict=True):
        expected = loop_pool(kind, x, *plain)
        close((y, np.moveaxis(turned, 1, -1)), (expected, expected))


@pytest.mark.parametrize("name", POOLS)
def test_gradients_of_pooling(name: str) -> None:
    """With ties: the first maximum takes it all, as `reduce_window` has it."""
    x, options, (window, strides, pads) = pool_case(name)
    shape = ((1, *window, 1), (1, *strides, 1), [(0, 0), *pads, (0, 0)])

    def plain(x: Any, same: Any) -> Any:
        total, count = (lax.reduce_window(a, 0.0, lax.add, *shape) for a in (x, jnp.ones_like(x)))
        return lax.reduce_window(same, -np.inf, lax.max, *shape), total / count

    def ours(x: Any, same: Any) -> Any:
        return pooling.max_pool(same, **options), pooling.average_pool(x, **options)

    same_gradients(ours, plain, x, x)


@pytest.mark.parametrize("options", [{}, {"strides": 1}, {"padding": "same"}])
@pytest.mark.parametrize("rows", [1, 12])
def test_nan_is_the_maximum_of_its_windows(options: dict[str, Any], rows: int) -> None:
    x = np.zeros((rows, 4, 4, 2), "float32")
    x[0, 1, 1, 0] = np.nan
    y, back = jax.vjp(lambda x: pooling.max_pool(x, 2, **options), jnp.asarray(x))
    assert np.isnan(y[0, 0, 0, 0]) and not np.isnan(y[..., 1]).any()
    assert np.isfinite(back(jnp.ones_like(y))[0]).all()


def test_maxima_of_whole_numbers() -> None:
    x = np.random.default_rng(0).integers(-100, 0, (2, 6, 6, 3))
    for options in ({}, {"strides": 1, "padding": "same"}):
        y = pooling.max_pool(jnp.asarray(x, jnp.int32), 2, **options)
        assert y.dtype == jnp.int32 and int(jnp.max(y)) < 0


# ---- recurrent sequences

B, T, D, U = 3, 4, 3, 5
MASKS = {
    "none": None,
    "right": np.arange(T) < np.array([[4], [3], [1]]),
    "left": np.arange(T) >= np.array([[0], [2], [3]]),
    "holes": np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], bool),
}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + jnp.exp(-x))


def lstm_cell(w: Any, u: Any, b: Any) -> Any:
    def step(x: Any, states: Any) -> Any:
        h, c = states
        i, f, g, o = jnp.split(x @ w + h @ u + b, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return h, (h, c)

    return step


def gru_cell(reset_after: bool) -> Any:
    def cell(w: Any, u: Any, b: Any) -> Any:
        def step(x: Any, states: Any) -> Any:
            (h,) = states
            bx, bh = (b[0], b[1]) if reset_after else (b, jnp.zeros(3 * U))
            xz, xr, xg = jnp.split(x @ w + bx, 3, axis=-1)
            uz, ur, ug = jnp.split(u, 3, axis=-1)
            bz, br, bg = jnp.split(bh, 3)
            z, r = sigmoid(xz + h @ uz + bz), sigmoid(xr + h @ ur + br)
            late = r * (h @ ug + bg) if reset_after else (r * h) @ ug
            h = z * h + (1 - z) * jnp.tanh(xg + late)
            return h, (h,)

        return step

    return cell


def gru(reset_after: bool) -> Any:
    return lambda *args, **rest: recurrent.gru(*args, reset_after=reset_after, **rest)


SEQUENCES = {  # (ours, cell, gates, states, shape of the bias)
    "lstm": (recurrent.lstm, lstm_cell, 4, 2, (4 * U,)),
    "gru after": (gru(True), gru_cell(True), 3, 1, (2, 3 * U)),
    "gru before": (gru(False), gru_cell(False), 3, 1, (3 * U,)),
}


def arguments(kind: str) -> tuple[Any, ...]:
    *_, gates, states, bias = SEQUENCES[kind]
    shapes = [(B, T, D), *[(B, U)] * states, (D, gates * U), (U, gates * U), bias]
    return tuple(jnp.asarray(normal(i, *s)) for i, s in enumerate(shapes))


def loop(kind: str, mask: Any, backwards: bool) -> Any:
    """Step by step, row by row: a masked step keeps the states and repeats the output."""
    cell = SEQUENCES[kind][1]

    def run(x: Any, *rest: Any) -> Any:
        states, weights = rest[:-3], rest[-3:]
        step, out, outputs = cell(*weights), jnp.zeros((B, U)), []
        for t in range(T)[:: -1 if backwards else 1]:
            new_out, new_states = step(x[:, t], states)
            m = jnp.ones((B, 1), bool) if mask is None else mask[:, t, None]
            out = jnp.where(m, new_out, out)
            states = tuple(jnp.where(m, a, b) for a, b in zip(new_states, states, strict=True))
            outputs.append(out)
        return (jnp.stack(outputs, 1), *states)

    return run


@pytest.mark.parametrize(
    ("kind", "masked", "backwards"),
    [(kind, both, both) for kind in SEQUENCES for both in (False, True)],
)
def test_sequences_and_their_gradients(kind: str, masked: bool, backwards: bool) -> None:
    ours = SEQUENCES[kind][0]

    def compare(mask: Any, *args: Any) -> Any:
        options = {"mask": mask, "go_backwards": backwards}
        fast = functools.partial(ours, **options)
        return both_ways(fast, loop(kind, mask, backwards))(*args)

    compiled = jax.jit(compare)
    for mask in [m for m in MASKS.values() if (m is not None) == masked]:
        close(*compiled(None if mask is None else jnp.asarray(mask), *arguments(kind)))


@pytest.mark.parametrize("kind", ["lstm", "gru after"])
def test_large_sums_saturate(kind: str) -> None:
    """Sums of some hundreds: exp(-x) alone would overflow; the gates reach 0 and 1, no NaN."""
    x, *rest = arguments(kind)

    def both(*args: Any) -> Any:
        out, back = jax.vjp(SEQUENCES[kind][0], *args)
        return *out, *back(jax.tree.map(jnp.ones_like, out))

    found = jax.jit(both)(300 * x, *rest)
    assert all(bool(jnp.isfinite(a).all()) for a in found)


def test_one_step_of_one_row() -> None:
    args = tuple(a[:1, :1] if a.ndim == 3 else a for a in arguments("lstm"))
    x, h, c, *weights = args
    h, c = h[:1], c[:1]
    out, last_h, last_c = recurrent.lstm(x, h, c, *weights)
    expected, states = lstm_cell(*weights)(x[:, 0], (h, c))
    close((out[:, 0], last_h, last_c), (expected, *states))


# ---- composites


def composites(function: Any, *args: Any) -> set[str]:
    closed = canonicalize(jax.make_jaxpr(function)(*args))
    return {str(e.params["name"]) for e in closed.jaxpr.eqns if e.primitive.name == "jit"}


def test_each_kernel_is_one_named_equation_each_way() -> None:
    def loss(function: Any) -> Any:
        return lambda *args: sum(jnp.sum(a * a) for a in jax.tree.leaves(function(*args)))

    x = jnp.ones((9, 6, 6, 2))
    w = jnp.ones((3, 3, 2, 4))
    rows = [
        ("max_pool.v1 max_pool_grad.v1", lambda x: pooling.max_pool(x, 2), (x,)),
        ("conv.v1 conv_grad.v1", lambda x, w: convolution.conv(x, w), (x, w)),
        ("lstm_train.v1 lstm_grad.v2", recurrent.lstm, arguments("lstm")),
        ("gru_train.v1 gru_grad.v1", gru(True), arguments("gru after")),
    ]
    for names, function, args in rows:
        places = tuple(range(len(args)))
        found = composites(jax.grad(loss(function), argnums=places), *args)
        assert found == {f"carnyx.{name}" for name in names.split()}
    assert composites(recurrent.lstm, *arguments("lstm")) == {"carnyx.lstm.v1"}


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("depthwise_conv", (3, 2, 4, 2), {"strides": 2, "padding": "same"}),
        ("depthwise_conv", (2, 3, 4, 1), {"dilation_rate": 2}),
        ("conv_transpose", (3, 2, 5, 4), {"strides": 2, "padding": "same"}),
        ("conv_transpose", (2, 2, 5, 4), {"strides": 3}),
        ("conv_transpose", (3, 3, 5, 4), {"dilation_rate": 2, "padding": "same"}),
    ],
)
def test_both_forms_of_a_convolution_agree(name, shape, options):
    """Inference runs XLA's convolution, training a sum over offsets; both against a NumPy loop."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 7, 4)).astype("float32")
    kernel = rng.normal(size=shape).astype("float32")
    operation = getattr(convolution, name)
    plain = operation(x, kernel, **options)
    trained, _ = jax.vjp(lambda x, kernel: operation(x, kernel, **options), x, kernel)
    np.testing.assert_allclose(trained, plain, rtol=1e-5, atol=1e-5)
    strides = (options.get("strides", 1),) * 2
    step = options.get("dilation_rate", 1)
    if name == "depthwise_conv" and "padding" not in options:
        expected = np.zeros(plain.shape)
        for p in np.ndindex(*plain.shape[1:3]):
            for o in np.ndindex(*shape[:2]):
                at = [a * s + b * step for a, s, b in zip(p, strides, o, strict=True)]
                expected[:, *p] += (x[:, *at][:, :, None] * kernel[o]).reshape(2, -1)
        np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-5)
    if name == "conv_transpose" and "padding" not in options:
        expected = np.zeros(plain.shape)
        for p in np.ndindex(6, 7):
            for o in np.ndindex(*shape[:2]):
                at = [a * s + b * step for a, s, b in zip(p, strides, o, strict=True)]
                expected[:, *at] += x[:, *p] @ kernel[o].T
        np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-5)
