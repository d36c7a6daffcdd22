"""One row per loss: arguments, kind of data, and its formula in NumPy for unreduced values.

`data` makes the targets and predictions of a kind. Used by `test_losses.py`,
`parity/test_losses_keras.py` and the metric tests.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np

EPSILON = 1e-7
SEQUENCES = np.array([[1, 2, 3], [2, 2, 0], [4, 0, 0], [0, 0, 0], [3, 1, 3], [1, 1, 2], [2, 3, 0]])


class Case(NamedTuple):
    cls: str
    function: str
    data: str
    oracle: Any
    kwargs: dict[str, Any] = {}

    @property
    def id(self) -> str:
        return "-".join([self.cls, self.data, *(f"{k}={v}" for k, v in self.kwargs.items())])


def data(kind: str, batch: int = 7, classes: int = 5, seed: int = 0) -> tuple[Any, Any]:
    """Targets and predictions, float32 (labels int32)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(batch, classes)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = rng.integers(0, classes, batch)
    one_hot = np.eye(classes)[labels]
    binary = rng.integers(0, 2, (batch, classes))
    positive = rng.uniform(0.1, 3.0, (2, batch, classes))
    steps = rng.normal(size=(batch, 3, classes))
    y, f = {
        "real": (rng.normal(size=(batch, classes)) * 2, logits),
        "positive": (positive[0], positive[1]),
        "distribution": (probabilities[::-1], probabilities),
        "signs": (2 * binary - 1, logits),
        "binary": (binary, 1 / (1 + np.exp(-logits))),
        "binary_logits": (binary, logits),
        "one_hot": (one_hot, probabilities),
        "one_hot_logits": (one_hot, logits),
        "labels": (labels, probabilities),
        "column_labels": (labels[:, None], probabilities),
        "labels_logits": (labels, logits),
        "step_labels": (rng.integers(0, classes, (batch, 3)), np.exp(steps)),
        "labels_units": (labels % 2, logits / np.linalg.norm(logits, axis=-1, keepdims=True)),
        "classes": (labels, rng.integers(0, classes, batch)),
        "one_hot_steps": (np.eye(classes)[rng.integers(0, classes, (batch, 3))], np.exp(steps)),
        "sequences": (SEQUENCES, rng.normal(size=(batch, 4, classes)) * 2),
    }[kind]
    whole = "labels" in kind or kind == "sequences"
    return y.astype("int32" if whole else "float32"), f.astype("float32")


def _overlap(y, p, missed, wrong):
    """Tversky's index by a loop over rows; Dice's is the one of weights 0.5."""
    found = []
    for a, b in zip(y, p, strict=True):
        both = (a * b).sum()
        found.append(both / (both + missed * (a - a * b).sum() + wrong * (b - a * b).sum()))
    return np.array(found)


def _circle(y, f):
    """Sun et al.'s equation by a loop, gamma 5 and margin 0.3."""
    found = []
    for i in range(len(y)):
        pull = push = 0.0
        for j in range(len(y)):
            d = max(1 - f[i] @ f[j], 0)
            if y[i] != y[j]:
                push += np.exp(5 * max(1.3 - d, 0) * (0.7 - d))
            elif i != j:
                pull += np.exp(-5 * (0.3 + d) * (0.3 - d))
        found.append(np.log(1 + pull * push))
    return np.array(found)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _clip(p):
    return np.clip(p, EPSILON, 1 - EPSILON)


def _bce(y, p):
    return -(y * np.log(_clip(p)) + (1 - y) * np.log(1 - _clip(p)))


def _unit(p):
    return _clip(p / p.sum(-1, keepdims=True))


def _cce(y, p):
    return -(y * np.log(_unit(p))).sum(-1)


def _rows(y, p):
    """One-hot rows of labels that may have an axis of size 1 behind."""
    labels = y.reshape(p.shape[:-1])
    return np.eye(p.shape[-1])[labels]


def _focal(y, p, weight=1.0):
    q = y * p + (1 - y) * (1 - p)
    return (weight * (1 - q) ** 2 * _bce(y, p)).mean(-1)


def _hinge(y, f):
    return np.maximum(1 - y * f, 0)


def _cosine(y, f):
    return (y * f).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(f, axis=-1)


def _huber(y, f, d):
    e = np.abs(y - f)
    return np.where(e <= d, e**2 / 2, d * e - d * d / 2).mean(-1)


def _smooth(y, s, n):
    return y * (1 - s) + s / n


def _read(path):
    """What a path of CTC reads as: repeats merged, then blanks left out."""
    return [int(c) for c, _ in itertools.groupby(path) if c]


def _ctc(y, x):
    """The probability of every path that reads as the labels, one by one."""
    p, found = _softmax(x.astype("float64")), np.zeros(len(y))
    for path in itertools.product(range(x.shape[2]), repeat=x.shape[1]):
        for n, labels in enumerate(y):
            if _read(path) == [int(c) for c in labels if c]:
                found[n] += np.prod(p[n, np.arange(len(path)), path])
    return -np.log(found)


LOGITS = {"from_logits": True}
CASES = [
    Case("MeanSquaredError", "mean_squared_error", "real", lambda y, f: ((y - f) ** 2).mean(-1)),
    Case("MeanAbsoluteError", "mean_absolute_error", "real", lambda y, f: abs(y - f).mean(-1)),
    Case(
        "MeanAbsolutePercentageError",
        "mean_absolute_percentage_error",
        "positive",
        lambda y, f: 100 * (abs(y - f) / abs(y)).mean(-1),
    ),
    Case(
        "MeanSquaredLogarithmicError",
        "mean_squared_logarithmic_error",
        "positive",
        lambda y, f: ((np.log1p(y) - np.log1p(f)) ** 2).mean(-1),
    ),
    Case("Huber", "huber", "real", lambda y, f: _huber(y, f, 1.0)),
    Case("Huber", "huber", "real", lambda y, f: _huber(y, f, 2.5), {"delta": 2.5}),
    Case("LogCosh", "log_cosh", "real", lambda y, f: np.log(np.cosh(y - f)).mean(-1)),
    Case("CosineSimilarity", "cosine_similarity", "real", lambda y, f: -_cosine(y, f)),
    Case(
        "CosineSimilarity",
        "cosine_similarity",
        "real",
        lambda y, f: -_cosine(y.T, f.T),
        {"axis": 0},
    ),
    Case("Hinge", "hinge", "signs", lambda y, f: _hinge(y, f).mean(-1)),
    Case("Hinge", "hinge", "binary_logits", lambda y, f: _hinge(2 * y - 1, f).mean(-1)),
    Case("SquaredHinge", "squared_hinge", "signs", lambda y, f: (_hinge(y, f) ** 2).mean(-1)),
    Case(
        "CategoricalHinge",
        "categorical_hinge",
        "one_hot",
        lambda y, f: np.maximum(1 + ((1 - y) * f).max(-1) - (y * f).sum(-1), 0),
    ),
    Case(
        "KLDivergence",
        "kl_divergence",
        "distribution",
        lambda y, p: (y * np.log(y / p)).sum(-1),
    ),
    Case("Poisson", "poisson", "positive", lambda y, f: (f - y * np.log(f + EPSILON)).mean(-1)),
    Case("BinaryCrossentropy", "binary_crossentropy", "binary", lambda y, p: _bce(y, p).mean(-1)),
    Case(
        "BinaryCrossentropy",
        "binary_crossentropy",
        "binary_logits",
        lambda y, x: _bce(y, _sigmoid(x)).mean(-1),
        LOGITS,
    ),
    Case(
        "BinaryCrossentropy",
        "binary_crossentropy",
        "binary",
        lambda y, p: _bce(_smooth(y, 0.2, 2), p).mean(-1),
        {"label_smoothing": 0.2},
    ),
    Case("BinaryFocalCrossentropy", "binary_focal_crossentropy", "binary", _focal),
    Case(
        "BinaryFocalCrossentropy",
        "binary_focal_crossentropy",
        "binary_logits",
        lambda y, x: _focal(y, _sigmoid(x), y * 0.3 + (1 - y) * 0.7),
        {"from_logits": True, "apply_class_balancing": True, "alpha": 0.3},
    ),
    Case("CategoricalCrossentropy", "categorical_crossentropy", "one_hot", _cce),
    Case("CategoricalCrossentropy", "categorical_crossentropy", "one_hot_steps", _cce),
    Case(
        "CategoricalCrossentropy",
        "categorical_crossentropy",
        "one_hot_logits",
        lambda y, x: _cce(_smooth(y, 0.1, 5), _softmax(x)),
        {"from_logits": True, "label_smoothing": 0.1},
    ),
    Case(
        "CategoricalFocalCrossentropy",
        "categorical_focal_crossentropy",
        "one_hot",
        lambda y, p: -(0.25 * (1 - _unit(p)) ** 2 * y * np.log(_unit(p))).sum(-1),
    ),
    Case(
        "CategoricalFocalCrossentropy",
        "categorical_focal_crossentropy",
        "one_hot_logits",
        lambda y, x: -(0.5 * (1 - _softmax(x)) ** 3 * y * np.log(_softmax(x))).sum(-1),
        {"from_logits": True, "alpha": 0.5, "gamma": 3.0},
    ),
    *(
        Case(
            "SparseCategoricalCrossentropy",
            "sparse_categorical_crossentropy",
            kind,
            lambda y, p: _cce(_rows(y, p), p),
        )
        for kind in ("labels", "column_labels", "step_labels")
    ),
    Case(
        "SparseCategoricalCrossentropy",
        "sparse_categorical_crossentropy",
        "labels_logits",
        lambda y, x: _cce(_rows(y, x), _softmax(x)),
        LOGITS,
    ),
    Case(
        "SparseCategoricalCrossentropy",
        "sparse_categorical_crossentropy",
        "labels",
        lambda y, p: np.where(y == 1, 0.0, _cce(_rows(y, p), p)),
        {"ignore_class": 1},
    ),
    Case(
        "CategoricalGeneralizedCrossEntropy",
        "categorical_generalized_cross_entropy",
        "labels",
        lambda y, p: (1 - p[np.arange(len(y)), y] ** 0.7) / 0.7,
        {"q": 0.7},
    ),
    Case("Dice", "dice", "binary", lambda y, p: 1 - _overlap(y, p, 0.5, 0.5), {"axis": -1}),
    Case(
        "Tversky",
        "tversky",
        "binary",
        lambda y, p: 1 - _overlap(y, p, 0.7, 0.2),
        {"alpha": 0.7, "beta": 0.2, "axis": -1},
    ),
    Case("Circle", "circle", "labels_units", _circle, {"gamma": 5.0, "margin": 0.3}),
    Case("CTC", "ctc", "sequences", _ctc),
]
