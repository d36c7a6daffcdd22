"""What a row of the layers' tables is: constructor arguments, input shapes, kind of data.

`make` builds the layer of either library, `data` its inputs. The rows are in `layers.py` and, for
families with many, in files of their own that `layers.py` joins.
"""

from typing import Any, NamedTuple

import numpy as np

X = (2, 5, 4)  # B T C
IMAGE = (2, 5, 6, 4)  # B H W C
VOLUME = (2, 4, 5, 3, 2)  # B D H W C
PAIR = ((2, 3, 4), (2, 3, 4))


class Case(NamedTuple):
    cls: str
    kwargs: dict[str, Any]
    shapes: Any  # one shape, or several for layers that take a list
    data: str = "normal"
    training: bool = False
    mask: bool = False  # pass a mask [B, T]
    first: tuple[str, dict[str, Any]] | None = None  # the layer inside, for wrappers

    @property
    def id(self) -> str:
        shown = [f"{k}={v}" for k, v in self.kwargs.items()]
        flags = [name for name in ("training", "mask") if getattr(self, name)]
        return "-".join([self.cls, *shown, *flags]).replace(" ", "")

    @property
    def many(self) -> bool:
        return isinstance(self.shapes[0], tuple)


def make(case: Case, library: Any, **more: Any) -> Any:
    """The row's layer, from `carnyx.layers` or `keras.layers`."""
    kwargs = {**case.kwargs, **more}
    if case.first is not None:
        name, inner = case.first
        dtype = {"dtype": kwargs["dtype"]} if "dtype" in kwargs else {}
        kwargs["layer"] = getattr(library, name)(**inner, **dtype, name="inner")
    return getattr(library, case.cls)(**kwargs, name="layer")


def data(case: Case, seed: int = 0) -> Any:
    """The inputs: an array, or a list of them."""
    rng = np.random.default_rng(seed)

    def one(shape: tuple[int, ...]) -> np.ndarray:
        if case.data == "ids":
            return rng.integers(0, 5, shape).astype("int32")
        x = rng.normal(size=shape).astype("float32")
        return x + 3 if case.data == "shifted" else x

    return [one(s) for s in case.shapes] if case.many else one(case.shapes)


def mask_of(case: Case) -> np.ndarray | None:
    """A mask [B, T] that leaves every sample some steps."""
    if not case.mask:
        return None
    steps = case.shapes[1]
    return np.arange(steps) < np.array([[steps], [steps - 2]])


def filled(arrays: Any, seed: int = 1) -> list[np.ndarray]:
    """Values for weights of these shapes; positive, since some are variances."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.2, 1.0, a.shape).astype(a.dtype) for a in arrays]


def ranks(cls: str, kwargs: dict[str, Any]) -> list[Case]:
    shapes = {"1D": X, "2D": IMAGE, "3D": VOLUME}
    return [Case(cls + rank, kwargs, shape) for rank, shape in shapes.items()]
