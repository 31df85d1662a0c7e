"""Exercises of the chapter on pseudo-labels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from tccam.exercises.core import Case, Exercise, call, equal

__all__ = ["EXERCISES"]

_IGNORED = 255


def _empty() -> tuple[Tensor, Tensor]:
    """A contrast mask and a map without anything, (24, 32) both."""
    return torch.zeros(24, 32, dtype=torch.bool), torch.zeros(24, 32)


def _kept(answer: Any, stands_out: Tensor, scores: Tensor, level: float, right: Tensor) -> str:
    return equal(call(answer, stands_out, scores, level), right)


def _whole(answer: Any) -> str:
    stands_out, scores = _empty()
    stands_out[4:16, 4:14] = True
    scores[4:10, 4:14] = 0.9  # the map knows the upper half
    return _kept(answer, stands_out, scores, 0.4, stands_out)


def _own(answer: Any) -> str:
    stands_out, scores = _empty()
    right = stands_out.clone()
    right[4:16, 4:14] = True
    stands_out[4:16, 4:14] = stands_out[6:18, 20:28] = True
    scores[4:16, 4:14], scores[6:18, 20:28] = 0.9, 0.05
    return _kept(answer, stands_out, scores, 0.4, right)


def _mean(answer: Any) -> str:
    stands_out, scores = _empty()
    right = stands_out.clone()
    right[4:14, 4:14] = True
    stands_out[4:14, 4:14] = stands_out[4:14, 18:28] = True
    scores[4:8, 4:14] = 1.0  # the mean is 0.4, the median 0
    scores[5:7, 20:22] = 1.0  # one hot spot
    return _kept(answer, stands_out, scores, 0.3, right)


def _belt(answer: Any) -> str:
    stands_out, scores = _empty()
    scores += 0.8  # a map that knows no outline
    if wrong := _kept(answer, stands_out, scores, 0.4, stands_out):
        return f"where nothing stands out, {wrong}"
    stands_out[4:16, 4:14] = True
    return _kept(answer, stands_out, scores, 0.4, stands_out)


def _corners(answer: Any) -> str:
    stands_out, scores = _empty()
    stands_out[4:10, 4:10] = stands_out[10:16, 10:16] = True
    scores[4:10, 4:10], scores[10:16, 10:16] = 0.9, 0.1
    if wrong := _kept(answer, stands_out, scores, 0.4, stands_out):
        return wrong
    stands_out, scores = torch.rand(24, 32) < 0.3, torch.rand(24, 32)
    count, names = cv2.connectedComponents(stands_out.byte().numpy(), connectivity=8)
    objects = [torch.from_numpy(names == one) for one in range(1, count)]
    right = torch.stack([inside & (scores[inside].mean() >= 0.5) for inside in objects]).any(0)
    return _kept(answer, stands_out, scores, 0.5, right)


#: Scores, and what they are with a band from ¼ to ½: numbers that floats hold exactly.
_SCORES = torch.tensor([[[0.0, 0.125, 0.375], [0.4375, 0.625, 1.0]]])
_LABELS = torch.tensor([[[0, 0, _IGNORED], [_IGNORED, 1, 1]]])


def _three(answer: Any) -> str:
    return equal(call(answer, _SCORES, 0.25, 0.5), _LABELS)


def _edges(answer: Any) -> str:
    scores = torch.tensor([[[0.25, 0.5]]])
    if wrong := equal(call(answer, scores, 0.25, 0.5), torch.tensor([[[_IGNORED, 1]]])):
        return f"for scores of exactly low and high, {wrong}"
    scores = torch.tensor([[[0.25, 0.5, 0.75]]])
    wrong = equal(call(answer, scores, 0.5, 0.5), torch.tensor([[[0, 1, 1]]]))
    return f"with low = high, {wrong}" if wrong else ""


def _integers(answer: Any) -> str:
    found = torch.as_tensor(call(answer, _SCORES, 0.25, 0.5))
    return "" if found.dtype == torch.int64 else f"your labels have the dtype {found.dtype}"


_AMOUNTS = (1, 2, 4, 8, 16)


def _worth(answer: Any, values: tuple[float, ...], *curves: tuple[float, ...]) -> str:
    steps = [
        np.interp(value, np.maximum.accumulate(curve), np.log2(_AMOUNTS))
        for value, curve in zip(values, curves, strict=True)
    ]
    rows = [list(curve) for curve in curves]
    found = call(answer, list(values), rows, list(_AMOUNTS))
    return equal(found, float(2 ** np.mean(steps)), atol=1e-3)


def _log_axis(answer: Any) -> str:
    return _worth(answer, (0.65,), (0.40, 0.50, 0.60, 0.70, 0.80))


def _never_falls(answer: Any) -> str:
    return _worth(answer, (0.60,), (0.40, 0.50, 0.48, 0.70, 0.80))


def _ends(answer: Any) -> str:
    curve = 0.40, 0.50, 0.60, 0.70, 0.80
    return _worth(answer, (0.95,), curve) or _worth(answer, (0.10,), curve)


def _geometric(answer: Any) -> str:
    curve = 0.40, 0.50, 0.60, 0.70, 0.80
    return _worth(answer, (0.45, 0.75), curve, curve)


def _own_curve(answer: Any) -> str:
    return _worth(
        answer,
        (0.40, 0.80, 0.66),
        (0.20, 0.60, 0.70, 0.75, 0.80),
        (0.50, 0.55, 0.60, 0.70, 0.90),
        (0.30, 0.50, 0.49, 0.72, 0.71),
    )


EXERCISES = (
    Exercise(
        name="pseudo.objects",
        label="ex-pseudo-objects",
        expects="a function of stands_out (H, W), scores (H, W) and a level that returns a mask",
        cases=(
            Case(
                "whole",
                "An object is kept whole, also where the map is low",
                "The label is where contrast and map agree, pixel by pixel",
                (
                    "The map knows half of an object. What becomes of the other half?",
                    "Decide once for an object, and let the decision hold for all its pixels.",
                    "Compare the mean over the object with the level, not each pixel.",
                ),
                _whole,
            ),
            Case(
                "each-its-own",
                "Each object is judged by its own scores",
                "One mean says whether the frame's objects are illegal",
                (
                    "A can and a bottle lie apart. Must they share a fate?",
                    "First find the connected components, then look at one after the other.",
                    "count, names = cv2.connectedComponents(stands_out.byte().numpy())",
                ),
                _own,
            ),
            Case(
                "mean",
                "The mean of the scores decides, and not a hot spot or the middle value",
                "An object is illegal as soon as the map reaches the level somewhere on it",
                (
                    "A spot of a few pixels lies on a bottle. Is the bottle illegal?",
                    "Sum the scores over the object, and divide by its area.",
                ),
                _mean,
            ),
            Case(
                "no-belt",
                "What does not stand out is no object, however high the map",
                "Component 0 is the first object",
                (
                    "Maps spill over outlines. Which of your components is the belt?",
                    "OpenCV calls 0 what was False: objects are 1 … count − 1.",
                ),
                _belt,
            ),
            Case(
                "corners",
                "Pixels that touch at a corner belong to one object",
                "Only pixels that share a side are neighbours",
                (
                    "How many neighbours has a pixel, four or eight?",
                    "connectivity=8, which is what OpenCV takes by itself.",
                ),
                _corners,
            ),
        ),
    ),
    Exercise(
        name="pseudo.band",
        label="ex-pseudo-band",
        expects="a function of scores (N, H, W), low and high that returns labels (N, H, W)",
        cases=(
            Case(
                "three-kinds",
                "Above the band it is 1, below it 0, and in it 255",
                "What is not surely object is belt",
                (
                    "What do you tell the student about a pixel that you are not sure of?",
                    "There are three kinds of pixels, and two numbers to part them.",
                    "Start with all 255, then write 0 and 1 where you are sure.",
                ),
                _three,
            ),
            Case(
                "edges",
                "A score of exactly high is 1, of exactly low in the band; low = high has no band",
                "Whether > or ≥ makes no difference",
                (
                    "The chapter's mask is scores >= level. Does yours agree with it at the level?",
                    "1 where scores >= high, 0 where scores < low, 255 elsewhere.",
                ),
                _edges,
            ),
            Case(
                "integers",
                "Labels are whole numbers, int64, as cross_entropy takes them",
                "A label is a number like any other, so that float will do",
                (
                    "What does F.cross_entropy say to labels of this dtype?",
                    "Class numbers are int64: torch.long.",
                ),
                _integers,
            ),
        ),
    ),
    Exercise(
        name="pseudo.worth",
        label="ex-pseudo-worth",
        expects="a function of values (S), curves (S, K) and amounts (K) that returns one number",
        cases=(
            Case(
                "log-axis",
                "Between two amounts it goes along a straight line on the logarithmic axis",
                "Half way between 4 and 8 masks are 6",
                (
                    "Look at the axis of the figure: what is half way between 4 and 16?",
                    "Interpolate in log2 of the amounts, and go back with a power of 2.",
                ),
                _log_axis,
            ),
            Case(
                "never-falls",
                "The curve never falls: each point is the best so far",
                "np.interp takes any curve",
                (
                    "More masks, and a lower IoU: what does your function read there?",
                    "np.interp needs values that ascend, and does not complain if they do not.",
                    "np.maximum.accumulate(curve) is the best so far.",
                ),
                _never_falls,
            ),
            Case(
                "ends",
                "Beyond the curve it says the least or the largest amount, and no more",
                "The line goes on where nothing was measured",
                (
                    "Did anybody train with more masks than the largest amount?",
                    "Stay within amounts[0] … amounts[-1]; np.interp does.",
                ),
                _ends,
            ),
            Case(
                "geometric",
                "Belts are averaged on the same logarithmic axis",
                "The mean of 1 and 16 masks is 8.5",
                (
                    "One belt says 1, another 16. Where is the middle on the figure's axis?",
                    "Take the mean of the logarithms, and the power of 2 last.",
                ),
                _geometric,
            ),
            Case(
                "own-curve",
                "Each belt is read off its own curve",
                "Average the curves and the values first, then read once",
                (
                    "Belts differ in how hard they are. Does that cancel in your function?",
                    "Read values[s] off curves[s], for one s after the other.",
                ),
                _own_curve,
            ),
        ),
    ),
)
