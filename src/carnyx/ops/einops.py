"""Axes by name: `rearrange` reshapes and transposes as a pattern says (Rogozhnikov 2022)."""

from __future__ import annotations

import math
import re
from typing import Any

import jax.numpy as jnp

from carnyx.ops.table import op, operations

_TOKEN = re.compile(r"\.\.\.|[A-Za-z_]\w*|[()1]|\S")


def _groups(side: str, rest: list[str], pattern: str) -> list[list[str]]:
    """The axes of one side: a list for each axis of the array, one for a name outside brackets."""
    found: list[list[str]] = []
    inside = False
    for token in _TOKEN.findall(side):
        if token == "(" and not inside:
            inside = True
            found.append([])
        elif token == ")" and inside:
            inside = False
        elif token == "...":
            found.extend([name] for name in rest)
        elif token == "1" or token.isidentifier():
            names = [] if token == "1" else [token]
            found[-1].extend(names) if inside else found.append(names)
        else:
            raise _error(pattern, f"{token!r} has no meaning here")
    if inside:
        raise _error(pattern, "a bracket is open")
    return found


def _error(pattern: str, what: str) -> ValueError:
    return ValueError(
        f"ops.rearrange: pattern {pattern!r}: {what}. A pattern looks like 'b (h w) c -> b c h w': "
        "names, brackets around axes that are one axis of the array, '...' for others, 1, and '->'."
    )


def _sizes(shape: Any, groups: list[list[str]], given: dict[str, int], pattern: str) -> Any:
    """Name -> size, the one size that is not given in each bracket found by division."""
    sizes = dict(given)
    for size, names in zip(shape, groups, strict=True):
        unknown = [name for name in names if name not in sizes]
        product = math.prod(sizes[name] for name in names if name in sizes)
        if len(unknown) > 1:
            raise _error(pattern, f"give the sizes of all but one of {', '.join(names)}")
        if size % product if unknown and product else size != product:
            shown = " ".join(names) or "1"
            raise _error(pattern, f"({shown}) does not fit the size {size} of shape {shape}")
        if unknown:
            sizes[unknown[0]] = size // product if product else 0
    return sizes


@op
def rearrange(tensor: Any, pattern: str, **axes_lengths: Any) -> Any:
    """The same elements with axes split, joined and reordered as `pattern` says.

    Brackets name the axes that one axis of the array is made of, slowest first; `axes_lengths`
    gives the sizes of all but one of them.

    >>> x = jnp.arange(6).reshape(1, 6)
    >>> rearrange(x, "b (h w) -> b w h", h=2).tolist()
    [[[0, 3], [1, 4], [2, 5]]]
    """
    x = jnp.asarray(tensor)
    left, arrow, right = pattern.partition("->")
    if not arrow:
        raise _error(pattern, "there is no '->'")
    more = x.ndim - len(_groups(left, [], pattern))
    rest = [f"...{i}" for i in range(more)] if "..." in left else []
    before, after = _groups(left, rest, pattern), _groups(right, rest, pattern)
    if len(before) != x.ndim:
        raise _error(pattern, f"the array has {x.ndim} axes, the shape {x.shape}")
    names, wanted = sum(before, []), sum(after, [])
    if sorted(names) != sorted(wanted) or len(set(names)) != len(names):
        raise _error(pattern, "each name stands once on either side")
    if not set(axes_lengths) <= set(names):
        raise _error(pattern, f"there is no axis {sorted(set(axes_lengths) - set(names))}")
    sizes = _sizes(x.shape, before, axes_lengths, pattern)
    x = jnp.reshape(x, [sizes[name] for name in names])
    x = jnp.transpose(x, [names.index(name) for name in wanted])
    return jnp.reshape(x, [math.prod(sizes[name] for name in group) for group in after])


__all__ = operations(globals())  # noqa: PLE0605
