"""A data folder is surveyed whole, and every damage is found where it was made, alone."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tccam.cli import main
from tccam.data.belt import BeltConfig
from tccam.data.recording import write_belt
from tccam.data.tree import Problem, scan
from tccam.errors import TccamError
from tccam.flow.files import write_flo

TINY = BeltConfig(
    height=32, width=48, frames=7, lead_in=2, train=1, validation=1, test=1, speed=12, objects=2
)
TRAIN, VALID, TEST = (
    "train_val_dataset/training/before/video_000",
    "train_val_dataset/validation/before/video_000",
    "test_set/images/before/video_000",
)
MASKS = "test_set/masks/before/video_000"
FLOWS = "optical_flows/test_set/images/before/video_000"
BACKWARD = "optical_flows_backward/test_set/images/before/video_000"
BACKGROUND = "backgrounds/test_set/images/before/video_000.png"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A belt with masks and flows, in which nothing is wrong."""
    root = tmp_path_factory.mktemp("whole")
    write_belt(TINY, root, flows=True, progress=False)
    return root


@pytest.fixture
def root(whole, tmp_path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def found(root: Path, quick: bool = False) -> list[tuple[str, str, str]]:
    problems = scan(root, quick=quick, progress=False).problems
    return [(problem.severity, problem.kind, problem.path) for problem in problems]


def picture(height: int = 32, width: int = 48, level: int = 0) -> bytes:
    done, data = cv2.imencode(".png", np.full((height, width, 3), level, np.uint8))
    assert done
    return data.tobytes()


# What is whole


@pytest.mark.parametrize("quick", [False, True])
def test_a_whole_folder_has_no_problem(whole, quick):
    survey = scan(whole, quick=quick, progress=False)
    assert survey.problems == survey.errors == survey.warnings == ()
    assert {video.size for video in survey.videos} == {(32, 48)}
    assert sum(video.frames for video in survey.videos) == 6 * TINY.frames


def test_a_video_of_each_kind(whole):
    videos = {video.path: video for video in scan(whole, progress=False).videos}
    test = videos[TEST]
    assert (test.split, test.label, test.frames, test.masks) == ("test", "before", 7, 7)
    assert (test.flows, test.backward, test.background) == (6, 6, True)
    train = videos[TRAIN]
    assert (train.split, train.label, train.masks, train.gaps) == ("training", "before", 0, ())
    assert videos[VALID].masks == videos[VALID].frames
    assert "train_val_dataset/training/bg/after_video_000_0001" in videos


def test_quick_says_the_same_of_a_whole_folder(whole):
    assert scan(whole, quick=True, progress=False) == scan(whole, progress=False)


def test_a_gap_is_no_problem(root):
    (root / TRAIN / "frame_0005.png").unlink()
    (root / "optical_flows" / TRAIN / "frame_0004.flo").unlink()
    (root / "optical_flows" / TRAIN / "frame_0005.flo").unlink()
    (root / "optical_flows_backward" / TRAIN / "frame_0005.flo").unlink()
    (root / "optical_flows_backward" / TRAIN / "frame_0006.flo").unlink()
    survey = scan(root, progress=False)
    assert survey.problems == ()
    assert next(video for video in survey.videos if video.path == TRAIN).gaps == ((4, 6),)


def test_bg_masks_flows_and_backgrounds_are_optional(root):
    for place in ("train_val_dataset/training/bg", "train_val_dataset/validation_masks",
                  "optical_flows", "optical_flows_backward", "backgrounds"):  # fmt: skip
        shutil.rmtree(root / place)
    assert found(root) == []


def test_any_split_may_have_bg(root):
    shutil.copytree(root / TEST, root / "test_set/images/bg/video_000")
    assert found(root) == []


def test_hidden_files_are_nobodys_business(root):
    for place in (".DS_Store", "test_set/.directory", f"{TEST}/._frame_0001.png"):
        (root / place).write_bytes(b"x")
    assert found(root) == []


@pytest.mark.parametrize("quick", [False, True])
def test_a_picture_that_a_camera_has_turned_has_the_size_that_is_read(root, quick):
    # EXIF orientation 6: stored 48×32, seen 32×48.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    done, data = cv2.imencode(".jpg", np.zeros((48, 32, 3), np.uint8))
    assert done
    turned = data.tobytes()[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (root / TRAIN / "frame_0007.png").unlink()
    (root / TRAIN / "frame_0007.jpg").write_bytes(turned + data.tobytes()[2:])
    assert found(root, quick) == []


# What is damaged: each damage is found, under its name, and nothing else is


def cut(place: str, keep: float) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        data = (root / place).read_bytes()
        (root / place).write_bytes(data[: int(len(data) * keep)])

    return damage


def write(place: str, data: bytes) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(data)

    return damage


def remove(*places: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for place in places:
            shutil.rmtree(root / place) if (root / place).is_dir() else (root / place).unlink()

    return damage


def empty(place: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        shutil.rmtree(root / place, ignore_errors=True)
        (root / place).mkdir(parents=True)

    return damage


def both(one: Callable[[Path], None], other: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        one(root)
        other(root)

    return damage


def link(place: str, target: str) -> Callable[[Path], None]:
    return lambda root: (root / place).symlink_to(root / target)


def flow(place: str, height: int, width: int) -> Callable[[Path], None]:
    return lambda root: write_flo(root / place, torch.zeros(2, height, width))


def jpeg_masks(root: Path) -> None:
    for file in sorted((root / MASKS).iterdir()):
        if not file.name.startswith("."):
            mask = np.zeros((32, 48), np.uint8)
            cv2.circle(mask, (20, 15), 9, 255, -1)
            cv2.imwrite(str(file.with_suffix(".jpg")), mask)
            file.unlink()


ERROR, WARNING = "error", "warning"
COMPUTED = ("optical_flows", "optical_flows_backward", "backgrounds")
FRAME, MASK, FLOW = f"{TEST}/frame_0003.png", f"{MASKS}/frame_0003.png", f"{FLOWS}/frame_0003.flo"
HEADERS = [  # seen by --quick as well
    pytest.param(write(FRAME, b""), ERROR, "unreadable", FRAME, id="zero bytes"),
    pytest.param(write(FRAME, b"no picture"), ERROR, "unreadable", FRAME, id="no picture"),
    pytest.param(write(FRAME, picture(32, 50)), ERROR, "size", FRAME, id="picture size"),
    pytest.param(write(MASK, picture(30, 48)), ERROR, "size", MASK, id="mask size"),
    pytest.param(flow(FLOW, 16, 24), ERROR, "size", FLOW, id="flow size"),
    pytest.param(cut(FLOW, 0.5), ERROR, "unreadable", FLOW, id="half a flow"),
    pytest.param(cut(FLOW, 0.001), ERROR, "unreadable", FLOW, id="half a flow's header"),
    pytest.param(write(FLOW, b"PIEX" + bytes(8)), ERROR, "unreadable", FLOW, id="no flow"),
    pytest.param(write(f"{MASKS}/frame_0099.png", picture()), ERROR, "mask without picture",
                 f"{MASKS}/frame_0099.png", id="mask without picture"),
    pytest.param(write("test_set/masks/before/video_7/frame_0001.png", picture()), ERROR,
                 "mask without picture", "test_set/masks/before/video_7/frame_0001.png",
                 id="masks without video"),
    pytest.param(remove(MASK), WARNING, "picture without mask", TEST, id="mask missing"),
    pytest.param(remove(MASKS), WARNING, "picture without mask", TEST, id="masks missing"),
    pytest.param(flow(f"{FLOWS}/frame_0007.flo", 32, 48), WARNING, "flow without neighbour",
                 f"{FLOWS}/frame_0007.flo", id="flow from the last frame"),
    pytest.param(flow(f"{FLOWS}/frame_0000.flo", 32, 48), WARNING, "flow without neighbour",
                 f"{FLOWS}/frame_0000.flo", id="flow from no frame"),
    pytest.param(write(f"{TEST}/cover.png", picture()), ERROR, "name", f"{TEST}/cover.png",
                 id="name"),
    pytest.param(write(f"{TEST}/other_0008.png", picture()), ERROR, "name",
                 f"{TEST}/other_0008.png", id="prefix"),
    pytest.param(write(f"{TEST}/frame_3.png", picture()), ERROR, "number", f"{TEST}/frame_3.png",
                 id="number"),
    pytest.param(empty("train_val_dataset/training/after/video_9"), ERROR, "empty",
                 "train_val_dataset/training/after/video_9", id="empty video"),
    pytest.param(write(f"{TEST}/notes.txt", b"cloudy"), WARNING, "stray", f"{TEST}/notes.txt",
                 id="stray file in a video"),
    pytest.param(write("test_set/images/before/frame_0001.png", picture()), WARNING, "stray",
                 "test_set/images/before/frame_0001.png", id="picture outside a video"),
    pytest.param(empty(f"{TEST}/frame_0001_old"), WARNING, "stray", f"{TEST}/frame_0001_old",
                 id="folder in a video"),
    pytest.param(empty("test_set/masks/bg"), WARNING, "stray", "test_set/masks/bg",
                 id="no masks of bg"),
    pytest.param(flow(f"{BACKWARD}/frame_0001.flo", 32, 48), WARNING, "flow without neighbour",
                 f"{BACKWARD}/frame_0001.flo", id="flow back from the first frame"),
    pytest.param(cut(f"{BACKWARD}/frame_0002.flo", 0.5), ERROR, "unreadable",
                 f"{BACKWARD}/frame_0002.flo", id="half a flow back"),
    pytest.param(write(BACKGROUND, b""), ERROR, "unreadable", BACKGROUND, id="no background"),
    pytest.param(write(BACKGROUND, picture(32, 50)), ERROR, "size", BACKGROUND,
                 id="background size"),
    pytest.param(write("backgrounds/test_set/images/before/other.png", picture()), WARNING,
                 "no such video", "backgrounds/test_set/images/before/other.png",
                 id="background without video"),
    pytest.param(write("backgrounds/test_set/images/before/video_000.jpg", b""), WARNING, "stray",
                 "backgrounds/test_set/images/before/video_000.jpg", id="background as jpg"),
    pytest.param(empty("backgrounds/test_set/images/before/video_1.png"), WARNING, "stray",
                 "backgrounds/test_set/images/before/video_1.png", id="folder of a background"),
    pytest.param(write("README", b""), WARNING, "stray", "README", id="stray file"),
    pytest.param(remove("train_val_dataset/validation", "train_val_dataset/validation_masks",
                        *COMPUTED), WARNING, "missing evaluation",
                 "train_val_dataset/validation", id="no validation"),
    pytest.param(remove("train_val_dataset/training", *COMPUTED), ERROR, "missing",
                 "train_val_dataset/training", id="no training"),
    pytest.param(remove("train_val_dataset/training/after", *COMPUTED), ERROR, "missing",
                 "train_val_dataset/training/after", id="no class"),
    pytest.param(both(remove(*COMPUTED), empty("train_val_dataset/training/after")), ERROR,
                 "missing", "train_val_dataset/training/after", id="empty class"),
    pytest.param(link(f"{TEST}/frame_0008.png", "../outside.png"), ERROR, "link",
                 f"{TEST}/frame_0008.png", id="link to a file outside"),
    pytest.param(link("test_set/images/before/video_1", ".."), ERROR, "link",
                 "test_set/images/before/video_1", id="link to a folder outside"),
    pytest.param(link(f"{TEST}/frame_0008.png", f"{TEST}/frame_0008.png"), ERROR, "link",
                 f"{TEST}/frame_0008.png", id="link to itself"),
    pytest.param(link("test_set/images/before/video_1", "test_set"), ERROR, "link",
                 "test_set/images/before/video_1", id="link to a folder above"),
    pytest.param(link(f"{TEST}/frame_0008.png", "nothing"), ERROR, "link",
                 f"{TEST}/frame_0008.png", id="link to nothing"),
]  # fmt: skip
CONTENTS = [
    pytest.param(cut(FRAME, 0.7), ERROR, "unreadable", FRAME, id="cut-off picture"),
    pytest.param(write(MASK, picture(level=128)), ERROR, "levels", MASK, id="levels"),
    pytest.param(jpeg_masks, WARNING, "soft", MASKS, id="soft edges"),
]


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(("damage", "severity", "kind", "path"), HEADERS)
def test_a_damage_is_found_alone(root, damage, severity, kind, path, quick):
    (root.parent / "outside.png").write_bytes(picture())
    damage(root)
    assert found(root, quick) == [(severity, kind, path)]


@pytest.mark.parametrize(("damage", "severity", "kind", "path"), CONTENTS)
def test_a_damage_behind_the_header_is_found_alone(root, damage, severity, kind, path):
    damage(root)
    assert found(root) == [(severity, kind, path)]
    assert found(root, quick=True) == []


def test_a_link_within_the_folder_is_followed(root):
    (root / "train_val_dataset/training/before/video_001").symlink_to(root / TEST)
    survey = scan(root, progress=False)
    assert survey.problems == ()
    linked = next(v for v in survey.videos if v.path.endswith("training/before/video_001"))
    assert (linked.frames, linked.size) == (7, (32, 48))


def test_the_sentence_says_what_was_found_and_what_was_expected(root):
    write(FRAME, picture(32, 50))(root)
    assert scan(root, progress=False).problems == (
        Problem(FRAME, "size", "error",
                "expected (32, 48) pixels (height, width) as in frame_0001.png, found (32, 50)"),
    )  # fmt: skip


def test_several_problems_are_all_found(root):
    write(FRAME, b"")(root)
    write(MASK, picture(level=9))(root)
    remove(f"{TEST}/frame_0005.png")(root)
    assert found(root) == [
        ("warning", "flow without neighbour", f"{FLOWS}/frame_0004.flo"),
        ("warning", "flow without neighbour", f"{FLOWS}/frame_0005.flo"),
        ("warning", "flow without neighbour", f"{BACKWARD}/frame_0005.flo"),
        ("warning", "flow without neighbour", f"{BACKWARD}/frame_0006.flo"),
        ("error", "unreadable", FRAME),
        ("error", "levels", MASK),
        ("error", "mask without picture", f"{MASKS}/frame_0005.png"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_what_may_not_be_read(root):
    (root / FRAME).chmod(0)
    (root / MASKS).chmod(0)
    assert ("error", "unreadable", FRAME) in found(root)
    assert ("error", "unreadable", MASKS) in found(root)


def test_what_cannot_be_read_is_a_problem_and_no_end(root, monkeypatch):
    # What the test above does, for those who may read anything.
    listed, read = Path.iterdir, Path.read_bytes
    refused = PermissionError(13, "Permission denied")

    def refuse(path: Path, do: Callable[[Path], object], name: str) -> object:
        if path.name == name:
            raise refused
        return do(path)

    monkeypatch.setattr(Path, "iterdir", lambda path: refuse(path, listed, "validation_masks"))
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path, read, "frame_0003.png"))
    problems = scan(root, progress=False).problems
    unreadable = [p for p in problems if p.kind == "unreadable"]
    assert {p.text for p in unreadable} == {
        "cannot be read (Permission denied)", "the folder cannot be read (Permission denied)",
    }  # fmt: skip
    assert FRAME in {p.path for p in unreadable}


@pytest.mark.parametrize("name", ["nothing", "README"])
def test_no_folder(root, name):
    (root / "README").write_bytes(b"")
    with pytest.raises(
        TccamError, match=rf"{name}: expected a data folder, found (nothing|a file)"
    ):
        scan(root / name)


# The command


def test_check_prints_a_table_and_says_that_all_is_well(whole, capsys):
    assert main(["data", "check", str(whole)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["frames", "size", "gaps", "masks", "flows", "background", "video"]
    assert f"     7       32×48     0      7      6         yes  {TEST}" in table
    assert table[-1].endswith("42 frames: 0 errors, 0 warnings")


def test_check_fails_on_errors_and_not_on_warnings(root, capsys):
    (root / "README").write_bytes(b"")
    assert main(["data", "check", str(root), "--quick"]) == 0
    assert "warning: README: a file that has no place" in capsys.readouterr().out
    (root / FRAME).write_bytes(b"")
    assert main(["data", "check", str(root), "--quick"]) == 1
    assert f"error: {FRAME}: " in capsys.readouterr().out
    assert main(["data", "check", str(root / "nothing")]) == 1
    assert "nothing: expected a data folder" in capsys.readouterr().err


def test_checks_json_is_the_survey(root, capsys):
    (root / FRAME).write_bytes(b"")
    (root / "README").write_bytes(b"")
    assert main(["data", "check", str(root), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    survey = scan(root, progress=False)
    assert (told["errors"], told["warnings"]) == (1, 1)
    assert [Problem(**problem) for problem in told["problems"]] == list(survey.problems)
    first = survey.videos[0]
    assert told["videos"][0] == {
        "path": first.path, "split": first.split, "label": first.label, "frames": first.frames,
        "size": [32, 48], "gaps": [], "masks": 0, "flows": first.flows,
        "backward": first.backward, "background": True,
    }  # fmt: skip
    assert len(told["videos"]) == len(survey.videos)


def test_a_survey_does_not_keep_where_the_folder_was(root, tmp_path):
    before = scan(root, progress=False)
    root.rename(tmp_path / "moved")
    assert scan(tmp_path / "moved", progress=False) == before
