"""One row per layer and variant: constructor arguments, input shapes, kind of data.

`make` builds the layer of either library, `data` its inputs. Used by `test_layers.py`,
`contract/test_layer_contracts.py` and `parity/test_layers_keras.py`.
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


def _ranks(cls: str, kwargs: dict[str, Any]) -> list[Case]:
    shapes = {"1D": X, "2D": IMAGE, "3D": VOLUME}
    return [Case(cls + rank, kwargs, shape) for rank, shape in shapes.items()]


CASES = [
    Case("Dense", {"units": 3}, (2, 4)),
    Case("Dense", {"units": 3, "activation": "relu", "use_bias": False}, X),
    Case("Dense", {"units": 3, "activity_regularizer": "l2", "kernel_regularizer": "l2"}, X),
    Case("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"}, (2, 4)),
    Case(
        "EinsumDense",
        {"equation": "abc,cde->abde", "output_shape": (None, 3, 2), "bias_axes": "de"},
        X,
    ),
    Case(
        "EinsumDense",
        {
            "equation": "...x,xy->...y",
            "output_shape": 3,
            "bias_axes": "y",
            "activation": "tanh",
        },
        X,
    ),
    Case("Embedding", {"input_dim": 5, "output_dim": 3}, (2, 4), "ids"),
    Case("Embedding", {"input_dim": 5, "output_dim": 3, "mask_zero": True}, (2, 4, 2), "ids"),
    Case("Activation", {"activation": "tanh"}, X),
    Case("ReLU", {}, X),
    Case("ReLU", {"max_value": 1.0, "negative_slope": 0.3, "threshold": 0.2}, X),
    Case("LeakyReLU", {}, X),
    Case("PReLU", {}, X),
    Case("PReLU", {"alpha_initializer": "ones", "shared_axes": [1]}, X),
    Case("ELU", {"alpha": 0.7}, X),
    Case("Softmax", {}, X),
    Case("Softmax", {"axis": (1, 2)}, X),
    Case("Identity", {}, X),
    Case("Masking", {}, X),
    *_ranks("Conv", {"filters": 6, "kernel_size": 2}),
    *_ranks("Conv", {"filters": 2, "kernel_size": 2, "strides": 2, "padding": "same"}),
    *_ranks("Conv", {"filters": 2, "kernel_size": 2, "dilation_rate": 2}),
    *_ranks("Conv", {"filters": 4, "kernel_size": 2, "groups": 2, "activation": "relu"}),
    Case("Conv1D", {"filters": 3, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, X),
    Case("Conv1D", {"filters": 3, "kernel_size": 3, "use_bias": False, "strides": 2}, X),
    Case("Conv2D", {"filters": 3, "kernel_size": (2, 3), "data_format": "channels_first"}, IMAGE),
    Case("Conv2D", {"filters": 3, "kernel_size": (1, 5), "strides": (2, 1)}, IMAGE),
    *_ranks("MaxPooling", {}),
    *_ranks("MaxPooling", {"pool_size": 3, "strides": 1, "padding": "same"}),
    *_ranks("AveragePooling", {"pool_size": 2}),
    *_ranks("AveragePooling", {"pool_size": 3, "strides": 2, "padding": "same"}),
    Case("MaxPooling2D", {"pool_size": (2, 3), "data_format": "channels_first"}, IMAGE),
    Case("MaxPool2D", {"pool_size": (3, 2), "strides": (1, 2)}, IMAGE),
    *_ranks("GlobalMaxPooling", {}),
    *_ranks("GlobalMaxPooling", {"keepdims": True, "data_format": "channels_first"}),
    *_ranks("GlobalAveragePooling", {}),
    *_ranks("GlobalAveragePooling", {"keepdims": True, "data_format": "channels_first"}),
    Case("GlobalAveragePooling1D", {}, X, mask=True),
    Case("Flatten", {}, IMAGE),
    Case("Flatten", {"data_format": "channels_first"}, IMAGE),
    Case("Flatten", {}, (3,)),
    Case("Reshape", {"target_shape": (4, 5)}, X),
    Case("Reshape", {"target_shape": (-1, 2)}, X),
    Case("Permute", {"dims": (3, 1, 2)}, IMAGE),
    Case("RepeatVector", {"n": 3}, (2, 4)),
    *_ranks("ZeroPadding", {}),
    Case("ZeroPadding1D", {"padding": (1, 2)}, X),
    Case("ZeroPadding2D", {"padding": ((1, 0), (2, 3)), "data_format": "channels_first"}, IMAGE),
    Case("ZeroPadding2D", {"padding": (1, 2)}, IMAGE),
    Case("Cropping1D", {}, X),
    Case("Cropping2D", {"cropping": ((1, 0), (2, 1))}, IMAGE),
    Case("Cropping2D", {"cropping": 1, "data_format": "channels_first"}, IMAGE),
    Case("Cropping3D", {}, VOLUME),
    *_ranks("UpSampling", {}),
    Case("UpSampling2D", {"size": (2, 3), "data_format": "channels_first"}, IMAGE),
    Case("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, IMAGE),
    Case("UpSampling2D", {"size": (2, 3), "interpolation": "bicubic"}, IMAGE),
    Case("Dropout", {"rate": 0.4}, X),
    Case("Dropout", {"rate": 0.0, "noise_shape": (None, 1, 4)}, X, training=True),
    *_ranks("SpatialDropout", {"rate": 0.4}),
    Case("GaussianNoise", {"stddev": 0.3, "seed": 3}, X),
    Case("GaussianDropout", {"rate": 0.3}, X),
    Case("AlphaDropout", {"rate": 0.3}, X),
    Case("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, X),
    Case("BatchNormalization", {}, X),
    Case("BatchNormalization", {"momentum": 0.7}, X, "shifted", training=True),
    Case("BatchNormalization", {"axis": 1, "scale": False}, IMAGE, training=True),
    Case("BatchNormalization", {"center": False, "epsilon": 0.1}, (6, 4), training=True),
    Case("BatchNormalization", {"momentum": 0.5}, X, "shifted", training=True, mask=True),
    Case("LayerNormalization", {}, X),
    Case("LayerNormalization", {"axis": (1, 2), "epsilon": 0.1}, X, "shifted"),
    Case("LayerNormalization", {"axis": 1, "center": False, "scale": False}, X),
    Case("LayerNormalization", {"axis": [3, 1]}, IMAGE),
    Case("GroupNormalization", {"groups": 2}, IMAGE, "shifted"),
    Case("GroupNormalization", {"groups": -1, "axis": 1}, IMAGE),
    Case("RMSNormalization", {}, X),
    Case("RMSNormalization", {"axis": (1, 2)}, X),
    Case("UnitNormalization", {}, X),
    Case("UnitNormalization", {"axis": (1, 2)}, X),
    *(
        Case(cls, {}, PAIR)
        for cls in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    ),
    Case("Add", {}, ((2, 3, 4), (2, 4), (2, 1, 1))),
    Case("Concatenate", {}, ((2, 3, 4), (2, 3, 2))),
    Case("Concatenate", {"axis": 1}, ((2, 3, 4), (2, 1, 4), (2, 2, 4))),
    Case("Dot", {"axes": 1}, ((2, 4), (2, 4))),
    Case("Dot", {"axes": (1, 2)}, ((2, 3, 4), (2, 5, 3))),
    Case("Dot", {"axes": -1, "normalize": True}, PAIR),
    Case("TimeDistributed", {}, X, first=("Dense", {"units": 3})),
    Case("TimeDistributed", {}, (2, 3, 5, 4), first=("Conv1D", {"filters": 2, "kernel_size": 2})),
]
