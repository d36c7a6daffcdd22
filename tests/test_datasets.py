"""Data sets: small files in the original formats from a server of the test, read as Keras does."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import importlib
import io
import json
import pickle
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import carnyx
from carnyx.datasets import sources

RANDOM = np.random.default_rng(0)


def numbers(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return RANDOM.integers(0, 200, shape).astype(dtype)


def texts(count: int) -> np.ndarray:
    found = np.empty(count, object)
    found[:] = [RANDOM.integers(1, 40, n).tolist() for n in RANDOM.integers(1, 12, count)]
    return found


def npz(path: Path, **arrays: Any) -> None:
    np.savez_compressed(path, **arrays)  # pickles arrays of objects, as the originals do


def idx(path: Path, array: np.ndarray) -> None:
    sizes = np.array(array.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(b"\0\0\x08" + bytes([array.ndim]) + sizes + array.tobytes()))


def cifar(path: Path, folder: str, batches: dict[str, dict[bytes, Any]]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, batch in batches.items():
            data = pickle.dumps(batch, protocol=2)  # the originals are Python 2's
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


TEN = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def write_all(folder: Path) -> None:
    """Every file of the table, small."""
    digits = {f"{a}_{p}": numbers(*s) for p, n in (("train", 9), ("test", 4)) for a, s in
              (("x", (n, 28, 28)), ("y", (n,)))}  # fmt: skip
    npz(folder / "mnist.npz", **digits)
    for part, count in (("train", 6), ("t10k", 3)):
        idx(folder / f"{part}-labels-idx1-ubyte.gz", numbers(count))
        idx(folder / f"{part}-images-idx3-ubyte.gz", numbers(count, 28, 28))
    for name, rows, columns in (("boston", 20, 13), ("california", 700, 8)):
        x, y = RANDOM.normal(size=(rows, columns)), RANDOM.normal(size=rows)
        npz(folder / f"{name}_housing.npz", x=np.asfortranarray(x), y=y)
    npz(
        folder / "imdb.npz",
        x_train=texts(12), y_train=numbers(12) % 2, x_test=texts(8), y_test=numbers(8) % 2,
    )  # fmt: skip
    npz(folder / "reuters.npz", x=texts(15), y=numbers(15, dtype="int64") % 46)
    for name in ("imdb", "reuters"):
        (folder / f"{name}_word_index.json").write_text(json.dumps({"the": 1, "café": 2}))

    def batch(labels: list[bytes]) -> dict[bytes, Any]:
        values = {key: numbers(5).tolist() for key in labels}
        return {b"batch_label": b"a batch", b"data": numbers(5, 3072), **values}

    ten = {name: batch([b"labels"]) for name in TEN}
    hundred = {name: batch([b"fine_labels", b"coarse_labels"]) for name in ("train", "test")}
    cifar(folder / "cifar-10-python.tar.gz", "cifar-10-batches-py", ten)
    cifar(folder / "cifar-100-python.tar.gz", "cifar-100-python", hundred)


@pytest.fixture(scope="module")
def served(tmp_path_factory: Any) -> Iterator[dict[str, tuple[str, str | None]]]:
    """The table of files with the small ones' server and hashes."""
    folder = tmp_path_factory.mktemp("served")
    write_all(folder)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        yield {
            name: (url, known and hashlib.sha256((folder / name).read_bytes()).hexdigest())
            for name, (_, known) in sources.FILES.items()
        }
        server.shutdown()


@pytest.fixture(scope="module")
def home(tmp_path_factory: Any) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def small(served: Any, home: Path, monkeypatch: Any) -> Path:
    """The small files take the place of the real ones."""
    monkeypatch.setattr(sources, "FILES", served)
    monkeypatch.setenv("KERAS_HOME", str(home))
    return home


def ours_and_theirs(name: str, home: Path, monkeypatch: Any, **arguments: Any) -> Any:
    """`load_data` of both; Keras reads the files that ours put into the cache."""
    ours = getattr(carnyx.datasets, name).load_data(**arguments)
    module = importlib.import_module(f"keras.src.datasets.{name}")

    def cached(fname: str, cache_subdir: str = "datasets", **_: Any) -> str:
        path = home / cache_subdir / fname
        assert path.exists(), "our cache has another name for it"
        return str(path)

    monkeypatch.setattr(module, "get_file", cached)
    return ours, module.load_data(**arguments)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("mnist", {}),
    ("fashion_mnist", {}),
    ("boston_housing", {}),
    ("boston_housing", {"test_split": 0.5, "seed": 7}),
    ("california_housing", {}),
    ("california_housing", {"version": "small"}),
    ("cifar100", {}),
    ("cifar100", {"label_mode": "coarse"}),
    ("imdb", {}),
    ("imdb", {"num_words": 20, "skip_top": 3, "maxlen": 10}),
    ("imdb", {"start_char": None, "oov_char": None, "num_words": 15, "seed": 2}),
    ("imdb", {"start_char": None, "index_from": None}),
    ("reuters", {}),
    ("reuters", {"num_words": 20, "maxlen": 9, "test_split": 0.4}),
]


@pytest.mark.filterwarnings("ignore:dtype.. align should be passed:Warning")
@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_data_are_those_of_keras(
    name: str, arguments: dict[str, Any], small: Path, monkeypatch: Any
) -> None:
    ours, theirs = ours_and_theirs(name, small, monkeypatch, **arguments)
    for mine, their in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert mine.dtype == their.dtype and mine.shape == their.shape
        if mine.dtype == object:
            assert [list(t) for t in mine] == [list(t) for t in their]
        else:
            np.testing.assert_array_equal(mine, their)


def test_cifar10_is_its_six_files(small: Path) -> None:
    """Not against Keras, which counts on 10,000 rows a file."""
    (x, y), (x_test, y_test) = carnyx.datasets.cifar10.load_data()
    folder = small / "datasets" / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    batches = [pickle.loads((folder / name).read_bytes(), encoding="bytes") for name in TEN]
    pictures = np.concatenate([b[b"data"].reshape(-1, 3, 32, 32) for b in batches])
    np.testing.assert_array_equal(np.concatenate([x, x_test]), pictures.transpose(0, 2, 3, 1))
    labels = np.concatenate([b[b"labels"] for b in batches])[:, None]
    np.testing.assert_array_equal(np.concatenate([y, y_test]), labels)
    assert len(x) == 25 and y.dtype == y_test.dtype == "uint8"


def test_layouts_and_words(small: Path) -> None:
    carnyx.config.set_image_data_format("channels_first")
    try:
        assert carnyx.datasets.cifar100.load_data()[0][0].shape == (5, 3, 32, 32)
    finally:
        carnyx.config.set_image_data_format("channels_last")
    assert carnyx.datasets.imdb.get_word_index()["café"] == 2
    assert carnyx.datasets.reuters.get_word_index() == {"the": 1, "café": 2}
    import keras

    assert carnyx.datasets.reuters.get_label_names() == tuple(
        keras.datasets.reuters.get_label_names()
    )


def test_real_origins_and_hashes_are_those_of_keras() -> None:
    import inspect

    found = ""
    for name in ("mnist", "fashion_mnist", "cifar10", "cifar100", "imdb", "reuters",
                 "boston_housing", "california_housing"):  # fmt: skip
        found += inspect.getsource(importlib.import_module(f"keras.src.datasets.{name}"))
    for name, (origin, known) in sources.FILES.items():
        assert name in found and origin in found and (known is None or known in found)


def test_without_a_network_it_says_what_to_do(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    name, (_, known) = "mnist.npz", sources.FILES["mnist.npz"]
    monkeypatch.setitem(sources.FILES, name, ("http://127.0.0.1:9/", known))
    path = tmp_path / "datasets" / name
    with pytest.raises(OSError, match=f"put the file at {path} yourself.*carnyx.datasets.digits"):
        carnyx.datasets.mnist.load_data()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.cifar100.load_data("both"), "label_mode is 'fine' or 'coarse'"),
        (lambda d: d.california_housing.load_data("huge"), "version is 'large' or 'small'"),
        (lambda d: d.boston_housing.load_data(test_split=2), "test_split is a fraction"),
        (lambda d: d.imdb.load_data(maxlen=1), "no text has fewer than maxlen=1"),
        (lambda d: d.small.load_data("irises"), "Did you mean 'iris'.*569 tumours"),
        (lambda d: d.mnits, "Did you mean 'mnist'"),
        (lambda d: d.imdb.load_data(words=3), "unknown arguments .'words'"),
    ],
)
def test_refusals(call: Any, message: str, small: Path) -> None:
    with pytest.raises((ValueError, AttributeError, TypeError), match=message):
        call(carnyx.datasets)


def test_data_that_need_no_network() -> None:
    (x, y), (x_test, y_test) = carnyx.datasets.digits.load_data()
    assert x.shape == (4000, 28, 28) and x.max() == 255
    assert np.bincount(np.concatenate([y, y_test])).tolist() == [500] * 10
    for name in carnyx.datasets.small.TABLES:
        (x, y), (x_test, y_test) = carnyx.datasets.small.load_data(name, test_split=0.25)
        assert len(x) == int(0.75 * (len(x) + len(x_test))) and x.dtype == "float32"
        assert len(x) == len(y) and np.isfinite(x).all()


# ---- pickles that want to run something


class Evil:
    """Pickled as a call: `reduce` says of what."""

    def __init__(self, reduce: Any) -> None:
        self.reduce = reduce

    def __reduce__(self) -> Any:
        return self.reduce


EVIL = {
    "system": Evil((__import__("os").system, ("echo caught > caught",))),
    "eval": Evil((eval, ("1 + 1",))),
    "open": Evil((open, ("caught", "w"))),
    "getattr": Evil((getattr, ("text", "upper"))),
    "load": Evil((np.load, ("caught",))),
    "matrix": Evil((np.matrix, ("1",))),
    "codec": Evil((__import__("_codecs").encode, ("x", "rot13"))),
    "path": Evil((Path, ("caught",))),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", list(EVIL))
def test_pickles_run_nothing(kind: str, protocol: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (EVIL[kind], [EVIL[kind]], {b"data": EVIL[kind]}):
        data = pickle.dumps(value, protocol=protocol)
        with pytest.raises(pickle.UnpicklingError, match="The file (asks for|has bytes)"):
            sources.read_pickle(io.BytesIO(data))
    holder = np.empty(1, object)
    holder[0] = EVIL[kind]
    np.savez(tmp_path / "evil.npz", x=holder)
    with pytest.raises(pickle.UnpicklingError):
        sources.read_npz(tmp_path / "evil.npz")
    assert not (tmp_path / "caught").exists()


def test_arrays_of_other_kinds_are_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="of the kind"):
        sources._empty_array(np.matrix, (0,), b"b")
    with pytest.raises(pickle.UnpicklingError, match="outside itself"):
        sources.read_pickle(io.BytesIO(b"Pwhere\n."))
    with pytest.raises(pickle.UnpicklingError, match="a number that is an object"):
        sources._scalar(np.dtype(object), b"")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])  # NumPy's files have none above
def test_honest_pickles_are_read_whole(protocol: int) -> None:
    value = {"a": np.arange(6.0).reshape(2, 3), "b": [1, "text", b"bytes", None, (True, 2.5)],
             "c": np.float32(1.5), "d": np.array(["u", "v"])}  # fmt: skip
    found = sources.read_pickle(io.BytesIO(pickle.dumps(value, protocol)), encoding="latin1")
    assert found["b"] == value["b"] and found["c"] == 1.5
    np.testing.assert_array_equal(found["a"], value["a"])
    np.testing.assert_array_equal(found["d"], value["d"])
