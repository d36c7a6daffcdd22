"""The only place that reaches into JAX's private parts, each use with its reason.

- `source_info_util`: an equation's name stack (which layer it belongs to) can be read and set
  nowhere else.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from jax._src import source_info_util


def name_stack(equation: Any) -> str:
    """The named scopes that an equation was traced in, as "a/b", transformations included."""
    return str(equation.source_info.name_stack)


def within(equation: Any) -> AbstractContextManager[Any]:
    """What is traced inside keeps the equation's place: its name stack below the current one."""
    stack = source_info_util.current_name_stack() + equation.source_info.name_stack
    return source_info_util.user_context(equation.source_info.traceback, name_stack=stack)
