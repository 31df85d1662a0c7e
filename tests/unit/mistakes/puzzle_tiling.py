"""Typical mistakes in the exercises of the chapter on tiles."""

import torch

from tccam import puzzle


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


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "puzzle.tile": {
        "row-major": column_major,
        "tile-major": picture_by_picture,
        "any-square": always_four,
        "differentiable": outside_the_graph,
    },
}
