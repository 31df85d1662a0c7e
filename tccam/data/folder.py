"""Folders of pictures: one video as numbered frames, the layout of SERUSO and WS²."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from tccam.data.clip import Clip
from tccam.data.video import LARGEST, VideoClip, from_bgr
from tccam.errors import TccamError

__all__ = ["FolderClip", "numbered", "open_clip", "read_picture"]

_log = logging.getLogger(__name__)

#: Endings of pictures.
SUFFIXES = {".jpg", ".jpeg", ".png"}
#: The name of a frame, without its ending.
NAME = re.compile(r"(?P<prefix>.+)_(?P<number>\d+)")


def read_picture(path: str | os.PathLike[str]) -> Tensor:
    """A picture file as uint8 (3, H, W), RGB.

    Args:
        path: of a .jpg or .png file.

    Raises:
        TccamError: if the file is missing, empty, cut off, not a picture, or of more than 67
            million pixels.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 6), "white").save(f"{folder}/a.png")
        ...     read_picture(f"{folder}/a.png").shape
        torch.Size([3, 6, 8])
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TccamError(f"{path}: cannot be read ({error.strerror})") from error
    # Some OpenCV versions decode the missing part of a JPEG that was cut off as grey: look for the
    # end marker behind the last scan. Inside a scan neither marker can occur.
    jpeg = content.startswith(b"\xff\xd8")
    cut_off = jpeg and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    picture = None
    if not cut_off and _bounded(path, content):
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        found = "one that is cut off" if cut_off else f"{len(content)} bytes that are none"
        raise TccamError(f"{path}: expected a picture, found {found}")
    return from_bgr(picture)


def _bounded(path: str | os.PathLike[str], content: bytes) -> bool:
    """Whether this is a picture, by its header, and one of a size that memory can hold."""
    try:
        with Image.open(BytesIO(content)) as picture:
            width, height = picture.size
    except Image.DecompressionBombError as error:  # before memory is taken for what it promises
        raise TccamError(f"{path}: expected a smaller picture ({error})") from None
    except Exception:  # a damaged header raises whatever its bytes lead to
        return False
    if width * height > LARGEST:
        raise TccamError(
            f"{path}: expected a picture of at most {LARGEST} pixels, its header promises "
            f"{height}×{width}"
        )
    return True


class FolderClip(Clip):
    """A clip in a folder of pictures ``<prefix>_<number>.jpg`` or ``.png``, one per frame.

    Frames are in the order of their numbers, not of their names: ``frame_10`` follows ``frame_9``.
    Numbers may be missing (:meth:`gaps`). Pictures are read when they are asked for, one at a time;
    files that are no pictures, and hidden files, are ignored.

    Args:
        path: of the folder.
        label: one of :data:`~tccam.data.clip.CLASSES` or None.
        damaged: what to do with a picture that cannot be read: "refuse" it when it is needed, or
            "skip" it, as if its number were missing, and log its name; all are read for that.

    Attributes:
        path: of the folder.
        files: the pictures, in the order of the frames.
        numbers: their numbers, increasing.

    Raises:
        TccamError: if the folder is missing or has no picture, or a picture has another name,
            another prefix or the number of another one; when it is read, if a picture cannot be
            decoded or differs in size from the first.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for number in (9, 10, 12):
        ...         written = cv2.imwrite(f"{folder}/frame_{number}.png", np.zeros((4, 6, 3)))
        ...     clip = FolderClip(folder)
        ...     print(len(clip), clip.size, clip.numbers, clip.gaps())
        3 (4, 6) (9, 10, 12) ((10, 12),)
    """

    def __init__(
        self, path: str | os.PathLike[str], label: str | None = None, damaged: str = "refuse"
    ) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            found = "a file" if self.path.exists() else "nothing"
            raise TccamError(f"{path}: expected a folder of pictures, found {found}")
        self.name, self.label = self.path.name, label
        frames = numbered(self.path)
        if damaged == "skip":
            frames = {number: file for number, file in frames.items() if _readable(file)}
            if not frames:
                raise TccamError(f"{path}: not one of its pictures can be read")
        self.files = tuple(frames.values())
        self.numbers = tuple(frames)
        first = read_picture(self.files[0])
        self.size = first.shape[1], first.shape[2]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        file = self.files[self._index(index)]
        frame = read_picture(file)
        size = frame.shape[1], frame.shape[2]
        if size != self.size:
            raise TccamError(
                f"{file}: expected {self.size} pixels (height, width) as in {self.files[0].name}, "
                f"found {size}"
            )
        return frame

    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The pairs of consecutive frames with numbers missing between them, by number.

        No triplet and no optical flow crosses a gap.
        """
        pairs = zip(self.numbers, self.numbers[1:], strict=False)
        return tuple((before, after) for before, after in pairs if after != before + 1)


def _readable(file: Path) -> bool:
    try:
        read_picture(file)
    except TccamError as error:
        _log.warning("%s; the frame is skipped", error)
        return False
    return True


def numbered(folder: Path, endings: Collection[str] = frozenset(SUFFIXES)) -> dict[int, Path]:
    """The files ``<prefix>_<number>`` of a folder by number, increasing.

    Args:
        folder: where they are.
        endings: those that count, in lower case; what has another, or is hidden, is ignored.

    Raises:
        TccamError: if there is none, or one has another name, another prefix, or another's number.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "frame_7.png").touch()
        ...     list(numbered(Path(folder)))
        [7]
    """
    found: dict[int, Path] = {}
    prefix: str | None = None
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or file.suffix.lower() not in endings:
            continue
        match = NAME.fullmatch(file.stem)
        if match is None:
            raise TccamError(f"{file}: expected a name <prefix>_<number>{file.suffix}")
        prefix = match["prefix"] if prefix is None else prefix
        number = int(match["number"])
        if match["prefix"] != prefix:
            raise TccamError(f"{file}: expected the prefix {prefix!r}; a folder holds one video")
        if number in found:
            raise TccamError(f"{file}: {found[number].name} is frame {number} already")
        found[number] = file
    if not found:
        kind = "pictures <prefix>_<number>.jpg or .png"
        if endings != SUFFIXES:
            kind = f"files <prefix>_<number>{'|'.join(sorted(endings))}"
        raise TccamError(f"{folder}: expected {kind}, found none")
    return dict(sorted(found.items()))


def open_clip(path: str | os.PathLike[str], label: str | None = None) -> Clip:
    """A clip from whatever is at ``path``: a video file, or a folder of numbered pictures.

    Args:
        path: of a video file (:class:`~tccam.data.video.VideoClip`) or a folder
            (:class:`FolderClip`).
        label: one of :data:`~tccam.data.clip.CLASSES` or None.

    Raises:
        TccamError: if there is nothing, or what is there is neither.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(3):
        ...         Image.new("RGB", (8, 6)).save(f"{folder}/a_{number}.png")
        ...     len(open_clip(folder))
        3
    """
    return FolderClip(path, label) if Path(path).is_dir() else VideoClip(path, label)
