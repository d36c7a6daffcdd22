"""How an operation becomes public: Keras's name and signature around a function of arrays.

`publish` makes one from each row of a table, `op` from a function written out. Both take arrays,
Variables, nested lists and KerasTensors; the latter record a node of a model's graph. The
operations themselves are in the modules that `__init__.py` names.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes
from carnyx.core.errors import describe, nearest
from carnyx.core.symbol import Function, any_symbol, symbolic_call
from carnyx.core.variable import Variable

# Arguments of these names are tensors (or, in the plural, lists of them); others stay as given.
TENSORS = frozenset(
    (
        "x x1 x2 y a b v condition indices values inputs updates data segment_ids targets kernel "
        "predictions mean variance offset scale gamma beta weights xs variable fill_value bins "
        "target output array tensor sorted_sequence abs_ angle depthwise_kernel pointwise_kernel "
        "start stop condlist choicelist default q"
    ).split()
)
LISTS = frozenset("xs condlist choicelist stack.x".split())


def tensor(value: Any, dtype: Any = None) -> Any:
    """An array for a Variable or a nested list; arrays and single numbers stay as they are.

    Single numbers have no type of their own: `half + 1.0` is half.
    """
    if isinstance(value, Variable):
        value = value.value
    if isinstance(value, (list, tuple)):
        value = array_of_list(value)
    return value if dtype is None else jnp.asarray(value, dtypes.standardize_dtype(dtype))


def array_of_list(value: Any) -> Any:
    """A nested list as an array; Python floats are of type `floatx`."""
    if any(isinstance(leaf, (jax.Array, Variable)) for leaf in jax.tree.leaves(value)):
        return jnp.stack([jnp.asarray(tensor(item)) for item in value])
    found = np.asarray(value)
    return jnp.asarray(found, dtypes.floatx() if found.dtype == np.float64 else None)


def _prepared(operation: str, name: str, value: Any) -> Any:
    if not LISTS.isdisjoint((name, f"{operation}.{name}")) and isinstance(value, (list, tuple)):
        return [jnp.asarray(tensor(item)) for item in value]
    if name == "dtype" and value is not None:
        return dtypes.standardize_dtype(value)
    return tensor(value) if name in TENSORS else value


def _spelled(p: inspect.Parameter) -> str:
    return str(p.replace(annotation=p.empty))


def expose(
    name: str,
    function: Callable[..., Any],
    template: Callable[..., Any],
    doc: str,
    module: str,
    symbols: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """`function` as a public operation with the signature of `template`.

    Parameters without a default are passed by position, the others by name, so that `function`
    may call its first parameters otherwise. `symbols` gives the output KerasTensors of an operation
    whose sizes depend on values, or None where they do not.
    """
    signature = inspect.signature(template)
    parameters = list(signature.parameters.values())
    by_name = {p.name for p in parameters if p.default is not p.empty}

    @functools.wraps(template)
    def operation(*args: Any, **kwargs: Any) -> Any:
        if any_symbol(args, kwargs):
            return symbolic_call(Function(name, operation), args, kwargs)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            called = ", ".join(map(_spelled, parameters))
            raise TypeError(f"ops.{name}({called}): {error}") from None
        bound.apply_defaults()  # which `function` may have others of
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for p in parameters:
            value = bound.arguments[p.name]
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                value = _prepared(name, p.name, value)
            if p.kind is p.VAR_POSITIONAL:
                positional.extend(map(tensor, value))
            elif p.kind is p.VAR_KEYWORD:
                named.update(value)
            elif p.name in by_name:
                named[p.name] = value
            else:
                positional.append(value)
        try:
            return function(*positional, **named)
        except (TypeError, ValueError) as error:
            received = ", ".join(map(describe, (*args, *kwargs.values())))
            error.add_note(f"  in ops.{name}, which received: {received}")
            raise

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__, operation.__module__ = doc, module
    operation.symbols = symbols  # type: ignore[attr-defined]  # which `Function` asks
    return operation


def op(
    function: Callable[..., Any] | None = None, *, symbols: Callable[..., Any] | None = None
) -> Any:
    """Decorator: a function of arrays as a public operation of the same signature."""
    if function is None:
        return functools.partial(op, symbols=symbols)
    doc = function.__doc__ or ""
    return expose(function.__name__, function, function, doc, function.__module__, symbols)


def publish(
    namespace: dict[str, Any],
    tables: Mapping[str, Mapping[str, str | tuple[Callable[..., Any], str]]],
    library: Any = jnp,
    wrapped: Callable[[str, Callable[..., Any]], Callable[..., Any]] = lambda name, function: (
        function
    ),
) -> None:
    """Puts an operation into a module for every row: name -> (function of arrays, what it is).

    The key of a table is what stands between the parentheses of each. A row that only says what it
    is stands for the function of that name in `library`. `wrapped(name, function)` is what runs.
    """
    for signature, rows in tables.items():
        template = eval(f"lambda {signature}: None")  # of our own tables only
        for name, row in rows.items():
            function, doc = written(name, row, library)
            function = wrapped(name, function)
            namespace[name] = expose(name, function, template, doc, namespace["__name__"])


def written(name: str, row: Any, library: Any) -> tuple[Callable[..., Any], str]:
    """The function of arrays of a table's row, and what it is."""
    return (getattr(library, name), row) if isinstance(row, str) else row


def operations(namespace: dict[str, Any], others: str = "") -> list[str]:
    """The `__all__` of a module: the operations that were made in it, and `others`."""
    home = namespace["__name__"]
    made = [n for n, f in namespace.items() if hasattr(f, "symbols") and f.__module__ == home]
    return sorted([*made, *others.split()])


def of_floats(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of x, with integers and bools as floats of type `floatx`."""

    def run(x: Any, *args: Any, **kwargs: Any) -> Any:
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            x = x.astype(dtypes.floatx())
        return function(x, *args, **kwargs)

    return run


def wide(x: Any) -> Any:
    """An array in float32 at least: half types and whole numbers are widened."""
    return x.astype(jnp.promote_types(x.dtype, "float32"))


def known(name: str, *values: Any) -> None:
    """Refuses traced values to an operation whose result has a size that depends on them."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
        raise ValueError(
            f"ops.{name}: the size of the result depends on values, and compiled code has none. "
            "Call it outside jit (compile(run_eagerly=True) in a model), or use an operation of "
            "fixed size, such as ops.where(condition, x1, x2) or ops.unique(x, size=...)."
        )


def choose(name: str, argument: str, value: Any, allowed: Any) -> Any:
    """`value`, or a ValueError saying what is allowed."""
    if value not in tuple(allowed):
        raise ValueError(
            f"{name}: {argument} is one of {', '.join(map(repr, allowed))}. Received: {value!r}."
            f"{nearest(str(value), [str(a) for a in allowed])}"
        )
    return value


def elsewhere(module: str, names: str = "", homes: str = "") -> Callable[[str], Any]:
    """The `__getattr__` of a module in which Keras lists names of other files.

    These are `names`, and all the public ones of the files `homes`.
    """

    def lookup(name: str) -> Any:
        files = [importlib.import_module(f"carnyx.ops.{home}") for home in homes.split()]
        for file in files:
            if name in file.__all__:
                return getattr(file, name)
        if name in names.split():
            return getattr(importlib.import_module("carnyx.ops"), name)
        listed = [n for file in (sys.modules[module], *files) for n in vars(file)["__all__"]]
        raise AttributeError(f"module {module!r} has no attribute {name!r}.{nearest(name, listed)}")

    return lookup
