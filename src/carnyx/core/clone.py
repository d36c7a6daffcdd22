"""clone_model: a model of the same layers and operations with new weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jax

from carnyx.core import errors, symbol
from carnyx.core.graph import FunctionalGraph, Input, InputLayer, SequentialGraph, run_nodes


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A model of the same layers with new weights.

    Args:
        input_tensors: KerasTensors to build it on, structured as the model's inputs.
        clone_function: makes the copy of a layer or operation; by default from its config. Inputs
            are not given to it; models inside are, as one layer.
        call_function: `call_function(copy, *args, **kwargs)` calls a copy in a graph.
        recursive: clone the models inside with these functions too.

    >>> import carnyx
    >>> model = carnyx.Sequential([carnyx.Input((3,)), carnyx.layers.Dense(2, name="d")])
    >>> [layer.name for layer in clone_model(model).layers]
    ['d']
    """
    _check_tensors(model, input_tensors)

    def clone(one: Any) -> Any:
        if recursive and isinstance(one, (FunctionalGraph, SequentialGraph)):
            inner = call_function if isinstance(one, FunctionalGraph) else None
            return clone_model(one, None, clone_function, inner, True)
        if clone_function is not None:
            return clone_function(one)
        if isinstance(one, symbol.Function):
            return one.renamed(one.name)
        return type(one).from_config(copy.deepcopy(one.get_config()))

    if isinstance(model, SequentialGraph):
        if call_function is not None:
            raise ValueError(
                f"clone_model: `call_function` is for graphs, and '{model.name}' is a Sequential, "
                "whose layers are called one after another."
            )
        return _clone_sequential(model, input_tensors, clone)
    if isinstance(model, FunctionalGraph):
        return _clone_graph(model, input_tensors, clone, call_function)
    if clone_function is not None or input_tensors is not None or call_function is not None:
        raise ValueError(
            "clone_model: `clone_function`, `call_function` and `input_tensors` are for Sequential "
            f"models and graphs. Received a {type(model).__name__}; make it from its config: "
            "type(model).from_config(model.get_config())."
        )
    return type(model).from_config(copy.deepcopy(model.get_config()))


def _check_tensors(model: Any, tensors: Any) -> None:
    leaves = jax.tree.leaves(tensors, is_leaf=symbol.is_symbol)
    if not all(symbol.is_symbol(t) for t in leaves):
        raise ValueError(
            f"clone_model: `input_tensors` are KerasTensors, made by Input. Received: {tensors!r}"
        )
    wanted = getattr(model, "inputs", None)
    if leaves and wanted is not None and len(leaves) != len(wanted):
        raise ValueError(
            f"clone_model: model '{model.name}' has {errors.count(len(wanted), 'input')}, and "
            f"`input_tensors` {len(leaves)}."
        )


def _clone_sequential(model: Any, tensors: Any, clone: Callable[[Any], Any]) -> Any:
    twin = type(model)(name=model.name, trainable=model.trainable)
    given = symbol.symbols(tensors)
    for start in (given or model.inputs or [])[:1]:
        if given and start.node is not None and isinstance(start.node.operation, InputLayer):
            twin.add(start)
        else:
            twin.add(Input(batch_shape=start.shape, dtype=start.dtype, name=start.name))
    for layer in model.layers:
        twin.add(clone(layer))
    return twin


def _clone_graph(model: Any, tensors: Any, clone: Callable[[Any], Any], call: Any) -> Any:
    if tensors is None:
        tensors = symbol.substitute(
            model.input, lambda t: Input(batch_shape=t.shape, dtype=t.dtype, name=t.name)
        )
    values: dict[int, Any] = dict(zip(map(id, model.inputs), symbol.symbols(tensors), strict=True))
    copies = {id(one): clone(one) for one in model.operations if not isinstance(one, InputLayer)}

    def run(operation: Any, *args: Any, **kwargs: Any) -> Any:
        copied = copies[id(operation)]
        return copied(*args, **kwargs) if call is None else call(copied, *args, **kwargs)

    run_nodes(model._graph_nodes, values, run)
    outputs = symbol.substitute(model.output, lambda t: values[id(t)])
    return type(model)(tensors, outputs, name=model.name, trainable=model.trainable)


__all__ = ["clone_model"]
