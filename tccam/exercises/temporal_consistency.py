"""Exercises of the chapter on temporal consistency."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tccam import temporal
from tccam.exercises.core import Case, Exercise, call, equal, gradients, within

__all__ = ["EXERCISES"]


def _neighbours(count: int = 2) -> tuple[list[Tensor], list[Tensor]]:
    """Maps and masks. Nobody sees row 0, the first sees rows 1 and 2, the last sees the others."""
    maps, valids = (
        list(3 * torch.rand(count, 2, 3, 5, 6)),
        list(torch.rand(count, 2, 1, 5, 6) > 0.5),
    )
    valids[0][:, :, :3], valids[-1][:, :, 3:] = True, True
    for valid in valids:
        valid[:, :, 0] = False
    return maps, valids


def _fuses(
    answer: Any,
    mode: temporal.Fusion,
    *,
    seen: bool = False,
    rows: slice = slice(1, 5),
    count: int = 2,
) -> str:
    """Whether some rows are right; with ``seen``, everything is valid."""
    maps, valids = _neighbours(count)
    valids = [valid | seen for valid in valids]
    found, right = call(answer, maps, valids, mode), temporal.fuse(maps, valids, mode)
    one = "maximum" if mode == "max" else "mean"
    what = f"with {count} neighbour{'s' * (count > 1)} your {one}"
    return equal(found[:, :, rows], right[:, :, rows], what=what)


def _one_map(answer: Any) -> str:
    maps, valids = _neighbours()
    valids = [valid | True for valid in valids]
    return equal(call(answer, maps, valids, "max"), maps[0], what="your map", atol=math.inf)


def _modes(answer: Any) -> str:
    return _fuses(answer, "max", seen=True) or _fuses(answer, "mean", seen=True)


def _nobody(answer: Any) -> str:
    first = slice(0, 1)
    return _fuses(answer, "max", rows=first) or _fuses(answer, "mean", rows=first)


def _many(answer: Any) -> str:
    counts = (1, 3, 4)
    found = [_fuses(answer, mode, count=n) for n in counts for mode in ("max", "mean")]
    return next(filter(None, found), "")


def _moved() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre, neighbour, flow (−1, 0) and label; the neighbour shows the same, one cell back.

    Its maps are 0 at the border, so that nothing leaves the picture, and nobody looks at it.
    """
    centre = torch.zeros(2, 3, 6, 8)
    centre[:, :, 1:-1, 2:-1] = 4 * torch.rand(2, 3, 4, 5)
    field = torch.tensor([-1.0, 0.0]).reshape(1, 2, 1, 1).repeat(2, 1, 6, 8)
    return centre, centre.roll(-1, 3), field, torch.tensor([2, 0])


def _one_number(answer: Any) -> str:
    return equal(call(answer, *_moved()), 0.0, what="your loss", atol=math.inf)


def _aligned(answer: Any) -> str:
    return equal(call(answer, *_moved()), 0.0, what="the loss of a belt that only moves", atol=1e-3)


def _levels(answer: Any) -> str:
    centre, neighbour, field, labels = _moved()
    found = call(answer, centre, 3 * neighbour, field, labels)
    return equal(found, 0.0, what="the loss of the same shape, three times as high", atol=1e-3)


def _outside(answer: Any) -> str:
    centre, neighbour, field, labels = _moved()
    centre[..., 0] = 0.5 * centre.amax()  # something enters; the peak is elsewhere
    centre[..., 2, 3] = neighbour[..., 2, 2] = centre.amax()
    found = call(answer, centre, neighbour, field, labels)
    return equal(found, 0.0, what="the loss of what enters the picture", atol=1e-3)


def _present(answer: Any) -> str:
    centre, neighbour, field, labels = _moved()
    neighbour[0, :2] = neighbour[0, :2].flip(1)
    neighbour[1, 1:] = neighbour[1, 1:].flip(1)
    found = call(answer, centre, neighbour, field, labels)
    return equal(found, 0.0, what="the loss of absent classes", atol=1e-3)


def _all_cells(answer: Any) -> str:
    centre, _, field, labels = _moved()
    neighbour = 5 * torch.rand(2, 3, 6, 8)
    right = temporal.temporal_loss(centre, [neighbour], [field], labels)
    return equal(call(answer, centre, neighbour, field, labels), right, what="your loss", atol=1e-3)


def _evidence(answer: Any) -> str:
    """Evidence against the class beside evidence for it, and look-ups between the two."""
    centre, neighbour, field, labels = _moved()
    neighbour = torch.where(neighbour == 0, -4.0, neighbour)
    right = temporal.temporal_loss(centre, [neighbour], [field / 2], labels)
    found = call(answer, centre, neighbour, field / 2, labels)
    return equal(found, right, what="your loss", atol=1e-3)


def _both_move(answer: Any) -> str:
    centre, _, field, labels = _moved()
    neighbour = 5 * torch.rand(2, 3, 6, 8)
    sides = {"centre": centre.requires_grad_(), "neighbour": neighbour.requires_grad_()}
    return gradients(call(answer, *sides.values(), field, labels), sides)


def _passes(answer: Any, *windows: int, tiles: bool) -> str:
    for window in windows:
        what = f"for T = {window} {'with' if tiles else 'without'} tiles your number"
        right = window / (window - 2) + tiles
        if wrong := equal(call(answer, window, tiles), right, what=what):
            return wrong
    return ""


def _quarters(answer: Any) -> str:
    more = call(answer, 1000, True) - call(answer, 1000, False)
    return within(more, 0.9, 1.1, what="what tiles add in a long window")


EXERCISES = (
    Exercise(
        name="temporal.fuse",
        label="ex-temporal-fuse",
        expects="a function of lists of maps and of masks, and of a mode, that returns one map",
        cases=(
            Case(
                "one-map",
                "However many neighbours there are, one map (B, C, h, w) comes out",
                "Every neighbour keeps a map of its own",
                (
                    "Over which axis do you take the maximum?",
                    "Stack the neighbours along a new first axis, and reduce that one.",
                ),
                _one_map,
            ),
            Case(
                "mode",
                "It takes the maximum, or the mean if it is asked to",
                "Maximum and mean are two words for taking the best of both",
                (
                    "What does your function do with its third argument?",
                    'amax(0) for "max", the mean over the same axis for "mean".',
                ),
                _modes,
            ),
            Case(
                "left-out",
                "What stands where a neighbour is not valid does not count",
                "A number in a map is a measurement",
                (
                    "Which of the arguments have you not used yet?",
                    "An invalid place must lose against every valid one: mask it with −inf.",
                ),
                lambda answer: _fuses(answer, "max"),
            ),
            Case(
                "divisor",
                "The mean divides by how many neighbours see a cell",
                "A neighbour that sees nothing says zero",
                (
                    "One of two neighbours sees a cell and says 3. What is the mean?",
                    "Divide the sum of the valid ones by the sum of the masks.",
                ),
                lambda answer: _fuses(answer, "mean"),
            ),
            Case(
                "nobody",
                "A cell that nobody sees is 0, by maximum and by mean",
                "There is always one who sees it",
                (
                    "What is the maximum of nothing, and what is 0/0?",
                    "clamp_min(1) for the divisor; masked_fill(~any, 0) for the maximum.",
                ),
                _nobody,
            ),
            Case(
                "any-number",
                "One neighbour will do, and so will four",
                "A frame has two neighbours",
                (
                    "What if a clip begins here? What if you look two frames far?",
                    "torch.stack takes any number; torch.maximum takes two.",
                ),
                _many,
            ),
        ),
    ),
    Exercise(
        name="temporal.loss",
        label="ex-temporal-loss",
        expects="a function of centre, neighbour (B, C, h, w), flow (B, 2, h, w) and labels (B,)",
        cases=(
            Case(
                "one-number",
                "A loss is one number",
                "Every picture or cell has a loss of its own",
                (
                    "What does `backward` want to start from?",
                    "The equation sums over pictures, classes and cells.",
                ),
                _one_number,
            ),
            Case(
                "aligned",
                "Where the belt only moves, the loss is 0",
                "Cells of the same number show the same place",
                (
                    "Where is the content of a cell in the other frame?",
                    "Fetch the neighbour's map first: flow.warp with the flow as it is given.",
                ),
                _aligned,
            ),
            Case(
                "levels",
                "Only the shape counts: a neighbour of three times the level costs nothing",
                "Maps of one network can be compared as they are",
                (
                    "How does this term differ from the spatial one?",
                    "Normalise both sides, each by its own maximum: cam.normalize.",
                ),
                _levels,
            ),
            Case(
                "outside",
                "What enters the picture was not in the neighbour, and is not compared",
                "Where the neighbour shows nothing, there is nothing",
                (
                    "What does the warp read beyond the border, and what else does it tell you?",
                    "Multiply the differences by the mask that flow.warp returns.",
                ),
                _outside,
            ),
            Case(
                "present-classes",
                "Only the map of the class that the centre carries is compared",
                "The maps of all classes should be steady in time",
                (
                    "What does the label do in the equation?",
                    "F.one_hot(labels, C)[:, :, None, None] times the difference.",
                ),
                _present,
            ),
            Case(
                "all-cells",
                "The sum is divided by all cells of all maps",
                "A mean is taken over what is compared",
                (
                    "By what does the equation divide? Count absent classes and invalid cells.",
                    "B·C·h·w is `centre.numel()`.",
                ),
                _all_cells,
            ),
            Case(
                "evidence",
                "Evidence against the class is cut off before the warp mixes cells",
                "Relu and warp may change places",
                (
                    "A look-up lies half-way between 4 and −4. What does it find?",
                    "In the equation of the fused map, relu stands inside the warp.",
                ),
                _evidence,
            ),
            Case(
                "both-move",
                "The gradient moves the centre and the neighbour",
                "The neighbour is the teacher, and a teacher stands still",
                (
                    "Who gives way, in the authors' form?",
                    "Nothing is detached: leave out detach, no_grad and numpy.",
                ),
                _both_move,
            ),
        ),
    ),
    Exercise(
        name="temporal.window",
        label="ex-temporal-window",
        expects="a function of the frames of a window and of whether there are tiles",
        cases=(
            Case(
                "inner-frames",
                "A window of three is one triplet, and costs three passes",
                "Every frame of a window is the centre of a triplet",
                (
                    "Which frames of a window have two neighbours in it?",
                    "T frames pass, and serve T − 2 centres.",
                ),
                lambda answer: _passes(answer, 3, tiles=False),
            ),
            Case(
                "shared",
                "In longer windows triplets share frames",
                "A triplet costs three passes, wherever it lies",
                (
                    "How many frames pass for T = 8, and how many centres do they serve?",
                    "T / (T − 2)",
                ),
                lambda answer: _passes(answer, 3, 4, 8, 50, tiles=False),
            ),
            Case(
                "quarters",
                "The four tiles of a picture cost as much as one picture",
                "Four tiles are four passes",
                (
                    "How many pixels do the tiles of one picture have?",
                    "Together the tiles are as large as their picture: one pass.",
                ),
                _quarters,
            ),
            Case(
                "centres",
                "Centres alone are cut into tiles",
                "Every frame that passes is cut as well",
                (
                    "Which frames does the spatial term compare?",
                    "One pass more for each triplet, however long the window is.",
                ),
                lambda answer: _passes(answer, 3, 8, tiles=True),
            ),
        ),
    ),
)
