"""Callbacks by their public name; the classes are in `train/callbacks.py`."""

from carnyx.train.callbacks import *  # noqa: F403
from carnyx.train.callbacks import __all__ as __all__
