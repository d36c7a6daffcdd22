"""The ready-made callbacks; all of them, the base and the list are public from here.

What a callback is and when it is called stands in `hooks.py`.
"""

from __future__ import annotations

import csv
import inspect
import json
import math
import os
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from carnyx.core.errors import nearest
from carnyx.program.births import is_finite
from carnyx.train.backup import BackupAndRestore
from carnyx.train.hooks import HOOKS, Callback, CallbackList, History, ProgbarLogger
from carnyx.train.monitor import MonitorCallback
from carnyx.train.orbax import OrbaxCheckpoint
from carnyx.train.tensorboard import TensorBoard
from carnyx.train.trackers import MlflowCallback, WandbMetricsLogger


class EarlyStopping(MonitorCallback):
    """Stops training when the watched value has not become better for `patience` epochs.

    Args:
        monitor, mode: the name in the logs, and "min", "max" or "auto" (as the metric says).
        min_delta: the least change that counts as better.
        patience: epochs without a better value after which training stops.
        verbose: 1 says what it does.
        baseline: a value that must be beaten, or the patience runs on.
        restore_best_weights: whether the weights of the best epoch come back at the end; without
            a baseline beaten too.
        start_from_epoch: epochs to let pass before watching.

    A NaN is never the best value (in Keras a first NaN is, and nothing beats it any more).

    >>> EarlyStopping(monitor="val_accuracy", patience=3).patience
    3
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
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.on_train_begin()

    state_names = ("wait", "stopped_epoch", "best_epoch", "best", "best_weights")

    def on_train_begin(self, logs: Any = None) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best, self.best_weights = None, None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = self._value(logs, "it will not stop training")
        if value is None or epoch < self.start_from_epoch:
            return
        better = self._better(value, self.best)
        if self.restore_best_weights and (better or self.best_weights is None):
            self.best_weights = self.model.get_weights()
        self.wait += 1
        if better:
            self.best, self.best_epoch = value, epoch
            if self.baseline is None or self._better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Restored the weights of the best epoch, {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(MonitorCallback):
    """Saves the model or its weights, every epoch or every so many batches.

    A file is written beside its place and then renamed, so that a crash leaves the old one whole.

    Args:
        filepath: the file, ".weights.h5" for weights, ".keras" or ".h5" for the model. Fields such
            as "{epoch:02d}" (from 1), "{batch}" (if saved by batches) and "{val_loss:.2f}" are
            filled in.
        monitor, mode: what `save_best_only` watches.
        verbose: 1 says what is saved.
        save_best_only: whether to save only when the watched value became better; without such a
            value in the logs it saves, and warns.
        save_weights_only: weights (and optimizer state) rather than the model.
        save_freq: "epoch", or a number of batches, counted on over epochs.
        initial_value_threshold: the value that the first save must beat.

    >>> ModelCheckpoint("best.h5", save_weights_only=True)
    Traceback (most recent call last):
    ...
    ValueError: ModelCheckpoint: with save_weights_only=True the file must end in '.weights.h5'. \
Received: 'best.h5'
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq, self.best = save_freq, initial_value_threshold
        by_batch = isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq > 0
        if save_freq != "epoch" and not by_batch:
            raise ValueError(
                "ModelCheckpoint: save_freq is 'epoch' or a number of batches from 1. "
                f"Received: {save_freq!r}"
            )
        ending = ".weights.h5" if save_weights_only else ".keras"
        if not self.filepath.endswith(ending):
            raise ValueError(
                f"ModelCheckpoint: with save_weights_only={save_weights_only} the file must end "
                f"in '{ending}'. Received: {self.filepath!r}"
            )
        self._batches, self._epoch = 0, 0

    state_names = ("best", "_batches")

    def steps_until_look(self, mode: str = "train") -> float:
        if mode != "train" or self.save_freq == "epoch":
            return math.inf
        return int(self.save_freq) - self._batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self._save({**(logs or {}), "epoch": self._epoch + 1, "batch": batch + 1})

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._save({**(logs or {}), "epoch": epoch + 1})

    def _save(self, fields: dict[str, Any]) -> None:
        try:
            path = Path(self.filepath.format(**fields))
        except KeyError as error:
            raise KeyError(
                f"ModelCheckpoint: the file name {self.filepath!r} has the field {error}, which "
                f"is not among {sorted(fields)}."
            ) from error
        if self.save_best_only and not self._is_best(fields):
            return
        if path.is_dir():
            raise IsADirectoryError(f"ModelCheckpoint: {path} is a directory. Name a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        # The endings stay: they say what format is written.
        unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
        try:
            save = self.model.save_weights if self.save_weights_only else self.model.save
            save(str(unfinished), overwrite=True)
            os.replace(unfinished, path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
        if self.verbose:
            print(f"Epoch {fields['epoch']}: saved {path}")

    def _is_best(self, fields: dict[str, Any]) -> bool:
        value = self._value(fields, "it saves each time")
        if value is None:
            return True
        better = self._better(value, self.best)
        if self.verbose:
            found = f"{self.monitor} {value:.5f}, best before {self.best}"
            print(f"Epoch {fields['epoch']}: {'better' if better else 'not better'}: {found}")
        if better:
            self.best = value
        return better


class CSVLogger(Callback):
    """Writes a line an epoch with every value of the logs to a CSV file.

    The columns are "epoch" (from 0) and the names in the first epoch's logs; if none of these is
    of validation, there are columns for it, filled with NA.

    Args:
        filename: the file.
        separator: between the values.
        append: whether to go on in a file that exists, rather than to overwrite it.
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename, self.sep, self.append = os.fspath(filename), separator, append
        self._file: Any = None
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.on_train_end()
        exists = os.path.exists(self.filename) and os.path.getsize(self.filename) > 0
        self._headed = self.append and exists
        self._file = open(self.filename, "a" if self.append else "w", newline="")  # noqa: SIM115

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        if self._writer is None:
            names = sorted(logs)
            if not any(name.startswith("val_") for name in names):
                names += [f"val_{name}" for name in names]
            self._writer = csv.DictWriter(
                self._file,
                ["epoch", *names],
                delimiter=self.sep,
                restval="NA",
                extrasaction="ignore",
            )
            if not self._headed:
                self._writer.writeheader()
        self._writer.writerow({**{k: _csv_value(v) for k, v in logs.items()}, "epoch": epoch})
        self._file.flush()

    def on_train_end(self, logs: Any = None) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


def _csv_value(value: Any) -> Any:
    if isinstance(value, str) or np.ndim(value) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'


class LambdaCallback(Callback):
    """A callback of functions: those of batches and epochs take (index, logs), the others (logs).

    Any hook of `Callback` may be passed by its name. `sees_only_logs=True` says that the functions
    of batches read only their arguments: many steps then run in one call (see `Callback`).

    >>> show = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> show.on_epoch_end(3, {"loss": 0.5})
    3 0.5
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.sees_only_logs = kwargs.pop("sees_only_logs", False)  # Keras takes it, without effect
        named = {k: v for k, v in locals().items() if k in HOOKS}
        for name, hook in {**named, **kwargs}.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback: there is no hook {name!r}.{nearest(name, HOOKS)}")
            if hook is not None and not callable(hook):
                raise TypeError(f"LambdaCallback: {name} is a function. Received: {hook!r}")
            if hook is not None:
                setattr(self, name, hook)


class TerminateOnNaN(Callback):
    """Stops training when the loss is NaN or infinite, and says where that began.

    The steps since are run again, one equation at a time: the message names the layer and the
    equation in which the first number that is not finite was born, and the range of what went in.
    Until then it costs the memory of two more copies of the model's state, and no time.

    With `raise_error` it raises RuntimeError instead, so that no other callback is called any more
    (and so none overwrites a good file).
    """

    sees_only_logs = True

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss) and not self.model.stop_training:
            self._end(f"the loss is {loss} at batch {batch}")

    def on_train_begin(self, logs: Any = None) -> None:
        self.model.executor.watch = True

    def on_train_end(self, logs: Any = None) -> None:
        """The last step may have ruined a weight after its loss."""
        for variable in () if self.model.stop_training else self.model.trainable_variables:
            if not is_finite(variable.numpy()):
                self._end(f"weight '{variable.path}' is not finite after the last step")
                break

    def _end(self, what: str) -> None:
        birth = self.model.executor.find_birth()
        story = f" It began with {birth}" if birth else ""
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: {what}.{story}")
        print(f"TerminateOnNaN: {what}; training stops.{story}")
        self.model.stop_training = True


def _rate(optimizer: Any) -> float:
    return float(np.asarray(optimizer.learning_rate))


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch to schedule(epoch, rate), or schedule(epoch).

    Args:
        schedule: a function of the epoch, from 0, and the rate now, that returns a number.
        verbose: 1 says what it sets.

    The logs get a "learning_rate".
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        super().__init__()
        self.schedule, self.verbose = schedule, verbose

    def _takes_rate(self) -> bool:
        try:
            inspect.signature(self.schedule).bind(0, 0.0)
        except TypeError:
            return False
        return True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        given = (epoch, _rate(optimizer)) if self._takes_rate() else (epoch,)
        rate = self.schedule(*given)
        if isinstance(rate, (str, bool, type(None))) or np.ndim(rate) != 0:
            raise ValueError(
                f"LearningRateScheduler: schedule{given} returns {rate!r}. Expected one number."
            )
        optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {float(rate):g}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs["learning_rate"] = _rate(self.model.optimizer)


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when the watched value stops getting better.

    Args:
        monitor, mode: the name in the logs, and "min", "max" or "auto" (as the metric says).
        factor: of the rate, in (0, 1).
        patience: epochs without a better value before a reduction.
        verbose: 1 says what it does.
        min_delta: the least change that counts as better.
        cooldown: epochs of rest after a reduction.
        min_lr: the rate is not reduced below it.

    The logs get a "learning_rate".
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor is in (0, 1). Received: {factor!r}")
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.on_train_begin()

    state_names = ("wait", "cooldown_counter", "best")

    def on_train_begin(self, logs: Any = None) -> None:
        self.wait, self.cooldown_counter, self.best = 0, 0, None

    def in_cooldown(self) -> bool:
        """Whether it rests after a reduction."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rate = _rate(self.model.optimizer)
        if logs is not None:
            logs["learning_rate"] = rate
        value = self._value(logs, "it will not change the learning rate")
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > np.float32(self.min_lr):
                self._reduce(max(rate * self.factor, self.min_lr), epoch)

    def _reduce(self, rate: float, epoch: int) -> None:
        self.model.optimizer.learning_rate = rate
        self.cooldown_counter, self.wait = self.cooldown, 0
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate reduced to {rate:g}")


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the moving averages of the weights, and trains without them.

    The optimizer must keep the averages: `use_ema=True`. Before `evaluate`, validation and
    `predict` the averages take the weights' place; afterwards they change back.

    Args:
        swap_on_epoch: also between the end of an epoch and the start of the next, so that a
            `ModelCheckpoint` that comes later in the list saves the averages.

    Raises:
        ValueError: when training begins and the optimizer keeps no averages.
    """

    state_names = ("_swapped",)

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch, self._swapped = swap_on_epoch, False

    def _swap(self, wanted: bool) -> None:
        if wanted == self._swapped:
            return
        for variable, average in self._pairs():
            value, mean = variable.value, average.value
            variable.assign(mean)
            average.assign(value)
        self._swapped = wanted

    def _pairs(self) -> list[tuple[Any, Any]]:
        pairs = self.model.optimizer.averages if self.model.optimizer is not None else []
        if not pairs:
            raise ValueError(
                "SwapEMAWeights: the optimizer keeps no averages of the weights. Compile with an "
                "optimizer that has use_ema=True, and fit() before evaluate()."
            )
        return pairs

    def on_train_begin(self, logs: Any = None) -> None:
        self._pairs()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.swap_on_epoch:
            return
        self._swap(True)
        if self.model.stop_training or epoch + 1 == (self.params or {}).get("epochs"):
            # the end of fit() gives the weights what is among the averages
            for variable, average in self._pairs():
                average.assign(variable.value)
            self._swapped = False

    def on_test_begin(self, logs: Any = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Any = None) -> None:
        self._swap(False)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._swap(True)

    def on_predict_end(self, logs: Any = None) -> None:
        self._swap(False)


class RemoteMonitor(Callback):
    """Posts the logs of each epoch to a server.

    A server that cannot be reached is warned of, and training goes on.

    Args:
        root, path: the address, in two parts.
        field: the form field that holds the logs as JSON.
        headers: of the request, as a dict.
        send_as_json: whether the body is the JSON itself, rather than a form.
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: dict[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        self.root, self.path, self.field = root, path, field
        self.headers, self.send_as_json = headers, send_as_json
        if not root.startswith(("http://", "https://")):
            raise ValueError(f"RemoteMonitor: root is an http(s) address. Received: {root!r}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        values = {name: np.asarray(v).tolist() for name, v in (logs or {}).items()}
        text = json.dumps({"epoch": epoch, **values})
        body = text if self.send_as_json else urllib.parse.urlencode({self.field: text})
        kind = "json" if self.send_as_json else "x-www-form-urlencoded"
        headers = {"Content-Type": f"application/{kind}", **(self.headers or {})}
        request = urllib.request.Request(self.root + self.path, body.encode(), headers)
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except OSError as error:
            warnings.warn(f"RemoteMonitor: cannot reach {self.root}: {error}", stacklevel=2)


__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "MlflowCallback",
    "ModelCheckpoint",
    "OrbaxCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
    "WandbMetricsLogger",
]
