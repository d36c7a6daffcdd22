"""Rows of recurrent layers over images."""

from tests.cases.case import Case

ROWS = [
    Case("ConvLSTM1D", {"filters": 3, "kernel_size": 2, "return_sequences": True}, (2, 5, 4, 2)),
    Case(
        "ConvLSTM2D",
        {
            "filters": 3,
            "kernel_size": 2,
            "dilation_rate": 2,
            "data_format": "channels_first",
            "go_backwards": True,
            "recurrent_activation": "hard_sigmoid",
            "unit_forget_bias": False,
        },
        (2, 3, 2, 4, 5),
    ),
    Case(
        "ConvLSTM3D",
        {
            "filters": 2,
            "kernel_size": (2, 1, 3),
            "strides": (1, 2, 1),
            "padding": "same",
            "use_bias": False,
            "kernel_regularizer": "l2",
        },
        (1, 2, 3, 3, 2, 2),
    ),
]
