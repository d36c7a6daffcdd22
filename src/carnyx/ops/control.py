"""Control flow: loops, branches and maps, with the state of layers lifted in and out.

A layer inside behaves as in a Python loop: random generators advance at each step, moving
statistics and metrics are updated, losses leave as their sum over the steps. How that is done is in
`core/state.py`; `jit`, `grad`, `vmap` and `remat` are in `core/transforms.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core import errors
from carnyx.core.state import Lift, lifting
from carnyx.core.symbol import Function, any_symbol, is_symbol, symbolic_call
from carnyx.core.transforms import remat as remat
from carnyx.core.transforms import vmap
from carnyx.ops.table import operations


def _recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets an operation take KerasTensors: then a node of the graph is recorded."""

    @wraps(function)
    def operation(*args: Any, **kwargs: Any) -> Any:
        if any_symbol(args, kwargs):
            return symbolic_call(Function(function.__name__, operation), args, kwargs)
        return function(*args, **kwargs)

    operation.symbols = None  # type: ignore[attr-defined]  # the outputs' shapes follow from theirs
    return operation


def _check_callable(name: str, **functions: Any) -> None:
    for argument, value in functions.items():
        if not callable(value):
            raise TypeError(f"ops.{name}: `{argument}` is a function. Received: {value!r}")


@_recorded
def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> Any:
    """Runs `(carry, y) = f(carry, x)` along the first axis: (the last carry, all y stacked).

    Args:
        init: the first carry, an array or a structure.
        xs: an array or a structure of arrays [T, ...], or None.
        length: T, needed without `xs`.
        reverse: from the last x to the first; each y stands at the place of its x.
        unroll: how many steps are written one after another into each round of the loop, >= 1;
            True for all.

    >>> total, sums = scan(lambda carry, x: (carry + x, carry + x), 0, np.array([1, 2, 3]))
    >>> int(total), sums.tolist()
    (6, [1, 3, 6])
    """
    _check_callable("scan", f=f)
    if not isinstance(unroll, bool) and unroll < 1:
        raise ValueError(f"ops.scan: unroll is a whole number from 1, or a bool. Got: {unroll!r}")
    if length is None and not jax.tree.leaves(xs):
        raise ValueError("ops.scan: without `xs` there is no number of steps: pass `length`.")
    init, xs = _arrays(init), _arrays(xs)

    def use(lift: Lift) -> Any:
        def step(carried: Any, x: Any) -> Any:
            (carry, y), values = lift.run(carried[1], f, carried[0], x)
            return (carry, values), y

        first = (init, lift.start())
        (carry, values), ys = lax.scan(step, first, xs, length, reverse, unroll)
        lift.finish(values)
        return carry, ys

    return lifting(use)


@_recorded
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """Runs `loop_vars = body(*loop_vars)` while `cond(*loop_vars)` holds; returns the last ones.

    `loop_vars` is a tuple or list of the arguments, or a single one. Gradients go forward only
    (`ops.jvp`): a loop of unknown length keeps nothing for the way back.

    >>> [int(x) for x in while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, 2 * x), (0, 1))]
    [3, 8]
    """
    _check_callable("while_loop", cond=cond, body=body)
    several = isinstance(loop_vars, (tuple, list))
    start = _arrays(tuple(loop_vars) if several else (loop_vars,))
    limit = np.iinfo("int32").max if maximum_iterations is None else maximum_iterations

    def advance(args: tuple[Any, ...]) -> tuple[Any, ...]:
        out = body(*args)
        if several and not isinstance(out, (tuple, list)):
            raise TypeError(
                f"ops.while_loop: `loop_vars` is a {type(loop_vars).__name__} of {len(args)}, and "
                f"`body` returned {type(out).__name__}. Return one like it, such as (x,)."
            )
        return tuple(out) if several else (out,)

    def use(lift: Lift) -> Any:
        # the condition is carried as a value, since it may change state too
        def go_on(values: Any, args: Any) -> Any:
            return lift.run(values, lambda: jnp.asarray(cond(*args), bool))

        def step(carried: Any) -> Any:
            count, _, values, args = carried
            args, values = lift.run(values, advance, args)
            go, values = go_on(values, args)
            return count + 1, go, values, args

        go, values = go_on(lift.start(), start)
        first = (jnp.int32(0), go, values, start)
        _, _, values, args = lax.while_loop(lambda c: c[1] & (c[0] < limit), step, first)
        lift.finish(values)
        return args

    args = lifting(use)
    return args if several else args[0]


@_recorded
def fori_loop(lower: Any, upper: Any, body_fun: Callable[..., Any], init_val: Any) -> Any:
    """Runs `value = body_fun(i, value)` for i in [lower, upper); returns the last value.

    Gradients need bounds that are numbers of Python.

    >>> int(fori_loop(0, 4, lambda i, value: value + i, 0))
    6
    """
    _check_callable("fori_loop", body_fun=body_fun)
    init = _arrays(init_val)

    def use(lift: Lift) -> Any:
        def step(i: Any, carried: Any) -> Any:
            return lift.run(carried[1], body_fun, i, carried[0])

        value, values = lax.fori_loop(lower, upper, step, (init, lift.start()))
        lift.finish(values)
        return value

    return lifting(use)


@_recorded
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """`true_fn()` if the bool scalar `pred` holds, else `false_fn()`.

    Both give the same structure, shapes and types. Where the value of `pred` is known, its branch
    alone runs.

    >>> cond(True, lambda: 1.0, lambda: 2.0).item()
    1.0
    """
    _check_callable("cond", true_fn=true_fn, false_fn=false_fn)
    if np.shape(pred) != ():
        raise ValueError(
            f"ops.cond: `pred` is one bool. Received shape {np.shape(pred)}. Reduce it with "
            "ops.any or ops.all, or choose element by element with ops.where."
        )
    if not isinstance(pred, jax.core.Tracer):
        return _arrays((true_fn if pred else false_fn)())
    return switch(jnp.asarray(pred, bool).astype("int32"), [false_fn, true_fn])


@_recorded
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`, an index outside moved to the nearest branch.

    >>> switch(1, [lambda x: x, lambda x: -x], 2.0).item()
    -2.0
    """
    if not branches:
        raise ValueError("ops.switch: `branches` is empty. Give at least one function.")
    for branch in branches:
        _check_callable("switch", branches=branch)
    if np.shape(index) != ():
        raise ValueError(f"ops.switch: `index` is one number. Received shape {np.shape(index)}.")
    operands = _arrays(operands)
    if not isinstance(index, jax.core.Tracer):
        return _arrays(branches[min(max(int(index), 0), len(branches) - 1)](*operands))

    def use(lift: Lift) -> Any:
        def within(branch: Callable[..., Any]) -> Any:
            return lambda values: lift.run(values, branch, *operands)

        out, values = lax.switch(index, [within(b) for b in branches], lift.start())
        lift.finish(values)
        return out

    return lifting(use)


@_recorded
def map(f: Callable[..., Any], xs: Any) -> Any:
    """`f` of each element along the first axis, one after another, the results stacked.

    >>> map(lambda x: x * x, np.array([1, 2, 3])).tolist()
    [1, 4, 9]
    """
    _check_callable("map", f=f)
    return scan(lambda carry, x: (carry, f(x)), (), xs)[1]


@_recorded
def vectorized_map(function: Callable[..., Any], elements: Any) -> Any:
    """`function` of each element along the first axis, all at once, the results stacked.

    `elements` is an array or a structure of arrays, given to `function` as one argument. What a
    layer inside shares between elements says `carnyx.vmap`.

    >>> vectorized_map(
    ...     lambda pair: pair[0] + pair[1], (np.array([1, 2]), np.array([3, 4]))
    ... ).tolist()
    [4, 6]
    """
    _check_callable("vectorized_map", function=function)
    return vmap(function)(_arrays(elements))


@_recorded
def associative_scan(
    f: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """All running results of an associative `f(a, b)` along an axis, in log2(T) rounds.

    `f` takes two structures like `elems`, blocks of elements side by side, and is called once a
    round: a layer inside sees these calls.

    Blelloch (1990), "Prefix sums and their applications".

    >>> associative_scan(lambda a, b: a + b, np.array([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    _check_callable("associative_scan", f=f)
    return lax.associative_scan(f, _arrays(elems), reverse, axis)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a gradient of its own: `f(*args)` returns `(out, rule)`.

    `rule(upstream)` takes the gradient with respect to `out` and returns those with respect to
    the arguments, a tuple if there are several. `f` may assign Variables; of those that it reads it
    must not need the gradient.

    Raises ValueError when a gradient is taken with respect to a Variable that `f` reads.

    >>> @custom_gradient
    ... def clipped(x):
    ...     return x, lambda upstream: jnp.clip(upstream, -1, 1)
    >>> float(jax.grad(lambda x: 5 * clipped(x))(2.0))
    1.0
    """
    _check_callable("custom_gradient", f=f)

    @wraps(f)
    def call(*args: Any) -> Any:
        arrays = _arrays(args)

        def use(lift: Lift) -> Any:
            start = lift.start()
            # what is read must be known before: the rule's trace may close over no derivative
            jax.eval_shape(lambda *args: lift.run(start, lambda *a: f(*a)[0], *args), *arrays)

            @jax.custom_gradient
            def run(values: list[Any], *args: Any) -> Any:
                (out, rule), new = lift.run(values, f, *args)

                def backward(upstream: Any) -> Any:
                    found = rule(upstream[0])
                    found = tuple(found) if len(args) > 1 else (found,)
                    return ([jnp.zeros_like(x) for x in values], *found)

                return (out, new), backward

            out, new = run(_constants(lift)(start), *arrays)
            lift.finish(new)
            return out

        return lifting(use, Lift(reads=True))

    return _recorded(call)


def _constants(lift: Lift) -> Callable[..., Any]:
    """The identity, which refuses to be differentiated."""
    names = [v.path for v in lift.variables] + ["a loss" for _ in lift.losses]
    names += [v.path for v in lift.read or ()]

    @jax.custom_vjp
    def identity(values: list[Any]) -> list[Any]:
        return values

    def forward(values: list[Any]) -> Any:
        needed = [n for n, x in zip(names, values, strict=True) if x.perturbed]
        raise ValueError(
            f"ops.custom_gradient: the function reads the Variables {needed}, with respect to "
            "which a gradient is taken, and its rule gives none. Pass their values as arguments."
        )

    identity.defvjp(forward, lambda _, upstream: (upstream,), symbolic_zeros=True)
    return identity


_SHAPE = r"\(\s*(?:\w+\s*(?:,\s*\w+\s*)*,?)?\s*\)"


def _cores(signature: str) -> list[tuple[str, ...]]:
    """The core axes of the arguments."""
    shapes = rf"{_SHAPE}(?:\s*,\s*{_SHAPE})*"
    if not re.fullmatch(rf"\s*{shapes}\s*->\s*{shapes}\s*", signature):
        raise ValueError(
            f"ops.vectorize: not a signature: {signature!r}. Expected such as '(m,n),(n)->(m)'."
        )
    arguments = signature.split("->")[0]
    return [tuple(re.findall(r"\w+", shape)) for shape in re.findall(_SHAPE, arguments)]


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Any = None, signature: str | None = None
) -> Callable[..., Any]:
    """A function of single elements as one of arrays, whose other axes broadcast.

    Args:
        excluded: positions and names of arguments that are passed as they are; arguments given by
            name always are.
        signature: the axes that one element has, "(m,n),(n)->(m)"; None for numbers.

    >>> vectorize(lambda a, b: a @ b, signature="(n),(n)->()")(
    ...     np.eye(2), np.array([3.0, 4.0])
    ... ).tolist()
    [3.0, 4.0]
    """
    _check_callable("vectorize", pyfunc=pyfunc)
    fixed = set() if excluded is None else set(excluded)
    cores = None if signature is None else _cores(signature)

    @wraps(pyfunc)
    def call(*args: Any, **kwargs: Any) -> Any:
        places = [i for i in range(len(args)) if i not in fixed]
        arrays = [jnp.asarray(args[i]) for i in places]
        axes = [()] * len(arrays) if cores is None else cores
        outer, inner = _shapes(arrays, axes)
        flat = [
            jnp.broadcast_to(x, outer + core).reshape(-1, *core)
            for x, core in zip(arrays, inner, strict=True)
        ]

        def element(*values: Any) -> Any:
            filled = list(args)
            for place, value in zip(places, values, strict=True):
                filled[place] = value
            return pyfunc(*filled, **kwargs)

        if not outer:
            return element(*arrays)
        out = vmap(element)(*flat)
        return jax.tree.map(lambda y: y.reshape(outer + y.shape[1:]), out)

    return _recorded(call)


def _shapes(arrays: list[Any], axes: Sequence[tuple[str, ...]]) -> tuple[Any, list[Any]]:
    """The shape that is looped over, and the one that an element of each array has."""
    if len(arrays) != len(axes):
        raise TypeError(
            f"ops.vectorize: the signature has {errors.count(len(axes), 'argument')}, and "
            f"{len(arrays)} came."
        )
    sizes: dict[str, int] = {}
    outer, inner = [], []
    for x, names in zip(arrays, axes, strict=True):
        if x.ndim < len(names):
            raise ValueError(f"ops.vectorize: {names} are axes of an argument of shape {x.shape}.")
        outer.append(x.shape[: x.ndim - len(names)])
        inner.append(x.shape[x.ndim - len(names) :])
        for name, size in zip(names, inner[-1], strict=True):
            if sizes.setdefault(name, size) != size:
                raise ValueError(
                    f"ops.vectorize: axis '{name}' has the sizes {sizes[name]} and {size}."
                )
    return np.broadcast_shapes(*outer), inner


@_recorded
def jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """(fun(*primals), its directional derivative along `tangents`), with `has_aux` also the aux.

    >>> [float(x) for x in jvp(lambda x: x**2, (3.0,), (1.0,))]
    [9.0, 6.0]
    """
    _check_callable("jvp", fun=fun)
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"ops.jvp: `{name}` is a tuple, one entry an argument. Got: {value!r}")

    def use(lift: Lift) -> Any:
        start = lift.start()

        def run(*args: Any) -> Any:
            out, new = lift.run(start, fun, *args)
            value, aux = out if has_aux else (out, None)
            return value, (aux, new)

        value, tangent, (aux, new) = jax.jvp(run, _arrays(primals), _arrays(tangents), has_aux=True)
        lift.finish(new)
        return (value, tangent, aux) if has_aux else (value, tangent)

    return lifting(use)


def _arrays(structure: Any) -> Any:
    """The structure with numbers, NumPy arrays and Variables as arrays; KerasTensors stay."""
    return jax.tree.map(lambda leaf: leaf if is_symbol(leaf) else jnp.asarray(leaf), structure)


__all__ = operations(globals(), "custom_gradient vectorize")  # noqa: PLE0605
