"""Masks for a video of any length, with a trained network: in bounded memory, and resumable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
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
from tccam.data.video import write_video
from tccam.errors import TccamError
from tccam.files import read_state, write_atomic
from tccam.inference import BEFORE, Window, assist, predict
from tccam.training import Run

__all__ = [
    "NEIGHBOURS", "Segmented", "frame_scores", "remove_files", "run_lengths", "segment",
    "segment_files", "write_annotations", "write_overlay",
]  # fmt: skip

#: The frame before and the frame after help, along an estimated flow.
NEIGHBOURS = Window(flow="dis")

_ORANGE = (217, 95, 2)  # of illegal objects, as in the book
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
        TccamError: if the chunk is too short, the flow is exact, or a frame has another size than
            the first.
    """
    if chunk < 2:
        raise TccamError(f"chunk: expected at least 2 frames, got {chunk}")
    if window is not None and window.flow == "exact":
        raise TccamError("window: a video does not know its exact flow; expected flow='dis', say")
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
        folder: for ``frame_000000.png`` and so on; it is made.
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
    paths = [folder / f"frame_{number:06d}.png" for number in range(done)]
    with tqdm(desc=clip.name, initial=done, unit="frame", disable=not progress) as bar:
        gaps = [gap - done for gap in _gaps(clip) if gap > done]
        for part in _chunks(run, stream, chunk, background, gaps):
            for here in _of_chunk(run, part, threshold, window, batch):
                path = folder / f"frame_{len(paths):06d}.png"
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


def write_overlay(path: Path, clip: Clip, masks: Sequence[Path], fps: float | None = None) -> Path:
    """Write the video with its masks laid over it.

    Args:
        path: ending in .mp4 or .avi.
        clip: the video.
        masks: from :func:`segment_files`.
        fps: frames a second; the clip's own, or 25, when None.
    """

    def drawn() -> Iterator[Tensor]:
        colour = torch.tensor(_ORANGE, dtype=torch.float32)[:, None, None]
        for frame, file in zip(clip, masks, strict=True):
            mask = torch.from_numpy(_mask(file))
            mixed = torch.where(mask, 0.5 * frame.float() + 0.5 * colour, frame.float())
            height, width = (side - side % 2 for side in frame.shape[1:])  # the codecs want it
            yield mixed.round().to(torch.uint8)[:, :height, :width]

    return write_video(path, drawn(), fps or clip.fps or 25.0)


def write_annotations(path: Path, clip: Clip, masks: Sequence[Path]) -> Path:
    """Write the masks as COCO annotations: one run-length encoded region a frame.

    Args:
        path: of the JSON file.
        clip: the video.
        masks: from :func:`segment_files`.
    """
    height, width = clip.size
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:  # a line at a time: videos are long
            images = (
                {"id": n, "file_name": mask.name, "height": height, "width": width}
                for n, mask in enumerate(masks)
            )
            head = {"categories": [{"id": 1, "name": "illegal"}]}
            file.write(json.dumps(head)[:-1] + ',\n"images": [\n')
            _lines(file, images)
            file.write('],\n"annotations": [\n')
            _lines(file, filter(None, map(_annotation, range(len(masks)), masks)))
            file.write("]}\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _lines(file: Any, items: Iterable[Any]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "") + json.dumps(item))
    file.write("\n")


def _annotation(number: int, file: Path) -> dict[str, Any] | None:
    mask = _mask(file)
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
    return {
        "id": number + 1,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 1,  # all illegal objects of the frame in one region
        "area": len(rows),
        "bbox": box,
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
    }


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """A mask as COCO's uncompressed run lengths: column by column, zeros first.

    Args:
        mask: (H, W).

    Example:
        >>> run_lengths(np.array([[False, True], [True, True]]))
        [1, 3]
        >>> run_lengths(np.array([[True], [False]]))
        [0, 1, 1]
    """
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths: list[int] = np.diff([0, *edges, flat.size]).tolist()
    return [0] * bool(flat[0]) + lengths


def _mask(file: Path) -> NDArray[np.bool_]:
    return read_picture(file)[0].numpy() > 127


def remove_files(folder: Path) -> None:
    """Remove a folder that :func:`segment_files` has made, and no other."""
    if (folder / _STATE).is_file():
        shutil.rmtree(folder)
