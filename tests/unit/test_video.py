"""Video files: the same frame for the same index in any order, and only whole files written."""

import logging
import multiprocessing
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tccam.data.video import VideoClip, from_bgr, write_video
from tccam.errors import TccamError


def moving_square(count: int, height: int = 48, width: int = 64) -> Tensor:
    """A clip in which no two frames and no two channels are alike, uint8 (T, 3, H, W)."""
    frames = torch.full((count, 3, height, width), 60, dtype=torch.uint8)
    frames[:, 0] = torch.linspace(0, 150, width).byte()
    for t in range(count):
        place = 3 * t % (width - 12)
        frames[t, :, 10:22, place : place + 12] = torch.tensor([230, 120, 20]).view(3, 1, 1)
        frames[t, 2, 30:, : t + 2] = 255
    return frames


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return moving_square(30)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory, frames) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "belt.avi", frames, fps=12.5)


@pytest.fixture(scope="module")
def lossy(tmp_path_factory, frames) -> Path:
    """MPEG-4: most frames are stored as changes to the one before."""
    return write_video(tmp_path_factory.mktemp("video") / "belt.mp4", frames, fps=12.5)


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The files that OpenCV opens from here on."""
    names: list[str] = []
    real = cv2.VideoCapture

    def spy(name, *options):
        names.append(name)
        return real(name, *options)

    monkeypatch.setattr(cv2, "VideoCapture", spy)
    return names


def cut(source: Path, target: Path, share: float) -> Path:
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return target


# Reading


def test_avi_gives_back_what_was_written(lossless, frames):
    clip = VideoClip(lossless, "before")
    assert torch.equal(clip.frames, frames)
    assert clip.frames.dtype == torch.uint8
    assert clip[0].is_contiguous()
    assert (len(clip), clip.size, clip.fps) == (30, (48, 64), 12.5)
    assert (clip.name, clip.label, clip.path) == ("belt.avi", "before", lossless)
    assert repr(clip) == "VideoClip('belt.avi', 30 frames of 48×64, before)"


def test_avi_is_lossless_for_noise(tmp_path):
    noise = torch.randint(0, 256, (5, 3, 16, 18), dtype=torch.uint8)
    assert torch.equal(VideoClip(write_video(tmp_path / "noise.avi", noise, 25)).frames, noise)


def test_mp4_is_close_to_what_was_written(lossy, frames):
    clip = VideoClip(lossy)
    assert len(clip) == 30
    assert clip.fps == 12.5
    assert (clip.frames.float() - frames.float()).abs().mean() < 5
    # The square is red: channels in the wrong order would differ by more.
    assert (
        clip[0][:, 12:20, 2:10].float().mean((1, 2)) - torch.tensor([230.0, 120, 20])
    ).abs().max() < 20


def test_webm_is_close_to_what_was_written(tmp_path, frames, capfd):
    clip = VideoClip(write_video(tmp_path / "belt.webm", frames, 12.5))
    codec = int(cv2.VideoCapture(str(clip.path)).get(cv2.CAP_PROP_FOURCC))
    assert codec.to_bytes(4, "little") == b"VP80"  # which browsers play
    assert (len(clip), clip.promised, clip.fps) == (30, 30, 12.5)
    assert (clip.frames.float() - frames.float()).abs().mean() < 5
    assert capfd.readouterr() == ("", "")  # OpenCV's own words about the codec


def test_frames_agree_with_opencv(lossy):
    capture = cv2.VideoCapture(str(lossy))
    for frame in VideoClip(lossy):
        found, picture = capture.read()
        assert found
        assert np.array_equal(frame.permute(1, 2, 0), picture[:, :, ::-1])
    assert not capture.read()[0]


def test_from_bgr_turns_channels_and_axes():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    frame = from_bgr(picture)
    assert frame.shape == (3, 2, 4)
    assert frame[:, 1, 2].tolist() == picture[1, 2, ::-1].tolist()


@pytest.mark.parametrize("kind", ["lossless", "lossy"])
@pytest.mark.parametrize(
    "order",
    [
        range(30),
        range(29, -1, -1),
        [0, 1, 2, 1, 2, 3, 2, 3, 4, 29, 0, 15, 15, 14, 3],
        [-1, -30, 12, -18],
    ],
    ids=["forwards", "backwards", "mixed", "negative"],
)
def test_a_frame_is_the_same_in_any_order(kind, order, request):
    path = request.getfixturevalue(kind)
    streamed = list(VideoClip(path))
    clip = VideoClip(path)
    for index in order:
        assert torch.equal(clip[index], streamed[index])


def test_random_access_is_reproducible(lossy):
    streamed = VideoClip(lossy).frames
    clip = VideoClip(lossy)
    for index in torch.randint(-30, 30, (60,)).tolist():
        assert torch.equal(clip[index], streamed[index])


def test_reading_forwards_opens_the_file_once(lossless, opened):
    clip = VideoClip(lossless)
    assert len(opened) == 1  # a look at the first frame
    for index in (0, 1, 2, 7, 29):
        clip[index]
    assert len(opened) == 2
    clip[28]  # is not among the frames just read
    assert len(opened) == 3


def test_a_triplet_slides_along_without_going_back(lossless, frames, opened):
    clip = VideoClip(lossless)
    for t in range(1, 29):
        for index in (t - 1, t, t + 1):
            assert torch.equal(clip[index], frames[index])
    assert len(opened) == 2


def test_streaming_does_not_count_first(lossless, frames, opened):
    clip = VideoClip(lossless)
    stream = iter(clip)
    assert torch.equal(next(stream), frames[0])
    assert len(opened) == 2
    assert torch.equal(clip[9], frames[9])  # reading beside a stream does not disturb it
    assert torch.equal(torch.stack(list(stream)), frames[1:])
    assert len(clip) == 30  # known by now
    assert len(opened) == 3


def test_two_streams_are_independent(lossless):
    clip = VideoClip(lossless)
    for first, second in zip(clip, clip, strict=True):
        assert torch.equal(first, second)


def test_a_frame_belongs_to_the_caller(lossless, frames):
    clip = VideoClip(lossless)
    clip[3].zero_()
    assert torch.equal(clip[3], frames[3])
    clip[3].zero_()
    assert torch.equal(clip[3], frames[3])


@pytest.mark.parametrize("index", [30, 1000, -31])
@pytest.mark.parametrize("counted", [False, True])
def test_an_index_beyond_the_end(lossless, frames, index, counted):
    clip = VideoClip(lossless)
    if counted:
        assert len(clip) == 30
    with pytest.raises(IndexError, match=f"clip 'belt.avi' has 30 frames; there is no {index}"):
        clip[index]
    assert torch.equal(clip[29], frames[29])


# Other processes


def test_a_pickle_holds_no_pixels_and_reads_on(lossless, frames):
    clip = VideoClip(lossless, "after")
    assert torch.equal(clip[5], frames[5])
    assert clip.frames is not None  # cached from here on
    content = pickle.dumps(clip)
    assert len(content) < 1000
    copy = pickle.loads(content)
    assert (copy.label, copy.size, copy.fps, len(copy)) == ("after", (48, 64), 12.5, 30)
    assert torch.equal(copy[6], frames[6])
    assert torch.equal(clip[6], frames[6])


class Frames(Dataset[Tensor]):
    """The frames of a clip that is open already, as a training loop would have it."""

    def __init__(self, clip: VideoClip) -> None:
        self.clip = clip

    def __len__(self) -> int:
        return len(self.clip)

    def __getitem__(self, index: int) -> Tensor:
        return self.clip[index]


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)
def test_forked_workers_do_not_disturb_each_other(tmp_path):
    # Noise does not compress: the file is far larger than what a reader has in its buffer.
    frames = torch.randint(0, 256, (30, 3, 96, 128), dtype=torch.uint8)
    clip = VideoClip(write_video(tmp_path / "noise.avi", frames, fps=12.5))
    assert torch.equal(clip[2], frames[2])  # open, and in the middle of the file
    loader = DataLoader(
        Frames(clip), sampler=range(3, 30), num_workers=2, multiprocessing_context="fork"
    )
    for index, (batch,) in enumerate(loader, start=3):
        assert torch.equal(batch, frames[index])
        assert torch.equal(clip[index], frames[index])  # the parent reads on meanwhile


# Files that are not what they should be


def test_a_missing_file(tmp_path):
    with pytest.raises(TccamError, match=r"none\.mp4: expected a video file, found nothing"):
        VideoClip(tmp_path / "none.mp4")


def test_a_folder(tmp_path):
    with pytest.raises(TccamError, match="expected a video file, found a folder"):
        VideoClip(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mp4", b"", r"empty\.mp4: expected a video, the file is empty"),
        ("text.mp4", b"this is no video\n" * 50, r"text\.mp4: expected a video that FFmpeg"),
        ("text.txt", b"this is no video\n" * 50, r"text\.txt: expected a video that FFmpeg"),
        ("random.avi", bytes(np.random.default_rng(0).bytes(5000)), r"random\.avi: expected"),
    ],
)
def test_a_file_that_is_no_video(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TccamError, match=message):
        VideoClip(path)


def test_a_video_without_frames(tmp_path):
    path = tmp_path / "header.avi"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 10, (64, 48)
    )
    writer.release()
    with pytest.raises(TccamError, match=r"header\.avi: .* not one of its frames"):
        VideoClip(path)


def test_an_mp4_that_was_cut_off_is_refused(tmp_path, lossy):
    with pytest.raises(TccamError, match=r"cut\.mp4: .* cut off before its index"):
        VideoClip(cut(lossy, tmp_path / "cut.mp4", 0.9))


def test_an_avi_that_was_cut_off_is_read_up_to_there(tmp_path, lossless, frames, caplog):
    path = cut(lossless, tmp_path / "cut.avi", 0.7)
    clip = VideoClip(path)
    with caplog.at_level(logging.WARNING):
        count = len(clip)
    assert 5 < count < 30
    assert f"cut.avi: its header promises 30 frames, {count} can be decoded" in caplog.text
    streamed = list(clip)
    assert len(streamed) == count
    # The cut goes through the last frame.
    assert torch.equal(torch.stack(streamed[:-1]), frames[: count - 1])
    assert torch.equal(clip[-1], streamed[-1])
    with pytest.raises(IndexError, match=f"has {count} frames; there is no {count}"):
        VideoClip(path)[count]
    assert len(caplog.records) == 1 + 1  # once for each clip, not at each end


def test_a_header_that_promises_too_little(tmp_path, lossless, frames, opened):
    content = bytearray(lossless.read_bytes())
    # Total frames of the main header, and length of the stream's.
    for place in (content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32):
        assert int.from_bytes(content[place : place + 4], "little") == 30
        content[place : place + 4] = (7).to_bytes(4, "little")
    path = tmp_path / "liar.avi"
    path.write_bytes(content)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 7
    clip = VideoClip(path)
    assert len(clip) == 30
    assert torch.equal(clip.frames, frames)


# Writing


def test_writing_takes_a_stream(tmp_path, frames):
    path = write_video(tmp_path / "stream.avi", (frame for frame in frames), 10)
    assert torch.equal(VideoClip(path).frames, frames)
    assert [file.name for file in tmp_path.iterdir()] == ["stream.avi"]


def test_writing_takes_a_clip(tmp_path, lossless, frames):
    path = write_video(str(tmp_path / "copy.avi"), VideoClip(lossless), 10)
    assert torch.equal(VideoClip(path).frames, frames)


def test_writing_replaces_only_when_complete(tmp_path, frames):
    path = tmp_path / "belt.avi"
    write_video(path, frames[:3], 10)

    def broken():
        yield frames[0]
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="the camera is gone"):
        write_video(path, broken(), 10)
    assert len(VideoClip(path)) == 3
    write_video(path, frames[:4], 10)
    assert len(VideoClip(path)) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["belt.avi"]


def test_writing_believes_the_file(tmp_path, frames, monkeypatch):
    real = cv2.VideoWriter

    class FullDisk:
        fourcc = real.fourcc

        def __init__(self, *options):
            self.writer, self.room = real(*options), 5
            self.isOpened, self.release = self.writer.isOpened, self.writer.release

        def write(self, picture):
            self.room -= 1
            if self.room >= 0:
                self.writer.write(picture)

    monkeypatch.setattr(cv2, "VideoWriter", FullDisk)
    with pytest.raises(TccamError, match=r"belt\.avi: 30 frames were encoded, but not all"):
        write_video(tmp_path / "belt.avi", frames, 10)
    assert not list(tmp_path.iterdir())


GOOD = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "content", "fps", "message"),
    [
        ("a.gif", GOOD, 10, r"a\.gif: expected a name that ends in one of \('\.avi', '\.mp4', "),
        ("none/a.avi", GOOD, 10, r"none.a\.avi: its folder does not exist"),
        ("a.avi", GOOD, 0, "fps: expected more than 0"),
        ("a.avi", GOOD, float("nan"), "fps: .* got nan"),
        ("a.avi", [], 10, "frames: expected at least one frame"),
        ("a.avi", GOOD.float(), 10, r"frames\[0\]: expected uint8 \(3, H, W\), got torch.float32"),
        ("a.avi", GOOD[0], 10, r"frames\[0\]: .* \(16, 16\)"),
        ("a.avi", [GOOD[0], GOOD[0, :, :8]], 10, r"frames\[1\]: expected the size of the first"),
        ("a.avi", [GOOD[0], GOOD[0].numpy()], 10, r"frames\[1\]: .* got ndarray"),
        ("a.mp4", GOOD[:, :, :15], 10, r"frames\[0\]: expected even height and width, got 15×16"),
        ("a.avi", GOOD[:, :, :, :0], 10, r"frames\[0\]: expected even height and width, got 16×0"),
    ],
)
def test_writing_refuses(tmp_path, name, content, fps, message):
    with pytest.raises(TccamError, match=message):
        write_video(tmp_path / name, content, fps)
    assert not list(tmp_path.iterdir())
