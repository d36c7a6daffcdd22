"""One row per metric: arguments, kind of data (see `cases/losses.py`), and NumPy's answer.

The oracle takes all targets, predictions and weights [B] at once, in float64.
"""

from typing import Any, NamedTuple

import numpy as np

from tests.cases.losses import CASES as LOSSES


class Case(NamedTuple):
    cls: str
    data: str
    oracle: Any
    kwargs: dict[str, Any] = {}

    @property
    def id(self) -> str:
        return "-".join([self.cls, self.data, *(f"{k}={v}" for k, v in self.kwargs.items())])


def mean(values):
    """The weighted mean over samples of unreduced values."""

    def oracle(y, f, w):
        per_sample = np.asarray(values(y, f), float)
        per_sample = per_sample.reshape(len(w), -1).mean(-1)
        return (per_sample * w).sum() / w.sum()

    return oracle


def _confusion(y, f, w, threshold):
    """tp, fp, tn, fn by a loop."""
    table = [0.0] * 4
    w = np.broadcast_to(w[:, None], y.shape)
    for truth, score, weight in zip(y.ravel(), f.ravel(), w.ravel(), strict=True):
        positive = score > threshold
        table[(0 if truth else 1) if positive else (3 if truth else 2)] += weight
    return table


def _count(index, thresholds=(0.5,)):
    def oracle(y, f, w):
        found = [_confusion(y, f, w, t)[index] for t in thresholds]
        return found[0] if len(found) == 1 else found

    return oracle


def _share(rest, thresholds=(0.5,), select=lambda y, f: (y, f)):
    def oracle(y, f, w):
        y, f = select(y, f)
        found = []
        for t in thresholds:
            table = _confusion(y, f, w, t)
            total = table[0] + table[rest]
            found.append(table[0] / total if total else 0.0)
        return found[0] if len(found) == 1 else found

    return oracle


def _top(k):
    def select(y, f):
        f = f.copy()
        for row in f:
            row[np.argsort(-row)[k:]] = -1.0
        return y, np.where(f < 0, -1.0, 1.0)

    return select


def _roc(y, f, w):
    """The share of (positive, negative) pairs in the right order: exact for distinct scores."""
    w = np.broadcast_to(w[:, None], y.shape).ravel()
    y, f = y.ravel().astype(bool), f.ravel()
    right = total = 0.0
    for fp, wp in zip(f[y], w[y], strict=True):
        for fn, wn in zip(f[~y], w[~y], strict=True):
            right += wp * wn * (fp > fn) + wp * wn * 0.5 * (fp == fn)
            total += wp * wn
    return right / total


def _fbeta(beta, average, threshold):
    def oracle(y, f, w):
        chosen = f > threshold if threshold else f == f.max(-1, keepdims=True)
        w = w[:, None]
        tp, fp, fn = ((a * w).sum(0) for a in (chosen * y, chosen * (1 - y), (1 - chosen) * y))
        support = (y * w).sum(0)
        if average == "micro":
            tp, fp, fn = tp.sum(), fp.sum(), fn.sum()
        score = (1 + beta**2) * tp / np.maximum((1 + beta**2) * tp + beta**2 * fn + fp, 1e-30)
        if average == "weighted":
            return (score * support).sum() / support.sum()
        return score if average is None else score.mean()

    return oracle


def _top_k(rows, k):
    def values(y, f):
        label = y.argmax(-1) if rows else y
        order = np.argsort(-f, axis=-1)[..., :k]
        return (order == label[..., None]).any(-1)

    return mean(values)


SAME_AS_LOSS = {
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "Hinge",
    "SquaredHinge",
    "CategoricalHinge",
    "KLDivergence",
    "Poisson",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
}
LEVELS = [0.2, 0.7, 0.4]
EVEN = [0.0, 0.25, 0.5, 0.75, 1.0]


# Keras cuts weights to whole numbers under its default dtype for these.
FLOAT = {"dtype": "float32"}


def _iou(classes):
    """Intersection over union by a loop over samples."""

    def oracle(y, f, w):
        y, f = (v.argmax(-1) if v.ndim == 2 else v for v in (y, f))
        found = []
        for c in classes:
            both = sum(w[i] for i in range(len(w)) if y[i] == c and f[i] == c)
            either = sum(w[i] for i in range(len(w)) if y[i] == c or f[i] == c)
            found += [both / either] if either else []
        return np.mean(found)

    return oracle


def _r2(y, f, w):
    scores = []
    for a, b in zip(y.T, f.T, strict=True):
        centre = (w * a).sum() / w.sum()
        scores.append(1 - (w * (a - b) ** 2).sum() / (w * (a - centre) ** 2).sum())
    return np.mean(scores)


def _rows(y, f, function):
    return [function(a, b) for a, b in zip(y, f, strict=True)]


def _pearson(a, b):
    return np.corrcoef(a, b)[0, 1]


def _lin(a, b):
    covariance = np.cov(a, b, bias=True)
    return 2 * covariance[0, 1] / (np.trace(covariance) + (a.mean() - b.mean()) ** 2)


def _at(part, rest, bound_part, bound_rest):
    """The greatest of one rate where another is at least 0.5, at eleven thresholds."""

    def oracle(y, f, w):
        best = 0.0
        for t in np.linspace(0, 1, 11):
            table = _confusion(y, f, w, t)
            bound = table[bound_part] + table[bound_rest]
            rate = table[part] + table[rest]
            if bound and table[bound_part] / bound >= 0.5 and rate:
                best = max(best, table[part] / rate)
        return best

    return oracle


CASES = [
    *(
        Case(case.cls, case.data, mean(case.oracle), case.kwargs)
        for case in LOSSES
        if case.cls in SAME_AS_LOSS and "ignore_class" not in case.kwargs
    ),
    Case("LogCoshError", "real", mean(lambda y, f: np.log(np.cosh(y - f)).mean(-1))),
    Case(
        "CosineSimilarity",
        "real",
        mean(
            lambda y, f: (y * f).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(f, axis=-1)
        ),
    ),
    Case(
        "RootMeanSquaredError",
        "real",
        lambda y, f, w: mean(lambda y, f: (y - f) ** 2)(y, f, w) ** 0.5,
    ),
    Case("Accuracy", "binary", mean(lambda y, f: y == f)),
    Case("BinaryAccuracy", "binary", mean(lambda y, f: y == (f > 0.5))),
    Case("BinaryAccuracy", "binary", mean(lambda y, f: y == (f > 0.3)), {"threshold": 0.3}),
    *(
        Case("CategoricalAccuracy", kind, mean(lambda y, f: y.argmax(-1) == f.argmax(-1)))
        for kind in ("one_hot", "one_hot_steps")
    ),
    *(
        Case(
            "SparseCategoricalAccuracy",
            kind,
            mean(lambda y, f: y.reshape(f.shape[:-1]) == f.argmax(-1)),
        )
        for kind in ("labels", "column_labels", "step_labels")
    ),
    Case("TopKCategoricalAccuracy", "one_hot", _top_k(True, 2), {"k": 2}),
    Case("TopKCategoricalAccuracy", "one_hot_steps", _top_k(True, 3), {"k": 3}),
    Case("SparseTopKCategoricalAccuracy", "labels", _top_k(False, 2), {"k": 2}),
    Case("SparseTopKCategoricalAccuracy", "step_labels", _top_k(False, 3), {"k": 3}),
    *(
        Case(cls, "binary", _count(i, thresholds or (0.5,)), {"thresholds": thresholds})
        for i, cls in enumerate(
            ["TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"]
        )
        for thresholds in (None, LEVELS, EVEN)
    ),
    *(
        Case(cls, "binary", oracle(rest), kwargs)
        for cls, rest in (("Precision", 1), ("Recall", 3))
        for oracle, kwargs in (
            (lambda r: _share(r), {}),
            (lambda r: _share(r, LEVELS), {"thresholds": LEVELS}),
            (lambda r: _share(r, (0.0,), _top(2)), {"top_k": 2}),
            (
                lambda r: _share(r, select=lambda y, f: (y[:, 3:4], f[:, 3:4])),
                {"class_id": 3},
            ),
        )
    ),
    Case("AUC", "binary", _roc, {"num_thresholds": 40_001}),
    *(
        Case(
            "FBetaScore",
            "one_hot",
            _fbeta(2.0, average, threshold),
            {"beta": 2.0, "average": average, "threshold": threshold},
        )
        for average in (None, "micro", "macro", "weighted")
        for threshold in (None, 0.3)
    ),
    Case("F1Score", "one_hot", _fbeta(1.0, "macro", None), {"average": "macro"}),
    Case("IoU", "classes", _iou((0, 2)), {"num_classes": 5, "target_class_ids": [0, 2], **FLOAT}),
    Case("MeanIoU", "classes", _iou(range(5)), {"num_classes": 5, **FLOAT}),
    Case("OneHotMeanIoU", "one_hot", _iou(range(5)), {"num_classes": 5, **FLOAT}),
    Case("OneHotIoU", "one_hot", _iou((1,)), {"num_classes": 5, "target_class_ids": [1], **FLOAT}),
    Case("R2Score", "real", _r2),
    Case("PearsonCorrelation", "real", mean(lambda y, f: _rows(y, f, _pearson))),
    Case("ConcordanceCorrelation", "real", mean(lambda y, f: _rows(y, f, _lin))),
    Case("PrecisionAtRecall", "binary", _at(0, 1, 0, 3), {"recall": 0.5, "num_thresholds": 11}),
    Case("RecallAtPrecision", "binary", _at(0, 3, 0, 1), {"precision": 0.5, "num_thresholds": 11}),
    Case(
        "SensitivityAtSpecificity",
        "binary",
        _at(0, 3, 2, 1),
        {"specificity": 0.5, "num_thresholds": 11},
    ),
    Case(
        "SpecificityAtSensitivity",
        "binary",
        _at(2, 1, 0, 3),
        {"sensitivity": 0.5, "num_thresholds": 11},
    ),
]
