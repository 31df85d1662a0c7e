"""Recordings and the belt become data folders: the right frames, whole folders, again and again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from tccam.cli import main
from tccam.data import recording
from tccam.data.belt import BeltConfig, SyntheticBelt
from tccam.data.folder import FolderClip, read_picture
from tccam.data.recording import import_videos, safe_name, write_belt
from tccam.data.tree import scan
from tccam.data.video import VideoClip, write_video
from tccam.errors import TccamError
from tccam.flow.files import read_flo

GIF = Path(__file__).parents[3] / "shared" / "real_belt" / "fruit-and-vegetable.gif"
TRAIN, VALID = "train_val_dataset/training/before", "train_val_dataset/validation/before"
TINY = BeltConfig(
    height=32,
    width=48,
    frames=9,
    lead_in=2,
    train=2,
    validation=1,
    test=1,
    speed=12,
    objects=0.5,
    seed=1,
)


def numbered(path: Path, count: int, fps: float, height: int = 32, width: int = 48) -> Path:
    """A video whose frame k, from 1, has the grey level 20·k, and after 12 of them again."""
    levels = 20 * (torch.arange(count) % 12 + 1)
    frames = levels.byte().reshape(-1, 1, 1, 1).expand(-1, 3, height, width)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, frames, fps)


def frames_in(folder: Path) -> dict[int, int]:
    """Number → frame of the numbered video, told from its grey level."""
    clip = FolderClip(folder)
    levels = [float(frame.float().mean()) for frame in clip]
    return {n: round(level / 20) for n, level in zip(clip.numbers, levels, strict=True)}


def bytes_in(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def bring(videos: Sequence[Path], root: Path, **how):
    return import_videos(videos, root, **{"label": "before", "progress": False} | how)


@pytest.fixture
def video(tmp_path) -> Path:
    """Twelve frames at 25 a second."""
    return numbered(tmp_path / "belt.avi", 12, 25)


# Which frames


def test_all_frames_in_order(video, tmp_path):
    (made,) = bring([video], tmp_path / "data")
    assert (made.path, made.frames, made.new) == (tmp_path / "data" / TRAIN / "belt", 12, True)
    assert frames_in(made.path) == {k: k for k in range(1, 13)}
    assert (made.path / "frame_0001.jpg").is_file()


def test_a_lossless_import_gives_the_frames_back(tmp_path):
    frames = torch.randint(0, 256, (3, 3, 32, 48), dtype=torch.uint8)
    video = write_video(tmp_path / "noise.avi", frames, 10)
    (made,) = bring([video], tmp_path / "data", ending="png")
    assert torch.equal(FolderClip(made.path).frames, VideoClip(video).frames)


@pytest.mark.parametrize(
    ("fps", "taken"),
    [
        # Frame k is at 40·(k−1) ms; ticks every 100 ms take the first at or after them.
        (10, [1, 4, 6, 9, 11]),
        (12.5, [1, 3, 5, 7, 9, 11]),
        (5, [1, 6, 11]),
        (1, [1]),
        (25, list(range(1, 13))),
        # Ticks every 43.5 ms: frame 2, at 40 ms, is early by less than 10 ms, a quarter of a frame;
        # frame 4, at 120 ms for a tick at 130.4 ms, by more.
        (23, [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]),
        (100, list(range(1, 13))),  # none is taken twice
        (None, list(range(1, 13))),
    ],
)
@pytest.mark.parametrize("ending", [".avi", ".mp4"])
def test_frames_are_taken_by_time(tmp_path, fps, taken, ending):
    video = numbered(tmp_path / f"belt{ending}", 12, 25)
    (made,) = bring([video], tmp_path / "data", fps=fps)
    assert frames_in(made.path) == dict(enumerate(taken, 1))


@pytest.mark.parametrize("rate", [30, 29.97, 24, 12.5])
def test_half_of_the_frames_a_second_is_every_second_frame(tmp_path, rate):
    # 29.97 and 30 frames a second have times that no container holds exactly.
    video = numbered(tmp_path / "belt.mp4", 50, rate)
    (made,) = bring([video], tmp_path / "data", fps=rate / 2)
    assert frames_in(made.path) == {k + 1: 2 * k % 12 + 1 for k in range(25)}


def test_a_real_gif(tmp_path):
    if not GIF.is_file():
        pytest.skip("no real belt was tested: fruit-and-vegetable.gif is absent")
    (made,) = bring([GIF], tmp_path / "data", fps=1, size=27, ending="png")
    clip = FolderClip(made.path)
    # 101 frames of 60 or 70 ms, 6.7 s: seven ticks. Frame 15 is at 1.0 s.
    assert (len(clip), clip.size) == (7, (27, 48))
    second = VideoClip(GIF)[15].permute(1, 2, 0).numpy()
    small = cv2.resize(second, (48, 27), interpolation=cv2.INTER_AREA)
    assert np.array_equal(clip[1].permute(1, 2, 0), small)


def test_a_folder_of_pictures_keeps_its_numbers_and_gaps(tmp_path):
    folder = tmp_path / "camera 1"
    folder.mkdir()
    for number in (3, 4, 9):
        cv2.imwrite(str(folder / f"img_{number}.png"), np.full((8, 8, 3), 20 * number, np.uint8))
    (made,) = bring([folder], tmp_path / "data")
    assert made.path.name == "camera 1"
    assert frames_in(made.path) == {3: 3, 4: 4, 9: 9}
    with pytest.raises(TccamError, match="camera 1: it does not know its frame rate; leave fps"):
        bring([folder], tmp_path / "other", fps=5)


@pytest.mark.parametrize(
    ("size", "expected"), [(16, (16, 24)), ((20, 30), (20, 30)), (None, (32, 48)), (64, (64, 96))]
)
def test_size(video, tmp_path, size, expected):
    (made,) = bring([video], tmp_path / "data", size=size)
    assert FolderClip(made.path).size == expected


def test_the_shorter_side_of_an_upright_picture_is_its_width(tmp_path):
    video = numbered(tmp_path / "upright.avi", 2, 10, height=48, width=32)
    (made,) = bring([video], tmp_path / "data", size=16)
    assert FolderClip(made.path).size == (24, 16)


# Clips and splits


def test_clips_are_numbered_through(video, tmp_path):
    made = bring([video], tmp_path / "data", clip_frames=5)
    assert [written.path.name for written in made] == ["belt_000", "belt_001", "belt_002"]
    assert [list(frames_in(written.path)) for written in made] == [
        [1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12],
    ]  # fmt: skip


def test_the_end_of_each_video_is_for_validation(tmp_path):
    videos = [numbered(tmp_path / f"{name}.avi", 10, fps) for name, fps in (("a", 10), ("b", 12))]
    made = bring(videos, tmp_path / "data", clip_frames=2, validation=0.2)
    root = tmp_path / "data"
    for name in ("a", "b"):
        # Frame 8 is left out: 7 and 9 are no neighbours.
        parts = {k: list(frames_in(root / TRAIN / f"{name}_00{k}")) for k in range(4)}
        assert parts == {0: [1, 2], 1: [3, 4], 2: [5, 6], 3: [7]}
        assert frames_in(root / VALID / f"{name}_004") == {9: 9, 10: 10}
    assert len(made) == 10


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("clip_frames", [1, 2, 5, 7, 11])
@pytest.mark.parametrize("apart", [1, 3])
def test_no_frame_has_a_neighbour_in_the_other_split(video, tmp_path, share, clip_frames, apart):
    how = {"clip_frames": clip_frames, "validation": share, "apart": apart}
    clips = -(-12 // clip_frames)
    seam = clip_frames * (clips - min(clips - 1, max(1, round(share * clips))))
    if seam <= apart:
        with pytest.raises(TccamError, match=f"apart: {apart} of {seam} frames leave none"):
            bring([video], tmp_path, **how)
        return
    made = bring([video], tmp_path, **how)
    numbers: dict[str, list[int]] = {"training": [], "validation": []}
    for written in made:
        numbers[written.path.parts[-3]] += frames_in(written.path)
    assert min(numbers["validation"]) - max(numbers["training"]) == apart + 1
    assert len(numbers["training"]) + len(numbers["validation"]) == 12 - apart
    assert numbers["validation"][-1] == 12


def test_a_video_of_one_clip_is_for_training(video, tmp_path):
    (made,) = bring([video], tmp_path / "data", clip_frames=20, validation=0.5)
    assert (made.path.parts[-3], made.frames) == ("training", 12)


@pytest.mark.parametrize(
    ("label", "split", "place"),
    [
        ("after", "training", "train_val_dataset/training/after"),
        ("bg", "validation", "train_val_dataset/validation/bg"),
        ("before", "test", "test_set/images/before"),
        ("bg", "test", "test_set/images/bg"),
    ],
)
def test_where_it_goes(video, tmp_path, label, split, place):
    root = tmp_path / "data"
    (made,) = bring([video], root, label=label, split=split)
    assert made.path == root / place / "belt"
    survey = scan(root, progress=False)
    assert [(v.label, v.split, v.frames) for v in survey.videos] == [(label, split, 12)]
    assert not [p for p in survey.problems if p.kind == "stray"]


# Names


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("video_000", "video_000"), ("Förderband 3", "Förderband 3"), ("带 前", "带 前"),
        ("a/b\\c:d*e?f\"g<h>i|j", "a_b_c_d_e_f_g_h_i_j"), ("line\nbreak\x00", "line_break_"),
        (".hidden", "hidden"), ("..", "_"), ("", "_"), ("  ", "_"), ("end. ", "end"),
        ("con", "_con"), ("NUL.old", "_NUL.old"), ("confetti", "confetti"), ("é", "é"),
        ("x" * 300, "x" * 200), ("ü" * 300, "ü" * 100),
        ("\udcff", "_"),
    ],
)  # fmt: skip
def test_names_by_hand(name, safe):
    assert safe_name(name) == safe


@given(st.text())
def test_any_name_is_safe_and_stays_so(name):
    safe = safe_name(name)
    assert safe_name(safe) == safe
    assert 0 < len(safe.encode()) <= 201
    assert not set(safe) & set('<>:"/\\|?*\0\n')
    assert safe[0] not in ". "
    assert safe[-1] not in ". "


def test_unicode_and_spaces_survive(tmp_path, capsys):
    video = numbered(tmp_path / "Förderband 3 后.mp4", 3, 10)
    root = tmp_path / "my data ü"
    assert main(["data", "import", str(video), "--to", str(root), "--label", "after"]) == 0
    assert "Förderband 3 后" in capsys.readouterr().out
    assert len(FolderClip(root / "train_val_dataset/training/after/Förderband 3 后")) == 3


def test_two_videos_of_one_name(tmp_path):
    videos = [numbered(tmp_path / name, 2, 10) for name in ("a/belt.avi", "b/BELT.avi")]
    with pytest.raises(TccamError, match=r"BELT\.avi: it is named 'BELT', and so is .*belt\.avi"):
        bring(videos, tmp_path / "data")
    assert not (tmp_path / "data").exists()


# Again


def test_what_is_there_is_left_alone(video, tmp_path):
    how = {"clip_frames": 5, "fps": 12.5, "size": (16, 16), "validation": 0.3}
    first = bring([video], tmp_path / "data", **how)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    again = bring([video], tmp_path / "data", **how)
    assert [w.new for w in first] == [True, True]
    assert [(w.path, w.frames, w.new) for w in again] == [(w.path, w.frames, False) for w in first]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == stamps


def test_what_is_there_is_not_decoded_again(video, tmp_path, monkeypatch):
    bring([video], tmp_path / "data", clip_frames=5)
    shutil.rmtree(tmp_path / "data" / TRAIN / "belt_001")
    saved = []
    save = recording._save
    monkeypatch.setattr(recording, "_save", lambda *a: (saved.append(a[-1].name), save(*a)))
    assert [w.new for w in bring([video], tmp_path / "data", clip_frames=5)] == [False, True, False]
    assert saved == [f"frame_{k:04d}" for k in range(6, 11)]


def test_a_video_that_has_moved_is_still_the_same(video, tmp_path):
    bring([video], tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    (moved,) = bring([Path(shutil.move(video, tmp_path / "elsewhere"))], tmp_path / "data")
    assert not moved.new


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fps": 5}, "belt: it was made with another fps, None, now 5;"),
        ({"size": 16}, "another size, None, now 16;"),
        ({"ending": "png"}, "another ending, 'jpg', now 'png';"),
        ({"clip_frames": 5}, "another clip_frames, None, now 5;"),
        ({"split": "test"}, "another split, 'training', now 'test';"),
        ({"label": "after"}, "another label, 'before', now 'after';"),
    ],
)
def test_another_way_is_refused(video, tmp_path, changed, message):
    bring([video], tmp_path / "data")
    before = bytes_in(tmp_path / "data")
    with pytest.raises(TccamError, match=message):
        bring([video], tmp_path / "data", **changed)
    assert bytes_in(tmp_path / "data") == before


def test_another_video_of_the_name_is_refused(video, tmp_path):
    bring([video], tmp_path / "data")
    numbered(video, 11, 25)
    with pytest.raises(TccamError, match="belt: it was made with another recording"):
        bring([video], tmp_path / "data")


@pytest.mark.parametrize("how", [{}, {"clip_frames": 5}])
@pytest.mark.parametrize("name", ["copy", "belt_000", "bel", "belt 2"])
def test_a_renamed_copy_is_refused(video, tmp_path, name, how):
    """Its frames would be there twice, in two splits perhaps."""
    root = tmp_path / "data"
    bring([video], root, **how)
    before = bytes_in(root)
    copy = shutil.copy(video, video.with_stem(name))
    for label in ("before", "after"):
        with pytest.raises(TccamError, match=rf"this is the recording that is now named '{name}'"):
            bring([copy], root, label=label, **how)
    assert bytes_in(root) == before
    assert not any(made.new for made in bring([video], root, **how))


def test_a_copy_named_as_a_clip_is_refused(video, tmp_path):
    bring([shutil.copy(video, video.with_stem("belt_000"))], tmp_path / "data")
    with pytest.raises(TccamError, match="belt_000: this is the recording that is now named"):
        bring([video], tmp_path / "data")


@pytest.mark.parametrize("content", ["nothing", "frame_0001.png", ".tccam.json"])
def test_a_folder_of_someone_else_is_refused(video, tmp_path, content):
    folder = tmp_path / "data" / TRAIN / "belt"
    folder.mkdir(parents=True)
    if content != "nothing":
        (folder / content).write_text("{}")
    with pytest.raises(TccamError, match="belt: it is there, and was not made by tccam"):
        bring([video], tmp_path / "data")


def test_the_record_is_no_frame_and_no_problem(video, tmp_path):
    (made,) = bring([video], tmp_path)
    assert (made.path / ".tccam.json").is_file()
    assert len(FolderClip(made.path)) == 12
    record = json.loads((made.path / ".tccam.json").read_text())
    assert str(tmp_path) not in json.dumps(record)


# Interrupted

KILLED = textwrap.dedent("""
    import os, signal, sys
    from tccam.data import recording
    video, root, *points = sys.argv[1:]
    save, saved = recording._save, 0

    def deadly(*arguments):
        global saved
        saved += 1
        if saved == point:
            path = arguments[-1].with_suffix(".jpg")
            path.write_bytes(b"half a picture")
            os.kill(os.getpid(), signal.SIGKILL)
        save(*arguments)

    recording._save = deadly
    for point in map(int, points):
        child = os.fork()
        if not child:
            recording.import_videos([video], f"{root}/{point}", label="before", clip_frames=4,
                validation=0.3, progress=False)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
""")


def test_an_import_that_was_killed_goes_on_to_the_same_bytes(video, tmp_path):
    how = {"clip_frames": 4, "validation": 0.3}
    bring([video], tmp_path / "whole", **how)
    expected = bytes_in(tmp_path / "whole")
    points = {1: 0, 4: 0, 5: 1, 7: 1, 11: 2}  # at which picture → complete folders by then
    script = [sys.executable, "-c", KILLED, str(video), str(tmp_path), *map(str, points)]
    subprocess.run(script, check=True)
    for point, complete in points.items():
        root = tmp_path / str(point)
        seen = sorted(p.name for place in (TRAIN, VALID) for p in (root / place).glob("[!.]*"))
        assert seen == [f"belt_00{k}" for k in range(complete)]
        whole = {name: data for name, data in bytes_in(root).items() if "/.belt" not in name}
        assert whole.items() <= expected.items()
        again = bring([video], root, **how)
        assert [w.new for w in again] == [k >= complete for k in range(3)]
        assert bytes_in(root) == expected


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failed_import_leaves_whole_folders_and_nothing_else(video, tmp_path, monkeypatch, error):
    save = recording._save

    def fail(picture, ending, path: Path) -> None:
        if path.name == "frame_0007":
            raise error
        save(picture, ending, path)

    monkeypatch.setattr(recording, "_save", fail)
    with pytest.raises((TccamError, KeyboardInterrupt)) as raised:
        bring([video], tmp_path / "data", clip_frames=5)
    if isinstance(error, OSError):
        assert str(raised.value).endswith("belt_001: cannot be written (No space left on device)")
    assert os.listdir(tmp_path / "data" / TRAIN) == ["belt_000"]


def test_two_processes_do_not_write_one_folder(video, tmp_path, monkeypatch):
    save, refused = recording._save, []

    def meanwhile(*arguments):  # another process, while this one writes
        monkeypatch.setattr(recording, "_save", save)
        with pytest.raises(TccamError, match="belt: another process is writing it"):
            bring([video], tmp_path)
        refused.append(True)
        save(*arguments)

    monkeypatch.setattr(recording, "_save", meanwhile)
    (made,) = bring([video], tmp_path)
    assert refused
    assert frames_in(made.path) == {k: k for k in range(1, 13)}
    assert os.listdir(made.path.parent) == ["belt"]


def test_what_another_process_has_finished_is_not_written_again(video, tmp_path, monkeypatch):
    """It begins to wait for the lock when the other one has not let go of it yet."""
    acquire = FileLock.acquire

    def late(*arguments, **options):
        monkeypatch.setattr(FileLock, "acquire", acquire)
        assert bring([video], tmp_path)[0].new
        return acquire(*arguments, **options)

    monkeypatch.setattr(FileLock, "acquire", late)
    (made,) = bring([video], tmp_path)
    assert not made.new
    assert frames_in(made.path) == {k: k for k in range(1, 13)}


def test_ctrl_c_is_said_in_one_line(video, tmp_path, monkeypatch, capsys):
    def stop(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(recording, "_save", stop)
    # A shell that runs the tests in the background has told them to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    words = ["data", "import", str(video), "--to", str(tmp_path), "--label", "before"]
    assert main(words) == 130
    signal.signal(signal.SIGINT, before)
    assert "interrupted; the same command goes on" in capsys.readouterr().err
    assert os.listdir(tmp_path / TRAIN) == []


# What cannot be used


def test_an_empty_file(tmp_path):
    good = numbered(tmp_path / "good.avi", 2, 10)
    (tmp_path / "zero.mp4").write_bytes(b"")
    with pytest.raises(TccamError, match=r"zero\.mp4: expected a video, the file is empty"):
        bring([good, tmp_path / "zero.mp4"], tmp_path / "data")
    assert not (tmp_path / "data").exists()  # all are looked at before one is imported


def test_no_video(tmp_path):
    (tmp_path / "notes.mp4").write_text("cloudy")
    with pytest.raises(TccamError, match=r"notes\.mp4: expected a video"):
        bring([tmp_path / "notes.mp4"], tmp_path / "data")


def test_a_video_without_its_end_gives_what_it_has(tmp_path, caplog):
    frames = torch.randint(0, 256, (12, 3, 32, 48), dtype=torch.uint8)
    video = write_video(tmp_path / "belt.avi", frames, 25)
    video.write_bytes(video.read_bytes()[:-30_000])
    (made,) = bring([video], tmp_path / "data")
    assert made.frames == len(VideoClip(video)) < 12
    assert "it may be cut off" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_place_where_nothing_may_be_written(video, tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)
    with pytest.raises(TccamError, match=r"belt: cannot be written \(Permission denied"):
        bring([video], tmp_path / "data")


def test_a_file_where_a_folder_should_be(video, tmp_path):
    (tmp_path / "train_val_dataset").write_bytes(b"")
    with pytest.raises(TccamError, match=r"belt: cannot be written \(Not a directory"):
        bring([video], tmp_path)
    with pytest.raises(TccamError, match=r"video_000: cannot be written \(Not a dir"):
        write_belt(TINY, tmp_path, progress=False)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"label": "background"}, r"label: expected one of before, after, bg; got 'background'"),
        ({"split": "train"}, "split: expected one of training, validation, test; got 'train'"),
        ({"ending": "gif"}, "ending: expected one of jpg, png; got 'gif'"),
        ({"fps": 0}, "fps: expected 0.001 … 1000, got 0"),
        ({"fps": float("nan")}, "fps: expected .* got nan"),
        ({"size": 0}, "size: expected 1 … 100000, got 0"),
        ({"size": (0, 5)}, "size: expected 1 … 100000, got 0"),
        ({"clip_frames": 0}, "clip_frames: expected .* got 0"),
        ({"clip_frames": 2, "apart": 0, "validation": 0.5}, "apart: expected 1 … .* got 0"),
        ({"clip_frames": 2, "validation": 1}, "validation: expected 0 … 0.9, got 1"),
        ({"validation": 0.2}, "validation: .* needs clip_frames and the split training, got None"),
        ({"validation": 0.2, "clip_frames": 2, "split": "test"}, "validation: .* and test"),
        ({"validation": 0.9, "clip_frames": 2, "apart": 7}, "apart: 7 of 2 frames leave none"),
    ],
)
def test_arguments_that_cannot_be(video, tmp_path, how, message):
    with pytest.raises(TccamError, match=message):
        bring([video], tmp_path / "data", **how)
    assert not (tmp_path / "data").exists()


def test_the_command_says_what_it_made(video, tmp_path, capsys):
    how = "--label before --fps 12.5 --size 16x20 --clip-frames 3 --validation 0.5"
    command = ["data", "import", str(video), "--to", str(tmp_path / "data"), *how.split()]
    for new in (True, False):
        assert main([*command, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        place = (tmp_path / "data" / TRAIN / "belt_000").as_posix()
        assert told["videos"][0] == {"path": place, "frames": 2, "new": new}
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"     2 frames  {place}  (was there)"
    assert FolderClip(place).size == (16, 20)
    with pytest.raises(SystemExit):
        main([*command, "--size", "large"])
    assert "argument --size: expected" in capsys.readouterr().err


# The belt


@pytest.fixture(scope="module")
def belt(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("belt")
    write_belt(TINY, root, flows=True, progress=False)
    return root


SPLITS = {
    "training": ("train", "train_val_dataset/training"),
    "validation": ("validation", "train_val_dataset/validation"),
    "test": ("test", "test_set/images"),
}


def taken_apart(root: Path, place: str, clip) -> dict[int, torch.Tensor]:
    """All frames of a belt clip by number, from its own folder and from bg."""
    name = f"video_{clip.name[-3:]}"
    folders = [root / place / clip.label / name]
    folders += (root / place / "bg").glob(f"{clip.label}_{name}_*")
    found: dict[int, torch.Tensor] = {}
    for folder in folders:
        if folder.exists():
            pictures = FolderClip(folder)
            assert not found.keys() & set(pictures.numbers)
            found |= dict(zip(pictures.numbers, pictures, strict=True))
    return dict(sorted(found.items()))


@pytest.mark.parametrize("split", SPLITS)
def test_every_frame_comes_back_exactly_once(belt, split):
    attribute, place = SPLITS[split]
    for clip in getattr(SyntheticBelt(TINY), attribute):
        frames = taken_apart(belt, place, clip)
        assert list(frames) == list(range(1, TINY.frames + 1))
        assert torch.equal(torch.stack(list(frames.values())), clip.frames)


@pytest.mark.parametrize("split", ["training", "validation"])
def test_empty_frames_are_in_bg_as_runs_named_after_where_they_are_from(belt, split):
    attribute, place = SPLITS[split]
    expected, gaps = {}, 0
    for clip in getattr(SyntheticBelt(TINY), attribute):
        seen = clip.occupied.flatten(1).any(1).tolist()
        folder = belt / place / clip.label / f"video_{clip.name[-3:]}"
        assert FolderClip(folder).numbers == tuple(k for k, s in enumerate(seen, 1) if s)
        gaps += len(FolderClip(folder).gaps())
        start = None
        for number, occupied in enumerate([*seen, True], 1):
            if not occupied:
                start = start or number
            elif start:
                name = f"{clip.label}_{folder.name}_{start:04d}"
                expected[name], start = tuple(range(start, number)), None
    found = {p.name: FolderClip(p).numbers for p in (belt / place / "bg").iterdir()}
    assert found == expected
    assert len(found) >= 2
    if split == "training":
        assert gaps  # or this belt tests no gap


def test_masks_are_the_belts(belt):
    for attribute, pictures, masks in (
        ("test", "test_set/images", "test_set/masks"),
        ("validation", "train_val_dataset/validation", "train_val_dataset/validation_masks"),
    ):
        for clip in getattr(SyntheticBelt(TINY), attribute):
            found = FolderClip(belt / masks / clip.label / "video_000")
            assert found.numbers == FolderClip(belt / pictures / clip.label / "video_000").numbers
            for number, mask in zip(found.numbers, found, strict=True):
                assert torch.equal(mask, clip.masks[number - 1].byte().expand(3, -1, -1) * 255)


def test_flows_and_backgrounds_are_the_belts(belt):
    count = 0
    for clip in SyntheticBelt(TINY).train:
        name = f"{clip.label}/video_{clip.name[-3:]}"
        assert torch.equal(
            read_picture(belt / f"backgrounds/train_val_dataset/training/{name}.png"),
            clip.background.round().byte(),
        )
        numbers = FolderClip(belt / "train_val_dataset/training" / name).numbers
        folder = belt / "optical_flows/train_val_dataset/training" / name
        found = sorted(folder.glob("*.flo"))
        paired = [n for n in numbers if n + 1 in numbers]
        assert [file.name for file in found] == [f"frame_{n:04d}.flo" for n in paired]
        for number, file in zip(paired, found, strict=True):
            assert torch.equal(read_flo(file), clip.flow(number - 1, number))
            back = belt / "optical_flows_backward/train_val_dataset/training" / name
            found_back = read_flo(back / f"frame_{number + 1:04d}.flo")
            assert torch.equal(found_back, clip.flow(number, number - 1))
            count += 1
    assert count


def test_what_is_left_out_can_be_added(belt, tmp_path):
    bare = {"masks": False, "backgrounds": False, "progress": False}
    assert all(w.new for w in write_belt(TINY, tmp_path, **bare))
    assert not (tmp_path / "test_set/masks").exists()
    assert not (tmp_path / "optical_flows").exists()
    assert not (tmp_path / "backgrounds").exists()
    assert not any(w.new for w in write_belt(TINY, tmp_path, flows=True, progress=False))
    assert bytes_in(tmp_path) == bytes_in(belt)


def test_another_belt_is_refused(belt):
    changed = BeltConfig(**{**vars(TINY), "noise": 1.0})
    with pytest.raises(TccamError, match=r"video_000: it was made with another noise, 4\.0, now 1"):
        write_belt(changed, belt, progress=False)
    with pytest.raises(TccamError, match="ending: expected one of jpg, png; got 'bmp'"):
        write_belt(TINY, belt, ending="bmp")


def test_the_belt_by_command(tmp_path, capsys):
    small = ["--frames", "6", "--train", "1", "--validation", "1", "--test", "1",
             "--height", "32", "--width", "48", "--seed", "3"]  # fmt: skip
    assert main(["data", "belt", str(tmp_path), *small, "--flows", "--ending", "jpg"]) == 0
    assert "test_set/images/before/video_000" in capsys.readouterr().out
    config = BeltConfig(height=32, width=48, frames=6, lead_in=2, train=1, seed=3)
    found = FolderClip(tmp_path / "test_set/images/before/video_000").frames.float()
    assert (found - SyntheticBelt(config).test[0].frames).abs().mean() < 8
    assert main(["data", "check", str(tmp_path)]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert main(["data", "belt", str(tmp_path), "--frames", "0"]) == 1
    assert "BeltConfig.frames: expected 1" in capsys.readouterr().err
