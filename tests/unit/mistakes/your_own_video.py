"""Typical mistakes in the exercises of the chapter on your own video."""

import torch


def view(length, speed, fps, picture, shorter, stride):
    return length * shorter / min(picture) / stride, picture[1] / (speed / fps)


def area(length, speed, fps, picture, shorter, stride):
    cells, frames = view(length, speed, fps, picture, shorter, stride)
    return cells**2, frames


def not_resized(length, speed, fps, picture, shorter, stride):
    return length / stride, view(length, speed, fps, picture, shorter, stride)[1]


def seconds(length, speed, fps, picture, shorter, stride):
    return view(length, speed, 1, picture, shorter, stride)


def shrunk_width(length, speed, fps, picture, shorter, stride):
    cells, frames = view(length, speed, fps, picture, shorter, stride)
    return cells, frames * shorter / min(picture)


def landscape(length, speed, fps, picture, shorter, stride):
    return length * shorter / picture[0] / stride, picture[1] / (speed / fps)


def every_fourth(count, share, view):
    step = round(1 / share)
    return [k for k in range(count) if k % step], [k for k in range(count) if k % step == 0]


def validation_pays(count, share, view):
    cut = count - round(share * count)
    return range(cut), range(cut + view, count)


def no_gap(count, share, view):
    cut = count - round(share * count)
    return range(cut), range(cut, count)


def two_gaps(count, share, view):
    cut = count - round(share * count)
    return range(cut - 2 * view), range(cut, count)


def cut(scores, masks, thresholds):
    return scores[:, None] >= thresholds[:, None, None], masks[:, None]


def ious(predicted, masks):
    return (predicted & masks).sum((2, 3)) / (predicted | masks).sum((2, 3))


def place(scores, masks, thresholds):
    return ious(*cut(scores, masks, thresholds)).mean(0).argmax()


def right_pixels(scores, masks, thresholds):
    predicted, truth = cut(scores, masks, thresholds)
    return thresholds[(predicted == truth).float().mean((0, 2, 3)).argmax()]


def pooled(scores, masks, thresholds):
    predicted, truth = cut(scores, masks, thresholds)
    score = (predicted & truth).sum((0, 2, 3)) / (predicted | truth).sum((0, 2, 3))
    return thresholds[score.argmax()]


def passed(scores, masks, thresholds):
    score = ious(scores[:, None] > thresholds[:, None, None], masks[:, None]).mean(0)
    return thresholds[torch.argmax(score)]


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "own.view": {
        "cells-across": area,
        "resized-first": not_resized,
        "frames-not-seconds": seconds,
        "view-keeps": shrunk_width,
        "portrait": landscape,
    },
    "own.split": {
        "in-time": every_fourth,
        "last-share": validation_pays,
        "no-object-twice": no_gap,
        "no-waste": two_gaps,
    },
    "own.threshold": {
        "a-threshold": place,
        "overlap": right_pixels,
        "mean-of-frames": pooled,
        "at-least": passed,
    },
}
