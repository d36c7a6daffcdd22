"""Models in files, and what may be built from files: the registry of classes and functions."""

from carnyx.core.config import (
    CustomObjectScope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from carnyx.core.config import CustomObjectScope as custom_object_scope
from carnyx.core.config import deserialize as deserialize_keras_object
from carnyx.core.config import serialize as serialize_keras_object
from carnyx.save import load_model, load_weights, save_model, save_weights

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
