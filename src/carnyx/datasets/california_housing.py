"""California housing: 20,640 districts of the 1990 census (Pace and Barry, 1997)."""

from __future__ import annotations

from carnyx.datasets import sources


def load_data(
    version: str = "large",
    path: str = "california_housing.npz",
    test_split: float = 0.2,
    seed: int | None = 113,
) -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): 8 numbers a district, its median price in dollars.

    `version` is "large", or "small" for 600 districts.
    """
    if version not in ("large", "small"):
        raise ValueError(f"load_data: version is 'large' or 'small'. Received: version={version!r}")
    data = sources.read_npz(sources.fetch("california_housing.npz", path))
    count = 600 if version == "small" else None
    return sources.halves(data["x"][:count], data["y"][:count], test_split, seed)
