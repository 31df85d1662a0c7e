"""A file is whole or not there, whatever happens to its writer."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tccam.files import write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [b"", b"\x00\xffabc\r\n", bytes(range(256)) * 4096])
def test_what_is_written_is_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "made" / "as needed" / "file.bin"
    write_atomic(path, data)
    assert path.read_bytes() == data
    assert names(path.parent) == ["file.bin"]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"a longer text")
    write_atomic(path, b"short")
    assert path.read_bytes() == b"short"
    assert names(tmp_path) == ["file"]


def test_a_reader_keeps_the_file_that_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(step, fail)
    with pytest.raises(type(error)):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_the_name_appears_after_the_content_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "file", []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr("os.fsync", lambda fd: (seen.append(("sync", path.exists())), sync(fd)))

    def rename(source: str, target: Path) -> None:
        seen.append(("rename", path.exists()))
        assert Path(source).read_bytes() == b"new"
        assert Path(source).parent == target.parent  # one file system: one step
        replace(source, target)

    monkeypatch.setattr("os.replace", rename)
    write_atomic(path, b"new")
    assert seen == [("sync", False), ("rename", False)]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    # The module alone, without the library around it: it starts in no time.
    source = Path(sys.modules[write_atomic.__module__].__file__ or "")
    script = textwrap.dedent(f"""
        import os, runpy, signal
        from pathlib import Path
        write_atomic = runpy.run_path({str(source)!r})["write_atomic"]
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        write_atomic(Path({str(path)!r}), b"new")
    """)
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    write_atomic(path, b"newer")  # what the killed one left is in nobody's way
    assert path.read_bytes() == b"newer"


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        write_atomic(tmp_path / "file" / "below", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", b"")
    assert names(tmp_path) == ["file", "folder"]
