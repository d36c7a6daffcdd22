"""Callbacks: what is called at every event of training, testing and predicting."""

from __future__ import annotations

import csv
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from carnyx.train.progress import Progbar

BATCH_HOOKS = tuple(
    f"on_{mode}_batch_{when}" for mode in ("train", "test", "predict") for when in ("begin", "end")
) + ("on_batch_begin", "on_batch_end")
OTHER_HOOKS = tuple(
    f"on_{event}_{when}" for event in ("train", "test", "predict") for when in ("begin", "end")
)


class Callback:
    """Base of all callbacks: override the hooks that you need.

    `model` is the model, `params` a dict with "verbose", "epochs" and "steps". A hook gets the logs
    as a dict of floats. A subclass that overrides a batch hook sees the weights after every step,
    which costs speed: set the class attribute `sees_only_logs = True` if it reads only the logs.
    """

    sees_only_logs = False

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        return getattr(self, "_model", None)

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self._model = model

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before an epoch of training, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """After it, validation included."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None: ...

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None: ...

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None: ...

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None: ...

    def on_train_begin(self, logs: Any = None) -> None: ...

    def on_train_end(self, logs: Any = None) -> None: ...

    def on_test_begin(self, logs: Any = None) -> None: ...

    def on_test_end(self, logs: Any = None) -> None: ...

    def on_predict_begin(self, logs: Any = None) -> None: ...

    def on_predict_end(self, logs: Any = None) -> None: ...

    def _monitored(self, logs: Any, name: str) -> float | None:
        """The watched value in the logs; a warning (once) if it is not there."""
        value = (logs or {}).get(name)
        if value is None and not getattr(self, "_warned", False):
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} watches {name!r}, which is not in the logs. "
                f"There are: {', '.join(logs or {}) or 'none'}. Nothing happens without it.",
                stacklevel=4,
            )
        return value


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback does anything in a hook."""
    return getattr(type(callback), hook) is not getattr(Callback, hook) or hook in vars(callback)


class CallbackList:
    """Callbacks called as one; batch hooks that nobody overrides cost nothing."""

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        verbose: Any = "auto",
        **params: Any,
    ) -> None:
        given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        self.callbacks = [c for c in given if c is not None]
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"callbacks: {callback!r} is no Callback. Pass objects such as "
                    "carnyx.callbacks.EarlyStopping(), not classes or functions."
                )
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        if add_history:
            known = [c for c in self.callbacks if isinstance(c, History)]
            history = known[0] if known else History()
            if not known:
                self.callbacks.append(history)
            if model is not None:
                model.history = history
        params["verbose"] = 1 if verbose == "auto" else verbose
        for callback in self.callbacks:
            callback.set_params(params)
            if model is not None:
                callback.set_model(model)
        self._active = {
            hook: [c for c in self.callbacks if _acts(c, hook)] for hook in BATCH_HOOKS
        }

    @property
    def needs_each_step(self) -> bool:
        """Whether a callback may look at the weights between two steps."""
        hooks = [c for hook in BATCH_HOOKS for c in self._active[hook]]
        return any(not c.sees_only_logs for c in hooks)

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self._active.get(hook, self.callbacks):
            getattr(callback, hook)(*args)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._call("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._call("on_epoch_end", epoch, logs)

    def __getattr__(self, name: str) -> Any:
        if name in BATCH_HOOKS:
            return lambda batch, logs=None: self._call(name, batch, logs)
        if name in OTHER_HOOKS:
            return lambda logs=None: self._call(name, logs)
        raise AttributeError(name)


def _acts(callback: Callback, hook: str) -> bool:
    if hook.startswith("on_train_batch"):  # the plain one passes on to the older name
        return overrides(callback, hook) or overrides(callback, hook.replace("train_", ""))
    return overrides(callback, hook)


class History(Callback):
    """What `fit` returns: `history` maps each name to its values, one an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch, self.history = [], {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: Any = None) -> Any:
        """Learning curves: one panel a metric, training and validation; saved if `path` is given.

        Returns the matplotlib figure.
        """
        from matplotlib.figure import Figure

        names = [n for n in self.history if not n.startswith("val_")]
        figure = Figure(figsize=(4.6 * max(len(names), 1), 3.4), layout="constrained")
        for axes, name in zip(figure.subplots(1, max(len(names), 1), squeeze=False)[0], names, strict=True):
            epochs = [e + 1 for e in self.epoch]
            axes.plot(epochs, self.history[name], marker="o", ms=3, label="training")
            if f"val_{name}" in self.history:
                axes.plot(epochs, self.history[f"val_{name}"], marker="o", ms=3, label="validation")
            axes.set(xlabel="epoch", ylabel=name)
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


class ProgbarLogger(Callback):
    """Shows the progress that `verbose` asks for."""

    sees_only_logs = True

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progbar | None = None
        self._mode = ""
        self._prefix = ""

    def _start(self, mode: str, steps: int | None) -> None:
        self._mode = mode
        self._bar = Progbar(steps, verbose=self.params.get("verbose", 1))
        self._seen = 0

    def _step(self, batch: int, logs: Any) -> None:
        bar = self._bar
        if bar is None:
            return
        bar._seen = batch + 1
        bar._sums = {name: (value, 1) for name, value in (logs or {}).items()}
        bar.draw(False, self._prefix)

    def _finish(self, logs: Any) -> None:
        bar = self._bar
        if bar is None:
            return
        bar.target = bar._seen if bar.target is None else bar.target
        bar._sums = {
            n: (v, 1) for n, v in (logs or {}).items() if isinstance(v, (int, float))
        }
        bar.draw(True, self._prefix)
        self._bar = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._prefix = f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}"
        self._start("train", self.params.get("steps"))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._finish(logs)
        self._mode = ""

    def on_test_begin(self, logs: Any = None) -> None:
        if self._mode != "train":
            self._prefix = "Evaluate"
            self._start("test", self.params.get("steps"))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._mode == "test":
            self._step(batch, logs)

    def on_test_end(self, logs: Any = None) -> None:
        if self._mode == "test":
            self._finish(logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._prefix = "Predict"
        self._start("predict", self.params.get("steps"))

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step(batch, None)

    def on_predict_end(self, logs: Any = None) -> None:
        self._finish(None)


class Monitor(Callback):
    """Base of callbacks that watch one value and know which way is better."""

    def _watch(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(
                f"{type(self).__name__}: mode is 'auto', 'min' or 'max'. Received: {mode!r}"
            )
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.sign: int | None = {"min": -1, "max": 1}.get(mode)

    def _direction(self) -> int:
        """1 if greater is better: by the metric itself, or by the sound of its name."""
        if self.sign is None:
            name = self.monitor.removeprefix("val_")
            metrics = getattr(self.model, "metrics", None) or []
            known = {m.name: getattr(m, "_direction", None) for m in metrics}
            direction = known.get(name)
            rising = ("acc", "auc", "precision", "recall", "f1", "fbeta", "f_score", "iou", "r2")
            guessed = any(part in name.lower() for part in rising)
            self.sign = {"up": 1, "down": -1}.get(str(direction), 1 if guessed else -1)
        return self.sign

    def _better(self, value: float, best: float | None) -> bool:
        if best is None:
            return not math.isnan(value)
        return self._direction() * (value - best) > self.min_delta


class EarlyStopping(Monitor):
    """Stops training when the watched value has not become better for `patience` epochs.

    Args:
        monitor: a name in the logs.
        min_delta: what counts as better, at least.
        patience: epochs to wait.
        verbose: 1 says when it stops.
        mode: "min", "max" or "auto" (by the metric).
        baseline: a value that must be beaten.
        restore_best_weights: go back to the weights of the best epoch at the end.
        start_from_epoch: epochs to let pass before watching.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._watch(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best: float | None = None
        self.best_weights: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = self._monitored(logs, self.monitor)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._better(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Weights of epoch {self.best_epoch + 1}, the best, are restored.")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(Monitor):
    """Saves the model or its weights, every epoch or every so many batches.

    Args:
        filepath: the file; "{epoch:02d}" and "{val_loss:.2f}" are filled in.
        monitor, mode, initial_value_threshold: what `save_best_only` watches.
        save_best_only: only when the watched value became better.
        save_weights_only: weights (the file ends ".weights.h5") rather than the model (".keras").
        save_freq: "epoch", or a number of batches.
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__()
        self._watch(monitor, mode)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(
                f"ModelCheckpoint: save_freq is 'epoch' or a whole number of batches. "
                f"Received: {save_freq!r}"
            )
        ending = ".weights.h5" if save_weights_only else (".keras", ".h5")
        if not self.filepath.endswith(ending):
            raise ValueError(
                f"ModelCheckpoint: with save_weights_only={save_weights_only} the file must end "
                f"with {ending!r}. Received: {self.filepath!r}"
            )
        self.save_freq, self.best = save_freq, initial_value_threshold
        self._batches, self._epoch = 0, 0
        # Saving between batches needs the weights of that very step.
        self.sees_only_logs = save_freq == "epoch"

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches % self.save_freq == 0:
            self._save(self._epoch, batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _save(self, epoch: int, batch: int | None, logs: Any) -> None:
        if self.save_best_only:
            value = self._monitored(logs, self.monitor)
            if value is None or not self._better(value, self.best):
                return
            self.best = value
        try:
            path = self.filepath.format(epoch=epoch + 1, batch=(batch or 0) + 1, **(logs or {}))
        except KeyError as error:
            raise KeyError(
                f"ModelCheckpoint: the file name {self.filepath!r} asks for {error}, which is not "
                f"in the logs: {list(logs or {})}."
            ) from error
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saved {path}")


class CSVLogger(Callback):
    """Writes one line an epoch with every value of the logs to a CSV file."""

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename, self.sep, self.append = os.fspath(filename), separator, append
        self._file: Any = None
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        has_header = self.append and os.path.exists(self.filename)
        self._header = not (has_header and os.path.getsize(self.filename))
        self._file = open(self.filename, "a" if self.append else "w", newline="")  # noqa: SIM115
        self._writer = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        row = {"epoch": epoch, **{k: _csv_value(v) for k, v in (logs or {}).items()}}
        if self._writer is None:
            self._writer = csv.DictWriter(
                self._file, list(row), delimiter=self.sep, restval="NA", extrasaction="ignore"
            )
            if self._header:
                self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self._file.close()


def _csv_value(value: Any) -> Any:
    return value if np.ndim(value) == 0 else f"[{', '.join(map(str, np.ravel(value)))}]"


class LambdaCallback(Callback):
    """A callback of functions: LambdaCallback(on_epoch_end=lambda epoch, logs: ...).

    >>> seen = []
    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    >>> callback.on_epoch_end(3); seen
    [3]
    """

    def __init__(
        self,
        on_epoch_begin: Any = None,
        on_epoch_end: Any = None,
        on_train_begin: Any = None,
        on_train_end: Any = None,
        on_train_batch_begin: Any = None,
        on_train_batch_end: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, hook in hooks.items():
            if hook is not None:
                setattr(self, name, _with_logs(hook))


def _with_logs(hook: Any) -> Any:
    """Hooks take (index, logs) or (logs); loops may leave the logs out."""
    return lambda *args: hook(*args) if len(args) != 1 or not isinstance(args[0], int) else hook(
        args[0], None
    )


class TerminateOnNaN(Callback):
    """Stops training when the loss is NaN or infinite."""

    sees_only_logs = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            print(f"Batch {batch}: the loss is {loss}; training stops.")
            self.model.stop_training = True


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch to schedule(epoch, rate)."""

    def __init__(self, schedule: Any, verbose: int = 0) -> None:
        super().__init__()
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        now = float(np.asarray(self.model.optimizer.learning_rate))
        try:
            rate = self.schedule(epoch, now)
        except TypeError:
            rate = self.schedule(epoch)
        if not np.isscalar(rate) and np.ndim(rate) != 0:
            raise ValueError(
                f"LearningRateScheduler: schedule(epoch, rate) returns a number. Received: {rate!r}"
            )
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {float(rate):g}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(np.asarray(self.model.optimizer.learning_rate))


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` when the watched value stops getting better.

    Args:
        monitor, mode, min_delta: what is watched and what counts as better.
        factor: below 1.
        patience: epochs to wait before a reduction, cooldown: epochs of rest after one.
        min_lr: the rate is not reduced below it.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 0.0001,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **_: Any,
    ) -> None:
        super().__init__()
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor is below 1. Received: {factor!r}")
        self._watch(monitor, mode, min_delta)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self._reset()

    def _reset(self) -> None:
        self.wait, self.cooldown_counter = 0, 0
        self.best: float | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        if logs is not None:
            logs["learning_rate"] = rate
        value = self._monitored(logs, self.monitor)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                rate = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = rate
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"Epoch {epoch + 1}: learning rate reduced to {rate:g}")


__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
