"""The table that `Model.summary()` prints."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from carnyx.core import symbol


def size_text(count: int) -> str:
    """Bytes as text.

    >>> size_text(1536)
    '1.50 KB'
    """
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def count_text(count: float) -> str:
    """A number with three digits and K, M, G or T.

    >>> count_text(980), count_text(1_234_000)
    ('980', '1.23 M')
    """
    size = float(count)
    for unit in ("", "K", "M", "G"):
        if size < 1000:
            return f"{size:.3g} {unit}".strip()
        size /= 1000
    return f"{size:.3g} T"


def _bytes(variables: list[Any]) -> int:
    return sum(v.size * v._value.dtype.itemsize for v in variables)


def _shape_text(layer: Any) -> str:
    if not layer._nodes:
        return "?" if not layer.built else "-"
    shapes = [t.shape for node in layer._nodes[:1] for t in node.outputs]
    return ", ".join(str(s) for s in shapes)


def _sources(layer: Any) -> str:
    tensors = [t for node in layer._nodes for t in node.inputs]
    names = [t.node.operation.name for t in tensors if t.node is not None]
    return ", ".join(dict.fromkeys(names)) or "-"


def _rows(layers: list[Any], nested: bool, path: str, depth: int = 0) -> list[tuple[int, str, Any]]:
    """(depth, path in the Program, layer) of the layers, and of those in nested models."""
    rows = []
    for layer in layers:
        place = f"{path}/{layer.name}"
        rows.append((depth, place, layer))
        if nested and symbol.is_symbol(getattr(layer, "_output_struct", None)):
            rows += _rows(layer.layers, nested, place, depth + 1)
    return rows


def _result_bytes(layer: Any) -> int:
    """Bytes of a layer's outputs for one sample."""
    tensors = [t for node in layer._nodes[:1] for t in node.outputs]
    sizes = (math.prod(n or 1 for n in t.shape) * jnp.dtype(t.dtype).itemsize for t in tensors)
    return sum(sizes)


def print_summary(
    model: Any,
    line_length: int | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
    flops: dict[str, int] | None = None,
) -> None:
    """Prints one row a layer, then the totals; `print_fn` receives the text instead of stdout.

    `flops`: the path of a layer in a Program -> its operations for one sample.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f'Model: "{model.name}"', title_justify="left", header_style="bold")
    table.add_column("Layer (type)", overflow="fold")
    table.add_column("Output shape", overflow="fold")
    table.add_column("Params", justify="right")
    if flops:
        table.add_column("FLOPs", justify="right")
        table.add_column("Memory", justify="right")
    branches = any(len(n.inputs) > 1 or len(x._nodes) > 1 for x in model.layers for n in x._nodes)
    if branches:
        table.add_column("Connected to", overflow="fold")
    if show_trainable:
        table.add_column("Trainable")
    names = [layer.name for layer in model.layers]
    first, last = (names.index(n) for n in layer_range) if layer_range else (0, len(names) - 1)
    for depth, path, layer in _rows(model.layers[first : last + 1], expand_nested, model.name):
        row = [
            "  " * depth + f"{layer.name} ({type(layer).__name__})",
            _shape_text(layer),
            f"{sum(v.size for v in layer.weights):,}" if layer.built else "not built",
        ]
        if flops:
            own = sum(n for p, n in flops.items() if p == path or p.startswith(f"{path}/"))
            row += [count_text(own), size_text(_result_bytes(layer))]
        row += [_sources(layer)] if branches else []
        row += ["yes" if layer.trainable else "no"] if show_trainable else []
        table.add_row(*row)
    console = Console(width=line_length) if print_fn is None else None
    buffer = io.StringIO()
    console = console or Console(file=buffer, width=line_length or 80)
    console.print(table)
    for line in _totals(model):
        console.print(line, highlight=False)
    if flops:
        total = count_text(sum(flops.values()))
        note = f" FLOPs of one sample: {total}; Memory: of a layer's outputs for it"
        console.print(note, highlight=False)
    if print_fn is not None:
        print_fn(buffer.getvalue())


def _totals(model: Any) -> list[str]:
    trainable, rest = model.trainable_weights, model.non_trainable_weights
    optimizer = list(getattr(getattr(model, "optimizer", None), "variables", []))
    groups = [("Trainable parameters", trainable), ("Non-trainable parameters", rest)]
    groups += [("Optimizer parameters", optimizer)] if optimizer else []
    everything = [v for _, variables in groups for v in variables]
    return [
        f" {label}: {sum(v.size for v in variables):,} ({size_text(_bytes(variables))})"
        for label, variables in [("Total parameters", everything), *groups]
    ]
