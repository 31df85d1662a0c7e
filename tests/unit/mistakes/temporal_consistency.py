"""Typical mistakes in the exercises of the chapter on temporal consistency."""

import torch
import torch.nn.functional as F

from tccam import cam, flow, temporal


def both_kept(maps, valids, mode):
    return torch.cat(maps)


def never_the_mean(maps, valids, mode):
    return temporal.fuse(maps, valids, "max")


def every_number_counts(maps, valids, mode):
    stacked = torch.stack(maps)
    return stacked.amax(0) if mode == "max" else stacked.mean(0)


def blind_ones_say_zero(maps, valids, mode):
    return every_number_counts([m * v for m, v in zip(maps, valids, strict=True)], valids, mode)


def somebody_sees_it(maps, valids, mode):
    maps, valids = torch.stack(maps), torch.stack(valids)
    if mode == "max":
        return maps.masked_fill(~valids, -torch.inf).amax(0)
    return (maps * valids).sum(0) / valids.sum(0)


def two_neighbours(maps, valids, mode):
    return temporal.fuse(maps[:2], valids[:2], mode)


def loss(
    centre,
    neighbour,
    field,
    labels,
    *,
    moved=True,
    scaled=True,
    masked=True,
    present=True,
    relu=True,
):
    """The term by hand, and what can be wrong with it."""
    neighbour = neighbour.relu() if relu else neighbour
    warped, valid = flow.warp(neighbour, field if moved else torch.zeros_like(field))
    sides = (cam.normalize(m) if scaled else m.relu() for m in (centre, warped))
    gap = (next(sides) - next(sides)).abs() * (valid if masked else 1)
    shown = F.one_hot(labels, centre.shape[1])[:, :, None, None] if present else 1
    return (gap * shown).mean()


def a_loss_for_each_picture(centre, neighbour, field, labels):
    pairs = zip(centre, neighbour, field, labels, strict=True)
    return torch.stack([loss(*(part[None] for part in parts)) for parts in pairs])


def over_what_is_compared(centre, neighbour, field, labels):
    return temporal.temporal_loss(centre, [neighbour], [field], labels, reduction="present")


def a_teacher_that_stands_still(centre, neighbour, field, labels):
    return loss(centre, neighbour.detach(), field, labels)


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "temporal.fuse": {
        "one-map": both_kept,
        "mode": never_the_mean,
        "left-out": every_number_counts,
        "divisor": blind_ones_say_zero,
        "nobody": somebody_sees_it,
        "any-number": two_neighbours,
    },
    "temporal.loss": {
        "one-number": a_loss_for_each_picture,
        "aligned": lambda *given: loss(*given, moved=False),
        "levels": lambda *given: loss(*given, scaled=False),
        "outside": lambda *given: loss(*given, masked=False),
        "present-classes": lambda *given: loss(*given, present=False),
        "all-cells": over_what_is_compared,
        "evidence": lambda *given: loss(*given, relu=False),
        "both-move": a_teacher_that_stands_still,
    },
    "temporal.window": {
        "inner-frames": lambda window, tiles: 1 + tiles,
        "shared": lambda window, tiles: 3 + tiles,
        "quarters": lambda window, tiles: window / (window - 2) + 4 * tiles,
        "centres": lambda window, tiles: (1 + tiles) * window / (window - 2),
    },
}
