"""MlflowCallback and WandbMetricsLogger: what they write, read back from the packages' own files.

The packages are no part of the extra `test`: some of what they need exists only as pre-releases,
which `constraints.txt` does not name. Where they are missing, stand-ins check what would be sent.
"""

from __future__ import annotations

import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import callbacks, layers

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = X.sum(1, keepdims=True)

# SQLAlchemy's, about MLflow's use of it
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader")


def fit(*hooks: Any, epochs: int = 3) -> Any:
    model = carnyx.Sequential([carnyx.Input((4,)), layers.Dense(1)], name="net")
    model.compile(carnyx.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model.fit(
        X, Y, 16, epochs, verbose=0, validation_data=(X[:9], Y[:9]), callbacks=list(hooks)
    )


class Fails(callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise RuntimeError("the disk is full")


# ---- MLflow


@pytest.fixture(scope="module")
def database(tmp_path_factory: Any) -> Any:
    """A client of a database of its own, whose making takes seconds."""
    mlflow = pytest.importorskip("mlflow", reason="no part of the extra `test`")
    pytest.importorskip("sqlalchemy", reason="MLflow keeps runs in a database")
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri("sqlite:///runs.db")
        yield mlflow.tracking.MlflowClient()


@pytest.fixture
def client(database: Any, tmp_path: Path) -> Any:
    import mlflow

    mlflow.set_experiment(tmp_path.name)
    yield database
    while mlflow.active_run():
        mlflow.end_run()


def only_run(client: Any, tmp_path: Path) -> Any:
    experiment = client.get_experiment_by_name(tmp_path.name)
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_mlflow_reads_back_a_run_that_the_callback_started(client: Any, tmp_path: Path) -> None:
    best = callbacks.EarlyStopping(monitor="loss", restore_best_weights=True)
    history = fit(best, callbacks.MlflowCallback(log_model=True)).history
    run = only_run(client, tmp_path)
    assert run.info.status == "FINISHED"
    told = {"epochs": "3", "steps": "4", "loss": "mse", "optimizer": "SGD", "parameters": "5"}
    assert told.items() <= run.data.params.items()
    assert float(run.data.params["optimizer_learning_rate"]) == pytest.approx(0.1)
    for name, values in history.items():
        found = client.get_metric_history(run.info.run_id, name)
        assert [m.step for m in found] == [0, 1, 2]
        np.testing.assert_allclose([m.value for m in found], values, rtol=1e-6)
    assert run.data.metrics["learning_rate"] == pytest.approx(0.1)
    folder = client.download_artifacts(run.info.run_id, "", str(tmp_path))
    assert "Dense" in Path(folder, "model_summary.txt").read_text()
    saved = carnyx.saving.load_model(Path(folder, "net.keras"))
    weights = best.model.get_weights()
    assert all(map(np.array_equal, saved.get_weights(), weights))


def test_mlflow_by_steps_in_a_run_of_the_users(client: Any) -> None:
    import mlflow

    with mlflow.start_run() as run:
        mlflow.log_param("epochs", "as I said")
        hook = callbacks.MlflowCallback(run, log_every_epoch=False, log_every_n_steps=3)
        history = fit(hook).history
        assert mlflow.active_run().info.run_id == run.info.run_id, "it is not ours to end"
    found = client.get_metric_history(run.info.run_id, "loss")
    assert [m.step for m in found] == [3, 6, 9, 12]
    assert found[-1].value == pytest.approx(history["loss"][-1], rel=1e-6)
    held_out = client.get_metric_history(run.info.run_id, "val_loss")
    assert [m.step for m in held_out] == [4, 8, 12]
    assert client.get_run(run.info.run_id).data.params["epochs"] == "as I said"


def test_mlflow_run_of_a_training_that_fails(client: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="disk"):
        fit(callbacks.MlflowCallback(), Fails())
    run = only_run(client, tmp_path)
    assert run.info.status == "FAILED"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 1


# ---- Weights & Biases


def records(path: Path) -> list[Any]:
    """A run's file: blocks of 32 KiB with records of (checksum, length, kind) and their bytes.

    A record may lie over several blocks: kinds are 1 whole, 2 first, 3 middle, 4 last.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole, found = path.read_bytes(), 7, b"", []
    while at < len(data):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole = (b"" if kind in (1, 2) else whole) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(whole)
            found.append(record)
    return found


def test_wandb_file_of_an_offline_run(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="no part of the extra `test`")
    quiet = wandb.Settings(console="off", silent=True)
    with wandb.init(project="p", mode="offline", dir=str(tmp_path), settings=quiet) as run:
        hook = callbacks.WandbMetricsLogger(2, initial_global_step=100, log_model=True)
        history = fit(hook).history
        assert run.config["optimizer"] == "SGD" and run.config["epochs"] == 3
        assert run.summary["epoch/val_loss"] == pytest.approx(history["val_loss"][-1])
    wandb.teardown()  # waits for the process that writes
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    rows: list[dict[str, float]] = []
    names = set()
    for record in records(path):
        kind = record.WhichOneof("record_type")
        names.add(kind)
        if kind == "history":
            items = record.history.item
            rows.append({"/".join(i.nested_key) or i.key: float(i.value_json) for i in items})
        if kind == "artifact" and record.artifact.type == "model":
            assert [entry.path for entry in record.artifact.manifest.contents] == ["net.keras"]
    epochs = [row for row in rows if "epoch/epoch" in row]
    assert [row["epoch/epoch"] for row in epochs] == [0, 1, 2]
    for name, values in history.items():
        np.testing.assert_allclose([row[f"epoch/{name}"] for row in epochs], values, rtol=1e-6)
    assert epochs[0]["epoch/learning_rate"] == pytest.approx(0.1)
    by_batch = [row for row in rows if "batch/batch_step" in row]
    assert [row["batch/batch_step"] for row in by_batch] == [102, 104, 106, 108, 110, 112]
    assert by_batch[-1]["batch/loss"] == pytest.approx(history["loss"][-1], rel=1e-6)
    assert {"config", "metric", "summary"} <= names


# ---- without the packages


class Recorder:
    """An object whose methods write down how they were called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> Any:
    module = types.ModuleType(name)
    vars(module).update(values)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_what_is_sent_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Recorder()
    kept = types.SimpleNamespace(data=types.SimpleNamespace(params={"epochs": "9"}))
    client.get_run = lambda run_id: kept
    run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="r"))
    ended: list[str] = []
    stand_in(
        monkeypatch,
        "mlflow",
        active_run=lambda: None,
        start_run=lambda: run,
        end_run=ended.append,
    )
    stand_in(monkeypatch, "mlflow.tracking", MlflowClient=lambda: client)
    stand_in(monkeypatch, "mlflow.entities", Param=lambda *a: a, Metric=lambda *a: a)
    history = fit(callbacks.MlflowCallback(log_model=True), epochs=2).history
    params, _, metrics, file = client.calls
    assert "epochs" not in dict(params[2]["params"]), "the run has one"
    assert dict(params[2]["params"])["optimizer"] == "SGD"
    sent = [(name, step, value) for name, value, _, step in metrics[2]["metrics"]]
    assert ("val_loss", 1, history["val_loss"][1]) in sent and ("mae", 0, history["mae"][0]) in sent
    assert file[0] == "log_artifact" and file[1][1].endswith("net.keras")
    assert ended == ["FINISHED"]
    with pytest.raises(RuntimeError):
        fit(callbacks.MlflowCallback(), Fails())
    assert ended == ["FINISHED", "FAILED"]


def test_what_is_sent_to_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = Recorder(), Recorder()
    run.config = config
    package = stand_in(monkeypatch, "wandb", run=None)
    hook = callbacks.WandbMetricsLogger("batch")
    with pytest.raises(RuntimeError, match=r"wandb\.init"):
        fit(hook)
    package.run = run
    history = fit(hook, epochs=1).history
    logged = [args[0] for name, args, _ in run.calls if name == "log"]
    assert [row.get("batch/batch_step") for row in logged] == [1, 2, 3, 4, None]
    assert logged[-1]["epoch/epoch"] == 0 and logged[-1]["epoch/loss"] == history["loss"][0]
    assert config.calls[0][1][0]["optimizer"] == "SGD"


def test_they_do_not_slow_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "wandb", run=None)
    assert callbacks.WandbMetricsLogger("batch").steps_until_look() == float("inf")


@pytest.mark.parametrize(
    ("name", "package"), [("MlflowCallback", "mlflow"), ("WandbMetricsLogger", "wandb")]
)
def test_a_missing_package_is_named(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"{name} needs .* pip install {package}"):
        getattr(callbacks, name)()


def test_bad_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "mlflow")
    stand_in(monkeypatch, "wandb")
    for arguments in ({"log_every_n_steps": 5}, {"log_every_epoch": False}):
        with pytest.raises(ValueError, match="either by the epoch or"):
            callbacks.MlflowCallback(**arguments)
    with pytest.raises(ValueError, match="log_every_n_steps is a whole number from 1"):
        callbacks.MlflowCallback(log_every_epoch=False, log_every_n_steps=0)
    for freq in ("epochs", 0, 2.5, True):
        with pytest.raises(ValueError, match="log_freq is 'epoch', 'batch' or a number"):
            callbacks.WandbMetricsLogger(freq)
