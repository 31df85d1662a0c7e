"""Typical mistakes in the exercises of the chapter on stress tests."""

import math

import torch


def chord(degrees):
    return 2 * abs(math.sin(math.radians(degrees) / 2))


def there_and_back(offset, degrees):
    return (2 - 2 * math.cos(math.radians(degrees))) * math.hypot(*offset)


def other_grid(offset, step, degrees):
    return math.hypot(*step) + there_and_back(offset, degrees)


def no_loss_in_turning(offset, step, degrees):
    return chord(degrees) * math.hypot(*step)


def centre_is_right(offset, step, degrees):
    return there_and_back(offset, degrees)


def arc(offset, step, degrees):
    at_rest = there_and_back(offset, degrees)
    return at_rest + math.radians(degrees) * math.hypot(*step)


def lengths_add(offset, step, degrees):
    return there_and_back(offset, degrees) + chord(degrees) * math.hypot(*step)


def longer_than_a_pass(length, speed):
    return math.ceil(length / speed) + 1


def half_is_enough(length, speed):
    return 2 * math.ceil(length / speed)


def rounded_down(length, speed):
    return 2 * int(length / speed) + 1


def long_is_enough(length, speed):
    return 2 * math.ceil(length / max(speed, 0.01)) + 1


def brightness(frame, background, strips):
    return background * frame.mean((1, 2), keepdim=True) / background.mean((1, 2), keepdim=True)


def votes(frame, background):
    fair = (background >= 16) & (background < 240) & (frame < 255)
    return torch.where(fair, frame / background, torch.nan)


def grey(frame, background, strips):
    return background * votes(frame, background).nanmedian()


def all_vote(frame, background, strips):
    return background * (frame / background).flatten(1).median(1).values[:, None, None]


def one_lamp(frame, background, strips):
    return background * votes(frame, background).flatten(1).nanmedian(1).values[:, None, None]


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "stress.negated": {
        "even-motion": other_grid,
        "turns-in-place": no_loss_in_turning,
        "centre": centre_is_right,
        "large-angle": arc,
        "vectors-add": lengths_add,
    },
    "stress.window": {
        "twice-a-pass": longer_than_a_pass,
        "strict-majority": half_is_enough,
        "part-of-a-frame": rounded_down,
        "never-leaves": long_is_enough,
    },
    "stress.relight": {
        "robust": brightness,
        "each-channel": grey,
        "honest-pixels": all_vote,
        "each-lamp": one_lamp,
    },
}
