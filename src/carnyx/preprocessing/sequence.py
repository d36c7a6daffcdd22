"""Sequences of different lengths: the older name of `carnyx.utils.pad_sequences`."""

from carnyx.data.sequences import pad_sequences

__all__ = ["pad_sequences"]
