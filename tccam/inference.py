"""From a trained network to maps, masks and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tccam import cam, metrics
from tccam.data.belt import BeltClip
from tccam.data.clip import CLASSES
from tccam.errors import TccamError
from tccam.network import CamNet, CamOutput
from tccam.training import FrameSet

__all__ = ["Report", "accuracy", "choose_threshold", "evaluate", "predict", "score_maps"]

BEFORE = CLASSES.index("before")
BACKGROUND = CLASSES.index("background")


@torch.no_grad()
def predict(network: CamNet, pictures: Tensor, batch: int = 64) -> CamOutput:
    """Logits and class maps of many pictures, in eval mode; the network is left as it was.

    Args:
        network: on any device.
        pictures: float (N, 3, H, W), what the network was trained to see.
        batch: pictures at a time.

    Returns:
        logits (N, C) and maps (N, C, h, w), on the CPU.
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
    """
    return cam.normalize(cam.enlarge(F.relu(maps), size, stride))


@dataclass(frozen=True)
class Report:
    """What a network is worth on some clips.

    *Accuracy* counts the frames that show any object. The scores of the maps are means over the
    frames of the camera *before* that show an illegal object.

    Attributes:
        accuracy: share of frames whose camera is recognised.
        iou_argmax: IoU of the authors' mask: *before* has the highest normalised map.
        iou_threshold: IoU of the mask at a threshold that was chosen on validation clips.
        threshold: that threshold.
        pxap: area under the pixels' precision-recall curve.
        energy_outside: share of the map's energy that lies outside every object; frames whose map
            is 0 everywhere have no such share and are left out.
    """

    accuracy: float
    iou_argmax: float
    iou_threshold: float
    threshold: float
    pxap: float
    energy_outside: float


def accuracy(network: CamNet, clips: Sequence[BeltClip], background: str) -> float:
    """Share of the frames that show any object whose camera is recognised.

    Args:
        network: trained.
        clips: clips of both cameras.
        background: how the network's pictures lose their background.
    """
    data = FrameSet(clips, background)
    shown = (data.labels != BACKGROUND).nonzero().flatten()
    return metrics.accuracy(_outputs(network, data, shown).logits, data.labels[shown])


def choose_threshold(network: CamNet, clips: Sequence[BeltClip], background: str) -> float:
    """The threshold on the normalised map of *before* with the best mean frame IoU.

    Args:
        network: trained.
        clips: VALIDATION clips, never test clips.
        background: how the network's pictures lose their background.

    Returns:
        The threshold; a pixel belongs to the mask when its score reaches it.
    """
    data = FrameSet(clips, background)
    masks = torch.cat([clip.masks for clip in clips])
    index = _judged(data, masks)
    scores = _scores(network, data, _outputs(network, data, index).maps)
    return metrics.best_threshold(scores[:, BEFORE], masks[index]).threshold


def evaluate(
    network: CamNet, clips: Sequence[BeltClip], background: str, threshold: float
) -> Report:
    """Score a network on clips with masks.

    Args:
        network: trained.
        clips: clips of both cameras.
        background: how the network's pictures lose their background.
        threshold: of the mask, from :func:`choose_threshold`.

    Returns:
        The report.

    Raises:
        TccamError: if no frame of the camera *before* shows an illegal object.
    """
    data = FrameSet(clips, background)
    masks = torch.cat([clip.masks for clip in clips])
    occupied = torch.cat([clip.occupied for clip in clips])
    index = _judged(data, masks)
    shown = (data.labels != BACKGROUND).nonzero().flatten()
    output = _outputs(network, data, shown)
    scores = _scores(network, data, output.maps[torch.isin(shown, index)])
    truth, before = masks[index], scores[:, BEFORE]
    return Report(
        accuracy=metrics.accuracy(output.logits, data.labels[shown]),
        iou_argmax=float(metrics.frame_iou(metrics.argmax_mask(scores), truth).mean()),
        iou_threshold=float(metrics.frame_iou(before >= threshold, truth).mean()),
        threshold=threshold,
        pxap=metrics.pxap(before, truth, metrics.THRESHOLDS),
        energy_outside=float(metrics.energy_outside(before, occupied[index]).nanmean()),
    )


def _outputs(network: CamNet, data: FrameSet, index: Tensor, batch: int = 64) -> CamOutput:
    """Logits and maps of some frames; pictures are prepared a batch at a time."""
    parts = [predict(network, data.pictures(part), batch) for part in torch.split(index, batch)]
    return CamOutput(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _scores(network: CamNet, data: FrameSet, maps: Tensor) -> Tensor:
    return score_maps(maps, (data.frames.shape[-2], data.frames.shape[-1]), network.output_stride)


def _judged(data: FrameSet, masks: Tensor) -> Tensor:
    """The frames of *before* that show an illegal object, ascending (N,)."""
    index = ((data.labels == BEFORE) & masks.flatten(1).any(1)).nonzero().flatten()
    if len(index) == 0:
        raise TccamError("clips: no frame of the camera 'before' shows an illegal object")
    return index
