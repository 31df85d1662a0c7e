"""Tiles: nothing is lost, nothing changes places, and a network sees the same cells."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tccam.errors import TccamError
from tccam.network import CamNet
from tccam.puzzle import merge, spatial_loss, tile

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]
quick = settings(max_examples=60, deadline=None)
sides, few = st.integers(1, 4), st.integers(1, 3)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pictures(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Shuffled values that the dtype holds exactly."""
    values = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(0))
    return (values % 2 if dtype == torch.bool else values % 251).reshape(shape).to(dtype)


# tile and merge ----------------------------------------------------------------------------------


@quick
@given(side=sides, batch=few, channels=few, height=few, width=few, dtype=st.sampled_from(DTYPES))
def test_merge_and_tile_undo_each_other(
    side: int, batch: int, channels: int, height: int, width: int, dtype: torch.dtype
) -> None:
    images = pictures(batch, channels, side * height, side * width, dtype=dtype)
    tiles = tile(images, side**2)
    assert tiles.shape == (side**2 * batch, channels, height, width)
    assert tiles.dtype == dtype
    assert torch.equal(merge(tiles, side**2), images)
    assert torch.equal(tile(merge(tiles, side**2), side**2), tiles)


@quick
@given(side=sides, height=st.integers(1, 9), width=st.integers(1, 9), dtype=st.sampled_from(DTYPES))
def test_padding_continues_the_picture_and_comes_off_again(
    side: int, height: int, width: int, dtype: torch.dtype
) -> None:
    images = pictures(2, 3, height, width, dtype=dtype)
    tiles = tile(images, side**2, pad=True)
    assert tiles.shape == (2 * side**2, 3, -(-height // side), -(-width // side))
    assert torch.equal(merge(tiles, side**2, size=(height, width)), images)
    whole = merge(tiles, side**2)
    down, right = whole.shape[2] - height, whole.shape[3] - width
    expected = np.pad(images.float().numpy(), ((0, 0), (0, 0), (0, down), (0, right)), mode="edge")
    assert np.array_equal(whole.float().numpy(), expected)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiles_run_row_by_row_and_the_batch_tile_by_tile(side: int) -> None:
    batch, height, width = 3, 4, 5
    images = pictures(batch, 2, side * height, side * width)
    tiles = tile(images, side**2)
    for b in range(batch):
        for row in range(side):
            for column in range(side):
                rows = slice(row * height, (row + 1) * height)
                columns = slice(column * width, (column + 1) * width)
                n = row * side + column
                assert torch.equal(tiles[n * batch + b], images[b, :, rows, columns])


def test_tiles_by_hand() -> None:
    images = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    assert tile(images[None, None], 4)[:, 0].tolist() == [[[0, 1]], [[2, 3]], [[4, 5]], [[6, 7]]]
    assert tile(images[None, None])[1].tolist() == [[[2, 3]]]  # four pieces by default
    assert merge(tile(images[None, None])).tolist() == [[images.tolist()]]


def test_one_piece_is_the_picture() -> None:
    images = pictures(2, 3, 5, 7)
    assert torch.equal(tile(images, 1), images)
    assert torch.equal(merge(images, 1), images)


def test_gradients_travel_back_to_their_pixels() -> None:
    # Both only move values, so that each is the other's transpose: ⟨tile x, y⟩ = ⟨x, merge y⟩.
    images, weights = random(2, 3, 6, 9).requires_grad_(), random(18, 3, 2, 3, seed=1)
    (gradient,) = torch.autograd.grad((tile(images, 9) * weights).sum(), images)
    assert torch.equal(gradient, merge(weights, 9))
    weights.requires_grad_()
    (gradient,) = torch.autograd.grad((merge(weights, 9) * images.detach()).sum(), weights)
    assert torch.equal(gradient, tile(images.detach(), 9))


# With a network ----------------------------------------------------------------------------------


def camnet(stride: int, *, pinhole: bool = False) -> CamNet:
    """With ``pinhole``, cell i sees pixel stride·i alone."""
    torch.manual_seed(0)
    net = CamNet("small", output_stride=stride).double().eval()
    for conv in (module for module in net.modules() if isinstance(module, nn.Conv2d)):
        middle = conv.kernel_size[0] // 2
        kept = torch.zeros_like(conv.weight)
        kept[..., middle, middle] = 1
        conv.weight.data *= kept if pinhole else 1
    return net.requires_grad_(False)


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("pieces", [4, 9])
def test_a_tile_has_the_cells_of_the_picture(stride: int, pieces: int) -> None:
    net, side = camnet(stride, pinhole=True), math.isqrt(pieces)
    images = random(2, 3, side * stride * 2, side * stride * 3)
    maps = net(images).maps
    assert maps.std(dim=(2, 3)).min() > 1e-5  # the pinhole lets light through
    merged = merge(net(tile(images, pieces)).maps, pieces)
    torch.testing.assert_close(merged, maps)
    assert spatial_loss(maps, merged, torch.tensor([0, 1])) < 1e-12


def test_tiles_differ_only_where_the_network_looks_beyond_their_border() -> None:
    net, images = camnet(4), random(1, 3, 128, 160)
    difference = (merge(net(tile(images)).maps) - net(images).maps).abs().amax(dim=(0, 1))
    # The network sees 16 pixels to each side: 4 cells, and the last pixel of a tile is 3 beyond
    # its last cell.
    rows = (torch.arange(32) - 15.5).abs() < 4.6
    columns = (torch.arange(40) - 19.5).abs() < 4.6
    near = rows[:, None] | columns
    assert difference[~near].max() < 1e-12
    assert difference[near].max() > 1e-3


def test_tiles_that_the_stride_does_not_divide_are_refused() -> None:
    net, images = camnet(8), random(1, 3, 40, 48)  # tiles of 20×24
    merged = merge(net(tile(images)).maps)
    with pytest.raises(TccamError, match=r"\(1, 3, 5, 6\).*got \(1, 3, 6, 6\).*output stride"):
        spatial_loss(net(images).maps, merged, torch.tensor([0]))


# spatial_loss ------------------------------------------------------------------------------------

MAPS = torch.tensor([[[[4.0, 0.0], [-1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]]])
MERGED = torch.tensor([[[[2.0, 1.0], [-2.0, 0.0]], [[9.0, 9.0], [9.0, 9.0]]]])


@pytest.mark.parametrize(
    ("level", "reduction", "expected"),
    [
        ("raw", "mean", (2 + 1 + 1 + 2) / 8),
        ("raw", "present", (2 + 1 + 1 + 2) / 4),
        ("normalized", "mean", (0 + 0.5 + 0 + 0.5) / 8),
        ("normalized", "present", (0 + 0.5 + 0 + 0.5) / 4),
    ],
)
def test_spatial_loss_by_hand(level: Any, reduction: Any, expected: float) -> None:
    loss = spatial_loss(MAPS, MERGED, torch.tensor([0]), level=level, reduction=reduction)
    assert loss.item() == pytest.approx(expected, abs=2e-5)


def test_the_authors_setting_is_the_default() -> None:
    assert spatial_loss(MAPS, MERGED, torch.tensor([0])).item() == 6 / 8


@pytest.mark.parametrize("level", ["raw", "normalized"])
def test_spatial_loss_is_a_distance(level: Any) -> None:
    maps, merged, labels = random(3, 4, 5, 6), random(3, 4, 5, 6, seed=1), torch.tensor([0, 3, 1])
    loss = spatial_loss(maps, merged, labels, level=level)
    assert loss > 0
    assert spatial_loss(maps, maps, labels, level=level) == 0
    assert spatial_loss(merged, maps, labels, level=level) == loss
    hot = torch.nn.functional.one_hot(labels, 4)
    assert spatial_loss(maps, merged, hot, level=level) == loss


def test_normalized_maps_are_compared_by_their_shape() -> None:
    maps, labels = random(2, 3, 5, 6), torch.ones(2, 3)
    brighter = maps * torch.tensor([2.0, 10.0, 100.0])[:, None, None]
    assert spatial_loss(maps, brighter, labels, level="normalized") < 1e-4
    assert spatial_loss(maps, brighter, labels) > 1


@pytest.mark.parametrize("level", ["raw", "normalized"])
@pytest.mark.parametrize("reduction", ["mean", "present"])
def test_spatial_loss_agrees_with_loops(level: Any, reduction: Any) -> None:
    maps, merged = random(3, 2, 4, 5), random(3, 2, 4, 5, seed=1)
    hot = torch.tensor([[1, 0], [1, 1], [0, 0]])
    total = count = 0.0
    for b in range(3):
        for c in range(2):
            if not hot[b, c]:
                continue
            one, other = maps[b, c].numpy(), merged[b, c].numpy()
            if level == "normalized":
                one = np.maximum(one - 1e-5, 0) / (one.max() + 1e-5)
                other = np.maximum(other - 1e-5, 0) / (other.max() + 1e-5)
            for y in range(4):
                for x in range(5):
                    total += abs(one[y, x] - other[y, x])
                    count += 1
    expected = total / (3 * 2 * 4 * 5 if reduction == "mean" else count)
    loss = spatial_loss(maps, merged, hot, level=level, reduction=reduction)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", ["raw", "normalized"])
@pytest.mark.parametrize("reduction", ["mean", "present"])
def test_both_sides_move_as_their_gradients_say(level: Any, reduction: Any) -> None:
    maps, merged = random(2, 2, 3, 4).requires_grad_(), random(2, 2, 3, 4, seed=1).requires_grad_()

    def loss(maps: Tensor, merged: Tensor) -> Tensor:
        labels = torch.tensor([[1, 0], [1, 1]])
        return spatial_loss(maps, merged, labels, level=level, reduction=reduction)

    assert torch.autograd.gradcheck(loss, (maps, merged))
    gradients = torch.autograd.grad(loss(maps, merged), (maps, merged))
    for gradient in gradients:
        assert gradient[:, 0].any()
        assert not gradient[0, 1].any()  # a class that the picture does not show


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("level", ["raw", "normalized"])
def test_half_precision_is_near(level: Any, dtype: torch.dtype) -> None:
    maps, merged, labels = random(2, 3, 8, 8), random(2, 3, 8, 8, seed=1), torch.tensor([0, 2])
    loss = spatial_loss(maps.to(dtype), merged.to(dtype), labels, level=level)
    assert loss.item() == pytest.approx(
        spatial_loss(maps, merged, labels, level=level).item(), rel=1e-2
    )


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [-4, 0, 2, 3, 8])
def test_pieces_are_a_square(pieces: int) -> None:
    for function in (tile, merge):
        with pytest.raises(TccamError, match=f"pieces: expected a square.*got {pieces}"):
            function(torch.zeros(24, 1, 24, 24), pieces)


@pytest.mark.parametrize("size", [(5, 4), (4, 5), (513, 512)])
def test_a_side_that_does_not_divide_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(TccamError, match=f"images: {size[0]}×{size[1]} pixels cannot be cut"):
        tile(torch.zeros(1, 1, *size))
    assert len(tile(torch.zeros(1, 1, *size), pad=True)) == 4


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4), (1, 3, 2, 4, 4)])
def test_shapes_are_checked(shape: tuple[int, ...]) -> None:
    with pytest.raises(TccamError, match=r"images: expected \(B, C, H, W\), got"):
        tile(torch.zeros(shape))
    with pytest.raises(TccamError, match=r"maps: expected \(4·B, C, h, w\)"):
        merge(torch.zeros(shape))


def test_a_missing_tile_is_named() -> None:
    with pytest.raises(TccamError, match=r"maps: expected \(9·B, C, h, w\).*got \(8, 1, 2, 2\)"):
        merge(torch.zeros(8, 1, 2, 2), 9)


@pytest.mark.parametrize("size", [(9, 8), (8, 9), (0, 8), (8, -1)])
def test_merge_cuts_to_a_size_that_is_there(size: tuple[int, int]) -> None:
    with pytest.raises(TccamError, match=r"size: expected \(1, 1\) … \(8, 8\), got"):
        merge(torch.zeros(4, 1, 4, 4), size=size)


def test_options_of_the_loss_are_checked() -> None:
    unknown: Any = "features"
    with pytest.raises(TccamError, match="level: expected 'raw' or 'normalized', got 'features'"):
        spatial_loss(MAPS, MERGED, torch.tensor([0]), level=unknown)
    with pytest.raises(TccamError, match="reduction: expected 'mean' or 'present'"):
        spatial_loss(MAPS, MERGED, torch.tensor([0]), reduction=unknown)
    with pytest.raises(TccamError, match="labels"):
        spatial_loss(MAPS, MERGED, torch.tensor([2]))
    with pytest.raises(TccamError, match=r"merged: expected \(1, 2, 2, 2\) as maps have"):
        spatial_loss(MAPS, MERGED[:, :1], torch.tensor([0]))
    with pytest.raises(TccamError, match="uint8"):
        spatial_loss(MAPS.byte(), MERGED.byte(), torch.tensor([0]))
