"""Public data sets: what is offered, fetched as often interrupted as you like, checked, unpacked.

``records.json`` beside this module says where each data set is published. The names, sizes and
checksums of its files are asked from the publisher's API when fetching. A checksum from there tells
a damaged file; that it is the publisher who answers, only https tells.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import os
import shutil
import ssl
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from importlib.resources import files
from pathlib import Path
from threading import Event, Lock
from typing import IO, Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock, Timeout
from tqdm import tqdm

from tccam.data.archive import archive_stem, check_space, inside, unpack
from tccam.errors import TccamError, check_limits

__all__ = [
    "Fetched",
    "Listing",
    "Patience",
    "Record",
    "RemoteFile",
    "download",
    "fetch",
    "listing",
    "records",
]

T = TypeVar("T")

_BUSY = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another one in a while
_CHUNK = 2**16
_QUOTED = ":/?#[]@!$&'()*+,;=%"  # these mean something in an address
_LONGEST_ANSWER = 16 * 2**20  # of an API, in bytes
_ALGORITHMS = ("md5", "sha256", "sha512")
_RECEIPT = "tccam-fetched.json"


@dataclass(frozen=True)
class Record:
    """A published data set.

    Attributes:
        name: what commands call it.
        title: what its authors call it.
        page: for people.
        doi: its digital object identifier.
        paper: that describes it.
        api: address that lists its files.
        license: as far as we know; None when we could not see it.
        checksums: file → checksum, of the files that we have seen: the API must agree.
        unverified: what we could not check when we wrote this down.

    Example:
        >>> record = records()["ws2"]
        >>> print(record.doi, record.page)
        10.5281/zenodo.14793518 https://zenodo.org/records/14793518
    """

    name: str
    title: str
    page: str
    doi: str
    paper: str
    api: str
    license: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True)
class RemoteFile:
    """A file that is offered.

    Attributes:
        name: of the file, without a folder.
        size: in bytes.
        checksum: ``md5:…``, ``sha256:…`` or ``sha512:…``, in hexadecimal digits.
        url: http or https.

    Raises:
        TccamError: if any of them is something else.

    Example:
        >>> RemoteFile("a.zip", 3, "md5:900150983cd24fb0d6963f7d28e17f72", "https://host/a.zip").size
        3
    """

    name: str
    size: int
    checksum: str
    url: str

    def __post_init__(self) -> None:
        if len(inside(self.name).parts) != 1:
            raise TccamError(f"{self.name!r}: expected the name of a file without a folder")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 0:
            raise TccamError(f"{self.name}: expected a size in bytes, found {self.size!r}")
        algorithm, _, digits = self.checksum.partition(":")
        if algorithm not in _ALGORITHMS or len(digits) != 2 * _digest(algorithm).digest_size:
            raise TccamError(
                f"{self.name}: expected a checksum md5:…, sha256:… or sha512:…, "
                f"found {self.checksum!r}"
            )
        _check_address(self.url)


@dataclass(frozen=True)
class Listing:
    """What the API says of a record.

    Attributes:
        files: that it offers, at least one.
        license: None if it does not say.

    Example:
        >>> Listing((), "cc-by-4.0").size
        0
    """

    files: tuple[RemoteFile, ...]
    license: str | None

    @property
    def size(self) -> int:
        """Of all files together, in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Fetched:
    """A data set on the disk.

    Attributes:
        folder: that holds all of it.
        roots: the data folders in it, those that hold ``train_val_dataset`` or ``test_set``.
        fresh: whether it was fetched now; False if all was there.

    Example:
        >>> Fetched(Path("data/ws2"), (Path("data/ws2"),), fresh=False).fresh
        False
    """

    folder: Path
    roots: tuple[Path, ...]
    fresh: bool


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        tries: how often in a row to ask without getting one more byte.
        delay: seconds before the second try, doubled before each further one.
        timeout: seconds without a byte after which a connection counts as dropped.
        longest: seconds that a server may ask to wait (``Retry-After``).

    Example:
        >>> Patience(tries=3, timeout=10.0).delay
        1.0
    """

    tries: int = 6
    delay: float = 1.0
    timeout: float = 30.0
    longest: float = 300.0

    def __post_init__(self) -> None:
        limits = {"tries": (1, 100), "delay": (0, 60), "timeout": (0.01, 600), "longest": (0, 3600)}
        check_limits(self, limits)


def records() -> dict[str, Record]:
    """The data sets that can be fetched, by name.

    Example:
        >>> sorted(records())
        ['ws2']
    """
    text = (files("tccam.data") / "records.json").read_text(encoding="utf-8")
    return {
        name: Record(name=name, **{**entry, "unverified": tuple(entry["unverified"])})
        for name, entry in json.loads(text).items()
    }


def listing(record: Record, patience: Patience | None = None) -> Listing:
    """Ask what files a record has.

    Args:
        record: one of :func:`records`.
        patience: how long to wait; by default, three tries.

    Raises:
        TccamError: if the API cannot be reached, or answers with something else than files with
            names, sizes, checksums and links, or with another checksum than we know.

    Example:
        >>> from dataclasses import replace
        >>> try:
        ...     listing(replace(records()["ws2"], api="ftp://host/ws2"))
        ... except TccamError as error:
        ...     print(error)
        ftp://host/ws2: expected an address with http or https
    """
    waiting = patience or Patience(tries=3)

    def ask() -> bytes:
        with _answer(record.api, waiting, {"Accept": "application/json"}) as answer:
            return b"".join(_chunks(answer, _LONGEST_ANSWER))

    said = _insist(ask, waiting, Event())
    try:
        answer = json.loads(said)
        offered = answer["files"]
        if isinstance(offered, dict):  # the other format of the same API
            offered = list(offered["entries"].values())
        found = tuple(_remote(entry) for entry in offered)
        license_ = (answer.get("metadata") or {}).get("license")
    except TccamError as error:
        raise TccamError(f"{record.api}: {error}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        start = textwrap.shorten(repr(said[:60]), 80)
        raise TccamError(
            f"{record.api}: expected a list of files in JSON, found {start} "
            f"({type(error).__name__}: {error})"
        ) from None
    _check_offer(record, found)
    return Listing(found, license_.get("id") if isinstance(license_, dict) else license_)


def _remote(entry: Mapping[str, Any]) -> RemoteFile:
    links = entry["links"]
    return RemoteFile(
        entry["key"], entry["size"], entry["checksum"], links.get("content") or links["self"]
    )


def _check_offer(record: Record, offered: tuple[RemoteFile, ...]) -> None:
    """Refuse what contradicts itself, or what we know of the record."""
    if not offered:
        raise TccamError(f"{record.api}: expected files, found none; see {record.page}")
    if len({file.name.casefold() for file in offered}) < len(offered):
        raise TccamError(f"{record.api}: expected each file once, found two of the same name")
    for file in offered:
        _check_address(file.url, since=record.api)
        known = record.checksums.get(file.name, file.checksum)
        if known != file.checksum:
            raise TccamError(
                f"{record.api}: {file.name}: expected {known}, found {file.checksum}; "
                f"the record has changed, or somebody else answers"
            )


def download(
    file: RemoteFile,
    folder: str | os.PathLike[str],
    *,
    patience: Patience | None = None,
    stop: Event | None = None,
    report: Callable[[int], object] = lambda _: None,
) -> Path:
    """Download a file; go on where an earlier call was interrupted.

    The bytes arrive in ``NAME.part``, which gets its name when its size and checksum are right. A
    file that is there already is checked, too. Where the checksum is wrong, whatever the reason,
    the bytes are thrown away, and fetched once more from the start.

    Args:
        file: what to download.
        folder: where to, made as needed.
        patience: how long to wait.
        stop: an event that another thread sets to end this call soon.
        report: is called with the number of bytes that are new; a negative one when bytes are
            thrown away.

    Returns:
        The path of the file.

    Raises:
        TccamError: if the server cannot be reached, refuses, sends more or other bytes than
            promised, leads from https to http or to something else than a web address, or the disk
            is full; or ``stop`` was set.

    Example:
        >>> import threading, hashlib, http.server, functools, tempfile
        >>> class Quiet(http.server.SimpleHTTPRequestHandler):
        ...     def log_message(self, *_): pass
        >>> with tempfile.TemporaryDirectory() as place:
        ...     written = (Path(place) / "a.txt").write_bytes(b"frames")
        ...     handler = functools.partial(Quiet, directory=place)
        ...     with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        ...         threading.Thread(target=server.serve_forever, daemon=True).start()
        ...         checksum = "md5:" + hashlib.md5(b"frames").hexdigest()
        ...         url = f"http://127.0.0.1:{server.server_port}/a.txt"
        ...         path = download(RemoteFile("a.txt", 6, checksum, url), f"{place}/here")
        ...         server.shutdown()
        ...     print(path.name, path.read_text())
        a.txt frames
    """
    patience, stop = patience or Patience(), stop or Event()
    path = Path(folder) / file.name
    part = path.with_name(f"{file.name}.part")
    shown = 0

    def show(size: int) -> None:
        nonlocal shown
        report(size - shown)
        shown = size

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # checked like any other bytes
            os.replace(path, part)
        for _ in range(2):
            _insist(
                lambda: _go_on(file, part, patience, stop, show),
                patience,
                stop,
                lambda: _size(part),
            )
            found = _checksum(part, file.checksum.partition(":")[0], stop)
            if found == file.checksum.lower():
                os.replace(part, path)
                _tag(part).unlink(missing_ok=True)
                return path
            _discard(part)
            show(0)
    except OSError as error:  # those of the network are TccamErrors by now
        raise TccamError(f"{part}: cannot be written ({error.strerror})") from None
    raise TccamError(f"{file.url}: expected {file.checksum}, found {found} twice; nothing is kept")


def _go_on(
    file: RemoteFile, part: Path, patience: Patience, stop: Event, show: Callable[[int], None]
) -> None:
    """One request for the bytes that ``part`` lacks, appended to it."""
    have = _size(part)
    if have > file.size:
        _discard(part)
        have = 0
    show(have)
    if have == file.size and part.exists():
        return
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if _tag(part).exists():  # the whole file, please, if it is another one by now
            headers["If-Range"] = _tag(part).read_text(encoding="latin-1")
    try:
        with _answer(file.url, patience, headers) as answer:
            wanted = f"bytes {have}-{file.size - 1}/{file.size}"
            if answer.status != 206:
                have = 0
                _begin(part, answer.headers.get("ETag", ""))
            elif answer.headers.get("Content-Range") != wanted:
                found = answer.headers.get("Content-Range")
                raise _DroppedError(f"{file.url}: expected {wanted}, found {found}", useless=True)
            with part.open("ab") as out:
                for chunk in _chunks(answer, file.size - have):
                    _check_stop(stop)
                    out.write(chunk)
                    have += len(chunk)
                    show(have)
                out.flush()
                os.fsync(out.fileno())
        if have < file.size:
            raise _DroppedError(f"{file.url}: expected {file.size} bytes, found {have}")
    except _TooLongError:
        _discard(part)
        raise TccamError(f"{file.url}: expected {file.size} bytes, found more") from None
    except _DroppedError as error:
        if error.useless:
            _discard(part)
            show(0)
        raise


def _begin(part: Path, tag: str) -> None:
    """An empty file, and the server's tag of its version beside it, if there is one to rely on."""
    _discard(part)
    if tag.startswith('"'):
        _tag(part).write_text(tag, encoding="latin-1")
    part.touch()


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(algorithm: str) -> hashlib._Hash:
    return hashlib.new(algorithm, usedforsecurity=False)  # md5, where only safe ones are allowed


def _checksum(path: Path, algorithm: str, stop: Event) -> str:
    digest = _digest(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            _check_stop(stop)
            digest.update(chunk)
    return f"{algorithm}:{digest.hexdigest()}"


def _check_stop(stop: Event) -> None:
    if stop.is_set():
        raise TccamError("download: stopped; the same call goes on from here")


class _DroppedError(Exception):
    """An attempt that failed, and may succeed when it is made again."""

    def __init__(self, text: str, *, wait: float | None = None, useless: bool = False) -> None:
        super().__init__(text)
        self.wait, self.useless = wait, useless


class _TooLongError(TccamError):
    """The answer has more bytes than it may have."""


def _insist(
    attempt: Callable[[], T],
    patience: Patience,
    stop: Event,
    reached: Callable[[], int] = lambda: 0,
) -> T:
    """Attempt until it succeeds, or fails too often without having reached more than ever."""
    failures, best = 0, reached()
    while True:
        try:
            return attempt()
        except _DroppedError as error:
            failures = 1 if reached() > best else failures + 1
            best = max(best, reached())
            if failures >= patience.tries:
                raise TccamError(f"{error}; tried {failures} times") from None
            wait = patience.delay * 2 ** (failures - 1) if error.wait is None else error.wait
            if wait > patience.longest:
                raise TccamError(f"{error}, and asks to come back in {wait:.0f} s") from None
        if stop.wait(wait):
            _check_stop(stop)


def _check_address(url: str, since: str = "") -> None:
    """Refuse what is no web address, or a plain one where an encrypted one led to it."""
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https") or (scheme == "http" and since.startswith("https:")):
        wanted = "https" if since.startswith("https:") else "http or https"
        raise TccamError(f"{url}: expected an address with {wanted}")


class _Redirects(HTTPRedirectHandler):
    """Never from https to http; loops end after a few rounds."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        _check_address(newurl, since=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _answer(url: str, patience: Patience, headers: Mapping[str, str]) -> Iterator[HTTPResponse]:
    """An answer with a body; what goes wrong on the way is a _DroppedError or a TccamError."""
    _check_address(url)
    request = Request(quote(url, safe=_QUOTED), headers={"User-Agent": "tccam", **headers})
    try:
        answer = build_opener(_Redirects()).open(request, timeout=patience.timeout)
    except HTTPError as error:
        error.close()
        said = textwrap.shorten(f"{url}: the server answers {error.code} {error.reason}", 300)
        if error.code == 416:  # no such range: of another version of the file
            raise _DroppedError(said, useless=True) from None
        if error.code in _BUSY:
            raise _DroppedError(said, wait=_retry_after(error.headers.get("Retry-After"))) from None
        raise TccamError(said) from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        why = getattr(reason, "strerror", None) or reason or type(reason).__name__
        said = textwrap.shorten(f"{url}: no connection ({why})", 300)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise TccamError(said) from None
        raise _DroppedError(said) from None
    except ValueError as error:  # it leads to an address that cannot be used
        raise TccamError(f"{url}: {error}") from None
    with answer:
        yield answer


def _chunks(answer: HTTPResponse, most: int) -> Iterator[bytes]:
    """The body of an answer as it arrives; only the network's errors are dropped connections."""
    while True:
        try:
            chunk = answer.read1(_CHUNK)
        except (OSError, HTTPException) as error:
            said = f"{answer.url}: the connection broke ({error or type(error).__name__})"
            raise _DroppedError(textwrap.shorten(said, 300)) from None
        most -= len(chunk)
        if most < 0:
            raise _TooLongError(f"{answer.url}: the answer is longer than expected")
        if not chunk:
            return
        yield chunk


def _retry_after(text: str | None) -> float | None:
    """Seconds, from a number of them or a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def fetch(
    record: Record,
    folder: str | os.PathLike[str],
    *,
    jobs: int = 4,
    limit: float = 1e12,
    ratio: float = 100.0,
    patience: Patience | None = None,
    progress: bool = True,
) -> Fetched:
    """Download all files of a record, and unpack those that are archives.

    Until all is there, it is in a folder ``FOLDER.download`` beside ``folder``; a call that is
    interrupted leaves that one, and the next goes on from there. ``folder`` appears in one step. An
    archive becomes a folder of its name; where all it holds is one folder, that one takes its
    place. ``tccam-fetched.json`` says where all came from, and what there is.

    Args:
        record: one of :func:`records`.
        folder: where to; missing, empty, or with this record in it.
        jobs: how many files to download at a time.
        limit: largest total size of an archive's files, in bytes.
        ratio: the same, in sizes of the archive.
        patience: how long to wait for the server.
        progress: whether to show bars on stderr.

    Raises:
        TccamError: if the folder holds something else or not all that was fetched, another process
            is fetching into it, the disk is too small, or a file cannot be downloaded or unpacked
            (:func:`listing`, :func:`download`, :func:`~tccam.data.archive.unpack`).

    Example:
        >>> import threading, hashlib, http.server, functools, tempfile, zipfile
        >>> class Quiet(http.server.SimpleHTTPRequestHandler):
        ...     def log_message(self, *_): pass
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with zipfile.ZipFile(f"{place}/a.zip", "w") as archive:
        ...         archive.writestr("test_set/images/before/video_000/frame_0001.txt", "a frame")
        ...     packed = Path(f"{place}/a.zip").read_bytes()
        ...     handler = functools.partial(Quiet, directory=place)
        ...     with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        ...         threading.Thread(target=server.serve_forever, daemon=True).start()
        ...         host = f"http://127.0.0.1:{server.server_port}"
        ...         offered = {"key": "a.zip", "size": len(packed),
        ...                    "checksum": "md5:" + hashlib.md5(packed).hexdigest(),
        ...                    "links": {"self": f"{host}/a.zip"}}
        ...         written = Path(f"{place}/api").write_text(json.dumps({"files": [offered]}))
        ...         record = Record("mine", "My data", host, "", "", f"{host}/api")
        ...         done = fetch(record, f"{place}/mine", progress=False)
        ...         server.shutdown()
        ...     print(sorted(path.name for path in done.roots[0].iterdir()))
        ['tccam-fetched.json', 'test_set']
    """
    folder = Path(folder).resolve()
    if jobs < 1:
        raise TccamError(f"jobs: expected 1 or more, got {jobs}")
    if (folder / _RECEIPT).exists():
        _check_receipt(record, folder)
        return Fetched(folder, _roots(folder), fresh=False)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TccamError(f"{folder}: expected a new or empty folder, or one with {record.name}")
    offered = listing(record, patience)
    work = folder.with_name(f"{folder.name}.download")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "lock", timeout=0):
            shutil.rmtree(work / "whole", ignore_errors=True)
            _download_all(offered, work / "files", jobs, patience, progress)
            whole = _assemble(record, offered, work, limit, ratio, progress)
            if folder.exists():
                folder.rmdir()
            whole.rename(folder)
        shutil.rmtree(work)
    except Timeout:
        raise TccamError(f"{folder}: another process is fetching into it") from None
    except OSError as error:
        raise TccamError(f"{error.filename or work}: {error.strerror}") from None
    return Fetched(folder, _roots(folder), fresh=True)


def _download_all(
    offered: Listing, folder: Path, jobs: int, patience: Patience | None, progress: bool
) -> None:
    folder.mkdir(exist_ok=True)
    here = sum(_size(path) for path in folder.iterdir())
    # Pictures hardly shrink in an archive: they take its size once more when they are unpacked.
    check_space(folder, 2 * offered.size - min(here, offered.size))
    stop, lock = Event(), Lock()
    with (
        tqdm(
            total=offered.size, desc="download", unit="B", unit_scale=True, disable=not progress
        ) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def report(count: int) -> None:
            with lock:
                bar.update(count)

        work = [
            pool.submit(download, file, folder, patience=patience, stop=stop, report=report)
            for file in offered.files
        ]
        try:
            for done in as_completed(work):
                done.result()
        finally:  # an error or Ctrl-C ends the others as well; what they have is kept
            stop.set()
            pool.shutdown(cancel_futures=True)


def _assemble(
    record: Record, offered: Listing, work: Path, limit: float, ratio: float, progress: bool
) -> Path:
    """What will be the folder: archives unpacked, other files as they are, and the receipt."""
    whole = work / "whole"
    whole.mkdir()
    for file in offered.files:
        source = work / "files" / file.name
        stem = archive_stem(file.name)
        if stem is None:
            shutil.copyfile(source, whole / file.name)
            continue
        made = unpack(source, whole / stem, limit=limit, ratio=ratio, progress=progress)
        _lift(made)
    sizes = {
        path.relative_to(whole).as_posix(): path.stat().st_size
        for path in sorted(whole.rglob("*"))
        if path.is_file()
    }
    receipt = {
        "record": record.name,
        "title": record.title,
        "doi": record.doi,
        "page": record.page,
        "license": offered.license or record.license,
        "date": time.strftime("%Y-%m-%d"),
        "fetched": {file.name: file.checksum for file in offered.files},
        "files": sizes,
    }
    (whole / _RECEIPT).write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")
    return whole


def _lift(folder: Path) -> None:
    """Put the one folder that this one holds in its place."""
    held = list(folder.iterdir())
    if len(held) == 1 and held[0].is_dir():
        outer = folder.rename(folder.with_name(f".{folder.name}"))
        target = folder.with_name(held[0].name)
        if target.exists():
            outer.rename(folder)
        else:
            (outer / held[0].name).rename(target)
            outer.rmdir()


def _check_receipt(record: Record, folder: Path) -> None:
    """Refuse a folder that holds another record, or not all of this one."""
    path = folder / _RECEIPT
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        name, sizes = receipt["record"], dict(receipt["files"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise TccamError(f"{path}: expected what tccam data fetch wrote ({error})") from None
    if name != record.name:
        raise TccamError(f"{folder}: expected {record.name}, found {name}")
    wrong = [file for file, size in sizes.items() if not _is(folder / file, size)]
    if wrong:
        raise TccamError(
            f"{folder}: expected {len(sizes)} files as they were fetched, found {len(wrong)} "
            f"missing or changed, {wrong[0]} the first; remove the folder to fetch it again"
        )


def _is(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _roots(folder: Path) -> tuple[Path, ...]:
    """Where the layout of the data begins, at most two folders down; else the folder itself."""
    marks = ("train_val_dataset", "test_set")
    places = [folder, *folder.glob("*/"), *folder.glob("*/*/")]
    return tuple(p for p in places if any((p / mark).is_dir() for mark in marks)) or (folder,)
