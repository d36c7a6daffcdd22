"""Fashion-MNIST: 70,000 pictures of clothes in ten kinds (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np

from carnyx.datasets import sources


def load_data() -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): uint8 pictures [60000 and 10000, 28, 28], kinds."""
    found = []
    for part in ("train", "t10k"):
        labels, pictures = (
            _read(sources.fetch(f"{part}-{name}-ubyte.gz", cache_subdir=FOLDER))
            for name in ("labels-idx1", "images-idx3")
        )
        found.append((pictures, labels))
    return found[0], found[1]


FOLDER = os.path.join("datasets", "fashion-mnist")


def _read(path: Path) -> np.ndarray:
    """An IDX file of bytes: two zeros, 8 for bytes, the rank, the sizes, the values."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is no IDX file of bytes. Delete it, and it is downloaded again.")
    rank = data[3]
    shape = np.frombuffer(data, ">i4", rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
