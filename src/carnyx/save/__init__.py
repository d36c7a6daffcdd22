"""Models and weights on disk, in Keras's own file formats."""

from carnyx.save.archive import load_model, model_from_json, save_model, to_json
from carnyx.save.compiled import compile_config, compile_from_config
from carnyx.save.weights import load_weights, save_weights

__all__ = [
    "compile_config",
    "compile_from_config",
    "load_model",
    "load_weights",
    "model_from_json",
    "save_model",
    "save_weights",
    "to_json",
]
