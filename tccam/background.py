r"""The background: estimate it by a median, take it out of the frames, find what is left.

A fixed camera sees the same rails, lamps and bolts in every frame, and a classifier that has to
tell two cameras apart learns those instead of the objects on the belt (the *background bias* of
arXiv 2502.01455). Nothing here is learned: the value that a pixel shows in most frames is the
background, and what differs from it is an object.

Convention: pictures are RGB in **grey levels**, 0 to 255, as uint8 or float; a background is
float32 (3, H, W) in grey levels. Floats in [0, 1] are not rescaled: multiply them by 255 first.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tccam.errors import TccamError

__all__ = [
    "METHODS",
    "OFFSET",
    "Removed",
    "clean",
    "divide",
    "foreground",
    "mask",
    "median_background",
    "moving_median",
    "relight",
    "remove",
    "spread",
    "static_share",
    "streaming_median",
    "subtract",
    "weber",
]

#: The ways to treat a background, for :func:`remove` and :func:`clean`.
METHODS = ("none", "subtract", "divide", "weber", "mask", "ratio")

#: Grey levels that :func:`divide` adds to the background before it divides, and below which
#: :func:`weber` takes it for as dark as that.
OFFSET = 8.0

_STRIP = 2**14  # values in a strip of the median: a clip of 60 frames then fits in a cache of 1 MB
_SMOOTH, _VOTE = 3, 5  # sides of the boxes of `foreground`, pixels
_FACTOR, _FLOOR = 5.0, 12.0  # its threshold: multiple of the frame's noise, and the least, levels


class Removed(NamedTuple):
    """Frames without their background.

    Attributes:
        frames: float32 (T, 3, H, W); near 0 where only background is seen (not for "none").
        foreground: bool (T, H, W), where an object is seen.
    """

    frames: Tensor
    foreground: Tensor


def median_background(frames: Tensor) -> Tensor:
    r"""The pixel-wise median of a clip: ``background(p) = median over t of frames(t, p)``.

    An object that covers a pixel in fewer than half of the frames leaves no trace there: the median
    is a background value even if the other half is arbitrary. A mean would keep a ghost of it.

    Exact: equal to :func:`numpy.median`, with the mean of the two middle values for an even T.
    Bytes are not sorted: a median has 8 bits, and one count over the frames decides each.

    Args:
        frames: uint8 or float (T, 3, H, W), T ≥ 1. What does not fit in memory is for
            :func:`streaming_median`.

    Returns:
        float32 (3, H, W), in the units of ``frames``.

    Raises:
        TccamError: if ``frames`` has another shape or dtype, no frame, or NaN.

    Example:
        >>> frames = torch.tensor([10, 10, 200, 12]).view(4, 1, 1, 1).expand(4, 3, 2, 2).byte()
        >>> median_background(frames)[0]
        tensor([[11., 11.],
                [11., 11.]])
    """
    _check_frames(frames, (4,))
    _check_finite(frames=frames)
    strips = torch.split(frames.detach().flatten(1), _STRIP, dim=1)
    return torch.cat([_median(strip) for strip in strips]).view(frames.shape[1:])


def moving_median(frames: Tensor, window: int) -> Tensor:
    """A median background for each frame, from the frames around it alone.

    It follows light that drifts over minutes, which one median of a whole clip does not. The price:
    an object that covers a pixel in half of a window is background there. So the window has to be
    longer than twice the time in which an object passes, and shorter than the light's.

    Args:
        frames: uint8 or float (T, 3, H, W), T ≥ 1.
        window: how many frames, centred on each frame. Near the ends it keeps its length and stops
            at the border; it is cut to T.

    Returns:
        float32 (T, 3, H, W), in the units of ``frames``, a background for each frame as
        :func:`remove` takes it.

    Raises:
        TccamError: if ``frames`` has another shape or dtype, no frame, or NaN, or ``window`` is
            not positive.

    Example:
        >>> frames = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
        >>> moving_median(frames, 3)[:, 0, 0, 0]
        tensor([1., 1., 2., 3., 3.])
    """
    _check_frames(frames, (4,))
    if window < 1:
        raise TccamError(f"window: expected at least 1 frame, got {window}")
    last = max(0, len(frames) - window)  # where the last window starts
    starts = [min(max(0, t - window // 2), last) for t in range(len(frames))]
    found = {s: median_background(frames[s : s + window]) for s in sorted(set(starts))}
    return torch.stack([found[s] for s in starts])


def relight(frames: Tensor, background: Tensor) -> Tensor:
    r"""The background in the light of each frame, when all lamps change together.

    Frame t shows the background with a gain g of its own, which the median over the picture finds
    in each channel, because most pixels show no object:

    .. math:: g_{tc} = \operatorname{median}_p \frac{f_{tc}(p)}{b_c(p)}, \qquad b_{tc} = g_{tc} b_c

    It follows drift and flicker and swallows no object, since it looks at one frame at a time. It
    does not follow a single lamp of several, nor shadows, nor a camera that moves. An object that
    covers most of the picture breaks it. Pixels whose background is nearly black (below 16) or
    nearly saturated (from 240), and pixels that the frame clips at 255, have no vote; where a
    channel has no other pixel, its gain is 1. Of two middle values the median is the lower.

    Args:
        frames: uint8 or float (T, 3, H, W), grey levels.
        background: (3, H, W), grey levels, for example from :func:`median_background`.

    Returns:
        float32 (T, 3, H, W), grey levels, a background for each frame as :func:`remove` takes it.

    Raises:
        TccamError: if the shapes or dtypes do not fit, or a value is NaN.

    Example:
        >>> background = torch.full((3, 2, 2), 100.0)
        >>> frames = torch.stack([background, 0.5 * background])
        >>> relight(frames, background)[:, 0, 0, 0]
        tensor([100.,  50.])
    """
    _check_frames(frames, (4,))
    _check(frames, background)
    _check_finite(frames=frames, background=background)
    base = background.float()
    votes = (base >= 16) & (base < 240) & (frames < 255)
    ratio = torch.where(votes, frames.float() / base, torch.nan)
    gain = ratio.flatten(2).nanmedian(2).values.nan_to_num(1.0)[..., None, None]  # (T, 3, 1, 1)
    return gain * base


def _median(values: Tensor) -> Tensor:
    """Median of each column of (T, N), float32 (N,)."""
    if values.dtype == torch.uint8:
        lower = _order_statistic(values, (len(values) - 1) // 2)
        upper = _order_statistic(values, len(values) // 2) if len(values) % 2 == 0 else lower
        return (lower.float() + upper.float()) / 2
    # Of two middle values torch.median takes the lower; mirrored, it takes the upper.
    return ((values.median(0).values - (-values).median(0).values) / 2).float()


def _order_statistic(values: Tensor, rank: int) -> Tensor:
    """The value of the given rank (0 is the smallest) in each column of (T, N), uint8.

    Found by bisection, from the highest bit down: a bit belongs to it if at most ``rank`` values
    lie below the number with that bit set.
    """
    count = torch.int16 if len(values) < 2**15 else torch.int32
    found = torch.zeros_like(values[0])
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        candidate = found + bit
        below = (values < candidate).sum(0, dtype=count)
        found = torch.where(below <= rank, candidate, found)
    return found


def streaming_median(frames: Iterable[Tensor], memory: int = 101, seed: int = 0) -> Tensor:
    r"""Median background of a stream of unknown length, in one pass and bounded memory.

    Keeps a fair sample of K = ``memory`` frames (a reservoir: each frame of the stream is in it
    with the same probability, whatever the order) and returns the median of the sample. A stream
    of at most K frames gives exactly :func:`median_background`.

    The guarantee is one of rank and holds at every pixel of every stream, periodic ones too. With
    probability at least :math:`1 - 2 e^{-2 K \varepsilon^2}` the result lies between the quantiles
    ½ − ε and ½ + ε of all values that the pixel ever showed (Hoeffding): K = 101 gives ε = 0.14 at
    95%. Likewise a pixel that an object covers in a share q < ½ of the frames still shows
    background but for a probability of :math:`e^{-2 K (1/2 - q)^2}`: 0.03% at q = 0.3. In grey
    levels that is small where it matters: where the background's noise has standard deviation σ,
    the error's is about :math:`1.25 \sigma / \sqrt{K}`, an eighth of σ.

    Args:
        frames: uint8 or float (3, H, W) each, for example a
            :class:`~tccam.data.clip.Clip`, all of one size and dtype.
        memory: K, the number of frames kept: K·3·H·W bytes, for uint8.
        seed: names the sample.

    Returns:
        float32 (3, H, W), in the units of ``frames``.

    Raises:
        TccamError: if ``memory`` is not positive, the stream is empty, or a frame differs from the
            first.

    Source:
        Vitter, "Random sampling with a reservoir", ACM TOMS 1985, algorithm R.

    Example:
        >>> stream = (torch.full((3, 2, 2), 100 + t % 3, dtype=torch.uint8) for t in range(1000))
        >>> streaming_median(stream)[0, 0]
        tensor([101., 101.])
    """
    if memory < 1:
        raise TccamError(f"memory: expected at least 1 frame, got {memory}")
    draw = random.Random(seed)
    kept = torch.empty(0)
    seen = 0
    for frame in frames:
        if seen == 0:
            _check_frames(frame, (3,))
            first = frame.shape, frame.dtype
            kept = frame.new_empty((memory, *frame.shape))
        elif not isinstance(frame, Tensor) or (frame.shape, frame.dtype) != first:
            raise TccamError(
                f"frames: frame {seen} is {_describe(frame)}, the first is {_describe(kept[0])}"
            )
        slot = seen if seen < memory else draw.randrange(seen + 1)
        if slot < memory:
            kept[slot] = frame.detach()
        seen += 1
    if seen == 0:
        raise TccamError("frames: the stream is empty, expected at least one frame")
    return median_background(kept[:seen])


def foreground(frames: Tensor, background: Tensor, threshold: float | None = None) -> Tensor:
    """Where a frame differs from the background by more than noise.

    Each frame is judged alone, so that a stream gives the same result as a clip:

    1. difference to the background, less its median over the picture in each channel: a lamp that
       flickers or a camera that changes its white balance is not an object;
    2. the evidence is the largest magnitude of the three channels, at the pixel or in the signed
       mean over 3×3 pixels, whichever is smaller: in the mean noise and dithering cancel, but it
       spills over the edge of an object, and the pixel does not;
    3. evidence above ``threshold``: by default 5 times its own median over the picture, which is
       noise as long as objects cover less than half of it, and at least 12 grey levels;
    4. majority vote over 5×5 pixels: specks and scratches go, cracks in objects close.

    Shadows and reflections do differ from the background, and count. An object that covers most of
    the picture breaks the two medians.

    Args:
        frames: uint8 or float, (T, 3, H, W) or one frame (3, H, W), grey levels.
        background: (3, H, W), or (T, 3, H, W) with one for each frame, grey levels.
        threshold: least evidence of an object, grey levels; None takes the frame's own.

    Returns:
        bool (T, H, W), or (H, W) for one frame.

    Raises:
        TccamError: if shapes or dtypes do not fit, a value is NaN, or the threshold is negative.

    Example:
        >>> frame = torch.full((3, 32, 32), 90, dtype=torch.uint8)
        >>> frame[0, 8:20, 8:20] = 200
        >>> found = foreground(frame, torch.full((3, 32, 32), 90.0))
        >>> found[9:19, 9:19].all(), found[:8].any()
        (tensor(True), tensor(False))
    """
    _check(frames, background)
    _check_finite(frames=frames, background=background)
    if threshold is not None and not threshold >= 0:
        raise TccamError(f"threshold: expected at least 0 grey levels, got {threshold}")
    if frames.ndim == 3:
        return _foreground(frames, background, threshold)
    return torch.stack([_foreground(f, b, threshold) for f, b in _pairs(frames, background)])


@torch.no_grad()
def _foreground(frame: Tensor, background: Tensor, threshold: float | None) -> Tensor:
    difference = frame.float() - background.float()  # (3, H, W)
    light = difference[:, ::2, ::2].flatten(1).median(1).values  # a quarter of the pixels will do
    difference -= light[:, None, None]
    smooth = _box_mean(difference, _SMOOTH)
    evidence = torch.minimum(difference.abs().amax(0), smooth.abs().amax(0))  # (H, W)
    limit = threshold if threshold is not None else (_FACTOR * evidence.median()).clamp_min(_FLOOR)
    votes = (evidence > limit).float()[None]
    return _box_mean(votes, _VOTE)[0] > 0.5


def _box_mean(maps: Tensor, side: int) -> Tensor:
    """Mean over a box around each pixel of (C, H, W); beyond the border its edge goes on."""
    padded = F.pad(maps[None], (side // 2,) * 4, mode="replicate")[0]
    return padded.unfold(-2, side, 1).mean(-1).unfold(-1, side, 1).mean(-1)


def clean(
    frames: Tensor, background: Tensor, method: str = "divide", threshold: float | None = None
) -> Tensor:
    """The pictures of :func:`remove` alone: what a network sees.

    Differentiable in ``frames``, and without the cost of a foreground that nobody looks at, except
    for "mask", which needs it.

    Args:
        frames: uint8 or float, (T, 3, H, W) or one frame (3, H, W), grey levels.
        background: (3, H, W), or (T, 3, H, W) with one for each frame, grey levels.
        method: one of :data:`METHODS`.
        threshold: for "mask", see :func:`foreground`.

    Returns:
        float32, the shape of ``frames``.

    Raises:
        TccamError: if there is no such method, or the shapes or dtypes do not fit.

    Example:
        >>> frame, background = torch.full((3, 2, 2), 154.0), torch.full((3, 2, 2), 100.0)
        >>> {m: round(float(clean(frame, background, m).max()), 3) for m in METHODS if m != "mask"}
        {'none': 0.604, 'subtract': 0.212, 'divide': 0.5, 'weber': 0.54, 'ratio': 0.426}
    """
    _check(frames, background)
    _check_method(method)
    if method == "none":
        return frames.float() / 255
    if method == "mask":
        return _cut(frames, foreground(frames, background, threshold))
    if method == "ratio":  # the trap of `divide`, for the chapter that measures what it costs
        return frames.float() / (background.float() + OFFSET) - 1
    difference, base = frames.float() - background.float(), background.float()
    if method == "subtract":
        return difference / 255
    return difference / (base + OFFSET if method == "divide" else base.clamp_min(OFFSET))


def remove(
    frames: Tensor, background: Tensor, method: str = "divide", threshold: float | None = None
) -> Removed:
    """Remove the background by the method of that name, and say where the objects are.

    Args:
        frames: uint8 or float, (T, 3, H, W) or one frame (3, H, W), grey levels.
        background: (3, H, W), or (T, 3, H, W) with one for each frame, grey levels.
        method: one of :data:`METHODS`: "subtract", "divide", "weber", "mask", each a function
            here, or "none", which leaves the background in, as ``frame / 255``, or "ratio", the
            trap that :func:`divide` warns of, ``frame / (background + 8) − 1``.
        threshold: see :func:`foreground`.

    Returns:
        Frames, float32 of the same shape, and the foreground, bool (T, H, W) or (H, W).

    Raises:
        TccamError: if there is no such method, or the shapes or dtypes do not fit.

    Example:
        >>> frames = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
        >>> removed = remove(frames, median_background(frames))
        >>> removed.frames.abs().max(), removed.foreground.any()
        (tensor(0.), tensor(False))
    """
    _check_method(method)
    found = foreground(frames, background, threshold)
    if method == "mask":
        return Removed(_cut(frames, found), found)
    return Removed(clean(frames, background, method), found)


def subtract(frames: Tensor, background: Tensor, threshold: float | None = None) -> Removed:
    """Frames less their background: ``(frame − background) / 255``.

    What the paper does. The place of rails and lamps is gone, but not the camera's gain: where the
    light is half as strong, so is what remains of an object. A classifier reads the camera from it.

    Args:
        frames: uint8 or float, (T, 3, H, W) or (3, H, W), grey levels.
        background: (3, H, W) or (T, 3, H, W), grey levels.
        threshold: see :func:`foreground`.

    Returns:
        Frames in [−1, 1], exactly 0 where a frame equals the background, and the foreground.

    Raises:
        TccamError: if the shapes or dtypes do not fit.

    Example:
        >>> subtract(torch.full((1, 3, 2, 2), 151.0), torch.full((3, 2, 2), 100.0)).frames[0, 0, 0]
        tensor([0.2000, 0.2000])
    """
    return remove(frames, background, "subtract", threshold)


def divide(frames: Tensor, background: Tensor, threshold: float | None = None) -> Removed:
    r"""Contrast to the background: ``(frame − background) / (background + 8)``.

    A camera multiplies what it sees by a gain g that varies over the picture: lamps, vignette,
    white balance. It is in frame f and background b alike, and their ratio cancels it:

    .. math::
        \frac{g f - g b}{g b + 8}
        = \frac{f - b}{b + 8} \cdot \left(1 + \frac{8\,(g - 1)}{g b + 8}\right),

    the same for every g but for the last term, which is −4% at g = ½ and b = 200. The offset of 8
    keeps the noise of dark pixels finite. On a dark belt the last term grows, and with it a trace
    of the camera's white balance on bright objects; :func:`weber` leaves less of it.

    **The trap.** ``frame / (background + 8) − 1`` looks like the same thing. It is
    ``(frame − background − 8) / (background + 8)``: lower by ``8 / (background + 8)`` at every
    pixel of every frame. That is a static picture of the background, from −0.03 where it is white
    to −1 where it is black: what we came to remove is back, and the classifier finds it.

    Args:
        frames: uint8 or float, (T, 3, H, W) or (3, H, W), grey levels.
        background: (3, H, W) or (T, 3, H, W), grey levels.
        threshold: see :func:`foreground`.

    Returns:
        Frames in (−1, 32), exactly 0 where a frame equals the background, and the foreground.

    Raises:
        TccamError: if the shapes or dtypes do not fit.

    Example:
        >>> divide(torch.full((1, 3, 2, 2), 154.0), torch.full((3, 2, 2), 100.0)).frames[0, 0, 0]
        tensor([0.5000, 0.5000])
    """
    return remove(frames, background, "divide", threshold)


def weber(frames: Tensor, background: Tensor, threshold: float | None = None) -> Removed:
    r"""Weber contrast: ``(frame − background) / max(background, 8)``.

    As :func:`divide`, but the camera's gain cancels exactly wherever the background has at least 8
    grey levels, in front of both cameras. Noise, rounding to bytes, light that is added (glare) and
    light that a sensor clips at 255 do not cancel.

    Args:
        frames: uint8 or float, (T, 3, H, W) or (3, H, W), grey levels.
        background: (3, H, W) or (T, 3, H, W), grey levels.
        threshold: see :func:`foreground`.

    Returns:
        Frames in [−1, 32), exactly 0 where a frame equals the background, and the foreground.

    Raises:
        TccamError: if the shapes or dtypes do not fit.

    Example:
        >>> frame, background = torch.full((1, 3, 2, 2), 150.0), torch.full((3, 2, 2), 100.0)
        >>> weber(frame, background).frames[0, 0, 0]
        tensor([0.5000, 0.5000])
        >>> weber(0.2 * frame, 0.2 * background).frames[0, 0, 0]  # with less light
        tensor([0.5000, 0.5000])
    """
    return remove(frames, background, "weber", threshold)


def mask(frames: Tensor, background: Tensor, threshold: float | None = None) -> Removed:
    """Frames cut out along the foreground: ``frame / 255`` there and 0 elsewhere.

    Objects keep their colours, and the camera's gain with them. Whatever :func:`foreground` misses
    is lost to all that follows.

    Args:
        frames: uint8 or float, (T, 3, H, W) or (3, H, W), grey levels.
        background: (3, H, W) or (T, 3, H, W), grey levels.
        threshold: see :func:`foreground`.

    Returns:
        Frames in [0, 1] and the foreground.

    Raises:
        TccamError: if the shapes or dtypes do not fit.

    Example:
        >>> frame = torch.full((3, 32, 32), 90, dtype=torch.uint8)
        >>> frame[:, 8:16, 8:16] = 204
        >>> cut = mask(frame, torch.full((3, 32, 32), 90.0)).frames
        >>> cut[0, 12, 12], cut[0, 30, 30]
        (tensor(0.8000), tensor(0.))
    """
    return remove(frames, background, "mask", threshold)


def _cut(frames: Tensor, found: Tensor) -> Tensor:
    return frames.float() / 255 * found.unsqueeze(-3)


def spread(frames: Tensor, background: Tensor) -> Tensor:
    """How far a pixel's frames lie from the background: the median absolute deviation.

    ``spread(p) = median over t of max over channels of |frames(t, p) − background(p)|``. At least
    half of the frames are within the spread of the background. It is the sensor's noise where the
    background is right, and large where no value has a majority: light that drifts, a belt with a
    strong texture, objects that follow each other without a gap.

    Args:
        frames: uint8 or float (T, 3, H, W), grey levels.
        background: (3, H, W) or (T, 3, H, W), grey levels.

    Returns:
        float32 (H, W), grey levels.

    Raises:
        TccamError: if the shapes or dtypes do not fit.

    Example:
        >>> frames = torch.tensor([10, 10, 200, 12]).view(4, 1, 1, 1).expand(4, 3, 1, 1).byte()
        >>> spread(frames, median_background(frames))
        tensor([[1.]])
    """
    _check_frames(frames, (4,))
    _check(frames, background)
    _check_finite(frames=frames, background=background)
    pairs = _pairs(frames.detach(), background.detach())
    distances = torch.stack([(f.float() - b.float()).abs().amax(0) for f, b in pairs])
    return _median(distances.flatten(1)).view(distances.shape[1:])


def static_share(frames: Tensor, background: Tensor, tolerance: float = 16.0) -> float:
    """Share of the pixels whose background is the view of most frames: can it be trusted?

    A pixel counts if its :func:`spread` is at most ``tolerance``, that is, if at least half of the
    frames are that close to the background. Near 1 for a fixed camera, even light, and objects
    with gaps between them; look at the clip before you use a background of less than about 0.95.

    It cannot see an object that lies still for more than half of the clip: that *is* what most
    frames show. Nor does it mean much for a handful of frames.

    Args:
        frames: uint8 or float (T, 3, H, W), grey levels.
        background: (3, H, W) or (T, 3, H, W), grey levels.
        tolerance: what passes for noise, grey levels.

    Returns:
        A share in [0, 1].

    Raises:
        TccamError: if the shapes or dtypes do not fit.

    Example:
        >>> frames = torch.zeros(5, 3, 2, 2)
        >>> frames[:, :, 0, 0] = torch.tensor([0.0, 60, 120, 180, 240])[:, None]
        >>> static_share(frames, median_background(frames))
        0.75
    """
    return float((spread(frames, background) <= tolerance).float().mean())


def _pairs(frames: Tensor, background: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame of a clip with its background: one at a time is faster, and needs less memory."""
    return zip(frames, background.expand_as(frames), strict=True)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def _check_frames(frames: Tensor, dimensions: tuple[int, ...] = (4, 3)) -> None:
    """Refuse what is no clip (4 dimensions) and no frame (3)."""
    shapes = {4: "(T, 3, H, W)", 3: "(3, H, W)"}
    if (
        not isinstance(frames, Tensor)
        or frames.ndim not in dimensions
        or frames.shape[-3] != 3
        or not (frames.dtype == torch.uint8 or frames.is_floating_point())
    ):
        expected = " or ".join(shapes[n] for n in dimensions)
        raise TccamError(f"frames: expected uint8 or float {expected}, got {_describe(frames)}")
    if frames.numel() == 0:
        raise TccamError(f"frames: expected at least one pixel, got {_describe(frames)}")


def _check(frames: Tensor, background: Tensor) -> None:
    """Refuse frames and a background that do not fit."""
    _check_frames(frames)
    shapes = (frames.shape[-3:], frames.shape)
    if not isinstance(background, Tensor) or background.shape not in shapes:
        expected = f"{tuple(shapes[0])}, the size of a frame, or one for each frame"
        raise TccamError(f"background: expected {expected}, got {_describe(background)}")


def _check_finite(**tensors: Tensor) -> None:
    """Refuse NaN, which no comparison would notice."""
    for name, values in tensors.items():
        if values.is_floating_point() and not values.isfinite().all():
            raise TccamError(f"{name}: expected finite values, found NaN or infinity")


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise TccamError(f"method: expected one of {METHODS}, got {method!r}")
