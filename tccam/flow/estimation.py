r"""Estimate optical flow: OpenCV's Farnebäck and DIS, torchvision's RAFT, and help for a belt.

What makes flow on a belt hard is what stands still: rails, lamps and their reflections say "no
motion" with more contrast than an object says the contrary, and an object moves by a large part of
its own length. Whoever gives the ``background`` gets help in three plain steps:

1. estimate on the *contrast* to the background (:func:`tccam.background.divide`), which is 0 where
   nothing moves;
2. find the one shift that explains most of two pictures, the belt's, by phase correlation; move
   the target back by it, estimate what remains, and add the shift again;
3. let rest win where the picture shows background and rest explains it no worse.

Convention: as in :mod:`tccam.flow.geometry`; pictures are RGB in grey levels, 0 to 255, as uint8 or
float, as in :mod:`tccam.background`.
"""

from __future__ import annotations

import hashlib
import os
import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tccam.background import clean
from tccam.errors import TccamError
from tccam.files import download_state, existing, read_state
from tccam.flow.geometry import warp

__all__ = ["METHODS", "estimate", "estimate_clip", "weights_name"]

#: The methods of :func:`estimate`.
METHODS = ("farneback", "dis", "raft_small", "raft_large")

_Grey = NDArray[np.uint8]  # (H, W)
_Solver = Callable[[Tensor, Tensor], Tensor]  # float (B, 3, H, W) twice, 0 … 255 → (B, 2, H, W)

_SMALLEST = 16  # pixels: DIS needs room for its patches
_GREY, _LEVELS = 128.0, 80.0  # contrast c is shown as the grey level 128 + 80·c
_PEAK = 2.0  # width of the peak of the phase correlation, pixels: noise and dithering are finer
_BOX = 9  # pixels: side of the box in which rest and motion are compared
_EMPTY = 0.08 * _LEVELS  # mean contrast in the box that still passes for background
_MARGIN = 1.0  # grey levels by which motion has to explain a box better than rest


def estimate(
    source: Tensor,
    target: Tensor,
    method: str = "dis",
    *,
    background: Tensor | None = None,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Estimate the optical flow FROM ``source`` TO ``target``.

    End-point error on objects, pixels, mean of 16 kinds of synthetic belt (128×160, glints clear
    and hard, 2 to 20 pixels a frame, steady, varying and jittered, turns of up to 3°; 596 pairs of
    frames of validation clips), and its largest mean on one kind of belt:

    ========= ============== ================
    method    no background  with background
    ========= ============== ================
    farneback 0.72 (4.7)     0.30 (0.9)
    dis       2.01 (10.0)    0.20 (0.4)
    ========= ============== ================

    **Where it fails** (DIS with background, objects of the hard belt). Glints stay where the lamps
    are while the object moves on: the error is about three times that of the clear belt. Turns that
    the common shift smooths away: 1.0 px at up to 10° a frame, 1.9 px at 20°. Few objects on a belt
    without texture: 1.2 px. Rails are told from the belt by texture: they are 1.7 px off on
    average, 6 px at 30 pixels a frame and 9 px when the camera shakes; a belt without texture is
    found at rest.

    Args:
        source: uint8 or float, (3, H, W) or (B, 3, H, W), RGB in [0, 255], at least 16×16.
        target: the same shape and dtype.
        method: one of :data:`METHODS`.
        background: (3, H, W) or (B, 3, H, W), grey levels, for example from
            :func:`~tccam.background.median_background`: takes the help that the module describes.
            None estimates on the pictures as they are.
        weights: for RAFT: None for torchvision's published ones (downloaded once), or a state
            dict's file (.safetensors, .pth, .pt), which is read without running code.
        device: where RAFT runs. OpenCV runs on the CPU.

    Returns:
        float32 (2, H, W) or (B, 2, H, W), in pixels, on the CPU.

    Raises:
        TccamError: if there is no such method, shapes, dtypes or values do not fit, or weights
            cannot be read or downloaded.

    Source:
        Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003; Kroeger
        et al., "Fast optical flow using dense inverse search", ECCV 2016; Teed and Deng, "RAFT",
        ECCV 2020; for the shift, Kuglin and Hines, "The phase correlation image alignment method",
        1975.

    Example:
        >>> source = torch.randint(256, (3, 16, 24), generator=torch.Generator().manual_seed(0))
        >>> source = F.interpolate(source[None].float(), scale_factor=4, mode="bicubic")[0]
        >>> source = source.clamp(0, 255)
        >>> flow = estimate(source, source.roll(3, dims=2))
        >>> flow.shape, [round(float(value), 1) for value in flow[:, 32, 48]]
        (torch.Size([2, 64, 96]), [3.0, 0.0])
    """
    _check_pictures(source, "source")
    _check_pictures(target, "target")
    if source.shape != target.shape or source.dtype != target.dtype:
        raise TccamError(
            f"target: expected {source.dtype} {tuple(source.shape)}, as the source, "
            f"got {target.dtype} {tuple(target.shape)}"
        )
    solve = _solver(method, background is not None, weights, device)
    pictures = [_picture(p.reshape(-1, *p.shape[-3:]), background) for p in (source, target)]
    flow = _between(pictures[0], pictures[1], solve, background is not None)
    return flow.reshape(*source.shape[:-3], 2, *source.shape[-2:])


def estimate_clip(
    frames: Iterable[Tensor],
    method: str = "dis",
    *,
    background: Tensor | None = None,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    progress: bool = True,
) -> Iterator[Tensor]:
    """The flow of each frame of a clip to its two neighbours, as a stream.

    A few frames are in memory, whatever the length of the clip. Each neighbour's flow is estimated
    for itself: the flow to the previous frame is not the negated flow from it.

    Args:
        frames: uint8 or float (3, H, W) each, RGB in [0, 255], for example a
            :class:`~tccam.data.clip.Clip`.
        method: one of :data:`METHODS`.
        background: (3, H, W), of the whole clip, or None: see :func:`estimate`.
        weights: for RAFT, see :func:`estimate`.
        device: where RAFT runs.
        threads: pairs of frames that are worked on at the same time; None takes the CPU's cores
            for OpenCV and one for RAFT. The result does not depend on it.
        progress: whether to show a bar on stderr.

    Yields:
        float32 (2, 2, H, W) for each frame, the flow to the previous frame, then to the next, in
        pixels. 0 where there is none: the first frame has no previous one, the last no next.

    Raises:
        TccamError: as :func:`estimate`, and if a frame differs from the first in shape or dtype.

    Example:
        >>> frames = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
        >>> [tuple(flow.shape) for flow in estimate_clip(frames, progress=False)]
        [(2, 2, 32, 32), (2, 2, 32, 32), (2, 2, 32, 32)]
    """
    if threads is not None and threads < 1:
        raise TccamError(f"threads: expected at least 1 or None, got {threads}")
    helped = background is not None
    solve = _solver(method, helped, weights, device)
    if threads is None:
        threads = 1 if method.startswith("raft") else os.cpu_count() or 1

    def both_ways(one: Tensor, other: Tensor) -> Tensor:
        return _between(torch.stack((one, other)), torch.stack((other, one)), solve, helped)

    total = len(frames) if isinstance(frames, Sized) else None
    bar = tqdm(total=total, desc=f"flow, {method}", unit="frame", disable=not progress)
    with bar, ThreadPoolExecutor(threads) as pool:
        pairs: deque[Future[Tensor]] = deque()
        first = last = back = None
        for number, frame in enumerate(frames):
            _check_pictures(frame, f"frames: frame {number}", dimensions=(3,))
            first = frame[:0] if first is None else first
            if (frame.shape[1:], frame.dtype) != (first.shape[1:], first.dtype):
                raise TccamError(
                    f"frames: frame {number} is {frame.dtype} {tuple(frame.shape)}, the first is "
                    f"{first.dtype} {(3, *first.shape[1:])}"
                )
            picture = _picture(frame[None], background)[0]
            if last is not None:
                pairs.append(pool.submit(both_ways, last, picture))
            last = picture
            if len(pairs) > threads:
                back, flow = _join(back, pairs.popleft().result())
                bar.update()
                yield flow
        while pairs:
            back, flow = _join(back, pairs.popleft().result())
            bar.update()
            yield flow
        if last is not None:
            bar.update()
            nothing = torch.zeros(2, *last.shape[-2:])
            yield torch.stack((nothing if back is None else back, nothing))


def _join(back: Tensor | None, pair: Tensor) -> tuple[Tensor, Tensor]:
    """A pair's way back, for the next frame, and this frame's flow, (2, H, W) and (2, 2, H, W)."""
    ahead, following = pair
    return following, torch.stack((torch.zeros_like(ahead) if back is None else back, ahead))


def weights_name(method: str, weights: str | Path | None) -> str | None:
    """What names the weights that a method would use, for whoever keeps its results.

    Args:
        method: one of :data:`METHODS`.
        weights: as for :func:`estimate`.

    Returns:
        The name of torchvision's weights, the SHA-256 of a file, or None for OpenCV's methods.

    Raises:
        TccamError: if the file is missing, or OpenCV is given weights.

    Example:
        >>> weights_name("raft_small", None), weights_name("dis", None)
        ('Raft_Small_Weights.C_T_V2', None)
    """
    _check_method(method, weights)
    if weights is not None:
        return hashlib.sha256(existing(Path(weights)).read_bytes()).hexdigest()
    if not method.startswith("raft"):
        return None
    from torchvision.models import get_model_weights  # noqa: PLC0415 - it takes seconds

    return str(get_model_weights(method).DEFAULT)


def _picture(frames: Tensor, background: Tensor | None) -> Tensor:
    """What the flow is estimated on, float (B, 3, H, W) in 0 … 255: frames, or their contrast."""
    if background is None:
        return frames.float()
    contrast = clean(frames, background, "divide")
    return (_GREY + _LEVELS * contrast).clamp(0, 255)


def _between(source: Tensor, target: Tensor, solve: _Solver, helped: bool) -> Tensor:
    """Flow between pictures, (B, 2, H, W)."""
    if not helped:
        return solve(source, target)
    shift = _common_shift(source.mean(1) - _GREY, target.mean(1) - _GREY)
    moved = torch.stack([_shifted(t, s) for t, s in zip(target, shift.tolist(), strict=True)])
    flow = solve(source, moved) + shift[:, :, None, None]
    return flow.masked_fill(_at_rest(source - _GREY, target - _GREY, flow), 0.0)


def _common_shift(source: Tensor, target: Tensor) -> Tensor:
    """The whole-pixel shift (dx, dy) of most of a contrast (B, H, W): phase correlation, (B, 2)."""
    height, width = source.shape[-2:]
    size = (2 * height, 2 * width)  # zeros all around: a shift does not come in again
    ahead, here = (torch.fft.rfft2(x - x.mean((1, 2), True), s=size) for x in (target, source))
    cross = ahead * here.conj()
    rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    smooth = torch.exp(-2 * (torch.pi * _PEAK) ** 2 * (rows**2 + columns**2))
    peak = torch.fft.irfft2(smooth * cross / (cross.abs() + 1e-6), s=size).flatten(1).argmax(1)
    dx, dy = peak % size[1], peak // size[1]
    return torch.stack(
        (torch.where(dx < width, dx, dx - size[1]), torch.where(dy < height, dy, dy - size[0])), 1
    ).float()


def _shifted(picture: Tensor, shift: list[float]) -> Tensor:
    """``picture(p + shift)``; beyond the border its edge goes on."""
    height, width = picture.shape[-2:]
    rows = (torch.arange(height) + int(shift[1])).clamp(0, height - 1)
    columns = (torch.arange(width) + int(shift[0])).clamp(0, width - 1)
    return picture[:, rows[:, None], columns]


def _at_rest(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Where rest explains the contrasts (B, 3, H, W) no worse than the flow, (B, 1, H, W)."""
    empty = _box_mean(source).abs().amax(1, True) <= _EMPTY
    here, there = source.mean(1, True), target.mean(1, True)
    worse = (here - there).abs() - (here - warp(there, flow)[0]).abs()
    return empty & (_box_mean(worse) <= _MARGIN)


def _box_mean(maps: Tensor) -> Tensor:
    """Mean over a box around each pixel, as far as the box lies in the picture."""
    half = _BOX // 2
    for side, padding in (((_BOX, 1), (half, 0)), ((1, _BOX), (0, half))):
        maps = F.avg_pool2d(maps, side, stride=1, padding=padding, count_include_pad=False)
    return maps


def _solver(
    method: str, helped: bool, weights: str | Path | None, device: str | torch.device
) -> _Solver:
    """The method of that name, ready to run. Smoother where only a residual is left to find."""
    _check_method(method, weights)
    if method.startswith("raft"):
        return _raft(method, weights, device)

    def farneback(source: _Grey, target: _Grey) -> Any:
        levels = 1 if helped else 3
        return cv2.calcOpticalFlowFarneback(source, target, None, 0.5, levels, 51, 3, 7, 1.5, 0)

    def dis(source: _Grey, target: _Grey) -> Any:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        if helped:
            search.setVariationalRefinementAlpha(160.0)  # smoothness; 20 in the preset
            search.setVariationalRefinementIterations(10)  # 5 in the preset
        return search.calc(source, target, None)

    run = farneback if method == "farneback" else dis

    def solve(source: Tensor, target: Tensor) -> Tensor:
        grey = [np.rint(p.mean(1).cpu().numpy()).astype(np.uint8) for p in (source, target)]
        flows = [run(one, other) for one, other in zip(*grey, strict=True)]
        return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous()

    return solve


def _raft(method: str, weights: str | Path | None, device: str | torch.device) -> _Solver:
    from torchvision.models import get_model, get_model_weights  # noqa: PLC0415 - it takes seconds

    network = get_model(method, weights=None)
    if weights is not None:
        state = read_state(Path(weights))
    else:
        published = get_model_weights(method).DEFAULT
        state = download_state(published, str(published))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        found = textwrap.shorten(str(error), 300)
        raise TccamError(f"{weights}: the weights do not fit {method} ({found})") from None
    network.to(device).eval()

    @torch.inference_mode()
    def solve(source: Tensor, target: Tensor) -> Tensor:
        height, width = source.shape[-2:]
        # RAFT works on eighths, and looks around on a pyramid that takes 16 of them.
        right, below = (max(128, -(-n // 8) * 8) - n for n in (width, height))
        one, other = (
            F.pad(p.to(device) / 127.5 - 1, (0, right, 0, below), mode="replicate")
            for p in (source, target)
        )
        flow: Tensor = network(one, other)[-1]
        return flow[..., :height, :width].float().cpu().clone()

    return solve


def _check_method(method: str, weights: str | Path | None) -> None:
    if method not in METHODS:
        raise TccamError(f"method: expected one of {METHODS}, got {method!r}")
    if weights is not None and not method.startswith("raft"):
        raise TccamError(f"weights: {method} has none, got {str(weights)!r}")


def _check_pictures(pictures: Tensor, name: str, dimensions: tuple[int, ...] = (3, 4)) -> None:
    shapes = {3: "(3, H, W)", 4: "(B, 3, H, W)"}
    if (
        not isinstance(pictures, Tensor)
        or pictures.ndim not in dimensions
        or pictures.shape[-3] != 3
        or not (pictures.dtype == torch.uint8 or pictures.is_floating_point())
    ):
        expected = " or ".join(shapes[n] for n in dimensions)
        found = (
            f"{pictures.dtype} {tuple(pictures.shape)}"
            if isinstance(pictures, Tensor)
            else (type(pictures).__name__)
        )
        raise TccamError(f"{name}: expected uint8 or float {expected}, got {found}")
    if min(pictures.shape[-2:]) < _SMALLEST or pictures.numel() == 0:
        raise TccamError(
            f"{name}: expected at least one picture of {_SMALLEST}×{_SMALLEST} pixels, "
            f"got {tuple(pictures.shape)}"
        )
    if pictures.is_floating_point() and not pictures.isfinite().all():
        raise TccamError(f"{name}: expected finite values, found NaN or infinity")
