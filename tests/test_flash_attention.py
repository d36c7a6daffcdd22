"""Attention by blocks against all weights at once: values, gradients, engines, memory."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.core import jaxpr_as_fun

import carnyx
from carnyx import layers, ops
from carnyx.engines.numpy import interpret
from carnyx.ops import attention
from carnyx.ops.attention import Form, attend
from carnyx.program.canonical import canonicalize
from carnyx.program.trace import bodies

QUICK = {"xla_backend_optimization_level": 0}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(attention, "SIDE", 8)


def normal(seed, *shape, dtype="float32"):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def seen(*shape):
    return normal(9, *shape) > -0.5


B, K, G, T, S = 2, 4, 2, 19, 21
TABLE = {
    "plain": ({}, [], None),
    "causal": ({"causal": True}, [], None),
    "window": ({"window": 3}, [], None),
    "causal window": ({"causal": True, "window": 9}, [], None),
    "soft cap and bias": ({"soft_cap": 2.0}, [], (B, K, T, S)),
    "bias of heads": ({}, [], (K, 1, S)),
    "bias of pairs": ({"causal": True}, [], (T, S)),
    "lengths": ({}, [(B, 1, 1, S), (B, 1, T, 1)], None),
    "masks": ({"causal": True}, [(B, K, T, S), (1, 1, 1, S)], (B, 1, 1, S)),
}


def both(run, *arrays):
    """The values and all gradients, by blocks and at once."""
    places = tuple(i for i, x in enumerate(arrays) if x is not None)

    def total(flash):
        def loss(*arrays):
            out = run(flash, *arrays)
            return (out.astype("float32") * normal(7, *out.shape)).sum(), out

        run_it = jax.value_and_grad(loss, places, has_aux=True)
        (_, out), slopes = jax.jit(run_it, compiler_options=QUICK)(*arrays)
        return [out, *slopes]

    return total(True), total(False)


@pytest.mark.parametrize("name", TABLE)
def test_blocks_give_what_all_at_once_gives(name):
    form, masks, bias = TABLE[name]
    masks = [seen(*shape) for shape in masks]
    bias = None if bias is None else normal(4, *bias)

    def run(flash, q, k, v, bias):
        return attend(q, k, v, Form(**form), masks, bias=bias, flash=flash)[0]

    arrays = normal(0, B, T, K, 6), normal(1, B, S, G, 6), normal(2, B, S, G, 5), bias
    for found, expected in zip(*both(run, *arrays), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 26), st.integers(1, 26), st.booleans(), st.integers(1, 30))
def test_any_lengths(targets, sources, causal, window):
    q, k, v = normal(0, 1, targets, 2, 3), normal(1, 1, sources, 1, 3), normal(2, 1, sources, 1, 3)
    arrays = list(map(np.asarray, (q, k, v)))

    def run(flash):  # on the NumPy engine, which compiles nothing
        form = Form(causal, window)
        closed = canonicalize(jax.make_jaxpr(lambda *a: attend(*a, form, flash=flash)[0])(*arrays))
        return interpret(closed.jaxpr, closed.consts, arrays)[0]

    found, expected = run(True), run(False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_rows_without_sources_are_zeros_and_hidden_ones_uniform():
    q, k, v = normal(0, 1, T, 2, 3), normal(1, 1, S, 2, 3), normal(2, 1, S, 2, 3)
    mask = jnp.arange(T)[:, None] * jnp.ones(S) > 3
    for found in both(lambda f, q, k, v: attend(q, k, v, Form(), [mask], flash=f)[0], q, k, v):
        assert not np.any(found[0][:, :4]) and all(np.all(np.isfinite(x)) for x in found)
    # a row whose bias is -1e9 everywhere sees all alike, in its gradient too
    bias = jnp.where(mask, 0, -1e9)
    run = lambda f, q, k, v: attend(q, k, v, Form(), bias=bias, flash=f)[0]  # noqa: E731
    for found, expected in zip(*both(run, q, k, v), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_adds_up_in_float32():
    arrays = [normal(i, 1, 40, 2, 8, dtype="bfloat16") for i in range(3)]
    run = lambda f, *arrays: attend(*arrays, Form(True), flash=f)[0]  # noqa: E731
    wide = both(run, *(x.astype("float32") for x in arrays))[1]
    for found, plain, exact in zip(*both(run, *arrays), wide, strict=True):
        assert found.dtype == plain.dtype == jnp.bfloat16
        # the weights and the results are rounded to 8 bits: 2^-8 of the greatest terms each
        scale = np.abs(exact).max()
        np.testing.assert_allclose(found.astype("float32"), exact, rtol=0, atol=2**-6 * scale)


def test_operation_equals_keras():
    q, k, v = normal(0, B, T, K, 4), normal(1, B, T, G, 4), normal(2, B, T, G, 4)
    call = {"bias": normal(3, B, K, T, T), "mask": seen(B, K, T, T) | jnp.eye(T, dtype=bool)}
    call |= {"is_causal": True, "scale": 0.3}
    expected = keras.ops.dot_product_attention(*map(np.asarray, (q, k, v)), **call)
    found = ops.dot_product_attention(q, k, v, flash_attention=True, **call)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for body in bodies(equation):
            yield from equations(body.jaxpr)


def program(flash, length, **form):
    def step(q, k, v, mask):
        def loss(q, k, v):
            masks = [mask[:, None, None]]
            return (attend(q, k, v, Form(**form), masks, flash=flash)[0] ** 2).sum()

        return jax.value_and_grad(loss, (0, 1, 2))(q, k, v)

    arrays = (*(normal(i, 1, length, 2, 4) for i in range(3)), seen(1, length))
    return canonicalize(jax.make_jaxpr(step)(*arrays)), arrays


def test_no_array_of_the_program_has_all_pairs():
    def largest(flash, length):
        closed, _ = program(flash, length, causal=True)
        return max(v.aval.size for e in equations(closed.jaxpr) for v in e.outvars)

    assert largest(False, 128) == 2 * 128 * 128
    assert largest(True, 128) == 2 * 128 * 4  # that of a query
    names = {
        str(e.params["name"]) for e in equations(program(True, 16)[0].jaxpr) if "name" in e.params
    }
    assert names == {"carnyx.attention.v1", "carnyx.attention_grad.v1"}


def test_blocks_above_the_diagonal_are_left_out():
    def rounds(**form):
        closed, _ = program(True, 64, **form)
        return {e.params["length"] for e in equations(closed.jaxpr) if e.primitive.name == "scan"}

    assert rounds() == {64} and rounds(causal=True) == {36}
    assert rounds(window=2) == {22} and rounds(causal=True, window=2) == {15}


def test_engines_agree():
    closed, arrays = program(True, 19, causal=True, soft_cap=3.0)
    expected = jaxpr_as_fun(closed)(*arrays)
    found = interpret(closed.jaxpr, closed.consts, list(map(np.asarray, arrays)))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_transformer_trains_the_same():
    def losses(flash):
        carnyx.utils.set_random_seed(1)
        inputs = carnyx.Input((12,), dtype="int32")
        x = layers.Embedding(11, 16, mask_zero=True)(inputs)
        attended = layers.GroupQueryAttention(8, 4, 2, flash_attention=flash, sliding_window=7)
        x = layers.Add()([x, attended(x, x, use_causal_mask=True)])
        model = carnyx.Model(inputs, layers.Dense(11)(layers.LayerNormalization()(x)))
        loss = carnyx.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(carnyx.optimizers.Adam(0.01), loss)
        rows = np.random.default_rng(0).integers(0, 11, (64, 13))
        fitted = model.fit(rows[:, :-1], rows[:, 1:], epochs=3, shuffle=False, verbose=0)
        return fitted.history["loss"]

    found, expected = losses(True), losses(False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert found[-1] < found[0]


def test_when_blocks_are_used(monkeypatch):
    x = normal(0, 1, 16, 1, 2)

    def by_blocks(**call):
        run = lambda x: ops.dot_product_attention(x, x, x, **call)  # noqa: E731
        closed = jax.make_jaxpr(run)(x)
        return "carnyx.attention.v1" in str(closed)

    assert by_blocks(flash_attention=True) and not by_blocks(flash_attention=False)
    assert not by_blocks()
    monkeypatch.setattr(attention, "MANY", 16 * 16)
    assert by_blocks() and not by_blocks(flash_attention=False)
    try:
        carnyx.config.disable_flash_attention()
        assert not by_blocks() and by_blocks(flash_attention=True)
    finally:
        carnyx.config.enable_flash_attention()
    none = normal(0, 1, 0, 1, 2)
    assert ops.dot_product_attention(none, x, x, flash_attention=True).shape == (1, 0, 1, 2)
    x = normal(0, 1, 16, 4)
    layer = layers.MultiHeadAttention(1, 2, dropout=0.5)
    assert layer(x, x, return_attention_scores=True)[1].shape == (1, 1, 16, 16)
    assert np.any(layer(x, x, training=True) != layer(x, x))


def test_mistakes():
    with pytest.raises(ValueError, match="dropout must be 0 with flash_attention=True"):
        layers.MultiHeadAttention(1, 2, dropout=0.5, flash_attention=True)
    layer = layers.GroupQueryAttention(2, 2, 1, flash_attention=True)
    with pytest.raises(ValueError, match="return_attention_scores=True needs all weights at once"):
        layer(normal(0, 1, 3, 4), normal(0, 1, 3, 4), return_attention_scores=True)
