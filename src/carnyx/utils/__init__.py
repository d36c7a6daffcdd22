"""Small helpers of user programs: labels to one-hot, seeds, the progress bar, the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from carnyx.config import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)
from carnyx.core.config import clear_session
from carnyx.core.drawing import model_to_dot, plot_model
from carnyx.core.dtypes import standardize_dtype
from carnyx.core.errors import nearest
from carnyx.core.symbol import KerasTensor, is_symbol
from carnyx.data.files import get_file
from carnyx.data.folders import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
)
from carnyx.data.images import array_to_img, img_to_array, load_img, save_img
from carnyx.data.pydataset import PyDataset
from carnyx.data.pydataset import PyDataset as Sequence
from carnyx.data.sequences import (
    pack_x_y_sample_weight,
    pad_sequences,
    split_dataset,
    timeseries_dataset_from_array,
    unpack_x_y_sample_weight,
)
from carnyx.random import set_random_seed
from carnyx.saving import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from carnyx.train.progress import Progbar
from carnyx.utils.config import Config

if TYPE_CHECKING:
    from carnyx.layers.feature_space import FeatureSpace


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Integer labels as one-hot rows.

    Shapes: labels [...] or [..., 1] in [0, C) -> float32 [..., C].
    `num_classes` (C) is by default the greatest label plus one.
    Raises ValueError for labels that are no integers or lie outside [0, C).

    >>> to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels = np.asarray(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    whole = labels.astype("int64")
    if not np.array_equal(whole, labels):
        raise ValueError("to_categorical: labels must be whole numbers. Received non-integers.")
    count = int(whole.max()) + 1 if num_classes is None else num_classes
    if whole.size and (whole.min() < 0 or whole.max() >= count):
        raise ValueError(
            f"to_categorical: labels must lie in [0, {count}). Received values from "
            f"{whole.min()} to {whole.max()}. Raise num_classes or mend the labels."
        )
    return np.eye(count, dtype="float32")[whole]


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray:
    """`x` divided by its norm of that order along `axis`; zero vectors stay zero.

    >>> normalize([[3.0, 4.0]]).tolist()
    [[0.6, 0.8]]
    """
    x = np.asarray(x)
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, 1, norm)


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is a KerasTensor: a symbol of a model's graph, without values.

    >>> is_keras_tensor(np.ones(2))
    False
    """
    return is_symbol(x)


def get_source_inputs(tensor: KerasTensor) -> list[KerasTensor]:
    """The inputs from which a KerasTensor is computed, in the order in which they are met.

    >>> import carnyx
    >>> a, b = carnyx.Input((2,), name="a"), carnyx.Input((2,), name="b")
    >>> [t.name for t in get_source_inputs(a + carnyx.layers.Dense(2)(b))]
    ['a', 'b']
    """
    found: dict[int, KerasTensor] = {}
    waiting, seen = [tensor], set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if current.node is None or not current.node.inputs:
            found[id(current)] = current
        else:
            waiting += reversed(current.node.inputs)
    return list(found.values())


def __getattr__(name: str) -> Any:
    """FeatureSpace is a layer, and layers are loaded when one is asked for."""
    if name == "FeatureSpace":
        from carnyx.layers.feature_space import FeatureSpace

        return FeatureSpace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{nearest(name, __all__)}")


__all__ = [
    "Config",
    "CustomObjectScope",
    "FeatureSpace",
    "Progbar",
    "PyDataset",
    "Sequence",
    "array_to_img",
    "audio_dataset_from_directory",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "model_to_dot",
    "normalize",
    "plot_model",
    "image_dataset_from_directory",
    "img_to_array",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "load_img",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "register_keras_serializable",
    "save_img",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
