"""Run: where a `fit` stands, as a snapshot that another process can go on from.

Snapshots cost nothing: the values of variables are immutable arrays, so that a snapshot is a list
of references. How they are kept on disk is in `save/backup.py`, when in `backup.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from carnyx import random
from carnyx.data.batches import global_draws, set_global_draws


class Run:
    """A `fit` in progress.

    Attributes:
        epoch: the one in progress, or the next.
        batch: steps of it that are done; 0 between two epochs.
        steps: steps done in this process.
        logs: those of the last step or epoch.
        first: the epoch that `fit` was told to begin with.
        stopped: whether the training that was backed up had been told to stop.
    """

    def __init__(
        self, model: Any, source: Any, validation: Any, callbacks: list[Any], epoch: int
    ) -> None:
        self.model, self.source, self.validation = model, source, validation
        self.callbacks = callbacks
        self.epoch, self.batch, self.steps = epoch, 0, 0
        self.first = epoch
        self.stopped = False
        self.logs: dict[str, Any] = {}
        self._saved: dict[str, Any] | None = None  # what is still to be put in place

    def step(self, logs: dict[str, Any]) -> None:
        """A step is done."""
        self.batch += 1
        self.steps += 1
        self.logs = logs

    def end_epoch(self, logs: dict[str, Any]) -> None:
        """The epoch and all that belongs to it is done."""
        self.epoch += 1
        self.batch, self.logs = 0, logs

    def record(self) -> None:
        """Snapshots will be asked for."""
        self.source.recording = True

    @functools.cached_property
    def _variables(self) -> list[Any]:
        model, optimizer = self.model, self.model.optimizer
        own = [] if optimizer is None else optimizer.variables
        every = [*model.variables, *own, *model.metrics_variables]
        return list({id(v): v for v in every}.values())

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides how training goes on: plain data and arrays."""
        self.model._use_averages(False)
        position = self.source.position(self.batch)
        draws = position.pop("draws", None) or global_draws()
        own = random._global["generator"]
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "logs": _plain(self.logs),
            "stopped": bool(self.model.stop_training),
            "variables": [[v.path, v._value] for v in self._variables],
            "position": position,
            "validation": self.validation and self.validation.position(0),
            "draws": draws,
            "generator": own and own.state._value,
            "callbacks": [
                [type(c).__name__, {name: _plain(getattr(c, name)) for name in c.state_names}]
                for c in self.callbacks
            ],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Goes to where a snapshot was taken.

        Raises ValueError where it is of another model or other data.
        """
        self._check(saved["variables"])
        self.epoch, self.batch, self.logs = saved["epoch"], saved["batch"], saved["logs"]
        self.source.restore(saved["position"])
        if self.validation is not None and saved["validation"] is not None:
            self.validation.restore(saved["validation"])
        self._saved = saved
        self._assign(saved)

    def resume(self) -> None:
        """Puts back what hooks of the beginning of a training, or of an epoch, have set anew.

        `fit` calls it after both; what was restored in the middle of an epoch needs the second.
        """
        saved = self._saved
        if saved is None:
            return
        self._assign(saved)
        self.model.stop_training = self.stopped = saved["stopped"]
        for callback, state in _matched(self.callbacks, saved["callbacks"]):
            vars(callback).update({name: _plain(value) for name, value in state.items()})
        set_global_draws(saved["draws"])
        if saved["generator"] is not None:
            random.global_seed_generator().state.assign(saved["generator"])

    def begin_epoch(self) -> None:
        """After the hooks of its beginning."""
        if self.batch:
            self.resume()
        self._saved = None

    def _assign(self, saved: dict[str, Any]) -> None:
        self.model._use_averages(False)
        for variable, (_, value) in zip(self._variables, saved["variables"], strict=True):
            variable.assign(value)

    def _check(self, saved: list[Any]) -> None:
        own = [(v.path, tuple(v.shape), str(v._dtype)) for v in self._variables]
        found = [(path, tuple(np.shape(value)), value.dtype.name) for path, value in saved]
        if [form[1:] for form in own] == [form[1:] for form in found]:
            return
        pairs = zip(own, found, strict=False)
        here, there = next((p for p in pairs if p[0][1:] != p[1][1:]), (None, None))
        raise ValueError(
            f"fit(): the backup is of another model or optimizer than '{self.model.name}': it has "
            f"{len(found)} variables, here are {len(own)}; the first that differs is {there} "
            f"there and {here} here. Train the same model, or delete the backup to begin anew."
        )


def _matched(callbacks: list[Any], saved: list[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Callbacks with their saved states: the first of a class takes the first state of it..."""
    left, pairs = list(callbacks), []
    for name, state in saved:
        found = next((c for c in left if type(c).__name__ == name), None)
        if found is not None:
            left.remove(found)
            pairs.append((found, state))
    return pairs


def _plain(value: Any) -> Any:
    """A copy of the containers; arrays are shared, NumPy's numbers become Python's."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic) or (isinstance(value, jax.Array) and not value.ndim):
        return value.item()
    return value
