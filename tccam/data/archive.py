"""Archives from strangers, unpacked whole and safely, or not at all."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tqdm import tqdm

from tccam.errors import TccamError

__all__ = ["archive_stem", "check_space", "inside", "unpack"]

_ZIP, _GZIP = (".zip",), (".tar.gz", ".tgz")
_SUFFIXES = (*_ZIP, *_GZIP, ".tar")
_BLOCK = 4096  # what an entry takes on the disk, even an empty one
_SMALL = 16 * 2**20  # what any archive may unpack to, however small it is
_HEADER = 2**20  # no honest header of a tar file is longer than this
_ALMOST_ANYWHERE = re.compile(r'[^\\:*?"<>|\x00-\x1f\x7f]+')
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)


def archive_stem(name: str) -> str | None:
    """The name of an archive without its suffix, None if it is none that :func:`unpack` takes.

    Args:
        name: of a file.

    Example:
        >>> archive_stem("train.tar.gz"), archive_stem("read me.txt")
        ('train', None)
    """
    suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), None)
    return name[: -len(suffix)] or None if suffix else None


def inside(name: str) -> PurePosixPath:
    """The relative path that a name in an archive or a listing stands for.

    Args:
        name: with slashes between folders.

    Raises:
        TccamError: if the path leaves its folder, is absolute, or has a drive letter, a backslash
            or another character that some systems do not take.

    Example:
        >>> print(inside("./before/video 000/frame_0001.jpg"))
        before/video 000/frame_0001.jpg
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not _ALMOST_ANYWHERE.fullmatch(name):
        raise TccamError(f"{name!r}: expected a plain relative path")
    return path


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        folder: one that exists, on the disk in question.
        needed: bytes.

    Raises:
        TccamError: says how much is needed and how much is free.

    Example:
        >>> check_space(Path("."), 1)
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TccamError(
            f"{folder}: expected {needed / 1e9:.3f} GB of free disk space, found {free / 1e9:.3f}"
        )


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    limit: float = 1e12,
    ratio: float = 100.0,
    progress: bool = False,
) -> Path:
    """Unpack an archive into a new folder.

    Everything that the archive promises is checked before the first byte is written: names (see
    :func:`inside`), kinds (files and folders, no links and no devices), sizes. Files are written to
    a temporary folder beside the new one, which takes its name when all of them are there. Owners,
    permissions and times are not taken over; ``__MACOSX`` is left out.

    Args:
        archive: .zip, .tar, .tar.gz or .tgz.
        folder: that does not exist yet.
        limit: largest total size, in bytes; an entry counts as 4096 bytes at least.
        ratio: largest total size, in sizes of the archive; 16 MiB are always allowed.
        progress: whether to show a bar on stderr.

    Returns:
        The folder.

    Raises:
        TccamError: if the folder exists, the archive is missing, damaged, cut off, encrypted or of
            another kind, an entry is none that can be trusted, or it unpacks to more than allowed
            or than the disk has room for. Nothing is left of it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as place:
        ...     with zipfile.ZipFile(f"{place}/test.zip", "w") as made:
        ...         made.writestr("before/frame_0001.txt", "a frame")
        ...     folder = unpack(f"{place}/test.zip", f"{place}/test")
        ...     print((folder / "before/frame_0001.txt").read_text())
        a frame
    """
    archive, folder = Path(archive), Path(folder)
    if os.path.lexists(folder):
        raise TccamError(f"{folder}: exists already; expected the name of a new folder")
    try:
        with _entries(archive) as entries:
            plan = _plan(entries, min(limit, max(ratio * archive.stat().st_size, _SMALL)))
            folder.parent.mkdir(parents=True, exist_ok=True)
            check_space(folder.parent, sum(entry.room for entry in plan))
            with tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
            ) as temporary:
                content = Path(temporary) / folder.name  # as open to others as any new folder
                content.mkdir()
                _write(plan, content, progress)
                content.rename(folder)
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        kind = "" if isinstance(error, TccamError) else f"{type(error).__name__}: "
        found = textwrap.shorten(f"{kind}{error}", 300)
        raise TccamError(f"{archive}: cannot be unpacked ({found})") from None
    return folder


@dataclass(frozen=True)
class _Entry:
    """What an archive promises of a file or folder, and how to read it."""

    name: str
    size: int
    folder: bool
    oddity: str | None
    open: Callable[[], IO[bytes]]

    @property
    def path(self) -> PurePosixPath:
        return inside(self.name)

    @property
    def room(self) -> int:
        return max(self.size, _BLOCK)


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[_Entry]]:
    suffixes = archive.name.lower()
    if suffixes.endswith(_ZIP):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_entries(opened)
    elif archive_stem(archive.name):
        raw = gzip.GzipFile(archive) if suffixes.endswith(_GZIP) else archive.open("rb", 0)
        with _Modest(cast(io.RawIOBase, raw)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            yield _tar_entries(tar, file)
    else:
        raise TccamError(f"expected one of {', '.join(_SUFFIXES)}")


def _zip_entries(opened: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in opened.infolist():
        mode = info.external_attr >> 16  # of Unix; 0 when another system made the archive
        oddity = "an encrypted entry" if info.flag_bits & 1 else None
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            oddity = "a link or device"
        yield _Entry(info.filename, info.file_size, info.is_dir(), oddity, _opener(opened, info))


def _opener(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: opened.open(info)


class _Modest(io.BufferedReader):
    """A reader for tarfile, which would read a header of any length into memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER:
            raise TccamError(f"a header of {size} bytes; expected at most {_HEADER}")
        return super().read(size)


def _tar_entries(tar: tarfile.TarFile, file: _Modest) -> Iterator[_Entry]:
    for info in tar:
        plain = info.isdir() or (info.type in _FILES and not info.issparse())
        oddity = None if plain else "a link, device or sparse file"
        yield _Entry(info.name, info.size, info.isdir(), oddity, _extractor(tar, info))
    # To tarfile, an archive that is cut off between two entries is one that ends there.
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise TccamError("it is cut off")
    while file.read(_HEADER):  # as far as the checksum of gzip
        pass


def _extractor(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    return lambda: cast(IO[bytes], tar.extractfile(info))


def _plan(entries: Iterator[_Entry], allowed: float) -> list[_Entry]:
    """The entries of an archive, if every one of them can be trusted."""
    plan: dict[PurePosixPath, _Entry] = {}
    total = 0
    for entry in entries:
        if entry.oddity or entry.size < 0 or not (entry.folder or entry.path.parts):
            raise TccamError(f"{entry.name!r}: expected a file, found {entry.oddity or 'none'}")
        if entry.path in plan and not entry.folder:
            raise TccamError(f"{entry.name!r}: there are two of this name")
        plan[entry.path] = entry
        total += entry.room
        if total > allowed:
            raise TccamError(f"expected at most {allowed:.0f} bytes unpacked, found more: a bomb?")
    return [entry for path, entry in plan.items() if path.parts[:1] != ("__MACOSX",)]


def _write(plan: list[_Entry], folder: Path, progress: bool) -> None:
    total = sum(entry.size for entry in plan)
    with tqdm(
        total=total, desc="unpacking", unit="B", unit_scale=True, disable=not progress
    ) as bar:
        for entry in plan:
            target = folder / entry.path
            (target if entry.folder else target.parent).mkdir(parents=True, exist_ok=True)
            if entry.folder:
                continue
            with entry.open() as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, _HEADER)
                if file.tell() != entry.size:
                    raise TccamError(f"{entry.name!r}: it is cut off")
            bar.update(entry.size)
