"""Which frames a step sees: windows of neighbouring frames, with their flow."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tccam import background
from tccam.data.clip import CLASSES, LabelledClip
from tccam.data.flows import FlowStore
from tccam.errors import TccamError
from tccam.training.config import TrainConfig

__all__ = ["Batch", "FrameSet", "Neighbours", "Sampler"]

_AFFINE = ("none", "subtract", "divide", "ratio")
_LUMA = (0.299, 0.587, 0.114)


class FrameSet:
    """The frames of several clips with each clip's median background.

    Args:
        clips: clips of one size.
        method: how the background is removed, one of ``background.METHODS``.

    Attributes:
        frames: uint8 (N, 3, H, W); of clips that do not fit in memory, a sequence that reads them.
        size: height and width of a frame.
        labels: int64 (N,), indices into CLASSES.
        clip: int64 (N,), the clip of each frame.
        camera: int64 (N,), the class of each frame's camera.
        first: int64 (N,), the first frame of each frame's run: a clip, or what lies between gaps.
        last: int64 (N,), the last frame of each frame's run.

    Raises:
        TccamError: if there is no clip, or one has another size than the first.
    """

    def __init__(self, clips: Sequence[LabelledClip], method: str) -> None:
        if not clips:
            raise TccamError("clips: expected at least one clip")
        self.method, self.size, self._clips = method, clips[0].size, clips
        for clip in clips:
            if clip.size != self.size:
                raise TccamError(
                    f"clip {clip.name!r}: expected {self.size} pixels (height, width) as in "
                    f"{clips[0].name!r}, found {clip.size}"
                )
        lazy = any(clip.lazy for clip in clips)
        self.frames: Tensor | _Frames = (
            _Frames(clips) if lazy else _last(torch.cat([clip.frames for clip in clips]))
        )
        self.labels = torch.cat([clip.labels for clip in clips])
        lengths = torch.tensor([len(clip) for clip in clips])
        self.clip = torch.arange(len(clips)).repeat_interleave(lengths)
        self.camera = torch.tensor([CLASSES.index(str(clip.label)) for clip in clips])[self.clip]
        self._begins = (lengths.cumsum(0) - lengths).tolist()
        starts = torch.cat([clip.starts for clip in clips])
        run, first = starts.cumsum(0) - 1, starts.nonzero().flatten()
        self.first = first[run]
        self.last = torch.cat((first[1:], lengths.sum()[None]))[run] - 1
        # A picture that keeps its background needs no estimate of it.
        shape = (3, *self.size)
        self._backgrounds = [
            torch.zeros(shape) if method == "none" else clip.background for clip in clips
        ]
        # All methods but the mask are a line through every pixel: offset + gain · frame. Two more
        # pictures a clip: not where memory is short, and reading takes longer than that.
        self._lines: list[tuple[Tensor, Tensor]] = []
        if method in _AFFINE and not lazy:
            for estimate in self._backgrounds:
                offset = background.clean(torch.zeros(shape), estimate, method)
                gain = background.clean(torch.ones(shape), estimate, method) - offset
                self._lines.append((_last(offset[None])[0], _last(gain[None])[0]))

    def __len__(self) -> int:
        return len(self.frames)

    def pictures(self, index: Tensor) -> Tensor:
        """What the network sees of the given frames (N,), float32 (N, 3, H, W)."""
        size = (len(index), 3, *self.size)
        pictures = torch.empty(size, memory_format=torch.channels_last)
        for picture, number in zip(pictures, index.tolist(), strict=True):
            frame, clip = self.frames[number], int(self.clip[number])
            if self._lines:
                offset, gain = self._lines[clip]
                torch.addcmul(offset, frame.float(), gain, out=picture)
            else:
                picture.copy_(background.clean(frame, self._backgrounds[clip], self.method))
        return pictures

    def truth(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Where the given frames (N,) show illegal objects, and where any; bool (N, H, W) each."""
        places = zip(self.clip[index].tolist(), index.tolist(), strict=True)
        masks, occupied = torch.empty(2, len(index), *self.size, dtype=torch.bool)
        for row, (clip, frame) in enumerate(places):
            masks[row], occupied[row] = self._clips[clip].truth(frame - self._begins[clip])
        return masks, occupied


class _Frames:
    """The frames of clips one after the other, each read when it is asked for."""

    def __init__(self, clips: Sequence[LabelledClip]) -> None:
        self._clips = clips
        self._starts = [0, *itertools.accumulate(len(clip) for clip in clips)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Tensor:
        number = bisect.bisect_right(self._starts, index) - 1
        return self._clips[number][index - self._starts[number]]


class Neighbours:
    """The flow of every frame to the frames before and after it, on the grid of the maps.

    Args:
        clips: the clips, in the order of the frame set.
        data: their frames.
        config: says which flow, and for which maps.
        stride: of the network, pixels per cell.
        store: where flows are kept; the default store when None.
        progress: whether estimating shows a progress bar.
    """

    def __init__(
        self,
        clips: Sequence[LabelledClip],
        data: FrameSet,
        config: TrainConfig,
        stride: int,
        *,
        store: FlowStore | None = None,
        progress: bool = False,
    ) -> None:
        store = store or FlowStore()
        method = "exact" if config.flow == "shuffled" else config.flow
        mirrors = [(up, left) for up in (False, True) for left in (False, True)]
        self._stored: dict[tuple[bool, bool], tuple[Tensor, Tensor]] = {}
        height, width = data.size
        size = (math.ceil(height / stride), math.ceil(width / stride))
        for mirrored in mirrors if config.flip else mirrors[:1]:
            if config.flow == "zero":
                vectors = torch.zeros(len(data), 2, 2, *size)
                visible = torch.ones(len(data), 2, *size, dtype=torch.bool)
            else:
                found = [
                    store.get(
                        clip,
                        method,
                        stride if config.cells else None,
                        size=size,
                        mirrored=mirrored,
                        assisted=config.assisted,
                        progress=progress,
                    )
                    for clip in clips
                ]
                vectors = torch.cat([clip.flow for clip in found])  # (N, 2, 2, h, w), cells
                visible = torch.cat([clip.visible for clip in found])  # (N, 2, h, w)
            if config.previous == "negated":
                vectors[1:, 0] = -vectors[:-1, 1]
            if config.flow == "shuffled":
                vectors, visible = _shuffled(vectors, visible, data, config.seed)
            # Half the memory; at 16 cells of motion the error is 1/128 of a cell.
            self._stored[mirrored] = vectors.half(), visible

    def of(self, index: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """Flow and visibility of windows of frames.

        Args:
            index: int64 (W, T), frames.
            mirrored: bool (W, 2), whether a window is seen upside down, and left to right.

        Returns:
            float32 (W, T, 2, 2, h, w), to the previous and to the next frame, (u, v) in cells; and
            bool (W, T, 2, h, w), where the cell's point is seen there.
        """
        parts = [
            (stored[0][row], stored[1][row])
            for row, (up, left) in zip(index, mirrored.tolist(), strict=True)
            for stored in [self._stored[up, left]]
        ]
        return torch.stack([p[0] for p in parts]).float(), torch.stack([p[1] for p in parts])


@dataclass(frozen=True)
class Batch:
    """W windows of T frames each; T is 1 where no neighbour is needed.

    Attributes:
        images: float32 (W, T, 3, H, W).
        labels: int64 (W, T).
        flows: float32 (W, T, 2, 2, h, w), to the previous and to the next frame, in cells; None
            without neighbours.
        visible: bool (W, T, 2, h, w), where a cell's point is seen in that neighbour.

    Example:
        >>> Batch(torch.rand(2, 1, 3, 8, 8), torch.zeros(2, 1, dtype=torch.long)).flows is None
        True
    """

    images: Tensor
    labels: Tensor
    flows: Tensor | None = None
    visible: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        flows, visible = (
            x if x is None else x.to(device, non_blocking=True) for x in (self.flows, self.visible)
        )
        images = self.images.to(device, non_blocking=True)
        return Batch(images, self.labels.to(device, non_blocking=True), flows, visible)


class Sampler:
    """Draws the batch of each step: a function of the seed and the step alone.

    With windows of 3, all methods draw the same centre frames in the same step, so that a
    comparison on one seed is a paired one: only frames with two neighbours are centres.

    Args:
        clips: clips of both cameras.
        config: how to draw.
        stride: of the network, pixels per cell.
        augment: whether pictures are jittered and mirrored, as in training.
        flows: where flows are kept; the default store when None.
        progress: whether estimating flow shows a progress bar.

    Raises:
        TccamError: if a class has no frame that can be a centre.
    """

    def __init__(
        self,
        clips: Sequence[LabelledClip],
        config: TrainConfig,
        stride: int,
        *,
        augment: bool = True,
        flows: FlowStore | None = None,
        progress: bool = False,
    ) -> None:
        self.config, self.augment = config, augment
        self.data = FrameSet(clips, config.background)
        self.neighbours = (
            Neighbours(clips, self.data, config, stride, store=flows, progress=progress)
            if config.temporal
            else None
        )
        self.labels = self.data.camera if config.num_classes == 2 else self.data.labels
        # A window starts one frame before its first centre and ends one after its last.
        frame = torch.arange(len(self.data))
        reach = config.centres
        possible = (frame > self.data.first) & (frame + reach <= self.data.last)
        self._centres = [
            (possible & (self.labels == c)).nonzero().flatten() for c in range(config.num_classes)
        ]
        for name, centres in zip(CLASSES, self._centres, strict=False):
            if len(centres) == 0:
                raise TccamError(
                    f"data: no frame of class {name!r} with {reach} frame(s) after and one before "
                    f"it in its clip; {config.num_classes} classes need some"
                )

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """The batch of a step, or one of its equal parts.

        As many windows of each class, that of a window's first centre, are in every part.
        """
        index, jitter, mirrored = (
            drawn[part * len(drawn) // parts : (part + 1) * len(drawn) // parts]
            for drawn in self.draw(step)
        )
        images = self.data.pictures(index.flatten()).unflatten(0, index.shape)
        if self.augment and any(self.config.jitter):
            recolor(images, jitter)
        for window, axes in zip(images, mirrored.tolist(), strict=True):
            if any(axes):
                sides = [axis for axis, on in zip((-2, -1), axes, strict=True) if on]
                window.copy_(window.flip(sides))
        if self.neighbours is None:
            return Batch(images, self.labels[index])
        return Batch(images, self.labels[index], *self.neighbours.of(index, mirrored))

    def draw(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the batch of a step shows.

        Returns:
            Frames, int64 (W, T); their changes of colour, float (W, T, 4) or (W, 1, 4), of
            brightness, contrast and saturation, shares, and of hue, turns; and whether a window is
            seen upside down, and left to right, bool (W, 2).
        """
        config = self.config
        draws = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        share = config.batch // (config.num_classes * config.centres)
        first = torch.stack(
            [c[torch.randint(len(c), (share,), generator=draws)] for c in self._centres], 1
        ).flatten()  # one of each class in turn, so that every part has its share of each
        count, frames = len(first), config.window if config.temporal else 1
        jitter = 2 * torch.rand(count, 1, 4, generator=draws) - 1
        mirrored = torch.rand(count, 2, generator=draws) < 0.5
        if not (config.flip and self.augment):
            mirrored = torch.zeros_like(mirrored)
        if not config.jitter_together:  # drawn for the window, so that centres agree without it
            jitter = 2 * torch.rand(count, config.window, 4, generator=draws) - 1
            jitter = jitter if config.temporal else jitter[:, 1:2]
        offsets = torch.arange(frames) - (1 if config.temporal else 0)
        return first[:, None] + offsets, jitter * torch.tensor(config.jitter), mirrored


def recolor(images: Tensor, change: Tensor) -> None:
    """Change the colours of pictures, in place.

    Every change is linear, so that one 3×3 matrix does it all, for pictures with negative values
    too, as those without background are: brightness scales, contrast scales about the picture's
    mean grey, saturation scales about each pixel's grey, and hue turns about the grey axis.

    Args:
        images: float (W, T, 3, H, W).
        change: float (W, T, 4) or (W, 1, 4): of brightness, contrast and saturation, shares, and of
            hue, turns.
    """
    change = change.expand(*images.shape[:2], 4)
    if not change[..., 1:].any():
        images *= 1 + change[..., 0, None, None, None]
        return
    luma = torch.tensor(_LUMA)
    brightness, contrast, saturation = ((1 + change[..., k]) for k in range(3))
    grey = luma.expand(3, 3)  # every row: the grey of a colour
    angle = 2 * math.pi * change[..., 3, None, None]
    axis = 1 / math.sqrt(3)
    cross = axis * torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turn = angle.cos() * torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) / 3  # Rodrigues
    saturate = saturation[..., None, None] * torch.eye(3)
    saturate = saturate + (1 - saturation[..., None, None]) * grey
    matrix = turn @ saturate * brightness[..., None, None]
    mean = torch.einsum("wtcyx,c->wt", images, luma) / images[0, 0, 0].numel()
    offset = (1 - contrast) * mean * brightness
    matrix = matrix * contrast[..., None, None]
    flat = torch.einsum("wtij,wtjyx->wtiyx", matrix, images)
    images.copy_(flat + offset[..., None, None, None])


def _shuffled(flows: Tensor, visible: Tensor, data: FrameSet, seed: int) -> tuple[Tensor, Tensor]:
    """Every frame gets the flow of a random frame, turned by one, two or three quarters.

    On a belt the flow of any other frame is nearly the right one. Turned, it is as long as the true
    motion and never along it.
    """
    draws = torch.Generator().manual_seed(seed)
    frame = torch.arange(len(data))
    inner = ((frame > data.first) & (frame < data.last)).nonzero().flatten()
    source = inner[torch.randint(len(inner), (len(data),), generator=draws)]
    flows, visible = flows[source], visible[source]
    quarters = torch.randint(1, 4, (len(data),), generator=draws)
    for count in (1, 2, 3):
        turned = flows[quarters == count]  # (N, 2, 2, h, w)
        for _ in range(count):
            turned = torch.stack((-turned[:, :, 1], turned[:, :, 0]), 2)
        flows[quarters == count] = turned
    return flows, visible


def _last(images: Tensor) -> Tensor:
    """Channels last in memory, as convolutions want them: half their time on a CPU."""
    return images.contiguous(memory_format=torch.channels_last)
