"""Typical mistakes in the exercises of the chapter on reproduction."""

import math

import numpy as np
import torch

from tccam import metrics

T = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262}


def around(mean, half):
    return mean, mean - half, mean + half


def swapped(a, b):
    gaps = np.subtract(b, a)
    return around(gaps.mean(), T[len(a)] * gaps.std(ddof=1) / len(a) ** 0.5)


def two_samples(a, b):
    error = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / len(a))
    return around(np.mean(a) - np.mean(b), T[len(a)] * error)


def of_one_seed(a, b):
    gaps = np.subtract(a, b)
    return around(gaps.mean(), T[len(a)] * gaps.std(ddof=1))


def normal(a, b):
    gaps = np.subtract(a, b)
    return around(gaps.mean(), 1.96 * gaps.std(ddof=1) / len(a) ** 0.5)


def divided_by_n(a, b):
    gaps = np.subtract(a, b)
    return around(gaps.mean(), T[len(a)] * gaps.std() / len(a) ** 0.5)


def pooled(predicted, masks):
    return (predicted & masks).sum() / (predicted | masks).sum().clamp_min(1)


def made_safe(predicted, masks):
    either = (predicted | masks).sum((1, 2))
    return ((predicted & masks).sum((1, 2)) / (either + 1e-9)).mean()


def of_objects_alone(predicted, masks):
    shown = masks.flatten(1).any(1)
    return metrics.frame_iou(predicted, masks)[shown].mean()


def always_right_when_empty(predicted, masks):
    shown = masks.flatten(1).any(1)
    return torch.where(shown, metrics.frame_iou(predicted, masks), 1.0).mean()


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "repro.paired": {
        "a-less-b": swapped,
        "paired": two_samples,
        "of-the-mean": of_one_seed,
        "student": normal,
        "sample-sd": divided_by_n,
    },
    "repro.power": {
        "root": lambda sd, half: math.ceil(2 * sd / half),
        "two-errors": lambda sd, half: max(2, math.ceil((sd / half) ** 2)),
        "rounded-up": lambda sd, half: max(2, round((2 * sd / half) ** 2)),
        "a-spread": lambda sd, half: math.ceil((2 * sd / half) ** 2),
    },
    "repro.protocol": {
        "frame-by-frame": pooled,
        "empty-is-right": made_safe,
        "every-frame": of_objects_alone,
        "false-alarm": always_right_when_empty,
    },
}
