"""Global settings: float type, epsilon, image layout, dtype policy, engine."""

from carnyx.core.dtypes import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from carnyx.core.dtypes import global_policy as dtype_policy
from carnyx.core.dtypes import set_global_policy as set_dtype_policy
from carnyx.engines import engine_name as engine
from carnyx.engines import set_engine


def backend() -> str:
    """The name that Keras programs ask for: the engine's ("xla" unless another was set)."""
    return engine()


__all__ = [
    "backend",
    "dtype_policy",
    "engine",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_dtype_policy",
    "set_engine",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]
