"""Data sets: the synthetic belt, or a folder of your own videos in the layout of SERUSO and WS²."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from tccam.background import streaming_median
from tccam.data.belt import BeltConfig, SyntheticBelt
from tccam.data.clip import CLASSES, LabelledClip
from tccam.data.folder import SUFFIXES, FolderClip, read_picture
from tccam.errors import TccamError, check_choices, check_limits

__all__ = [
    "CLASS_FOLDERS", "FLOWS", "MASKS", "PICTURES", "DataSet", "FolderConfig", "FolderData",
    "LabelledFolder", "open_data", "resize_picture",
]  # fmt: skip

_WHITE = 128  # of a mask's levels

#: Split → the folder of its class folders.
PICTURES = {
    "training": "train_val_dataset/training",
    "validation": "train_val_dataset/validation",
    "test": "test_set/images",
}
#: Split → the folder of its masks' class folders. Those of the validation split are our addition.
MASKS = {"validation": "train_val_dataset/validation_masks", "test": "test_set/masks"}
#: The folder of the flows; below it comes the path of the pictures.
FLOWS = "optical_flows"
#: Class folder → class; ``bg`` holds frames without an object.
CLASS_FOLDERS = {"before": "before", "after": "after", "bg": "background"}


class DataSet(Protocol):
    """What a run trains on: clips of both cameras in three splits."""

    @property
    def config(self) -> BeltConfig | FolderConfig:
        """What the data set is."""

    @property
    def train(self) -> Sequence[LabelledClip]:
        """Training clips."""

    @property
    def validation(self) -> Sequence[LabelledClip]:
        """Validation clips, for every choice: thresholds, schedules, methods."""

    @property
    def test(self) -> Sequence[LabelledClip]:
        """Test clips: nothing is ever chosen on them."""


@dataclass(frozen=True)
class FolderConfig:
    """A data set in a folder, in the layout of SERUSO and WS²; see :class:`FolderData`.

    Attributes:
        root: the folder.
        height: to which every picture is brought, pixels; 0 for its own.
        width: to which every picture is brought, pixels; 0 for its own.
        damaged: what to do with a picture that cannot be read: "refuse" it when it is needed, or
            "skip" it, as if its number were missing, and say so.
        content: names what is in the folder, so that a run knows its data again; "" until it is
            opened. It follows the names, sizes and dates of the pictures to train and to choose on.
    """

    root: str
    height: int = 0
    width: int = 0
    damaged: str = "refuse"
    content: str = ""

    def __post_init__(self) -> None:
        check_limits(self, {"height": (0, 2**15), "width": (0, 2**15)})
        check_choices(self, {"damaged": ("refuse", "skip")})
        if (self.height == 0) != (self.width == 0):
            raise TccamError(
                f"FolderConfig: expected a height and a width, or neither; got "
                f"{self.height}×{self.width}"
            )


class FolderData:
    """Your own videos as a data set.

    .. code-block:: text

        train_val_dataset/{training,validation}/{before,after,bg}/VIDEO/PREFIX_0001.jpg
        train_val_dataset/validation_masks/{before,after}/VIDEO/PREFIX_0001.png
        test_set/{images,masks}/{before,after}/VIDEO/PREFIX_0001.jpg

    The class of a frame is its folder's; ``bg`` holds frames without an object, of either camera.
    Pictures are .jpg or .png, masks are white where there is an illegal object. The two cameras
    need not be aligned in time: nothing is paired. A split is
    read when it is asked for; only the training split is needed to train. ``validation_masks`` is
    our addition to the layout: thresholds are chosen with it.

    Args:
        config: where it is. Its ``content`` is checked unless it is empty.

    Attributes:
        config: with its ``content``.

    Raises:
        TccamError: if the folder is missing, or no longer what ``content`` says; when a split is
            asked for, if it has no video of one camera, and as :class:`LabelledFolder`.
    """

    def __init__(self, config: FolderConfig) -> None:
        self._root = Path(config.root)
        if not self._root.is_dir():
            found = "a file" if self._root.exists() else "nothing"
            raise TccamError(f"{config.root}: expected a folder with a data set, found {found}")
        content = _content(self._root)
        if config.content not in ("", content):
            raise TccamError(
                f"{config.root}: its files have changed since the configuration was made; open it "
                "without content to take it as it is"
            )
        self.config = replace(config, root=str(self._root.resolve()), content=content)

    @cached_property
    def train(self) -> tuple[LabelledFolder, ...]:
        """Training clips."""
        return self._split("training")

    @cached_property
    def validation(self) -> tuple[LabelledFolder, ...]:
        """Validation clips, for every choice: thresholds, schedules, methods."""
        return self._split("validation")

    @cached_property
    def test(self) -> tuple[LabelledFolder, ...]:
        """Test clips: nothing is ever chosen on them."""
        return self._split("test")

    def _split(self, split: str) -> tuple[LabelledFolder, ...]:
        clips = []
        for folder, label in CLASS_FOLDERS.items():
            place = self._root / PICTURES[split] / folder
            for video in _folders(place) if place.is_dir() else ():
                masks = self._root / MASKS[split] / folder / video.name if split in MASKS else None
                clips.append(LabelledFolder(video, label, self.config, masks))
        for label in ("before", "after"):
            if not any(clip.label == label for clip in clips):
                place = self._root / PICTURES[split] / label
                raise TccamError(
                    f"{place}: expected folders of frames, one for each video; found none"
                )
        return tuple(clips)

    def __repr__(self) -> str:
        return f"FolderData({self.config.root!r})"


class LabelledFolder(LabelledClip):
    """One video of a data set in a folder; its frames are read when they are asked for.

    Args:
        path: of the folder of its pictures.
        label: its class, one of :data:`~tccam.data.clip.CLASSES`.
        config: of the data set.
        masks: the folder of its masks, pictures with the same numbers; None for none.

    Attributes:
        numbers: of the frames, increasing.

    Raises:
        TccamError: as :class:`~tccam.data.folder.FolderClip`.
    """

    lazy = True

    def __init__(
        self, path: Path, label: str, config: FolderConfig, masks: Path | None = None
    ) -> None:
        self._clip = FolderClip(path, label, config.damaged)
        self.name, self.label = f"{path.parent.name}/{path.name}", label
        self.size = (config.height, config.width) if config.height else self._clip.size
        self.numbers = self._clip.numbers
        self._masks = masks

    def __len__(self) -> int:
        return len(self._clip)

    def __getitem__(self, index: int) -> Tensor:
        return resize_picture(self._clip[index], self.size)

    @cached_property
    def background(self) -> Tensor:
        """The median of the video, float32 (3, H, W); of a long one, of a sample of its frames."""
        return streaming_median(self)

    @property
    def labels(self) -> Tensor:
        """All frames are of the clip's class."""
        return torch.full((len(self),), CLASSES.index(str(self.label)))

    @property
    def starts(self) -> Tensor:
        """Frames whose number does not follow that of the frame before."""
        numbers = torch.tensor(self.numbers)
        return torch.cat((torch.ones(1, dtype=torch.bool), numbers[1:] != numbers[:-1] + 1))

    @property
    def masks(self) -> Tensor:
        """Where illegal objects are seen. Frames without a mask file show none, see ``known``.

        Raises:
            TccamError: if a mask cannot be read, or has another size than its picture.
        """
        masks = torch.zeros(len(self), *self.size, dtype=torch.bool)
        for mask, file in zip(masks, self._mask_files, strict=True):
            if file is None:
                continue
            levels = read_picture(file)
            found = levels.shape[1], levels.shape[2]
            if found != self._clip.size:
                raise TccamError(
                    f"{file}: expected {self._clip.size} pixels (height, width) as its picture, "
                    f"found {found}"
                )
            mask.copy_(resize_picture(levels, self.size).float().mean(0) >= _WHITE)
        return masks

    @property
    def known(self) -> Tensor:
        """Frames that have a mask file; all frames of a clip after the sorter that has no masks."""
        known = torch.tensor([file is not None for file in self._mask_files])
        return known if known.any() or self.label == "before" else ~known

    @cached_property
    def _mask_files(self) -> list[Path | None]:
        if self._masks is None or not self._masks.is_dir():
            return [None] * len(self)
        found = FolderClip(self._masks)
        files = dict(zip(found.numbers, found.files, strict=True))
        return [files.get(number) for number in self.numbers]


def open_data(config: BeltConfig | FolderConfig) -> DataSet:
    """The data set of a configuration."""
    return SyntheticBelt(config) if isinstance(config, BeltConfig) else FolderData(config)


def resize_picture(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture in another size, uint8 (3, H, W): area means when no side grows, else bilinear."""
    height, width = size
    if picture.shape[1:] == size:
        return picture
    shrinks = picture.shape[1] >= height and picture.shape[2] >= width
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(pixels, (width, height), interpolation=way)).permute(2, 0, 1)


def _folders(place: Path) -> list[Path]:
    """The videos of a class folder."""
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def _content(root: Path) -> str:
    """A hash of the names, sizes and dates of what a run sees, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for split in ("training", "validation"):
        for file in sorted((root / PICTURES[split]).glob("*/*/*")):
            hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
            if hidden or file.suffix.lower() not in SUFFIXES or not file.is_file():
                continue
            facts, place = file.stat(), file.relative_to(root).as_posix()
            digest.update(os.fsencode(f"{place}\0{facts.st_size}\0{facts.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]
