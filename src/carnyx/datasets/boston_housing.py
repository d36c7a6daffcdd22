"""Boston housing: 506 districts (Harrison and Rubinfeld, 1978).

One of its columns assumes that people of one race prefer to live apart; do not draw conclusions
about people from it. `california_housing` serves the same purpose.
"""

from __future__ import annotations

from carnyx.datasets import sources


def load_data(
    path: str = "boston_housing.npz", test_split: float = 0.2, seed: int | None = 113
) -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): 13 numbers a district, its median price in k$."""
    data = sources.read_npz(sources.fetch("boston_housing.npz", path))
    return sources.halves(data["x"], data["y"], test_split, seed)
