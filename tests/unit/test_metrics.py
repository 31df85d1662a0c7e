"""The protocols of evaluation: properties, hand-computed cases, and other implementations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    jaccard_score,
)
from torch import Tensor

from tccam import metrics
from tccam.errors import TccamError

SHAPE = (2, 5, 6)
GRID = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)

pictures = hnp.arrays(np.bool_, SHAPE).map(torch.from_numpy)
# Eighths are exact in every float format, collide with each other and with the grid.
score_maps = hnp.arrays(np.int64, SHAPE, elements=st.integers(0, 8)).map(
    lambda eighths: torch.from_numpy(eighths).float() / 8
)
quick = settings(max_examples=60, deadline=None)


def blank(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.bool)


def random_case(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Scores in [0, 1] that know something about the masks, with many zeros, as maps have."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(shape, generator=generator) < 0.3
    scores = (torch.rand(shape, generator=generator) + 0.3 * masks - 0.4).clamp(0, 1)
    return scores, masks


# --- frame_iou


@quick
@given(pictures, pictures)
def test_frame_iou_is_symmetric_and_bounded(a: Tensor, b: Tensor) -> None:
    iou = metrics.frame_iou(a, b)
    assert torch.equal(iou, metrics.frame_iou(b, a))
    assert iou.shape == (2,)
    assert ((iou >= 0) & (iou <= 1)).all()
    assert torch.equal(iou == 1, (a == b).flatten(1).all(1))


@quick
@given(pictures, pictures, st.integers(0, 59))
def test_frame_iou_rises_with_each_corrected_pixel(a: Tensor, b: Tensor, pixel: int) -> None:
    corrected = a.flatten().clone()
    corrected[pixel] = b.flatten()[pixel]
    better = metrics.frame_iou(corrected.view(SHAPE), b)
    assert (better >= metrics.frame_iou(a, b)).all()


def test_frame_iou_by_hand() -> None:
    predicted, masks = blank(3, 4, 4), blank(3, 4, 4)
    predicted[0, :2], masks[0, 1:3] = True, True  # 8 and 8 pixels that share 4: 4 / 12
    predicted[1, 0, 0] = True  # a false alarm on an empty frame; frame 2 is empty in both
    assert metrics.frame_iou(predicted, masks).tolist() == pytest.approx([1 / 3, 0, 1])
    assert metrics.frame_iou(predicted, masks, empty=0.25)[2] == 0.25
    assert metrics.frame_iou(predicted, masks, empty=math.nan).isnan().tolist() == [0, 0, 1]


def test_frame_iou_agrees_with_sklearn() -> None:
    scores, masks = random_case(0, 8, 16, 20)
    predicted = scores >= 0.3
    theirs = [
        jaccard_score(m.flatten(), p.flatten()) for p, m in zip(predicted, masks, strict=True)
    ]
    assert metrics.frame_iou(predicted, masks).tolist() == pytest.approx(theirs, abs=1e-6)


# --- confusion_matrix, iou_from_confusion, mean_iou


@pytest.mark.parametrize("num_classes", [2, 4])
def test_confusion_and_mean_iou_agree_with_sklearn(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    predicted, masks = torch.randint(num_classes, (2, 5, 16, 16), generator=generator)
    matrix = metrics.confusion_matrix(predicted, masks, num_classes)
    flat = masks.flatten(), predicted.flatten()
    assert matrix.tolist() == confusion_matrix(*flat, labels=range(num_classes)).tolist()
    per_class = jaccard_score(*flat, average=None, labels=range(num_classes))
    assert metrics.iou_from_confusion(matrix).tolist() == pytest.approx(per_class, abs=1e-6)
    assert metrics.mean_iou(predicted, masks, num_classes) == pytest.approx(per_class.mean())


@quick
@given(pictures, pictures)
def test_matrices_of_parts_add_up(a: Tensor, b: Tensor) -> None:
    parts = sum(metrics.confusion_matrix(a[i], b[i]) for i in range(len(a)))
    assert torch.equal(metrics.confusion_matrix(a, b), torch.as_tensor(parts))


@quick
@given(pictures, pictures)
def test_mean_iou_is_symmetric_bounded_and_blind_to_names(a: Tensor, b: Tensor) -> None:
    score = metrics.mean_iou(a, b)
    assert 0 <= score <= 1
    assert score == pytest.approx(metrics.mean_iou(b, a))
    assert score == pytest.approx(metrics.mean_iou(~a, ~b))
    assert (score == 1) == torch.equal(a, b)


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    predicted, masks = torch.tensor([1, 1, 2]), torch.tensor([0, 0, 2])
    assert metrics.confusion_matrix(predicted, masks, 3)[0, 1] == 2


def test_an_absent_class_does_not_count() -> None:
    predicted, masks = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert metrics.mean_iou(predicted, masks, 5) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.mean_iou(blank(1, 4, 4), blank(1, 4, 4)) == 1


# --- boundary_f


def slow_boundary_f(predicted: np.ndarray, mask: np.ndarray, radius: int) -> float:
    """Pixel by pixel, by distances between all pairs of boundary pixels."""

    def outline(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape
        found = [
            (y, x)
            for y in range(height)
            for x in range(width)
            if any(
                picture[min(y + dy, height - 1), min(x + dx, width - 1)] != picture[y, x]
                for dy, dx in ((0, 1), (1, 0), (1, 1))
            )
        ]
        return np.array(found, dtype=float).reshape(-1, 2)

    drawn, true = outline(predicted), outline(mask)
    if not len(drawn) or not len(true):
        return float(len(drawn) == len(true))
    near = np.linalg.norm(drawn[:, None] - true[None], axis=2) <= radius
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 0.12])
def test_boundary_f_agrees_with_pairwise_distances(tolerance: float) -> None:
    scores, masks = random_case(2, 6, 13, 17)
    masks = torch.from_numpy(scipy.ndimage.binary_opening(masks, np.ones((1, 2, 2))))
    predicted = scores >= 0.5
    predicted[0], masks[1] = False, False
    radius = math.ceil(tolerance * math.hypot(13, 17))
    slow = [
        slow_boundary_f(p.numpy(), m.numpy(), radius) for p, m in zip(predicted, masks, strict=True)
    ]
    assert metrics.boundary_f(predicted, masks, tolerance).tolist() == pytest.approx(slow, abs=1e-6)


@quick
@given(pictures, pictures)
def test_boundary_f_is_symmetric_and_grows_with_tolerance(a: Tensor, b: Tensor) -> None:
    strict, loose = metrics.boundary_f(a, b, 0.01), metrics.boundary_f(a, b, 0.3)
    torch.testing.assert_close(strict, metrics.boundary_f(b, a, 0.01))
    assert ((strict >= 0) & (strict <= loose) & (loose <= 1)).all()
    assert metrics.boundary_f(a, a, 0.0).tolist() == [1, 1]


def test_boundary_f_forgives_a_shift_up_to_the_tolerance() -> None:
    masks = blank(1, 30, 40)  # a diagonal of 50 pixels
    masks[:, 10:20, 10:20] = True
    assert metrics.boundary_f(masks.roll(2, dims=2), masks, tolerance=0.04) == 1
    assert metrics.boundary_f(masks.roll(3, dims=2), masks, tolerance=0.04) < 1
    assert metrics.boundary_f(masks.roll(20, dims=2), masks, tolerance=0.04) == 0
    assert metrics.boundary_f(blank(1, 30, 40), masks) == 0


# --- temporal_iou


@quick
@given(pictures, pictures, pictures)
def test_temporal_iou_ignores_what_is_not_visible(a: Tensor, b: Tensor, visible: Tensor) -> None:
    seen = visible.flatten(1).any(1)
    iou = metrics.temporal_iou(a, b, visible)
    assert torch.equal(iou.isnan(), ~seen)
    torch.testing.assert_close(iou, metrics.temporal_iou(a ^ ~visible, b, visible), equal_nan=True)
    everywhere = metrics.temporal_iou(a, b, torch.ones_like(visible))
    assert torch.equal(everywhere, metrics.frame_iou(a, b))


def test_an_empty_mask_is_perfectly_consistent() -> None:
    nothing = blank(1, 4, 4)
    assert metrics.temporal_iou(nothing, nothing, ~nothing) == 1


# --- argmax_mask


@pytest.mark.parametrize("target", [0, 1, 2])
def test_argmax_mask_is_argmax_where_nothing_ties(target: int) -> None:
    maps = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(metrics.argmax_mask(maps, target), maps.argmax(1) == target)


def test_a_tie_goes_to_no_class() -> None:
    maps = torch.tensor([[[[0.0, 0.5, 0.5]], [[0.0, 0.5, 0.4]], [[0.0, 0.1, 0.4]]]])
    assert metrics.argmax_mask(maps, 0).flatten().tolist() == [False, False, True]
    assert not metrics.argmax_mask(maps, 1).any()


# --- Counts


@quick
@given(score_maps, pictures)
def test_counts_are_those_of_the_definition(scores: Tensor, masks: Tensor) -> None:
    counts = metrics.Counts.of(scores, masks, GRID)
    matrices = counts.confusion()
    for k, threshold in enumerate(GRID):
        predicted = scores >= threshold
        assert torch.equal(counts.hits[:, k], (predicted & masks).sum((1, 2)))
        assert torch.equal(counts.predicted[:, k], predicted.sum((1, 2)))
        assert torch.equal(matrices[k], metrics.confusion_matrix(predicted, masks))
    assert torch.equal(counts.objects, masks.sum((1, 2)))
    assert counts.pixels.tolist() == [30, 30]


@quick
@given(score_maps, pictures)
def test_counts_of_parts_join_to_the_scores_of_the_whole(scores: Tensor, masks: Tensor) -> None:
    joined = metrics.Counts.join(
        metrics.Counts.of(scores[i : i + 1], masks[i : i + 1], GRID) for i in range(len(scores))
    )
    for score in ("frame_iou", "mean_iou"):
        options: Any = {"score": score}
        whole = metrics.iou_curve(scores, masks, GRID, **options)
        assert torch.equal(joined.iou_curve(**options), whole)
        best = metrics.best_threshold(scores, masks, GRID, **options)
        assert joined.best_threshold(**options)[:2] == best[:2]
    curve = metrics.precision_recall(scores, masks, GRID)
    for here, there in zip(joined.precision_recall(), curve, strict=True):
        torch.testing.assert_close(here, there, atol=0, rtol=0, equal_nan=True)
    area = metrics.pxap(scores, masks, GRID)
    assert joined.pxap() == pytest.approx(area, abs=0, nan_ok=True)


@quick
@given(score_maps, pictures)
def test_some_of_the_thresholds_are_enough(scores: Tensor, masks: Tensor) -> None:
    some, counts = GRID[1:4], metrics.Counts.of(scores, masks, GRID).at(GRID[1:4])
    assert counts.thresholds.tolist() == list(some)
    assert torch.equal(counts.iou_curve(), metrics.iou_curve(scores, masks, some))
    pxap = pytest.approx(metrics.pxap(scores, masks, some), abs=0, nan_ok=True)
    assert counts.pxap() == pxap


def test_frames_of_different_sizes_join() -> None:
    small = (torch.tensor([[[0.9, 0.1]]]), torch.tensor([[[True, True]]]))
    large = (torch.tensor([[[0.9, 0.9], [0.1, 0.1]]]), torch.tensor([[[True, False]] * 2]))
    counts = metrics.Counts.join(metrics.Counts.of(*pair, [0.5]) for pair in (small, large))
    assert counts.pixels.tolist() == [2, 4]
    # 2 of 4 objects found, 1 of 2 others painted; IoU 1/2 and 1/3, of all pixels 2/5 and 1/4
    assert counts.confusion().tolist() == [[[1, 1], [2, 2]]]
    assert float(counts.iou_curve()) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert float(counts.iou_curve("mean_iou")) == pytest.approx((2 / 5 + 1 / 4) / 2)


# --- iou_curve, best_threshold


@quick
@given(score_maps, pictures)
def test_the_curve_equals_a_loop_over_thresholds(scores: Tensor, masks: Tensor) -> None:
    per_frame = [metrics.frame_iou(scores >= t, masks).mean() for t in GRID]
    over_pixels = [metrics.mean_iou(scores >= t, masks) for t in GRID]
    frame, pixel = (metrics.iou_curve(scores, masks, GRID, s) for s in ("frame_iou", "mean_iou"))
    torch.testing.assert_close(frame, torch.stack(per_frame))
    torch.testing.assert_close(pixel, torch.tensor(over_pixels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_curve_and_the_comparison_round_thresholds_alike(dtype: torch.dtype) -> None:
    # In float32 0.1 is larger than in float64, 0.3 too, and 0.7 is smaller.
    thresholds = (0.1, 0.3, 0.7)
    scores = torch.tensor(thresholds, dtype=dtype).view(1, 1, 3)
    masks = torch.tensor([[[False, True, True]]])
    loop = [float(metrics.frame_iou(scores >= t, masks)) for t in thresholds]
    assert loop == pytest.approx([2 / 3, 1, 1 / 2])
    assert metrics.iou_curve(scores, masks, thresholds).tolist() == pytest.approx(loop)


@pytest.mark.parametrize("score", ["frame_iou", "mean_iou"])
def test_the_best_threshold_delivers_its_score(score: Any) -> None:
    scores, masks = random_case(4, 6, 16, 16)
    found = metrics.best_threshold(scores, masks, score=score)
    predicted = scores >= found.threshold
    delivered = {
        "frame_iou": float(metrics.frame_iou(predicted, masks).mean()),
        "mean_iou": metrics.mean_iou(predicted, masks),
    }
    assert found.score == pytest.approx(delivered[score], abs=1e-6)
    assert found.score == found.curve.max()
    assert found.curve.shape == (len(metrics.THRESHOLDS),)
    assert found.threshold in metrics.THRESHOLDS


def test_the_smallest_of_equally_good_thresholds_wins() -> None:
    scores, masks = torch.tensor([[[0.2, 0.8]]]), torch.tensor([[[False, True]]])
    found = metrics.best_threshold(scores, masks, torch.tensor([0.125, 0.25, 0.5, 0.75]))
    assert found.threshold == 0.25
    assert found.curve.tolist() == [0.5, 1, 1, 1]


def test_the_default_grid_finds_a_threshold_below_one_percent() -> None:
    scores, masks = torch.full((1, 8, 8), 0.001), blank(1, 8, 8)
    masks[:, 2:6, 2:6] = True
    scores[masks], scores[0, 3, 3] = 0.004, 1.0
    assert metrics.best_threshold(scores, masks).score == 1


# --- precision_recall, pxap


@pytest.mark.parametrize("seed", range(3))
def test_pxap_agrees_with_sklearn(seed: int) -> None:
    scores, masks = random_case(seed, 4, 16, 16)
    scores = (scores * 64).round() / 64  # ties
    ours = metrics.pxap(scores, masks)
    theirs = average_precision_score(masks.flatten().numpy(), scores.flatten().numpy())
    assert ours == pytest.approx(theirs, abs=1e-12)
    grid = torch.linspace(0, 1, 21)
    reached = grid[torch.bucketize(scores, grid, right=True) - 1]  # the highest that it passes
    binned = average_precision_score(masks.flatten().numpy(), reached.flatten().numpy())
    assert metrics.pxap(scores, masks, grid) == pytest.approx(binned, abs=1e-6)


@quick
@given(score_maps, pictures)
def test_a_grid_of_every_score_gives_the_exact_curve(scores: Tensor, masks: Tensor) -> None:
    exact = metrics.precision_recall(scores, masks)
    binned = metrics.precision_recall(scores, masks, scores.unique())
    for ours, other in zip(exact, binned, strict=True):
        torch.testing.assert_close(ours, other, check_dtype=False, equal_nan=True)


@quick
@given(score_maps, pictures)
def test_pxap_sees_the_order_of_the_scores_alone(scores: Tensor, masks: Tensor) -> None:
    area = metrics.pxap(scores, masks)
    if not masks.any():
        assert math.isnan(area)
        return
    assert 0 < area <= 1
    assert metrics.pxap((8 * scores) ** 3 - 100, masks) == area
    assert metrics.pxap(scores.flatten().view(1, 6, 10), masks.view(1, 6, 10)) == area


@quick
@given(score_maps, pictures)
def test_recall_rises_from_strict_to_loose(scores: Tensor, masks: Tensor) -> None:
    masks[0, 0, 0] = True
    precision, recall, thresholds = metrics.precision_recall(scores, masks)
    assert (thresholds.diff() < 0).all()
    assert (recall.diff() >= 0).all()
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(float(masks.double().mean()))
    for p, r, t in zip(precision, recall, thresholds, strict=True):
        predicted = scores >= t
        assert p == masks[predicted].double().mean()
        assert r == predicted[masks].double().mean()


def test_pxap_by_hand() -> None:
    masks = torch.tensor([[[True, False, True, False]]])
    assert metrics.pxap(masks.float(), masks) == 1
    assert metrics.pxap(torch.full((1, 1, 4), 0.3), masks) == 0.5  # the share of object pixels
    falling = torch.tensor([[[0.9, 0.8, 0.7, 0.6]]])
    assert metrics.pxap(falling, masks) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_a_threshold_above_every_score_predicts_nothing_and_errs_nowhere() -> None:
    scores, masks = torch.tensor([[[0.1, 0.2]]]), torch.tensor([[[True, False]]])
    curve = metrics.precision_recall(scores, masks, [0.0, 0.5])
    assert curve.precision.tolist() == [1, 0.5]
    assert curve.recall.tolist() == [0, 1]
    assert curve.thresholds.tolist() == [0.5, 0]


# --- max_box_acc


def slow_boxes(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    labels, _ = scipy.ndimage.label(mask, structure=np.ones((3, 3)))
    slices = scipy.ndimage.find_objects(labels)
    return [(x.start, y.start, x.stop, y.stop) for y, x in slices]


def slow_box_iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    cells = [{(x, y) for x in range(c[0], c[2]) for y in range(c[1], c[3])} for c in (a, b)]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


def test_max_box_acc_agrees_with_a_slow_one() -> None:
    scores, masks = random_case(5, 10, 9, 9)
    scores = torch.from_numpy(scipy.ndimage.uniform_filter(scores, (0, 3, 3)))
    masks = torch.from_numpy(scipy.ndimage.binary_opening(masks, np.ones((1, 2, 2))))
    masks[3] = False
    thresholds = (0.1, 0.2, 0.3, 0.4)
    levels = []
    for level in (0.3, 0.5, 0.7):
        shares = []
        for t in thresholds:
            hits = []
            for frame, mask in zip(scores >= t, masks, strict=True):
                found, true = slow_boxes(frame.numpy()), slow_boxes(mask.numpy())
                if true:
                    hits.append(any(slow_box_iou(a, b) >= level for a in found for b in true))
            shares.append(np.mean(hits))
        levels.append(max(shares))
    assert len(set(levels)) > 1  # the case tells the levels apart
    ours = metrics.max_box_acc(scores, masks, thresholds=thresholds)
    assert ours == pytest.approx(np.mean(levels), abs=1e-6)


def test_max_box_acc_takes_the_best_pair_at_the_best_threshold() -> None:
    masks = blank(2, 12, 12)
    masks[0, 1:4, 1:4], masks[0, 6:11, 6:11] = True, True
    scores = torch.zeros(2, 12, 12)
    scores[0, 1:4, 1:4] = 0.2  # the small object, exactly
    scores[0, 6:11, 1:4] = 0.9  # a larger false alarm, alone above 0.2
    assert metrics.max_box_acc(scores, masks) == 1  # frame 1 has no object: left out
    assert metrics.max_box_acc(scores, masks, thresholds=[0.5]) == 0
    assert metrics.max_box_acc(scores, masks, thresholds=[0.95]) == 0  # nothing predicted
    assert math.isnan(metrics.max_box_acc(scores[1:], masks[1:]))


def test_corners_that_touch_share_a_box() -> None:
    masks, scores = blank(1, 8, 8), torch.zeros(1, 8, 8)
    masks[:, 1:4, 1:4], masks[:, 4:7, 4:7], scores[:, 1:7, 1:7] = True, True, 1.0
    assert metrics.max_box_acc(scores, masks) == 1


@pytest.mark.parametrize(("level", "right"), [(0.5, 1), (0.51, 0)])
def test_a_box_is_right_at_exactly_the_level(level: float, right: int) -> None:
    masks, scores = blank(1, 8, 8), torch.zeros(1, 8, 8)
    masks[:, 2:6, 2:6], scores[:, 2:6, 2:4] = True, 1.0  # IoU 8 / 16
    assert metrics.max_box_acc(scores, masks, iou=[level]) == right


# --- energy_outside


@quick
@given(score_maps, pictures)
def test_energy_inside_and_outside_add_up(maps: Tensor, objects: Tensor) -> None:
    outside = metrics.energy_outside(maps, objects)
    silent = maps.flatten(1).sum(1) == 0
    assert torch.equal(outside.isnan(), silent)
    inside = metrics.energy_outside(maps, ~objects)
    assert (outside + inside)[~silent].tolist() == pytest.approx([1.0] * int((~silent).sum()))
    torch.testing.assert_close(outside, metrics.energy_outside(8 * maps, objects), equal_nan=True)


def test_an_even_map_has_the_share_of_the_background_outside() -> None:
    objects = blank(2, 4, 4)
    objects[0, :1], objects[1] = True, True
    assert metrics.energy_outside(torch.ones(2, 4, 4), objects).tolist() == [0.75, 0]


# --- accuracy


def test_accuracy_by_hand_and_by_sklearn() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
    labels = torch.tensor([0, 1, 2])
    assert metrics.accuracy(logits, labels) == 2 / 3
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(6))
    labels = torch.arange(50) % 3
    assert metrics.accuracy(logits, labels) == accuracy_score(labels, logits.argmax(1))


# --- interval, paired_difference


@pytest.mark.parametrize("n", [2, 3, 5, 10, 100])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_interval_agrees_with_numpy_and_scipy(n: int, level: float) -> None:
    values = np.random.default_rng(n).normal(0.5, 0.1, n)
    ours = metrics.interval(torch.from_numpy(values), level)
    low, high = scipy.stats.t.interval(level, n - 1, values.mean(), scipy.stats.sem(values))
    assert (ours.mean, ours.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=1e-7)
    assert ours.n == n


@quick
@given(
    st.lists(st.integers(-100, 100), min_size=2, max_size=8),
    st.integers(-9, 9),
    st.integers(1, 9),
)
def test_interval_moves_and_scales_with_its_values(
    values: list[int], shift: int, scale: int
) -> None:
    old, new = metrics.interval(values), metrics.interval([scale * v + shift for v in values])
    assert old.low <= old.mean <= old.high
    for name in ("mean", "low", "high"):
        expected = scale * getattr(old, name) + shift
        assert getattr(new, name) == pytest.approx(expected, abs=1e-9)
    assert new.sd == pytest.approx(scale * old.sd, abs=1e-9)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    # And the bootstrap does not, which is why we do not use it: see the docstring of interval.
    generator = np.random.default_rng(7)
    samples = generator.normal(size=(1000, 5))
    ours = [metrics.interval(row.tolist()) for row in samples]
    assert np.mean([i.low <= 0 <= i.high for i in ours]) == pytest.approx(0.95, abs=0.02)
    draws = generator.integers(5, size=(1000, 500, 5))
    means = np.take_along_axis(samples[:, None], draws, axis=2).mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.83, abs=0.03)


def test_one_seed_has_no_spread() -> None:
    alone = metrics.interval([0.5])
    assert (alone.mean, alone.n) == (0.5, 1)
    assert all(math.isnan(value) for value in (alone.sd, alone.low, alone.high))
    assert str(alone) == "0.50 (n = 1)"


def test_an_interval_as_text() -> None:
    one = metrics.Interval(0.5234, 0.031, 0.4, 0.6, 5)
    assert str(one) == "0.52 ± 0.03 (n = 5)"
    assert f"{one:.3f}" == "0.523 ± 0.031 (n = 5)"
    assert f"{one}" == str(one)


def test_paired_difference_by_hand() -> None:
    a, b = [0.5, 0.75, 0.25], [0.25, 0.75, 0.5]
    paired = metrics.paired_difference(a, b)
    assert paired.difference == metrics.interval([0.25, 0.0, -0.25])
    assert paired.wins == 1  # a tie is no win
    shifted = metrics.paired_difference([v + 0.125 for v in b], b)
    assert (shifted.difference.mean, shifted.difference.sd, shifted.wins) == (0.125, 0, 3)


# --- Bad input


SCORES, MASKS = torch.rand(2, 4, 4), blank(2, 4, 4)
NAN = SCORES.clone()
NAN[1, 2, 3] = math.nan


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("predicted", lambda: metrics.frame_iou(SCORES, MASKS)),
        ("predicted", lambda: metrics.frame_iou(MASKS[0], MASKS[0])),
        ("predicted", lambda: metrics.frame_iou(MASKS[:0], MASKS[:0])),
        ("predicted", lambda: metrics.frame_iou(MASKS.numpy(), MASKS)),
        ("masks", lambda: metrics.frame_iou(MASKS, MASKS[:, :3])),
        ("masks", lambda: metrics.frame_iou(MASKS, MASKS.long())),
        ("predicted", lambda: metrics.mean_iou(SCORES, MASKS)),
        ("predicted", lambda: metrics.mean_iou(MASKS.long() + 2, MASKS)),
        ("masks", lambda: metrics.mean_iou(MASKS, MASKS.long() - 1)),
        ("masks", lambda: metrics.mean_iou(MASKS, MASKS[:1])),
        ("matrix", lambda: metrics.iou_from_confusion(torch.ones(2, 3, dtype=torch.long))),
        ("tolerance", lambda: metrics.boundary_f(MASKS, MASKS, tolerance=2)),
        ("masks", lambda: metrics.boundary_f(MASKS, SCORES)),
        ("current", lambda: metrics.temporal_iou(MASKS, MASKS[:1], MASKS)),
        ("visible", lambda: metrics.temporal_iou(MASKS, MASKS, MASKS[:, None])),
        ("maps", lambda: metrics.argmax_mask(SCORES)),
        ("target", lambda: metrics.argmax_mask(SCORES[None], target=2)),
        ("target", lambda: metrics.argmax_mask(SCORES[:, None])),
        ("scores", lambda: metrics.iou_curve(NAN, MASKS)),
        ("scores", lambda: metrics.iou_curve(SCORES.long(), MASKS)),
        ("masks", lambda: metrics.iou_curve(SCORES, MASKS[:1])),
        ("thresholds", lambda: metrics.iou_curve(SCORES, MASKS, [])),
        ("thresholds", lambda: metrics.iou_curve(SCORES, MASKS, [0.5, 0.5])),
        ("thresholds", lambda: metrics.precision_recall(SCORES, MASKS, [0.5, math.inf])),
        ("score", lambda: metrics.best_threshold(SCORES, MASKS, score="iou")),
        ("scores", lambda: metrics.pxap(SCORES / 0, MASKS)),
        ("masks", lambda: metrics.Counts.of(SCORES, MASKS[:1])),
        ("parts", lambda: metrics.Counts.join([])),
        (
            "parts",
            lambda: metrics.Counts.join(
                metrics.Counts.of(SCORES, MASKS, grid) for grid in ([0.5], [0.6])
            ),
        ),
        ("thresholds", lambda: metrics.Counts.of(SCORES, MASKS, [0.5]).at([0.6])),
        ("thresholds", lambda: metrics.Counts.of(SCORES, MASKS).at([0.5, 0.4])),
        ("score", lambda: metrics.Counts.of(SCORES, MASKS).iou_curve("iou")),  # type: ignore
        ("scores", lambda: metrics.max_box_acc(NAN, MASKS)),
        ("iou", lambda: metrics.max_box_acc(SCORES, MASKS, iou=[0.0])),
        ("iou", lambda: metrics.max_box_acc(SCORES, MASKS, iou=[])),
        ("maps", lambda: metrics.energy_outside(SCORES - 1, MASKS)),
        ("maps", lambda: metrics.energy_outside(NAN, MASKS)),
        ("objects", lambda: metrics.energy_outside(SCORES, MASKS[0])),
        ("logits", lambda: metrics.accuracy(NAN[1], torch.zeros(4).long())),
        ("labels", lambda: metrics.accuracy(SCORES[0], torch.zeros(3).long())),
        ("labels", lambda: metrics.accuracy(SCORES[0], torch.full((4,), 4))),
        ("values", lambda: metrics.interval([])),
        ("values", lambda: metrics.interval([0.5, math.nan])),
        ("level", lambda: metrics.interval([0.5, 0.6], level=95)),
        ("b", lambda: metrics.paired_difference([1.0, 2.0], [1.0])),
    ],
)
def test_bad_input_is_named(name: str, call: Callable[[], Any]) -> None:
    with pytest.raises(TccamError, match=f"^{name}: expected .*, got "):
        call()


def test_the_message_says_what_was_found() -> None:
    with pytest.raises(TccamError, match=r"^masks: expected bool \(2, 4, 4\), got .*bool \(1, 4"):
        metrics.frame_iou(MASKS, MASKS[:1])
