"""Exercises of the chapter on your own video."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tccam import metrics
from tccam.exercises.core import Case, Exercise, UnusableAnswerError, call, equal

__all__ = ["EXERCISES"]


def _view(
    answer: Any, number: int, picture: tuple[int, int], shorter: int, right: float, fps: float = 25
) -> str:
    """One of the two numbers for an object of 90 pixels that moves 300 pixels a second."""
    found = call(answer, 90, 300, fps, picture, shorter, 4)
    try:
        cells, frames = found
    except (TypeError, ValueError, RuntimeError):
        raise UnusableAnswerError("expected two numbers, cells and frames") from None
    height, width = picture
    what = f"in {height} × {width} pixels at {shorter}, the number of {('cells', 'frames')[number]}"
    return equal((cells, frames)[number], right, what=what, atol=1e-3)


def _cells(answer: Any) -> str:
    return _view(answer, 0, (128, 160), 128, 22.5)


def _resized(answer: Any) -> str:
    return _view(answer, 0, (720, 1280), 144, 4.5)


def _frames(answer: Any) -> str:
    return _view(answer, 1, (480, 900), 480, 75) or _view(answer, 1, (480, 900), 480, 15, fps=5)


def _own_pixels(answer: Any) -> str:
    return _view(answer, 1, (720, 1200), 144, 100)


def _portrait(answer: Any) -> str:
    return _view(answer, 0, (1280, 720), 144, 4.5) or _view(answer, 1, (1280, 720), 144, 60)


def _parts(answer: Any, count: int = 200, share: float = 0.25, view: int = 16) -> list[list[int]]:
    """Training and validation frames, in the order in which the answer gives them."""
    found = call(answer, count, share, view)
    try:
        training, validation = ([int(number) for number in part] for part in found)
    except (TypeError, ValueError, RuntimeError):
        raise UnusableAnswerError("expected two lists of frame numbers") from None
    if not training or not validation:
        raise UnusableAnswerError("one of your two parts is empty")
    return [training, validation]


def _in_time(answer: Any) -> str:
    training, validation = _parts(answer)
    for name, part in (("training", training), ("validation", validation)):
        if any(b - a != 1 for a, b in pairwise(part)):
            return f"the {name} frames are not one run of neighbours"
    if training[-1] >= validation[0] or training[0] < 0 or validation[-1] >= 200:
        return "validation does not come after training, inside the recording"
    return ""


def _share(answer: Any) -> str:
    for count, share in ((200, 0.25), (400, 0.1)):
        training, validation = _parts(answer, count, share)
        if validation[-1] != count - 1 or abs(len(validation) - share * count) > 1:
            found = f"{len(validation)} of {count} frames, up to frame {validation[-1]}"
            return f"validation has {found}"
        if training[0] != 0:
            return f"training starts at frame {training[0]}"
    return ""


def _leak(answer: Any) -> str:
    for view in (16, 40):
        training, validation = _parts(answer, view=view)
        if validation[0] - training[-1] < view:
            return (
                f"an object that is in view for {view} frames is seen in frame {training[-1]}, of "
                f"training, and in frame {validation[0]}, of validation"
            )
    return ""


def _waste(answer: Any) -> str:
    for view in (16, 40):
        training, validation = _parts(answer, view=view)
        left = validation[0] - training[-1] - 1
        if left > view:
            return f"{left} frames are in neither part, where objects are in view for {view}"
    return ""


def _soft(size: int, sure: int, doubtful: int, outside: int) -> tuple[Tensor, Tensor]:
    """A frame of 20 × 20: 0.9 on ``sure`` pixels of the object, 0.4 on others and on some rest."""
    scores, mask = torch.full((400,), 0.1), torch.zeros(400, dtype=torch.bool)
    mask[:size] = True
    scores[:sure], scores[sure : sure + doubtful] = 0.9, 0.4
    scores[size : size + outside] = 0.4
    return scores.view(20, 20), mask.view(20, 20)


def _threshold(answer: Any, frames: list[tuple[Tensor, Tensor]], grid: list[float]) -> str:
    scores, masks = (torch.stack(part) for part in zip(*frames, strict=True))
    right = metrics.best_threshold(scores, masks, grid).threshold
    thresholds = torch.tensor(grid)
    return equal(call(answer, scores, masks, thresholds), right, what="your threshold", atol=1e-4)


def _value(answer: Any) -> str:
    return _threshold(answer, [_soft(60, 60, 0, 0), _soft(20, 20, 0, 30)], [0.05, 0.3, 0.5, 0.95])


def _overlap(answer: Any) -> str:
    return _threshold(answer, [_soft(16, 8, 8, 10), _soft(16, 8, 8, 10)], [0.05, 0.3, 0.6])


def _each(answer: Any) -> str:
    small = _soft(10, 10, 0, 30)
    return _threshold(answer, [_soft(200, 100, 100, 0), small, small], [0.05, 0.3, 0.6])


def _equality(answer: Any) -> str:
    scores = torch.full((2, 20, 20), 0.25)
    scores[:, 4:16, 4:16], scores[:, 8:12, 8:12] = 0.5, 0.75
    masks = scores >= 0.5
    return _threshold(answer, list(zip(scores, masks, strict=True)), [0.25, 0.5, 0.75])


EXERCISES = (
    Exercise(
        name="own.view",
        label="ex-own-fps",
        expects="a function of length, speed, fps, picture, shorter and stride that returns cells "
        "and frames",
        cases=(
            Case(
                "cells-across",
                "An object spans its length by the stride in cells",
                "An object has as many cells as the map has on its area",
                (
                    "How many pixels of the picture does a cell span from left to right?",
                    "A picture that is not resized: length / stride.",
                ),
                _cells,
            ),
            Case(
                "resized-first",
                "The network sees the resized picture, so objects shrink with it",
                "What is large in the recording is large for the network",
                (
                    "How long is the object after the shorter side became smaller?",
                    "Multiply the length by shorter / min(picture), then divide by the stride.",
                ),
                _resized,
            ),
            Case(
                "frames-not-seconds",
                "What counts are frames, and so their number a second",
                "An object is in view for as long as it is in view, however many frames are taken",
                (
                    "By how many pixels does an object move from frame to frame?",
                    "Pixels a frame are speed / fps; the width divided by them are the frames.",
                ),
                _frames,
            ),
            Case(
                "view-keeps",
                "Resizing changes no time: width and speed shrink alike",
                "A smaller picture is crossed sooner",
                (
                    "The picture shrinks. What happens to the speed, in its pixels?",
                    "Take width and speed both in pixels of the recording.",
                ),
                _own_pixels,
            ),
            Case(
                "portrait",
                "The shorter side may be the width",
                "The height is always the shorter side of a video",
                (
                    "Somebody has mounted the camera upright.",
                    "shorter / min(picture), and the belt runs along picture[1].",
                ),
                _portrait,
            ),
        ),
    ),
    Exercise(
        name="own.split",
        label="ex-own-split",
        expects="a function of count, share and view that returns training and validation frames",
        cases=(
            Case(
                "in-time",
                "Both parts are one run of frames, and validation comes after training",
                "Every fourth frame, or frames at random, make a fair validation split",
                (
                    "What does frame 41 show that frame 40 does not?",
                    "Cut the recording once: training is what comes before the cut.",
                ),
                _in_time,
            ),
            Case(
                "last-share",
                "Validation is the last share of the recording, training starts at its beginning",
                "It does not matter which of the two parts pays for the gap",
                (
                    "How many frames does validation have, and which is its last one?",
                    "Count validation from the end: it starts at count − round(share · count).",
                ),
                _share,
            ),
            Case(
                "no-object-twice",
                "No object is in both parts",
                "Two parts are independent as soon as they share no frame",
                (
                    "An object comes in with the last frame of training. How long is it in view?",
                    "Between the two parts leave out as many frames as an object is in view.",
                ),
                _leak,
            ),
            Case(
                "no-waste",
                "No more is left out than one view of an object",
                "The wider the gap, the better",
                (
                    "Each frame of the gap is a frame that nobody learns from.",
                    "One gap of view frames is enough; do not take it twice.",
                ),
                _waste,
            ),
        ),
    ),
    Exercise(
        name="own.threshold",
        label="ex-own-threshold",
        expects="a function of scores, masks and thresholds that returns a threshold",
        cases=(
            Case(
                "a-threshold",
                "It returns one of the thresholds, the one with the best score",
                "The argmax of a curve is the threshold",
                (
                    "What does argmax return?",
                    "Its place in the grid: look the threshold up there.",
                ),
                _value,
            ),
            Case(
                "overlap",
                "The score is the intersection over the union",
                "The share of pixels that are right tells a good mask from a bad one",
                (
                    "How many pixels are right if you predict no object at all?",
                    "Divide the pixels in both by the pixels in either, frame by frame.",
                ),
                _overlap,
            ),
            Case(
                "mean-of-frames",
                "Each frame counts the same, however large its object",
                "Pixels of all frames may be counted together",
                (
                    "One frame shows a large carton, the others a cap. Who decides?",
                    "Sum over the pixels of each frame, divide, take the mean over frames last.",
                ),
                _each,
            ),
            Case(
                "at-least",
                "A pixel exactly at the threshold belongs to the mask",
                "It makes no difference whether a pixel has to reach or to pass the threshold",
                (
                    "What happens to scores that take few values, as those of bytes do?",
                    "The book's masks are scores >= t.",
                ),
                _equality,
            ),
        ),
    ),
)
