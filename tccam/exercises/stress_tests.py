"""Exercises of the chapter on stress tests."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tccam import background
from tccam.exercises.core import Case, Exercise, UnusableAnswerError, call, equal

__all__ = ["EXERCISES"]


def _error(offset: tuple[float, float], step: tuple[float, float], degrees: float) -> float:
    """Length of ``(R + R⁻¹ − 2) offset + (R − 1) step``, as complex numbers."""
    turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    return abs((2 * turn.real - 2) * complex(*offset) + (turn - 1) * complex(*step))


def _turned(answer: Any, *places: tuple[tuple[float, float], tuple[float, float], float]) -> str:
    for offset, step, degrees in places:
        found = call(answer, offset, step, degrees)
        right = _error(offset, step, degrees)
        what = f"at {offset}, carried by {step} and turned by {degrees:g}°, your error"
        if wrong := equal(found, right, what=what, atol=1e-2):
            return wrong
    return ""


def _even(answer: Any) -> str:
    return _turned(answer, ((0, 0), (10, 0), 0), ((20, 0), (10, 0), 0), ((3, -4), (0, 7), 0))


def _still(answer: Any) -> str:
    return _turned(answer, ((20, 0), (0, 0), 12), ((6, 8), (0, 0), 40))


def _centre(answer: Any) -> str:
    return _turned(answer, ((0, 0), (10, 0), 12), ((0, 0), (3, 4), 12))


def _angle(answer: Any) -> str:
    return _turned(answer, ((0, 0), (10, 0), 60), ((0, 0), (10, 0), 180))


def _together(answer: Any) -> str:
    return _turned(answer, ((20, 0), (10, 0), 45), ((-6, -8), (3, 4), 60))


def _twice(answer: Any) -> str:
    returned = call(answer, 40, 4)
    try:
        found = float(returned)
    except (TypeError, ValueError, RuntimeError):
        raise UnusableAnswerError("expected a number of frames") from None
    if found >= 20:
        return ""
    return f"of {found:g} frames in your window, a pixel may show an object in 10"


def _strictly(answer: Any) -> str:
    what = "for 40 pixels at 4 a frame, your window"
    return equal(call(answer, 40, 4), 21, what=what)


def _part(answer: Any) -> str:
    for length, speed, right in ((45, 2, 47), (50, 7, 17), (9, 0.75, 25), (10, 0.75, 29)):
        what = f"for {length} pixels at {speed} a frame, your window"
        if wrong := equal(call(answer, length, speed), right, what=what):
            return wrong
    return ""


def _jammed(answer: Any) -> str:
    found = float(call(answer, 30, 0))
    if found == math.inf:
        return ""
    return f"for an object that stands still, your window is {found:g} frames"


def _lit(frame: Tensor, still: Tensor, strips: int) -> Tensor:
    pairs = zip(frame.chunk(strips, 2), still.chunk(strips, 2), strict=True)
    return torch.cat([background.relight(f[None], b)[0] for f, b in pairs], 2)


def _belt() -> Tensor:
    """A background that votes everywhere, (3, 32, 48)."""
    return 60 + 120 * torch.rand(3, 32, 48)


def _with_object(frame: Tensor) -> Tensor:
    """A bright object covers a third of each of six strips."""
    frame = frame.clone()
    frame[:, 4:18, torch.arange(48) % 8 < 6] = 240.0
    return frame


def _compared(answer: Any, frame: Tensor, still: Tensor, strips: int, what: str) -> str:
    found = call(answer, frame, still, strips)
    return equal(found, _lit(frame, still, strips), what=what, atol=0.01)


def _robust(answer: Any) -> str:
    still = _belt()
    frame = _with_object(0.7 * still)
    return _compared(answer, frame, still, 1, "with an object in view, your background")


def _channels(answer: Any) -> str:
    still = _belt()
    frame = _with_object(torch.tensor([0.9, 0.7, 0.5])[:, None, None] * still)
    return _compared(answer, frame, still, 1, "under a warm lamp, your background")


def _votes(answer: Any) -> str:
    still = _belt()
    still[..., :12] = 4.0  # noise decides there
    frame = 1.3 * still
    frame[..., :12] = 12 * torch.rand(3, 32, 12)
    still[..., 26:], frame[..., 26:] = 230.0, 255.0  # and there the sensor clips
    return _compared(answer, frame, still, 1, "with dark and clipped pixels, your background")


def _lamps(answer: Any) -> str:
    still = _belt()
    for strips in (2, 3, 6):
        gains = torch.linspace(0.5, 1.1, strips).repeat_interleave(48 // strips)
        frame = _with_object(gains * still)
        what = f"under {strips} lamps, your background"
        if wrong := _compared(answer, frame, still, strips, what):
            return wrong
    return ""


EXERCISES = (
    Exercise(
        name="stress.negated",
        label="ex-stress-negated",
        expects="a function of offset, step and degrees that returns an error in pixels",
        cases=(
            Case(
                "even-motion",
                "Without a turn the negated flow is exact, on whichever grid",
                "A negated flow is wrong wherever things move, since it lies on the other grid",
                (
                    "Which vectors does the flow have if nothing turns?",
                    "All points share one vector, so the pixel where it is read does not matter.",
                ),
                _even,
            ),
            Case(
                "turns-in-place",
                "The error of an object that turns in place grows with the distance from its "
                "centre",
                "Turning back is the negative of turning, so nothing is lost",
                (
                    "Draw the two ways of a point on a wheel, there and back from one pixel.",
                    "Flow to the next frame is (R − 1) r; to the one before (R⁻¹ − 1) r. Add them.",
                ),
                _still,
            ),
            Case(
                "centre",
                "It is wrong at the centre too, when the object is carried along",
                "The centre of an object does not turn, so the flow is right there",
                (
                    "Where was the centre a frame ago, and what was at this pixel then?",
                    "At this pixel lay a point with the offset r + step, and it has turned: its "
                    "flow is step + (R − 1)(r + step).",
                ),
                _centre,
            ),
            Case(
                "large-angle",
                "It holds for large angles",
                "A turn moves a point by its angle times the radius, however large the angle",
                (
                    "How far apart are two ends of half a turn?",
                    "It is the chord and not the arc: |R − 1| = 2 sin(angle / 2).",
                ),
                _angle,
            ),
            Case(
                "vectors-add",
                "The two parts add up as vectors",
                "Errors of two causes add up by their lengths",
                (
                    "Do the two parts point the same way?",
                    "Add the vectors (R + R⁻¹ − 2) r and (R − 1) step, and take the length last.",
                ),
                _together,
            ),
        ),
    ),
    Exercise(
        name="stress.window",
        label="ex-stress-slow",
        expects="a function of length and speed that returns a number of frames",
        cases=(
            Case(
                "twice-a-pass",
                "The window is longer than twice the time in which an object passes",
                "A window is safe as soon as it is longer than an object is seen at a pixel",
                (
                    "In how many of the frames of your window may a pixel show the object?",
                    "What most frames show is the median: count both sides.",
                ),
                _twice,
            ),
            Case(
                "strict-majority",
                "It is the shortest window in which most frames show background",
                "Half of the frames are enough for the background",
                (
                    "What is the median of as many frames of the belt as of the object?",
                    "One more than twice the frames in which the object covers the pixel.",
                ),
                _strictly,
            ),
            Case(
                "part-of-a-frame",
                "An object that covers a pixel for a part of a frame is in that frame",
                "Length by speed may be rounded down",
                (
                    "45 pixels at 2 a frame: 22 frames, or sometimes 23?",
                    "The worst pixel decides: math.ceil(length / speed).",
                ),
                _part,
            ),
            Case(
                "never-leaves",
                "For an object that stands still no window is long enough: math.inf",
                "Every object is gone from the median if only the window is long enough",
                (
                    "Call your function with a speed of 0.",
                    "What never leaves is background: return math.inf.",
                ),
                _jammed,
            ),
        ),
    ),
    Exercise(
        name="stress.relight",
        label="ex-stress-lamps",
        expects="a function of frame, background and strips that returns a background (3, H, W)",
        cases=(
            Case(
                "robust",
                "An object in view does not change the light that is measured",
                "The mean brightness of a frame says how bright the lamp is",
                (
                    "What does a bright carton do to the mean of frame by background?",
                    "Take the median of the ratio, and multiply the background by it.",
                ),
                _robust,
            ),
            Case(
                "each-channel",
                "Each channel has a gain of its own",
                "Light changes its brightness, but not its colour",
                (
                    "Daylight is blue, a warm lamp is red.",
                    "One median for red, one for green, one for blue: flatten(1), not flatten().",
                ),
                _channels,
            ),
            Case(
                "honest-pixels",
                "Pixels that are black, saturated or clipped have no vote",
                "Every pixel tells the gain of the lamp",
                (
                    "What is the ratio where the sensor stops at 255, or the background is 4?",
                    "Set the ratio to NaN outside 16 ≤ background < 240 and where the frame is "
                    "255, and take nanmedian.",
                ),
                _votes,
            ),
            Case(
                "each-lamp",
                "Each strip has a gain of its own",
                "All lamps of a line change together",
                (
                    "Try a frame whose left half alone has become darker.",
                    "Cut frame and background by chunk(strips, dim=2), relight, and join by cat.",
                ),
                _lamps,
            ),
        ),
    ),
)
