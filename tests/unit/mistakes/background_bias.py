"""Typical mistakes in the exercises of the chapter on background bias."""

import torch


def one_level(frames):
    return torch.full(frames.shape[1:], float(frames.float().median()))


def mean(frames):
    return frames.float().mean(0)


def lower_middle(frames):
    return frames.median(0).values


def sum_of_bytes(frames):
    ordered = frames.sort(0).values
    return (ordered[(len(frames) - 1) // 2] + ordered[len(frames) // 2]) / 2


def trap(frames, background, offset):
    return frames.float() / (background + offset) - 1


def subtracted(frames, background, offset):
    return (frames.float() - background) / 255


def without_sign(frames, background, offset):
    return (frames.float() - background).abs() / (background + offset)


def without_offset(frames, background, offset):
    return (frames.float() - background) / background


def one_factor(frames, own, other):
    return frames * (other.mean((1, 2)) / own.mean((1, 2)))[:, None, None]


def multiplied_back(frames, own, other):
    return other * (1 + (frames - own) / (own + 8))


def difference_kept(frames, own, other):
    return frames - own + other


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "bias.median": {
        "every-pixel": one_level,
        "ghost": mean,
        "two-middle": lower_middle,
        "wrap": sum_of_bytes,
    },
    "bias.divide": {
        "nothing": trap,
        "gain": subtracted,
        "darker": without_sign,
        "dark": without_offset,
    },
    "bias.swap": {
        "empty": one_factor,
        "same-camera": multiplied_back,
        "light": difference_kept,
    },
    "bias.offset": {
        "some-offset": 0,
        "five-percent": 8,
        "largest": 40 * 0.05 / 0.95,
    },
}
