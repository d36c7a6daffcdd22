"""Callbacks: the same logs through Carnyx's and Keras's, and what is Carnyx's own."""

from __future__ import annotations

import io
import itertools
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import callbacks as ours
from carnyx.train import hooks, progress
from carnyx.train.progress import Progbar

RNG = np.random.default_rng(0)


class Optimizer:
    """Stands for one in a model."""

    def __init__(self) -> None:
        self.learning_rate: Any = 0.5


class Metric:
    def __init__(self, name: str, direction: str | None = None) -> None:
        self.name, self._direction = name, direction


class Model:
    """Stands for a model: its weight is the number of epochs it has trained."""

    def __init__(self, *metrics: Metric) -> None:
        self.weight, self.stop_training, self.optimizer = -1, False, Optimizer()
        self.metrics, self.saved, self.history = list(metrics), [], None
        self.trainable_variables: list[Any] = []
        self.executor = SimpleNamespace(watch=False, find_birth=lambda: None)

    def get_weights(self) -> list[int]:
        return [self.weight]

    def set_weights(self, weights: list[int]) -> None:
        (self.weight,) = weights

    def save_weights(self, path: str, overwrite: bool = True) -> None:
        Path(path).write_text(f"weights {self.weight}")

    def save(self, path: str, overwrite: bool = True) -> None:
        Path(path).write_text(f"model {self.weight}")


def theirs() -> Any:
    import keras

    return keras.callbacks


def train(module: Any, callback: Any, logs: list[dict[str, float]], steps: int = 0) -> Model:
    """Runs all the hooks of a `fit` whose epochs end with these logs."""
    model = Model()
    given = callback if isinstance(callback, list) else [callback]
    called = module.CallbackList(given, model=model, epochs=len(logs), steps=steps)
    called.on_train_begin()
    for epoch, found in enumerate(logs):
        called.on_epoch_begin(epoch)
        for step in range(steps):
            called.on_train_batch_begin(step)
            model.weight = epoch * steps + step
            called.on_train_batch_end(step, dict(found))
        model.weight = epoch if not steps else model.weight
        called.on_epoch_end(epoch, dict(found))
        if model.stop_training:
            break
    called.on_train_end()
    return model


def curves(count: int, name: str = "val_loss", epochs: int = 12) -> list[list[dict[str, float]]]:
    """Values with steps of a sixteenth, so that no comparison hangs on rounding."""
    return [
        [{"loss": 1.0, name: float(v)} for v in np.round(RNG.normal(1, 1, epochs) * 16) / 16]
        for _ in range(count)
    ]


# ---- as Keras

STOPPING = [
    dict(),
    dict(patience=2),
    dict(patience=2, restore_best_weights=True),
    dict(patience=1, min_delta=0.25, restore_best_weights=True),
    dict(patience=3, baseline=0.25, restore_best_weights=True),
    dict(patience=1, start_from_epoch=4, restore_best_weights=True),
    dict(patience=2, mode="max", restore_best_weights=True),
    dict(patience=20, restore_best_weights=True),
    dict(monitor="val_score", mode="max", min_delta=-0.5, patience=2),
]


@pytest.mark.parametrize("arguments", STOPPING, ids=str)
def test_early_stopping_is_that_of_keras(arguments: dict[str, Any]) -> None:
    for logs in curves(6, arguments.get("monitor", "val_loss")):
        found, wanted = ours.EarlyStopping(**arguments), theirs().EarlyStopping(**arguments)
        mine, other = train(ours, found, logs), train(theirs(), wanted, logs)
        assert (mine.weight, mine.stop_training) == (other.weight, other.stop_training)
        for name in ("stopped_epoch", "best_epoch", "best", "wait"):
            assert getattr(found, name) == getattr(wanted, name), name


def test_early_stopping_passes_over_nan() -> None:
    logs = [{"val_loss": v} for v in (math.nan, 3.0, math.nan, 2.0, 2.5, 2.5)]
    callback = ours.EarlyStopping(patience=2, restore_best_weights=True)
    model = train(ours, callback, logs)
    assert (callback.best, callback.best_epoch, model.weight) == (2.0, 3, 3)


PLATEAUS = [
    dict(patience=1),
    dict(patience=2, factor=0.5, cooldown=2),
    dict(patience=1, factor=0.1, min_lr=0.01),
    dict(patience=1, mode="max", min_delta=0.25),
]


@pytest.mark.parametrize("arguments", PLATEAUS, ids=str)
def test_plateau_is_that_of_keras(arguments: dict[str, Any]) -> None:
    for logs in curves(6, epochs=16):
        rates = []
        for module in (ours, theirs()):
            callback, history = module.ReduceLROnPlateau(**arguments), module.History()
            train(module, [callback, history], logs)
            rates.append(history.history["learning_rate"])
        assert rates[0] == rates[1]


@pytest.mark.parametrize("schedule", [lambda epoch: 1.0 / (epoch + 1), lambda e, rate: rate * 0.5])
def test_scheduler_is_that_of_keras(schedule: Any) -> None:
    found = []
    for module in (ours, theirs()):
        history = module.History()
        train(module, [module.LearningRateScheduler(schedule), history], curves(1)[0])
        found.append(history.history["learning_rate"])
    assert found[0] == found[1]


CHECKPOINTS = [
    dict(filepath="{epoch:02d}.weights.h5", save_weights_only=True),
    dict(filepath="deep/er/{epoch}-{val_loss:.2f}.keras"),
    dict(filepath="{epoch}.keras", save_best_only=True),
    dict(filepath="{epoch}.keras", save_best_only=True, mode="max", initial_value_threshold=1.5),
    dict(filepath="{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=5),
    dict(filepath="best.keras", save_best_only=True, save_freq=2),
    dict(filepath="{epoch}.keras", save_freq=1),
]


@pytest.mark.parametrize("arguments", CHECKPOINTS, ids=str)
def test_checkpoints_are_those_of_keras(arguments: dict[str, Any], tmp_path: Path) -> None:
    for index, logs in enumerate(curves(3, epochs=6)):
        files = []
        for module in (ours, theirs()):
            place = tmp_path / f"{module.__name__}{index}"
            path = str(place / arguments["filepath"])
            train(module, module.ModelCheckpoint(**{**arguments, "filepath": path}), logs, steps=3)
            written = sorted(p for p in place.rglob("*") if p.is_file())
            files.append({str(p.relative_to(place)): p.read_text() for p in written})
        assert files[0] == files[1] and files[0]


@pytest.mark.parametrize("separator", [",", ";"])
def test_csv_is_that_of_keras(separator: str, tmp_path: Path) -> None:
    first = [{"loss": 0.5, "accuracy": 0.25}, {"loss": 0.25, "val_loss": 2.0, "other": 1.0}]
    texts = []
    for module in (ours, theirs()):
        path = tmp_path / f"{module.__name__}.csv"
        train(module, module.CSVLogger(path, separator), first)
        train(module, module.CSVLogger(path, separator, append=True), first)
        texts.append(path.read_bytes())
        train(module, module.CSVLogger(path), [{"loss": 0.5, "val_loss": 0.125}])
        texts[-1] += path.read_bytes()
    assert texts[0] == texts[1]


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1.0])
def test_terminate_on_nan_is_that_of_keras(loss: float, capsys: Any) -> None:
    logs = [{"loss": 1.0}, {"loss": loss}, {"loss": 1.0}]
    found = [train(module, module.TerminateOnNaN(), logs, steps=2) for module in (ours, theirs())]
    assert found[0].weight == found[1].weight
    assert capsys.readouterr().out.count("training stops") == (loss != 1.0)  # said once


def test_terminate_on_nan_can_raise() -> None:
    with pytest.raises(RuntimeError, match="the loss is nan at batch 0"):
        train(ours, ours.TerminateOnNaN(raise_error=True), [{"loss": math.nan}], steps=1)


def recorder(module: Any, seen: list[Any]) -> Any:
    names = [n for n in dir(module.Callback) if n.startswith("on_")]
    made = {n: lambda self, *a, n=n, **k: seen.append((n, a, k.get("logs"))) for n in names}
    return type("Recorder", (module.Callback,), made)()


def test_hooks_are_those_of_keras_in_the_same_order() -> None:
    assert {n for n in dir(ours.Callback) if n.startswith("on_")} == {
        n for n in dir(theirs().Callback) if n.startswith("on_")
    }
    calls = []
    for module in (ours, theirs()):
        seen: list[Any] = []
        train(module, recorder(module, seen), [{"loss": 1.0, "a": np.float32(2)}], steps=2)
        calls.append([(n, a[0] if a else None) for n, a, _ in seen])
    strip = [[(n, None if n in hooks.MODE_HOOKS else i) for n, i in part] for part in calls]
    assert strip[0] == strip[1]


def test_logs_are_those_of_keras() -> None:
    from keras.src.utils.python_utils import pythonify_logs

    given = {"b": np.float32(0.5), "a": jnp.asarray(2), "d": {"y": 1, "x": 2.0}, "c": [1, 2]}
    assert hooks.plain_logs(given) == pythonify_logs(given)
    assert list(hooks.plain_logs(given)) == list(pythonify_logs(given))
    ready = {"a": 1.0, "b": 2.0}
    assert hooks.plain_logs(ready) is ready and hooks.plain_logs(None) == {}


def test_signatures_are_those_of_keras() -> None:
    import inspect

    for name in {*ours.__all__} - {"MlflowCallback", "WandbMetricsLogger"}:  # which Keras lacks
        wanted = inspect.signature(getattr(theirs(), name).__init__).parameters
        found = inspect.signature(getattr(ours, name).__init__).parameters
        kept = [p for p in wanted.values() if name != "ReduceLROnPlateau" or p.name != "kwargs"]
        assert [(p.name, p.default) for p in found.values()] == [
            (p.name, p.default) for p in kept
        ], name


# ---- the list


class ReadsWeights(ours.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen = self.model.get_weights()


class ReadsLogs(ours.Callback):
    sees_only_logs = True

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen = logs


def said_of(callback: Any) -> Any:
    callback.sees_only_logs = True
    return callback


@pytest.mark.parametrize(
    ("callback", "needed"),
    [
        (None, False),
        (ours.EarlyStopping(), False),
        (ours.TerminateOnNaN(), False),
        (ours.ModelCheckpoint("a.keras"), False),
        (ours.ModelCheckpoint("a.keras", save_freq=3), False),
        (ours.LambdaCallback(on_epoch_end=print), False),
        (ours.LambdaCallback(on_train_batch_end=print), True),
        (ours.LambdaCallback(on_batch_end=print), True),
        (ours.LambdaCallback(on_batch_end=print, sees_only_logs=True), False),
        (said_of(ReadsWeights()), False),
        (ReadsWeights(), True),
        (ReadsLogs(), False),
        ([ReadsLogs(), [ReadsWeights()]], True),
    ],
)
def test_who_needs_each_step(callback: Any, needed: bool) -> None:
    called = ours.CallbackList(callback, add_history=True, add_progbar=True)
    assert (called.steps_until_look() == 1) is needed


def test_batch_hooks_that_nobody_has_are_skipped() -> None:
    quiet = ours.CallbackList(ours.EarlyStopping())
    assert quiet.on_train_batch_end.__name__ == "skip"
    callback = ReadsLogs()
    busy = ours.CallbackList(callback)
    busy.on_train_batch_end(0, {"loss": np.float32(0.5)})
    assert callback.seen == {"loss": 0.5} and type(callback.seen["loss"]) is float


def test_defaults_are_added_once_and_at_the_end() -> None:
    model = Model()
    own = ours.History()
    called = ours.CallbackList([own, ReadsLogs()], True, True, model, epochs=2, verbose=0)
    assert [type(c).__name__ for c in called.callbacks] == ["History", "ReadsLogs", "ProgbarLogger"]
    assert model.history is own and own.model is model and own.params == dict(epochs=2, verbose=0)


@pytest.mark.parametrize("wrong", [ours.EarlyStopping, print, "EarlyStopping", [3]])
def test_what_is_no_callback_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is no Callback"):
        ours.CallbackList(wrong)


def test_callback_without_super_init_works() -> None:
    class Bare(ours.Callback):
        def __init__(self) -> None:
            pass

    bare = Bare()
    assert bare.model is None and bare.params is None
    train(ours, bare, [{"loss": 1.0}])
    assert isinstance(bare.model, Model)


# ---- refusals and warnings


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ours.EarlyStopping(mode="down"), ValueError, "mode is 'auto', 'min' or 'max'"),
        (lambda: ours.ModelCheckpoint("a.txt"), ValueError, "must end in '.keras'"),
        (lambda: ours.ModelCheckpoint("a.keras", save_freq=0), ValueError, "save_freq is"),
        (lambda: ours.ModelCheckpoint("a.keras", save_freq=True), ValueError, "save_freq is"),
        (lambda: ours.ReduceLROnPlateau(factor=1.5), ValueError, r"factor is in \(0, 1\)"),
        (lambda: ours.LambdaCallback(on_epoch_ends=print), TypeError, "Did you mean 'on_epoch_end"),
        (lambda: ours.LambdaCallback(on_epoch_end=3), TypeError, "on_epoch_end is a function"),
        (lambda: Progbar(3, stateful_metrics=[], stateless_metrics=[]), ValueError, "not both"),
        (lambda: ours.History().plot(), ValueError, "nothing to plot"),
    ],
)
def test_bad_arguments_are_refused(make: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "callback",
    [ours.EarlyStopping("val_los"), ours.ReduceLROnPlateau("val_los")],
    ids=lambda c: type(c).__name__,
)
def test_unknown_monitor_warns_once(callback: Any) -> None:
    with pytest.warns(UserWarning, match="Available: .*val_loss.* Did you mean 'val_loss'") as seen:
        train(ours, callback, curves(1)[0])
    assert len(seen) == 1


def test_checkpoint_without_its_value_warns_and_saves(tmp_path: Path) -> None:
    callback = ours.ModelCheckpoint(tmp_path / "a.keras", save_best_only=True)
    with pytest.warns(UserWarning, match="it saves each time. Available: loss"):
        train(ours, callback, [{"loss": 1.0}] * 3)
    assert (tmp_path / "a.keras").read_text() == "model 2"


def test_checkpoint_names_an_unknown_field(tmp_path: Path) -> None:
    callback = ours.ModelCheckpoint(tmp_path / "{val_acc}.keras")
    with pytest.raises(KeyError, match="has the field 'val_acc'.*'epoch', 'loss'"):
        train(ours, callback, [{"loss": 1.0}])
    (tmp_path / "b.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="b.keras is a directory"):
        train(ours, ours.ModelCheckpoint(tmp_path / "b.keras"), [{"loss": 1.0}])


def test_failed_save_leaves_the_old_file_whole(tmp_path: Path) -> None:
    class Breaks(Model):
        def save(self, path: str, overwrite: bool = True) -> None:
            Path(path).write_text("half")
            if self.weight == 1:
                raise OSError("disk full")

    callback = ours.ModelCheckpoint(tmp_path / "a.keras")
    callback.set_model(Breaks())
    callback.on_epoch_end(0, {})
    callback.model.weight = 1
    (tmp_path / "a.keras").write_text("whole")
    with pytest.raises(OSError, match="disk full"):
        callback.on_epoch_end(1, {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.keras"]
    assert (tmp_path / "a.keras").read_text() == "whole"


def test_checkpoint_keeps_the_whole_best_model(tmp_path: Path) -> None:
    model = carnyx.Sequential([carnyx.Input((2,)), carnyx.layers.Dense(1)])
    model.compile(carnyx.optimizers.SGD(0.1, momentum=0.9), "mse")
    x = RNG.normal(size=(16, 2)).astype("float32")
    callback = ours.ModelCheckpoint(
        tmp_path / "{epoch:02d}-{loss:.2f}.keras", monitor="loss", save_best_only=True
    )
    history = model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[callback])
    names = [f"{i + 1:02d}-{v:.2f}.keras" for i, v in enumerate(history.history["loss"])]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    best: Any = carnyx.saving.load_model(tmp_path / names[-1])
    assert best.evaluate(x, x[:, :1], verbose=0) == model.evaluate(x, x[:, :1], verbose=0)
    for one in (best, model):
        one.fit(x, x[:, :1], shuffle=False, verbose=0)
    np.testing.assert_allclose(best.get_weights()[0], model.get_weights()[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("monitor", "metrics", "sign"),
    [
        ("val_loss", (), -1),
        ("accuracy", (), 1),
        ("val_head_auc", (), 1),
        ("val_mean_absolute_error", (), -1),
        ("val_false_positives", (), -1),
        ("score", (Metric("score", "up"),), 1),
        ("val_score", (Metric("score", "down"),), -1),
        ("score", (Metric("score"),), None),
        ("score", (), None),
    ],
)
def test_direction_is_inferred(monitor: str, metrics: Any, sign: int | None) -> None:
    callback = ours.EarlyStopping(monitor)
    callback.set_model(Model(*metrics))
    if sign is not None:
        assert callback._direction() == sign
        return
    with pytest.raises(ValueError, match="Pass mode='max' if greater is better"):
        callback._direction()


def test_direction_agrees_with_every_metric_of_keras() -> None:
    import keras

    from carnyx import metrics as carnyx_metrics

    for name in carnyx_metrics.__all__:
        theirs_class = getattr(keras.metrics, name, None)
        if not isinstance(theirs_class, type) or name in ("Metric", "Mean", "Sum"):
            continue
        made = None
        for arguments in ({}, {"recall": 0.5}, {"precision": 0.5}, {"num_classes": 2}):
            try:
                made = theirs_class(**arguments)
                break
            except TypeError:
                continue
        direction = getattr(made, "_direction", None)
        if direction is None:
            continue
        callback = ours.EarlyStopping(made.name, patience=1)
        callback.set_model(Model())
        assert callback._direction() == {"up": 1, "down": -1}[direction], name


@pytest.mark.parametrize("wrong", [None, "0.1", [0.1, 0.2]])
def test_schedule_must_return_a_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="Expected one number"):
        train(ours, ours.LearningRateScheduler(lambda epoch: wrong), [{}])


# ---- History


def test_history_and_its_plot(tmp_path: Path) -> None:
    history = ours.History()
    logs = [{"loss": 1.0 / (e + 1), "accuracy": 0.5, "learning_rate": 0.1} for e in range(4)]
    logs = [{**values, "confusion": np.eye(3), "val_confusion": np.eye(3)} for values in logs]
    logs[1]["val_loss"], logs[3]["val_loss"] = 0.7, 0.6
    model = train(ours, history, logs)
    assert model.history is history and history.epoch == [0, 1, 2, 3]
    assert history.history["val_loss"] == [0.7, 0.6]
    figure = history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    assert sorted(panels) == ["accuracy", "learning rate", "loss"]
    training, validation = panels["loss"].lines
    assert [line.get_label() for line in (training, validation)] == ["training", "validation"]
    np.testing.assert_allclose(training.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(validation.get_xdata(), [2, 4])  # validated every other epoch
    np.testing.assert_allclose(validation.get_ydata(), [0.7, 0.6])


# ---- progress


def clock(monkeypatch: Any, *times: float) -> None:
    """Makes the clock show these times, the last one for ever."""
    ticks = itertools.chain(times, itertools.repeat(times[-1]))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(ticks))


@pytest.mark.parametrize(
    ("verbose", "epochs", "line"),
    [
        (1, 2, "Epoch 1/2 - 3/3 - "),
        ("auto", 2, "Epoch 1/2 - 3/3 - "),
        (2, 2, "Epoch 1/2 - 3/3 - "),
        (2, 1, "3/3 - "),
        (0, 2, None),
    ],
)
def test_plain_output_is_a_line_an_epoch(
    verbose: Any, epochs: int, line: str | None, capsys: Any
) -> None:
    called = ours.CallbackList(None, True, True, Model(), verbose=verbose, epochs=epochs, steps=3)
    called.on_train_begin()
    called.on_epoch_begin(0)
    for step in range(3):
        called.on_train_batch_end(step, {"accuracy": 0.25, "loss": 0.5})
        called.on_test_begin()
        called.on_test_batch_end(0, {"loss": 9.0})
        called.on_test_end({"loss": 9.0})
    called.on_epoch_end(0, {"accuracy": 0.25, "loss": 0.5, "val_loss": 1e-5})
    text = capsys.readouterr().out
    if line is None:
        assert text == ""
        return
    assert text.startswith(line) and text.count("\n") == 1
    assert text.endswith(" - accuracy: 0.2500 - loss: 0.5000 - val_loss: 1.0000e-05\n")
    assert "/step" in text


@pytest.mark.parametrize("mode", ["test", "predict"])
def test_evaluation_shows_its_own_line(mode: str, capsys: Any) -> None:
    called = ours.CallbackList(None, add_progbar=True, verbose=1, steps=None)
    getattr(called, f"on_{mode}_begin")()
    for step in range(4):
        logs = {"loss": 0.5} if mode == "test" else {"outputs": np.zeros(3)}
        getattr(called, f"on_{mode}_batch_end")(step, logs)
    getattr(called, f"on_{mode}_end")({"loss": 0.5} if mode == "test" else None)
    name, text = {"test": "Evaluate", "predict": "Predict"}[mode], capsys.readouterr().out
    assert text.startswith(f"{name} - 4/4 - ") and ("loss" in text) == (mode == "test")


def test_values_are_those_of_keras_progbar() -> None:
    import keras

    for chosen in ({}, {"stateful_metrics": ["a"]}, {"stateless_metrics": ["a"]}):
        mine = Progbar(10, verbose=0, **chosen)
        other = keras.utils.Progbar(10, verbose=0, **chosen)
        for current in (1, 4, 5, 9):
            values = [("a", float(current)), ("b", float(current**2))]
            mine.update(current, values)
            other.update(current, values)
        wanted = {k: v / c for k, (v, c) in other._values.items()}
        assert mine.values == pytest.approx(wanted, rel=1e-12)
        mine.update(10, [("a", 3.0)])
        assert mine.values["a"] == 3.0  # the last ones hold for the whole


def test_first_call_does_not_count_in_the_time_of_a_step(monkeypatch: Any) -> None:
    clock(monkeypatch, 0.0, 5.0, 5.00005, 5.0001, 6.0, 7.0)
    bar = Progbar(20, verbose=2)
    for step in (1, 2, 3, 8, 13):  # three steps in the call that compiles, then five a second
        bar.advance(step)
    assert bar.seconds_per_step() == pytest.approx(0.2, rel=1e-4)
    clock(monkeypatch, 0.0, 5.0)
    bar = Progbar(2, verbose=2)
    bar.advance(1)
    bar.advance(2)
    assert bar.seconds_per_step() == 2.5  # nothing else to go by


def test_first_call_counts_where_it_was_fast(monkeypatch: Any) -> None:
    """A second epoch: all but the smaller last batch in one call, whose steps take no time."""
    clock(monkeypatch, 0.0, 0.44, 0.44, 0.5)
    bar = Progbar(45, verbose=2)
    for step in (1, 44, 45):
        bar.advance(step)
    assert bar.seconds_per_step() == pytest.approx(0.5 / 45)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: Any) -> Terminal:
    """Makes the output a terminal; in the test itself, since capturing replaces a fixture's."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", Terminal())
    return sys.stdout  # type: ignore[return-value]


def test_live_bar(monkeypatch: Any) -> None:
    terminal = terminal_of(monkeypatch)
    bar = Progbar(4, interval=0.0, prefix="Epoch 1/5")
    bar.update(1, [("loss", 0.5)])
    assert "1/4" in terminal.getvalue() and "loss: 0.5000" in terminal.getvalue()
    assert "left" not in terminal.getvalue()  # the first call compiles
    bar._last -= 1.0
    bar.update(2, [("loss", 0.5)])
    assert "/step" in terminal.getvalue() and "left - loss: 0.5000" in terminal.getvalue()
    print("said by a callback")
    bar.update(4, [("loss", 0.25)])
    last = terminal.getvalue().splitlines()[-1]
    assert "4/4" in last and "loss: 0.2500" in last and "left" not in last
    assert "said by a callback" in terminal.getvalue()


def test_live_bar_is_drawn_seldom(monkeypatch: Any) -> None:
    terminal_of(monkeypatch)
    drawn = []
    monkeypatch.setattr(Progbar, "_draw", lambda self: drawn.append(self._seen))
    ticks = iter(np.arange(3000) * 1e-3)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(ticks)))
    bar = Progbar(2000)
    for step in range(2000):
        bar.advance(step + 1)
    assert 18 <= len(drawn) <= 20  # in two seconds


def test_live_bar_of_unknown_length(monkeypatch: Any) -> None:
    terminal = terminal_of(monkeypatch)
    bar = Progbar(None, interval=0.0)
    bar.advance(7)
    assert "7/?" in terminal.getvalue()
    bar.finish()
    assert "7/7" in terminal.getvalue().splitlines()[-1]


def test_bar_left_behind_gives_the_terminal_back(monkeypatch: Any) -> None:
    terminal = terminal_of(monkeypatch)

    def fail(batch: int, logs: Any) -> None:
        raise RuntimeError("in a callback")

    hook = ours.LambdaCallback(on_train_batch_end=fail)
    called = ours.CallbackList([ours.ProgbarLogger(), hook], verbose=1, steps=3)
    called.on_epoch_begin(0)
    called.callbacks[0]._bar._next_draw = 0.0
    with pytest.raises(RuntimeError):
        called.on_train_batch_end(0, {"loss": 1.0})
    assert progress._open and sys.stdout is not terminal  # rich redirects it
    called._release()
    called._release()
    assert not progress._open and sys.stdout is terminal
    assert terminal.getvalue().rstrip().endswith("\x1b[2K") or "\x1b[?25h" in terminal.getvalue()


class Notebook:
    """Displays as a notebook keeps them: those that are updated change in their place."""

    def __init__(self, monkeypatch: Any) -> None:
        self.displays: list[str] = []
        self.messages = 0
        shell = SimpleNamespace(kernel=object())
        for name, values in (
            ("IPython", {"get_ipython": lambda: shell}),
            ("IPython.display", {"display": self.display}),
        ):
            module = ModuleType(name)
            vars(module).update(values)
            monkeypatch.setitem(sys.modules, name, module)

    def display(self, data: Any, raw: bool, display_id: bool) -> Any:
        assert raw and display_id
        at = len(self.displays)
        self.displays.append("")

        def update(data: Any, raw: bool) -> None:
            assert list(data) == ["text/plain"]
            self.displays[at], self.messages = data["text/plain"], self.messages + 1

        update(data, raw)
        return SimpleNamespace(update=update)


def in_epochs(epochs: int, steps: int = 3) -> Any:
    called = ours.CallbackList([ours.ProgbarLogger()], verbose="auto", epochs=epochs, steps=steps)
    called.on_train_begin()
    for epoch in range(epochs):
        called.on_epoch_begin(epoch)
        called.callbacks[0]._bar.interval = called.callbacks[0]._bar._next_draw = 0.0
        for step in range(steps):
            called.on_train_batch_end(step, {"loss": 1.0})
        called.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.25})
    called.on_train_end()


def test_a_notebook_keeps_one_display_with_a_line_an_epoch(monkeypatch: Any, capsys: Any) -> None:
    notebook = Notebook(monkeypatch)
    in_epochs(2)
    assert notebook.messages == 8, "three drawings an epoch, and its last"
    (shown,) = notebook.displays
    lines = shown.splitlines()
    assert [line[:35] for line in lines] == [f"Epoch {e}/2 3/3 {'━' * 20} " for e in (1, 2)]
    assert all(line.endswith("loss: 0.5000 - val_loss: 0.2500") for line in lines)
    in_epochs(1)
    assert len(notebook.displays) == 2, "each fit has its own"
    bar = Progbar(4, interval=0.0)
    bar.advance(1)
    assert notebook.displays[2].startswith(f"1/4 {'━' * 5}{'─' * 15} ")
    Progbar(None, interval=0.0).advance(7)
    assert notebook.displays[3].startswith("7/? ") and "━" not in notebook.displays[3]
    Progbar(1, verbose=2).update(1)
    assert len(notebook.displays) == 4 and capsys.readouterr().out.startswith("1/1 - ")


def test_a_notebook_shows_the_last_of_many_epochs(monkeypatch: Any) -> None:
    notebook = Notebook(monkeypatch)
    in_epochs(130, 1)
    lines = notebook.displays[0].splitlines()
    assert len(lines) == 100 and lines[0] == "... 31 lines before"
    assert lines[1].startswith("Epoch 32/130") and lines[-1].startswith("Epoch 130/130")


def test_a_real_notebook() -> None:
    reason = "a kernel is no part of the extra `test`"
    client = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    import nbformat

    code = (
        "import numpy as np, carnyx\n"
        "m = carnyx.Sequential([carnyx.layers.Dense(1)]); m.compile('sgd', 'mse')\n"
        "x = np.ones((5000, 3))\n"
        "h = m.fit(x, x[:, :1], epochs=3, verbose={})"
    )
    cells = [nbformat.v4.new_code_cell(code.format(v)) for v in ("'auto'", 1, 2, 0)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    live, bar, log, silent = (
        [o for o in c.outputs if o.get("name") != "stderr"] for c in notebook.cells
    )
    for (shown,) in (live, bar):
        assert shown.output_type == "display_data" and list(shown.data) == ["text/plain"]
        assert len(shown.data["text/plain"].splitlines()) == 3
    assert "".join(output.text for output in log).count("Epoch ") == 3 and not silent


def test_verbose_2_draws_no_bar_in_a_terminal(monkeypatch: Any) -> None:
    terminal = terminal_of(monkeypatch)
    bar = Progbar(2, verbose=2, interval=0.0)
    bar.advance(1)
    assert terminal.getvalue() == ""
    bar.update(2)
    assert terminal.getvalue().startswith("2/2 - ") and "\x1b" not in terminal.getvalue()
