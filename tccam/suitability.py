"""Will it work on your stream? What can be known of a recording before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tccam import flow
from tccam.background import foreground, median_background, static_share
from tccam.data.clip import Clip
from tccam.data.dataset import resize_picture
from tccam.data.video import VideoClip
from tccam.errors import TccamError

__all__ = ["Check", "examine"]

_SPECK = 0.002  # of the picture: smaller patches of foreground are noise

Verdict = Literal["good", "doubtful", "bad"]


@dataclass(frozen=True)
class Check:
    """One thing that a stream needs, and whether it has it.

    Attributes:
        name: of the check, a word.
        question: what is asked.
        value: what was measured.
        found: the same in words, with its unit.
        verdict: "good", "doubtful" or "bad".
        advice: what to do about it; "" if it is good.
    """

    name: str
    question: str
    value: float
    found: str
    verdict: Verdict
    advice: str


class _Rule(NamedTuple):
    """How a value is judged: good on this side of the first limit, bad beyond the second."""

    name: str
    question: str
    found: str
    good: float
    bad: float
    advice: str

    def judge(self, value: float) -> Check:
        sign = 1 if self.good > self.bad else -1  # the larger the better, or the smaller
        verdict: Verdict = "doubtful"
        if sign * value >= sign * self.good:
            verdict = "good"
        elif not sign * value >= sign * self.bad:
            verdict = "bad"
        advice = "" if verdict == "good" else self.advice
        return Check(self.name, self.question, value, self.found.format(value), verdict, advice)


_RULES = (
    _Rule("static", "Does most of the picture stand still?",
          "{:.0%} of the pixels show the same in most frames", 0.95, 0.8,
          "fix the camera and its exposure; what travels with the belt cannot be taken out"),
    _Rule("light", "Does the light stay the same?",
          "from the first third to the last it changes by {:.0f} grey levels", 10, 20,
          "shorten the clips (--clip-frames), so that each has a background of its own, or relight "
          "the frames (background.relight)"),
    _Rule("camera", "Does the camera stay where it is?",
          "one frame in ten is {:.1f} pixels or more off", 1.5, 3,
          "mount it more firmly, or stabilise the video before the import"),
    _Rule("gaps", "Are there gaps between the objects?",
          "where it is busiest, objects cover the belt {:.0%} of the time", 0.4, 0.5,
          "take longer clips, or give a picture of the empty belt: beyond one half the median is "
          "objects"),
    _Rule("empty", "Are there frames without an object?",
          "{:.0%} of the frames", 0.02, 0.005,
          "record the empty belt for the third class (--label bg); two classes can be trained "
          "without it"),
    _Rule("size", "Are objects large enough for the map?",
          "the median object spans {:.1f} cells", 3, 1.5,
          "use larger pictures (--size), a finer map (--output-stride), or crop to the belt"),
    _Rule("tiles", "Do objects fit the tiles?",
          "the median object spans {:.2f} of a tile", 0.12, 0.06,
          "objects this small are hardly ever cut: fewer pieces, or no tiles (--method temporal)"),
    _Rule("view", "Do objects stay in view for a triplet?",
          "an object crosses the picture in {:.0f} frames", 6, 3,
          "record more frames a second (--fps)"),
    _Rule("motion", "Can the flow follow them?",
          "{:.0%} of the objects' pixels are found again in the next frame", 0.8, 0.6,
          "record more frames a second or with a shorter exposure; until then train without flow "
          "(--method puzzle)"),
)  # fmt: skip


def examine(
    clip: Clip,
    *,
    size: tuple[int, int] | None = None,
    stride: int = 4,
    pieces: int = 4,
    frames: int = 600,
    samples: int = 40,
    method: str = "dis",
    progress: bool = True,
) -> tuple[Check, ...]:
    """Nine checks of a recording, without labels, masks or a network.

    Pairs of neighbouring frames are taken evenly from the beginning of the recording. Their median
    is the background, what differs from it is an object, and flow follows it from one frame of a
    pair to the other. Where nothing is found to be an object, the checks that need one are bad.

    The limits come from the synthetic belt, whose failures are known, see the chapter on stress
    tests: all is good on the belt as it is, and each way to break it that a recording can show
    fails the check of its name. An object that never moves is background to any median: no check
    can see it.

    Args:
        clip: the recording, of at least 16 frames.
        size: height and width that the network will see; the clip's own when None.
        stride: of the network, pixels per cell of its maps.
        pieces: tiles that a picture is cut into.
        frames: how many of the first frames to look at: those that share one background.
        samples: pairs of frames, at least 8.
        method: of the flow, one of :data:`~tccam.flow.estimation.METHODS`.
        progress: whether to show a bar on stderr.

    Returns:
        The checks, in the order in which to mend what they find.

    Raises:
        TccamError: if the clip is too short, or an argument is out of its limits.

    Example:
        >>> from tccam.data import BeltConfig, SyntheticBelt
        >>> clip = SyntheticBelt(BeltConfig(train=1, drift=0.5)).train[0]
        >>> [check.name for check in examine(clip, progress=False) if check.verdict == "bad"]
        ['static', 'light']
    """
    for name, number, least in (("samples", samples, 8), ("stride", stride, 1),
                                ("frames", frames, 16), ("pieces", pieces, 1)):  # fmt: skip
        if number < least:
            raise TccamError(f"{name}: expected at least {least}, got {number}")
    # The length of a video file is known when all of it is decoded: hours are not waited for.
    long = isinstance(clip, VideoClip)
    length = sum(1 for _ in islice(clip, frames)) if long else min(len(clip), frames)
    if length < 16:
        raise TccamError(f"{clip.name}: expected at least 16 frames, found {length}")
    size = size or clip.size
    now, following = _pairs(clip, length, samples, size, progress)
    background = median_background(now)
    objects, areas = _objects(foreground(now, background))
    third = len(now) // 3
    first, last = (median_background(part) for part in (now[:third], now[-third:]))
    across = float(np.median(areas)) ** 0.5 if areas else 0.0
    speed, followed = _motion(now, following, objects, background, method, progress)
    tile = (size[0] * size[1] / pieces) ** 0.5
    values = {
        "static": static_share(now, background),
        "light": float((last - first).abs().amax(0).median()),
        "camera": _shake(now, background),
        "gaps": float(objects.float().mean(0).flatten().quantile(0.95)),
        "empty": float((~objects.flatten(1).any(1)).float().mean()),
        "size": across / stride,
        "tiles": across / tile,
        "view": size[1] / speed if speed else 0.0,
        "motion": followed,
    }
    return tuple(rule.judge(values[rule.name]) for rule in _RULES)


def _pairs(
    clip: Clip, length: int, samples: int, size: tuple[int, int], progress: bool
) -> tuple[Tensor, Tensor]:
    """Frames (N, 3, H, W) at the size of the network, and the frame after each."""
    places = {round(k * (length - 2) / (samples - 1)) for k in range(samples)}
    now: list[Tensor] = []
    following: list[Tensor] = []
    bar = tqdm(islice(clip, length), clip.name, length, unit="frame", disable=not progress)
    for number, frame in enumerate(bar):
        wanted = [pictures for pictures, place in ((now, number), (following, number - 1))
                  if place in places]  # fmt: skip
        if wanted:
            picture = resize_picture(frame, size)
            for pictures in wanted:
                pictures.append(picture)
    return torch.stack(now), torch.stack(following)


def _objects(found: Tensor) -> tuple[Tensor, list[int]]:
    """The foreground (N, H, W) without specks, and the area of each patch of it, pixels."""
    least, areas = max(4.0, _SPECK * found[0].numel()), []
    objects = torch.zeros_like(found)
    for number, mask in enumerate(found):
        count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.numpy().astype(np.uint8))
        for label in range(1, count):
            area = int(facts[label, cv2.CC_STAT_AREA])
            if area >= least:
                objects[number] |= torch.from_numpy(labels == label)
                areas.append(area)
    return objects, areas


def _motion(
    now: Tensor,
    following: Tensor,
    objects: Tensor,
    background: Tensor,
    method: str,
    progress: bool,
) -> tuple[float, float]:
    """Median speed of objects, pixels a frame, and the share of their pixels that is followed."""
    speeds, followed = [], []
    pairs = [(a, b, m) for a, b, m in zip(now, following, objects, strict=True) if m.any()]
    estimate: Callable[[Tensor, Tensor], Tensor] = lambda a, b: flow.estimate(  # noqa: E731
        a, b, method, background=background
    )
    for here, there, mask in tqdm(pairs, "flow", unit="pair", disable=not progress):
        forward, backward = estimate(here, there), estimate(there, here)
        speeds.append(forward.norm(dim=0)[mask])
        followed.append(~flow.occlusion(forward, backward)[mask])
    if not pairs:
        return 0.0, 0.0
    return float(torch.cat(speeds).median()), float(torch.cat(followed).float().mean())


def _shake(frames: Tensor, background: Tensor) -> float:
    """How far one frame in ten is off the background at least, by phase correlation, pixels."""
    rest = background.mean(0).numpy().astype(np.float32)
    if rest.std() < 1:  # nothing to hold on to
        return 0.0
    shifts = [
        np.hypot(*cv2.phaseCorrelate(rest, frame.float().mean(0).numpy())[0]) for frame in frames
    ]
    return float(np.quantile(shifts, 0.9))
