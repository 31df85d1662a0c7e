"""An archive is unpacked whole and inside its folder, or not at all."""

import gzip
import io
import os
import random
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tccam.data import archive as module
from tccam.data.archive import archive_stem, inside, unpack
from tccam.errors import TccamError

Tree = dict[str, bytes]

FRAMES: Tree = {
    "before/video_000/frame_0001.jpg": random.Random(0).randbytes(3000),
    "before/video_000/frame_0002.jpg": b"",
    "after/vidéo 一/frame 0001.jpg": b"\x00\xff" * 700,
}
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


def pack(path: Path, tree: Tree) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in tree.items():
                made.writestr(name, data)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as made:
        for name, data in tree.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path


def pack_odd(path: Path, *odd: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as made:
        for info in odd:
            made.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def odd(name: str, kind: bytes, to: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def held(folder: Path) -> Tree:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(path: Path, match: str, **options: float) -> None:
    """Unpacking raises one line that names the archive, and leaves everything as it was."""
    place = path.parent
    before = held(place)
    with pytest.raises(TccamError, match=match) as error:
        unpack(path, place / "out", **options)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert held(place) == before
    assert not (place / "out").exists()
    assert [p.name for p in place.iterdir() if p.is_dir()] == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_packed_is_there(suffix: str, tmp_path: Path) -> None:
    path = pack(tmp_path / f"frames{suffix}", FRAMES)
    folder = unpack(path, tmp_path / "made" / "as needed" / "out", progress=True)
    assert held(folder) == FRAMES
    assert [entry.name for entry in folder.parent.iterdir()] == ["out"]
    (tmp_path / "new").mkdir()
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "new").stat().st_mode)


NAMES = st.text(st.characters(exclude_characters='/\\:*?"<>|', exclude_categories=["C"]))
NAMES = NAMES.filter(lambda name: name not in ("", ".", "..") and len(name.encode()) < 100)


@settings(max_examples=25, deadline=None)
@given(tree=st.dictionaries(NAMES, st.binary(max_size=2000)), suffix=st.sampled_from(SUFFIXES))
def test_any_files_come_back(tree: Tree, suffix: str, tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("any")
    assert held(unpack(pack(place / f"a{suffix}", tree), place / "out")) == tree


HOSTILE = [
    "../out.txt",
    "a/../../out.txt",
    "a/..",
    "/tmp/out.txt",
    "//host/share/out.txt",
    "C:\\out.txt",
    "C:out.txt",
    "..\\out.txt",
    "a\\b.txt",
    "frame.jpg:stream",
    "line\nbreak",
    "bell\x07",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(TccamError, match="expected a plain relative path"):
        inside(name)
    for suffix in (".zip", ".tar"):
        place = tmp_path / suffix
        place.mkdir()
        refused(pack(place / f"a{suffix}", {"good.txt": b"1", name: b"2"}), "plain relative path")


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        (tarfile.SYMTYPE, "../../elsewhere"),
        (tarfile.SYMTYPE, "good.txt"),
        (tarfile.LNKTYPE, "good.txt"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CONTTYPE, ""),
        (tarfile.GNUTYPE_SPARSE, ""),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, to: str, tmp_path: Path) -> None:
    refused(
        pack_odd(tmp_path / "a.tar", tarfile.TarInfo("good.txt"), odd("bad", kind, to)),
        "link, device or sparse file|cannot be unpacked",
    )


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(mode: int, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("bad")
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", "'bad': expected a file, found a link or device")


def test_a_file_below_a_link_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("door/out.txt")
    path = pack_odd(tmp_path / "a.tar", odd("door", tarfile.SYMTYPE, str(tmp_path)), info)
    refused(path, "'door': expected a file, found a link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("twin", ["a/one.txt", "./a/one.txt", "a//one.txt"])
def test_two_of_one_name_are_refused(suffix: str, twin: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as made:
            made.writestr("a/one.txt", "1")
            made.writestr(twin, "2")
    else:
        pack_odd(path, tarfile.TarInfo("a/one.txt"), tarfile.TarInfo(twin))
    refused(path, "there are two of this name")


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_that_is_a_folder_too_is_refused(
    suffix: str, names: tuple[str, str], tmp_path: Path
) -> None:
    refused(pack(tmp_path / f"a{suffix}", dict.fromkeys(names, b"1")), "cannot be unpacked")


def test_a_file_without_a_name_is_refused(tmp_path: Path) -> None:
    refused(pack_odd(tmp_path / "a.tar", tarfile.TarInfo(".")), "expected a file, found none")


def test_what_a_mac_adds_is_left_out(tmp_path: Path) -> None:
    tree = {"set/frame_1.png": b"1", "__MACOSX/set/._frame_1.png": b"2"}
    assert held(unpack(pack(tmp_path / "a.zip", tree), tmp_path / "out")) == {
        "set/frame_1.png": b"1"
    }


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"secret.txt": b"1"})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    refused(path, "'secret.txt': expected a file, found an encrypted entry")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_that_is_cut_off_anywhere_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = pack(tmp_path / f"whole{suffix}", FRAMES).read_bytes()
    path = tmp_path / f"a{suffix}"
    end = len(whole)
    if suffix == ".tar":  # what is behind the first empty block is padding
        end = 512 + 3072 + 512 + 512 + 1536 + 1024  # headers, contents; a long name has two more
    places = {0, 1, 100, 511, 512, 513, 3584, end // 2, end - 600, end - 2000}
    (tmp_path / f"whole{suffix}").unlink()
    for place in sorted(p for p in places if 0 <= p < end):
        path.write_bytes(whole[:place])
        refused(path, "cannot be unpacked")


def test_a_tar_that_ends_between_two_entries_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {"one": bytes(512), "two": bytes(512)})
    path.write_bytes(path.read_bytes()[: 4 * 512])
    refused(path, "it is cut off")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar"])
def test_damage_is_found_or_harmless(suffix: str, tmp_path: Path) -> None:
    whole = pack(tmp_path / f"a{suffix}", FRAMES).read_bytes()
    draws = random.Random(1)
    place = tmp_path / "deep" / "er"
    place.mkdir(parents=True)
    refusals = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(draws.choice([1, 1, 4])):
            data[draws.randrange(len(data))] = draws.randrange(256)
        path = place / f"a{suffix}"
        path.write_bytes(data)
        try:
            unpack(path, place / "out")
        except TccamError:
            refusals += 1
            assert {p.name for p in place.iterdir()} == {path.name}
        else:
            module.shutil.rmtree(place / "out")
        assert {p.name for p in tmp_path.iterdir()} == {f"a{suffix}", "deep"}
        assert {p.name for p in place.parent.iterdir()} == {"er"}
    assert refusals > 0


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_bomb_is_refused_before_it_is_written(suffix: str, tmp_path: Path) -> None:
    path = pack(tmp_path / f"a{suffix}", {"zeros": bytes(40 * 2**20)})
    assert path.stat().st_size < 50_000
    refused(path, "expected at most 16777216 bytes unpacked, found more")
    assert len(held(unpack(path, tmp_path / "out", ratio=2000))["zeros"]) == 40 * 2**20


def test_the_limit_is_exact(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"one": bytes(5000), "two": b""})
    refused(path, "expected at most 9095 bytes", limit=5000 + 4095)
    assert unpack(path, tmp_path / "out", limit=5000 + 4096).is_dir()


def test_many_empty_files_are_not_for_nothing(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tgz", {f"{number}": b"" for number in range(4097)})
    refused(path, "found more: a bomb", ratio=1)


def test_a_long_header_is_not_read_into_memory(tmp_path: Path) -> None:
    info = odd("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = 64 * 2**20
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(b"a" * 2**20)
    refused(path, "a header of 671")


def test_a_size_below_zero_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("less")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    refused(tmp_path / "a.tar", "'less': expected a file")


def test_a_disk_that_is_too_small_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", {"one": bytes(5000), "two": b""})
    usage = module.shutil.disk_usage(tmp_path)
    free = 5000 + 4096
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=free - 1))
    refused(path, "GB of free disk space")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert unpack(path, tmp_path / "out").is_dir()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if os.name != "posix" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_is_named(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(small_disk / "a.zip", {"before": b"1", "zeros": bytes(2**21)})
    monkeypatch.setattr(module, "check_space", lambda *_: None)  # another process fills it
    refused(path, "No space left on device")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_an_interrupted_unpacking_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", FRAMES)
    copy, calls = module.shutil.copyfileobj, []

    def fail(*args: object) -> None:
        calls.append(sorted(p.name for p in tmp_path.iterdir()))
        if len(calls) == 3:
            raise error
        copy(*args)

    monkeypatch.setattr(module.shutil, "copyfileobj", fail)
    with pytest.raises((KeyboardInterrupt, TccamError)):
        unpack(path, tmp_path / "out")
    assert all("out" not in names for names in calls)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", FRAMES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(TccamError, match="exists already; expected the name of a new folder"):
        unpack(path, tmp_path / "out")
    assert held(tmp_path / "out") == {"mine.txt": b"mine"}


@pytest.mark.parametrize("name", ["a.rar", "a", "zip", ".zip"])
def test_another_kind_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something")
    refused(tmp_path / name, "cannot be unpacked")


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.zip", "No such file")


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.zip", "a"), ("A.B.TAR.GZ", "A.B"), ("a.tgz", "a"), ("a.tar", "a"), ("a.gz", None)],
)
def test_stems(name: str, stem: str | None) -> None:
    assert archive_stem(name) == stem
