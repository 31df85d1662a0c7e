"""Exercises of the chapter on tiles."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tccam import puzzle
from tccam.exercises.core import Case, Exercise, call, equal, gradients

__all__ = ["EXERCISES"]


def _shape(answer: Any) -> str:
    images = torch.rand(2, 3, 8, 12)
    return equal(call(answer, images, 4), puzzle.tile(images, 4), atol=math.inf)


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
    return "" if getattr(tiles, "requires_grad", False) else "your tiles do not carry a gradient"


def _batch_of_maps() -> tuple[Tensor, Tensor, Tensor]:
    """Maps, maps of the tiles, labels. Every map has a cell at 0 and its peak, 1, in another."""
    maps, merged = torch.rand(2, 4, 3, 6, 8)
    for m in (maps, merged):
        m[..., 0, 0], m[..., 0, 1] = 0.0, 1.0
    return maps, merged, torch.tensor([0, 1, 2, 0])


def _one_number(answer: Any) -> str:
    return equal(call(answer, *_batch_of_maps()), 0.0, what="your loss", atol=math.inf)


def _present(answer: Any) -> str:
    maps, merged, labels = _batch_of_maps()
    for b, c in enumerate(labels):
        merged[b, c] = maps[b, c]
    return equal(call(answer, maps, merged, labels), 0.0, what="the loss of absent classes alone")


def _absolute(answer: Any) -> str:
    maps, _, labels = _batch_of_maps()
    maps[..., 2:4, 2:6] = 0.5
    away = torch.zeros_like(maps)
    away[..., 2:4, 2:6] = torch.tensor([0.25, -0.25, 0.25, -0.25])
    once, twice = (call(answer, maps, maps + k * away, labels) for k in (1, 2))
    if not once > 0:
        return "differences to both sides cancel each other"
    return equal(twice / once, 2.0, what="the loss over that of half the distance", atol=1e-2)


def _raw(answer: Any) -> str:
    maps, merged, labels = _batch_of_maps()
    ratio = call(answer, 3 * maps, 3 * merged, labels) / call(answer, maps, merged, labels)
    return equal(ratio, 3.0, what="the loss of maps three times as high", atol=1e-2)


def _all_cells(answer: Any) -> str:
    maps, merged = 4 * torch.randn(2, 4, 3, 6, 8)
    labels = torch.tensor([2, 0, 0, 1])
    right = puzzle.spatial_loss(maps, merged, labels)
    return equal(call(answer, maps, merged, labels), right, what="your loss", atol=1e-4)


def _both_move(answer: Any) -> str:
    maps, merged, labels = _batch_of_maps()
    sides = {"maps": maps.requires_grad_(), "merged": merged.requires_grad_()}
    return gradients(call(answer, *sides.values(), labels), sides)


def _covers(answer: Any) -> str:
    found = call(answer, 128, 160, 9, 4)
    if wrong := equal(found, (0, 0), what="your size", atol=math.inf):
        return wrong
    height, width = (float(n) for n in found)
    return "" if height >= 128 and width >= 160 else "a picture of 128×160 does not fit into it"


def _multiple(answer: Any, of: int) -> str:
    """Whether nine tiles at stride 4 have a size whose sides are multiples."""
    height, width = call(answer, 128, 160, 9, 4)
    return "" if height % of == 0 and width % of == 0 else f"{height}×{width} does not do that"


def _smallest(answer: Any) -> str:
    for given, right in {(128, 160, 9, 4): (132, 168), (100, 90, 16, 8): (128, 96)}.items():
        what = "for {}×{} pixels, {} tiles, stride {} your size".format(*given)
        if wrong := equal(call(answer, *given), right, what=what):
            return wrong
    return ""


def _stays(answer: Any) -> str:
    what = "for 128×160 pixels, 4 tiles, stride 4 your size"
    return equal(call(answer, 128, 160, 4, 4), (128, 160), what=what)


EXERCISES = (
    Exercise(
        name="puzzle.tile",
        label="ex-puzzle-tile",
        expects="a function of images (B, C, H, W) and pieces that returns their tiles",
        cases=(
            Case(
                "shape",
                "A tile has 1/√pieces of the height and of the width, and they all stand in a row",
                "Four pieces are four rows and four columns",
                (
                    "Draw it for four pieces: how many rows are there, and how many columns?",
                    "√pieces rows and as many columns, in a batch of pieces · B.",
                    "The shape is (pieces·B, C, H/√pieces, W/√pieces).",
                ),
                _shape,
            ),
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
    Exercise(
        name="puzzle.loss",
        label="ex-puzzle-loss",
        expects="a function of maps and merged, (B, C, h, w) each, and labels (B,)",
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
                "present-classes",
                "Only the map of the class that a picture carries is compared",
                "The maps of all classes should survive the cutting",
                (
                    "What does the label do in the equation?",
                    "The factor y is 1 for the class of the picture, and 0 for the others.",
                    "F.one_hot(labels, C)[:, :, None, None] times the difference.",
                ),
                _present,
            ),
            Case(
                "absolute",
                "Maps twice as far apart have twice the loss, to whichever side they err",
                "A difference is squared, as in regression",
                (
                    "What do the bars in the equation mean?",
                    "Neither squares, nor differences that cancel each other: absolute values.",
                ),
                _absolute,
            ),
            Case(
                "raw",
                "Raw maps are compared: three times the evidence, three times the loss",
                "Maps are brought to [0, 1] before anything compares them",
                (
                    "Which of the two levels did the authors choose?",
                    'Leave out the normalisation: level="raw".',
                ),
                _raw,
            ),
            Case(
                "all-cells",
                "The sum is divided by all cells of all maps",
                "A mean is taken over what is compared",
                (
                    "By what does the equation divide? Count the maps of absent classes.",
                    "B·C·h·w is `maps.numel()`: with three classes, three times what is compared.",
                ),
                _all_cells,
            ),
            Case(
                "both-move",
                "The gradient moves the maps of the tiles and those of the picture",
                "The whole picture is the teacher, and a teacher stands still",
                (
                    "Which of the two maps is right, while the network is young?",
                    "Nothing is detached: leave out detach, no_grad and numpy.",
                ),
                _both_move,
            ),
        ),
    ),
    Exercise(
        name="puzzle.size",
        label="ex-puzzle-nine",
        expects="a function of height, width, pieces and stride that returns (height, width)",
        cases=(
            Case(
                "covers",
                "The whole picture fits into the size, height first",
                "A few rows at the border can be cut off",
                (
                    "Is your size at least that of the picture, along both axes?",
                    "Round up: -(-height // unit) * unit.",
                ),
                _covers,
            ),
            Case(
                "tiles",
                "Both sides can be cut into √pieces equal parts",
                "What suits the stride suits the tiles",
                (
                    "How many rows of tiles are there?",
                    "Nine tiles are three rows: 128 is no multiple of three.",
                ),
                lambda answer: _multiple(answer, 3),
            ),
            Case(
                "cells",
                "The sides of each tile are multiples of the stride",
                "Whatever can be cut into equal tiles keeps its cells",
                (
                    "At which pixel does the second tile start? Does a cell look there?",
                    "It is the side of a tile that counts, not that of the picture.",
                    "Both sides have to be multiples of √pieces · stride.",
                ),
                lambda answer: _multiple(answer, 12),
            ),
            Case(
                "smallest",
                "No smaller size does",
                "Nine tiles need a multiple of nine",
                (
                    "Is there a smaller one? Count the tiles along one axis.",
                    "The unit is math.isqrt(pieces) * stride, not pieces * stride.",
                ),
                _smallest,
            ),
            Case(
                "stays",
                "A size that fits stays as it is",
                "Rounding up is dividing, cutting off and adding one",
                (
                    "What does your function do to a multiple?",
                    "-(-height // unit) rounds up; height // unit + 1 goes one too far.",
                ),
                _stays,
            ),
        ),
    ),
)
