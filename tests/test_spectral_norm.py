"""Spectral normalisation against singular values, and batch renormalisation against its paper."""

import numpy as np
import pytest

import carnyx
from carnyx import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype("float32")


def wrapped(inner, **options):
    layer = layers.SpectralNormalization(inner, **options)
    layer(X if isinstance(inner, layers.Dense) else RNG.normal(size=(1, 4, 4, 2)))
    return layer


def test_the_greatest_singular_value_becomes_1():
    dense = wrapped(layers.Dense(4), power_iterations=50)
    w = dense.layer.kernel.numpy()
    dense(X)
    np.testing.assert_array_equal(dense.layer.kernel, w)  # only training changes it
    y = dense(X, training=True)
    np.testing.assert_allclose(dense.layer.kernel, w / np.linalg.norm(w, 2), rtol=1e-4)
    np.testing.assert_allclose(y, X @ w / np.linalg.norm(w, 2), rtol=1e-4, atol=1e-5)
    conv = wrapped(layers.Conv2D(3, 2))
    for _ in range(40):  # u is kept between calls
        conv(np.ones((1, 4, 4, 2)), training=True)
    matrix = conv.layer.kernel.numpy().reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(matrix, 2), 1, rtol=1e-4)


def test_a_step_of_training_goes_through_sigma():
    """W becomes W / sigma - rate dL/dW, L(W / sigma(W)) with u and v held."""
    layer = wrapped(layers.Dense(1, use_bias=False))
    w, u = (a.astype("float64") for a in layer.get_weights())
    model = carnyx.Sequential([layer])
    model.compile(carnyx.optimizers.SGD(0.1), "mse")
    model.fit(X, np.ones((8, 1)), batch_size=8, verbose=0)
    v = u @ w.T / np.linalg.norm(u @ w.T)
    u = v @ w / np.linalg.norm(v @ w)

    def loss(w):
        return np.mean((X @ (w / (v @ w @ u.T)) - 1) ** 2)

    slope = np.zeros_like(w)
    for i in range(5):
        step = np.eye(5)[:, [i]] * 1e-6
        slope[i] = (loss(w + step) - loss(w - step)) / 2e-6
    got, got_u = layer.get_weights()
    np.testing.assert_allclose(got, w / (v @ w @ u.T) - 0.1 * slope, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got_u, u, rtol=1e-5)


def test_half_types_keep_the_stored_kernel_whole():
    layer = wrapped(layers.Dense(4, dtype="mixed_bfloat16"), dtype="mixed_bfloat16")
    layer(X, training=True)
    kernel = layer.layer.kernel.numpy()
    assert kernel.dtype == np.float32
    assert (kernel != kernel.astype("bfloat16").astype("float32")).any()


def test_a_kernel_of_zeros_stays_finite():
    layer = wrapped(layers.Dense(4, kernel_initializer="zeros"))
    np.testing.assert_array_equal(layer(X, training=True), 0)


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: layers.SpectralNormalization(layers.Dense), "must be a Layer"),
        (lambda: layers.SpectralNormalization(layers.ReLU())(X), "`kernel` or `embeddings`"),
        (lambda: layers.SpectralNormalization(layers.Dense(2), 0), "a whole number from 1"),
        (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"r": 1}), '"rmin"'),
        (
            lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmin": 2, "rmax": 1}),
            "rmin <= rmax",
        ),
        (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1}), "dmax"),
        (lambda: layers.BatchNormalization(renorm_momentum=2), r"in \[0, 1\]"),
    ],
)
def test_mistakes_are_explained(mistake, says):
    with pytest.raises(ValueError, match=says):
        mistake()


def test_batch_renormalisation_is_its_paper():
    """Ioffe (2017), algorithm 1, for three batches."""
    clip = {"rmin": 0.5, "rmax": 1.2, "dmax": 0.4}
    layer = layers.BatchNormalization(
        renorm=True, renorm_clipping=clip, renorm_momentum=0.6, momentum=0.9, epsilon=0.01
    )
    mean, stddev, slow_mean, slow_stddev = np.zeros(5), np.ones(5), np.zeros(5), np.ones(5)
    for n in range(3):
        x = X * (1 + n) + n
        y = layer(x, training=True)
        batch_mean, batch_stddev = x.mean(0), np.sqrt(x.var(0) + 0.01)
        r = np.clip(batch_stddev / stddev, 0.5, 1.2)
        d = np.clip((batch_mean - mean) / stddev, -0.4, 0.4)
        np.testing.assert_allclose(y, (x - batch_mean) / batch_stddev * r + d, rtol=1e-4, atol=1e-5)
        mean, stddev = 0.6 * mean + 0.4 * batch_mean, 0.6 * stddev + 0.4 * batch_stddev
        slow_mean = 0.9 * slow_mean + 0.1 * batch_mean
        slow_stddev = 0.9 * slow_stddev + 0.1 * batch_stddev
    rest = layer(X)
    np.testing.assert_allclose(rest, (X - slow_mean) / slow_stddev, rtol=1e-4, atol=1e-5)
