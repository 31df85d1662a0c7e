"""The distance between two readings of the same class maps, which the auxiliary losses share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tccam import cam
from tccam.errors import TccamError

__all__ = ["Reduction", "equivariance_loss", "l1", "multi_hot"]

Reduction = Literal["mean", "present"]


def l1(
    maps: Tensor,
    target: Tensor,
    labels: Tensor,
    *,
    valid: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean absolute difference of two sets of class maps, for the classes that a picture shows.

    With y_bc = 1 where picture b carries label c, else 0, and v_bp = 1 where cell p is valid:

    * ``"mean"``: ``Σ y·v·|maps − target| / (B·C·h·w)``, the authors' form. Absent classes and
      invalid cells count as cells without a difference, so that more classes make a smaller loss.
    * ``"present"``: ``Σ y·v·|maps − target| / Σ y·v``, the mean over what is compared; 0 where
      nothing is.

    Args:
        maps: float (B, C, h, w).
        target: float (B, C, h, w).
        labels: int64 (B,), the class of each picture, or (B, C), 1 for each class that it shows.
        valid: bool (B, 1, h, w), cells to compare; None for all.
        reduction: see above.

    Returns:
        Scalar ≥ 0, float32 also for half precision; differentiable in both sets of maps.

    Raises:
        TccamError: if shapes or dtypes do not agree, ``labels`` are none, or ``reduction`` is
            unknown.

    Example:
        >>> maps, target = torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 3.0]], [[9.0, 9.0]]]])
        >>> labels = torch.tensor([0])
        >>> l1(maps, target, labels).item(), l1(maps, target, labels, reduction="present").item()
        (1.0, 2.0)
    """
    floating = maps.is_floating_point() and target.is_floating_point()
    if maps.ndim != 4 or maps.shape != target.shape or not floating:
        raise TccamError(
            f"maps, target: expected two float (B, C, h, w) of one shape, "
            f"got {maps.dtype} {tuple(maps.shape)} and {target.dtype} {tuple(target.shape)}"
        )
    if reduction not in ("mean", "present"):
        raise TccamError(f"reduction: expected 'mean' or 'present', got {reduction!r}")
    weight = multi_hot(labels, maps.shape[1]).to(maps)[:, :, None, None]
    if len(weight) != len(maps):
        raise TccamError(f"labels: expected {len(maps)} pictures, got {len(weight)}")
    if valid is not None:
        if valid.shape != (len(maps), 1, *maps.shape[-2:]) or valid.dtype != torch.bool:
            raise TccamError(
                f"valid: expected bool {(len(maps), 1, *maps.shape[-2:])}, "
                f"got {valid.dtype} {tuple(valid.shape)}"
            )
        weight = weight * valid
    difference = (maps - target).abs() * weight
    wide = torch.promote_types(difference.dtype, torch.float32)  # float16 ends at 65 504 cells
    total = difference.sum(dtype=wide)
    if reduction == "mean":
        return total / maps.numel()
    return total / weight.expand_as(maps).sum(dtype=wide).clamp_min(1)


def equivariance_loss(
    maps: Tensor, halved: Tensor, labels: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """How far the maps of a picture at half its size are from its maps: a baseline without flow.

    The equivariant regularisation of SEAM (Wang et al., CVPR 2020, arXiv 2004.04581) for one
    transformation, a scale of one half, and without its other parts. Cell i of the small picture
    looks where cell 2i of the picture does, half a pixel aside, so that no map needs resizing.
    Both sides are normalised, and both move.

    Args:
        maps: float (B, C, h, w), raw class maps of the pictures.
        halved: float (B, C, ⌈h/2⌉, ⌈w/2⌉), raw class maps of the pictures at half their size.
        labels: int64 (B,) or multi-hot (B, C).
        reduction: see :func:`l1`.

    Returns:
        Scalar ≥ 0.

    Raises:
        TccamError: if the shapes do not agree.

    Example:
        >>> maps = torch.rand(2, 3, 8, 10)
        >>> equivariance_loss(maps, maps[:, :, ::2, ::2], torch.tensor([0, 1])).item()
        0.0
    """
    every_second = maps[:, :, ::2, ::2]
    if every_second.shape != halved.shape:
        raise TccamError(
            f"halved: expected {tuple(every_second.shape)}, every second cell of maps; "
            f"got {tuple(halved.shape)}"
        )
    return l1(cam.normalize(every_second), cam.normalize(halved), labels, reduction=reduction)


def multi_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels as one row of zeros and ones a picture.

    Args:
        labels: integer (B,) in 0 … C−1, or (B, C) of zeros and ones, which is returned as float.
        num_classes: C.

    Returns:
        float32 (B, C).

    Raises:
        TccamError: if ``labels`` are neither.

    Example:
        >>> multi_hot(torch.tensor([2, 0]), 3)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        hot = labels.float()
        if _cheap(labels) and not ((hot == 0) | (hot == 1)).all():
            raise TccamError("labels: expected zeros and ones")
        return hot
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise TccamError(
            f"labels: expected integers (B,) or (B, {num_classes}) of zeros and ones, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    hot = torch.zeros(len(labels), num_classes, device=labels.device)
    if _cheap(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise TccamError(
            f"labels: expected classes 0 … {num_classes - 1}, "
            f"got {int(labels.min())} … {int(labels.max())}"
        )
    return hot.scatter_(1, labels.long()[:, None], 1.0)


def _cheap(labels: Tensor) -> bool:
    """Whether looking at the values costs nothing: on a GPU it would wait for the queue."""
    return labels.device.type == "cpu" and labels.numel() > 0
