"""Occlusion, composition and end-point error: shifts, linear maps and a square worked out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tccam.errors import TccamError
from tccam.flow import UNKNOWN, compose, endpoint_error, invert, occlusion, warp

HEIGHT, WIDTH = 9, 12
steps = st.tuples(st.integers(-WIDTH, WIDTH), st.integers(-HEIGHT, HEIGHT))


def uniform(u: float, v: float, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.tensor([u, v], dtype=torch.float32)[:, None, None].expand(2, height, width)


def stays(u: float, v: float) -> Tensor:
    rows, columns = torch.arange(HEIGHT)[:, None] + v, torch.arange(WIDTH) + u
    return (rows >= 0) & (rows <= HEIGHT - 1) & (columns >= 0) & (columns <= WIDTH - 1)


def linear(matrix: Tensor, height: int = 21, width: int = 31) -> Tensor:
    """The flow of p → matrix (p − centre) + centre: what bilinear lookup reads without error."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack((columns - width // 2, rows - height // 2)).double()
    return torch.einsum("ij,jhw->ihw", matrix, place) - place


@given(steps)
def test_of_a_shift_that_is_undone_only_what_leaves_is_occluded(step: tuple[int, int]) -> None:
    forward = uniform(*step)
    assert torch.equal(occlusion(forward, -forward), ~stays(*step))


def test_a_square_that_moves_hides_what_it_moves_onto() -> None:
    forward, backward = torch.zeros(2, 2, 20, 30)
    forward[0, 5:10, 4:9] = 3.0  # rows 5–9, columns 4–8, three to the right
    backward[0, 5:10, 7:12] = -3.0
    hidden = torch.zeros(20, 30, dtype=torch.bool)
    hidden[5:10, 9:12] = True  # the background that it covers in the target
    assert torch.equal(occlusion(forward, backward), hidden)
    uncovered = torch.zeros(20, 30, dtype=torch.bool)
    uncovered[5:10, 4:7] = True
    assert torch.equal(occlusion(backward, forward), uncovered)


@pytest.mark.parametrize(("nudge", "hidden"), [(0.99, True), (1.01, False)])
def test_the_thresholds_are_those_of_the_formula(nudge: float, hidden: bool) -> None:
    # f = (0, 4), b = (1, -3): the error is |(1, 1)|² = 2, and 2 = 0.05 · (16 + 10) + 0.7.
    forward, backward = uniform(0, 4), uniform(1, -3)
    assert bool(occlusion(forward, backward, 0.05 * nudge, 0.7)[0, 0]) is hidden
    assert bool(occlusion(forward, backward, 0.05, 0.7 * nudge)[0, 0]) is hidden


def test_a_batch_is_checked_pair_by_pair_and_the_unknown_is_occluded() -> None:
    draw = torch.Generator().manual_seed(0)
    forward = torch.randn(4, 2, HEIGHT, WIDTH, generator=draw)
    backward = -forward + 0.5 * torch.randn(4, 2, HEIGHT, WIDTH, generator=draw)
    found = occlusion(forward, backward)
    assert found.shape == (4, HEIGHT, WIDTH)
    assert 0 < found.float().mean() < 1
    for pair in range(4):
        assert torch.equal(found[pair], occlusion(forward[pair], backward[pair]))
    unknown = torch.zeros(2, HEIGHT, WIDTH)
    unknown[0, 2, 3] = math.nan
    assert occlusion(unknown, torch.zeros(2, HEIGHT, WIDTH)).nonzero().tolist() == [[2, 3]]


@given(steps, steps)
def test_shifts_add_where_the_first_stays_inside(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    flow, valid = compose(uniform(*first), uniform(*second))
    assert torch.equal(valid, stays(*first))
    sum_of_both = uniform(first[0] + second[0], first[1] + second[1])
    torch.testing.assert_close(flow[:, valid], sum_of_both[:, valid], atol=1e-4, rtol=0)
    assert torch.equal(flow[:, ~valid], uniform(*first)[:, ~valid])


def test_linear_maps_multiply_in_the_order_of_the_frames() -> None:
    turn = torch.tensor([[0.96, -0.28], [0.28, 0.96]], dtype=torch.float64)
    stretch = torch.tensor([[1.1, 0.0], [0.0, 0.8]], dtype=torch.float64)
    flow, valid = compose(linear(turn), linear(stretch))
    assert valid[10, 15]
    assert 0.5 < valid.double().mean() < 1
    torch.testing.assert_close(flow[:, valid], linear(stretch @ turn)[:, valid])
    assert (flow - linear(turn @ stretch))[:, valid].abs().max() > 0.5


def test_a_composed_flow_fetches_what_two_warps_fetch() -> None:
    draw = torch.Generator().manual_seed(1)
    first, second = torch.randint(-2, 3, (2, 3, 2, HEIGHT, WIDTH), generator=draw).float()
    maps = torch.rand(3, 2, HEIGHT, WIDTH, generator=draw)
    there, _ = warp(maps, second)
    twice, seen = warp(there, first)
    flow, valid = compose(first, second)
    once, inside = warp(maps, flow)
    assert torch.equal(valid, seen[:, 0])
    both = valid[:, None].expand_as(maps)
    torch.testing.assert_close(once[both], twice[both], atol=1e-5, rtol=0)
    assert (inside[:, 0] & valid).any()


def test_there_and_back_is_rest() -> None:
    forward = linear(torch.tensor([[1.25, 0.0], [0.0, 1.25]], dtype=torch.float64))
    backward = linear(torch.tensor([[0.8, 0.0], [0.0, 0.8]], dtype=torch.float64))
    flow, valid = compose(forward, backward)
    assert flow[:, valid].abs().max() < 1e-9
    assert torch.equal(occlusion(forward, backward), ~valid)


def test_end_point_error_by_hand() -> None:
    flow = torch.tensor([[[3.0, 0.0], [1.0, 7.0]], [[4.0, 0.0], [0.0, 7.0]]])
    where = torch.tensor([[True, True], [True, False]])
    zero = torch.zeros_like(flow)
    assert endpoint_error(flow, zero, where) == pytest.approx((5 + 0 + 1) / 3)
    assert endpoint_error(flow, zero) == pytest.approx((6 + 7 * 2**0.5) / 4)
    assert endpoint_error(zero, flow, where) == endpoint_error(flow, zero, where)
    assert endpoint_error(flow, flow) == 0


def test_end_point_error_agrees_with_numpy() -> None:
    draw = np.random.default_rng(0)
    flow, truth = draw.normal(size=(2, 5, 2, 8, 6))
    where = draw.random((5, 8, 6)) < 0.3
    expected = np.hypot(*np.moveaxis(flow - truth, 1, 0))[where].mean()
    found = endpoint_error(*map(torch.from_numpy, (flow, truth, where)))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: occlusion(f[0], f), r"forward: expected float \(2, H, W\).*\(4, 5\)"),
        (lambda f: occlusion(f, f[:, 1:]), r"backward: expected torch.float32 \(2, 4, 5\).*3, 5"),
        (lambda f: occlusion(f, f.double()), "backward: .*float64"),
        (lambda f: occlusion(f.long(), f), "forward: .*int64"),
        (lambda f: occlusion(f, f, -1.0), "relative: expected at least 0, got -1.0"),
        (lambda f: occlusion(f, f, 0.01, math.nan), "absolute: expected at least 0, got nan"),
        (lambda f: compose(f, f[None]), "second: expected"),
        (lambda f: compose(f[:1], f), "first: expected"),
        (lambda f: endpoint_error(f, f[..., :2]), "truth: expected"),
        (lambda f: endpoint_error(f, f, f[0] > 1), "where: no pixel counts"),
        (lambda f: endpoint_error(f, f, f > -1), r"where: expected bool \(4, 5\)"),
        (lambda f: endpoint_error(f, f, f[0]), "where: expected bool .*float32"),
        (lambda f: endpoint_error(f[..., :0], f[..., :0]), "no pixel"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TccamError, match=message):
        call(torch.zeros(2, 4, 5))


def test_unknown_vectors_are_left_out() -> None:
    truth = torch.zeros(2, 2, 2)
    flow = torch.tensor([3.0, 4.0]).reshape(2, 1, 1).repeat(1, 2, 2)
    flow[:, 0, 0], flow[0, 0, 1], truth[1, 1, 1] = 1.7e9, float("nan"), 2e9
    assert endpoint_error(flow, truth) == 5.0  # of the one pixel that both know
    with pytest.raises(TccamError, match="known"):
        endpoint_error(flow, truth, torch.tensor([[True, True], [False, True]]))


@given(steps)
def test_the_way_back_of_a_shift_is_the_shift_turned_around(step: tuple[int, int]) -> None:
    back, known = invert(uniform(*step))
    assert torch.equal(known, stays(-step[0], -step[1]))  # where what is seen comes from inside
    assert torch.equal(back, -uniform(*step) * known)


def test_what_moves_is_found_in_front_of_what_rests() -> None:
    forward = torch.zeros(2, 20, 30)
    forward[0, 5:10, 4:9] = 3.0  # rows 5–9, columns 4–8, three to the right
    back, known = invert(forward)
    expected = torch.zeros(2, 20, 30)
    expected[0, 5:10, 7:12] = -3.0
    torch.testing.assert_close(back, expected)
    uncovered = torch.zeros(20, 30, dtype=torch.bool)
    uncovered[5:10, 4:7] = True
    assert torch.equal(known, ~uncovered)


@pytest.mark.parametrize("angle", [0.0, 0.1, -0.2])
@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_the_way_back_of_a_turn_is_the_turn_back(angle: float, scale: float) -> None:
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    matrix = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    truth = linear(matrix.inverse())
    back, known = invert(torch.stack((linear(matrix), linear(matrix))))
    assert torch.equal(back[0], back[1])
    inner = torch.zeros_like(known[0])
    inner[5:-5, 7:-7] = True
    assert known[0][inner].all()
    assert endpoint_error(back[0], truth, inner) < 0.15  # of up to 3 pixels


def test_what_is_unknown_leads_nowhere() -> None:
    forward = uniform(1.0, 0.0).clone()
    forward[:, 2, 3], forward[0, 4, 5] = 2 * UNKNOWN, math.nan
    back, known = invert(forward)
    assert not known[2, 4]
    assert not known[4, 6]
    assert int((~known).sum()) == HEIGHT + 2
    assert back.isfinite().all()
    assert invert(torch.full((2, 3, 4), math.nan))[1].sum() == 0
    with pytest.raises(TccamError, match="flow: expected float"):
        invert(torch.zeros(3, 4, 5))
