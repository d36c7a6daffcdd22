"""Small tables without a network: the package scikit-learn carries them."""

from __future__ import annotations

import importlib

from carnyx.core.errors import nearest
from carnyx.datasets import sources

# Name -> what it is
TABLES = {
    "iris": "150 flowers of 3 kinds, 4 numbers each",
    "wine": "178 wines of 3 kinds, 13 numbers each",
    "breast_cancer": "569 tumours, 30 numbers each, 1 if benign",
    "diabetes": "442 patients, 10 numbers each, how far the illness is a year later",
    "digits": "1,797 digits of 8 x 8 pixels from 0 to 16",
}


def load_data(name: str, test_split: float = 0.2, seed: int | None = 113) -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)) of "iris", "wine", "breast_cancer", "diabetes" or
    "digits", float32 [B, ...] and labels (float32 for diabetes).

    >>> (x_train, y_train), (x_test, y_test) = load_data("iris")
    >>> x_train.shape, x_test.shape
    ((120, 4), (30, 4))
    """
    if name not in TABLES:
        raise ValueError(
            f"load_data: there is no {name!r}.{nearest(str(name), TABLES)} Known: "
            + "; ".join(f"{key} ({what})" for key, what in TABLES.items())
        )
    try:
        module = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError("These tables are in scikit-learn: pip install scikit-learn") from error
    found = getattr(module, f"load_{name}")()
    x = (found.images if name == "digits" else found.data).astype("float32")
    y = found.target.astype("float32" if name == "diabetes" else "int32")
    return sources.halves(x, y, test_split, seed)
