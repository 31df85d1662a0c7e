"""Files that are not what they should be: read, or refused in one line that names the file."""

import functools
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import textwrap
import zlib
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tccam.cli.train
from tccam import segmentation
from tccam.cli import main
from tccam.data import BeltConfig, FlowStore, write_video
from tccam.data.clip import ArrayClip
from tccam.data.dataset import FolderConfig, FolderData
from tccam.data.folder import FolderClip, open_clip, read_picture
from tccam.data.recording import import_videos, write_belt
from tccam.data.tree import scan
from tccam.data.video import VideoClip
from tccam.errors import TccamError
from tccam.files import read_state
from tccam.flow.files import read_flo, write_flo
from tccam.store import RunStore
from tccam.study import results
from tccam.training import TrainConfig, fit, load_run
from tccam.training.loop import _fabric, _network

BELT = BeltConfig(height=32, width=64, frames=12, train=1, validation=1, test=1, lead_in=4)
FRAMES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 3, 32, 40), np.uint8))


def noise(height: int = 64, width: int = 80) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@functools.cache
def good() -> dict[str, bytes]:
    """A whole file of each kind, several KB each."""
    made: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in ("belt.mp4", "belt.avi"):
            made[name] = write_video(Path(place, name), FRAMES, 12).read_bytes()
        picture, exif = Image.fromarray(noise()), Image.Exif()
        exif[0x0110] = "camera"
        for name, options in (
            ("plain_0001.jpg", {"quality": 90}),
            ("progressive_0001.jpg", {"quality": 90, "progressive": True, "exif": exif}),
            ("picture_0001.png", {}),
        ):
            picture.save(Path(place, name), **options)
            made[name] = Path(place, name).read_bytes()
        write_flo(Path(place, "flow.flo"), torch.randn(2, 16, 20))
        made["flow.flo"] = Path(place, "flow.flo").read_bytes()
        state = {"a": torch.randn(20, 20), "b": torch.arange(50)}
        made["state.safetensors"] = safetensors.torch.save(state)
        torch.save(state, Path(place, "state.pt"))
        made["state.pt"] = Path(place, "state.pt").read_bytes()
    return made


def read_video(path: Path) -> list[torch.Tensor]:
    clip = VideoClip(path)
    frames = list(clip)
    assert len(clip) == len(frames)
    return frames


def from_store(path: Path) -> object:
    return RunStore(path.parents[1]).load(path.parent.name, path.stem)


READERS = {
    ".jpg": (read_picture, lambda path: FolderClip(path.parent).frames),
    ".png": (read_picture,),
    ".mp4": (read_video,),
    ".avi": (read_video,),
    ".flo": (read_flo,),
    ".safetensors": (read_state, from_store),
    ".pt": (read_state,),
    ".toml": (tccam.cli.train._from_file,),
}


def is_read(reader, path: Path) -> bool:
    """Whether a file is read; if not, it has to be named in one line, and by nothing else."""
    try:
        reader(path)
    except TccamError as error:
        message = str(error)
    else:
        return True
    assert path.name in message
    assert "\n" not in message
    return False


@st.composite
def damaged(draw, data: bytes) -> bytes:
    """Random bytes, some behind a right beginning, or a file with flipped, lost or added ones."""
    kind = draw(st.sampled_from(["noise", "beginning", "flips", "cut", "added", "hole"]))
    if kind == "noise":
        return draw(st.binary(max_size=500))
    place = draw(st.integers(0, len(data) - 1))
    if kind == "beginning":
        return data[: min(place, 64)] + draw(st.binary(max_size=500))
    if kind == "cut":
        return data[:place]
    if kind == "added":
        return data + draw(st.binary(min_size=1, max_size=500))
    if kind == "hole":
        return (
            data[:place] + draw(st.binary(max_size=100)) + data[place + draw(st.integers(0, 999)) :]
        )
    flipped = bytearray(data)
    for at in (place, *draw(st.lists(st.integers(0, len(data) - 1), max_size=20))):
        flipped[at] ^= draw(st.integers(1, 255))
    return bytes(flipped)


@pytest.mark.parametrize("name", good())
def test_any_bytes_are_read_or_refused(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")

    @settings(max_examples=60, deadline=None)
    @given(data=damaged(good()[name]))
    def check(data):
        path = folder / name
        path.write_bytes(data)
        for reader in READERS[path.suffix]:
            is_read(reader, path)
        assert os.listdir(folder) == [name]

    check()


@pytest.mark.parametrize("name", good())
def test_a_file_cut_at_every_kilobyte_is_refused(name, tmp_path):
    whole = good()[name]
    assert len(whole) > 2000
    path = tmp_path / name
    for size in range(0, len(whole), 1024):
        path.write_bytes(whole[:size])
        if path.suffix == ".avi":  # what is before the cut is good
            frames = read_video(path) if is_read(read_video, path) else []
            assert len(frames) < len(FRAMES) or size > 0.9 * len(whole)  # but for its index
            assert all(torch.equal(*pair) for pair in zip(frames[:-1], FRAMES, strict=False))
            continue
        for reader in READERS[path.suffix]:
            assert not is_read(reader, path), size
    path.write_bytes(whole)
    assert all(is_read(reader, path) for reader in READERS[path.suffix])


@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "loop", "astray"])
@pytest.mark.parametrize("name", [*good(), "settings.toml"])
def test_what_is_no_file_is_named(name, kind, tmp_path):
    path = tmp_path / name
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "astray":
        path.symlink_to("nowhere")
    for reader in READERS[path.suffix]:
        if reader is from_store and kind in ("missing", "loop", "astray"):
            assert is_read(reader, path)
            assert reader(path) is None  # a run without weights; see test_training
        elif reader is READERS[".jpg"][1] and kind == "missing":
            with pytest.raises(TccamError, match="expected pictures"):
                reader(path)
        elif path.suffix == ".toml" and kind == "empty":
            assert reader(path) == {}
        else:
            assert not is_read(reader, path)


@pytest.mark.parametrize("opened", [open_clip, FolderClip, FolderData, scan, load_run])
def test_a_link_to_itself_is_no_folder(opened, tmp_path):
    path = tmp_path / "loop"
    path.symlink_to(path)
    given = FolderConfig(str(path)) if opened is FolderData else path
    with pytest.raises(TccamError, match="loop"):
        opened(given)


# Pictures that decode in part ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data folder of JPEGs, and a run."""
    root = tmp_path_factory.mktemp("plant")
    write_belt(BELT, root / "data", ending="jpg", progress=False)
    config = TrainConfig(data=BELT, steps=2, warmup=1, threads=1, validate_every=1)
    fit(config, store=RunStore(root / "runs"), flows=FlowStore(root / "flows"), progress=False)
    return root


@pytest.fixture
def copy(place, tmp_path, monkeypatch):
    """A copy of the data folder and the run store, in the working folder."""
    for name in ("data", "runs"):
        shutil.copytree(place / name, tmp_path / name)
    monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TCCAM_FLOWS", str(tmp_path / "flows"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = ("train", "data", "--method", "plain", "--steps", "2", "--threads", "1")


def test_a_picture_with_a_grey_half_is_found(copy, capsys):
    victim = copy / "data/train_val_dataset/training/before/video_000/frame_0006.jpg"
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    assert cv2.imread(str(victim)) is None or cv2.imread(str(victim)).shape == (32, 64, 3)
    assert main(["data", "check", "data"]) == 1
    assert "video_000/frame_0006.jpg: expected a picture, found one" in capsys.readouterr().out
    assert main(TRAIN) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("tccam: ")
    assert "frame_0006.jpg" in error
    assert main([*TRAIN, "--skip-damaged"]) == 0


# Huge sizes ---------------------------------------------------------------------------------------


def png(height: int, width: int, rows: int = 0) -> bytes:
    """A PNG of black rows, as many as there are, whatever its header says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(rows * (1 + 3 * width)), 9)
    parts = (b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def jpg(height: int, width: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    start = data.find(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def avi(height: int, width: int) -> bytes:
    data = bytearray(good()["belt.avi"])
    start = data.find(b"strf")
    data[start + 12 : start + 20] = struct.pack("<ii", width, height)
    return bytes(data)


HEADER = b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
HUGE = {
    "a_0001.png": png(60_000, 60_000), "b_0001.png": png(30_000, 30_000),
    "c_0001.png": png(2**31 - 1, 2**31 - 1), "bomb_0001.png": png(10_000, 10_000, 10_000),
    "d_0001.jpg": jpg(65_535, 65_535), "e_0001.jpg": jpg(30_000, 30_000),
    "f.flo": b"PIEH" + struct.pack("<ii", 2**30, 2**30) + bytes(100),
    "g.flo": b"PIEH" + struct.pack("<ii", 99_999, 99_999) + bytes(100),
    "h.safetensors": struct.pack("<Q", 2**40) + b"{}",
    "i.safetensors": struct.pack("<Q", 99_000_000) + b"{}",
    "j.safetensors": struct.pack("<Q", len(HEADER)) + HEADER,
    "k.avi": avi(16_000, 16_000),
    "l.gif": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\x80\0\0" + bytes(6) + b"\x2c"
    + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x44\x01\0;",
}  # fmt: skip


def test_memory_is_not_taken_for_what_a_header_promises(tmp_path):
    for name, data in HUGE.items():
        (tmp_path / name).write_bytes(data)
    script = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from tccam.data.folder import read_picture
        from tccam.data.video import VideoClip
        from tccam.errors import TccamError
        from tccam.files import read_state
        from tccam.flow.files import read_flo
        readers = {".png": read_picture, ".jpg": read_picture, ".flo": read_flo,
                   ".safetensors": read_state, ".avi": VideoClip, ".gif": VideoClip}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for path in sorted(Path(sys.argv[1]).iterdir()):
            try:
                readers[path.suffix](path)
            except TccamError as error:
                assert path.name in str(error) and "\\n" not in str(error)
            else:
                raise SystemExit(f"{path.name} was read")
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
            assert grown < 150, f"{path.name} took {grown} MB"
        print("refused")
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.stdout == "refused\n", done.stderr[-1000:]


# No code is run -----------------------------------------------------------------------------------


class Bomb:
    """A pickle that makes a folder where it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("packed", [pickle.dumps, "torch"])
def test_a_pickle_in_the_place_of_tensors_is_never_run(packed, copy):
    mark = copy / "it was run"
    if packed == "torch":
        torch.save({"a": torch.zeros(2), "b": Bomb(mark)}, copy / "bomb.pt")
        bomb = (copy / "bomb.pt").read_bytes()
    else:
        bomb = packed(Bomb(mark))
        pickle.loads(bomb)  # it would, by who reads it so
        mark.rmdir()
    for name in ("a.pt", "a.pth", "a.safetensors"):
        (copy / name).write_bytes(bomb)
        assert not is_read(read_state, copy / name)
        with pytest.raises(TccamError, match=name):
            _network(TrainConfig.preset(weights=name))
    (folder,) = (path.parent for path in (copy / "runs").glob("*/run.json"))
    run = load_run(folder)
    clip = ArrayClip(FRAMES)
    segmentation.segment_files(run, clip, copy / "masks", 0.5, window=None, progress=False)
    (copy / "masks/.background.safetensors").write_bytes(bomb)
    with pytest.raises(TccamError, match="background"):
        segmentation.segment_files(run, clip, copy / "masks", 0.5, window=None, progress=False)
    flows = FlowStore(copy / "flows")
    kept = flows.get(clip, "farneback", 16, progress=False)
    (file,) = (copy / "flows").iterdir()
    file.write_bytes(bomb)
    assert torch.equal(flows.get(clip, "farneback", 16, progress=False).flow, kept.flow)
    for name in ("weights.safetensors", "run.json"):
        (folder / name).write_bytes(bomb)
        with pytest.raises(TccamError, match=folder.name):
            load_run(folder)
    for record in (folder / "run.json", folder / "weights.safetensors"):
        record.unlink()
    (folder / "checkpoint.safetensors").write_bytes(bomb)
    with pytest.raises(TccamError, match=r"checkpoint\.safetensors"):
        fit(run.config, store=RunStore(copy / "runs"), progress=False)
    assert not mark.exists()


def test_a_checkpoint_of_another_network_is_named(copy):
    (folder,) = (path.parent for path in (copy / "runs").glob("*/run.json"))
    run = load_run(folder)
    for name in ("run.json", "weights.safetensors"):
        (folder / name).unlink()
    for tensors in ({"a": torch.zeros(1)}, {"network.classifier.weight": torch.zeros(3)}):
        RunStore(copy / "runs").save(folder.name, "checkpoint", tensors)
        with pytest.raises(TccamError, match=r"checkpoint\.safetensors.*delete it") as caught:
            fit(run.config, store=RunStore(copy / "runs"), progress=False)
        assert "\n" not in str(caught.value)


# Records and settings: every value in turn is one that cannot be ----------------------------------

WRONG = (None, True, -1, 0, 1.5, 10**30, "", "a\nb", [], [[1]], {}, {"a": 1}, float("nan"))


def places(record: object, way: tuple = ()) -> list[tuple]:
    """The ways to every value of a record; of a list to its first one."""
    found = [way]
    if isinstance(record, dict):
        for key, value in record.items():
            found += places(value, (*way, key))
    elif isinstance(record, list) and record:
        found += places(record[0], (*way, 0))
    return found


def changed(record, way: tuple, value):
    """A copy of a record with another value there; without it when that is Ellipsis."""
    if not way:
        return value
    copy = json.loads(json.dumps(record))
    inner = functools.reduce(lambda part, key: part[key], way[:-1], copy)
    if value is ...:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return copy


def fuzz(path: Path, read, named: str, draws: int) -> None:
    """Read a record with random changes, cut off, and nested too deep."""
    whole = path.read_bytes()
    record = json.loads(whole)
    random_ = random.Random(0)
    cases = [
        (way, value) for way in places(record) for value in (*WRONG, ...) if way or value != ...
    ]
    for way, value in random_.sample(cases, min(draws, len(cases))):
        path.write_text(json.dumps(changed(record, way, value)))
        refused(read, named, (way, value))
    for data in (b"", b"\xff\xfe", b"[" * 100_000, whole[: len(whole) // 2], whole[:1024]):
        path.write_bytes(data)
        refused(read, named, data[:20])
    path.write_bytes(whole)
    read()


def refused(read, named: str, case: object) -> None:
    message = named
    try:
        read()
    except TccamError as error:
        message = str(error)
    assert named in message, case
    assert "\n" not in message, case


def test_the_record_of_a_run(copy):
    (record,) = (copy / "runs").glob("*/run.json")
    fuzz(record, lambda: load_run(record.parent), record.parent.name, 250)


def test_the_state_of_masks(copy):
    (record,) = (copy / "runs").glob("*/run.json")
    run = load_run(record.parent)

    def read():
        clip = ArrayClip(FRAMES[:3])
        segmentation.segment_files(run, clip, copy / "masks", 0.5, window=None, progress=False)

    read()
    fuzz(copy / "masks/segment.json", read, "masks", 60)


def test_the_record_of_an_import(copy):
    write_video("a.avi", FRAMES, 5)

    def read():
        import_videos(["a.avi"], "made", label="before", clip_frames=4, progress=False)

    read()
    fuzz(copy / "made/train_val_dataset/training/before/a_000/.tccam.json", read, "a_000", 100)


def test_the_files_of_a_study(tmp_path):
    source = results.folders()[0]
    for file in source.glob("smoke*"):
        shutil.copy(file, tmp_path)
    score = list(results.load("smoke", tmp_path)["rows"][0])[-1]

    def read():
        results.compare(results.load("smoke", tmp_path), score)

    fuzz(tmp_path / "smoke.json", read, "smoke", 250)

    @settings(max_examples=100, deadline=None)
    @given(data=damaged((tmp_path / "smoke.csv").read_bytes()))
    def check(data):
        (tmp_path / "smoke.csv").write_bytes(data)
        message = score
        try:
            read()
        except TccamError as error:
            message = str(error)
        assert any(name in message for name in ("smoke", "score", score))

    check()


TOML = (
    "nan", "inf", "-1", "0", "2.0", "1.5", "99999999999999999999", "true", '""', '"x"', '"a\\nb"',
    "[]", "[0.1]", '["a", "b", "c", "d"]', "{}", "{a = 1}", "1979-05-27", '"/"',
)  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in fields(TrainConfig) if f.name != "data"])
def test_a_setting_that_cannot_be_is_named(field, copy, monkeypatch, capsys):
    def start(config, **_):  # all of a training but its steps
        _fabric(config)
        _network(config)
        raise TccamError("accepted")

    monkeypatch.setattr("tccam.training.fit", start)
    for value in TOML:
        (copy / "settings.toml").write_text(f"{field} = {value}\n")
        assert main(["train", "data", "--config", "settings.toml"]) == 1
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("tccam: ")
        assert field in line or line == "tccam: accepted", (value, line)
        kind = TrainConfig.__dataclass_fields__[field].type
        if kind == "bool" and value != "true":
            assert field in line, value


@settings(max_examples=150, deadline=None)
@given(data=st.one_of(st.binary(max_size=200), damaged(b"steps = 3\njitter = [0.1, 0, 0, 0]\n")))
def test_any_bytes_as_settings(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "settings.toml")
        path.write_bytes(data)
        is_read(tccam.cli.train._from_file, path)


def test_settings_that_are_nested_too_deep(tmp_path):
    for name, data in (("a.toml", "a = " + "[" * 100_000), ("a.json", "[" * 100_000)):
        (tmp_path / name).write_text(data)
        assert not is_read(tccam.cli.train._from_file, tmp_path / name)


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Förder band 傳送帶", "a:b 'c' \"d\" $e", os.fsdecode(b"no text \xff")],
    ids=["script", "signs", "no text"],
)
def test_names_of_any_script(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / name / "runs"))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / name / "data"
    write_belt(BELT, root, progress=False)
    for video in root.glob("train_val_dataset/*/*/*"):
        for picture in video.glob("*.png"):
            picture.rename(picture.with_name(f"{name}_{picture.stem[-4:]}.png"))
    (root / f"{name} stray").touch()
    assert main(["data", "check", str(root)]) == 0
    write_video(tmp_path / "plain.avi", FRAMES, 5).rename(tmp_path / f"{name}.avi")
    importing = ["data", "import", f"{name}.avi", "--to", str(tmp_path / name / "new")]
    if not name.isprintable():  # OpenCV crashes where such a path is no text
        assert main([*importing, "--label", "before"]) == 1
        assert "expected a path of UTF-8 text" in capsys.readouterr().err
        return
    assert main([*importing, "--label", "before"]) == 0
    assert main(["train", str(root), *TRAIN[2:], "--json"]) == 0
    key = json.loads(capsys.readouterr().out.splitlines()[-1])["run"]
    out = str(tmp_path / f"{name}.mp4")
    assert main(["segment", key, f"{name}.avi", "-o", out, "--flow", "none"]) == 0
    assert len(VideoClip(out)) == len(FRAMES)
