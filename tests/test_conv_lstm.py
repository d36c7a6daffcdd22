"""ConvLSTM against a loop of its formula, against Keras with masks and states, and its own cell."""

import functools

import jax
import keras
import numpy as np
import pytest
from scipy.signal import correlate

import carnyx
from carnyx import layers
from carnyx.layers.rnn import RNN

# Halves the time of compiling, which is the tests'.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(3)
X = RNG.normal(size=(2, 4, 5, 4, 2)).astype("float32")  # B T H W C
MASKS = {
    "right": np.arange(4) < np.array([[3], [0]]),
    "left": np.arange(4) >= np.array([[1], [2]]),
}


def ready(**options):
    layer = layers.ConvLSTM2D(3, (2, 3), **options)
    layer(X)
    rng = np.random.default_rng(5)
    layer.set_weights([rng.normal(size=w.shape) * 0.4 for w in layer.weights])
    return layer


def summed(x, kernel):
    """x [H, W, C] correlated with kernel [h, w, C, K], "same" (the odd row and column after)."""
    h, w, channels, filters = kernel.shape
    before = (h - 1) // 2, (w - 1) // 2
    x = np.pad(x, [(b, n - 1 - b) for b, n in zip(before, (h, w), strict=True)] + [(0, 0)])
    planes = [
        sum(correlate(x[..., c], kernel[..., c, k], "valid") for c in range(channels))
        for k in range(filters)
    ]
    return np.stack(planes, axis=-1)


def test_it_is_the_published_formula():
    layer = ready(padding="same", return_sequences=True, return_state=True)
    w, u, b = (a.astype("float64") for a in layer.get_weights())
    outputs, last_h, last_c = quick(layer)(X)
    for n in range(2):
        h = c = np.zeros((5, 4, 3))
        for t in range(4):
            i, f, g, o = np.split(summed(X[n, t], w) + b + summed(h, u), 4, axis=-1)
            i, f, o = (1 / (1 + np.exp(-z)) for z in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
            np.testing.assert_allclose(outputs[n, t], h, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(last_h[n], h, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(last_c[n], c, rtol=1e-4, atol=1e-5)


def test_states_equal_keras():
    options = {"return_sequences": True, "return_state": True, "go_backwards": True}
    ours = ready(**options)
    theirs = keras.layers.ConvLSTM2D(3, (2, 3), **options)
    theirs(X)
    theirs.set_weights(ours.get_weights())
    start = [RNG.normal(size=(2, 4, 2, 3)).astype("float32") for _ in range(2)]
    both = quick(lambda: (ours(X, initial_state=start), theirs(X, initial_state=start)))()
    for a, b in zip(*both, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
def test_a_masked_step_is_as_if_it_were_not_there(mask):
    """Keras's own masks are no oracle: it lays a mask [B, T] along an axis of space."""
    layer = ready(return_state=True, go_backwards=mask == "left")
    masked = quick(layer)(X, mask=MASKS[mask])
    for n, keep in enumerate(MASKS[mask]):
        alone = quick(layer)(X[n : n + 1, keep]) if keep.any() else [np.zeros((1, 4, 2, 3))] * 3
        for a, b in zip(masked, alone, strict=True):
            np.testing.assert_allclose(a[n], b[0], rtol=1e-4, atol=1e-5)


def test_the_projected_form_is_the_cell_stepped():
    layer = ready(dropout=0.4, recurrent_dropout=0.3, seed=2, padding="same")
    cotangent = RNG.normal(size=(2, 5, 4, 3))

    def loss(run, weights, x):
        start = layer._start(x.shape)
        layer.cell.seed_generator.state.assign([0, 2])
        for variable, value in zip(layer.weights, weights, strict=True):
            variable.assign(value)
        outputs, _ = run(layer, x, start, MASKS["right"], True)
        return (outputs[:, -1] * cotangent).sum()

    pure = carnyx.core.state.pure
    values = layer.get_weights()
    results = []
    for run in (type(layer).run, RNN.run):

        def scalar(values, x, run=run):
            return pure(lambda: loss(run, values, x), layer.variables)(
                [v.value for v in layer.variables]
            )[0]

        results.append(quick(jax.value_and_grad(scalar, (0, 1)))(values, X))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_stateful_goes_on_where_it_stopped():
    whole = ready()
    parts = layers.ConvLSTM2D(3, (2, 3), stateful=True)
    parts(X[:, :2])
    parts.set_weights(whole.get_weights())
    parts.reset_state()
    parts(X[:, :2])
    np.testing.assert_allclose(parts(X[:, 2:]), whole(X), rtol=1e-5, atol=1e-6)
    assert parts.get_initial_state(7)[0].shape == (7, 4, 2, 3)
    half = layers.ConvLSTM2D(3, (2, 3), stateful=True, dtype="mixed_bfloat16")
    half(X)
    assert half.states[0].dtype == "bfloat16"


def test_unknown_sizes_and_training():
    model = carnyx.Sequential(
        [
            carnyx.Input((None, None, None, 2)),
            layers.ConvLSTM2D(2, 3, padding="same", dropout=0.2, recurrent_dropout=0.2),
            layers.GlobalAveragePooling2D(),
        ]
    )
    assert model.output_shape == (None, 2)
    model.compile("sgd", "mse")
    history = model.fit(X, np.ones((2, 2)), epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[1] != history[0]
    assert model.predict(X[:, :2, :3], verbose=0).shape == (2, 2)


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: layers.ConvLSTM2D(0, 2), "filters must be a whole number from 1"),
        (lambda: layers.ConvLSTM2D(2, (2, 2, 2)), "a tuple of 2"),
        (lambda: layers.ConvLSTM1D(2, 2, padding="causal"), "'valid', 'same'"),
        (lambda: layers.ConvLSTM1D(2, 2, strides=2, dilation_rate=2), "1 where dilation_rate"),
        (lambda: layers.ConvLSTM2D(2, 2)(X[:, 0]), "expected 5 axes"),
        (lambda: layers.ConvLSTM2D(2, 9)(X), "does not fit into the input"),
        (lambda: layers.ConvLSTM2D(2, 2)(carnyx.Input((3, 4, 4, None))), "channel axis"),
        (lambda: layers.ConvLSTM2D(2, 2, recurrent_dropout=2), r"in \[0, 1\]"),
        (lambda: layers.ConvLSTM2D(2, 2)(X, initial_state=[X[:, 0]]), "2 states"),
        (lambda: layers.ConvLSTM2D(2, 2)(X, initial_state=[X[:, 0]] * 2), r"\(2, 4, 3, 2\)"),
        (lambda: layers.ConvLSTM2D(2, 2)(X[:, :0]), "no steps"),
    ],
)
def test_mistakes_are_explained(mistake, says):
    with pytest.raises(ValueError, match=says):
        mistake()
