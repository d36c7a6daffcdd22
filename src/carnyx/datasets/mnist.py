"""MNIST: 70,000 handwritten digits (LeCun, Cortes and Burges)."""

from __future__ import annotations

from carnyx.datasets import sources


def load_data(path: str = "mnist.npz") -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): uint8 pictures [60000 and 10000, 28, 28], digits.

    `path` is the file's name in the cache. `carnyx.datasets.digits` has 5,000 without a network.
    """
    data = sources.read_npz(sources.fetch("mnist.npz", path))
    return (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])
