"""The layout of a data folder, as SERUSO and WS² have it, and what is wrong with one.

.. code-block:: text

    train_val_dataset/{training,validation}/{before,after,bg}/<video>/<prefix>_0001.jpg
    train_val_dataset/validation_masks/{before,after}/<video>/<prefix>_0001.png
    test_set/{images,masks}/{before,after,bg}/<video>/<prefix>_0001.jpg
    optical_flows/<same tree>/<prefix>_0001.flo
    optical_flows_backward/<same tree>/<prefix>_0002.flo
    backgrounds/<same tree>/<video>.png

Pictures are .jpg, .jpeg or .png; a mask is 255 where there is an illegal object and 0 elsewhere. A
flow file leads from frame k to frame k + 1 (Middlebury), a backward one to frame k − 1. A
background is what the camera of a video sees without objects. A missing number ends a run of
frames. The folder ``bg``, masks, flows and backgrounds are optional. ``validation_masks``, with
which a threshold can be chosen on validation frames, backward flows and backgrounds are our
additions. Hidden files and folders, whose names start with a
dot, are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from tccam.data.dataset import (
    BACKGROUNDS,
    CLASS_FOLDERS,
    FLOWS,
    FLOWS_BACKWARD,
    MASKS,
    PICTURES,
)  # fmt: skip
from tccam.data.folder import NAME, SUFFIXES, read_picture
from tccam.errors import TccamError
from tccam.flow.files import read_flo

__all__ = ["Problem", "Survey", "Video", "scan"]

_CAMERAS = ("before", "after")
_FLOWS = {"flows": FLOWS, "backward": FLOWS_BACKWARD}
_ORIENTATION = 0x0112  # the EXIF tag that tells how a camera was held; from 5 on, sideways
_FLO_MAGIC = int.from_bytes(b"PIEH", "little")

_Key = tuple[str, str, str]  # split, class and name of a video
_Files = dict[str, dict[int, Path]]  # "pictures", "masks", "flows", … → number → file


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data folder.

    ======================  ========  ============================================================
    kind                    severity  what is found
    ======================  ========  ============================================================
    unreadable              error     a picture, mask, flow or background that is empty, cut off,
                                      damaged or no such thing; a file or folder without permission
    size                    error     a picture of another size than its video's first, or a mask,
                                      flow or background of another size than the video
    levels                  error     a .png mask with other levels than 0 and 255
    soft                    warning   .jpg masks with other levels: their edges are soft
    name                    error     a name that is not <prefix>_<number>, or has another prefix
    number                  error     two files with one number
    empty                   error     a video without a picture
    link                    error     a symbolic link that leaves the folder, loops or leads to
                                      nothing; it is not followed
    missing                 error     no training split, or none of its videos before or after
    missing evaluation      warning   the same of the validation or test split
    mask without picture    error     a mask that belongs to no picture
    picture without mask    warning   pictures of the test split, or of a validation video that has
                                      some masks, without one: they are not scored
    flow without neighbour  warning   a flow from or to a frame that is not there: it is not read
    no such video           warning   a background that belongs to no video
    stray                   warning   a file or folder that has no place in the layout
    ======================  ========  ============================================================

    Attributes:
        path: of the file or folder, relative to the data folder, with slashes.
        kind: one of the table.
        severity: an "error" is something that training or evaluation would trip over, or take for
            something else; a "warning" is something that it would pass over.
        text: what is wrong, in one sentence.
    """

    path: str
    kind: str
    severity: Literal["error", "warning"]
    text: str


@dataclass(frozen=True)
class Video:
    """One video of a data folder.

    Attributes:
        path: of its pictures' folder, relative to the data folder, with slashes.
        split: "training", "validation" or "test".
        label: its class folder: "before", "after" or "bg".
        frames: how many.
        size: height and width of its first readable picture, pixels; None if there is none.
        gaps: pairs of consecutive frames with numbers missing between them, by number.
        masks: how many frames have one.
        flows: how many pairs of neighbours have one.
        backward: how many of them have one back.
        background: whether it has one that is not to be estimated.
    """

    path: str
    split: str
    label: str
    frames: int
    size: tuple[int, int] | None
    gaps: tuple[tuple[int, int], ...]
    masks: int
    flows: int
    backward: int
    background: bool


@dataclass(frozen=True)
class Survey:
    """What is in a data folder.

    Attributes:
        videos: by split, class and name.
        problems: by path.
    """

    videos: tuple[Video, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that are errors."""
        return tuple(p for p in self.problems if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that are warnings."""
        return tuple(p for p in self.problems if p.severity == "warning")


def scan(root: str | os.PathLike[str], *, quick: bool = False, progress: bool = True) -> Survey:
    """Look at every file of a data folder.

    Pictures are decoded in parallel threads, and none is kept.

    Args:
        root: the data folder.
        quick: whether to look at names and headers alone, and to decode nothing. What is cut off
            behind its header, and the levels of masks, are not seen then.
        progress: whether to show a bar on stderr.

    Returns:
        The videos and the problems; see :class:`Problem` for what is one.

    Raises:
        TccamError: if ``root`` is not a folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for label in ("before", "after"):
        ...         folder = Path(root, PICTURES["training"], label, "video_000")
        ...         folder.mkdir(parents=True)
        ...         for number in (1, 2, 4):
        ...             Image.new("RGB", (6, 4)).save(folder / f"frame_{number:04d}.png")
        ...     survey = scan(root, progress=False)
        >>> video = survey.videos[0]
        >>> video.split, video.label, video.frames, video.size, video.gaps
        ('training', 'before', 3, (4, 6), ((2, 4),))
        >>> for problem in survey.problems:
        ...     print(problem.severity, problem.path, problem.text, sep=": ")
        warning: test_set/images: there is no test split
        warning: train_val_dataset/validation: there is no validation split
    """
    if not Path(root).is_dir():
        found = "a file" if Path(root).exists() else "nothing"
        raise TccamError(f"{root}: expected a data folder, found {found}")
    return _Scan(Path(root).resolve(), quick).run(progress)


class _Look(NamedTuple):
    """What is remembered of a file that was read."""

    size: tuple[int, int] | None = None
    levels: bool = True  # all of them 0 or 255
    wrong: str = ""  # why it cannot be read


class _Scan:
    """One walk through a data folder, which notes what is wrong on its way."""

    def __init__(self, root: Path, quick: bool) -> None:
        self.root = root
        self.picture, self.flow = (_header, _flow_header) if quick else (_decoded, _flow)
        self.problems: list[Problem] = []

    def run(self, progress: bool) -> Survey:
        places = {}
        for split, pictures in PICTURES.items():
            for label in CLASS_FOLDERS:
                places[f"{pictures}/{label}"] = "pictures", split, label
                places[f"{BACKGROUNDS}/{pictures}/{label}"] = "backgrounds", split, label
                for kind, folder in _FLOWS.items():
                    places[f"{folder}/{pictures}/{label}"] = kind, split, label
                if split in MASKS and label in _CAMERAS:
                    places[f"{MASKS[split]}/{label}"] = "masks", split, label
        found: dict[_Key, _Files] = {}
        for place, entry in self._videos(self.root, places):
            kind, split, label = places[place]
            if kind == "backgrounds":
                found.setdefault((split, label, entry.stem), {})[kind] = {0: entry}
                continue
            files = self._numbered(entry, {".flo"} if kind in _FLOWS else SUFFIXES)
            found.setdefault((split, label, entry.name), {})[kind] = files
        looks = self._look(found, progress)
        order = [(split, label) for split in PICTURES for label in CLASS_FOLDERS]
        keys = sorted(found, key=lambda key: (order.index(key[:2]), key[2]))
        videos = tuple(v for key in keys if (v := self._video(key, found[key], looks)))
        self._missing(videos)
        return Survey(videos, tuple(sorted(self.problems, key=lambda p: (p.path, p.kind))))

    def note(self, path: Path, kind: str, text: str, *, warning: bool = False) -> None:
        relative = path.relative_to(self.root).as_posix()
        self.problems.append(Problem(relative, kind, "warning" if warning else "error", text))

    def _entries(self, folder: Path) -> list[Path]:
        """What is in a folder, by name, without what is hidden and links that are not followed."""
        try:
            entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        except OSError as error:
            self.note(folder, "unreadable", f"the folder cannot be read ({error.strerror})")
            return []
        return [entry for entry in entries if not (os.path.islink(entry) and self._astray(entry))]

    def _astray(self, link: Path) -> bool:
        """Whether a link leads where it should not; noted if so."""
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):
            self.note(link, "link", "a link that leads to nothing or to itself")
            return True
        if not target.is_relative_to(self.root):
            self.note(link, "link", "a link that leaves the data folder; it is not followed")
            return True
        if link.parent.resolve().is_relative_to(target):
            self.note(link, "link", "a link to a folder that it is in; it is not followed")
            return True
        return False

    def _stray(self, path: Path) -> None:
        found = "folder" if os.path.isdir(path) else "file"
        self.note(path, "stray", f"a {found} that has no place in the layout", warning=True)

    def _videos(self, folder: Path, places: Collection[str]) -> Iterator[tuple[str, Path]]:
        """The video folders and backgrounds below ``folder``, each with its class folder."""
        for entry in self._entries(folder):
            place = entry.relative_to(self.root).as_posix()
            if not os.path.isdir(entry):
                self._stray(entry)
            elif place in places:
                alone = place.startswith(f"{BACKGROUNDS}/")  # one file for each video
                for video in self._entries(entry):
                    if os.path.isdir(video) != alone and (not alone or video.suffix == ".png"):
                        yield place, video
                    else:
                        self._stray(video)
            elif any(known.startswith(f"{place}/") for known in places):
                yield from self._videos(entry, places)
            else:
                self._stray(entry)

    def _numbered(self, folder: Path, endings: Collection[str]) -> dict[int, Path]:
        """The files of a folder by number, increasing."""
        found: dict[int, Path] = {}
        prefix: str | None = None
        for file in self._entries(folder):
            match = NAME.fullmatch(file.stem)
            if file.suffix.lower() not in endings or os.path.isdir(file):
                self._stray(file)
            elif match is None:
                self.note(file, "name", f"expected a name <prefix>_<number>{file.suffix}")
            elif match["prefix"] != (prefix := prefix or match["prefix"]):
                self.note(file, "name", f"expected the prefix {prefix!r}; a folder holds one video")
            elif (number := int(match["number"])) in found:
                self.note(file, "number", f"{found[number].name} is frame {number} already")
            else:
                found[number] = file
        return dict(sorted(found.items()))

    def _look(self, found: dict[_Key, _Files], progress: bool) -> dict[Path, _Look]:
        """Read every file, some at a time."""
        jobs = [
            (file, self.flow if kind in _FLOWS else self.picture)
            for parts in found.values()
            for kind, files in parts.items()
            for file in files.values()
        ]
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            looks = pool.map(_readable, jobs)
            bar = tqdm(looks, "check", len(jobs), unit="file", disable=not progress)
            return {file: look for (file, _), look in zip(jobs, bar, strict=True)}
        finally:  # after Ctrl-C nothing that waits is begun
            pool.shutdown(cancel_futures=True)

    def _video(self, key: _Key, parts: _Files, looks: dict[Path, _Look]) -> Video | None:
        """One video with its masks and flows; None for masks or flows that belong to no video."""
        split, label, name = key
        folder = self.root / PICTURES[split] / label / name
        frames, masks = parts.get("pictures", {}), parts.get("masks", {})
        flows, backward = (parts.get(kind, {}) for kind in _FLOWS)
        backdrop = list(parts.get("backgrounds", {}).values())
        files = [*frames.values(), *masks.values(), *flows.values(), *backward.values(), *backdrop]
        for file in files:
            if looks[file].wrong:
                self.note(file, "unreadable", looks[file].wrong)
        for number, file in masks.items():
            if number not in frames:
                self.note(file, "mask without picture", f"the video has no frame {number}")
        for step, leading in ((1, flows), (-1, backward)):
            for number, file in leading.items():
                there = number + step
                if absent := [n for n in (number, there) if n not in frames]:
                    text = f"the flow leads from frame {number} to {there}; there is no {absent[0]}"
                    self.note(file, "flow without neighbour", text, warning=True)
        if "pictures" not in parts:
            for file in backdrop:
                text = f"there is no video {name!r} that it belongs to"
                self.note(file, "no such video", text, warning=True)
            return None
        if not frames:
            self.note(
                folder, "empty", "expected pictures <prefix>_<number>.jpg or .png, found none"
            )
        measured = [file for file in frames.values() if looks[file].size]
        size = looks[measured[0]].size if measured else None
        for file in files:
            if size and looks[file].size not in (None, size):
                text = f"expected {size} pixels (height, width) as in {measured[0].name}, "
                self.note(file, "size", text + f"found {looks[file].size}")
        self._levels([file for file in masks.values() if not looks[file].levels])
        scored = masks.keys() & frames.keys()
        if len(scored) < len(frames) and ((split == "test" and label in _CAMERAS) or scored):
            text = f"{len(frames) - len(scored)} of {len(frames)} frames have no mask"
            self.note(folder, "picture without mask", text, warning=True)
        gaps = tuple((a, b) for a, b in pairwise(frames) if b != a + 1)
        ahead, back = (
            sum(number in frames and number + step in frames for number in leading)
            for step, leading in ((1, flows), (-1, backward))
        )
        path = folder.relative_to(self.root).as_posix()
        return Video(
            path, split, label, len(frames), size, gaps, len(scored), ahead, back, bool(backdrop)
        )

    def _levels(self, masks: list[Path]) -> None:
        """Note masks that have other levels than they should."""
        soft = [mask for mask in masks if mask.suffix.lower() != ".png"]
        for mask in masks:
            if mask.suffix.lower() == ".png":
                self.note(mask, "levels", "expected the levels 0 and 255 alone, found others")
        if soft:
            text = f"{len(soft)} JPEG masks have levels beside 0 and 255: their edges are soft"
            self.note(soft[0].parent, "soft", text, warning=True)

    def _missing(self, videos: tuple[Video, ...]) -> None:
        """Note splits and classes that are not there."""
        for split, pictures in PICTURES.items():
            warning = split != "training"
            kind = "missing evaluation" if warning else "missing"
            place = self.root / pictures
            if not place.is_dir():
                self.note(place, kind, f"there is no {split} split", warning=warning)
                continue
            for label in _CAMERAS:
                if (split, label) not in {(v.split, v.label) for v in videos}:
                    text = f"the {split} split has no video {label} the sorter"
                    self.note(place / label, kind, text, warning=warning)


def _readable(job: tuple[Path, Callable[[Path], _Look]]) -> _Look:
    file, look = job
    try:
        return look(file)
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        # The path is said already.
        return _Look(wrong=" ".join(str(error).removeprefix(f"{file}: ").split()))


def _decoded(file: Path) -> _Look:
    pixels = read_picture(file).numpy()
    _, height, width = pixels.shape
    return _Look((height, width), bool(((pixels == 0) | (pixels == 255)).all()))


def _header(file: Path) -> _Look:
    with Image.open(file) as picture:
        width, height = picture.size
        # OpenCV turns what was taken sideways. Of a PNG, Pillow would decode all to know.
        sideways = picture.format == "JPEG" and picture.getexif().get(_ORIENTATION, 1) >= 5
    return _Look((width, height) if sideways else (height, width))


def _flow(file: Path) -> _Look:
    _, height, width = read_flo(file).shape
    return _Look((height, width))


def _flow_header(file: Path) -> _Look:
    magic, width, height = (int(number) for number in np.fromfile(file, "<i4", 3))
    if magic != _FLO_MAGIC or file.stat().st_size != 12 + 8 * width * height:
        raise TccamError(f"{file}: expected a .flo file, found another or a part of one")
    return _Look((height, width))
