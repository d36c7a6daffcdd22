"""Errors: what is added to an exception on its way out of a layer, and nearest-name hints."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """ " Did you mean 'x'?" with the nearest known names, or an empty string.

    >>> nearest("adm", ["adam", "sgd"])
    " Did you mean 'adam'?"
    """
    folded: dict[str, str] = {}
    for candidate in sorted((k for k in known if isinstance(k, str)), key=str.swapcase):
        folded.setdefault(_fold(candidate), candidate)  # "adam" stands for "Adam" too
    found = difflib.get_close_matches(_fold(str(name)), folded, n=count, cutoff=0.5)
    if not found:
        return ""
    return " Did you mean " + " or ".join(repr(folded[f]) for f in found) + "?"


def _fold(name: str) -> str:
    return name.lower().replace("_", "")


def missing_attribute(module: str, names: Iterable[str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that names the nearest of its public names."""

    def lookup(name: str) -> Any:
        hint = "" if name.startswith("_") else nearest(name, names)
        raise AttributeError(f"module {module!r} has no attribute {name!r}.{hint}")

    return lookup


def describe(value: Any) -> str:
    """A short text for a value in an error: type and shape rather than numbers.

    >>> import numpy as np
    >>> describe({"a": np.zeros((2, 3), "float32")})
    "{'a': float32 array of shape (2, 3)}"
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} array of shape {tuple(value.shape)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {describe(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        left, right = "[]" if isinstance(value, list) else "()"
        return left + ", ".join(describe(v) for v in value) + right
    text = repr(value)
    return text if len(text) <= 80 else f"{type(value).__name__} {text[:60]}..."


def count(number: int, noun: str) -> str:
    """A number of things in words.

    >>> count(1, "input"), count(0, "class"), count(2, "batch")
    ('1 input', '0 classes', '2 batches')
    """
    ending = "" if number == 1 else "es" if noun.endswith(("s", "ch")) else "s"
    return f"{number} {noun}{ending}"


def list_hint(inputs: Any) -> str:
    """What to do about nested lists of numbers where an array is expected, or an empty string.

    >>> list_hint([[1.0, 2.0]])
    ' A list means several inputs; numbers are passed as one array: numpy.array(...).'
    """
    if not isinstance(inputs, (list, tuple)) or not _numbers(inputs):
        return ""
    return " A list means several inputs; numbers are passed as one array: numpy.array(...)."


def _numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(map(_numbers, value))
    return isinstance(value, (int, float, complex))


def locate(error: Exception, path: str, kind: str, inputs: Any) -> None:
    """Adds the layer's path and what it received to an error's message, once."""
    if getattr(error, "_carnyx_located", False) or not isinstance(error, (ValueError, TypeError)):
        return
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    received = f"in layer '{path}' ({kind}), which received: {describe(inputs)}"
    error.args = (f"{error.args[0]}{list_hint(inputs)}\n  {received}",)
    error._carnyx_located = True  # type: ignore[attr-defined]
