"""CIFAR-100: 60,000 pictures of a hundred kinds in twenty groups (Krizhevsky, 2009)."""

from __future__ import annotations

from carnyx.datasets import sources
from carnyx.datasets.cifar10 import read_batch


def load_data(label_mode: str = "fine") -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): uint8 [50000 and 10000, 32, 32, 3], int64 [B, 1].

    `label_mode` is "fine" for the hundred kinds or "coarse" for the twenty groups.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(
            f"load_data: label_mode is 'fine' or 'coarse'. Received: label_mode={label_mode!r}"
        )
    folder = sources.fetch("cifar-100-python.tar.gz", "cifar-100-python-target", extract=True)
    folder = folder / "cifar-100-python"
    train, test = (read_batch(folder / n, f"{label_mode}_labels") for n in ("train", "test"))
    return train, test
