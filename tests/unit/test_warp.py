"""Fetching through a flow: every sign and every half-pixel, by hand, by loops, with a network."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tccam.errors import TccamError
from tccam.flow import resize, warp
from tccam.network import CamNet

quick = settings(max_examples=60, deadline=None)
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
MIRRORED = [(False, False), (False, True), (True, False), (True, True)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def constant(u: float, v: float, height: int, width: int, batch: int = 1) -> Tensor:
    return (
        torch.tensor([u, v], dtype=torch.float64)
        .reshape(1, 2, 1, 1)
        .repeat(batch, 1, height, width)
    )


def between(*shape: int, reach: int = 2, seed: int = 0) -> Tensor:
    """A flow that leads to places well between cells, where bilinear reading has no kink."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randint(-reach, reach + 1, shape, generator=generator)
    return whole + 0.2 + 0.6 * random(*shape, seed=seed)


def mirror(field: Tensor, mirrored: tuple[bool, bool]) -> Tensor:
    """The flow of the picture turned upside down, or left to right: places and vectors turn."""
    field = field.clone()
    if mirrored[0]:
        field = field.flip(-2)
        field[..., 1, :, :] *= -1
    if mirrored[1]:
        field = field.flip(-1)
        field[..., 0, :, :] *= -1
    return field


# warp: where it reads ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (16, 16), (37, 53), (270, 480)])
def test_zero_flow_is_the_identity(size: tuple[int, int]) -> None:
    maps = random(2, 3, *size)
    warped, valid = warp(maps, torch.zeros(2, 2, *size, dtype=torch.float64))
    assert valid.shape == (2, 1, *size)
    assert valid.dtype == torch.bool
    assert valid.all()
    torch.testing.assert_close(warped, maps, rtol=0, atol=1e-12)
    warped, valid = warp(maps.float(), torch.zeros(2, 2, *size))
    assert valid.all()
    torch.testing.assert_close(warped, maps.float(), rtol=0, atol=1e-4)


@quick
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    u=st.integers(-10, 10),
    v=st.integers(-10, 10),
)
def test_whole_cells_shift_and_zeros_enter(height: int, width: int, u: int, v: int) -> None:
    maps = random(2, 3, height, width) + 1
    warped, valid = warp(maps, constant(u, v, height, width, batch=2))
    expected = torch.zeros_like(maps)
    for y in range(height):
        for x in range(width):
            inside = 0 <= y + v < height and 0 <= x + u < width
            assert valid[:, 0, y, x].eq(inside).all()
            if inside:
                expected[..., y, x] = maps[..., y + v, x + u]
    torch.testing.assert_close(warped, expected, rtol=0, atol=1e-12)
    assert not warped[~valid.expand_as(warped)].any()


@quick
@given(seed=st.integers(0, 2**31), size=st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_a_ramp_is_read_exactly_between_cells(seed: int, size: tuple[int, int]) -> None:
    a, b, c = random(3, seed=seed) * 4 - 2
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in size)
    field = (random(1, 2, *size, seed=seed) - 0.5) * 6
    x, y = columns + field[:, 0], rows[:, None] + field[:, 1]
    warped, valid = warp((a * columns + b * rows[:, None] + c)[None, None], field)
    expected = (a * x + b * y + c)[:, None]
    torch.testing.assert_close(warped[valid], expected[valid], rtol=0, atol=1e-10)
    inside = (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)
    assert torch.equal(valid[:, 0], inside)


def test_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]]])
    field = torch.zeros(1, 2, 2, 3)
    field[0, :, 0, 0] = torch.tensor([0.5, 0.0])  # half a cell to the right: (1 + 2) / 2
    field[0, :, 0, 1] = torch.tensor([0.25, 1.0])  # down, a quarter right: 16 + 16 / 4
    field[0, :, 0, 2] = torch.tensor([0.25, 0.0])  # leaves on the right
    field[0, :, 1, 0] = torch.tensor([2.0, -1.0])  # the upper right corner
    field[0, :, 1, 1] = torch.tensor([-1.0, -0.5])  # (1 + 8) / 2
    field[0, :, 1, 2] = torch.tensor([0.0, 0.25])  # leaves at the bottom
    warped, valid = warp(maps, field)
    torch.testing.assert_close(warped[0, 0], torch.tensor([[1.5, 20.0, 0.0], [4.0, 4.5, 0.0]]))
    assert valid[0, 0].tolist() == [[True, True, False], [True, True, False]]


def test_an_object_that_moves_50_pixels_to_the_right_is_fetched_with_minus_50() -> None:
    before, now = torch.zeros(2, 1, 1, 40, 120, dtype=torch.float64)
    before[..., 10:20, 20:35] = random(10, 15) + 1
    now[..., 10:20, 70:85] = before[..., 10:20, 20:35]
    warped, valid = warp(before, constant(-50, 0, 40, 120))  # FROM now TO before
    torch.testing.assert_close(warped, now)
    assert torch.equal(valid[0, 0].all(dim=0), torch.arange(120) >= 50)
    assert not warp(before, constant(50, 0, 40, 120))[0].any()
    # The same, down the picture: v is the second channel, and down is positive.
    warped, _ = warp(before.mT, constant(0, -50, 120, 40))
    torch.testing.assert_close(warped, now.mT)


def test_each_picture_has_its_own_flow_and_all_channels_share_it() -> None:
    maps, field = random(3, 4, 5, 6), between(3, 2, 5, 6)
    warped, valid = warp(maps, field)
    for b in range(3):
        for c in range(4):
            alone, seen = warp(maps[b : b + 1, c : c + 1], field[b : b + 1])
            torch.testing.assert_close(alone[0, 0], warped[b, c])
            assert torch.equal(seen[0], valid[b])


@pytest.mark.parametrize("mirrored", MIRRORED)
def test_the_mirrored_flow_fetches_the_mirrored_map(mirrored: tuple[bool, bool]) -> None:
    maps, field = random(2, 3, 6, 7), between(2, 2, 6, 7)
    axes = [axis for axis, turned in zip((-2, -1), mirrored, strict=True) if turned]
    warped, valid = warp(maps, field)
    other, seen = warp(maps.flip(axes), mirror(field, mirrored))
    torch.testing.assert_close(other.flip(axes), warped)
    assert torch.equal(seen.flip(axes), valid)


def fetch(maps: Tensor, x: np.ndarray, y: np.ndarray, outside: str) -> np.ndarray:
    """Read (C, h, w) maps at the places (x, y) with SciPy."""
    return np.stack(
        [
            scipy.ndimage.map_coordinates(plane, [y, x], order=1, mode=outside)
            for plane in maps.numpy()
        ]
    )


def places(field: Tensor) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[: field.shape[-2], : field.shape[-1]]
    return columns + field[0].numpy(), rows + field[1].numpy()


@pytest.mark.parametrize("seed", range(5))
def test_parity_with_scipy(seed: int) -> None:
    maps, field = random(2, 3, 11, 13, seed=seed), 8 * random(2, 2, 11, 13, seed=seed) - 4
    warped, valid = warp(maps, field)
    for b in range(2):
        x, y = places(field[b])
        inside = (x >= 0) & (x <= 12) & (y >= 0) & (y <= 10)
        assert 0 < inside.mean() < 1
        assert np.array_equal(valid[b, 0].numpy(), inside)
        expected = fetch(maps[b], x, y, "nearest") * inside
        np.testing.assert_allclose(warped[b].numpy(), expected, atol=1e-12)


# warp: the authors' variant ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_half_cell_shift_is_the_authors_sampling(seed: int) -> None:
    # Their grid puts −1 and 1 on the centres of the outermost cells, grid_sample takes them for
    # the borders, half a cell further out, and reads zeros beyond.
    maps, field = random(2, 3, 11, 13, seed=seed), 8 * random(2, 2, 11, 13, seed=seed) - 4
    warped, valid = warp(maps, field, half_cell_shift=True)
    for b in range(2):
        x, y = places(field[b])
        x, y = (2 * x / 12 - 1 + 1) * 13 / 2 - 0.5, (2 * y / 10 - 1 + 1) * 11 / 2 - 0.5
        ones = fetch(torch.ones(1, 11, 13), x, y, "grid-constant")[0]
        assert 0 < (ones > 0.9999).mean() < 1
        assert np.array_equal(valid[b, 0].numpy(), ones > 0.9999)
        expected = fetch(maps[b], x, y, "grid-constant") * (ones > 0.9999)
        np.testing.assert_allclose(warped[b].numpy(), expected, atol=1e-12)


def test_half_cell_shift_loses_the_border_ring() -> None:
    maps, still = random(1, 1, 16, 16), torch.zeros(1, 2, 16, 16)
    warped, valid = warp(maps, still, half_cell_shift=True)
    assert (~valid).sum() == 60
    assert (~valid).double().mean().item() == pytest.approx(0.234, abs=5e-4)  # 60 of 256
    assert valid[..., 1:-1, 1:-1].all()
    assert (warped - maps).abs()[..., 1:-1, 1:-1].mean() > 0.01  # zero flow is not the identity


def test_half_cell_shift_of_a_single_cell_sees_nothing() -> None:
    for size in ((1, 1), (1, 5), (5, 1)):
        warped, valid = warp(
            torch.ones(1, 1, *size), torch.zeros(1, 2, *size), half_cell_shift=True
        )
        assert not warped.any()
        assert not valid.any()


# warp: gradients, precision, bad input -----------------------------------------------------------


@pytest.mark.parametrize("half_cell_shift", [False, True])
def test_gradients_of_maps_and_flow(half_cell_shift: bool) -> None:
    maps, field = random(2, 2, 4, 5).requires_grad_(), between(2, 2, 4, 5, reach=1).requires_grad_()

    def fetched(maps: Tensor, field: Tensor) -> Tensor:
        return warp(maps, field, half_cell_shift=half_cell_shift)[0]

    assert torch.autograd.gradcheck(fetched, (maps, field))
    warped, valid = warp(maps, field, half_cell_shift=half_cell_shift)
    (gradient,) = torch.autograd.grad(warped.sum(), field)
    assert torch.equal(gradient.any(dim=1, keepdim=True), valid)
    assert 0 < valid.sum() < valid.numel()


@pytest.mark.parametrize("half_cell_shift", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e10])
def test_unknown_flow_is_outside_and_has_no_gradient(value: float, half_cell_shift: bool) -> None:
    maps, field = random(1, 2, 5, 6).requires_grad_(), torch.zeros(1, 2, 5, 6).double()
    field[0, 0, 2, 2] = field[0, 1, 2, 4] = value
    expected, seen = warp(maps, torch.zeros_like(field), half_cell_shift=half_cell_shift)
    assert seen[0, 0, 2, 2:5].all()
    warped, valid = warp(maps, field.requires_grad_(), half_cell_shift=half_cell_shift)
    assert not valid[0, 0, 2, 2::2].any()
    assert not warped[:, :, 2, 2::2].any()
    seen[0, 0, 2, 2::2] = False
    assert torch.equal(valid, seen)
    for gradient in torch.autograd.grad(warped.sum(), (maps, field)):
        assert gradient.isfinite().all()
        assert gradient.any()
    assert torch.equal(warped[..., 3, :], expected[..., 3, :])


@pytest.mark.parametrize("maps_dtype", FLOATS)
@pytest.mark.parametrize("flow_dtype", FLOATS)
@pytest.mark.parametrize("size", [(30, 45), (135, 240)])
def test_half_precision_does_not_move_places(
    maps_dtype: torch.dtype, flow_dtype: torch.dtype, size: tuple[int, int]
) -> None:
    maps = random(1, 2, *size).to(maps_dtype)
    warped, valid = warp(maps, torch.zeros(1, 2, *size, dtype=flow_dtype))
    assert warped.dtype == maps_dtype
    assert valid.all()
    torch.testing.assert_close(warped, maps, rtol=0, atol=1e-4)
    warped, valid = warp(maps, constant(-3, 2, *size).to(flow_dtype))
    torch.testing.assert_close(warped[..., :-2, 3:], maps[..., 2:, :-3], rtol=0, atol=1e-4)
    assert valid.sum() == (size[0] - 2) * (size[1] - 3)


@pytest.mark.parametrize("half_cell_shift", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_half_precision_has_the_same_validity(dtype: torch.dtype, half_cell_shift: bool) -> None:
    # A thousandth of a cell beyond the border, and a thousandth inside of it.
    edge = 0.5 * 7 / 8 if half_cell_shift else 0
    field = constant(0, edge, 8, 8)
    field[:, 0, :4], field[:, 0, 4:] = edge - 1e-3, edge + 1e-3
    _, valid = warp(random(1, 1, 8, 8).to(dtype), field, half_cell_shift=half_cell_shift)
    assert valid[0, 0, :7, 0].tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize(
    ("maps", "field", "message"),
    [
        (torch.zeros(2, 4, 5), torch.zeros(2, 2, 4, 5), r"maps: expected float .* \(2, 4, 5\)"),
        (torch.zeros(1, 1, 4, 5).byte(), torch.zeros(1, 2, 4, 5), "maps: .* torch.uint8"),
        (torch.zeros(1, 1, 0, 5), torch.zeros(1, 2, 0, 5), r"maps: .* \(1, 1, 0, 5\)"),
        (torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 4, 5).long(), "flow: .* torch.int64"),
        (torch.zeros(1, 1, 4, 5), torch.zeros(1, 3, 4, 5), r"flow: .* \(1, 3, 4, 5\)"),
        (torch.zeros(1, 1, 4, 5), torch.zeros(4, 5), r"flow: .* \(4, 5\)"),
        (torch.zeros(1, 1, 4, 5), torch.zeros(2, 4, 5), r"flow: expected \(1, 2, 4, 5\)"),
        (torch.zeros(2, 1, 4, 5), torch.zeros(1, 2, 4, 5), r"flow: expected \(2, 2, 4, 5\)"),
        (torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 8, 10), r"on the grid of the maps, got"),
    ],
)
def test_warp_names_bad_arguments(maps: Tensor, field: Tensor, message: str) -> None:
    with pytest.raises(TccamError, match=message):
        warp(maps, field)


# resize ------------------------------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@quick
@given(size=sizes, stride=st.integers(1, 16), mirrored=st.sampled_from(MIRRORED))
def test_with_a_stride_cells_read_their_pixel(
    size: tuple[int, int], stride: int, mirrored: tuple[bool, bool]
) -> None:
    field = random(2, *size)
    height, width = -(-size[0] // stride), -(-size[1] // stride)
    small = resize(field, (height, width), stride, mirrored)
    assert small.shape == (2, height, width)
    for i in range(height):
        for j in range(width):
            # Cell i of the mirrored picture is the i-th from below of this one.
            y = size[0] - 1 - stride * (height - 1 - i) if mirrored[0] else stride * i
            x = size[1] - 1 - stride * (width - 1 - j) if mirrored[1] else stride * j
            assert torch.equal(small[:, i, j], field[:, y, x] / stride)


@quick
@given(
    size=sizes,
    stride=st.sampled_from([None, 1, 4, 7, 16]),
    mirrored=st.sampled_from(MIRRORED),
    seed=st.integers(0, 99),
)
def test_mirrored_is_what_the_mirrored_picture_has(
    size: tuple[int, int], stride: int | None, mirrored: tuple[bool, bool], seed: int
) -> None:
    field = random(2, 2, *size, seed=seed) - 0.5
    cells = (-(-size[0] // (stride or 3)), -(-size[1] // (stride or 3)))
    theirs = resize(mirror(field, mirrored), cells, stride)
    ours = resize(field, cells, stride, mirrored)
    torch.testing.assert_close(mirror(ours, mirrored), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cells", [(9, 13), (3, 4), (5, 30), (20, 2), (1, 1)])
def test_without_a_stride_cells_are_tiles(cells: tuple[int, int]) -> None:
    field = random(2, 9, 13)
    small = resize(field, cells)
    rows = ((np.arange(cells[0]) + 0.5) * 9 / cells[0] - 0.5).clip(0, 8)
    columns = ((np.arange(cells[1]) + 0.5) * 13 / cells[1] - 0.5).clip(0, 12)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    scale = np.array([cells[1] / 13, cells[0] / 9])[:, None, None]
    np.testing.assert_allclose(small.numpy(), fetch(field, x, y, "nearest") * scale, atol=1e-12)
    expected = F.interpolate(field[None], cells, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(small, expected * torch.from_numpy(scale))


def test_vectors_shrink_and_grow_with_the_cells_of_their_axis() -> None:
    field = constant(8, 6, 64, 96)[0]
    assert resize(field, (16, 48))[:, 3, 3].tolist() == [4, 1.5]
    assert resize(field, (128, 96))[:, 3, 3].tolist() == [8, 12]
    assert resize(field, (8, 12), stride=8)[:, 3, 3].tolist() == [1, 0.75]
    assert torch.equal(resize(field, (64, 96)), field)
    assert torch.equal(resize(field, (64, 96), stride=1), field)


def test_with_a_stride_an_object_is_never_mixed_with_its_background() -> None:
    field = torch.zeros(2, 33, 40)
    field[0, 7:22, 10:23] = 10
    for mirrored in MIRRORED:
        assert resize(field, (9, 10), 4, mirrored)[0].unique().tolist() == [0, 2.5]
    assert len(resize(field, (9, 10))[0].unique()) > 2  # tiles do mix


@pytest.mark.parametrize("stride", [None, 4])
def test_a_batch_is_resized_field_by_field(stride: int | None) -> None:
    fields = random(3, 2, 13, 22)
    batch = resize(fields, (4, 6), stride)
    assert torch.equal(batch, torch.stack([resize(field, (4, 6), stride) for field in fields]))


@pytest.mark.parametrize("stride", [None, 4])
@pytest.mark.parametrize("dtype", FLOATS)
def test_resize_keeps_the_dtype_and_passes_gradients(
    stride: int | None, dtype: torch.dtype
) -> None:
    field = random(2, 13, 22).to(dtype).requires_grad_()
    small = resize(field, (4, 6), stride)
    assert small.dtype == dtype
    torch.testing.assert_close(
        small.double(), resize(field.double(), (4, 6), stride), rtol=0.02, atol=0.01
    )
    (gradient,) = torch.autograd.grad(small.sum(), field)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize(
    ("field", "options", "message"),
    [
        (torch.zeros(2, 8, 12).long(), {"size": (2, 3)}, "flow: expected float .* torch.int64"),
        (torch.zeros(3, 8, 12), {"size": (2, 3)}, r"flow: .* \(3, 8, 12\)"),
        (torch.zeros(8, 12), {"size": (2, 3)}, r"flow: .* \(8, 12\)"),
        (torch.zeros(2, 8, 12), {"size": (0, 3)}, r"size, stride: .* \(0, 3\)"),
        (torch.zeros(2, 8, 12), {"size": (2, 3), "stride": 0}, "size, stride: .* 0"),
        (torch.zeros(2, 8, 12), {"size": (2, 3), "stride": -4}, "size, stride: .* -4"),
        (torch.zeros(2, 8, 12), {"size": (3, 2), "stride": 4}, "stride 4 makes maps of 2×3 cells"),
        (torch.zeros(2, 9, 12), {"size": (2, 3), "stride": 4}, "3×3 cells from 9×12 pixels"),
    ],
)
def test_resize_names_bad_arguments(field: Tensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TccamError, match=message):
        resize(field, **options)


# With the network's geometry ---------------------------------------------------------------------

#: Half of what the small network sees, in pixels: see CamNet.
REACH = {4: 16, 8: 20, 16: 44}


def camnet(stride: int, *, pinhole: bool = False) -> CamNet:
    """With ``pinhole``, the cells see a single pixel each."""
    torch.manual_seed(0)
    net = CamNet("small", output_stride=stride).double().eval()
    for conv in (module for module in net.modules() if isinstance(module, nn.Conv2d)):
        middle = conv.kernel_size[0] // 2
        kept = torch.zeros_like(conv.weight)
        kept[..., middle, middle] = 1
        conv.weight.data *= kept if pinhole else 1
    return net.requires_grad_(False)


def seen_by(net: CamNet, images: Tensor, mirrored: tuple[bool, bool]) -> Tensor:
    """Maps of the mirrored pictures, turned back."""
    axes = [axis for axis, turned in zip((-2, -1), mirrored, strict=True) if turned]
    maps: Tensor = net(images.flip(axes)).maps.flip(axes)
    return maps


@pytest.mark.parametrize("mirrored", MIRRORED)
@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("offset", [(0, 0), (3, 5)])
def test_maps_move_with_the_picture(
    stride: int, mirrored: tuple[bool, bool], offset: tuple[int, int]
) -> None:
    """Content that moves by whole cells: the warped maps of one frame are those of the next."""
    reach, down, right = REACH[stride], stride, -2 * stride
    cells = -(-2 * reach // stride) + 6
    height, width = stride * cells - offset[0], stride * (cells + 1) - offset[1]
    wide = random(1, 3, height + 3 * stride, width + 3 * stride)
    y, x = 2 * stride, stride // 2
    before = wide[..., y : y + height, x : x + width]
    # What was at (x, y) is at (x + right, y + down) now.
    now = wide[..., y - down : y - down + height, x - right : x - right + width]
    flow = constant(-right, -down, height, width)  # FROM now TO before
    moved, inside = warp(before, flow)
    assert (moved - now * inside).abs().max() < 1e-12
    net = camnet(stride)
    maps = [seen_by(net, images, mirrored) for images in (before, now)]
    small = resize(flow, (maps[0].shape[-2], maps[0].shape[-1]), stride, mirrored)
    warped, _ = warp(maps[0], small)
    # Away from borders: where neither frame's network looks beyond its picture.
    near = -(-reach // stride)
    inner = (
        warped[..., near + 1 : -near, near : -near - 2]
        - (maps[1][..., near + 1 : -near, near : -near - 2])
    )
    assert inner.numel() >= 9
    assert inner.abs().max() < 1e-12
    other, _ = warp(maps[0], -small)
    wrong = (other - maps[1])[..., near + 2 : -near - 2, near + 2 : -near - 2]
    assert wrong.abs().max() > 1e-4


@pytest.mark.parametrize("mirrored", MIRRORED)
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_every_cell_has_the_flow_of_the_pixel_it_looks_at(
    stride: int, mirrored: tuple[bool, bool]
) -> None:
    """Each pixel moves its own way, by whole cells; a pinhole network sees a pixel a cell."""
    height, width = 5 * stride + 3, 7 * stride + 2  # no multiple: mirrored cells lie elsewhere
    generator = torch.Generator().manual_seed(0)
    flow = stride * torch.randint(-2, 3, (1, 2, height, width), generator=generator).double()
    before = random(1, 3, height, width)
    now, inside = warp(before, flow)
    now = torch.where(inside, now, random(1, 3, height, width, seed=1))
    net = camnet(stride, pinhole=True)
    maps = [seen_by(net, images, mirrored) for images in (before, now)]
    assert maps[0].std(dim=(2, 3)).min() > 1e-6  # the pinhole lets light through
    warped, valid = warp(maps[0], resize(flow, (6, 8), stride, mirrored))
    assert 10 < valid.sum() < valid.numel()
    torch.testing.assert_close(warped[valid.expand_as(warped)], maps[1][valid.expand_as(warped)])
    unaware = resize(flow, (6, 8), stride)
    assert any(mirrored) != torch.equal(unaware, resize(flow, (6, 8), stride, mirrored))


def test_tiles_are_not_where_the_network_looks() -> None:
    net, (height, width) = camnet(16, pinhole=True), (101, 119)
    wide = random(1, 3, height, width + 32)
    before, now = wide[..., :width], wide[..., 32:]
    flow, cells = constant(32, 0, height, width), (7, 8)  # FROM now TO before
    torch.testing.assert_close(warp(before, flow)[0][..., :-32], now[..., :-32])
    maps = [net(images).maps for images in (before, now)]
    errors = []
    for stride in (16, None):
        warped, _ = warp(maps[0], resize(flow, cells, stride))
        errors.append((warped - maps[1])[..., :5].abs().max().item())
    assert errors[0] < 1e-12
    assert errors[1] > 1e-4  # 32 px are 2 cells, not 32 · 8 / 119
