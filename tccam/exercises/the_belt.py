"""Exercises of the chapter on the belt, its labels and its motion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tccam.exercises.core import Case, Exercise, call, equal

__all__ = ["EXERCISES"]


def _loaded(frames: int) -> Tensor:
    """Frames that an object fills to a quarter, bool (T, 8, 12)."""
    occupied = torch.zeros(frames, 8, 12, dtype=torch.bool)
    occupied[:, 2:6, 3:9] = True
    return occupied


def _one_a_frame(answer: Any) -> str:
    return equal(call(answer, _loaded(5), "before"), torch.zeros(5))


def _camera(answer: Any) -> str:
    found = call(answer, _loaded(5), "after")
    return equal(found, torch.ones(5), what="for the camera after, your result")


def _empty(answer: Any) -> str:
    occupied = _loaded(5)
    occupied[1:3] = False
    for camera, label in (("before", 0), ("after", 1)):
        expected = torch.tensor([label, 2, 2, label, label])
        what = f"for the camera {camera}, your result"
        if wrong := equal(call(answer, occupied, camera), expected, what=what):
            return wrong
    return ""


def _corner(answer: Any) -> str:
    occupied = torch.zeros(3, 40, 60, dtype=torch.bool)
    occupied[1, 39, 0] = True
    return equal(call(answer, occupied, "before"), torch.tensor([2, 0, 2]))


def _shares(answer: Any, labels: list[int], shown: list[bool], before: float, after: float) -> str:
    masks = torch.zeros(len(shown), 6, 9, dtype=torch.bool)
    masks[torch.tensor(shown), 4, 7] = True
    found = call(answer, torch.tensor(labels), masks)
    return equal(found, torch.tensor([before, after]), what="your pair of shares")


def _one_pixel(answer: Any) -> str:
    return _shares(answer, [0, 1, 0, 1], [True, False, True, False], 0.0, 0.0)


def _own_frames(answer: Any) -> str:
    shown = [True, False, True, True, False, False, False, False]
    return _shares(answer, [0, 0, 0, 0, 1, 1, 1, 1], shown, 0.25, 0.0)


def _both_cameras(answer: Any) -> str:
    shown = [True, False, True, True, True, False, True, True]
    return _shares(answer, [0, 0, 0, 0, 1, 1, 1, 1], shown, 0.25, 0.75)


def _background(answer: Any) -> str:
    shown = [True, False, False, False, True, False]
    return _shares(answer, [0, 0, 2, 2, 1, 1], shown, 0.5, 0.5)


def _visible(flow: Tensor, ids_now: Tensor, ids_then: Tensor) -> Tensor:
    height, width = ids_now.shape
    row = (torch.arange(height)[:, None] + flow[1]).round().long()
    column = (torch.arange(width) + flow[0]).round().long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    there = ids_then[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return inside & (there == ids_now)


def _uniform(right: float, down: float, height: int, width: int) -> Tensor:
    """The same flow everywhere, (2, H, W)."""
    return torch.tensor([right, down])[:, None, None].expand(2, height, width).clone()


def _see(answer: Any, flow: Tensor, ids_now: Tensor, ids_then: Tensor) -> str:
    return equal(call(answer, flow, ids_now, ids_then), _visible(flow, ids_now, ids_then))


def _inside(answer: Any) -> str:
    belt = torch.ones(7, 7, dtype=torch.long)
    return _see(answer, _uniform(2, 2, 7, 7), belt, belt) or _see(
        answer, _uniform(-2, -2, 7, 7), belt, belt
    )


def _u_is_right(answer: Any) -> str:
    belt = torch.ones(6, 9, dtype=torch.long)
    return _see(answer, _uniform(3, -1, 6, 9), belt, belt)


def _behind(answer: Any) -> str:
    now = torch.ones(6, 9, dtype=torch.long)
    then = now.clone()
    then[1:4, 2:6] = 5
    return _see(answer, _uniform(0, 0, 6, 9), now, then)


def _arrival(answer: Any) -> str:
    now = torch.ones(6, 12, dtype=torch.long)
    now[1:4, 2:5] = 5
    return _see(answer, _uniform(4, 1, 6, 12), now, now.roll((1, 4), (0, 1)))


def _nearest(answer: Any) -> str:
    now, then = torch.randint(0, 3, (2, 8, 11))
    flow = torch.rand(2, 8, 11) * 4 - 2
    halves = (flow.abs() % 1 - 0.5).abs() < 0.05  # nobody has to know how halves are rounded
    return _see(answer, flow + 0.2 * halves, now, then)


EXERCISES = (
    Exercise(
        name="belt.labels",
        label="ex-belt-labels",
        expects="a function of occupied (T, H, W) and camera that returns a label for each frame",
        cases=(
            Case(
                "one-a-frame",
                "A clip of T frames has T labels",
                "A label says for each pixel what it shows",
                (
                    "How much does a camera's name tell about a single pixel?",
                    "Ask of each frame whether any of its pixels shows an object: "
                    "flatten(1) makes one row of a frame.",
                ),
                _one_a_frame,
            ),
            Case(
                "camera",
                "The same pictures get another label if the other camera took them",
                "A label describes what is in the picture",
                (
                    "Which of your two arguments says before or after?",
                    "CLASSES.index(camera) is the label of each frame that is not empty.",
                ),
                _camera,
            ),
            Case(
                "empty",
                "A frame without any object is background, whichever camera took it",
                "An empty frame still has the name of its camera for a label",
                (
                    "There are three classes. When does the third one apply?",
                    "torch.where(not empty, the camera's index, the index of background).",
                ),
                _empty,
            ),
            Case(
                "corner",
                "An object counts from its first pixel on",
                "A frame has to show a good part of an object before it counts",
                (
                    "Try a frame in which an object has just reached a corner.",
                    "Ask whether any pixel is occupied, not how many are.",
                ),
                _corner,
            ),
        ),
    ),
    Exercise(
        name="belt.wrong-labels",
        label="ex-belt-wrong",
        expects="a function of labels (N,) and masks (N, H, W) that returns two shares",
        cases=(
            Case(
                "one-pixel",
                "One illegal pixel is enough for a frame of before to be right",
                "A label is right only if the illegal object is well in the picture",
                (
                    "Try frames whose masks have one pixel each. All of those before are right.",
                    "masks.flatten(1).any(1) says which frames show something illegal.",
                ),
                _one_pixel,
            ),
            Case(
                "own-frames",
                "The share is one of the frames with that label, not of all frames",
                "Errors of one class are divided by the size of the whole data set",
                (
                    "If every frame of before were wrong, which number should come out?",
                    "Divide by the number of frames with that label: (labels == 0).sum().",
                ),
                _own_frames,
            ),
            Case(
                "both-cameras",
                "A frame of after that shows something illegal is wrong too",
                "Only before can be wrong, since the sorter misses nothing",
                (
                    "What does the camera after see when the sorter overlooks a can?",
                    "Of the frames with label 1, take the share that shows something illegal.",
                ),
                _both_cameras,
            ),
            Case(
                "background",
                "Frames labelled background are neither right nor wrong here",
                "What is not after is before",
                (
                    "Three labels occur. How many of them do your two shares count?",
                    "Select with labels == 0 and labels == 1, never with labels != 1.",
                ),
                _background,
            ),
        ),
    ),
    Exercise(
        name="belt.visible",
        label="ex-belt-visible",
        expects="a function of flow (2, H, W), ids_now and ids_then that returns bool (H, W)",
        cases=(
            Case(
                "inside",
                "A point that leaves the picture is not visible, and nothing wraps around",
                "A point beyond the border is seen at the border",
                (
                    "Where is a point of the last column that moves to the right?",
                    "Test whether row and column lie in the picture before you look anything up.",
                    "Clamp the indices for the look-up, and combine it with the test by &.",
                ),
                _inside,
            ),
            Case(
                "u-is-right",
                "flow[0] points to the right and flow[1] down",
                "The first channel of a flow belongs to the first axis of a picture",
                (
                    "Which axis of a picture (H, W) does u move along?",
                    "row + flow[1], column + flow[0].",
                ),
                _u_is_right,
            ),
            Case(
                "behind",
                "A point is not visible where another object is in front of it",
                "What stays in the picture stays visible",
                (
                    "What is at the place where the point arrives?",
                    "A visible point is found under the same id in both frames.",
                ),
                _behind,
            ),
            Case(
                "arrival",
                "ids_then is read where the point arrives, ids_now where it started",
                "Two frames show a point at the same pixel",
                (
                    "Both id maps are pictures, each with a grid of its own. Which pixel of which?",
                    "Index ids_then with the moved rows and columns, and compare it to ids_now.",
                ),
                _arrival,
            ),
            Case(
                "nearest",
                "A point belongs to the nearest pixel",
                "Turning a number into an integer rounds it",
                (
                    "What does .long() make of 2.9, and of −0.9?",
                    "Round first: (row + flow[1]).round().long().",
                ),
                _nearest,
            ),
        ),
    ),
)
