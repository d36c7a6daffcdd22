"""Models and weights on disk, in Keras's own file formats. Whole-model archives come later."""

from carnyx.save.weights import load_weights, save_weights

__all__ = ["load_weights", "save_weights"]
