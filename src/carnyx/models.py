"""Models: Model, Sequential, Functional, and ways to copy them and to keep them in files."""

from carnyx.core.clone import clone_model
from carnyx.save import load_model, model_from_json, save_model
from carnyx.train.model import Functional, Model, Sequential

__all__ = [
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "save_model",
]
