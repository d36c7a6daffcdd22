"""Signals: Fourier transforms, frames, windows. Complex numbers are pairs (real, imaginary).

The layers that use these are in `layers/audio.py`. Half types and integers are computed in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core import dtypes
from carnyx.core.symbol import Function, any_symbol, symbolic_call
from carnyx.ops.table import op, operations, publish, tensor, wide


def _real(x: Any) -> Any:
    """An array of float32 (or float64)."""
    return wide(jnp.asarray(tensor(x)))


def _pair(z: Any) -> tuple[Any, Any]:
    return jnp.real(z), jnp.imag(z)


def of_pairs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: an operation on a complex array as one on a pair (real, imaginary)."""
    name = function.__name__

    @functools.wraps(function)
    def operation(x: Any, *args: Any, **kwargs: Any) -> Any:
        if any_symbol(x):
            return symbolic_call(Function(name, operation), (x, *args), kwargs)
        if not isinstance(x, (tuple, list)) or len(x) != 2:
            raise ValueError(
                f"ops.{name}: x must be a pair (real part, imaginary part). Received: "
                f"{type(x).__name__}. For real x take rfft, or (x, zeros_like(x))."
            )
        real, imaginary = map(_real, x)
        if real.shape != imaginary.shape:
            raise ValueError(
                f"ops.{name}: the real and the imaginary part must have the same shape. Received: "
                f"{real.shape} and {imaginary.shape}"
            )
        return function(lax.complex(real, imaginary), *args, **kwargs)

    operation.symbols = None  # type: ignore[attr-defined]  # the outputs' shapes follow from theirs
    return operation


@of_pairs
def fft(x: Any) -> Any:
    """sum over n of x[n] exp(-2 pi i k n / N) along the last axis: pair -> pair.

    >>> real, imaginary = fft(([0.0, 1.0], [0.0, 0.0]))
    >>> real.tolist(), imaginary.tolist()
    ([1.0, -1.0], [0.0, 0.0])
    """
    return _pair(jnp.fft.fft(x))


@of_pairs
def fft2(x: Any) -> Any:
    """`fft` along the last two axes: pair -> pair.

    >>> fft2(([[1.0, 2.0]], [[0.0, 0.0]]))[0].tolist()
    [[3.0, -1.0]]
    """
    return _pair(jnp.fft.fft2(x))


@of_pairs
def ifft2(x: Any) -> Any:
    """The inverse of `fft2`: pair -> pair.

    >>> ifft2(([[3.0, -1.0]], [[0.0, 0.0]]))[0].tolist()
    [[1.0, 2.0]]
    """
    return _pair(jnp.fft.ifft2(x))


@op
def rfft(x: Any, fft_length: int | None = None) -> Any:
    """`fft` of real numbers, its first N // 2 + 1 values: [..., T] -> pair [..., N // 2 + 1].

    `fft_length` N cuts x or puts zeros behind it; by default it is T.

    >>> [part.tolist() for part in rfft([1.0, 2.0])]
    [[3.0, -1.0], [0.0, 0.0]]
    """
    return _pair(jnp.fft.rfft(_real(x), _length("rfft", fft_length)))


@of_pairs
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """The inverse of `rfft`: pair [..., F] -> [..., N], N = 2 (F - 1) by default.

    >>> irfft(([3.0, -1.0], [0.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    return jnp.fft.irfft(x, _length("irfft", fft_length))


def _length(name: str, fft_length: Any) -> Any:
    if fft_length is not None and fft_length < 1:
        raise ValueError(f"ops.{name}: fft_length must be from 1. Received: {fft_length}")
    return fft_length


def _line(name: str, x: Any) -> Any:
    x = jnp.asarray(x)
    if not x.ndim:
        raise ValueError(f"ops.{name}: x must have an axis of time, [..., T]. Received: a number")
    return x


def _framed(x: Any, length: int, stride: int) -> Any:
    """Frames side by side: [..., T] -> [..., frames, length]."""
    count = max((x.shape[-1] - length) // stride + 1, 0)
    starts = jnp.arange(count) * stride
    return jax.vmap(lambda start: lax.dynamic_slice_in_dim(x, start, length, axis=-1), out_axes=-2)(
        starts
    )


def _overlapped(frames: Any, stride: int) -> Any:
    """Frames added where they lie: the transpose of `_framed`."""
    *batch, count, length = frames.shape
    line = jax.ShapeDtypeStruct((*batch, (count - 1) * stride + length), frames.dtype)
    cut = functools.partial(_framed, length=length, stride=stride)
    return jax.linear_transpose(cut, line)(frames)[0]


@op
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """Frames that start every `sequence_stride`: [..., T] -> [..., frames, sequence_length].

    frames = (T - sequence_length) // sequence_stride + 1; what is left at the end is dropped.

    >>> extract_sequences([1, 2, 3, 4, 5], 3, 2).tolist()
    [[1, 2, 3], [3, 4, 5]]
    """
    _check_frames("extract_sequences", sequence_length, sequence_stride)
    x = _line("extract_sequences", x)
    if sequence_length > x.shape[-1]:
        return jnp.zeros((*x.shape[:-1], 0, sequence_length), x.dtype)
    return _framed(x, sequence_length, sequence_stride)


def _check_frames(name: str, length: Any, stride: Any, fft_length: Any = None) -> None:
    for argument, value in (("sequence_length", length), ("sequence_stride", stride)):
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(
                f"ops.{name}: {argument} must be a whole number from 1. Received: {value!r}"
            )
    if fft_length is not None and fft_length < length:
        raise ValueError(
            f"ops.{name}: fft_length must be at least sequence_length. Received: "
            f"fft_length={fft_length}, sequence_length={length}"
        )


# a - (1 - a) cos(2 pi n / N): the windows of `stft`, periodic.
RAISED_COSINES = {"hann": 0.5, "hamming": 0.54}


def _window(name: str, window: Any, length: int, fft_length: int) -> Any:
    """A window of `length` in the middle of zeros [fft_length]; ones everywhere for None."""
    if window is None:
        return jnp.ones((fft_length,))
    values: Any
    if isinstance(window, str):
        if window not in RAISED_COSINES:
            raise ValueError(
                f"ops.{name}: window must be one of {', '.join(map(repr, RAISED_COSINES))}, an "
                f"array [sequence_length], or None. Received: {window!r}"
            )
        a = RAISED_COSINES[window]
        values = a - (1 - a) * np.cos(2 * np.pi * np.arange(length) / length)
    else:
        values = _real(window)
        if values.shape != (length,):
            raise ValueError(
                f"ops.{name}: window must have the shape [sequence_length], ({length},). Received: "
                f"shape {values.shape}"
            )
    before = (fft_length - length) // 2
    return jnp.pad(jnp.asarray(values, "float32"), (before, fft_length - length - before))


@op
def stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """`rfft` of every frame: [..., T] -> pair [..., frames, fft_length // 2 + 1].

    Args:
        sequence_length: of the window, which lies in the middle of a frame.
        sequence_stride: from one frame's start to the next one's.
        fft_length: of a frame, at least `sequence_length`.
        window: "hann", "hamming" (periodic), an array [sequence_length], or None: whole
            frames as they are.
        center: whether x is mirrored at its ends, so that frames are centred from its start on.

    >>> [part.shape for part in stft(jnp.ones((2, 20)), 6, 2, 8)]
    [(2, 11, 5), (2, 11, 5)]
    """
    _check_frames("stft", sequence_length, sequence_stride, fft_length)
    x = _real(_line("stft", x))
    if center:
        edge = fft_length // 2
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(edge, edge)], mode="reflect")
    if x.shape[-1] < fft_length:
        raise ValueError(
            f"ops.stft: x is shorter than a frame, fft_length={fft_length}. Received: shape "
            f"{x.shape}{', its ends mirrored' if center else ''}. Pad it, or take shorter frames."
        )
    frames = _framed(x, fft_length, sequence_stride)
    return _pair(jnp.fft.rfft(frames * _window("stft", window, sequence_length, fft_length)))


@of_pairs
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """The inverse of `stft`: pair [..., frames, fft_length // 2 + 1] -> [..., T].

    x = sum of w y / sum of w^2 over the frames y that lie at a place, 0 where no window reaches
    (Griffin and Lim 1984, equation 6). `length` cuts the end; the other arguments are those of
    `stft`. (Keras's result with window=None is fft_length / sequence_stride times as large.)

    >>> x = jnp.arange(20.0)
    >>> bool(jnp.allclose(istft(stft(x, 6, 2, 8), 6, 2, 8), x, atol=1e-4))
    True
    """
    _check_frames("istft", sequence_length, sequence_stride, fft_length)
    frames = jnp.fft.irfft(x, fft_length)
    weights = _window("istft", window, sequence_length, fft_length)
    y = _overlapped(frames * weights, sequence_stride)
    squares = jnp.broadcast_to(jnp.square(weights), frames.shape[-2:])
    total = _overlapped(squares, sequence_stride)
    y = jnp.where(total > 1e-10, y / jnp.where(total > 1e-10, total, 1.0), 0.0)
    start = fft_length // 2 if center else 0
    end = y.shape[-1] - start if length is None else start + length
    return y[..., start:end]


def _symmetric(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *more: function(int(x), *more).astype(dtypes.floatx())


WINDOWS = {
    "bartlett": (_symmetric(jnp.bartlett), "1 - |2 n / (x - 1) - 1| for n < x, a triangle."),
    "blackman": (
        _symmetric(jnp.blackman),
        "0.42 - 0.5 cos(t) + 0.08 cos(2 t), t = 2 pi n / (x - 1), n < x.",
    ),
    "hamming": (_symmetric(jnp.hamming), "0.54 - 0.46 cos(2 pi n / (x - 1)) for n < x."),
    "hanning": (_symmetric(jnp.hanning), "0.5 - 0.5 cos(2 pi n / (x - 1)) for n < x."),
}
publish(globals(), {"x": WINDOWS})


@op
def kaiser(x: Any, beta: Any) -> Any:
    """I0(beta sqrt(1 - (2 n / (x - 1) - 1)^2)) / I0(beta) for n < x, I0 a Bessel function.

    >>> kaiser(3, 0.0).tolist()
    [1.0, 1.0, 1.0]
    """
    return _symmetric(jnp.kaiser)(x, tensor(beta))


@op
def view_as_complex(x: Any) -> Any:
    """Pairs on the last axis as complex numbers: [..., 2] -> [...].

    >>> view_as_complex([[1.0, 2.0]]).tolist()
    [(1+2j)]
    """
    x = _real(x)
    if not x.ndim or x.shape[-1] != 2:
        raise ValueError(
            "ops.view_as_complex: the last axis of x must have size 2 (real, imaginary). "
            f"Received: shape {x.shape}"
        )
    return lax.complex(x[..., 0], x[..., 1])


@op
def view_as_real(x: Any) -> Any:
    """Complex numbers as pairs on a new last axis: [...] -> [..., 2].

    >>> view_as_real(jnp.array([1 + 2j])).tolist()
    [[1.0, 2.0]]
    """
    return jnp.stack(_pair(jnp.asarray(x)), axis=-1)


__all__ = operations(globals())  # noqa: PLE0605
