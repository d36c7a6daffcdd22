"""OrbaxCheckpoint: what it writes is read again, by Carnyx and by Keras."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import callbacks, layers
from carnyx.saving import load_model

pytest.importorskip("orbax.checkpoint")

X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
Y = X[:, :1] - X[:, 1:2]

# its own deprecated calls, and a leftover of its event loops
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Any:
    """A training with several OrbaxCheckpoints: its folders, model and the weights of epochs."""
    folder = tmp_path_factory.mktemp("orbax")
    seen: list[Any] = []

    class Keep(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(self.model.get_state_tree("numpy_array"))

    carnyx.utils.set_random_seed(1)
    model = carnyx.Sequential(
        [carnyx.Input((5,)), layers.Dense(4, "tanh"), layers.Dropout(0.2), layers.Dense(1)],
        name="m",
    )
    model.compile("adam", "mse", metrics=["mae"])
    kinds: dict[str, dict[str, Any]] = {
        "epochs": dict(max_to_keep=2),
        "all": dict(max_to_keep=None, save_on_background=False),
        "batches": dict(save_freq=2, max_to_keep=None),
        "weights": dict(save_weights_only=True),
        "best": dict(save_best_only=True, monitor="loss", initial_value_threshold=-1.0),
    }
    hooks = [callbacks.OrbaxCheckpoint(folder / name, **k) for name, k in kinds.items()]
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0, callbacks=[*hooks, Keep()])
    return folder, model, seen


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    return np.array_equal(one, other)


def steps(folder: Path) -> list[int]:
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_steps_are_epochs_or_batches(trained: Any) -> None:
    folder, _, _ = trained
    found = {name: steps(folder / name) for name in ("epochs", "all", "batches", "weights")}
    assert found == {
        "epochs": [1, 2],
        "all": [0, 1, 2],
        "batches": [2, 4, 6, 8],
        "weights": [2],
    }
    assert not (folder / "best").exists() or steps(folder / "best") == []


def test_model_comes_back_with_its_state(trained: Any) -> None:
    folder, _, seen = trained
    for place, wanted in ((folder / "epochs", seen[2]), (folder / "all" / "1", seen[1])):
        model = load_model(place)
        found = model.get_state_tree("numpy_array")
        for group in ("trainable_variables", "optimizer_variables"):  # metrics are not built yet
            assert equal(found[group], wanted[group]), group


def test_weights_come_back(trained: Any) -> None:
    folder, model, seen = trained
    kept = model.get_state_tree("numpy_array")
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    model.load_weights(folder / "weights")
    assert equal(model.get_state_tree()["trainable_variables"], seen[2]["trainable_variables"])
    paths = [v.path for v in model.optimizer.variables]
    for variable in model.optimizer.variables:
        variable.path = variable.path.replace("adam/", "adam_3/")
    model.load_weights(folder / "all" / "0")
    for variable, path in zip(model.optimizer.variables, paths, strict=True):
        variable.path = path
    assert equal(model.get_state_tree("numpy_array"), seen[0])
    model.set_state_tree(kept)
    with pytest.raises(ValueError, match="checkpoint of weights alone"):
        load_model(folder / "weights")


def test_keras_reads_it(trained: Any) -> None:
    import keras

    folder, _, seen = trained
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4, "tanh", name="dense"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, name="dense_1"),
        ],
        name="m",
    )
    model.compile("adam", "mse", metrics=["mae"])
    with pytest.warns(UserWarning, match="Sharding info not provided"):
        model.load_weights(str(folder / "epochs"))
    wanted = seen[2]["trainable_variables"]["m"]
    for layer in model.layers:
        for weight in layer.weights:
            assert np.array_equal(np.asarray(weight.value), wanted[layer.name][weight.name])


def test_state_trees_are_those_of_keras(trained: Any) -> None:
    import jax
    import keras

    _, model, _ = trained
    other = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4, name="dense"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, name="dense_1"),
        ],
        name="m",
    )
    other.compile("adam", "mse", metrics=["mae"])
    other.train_on_batch(X, Y)
    wanted, found = other.get_state_tree(), model.get_state_tree()
    for group in ("trainable_variables", "optimizer_variables", "metrics_variables"):
        shapes = [jax.tree.map(np.shape, tree[group]) for tree in (found, wanted)]
        if group == "optimizer_variables":  # called "adam", or "adam_1" if it is the second
            shapes = [next(iter(part.values())) for part in shapes]
        assert shapes[0] == shapes[1]


def test_state_trees_that_do_not_fit_are_refused(trained: Any) -> None:
    _, model, seen = trained
    before = model.get_weights()
    with pytest.raises(ValueError, match="no group 'weights'"):
        model.set_state_tree({"weights": {}})
    with pytest.raises(ValueError, match="has 'm/dense/kernel', which the tree has not"):
        model.set_state_tree({"trainable_variables": {"m": {"dense": {"bias": np.zeros(4)}}}})
    with pytest.raises(ValueError, match="value_format is one of"):
        model.get_state_tree("list")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    twins = [layers.Dense(2, name="a"), layers.Dense(2, name="a")]
    with pytest.raises(ValueError, match="two variables at|are called|name"):
        same = carnyx.Sequential(twins)
        same.build((None, 2))
        same.get_state_tree()


def test_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("orbax")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match="pip install orbax-checkpoint"):
        callbacks.OrbaxCheckpoint("a")


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="save_freq is 'epoch' or a number"):
        callbacks.OrbaxCheckpoint("a", save_freq=0)
