"""Hashing, HashedCrossing, and what all layers that take strings share (`HostLayer`).

The hashes themselves are in `hashes.py`, tables of known terms in `lookup.py`, whole texts in
`text.py`. Strings live on the host, in NumPy arrays; numbers may be a Program's too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes, symbol
from carnyx.core.fields import declared
from carnyx.core.layer import Layer, is_shape
from carnyx.layers import arguments, tabular
from carnyx.layers.arguments import Mode, Whole
from carnyx.layers.hashes import MAX_BUCKETS, buckets, crossed_buckets
from carnyx.layers.tabular import Dense

MODES = ("int", *tabular.ENCODINGS)
Salt = Any  # a whole number or two, kept as two


def kind_of(array: Any) -> str:
    """ "string", "int", "float" or the dtype's name; of arrays of objects, by the first one."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "OUST":
        first = array.flat[0] if array.size else ""
        strings = array.dtype.kind != "O" or isinstance(first, (str, bytes))
        return "string" if strings else f"objects such as {first!r}"
    families = {"i": "int", "u": "int", "f": "float"}
    return families.get(np.dtype(array.dtype).kind, str(array.dtype))


def expect(array: Any, kind: str, taken: str, remedy: str = "") -> None:
    """Refuses an array of another kind; what `[]` is does not show."""
    found = kind_of(array)
    if found != kind and (array.size or isinstance(array, jax.core.Tracer)):
        raise TypeError(f"{taken}; received {found}{remedy}")


def salt_of(layer: Any, argument: str, salt: Any) -> list[int]:
    """A salt as two whole numbers."""
    pair = [salt, salt] if arguments.is_whole(salt) else salt
    listed = isinstance(pair, (list, tuple)) and len(pair) == 2
    if not listed or not all(map(arguments.is_whole, pair)):
        raise arguments.refuse(layer, argument, salt, "a whole number, two of them, or None")
    return list(pair)


arguments.RULES["Salt"] = salt_of


class HostLayer(arguments.Declared, Layer):
    """Base of the layers that take strings: `call` gets NumPy arrays, or tracers of numbers."""

    unsaved = ("autocast",)
    _encode: Callable[..., Any]  # (the whole numbers that strings are turned into) -> the outputs

    def _set_up(self) -> None:
        self.autocast = False

    def _convert(self, structure: Any) -> Any:
        args, kwargs = structure
        return tuple(map(tabular.host_array, args)), kwargs

    def _spec(self, shape: Any) -> Any:
        return symbol.infer(self._encode, (symbol.KerasTensor(shape, "int32"),), {})

    def compute_output_spec(self, inputs: Any) -> Any:
        """Written by hand, since strings cannot be traced: numbers stand in for them."""
        return self._spec(inputs.shape)


class Bins(HostLayer):
    """What the two hashing layers share."""

    num_bins: int
    modes = MODES

    def __init__(
        self, *, output_mode: str, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        dtype = self._default_dtype(output_mode) if dtype is None else dtype
        super().__init__(name=name, dtype=dtype, **kwargs)
        self.output_mode = arguments.choice(self, "output_mode", output_mode, self.modes)

    def _default_dtype(self, output_mode: str) -> str | None:
        return "int64" if output_mode == "int" else None

    def _set_up(self) -> None:
        super()._set_up()
        if self.num_bins > MAX_BUCKETS:
            raise arguments.refuse(self, "num_bins", self.num_bins, f"at most {MAX_BUCKETS}")

    def _encode(self, ids: Any) -> Any:
        if self.output_mode == "int":
            return jnp.asarray(ids, "int32")
        return tabular.encode(ids, self.num_bins, self.output_mode, dtype=self.compute_dtype)


@declared
class Hashing(Bins):
    """Strings or whole numbers as the number of a bin, by a hash that is the same everywhere.

    Shapes: [...] -> [...], or as `CategoryEncoding` for the other modes. Numbers are hashed as
    their decimals, floats cut to whole ones. Inside a model, numbers of 32 bits can be hashed;
    strings before it.

    Args:
        num_bins: from 1.
        mask_value: what has bin 0 for itself.
        salt: a whole number or two, the key of SipHash; None for FarmHash's Fingerprint64.
        output_mode: "int", or how the bins are encoded, see `CategoryEncoding`.
        [shared]

    >>> Hashing(3)([["A"], ["B"], ["C"]]).tolist()
    [[1], [0], [1]]
    """

    num_bins: Whole
    mask_value: Any = None
    salt: Salt | None = None
    output_mode: Mode = "int"
    sparse: Dense = False

    def _default_dtype(self, output_mode: str) -> str | None:
        return super()._default_dtype(output_mode) or dtypes.floatx()

    def _set_up(self) -> None:
        super()._set_up()
        if self.output_mode == "int" and self.dtype_policy.name not in ("int32", "int64"):
            expected = "'int32' or 'int64' for output_mode='int'"
            raise arguments.refuse(self, "dtype", self.dtype_policy.name, expected)

    def call(self, inputs: Any) -> Any:
        kind, mask = kind_of(inputs), self.mask_value
        if kind not in ("string", "int", "float"):
            raise TypeError(f"takes strings or whole numbers; received {kind}")
        if kind == "float":
            inputs = inputs.astype("int32" if isinstance(inputs, jax.core.Tracer) else "int64")
        if mask is None or self.num_bins == 1:
            return self._encode(buckets(inputs, self.num_bins, self.salt))
        if (kind == "string") != isinstance(mask, (str, bytes)):
            raise TypeError(f"has mask_value={mask!r}; received {kind}s")
        if kind == "string":
            inputs = inputs.astype(object)
        masked = inputs == mask
        if isinstance(mask, str):
            masked |= inputs == mask.encode()
        xp = jnp if isinstance(inputs, jax.core.Tracer) else np
        bins = buckets(inputs, self.num_bins - 1, self.salt) + 1
        return self._encode(xp.where(masked, 0, bins))


@declared
class HashedCrossing(Bins):
    """Combinations of two or more categories as the number of a bin, by a hash.

    Shapes: a list of equal [B, 1], [B] or [] -> the same; "one_hot" -> [..., N].

    Args:
        num_bins: N, from 1.
        output_mode: "int" or "one_hot".
        [shared]

    >>> HashedCrossing(5)((["A", "B", "A"], [101, 101, 102])).tolist()
    [1, 4, 3]
    """

    unsaved = ("trainable", "autocast")
    plain_dtype = True

    modes = ("int", "one_hot")
    num_bins: Whole
    output_mode: Mode = "int"
    sparse: Dense = False
    if not TYPE_CHECKING:  # where options of layers are keyword-only
        name: str | None = None
        dtype: Any = None

    def _convert(self, structure: Any) -> Any:
        args, kwargs = structure
        if args and isinstance(args[0], (list, tuple)):
            args = ([tabular.host_array(x) for x in args[0]], *args[1:])
        return args, kwargs

    def build(self, input_shape: Any) -> None:
        several = not is_shape(input_shape) and len(input_shape) > 1
        shapes = set(map(tuple, input_shape)) if several else set()
        if len(shapes) != 1 or any(len(s) > 1 and s[1:] != (1,) for s in shapes):
            raise ValueError(
                "takes a list of two or more inputs to cross, which have equal shapes [B, 1], [B] "
                f"or []; received shapes {input_shape}"
            )

    def call(self, inputs: Any) -> Any:
        kinds = [kind_of(x) for x in inputs]
        if not set(kinds) <= {"string", "int"}:
            raise TypeError(f"inputs to cross are strings or whole numbers; received {kinds}")
        return self._encode(crossed_buckets(inputs, self.num_bins))

    def compute_output_spec(self, inputs: Any) -> Any:
        return self._spec(inputs[0].shape)


__all__ = ["HashedCrossing", "Hashing"]
