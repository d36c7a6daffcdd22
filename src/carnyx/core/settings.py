"""Global settings that several parts read; `carnyx.config` sets them, with checks.

Those of types (floatx, epsilon, image_data_format, policy) are in `dtypes.py`.
"""

from __future__ import annotations

from typing import Any

settings: dict[str, Any] = {
    "interactive_logging": True,  # a live progress bar on terminals
    "flash_attention": True,  # attention by blocks where that pays
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


def device(device_name: str) -> Any:
    """Inside `with device("cpu:0"):` arrays are made on that device: "cpu", "gpu:1", "tpu:0".

    >>> with device("cpu"):
    ...     pass
    """
    import jax  # which `import carnyx` must not load

    kind, _, index = str(device_name).lower().partition(":")
    try:
        return jax.default_device(jax.devices({"cuda": "gpu"}.get(kind, kind))[int(index or 0)])
    except (RuntimeError, IndexError, ValueError) as error:
        known = [f"{d.platform}:{d.id}" for d in jax.devices()]
        raise ValueError(f"device: {device_name!r} is not here. Devices: {known}") from error
