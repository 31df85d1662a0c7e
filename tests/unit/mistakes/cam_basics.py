"""Typical mistakes in the exercises of the chapter on class activation maps."""

import torch

from tccam import cam


def one_class(features, weight):
    return cam.class_activation_map(features, weight)[:, 0]


def divided_twice(features, weight):
    return cam.class_activation_map(features, weight) / features[0, 0].numel()


def evidence_for(features, weight):
    return cam.class_activation_map(features, weight).relu()


def logit_everywhere(features, weight):
    logits = features.mean((2, 3)) @ weight.T
    return logits[:, :, None, None].expand(-1, -1, *features.shape[2:])


def other_less_one(features, weight, one, other):
    maps = cam.class_activation_map(features, weight)
    return maps[:, other] - maps[:, one]


def normalised_first(features, weight, one, other):
    maps = cam.normalize(cam.class_activation_map(features, weight))
    return maps[:, one] - maps[:, other]


def positive_first(features, weight, one, other):
    maps = cam.class_activation_map(features, weight).relu()
    return maps[:, one] - maps[:, other]


def from_minimum_to_maximum(maps):
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low)


def one_peak(maps):
    return maps.relu() / maps.relu().amax()


def zero_by_zero(maps):
    return maps.relu() / maps.relu().amax((-2, -1), keepdim=True)


def mended_afterwards(maps):
    peak = maps.amax((-2, -1), keepdim=True)
    return torch.where(peak > 0, maps.relu() / peak, 0.0)


def sum_of_both(predicted, mask):
    return (predicted & mask).sum() / (predicted.sum() + mask.sum())


def covered(predicted, mask):
    return (predicted & mask).sum() / mask.sum()


def agreement(predicted, mask):
    return (predicted == mask).float().mean()


def nothing_by_nothing(predicted, mask):
    return (predicted & mask).sum() / (predicted | mask).sum()


#: exercise → case → an answer that fails there, and not before.
MISTAKES = {
    "cam.map": {
        "every-class": one_class,
        "no-share": divided_twice,
        "evidence-against": evidence_for,
        "cell-by-cell": logit_everywhere,
    },
    "cam.contrast": {
        "direction": other_less_one,
        "same-units": normalised_first,
        "both-signs": positive_first,
    },
    "cam.normalize": {
        "zero-stays": from_minimum_to_maximum,
        "own-peak": one_peak,
        "absent": zero_by_zero,
        "gradient": mended_afterwards,
    },
    "cam.iou": {
        "once": sum_of_both,
        "too-much": covered,
        "nothing-there": agreement,
        "both-empty": nothing_by_nothing,
    },
}
