"""Typical mistakes in the exercises of the chapter on neighbours at inference."""

import math
from collections import deque

from tccam import flow


def mean(centre, neighbours, flows, visible):
    moved, inside = flow.warp(neighbours, flows)
    q = inside & visible[:, None]
    return (centre + (moved * q).sum(0)) / (1 + q.sum(0))


def neighbours_alone(centre, neighbours, flows, visible):
    moved, inside = flow.warp(neighbours.relu(), flows)
    q = inside & visible[:, None]
    return (moved * q).sum(0) / q.sum(0).clamp_min(1)


def relu_last(centre, neighbours, flows, visible):
    return mean(centre, neighbours, flows, visible).relu()


def turned(centre, neighbours, flows, visible):
    return mean(centre.relu(), neighbours.relu(), -flows, visible)


def zeros_count(centre, neighbours, flows, visible):
    moved, inside = flow.warp(neighbours.relu(), flows)
    q = inside & visible[:, None]
    return (centre.relu() + (moved * q).sum(0)) / (1 + len(neighbours))


def inside_is_enough(centre, neighbours, flows, visible):
    return mean(centre.relu(), neighbours.relu(), flows, visible | True)


def full_windows_alone(frames, reach):
    near = deque(maxlen=2 * reach + 1)
    for frame in frames:
        near.append(frame)
        if len(near) == near.maxlen:
            yield list(near)


def past_alone(frames, reach):
    near = deque(maxlen=reach + 1)
    for frame in frames:
        near.append(frame)
        yield list(near)


def filled_up(frames, reach):
    every = list(frames)
    padded = [every[0]] * reach + every + [every[-1]] * reach
    return [padded[t : t + 2 * reach + 1] for t in range(len(every))]


def whole_clip(frames, reach):
    every = list(frames)
    for t in range(len(every)):
        yield every[max(0, t - reach) : t + reach + 1]


def growing_list(frames, reach):
    every = []
    for frame in frames:
        every.append(frame)
        t = len(every) - 1 - reach
        if t >= 0:
            yield every[max(0, t - reach) :]
    for t in range(max(0, len(every) - reach), len(every)):
        yield every[max(0, t - reach) :]


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "inference.mean": {
        "centre-counts": neighbours_alone,
        "relu-first": relu_last,
        "direction": turned,
        "valid-only": zeros_count,
        "hidden": inside_is_enough,
    },
    "inference.windows": {
        "every-frame": full_windows_alone,
        "both-sides": past_alone,
        "cut-off": filled_up,
        "no-longer-than-needed": whole_clip,
        "memory": growing_list,
    },
    "inference.far": {
        "whole-frames": lambda columns, cells: round((columns - 1) / abs(cells)),
        "between-centres": lambda columns, cells: int(columns / abs(cells)),
        "either-way": lambda columns, cells: math.floor((columns - 1) / cells),
    },
}
