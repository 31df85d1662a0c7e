"""Typical mistakes in the exercises of the chapter on optical flow."""

import torch
import torch.nn.functional as F

from tccam import flow


def warp(maps, field, *, sign=1, order=(0, 1), aligned=True, mode="bilinear", padding="zeros"):
    """The warp by hand, and what can be wrong with it."""
    h, w = maps.shape[-2:]
    x = torch.arange(w) + sign * field[:, order[0]]
    y = torch.arange(h)[:, None] + sign * field[:, order[1]]
    place = torch.stack((2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1), -1)
    valid = (place.abs() <= 1 + 1e-5).all(-1)[:, None]
    found = F.grid_sample(maps, place, mode, padding, align_corners=aligned)
    return (found * valid, valid) if padding == "zeros" else (found, torch.ones_like(valid))


def mask_without_a_channel(maps, field):
    fetched, valid = warp(maps, field)
    return fetched, valid[:, 0]


def resize(field, size, *, scaled=(1, 1), aligned=False):
    (h, w), (height, width) = size, field.shape[-2:]
    small = F.interpolate(field, size, mode="bilinear", align_corners=aligned)
    factors = torch.tensor([w / width, (w / width, h / height)[scaled[1]]])
    return small * factors[:, None, None] if scaled[0] else small


def check(there, back, *, warped=True, relative=0.01, inside=True):
    back, seen = flow.warp(back, there) if warped else (back, torch.ones_like(back[:, :1]) > 0)
    error = (there + back).square().sum(1)
    allowed = relative * (there.square().sum(1) + back.square().sum(1)) + 0.5
    return (error > allowed) | (~seen[:, 0] if inside else False)


def both_components(there, back):
    back, inside = flow.warp(back, there)
    return ((there + back).square() > 0.5) | ~inside


def side(share, ring=lambda n: 4 * n - 4, first=2, equal=False):
    lost = ((n, ring(n) / n**2) for n in range(first, 10_000))
    return next(n for n, part in lost if part < share or (equal and part == share))


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "flow.warp": {
        "shape": mask_without_a_channel,
        "still": lambda maps, field: warp(maps, field, aligned=False),
        "direction": lambda maps, field: warp(maps, field, sign=-1),
        "axes": lambda maps, field: warp(maps, field, order=(1, 0)),
        "between": lambda maps, field: warp(maps, field, mode="nearest"),
        "outside": lambda maps, field: warp(maps, field, padding="border"),
    },
    "flow.resize": {
        "shape": lambda field, size: resize(field, size[::-1]),
        "shorter": lambda field, size: resize(field, size, scaled=(0, 0)),
        "each-axis": lambda field, size: resize(field, size, scaled=(1, 0)),
        "centres": lambda field, size: resize(field, size, aligned=True),
    },
    "flow.check": {
        "mask": both_components,
        "arrival": lambda there, back: check(there, back, warped=False),
        "allowed": lambda there, back: check(there, back, relative=0),
        "leaves": lambda there, back: check(there, back, inside=False),
    },
    "flow.ring": {
        "single": lambda share: side(share, first=1),
        "sides": lambda share: side(share, ring=lambda n: 2 * n),
        "corners": lambda share: side(share, ring=lambda n: 4 * n),
        "less": lambda share: side(share, equal=True),
    },
}
