"""Backups: a tree of plain data and arrays in one file, which is either whole or refused.

The file is an `.npz` of two entries: `header`, the tree as JSON, and `data`, the arrays' bytes one
after the other. A file is written beside its place, forced to the disk and renamed, so that
whatever happens, the name stands for the old file or for the new one. Zip's checksums tell a
broken file; nothing in it is executed.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

FORMAT = "carnyx backup 1"
ARRAY = "__array__"
REST = 9  # times what writing took
LONGEST_REST = 1.0  # seconds: what they hold is lost when the process is killed
_BROKEN = (
    OSError,
    ValueError,  # of JSON and of NumPy's headers too
    LookupError,
    TypeError,
    EOFError,
    SyntaxError,
    NotImplementedError,  # of zipfile: a compression that it does not know
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    MemoryError,
)


class BrokenBackupError(ValueError):
    """A file is no backup, or not whole."""


def write(path: Path, tree: Any, previous: Path | None = None) -> None:
    """Writes a tree of dicts with string keys, lists, arrays, numbers, strings and None.

    The file that had the name is kept as `previous`, if that is given. Where this raises (OSError:
    the disk is full), the old file is as it was.
    """
    partial = partial_of(path)
    try:
        with open(partial, "wb") as file:
            _write_archive(file, tree)
            file.flush()
            os.fsync(file.fileno())
    except Exception:
        partial.unlink(missing_ok=True)  # a full disk wants its room back
        raise
    if previous is not None and path.exists():
        os.replace(path, previous)
    os.replace(partial, path)
    sync_folder(path.parent)


def partial_of(path: Path) -> Path:
    """What a file is called while it is written."""
    return path.with_name(path.name + ".partial")


def _write_archive(file: IO[bytes], tree: Any) -> None:
    arrays: list[np.ndarray] = []
    header = json.dumps({"format": FORMAT, "tree": _packed(tree, arrays)}).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, parts in (("header", [np.frombuffer(header, np.uint8)]), ("data", arrays)):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                size = sum(part.nbytes for part in parts)
                form = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
                np.lib.format.write_array_header_1_0(entry, form)
                for part in parts:
                    entry.write(part.reshape(-1).view(np.uint8).data)


def sync_folder(folder: Path) -> None:
    """Forces to the disk what was renamed or removed in a folder, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def read(path: Path) -> Any:
    """The tree of a file; raises BrokenBackupError for one that is not whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(f"{name}.npy") for name in ("header", "data")}
        header = json.loads(_numbers(parts["header"]).tobytes())
        if header["format"] != FORMAT:
            raise BrokenBackupError(f"its format is {header['format']!r}, expected {FORMAT!r}")
        return _unpacked(header["tree"], io.BytesIO(_numbers(parts["data"]).data))
    except _BROKEN as error:
        raise BrokenBackupError(f"{path} is no whole backup: {error}") from error


def _numbers(entry: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(entry), allow_pickle=False)


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """The tree for JSON; its arrays go to the list."""
    if isinstance(value, dict):
        return {str(key): _packed(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packed(item, arrays) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biufcV" or array.dtype.names:
        raise TypeError(f"A backup keeps numbers, text and arrays. Received: {value!r:.80}")
    arrays.append(np.ascontiguousarray(array))
    return {ARRAY: [array.dtype.name, list(array.shape)]}


def _unpacked(value: Any, data: io.BytesIO) -> Any:
    """The tree with its arrays, which lie in `data` in the order of the tree."""
    if isinstance(value, list):
        return [_unpacked(item, data) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) != [ARRAY]:
        return {key: _unpacked(item, data) for key, item in value.items()}
    name, shape = value[ARRAY]
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    return np.frombuffer(data.read(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)


class BackgroundWriter:
    """Writes in a thread: of what is given while it writes or rests, the newest.

    After writing it rests, so that it takes at most a tenth of the time, but never for longer than
    a second: items that come every few milliseconds are not all written.

    >>> done = []
    >>> writer = BackgroundWriter(done.append)
    >>> writer.put(1)
    >>> writer.flush()
    >>> done
    [1]
    """

    def __init__(self, write: Callable[[Any], None]) -> None:
        self._write = write
        self._next: list[Any] = []
        self._error: BaseException | None = None
        self._hurried = False  # somebody waits for all to be written
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, item: Any) -> None:
        """Has an item written; raises what went wrong with one before."""
        with self._changed:
            self._raise()
            self._next = [item]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="carnyx-backup", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Waits until all is written."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._thread is None)
            self._hurried = False
            self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._next or self._error is not None:
                    self._thread = None
                    self._changed.notify_all()
                    return
                item = self._next.pop()
            began = time.perf_counter()
            try:
                self._write(item)
            except BaseException as error:  # it belongs to the training's thread
                self._error = error
            del item  # the arrays in it
            rest = min(REST * (time.perf_counter() - began), LONGEST_REST)
            with self._changed:
                self._changed.wait_for(lambda: self._hurried, rest)
