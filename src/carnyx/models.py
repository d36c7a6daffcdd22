"""Models: Model, Sequential, Functional, and ways to copy them."""

from carnyx.core.clone import clone_model
from carnyx.train.model import Functional, Model, Sequential

__all__ = ["Functional", "Model", "Sequential", "clone_model"]
