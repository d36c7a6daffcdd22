"""Loss scaling: keeps float16 gradients from vanishing (Micikevicius et al. 2018)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.core import state
from carnyx.core.config import serialize_object
from carnyx.core.variable import Variable
from carnyx.optimizers.base import Optimizer, all_finite, conditionally


class LossScaleOptimizer(Optimizer):
    """Wraps an optimizer: the loss is multiplied by a scale that adapts, the gradients divided.

    A step with a gradient that is not finite is left out and halves the scale; after
    `dynamic_growth_steps` good steps in a row it doubles.

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
            raise ValueError(f"LossScaleOptimizer wraps an optimizer. Got {inner_optimizer!r}")
        super().__init__(0.0, name=name or "loss_scale_optimizer", **kwargs)
        self.inner_optimizer = inner_optimizer
        self.initial_scale, self.dynamic_growth_steps = initial_scale, dynamic_growth_steps
        with state.name_scope(self.name):
            self.step_counter = Variable(0, dtype="int32", trainable=False, name="step_counter")
            self.dynamic_scale = Variable(
                float(initial_scale), dtype="float32", trainable=False, name="dynamic_scale"
            )

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def variables(self) -> list[Variable]:
        return [self.step_counter, self.dynamic_scale, *self.inner_optimizer.variables]

    def build(self, variables: Any) -> None:
        self.inner_optimizer.build(variables)
        self.built = True

    def scale_loss(self, loss: Any) -> Any:
        scaled = self.inner_optimizer.scale_loss(loss)
        return scaled * self.dynamic_scale.value

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        inner = self.inner_optimizer
        params = list(inner._parameters if trainable_variables is None else trainable_variables)
        if not self.built:
            self.build(params)
        scale, good = self.dynamic_scale.value, self.step_counter.value + 1
        gradients = [g.astype(jnp.float32) / scale for g in grads]
        finite = all_finite(gradients)
        conditionally(
            finite, lambda: inner.apply(gradients, params), [*params, *inner.variables]
        )
        grown = good >= self.dynamic_growth_steps
        self.step_counter.assign(jnp.where(finite & ~grown, good, 0))
        up = jnp.where(grown, scale * 2, scale)
        self.dynamic_scale.assign(jnp.where(finite, up, scale / 2))

    def finalize_variable_values(self, var_list: Any) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialize_object(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }
