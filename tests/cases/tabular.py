"""Rows of rescaling, normalization, encodings, adaptive pooling and the reversible embedding."""

from tests.cases.case import IMAGE, VOLUME, Case, X

ROWS = [
    Case("Rescaling", {"scale": 0.5, "offset": [1.0, 2.0, 3.0, 4.0]}, X),
    Case("Normalization", {"mean": 1.0, "variance": 4.0, "axis": None}, X),
    Case("Normalization", {"mean": [1.0, 2.0, 3.0, 4.0], "variance": [1.0, 2.0, 0.0, 9.0]}, X),
    Case("AdaptiveAveragePooling1D", {"output_size": 3}, X),
    Case("AdaptiveAveragePooling2D", {"output_size": (2, 4)}, IMAGE),
    Case("AdaptiveMaxPooling2D", {"output_size": 2, "data_format": "channels_first"}, IMAGE),
    Case("AdaptiveMaxPooling3D", {"output_size": (3, 2, 1)}, VOLUME),
    Case("ReversibleEmbedding", {"input_dim": 5, "output_dim": 3}, (2, 4), "ids"),
    Case(
        "ReversibleEmbedding",
        {"input_dim": 5, "output_dim": 3, "tie_weights": False, "mask_zero": True},
        (2, 4),
        "ids",
    ),
]
