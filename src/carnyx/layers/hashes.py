"""Hashes of strings and whole numbers: FarmHash, SipHash, the crossing of several.

Each is written once, with +, *, ^, << and >>, for words of 64 bits: NumPy's, of strings and of
numbers at hand, or `Long`s, of numbers inside a Program, which has no numbers of 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F  # FarmHash's primes
SIP = 0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573
CROSS, CROSS_START = 0xC6A4A7935BD1E995, 0xDECAFCAFFE
MAX_BUCKETS = 2**31 - 1
WIDTH = 11  # the most characters of a number of 32 bits


@dataclass
class Long:
    """Unsigned 64-bit numbers as two arrays of 32 bits; sums and products wrap around."""

    high: Any
    low: Any

    @classmethod
    def of(cls, value: Any) -> Long:
        """A Long, a Python int, or an array of uint32 as a Long."""
        if isinstance(value, int):
            return cls(*map(np.uint32, divmod(value, 2**32)))
        return value if isinstance(value, Long) else cls(jnp.zeros_like(value), value)

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

    def __rshift__(self, bits: int) -> Long:
        if bits >= 32:
            return Long(jnp.zeros_like(self.low), self.high >> (bits - 32))
        return Long(self.high >> bits, self.low >> bits | self.high << (32 - bits))

    def __lshift__(self, bits: int) -> Long:
        if bits >= 32:
            return Long(self.low << (bits - 32), jnp.zeros_like(self.low))
        return Long(self.high << bits | self.low >> (32 - bits), self.low << bits)

    def __mod__(self, divisor: int) -> Any:
        """Long division, as many bits at a time as keep remainder * 2^bits below 2^32."""
        bits = min(16, 32 - divisor.bit_length())
        rest = jnp.zeros_like(self.low)
        for start in range(64, 0, -bits):
            step = min(bits, start)
            digit = (self >> (start - step)).low & ((1 << step) - 1)
            rest = ((rest << step) + digit) % divisor
        return rest

    @staticmethod
    def where(condition: Any, a: Long, b: Long) -> Long:
        return Long(jnp.where(condition, a.high, b.high), jnp.where(condition, a.low, b.low))


def _rotate(word: Any, bits: int) -> Any:
    """To the right."""
    return (word >> bits) ^ (word << (64 - bits))


def _mix(word: Any) -> Any:
    return word ^ (word >> 47)


def _join(u: Any, v: Any, multiplier: Any) -> Any:
    return _mix((v ^ _mix((u ^ v) * multiplier)) * multiplier) * multiplier


# FarmHash's Fingerprint64 (Pike and Alakuijala, 2014), by the number n of bytes. `word(start)` is
# the word of 8 bytes, `word(start, size)` a shorter one, from a place counted as in a slice.


def _farm_1_to_16(word: Callable[..., Any], n: Any, least: int) -> Any:
    """`least` tells which of three formulas: that for n from 1, 4 or 8 on."""
    m = n * 2 + K2
    if least >= 8:
        a, last = word(0) + K2, word(-8)
        return _join(_rotate(last, 37) * m + a, (_rotate(a, 25) + last) * m, m)
    if least >= 4:
        return _join((word(0, 4) << 3) + n, word(-4, 4), m)
    first, middle, last = word(0, 1), word(n >> 1, 1), word(-1, 1)
    return _mix((first + (middle << 8)) * K2 ^ ((last << 2) + n) * K0) * K2


def _farm_17_to_64(word: Callable[..., Any], n: int) -> Any:
    m = n * 2 + K2
    a, b = word(0) * (K1 if n <= 32 else K2), word(8)
    c, d = word(-8) * m, word(-16) * K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _join(y, a + _rotate(b + K2, 18) + c, m)
    if n <= 32:
        return z
    e, f = word(16) * m, word(24)
    g, h = (y + word(-32)) * m, (z + word(-24)) * m
    return _join(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, m)


def _weak(words: list[Any], a: Any, b: Any) -> tuple[Any, Any]:
    first = a + words[0]
    total = first + words[1] + words[2]
    return total + words[3], _rotate(b + first + words[3], 21) + _rotate(total, 44) + first


def _block(state: Any, words: list[Any], multiplier: Any, factor: int) -> Any:
    """Takes in one block of 64 bytes."""
    x, y, z, v, w = state
    x = _rotate(x + y + v[0] + words[1], 37) * multiplier ^ w[1] * factor
    y = _rotate(y + v[1] + words[6], 42) * multiplier + v[0] * factor + words[5]
    z = _rotate(z + w[0], 33) * multiplier
    v = _weak(words[:4], v[1] * multiplier, x + w[0])
    w = _weak(words[4:], z + w[1], y + words[2])
    return z, y, x, v, w


def _farm_65_up(word: Callable[..., Any], n: int) -> Any:
    zero = word(0) ^ word(0)
    y = zero + (81 * K1 + 113) % 2**64
    z = _mix(y * K2 + 113) * K2
    state: Any = word(0) + 81 * K2 % 2**64, y, z, (zero, zero), (zero, zero)
    for start in range(0, (n - 1) // 64 * 64, 64):
        state = _block(state, [word(start + i) for i in range(0, 64, 8)], K1, 1)
    x, y, z, v, w = state
    m = ((z & 255) << 1) + K1
    carried = w[0] + ((n - 1) & 63)
    state = x, y, z, (v[0] + carried, v[1]), (v[0] + carried * 2, w[1])
    x, y, z, v, w = _block(state, [word(i) for i in range(-64, 0, 8)], m, 9)
    return _join(_join(v[0], w[0], m) + _mix(y) * K0 + z, _join(v[1], w[1], m) + x, m)


def _farm(block: np.ndarray) -> Any:
    """Fingerprints of strings of one length: bytes [N, n] -> [N]."""
    n = block.shape[1]

    def word(start: int, size: int = 8) -> np.ndarray:
        piece = np.ascontiguousarray(block[:, start:][:, :size])
        return piece.view(f"<u{size}")[:, 0].astype("uint64")

    if n > 16:
        return _farm_17_to_64(word, n) if n <= 64 else _farm_65_up(word, n)
    return _farm_1_to_16(word, n, n) if n else K2


# SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash, of words of 8 bytes; the last word holds
# the bytes that are left and, in its highest byte, how many there were.


def _sip_rounds(count: int, a: Any, b: Any, c: Any, d: Any) -> Any:
    for _ in range(count):
        a, c = a + b, c + d
        b, d = _rotate(b, 51) ^ a, _rotate(d, 48) ^ c  # to the right, where the paper turns left
        a, c = _rotate(a, 32) + d, c + b
        b, c, d = _rotate(b, 47) ^ c, _rotate(c, 32), _rotate(d, 43) ^ a
    return a, b, c, d


def _sip(words: list[Any], key: Any, full: Any = None) -> Any:
    """Takes in words, the first of two only where it is `full`, if that is told."""
    zero = words[0] ^ words[0]
    state = [zero ^ (k ^ int(key[i % 2]) % 2**64) for i, k in enumerate(SIP)]
    for word in words:
        a, b, c, d = state
        a, b, c, d = _sip_rounds(2, a, b, c, d ^ word)
        before, state = state, [a ^ word, b, c, d]
        if full is not None and word is words[0]:
            state = [Long.where(full, x, y) for x, y in zip(state, before, strict=True)]
    a, b, c, d = state
    a, b, c, d = _sip_rounds(4, a, b, c ^ 255, d)
    return a ^ b ^ c ^ d


def _sip_words(block: np.ndarray) -> list[np.ndarray]:
    count, n = block.shape
    padded = np.zeros((count, n // 8 * 8 + 8), "uint8")
    padded[:, :n], padded[:, -1] = block, n % 256
    return list(padded.view("<u8").T)


def fingerprints(values: Any, key: Any = None) -> np.ndarray:
    """64-bit fingerprints [N] of a list of strings, or of an array of numbers' decimals: FarmHash,
    or with a key (two whole numbers) SipHash.

    >>> fingerprints([b"a", b"horn"]) % 1000
    array([939, 319], dtype=uint64)
    """
    if isinstance(values, np.ndarray):
        digits = max(len(str(end(initial=0))) for end in (values.min, values.max))
        decimals, lengths = _decimals(values, digits, np)
        joined, ends = decimals.ravel(), np.arange(1, len(values) + 1) * (digits + 1)
    else:
        strings = [s if isinstance(s, bytes) else s.encode() for s in values]
        lengths = np.fromiter(map(len, strings), "int64", len(strings))
        joined, ends = np.frombuffer(b"".join(strings), "uint8"), lengths.cumsum()
    found = np.zeros(len(ends), "uint64")
    for n in np.unique(lengths).tolist():
        places = np.nonzero(lengths == n)[0]
        block = sliding_window_view(joined, n)[ends[places] - n]
        found[places] = _farm(block) if key is None else _sip(_sip_words(block), key)
    return found


def _decimals(values: Any, digits: int, xp: Any) -> tuple[Any, Any]:
    """Decimals as bytes [..., 1 + digits], at the right, minus signs before them; their number."""
    word, byte = ("uint64", "uint8") if xp is np else ("uint32", "uint32")
    negative, number = values < 0, values.astype(word)
    number = xp.where(negative, -number, number)
    powers = np.array([10**i for i in reversed(range(digits))], word)
    powers = powers.reshape(-1, *[1] * values.ndim)  # in front: NumPy divides faster
    some, rest = (number >= powers) | (powers == 1), number // powers
    decimals = xp.where(some, rest - rest // 10 * 10 + ord("0"), ord("-")).astype(byte)
    signs = xp.full_like(decimals[:1], ord("-"))
    bytes_ = xp.moveaxis(xp.concatenate([signs, decimals]), 0, -1)
    return bytes_, some.sum(0, dtype="int32") + negative


def traced_fingerprints(values: Any, key: Any = None) -> Long:
    """`fingerprints` of traced whole numbers."""
    ends, length = _decimals(values, WIDTH - 1, jnp)
    n, place, length = Long.of(length.astype("uint32")), np.arange(WIDTH), length[..., None]
    starts = jnp.take_along_axis(ends, jnp.minimum(place + WIDTH - length, WIDTH - 1), -1)
    starts = jnp.where(place < length, starts, 0)
    if key is not None:
        first, rest, full = _word(starts[..., :8]), _word(starts[..., 8:]), n.low >= 8
        return _sip([first, Long.where(full, rest, first) ^ n << 56], key, full)

    def word(start: Any, size: int = 8) -> Long:
        if isinstance(start, Long):
            return Long.of(jnp.take_along_axis(starts, start.low[..., None], -1)[..., 0])
        return _word((starts if start >= 0 else ends)[..., start:][..., :size])

    short, middle, long = (_farm_1_to_16(word, n, least) for least in (1, 4, 8))
    return Long.where(n.low >= 8, long, Long.where(n.low >= 4, middle, short))


def _word(bytes_: Any) -> Long:
    """The word whose lowest byte comes first: up to 8 bytes on the last axis."""
    parts = [bytes_[..., i] << (8 * i % 32) for i in range(bytes_.shape[-1])]
    return Long(sum(parts[4:], jnp.zeros_like(parts[0])), sum(parts[1:4], parts[0]))


def buckets(values: Any, count: int, key: Any = None) -> Any:
    """The bucket in [0, count) of each string or whole number, by its fingerprint: int32.

    >>> buckets(np.array([12, -7, 12]), 5).tolist()
    [3, 2, 3]
    """
    if isinstance(values, jax.core.Tracer):
        return (traced_fingerprints(values, key) % count).astype("int32")
    flat, again = values.ravel(), slice(None)
    if flat.dtype.kind not in "iu":
        terms = flat.tolist()
        places = {term: i for i, term in enumerate(set(terms))}
        again = np.fromiter(map(places.__getitem__, terms), "int64", len(terms))
        flat = list(places)
    found = (fingerprints(flat, key) % count).astype("int32")
    return found[again].reshape(values.shape)


def crossed_buckets(columns: list[Any], count: int) -> Any:
    """The bucket in [0, count) of each row of equally shaped columns of strings or numbers.

    >>> crossed_buckets([np.array(["A", "B"]), np.array([101, 101])], 5).tolist()
    [1, 4]
    """
    traced = any(isinstance(x, jax.core.Tracer) for x in columns)
    found: Any = Long.of(CROSS_START) if traced else np.array([CROSS_START], "uint64")
    for x in columns:
        found = (_mix(_category(x, traced) * CROSS) * CROSS ^ (found ^ CROSS)) * CROSS
        found = _mix(_mix(found) * CROSS)
    return (found % count).astype("int32").reshape(columns[0].shape)


def _category(x: Any, traced: bool) -> Any:
    """The words of categories: a string's fingerprint, a number itself."""
    if traced:
        return Long(-(x < 0).astype("uint32"), x.astype("uint32"))
    flat = x.ravel()
    return flat.astype("uint64") if flat.dtype.kind in "iu" else fingerprints(flat.tolist())
