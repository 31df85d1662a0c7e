"""Whatever a server does: the right bytes arrive, or one line says why not and nothing is left."""

import contextlib
import email.utils
import hashlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest
from filelock import FileLock

from tccam import cli
from tccam.data import download as module
from tccam.data.download import Patience, Record, RemoteFile, download, fetch, listing, records
from tccam.errors import TccamError

DATA = random.Random(0).randbytes(300_000)
HURRY = Patience(tries=3, delay=0.01, timeout=5)

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    server: "Site"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        answers = self.server.answers.get(self.path, [status(404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with contextlib.suppress(OSError):  # the client may have gone
            answer(self)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def head(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Site(ThreadingHTTPServer):
    """A local server that answers each request for a path with the next of its answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.host = f"http://127.0.0.1:{self.server_port}"

    def offer(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return self.host + path

    def file(self, *answers: Answer, data: bytes = DATA, name: str = "a.bin") -> RemoteFile:
        url = self.offer(f"/{name}", *(answers or [send(data)]))
        return RemoteFile(name, len(data), md5(data), url)

    def record(self, tree: dict[str, bytes], **known: Any) -> Record:
        """A record of these files, with an API that lists them."""
        entries = []
        for name, data in tree.items():
            file = self.file(data=data, name=name)
            entries.append(
                {
                    "key": name,
                    "size": file.size,
                    "checksum": file.checksum,
                    "links": {"self": file.url},
                }
            )
        answer = {"metadata": {"license": {"id": "cc-by-4.0"}}, "files": entries}
        api = self.offer("/api", send(json.dumps(answer).encode()))
        return Record("mine", "My frames", f"{self.host}/page", "", "", api, **known)

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.seen]


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def send(
    data: bytes,
    *,
    ranges: bool = True,
    tag: str | None = None,
    upto: int | None = None,
    promise: int | None = None,
    then: Callable[[], object] = lambda: None,
) -> Answer:
    """A file, honouring Range and If-Range or not, cut off after ``upto`` of its bytes."""

    def answer(to: Handler) -> None:
        start, headers = 0, {"ETag": tag} if tag else {}
        wanted = to.headers.get("Range")
        if ranges and wanted and to.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                to.head(416, Content_Range=f"bytes */{len(data)}")
                return
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        length = len(data) - start if promise is None else promise
        to.head(206 if "Content_Range" in headers else 200, Content_Length=length, **headers)
        to.wfile.write(data[start:upto])
        to.wfile.flush()
        then()

    return answer


def status(code: int, **headers: object) -> Answer:
    return lambda to: to.head(code, **headers)


def redirect(url: str, code: int = 302) -> Answer:
    return status(code, Location=url)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def zipped(tree: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    return made.getvalue()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Site() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield made
        made.shutdown()


def refused(file: RemoteFile, folder: Path, match: str, patience: Patience = HURRY) -> None:
    with pytest.raises(TccamError, match=match) as error:
        download(file, folder, patience=patience)
    assert "\n" not in str(error.value)
    assert file.name not in names(folder)


# One file


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_the_bytes_arrive(data: bytes, site: Site, tmp_path: Path) -> None:
    counts: list[int] = []
    path = download(site.file(data=data), tmp_path / "made" / "it", report=counts.append)
    assert path.read_bytes() == data
    assert names(path.parent) == ["a.bin"]
    assert sum(counts) == len(data)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("tag", [None, '"one"', 'W/"weak"'])
@pytest.mark.parametrize("place", [0, 1, 65_536, 150_000, len(DATA) - 1])
def test_a_dropped_connection_is_taken_up(
    place: int, tag: str | None, ranges: bool, site: Site, tmp_path: Path
) -> None:
    file = site.file(send(DATA, upto=place, tag=tag), send(DATA, ranges=ranges, tag=tag))
    counts: list[int] = []
    assert download(file, tmp_path, patience=HURRY, report=counts.append).read_bytes() == DATA
    assert site.ranges() == [None, f"bytes={place}-" if place else None]
    strong = tag if place and tag == '"one"' else None
    assert site.seen[1][1].get("If-Range") == strong
    assert sum(counts) == len(DATA)
    assert names(tmp_path) == ["a.bin"]


def test_any_number_of_drops_is_fine_while_bytes_arrive(site: Site, tmp_path: Path) -> None:
    places = range(20_000, 300_000, 20_000)
    file = site.file(*(send(DATA, upto=place) for place in places), send(DATA))
    assert download(file, tmp_path, patience=HURRY).read_bytes() == DATA
    assert len(site.seen) == len(places) + 1 > HURRY.tries


def test_a_server_that_never_gets_further_is_given_up(site: Site, tmp_path: Path) -> None:
    refused(site.file(send(DATA, ranges=False, upto=1000)), tmp_path, "300000 bytes, found 1000")
    assert len(site.seen) == HURRY.tries
    refused(site.file(send(DATA, upto=1000)), tmp_path, "found 1000; tried 3 times")


def test_another_call_goes_on(site: Site, tmp_path: Path) -> None:
    refused(site.file(send(DATA, upto=1000)), tmp_path, "found 1000", replace(HURRY, tries=1))
    assert names(tmp_path) == ["a.bin.part"]
    site.seen.clear()
    assert download(site.file(), tmp_path).read_bytes() == DATA
    assert site.ranges() == ["bytes=1000-"]


@pytest.mark.parametrize("tag", [None, '"one"'])
def test_a_file_that_changes_between_two_attempts(
    tag: str | None, site: Site, tmp_path: Path
) -> None:
    old = bytes(len(DATA))
    new = None if tag is None else '"two"'
    file = replace(site.file(send(old, upto=1000, tag=tag), send(DATA, tag=new)), size=len(DATA))
    assert download(file, tmp_path, patience=HURRY).read_bytes() == DATA
    # With a tag, the server sees that its bytes are others; without one, the checksum does.
    assert len(site.seen) == (3 if tag is None else 2)
    assert names(tmp_path) == ["a.bin"]


def test_wrong_bytes_are_named_and_thrown_away(site: Site, tmp_path: Path) -> None:
    wrong = bytes(len(DATA))
    counts: list[int] = []
    file = site.file(send(wrong, tag='"one"'))
    with pytest.raises(TccamError) as error:
        download(file, tmp_path, report=counts.append)
    assert str(error.value) == (
        f"{file.url}: expected {md5(DATA)}, found {md5(wrong)} twice; nothing is kept"
    )
    assert sum(counts) == 0
    assert names(tmp_path) == []


def test_bytes_that_were_damaged_on_the_way_are_fetched_again(site: Site, tmp_path: Path) -> None:
    file = site.file(send(bytes(len(DATA))), send(DATA))
    assert download(file, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("longer", [DATA + b"x", DATA + bytes(10**6)])
def test_more_than_promised_is_refused(longer: bytes, site: Site, tmp_path: Path) -> None:
    refused(site.file(send(longer, tag='"one"')), tmp_path, "expected 300000 bytes, found more")
    assert names(tmp_path) == []
    assert len(site.seen) == 1


def test_less_than_promised_is_refused(site: Site, tmp_path: Path) -> None:
    refused(site.file(send(DATA[:-1])), tmp_path, "416|expected 300000 bytes")
    assert len(site.seen) < 8


def test_a_server_that_hangs_is_given_up(site: Site, tmp_path: Path) -> None:
    release = threading.Event()
    file = site.file(send(DATA, upto=1000, then=lambda: release.wait(20)))
    began = time.monotonic()
    refused(file, tmp_path, "connection broke .*timed out", Patience(2, 0.01, 0.2))
    release.set()
    assert time.monotonic() - began < 10
    assert (tmp_path / "a.bin.part").read_bytes() == DATA[:1000]


def test_an_end_that_is_not_said_is_seen(site: Site, tmp_path: Path) -> None:
    release = threading.Event()
    file = site.file(send(DATA, promise=len(DATA) + 1, then=lambda: release.wait(20)))
    path = download(file, tmp_path, patience=replace(HURRY, timeout=0.3))
    release.set()
    assert path.read_bytes() == DATA
    assert len(site.seen) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451, 501])
def test_a_refusal_is_final(code: int, site: Site, tmp_path: Path) -> None:
    refused(site.file(status(code)), tmp_path, f"a.bin: the server answers {code} ")
    assert len(site.seen) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_trouble_may_pass(code: int, site: Site, tmp_path: Path) -> None:
    assert download(
        site.file(status(code), status(code), send(DATA)), tmp_path, patience=HURRY
    ).exists()
    refused(site.file(status(code), name="b.bin"), tmp_path, f"answers {code} .*; tried 3 times")


def test_a_server_says_when_to_come_back(site: Site, tmp_path: Path) -> None:
    file = site.file(status(429, Retry_After=1), send(DATA))
    began = time.monotonic()
    download(file, tmp_path, patience=replace(HURRY, delay=60))
    assert 1 <= time.monotonic() - began < 20
    file = site.file(status(429, Retry_After=301), name="b.bin")
    refused(file, tmp_path, "answers 429 .*, and asks to come back in 301 s")


def test_when_to_come_back_is_read() -> None:
    assert module._retry_after(None) is None
    assert module._retry_after(" 17 ") == 17
    assert module._retry_after("soon") is None
    assert module._retry_after("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert module._retry_after(later) == pytest.approx(100, abs=5)


def test_waiting_doubles(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", waited.append)
    with pytest.raises(TccamError):
        download(site.file(status(500)), tmp_path, patience=Patience(tries=5), stop=stop)
    assert waited == [1, 2, 4, 8]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_its_range(code: int, site: Site, tmp_path: Path) -> None:
    target = site.offer("/elsewhere", send(DATA, upto=1000), send(DATA))
    file = site.file(redirect(target, code))
    assert download(file, tmp_path, patience=HURRY).read_bytes() == DATA
    assert site.ranges() == [None, None, "bytes=1000-", "bytes=1000-"]


def test_redirects_that_lead_nowhere_are_refused(site: Site, tmp_path: Path) -> None:
    refused(site.file(redirect("/a.bin")), tmp_path, "infinite loop")
    assert len(site.seen) < 20
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    for url in (secret.as_uri(), "ftp://127.0.0.1/a.bin", "data:,a", "http://[::1", "gopher://a"):
        site.seen.clear()
        refused(site.file(redirect(url)), tmp_path, "a.bin: ")
        assert len(site.seen) == 1


def test_no_redirect_leads_from_https_to_http() -> None:
    def redirected(old: str, new: str) -> Request | None:
        handler = module._Redirects()
        return handler.redirect_request(Request(old), io.BytesIO(), 302, "", Message(), new)

    assert redirected("https://a/b", "https://c/d").full_url == "https://c/d"
    assert redirected("http://a/b", "https://c/d").full_url == "https://c/d"
    with pytest.raises(TccamError, match="http://c/d: expected an address with https"):
        redirected("https://a/b", "http://c/d")


def test_a_part_that_cannot_be_one_is_thrown_away(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "a.bin.part"
    for found in (DATA + b"x", bytes(len(DATA)), b"x" * 1000):
        part.write_bytes(found)
        assert download(site.file(), tmp_path).read_bytes() == DATA
        assert names(tmp_path) == ["a.bin"]
        (tmp_path / "a.bin").unlink()


def test_a_range_that_was_not_asked_for_is_not_appended(site: Site, tmp_path: Path) -> None:
    def wrong(to: Handler) -> None:
        to.head(206, Content_Range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}")
        to.wfile.write(DATA)

    file = site.file(send(DATA, upto=1000), wrong, send(DATA))
    assert download(file, tmp_path, patience=HURRY).read_bytes() == DATA
    assert site.ranges() == [None, "bytes=1000-", None]


def test_a_file_that_is_there_is_checked_without_a_request(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    assert download(site.file(), tmp_path) == path
    assert site.seen == []
    path.write_bytes(bytes(len(DATA)))
    assert download(site.file(), tmp_path).read_bytes() == DATA
    assert len(site.seen) == 1


def test_a_file_can_be_stopped(site: Site, tmp_path: Path) -> None:
    stop = threading.Event()
    file = site.file(send(DATA, upto=200_000))

    def report(count: int) -> None:
        if count > 0:
            stop.set()

    with pytest.raises(TccamError, match="stopped"):
        download(file, tmp_path, stop=stop, report=report)
    assert 0 < (tmp_path / "a.bin.part").stat().st_size <= 200_000
    began = time.monotonic()
    with pytest.raises(TccamError, match="stopped"):  # while it waits for a better time
        download(site.file(status(503, Retry_After=60)), tmp_path, stop=stop)
    assert time.monotonic() - began < 10


def test_no_connection_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.bin"
    refused(RemoteFile("a.bin", 1, md5(b"x"), url), tmp_path, r"no connection \(Connection refused")


def test_an_answer_that_is_no_http_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(HURRY.tries):
                client, _address = server.accept()
                with client:
                    client.recv(1000)
                    client.sendall(b"\xff\xfe something else\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.bin"
        refused(RemoteFile("a.bin", 1, md5(b"x"), url), tmp_path, "no connection")


def test_a_full_disk_is_named(site: Site, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(disk)]
    if os.name != "posix" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        refused(site.file(), disk, r"a.bin.part: cannot be written \(No space left on device\)")
        assert len(site.seen) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "../a"}, "plain relative path"),
        ({"name": "a/b"}, "without a folder"),
        ({"name": "."}, "without a folder"),
        ({"size": -1}, "a size in bytes, found -1"),
        ({"size": True}, "a size in bytes"),
        ({"size": 1.5}, "a size in bytes"),
        ({"checksum": "md5:12"}, "expected a checksum md5:…"),
        ({"checksum": "crc32:12345678"}, "expected a checksum md5:…"),
        ({"checksum": ""}, "expected a checksum md5:…"),
        ({"url": "file:///etc/passwd"}, "an address with http or https"),
        ({"url": "a.bin"}, "an address with http or https"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(change: dict[str, Any], match: str) -> None:
    good = RemoteFile("a.bin", 1, md5(b"x"), "https://host/a.bin")
    with pytest.raises(TccamError, match=match):
        replace(good, **change)


def test_patience_has_limits() -> None:
    with pytest.raises(TccamError, match=r"Patience\.tries"):
        Patience(tries=0)


# What a record offers


def test_what_is_known_of_the_records() -> None:
    for name, record in records().items():
        assert record.name == name
        assert record.api.startswith("https://")
        assert record.page.startswith("https://")
        assert record.doi.split("zenodo.")[1] == record.api.rsplit("/", 1)[1]
        assert record.checksums or record.unverified


def test_both_formats_of_the_api_are_read(site: Site) -> None:
    record = site.record({"a.zip": b"one", "read me.txt": b"two"})
    found = listing(record)
    assert [(file.name, file.size) for file in found.files] == [("a.zip", 3), ("read me.txt", 3)]
    assert (found.license, found.size) == ("cc-by-4.0", 6)
    links = {"self": f"{site.host}/about", "content": f"{site.host}/a.zip"}
    entry = {"key": "a.zip", "size": 3, "checksum": md5(b"one"), "links": links}
    body = json.dumps({"files": {"count": 1, "entries": {"a.zip": entry}}}).encode()
    again = listing(replace(record, api=site.offer("/new", send(body))))
    assert again.files == found.files[:1]
    assert again.license is None


GOOD = {"key": "a", "size": 1, "checksum": md5(b"x"), "links": {"self": "http://host/a"}}


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "expected a list of files in JSON, found b''"),
        (b"<html>sorry</html>", "found b'<html>sorry</html>'"),
        (b'{"files": [', "expected a list of files"),
        (b"\xff\xfe\x00", "expected a list of files"),
        (b"[" * 100_000, "expected a list of files"),
        (b"[]", "expected a list of files"),
        (b'{"files": 3}', "expected a list of files"),
        (b'{"files": [3]}', "expected a list of files"),
        (b'{"files": []}', "expected files, found none; see the page"),
        (json.dumps({"files": [{**GOOD, "size": None}]}), "a size in bytes, found None"),
        (json.dumps({"files": [{**GOOD, "key": "../a"}]}), "plain relative path"),
        (json.dumps({"files": [{**GOOD, "key": 3}]}), "expected a list of files"),
        (json.dumps({"files": [{**GOOD, "checksum": None}]}), "expected a list of files"),
        (json.dumps({"files": [{**GOOD, "links": {}}]}), "expected a list of files"),
        (json.dumps({"files": [{**GOOD, "links": {"self": "file:///a"}}]}), "http or https"),
        (json.dumps({"files": [GOOD, {**GOOD, "key": "A"}]}), "two of the same name"),
    ],
)
def test_an_answer_that_is_no_list_is_refused(body: bytes | str, match: str, site: Site) -> None:
    api = site.offer("/api", send(body if isinstance(body, bytes) else body.encode()))
    with pytest.raises(TccamError, match=match) as error:
        listing(Record("mine", "", "the page", "", "", api))
    assert str(error.value).startswith(api)
    assert "\n" not in str(error.value)


def test_an_answer_without_end_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_ANSWER", 1000)
    with pytest.raises(TccamError, match="longer than expected"):
        listing(Record("mine", "", "", "", "", site.offer("/api", send(bytes(1001)))))


def test_a_checksum_that_we_know_must_agree(site: Site) -> None:
    assert listing(site.record({"a": b"one"}, checksums={"a": md5(b"one")})).size == 3
    with pytest.raises(TccamError, match=f"a: expected {md5(b'two')}, found {md5(b'one')}"):
        listing(site.record({"a": b"one"}, checksums={"a": md5(b"two")}))


def test_a_plain_link_from_an_encrypted_api_is_refused() -> None:
    record = Record("mine", "", "", "", "", "https://host/api")
    with pytest.raises(TccamError, match="http://host/a: expected an address with https"):
        module._check_offer(record, (RemoteFile("a", 1, md5(b"x"), "http://host/a"),))


# A whole record

TRAIN = {"train_val_dataset/training/before/video_000/frame_0001.jpg": b"a frame"}
TEST = {"images/before/video_000/frame_0001.jpg": b"i", "masks/before/video_000/x_0001.png": b"m"}
WHOLE = {
    "train_val_dataset.zip": zipped(TRAIN),
    "test_set.zip": zipped(TEST),
    "README.md": b"read me",
}


def get(record: Record, folder: Path, **options: Any) -> module.Fetched:
    return fetch(record, folder, **{"patience": HURRY, "progress": False, **options})


def test_a_record_arrives_in_the_layout(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mine"
    done = get(site.record(WHOLE), folder, progress=True)
    assert done == module.Fetched(folder, (folder,), fresh=True)
    assert {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".json"
    } == {
        **TRAIN,
        **{f"test_set/{name}": data for name, data in TEST.items()},
        "README.md": b"read me",
    }
    assert names(folder.parent) == ["mine"]
    receipt = json.loads((folder / "tccam-fetched.json").read_text())
    assert receipt["record"] == "mine"
    assert receipt["license"] == "cc-by-4.0"
    assert receipt["fetched"]["README.md"] == md5(b"read me")


def test_again_it_does_nothing(site: Site, tmp_path: Path) -> None:
    record = site.record(WHOLE)
    get(record, tmp_path / "mine")
    (tmp_path / "mine" / "optical_flows").mkdir()  # what a user adds is fine
    site.seen.clear()
    site.answers.clear()
    assert get(record, tmp_path / "mine") == module.Fetched(
        tmp_path / "mine", (tmp_path / "mine",), fresh=False
    )
    assert site.seen == []


def test_what_was_lost_is_named(site: Site, tmp_path: Path) -> None:
    record = site.record(WHOLE)
    get(record, tmp_path / "mine")
    (tmp_path / "mine" / "README.md").write_bytes(b"cut")
    with pytest.raises(TccamError, match=r"found 1 missing or changed, README\.md the first"):
        get(record, tmp_path / "mine")
    (tmp_path / "mine" / "README.md").unlink()
    with pytest.raises(TccamError, match="found 1 missing or changed"):
        get(record, tmp_path / "mine")
    with pytest.raises(TccamError, match="expected other, found mine"):
        get(replace(record, name="other"), tmp_path / "mine")
    (tmp_path / "mine" / "tccam-fetched.json").write_text("{")
    with pytest.raises(TccamError, match="expected what tccam data fetch wrote"):
        get(record, tmp_path / "mine")


def test_the_folder_of_somebody_else_stays(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("long")
    with pytest.raises(TccamError, match="expected a new or empty folder, or one with mine"):
        get(site.record(WHOLE), tmp_path / "mine")
    with pytest.raises(TccamError, match="expected a new or empty folder"):
        get(site.record(WHOLE), tmp_path / "mine" / "thesis.txt")
    assert names(tmp_path) == ["mine"]
    assert names(tmp_path / "mine") == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert get(site.record(WHOLE), tmp_path / "empty").fresh


@pytest.mark.parametrize(
    ("trees", "root"),
    [
        ({"all.zip": {f"WS2/{name}": data for name, data in TRAIN.items()}}, "WS2"),
        ({"all.zip": {**TRAIN, "notes.txt": b"1"}}, "all"),
        ({"all.zip": {f"a/b/{name}": data for name, data in TRAIN.items()}}, "a/b"),
        ({"all.zip": {"something/else.jpg": b"1"}}, ""),
        ({"one.zip": TRAIN, "two.zip": TRAIN}, ""),
    ],
)
def test_the_data_folder_is_found(
    trees: dict[str, dict[str, bytes]], root: str, site: Site, tmp_path: Path
) -> None:
    record = site.record({name: zipped(tree) for name, tree in trees.items()})
    assert get(record, tmp_path / "mine").roots[0] == tmp_path / "mine" / root


def test_two_archives_of_one_folder_are_both_there(site: Site, tmp_path: Path) -> None:
    done = get(site.record({"one.zip": zipped(TRAIN), "two.zip": zipped(TRAIN)}), tmp_path / "mine")
    assert done.roots == (tmp_path / "mine", tmp_path / "mine" / "two")


def test_as_many_as_there_are_jobs_load_at_a_time(site: Site, tmp_path: Path) -> None:
    record = site.record({f"{number}.txt": b"x" for number in range(3)})
    meet = threading.Barrier(3, timeout=10)  # nobody gets an answer before three have asked
    for number in range(3):
        site.offer(f"/{number}.txt", send(b"", promise=0, then=meet.wait), send(b"x"))
    get(record, tmp_path / "mine", jobs=3)
    assert not meet.broken
    with pytest.raises(TccamError, match="jobs: expected 1 or more, got 0"):
        get(record, tmp_path / "other", jobs=0)


def test_one_failure_ends_the_others_and_keeps_their_bytes(site: Site, tmp_path: Path) -> None:
    record = site.record({"bad.bin": b"x", "good.bin": DATA})
    release = threading.Event()

    def late(to: Handler) -> None:
        part = tmp_path / "mine.download" / "files" / "good.bin.part"
        deadline = time.monotonic() + 10
        while not (part.exists() and part.stat().st_size == 100_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        to.head(404)
        release.set()

    site.offer("/bad.bin", late)
    site.offer(
        "/good.bin",
        send(DATA, upto=100_000, then=lambda: release.wait(10)),
        send(DATA),
    )
    with pytest.raises(TccamError, match=r"/bad\.bin: the server answers 404"):
        get(record, tmp_path / "mine", jobs=2, patience=Patience(delay=5))
    assert names(tmp_path) == ["mine.download"]
    site.seen.clear()
    site.offer("/bad.bin", send(b"x"))
    get(record, tmp_path / "mine")
    assert names(tmp_path) == ["mine"]
    asked = [headers.get("Range") for path, headers in site.seen if path == "/good.bin"]
    assert asked == ["bytes=100000-"]


def test_a_hostile_archive_is_not_there_and_not_fetched_twice(site: Site, tmp_path: Path) -> None:
    record = site.record({"a.zip": zipped({"../../out": b"1"}), "b.txt": b"2"})
    for requests in (3, 1):  # the second time, the list alone
        site.seen.clear()
        with pytest.raises(TccamError, match=r"a\.zip: cannot be unpacked .*plain relative path"):
            get(record, tmp_path / "mine")
        assert names(tmp_path) == ["mine.download"]
        assert len(site.seen) == requests


def test_limits_reach_the_archives(site: Site, tmp_path: Path) -> None:
    record = site.record({"a.zip": zipped({"a": bytes(10_000)})})
    with pytest.raises(TccamError, match="expected at most 9999 bytes unpacked"):
        get(record, tmp_path / "mine", limit=9999)
    assert get(record, tmp_path / "mine", limit=10_000).fresh


def test_a_disk_that_is_too_small_is_refused_before_the_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = site.record({"a.bin": DATA})
    usage = module.shutil.disk_usage(tmp_path)
    free = 2 * len(DATA)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=free - 1))
    with pytest.raises(TccamError, match=r"expected 0\.001 GB of free disk space, found 0\.001"):
        get(record, tmp_path / "mine")
    assert [path for path, _ in site.seen] == ["/api"]
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert get(record, tmp_path / "mine").fresh


def test_two_at_once_are_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.download").mkdir()
    with (
        FileLock(tmp_path / "mine.download" / "lock"),
        pytest.raises(TccamError, match="another process is fetching into it"),
    ):
        get(site.record(WHOLE), tmp_path / "mine")


def test_without_a_network_nothing_is_left(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        api = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    with pytest.raises(TccamError, match="no connection"):
        get(Record("mine", "", "", "", "", api), tmp_path / "a" / "mine")
    assert names(tmp_path) == []


# The command


def test_the_command_says_where_the_data_is(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = site.record(WHOLE)
    monkeypatch.setattr(module, "records", lambda: {"mine": record})
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "fetch", "mine", "--list"]) == 0
    assert "test_set.zip" in capsys.readouterr().out
    assert cli.main(["data", "fetch", "mine", "--list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 3
    assert names(tmp_path) == []
    assert cli.main(["data", "fetch", "mine"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'data' / 'mine'}\n"
    assert cli.main(["data", "fetch", "mine", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["fresh"] is False
    assert "all of mine is there already" in said.err
    site.offer("/api", status(404))
    assert cli.main(["data", "fetch", "mine", "--to", "other"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"tccam: {record.api}: the server answers 404 Not Found\n"


CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs us behind
from tccam import cli
from tccam.data import download
from tccam.data.download import Record
download.records = lambda: {"mine": Record("mine", "", "", "", "", sys.argv[1])}
sys.exit(cli.main(["data", "fetch", "mine", "--to", sys.argv[2]]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_ends_in_the_middle_is_taken_up(
    number: signal.Signals, site: Site, tmp_path: Path
) -> None:
    tree = {"test_set/images/before/video_000/frame_0001.jpg": DATA}
    packed = zipped(tree)
    record = site.record({"a.zip": packed})
    half, end = len(packed) // 2, threading.Event()

    def slowly(to: Handler) -> None:
        to.head(200, Content_Length=len(packed))
        to.wfile.write(packed[:half])
        for place in range(half, len(packed) - 1000):  # until the other side has gone
            to.wfile.write(packed[place : place + 1])
            to.wfile.flush()
            if end.wait(0.02):
                return

    site.offer("/a.zip", slowly, send(packed))
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), record.api, str(tmp_path / "mine")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = tmp_path / "mine.download" / "files" / "a.zip.part"
    try:
        deadline = time.monotonic() + 120
        while not (part.exists() and part.stat().st_size >= half):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.communicate()
            time.sleep(0.02)
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    finally:
        end.set()
        child.kill()
    assert out == ""
    if number == signal.SIGINT:
        assert child.returncode == 130
        assert err.endswith(
            "tccam: interrupted; the same command goes on where the last part was saved\n"
        )
        assert "Traceback" not in err
    else:
        assert child.returncode == -signal.SIGKILL
    assert names(tmp_path) == ["mine.download"]
    kept = part.stat().st_size
    assert half <= kept < len(packed)
    assert get(record, tmp_path / "mine").fresh
    assert site.ranges()[-1] == f"bytes={kept}-"
    assert names(tmp_path) == ["mine"]
    assert (tmp_path / "mine" / next(iter(tree))).read_bytes() == DATA


def test_what_an_interrupted_unpacking_left_is_not_taken_for_right(
    site: Site, tmp_path: Path
) -> None:
    ruin = tmp_path / "mine.download" / "whole" / "test_set"  # as SIGKILL leaves it
    ruin.mkdir(parents=True)
    (ruin / "half.jpg").write_bytes(b"half")
    get(site.record(WHOLE), tmp_path / "mine")
    assert not (tmp_path / "mine" / "test_set" / "half.jpg").exists()
    assert (tmp_path / "mine" / "test_set" / "images").is_dir()
