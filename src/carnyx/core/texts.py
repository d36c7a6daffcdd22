"""Texts: where a graph that begins with strings is cut in two.

Strings live on the host. The layers that read them run there, batch by batch, and what they give
takes the strings' place: only the rest of the graph is traced and compiled. How a graph is run, as
a whole and cut, is in `graph.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from carnyx.core.symbol import KerasTensor, Node


class Cut(NamedTuple):
    """before: the nodes that read strings. after: the others, both in order. between: what these
    need of those, and of the inputs, by name."""

    before: list[Node]
    after: list[Node]
    between: dict[str, KerasTensor]

    def has_read(self, inputs: Any) -> bool:
        """Whether the strings of these inputs were read already."""
        return isinstance(inputs, dict) and inputs.keys() == self.between.keys()


def cut(nodes: list[Node], outputs: list[KerasTensor]) -> Cut | None:
    """Where to cut a graph of which inputs are strings; None if it has nothing besides what reads
    them, or that would train."""
    before = [n for n in nodes if any(t.dtype == "string" for t in n.inputs)]
    after = [n for n in nodes if n not in before]
    made = {id(t) for n in after for t in n.outputs}
    needed = [t for n in after for t in n.inputs] + outputs
    between = {id(t): t for t in needed if id(t) not in made}
    trains = any(getattr(n.operation, "trainable_variables", None) for n in before)
    if trains or not after or any(t.dtype == "string" for t in between.values()):
        return None
    named = enumerate(between.values())
    return Cut(before, after, {f"{t.node.operation.name}/{i}": t for i, t in named if t.node})
