"""Folders of pictures: natural order, one size, one video, and errors that name the file."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tccam.data.folder import FolderClip, open_clip, read_picture
from tccam.data.video import VideoClip, write_video
from tccam.errors import TccamError


def picture(value: int, height: int = 6, width: int = 8) -> np.ndarray:
    """RGB (H, W, 3): red is ``value``, green counts columns, blue counts rows."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, :, 0] = value
    rgb[:, :, 1] = 10 * np.arange(width)
    rgb[:, :, 2] = 20 * np.arange(height)[:, None]
    return rgb


def save(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    assert cv2.imwrite(str(path), rgb[:, :, ::-1])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Frames 2, 9, 10, 11, 100, whose red is their number."""
    place = tmp_path / "before" / "video_000"
    for number in (100, 9, 11, 2, 10):
        save(place / f"frame_{number}.png", picture(number))
    return place


def test_frames_come_in_the_order_of_their_numbers(folder):
    clip = FolderClip(folder, "before")
    assert clip.numbers == (2, 9, 10, 11, 100)
    assert [file.name for file in clip.files] == [f"frame_{n}.png" for n in clip.numbers]
    assert [int(frame[0, 0, 0]) for frame in clip] == [2, 9, 10, 11, 100]
    assert (clip.name, clip.label, clip.path, clip.fps) == ("video_000", "before", folder, 0.0)
    assert repr(clip) == "FolderClip('video_000', 5 frames of 6×8, before)"


def test_a_frame_is_rgb(folder):
    frame = FolderClip(folder)[0]
    assert frame.dtype == torch.uint8
    assert frame.is_contiguous()
    assert np.array_equal(frame.permute(1, 2, 0), picture(2))


def test_access_by_index_and_all_at_once(folder):
    clip = FolderClip(folder)
    assert torch.equal(clip.frames, torch.stack(list(clip)))
    assert torch.equal(clip[-1], clip[4])
    with pytest.raises(IndexError, match="clip 'video_000' has 5 frames; there is no 5"):
        clip[5]


def test_gaps_are_pairs_of_numbers(folder):
    assert FolderClip(folder).gaps() == ((2, 9), (11, 100))


def test_one_missing_frame_is_a_gap_and_none_is_not(tmp_path):
    for number in range(3, 6):
        save(tmp_path / f"frame_{number:04d}.png", picture(number))
    assert FolderClip(tmp_path).gaps() == ()
    (tmp_path / "frame_0004.png").unlink()
    assert FolderClip(tmp_path).gaps() == ((3, 5),)


@pytest.mark.parametrize(
    "names",
    [
        ["frame_0001.jpg", "frame_0002.jpg"],
        ["frame_0001.JPG", "frame_0002.jpeg"],
        ["frame_0001.png", "frame_0002.jpg"],
        ["my_camera_2_0001.png", "my_camera_2_0002.png"],
        ["frame_09.png", "frame_010.png"],
    ],
)
def test_names_that_are_understood(tmp_path, names):
    for name in names:
        save(tmp_path / name, picture(100))
    clip = FolderClip(tmp_path)
    assert [file.name for file in clip.files] == names
    assert clip.gaps() == ()


def test_other_files_are_ignored(folder):
    (folder / "notes.txt").write_text("cloudy")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "._frame_3.png").write_bytes(b"x")
    (folder / "frame_0001.flo").write_bytes(b"x")
    assert len(FolderClip(folder)) == 5


def test_a_jpeg_is_close(tmp_path):
    smooth = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    smooth[:, :, 2] = 90
    save(tmp_path / "frame_0001.jpg", smooth)
    frame = FolderClip(tmp_path)[0].permute(1, 2, 0).numpy()
    assert np.abs(frame.astype(int) - smooth).max() < 12


def test_a_grey_picture_has_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "mask_0001.png"), np.full((4, 4), 255, np.uint8))
    assert torch.equal(FolderClip(tmp_path)[0], torch.full((3, 4, 4), 255, dtype=torch.uint8))


def test_a_clip_can_be_pickled(folder):
    clip = FolderClip(folder, "after")
    copy = pickle.loads(pickle.dumps(clip))
    assert (copy.label, copy.numbers, copy.size) == ("after", clip.numbers, clip.size)
    assert torch.equal(copy[2], clip[2])


# Folders that are not what they should be


def test_a_missing_folder(tmp_path):
    with pytest.raises(TccamError, match="none: expected a folder of pictures, found nothing"):
        FolderClip(tmp_path / "none")


def test_a_file_in_place_of_a_folder(folder):
    with pytest.raises(TccamError, match=r"frame_9\.png: expected a folder .* found a file"):
        FolderClip(folder / "frame_9.png")


def test_a_folder_without_pictures(tmp_path):
    (tmp_path / "notes.txt").write_text("cloudy")
    with pytest.raises(TccamError, match=r"expected pictures <prefix>_<number>\.jpg or \.png"):
        FolderClip(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cover.png", r"cover\.png: expected a name <prefix>_<number>\.png"),
        ("img0001.png", r"img0001\.png: expected a name"),
        ("frame_0010.png", r"frame_10\.png: frame_0010\.png is frame 10 already"),
        ("frame_10.jpg", r"frame_10\.png: frame_10\.jpg is frame 10 already"),
        ("other_0001.png", r"other_0001\.png: expected the prefix 'frame'"),
    ],
)
def test_a_picture_that_does_not_belong(folder, name, message):
    save(folder / name, picture(1))
    with pytest.raises(TccamError, match=message):
        FolderClip(folder)


def test_a_picture_of_another_size(folder):
    save(folder / "frame_11.png", picture(11, height=7))
    save(folder / "frame_100.png", picture(100, width=9))
    clip = FolderClip(folder)
    assert clip[0].shape == (3, 6, 8)
    with pytest.raises(TccamError, match=r"frame_11\.png: expected \(6, 8\) .* found \(7, 8\)"):
        list(clip)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "found 0 bytes that are none"), (b"no picture", "found 10 bytes that are none")],
)
def test_an_unreadable_picture(folder, content, message):
    (folder / "frame_10.png").write_bytes(content)
    clip = FolderClip(folder)
    with pytest.raises(TccamError, match=rf"frame_10\.png: expected a picture, {message}"):
        clip[2]


def test_an_unreadable_first_picture_is_found_at_once(folder):
    (folder / "frame_2.png").write_bytes(b"no picture")
    with pytest.raises(TccamError, match=r"frame_2\.png: expected a picture"):
        FolderClip(folder)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("missing", [2, 500])  # a JPEG's end marker has two bytes
def test_a_picture_that_was_cut_off(tmp_path, ending, missing):
    path = tmp_path / f"frame_0001{ending}"
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(TccamError, match=rf"frame_0001\{ending}: expected a picture"):
        read_picture(path)


def test_a_torn_jpeg_is_refused_where_opencv_fills_it_with_grey(tmp_path, monkeypatch):
    # OpenCV 5 refuses it, OpenCV 4 does not.
    path = tmp_path / "frame_0001.jpg"
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.full((64, 64, 3), 128, np.uint8))
    assert read_picture(path).shape == (3, 64, 64)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(TccamError, match="expected a picture, found one that is cut off"):
        read_picture(path)


def test_a_jpeg_may_have_something_after_its_end(tmp_path):
    path = tmp_path / "frame_0001.jpg"
    save(path, picture(50))
    expected = read_picture(path)
    path.write_bytes(path.read_bytes() + b"written by a camera\xff\xd9")
    assert torch.equal(read_picture(path), expected)


def test_a_picture_that_is_gone(folder):
    clip = FolderClip(folder)
    (folder / "frame_9.png").unlink()
    with pytest.raises(TccamError, match=r"frame_9\.png: cannot be read \(No such file"):
        clip[1]


# Either


def test_open_clip_takes_what_is_there(folder, tmp_path):
    video = write_video(tmp_path / "belt.avi", torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 10)
    assert type(open_clip(folder)) is FolderClip
    assert type(open_clip(str(video), "after")) is VideoClip
    assert open_clip(video, "after").label == open_clip(folder, "after").label == "after"
    with pytest.raises(TccamError, match="nowhere: expected a video file, found nothing"):
        open_clip(tmp_path / "nowhere")
