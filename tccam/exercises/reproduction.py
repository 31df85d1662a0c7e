"""Exercises of the chapter on reproduction."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tccam import metrics
from tccam.exercises.core import Case, Exercise, call, equal, within

__all__ = ["EXERCISES"]

# Arms over ten seeds: what is hard for one is hard for the other.
_CONTROL = (0.31, 0.72, 0.50, 0.93, 0.45, 0.64, 0.38, 0.81, 0.57, 0.70)
_GAPS = (0.08, -0.01, 0.06, 0.02, -0.03, 0.05, 0.09, 0.01, 0.04, -0.02)
_ARM = tuple(b + gap for b, gap in zip(_CONTROL, _GAPS, strict=True))


def _ends(answer: Any, seeds: int) -> tuple[str, list[float]]:
    """A complaint if an answer gives no three numbers in order, and the three."""
    found = call(answer, list(_ARM[:seeds]), list(_CONTROL[:seeds]))
    if wrong := equal(found, (0.0, 0.0, 0.0), atol=math.inf):
        return wrong, []
    mean, low, high = torch.as_tensor(found).tolist()
    return ("" if low <= high else "the lower end lies above the upper one"), [mean, low, high]


def _half_width(answer: Any, seeds: int, low: float, high: float) -> str:
    """Whether the half-width, in standard deviations of the differences, is in a range."""
    wrong, numbers = _ends(answer, seeds)
    if wrong:
        return wrong
    sd = metrics.interval(_GAPS[:seeds]).sd
    what = f"the half-width of {seeds} seeds, in standard deviations of a − b,"
    return within((numbers[2] - numbers[1]) / 2 / sd, low, high, what=what)


def _mean(answer: Any) -> str:
    wrong, numbers = _ends(answer, 5)
    return wrong or equal(numbers[0], sum(_GAPS[:5]) / 5, what="your mean")


def _paired(answer: Any) -> str:
    shifted = [b + 0.04 for b in _CONTROL[:5]]
    found = call(answer, shifted, list(_CONTROL[:5]))
    what = "with a gain of 0.04 in every one of five seeds, your result"
    return equal(found, (0.04, 0.04, 0.04), what=what, atol=1e-4)


def _root(answer: Any) -> str:
    return _half_width(answer, 10, 0.5, 1.0)


def _student(answer: Any) -> str:
    return _half_width(answer, 3, 1.95, 3.5)


def _sample(answer: Any) -> str:
    for seeds in (2, 3, 5, 10):
        wrong, numbers = _ends(answer, seeds)
        if wrong:
            return wrong
        right = metrics.paired_difference(_ARM[:seeds], _CONTROL[:seeds]).difference
        ends = right.mean, right.low, right.high
        if wrong := equal(numbers, ends, what=f"of {seeds} seeds, yours", atol=5e-4):
            return wrong
    return ""


def _square(answer: Any) -> str:
    ratio = call(answer, 0.357, 0.01) / call(answer, 0.357, 0.02)
    return within(ratio, 3.9, 4.1, what="seeds for half the half-width, over those for the whole,")


def _errors(answer: Any) -> str:
    found = call(answer, 0.357, 0.01)
    return within(found, 5090, 5110, what="for sd 0.357 and a half-width of 0.01 yours")


def _whole(answer: Any) -> str:
    for sd, half_width, seeds in ((0.05, 0.0099, 103), (0.0361, 0.01, 53), (0.07, 0.031, 21)):
        what = f"for sd {sd:g} and a half-width of {half_width:g} yours"
        if wrong := equal(call(answer, sd, half_width), seeds, what=what):
            return wrong
    return ""


def _two(answer: Any) -> str:
    what = "for sd 0.001 and a half-width of 0.05 yours"
    return equal(call(answer, 0.001, 0.05), 2, what=what)


def _frames(*rows: str) -> Tensor:
    """Frames of one row each, bool (B, 1, W), "#" where it is True."""
    return torch.tensor([[[cell == "#" for cell in row]] for row in rows])


def _score(answer: Any, predicted: Tensor, masks: Tensor) -> str:
    right = metrics.frame_iou(predicted, masks).mean()
    return equal(call(answer, predicted, masks), right)


def _by_frame(answer: Any) -> str:
    masks = torch.rand(6, 12, 16) > torch.linspace(0.2, 0.98, 6)[:, None, None]
    masks[:, 0, 0] = True
    predicted = masks.roll(1, 2)
    predicted[0] = ~masks[0]
    return _score(answer, predicted, masks)


def _empty(answer: Any) -> str:
    return _score(answer, _frames("##..", "....", "...."), _frames("##..", "....", "...."))


def _every(answer: Any) -> str:
    return _score(answer, _frames("##..", "....", "...."), _frames("#...", "....", "...."))


def _alarm(answer: Any) -> str:
    return _score(answer, _frames("##..", "...#", "...."), _frames("##..", "....", "...."))


EXERCISES = (
    Exercise(
        name="repro.paired",
        label="ex-repro-paired",
        expects="a function of two lists, a number a seed each, that returns mean, low and high",
        cases=(
            Case(
                "a-less-b",
                "It gives three numbers: the mean of a − b, the lower and the upper end",
                "The sign of a difference is a matter of taste",
                (
                    "A gain of the first arm over the second is positive. What is yours?",
                    "Return (mean, low, high), where mean is that of a minus b, seed by seed.",
                ),
                _mean,
            ),
            Case(
                "paired",
                "Seeds are compared one by one: a gain that is the same in all has no spread",
                "Two arms are two samples, and which seed is which does not matter",
                (
                    "Some seeds are hard for both arms. Does your interval know it?",
                    "Take the differences first, and only then a standard deviation.",
                    "One list of n differences a[i] − b[i]: nothing else enters the interval.",
                ),
                _paired,
            ),
            Case(
                "of-the-mean",
                "The interval is that of the mean, and shrinks with more seeds",
                "The standard deviation of the seeds says how sure the mean is",
                (
                    "How far does a single seed scatter, and how far the mean of many?",
                    "The mean of n values scatters less, by the root of n.",
                    "The half-width is t · s / √n.",
                ),
                _root,
            ),
            Case(
                "student",
                "Few seeds make a wider interval than a normal distribution says",
                "A 95% interval is always the mean ± 1.96 standard errors",
                (
                    "With three seeds, how well do you know the standard deviation itself?",
                    "Student's t takes the place of 1.96; it is more than twice that at n = 3.",
                    "Take T[n], for n seeds: it belongs to n − 1 degrees of freedom.",
                ),
                _student,
            ),
            Case(
                "sample-sd",
                "The ends are right to three digits",
                "A standard deviation divides by n",
                (
                    "You are close. Which standard deviation do you take?",
                    "The mean is estimated from the same values: divide by n − 1.",
                    "NumPy divides by n unless you say ddof=1; PyTorch divides by n − 1.",
                ),
                _sample,
            ),
        ),
    ),
    Exercise(
        name="repro.power",
        label="ex-repro-power",
        expects="a function of a standard deviation and a half-width that returns how many seeds",
        cases=(
            Case(
                "root",
                "Half the half-width takes four times the seeds",
                "Twice the seeds, half the interval",
                (
                    "Solve 2 · s / √n = half-width for n.",
                    "The root goes away with a square: of everything on the other side.",
                ),
                _square,
            ),
            Case(
                "two-errors",
                "The half-width is two standard errors",
                "± one standard error is the interval",
                (
                    "How many standard errors does a 95% interval reach to each side?",
                    "t is close to 2; and the half-width is from the mean to one end.",
                    "n is at least (2 · sd / half_width)².",
                ),
                _errors,
            ),
            Case(
                "rounded-up",
                "The number of seeds is whole, and the interval never wider than asked for",
                "The number of seeds may be rounded to the nearest",
                (
                    "With your number of seeds, is the interval narrow enough?",
                    "Round up, also from 0.1: math.ceil.",
                ),
                _whole,
            ),
            Case(
                "a-spread",
                "It never says one seed",
                "If the spread is small, one run will do",
                (
                    "What standard deviation do you measure with one seed?",
                    "A spread needs two seeds: take max(2, …).",
                ),
                _two,
            ),
        ),
    ),
    Exercise(
        name="repro.protocol",
        label="ex-repro-protocol",
        expects="a function of predicted and true masks (B, H, W) that returns one number",
        cases=(
            Case(
                "frame-by-frame",
                "It is the mean of the frames' IoU: a small object counts as much as a large one",
                "Pool the pixels of all frames, then divide once",
                (
                    "Is a frame with a small object worth less than one with a large object?",
                    "Sum over rows and columns, not over frames; divide; then take the mean.",
                ),
                _by_frame,
            ),
            Case(
                "empty-is-right",
                "A frame without object counts 1 when nothing is predicted",
                "0 of 0 pixels is an IoU of 0, as soon as the division is made safe",
                (
                    "What is your IoU of two empty masks?",
                    "Where the union is empty the prediction is perfect: put 1 there.",
                ),
                _empty,
            ),
            Case(
                "every-frame",
                "Frames without object belong to the mean",
                "Frames without object say nothing, so that every protocol leaves them out",
                (
                    "By how many frames do you divide?",
                    "The authors average over all frames of both cameras, empty ones included.",
                ),
                _every,
            ),
            Case(
                "false-alarm",
                "A frame without object counts 0 as soon as one pixel is predicted",
                "A frame without object is always right",
                (
                    "What do you give to a false alarm on an empty belt?",
                    "1 is for frames where prediction and truth are both empty: an empty union.",
                ),
                _alarm,
            ),
        ),
    ),
)
