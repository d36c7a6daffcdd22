"""Optimizer: everything that algorithms share, said once.

An algorithm (`rules.py`) is a pure rule from a gradient, a parameter and its slots to new ones.
Here is what happens around it: learning rate, clipping, weight decay, accumulation of gradients,
moving averages of the weights, constraints, saving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from carnyx.core import dtypes, state
from carnyx.core.config import Configurable, unique_name
from carnyx.core.variable import Variable
from carnyx.optimizers.schedules import LearningRateSchedule

COMMON_DOC = """
    Shared arguments:
        learning_rate: a number from 0, or a LearningRateSchedule of the step.
        weight_decay: each step takes this fraction times the learning rate off every weight.
        clipnorm, clipvalue, global_clipnorm: bound on a gradient's norm, its elements, or the norm
            of all gradients together; one of them at most.
        use_ema, ema_momentum, ema_overwrite_frequency: keep an exponential moving average of the
            weights (momentum is the fraction kept) and put it in their place every so many steps.
        loss_scale_factor: the loss is multiplied by it and the gradients divided.
        gradient_accumulation_steps: update once in so many calls, with the mean gradient.
        name: of the optimizer and its variables.
"""


class Optimizer(Configurable):
    """Base of all optimizers. A subclass sets `groups` and defines `update`.

    `groups` lists the slots: a tuple of names holds slots that stand side by side, parameter by
    parameter, in files. `update(gradient, param, slots, step, rate)` is pure: slots is a dict by
    name, step the number of this update from 1 (a float scalar), and it returns the new parameter
    and the new slots.
    """

    groups: tuple[tuple[str, ...], ...] = ()

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "optimizer",
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise ValueError(
                f"{type(self).__name__} has no argument {next(iter(kwargs))!r}. "
                "Older names are gone: lr is learning_rate, decay is a LearningRateSchedule."
            )
        self.name = name or unique_name(type(self).__name__.lower())
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        if sum(value is not None for value in clips.values()) > 1:
            raise ValueError(f"{self.name}: give one of clipnorm, clipvalue, global_clipnorm.")
        for key, value in clips.items():
            if value is not None and value <= 0:
                raise ValueError(f"{self.name}: {key} is above 0. Received: {value!r}")
        if gradient_accumulation_steps is not None and gradient_accumulation_steps < 2:
            raise ValueError(
                f"{self.name}: gradient_accumulation_steps is a whole number from 2, or None. "
                f"Received: {gradient_accumulation_steps!r}"
            )
        if use_ema and not 0 <= ema_momentum <= 1:
            raise ValueError(f"{self.name}: ema_momentum lies in [0, 1]. Got {ema_momentum!r}")
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._undecayed: list[Any] = []
        with state.name_scope(self.name):
            self.iterations = Variable(0, dtype="int32", trainable=False, name="iterations")
            self._rate = self._make_rate(learning_rate)
        self._parameters: list[Variable] = []
        self._slots: dict[str, list[Variable]] = {}
        self._order: list[Variable] = []

    def _make_rate(self, given: Any) -> Any:
        if isinstance(given, dict):
            from carnyx.optimizers import schedules

            given = schedules.deserialize(given)
        if isinstance(given, LearningRateSchedule):
            return given
        if callable(given):
            return given
        value = np.asarray(given, "float32")
        if value.ndim or not np.isfinite(value) or value < 0:
            raise ValueError(
                f"{self.name}: learning_rate is a finite number from 0 or a LearningRateSchedule. "
                f"Received: {given!r}"
            )
        return Variable(value, dtype="float32", trainable=False, name="learning_rate")

    @property
    def learning_rate(self) -> Any:
        """The rate now; assigning a number changes it without compiling anything again."""
        if isinstance(self._rate, Variable):
            return self._rate
        return self._rate(self.iterations.value) if callable(self._rate) else self._rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(self._rate, Variable) and not callable(value):
            self._rate.assign(float(value))
        elif isinstance(self._rate, Variable):
            raise TypeError(
                f"{self.name} was made with a number as learning_rate, so it cannot become a "
                "schedule. Make the optimizer with the schedule and compile again."
            )
        else:
            raise TypeError(
                f"The learning rate of {self.name} is a schedule: it cannot be assigned. Make the "
                "optimizer with a number to change it by hand."
            )

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name == "learning_rate":
            return float(self._rate) if isinstance(self._rate, Variable) else self._rate
        return super()._config_value(name, recorded, owner)

    # ---- the rule

    def start(self, slot: str, param: Any) -> Any:
        """A slot's value before the first update: zeros, unless a rule says otherwise."""
        return jnp.zeros(param.shape, _statistics_dtype(param))

    def update(
        self, gradient: Any, param: Any, slots: dict[str, Any], step: Any, rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The rule: a new parameter and new slots."""
        raise NotImplementedError(f"{type(self).__name__} must define update().")

    # ---- variables

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the slots of these parameters."""
        if self.built:
            return
        self._parameters = list(variables)
        made: list[Variable] = []
        with state.name_scope(self.name):
            if self.use_ema:
                made += self._add_group(("average",), lambda _, p: p.numpy())
            if self.gradient_accumulation_steps:
                made += self._add_group(("gradient_accumulator",), lambda _, p: np.zeros(p.shape))
            for group in self.groups:
                made += self._add_group(group, self.start)
        self._order = made
        self.built = True

    def _add_group(
        self, group: tuple[str, ...], start: Callable[[str, Any], Any]
    ) -> list[Variable]:
        made = []
        for name in group:
            self._slots[name] = []
        for param in self._parameters:
            for name in group:
                path = f"{param.path.replace('/', '_')}_{name}"
                slot = Variable(
                    start(name, param), dtype=_statistics_dtype(param), trainable=False, name=path
                )
                self._slots[name].append(slot)
                made.append(slot)
        return made

    @property
    def variables(self) -> list[Variable]:
        """Iterations, learning rate, then the slots: the order in files."""
        rate = [self._rate] if isinstance(self._rate, Variable) else []
        return [self.iterations, *rate, *self._order]

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Weights, or parts of weights' names, that weight decay leaves alone."""
        if self.built and not (var_list or var_names):
            raise ValueError("exclude_from_weight_decay: pass var_list or var_names.")
        self._undecayed += [*(var_list or []), *(var_names or [])]

    def _decays(self, param: Variable) -> bool:
        for item in self._undecayed:
            if item is param or (isinstance(item, str) and item in param.path):
                return False
        return True

    def save_own_variables(self, store: Any) -> None:
        """Puts the variables' values into a dict-like store, as "0", "1"..."""
        for index, variable in enumerate(self.variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Takes them back."""
        if len(store.keys()) != len(self.variables):
            raise ValueError(
                f"Optimizer '{self.name}' has {len(self.variables)} variables, the file "
                f"{len(store.keys())}. Build the optimizer for the same weights first."
            )
        for index, variable in enumerate(self.variables):
            variable.assign(np.asarray(store[str(index)]))

    # ---- updates

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the loss scale."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def apply_gradients(self, grads_and_vars: Any) -> Any:
        """Updates variables from (gradient, variable) pairs."""
        gradients, variables = zip(*grads_and_vars, strict=True)
        self.apply(gradients, variables)
        return self.iterations

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Updates the variables (by default those that it was built for) with their gradients."""
        if trainable_variables is None:
            trainable_variables = self._parameters
        params = list(trainable_variables)
        if len(params) != len(grads):
            raise ValueError(f"{self.name}: {len(grads)} gradients for {len(params)} variables.")
        if not self.built:
            self.build(params)
        pairs = [(g, p) for g, p in zip(grads, params, strict=True) if g is not None]
        if self.loss_scale_factor is not None:
            pairs = [(g / self.loss_scale_factor, p) for g, p in pairs]
        if self.gradient_accumulation_steps:
            self._accumulate(pairs)
        else:
            self._update(pairs, self.iterations.value)
        self.iterations.assign_add(1)

    def _accumulate(self, pairs: list[tuple[Any, Variable]]) -> None:
        every = self.gradient_accumulation_steps or 1
        places = [self._place(p) for _, p in pairs]
        sums = [self._slots["gradient_accumulator"][i] for i in places]
        totals = [s.value + g for s, (g, _) in zip(sums, pairs, strict=True)]
        params = [p for _, p in pairs]
        due = (self.iterations.value + 1) % every == 0
        step = self.iterations.value // every

        def update() -> None:
            self._update([(t / every, p) for t, p in zip(totals, params, strict=True)], step)

        conditionally(due, update, [*params, *self._order])
        for accumulator, total in zip(sums, totals, strict=True):
            accumulator.assign(jnp.where(due, jnp.zeros_like(total), total))

    def _update(self, pairs: list[tuple[Any, Variable]], iterations: Any) -> None:
        """One update of these variables; `iterations` counts the updates before it."""
        if not pairs:
            return
        gradients = self._clipped([g for g, _ in pairs])
        rate = self._rate(iterations) if not isinstance(self._rate, Variable) else self._rate.value
        step = jnp.asarray(iterations + 1, jnp.float32)
        for gradient, (_, param) in zip(gradients, pairs, strict=True):
            self._update_one(gradient, param, step, rate)
        if self.use_ema:
            self._average([p for _, p in pairs], iterations)
        for _, param in pairs:
            if param.constraint is not None:
                param.assign(param.constraint(param.value))

    def _update_one(self, gradient: Any, param: Variable, step: Any, rate: Any) -> None:
        place = self._place(param)
        names = [name for group in self.groups for name in group]
        slots = {name: self._slots[name][place] for name in names}
        exact = _statistics_dtype(param)
        value = param.value.astype(exact)
        if self.weight_decay and self._decays(param):
            value = value - value * (self.weight_decay * rate)
        values = {name: slot.value for name, slot in slots.items()}
        value, new = self.update(gradient.astype(exact), value, values, step, rate)
        param.assign(value)
        for name, slot in slots.items():
            slot.assign(new[name])

    def _place(self, param: Variable) -> int:
        for index, known in enumerate(self._parameters):
            if known is param:
                return index
        raise ValueError(
            f"Optimizer '{self.name}' was built for other variables: it has no slots for "
            f"'{param.path}'. After unfreezing or adding layers, compile the model again."
        )

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        if self.clipvalue is not None:
            return [jnp.clip(g, -self.clipvalue, self.clipvalue) for g in gradients]
        if self.clipnorm is not None:
            return [_shortened(g, jnp.sqrt(jnp.sum(g * g)), self.clipnorm) for g in gradients]
        if self.global_clipnorm is not None:
            norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients))
            return [_shortened(g, norm, self.global_clipnorm) for g in gradients]
        return gradients

    def _average(self, params: list[Variable], iterations: Any) -> None:
        momentum, every = self.ema_momentum, self.ema_overwrite_frequency
        for param in params:
            slot = self._slots["average"][self._place(param)]
            # The first average is the weights themselves, not a mix with their start.
            kept = jnp.where(iterations == 0, 0.0, momentum)
            average = kept * slot.value + (1 - kept) * param.value
            slot.assign(average)
            if every:
                param.assign(jnp.where((iterations + 1) % every == 0, average, param.value))

    def finalize_variable_values(self, var_list: Any) -> None:
        """At the end of training: the averages take the weights' place, if they are kept."""
        if self.use_ema and self.built:
            for param in var_list:
                param.assign(self._slots["average"][self._place(param)].value)

    def stateless_apply(
        self, optimizer_variables: Any, grads: Any, trainable_variables: Any
    ) -> tuple[list[Any], list[Any]]:
        """`apply` on values: (new trainable values, new optimizer values)."""
        held = [*self._parameters, *self.variables]
        run = state.pure(lambda: self.apply(grads, self._parameters), held)
        _, new = run([*trainable_variables, *optimizer_variables])
        count = len(self._parameters)
        return new[:count], new[count:]


def conditionally(condition: Any, fn: Callable[[], None], variables: Sequence[Variable]) -> None:
    """Calls `fn` where the traced `condition` holds: its assignments to `variables` count then."""
    variables = list({id(v): v for v in variables}.values())
    run = state.pure(fn, variables)
    values = [v.value for v in variables]
    new = lax.cond(condition, lambda old: run(old)[1], list, values)
    for variable, value in zip(variables, new, strict=True):
        variable.assign(value)


def _shortened(gradient: Any, norm: Any, limit: float) -> Any:
    return jnp.where(norm > limit, gradient * (limit / jnp.maximum(norm, 1e-30)), gradient)


def _statistics_dtype(param: Any) -> str:
    """Half-precision weights have their statistics in float32."""
    dtype = dtypes.standardize_dtype(param.dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def all_finite(tensors: Any) -> Any:
    """Whether every number in the tensors is finite."""
    checks = [jnp.all(jnp.isfinite(t)) for t in jax.tree.leaves(tensors)]
    return jnp.all(jnp.stack(checks))
