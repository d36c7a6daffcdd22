"""What a model was compiled with, as data and back, in Keras's schema."""

from __future__ import annotations

import warnings
from typing import Any

from carnyx.core.config import CustomObjectScope, deserialize, public, serialize

PARTS = ("loss", "loss_weights", "metrics", "weighted_metrics")


def compile_config(model: Any) -> dict[str, Any] | None:
    """The arguments of `compile` as plain data, or None for a model that was not compiled.

    The engine is not among them: it is the reader's choice, as in Keras the backend is."""
    if not model.compiled:
        return None
    steps = model._steps_per_execution
    return {
        "optimizer": serialize(model.optimizer),
        **dict(zip(PARTS, map(serialize, model._objective.given), strict=True)),
        "run_eagerly": model.run_eagerly,
        "steps_per_execution": 1 if steps == "auto" else steps,
        "jit_compile": "auto",
    }


def compile_from_config(model: Any, config: dict[str, Any]) -> None:
    """Compiles a model with what `compile_config`, or Keras, gave, and builds the optimizer.

    Keras's default of one step a call is taken for our "auto", which gives the same results."""
    if type(model).compile is not public("models").Model.compile:
        warnings.warn(
            f"{type(model).__name__} has a compile() of its own, so '{model.name}' was not "
            "compiled. Define compile_from_config(config) and get_compile_config() in it.",
            stacklevel=3,
        )
        return
    with CustomObjectScope(config.get("custom_objects") or {}):
        given = {name: _revived(config.get(name)) for name in ("optimizer", *PARTS)}
    steps = config.get("steps_per_execution", 1)
    model.compile(
        **given,
        run_eagerly=bool(config.get("run_eagerly")),
        steps_per_execution="auto" if steps in (None, 1) else steps,
    )
    if model.optimizer is not None and model.built:
        model.optimizer.build(model.trainable_variables)


def _revived(value: Any) -> Any:
    """Losses, metrics and the optimizer, in lists and dicts by output as they were given."""
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _revived(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_revived(item) for item in value]
    return deserialize(value)


__all__ = ["compile_config", "compile_from_config"]
