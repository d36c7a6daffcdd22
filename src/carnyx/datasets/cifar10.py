"""CIFAR-10: 60,000 pictures of ten kinds (Krizhevsky, 2009)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from carnyx.core import dtypes
from carnyx.datasets import sources


def load_data() -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): uint8 [50000 and 10000, 32, 32, 3], kinds [B, 1]."""
    folder = sources.fetch("cifar-10-python.tar.gz", "cifar-10-batches-py-target", extract=True)
    folder = folder / "cifar-10-batches-py"
    parts = [read_batch(folder / f"data_batch_{i}", "labels") for i in range(1, 6)]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    x_test, y_test = read_batch(folder / "test_batch", "labels")
    return (x, y.astype("uint8")), (x_test, y_test.astype("uint8"))


def read_batch(path: Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    """(pictures in the layout of `image_data_format`, labels [B, 1]) of one of the original files.

    A file is a pickled dict; a row has the red, green and blue planes of a picture.
    """
    with open(path, "rb") as file:
        found: Any = sources.read_pickle(file)
    found = {k.decode() if isinstance(k, bytes) else k: v for k, v in found.items()}
    x = found["data"].reshape(-1, 3, 32, 32)
    if dtypes.image_data_format() == "channels_last":
        x = x.transpose(0, 2, 3, 1)
    return x, np.reshape(found[label], (-1, 1))
