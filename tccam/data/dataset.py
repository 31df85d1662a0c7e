"""Data sets: the synthetic belt, or a folder of your own videos in the layout of SERUSO and WS²."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from tccam import flow as optical
from tccam.background import streaming_median
from tccam.data.belt import BeltConfig, SyntheticBelt
from tccam.data.clip import CLASSES, LabelledClip
from tccam.data.folder import SUFFIXES, FolderClip, numbered, read_picture
from tccam.errors import TccamError, check_choices, check_limits

__all__ = [
    "BACKGROUNDS", "CLASS_FOLDERS", "FLOWS", "FLOWS_BACKWARD", "MASKS", "PICTURES", "DataSet",
    "FolderConfig", "FolderData", "LabelledFolder", "fitting_size", "flow_content", "open_data",
    "resize_picture",
]  # fmt: skip

_WHITE = 128  # of a mask's levels
_UNKNOWN = 10 * optical.UNKNOWN  # in a flow; outside every picture, so that nothing is fetched

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
#: The same of the flows back, from a frame to the one before it; our addition.
FLOWS_BACKWARD = "optical_flows_backward"
#: The folder of the videos' backgrounds; below it come the path of the pictures and ``.png``.
BACKGROUNDS = "backgrounds"
#: Class folder → class, in every split; ``bg`` holds frames without an object.
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
            opened. It follows the names, sizes and dates of the pictures to train and to choose on,
            and of their backgrounds. Flows have a name of their own, see :func:`flow_content`.

    Example:
        >>> FolderConfig("recordings", height=128, width=160).damaged
        'refuse'
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
        test_set/{images,masks}/{before,after,bg}/VIDEO/PREFIX_0001.jpg
        optical_flows/<path of the pictures>/PREFIX_0001.flo
        optical_flows_backward/<path of the pictures>/PREFIX_0002.flo
        backgrounds/<path of the pictures>.png

    The class of a frame is its folder's; ``bg`` holds frames without an object, of either camera.
    Pictures are .jpg or .png, masks are white where there is an illegal object. The two cameras
    need not be aligned in time: nothing is paired. A split is
    read when it is asked for; only the training split is needed to train.

    A flow file (Middlebury) leads from the frame of its number to the next, a backward one to the
    frame before, both on the grid of the pictures as they are on the disk. Flows are for
    ``flow="files"`` of a training run. A background is what the camera of a video sees without
    objects, a PNG of the size of its pictures; a video that has none takes its own median. A
    picture of the empty belt may be put there by hand.

    ``validation_masks``, with which thresholds are chosen, ``optical_flows_backward`` and
    ``backgrounds`` are our additions to the layout. ``tccam data flow`` and ``tccam data
    background`` write the last three folders.

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
        clips = self.videos(split)
        for label in ("before", "after"):
            if not any(clip.label == label for clip in clips):
                place = self._root / PICTURES[split] / label
                raise TccamError(
                    f"{place}: expected folders of frames, one for each video; found none"
                )
        return clips

    def videos(self, split: str) -> tuple[LabelledFolder, ...]:
        """All videos of a split, opened anew; without the demand that there are any.

        Args:
            split: one of :data:`PICTURES`.
        """
        clips = []
        for folder, label in CLASS_FOLDERS.items():
            place = self._root / PICTURES[split] / folder
            for video in _folders(place) if place.is_dir() else ():
                masks = self._root / MASKS[split] / folder / video.name if split in MASKS else None
                clips.append(LabelledFolder(video, label, self.config, self._root, masks))
        return tuple(clips)

    def __repr__(self) -> str:
        return f"FolderData({self.config.root!r})"


class LabelledFolder(LabelledClip):
    """One video of a data set in a folder; its frames are read when they are asked for.

    Args:
        path: of the folder of its pictures.
        label: its class, one of :data:`~tccam.data.clip.CLASSES`.
        config: of the data set.
        root: the data set's folder, where its flows and its background are.
        masks: the folder of its masks, pictures with the same numbers; None for none.

    Attributes:
        files: the pictures, in the order of the frames.
        numbers: of the frames, increasing.
        native: height and width of the pictures as they are on the disk, pixels.
        backdrop: where the picture of its background belongs; without one it takes its median.

    Raises:
        TccamError: as :class:`~tccam.data.folder.FolderClip`.
    """

    lazy = True

    def __init__(
        self,
        path: Path,
        label: str,
        config: FolderConfig,
        root: Path,
        masks: Path | None = None,
    ) -> None:
        self._clip = FolderClip(path, label, config.damaged)
        self.name, self.label = f"{path.parent.name}/{path.name}", label
        self.native = self._clip.size
        self.size = (config.height, config.width) if config.height else self.native
        self.files, self.numbers = self._clip.files, self._clip.numbers
        self._masks, self._root = masks, root
        self.backdrop = Path(f"{self.place(BACKGROUNDS)}.png")

    def __len__(self) -> int:
        return len(self._clip)

    def __getitem__(self, index: int) -> Tensor:
        return resize_picture(self._clip[index], self.size)

    @cached_property
    def background(self) -> Tensor:
        """What its camera sees without objects, float32 (3, H, W).

        The picture in ``backgrounds`` where there is one; else the median of the video, of a long
        one that of a sample of its frames.

        Raises:
            TccamError: if the picture cannot be read, or has another size than the video's.
        """
        if not self.backdrop.is_file():
            return streaming_median(self)
        picture = read_picture(self.backdrop)
        self._check_size(self.backdrop, picture)
        return resize_picture(picture, self.size).float()

    def flow(self, source: int, target: int) -> Tensor:
        """The optical flow from a frame to one of its neighbours, from the files.

        To the previous frame it is that of ``optical_flows_backward`` where there is such a file,
        else what :func:`tccam.flow.geometry.invert` makes of the flow from there. It is resized
        with the pictures, see :func:`tccam.flow.geometry.resize`.

        Args:
            source: index of the frame on whose grid the flow lies.
            target: index of the frame that the vectors point into.

        Returns:
            float32 (2, H, W), (u, v) in pixels. 10¹⁰ where it is unknown, be it in the file, where
            the inversion finds nothing, or everywhere if frames are missing between the two.

        Raises:
            TccamError: if the two are no neighbours, or a file is missing, cannot be read, or has
                another size than the pictures.
        """
        a, b = (self.numbers[self._clip._index(index)] for index in (source, target))
        if abs(source - target) != 1:
            raise TccamError(f"target: expected a neighbour of {source}, got {target}")
        forward, backward = self._flows
        if abs(b - a) != 1:
            return torch.full((2, *self.size), _UNKNOWN)
        if b > a or a in backward:
            flow = self._read_flow(forward[a] if b > a else backward[a])
        else:
            flow, known = optical.invert(self._read_flow(forward[b]))
            flow = flow.masked_fill(~known, _UNKNOWN)
        return flow if self.size == self.native else optical.resize(flow, self.size)

    @property
    def flow_content(self) -> str:
        """Names its flow files, as ``content`` names pictures: 16 hexadecimal digits.

        Raises:
            TccamError: if one is missing between neighbours.
        """
        forward, backward = self._flows
        return _stamp((*forward.values(), *backward.values()), self._root)

    def _read_flow(self, file: Path) -> Tensor:
        flow = optical.read_flo(file)
        self._check_size(file, flow)
        return torch.where(flow.abs() <= optical.UNKNOWN, flow, _UNKNOWN)  # NaN as well

    @cached_property
    def _flows(self) -> tuple[dict[int, Path], dict[int, Path]]:
        """The files of the flows forward and backward, by the numbers of the frames they leave."""
        forward, backward = (
            numbered(place, {".flo"}) if place.is_dir() else {}
            for place in map(self.place, (FLOWS, FLOWS_BACKWARD))
        )
        for a, b in pairwise(self.numbers):
            if b == a + 1 and a not in forward:
                file = self.place(FLOWS) / f"{self.files[self.numbers.index(a)].stem}.flo"
                raise TccamError(f"{file}: expected the flow from frame {a} to {b}, found nothing")
        return forward, backward

    def place(self, kind: str) -> Path:
        """Where its files of another kind belong.

        Args:
            kind: :data:`FLOWS`, :data:`FLOWS_BACKWARD` or :data:`BACKGROUNDS`.
        """
        return self._root / kind / self._clip.path.relative_to(self._root)

    def _check_size(self, file: Path, picture: Tensor) -> None:
        found = picture.shape[-2], picture.shape[-1]
        if found != self.native:
            raise TccamError(
                f"{file}: expected {self.native} pixels (height, width) as the video's pictures, "
                f"found {found}"
            )

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
        masks = torch.empty(len(self), *self.size, dtype=torch.bool)
        for index, mask in enumerate(masks):
            mask.copy_(self.truth(index)[0])
        return masks

    def truth(self, index: int) -> tuple[Tensor, Tensor]:
        """The mask of one frame, twice: of legal objects nothing is known; bool (H, W) each.

        Args:
            index: of the frame; negative indices count from the end.

        Raises:
            TccamError: as ``masks``.
        """
        file = self._mask_files[self._index(index)]
        if file is None:
            mask = torch.zeros(self.size, dtype=torch.bool)
        else:
            levels = read_picture(file)
            self._check_size(file, levels)
            mask = resize_picture(levels, self.size).float().mean(0) >= _WHITE
        return mask, mask

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
    """The data set of a configuration.

    Example:
        >>> open_data(BeltConfig()).config == BeltConfig()
        True
    """
    return SyntheticBelt(config) if isinstance(config, BeltConfig) else FolderData(config)


def fitting_size(native: tuple[int, int], shorter: int, multiple: int = 32) -> tuple[int, int]:
    """A size for the network with about the proportions of a picture.

    Args:
        native: height and width of the picture.
        shorter: pixels of the shorter side, about; the picture is not enlarged to reach it.
        multiple: what both sides are multiples of. Tiles and cells have to divide them: 8 × the
            output stride serves 4 tiles.

    Returns:
        Height and width.

    Example:
        >>> fitting_size((1080, 1920), 128)
        (128, 224)
    """
    scale = min(1.0, shorter / min(native))
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in native)
    return height, width


def resize_picture(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture in another size, uint8 (3, H, W): area means when no side grows, else bilinear.

    Example:
        >>> resize_picture(torch.zeros(3, 8, 12, dtype=torch.uint8), (4, 6)).shape
        torch.Size([3, 4, 6])
    """
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
    """A hash of the names, sizes and dates of what every run sees."""
    return _stamp(
        (
            file
            for split in ("training", "validation")
            for pattern in (f"{PICTURES[split]}/*/*/*", f"{BACKGROUNDS}/{PICTURES[split]}/*/*.png")
            for file in sorted(root.glob(pattern))
            if file.suffix.lower() in SUFFIXES
        ),
        root,
    )


def flow_content(root: str | Path) -> str:
    """Names the flows of a data set that a run with ``flow="files"`` sees.

    Args:
        root: the data set's folder.

    Returns:
        A hash of the names, sizes and dates of the files in ``optical_flows`` and
        ``optical_flows_backward`` that belong to training and validation videos, 16 hexadecimal
        digits. The files are not read: whoever changes one and sets its old date is not noticed.
    """
    return _stamp(
        (
            file
            for kind in (FLOWS, FLOWS_BACKWARD)
            for split in ("training", "validation")
            for file in sorted(Path(root).glob(f"{kind}/{PICTURES[split]}/*/*/*.flo"))
        ),
        Path(root),
    )


def _stamp(files: Iterable[Path], root: Path) -> str:
    """A hash of the names, sizes and dates of files, hidden ones left out, 16 digits."""
    digest = hashlib.sha256()
    for file in files:
        place = file.relative_to(root)
        if any(part.startswith(".") for part in place.parts) or not file.is_file():
            continue
        facts = file.stat()
        stamp = f"{place.as_posix()}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
        digest.update(os.fsencode(stamp))
    return digest.hexdigest()[:16]
