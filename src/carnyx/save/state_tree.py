"""State trees: all values of a model, as dicts nested by the variables' paths; Orbax keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np

FORMATS = ("backend_tensor", "numpy_array")


def _groups(model: Any) -> dict[str, list[Any]]:
    optimizer = getattr(model, "optimizer", None)
    return {
        "trainable_variables": model.trainable_variables,
        "non_trainable_variables": model.non_trainable_variables,
        "optimizer_variables": [] if optimizer is None else optimizer.variables,
        "metrics_variables": model.metrics_variables,
    }


def state_tree(model: Any, value_format: str = "backend_tensor") -> dict[str, Any]:
    """{group: {name: {name: ... value}}} of the groups above.

    Raises ValueError where two variables have one path, so that a value would be lost.
    """
    if value_format not in FORMATS:
        raise ValueError(f"value_format is one of {FORMATS}. Received: {value_format!r}")
    found: dict[str, Any] = {}
    for group, variables in _groups(model).items():
        tree = found[group] = {}
        for variable in variables:
            *parents, name = variable.path.split("/")
            place = tree
            for parent in parents:
                place = place.setdefault(parent, {})
            if not isinstance(place, dict) or name in place:
                raise ValueError(
                    f"get_state_tree: model '{model.name}' has two variables at "
                    f"'{variable.path}'. Give their layers different names."
                )
            value = variable.value
            place[name] = np.array(value) if value_format == "numpy_array" else value
    return found


def set_state_tree(model: Any, tree: dict[str, Any]) -> None:
    """Assigns the values of a tree, or of a part of one, to the variables of these paths.

    Raises ValueError for a group, or a model's variable, that the model has not; nothing is
    assigned then. Seeds, the optimizer and metrics may differ.
    """
    groups = _groups(model)
    pairs: list[tuple[Any, Any]] = []
    for group, part in tree.items():
        if group not in groups:
            raise ValueError(f"set_state_tree: no group {group!r}. There are: {list(groups)}")
        # an optimizer may be "adam" in one process and "adam_1" in another
        first = 1 if group == "optimizer_variables" and len(part) == 1 else 0
        values = {path.split("/", first)[-1]: value for path, value in _flat(part, "")}
        known = {variable.path.split("/", first)[-1]: variable for variable in groups[group]}
        pairs += [(known[path], value) for path, value in values.items() if path in known]
        missing = [path for path, v in known.items() if v.kind == "weight" and path not in values]
        if missing and "trainable" in group:
            raise ValueError(
                f"set_state_tree: model '{model.name}' has '{missing[0]}', which the tree has "
                f"not. It has: {list(values)}. Nothing was assigned."
            )
    for variable, value in pairs:
        variable.assign(value)


def _flat(tree: Any, prefix: str) -> Any:
    """(path, value) of a nested dict."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value
