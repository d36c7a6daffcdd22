"""Checks of what users pass as data: refused at the call, with what came and what to do.

`place` is how a message begins ("fit()"), `what` or `name` the argument ("y[1]"). Whether targets
fit a loss is checked by the losses, whether inputs fit a model by the model.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from carnyx.core import dtypes, errors
from carnyx.data import kinds
from carnyx.data.rows import Rows

NAMES = ("x", "y", "sample_weight")
NUMBER_TYPES = set(dtypes.ALLOWED) - {"string"}
INT32_LIMIT = 2**31
CHUNK = 2**22  # values looked at in one go when a bad one is searched for


def is_stream(value: Any) -> bool:
    """Whether `value` gives batches one at a time: an iterator, an iterable or a function.

    >>> is_stream(iter([1])), is_stream(lambda: iter([1])), is_stream([1]), is_stream(np.ones(2))
    (True, True, False, False)
    """
    if kinds.find(kinds.FEEDS, value) is not None:
        return True
    held = (list, tuple, Mapping, str, bytes, range, set, frozenset)
    array_like = hasattr(value, "__array__") or hasattr(value, "shape") or kinds.is_array(value)
    if value is None or isinstance(value, held) or array_like:
        return False
    return hasattr(value, "__iter__") or callable(value)


def to_arrays(value: Any, what: str, texts: bool = False) -> Any:
    """A structure of NumPy arrays; lists of numbers become arrays, float64 becomes `floatx`.

    Strings are refused unless `texts`.

    >>> to_arrays({"a": [1, 2], "b": (np.ones(2), None)}, "x")
    {'a': array([1, 2]), 'b': (array([1., 1.], dtype=float32), None)}
    """
    if value is None or isinstance(value, Rows):
        return value
    if (read := kinds.find(kinds.ROWS, value)) is not None:
        return jax.tree.map(lambda rows: _checked_rows(rows, what), read(value, what))
    if isinstance(value, Mapping) and not kinds.is_array(value):
        return {k: to_arrays(item, f"{what}[{k!r}]", texts) for k, item in value.items()}
    if isinstance(value, (list, tuple)) and _is_structure(value):
        items = [to_arrays(item, f"{what}[{i}]", texts) for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    return to_array(value, what, texts)


def _is_structure(value: Any) -> bool:
    """Whether a list is one of arrays, rather than a list of numbers that is an array."""
    if any(isinstance(v, (Mapping, Rows)) or _is_array(v) for v in value):
        return True
    return len(value) > 0 and isinstance(value[0], (list, tuple)) and _is_structure(value[0])


def _is_array(value: Any) -> bool:
    shape = getattr(value, "shape", None)
    return kinds.is_array(value) if shape is None else len(shape) > 0


def _checked_rows(rows: Rows, what: str) -> Rows:
    """Stored rows of a type and rank that models take; their values are not read."""
    _check_type(rows.dtype, rows, what)
    return _ranked(rows, what)


def to_array(value: Any, what: str, texts: bool = False) -> np.ndarray:
    """One array, checked for type and rank; of strings only if `texts`.

    Raises ValueError for nested lists whose rows differ in length and for single numbers,
    TypeError for what holds no numbers.
    """
    if is_stream(value):
        raise TypeError(
            f"{what} is a {type(value).__name__}, where an array is expected. To train from a "
            "generator, pass it as x and let it yield (x, y) or (x, y, sample_weight)."
        )
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(
            f"{what} is a sparse matrix ({type(value).__name__}). Pass its `.toarray()`, or "
            "a generator that makes batches of rows dense."
        )
    if (read := kinds.find(kinds.ARRAYS, value)) is not None:
        value = read(value, what)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{what} is a nested list whose rows have different lengths. Pad them to one length "
            "(a mask tells the padding apart), or give batches of one length by a generator."
        ) from None
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{what} cannot be read as an array: {type(value).__name__}: {error}"
        ) from error
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        with np.errstate(over="ignore"):  # what overflows is then found as infinite
            return _ranked(array.astype(dtypes.floatx(), copy=False), what)
    if not (texts and array.dtype.kind in "OSTU"):
        _check_type(array.dtype, value, what)
    return _ranked(array, what)


def _check_type(dtype: np.dtype, value: Any, what: str) -> None:
    if dtype.name not in NUMBER_TYPES:
        raise TypeError(
            f"{what} has dtype {dtype} ({type(value).__name__}), where numbers or booleans "
            "are expected. Texts are read by a model that begins with Input(..., dtype='string') "
            "and layers for texts; otherwise apply these first, x = layer(x). Other objects are "
            "turned into numbers; sequences of different lengths must be padded to one."
        )


def _ranked(array: Any, what: str) -> Any:
    if array.ndim == 0:
        raise ValueError(
            f"{what} is a single number, {array}. Expected an array whose first axis counts the "
            "samples: for one sample, give it a first axis of size 1."
        )
    return array


def check_data(
    x: Any,
    y: Any,
    sample_weight: Any,
    place: str,
    names: tuple[str, ...] = NAMES,
    values: bool = True,
) -> int:
    """The number of samples of arrays from `to_arrays`.

    Raises ValueError for no or empty arrays, unequal lengths, weights that do not fit the targets
    and, if `values`, for NaN, infinity, and integers beyond 32 bits.
    """
    parts = (x, y, sample_weight)
    named = [item for part, n in zip(parts, names, strict=True) for item in _named(part, n)]
    if not jax.tree.leaves(x):
        raise ValueError(f"{place}: {names[0]} is missing. Pass an array or a generator.")
    first_name, first = named[0]
    for name, array in named:
        if not len(array):
            raise ValueError(
                f"{place}: {name} is empty: its shape is {array.shape}. Pass at least one sample."
            )
        if len(array) != len(first):
            raise ValueError(
                f"{place}: {first_name} has {errors.count(len(first), 'sample')} and {name} has "
                f"{len(array)}. Expected one entry for each sample in every array."
                f"{_stack_hint(x, names[0])}"
            )
    _check_weight_shapes(y, sample_weight, place, names)
    for name, array in named if values else ():
        if isinstance(array, Rows):
            continue
        _check_finite(name, array, place)
        _check_integers(name, array, place)
    return len(first)


def _named(struct: Any, name: str) -> list[tuple[str, np.ndarray]]:
    leaves = jax.tree_util.tree_flatten_with_path(struct)[0]
    return [(name + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def are_batches(x: Any) -> bool:
    """Whether `x` looks like a list of batches (inputs, targets) rather than like inputs.

    >>> are_batches([(np.ones((2, 3)), np.ones(2))]), are_batches([np.ones((2, 3)), np.ones(2)])
    (True, False)
    """
    pairs = isinstance(x, (list, tuple)) and len(x) > 0
    return pairs and all(isinstance(b, (list, tuple)) and len(b) in (2, 3) for b in x)


def refuse_batches(x: Any, where: str) -> None:
    """Raises ValueError if `x`, which came without targets, is a list of batches with them."""
    if are_batches(x):
        raise ValueError(
            f"{where}(): x is a list of {errors.count(len(x), type(x[0]).__name__)}, which means "
            f"inputs, and y is missing. If each is a batch (x, y), pass a function that gives one "
            f"after the other: {where}(lambda: iter(batches)). For rows, pass one array each as "
            "x and y."
        )


def _stack_hint(x: Any, name: str) -> str:
    """A list of arrays means several inputs; many of them were probably meant as samples."""
    if not isinstance(x, (list, tuple)) or len(x) < 2 or any(a is None for a in x):
        return ""
    return (
        f" {name} is a list of {len(x)} arrays, which means {len(x)} inputs; if each is one "
        f"sample, pass np.stack({name})."
    )


def _check_weight_shapes(y: Any, weight: Any, place: str, names: tuple[str, ...]) -> None:
    """Weights are one a sample, or one for each entry along the leading axes of the targets."""
    if weight is None or y is None:
        return
    for given, w in _named(weight, names[2]):
        several = jax.tree.structure(y) != jax.tree.structure(weight)
        shape = w.shape
        while len(shape) > 1 and shape[-1] == 1:
            shape = shape[:-1]
        if several and len(shape) > 1 and not isinstance(y, (np.ndarray, Rows)):
            raise ValueError(
                f"{place}: {given} has shape {w.shape}. One array of weights for several outputs "
                f"has one number a sample: shape ({len(w)},). Otherwise pass one array an output."
            )
        path = given.removeprefix(names[2])
        target = dict(_named(y, "")).get(path)
        if target is None:
            continue
        fits = len(shape) <= target.ndim and all(
            n in (1, m) for n, m in zip(shape, target.shape, strict=False)
        )
        if not fits:
            raise ValueError(
                f"{place}: {given} has shape {w.shape}, and {names[1]}{path} has shape "
                f"{target.shape}. Expected one weight a sample, shape ({len(w)},), or one for "
                "each entry along the leading axes of the targets (such as time steps)."
            )


def _check_finite(name: str, array: np.ndarray, place: str) -> None:
    if found := _not_finite(array):
        raise ValueError(
            f"{place}: {name} has {found}. Expected finite numbers: drop those rows or fill them "
            "in (np.isfinite finds them, np.nan_to_num replaces them). For a model that treats "
            "such values itself, let a generator give the batches: of them there is only a warning."
        )


def check_batch_values(x: Any, y: Any, sample_weight: Any, place: str) -> str | None:
    """What to warn of in a stream's batch: NaN and infinity; None if there is nothing.

    Raises ValueError for integers beyond 32 bits. It costs about 50 us a megabyte.
    """
    for part, what in zip((x, y, sample_weight), NAMES, strict=True):
        for name, array in _named(part, what):
            _check_integers(name, array, place)
            if found := _not_finite(array):
                return (
                    f"{place}: {name} has {found}. One NaN makes the loss and the weights NaN: "
                    "drop such rows or fill them in where the batches are made (np.isfinite finds "
                    "them). Ignore this if the model treats them itself; later batches are not "
                    "looked at."
                )
    return None


def _not_finite(array: np.ndarray) -> str:
    """What is not finite in an array, and where, in words."""
    if array.dtype.kind != "c" and not dtypes.is_float(array.dtype):
        return ""
    # A sum meets every value in one pass without a copy: NaN and infinity stay in it. It may also
    # overflow where every value is finite (1e38 a hundred times), so that it only clears data.
    with np.errstate(all="ignore"):
        total = np.sum(array, dtype=np.float32 if array.dtype.itemsize == 2 else None)
        if np.isfinite(total):
            return ""
    count, rows, place_of_first = _count_bad(array)
    if not count:
        return ""
    kind = "NaN" if np.isnan(np.asarray(array[place_of_first], "complex128")) else "infinity"
    return (
        f"{kind} in row {place_of_first[0]}, at index {place_of_first}; {count} of its "
        f"{array.size} values, in {rows} of {len(array)} rows, are NaN or infinite"
    )


def _count_bad(array: np.ndarray) -> tuple[int, int, tuple[int, ...]]:
    """(number of values that are not finite, number of rows with them, index of the first)."""
    count, rows, first = 0, 0, ()
    step = max(1, CHUNK * len(array) // max(array.size, 1))
    for start in range(0, len(array), step):
        bad = ~np.isfinite(array[start : start + step])
        if not bad.any():
            continue
        if not count:
            index = np.argwhere(bad)[0]
            first = (start + int(index[0]), *map(int, index[1:]))
        count += int(bad.sum())
        rows += int(bad.reshape(len(bad), -1).any(axis=1).sum())
    return count, rows, first


def _check_integers(name: str, array: np.ndarray, place: str) -> None:
    """Programs have 32-bit integers unless JAX is told otherwise: greater ones would wrap round."""
    wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8
    if not wide or jax.config.read("jax_enable_x64") or not array.size:
        return
    low, high = int(array.min()), int(array.max())
    if low < -INT32_LIMIT or high >= INT32_LIMIT:
        raise ValueError(
            f"{place}: {name} has integers from {low} to {high}, and models compute with 32-bit "
            "integers. Renumber identifiers from 0, or pass quantities as floats."
        )


def check_count(name: str, value: Any, place: str, least: int = 1) -> None:
    """A whole number from `least`, or None; raises TypeError or ValueError.

    >>> check_count("batch_size", 0, "fit()")
    Traceback (most recent call last):
    ...
    ValueError: fit(): batch_size is a whole number from 1. Received: batch_size=0
    """
    if value is None:
        return
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise (ValueError if whole else TypeError)(
            f"{place}: {name} is a whole number from {least}. Received: {name}={value!r}"
        )


def class_weights(
    class_weight: Any, y: Any, sample_weight: Any, place: str, name: str = "y"
) -> np.ndarray:
    """A weight a row from the weight of its label, times the row weights that were given.

    Shapes: y labels [B], [B, 1] or one-hot [B, C] (or [B, T, C]) -> [B] (or [B, T]).

    >>> class_weights({0: 1.0, 1: 5.0}, np.array([0, 1, 1]), None, "fit()").tolist()
    [1.0, 5.0, 5.0]
    """
    table = _weight_table(class_weight, place)
    if not isinstance(y, np.ndarray):
        raise ValueError(
            f"{place}: class_weight needs the labels of one output in {name}. Received: "
            f"{'nothing' if y is None else errors.count(len(jax.tree.leaves(y)), 'array')}. "
            "With several outputs pass sample_weight, one array an output."
        )
    labels, position = np.unique(_labels(y, place, name), return_inverse=True)
    missing = [int(v) for v in labels if int(v) not in table]
    if missing:
        raise ValueError(
            f"{place}: class_weight has no weight for the labels {missing[:10]} that are in "
            f"{name}. Its keys: {sorted(table)}. Give every label one (1.0 for no change)."
        )
    found = np.array([table[int(v)] for v in labels], dtypes.floatx())[position]
    weights = found.reshape(y.shape[:1] if y.ndim == 1 else y.shape[:-1])
    if sample_weight is None:
        return weights
    given = np.asarray(sample_weight)
    return weights * given.reshape(given.shape[: weights.ndim])


def _weight_table(class_weight: Any, place: str) -> dict[int, float]:
    if not isinstance(class_weight, Mapping) or not class_weight:
        raise TypeError(
            f"{place}: class_weight is a dict from label to weight, such as {{0: 1.0, 1: 5.0}}. "
            f"Received: {class_weight!r}. A list by label becomes one with dict(enumerate(...))."
        )
    for key, weight in class_weight.items():
        whole = isinstance(key, numbers.Real) and float(key).is_integer()
        if isinstance(key, bool) or not whole:
            raise ValueError(
                f"{place}: class_weight has the key {key!r}. Expected labels as they are in y: "
                "whole numbers (of a one-hot column its index)."
            )
        if not isinstance(weight, numbers.Real) or not math.isfinite(weight) or weight < 0:
            raise ValueError(
                f"{place}: class_weight[{key!r}] is a finite number from 0. Received: {weight!r}"
            )
    return {int(key): float(weight) for key, weight in class_weight.items()}


def _labels(y: np.ndarray, place: str, name: str) -> np.ndarray:
    if y.ndim == 1 or y.shape[-1] == 1:
        return np.round(y if y.ndim == 1 else y[..., 0]).astype("int64")
    if not np.allclose(np.sum(y, axis=-1, dtype="float64"), 1.0, atol=1e-2):
        raise ValueError(
            f"{place}: class_weight needs one label a row, and {name} of shape {y.shape} has rows "
            "that do not sum to 1. Expected labels [B], [B, 1] or one-hot rows [B, C]. For rows "
            "with several labels pass sample_weight."
        )
    return np.argmax(y, axis=-1)
