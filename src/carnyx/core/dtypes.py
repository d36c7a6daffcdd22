"""Data types: the global settings (`floatx`, `epsilon`, `image_data_format`) and dtype policies.

A policy names two types: the one that weights are kept in and the one that layers compute in.
Casting itself happens in `variable.py` (weights) and `layer.py` (inputs).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import MutableMapping
from typing import Any

import numpy as np

from carnyx.core.config import Configurable

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
ALLOWED = FLOATS + INTEGERS + ("bool", "complex64", "complex128", "string")
PYTHON_TYPES = {bool: "bool", int: "int32", float: "float32", str: "string"}

_settings: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "policy": None,
}


def floatx() -> str:
    """The float type of new weights and of converted Python floats, "float32" at first.

    >>> floatx()
    'float32'
    """
    return _settings["floatx"]


def set_floatx(value: str) -> None:
    """Sets `floatx` to "bfloat16", "float16", "float32" or "float64"."""
    if value not in FLOATS:
        raise ValueError(f"set_floatx: unknown float type {value!r}. Expected one of {FLOATS}.")
    _settings["floatx"] = value


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite, 1e-7 at first."""
    return _settings["epsilon"]


def set_epsilon(value: float) -> None:
    """Sets `epsilon`, a float above 0."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """Where images have their channels: "channels_last" (at first) or "channels_first"."""
    return _settings["image_data_format"]


def set_image_data_format(data_format: str) -> None:
    """Sets `image_data_format`."""
    _settings["image_data_format"] = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None) -> str:
    """`data_format` checked, or the global one for None."""
    if data_format is None:
        return image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "data_format must be 'channels_last' or 'channels_first' (or None for the "
            f"global setting, now {image_data_format()!r}). Received: {data_format!r}"
        )
    return data_format


def standardize_dtype(dtype: Any) -> str:
    """The canonical name of a type given as a name, a Python type or a NumPy or JAX dtype.

    >>> standardize_dtype(np.float32), standardize_dtype("int"), standardize_dtype(None)
    ('float32', 'int32', 'float32')
    """
    if dtype is None:
        return floatx()
    if dtype in PYTHON_TYPES:
        return PYTHON_TYPES[dtype]
    if dtype == "int":
        return "int32"
    if dtype == "float":
        return "float32"
    if getattr(dtype, "kind", "") in ("O", "U", "S"):  # NumPy's arrays of strings
        return "string"
    if not isinstance(dtype, str):
        texts = getattr(dtype, "kind", None) in ("S", "T", "U")  # their names have a length
        dtype = "string" if texts else getattr(dtype, "name", None) or np.dtype(dtype).name
    if dtype not in ALLOWED:
        near = difflib.get_close_matches(dtype, ALLOWED, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Unknown dtype {dtype!r}.{hint} Expected one of: {', '.join(ALLOWED)}.")
    return dtype


def is_float(dtype: Any) -> bool:
    """Whether `dtype` is a floating-point type, bfloat16 included."""
    return standardize_dtype(dtype) in FLOATS


class DTypePolicy(Configurable):
    """Which type weights are stored in (variable) and which layers compute in (compute).

    `name` is a float type ("float32": both are that type) or "mixed_float16" / "mixed_bfloat16":
    weights in float32, arithmetic in the half type (Micikevicius et al. 2018).

    >>> policy = DTypePolicy("mixed_bfloat16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'bfloat16')
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = floatx() if name is None else name
        if not isinstance(self._name, str):
            raise TypeError(f"A dtype policy's name is a string. Received: {name!r}")
        if self._name.startswith("mixed_"):
            half = self._name.removeprefix("mixed_")
            if half not in ("float16", "bfloat16"):
                raise ValueError(
                    f"Unknown dtype policy {name!r}. "
                    "The mixed policies are 'mixed_float16' and 'mixed_bfloat16'."
                )
            self._variable_dtype, self._compute_dtype = "float32", half
        else:
            self._variable_dtype = self._compute_dtype = standardize_dtype(self._name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def variable_dtype(self) -> str:
        return self._variable_dtype

    @property
    def compute_dtype(self) -> str:
        return self._compute_dtype

    def __repr__(self) -> str:
        return f"<DTypePolicy {self._name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)


class DTypePolicyMap(DTypePolicy, MutableMapping):
    """A policy for each layer by its path; patterns are tried where no path is equal.

    Args:
        default_policy: for layers that no key matches; None for the global policy.
        policy_map: path, or regular expression for a whole path -> policy.

    >>> policies = DTypePolicyMap("float32", {"head": "float32", "block_.*": "mixed_bfloat16"})
    >>> policies["block_2/dense"].name, policies["other"].name, len(policies)
    ('mixed_bfloat16', 'float32', 2)
    """

    keras_module = "keras.dtype_policies"

    def __init__(self, default_policy: Any = None, policy_map: Any = None) -> None:
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError(
                "DTypePolicyMap: policy_map is a dict of paths and policies. "
                f"Received: {policy_map!r}"
            )
        if isinstance(default_policy, DTypePolicyMap):
            raise ValueError("DTypePolicyMap: the default policy is one policy, not a map.")
        self.default_policy = get_policy(default_policy)
        super().__init__(self.default_policy.name)
        self._name = f"map_{self.default_policy.name}"
        self.policy_map = {key: get_policy(value) for key, value in (policy_map or {}).items()}

    def __getitem__(self, key: str) -> DTypePolicy:
        if key in self.policy_map:
            return self.policy_map[key]
        found = [pattern for pattern in self.policy_map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(
                f"DTypePolicyMap: the layer path {key!r} is matched by several keys, {found}. "
                "Make one of them more exact."
            )
        return self.policy_map[found[0]] if found else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self.policy_map:
            raise ValueError(
                f"DTypePolicyMap: {key!r} has a policy, {self.policy_map[key]}. Delete it first."
            )
        self.policy_map[key] = get_policy(policy)

    def __delitem__(self, key: str) -> None:
        del self.policy_map[key]

    def __iter__(self) -> Any:
        return iter(self.policy_map)

    def __len__(self) -> int:
        return len(self.policy_map)

    def __repr__(self) -> str:
        return f"<DTypePolicyMap default={self.default_policy.name} {self.policy_map}>"

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def get_policy(identifier: Any = None) -> DTypePolicy:
    """The policy for a name, a dtype, a config, a policy, or (for None) the global policy."""
    if identifier is None:
        return global_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        named_map = identifier.get("class_name") == "DTypePolicyMap"
        cls = DTypePolicyMap if named_map else DTypePolicy
        return cls.from_config(identifier.get("config", identifier))
    if isinstance(identifier, str) and identifier.startswith("mixed_"):
        return DTypePolicy(identifier)
    return DTypePolicy(standardize_dtype(identifier))


def global_policy() -> DTypePolicy:
    """The policy that layers take when they are given no `dtype`."""
    return _settings["policy"] or DTypePolicy(floatx())


def set_global_policy(policy: Any) -> None:
    """Sets the policy of layers made from now on, by name or object; None returns to `floatx`."""
    _settings["policy"] = None if policy is None else get_policy(policy)
