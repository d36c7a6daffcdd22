"""What is measured, of whom, and what is asked for. No framework is imported here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAXLEN, CHARS = 40, 60


@dataclass(frozen=True)
class Case:
    """One row of the table.

    kind: "fit" (milliseconds a step), "predict" or "layer" (milliseconds a call), "generate"
    (seconds for 400 characters), "import" or "first_step" (seconds of a fresh process).
    target: asked-for ratio to the best rival; for "import", seconds above `import numpy`.
    """

    name: str
    kind: str
    model: str
    target: float | None
    batch: int = 1
    steps: int = 1

    @property
    def unit(self) -> str:
        return "ms" if self.kind in ("fit", "predict", "layer") else "s"

    @property
    def fresh(self) -> bool:
        """Whether every measurement takes a process of its own."""
        return self.kind in ("import", "first_step")


CASES = (
    Case("A step", "fit", "A", 0.5, batch=32, steps=100),
    Case("B step", "fit", "B", 1.3, batch=128, steps=10),
    Case("MLP step", "fit", "MLP", 0.5, batch=32, steps=1000),
    Case("A predict 1", "predict", "A", 0.25),
    Case("B predict 1", "predict", "B", 0.25),
    Case("B 400 characters", "generate", "B", None),
    Case("import", "import", "", 0.3),
    Case("A first step", "first_step", "A", None, batch=32),
)

#: Framework -> (module that must be installed, environment of its process).
FRAMEWORKS: dict[str, tuple[str, dict[str, str]]] = {
    "carnyx": ("carnyx", {}),
    "keras-jax": ("keras", {"KERAS_BACKEND": "jax"}),
    "keras-tensorflow": ("tensorflow", {"KERAS_BACKEND": "tensorflow"}),
    "keras-torch": ("torch", {"KERAS_BACKEND": "torch"}),
    "torch": ("torch", {}),
}


@dataclass(frozen=True)
class Suite:
    """Cases that are measured and shown together.

    worker: the arguments of `python -m` for a framework's process; its name comes after them.
    """

    program: str
    cases: tuple[Case, ...]
    frameworks: tuple[str, ...]
    worker: tuple[str, ...]
    output: str
    title: str
    caption: str


MODELS = Suite(
    program="benchmarks",
    cases=CASES,
    frameworks=tuple(FRAMEWORKS),
    worker=("benchmarks.worker",),
    output="out/benchmarks.json",
    title="medians; score = carnyx / best rival (import: seconds above `import numpy`)",
    caption="in brackets: a bare module call, which is no predict() and is not scored",
)


def data(model: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the model's shape and one-hot targets; the numbers do not matter for speed."""
    rng = np.random.default_rng(0)
    if model == "B":
        codes = rng.integers(0, CHARS, (rows, MAXLEN + 1))
        one_hot = np.eye(CHARS, dtype="float32")[codes]
        return one_hot[:, :-1], one_hot[:, -1]
    shape = (rows, 28, 28, 1) if model == "A" else (rows, 784)
    targets = np.eye(10, dtype="float32")[rng.integers(0, 10, rows)]
    return rng.random(shape, dtype="float32"), targets
