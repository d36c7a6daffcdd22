"""Metrics by name: what `compile(metrics=...)` and configs may say.

`base.py` holds Metric, `reduction.py` sums and means, `accuracy.py`, `regression.py` (means of
losses), `confusion.py` (counts at thresholds), `operating.py`, `fscore.py`, `overlap.py` and
`correlation.py` the rest.
"""
# ruff: noqa: F403, F405  # each family says in its `__all__` what is public

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from carnyx import losses as _losses
from carnyx.core import config as _config
from carnyx.core.errors import missing_attribute as _missing_attribute
from carnyx.metrics.accuracy import *
from carnyx.metrics.base import Metric
from carnyx.metrics.confusion import *
from carnyx.metrics.correlation import *
from carnyx.metrics.fscore import *
from carnyx.metrics.operating import *
from carnyx.metrics.overlap import *
from carnyx.metrics.reduction import *
from carnyx.metrics.regression import *

# The classes that are imported above.
CLASSES: dict[str, type[Metric]] = {
    name: found
    for name, found in list(vars().items())
    if isinstance(found, type) and issubclass(found, Metric)
}
# Names besides a class's own and its own in snake case.
MORE_NAMES = {
    "acc": Accuracy,
    "fbeta_score": FBetaScore,
    "mse MSE": MeanSquaredError,
    "mae MAE": MeanAbsoluteError,
    "mape MAPE": MeanAbsolutePercentageError,
    "msle MSLE": MeanSquaredLogarithmicError,
    "logcosh": LogCoshError,
    "kld KLD": KLDivergence,
    "bce BCE": BinaryCrossentropy,
}
# Functions that configs may name, and that are attributes of this module: those imported above too.
FUNCTIONS: dict[str, Any] = _losses.FUNCTIONS | {
    name: found
    for name, found in list(vars().items())
    if getattr(found, "__module__", "").startswith(f"{__name__}.") and name not in CLASSES
}
globals().update(FUNCTIONS)
TABLE = {
    **FUNCTIONS,
    **{_config.snake_case(name): cls for name, cls in CLASSES.items()},
    **{name: cls for names, cls in MORE_NAMES.items() for name in names.split()},
    **CLASSES,
}

__all__ = [*CLASSES, *FUNCTIONS, "deserialize", "get", "serialize"]  # noqa: PLE0604  # from tables

__getattr__ = _missing_attribute(__name__, __all__)


def get(identifier: Any) -> Any:
    """The metric for a name, a config, a class, a callable or None.

    "accuracy" is `Accuracy` here; `compile` asks `resolve_accuracy` first.

    >>> get("mse"), get("AUC").curve, get(None)
    (<MeanSquaredError name=mean_squared_error>, 'ROC', None)
    """
    if isinstance(identifier, dict) and identifier.get("class_name") == "function":
        return MeanMetricWrapper._function(identifier)
    return _config.resolve(identifier, TABLE, "metric", Metric)


def serialize(metric: Any) -> Any:
    """Plain data for a metric: a dictionary for an object, a name for a function of ours."""
    return _config.serialize(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The metric that `serialize` described.

    >>> deserialize(serialize(Precision(top_k=2))).top_k
    2
    """
    with _config.CustomObjectScope(custom_objects or {}):
        return get(config)


# What "accuracy" and "crossentropy" mean: for an output of one unit, for labels, for one-hot rows.
BY_SHAPE: dict[str, tuple[Any, Any, Any]] = {
    "accuracy": (BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy),
    "crossentropy": (BinaryCrossentropy, SparseCategoricalCrossentropy, CategoricalCrossentropy),
}


def resolve_accuracy(
    kind: str,
    y_true_shape: tuple[int | None, ...],
    y_pred_shape: tuple[int | None, ...],
    loss: Any = None,
) -> Callable[..., Metric]:
    """The metric class that "accuracy" or "crossentropy" means for these shapes.

    An output whose last axis has size 1 is binary; targets of fewer axes than the output, or with
    a last axis of size 1, are labels; others are one-hot rows. A cross-entropy is read from logits
    if `loss` is.

    >>> resolve_accuracy("accuracy", (None,), (None, 10)).__name__
    'SparseCategoricalAccuracy'
    """
    if kind not in BY_SHAPE:
        raise ValueError(f"Expected one of {sorted(BY_SHAPE)}. Received: {kind!r}")
    classes = y_pred_shape[-1] if y_pred_shape else 1
    if classes == 1:
        index = 0
    elif len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1:
        index = 1
    else:
        index = 2
    found = BY_SHAPE[kind][index]
    if kind == "crossentropy" and getattr(loss, "from_logits", False):
        return partial(found, from_logits=True)
    return found
