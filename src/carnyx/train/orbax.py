"""OrbaxCheckpoint: checkpoints of a training in the format of the package `orbax-checkpoint`.

How they are read is in `save/orbax.py`.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from typing import Any

from carnyx.save import orbax
from carnyx.save.archive import config_of
from carnyx.save.state_tree import state_tree
from carnyx.train.monitor import MonitorCallback


class OrbaxCheckpoint(MonitorCallback):
    """Saves the model's state with Orbax, every epoch or every so many batches.

    `model.load_weights(directory)` and `carnyx.saving.load_model(directory)` read the last step,
    or that of `directory/<step>`; so does Keras.

    Args:
        directory: the folder, with a folder for each step: the epoch from 0, or (if saved by
            batches) the batches trained.
        monitor, mode: what `save_best_only` watches.
        verbose: 1 says what is saved.
        save_best_only: whether to save only when the watched value became better.
        save_freq: "epoch", or a number of batches, counted on over epochs.
        initial_value_threshold: the value that the first save must beat.
        max_to_keep: of the last steps; None keeps all.
        save_on_background: whether training goes on while files are written.
        save_weights_only: the weights alone, without config, optimizer and metrics.

    Raises:
        ImportError: `orbax-checkpoint` is not installed.
    """

    state_names = ("best", "_since", "_batches")

    def __init__(
        self,
        directory: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
        max_to_keep: int | None = 1,
        save_on_background: bool = True,
        save_weights_only: bool = False,
    ) -> None:
        super().__init__(monitor, mode)
        if save_freq != "epoch" and not (type(save_freq) is int and save_freq > 0):
            raise ValueError(
                "OrbaxCheckpoint: save_freq is 'epoch' or a number of batches from 1. "
                f"Received: {save_freq!r}"
            )
        self.directory = os.path.abspath(os.fspath(directory))
        self.verbose, self.save_best_only, self.save_freq = verbose, save_best_only, save_freq
        self.best, self.max_to_keep = initial_value_threshold, max_to_keep
        self.save_on_background, self.save_weights_only = save_on_background, save_weights_only
        self._since = self._batches = 0  # batches since the last save, and in all
        self._ocp = orbax.library()
        self.checkpointer: Any = self._made()

    def _made(self) -> Any:
        training = self._ocp.training
        keep = self.max_to_keep
        policies = training.preservation_policies
        return training.Checkpointer(
            self.directory,
            preservation_policy=None if keep is None else policies.LatestN(keep),
            save_decision_policy=training.save_decision_policies.FixedIntervalPolicy(1),
        )

    def is_multihost_enabled(self) -> bool:
        """Whether several processes train as one."""
        return self._ocp.multihost.is_jax_distributed_client_initialized()

    def is_primary_host(self) -> bool:
        """Whether this process is the first of them, or alone."""
        return not self.is_multihost_enabled() or self._ocp.multihost.is_primary_host(0)

    def wait_until_finished(self) -> None:
        """Waits until all is written."""
        if self.checkpointer is not None:  # between trainings nothing is being written
            self.checkpointer.wait()

    def steps_until_look(self, mode: str = "train") -> float:
        if mode != "train" or self.save_freq == "epoch":
            return math.inf
        return int(self.save_freq) - self._since

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None:
            self._batches = int(optimizer.iterations)

    def on_train_begin(self, logs: Any = None) -> None:
        if self.checkpointer is None:
            self.checkpointer = self._made()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        self._since += 1
        if self.save_freq != "epoch" and self._since >= int(self.save_freq):
            self._since = 0
            self._save(self._batches, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs)

    def _save(self, step: int, logs: Any) -> None:
        if self.save_best_only:
            value = self._value(logs, "it will not save")
            if value is None or not self._better(value, self.best):
                return
            self.best = value
        tree = state_tree(self.model)
        parts: dict[str, Any] = {"pytree": tree}
        if self.save_weights_only:
            parts["pytree"] = {k: v for k, v in tree.items() if "trainable" in k}
        else:
            self._check_assets()
            parts["model_config"] = {"config": json.dumps(config_of(self.model))}
        last = self.checkpointer.latest
        if last is not None and step < last.step:
            warnings.warn(
                f"OrbaxCheckpoint: {self.directory} has step {last.step} already, beside which "
                f"step {step} counts as old. A training that begins anew wants its own folder.",
                stacklevel=2,
            )
        save = self.checkpointer.save_checkpointables_async
        if not self.save_on_background:
            save = self.checkpointer.save_checkpointables
        save(step, parts, force=True, overwrite=True)
        if self.verbose:
            print(f"Saved {os.path.join(self.directory, str(step))}")

    def _check_assets(self) -> None:
        for layer in self.model._flatten_layers():
            if hasattr(layer, "save_assets"):
                raise ValueError(
                    f"OrbaxCheckpoint: layer '{layer.name}' keeps a vocabulary, which these "
                    "checkpoints do not hold. Save weights only, or '.keras' by ModelCheckpoint."
                )

    def _release(self) -> None:
        """Waits for what is being written, however the training ends."""
        if self.checkpointer is not None:
            self.checkpointer.close()
            self.checkpointer = None
