"""Initializers: how weights start.

An initializer is called with a shape and a dtype and gives an array. Names that `get` understands
stand in one table at the end. The random numbers are those of `ops/random.py`; weights are made
with NumPy unless they are very large, so that a model is ready without a single compilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from carnyx.core import config as _config
from carnyx.core import dtypes
from carnyx.core.config import Configurable, snake_case
from carnyx.core.errors import missing_attribute
from carnyx.core.fields import declared
from carnyx.ops import random as host
from carnyx.random import SeedGenerator, draw_seed, make_default_seed

# The standard deviation of a standard normal variable cut at +-2.
TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Configurable):
    """Base of all initializers: a subclass defines `__call__(shape, dtype=None)`.

    >>> class Halves(Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return np.full(shape, 0.5, dtype or "float32")
    >>> Halves()((2,)).tolist()
    [0.5, 0.5]
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} must define `__call__(self, shape, dtype=None)`."
        )

    def clone(self) -> Any:
        """A new initializer with the same arguments; without a seed it draws other numbers."""
        return type(self).from_config(self.get_config())


def _array(value: np.ndarray, dtype: Any) -> Any:
    return host.placed(value.astype(jnp.dtype(dtypes.standardize_dtype(dtype))))


def _one_of(initializer: Any, argument: str, known: Sequence[Any]) -> None:
    value = getattr(initializer, argument)
    if value not in known:
        words = " or ".join(map(repr, known))
        kind = type(initializer).__name__
        raise ValueError(f"{kind}: `{argument}` is one of {words}. Received: {value!r}")


class Zeros(Initializer):
    """All 0.

    >>> Zeros()((2,)).tolist()
    [0.0, 0.0]
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        return _array(np.zeros(shape, np.bool_), dtype)


class Ones(Initializer):
    """All 1.

    >>> Ones()((2,)).tolist()
    [1.0, 1.0]
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        return _array(np.ones(shape, np.bool_), dtype)


class Constant(Initializer):
    """All `value`: a number, or an array that broadcasts to the shape.

    >>> Constant(3)((2,)).tolist()
    [3.0, 3.0]
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        return _array(np.broadcast_to(np.asarray(self.value), tuple(shape)), dtype)


class Identity(Initializer):
    """The identity matrix times `gain`, for shapes of rank 2.

    >>> Identity(2.0)((2, 2)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        if len(shape) != 2:
            raise ValueError(f"Identity makes matrices. Received shape={tuple(shape)}, not rank 2.")
        return _array(self.gain * np.eye(*shape, dtype="float32"), dtype)


@declared
class STFT(Initializer):
    """The kernels of a short-time Fourier transform, for weights [frame, 1, N / 2 + 1].

    w[n] s cos(2 pi k n / N), or -w[n] s sin(2 pi k n / N), with frequency k last.

    Args:
        side: "real" (cosines) or "imag" (sines).
        window: w, a name that `scipy.signal.get_window` knows, an array [frame], or None for ones.
        scaling: s, with a window: "density" 1 / sqrt(sum w^2), "spectrum" 1 / |sum w|, or None 1.
        periodic: whether the window is periodic rather than symmetric.

    >>> STFT(window=None)((4, 1, 3))[:, 0].tolist()  # N = 4
    [[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -1.0, 1.0], [1.0, 0.0, -1.0]]
    """

    SCALES = {
        "density": lambda w: 1 / np.sqrt(np.sum(w * w)),
        "spectrum": lambda w: 1 / np.abs(np.sum(w)),
        None: lambda w: 1,
    }

    side: str = "real"
    window: Any = "hann"
    scaling: str | None = "density"
    periodic: bool = False

    def _set_up(self) -> None:
        _one_of(self, "side", ("real", "imag"))
        _one_of(self, "scaling", tuple(self.SCALES))
        if isinstance(self.window, str):
            self._window(1)  # an unknown name is an error here

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        if len(shape) != 3 or shape[1] != 1 or shape[2] < 2:
            raise ValueError(
                "STFT makes kernels of shape [frame, 1, N / 2 + 1], N at least 2. Received: "
                f"shape={tuple(shape)}"
            )
        frame, _, bins = shape
        turns = np.outer(np.arange(frame), np.arange(bins)) % (2 * bins - 2) / (2 * bins - 2)
        waves = np.cos(2 * np.pi * turns) if self.side == "real" else -np.sin(2 * np.pi * turns)
        waves = np.where(np.abs(waves) < 1e-15, 0, waves)  # sin(pi) is not 0 in floats
        if self.window is not None:
            window = self._window(frame)
            waves = waves * (window * self.SCALES[self.scaling](window))[:, None]
        return _array(waves[:, None], dtype)

    def _window(self, frame: int) -> np.ndarray:
        from scipy.signal import get_window  # 0.3 s to import

        if not isinstance(self.window, (str, tuple)):
            window = np.asarray(self.window, "float64")
            if window.shape != (frame,):
                raise ValueError(
                    f"STFT: an array as `window` has the shape ({frame},) of the frame. Received: "
                    f"shape {window.shape}"
                )
            return window
        try:
            return np.asarray(get_window(self.window, frame, fftbins=self.periodic))
        except ValueError as error:
            raise ValueError(f"STFT: scipy.signal has no window {self.window!r}: {error}") from None


class RandomInitializer(Initializer):
    """Base of those that draw numbers.

    `seed` is an int or a SeedGenerator. With an int every call gives the same numbers; None takes
    an int from Python's `random` now, so that another initializer draws others. A SeedGenerator
    gives new numbers at every call.
    """

    def __init__(self, seed: Any = None) -> None:
        if isinstance(seed, dict):
            seed = _config.deserialize(seed)
        if seed is not None and not isinstance(seed, (int, np.integer, SeedGenerator)):
            raise ValueError(
                f"{type(self).__name__}: `seed` is an int, a SeedGenerator or None. "
                f"Received: {seed!r}"
            )
        self.seed = make_default_seed() if seed is None else seed

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name == "seed":  # None stays None: a twin is to draw its own
            return recorded
        return super()._config_value(name, recorded, owner)

    def _draw(self, kind: str, shape: Sequence[int], dtype: Any, *limits: float) -> Any:
        """Numbers of a `kind` from `DRAWN`: a NumPy array where `ops/random.py` says that it pays,
        else a JAX one."""
        shape, dtype = tuple(shape), dtypes.standardize_dtype(dtype)
        on_host, compiled = DRAWN[kind]
        key = draw_seed(self.seed)
        if host.on_host(key, shape, dtype):
            return on_host(np.asarray(key), shape, *limits)
        return compiled(key, shape, dtype, *limits)

    def _uniform(self, shape: Sequence[int], dtype: Any, low: float, high: float) -> Any:
        numbers = self._draw("uniform", shape, dtype, low, high)
        return host.placed(numbers) if isinstance(numbers, np.ndarray) else numbers

    def _scaled(
        self, kind: str, shape: Sequence[int], dtype: Any, mean: float, stddev: float
    ) -> Any:
        numbers = self._draw(kind, shape, dtype)
        if isinstance(numbers, np.ndarray):
            return host.placed(numbers * np.float32(stddev) + np.float32(mean))
        return numbers * stddev + mean


def _truncated(key: Any, shape: tuple[int, ...], dtype: str) -> Any:
    return jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


DRAWN: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "uniform": (host.host_uniform, jax.random.uniform),
    "normal": (host.host_normal, jax.random.normal),
    "truncated_normal": (host.host_truncated_normal, _truncated),
}


class RandomNormal(RandomInitializer):
    """Normal numbers of a given mean and standard deviation.

    >>> RandomNormal(stddev=0.1, seed=1)((2, 3)).shape
    (2, 3)
    """

    kind = "normal"

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        return self._scaled(self.kind, shape, dtype, self.mean, self.stddev)


class TruncatedNormal(RandomNormal):
    """As RandomNormal, numbers beyond two `stddev` drawn again.

    >>> bool((abs(TruncatedNormal(stddev=1.0, seed=1)((100,))) < 2).all())
    True
    """

    kind = "truncated_normal"


class RandomUniform(RandomInitializer):
    """Uniform numbers in [minval, maxval).

    >>> bool((abs(RandomUniform(seed=1)((100,))) <= 0.05).all())
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None) -> None:
        self.minval, self.maxval = minval, maxval
        super().__init__(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        return self._uniform(shape, dtype, self.minval, self.maxval)


def compute_fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """How many inputs a unit has, and how many units an input reaches, for weights of a shape.

    The last two axes are inputs and units, those before them (a kernel's window) count for both;
    `input_axes` and `output_axes` say otherwise.

    >>> compute_fans((3, 3, 16, 32)), compute_fans((10, 20)), compute_fans((7,))
    ((144, 288), (10, 20), (7, 7))
    """
    shape = tuple(int(n) for n in shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


@declared
class VarianceScaling(RandomInitializer):
    """Random numbers of variance scale / n, so that signals keep their size through layers.

    Args:
        scale: above 0.
        mode: n is "fan_in" (inputs of a unit), "fan_out" (units that an input reaches) or
            "fan_avg" (the mean of both).
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or "uniform".
        seed: see RandomInitializer.
        input_axes, output_axes: which axes count as inputs and units, see `compute_fans`.

    >>> x = VarianceScaling(3.0, "fan_in", "uniform", seed=1)((100, 50))
    >>> bool((abs(x) <= 0.3).all())
    True
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: Any = None
    input_axes: Sequence[int] | None = None
    output_axes: Sequence[int] | None = None

    def _set_up(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"VarianceScaling: `scale` is above 0. Received: scale={self.scale}")
        word = self.distribution.lower()
        self.distribution = "truncated_normal" if word == "normal" else word
        _one_of(self, "mode", ("fan_in", "fan_out", "fan_avg"))
        _one_of(self, "distribution", ("truncated_normal", "untruncated_normal", "uniform"))

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return self._uniform(shape, dtype, -limit, limit)
        if self.distribution == "untruncated_normal":
            return self._scaled("normal", shape, dtype, 0.0, math.sqrt(variance))
        stddev = math.sqrt(variance) / TRUNCATED_STDDEV
        return self._scaled("truncated_normal", shape, dtype, 0.0, stddev)


@declared
class _Recipe(VarianceScaling):
    """A VarianceScaling of fixed scale, mode and distribution."""

    scale: ClassVar[float]
    mode: ClassVar[str]
    distribution: ClassVar[str]


class GlorotUniform(_Recipe):
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16).

    >>> bool((abs(GlorotUniform(seed=1)((4, 2))) <= 1).all())
    True
    """

    scale, mode, distribution = 1.0, "fan_avg", "uniform"


class GlorotNormal(_Recipe):
    """Truncated normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010).

    >>> GlorotNormal(seed=1)((4, 2)).shape
    (4, 2)
    """

    scale, mode, distribution = 1.0, "fan_avg", "truncated_normal"


class LecunUniform(_Recipe):
    """Uniform in +-sqrt(3 / fan_in) (LeCun et al. 1998).

    >>> bool((abs(LecunUniform(seed=1)((3, 2))) <= 1).all())
    True
    """

    scale, mode, distribution = 1.0, "fan_in", "uniform"


class LecunNormal(_Recipe):
    """Truncated normal of variance 1 / fan_in (Klambauer et al. 2017, for selu).

    >>> LecunNormal(seed=1)((4, 2)).shape
    (4, 2)
    """

    scale, mode, distribution = 1.0, "fan_in", "truncated_normal"


class HeUniform(_Recipe):
    """Uniform in +-sqrt(6 / fan_in) (He et al. 2015).

    >>> bool((abs(HeUniform(seed=1)((6, 2))) <= 1).all())
    True
    """

    scale, mode, distribution = 2.0, "fan_in", "uniform"


class HeNormal(_Recipe):
    """Truncated normal of variance 2 / fan_in (He et al. 2015, equation 10, for relu).

    >>> HeNormal(seed=1)((4, 2)).shape
    (4, 2)
    """

    scale, mode, distribution = 2.0, "fan_in", "truncated_normal"


class Orthogonal(RandomInitializer):
    """A random orthogonal matrix times `gain`: orthonormal rows or columns, whichever are fewer.

    Q of the QR decomposition of a normal matrix, the signs chosen so that R's diagonal is
    positive, which makes Q uniform over the orthogonal group. Axes before the last are one.
    Saxe, McClelland, Ganguli (2014).

    >>> q = Orthogonal(seed=1)((3, 2))
    >>> bool(abs(q.T @ q - np.eye(2)).max() < 1e-6)
    True
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal needs two axes or more. Received shape={tuple(shape)}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        # half types have no QR decomposition: they are rounded afterwards
        tall = (max(rows, columns), min(rows, columns))
        numbers = self._draw("normal", tall, "float32")
        if isinstance(numbers, np.ndarray):
            q = _host_orthonormal(numbers)
        else:
            q, r = jnp.linalg.qr(numbers)
            q = q * jnp.sign(jnp.diagonal(r))
        q = self.gain * (q.T if rows < columns else q).reshape(tuple(shape))
        if isinstance(q, np.ndarray):
            return _array(q, dtype)
        return q.astype(dtypes.standardize_dtype(dtype))


def _host_orthonormal(tall: np.ndarray) -> np.ndarray:
    """Q of the QR decomposition with a positive diagonal of R, by Cholesky's R of A^T A, twice
    (Yamamoto et al. 2015). Householder's QR takes 20 times as long in NumPy when the cores are
    busy: its threads wait for one another at every column."""
    q = tall.astype(np.float64)
    for _ in range(2):  # the second pass takes away what A's condition cost the first
        q = np.linalg.solve(np.linalg.cholesky(q.T @ q), q.T).T
    return q


_BASES = (Initializer, RandomInitializer, _Recipe)
CLASSES: list[type[Initializer]] = [
    found
    for found in list(vars().values())
    if isinstance(found, type) and issubclass(found, Initializer) and found not in _BASES
]
# Every name by which a program or a file may ask for an initializer, attributes of this module too.
TABLE: dict[str, type[Initializer]] = {
    **{cls.__name__: cls for cls in CLASSES},
    **{snake_case(cls.__name__): cls for cls in CLASSES},
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
    "STFTInitializer": STFT,
    "normal": RandomNormal,
    "one": Ones,
    "uniform": RandomUniform,
    "zero": Zeros,
}
globals().update(TABLE)

__all__ = ["Initializer", *TABLE, "deserialize", "get", "serialize"]  # noqa: PLE0604  # from the table
__getattr__ = missing_attribute(__name__, __all__)


class _Given:
    """The initializer that an array stands for."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        if tuple(shape) != tuple(self.value.shape):
            raise ValueError(
                f"An array of shape {tuple(self.value.shape)} was given as the initializer of a "
                f"weight of shape {tuple(shape)}. Give one of that shape."
            )
        return jnp.asarray(self.value, dtypes.standardize_dtype(dtype))


def get(identifier: Any) -> Any:
    """The initializer for a name, a config, a class, a callable, an array or None.

    >>> type(get("glorot_uniform")).__name__, get(None)
    ('GlorotUniform', None)
    """
    if isinstance(identifier, (np.ndarray, np.generic, jax.Array)):
        return _Given(identifier)
    return _config.resolve(identifier, TABLE, "initializer", Initializer)


def serialize(initializer: Any) -> Any:
    """Plain data for an initializer."""
    return _config.serialize(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The initializer that `serialize` described.

    >>> deserialize(serialize(Constant(2.0))).value
    2.0
    """
    with _config.CustomObjectScope(custom_objects or {}):
        return get(config)
