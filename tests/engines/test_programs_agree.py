"""The two classic programs train on every engine and end at the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import layers

RNG = np.random.default_rng(4)


def image_program() -> tuple[carnyx.Model, Any, Any]:
    """Program A, with dropout, on five batches of noise."""
    model = carnyx.Sequential(
        [
            layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    x = RNG.random((5 * 8, 28, 28, 1), dtype="float32")
    return model, x, np.eye(10, dtype="float32")[RNG.integers(0, 10, 5 * 8)]


def text_program() -> tuple[carnyx.Model, Any, Any]:
    """Program B, with dropout on its inputs, on five batches of one-hot characters."""
    model = carnyx.Sequential(
        [
            layers.LSTM(128, return_sequences=True, input_shape=(40, 60), dropout=0.1),
            layers.LSTM(128),
            layers.Dense(60, activation="softmax"),
        ]
    )
    x = np.eye(60, dtype=bool)[RNG.integers(0, 60, (5 * 8, 40))]
    return model, x, np.eye(60, dtype=bool)[RNG.integers(0, 60, 5 * 8)]


def normalised_program() -> tuple[carnyx.Model, Any, Any]:
    """Other layers: strided and padded windows, statistics, an embedding, masks, GRU, noise."""
    inputs = carnyx.Input((12,), dtype="int32")
    masked = layers.Bidirectional(layers.GRU(6))(layers.Embedding(20, 8, mask_zero=True)(inputs))
    x = layers.LayerNormalization()(layers.Embedding(20, 8)(inputs))
    x = layers.Conv1D(7, 3, strides=2, padding="same", activation="gelu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling1D(3, strides=2, padding="same")(x)
    x = layers.GaussianNoise(0.1)(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), masked])
    model = carnyx.Model(inputs, layers.Dense(60, activation="softmax")(x))
    ids = RNG.integers(0, 20, (5 * 8, 12))
    return model, ids, np.eye(60, dtype="float32")[RNG.integers(0, 60, 5 * 8)]


@pytest.mark.parametrize("program", [image_program, text_program, normalised_program])
def test_numpy_engine_trains_like_xla(program: Any) -> None:
    model, x, y = program()
    start = model.get_weights()
    seeds = [v for v in model.variables if v.kind == "seed"]
    seed_values = [v.numpy() for v in seeds]
    ends, logs = [], []
    for engine in ("xla", "numpy"):
        model.set_weights(start)
        for variable, value in zip(seeds, seed_values, strict=True):
            variable.assign(value)
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"], engine=engine)
        history = model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
        logs.append(history.history)
        ends.append([*model.get_weights(), model.predict(x[:8], verbose=0)])
    for name in logs[0]:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=1e-4, err_msg=name)
    moved = max(np.abs(a - b).max() for a, b in zip(start, ends[0], strict=False))
    assert moved > 1e-3, "five steps change the weights"
    for ours, reference in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-4)


def test_dropout_draws_the_same_mask_on_every_engine() -> None:
    inputs = carnyx.Input((50,))
    model = carnyx.Model(inputs, layers.Dropout(0.5, seed=7)(inputs, training=True))
    x = np.ones((4, 50), "float32")
    outs = []
    (seed,) = (v for v in model.variables if v.kind == "seed")
    for engine in ("xla", "numpy"):
        seed.assign(np.array([7, 0]))
        model.compile(engine=engine)
        outs.append(model.predict(x, verbose=0))
    np.testing.assert_array_equal(*outs)
    assert 0.3 < (outs[0] == 0).mean() < 0.7
