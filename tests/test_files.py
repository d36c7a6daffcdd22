"""Downloads, archives, pictures and folders of files, against Keras, Pillow and plain Python."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import carnyx
from carnyx.data import images
from carnyx.preprocessing.image import smart_resize
from carnyx.utils import get_file

utils: Any = carnyx.utils


@pytest.fixture(scope="module")
def served(tmp_path_factory: Any) -> Iterator[tuple[Path, str]]:
    """(a folder, the URL under which a server of this test gives its files)."""
    folder = tmp_path_factory.mktemp("served")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))


def tar(path: Path, *members: tuple[str, Any]) -> str:
    """A tar archive of (name, bytes or the changes of a TarInfo)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                for key, value in content.items():
                    setattr(info, key, value)
                archive.addfile(info)
    return path.name


def zipped(path: Path, *members: tuple[Any, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path.name


# ---- get_file


def test_files_are_downloaded_once(served: Any, tmp_path: Path) -> None:
    folder, url = served
    (folder / "plain.bin").write_bytes(b"first")
    path = get_file(origin=url + "plain.bin?version=2")
    assert path == str(tmp_path / "cache" / "datasets" / "plain.bin")
    (folder / "plain.bin").write_bytes(b"second")
    assert Path(get_file(origin=url + "plain.bin")).read_bytes() == b"first"
    assert Path(get_file(origin=url + "plain.bin", force_download=True)).read_bytes() == b"second"
    named = get_file("other.bin", url + "plain.bin", cache_dir=tmp_path, cache_subdir="sub")
    assert named == str(tmp_path / "sub" / "other.bin")
    assert get_file(origin=(folder / "plain.bin").as_uri(), cache_subdir=str(tmp_path / "abs"))
    assert (tmp_path / "abs" / "plain.bin").read_bytes() == b"second"


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_hashes_are_checked(served: Any, tmp_path: Path, algorithm: str) -> None:
    folder, url = served
    (folder / "hashed").write_bytes(b"content")
    right = hashlib.new(algorithm, b"content").hexdigest()
    old = {"md5_hash": right} if algorithm == "md5" else {"file_hash": right}
    path = Path(get_file(origin=url + "hashed", **old))  # type: ignore[arg-type]
    path.write_bytes(b"damaged")  # a damaged file is downloaded again
    assert Path(get_file(origin=url + "hashed", file_hash=right)).read_bytes() == b"content"
    wrong = hashlib.new(algorithm, b"other").hexdigest()
    with pytest.raises(ValueError, match=f"has the hash {right}, and {wrong} was expected"):
        get_file("new", url + "hashed", file_hash=wrong)
    assert [p.name for p in path.parent.iterdir()] == ["hashed"]


def test_archives_are_unpacked_where_keras_unpacks_them(served: Any, tmp_path: Path) -> None:
    import keras

    folder, url = served
    tar(folder / "flowers.tgz", ("flowers", {"type": tarfile.DIRTYPE}), ("flowers/a.txt", b"hi"))
    zipped(folder / "flowers.zip", ("flowers/a.txt", b"hi"))
    for arguments in (
        dict(origin=url + "flowers.tgz", extract=True),
        dict(fname="f.tgz", origin=url + "flowers.tgz", extract=True),
        dict(fname="f", origin=url + "flowers.tgz", untar=True),
        dict(fname="z", origin=url + "flowers.zip", extract=True, archive_format="zip"),
        dict(fname="z.zip", origin=url + "flowers.zip", extract=True),
    ):
        found = {}
        for name, module in (("ours", utils), ("theirs", keras.utils)):
            home = tmp_path / name
            home.mkdir(exist_ok=True)  # Keras takes another folder where there is none yet
            path = Path(module.get_file(cache_dir=home, **arguments))
            assert (path / "flowers" / "a.txt").read_text() == "hi"
            found[name] = (
                path.relative_to(home),
                sorted(str(p.relative_to(home)) for p in home.rglob("*")),
            )
        assert found["ours"] == found["theirs"]


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc"}
BAD_TARS = {
    "up": (("../out.txt", b"x"), "'../out.txt' leads out of the folder"),
    "deep": (("a/../../out.txt", b"x"), "leads out"),
    "root": (("/tmp/out.txt", b"x"), "leads out"),
    "windows": (("..\\out.txt", b"x"), "leads out"),
    "drive": (("C:/out.txt", b"x"), "leads out"),
    "link": (("a", LINK), "'a' is a link or a device"),
    "hard": (("a", {"type": tarfile.LNKTYPE, "linkname": "../b"}), "is a link or a device"),
    "device": (("a", {"type": tarfile.CHRTYPE}), "is a link or a device"),
}


@pytest.mark.parametrize("kind", list(BAD_TARS))
@pytest.mark.parametrize("archive", ["tar", "zip"])
def test_bad_archives_leave_nothing(served: Any, tmp_path: Path, kind: str, archive: str) -> None:
    folder, url = served
    member, message = BAD_TARS[kind]
    good = ("good.txt", b"good")
    if archive == "tar":
        name = tar(folder / f"{kind}.tar.gz", good, member)
    elif kind in ("hard", "device"):
        return  # zip archives have neither
    else:
        info = zipfile.ZipInfo(member[0])
        if kind == "link":
            info.external_attr = 0o120777 << 16
        name = zipped(folder / f"{kind}.zip", good, (info, b"x"))
    with pytest.raises(ValueError, match=message.replace("\\", "\\\\")):
        get_file("target", url + name, extract=True)
    names = [p.name for p in (tmp_path / "cache").rglob("*")]
    assert sorted(names) == ["datasets", "target_archive"]
    assert not (tmp_path / "out.txt").exists() and not Path("/tmp/out.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(), "origin is missing"),
        (dict(origin="ftp://host/a"), "origin is a URL of https, http, file. Received: 'ftp:"),
        (dict(origin="http://host/"), "ends without a file's name. Pass fname"),
        (dict(fname="a/../b", origin="http://host/a"), "fname is a name and no path"),
        (dict(fname="..", origin="http://host/a"), "fname is a name and no path"),
        (dict(origin="URLplain.txt", file_hash="abc"), "'abc' is no md5"),
        (dict(origin="URLplain.txt", extract=True), "is no archive of the formats"),
        (dict(origin="URLplain.txt", extract=True, archive_format="rar"), "archive_format is"),
        (dict(origin="URLnone"), "cannot be downloaded: .*404.*put the file at .*none yourself"),
        (dict(origin="http://127.0.0.1:9/a"), "cannot be downloaded.*Without a network"),
    ],
)
def test_refused_downloads(served: Any, arguments: dict[str, Any], message: str) -> None:
    folder, url = served
    (folder / "plain.txt").write_text("text")
    if "origin" in arguments:
        arguments["origin"] = arguments["origin"].replace("URL", url)
    with pytest.raises((ValueError, OSError), match=message):
        get_file(**arguments)


# ---- pictures

RANDOM = np.random.default_rng(0)


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, channels), dtype="uint8")


@pytest.mark.parametrize("color_mode", ["grayscale", "rgb", "rgba"])
@pytest.mark.parametrize("form", ["png", "jpg", "gif", "bmp"])
def test_pictures_are_read_as_keras_reads_them(tmp_path: Path, color_mode: str, form: str) -> None:
    import keras

    path = tmp_path / f"a.{form}"
    Image.fromarray(picture(9, 14)).save(path)
    for arguments in (
        {},
        {"target_size": (5, 6), "interpolation": "bilinear"},
        {"target_size": (5, 6), "keep_aspect_ratio": True, "interpolation": "lanczos"},
        {"target_size": (20, 6), "keep_aspect_ratio": True},
    ):
        ours = utils.img_to_array(utils.load_img(path, color_mode, **arguments))
        theirs = keras.utils.img_to_array(keras.utils.load_img(path, color_mode, **arguments))
        assert ours.dtype == "float32"
        np.testing.assert_array_equal(ours, theirs)
    with open(path, "rb") as file:
        assert utils.load_img(file).size == (14, 9)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_become_pictures_as_in_keras(tmp_path: Path, channels: int) -> None:
    import keras

    x = RANDOM.normal(size=(7, 5, channels)) * 40
    for values in (x, np.zeros_like(x), np.full_like(x, 3.0)):
        ours, theirs = utils.array_to_img(values), keras.utils.array_to_img(values)
        assert ours.mode == theirs.mode
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    whole = picture(7, 5, channels)
    utils.save_img(tmp_path / "a.png", whole, scale=False)
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
    back = utils.img_to_array(utils.load_img(tmp_path / "a.png", mode), "channels_first", "uint8")
    np.testing.assert_array_equal(back, whole.transpose(2, 0, 1))
    utils.save_img(tmp_path / "b.png", back, data_format="channels_first", scale=False)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_deep_pictures_keep_their_depth(tmp_path: Path) -> None:
    deep = RANDOM.integers(0, 60000, (4, 5, 1))
    assert utils.array_to_img(deep, scale=False).mode == "I"
    Image.fromarray(deep[..., 0].astype("uint16")).save(tmp_path / "deep.png")
    found = utils.img_to_array(utils.load_img(tmp_path / "deep.png", "grayscale"))
    np.testing.assert_array_equal(found, deep)


def test_jpeg_has_no_transparency(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="JPEG has no transparency"):
        utils.save_img(tmp_path / "a.jpg", picture(4, 4, 4))
    buffer = io.BytesIO()
    utils.save_img(buffer, picture(4, 4), file_format="jpg", quality=50)
    assert Image.open(buffer).format == "JPEG"


@pytest.mark.parametrize("size", [(5, 7), (23, 31), (12, 40), (17, 11)])
@pytest.mark.parametrize(
    "interpolation", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]
)
def test_resizing_is_that_of_jax(interpolation: str, size: tuple[int, int]) -> None:
    import jax

    x = picture(17, 11).astype("float32")
    method = {"bicubic": "cubic"}.get(interpolation, interpolation)
    wanted = jax.image.resize(x, (*size, 3), method, antialias=False)
    found = images.resize(x, size, interpolation)
    np.testing.assert_allclose(found, wanted, atol=2e-3)  # of 255: sums in another order


def test_area_and_other_kernels_by_what_they_mean() -> None:
    x = picture(12, 18).astype("float32")
    blocks = x.reshape(4, 3, 6, 3, 3).mean((1, 3))
    np.testing.assert_allclose(images.resize(x, (4, 6), "area"), blocks, rtol=1e-5)
    wide = np.repeat(np.repeat(x, 2, 0), 3, 1)  # 24 x 54 -> 12 x 18 by unequal steps is the same
    np.testing.assert_allclose(images.resize(wide, (12, 18), "area"), x, rtol=1e-5)
    ramp = np.arange(20.0)[:, None, None] * np.ones((1, 5, 1))
    for name in ("mitchellcubic", "gaussian"):  # symmetric, normalised: ramps stay ramps inside
        found = images.resize(ramp, (40, 5), name)[8:-8, 0, 0]
        np.testing.assert_allclose(found[::2] + found[1::2], 2 * np.arange(4, 16), rtol=1e-5)
    centre = images.KERNELS["mitchellcubic"][1](np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(centre, [8 / 9, 1 / 18, 0], atol=1e-12)  # Mitchell's own numbers


@pytest.mark.parametrize("shape", [(10, 20), (20, 10), (12, 12), (7, 33)])
def test_smart_resize_is_that_of_keras(shape: tuple[int, int]) -> None:
    import keras

    x = picture(*shape).astype("float32")
    for size in ((6, 6), (5, 9), (30, 8)):
        wanted = keras.preprocessing.image.smart_resize(x, size)
        np.testing.assert_allclose(smart_resize(x, size), wanted, atol=1e-3)
    first = smart_resize(x[None].transpose(0, 3, 1, 2), (6, 6), data_format="channels_first")
    np.testing.assert_array_equal(first[0].transpose(1, 2, 0), smart_resize(x, (6, 6)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: utils.load_img("none.png", "grey"), "color_mode is one of 'grayscale', 'rgb'"),
        (lambda: utils.load_img("a", interpolation="cubic"), "Did you mean 'bicubic'"),
        (lambda: utils.img_to_array(np.ones(3)), r"rank 2 or 3. Received shape \(3,\)"),
        (lambda: utils.array_to_img(np.ones((3, 3))), r"rank 3, \[H, W, C\]"),
        (lambda: utils.array_to_img(np.ones((3, 3, 2))), "1, 3 or 4 channels"),
        (lambda: utils.img_to_array(np.ones((3, 3)), "first"), "data_format is one of"),
        (lambda: smart_resize(np.ones((3, 3, 1)), (2,)), r"size is \(height, width\)"),
        (lambda: smart_resize(np.ones((3, 3)), (2, 2)), "rank 3 or 4"),
    ],
)
def test_refused_pictures(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---- folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    root = tmp_path_factory.mktemp("animals")
    for name in ("cats", "dogs"):
        (root / name).mkdir()
        for i in range(5):
            Image.fromarray(picture(12 + i % 2, 30)).save(root / name / f"{name}{i}.png")
    (root / "cats" / "sub").mkdir()
    Image.fromarray(picture(20, 30, 1)[..., 0]).save(root / "cats" / "sub" / "z.png")
    (root / "cats" / "notes.txt").write_text("no picture")
    (root / ".hidden").mkdir()
    return root


KERAS_CASES: list[dict[str, Any]] = [
    {},
    {"label_mode": "binary", "color_mode": "grayscale"},
    {"label_mode": "categorical", "interpolation": "nearest"},
    {"label_mode": None, "color_mode": "rgba"},
    {"labels": None, "batch_size": None},
    {"labels": list(range(11)), "crop_to_aspect_ratio": True},
    {"class_names": ["dogs", "cats"], "pad_to_aspect_ratio": True},
    {"validation_split": 0.3, "subset": "training"},
    {"validation_split": 0.3, "subset": "validation", "data_format": "channels_first"},
]


@pytest.mark.parametrize("arguments", KERAS_CASES, ids=str)
def test_folders_of_pictures_are_read_as_keras_reads_them(
    folder: Path, arguments: dict[str, Any], capsys: Any
) -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("grain", reason="Keras reads folders with it; in the `test` extra")
    import jax

    given = {"shuffle": False, "image_size": (8, 9), "batch_size": 4, **arguments}
    ours = utils.image_dataset_from_directory(folder, **given)
    said = capsys.readouterr().out
    theirs = keras.utils.image_dataset_from_directory(folder, **given, format="grain")
    assert said == capsys.readouterr().out
    assert ours.file_paths == list(theirs.file_paths)
    assert getattr(ours, "class_names", None) == getattr(theirs, "class_names", None)
    found, wanted = list(ours), list(theirs)
    assert len(ours) == len(found) == len(wanted)
    for mine, their in zip(found, wanted, strict=True):
        assert jax.tree.structure(mine) == jax.tree.structure(their)
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(their), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("subset", ["training", "validation"])
def test_splits_hold_the_files_of_keras(folder: Path, subset: str) -> None:
    pytest.importorskip("grain", reason="Keras reads folders with it; in the `test` extra")
    import keras

    given: dict[str, Any] = dict(validation_split=0.3, seed=3, verbose=False)
    theirs = keras.utils.image_dataset_from_directory(
        folder, subset=subset, format="grain", **given
    )
    ours = utils.image_dataset_from_directory(folder, subset=subset, **given)
    assert ours.file_paths == list(theirs.file_paths)
    both = utils.image_dataset_from_directory(folder, subset="both", **given)
    assert [d.file_paths for d in both][subset == "validation"] == ours.file_paths
    assert not set(both[0].file_paths) & set(both[1].file_paths)


def test_folders_shuffle_anew_each_pass_with_their_labels(folder: Path) -> None:
    data = utils.image_dataset_from_directory(
        folder, image_size=(12, 30), batch_size=None, seed=1, verbose=False
    )
    plain = utils.image_dataset_from_directory(
        folder, image_size=(12, 30), batch_size=None, shuffle=False, verbose=False
    )
    label = {x.tobytes(): int(y) for x, y in plain}
    passes = [[(x.tobytes(), int(y)) for x, y in data] for _ in range(2)]
    assert passes[0] != passes[1]
    for given in passes:
        assert dict(given) == label


def test_folder_to_fit(folder: Path) -> None:
    data = utils.image_dataset_from_directory(folder, image_size=(8, 8), seed=0, verbose=False)
    assert repr(data.batch(2)).startswith("dataset of 1") and data.map(lambda x, y: x).class_names
    model = carnyx.Sequential([carnyx.layers.Flatten(), carnyx.layers.Dense(2)])
    model.compile("sgd", carnyx.losses.SparseCategoricalCrossentropy(from_logits=True))
    scaled = data.map(lambda x, y: (x / 255, y)).cache().shuffle(10).prefetch(2)
    history = model.fit(scaled, epochs=3, verbose=0, validation_data=scaled.take(1))
    assert history.history["loss"][2] < history.history["loss"][0]
    assert model.predict(data.map(lambda x, y: x), verbose=0).shape == (11, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directory": "none"}, "'none' is no folder"),
        ({"label_mode": "ints"}, "label_mode is 'int'"),
        ({"labels": "names"}, "labels is 'inferred'"),
        ({"labels": [1, 2]}, "labels has 2 entries, and .* has 11 files"),
        ({"labels": list(range(1, 12)), "label_mode": "categorical"}, r"labels in \[0, 11\)"),
        ({"class_names": ["cats", "cows"]}, r"class_names has \['cows'\]"),
        ({"class_names": ["cats"], "labels": [0]}, "needs labels='inferred'"),
        ({"class_names": ["cats"], "label_mode": "binary"}, "needs two classes"),
        ({"validation_split": 0.3}, "validation_split and subset belong together"),
        ({"validation_split": 1.5, "subset": "both"}, r"a fraction in \(0, 1\)"),
        ({"validation_split": 0.01, "subset": "both"}, "leaves a part empty"),
        ({"validation_split": 0.3, "subset": "train", "seed": 1}, "Did you mean 'training'"),
        ({"validation_split": 0.3, "subset": "training"}, "pass a seed"),
        ({"color_mode": "x"}, "color_mode is one of"),
        ({"interpolation": "linear"}, "Did you mean 'bilinear'"),
        ({"image_size": 8}, r"image_size is \(height, width\)"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "exclude each other"),
        ({"batch_size": 0}, "batch_size is a whole number from 1"),
    ],
)
def test_refused_folders(folder: Path, arguments: dict[str, Any], message: str) -> None:
    given = {"directory": folder, "verbose": False, **arguments}
    with pytest.raises(ValueError, match=message):
        utils.image_dataset_from_directory(**given)


def test_folders_without_files_say_so(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no files that end in \.txt.*one a class"):
        utils.text_dataset_from_directory(folder / "dogs")


def test_folders_of_texts(tmp_path: Path) -> None:
    for name, texts in {"good": ["grüße", "fine"], "bad": ["a longer text"]}.items():
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i}.txt").write_text(text, encoding="utf-8")
    data = carnyx.preprocessing.text_dataset_from_directory(
        tmp_path, shuffle=False, batch_size=2, verbose=False
    )
    found = [(x.tolist(), y.tolist()) for x, y in data]
    assert found == [(["a longer text", "grüße"], [0, 1]), (["fine"], [1])]
    cut = utils.text_dataset_from_directory(
        tmp_path, label_mode=None, max_length=3, shuffle=False, verbose=False
    )
    assert next(iter(cut)).tolist() == ["a l", "gr", "fin"]  # the third byte is half of an "ü"


def test_folders_of_sounds(tmp_path: Path) -> None:
    from scipy.io import wavfile

    waves = {"low": np.arange(-8, 8, dtype="int16") * 4096, "high": np.zeros((9, 2), "int16")}
    (tmp_path / "low").mkdir()
    wavfile.write(tmp_path / "low" / "a.wav", 8000, waves["low"])
    wavfile.write(tmp_path / "low" / "b.wav", 8000, waves["low"][:5])
    wavfile.write(tmp_path / "low" / "c.wav", 8000, np.array([128, 255, 0], "uint8"))
    given: dict[str, Any] = dict(shuffle=False, verbose=False)
    x, y = next(iter(utils.audio_dataset_from_directory(tmp_path, **given)))
    assert x.shape == (3, 16, 1) and x.dtype == "float32" and y.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(x[0, :, 0], waves["low"] / 32768)
    np.testing.assert_array_equal(x[1, 5:, 0], 0)
    np.testing.assert_allclose(x[2, :3, 0], [0, 127 / 128, -1])
    data = utils.audio_dataset_from_directory(
        tmp_path, label_mode=None, output_sequence_length=6, sampling_rate=4000, **given
    )
    assert next(iter(data)).shape == (3, 6, 1)
    with pytest.raises(ValueError, match="no ragged arrays"):
        utils.audio_dataset_from_directory(tmp_path, ragged=True)


def test_the_older_names_are_the_same() -> None:
    import keras

    for name in ("preprocessing", "preprocessing.image", "preprocessing.sequence"):
        theirs = functools.reduce(getattr, name.split("."), keras)
        ours = functools.reduce(getattr, name.split("."), carnyx)
        public = [n for n in dir(theirs) if not n.startswith("_")]
        assert set(public) <= set(dir(ours))
    assert carnyx.preprocessing.image.load_img is utils.load_img
    assert os.fspath(get_file(origin=Path(__file__).as_uri())).endswith("test_files.py")
