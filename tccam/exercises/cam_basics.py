"""Exercises of the chapter on class activation maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tccam import cam
from tccam.exercises.core import Case, Exercise, call, equal

__all__ = ["EXERCISES"]

_CLOSE = 1e-4  # sums in another order
_EPSILON = 1e-3  # what an epsilon in a denominator may cost


def _mean(maps: Any) -> Tensor:
    return torch.as_tensor(maps).mean((-2, -1))


def _every_class(answer: Any) -> str:
    found = torch.as_tensor(call(answer, torch.rand(2, 5, 3, 4), torch.rand(3, 5)))
    return equal(torch.zeros_like(found), torch.zeros(2, 3, 3, 4))  # of the shape alone


def _no_share(answer: Any) -> str:
    features, weight = torch.rand(2, 5, 3, 4), torch.rand(3, 5)
    logits = features.mean((2, 3)) @ weight.T
    what = "the mean of your maps"
    return equal(_mean(call(answer, features, weight)), logits, what=what, atol=_CLOSE)


def _evidence_against(answer: Any) -> str:
    features, weight = torch.rand(2, 5, 3, 4), torch.randn(3, 5)
    logits = features.mean((2, 3)) @ weight.T
    what = "with weights of both signs, the mean of your maps"
    return equal(_mean(call(answer, features, weight)), logits, what=what, atol=_CLOSE)


def _cell_by_cell(answer: Any) -> str:
    features, weight = torch.randn(3, 4, 3, 5), torch.randn(2, 4)
    expected = cam.class_activation_map(features, weight)
    return equal(call(answer, features, weight), expected, atol=_CLOSE)


def _direction(answer: Any) -> str:
    features = torch.rand(2, 5, 3, 4) + 0.1
    weight = torch.stack([-torch.rand(5) - 0.1, torch.zeros(5), torch.rand(5) + 0.1])
    found = torch.as_tensor(call(answer, features, weight, 2, 0))
    if found.shape != (2, 3, 4):
        return equal(found, torch.zeros(2, 3, 4))
    return "" if bool((found > 0).all()) else "your map is not positive where the first class leads"


def _contrast(answer: Any, features: Tensor, weight: Tensor) -> str:
    maps = cam.class_activation_map(features, weight)
    for one, other in ((0, 1), (2, 0)):
        found = call(answer, features, weight, one, other)
        if wrong := equal(found, maps[:, one] - maps[:, other], what="your map", atol=_CLOSE):
            return wrong
    return ""


def _same_units(answer: Any) -> str:
    weight = torch.rand(1, 5) * torch.tensor([[1.0], [3.0], [2.0]])
    return _contrast(answer, torch.rand(2, 5, 3, 4), weight)


def _both_signs(answer: Any) -> str:
    return _contrast(answer, torch.rand(2, 5, 3, 4), torch.randn(3, 5))


def _normalized(answer: Any, maps: Tensor) -> str:
    peak = maps.amax((-2, -1), keepdim=True)
    expected = torch.where(peak > 0, maps.relu() / peak.clamp_min(_EPSILON), 0)
    return equal(call(answer, maps), expected, what="your map", atol=_EPSILON)


def _zero_stays(answer: Any) -> str:
    return _normalized(answer, torch.tensor([[[[-3.0, 0.0, 1.0], [2.0, 4.0, -1.0]]]]))


def _own_peak(answer: Any) -> str:
    scale = torch.tensor([1.0, 5.0, 20.0, 2.0, 9.0, 3.0]).view(2, 3, 1, 1)
    return _normalized(answer, torch.randn(2, 3, 4, 5) * scale)


def _absent(answer: Any) -> str:
    maps = torch.randn(1, 3, 4, 5)
    maps[0, 1] = -torch.rand(4, 5) - 0.1
    maps[0, 2] = 0
    return _normalized(answer, maps)


def _gradient(answer: Any) -> str:
    maps = torch.randn(1, 2, 4, 5)
    maps[0, 1] = 0
    maps.requires_grad_()
    found = call(answer, maps)
    if not getattr(found, "requires_grad", False):
        return "your maps do not carry a gradient"
    (gradient,) = torch.autograd.grad(found.square().sum(), maps)
    finite = bool(gradient.isfinite().all())
    return "" if finite else "the gradient of your maps holds a number that is not finite"


def _overlap(answer: Any, predicted: Tensor, mask: Tensor, expected: float) -> str:
    return equal(call(answer, predicted, mask), expected, what="your IoU", atol=_CLOSE)


def _blocks() -> tuple[Tensor, Tensor]:
    """Two masks of a 10×10 picture: all of it, and 30 of its pixels."""
    part = torch.zeros(10, 10, dtype=torch.bool)
    part[2:7, 1:7] = True
    return torch.ones(10, 10, dtype=torch.bool), part


def _once(answer: Any) -> str:
    every, part = _blocks()
    return _overlap(answer, part, every, 0.3)


def _too_much(answer: Any) -> str:
    every, part = _blocks()
    return _overlap(answer, every, part, 0.3)


def _nothing_there(answer: Any) -> str:
    _, part = _blocks()
    return _overlap(answer, part.roll(2, 1), part, 20 / 40)


def _both_empty(answer: Any) -> str:
    _, part = _blocks()
    empty = torch.zeros_like(part)
    return _overlap(answer, part, empty, 0.0) or _overlap(answer, empty, empty, 1.0)


EXERCISES = (
    Exercise(
        name="cam.map",
        label="ex-cam-map",
        expects="a function of features (B, K, h, w) and weight (C, K) that returns their maps",
        cases=(
            Case(
                "every-class",
                "There is a map for every picture and every class",
                "A network has one map, that of the class it names",
                (
                    "How many rows has the weight, and how many of them does your map use?",
                    "The answer is (B, C, h, w): only K is summed over.",
                    "Bring features to (B, 1, K, h, w) and weight to (C, K, 1, 1), and sum over K.",
                ),
                _every_class,
            ),
            Case(
                "no-share",
                "The mean of a map is the logit",
                "The 1/hw of the pooling belongs to the map, as it does in the weights of Grad-CAM",
                (
                    "Compare the mean of your map with the logit. By what factor are they apart?",
                    "The pooling divides by the number of cells once. Has your map done so too?",
                    "Sum w·f over the channels, and divide by nothing.",
                ),
                _no_share,
            ),
            Case(
                "evidence-against",
                "Evidence against a class is part of its map",
                "A map shows evidence for a class, so that it cannot be negative",
                (
                    "A logit can be negative. Can the mean of your map?",
                    "The relu is for looking at a map. Leave it out here.",
                ),
                _evidence_against,
            ),
            Case(
                "cell-by-cell",
                "Each cell has its own evidence, in the features' own order",
                "Once the mean is right, the map is",
                (
                    "GAP forgets the place. Have you looked in front of it?",
                    "Weigh the features of each cell, before any mean: h and w stay as they are.",
                ),
                _cell_by_cell,
            ),
        ),
    ),
    Exercise(
        name="cam.contrast",
        label="ex-cam-contrast",
        expects="a function of features, weight, one and other that returns maps (B, h, w)",
        cases=(
            Case(
                "direction",
                "The map is positive where the first class leads",
                "A difference of two classes has no direction",
                (
                    "Which of the two logits is subtracted?",
                    "weight[one] − weight[other], in this order; one map for each picture.",
                ),
                _direction,
            ),
            Case(
                "same-units",
                "The two maps are compared in units of the logit",
                "Maps may be normalised first, since both then go from 0 to 1",
                (
                    "One class has three times the evidence of the other, everywhere. "
                    "What is left of that once both maps reach 1?",
                    "Subtract before anything is divided by a maximum.",
                    "The map is linear in the weights: take the map of their difference.",
                ),
                _same_units,
            ),
            Case(
                "both-signs",
                "Evidence against the second class counts for the first",
                "What is negative can be dropped before the maps are subtracted",
                (
                    "Is the mean of your map the difference of the two logits?",
                    "Leave the relu out: it is not linear, and the difference has to be.",
                ),
                _both_signs,
            ),
        ),
    ),
    Exercise(
        name="cam.normalize",
        label="ex-cam-normalize",
        expects="a function of maps (B, C, h, w) that returns them in 0 … 1",
        cases=(
            Case(
                "zero-stays",
                "No evidence stays 0, and evidence against becomes 0",
                "Normalising means that the minimum becomes 0 and the maximum 1",
                (
                    "What does a cell of value 0 say? What should it say afterwards?",
                    "Cut off what is negative (relu), then divide by the maximum.",
                ),
                _zero_stays,
            ),
            Case(
                "own-peak",
                "Every map of the batch has a peak of 1",
                "One maximum does for a whole batch, or for all classes of a picture",
                (
                    "Over which axes does your maximum go?",
                    "amax over the last two axes alone, with keepdim=True.",
                ),
                _own_peak,
            ),
            Case(
                "absent",
                "A map without any evidence for the class becomes 0 everywhere",
                "Every map has a positive maximum",
                (
                    "What is 0 divided by 0?",
                    "Keep the denominator away from 0, by a small number.",
                    "maps.relu().amax(…).clamp_min(1e-5) is a denominator that is never 0.",
                ),
                _absent,
            ),
            Case(
                "gradient",
                "The gradient is finite, also of a map that is 0 everywhere",
                "A NaN that torch.where replaces afterwards has done no harm",
                (
                    "A loss will be computed on these maps. Try backward on a map of zeros.",
                    "The gradient goes through the division even where its result is replaced.",
                    "Divide by something that is never 0, instead of mending what comes out.",
                ),
                _gradient,
            ),
        ),
    ),
    Exercise(
        name="cam.iou",
        label="ex-cam-iou",
        expects="a function of two masks, bool (H, W), that returns a number",
        cases=(
            Case(
                "once",
                "A pixel that both masks have counts once in the union",
                "The union is as large as the two masks together",
                (
                    "Can a union be larger than the picture?",
                    "Count the pixels of predicted | mask.",
                ),
                _once,
            ),
            Case(
                "too-much",
                "A mask that is too large loses",
                "A mask is good when it covers the object",
                (
                    "What does your function say of a mask that covers the whole picture?",
                    "Divide by the union, not by the pixels of the truth.",
                ),
                _too_much,
            ),
            Case(
                "nothing-there",
                "Pixels that neither mask has do not count",
                "Agreement about the empty belt is a success too",
                (
                    "Enlarge the picture by empty belt. Should the score change?",
                    "Count (predicted & mask) and (predicted | mask), nothing else.",
                ),
                _nothing_there,
            ),
            Case(
                "both-empty",
                "Two empty masks agree: their IoU is 1; one empty mask alone gives 0",
                "A frame without an object has no score, or a score of 0",
                (
                    "Most frames of a plant show nothing illegal. What is right there?",
                    "If the union is empty, return 1 before you divide.",
                ),
                _both_empty,
            ),
        ),
    ),
)
