"""Resume means resume: trainings that real signals kill end with the same bits as others."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import callbacks, layers
from carnyx.data.dataset import Dataset
from carnyx.save import backup

SCRIPT = Path(__file__).parent / "resumed_training.py"


# ---- real processes


class Training:
    """A training in processes of their own, in a folder of it.

    kind: of the data. frequency: `save_freq`. pause: seconds after each step, so that there are
    instants to kill at. disk: seconds that forcing to the disk and renaming take, twice.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.backup = folder, folder / "backup"
        self.over = False  # whether the last process had no step left: the kill before came last
        # 460 rows: a smaller last batch
        defaults = {"rows": 460, "epochs": 6, "pause": 0.003, "disk": 0, "double": True}
        self.options = {**defaults, **options}
        folder.mkdir()

    def start(self) -> subprocess.Popen[bytes]:
        """Returns when its first step is done."""
        # without compiling anew each time, and with the very same code
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(self.folder.parent / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }
        command = [sys.executable, str(SCRIPT), str(self.folder), json.dumps(self.options)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **cache})
        assert process.stdout is not None
        self.over = process.stdout.readline() == b"trained\n"
        return process

    def run(self) -> float:
        """Runs to the end; returns the seconds from the first step to the last."""
        process = self.start()
        assert process.stdout is not None
        began = time.perf_counter()
        process.stdout.readline()
        took = time.perf_counter() - began
        process.communicate()
        assert process.returncode == 0
        return took

    def kill(self, how: signal.Signals, after: float, choices: random.Random) -> str | None:
        """Starts it and kills it so many seconds after its first step; returns what was hit.

        SIGKILL on a slow disk waits for the next backup, and hits while that is written and
        renamed. None where training had ended: then it is as if this had not been tried.
        """
        before = self.folder.with_name("before")
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(self.folder, before)
        process = self.start()
        time.sleep(after)
        if self.options["disk"] and how == signal.SIGKILL:
            while not self.partial() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(choices.uniform(0, 5 * self.options["disk"]))
        process.send_signal(how)
        rest, _ = process.communicate()
        if self.over or b"trained" in rest:
            shutil.rmtree(self.folder)
            shutil.copytree(before, self.folder)
            return None
        assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143}[how]
        return "writing" if self.partial() else "training"

    def partial(self) -> bool:
        """Whether a file is not whole, or not yet renamed."""
        with contextlib.suppress(FileNotFoundError):  # the training ends and deletes the folder
            return any(self.backup.glob("*.partial"))
        return False

    def end(self) -> dict[str, bytes]:
        """What came out: weights, optimizer, History."""
        with np.load(self.folder / "end.npz") as file:
            return {name: file[name].tobytes() for name in file.files}


def kill_and_resume(folder: Path, kills: int, seed: int, **options: Any) -> list[str]:
    """A training that is killed so often ends with the bits of one that was not.

    The instants are drawn from the time that the latter took. Returns what each kill hit, "over"
    for those behind a kill that came after the last step.
    """
    choices = random.Random(seed)
    whole, killed = Training(folder / "whole", **options), Training(folder / "killed", **options)
    duration = whole.run()
    instants = sorted(choices.uniform(0, duration) for _ in range(kills))
    signals = choices.sample([signal.SIGKILL, signal.SIGTERM] * kills, kills - 2)
    signals += [signal.SIGKILL, signal.SIGTERM]  # each at least once
    choices.shuffle(signals)
    hits: list[str] = []
    for how, since, instant in zip(signals, [0.0, *instants], instants, strict=False):
        hit = killed.kill(how, instant - since, choices)
        while hit is None and not killed.over:
            hit = killed.kill(how, choices.uniform(0, instant - since), choices)
        hits.append(hit or "over")
    killed.run()
    assert killed.end() == whole.end()
    assert not killed.backup.exists(), "a finished training deletes its backups"
    return hits


def test_killed_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    options = {"kind": "arrays", "frequency": 7, "rows": 456, "epochs": 3}
    assert len(kill_and_resume(tmp_path, kills=3, seed=1, **options)) == 3


TWENTY: list[dict[str, Any]] = [
    {"kind": "arrays", "frequency": 5, "double": False},
    {"kind": "parts", "frequency": 11, "disk": 0.05},
    {"kind": "dataset", "frequency": 6, "disk": 0.05, "double": False},
    {"kind": "stored", "frequency": "epoch"},
    {"kind": "generator", "frequency": 9},
    {"kind": "shuffled", "frequency": 4, "disk": 0.05},
]


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    """Of arrays four, of each kind of stream three or more, some on a slow disk."""
    hits: list[str] = []
    for number, options in enumerate(TWENTY):
        folder = tmp_path / options["kind"]
        folder.mkdir()
        hits += kill_and_resume(folder, kills=4 if number < 2 else 3, seed=number, **options)
    print(Counter(hits))
    assert len(hits) == 20 and hits.count("writing") >= 3


# ---- in one process


class Stop(callbacks.Callback):
    """Ends a training by an exception at a batch of an epoch, or at the epoch's end."""

    sees_only_logs = True

    def __init__(self, epoch: int, batch: int | None) -> None:
        super().__init__()
        self.at, self.epoch = (epoch, batch), 0
        self.seen: list[tuple[int, int | None]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.meet(self.epoch, batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.meet(epoch, None)

    def meet(self, *place: Any) -> None:
        self.seen.append(place)
        if place == self.at:
            raise KeyboardInterrupt


X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


_models: dict[str, tuple[Any, list[Any]]] = {}


def model_of(optimizer: str = "adam") -> Any:
    """A model as it is when a process begins; what was compiled is kept from test to test."""
    from carnyx import optimizers

    kinds: dict[str, Any] = {
        "averages": lambda: optimizers.SGD(0.1, momentum=0.9, use_ema=True),
        "schedule-free": lambda: optimizers.ScheduleFreeAdamW(0.01),
        "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
    }
    if optimizer not in _models:
        carnyx.utils.set_random_seed(1)
        parts = [layers.Dense(7, "tanh"), layers.Dropout(0.2), layers.Dense(1)]
        model = carnyx.Sequential(parts, name="m")
        model.compile(kinds.get(optimizer, lambda: optimizer)(), "mse", steps_per_execution=1)
        model.build((None, 5))
        model.optimizer.build(model.trainable_variables)
        _models[optimizer] = model, [(v, v.numpy()) for v in state(model)]
    model, start = _models[optimizer]
    model._use_averages(False)
    carnyx.utils.set_random_seed(1)
    for variable, value in start:
        variable.assign(value)
    return model


def state(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def values(model: Any) -> list[bytes]:
    return [v.numpy().tobytes() for v in state(model)]


Fitted = tuple[Any, Any, Stop]


def fit(data: Any, hooks: list[Any], made: Any = model_of, **arguments: Any) -> Fitted:
    """A fresh model trained on what `data()` gives; an interrupted one has no history."""
    model, stop, history = made(), next(h for h in hooks if isinstance(h, Stop)), None
    with contextlib.suppress(KeyboardInterrupt):
        history = model.fit(*data(), verbose=0, callbacks=hooks, **arguments).history
    return model, history, stop


def check(folder: Path, at: tuple[int, int | None], data: Any, **arguments: Any) -> Fitted:
    """A training that is interrupted there and goes on is one that was never interrupted."""
    hooks = arguments.pop("hooks", list)
    save = arguments.pop("save_freq", 1)

    def run(name: str, *place: Any) -> Fitted:
        own = [callbacks.BackupAndRestore(folder / name, save), *hooks(), Stop(*place)]
        return fit(data, own, **arguments)

    model, history, seen = run("whole", -1, -1)
    wanted = values(model)
    assert run("broken", *at)[1] is None
    model, found, rest = run("broken", -1, -1)
    assert values(model) == wanted
    assert found == history
    assert rest.seen == seen.seen[len(seen.seen) - len(rest.seen) :]
    assert save == 1 or len(rest.seen) < len(seen.seen), "a backup was taken up"
    return model, found, rest


def arrays() -> Any:
    return X, Y


class Rows(carnyx.utils.PyDataset):
    """Batches by index, which counts what it makes."""

    made = 0

    def __len__(self) -> int:
        return 5

    def __getitem__(self, i: int) -> Any:
        Rows.made += 1
        return X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8]


def endless() -> Any:
    random = np.random.default_rng(2)
    while True:
        rows = random.integers(0, 40, 8)
        yield X[rows], Y[rows]


def shuffled_by_numpy() -> Any:
    """A function that makes a stream, in another order each pass, from NumPy's generator."""

    def begin() -> Any:
        for rows in np.random.permutation(40).reshape(5, 8):  # noqa: NPY002
            yield X[rows], Y[rows]

    return (begin,)


def eighths(step: int) -> Any:
    """A function that makes a stream."""
    return (lambda: iter([(X[i : i + 8], Y[i : i + 8]) for i in range(0, 32, step)]),)


def samples(shuffle: bool = True) -> Dataset:
    return Dataset.of_samples([*zip(X, Y, strict=True)], None, shuffle=shuffle, seed=3)


class Noisy(Rows):
    """With noise from NumPy's global generator, and rows that change places each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = np.arange(40)

    def __getitem__(self, i: int) -> Any:
        rows = self.rows[8 * i : 8 * i + 8]
        return X[rows] + np.random.normal(0, 0.1), Y[rows]  # noqa: NPY002

    def on_epoch_end(self) -> None:
        self.rows = self.rows[::-1]


@pytest.mark.parametrize("at", [(0, 0), (1, 2), (1, 4), (1, None), (2, 4)], ids=str)
def test_arrays_go_on_at_their_place(at: tuple[int, int | None], tmp_path: Path) -> None:
    _, history, rest = check(tmp_path, at, arrays, batch_size=9, epochs=3)
    epoch, batch = at
    # the hook that interrupts comes before the backup of its own step
    assert rest.seen[0] == (epoch, batch if batch is not None else None)
    assert len(history["loss"]) == 3


DATA: dict[str, tuple[Any, dict[str, Any]]] = {
    "parts of a pass": (arrays, dict(batch_size=5, steps_per_epoch=4)),
    "whole batches": (arrays, dict(batch_size=8, shuffle="batch")),
    "dataset": (lambda: (Rows(),), {}),
    "noisy dataset": (lambda: (Noisy(),), {}),
    "dataset in threads": (lambda: (Rows(workers=2),), {}),
    "generator": (lambda: (endless(),), dict(steps_per_epoch=4)),
    "function": (lambda: eighths(8), {}),
    "function, parts": (lambda: eighths(4), dict(steps_per_epoch=4)),
    "shuffled samples": (lambda: (samples().batch(8),), {}),
    "shuffling buffer": (lambda: (samples(False).shuffle(9, seed=3).batch(8),), {}),
    "NumPy's generator": (shuffled_by_numpy, {}),
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("at", [(1, 2), (1, 3), (1, None)], ids=str)
def test_streams_go_on_at_their_place(kind: str, at: Any, tmp_path: Path) -> None:
    data, arguments = DATA[kind]
    check(tmp_path, at, data, epochs=3, **arguments)


@pytest.mark.parametrize("kind", DATA)
def test_streams_go_on_after_an_epoch(kind: str, tmp_path: Path) -> None:
    """The last backup is that of the end of the second."""
    data, arguments = DATA[kind]
    check(tmp_path, (2, 1), data, epochs=4, save_freq="epoch", **arguments)


def test_datasets_are_taken_up_without_making_batches_again(tmp_path: Path) -> None:
    fit(lambda: (Rows(),), [callbacks.BackupAndRestore(tmp_path / "a", 1), Stop(1, 3)], epochs=2)
    Rows.made = 0
    fit(lambda: (Rows(),), [callbacks.BackupAndRestore(tmp_path / "a", 1), Stop(-1, -1)], epochs=2)
    assert Rows.made <= 3  # `fit` looks at the first batch, and two were left


@pytest.mark.parametrize("frequency", [1, "epoch"])
def test_stored_rows_go_on_at_their_place(frequency: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    at = (1, 2)
    check(tmp_path, at, lambda: (stored, Y), batch_size=8, epochs=3, save_freq=frequency)


def test_validation_and_what_callbacks_remember_go_on(tmp_path: Path) -> None:
    def hooks() -> list[Any]:
        return [
            callbacks.ReduceLROnPlateau(patience=1, min_delta=0.5, factor=0.5),
            callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            callbacks.EarlyStopping(patience=2, min_delta=0.3, restore_best_weights=True),
        ]

    for name, at in (("a", (2, 1)), ("b", (2, None))):
        folder = tmp_path / name
        folder.mkdir()
        model, history, _ = check(
            folder, at, arrays, epochs=9, validation_data=(X[:8], Y[:8]), hooks=hooks, batch_size=8
        )
        assert len(history["val_loss"]) < 9, "early stopping decides"


@pytest.mark.parametrize("name", ["averages", "schedule-free", "scaled"])
def test_optimizers_with_more_state_go_on(name: str, tmp_path: Path) -> None:
    for place in ((1, 2), (1, None)):
        folder = tmp_path / str(place)
        folder.mkdir()
        arguments = dict(batch_size=8, epochs=3, validation_data=(X[:8], Y[:8]))
        check(folder, place, arrays, made=lambda: model_of(name), **arguments)


def test_initial_epoch_is_as_in_keras(tmp_path: Path) -> None:
    """A backup decides over `initial_epoch`; without one that is where training begins."""
    hooks = [callbacks.BackupAndRestore(tmp_path / "a"), Stop(4, None)]
    _, _, stop = fit(arrays, hooks, epochs=6, batch_size=8, initial_epoch=2)
    assert stop.seen[0][0] == 2
    _, history, stop = fit(
        arrays, [hooks[0], Stop(-1, -1)], epochs=6, batch_size=8, initial_epoch=2
    )
    assert stop.seen[0] == (4, 0) and len(history["loss"]) == 4


def test_finished_training_that_keeps_its_backup_goes_on_when_told_more(tmp_path: Path) -> None:
    def run(epochs: int) -> Fitted:
        kept = callbacks.BackupAndRestore(tmp_path / "a", delete_checkpoint=False)
        return fit(arrays, [kept, Stop(-1, -1)], epochs=epochs, batch_size=8)

    model, history, _ = run(2)
    wanted = values(model)
    model, same, stop = run(2)
    assert values(model) == wanted and same == history and not stop.seen
    model, _, stop = run(4)
    found = values(model)
    assert stop.seen[0] == (2, 0)
    assert found == values(fit(arrays, [Stop(-1, -1)], epochs=4, batch_size=8)[0])


def test_steps_between_backups_run_in_one_call(tmp_path: Path) -> None:
    class Calls(callbacks.Callback):
        def __init__(self) -> None:
            self.ends: list[int] = []

        def _at_rest(self, run: Any) -> None:
            self.ends.append(run.steps)

    model, calls = model_of(), Calls()
    model._steps_per_execution = 100
    hooks = [
        callbacks.BackupAndRestore(tmp_path / "a", save_freq=2),
        callbacks.ModelCheckpoint(tmp_path / "b.weights.h5", save_freq=3, save_weights_only=True),
        calls,
    ]
    try:
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=hooks)
    finally:
        model._steps_per_execution = 1
    assert calls.ends == [2, 3, 4, 5, 5, 6, 8, 9, 10, 10]


# ---- files


TREE = {
    "a": [1, None, True, "text", 2**100, float("inf"), -0.0, 1e-320],
    "b": {"c": np.arange(6, dtype="int8").reshape(2, 3), "d": np.zeros((0, 3))},
    "e": np.array(3.5, "float16"),
}


def test_file_gives_back_what_was_written(tmp_path: Path) -> None:
    import jax.numpy as jnp

    tree = {**TREE, "f": jnp.arange(5, dtype="bfloat16"), "g": np.array([1 + 2j])}
    backup.write(tmp_path / "a.npz", tree)
    found = backup.read(tmp_path / "a.npz")
    assert found["a"] == tree["a"] and str(found["a"][-2]) == "-0.0"
    pairs = zip(
        (found["b"]["c"], found["b"]["d"], found["e"], found["f"], found["g"]),
        (tree["b"]["c"], tree["b"]["d"], tree["e"], tree["f"], tree["g"]),
        strict=True,
    )
    for one, other in pairs:
        other = np.asarray(other)
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    assert not list(tmp_path.glob("*.partial"))
    with np.load(tmp_path / "a.npz") as file:  # NumPy reads it
        assert json.loads(file["header"].tobytes())["format"] == backup.FORMAT


def test_no_broken_file_is_taken_for_a_whole_one(tmp_path: Path) -> None:
    """Cut anywhere, or with a byte changed anywhere, a file is refused or says the same."""
    path, random_ = tmp_path / "a.npz", np.random.default_rng(0)
    backup.write(path, TREE)
    whole, wanted = path.read_bytes(), repr(backup.read(path))
    refused = 0
    for i in range(0, len(whole), 3):
        other = bytes([whole[i] ^ int(random_.integers(1, 256))])
        for data in (whole[:i], whole[:i] + other + whole[i + 1 :]):
            path.write_bytes(data)
            try:
                assert repr(backup.read(path)) == wanted
            except backup.BrokenBackupError:
                refused += 1
    assert refused > len(whole) / 3


def test_what_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="keeps numbers, text and arrays"):
        backup.write(tmp_path / "a.npz", {"a": object()})
    assert not (tmp_path / "a.npz").exists()


class Flushed(callbacks.Callback):
    """Lets each backup be written before the next step."""

    sees_only_logs = True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model._fitting.callbacks[0]._writer.flush()


@pytest.mark.parametrize("double", [True, False])
def test_broken_backup_is_passed_over_or_refused(double: bool, tmp_path: Path) -> None:
    def hooks(*place: Any) -> list[Any]:
        own = callbacks.BackupAndRestore(tmp_path / "a", 1, double_checkpoint=double)
        return [own, Flushed(), Stop(*place)]

    fit(arrays, hooks(1, 1), epochs=2, batch_size=8)
    latest = tmp_path / "a" / "latest.npz"
    latest.write_bytes(latest.read_bytes()[:-40])
    if double:
        with pytest.warns(UserWarning, match="no whole backup.*The one before is taken"):
            model, _, stop = fit(arrays, hooks(-1, -1), epochs=2, batch_size=8)
        assert stop.seen[0] == (0, None)  # that of (1, 0) is broken, (1, 1) came before its own
        found = values(model)
        assert found == values(fit(arrays, [Stop(-1, -1)], epochs=2, batch_size=8)[0])
    else:
        with pytest.raises(ValueError, match=r"cannot be read[\s\S]*Delete .* to begin anew"):
            fit(arrays, hooks(-1, -1), epochs=2, batch_size=8)


def test_other_models_and_other_data_are_refused(tmp_path: Path) -> None:
    def hooks(*place: Any) -> list[Any]:
        return [callbacks.BackupAndRestore(tmp_path / "a", 1), Stop(*place)]

    fit(arrays, hooks(1, 1), epochs=2, batch_size=8)
    with pytest.raises(ValueError, match="of another model or optimizer than 'm'"):
        fit(arrays, hooks(-1, -1), lambda: model_of("sgd"), epochs=2, batch_size=8)
    with pytest.raises(ValueError, match=r"other data: its samples is 40, .* is 30"):
        fit(lambda: (X[:30], Y[:30]), hooks(-1, -1), epochs=2, batch_size=8)
    with pytest.raises(ValueError, match="other data: its batch_size is 8"):
        fit(arrays, hooks(-1, -1), epochs=2, batch_size=3)


def test_generator_that_is_too_short_is_refused(tmp_path: Path) -> None:
    def hooks(*place: Any) -> list[Any]:
        return [callbacks.BackupAndRestore(tmp_path / "a", 1), Stop(*place)]

    fit(lambda: (endless(),), hooks(1, 2), epochs=2, steps_per_epoch=4)
    with pytest.raises(ValueError, match="made after 6 batches .* ended after 3 now"):
        short = iter([(X[:8], Y[:8])] * 3)
        fit(lambda: (short,), hooks(-1, -1), epochs=2, steps_per_epoch=4)


def test_folder_that_cannot_be_made_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no folder")
    stop = Stop(-1, -1)
    with pytest.raises(FileExistsError):
        fit(arrays, [callbacks.BackupAndRestore(tmp_path / "a", 1), stop], batch_size=8)
    assert not stop.seen


def test_full_disk_costs_the_backup_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third backup and those after it find no room."""
    folder, files = tmp_path / "a", []
    fsync = os.fsync

    def full(number: int) -> None:
        files.append(number)
        if len(files) > 2 * 2:  # a backup forces its file and its folder to the disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    def hooks(*place: Any) -> list[Any]:
        return [callbacks.BackupAndRestore(folder, 1), Flushed(), Stop(*place)]

    wanted = values(fit(arrays, [Stop(-1, -1)], epochs=2, batch_size=8)[0])
    monkeypatch.setattr(backup.os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left on device.*the one before is whole"):
        fit(arrays, hooks(1, 3), epochs=2, batch_size=8)
    assert [path.name for path in folder.iterdir()] == ["latest.npz"], "no room is taken"
    assert backup.read(folder / "latest.npz")["batch"] == 2
    with pytest.warns(UserWarning, match="Training goes on"):
        model, _, stop = fit(arrays, hooks(-1, -1), epochs=2, batch_size=8)
    assert values(model) == wanted and stop.seen[0] == (0, 2)


@pytest.mark.parametrize("double", [True, False])
def test_whatever_the_instant_a_whole_backup_is_found(
    double: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails before or after each thing that is forced to the disk or renamed."""

    class PowerFailure(BaseException):
        pass

    left = math.inf  # instants until then

    def pass_an_instant() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise PowerFailure

    def failing(call: Any) -> Any:
        def run(*arguments: Any) -> None:
            pass_an_instant()
            call(*arguments)
            pass_an_instant()

        return run

    hooked = callbacks.BackupAndRestore(tmp_path / "a", 1, double_checkpoint=double)
    hooked._latest.parent.mkdir()
    monkeypatch.setattr(backup.os, "fsync", failing(os.fsync))
    monkeypatch.setattr(backup.os, "replace", failing(os.replace))
    for instant in range(1, 10 if double else 8):
        hooked._write(0)
        hooked._write(1)
        left = instant
        if instant < (9 if double else 7):
            with pytest.raises(PowerFailure):
                hooked._write(2)
            assert hooked._read() in (1, 2)
        else:  # past the last
            hooked._write(2)
        left = math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backup_dir": ""}, "is empty"),
        ({"backup_dir": "a", "save_freq": 0}, "from 1, or False"),
        ({"backup_dir": "a", "save_freq": True}, "from 1, or False"),
        ({"backup_dir": "a", "save_freq": "batch"}, "from 1, or False"),
    ],
)
def test_mistakes_in_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        callbacks.BackupAndRestore(**arguments)


class Send(callbacks.Callback):
    """SIGTERM in the middle of the first validation."""

    sees_only_logs = True

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        signal.raise_signal(signal.SIGTERM)


class SendLate(callbacks.Callback):
    """SIGTERM after the last step."""

    def on_train_end(self, logs: Any = None) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_signal_after_the_last_step_leaves_a_backup(tmp_path: Path) -> None:
    def run(*more: Any) -> Fitted:
        last = callbacks.BackupAndRestore(tmp_path / "a", save_freq=False)
        return fit(arrays, [*more, last, Stop(-1, -1)], epochs=2, batch_size=8)

    wanted = values(run()[0])
    with pytest.raises(SystemExit, match="143"):
        run(SendLate())
    model, history, stop = run()
    assert values(model) == wanted and not stop.seen and len(history["loss"]) == 2


def test_interrupted_validation_is_done_again(tmp_path: Path) -> None:
    def run(name: str, *more: Any) -> Fitted:
        hooks = [callbacks.BackupAndRestore(tmp_path / name, save_freq=False), *more, Stop(-1, -1)]
        return fit(lambda: (Noisy(),), hooks, epochs=2, validation_data=(X[:8], Y[:8]))

    model, history, _ = run("whole")
    wanted = values(model)
    with pytest.raises(SystemExit, match="143"):
        run("broken", Send())
    model, found, stop = run("broken")
    assert stop.seen[0] == (0, None)
    assert values(model) == wanted and found == history


def test_handler_of_sigterm_is_that_from_before(tmp_path: Path) -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
    try:
        mine = signal.getsignal(signal.SIGTERM)

        hooks = [callbacks.BackupAndRestore(tmp_path / "a"), Send(), Stop(-1, -1)]
        with pytest.raises(SystemExit, match="143"):
            fit(arrays, hooks, batch_size=8, validation_data=(X[:8], Y[:8]))
        assert signal.getsignal(signal.SIGTERM) is mine and called == [signal.SIGTERM]
        fit(arrays, [hooks[0], Stop(-1, -1)], batch_size=8)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
