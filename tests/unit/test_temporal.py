"""Neighbours brought to the centre: fusion, the loss by hand and by loops, and its gradients."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tccam import cam, consistency
from tccam.errors import TccamError
from tccam.flow import warp
from tccam.temporal import aggregate, align, fuse, temporal_loss

quick = settings(max_examples=60, deadline=None)
CHOICES: dict[str, tuple[Any, Any]] = {
    "fusion": ("max", "mean"),
    "centre_in": (False, True),
    "normalized": ("fused", "each"),
    "validity": (True, False),
    "half_cell_shift": (False, True),
    "reduction": ("mean", "present"),
}
OPTIONS = [
    dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())
]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def between(*shape: int, seed: int = 0) -> Tensor:
    """A flow of up to 2 cells to places well between cells, where reading has no kink."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randint(-2, 2, shape, generator=generator)
    return whole + 0.2 + 0.6 * torch.rand(shape, generator=generator, dtype=torch.float64)


def constant(u: float, v: float, maps: Tensor) -> Tensor:
    field = torch.tensor([u, v], dtype=maps.dtype).reshape(1, 2, 1, 1)
    return field.repeat(len(maps), 1, *maps.shape[-2:])


def blobs() -> Tensor:
    """Two maps with one bump each, away from the border, on a negative ground."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    bumps = [torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 6) for y, x in ((7, 8), (9, 6))]
    return (torch.stack(bumps)[None] * 3 - 0.5).double()


# fuse --------------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 2**31), count=st.integers(1, 4), share=st.floats(0, 1))
def test_fusion_keeps_to_its_valid_neighbours(seed: int, count: int, share: float) -> None:
    maps = random(count, 2, 3, 4, 5, seed=seed)
    draws = torch.rand(count, 2, 1, 4, 5, generator=torch.Generator().manual_seed(seed))
    valids = draws < share
    highest, mean = fuse(list(maps), list(valids)), fuse(list(maps), list(valids), "mean")
    seen = valids.any(0).expand_as(highest)
    assert not highest[~seen].any()
    assert not mean[~seen].any()
    assert ((highest >= maps) | ~valids).all()
    lowest = maps.masked_fill(~valids, torch.inf).amin(0)
    assert (highest >= mean - 1e-12)[seen].all()
    assert (lowest <= mean + 1e-12)[seen].all()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    turned = [maps[i] for i in order], [valids[i] for i in order]
    assert torch.equal(fuse(*turned), highest)
    torch.testing.assert_close(fuse(*turned, "mean"), mean)


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_fusion_of_one_and_of_equals(mode: Any) -> None:
    maps, valid = random(2, 3, 4, 5), random(2, 1, 4, 5, seed=1) > 0
    torch.testing.assert_close(fuse([maps], [valid], mode), maps * valid)
    everywhere = torch.ones_like(valid)
    torch.testing.assert_close(fuse([maps] * 3, [valid, everywhere, valid], mode), maps)


def test_fusion_by_hand() -> None:
    maps = [torch.tensor(row).reshape(1, 1, 1, 4) for row in ([1.0, -2, 6, 5], [3.0, -4, 2, 7])]
    valids = [
        torch.tensor(row).reshape(1, 1, 1, 4)
        for row in ([True, True, True, False], [True, True, False, False])
    ]
    assert fuse(maps, valids).flatten().tolist() == [3, -2, 6, 0]
    assert fuse(maps, valids, "mean").flatten().tolist() == [2, -3, 6, 0]


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_gradients_reach_valid_neighbours_alone(mode: Any) -> None:
    maps = random(3, 2, 2, 3, 4).requires_grad_()
    valids = random(3, 2, 1, 3, 4, seed=1) > 0
    assert not valids.any(0).all()  # some cells have no neighbour at all

    def fused(maps: Tensor) -> Tensor:
        return fuse(list(maps), list(valids), mode)

    assert torch.autograd.gradcheck(fused, (maps,))
    (gradient,) = torch.autograd.grad(fused(maps).sum(), maps)
    assert not gradient[~valids.expand_as(gradient)].any()
    torch.testing.assert_close(gradient.sum(0), valids.any(0).double().expand(2, 2, 3, 4))


# align and aggregate -----------------------------------------------------------------------------


def test_align_warps_each_neighbour_with_its_own_flow() -> None:
    neighbours, flows = random(3, 2, 4, 5, 6).unbind(), between(3, 2, 2, 5, 6).unbind()
    visible = (random(3, 2, 1, 5, 6, seed=1) > 0).unbind()
    for shift in (False, True):
        warped, valids = align(neighbours, flows, half_cell_shift=shift)
        unseen, masked = align(neighbours, flows, visible, half_cell_shift=shift)
        for n in range(3):
            expected, inside = warp(neighbours[n], flows[n], half_cell_shift=shift)
            assert torch.equal(warped[n], expected)
            assert torch.equal(unseen[n], expected)
            assert torch.equal(valids[n], inside)
            assert torch.equal(masked[n], inside & visible[n])


CENTRE = torch.tensor([[[[4.0, 0.0], [0.0, 2.0]]]])
#: The object has moved one cell to the left: it is fetched from one cell to the left.
BEFORE = torch.tensor([[[[2.0, 0.0], [1.0, -3.0]]]])
AFTER = torch.tensor([[[[0.0, 1.0], [-1.0, 4.0]]]])
LEFT, STILL = constant(-1, 0, CENTRE), constant(0, 0, CENTRE)
HIDDEN = torch.tensor([[[[False, True], [True, True]]]])
SEEN = torch.ones_like(HIDDEN)


def test_aggregation_by_hand() -> None:
    # BEFORE arrives as [[–, 2], [–, 1]], AFTER as [[0, 1], [0, 4]].
    mean = aggregate(CENTRE, [BEFORE, AFTER], [LEFT, STILL])
    torch.testing.assert_close(mean, torch.tensor([[[[2.0, 1.0], [0.0, 7 / 3]]]]))
    highest = aggregate(CENTRE, [BEFORE, AFTER], [LEFT, STILL], mode="max")
    torch.testing.assert_close(highest, torch.tensor([[[[4.0, 2.0], [0.0, 4.0]]]]))
    unseen = aggregate(CENTRE, [BEFORE, AFTER], [LEFT, STILL], [SEEN, HIDDEN])
    torch.testing.assert_close(unseen, torch.tensor([[[[4.0, 1.0], [0.0, 7 / 3]]]]))


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_aggregation_of_identical_frames_changes_nothing(mode: Any) -> None:
    maps = random(2, 3, 5, 6)
    still = constant(0, 0, maps)
    torch.testing.assert_close(
        aggregate(maps, [maps, maps], [still, still], mode=mode), F.relu(maps)
    )


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_aggregation_falls_back_on_the_centre(mode: Any) -> None:
    maps, others = random(2, 3, 5, 6), random(2, 3, 5, 6, seed=1)
    gone = constant(100, 0, maps)
    torch.testing.assert_close(aggregate(maps, [others], [gone], mode=mode), F.relu(maps))
    hidden = [torch.zeros(2, 1, 5, 6, dtype=torch.bool)]
    still = constant(0, 0, maps)
    torch.testing.assert_close(aggregate(maps, [others], [still], hidden, mode=mode), F.relu(maps))
    assert aggregate(maps, [others], [still], mode=mode).min() >= 0


# temporal_loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [o for o in OPTIONS if not o["half_cell_shift"]])
def test_identical_frames_agree(options: dict[str, Any]) -> None:
    maps, labels = random(2, 3, 6, 7), torch.ones(2, 3)
    still = constant(0, 0, maps)
    assert temporal_loss(maps, [maps, maps], [still, still], labels, **options) < 1e-6
    assert temporal_loss(maps.flip(-1), [maps, maps], [still, still], labels, **options) > 0.01


def test_identical_frames_disagree_under_the_authors_sampling() -> None:
    maps = blobs()
    still, labels = constant(0, 0, maps), torch.ones(1, 2)
    assert temporal_loss(maps, [maps] * 2, [still] * 2, labels) < 1e-6
    assert temporal_loss(maps, [maps] * 2, [still] * 2, labels, half_cell_shift=True) > 1e-3


@pytest.mark.parametrize("normalized", ["fused", "each"])
def test_a_moving_object_agrees_with_itself_through_its_flow(normalized: Any) -> None:
    before, now, after = (blobs().roll((dy, 2 * dy), (-2, -1)) for dy in (-1, 0, 1))
    labels, options = torch.ones(1, 2), {"normalized": normalized}
    # It moves 2 cells to the right and 1 down: FROM now TO before is (−2, −1).
    back, forth = constant(-2, -1, now), constant(2, 1, now)
    right = temporal_loss(now, [before, after], [back, forth], labels, **options)
    wrong = temporal_loss(now, [before, after], [forth, back], labels, **options)
    still = temporal_loss(now, [before, after], [back * 0, forth * 0], labels, **options)
    assert right < 1e-6
    assert wrong > still > 0.01


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Normalised, CENTRE is [[1, 0], [0, ½]]. BEFORE arrives as [[–, 2], [–, 1]], AFTER as
        # [[0, 1], [0, 4]]; fused they are [[0, 2], [0, 4]].
        ({}, (1 + 1 / 2 + 0 + 1 / 2) / 4),
        ({"fusion": "mean"}, (1 + 3 / 5 + 0 + 1 / 2) / 4),
        ({"centre_in": True}, (0 + 1 / 2 + 0 + 1 / 2) / 4),  # [[4, 2], [0, 4]]
        # [[2, 1], [0, 7/3]]
        ({"centre_in": True, "fusion": "mean"}, (1 / 7 + 3 / 7 + 0 + 1 / 2) / 4),
        # BEFORE normalised first arrives as [[–, 1], [–, ½]], AFTER is [[0, ¼], [0, 1]].
        ({"normalized": "each"}, (1 + 1 + 0 + 1 / 2) / 4),
        ({"normalized": "each", "fusion": "mean"}, (1 + 5 / 8 + 0 + 1 / 4) / 4),
        ({"normalized": "each", "centre_in": True}, (0 + 1 + 0 + 1 / 2) / 4),
        ({"detach": True}, (1 + 1 / 2 + 0 + 1 / 2) / 4),
        # No neighbour sees the upper left cell, …
        # where the centre has its peak: normalised without it, it is [[–, 0], [0, 1]].
        ({"visible": [SEEN, HIDDEN]}, (1 / 2 + 0 + 0) / 4),
        ({"visible": [SEEN, HIDDEN], "reduction": "present"}, (1 / 2 + 0 + 0) / 3),
        # … which counts all the same without validity; AFTER's 0 is then taken.
        ({"visible": [SEEN, HIDDEN], "validity": False}, (1 + 1 / 2 + 0 + 1 / 2) / 4),
        # Without validity BEFORE arrives as [[0, 2], [0, 1]]; the mean is [[0, 3/2], [0, 5/2]].
        ({"validity": False, "fusion": "mean"}, (1 + 3 / 5 + 0 + 1 / 2) / 4),
        # At 2×2 the authors' sampling sees nothing.
        ({"half_cell_shift": True}, 0),
        ({"half_cell_shift": True, "validity": False}, (1 + 0 + 0 + 1 / 2) / 4),
    ],
)
def test_loss_by_hand(options: dict[str, Any], expected: float) -> None:
    labels = torch.tensor([0])
    loss = temporal_loss(CENTRE, [BEFORE, AFTER], [LEFT, STILL], labels, **options)
    assert loss.item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # BEFORE alone is [[–, 1], [–, ½]]; without the left column CENTRE is [[–, 0], [–, 1]].
        ({}, (1 + 1 / 2) / 4),
        ({"reduction": "present"}, (1 + 1 / 2) / 2),
        ({"validity": False}, (1 + 1 + 0 + 0) / 4),
        ({"validity": False, "reduction": "present"}, (1 + 1 + 0 + 0) / 4),
    ],
)
def test_validity_leaves_out_what_enters(options: dict[str, Any], expected: float) -> None:
    loss = temporal_loss(CENTRE, [BEFORE], [LEFT], torch.tensor([0]), **options)
    assert loss.item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("reduction", ["mean", "present"])
def test_what_enters_unseen_does_not_change_the_loss(reduction: Any) -> None:
    centre, before = random(2, 3, 6, 7), random(2, 3, 6, 7, seed=1)
    flow, labels = constant(-2, 0, centre), torch.ones(2, 3)
    other = centre.clone()
    other[..., :2] = 50 + random(2, 3, 6, 2, seed=2)  # the peak too: it is no measure then
    losses = [
        temporal_loss(maps, [before], [flow], labels, reduction=reduction)
        for maps in (centre, other)
    ]
    assert losses[0] == losses[1] > 0
    compared = [temporal_loss(m, [before], [flow], labels, validity=False) for m in (centre, other)]
    assert (compared[0] - compared[1]).abs() > 1e-4


def test_neighbours_that_see_nothing_teach_nothing() -> None:
    centre, before = random(2, 3, 6, 7).requires_grad_(), random(2, 3, 6, 7, seed=1)
    for reduction in ("mean", "present"):
        options: Any = {"reduction": reduction}
        loss = temporal_loss(
            centre, [before], [constant(9, 0, centre)], torch.ones(2, 3), **options
        )
        assert loss == 0
        (gradient,) = torch.autograd.grad(loss, centre)
        assert not gradient.any()


def reference(
    centre: np.ndarray,
    neighbours: np.ndarray,
    flows: np.ndarray,
    hot: np.ndarray,
    visible: np.ndarray | None,
    *,
    fusion: str,
    centre_in: bool,
    normalized: str,
    validity: bool,
    half_cell_shift: bool,
    reduction: str,
) -> float:
    """The loss, cell by cell."""
    batch, classes, height, width = centre.shape
    total, count = 0.0, 0

    def norm(plane: np.ndarray) -> np.ndarray:
        if plane.max() - plane.min() <= 1e-5 * plane.max():
            return np.zeros_like(plane)
        return np.maximum(plane - 1e-5, 0) / (max(plane.max(), 0) + 1e-5)

    def ready(plane: np.ndarray) -> np.ndarray:
        return norm(plane) if normalized == "each" else np.maximum(plane, 0)

    def read(plane: np.ndarray, x: float, y: float) -> float | None:
        if half_cell_shift:
            x, y = x * width / (width - 1) - 0.5, y * height / (height - 1) - 0.5
        hair = 1e-4
        if not (-hair <= x <= width - 1 + hair and -hair <= y <= height - 1 + hair):
            return None
        value = 0.0
        for row in range(height):
            for column in range(width):
                value += max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row)) * plane[row, column]
        return value

    for b in range(batch):
        for c in range(classes):
            fused, seen = np.zeros((height, width)), np.ones((height, width), bool)
            for row in range(height):
                for column in range(width):
                    values = []
                    for n in range(len(neighbours)):
                        u, v = flows[n, b, :, row, column]
                        value = read(ready(neighbours[n, b, c]), column + u, row + v)
                        if not validity:
                            values.append(value or 0.0)
                        elif value is not None and (
                            visible is None or visible[n, b, 0, row, column]
                        ):
                            values.append(value)
                    seen[row, column] = bool(values)
                    if centre_in:
                        values.append(ready(centre[b, c])[row, column])
                    if values:
                        fused[row, column] = max(values) if fusion == "max" else np.mean(values)
            fused = np.where(seen, fused, 0)
            target = fused if normalized == "each" else norm(fused)
            if hot[b, c]:
                shown = norm(np.where(seen, centre[b, c], 0))
                total += (np.abs(shown - target) * seen).sum()
                count += seen.sum()
    return total / (centre.size if reduction == "mean" else count)


def scene(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centre, two neighbours, their flows, multi-hot labels, visible cells."""
    centre, *neighbours = random(3, 2, 2, 4, 5, seed=seed).unbind()
    hot = torch.tensor([[1, 1], [0, 1]])
    visible = random(2, 2, 1, 4, 5, seed=seed + 1) > -0.7
    return centre, torch.stack(neighbours), between(2, 2, 2, 4, 5, seed=seed), hot, visible


@pytest.mark.parametrize("masked", [False, True])
def test_loss_agrees_with_loops(masked: bool) -> None:
    for seed, options in enumerate(OPTIONS):
        centre, neighbours, flows, hot, visible = scene(seed)
        expected = reference(
            *(part.numpy() for part in (centre, neighbours, flows, hot)),
            visible.numpy() if masked else None,
            **options,
        )
        seen = visible.unbind() if masked else None
        loss = temporal_loss(
            centre, neighbours.unbind(), flows.unbind(), hot, visible=seen, **options
        )
        assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12), options


@pytest.mark.parametrize("options", OPTIONS[::3])
def test_loss_is_bounded_and_blind_to_order(options: dict[str, Any]) -> None:
    centre, neighbours, flows, hot, visible = scene()
    loss = temporal_loss(
        centre, neighbours.unbind(), flows.unbind(), hot, visible=visible.unbind(), **options
    )
    assert 0 < loss <= 1
    swapped = [list(part.flip(0)) for part in (neighbours, flows, visible)]
    again = temporal_loss(centre, *swapped[:2], hot, visible=swapped[2], **options)
    assert again.item() == pytest.approx(loss.item())


def test_index_labels_are_multi_hot_labels() -> None:
    centre, neighbours, flows, _, _ = scene()
    labels = torch.tensor([1, 0])
    losses = [
        temporal_loss(centre, neighbours.unbind(), flows.unbind(), form)
        for form in (labels, F.one_hot(labels, 2), F.one_hot(labels, 2).bool())
    ]
    assert losses[0] == losses[1] == losses[2] > 0
    assert temporal_loss(centre, neighbours.unbind(), flows.unbind(), 1 - labels) != losses[0]


def test_weak_frames_count_as_much_as_strong_ones_only_when_each_is_normalized() -> None:
    centre, neighbours, flows, hot, _ = scene()
    scales = torch.tensor([100.0, 1.0])[:, None, None, None, None]

    def loss(neighbours: Tensor, normalized: Any) -> float:
        return temporal_loss(
            centre, neighbours.unbind(), flows.unbind(), hot, normalized=normalized
        ).item()

    each = [loss(maps, "each") for maps in (neighbours, neighbours * scales)]
    fused = [loss(maps, "fused") for maps in (neighbours, neighbours * scales)]
    assert each[0] == pytest.approx(each[1], abs=1e-4)
    assert fused[0] != pytest.approx(fused[1], abs=3e-4)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients(options: dict[str, Any]) -> None:
    centre, neighbours, flows, hot, visible = scene(seed=3)

    def loss(centre: Tensor, neighbours: Tensor, flows: Tensor) -> Tensor:
        return temporal_loss(
            centre, neighbours.unbind(), flows.unbind(), hot, visible=visible.unbind(), **options
        )

    inputs = [part.requires_grad_() for part in (centre, neighbours, flows)]
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)
    for gradient in torch.autograd.grad(loss(*inputs), inputs):
        assert gradient.any()


@pytest.mark.parametrize("centre_in", [False, True])
@pytest.mark.parametrize("normalized", ["fused", "each"])
def test_detach_makes_the_fused_map_a_fixed_target(centre_in: bool, normalized: Any) -> None:
    centre, neighbours, flows, hot, _ = scene()
    parts = [part.requires_grad_() for part in (centre, neighbours, flows)]
    options: Any = {"centre_in": centre_in, "normalized": normalized, "fusion": "mean"}

    def gradients(detach: bool) -> Sequence[Tensor | None]:
        loss = temporal_loss(
            centre, neighbours.unbind(), flows.unbind(), hot, detach=detach, **options
        )
        return torch.autograd.grad(loss, parts, allow_unused=True)

    fixed, others, motion = gradients(detach=True)
    assert others is None
    assert motion is None
    # What remains is the gradient of the distance to the target as it stands.
    with torch.no_grad():
        activate = cam.normalize if normalized == "each" else F.relu
        warped, valids = align([activate(n) for n in neighbours], flows.unbind())
        seen = valids[0] | valids[1]
        if centre_in:
            warped, valids = [*warped, activate(centre)], [*valids, torch.ones_like(seen)]
        target = fuse(warped, valids, "mean").masked_fill(~seen, 0.0)
        target = target if normalized == "each" else cam.normalize(target)
    shown = cam.normalize(centre.masked_fill(~seen, 0.0))
    distance = consistency.l1(shown, target, hot, valid=seen)
    (expected,) = torch.autograd.grad(distance, centre)
    assert fixed is not None
    torch.testing.assert_close(fixed, expected)
    moving, others, motion = gradients(detach=False)
    assert others is not None
    assert motion is not None
    assert others[0].any()
    assert others[1].any()
    assert motion.any()
    assert torch.equal(moving, fixed) != centre_in  # the centre's own part in the target


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("options", OPTIONS[::5])
def test_half_precision_is_near(options: dict[str, Any], dtype: torch.dtype) -> None:
    centre, neighbours, flows, hot, _ = scene()
    expected = temporal_loss(centre, neighbours.unbind(), flows.unbind(), hot, **options).item()
    centre, neighbours = centre.to(dtype).requires_grad_(), neighbours.to(dtype)
    loss = temporal_loss(centre, neighbours.unbind(), flows.float().unbind(), hot, **options)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, abs=0.01)
    (gradient,) = torch.autograd.grad(loss, centre)
    assert gradient.isfinite().all()
    fused = aggregate(centre, neighbours.unbind(), flows.to(dtype).unbind())
    assert fused.dtype == dtype


def test_the_paper_is_the_default() -> None:
    centre, neighbours, flows, hot, visible = scene()
    arguments = (centre, neighbours.unbind(), flows.unbind(), hot)
    explicit = temporal_loss(
        *arguments,
        visible=None,
        fusion="max",
        centre_in=False,
        normalized="fused",
        detach=False,
        validity=True,
        half_cell_shift=False,
        reduction="mean",
    )
    assert temporal_loss(*arguments) == explicit
    assert temporal_loss(*arguments, visible=visible.unbind()) != explicit


# Bad input ---------------------------------------------------------------------------------------

MAPS, FLOW = torch.zeros(2, 3, 4, 5), torch.zeros(2, 2, 4, 5)
VALID = torch.ones(2, 1, 4, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "flows: expected one a neighbour, got 0 for 0"),
        (([MAPS], []), "flows: expected one a neighbour, got 0 for 1"),
        (([MAPS], [FLOW, FLOW]), "flows: expected one a neighbour, got 2 for 1"),
        (([MAPS], [FLOW], []), "visible: expected 1 masks, got 0"),
        (([MAPS], [FLOW], [VALID, VALID]), "visible: expected 1 masks, got 2"),
        (([MAPS], [FLOW], [VALID[:, 0]]), r"visible: expected bool \(2, 1, 4, 5\), got .*\(2, 4"),
        (([MAPS], [FLOW], [VALID[:1]]), r"visible: .* \(1, 1, 4, 5\)"),
        (([MAPS], [FLOW], [VALID.float()]), "visible: expected bool .* torch.float32"),
        (([MAPS], [FLOW], [VALID.byte()]), "visible: expected bool .* torch.uint8"),
        (([MAPS], [FLOW[:, :1]]), "flow: "),
        (([MAPS[0]], [FLOW]), "maps: "),
    ],
)
def test_align_names_bad_arguments(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TccamError, match=message):
        align(*arguments)
    with pytest.raises(TccamError, match=message):
        aggregate(MAPS, *arguments)
    with pytest.raises(TccamError, match=message):
        temporal_loss(MAPS, *arguments[:2], torch.tensor([0, 1]), visible=[*arguments, None][2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), r"valids: expected 0 \(at least one\), got 0"),
        (([MAPS], []), r"valids: expected 1 \(at least one\), got 0"),
        (([MAPS, MAPS], [VALID]), r"valids: expected 2 \(at least one\), got 1"),
        (([MAPS, MAPS[:1]], [VALID, VALID]), r"neighbours, valids: .* got \(1, 3, 4, 5\)"),
        (([MAPS], [VALID[:, 0]]), r"neighbours, valids: .* torch.bool \(2, 4, 5\)"),
        (([MAPS], [VALID.float()]), "neighbours, valids: .* bool .* torch.float32"),
        (([MAPS], [VALID], "sum"), "mode: expected 'max' or 'mean', got 'sum'"),
    ],
)
def test_fuse_names_bad_arguments(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TccamError, match=message):
        fuse(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": MAPS[:1]}, r"got .*\(1, 3, 4, 5\)"),
        ({"centre": MAPS[:1], "centre_in": True}, r"got \(1, 3, 4, 5\)"),
        ({"centre": MAPS.byte()}, "maps: expected float .* torch.uint8"),
        ({"labels": torch.tensor([0, 3])}, "labels: expected classes 0 … 2"),
        ({"labels": torch.tensor([0])}, "labels: expected 2 pictures, got 1"),
        ({"fusion": "median"}, "mode: expected 'max' or 'mean', got 'median'"),
        ({"normalized": "none"}, "normalized: expected 'fused' or 'each', got 'none'"),
        ({"reduction": "sum"}, "reduction: expected 'mean' or 'present', got 'sum'"),
    ],
)
def test_the_loss_names_bad_arguments(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "centre": MAPS,
        "neighbours": [MAPS],
        "flows": [FLOW],
        "labels": torch.tensor([0, 2]),
    }
    assert temporal_loss(**arguments) == 0
    with pytest.raises(TccamError, match=message):
        temporal_loss(**arguments | change)
