"""Global settings: float type, epsilon, image layout, dtype policy, engine, limits and output."""

from __future__ import annotations

import warnings
from typing import Any

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
from carnyx.core.settings import settings
from carnyx.engines import engine_name as engine
from carnyx.engines import set_engine


def backend() -> str:
    """The name that Keras programs ask for: the engine's ("xla" unless another was set)."""
    return engine()


def set_backend(backend: str) -> None:
    """Sets the engine by the name of a Keras backend; "jax" is the engine "xla".

    Raises ValueError for an engine that is not there, with those that are.

    >>> set_backend("jax"), engine()
    (None, 'xla')
    """
    set_engine({"jax": "xla"}.get(backend, backend))


def max_epochs() -> int | None:
    """The greatest number of epochs that `fit` runs, None for no limit."""
    return settings["max_epochs"]


def set_max_epochs(max_epochs: int | None) -> None:
    """Limits the epochs of every `fit`, to try a program out quickly; None ends the limit."""
    _limit("max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """The greatest number of steps of an epoch, `evaluate` and `predict`; None for no limit."""
    return settings["max_steps_per_epoch"]


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Limits the steps of every epoch, `evaluate` and `predict`; None ends the limit."""
    _limit("max_steps_per_epoch", max_steps_per_epoch)


def _limit(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"set_{name}: a whole number from 1, or None. Received: {value!r}")
    settings[name] = value


def enable_interactive_logging() -> None:
    """Progress as a live bar where the output is a terminal."""
    settings["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Progress as plain lines, one an epoch."""
    settings["interactive_logging"] = False


def is_interactive_logging_enabled() -> bool:
    """Whether progress may be a live bar."""
    return settings["interactive_logging"]


def enable_flash_attention() -> None:
    """Lets attention go by blocks where that pays: see `ops.dot_product_attention`."""
    settings["flash_attention"] = True


def disable_flash_attention() -> None:
    """Attention with all its weights at once, unless flash_attention=True asks for blocks."""
    settings["flash_attention"] = False


def is_flash_attention_enabled() -> bool:
    """Whether attention may go by blocks unasked."""
    return settings["flash_attention"]


def enable_traceback_filtering() -> None:
    """Leaves the frames of JAX out of tracebacks."""
    _filter_tracebacks("auto")


def disable_traceback_filtering() -> None:
    """Tracebacks with every frame."""
    _filter_tracebacks("off")


def is_traceback_filtering_enabled() -> bool:
    """Whether JAX's frames are left out of tracebacks."""
    import jax

    return jax.config.jax_traceback_filtering != "off"  # type: ignore[attr-defined]


def _filter_tracebacks(mode: str) -> None:
    import jax

    jax.config.update("jax_traceback_filtering", mode)


def enable_unsafe_deserialization() -> None:
    """Warns, and changes nothing: no file can make Carnyx run code."""
    warnings.warn(
        "enable_unsafe_deserialization() has no effect: Carnyx never runs code that stands in a "
        "file. Register your functions and classes, or pass them as custom_objects.",
        stacklevel=2,
    )


def is_nnx_enabled() -> bool:
    """False: variables are Carnyx's own."""
    return False


__all__ = [
    "backend",
    "disable_flash_attention",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_flash_attention",
    "enable_interactive_logging",
    "enable_traceback_filtering",
    "enable_unsafe_deserialization",
    "engine",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_flash_attention_enabled",
    "is_interactive_logging_enabled",
    "is_nnx_enabled",
    "is_traceback_filtering_enabled",
    "max_epochs",
    "max_steps_per_epoch",
    "set_backend",
    "set_dtype_policy",
    "set_engine",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_max_epochs",
    "set_max_steps_per_epoch",
]
