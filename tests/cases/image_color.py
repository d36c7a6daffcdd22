"""Rows of the layers that change colours and mix images; in training they are random, and tested
in `test_image_color.py` and `test_image_mix.py`."""

from typing import Any

import jax

from tests.cases.case import Case

RGB = (2, 5, 6, 3)  # B H W C
FACTORS = "RandomBrightness RandomContrast RandomSaturation RandomHue RandomColorDegeneration"


def quickly(function: Any, *args: Any) -> Any:
    """Compiled as one program, without optimisation: compiling is what takes the tests' time."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})(*args)


ROWS = [
    *(Case(cls, {"factor": (0.2, 0.4)}, RGB) for cls in [*FACTORS.split(), "RandomSharpness"]),
    Case("RandomBrightness", {"factor": 0.3, "value_range": (0, 1), "seed": 3}, RGB),
    Case("RandomHue", {"factor": 0.5, "value_range": [0, 1], "data_format": "channels_last"}, RGB),
    Case("RandomColorJitter", {"brightness_factor": 0.3, "hue_factor": (0.1, 0.2)}, RGB),
    Case("RandomGrayscale", {"factor": 0.3, "seed": 3}, RGB),
    Case("RandomPosterization", {"factor": 4}, RGB),
    Case("RandomGaussianBlur", {"kernel_size": (3, 5), "sigma": (0.5, 2.0)}, RGB),
    Case("RandomInvert", {}, RGB),
    Case("Solarization", {"addition_factor": 0.3, "threshold_factor": (0.2, 0.5)}, RGB),
    Case("AutoContrast", {}, RGB),
    Case("Equalization", {"bins": 64, "value_range": (-1, 1)}, RGB),
    Case("ContrastLimitedAdaptiveHistogramEqualization", {"tile_grid_size": (2, 2)}, RGB),
    Case("MixUp", {"alpha": 0.4}, RGB),
    Case("CutMix", {"factor": 0.5}, RGB),
]
