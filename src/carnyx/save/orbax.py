"""Checkpoints of the package `orbax-checkpoint`, which Keras's OrbaxCheckpoint writes too.

A folder has a folder for each step, with a model's state tree as "pytree" and, unless only weights
were saved, its config as "model_config". The package is imported when it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from carnyx.save.state_tree import set_state_tree

MARKS = ("_CHECKPOINT_METADATA", "orbax.checkpoint", "checkpoint_metadata")


def library() -> Any:
    """The package's first-version API."""
    try:
        from orbax.checkpoint import v1
    except ImportError:
        raise ImportError(
            "OrbaxCheckpoint and its files need the package orbax-checkpoint: "
            "pip install orbax-checkpoint"
        ) from None
    return v1


def find(path: Path) -> Path | None:
    """The folder of a checkpoint: this one, or that of its last step; None for other folders."""
    if not path.is_dir():
        return None
    if any((path / mark).exists() for mark in MARKS):
        return path
    steps = [p for p in path.iterdir() if p.name.isdigit() and find(p)]
    return max(steps, key=lambda p: int(p.name), default=None)


def read(path: Path, name: str) -> Any:
    """A part of a checkpoint: "pytree" or "model_config"; None if it has none."""
    ocp = library()
    part = ocp.checkpointables_metadata(path).metadata.get(name)
    if part is None:
        return None
    wanted = None
    if name == "pytree":
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), part
        )
    return ocp.load_checkpointables(path, {name: wanted})[name]


def load_weights(model: Any, path: Path) -> None:
    """Assigns the values of a checkpoint."""
    set_state_tree(model, read(path, "pytree"))


def config(path: Path) -> Any:
    """The config, as JSON, of the model that a checkpoint is of."""
    found = read(path, "model_config")
    if found is None:
        raise ValueError(
            f"load_model: {path} is a checkpoint of weights alone. Make the model, and "
            "load_weights() them."
        )
    return found["config"]
