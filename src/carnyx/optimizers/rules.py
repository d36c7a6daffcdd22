"""The algorithms: each class is its constructor and one pure rule. What they share is in `base.py`.

In the formulas g is the gradient, w the weight, a the learning rate and t the step from 1.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.optimizers.base import COMMON_DOC, Optimizer

Slots = dict[str, Any]


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} lies in [0, 1]. Received: {name}={value!r}")
    return value


class SGD(Optimizer):
    """Stochastic gradient descent: w = w - a g.

    With momentum m: v = m v - a g and w = w + v, or w = w + m v - a g with `nesterov`
    (Sutskever et al. 2013).

    >>> SGD(0.1, momentum=0.9).get_config()["momentum"]
    0.9
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "SGD",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        self.momentum, self.nesterov = _fraction("momentum", momentum), nesterov
        self.groups = (("momentum",),) if momentum else ()

    def update(self, gradient: Any, param: Any, slots: Slots, step: Any, rate: Any) -> Any:
        if not self.momentum:
            return param - rate * gradient, {}
        v = self.momentum * slots["momentum"] - rate * gradient
        move = self.momentum * v - rate * gradient if self.nesterov else v
        return param + move, {"momentum": v}


class RMSprop(Optimizer):
    """w = w - a g / sqrt(v + epsilon), v = rho v + (1 - rho) g^2 (Tieleman and Hinton 2012).

    `centered` takes the square of the mean gradient off v; with momentum m the step is
    u = m u + a g / sqrt(v + epsilon).

    >>> RMSprop().get_config()["rho"]
    0.9
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "rmsprop",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        self.rho, self.momentum = _fraction("rho", rho), _fraction("momentum", momentum)
        self.epsilon, self.centered = epsilon, centered
        self.groups = (
            ("velocity",),
            *((("momentum",),) if momentum else ()),
            *((("average_gradient",),) if centered else ()),
        )

    def update(self, gradient: Any, param: Any, slots: Slots, step: Any, rate: Any) -> Any:
        new = {"velocity": self.rho * slots["velocity"] + (1 - self.rho) * gradient * gradient}
        square = new["velocity"]
        if self.centered:
            mean = self.rho * slots["average_gradient"] + (1 - self.rho) * gradient
            new["average_gradient"] = mean
            square = square - mean * mean
        move = rate * gradient / jnp.sqrt(square + self.epsilon)
        if self.momentum:
            move = new["momentum"] = self.momentum * slots["momentum"] + move
        return param - move, new


class Adam(Optimizer):
    """w = w - a' m / (sqrt(v) + epsilon) (Kingma and Ba 2015).

    m = m + (1 - beta_1)(g - m), v = v + (1 - beta_2)(g^2 - v), and the corrections of both starts
    in one factor, a' = a sqrt(1 - beta_2^t) / (1 - beta_1^t). `amsgrad` uses the greatest v so far
    (Reddi et al. 2018).

    >>> Adam(0.01).get_config()["beta_2"]
    0.999
    """

    groups = (("momentum", "velocity"),)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        self.beta_1, self.beta_2 = _fraction("beta_1", beta_1), _fraction("beta_2", beta_2)
        self.epsilon, self.amsgrad = epsilon, amsgrad
        if amsgrad:
            self.groups = (*type(self).groups, ("velocity_hat",))

    def update(self, gradient: Any, param: Any, slots: Slots, step: Any, rate: Any) -> Any:
        m = slots["momentum"] + (gradient - slots["momentum"]) * (1 - self.beta_1)
        v = slots["velocity"] + (gradient * gradient - slots["velocity"]) * (1 - self.beta_2)
        new = {"momentum": m, "velocity": v}
        if self.amsgrad:
            v = new["velocity_hat"] = jnp.maximum(slots["velocity_hat"], v)
        # Scalars: computed once a step, not once an element.
        rate = rate * jnp.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        return param - m * rate / (jnp.sqrt(v) + self.epsilon), new


class AdamW(Adam):
    """Adam whose weight decay is not mixed into the gradient (Loshchilov and Hutter 2019):
    w = w - a weight_decay w before Adam's own step.

    >>> AdamW().get_config()["weight_decay"]
    0.004
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "adamw",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        if weight_decay is None:
            raise ValueError("AdamW: weight_decay is a number. For no decay use Adam.")


RULES = (SGD, RMSprop, Adam, AdamW)
for _rule in RULES:
    _rule.__doc__ = (_rule.__doc__ or "").rstrip() + "\n" + COMMON_DOC
