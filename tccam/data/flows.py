"""Flow for the maps of a clip: estimated once, kept small, at the cells where a network looks."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from tccam import flow as optical
from tccam.background import streaming_median
from tccam.data.belt import BeltClip
from tccam.data.clip import Clip, LabelledClip
from tccam.data.dataset import FLOWS, LabelledFolder
from tccam.errors import TccamError
from tccam.files import write_atomic

__all__ = ["ClipFlow", "FlowStore", "stream_flow"]

_log = logging.getLogger(__name__)

_LIMIT = 60_000.0  # pixels: float16 ends at 65 504
_MIRRORS = ((False, False), (False, True), (True, False), (True, True))


@dataclass(frozen=True)
class ClipFlow:
    """What the maps of a clip need to find a point again in the neighbouring frames.

    **Convention.** As in :mod:`tccam.flow.geometry`: the flow lies on the grid of frame t and
    points into the neighbour, in cells, u to the right and v down.

    Attributes:
        flow: float32 (T, 2, 2, h, w): frame, neighbour (0 the previous frame, 1 the next), channel
            (u, v), in cells of the maps. 0 where there is no neighbour: the first frame has no
            previous one, the last no next. Far outside the picture where nobody knows it.
        visible: bool (T, 2, h, w), where the point at the cell is seen in that neighbour; False
            where there is none.
    """

    flow: Tensor
    visible: Tensor


class FlowStore:
    """A folder of flows that were computed once, one file a clip, method and grid.

    A file holds float16 **pixels** and one bit a cell for what is visible, for the picture and its
    three mirror images: 2.1 KB a frame for 16×16 cells of one of them. Rounding to float16 moves a
    vector by at most 0.05% of its length: 0.004 px below 16 pixels, 0.008 px below 32.

    The name of a file is a hash of all that it depends on: the bytes of the frames (for "files",
    the paths, sizes and dates of the flow files), the method and its settings, the grid, the
    library's sources of flow, and the version of OpenCV (and PyTorch for RAFT). So nothing ever
    needs to be cleared but to save space. A file appears when it is complete; processes that miss
    the same file at the same time all compute it and write the same bytes. A damaged file is named
    in a warning and computed again.

    Args:
        root: the folder; by default the environment variable ``TCCAM_FLOWS``, else
            ``~/.cache/tccam/flows``. It is created when something is written.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        chosen = root or os.environ.get("TCCAM_FLOWS") or Path.home() / ".cache" / "tccam" / "flows"
        self.root = Path(chosen)

    def get(
        self,
        clip: Clip,
        method: str,
        stride: int | None,
        *,
        size: tuple[int, int] | None = None,
        mirrored: tuple[bool, bool] = (False, False),
        assisted: bool = True,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        progress: bool = True,
    ) -> ClipFlow:
        """The flow of a clip to the previous and the next frame, on the grid of the maps.

        Args:
            clip: of any length; it is read once for its name in the store, and once or twice more
                if the flow is not there yet. The flows of two frames are in memory at full size.
            method: "exact", for a :class:`~tccam.data.belt.BeltClip`; "files", for a
                :class:`~tccam.data.dataset.LabelledFolder`; or one of
                :data:`~tccam.flow.estimation.METHODS`. What is visible is checked forward and
                backward, see :func:`~tccam.flow.geometry.occlusion`; the belt knows it.
            stride: pixels per cell of the maps: cell i looks at pixel s·i. None for cells that are
                tiles, see :func:`~tccam.flow.geometry.resize`; they need a ``size``.
            size: height and width of the maps; by default (⌈H/s⌉, ⌈W/s⌉).
            mirrored: whether the network is shown the picture upside down, and left to right. The
                answer is what it sees: cell i lies at pixel s·i of the *mirrored* picture, and the
                vectors point where things go in it.
            assisted: whether an estimation is helped by the clip's background, see
                :mod:`tccam.flow.estimation`. It needs a clip of which most frames show
                background at any one pixel; a handful of frames is none.
            weights: for RAFT, see :func:`~tccam.flow.estimation.estimate`.
            device: where RAFT runs.
            progress: whether an estimation shows a bar on stderr.

        Returns:
            float32 flow and bool visibility.

        Raises:
            TccamError: if there is no such method, it does not fit the clip, or the size does not
                fit the stride.

        Example:
            >>> import tempfile
            >>> from tccam.data import BeltConfig, SyntheticBelt
            >>> clip = SyntheticBelt(BeltConfig(frames=4, lead_in=0, speed=8.0)).validation[0]
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     found = FlowStore(folder).get(clip, "exact", 16)
            >>> found.flow.shape, found.flow[1, :, :, 4, 5].tolist()
            (torch.Size([4, 2, 2, 8, 10]), [[-0.5, 0.0], [0.5, 0.0]])
        """
        height, width = clip.size
        if stride is not None and stride < 1:
            raise TccamError(f"stride: expected at least 1 pixel per cell or None, got {stride}")
        if stride is None and size is None:
            raise TccamError("size: maps without a stride need one, got None")
        if size is None and stride is not None:
            size = (-(-height // stride), -(-width // stride))
        assert size is not None
        grid = _Grid((height, width), size, stride)
        name = _name(mirrored)
        settings = _Settings(method, assisted, weights, device)
        path = self.root / f"{_key(clip, settings, grid)}.safetensors"
        if path.exists():
            try:
                return grid.unpack(*_read(path, name))
            except Exception as error:  # a damaged file raises whatever its bytes lead to
                _log.warning("%s is damaged (%s): computed again", path, error)
        tensors = grid.pack(_full_size(clip, settings, progress))
        # One entry: safetensors writes several in any order.
        digests = {m: _digest(path, tensors, m) for m in map(_name, _MIRRORS)}
        write_atomic(path, safetensors.torch.save(tensors, {"sha256": json.dumps(digests)}))
        return grid.unpack(tensors[f"flow{name}"], tensors[f"visible{name}"])


def stream_flow(
    clip: Clip,
    method: str,
    stride: int,
    *,
    background: Tensor | None = None,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame's flow to its neighbours, on the grid of the maps; nothing is kept.

    The very numbers of :meth:`FlowStore.get`, rounded to float16 pixels as they are kept there.

    Args:
        clip: of any length; a few of its frames are in memory at a time.
        method: as of :meth:`FlowStore.get`, or "zero".
        stride: pixels per cell of the maps: cell i looks at pixel s·i.
        background: float (3, H, W), helps the estimation; None for no help.
        weights: for RAFT, see :func:`~tccam.flow.estimation.estimate`.
        device: where RAFT runs.

    Yields:
        For each frame float32 (2, 2, h, w), to the previous and to the next frame, in cells, and
        bool (2, h, w), where the cell's point is seen there; see :class:`ClipFlow`.

    Raises:
        TccamError: if there is no such method, or it does not fit the clip.
    """
    if stride < 1:
        raise TccamError(f"stride: expected at least 1, got {stride}")
    height, width = clip.size
    size = (-(-height // stride), -(-width // stride))
    if method == "zero":
        for _ in range(len(clip)):
            yield torch.zeros(2, 2, *size), torch.ones(2, *size, dtype=torch.bool)
        return
    grid = _Grid((height, width), size, stride)
    settings = _Settings(method, background is not None, weights, device)
    whole = grid.sample(torch.ones(1, 2, height, width), (False, False))[0]
    for flow, visible in _full_size(clip, settings, False, background):
        cells = grid.sample(torch.cat((flow, visible[None].float())), (False, False))
        pixels = grid.kept(cells[:2], (False, False))
        yield pixels.float() / grid.cell, cells[2] > 0.999 * whole


class _Settings(NamedTuple):
    """How a flow is estimated."""

    method: str
    assisted: bool
    weights: str | Path | None
    device: str | torch.device


@dataclass(frozen=True)
class _Grid:
    """Where the cells of a clip's maps are."""

    picture: tuple[int, int]
    size: tuple[int, int]
    stride: int | None

    @property
    def cell(self) -> Tensor:
        """Width and height of a cell in pixels, (2, 1, 1)."""
        if self.stride is not None:
            return torch.full((2, 1, 1), float(self.stride))
        (height, width), (h, w) = self.picture, self.size
        return torch.tensor([width / w, height / h]).reshape(2, 1, 1)

    def sample(self, stack: Tensor, mirrored: tuple[bool, bool]) -> Tensor:
        """Full-size (N, 2, H, W) to (N, 2, h, w), in the order of the mirrored picture."""
        small = optical.resize(stack, self.size, self.stride, mirrored)
        return small.flip([axis for axis, m in zip((-2, -1), mirrored, strict=True) if m])

    def kept(self, cells: Tensor, mirrored: tuple[bool, bool]) -> Tensor:
        """Flow (…, 2, 2, h, w) in cells as it is kept: float16 pixels."""
        sign = torch.tensor([-1.0 if m else 1.0 for m in mirrored[::-1]]).reshape(2, 1, 1)
        return (cells * (self.cell * sign)).clamp(-_LIMIT, _LIMIT).half()

    def pack(self, flows: Iterator[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """All frames' flow and visibility, for the picture and its mirror images."""
        samples: dict[tuple[bool, bool], list[Tensor]] = {mirrored: [] for mirrored in _MIRRORS}
        for flow, visible in flows:
            # Sampled together, so that flow and visibility speak of the same point.
            stack = torch.cat((flow, visible[None].float()))
            for mirrored, small in samples.items():
                small.append(self.sample(stack, mirrored))
        tensors = {}
        for mirrored, small in samples.items():
            cells, name = torch.stack(small), _name(mirrored)  # (T, 3, 2, h, w)
            tensors[f"flow{name}"] = self.kept(cells[:, :2], mirrored)
            # Seen if all pixels are that the flow is taken from.
            whole = self.sample(torch.ones(1, 2, *self.picture), mirrored)
            seen = cells[:, 2] > 0.999 * whole
            tensors[f"visible{name}"] = torch.from_numpy(np.packbits(seen.flatten(1), axis=1))
        return tensors

    def unpack(self, flow: Tensor, bits: Tensor) -> ClipFlow:
        cells = 2 * self.size[0] * self.size[1]
        if flow.shape[1:] != (2, 2, *self.size) or bits.shape != (len(flow), -(-cells // 8)):
            raise TccamError(f"flow: found {tuple(flow.shape)} for {self}")
        visible = np.unpackbits(bits.numpy(), axis=1, count=cells).astype(bool)
        seen = torch.from_numpy(visible).reshape(len(flow), 2, *self.size)
        return ClipFlow(flow.float() / self.cell, seen)


def _name(mirrored: tuple[bool, bool]) -> str:
    return "".join(str(int(m)) for m in mirrored)


def _belt(clip: Clip) -> BeltClip:
    if not isinstance(clip, BeltClip):
        raise TccamError(
            f"method: only a synthetic belt knows its exact flow, not {clip!r}; "
            f"expected one of {optical.METHODS}"
        )
    return clip


def _folder(clip: Clip) -> LabelledFolder:
    if not isinstance(clip, LabelledFolder):
        raise TccamError(
            f"method: only a video of a data folder has files of flow, not {clip!r}; "
            f"expected one of {optical.METHODS}"
        )
    return clip


def _full_size(
    clip: Clip, settings: _Settings, progress: bool, background: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame's flow (2, 2, H, W) and visibility (2, H, W)."""
    if settings.method == "exact":
        return _exact(_belt(clip))
    if settings.method == "files":
        return _checked(_filed(_folder(clip), progress), clip.size)
    return _estimated(clip, settings, progress, background)


def _exact(clip: BeltClip) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame's flow (2, 2, H, W) and visibility (2, H, W), from the belt itself."""
    for t in range(len(clip)):
        flow, visible = torch.zeros(2, 2, *clip.size), torch.zeros(2, *clip.size, dtype=torch.bool)
        for side, other in enumerate((t - 1, t + 1)):
            if 0 <= other < len(clip):
                flow[side], visible[side] = clip.motion(t, other)
        yield flow, visible


def _filed(clip: LabelledFolder, progress: bool) -> Iterator[Tensor]:
    """Each frame's flow to the previous and to the next frame, (2, 2, H, W), from its files."""
    nothing = torch.zeros(2, *clip.size)
    for t in tqdm(range(len(clip)), "flow, files", unit="frame", disable=not progress):
        yield torch.stack(
            [clip.flow(t, other) if 0 <= other < len(clip) else nothing for other in (t - 1, t + 1)]
        )


def _estimated(
    clip: Clip, settings: _Settings, progress: bool, background: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame's flow (2, 2, H, W) and visibility (2, H, W), from its pictures."""
    if settings.assisted and background is None:
        known = isinstance(clip, LabelledClip)
        background = clip.background if known else streaming_median(clip)
    stream = optical.estimate_clip(
        clip,
        settings.method,
        background=background,
        weights=settings.weights,
        device=settings.device,
        progress=progress,
    )
    yield from _checked(stream, clip.size)


def _checked(stream: Iterable[Tensor], size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Flows (2, 2, H, W) of the frames of a clip, each with where it is visible, (2, H, W)."""
    flow, seen_before = None, torch.zeros(size, dtype=torch.bool)
    for following in stream:
        if flow is not None:  # from here to the next frame, and back
            there, back = flow[1], following[0]
            yield flow, torch.stack((seen_before, ~optical.occlusion(there, back)))
            seen_before = ~optical.occlusion(back, there)
        flow = following
    if flow is not None:
        yield flow, torch.stack((seen_before, torch.zeros_like(seen_before)))


def _key(clip: Clip, settings: _Settings, grid: _Grid) -> str:
    """The name of a clip's flow, 32 hexadecimal digits: a hash of all that it depends on."""
    method = settings.method
    facts: dict[str, Any] = {"method": method, "size": grid.size, "stride": grid.stride}
    if method == "exact":
        belt = _belt(clip)
        # Two clips may look the same and move differently: an empty belt without texture.
        facts |= {"clip": belt.name, "belt": repr(belt._config), "sources": _sources("data")}
    elif method == "files":
        video = _folder(clip)
        facts |= {"files": video.flow_content, "folder": str(video.place(FLOWS).resolve())}
        facts |= {
            "numbers": video.numbers,
            "picture": grid.picture,
            "sources": _sources("data", "flow"),
        }
        return _named(facts)
    elif method in optical.METHODS:
        facts |= {"assisted": settings.assisted, "opencv": cv2.__version__}
        facts |= {"sources": _sources("data", "flow", "background.py")}
        if method.startswith("raft"):
            facts |= {"weights": optical.weights_name(method, settings.weights)}
            facts |= {"device": torch.device(settings.device).type}
            facts |= {"torch": torch.__version__, "torchvision": version("torchvision")}
        if settings.assisted and isinstance(clip, LabelledFolder) and clip.backdrop.is_file():
            return _named(facts, chain(clip, [clip.background]))
    else:
        methods = ("exact", "files", *optical.METHODS)
        raise TccamError(f"method: expected one of {methods}, got {method!r}")
    return _named(facts, clip)


def _named(facts: dict[str, Any], frames: Iterable[Tensor] = ()) -> str:
    """A hash of facts and frames."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for frame in frames:
        digest.update(repr(tuple(frame.shape)).encode())
        digest.update(frame.contiguous().numpy().data)
    return digest.hexdigest()[:32]


@cache
def _sources(*parts: str) -> str:
    """SHA-256 of the modules and packages of the library that a flow depends on."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for part in parts:
        for path in sorted((root / part).glob("*.py")) or [root / part]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _read(path: Path, name: str) -> tuple[Tensor, Tensor]:
    """One mirror image's tensors, checked."""
    with safe_open(path, "pt") as file:
        found = {f"{k}{name}": file.get_tensor(f"{k}{name}") for k in ("flow", "visible")}
        digests = json.loads((file.metadata() or {}).get("sha256", "{}"))
    if digests.get(name) != _digest(path, found, name):
        raise TccamError("its content is not what was written under this name")
    return found[f"flow{name}"], found[f"visible{name}"]


def _digest(path: Path, tensors: dict[str, Tensor], name: str) -> str:
    """SHA-256 of one mirror image's tensors and of the file's name."""
    digest = hashlib.sha256(path.name.encode())
    for tensor in (tensors[f"flow{name}"], tensors[f"visible{name}"]):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
