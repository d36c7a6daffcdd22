"""What a row of the operations' table is, and the rows: at least one for every public operation.

A row has a name, arguments and an oracle: a function, "keras", or else what `oracles.py` finds for
the name. The oracle works in float64. Files of further rows are joined below in ROWS.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.special

from tests.cases import oracles
from tests.cases.oracles import (
    adaptive,
    attention,
    convolved,
    depthwise,
    folded,
    marked,
    normalised,
    scattered,
    segments,
    softmax_entropy,
    softplus,
    sparsemax,
    to_depth,
    to_space,
    transposed,
    unfolded,
    windows,
)


class Row(NamedTuple):
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    oracle: Any = None
    tolerance: float = 2e-5  # relative, and absolute as a hundredth of it
    read: Callable[..., Any] | None = None  # of the result, before it is compared
    compiled: bool = True  # False: the size of the result depends on values, or it is no array
    batch: bool = True  # whether the first axis may be unknown
    gradient: bool = True  # whether there is one (the types aside)
    typed: bool = True  # False: Keras refuses it, or has no type for it

    @property
    def id(self) -> str:
        return self.name + "".join(f"-{k}={v}" for k, v in self.kwargs.items()).replace(" ", "")


def row(name: str, *args: Any, **kwargs: Any) -> Row:
    """A row; what is for the row and not for the operation starts with an underscore."""
    own = {key[1:]: kwargs.pop(key) for key in list(kwargs) if key.startswith("_")}
    return Row(name, args, kwargs, **own)


def words(text: str, *args: Any, **kwargs: Any) -> list[Row]:
    """The same row for many names."""
    return [row(name, *args, **kwargs) for name in text.split()]


RNG = np.random.default_rng(7)


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype("float32")


X, Y = floats(3, 4), floats(3, 4)
POSITIVE, SMALL = floats(3, 4, low=0.5), floats(3, 4, low=-0.9, high=0.9)
WHOLE, OTHER = (RNG.integers(low, 9, (3, 4)).astype("int32") for low in (-9, 1))
TRUTH, LIES = X > 0, Y > 0
COMPLEX = (X + 1j * Y).astype("complex64")
HOLES = np.where(RNG.uniform(size=(3, 4)) < 0.3, np.nan, X).astype("float32")
VECTOR, OTHER_VECTOR = floats(5), floats(5)
BATCH = floats(2, 3, 4)
SQUARE = floats(2, 3, 3) + 5 * np.eye(3, dtype="float32")
SYMMETRIC = SQUARE + np.swapaxes(SQUARE, 1, 2)
FACTOR = np.linalg.cholesky(SYMMETRIC)
TALL = floats(2, 4, 3)
IMAGES, PLANES = floats(2, 5, 6, 4), floats(2, 4, 5, 6)
SEGMENTS = np.array([0, 1, 0, 3, 1], "int32")
PROBABILITIES = scipy.special.softmax(X, -1).astype("float32")


ELEMENTWISE = (
    "abs absolute angle arcsinh arctan array cbrt ceil conj conjugate copy cos cosh deg2rad exp "
    "exp2 expm1 fabs floor i0 imag isfinite isinf isnan isneginf isposinf isreal logical_not "
    "negative rad2deg real reciprocal sign signbit sin sinc sinh square tan tanh trunc "
    "empty_like ones_like zeros_like erf erfc hard_sigmoid hard_silu hard_swish hard_tanh "
    "log_sigmoid relu relu6 selu sigmoid silu softplus softsign sparse_plus sparse_sigmoid swish "
    "tanh_shrink leaky_relu celu elu gelu squareplus hard_shrink soft_shrink round nan_to_num"
)
DOMAINS = {
    "arccos": SMALL,
    "arcsin": SMALL,
    "arctanh": SMALL,
    "erfinv": SMALL,
    "arccosh": POSITIVE + 1,
}
DOMAINS |= dict.fromkeys("log log10 log1p log2 rsqrt sqrt".split(), POSITIVE)
BINARY = (
    "add arctan2 divide divide_no_nan equal floor_divide fmax fmin fmod greater greater_equal "
    "heaviside hypot less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor "
    "maximum minimum mod multiply not_equal subtract true_divide"
)
REDUCTIONS = "all amax amin any argmax argmin max mean median min prod ptp std sum var"
SKIPPING = "nanmax nanmean nanmedian nanmin nanprod nanstd nansum nanvar"

ROWS: list[Row] = [
    *words(ELEMENTWISE, X),
    *words("angle conj imag isreal real abs exp sqrt", COMPLEX, _gradient=False),
    *[row(name, x) for name, x in DOMAINS.items()],
    *words("bitwise_invert bitwise_not", WHOLE),
    *words("logical_not any all", TRUTH),
    *words(BINARY, X, Y),
    *words("add multiply subtract maximum minimum", X, 2.5),
    row("power", POSITIVE, Y),
    row("ldexp", X, OTHER),
    row("nextafter", X, Y, _gradient=False),
    *words("gcd lcm bitwise_and bitwise_or bitwise_xor", WHOLE, OTHER),
    *words("bitwise_left_shift bitwise_right_shift left_shift right_shift", WHOLE, OTHER),
    *words("dot matmul", X, Y.T, _batch=False),
    row("matmul", BATCH, TALL),
    *words("inner kron outer", X, Y),
    row("vdot", X, Y),
    *words(REDUCTIONS, X),
    *words(REDUCTIONS, X, axis=-1, keepdims=True),
    *words("max min sum mean var std all any prod", BATCH, axis=(0, -1)),
    *words("max min", X, axis=1, initial=1.0),
    *words(SKIPPING, HOLES, axis=1),
    *words(SKIPPING, HOLES),
    row(
        "nanargmax",
        HOLES,
        axis=1,
        _oracle=lambda x, axis: marked(np.argmax)(np.where(np.isnan(x), -np.inf, x), axis),
    ),
    row("nanargmin", HOLES, axis=1, _oracle=marked(np.argmin)),
    *words("cumprod cumsum", X, axis=1),
    *words("cumprod cumsum", X),
    *words("nancumprod nancumsum", HOLES, axis=-1),
    *words("quantile", X, 0.3, axis=1),
    *words("percentile", X, 30.0, axis=-1, keepdims=True),
    row("quantile", X, np.array([0.1, 0.5], "float32"), _batch=False),
    row("quantile", X, 0.4, method="nearest"),
    row("nanquantile", HOLES, 0.3, axis=1),
    row("nanpercentile", HOLES, 30.0),
    *words("argsort sort", X),
    *words("argsort sort", X, axis=0),
    row("average", X, axis=1, weights=POSITIVE),
    row("average", X),
    row("count_nonzero", WHOLE, axis=1),
    row("diff", X),
    row("diff", X, n=2, axis=1),
    row("corrcoef", X, _tolerance=1e-4),
    row("histogram", VECTOR, bins=4),
    row("histogram", VECTOR, bins=3, range=(-1.0, 1.0)),
    row("histogram", X, bins=3, _typed=False),
    row("bincount", np.array([0, 2, 2, 5]), _compiled=False),
    row(
        "bincount",
        np.array([0, 2]),
        weights=np.array([0.5, 1.5], "float32"),
        minlength=5,
        _compiled=False,
    ),
    row("digitize", X, np.array([-1.0, 0.0, 1.0], "float32")),
    row("searchsorted", np.sort(VECTOR), X, _batch=False),
    row("searchsorted", np.array([1, 2, 2, 3]), np.array([2]), side="right", _batch=False),
    row("isin", WHOLE, np.array([1, 2, 3])),
    row("isin", WHOLE, np.array([1]), invert=True),
    row("select", [TRUTH, LIES], [X, Y], default=5.0),
    row("where", TRUTH, X, Y),
    row("where", TRUTH, _compiled=False),
    row("nonzero", TRUTH, _compiled=False),
    row("unique", WHOLE, _compiled=False),
    row(
        "unique",
        np.array([3, 1, 3]),
        return_index=True,
        return_inverse=True,
        return_counts=True,
        _compiled=False,
    ),
    row("unique", np.array([[3, 1], [3, 1], [0, 5]]), axis=0, _compiled=False),
    row(
        "unique",
        np.array([3, 1, 3]),
        size=4,
        fill_value=-1,
        _oracle=lambda x, size, fill_value: np.array([1, 3, -1, -1]),
    ),
    row(
        "argpartition",
        X,
        2,
        _read=lambda i: np.sort(np.asarray(i)[:, :2]),
        _oracle=lambda x, k: np.sort(np.argsort(x)[:, :2]),
    ),
    row("clip", X, -1.0, 0.5),
    row("round", X, decimals=1),
    row("nan_to_num", HOLES, nan=3.0),
    *words("allclose isclose", X, X + 1e-6),
    row("isclose", HOLES, HOLES, equal_nan=True),
    row("correlate", VECTOR, OTHER_VECTOR[:3], _batch=False),
    *[
        row("correlate", VECTOR, OTHER_VECTOR[:3], mode=mode, _batch=False)
        for mode in ("same", "full")
    ],
    row("cross", X[:, :3], Y[:, :3]),
    row("tensordot", BATCH, TALL, axes=([1], [2])),
    row("tensordot", X, Y.T, axes=1, _batch=False),
    row("trapezoid", X),
    row("trapezoid", X, x=np.sort(Y)),
    row("vander", VECTOR, N=3),
    row("vander", VECTOR, increasing=True, _batch=False),
    row("einsum", "bij,bjk->bik", BATCH, TALL),
    row("meshgrid", VECTOR, OTHER_VECTOR[:3]),
    row("meshgrid", VECTOR, OTHER_VECTOR, indexing="ij"),
    *words("empty ones zeros", (2, 3)),
    *words("ones zeros", (2,), dtype="int32"),
    row("full", (2, 3), 7),
    row("full", (2,), 1.5, dtype="float16"),
    row("full_like", X, 2),
    row("arange", 5),
    row("arange", 1.0, 2.0, 0.25),
    row("eye", 3),
    row("eye", 2, 4, k=1),
    row("identity", 3),
    row("tri", 3),
    row("tri", 2, M=4, k=1, _oracle=np.tri),
    row("linspace", 0.0, 1.0, num=5),
    row("linspace", X, Y, num=3, endpoint=False, axis=1),
    row("logspace", 0.0, 2.0, num=4, base=2),
    row("geomspace", 1.0, 8.0, num=4),
    *words("ndim size shape", X, _compiled=False, _typed=False, _oracle=None),
    row(
        "dtype",
        X,
        _compiled=False,
        _typed=False,
        _oracle=lambda x: [],
        _read=lambda name: [] if name == "float32" else [1],
    ),
    row("is_tensor", X, _compiled=False, _typed=False, _oracle=lambda x: False),
    row("convert_to_numpy", X, _compiled=False, _typed=False, _oracle=np.array),
    *words("bartlett blackman hamming hanning", 6, _compiled=False),
    row("kaiser", 6, 3.0, _compiled=False),
    # shapes
    *words("fliplr flipud ravel flip transpose squeeze", X),
    row("flip", X, axis=1),
    row("squeeze", X[:, None], axis=1),
    row("transpose", BATCH, axes=(0, 2, 1)),
    *words("diag tril triu", X, _batch=False),
    row("diag", VECTOR, k=1),
    row("tril", BATCH, k=-1),
    row("triu", BATCH, k=1),
    row("diagflat", X, k=-1),
    *words("diagonal trace", X, _batch=False),
    *words("diagonal trace", BATCH, offset=1, axis1=1, axis2=2),
    row("expand_dims", X, 1),
    row("broadcast_to", X[:, :1], (3, 4), _batch=False),
    row("reshape", X, (3, 2, 2), _batch=False),
    row("reshape", X, (-1, 2), _batch=False),
    row("moveaxis", BATCH, 1, -1),
    row("swapaxes", BATCH, 1, 2),
    row("roll", X, 2),
    row("roll", X, 1, axis=1),
    row("rot90", X),
    row("rot90", BATCH, k=3, axes=(1, 2)),
    row("repeat", X, 2),
    row("repeat", X, 3, axis=1),
    row("tile", X, 2),
    row("tile", X, (1, 2)),
    row("take", X, np.array([2, 0]), axis=1),
    row("take", X, np.array([5, 1])),
    row("take_along_axis", X, np.argsort(X), axis=1),
    *words("dstack hstack vstack concatenate", [X, Y]),
    row("concatenate", [X, Y], axis=1),
    row("stack", [X, Y]),
    row("stack", [X, Y], axis=-1),
    row("append", X, Y),
    row("append", X, Y, axis=1),
    row("array_split", X, 3, axis=1),
    row("split", X, 2, axis=1),
    row("split", X, [1, 3], axis=-1),
    row("dsplit", BATCH, 2),
    row("hsplit", X, 2),
    row("vsplit", X, 3, _batch=False),
    row("unravel_index", np.array([5, 1]), (2, 3), _batch=False),
    row("pad", X, ((0, 0), (1, 2))),
    row("pad", X, ((1, 1), (0, 2)), mode="reflect"),
    row("pad", X, ((1, 0), (0, 0)), constant_values=2.0),
    row("view", X, dtype="int32", _oracle=lambda x, dtype: x.astype("float32").view(dtype)),
    row("view", WHOLE, dtype="int16", _oracle=lambda x, dtype: x.astype("int32").view(dtype)),
    # types and places
    row("cast", X, "int32", _oracle=lambda x, t: x.astype(t)),
    row("convert_to_tensor", X, _oracle=np.array),
    row("array", X, dtype="int32", _oracle=lambda x, dtype: x.astype(dtype)),
    row("saturate_cast", 300 * X, "uint8", _oracle=lambda x, t: np.clip(x, 0, 255).astype(t)),
    row("saturate_cast", WHOLE, "uint8", _oracle=lambda x, t: np.clip(x, 0, 255)),
    row("slice", X, np.array([1, 1]), (2, 3), _oracle=lambda x, i, n: x[1:3, 1:4], _batch=False),
    row(
        "slice_update",
        X,
        np.array([1, 1]),
        Y[:2, :2],
        _oracle=lambda x, i, u: np.block([[x[:1]], [x[1:3, :1], u, x[1:3, 3:]]]),
        _batch=False,
    ),
    row(
        "scatter",
        np.array([[1], [3], [1]]),
        X,
        (4, 4),
        _oracle=lambda i, v, n: scattered(np.zeros(n), i, v, np.add),
        _batch=False,
    ),
    row(
        "scatter_update",
        X,
        np.array([[1, 2], [0, 0]]),
        np.array([5.0, 6.0], "float32"),
        _oracle=lambda x, i, u: scattered(x * (1 - scattered(0 * x, i, 1, np.add)), i, u, np.add),
        _batch=False,
    ),
    *[
        row(
            "scatter_update",
            X,
            np.array([[1], [1]]),
            Y[:2],
            reduction=how,
            _oracle=lambda x, i, u, reduction, f=f: scattered(x, i, u, f),
            _batch=False,
            _gradient=how != "mul",
        )
        for how, f in (
            ("add", np.add),
            ("max", np.maximum),
            ("min", np.minimum),
            ("mul", np.multiply),
        )
    ],
    row("get_item", BATCH, (slice(None), 1, slice(0, 4, 2)), _oracle=lambda x, key: x[key]),
    row("stop_gradient", X, _gradient=False),
    row("unstack", BATCH, axis=1, _oracle=lambda x, axis: list(np.moveaxis(x, axis, 0))),
    row("unstack", X, num=3, _oracle=lambda x, num: list(x), _batch=False),
    # linear algebra
    *words("det inv logdet slogdet", SQUARE, _tolerance=1e-4),
    row("cholesky", SYMMETRIC),
    row(
        "cholesky",
        SYMMETRIC,
        upper=True,
        _oracle=lambda x, upper: np.swapaxes(np.linalg.cholesky(x), 1, 2),
    ),
    row(
        "cholesky_inverse",
        FACTOR,
        _oracle=lambda f: np.linalg.inv(f @ np.swapaxes(f, 1, 2)),
        _tolerance=1e-4,
        _typed=False,
    ),
    row(
        "cholesky_inverse",
        FACTOR[0],
        _oracle=lambda f: np.linalg.inv(f @ f.T),
        _tolerance=1e-4,
        _batch=False,
    ),
    row(
        "cholesky_inverse",
        np.swapaxes(FACTOR, 1, 2),
        upper=True,
        _oracle=lambda f, upper: np.linalg.inv(np.swapaxes(f, 1, 2) @ f),
        _tolerance=1e-4,
        _typed=False,
    ),
    row(
        "eig",
        SQUARE,
        _read=lambda w, v: v * w[:, None] @ np.linalg.inv(v),
        _oracle=lambda x: x,
        _tolerance=1e-4,
        _gradient=False,
    ),
    row(
        "eigh",
        SYMMETRIC,
        _read=lambda w, v: v * w[:, None] @ np.swapaxes(v, 1, 2),
        _oracle=lambda x: x,
        _tolerance=1e-4,
    ),
    row(
        "lu_factor",
        SQUARE,
        _oracle=lambda x: [
            np.stack(part) for part in zip(*map(scipy.linalg.lu_factor, x), strict=True)
        ],
    ),
    row("qr", TALL, _read=lambda q, r: q @ r, _oracle=lambda x: x),
    row(
        "qr",
        TALL,
        mode="complete",
        _read=lambda q, r: [q @ r, q @ np.swapaxes(q, 1, 2)],
        _oracle=lambda x, mode: [x, np.stack([np.eye(4)] * 2)],
        _gradient=False,
    ),
    row(
        "svd",
        SQUARE,
        _read=lambda u, s, v: [u * s[:, None] @ v, s],
        _oracle=lambda x: [x, np.linalg.svd(x)[1]],
        _tolerance=1e-4,
    ),
    row("svd", TALL, compute_uv=False),
    row(
        "svd",
        TALL,
        full_matrices=False,
        _read=lambda u, s, v: u * s[:, None] @ v,
        _oracle=lambda x, full_matrices: x,
    ),
    row("solve", SQUARE, TALL[:, :3], _tolerance=1e-4),
    row("solve", SQUARE[0], VECTOR[:3], _batch=False, _tolerance=1e-4),
    row("pinv", TALL, _tolerance=1e-4),
    row("matrix_rank", TALL),
    row("matrix_rank", TALL, tol=2.0),
    row(
        "solve_triangular",
        SQUARE,
        TALL[:, :3],
        _oracle=lambda a, b: np.linalg.solve(np.triu(a), b),
        _tolerance=1e-4,
    ),
    row(
        "solve_triangular",
        SQUARE[0],
        VECTOR[:3],
        lower=True,
        _oracle=lambda a, b, lower: np.linalg.solve(np.tril(a), b),
        _batch=False,
        _tolerance=1e-4,
    ),
    row(
        "lstsq",
        TALL[0],
        VECTOR[:4],
        _oracle=lambda a, b: np.linalg.lstsq(a, b)[0],
        _batch=False,
        _tolerance=1e-4,
    ),
    row("norm", X),
    row("norm", X, axis=1, ord=1),
    row("norm", X, ord="nuc", _batch=False, _tolerance=1e-4),
    row("norm", BATCH, axis=(1, 2), ord="fro", keepdims=True),
    # beyond NumPy
    row("logsumexp", X, axis=1, keepdims=True),
    row("logsumexp", 1000 * X),
    row(
        "cdist",
        TALL,
        SQUARE,
        _oracle=lambda x, y: np.linalg.norm(x[:, :, None] - y[:, None], axis=-1),
    ),
    *[
        row(
            f"segment_{name}",
            floats(5, 3),
            SEGMENTS,
            num_segments=4,
            _oracle=segments(f, start),
            _batch=False,
            _gradient=name != "prod",
        )
        for name, f, start in (
            ("max", np.maximum, -np.inf),
            ("min", np.minimum, np.inf),
            ("sum", np.add, 0),
            ("prod", np.multiply, 1),
        )
    ],
    row("top_k", X, 2),
    row(
        "in_top_k",
        np.array([0, 3, 1]),
        X,
        2,
        _oracle=lambda t, p, k: np.array(
            [(np.argsort(-q)[:k] == c).any() for q, c in zip(p, t, strict=True)]
        ),
    ),
    row(
        "rearrange",
        BATCH,
        "b h (w v) -> (b v) w h",
        v=2,
        _typed=False,
        _oracle=lambda x, p, v: x.reshape(2, 3, 2, 2).transpose(0, 3, 2, 1).reshape(4, 2, 3),
    ),
    row(
        "rearrange",
        BATCH,
        "b ... c -> c 1 b ...",
        _typed=False,
        _oracle=lambda x, p: x.transpose(2, 0, 1)[:, None],
    ),
    # networks
    *words("softmax log_softmax", X, axis=-1),
    *words("softmax log_softmax", BATCH, axis=1),
    row("glu", X),
    row("gelu", X, approximate=False),
    row("celu", X, alpha=0.5),
    row("elu", X, alpha=0.5),
    row("leaky_relu", X, negative_slope=0.1),
    row("squareplus", X, b=1.0),
    row("hard_shrink", X, threshold=1.0),
    row("soft_shrink", X, threshold=1.0),
    row("threshold", X, 0.5, -1.0, _oracle=lambda x, t, d: np.where(x > t, x, d)),
    row("sparsemax", X, _oracle=sparsemax),
    row("sparsemax", BATCH, axis=1, _oracle=sparsemax),
    row("one_hot", WHOLE, 4, _oracle=lambda x, n: x[..., None] == np.arange(n)),
    row(
        "one_hot",
        WHOLE,
        4,
        axis=1,
        dtype="int32",
        _oracle=lambda x, n, axis, dtype: x[:, None] == np.arange(n)[:, None],
    ),
    row("multi_hot", WHOLE, 4, _oracle=lambda x, n: (x[..., None] == np.arange(n)).any(1)),
    row(
        "multi_hot",
        WHOLE[0],
        num_classes=4,
        _oracle=lambda x, num_classes: np.isin(np.arange(num_classes), x),
    ),
    row("polar", POSITIVE, X, _oracle=lambda r, a: r * np.exp(1j * a), _gradient=False),
    row("psnr", X, Y, 2.0, _oracle=lambda x, y, m: 10 * np.log10(m**2 / np.mean((x - y) ** 2))),
    row(
        "max_pool", IMAGES, 2, _oracle=lambda x, n: windows(x, (2, 2), (2, 2), np.max), _typed=False
    ),
    row(
        "average_pool",
        IMAGES,
        (2, 3),
        strides=(1, 2),
        _oracle=lambda x, n, strides: windows(x, n, strides, np.mean),
    ),
    *words("max_pool average_pool", IMAGES, 3, strides=2, padding="same", _oracle="keras"),
    *words(
        "max_pool average_pool", PLANES, 2, strides=2, data_format="channels_first", _oracle="keras"
    ),
    row("adaptive_average_pool", IMAGES, (2, 4), _oracle=lambda x, n: adaptive(x, n, np.mean)),
    row("adaptive_max_pool", IMAGES, 3, _oracle=lambda x, n: adaptive(x, (3, 3), np.max)),
    row("adaptive_max_pool", PLANES, 2, data_format="channels_first", _oracle="keras"),
    row("conv", IMAGES, floats(2, 3, 4, 5), strides=(1, 2), _oracle=convolved, _batch=False),
    row(
        "conv",
        IMAGES,
        floats(3, 2, 4, 5),
        dilation_rate=2,
        _oracle=lambda x, k, dilation_rate: convolved(x, k, dilation=dilation_rate),
        _batch=False,
    ),
    row(
        "conv",
        PLANES,
        floats(3, 3, 2, 6),
        padding="same",
        data_format="channels_first",
        _oracle="keras",
        _batch=False,
    ),
    row(
        "conv",
        BATCH,
        floats(2, 4, 3),
        padding="causal",
        _typed=False,
        _oracle=lambda x, k, padding: convolved(
            np.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :, None], k[:, None]
        )[:, :, 0],
        _batch=False,
    ),
    row(
        "depthwise_conv",
        IMAGES,
        floats(2, 2, 4, 3),
        strides=(2, 1),
        _oracle=depthwise,
        _batch=False,
    ),
    row(
        "depthwise_conv",
        PLANES,
        floats(2, 2, 4, 1),
        padding="same",
        data_format="channels_first",
        _oracle="keras",
        _batch=False,
    ),
    row(
        "separable_conv",
        IMAGES,
        floats(2, 2, 4, 2),
        floats(1, 1, 8, 3),
        _oracle=lambda x, d, p: convolved(depthwise(x, d), p),
        _batch=False,
    ),
    row(
        "conv_transpose",
        IMAGES,
        floats(3, 2, 5, 4),
        strides=(2, 3),
        _oracle=transposed,
        _batch=False,
    ),
    row(
        "conv_transpose",
        IMAGES,
        floats(3, 3, 5, 4),
        strides=2,
        padding="same",
        _oracle="keras",
        _batch=False,
    ),
    row(
        "conv_transpose",
        PLANES,
        floats(2, 2, 3, 4),
        strides=2,
        output_padding=1,
        data_format="channels_first",
        _oracle="keras",
        _batch=False,
    ),
    row("unfold", PLANES, (2, 3), dilation=1, padding=1, stride=2, _oracle=unfolded),
    row("unfold", PLANES, (2, 2), dilation=2, padding=0, stride=1, _oracle=unfolded),
    row("fold", floats(2, 12, 9), (5, 6), (2, 3), dilation=1, padding=1, stride=2, _oracle=folded),
    row("depth_to_space", IMAGES, 2, _oracle=to_space),
    row("depth_to_space", PLANES, 2, data_format="channels_first", _oracle=to_space),
    row("space_to_depth", floats(2, 4, 6, 3), 2, _oracle=to_depth),
    row("moments", BATCH, axes=[1], _oracle=lambda x, axes: [x.mean(1), x.var(1)]),
    row(
        "moments",
        BATCH,
        axes=(0, 2),
        keepdims=True,
        _oracle=lambda x, axes, keepdims: [x.mean(axes, keepdims=True), x.var(axes, keepdims=True)],
    ),
    row(
        "batch_normalization",
        BATCH,
        VECTOR[:4],
        POSITIVE[0],
        -1,
        offset=VECTOR[:4],
        scale=POSITIVE[1],
        _oracle=lambda x, m, v, a, offset, scale: (x - m) / np.sqrt(v + 1e-3) * scale + offset,
        _batch=False,
    ),
    row(
        "layer_normalization",
        BATCH,
        VECTOR[:4],
        POSITIVE[0, :4],
        _oracle=lambda x, g, b: normalised(x) * g + b,
        _batch=False,
    ),
    row(
        "rms_normalization",
        BATCH,
        POSITIVE[0],
        _oracle=lambda x, s: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-7) * s,
        _batch=False,
    ),
    row("normalize", X, _oracle=lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)),
    row(
        "normalize",
        X,
        axis=1,
        order=1,
        _oracle=lambda x, axis, order: x / np.abs(x).sum(1, keepdims=True),
    ),
    row(
        "binary_crossentropy",
        PROBABILITIES,
        SMALL**2,
        _oracle=lambda y, p: -y * np.log(p) - (1 - y) * np.log(1 - p),
        _tolerance=1e-4,
    ),
    row(
        "binary_crossentropy",
        PROBABILITIES,
        50 * X,
        from_logits=True,
        _oracle=lambda y, x, from_logits: softplus(x) - x * y,
    ),
    row(
        "categorical_crossentropy",
        PROBABILITIES,
        POSITIVE,
        _oracle=lambda y, p: -(y * np.log(p / p.sum(-1, keepdims=True))).sum(-1),
    ),
    row(
        "categorical_crossentropy",
        PROBABILITIES,
        50 * X,
        from_logits=True,
        _oracle=lambda y, x, from_logits: softmax_entropy(y, x),
    ),
    row(
        "sparse_categorical_crossentropy",
        np.array([0, 3, 1]),
        POSITIVE,
        _oracle=lambda y, p: -np.log(p[range(3), y] / p.sum(-1)),
    ),
    row(
        "sparse_categorical_crossentropy",
        np.array([[0], [3], [1]]),
        X,
        from_logits=True,
        _oracle=lambda y, x, from_logits: softmax_entropy(np.eye(4)[y[:, 0]], x),
    ),
    row(
        "dot_product_attention",
        floats(2, 3, 2, 4),
        floats(2, 5, 2, 4),
        floats(2, 5, 2, 4),
        _oracle=attention,
        _gradient=False,
    ),
    row(
        "dot_product_attention",
        floats(2, 3, 2, 4),
        floats(2, 5, 2, 4),
        floats(2, 5, 2, 4),
        flash_attention=True,
        _oracle=lambda q, k, v, flash_attention: attention(q, k, v),
        _gradient=False,
        _typed=False,  # Keras refuses it on CPUs
    ),
]


# Operations on functions, on pairs of arrays and on paths, which have tests of their own there.
ELSEWHERE = {
    "test_ctc.py": "ctc_decode ctc_loss",
    "test_signal.py": "extract_sequences fft fft2 ifft2 irfft istft rfft stft view_as_complex "
    "view_as_real",
    "test_control.py": "associative_scan cond custom_gradient fori_loop jvp map scan switch "
    "vectorize vectorized_map while_loop",
}


def oracle_of(case: Row) -> Callable[..., Any]:
    """The row's oracle as a function."""
    if case.oracle == "keras":
        return oracles.of_keras(case.name)
    return case.oracle or oracles.named(case.name)
