"""Checks of what users pass as data: refused at the call, with what came and what to do."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from carnyx.core import dtypes


def to_arrays(value: Any, what: str) -> Any:
    """A structure of arrays: lists of numbers become arrays, float64 becomes `floatx`."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: to_arrays(item, f"{what}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)) and any(hasattr(v, "shape") for v in value):
        if all(np.ndim(v) == 0 for v in value):
            return to_array(np.asarray(value), what)
        return [to_arrays(item, f"{what}[{i}]") for i, item in enumerate(value)]
    return to_array(value, what)


def to_array(value: Any, what: str) -> Any:
    """One array, checked for type and rank."""
    if isinstance(value, jax.Array):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{what} is a nested list whose rows have different lengths. Pad them to one length "
            "(a mask tells the padding apart), or pass one array a row through a generator."
        ) from None
    if array.dtype.kind in "OUS":
        raise ValueError(
            f"{what} has dtype {array.dtype}: numbers are expected. Turn texts and objects into "
            "numbers first; rows of different lengths must be padded."
        )
    if array.ndim == 0:
        raise ValueError(
            f"{what} is a single number. Expected an array whose first axis counts the samples."
        )
    return array.astype(dtypes.floatx()) if array.dtype == np.float64 else array


def check_arrays(x: Any, y: Any, sample_weight: Any, where: str) -> int:
    """The number of samples; raises for empty arrays, unequal lengths, NaN and infinity."""
    named = [
        (name + jax.tree_util.keystr(path), leaf)
        for name, struct in (("x", x), ("y", y), ("sample_weight", sample_weight))
        for path, leaf in jax.tree_util.tree_flatten_with_path(struct)[0]
    ]
    if not any(name.startswith("x") for name, _ in named):
        raise ValueError(f"{where}(): `x` is missing. Pass an array, or a generator of batches.")
    first_name, first = named[0]
    for name, array in named:
        if array.shape[0] == 0:
            raise ValueError(
                f"{where}(): {name} is empty: shape {tuple(array.shape)}. Pass at least one sample."
            )
        if array.shape[0] != first.shape[0]:
            raise ValueError(
                f"{where}(): {first_name} has {first.shape[0]} samples and {name} has "
                f"{array.shape[0]}. Every array needs one entry for each sample."
            )
        _check_finite(name, array, where)
    return first.shape[0]


def _check_finite(name: str, array: Any, where: str) -> None:
    if not dtypes.is_float(array.dtype):
        return
    # The sum is finite in all good cases but huge ones: one pass that allocates nothing.
    with np.errstate(all="ignore"):
        if np.isfinite(np.sum(array, dtype=np.float64 if array.dtype != "bfloat16" else None)):
            return
    bad = ~np.isfinite(np.asarray(array, "float64"))
    if not bad.any():
        return
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    kind = "NaN" if np.isnan(np.asarray(array)[place]) else "infinity"
    raise ValueError(
        f"{where}(): {name} has {kind} at index {place}; {int(bad.sum())} of {bad.size} values are "
        "not finite. Clean the data (np.isfinite finds them, np.nan_to_num replaces them), or "
        "feed it from a generator if your model treats them itself."
    )


def check_count(name: str, value: Any, where: str) -> None:
    """A whole number from 1, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(
            f"{where}(): {name} is a whole number from 1. Received: {name}={value!r}"
        )


def class_weights(class_weight: Any, y: Any, sample_weight: Any, where: str) -> np.ndarray:
    """Row weights from label weights, times the row weights that were given."""
    if isinstance(y, (dict, list)) or y is None:
        raise ValueError(
            f"{where}(): class_weight needs a model with one output and its labels in `y`. "
            "With several outputs pass sample_weight."
        )
    labels = np.asarray(y)
    if labels.ndim > 1:
        labels = labels[..., 0] if labels.shape[-1] == 1 else np.argmax(labels, axis=-1)
    labels = np.round(labels).astype(int)
    missing = sorted({int(v) for v in np.unique(labels)} - {int(k) for k in class_weight})
    if missing:
        raise ValueError(
            f"{where}(): class_weight has no weight for the labels {missing[:10]} that are in y. "
            f"Its keys: {sorted(class_weight)}. Give every label one (1.0 for no change)."
        )
    table = np.zeros(labels.max() + 1, dtypes.floatx())
    for label, weight in class_weight.items():
        if 0 <= int(label) < len(table):
            table[int(label)] = weight
    weights = table[labels]
    return weights if sample_weight is None else weights * np.asarray(sample_weight)
