"""The spatial term: a classifier that sees an object in pieces must find all of them.

PuzzleCAM (Jo & Yu, ICIP 2021, arXiv 2101.11253): cut the picture into tiles, compute the maps of
each tile alone, put them together, and ask for the maps of the whole picture.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from tccam import cam, consistency
from tccam.consistency import Reduction
from tccam.errors import TccamError

__all__ = ["Level", "merge", "spatial_loss", "tile"]

Level = Literal["raw", "normalized"]


def tile(images: Tensor, pieces: int = 4, *, pad: bool = False) -> Tensor:
    """Cut every picture into equal tiles.

    **Convention.** Tiles are numbered row by row, and the batch is tile-major: all pictures' tile
    0, then all pictures' tile 1, and so on. Tile n of picture b is element n·B + b.

    Args:
        images: (B, C, H, W) of any dtype.
        pieces: number of tiles, a square: 1, 4, 9, 16, …
        pad: whether a picture whose height or width is no multiple of √pieces is continued with
            its last row and column; otherwise it is refused.

    Returns:
        (pieces·B, C, ⌈H/√pieces⌉, ⌈W/√pieces⌉). A network of output stride s keeps its cells in
        place only where the tiles' height and width are multiples of s.

    Raises:
        TccamError: if ``images`` has another shape, ``pieces`` is no square, or a side does not
            divide and ``pad`` is False.

    Example:
        >>> import torch
        >>> tile(torch.arange(16).reshape(1, 1, 4, 4))[:, 0].tolist()[1]  # the upper right tile
        [[2, 3], [6, 7]]
    """
    if images.ndim != 4:
        raise TccamError(f"images: expected (B, C, H, W), got {tuple(images.shape)}")
    side = _side(pieces)
    height, width = images.shape[-2:]
    down, right = -height % side, -width % side
    if down or right:
        if not pad:
            raise TccamError(
                f"images: {height}×{width} pixels cannot be cut into {side}×{side} equal tiles; "
                f"resize them, or continue them with pad=True"
            )
        # Not F.pad, which repeats no bool.
        rows = torch.arange(height + down, device=images.device).clamp_max(height - 1)
        columns = torch.arange(width + right, device=images.device).clamp_max(width - 1)
        images = images[..., rows[:, None], columns]
    strips: tuple[Tensor, ...] = images.chunk(side, 2)
    return torch.cat([part for strip in strips for part in strip.chunk(side, 3)])


def merge(maps: Tensor, pieces: int = 4, *, size: tuple[int, int] | None = None) -> Tensor:
    """Put tiles together again: the inverse of :func:`tile`, for pictures and for maps.

    Args:
        maps: (pieces·B, C, h, w), tile-major as :func:`tile` makes them.
        pieces: number of tiles of a picture.
        size: height and width to cut the result to, for pictures that ``tile`` has padded; None
            for all of it.

    Returns:
        (B, C, √pieces·h, √pieces·w), or cut to ``size``.

    Raises:
        TccamError: if ``maps`` has another shape, its batch is no multiple of ``pieces``, or
            ``size`` is not positive or larger than what is there.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 6, 9)
        >>> bool((merge(tile(images, 9), 9) == images).all())
        True
    """
    side = _side(pieces)
    if maps.ndim != 4 or len(maps) % pieces:
        raise TccamError(
            f"maps: expected ({pieces}·B, C, h, w), tiles of whole pictures; "
            f"got {tuple(maps.shape)}"
        )
    # (side·side·B, C, h, w) → (side, side, B, C, h, w) → (B, C, side, h, side, w)
    tiles: Tensor = maps.unflatten(0, (side, side, -1))
    whole = tiles.permute(2, 3, 0, 4, 1, 5).flatten(4, 5).flatten(2, 3)
    if size is None:
        return whole
    if not (1 <= size[0] <= whole.shape[2] and 1 <= size[1] <= whole.shape[3]):
        raise TccamError(f"size: expected (1, 1) … {tuple(whole.shape[2:])}, got {size}")
    return whole[:, :, : size[0], : size[1]]


def spatial_loss(
    maps: Tensor,
    merged: Tensor,
    labels: Tensor,
    *,
    level: Level = "raw",
    reduction: Reduction = "mean",
) -> Tensor:
    """How far the maps of the tiles are from the maps of the picture: equation 5 of PuzzleCAM.

    ``L = mean |maps − merged|`` over the maps of the classes that the picture shows. No gradient
    is stopped: both sides move.

    Args:
        maps: float (B, C, h, w), raw class maps of the whole pictures.
        merged: float (B, C, h, w), raw class maps of their tiles, merged.
        labels: int64 (B,) or multi-hot (B, C).
        level: "raw" compares the maps as they are (the authors' setting); "normalized" compares
            ``cam.normalize`` of both, so that only the shape of a map counts.
        reduction: "mean" over B·C·h·w (the authors' form) or over the maps "present", see
            :func:`tccam.consistency.l1`.

    Returns:
        Scalar ≥ 0.

    Raises:
        TccamError: if the shapes differ (tiles whose sides are no multiple of the network's stride
            have more cells than the picture), or an option is unknown.

    Example:
        >>> import torch
        >>> maps = torch.rand(2, 3, 4, 4)
        >>> spatial_loss(maps, maps, torch.tensor([0, 2])).item()
        0.0
    """
    if level not in ("raw", "normalized"):
        raise TccamError(f"level: expected 'raw' or 'normalized', got {level!r}")
    if maps.shape != merged.shape:
        raise TccamError(
            f"merged: expected {tuple(maps.shape)} as maps have, got {tuple(merged.shape)}; "
            f"the sides of a tile must be multiples of the network's output stride"
        )
    if level == "normalized":
        maps, merged = cam.normalize(maps), cam.normalize(merged)
    return consistency.l1(maps, merged, labels, reduction=reduction)


def _side(pieces: int) -> int:
    """The number of tiles along an axis."""
    side = math.isqrt(pieces) if pieces > 0 else 0
    if side == 0 or side * side != pieces:
        raise TccamError(f"pieces: expected a square such as 1, 4 or 9; got {pieces}")
    return side
