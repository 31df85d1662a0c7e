"""The temporal term: neighbouring frames, brought to the centre by their flow, teach it.

arXiv 2502.01455: the class maps of the frames t−1 and t+1 are warped to frame t and fused; the map
of frame t is asked to agree with what they find together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tccam import cam, consistency, flow
from tccam.consistency import Reduction
from tccam.errors import TccamError

__all__ = ["Fusion", "Normalized", "aggregate", "align", "fuse", "temporal_loss"]

Fusion = Literal["max", "mean"]
Normalized = Literal["fused", "each"]


def align(
    neighbours: Sequence[Tensor],
    flows: Sequence[Tensor],
    visible: Sequence[Tensor] | None = None,
    *,
    half_cell_shift: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """Fetch the neighbours' maps to the grid of the centre frame.

    Args:
        neighbours: N maps, each float (B, C, h, w) on the grid of its own frame.
        flows: N flows, each float (B, 2, h, w), FROM the centre TO the neighbour, in cells.
        visible: N masks, each bool (B, 1, h, w), on the centre's grid: where a point of the centre
            is seen in the neighbour too, see :func:`~tccam.flow.geometry.occlusion`; None for
            everywhere.
        half_cell_shift: see :func:`~tccam.flow.geometry.warp`.

    Returns:
        N warped maps (B, C, h, w), and N masks (B, 1, h, w), inside the neighbour's picture and
        visible there.

    Raises:
        TccamError: if the numbers of neighbours, flows and masks differ, or their shapes do.

    Example:
        >>> maps, still = torch.rand(1, 3, 4, 5), torch.zeros(1, 2, 4, 5)
        >>> (warped,), (valid,) = align([maps], [still])
        >>> torch.equal(warped, maps), bool(valid.all())
        (True, True)
    """
    if not neighbours or len(flows) != len(neighbours):
        raise TccamError(
            f"flows: expected one a neighbour, got {len(flows)} for {len(neighbours)} neighbours"
        )
    if visible is not None and len(visible) != len(neighbours):
        raise TccamError(f"visible: expected {len(neighbours)} masks, got {len(visible)}")
    pairs = [
        flow.warp(maps, field, half_cell_shift=half_cell_shift)
        for maps, field in zip(neighbours, flows, strict=True)
    ]
    warped, valids = [p[0] for p in pairs], [p[1] for p in pairs]
    if visible is None:
        return warped, valids
    for valid, seen in zip(valids, visible, strict=True):
        if seen.shape != valid.shape or seen.dtype != torch.bool:
            raise TccamError(
                f"visible: expected bool {tuple(valid.shape)}, got {seen.dtype} {tuple(seen.shape)}"
            )
    valids = [valid & seen for valid, seen in zip(valids, visible, strict=True)]
    return warped, valids


def fuse(neighbours: Sequence[Tensor], valids: Sequence[Tensor], mode: Fusion = "max") -> Tensor:
    """Element-wise maximum or mean over the neighbours that are valid at a cell.

    To have the centre take part, pass it as one more neighbour that is valid everywhere.

    Args:
        neighbours: N maps, each float (B, C, h, w), aligned to one grid.
        valids: N masks, each bool (B, 1, h, w).
        mode: "max" (the paper's) or "mean".

    Returns:
        float (B, C, h, w); 0 where no neighbour is valid.

    Raises:
        TccamError: if there is no neighbour, the shapes differ, or ``mode`` is unknown.

    Example:
        >>> one, two = torch.full((1, 1, 1, 2), 1.0), torch.full((1, 1, 1, 2), 3.0)
        >>> valid = torch.tensor([[[[True, False]]]])
        >>> fuse([one, two], [torch.ones_like(valid), valid]).flatten().tolist()
        [3.0, 1.0]
    """
    if mode not in ("max", "mean"):
        raise TccamError(f"mode: expected 'max' or 'mean', got {mode!r}")
    if len(neighbours) == 0 or len(neighbours) != len(valids):
        raise TccamError(f"valids: expected {len(neighbours)} (at least one), got {len(valids)}")
    _check_maps(neighbours)
    expected = (neighbours[0].shape[0], 1, *neighbours[0].shape[2:])
    for maps, valid in zip(neighbours, valids, strict=True):
        right = maps.shape == neighbours[0].shape and valid.shape == expected
        if not right or valid.dtype != torch.bool:
            raise TccamError(
                f"neighbours, valids: expected {tuple(neighbours[0].shape)} and bool {expected}, "
                f"got {tuple(maps.shape)} and {valid.dtype} {tuple(valid.shape)}"
            )
    maps, valid = torch.stack(tuple(neighbours)), torch.stack(tuple(valids))  # (N, B, …, h, w)
    if mode == "mean":
        return (maps * valid).sum(0) / valid.sum(0).clamp_min(1)
    highest = maps.masked_fill(~valid, -torch.inf).amax(0)
    return highest.masked_fill(~valid.any(0), 0.0)


def temporal_loss(
    centre: Tensor,
    neighbours: Sequence[Tensor],
    flows: Sequence[Tensor],
    labels: Tensor,
    *,
    visible: Sequence[Tensor] | None = None,
    fusion: Fusion = "max",
    centre_in: bool = False,
    normalized: Normalized = "fused",
    detach: bool = False,
    validity: bool = True,
    half_cell_shift: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """How far the centre's map is from what its neighbours find together.

    ``L = mean |N(centre) − N(fuse_n warp(relu(neighbour_n), flow_n))|`` over the classes that the
    centre shows, where N is ``cam.normalize``.

    Args:
        centre: float (B, C, h, w), raw class maps of frame t.
        neighbours: raw class maps of its neighbours, each float (B, C, h, w).
        flows: for each neighbour float (B, 2, h, w), FROM the centre TO the neighbour, in cells of
            the maps; see :func:`~tccam.flow.geometry.resize`.
        labels: of the centre, int64 (B,) or multi-hot (B, C).
        visible: for each neighbour bool (B, 1, h, w), where the centre's points are seen in it;
            None takes every point that stays inside the picture.
        fusion: "max" (the paper's) or "mean".
        centre_in: whether the centre's own map is fused with its neighbours', as the authors do in
            validation and at inference, not in training. (In validation they add the *normalised*
            centre to raw neighbours; here all are treated alike.)
        normalized: "fused" normalises once, after the fusion, as the authors do; "each" normalises
            every neighbour before, so that a frame with weak evidence counts as much as a frame
            with strong evidence.
        detach: whether the fused map is a fixed target, as in SEAM; the authors let the gradient
            into all frames.
        validity: whether cells that no neighbour sees are left out, of the comparison and of the
            maximum by which maps are normalised. The authors compare them with zero (False);
            ``visible`` plays no part then. Without ``visible`` and with the fusion "max", motion
            along one axis leaves no cell out: one of two neighbours always holds it.
        half_cell_shift: the authors' sampling, see :func:`~tccam.flow.geometry.warp`.
        reduction: see :func:`tccam.consistency.l1`.

    Returns:
        Scalar ≥ 0; 0 for identical frames, zero flow.

    Raises:
        TccamError: if shapes do not agree or an option is unknown.

    Example:
        >>> maps, still = torch.rand(2, 3, 8, 10), torch.zeros(2, 2, 8, 10)
        >>> temporal_loss(maps, [maps, maps], [still, still], torch.tensor([0, 1])).item() < 1e-6
        True
    """
    if normalized not in ("fused", "each"):
        raise TccamError(f"normalized: expected 'fused' or 'each', got {normalized!r}")
    _check_maps(neighbours)
    activate = cam.normalize if normalized == "each" else F.relu
    warped, valids = align(
        [activate(maps) for maps in neighbours], flows, visible, half_cell_shift=half_cell_shift
    )
    compared = torch.stack(valids).any(0) if validity else None
    if not validity:
        valids = [torch.ones_like(valid) for valid in valids]
    if centre_in:
        warped, valids = [*warped, activate(centre)], [*valids, torch.ones_like(valids[0])]
    target = fuse(warped, valids, fusion)
    if centre.shape != target.shape:
        raise TccamError(
            f"centre: expected {tuple(target.shape)} as its neighbours, got {tuple(centre.shape)}"
        )
    if compared is not None:  # a peak that no neighbour sees is no measure for what they see
        centre, target = (maps.masked_fill(~compared, 0.0) for maps in (centre, target))
    target = target if normalized == "each" else cam.normalize(target)
    if detach:
        target = target.detach()
    return consistency.l1(
        cam.normalize(centre), target, labels, valid=compared, reduction=reduction
    )


def aggregate(
    centre: Tensor,
    neighbours: Sequence[Tensor],
    flows: Sequence[Tensor],
    visible: Sequence[Tensor] | None = None,
    *,
    mode: Fusion = "mean",
) -> Tensor:
    """The centre's map together with its neighbours', for inference.

    Args:
        centre: float (B, C, h, w), raw class maps of frame t.
        neighbours: raw class maps of its neighbours, each float (B, C, h, w).
        flows: for each neighbour float (B, 2, h, w), FROM the centre TO the neighbour, in cells.
        visible: for each neighbour bool (B, 1, h, w); None for every point inside its picture.
        mode: "mean" or "max" over the centre and the neighbours that see a cell.

    Returns:
        float (B, C, h, w) ≥ 0, not normalised.

    Example:
        >>> maps, still = torch.rand(1, 3, 8, 10), torch.zeros(1, 2, 8, 10)
        >>> torch.allclose(aggregate(maps, [maps], [still]), maps)
        True
    """
    warped, valids = align([F.relu(maps) for maps in neighbours], flows, visible)
    everywhere = torch.ones_like(valids[0])
    return fuse([F.relu(centre), *warped], [everywhere, *valids], mode)


def _check_maps(neighbours: Sequence[Tensor]) -> None:
    for maps in neighbours:
        if maps.ndim < 3 or not maps.is_floating_point():
            raise TccamError(
                f"neighbours: expected float (B, C, h, w), got {maps.dtype} {tuple(maps.shape)}"
            )
