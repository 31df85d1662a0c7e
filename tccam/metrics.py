"""How good is a map or a mask? The protocols by which this field scores them.

Conventions of every function here:

- Pictures come as (B, H, W): B frames that need not belong to one clip. Masks are boolean and
  True on the object. Scores and maps are float32 or float64, finite, larger on the object.
- A threshold t turns scores into the mask ``scores >= t``.
- What the input leaves undefined is NaN, and left out of averages over classes. Where the field
  has agreed on a number instead, for empty masks and boundaries, the function says so.
- A number about the whole data set is a Python float; a number per frame is a tensor (B,).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from tccam.errors import TccamError

__all__ = [
    "THRESHOLDS",
    "BestThreshold",
    "Counts",
    "Interval",
    "Paired",
    "PrecisionRecall",
    "accuracy",
    "argmax_mask",
    "best_threshold",
    "boundary_f",
    "confusion_matrix",
    "energy_outside",
    "frame_iou",
    "interval",
    "iou_curve",
    "iou_from_confusion",
    "max_box_acc",
    "mean_iou",
    "paired_difference",
    "precision_recall",
    "pxap",
    "temporal_iou",
]

#: Thresholds for maps in [0, 1]. A map has one peak and long flanks, so the best threshold is
#: often below 0.05: the grid is finer there.
THRESHOLDS = (0.001, 0.002, 0.003, 0.005, 0.007, *(percent / 100 for percent in range(1, 100)))


# --- Masks against masks


def frame_iou(predicted: Tensor, masks: Tensor, empty: float = 1.0) -> Tensor:
    """Intersection over union of each frame, ``|P ∩ M| / |P ∪ M|``.

    Its mean over frames is the score of the authors of the paper. With ``empty=1.0`` a frame
    without object counts 1 when nothing is predicted and 0 as soon as one pixel is, so a data set
    of mostly empty frames flatters whoever predicts little.

    Args:
        predicted: bool (B, H, W).
        masks: bool (B, H, W), the truth. Swapping the two changes nothing.
        empty: the IoU of a frame in which neither has a pixel; ``math.nan`` marks such frames.

    Returns:
        float (B,) in [0, 1].

    Raises:
        TccamError: if the two are not boolean pictures of one shape.

    Example:
        >>> masks = torch.tensor([[[True, True, False]], [[False, False, False]]])
        >>> frame_iou(masks.roll(1, dims=2), masks)
        tensor([0.3333, 1.0000])
    """
    _expect("predicted", predicted, "bool", "B", "H", "W")
    _expect("masks", masks, "bool", *predicted.shape)
    return _ratio((predicted & masks).sum((1, 2)), (predicted | masks).sum((1, 2)), empty)


def confusion_matrix(predicted: Tensor, masks: Tensor, num_classes: int = 2) -> Tensor:
    """Pixels of each true class (rows) that got each predicted class (columns).

    Matrices of parts of a data set add up to the matrix of the whole.

    Args:
        predicted: bool or integer, any shape; classes 0 … C−1. A bool counts as 0 or 1.
        masks: the truth, like ``predicted``.
        num_classes: C.

    Returns:
        int64 (C, C).

    Raises:
        TccamError: on other shapes or dtypes, or a class outside 0 … C−1.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]))
        tensor([[1, 1],
                [0, 2]])
    """
    _expect("predicted", predicted, "integer", "…")
    _expect("masks", masks, "integer", *predicted.shape)
    _expect_classes("predicted", predicted, num_classes)
    _expect_classes("masks", masks, num_classes)
    cells = masks.long() * num_classes + predicted
    return torch.bincount(cells.flatten(), minlength=num_classes**2).view(num_classes, -1)


def iou_from_confusion(matrix: Tensor) -> Tensor:
    """IoU of each class over a data set, ``TP / (TP + FP + FN)``.

    Args:
        matrix: integer (C, C) of :func:`confusion_matrix`.

    Returns:
        float (C,) in [0, 1]; NaN for a class that is neither true nor predicted anywhere.

    Raises:
        TccamError: if ``matrix`` is not a square of integers.

    Example:
        >>> iou_from_confusion(torch.tensor([[1, 1, 0], [0, 2, 0], [0, 0, 0]]))
        tensor([0.5000, 0.6667,    nan])
    """
    _expect("matrix", matrix, "integer", "C", "C")
    _expect("matrix", matrix, "integer", len(matrix), len(matrix))
    hits = matrix.diagonal()
    return _ratio(hits, matrix.sum(0) + matrix.sum(1) - hits, math.nan)


def mean_iou(predicted: Tensor, masks: Tensor, num_classes: int = 2) -> float:
    """Mean IoU (mIoU) over the pixels of a data set, of the classes that occur.

    The score of weakly supervised segmentation; with two classes they are *rest* and *illegal*.
    For a data set that does not fit in memory add up :func:`confusion_matrix` and take
    ``iou_from_confusion(total).nanmean()``, or join the :class:`Counts` of its parts.

    Args:
        predicted: bool or integer, any shape; classes 0 … C−1.
        masks: the truth, like ``predicted``.
        num_classes: C.

    Returns:
        The mean over the classes that are true or predicted anywhere, in [0, 1].

    Raises:
        TccamError: as :func:`confusion_matrix`.

    Example:
        >>> round(mean_iou(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1])), 4)
        0.5833
    """
    return float(iou_from_confusion(confusion_matrix(predicted, masks, num_classes)).nanmean())


def boundary_f(predicted: Tensor, masks: Tensor, tolerance: float = 0.008) -> Tensor:
    """F measure of the boundaries, ``2PR / (P + R)``: is the outline right, whatever the area?

    Precision P is the share of the predicted boundary within ``tolerance`` of the true one,
    recall R the share of the true boundary within ``tolerance`` of the predicted one. A pixel is
    on the boundary if its right, lower or lower right neighbour is on the other side; the
    picture's frame is no boundary. As in Perazzi et al., "A Benchmark Dataset and Evaluation
    Methodology for Video Object Segmentation", CVPR 2016 (DAVIS).

    Args:
        predicted: bool (B, H, W).
        masks: bool (B, H, W), the truth.
        tolerance: Euclidean distance as a share of the picture's diagonal, rounded up to whole
            pixels: 0.008 is 2 px at 128×128.

    Returns:
        float (B,) in [0, 1]; 1 if neither has a boundary, 0 if only one has.

    Raises:
        TccamError: on other shapes or dtypes, or a tolerance outside [0, 1).

    Example:
        >>> masks = torch.zeros(1, 32, 32, dtype=torch.bool)
        >>> masks[:, 8:24, 8:24] = True
        >>> shifted = masks.roll(1, dims=2)
        >>> boundary_f(shifted, masks), frame_iou(shifted, masks)
        (tensor([1.]), tensor([0.8824]))
    """
    _expect("predicted", predicted, "bool", "B", "H", "W")
    _expect("masks", masks, "bool", *predicted.shape)
    if not 0 <= tolerance < 1:
        raise TccamError(f"tolerance: expected a share of the diagonal in [0, 1), got {tolerance}")
    radius = math.ceil(tolerance * math.hypot(*masks.shape[1:]))
    drawn, true = _boundary(predicted), _boundary(masks)
    # An empty boundary makes no mistake and finds nothing: P = 1 or R = 1 there, as in DAVIS.
    precision = _ratio((drawn & _dilate(true, radius)).sum((1, 2)), drawn.sum((1, 2)), 1.0)
    recall = _ratio((true & _dilate(drawn, radius)).sum((1, 2)), true.sum((1, 2)), 1.0)
    return _ratio(2 * precision * recall, precision + recall, 0.0)


def temporal_iou(warped: Tensor, current: Tensor, visible: Tensor) -> Tensor:
    """IoU of a neighbour's mask, warped to this frame, and this frame's mask, where both see.

    It asks whether a method agrees with itself, not whether it is right: an empty mask is
    perfectly consistent. Read it beside :func:`frame_iou`.

    Args:
        warped: bool (B, H, W), the neighbour's mask on this frame's grid.
        current: bool (B, H, W), this frame's mask.
        visible: bool (B, H, W), pixels that the neighbour sees too: the warp's valid pixels
            without the occluded ones.

    Returns:
        float (B,) in [0, 1]; 1 where both are empty, NaN for a frame without a visible pixel.

    Raises:
        TccamError: if the three are not boolean pictures of one shape.

    Example:
        >>> current = torch.tensor([[[True, True, False]]])
        >>> temporal_iou(current.roll(1, dims=2), current, torch.tensor([[[False, True, True]]]))
        tensor([0.5000])
    """
    _expect("warped", warped, "bool", "B", "H", "W")
    _expect("current", current, "bool", *warped.shape)
    _expect("visible", visible, "bool", *warped.shape)
    agreement = frame_iou(warped & visible, current & visible)
    return agreement.masked_fill(~visible.any(2).any(1), math.nan)


# --- Maps against masks


def argmax_mask(maps: Tensor, target: int = 0) -> Tensor:
    """The mask of one class: the pixels where its map is above the map of every other class.

    The paper's mask. A tie goes to nobody, so that a pixel to which no class responds (all maps
    0) is not an object; a bare ``argmax(1) == 0`` would paint all of those, because the first
    index wins ties. (The authors' *before* has index 1, so their ties do not go to it either.)

    Args:
        maps: float (B, C, H, W), normalised per class so that classes compare, C ≥ 2.
        target: index of the class.

    Returns:
        bool (B, H, W).

    Raises:
        TccamError: on another shape or dtype, NaN, a single class, or no class ``target``.

    Example:
        >>> argmax_mask(torch.tensor([[[[0.0, 0.2, 0.9]], [[0.0, 0.7, 0.3]]]]))
        tensor([[[False, False,  True]]])
    """
    _expect("maps", maps, "float", "B", "C", "H", "W")
    classes = maps.shape[1]
    if classes < 2 or not 0 <= target < classes:
        raise TccamError(f"target: expected one of at least 2 classes, got {target} of {classes}")
    others = torch.cat((maps[:, :target], maps[:, target + 1 :]), dim=1)
    return maps[:, target] > others.amax(1)


@dataclass(frozen=True)
class Counts:
    """Pixels of each frame at every threshold: what scores against masks come down to.

    Counts of parts of a data set join to the counts of the whole, and give the very scores of the
    functions below. So a data set need not fit in memory: a frame leaves 2K + 2 numbers behind,
    1.7 KB at :data:`THRESHOLDS`.

    Attributes:
        thresholds: float64 (K,), ascending.
        hits: int64 (B, K), pixels with ``scores >= t`` that are object.
        predicted: int64 (B, K), pixels with ``scores >= t``.
        objects: int64 (B,), pixels that are object.
        pixels: int64 (B,), all pixels.

    Example:
        >>> scores = torch.tensor([[[0.1, 0.4, 0.9]], [[0.2, 0.5, 0.3]]])
        >>> masks = torch.tensor([[[False, True, True]], [[False, True, False]]])
        >>> parts = (Counts.of(scores[i : i + 1], masks[i : i + 1], [0.1, 0.4]) for i in range(2))
        >>> counts = Counts.join(parts)
        >>> counts.hits.tolist(), counts.predicted.tolist()
        ([[2, 2], [1, 1]], [[3, 2], [3, 1]])
        >>> counts.iou_curve(), iou_curve(scores, masks, [0.1, 0.4])
        (tensor([0.5000, 1.0000]), tensor([0.5000, 1.0000]))
    """

    thresholds: Tensor
    hits: Tensor
    predicted: Tensor
    objects: Tensor
    pixels: Tensor

    @classmethod
    def of(
        cls, scores: Tensor, masks: Tensor, thresholds: Sequence[float] | Tensor = THRESHOLDS
    ) -> Counts:
        """Count at all thresholds in one pass over the pixels, from one histogram of each frame.

        Args:
            scores: float (B, H, W).
            masks: bool (B, H, W).
            thresholds: K ascending values.

        Raises:
            TccamError: on other shapes or dtypes, NaN, or thresholds that do not ascend.
        """
        _expect_scores(scores, masks)
        levels = _ascending(thresholds)
        grid = levels.to(scores)
        bins = len(grid) + 1
        above = []
        for frame, mask in zip(scores, masks, strict=True):  # one frame's temporaries at a time
            passed = torch.bucketize(frame, grid, right=True)  # how many thresholds are ≤ the score
            table = torch.bincount((passed + bins * mask).flatten(), minlength=2 * bins)
            # Pixels that pass threshold k have passed more than k of them: a sum from the right.
            above.append(table.view(2, bins).flip(1).cumsum(1).flip(1))
        rest, hits = torch.stack(above).unbind(1)
        total = rest + hits
        return cls(levels, hits[:, 1:], total[:, 1:], hits[:, 0], total[:, 0])

    @classmethod
    def join(cls, parts: Iterable[Counts]) -> Counts:
        """The frames of all parts, one after the other.

        Args:
            parts: counts at the same thresholds, at least one.

        Raises:
            TccamError: if there is no part, or one has other thresholds than the first.
        """
        counts = list(parts)
        if not counts:
            raise TccamError("parts: expected at least one, got none")
        levels = counts[0].thresholds
        for part in counts:
            if not torch.equal(part.thresholds, levels):
                raise TccamError(
                    f"parts: expected the {len(levels)} thresholds of the first, got "
                    f"{len(part.thresholds)} others"
                )
        tables = zip(*((p.hits, p.predicted, p.objects, p.pixels) for p in counts), strict=True)
        return cls(levels, *map(torch.cat, tables))

    def at(self, thresholds: Sequence[float] | Tensor) -> Counts:
        """The counts at some of the thresholds.

        Args:
            thresholds: ascending values.

        Raises:
            TccamError: if they do not ascend, or one was not counted.
        """
        wanted = _ascending(thresholds)
        for strange in wanted[~torch.isin(wanted, self.thresholds)].tolist():
            raise TccamError(f"thresholds: expected some that were counted, got {strange}")
        columns = torch.searchsorted(self.thresholds, wanted).to(self.hits.device)
        return replace(
            self,
            thresholds=wanted,
            hits=self.hits[:, columns],
            predicted=self.predicted[:, columns],
        )

    def confusion(self) -> Tensor:
        """The :func:`confusion_matrix` over all frames at every threshold, int64 (K, 2, 2)."""
        hits, predicted = self.hits.sum(0), self.predicted.sum(0)
        objects, pixels = self.objects.sum(), self.pixels.sum()
        rest = torch.stack((pixels - predicted - objects + hits, predicted - hits), 1)
        return torch.stack((rest, torch.stack((objects - hits, hits), 1)), 1)

    def iou_curve(self, score: Literal["frame_iou", "mean_iou"] = "frame_iou") -> Tensor:
        """See :func:`iou_curve`, float (K,)."""
        if score == "frame_iou":
            union = self.predicted + self.objects[:, None] - self.hits
            return _ratio(self.hits, union, empty=1.0).mean(0)
        if score == "mean_iou":
            return torch.stack([iou_from_confusion(m) for m in self.confusion()]).nanmean(1)
        raise TccamError(f"score: expected 'frame_iou' or 'mean_iou', got {score!r}")

    def best_threshold(
        self, score: Literal["frame_iou", "mean_iou"] = "frame_iou"
    ) -> BestThreshold:
        """See :func:`best_threshold`."""
        curve = self.iou_curve(score)
        best = int((curve == curve.max()).nonzero()[0])
        return BestThreshold(float(self.thresholds[best]), float(curve[best]), curve)

    def precision_recall(self) -> PrecisionRecall:
        """See :func:`precision_recall`."""
        hits, predicted = self.hits.sum(0).flip(0), self.predicted.sum(0).flip(0)
        return _precision_recall(hits, predicted, self.objects.sum(), self.thresholds.flip(0))

    def pxap(self) -> float:
        """See :func:`pxap`."""
        return _area(self.precision_recall())


def iou_curve(
    scores: Tensor,
    masks: Tensor,
    thresholds: Sequence[float] | Tensor = THRESHOLDS,
    score: Literal["frame_iou", "mean_iou"] = "frame_iou",
) -> Tensor:
    """The IoU of the masks ``scores >= t`` for every threshold t, in one pass over the pixels.

    Args:
        scores: float (B, H, W).
        masks: bool (B, H, W).
        thresholds: K ascending values.
        score: ``"frame_iou"`` for ``frame_iou(scores >= t, masks).mean()``, the score of the
            paper's authors, or ``"mean_iou"`` for ``mean_iou(scores >= t, masks)``.

    Returns:
        float (K,) in [0, 1].

    Raises:
        TccamError: on other shapes or dtypes, NaN, or thresholds that do not ascend.

    Example:
        >>> scores = torch.tensor([[[0.1, 0.4, 0.9]]])
        >>> iou_curve(scores, torch.tensor([[[False, True, True]]]), [0.1, 0.4, 0.9])
        tensor([0.6667, 1.0000, 0.5000])
    """
    return Counts.of(scores, masks, thresholds).iou_curve(score)


class BestThreshold(NamedTuple):
    """What :func:`best_threshold` found.

    Attributes:
        threshold: the best threshold.
        score: the score there.
        curve: float (K,), the score at every threshold that was tried.
    """

    threshold: float
    score: float
    curve: Tensor


def best_threshold(
    scores: Tensor,
    masks: Tensor,
    thresholds: Sequence[float] | Tensor = THRESHOLDS,
    score: Literal["frame_iou", "mean_iou"] = "frame_iou",
) -> BestThreshold:
    """The threshold with the best IoU; the smallest of several.

    Choose it on VALIDATION frames and keep it for the test frames. Chosen on the test frames it
    is an oracle: an upper bound, to be labelled as such.

    Args:
        scores: float (B, H, W).
        masks: bool (B, H, W).
        thresholds: K ascending values.
        score: what to maximise, see :func:`iou_curve`.

    Returns:
        The threshold, its score and the whole curve.

    Raises:
        TccamError: as :func:`iou_curve`.

    Example:
        >>> scores = torch.tensor([[[0.1, 0.4, 0.9]]])
        >>> best_threshold(scores, torch.tensor([[[False, True, True]]])).threshold
        0.11
    """
    return Counts.of(scores, masks, thresholds).best_threshold(score)


class PrecisionRecall(NamedTuple):
    """A precision-recall curve, from the strictest threshold to the loosest.

    Attributes:
        precision: float64 (K,), share of the predicted pixels that are object; 1 where none is.
        recall: float64 (K,), share of the object pixels that are predicted; never falls.
        thresholds: (K,), descending.
    """

    precision: Tensor
    recall: Tensor
    thresholds: Tensor


def precision_recall(
    scores: Tensor, masks: Tensor, thresholds: Sequence[float] | Tensor | None = None
) -> PrecisionRecall:
    """Precision and recall of the pixels of a data set at every threshold.

    Args:
        scores: float (B, H, W).
        masks: bool (B, H, W).
        thresholds: None sorts all pixels and gives the exact curve, one point for each different
            score. K ascending values give K points and hold one frame at a time beside the
            input, which may then be a memory map; start at the smallest possible score, or the
            curve ends before recall 1.

    Returns:
        The curve, on the CPU. Recall is NaN if no pixel is object.

    Raises:
        TccamError: on other shapes or dtypes, NaN, or thresholds that do not ascend.

    Example:
        >>> scores = torch.tensor([[[0.9, 0.4, 0.1]]])
        >>> precision_recall(scores, torch.tensor([[[True, False, True]]])).recall
        tensor([0.5000, 0.5000, 1.0000], dtype=torch.float64)
    """
    if thresholds is not None:
        return Counts.of(scores, masks, thresholds).precision_recall()
    _expect_scores(scores, masks)
    levels, order = scores.flatten().sort(descending=True)
    # Pixels with the same score pass together: only the last of them is a point of the curve.
    last = torch.ones_like(levels, dtype=torch.bool)
    last[:-1] = levels[:-1] != levels[1:]
    hits, predicted = masks.flatten()[order].cumsum(0)[last], last.nonzero().flatten() + 1
    return _precision_recall(hits, predicted, masks.sum(), levels[last])


def pxap(
    scores: Tensor, masks: Tensor, thresholds: Sequence[float] | Tensor | None = None
) -> float:
    """Pixel average precision: the area under the precision-recall curve of all pixels.

    ``PxAP = Σ_k P_k (R_k − R_{k−1})``, thresholds descending and R_0 = 0. It needs no threshold
    and does not change when the scores go through an increasing function; a random score gets
    the share of object pixels. Choe et al., "Evaluating Weakly Supervised Object Localization
    Methods Right", CVPR 2020, arXiv 2001.07437.

    Args:
        scores: float (B, H, W).
        masks: bool (B, H, W).
        thresholds: None for the exact value, or a grid: see :func:`precision_recall`.

    Returns:
        A number in [0, 1]; NaN if no pixel is object.

    Raises:
        TccamError: as :func:`precision_recall`.

    Example:
        >>> scores = torch.tensor([[[0.9, 0.4, 0.1]]])
        >>> round(pxap(scores, torch.tensor([[[True, False, True]]])), 4)
        0.8333
    """
    return _area(precision_recall(scores, masks, thresholds))


def max_box_acc(
    scores: Tensor,
    masks: Tensor,
    iou: Sequence[float] = (0.3, 0.5, 0.7),
    thresholds: Sequence[float] | Tensor = THRESHOLDS,
) -> float:
    """MaxBoxAccV2: share of frames in which a box around the map finds a box around an object.

    At a threshold, a frame is right at level δ if the best pair of a predicted and a true box has
    an IoU of at least δ, where every 8-connected component has a box. The share of right frames
    is maximised over the thresholds for each δ, then averaged over δ. One found object is enough,
    objects that touch share a box, and the threshold is chosen on the very frames that are scored
    (an oracle). Choe et al., "Evaluation for Weakly Supervised Object Localization: Protocol,
    Metrics, and Datasets", 2020, arXiv 2007.04178; the first version, CVPR 2020, took the largest
    component only and δ = 0.5.

    Args:
        scores: float (B, H, W).
        masks: bool (B, H, W); frames without object are left out.
        iou: the levels δ, in (0, 1].
        thresholds: K ascending values.

    Returns:
        A number in [0, 1]; NaN if no frame has an object.

    Raises:
        TccamError: on other shapes or dtypes, NaN, levels outside (0, 1] or thresholds that do
            not ascend.

    Example:
        >>> scores = torch.zeros(1, 8, 8)
        >>> scores[:, 2:6, 2:5] = 0.8
        >>> masks = torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> masks[:, 2:6, 2:8] = True
        >>> round(max_box_acc(scores, masks), 4)  # IoU 0.5: right at 0.3 and 0.5, not at 0.7
        0.6667
    """
    _expect_scores(scores, masks)
    if not iou or not all(0 < level <= 1 for level in iou):
        raise TccamError(f"iou: expected levels in (0, 1], got {tuple(iou)}")
    from torchvision.ops import box_iou  # noqa: PLC0415 - it takes seconds

    grid = _ascending(thresholds).to(scores)
    rows = []
    for frame, mask in zip(scores, masks, strict=True):
        if mask.any():
            found = [_boxes(frame >= threshold) for threshold in grid]
            overlap = box_iou(torch.cat(found), _boxes(mask)).amax(1).tolist()
            ends = list(accumulate(map(len, found), initial=0))
            rows.append([max(overlap[i:j], default=0.0) for i, j in pairwise(ends)])
    if not rows:
        return math.nan
    best = torch.tensor(rows)  # (frames with an object, K)
    return sum(float((best >= level).float().mean(0).max()) for level in iou) / len(iou)


def energy_outside(maps: Tensor, objects: Tensor) -> Tensor:
    """Share of a map's energy outside every object, ``Σ_{p ∉ O} M(p) / Σ_p M(p)``.

    The bias of a classifier: how much of its evidence lies where nothing is that we ask about. A
    map that is spread evenly gets the share of the picture that is no object, which is the number
    to beat. Nobody gets 0: a coarse cell beside an object sees a part of it.

    Args:
        maps: float (B, H, W), not negative: apply relu first.
        objects: bool (B, H, W), the union of all objects, legal and illegal.

    Returns:
        float (B,) in [0, 1]; NaN for a map that is 0 everywhere.

    Raises:
        TccamError: on other shapes or dtypes, NaN, or a negative value.

    Example:
        >>> energy_outside(torch.tensor([[[0.5, 1.5]]]), torch.tensor([[[False, True]]]))
        tensor([0.2500])
    """
    _expect("maps", maps, "float", "B", "H", "W")
    _expect("objects", objects, "bool", *maps.shape)
    if maps.min() < 0:
        raise TccamError(f"maps: expected no negative value, got {float(maps.min())}")
    return _ratio(maps.masked_fill(objects, 0).sum((1, 2)), maps.sum((1, 2)), math.nan)


# --- Frames and seeds


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the frames whose largest logit is their label's.

    Args:
        logits: float (B, C).
        labels: integer (B,), classes 0 … C−1.

    Returns:
        A number in [0, 1].

    Raises:
        TccamError: on other shapes or dtypes, NaN, or a label outside 0 … C−1.

    Example:
        >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
        0.5
    """
    _expect("logits", logits, "float", "B", "C")
    _expect("labels", labels, "integer", len(logits))
    _expect_classes("labels", labels, logits.shape[1])
    return int((logits.argmax(1) == labels).sum()) / len(labels)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and how sure we are of it.

    As text it is "mean ± sd (n = …)"; a format like ``f"{interval:.3f}"`` sets the digits.

    Attributes:
        mean: the mean.
        sd: standard deviation of a single seed, with n − 1 in the denominator; NaN if n = 1.
        low: lower end of the confidence interval of the mean; NaN if n = 1.
        high: its upper end; NaN if n = 1.
        n: number of seeds.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        spread = "" if self.n == 1 else f" ± {self.sd:{spec}}"
        return f"{self.mean:{spec}}{spread} (n = {self.n})"

    def __str__(self) -> str:
        return format(self)


def interval(values: Sequence[float] | Tensor, level: float = 0.95) -> Interval:
    """Mean, standard deviation and Student's confidence interval over seeds.

    ``mean ± t · sd / √n``, where t is the ``(1 + level) / 2`` quantile of Student's distribution
    with n − 1 degrees of freedom (4.30 for 3 seeds, 2.78 for 5). A bootstrap would assume no
    normal distribution, but 3–5 values are too few to resample: its 95% interval holds the true
    mean in only about 75% (n = 3) and 83% (n = 5) of the cases. One value says nothing about
    spread: its interval is NaN.

    Args:
        values: (S,), one value for each seed.
        level: probability that the interval holds the true mean, in (0, 1).

    Returns:
        Mean, sd, both ends of the interval and S. An end may leave the range of the score.

    Raises:
        TccamError: if ``values`` is empty, not one-dimensional or not finite.

    Example:
        >>> iou = interval([0.50, 0.52, 0.57])
        >>> print(iou)
        0.53 ± 0.04 (n = 3)
        >>> print(f"{iou:.3f}, 95% interval {iou.low:.3f} to {iou.high:.3f}")
        0.530 ± 0.036 (n = 3), 95% interval 0.440 to 0.620
    """
    if not 0 < level < 1:
        raise TccamError(f"level: expected a probability in (0, 1), got {level}")
    samples = torch.as_tensor(values, dtype=torch.float64).cpu()
    _expect("values", samples, "float", "S")
    n, mean = len(samples), float(samples.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, math.nan, n)
    sd = float(samples.std())
    margin = _student_t(level, n - 1) * sd / math.sqrt(n)
    return Interval(mean, sd, mean - margin, mean + margin, n)


class Paired(NamedTuple):
    """A comparison of two methods on the same seeds.

    Attributes:
        difference: the interval of a − b over seeds.
        wins: number of seeds in which a is strictly larger.
    """

    difference: Interval
    wins: int


def paired_difference(
    a: Sequence[float] | Tensor, b: Sequence[float] | Tensor, level: float = 0.95
) -> Paired:
    """By how much, and how often, method a beats method b on the same seeds.

    Seeds that are hard for one method are often hard for the other. The difference cancels that,
    so its interval is narrower than two intervals side by side suggest.

    Args:
        a: (S,), one value for each seed.
        b: (S,), the same seeds in the same order.
        level: see :func:`interval`.

    Returns:
        The interval of a − b and the number of wins of a.

    Raises:
        TccamError: as :func:`interval`, or if the lengths differ.

    Example:
        >>> paired = paired_difference([0.60, 0.52, 0.71], [0.55, 0.50, 0.64])
        >>> print(paired.difference, "wins:", paired.wins)
        0.05 ± 0.03 (n = 3) wins: 3
    """
    x, y = (torch.as_tensor(values, dtype=torch.float64) for values in (a, b))
    if x.shape != y.shape:
        raise TccamError(f"b: expected as many seeds as a, {(*x.shape,)}, got {(*y.shape,)}")
    difference = x - y
    return Paired(interval(difference, level), int((difference > 0).sum()))


# --- Helpers


def _precision_recall(
    hits: Tensor, predicted: Tensor, objects: Tensor, levels: Tensor
) -> PrecisionRecall:
    """The curve from its counts, (K,) each, strictest first; ``objects`` is one number."""
    hits = hits.cpu().double()
    precision = _ratio(hits, predicted.cpu(), 1.0)
    return PrecisionRecall(precision, _ratio(hits, objects.cpu(), math.nan), levels.cpu())


def _area(curve: PrecisionRecall) -> float:
    """``Σ_k P_k (R_k − R_{k−1})``."""
    area = (curve.precision * curve.recall.diff(prepend=curve.recall.new_zeros(1))).sum()
    return float(area.clamp(max=1.0))  # rounding may carry the sum past it


def _ratio(part: Tensor, whole: Tensor, empty: float) -> Tensor:
    """``part / whole``, and ``empty`` where both are 0."""
    return (part / whole).masked_fill(whole == 0, empty)


def _boundary(masks: Tensor) -> Tensor:
    """Pixels that differ from their right, lower or lower right neighbour, (B, H, W) bool."""
    padded = F.pad(masks.float(), (0, 1, 0, 1), mode="replicate").bool()
    right, lower, both = padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]
    return (masks ^ right) | (masks ^ lower) | (masks ^ both)


def _dilate(masks: Tensor, radius: int) -> Tensor:
    """Pixels within ``radius`` of a True pixel, Euclidean, (B, H, W) bool."""
    offset = torch.arange(-radius, radius + 1, device=masks.device)
    disk = (offset[:, None] ** 2 + offset**2 <= radius**2).float()
    return F.conv2d(masks.float()[:, None], disk[None, None], padding=radius)[:, 0] > 0.5


def _boxes(mask: Tensor) -> Tensor:
    """Box (left, top, right, bottom) of each 8-connected component of one mask, (N, 4) float."""
    picture = mask.byte().cpu().numpy()
    _, _, stats, _ = cv2.connectedComponentsWithStats(picture, connectivity=8)
    left_top, size = torch.from_numpy(stats[1:, :4]).float().tensor_split(2, dim=1)
    return torch.cat((left_top, left_top + size), dim=1)


def _student_t(level: float, freedom: int) -> float:
    """The t with P(|T| ≤ t) = ``level`` for Student's distribution.

    With T = √ν tan θ the density becomes cos^{ν−1} θ on a finite range: integrate and invert.
    """
    angle = torch.linspace(0, math.pi / 2, 100_001, dtype=torch.float64)
    mass = torch.cumulative_trapezoid(angle.cos() ** (freedom - 1), angle)
    mass = torch.cat((mass.new_zeros(1), mass)) / mass[-1]
    right = int(torch.searchsorted(mass, level))
    share = (level - mass[right - 1]) / (mass[right] - mass[right - 1])
    return math.sqrt(freedom) * math.tan(float(torch.lerp(angle[right - 1], angle[right], share)))


_KINDS = {
    "bool": (torch.bool,),
    "integer": (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    "float": (torch.float32, torch.float64),
}


def _expect(name: str, tensor: Tensor, kind: str, *shape: int | str) -> None:
    """Refuse a tensor of another kind or shape, or with NaN or infinity.

    In ``shape`` a number is a size, a letter any size but 0, and a lone … any shape.
    """
    wanted = f"{kind} ({', '.join(map(str, shape))})"
    if not isinstance(tensor, Tensor):
        raise TccamError(f"{name}: expected a tensor, {wanted}, got {type(tensor).__name__}")
    fits = shape == ("…",) or (
        len(shape) == tensor.ndim
        and all(
            isinstance(want, str) or want == size
            for want, size in zip(shape, tensor.shape, strict=True)
        )
    )
    if tensor.dtype not in _KINDS[kind] or not fits or not tensor.numel():
        raise TccamError(f"{name}: expected {wanted}, got {tensor.dtype} {tuple(tensor.shape)}")
    # The extremes are NaN if any value is, and take no memory.
    if kind == "float" and not all(bool(end.isfinite()) for end in tensor.aminmax()):
        raise TccamError(f"{name}: expected finite values, got NaN or infinity")


def _expect_scores(scores: Tensor, masks: Tensor) -> None:
    _expect("scores", scores, "float", "B", "H", "W")
    _expect("masks", masks, "bool", *scores.shape)


def _expect_classes(name: str, classes: Tensor, num_classes: int) -> None:
    strangers = classes[(classes < 0) | (classes >= num_classes)]
    if strangers.numel():
        raise TccamError(f"{name}: expected classes 0 … {num_classes - 1}, got {int(strangers[0])}")


def _ascending(thresholds: Sequence[float] | Tensor) -> Tensor:
    """The thresholds as float64 (K,)."""
    grid = torch.as_tensor(thresholds, dtype=torch.float64).cpu()
    _expect("thresholds", grid, "float", "K")
    if (grid.diff() <= 0).any():
        raise TccamError("thresholds: expected ascending values, got a descent or a repetition")
    return grid
