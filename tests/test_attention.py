"""Attention layers against Keras on JAX and a loop in NumPy; masks, dropout, mistakes."""

import jax
import keras
import numpy as np
import pytest

import carnyx
from carnyx import layers, ops
from carnyx.core.config import deserialize, serialize
from carnyx.core.state import get_mask, pure, set_mask
from tests.cases.case import filled

RNG = np.random.default_rng(0)
Q = RNG.normal(size=(2, 4, 6)).astype("float32")
V = RNG.normal(size=(2, 5, 6)).astype("float32")
K = RNG.normal(size=(2, 5, 3)).astype("float32")
IMAGES = RNG.normal(size=(2, 3, 4, 6)).astype("float32")
MASK = RNG.uniform(size=(2, 4, 5)) < 0.6
MASK[..., 0] = True
LENGTHS = np.arange(5) < np.array([[5], [3]])
FIRST = np.arange(4) < np.array([[2], [4]])

MULTI, GROUPS = "MultiHeadAttention", "GroupQueryAttention"
GROUPED = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
CASES = [
    (MULTI, {"num_heads": 2, "key_dim": 3}, (Q, V), {}),
    (MULTI, {"num_heads": 2, "key_dim": 3, "value_dim": 5}, (Q, V, K), {"attention_mask": MASK}),
    (MULTI, {"num_heads": 2, "key_dim": 3, "output_shape": 7, "use_bias": False}, (Q, V), {}),
    (MULTI, {"num_heads": 2, "key_dim": 3, "use_gate": True}, (Q, Q), {"use_causal_mask": True}),
    (MULTI, {"num_heads": 3, "key_dim": 2, "sliding_window": 2}, (Q, Q), {}),
    (MULTI, {"num_heads": 2, "key_dim": 3, "activity_regularizer": "l2"}, (Q, V), {}),
    (MULTI, {"num_heads": 2, "key_dim": 3}, (IMAGES, IMAGES), {}),
    (MULTI, {"num_heads": 2, "key_dim": 3, "attention_axes": 2}, (IMAGES, IMAGES), {}),
    (
        MULTI,
        {"num_heads": 2, "key_dim": 3},
        (Q, V),
        {"value_mask": LENGTHS, "query_mask": FIRST, "use_causal_mask": True},
    ),
    (GROUPS, GROUPED, (Q, V), {"attention_mask": MASK}),
    (GROUPS, {**GROUPED, "use_gate": True, "sliding_window": 3}, (Q, V), {"use_causal_mask": True}),
]


def both(cls, kwargs, inputs):
    ours, theirs = (
        getattr(library, cls)(**kwargs, name="layer") for library in (layers, keras.layers)
    )
    for layer in (ours, theirs):
        layer.build(*(x.shape for x in inputs))
    weights = filled(ours.get_weights())
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


@pytest.mark.parametrize(("cls", "kwargs", "inputs", "call"), CASES)
def test_multi_head_equals_keras(cls, kwargs, inputs, call):
    ours, theirs = both(cls, kwargs, inputs)
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert ours.get_config() == theirs.get_config()
    scores = call | {"return_attention_scores": True}
    # what a query that is masked itself sees is meaningless, and Keras's two paths differ there
    rows = np.ones((1, 1), "float32") if "query_mask" not in call else call["query_mask"][..., None]

    def sums(y, weights):
        return ((y * rows) ** 2).sum(), (y * rows, weights * rows[..., None, :, :])

    def our_run(values, x):
        (y, weights), _ = pure(lambda: ours(*x, **scores), ours.trainable_variables)(values)
        return sums(y, weights)

    def their_run(values, x):
        (y, weights), _ = theirs.stateless_call(
            values, theirs.non_trainable_variables, *x, **scores
        )
        return sums(y, weights)

    values = [np.asarray(w) for w in ours.get_weights()]
    quick = {"xla_backend_optimization_level": 0}
    found = []
    for run in (our_run, their_run):
        step = jax.jit(jax.value_and_grad(run, (0, 1), has_aux=True), compiler_options=quick)
        found.append(jax.tree.leaves(step(values, inputs)))
    # the key bias changes nothing, so its gradient is the rounding of larger terms
    greatest = max(np.abs(b).max() for b in found[1])
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6 * greatest)
    twin = deserialize(serialize(ours))
    assert twin.get_config() == ours.get_config()
    symbols = [carnyx.KerasTensor((None, *x.shape[1:])) for x in inputs]
    assert twin(*symbols).shape == (None, *found[0][1].shape[1:])


def test_one_head_is_the_formula():
    layer = layers.MultiHeadAttention(1, 3)
    out, weights = layer(Q, V, return_attention_scores=True)
    wq, bq, wk, bk, wv, bv, wo, bo = (w.astype("float64") for w in layer.get_weights())
    for b in range(2):
        q, k, v = Q[b] @ wq[:, 0] + bq[0], V[b] @ wk[:, 0] + bk[0], V[b] @ wv[:, 0] + bv[0]
        expected = np.zeros((4, 5))
        for t in range(4):
            e = np.exp([q[t] @ k[s] / np.sqrt(3) for s in range(5)])
            expected[t] = e / e.sum()
        np.testing.assert_allclose(weights[b, 0], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(out[b], expected @ v @ wo[0] + bo, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", ["Attention", "AdditiveAttention"])
@pytest.mark.parametrize("causal", [False, True])
def test_plain_attention_with_masks_equals_keras(cls, causal):
    ours, theirs = getattr(layers, cls)(name="a"), getattr(keras.layers, cls)(name="a")
    for layer in (ours, theirs):
        layer.build([Q.shape, V.shape])
    weights = filled(ours.get_weights())
    ours.set_weights(weights)
    theirs.set_weights(weights)
    call = {"mask": [FIRST, LENGTHS], "use_causal_mask": causal, "return_attention_scores": True}
    for a, b in zip(ours([Q, V], **call), theirs([Q, V], **call), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_masks_travel():
    q, v = jax.numpy.asarray(Q), jax.numpy.asarray(V)
    set_mask(q, FIRST)
    set_mask(v, LENGTHS)
    layer = layers.MultiHeadAttention(2, 3)
    out = layer(q, v)
    np.testing.assert_array_equal(get_mask(out), FIRST)
    changed = V.copy()
    changed[1, 3:] = 100  # what the mask hides
    hidden = jax.numpy.asarray(changed)
    set_mask(hidden, LENGTHS)
    np.testing.assert_allclose(layer(q, hidden)[1], out[1], rtol=1e-5)


def test_dropout_drops_weights_in_training_only():
    layer = layers.MultiHeadAttention(2, 3, dropout=0.5, seed=1)
    assert np.array_equal(layer(Q, V), layer(Q, V))
    first, second = layer(Q, V, training=True), layer(Q, V, training=True)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("causal", [False, True])
def test_operation_equals_keras(causal):
    q, k, v = (RNG.normal(size=(2, n, h, 4)).astype("float32") for n, h in ((3, 4), (3, 2), (3, 2)))
    bias = RNG.normal(size=(2, 4, 3, 3)).astype("float32")
    mask = np.broadcast_to(MASK[:, None, :3, :3], (2, 4, 3, 3))
    call = {"bias": bias, "mask": mask, "is_causal": causal, "scale": 0.3}
    expected = keras.ops.dot_product_attention(q, k, v, **call)
    found = ops.dot_product_attention(q, k, v, **call)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_transformer_trains_in_fit():
    inputs = carnyx.Input((8,), dtype="int32")
    x = layers.Embedding(11, 16, mask_zero=True)(inputs)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8, seed=1)(x, x, use_causal_mask=True)])
    x = layers.LayerNormalization()(x)
    model = carnyx.Model(inputs, layers.Dense(11)(x))
    loss = carnyx.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(carnyx.optimizers.Adam(0.01), loss)
    rng = np.random.default_rng(0)
    start = rng.integers(1, 11, (256, 1))
    sequence = (start + np.arange(9) - 1) % 10 + 1
    history = model.fit(sequence[:, :-1], sequence[:, 1:], epochs=4, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.MultiHeadAttention(0, 3), "num_heads must be a whole number from 1"),
        (
            lambda: layers.MultiHeadAttention(2, 3, dropout=2),
            r"dropout must be a number in \[0, 1\]",
        ),
        (lambda: layers.GroupQueryAttention(3, 4, 3), "divisible by num_key_value_heads=3"),
        (
            lambda: layers.MultiHeadAttention(2, 3)(Q, V, K[:, :4]),
            "value and key have the same shape",
        ),
        (lambda: layers.Attention(score_mode="sum"), "score_mode must be one of 'dot', 'concat'"),
        (lambda: layers.Attention()(Q), "expected a list"),
        (lambda: ops.dot_product_attention(Q, Q, Q), r"\[B, length, heads, size\]"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
