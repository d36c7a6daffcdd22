"""Whole models in files: `.keras` archives, which Keras writes and reads too, and such folders.

An archive holds `metadata.json`, `config.json` (what the model is made of and what it was compiled
with), `model.weights.h5` (weights and the optimizer's state, see `weights.py`), and below `assets/`
what layers write themselves, such as vocabularies. Keras's older `.h5` files are not read.

A file is read as data from a stranger: its config builds our own classes and what the user
registered or passed (`core/config.py`), its entries are looked up by the names above and never by
names of the file's choosing, and none may unpack to more than `EXPANSION` times its stored size.
"""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from carnyx.core.config import build_config, deserialize, public, serialize_object, sharing
from carnyx.core.errors import nearest
from carnyx.save import orbax
from carnyx.save.weights import path_of, places, read_weights, write_weights, written_beside

METADATA, CONFIG, WEIGHTS, ASSETS = "metadata.json", "config.json", "model.weights.h5", "assets"
KERAS_VERSION = "3.15.0"  # whose schema this is
ENDINGS = (".keras", ".h5", ".hdf5")
EXPANSION, SLACK = 200, 1 << 20  # an entry unpacks to at most 200 times its stored size + 1 MiB
LONGEST_CONFIG = 1 << 28  # bytes


# ---- writing


def config_of(model: Any) -> dict[str, Any]:
    """All of a model but its numbers, as Keras's schema has it."""
    with sharing():
        config = serialize_object(model)
        config["build_config"] = build_config(model)
        if hasattr(model, "get_compile_config"):
            config["compile_config"] = model.get_compile_config() or {}
    return config


def save_model(
    model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
) -> None:
    """Writes a model to a `.keras` archive that Keras reads too, whole or not at all.

    Args:
        filepath: ends in ".keras"; or an open binary file; or, for zipped=False, a folder's name.
        overwrite: False refuses to replace what is there.
        zipped: None is True.

    Raises ValueError for other endings, FileExistsError.
    """
    kwargs.pop("include_optimizer", None)
    if kwargs:
        raise TypeError(f"save_model has no argument {next(iter(kwargs))!r}.")
    if hasattr(filepath, "write"):
        with tempfile.TemporaryDirectory() as folder:
            _stage(model, Path(folder))
            _pack(Path(folder), filepath)
        return
    path = path_of(filepath)
    zipped = True if zipped is None else zipped
    _check_ending(path, zipped)
    if path.exists() and not overwrite:
        raise FileExistsError(f"save_model: {path} exists, and overwrite=False.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as folder:
        staged = Path(folder) / "model"
        staged.mkdir()
        _stage(model, staged)
        if not zipped:
            if path.exists():
                path.rename(Path(folder) / "old")
            staged.rename(path)
            return
        with written_beside(path) as partial, partial.open("wb") as file:
            _pack(staged, file)


def _check_ending(path: Path, zipped: bool) -> None:
    if zipped and path.suffix != ".keras":
        old = " Keras's older HDF5 files are not written." if path.suffix in ENDINGS else ""
        raise ValueError(f"save_model: the file ends in '.keras'.{old} Received: {str(path)!r}")
    if not zipped and path.suffix in ENDINGS:
        raise ValueError(
            f"save_model: with zipped=False the model is a folder, whose name does not end in "
            f"'{path.suffix}'. Received: {str(path)!r}"
        )


def _stage(model: Any, folder: Path) -> None:
    """Writes the parts of an archive into an empty folder."""
    if not model.built and hasattr(model, "compile"):
        warnings.warn(
            f"Model '{model.name}' is not built: the file holds what it is made of and no weights. "
            "Call it on data, or build() it, before it is saved.",
            stacklevel=4,
        )
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    metadata = {"keras_version": KERAS_VERSION, "date_saved": now}
    (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    (folder / CONFIG).write_text(json.dumps(config_of(model)), encoding="utf-8")
    write_weights(model, folder / WEIGHTS)
    for place, layer in places(model, "", set()):
        if hasattr(layer, "save_assets"):
            kept_inside = isinstance(layer, public("layers").TextVectorization)  # in Keras, twice
            for own in [place, f"{place}/_lookup_layer"] if kept_inside else [place]:
                (folder / ASSETS / own).mkdir(parents=True, exist_ok=True)
                layer.save_assets(str(folder / ASSETS / own))
    for own in sorted((folder / ASSETS).rglob("*"), reverse=True):
        if own.is_dir() and not any(own.iterdir()):
            own.rmdir()


def _pack(folder: Path, file: Any) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name in (METADATA, CONFIG, WEIGHTS):
            archive.write(folder / name, name)
        for asset in sorted((folder / ASSETS).rglob("*")):
            if asset.is_file():
                archive.write(asset, asset.relative_to(folder).as_posix())


# ---- reading


def load_model(
    filepath: Any, custom_objects: Any = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """The model that `save_model`, or Keras, wrote: its weights, and (`compile`) its training.

    Args:
        filepath: of a `.keras` archive, a folder of its parts or an Orbax checkpoint; or an open
            binary file with an archive.
        custom_objects: name -> class or function, for what is neither ours nor registered.
        compile: whether to compile it as it was, with the optimizer's state.
        safe_mode: kept for Keras's signature: code in files is never run, whatever this says.

    Raises ValueError for files that are no models, that name unknown classes or hold code.
    """
    if not hasattr(filepath, "read"):
        path = path_of(filepath)
        if not path.exists():
            hint = nearest(path.name, [p.name for p in path.parent.glob("*")])
            raise FileNotFoundError(f"load_model: there is no {path}.{hint}")
        if path.suffix in (".h5", ".hdf5"):
            raise ValueError(
                f"load_model: {path} is one of Keras's older HDF5 files, which are not read. Load "
                "it in Keras, and save it from there to '.keras'."
            )
        checkpoint = orbax.find(path)
        if checkpoint is not None:
            config = parsed(orbax.config(checkpoint), path)
            model = model_from_config(config, custom_objects, compile)
            orbax.load_weights(model, checkpoint)
            return model
        if path.is_dir():
            return _load(Parts(path, None), path, custom_objects, compile)
    with opened(filepath) as parts:
        return _load(parts, filepath, custom_objects, compile)


def _load(parts: Parts, where: Any, custom_objects: Any, compile: bool) -> Any:
    config = parts.read(CONFIG, LONGEST_CONFIG + 1)
    if config is None or len(config) > LONGEST_CONFIG:
        raise ValueError(f"load_model: {where} has no '{CONFIG}', or too long a one.")
    with tempfile.TemporaryDirectory() as folder:
        model = model_from_config(parsed(config, where), custom_objects, compile)
        _load_assets(model, parts, Path(folder))
        weights = Path(folder) / WEIGHTS
        if not parts.copy(WEIGHTS, weights):
            raise ValueError(f"load_model: {where} has no '{WEIGHTS}'.")
        read_weights(model, weights)
    return model


def parsed(text: Any, where: Any) -> dict[str, Any]:
    """The dictionary that JSON text holds."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: its config is no JSON: {error}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError(f"{where}: its config is of no model: {str(config)[:80]}")
    return config


def model_from_config(config: dict[str, Any], custom_objects: Any, compile: bool) -> Any:
    """A model with new weights, compiled if the config says with what."""
    try:
        model = deserialize(config, custom_objects)
    except RecursionError as error:
        raise ValueError("A config nested as deep as this one is of no model.") from error
    if not hasattr(model, "weights"):
        raise ValueError(f"The config is of no model, but of a {config['class_name']}.")
    if compile and config.get("compile_config") and hasattr(model, "compile_from_config"):
        model.compile_from_config({**config["compile_config"], "custom_objects": custom_objects})
    return model


def _load_assets(model: Any, parts: Parts, folder: Path) -> None:
    for place, layer in places(model, "", set()):
        if hasattr(layer, "load_assets"):
            prefix = f"{ASSETS}/{place}/" if place else f"{ASSETS}/"
            own = folder / "own"
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            names = [n for n in parts.below(prefix) if _plain(n)]
            for name in names:
                parts.copy(prefix + name, own / name)
            if names:
                layer.load_assets(str(own))


def _plain(name: str) -> bool:
    """Whether a name is that of a file in a folder, and no way out of it."""
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0")


class Parts(NamedTuple):
    """The parts of a saved model by name: in a folder, or in an archive."""

    folder: Path | None
    archive: Any

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """A part to read from, or None; refuses entries that unpack to far more than they hold."""
        if self.folder is not None:
            path = self.folder / name
            with path.open("rb") if path.is_file() else nullcontext() as file:
                yield file
            return
        if name not in self.archive.namelist():
            yield None
            return
        info = self.archive.getinfo(name)
        if info.file_size > EXPANSION * info.compress_size + SLACK:
            raise ValueError(
                f"'{name}' would unpack from {info.compress_size} to {info.file_size} bytes. No "
                "saved model is packed like that; it is not read."
            )
        try:
            with self.archive.open(info) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            raise ValueError(f"'{name}' cannot be unpacked: {error}") from error

    def read(self, name: str, most: int = -1) -> bytes | None:
        """The first bytes of a part (at `most` so many), or None."""
        with self.open(name) as file:
            return None if file is None else file.read(most)

    def copy(self, name: str, path: Path) -> bool:
        """Copies a part to a path; False if there is none."""
        with self.open(name) as file:
            if file is None:
                return False
            with path.open("wb") as target:
                shutil.copyfileobj(file, target)
            return True

    def below(self, prefix: str) -> list[str]:
        """What comes after a prefix in the names that have it."""
        if self.folder is not None:
            return [p.name for p in sorted((self.folder / prefix).glob("*")) if p.is_file()]
        names = self.archive.namelist()
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


@contextmanager
def opened(filepath: Any) -> Iterator[Parts]:
    """An archive's parts."""
    try:
        archive = zipfile.ZipFile(filepath)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{filepath!s} is no '.keras' archive: {error}. It is not whole, or of another format."
        ) from error
    with archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError(f"{filepath!s} has several entries of one name; it is not read.")
        yield Parts(None, archive)


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """The model, with new weights, whose `to_json()` this is."""
    return model_from_config(parsed(json_string, "model_from_json"), custom_objects, True)


def to_json(model: Any, **kwargs: Any) -> str:
    """A model's config as JSON; `kwargs` are those of `json.dumps`."""
    return json.dumps(config_of(model), **kwargs)
