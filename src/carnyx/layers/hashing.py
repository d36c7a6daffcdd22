"""Strings on the host and their fingerprints: Hashing, HashedCrossing, and what every layer that
takes strings shares (`HostLayer`). Tables of known terms are in `lookup.py`, texts in `text.py`.

The hashes are written once, for 64-bit words that are NumPy's (strings and concrete numbers) or
pairs of 32-bit ones (whole numbers inside a Program: there are no 64-bit numbers there).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes, symbol
from carnyx.core.layer import Layer
from carnyx.layers import arguments, tabular

MODES = ("int", *tabular.ENCODINGS)
K0, K1, K2 = (np.uint64(k) for k in (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F))
CAT = np.uint64(0xC6A4A7935BD1E995)
CROSS_KEY = np.uint64(0xDECAFCAFFE)
SIP = 0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573
DIGITS = 11  # characters of the longest 32-bit number, "-2147483648"


class Long:
    """Unsigned 64-bit numbers as two arrays of 32 bits; sums and products wrap around."""

    def __init__(self, high: Any, low: Any) -> None:
        self.high, self.low = high, low

    @classmethod
    def of(cls, value: Any) -> Long:
        if isinstance(value, Long):
            return value
        words = np.asarray(value, "uint64")
        return cls(*(jnp.asarray(w.astype("uint32")) for w in (words >> np.uint64(32), words)))

    def __add__(self, other: Any) -> Long:
        other = Long.of(other)
        low = self.low + other.low
        return Long(self.high + other.high + (low < other.low).astype("uint32"), low)

    def __mul__(self, other: Any) -> Long:
        other = Long.of(other)
        a, b, mask = self.low, other.low, 0xFFFF
        cross, across = (a & mask) * (b >> 16), (a >> 16) * (b & mask)
        middle = ((a & mask) * (b & mask) >> 16) + (cross & mask) + (across & mask)
        carried = (a >> 16) * (b >> 16) + (cross >> 16) + (across >> 16) + (middle >> 16)
        return Long(carried + self.high * b + a * other.high, a * b)

    def __xor__(self, other: Any) -> Long:
        other = Long.of(other)
        return Long(self.high ^ other.high, self.low ^ other.low)

    def __or__(self, other: Long) -> Long:
        return Long(self.high | other.high, self.low | other.low)

    def __rshift__(self, bits: Any) -> Long:
        bits = int(bits)
        if bits >= 32:
            return Long(jnp.zeros_like(self.low), self.high >> (bits - 32))
        return Long(self.high >> bits, self.low >> bits | self.high << (32 - bits))

    def __lshift__(self, bits: Any) -> Long:
        bits = int(bits)
        if bits >= 32:
            return Long(self.low << (bits - 32), jnp.zeros_like(self.low))
        return Long(self.high << bits | self.low >> (32 - bits), self.low << bits)

    def __mod__(self, divisor: Any) -> Any:
        """Long division, as many bits at a time as keep remainder * 2^bits below 2^32."""
        n = int(divisor)
        bits = min(16, 32 - n.bit_length())
        rest = jnp.zeros_like(self.low)
        for start in range(64, 0, -bits):
            step = min(bits, start)
            digit = (self >> (start - step)).low & ((1 << step) - 1)
            rest = ((rest << step) + digit) % n
        return rest

    @staticmethod
    def where(condition: Any, a: Long, b: Long) -> Long:
        return Long(jnp.where(condition, a.high, b.high), jnp.where(condition, a.low, b.low))


def _rotate(word: Any, bits: int) -> Any:
    return (word >> np.uint64(bits)) | (word << np.uint64(64 - bits))


def _mix(word: Any) -> Any:
    return word ^ (word >> np.uint64(47))


def _join(u: Any, v: Any, multiplier: Any) -> Any:
    return _mix((v ^ _mix((u ^ v) * multiplier)) * multiplier) * multiplier


def _multiplier(length: Any) -> Any:
    return length * np.uint64(2) + K2


# FarmHash's Fingerprint64 (Pike and Alakuijala, 2014), by the number n of bytes; `first` and `last`
# are the words of 4 or 8 bytes there.


def _farm_1_to_3(first: Any, middle: Any, last: Any, n: Any) -> Any:
    return _mix((first + (middle << np.uint64(8))) * K2 ^ (n + (last << np.uint64(2))) * K0) * K2


def _farm_4_to_7(first: Any, last: Any, n: Any) -> Any:
    return _join(n + (first << np.uint64(3)), last, _multiplier(n))


def _farm_8_to_16(first: Any, last: Any, n: Any) -> Any:
    m, a = _multiplier(n), first + K2
    return _join(_rotate(last, 37) * m + a, (_rotate(a, 25) + last) * m, m)


def _farm_17_to_64(word: Callable[[int], Any], n: int) -> Any:
    m = _multiplier(np.uint64(n))
    a, b = word(0) * (K1 if n <= 32 else K2), word(8)
    c, d = word(n - 8) * m, word(n - 16) * K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _join(y, a + _rotate(b + K2, 18) + c, m)
    if n <= 32:
        return z
    e, f = word(16) * m, word(24)
    g, h = (y + word(n - 32)) * m, (z + word(n - 24)) * m
    return _join(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, m)


def _weak(words: list[Any], a: Any, b: Any) -> tuple[Any, Any]:
    first = a + words[0]
    total = first + words[1] + words[2]
    return total + words[3], _rotate(b + first + words[3], 21) + _rotate(total, 44) + first


def _block(state: Any, words: list[Any], multiplier: Any, factor: int) -> Any:
    """Takes in one block of 64 bytes."""
    x, y, z, v, w = state
    k = np.uint64(factor)
    x = _rotate(x + y + v[0] + words[1], 37) * multiplier ^ w[1] * k
    y = _rotate(y + v[1] + words[6], 42) * multiplier + v[0] * k + words[5]
    z = _rotate(z + w[0], 33) * multiplier
    v = _weak(words[:4], v[1] * multiplier, x + w[0])
    w = _weak(words[4:], z + w[1], y + words[2])
    return z, y, x, v, w


def _farm_65_up(word: Callable[[int], Any], n: int) -> Any:
    zero = word(0) ^ word(0)
    y = zero + np.uint64(81) * K1 + np.uint64(113)
    z = _mix(y * K2 + np.uint64(113)) * K2
    state: Any = zero + np.uint64(81) * K2 + word(0), y, z, (zero, zero), (zero, zero)
    for start in range(0, (n - 1) // 64 * 64, 64):
        state = _block(state, [word(start + i) for i in range(0, 64, 8)], K1, 1)
    x, y, z, v, w = state
    m = K1 + ((z & np.uint64(255)) << np.uint64(1))
    carried = w[0] + np.uint64((n - 1) & 63)
    v = v[0] + carried, v[1]
    w = carried + v[0], w[1]
    words = [word(n - 64 + i) for i in range(0, 64, 8)]
    x, y, z, v, w = _block((x, y, z, v, w), words, m, 9)
    return _join(_join(v[0], w[0], m) + _mix(y) * K0 + z, _join(v[1], w[1], m) + x, m)


def _farm(block: np.ndarray) -> Any:
    """Fingerprints of strings of one length: bytes [N, n] -> [N]."""
    n = block.shape[1]

    def word(start: int, size: int = 8) -> np.ndarray:
        piece = np.ascontiguousarray(block[:, start : start + size])
        return piece.view(f"<u{size}")[:, 0].astype("uint64")

    if n > 16:
        return _farm_17_to_64(word, n) if n <= 64 else _farm_65_up(word, n)
    length = np.uint64(n)
    if n >= 8:
        return _farm_8_to_16(word(0), word(n - 8), length)
    if n >= 4:
        return _farm_4_to_7(word(0, 4), word(n - 4, 4), length)
    return _farm_1_to_3(word(0, 1), word(n >> 1, 1), word(n - 1, 1), length) if n else K2


# SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash, of words of 8 bytes; the last word holds
# the bytes that are left and, in its highest byte, how many there were.


def _sip_round(a: Any, b: Any, c: Any, d: Any) -> Any:
    a, c = a + b, c + d
    b, d = _rotate(b, 51) ^ a, _rotate(d, 48) ^ c  # to the right, where the paper turns left
    a, c = _rotate(a, 32) + d, c + b
    return a, _rotate(b, 47) ^ c, _rotate(c, 32), _rotate(d, 43) ^ a


def _sip_take(state: Any, word: Any) -> Any:
    a, b, c, d = state
    a, b, c, d = _sip_round(*_sip_round(a, b, c, d ^ word))
    return a ^ word, b, c, d


def _sip_end(state: Any) -> Any:
    a, b, c, d = state
    state = a, b, c ^ np.uint64(255), d
    for _ in range(4):
        state = _sip_round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip(block: np.ndarray, salt: Any) -> np.ndarray:
    count, n = block.shape
    padded = np.zeros((count, n // 8 * 8 + 8), "uint8")
    padded[:, :n], padded[:, -1] = block, n % 256
    state: Any = [np.full(count, k, "uint64") for k in _sip_keys(salt)]
    for word in padded.view("<u8").T:
        state = _sip_take(state, word)
    return _sip_end(state)


def _sip_keys(salt: Any) -> list[int]:
    return [k ^ int(salt[i % 2]) % 2**64 for i, k in enumerate(SIP)]


def fingerprints(strings: list[bytes], salt: Any = None) -> np.ndarray:
    """64-bit fingerprints [N]: FarmHash, or with a salt (two whole numbers) SipHash.

    >>> fingerprints([b"a", b"horn"]) % 10
    array([1, 9], dtype=uint64)
    """
    lengths = np.fromiter(map(len, strings), "int64", len(strings))
    found = np.zeros(len(strings), "uint64")
    with np.errstate(over="ignore"):  # wrapping around is meant
        for n in np.unique(lengths):
            places = np.nonzero(lengths == n)[0]
            joined = b"".join(strings[i] for i in places)
            block = np.frombuffer(joined, "uint8").reshape(len(places), n)
            found[places] = _farm(block) if salt is None else _sip(block, salt)
    return found


def _traced_fingerprints(values: Any, salt: Any = None) -> Long:
    """Fingerprints of traced whole numbers, written in decimal."""
    number = values.astype("uint32")
    negative = values < 0
    number = jnp.where(negative, -number, number)
    powers = jnp.asarray([10**i for i in range(DIGITS - 1)], "uint32")
    count = 1 + (number[..., None] >= powers[1:]).sum(-1, dtype="int32")
    digits = (number[..., None] // powers % 10)[..., ::-1] + ord("0")
    ends = jnp.concatenate([jnp.full_like(digits[..., :1], ord("-")), digits], -1)
    place = jnp.arange(DIGITS)
    ends = jnp.where(place == DIGITS - 1 - count[..., None], np.uint32(ord("-")), ends)
    length = count + negative
    shift = jnp.minimum(place + DIGITS - length[..., None], DIGITS - 1)
    starts = jnp.take_along_axis(ends, shift, -1)
    n = Long(jnp.zeros_like(number), length.astype("uint32"))
    if salt is not None:
        return _traced_sip(jnp.where(place < length[..., None], starts, 0), length, n, salt)
    middle = jnp.take_along_axis(starts, (length >> 1)[..., None], -1)[..., 0]
    one, mid, last = (Long(jnp.zeros_like(a), a) for a in (starts[..., 0], middle, ends[..., -1]))
    short = Long.where(
        length >= 4,
        _farm_4_to_7(_word(starts[..., :4]), _word(ends[..., -4:]), n),
        _farm_1_to_3(one, mid, last, n),
    )
    long = _farm_8_to_16(_word(starts[..., :8]), _word(ends[..., -8:]), n)
    return Long.where(length >= 8, long, short)


def _traced_sip(bytes_: Any, length: Any, n: Long, salt: Any) -> Long:
    zero = n ^ n
    start = [zero ^ k for k in _sip_keys(salt)]
    first = _word(bytes_[..., :8])
    taken = _sip_take(start, first)
    state = [Long.where(length >= 8, a, b) for a, b in zip(taken, start, strict=True)]
    last = Long.where(length >= 8, _word(bytes_[..., 8:]), first)
    return _sip_end(_sip_take(state, last | n << 56))


def _word(bytes_: Any) -> Long:
    """The word whose lowest byte comes first: up to 8 bytes on the last axis."""
    parts = [bytes_[..., i] << (8 * i % 32) for i in range(bytes_.shape[-1])]
    low, high = (sum(p[1:], p[0]) if p else None for p in (parts[:4], parts[4:]))
    return Long(jnp.zeros_like(low) if high is None else high, low)


def buckets(values: Any, count: int, salt: Any = None) -> Any:
    """The bucket in [0, count) of each string or whole number, by its fingerprint."""
    if isinstance(values, jax.core.Tracer):
        return (_traced_fingerprints(values, salt) % count).astype("int32")
    flat = values.ravel()
    if flat.dtype.kind in "iu":
        unique, inverse = np.unique(flat, return_inverse=True)
        names = unique.astype("S21").tolist()
    else:
        places = {name: i for i, name in enumerate(dict.fromkeys(flat.tolist()))}
        inverse = np.fromiter(map(places.__getitem__, flat.tolist()), "int64", flat.size)
        names = [k if isinstance(k, bytes) else k.encode() for k in places]
    found = (fingerprints(names, salt) % np.uint64(count)).astype("int32")
    return found[inverse].reshape(values.shape)


def host_array(value: Any) -> Any:
    """A NumPy array: of objects for strings in lists, as long ones would pad all others."""
    if isinstance(value, jax.core.Tracer):
        return value
    first = value
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    try:
        return np.array(value, object) if isinstance(first, (str, bytes)) else np.asarray(value)
    except ValueError:
        raise ValueError("the rows of a nested list must be equally long") from None


def kind_of(array: Any) -> str:
    """ "string", "int", "float" or the dtype's name; of arrays of objects, by the first one."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "OUST":
        first = array.flat[0] if array.size else ""
        strings = array.dtype.kind != "O" or isinstance(first, (str, bytes))
        return "string" if strings else f"objects such as {first!r}"
    families = {"i": "int", "u": "int", "f": "float"}
    return families.get(np.dtype(array.dtype).kind, str(array.dtype))


def tally(ids: np.ndarray, rows: np.ndarray, shape: tuple[int, int], binary: bool) -> np.ndarray:
    """How often (or, binary, whether) each id occurs in each row; ids outside are left out."""
    inside = (ids >= 0) & (ids < shape[1])
    places = rows[inside].astype("int64") * shape[1] + ids[inside]
    counts = np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)
    return (counts > 0 if binary else counts).astype(dtypes.floatx())


def encode(ids: Any, size: int, mode: str, dtype: Any) -> Any:
    """`tabular.encode`, which for concrete ids makes no one-hot rows to add up."""
    if isinstance(ids, jax.core.Tracer) or mode == "one_hot" or not ids.ndim:
        return tabular.encode(jnp.asarray(ids), size, mode, dtype=dtype)
    lead = ids.shape[:-1]
    count = int(np.prod(lead))
    rows = np.repeat(np.arange(count), ids.shape[-1])
    found = tally(ids.ravel(), rows, (count, size), mode == "multi_hot")
    return jnp.asarray(found.reshape(*lead, size), dtype)


class HostLayer(Layer):
    """Base of the layers that take strings: `call` gets NumPy arrays, or tracers of numbers.

    Subclasses say in `_encode` what becomes of the whole numbers that strings are turned into.
    """

    def _convert(self, structure: Any) -> Any:
        args, kwargs = structure
        return tuple(map(host_array, args)), kwargs

    def _encode(self, ids: Any) -> Any:
        raise NotImplementedError

    def compute_output_spec(self, inputs: Any) -> Any:
        """Written by hand, since strings cannot be traced: numbers stand in for them."""
        first = inputs if symbol.is_symbol(inputs) else inputs[0]
        return symbol.infer(self._encode, (symbol.KerasTensor(first.shape, "int32"),), {})


class Hashing(HostLayer):
    """Strings or whole numbers as the number of a bin, by a hash that is the same everywhere.

    Shapes: [...] -> [...], or as `CategoryEncoding` for the other modes. Floats are cut to whole
    numbers. Whole numbers of 32 bits can be hashed inside a model; strings before it.

    Args:
        num_bins: from 1.
        mask_value: what has bin 0 for itself.
        salt: a whole number or two, the key of SipHash; None for FarmHash's Fingerprint64.
        output_mode: "int", or how the bins are encoded, see `CategoryEncoding`.
        sparse: False; sparse outputs are not supported.

    >>> Hashing(3)([["A"], ["B"], ["C"]]).tolist()
    [[1], [0], [1]]
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == "int" else dtypes.floatx()
        super().__init__(**{"autocast": False, **kwargs})
        self.num_bins = arguments.whole(self, "num_bins", num_bins)
        self.mask_value = mask_value
        self.salt = salt_of(self, salt)
        self.output_mode = arguments.choice(self, "output_mode", output_mode, MODES)
        if self.output_mode == "int" and self.dtype_policy.name not in ("int32", "int64"):
            expected = "'int32' or 'int64' for output_mode='int'"
            raise arguments.refuse(self, "dtype", self.dtype_policy.name, expected)
        tabular._dense(self, sparse)

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        return name != "autocast" and super()._in_config(name, value, default, owner)

    def call(self, inputs: Any) -> Any:
        kind = kind_of(inputs)
        if kind not in ("string", "int", "float"):
            raise TypeError(f"takes strings or numbers; received {kind}")
        if kind == "float":
            inputs = inputs.astype("int32" if isinstance(inputs, jax.core.Tracer) else "int64")
        if self.mask_value is None or self.num_bins == 1:
            return self._encode(buckets(inputs, self.num_bins, self.salt))
        xp = jnp if isinstance(inputs, jax.core.Tracer) else np
        bins = buckets(inputs, self.num_bins - 1, self.salt) + 1
        return self._encode(xp.where(inputs == self.mask_value, 0, bins))

    def _encode(self, ids: Any) -> Any:
        if self.output_mode == "int":
            return jnp.asarray(ids, "int32")
        return encode(ids, self.num_bins, self.output_mode, self.compute_dtype)


def salt_of(layer: Any, salt: Any) -> list[int] | None:
    """A salt as two whole numbers."""
    pair = [salt, salt] if arguments.is_whole(salt) else salt
    if pair is None:
        return None
    if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(arguments.is_whole, pair))):
        raise arguments.refuse(layer, "salt", salt, "a whole number, two of them, or None")
    return list(pair)


class HashedCrossing(HostLayer):
    """Combinations of two or more categories as the number of a bin, by a hash.

    Shapes: a list of equal [B, 1], [B] or [] -> the same; "one_hot" -> [..., N].

    Args:
        num_bins: N, from 1.
        output_mode: "int" or "one_hot".
        sparse: False; sparse outputs are not supported.

    >>> HashedCrossing(5)((["A", "B", "A"], [101, 101, 102])).tolist()
    [1, 4, 1]
    """

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        dtype = "int64" if dtype is None and output_mode == "int" else dtype
        super().__init__(**{"name": name, "dtype": dtype, "autocast": False, **kwargs})
        self.num_bins = arguments.whole(self, "num_bins", num_bins)
        self.output_mode = arguments.choice(self, "output_mode", output_mode, ("int", "one_hot"))
        tabular._dense(self, sparse)

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        hidden = name in ("trainable", "autocast")
        return not hidden and super()._in_config(name, value, default, owner)

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        return self.dtype if name == "dtype" else super()._config_value(name, recorded, owner)

    def _convert(self, structure: Any) -> Any:
        args, kwargs = structure
        if args and isinstance(args[0], (list, tuple)):
            args = ([host_array(x) for x in args[0]], *args[1:])
        return args, kwargs

    def build(self, input_shape: Any) -> None:
        shapes = list(input_shape) if isinstance(input_shape, (list, tuple)) else []
        if len(shapes) < 2 or not all(isinstance(s, (list, tuple)) for s in shapes):
            raise ValueError(
                f"expected a list of two or more inputs to cross; received shapes {input_shape}"
            )
        first = tuple(shapes[0])
        fits = len(first) < 2 or (len(first) == 2 and first[1] == 1)
        if not fits or any(tuple(s) != first for s in shapes):
            raise ValueError(
                f"inputs to cross have equal shapes [B, 1], [B] or []; received {shapes}"
            )

    def call(self, inputs: Any) -> Any:
        kinds = [kind_of(x) for x in inputs]
        if not set(kinds) <= {"string", "int"}:
            raise TypeError(f"inputs to cross are strings or whole numbers; received {kinds}")
        traced = any(isinstance(x, jax.core.Tracer) for x in inputs)
        crossed: Any = Long.of(CROSS_KEY) if traced else CROSS_KEY
        with np.errstate(over="ignore"):
            for x, kind in zip(inputs, kinds, strict=True):
                word = _crossed_word(x, kind, traced)
                both = (_mix(word * CAT) * CAT ^ (crossed ^ CAT)) * CAT
                crossed = _mix(_mix(both) * CAT)
        bins = crossed % (self.num_bins if traced else np.uint64(self.num_bins))
        return self._encode(bins.astype("int32"))

    def _encode(self, ids: Any) -> Any:
        if self.output_mode == "int":
            return jnp.asarray(ids, "int32")
        return encode(ids, self.num_bins, "one_hot", self.compute_dtype)


def _crossed_word(x: Any, kind: str, traced: bool) -> Any:
    """What stands for a category: a string's fingerprint, a number itself."""
    if kind == "string":
        names = [s if isinstance(s, bytes) else s.encode() for s in x.ravel().tolist()]
        return fingerprints(names).reshape(x.shape)
    if not traced:
        return x.astype("int64").astype("uint64")
    x = jnp.asarray(x)
    sign = jnp.where(x < 0, np.uint32(0xFFFFFFFF), np.uint32(0))
    return Long(sign, x.astype("uint32"))


__all__ = """
    HashedCrossing Hashing
""".split()
