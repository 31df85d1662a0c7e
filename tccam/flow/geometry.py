"""What a flow field does: bring it to a grid, fetch pictures through it, chain and check it.

**Convention**, everywhere in the library: a flow lies on the grid of its *source* frame and points
into its *target* frame. Channel 0 is u, to the right, channel 1 is v, down, both in cells of the
grid that the flow lies on (pixels, for a flow at the size of the picture). A point seen at cell p
of the source is at p + flow(p) in the target. Cell p = (x, y) has its centre at the whole numbers
x, y: the first is 0, the last is w − 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tccam.errors import TccamError

__all__ = ["UNKNOWN", "compose", "endpoint_error", "invert", "occlusion", "resize", "warp"]

#: A component beyond it says that nobody knows: Middlebury's mark.
UNKNOWN = 1e9

_SHARPNESS = 10.0  # of the choice between two motions, per pixel of their difference


def resize(
    flow: Tensor,
    size: tuple[int, int],
    stride: int | None = None,
    mirrored: tuple[bool, bool] = (False, False),
) -> Tensor:
    """Bring a flow to another grid; its vectors become shorter or longer with the cells.

    **Convention.** As for :func:`tccam.cam.enlarge`, the question is where a cell is. Without
    ``stride``, cells are tiles: the flow is interpolated bilinearly at their centres
    (``align_corners=False``) and scaled by w'/w and h'/h. With ``stride`` s, cell i of a network
    looks at pixel s·i: the vector of that pixel is taken as it is, divided by s. A vector is never
    mixed from an object and its background.

    Args:
        flow: float (2, H, W) or (B, 2, H, W), in cells of its own grid.
        size: height and width of the new grid.
        stride: pixels per cell, for the maps of ResNets and CamNet; None for tiles.
        mirrored: whether the network sees the picture upside down, and left to right. With
            ``stride``, its cells then look at other pixels: at H − 1 − s·i, from below. The flow of
            the mirrored picture is the answer mirrored along the same axes, its component along
            each of them negated.

    Returns:
        float (…, 2, h, w), in cells of the new grid, in the order of the unmirrored picture.

    Raises:
        TccamError: if ``flow`` has another shape or dtype, ``size`` or ``stride`` is not positive,
            or ``size`` is not that of the maps of a network of this stride, (⌈H/s⌉, ⌈W/s⌉).

    Example:
        >>> flow = torch.full((2, 64, 96), 8.0)
        >>> resize(flow, (4, 6), stride=16)[:, 0, 0]
        tensor([0.5000, 0.5000])
    """
    _check(flow, "flow")
    if min(size) < 1 or (stride is not None and stride < 1):
        raise TccamError(f"size, stride: expected at least 1, got {size}, {stride}")
    height, width = flow.shape[-2:]
    if min(height, width) < 1:
        raise TccamError(f"flow: expected at least one pixel, got {tuple(flow.shape)}")
    if stride is not None:
        if size != (-(-height // stride), -(-width // stride)):
            raise TccamError(
                f"size: a network of stride {stride} makes maps of "
                f"{-(-height // stride)}×{-(-width // stride)} cells from {height}×{width} pixels; "
                f"got {size}"
            )
        top, left = (
            (n - 1) % stride if m else 0 for n, m in zip((height, width), mirrored, strict=True)
        )
        return flow[..., top::stride, left::stride] / stride
    batch = flow if flow.ndim == 4 else flow[None]
    small = F.interpolate(batch, size, mode="bilinear", align_corners=False)
    scale = torch.tensor([size[1] / width, size[0] / height], dtype=flow.dtype, device=flow.device)
    return (small * scale[:, None, None]).reshape(*flow.shape[:-2], *size)


def warp(maps: Tensor, flow: Tensor, *, half_cell_shift: bool = False) -> tuple[Tensor, Tensor]:
    """Fetch maps from the target frame back to the grid of the source frame.

    ``warped(p) = maps(p + flow(p))``, bilinearly: *backward* warping. An object that moves 50
    pixels to the right from t−1 to t is fetched from t−1 with the flow (t → t−1) = (−50, 0).

    **Convention.** See the module: flow from the frame that you want to the frame that you have,
    in cells, u to the right and v down, cell centres on whole numbers. Zero flow is the identity.
    A place outside the centres of the outermost cells, or unknown (NaN), is invalid and reads as 0.

    Args:
        maps: float (B, C, h, w), on the grid of the flow's target frame.
        flow: float (B, 2, h, w), from the source frame to the target frame, in cells.
        half_cell_shift: the authors' variant. Their grid is normalised for ``align_corners=True``
            and sampled with False, which stretches the grid by half a cell at each border:
            zero flow is not the identity and the border ring is invalid. For reproduction only.

    Returns:
        The warped maps, float (B, C, h, w), on the grid of the source frame, and bool
        (B, 1, h, w), where they are valid. Differentiable in ``maps`` and ``flow``.

    Raises:
        TccamError: if shapes or dtypes are others, or do not agree.

    Example:
        >>> maps = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> one_to_the_right = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
        >>> warped, valid = warp(maps, one_to_the_right)
        >>> warped.flatten().tolist(), valid.flatten().tolist()
        ([2.0, 3.0, 0.0], [True, True, False])
    """
    _check(flow, "flow")
    if maps.ndim != 4 or not maps.is_floating_point() or 0 in maps.shape[-2:]:
        raise TccamError(f"maps: expected float (B, C, h, w), got {maps.dtype} {tuple(maps.shape)}")
    if flow.shape != (len(maps), 2, *maps.shape[-2:]):
        raise TccamError(
            f"flow: expected {(len(maps), 2, *maps.shape[-2:])} on the grid of the maps, "
            f"got {tuple(flow.shape)}"
        )
    height, width = maps.shape[-2:]
    # In bfloat16 places would be a tenth of a cell off.
    fine = torch.promote_types(torch.promote_types(maps.dtype, flow.dtype), torch.float32)
    rows = torch.arange(height, dtype=fine, device=flow.device)
    columns = torch.arange(width, dtype=fine, device=flow.device)
    x, y = flow[:, 0] + columns, flow[:, 1] + rows[:, None]  # (B, h, w) each, in cells
    if half_cell_shift:
        grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), -1)
        seen = _sample(torch.ones_like(maps[:, :1], dtype=fine), grid, "zeros")
        valid = seen >= 0.9999
        return _sample(maps, grid, "zeros") * valid, valid
    # grid_sample's −1 and 1 are the outer borders of the outermost cells.
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)
    hair = 1e-4  # what float32 may lose on the way
    valid = (x >= -hair) & (x <= width - 1 + hair) & (y >= -hair) & (y <= height - 1 + hair)
    return _sample(maps, grid, "border") * valid[:, None], valid[:, None]


def occlusion(
    forward: Tensor, backward: Tensor, relative: float = 0.01, absolute: float = 0.5
) -> Tensor:
    r"""Where a point of the source is hidden in the target, or has left the picture.

    Forward-backward check: go to the target with f = ``forward`` and come back with the backward
    flow b found there. A point that both frames see comes back to where it was; one that is hidden
    lands on whatever hides it, and comes back with that. Point p is occluded where

    .. math:: |f + b(p + f)|^2 > \text{relative} \cdot (|f|^2 + |b|^2) + \text{absolute}

    or where p + f lies outside the centres of the outermost cells.

    What the check sees is a *difference of motion*. Objects that ride on one belt at one speed can
    hide each other as much as they like: it does not notice, and need not, for a warp.

    Args:
        forward: float (2, H, W) or (B, 2, H, W), from the source to the target, in pixels.
        backward: the same shape, from the target to the source, on the grid of the target.
        relative: allowed squared error as a share of the squared motion, without unit.
        absolute: allowed squared error of a point at rest, pixels².

    Returns:
        bool (H, W) or (B, H, W), on the grid of the source.

    Raises:
        TccamError: if the flows have other shapes or dtypes, or do not agree, or a threshold is
            negative.

    Source:
        Sundaram, Brox and Keutzer, "Dense point trajectories by GPU-accelerated large displacement
        optical flow", ECCV 2010, eq. 5; Meister et al., "UnFlow", AAAI 2018, eq. 2.

    Example:
        >>> right = torch.tensor([2.0, 0.0]).reshape(2, 1, 1).expand(2, 1, 5)
        >>> occlusion(right, -right)
        tensor([[False, False, False,  True,  True]])
    """
    _check(forward, "forward")
    _check_pair(backward, "backward", forward)
    for name, value in (("relative", relative), ("absolute", absolute)):
        if not value >= 0:
            raise TccamError(f"{name}: expected at least 0, got {value}")
    there = forward.reshape(-1, *forward.shape[-3:])
    back, inside = warp(backward.reshape(there.shape), there)
    error = (there + back).square().sum(1)
    allowed = relative * (there.square().sum(1) + back.square().sum(1)) + absolute
    hidden = ~(error <= allowed) | ~inside[:, 0]  # so that NaN is occluded
    return hidden.reshape(*forward.shape[:-3], *forward.shape[-2:])


def compose(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Chain two flows: ``composed(p) = first(p) + second(p + first(p))``.

    Args:
        first: float (2, H, W) or (B, 2, H, W), from frame a to frame b, in pixels.
        second: the same shape, from frame b to frame c, on the grid of b.

    Returns:
        The flow from a to c, on the grid of a, and bool (H, W) or (B, H, W), where it is valid. It
        is not where p leaves the picture on the way to b, for nobody knows its further way; there
        the flow holds the first step alone. Occlusion is not looked at: see :func:`occlusion`.

    Raises:
        TccamError: if the flows have other shapes or dtypes, or do not agree.

    Example:
        >>> right = torch.tensor([2.0, 0.0]).reshape(2, 1, 1).expand(2, 1, 5)
        >>> flow, valid = compose(right, right)
        >>> flow[0], valid
        (tensor([[4., 4., 4., 2., 2.]]), tensor([[ True,  True,  True, False, False]]))
    """
    _check(first, "first")
    _check_pair(second, "second", first)
    step = first.reshape(-1, *first.shape[-3:])
    further, valid = warp(second.reshape(step.shape), step)
    return (step + further).reshape(first.shape), valid.reshape(
        *first.shape[:-3], *first.shape[-2:]
    )


def invert(flow: Tensor) -> tuple[Tensor, Tensor]:
    r"""The flow back: from b to a, on the grid of b, made of the flow from a to b.

    Every vector is splatted to where it points: it is shared bilinearly among the four cells around
    that place, and turned around. Where several arrive, the longest wins, by *softmax splatting*:

    .. math:: back(q) = -\frac{\sum_p w_{pq}\, e^{10 |flow(p)|} flow(p)}
        {\sum_p w_{pq}\, e^{10 |flow(p)|}}

    The longest, because what moves on a belt lies in front of what stands still.

    Args:
        flow: float (2, H, W) or (B, 2, H, W), from frame a to frame b, in pixels.

    Returns:
        The flow from b to a, the same shape, and bool (H, W) or (B, H, W), where it is known, which
        is where at least half a vector has arrived. Nothing arrives where b shows what a hides or
        does not show; the flow is 0 there.

    Raises:
        TccamError: if ``flow`` has another shape or dtype.

    Source:
        Niklaus and Liu, "Softmax splatting for video frame interpolation", CVPR 2020.

    Example:
        >>> right = torch.tensor([2.0, 0.0]).reshape(2, 1, 1).expand(2, 1, 5)
        >>> back, known = invert(right)
        >>> back[0], known
        (tensor([[ 0.,  0., -2., -2., -2.]]), tensor([[False, False,  True,  True,  True]]))
    """
    _check(flow, "flow")
    step = flow.reshape(-1, *flow.shape[-3:]).double()
    height, width = step.shape[-2:]
    valid = (step.abs() <= UNKNOWN).all(1)  # false for NaN
    step = torch.where(valid[:, None], step, 0.0)
    length = step.square().sum(1).sqrt()
    # Exponents below −600 would be 0, and 0 cannot be divided by.
    longest = length.amax((1, 2), keepdim=True) if length.numel() else length
    importance = (_SHARPNESS * (length - longest)).clamp(min=-600).exp()
    columns = torch.arange(width, dtype=step.dtype, device=step.device)
    rows = torch.arange(height, dtype=step.dtype, device=step.device)
    x, y = step[:, 0] + columns, step[:, 1] + rows[:, None]  # (B, H, W) each: where it points
    total = step.new_zeros(len(step), 4, height * width)  # of both components, importance, weight
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = x.floor() + right, y.floor() + down
        inside = valid & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
        cell = torch.where(inside, row * width + column, 0.0).long()
        shares = torch.stack((*(-step * importance[:, None]).unbind(1), importance), 1)
        shares = torch.cat((shares, torch.ones_like(shares[:, :1])), 1) * weight[:, None]
        total.scatter_add_(2, cell.flatten(1)[:, None].expand(-1, 4, -1), shares.flatten(2))
    total = total.reshape(len(step), 4, height, width)
    known = total[:, 3] >= 0.5 - 1e-6  # what rounding may lose of a half
    back = torch.where(known[:, None], total[:, :2] / total[:, 2:3], 0.0).to(flow.dtype)
    return back.reshape(flow.shape), known.reshape(*flow.shape[:-3], height, width)


def endpoint_error(flow: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    r"""Mean distance between where two flows point: :math:`\text{mean}_p |flow(p) - truth(p)|`.

    The *end-point error* (EPE) of the Middlebury and Sintel benchmarks.

    Args:
        flow: float (2, H, W) or (B, 2, H, W), pixels.
        truth: the same shape, pixels.
        where: bool (H, W) or (B, H, W), the pixels that count: objects, or what both frames see.
            None counts all.

    Returns:
        Pixels. What is unknown in either flow (NaN, or beyond 10⁹ as in ``.flo``) is left out.

    Raises:
        TccamError: if shapes or dtypes are others or do not agree, or no pixel counts.

    Example:
        >>> flow = torch.tensor([3.0, 4.0]).reshape(2, 1, 1).expand(2, 6, 8)
        >>> endpoint_error(flow, torch.zeros(2, 6, 8))
        5.0
    """
    _check(flow, "flow")
    _check_pair(truth, "truth", flow)
    shape = (*flow.shape[:-3], *flow.shape[-2:])
    if where is not None and (where.shape != shape or where.dtype != torch.bool):
        raise TccamError(f"where: expected bool {shape}, got {where.dtype} {tuple(where.shape)}")
    error = (flow.double() - truth.double()).square().sum(-3).sqrt()
    known = ((flow.abs() <= UNKNOWN) & (truth.abs() <= UNKNOWN)).all(-3)
    error = error[known if where is None else known & where]
    if error.numel() == 0:
        raise TccamError("where: no pixel counts whose flow is known; expected at least one")
    return float(error.mean())


def _check_pair(flow: Tensor, name: str, other: Tensor) -> None:
    _check(flow, name)
    if flow.shape != other.shape or flow.dtype != other.dtype:
        raise TccamError(
            f"{name}: expected {other.dtype} {tuple(other.shape)}, as the other flow, "
            f"got {flow.dtype} {tuple(flow.shape)}"
        )


def _sample(maps: Tensor, grid: Tensor, padding: str) -> Tensor:
    """The maps at the places of a grid, (B, h, w, 2) in [−1, 1]; whatever is unknown is outside."""
    # A NaN in the grid makes grid_sample's backward pass write outside its memory.
    grid = grid.nan_to_num(2.0).clamp(-2, 2)
    found = F.grid_sample(maps.to(grid.dtype), grid, padding_mode=padding, align_corners=False)
    return found.to(maps.dtype)


def _check(flow: Tensor, name: str) -> None:
    if flow.ndim not in (3, 4) or flow.shape[-3] != 2 or not flow.is_floating_point():
        raise TccamError(
            f"{name}: expected float (2, H, W) or (B, 2, H, W), "
            f"got {flow.dtype} {tuple(flow.shape)}"
        )
