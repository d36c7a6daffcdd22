"""What users get wrong, and what they are told: each mistake is refused where it is made.

A row is a name, the mistake, and what the message must say: where, what came, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
LABELS = np.arange(40) % 3
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
SPARSE, DENSE = "sparse_categorical_crossentropy", "categorical_crossentropy"


def net(loss: Any = SPARSE, units: int = 3, **arguments: Any) -> carnyx.Model:
    model = carnyx.Sequential([carnyx.Input((6,)), layers.Dense(units, "softmax")])
    model.compile("sgd", loss, **arguments)
    return model


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[7, 2] = np.nan
    return array


def uncompiled() -> carnyx.Model:
    return carnyx.Sequential([carnyx.Input((6,)), layers.Dense(3)])


def image_net() -> carnyx.Model:
    return carnyx.Sequential([carnyx.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten()])


def batches(*values: Any) -> Any:
    yield from values


def two_outputs() -> carnyx.Model:
    inputs = carnyx.Input((6,))
    outs = [layers.Dense(3, name="a")(inputs), layers.Dense(1, name="b")(inputs)]
    return carnyx.Model(inputs, outs)


def disconnected() -> Any:
    return carnyx.Model(carnyx.Input((3,)), layers.Dense(1)(carnyx.Input((3,), name="lost")))


Mistake = tuple[str, Callable[[], Any], list[str]]
MISTAKES: list[Mistake] = [
    # ---- before training
    ("fit before compile", lambda: uncompiled().fit(X, LABELS), ["fit()", "not compiled"]),
    (
        "evaluate before compile",
        lambda: uncompiled().evaluate(X, LABELS),
        ["evaluate()", "compile("],
    ),
    ("unknown loss", lambda: net("categorical_crossentropi"), ["Did you mean 'categorical_cross"]),
    (
        "unknown optimizer",
        lambda: uncompiled().compile("adm", "mse"),
        ["Unknown optimizer", "Did you mean 'adam'"],
    ),
    (
        "unknown metric",
        lambda: net(metrics=["acuracy"]).fit(X, LABELS, verbose=0),
        ["acuracy", "Did you mean"],
    ),
    ("unknown activation", lambda: layers.Dense(3, "rely"), ["activation", "Did you mean 'relu'"]),
    (
        "unknown initializer",
        lambda: layers.Dense(3, kernel_initializer="glorot"),
        ["initializer", "glorot_uniform"],
    ),
    ("unknown layer", lambda: layers.Densse(3), ["Densse", "Dense"]),
    ("unknown argument", lambda: layers.Dense(3, activaton="relu"), ["activaton", "activation"]),
    (
        "a class for a layer",
        lambda: carnyx.Sequential([layers.Dense]),
        ["only layers", "Dense(10)"],
    ),
    ("negative units", lambda: layers.Dense(-3), ["units", "-3"]),
    ("dropout above one", lambda: layers.Dropout(1.5), ["rate", "1.5", "[0, 1]"]),
    (
        "two layers of one name",
        lambda: carnyx.Sequential([layers.Dense(3, name="a"), layers.Dense(3, name="a")]),
        ["'a' already", "name="],
    ),
    ("disconnected graph", disconnected, ["disconnected", "'lost'", "inputs"]),
    (
        "too small an image",
        lambda: carnyx.Sequential([carnyx.Input((2, 2, 1)), layers.Conv2D(4, 3)]),
        ["conv2d", "(3, 3)", "padding='same'"],
    ),
    ("negative learning rate", lambda: carnyx.optimizers.Adam(-1.0), ["learning_rate", "-1.0"]),
    (
        "loss for a missing output",
        lambda: _compiled(two_outputs(), {"a": "mse", "c": "mse"}).fit(X, [X[:, :3], X[:, :1]]),
        ["'c'", "['a', 'b']"],
    ),
    # ---- shapes of inputs
    (
        "a list of lists for a layer",
        lambda: layers.Dense(2)([[1.0, 2.0]]),
        ["expected 1 input tensor and received 2", "numpy.array(", "dense", "[[1.0, 2.0]]"],
    ),
    (
        "a list for a layer that takes any array",
        lambda: layers.Embedding(5, 2)([[1, 2]]),
        ["expected arrays", "list of numbers", "numpy.array(", "embedding"],
    ),
    ("a list of one array", lambda: layers.Dense(2)([X]), ["list of one", "the array itself"]),
    (
        "a list of lists for a model",
        lambda: net()([[1.0] * 6]),
        ["has 1 input (input_layer)", "received 6", "numpy.array("],
    ),
    (
        "a list of batches",
        lambda: net().fit([(X[:8], LABELS[:8]), (X[8:16], LABELS[8:16])]),
        ["fit()", "2 tuples", "y is missing", "fit(lambda: iter(batches))"],
    ),
    (
        "a list of one batch",
        lambda: net().evaluate([[X[:8], LABELS[:8]]]),
        ["evaluate()", "1 list,", "evaluate(lambda: iter(batches))"],
    ),
    (
        "a list of batches of several sizes",
        lambda: net().fit([(X[:8], LABELS[:8]), (X[:5], LABELS[:5])]),
        ["2 tuples", "y is missing"],
    ),
    (
        "a list of rows with their labels",
        lambda: net().fit(list(zip(X, LABELS, strict=True))),
        ["40 tuples", "one array each as x and y"],
    ),
    ("wrong width", lambda: net().fit(X[:, :5], LABELS), ["(None, 6)", "5", "sequential"]),
    (
        "wrong rank",
        lambda: image_net()(np.zeros((4, 8, 8, 1, 1, 1))),
        ["(None, 8, 8, 1)", "4, 8, 8"],
    ),
    (
        "a layer's wrong rank",
        lambda: layers.Conv2D(4, 3)(np.zeros((4, 8, 8), "float32")),
        ["conv2d", "4", "3"],
    ),
    (
        "another width than it was built for",
        lambda: _twice(layers.Dense(3)),
        ["dense", "axis -1", "6", "4"],
    ),
    ("two inputs for one", lambda: net().predict([X, X], verbose=0), ["1 input ", "received 2"]),
    (
        "an input's wrong name",
        lambda: _named()({"pixel": X}),
        ["'pixels'", "pixel"],
    ),
    # ---- data
    ("lengths differ", lambda: net().fit(X, LABELS[:39]), ["fit()", "40", "39"]),
    ("empty", lambda: net().fit(X[:0], LABELS[:0]), ["empty", "x"]),
    ("NaN in x", lambda: net().fit(with_nan(X), LABELS), ["x", "NaN", "(7, 2)"]),
    ("infinity in x", lambda: net().fit(np.where(X[0] == X, np.inf, X), LABELS), ["x", "infinity"]),
    ("NaN in y", lambda: net("mse").fit(X, with_nan(ONE_HOT)), ["y", "NaN"]),
    ("texts", lambda: net().fit(np.array(["a"] * 40), LABELS), ["x", "numbers"]),
    ("ragged", lambda: net().fit([[1.0, 2.0], [3.0]], LABELS[:2]), ["x", "lengths", "Pad"]),
    ("one number", lambda: net().fit(3.0, LABELS), ["x", "first axis"]),
    ("no targets", lambda: net().fit(X), ["targets", "y"]),
    # ---- targets
    ("one-hot for sparse", lambda: net().fit(X, ONE_HOT), ["one-hot", DENSE]),
    ("labels for one-hot", lambda: net(DENSE).fit(X, LABELS), ["to_categorical", SPARSE]),
    ("label too large", lambda: net().fit(X, LABELS + 1), ["3", "[0, 3)"]),
    ("label negative", lambda: net().fit(X, LABELS - 1), ["-1"]),
    ("labels not whole", lambda: net().fit(X, LABELS + 0.5), ["0.5"]),
    (
        "targets that would broadcast",
        lambda: net("mse", 1).fit(X, X),
        ["(40, 6)", "(None, 1)"],
    ),
    ("targets of one axis for three", lambda: net("mse").fit(X, X[:, 0]), ["(40,)", "(None, 3)"]),
    (
        "binary targets outside [0, 1]",
        lambda: net("binary_crossentropy", 1).fit(X, LABELS),
        ["2", "[0, 1]"],
    ),
    # ---- arguments of fit
    ("batch size zero", lambda: net().fit(X, LABELS, batch_size=0), ["batch_size", "0"]),
    ("epochs zero", lambda: net().fit(X, LABELS, epochs=0), ["epochs", "0"]),
    (
        "split of everything",
        lambda: net().fit(X, LABELS, validation_split=1.0),
        ["validation_split"],
    ),
    (
        "validation data of one part",
        lambda: net().fit(X, LABELS, validation_data=(X,)),
        ["validation_data", "(x, y)"],
    ),
    (
        "weights of the wrong length",
        lambda: net().fit(X, LABELS, sample_weight=np.ones(3)),
        ["sample_weight", "3", "40"],
    ),
    (
        "a class without a weight",
        lambda: net().fit(X, LABELS, class_weight={0: 1.0, 1: 1.0}),
        ["class_weight", "[2]"],
    ),
    (
        "y beside a generator",
        lambda: net().fit(batches((X, LABELS)), LABELS),
        ["generator", "y"],
    ),
    ("a generator of nothing", lambda: net().fit(batches()), ["generator", "no batch"]),
    (
        "a generator of four parts",
        lambda: net().fit(batches((X, LABELS, LABELS, LABELS)), steps_per_epoch=1),
        ["4", "(x, y, sample_weight)"],
    ),
    (
        "a label too large in a generator",
        lambda: net().fit(batches((X, LABELS + 1)), steps_per_epoch=1),
        ["[0, 3)"],
    ),
    (
        "a callback that is none",
        lambda: net().fit(X, LABELS, callbacks=[EarlyStopping]),
        ["EarlyStopping", "objects"],
    ),
    (
        "a checkpoint's wrong ending",
        lambda: ModelCheckpoint("a.h5", save_weights_only=True),
        [".weights.h5", "a.h5"],
    ),
    ("a mode that is none", lambda: EarlyStopping(mode="up"), ["mode", "'up'"]),
    ("an unknown engine", lambda: carnyx.config.set_engine("xlaa"), ["xlaa", "Did you mean 'xla'"]),
    ("an unknown name", lambda: carnyx.layer, ["layer", "layers"]),
]


def _compiled(model: carnyx.Model, loss: Any) -> carnyx.Model:
    model.compile("sgd", loss)
    return model


def _named() -> carnyx.Model:
    inputs = carnyx.Input((6,), name="pixels")
    return carnyx.Model(inputs, layers.Dense(3)(inputs))


def _twice(layer: Any) -> None:
    layer(np.zeros((2, 6), "float32"))
    layer(np.zeros((2, 4), "float32"))


@pytest.mark.parametrize(
    ("mistake", "says"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_explained(mistake: Callable[[], Any], says: list[str]) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        mistake()
    message = str(caught.value)
    missing = [part for part in says if part not in message]
    assert not missing, f"the message lacks {missing}:\n{message}"
    assert len(message) < 1500 and not re.search(r"Tracer|<locals>|jaxpr", message), message


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) >= 30


def test_a_refused_fit_leaves_the_model_as_it_was() -> None:
    model = net()
    before = model.get_weights()
    with pytest.raises(ValueError):
        model.fit(with_nan(X), LABELS)
    model.fit(X, LABELS, verbose=0, callbacks=[LambdaCallback(on_epoch_end=lambda e, logs: None)])
    assert not np.allclose(before[0], model.get_weights()[0])
