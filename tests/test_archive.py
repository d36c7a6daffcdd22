"""Whole models in files: both ways with Keras, training that goes on, and hostile files."""

from __future__ import annotations

import importlib.util
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import layers, saving

RNG = np.random.default_rng(0)


def theirs() -> Any:
    import keras

    return keras


# ---- models, written once for both libraries: k is `carnyx` or `keras`


def sequential(k: Any) -> Any:
    model = k.Sequential(
        [k.Input((4,)), k.layers.Dense(3, "tanh"), k.layers.Dropout(0.0), k.layers.Dense(2)]
    )
    model.compile(k.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    return model


def deferred(k: Any) -> Any:
    model = k.Sequential([k.layers.Dense(3, "relu"), k.layers.Dense(2, name="out")], name="late")
    model.build((None, 4))
    model.compile(k.optimizers.RMSprop(0.01), loss=k.losses.LogCosh())
    return model


def functional(k: Any) -> Any:
    """A shared layer, operations as nodes, several inputs and outputs by name."""
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    shared = k.layers.Dense(4, "tanh", name="shared")
    x = k.ops.concatenate([shared(a), shared(b)], axis=-1) * 0.5
    x = k.layers.Reshape((2, 4))(x)
    x = k.ops.mean(x, axis=1) + a
    outputs = {"p": k.layers.Dense(2, name="p")(x), "q": k.layers.Dense(2, name="q")(x)}
    model = k.Model({"a": a, "b": b}, outputs)
    schedule = k.optimizers.schedules.CosineDecay(0.05, 10)
    model.compile(
        k.optimizers.Adam(schedule),
        {"p": "mse", "q": k.losses.MeanAbsoluteError()},
        loss_weights={"p": 1.0, "q": 0.5},
        metrics={"p": ["mae"]},
    )
    return model


def nested(k: Any) -> Any:
    first = k.Sequential([k.Input((4,)), k.layers.Dense(4, "tanh")], name="first")
    x = k.Input((4,))
    second = k.Model(x, k.layers.LayerNormalization()(k.layers.Dense(4)(x)), name="second")
    y = k.Input((4,))
    model = k.Model(y, k.layers.Dense(2)(k.layers.Add()([first(y), second(y)])))
    model.compile(k.optimizers.AdamW(0.01, weight_decay=0.1), "mse")
    return model


def recurrent(k: Any) -> Any:
    model = k.Sequential(
        [
            k.Input((5,), dtype="int32"),
            k.layers.Embedding(9, 4, mask_zero=True),
            k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True)),
            k.layers.GRU(3),
            k.layers.Dense(2),
        ]
    )
    model.compile(k.optimizers.Nadam(0.01), "mse", metrics=[k.metrics.RootMeanSquaredError()])
    return model


def images(k: Any) -> Any:
    x = k.Input((6, 6, 2))
    y = k.layers.Conv2D(3, 3, padding="same", use_bias=False)(x)
    y = k.layers.BatchNormalization()(y)
    y = k.layers.MaxPooling2D()(k.ops.relu(y))
    y = k.layers.SeparableConv2D(3, 2)(y)
    model = k.Model(x, k.layers.Dense(2, "softmax")(k.layers.Flatten()(y)))
    model.compile(k.optimizers.Adagrad(0.01), "categorical_crossentropy", metrics=["accuracy"])
    return model


def attention(k: Any) -> Any:
    x = k.Input((3, 4))
    y = k.layers.MultiHeadAttention(2, 3)(x, x)
    y = k.layers.GlobalAveragePooling1D()(k.layers.LayerNormalization()(y + x))
    model = k.Model(x, k.layers.Dense(2)(y))
    model.compile(k.optimizers.SGD(0.1, nesterov=True, momentum=0.5, clipnorm=1.0), "mse")
    return model


def halves(k: Any) -> Any:
    """Loss scaling has a state of its own."""
    model = k.Sequential(
        [k.Input((4,)), k.layers.Dense(3, dtype="mixed_float16"), k.layers.Dense(2)]
    )
    model.compile(k.optimizers.LossScaleOptimizer(k.optimizers.SGD(0.125)), "mse")
    return model


def custom(k: Any) -> Any:
    class Scale(k.layers.Layer):
        def __init__(self, power: int = 1, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.power, self.inner = power, k.layers.Dense(3)

        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
            self.inner.build(input_shape)

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs * self.factor**self.power)

        def get_config(self) -> Any:
            return {**super().get_config(), "power": self.power}

    k.saving.register_keras_serializable("tests", "Scale")(Scale)
    model = k.Sequential([k.Input((4,)), Scale(2), k.layers.Dense(2)])
    model.compile(k.optimizers.Lion(0.01), k.losses.log_cosh)
    return model


def subclassed(k: Any) -> Any:
    class Net(k.Model):
        def __init__(self, units: int = 3, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units, self.blocks = units, [k.layers.Dense(units, "tanh"), k.layers.Dense(2)]
            self.last = self.blocks[1]  # the same by another name
            self.out, self._more = k.layers.Dense(3), k.layers.Dense(2)  # after "layers"

        def call(self, inputs: Any) -> Any:
            return self._more(self.out(self.last(self.blocks[0](inputs))))

        def get_config(self) -> Any:
            return {**super().get_config(), "units": self.units}

    k.saving.register_keras_serializable("tests", "Net")(Net)
    model = Net(5)
    model(np.ones((1, 4), "float32"))
    model.compile(k.optimizers.Adamax(0.01), "mse")
    return model


MODELS: list[Callable[[Any], Any]] = [
    sequential, deferred, functional, nested, recurrent, images, attention, halves, custom,
    subclassed,
]  # fmt: skip


def data(make: Any) -> tuple[Any, Any]:
    """Inputs and targets for a model of the table."""
    flat = RNG.normal(size=(8, 4)).astype("float32")
    y = RNG.normal(size=(8, 2)).astype("float32")
    if make is functional:
        return {"a": flat, "b": flat[::-1].copy()}, {"p": y, "q": -y}
    if make is recurrent:
        return RNG.integers(0, 9, (8, 5)).astype("int32"), y
    if make is images:
        x = RNG.normal(size=(8, 6, 6, 2)).astype("float32")
        return x, np.eye(2, dtype="float32")[[0, 1] * 4]
    if make is attention:
        return RNG.normal(size=(8, 3, 4)).astype("float32"), y
    return flat, y


def step(model: Any, x: Any, y: Any) -> Any:
    return model.fit(x, y, batch_size=8, shuffle=False, verbose=0)


def agree(one: Any, other: Any, x: Any, tolerance: float = 1e-5) -> None:
    found, wanted = (m.predict(x, verbose=0) for m in (one, other))
    for key in wanted if isinstance(wanted, dict) else [...]:
        np.testing.assert_allclose(found[key], wanted[key], atol=tolerance, rtol=tolerance)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


QUICK = (deferred, functional, custom)  # the others take long to compile in two libraries


@pytest.mark.parametrize(
    "make",
    [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in MODELS],
    ids=lambda m: m.__name__,
)
def test_models_go_both_ways_and_train_on(make: Any, tmp_path: Path) -> None:
    carnyx.utils.set_random_seed(1)
    theirs().utils.set_random_seed(1)
    model, (x, y) = make(theirs()), data(make)
    if make in (custom, subclassed):
        make(carnyx)  # registers the classes
    step(model, x, y)
    for number, module in enumerate((carnyx, theirs(), carnyx)):
        path = tmp_path / f"{number}.keras"
        model.save(path)
        again = module.saving.load_model(path)
        agree(again, model, x)
        pairs = zip(again.optimizer.variables, model.optimizer.variables, strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-6)
        for one in (model, again):
            step(one, x, y)
        agree(again, model, x)
        model = again


def test_a_layer_in_two_models_is_one_layer_again(tmp_path: Path) -> None:
    """Keras 3.15 writes such models and cannot read them."""
    tied = carnyx.layers.Dense(4, "tanh", name="tied")
    models = [
        carnyx.Sequential([carnyx.Input((4,)), tied, carnyx.layers.Dense(4)], name=name)
        for name in ("first", "second")
    ]
    x = carnyx.Input((4,))
    model = carnyx.Model(x, models[0](x) + models[1](x))
    model.save(tmp_path / "a.keras")
    again: Any = saving.load_model(tmp_path / "a.keras")
    agree(again, model, np.ones((2, 4), "float32"))
    one, other = again.get_layer("first"), again.get_layer("second")
    assert one.layers[0] is other.layers[0] and len(again.weights) == 6


def readers_of_strings() -> list[Any]:
    """Carnyx, and Keras where TensorFlow is: without it Keras has no layers of strings."""
    return [carnyx, theirs()] if importlib.util.find_spec("tensorflow") else [carnyx]


def test_layers_keep_what_they_learnt_both_ways(tmp_path: Path) -> None:
    columns = {"a": np.array([1.0, 2.0, 4.0]), "t": np.array(["x", "y", "x"])}
    path = tmp_path / "space.keras"
    space = carnyx.utils.FeatureSpace({"a": "float_normalized", "t": "string_categorical"})
    space.adapt(columns)
    space.save(path)
    for module in readers_of_strings():
        np.testing.assert_allclose(module.saving.load_model(path)(columns), space(columns), 1e-6)
    twin = saving.deserialize_keras_object(saving.serialize_keras_object(space))
    assert list(twin.features) == ["a", "t"]

    text = layers.TextVectorization(output_sequence_length=3)
    text.adapt(["a b c a"])
    model = carnyx.Sequential([carnyx.Input((1,), dtype="string"), text])
    assert model(np.array([["b x"]])).shape == (1, 3)  # NumPy's strings fit the input
    model.save(tmp_path / "text.keras")
    for module in readers_of_strings():
        again = module.saving.load_model(tmp_path / "text.keras")
        assert list(again.layers[0].get_vocabulary()) == text.get_vocabulary()


# ---- the same here


def small(compiled: bool = True) -> Any:
    model = carnyx.Sequential([carnyx.Input((3,)), layers.Dense(2, name="d")], name="small")
    if compiled:
        model.compile("adam", "mse", metrics=["mae"])
    return model


def test_what_is_not_compiled_or_built_is_so_again(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    small(compiled=False).save(path)
    assert not saving.load_model(path).compiled
    model = small()
    model.save(path)  # never trained: the optimizer has no state
    assert saving.load_model(path).compiled
    assert not saving.load_model(path, compile=False).compiled
    unbuilt = carnyx.Sequential([layers.Dense(2)])
    with pytest.warns(UserWarning, match="is not built"):
        unbuilt.save(path)
    assert not saving.load_model(path).built


def test_overwriting_paths_folders_and_open_files(tmp_path: Path) -> None:
    model, x = small(), np.ones((2, 3), "float32")
    path = tmp_path / "new" / "a.keras"
    model.save(path)
    with pytest.raises(FileExistsError, match="overwrite=False"):
        saving.save_model(model, str(path), overwrite=False)
    with path.open("rb") as file:
        agree(saving.load_model(file), model, x)
    for _ in range(2):
        model.save(tmp_path / "folder", zipped=False)
    agree(saving.load_model(tmp_path / "folder"), model, x)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "new"]
    assert [p.name for p in path.parent.iterdir()] == ["a.keras"]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    model, path = small(), tmp_path / "a.keras"
    model.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(carnyx.save.archive.zipfile.ZipFile, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.keras"]


def test_json_and_pickles() -> None:
    model = small()
    again = carnyx.models.model_from_json(model.to_json(indent=1))
    assert again.compiled and [x.name for x in again.layers] == ["d"]
    flips = carnyx.Sequential([carnyx.Input((4, 4, 1)), layers.RandomFlip(seed=1)])
    flips.layers[0](np.ones((1, 4, 4, 1), "float32"))  # compiles itself
    assert pickle.loads(pickle.dumps(flips)).layers[0].name == flips.layers[0].name


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: small().save(p / "a.h5"), ValueError, "ends in '.keras'. Keras's older"),
        (lambda p: small().save(p / "a"), ValueError, "ends in '.keras'"),
        (lambda p: small().save(p / "a.keras", zipped=False), ValueError, "a folder"),
        (lambda p: small().save("hf://a/b.keras"), ValueError, "received the address"),
        (lambda p: small().save(p / "a.keras", x=1), TypeError, "no argument 'x'"),
        (lambda p: saving.load_model(p / "none.keras"), FileNotFoundError, "there is no"),
        (
            lambda p: saving.load_model((p / "a.h5", (p / "a.h5").touch())[0]),
            ValueError,
            "older HDF5",
        ),
        (lambda p: saving.load_model(p), ValueError, "has no 'config.json'"),
        (lambda p: carnyx.models.model_from_json("[1]"), ValueError, "of no model"),
        (lambda p: carnyx.models.model_from_json("[" * 99999), ValueError, "no JSON"),
    ],
)
def test_mistakes(call: Any, error: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        call(tmp_path)


# ---- files from strangers


def forged(path: Path, change: Callable[[dict[str, Any]], Any] | None = None, **parts: Any) -> Path:
    """An archive whose config was changed, with other parts."""
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        held: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    if change is not None:
        config = json.loads(held["config.json"])
        change(config)
        held["config.json"] = json.dumps(config).encode()
    held |= parts.pop("replaced", {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in held.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def layer(**entry: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["config"]["layers"][1].update(entry)


CODE = {"class_name": "__lambda__", "config": {"code": "4wE=", "defaults": None, "closure": None}}
LOOKUP = {"vocabulary": "/etc/passwd", "name": "x"}


@pytest.mark.parametrize("safe_mode", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (layer(module="os", class_name="system"), "neither a class of Carnyx nor registered"),
        (layer(module="carnyx.utils", class_name="get_file"), "neither a class"),
        (layer(module="keras.utils", class_name="get_file"), "neither a class"),
        (layer(class_name="Lambda", config={"function": CODE}), "does not run code from files"),
        (layer(config={"units": 2, "activation": CODE}), "code of a Python lambda"),
        (layer(class_name="StringLookup", config=LOOKUP), "names the file '/etc/passwd'"),
        (layer(class_name="TextVectorization", config=LOOKUP), "names the file '/etc/passwd'"),
    ],
)
def test_configs_build_only_what_is_known(
    change: Any, message: str, safe_mode: bool, tmp_path: Path
) -> None:
    path = forged(tmp_path / "a.keras", change)
    with pytest.raises(ValueError, match=message):
        saving.load_model(path, safe_mode=safe_mode)


def test_named_functions_are_found_when_they_are_given(tmp_path: Path) -> None:
    def thrice(x: Any) -> Any:
        return 3 * x

    model = carnyx.Sequential([carnyx.Input((2,)), layers.Lambda(thrice)])
    model.save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="neither registered nor in custom_objects"):
        saving.load_model(tmp_path / "a.keras")
    again = saving.load_model(tmp_path / "a.keras", custom_objects={"thrice": thrice})
    assert again(np.ones((1, 2))).tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"model.weights.h5": b"\0" * (1 << 24)}, "would unpack from"),
        ({"config.json": b" " * (1 << 24)}, "would unpack from"),
        ({"config.json": None}, "has no 'config.json'"),
        ({"model.weights.h5": None}, "has no 'model.weights.h5'"),
        ({"config.json": b"{"}, "no JSON"),
    ],
)
def test_parts_are_checked(replaced: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        saving.load_model(forged(tmp_path / "a.keras", replaced=replaced))


def test_no_entry_leaves_the_archive(tmp_path: Path) -> None:
    words = layers.StringLookup(name="w")
    words.adapt(["a", "b"])
    model = carnyx.Sequential([carnyx.Input((1,), dtype="string"), words])
    path = tmp_path / "deep" / "a.keras"
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("../../up.txt", "..\\up.txt", "sub/up.txt", "C:up.txt"):
            archive.writestr(f"assets/layers/string_lookup/{name}", "x")
        archive.writestr("/up.txt", "x")
    assert saving.load_model(path).layers[0].get_vocabulary() == words.get_vocabulary()
    assert [p.name for p in tmp_path.rglob("*")] == ["deep", "a.keras"]


def test_files_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    small().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no '.keras' archive"):
        saving.load_model(path)
    path.write_bytes(whole.replace(b'"mse"', b'"mxe"'))  # a flipped bit
    with pytest.raises(ValueError, match="cannot be unpacked"):
        saving.load_model(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="several entries of one name"):
        saving.load_model(path)


@pytest.mark.parametrize("way", ["external link", "soft link", "external data", "virtual", "huge"])
def test_weights_lie_in_their_own_file(way: str, tmp_path: Path) -> None:
    import h5py

    model, path = small(compiled=False), tmp_path / "a.weights.h5"
    (tmp_path / "secret").write_bytes(np.ones((3, 2), "float32").tobytes())
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        group = file["layers/dense/vars"]
        if way == "huge":
            del group["1"]
            group.create_dataset("1", (1 << 40,), "float32", chunks=(1 << 20,))
        else:
            del group["0"]
        if way == "external link":
            group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        if way == "soft link":
            group["0"] = h5py.SoftLink("/layers/dense/vars/1")
        if way == "external data":
            group.create_dataset(
                "0", (3, 2), "float32", external=[(str(tmp_path / "secret"), 0, 24)]
            )
        if way == "virtual":
            layout = h5py.VirtualLayout((3, 2), "float32")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3, 2))
            group.create_virtual_dataset("0", layout)
    with pytest.raises(ValueError, match="does not fit" if way == "huge" else "leads to another"):
        model.load_weights(path)
