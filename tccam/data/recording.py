"""Recordings and the synthetic belt as a data folder, in the layout of :mod:`tccam.data.tree`.

Each folder of frames appears under its name when it is complete. A hidden file in it,
``.tccam.json``, says what it was made from and how: the same call again makes what is still
missing, and another call is refused in place of mixing two recordings in one folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import cv2
import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tccam.data.belt import BACKGROUND, CAMERAS, BeltClip, BeltConfig, SyntheticBelt
from tccam.data.dataset import BACKGROUNDS, CLASS_FOLDERS, FLOWS, FLOWS_BACKWARD, MASKS, PICTURES
from tccam.data.folder import FolderClip, open_clip
from tccam.data.video import VideoClip, _Decoder
from tccam.errors import TccamError
from tccam.files import write_atomic
from tccam.flow.files import write_flo

__all__ = ["Written", "import_videos", "safe_name", "write_belt"]

Picture = NDArray[np.uint8]  # (H, W, 3), BGR, or (H, W)
_Frame = tuple[int, Callable[[Path], None]]  # its number, and what saves it under a name

#: Beside the files of a folder that was made: from what, and how.
RECORD = ".tccam.json"
_ENDINGS = {"jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], "png": []}
_LONGEST_NAME = 200  # bytes
_BELT_SPLITS = {"training": "train", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Written:
    """A folder of frames in a data folder.

    Attributes:
        path: of the folder.
        frames: how many pictures are in it.
        new: whether this call has written it; False if it was there.
    """

    path: Path
    frames: int
    new: bool


class _Piece(NamedTuple):
    """The frames of a recording that go to one folder, by their place among those taken."""

    path: Path
    start: int
    stop: float  # exclusive; infinite for all there are


def import_videos(
    videos: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str],
    *,
    label: str,
    split: str = "training",
    fps: float | None = None,
    size: int | tuple[int, int] | None = None,
    clip_frames: int | None = None,
    validation: float = 0.0,
    apart: int = 1,
    ending: Literal["jpg", "png"] = "jpg",
    progress: bool = True,
) -> tuple[Written, ...]:
    """Add recordings to a data folder, a few frames in memory at a time.

    A recording becomes the video folder ``<name>``, or ``<name>_000``, ``<name>_001``, … with
    ``clip_frames``. Its frames are numbered through, from 1: a clip's numbers go on where those of
    the clip before ended. A folder of pictures keeps the numbers of its files, and so its gaps.

    An import that was interrupted, by Ctrl-C or worse, goes on when the same call is made again;
    folders that are complete are not written twice.

    Args:
        videos: video files (mp4, avi, mkv, gif, … what OpenCV reads) or folders of pictures
            ``<prefix>_<number>``.
        root: the data folder; it is made as needed.
        label: "before", "after" or "bg" (frames without an object).
        split: "training", "validation" or "test".
        fps: frames to take a second, by the times of the frames: the first one at or after each
            tick, or up to a quarter of a frame early, since containers round times. No frame is
            taken twice, so that a recording of fewer frames a second gives all it has. None takes
            every frame.
        size: the shorter side in pixels, or height and width; None leaves the frames as they are.
        clip_frames: frames a clip at most; None makes one clip of a recording. The recording is
            read once more, to count its frames.
        validation: share of the clips of each recording that go to the validation split, 0 … 0.9:
            its last ones, rounded, at least one but never all. A recording of a single clip stays
            in the training split. It needs ``clip_frames`` and the training split.
        apart: frames that are left out between the two splits, at least 1, so that none has a
            neighbour in the other. With as many as an object needs to cross the picture, no object
            is seen in both.
        ending: "jpg" (quality 95) or "png" (lossless).
        progress: whether to show a bar on stderr.

    Returns:
        The folders, those that were there already included.

    Raises:
        TccamError: if an argument is out of its limits; a recording cannot be read, or does not
            know its frame rate and ``fps`` asks for one; two recordings have one name, or one is
            in the data folder under another name (its bytes tell); a folder of that name was made
            from something else, or in another way; or the data folder cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from tccam.data.video import write_video
        >>> with TemporaryDirectory() as folder:
        ...     video = write_video(f"{folder}/belt.avi", torch.zeros(10, 3, 32, 48).byte(), fps=20)
        ...     made = import_videos([video], folder, label="before", fps=10, size=16,
        ...         clip_frames=2, validation=0.3, progress=False)
        ...     for written in made:
        ...         clip = FolderClip(written.path)
        ...         print(written.path.parts[-3], clip.name, clip.numbers, clip.size)
        training belt_000 (1, 2) (16, 24)
        training belt_001 (3,) (16, 24)
        validation belt_002 (5,) (16, 24)
    """
    settings = _Settings(label, split, fps, size, clip_frames, validation, apart, ending)
    clips: dict[str, VideoClip | FolderClip] = {}
    for video in videos:
        clip = open_clip(video)
        assert isinstance(clip, VideoClip | FolderClip)
        place = clip.path.absolute()
        name = safe_name(place.stem if isinstance(clip, VideoClip) else place.name)
        for other, known in clips.items():
            if other.casefold() == name.casefold():  # some file systems take them for one
                raise TccamError(f"{video}: it is named {name!r}, and so is {known.path}; "
                                 "rename one of them")  # fmt: skip
        if fps is not None and not clip.fps:
            raise TccamError(f"{video}: it does not know its frame rate; leave fps out")
        clips[name] = clip
    made: list[Written] = []
    for name, clip in clips.items():
        made += _import(clip, Path(root), name, settings, progress)
    return tuple(made)


def write_belt(
    config: BeltConfig,
    root: str | os.PathLike[str],
    *,
    masks: bool = True,
    flows: bool = False,
    backgrounds: bool = True,
    ending: Literal["jpg", "png"] = "png",
    progress: bool = True,
) -> tuple[Written, ...]:
    """Write the synthetic belt as a data folder, so that everything can be tried without data.

    Frames that show no object go to the class folder ``bg``: each run of them is a video of its
    own, ``before_video_000_0001``, named after the clip and its first frame. The others keep their
    numbers, which start at 1, so that a gap is where frames were taken out. The test split has no
    ``bg``: its clips are whole.

    Like an import, it goes on where it was interrupted when the same call is made again.

    Args:
        config: of the belt.
        root: the data folder; it is made as needed.
        masks: whether to write the masks of the test and validation splits.
        flows: whether to write the exact flow from each frame to the next and to the one before.
        backgrounds: whether to write the background of each video: the median of the whole clip
            that it is a part of, which is what the belt itself is trained with, in whole grey
            levels. Without it a few empty frames would be cleaned by their own median.
        ending: of the frames: "png" gives them back exactly, "jpg" takes less space.
        progress: whether to show a bar on stderr.

    Returns:
        The folders of frames, those that were there already included.

    Raises:
        TccamError: if ``ending`` is another, a folder of one of the names is there and was made
            from another belt, or the data folder cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> config = BeltConfig(train=1, validation=0, test=0, frames=20)
        >>> with TemporaryDirectory() as root:
        ...     for written in write_belt(config, root, progress=False)[:2]:
        ...         print(written.path.relative_to(root).as_posix(), written.frames)
        train_val_dataset/training/before/video_000 7
        train_val_dataset/training/bg/before_video_000_0001 13
    """
    _choose("ending", ending, _ENDINGS)
    belt, made = SyntheticBelt(config), []
    clips = [
        (split, camera, index)
        for split, name in _BELT_SPLITS.items()
        for camera in CAMERAS
        for index in range(getattr(config, name))
    ]
    with tqdm(
        desc="belt", total=len(clips) * config.frames, unit="frame", disable=not progress
    ) as bar:
        for split, camera, index in clips:
            # Made anew: the belt would keep all that it has rendered.
            clip = BeltClip(belt, _BELT_SPLITS[split], camera, index)
            for video, frames in _runs(clip, split, f"video_{index:03d}"):
                kinds: dict[str, list[_Frame]] = {
                    f"{PICTURES[split]}/{video}": [
                        (t + 1, partial(_save_frame, clip, t, ending)) for t in frames
                    ]
                }
                if masks and split in MASKS and not video.startswith("bg/"):
                    kinds[f"{MASKS[split]}/{video}"] = [
                        (t + 1, partial(_save_mask, clip, t)) for t in frames
                    ]
                paired = [t for t, following in pairwise(frames) if following == t + 1]
                if flows and paired:
                    kinds[f"{FLOWS}/{PICTURES[split]}/{video}"] = [
                        (t + 1, partial(_save_flow, clip, t, t + 1)) for t in paired
                    ]
                    kinds[f"{FLOWS_BACKWARD}/{PICTURES[split]}/{video}"] = [
                        (t + 2, partial(_save_flow, clip, t + 1, t)) for t in paired
                    ]
                origin = {**asdict(config), "clip": clip.name, "ending": ending}
                written = [
                    _folder(Path(root), Path(root, place), origin, files)
                    for place, files in kinds.items()
                ]
                static = Path(root, BACKGROUNDS, PICTURES[split], f"{video}.png")
                if backgrounds and not static.exists():
                    _save_background(static, clip.background)
                made.append(written[0])
                bar.update(len(frames))
    return tuple(made)


def safe_name(name: str) -> str:
    """A name that any file system takes for a folder; letters of any script and spaces stay.

    Args:
        name: of a recording, without its ending.

    Example:
        >>> safe_name("Förderband 3: vorn/oben."), safe_name("CON"), safe_name("..")
        ('Förderband 3_ vorn_oben', '_CON', '_')
    """
    name = name.encode("utf-8", "replace").decode()  # a file may have a name that is no text
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", unicodedata.normalize("NFC", name))
    # Not longer than most file systems allow, with room for a clip's number.
    name = name.encode()[:_LONGEST_NAME].decode("utf-8", "ignore")
    name = name.strip(" ").lstrip(".").rstrip(". ")  # a dot in front hides, Windows drops the end
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    return f"_{name}" if reserved or not name else name


@dataclass(frozen=True)
class _Settings:
    """How a recording is imported."""

    label: str
    split: str
    fps: float | None
    size: int | tuple[int, int] | None
    clip_frames: int | None
    validation: float
    apart: int
    ending: str

    def __post_init__(self) -> None:
        _choose("split", self.split, PICTURES)
        _choose("label", self.label, CLASS_FOLDERS)
        _choose("ending", self.ending, _ENDINGS)
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        limits: list[tuple[str, float, float, float | None]] = [
            ("fps", 1e-3, 1000, self.fps), ("clip_frames", 1, 10**9, self.clip_frames),
            ("validation", 0, 0.9, self.validation), ("apart", 1, 10**9, self.apart),
            *(("size", 1, 10**5, side) for side in sides),
        ]  # fmt: skip
        for name, low, high, value in limits:
            if value is not None and not low <= value <= high:
                raise TccamError(f"{name}: expected {low:g} … {high:g}, got {value}")
        if self.validation and (self.clip_frames is None or self.split != "training"):
            raise TccamError(
                "validation: a share of the clips needs clip_frames and the split training, "
                f"got {self.clip_frames} and {self.split}"
            )


def _choose(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise TccamError(f"{name}: expected one of {', '.join(allowed)}; got {value!r}")


def _import(
    clip: VideoClip | FolderClip, root: Path, name: str, settings: _Settings, progress: bool
) -> list[Written]:
    """Write those clips of a recording that are not there."""
    origin = {"recording": _sha256(clip), **asdict(settings)}
    count = _known_count(root, name, origin)
    if settings.clip_frames and not count:
        frames = _frames(clip, settings)
        shown = tqdm(frames, f"count {name}", unit="frame", disable=not progress)
        count = sum(1 for _ in shown)
    made, stream = [], enumerate(_frames(clip, settings))
    pieces = _pieces(root, name, settings, count)
    missing = sum(piece.stop - piece.start for piece in pieces if not piece.path.exists())
    with tqdm(desc=name, total=missing, unit="frame", disable=not progress) as bar:
        for piece in pieces:
            frames = _cut(stream, piece, bar)
            made.append(_folder(root, piece.path, origin, frames, count))
    return made


def _cut(stream: Iterator[tuple[int, _Frame]], piece: _Piece, bar: Any) -> Iterator[_Frame]:
    """The frames of a piece from a stream that has come at most to its start."""
    for place, frame in stream:
        if place >= piece.start:
            yield frame
            bar.update()
        if place + 1 >= piece.stop:
            return


def _known_count(root: Path, name: str, origin: dict[str, Any]) -> int:
    """How many frames an earlier call has counted, 0 if there was none.

    Raises:
        TccamError: if this recording was imported in another way or under another name, into
            whatever folder: its frames would be there twice, or in two splits.
    """
    count = 0
    for place in PICTURES.values():
        for label in CLASS_FOLDERS:
            for path in sorted(Path(root, place, label).glob("[!.]*")):
                known = _record(path)
                if known and known["origin"].get("recording") == origin["recording"]:
                    number = r"_\d{3,}" if known["origin"].get("clip_frames") else ""
                    if not re.fullmatch(re.escape(name) + number, path.name):
                        raise TccamError(
                            f"{path}: this is the recording that is now named {name!r}; it would "
                            "be there twice"
                        )
                    _agree(path, known, origin)
                    count = known["counted"]
    return count


def _pieces(root: Path, name: str, settings: _Settings, count: int) -> list[_Piece]:
    """What goes where, of a recording of ``count`` frames."""
    here, there = (
        Path(root, PICTURES[split], settings.label) for split in (settings.split, "validation")
    )
    if settings.clip_frames is None:
        return [_Piece(here / name, 0, math.inf)]
    starts = range(0, count, settings.clip_frames)
    held = 0
    if settings.validation:
        held = min(len(starts) - 1, max(1, round(settings.validation * len(starts))))
    seam = starts[-held] if held else count
    end = seam - settings.apart if held else count
    if end < 1:
        raise TccamError(
            f"apart: {settings.apart} of {seam} frames leave none of {name!r} to train"
        )
    return [
        _Piece(
            (there if start >= seam else here) / f"{name}_{number:03d}",
            start,
            min(start + settings.clip_frames, count if start >= seam else end),
        )
        for number, start in enumerate(starts)
        if start >= seam or start < end
    ]


def _frames(clip: VideoClip | FolderClip, settings: _Settings) -> Iterator[_Frame]:
    """The frames that are taken of a recording; one is decoded when it is saved."""
    if isinstance(clip, FolderClip):
        for index, number in enumerate(clip.numbers):
            yield number, partial(_save_resized, partial(_from_folder, clip, index), settings)
        return
    decoder, fps = _Decoder(clip.path), settings.fps
    number, tick, first = 0, 0, None
    while decoder.skip():
        time = decoder.property(cv2.CAP_PROP_POS_MSEC) / 1000
        first = time if first is None else first
        reached = tick if fps is None else math.floor((time - first + 0.25 / clip.fps) * fps)
        if reached >= tick:
            tick = reached + 1
            number += 1
            yield number, partial(_save_resized, partial(_from_video, clip, decoder), settings)
    clip._end(decoder)  # warns of a file that was cut off


def _from_folder(clip: FolderClip, index: int) -> Picture:
    return _bgr(clip[index])


def _from_video(clip: VideoClip, decoder: _Decoder) -> Picture:
    found, picture = decoder._capture.retrieve()
    if not found:
        raise TccamError(f"{clip.path}: its frame {decoder.next} cannot be decoded")
    return cast(Picture, picture)


def _bgr(frame: Tensor) -> Picture:
    """A frame as OpenCV's picture."""
    return cast(Picture, cv2.cvtColor(frame.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR))


def _save_resized(read: Callable[[], Picture], settings: _Settings, path: Path) -> None:
    picture, size = read(), settings.size
    height, width = picture.shape[:2]
    if isinstance(size, int):
        scale = size / min(height, width)
        size = round(height * scale), round(width * scale)
    if size not in (None, (height, width)):
        picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    _save(picture, settings.ending, path)


def _save(picture: Picture, ending: str, path: Path) -> None:
    done, data = cv2.imencode(f".{ending}", picture, _ENDINGS[ending])
    if not done:
        raise TccamError(f"{path}: a picture of {picture.shape[:2]} cannot be written as {ending}")
    path.with_name(f"{path.name}.{ending}").write_bytes(data.tobytes())


def _save_frame(clip: BeltClip, t: int, ending: str, path: Path) -> None:
    _save(_bgr(clip.frames[t]), ending, path)


def _save_mask(clip: BeltClip, t: int, path: Path) -> None:
    _save(clip.masks[t].numpy().astype(np.uint8) * 255, "png", path)


def _save_flow(clip: BeltClip, t: int, other: int, path: Path) -> None:
    write_flo(path.with_name(f"{path.name}.flo"), clip.flow(t, other))


def _save_background(path: Path, background: Tensor) -> None:
    """A background (3, H, W) as a PNG, in whole grey levels."""
    try:
        levels = _bgr(background.round().clamp(0, 255).byte())
        write_atomic(path, cv2.imencode(".png", levels)[1].tobytes())
    except OSError as error:
        raise TccamError(f"{path}: cannot be written ({error.strerror or error})") from None


def _runs(clip: BeltClip, split: str, name: str) -> Iterator[tuple[str, list[int]]]:
    """Class and video folder → the frames of a clip that belong there."""
    if split == "test":
        yield f"{clip.label}/{name}", list(range(len(clip)))
        return
    empty = clip.labels == BACKGROUND
    if not empty.all():
        yield f"{clip.label}/{name}", torch.nonzero(~empty).flatten().tolist()
    for alone, run in groupby(range(len(clip)), key=lambda t: bool(empty[t])):
        if alone:
            frames = list(run)
            yield f"bg/{clip.label}_{name}_{frames[0] + 1:04d}", frames


def _folder(
    root: Path, path: Path, origin: dict[str, Any], frames: Iterable[_Frame], counted: int = 0
) -> Written:
    """Write a folder of frames below ``root``, unless it is there."""
    if there := _there(path, origin):
        return there
    unfinished = path.with_name(f".{path.name}.unfinished")
    # A lock that is removed is none: whoever waits for it holds a file that nobody else sees.
    lock = root / ".locks" / path.relative_to(root).as_posix().replace("/", "-")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.parent.mkdir(exist_ok=True)
        with FileLock(lock, timeout=0):
            if there := _there(path, origin):  # another process has finished it meanwhile
                return there
            try:
                count = _fill(unfinished, frames)
                record = {"origin": origin, "frames": count, "counted": counted}
                Path(unfinished, RECORD).write_text(json.dumps(record, indent=1), "utf-8")
                unfinished.rename(path)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except Timeout:
        raise TccamError(f"{path}: another process is writing it") from None
    except OSError as error:
        raise TccamError(f"{path}: cannot be written ({error.strerror or error})") from None
    return Written(path, count, new=True)


def _there(path: Path, origin: dict[str, Any]) -> Written | None:
    """A folder that is complete; refused if it is something else."""
    known = _record(path)
    if known:
        _agree(path, known, origin)
        return Written(path, known["frames"], new=False)
    if os.path.lexists(path):
        raise TccamError(f"{path}: it is there, and was not made by tccam; move it out of the way")
    return None


def _fill(folder: Path, frames: Iterable[_Frame]) -> int:
    """Save frames in a new folder; how many there were."""
    if folder.exists():  # of a call that was killed
        shutil.rmtree(folder)
    folder.mkdir()
    count = 0
    for number, save in frames:
        save(folder / f"frame_{number:04d}")
        count += 1
    return count


def _record(path: Path) -> dict[str, Any] | None:
    """What a folder was made from, or None if it is not there or not ours."""
    try:
        known = json.loads(Path(path, RECORD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kinds = {"origin": dict, "frames": int, "counted": int}
    right = isinstance(known, dict) and all(isinstance(known.get(k), t) for k, t in kinds.items())
    return known if right else None


def _agree(path: Path, known: dict[str, Any], origin: dict[str, Any]) -> None:
    """Refuse a folder that was made from something else or in another way."""
    before, now = known["origin"], json.loads(json.dumps(origin))  # a tuple becomes a list
    for key in (*now, *before):
        if before.get(key) != now.get(key):
            raise TccamError(
                f"{path}: it was made with another {key}, {before.get(key)!r}, now "
                f"{now.get(key)!r}; remove it, or choose another folder"
            )


def _sha256(clip: VideoClip | FolderClip) -> str:
    """SHA-256 of a recording's bytes; of a folder, of the names and bytes of its pictures."""
    digest = hashlib.sha256()
    files = clip.files if isinstance(clip, FolderClip) else (clip.path,)
    try:
        for path in files:
            if isinstance(clip, FolderClip):
                digest.update(os.fsencode(path.name) + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise TccamError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()
