"""Metric: statistics in float32 variables that batches add to and `result` reads.

Everything here is traced inside training steps: only `jax.numpy`, no branching on values. The
averages that most metrics are made of are in `reduction.py`; names in `__init__.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp

from carnyx.core import dtypes, state
from carnyx.core.config import Configurable, public, snake_case, unique_name
from carnyx.core.variable import Variable
from carnyx.losses.base import align_weights


def zeros(shape: Any, dtype: Any = None) -> Any:
    """The initial value of nearly every statistic."""
    return jnp.zeros(shape, dtype)


def spread_weights(sample_weight: Any, shape: tuple[int, ...]) -> Any:
    """Weights of `shape`, float32, from those of the first axes (ones for None).

    Axes of size 1 at the end that `shape` has not are left out.
    """
    weights = jnp.asarray(1.0 if sample_weight is None else sample_weight, "float32")
    while weights.ndim > len(shape) and weights.shape[-1] == 1:
        weights = weights[..., 0]
    return jnp.broadcast_to(align_weights(weights, shape), shape)


class Metric(Configurable):
    """Base of metrics: `update_state` adds a batch to the variables, `result` reads them.

    A metric whose variables depend on shapes makes them in `build(y_true_shape, y_pred_shape)`,
    which is called before anything is traced.

    Args:
        dtype: type of the result; None is `floatx`. Statistics stay float32 under half types.
        name: the metric's name; None makes one from the class.

    >>> class Largest(Metric):
    ...     def __init__(self, name="largest", **kwargs):
    ...         super().__init__(name=name, **kwargs)
    ...         self.top = self.add_variable((), "zeros", name="top")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.top.assign(jnp.maximum(self.top.value, jnp.max(jnp.asarray(y_pred))))
    ...
    ...     def result(self):
    ...         return self.top.value
    >>> float(Largest()([0.0, 0.0], [3.0, 4.0]))
    4.0
    """

    built = True  # set to False in __init__ by metrics that make variables in `build`

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or unique_name(snake_case(type(self).__name__))
        self.dtype: str = dtypes.get_policy(dtype or dtypes.floatx()).compute_dtype
        self._variables: list[Variable] = []

    def __post_init__(self: Any) -> None:
        """For metrics that are dataclasses: their fields are the constructor's arguments."""
        Metric.__init__(self, self.dtype, self.name)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = None,
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """A new statistic; `initializer` is a name, an initializer or None for zeros."""
        if not hasattr(self, "_variables"):
            raise RuntimeError(
                f"{type(self).__name__}: call super().__init__(...) before add_variable()."
            )
        if initializer in (None, "zeros"):
            initializer = zeros
        elif isinstance(initializer, (str, dict)):
            initializer = public("initializers").get(initializer)
        if dtype is None or dtypes.standardize_dtype(dtype) in ("float16", "bfloat16"):
            dtype = "float32"  # bfloat16 counts to 256
        with state.name_scope(self.name.replace("/", ">")):
            variable = Variable(
                initializer,
                shape=tuple(shape),
                dtype=dtype,
                trainable=False,
                autocast=False,
                aggregation=aggregation,
                synchronization="on_read",
                name=name,
            )
        self._variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """The older name of `add_variable`."""
        return self.add_variable(shape, initializer, dtype=dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The statistics: those added, then those found in attributes and in metrics there."""
        found = {id(v): v for v in self._variables}
        for value in vars(self).values():
            for variable in _variables_in(value):
                found.setdefault(id(variable), variable)
        return list(found.values())

    def build(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        """Makes the variables whose shapes depend on the data's."""
        self.built = True

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Adds a batch to the statistics."""
        raise NotImplementedError(f"{type(self).__name__} defines no update_state().")

    def result(self) -> Any:
        """The metric's value: a scalar, an array, or a dictionary of scalars."""
        raise NotImplementedError(f"{type(self).__name__} defines no result().")

    def reset_state(self) -> None:
        """Sets the statistics to zero."""
        for variable in self.variables:
            variable.assign(jnp.zeros(variable.shape, variable.dtype))

    def stateless_update_state(
        self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """`update_state` as a pure function: values of `variables` in, new values out."""
        return state.pure(self.update_state, self.variables)(metric_variables, *args, **kwargs)[1]

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """`result` for these values of `variables`."""
        return state.pure(self.result, self.variables)(metric_variables)[0]

    def stateless_reset_state(self) -> list[Any]:
        """The values of `variables` after `reset_state`."""
        variables = self.variables
        return state.pure(self.reset_state, variables)([v.value for v in variables])[1]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.update_state(*args, **kwargs)
        return self.result()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _variables_in(value: Any) -> Iterator[Variable]:
    if isinstance(value, Variable):
        yield value
    elif isinstance(value, Metric):
        yield from value.variables
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _variables_in(item)
    elif isinstance(value, dict):
        yield from _variables_in(list(value.values()))
