"""Exercises of the chapter on neighbours at inference."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from tccam import temporal
from tccam.exercises.core import Case, Exercise, call, equal

__all__ = ["EXERCISES"]


def _window(answer: Any, maps: Tensor, flows: Tensor, visible: Tensor, interior: int = 0) -> str:
    """The answer against the library's, for maps (1 + N, C, h, w), the centre's first."""
    centre, neighbours = maps[0], maps[1:]
    found = call(answer, centre, neighbours, flows, visible)
    right = temporal.aggregate(
        centre[None],
        neighbours[:, None].unbind(),
        flows[:, None].unbind(),
        visible[:, None, None].unbind(),
    )[0]
    if wrong := equal(found, right, atol=math.inf):
        return wrong
    rows, columns = (slice(interior, side - interior) for side in right.shape[1:])
    found = torch.as_tensor(found)
    return equal(found[:, rows, columns], right[:, rows, columns], atol=1e-4)


def _field(*vectors: tuple[float, float], size: tuple[int, int] = (9, 12)) -> Tensor:
    """Flows (N, 2, h, w), each one vector (u, v) everywhere."""
    return torch.tensor(vectors)[:, :, None, None].expand(-1, 2, *size).clone()


def _everywhere(neighbours: int, size: tuple[int, int] = (9, 12)) -> Tensor:
    return torch.ones(neighbours, *size, dtype=torch.bool)


def _centre(answer: Any) -> str:
    return _window(answer, torch.rand(5, 3, 9, 12), _field(*[(0.0, 0.0)] * 4), _everywhere(4))


def _relu(answer: Any) -> str:
    return _window(answer, torch.randn(3, 2, 9, 12), _field(*[(0.0, 0.0)] * 2), _everywhere(2))


def _direction(answer: Any) -> str:
    flows = _field((-1.5, 0.5), (1.5, -0.5))
    return _window(answer, torch.randn(3, 2, 9, 12), flows, _everywhere(2), interior=2)


def _valid(answer: Any) -> str:
    flows = _field((-1.5, 0.5), (3.0, 0.0))
    return _window(answer, torch.randn(3, 2, 9, 12), flows, _everywhere(2))


def _hidden(answer: Any) -> str:
    flows = 3 * torch.randn(4, 2, 9, 12)
    return _window(answer, torch.randn(5, 2, 9, 12), flows, torch.rand(4, 9, 12) > 0.4)


class _Frame:
    """Something that can be watched: who keeps it keeps it alive."""


class _Camera:
    """A stream of frames that counts how many were read, and how many somebody keeps."""

    def __init__(self, frames: int) -> None:
        self.frames, self.read = frames, 0
        self.alive: weakref.WeakSet[_Frame] = weakref.WeakSet()

    def __iter__(self) -> Iterator[_Frame]:
        return self

    def __next__(self) -> _Frame:
        if self.read == self.frames:
            raise StopIteration
        self.read += 1
        frame = _Frame()
        self.alive.add(frame)
        return frame


def _windows(answer: Any, frames: int, reach: int) -> list[list[int]]:
    """All windows of a stream of numbers, 10 and on; a few more if there are too many."""
    stream = iter(range(10, 10 + frames))
    return [list(window) for window in islice(call(answer, stream, reach), frames + 3)]


def _expected(frames: int, reach: int) -> list[list[int]]:
    every = list(range(10, 10 + frames))
    return [every[max(0, t - reach) : t + reach + 1] for t in range(frames)]


def _compare(answer: Any, frames: int, reach: int, edges: bool) -> str:
    found, right = _windows(answer, frames, reach), _expected(frames, reach)
    for t, (window, wanted) in enumerate(zip(found, right, strict=True)):
        if window != wanted and (edges or len(wanted) == 2 * reach + 1):
            inside = [frame - 10 for frame in window if isinstance(frame, int)]
            return (
                f"of {frames} frames, numbered from 0, with a reach of {reach}, "
                f"the window of frame {t} holds {inside}"
            )
    return ""


def _every(answer: Any) -> str:
    for frames, reach in ((12, 2), (3, 1), (2, 3)):
        if (count := len(_windows(answer, frames, reach))) != frames:
            more = "or more " if count > frames + 2 else ""
            return f"{count} windows {more}of {frames} frames, with a reach of {reach}"
    return ""


def _both_sides(answer: Any) -> str:
    return _compare(answer, 12, 2, edges=False) or _compare(answer, 7, 1, edges=False)


def _cut_off(answer: Any) -> str:
    places = (12, 2), (3, 1), (2, 3), (5, 0)
    return next(filter(None, (_compare(answer, *place, edges=True) for place in places)), "")


def _delay(answer: Any) -> str:
    for reach in (0, 1, 3):
        camera = _Camera(60)
        for t, _ in enumerate(call(answer, camera, reach)):
            if camera.read > t + reach + 1:
                return (
                    f"with a reach of {reach}, frame {t} comes out when {camera.read} frames "
                    "have been read"
                )
    return ""


def _memory(answer: Any) -> str:
    for reach in (1, 3):
        camera, most = _Camera(60), 0
        for window in call(answer, camera, reach):
            del window
            most = max(most, len(camera.alive))
        if most > 2 * reach + 3:  # the window, one that comes, one that goes
            return f"with a reach of {reach}, {most} of 60 frames are kept at once"
    return ""


def _whole(answer: Any) -> str:
    what = "for 24 columns and 5 cells a frame yours"
    return equal(call(answer, 24, 5.0), 4, what=what)


def _centres(answer: Any) -> str:
    for columns, cells, right in ((25, 5.0, 4), (30, 1.875, 15), (31, 2.0, 15), (9, 10.0, 0)):
        what = f"for {columns} columns and {cells:g} cells a frame yours"
        if wrong := equal(call(answer, columns, cells), right, what=what):
            return wrong
    return ""


def _either_way(answer: Any) -> str:
    what = "for 24 columns and −5 cells a frame yours"
    return equal(call(answer, 24, -5.0), 4, what=what)


EXERCISES = (
    Exercise(
        name="inference.mean",
        label="ex-inference-mean",
        expects="a function of centre, neighbours, flows and visible that returns maps (C, h, w)",
        cases=(
            Case(
                "centre-counts",
                "Where nothing moves it is the mean of all maps, the frame's own among them",
                "The neighbours are asked instead of the frame",
                (
                    "How many maps have their say in a window of two neighbours?",
                    "The frame itself always counts: one more map, one more in the denominator.",
                ),
                _centre,
            ),
            Case(
                "relu-first",
                "Evidence below zero counts as none, in each map by itself",
                "It does not matter whether relu comes before the mean or after it",
                (
                    "One map says 2 and another −2. Is there evidence in this window or not?",
                    "The equation has relu inside the warp: clip every map before you add.",
                    "centre.relu() and neighbours.relu(), and nothing after the division.",
                ),
                _relu,
            ),
            Case(
                "direction",
                "Each neighbour is fetched from where the flow points",
                "The flow to a neighbour pushes its map there: so turn it around",
                (
                    "From which frame to which does the flow point, and where does the map lie?",
                    "A point at p of the centre is at p + flow(p) in the neighbour: look there.",
                    "flow.warp(neighbours, flows) takes the flow as it is, fractions included.",
                ),
                _direction,
            ),
            Case(
                "valid-only",
                "The mean is over the maps that see a cell, fewer at the border",
                "A neighbour that does not see a cell counts as a zero there",
                (
                    "How many maps see a cell at the border? By how many do you divide it?",
                    "The warp also tells where it read inside the neighbour's picture.",
                    "Divide by 1 + the number of valid neighbours, cell by cell.",
                ),
                _valid,
            ),
            Case(
                "hidden",
                "A cell that is hidden in a neighbour takes nothing from it",
                "What lies inside the picture can be seen there",
                (
                    "Which of your inputs do you not use yet?",
                    "q is 1 where the point is inside and visible: it belongs above and below.",
                    "q = inside & visible[:, None]; add warped · q, divide by 1 + the sum of q.",
                ),
                _hidden,
            ),
        ),
    ),
    Exercise(
        name="inference.windows",
        label="ex-inference-windows",
        expects="a function of a stream of frames and a reach that yields a window for each frame",
        cases=(
            Case(
                "every-frame",
                "Each frame has a window, the first and the last ones too",
                "A frame without all its neighbours has no window",
                (
                    "How many masks does a clip of twelve frames need?",
                    "At both ends a window is cut off, and comes out all the same.",
                    "When the stream has ended, the last `reach` frames still wait.",
                ),
                _every,
            ),
            Case(
                "both-sides",
                "A window holds `reach` frames before the frame and `reach` after it",
                "A window is made of the last frames that came",
                (
                    "Which frame is in the middle of your window?",
                    "Frame t comes out when frame t + reach has come in.",
                ),
                _both_sides,
            ),
            Case(
                "cut-off",
                "At the ends of a clip a window is shorter, and nothing is put in its place",
                "Missing neighbours are filled up with the first or the last frame",
                (
                    "Which frames do the first and the last window hold?",
                    "A frame that is counted twice has twice the say in the mean.",
                    "The window of frame 0 is frames 0 … reach, and no more.",
                ),
                _cut_off,
            ),
            Case(
                "no-longer-than-needed",
                "Frame t comes out as soon as frame t + reach has been read",
                "First read the clip, then look at it",
                (
                    "A camera does not end. When does your first window come out?",
                    "list(frames) and len(frames) read everything: take one frame at a time.",
                    "Yield inside the loop that reads, as soon as reach more frames are there.",
                ),
                _delay,
            ),
            Case(
                "memory",
                "Frames that no later window needs are let go",
                "What has been read may be kept: a clip is short",
                (
                    "How many frames does your function hold after an hour?",
                    "No window looks further back than `reach` frames.",
                    "collections.deque(maxlen=2 * reach + 1) drops the oldest by itself.",
                ),
                _memory,
            ),
        ),
    ),
    Exercise(
        name="inference.far",
        label="ex-inference-far",
        expects="a function of columns and cells a frame that returns the largest reach",
        cases=(
            Case(
                "whole-frames",
                "The reach is whole, and its last frame still shows something",
                "A reach may be rounded to the nearest frame",
                (
                    "One frame further: does it still show a column of frame t?",
                    "Round down.",
                ),
                _whole,
            ),
            Case(
                "between-centres",
                "The first and the last centre are one cell less apart than there are columns",
                "A map of w columns is w cells wide, from its first place to its last",
                (
                    "Three columns have centres at 0, 1 and 2. How far apart are the outer two?",
                    "A point may move by columns − 1 cells, and not further. So much is inside.",
                ),
                _centres,
            ),
            Case(
                "either-way",
                "It does not matter whether the belt runs to the right or to the left",
                "Motion is always to the right",
                (
                    "Try it with a belt that runs the other way.",
                    "Only the size of the motion counts: abs(cells).",
                ),
                _either_way,
            ),
        ),
    ),
)
