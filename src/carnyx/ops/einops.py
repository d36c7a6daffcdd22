"""Axes by name, through the package einops (Rogozhnikov 2022)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.ops.table import op, operations


@op
def rearrange(tensor: Any, pattern: str, **axes_lengths: Any) -> Any:
    """The same elements with axes split, joined and reordered as `pattern` says.

    Brackets name the axes that one axis of the array is made of, slowest first; `axes_lengths`
    gives the sizes of all but one of them; '...' stands for other axes.

    >>> x = jnp.arange(6).reshape(1, 6)
    >>> rearrange(x, "b (h w) -> b w h", h=2).tolist()
    [[[0, 3], [1, 4], [2, 5]]]
    """
    import einops

    x = jnp.asarray(tensor)
    try:
        if "->" not in pattern:
            raise einops.EinopsError("There is no '->'.")
        return einops.rearrange(x, pattern, **axes_lengths)
    except einops.EinopsError as error:
        reason = str(error).splitlines()[-1].removeprefix("Additional info: {}. ").strip()
        raise ValueError(
            f"ops.rearrange: pattern {pattern!r} for shape {x.shape}: {reason} A pattern looks "
            "like 'b (h w) c -> b c h w', and every name stands on both sides."
        ) from None


__all__ = operations(globals())  # noqa: PLE0605
