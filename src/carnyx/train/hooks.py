"""Hooks: what a callback is, and the list that calls callbacks as one.

With them stand the two that every `fit` has: `History` and `ProgbarLogger`. The others are in
`callbacks.py`; what `verbose` shows is drawn in `progress.py`; the loops are in `model.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from carnyx.train.progress import Page, Progbar, notebook_page

MODES = ("train", "test", "predict")
BATCH_HOOKS = tuple(f"on_{mode}_batch_{when}" for mode in MODES for when in ("begin", "end"))
OLD_HOOKS = ("on_batch_begin", "on_batch_end")
EPOCH_HOOKS = ("on_epoch_begin", "on_epoch_end")
MODE_HOOKS = tuple(f"on_{mode}_{when}" for mode in MODES for when in ("begin", "end"))
HOOKS = BATCH_HOOKS + OLD_HOOKS + EPOCH_HOOKS + MODE_HOOKS


class Callback:
    """Base of all callbacks: override the hooks that you need.

    A hook gets the index of the batch or epoch, from 0, and the logs so far, a dict of floats.
    A callback that overrides a batch hook may look at the weights after every step, so the loop
    runs one step at a time, which costs speed. Set `sees_only_logs = True`, in the class or on an
    object, if it reads only the logs: then many steps run in one call and their logs come after
    it. One that looks now and then says when, in `steps_until_look`.

    `state_names` are the attributes, plain data and arrays, that a training which is interrupted
    and resumed (`BackupAndRestore`) must have again.

    Attributes:
        model: the model.
        params: a dict with "verbose", "epochs" and "steps" (None if unknown).

    >>> class Shout(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"EPOCH {epoch}: {logs['loss']}")
    >>> CallbackList([Shout()]).on_epoch_end(0, {"loss": 0.5})
    EPOCH 0: 0.5
    """

    sees_only_logs = False
    state_names: tuple[str, ...] = ()
    _model: Any = None
    params: dict[str, Any] | None = None

    def __init__(self) -> None:
        self.params = None
        self._model = None

    @property
    def model(self) -> Any:
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self._model = model

    def steps_until_look(self, mode: str = "train") -> float:
        """How many more steps of "train", "test" or "predict" may run before the next look."""
        hooks = [f"on_{mode}_batch_{when}" for when in ("begin", "end")]
        looks = not self.sees_only_logs and any(overrides(self, hook) for hook in hooks)
        return 1 if looks else math.inf

    def _at_rest(self, run: Any) -> None:
        """After all hooks of an epoch's end, and of a step after which the loop stands still.

        The variables are those after that step: `run` (`run.py`) can take a snapshot of them.
        """

    def _release(self) -> None:
        """However a loop ends, by an exception too: gives back what `on_train_begin` took."""

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """An older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """An older name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before an epoch of training."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """After an epoch and its validation, whose logs begin with "val_"."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a step of training."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a step of training; the logs are means over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of `evaluate` or of validation."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of `evaluate` or of validation."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of `predict`; the logs are {"outputs": arrays}."""

    def on_train_begin(self, logs: Any = None) -> None:
        """When `fit` begins."""

    def on_train_end(self, logs: Any = None) -> None:
        """When `fit` ends; the logs are the last epoch's."""

    def on_test_begin(self, logs: Any = None) -> None:
        """When `evaluate` or validation begins."""

    def on_test_end(self, logs: Any = None) -> None:
        """When `evaluate` or validation ends."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """When `predict` begins."""

    def on_predict_end(self, logs: Any = None) -> None:
        """When `predict` ends."""


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback does anything in a hook, under its newer or older name.

    >>> overrides(ProgbarLogger(), "on_test_begin"), overrides(History(), "on_test_begin")
    (True, False)
    """
    names = [hook, hook.replace("train_", "")] if hook.startswith("on_train_batch") else [hook]
    return any(
        getattr(type(callback), name) is not getattr(Callback, name) or name in vars(callback)
        for name in names
    )


def plain_logs(logs: Any) -> dict[str, Any]:
    """Logs by name in order, single numbers as floats; as given if they are so already.

    >>> plain_logs({"loss": np.float32(0.5), "accuracy": 1})
    {'accuracy': 1.0, 'loss': 0.5}
    """
    if not logs:
        return {}
    last = ""
    for name, value in logs.items():  # runs each step: no copy in the usual case
        if type(value) is not float or name < last:
            break
        last = name
    else:
        return logs
    result: dict[str, Any] = {}
    for name, value in sorted(logs.items()):
        if isinstance(value, dict):
            result |= plain_logs(value)
        elif isinstance(value, (int, float, np.generic, np.ndarray, jax.Array)) and not np.ndim(
            value
        ):
            result[name] = float(value)
        else:
            result[name] = value
    return result


class CallbackList(Callback):
    """Callbacks called as one, in their order; batch hooks that nobody overrides cost nothing.

    Args:
        callbacks: a Callback, or a list (of lists) of them.
        add_history: adds a `History` if there is none; it becomes `model.history`.
        add_progbar: adds a `ProgbarLogger` if there is none.
        model: given to all.
        params: given to all, as a dict.

    >>> hooks = CallbackList([ProgbarLogger()], add_history=True, epochs=1)
    >>> hooks.steps_until_look(), hooks.params
    (inf, {'epochs': 1})
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.callbacks: list[Any] = list(jax.tree.leaves(callbacks))
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                made = " It is a class: make an object of it." if callable(callback) else ""
                raise TypeError(
                    f"callbacks: {callback!r} is no Callback.{made} Pass objects such as "
                    "EarlyStopping(); functions go into a LambdaCallback."
                )
        self._history = self._only(History, add_history)
        self._only(ProgbarLogger, add_progbar)
        self.set_model(model)
        self.set_params(params)
        self._bind()

    def _only(self, kind: type, add: bool) -> Any:
        found = [c for c in self.callbacks if isinstance(c, kind)]
        if add and not found:
            found = [kind()]
            self.callbacks += found
        return found[-1] if found else None

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks if params else ():
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        if model is None:
            return
        self._model = model
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            callback.set_model(model)

    def steps_until_look(self, mode: str = "train") -> float:
        """The least of all callbacks' answers."""
        return min((c.steps_until_look(mode) for c in self.callbacks), default=math.inf)

    def _at_rest(self, run: Any) -> None:
        for callback in self.callbacks:
            callback._at_rest(run)

    def _release(self) -> None:
        for callback in self.callbacks:
            callback._release()

    def _bind(self) -> None:
        """Makes the batch hooks anew, of those callbacks that override them now."""
        for hook in BATCH_HOOKS + OLD_HOOKS:
            acting = [c for c in self.callbacks if overrides(c, hook)]
            setattr(self, hook, _batch_hook([getattr(c, hook) for c in acting]))

    def _begin(self, hook: str, logs: Any) -> None:
        self._bind()
        self._call(hook, logs)

    def _call(self, hook: str, logs: Any, *index: int) -> None:
        logs = plain_logs(logs)
        for callback in self.callbacks:
            getattr(callback, hook)(*index, logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._call("on_epoch_begin", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._call("on_epoch_end", logs, epoch)

    def on_train_begin(self, logs: Any = None) -> None:
        self._begin("on_train_begin", logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._call("on_train_end", logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self._begin("on_test_begin", logs)

    def on_test_end(self, logs: Any = None) -> None:
        self._call("on_test_end", logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._begin("on_predict_begin", logs)

    def on_predict_end(self, logs: Any = None) -> None:
        self._call("on_predict_end", logs)


def _batch_hook(hooks: list[Callable[..., Any]]) -> Callable[..., None]:
    def call(batch: int, logs: Any = None) -> None:
        logs = plain_logs(logs)
        for hook in hooks:
            hook(batch, logs)

    def skip(batch: int, logs: Any = None) -> None:
        pass

    return call if hooks else skip


class History(Callback):
    """What `fit` returns.

    Attributes:
        history: dict from name to its values, one an epoch.
        epoch: the epochs, from 0.

    >>> history = History()
    >>> history.on_train_begin()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    state_names = ("history", "epoch", "_epochs")

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self._epochs: dict[str, list[int]] = {}  # name -> the epochs that have a value of it

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self._epochs.setdefault(name, []).append(epoch)
        if self.model is not None:
            self.model.history = self

    def plot(self, path: Any = None) -> Any:
        """Learning curves, a panel a metric with training and validation, as a matplotlib figure.

        The figure is saved if a `path` is given; its ending says how ("curves.png", ".pdf").
        Metrics that are no single numbers, such as a ConfusionMatrix, have no curve.
        """
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        curves = [name for name, values in self.history.items() if np.ndim(values[0]) == 0]
        names = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
        if not names:
            raise ValueError("History.plot: there is nothing to plot before an epoch has ended.")
        columns = min(len(names), 3)
        rows = math.ceil(len(names) / columns)
        figure = Figure(figsize=(4.4 * columns, 3.2 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in self.history:
                    epochs = [e + 1 for e in self._epochs[key]]
                    axes.plot(epochs, self.history[key], marker="o", markersize=3, label=label)
            axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        for axes in panels[len(names) :]:
            axes.remove()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


class ProgbarLogger(Callback):
    """Shows the progress that `verbose` asks for: see `Progbar`. Validation in `fit` is silent."""

    sees_only_logs = True

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progbar | None = None
        self._page: Page | None = None  # which all epochs share
        self._training = False

    def _start(self, prefix: str) -> None:
        self.close()
        params = self.params or {}
        self._bar = Progbar(params.get("steps"), verbose=params.get("verbose", 1), prefix=prefix)
        if self._bar.page is not None:
            self._bar.page = self._page or self._bar.page

    def _step(self, batch: int, logs: Any) -> None:
        bar = self._bar
        if bar is not None:
            bar.values = logs  # means already: nothing to average
            bar.advance(batch + 1)

    def _finish(self, logs: Any) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.values = logs or {}
            bar.finish()

    def close(self) -> None:
        """Takes the bar away, without its last line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _release(self) -> None:
        self.close()

    def on_train_begin(self, logs: Any = None) -> None:
        self._training, self._page = True, notebook_page()

    def on_train_end(self, logs: Any = None) -> None:
        self._training, self._page = False, None
        self.close()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        epochs = (self.params or {}).get("epochs") or 1
        self._start(f"Epoch {epoch + 1}/{epochs}" if epochs > 1 else "")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step(batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._finish(logs)

    def on_test_begin(self, logs: Any = None) -> None:
        if not self._training:
            self._start("Evaluate")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._training:
            self._step(batch, logs or {})

    def on_test_end(self, logs: Any = None) -> None:
        if not self._training:
            self._finish(logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._start("Predict")

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step(batch, {})

    def on_predict_end(self, logs: Any = None) -> None:
        self._finish({})
