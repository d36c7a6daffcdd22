"""Optimizer: everything that algorithms share, said once.

An algorithm (`rules.py`) is a pure rule from a gradient, a parameter and its slots to new ones.
Here is what happens around it: learning rate, clipping, weight decay, accumulation of gradients,
moving averages of the weights, constraints, saving. Nothing branches on a value, so an update can
be traced; in compiled code all that touches a parameter is one pass over it.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes, errors, state
from carnyx.core.config import Configurable, public, snake_case, unique_name
from carnyx.core.fields import tail
from carnyx.core.variable import Variable
from carnyx.optimizers import schedules

COMMON_DOC = """
    Shared arguments:
        learning_rate: a number from 0, or a LearningRateSchedule of the step.
        weight_decay: each step takes this fraction times the learning rate off every weight.
        clipnorm, clipvalue, global_clipnorm: bound on a gradient's norm, its elements, or the norm
            of all gradients together; one of them at most.
        use_ema, ema_momentum, ema_overwrite_frequency: keep an exponential moving average of the
            weights (momentum is the fraction kept) and put it in their place every so many steps;
            with None, at the end of training.
        loss_scale_factor: the loss is multiplied by it and the gradients divided.
        gradient_accumulation_steps: update once in so many calls, with the mean gradient.
        name: of the optimizer and its variables.
"""


class Optimizer(Configurable):
    """Base of all optimizers. A rule sets `groups` and defines `update`, perhaps `prepare`.

    `groups` lists the slots: those of one tuple stand side by side, parameter by parameter, in
    files. `prepare(step, rate)` computes once a step, on scalars, what all parameters need;
    `update(gradient, param, slots, now)` is pure: `slots` is a dict by name, `now` what `prepare`
    returned, and it returns the new parameter and the new slots.

    A program's own optimizer may instead define `build` and `update_step`, as for Keras, with the
    `add_...` and `assign...` methods.

    >>> class Signs(Optimizer):
    ...     def update(self, gradient, param, slots, now):
    ...         return param - now * jnp.sign(gradient), {}
    >>> weight = Variable([1.0, 1.0])
    >>> Signs(learning_rate=0.5).apply([jnp.array([3.0, -3.0])], [weight])
    >>> weight.numpy().tolist()
    [0.5, 1.5]
    """

    groups: tuple[tuple[str, ...], ...] = ()

    def __init__(
        self,
        learning_rate: Any = 0.01,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.name = name or unique_name(snake_case(type(self).__name__))
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._validate(kwargs)
        self.built = False
        self._undecayed: tuple[set[int], str] = (set(), "")
        self._parameters: list[Variable] = []
        self._places: dict[int, int] = {}  # id of a parameter -> its place
        self._slots: dict[str, list[Any]] = {}  # None where a parameter has no such slot
        self._order: list[Variable] = []  # all variables after the first two
        with state.name_scope(self.name):
            self._iterations = Variable(0, dtype="int32", trainable=False, name="iteration")
            self._rate: Any = self._make_rate(learning_rate)

    def _validate(self, unknown: dict[str, Any]) -> None:
        if unknown.pop("decay", None) is not None:
            warnings.warn(
                f"{type(self).__name__}: `decay` is ignored; give a LearningRateSchedule instead.",
                stacklevel=4,
            )
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no argument {next(iter(unknown))!r}. "
                "(The old names `lr` and `decay` are now learning_rate and LearningRateSchedule.)"
            )
        clips = {key: getattr(self, key) for key in ("clipnorm", "clipvalue", "global_clipnorm")}
        if sum(value is not None for value in clips.values()) > 1:
            raise ValueError(
                f"{self.name}: only one of clipnorm, clipvalue and global_clipnorm can be given. "
                f"Received: {clips}"
            )
        for key, value in clips.items():
            if value is not None and value <= 0:
                raise ValueError(f"{self.name}: {key} is above 0. Received: {value!r}")
        for key, least in (("gradient_accumulation_steps", 2), ("ema_overwrite_frequency", 1)):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, (int, np.integer)) or value < least):
                raise ValueError(
                    f"{self.name}: {key} is a whole number from {least}, or None. "
                    f"Received: {value!r}"
                )
        in_range(self.name, ema_momentum=self.ema_momentum)

    def _keep_fields(self, owner: Any, given: dict[str, Any]) -> None:
        for name, value in given.items():
            bounds = RANGES.get(owner.__init__.__annotations__[name])
            if bounds:
                in_range(type(self).__name__, *bounds, **{name: value})
        super()._keep_fields(owner, given)

    # ---- learning rate

    def _make_rate(self, given: Any) -> Any:
        if isinstance(given, dict):
            given = schedules.deserialize(given)
        if callable(given) and not isinstance(given, (jax.Array, Variable)):
            return given
        value = np.asarray(given, "float32")
        if value.ndim or not np.isfinite(value) or value < 0:
            raise ValueError(
                f"{self.name}: learning_rate is a finite number from 0, or a LearningRateSchedule. "
                f"Received: {given!r}"
            )
        dtype = statistics_dtype(dtypes.floatx())
        return Variable(value, dtype=dtype, trainable=False, name="learning_rate")

    @property
    def learning_rate(self) -> Any:
        """The rate now. Assigning a number changes a Variable: nothing is compiled again."""
        if isinstance(self._rate, Variable):
            return self._rate
        wants_step = bool(inspect.signature(self._rate).parameters)
        return self._rate(self._iterations.value) if wants_step else self._rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        fixed = isinstance(self._rate, Variable)
        replaces = callable(value) and not isinstance(value, (jax.Array, Variable))
        if fixed and not replaces:
            self._rate.assign(value)
        elif replaces and not self.built:
            self._rate = value
        else:
            raise TypeError(
                f"Optimizer '{self.name}' {'is built' if replaces else 'has a schedule'}: its "
                f"learning rate cannot become {'a schedule' if replaces else 'a number'}. Make a "
                "new optimizer with it, and compile the model with that."
            )

    @property
    def iterations(self) -> Any:
        """How many updates there have been."""
        every = self.gradient_accumulation_steps
        return self._iterations.value // every if every else self._iterations

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name == "learning_rate":
            fixed = isinstance(self._rate, Variable)
            return float(self._rate) if fixed else schedules.serialize(self._rate)
        return super()._config_value(name, recorded, owner)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A new optimizer from `get_config`'s result."""
        config, rate = dict(config), config.get("learning_rate")
        if isinstance(rate, dict):
            config["learning_rate"] = schedules.deserialize(rate, custom_objects)
        return super().from_config(config)

    # ---- the rule

    def start(self, slot: str, param: Any) -> Any:
        """A slot's value before the first update: zeros, unless a rule says otherwise; None for a
        parameter without this slot."""
        return np.zeros(param.shape, "float32")

    def begin(self, step: Any) -> None:
        """For rules with a variable of their own: called before each update."""

    def prepare(self, step: Any, rate: Any) -> Any:
        """What all parameters need in this step, from scalars: the number of the update (from 1,
        a float) and the learning rate."""
        return rate

    def update(
        self, gradient: Any, param: Any, slots: dict[str, Any], now: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The rule: a new parameter and new slots."""
        raise NotImplementedError(f"{type(self).__name__} must define update() or update_step().")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Updates one variable; a program's own optimizer may define this instead of `update`."""
        exact = statistics_dtype(variable.dtype)
        now = self.prepare(self._step(exact), jnp.asarray(learning_rate, exact))
        self._apply_rule(gradient, variable, now, variable.value.astype(exact))

    def _step(self, dtype: str) -> Any:
        return jnp.asarray(self.iterations, dtype) + 1

    # ---- variables

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the slots of these parameters."""
        if self.built:
            return
        self._parameters = list(variables)
        self._places = {id(param): place for place, param in enumerate(self._parameters)}
        groups = list(self.groups)
        if self.gradient_accumulation_steps:
            groups.insert(0, ("gradient_accumulator",))
        if self.use_ema:
            groups.insert(0, ("average",))
        with jax.ensure_compile_time_eval():  # real arrays, when a first step is traced too
            for group in groups:
                self._add_slots(group, self.start)
        self.built = True

    def _add_slots(self, group: Sequence[str], start: Callable[[str, Any], Any]) -> None:
        for param in self._parameters:
            for name in group:
                plain = name in ("average", "gradient_accumulator")
                value = np.zeros(param.shape, "float32") if plain else start(name, param)
                slot = None
                if value is not None:
                    slot = self._add(value, statistics_dtype(param._dtype), _slot_name(param, name))
                self._slots.setdefault(name, []).append(slot)

    def _add(self, value: Any, dtype: Any, name: str | None, shape: Any = None) -> Variable:
        if isinstance(value, np.ndarray):
            value = jax.device_put(value)  # jnp.asarray would compile a copy for each shape
        with state.name_scope(self.name):
            made = Variable(value, shape=shape, dtype=dtype, trainable=False, name=name)
        self._order.append(made)
        return made

    def add_variable(
        self, shape: Any, initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> Variable:
        """A new variable of the optimizer."""
        return self._add(public("initializers").get(initializer), dtype, name, tuple(shape))

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A new variable of a parameter's shape and type."""
        name = _slot_name(reference_variable, name or "var")
        dtype = reference_variable._dtype
        return self.add_variable(reference_variable.shape, initializer, dtype, name)

    def add_optimizer_variables(
        self, trainable_variables: Iterable[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """A list of one new variable for each parameter; for several names, one list a name."""
        names = [name] if isinstance(name, str) else list(name)
        starts = list(initializer) if isinstance(initializer, (list, tuple)) else [initializer]
        starts = starts * len(names) if len(starts) == 1 else starts
        lists: tuple[list[Variable], ...] = tuple([] for _ in names)
        for param in trainable_variables:
            for made, own, start in zip(lists, names, starts, strict=True):
                made.append(self.add_variable_from_reference(param, own, start))
        return lists[0] if isinstance(name, str) else lists

    @property
    def variables(self) -> list[Variable]:
        """Iterations, learning rate, then the slots: the order in files."""
        rate = [self._rate] if isinstance(self._rate, Variable) else []
        return [self._iterations, *rate, *self._order]

    def _get_variable_index(self, variable: Variable) -> int:
        place = self._places.get(id(variable))
        if place is None:
            raise ValueError(
                f"Optimizer '{self.name}' was built for other variables: it has no slots for "
                f"'{variable.path}'. After unfreezing or adding layers, compile the model again "
                "with a new optimizer."
            )
        return place

    def assign(self, variable: Variable, value: Any) -> None:
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        variable.assign_sub(value)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assigns all variables, in their order."""
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(np.asarray(value))

    def save_own_variables(self, store: Any) -> None:
        """Puts the variables' values into a dict-like store, as "0", "1"..."""
        for index, variable in enumerate(self.variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Takes them back; warns, and leaves all as it is, when their number differs."""
        if len(store.keys()) != len(self.variables):
            warnings.warn(
                f"Optimizer '{self.name}' has {errors.count(len(self.variables), 'variable')} and "
                f"the file {len(store.keys())}: they were not loaded. Build the optimizer for the "
                "same weights first (`optimizer.build(model.trainable_variables)`).",
                stacklevel=2,
            )
            return
        for index, variable in enumerate(self.variables):
            variable.assign(np.asarray(store[str(index)]))

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Weights that weight decay leaves alone: variables, or patterns in variables' names.

        Raises ValueError once the optimizer is built.
        """
        if self.built:
            raise ValueError(
                f"Optimizer '{self.name}' is built. Call exclude_from_weight_decay() before."
            )
        self._undecayed = ({id(v) for v in var_list or ()}, "|".join(var_names or ()))

    def _decay_of(self, param: Variable) -> float:
        listed, pattern = self._undecayed
        if id(param) in listed or (pattern and re.search(pattern, param.name)):
            return 0.0
        return self._decay_rate(param) or 0.0

    def _decay_rate(self, param: Variable) -> float | None:
        return self.weight_decay

    # ---- updates

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the loss scale."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Any:
        """Updates variables from (gradient, variable) pairs; returns the iterations."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._iterations

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        """Updates the variables (by default those that it was built for) with their gradients.

        A variable whose gradient is None stays as it is, with a warning.
        """
        if not len(grads):
            return
        pairs = self._pairs(grads, trainable_variables)
        if self.loss_scale_factor is not None:
            pairs = [(g / self.loss_scale_factor, p) for g, p in pairs]
        if self.gradient_accumulation_steps:
            self._accumulate(pairs, self.gradient_accumulation_steps)
        else:
            self._update(pairs)
        if self.use_ema:
            self._average()
        for _, param in pairs:
            if param.constraint is not None:
                param.assign(param.constraint(param.value))
        self._iterations.assign_add(1)

    def _pairs(self, grads: Sequence[Any], params: Sequence[Variable] | None) -> list[Any]:
        """(gradient, variable) wherever there is a gradient; builds if nobody has yet."""
        if params is None and not self.built:
            raise ValueError(
                f"Optimizer '{self.name}' is not built, so it does not know whose gradients these "
                "are. Pass trainable_variables, or call build(trainable_variables) first."
            )
        params = list(self._parameters if params is None else params)
        if len(params) != len(grads):
            raise ValueError(
                f"{self.name}: {errors.count(len(grads), 'gradient')} came for "
                f"{errors.count(len(params), 'variable')}."
            )
        self.build(params)
        for param in params:
            self._get_variable_index(param)
        missing = [p.path for g, p in zip(grads, params, strict=True) if g is None]
        if len(missing) == len(params):
            raise ValueError(f"{self.name}: no variable has a gradient. Variables: {missing}")
        if missing:
            warnings.warn(f"{self.name}: no gradients for {missing}; they stay.", stacklevel=3)
        return [(g, p) for g, p in zip(grads, params, strict=True) if g is not None]

    def _accumulate(self, pairs: list[Any], every: int) -> None:
        sums = [self._slots["gradient_accumulator"][self._places[id(p)]] for _, p in pairs]
        totals = [s.value + g for s, (g, _) in zip(sums, pairs, strict=True)]
        due = (self._iterations.value + 1) % every == 0
        means = [(t / every, p) for t, (_, p) in zip(totals, pairs, strict=True)]
        kept_if(due, lambda: self._update(means), [*(p for _, p in pairs), *self._order])
        for accumulator, total in zip(sums, totals, strict=True):
            accumulator.assign(jnp.where(due, jnp.zeros_like(total), total))

    def _update(self, pairs: list[Any]) -> None:
        gradients = self._clipped([g for g, _ in pairs])
        rate = self.learning_rate
        rate = rate.value if isinstance(rate, Variable) else rate
        own = type(self).update_step is not Optimizer.update_step
        self.begin(self._step("float32"))
        now: dict[str, Any] = {}
        for gradient, (_, param) in zip(gradients, pairs, strict=True):
            exact = statistics_dtype(param._dtype)
            value = param.value.astype(exact)
            if decay := self._decay_of(param):
                value = value - value * (decay * jnp.asarray(rate, exact))
            if own:
                param.assign(value)
                self.update_step(gradient, param, rate)
                continue
            if exact not in now:
                now[exact] = self.prepare(self._step(exact), jnp.asarray(rate, exact))
            self._apply_rule(gradient, param, now[exact], value)

    def _apply_rule(self, gradient: Any, param: Variable, now: Any, value: Any) -> None:
        place = self._get_variable_index(param)
        slots = {name: self._slots[name][place] for group in self.groups for name in group}
        slots = {name: slot for name, slot in slots.items() if slot is not None}
        held = {name: slot.value for name, slot in slots.items()}
        value, new = self.update(jnp.asarray(gradient, value.dtype), value, held, now)
        param.assign(value)
        for name, slot in slots.items():
            slot.assign(new[name])

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        if self.clipvalue is not None:
            return [jnp.clip(g, -self.clipvalue, self.clipvalue) for g in gradients]
        if self.clipnorm is not None:
            limit = self.clipnorm
            return [g * (limit / jnp.maximum(jnp.sqrt(_squares(g)), limit)) for g in gradients]
        if self.global_clipnorm is not None:
            limit = self.global_clipnorm
            norm = jnp.sqrt(sum(_squares(g) for g in gradients))
            # norm - norm: one infinite or NaN gradient makes all of them NaN, rather than 0
            factor = limit / jnp.maximum(norm, limit) + (norm - norm)
            return [g * factor.astype(g.dtype) for g in gradients]
        return gradients

    def _average(self) -> None:
        """The first average is the weights themselves, not a mix with its start."""
        every, count = self.ema_overwrite_frequency, jnp.asarray(self.iterations)
        kept = jnp.where(count == 0, 0.0, self.ema_momentum)
        for param, slot in zip(self._parameters, self._slots["average"], strict=True):
            average = kept * slot.value + (1 - kept) * param.value
            slot.assign(average)
            if every:
                value = average.astype(param._dtype)
                param.assign(jnp.where((count + 1) % every == 0, value, param.value))

    @property
    def averages(self) -> list[tuple[Variable, Variable]]:
        """(parameter, its moving average), with `use_ema`."""
        kept = self._slots["average"] if self.use_ema and self.built else []
        return list(zip(self._parameters, kept, strict=False))

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """At the end of training: the averages take the weights' place, if they are kept."""
        if self.use_ema and self.built:
            for param in var_list:
                param.assign(self._slots["average"][self._get_variable_index(param)].value)

    def use_averages(self, yes: bool) -> None:
        """Models call it before they evaluate (True) and before they train (False): for rules that
        are judged by other weights than those that they take gradients at."""

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[Any], list[Any]]:
        """`apply` on values: (new trainable values, new optimizer values)."""
        if not self.built:
            raise ValueError(
                f"stateless_apply: optimizer '{self.name}' is not built. Call "
                "build(trainable_variables) first."
            )
        params, values = self._all_parameters(), [*trainable_variables, *optimizer_variables]
        run = state.pure(lambda: self.apply(grads), [*params, *self.variables])
        _, new = run([v.value if isinstance(v, Variable) else jnp.asarray(v) for v in values])
        return new[: len(params)], new[len(params) :]

    def _all_parameters(self) -> list[Variable]:
        return self._parameters


@tail
class Rule(Optimizer):
    """An optimizer that declares its own arguments; these follow them. See COMMON_DOC."""

    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None
    loss_scale_factor: float | None = None
    gradient_accumulation_steps: int | None = None
    name: str | None = None


Fraction = float  # the type of an argument in [0, 1]
FromZero = float
Steps = int  # from 0
RANGES = {"Fraction": (0, 1), "FromZero": (0, np.inf), "Steps": (0, np.inf)}


def in_range(owner: str, low: float = 0, high: float = 1, **arguments: float) -> None:
    """Raises ValueError for an argument outside [low, high]."""
    for name, value in arguments.items():
        if not isinstance(value, (int, float, np.number)) or not low <= value <= high:
            raise ValueError(f"{owner}: {name} lies in [{low}, {high}]. Received: {value!r}")


def kept_if(condition: Any, fn: Callable[[], None], variables: Iterable[Variable]) -> None:
    """Calls `fn`; what it assigned to `variables` counts only if the traced `condition` holds.

    A choice element by element joins the update's own pass over the parameters, which a branch
    would not.
    """
    before = [(v, v.value) for v in variables]
    fn()
    for variable, value in before:
        variable.assign(jnp.where(condition, variable.value, value))


def all_finite(tensors: Iterable[Any]) -> Any:
    """Whether every number in the tensors is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(t)) for t in tensors]))


def statistics_dtype(dtype: Any) -> str:
    """Half-precision weights have their statistics, and their updates, in float32."""
    dtype = dtypes.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _squares(gradient: Any) -> Any:
    exact = gradient.astype(statistics_dtype(gradient.dtype))
    return jnp.sum(exact * exact)


def _slot_name(param: Variable, name: str) -> str:
    return f"{param.path.replace('/', '_')}_{name}"
