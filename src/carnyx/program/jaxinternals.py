"""The only place that reaches into JAX's private parts, each use with its reason.

- `source_info_util`: the name stack of an equation (which layer it belongs to, below which
  transformations) can be read and set nowhere else.
- `debug_info` of a jaxpr (public, but nothing is promised about it): derivatives and batched forms
  of a function lose the names of its arguments and results, and nothing else tells them apart.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from jax._src import source_info_util


def scopes(equation: Any) -> list[list[str]]:
    """The named scopes that an equation was traced in, a new list below each transformation.

    The scopes a, b under a gradient, printed by JAX as transpose(jvp(a))/b, are [["a", "b"]].
    """
    found: list[list[str]] = [[]]
    for item in equation.source_info.name_stack.stack:
        if isinstance(item, source_info_util.Scope):
            found[-1] += item.name.split("/")
        elif found[-1]:
            found.append([])
    return found


def within(equation: Any) -> AbstractContextManager[Any]:
    """What is traced inside keeps the equation's place: its name stack below the current one."""
    stack = source_info_util.current_name_stack() + equation.source_info.name_stack
    return source_info_util.user_context(equation.source_info.traceback, name_stack=stack)


def is_as_written(closed: Any) -> bool:
    """Whether a call's body is the function that was called: no derivative of it, not batched."""
    info = closed.jaxpr.debug_info
    return info is None or (info.arg_names is not None and info.result_paths is not None)
