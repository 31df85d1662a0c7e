"""Typical mistakes in the exercises of the chapter on the belt."""

import torch

from tccam.data import CLASSES


def labels_of_pixels(occupied, camera):
    return torch.where(occupied, CLASSES.index(camera), 2)


def always_before(occupied, camera):
    return torch.where(occupied.flatten(1).any(1), 0, 2)


def name_of_the_camera(occupied, camera):
    return torch.full((len(occupied),), CLASSES.index(camera))


def well_in_the_picture(occupied, camera):
    full = occupied.flatten(1).float().mean(1) > 0.01
    return torch.where(full, CLASSES.index(camera), 2)


def half_a_frame(labels, masks):
    shown = masks.flatten(1).float().mean(1) > 0.5
    return (~shown)[labels == 0].float().mean(), shown[labels == 1].float().mean()


def of_all_frames(labels, masks):
    shown = masks.flatten(1).any(1)
    wrong = (labels == 0) & ~shown, (labels == 1) & shown
    return wrong[0].float().mean(), wrong[1].float().mean()


def perfect_sorter(labels, masks):
    shown = masks.flatten(1).any(1)
    return (~shown)[labels == 0].float().mean(), 0.0


def two_classes(labels, masks):
    shown = masks.flatten(1).any(1)
    return (~shown)[labels != 1].float().mean(), shown[labels == 1].float().mean()


def places(flow, truncate=False):
    """Where the points arrive, and which of them are in the picture."""
    height, width = flow.shape[1:]
    row = torch.arange(height)[:, None] + flow[1]
    column = torch.arange(width) + flow[0]
    if not truncate:
        row, column = row.round(), column.round()
    row, column = row.long(), column.long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return row.clamp(0, height - 1), column.clamp(0, width - 1), inside


def seen_at_the_border(flow, ids_now, ids_then):
    row, column, _ = places(flow)
    return ids_then[row, column] == ids_now


def down_comes_first(flow, ids_now, ids_then):
    row, column, inside = places(flow.flip(0))
    return inside & (ids_then[row, column] == ids_now)


def in_the_picture(flow, ids_now, ids_then):
    return places(flow)[2]


def same_pixel(flow, ids_now, ids_then):
    return places(flow)[2] & (ids_then == ids_now)


def truncated(flow, ids_now, ids_then):
    row, column, inside = places(flow, truncate=True)
    return inside & (ids_then[row, column] == ids_now)


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "belt.labels": {
        "one-a-frame": labels_of_pixels,
        "camera": always_before,
        "empty": name_of_the_camera,
        "corner": well_in_the_picture,
    },
    "belt.wrong-labels": {
        "one-pixel": half_a_frame,
        "own-frames": of_all_frames,
        "both-cameras": perfect_sorter,
        "background": two_classes,
    },
    "belt.visible": {
        "inside": seen_at_the_border,
        "u-is-right": down_comes_first,
        "behind": in_the_picture,
        "arrival": same_pixel,
        "nearest": truncated,
    },
}
