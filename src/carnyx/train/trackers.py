"""Trackers: what a training does, written to MLflow and to Weights & Biases.

Each is a thin layer over the tracker's own package, which is imported when the callback is made.
What a callback is stands in `hooks.py`; files for TensorBoard are written in `tensorboard.py`.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from carnyx.data.checks import check_count
from carnyx.train.hooks import Callback

SECONDS_BETWEEN_WRITES = 5.0  # a write may be a request to a server
METRICS_PER_WRITE, PARAM_LENGTH = 1000, 500  # what MLflow's servers take


class Tracker(Callback):
    """Base of callbacks that send the logs' single numbers, and the model's file, elsewhere."""

    sees_only_logs = True
    state_names = ("_batches",)
    package = ""

    def __init__(self, log_model: bool) -> None:
        super().__init__()
        self.log_model = log_model
        self._batches = 0  # trained so far
        self._library("")

    def _library(self, module: str) -> Any:
        try:
            return importlib.import_module(self.package + module)
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__} needs the package {self.package}: "
                f"pip install {self.package} ({error})"
            ) from error

    def _settings(self) -> dict[str, Any]:
        """What the training was told: plain data by name."""
        model, params = self.model, self.params or {}
        found = {name: params.get(name) for name in ("epochs", "steps")}
        found |= {"model": model.name, "parameters": model.count_params()}
        if model.loss is not None:
            found["loss"] = _name(model.loss)
        if model.optimizer is not None:
            found["optimizer"] = type(model.optimizer).__name__
            config = model.optimizer.get_config()
            found |= {f"optimizer_{k}": v for k, v in config.items() if k != "name"}
        return {name: value for name, value in found.items() if value is not None}

    def _epoch_logs(self, logs: Any) -> dict[str, float]:
        optimizer = self.model.optimizer
        rate = {} if optimizer is None else {"learning_rate": optimizer.learning_rate}
        return _numbers({**rate, **(logs or {})})

    def on_train_end(self, logs: Any = None) -> None:
        if self.log_model:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{self.model.name}.keras"
                self.model.save(path)
                self._send_model(path)

    def _send_model(self, path: Path) -> None:
        raise NotImplementedError


def _numbers(logs: Any) -> dict[str, float]:
    return {name: float(np.asarray(v)) for name, v in (logs or {}).items() if np.ndim(v) == 0}


def _name(value: Any) -> Any:
    """Losses by name, in the structure that `compile` was given."""
    if isinstance(value, dict):
        return {key: _name(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_name(item) for item in value]
    known = value is None or isinstance(value, str)
    return value if known else getattr(value, "name", None) or getattr(value, "__name__", "?")


class MlflowCallback(Tracker):
    """Writes parameters, metrics and a summary of the model into a run of MLflow.

    Parameters are `epochs`, `steps`, `loss`, `optimizer` and its config; those that the run has
    already stay as they are. Metrics have their names in the logs ("loss", "val_loss") and the
    epoch, from 0, as their step, or the number of batches trained. "model_summary.txt" is an
    artifact. MLflow's own callback of this name writes the same for Keras models.

    Args:
        run: the run, as `mlflow.start_run()` returns it; None takes the active one, or starts one
            and ends it with the training (as failed if an exception ends that).
        log_every_epoch: whether logs are written by the epoch.
        log_every_n_steps: with `log_every_epoch=False`, batches between writing logs of batches;
            those of validation are written when they come.
        log_model: whether the model is put among the artifacts at the end, as "<name>.keras". To
            have the best weights in it, put the callback after an EarlyStopping in the list.

    Raises:
        ImportError: neither `mlflow` nor `mlflow-skinny` is installed.
        ValueError: both, or none, of the two ways of writing are asked for.
    """

    package = "mlflow"

    def __init__(
        self,
        run: Any = None,
        log_every_epoch: bool = True,
        log_every_n_steps: int | None = None,
        *,
        log_model: bool = False,
    ) -> None:
        super().__init__(log_model)
        check_count("log_every_n_steps", log_every_n_steps, "MlflowCallback()")
        if log_every_epoch == (log_every_n_steps is not None):
            raise ValueError(
                "MlflowCallback: logs are written either by the epoch or, with "
                "log_every_epoch=False, every log_every_n_steps batches. Received: "
                f"log_every_epoch={log_every_epoch}, log_every_n_steps={log_every_n_steps}"
            )
        self.run, self.log_every_n_steps = run, log_every_n_steps
        self._started = False  # a run of our own, which is still to be ended
        self._waiting: list[Any] = []  # metrics to be written
        self._written = 0.0  # when the last ones were

    def on_train_begin(self, logs: Any = None) -> None:
        mlflow = self._library("")
        run = self.run or mlflow.active_run()
        if run is None:
            run, self._started = mlflow.start_run(), True
        self._run_id, self._client = run.info.run_id, self._library(".tracking").MlflowClient()
        self._batches, self._written = 0, time.monotonic()
        known = self._client.get_run(self._run_id).data.params
        param = self._library(".entities").Param
        new = {k: v for k, v in self._settings().items() if k not in known}
        params = [param(name, str(value)[:PARAM_LENGTH]) for name, value in new.items()]
        self._client.log_batch(self._run_id, params=params)
        lines: list[str] = []
        self.model.summary(print_fn=lines.append)
        self._client.log_text(self._run_id, "\n".join(lines), "model_summary.txt")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        if self.log_every_n_steps and self._batches % self.log_every_n_steps == 0:
            self._log(_numbers(logs), self._batches)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        found, step = self._epoch_logs(logs), epoch
        if self.log_every_n_steps:
            found = {name: v for name, v in found.items() if name.startswith("val_")}
            step = self._batches
        self._log(found, step)

    def _log(self, logs: dict[str, float], step: int) -> None:
        metric, now = self._library(".entities").Metric, int(1000 * time.time())
        self._waiting += [metric(name, value, now, step) for name, value in logs.items()]
        if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self._write()

    def _write(self) -> None:
        metrics, self._waiting, self._written = self._waiting, [], time.monotonic()
        for start in range(0, len(metrics), METRICS_PER_WRITE):
            part = metrics[start : start + METRICS_PER_WRITE]
            self._client.log_batch(self._run_id, metrics=part)

    def _send_model(self, path: Path) -> None:
        self._client.log_artifact(self._run_id, str(path))

    def on_train_end(self, logs: Any = None) -> None:
        self._write()
        super().on_train_end(logs)
        self._end("FINISHED")

    def _release(self) -> None:
        """What is still open here was ended by an exception."""
        if self._waiting:
            self._write()
        self._end("FAILED")

    def _end(self, status: str) -> None:
        if self._started:
            self._started = False
            self._library("").end_run(status)


class WandbMetricsLogger(Tracker):
    """Writes metrics into the run of Weights & Biases, and the training's settings into its config.

    Names are "epoch/<name>" over "epoch/epoch", from 0, with "epoch/learning_rate"; by the batch
    also "batch/<name>" over "batch/batch_step", the number of batches trained. Those of W&B's own
    callback of this name, which is for Keras on TensorFlow.

    Args:
        log_freq: "epoch", "batch", or every so many batches: when logs of batches are written.
        initial_global_step: batches trained before this training.
        log_model: whether the model's file becomes an artifact of type "model" at the end, under
            the model's name. To have the best weights in it, put the callback after an
            EarlyStopping in the list.

    Raises:
        ImportError: `wandb` is not installed.
        RuntimeError: (in `fit`) there is no run.
    """

    package = "wandb"

    def __init__(
        self,
        log_freq: int | str = "epoch",
        initial_global_step: int = 0,
        *,
        log_model: bool = False,
    ) -> None:
        super().__init__(log_model)
        every = {"epoch": 0, "batch": 1}.get(str(log_freq), log_freq)
        if type(every) is not int or (every < 1 and log_freq != "epoch"):
            raise ValueError(
                "WandbMetricsLogger: log_freq is 'epoch', 'batch' or a number of batches from 1. "
                f"Received: {log_freq!r}"
            )
        check_count("initial_global_step", initial_global_step, "WandbMetricsLogger()", 0)
        self.log_freq, self._every = log_freq, every
        self.initial_global_step = initial_global_step

    def on_train_begin(self, logs: Any = None) -> None:
        self._run = self._library("").run
        if self._run is None:
            raise RuntimeError(
                "WandbMetricsLogger: Weights & Biases has no run to write into. Call "
                "wandb.init(project=...) before fit(), with mode='offline' if there is no server."
            )
        self._batches = self.initial_global_step
        self._run.config.update(self._settings(), allow_val_change=True)
        for group, axis in (("epoch", "epoch"), ("batch", "batch_step")):
            self._run.define_metric(f"{group}/{axis}")
            self._run.define_metric(f"{group}/*", step_metric=f"{group}/{axis}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        if self._every and self._batches % self._every == 0:
            self._log("batch", {**_numbers(logs), "batch_step": self._batches})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._log("epoch", {**self._epoch_logs(logs), "epoch": epoch})

    def _log(self, group: str, values: dict[str, Any]) -> None:
        self._run.log({f"{group}/{name}": value for name, value in values.items()})

    def _send_model(self, path: Path) -> None:
        artifact = self._library("").Artifact(self.model.name, type="model")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)
