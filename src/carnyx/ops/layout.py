"""Operations on shapes: the same elements elsewhere, joined, split, repeated, or picked.

Keras lists them in `ops.numpy`. Patterns of axes (`rearrange`) are in `einops.py`, choice by value
(`where`, `nonzero`) in `sorting.py`, types and scattering in `core.py`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx.ops.table import op, operations, publish

TABLES = {
    "x": {
        "fliplr": "x with the order along axis 1 reversed.",
        "flipud": "x with the order along axis 0 reversed.",
        "ravel": "All elements in one axis.",
    },
    "x, k=0": {
        "diag": "The k-th diagonal of a matrix, or a matrix with that diagonal.",
        "diagflat": "A matrix whose k-th diagonal holds all elements of x.",
        "tril": "x with 0 above the k-th diagonal.",
        "triu": "x with 0 below the k-th diagonal.",
    },
    "x, offset=0, axis1=0, axis2=1": {
        "diagonal": "The diagonals of the matrices of two axes, on the last axis.",
        "trace": "The sums of the diagonals of the matrices of two axes.",
    },
    "x, axis=None": {
        "flip": "x with the order reversed along `axis` (None: all axes).",
        "squeeze": "x without its axes of size 1 (or without those of `axis`).",
    },
    "x, axis": {"expand_dims": "x with a new axis of size 1 at `axis`."},
    "x, shape": {"broadcast_to": "x repeated along axes of size 1, and new ones."},
    "x, newshape": {"reshape": "The same elements in another shape; one size may be -1."},
    "x, axes=None": {"transpose": "x with its axes in another order, reversed by default."},
    "x, source, destination": {"moveaxis": "x with axes moved to other places."},
    "x, axis1, axis2": {"swapaxes": "x with two axes exchanged."},
    "x, shift, axis=None": {
        "roll": "x shifted along `axis`; what leaves at one end enters at the other."
    },
    "array, k=1, axes=(0, 1)": {
        "rot90": "A plane turned by k quarters, from its first axis to the second."
    },
    "x, repeats, axis=None": {
        "repeat": "Each element `repeats` times along `axis` (None: of x in one axis)."
    },
    "x, repeats": {"tile": "x repeated as a whole, so often along each axis."},
    "x, indices, axis=None": {
        "take": "The slices of x at `indices` along `axis`; NaN or the least integer outside.",
        "take_along_axis": "The element at each index along `axis`, one for every other place.",
    },
    "xs": {
        "dstack": "Arrays one behind another on axis 2.",
        "hstack": "Arrays side by side: on axis 1, vectors on axis 0.",
        "vstack": "Arrays on top of each other, on axis 0.",
    },
    "xs, axis=0": {"concatenate": "Arrays one behind another on `axis`."},
    "x, axis=0": {"stack": "Arrays of one shape as one, on a new axis."},
    "x1, x2, axis=None": {
        "append": "x1 and then x2 along `axis`; None: all elements of both in one axis."
    },
    "x, indices_or_sections, axis=0": {
        "array_split": "A list of parts, of sizes that may differ by one.",
        "split": "A list of parts: equal ones for a number, cut at indices for a list.",
    },
    "x, indices_or_sections": {
        "dsplit": "`split` along axis 2.",
        "hsplit": "`split` along axis 1 (of a vector: 0).",
        "vsplit": "`split` along axis 0.",
    },
    "indices, shape": {"unravel_index": "Flat indices of an array of that shape, axis by axis."},
}
publish(globals(), TABLES)


@op
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """x with (before, after) elements added on each axis.

    >>> pad([1, 2], (1, 0)).tolist()
    [0, 1, 2]
    """
    if mode != "constant":
        if constant_values is not None:
            raise ValueError(
                f"ops.pad: constant_values={constant_values!r} is for mode='constant', and mode "
                f"is {mode!r}. Leave it out."
            )
        return jnp.pad(x, pad_width, mode)
    return jnp.pad(x, pad_width, constant_values=0 if constant_values is None else constant_values)


@op
def view(x: Any, dtype: Any = None) -> Any:
    """The same bits read as another type; the last axis grows or shrinks with its size.

    >>> view(jnp.ones(1, "float32"), "int16").tolist()
    [0, 16256]
    """
    x = jnp.asarray(x)
    return x if dtype is None else jax.numpy.asarray(x).view(dtype)


__all__ = operations(globals())  # noqa: PLE0605
