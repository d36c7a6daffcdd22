"""State: the only place where mutation becomes pure.

Layers read and assign Variables as if these were plain boxes. `pure(fn, variables)` turns such a
function into one of values: inside it every declared variable has its value in a `Scope`, reads and
writes go there, and the new values are returned. Nothing else in Carnyx carries state by other
means: random seeds, moving statistics, metrics and optimizer slots are Variables too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# On the processor a call runs in the thread that makes it: handing it to another one and waiting
# for that costs 30 to 70 us, a third of `predict` of one image. It must be said before JAX makes
# its first array; every part that makes arrays imports this module.
jax.config.update("jax_cpu_enable_async_dispatch", False)


class Changes:
    """How often any layer may have got other variables, in this process.

    A Variable that is made counts, and an attribute of a layer that is set to more than a number or
    a text. Who has looked which variables a model has need not look again while `count` stays.
    """

    count = 0


class Scope:
    """The values that variables have while a function is traced or evaluated.

    A `permissive` scope keeps every assignment and forgets it at the end: shape inference runs
    layers in one, so that a dry run changes nothing.
    """

    def __init__(self, values: dict[int, Any] | None = None, permissive: bool = False) -> None:
        self.values = {} if values is None else values
        self.permissive = permissive
        self.losses: list[tuple[Any, Any]] = []  # (layer, value) of every add_loss in here
        self.written: dict[int, Any] = {}  # the variables assigned in here
        self.read: dict[int, Any] | None = None  # if a dict: those read here and held outside

    def __enter__(self) -> Scope:
        context.scopes.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        context.scopes.pop()
        context.settle()


class Lift:
    """What a function changes inside a transformation of JAX, on its way in and out of there.

    Its state is a list of arrays: the Variables that the function assigns, then the sums of the
    losses that it adds, then (with `reads`) the Variables that it only reads. What these are shows
    when it runs: `run` raises `More` at the first meeting, and `lifting` starts again.
    """

    def __init__(self, reads: bool = False) -> None:
        self.variables: list[Any] = []  # those that are assigned
        self.losses: list[tuple[Any, int, Any]] = []  # (layer, which of its losses, an aval)
        self.read: list[Any] | None = [] if reads else None

    def start(self) -> list[Any]:
        """The state before: the variables' values and zeros for the losses."""
        zeros = [jnp.zeros(aval.shape, aval.dtype) for _, _, aval in self.losses]
        return [*map(_stored, self.variables), *zeros, *map(_stored, self.read or ())]

    def run(
        self, values: Sequence[Any], fn: Callable[..., Any], *args: Any, given: Any = None
    ) -> tuple[Any, list[Any]]:
        """(fn(*args), the state after it), with the state as `values` before.

        `given`: values by id that further variables have inside.
        """
        count = len(self.variables) + len(self.losses)
        head, tail = values[: len(self.variables)], values[count:]
        start = {id(v): x for v, x in zip(self.variables, head, strict=True)}
        start |= {id(v): x for v, x in zip(self.read or (), tail, strict=True)}
        with Scope(start | (given or {}), permissive=True) as scope:
            scope.read = None if self.read is None else {}
            out = fn(*args)
        added = self._losses_of(scope)
        self._learn(scope, added)
        new = [_strong(scope.values[id(v)], v._dtype) for v in self.variables]
        for (layer, index, _), total in zip(
            self.losses, values[len(self.variables) : count], strict=True
        ):
            loss = added.get((id(layer), index))
            new.append(total if loss is None else total + loss[1])
        return out, [*new, *tail]

    def finish(self, values: Sequence[Any]) -> None:
        """Assigns and adds, outside, what `run` gave."""
        for variable, value in zip(self.variables, values, strict=False):
            variable.assign(value)
        totals = values[len(self.variables) :]
        if not context.scopes and not context.calls:  # as a plain call of the layers would do
            for layer, _, _ in self.losses:
                layer._losses.clear()
        for (layer, _, _), value in zip(self.losses, totals, strict=False):
            layer.add_loss(value)

    def _losses_of(self, scope: Scope) -> dict[tuple[int, int], tuple[Any, Any]]:
        found: dict[tuple[int, int], tuple[Any, Any]] = {}
        counts: dict[int, int] = {}
        for layer, value in scope.losses:
            index = counts[id(layer)] = counts.get(id(layer), -1) + 1
            found[id(layer), index] = (layer, jnp.asarray(value))
        return found

    def _learn(self, scope: Scope, added: dict[tuple[int, int], tuple[Any, Any]]) -> None:
        known = {id(v) for v in self.variables}
        variables = [v for key, v in scope.written.items() if key not in known]
        slots = {(id(layer), index) for layer, index, _ in self.losses}
        losses = [
            (layer, key[1], jax.ShapeDtypeStruct(value.shape, value.dtype))
            for key, (layer, value) in added.items()
            if key not in slots
        ]
        held = known | {id(v) for v in self.read or ()} | set(scope.written)
        read = [v for key, v in (scope.read or {}).items() if key not in held]
        if variables or losses or read:
            raise More(self, variables, losses, read)

    def grow(self, more: More) -> None:
        self.variables += more.variables
        self.losses += more.losses
        if self.read is not None:
            written = {id(v) for v in self.variables}
            self.read = [v for v in [*self.read, *more.read] if id(v) not in written]


class More(Exception):
    """A function that runs inside a transformation changes more state than was carried in."""

    def __init__(self, lift: Lift, variables: Any, losses: Any, read: Any) -> None:
        super().__init__("state of a layer was met for the first time")
        self.lift, self.variables, self.losses, self.read = lift, variables, losses, read


ATTEMPTS = 100  # far more than there are functions in one transformation


def lifting(use: Callable[[Lift], Any], lift: Lift | None = None) -> Any:
    """`use(lift)`, which runs functions inside a transformation with `lift.run`, until the lift
    carries all state that these change.

    `use` takes `lift.start()` in, and hands what `lift.run` gave last to `lift.finish`.
    """
    lift = Lift() if lift is None else lift
    for _ in range(ATTEMPTS):
        try:
            return use(lift)
        except More as more:
            if more.lift is not lift:
                raise
            lift.grow(more)
    raise ValueError(
        "A function inside a transformation (jit, scan, cond...) makes new Variables at each run: "
        f"{[v.path for v in lift.variables[-3:]]}. Make layers, metrics and Variables once, "
        "outside of the function."
    )


def _stored(variable: Any) -> Any:
    with autocast_scope(None):
        return _strong(variable.value, variable._dtype)


def _strong(value: Any, dtype: str) -> Any:
    """The value without JAX's mark of a "weak" type, which a loop's carried values must share."""
    return jax.lax.convert_element_type(value, jnp.dtype(dtype))


def value_and_grad(
    fn: Callable[..., Any], variables: Any = None, has_aux: bool = False, argnums: Any = 0
) -> Callable[..., Any]:
    """Makes `g(*args) -> (fn(*args), gradients)`.

    `fn` returns a scalar (with `has_aux`: a scalar and something else). It may call layers and
    assign variables: the assignments take effect, as if `fn` had been called plainly.

    Args:
        variables: Variables, in a list or another structure; the gradients are with respect to
            them, in the same structure. None: with respect to an argument of `fn`.
        argnums: the position of that argument, or a tuple of positions.

    >>> import carnyx
    >>> w, calls = carnyx.Variable(3.0), carnyx.Variable(0)
    >>> def loss(x):
    ...     calls.assign_add(1)
    ...     return w * w * x
    >>> value, (gradient,) = value_and_grad(loss, [w])(2.0)
    >>> float(value), float(gradient), int(calls)
    (18.0, 12.0, 1)
    >>> float(value_and_grad(loss)(2.0)[1])
    9.0
    """
    leaves, tree = jax.tree.flatten(variables)
    strange = [leaf for leaf in leaves if not hasattr(leaf, "assign")]
    if strange:
        raise TypeError(
            "value_and_grad: `variables` are Variables, in a list or another structure (None: the "
            f"gradient is with respect to the argument `argnums`). Received: {strange[0]!r}"
        )
    keys = [id(v) for v in leaves]

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        def use(lift: Lift) -> Any:
            start = lift.start()

            def loss_and_rest(values: list[Any], *args: Any) -> Any:
                given = dict(zip(keys, values, strict=True))
                out, new = lift.run(start, lambda: fn(*args, **kwargs), given=given)
                loss, aux = out if has_aux else (out, None)
                return jnp.asarray(loss), (aux, new)

            places = 0 if variables is not None else _after_values(argnums, len(args))
            run = jax.value_and_grad(loss_and_rest, places, has_aux=True)
            (loss, (aux, new)), gradients = run([_stored(v) for v in leaves], *args)
            lift.finish(new)
            if variables is not None:
                gradients = jax.tree.unflatten(tree, gradients)
            return ((loss, aux) if has_aux else loss), gradients

        return lifting(use)

    return evaluate


def _after_values(argnums: Any, count: int) -> Any:
    """The positions among `count` arguments, counted with one more in front."""
    if isinstance(argnums, int):
        return argnums + 1 if argnums >= 0 else argnums + 1 + count
    return tuple(_after_values(n, count) for n in argnums)


class _Context(threading.local):
    """What holds for the code that runs now in this thread."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.names: list[str] = []
        self.autocast: list[str | None] = []
        self.remat: list[Any] = []  # the RematScopes that are open
        self.calls: list[Any] = []  # the layer calls in progress, see layer.py
        self.masks: dict[int, tuple[Any, Any]] = {}  # id of a tracer -> (the tracer, its mask)

    def settle(self) -> None:
        """Forgets the masks of tracers once no trace can be in progress."""
        if not self.scopes and not self.calls:
            self.masks.clear()


context = _Context()


def read(variable: Any) -> tuple[bool, Any]:
    """(True, value) if a scope holds the variable, else (False, None)."""
    key = id(variable)
    for scope in reversed(context.scopes):
        if key in scope.values:
            return True, scope.values[key]
        if scope.read is not None:
            scope.read[key] = variable
    return False, None


def write(variable: Any, value: Any) -> bool:
    """Writes into the innermost scope; False if there is none and the variable itself takes it."""
    if not context.scopes:
        return False
    scope = context.scopes[-1]
    if id(variable) not in scope.values and not scope.permissive:
        raise ValueError(
            f"Variable '{variable.path}' was assigned inside a pure function that does not declare "
            "it, so the new value would be lost. Make it an attribute of the layer or model that "
            "is traced (then it is found), or pass it in the `variables` of `pure`."
        )
    scope.values[id(variable)] = value
    scope.written[id(variable)] = variable
    return True


def pure(fn: Callable[..., Any], variables: Sequence[Any]) -> Callable[..., Any]:
    """Makes a function that reads and assigns Variables into one that takes and returns values.

    Returns `g` with `g(values, *args, **kwargs) -> (fn(*args, **kwargs), new_values)`, where
    `values` and `new_values` are in the order of `variables`, every one always returned.

    Raises ValueError (in `g`) when `fn` assigns a variable that is not in `variables`.

    >>> import carnyx
    >>> count = carnyx.Variable(1.0, name="count")
    >>> def step(x):
    ...     count.assign_add(x)
    ...     return 10 * count.value
    >>> out, new = pure(step, [count])([5.0], 2.0)
    >>> float(out), float(new[0]), float(count.value)
    (70.0, 7.0, 1.0)
    """
    variables = list(variables)
    keys = [id(v) for v in variables]
    if len(set(keys)) != len(keys):
        twice = [v.path for i, v in enumerate(variables) if id(v) in keys[:i]]
        raise ValueError(f"pure(): variables listed twice: {twice}. List each once.")

    def stateless(values: Sequence[Any], *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
        if len(values) != len(variables):
            raise ValueError(f"Expected {len(variables)} values, one a variable: got {len(values)}")
        with Scope(dict(zip(keys, values, strict=True))) as scope:
            out = fn(*args, **kwargs)
        return out, [scope.values[key] for key in keys]

    return stateless


class StatelessScope(Scope):
    """Inside, variables have the values of `state_mapping`, and assignments stay in here.

    Args:
        state_mapping: pairs (variable, value).
        collect_losses, initialize_variables: of Keras's signature; losses are always collected.

    >>> import carnyx
    >>> v = carnyx.Variable(1.0)
    >>> with StatelessScope([(v, 5.0)]) as scope:
    ...     _ = v.assign_add(2.0)
    >>> float(scope.get_current_value(v)), float(v.value)
    (7.0, 1.0)
    """

    def __init__(
        self,
        state_mapping: Any = None,
        collect_losses: bool = False,
        initialize_variables: bool = True,
    ) -> None:
        pairs = [(v, jnp.asarray(value, v.dtype)) for v, value in state_mapping or ()]
        wrong = [(v.path, v.shape, x.shape) for v, x in pairs if v.shape != x.shape]
        if wrong:
            raise ValueError(
                "StatelessScope: values have other shapes than their variables (variable, its "
                f"shape, the value's): {wrong}"
            )
        super().__init__({id(v): value for v, value in pairs}, permissive=True)

    def add_update(self, update: tuple[Any, Any]) -> None:
        """Assigns: `update` is a pair (variable, value)."""
        variable, value = update
        self.values[id(variable)], self.written[id(variable)] = value, variable

    def get_current_value(self, variable: Any) -> Any:
        """The value in here, or None for a variable that has none."""
        return self.values.get(id(variable))

    def add_loss(self, loss: Any) -> None:
        """Keeps a loss."""
        self.losses.append((None, loss))


class SymbolicScope(Scope):
    """Inside, layers run for their shapes alone: what they assign and add is forgotten at the end.

    >>> import carnyx
    >>> v = carnyx.Variable(1.0)
    >>> with SymbolicScope():
    ...     _ = v.assign(5.0)
    >>> float(v)
    1.0
    """

    def __init__(self) -> None:
        super().__init__(permissive=True)


@contextlib.contextmanager
def name_scope(name: str) -> Iterator[None]:
    """Puts `name` in front of the paths of variables created inside."""
    context.names.append(name)
    try:
        yield
    finally:
        context.names.pop()


@contextlib.contextmanager
def name_scope_root() -> Iterator[None]:
    """Paths inside start anew: a step's layers are named alike wherever it is traced."""
    names, context.names = context.names, []
    try:
        yield
    finally:
        context.names = names


def current_path(name: str) -> str:
    """The path of `name` under the name scopes that are open."""
    return "/".join([*context.names, name])


@contextlib.contextmanager
def autocast_scope(dtype: str | None) -> Iterator[None]:
    """Float variables read inside are cast to `dtype` (None: as they are stored)."""
    context.autocast.append(dtype)
    try:
        yield
    finally:
        context.autocast.pop()


def autocast_dtype() -> str | None:
    """The type that float variables are read in now, or None."""
    return context.autocast[-1] if context.autocast else None


def set_mask(tensor: Any, mask: Any) -> None:
    """Attaches a mask (bool [B, T, ...], True where data counts) to a tensor."""
    try:
        tensor._keras_mask = mask
    except AttributeError:  # tracers take no attributes; holding the tracer keeps its id unique
        context.masks[id(tensor)] = (tensor, mask)


def get_mask(tensor: Any) -> Any:
    """The mask of a tensor, or None."""
    if id(tensor) in context.masks:
        return context.masks[id(tensor)][1]
    return getattr(tensor, "_keras_mask", None)
