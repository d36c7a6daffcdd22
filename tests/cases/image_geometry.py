"""Rows of layers that move pixels. Draws are not Keras's: there the rows are those of inference;
`test_image_geometry.py` compares what is done with a draw."""

from tests.cases.case import IMAGE, Case

ROWS = [
    Case("Resizing", {"height": 3, "width": 4}, IMAGE),
    Case(
        "Resizing", {"height": 7, "width": 3, "interpolation": "bicubic", "antialias": True}, IMAGE
    ),
    Case("Resizing", {"height": 3, "width": 4, "crop_to_aspect_ratio": True}, IMAGE),
    Case(
        "Resizing", {"height": 6, "width": 4, "pad_to_aspect_ratio": True, "fill_value": 2}, IMAGE
    ),
    Case("Resizing", {"height": 3, "width": 4, "data_format": "channels_first"}, IMAGE),
    Case("CenterCrop", {"height": 2, "width": 3}, IMAGE),
    Case("CenterCrop", {"height": 7, "width": 3}, IMAGE),
    Case("CenterCrop", {"height": 5, "width": 3, "data_format": "channels_first"}, IMAGE),
    Case("RandomFlip", {"mode": "horizontal"}, IMAGE),
    Case("RandomRotation", {"factor": (-0.1, 0.3), "seed": 3}, IMAGE),
    Case("RandomTranslation", {"height_factor": 0.2, "width_factor": (0.1, 0.3)}, IMAGE),
    Case("RandomZoom", {"height_factor": 0.2, "fill_mode": "wrap"}, IMAGE),
    Case("RandomShear", {"x_factor": (0.0, 0.2), "y_factor": (0.1, 0.3), "seed": 3}, IMAGE),
    Case("RandomPerspective", {"factor": 0.7, "scale": 0.5}, IMAGE),
    Case("RandomElasticTransform", {"factor": (0.2, 1.0), "scale": 0.5}, IMAGE),
    Case("RandomErasing", {"fill_value": 2.0, "value_range": (0, 1)}, IMAGE),
]
