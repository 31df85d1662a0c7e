"""A straightforward rendering of the authors' procedure: what the library is measured against.

The same mathematics as the library's, to the digit, done step by step: pictures and float32 flow
loaded one at a time at the pictures' resolution, a forward pass for each frame of a triplet and one
for the tiles, the flow brought to the maps' grid in every step, and at inference three frames,
every scale and its mirror image for each frame, one interpolation a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tccam import background, cam, flow, puzzle, temporal
from tccam.data.belt import BeltClip
from tccam.network import CamNet
from tccam.training import FrameSet, TrainConfig


def batch(
    data: FrameSet,
    clips: Sequence[BeltClip],
    folder: Path,
    drawn: tuple[Tensor, Tensor, Tensor],
) -> tuple[list[Tensor], Tensor]:
    """Load a batch of triplets, a picture and a flow at a time.

    Args:
        data: the frames.
        clips: whose backgrounds are removed.
        folder: of the flows, ``N-0.flo`` from frame N to the previous and ``N-1.flo`` to the next.
        drawn: see ``Sampler.draw``; brightness alone changes.

    Returns:
        Previous, centre and next frames, float (B, 3, H, W) each, and float (B, 2, 2, H, W).
    """
    frames: list[list[Tensor]] = [[], [], []]
    fields = []
    for triplet, jitter, axes in zip(drawn[0].tolist(), drawn[1], drawn[2].tolist(), strict=True):
        sides = [axis for axis, on in zip((-2, -1), axes, strict=True) if on]
        for place, number in enumerate(triplet):
            estimate = clips[int(data.clip[number])].background
            picture = background.clean(data.frames[number], estimate, data.method)
            picture = picture * (1 + jitter.expand(3, -1)[place, 0])
            frames[place].append(picture.flip(sides) if sides else picture)
        field = torch.stack([flow.read_flo(folder / f"{triplet[1]}-{k}.flo") for k in range(2)])
        for channel, on in zip((1, 0), axes, strict=True):
            if on:
                field[:, channel].neg_()
        fields.append(field.flip(sides) if sides else field)
    return [torch.stack(pictures) for pictures in frames], torch.stack(fields)


def step(
    network: CamNet,
    frames: Sequence[Tensor],
    flows: Tensor,
    labels: Tensor,
    config: TrainConfig,
) -> Tensor:
    """The objective of a batch of triplets.

    Args:
        network: in train mode.
        frames: previous, centre and next frame, float (B, 3, H, W) each.
        flows: float (B, 2, 2, H, W), from the centre to previous and next, pixels.
        labels: one-hot float (B, C).
        config: α and β.
    """
    left, centre, right = frames
    logits, maps = network(centre)
    tiles = puzzle.tile(centre, config.pieces)
    merged = puzzle.merge(network(tiles).maps, config.pieces)
    before, after = network(left).maps, network(right).maps
    size = (maps.shape[-2], maps.shape[-1])
    fields = [flow.resize(flows[:, k], size) for k in range(2)]
    spatial = ((maps - merged).abs() * labels[:, :, None, None]).mean()
    near = temporal.temporal_loss(
        maps, (before, after), fields, labels.long(), validity=False, half_cell_shift=True
    )
    loss = F.multilabel_soft_margin_loss(logits, labels)
    loss = loss + F.multilabel_soft_margin_loss(merged.mean((2, 3)), labels)
    return loss + config.alpha * spatial + config.beta * near


@torch.no_grad()
def infer(
    network: CamNet,
    pictures: Tensor,
    flows: Tensor,
    visible: Tensor,
    scales: tuple[float, ...],
) -> Tensor:
    """The maps of one frame, (C, H, W): its neighbours' and its own, computed for it alone.

    Args:
        network: in eval mode.
        pictures: float (3, 3, H, W), previous, centre and next frame.
        flows: float (2, 2, H, W), from the centre to previous and next, pixels.
        visible: bool (2, H, W).
        scales: of the pictures.
    """
    height, width = pictures.shape[-2:]
    maps = []
    for picture in pictures:
        total = torch.zeros(network.num_classes, height, width)
        for scale in scales:
            size = (round(height * scale), round(width * scale))
            view = picture[None]
            if size != (height, width):
                view = F.interpolate(view, size, mode="bilinear", antialias=True)
            for mirrored in (False, True):
                found = F.relu(network(view.flip(-1) if mirrored else view).maps)
                for c in range(network.num_classes):
                    one = cam.enlarge(
                        found[:, c : c + 1], (height, width), network.output_stride, size
                    )[0, 0]
                    total[c] += one.flip(-1) if mirrored else one
        maps.append(total / (2 * len(scales)))
    return temporal.aggregate(
        maps[1][None],
        [maps[0][None], maps[2][None]],
        [flows[0][None], flows[1][None]],
        [visible[0][None, None], visible[1][None, None]],
    )[0]
