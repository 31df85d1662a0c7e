"""Masks for a video of any length, with a trained network: in bounded memory, and resumable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tccam import cam
from tccam.background import clean, median_background
from tccam.data.clip import ArrayClip, Clip
from tccam.data.dataset import resize_picture
from tccam.data.flows import stream_flow
from tccam.data.folder import FolderClip, read_picture
from tccam.data.video import VideoClip, write_video
from tccam.errors import TccamError
from tccam.files import read_state, write_atomic
from tccam.inference import BEFORE, Window, assist, predict
from tccam.training import Run

__all__ = [
    "NEIGHBOURS", "Segmented", "frame_scores", "outlines", "remove_files", "segment",
    "segment_files", "write_annotations", "write_overlay",
]  # fmt: skip

#: The frame before and the frame after help, along an estimated flow.
NEIGHBOURS = Window(flow="dis")

_ORANGE = (217, 95, 2)  # of illegal objects, as in the book
_OUTLINE = ((0, 0, 0), (255, 255, 255))  # white between black: visible on objects of any colour
_STATE = "segment.json"


class Segmented(NamedTuple):
    """What was found in one frame.

    Attributes:
        mask: bool (H, W), where illegal objects are seen, on the grid of the video.
        present: whether the network recognises the frame as one of *before*: that class has the
            highest logit, and it is above 0. If not, the mask is empty: a class map is normalised
            by its own maximum, and lights up somewhere always.
    """

    mask: Tensor
    present: bool


def segment(
    run: Run,
    frames: Iterable[Tensor],
    threshold: float,
    *,
    window: Window | None = NEIGHBOURS,
    chunk: int = 600,
    background: Tensor | None = None,
    batch: int = 16,
) -> Iterator[Segmented]:
    """Masks along a video, frame after frame.

    The video is worked off in chunks. The median of a chunk is its background, so that the light
    may drift from one to the next; a last chunk of less than half the length takes the background
    of the one before. Neighbours help within a chunk. Memory holds one chunk at the size that the
    network was trained on, and does not grow with the video.

    Args:
        run: see :func:`tccam.training.loop.load_run`.
        frames: uint8 (3, H, W) each, RGB, of any size; a :class:`~tccam.data.clip.Clip`, say.
        threshold: of the normalised map, see :func:`tccam.inference.choose_threshold`.
        window: how neighbours help; None for not at all. Its flow cannot be "exact".
        chunk: frames, at least 2.
        background: float (3, h, w) at the network's size, for a first chunk that is too short to
            know it; None for its own median.
        batch: pictures that pass the network at a time.

    Yields:
        For each frame its mask.

    Raises:
        TccamError: if the chunk is too short, the flow is "exact" or "files", or a frame has
            another size than the first.
    """
    if chunk < 2:
        raise TccamError(f"chunk: expected at least 2 frames, got {chunk}")
    if window is not None and window.flow in ("exact", "files"):
        raise TccamError(
            "window: a video does not know its exact flow, and has no files of it; expected "
            "flow='dis', say"
        )
    for part in _chunks(run, frames, chunk, background, _gaps(frames)):
        background = part.background
        yield from _of_chunk(run, part, threshold, window, batch)


class _Chunk(NamedTuple):
    """Frames at the network's size, uint8 (T, 3, h, w), their background, the video's size."""

    frames: Tensor
    background: Tensor
    size: tuple[int, int]


def _chunks(
    run: Run,
    frames: Iterable[Tensor],
    chunk: int,
    background: Tensor | None,
    gaps: Sequence[int] = (),
) -> Iterator[_Chunk]:
    """The frames in chunks; ``gaps`` are frames that do not follow the one before them."""
    data, stream = run.config.data, iter(frames)
    native: tuple[int, int] | None = None
    number = 0
    while True:
        small = []
        end = min((gap for gap in gaps if gap > number), default=number + chunk)
        for frame in islice(stream, min(chunk, end - number)):
            size = frame.shape[1], frame.shape[2]
            native = native or size
            if size != native:
                raise TccamError(f"frames: frame {number} has {size} pixels, the first {native}")
            small.append(resize_picture(frame, (data.height or size[0], data.width or size[1])))
            number += 1
        if not small or native is None:
            return
        pictures = torch.stack(small)
        if background is None or 2 * len(pictures) >= chunk:
            background = median_background(pictures)
        yield _Chunk(pictures, background, native)


def _gaps(frames: Iterable[Tensor]) -> list[int]:
    """The frames of a folder before which numbers are missing."""
    if not isinstance(frames, FolderClip):
        return []
    return [n for n, (a, b) in enumerate(pairwise(frames.numbers), 1) if b != a + 1]


def _of_chunk(
    run: Run, part: _Chunk, threshold: float, window: Window | None, batch: int
) -> Iterator[Segmented]:
    network, config = run.network, run.config
    stride = network.output_stride
    outputs = [
        predict(network, clean(frames, part.background, config.background), batch)
        for frames in torch.split(part.frames, batch)
    ]
    maps = torch.cat([output.maps for output in outputs])
    logits = torch.cat([output.logits for output in outputs])
    # With two classes one is always the highest, on an empty belt too.
    present = (logits.argmax(1) == BEFORE) & (logits[:, BEFORE] > 0)
    helped: Iterable[Tensor] = maps
    if window is not None:
        flows = stream_flow(
            ArrayClip(part.frames),
            window.flow,
            stride,
            background=part.background if window.assisted else None,
        )
        helped = assist(maps, flows, window)
    inner = part.frames.shape[-2], part.frames.shape[-1]
    for seen, here in zip(present.tolist(), helped, strict=True):
        scores = frame_scores(here[BEFORE], inner, part.size, stride)
        yield Segmented((scores >= threshold) & seen, seen)


def frame_scores(
    maps: Tensor, inner: tuple[int, int], size: tuple[int, int], stride: int
) -> Tensor:
    """One class's map on the grid of the video, in [0, 1] by its own maximum.

    Args:
        maps: float (h, w), of the network.
        inner: height and width of the picture that the network saw.
        size: height and width of the video.
        stride: of the network, see :func:`tccam.cam.enlarge`.

    Returns:
        float (H, W) in [0, 1].

    Example:
        >>> frame_scores(torch.rand(8, 10), (32, 40), (64, 80), 4).shape
        torch.Size([64, 80])
    """
    enlarged = cam.enlarge(F.relu(maps[None, None]), size, stride, picture=inner)
    return cam.normalize(enlarged)[0, 0]


def segment_files(
    run: Run,
    clip: Clip,
    folder: Path,
    threshold: float,
    *,
    window: Window | None = NEIGHBOURS,
    chunk: int = 600,
    batch: int = 16,
    progress: bool = True,
) -> list[Path]:
    """Write the masks of a video as pictures, 0 and 255, one a frame.

    A call that was cut goes on at the chunk that it was in, and ends with the same bytes.

    Args:
        run: see :func:`tccam.training.loop.load_run`.
        clip: the video.
        folder: for the masks; it is made. They have the names of the pictures of a folder, else
            ``frame_000000.png`` and so on.
        threshold: see :func:`segment`.
        window: see :func:`segment`.
        chunk: see :func:`segment`.
        batch: see :func:`segment`.
        progress: whether to show a bar on stderr.

    Returns:
        The masks, in the order of the frames.

    Raises:
        TccamError: as :func:`segment`, and if the folder holds other masks: of another run, video
            or threshold.
    """
    settings = {
        "weights": _digest(run),
        "video": _origin(clip),
        "threshold": threshold,
        "window": repr(window),
        "chunk": chunk,
    }
    state, kept = folder / _STATE, folder / ".background.safetensors"
    done, background = 0, None
    if state.exists():
        found = _state(state)
        if found["settings"] != settings:
            other = [key for key in settings if found["settings"].get(key) != settings[key]]
            raise TccamError(
                f"{folder}: it holds masks that were made with another {' and '.join(other)}; "
                "choose another folder, or remove this one"
            )
        done = found["done"]
        background = _kept(kept) if done else None
    elif folder.is_dir() and any(folder.iterdir()):
        raise TccamError(f"{folder}: expected an empty folder, or masks of this video")
    folder.mkdir(parents=True, exist_ok=True)
    if not done:
        write_atomic(state, json.dumps({"settings": settings, "done": 0}).encode())
    stream = iter(clip)
    if sum(1 for _ in islice(stream, done)) < done:
        raise TccamError(f"{folder}: it holds more masks than {clip.name} has frames")
    names = (Path(name).stem for name in _names(clip))
    paths = [folder / f"{name}.png" for name in islice(names, done)]
    # A count of a video's frames would decode them all: the bar believes the container.
    total = clip.promised or None if isinstance(clip, VideoClip) else len(clip)
    with tqdm(desc=clip.name, initial=done, total=total, unit="frame", disable=not progress) as bar:
        gaps = [gap - done for gap in _gaps(clip) if gap > done]
        for part in _chunks(run, stream, chunk, background, gaps):
            for here in _of_chunk(run, part, threshold, window, batch):
                path = folder / f"{next(names)}.png"
                pixels = here.mask.numpy().astype(np.uint8) * 255
                write_atomic(path, cv2.imencode(".png", pixels)[1].tobytes())
                paths.append(path)
                bar.update()
            write_atomic(kept, safetensors.torch.save({"background": part.background}))
            write_atomic(state, json.dumps({"settings": settings, "done": len(paths)}).encode())
    return paths


def _digest(run: Run) -> str:
    """Names the weights of a network, wherever its run is."""
    weights = {k: v.detach().cpu().contiguous() for k, v in run.network.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(weights)).hexdigest()[:16]


def _origin(clip: Clip) -> list[Any]:
    """What tells a video from others of its name."""
    files = clip.files if isinstance(clip, FolderClip) else [getattr(clip, "path", None)]
    facts = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f is not None]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return [clip.name, *clip.size, digest]


def _state(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        settings, done = dict(found["settings"]), found["done"]
        if not isinstance(done, int) or not 0 <= done <= sys.maxsize:
            raise ValueError(f"{done!r} masks")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise TccamError(f"{path}: not a readable state ({error}); empty the folder") from None
    return {"settings": settings, "done": done}


def _kept(path: Path) -> Tensor:
    """The background of the last chunk that is done."""
    background = read_state(path).get("background")
    if background is None:
        raise TccamError(f"{path}: not a readable state (no background); empty the folder")
    return background


def write_overlay(
    path: Path,
    clip: Clip,
    masks: Sequence[Path],
    fps: float | None = None,
    *,
    shorter: int | None = None,
    progress: bool = False,
) -> Path:
    """Write the video with its masks tinted and outlined.

    Args:
        path: see :func:`tccam.data.video.write_video`; browsers play .webm.
        clip: the video.
        masks: from :func:`segment_files`.
        fps: frames a second; the clip's own, or 25, when None.
        shorter: pixels that the shorter side has at most; None for the size of the video.
        progress: whether to show a bar on stderr.
    """
    scale = min(1.0, shorter / min(clip.size)) if shorter else 1.0
    height, width = (round(side * scale) for side in clip.size)
    even = slice(height - height % 2), slice(width - width % 2)  # the codecs want it

    def drawn() -> Iterator[Tensor]:
        pairs = zip(clip, masks, strict=True)
        bar = tqdm(pairs, path.name, len(masks), unit="frame", disable=not progress)
        for frame, file in bar:
            mask = cv2.resize(
                _mask(file).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
            )
            yield _drawn(resize_picture(frame, (height, width)), mask > 0)[:, *even]

    return write_video(path, drawn(), fps or clip.fps or 25.0)


def _drawn(frame: Tensor, mask: NDArray[np.bool_]) -> Tensor:
    """A frame, uint8 (3, H, W), with a mask tinted and outlined."""
    picture = frame.permute(1, 2, 0).numpy().copy(order="C")
    picture[mask] = (0.5 * picture[mask] + 0.5 * np.array(_ORANGE)).round()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(min(mask.shape) / 360))
    for colour, thickness in zip(_OUTLINE, (3 * width, width), strict=True):
        cv2.drawContours(picture, contours, -1, colour, thickness)
    return torch.from_numpy(picture).permute(2, 0, 1)


def write_annotations(
    path: Path, clip: Clip, masks: Sequence[Path], category: str = "illegal"
) -> Path:
    """Write the masks as COCO annotations: one polygon for each connected region.

    Every region is an object of its own (``iscrowd`` 0) with one polygon: what pycocotools, CVAT
    and Label Studio all read. An image is called as the frame's file where the video is a folder
    of pictures, else ``frame_000123.jpg``, counted from 0: so CVAT names a video's frames, and so
    does ``ffmpeg -i VIDEO -start_number 0 frame_%06d.jpg``.

    Args:
        path: of the JSON file.
        clip: the video.
        masks: from :func:`segment_files`.
        category: what the objects are called.
    """
    height, width = clip.size
    names = _names(clip)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:  # a line at a time: videos are long
            images = (
                {"id": n, "file_name": name, "height": height, "width": width}
                for n, (_, name) in enumerate(zip(masks, names, strict=False))
            )
            head = {"categories": [{"id": 1, "name": category}]}
            file.write(json.dumps(head)[:-1] + ',\n"images": [\n')
            _lines(file, images)
            file.write('],\n"annotations": [\n')
            _lines(file, _annotations(masks))
            file.write("]}\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _names(clip: Clip) -> Iterator[str]:
    """What the frames of a video are called."""
    if isinstance(clip, FolderClip):
        return (file.name for file in clip.files)
    return (f"frame_{number:06d}.jpg" for number in count())


def _lines(file: Any, items: Iterable[Any]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "") + json.dumps(item))
    file.write("\n")


def _annotations(masks: Sequence[Path]) -> Iterator[dict[str, Any]]:
    number = count(1)
    for image, file in enumerate(masks):
        for polygon in outlines(_mask(file)):
            (left, top), (right, bottom) = polygon.min(0).tolist(), polygon.max(0).tolist()
            yield {
                "id": next(number),
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "area": int(cv2.contourArea(polygon)),
                "bbox": [left, top, right - left, bottom - top],
                "segmentation": [polygon.flatten().tolist()],
            }


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.int32]]:
    """The connected regions of a mask as polygons along the edges of their pixels.

    Pixel (x, y) covers the square from (x, y) to (x + 1, y + 1), as in COCO: a polygon encloses
    the pixels of its region and no other. Pixels that touch at a corner are connected. A hole is
    cut out by a path to its edge and back.

    Args:
        mask: (H, W).

    Returns:
        A region's corners each, int32 (K, 2), x and y.

    Example:
        >>> outlines(np.array([[False, True, True], [False, False, False]]))[0].tolist()
        [[1, 0], [1, 1], [3, 1], [3, 0]]
    """
    # OpenCV's contours run through the centres of pixels. At twice the size these lie a quarter of
    # a pixel inside the edge, and rounding puts them on it.
    double = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return []
    rings: dict[int, NDArray[np.int32]] = {}
    parents = hierarchy[0, :, 3].tolist()
    for number in sorted(range(len(contours)), key=parents.__getitem__):  # outer edges (-1) first
        corners = (contours[number][:, 0] + 1) // 2
        corners = corners[(corners != np.roll(corners, 1, axis=0)).any(1)]
        ring, parent = np.concatenate((corners, corners[:1])), parents[number]
        if parent < 0:
            rings[number] = ring
        else:
            rings[parent] = np.concatenate((rings[parent], ring, rings[parent][:1]))
    return [ring[:-1] for ring in rings.values()]


def _mask(file: Path) -> NDArray[np.bool_]:
    return read_picture(file)[0].numpy() > 127


def remove_files(folder: Path) -> None:
    """Remove a folder that :func:`segment_files` has made, and no other.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     remove_files(Path(folder))  # nothing of ours is there
        ...     Path(folder).is_dir()
        True
    """
    if (folder / _STATE).is_file():
        shutil.rmtree(folder)
