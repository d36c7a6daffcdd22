"""KerasTensor: a tensor without a value, and how its shape is found.

Calling an operation on KerasTensors records a `Node`; `graph.py` turns nodes into models. Output
shapes come from running the operation abstractly, never from hand-written rules: unknown sizes
are tried with two different numbers, and an output size that changes with them is unknown too.
(JAX's own symbolic sizes refuse comparisons such as `size < window`, which strides and padding
need; two probes answer every question and cost under a millisecond each.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import dtypes, state
from carnyx.core.config import unique_name

# Two primes larger than any window: a size that depends on an unknown one differs between them.
PROBES = (1009, 1013)


class KerasTensor:
    """A placeholder: shape (None where unknown), dtype and the node that makes it.

    Indexing and arithmetic record nodes, so `2 * x[:, 0] + 1` is a part of the graph.

    >>> x = KerasTensor((None, 3))
    >>> (2 * x[:, 0] + 1).shape
    (None,)
    """

    # numpy must not try to turn `array + KerasTensor` into an array of objects
    __array_ufunc__ = None

    def __init__(
        self,
        shape: Any,
        dtype: Any = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
    ) -> None:
        self.shape: tuple[int | None, ...] = tuple(shape)
        self.dtype = dtypes.standardize_dtype(dtype)
        self.name = name or unique_name("keras_tensor")
        self.sparse, self.ragged, self.record_history = sparse, ragged, record_history
        self.node: Node | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def __getitem__(self, index: Any) -> KerasTensor:
        return symbolic_call(Function("get_item", _get_item), (self, index), {})

    def _no_value(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f"{self!r} has no value: it is a symbol of a model's graph. Wrap the code that needs "
            "numbers in a Layer's call(), or use carnyx.ops, which accept KerasTensors."
        )

    __bool__ = __float__ = __int__ = __len__ = __iter__ = __array__ = _no_value  # type: ignore[assignment]


def _get_item(x: Any, index: Any) -> Any:
    return x[index]


class Function:
    """A named function as a node's operation: what arithmetic and ops on KerasTensors record."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = unique_name(name)
        self.kind, self.function = name, function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class Node:
    """One call of an operation on KerasTensors: what was called, with what, giving what."""

    def __init__(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.operation, self.args, self.kwargs = operation, args, kwargs
        self.inputs = symbols((args, kwargs))
        self.outputs: list[KerasTensor] = []

    def bind(self, outputs: Any) -> Any:
        """Makes `outputs` (a structure of KerasTensors) this node's; returns it."""
        self.outputs = symbols(outputs)
        for tensor in self.outputs:
            tensor.node = self
        return outputs


def is_symbol(value: Any) -> bool:
    return isinstance(value, KerasTensor)


def symbols(structure: Any) -> list[KerasTensor]:
    """The KerasTensors in a nested structure, in order."""
    return [leaf for leaf in jax.tree.leaves(structure, is_leaf=is_symbol) if is_symbol(leaf)]


def any_symbol(*structures: Any) -> bool:
    """Whether a KerasTensor is anywhere in the structures."""
    return bool(symbols(structures))


def substitute(structure: Any, replace: Callable[[KerasTensor], Any]) -> Any:
    """The structure with every KerasTensor replaced."""
    return jax.tree.map(
        lambda leaf: replace(leaf) if is_symbol(leaf) else leaf, structure, is_leaf=is_symbol
    )


def infer(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The KerasTensors that `fn(*args, **kwargs)` would give, found without computing it."""
    inputs = symbols((args, kwargs))
    unknown = any(size is None for tensor in inputs for size in tensor.shape)
    results = [_probe(fn, args, kwargs, inputs, fill) for fill in PROBES[: 1 + unknown]]
    return jax.tree.map(_merge, results[0], results[-1])


def _probe(fn: Any, args: Any, kwargs: Any, inputs: list[KerasTensor], fill: int) -> Any:
    specs = [
        jax.ShapeDtypeStruct([fill if n is None else n for n in t.shape], jnp.dtype(t.dtype))
        for t in inputs
    ]

    def evaluate(values: list[Any]) -> Any:
        table = {id(tensor): value for tensor, value in zip(inputs, values, strict=True)}
        new_args, new_kwargs = substitute((args, kwargs), lambda t: table[id(t)])
        with state.Scope(permissive=True):
            return fn(*new_args, **new_kwargs)

    return jax.eval_shape(evaluate, specs)


def _merge(first: Any, second: Any) -> KerasTensor:
    shape = [a if a == b else None for a, b in zip(first.shape, second.shape, strict=True)]
    return KerasTensor(shape, first.dtype)


def symbolic_call(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records `operation(*args, **kwargs)` as a node; returns its output KerasTensors."""
    return Node(operation, args, kwargs).bind(infer(operation, args, kwargs))


def _operator(name: str, function: Callable[..., Any], reverse: bool = False) -> None:
    def method(self: KerasTensor, *others: Any) -> KerasTensor:
        args = (*others, self) if reverse else (self, *others)
        return symbolic_call(Function(name, function), args, {})

    setattr(KerasTensor, f"__{'r' if reverse else ''}{name}__", method)


_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": jnp.add,
    "sub": jnp.subtract,
    "mul": jnp.multiply,
    "truediv": jnp.true_divide,
    "floordiv": jnp.floor_divide,
    "mod": jnp.mod,
    "pow": jnp.power,
    "matmul": jnp.matmul,
    "and": jnp.logical_and,
    "or": jnp.logical_or,
    "xor": jnp.logical_xor,
}
for _name, _function in _OPERATORS.items():
    _operator(_name, _function)
    _operator(_name, _function, reverse=True)
for _name, _function in {
    "neg": jnp.negative,
    "abs": jnp.abs,
    "invert": jnp.logical_not,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
}.items():
    _operator(_name, _function)
