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

    def __enter__(self) -> Scope:
        context.scopes.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        context.scopes.pop()
        context.settle()


def value_and_grad(
    fn: Callable[..., Any], variables: Sequence[Any], has_aux: bool = False
) -> Callable[..., Any]:
    """Makes `g(*args) -> (fn(*args), gradients)`, the gradients in the order of `variables`.

    `fn` returns a scalar (with `has_aux`: a scalar and something else), and may assign variables
    as it likes: the assignments take effect, as if `fn` had been called plainly.

    >>> import carnyx
    >>> w, calls = carnyx.Variable(3.0), carnyx.Variable(0)
    >>> def loss(x):
    ...     calls.assign_add(1)
    ...     return w * w * x
    >>> value, (gradient,) = value_and_grad(loss, [w])(2.0)
    >>> float(value), float(gradient), int(calls)
    (18.0, 12.0, 1)
    """
    variables = list(variables)

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        def transform(inner: Any) -> Any:
            def loss_and_rest(values: list[Any]) -> Any:
                out, effects = inner(dict(zip(map(id, variables), values, strict=True)))
                loss, aux = out if has_aux else (out, None)
                return loss, (aux, effects)

            (loss, (aux, effects)), gradients = jax.value_and_grad(loss_and_rest, has_aux=True)(
                values
            )
            return (((loss, aux) if has_aux else loss), gradients), effects

        with autocast_scope(None):
            values = [v.value for v in variables]
        return lifted(lambda: fn(*args, **kwargs), transform)

    return evaluate


def lifted(fn: Callable[..., Any], transform: Callable[[Any], Any]) -> Any:
    """Runs `fn` inside a transformation of JAX, and takes what it assigns and adds out of there.

    `transform(inner)` calls `inner(values, *args)` under the transformation (`values`: values that
    variables, by id, have inside; `args`: what `fn` takes) for `(out, effects)`, and returns what
    comes of both.
    """
    outer = context.scopes[-1] if context.scopes else None
    inside: list[Scope] = []

    def inner(values: dict[int, Any], *args: Any) -> Any:
        start = {**(outer.values if outer else {}), **values}
        with Scope(start, permissive=outer is None or outer.permissive) as scope:
            out = fn(*args)
        inside.append(scope)
        changed = [scope.values[key] for key in scope.written]
        return out, (changed, [value for _, value in scope.losses])

    out, (changed, losses) = transform(inner)
    scope = inside[-1]
    for variable, value in zip(scope.written.values(), changed, strict=True):
        variable.assign(value)
    for (layer, _), value in zip(scope.losses, losses, strict=True):
        layer.add_loss(value)
    return out


class _Context(threading.local):
    """What holds for the code that runs now in this thread."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.names: list[str] = []
        self.autocast: list[str | None] = []
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
