"""Composites: the few pure functions that stay one named equation in a Program.

A composite is traced as a call named ``carnyx.<name>.v<version>``. Every engine can run its body
(the plain decomposition); an engine that knows a faster way may replace the call by its own
operation, and nothing depends on its doing so. The composites themselves live in `ops`; this file
holds only the mark and its reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

PREFIX = "carnyx."


def composite(name: str, version: int = 1, static: Sequence[str] = ()) -> Callable[..., Any]:
    """Decorates a pure function so that it is one equation, `carnyx.<name>.v<version>`, in a jaxpr.

    `static` names the arguments that are Python values rather than arrays. The version rises when
    the meaning or the signature changes, so that an engine never replaces what it does not know.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def body(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        body.__name__ = body.__qualname__ = f"{PREFIX}{name}.v{version}"
        body.__doc__ = function.__doc__
        body.__wrapped__ = function  # type: ignore[attr-defined]  # jit reads the signature
        return jax.jit(body, static_argnames=tuple(static))

    return decorate


def composite_name(call_name: str) -> str | None:
    """The composite's name if `call_name` (a jit equation's) belongs to one, else None."""
    return call_name if call_name.startswith(PREFIX) else None
