"""The book's four explorers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tccam.data.clip import CLASSES
from tccam.errors import TccamError
from tccam.viz import PALETTE
from tccam.widgets.base import Explorer, explorer_script, grey_sheet, pack, quantise

__all__ = ["MethodComparison", "PuzzleExplorer", "ThresholdExplorer", "WarpExplorer"]

_REACH = 3  # cells: how far warp.js lets a vector go


class ThresholdExplorer(Explorer):
    """Where a threshold cuts the maps of a clip, and what that is worth against the mask.

    The sliders carry curves: the IoU of each frame (:func:`tccam.metrics.frame_iou`), and its mean
    over the clip at each threshold. A method ``"X + neighbours"`` beside a method ``"X"`` becomes
    a switch. A clip of 40 frames of 128×160 with three methods weighs less than 500 kB where its
    maps come from :func:`tccam.inference.score_maps`.

    Args:
        frames: uint8 (T, 3, H, W) in [0, 255] or float in [0, 1].
        maps: method → float (T, C, H, W) in [0, 1], or (T, H, W) of one class; the same in all.
        masks: bool (T, H, W), the truth. Every map is held against it, whatever its class.
        classes: names of the C classes.
        alt: what a reader who cannot see the figure should know.
        start: the frame to show first.
        threshold: to start with, in [0, 1]; a map's pixel is found where it is ``>=`` that.

    Raises:
        TccamError: if shapes, dtypes or ranges are others or do not agree.

    Example:
        >>> frames, masks = torch.rand(5, 3, 16, 16), torch.rand(5, 16, 16) > 0.5
        >>> explorer = ThresholdExplorer(
        ...     frames, {"plain": masks.float()}, masks, alt="Noise, found by its own mask"
        ... )
        >>> explorer
        ThresholdExplorer: Noise, found by its own mask
        >>> explorer.state
        {'frame': 0, 'method': 'plain', 'class': 'before', 'threshold': 0.5}
    """

    _esm = explorer_script("threshold")

    def __init__(
        self,
        frames: Tensor,
        maps: Mapping[str, Tensor],
        masks: Tensor,
        classes: Sequence[str] = CLASSES,
        *,
        alt: str,
        start: int = 0,
        threshold: float = 0.5,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise TccamError(f"threshold: expected 0 … 1, got {threshold}")
        data = _clip(frames, maps, masks, classes)
        state = {
            "frame": _start(start, len(frames)),
            "method": data["names"][0],
            "class": data["classes"][0],
            "threshold": threshold,
        }
        super().__init__({"alt": alt, **data}, state)


class MethodComparison(Explorer):
    """A wipe between the maps of two methods along a clip.

    Its slider carries the mean difference of the two in each frame: it shows where to look.

    Args:
        frames: uint8 (T, 3, H, W) in [0, 255] or float in [0, 1].
        maps: at least two methods → float (T, C, H, W) in [0, 1], or (T, H, W) of one class.
        masks: bool (T, H, W), drawn as an outline; None for none.
        classes: names of the C classes.
        alt: what a reader who cannot see the figure should know.
        start: the frame to show first.

    Raises:
        TccamError: if shapes, dtypes or ranges are others or do not agree.

    Example:
        >>> frames, maps = torch.rand(5, 3, 16, 16), torch.rand(2, 5, 16, 16)
        >>> MethodComparison(frames, {"plain": maps[0], "temporal": maps[1]}, alt="Two noises")
        MethodComparison: Two noises
    """

    _esm = explorer_script("comparison")

    def __init__(
        self,
        frames: Tensor,
        maps: Mapping[str, Tensor],
        masks: Tensor | None = None,
        classes: Sequence[str] = CLASSES,
        *,
        alt: str,
        start: int = 0,
    ) -> None:
        if len(maps) < 2:
            raise TccamError(f"maps: expected at least two methods, got {list(maps)}")
        data = _clip(frames, maps, masks, classes)
        left, right = data["names"][:2]
        state = {
            "frame": _start(start, len(frames)),
            "left": left,
            "right": right,
            "class": data["classes"][0],
            "wipe": 0.5,
        }
        super().__init__({"alt": alt, **data}, state)


class PuzzleExplorer(Explorer):
    """Pictures in tiles, the maps of those merged, and where they differ from the map of the whole.

    Args:
        images: uint8 (N, 3, H, W) in [0, 255] or float in [0, 1].
        maps: number of tiles → maps of one class, float ≥ 0 (pieces·N, h/√pieces, w/√pieces), of
            the tiles as :func:`tccam.puzzle.tile` orders them; 1 for the maps of the whole. Raw
            maps stay raw: all of them are shown on one scale, up to the largest score.
        alt: what a reader who cannot see the figure should know.
        start: the picture to show first.

    Raises:
        TccamError: if there is no map of the whole, or shapes, dtypes or ranges do not fit.

    Example:
        >>> from tccam import puzzle
        >>> images, whole = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 8, 8)
        >>> tiles = puzzle.tile(whole, 4)  # a network that sees no difference
        >>> PuzzleExplorer(images, {1: whole[:, 0], 4: tiles[:, 0]}, alt="No difference")
        PuzzleExplorer: No difference
    """

    _esm = explorer_script("puzzle")

    def __init__(
        self, images: Tensor, maps: Mapping[int, Tensor], *, alt: str, start: int = 0
    ) -> None:
        pictures = grey_sheet("images", images)
        if 1 not in maps or len(maps) < 2:
            raise TccamError(f"maps: expected 1 and other numbers of tiles, got {list(maps)}")
        if maps[1].ndim != 3 or len(maps[1]) != len(images):
            raise TccamError(f"maps[1]: expected ({len(images)}, h, w), got {tuple(maps[1].shape)}")
        height, width = maps[1].shape[1:]
        for pieces, tiles in maps.items():
            side = math.isqrt(max(pieces, 0))
            if side * side != pieces or not side or height % side or width % side:
                raise TccamError(
                    f"maps: expected squares such as 1, 4 or 16 that divide maps of "
                    f"{height}×{width} cells, got {pieces}"
                )
            expected = (pieces * len(images), height // side, width // side)
            if tiles.shape != expected:
                raise TccamError(f"maps[{pieces}]: expected {expected}, got {tuple(tiles.shape)}")
        scale = max(float(tiles.max()) for tiles in maps.values()) or 1.0
        if not math.isfinite(scale):
            raise TccamError(f"maps: expected finite values, got {scale}")
        data = {
            "alt": alt,
            "frames": pictures,
            "count": len(images),
            "cells": (height, width),
            "pieces": sorted(maps),
            "maps": [pack(quantise(f"maps[{p}]", maps[p], scale)) for p in sorted(maps)],
            "scale": scale,
        }
        state = {"frame": _start(start, len(images)), "pieces": sorted(maps)[1], "merged": False}
        super().__init__(data, state)


class WarpExplorer(Explorer):
    """One flow vector, and what a map becomes when it is fetched through it.

    Drag the vector's tip: :func:`tccam.flow.geometry.warp` reads the map there, from the four cells
    around. Cells that leave the picture are invalid. The switch takes the authors' sampling.

    Args:
        maps: float (h, w) in [0, 1], at most 48×48 cells.
        flow: (u, v), from the frame that you want to the frame that you have, cells, within ±3.
        alt: what a reader who cannot see the figure should know.
        half_cell_shift: whether to start with the authors' sampling.

    Raises:
        TccamError: if ``maps`` has another shape, dtype or range, or ``flow`` is out of its.

    Example:
        >>> explorer = WarpExplorer(torch.rand(6, 8), flow=(-2.0, 0.5), alt="Noise, moved")
        >>> explorer.state
        {'flow': [-2.0, 0.5], 'cell': [4, 3], 'half_cell_shift': False}
    """

    _esm = explorer_script("warp")

    def __init__(
        self,
        maps: Tensor,
        flow: tuple[float, float] = (-2.0, 0.0),
        *,
        alt: str,
        half_cell_shift: bool = False,
    ) -> None:
        if maps.ndim != 2 or not 1 <= min(maps.shape) <= max(maps.shape) <= 48:
            raise TccamError(f"maps: expected (h, w) of 1 … 48 cells, got {tuple(maps.shape)}")
        if len(flow) != 2 or not all(abs(component) <= _REACH for component in flow):
            raise TccamError(f"flow: expected (u, v) within ±{_REACH} cells, got {flow}")
        height, width = maps.shape
        data = {"alt": alt, "maps": pack(quantise("maps", maps)), "cells": (height, width)}
        state = {
            "flow": [float(component) for component in flow],
            "cell": [width // 2, height // 2],
            "half_cell_shift": half_cell_shift,
        }
        super().__init__(data, state)


def _start(start: int, count: int) -> int:
    if not 0 <= start < count:
        raise TccamError(f"start: expected 0 … {count - 1}, got {start}")
    return start


def _clip(
    frames: Tensor, maps: Mapping[str, Tensor], masks: Tensor | None, classes: Sequence[str]
) -> dict[str, Any]:
    """What a clip with the maps of some methods brings with it."""
    pictures = grey_sheet("frames", frames)
    count, size = len(frames), tuple(frames.shape[-2:])
    if not maps:
        raise TccamError("maps: expected at least one method, got none")
    single = next(iter(maps.values())).ndim == 3
    expected = (count, *size) if single else (count, len(classes), *size)
    packed = []
    for name, scores in maps.items():
        if scores.shape != expected:
            raise TccamError(
                f"maps[{name!r}]: expected {expected}, as the frames and classes say, "
                f"got {tuple(scores.shape)}"
            )
        levels = quantise(f"maps[{name!r}]", scores)
        packed.append(pack(levels if single else levels.swapaxes(0, 1)))  # (C, T, H, W)
    if masks is not None and (masks.shape != (count, *size) or masks.dtype != torch.bool):
        raise TccamError(
            f"masks: expected bool {(count, *size)}, got {masks.dtype} {tuple(masks.shape)}"
        )
    return {
        "frames": pictures,
        "count": count,
        "picture": size,
        "names": list(maps),
        "colors": [PALETTE[number % len(PALETTE)] for number in range(len(maps))],
        "classes": list(classes[:1] if single else classes),
        "maps": packed,
        "masks": None if masks is None else pack(quantise("masks", masks)),
    }
