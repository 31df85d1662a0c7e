"""Video files: read a frame at a time, always the same frame for the same index."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tccam.data.clip import Clip
from tccam.errors import TccamError

__all__ = ["LARGEST", "VideoClip", "from_bgr", "write_video"]

_log = logging.getLogger(__name__)

_CODECS = {".avi": "FFV1", ".mp4": "mp4v", ".webm": "VP80"}
_WINDOW = 3  # frames that are kept: a triplet slides along a video without going back
#: Pixels of a picture or frame at most: 200 MB.
LARGEST = 2**26
_MAX_FPS = 1000.0  # containers without a frame rate report their time base, e.g. 90 000


def from_bgr(picture: NDArray[np.uint8]) -> Tensor:
    """OpenCV's picture as ours: uint8 (H, W, 3) BGR to uint8 (3, H, W) RGB.

    Example:
        >>> blue = np.array([[[255, 0, 0]]], dtype=np.uint8)
        >>> from_bgr(blue).flatten()
        tensor([  0,   0, 255], dtype=torch.uint8)
    """
    rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1).contiguous()


def _place(path: Path) -> str:
    """An absolute path, since FFmpeg takes "a:b.mp4" for a protocol named a."""
    place = os.path.abspath(path)
    try:
        place.encode()
    except UnicodeEncodeError:  # OpenCV would crash
        raise TccamError(f"{path}: expected a path of UTF-8 text; rename it") from None
    return place


class _Decoder:
    """Reads a file forwards and knows which frame comes next.

    It decodes in one thread: a worker process that is forked inherits no threads, and workers are
    parallel already.
    """

    def __init__(self, path: Path) -> None:
        options = [cv2.CAP_PROP_N_THREADS, 1]
        self._capture = cv2.VideoCapture(_place(path), cv2.CAP_FFMPEG, options)
        codec = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        # FFmpeg draws text files as pictures of a terminal.
        if not self._capture.isOpened() or codec.to_bytes(4, "little") == b"ansi":
            raise TccamError(
                f"{path}: expected a video that FFmpeg can read (mp4, avi, gif, …); this is none, "
                "or it is cut off before its index"
            )
        width, height = (
            self.property(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > LARGEST:  # before memory is taken for what a damaged header promises
            raise TccamError(
                f"{path}: expected frames of at most {LARGEST} pixels, its header promises "
                f"{height:.0f}×{width:.0f}"
            )
        self.next = 0
        self.process = os.getpid()

    def property(self, name: int) -> float:
        return float(self._capture.get(name))

    def skip(self) -> bool:
        """Step over a frame; False at the end."""
        stepped = bool(self._capture.grab())
        self.next += stepped
        return stepped

    def read(self) -> Tensor | None:
        """The next frame, or None at the end."""
        found, picture = self._capture.read()
        self.next += found
        return from_bgr(picture) if found else None


class VideoClip(Clip):
    """A clip in a video file: anything that OpenCV's FFmpeg reads (mp4, avi, mkv, gif, …).

    ``for frame in clip`` streams the file with one frame in memory. ``clip[t]`` is frame t of that
    stream, always: the file is never asked to seek, since many codecs seek to a neighbour. Reading
    forwards goes on where the last read ended, and the last three frames are kept, so that a
    triplet slides along for free; going back further decodes again from the start. Take ``frames``
    for random access to a short clip.

    ``len(clip)`` counts what can be decoded, once, when it is first asked for. The container's own
    count is often wrong; where it promises more, the file was probably cut off, and a warning is
    logged. The frames before the cut are good, but for the last one. A GIF promises nothing.

    A pickle holds the path and no pixels, and a forked process opens the file anew: a clip can go
    to the workers of a :class:`torch.utils.data.DataLoader`.

    Args:
        path: of the file.
        label: one of :data:`~tccam.data.clip.CLASSES` or None.

    Attributes:
        path: of the file.
        promised: how many frames the container claims to hold; 0 when it does not say.

    Raises:
        TccamError: if the file is missing, empty, not a video, or holds no frame.

    Example:
        >>> frames = torch.zeros(4, 3, 16, 32, dtype=torch.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     clip = VideoClip(write_video(Path(folder) / "belt.avi", frames, fps=12.5), "before")
        ...     print(clip, clip.fps, torch.equal(clip[2], frames[2]))
        VideoClip('belt.avi', 4 frames of 16×32, before) 12.5 True
    """

    def __init__(self, path: str | os.PathLike[str], label: str | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            found = "a folder" if self.path.is_dir() else "nothing"
            raise TccamError(f"{path}: expected a video file, found {found}")
        if self.path.stat().st_size == 0:
            raise TccamError(f"{path}: expected a video, the file is empty")
        decoder = _Decoder(self.path)
        first = decoder.read()
        if first is None:
            raise TccamError(f"{path}: expected a video, not one of its frames can be decoded")
        self.name, self.label = self.path.name, label
        self.size = first.shape[1], first.shape[2]
        fps = decoder.property(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < _MAX_FPS else 0.0
        self.promised = max(0, int(decoder.property(cv2.CAP_PROP_FRAME_COUNT)))
        self._length: int | None = None
        self._forget()

    def _forget(self) -> None:
        """Close the file and drop what was decoded."""
        self._decoder: _Decoder | None = None
        self._recent: deque[tuple[int, Tensor]] = deque(maxlen=_WINDOW)

    def __len__(self) -> int:
        if self._length is None:
            decoder = _Decoder(self.path)
            while decoder.skip():
                pass
            self._end(decoder)
        return self._length or 0

    def __iter__(self) -> Iterator[Tensor]:
        decoder = _Decoder(self.path)
        while (frame := decoder.read()) is not None:
            yield frame
        self._end(decoder)

    def __getitem__(self, index: int) -> Tensor:
        if index < 0 or self._length is not None:
            index = self._index(index)
        for position, recent in self._recent:
            if position == index:
                return recent.clone()
        decoder = self._decoder
        if decoder is None or decoder.next > index or decoder.process != os.getpid():
            decoder = self._decoder = _Decoder(self.path)
        while decoder.next < index and decoder.skip():
            pass
        frame = decoder.read()
        if frame is None:
            self._end(decoder)
            raise IndexError(f"clip {self.name!r} has {decoder.next} frames; there is no {index}")
        self._recent.append((index, frame))
        return frame.clone()

    def _end(self, decoder: _Decoder) -> None:
        """Note that ``decoder`` has come to the end of the file."""
        if self._length is None and self.promised > decoder.next:
            _log.warning(
                "%s: its header promises %d frames, %d can be decoded; it may be cut off",
                self.path, self.promised, decoder.next,
            )  # fmt: skip
        self._length = decoder.next

    def __getstate__(self) -> dict[str, Any]:
        kept = ("path", "name", "label", "size", "fps", "promised", "_length")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def write_video(path: str | os.PathLike[str], frames: Iterable[Tensor], fps: float) -> Path:
    """Write a stream of frames to a video.

    ``.avi`` is lossless (FFV1). ``.mp4`` is small and quickly written (MPEG-4 part 2), but browsers
    do not play it. ``.webm`` (VP8) plays in every browser, and is several times slower to write.

    The file appears under its name when it is complete, or not at all; an older one of that name
    stays until then.

    Args:
        path: of the file, ending in .avi, .mp4 or .webm.
        frames: uint8 (3, H, W) each, or one tensor (T, 3, H, W); RGB; H and W even, since the
            codecs halve the resolution of colour.
        fps: frames per second.

    Returns:
        The path.

    Raises:
        TccamError: if the ending is another, the folder is missing, ``fps`` is not positive, there
            is no frame, or a frame has another shape, size or dtype.

    Example:
        >>> with TemporaryDirectory() as folder:
        ...     path = write_video(f"{folder}/grey.mp4", torch.full((8, 3, 16, 16), 128).byte(), 25)
        ...     len(VideoClip(path))
        8
    """
    path = Path(path)
    codec = _CODECS.get(path.suffix.lower())
    if codec is None:
        raise TccamError(f"{path}: expected a name that ends in one of {tuple(_CODECS)}")
    if not path.parent.is_dir():
        raise TccamError(f"{path}: its folder does not exist")
    if not 0 < fps < _MAX_FPS:
        raise TccamError(f"fps: expected more than 0 and less than {_MAX_FPS:.0f}, got {fps}")
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        unfinished = Path(folder, path.name)
        count = _encode(unfinished, codec, frames, fps)
        # The encoder does not report a full disk: believe the file, not the encoder.
        if len(VideoClip(unfinished)) != count:
            raise TccamError(f"{path}: {count} frames were encoded, but not all of them written")
        unfinished.replace(path)
    return path


def _encode(path: Path, codec: str, frames: Iterable[Tensor], fps: float) -> int:
    """Encode a stream of frames; how many there were."""
    writer: cv2.VideoWriter | None = None
    size: tuple[int, int] | None = None
    count = 0
    try:
        for frame in frames:
            height, width = _frame_size(frame, count, size)
            if writer is None:
                fourcc = cv2.VideoWriter.fourcc(*codec)
                with _silent():
                    writer = cv2.VideoWriter(
                        _place(path), cv2.CAP_FFMPEG, fourcc, fps, (width, height)
                    )
                if not writer.isOpened():
                    raise TccamError(f"{path.name}: this OpenCV has no encoder {codec}")
                size = height, width
            writer.write(cv2.cvtColor(frame.permute(1, 2, 0).cpu().numpy(), cv2.COLOR_RGB2BGR))
            count += 1
    finally:
        if writer is not None:
            writer.release()
    if count == 0:
        raise TccamError("frames: expected at least one frame, got none")
    return count


@contextmanager
def _silent() -> Iterator[None]:
    """Keep C code from writing to stderr: OpenCV calls every codec "not supported" in WebM."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _frame_size(frame: Tensor, number: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of a frame that can be written, after frames of ``size``."""
    if not isinstance(frame, Tensor):
        raise TccamError(f"frames[{number}]: expected a tensor, got {type(frame).__name__}")
    if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[0] != 3:
        raise TccamError(
            f"frames[{number}]: expected uint8 (3, H, W), got {frame.dtype} {tuple(frame.shape)}"
        )
    height, width = frame.shape[1:]
    if height % 2 or width % 2 or not frame.numel():
        raise TccamError(f"frames[{number}]: expected even height and width, got {height}×{width}")
    if size not in (None, (height, width)):
        raise TccamError(f"frames[{number}]: expected the size of the first frame, {size}, "
                         f"got {(height, width)}")  # fmt: skip
    return height, width
