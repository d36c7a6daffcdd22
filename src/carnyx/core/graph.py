"""Graphs of layers: Input, Functional and Sequential networks, and what all models share.

A network here can be called, configured and inspected. Training (`compile`, `fit`...) is joined to
these classes in `train/model.py`, which makes the public Model, Functional and Sequential.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from carnyx.core import dtypes, errors, state, symbol
from carnyx.core.config import build_config, deserialize, serialize, serialize_object, unique_name
from carnyx.core.layer import Layer, is_shape
from carnyx.core.operations import address, called, is_operation, lookup, written
from carnyx.core.symbol import KerasTensor
from carnyx.core.texts import Cut, cut


class InputLayer(Layer):
    """The entry of a graph; `Input` makes one."""

    keras_module = "keras.layers"

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Any = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name or unique_name("input_layer"))
        if shape is not None and batch_shape is not None:
            raise ValueError("Input: pass `shape` (without the batch) or `batch_shape`, not both.")
        if sparse or ragged:
            raise ValueError("Input: sparse and ragged inputs are not supported: pass dense ones.")
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.shape, dtype or input_tensor.dtype
        if batch_shape is None:
            if shape is None:
                raise ValueError("Input: pass `shape`, the shape of one sample, as a tuple.")
            batch_shape = (batch_size, *((shape,) if isinstance(shape, int) else shape))
        if not is_shape(batch_shape):
            raise ValueError(
                f"Input: a shape is a tuple of ints and Nones. Received: {batch_shape!r}"
            )
        self.batch_shape = tuple(batch_shape)
        self.sparse, self.ragged, self.optional = bool(sparse), bool(ragged), optional
        self.dtype_policy = dtypes.DTypePolicy(dtypes.standardize_dtype(dtype))
        self.built = True
        node = symbol.Node(self, (), {})
        tensor = input_tensor
        if tensor is None:
            tensor = KerasTensor(self.batch_shape, self.dtype, name=self.name)
        node.bind(tensor)
        self._nodes.append(node)

    @property
    def output(self) -> KerasTensor:
        return self._nodes[0].outputs[0]

    def call(self) -> Any:
        raise TypeError("An InputLayer is not called: give its `output` to a layer.")

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "name": self.name,
            "optional": self.optional,
        }


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> KerasTensor:
    """The symbol of a model's input: `shape` is one sample's, None for sizes that may vary.

    >>> Input((28, 28, 1), name="image").shape
    (None, 28, 28, 1)
    """
    return InputLayer(
        shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name
    ).output


class Network(Layer):
    """What every model is, apart from its training: named layers, a summary, input checks."""

    _input_struct: Any = None  # KerasTensors, for graphs that know their inputs
    _output_struct: Any = None

    def build(self, input_shape: Any) -> None:
        """Notes the shape for files; the layers of a user's model are built by its first call."""
        self.built = True

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds with what `get_build_config` gave: by a call without numbers."""
        shape = config.get("input_shape")
        if self.built or shape is None:
            return
        if type(self).build is not Network.build:
            super().build_from_config(config)
        self.compute_output_spec(
            jax.tree.map(
                lambda s: KerasTensor((None, *s[1:]), self.compute_dtype), shape, is_leaf=is_shape
            )
        )

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer of that name or at that index of `layers`."""
        if (name is None) == (index is None):
            raise ValueError("get_layer: pass either `name` or `index`.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(
                    f"get_layer: index {index} is out of range: the model has "
                    f"{errors.count(len(self.layers), 'layer')}."
                )
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        hint = errors.nearest(str(name), names)
        raise ValueError(f"No layer named {name!r} in model '{self.name}'.{hint} Layers: {names}")

    def placeholders(self, structure: Any) -> Any:
        """KerasTensors like the arrays (or anything with shape and dtype) in a structure."""

        def placeholder(leaf: Any) -> Any:
            if not hasattr(leaf, "dtype"):
                return leaf
            cast = dtypes.is_float(leaf.dtype)
            return KerasTensor((None, *leaf.shape[1:]), self.compute_dtype if cast else leaf.dtype)

        return jax.tree.map(placeholder, structure)

    def build_from(self, *args: Any, **kwargs: Any) -> Any:
        """Builds from arrays without computing anything; returns KerasTensors like the outputs."""
        args, kwargs = self.placeholders((args, kwargs))
        return self.compute_output_spec(*args, **kwargs)

    @property
    def inputs(self) -> list[KerasTensor] | None:
        return None if self._input_struct is None else symbol.symbols(self._input_struct)

    @property
    def input_shape(self) -> Any:
        """The shape of the input, or the structure of shapes of several."""
        return _shapes_of(self._known("_input_struct"))

    @property
    def output_shape(self) -> Any:
        return _shapes_of(self._known("_output_struct"))

    def _known(self, attribute: str) -> Any:
        struct = getattr(self, attribute, None)
        if struct is None:
            raise AttributeError(
                f"Model '{self.name}' has not been given its input shape yet. Call it on data, "
                "build() it, or start it with an Input."
            )
        return struct

    def _chain(self) -> list[symbol.Node]:
        """The nodes from the inputs to the outputs, in order."""
        return []

    def _cut(self) -> Cut | None:
        """Where the graph ends to read strings, if it does."""
        inputs = symbol.symbols(self._input_struct)
        if self._output_struct is None or all(t.dtype != "string" for t in inputs):
            return None
        return cut(self._chain(), symbol.symbols(self._output_struct))

    def read_texts(self, inputs: Any) -> Any:
        """What the layers that read strings make of `inputs`, on the host; the model takes it too.

        Inputs of a model without such layers are given back, and so is what was read already.
        """
        cut = self._cut()
        if cut is None or cut.has_read(inputs):
            return inputs
        leaves = jax.tree.leaves(self._conform(inputs))
        values = {id(t): x for t, x in zip(symbol.symbols(self._input_struct), leaves, strict=True)}
        run_nodes(cut.before, values)
        return {name: np.asarray(values[id(t)]) for name, t in cut.between.items()}

    def _values(self, inputs: Any, mask: Any) -> tuple[list[symbol.Node], dict[int, Any]]:
        """What is to be computed, and the values, by id, to begin with."""
        if (cut := self._cut()) and cut.has_read(inputs):
            fitted = {id(t): _fit_input(inputs[name], t) for name, t in cut.between.items()}
            return cut.after, fitted
        leaves = jax.tree.leaves(self._conform(inputs), is_leaf=symbol.is_symbol)
        for leaf, m in zip(leaves, jax.tree.leaves(mask), strict=False):
            state.set_mask(leaf, m)
        tensors = symbol.symbols(self._input_struct)
        return self._chain(), {id(t): x for t, x in zip(tensors, leaves, strict=True)}

    def _conform(self, inputs: Any) -> Any:
        """`inputs` in the structure, types and ranks that the graph's inputs have."""
        struct = self._input_struct
        tensors = symbol.symbols(struct)
        if isinstance(inputs, dict) and not isinstance(struct, dict):
            inputs = [_by_name(inputs, t.name, self.name) for t in tensors]
        elif isinstance(struct, dict) and isinstance(inputs, dict):
            inputs = {key: _by_name(inputs, key, self.name) for key in struct}
        leaves = jax.tree.leaves(inputs, is_leaf=symbol.is_symbol)
        if len(leaves) != len(tensors):
            raise ValueError(
                f"Model '{self.name}' has {errors.count(len(tensors), 'input')} "
                f"({', '.join(t.name for t in tensors)}) and received {len(leaves)}. "
                "Pass one array for each, in a list in this order or in a dict by name."
            )
        fitted = [_fit_input(x, t) for x, t in zip(leaves, tensors, strict=True)]
        tree = jax.tree.structure(struct, is_leaf=symbol.is_symbol)
        return jax.tree.unflatten(tree, fitted)

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Prints the layers with output shapes, numbers of parameters, and what a sample costs."""
        from carnyx.core.summary import print_summary

        more = (expand_nested, show_trainable, layer_range, self._flops())
        print_summary(self, line_length, print_fn, *more)

    def _flops(self) -> dict[str, int] | None:
        """Layer path -> operations for one sample, where that can be known: see `Trainer`."""
        return None


def _shapes_of(struct: Any) -> Any:
    return jax.tree.map(lambda t: t.shape, struct, is_leaf=symbol.is_symbol)


def _by_name(inputs: dict[str, Any], name: str, model: str) -> Any:
    if name not in inputs:
        hint = errors.nearest(name, inputs)
        raise ValueError(
            f"Model '{model}' has an input named {name!r}, which is not among the given "
            f"{list(inputs)}.{hint}"
        )
    return inputs[name]


def _fit_input(x: Any, tensor: KerasTensor) -> Any:
    """One input with a missing or surplus last axis of size 1 mended, checked and cast."""
    shape, wanted = tuple(x.shape), tensor.shape
    if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
        x = x[..., None]
    elif len(shape) == len(wanted) + 1 and shape[-1] == 1:
        x = x[..., 0]
    shape = tuple(x.shape)
    fits = len(shape) == len(wanted) and all(
        a == b or a is None or b is None for a, b in zip(shape, wanted, strict=True)
    )
    if not fits:
        raise ValueError(
            f"input '{tensor.name}' expects shape {wanted} (None: any size) and received {shape}. "
            "Reshape the data, or make the model with Input(shape=...) for this shape."
        )
    if tensor.dtype == "string" and getattr(x.dtype, "kind", "O") not in "OSTU":
        raise TypeError(
            f"input '{tensor.name}' takes strings and received {x.dtype}. Pass them as they are, "
            "or make the model without the layers that read them."
        )
    if symbol.is_symbol(x) or dtypes.standardize_dtype(x.dtype) == tensor.dtype:
        return x
    mask = state.get_mask(x)
    if not (dtypes.is_float(x.dtype) and dtypes.is_float(tensor.dtype)):
        x = x.astype(tensor.dtype)
    if mask is not None:
        state.set_mask(x, mask)
    return x


class FunctionalGraph(Network):
    """The layers and operations between input and output KerasTensors.

    Any tensors of a graph may be the inputs, so `Functional(a.output, b.output)` cuts a part out.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(name=name or unique_name("functional"), **kwargs)
        for label, struct in (("inputs", inputs), ("outputs", outputs)):
            leaves = jax.tree.leaves(struct, is_leaf=symbol.is_symbol)
            if not leaves or not all(symbol.is_symbol(t) for t in leaves):
                raise ValueError(
                    f"Functional: `{label}` are KerasTensors, made by Input() and by calling "
                    f"layers on them. Received: {label}={struct!r}"
                )
        if isinstance(inputs, (list, tuple)) and len(inputs) == 1:
            inputs = inputs[0]
        self._input_struct, self._output_struct = inputs, outputs
        self._graph_nodes, self._operations = _trace_back(
            symbol.symbols(inputs), symbol.symbols(outputs)
        )
        self.built = True
        if not trainable:
            self.trainable = False

    def _chain(self) -> list[symbol.Node]:
        return self._graph_nodes

    @property
    def layers(self) -> list[Any]:
        return [one for one in self._operations if isinstance(one, Layer)]

    @property
    def operations(self) -> list[Any]:
        """The layers and the operations that are no layers, in the order of the config."""
        return list(self._operations)

    @property
    def outputs(self) -> list[KerasTensor]:
        return symbol.symbols(self._output_struct)

    @property
    def input(self) -> Any:
        return self._input_struct

    @property
    def output(self) -> Any:
        return self._output_struct

    def build(self, input_shape: Any) -> None:
        self.built = True  # its layers were built while the graph was made

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        nodes, values = self._values(inputs, mask)
        run_nodes(nodes, values)
        return symbol.substitute(self._output_struct, lambda t: values[id(t)])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None  # masks travel with the tensors, through the graph

    def get_config(self) -> dict[str, Any]:
        nodes = [*(n for x in self.layers if isinstance(x, InputLayer) for n in x._nodes)]
        nodes += self._graph_nodes
        places = _places(nodes)
        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [_written(operation, nodes, places) for operation in self._operations],
            "input_layers": _history(self._input_struct, places),
            "output_layers": _history(self._output_struct, places),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        if "layers" not in config:
            return super().from_config(config)
        made: dict[tuple[str, int], list[KerasTensor]] = {}
        waiting = []
        for one in config["layers"]:
            if is_operation(one):
                run: Any = functools.partial(_call_operation, one)
            else:
                run = deserialize(one, custom_objects)
            if isinstance(run, InputLayer):
                made[one["name"], 0] = [run.output]
            waiting += [(one["name"], i, run, n) for i, n in enumerate(one["inbound_nodes"])]
        while waiting:
            later = [item for item in waiting if not _replay(item, made)]
            if len(later) == len(waiting):
                raise ValueError(
                    f"The config of model {config.get('name')!r} is no graph: the inputs of "
                    f"{sorted({item[0] for item in later})} are never made."
                )
            waiting = later
        inputs = _decode_history(config["input_layers"], made)
        outputs = _decode_history(config["output_layers"], made)
        return cls(inputs, outputs, name=config["name"], trainable=config.get("trainable", True))


class Function(symbol.Operation):
    """A graph from input to output KerasTensors as one operation; it has no weights of its own.

    >>> x = Input((3,))
    >>> double = Function(x, 2 * x + 1)
    >>> double(jax.numpy.ones((1, 3))).tolist()
    [[3.0, 3.0, 3.0]]
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        super().__init__(name)
        self._input_struct, self._output_struct = inputs, outputs
        self._graph_nodes, self._operations = _trace_back(
            symbol.symbols(inputs), symbol.symbols(outputs)
        )

    @property
    def operations(self) -> list[Any]:
        """What is called between inputs and outputs."""
        return list(self._operations)

    @property
    def inputs(self) -> list[KerasTensor]:
        return symbol.symbols(self._input_struct)

    @property
    def outputs(self) -> list[KerasTensor]:
        return symbol.symbols(self._output_struct)

    def call(self, inputs: Any) -> Any:
        leaves = jax.tree.leaves(inputs, is_leaf=symbol.is_symbol)
        if len(leaves) != len(self.inputs):
            raise ValueError(
                f"Function '{self.name}' has {errors.count(len(self.inputs), 'input')} and "
                f"received {len(leaves)}."
            )
        values = {id(t): x for t, x in zip(self.inputs, leaves, strict=True)}
        run_nodes(self._graph_nodes, values)
        return symbol.substitute(self._output_struct, lambda t: values[id(t)])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shapes of the outputs for inputs of these shapes."""
        tensors = jax.tree.map(KerasTensor, input_shape, is_leaf=is_shape)
        return _shapes_of(self.compute_output_spec(tensors))


def run_nodes(nodes: list[symbol.Node], values: dict[int, Any], call: Any = None) -> None:
    """Computes the nodes in order; `values` holds what each KerasTensor, by id, stands for.

    `call(operation, *args, **kwargs)` calls an operation in its own way.
    """
    for node in nodes:
        args, kwargs = symbol.substitute((node.args, node.kwargs), lambda t: values[id(t)])
        if call is None:
            found = node.operation(*args, **kwargs)
        else:
            found = call(node.operation, *args, **kwargs)
        outputs = jax.tree.leaves(found, is_leaf=symbol.is_symbol)
        values.update((id(t), x) for t, x in zip(node.outputs, outputs, strict=True))


def _trace_back(
    inputs: list[KerasTensor], outputs: list[KerasTensor]
) -> tuple[list[symbol.Node], list[Any]]:
    """The nodes from inputs to outputs in an order of computation, and the operations by depth.

    An operation's depth is its longest way to an output; deeper ones come first, and among equals
    the one that a search from the outputs meets first: the order of `layers` and of the weights.
    """
    given = {id(t) for t in inputs}
    order: list[symbol.Node] = []
    met: dict[int, int] = {}
    stack: list[tuple[KerasTensor, bool]] = [(t, False) for t in reversed(outputs)]
    done: set[int] = set()
    while stack:
        tensor, leave = stack.pop()
        node = tensor.node
        if id(tensor) in given and (node is None or node.inputs):
            continue
        if node is None or (not node.inputs and id(tensor) not in given):
            raise ValueError(
                f"The graph is disconnected: the outputs need tensor {tensor.name!r} of shape "
                f"{tensor.shape}, which is not reached from the inputs "
                f"{[t.name for t in inputs]}. Add it to `inputs`."
            )
        if leave:
            if id(node) not in done:
                done.add(id(node))
                order.append(node)
            continue
        if id(node) in done:
            continue
        met.setdefault(id(node.operation), len(met))
        stack.append((tensor, True))
        stack.extend((t, False) for t in reversed(node.inputs))
    depths = _depths(order)
    for tensor in inputs:  # inputs that no output needs are layers of the model all the same
        if tensor.node is not None and not tensor.node.inputs and id(tensor.node) not in done:
            order.insert(0, tensor.node)
            met.setdefault(id(tensor.node.operation), len(met))
    operations = list({id(n.operation): n.operation for n in order}.values())
    operations.sort(key=lambda op: (-depths.get(id(op), 0), met[id(op)]))
    names = [op.name for op in operations if isinstance(op, Layer)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(
            f"Layer names are unique within a model, and these are used more than once: {twice}. "
            "Pass name=... to one of the layers."
        )
    return [n for n in order if n.inputs], operations


def _depths(order: list[symbol.Node]) -> dict[int, int]:
    """Operation id -> its longest distance to an output."""
    nodes: dict[int, int] = {}
    operations: dict[int, int] = {}
    for node in reversed(order):
        key = id(node.operation)
        depth = max(nodes.get(id(node), 0), operations.get(key, 0))
        nodes[id(node)] = operations[key] = depth
        for tensor in node.inputs:
            if tensor.node is not None:
                nodes[id(tensor.node)] = max(nodes.get(id(tensor.node), 0), depth + 1)
    return operations


def _places(nodes: list[symbol.Node]) -> dict[int, tuple[str, int, int]]:
    """KerasTensor id -> (name of the operation, which of its calls, which output).

    Layers keep their names; of operations that are called alike, later ones get a number.
    """
    taken = {n.operation.name for n in nodes if isinstance(n.operation, Layer)}
    names: dict[int, str] = {}
    calls: dict[int, int] = {}
    places = {}
    for node in nodes:
        key = id(node.operation)
        if key not in names:
            name = base = node.operation.name
            while name in taken and not isinstance(node.operation, Layer):
                name = f"{base}_{len(taken)}" if name == base else f"{name}_"
            taken.add(name)
            names[key] = name
        calls[key] = calls.get(key, -1) + 1
        for index, tensor in enumerate(node.outputs):
            places[id(tensor)] = (names[key], calls[key], index)
    return places


def _written(operation: Any, nodes: list[symbol.Node], places: Any) -> dict[str, Any]:
    """An entry of a graph's "layers": what is called, and how often with what."""
    own = [n for n in nodes if n.operation is operation]
    name = places[id(own[0].outputs[0])][0]
    calls: list[Any] = [(n.args, n.kwargs) for n in own if n.inputs]
    if isinstance(operation, symbol.Function):
        module, class_name = address(operation)
        config, *first = written(operation, *calls[0])
        calls[0] = first
        entry = {"module": module, "class_name": class_name, "config": {"name": name, **config}}
        entry["registered_name"] = class_name
    else:
        entry = serialize_object(operation)
    if isinstance(operation, Layer):
        entry["build_config"] = build_config(operation)
    entry["name"] = name
    entry["inbound_nodes"] = [
        {"args": _encode(args, places), "kwargs": _encode(kwargs, places)} for args, kwargs in calls
    ]
    return entry


def _history(struct: Any, places: Any) -> Any:
    listed = jax.tree.map(lambda t: list(places[id(t)]), struct, is_leaf=symbol.is_symbol)
    return listed


def _encode(structure: Any, places: Any) -> Any:
    if symbol.is_symbol(structure):
        config = {
            "shape": list(structure.shape),
            "dtype": structure.dtype,
            "keras_history": list(places[id(structure)]),
        }
        return {"class_name": "__keras_tensor__", "config": config}
    if isinstance(structure, dict):
        return {key: _encode(value, places) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_encode(value, places) for value in structure]
    return serialize(structure)


def _replay(item: Any, made: Any) -> bool:
    """Makes one call again; False if an input of it is not there yet."""
    name, index, run, node = item
    rows: Any = tuple if isinstance(run, functools.partial) else list
    try:
        args, kwargs = (_decode(node[part], made, rows) for part in ("args", "kwargs"))
    except KeyError:
        return False
    made[name, index] = symbol.symbols(run(*args, **kwargs))
    return True


def _call_operation(entry: dict[str, Any], *node: Any, **named: Any) -> Any:
    """Calls the operation of a config's entry; the node has the entry's name."""
    operation = lookup(entry["module"], entry["class_name"])
    args, kwargs = called(operation, _decode(entry["config"], {}, tuple), list(node), named)
    outputs = operation(*args, **kwargs)
    made = symbol.symbols(outputs)[0].node
    if made is not None and isinstance(made.operation, symbol.Function):
        made.operation = made.operation.renamed(entry["name"])
    return outputs


def _decode(structure: Any, made: Any, rows: Any = list) -> Any:
    """Arguments as they were: `rows` is what a list of the file becomes."""
    if isinstance(structure, dict) and structure.get("class_name") == "__keras_tensor__":
        name, call, index = structure["config"]["keras_history"]
        return made[name, call][index]
    if isinstance(structure, dict):
        decoded = {key: _decode(value, made, rows) for key, value in structure.items()}
        return deserialize(decoded) if {"class_name", "config"} <= set(decoded) else decoded
    if isinstance(structure, (list, tuple)):
        return rows(_decode(value, made, rows) for value in structure)
    return structure


def _decode_history(struct: Any, made: Any) -> Any:
    if isinstance(struct, dict):
        return {key: _decode_history(value, made) for key, value in struct.items()}
    if len(struct) == 3 and isinstance(struct[0], str):
        name, call, index = struct
        return made[name, call][index]
    tensors = [_decode_history(value, made) for value in struct]
    return tensors[0] if len(tensors) == 1 else tensors


class SequentialGraph(Network):
    """Layers one after another, each with one input and one output."""

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None) -> None:
        super().__init__(name=name or unique_name("sequential"), trainable=trainable)
        self._layers: list[Any] = []
        self._output_struct: Any = None
        for layer in layers or []:
            self.add(layer)
        if not trainable:
            self.trainable = False

    @property
    def layers(self) -> list[Any]:
        return list(self._layers)

    @property
    def outputs(self) -> list[KerasTensor] | None:
        return None if self._output_struct is None else symbol.symbols(self._output_struct)

    @property
    def input(self) -> Any:
        return self._known("_input_struct")

    @property
    def output(self) -> Any:
        return self._known("_output_struct")

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Puts a layer (or an Input) at the end."""
        if symbol.is_symbol(layer) and layer.node is not None:
            layer = layer.node.operation
        if not isinstance(layer, Layer):
            raise TypeError(
                f"Sequential '{self.name}': only layers can be added. Received: {layer!r} of type "
                f"{type(layer).__name__}. Wrap a function in a Lambda layer, and call classes: "
                "Dense(10) rather than Dense."
            )
        if layer is self or self in layer._flatten_layers():
            raise ValueError(f"Sequential '{self.name}' cannot contain itself.")
        if isinstance(layer, InputLayer):
            if self._layers or self._input_struct is not None:
                raise ValueError(
                    f"Sequential '{self.name}': an Input comes first, and once. It has "
                    f"{[x.name for x in self._layers]} already."
                )
            self._start(layer.output)
            return
        if any(other.name == layer.name for other in self._layers):
            raise ValueError(
                f"Sequential '{self.name}' has a layer named '{layer.name}' already. "
                "Names are unique within a model: pass name=... to one of them."
            )
        if not self._layers and self._input_struct is None:
            shape = layer._batch_shape
            if shape is None and isinstance(layer, Network) and layer.inputs:
                shape = layer.inputs[0].shape
            if shape is not None:
                dtype = layer._input_dtype or self.compute_dtype
                self._start(Input(batch_shape=shape, dtype=dtype))
        if self._output_struct is not None:
            with state.name_scope(self.name):
                self._output_struct = layer(self._output_struct)
        self._layers.append(layer)
        self.built = self._output_struct is not None

    def _start(self, tensor: KerasTensor) -> None:
        self._input_struct = self._output_struct = tensor

    def pop(self, rebuild: bool = True) -> Any:
        """Takes the last layer off and returns it."""
        if not self._layers:
            raise ValueError(f"Sequential '{self.name}' has no layer to pop.")
        layer = self._layers.pop()
        if self._output_struct is not None:
            self._output_struct = layer._nodes[-1].inputs[0]
        return layer

    def build(self, input_shape: Any = None) -> None:
        if self._output_struct is not None or not self._layers:
            return
        if input_shape is None:
            raise ValueError(
                f"Sequential '{self.name}' does not know its input shape. Start it with "
                "Input(shape=...), or build((None, ...))."
            )
        if not is_shape(input_shape):
            raise ValueError(
                f"Sequential '{self.name}' takes one input. Received the shape {input_shape!r}."
            )
        layers, self._layers = self._layers, []
        self._start(Input(batch_shape=(None, *input_shape[1:]), dtype=self.compute_dtype))
        names, state.context.names = state.context.names, state.context.names[:-1]
        try:
            for layer in layers:
                self.add(layer)
        finally:
            self._layers = layers
            state.context.names = names

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if isinstance(inputs, dict) and self._cut():
            nodes, values = self._values(inputs, mask)
            run_nodes(nodes, values)
            return values[id(self._output_struct)]
        x = self._conform(inputs) if self._input_struct is not None else inputs
        if mask is not None:
            state.set_mask(x, mask)
        for layer in self._layers:
            x = layer(x)
        return x

    def _chain(self) -> list[symbol.Node]:
        nodes, tensor = [], self._input_struct
        for layer in self._layers:
            nodes += [n for n in layer._nodes if n.inputs[:1] and n.inputs[0] is tensor][:1]
            tensor = nodes[-1].outputs[0]
        return nodes

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None  # masks travel with the tensors, from layer to layer

    def get_config(self) -> dict[str, Any]:
        layers, start = list(self._layers), self._input_struct
        if start is not None:
            layers = [start.node.operation, *layers]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize(self.dtype_policy),
            "layers": [serialize_object(layer) for layer in layers],
            "build_input_shape": None if start is None else start.shape,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        model = cls(name=config["name"], trainable=config.get("trainable", True))
        for layer in config["layers"]:
            model.add(deserialize(layer, custom_objects))
        shape = config.get("build_input_shape")
        if not model.built and shape:
            model.build(tuple(shape))
        return model


__all__ = [
    "Function",
    "FunctionalGraph",
    "Input",
    "InputLayer",
    "Network",
    "SequentialGraph",
]
