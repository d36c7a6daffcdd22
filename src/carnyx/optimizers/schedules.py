"""Learning-rate schedules: functions of the step, which is an integer from 0.

Give one to an optimizer as its `learning_rate`; it is computed inside the compiled step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from carnyx.core import config as _config
from carnyx.core.config import Configurable


class LearningRateSchedule(Configurable):
    """Base: subclasses define `__call__(step) -> rate`."""

    keras_module = "keras.optimizers.schedules"

    def __post_init__(self) -> None:
        """Those below are dataclasses: their fields are the constructor's arguments."""
        for name in ("decay_steps", "first_decay_steps"):
            _positive(name, getattr(self, name, 1))

    def __call__(self, step: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step).")


@dataclass(eq=False, repr=False)
class ExponentialDecay(LearningRateSchedule):
    """initial decay_rate^(step / decay_steps), the exponent rounded down when `staircase`.

    >>> float(ExponentialDecay(1.0, 10, 0.5)(20))
    0.25
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float
    staircase: bool = False
    name: str = "ExponentialDecay"

    def __call__(self, step: Any) -> Any:
        power = _whole(step, self.decay_steps) if self.staircase else _part(step, self.decay_steps)
        return self.initial_learning_rate * self.decay_rate**power


@dataclass(eq=False, repr=False)
class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] up to and with step boundaries[i], and the last value after.

    >>> float(PiecewiseConstantDecay([5], [1.0, 0.5])(6))
    0.5
    """

    boundaries: Sequence[float]
    values: Sequence[float]
    name: str = "PiecewiseConstant"

    def __post_init__(self) -> None:
        self.boundaries, self.values = list(self.boundaries), list(self.values)
        count = len(self.boundaries)
        if count != len(self.values) - 1:
            raise ValueError(
                f"PiecewiseConstantDecay: {count} boundaries need {count + 1} values. "
                f"Received {len(self.values)}."
            )

    def __call__(self, step: Any) -> Any:
        rate = jnp.float32(self.values[0])
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = jnp.where(jnp.asarray(step) > boundary, jnp.float32(value), rate)
        return rate


@dataclass(eq=False, repr=False)
class PolynomialDecay(LearningRateSchedule):
    """(initial - end) (1 - step / decay_steps)^power + end; `cycle` starts anew, longer.

    >>> float(PolynomialDecay(1.0, 10, 0.0)(5))
    0.5
    """

    initial_learning_rate: float
    decay_steps: int
    end_learning_rate: float = 0.0001
    power: float = 1.0
    cycle: bool = False
    name: str = "PolynomialDecay"

    def __call__(self, step: Any) -> Any:
        steps = jnp.float32(self.decay_steps)
        if self.cycle:  # the number of cycles begun: rounded up
            steps = steps * jnp.maximum(-_whole(-jnp.asarray(step), self.decay_steps), 1.0)
        left = 1 - jnp.minimum(jnp.asarray(step, jnp.float32), steps) / steps
        drop = self.initial_learning_rate - self.end_learning_rate
        return drop * left**self.power + self.end_learning_rate


@dataclass(eq=False, repr=False)
class InverseTimeDecay(LearningRateSchedule):
    """initial / (1 + decay_rate step / decay_steps).

    >>> float(InverseTimeDecay(1.0, 1, 1.0)(1))
    0.5
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float
    staircase: bool = False
    name: str = "InverseTimeDecay"

    def __call__(self, step: Any) -> Any:
        part = _whole(step, self.decay_steps) if self.staircase else _part(step, self.decay_steps)
        return self.initial_learning_rate / (1 + self.decay_rate * part)


@dataclass(eq=False, repr=False)
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate to alpha times it (Loshchilov and Hutter 2017), after a
    linear warm-up to `warmup_target` in `warmup_steps`.

    >>> round(float(CosineDecay(1.0, 10)(5)), 6)
    0.5
    """

    initial_learning_rate: float
    decay_steps: int
    alpha: float = 0.0
    name: str = "CosineDecay"
    warmup_target: float | None = None
    warmup_steps: int = 0

    def __call__(self, step: Any) -> Any:
        step = jnp.asarray(step, jnp.float32)
        if self.warmup_target is None:
            return self._decay(step, self.initial_learning_rate)
        top, start = self.warmup_target, self.initial_learning_rate
        rising = start + (top - start) * step / max(self.warmup_steps, 1)
        return jnp.where(
            step < self.warmup_steps, rising, self._decay(step - self.warmup_steps, top)
        )

    def _decay(self, step: Any, start: float) -> Any:
        part = jnp.minimum(step, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * part))
        return start * ((1 - self.alpha) * cosine + self.alpha)


@dataclass(eq=False, repr=False)
class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decays one after another, each t_mul times as long and m_mul times as high.

    >>> round(float(CosineDecayRestarts(1.0, 4)(4)), 6)
    1.0
    """

    initial_learning_rate: float
    first_decay_steps: int
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0
    name: str = "SGDRDecay"

    def __call__(self, step: Any) -> Any:
        done = _part(step, self.first_decay_steps)
        if self.t_mul == 1.0:
            cycle = _whole(step, self.first_decay_steps)
            part = done - cycle
        else:
            cycle = jnp.floor(jnp.log(1 - done * (1 - self.t_mul)) / math.log(self.t_mul))
            # a logarithm may end just below the whole number that begins a cycle
            begun = self.first_decay_steps * self._before(cycle + 1) <= step
            cycle = cycle + jnp.asarray(begun, jnp.float32)
            part = (done - self._before(cycle)) / self.t_mul**cycle
        height = self.m_mul**cycle
        cosine = 0.5 * height * (1 + jnp.cos(jnp.pi * part))
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)

    def _before(self, cycle: Any) -> Any:
        """How long the cycles before this one took, in first cycles."""
        return (1 - self.t_mul**cycle) / (1 - self.t_mul)


@dataclass(eq=False, repr=False)
class OneCycle(LearningRateSchedule):
    """Up from max / start_divisor to max in the first `rising` part of training, and down to
    max / (start_divisor end_divisor) at its last step (Smith and Topin 2018). Keras has no such
    schedule.

    With p in [0, 1] the part of the way up, or down, that is done: from + (to - from) q, where q
    is p ("linear", as in the paper) or (1 - cos(pi p)) / 2 ("cosine"). The paper goes down to the
    first rate, and from there to the last one in a third phase.

    Args:
        max_learning_rate: above 0; `Model.find_learning_rate` suggests one.
        total_steps: the steps of the whole training, epochs times batches, from 2; the rate stays
            at its last value after them.
        rising: a fraction in [0, 1].
        start_divisor, end_divisor: from 1.
        curve: "cosine" or "linear".

    >>> [round(float(OneCycle(1.0, 5, 0.5, 10.0, curve="linear")(i)), 3) for i in range(5)]
    [0.1, 0.55, 1.0, 0.5, 0.0]
    """

    max_learning_rate: float
    total_steps: int
    rising: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4
    curve: str = "cosine"
    name: str = "OneCycle"

    def __post_init__(self) -> None:
        _positive("max_learning_rate", self.max_learning_rate)
        _at_least("total_steps", self.total_steps, 2)
        _at_least("start_divisor", self.start_divisor, 1)
        _at_least("end_divisor", self.end_divisor, 1)
        if not 0 <= self.rising <= 1:
            raise ValueError(f"rising lies in [0, 1]. Received: rising={self.rising!r}")
        if self.curve not in ("cosine", "linear"):
            raise ValueError(f"curve is 'cosine' or 'linear'. Received: curve={self.curve!r}")

    def __call__(self, step: Any) -> Any:
        done = jnp.minimum(_part(step, self.total_steps - 1), 1)
        top, start = self.max_learning_rate, self.max_learning_rate / self.start_divisor
        if self.rising == 0:
            return self._between(top, start / self.end_divisor, done)
        up = self._between(start, top, jnp.minimum(done / self.rising, 1))
        if self.rising == 1:
            return up
        fallen = (done - self.rising) / (1 - self.rising)
        down = self._between(top, start / self.end_divisor, fallen)
        return jnp.where(done < self.rising, up, down)

    def _between(self, first: float, last: float, part: Any) -> Any:
        if self.curve == "cosine":
            part = 0.5 * (1 - jnp.cos(jnp.pi * part))
        return first * (1 - part) + last * part  # exactly `last` at the end


def _part(step: Any, steps: float) -> Any:
    return jnp.asarray(step, jnp.float32) / steps


def _whole(step: Any, steps: float) -> Any:
    """floor(step / steps). In integers: compiled code multiplies by a rounded 1 / steps, for which
    step 41 of 41 would not be over yet."""
    if float(steps).is_integer():
        return jnp.asarray(jnp.asarray(step, jnp.int32) // int(steps), jnp.float32)
    return jnp.floor(_part(step, steps))


def _positive(name: str, value: Any) -> None:
    if value <= 0:
        raise ValueError(f"{name} is above 0. Received: {name}={value!r}")


def _at_least(name: str, value: Any, least: float) -> None:
    if value < least:
        raise ValueError(f"{name} is {least} or more. Received: {name}={value!r}")


TABLE: dict[str, type[LearningRateSchedule]] = {
    name: found
    for name, found in list(vars().items())
    if isinstance(found, type) and issubclass(found, LearningRateSchedule)
}
__all__ = [*TABLE, "deserialize", "serialize"]  # noqa: PLE0604  # from the table


def serialize(learning_rate_schedule: Any) -> Any:
    """Plain data for a schedule."""
    return _config.serialize(learning_rate_schedule)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The schedule that `serialize` described.

    >>> deserialize(serialize(CosineDecay(0.1, 100))).decay_steps
    100
    """
    if config.get("class_name") in TABLE and not config.get("registered_name"):
        return TABLE[config["class_name"]].from_config(config["config"])
    return _config.deserialize(config, custom_objects)
