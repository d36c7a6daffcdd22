"""Sound as images of time and frequency: STFTSpectrogram, whose kernels may learn, MelSpectrogram.

The transforms are in `ops/signal.py`, the kernels of the first in `initializers.STFT`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from carnyx import initializers
from carnyx.core import dtypes
from carnyx.core.fields import declared
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, FromZero, Mode, Padding, Whole
from carnyx.ops import convolution, signal
from carnyx.ops.table import wide


def _magnitude(real: Any, imaginary: Any) -> Any:
    power = jnp.square(real) + jnp.square(imaginary)
    return jnp.sqrt(jnp.maximum(power, dtypes.epsilon()))  # at 0 the root has no slope


def _density(real: Any, imaginary: Any) -> Any:
    """The power of both signs of each frequency; 0 and the highest have one sign."""
    bins = real.shape[-1]
    sides = np.full(bins, 2.0, "float32")
    sides[[0, -1]] = 1
    return sides * (jnp.square(real) + jnp.square(imaginary))


# mode -> what it makes of the real and the imaginary part, [..., F] each
MODES: dict[str, Any] = {
    "log": lambda real, imaginary: jnp.log(_magnitude(real, imaginary)),
    "magnitude": _magnitude,
    "psd": _density,
    "real": lambda real, imaginary: real,
    "imag": lambda real, imaginary: imaginary,
    "angle": lambda real, imaginary: jnp.arctan2(imaginary, real),
    "stft": lambda real, imaginary: jnp.concatenate([real, imaginary], axis=-1),
}
SIDES = ("real", "imag")  # which are modes too, that need no other


@declared
class STFTSpectrogram(arguments.Declared, Layer):
    """The short-time Fourier transform as a convolution: [B, T, C] -> [B, T', F C].

    y[t, k] = sum over n of w[n] s x[t step + n] exp(-2 pi i k n / N), F = N // 2 + 1 frequencies
    for each channel, channel after channel ("stft": 2 F, real parts first).

    Weights: real_kernel and imag_kernel [frame_length, 1, F], those that the mode needs; they are
    trained unless `trainable=False`.

    Args:
        mode: "log" (of the magnitude), "magnitude", "psd" (power of both signs of a frequency),
            "real", "imag", "angle" or "stft".
        frame_length: from 1.
        frame_step: in [1, frame_length]; None for frame_length // 2.
        fft_length: N, from `frame_length` (the default); an odd one counts as the even one below.
        window, periodic, scaling: w and s, see `initializers.STFT`.
        padding: "valid" (whole frames only) or "same" (ceil(T / frame_step) frames).
        expand_dims: whether the channels get an axis of their own, [B, T', F, C].
        data_format: "channels_first" is [B, C, T] -> [B, F C, T'], expanded [B, C, T', F].

    Raises:
        ValueError: a step or an fft_length that does not fit the frame, unknown words.

    >>> STFTSpectrogram("psd", frame_length=8)(jnp.ones((2, 40, 1))).shape
    (2, 9, 5)
    """

    input_spec = InputSpec(ndim=3)
    modes, paddings = tuple(MODES), ("valid", "same")
    mode: Mode = "log"
    frame_length: Whole = 256
    frame_step: Whole | None = None
    fft_length: Whole | None = None
    window: Any = "hann"
    periodic: bool = False
    scaling: str | None = "density"
    padding: Padding = "valid"
    expand_dims: bool = False
    data_format: DataFormat = None

    def _set_up(self) -> None:
        self._step = self.frame_step or max(self.frame_length // 2, 1)
        if self._step > self.frame_length:
            expected = f"at most frame_length={self.frame_length}"
            raise arguments.refuse(self, "frame_step", self._step, expected)
        least, size = max(self.frame_length, 2), self.fft_length or self.frame_length
        self._size = arguments.whole(self, "fft_length", size, least)
        self._sides = (self.mode,) if self.mode in SIDES else SIDES
        self._kernel("real")  # refuses windows and scalings that there are not

    def _kernel(self, side: str) -> Any:
        return initializers.STFT(side, self.window, self.scaling, self.periodic)

    def build(self, input_shape: Any) -> None:
        shape = (self.frame_length, 1, self._size // 2 + 1)
        for side in self._sides:
            weight = self.add_weight(shape, self._kernel(side), name=f"{side}_kernel")
            setattr(self, weight.name, weight)

    def call(self, inputs: Any) -> Any:
        first = self.data_format == "channels_first"
        x = inputs if first else jnp.swapaxes(inputs, 1, 2)
        batch, channels, times = x.shape
        kernels = [getattr(self, f"{side}_kernel").value for side in self._sides]
        y = convolution.conv(
            x.reshape(batch * channels, times, 1),
            jnp.concatenate(kernels, axis=-1),
            strides=self._step,
            padding=self.padding,
            data_format="channels_last",
        )
        parts = jnp.split(wide(y), len(kernels), axis=-1)
        y = MODES[self.mode](parts[0], parts[-1]).astype(inputs.dtype)
        y = y.reshape(batch, channels, *y.shape[1:])  # B C T' F
        if self.expand_dims:
            return y if first else jnp.moveaxis(y, 1, -1)
        y = jnp.swapaxes(y, 2, 3)
        y = y.reshape(batch, channels * y.shape[2], y.shape[3])
        return y if first else jnp.swapaxes(y, 1, 2)


def mel(frequency: Any) -> Any:
    """Hertz in mel: 2595 log10(1 + f / 700), as in the Hidden Markov Toolkit.

    >>> round(mel(1000.0))
    1000
    """
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def mel_filters(bins: int, frequencies: Any, low: float, high: float) -> np.ndarray:
    """Weights [F, bins] that gather frequencies [F] into mel bins.

    In mel each bin is a triangle of height 1 from its lower neighbour's centre to its upper one's;
    the `bins` centres lie evenly between `low` and `high`. Frequency 0 belongs to none.

    >>> mel_filters(1, [0.0, 700.0, 2100.0], 0.0, 2100.0).tolist()  # 700 and 2100: 1 and 2 octaves
    [[0.0], [1.0], [0.0]]
    """
    points, edges = mel(frequencies)[:, None], np.linspace(mel(low), mel(high), bins + 2)
    rising = (points - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0) * (points > 0)


@declared
class MelSpectrogram(arguments.Declared, Layer):
    """The power of sound in bands of the mel scale: [B, T] -> [B, num_mel_bins, frames].

    frames = T // sequence_stride + 1, the ends of the sound being mirrored. Also [T] -> [bins,
    frames].

    Args:
        fft_length: from 2, the samples of a frame.
        sequence_stride: from one frame's start to the next one's, from 1.
        sequence_length: of the window, up to `fft_length` (the default), in the middle of a frame.
        window: "hann", "hamming", an array [sequence_length], or None.
        sampling_rate: samples in a second.
        num_mel_bins: from 1.
        min_freq, max_freq: between these the bins lie, in hertz; None for sampling_rate / 2.
        power_to_db: whether the result is 10 log10(max(p, min_power) / max(ref_power, min_power)).
        top_db: so much below the greatest value of the whole batch the decibels are cut.
        mag_exp: the power of the magnitude that is summed: 2 for power, 1 for magnitude.
        min_power, ref_power: see `power_to_db`.

    Raises:
        ValueError: sizes below their bounds, a window longer than the frame, max_freq below
            min_freq.

    The mel scale: Stevens, Volkmann and Newman (1937); see `mel` and `mel_filters`.

    >>> MelSpectrogram(fft_length=64, sequence_stride=16, num_mel_bins=8)(jnp.ones((2, 160))).shape
    (2, 8, 11)
    """

    input_spec = InputSpec(min_ndim=1)
    fft_length: Whole = 2048
    sequence_stride: Whole = 512
    sequence_length: Any = None
    window: Any = "hann"
    sampling_rate: int = 16000
    num_mel_bins: Whole = 128
    min_freq: FromZero = 20.0
    max_freq: Any = None
    power_to_db: bool = True
    top_db: FromZero = 80.0
    mag_exp: FromZero = 2.0
    min_power: FromZero = 1e-10
    ref_power: FromZero = 1.0

    def _set_up(self) -> None:
        frame, low = arguments.whole(self, "fft_length", self.fft_length, 2), self.min_freq
        length = arguments.whole(self, "sequence_length", self.sequence_length or frame)
        if length > frame:
            raise arguments.refuse(self, "sequence_length", length, f"at most fft_length={frame}")
        rate = arguments.number(self, "sampling_rate", self.sampling_rate, 1)
        high = int(rate / 2) if self.max_freq is None else self.max_freq
        if arguments.number(self, "max_freq", high) <= low:
            raise arguments.refuse(self, "max_freq", high, f"above min_freq={low}")
        self.sequence_length, self.sampling_rate, self.max_freq = length, rate, high

    def call(self, inputs: Any) -> Any:
        real, imaginary = signal.stft(
            inputs, self.sequence_length, self.sequence_stride, self.fft_length, self.window
        )
        power = jnp.square(real) + jnp.square(imaginary)
        if self.mag_exp != 2:  # where there is silence the root has no slope
            heard = power > 0
            power = jnp.where(heard, jnp.where(heard, power, 1) ** (self.mag_exp / 2), 0)
        frequencies = np.linspace(0, self.sampling_rate / 2, power.shape[-1])
        filters = mel_filters(self.num_mel_bins, frequencies, self.min_freq, self.max_freq)
        y = jnp.swapaxes(power @ jnp.asarray(filters, power.dtype), -1, -2)
        return (self._decibels(y) if self.power_to_db else y).astype(self.compute_dtype)

    def _decibels(self, power: Any) -> Any:
        y = 10 * jnp.log10(jnp.maximum(power, self.min_power))
        y = y - 10 * np.log10(max(self.ref_power, self.min_power))
        return jnp.maximum(y, jnp.max(y) - self.top_db) if y.size else y


__all__ = ["MelSpectrogram", "STFTSpectrogram"]
