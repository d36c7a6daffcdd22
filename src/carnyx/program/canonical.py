"""Canonical form: calls inlined, randomness written out as integer arithmetic, dead code dropped.

`canonicalize` interprets a jaxpr and traces the interpretation. What an equation becomes is looked
up in small tables: calls that only wrap (jit, custom_jvp, remat...) dissolve, composites and loops
keep their place with canonical bodies, random primitives become threefry, and everything else is
bound again as it was. Keys stop being a type: they are uint32 [..., 2]. Nothing is weakly typed.

The closed list of what may remain is in `primitives.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive
from jax.extend.core.primitives import add_p, jit_p
from jax.interpreters import partial_eval

from carnyx.core.composite import composite_name
from carnyx.program.jaxinternals import is_as_written, within

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
}
# Equations that pass their first operand on as it is.
IDENTITIES = {"copy", "copy_p", "name", "stop_gradient", "random_wrap", "random_unwrap"}
IDENTITIES |= {"random_clone"}
# Equations that do nothing when type and shape stay the same.
SHAPERS = {"convert_element_type", "reshape", "broadcast_in_dim", "squeeze", "slice"}
HALVES = (jnp.bfloat16, jnp.float16)
TALL, PARTS = 2048, 32  # the least height of a matrix that a row meets in parts, and how many

# A composite on its way through the rewriting: opaque, so that dead code inside is left alone
# and the composite's signature stays what its name promises.
_opaque_p = Primitive("composite")
_opaque_p.multiple_results = True
_opaque_p.def_abstract_eval(lambda *avals, **params: params["jaxpr"].out_avals)


def canonicalize(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The canonical form of a closed jaxpr: the same values, from fewer kinds of equations.

    >>> closed = jax.make_jaxpr(jax.nn.relu)(jnp.ones(2))
    >>> [equation.primitive.name for equation in closed.eqns]
    ['custom_jvp_call']
    >>> [equation.primitive.name for equation in canonicalize(closed).eqns]
    ['max']
    """
    traced = _rewrite(closed)
    used = [True] * len(traced.jaxpr.outvars)
    jaxpr, used_consts, _ = partial_eval.dce_jaxpr_consts(
        traced.jaxpr,
        used,
        instantiate=[False] * len(traced.consts) + [True] * len(traced.jaxpr.invars),
    )
    consts = [const for const, use in zip(traced.consts, used_consts, strict=True) if use]
    return ClosedJaxpr(_unwrap(jaxpr), consts)


def _rewrite(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The canonical equations, dead ones among them, composites opaque."""
    specs = [_spec(aval) for aval in closed.in_avals]
    return jax.make_jaxpr(lambda *args: evaluate(closed.jaxpr, closed.consts, args))(*specs)


def _unwrap(jaxpr: Jaxpr) -> Jaxpr:
    """Composites are jit equations again, in nested bodies too."""

    def unwrapped(equation: Any) -> Any:
        if equation.primitive is _opaque_p:
            return equation.replace(primitive=jit_p)
        return equation.replace(params=over_bodies(equation.params, inside))

    def inside(closed: ClosedJaxpr) -> ClosedJaxpr:
        return ClosedJaxpr(_unwrap(closed.jaxpr), closed.consts)

    return jaxpr.replace(eqns=[unwrapped(equation) for equation in jaxpr.eqns])


def _spec(aval: Any) -> jax.ShapeDtypeStruct:
    if is_key(aval):
        return jax.ShapeDtypeStruct((*aval.shape, 2), jnp.uint32)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def is_key(aval: Any) -> bool:
    """Whether an aval is of JAX's opaque key type; only threefry's may be in a Program."""
    dtype = getattr(aval, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return False
    if dtype.name != "key<fry>":
        raise ValueError(
            f"Random keys of type {dtype.name} cannot be in a Program: their numbers differ from "
            "device to device. Expected key<fry>. Make keys with "
            "jax.random.key(seed, impl='threefry2x32')."
        )
    return True


def evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """Runs a jaxpr's equations, each in its canonical form."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, map(_raw, consts), strict=True))
    values.update(zip(jaxpr.invars, args, strict=True))
    products: dict[Any, tuple[Any, list[Any]]] = {}

    def read(atom: Any) -> Any:
        return _strong(atom) if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        with within(equation):
            operands = [read(atom) for atom in equation.invars]
            out = _product(equation, operands, products) or _canonical(equation, operands)
        values.update(zip(equation.outvars, out, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _raw(const: Any) -> Any:
    """A constant; keys as their words, of those that are known already."""
    if not is_key(const):
        return const
    with jax.ensure_compile_time_eval():
        return np.asarray(jax.random.key_data(const))


def _strong(literal: Literal) -> Any:
    """A literal as a NumPy scalar, which is not weakly typed as Python's numbers are."""
    aval: Any = literal.aval
    if aval.dtype == jax.dtypes.float0:
        return literal.val
    return np.asarray(literal.val, aval.dtype)[()]


def _canonical(equation: Any, operands: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in RULES:
        return RULES[name](equation, operands)
    if name in IDENTITIES or _is_void(equation):
        return operands[:1]
    if name in INLINED:
        return _call(equation, operands)
    if _has_bodies(params):
        return _bind(equation.primitive, operands, over_bodies(params, _rewrite))
    if any(is_key(v.aval) for v in (*equation.invars, *equation.outvars)):
        return _by_lanes(equation, operands)
    if "weak_type" in params:
        params = {**params, "weak_type": False}
    return _bind(equation.primitive, operands, params)


def _product(
    equation: Any, operands: list[Any], products: dict[Any, tuple[Any, list[Any]]]
) -> list[Any] | None:
    """A product of matrices, or the transposed one of two: that is the product of them swapped.

    Gradients by weights come transposed. Halves add up in float32 and are rounded last: asked for a
    product in bfloat16, XLA's CPU compiler widens both factors first, which takes twice the time.
    """
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        products[equation.outvars[0]] = params, operands
    elif name == "transpose" and _is_matrix_product(products.get(equation.invars[0])):
        params, operands = products[equation.invars[0]]
        (left, right), none = params["dimension_numbers"]
        params = {**params, "dimension_numbers": ((right, left), none)}
        operands = operands[::-1]
    else:
        return None
    dtype = equation.outvars[0].aval.dtype
    if dtype in HALVES:
        params = {**params, "preferred_element_type": np.dtype("float32")}
    if _is_row_by_tall(params, *operands):
        product = _by_parts(params, *operands)
    else:
        product = lax.dot_general_p.bind(*operands, **params)
    return [lax.convert_element_type(product, dtype)]


def _is_matrix_product(made: Any) -> bool:
    return made is not None and all(factor.ndim == 2 for factor in made[1])


def _is_row_by_tall(params: dict[str, Any], left: Any, right: Any) -> bool:
    return (
        left.ndim == right.ndim == 2
        and params["dimension_numbers"] == (((1,), (0,)), ((), ()))
        and left.shape[0] == 1
        and left.shape[1] >= TALL
        and left.shape[1] % PARTS == 0
    )


def _by_parts(params: dict[str, Any], left: Any, right: Any) -> Any:
    """[1, N] @ [N, M] as the sum of the products of their parts.

    XLA's CPU compiler shares a large one out between threads that are asleep: a network of digits
    that has [1, 5408] @ [5408, 128] takes 128 us with it, 98 with 16 parts, 81 with 32.
    """
    size, width = left.shape[1] // PARTS, right.shape[1]
    left, right = left.reshape(PARTS, 1, size), right.reshape(PARTS, size, width)
    params = {**params, "dimension_numbers": (((2,), (1,)), ((0,), (0,)))}
    return jnp.sum(lax.dot_general_p.bind(left, right, **params), axis=0)


def _bind(primitive: Any, operands: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    out = primitive.bind(*operands, **params)
    return list(out) if primitive.multiple_results else [out]


def _call(equation: Any, operands: list[Any]) -> list[Any]:
    """A composite keeps its place, with a canonical body; any other call is inlined.

    The derivative of a composite that brings none of its own still has its name, but not its
    signature: that is no composite.
    """
    params = equation.params
    body = params[INLINED[equation.primitive.name]]
    if composite_name(str(params.get("name", ""))) and is_as_written(body):
        return _bind(_opaque_p, operands, {**params, "jaxpr": canonicalize(body)})
    return evaluate(getattr(body, "jaxpr", body), getattr(body, "consts", ()), operands)


def _is_void(equation: Any) -> bool:
    """Whether an equation changes neither type nor shape nor value."""
    if equation.primitive.name == "transpose":
        permutation = equation.params["permutation"]
        return tuple(permutation) == tuple(range(len(permutation)))
    if equation.primitive.name not in SHAPERS:
        return False
    before, after = equation.invars[0].aval, equation.outvars[0].aval
    return before.dtype == after.dtype and before.shape == after.shape


def _has_bodies(params: dict[str, Any]) -> bool:
    return any(isinstance(v, ClosedJaxpr) or _is_bodies(v) for v in params.values())


def _is_bodies(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], ClosedJaxpr)


def over_bodies(
    params: dict[str, Any], change: Callable[[ClosedJaxpr], ClosedJaxpr]
) -> dict[str, Any]:
    """The parameters of a loop or branch with each body changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, ClosedJaxpr):
            return change(value)
        return tuple(map(change, value)) if _is_bodies(value) else value

    return {key: changed(value) for key, value in params.items()}


def _expand(function: Callable[..., Any], operands: Sequence[Any]) -> list[Any]:
    """The canonical equations of a JAX function of the operands, in place of an equation."""
    closed = jax.make_jaxpr(function)(*operands)
    return evaluate(closed.jaxpr, closed.consts, operands)


def _by_lanes(equation: Any, operands: list[Any]) -> list[Any]:
    """An equation that moves keys about, done to both words of the keys alike."""
    axes = [-1 if is_key(v.aval) else None for v in equation.invars]

    def lanes(*words: Any) -> Any:
        return equation.primitive.bind(*words, **equation.params)

    return _expand(jax.vmap(lanes, axes, -1), operands)


def _solve_rule(equation: Any, operands: list[Any]) -> list[Any]:
    """A linear solve that carries its own derivative: the solver alone is left."""
    solvers, counts = equation.params["jaxprs"], equation.params["const_lengths"]
    first = counts.matvec + counts.vecmat
    consts = operands[first : first + counts.solve]
    right = operands[sum(counts) :]
    return evaluate(solvers.solve.jaxpr, solvers.solve.consts, [*consts, *right])


# ---- randomness: threefry-2x32 with 20 rounds, from Salmon, Moraes, Dror, Shaw (2011), "Parallel
# random numbers: as easy as 1, 2, 3". The n-th number of a shape depends on the key and on n alone;
# the numbers are those of jax.random. The rounds are written out, because a loop is not fused with
# what uses the bits: a mask of shape (32, 5408) made by a loop takes XLA 2 to 3 times as long to
# compile and 2 to 3 times as long to run.

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)  # makes the third key word, as in Skein


def threefry(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """The block function: key words and counter words, uint32, -> two random words.

    >>> zero = jnp.uint32(0)
    >>> [hex(word) for word in threefry(zero, zero, zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    keys = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ (x1 << np.uint32(distance) | x1 >> np.uint32(32 - distance))
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + (keys[(group + 2) % 3] + np.uint32(group + 1))
    return x0, x1


def _hash_positions(key: Any, shape: Sequence[int]) -> tuple[Any, Any]:
    """Two words for each position in `shape`, per key: uint32 [..., 2] -> uint32 [..., *shape]."""
    if math.prod(shape) >= 2**32:
        raise ValueError(f"Random numbers of shape {tuple(shape)}: expected below 2**32 of them.")
    position = lax.iota(jnp.uint32, math.prod(shape)).reshape(tuple(shape))
    each = (..., *(None for _ in shape))
    return threefry(key[..., 0][each], key[..., 1][each], np.uint32(0), position)


def random_bits(key: Any, width: int, shape: Sequence[int]) -> Any:
    """Unsigned integers of `width` bits (8, 16, 32 or 64): [..., 2] -> [..., *shape]."""
    b0, b1 = _hash_positions(key, shape)
    if width == 64:
        return b0.astype("uint64") << np.uint64(32) | b1.astype("uint64")
    return (b0 ^ b1).astype(f"uint{width}")


def split_key(key: Any, shape: Sequence[int]) -> Any:
    """New keys of `shape` for each key: uint32 [..., 2] -> [..., *shape, 2]."""
    return jnp.stack(_hash_positions(key, shape), axis=-1)


def fold_in(key: Any, data: Any) -> Any:
    """The key that belongs to a key and a number: uint32 [..., 2] and uint32 [...] -> [..., 2]."""
    words = threefry(key[..., 0], key[..., 1], np.uint32(0), data.astype("uint32"))
    return jnp.stack(words, axis=-1)


def seed_key(data: Any) -> Any:
    """The key of a seed, its bits as two words: integer [...] -> uint32 [..., 2]."""
    low = data.astype("uint32")
    high = jnp.zeros_like(low)
    if data.dtype.itemsize == 8:
        word = lax.bitcast_convert_type(data, jnp.uint64)
        high = (word >> np.uint64(32)).astype("uint32")
    return jnp.stack([high, low], axis=-1)


def _remat_rule(equation: Any, operands: list[Any]) -> list[Any]:
    """What is recomputed for a gradient: the barrier keeps compilers from merging both times."""
    if equation.params["differentiated"] and equation.params["prevent_cse"]:
        operands = list(lax.optimization_barrier(tuple(operands)))
    return _call(equation, operands)


def _bits_rule(equation: Any, operands: list[Any]) -> list[Any]:
    width, shape = equation.params["bit_width"], equation.params["shape"]
    return _expand(lambda key: random_bits(key, width, shape), operands)


def _split_rule(equation: Any, operands: list[Any]) -> list[Any]:
    return _expand(lambda key: split_key(key, equation.params["shape"]), operands)


def _seed_rule(equation: Any, operands: list[Any]) -> list[Any]:
    is_key(equation.outvars[0].aval)  # refuses the other kinds of keys
    return _expand(seed_key, operands)


def _ordered(x: Any) -> Any:
    """Integers in the total order of IEEE 754's numbers, in which NaN is greatest."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    bits = x.dtype.itemsize * 8
    word = lax.bitcast_convert_type(x, f"int{bits}")
    flipped = word >> np.array(bits - 1, word.dtype) & np.array(2 ** (bits - 1) - 1, word.dtype)
    return word ^ flipped


def _order_rule(compare: Callable[..., Any]) -> Callable[[Any, list[Any]], list[Any]]:
    return lambda _, operands: _expand(lambda *xs: compare(*map(_ordered, xs)), operands)


def _platform_rule(equation: Any, operands: list[Any]) -> list[Any]:
    """A Program is for every engine: the way that asks for no platform."""
    return [jnp.int32(equation.params["platforms"].index(None))]


def _empty_rule(equation: Any, operands: list[Any]) -> list[Any]:
    """What another branch keeps for the gradient, and this one has not: never read, so zeros."""
    aval = equation.outvars[0].aval
    return [jnp.zeros(aval.shape, aval.dtype)]


def _gamma_rule(equation: Any, operands: list[Any]) -> list[Any]:
    def gamma(key: Any, alpha: Any) -> Any:
        key = jax.random.wrap_key_data(key, impl="threefry2x32")
        return equation.primitive.impl(key, alpha, use_vmap=True, **equation.params)

    return _expand(gamma, operands)


# Primitive -> what replaces it.
RULES: dict[str, Callable[[Any, list[Any]], list[Any]]] = {
    "add_any": lambda equation, operands: [add_p.bind(*operands)],
    "custom_linear_solve": _solve_rule,
    "empty2": _empty_rule,
    "le_to": _order_rule(lax.le),
    "lt_to": _order_rule(lax.lt),
    "platform_index": _platform_rule,
    "random_bits": _bits_rule,
    "random_fold_in": lambda equation, operands: _expand(fold_in, operands),
    "random_gamma": _gamma_rule,
    "random_seed": _seed_rule,
    "random_split": _split_rule,
    "checkpoint": _remat_rule,
    "remat2": _remat_rule,
    "threefry2x32": lambda equation, operands: _expand(threefry, operands),
}
