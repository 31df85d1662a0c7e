"""The objective: one function for training and validation, all methods and both variants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tccam import consistency, puzzle, temporal
from tccam.training.batches import Batch
from tccam.training.config import TrainConfig

__all__ = ["classification_loss", "objective", "ramp"]


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft margin loss: one binary decision a class.

    Args:
        logits: float (B, C).
        labels: int64 (B,) in 0 … C−1, or multi-hot (B, C).

    Returns:
        Scalar, the mean over pictures and classes of −y·log σ(z) − (1−y)·log(1−σ(z)).

    Example:
        >>> classification_loss(torch.zeros(1, 3), torch.tensor([0])).exp().item()  # log 2
        2.0
    """
    hot = consistency.multi_hot(labels, logits.shape[1])
    return F.multilabel_soft_margin_loss(logits.float(), hot)


def ramp(step: int, config: TrainConfig) -> float:
    """The share of the weights α, β, γ that holds now: from 0 to 1 over ``ramp`` · ``steps``.

    Example:
        >>> [ramp(step, TrainConfig(steps=100, ramp=0.5)) for step in (0, 25, 50, 99)]
        [0.0, 0.5, 1.0, 1.0]
    """
    rise = config.ramp * config.steps
    return min(1.0, step / rise) if rise else 1.0


def objective(
    network: nn.Module, batch: Batch, config: TrainConfig, weight: float = 1.0
) -> dict[str, Tensor]:
    """The terms of the objective on a batch, and their weighted sum.

    ``L = L_cls(full) + L_cls(merged tiles) + α·L_spatial + β·L_temporal``, and for comparison
    ``+ γ·L_equivariance``.

    All frames of a batch pass the network together, and the tiles of the centres once more. A
    window of T frames thus costs T pictures and T − 2 in tiles for its T − 2 triplets: 14 instead
    of the 24 that six separate triplets cost at T = 8. In eval mode the terms are those of the
    separate triplets. In train mode they are not: batch normalisation sees every frame once
    instead of up to three times, and fewer different clips in a batch of the same size.

    Args:
        network: returns logits (B, C) and maps (B, C, h, w), see
            :class:`tccam.network.CamOutput`; its mode is the caller's.
        batch: windows of frames, on the network's device.
        config: says which terms there are.
        weight: share of α, β and γ that holds now, see :func:`ramp`.

    Returns:
        "loss" and its terms before weighting, which are "classification", and with their methods
        "tiles", "spatial", "temporal" and "equivariance". Each a scalar with its gradient.

    Example:
        >>> from tccam.network import CamNet
        >>> batch = Batch(torch.rand(3, 1, 3, 32, 32), torch.tensor([[0], [1], [2]]))
        >>> sorted(objective(CamNet("small"), batch, TrainConfig(method="puzzle")))
        ['classification', 'loss', 'spatial', 'tiles']
    """
    count, frames = batch.images.shape[:2]
    # Channels last: half the time of a convolution on a CPU, and what tensor cores want.
    pictures = batch.images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    images = pictures.unflatten(0, (count, frames))  # (W, T, 3, H, W)
    centre = slice(1, -1) if config.temporal else slice(None)
    if config.separate_passes:
        outputs = [network(images[:, t]) for t in range(frames)]
        logits = torch.stack([output.logits for output in outputs], 1)
        maps = torch.stack([output.maps for output in outputs], 1)
    else:
        output = network(pictures)
        logits = output.logits.unflatten(0, (count, frames))  # (W, T, C)
        maps = output.maps.unflatten(0, (count, frames))  # (W, T, C, h, w)
    maps = maps.float()  # after mixed precision: normalisation and warping need the digits
    centres = maps[:, centre].flatten(0, 1)  # (B, C, h, w)
    hot = consistency.multi_hot(batch.labels[:, centre].flatten(), logits.shape[2])
    terms = {"classification": classification_loss(logits[:, centre].flatten(0, 1), hot)}
    loss = terms["classification"]
    if config.spatial:
        tiles = network(puzzle.tile(images[:, centre].flatten(0, 1), config.pieces))
        merged = puzzle.merge(tiles.maps.float(), config.pieces)
        terms["tiles"] = classification_loss(merged.mean((2, 3)), hot)
        terms["spatial"] = puzzle.spatial_loss(
            centres, merged, hot, level=config.level, reduction=config.reduction
        )
        loss = loss + terms["tiles"] + weight * config.alpha * terms["spatial"]
    if config.temporal:
        assert batch.flows is not None
        assert batch.visible is not None
        flows = batch.flows[:, centre].flatten(0, 1)  # (B, 2, 2, h, w)
        visible = batch.visible[:, centre].flatten(0, 1)[:, :, None]  # (B, 2, 1, h, w)
        terms["temporal"] = temporal.temporal_loss(
            centres,
            (maps[:, :-2].flatten(0, 1), maps[:, 2:].flatten(0, 1)),
            flows.unbind(1),
            hot,
            visible=visible.unbind(1) if config.validity == "visible" else None,
            fusion=config.fusion,
            centre_in=config.centre_in,
            normalized=config.normalized,
            detach=config.detach,
            validity=config.validity != "none",
            half_cell_shift=config.half_cell_shift,
            reduction=config.reduction,
        )
        loss = loss + weight * config.beta * terms["temporal"]
    if config.gamma:
        whole = images[:, centre].flatten(0, 1)
        size = [-(-side // 2) for side in whole.shape[-2:]]
        half = F.interpolate(whole, size, mode="bilinear", antialias=True)
        with _unrecorded(network):  # inference never sees a small picture
            halved = network(half).maps.float()
        terms["equivariance"] = consistency.equivariance_loss(
            centres, halved, hot, reduction=config.reduction
        )
        loss = loss + weight * config.gamma * terms["equivariance"]
    return {"loss": loss, **terms}


@contextmanager
def _unrecorded(network: nn.Module) -> Iterator[None]:
    """Passes leave the running mean and variance of batch normalisation as they are.

    Each pass is normalised by itself, so that without its term it changes nothing.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
