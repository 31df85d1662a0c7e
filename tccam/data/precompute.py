"""What a data folder keeps so that training need not compute it: flows and backgrounds.

They go to the folders ``optical_flows``, ``optical_flows_backward`` and ``backgrounds`` of the
layout of :mod:`tccam.data.tree`. A file appears under its name when it is complete: a call that was
interrupted goes on when it is made again, and what is there is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from tccam import flow as optical
from tccam.background import streaming_median
from tccam.data.dataset import (
    FLOWS,
    FLOWS_BACKWARD,
    PICTURES,
    FolderConfig,
    FolderData,
    LabelledFolder,
    resize_picture,
)  # fmt: skip
from tccam.data.folder import SUFFIXES, open_clip, read_picture
from tccam.data.recording import RECORD, Written, _save_background
from tccam.errors import TccamError
from tccam.files import write_atomic

__all__ = ["static_picture", "write_backgrounds", "write_flows"]

_HEADER = 12  # bytes of a .flo file before its vectors


def write_flows(
    root: str | os.PathLike[str],
    method: str = "dis",
    *,
    splits: Sequence[str] = tuple(PICTURES),
    assisted: bool = True,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    jobs: int | None = None,
    damaged: str = "refuse",
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Written, ...]:
    """Estimate the flow between the neighbouring frames of a data folder, both ways.

    A file of H×W vectors takes 8·H·W bytes: two for each pair of frames. How much is missing is
    said first, and it is not begun if the disk has less. A few frames are in memory, and for the
    background of a video up to 101.

    What is there is kept, so that an interrupted call goes on with the next pair. A hidden file
    beside the flows says how they were estimated. Flows that were not, those that a data set came
    with, are left as they are, and the video's other folder with them.

    Args:
        root: the data folder, in the layout of :class:`~tccam.data.dataset.FolderData`.
        method: one of :data:`~tccam.flow.estimation.METHODS`.
        splits: of :data:`~tccam.data.dataset.PICTURES`; those that are not there are passed over.
        assisted: whether the estimation is helped by the video's background, see
            :mod:`tccam.flow.estimation`; :func:`write_backgrounds` comes before, then.
        weights: for RAFT, see :func:`~tccam.flow.estimation.estimate`.
        device: where RAFT runs.
        jobs: pairs of frames that are worked on at the same time; None takes the CPU's cores for
            OpenCV and one for RAFT.
        damaged: "refuse" pictures that cannot be read, or "skip" them, as if their numbers were
            missing.
        overwrite: whether to write all flows anew, whoever made them.
        progress: whether to show a bar on stderr.

    Returns:
        The folders of flows, forward and then backward for each video; ``frames`` counts files.

    Raises:
        TccamError: if the folder or method is none, a picture cannot be read, flows are there that
            were estimated in another way, or the disk has too little space.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from tccam.data import BeltConfig
        >>> from tccam.data.recording import write_belt
        >>> config = BeltConfig(height=32, width=40, frames=4, lead_in=0, train=1)
        >>> with TemporaryDirectory() as root:
        ...     made = write_belt(config, root, progress=False)
        ...     for written in write_flows(root, splits=["training"], progress=False)[:2]:
        ...         print(written.frames, written.path.relative_to(root).as_posix())
        3 optical_flows/train_val_dataset/training/before/video_000
        3 optical_flows_backward/train_val_dataset/training/before/video_000
    """
    named = optical.weights_name(method, weights)
    origin = {"method": method, "weights": named, "assisted": assisted}
    plans = [_plan(video, origin, overwrite) for video in _videos(root, splits, damaged)]
    need = sum(plan.bytes for plan in plans)
    free = shutil.disk_usage(root).free
    if need > free and not overwrite:  # what is overwritten makes room
        raise TccamError(
            f"{root}: the flows take {need / 1e9:.3f} GB more, {free / 1e9:.3f} GB are free"
        )
    if progress:
        tqdm.write(f"flows: {need / 1e9:.3f} GB to write, {free / 1e9:.3f} are free", sys.stderr)
    with tqdm(
        desc=f"flow, {method}", total=need, unit="B", unit_scale=True, disable=not progress
    ) as bar:
        for video, folders, origin, missing in plans:
            if not missing:
                continue
            for folder in folders:
                for file in folder.glob("*.flo") if overwrite else ():
                    file.unlink()  # so that an interruption leaves no mixture
                write_atomic(folder / RECORD, json.dumps({"origin": origin}, indent=1).encode())
            background = video.background if assisted else None
            for first, last in _runs(missing):
                flows = optical.estimate_clip(
                    (video[index] for index in range(first, last + 2)),
                    method,
                    background=background,
                    weights=weights,
                    device=device,
                    threads=jobs,
                    progress=False,
                )
                for index, (back, ahead) in enumerate(flows, start=first):
                    name = f"{video.files[index].stem}.flo"
                    if index > first:
                        optical.write_flo(folders[1] / name, back)
                    if index <= last:
                        optical.write_flo(folders[0] / name, ahead)
                        bar.update(2 * _size(video))
    return tuple(
        Written(folder, len(list(folder.glob("[!.]*.flo"))), new=bool(plan.missing))
        for plan in plans
        for folder in plan.folders
        if folder.is_dir()
    )


def write_backgrounds(
    root: str | os.PathLike[str],
    *,
    splits: Sequence[str] = tuple(PICTURES),
    only: str = "*",
    source: str | os.PathLike[str] | None = None,
    damaged: str = "refuse",
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Written, ...]:
    """Write the background of each video of a data folder as a picture.

    Training and evaluation take it in place of the video's median: nothing is estimated twice, and
    a video that is too short or too full for a median can be given the background of another one
    of the same camera. It is an 8-bit PNG of the size of the pictures, in whole grey levels: up to
    half a level off a median that lies between two.

    Args:
        root: the data folder, in the layout of :class:`~tccam.data.dataset.FolderData`.
        splits: of :data:`~tccam.data.dataset.PICTURES`; those that are not there are passed over.
        only: which videos, a pattern of the shell for ``<class folder>/<video>``, such as
            "bg/after*". With a ``source``, all of them should be of its camera.
        source: of all their backgrounds: a picture of the empty belt, or a video file or folder of
            pictures whose median to take; it is resized to the pictures of each video. None takes
            each video's own median.
        damaged: "refuse" pictures that cannot be read, or "skip" them.
        overwrite: whether to replace backgrounds that are there.
        progress: whether to show a bar on stderr.

    Returns:
        The pictures; ``frames`` counts those of the video.

    Raises:
        TccamError: if the folder is none, no video fits ``only``, or a picture or ``source`` cannot
            be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from tccam.data import BeltConfig
        >>> from tccam.data.recording import write_belt
        >>> config = BeltConfig(height=32, width=40, frames=9, lead_in=3, train=1)
        >>> with TemporaryDirectory() as root:
        ...     made = write_belt(config, root, backgrounds=False, progress=False)
        ...     for written in write_backgrounds(root, only="bg/*", progress=False)[:1]:
        ...         print(written.frames, written.path.relative_to(root).as_posix())
        3 backgrounds/train_val_dataset/training/bg/after_video_000_0001.png
    """
    videos = [v for v in _videos(root, splits, damaged) if fnmatchcase(v.name, only)]
    if not videos:
        raise TccamError(f"only: no video of {', '.join(splits)} fits {only!r} in {root}")
    made: list[Written] = []
    given: dict[tuple[int, int], Tensor] = {}
    for video in tqdm(videos, "background", unit="video", disable=not progress):
        new = overwrite or not video.backdrop.exists()
        if new and source is None:
            _save_background(video.backdrop, streaming_median(video))
        elif new and source is not None:
            if video.size not in given:
                given[video.size] = static_picture(source, video.size)
            _save_background(video.backdrop, given[video.size])
        made.append(Written(video.backdrop, len(video), new))
    return tuple(made)


def static_picture(path: str | os.PathLike[str], size: tuple[int, int]) -> Tensor:
    """What a camera sees without objects: a picture of it, or the median of a video.

    Args:
        path: of a picture, a video file, or a folder of pictures.
        size: height and width to which pictures are brought, pixels.

    Returns:
        float32 (3, H, W), grey levels.

    Raises:
        TccamError: if it cannot be read.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return resize_picture(read_picture(path), size).float()
    return streaming_median(resize_picture(frame, size) for frame in open_clip(path))


class _Plan(NamedTuple):
    """What is to be estimated of a video."""

    video: LabelledFolder
    folders: tuple[Path, Path]  # of the flows forward and backward
    origin: dict[str, Any]  # how they are estimated
    missing: list[int]  # indices of the frames whose flow to the next is missing, or its way back

    @property
    def bytes(self) -> int:
        """What the files take that are not there."""
        return 2 * len(self.missing) * _size(self.video)


def _videos(
    root: str | os.PathLike[str], splits: Sequence[str], damaged: str
) -> Iterator[LabelledFolder]:
    """The videos of some splits, with their pictures as they are."""
    for split in splits:
        if split not in PICTURES:
            raise TccamError(f"splits: expected some of {', '.join(PICTURES)}; got {split!r}")
    data = FolderData(FolderConfig(str(root), damaged=damaged))
    for split in splits:
        yield from data.videos(split)


def _plan(video: LabelledFolder, origin: dict[str, Any], overwrite: bool) -> _Plan:
    """What is missing of a video's flows."""
    if origin["assisted"] and video.backdrop.is_file():
        content = hashlib.sha256(video.backdrop.read_bytes()).hexdigest()
        origin = {**origin, "background": content}
    folders = video.place(FLOWS), video.place(FLOWS_BACKWARD)
    pairs = [t for t, (a, b) in enumerate(pairwise(video.numbers)) if b == a + 1]
    if overwrite:
        return _Plan(video, folders, origin, pairs)
    for folder in folders:
        if not any(folder.glob("*.flo")):
            continue
        known = _record(folder) or {}
        if "method" not in known:  # somebody else's
            return _Plan(video, folders, origin, [])
        if known != origin:
            raise TccamError(
                f"{folder}: its flows were estimated with {known}, now {origin}; overwrite them, "
                "or remove the folder"
            )
    missing = [
        t
        for t in pairs
        for files in [(folders[0] / video.files[t].stem, folders[1] / video.files[t + 1].stem)]
        if not all(_whole(Path(f"{file}.flo"), video) for file in files)
    ]
    return _Plan(video, folders, origin, missing)


def _record(folder: Path) -> dict[str, Any] | None:
    """How the flows in a folder were made, None if nobody knows."""
    try:
        origin = json.loads(Path(folder, RECORD).read_text("utf-8"))["origin"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return origin if isinstance(origin, dict) else None


def _whole(file: Path, video: LabelledFolder) -> bool:
    return file.is_file() and file.stat().st_size == _size(video)


def _size(video: LabelledFolder) -> int:
    """Bytes of a file of flow."""
    height, width = video.size
    return _HEADER + 8 * height * width


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of numbers that follow each other."""
    known = set(indices)
    starts = [i for i in indices if i - 1 not in known]
    return zip(starts, [i for i in indices if i + 1 not in known], strict=True)
