"""Exercises of the chapter on background bias."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tccam import background
from tccam.exercises.core import Case, Exercise, call, equal, within

__all__ = ["EXERCISES"]

_LEVEL = 0.1  # grey levels: what an epsilon in a denominator may cost


def _bytes(*shape: int, low: int = 0, high: int = 256) -> Tensor:
    return torch.randint(low, high, shape, dtype=torch.uint8)


def _median(answer: Any, frames: Tensor) -> str:
    expected = background.median_background(frames)
    return equal(call(answer, frames), expected, what="your background", atol=_LEVEL)


def _every_pixel(answer: Any) -> str:
    return _median(answer, _bytes(1, 3, 6, 8, low=10, high=110).expand(5, -1, -1, -1))


def _ghost(answer: Any) -> str:
    frames = _bytes(1, 3, 6, 8, low=10, high=110).repeat(7, 1, 1, 1)
    for k in range(3):
        frames[2 * k, :, 1:5, 2 * k : 2 * k + 3] = 220
    return _median(answer, frames)


def _two_middle(answer: Any) -> str:
    return _median(answer, _bytes(6, 3, 6, 8, high=110))


def _wrap(answer: Any) -> str:
    return _median(answer, _bytes(6, 3, 6, 8, low=150))


def _divided(answer: Any, frames: Tensor, empty: Tensor, offset: float) -> str:
    expected = (frames.float() - empty) / (empty + offset)
    return equal(call(answer, frames, empty, offset), expected, atol=1e-3)


def _nothing(answer: Any) -> str:
    frames = _bytes(1, 3, 6, 8, low=20)
    return _divided(answer, frames.expand(4, -1, -1, -1), frames[0].float(), 8.0)


def _gain(answer: Any) -> str:
    empty = torch.rand(3, 6, 8) * 40 + 60
    scene = empty * (1 + torch.rand(4, 3, 6, 8))
    for gain in (1.0, 0.5):
        if wrong := _divided(answer, gain * scene, gain * empty, 0.001):
            return wrong
    return ""


def _darker(answer: Any) -> str:
    return _divided(answer, _bytes(4, 3, 6, 8, low=10, high=60), torch.full((3, 6, 8), 90.0), 0.001)


def _dark(answer: Any) -> str:
    empty = torch.rand(3, 6, 8) * 30
    empty[:, 2] = 0
    for offset in (8.0, 20.0):
        if wrong := _divided(answer, _bytes(4, 3, 6, 8), empty, offset):
            return wrong
    return ""


def _scene() -> tuple[Tensor, Tensor, Tensor]:
    """An object before the background of a camera, that background, and another camera's."""
    own, other = torch.rand(2, 3, 6, 8) * 60 + 80
    frames = own.expand(4, -1, -1, -1).clone()
    frames[:, :, 2:5, 2:6] *= torch.tensor([0.4, 1.8, 3.3]).view(3, 1, 1)
    return frames, own, other


def _swapped(answer: Any, frames: Tensor, own: Tensor, other: Tensor) -> str:
    found = call(answer, frames, own, other)
    return equal(found, other * (frames / own), atol=_LEVEL)


def _empty(answer: Any) -> str:
    _, own, other = _scene()
    return _swapped(answer, own.expand(4, -1, -1, -1), own, other)


def _same_camera(answer: Any) -> str:
    frames, own, _ = _scene()
    return _swapped(answer, frames, own, own)


def _light(answer: Any) -> str:
    return _swapped(answer, *_scene())


def _some_offset(answer: Any) -> str:
    if wrong := within(answer, -math.inf, math.inf):
        return wrong
    return "" if float(answer) > 0.1 else f"your number is {float(answer):g}"


def _change(answer: Any, low: float, high: float) -> str:
    """Whether the contrast over 80 grey levels loses that share at half the light."""
    offset = float(answer)
    change = 0.5 * offset / (0.5 * 80 + offset)
    return "" if low <= change <= high else f"with your offset it changes by {100 * change:.1f}%"


def _five_percent(answer: Any) -> str:
    return _change(answer, 0, 0.0501)


def _largest(answer: Any) -> str:
    return _change(answer, 0.0495, 1)


EXERCISES = (
    Exercise(
        name="bias.median",
        label="ex-bias-median",
        expects="a function of frames, uint8 (T, 3, H, W), that returns a background (3, H, W)",
        cases=(
            Case(
                "every-pixel",
                "Every pixel and every channel has a background of its own",
                "The background is one grey level, that of the belt",
                (
                    "Give it five copies of one frame. What should come back?",
                    "Go over the frames alone: the first axis disappears, the other three stay.",
                ),
                _every_pixel,
            ),
            Case(
                "ghost",
                "An object in fewer than half of the frames leaves no trace",
                "The mean over many frames is as good a background",
                (
                    "What does one bright frame of seven do to your background?",
                    "Sort the values of a pixel, and take the one in the middle.",
                ),
                _ghost,
            ),
            Case(
                "two-middle",
                "Of an even number of frames, the mean of the two middle values is taken",
                "torch.median gives the middle of an even number of values",
                (
                    "What is the median of 10, 20, 40, 90, and what does your function say?",
                    "Sort over the frames, and take the mean of number T/2 − 1 and T/2.",
                    "frames.float().quantile(0.5, 0) does it too.",
                ),
                _two_middle,
            ),
            Case(
                "wrap",
                "Bright pixels are right too",
                "Bytes can be added like any other numbers",
                (
                    "What is 200 + 100 in a uint8?",
                    "Turn the frames into floats before you compute with them.",
                ),
                _wrap,
            ),
        ),
    ),
    Exercise(
        name="bias.divide",
        label="ex-bias-divide",
        expects="a function of frames, background and offset that returns frames (T, 3, H, W)",
        cases=(
            Case(
                "nothing",
                "Where a frame shows its background, the result is 0",
                "The offset may stand in one place of the ratio alone",
                (
                    "What do you get for an empty frame, on a dark rail and on a bright belt?",
                    "Subtract the background before you divide.",
                    "The numerator is f − b; the offset stands in the denominator alone.",
                ),
                _nothing,
            ),
            Case(
                "gain",
                "The same scene under half the light gives the same result",
                "The difference to the background does not depend on the camera's light",
                (
                    "Multiply frame and background by one half. What becomes of your result?",
                    "Divide the difference by something that carries the gain too.",
                ),
                _gain,
            ),
            Case(
                "darker",
                "What is darker than the background is negative",
                "A contrast has no sign",
                (
                    "Could a network tell a black bag from a white one by your result?",
                    "Leave out abs, relu and clamp: the range is open at both ends.",
                ),
                _darker,
            ),
            Case(
                "dark",
                "A black background gives finite numbers, set by the offset",
                "The camera's own noise keeps a background away from 0",
                (
                    "Try a background of 0 grey levels.",
                    "The denominator is the background plus the offset that is passed in.",
                ),
                _dark,
            ),
        ),
    ),
    Exercise(
        name="bias.swap",
        label="ex-bias-swap",
        expects="a function of frames, own and other that returns frames (T, 3, H, W)",
        cases=(
            Case(
                "empty",
                "An empty frame becomes the other camera's background",
                "Two cameras differ by the colour of their light alone",
                (
                    "Rails stand in different places. Does your factor know where?",
                    "Every pixel has a factor of its own, from the two backgrounds at that pixel.",
                ),
                _empty,
            ),
            Case(
                "same-camera",
                "A swap with the camera's own background changes nothing",
                "The contrast of division, with its offset, can be multiplied back",
                (
                    "What is other · (1 + (f − own)/(own + 8)) when other is own?",
                    "Here no offset is needed: own is positive. Use the plain ratio f/own.",
                ),
                _same_camera,
            ),
            Case(
                "light",
                "Objects are lit by the other camera's lamps, as the background is",
                "An object adds its own brightness to the background, whichever camera looks",
                (
                    "An object is twice as bright as the belt. How bright under half the light?",
                    "Adding the difference f − own to the other background keeps the old light.",
                    "Gains multiply: other · f/own.",
                ),
                _light,
            ),
        ),
    ),
    Exercise(
        name="bias.offset",
        label="ex-bias-offset",
        expects="a number of grey levels",
        cases=(
            Case(
                "some-offset",
                "There is room for an offset above 0",
                "The gain cancels in a ratio without an offset, and in no other",
                (
                    "It need not cancel exactly: 5% are allowed.",
                    "Write the contrast at gain g and at gain 1, and take their quotient.",
                ),
                _some_offset,
            ),
            Case(
                "five-percent",
                "The contrast changes by no more than 5%",
                "An offset that is small beside the background does no harm",
                (
                    "At half the light the background has 40 grey levels, and the offset has as "
                    "many as before.",
                    "The quotient is g(b + o)/(gb + o): it falls short of 1 by o(1 − g)/(gb + o).",
                    "Solve 0.5·o/(40 + o) = 0.05 for o.",
                ),
                _five_percent,
            ),
            Case(
                "largest",
                "The offset is the largest that keeps to the 5%",
                "The contrast at full light has no offset in it",
                (
                    "The offset is there at both gains. Does your quotient say so twice?",
                    "Compare with (f − b)/(b + o), not with (f − b)/b.",
                    "Solve 0.5·o/(40 + o) = 0.05 for o.",
                ),
                _largest,
            ),
        ),
    ),
)
