"""Typical mistakes in the exercises of the chapter on pseudo-labels."""

import cv2
import numpy as np
import torch


def components(stands_out, connectivity=8):
    count, names = cv2.connectedComponents(stands_out.byte().numpy(), connectivity=connectivity)
    return [torch.from_numpy(names == one) for one in range(count)]


def kept(objects, scores, decide):
    found = torch.zeros_like(scores, dtype=torch.bool)
    for inside in objects:
        found |= inside & decide(scores[inside])
    return found


def by_pixel(stands_out, scores, level):
    return stands_out & (scores >= level)


def one_mean(stands_out, scores, level):
    return stands_out & (scores[stands_out].mean() >= level)


def hot_spot(stands_out, scores, level):
    return kept(components(stands_out)[1:], scores, lambda s: s.max() >= level)


def with_belt(stands_out, scores, level):
    return kept(components(stands_out), scores, lambda s: s.mean() >= level)


def four_neighbours(stands_out, scores, level):
    return kept(components(stands_out, 4)[1:], scores, lambda s: s.mean() >= level)


def no_band(scores, low, high):
    return (scores >= high).long()


def strict(scores, low, high):
    labels = torch.full(scores.shape, 255)
    labels[scores <= low] = 0
    labels[scores > high] = 1
    return labels


def floats(scores, low, high):
    labels = torch.full(scores.shape, 255.0)
    labels[scores < low] = 0
    labels[scores >= high] = 1
    return labels


def steps(values, curves, amounts):
    pairs = zip(values, curves, strict=True)
    return [np.interp(v, np.maximum.accumulate(c), np.log2(amounts)) for v, c in pairs]


def linear(values, curves, amounts):
    pairs = zip(values, curves, strict=True)
    return np.mean([np.interp(v, np.maximum.accumulate(c), amounts) for v, c in pairs])


def as_measured(values, curves, amounts):
    pairs = zip(values, curves, strict=True)
    return 2 ** np.mean([np.interp(v, c, np.log2(amounts)) for v, c in pairs])


def extrapolated(values, curves, amounts):
    found = []
    for value, measured in zip(values, curves, strict=True):
        curve, x = np.maximum.accumulate(measured), np.log2(amounts)
        k = int(np.clip(np.searchsorted(curve, value), 1, len(curve) - 1))
        slope = (x[k] - x[k - 1]) / (curve[k] - curve[k - 1])
        found.append(x[k - 1] + slope * (value - curve[k - 1]))
    return 2 ** np.mean(found)


def arithmetic(values, curves, amounts):
    return np.mean([2**step for step in steps(values, curves, amounts)])


def averaged_first(values, curves, amounts):
    return 2 ** steps([np.mean(values)], [np.mean(curves, axis=0)], amounts)[0]


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "pseudo.objects": {
        "whole": by_pixel,
        "each-its-own": one_mean,
        "mean": hot_spot,
        "no-belt": with_belt,
        "corners": four_neighbours,
    },
    "pseudo.band": {"three-kinds": no_band, "edges": strict, "integers": floats},
    "pseudo.worth": {
        "log-axis": linear,
        "never-falls": as_measured,
        "ends": extrapolated,
        "geometric": arithmetic,
        "own-curve": averaged_first,
    },
}
