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
from carnyx.core.config import Configurable, public, snake_case, unique_name

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

    # of Keras's signature; ragged tensors are not supported
    ragged_rank = row_splits_dtype = None

    def __getitem__(self, index: Any) -> KerasTensor:
        return public("ops").get_item(self, index)

    def __round__(self, ndigits: int | None = None) -> KerasTensor:
        return public("ops").round(self, ndigits or 0)

    def reshape(self, newshape: Any) -> KerasTensor:
        """The same elements in another shape, batch included; -1 for what is left."""
        return public("ops").reshape(self, newshape)

    def squeeze(self, axis: Any = None) -> KerasTensor:
        """Without the axes of size 1, or without this one."""
        return public("ops").squeeze(self, axis)

    def _no_value(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f"{self!r} has no value: it is a symbol of a model's graph. Wrap the code that needs "
            "numbers in a Layer's call(), or use carnyx.ops, which accept KerasTensors."
        )

    __bool__ = __float__ = __int__ = __len__ = __iter__ = __array__ = _no_value  # type: ignore[assignment]
    __jax_array__ = _no_value


class Operation(Configurable):
    """A named function of tensors: define `call`; on KerasTensors it becomes a node of a graph.

    >>> class Twice(Operation):
    ...     def call(self, x):
    ...         return 2 * x
    >>> Twice()(3), Twice()(KerasTensor((None, 3))).shape
    (6, (None, 3))
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or unique_name(snake_case(type(self).__name__))
        if not isinstance(self.name, str) or "/" in self.name:
            raise ValueError(f"An operation's name is a string without '/'. Received: {name!r}")
        self._nodes: list[Node] = []

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The mathematics, from inputs to outputs."""
        raise NotImplementedError(
            f"Operation '{self.name}' ({type(self).__name__}) has no call() method. Define one."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any_symbol(args, kwargs):
            return self.symbolic_call(*args, **kwargs)
        return self.call(*args, **kwargs)

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        """Records a node; returns its output KerasTensors."""
        node = Node(self, args, kwargs)
        outputs = self.compute_output_spec(*args, **kwargs)
        self._nodes.append(node)
        return node.bind(outputs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors like the outputs, from KerasTensors, by abstract evaluation."""
        return infer(self.call, args, kwargs)

    @property
    def input(self) -> Any:
        """The KerasTensors of the only symbolic call."""
        node = self._only_node("input")
        return node.args[0] if node.args else next(iter(node.kwargs.values()))

    @property
    def output(self) -> Any:
        """The KerasTensors that the only symbolic call gave."""
        outputs = self._only_node("output").outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def _only_node(self, what: str) -> Node:
        if len(self._nodes) != 1:
            raise AttributeError(
                f"{type(self).__name__} '{self.name}' has been called {len(self._nodes)} times on "
                f"KerasTensors, so it has no single `{what}`."
            )
        return self._nodes[0]


class Function(Operation):
    """A named function as a node's operation: what ops and arithmetic on KerasTensors record.

    All arguments stand in the node; how they are written into configs is in `operations.py`.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(unique_name(name))
        self.kind, self.function = name, function

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # an operation whose sizes depend on values says itself what it gives
        special = getattr(self.function, "symbols", None)
        outputs = special and special(*args, **kwargs)
        return infer(self.function, args, kwargs) if outputs is None else outputs

    def get_config(self) -> dict[str, Any]:
        from carnyx.core.operations import address

        module, class_name = address(self)
        return {"name": self.name, "module": module, "class_name": class_name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Function:
        from carnyx.core.operations import lookup

        function = lookup(config["module"], config["class_name"])
        return cls(function.__name__, function).renamed(config["name"])

    def renamed(self, name: str) -> Function:
        """The same function under another name in graphs."""
        twin = Function(self.kind, self.function)
        twin.name = name
        return twin


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


def symbolic_call(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records `operation(*args, **kwargs)` as a node; returns its output KerasTensors."""
    return operation.symbolic_call(*args, **kwargs)


def _operator(method: str, operation: str, reverse: bool = False) -> None:
    def record(self: KerasTensor, *others: Any) -> KerasTensor:
        args = (*others, self) if reverse else (self, *others)
        return getattr(public("ops"), operation)(*args)

    setattr(KerasTensor, f"__{'r' if reverse else ''}{method}__", record)


_BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "mod",
    "pow": "power",
    "matmul": "matmul",
    "and": "logical_and",
    "or": "logical_or",
    "xor": "logical_xor",
}
# == is identity, as for any object: graphs look their tensors up. Keras has it so.
_OTHERS = {
    "neg": "negative",
    "abs": "absolute",
    "invert": "logical_not",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "ne": "not_equal",
}
for _name, _operation in _BINARY.items():
    _operator(_name, _operation)
    _operator(_name, _operation, reverse=True)
for _name, _operation in _OTHERS.items():
    _operator(_name, _operation)
