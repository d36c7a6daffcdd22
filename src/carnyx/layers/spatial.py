"""What layers share that come for one, two and three spatial axes: pooling, padding, dropout...

No layer lives here. `class Name2D(Name, rank=2)` is all that a rank needs: the base has the
arithmetic and the description, which follows the rank's own first line; what else it says comes
last, and goes on with the base's Args where no blank line is before it.
"""

from __future__ import annotations

from typing import Any

from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import arguments


class SpatialLayer(arguments.Declared, Layer):
    """Base: `rank` spatial axes, [B, *space, C] or, with "channels_first", [B, C, *space]."""

    rank = 0
    data_format = "channels_last"

    def __init_subclass__(cls, rank: int = 0, **kwargs: Any) -> None:
        if rank:
            cls.rank, cls.input_spec = rank, InputSpec(ndim=rank + 2)
            first, _, own = (cls.__doc__ or "").partition("\n")
            docs = (
                base.__doc__ or "" for base in cls.__mro__[1:] if issubclass(base, SpatialLayer)
            )
            shared = next(filter(None, (doc.partition("\n")[2] for doc in docs)), "")
            cls.__doc__ = f"{first}\n{shared.rstrip()}\n{own}"
        super().__init_subclass__(**kwargs)

    def spread(self, values: Any, other: Any) -> list[Any]:
        """A value for every axis of the input: `values` for space, `other` for the rest."""
        if self.data_format == "channels_first":
            return [other, other, *values]
        return [other, *values, other]
