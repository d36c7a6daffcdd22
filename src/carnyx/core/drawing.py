"""Pictures of models: `model_to_dot` describes the graph of layers, `plot_model` draws it.

The `graphviz` package writes the description; drawing takes Graphviz's own program `dot`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import jax

from carnyx.core import symbol
from carnyx.core.graph import FunctionalGraph, InputLayer, SequentialGraph, _trace_back

STYLE = {"shape": "plaintext", "fontname": "Helvetica", "fontsize": "11"}
HEAD, FROZEN, PLAIN = "#24425c", "#7a8794", "#f4f6f8"
SHOWN = ("shapes", "dtype", "layer_names", "layer_activations", "trainable")


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """The graph of a model's layers as a `graphviz.Digraph`, whose `source` is in the DOT language.

    Args:
        model: built, so that its shapes are known.
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable: what a
            layer's box says beside its type.
        rankdir: "TB" from top to bottom, "LR" from left to right.
        expand_nested: whether models inside are drawn as graphs in a frame.
        dpi: dots per inch of PNG pictures.
        splines: the form of arrows, see Graphviz.
        subgraph: of Keras's signature.

    Raises:
        ImportError: `graphviz` is not installed.
        ValueError: a model that is not built.
    """
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built, so there is nothing to draw. Call it on data or "
            "build() it first."
        )
    if rankdir not in ("TB", "LR", "BT", "RL"):
        raise ValueError(f"rankdir is 'TB', 'LR', 'BT' or 'RL'. Received: {rankdir!r}")
    try:
        import graphviz
    except ImportError:
        raise ImportError(
            "Drawing models needs the package graphviz: pip install graphviz"
        ) from None
    given = (show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    dot = graphviz.Digraph(model.name, node_attr=STYLE, edge_attr={"color": FROZEN})
    dot.attr(rankdir=rankdir, dpi=str(dpi), splines=splines)
    shown = {what for what, show in zip(SHOWN, given, strict=True) if show}
    _Drawing(shown, expand_nested).draw(dot, model, model.name)
    return dot


class _Drawing:
    """One pass over a model: boxes for layers, arrows for tensors."""

    def __init__(self, shown: set[str], expand: bool) -> None:
        self.shown, self.expand = shown, expand

    def draw(self, dot: Any, model: Any, path: str) -> tuple[list[str], list[str]]:
        """Draws the layers of a model; returns the boxes of its inputs and of its outputs."""
        if not isinstance(model, (FunctionalGraph, SequentialGraph)):
            boxes = [self._box(dot, layer, f"{path}/{layer.name}") for layer in model.layers]
            return boxes[:1], boxes[-1:]
        inputs, outputs = map(symbol.symbols, (model._input_struct, model._output_struct))
        ends: dict[int, list[str]] = {}  # id of a KerasTensor -> the boxes that it comes from
        for tensor in inputs:
            layer = tensor.node.operation if tensor.node else tensor
            ends[id(tensor)] = [self._box(dot, layer, f"{path}/{layer.name}")]
        starts = [box for boxes in ends.values() for box in boxes]
        calls: Counter[str] = Counter()
        for node in _trace_back(inputs, outputs)[0]:
            name = node.operation.name
            calls[name] += 1  # a layer that is called twice has two boxes
            place = f"{path}/{name}" if calls[name] == 1 else f"{path}/{name}#{calls[name]}"
            first, last = self._node(dot, node, place)
            for tensor in node.inputs:
                for before in ends.get(id(tensor), []):
                    dot.edge(before, first)
            ends.update((id(tensor), [last]) for tensor in node.outputs)
        return starts, [box for t in outputs for box in ends[id(t)]]

    def _node(self, dot: Any, node: Any, path: str) -> tuple[str, str]:
        """One call of a layer: its box, or the first and last of a model that is drawn open."""
        inner = node.operation
        if self.expand and isinstance(inner, (FunctionalGraph, SequentialGraph)):
            with dot.subgraph(name=f"cluster_{path}") as frame:
                frame.attr(label=inner.name, style="rounded", color=FROZEN, fontname="Helvetica")
                starts, ends = self.draw(frame, inner, path)
            return starts[0], ends[-1]
        box = self._box(dot, inner, path, node)
        return box, box

    def _box(self, dot: Any, layer: Any, path: str, node: Any = None) -> str:
        kind = type(layer).__name__ if hasattr(layer, "built") else getattr(layer, "kind", "?")
        head = f"<B>{layer.name}</B><BR/>{kind}" if "layer_names" in self.shown else kind
        frozen = not getattr(layer, "trainable", True) and "trainable" in self.shown
        colour = FROZEN if frozen else HEAD
        rows = [f'<TR><TD BGCOLOR="{colour}"><FONT COLOR="white">{head}</FONT></TD></TR>']
        rows += [f"<TR><TD>{text}</TD></TR>" for text in self._facts(layer, node)]
        table = (
            f'<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="5" BGCOLOR="{PLAIN}">'
        )
        dot.node(path.replace(":", "_"), f"<{table}{''.join(rows)}</TABLE>>")
        return path.replace(":", "_")

    def _facts(self, layer: Any, node: Any) -> list[str]:
        """The lines of a box below its head."""
        nodes = getattr(layer, "_nodes", None) or []
        node = node or (nodes[0] if nodes else None)
        facts = []
        activation = getattr(layer, "activation", None)
        if "layer_activations" in self.shown and activation is not None:
            facts.append(f"activation: {getattr(activation, '__name__', activation)}")
        if "shapes" in self.shown and node is not None:
            if node.inputs and not isinstance(layer, InputLayer):
                facts.append(f"in: {_shapes(node.inputs)}")
            facts.append(f"out: {_shapes(node.outputs)}")
        if "dtype" in self.shown and node is not None:
            facts.append(", ".join(dict.fromkeys(t.dtype for t in node.outputs)))
        if "trainable" in self.shown and jax.tree.leaves(getattr(layer, "weights", [])):
            facts.append("trainable" if layer.trainable else "frozen")
        return facts


def _shapes(tensors: list[Any]) -> str:
    return ", ".join(
        str(tuple("?" if n is None else n for n in t.shape)).replace("'", "") for t in tensors
    )


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """Draws a model's layers into a file, whose ending says the form: .png, .svg, .pdf, .dot.

    The arguments are those of `model_to_dot`; returns the `graphviz.Digraph`, which notebooks show.

    Raises:
        ImportError: `graphviz`, or Graphviz's program `dot`, is not installed.
        ValueError: an ending that Graphviz has no form for; a model that is not built.
    """
    path = Path(to_file)
    dot = model_to_dot(
        model,
        show_shapes,
        show_dtype,
        show_layer_names,
        rankdir,
        expand_nested,
        dpi,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        splines=splines,
    )
    form = path.suffix.lstrip(".") or "png"
    if form not in ("png", "svg", "pdf", "dot", "gv"):
        raise ValueError(f"plot_model: to_file ends in .png, .svg, .pdf or .dot. Received: {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if form in ("dot", "gv"):
        path.write_text(dot.source)
        return dot
    if shutil.which("dot") is None:
        raise ImportError(
            "plot_model needs Graphviz's program `dot` to draw: install Graphviz (apt install "
            "graphviz, brew install graphviz), or name a .dot file for the description alone."
        )
    path.write_bytes(dot.pipe(format=form))
    return dot


__all__ = ["model_to_dot", "plot_model"]
