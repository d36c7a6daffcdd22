"""Canonical form: calls inlined, randomness written out as integer arithmetic, dead code dropped.

`canonicalize` interprets a jaxpr and traces the interpretation. What an equation becomes is looked
up in small tables: calls that only wrap (jit, custom_jvp, remat...) dissolve, composites and loops
keep their place with canonical bodies, random primitives become threefry (Salmon et al. 2011), and
everything else is bound again as it was. Keys stop being a type: they are uint32 [..., 2].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal
from jax.interpreters import partial_eval

from carnyx.core.composite import composite_name
from carnyx.program.jaxinternals import within

# Primitive -> the parameter that holds the body to inline.
INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_lin": "call_jaxpr",
}
# Equations that only pass their operand on.
IDENTITIES = ("copy_p", "name", "stop_gradient", "random_wrap", "random_unwrap", "sharding_constraint")

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def is_key(aval: Any) -> bool:
    """Whether an aval is of JAX's opaque key type."""
    return jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key)


def _spec(aval: Any) -> jax.ShapeDtypeStruct:
    if is_key(aval):
        return jax.ShapeDtypeStruct((*aval.shape, 2), jnp.uint32)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def canonicalize(closed: Any) -> ClosedJaxpr:
    """The canonical form of a closed jaxpr: the same values, from fewer kinds of equations."""
    specs = [_spec(aval) for aval in closed.in_avals]
    traced = jax.make_jaxpr(lambda *args: evaluate(closed.jaxpr, closed.consts, args))(*specs)
    used = [True] * len(traced.jaxpr.outvars)
    jaxpr, _ = partial_eval.dce_jaxpr(traced.jaxpr, used, instantiate=True)
    return _closed(jaxpr, traced)


def _closed(jaxpr: Any, traced: Any) -> ClosedJaxpr:
    return ClosedJaxpr(jaxpr, traced.consts)


def evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """Runs a jaxpr's equations, each in its canonical form."""
    values: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    consts = [_raw_key(c) for c in consts]
    values.update(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for equation in jaxpr.eqns:
        with within(equation):
            out = _canonical(equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, out, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _raw_key(const: Any) -> Any:
    if hasattr(const, "dtype") and jax.dtypes.issubdtype(const.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(const)
    return const


def _canonical(equation: Any, operands: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in IDENTITIES or _is_void(equation):
        return operands[:1]
    if name in RANDOM:
        return RANDOM[name](equation, operands)
    if name in INLINED and not composite_name(str(params.get("name", ""))):
        body = params[INLINED[name]]
        consts = getattr(body, "consts", ())
        return evaluate(getattr(body, "jaxpr", body), consts, operands)
    if any(is_key(v.aval) for v in (*equation.invars, *equation.outvars)) and not _has_body(params):
        return _by_lanes(equation, operands)
    params = {key: _canonical_body(value) for key, value in params.items()}
    out = equation.primitive.bind(*operands, **params)
    return list(out) if equation.primitive.multiple_results else [out]


def _is_void(equation: Any) -> bool:
    """Whether an equation changes neither type nor value."""
    if equation.primitive.name not in ("convert_element_type", "copy", "reduce_precision"):
        return False
    same = equation.invars[0].aval.dtype == equation.outvars[0].aval.dtype
    return same and equation.primitive.name != "reduce_precision"


def _has_body(params: dict[str, Any]) -> bool:
    return any(isinstance(v, ClosedJaxpr) or _is_bodies(v) for v in params.values())


def _is_bodies(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], ClosedJaxpr)


def _canonical_body(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr):
        return canonicalize(value)
    if _is_bodies(value):
        return tuple(canonicalize(body) for body in value)
    return value


def _by_lanes(equation: Any, operands: list[Any]) -> list[Any]:
    """An equation that moves keys about, done to both words of the keys alike."""
    axes = [-1 if is_key(v.aval) else None for v in equation.invars]
    bind = equation.primitive.bind
    out = jax.vmap(lambda *lane: bind(*lane, **equation.params), axes, -1)(*operands)
    return list(out) if equation.primitive.multiple_results else [out]


# ---- randomness: threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers:
# as easy as 1, 2, 3"). The n-th number of a shape depends on the key and n alone.


def threefry(key: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """The block function: key uint32 [2] and counters uint32 -> two uint32 of their shape."""
    k0, k1 = key[0], key[1]
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            x0 = x0 + x1
            left = lax.shift_left(x1, jnp.full_like(x1, distance))
            right = lax.shift_right_logical(x1, jnp.full_like(x1, 32 - distance))
            x1 = x0 ^ (left | right)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def _counters(shape: Sequence[int]) -> tuple[Any, Any]:
    """Position in `shape` as two words, the high one 0: no shape here has 2^32 elements."""
    size = int(np.prod(shape))
    low = lax.iota(jnp.uint32, size).reshape(tuple(shape))
    return jnp.zeros_like(low), low


def random_bits(key: Any, width: int, shape: Sequence[int]) -> Any:
    """Unsigned integers of `width` bits."""
    b0, b1 = threefry(key, *_counters(shape))
    if width == 64:
        return lax.shift_left(b0.astype("uint64"), np.uint64(32)) | b1.astype("uint64")
    bits = b0 ^ b1
    return bits if width == 32 else bits.astype(f"uint{width}")


def split_key(key: Any, shape: Sequence[int]) -> Any:
    """Keys of `shape`, as uint32 [*shape, 2]."""
    return jnp.stack(threefry(key, *_counters(shape)), axis=-1)


def fold_in(key: Any, data: Any) -> Any:
    """The key that belongs to the number `data`."""
    word = data.astype("uint32")
    return jnp.stack(threefry(key, jnp.zeros_like(word), word), axis=-1)


def _over_keys(fn: Callable[..., Any], *batched: Any) -> Any:
    """`fn` on one key (and what goes with it), mapped over the leading axes of many."""
    for _ in range(batched[0].ndim - 1):
        fn = jax.vmap(fn)
    return fn(*batched)


def _seed(data: Any) -> Any:
    word = data.astype("uint32")
    high = jnp.zeros_like(word)
    if data.dtype.itemsize == 8:
        high = lax.shift_right_logical(data, np.asarray(32, data.dtype)).astype("uint32")
    return jnp.stack([high, word], axis=-1)


def _bits_rule(equation: Any, operands: list[Any]) -> list[Any]:
    width, shape = equation.params["bit_width"], equation.params["shape"]
    return [_over_keys(lambda key: random_bits(key, width, shape), operands[0])]


def _split_rule(equation: Any, operands: list[Any]) -> list[Any]:
    return [_over_keys(lambda key: split_key(key, equation.params["shape"]), operands[0])]


def _threefry_rule(equation: Any, operands: list[Any]) -> list[Any]:
    k0, k1, x0, x1 = operands
    return list(threefry((k0, k1), x0, x1))


RANDOM: dict[str, Callable[[Any, list[Any]], list[Any]]] = {
    "random_bits": _bits_rule,
    "random_split": _split_rule,
    "random_fold_in": lambda equation, operands: [_over_keys(fold_in, *operands)],
    "random_seed": lambda equation, operands: [_seed(operands[0])],
    "threefry2x32": _threefry_rule,
}
