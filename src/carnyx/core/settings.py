"""Global settings that several parts read; `carnyx.config` sets them, with checks.

Those of types (floatx, epsilon, image_data_format, policy) are in `dtypes.py`.
"""

from __future__ import annotations

from typing import Any

settings: dict[str, Any] = {
    "interactive_logging": True,  # a live progress bar on terminals
    "flash_attention": True,  # attention as one kernel where an engine has it
    "max_epochs": None,
    "max_steps_per_epoch": None,
}
