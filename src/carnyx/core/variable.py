"""Variable: a named, typed box for an array that training may change.

Its value lives here; who may change it, and how a change becomes pure, is in `state.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes, state
from carnyx.core.config import unique_name


class Variable:
    """An array with a name, a path and a type, whose value can be assigned.

    Args:
        initializer: the value (array, number, nested list), or a callable
            `initializer(shape, dtype=dtype)` that makes it.
        shape: for a callable initializer, a tuple of ints.
        dtype: stored type; None means `floatx` for callables and Python floats, else the
            value's own type.
        trainable: whether optimizers update it.
        autocast: whether a layer under a mixed policy reads it in its compute type.
        aggregation: how replicas combine it ("none", "mean", "sum", "only_first_replica").
        synchronization: kept for Keras's signature.
        name: the last part of its path.
        layout: how a distribution lays it out over devices; None for whole on each.

    >>> v = Variable([[1.0, 2.0]], name="v")
    >>> _ = v.assign_add([[1.0, 1.0]])
    >>> v.numpy().tolist(), v.shape, v.dtype
    ([[2.0, 3.0]], (1, 2), 'float32')
    """

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str = "none",
        synchronization: str = "auto",
        name: str | None = None,
        layout: Any = None,
    ) -> None:
        self.name = name or unique_name("variable")
        state.Changes.count += 1
        if "/" in self.name:
            raise ValueError(f"A variable's name has no '/', which joins paths. Got: {name!r}")
        self.path = state.current_path(self.name)
        self._created_trainable = self.trainable = bool(trainable)
        self.autocast = bool(autocast)
        self.aggregation = aggregation
        self.synchronization = synchronization
        self.layout = layout
        self.regularizer: Callable[..., Any] | None = None
        self.constraint: Callable[..., Any] | None = None
        self.overwrite_with_gradient = False
        # "weight" is saved; a "seed" or a recurrent "state" lives as long as the process
        self.kind = "weight"
        # A layer may be built inside a trace: its weights are real arrays even then.
        with jax.ensure_compile_time_eval():
            self._value = _initial_value(initializer, shape, dtype, self.path)
        self.shape: tuple[int, ...] = tuple(self._value.shape)
        self._dtype = dtypes.standardize_dtype(self._value.dtype)

    @property
    def value(self) -> Any:
        """The array: the traced one inside `pure`, cast under a mixed policy."""
        held, value = state.read(self)
        if not held:
            value = self._value
            if not isinstance(value, jax.Array):
                value = self._value = jnp.asarray(value)
        target = state.autocast_dtype()
        if target and self.autocast and self._dtype != target and dtypes.is_float(self._dtype):
            return value.astype(target)
        return value

    @property
    def dtype(self) -> str:
        """The type that reads give: the compute type inside a mixed layer's call."""
        target = state.autocast_dtype()
        if target and self.autocast and dtypes.is_float(self._dtype):
            return target
        return self._dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def assign(self, value: Any) -> Any:
        """Replaces the value; the shape must be the same, the type is cast. Returns the value."""
        value = value.value if isinstance(value, Variable) else value
        if not isinstance(value, jax.Array):
            value = _to_device(value, self._dtype)
        if tuple(value.shape) != self.shape:
            raise ValueError(
                f"Variable '{self.path}' has shape {self.shape} and was assigned a value of shape "
                f"{tuple(value.shape)}. Reshape the value, or make a new variable."
            )
        if value.dtype != self._dtype:
            value = value.astype(self._dtype)
        if not state.write(self, value):
            if isinstance(value, jax.core.Tracer):
                raise ValueError(
                    f"Variable '{self.path}' was assigned a traced value outside `carnyx`'s own "
                    "tracing, which would leak it. Wrap the function with `carnyx.jit` or `pure`."
                )
            self._value = value
        return value

    def assign_add(self, value: Any) -> Any:
        """value <- value + given."""
        return self.assign(self._stored() + jnp.asarray(value, self._dtype))

    def assign_sub(self, value: Any) -> Any:
        """value <- value - given."""
        return self.assign(self._stored() - jnp.asarray(value, self._dtype))

    def _stored(self) -> Any:
        with state.autocast_scope(None):
            return self.value

    def numpy(self) -> np.ndarray:
        """A NumPy copy of the value."""
        return np.array(self._stored())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._stored(), dtype=dtype)

    def __jax_array__(self) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self._dtype}>"

    def __getitem__(self, index: Any) -> Any:
        return self.value[index]

    def __len__(self) -> int:
        return len(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        twin = object.__new__(Variable)
        memo[id(self)] = twin
        twin.__dict__.update(self.__dict__)  # arrays are immutable: sharing one is a copy
        return twin


def _initial_value(initializer: Any, shape: Any, dtype: Any, path: str) -> Any:
    if callable(initializer) and not isinstance(initializer, jax.Array):
        if shape is None:
            raise ValueError(
                f"Variable '{path}' has a callable initializer and no `shape`. "
                "Pass shape=(...) as a tuple of ints."
            )
        dtype = dtypes.standardize_dtype(dtype)
        return jnp.asarray(initializer(tuple(shape), dtype=dtype), dtype=dtype)
    if isinstance(initializer, Variable):
        initializer = initializer.numpy()
    if dtype is None:
        own = getattr(initializer, "dtype", None)
        dtype = own if own is not None else np.asarray(initializer).dtype
        if own is None and dtype == np.float64:
            dtype = dtypes.floatx()
    return _to_device(initializer, dtypes.standardize_dtype(dtype))


def _to_device(value: Any, dtype: str) -> jax.Array:
    """A new array of its own memory; `jnp.array` would compile a copy for every new shape."""
    if isinstance(value, jax.Array):
        return value.astype(dtype)
    return jax.device_put(np.array(value, dtype=jax.dtypes.canonicalize_dtype(dtype)))


def _forward(name: str) -> Callable[..., Any]:
    def method(self: Variable, *others: Any) -> Any:
        others = tuple(o.value if isinstance(o, Variable) else o for o in others)
        return getattr(self.value, name)(*others)

    method.__name__ = name
    return method


_OPERATORS = (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul "
    "rmatmul neg pos abs invert eq ne lt le gt ge and rand or ror xor rxor"
)
for _name in _OPERATORS.split():
    setattr(Variable, f"__{_name}__", _forward(f"__{_name}__"))
Variable.__hash__ = object.__hash__  # identity: == is elementwise, as for arrays
