"""Dtype policies by their public names; the classes are in `core/dtypes.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carnyx.core import config as _config
from carnyx.core.dtypes import DTypePolicy, DTypePolicyMap, get_policy

FloatDTypePolicy = DTypePolicy


def get(identifier: Any) -> DTypePolicy:
    """The policy for a name, a dtype, a config or a policy; the global one for None.

    >>> get("mixed_bfloat16").compute_dtype
    'bfloat16'
    """
    return get_policy(identifier)


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Plain data for a policy.

    >>> serialize(DTypePolicy("float32"))["config"]
    {'name': 'float32'}
    """
    return _config.serialize(dtype_policy)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> DTypePolicy:
    """The policy that `serialize` described."""
    return _config.deserialize(config, custom_objects)


__all__ = [
    "DTypePolicy",
    "DTypePolicyMap",
    "FloatDTypePolicy",
    "deserialize",
    "get",
    "serialize",
]
