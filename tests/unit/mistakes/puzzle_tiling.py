"""Typical mistakes in the exercises of the chapter on tiles."""

import math

import torch
import torch.nn.functional as F

from tccam import puzzle


def four_rows(images, pieces):
    rows = images.chunk(pieces, 2)
    return torch.cat([tile for row in rows for tile in row.chunk(pieces, 3)])


def column_major(images, pieces):
    side = int(pieces**0.5)
    columns = images.chunk(side, 3)
    return torch.cat([tile for column in columns for tile in column.chunk(side, 2)])


def picture_by_picture(images, pieces):
    return torch.cat([puzzle.tile(image[None], pieces) for image in images])


def always_four(images, pieces):
    return puzzle.tile(images, 4)


def outside_the_graph(images, pieces):
    return puzzle.tile(images, pieces).detach()


def shown(maps, labels):
    return F.one_hot(labels, maps.shape[1])[:, :, None, None]


def a_loss_for_each_picture(maps, merged, labels):
    return (shown(maps, labels) * (maps - merged).abs()).mean((1, 2, 3))


def all_classes(maps, merged, labels):
    return F.l1_loss(maps, merged)


def squared(maps, merged, labels):
    return (shown(maps, labels) * (maps - merged) ** 2).mean()


def normalised(maps, merged, labels):
    return puzzle.spatial_loss(maps, merged, labels, level="normalized")


def over_what_is_compared(maps, merged, labels):
    return puzzle.spatial_loss(maps, merged, labels, reduction="present")


def a_teacher_that_stands_still(maps, merged, labels):
    return puzzle.spatial_loss(maps.detach(), merged, labels)


def rounded(height, width, unit, up=True):
    return tuple(-(-n // unit) * unit if up else n // unit * unit for n in (height, width))


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "puzzle.tile": {
        "shape": four_rows,
        "row-major": column_major,
        "tile-major": picture_by_picture,
        "any-square": always_four,
        "differentiable": outside_the_graph,
    },
    "puzzle.loss": {
        "one-number": a_loss_for_each_picture,
        "present-classes": all_classes,
        "absolute": squared,
        "raw": normalised,
        "all-cells": over_what_is_compared,
        "both-move": a_teacher_that_stands_still,
    },
    "puzzle.size": {
        "covers": lambda h, w, n, s: rounded(h, w, math.isqrt(n) * s, up=False),
        "tiles": lambda h, w, n, s: rounded(h, w, s),
        "cells": lambda h, w, n, s: rounded(h, w, math.isqrt(n)),
        "smallest": lambda h, w, n, s: rounded(h, w, n * s),
        "stays": lambda h, w, n, s: tuple((k // (u := math.isqrt(n) * s) + 1) * u for k in (h, w)),
    },
}
