"""The models of the cases for each framework, behind two calls: fit and predict.

The Keras ones are the programs of examples/; the PyTorch ones do the same work in a plain loop.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmarks.cases import CHARS, MAXLEN


def make(framework: str, model: str) -> Any:
    """The model, built and compiled, of a framework."""
    if framework == "torch":
        return TorchModel(model)
    return KerasModel("carnyx" if framework == "carnyx" else "keras", model)


class KerasModel:
    """A model of the Keras API, whichever package provides it."""

    def __init__(self, package: str, name: str):
        layers = importlib.import_module(f"{package}.layers")
        models = importlib.import_module(f"{package}.models")
        self.model = models.Sequential(_keras_layers(layers, name))
        metrics = None if name == "B" else ["accuracy"]
        self.model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=metrics)

    def fit(self, x: np.ndarray, y: np.ndarray, batch: int) -> None:
        self.model.fit(x, y, batch_size=batch, epochs=1, verbose=0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x, verbose=0)


def _keras_layers(layers: Any, name: str) -> list[Any]:
    if name == "A":
        return [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    if name == "B":
        return [
            layers.Input((MAXLEN, CHARS)),
            layers.LSTM(128, return_sequences=True),
            layers.LSTM(128),
            layers.Dense(CHARS, activation="softmax"),
        ]
    return [
        layers.Input((784,)),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]


class TorchModel:
    """The same model as a plain PyTorch loop: batches by index, losses summed on the device."""

    def __init__(self, name: str):
        import torch

        self.torch, self.name = torch, name
        self.module = _torch_module(torch, name)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-3)
        self.loss = torch.nn.CrossEntropyLoss()

    def _input(self, x: np.ndarray) -> Any:
        tensor = self.torch.from_numpy(np.asarray(x, dtype="float32"))
        return tensor.permute(0, 3, 1, 2).contiguous() if self.name == "A" else tensor

    def fit(self, x: np.ndarray, y: np.ndarray, batch: int) -> None:
        torch = self.torch
        inputs, targets = self._input(x), torch.from_numpy(y).argmax(1)
        self.module.train()
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for rows in torch.randperm(len(inputs)).split(batch):
            wanted = targets[rows]
            self.optimizer.zero_grad(set_to_none=True)
            logits = self.module(inputs[rows])
            loss = self.loss(logits, wanted)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
            if self.name != "B":
                right += (logits.detach().argmax(1) == wanted).sum()
        self.history = total.item(), right.item()

    def predict(self, x: np.ndarray) -> np.ndarray:
        self.module.eval()
        with self.torch.inference_mode():
            return self.module(self._input(x)).softmax(-1).numpy()


def _torch_module(torch: Any, name: str) -> Any:
    nn = torch.nn
    if name == "A":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(32 * 13 * 13, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
    if name == "MLP":
        return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

    class TwoLSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(CHARS, 128, num_layers=2, batch_first=True)
            self.head = nn.Linear(128, CHARS)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return TwoLSTM()
