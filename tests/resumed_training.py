"""A training that `test_resume.py` kills, started as a process of its own.

Prints "training" when the first step is done and "trained" after the last, and writes what came out
to `end.npz`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import carnyx
from carnyx import callbacks, layers, utils
from carnyx.data.dataset import Dataset

BATCH = 8


class Batches(carnyx.utils.PyDataset):
    """By index, with noise from NumPy's global generator and rows that change places."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y, self.rows = x, y, np.arange(len(x))

    def __len__(self) -> int:
        return -(-len(self.x) // BATCH)

    def __getitem__(self, i: int) -> Any:
        rows = self.rows[i * BATCH :][:BATCH]
        return self.x[rows] + np.random.normal(0, 0.1), self.y[rows]  # noqa: NPY002

    def on_epoch_end(self) -> None:
        self.rows = self.rows[::-1]


class Slow(callbacks.Callback):
    """Makes steps take long enough to be killed, and says when the first is done."""

    sees_only_logs = True
    told = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.told:
            print("training", flush=True)
            self.told = True
        time.sleep(PAUSE)


def slow_disk(seconds: float) -> None:
    """What forces to the disk and what renames takes so long, before and after it does so."""

    def slowed(call: Any) -> Any:
        def run(*arguments: Any) -> Any:
            time.sleep(seconds)
            result = call(*arguments)
            time.sleep(seconds)
            return result

        return run

    os.fsync, os.replace = slowed(os.fsync), slowed(os.replace)


def generated(x: Any, y: Any) -> Iterator[Any]:
    random = np.random.default_rng(3)
    while True:
        rows = random.integers(0, len(x), BATCH)
        yield x[rows], y[rows]


def fit(model: Any, kind: str, x: Any, y: Any, **arguments: Any) -> Any:
    if kind == "arrays":
        return model.fit(x, y, batch_size=BATCH, **arguments)
    if kind == "parts":  # epochs that begin in the middle of a pass
        return model.fit(x, y, batch_size=BATCH, steps_per_epoch=29, **arguments)
    if kind == "dataset":
        return model.fit(Batches(x, y), **arguments)
    if kind == "stored":
        np.save(FOLDER / "x.npy", x)
        rows = np.load(FOLDER / "x.npy", mmap_mode="r")
        return model.fit(rows, y, batch_size=BATCH, **arguments)
    if kind == "shuffled":  # samples, by a buffer
        samples = Dataset.of_samples([*zip(x, y, strict=True)], None, shuffle=False)
        return model.fit(samples.shuffle(100, seed=3).batch(BATCH), **arguments)
    assert kind == "generator"
    return model.fit(generated(x, y), steps_per_epoch=50, **arguments)


def main() -> None:
    utils.set_random_seed(5)
    random = np.random.default_rng(0)
    x = random.normal(size=(OPTIONS["rows"], 12)).astype("float32")
    y = (x[:, :3].argmax(1)).astype("int32")
    model = carnyx.Sequential(
        [
            layers.Dense(24, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    hooks = [
        callbacks.BackupAndRestore(
            FOLDER / "backup", OPTIONS["frequency"], double_checkpoint=OPTIONS["double"]
        ),
        callbacks.ReduceLROnPlateau(patience=1, min_delta=0.1, factor=0.8),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.97),
        callbacks.EarlyStopping(patience=20, restore_best_weights=True),
        Slow(),
    ]
    history = fit(
        model,
        KIND,
        x,
        y,
        epochs=OPTIONS["epochs"],
        verbose=0,
        validation_data=(x[:64], y[:64]),
        callbacks=hooks,
    )
    print("trained", flush=True)
    values = [v.numpy() for v in [*model.variables, *model.optimizer.variables]]
    named = {f"value{i}": value for i, value in enumerate(values)}
    text = np.array(json.dumps([history.history, history.epoch], sort_keys=True))
    np.savez(FOLDER / "end.npz", history=text, **named)


if __name__ == "__main__":
    FOLDER, OPTIONS = Path(sys.argv[1]), json.loads(sys.argv[2])
    KIND, PAUSE = OPTIONS["kind"], OPTIONS["pause"]
    if OPTIONS["disk"]:
        slow_disk(OPTIONS["disk"])
    main()
