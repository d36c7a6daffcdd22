"""The learning-rate finder: a short training whose rate grows step by step, and what came of it.

`Model.find_learning_rate` calls `sweep`. Schedules for the training itself are in
`optimizers/schedules.py`.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carnyx.core.config import public
from carnyx.data.adapters import ArraySource, adapt
from carnyx.data.batches import OutOfData, Segment
from carnyx.train.loop import Observer

SMOOTHING = 0.9  # the fraction kept of the running mean of the losses


@dataclass(frozen=True)
class LearningRates:
    """What a sweep over learning rates found.

    rates, losses: of each step, float [steps]; `smoothed`: the losses less their noise, a running
    mean forwards and backwards, which does not shift them. `diverged`: whether the sweep ended
    because the loss grew. `suggestion`: the rate at which the smoothed loss falls fastest per
    factor of the rate, or None if it never falls.

    >>> import numpy as np
    >>> rates = np.geomspace(1e-4, 1, 50)
    >>> found = LearningRates.of(rates, np.exp(-rates * 30) + rates**2, False)
    >>> 0.01 < found.suggestion < 0.1
    True
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool
    suggestion: float | None

    @classmethod
    def of(cls, rates: Any, losses: Any, diverged: bool) -> LearningRates:
        """From the losses at rates that grow."""
        rates, losses = np.asarray(rates, "float64"), np.asarray(losses, "float64")
        smoothed = _running(_running(losses)[::-1])[::-1]
        falling = np.arange(len(losses)) < np.argmin(smoothed)
        slopes = np.gradient(smoothed, np.log(rates)) if len(losses) > 1 else np.zeros(len(losses))
        slopes = np.where(falling, slopes, 0.0)
        best = int(np.argmin(slopes))
        suggestion = float(rates[best]) if slopes[best] < 0 else None
        return cls(rates, losses, smoothed, diverged, suggestion)

    def __repr__(self) -> str:
        span = f"{len(self.rates)} steps from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"<LearningRates {span}, diverged={self.diverged}, suggestion={self.suggestion}>"

    def plot(self, path: Any = None) -> Any:
        """Draws loss against rate; a Matplotlib Figure, also written to `path` if that is given."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.2), dpi=144, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="#8a8f9c", linewidth=0.8, label="each step")
        axes.plot(self.rates, self.smoothed, color="#2f6fb3", linewidth=2, label="smoothed")
        if self.suggestion is not None:
            label = f"suggestion: {self.suggestion:.2g}"
            axes.axvline(self.suggestion, color="#e08a1e", linestyle="--", label=label)
        low, high = self.losses.min(), self.smoothed[0]
        room = max(high - low, 1e-3 * abs(high), 1e-12)  # the last losses may be very great
        axes.set_ylim(low - 0.1 * room, high + 0.5 * room)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower left")
        if path is not None:
            figure.savefig(path)
        return figure


def sweep(
    model: Any,
    x: Any,
    y: Any,
    *,
    batch_size: int | None,
    sample_weight: Any,
    class_weight: Any,
    min_rate: float,
    max_rate: float,
    steps: int,
    divergence: float,
    seed: int,
) -> LearningRates:
    """Trains `model` with growing rates, and puts everything back as it was."""
    where = "find_learning_rate"
    _check(model, min_rate, max_rate, steps, divergence)
    data: dict[str, Any] = {"sample_weight": sample_weight, "class_weight": class_weight}
    source = adapt(x, y, batch_size=batch_size, where=where, **data)
    model._prepare(source, where)
    optimizer = _inner(model)
    curve = _Curve(divergence)
    with _restored(model):
        first = int(optimizer._iterations)
        rate = public("optimizers").schedules.ExponentialDecay(
            min_rate, steps - 1, max_rate / min_rate
        )
        optimizer._rate = lambda step: rate(step - first)
        model.train_step = _own_losses(model, optimizer)
        for segment in _segments(source, steps, seed):
            if not model._run_segment("train", segment, Observer(curve.add)):
                break
    if len(curve.losses) < steps and not curve.diverged:
        warnings.warn(
            f"{where}(): the data ended after {len(curve.losses)} of {steps} steps, at the rate "
            f"{curve.rates[-1]:.3g}. Ask for fewer steps.",
            stacklevel=3,
        )
    return LearningRates.of(curve.rates, curve.losses, curve.diverged)


def _check(model: Any, min_rate: float, max_rate: float, steps: int, divergence: float) -> None:
    where = "find_learning_rate()"
    model._check_compiled("find_learning_rate")
    if not 0 < min_rate < max_rate < math.inf:
        raise ValueError(
            f"{where}: 0 < min_rate < max_rate, both finite. "
            f"Received: min_rate={min_rate!r}, max_rate={max_rate!r}"
        )
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
        raise ValueError(f"{where}: steps is a whole number from 2. Received: steps={steps!r}")
    if not divergence > 1:
        raise ValueError(f"{where}: divergence is above 1. Received: divergence={divergence!r}")
    optimizer = _inner(model)
    if optimizer is None or hasattr(optimizer, "optimizers"):
        raise ValueError(
            f"{where}: model '{model.name}' has {'no' if optimizer is None else 'several'} "
            "optimizers, so there is not one learning rate. Compile it with one optimizer."
        )


def _inner(model: Any) -> Any:
    """The optimizer that has the learning rate."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


class _Curve:
    """Gathers losses and notices when they have grown beyond `divergence` times their least."""

    def __init__(self, divergence: float) -> None:
        self.divergence = divergence
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.diverged = False
        self._mean = 0.0
        self._least = math.inf

    def add(self, logs: dict[str, float]) -> bool:
        """Takes a step's logs; whether to go on. Steps that ran already after that are left out."""
        if self.diverged:
            return False
        loss = logs["loss"]
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
        mean = self._mean / (1 - SMOOTHING ** (len(self.losses) + 1))
        grown = mean - self._least > (self.divergence - 1) * abs(self._least)
        self.diverged = not math.isfinite(loss) or (math.isfinite(self._least) and grown)
        if self.diverged and self.losses:
            return False
        self._least = min(self._least, mean)
        self.rates.append(logs["learning_rate"])
        self.losses.append(loss)
        return True


def _running(values: np.ndarray) -> np.ndarray:
    """A running mean that begins with the first value, not at zero."""
    total, weight, means = 0.0, 0.0, []
    for value in values:
        total, weight = SMOOTHING * total + value, SMOOTHING * weight + 1
        means.append(total / weight)
    return np.array(means)


def _own_losses(model: Any, optimizer: Any) -> Any:
    """The model's train_step, giving the batch's own loss rather than the epoch's so far."""
    train_step = model.train_step

    def step(data: Any) -> dict[str, Any]:
        model.reset_metrics()
        rate = optimizer.learning_rate
        logs = train_step(data)
        if "loss" not in logs:
            raise ValueError(
                f"find_learning_rate(): train_step of model '{model.name}' gives the logs "
                f"{sorted(logs)}. Expected a 'loss' among them."
            )
        return {"loss": logs["loss"], "learning_rate": rate}

    return step


def _segments(source: Any, steps: int, seed: int) -> Iterator[Segment]:
    """`steps` batches, whole ones only, of arrays in an order of their own each pass."""
    if isinstance(source, ArraySource):
        size = source.batch_size
        whole = source.samples // size * size
        rng = np.random.default_rng(seed)
        passes = [rng.permutation(source.samples)[:whole] for _ in range(-(-steps * size // whole))]
        order = np.concatenate(passes)[: steps * size].astype(np.int32)
        yield Segment(source.arrays, order, size, steps)
        return
    done = 0
    while done < steps:
        before = done
        with contextlib.suppress(OutOfData):
            for segment in source.segments(0):
                count = min(segment.steps, steps - done)
                rows = segment.order[: count * segment.batch_size]
                yield replace(segment, order=rows, steps=count)
                done += count
                if done >= steps:
                    return
        if done == before:
            return


@contextlib.contextmanager
def _restored(model: Any) -> Iterator[None]:
    """Afterwards the model and its optimizer are what they were: values, rate, compiled steps."""
    owners = [model.optimizer, _inner(model)]
    attributes = [dict(vars(owner)) for owner in owners]
    every = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    values = [(v, v.numpy()) for v in {id(v): v for v in every}.values()]
    executor, stop = model._executor, model.stop_training
    own_step = vars(model).get("train_step")
    model._executor = None
    try:
        yield
    finally:
        vars(model).pop("train_step", None)
        if own_step is not None:
            model.train_step = own_step
        model._executor, model.stop_training = executor, stop
        for owner, kept in zip(owners, attributes, strict=True):
            vars(owner).update(kept)
        for variable, value in values:
            variable.assign(value)
