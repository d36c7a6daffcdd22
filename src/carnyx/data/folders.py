"""Data sets from folders of files: pictures, texts, sounds; a folder for each class.

Each function returns a `Dataset` (`dataset.py`) that reads the files anew in every pass, by several
threads, and has `class_names` and `file_paths`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from carnyx.core import errors
from carnyx.data import images
from carnyx.data.checks import check_count
from carnyx.data.dataset import Dataset, stack

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
WORKERS = min(8, os.cpu_count() or 1)

# The arguments that the three functions share; spliced into their docstrings.
ARGUMENTS = """directory: holds a folder for each class, however deep the files are in it.
        labels: "inferred" from the folders, None, or a list with the label of each file in the
            sorted order of paths (folders then mean nothing).
        label_mode: "int" (int32 [B]), "categorical" (one-hot float32 [B, C]), "binary" (float32
            [B, 1]), or None for no labels (files may then lie in the directory itself).
        class_names: folders to read, in the order of their labels; None takes all, sorted.
        batch_size: None gives single samples.
        shuffle: a new order each pass; otherwise the sorted order.
        seed: of the orders and of the split.
        validation_split: fraction in (0, 1) of the files that is kept for validation.
        subset: "training", "validation" or "both" (two Datasets), with validation_split.
        follow_links: whether to follow symbolic links to folders.
        verbose: whether to print how many files there are."""


def _documented(function: Any) -> Any:
    function.__doc__ = function.__doc__.replace("SHARED", ARGUMENTS)
    return function


@_documented
def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """A Dataset of pictures float32 [B, H, W, C], values in [0, 255], and labels.

    Args:
        SHARED
        color_mode: "grayscale", "rgb" or "rgba": 1, 3 or 4 channels.
        image_size: (H, W) that every picture is resized to.
        interpolation: "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5",
            "gaussian" or "mitchellcubic", without antialiasing.
        crop_to_aspect_ratio, pad_to_aspect_ratio: keep the proportions: cut out the middle, or
            add a black border.
        data_format: "channels_last" or "channels_first".
        format: kept for Keras's signature: "tf" and "grain" give the same Dataset.
    """
    images._chosen("color_mode", color_mode, images.COLOR_MODES)
    images._chosen("interpolation", interpolation, images.INTERPOLATIONS)
    size, first = images._size("image_size", image_size), images._layout(data_format)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other.")

    def read(path: str) -> np.ndarray:
        picture = images.img_to_array(images.load_img(path, color_mode), "channels_last", "float32")
        if crop_to_aspect_ratio:
            picture = images.smart_resize(picture, size, interpolation)
        elif pad_to_aspect_ratio:
            picture = images.pad_resize(picture, size, interpolation)
        else:
            picture = images.resize(picture, size, interpolation)
        return picture.transpose(2, 0, 1) if first == "channels_first" else picture

    return _datasets(
        read, PICTURES, directory, labels, label_mode, class_names, batch_size, shuffle, seed,
        validation_split, subset, follow_links, verbose,
    )  # fmt: skip


@_documented
def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """A Dataset of the texts of .txt files (UTF-8), as arrays of str [B], and labels.

    Models take numbers: put a TextVectorization between, `data.map(lambda x, y: (layer(x), y))`.

    Args:
        SHARED
        max_length: bytes that a text is cut to.
        format: kept for Keras's signature: "tf" and "grain" give the same Dataset.
    """
    check_count("max_length", max_length, "text_dataset_from_directory()")

    def read(path: str) -> str:
        text = Path(path).read_bytes()[:max_length]
        return text.decode("utf-8", errors="ignore" if max_length else "strict")

    return _datasets(
        read, (".txt",), directory, labels, label_mode, class_names, batch_size, shuffle, seed,
        validation_split, subset, follow_links, verbose,
    )  # fmt: skip


@_documented
def audio_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Any:
    """A Dataset of the sounds of .wav files, float32 [B, T, channels] in [-1, 1], and labels.

    Args:
        SHARED
        sampling_rate: samples a second that every sound is brought to; None keeps each its own.
        output_sequence_length: T: sounds are cut or filled with zeros; None takes the longest of
            each batch.
        ragged: not possible here, since arrays have one length: leave it False.
    """
    for name, value in (("sampling_rate", sampling_rate), ("length", output_sequence_length)):
        check_count(name, value, "audio_dataset_from_directory()")
    if ragged:
        raise ValueError(
            "audio_dataset_from_directory: there are no ragged arrays here. Leave ragged=False: "
            "sounds are filled with zeros up to the longest of their batch."
        )
    return _datasets(
        lambda path: _sound(path, sampling_rate, output_sequence_length), (".wav",), directory,
        labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset,
        follow_links, verbose, batch=_padded,
    )  # fmt: skip


def _sound(path: str, rate: int | None, length: int | None) -> np.ndarray:
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    own, values = wavfile.read(path)
    x = values.astype("float32")
    if values.dtype.kind == "u":  # 8 bits, zero at 128
        x = (x - 128) / 128
    elif values.dtype.kind == "i":
        x /= -float(np.iinfo(values.dtype).min)
    x = x[:, None] if x.ndim == 1 else x
    if rate is not None and rate != own:
        shared = math.gcd(rate, own)
        x = resample_poly(x, rate // shared, own // shared).astype("float32")
    if length is None:
        return x
    return np.pad(x[:length], ((0, max(0, length - len(x))), (0, 0)))


def _padded(samples: list[Any]) -> Any:
    """Sounds of different lengths as one batch."""
    labelled = isinstance(samples[0], tuple)
    sounds = [s[0] if labelled else s for s in samples]
    longest = max(len(s) for s in sounds)
    x = np.stack([np.pad(s, ((0, longest - len(s)), (0, 0))) for s in sounds])
    return (x, stack([s[1] for s in samples])) if labelled else x


# ---- files, labels, splits


def _datasets(
    read: Callable[[str], Any],
    endings: tuple[str, ...],
    directory: Any,
    labels: Any,
    label_mode: str | None,
    class_names: Any,
    batch_size: int | None,
    shuffle: bool,
    seed: int | None,
    validation_split: float | None,
    subset: str | None,
    follow_links: bool,
    verbose: bool,
    batch: Any = stack,
) -> Any:
    """The Dataset of files with these endings, or the two that `subset` asks for."""
    _check(directory, labels, label_mode, class_names, batch_size)
    _check_split(validation_split, subset, shuffle, seed)
    labels = None if label_mode is None else labels  # folders then mean nothing
    paths, numbers, names = _files(directory, labels, class_names, endings, follow_links)
    if label_mode == "binary" and len(names) != 2:
        raise ValueError(f"label_mode='binary' needs two classes. There are {len(names)}: {names}")
    if verbose:
        kinds = f" belonging to {errors.count(len(names), 'class')}" if labels is not None else ""
        print(f"Found {errors.count(len(paths), 'file')}{kinds}.")
    seed = int(np.random.randint(10**6)) if seed is None else seed  # noqa: NPY002
    if shuffle:
        order = list(range(len(paths)))
        np.random.RandomState(seed).shuffle(order)
        paths, numbers = [paths[i] for i in order], numbers[order]

    def dataset(part: slice) -> Dataset:
        targets = _encoded(numbers[part], labels is not None and label_mode, len(names))
        files = paths[part]

        def sample(index: int) -> Any:
            x = read(files[index])
            return x if targets is None else (x, targets[index])

        found = {"file_paths": files} | ({} if targets is None else {"class_names": names})
        return Dataset.of_samples(
            range(len(files)), batch_size, sample, shuffle, seed, WORKERS, batch=batch, **found
        )

    if subset is None:
        return dataset(slice(None))
    at = len(paths) - int((validation_split or 0) * len(paths))
    if at in (0, len(paths)):
        raise ValueError(
            f"validation_split={validation_split} of {errors.count(len(paths), 'file')} leaves a "
            "part empty."
        )
    parts = {"training": slice(at), "validation": slice(at, None)}
    chosen = list(parts) if subset == "both" else [subset]
    if verbose:
        for name in chosen:
            print(f"Using {errors.count(len(paths[parts[name]]), 'file')} for {name}.")
    found = [dataset(parts[name]) for name in chosen]
    return found if subset == "both" else found[0]


def _check(directory: Any, labels: Any, mode: Any, class_names: Any, batch_size: Any) -> None:
    check_count("batch_size", batch_size, "from_directory()")
    if not os.path.isdir(directory):
        raise ValueError(f"{os.fspath(directory)!r} is no folder.")
    if mode not in ("int", "categorical", "binary", None):
        raise ValueError(
            f"label_mode is 'int', 'categorical', 'binary' or None. Received: {mode!r}"
        )
    if isinstance(labels, str) and labels != "inferred":
        raise ValueError(
            f"labels is 'inferred', None, or a list of whole numbers. Received: {labels!r}"
        )
    if class_names is not None and not isinstance(labels, str):
        raise ValueError(
            "class_names says which folders are classes: it needs labels='inferred'. "
            f"Received: labels of type {type(labels).__name__}"
        )


def _check_split(fraction: Any, subset: Any, shuffle: bool, seed: int | None) -> None:
    if (fraction is None) != (subset is None):
        raise ValueError(
            "validation_split and subset belong together. Received: "
            f"validation_split={fraction!r}, subset={subset!r}"
        )
    if fraction is None:
        return
    if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise ValueError(f"validation_split is a fraction in (0, 1). Received: {fraction!r}")
    images._chosen("subset", subset, ("training", "validation", "both"))
    if shuffle and seed is None and subset != "both":
        raise ValueError(
            "Both parts must be shuffled alike, or files get into both: pass a seed, or "
            "shuffle=False, or subset='both'."
        )


def _files(
    directory: Any, labels: Any, class_names: Any, endings: tuple[str, ...], follow: bool
) -> tuple[list[str], np.ndarray, list[str]]:
    """(paths, labels as whole numbers, names of the classes)."""
    root = os.fspath(directory)
    if not isinstance(labels, str):
        paths = _walk(root, endings, follow)
        numbers = [0] * len(paths) if labels is None else [int(v) for v in labels]
        if len(numbers) != len(paths):
            raise ValueError(
                f"labels has {len(numbers)} entries, and {root} has {len(paths)} files."
            )
        names = [] if labels is None else [str(v) for v in sorted(set(numbers))]
        return _some(paths, root, endings), np.array(numbers, "int32"), names
    folders = sorted(e.name for e in os.scandir(root) if e.is_dir() and e.name[0] != ".")
    names = folders if class_names is None else list(class_names)
    if missing := [name for name in names if name not in folders]:
        raise ValueError(f"class_names has {missing}, and {root} has the folders {folders}.")
    found = [_walk(os.path.join(root, name), endings, follow) for name in names]
    paths = _some([path for folder in found for path in folder], root, endings)
    return paths, np.repeat(np.arange(len(names), dtype="int32"), list(map(len, found))), names


def _walk(folder: str, endings: tuple[str, ...], follow: bool) -> list[str]:
    """Files below a folder, in the sorted order of folders and then of names."""
    return [
        os.path.join(where, name)
        for where, _, names in sorted(os.walk(folder, followlinks=follow))
        for name in sorted(names)
        if name.lower().endswith(endings)
    ]


def _some(paths: list[str], root: str, endings: tuple[str, ...]) -> list[str]:
    if not paths:
        raise ValueError(
            f"{root} has no files that end in {', '.join(endings)}. With labels='inferred' they "
            "are looked for in its folders, one a class."
        )
    return paths


def _encoded(numbers: np.ndarray, mode: Any, classes: int) -> np.ndarray | None:
    if not mode:
        return None
    if mode == "binary":
        return numbers.astype("float32")[:, None]
    if mode == "int":
        return numbers
    if not 0 <= numbers.min() <= numbers.max() < classes:
        raise ValueError(
            f"label_mode='categorical' needs labels in [0, {classes}). Received labels from "
            f"{numbers.min()} to {numbers.max()}."
        )
    return np.eye(classes, dtype="float32")[numbers]
