"""Transformations of functions that call layers: jit, grad, vmap, remat.

They are JAX's, with the state of layers lifted in and out: what a function assigns and adds takes
effect as if it had been called plainly. How state is lifted, and `value_and_grad`, is in
`state.py`; loops and branches are in `ops/control.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import state, symbol
from carnyx.core.state import Lift, lifting, value_and_grad

LANES = "carnyx_lanes"  # the axis that vmap runs along, for asking which element this is


class _Static:
    """Arguments that are a part of what is compiled: equal where type and value are."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, _Static) or len(self.parts) != len(other.parts):
            return False
        pairs = zip(self.parts, other.parts, strict=True)
        return all(a is b or (type(a) is type(b) and bool(a == b)) for a, b in pairs)


def jit(
    fn: Callable[..., Any] | None = None, *, static_argnums: Any = (), static_argnames: Any = ()
) -> Callable[..., Any]:
    """`fn`, compiled at the first call for each signature of its arguments.

    Arrays and numbers are traced: a signature is their shapes and types. Bools, strings and all
    other objects are part of it by value. `fn` may call layers, which are built at the first call;
    Variables that it reads are inputs of what is compiled, those that it assigns are outputs.

    Args:
        static_argnums, static_argnames: positions and names of arguments that are part of the
            signature by value (hashable), such as a number of steps.

    >>> import carnyx
    >>> count = carnyx.Variable(0)
    >>> @jit
    ... def step(x, double=False):
    ...     count.assign_add(1)
    ...     return 2 * x if double else x + count
    >>> float(step(1.0)), float(step(1.0)), float(step(3.0, double=True)), int(count)
    (2.0, 3.0, 6.0, 3)
    """
    if fn is None:
        return partial(jit, static_argnums=static_argnums, static_argnames=static_argnames)
    if not callable(fn):
        raise TypeError(f"jit: expected a function. Received: {fn!r}")
    function, lift = fn, Lift(reads=True)
    positions = {static_argnums} if isinstance(static_argnums, int) else set(static_argnums)
    names = {static_argnames} if isinstance(static_argnames, str) else set(static_argnames)

    def run(static: _Static, values: list[Any], traced: list[Any]) -> Any:
        args, kwargs = _assembled(static.parts[0], static.parts[3:], traced)
        return lift.run(values, partial(function, **kwargs), *args)

    compiled = jax.jit(run, static_argnums=0)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if symbol.any_symbol(args, kwargs):
            return function(*args, **kwargs)
        fixed = [n % max(len(args), 1) for n in positions]
        pinned = [_Pinned(a) if i in fixed else a for i, a in enumerate(args)]
        named = {k: _Pinned(v) if k in names else v for k, v in kwargs.items()}
        leaves, tree = jax.tree.flatten((pinned, named))
        # what a layer's call depends on besides its arguments
        training = state.context.calls[-1].training if state.context.calls else None
        parts = [_TRACED if _is_traced(leaf) else leaf for leaf in leaves]
        static = _Static(tree, state.autocast_dtype(), training, *parts)
        traced = [leaf for leaf in leaves if _is_traced(leaf)]

        def use(lift: Lift) -> Any:
            out, new = compiled(static, lift.start(), traced)
            lift.finish(new)
            return out

        return lifting(use, lift)

    return call


_TRACED = "<a traced array>"


class _Pinned:
    """An argument that is static whatever it is."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Pinned) and _Static(self.value) == _Static(other.value)


def _is_traced(leaf: Any) -> bool:
    if isinstance(leaf, (jax.Array, complex, float, int)):
        return not isinstance(leaf, bool)
    return hasattr(leaf, "dtype") and hasattr(leaf, "__array__") and not hasattr(leaf, "assign")


def _assembled(tree: Any, parts: Any, traced: list[Any]) -> Any:
    remaining = iter(traced)
    leaves = [next(remaining) if part is _TRACED else part for part in parts]
    return jax.tree.map(
        lambda leaf: leaf.value if isinstance(leaf, _Pinned) else leaf,
        jax.tree.unflatten(tree, leaves),
    )


def grad(
    fn: Callable[..., Any], variables: Any = None, has_aux: bool = False, argnums: Any = 0
) -> Callable[..., Any]:
    """Makes `g(*args) -> gradients`, with `has_aux` `(gradients, aux)`; see `value_and_grad`.

    >>> float(grad(lambda x: x**3)(2.0))
    12.0
    """

    evaluate = value_and_grad(fn, variables, has_aux, argnums)

    def gradients(*args: Any, **kwargs: Any) -> Any:
        value, found = evaluate(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradients


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`fn` for each element along an axis of its arguments, all at once.

    State is lifted, as elements that know nothing of each other can share it. Variables that are
    read have the same value for all. A random generator has its own key for each element, the fold
    of its state and the element's index, and then moves on by the draws of one element. Losses
    are summed. What each element assigns to a Variable is combined as the Variable's `aggregation`
    says: "sum" adds up the changes (so metrics count every element), "mean" takes the mean,
    "only_first_replica" the first; "none" keeps the value if it is the same for all elements.

    Args:
        in_axes, out_axes: the axis of each argument and result; None where it has none. Keyword
            arguments go along axis 0.

    Raises ValueError for a Variable without aggregation whose value would differ by element.

    >>> vmap(lambda x, y: x @ y, in_axes=(0, None))(jnp.eye(2), jnp.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return lifting(lambda lift: _run_lanes(lift, fn, (in_axes, out_axes), args, kwargs))

    return call


def _run_lanes(
    lift: Lift, fn: Callable[..., Any], axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    start, ended = lift.start(), []
    kinds = [*map(_combination, lift.variables), *("sum" for _ in lift.losses)]

    def lane(*args: Any, **kwargs: Any) -> Any:
        index = jax.lax.axis_index(LANES)
        own = [
            _folded(x, index) if kind == "seed" else x for kind, x in zip(kinds, start, strict=True)
        ]
        out, new = lift.run(own, partial(fn, **kwargs), *args)
        pairs = zip(kinds, own, new, strict=True)
        changes = [b - a if kind in ("seed", "sum") else b for kind, a, b in pairs]
        ended.append(True)
        return out, changes

    def run(places: Any) -> Any:
        return jax.vmap(lane, axes[0], (axes[1], places), axis_name=LANES)(*args, **kwargs)

    try:
        out, changes = run([None if kind == "none" else 0 for kind in kinds])
    except ValueError as error:
        if not ended or "none" not in kinds:
            raise
        run(0)  # raises where it was the function's own results that do not fit
        differing = [v.path for v, k in zip(lift.variables, kinds, strict=False) if k == "none"]
        raise ValueError(
            "vmap: each element would assign a value of its own to one of the Variables "
            f"{differing}, which hold one value. Return it instead, or make the Variable with "
            "aggregation='mean', 'sum' or 'only_first_replica', or use ops.map, whose elements "
            "come one after another."
        ) from error
    lift.finish([_combined(*each) for each in zip(kinds, start, changes, strict=True)])
    return out


def _combination(variable: Any) -> str:
    if variable.kind == "seed":
        return "seed"
    known = ("sum", "mean", "only_first_replica")
    return variable.aggregation if variable.aggregation in known else "none"


def _combined(kind: str, start: Any, lanes: Any) -> Any:
    if kind == "sum":
        return start + jnp.sum(lanes, axis=0, dtype=start.dtype)
    if kind == "mean":
        return jnp.mean(lanes, axis=0).astype(start.dtype)
    if kind == "seed":  # every element drew as often
        return start + lanes[0]
    return lanes[0] if kind == "only_first_replica" else lanes


def _folded(key: Any, index: Any) -> Any:
    """The key of one element: uint32 [2]."""
    wrapped = jax.random.wrap_key_data(key, impl="threefry2x32")
    return jax.random.key_data(jax.random.fold_in(wrapped, index))


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, whose inner values are computed again for the gradient instead of being kept.

    Memory for the gradient becomes that of the inputs; time grows by one forward pass. `f` may call
    layers: what they assign and add is as if they were called plainly.

    Chen et al. (2016), "Training deep nets with sublinear memory cost".

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(remat(lambda x: jnp.sin(jnp.sin(x))))(0.0))
    1.0
    """

    @wraps(f)
    def again(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")}

        def call(arrays: dict[int, Any]) -> Any:
            filled = [arrays.get(i, leaf) for i, leaf in enumerate(leaves)]
            positional, named = jax.tree.unflatten(tree, filled)
            return f(*positional, **named)

        def use(lift: Lift) -> Any:
            run = jax.checkpoint(lambda values, arrays: lift.run(values, call, arrays))
            out, new = run(lift.start(), arrays)
            lift.finish(new)
            return out

        return lifting(use)

    return again


MODES = (None, "full", "activations", "larger_than", "list_of_layers")


class RematScope:
    """Layers made inside compute their inner values again for the gradient: see `remat`.

    Args:
        mode: "full" for every layer; "activations" for the activations of layers that have one;
            "larger_than" for layers with an output of more elements than `output_size_threshold`;
            "list_of_layers" for the layers of these names; None for none.
        output_size_threshold: elements of an output, batch included.
        layer_names: names of layers, for "list_of_layers".

    >>> import carnyx
    >>> with RematScope("full"):
    ...     dense = carnyx.layers.Dense(3)
    >>> dense(jnp.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        mode: str | None = "full",
        output_size_threshold: int = 1024,
        layer_names: Any = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"RematScope: mode is one of {MODES}. Received: {mode!r}")
        self.mode = mode
        self.output_size_threshold = output_size_threshold
        self.layer_names = list(layer_names or [])

    def __enter__(self) -> RematScope:
        state.context.remat.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        state.context.remat.pop()

    def call(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`layer.call`, as the mode says."""
        if self.mode == "activations" and callable(getattr(layer, "activation", None)):
            plain = layer.activation
            layer.activation = remat(plain)
            try:
                return layer.call(*args, **kwargs)
            finally:
                layer.activation = plain
        again = self.mode == "full" or (
            self.mode == "list_of_layers" and layer.name in self.layer_names
        )
        if self.mode == "larger_than":
            with state.Scope(permissive=True):
                outputs = jax.eval_shape(lambda: layer.call(*args, **kwargs))
            sizes = [leaf.size for leaf in jax.tree.leaves(outputs)]
            again = max(sizes, default=0) > self.output_size_threshold
        return (remat(layer.call) if again else layer.call)(*args, **kwargs)


__all__ = ["RematScope", "grad", "jit", "remat", "value_and_grad", "vmap"]
