"""Recurrent layers against NumPy loops of the published formulas, against Keras, and against their
own cells stepped one by one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers

RNG = np.random.default_rng(1)
B, T, D, U = 3, 6, 4, 5
X = RNG.normal(size=(B, T, D)).astype("float32")
MASKS = {
    "none": None,
    "right": np.arange(T) < np.array([[6], [3], [1]]),
    "left": np.arange(T) >= np.array([[0], [3], [5]]),
    "empty row": np.arange(T) < np.array([[6], [0], [2]]),
}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def randomised(layer: Any, x: Any = X) -> Any:
    layer(x)
    layer.set_weights([RNG.normal(size=w.shape) * 0.5 for w in layer.weights])
    return layer


def test_lstm_is_the_published_formula() -> None:
    """Two biases, as in the formulas; the layer's one is their sum."""
    w = {g: RNG.normal(size=(U, D)) for g in "ifgo"}  # W_ii, W_if, W_ig, W_io
    u = {g: RNG.normal(size=(U, U)) for g in "ifgo"}
    b_input = {g: RNG.normal(size=U) for g in "ifgo"}
    b_hidden = {g: RNG.normal(size=U) for g in "ifgo"}
    expected = np.zeros((B, T, U))
    for n in range(B):
        h, c = np.zeros(U), np.zeros(U)
        for t in range(T):
            z = {g: w[g] @ X[n, t] + b_input[g] + u[g] @ h + b_hidden[g] for g in "ifgo"}
            i, f, o = sigmoid(z["i"]), sigmoid(z["f"]), sigmoid(z["o"])
            c = f * c + i * np.tanh(z["g"])
            h = o * np.tanh(c)
            expected[n, t] = h
    layer = layers.LSTM(U, return_sequences=True, return_state=True)
    layer(X)
    kernel = np.concatenate([w[g].T for g in "ifgo"], axis=1)
    recurrent = np.concatenate([u[g].T for g in "ifgo"], axis=1)
    bias = np.concatenate([b_input[g] + b_hidden[g] for g in "ifgo"])
    layer.set_weights([kernel, recurrent, bias])
    outputs, last_h, last_c = layer(X)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last_h, expected[:, -1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last_c[-1], c, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_is_the_published_formula(reset_after: bool) -> None:
    layer = randomised(layers.GRU(U, return_sequences=True, reset_after=reset_after))
    w, u, bias = (a.astype("float64") for a in layer.get_weights())
    b, b_inner = bias if reset_after else (bias, np.zeros(3 * U))
    expected, h = np.zeros((B, T, U)), np.zeros((B, U))
    for t in range(T):
        x = X[:, t] @ w + b
        z = sigmoid(x[:, :U] + h @ u[:, :U] + b_inner[:U])
        r = sigmoid(x[:, U : 2 * U] + h @ u[:, U : 2 * U] + b_inner[U : 2 * U])
        after, before = r * (h @ u[:, 2 * U :] + b_inner[2 * U :]), (r * h) @ u[:, 2 * U :]
        h = z * h + (1 - z) * np.tanh(x[:, 2 * U :] + (after if reset_after else before))
        expected[:, t] = h
    np.testing.assert_allclose(layer(X), expected, rtol=1e-4, atol=1e-5)


def test_simple_rnn_is_its_formula() -> None:
    layer = randomised(layers.SimpleRNN(U, return_sequences=True))
    w, u, b = layer.get_weights()
    h = np.zeros((B, U))
    for t in range(T):
        h = np.tanh(X[:, t] @ w + h @ u + b)
        np.testing.assert_allclose(layer(X)[:, t], h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_fast_forms_equal_the_stepped_cell(kind: str, backwards: bool, mask: str) -> None:
    """Values and gradients: `unroll` steps the cell, the other way is the composite."""
    cls = getattr(layers, kind)
    options = {"return_sequences": True, "return_state": True, "go_backwards": backwards}
    fast, plain = cls(U, **options), cls(U, unroll=True, **options)
    randomised(fast)
    plain(X)
    plain.set_weights(fast.get_weights())
    given = MASKS[mask]
    shape = (B, T, U)
    direction = [RNG.normal(size=shape if i == 0 else (B, U)) for i in range(3)]

    def loss(layer: Any) -> Any:
        def scalar(values: Any, x: Any, *states: Any) -> Any:
            rest = [v.value for v in layer.non_trainable_variables]
            out, _ = layer.stateless_call(values, rest, x, initial_state=list(states), mask=given)
            return sum(jnp.sum(o * d) for o, d in zip(out, direction, strict=False))

        return scalar

    states = [RNG.normal(size=(B, U)).astype("float32") for _ in range(2 if kind == "LSTM" else 1)]
    values = [jnp.asarray(w) for w in fast.get_weights()]
    places = tuple(range(2 + len(states)))
    ours = jax.value_and_grad(loss(fast), places)(values, jnp.asarray(X), *states)
    steps = jax.value_and_grad(loss(plain), places)(values, jnp.asarray(X), *states)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(steps), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("SimpleRNN", {}),
    ("SimpleRNN", {"activation": "relu", "use_bias": False, "return_sequences": True}),
    ("LSTM", {"return_sequences": True, "return_state": True}),
    ("LSTM", {"go_backwards": True, "return_sequences": True}),
    ("LSTM", {"activation": "relu", "recurrent_activation": "hard_sigmoid"}),
    ("LSTM", {"unit_forget_bias": False, "use_bias": False, "unroll": True}),
    ("GRU", {"return_sequences": True, "return_state": True}),
    ("GRU", {"reset_after": False, "go_backwards": True}),
    ("GRU", {"use_bias": False}),
]


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(
    ("name", "options"), ROWS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ROWS)]
)
def test_layers_equal_keras(name: str, options: dict[str, Any], masked: bool) -> None:
    import keras

    ours = getattr(layers, name)(U, **options)
    theirs = getattr(keras.layers, name)(U, **options)
    randomised(ours)
    theirs(X)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    theirs.set_weights(ours.get_weights())
    mask = MASKS["right"] if masked else None
    if masked and options.get("go_backwards"):
        mask = MASKS["left"]
    outs = jax.tree.leaves(ours(X, mask=mask))
    for a, b in zip(outs, jax.tree.leaves(theirs(X, mask=mask)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    ours_config, their_config = ours.get_config(), theirs.get_config()
    for key in set(ours_config) & set(their_config) - {"name"}:
        assert ours_config[key] == their_config[key], key
    twin = type(ours).from_config(ours_config)
    assert twin.get_config() == ours_config


@pytest.mark.parametrize("mode", ["sum", "mul", "ave", "concat", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional_equals_keras(mode: str | None, sequences: bool) -> None:
    import keras

    ours = layers.Bidirectional(layers.LSTM(U, return_sequences=sequences), merge_mode=mode)
    theirs = keras.layers.Bidirectional(
        keras.layers.LSTM(U, return_sequences=sequences), merge_mode=mode
    )
    randomised(ours)
    theirs(X)
    theirs.set_weights(ours.get_weights())
    for a, b in zip(jax.tree.leaves(ours(X)), jax.tree.leaves(theirs(X)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    twin = layers.Bidirectional.from_config(ours.get_config())
    assert twin.get_config() == ours.get_config()


def test_bidirectional_states() -> None:
    layer = layers.Bidirectional(layers.LSTM(U, return_state=True))
    out = layer(X)
    assert [o.shape for o in out] == [(B, 2 * U)] + [(B, U)] * 4


def test_stateful_goes_on_where_it_stopped() -> None:
    whole = randomised(layers.LSTM(U))
    parts = layers.LSTM(U, stateful=True)
    parts(X[:, :3])
    parts.set_weights(whole.get_weights())  # states are no weights
    parts.reset_state()
    parts(X[:, :2])
    np.testing.assert_allclose(parts(X[:, 2:]), whole(X), rtol=1e-5, atol=1e-6)
    parts.reset_state()
    np.testing.assert_allclose(parts(X), whole(X), rtol=1e-5, atol=1e-6)


def test_predict_keeps_states() -> None:
    model = carnyx.Sequential([carnyx.Input(batch_shape=(B, 3, D)), layers.LSTM(U, stateful=True)])
    whole = layers.LSTM(U)
    whole(X)
    whole.set_weights(model.get_weights())
    model.predict(X[:, :3], batch_size=B, verbose=0)
    second = model.predict(X[:, 3:], batch_size=B, verbose=0)
    np.testing.assert_allclose(second, whole(X), rtol=1e-5, atol=1e-6)


def test_stateful_needs_a_known_batch_and_trains() -> None:
    with pytest.raises(ValueError, match="batch size must be known"):
        carnyx.Sequential([carnyx.Input((T, D)), layers.GRU(U, stateful=True)])
    model = carnyx.Sequential(
        [carnyx.Input(batch_shape=(B, T, D)), layers.GRU(U, stateful=True), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    model.fit(np.tile(X, (4, 1, 1)), np.ones((4 * B, 1)), batch_size=B, shuffle=False, verbose=0)
    assert np.abs(model.layers[0].states[0].numpy()).sum() > 0


class Leaky(carnyx.Layer):
    """A cell of a user: h = 0.5 h + x W."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((input_shape[-1], self.units), name="w")

    def call(self, inputs: Any, states: Any) -> Any:
        h = 0.5 * states[0] + inputs @ self.w
        return h, [h]


def test_any_cell_runs() -> None:
    layer = layers.RNN(Leaky(U), return_sequences=True)
    out = layer(X)
    w, h = layer.get_weights()[0], np.zeros((B, U))
    for t in range(T):
        h = 0.5 * h + X[:, t] @ w
        np.testing.assert_allclose(out[:, t], h, rtol=1e-4, atol=1e-5)
    stacked = layers.RNN([Leaky(4), layers.LSTMCell(U)], return_state=True)
    assert [o.shape for o in stacked(X)] == [(B, U), (B, 4), (B, U), (B, U)]


@pytest.mark.parametrize("option", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_dropout_is_for_training_and_seeded(kind: str, option: str) -> None:
    cls = getattr(layers, kind)
    layers_ = [cls(U, **{option: 0.5}, seed=3, kernel_initializer="ones") for _ in range(2)]
    rest = [layer(X) for layer in layers_]
    np.testing.assert_allclose(rest[0], cls(U, kernel_initializer="ones")(X), atol=2)
    first, again = (layer(X, training=True) for layer in layers_)
    if option == "dropout":
        layers_[1].set_weights(layers_[0].get_weights())
        np.testing.assert_array_equal(layers_[0](X), layers_[1](X))
    assert not np.allclose(first, rest[0])
    assert first.shape == again.shape
    model = carnyx.Sequential([carnyx.Input((T, D)), layers_[0], layers.Dense(1)])
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(X, np.ones((B, 1)), verbose=0).history["loss"][0])


def test_unknown_time_and_mixed_precision() -> None:
    model = carnyx.Sequential([carnyx.Input((None, D)), layers.LSTM(U, return_sequences=True)])
    assert model.output_shape == (None, None, U)
    assert model(X[:, :2]).shape == (B, 2, U)
    half = layers.LSTM(U, dtype="mixed_bfloat16")
    assert half(X).dtype == jnp.bfloat16 and half.weights[0].numpy().dtype == np.float32


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: layers.LSTM(0), "units must be a whole number"),
        (lambda: layers.GRU(3, dropout=2.0), r"in \[0, 1\]"),
        (lambda: layers.RNN(layers.Dense(3)), "state_size"),
        (lambda: layers.LSTM(3)(X[:, 0]), "3 axes"),
        (lambda: layers.Bidirectional(layers.Dense(3)), "recurrent layer"),
        (lambda: layers.Bidirectional(layers.LSTM(3), merge_mode="mean"), "merge_mode"),
        (lambda: layers.LSTM(3)(X, initial_state=[np.zeros((B, 3))]), "2 states"),
    ],
)
def test_mistakes_are_explained(mistake: Any, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        mistake()
