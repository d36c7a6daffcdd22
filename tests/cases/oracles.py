"""Independent definitions of operations: NumPy, SciPy, formulas, loops; nothing of JAX.

The formulas stand in FORMULAS by name, the loops below by what they do; `named` finds the function
of a name here, in NumPy or in SciPy.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    return np.logaddexp(x, 0)


def elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def hard_sigmoid(x: Any) -> Any:
    return np.clip(x / 6 + 0.5, 0, 1)


def divide_no_nan(a: Any, b: Any) -> Any:
    return np.where(b == 0, 0, a / np.where(b == 0, 1, b))


FORMULAS: dict[str, Callable[..., Any]] = {
    "angle": lambda x: np.where(np.isnan(x), np.nan, np.angle(x)),
    "array": np.array,
    "celu": lambda x, alpha=1.0: elu(x / alpha, 1.0) * alpha,
    "divide_no_nan": divide_no_nan,
    "elu": elu,
    "empty": np.zeros,
    "empty_like": np.zeros_like,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "erfinv": scipy.special.erfinv,
    "fabs": lambda x: np.abs(np.asarray(x, float)),
    "gelu": lambda x, approximate=True: (
        x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
        if approximate else x * scipy.special.ndtr(x)
    ),
    "glu": lambda x, axis=-1: np.split(x, 2, axis)[0] * sigmoid(np.split(x, 2, axis)[1]),
    "hard_shrink": lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x, 0.0),
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": lambda x: x * hard_sigmoid(x),
    "hard_swish": lambda x: x * hard_sigmoid(x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "i0": scipy.special.i0,
    "leaky_relu": lambda x, negative_slope=0.2: np.where(x > 0, x, negative_slope * x),
    "log_sigmoid": lambda x: -softplus(-x),
    "log_softmax": scipy.special.log_softmax,
    "logdet": lambda x: np.linalg.slogdet(x)[1],
    "logsumexp": scipy.special.logsumexp,
    "multiply": np.multiply,
    "relu": relu,
    "relu6": lambda x: np.clip(x, 0, 6),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "selu": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "sinc": lambda x: np.sinc(np.asarray(x, float)),
    "soft_shrink": lambda x, threshold=0.5: np.sign(x) * relu(np.abs(x) - threshold),
    "softmax": scipy.special.softmax,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "squareplus": lambda x, b=4: (x + np.sqrt(x**2 + b)) / 2,
    "stop_gradient": lambda x: x,
    "swish": lambda x: x * sigmoid(x),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "top_k": lambda x, k: (np.sort(x)[..., ::-1][..., :k], np.argsort(-x)[..., :k]),
    "tri": lambda n, M=None, k=0: np.tri(n, M, k),
}  # fmt: skip


def named(name: str) -> Callable[..., Any]:
    """The function of that name."""
    for home in (np, np.linalg, scipy.linalg):
        if name in FORMULAS:
            return FORMULAS[name]
        if hasattr(home, name):
            return getattr(home, name)
    raise AssertionError(f"no oracle for {name}")


def of_keras(name: str) -> Callable[..., Any]:
    """Keras's operation, in float32."""
    import keras

    function = getattr(keras.ops, name)

    def narrow(x: Any) -> Any:
        return x.astype("float32") if isinstance(x, np.ndarray) and x.dtype == float else x

    return lambda *args, **kwargs: function(*map(narrow, args), **kwargs)


def segments(function: Any, start: float) -> Callable[..., Any]:
    """A loop over rows."""

    def run(data: Any, ids: Any, num_segments: int, sorted: bool = False) -> Any:
        out = np.full((num_segments, *data.shape[1:]), float(start))
        for value, segment in zip(data, ids, strict=True):
            if 0 <= segment < num_segments:
                out[segment] = function(out[segment], value)
        return out

    return run


def marked(function: Any) -> Callable[..., Any]:
    """NumPy's NaN-skipping search, -1 for NaN alone."""

    def run(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        alone = np.isnan(x).all(axis, keepdims=keepdims)
        found = function(np.where(np.isnan(x), np.inf, x), axis, keepdims=keepdims)
        return np.where(alone, -1, found)

    return run


def windows(x: Any, size: Any, strides: Any, reduce: Any) -> Any:
    """Pooling without padding by a loop: [B, H, W, C]."""
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], size, strides, strict=True))
    return np.stack(
        [
            np.stack([
                reduce(x[:, i * strides[0] :, j * strides[1] :][:, : size[0], : size[1]], (1, 2))
                for j in range(columns)
            ], 1)
            for i in range(rows)
        ],
        1,
    )  # fmt: skip


def adaptive(x: Any, size: Any, reduce: Any) -> Any:
    for axis, cells in zip((1, 2), size, strict=True):
        n = x.shape[axis]
        bounds = [
            (int(np.floor(i * n / cells)), int(np.ceil((i + 1) * n / cells))) for i in range(cells)
        ]
        x = np.stack([reduce(x.take(range(a, b), axis), axis) for a, b in bounds], axis)
    return x


def convolved(x: Any, kernel: Any, strides: Any = (1, 1), dilation: int = 1) -> Any:
    """Convolution without padding by a loop over positions: [B, H, W, C], [h, w, C, K]."""
    reach = [dilation * (k - 1) + 1 for k in kernel.shape[:2]]
    rows, columns = ((n - r) // s + 1 for n, r, s in zip(x.shape[1:3], reach, strides, strict=True))
    y = np.zeros((x.shape[0], rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * strides[0] :, j * strides[1] :][
                :, : reach[0] : dilation, : reach[1] : dilation
            ]
            y[:, i, j] = np.einsum("bhwc,hwck->bk", patch, kernel)
    return y


def depthwise(x: Any, kernel: Any, **options: Any) -> Any:
    """As a convolution whose kernel is 0 between different channels."""
    h, w, channels, multiplier = kernel.shape
    full = np.zeros((h, w, channels, channels, multiplier))
    for c in range(channels):
        full[:, :, c, c] = kernel[:, :, c]
    return convolved(x, full.reshape(h, w, channels, channels * multiplier), **options)


def transposed(x: Any, kernel: Any, strides: Any) -> Any:
    """Each element adds the kernel in its place: [B, H, W, C], [h, w, K, C]."""
    (h, w, filters, _), (s, t) = kernel.shape, strides
    y = np.zeros(
        (x.shape[0], (x.shape[1] - 1) * s + max(h, s), (x.shape[2] - 1) * t + max(w, t), filters)
    )
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            y[:, i * s : i * s + h, j * t : j * t + w] += np.einsum(
                "bc,hwkc->bhwk", x[:, i, j], kernel
            )
    return y


def unfolded(x: Any, kernel_size: Any, dilation: int, padding: int, stride: int) -> Any:
    """Window after window, each as a column."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    reach = [dilation * (k - 1) + 1 for k in kernel_size]
    columns = [
        x[:, :, i : i + reach[0] : dilation, j : j + reach[1] : dilation].reshape(x.shape[0], -1)
        for i in range(0, x.shape[2] - reach[0] + 1, stride)
        for j in range(0, x.shape[3] - reach[1] + 1, stride)
    ]
    return np.stack(columns, -1)


def folded(x: Any, output_size: Any, kernel_size: Any, **options: Any) -> Any:
    """The transpose of `unfolded` as a matrix."""
    channels = x.shape[1] // int(np.prod(kernel_size))
    size = (channels, *output_size)
    basis = np.eye(int(np.prod(size))).reshape(-1, *size)
    matrix = unfolded(basis, kernel_size, **options).reshape(len(basis), -1)
    return (x.reshape(x.shape[0], -1) @ matrix.T).reshape(x.shape[0], *size)


def to_space(x: Any, s: int, data_format: str = "channels_last") -> Any:
    """Pixel by pixel."""
    if data_format == "channels_first":
        return np.moveaxis(to_space(np.moveaxis(x, 1, -1), s), -1, 1)
    channels = x.shape[-1] // (s * s)
    y = np.zeros((x.shape[0], x.shape[1] * s, x.shape[2] * s, channels))
    for i in range(s):
        for j in range(s):
            start = (i * s + j) * channels
            y[:, i::s, j::s] = x[..., start : start + channels]
    return y


def to_depth(x: Any, s: int) -> Any:
    parts = [x[:, i::s, j::s] for i in range(s) for j in range(s)]
    return np.concatenate(parts, -1)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The threshold by bisection: max(x - t, 0) sums to 1."""
    low, high = x.min(axis, keepdims=True) - 1, x.max(axis, keepdims=True)
    for _ in range(60):
        middle = (low + high) / 2
        above = relu(x - middle).sum(axis, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return relu(x - low)


def attention(query: Any, key: Any, value: Any) -> Any:
    scores = np.einsum("btkd,bskd->bkts", query, key) / np.sqrt(query.shape[-1])
    return np.einsum("bkts,bskd->btkd", scipy.special.softmax(scores, -1), value)


def normalised(x: Any, axis: Any = -1, epsilon: float = 1e-7) -> Any:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + epsilon)


def scattered(x: Any, indices: Any, updates: Any, ufunc: Any) -> Any:
    x = x.copy()
    ufunc.at(x, tuple(indices.T), updates)
    return x


def softmax_entropy(target: Any, output: Any) -> Any:
    return -(target * scipy.special.log_softmax(output, -1)).sum(-1)
