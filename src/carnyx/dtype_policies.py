"""Dtype policies by their public name; the class is in `core/dtypes.py`."""

from carnyx.core.dtypes import DTypePolicy, get_policy

get = get_policy

__all__ = ["DTypePolicy", "get"]
