"""From a trained network to maps, masks and scores."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice, starmap
from typing import Literal, NamedTuple, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from tccam import cam, metrics, temporal
from tccam import flow as optical
from tccam.data.clip import CLASSES, Clip, LabelledClip
from tccam.data.flows import ClipFlow, FlowStore, stream_flow
from tccam.errors import TccamError, check_choices, check_limits
from tccam.network import CamNet, CamOutput
from tccam.temporal import Fusion
from tccam.training import FrameSet

__all__ = [
    "CURVE",
    "Curve",
    "Report",
    "Window",
    "accuracy",
    "assist",
    "choose_threshold",
    "evaluate",
    "multiscale",
    "predict",
    "score_maps",
    "stream",
]

#: Thresholds of a report's curve.
CURVE = tuple(percent / 100 for percent in range(5, 100, 5))

BEFORE = CLASSES.index("before")
BACKGROUND = CLASSES.index("background")

_FRAMES = 64  # that pass the network together
_PIXELS = 2**22  # that do: two pictures of 1080p

_T = TypeVar("_T")


@torch.no_grad()
def predict(network: CamNet, pictures: Tensor, batch: int = 64) -> CamOutput:
    """Logits and class maps of many pictures, in eval mode; the network is left as it was.

    Args:
        network: on any device.
        pictures: float (N, 3, H, W), what the network was trained to see.
        batch: pictures at a time.

    Returns:
        logits (N, C) and maps (N, C, h, w), on the CPU.

    Example:
        >>> predict(CamNet("small"), torch.rand(2, 3, 32, 40)).maps.shape
        torch.Size([2, 3, 8, 10])
    """
    was_training, device = network.training, next(network.parameters()).device
    network.eval()
    try:
        parts = [network(part.to(device)) for part in torch.split(pictures, batch)]
    finally:
        network.train(was_training)
    return CamOutput(*(torch.cat(tensors).cpu() for tensors in zip(*parts, strict=True)))


def score_maps(maps: Tensor, size: tuple[int, int], stride: int | None) -> Tensor:
    """Class maps on the picture's grid, each in [0, 1] by its own maximum.

    Args:
        maps: float (B, C, h, w), raw class maps.
        size: the picture's height and width.
        stride: the network's output stride, see :func:`tccam.cam.enlarge`.

    Returns:
        float (B, C, H, W) in [0, 1].

    Example:
        >>> score_maps(torch.rand(2, 3, 8, 10), (32, 40), 4).shape
        torch.Size([2, 3, 32, 40])
    """
    return cam.normalize(cam.enlarge(F.relu(maps), size, stride))


def multiscale(
    network: CamNet,
    pictures: Tensor,
    scales: Sequence[float] = (0.5, 1.0, 2.0),
    *,
    flip: bool = True,
    batch: int = 16,
) -> Tensor:
    """Class maps that several sizes of the picture, and its mirror image, agree on.

    The mean over all views of the relu'd maps, each brought to the picture's grid, all classes in
    one interpolation. A mirrored view is turned back there and not on its own grid: the network's
    cells look at pixels s·i counted from the other side, and a map that is turned back cell by cell
    lands s − 1 pixels off.

    Args:
        network: on any device.
        pictures: float (N, 3, H, W), what the network was trained to see.
        scales: of the picture's sides; the authors take 0.2, 0.5, 1, 2, 4, 6.
        flip: whether every scale is also seen mirrored left to right.
        batch: pictures at a time, at scale 1; fewer at larger scales.

    Returns:
        float (N, C, H, W) ≥ 0, on the CPU; not normalised.

    Raises:
        TccamError: if there is no scale, or one makes the picture smaller than a cell.

    Example:
        >>> network = CamNet("small")
        >>> tuple(multiscale(network, torch.zeros(2, 3, 32, 40), (1.0, 2.0)).shape)
        (2, 3, 32, 40)
    """
    if not scales or min(scales) <= 0:
        raise TccamError(f"scales: expected positive numbers, got {tuple(scales)}")
    height, width = pictures.shape[-2:]
    total = torch.zeros(len(pictures), network.num_classes, height, width)
    for scale in scales:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        count = max(1, math.floor(batch / scale**2))
        for first in range(0, len(pictures), count):
            part = pictures[first : first + count]
            if size != (height, width):
                part = F.interpolate(
                    part, size, mode="bilinear", align_corners=False, antialias=True
                )
            views = torch.cat((part, part.flip(-1))) if flip else part
            maps = predict(network, views, batch=len(views)).maps
            maps = cam.enlarge(F.relu(maps), (height, width), network.output_stride, size)
            here = total[first : first + len(part)]
            here += maps[: len(part)]
            if flip:
                here += maps[len(part) :].flip(-1)
    return total / (len(scales) * (2 if flip else 1))


@dataclass(frozen=True)
class Window:
    """How the frames before and after help a frame at inference.

    Attributes:
        reach: frames to each side, 0 for none. Farther ones are found by chaining the flow from
            frame to frame, see :func:`tccam.flow.geometry.compose`.
        past: whether only the frames before help: then no frame waits for one that comes later
            (in :func:`stream` with ``batch=1``, otherwise for the rest of its batch).
        fusion: "mean" or "max" over a frame and its neighbours, see
            :func:`tccam.temporal.aggregate`.
        validity: where a neighbour counts: wherever its point lies "inside" every picture on the
            way there, or only where it is also "visible" in all of them, occlusion included.
        flow: to the neighbours: "exact", "files" (of a data folder), one of ``flow.METHODS``, or
            "zero", the control that looks at the same place of every frame.
        assisted: whether an estimation is helped by the clip's background, see
            :func:`~tccam.flow.estimation.estimate`.

    Example:
        >>> Window(reach=3, fusion="max")
        Window(reach=3, past=False, fusion='max', validity='visible', flow='exact', assisted=True)
    """

    reach: int = 1
    past: bool = False
    fusion: Fusion = "mean"
    validity: Literal["inside", "visible"] = "visible"
    flow: str = "exact"
    assisted: bool = True

    def __post_init__(self) -> None:
        check_choices(
            self,
            {
                "fusion": get_args(Fusion),
                "validity": ("inside", "visible"),
                "flow": ("exact", "files", "zero", *optical.METHODS),
            },
        )
        check_limits(self, {"reach": (0, 10**6)})

    def field(self, clip: Clip, stride: int, store: FlowStore | None = None) -> ClipFlow:
        """The flow of a clip between neighbouring frames, in cells of a network of this stride.

        Args:
            clip: the clip.
            stride: of the network, pixels per cell.
            store: where flow is kept; the default store when None.
        """
        if self.flow != "zero":
            store = store or FlowStore()
            return store.get(clip, self.flow, stride, assisted=self.assisted, progress=False)
        height, width = (-(-side // stride) for side in clip.size)
        vectors = torch.zeros(len(clip), 2, 2, height, width)
        return ClipFlow(vectors, torch.ones(len(clip), 2, height, width, dtype=torch.bool))

    def along(
        self, clip: LabelledClip, stride: int, store: FlowStore | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The same frame after frame, as :func:`assist` takes it.

        A clip that is ``lazy`` has its flow computed on the way and kept nowhere, neither in memory
        nor in the store.

        Args:
            clip: the clip.
            stride: of the network, pixels per cell.
            store: where the flow of other clips is kept; the default store when None.

        Returns:
            For each frame float32 (2, 2, h, w), to the previous and to the next frame, in cells,
            and bool (2, h, w), where the cell's point is seen there.

        Raises:
            TccamError: if the clip does not know such a flow.

        Example:
            >>> from tccam.data import BeltConfig, SyntheticBelt
            >>> clip = SyntheticBelt(BeltConfig(frames=4, lead_in=0)).validation[0]
            >>> [flow.shape for flow, _ in Window(flow="zero").along(clip, 16)][0]
            torch.Size([2, 2, 8, 10])
        """
        if clip.lazy:
            estimated = self.assisted and self.flow in optical.METHODS
            background = clip.background if estimated else None
            return stream_flow(clip, self.flow, stride, background=background)
        field = self.field(clip, stride, store)
        return zip(field.flow, field.visible, strict=True)


def assist(
    maps: Iterable[Tensor],
    flows: Iterable[tuple[Tensor, Tensor]],
    window: Window = Window(),
) -> Iterator[Tensor]:
    """Each frame's maps together with its neighbours', frame after frame.

    Memory holds the frames of one window and does not grow with the clip. A frame costs a warp of
    maps for each neighbour, and a warp of flow for each that is farther than one frame.

    Args:
        maps: of a clip in order, each float (C, h, w); negative values count as 0.
        flows: for each frame its flow to the previous and to the next frame, float (2, 2, h, w) in
            cells of the maps, and bool (2, h, w), where the cell's point is seen there; see
            :class:`tccam.data.flows.ClipFlow`.
        window: reach, fusion and validity; its flow is the one that is given.

    Yields:
        For each frame float (C, h, w) ≥ 0, not normalised.

    Raises:
        TccamError: if there are fewer or more flows than maps, or they lie on another grid.

    Example:
        The belt moves by one cell a frame, and the object is seen at full strength once.

        >>> maps = torch.tensor([[[[2.0, 0, 0]]], [[[0, 5.0, 0]]], [[[0, 0, 2.0]]]])
        >>> flow = torch.tensor([[-1.0, 0], [1.0, 0]])[:, :, None, None].expand(2, 2, 1, 3)
        >>> flows = [(flow, torch.ones(2, 1, 3, dtype=torch.bool))] * 3
        >>> [m.flatten().round().tolist() for m in assist(maps, flows, Window(fusion="max"))]
        [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]]
        >>> [m.flatten().round().tolist() for m in assist(maps, flows, Window(reach=2))]
        [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]
    """
    frames = _frames(maps, flows, window)
    near = deque(islice(frames, 1 if window.past else window.reach + 1))
    place = 0  # of the centre in the window, which is cut off at both ends of a clip
    while place < len(near):
        yield _together(near, place, window.fusion)
        near.extend(islice(frames, 1))
        if place == window.reach:
            near.popleft()
        else:
            place += 1


class _Frame(NamedTuple):
    """Maps (C, h, w), flow to the previous and the next frame (2, 2, h, w), what counts there."""

    maps: Tensor
    flow: Tensor
    valid: Tensor


def _frames(
    maps: Iterable[Tensor], flows: Iterable[tuple[Tensor, Tensor]], window: Window
) -> Iterator[_Frame]:
    fields = iter(flows)
    for here in maps:
        field = next(fields, None)
        if field is None:
            raise TccamError("flows: expected one for each picture, got fewer")
        flow, visible = field
        valid = visible if window.validity == "visible" else torch.ones_like(visible)
        yield _Frame(F.relu(here), flow, valid)
    if next(fields, None) is not None:
        raise TccamError("flows: expected one for each picture, got more")


def _together(near: Sequence[_Frame], place: int, fusion: Fusion) -> Tensor:
    """The maps of one frame of a window, fused with those of all others."""
    centre = near[place]
    neighbours, flows, valids = [], [], []
    for side, others in enumerate((range(place - 1, -1, -1), range(place + 1, len(near)))):
        flow, valid = centre.flow[side], centre.valid[side]
        for number, other in enumerate(others):
            if number:  # one step further: from the neighbour that was reached last
                last = near[others[number - 1]]
                step = torch.cat((last.flow[side], last.valid[side, None].float()))
                further, _ = optical.warp(step[None], flow[None])  # as flow.compose does
                flow = flow + further[0, :2]
                valid = valid & (further[0, 2] > 0.999)  # 0 outside the picture
            neighbours.append(near[other].maps)
            flows.append(flow)
            valids.append(valid)
    if not neighbours:
        return centre.maps
    # All neighbours in one warp, as a batch.
    warped, within = optical.warp(torch.stack(neighbours), torch.stack(flows))
    seen = within & torch.stack(valids)[:, None]
    maps = torch.cat((centre.maps[None], warped))
    counts = torch.cat((torch.ones_like(seen[:1]), seen))
    return temporal.fuse(maps.split(1), counts.split(1), fusion)[0]


def stream(
    network: CamNet,
    pictures: Iterable[Tensor],
    flows: Iterable[tuple[Tensor, Tensor]] | None = None,
    *,
    window: Window = Window(),
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    batch: int = 16,
) -> Iterator[Tensor]:
    """Class maps along a clip, frame after frame, with their neighbours' help.

    The maps of each frame are computed once and serve every frame whose window it lies in. Memory
    does not grow with the clip.

    Args:
        network: on any device.
        pictures: of a clip in order, each float (3, H, W), what the network was trained to see.
        flows: see :func:`assist`. None for no neighbours.
        window: see :func:`assist`.
        scales: see :func:`multiscale`. With one scale of 1 and no flip the maps stay on the
            network's grid, otherwise they (and the flows) lie on the picture's.
        flip: see :func:`multiscale`.
        batch: pictures that pass the network at a time.

    Yields:
        For each frame float (C, h, w) ≥ 0, not normalised.

    Raises:
        TccamError: if there are fewer or more flows than pictures, or they lie on another grid.

    Example:
        >>> frames = torch.rand(3, 3, 32, 40)
        >>> [tuple(maps.shape) for maps in stream(CamNet("small"), frames)]
        [(3, 8, 10), (3, 8, 10), (3, 8, 10)]
    """
    maps = _maps(network, pictures, scales, flip, batch)
    yield from maps if flows is None else assist(maps, flows, window)


def _maps(
    network: CamNet, pictures: Iterable[Tensor], scales: Sequence[float], flip: bool, batch: int
) -> Iterator[Tensor]:
    """Relu'd maps of one picture after the other, (C, h, w)."""
    source = iter(pictures)
    while part := list(islice(source, batch)):
        images = torch.stack(part)
        if tuple(scales) == (1.0,) and not flip:
            yield from F.relu(predict(network, images, batch).maps)
        else:
            yield from multiscale(network, images, scales, flip=flip, batch=batch)


class Curve(NamedTuple):
    """What a mask is worth at every threshold of :data:`CURVE`, on the judged frames.

    Attributes:
        iou: mean over frames.
        precision: share of the mask that is illegal, all frames' pixels together.
        recall: share of the illegal pixels that the mask covers, all frames' together.
    """

    iou: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """What a network is worth on some clips, by several protocols.

    *Accuracy* counts the frames that show any object. The scores of the maps are means over the
    frames of the camera *before* that show an illegal object, unless they say otherwise.

    Attributes:
        accuracy: share of frames whose camera is recognised.
        iou_argmax: IoU of the authors' mask: *before* has the highest normalised map.
        iou_threshold: IoU of the mask at a threshold that was chosen on validation clips.
        threshold: that threshold.
        iou_oracle: the best IoU of any threshold, chosen on these very clips: a bound, no result.
        iou_authors: the authors' protocol: as ``iou_argmax``, over all frames of both cameras; a
            frame without illegal object counts 1 where the mask is empty, else 0.
        miou: at the threshold, mean over *illegal* and *rest* of the IoU of all frames' pixels
            together, as is usual for weakly supervised segmentation.
        pxap: area under the pixels' precision-recall curve.
        precision: at the threshold, share of the mask's pixels that are illegal.
        recall: at the threshold, share of the illegal pixels that the mask covers.
        energy_outside: share of the map's energy that lies outside every object; frames whose map
            is 0 everywhere have no such share and are left out.
        curve: over thresholds.
    """

    accuracy: float
    iou_argmax: float
    iou_threshold: float
    threshold: float
    iou_oracle: float
    iou_authors: float
    miou: float
    pxap: float
    precision: float
    recall: float
    energy_outside: float
    curve: Curve


def accuracy(
    network: CamNet, clips: Sequence[LabelledClip], background: str, *, progress: bool = False
) -> float:
    """Share of the frames that show any object whose camera is recognised.

    Args:
        network: trained.
        clips: clips of both cameras.
        background: how the network's pictures lose their background.
        progress: whether to show a bar on stderr.

    Raises:
        TccamError: if no frame shows an object.

    Example:
        >>> from tccam.data import BeltConfig, SyntheticBelt
        >>> config = BeltConfig(height=64, width=64, frames=4, lead_in=0, train=2, test=2)
        >>> clips, network = SyntheticBelt(config).test, CamNet("small")
        >>> 0 <= accuracy(network, clips, "divide") <= 1
        True
    """
    data = FrameSet(clips, background)
    shown = _shown(data)
    if len(shown) == 0:
        raise TccamError("clips: no frame shows an object")
    outputs = _bar(_outputs(network, data, shown), "accuracy", len(shown), progress)
    logits = torch.stack([output.logits for output in outputs])
    return metrics.accuracy(logits, data.labels[shown])


def choose_threshold(
    network: CamNet,
    clips: Sequence[LabelledClip],
    background: str,
    *,
    window: Window | None = None,
    flows: FlowStore | None = None,
    progress: bool = False,
) -> float:
    """The threshold on the normalised map of *before* with the best mean frame IoU.

    Frames are read a few at a time, see :func:`evaluate`.

    Args:
        network: trained.
        clips: VALIDATION clips, never test clips.
        background: how the network's pictures lose their background.
        window: how a frame's neighbours help; None for not at all.
        flows: where flow is kept, but that of data folders; the default store when None.
        progress: whether to show bars on stderr.

    Returns:
        The threshold; a pixel belongs to the mask when its score reaches it.

    Raises:
        TccamError: if no frame of the camera *before* shows an illegal object.

    Example:
        >>> from tccam.data import BeltConfig, SyntheticBelt
        >>> config = BeltConfig(height=64, width=64, frames=4, lead_in=0, train=2, test=2)
        >>> clips, network = SyntheticBelt(config).test, CamNet("small")
        >>> 0 <= choose_threshold(network, clips, "divide") <= 1
        True
    """
    data = FrameSet(clips, background)
    index = _judged(data, progress)
    parts = _parts(network, data, clips, index, window, flows, progress)
    counts = (metrics.Counts.of(part.scores[:, BEFORE], part.masks) for part in parts)
    return metrics.Counts.join(counts).best_threshold().threshold


def evaluate(
    network: CamNet,
    clips: Sequence[LabelledClip],
    background: str,
    threshold: float,
    *,
    window: Window | None = None,
    flows: FlowStore | None = None,
    progress: bool = False,
) -> Report:
    """Score a network on clips with masks.

    Memory holds a batch of frames, masks and scores, the window, and the background of each clip.
    Of a clip whose frames are read when they are asked for (``clip.lazy``) a frame leaves 2 KB
    behind, its :class:`~tccam.metrics.Counts`; other clips are in memory as they are.

    Args:
        network: trained.
        clips: clips of both cameras.
        background: how the network's pictures lose their background.
        threshold: of the mask, from :func:`choose_threshold`.
        window: how a frame's neighbours help; None for not at all.
        flows: where flow is kept, but that of data folders; the default store when None.
        progress: whether to show bars on stderr.

    Returns:
        The report.

    Raises:
        TccamError: if no frame of the camera *before* shows an illegal object.

    Example:
        >>> from tccam.data import BeltConfig, SyntheticBelt
        >>> config = BeltConfig(height=64, width=64, frames=4, lead_in=0, train=2, test=2)
        >>> clips, network = SyntheticBelt(config).test, CamNet("small")
        >>> report = evaluate(network, clips, "divide", threshold=0.5)
        >>> 0 <= report.iou_threshold <= report.iou_oracle <= 1
        True
    """
    data = FrameSet(clips, background)
    known = torch.cat([clip.known for clip in clips])
    index = _judged(data, progress)
    shown, everything = _shown(data), torch.arange(len(data))
    grid = sorted({*metrics.THRESHOLDS, threshold})
    logits, overlaps, counts, outside = [], [], [], []
    for part in _parts(network, data, clips, everything, window, flows, progress):
        logits.append(part.logits)
        overlaps.append(metrics.frame_iou(metrics.argmax_mask(part.scores), part.masks))
        judged = torch.isin(part.frames, index)
        if judged.any():
            before, masks = part.scores[judged, BEFORE], part.masks[judged]
            counts.append(metrics.Counts.of(before, masks, grid))
            outside.append(metrics.energy_outside(before, part.occupied[judged]))
    total, argmax = metrics.Counts.join(counts), torch.cat(overlaps)
    chosen, every = total.at([threshold]), total.at(metrics.THRESHOLDS)
    precision, recall, _ = chosen.precision_recall()
    return Report(
        accuracy=metrics.accuracy(torch.cat(logits)[shown], data.labels[shown]),
        iou_argmax=float(argmax[index].mean()),
        iou_threshold=float(chosen.iou_curve()),
        threshold=threshold,
        iou_oracle=every.best_threshold().score,
        iou_authors=float(argmax[known].mean()),
        miou=float(chosen.iou_curve("mean_iou")),
        pxap=every.pxap(),
        precision=float(precision),
        recall=float(recall),
        energy_outside=float(torch.cat(outside).nanmean()),
        curve=_curve(total.at(CURVE)),
    )


def _curve(counts: metrics.Counts) -> Curve:
    strictest_first = counts.precision_recall()[:2]
    precision, recall = (values.flip(0) for values in strictest_first)
    return Curve(*(tuple(values.tolist()) for values in (counts.iou_curve(), precision, recall)))


class _Part(NamedTuple):
    """Some frames: their numbers (B,), what the network says of them, and the truth."""

    frames: Tensor
    logits: Tensor
    scores: Tensor
    masks: Tensor
    occupied: Tensor


def _parts(
    network: CamNet,
    data: FrameSet,
    clips: Sequence[LabelledClip],
    index: Tensor,
    window: Window | None,
    store: FlowStore | None,
    progress: bool,
) -> Iterator[_Part]:
    """Some frames in order, a batch at a time."""
    passing = index  # neighbours pass the network too
    if window is not None:
        passing = torch.isin(data.clip, data.clip[index]).nonzero().flatten()
    waiting: deque[Tensor] = deque()  # logits, while their maps wait for neighbours
    maps = _kept(_outputs(network, data, passing), waiting)
    if window is not None:
        maps = _assisted(maps, data, clips, passing, window, network.output_stride, store)
    seen = ((number, waiting.popleft(), m) for number, m in zip(passing, maps, strict=True))
    frames = _bar(seen, "frames", len(passing), progress)
    wanted = compress(frames, torch.isin(passing, index))
    while part := tuple(islice(wanted, _batch(data))):
        numbers, logits, helped = map(torch.stack, zip(*part, strict=True))
        scores = score_maps(helped, data.size, network.output_stride)
        yield _Part(numbers, logits, scores, *data.truth(numbers))


def _kept(outputs: Iterable[CamOutput], waiting: deque[Tensor]) -> Iterator[Tensor]:
    """The maps; the logits go to ``waiting``."""
    for logits, maps in outputs:
        waiting.append(logits)
        yield maps


def _assisted(
    maps: Iterator[Tensor],
    data: FrameSet,
    clips: Sequence[LabelledClip],
    index: Tensor,
    window: Window,
    stride: int,
    store: FlowStore | None,
) -> Iterator[Tensor]:
    """The maps of all frames of some clips, each with its neighbours' help."""
    for number in data.clip[index].unique().tolist():
        flows = window.along(clips[number], stride, store)
        runs = data.first[data.clip == number].unique_consecutive(return_counts=True)[1]
        for length in runs.tolist():  # no neighbour is behind a gap
            yield from assist(islice(maps, length), islice(flows, length), window)


def _outputs(network: CamNet, data: FrameSet, index: Tensor) -> Iterator[CamOutput]:
    """Logits (C,) and maps (C, h, w) of one frame after the other."""
    for part in torch.split(index, _batch(data)):
        yield from starmap(CamOutput, zip(*predict(network, data.pictures(part)), strict=True))


def _batch(data: FrameSet) -> int:
    """Frames at a time: fewer of large ones."""
    return max(1, min(_FRAMES, _PIXELS // math.prod(data.size)))


def _bar(frames: Iterable[_T], what: str, total: int, progress: bool) -> Iterator[_T]:
    return iter(tqdm(frames, what, total, unit="frame", disable=not progress))


def _shown(data: FrameSet) -> Tensor:
    """The frames that show any object, ascending (N,)."""
    return (data.labels != BACKGROUND).nonzero().flatten()


def _judged(data: FrameSet, progress: bool) -> Tensor:
    """The frames of *before* that show an illegal object, ascending (N,)."""
    frames = (data.labels == BEFORE).nonzero()
    bar = _bar(frames, "masks", len(frames), progress)
    index = [frame for frame in bar if data.truth(frame)[0].any()]
    if not index:
        raise TccamError("clips: no frame of the camera 'before' shows an illegal object")
    return torch.cat(index)
