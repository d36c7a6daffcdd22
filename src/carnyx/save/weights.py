"""Weights in `.weights.h5` files, laid out as Keras lays them out, so that files go both ways.

A layer's own weights are the datasets `<path>/vars/0`, `1`...; the path follows the attributes that
lead to the layer ("layers/dense_1" in a Sequential or Functional model, "encoder/blocks/dense" for
`self.encoder.blocks[0]`), the optimizer's are under "optimizer".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from carnyx.core.config import snake_case
from carnyx.core.layer import Layer

SUFFIX = ".weights.h5"
_SKIPPED = ("_nodes", "_recorded", "_weights", "_losses", "optimizer")


def _places(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(path in the file, layer) of a layer and of all below it, each once."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    for name, value in vars(layer).items():
        if name not in _SKIPPED:
            place = f"{path}/{'layers' if name == '_layers' else name}".lstrip("/")
            yield from _children(value, place, seen)


def _children(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Layer):
        yield from _places(value, path, seen)
    elif isinstance(value, (list, tuple, dict)):
        counts: dict[str, int] = {}
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Layer):
                base = snake_case(type(item).__name__)
                count = counts[base] = counts.get(base, -1) + 1
                yield from _places(
                    item, f"{path}/{base}_{count}" if count else f"{path}/{base}", seen
                )


def _path(filepath: Any, method: str) -> Path:
    path = Path(os.fspath(filepath))
    if not path.name.endswith(SUFFIX):
        raise ValueError(
            f"{method}: the file's name must end with '{SUFFIX}'. Received: {str(path)!r}"
        )
    return path


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Writes the weights (and the optimizer's state) to `filepath`, which ends ".weights.h5".

    The file is written beside its place and renamed, so a crash never leaves half a file.
    """
    import h5py

    path = _path(filepath, "save_weights")
    if path.exists() and not overwrite:
        raise FileExistsError(f"save_weights: {path} exists, and overwrite=False.")
    if not model.built:
        raise ValueError(
            f"save_weights: model '{model.name}' is not built, so it has no weights. "
            "Call it on data or build() it first."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with h5py.File(partial, "w") as file:
        for place, layer in _places(model, "", set()):
            _write(file, place, layer)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and optimizer.built:
            _write(file, "optimizer", optimizer)
    os.replace(partial, path)


def _write(file: Any, place: str, owner: Any) -> None:
    store: dict[str, Any] = {}
    owner.save_own_variables(store)
    group = file.create_group(f"{place}/vars".lstrip("/"))
    group.attrs["name"] = owner.name
    for key, value in store.items():
        group[key] = _storable(np.asarray(value))


def _storable(value: np.ndarray) -> np.ndarray:
    return value.astype("float32") if value.dtype.name == "bfloat16" else value


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False) -> None:
    """Reads weights that `save_weights`, or Keras, wrote for a model of the same structure.

    Raises ValueError naming the layer whose weights the file lacks or has in other shapes; nothing
    is assigned then. `skip_mismatch` leaves such layers as they are instead.
    """
    import h5py

    path = _path(filepath, "load_weights")
    with h5py.File(path, "r") as file:
        found, wrong = [], []
        for place, layer in _places(model, "", set()):
            store = _read(file, place)
            problem = _problem(place, layer, store)
            if problem:
                wrong.append(problem)
            elif store:
                found.append((layer, store))
        if wrong and not skip_mismatch:
            raise ValueError(
                f"load_weights: {path} does not fit model '{model.name}':\n  "
                + "\n  ".join(wrong)
                + "\nNothing was loaded. Pass skip_mismatch=True to load the layers that fit."
            )
        optimizer_store = _read(file, "optimizer")
    for layer, store in found:
        layer.load_own_variables(store)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built and optimizer_store:
        optimizer.load_own_variables(optimizer_store)


def _read(file: Any, place: str) -> dict[str, Any]:
    group = file.get(f"{place}/vars".lstrip("/"))
    return {} if group is None else {key: group[key][()] for key in sorted(group, key=int)}


def _problem(place: str, layer: Any, store: dict[str, Any]) -> str | None:
    """What does not fit between a layer and the file, or None."""
    own = [v.shape for v in layer._own_weights()]
    stored = [tuple(value.shape) for value in store.values()]
    if own == stored:
        return None
    built = "" if layer.built else " (it is not built yet: call the model on data first)"
    return f"layer '{layer.name}'{built} has weights of shapes {own}, '{place}/vars' has {stored}"
