"""Loss scaling: keeps float16 gradients from vanishing. What it wraps is in `rules.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from carnyx.core.variable import Variable
from carnyx.optimizers.base import Optimizer, all_finite, kept_if


class Wrapper(Optimizer):
    """An optimizer whose updates are done by others: what it passes on to all of them."""

    _optimizers: list[Optimizer]

    @property
    def variables(self) -> list[Variable]:
        return [*super().variables, *(v for inner in self._optimizers for v in inner.variables)]

    @property
    def averages(self) -> list[tuple[Variable, Variable]]:
        return [pair for inner in self._optimizers for pair in inner.averages]

    def use_averages(self, yes: bool) -> None:
        for inner in self._optimizers:
            inner.use_averages(yes)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        for inner in self._optimizers:
            inner.exclude_from_weight_decay(var_list, var_names)


class LossScaleOptimizer(Wrapper):
    """Wraps an optimizer: the loss is multiplied by a scale that adapts, the gradients divided.

    A step with a gradient that is not finite is left out and halves the scale; after
    `dynamic_growth_steps` good steps in a row it doubles (Micikevicius et al. 2018).

    Args:
        inner_optimizer: does the updates; clipping and the like are its arguments.
        initial_scale: above 0, a power of two lest scaling round.
        dynamic_growth_steps: from 1.
        name: of the optimizer.

    >>> from carnyx.optimizers import SGD
    >>> float(LossScaleOptimizer(SGD(), initial_scale=8.0).scale_loss(2.0))
    16.0
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(inner_optimizer, Optimizer):
            raise ValueError(
                f"LossScaleOptimizer wraps an Optimizer. Received: {inner_optimizer!r}"
            )
        given = [key for key, value in kwargs.items() if value not in (None, False, 0.99)]
        if given:
            raise ValueError(
                f"LossScaleOptimizer takes no {given[0]!r}: give it to the inner optimizer."
            )
        super().__init__(0.0, name=name)
        self.inner_optimizer, self._optimizers = inner_optimizer, [inner_optimizer]
        inner_optimizer.loss_scale_factor = None  # or the gradients would be divided twice
        self.initial_scale, self.dynamic_growth_steps = initial_scale, dynamic_growth_steps
        self.step_counter = self._add(0, "int32", "step_counter")
        self.dynamic_scale = self._add(float(initial_scale), "float32", "dynamic_scale")

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    def _all_parameters(self) -> list[Variable]:
        return self.inner_optimizer._all_parameters()

    def build(self, variables: Sequence[Variable]) -> None:
        self.inner_optimizer.build(variables)
        self.built = True

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale of now."""
        return loss * self.dynamic_scale.value  # in float32, where 2^15 times a loss has room

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        inner, scale = self.inner_optimizer, self.dynamic_scale.value
        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
        params = list(trainable_variables or inner._all_parameters())
        gradients = [None if g is None else g.astype(jnp.float32) / scale for g in grads]
        finite = all_finite(g for g in gradients if g is not None)
        kept_if(finite, lambda: inner.apply(gradients, params), [*params, *inner.variables])
        good = self.step_counter.value + 1
        grown = good >= self.dynamic_growth_steps
        self.step_counter.assign(jnp.where(finite & ~grown, good, 0))
        up = jnp.where(grown, scale * 2, scale)
        self.dynamic_scale.assign(jnp.where(finite, up, scale / 2))

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        return owner is LossScaleOptimizer
