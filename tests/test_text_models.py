"""Models that begin with strings: their readers run on the host, the rest is compiled.

What they give is compared with the same model on the numbers that the reading layers make.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import layers

TEXTS = np.array(["a cat sat", "the dog ran", "a dog", "cat cat"] * 8)
TOWNS = np.array([["Bern", "Rome"], ["Oslo", "Bern"]] * 16)
NUMBERS = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
LABELS = np.arange(32) % 2


def vectorizer() -> Any:
    layer = layers.TextVectorization(max_tokens=20, output_sequence_length=4, name="words")
    layer.adapt(TEXTS)
    return layer


def classifier(model: Any) -> Any:
    model.compile(carnyx.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return model


def tail() -> list[Any]:
    return [layers.Embedding(20, 4), layers.Flatten(), layers.Dense(2, "softmax")]


def sequential() -> Any:
    return carnyx.Sequential([carnyx.Input((1,), dtype="string"), vectorizer(), *tail()])


def functional() -> Any:
    texts = x = carnyx.Input((), dtype="string")
    for layer in (vectorizer(), *tail()):
        x = layer(x)
    return carnyx.Model(texts, x)


def tables() -> Any:
    """Two inputs of strings and one of numbers; a lookup read twice, and a crossing of both."""
    here, there = (carnyx.Input((1,), dtype="string", name=n) for n in ("from", "to"))
    numbers = carnyx.Input((2,), name="numbers")
    lookup = layers.StringLookup(vocabulary=["Bern", "Rome", "Oslo"], output_mode="one_hot")
    crossed = layers.HashedCrossing(8, output_mode="one_hot")([here, there])
    x = layers.Concatenate()([lookup(here), lookup(there), crossed, numbers])
    return carnyx.Model([here, there, numbers], layers.Dense(2, "softmax")(x))


MODELS = {
    "sequential": (sequential, TEXTS[:, None]),
    "functional": (functional, TEXTS),
    "tables": (tables, [TOWNS[:, :1], TOWNS[:, 1:], NUMBERS]),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_way_of_running(name: str) -> None:
    make, x = MODELS[name]
    model = classifier(make())
    called = np.asarray(model(x))
    for found in (
        model.predict(x, batch_size=10, verbose=0),
        model.predict_on_batch(x),
        model.predict(iter([(x,)]), verbose=0),
    ):
        np.testing.assert_allclose(found, called, rtol=1e-5)
    before = model.evaluate(x, LABELS, verbose=0)
    log = model.fit(x, LABELS, epochs=8, validation_data=(x, LABELS), verbose=0).history
    assert log["val_loss"][-1] < 0.5 * before
    model.fit(lambda: iter([(x, LABELS)]), verbose=0)
    model.fit(x, LABELS, validation_split=0.25, verbose=0)
    model.train_on_batch(x, LABELS)
    assert model.evaluate(x, LABELS, verbose=0) < 0.5 * before


@pytest.mark.parametrize(
    "texts", [TEXTS.tolist(), TEXTS.astype("S"), TEXTS.astype(object), TEXTS[:, None]]
)
def test_forms_of_strings(texts: Any) -> None:
    model = functional()
    np.testing.assert_allclose(model.predict(texts, verbose=0), np.asarray(model(TEXTS)), rtol=1e-5)


def test_training_is_that_on_the_numbers() -> None:
    tokens = np.asarray(vectorizer()(TEXTS))
    runs = []
    for x, first in (
        (TEXTS, [carnyx.Input((), dtype="string"), vectorizer()]),
        (tokens, [carnyx.Input((4,), dtype="int32")]),
    ):
        carnyx.utils.set_random_seed(3)
        model = classifier(carnyx.Sequential([*first, *tail()]))
        log = model.fit(x, LABELS, batch_size=8, epochs=3, verbose=0).history["loss"]
        runs.append([np.array(log), *model.get_weights()])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_saved_one_reads_on(tmp_path: Any) -> None:
    model = classifier(functional())
    model.fit(TEXTS, LABELS, verbose=0)
    model.save(tmp_path / "m.keras")
    again = carnyx.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0))


def test_what_was_read_is_taken_too() -> None:
    model = classifier(tables())
    read = model.read_texts(MODELS["tables"][1])
    assert all(array.dtype.kind in "if" for array in read.values())
    expected = np.asarray(model(MODELS["tables"][1]))
    np.testing.assert_allclose(np.asarray(model(read)), expected, rtol=1e-6)
    assert model.read_texts(read) is read
    numeric = carnyx.Sequential([carnyx.Input((2,)), layers.Dense(1)])
    assert numeric.read_texts(NUMBERS) is NUMBERS


def test_readers_that_would_train_are_refused() -> None:
    class Trained(layers.StringLookup):
        def build(self, shape: Any) -> None:
            super().build(shape)
            self.scale = self.add_weight(shape=(), dtype="float32")

    texts = carnyx.Input((1,), dtype="string")
    read = Trained(vocabulary=["a dog"], output_mode="one_hot")(texts)
    outer = classifier(carnyx.Model(texts, layers.Dense(2, "softmax")(read)))
    with pytest.raises(TypeError, match=r"x has dtype <U11 .* apply these first, x = layer\(x\)"):
        outer.fit(TEXTS[:, None], LABELS, verbose=0)


def test_wrong_texts_are_told() -> None:
    model = classifier(sequential())
    with pytest.raises(ValueError, match=r"expects shape \(None, 1\).* received \(32, 2\)"):
        model.predict(TOWNS, verbose=0)
    with pytest.raises(TypeError, match="takes strings and received int32"):
        model.predict(LABELS, verbose=0)
