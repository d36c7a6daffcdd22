"""A seed decides every bit: however many steps run in a call, however far data are read ahead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import layers

ROWS, BATCH = 48, 8

MODELS: dict[str, tuple[tuple[int, ...], Any]] = {
    "dense": (
        (6,),
        lambda: [layers.Dense(9, "relu"), layers.Dropout(0.4), layers.GaussianNoise(0.1)],
    ),
    "convolution": (
        (7, 7, 2),
        lambda: [
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.SpatialDropout2D(0.2),
            layers.GlobalAveragePooling2D(),
        ],
    ),
    "recurrent": ((5, 3), lambda: [layers.LSTM(6, dropout=0.2)]),
}


class Case:
    """A model, its data, and what the model was when it was new."""

    def __init__(self, name: str) -> None:
        carnyx.utils.set_random_seed(7)
        shape, parts = MODELS[name]
        self.model = carnyx.Sequential([carnyx.Input(shape), *parts(), layers.Dense(2)])
        self.model.compile("adam", carnyx.losses.SparseCategoricalCrossentropy(from_logits=True))
        self.model.optimizer.build(self.model.trainable_variables)
        self.x = np.random.default_rng(1).normal(size=(ROWS, *shape)).astype("float32")
        self.y = np.arange(ROWS) % 2
        self.start = [(v, v.numpy()) for v in self.variables()]

    def variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def train(self, *data: Any, steps: Any, seed: int = 7, **arguments: Any) -> Any:
        """Trains the model as it was when it was new: the bits of its end, and the logs."""
        for variable, value in self.start:
            variable.assign(value)
        carnyx.utils.set_random_seed(seed)
        self.model._steps_per_execution = steps
        history = self.model.fit(*data, epochs=4, verbose=0, **arguments).history
        return [v.numpy().tobytes() for v in self.variables()], history

    def stream(self, pause: float) -> Iterator[Any]:
        for _ in range(4):
            for i in range(0, ROWS, BATCH):
                time.sleep(pause)
                yield self.x[i : i + BATCH], self.y[i : i + BATCH]


@pytest.mark.parametrize("name", MODELS)
def test_only_the_seed_decides_the_bits(name: str) -> None:
    one, other = Case(name), Case(name)

    def shuffled(case: Case, steps: Any, seed: int = 7) -> Any:
        return case.train(case.x, case.y, batch_size=BATCH, steps=steps, seed=seed)

    wanted = shuffled(one, 1)
    assert shuffled(one, 3) == wanted
    assert shuffled(one, "auto") == wanted
    assert shuffled(other, "auto") == wanted, "compiled a second time"
    assert shuffled(one, "auto", seed=8) != wanted

    def read(pause: float, steps: Any) -> Any:
        count = ROWS // BATCH
        return one.train(one.stream(pause), steps_per_epoch=count, steps=steps)

    hurried = read(0.0, "auto")
    assert read(0.004, "auto") == hurried, "read ahead more slowly"
    assert read(0.0, 1) == hurried
    assert hurried != wanted
