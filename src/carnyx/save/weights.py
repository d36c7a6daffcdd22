"""Weights in `.weights.h5` files, laid out as Keras lays them out, so that files go both ways.

A layer's own weights are the datasets `<path>/vars/0`, `1`...; the path follows the attributes that
lead to the layer ("layers/dense_1" in a Sequential or Functional model, "encoder/blocks/dense" for
`self.encoder.blocks[0]`); the optimizer's are under "optimizer".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from carnyx.core.config import snake_case
from carnyx.core.graph import Network
from carnyx.core.layer import Layer
from carnyx.save import orbax

SUFFIX = ".weights.h5"
_SKIPPED = ("_nodes", "_recorded", "_weights", "_losses", "_layers", "_operations", "optimizer")


def places(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(path in the file, layer) of a layer and of all below it, each once.

    What several attributes lead to is at the first of them by name, private ones coming last; a
    model's `layers` are one of its attributes."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    attributes = {name: value for name, value in vars(layer).items() if name not in _SKIPPED}
    if isinstance(layer, Network):
        attributes["layers"] = layer.layers
    for name in sorted(attributes, key=lambda name: (name.startswith("_"), name)):
        yield from _children(attributes[name], f"{path}/{name}".lstrip("/"), seen)


def _children(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Layer):
        yield from places(value, path, seen)
    elif isinstance(value, (list, tuple, dict)):
        counts: dict[str, int] = {}
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Layer):
                base = snake_case(type(item).__name__)
                count = counts[base] = counts.get(base, -1) + 1
                yield from places(
                    item, f"{path}/{base}_{count}" if count else f"{path}/{base}", seen
                )


def path_of(filepath: Any) -> Path:
    """A path given as text or a path; an address of another machine is refused."""
    text = os.fspath(filepath)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if re.match(r"[A-Za-z0-9+.-]{2,}://", text):
        raise ValueError(
            f"Files are read and written on this machine's disks; received the address {text!r}."
        )
    return Path(text)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when all is written, or is gone.

    What is written is on the disk before it takes the place, so that a crash never leaves half."""
    partial = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield partial
        for place in (partial, path.parent):
            with suppress(PermissionError):  # folders cannot be opened on Windows
                number = os.open(place, os.O_RDONLY)
                try:
                    os.fsync(number)
                finally:
                    os.close(number)
            if place == partial:
                os.replace(partial, path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _path(filepath: Any, method: str) -> Path:
    path = path_of(filepath)
    if not path.name.endswith(SUFFIX):
        raise ValueError(
            f"{method}: the file's name must end with '{SUFFIX}'. Received: {str(path)!r}"
        )
    return path


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Writes the weights (and the optimizer's state) to `filepath`, which ends ".weights.h5".

    The file is written beside its place and renamed, so a crash never leaves half a file.
    """
    path = _path(filepath, "save_weights")
    if path.exists() and not overwrite:
        raise FileExistsError(f"save_weights: {path} exists, and overwrite=False.")
    if not model.built:
        raise ValueError(
            f"save_weights: model '{model.name}' is not built, so it has no weights. "
            "Call it on data or build() it first."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as partial:
        write_weights(model, partial)


def write_weights(model: Any, path: Path) -> None:
    """Writes the layers' weights and the optimizer's state to a file at `path`."""
    import h5py

    with h5py.File(path, "w") as file:
        for place, layer in places(model, "", set()):
            _write(file, place, layer)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None:
            _write(file, "optimizer", optimizer)
        inner = getattr(optimizer, "inner_optimizer", None)
        if inner is not None:  # its variables are the outer one's too, and Keras writes both
            _write(file, "optimizer/inner_optimizer", inner)


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
    is assigned then. `skip_mismatch` leaves such layers as they are instead. A folder is read as
    an Orbax checkpoint.
    """
    checkpoint = orbax.find(path_of(filepath))
    if checkpoint is not None:
        return orbax.load_weights(model, checkpoint)
    read_weights(model, _path(filepath, "load_weights"), skip_mismatch)


def read_weights(model: Any, path: Path, skip_mismatch: bool = False) -> None:
    """`load_weights` from a file of any name."""
    import h5py

    with h5py.File(path, "r") as file:
        found, wrong = [], []
        for place, layer in places(model, "", set()):
            stored = _stored(file, place)
            problem = _problem(place, layer, stored)
            if problem:
                wrong.append(problem)
            elif stored:
                found.append((layer, _values(stored)))
        if wrong and not skip_mismatch:
            raise ValueError(
                f"load_weights: {path} does not fit model '{model.name}':\n  "
                + "\n  ".join(wrong)
                + "\nNothing was loaded. Pass skip_mismatch=True to load the layers that fit."
            )
        state = _optimizer_state(model, _stored(file, "optimizer"))
    for layer, store in found:
        layer.load_own_variables(store)
    if state:
        model.optimizer.load_own_variables(state)


def _optimizer_state(model: Any, stored: dict[str, Any]) -> dict[str, Any]:
    """The optimizer's values in a file, where they are of an optimizer like the model's.

    A file of a model that was never trained has the first few variables only, which an optimizer
    has before it is built: they are all that there is to know."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or not optimizer.built or not stored:
        return {}
    own = [v.shape for v in optimizer.variables]
    shapes = [tuple(value.shape) for value in stored.values()]
    if len(shapes) == len(own) and shapes != own:
        raise ValueError(
            f"load_weights: optimizer '{optimizer.name}' has variables of shapes {own}, "
            f"'optimizer/vars' has {shapes}."
        )
    if len(shapes) < len(own) and not any(shapes):
        return {}
    return _values(stored) if len(shapes) == len(own) else dict.fromkeys(stored)


def _stored(file: Any, place: str) -> dict[str, Any]:
    """The data sets of a place, not read yet; HDF5's ways to other files are not followed."""
    import h5py

    names = f"{place}/vars".lstrip("/").split("/")
    for index in range(len(names)):
        path = "/".join(names[: index + 1])
        if path not in file:
            return {}
        _own(file, path)
    group = file["/".join(names)]
    if not isinstance(group, h5py.Group):
        return {}
    keys = sorted(group, key=lambda key: (not key.isdigit(), int(key) if key.isdigit() else 0, key))
    return {key: _own(group, key) for key in keys}


def _own(group: Any, name: str) -> Any:
    """A member of a group that lies in the file itself."""
    import h5py

    found = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    if found is None or (
        isinstance(found, h5py.Dataset) and (found.external is not None or found.is_virtual)
    ):
        raise ValueError(
            f"{group.file.filename}: '{group.name}/{name}' leads to another place or file. A file "
            "of weights holds them itself; it is not read."
        )
    return found


def _values(stored: dict[str, Any]) -> dict[str, Any]:
    return {key: value[()] for key, value in stored.items()}


def _problem(place: str, layer: Any, store: dict[str, Any]) -> str | None:
    """What does not fit between a layer and the file, or None."""
    own = [v.shape for v in layer._own_weights()]
    stored = [tuple(value.shape) for value in store.values()]
    if own == stored:
        return None
    built = "" if layer.built else " (it is not built yet: call the model on data first)"
    return f"layer '{layer.name}'{built} has weights of shapes {own}, '{place}/vars' has {stored}"
