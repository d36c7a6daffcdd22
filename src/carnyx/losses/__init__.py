"""Losses by name: what `compile(loss=...)` and configs may say.

`regression.py`, `probabilistic.py`, `margin.py`, `overlap.py`, `similarity.py` and `alignment.py`
hold the formulas and their classes, `base.py` weights and reduction, `targets.py` the errors for
targets that do not fit.
"""
# ruff: noqa: F403, F405  # each family says in its `__all__` what is public

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carnyx.core import config as _config
from carnyx.core.errors import missing_attribute as _missing_attribute
from carnyx.losses.alignment import *
from carnyx.losses.base import Loss, LossFunctionWrapper
from carnyx.losses.margin import *
from carnyx.losses.overlap import *
from carnyx.losses.probabilistic import *
from carnyx.losses.regression import *
from carnyx.losses.similarity import *

# The classes that are imported above, but for the bases.
CLASSES = {name: cls for name, cls in list(vars().items()) if hasattr(cls, "function")}
# Further names of functions, which are attributes of this module too.
MORE_NAMES = {
    "mse MSE": mean_squared_error,
    "mae MAE": mean_absolute_error,
    "mape MAPE": mean_absolute_percentage_error,
    "msle MSLE": mean_squared_logarithmic_error,
    "logcosh": log_cosh,
    "kld KLD kullback_leibler_divergence": kl_divergence,
    "bce BCE": binary_crossentropy,
}
FUNCTIONS = {
    **{cls.function.__name__: cls.function for cls in CLASSES.values()},
    **{name: function for names, function in MORE_NAMES.items() for name in names.split()},
}
globals().update(FUNCTIONS)
TABLE = {"Loss": Loss, "LossFunctionWrapper": LossFunctionWrapper, **CLASSES, **FUNCTIONS}

__all__ = [*TABLE, "as_loss", "deserialize", "get", "serialize"]  # noqa: PLE0604  # made from the table

__getattr__ = _missing_attribute(__name__, __all__)


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
