"""Losses by name: what `compile(loss=...)` and configs may say.

`regression.py`, `probabilistic.py`, `margin.py`, `overlap.py`, `similarity.py` and `alignment.py`
hold the formulas and their classes, `base.py` weights and reduction, `targets.py` the errors for
targets that do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carnyx.core import config as _config
from carnyx.losses.alignment import CTC, ctc
from carnyx.losses.base import Loss, LossFunctionWrapper
from carnyx.losses.margin import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from carnyx.losses.overlap import Dice, Tversky, dice, tversky
from carnyx.losses.probabilistic import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    poisson,
    sparse_categorical_crossentropy,
)
from carnyx.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from carnyx.losses.similarity import Circle, circle

# One row per loss: class, function, further names of the function.
LOSSES: tuple[tuple[Any, Any, tuple[str, ...]], ...] = (
    (MeanSquaredError, mean_squared_error, ("mse", "MSE")),
    (MeanAbsoluteError, mean_absolute_error, ("mae", "MAE")),
    (MeanAbsolutePercentageError, mean_absolute_percentage_error, ("mape", "MAPE")),
    (MeanSquaredLogarithmicError, mean_squared_logarithmic_error, ("msle", "MSLE")),
    (Huber, huber, ()),
    (LogCosh, log_cosh, ("logcosh",)),
    (CosineSimilarity, cosine_similarity, ()),
    (Hinge, hinge, ()),
    (SquaredHinge, squared_hinge, ()),
    (CategoricalHinge, categorical_hinge, ()),
    (KLDivergence, kl_divergence, ("kld", "KLD", "kullback_leibler_divergence")),
    (Poisson, poisson, ()),
    (BinaryCrossentropy, binary_crossentropy, ("bce", "BCE")),
    (BinaryFocalCrossentropy, binary_focal_crossentropy, ()),
    (CategoricalCrossentropy, categorical_crossentropy, ()),
    (CategoricalFocalCrossentropy, categorical_focal_crossentropy, ()),
    (SparseCategoricalCrossentropy, sparse_categorical_crossentropy, ()),
    (CategoricalGeneralizedCrossEntropy, categorical_generalized_cross_entropy, ()),
    (Dice, dice, ()),
    (Tversky, tversky, ()),
    (Circle, circle, ()),
    (CTC, ctc, ()),
)
CLASSES = {cls.__name__: cls for cls, _, _ in LOSSES}
FUNCTIONS = {name: f for _, f, more in LOSSES for name in (f.__name__, *more)}
TABLE = {"Loss": Loss, "LossFunctionWrapper": LossFunctionWrapper, **CLASSES, **FUNCTIONS}

__all__ = [*TABLE, "as_loss", "deserialize", "get", "serialize"]  # noqa: PLE0604  # made from the table


def get(identifier: Any) -> Any:
    """The loss for a name, a config, a class, a callable or None.

    A function's name gives the function, a class's name an object of it.

    >>> get("mse").__name__, get("Huber").name, get(None)
    ('mean_squared_error', 'huber_loss', None)
    """
    if isinstance(identifier, dict) and identifier.get("class_name") == "function":
        return LossFunctionWrapper._function(identifier)
    return _config.resolve(identifier, TABLE, "loss", Loss)


def as_loss(identifier: Any) -> Any:
    """`get`, with functions made into `Loss` objects of their names: what `compile` needs.

    >>> as_loss("mse")
    <LossFunctionWrapper name=mse>
    """
    loss = get(identifier)
    if loss is None or isinstance(loss, Loss):
        return loss
    name = identifier if isinstance(identifier, str) else getattr(loss, "__name__", None)
    return LossFunctionWrapper(loss, name=name)


def serialize(loss: Any) -> Any:
    """Plain data for a loss: a dictionary for an object, a name for a function of ours."""
    return _config.serialize(loss)


def deserialize(name: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The loss that `serialize` described.

    >>> deserialize(serialize(Huber(delta=2.0))).get_config()["delta"]
    2.0
    """
    with _config.CustomObjectScope(custom_objects or {}):
        return get(name)


def __getattr__(name: str) -> Any:
    """The further names of functions: `carnyx.losses.mse`."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise AttributeError(f"module 'carnyx.losses' has no attribute {name!r}")
