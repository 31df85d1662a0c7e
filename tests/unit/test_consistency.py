"""The distance of two sets of maps: by hand, by loops, and what must not count."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tccam.consistency import equivariance_loss, l1, multi_hot
from tccam.errors import TccamError

REDUCTIONS = ["mean", "present"]
quick = settings(max_examples=60, deadline=None)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maps, target, multi-hot labels and valid cells of three pictures, four classes."""
    maps, target = random(2, 3, 4, 5, 6, seed=seed)
    return maps, target, (random(3, 4, seed=seed) > 0).long(), random(3, 1, 5, 6, seed=seed) > -0.5


# multi_hot ---------------------------------------------------------------------------------------


@quick
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_multi_hot_agrees_with_torch(labels: list[int]) -> None:
    for dtype in (torch.int64, torch.int32, torch.uint8):
        hot = multi_hot(torch.tensor(labels, dtype=dtype), 5)
        assert hot.dtype == torch.float32
        assert torch.equal(hot, F.one_hot(torch.tensor(labels), 5).float())
        assert torch.equal(multi_hot(hot, 5), hot)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.float64])
def test_multi_hot_labels_stay_what_they_are(dtype: torch.dtype) -> None:
    labels = torch.tensor([[1, 0, 1], [0, 0, 0]]).to(dtype)
    assert multi_hot(labels, 3).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert multi_hot(labels, 3).dtype == torch.float32


def test_no_pictures_have_no_labels() -> None:
    assert multi_hot(torch.zeros(0, dtype=torch.int64), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), "expected classes 0 … 2, got 0 … 3"),
        (torch.tensor([-1, 2]), "expected classes 0 … 2, got -1 … 2"),
        (torch.tensor([0.0, 1.0]), "expected integers .* got torch.float32"),
        (torch.tensor([True, False]), "expected integers .* got torch.bool"),
        (torch.tensor([[1, 0]]), r"got torch.int64 \(1, 2\)"),
        (torch.tensor([[0], [1]]), r"got torch.int64 \(2, 1\)"),
        (torch.tensor(1), r"got torch.int64 \(\)"),
        (torch.tensor([[0, 2, 0]]), "expected zeros and ones"),
        (torch.tensor([[0.0, 0.5, 1.0]]), "expected zeros and ones"),
        (torch.tensor([[0.0, float("nan"), 1.0]]), "expected zeros and ones"),
    ],
)
def test_other_labels_are_refused(labels: Tensor, message: str) -> None:
    with pytest.raises(TccamError, match=f"labels: .*{message}"):
        multi_hot(labels, 3)


# l1 ----------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    maps = torch.zeros(2, 2, 1, 2)
    target = torch.tensor([[[[1.0, 3.0]], [[9.0, 9.0]]], [[[9.0, 9.0]], [[-4.0, 8.0]]]])
    labels = torch.tensor([0, 1])
    assert l1(maps, target, labels).item() == (1 + 3 + 4 + 8) / 8
    assert l1(maps, target, labels, reduction="present").item() == (1 + 3 + 4 + 8) / 4
    valid = torch.tensor([[[[True, False]]], [[[True, True]]]])
    assert l1(maps, target, labels, valid=valid).item() == (1 + 4 + 8) / 8
    present = l1(maps, target, labels, valid=valid, reduction="present")
    assert present.item() == pytest.approx((1 + 4 + 8) / 3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_loops(reduction: Any, masked: bool, seed: int) -> None:
    maps, target, labels, valid = case(seed)
    total, count = 0.0, 0
    for b, c, y, x in torch.cartesian_prod(*(torch.arange(n) for n in maps.shape)).tolist():
        if labels[b, c] and (valid[b, 0, y, x] or not masked):
            total += abs(float(maps[b, c, y, x]) - float(target[b, c, y, x]))
            count += 1
    expected = total / (maps.numel() if reduction == "mean" else count)
    loss = l1(maps, target, labels, valid=valid if masked else None, reduction=reduction)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_it_is_a_distance(reduction: Any) -> None:
    maps, target, labels, valid = case()

    def distance(a: Tensor, b: Tensor) -> float:
        return l1(a, b, labels, valid=valid, reduction=reduction).item()

    assert distance(maps, maps) == 0
    assert distance(maps, target) == distance(target, maps) > 0
    between = random(*maps.shape, seed=9)
    assert distance(maps, target) <= distance(maps, between) + distance(between, target)
    assert distance(3 * maps, 3 * target) == pytest.approx(3 * distance(maps, target))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_what_is_absent_or_invalid_does_not_count(reduction: Any) -> None:
    maps, target, labels, valid = case()
    counted = (labels[:, :, None, None] * valid).bool()
    assert not counted.all()
    other = torch.where(counted, maps, random(*maps.shape, seed=9))
    loss = l1(maps, target, labels, valid=valid, reduction=reduction)
    assert l1(other, target, labels, valid=valid, reduction=reduction) == loss
    maps.requires_grad_()
    (gradient,) = torch.autograd.grad(
        l1(maps, target, labels, valid=valid, reduction=reduction), maps
    )
    assert torch.equal(gradient != 0, counted)


def test_only_the_mean_is_diluted_by_absent_classes() -> None:
    maps, target = random(2, 2, 3, 4), random(2, 2, 3, 4, seed=1)
    labels, more = torch.tensor([0, 1]), (random(2, 2, 3, 4, seed=2), random(2, 2, 3, 4, seed=3))
    wider = [torch.cat(pair, dim=1) for pair in zip((maps, target), more, strict=True)]
    assert l1(*wider, labels).item() == pytest.approx(l1(maps, target, labels).item() / 2)
    present = [l1(*pair, labels, reduction="present").item() for pair in ((maps, target), wider)]
    assert present[0] == pytest.approx(present[1])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_index_labels_are_multi_hot_labels(reduction: Any) -> None:
    maps, target, _, valid = case()
    labels = torch.tensor([3, 0, 3])
    hot = F.one_hot(labels, 4)
    losses = {
        l1(maps, target, form, valid=valid, reduction=reduction).item()
        for form in (labels, labels.int(), hot, hot.bool(), hot.double())
    }
    assert len(losses) == 1
    assert losses != {0.0}


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_order_of_the_pictures_does_not_matter(reduction: Any) -> None:
    maps, target, labels, valid = case()
    order = torch.tensor([2, 0, 1])
    turned = l1(maps[order], target[order], labels[order], valid=valid[order], reduction=reduction)
    assert turned.item() == pytest.approx(
        l1(maps, target, labels, valid=valid, reduction=reduction).item()
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nothing_to_compare_is_no_difference(reduction: Any) -> None:
    maps, target, labels, valid = case()
    maps.requires_grad_()
    nothing = (
        l1(maps, target, labels, valid=torch.zeros_like(valid), reduction=reduction),
        l1(maps, target, torch.zeros_like(labels), reduction=reduction),
    )
    for loss in nothing:
        assert loss == 0
        (gradient,) = torch.autograd.grad(loss, maps)
        assert not gradient.any()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_both_sides(reduction: Any, masked: bool) -> None:
    maps, target, labels, valid = case()

    def loss(maps: Tensor, target: Tensor) -> Tensor:
        return l1(maps, target, labels, valid=valid if masked else None, reduction=reduction)

    assert torch.autograd.gradcheck(loss, (maps.requires_grad_(), target.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_half_precision_does_not_overflow(reduction: Any, dtype: torch.dtype) -> None:
    shape = (8, 3, 64, 64)  # 98 304 cells; float16 ends at 65 504
    maps = torch.zeros(shape, dtype=dtype, requires_grad=True)
    loss = l1(maps, torch.ones(shape, dtype=dtype), torch.ones(8, 3), reduction=reduction)
    assert loss.dtype == torch.float32
    assert loss.item() == 1
    (gradient,) = torch.autograd.grad(loss, maps)
    assert gradient.dtype == dtype
    assert (gradient < 0).all()


def test_double_precision_is_kept() -> None:
    maps, target, labels, _ = case()
    assert l1(maps, target, labels).dtype == torch.float64


MAPS = torch.zeros(2, 3, 4, 5)
VALID = torch.ones(2, 1, 4, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.zeros(2, 3, 4, 4)}, r"maps, target: .* \(2, 3, 4, 4\)"),
        ({"target": torch.zeros(1, 3, 4, 5)}, r"maps, target: .* \(1, 3, 4, 5\)"),
        ({"maps": torch.zeros(3, 4, 5), "target": torch.zeros(3, 4, 5)}, r"\(3, 4, 5\)"),
        ({"maps": MAPS.byte()}, "maps, target: expected two float .* torch.uint8"),
        ({"target": MAPS.long()}, "maps, target: expected two float .* torch.int64"),
        ({"labels": torch.tensor([0])}, "labels: expected 2 pictures, got 1"),
        ({"labels": torch.ones(3, 3)}, "labels: expected 2 pictures, got 3"),
        ({"labels": torch.tensor([0, 3])}, "labels: expected classes 0 … 2"),
        ({"valid": VALID[:, 0]}, r"valid: expected bool \(2, 1, 4, 5\), got .* \(2, 4, 5\)"),
        ({"valid": VALID[:1]}, r"valid: .* \(1, 1, 4, 5\)"),
        ({"valid": VALID.expand(2, 3, 4, 5)}, r"valid: .* \(2, 3, 4, 5\)"),
        ({"valid": VALID.float()}, "valid: expected bool .* torch.float32"),
        ({"reduction": "sum"}, "reduction: expected 'mean' or 'present', got 'sum'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "maps": MAPS,
        "target": MAPS,
        "labels": torch.tensor([0, 2]),
        "valid": VALID,
    }
    assert l1(**arguments) == 0
    with pytest.raises(TccamError, match=message):
        l1(**arguments | change)


def test_a_scale_equivariant_network_has_no_equivariance_loss() -> None:
    def network(images: Tensor) -> Tensor:  # one cell is one pixel, its map depends on that alone
        return images.relu()

    pictures = torch.rand(2, 3, 8, 10)
    smaller = pictures[:, :, ::2, ::2]
    labels = torch.tensor([0, 2])
    assert equivariance_loss(network(pictures), 3 * network(smaller), labels) < 1e-5
    assert equivariance_loss(network(pictures), network(smaller.flip(-1)), labels) > 0.01


def test_equivariance_takes_odd_grids_and_names_others() -> None:
    maps = torch.rand(1, 3, 5, 7)
    assert equivariance_loss(maps, maps[:, :, ::2, ::2], torch.tensor([1])) == 0
    with pytest.raises(TccamError, match=r"halved: expected \(1, 3, 3, 4\)"):
        equivariance_loss(maps, maps, torch.tensor([1]))
