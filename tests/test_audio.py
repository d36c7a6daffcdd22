"""Spectrograms against SciPy and loops of their formulas."""

import functools

import jax
import keras
import numpy as np
import pytest
import scipy.signal

import carnyx
from carnyx import initializers, layers
from carnyx.layers.audio import MODES, mel_filters

# Halves the time of compiling, which is the tests'.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 60)).astype("float32")


@pytest.mark.parametrize("scaling", ["psd", "spectrum"])
def test_stft_is_scipy_own(scaling):
    mine = {"psd": "density"}.get(scaling, scaling)
    layer = quick(layers.STFTSpectrogram("stft", 8, 4, 16, scaling=mine))
    window = scipy.signal.get_window("hann", 8, fftbins=False)
    options = {"window": window, "nperseg": 8, "noverlap": 4, "nfft": 16, "boundary": None}
    *_, z = scipy.signal.stft(X, padded=False, scaling=scaling, **options)
    z = np.swapaxes(z, 1, 2)
    wanted = np.concatenate([z.real, z.imag], axis=-1)
    np.testing.assert_allclose(layer(X[..., None]), wanted, rtol=1e-4, atol=1e-5)


def test_modes_equal_keras():
    rows = [[lib.layers.STFTSpectrogram(m, 8, 4) for lib in (carnyx, keras)] for m in MODES]
    found = quick(lambda x: [[layer(x) for layer in row] for row in rows])(X[..., None])
    for mode, row, (got, wanted) in zip(MODES, rows, found, strict=True):
        if mode == "angle":  # pi and -pi are one
            got, wanted = np.exp(1j * got), np.exp(1j * wanted)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
        assert [w.name for w in row[0].weights] == [w.name for w in row[1].weights]


@pytest.mark.parametrize("side", ["real", "imag"])
def test_kernels_equal_keras(side):
    for window, scaling in (("hann", "density"), ("hann", "spectrum"), (None, "density")):
        ours, theirs = (
            lib.initializers.STFT(side, window, scaling, True) for lib in (carnyx, keras)
        )
        np.testing.assert_allclose(ours((6, 1, 5)), theirs((6, 1, 5)), rtol=1e-5, atol=1e-6)
        twin = initializers.deserialize(keras.initializers.serialize(theirs))
        assert type(twin) is initializers.STFT and twin.get_config() == ours.get_config()
    assert initializers.STFTInitializer is initializers.stft is initializers.STFT


def test_mel_filters_are_triangles():
    """Each entry by the formula, in a loop; and Keras's matrix, which it keeps in float32."""
    rate, bins, low, high = 8000, 10, 50.0, 3000.0
    frequencies = np.linspace(0, rate / 2, 65)
    got = mel_filters(bins, frequencies, low, high)

    def mel(f):
        return 1127.01048 * np.log(1 + f / 700)  # the same scale in natural logarithms

    step = (mel(high) - mel(low)) / (bins + 1)
    for k, f in enumerate(frequencies):
        for b in range(bins):
            centre = mel(low) + (b + 1) * step
            wanted = max(1 - abs(mel(f) - centre) / step, 0) if f else 0
            np.testing.assert_allclose(got[k, b], wanted, atol=1e-6)
    theirs = keras.layers.MelSpectrogram().linear_to_mel_weight_matrix(bins, 65, rate, low, high)
    np.testing.assert_allclose(got, theirs, atol=1e-5)


def test_mel_is_a_loop_over_frames():
    layer = layers.MelSpectrogram(
        16, 5, 12, sampling_rate=100, num_mel_bins=4, min_freq=3.0, top_db=20.0, ref_power=2.0
    )
    window = np.pad(scipy.signal.get_window("hann", 12), 2)
    padded = np.pad(X, [(0, 0), (8, 8)], "reflect")
    filters = mel_filters(4, np.linspace(0, 50, 9), 3.0, 50.0)
    wanted = np.zeros((2, 4, 13))
    for t in range(13):
        power = np.abs(np.fft.rfft(padded[:, t * 5 : t * 5 + 16] * window)) ** 2
        wanted[:, :, t] = 10 * np.log10(np.maximum(power @ filters, 1e-10) / 2.0)
    wanted = np.maximum(wanted, wanted.max() - 20)
    np.testing.assert_allclose(quick(layer)(X), wanted, rtol=1e-4, atol=1e-4)
    shapes = [jax.eval_shape(layer, x) for x in (X[0], X.astype("int16"), X[:0])]
    assert [s.shape for s in shapes] == [(4, 13), (2, 4, 13), (0, 4, 13)]
    assert {s.dtype for s in shapes} == {np.dtype("float32")}


def test_a_chirp_rises():
    """Where a spectrogram is brightest there is the chirp's own frequency."""
    rate = 4000
    t = np.arange(rate) / rate
    sound = scipy.signal.chirp(t, 200, 1.0, 1500).astype("float32")
    y = quick(layers.STFTSpectrogram("magnitude", 256, 128))(sound[None, :, None])[0]
    middle = (np.arange(len(y)) * 128 + 128) / rate
    np.testing.assert_allclose(np.argmax(y, -1) * rate / 256, 200 + 1300 * middle, atol=25)
    bands = layers.MelSpectrogram(256, 128, sampling_rate=rate, num_mel_bins=24)
    bands = quick(bands)(sound[None])[0]
    assert (np.diff(np.argmax(bands, 0)[1:-1]) >= 0).all()


@pytest.mark.parametrize("engine", ["xla", "numpy"])
def test_they_train_on_every_engine(engine):
    """Silence too has a finite gradient."""
    sound = carnyx.Input((64,))
    learned = layers.Rescaling(1.0)(sound)
    y = layers.Dense(64, kernel_initializer="identity")(learned)
    bands = layers.MelSpectrogram(
        16, 8, sampling_rate=100, num_mel_bins=4, mag_exp=1.0, power_to_db=False
    )(y)
    frames = layers.STFTSpectrogram("log", 16)(layers.Reshape((64, 1))(y))
    heads = [layers.GlobalAveragePooling1D()(v) for v in (bands, frames)]
    model = carnyx.Model(sound, layers.Dense(1)(layers.Concatenate()(heads)))
    model.compile("sgd", "mse", engine=engine)
    x = np.concatenate([RNG.normal(size=(2, 64)), np.zeros((2, 64))]).astype("float32")
    before = model.get_weights()
    history = model.fit(x, np.ones((4, 1)), batch_size=4, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    after = model.get_weights()
    assert all(np.isfinite(w).all() for w in after)
    assert not np.array_equal(before[0], after[0])  # the gradient came through both


def test_kernels_may_be_frozen():
    layer = layers.STFTSpectrogram(frame_length=8, trainable=False)
    layer(X[..., None])
    assert len(layer.weights) == 2 and not layer.trainable_weights
    slope = jax.grad(lambda x: layers.STFTSpectrogram("magnitude", 8)(x).sum())(np.zeros((1, 8, 1)))
    assert not np.asarray(slope).any()


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: layers.STFTSpectrogram("logs"), "Did you mean 'log'"),
        (lambda: layers.STFTSpectrogram(frame_length=8, frame_step=9), "at most frame_length=8"),
        (lambda: layers.STFTSpectrogram(frame_length=8, fft_length=6), "from 8"),
        (
            lambda: layers.STFTSpectrogram(frame_length=1),
            "fft_length must be a whole number from 2",
        ),
        (lambda: layers.STFTSpectrogram(window="haan"), "no window 'haan'"),
        (lambda: layers.STFTSpectrogram(scaling="psd"), "`scaling` is one of"),
        (lambda: layers.STFTSpectrogram()(X), "expected 3 axes"),
        (lambda: layers.STFTSpectrogram()(X[..., None]), "does not fit into the input"),
        (lambda: layers.MelSpectrogram(16, sequence_length=17), "at most fft_length=16"),
        (lambda: layers.MelSpectrogram(min_freq=9000.0), "above min_freq"),
        (lambda: layers.MelSpectrogram(16, 4, window="foo")(X), "'hann', 'hamming'"),
        (lambda: layers.MelSpectrogram()(np.float32(3)), "at least 1 axes"),
        (lambda: layers.STFTSpectrogram(window=np.ones(3))(X[..., None]), r"shape \(256,\)"),
        (lambda: layers.MelSpectrogram(num_mel_bins=0), "a whole number from 1"),
        (lambda: initializers.STFT("left"), "'real' or 'imag'"),
        (lambda: initializers.STFT()((8, 2, 5)), r"\[frame, 1, N / 2 \+ 1\]"),
    ],
)
def test_mistakes_are_explained(mistake, says):
    with pytest.raises(ValueError, match=says):
        mistake()
