"""What `compile` was told to minimise and to measure: losses, their weights, and metrics.

One `Objective` matches losses and metrics with a model's outputs, whether these were given as one,
a list or a dict. The steps that use it are in `step.py`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx import losses as losses_module
from carnyx import metrics as metrics_module
from carnyx.core import errors, state, symbol
from carnyx.core.errors import nearest

ACCURACY = ("accuracy", "acc")
CROSSENTROPY = ("crossentropy", "ce")


class Objective:
    """Losses and metrics of one compiled model, one entry for each output."""

    def __init__(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> None:
        self.given = (loss, loss_weights, metrics, weighted_metrics)
        self.names: list[str] = []
        self.losses: list[Any] = []
        self.weights: list[float] = []
        self.total = metrics_module.Mean(name="loss")
        self.trackers: list[Any] = []
        self.metrics: list[tuple[int, Any, bool]] = []  # (output, metric, weighted)
        self.built = False
        for single in jax.tree.leaves(loss) if not isinstance(loss, str) else [loss]:
            losses_module.as_loss(single)  # an unknown name is an error at compile

    def build(self, names: list[str], y: Any, y_pred: Any) -> None:
        """Matches what was given with outputs `names`; `y`, `y_pred` have shapes and dtypes."""
        loss, loss_weights, metrics, weighted = self.given
        self.names = names
        outputs = jax.tree.leaves(y_pred, is_leaf=symbol.is_symbol)
        targets = self.per_output(y, "y")
        self.losses = [
            None if one is None else losses_module.as_loss(one)
            for one in self._spread(loss, "loss", copies=isinstance(loss, str) or callable(loss))
        ]
        given_weights = self._spread(loss_weights, "loss_weights")
        self.weights = [1.0 if w is None else float(w) for w in given_weights]
        if len(names) > 1:
            self.trackers = [
                metrics_module.Mean(name=f"{n}_loss") if one is not None else None
                for n, one in zip(names, self.losses, strict=True)
            ]
        for group, is_weighted in ((metrics, False), (weighted, True)):
            spread = self._spread(group, "metrics", nested=True)
            for index, chosen in enumerate(spread):
                for one in [chosen] if not isinstance(chosen, (list, tuple)) else chosen:
                    if one is not None:
                        metric = self._metric(one, targets[index], outputs[index], index)
                        self.metrics.append((index, metric, is_weighted))
        self.built = True

    def _spread(self, given: Any, what: str, nested: bool = False, copies: bool = False) -> list:
        """One entry an output, from one value, a list or a dict by output name."""
        count = len(self.names)
        if isinstance(given, dict):
            for key in given:
                if key not in self.names:
                    raise ValueError(
                        f"compile(): {what} names an output {key!r} that the model has not."
                        f"{nearest(key, self.names)} Its outputs: {self.names}"
                    )
            return [given.get(name) for name in self.names]
        if given is None:
            return [None] * count
        if nested and count == 1:
            flat = isinstance(given, (list, tuple)) and len(given) == 1
            inner = given[0] if flat and isinstance(given[0], (list, tuple)) else given
            return [list(inner) if isinstance(inner, (list, tuple)) else [inner]]
        if isinstance(given, (list, tuple)):
            if nested and not any(isinstance(g, (list, tuple)) for g in given):
                given = [given] * count if len(given) != count else given
            if len(given) != count:
                raise ValueError(
                    f"compile(): {what} has {errors.count(len(given), 'part')} for "
                    f"{errors.count(count, 'output')} {self.names}. Give one for each (None for "
                    "none), or a dict by name."
                )
            return list(given)
        return [given] * count if copies or nested or count == 1 else self._refuse(given, what)

    def _refuse(self, given: Any, what: str) -> list[Any]:
        raise ValueError(
            f"compile(): {what}={given!r} for {errors.count(len(self.names), 'output')} "
            f"{self.names}. "
            "Give a list or a dict by output name."
        )

    def _metric(self, given: Any, y: Any, y_pred: Any, index: int) -> Any:
        prefix = f"{self.names[index]}_" if len(self.names) > 1 else ""
        name = given if isinstance(given, str) else None
        if name in ACCURACY + CROSSENTROPY:
            kind = "accuracy" if name in ACCURACY else "crossentropy"
            if y is None:
                raise ValueError(f"compile(): metric {name!r} needs targets `y`, and none came.")
            given = metrics_module.resolve_accuracy(
                kind, tuple(y.shape), tuple(y_pred.shape), self.losses[index]
            )
        metric = metrics_module.get(given)
        if not isinstance(metric, metrics_module.Metric):
            own_name = name or getattr(metric, "__name__", "metric")
            metric = metrics_module.MeanMetricWrapper(metric, name=own_name)
        elif name is not None:
            metric.name = name
        if prefix and not metric.name.startswith(prefix):
            metric.name = prefix + metric.name
        if y is not None:
            metric.build(tuple(y.shape), tuple(y_pred.shape))
        return metric

    def per_output(self, struct: Any, what: str) -> list[Any]:
        """A structure of targets or weights as a list with one entry for each output."""
        count = len(self.names)
        if struct is None:
            return [None] * count
        if isinstance(struct, dict):
            missing = [n for n in struct if n not in self.names]
            if missing:
                raise ValueError(
                    f"{what} has the key {missing[0]!r}, which is no output of the model."
                    f"{nearest(missing[0], self.names)} Its outputs: {self.names}"
                )
            return [struct.get(name) for name in self.names]
        if isinstance(struct, (list, tuple)):
            if len(struct) != count:
                raise ValueError(
                    f"{what} has {errors.count(len(struct), 'array')} for "
                    f"{errors.count(count, 'output')} {self.names}."
                )
            return list(struct)
        if count > 1 and what == "y":
            raise ValueError(f"{what} is one array, for {count} outputs {self.names}: pass a list.")
        return [struct] * count

    def loss(self, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The weighted sum of the outputs' losses, or None if there are none."""
        outputs = jax.tree.leaves(y_pred)
        targets = self.per_output(y, "y")
        weights = self.per_output(sample_weight, "sample_weight")
        total = None
        for index, one in enumerate(self.losses):
            if one is None or (targets[index] is None and y is not None):
                continue
            value = jnp.asarray(one(targets[index], outputs[index], weights[index]))
            if self.trackers:
                self.trackers[index].update_state(value, _rows(outputs[index]))
            value = value * self.weights[index]
            total = value if total is None else total + value
        return total

    def update(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Updates the metrics."""
        outputs = jax.tree.leaves(y_pred)
        targets = self.per_output(y, "y")
        weights = self.per_output(sample_weight, "sample_weight")
        for index, metric, weighted in self.metrics:
            if targets[index] is None:
                continue
            weight = weights[index] if weighted else None
            mask = state.get_mask(outputs[index])
            if weight is None and mask is not None:
                weight = mask
            metric.update_state(targets[index], outputs[index], sample_weight=weight)

    def track(self, loss: Any, y_pred: Any) -> None:
        """Takes a step's total loss into the running mean that the logs show."""
        self.total.update_state(loss, _rows(jax.tree.leaves(y_pred)[0]))

    @property
    def all_metrics(self) -> list[Any]:
        """Every metric, in the order of the logs: the loss, outputs' losses, then the rest."""
        trackers = [t for t in self.trackers if t is not None]
        return [self.total, *trackers, *(metric for _, metric, _ in self.metrics)]


def _rows(tensor: Any) -> int:
    return tensor.shape[0] if tensor.ndim else 1
