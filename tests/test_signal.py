"""Fourier transforms, frames and windows against NumPy, SciPy and Keras."""

import functools
import inspect

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import scipy.signal

import carnyx
from carnyx import ops
from carnyx.ops import signal

# Halves the time of compiling, which is the tests'.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 20)).astype("float32")
Y = RNG.normal(size=(2, 20)).astype("float32")
Z = X + 1j * Y


def same(pair, z):
    np.testing.assert_allclose(pair[0], z.real, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pair[1], z.imag, rtol=1e-4, atol=1e-5)


def test_signatures_are_keras_own():
    for name in signal.__all__:
        ours, theirs = (
            [(p.name, p.default) for p in inspect.signature(getattr(m, name)).parameters.values()]
            for m in (ops, keras.ops)
        )
        assert ours == theirs, name
        assert getattr(ops, name).__doc__


def test_transforms_are_numpy_own():
    same(ops.fft((X, Y)), np.fft.fft(Z))
    same(ops.fft2((X, Y)), np.fft.fft2(Z))
    same(ops.ifft2((X, Y)), np.fft.ifft2(Z))
    same(ops.fft2(ops.ifft2((X, Y))), Z)
    for n in (None, 15, 32):
        same(ops.rfft(X, n), np.fft.rfft(X, n))
        np.testing.assert_allclose(ops.irfft((X, Y), n), np.fft.irfft(Z, n), rtol=1e-4, atol=1e-5)


def test_types_and_lists():
    assert [p.dtype for p in ops.rfft(np.arange(4))] == [jnp.float32] * 2
    assert ops.fft((jnp.asarray(X, "bfloat16"), jnp.zeros_like(X)))[0].dtype == jnp.float32
    same(ops.fft(([1.0, 2.0], [0.0, 0.0])), np.array([3.0, -1.0]))
    assert ops.extract_sequences(np.arange(10), 3, 2).dtype == jnp.int32
    assert ops.view_as_complex(jnp.ones((3, 2), "float16")).dtype == jnp.complex64
    np.testing.assert_array_equal(ops.view_as_complex(np.stack([X, Y], -1)), Z)
    np.testing.assert_array_equal(ops.view_as_real(jnp.asarray(Z)), np.stack([X, Y], -1))


def test_frames_are_a_loop():
    for length, stride in ((5, 3), (20, 1), (1, 7), (25, 3)):
        starts = range(0, max(20 - length + 1, 0), stride)
        wanted = np.zeros((2, len(starts), length))
        for i, start in enumerate(starts):
            wanted[:, i] = X[:, start : start + length]
        np.testing.assert_array_equal(ops.extract_sequences(X, length, stride), wanted)


@pytest.mark.parametrize(
    ("window", "center", "length", "stride", "size"),
    [
        ("hann", True, 8, 2, 8),
        ("hamming", False, 6, 3, 9),
        (None, True, 6, 3, 9),
        ("array", True, 6, 2, 7),
    ],
)
def test_stft_is_scipy_and_keras(window, center, length, stride, size):
    given = RNG.uniform(0.5, 1, length).astype("float32") if window == "array" else window
    options = {"window": given, "center": center}

    def both(x):
        pairs = [m.ops.stft(x, length, stride, size, **options) for m in (carnyx, keras)]
        lines = [
            m.ops.istft(pair, length, stride, size, length=15, **options)
            for m, pair in zip((carnyx, keras), pairs, strict=True)
        ]
        return *pairs, *map(jnp.asarray, lines)

    got, theirs, back, wanted = quick(both)(X)
    same(got, np.asarray(theirs[0]) + 1j * np.asarray(theirs[1]))
    values = np.ones(size)
    if window is not None:
        values = given if window == "array" else scipy.signal.get_window(given, length)
        before = (size - length) // 2
        values = np.pad(values, (before, size - length - before))
    x = np.pad(X, [(0, 0), (size // 2, size // 2)], "reflect") if center else X
    starts = range(0, x.shape[1] - size + 1, stride)
    frames = np.stack([x[:, start : start + size] for start in starts], axis=1)
    same(got, np.fft.rfft(frames * values))
    scale = 1 if window else size / stride  # Keras's is so much too large without a window
    np.testing.assert_allclose(back, wanted / scale, rtol=1e-3, atol=1e-4)
    if center:
        np.testing.assert_allclose(back, X[:, :15], rtol=1e-3, atol=1e-4)


def test_istft_is_0_where_no_window_reaches():
    pair = quick(lambda x: ops.stft(x, 6, 6, 8, center=False))(X)
    back, theirs = (
        ops.istft(pair, 6, 6, 8, center=False),
        keras.ops.istft(pair, 6, 6, 8, center=False),
    )
    np.testing.assert_allclose(back, theirs, rtol=1e-4, atol=1e-5)
    assert not np.asarray(back[:, [0, 1, 7]]).any() and np.isfinite(back).all()


@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning"])
def test_windows_are_numpy_own(name):
    for n in (0, 1, 2, 5, 8):
        window = getattr(ops, name)(n)
        np.testing.assert_allclose(window, getattr(np, name)(n), atol=1e-6)
        assert window.dtype == jnp.float32
        np.testing.assert_allclose(ops.kaiser(n, 3.5), np.kaiser(n, 3.5), atol=1e-6)


def test_gradients_are_finite_differences():
    ways = RNG.normal(size=(2, 11, 5)), RNG.normal(size=(2, 20))

    def scalar(x):
        pair = ops.stft(x, 6, 2, 8)
        return jnp.sum(pair[0] ** 2 * ways[0]) + jnp.sum(ops.istft(pair, 6, 2, 8) ** 3 * ways[1])

    slope = quick(jax.grad(scalar))(X)
    way = RNG.normal(size=X.shape)
    ends = [float(scalar((X + s * way).astype("float32"))) for s in (3e-3, -3e-3)]
    np.testing.assert_allclose((slope * way).sum(), (ends[0] - ends[1]) / 6e-3, rtol=5e-3)


def test_symbols():
    x = carnyx.Input((20,))
    real, imaginary = ops.stft(x, 6, 2, 8)
    assert real.shape == (None, 11, 5)
    model = carnyx.Model(x, ops.istft((real, imaginary), 6, 2, 8))
    np.testing.assert_allclose(model(X), X, rtol=1e-3, atol=1e-4)
    assert ops.fft((carnyx.Input((4, 6)), carnyx.Input((4, 6))))[1].shape == (None, 4, 6)


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: ops.fft(X), "a pair"),
        (lambda: ops.fft((X, Y[:1])), r"\(2, 20\) and \(1, 20\)"),
        (lambda: ops.rfft(X, 0), "fft_length must be from 1"),
        (lambda: ops.extract_sequences(X, 0, 1), "sequence_length must be a whole number"),
        (lambda: ops.extract_sequences(X, 2, 0), "sequence_stride must be a whole number"),
        (lambda: ops.stft(X, 9, 2, 8), "at least sequence_length"),
        (lambda: ops.stft(X, 6, 2, 8, "han"), "'hann', 'hamming'"),
        (lambda: ops.stft(X, 6, 2, 8, np.ones(5)), r"\(6,\)"),
        (lambda: ops.stft(X[:, :6], 6, 2, 8, center=False), "shorter than a frame"),
        (lambda: ops.extract_sequences(3.0, 1, 1), "an axis of time"),
        (lambda: ops.view_as_complex(X), "size 2"),
    ],
)
def test_mistakes_are_explained(mistake, says):
    with pytest.raises(ValueError, match=says):
        mistake()
