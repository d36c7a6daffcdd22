"""Files from the network: `get_file` downloads once, checks the hash and unpacks safely."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

HASHES = {32: "md5", 64: "sha256"}  # by the number of hexadecimal digits
SCHEMES = ("https", "http", "file")


def cache_folder(cache_dir: Any = None, cache_subdir: str = "datasets") -> Path:
    """Where downloads are kept: KERAS_HOME or ~/.keras, and in it `cache_subdir`; made if missing.

    A folder that cannot be written to is replaced by one in the system's temporary folder.
    """
    home = Path(cache_dir or os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        writable = os.access(home, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        home = Path(tempfile.gettempdir()) / ".keras"
    folder = home / cache_subdir
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def get_file(
    fname: Any = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: Any = "auto",
    cache_dir: Any = None,
    force_download: bool = False,
) -> str:
    """The path of a file that is downloaded when it is not there yet.

    Args:
        fname: its name in the cache; None takes the origin's last part. With `extract`, a name
            without an ending is that of the folder that the archive is unpacked to.
        origin: an http, https or file URL.
        untar, md5_hash: old names of `extract` and `file_hash`.
        file_hash: the expected md5 or sha256 in hexadecimal digits, checked before the file is put
            in its place. A cached file that differs is downloaded again.
        hash_algorithm: "md5", "sha256", or "auto" (by the number of digits).
        extract: whether to unpack a tar or zip archive; the folder's path is then returned.
        archive_format: "auto", "tar", "zip", or a list of these.
        cache_dir, cache_subdir: the cache is `cache_dir`/`cache_subdir`; `cache_dir` is by default
            KERAS_HOME or ~/.keras.
        force_download: whether to download what is there already.

    Archives may hold files and folders inside the target folder only: a name that leads out of it,
    a link or a device is refused, and nothing is unpacked.
    Raises ValueError for bad arguments, a wrong hash or such an archive; OSError if the download
    fails, with where to put the file by hand.
    """
    name, given = _name(fname, origin)
    file_hash, algorithm = file_hash or md5_hash, "md5" if md5_hash else hash_algorithm
    folder, target = cache_folder(cache_dir, cache_subdir), None
    extract = extract or untar
    path = folder / name
    if extract:
        stem = given and "." in name
        target = folder / (f"{name[: name.find('.')]}_extracted" if stem else name)
        path = path if stem else folder / f"{name}_archive"
    known = path.exists() and (file_hash is None or _hash(path, file_hash, algorithm) == file_hash)
    if force_download or not known:
        assert origin is not None
        _download(origin, path, file_hash, algorithm)
    if target is None:
        return str(path)
    if force_download or not known or not target.exists():
        unpack(path, target, archive_format)
    return str(target)


def _name(fname: Any, origin: str | None) -> tuple[str, bool]:
    """The file's name, and whether the user gave it."""
    if origin is None:
        raise ValueError("get_file: origin is missing. Pass the URL of the file.")
    if urllib.parse.urlsplit(origin).scheme not in SCHEMES:
        raise ValueError(f"get_file: origin is a URL of {', '.join(SCHEMES)}. Received: {origin!r}")
    if not fname:
        fname = os.path.basename(urllib.parse.urlsplit(origin).path)
        if not fname:
            raise ValueError(f"get_file: {origin!r} ends without a file's name. Pass fname.")
        return urllib.parse.unquote(fname).replace("/", "_").replace("\\", "_"), False
    fname = os.fspath(fname)
    if fname != os.path.basename(fname) or fname in ("..", "."):
        raise ValueError(
            f"get_file: fname is a name and no path. Received: {fname!r}. The folder is said by "
            "cache_dir and cache_subdir."
        )
    return fname, True


def _hash(path: Path, expected: str, algorithm: str) -> str:
    """The file's hash in hexadecimal digits."""
    if algorithm == "auto":
        algorithm = HASHES.get(len(expected), "")
    if algorithm not in HASHES.values():
        raise ValueError(
            f"get_file: the hash {expected!r} is no md5 (32 digits) and no sha256 (64). "
            f"hash_algorithm is 'md5', 'sha256' or 'auto'. Received: {algorithm!r}"
        )
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _download(origin: str, path: Path, expected: str | None, algorithm: str) -> None:
    """The file in its place, whole and checked, or not at all."""
    print(f"Downloading {origin} to {path}")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _fetch(origin, file, path)
        if expected is not None and (found := _hash(part, expected, algorithm)) != expected.lower():
            raise ValueError(
                f"get_file: {origin} has the hash {found}, and {expected} was expected. It was "
                "changed, cut off, or is not the file you think: nothing was kept."
            )
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _fetch(origin: str, file: IO[bytes], path: Path) -> None:
    try:
        with urllib.request.urlopen(origin, timeout=60) as answer:
            shutil.copyfileobj(answer, file)
            expected = answer.headers.get("Content-Length")
    except (urllib.error.URLError, OSError) as error:
        raise OSError(
            f"get_file: {origin} cannot be downloaded: {error}. Without a network, put the file "
            f"at {path} yourself; data sets that need none are in carnyx.datasets.digits."
        ) from error
    if expected is not None and file.tell() != int(expected):
        raise OSError(
            f"get_file: {origin} broke off after {file.tell()} of {expected} bytes. Try again."
        )


# ---- archives


def unpack(path: Path, target: Path, archive_format: Any = "auto") -> None:
    """Unpacks a tar or zip archive to a new folder, all of it or nothing."""
    formats = ("tar", "zip") if archive_format == "auto" else archive_format or ()
    formats = (formats,) if isinstance(formats, str) else tuple(formats)
    if set(formats) - {"tar", "zip"}:
        raise ValueError(f"archive_format is 'auto', 'tar' or 'zip'. Received: {archive_format!r}")
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        if "tar" in formats and tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                _write(_tar_members(archive), temporary, path)
        elif "zip" in formats and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _write(_zip_members(archive), temporary, path)
        else:
            raise ValueError(f"{path} is no archive of the formats {formats}.")
        if target.exists():
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# (name, "file", "folder" or what else it is, how to open a file)
Member = tuple[str, str, Any]


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for member in archive:
        kind = "file" if member.isreg() else "folder" if member.isdir() else "link or device"
        yield member.name, kind, lambda member=member: archive.extractfile(member)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for member in archive.infolist():
        link = (member.external_attr >> 28) == 0xA  # the mode of a symbolic link
        kind = "link or device" if link else "folder" if member.is_dir() else "file"
        yield member.filename, kind, lambda member=member: archive.open(member)


def _write(members: Iterator[Member], folder: Path, path: Path) -> None:
    for name, kind, opened in members:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        outside = name.startswith(("/", "\\")) or ".." in parts or ":" in name.split("/")[0]
        if outside or kind == "link or device":
            why = "leads out of the folder" if outside else "is a link or a device"
            raise ValueError(
                f"{path}: the entry {name!r} {why}. Such an archive can write anywhere, and is "
                "not unpacked: look at it, and unpack it by hand if you trust it."
            )
        place = folder.joinpath(*parts)
        if kind == "folder":
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with opened() as source, open(place, "wb") as file:
            shutil.copyfileobj(source, file)
