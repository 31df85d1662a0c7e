"""Exercises of the chapter on optical flow."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tccam import flow
from tccam.exercises.core import Case, Exercise, UnusableAnswerError, call, equal, within

__all__ = ["EXERCISES"]


def _field(u: float, v: float, *size: int) -> Tensor:
    """A flow (1, 2, h, w) that is the same everywhere."""
    return torch.tensor([u, v]).reshape(1, 2, 1, 1).repeat(1, 1, *size)


def _fetched(answer: Any, maps: Tensor, field: Tensor) -> tuple[Any, Any]:
    found = call(answer, maps, field)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise UnusableAnswerError("your function returned one thing, expected maps and valid")
    return found[0], found[1]


def _two(answer: Any) -> str:
    maps, field = torch.rand(2, 3, 6, 9), torch.full((2, 2, 6, 9), 0.5)
    fetched, valid = _fetched(answer, maps, field)
    right, inside = flow.warp(maps, field)
    return equal(fetched, right, what="your map", atol=math.inf) or equal(
        valid, inside, what="your mask", atol=math.inf
    )


def _warps(answer: Any, maps: Tensor, field: Tensor) -> str:
    """Whether the maps agree; what stands at invalid places is another case."""
    fetched, _ = _fetched(answer, maps, field)
    right, inside = flow.warp(maps, field)
    return equal(torch.as_tensor(fetched) * inside, right, what="your map", atol=1e-3)


def _still(answer: Any) -> str:
    return _warps(answer, torch.rand(1, 3, 6, 9), torch.zeros(1, 2, 6, 9))


def _direction(answer: Any) -> str:
    return _warps(answer, torch.rand(1, 2, 6, 9), _field(-1.0, -1.0, 6, 9))


def _axes(answer: Any) -> str:
    return _warps(answer, torch.rand(1, 2, 6, 9), _field(-2.0, 1.0, 6, 9))


def _between(answer: Any) -> str:
    return _warps(answer, torch.rand(2, 2, 6, 9), 2 * torch.randn(2, 2, 6, 9))


def _edge(answer: Any) -> str:
    maps, field = 1 + torch.rand(1, 2, 6, 9), _field(1.4, -0.4, 6, 9)
    fetched, valid = _fetched(answer, maps, field)
    right, inside = flow.warp(maps, field)
    return equal(valid, inside, what="your mask") or equal(
        fetched, right, what="your map", atol=1e-3
    )


def _size(answer: Any) -> str:
    field = torch.rand(2, 2, 24, 40)
    return equal(call(answer, field, (6, 20)), torch.zeros(2, 2, 6, 20), atol=math.inf)


def _shorter(answer: Any) -> str:
    found = call(answer, _field(8.0, -4.0, 24, 40), (12, 20))
    return equal(found, _field(4.0, -2.0, 12, 20), what="your flow", atol=1e-4)


def _each_axis(answer: Any) -> str:
    found = call(answer, _field(8.0, -4.0, 24, 40), (6, 20))
    return equal(found, _field(4.0, -1.0, 6, 20), what="your flow", atol=1e-4)


def _centres(answer: Any) -> str:
    x = torch.arange(40.0).expand(24, 40)
    field = torch.stack((x, 2 * x))[None]  # bilinear and area means agree on a ramp
    found, right = call(answer, field, (12, 20)), flow.resize(field, (12, 20))
    if wrong := equal(found, right, what="your flow", atol=math.inf):
        return wrong
    inner = torch.as_tensor(found)[..., 2:-2, 2:-2]
    return equal(inner, right[..., 2:-2, 2:-2], what="your flow off the border", atol=1e-3)


def _moving(step: int, *, height: int = 6, width: int = 16) -> tuple[Tensor, Tensor]:
    """Flow there and back, where four columns move to the right over ground that rests."""
    there, back = torch.zeros(2, 1, 2, height, width)
    there[:, 0, :, 4:8] = step
    back[:, 0, :, 4 + step : 8 + step] = -step
    return there, back


def _mask(answer: Any) -> str:
    there, back = (field.repeat(2, 1, 1, 1) for field in _moving(3))
    return equal(call(answer, there, back), flow.occlusion(there, back), atol=math.inf)


def _arrival(answer: Any) -> str:
    there, back = _moving(3)
    return equal(call(answer, there, back), flow.occlusion(there, back), what="your mask")


def _allowed(answer: Any) -> str:
    for speed, miss in ((0.0, 0.6), (0.0, 0.9), (10.0, 1.2), (10.0, 2.0)):
        there, back = _field(speed, 0.0, 6, 16), _field(miss - speed, 0.0, 6, 16)
        what = f"your mask at {speed:g} pixels a frame"
        if wrong := equal(call(answer, there, back), flow.occlusion(there, back), what=what):
            return wrong
    return ""


def _leaves(answer: Any) -> str:
    there = _field(0.6, 0.0, 6, 16)
    return equal(call(answer, there, -there), flow.occlusion(there, -there), what="your mask")


def _smallest(share: float) -> int:
    return next(n for n in range(2, 10_000) if (4 * n - 4) / n**2 < share)


def _single(answer: Any) -> str:
    found = call(answer, 0.05)
    return within(found, 2, math.inf, what="your side")


def _sides(answer: Any) -> str:
    right = _smallest(0.05)
    return within(call(answer, 0.05), 0.95 * right, 1.05 * right, what="your side for 5%")


def _corners(answer: Any) -> str:
    for share in (0.05, 0.2, 0.01):
        what = f"your side for {share:.0%}"
        if wrong := equal(call(answer, share), _smallest(share), what=what):
            return wrong
    return ""


def _strict(answer: Any) -> str:
    return equal(call(answer, 0.75), _smallest(0.75), what="your side for 75%")


EXERCISES = (
    Exercise(
        name="flow.warp",
        label="ex-flow-warp",
        expects="a function of maps (B, C, h, w) and flow (B, 2, h, w) that returns maps and valid",
        cases=(
            Case(
                "shape",
                "It returns the maps (B, C, h, w) and a bool mask (B, 1, h, w) of what is valid",
                "A mask has no channel",
                (
                    "By what do you multiply the maps? Does that fit for two pictures?",
                    "The mask is bool and has one channel: inside[:, None].",
                ),
                _two,
            ),
            Case(
                "still",
                "Zero flow is the identity",
                "The default of grid_sample suits any grid",
                (
                    "Do −1 and 1 in your grid mean what grid_sample takes them for?",
                    "They are centres of cells with align_corners=True, outer borders without it.",
                    "2 · x / (w − 1) − 1 for the places, and align_corners=True for the sampling.",
                ),
                _still,
            ),
            Case(
                "direction",
                "The map is read at p + flow(p)",
                "The flow says where a pixel is pushed to",
                (
                    "Does your function fetch, or does it push?",
                    "Each cell p of the result reads one place of the map: add the flow to p.",
                ),
                _direction,
            ),
            Case(
                "axes",
                "Channel 0 of the flow goes to the right, channel 1 goes down",
                "Rows come first, in the flow as in a tensor",
                (
                    "What do u and v stand for?",
                    "x = column + flow[:, 0], y = row + flow[:, 1].",
                    "grid_sample wants the last axis as (x, y), too.",
                ),
                _axes,
            ),
            Case(
                "between",
                "A place between cells takes their weighted mean",
                "Rounding to a cell is precise enough",
                (
                    "A cell may be 16 pixels wide. How many pixels do you round away?",
                    'Read bilinearly: mode="bilinear" is the default of grid_sample.',
                ),
                _between,
            ),
            Case(
                "outside",
                "A place outside the outermost centres reads 0 and is not valid",
                "What stands at the border will do for what lies beyond it",
                (
                    "Which places have nobody seen?",
                    "Valid is 0 ≤ x ≤ w − 1 and 0 ≤ y ≤ h − 1, and the maps are 0 elsewhere.",
                ),
                _edge,
            ),
        ),
    ),
    Exercise(
        name="flow.resize",
        label="ex-flow-resize",
        expects="a function of flow (B, 2, H, W) and size (h, w) that returns (B, 2, h, w)",
        cases=(
            Case(
                "shape",
                "The flow comes out at (h, w), height first",
                "A size is width times height",
                (
                    "In which order does a tensor have its last two axes?",
                    "F.interpolate takes the size as it is, (h, w).",
                ),
                _size,
            ),
            Case(
                "shorter",
                "At half the size a vector is half as long",
                "A flow is a picture of two channels, and is resized like one",
                (
                    "An object moves 8 pixels. How many of the small picture's pixels are that?",
                    "Resizing changes the unit: multiply by new size over old size.",
                ),
                _shorter,
            ),
            Case(
                "each-axis",
                "u shrinks with the width, v with the height",
                "One factor does for both components",
                (
                    "What if only the height becomes smaller?",
                    "flow[:, 0] times w / W, flow[:, 1] times h / H.",
                ),
                _each_axis,
            ),
            Case(
                "centres",
                "A pixel of the small picture is a tile of the large one, and lies at its centre",
                "The corners of the two grids lie on each other",
                (
                    "Where is the centre of the first pixel, before and after?",
                    "Here pixels are tiles: align_corners=False.",
                ),
                _centres,
            ),
        ),
    ),
    Exercise(
        name="flow.check",
        label="ex-flow-check",
        expects="a function of forward and backward (B, 2, H, W) that returns bool (B, H, W)",
        cases=(
            Case(
                "mask",
                "It returns a bool mask (B, H, W)",
                "Each component of a vector is hidden or not",
                (
                    "How many answers are there for one pixel?",
                    "Squared lengths: .square().sum(1) takes both components together.",
                ),
                _mask,
            ),
            Case(
                "arrival",
                "The way back starts where the way there ends",
                "The two flows of a pixel lie at the same place",
                (
                    "On whose grid does the flow back lie?",
                    "F′ is read at p + F. Which function of the chapter reads there?",
                    "back, inside = flow.warp(backward, forward)",
                ),
                _arrival,
            ),
            Case(
                "allowed",
                "Fast points may miss by more than points at rest",
                "A fixed number of pixels tells hidden from seen",
                (
                    "Both sides of the inequality: what is squared, and what grows with the flow?",
                    "0.01 times the sum of both squared lengths, and 0.5 on top.",
                ),
                _allowed,
            ),
            Case(
                "leaves",
                "A point that leaves the picture is hidden, however slowly it goes",
                "The way back from nowhere will be wrong by itself",
                (
                    "What does the warp read outside the picture, and is that error large?",
                    "Add what the warp says itself: | ~inside[:, 0].",
                ),
                _leaves,
            ),
        ),
    ),
    Exercise(
        name="flow.ring",
        label="ex-flow-ring",
        expects="a function of the share that may be lost, which returns the smallest side n",
        cases=(
            Case(
                "single",
                "A map of one cell is nothing but ring",
                "A formula that counts cells holds for any number of them",
                (
                    "What does your formula say for n = 1? What do you see?",
                    "4n − 4 counts the ring from n = 2 on.",
                ),
                _single,
            ),
            Case(
                "sides",
                "The ring has four sides",
                "Motion to the left or right loses columns alone",
                (
                    "Which cells look half a cell too far? Draw it for 4×4.",
                    "The first and last row, and the first and last column.",
                ),
                _sides,
            ),
            Case(
                "corners",
                "Every corner counts once",
                "Four sides of n cells are 4n cells",
                (
                    "Count the ring of a 3×3 map. One cell is left.",
                    "n² − (n − 2)² cells are 4n − 4.",
                ),
                _corners,
            ),
            Case(
                "less",
                "The share is less than what may be lost, not equal to it",
                "Less than and at most are the same where numbers are real",
                (
                    "There are sides whose share is exactly the number. Do they count?",
                    "For 75%: the ring of a 4×4 map is 12 of 16 cells.",
                ),
                _strict,
            ),
        ),
    ),
)
