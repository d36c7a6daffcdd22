"""Linear algebra on the last two axes: factors, solutions, norms. Products are in `numpy.py`.

Matrices are [..., M, N]; the axes before are a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.ops.table import elsewhere, op, operations, publish

_linalg = jnp.linalg
OBLONG = "lstsq lu_factor matrix_rank pinv qr svd".split()  # the others take square matrices


def _checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of matrices, which says what it needs; several results are a plain tuple."""
    square = name not in OBLONG

    def run(x: Any, *args: Any, **kwargs: Any) -> Any:
        x = jnp.asarray(x)
        if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
            raise ValueError(
                f"ops.{name}: expected {'square ' * square}matrices [..., M, "
                f"{'M' if square else 'N'}]. Received: an array of shape {x.shape}."
            )
        found = function(x, *args, **kwargs)
        return tuple(found) if isinstance(found, tuple) else found

    return run


def _cholesky_inverse(x: Any, upper: bool = False) -> Any:
    factor = jax.scipy.linalg.solve_triangular(
        x, jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape), lower=not upper
    )
    other = jnp.swapaxes(factor, -1, -2)
    return factor @ other if upper else other @ factor


def _solving(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a [..., M, M] and b [..., M, K], for a b [..., M] too."""

    def run(a: Any, b: Any, **options: Any) -> Any:
        b = jnp.asarray(b)
        vector = b.ndim == a.ndim - 1
        b = b[..., None] if vector else b
        if b.ndim < 2 or b.shape[-2] != a.shape[-1]:
            raise ValueError(
                f"b has the {a.shape[-1]} rows of a: [..., M] or [..., M, K]. "
                f"Received: a of shape {a.shape}, b of shape {b.shape[:-1] if vector else b.shape}."
            )
        y = function(a, b, **options)
        return y[..., 0] if vector else y

    return run


def _triangular(a: Any, b: Any, lower: bool = False) -> Any:
    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (jnp.broadcast_to(m, batch + m.shape[-2:]) for m in (a, b))
    return jax.scipy.linalg.solve_triangular(a, b, lower=lower)


def _qr(x: Any, mode: str = "reduced") -> Any:
    if mode not in ("reduced", "complete"):
        raise ValueError(f"ops.qr: mode is 'reduced' or 'complete'. Received: mode={mode!r}")
    return _linalg.qr(x, mode)


def _rank(x: Any, tol: Any = None) -> Any:
    """`tol` is absolute, as in NumPy: JAX's `rtol` is relative to the largest singular value."""
    if tol is None:
        return _linalg.matrix_rank(x)
    return jnp.sum(_linalg.svd(x, compute_uv=False) > jnp.asarray(tol)[..., None], -1)


TABLES = {
    "x": {
        "det": "The determinant.",
        "eig": "Eigenvalues [..., M] and, as columns, eigenvectors [..., M, M], complex. CPU only.",
        "eigh": "Eigenvalues, ascending, and eigenvectors, as columns, of symmetric matrices.",
        "inv": "The inverse.",
        "logdet": (lambda x: _linalg.slogdet(x)[1], "log |determinant|."),
        "lu_factor": (
            jax.scipy.linalg.lu_factor,
            "L (below the diagonal, ones on it) and U in one matrix, and the rows exchanged.",
        ),
        "slogdet": "The sign of the determinant, and the logarithm of its magnitude.",
    },
    "x, upper=False": {
        "cholesky": "The L with x = L L^H, lower (or upper U, x = U^H U); NaN: x is not positive.",
        "cholesky_inverse": (
            _cholesky_inverse,
            "The inverse of L L^T from its lower factor L, or of U^T U from the upper one.",
        ),
    },
    "a, b": {
        "solve": (_solving(_linalg.solve), "x with a x = b: [..., M, M], [..., M] or [..., M, K]."),
    },
    "a, b, lower=False": {
        "solve_triangular": (
            _solving(_triangular),
            "x with a x = b, reading only the upper (or lower) triangle of a.",
        )
    },
    "a, b, rcond=None": {
        "lstsq": (
            lambda a, b, rcond=None: _linalg.lstsq(a, b, rcond)[0],
            "x with the least |a x - b|, the shortest of these: [M, N], [M] or [M, K].",
        )
    },
    "x, tol=None": {
        "matrix_rank": (
            _rank,
            "How many singular values exceed `tol` (by default max(M, N) eps times the largest).",
        )
    },
    "x, rcond=None": {
        "pinv": (
            lambda x, rcond=None: _linalg.pinv(x, rcond),
            "The pseudo-inverse (Penrose 1955); singular values <= rcond times the largest are 0.",
        )
    },
    "x, mode='reduced'": {
        "qr": (_qr, "Orthonormal columns Q ('complete': as many as rows), the upper triangle R."),
    },
    "x, full_matrices=True, compute_uv=True": {
        "svd": "U, s, V^H with x = U diag(s) V^H, s descending; s alone without compute_uv.",
    },
}
publish(globals(), TABLES, _linalg, _checked)


@op
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The length of vectors, or a norm of matrices, over `axis`.

    >>> float(norm([3.0, 4.0]))
    5.0
    """
    return _linalg.norm(jnp.asarray(x), ord, axis, keepdims)


__getattr__ = elsewhere(__name__, "jvp")  # Keras lists it here; it stands in `control.py`
__all__ = operations(globals())  # noqa: PLE0605
