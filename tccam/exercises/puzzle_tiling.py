"""Exercises of the chapter on tiles."""

from __future__ import annotations

from typing import Any

import torch

from tccam import puzzle
from tccam.exercises.core import Case, Exercise, call, equal

__all__ = ["EXERCISES"]


def _four(answer: Any) -> str:
    images = torch.rand(1, 3, 8, 12)
    return equal(call(answer, images, 4), puzzle.tile(images, 4))


def _batch(answer: Any) -> str:
    images = torch.rand(3, 2, 8, 12)
    return equal(call(answer, images, 4), puzzle.tile(images, 4))


def _more(answer: Any) -> str:
    images = torch.rand(2, 3, 12, 24)
    for pieces in (1, 9, 16):
        found = call(answer, images, pieces)
        if wrong := equal(found, puzzle.tile(images, pieces), what=f"of {pieces} pieces, yours"):
            return wrong
    return ""


def _gradient(answer: Any) -> str:
    images = torch.rand(1, 1, 4, 4, requires_grad=True)
    tiles = call(answer, images, 4)
    return "" if tiles.requires_grad else "your tiles do not carry a gradient"


EXERCISES = (
    Exercise(
        name="puzzle.tile",
        label="ex-puzzle-tile",
        expects="a function of images (B, C, H, W) and pieces that returns their tiles",
        cases=(
            Case(
                "row-major",
                "Tiles are numbered row by row",
                "The order of the tiles is a matter of taste",
                (
                    "Which tile is number 1 of four: the one on the right, or the one below?",
                    "Cut into rows first, and each row into columns: row · √pieces + column.",
                    'Permute to (row, column, B, C, h, w): "row" is the outer one of the two.',
                ),
                _four,
            ),
            Case(
                "tile-major",
                "The batch holds tile 0 of all pictures, then tile 1 of all pictures",
                "A batch may come picture by picture, since the shape is the same",
                (
                    "Try it with two pictures that you can tell apart.",
                    "In which order do flatten or cat put tiles and pictures?",
                    "Bring row and column in front of B before you flatten the three.",
                ),
                _batch,
            ),
            Case(
                "any-square",
                "It cuts into any square number of pieces",
                "There are always two rows and two columns",
                (
                    "Where does your code say 2?",
                    "math.isqrt(pieces) is the number of rows and of columns.",
                ),
                _more,
            ),
            Case(
                "differentiable",
                "The gradient passes through",
                "Cutting is no arithmetic, so it may leave the graph",
                (
                    "The spatial loss trains the network through these tiles.",
                    "Leave out detach, numpy and no_grad: views and cat keep the graph.",
                ),
                _gradient,
            ),
        ),
    ),
)
