"""Where the data sets come from, their hashes, and reading their files without running code.

Some of the original files are pickles, which can run anything when they are opened the usual way.
Here they are read by an unpickler that knows NumPy arrays, bytes, numbers, texts and containers.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from carnyx.data.files import get_file

STORE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
TORONTO = "https://www.cs.toronto.edu/~kriz/"

# Name of the file at its origin -> (origin, hash)
FILES: dict[str, tuple[str, str | None]] = {
    "mnist.npz": (STORE, "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"),
    "imdb.npz": (STORE, "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"),
    "imdb_word_index.json": (STORE, "bfafd718b763782e994055a2d397834f"),
    "reuters.npz": (STORE, "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"),
    "reuters_word_index.json": (STORE, "4d44cc38712099c9e383dc6e5f11a921"),
    "boston_housing.npz": (
        STORE,
        "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
    ),
    "california_housing.npz": (
        STORE,
        "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
    ),
    "train-labels-idx1-ubyte.gz": (STORE, None),
    "train-images-idx3-ubyte.gz": (STORE, None),
    "t10k-labels-idx1-ubyte.gz": (STORE, None),
    "t10k-images-idx3-ubyte.gz": (STORE, None),
    "cifar-10-python.tar.gz": (
        TORONTO,
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "cifar-100-python.tar.gz": (
        TORONTO,
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
}


def fetch(name: str, path: str | None = None, **arguments: Any) -> Path:
    """The path of a data set's file in the cache, downloaded when it is missing."""
    origin, known = FILES[name]
    return Path(get_file(path or name, origin + name, file_hash=known, **arguments))


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of arrays and containers; whatever else a pickle asks for is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return _empty_array
            if name == "scalar":
                return _scalar
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return _latin_bytes
        raise pickle.UnpicklingError(
            f"The file asks for {module}.{name}, and only arrays, numbers, texts and containers "
            "are read. It is not the data set that it should be: delete it, and do not trust it."
        )

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("The file refers to something outside itself.")


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"The file asks for an array of the kind {kind!r}.")
    return np.ndarray.__new__(np.ndarray, shape, code)


def _scalar(dtype: np.dtype, data: Any = b"") -> Any:
    if dtype.hasobject:
        raise pickle.UnpicklingError("The file has a number that is an object.")
    data = data if isinstance(data, bytes) else str(data).encode("latin1")
    return np.frombuffer(data, dtype, 1)[0]


def _latin_bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"The file has bytes of the encoding {encoding!r}.")
    return text.encode("latin1")


def read_pickle(file: IO[bytes], encoding: str = "bytes") -> Any:
    """What a pickle of arrays and containers holds; raises UnpicklingError for any other."""
    return _ArraysOnly(file, encoding=encoding).load()


def read_npz(path: Any) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; those of objects by `read_pickle`."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                found[member.removesuffix(".npy")] = _read_npy(file)
    return found


def _read_npy(file: IO[bytes]) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in header:
        raise ValueError(f"An .npy file of version {version} is not known here.")
    shape, by_columns, dtype = header[version](file)
    if dtype.hasobject:
        found = read_pickle(file, "latin1")
        if not isinstance(found, np.ndarray):
            raise pickle.UnpicklingError(f"Expected an array, and the file has {type(found)}.")
        return found.reshape(shape)
    count = int(np.prod(shape, dtype=np.int64))
    data = file.read(count * dtype.itemsize)
    flat = np.frombuffer(data, dtype, count).copy()
    return flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)


def read_json(path: Any) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


Halves = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def shuffled(
    rows: tuple[np.ndarray, np.ndarray], random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of (x, y) in one new order."""
    order = np.arange(len(rows[0]))
    random.shuffle(order)
    return rows[0][order], rows[1][order]


def halves(x: np.ndarray, y: np.ndarray, test_split: float, seed: int | None) -> Halves:
    """Shuffled rows, the last fraction of them for testing."""
    if not 0 <= test_split < 1:
        raise ValueError(f"load_data: test_split is a fraction in [0, 1). Received: {test_split!r}")
    x, y = shuffled((x, y), np.random.RandomState(seed))
    at = int(len(x) * (1 - test_split))
    return (x[:at], y[:at]), (x[at:], y[at:])
