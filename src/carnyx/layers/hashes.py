"""Hashes of strings and whole numbers: FarmHash, SipHash, the crossing of several.

Each is written once, with +, *, ^, |, << and >>, for words of 64 bits: NumPy's, of strings and of
numbers at hand, or `Long`s, of numbers inside a Program, which has no numbers of 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F  # FarmHash's primes
SIP = 0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573
CROSS, CROSS_START = 0xC6A4A7935BD1E995, 0xDECAFCAFFE
MAX_BUCKETS = 2**31 - 1
DIGITS = 10  # of the longest number of 32 bits


class Long:
    """Unsigned 64-bit numbers as two arrays of 32 bits; sums and products wrap around."""

    def __init__(self, high: Any, low: Any) -> None:
        self.high, self.low = high, low

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

    def __or__(self, other: Long) -> Long:
        return Long(self.high | other.high, self.low | other.low)

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
    return (word >> bits) | (word << (64 - bits))


def _mix(word: Any) -> Any:
    return word ^ (word >> 47)


def _join(u: Any, v: Any, multiplier: Any) -> Any:
    return _mix((v ^ _mix((u ^ v) * multiplier)) * multiplier) * multiplier


# FarmHash's Fingerprint64 (Pike and Alakuijala, 2014), by the number n of bytes; `first` and `last`
# are the words of 1, 4 or 8 bytes there.


def _farm_1_to_3(first: Any, middle: Any, last: Any, n: Any) -> Any:
    return _mix((first + (middle << 8)) * K2 ^ ((last << 2) + n) * K0) * K2


def _farm_4_to_7(first: Any, last: Any, n: Any) -> Any:
    return _join((first << 3) + n, last, n * 2 + K2)


def _farm_8_to_16(first: Any, last: Any, n: Any) -> Any:
    m, a = n * 2 + K2, first + K2
    return _join(_rotate(last, 37) * m + a, (_rotate(a, 25) + last) * m, m)


def _farm_17_to_64(word: Callable[[int], Any], n: int) -> Any:
    m = n * 2 + K2
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
    x = _rotate(x + y + v[0] + words[1], 37) * multiplier ^ w[1] * factor
    y = _rotate(y + v[1] + words[6], 42) * multiplier + v[0] * factor + words[5]
    z = _rotate(z + w[0], 33) * multiplier
    v = _weak(words[:4], v[1] * multiplier, x + w[0])
    w = _weak(words[4:], z + w[1], y + words[2])
    return z, y, x, v, w


def _farm_65_up(word: Callable[[int], Any], n: int) -> Any:
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
    x, y, z, v, w = _block(state, [word(n - 64 + i) for i in range(0, 64, 8)], m, 9)
    return _join(_join(v[0], w[0], m) + _mix(y) * K0 + z, _join(v[1], w[1], m) + x, m)


def _farm(block: np.ndarray) -> Any:
    """Fingerprints of strings of one length: bytes [N, n] -> [N]."""
    n = block.shape[1]

    def word(start: int, size: int = 8) -> np.ndarray:
        piece = np.ascontiguousarray(block[:, start : start + size])
        return piece.view(f"<u{size}")[:, 0].astype("uint64")

    if n > 16:
        return _farm_17_to_64(word, n) if n <= 64 else _farm_65_up(word, n)
    if n >= 8:
        return _farm_8_to_16(word(0), word(n - 8), n)
    if n >= 4:
        return _farm_4_to_7(word(0, 4), word(n - 4, 4), n)
    return _farm_1_to_3(word(0, 1), word(n >> 1, 1), word(n - 1, 1), n) if n else K2


# SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash, of words of 8 bytes; the last word holds
# the bytes that are left and, in its highest byte, how many there were.


def _sip_keys(key: Any) -> list[int]:
    return [k ^ int(key[i % 2]) % 2**64 for i, k in enumerate(SIP)]


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
    state = a, b, c ^ 255, d
    for _ in range(4):
        state = _sip_round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip(block: np.ndarray, key: Any) -> np.ndarray:
    count, n = block.shape
    padded = np.zeros((count, n // 8 * 8 + 8), "uint8")
    padded[:, :n], padded[:, -1] = block, n % 256
    state: Any = [np.full(count, k, "uint64") for k in _sip_keys(key)]
    for word in padded.view("<u8").T:
        state = _sip_take(state, word)
    return _sip_end(state)


def fingerprints(strings: list[Any], key: Any = None) -> np.ndarray:
    """64-bit fingerprints [N]: FarmHash, or with a key (two whole numbers) SipHash.

    >>> fingerprints([b"a", b"horn"]) % 1000
    array([939, 319], dtype=uint64)
    """
    strings = [s if isinstance(s, bytes) else s.encode() for s in strings]
    lengths = np.fromiter(map(len, strings), "int64", len(strings))
    found = np.zeros(len(strings), "uint64")
    for n in np.unique(lengths):
        places = np.nonzero(lengths == n)[0]
        joined = b"".join(strings[i] for i in places)
        block = np.frombuffer(joined, "uint8").reshape(len(places), n)
        found[places] = _farm(block) if key is None else _sip(block, key)
    return found


# Whole numbers have the hash of their decimals; inside a Program these are made by arithmetic.


def traced_fingerprints(values: Any, key: Any = None) -> Long:
    """`fingerprints` of the decimals of traced whole numbers."""
    starts, ends, length = _decimals(values)
    n = Long.of(length.astype("uint32"))
    if key is not None:
        return _traced_sip(starts, n, key)
    middle = jnp.take_along_axis(starts, (length >> 1)[..., None], -1)[..., 0]
    one, mid, last = map(Long.of, (starts[..., 0], middle, ends[..., -1]))
    short = Long.where(
        length >= 4,
        _farm_4_to_7(_word(starts[..., :4]), _word(ends[..., -4:]), n),
        _farm_1_to_3(one, mid, last, n),
    )
    long = _farm_8_to_16(_word(starts[..., :8]), _word(ends[..., -8:]), n)
    return Long.where(length >= 8, long, short)


def _decimals(values: Any) -> tuple[Any, Any, Any]:
    """Bytes [..., 11] of decimals, at the left with zeros behind and at the right; their number."""
    negative = values < 0
    number = values.astype("uint32")
    number = jnp.where(negative, -number, number)
    powers = np.array([10**i for i in range(DIGITS)], "uint32")
    count = 1 + (number[..., None] >= powers[1:]).sum(-1, dtype="int32")
    digits = number[..., None] // powers[::-1] % 10 + ord("0")
    place = np.arange(DIGITS + 1)
    signs = jnp.full_like(digits[..., :1], ord("-"))
    ends = jnp.concatenate([signs, digits], -1)
    ends = jnp.where(place < DIGITS + 1 - count[..., None], signs, ends)
    length = count + negative
    shifted = jnp.minimum(place + DIGITS + 1 - length[..., None], DIGITS)
    starts = jnp.take_along_axis(ends, shifted, -1)
    return jnp.where(place < length[..., None], starts, 0), ends, length


def _traced_sip(bytes_: Any, n: Long, key: Any) -> Long:
    start = [(n ^ n) ^ k for k in _sip_keys(key)]
    first = _word(bytes_[..., :8])
    taken, full = _sip_take(start, first), n.low >= 8
    state = [Long.where(full, a, b) for a, b in zip(taken, start, strict=True)]
    last = Long.where(full, _word(bytes_[..., 8:]), first)
    return _sip_end(_sip_take(state, last | n << 56))


def _word(bytes_: Any) -> Long:
    """The word whose lowest byte comes first: up to 8 bytes on the last axis."""
    parts = [bytes_[..., i] << (8 * i % 32) for i in range(bytes_.shape[-1])]
    low = sum(parts[1:4], parts[0])
    return Long(sum(parts[5:], parts[4]), low) if len(parts) > 4 else Long.of(low)


def buckets(values: Any, count: int, key: Any = None) -> Any:
    """The bucket in [0, count) of each string or whole number, by its fingerprint: int32.

    >>> buckets(np.array([12, -7, 12]), 5).tolist()
    [3, 2, 3]
    """
    if isinstance(values, jax.core.Tracer):
        return (traced_fingerprints(values, key) % count).astype("int32")
    flat = values.ravel()
    if flat.dtype.kind in "iu":
        unique, inverse = np.unique(flat, return_inverse=True)
        names = unique.astype("S21").tolist()
    else:
        terms = flat.tolist()
        places = {term: i for i, term in enumerate(set(terms))}
        inverse = np.fromiter(map(places.__getitem__, terms), "int64", len(terms))
        names = list(places)
    found = (fingerprints(names, key) % np.uint64(count)).astype("int32")
    return found[inverse].reshape(values.shape)


def crossed_buckets(columns: list[Any], count: int) -> Any:
    """The bucket in [0, count) of each row of equally shaped columns of strings or numbers.

    >>> crossed_buckets([np.array(["A", "B"]), np.array([101, 101])], 5).tolist()
    [1, 4]
    """
    traced = any(isinstance(x, jax.core.Tracer) for x in columns)
    found: Any = Long.of(CROSS_START) if traced else np.array([CROSS_START], "uint64")
    for x in columns:
        word = _traced_category(x) if traced else _category(x)
        found = (_mix(word * CROSS) * CROSS ^ (found ^ CROSS)) * CROSS
        found = _mix(_mix(found) * CROSS)
    rest = found % (count if traced else np.uint64(count))
    return rest.astype("int32").reshape(columns[0].shape)


def _category(x: np.ndarray) -> np.ndarray:
    """The words [N] of categories: a string's fingerprint, a number itself."""
    flat = x.ravel()
    numbers = flat.dtype.kind in "iu"
    return flat.astype("int64").astype("uint64") if numbers else fingerprints(flat.tolist())


def _traced_category(x: Any) -> Long:
    x = jnp.asarray(x)
    return Long(jnp.where(x < 0, np.uint32(2**32 - 1), np.uint32(0)), x.astype("uint32"))
