"""The algorithms: each class is its constructor and one pure rule. What they share is in `base.py`.

In the formulas g is the gradient, w the weight, a the learning rate and t the step from 1.
"""

from __future__ import annotations

import re
from typing import Any

import jax.numpy as jnp
import numpy as np

from carnyx.core.composite import composite
from carnyx.core.fields import declared
from carnyx.optimizers.base import COMMON_DOC, Fraction, FromZero, Optimizer, Rule, Steps, in_range

Slots = dict[str, Any]
Updated = tuple[Any, Slots]


@declared
class SGD(Rule):
    """Stochastic gradient descent: w = w - a g.

    With momentum m: v = m v - a g and w = w + v, or w = w + m v - a g with `nesterov`
    (Sutskever et al. 2013).

    >>> SGD(0.1, momentum=0.9).get_config()["momentum"]
    0.9
    """

    learning_rate: Any = 0.01
    momentum: Fraction = 0.0
    nesterov: bool = False

    def _set_up(self) -> None:
        self.groups = (("momentum",),) if self.momentum else ()

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        step = now * gradient
        if not self.momentum:
            return param - step, {}
        v = self.momentum * slots["momentum"] - step
        return param + (self.momentum * v - step if self.nesterov else v), {"momentum": v}


@declared
class RMSprop(Rule):
    """w = w - a g / sqrt(v + epsilon), v = rho v + (1 - rho) g^2 (Tieleman and Hinton 2012).

    `centered` takes the square of the mean gradient off v; with momentum m the step is
    u = m u + a g / sqrt(v + epsilon).

    >>> RMSprop().get_config()["rho"]
    0.9
    """

    learning_rate: Any = 0.001
    rho: Fraction = 0.9
    momentum: Fraction = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def _set_up(self) -> None:
        optional = {"momentum": self.momentum > 0, "average_gradient": self.centered}
        self.groups = (("velocity",), *((name,) for name, used in optional.items() if used))

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        rho = self.rho
        square = rho * slots["velocity"] + (1 - rho) * jnp.square(gradient)
        new = {"velocity": square}
        if self.centered:
            mean = rho * slots["average_gradient"] + (1 - rho) * gradient
            new["average_gradient"] = mean
            square = square - jnp.square(mean)
        step = now * gradient / jnp.sqrt(square + self.epsilon)
        if self.momentum:
            step = new["momentum"] = self.momentum * slots["momentum"] + step
        return param - step, new


def _moments(g: Any, m: Any, v: Any, of_m: Any, of_v: Any) -> tuple[Any, Any]:
    """The running means of g and of g^2, which go to it by these shares of the way."""
    return m + (g - m) * of_m, v + (jnp.square(g) - v) * of_v


@declared
class _Moments(Rule):
    """What the Adam family shares: running means of g and of a power of g."""

    groups = (("momentum", "velocity"),)

    learning_rate: Any = 0.001
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: float = 1e-7

    def _means(self, gradient: Any, slots: Slots) -> tuple[Any, Any]:
        m, v = slots["momentum"], slots["velocity"]
        return _moments(gradient, m, v, *self._shares(gradient.dtype))

    def _shares(self, dtype: Any) -> tuple[Any, Any]:
        return self._complement(self.beta_1, dtype), self._complement(self.beta_2, dtype)

    def _complement(self, beta: float, dtype: Any) -> Any:
        return 1 - beta


@composite("adam")
def _adam(
    g: Any, w: Any, a: Any, of_m: Any, of_v: Any, epsilon: Any, m: Any, v: Any, *top: Any
) -> tuple[Any, ...]:
    """The step of `Adam`: w and the slots, of which `top` is that of `amsgrad`."""
    m, v = _moments(g, m, v, of_m, of_v)
    top = tuple(jnp.maximum(t, v) for t in top)
    return w - m * a / (jnp.sqrt(top[0] if top else v) + epsilon), m, v, *top


@declared
class Adam(_Moments):
    """w = w - a' m / (sqrt(v) + epsilon) (Kingma and Ba 2015).

    m = m + (1 - beta_1)(g - m), v = v + (1 - beta_2)(g^2 - v), and the corrections of both starts
    in one factor, a' = a sqrt(1 - beta_2^t) / (1 - beta_1^t). `amsgrad` uses the greatest v so far
    (Reddi et al. 2018).

    >>> Adam(0.01).get_config()["beta_2"]
    0.999
    """

    learning_rate: Any = 0.001
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False

    def _set_up(self) -> None:
        if self.amsgrad:
            self.groups = (*_Moments.groups, ("velocity_hat",))

    def prepare(self, step: Any, rate: Any) -> Any:
        return rate * jnp.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        names = [name for group in self.groups for name in group]
        numbers = now, *self._shares(gradient.dtype), self.epsilon
        param, *held = _adam(gradient, param, *numbers, *(slots[name] for name in names))
        return param, dict(zip(names, held, strict=True))


@declared
class AdamW(Adam):
    """Adam with weight decay beside the gradient, not in it: w = w - a weight_decay w before
    Adam's own step (Loshchilov and Hutter 2019).

    >>> AdamW().get_config()["weight_decay"]
    0.004
    """

    learning_rate: Any = 0.001
    weight_decay: float = 0.004
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False

    def _set_up(self) -> None:
        super()._set_up()
        if self.weight_decay is None:
            raise ValueError("AdamW: weight_decay is a number. Received: None. (Use Adam.)")


class Adamax(_Moments):
    """w = w - a m / ((1 - beta_1^t)(u + epsilon)), u = max(beta_2 u, |g|), m as in Adam
    (Kingma and Ba 2015, section 7.1).

    >>> Adamax().groups
    (('momentum', 'norm'),)
    """

    groups = (("momentum", "norm"),)

    def prepare(self, step: Any, rate: Any) -> Any:
        return rate / (1 - self.beta_1**step)

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        m = slots["momentum"] + (gradient - slots["momentum"]) * (1 - self.beta_1)
        u = jnp.maximum(self.beta_2 * slots["norm"], jnp.abs(gradient))
        return param - now * m / (u + self.epsilon), {"momentum": m, "norm": u}


class Nadam(_Moments):
    """Adam with Nesterov's momentum (Dozat 2016).

    w = w - a m' / (sqrt(v / (1 - beta_2^t)) + epsilon), where
    m' = u_{t+1} m / (1 - U_{t+1}) + (1 - u_t) g / (1 - U_t), u_t = beta_1 (1 - 0.96^t / 2) and U_t
    is the product of u_1 to u_t.

    >>> Nadam().get_config()["beta_1"]
    0.9
    """

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._product = self._add(1.0, "float32", "momentum_product")

    def _complement(self, beta: float, dtype: Any) -> Any:
        # Keras rounds beta to the weights' type before it takes the complement, here alone: for
        # 0.999 the two differ by 5e-5 of the step
        return 1 - dtype.type(beta)

    def _momentum(self, step: Any) -> Any:
        return self.beta_1 * (1 - 0.5 * 0.96**step)

    def begin(self, step: Any) -> None:
        self._product.assign(self._product.value * self._momentum(step))

    def prepare(self, step: Any, rate: Any) -> Any:
        product, following = self._product.value, self._momentum(step + 1)
        of_mean = following / (1 - product * following)
        of_gradient = (1 - self._momentum(step)) / (1 - product)
        return rate, of_mean, of_gradient, 1 - self.beta_2**step

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        rate, of_mean, of_gradient, correction = now
        m, v = self._means(gradient, slots)
        looked_ahead = of_mean * m + of_gradient * gradient
        step = rate * looked_ahead / (jnp.sqrt(v / correction) + self.epsilon)
        return param - step, {"momentum": m, "velocity": v}


class Lamb(_Moments):
    """Adam's step r, scaled so that each weight array moves in proportion to its own norm:
    w = w - a (|w| / |r|) r (You et al. 2020).

    r = (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon); the ratio is 1 where a norm
    is 0.

    >>> Lamb().get_config()["beta_2"]
    0.999
    """

    def prepare(self, step: Any, rate: Any) -> Any:
        return rate, 1 - self.beta_1**step, 1 - self.beta_2**step

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        rate, correction_1, correction_2 = now
        m, v = self._means(gradient, slots)
        r = (m / correction_1) / (jnp.sqrt(v / correction_2) + self.epsilon)
        size, length = (jnp.sqrt(jnp.sum(jnp.square(x))) for x in (param, r))
        usable = (size > 0) & (length > 0)
        ratio = jnp.where(usable, size / jnp.where(usable, length, 1), 1)
        return param - rate * ratio * r, {"momentum": m, "velocity": v}


@declared
class Adagrad(Rule):
    """w = w - a g / sqrt(s + epsilon), s = s + g^2 from `initial_accumulator_value` (Duchi et al.
    2011).

    >>> Adagrad().get_config()["initial_accumulator_value"]
    0.1
    """

    groups = (("accumulator",),)

    learning_rate: Any = 0.001
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    def start(self, slot: str, param: Any) -> Any:
        return np.full(param.shape, self.initial_accumulator_value, "float32")

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        total = slots["accumulator"] + jnp.square(gradient)
        return param - now * gradient / jnp.sqrt(total + self.epsilon), {"accumulator": total}


@declared
class Adadelta(Rule):
    """w = w - a d, d = sqrt(x + epsilon) g / sqrt(s + epsilon), where s and x are running means
    of g^2 and d^2: s = rho s + (1 - rho) g^2 (Zeiler 2012).

    >>> Adadelta().get_config()["rho"]
    0.95
    """

    groups = (("accumulated_grad", "accumulated_delta_var"),)

    learning_rate: Any = 0.001
    rho: Fraction = 0.95
    epsilon: float = 1e-7

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        rho, moved = self.rho, slots["accumulated_delta_var"]
        square = rho * slots["accumulated_grad"] + (1 - rho) * jnp.square(gradient)
        step = jnp.sqrt(moved + self.epsilon) * gradient / jnp.sqrt(square + self.epsilon)
        moved = rho * moved + (1 - rho) * jnp.square(step)
        return param - now * step, {"accumulated_grad": square, "accumulated_delta_var": moved}


@declared
class Lion(Rule):
    """w = w - a sign(beta_1 m + (1 - beta_1) g), m = beta_2 m + (1 - beta_2) g (Chen et al. 2023).

    >>> Lion().get_config()["beta_2"]
    0.99
    """

    groups = (("momentum",),)

    learning_rate: Any = 0.001
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.99

    def _set_up(self) -> None:
        if self.beta_1 == 0:
            raise ValueError("Lion: beta_1 is above 0; at 0 only the gradient's sign is left.")

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        m = slots["momentum"]
        direction = jnp.sign(self.beta_1 * m + (1 - self.beta_1) * gradient)
        return param - now * direction, {"momentum": self.beta_2 * m + (1 - self.beta_2) * gradient}


@declared
class Ftrl(Rule):
    """Follow the regularized leader: sparse weights by an L1 penalty (McMahan et al. 2013).

    n' = n + g^2, z = z + g + 2 shrinkage w - (n'^p - n^p) w / a with p = -learning_rate_power,
    w = (clip(z, -l1, l1) - z) / (n'^p / a + 2 l2 + beta / a); n starts at
    `initial_accumulator_value`.

    >>> Ftrl().get_config()["learning_rate_power"]
    -0.5
    """

    groups = (("accumulator", "linear"),)

    learning_rate: Any = 0.001
    learning_rate_power: float = -0.5
    initial_accumulator_value: FromZero = 0.1
    l1_regularization_strength: FromZero = 0.0
    l2_regularization_strength: FromZero = 0.0
    l2_shrinkage_regularization_strength: FromZero = 0.0
    beta: float = 0.0

    def _set_up(self) -> None:
        in_range("Ftrl", -np.inf, 0, learning_rate_power=self.learning_rate_power)

    def start(self, slot: str, param: Any) -> Any:
        value = self.initial_accumulator_value if slot == "accumulator" else 0.0
        return np.full(param.shape, value, "float32")

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        power, l1 = -self.learning_rate_power, self.l1_regularization_strength
        n = slots["accumulator"] + jnp.square(gradient)
        grown = n**power
        shrunk = gradient + 2 * self.l2_shrinkage_regularization_strength * param
        z = slots["linear"] + shrunk - (grown - slots["accumulator"] ** power) / now * param
        curvature = grown / now + 2 * (self.l2_regularization_strength + self.beta / (2 * now))
        new = (jnp.clip(z, -l1, l1) - z) / curvature
        return new, {"accumulator": n, "linear": z}


@declared
class Adafactor(Rule):
    """Adam without momentum, whose second moments of a matrix are kept as row and column means
    (Shazeer and Stern 2018).

    v = r c / mean(r) with running means r and c of g^2 + epsilon_1 over columns and rows, decay
    1 - t^beta_2_decay; u = g / sqrt(v); w = w - a' u / max(1, rms(u) / clip_threshold), with
    a' = max(epsilon_2, rms(w)) min(a, 1 / sqrt(t)).

    >>> Adafactor().get_config()["clip_threshold"]
    1.0
    """

    groups = (("row", "column", "velocity"),)

    learning_rate: Any = 0.001
    beta_2_decay: float = -0.8
    epsilon_1: float = 1e-30
    epsilon_2: float = 1e-3
    clip_threshold: float = 1.0
    relative_step: bool = True

    def start(self, slot: str, param: Any) -> Any:
        shape = tuple(param.shape)
        if slot != "velocity":  # vectors have no rows; the scalars keep places in files
            shape = () if len(shape) < 2 else (*shape[:-2], shape[-2 if slot == "row" else -1])
        return np.zeros(shape, "float32")

    def prepare(self, step: Any, rate: Any) -> Any:
        return jnp.minimum(rate, 1 / jnp.sqrt(step)), 1 - step**self.beta_2_decay

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        rate, decay = now
        square = jnp.square(gradient) + self.epsilon_1
        row, column, v = slots["row"], slots["column"], slots["velocity"]
        if param.ndim >= 2:
            row = decay * row + (1 - decay) * jnp.mean(square, axis=-1)
            column = decay * column + (1 - decay) * jnp.mean(square, axis=-2)
            share = row / jnp.mean(row, axis=-1, keepdims=True)
            v = share[..., :, None] * column[..., None, :]
        else:
            v = decay * v + (1 - decay) * square
        u = gradient / jnp.sqrt(v)
        u = u / jnp.maximum(1, _rms(u) / self.clip_threshold)
        step = jnp.maximum(self.epsilon_2, _rms(param)) * rate
        return param - step * u, {"row": row, "column": column, "velocity": v}


@declared
class Muon(Rule):
    """Momentum whose matrix is replaced by the nearest one with all singular values alike (Jordan
    et al. 2024), at Adam's step size (Liu et al. 2025).

    For matrices: M = momentum M + g, G = g + momentum M with `nesterov` or else M, X = G / |G|,
    then `ns_steps` times X = a X + (b A + c A^2) X with A = X X', which drives the singular values
    towards 1, and w = w - learning_rate sqrt(max(rows, columns)) rms_rate X (None: no such factor).

    Other weights, embeddings and what `exclude_layers` names have Adam's rule.

    Args:
        adam_beta_1, adam_beta_2, epsilon, adam_weight_decay: of Adam's rule, with the learning rate
            times `adam_lr_ratio`.
        exclude_layers: patterns searched for in weights' paths, such as the output layer's name.
        exclude_embeddings: whether paths with "embedding" in them count as excluded.
        muon_a, muon_b, muon_c: a, b, c.
        momentum: the fraction kept, in [0, 1].

    >>> Muon(exclude_layers=["output"]).get_config()["exclude_layers"]
    ['output']
    """

    groups = (("momentum", "velocity"),)

    learning_rate: Any = 0.001
    adam_beta_1: Fraction = 0.9
    adam_beta_2: Fraction = 0.999
    adam_weight_decay: float | None = 0.004
    epsilon: float = 1e-7
    weight_decay: float | None = 0.004
    clipnorm: float | None = None  # and the rest of `Rule`, which Keras has here
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None
    loss_scale_factor: float | None = None
    gradient_accumulation_steps: int | None = None
    name: str | None = None
    exclude_layers: list[str] | None = None
    exclude_embeddings: bool = True
    muon_a: float = 3.4445
    muon_b: float = -4.7750
    muon_c: float = 2.0315
    adam_lr_ratio: FromZero = 1
    momentum: Fraction = 0.95
    ns_steps: Steps = 5
    nesterov: bool = True
    rms_rate: float | None = 0.2

    def _set_up(self) -> None:
        if isinstance(self.exclude_layers, str):
            raise ValueError(f"Muon: exclude_layers is a list. Received: {self.exclude_layers!r}")
        self.exclude_layers = list(self.exclude_layers or [])

    def _uses_adam(self, param: Any) -> bool:
        embedding = self.exclude_embeddings and "embedding" in param.path.lower()
        named = any(re.search(pattern, param.path) for pattern in self.exclude_layers or ())
        return len(param.shape) != 2 or embedding or named

    def start(self, slot: str, param: Any) -> Any:
        absent = slot == "velocity" and not self._uses_adam(param)
        return None if absent else super().start(slot, param)

    def _decay_rate(self, param: Any) -> float | None:
        return self.adam_weight_decay if self._uses_adam(param) else self.weight_decay

    def prepare(self, step: Any, rate: Any) -> Any:
        correction = jnp.sqrt(1 - self.adam_beta_2**step) / (1 - self.adam_beta_1**step)
        return rate, rate * self.adam_lr_ratio * correction

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        rate, adam_rate = now
        m = slots["momentum"]
        if "velocity" in slots:
            v = slots["velocity"]
            m = m + (gradient - m) * (1 - self.adam_beta_1)
            v = v + (jnp.square(gradient) - v) * (1 - self.adam_beta_2)
            step = m * adam_rate / (jnp.sqrt(v) + self.epsilon)
            return param - step, {"momentum": m, "velocity": v}
        m = self.momentum * m + gradient
        step = rate * self._levelled(gradient + self.momentum * m if self.nesterov else m)
        if self.rms_rate is not None:
            step = step * (np.sqrt(max(param.shape)) * self.rms_rate)
        return param - step, {"momentum": m}

    def _levelled(self, x: Any) -> Any:
        """The matrix with its singular values near 1, by iterations on its smaller side."""
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / (jnp.sqrt(jnp.sum(jnp.square(x))) + 1e-7)  # a zero gradient stays zero
        for _ in range(self.ns_steps):
            square = x @ x.T
            x = self.muon_a * x + (self.muon_b * square + self.muon_c * square @ square) @ x
        return x.T if tall else x


@declared
class ScheduleFreeAdamW(_Moments):
    """Adam that needs no schedule, as it trains at y, between the point z that takes the steps and
    the mean x of all z (Defazio et al. 2024).

    v = v + (1 - beta_2)(g^2 - v) with the gradient g at y; z = z - a g / (sqrt(v / (1 - beta_2^t))
    + epsilon); x = x + (z - x) / t; y = (1 - beta_1) z + beta_1 x, with x found again from y and z.

    The weights are y during training, as in Keras. Models of Carnyx put x in their place for
    `evaluate`, for validation and when `fit` ends, and y back before they train on
    (`use_averages`); Keras leaves y there. After reading a file of x, x starts off by
    (z - x)(1 - beta_1) / beta_1. The paper's mean has the rate's square as weight and decays z.

    Args:
        beta_1: the place of y between z (0, excluded) and x (1).
        warmup_steps: the rate grows over these steps from 0.

    >>> ScheduleFreeAdamW(warmup_steps=10).get_config()["warmup_steps"]
    10
    """

    learning_rate: Any = 0.0025
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: float = 1e-8
    warmup_steps: Steps = 0

    def _set_up(self) -> None:
        if self.beta_1 == 0:
            raise ValueError("ScheduleFreeAdamW: beta_1 is above 0; at 0 the mean x has no trace.")
        self._averages_in_place = False

    def start(self, slot: str, param: Any) -> Any:
        return param.numpy() if slot == "momentum" else super().start(slot, param)

    def prepare(self, step: Any, rate: Any) -> Any:
        if self.warmup_steps:
            rate = rate * jnp.minimum(step / self.warmup_steps, 1)
        return rate, 1 / step, 1 - self.beta_2**step

    def update(self, gradient: Any, param: Any, slots: Slots, now: Any) -> Updated:
        rate, share, correction = now
        z, v = slots["momentum"], slots["velocity"]
        # beta_2 rounded as in beta_2^t: at t = 1 the two must cancel
        v = v + (jnp.square(gradient) - v) * (1 - gradient.dtype.type(self.beta_2))
        x = self._mean(param, z)
        z = z - rate * gradient / (jnp.sqrt(v / correction) + self.epsilon)
        x = (1 - share) * x + share * z
        return (1 - self.beta_1) * z + self.beta_1 * x, {"momentum": z, "velocity": v}

    def _mean(self, y: Any, z: Any) -> Any:
        return (y - (1 - self.beta_1) * z) / self.beta_1

    def use_averages(self, yes: bool) -> None:
        if yes == self._averages_in_place or self.use_ema or not self.built:
            return
        for param, slot in zip(self._parameters, self._slots["momentum"], strict=True):
            z = slot.value
            held = param.value.astype(z.dtype)
            y = (1 - self.beta_1) * z + self.beta_1 * held
            param.assign(self._mean(held, z) if yes else y)
        self._averages_in_place = yes

    def finalize_variable_values(self, var_list: Any) -> None:
        super().finalize_variable_values(var_list)
        self.use_averages(True)


def _rms(x: Any) -> Any:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


# The classes above without an underscore.
RULES: tuple[type[Optimizer], ...] = tuple(
    rule
    for name, rule in list(vars().items())
    if isinstance(rule, type) and rule.__module__ == __name__ and not name.startswith("_")
)
__all__ = [rule.__name__ for rule in RULES]  # noqa: PLE0605
for _rule in RULES:
    _rule.__doc__ = (_rule.__doc__ or "").rstrip() + "\n" + COMMON_DOC
