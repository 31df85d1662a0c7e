"""The background: medians against numpy, removal by hand, foreground on a belt with known truth."""

import gc
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tccam import background as bg
from tccam.errors import TccamError

torch.manual_seed(0)


class Belt(NamedTuple):
    frames: Tensor  # uint8 (T, 3, H, W)
    objects: Tensor  # bool (T, H, W)
    truth: Tensor  # float32 (3, H, W), the empty picture


def belt(
    count: int = 60,
    *,
    noise: float = 4.0,
    texture: float = 0.0,
    flicker: float = 0.0,
    drift: float = 0.0,
    speed: int = 8,
    spacing: int = 100,
    seed: int = 0,
) -> Belt:
    """Discs that cross an uneven picture with rails, ``spacing`` pixels from one to the next."""
    draw = np.random.default_rng(seed)
    height, width = 72, 96
    truth = np.full((3, height, width), 110.0) * np.linspace(0.7, 1.3, width)
    truth[:, :10], truth[:, -10:] = 60, 190
    surface = draw.normal(0, 1, (height, width + 4 * speed * count))
    surface = sum(np.roll(surface, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 3
    rows, columns = np.mgrid[:height, :width]
    frames = np.empty((count, 3, height, width), np.float32)
    objects = np.zeros((count, height, width), bool)
    colours = np.array([[200, 60, 60], [40, 90, 180], [230, 220, 90], [30, 30, 30]])
    for t in range(count):
        frames[t] = truth
        start = surface.shape[1] - width - speed * t
        frames[t, :, 10:-10] += texture * surface[10:-10, start : start + width]
        for k in range(1 + speed * count // spacing):
            disc = np.hypot(rows - 36, columns - (speed * t - spacing * k - 60)) < 14
            frames[t][:, disc] = colours[k % 4][:, None]
            objects[t] |= disc
        frames[t] *= 1 + draw.normal(0, flicker) + drift * t / count
    frames += noise * draw.standard_normal(frames.shape, np.float32)
    pictures = torch.from_numpy(frames.round().clip(0, 255).astype(np.uint8))
    return Belt(pictures, torch.from_numpy(objects), torch.from_numpy(truth).float())


def iou(found: Tensor, truth: Tensor) -> float:
    return float((found & truth).sum() / (found | truth).sum())


# Median


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 60])
def test_median_is_numpys(count, dtype):
    frames = torch.randint(0, 256, (count, 3, 80, 90)).to(dtype)  # more than one strip
    if dtype.is_floating_point:
        frames = frames / 7 - 10
    found = bg.median_background(frames)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, np.median(frames.numpy(), axis=0).astype(np.float32))


@pytest.mark.parametrize("values", [(0, 0), (0, 255), (255, 255), (127, 128), (254, 255)])
def test_median_of_extremes(values):
    frames = torch.tensor(values, dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    assert (bg.median_background(frames) == sum(values) / 2).all()


def test_median_counts_more_frames_than_16_bits():
    frames = torch.zeros(70_001, 3, 1, 1, dtype=torch.uint8)
    frames[20_000:50_001] = 100
    frames[50_001:] = 200
    assert (bg.median_background(frames) == 100).all()
    frames[:35_001] = 7  # one frame more than half
    assert (bg.median_background(frames) == 7).all()
    assert (bg.median_background(frames[1:]) == (7 + 100) / 2).all()


def test_median_does_not_depend_on_order_or_memory_layout():
    frames = torch.randint(0, 256, (9, 3, 5, 7), dtype=torch.uint8)
    expected = bg.median_background(frames)
    assert torch.equal(bg.median_background(frames[torch.randperm(9)]), expected)
    turned = frames.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert torch.equal(bg.median_background(turned), expected)
    assert torch.equal(bg.median_background(255 - frames), 255 - expected)


def test_a_minority_leaves_no_trace_and_a_majority_does():
    empty = torch.randint(0, 256, (3, 6, 6), dtype=torch.uint8)
    frames = empty.expand(11, 3, 6, 6).clone()
    frames[:5] = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8)
    assert torch.equal(bg.median_background(frames), empty.float())
    frames[:6] = 255 - empty
    assert torch.equal(bg.median_background(frames), 255 - empty.float())


def test_median_leaves_its_input_alone_and_has_no_gradient():
    frames = torch.rand(5, 3, 4, 4, requires_grad=True)
    before = frames.detach().clone()
    assert not bg.median_background(frames).requires_grad
    assert torch.equal(frames.detach(), before)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 3, 4, 4), np.uint8), "frames: .* got ndarray"),
        (torch.zeros(3, 4, 4), r"frames: .*\(T, 3, H, W\), got float32 \(3, 4, 4\)"),
        (torch.zeros(2, 4, 4, 3), r"frames: .* \(2, 4, 4, 3\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.int64), "frames: .* got int64"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.bool), "frames: .* got bool"),
        (torch.zeros(0, 3, 4, 4), "frames: expected at least one pixel"),
        (torch.full((2, 3, 4, 4), torch.nan), "frames: .* NaN"),
    ],
)
def test_median_refuses(frames, message):
    with pytest.raises(TccamError, match=message):
        bg.median_background(frames)


# Streaming median


@pytest.mark.parametrize("count", [1, 2, 20, 21])
def test_a_stream_that_fits_is_exact(count):
    frames = torch.randint(0, 256, (count, 3, 6, 8), dtype=torch.uint8)
    expected = bg.median_background(frames)
    assert torch.equal(bg.streaming_median(iter(frames), memory=21), expected)


def test_streaming_takes_a_fair_sample():
    # One pixel that tells the frame's number, and room for one frame: which one is kept?
    stream = torch.arange(10).view(10, 1, 1, 1).expand(10, 3, 1, 1).byte()
    kept = [int(bg.streaming_median(stream, memory=1, seed=s)[0, 0, 0]) for s in range(1000)]
    counts = np.bincount(kept, minlength=10)
    chi_square = ((counts - 100) ** 2 / 100).sum()
    assert chi_square < 27.9  # 0.1% for 9 degrees of freedom


def test_streaming_keeps_its_promise_of_rank():
    memory = 101
    frames = torch.rand(600, 3, 30, 30)
    found = bg.streaming_median(frames, memory)
    rank = (frames < found).float().mean(0)
    epsilon = np.sqrt(np.log(2 / 0.05) / (2 * memory))  # Hoeffding at 95%
    assert (rank - 0.5).abs().le(epsilon).float().mean() >= 0.95
    assert (rank - 0.5).abs().max() > 0  # it is a sample


def test_streaming_is_within_four_grey_levels_on_a_long_belt():
    frames, _, truth = belt(600, noise=4.0, flicker=0.02)
    exact = bg.median_background(frames)
    for seed in range(2):
        error = (bg.streaming_median(iter(frames), seed=seed) - exact).abs()
        assert error.max() <= 4
        assert error.mean() <= 0.6
    assert (exact - truth).abs().max() <= 3


def test_streaming_holds_no_more_than_its_memory():
    shape, memory, count = (3, 32, 32), 10, 400
    frame_bytes = 3 * 32 * 32

    def alive() -> int:
        tensors = [o for o in gc.get_objects() if type(o) is Tensor]
        return sum({t.data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())

    def peak(consume) -> int:
        gc.collect()
        before, peaks = alive(), []

        def stream() -> Iterator[Tensor]:
            for t in range(count):
                if t % 100 == 99:
                    peaks.append(alive() - before)
                yield torch.full(shape, t % 256, dtype=torch.uint8)

        consume(stream())
        return max(peaks)

    assert peak(lambda stream: bg.streaming_median(stream, memory)) <= (memory + 2) * frame_bytes
    assert peak(list) >= (count - 2) * frame_bytes  # the measure sees what is kept


def test_streaming_copies_what_it_keeps():
    def stream() -> Iterator[Tensor]:
        buffer = torch.empty(3, 2, 2, dtype=torch.uint8)  # a decoder that reuses one buffer
        for value in (10, 20, 30):
            yield buffer.fill_(value)

    assert (bg.streaming_median(stream()) == 20).all()


def test_streaming_depends_on_the_seed_alone():
    frames = torch.rand(50, 3, 4, 4)
    first = bg.streaming_median(frames, memory=5, seed=1)
    torch.rand(1)
    assert torch.equal(bg.streaming_median(frames, memory=5, seed=1), first)
    assert not torch.equal(bg.streaming_median(frames, memory=5, seed=2), first)


@pytest.mark.parametrize(
    ("frames", "memory", "message"),
    [
        ([], 5, "frames: the stream is empty"),
        ([torch.zeros(3, 2, 2)], 0, "memory: expected at least 1 frame, got 0"),
        ([torch.zeros(1, 3, 2, 2)], 5, r"frames: .*\(3, H, W\), got float32 \(1, 3, 2, 2\)"),
        ([torch.zeros(3, 2, 2), torch.zeros(3, 2, 4)], 5, r"frame 1 is float32 \(3, 2, 4\)"),
        ([torch.zeros(3, 2, 2), torch.zeros(3, 2, 2).byte()], 5, "frame 1 is uint8"),
        ([torch.zeros(3, 2, 2), None], 5, "frame 1 is NoneType"),
    ],
)
def test_streaming_refuses(frames, memory, message):
    with pytest.raises(TccamError, match=message):
        bg.streaming_median(frames, memory)


# Removal


def test_removal_by_hand():
    frame = torch.tensor([[[200, 100]], [[50, 100]], [[0, 255]]], dtype=torch.uint8)
    behind = torch.tensor([[[100.0, 100]], [[100, 92]], [[8, 0]]])
    expected = {
        "none": [[200 / 255, 100 / 255], [50 / 255, 100 / 255], [0, 1]],
        "subtract": [[100 / 255, 0], [-50 / 255, 8 / 255], [-8 / 255, 1]],
        "divide": [[100 / 108, 0], [-50 / 108, 8 / 100], [-8 / 16, 255 / 8]],
    }
    for method, values in expected.items():
        removed = bg.clean(frame, behind, method)
        assert removed.dtype == torch.float32
        torch.testing.assert_close(removed, torch.tensor(values).view(3, 1, 2))


def test_what_is_background_becomes_exactly_zero():
    behind = torch.randint(0, 256, (3, 16, 16)).float()
    frames = behind.expand(4, 3, 16, 16)
    for method in ("subtract", "divide", "weber", "mask"):
        removed = bg.remove(frames, behind, method)
        assert (removed.frames == 0).all()
        assert not removed.foreground.any()


def trap(frames: Tensor, behind: Tensor) -> Tensor:
    """Looks like `divide`, and is not."""
    return bg.clean(frames, behind, "ratio")


def test_the_trap_paints_the_background():
    behind = torch.randint(0, 256, (3, 16, 16)).float()
    leak = trap(behind, behind)
    torch.testing.assert_close(leak, -8 / (behind + 8))
    assert leak.min() < -0.5  # where the background is dark
    # It is the background, pixel by pixel: who knows one knows the other.
    torch.testing.assert_close(-8 / leak - 8, behind, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("strength", [0.5, 0.8, 1.25])
def test_divide_cancels_a_gain_up_to_the_offset(strength):
    frame, behind = 40 + 160 * torch.rand(3, 16, 16), 60 + 120 * torch.rand(3, 16, 16)
    gain = strength ** torch.rand(3, 16, 16)  # another gain at every pixel
    dimmed, dimmed_behind = gain * frame, gain * behind

    divided = bg.clean(frame, behind, "divide")
    change = (bg.clean(dimmed, dimmed_behind, "divide") - divided).abs()
    bound = divided.abs() * 8 * (gain - 1).abs() / (dimmed_behind + 8)
    torch.testing.assert_close(change, bound, rtol=1e-3, atol=1e-5)

    # Relative to the signal, subtraction passes the whole gain on.
    subtracted = bg.clean(frame, behind, "subtract")
    kept = (bg.clean(dimmed, dimmed_behind, "subtract") - subtracted).abs()
    torch.testing.assert_close(kept, subtracted.abs() * (gain - 1).abs(), rtol=1e-3, atol=1e-5)
    assert change.sum() / divided.abs().sum() < 0.2 * kept.sum() / subtracted.abs().sum()

    # On an empty belt the trap shows the gain, divide shows nothing.
    assert (bg.clean(dimmed_behind, dimmed_behind, "divide") == 0).all()
    assert (trap(dimmed_behind, dimmed_behind) - trap(behind, behind)).abs().max() > 0.005


@given(level=st.floats(8, 200), share=st.floats(0.05, 1.2), strength=st.floats(0.05, 4))
def test_weber_cancels_a_gain_up_to_rounding(level, share, strength):
    behind = torch.full((3, 2, 2), max(level, 8 / strength))
    frame = share * behind
    found = bg.weber(frame[None], behind).frames[0]
    torch.testing.assert_close(found, torch.full_like(found, share - 1), rtol=1e-5, atol=1e-5)
    dimmed = bg.clean(strength * frame, strength * behind, "weber")
    torch.testing.assert_close(dimmed, found, rtol=1e-5, atol=1e-5)


def test_weber_keeps_dark_pixels_finite():
    dark = torch.tensor([0.0, 4.0, 8.0, 16.0]).expand(3, 1, 4)
    found = bg.clean(dark + 8, dark, "weber")
    assert found[0, 0].tolist() == [1.0, 1.0, 1.0, 0.5]


def test_mask_keeps_objects_and_nothing_else():
    frames, _, truth = belt(20)
    removed = bg.mask(frames, truth)
    inside = removed.foreground[:, None].expand_as(frames)
    assert torch.equal(removed.frames[inside], frames[inside].float() / 255)
    assert (removed.frames[~inside] == 0).all()
    assert removed.foreground.any()


def test_one_name_for_each_way():
    frames, _, truth = belt(12)
    functions = {
        "subtract": bg.subtract,
        "divide": bg.divide,
        "weber": bg.weber,
        "mask": bg.mask,
    }
    assert set(functions) | {"none", "ratio"} == set(bg.METHODS)
    for method in bg.METHODS:
        removed = bg.remove(frames, truth, method)
        assert torch.equal(removed.frames, bg.clean(frames, truth, method))
        assert torch.equal(removed.foreground, bg.foreground(frames, truth))
        if method in functions:
            alone = functions[method](frames, truth)
            assert torch.equal(alone.frames, removed.frames)
            assert torch.equal(alone.foreground, removed.foreground)
    assert torch.equal(bg.remove(frames, truth).frames, bg.divide(frames, truth).frames)


@pytest.mark.parametrize("method", bg.METHODS)
def test_a_clip_is_its_frames_one_by_one(method):
    frames, _, truth = belt(6, flicker=0.05)
    removed = bg.remove(frames, truth, method)
    for t, frame in enumerate(frames):
        alone = bg.remove(frame, truth, method)
        assert torch.equal(alone.frames, removed.frames[t])
        assert torch.equal(alone.foreground, removed.foreground[t])


@pytest.mark.parametrize("method", bg.METHODS)
def test_each_frame_may_have_its_own_background(method):
    frames, _, truth = belt(4)
    behind = torch.stack([truth, truth + 20, truth / 2, truth])
    removed = bg.remove(frames, behind, method)
    for t in range(4):
        alone = bg.remove(frames[t], behind[t], method)
        assert torch.equal(alone.frames, removed.frames[t])
        assert torch.equal(alone.foreground, removed.foreground[t])


def test_bytes_and_floats_agree():
    frames, _, truth = belt(4)
    for method in bg.METHODS:
        for whole, real in zip(
            bg.remove(frames, truth, method), bg.remove(frames.float(), truth, method), strict=True
        ):
            assert torch.equal(whole, real)


def test_clean_has_a_gradient():
    frame, behind = torch.rand(3, 4, 4, requires_grad=True), 100 * torch.rand(3, 4, 4)
    bg.clean(frame, behind, "divide").sum().backward()
    torch.testing.assert_close(frame.grad, 1 / (behind + 8))


@pytest.mark.parametrize("function", [bg.clean, bg.remove])
@pytest.mark.parametrize(
    ("frames", "behind", "method", "message"),
    [
        (
            torch.zeros(2, 3, 4, 4),
            torch.zeros(3, 4, 5),
            "divide",
            r"background: expected \(3, 4, 4",
        ),
        (torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4), "divide", "background: .* each frame"),
        (torch.zeros(2, 3, 4, 4), None, "divide", "background: .* got NoneType"),
        (
            torch.zeros(2, 1, 4, 4),
            torch.zeros(1, 4, 4),
            "divide",
            "frames: expected uint8 or float",
        ),
        (torch.zeros(3, 4, 4).int(), torch.zeros(3, 4, 4), "divide", "frames: .* got int32"),
        (
            torch.zeros(3, 4, 4),
            torch.zeros(3, 4, 4),
            "quotient",
            "method: .*'subtract'.* got 'quotient'",
        ),
    ],
)
def test_removal_refuses(function, frames, behind, method, message):
    with pytest.raises(TccamError, match=message):
        function(frames, behind, method)


# Foreground


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"noise": 0.0}, 0.99),
        ({"noise": 4.0}, 0.99),
        ({"noise": 4.0, "texture": 3.0}, 0.99),
        ({"noise": 4.0, "flicker": 0.05}, 0.99),
        ({"noise": 4.0, "texture": 3.0, "flicker": 0.02, "drift": 0.1}, 0.95),
    ],
    ids=["clean", "noise", "texture", "flicker", "all and drift"],
)
def test_foreground_finds_the_objects(options, least):
    frames, objects, _ = belt(**options)
    found = bg.foreground(frames, bg.median_background(frames))
    assert found.dtype == torch.bool
    assert found.shape == objects.shape
    assert iou(found, objects) > least
    empty = ~objects.flatten(1).any(1)
    assert empty.sum() >= 5
    assert found[empty].float().mean() < 0.005


def test_foreground_is_blind_to_the_light_of_a_whole_frame():
    frames, _, truth = belt(20, noise=2.0)
    brighter = frames.float() + torch.tensor([15.0, 5.0, -10.0]).view(3, 1, 1)
    assert torch.equal(bg.foreground(brighter, truth), bg.foreground(frames, truth))


def test_foreground_drops_specks_and_closes_cracks():
    behind = torch.full((3, 40, 40), 100.0)
    frame = behind.clone()
    frame[:, 10:30, 10:30] = 200
    frame[:, 20] = 100  # a crack, one pixel wide
    frame[0, 3, 3] = 250  # a hot pixel
    found = bg.foreground(frame, behind)
    assert found[12:28, 12:28].all()
    assert not found[:8].any()
    assert not found[:, 33:].any()


def test_a_higher_threshold_finds_less():
    frames, _, truth = belt(20)
    sizes = [int(bg.foreground(frames, truth, threshold).sum()) for threshold in (5, 20, 60, 1000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] == 0


def test_an_object_over_most_of_the_picture_is_taken_for_light():
    behind = torch.full((3, 40, 40), 100.0)
    frame = behind.clone()
    frame[:, :, 5:] = 180
    found = bg.foreground(frame, behind)
    assert not found[:, 10:].any()
    assert found[:, :3].all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2)])
def test_foreground_of_tiny_pictures(size):
    frames = torch.randint(0, 256, (3, 3, *size), dtype=torch.uint8)
    assert bg.foreground(frames, bg.median_background(frames)).shape == (3, *size)


def test_foreground_refuses():
    frames, behind = torch.zeros(2, 3, 4, 4), torch.zeros(3, 4, 4)
    with pytest.raises(TccamError, match=r"threshold: expected at least 0 grey levels, got -1"):
        bg.foreground(frames, behind, -1)
    with pytest.raises(TccamError, match=r"threshold: .* got nan"):
        bg.foreground(frames, behind, float("nan"))
    with pytest.raises(TccamError, match=r"frames: .* NaN"):
        bg.foreground(frames * torch.nan, behind)
    with pytest.raises(TccamError, match=r"background: .* NaN"):
        bg.foreground(frames, behind * torch.nan)


# Can the estimate be trusted?


def test_spread_is_the_median_absolute_deviation():
    frames = torch.randint(0, 256, (9, 3, 5, 7), dtype=torch.uint8)
    behind = bg.median_background(frames)
    distance = np.abs(frames.numpy() - behind.numpy()).max(1)
    np.testing.assert_array_equal(bg.spread(frames, behind), np.median(distance, axis=0))
    one_each = behind.expand(9, 3, 5, 7)
    assert torch.equal(bg.spread(frames, one_each), bg.spread(frames, behind))


def test_spread_of_noise_is_its_quartile():
    grey = 100 + 4 * torch.randn(401, 1, 40, 40)
    frames = grey.expand(401, 3, 40, 40)
    found = bg.spread(frames, bg.median_background(frames)).mean()
    assert float(found) == pytest.approx(0.6745 * 4, rel=0.02)


def test_static_share_counts_majorities():
    frames = torch.full((5, 3, 1, 4), 50.0)
    for place, odd_ones in enumerate((0, 2, 3, 5)):
        values = torch.tensor([100.0, 150, 200, 250, 0])[:odd_ones]
        frames[:odd_ones, :, 0, place] = values[:, None]
    assert bg.static_share(frames, torch.full((3, 1, 4), 50.0)) == 0.5


def test_static_share_tells_good_estimates_from_bad_ones():
    def share(**options) -> float:
        frames, _, _ = belt(**options)
        return bg.static_share(frames, bg.median_background(frames))

    assert share(noise=4.0, texture=2.0, flicker=0.02) > 0.99
    assert share(drift=0.8) < 0.8  # the light changes
    assert share(spacing=30) < 0.8  # one object after the other
    assert share(texture=20.0) < 0.8  # a belt that is nowhere the same


def test_static_share_does_not_see_an_object_at_rest():
    behind = torch.full((3, 20, 20), 100, dtype=torch.uint8)
    frames = behind.expand(10, 3, 20, 20).clone()
    frames[:7, :, 5:15, 5:15] = 200  # rests for 7 of 10 frames, then leaves
    found = bg.median_background(frames)
    assert bg.static_share(frames, found) == 1
    assert (found[:, 5:15, 5:15] == 200).all()
    assert bg.foreground(frames, found)[8, 10, 10]  # and its absence is now an object


def test_spread_refuses_a_single_frame():
    with pytest.raises(TccamError, match=r"frames: .*\(T, 3, H, W\), got float32 \(3, 4, 4\)"):
        bg.spread(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4))


def test_moving_median_of_one_frame_is_the_frame_and_of_all_the_whole_median():
    frames = torch.randint(0, 256, (9, 3, 5, 7)).byte()
    assert torch.equal(bg.moving_median(frames, 1), frames.float())
    whole = bg.median_background(frames).expand(9, -1, -1, -1)
    for window in (9, 10, 1000):
        assert torch.equal(bg.moving_median(frames, window), whole)


@pytest.mark.parametrize("window", [2, 3, 4, 7])
def test_moving_median_agrees_with_numpy(window):
    frames = torch.randint(0, 256, (11, 3, 4, 6)).byte()
    found = bg.moving_median(frames, window)
    for t in range(11):
        first = min(max(t - window // 2, 0), 11 - window)
        expected = np.median(frames[first : first + window].numpy(), axis=0)
        assert np.array_equal(found[t].numpy(), expected)


def test_moving_median_refuses_no_window():
    with pytest.raises(TccamError, match="window: expected at least 1 frame, got 0"):
        bg.moving_median(torch.zeros(2, 3, 4, 4), 0)


@pytest.mark.parametrize("gains", [(0.5, 1.0, 1.25), (1.0, 1.0, 1.0)])
def test_relight_finds_the_gain_of_every_frame_and_channel(gains):
    base = 20 + 100 * torch.rand(3, 8, 10)
    gain = torch.tensor(gains)[:, None] * torch.tensor([1.0, 0.9, 1.1])  # (T, 3)
    frames = gain[:, :, None, None] * base
    assert torch.allclose(bg.relight(frames, base), frames, atol=1e-3)
    frames[:, :, 2:6, 3:7] = 250.0  # an object on a fifth of the picture
    expected = gain[:, :, None, None] * base
    assert torch.allclose(bg.relight(frames, base), expected, atol=1e-3)


def test_relight_by_hand():
    base = torch.tensor([20.0, 40.0, 60.0]).view(1, 1, 3).expand(3, 1, 3)
    frame = torch.tensor([40.0, 120.0, 60.0]).view(1, 1, 3).expand(3, 1, 3)  # ratios 2, 3, 1
    assert bg.relight(frame[None], base)[0, 0, 0].tolist() == [40.0, 80.0, 120.0]


def test_pixels_that_the_frame_clips_do_not_vote():
    base = torch.full((3, 8, 10), 220.0)
    base[:, :, :3] = 100.0
    found = bg.relight((1.5 * base).clamp(max=255.0)[None], base)
    assert torch.equal(found, 1.5 * base[None])


@pytest.mark.parametrize("level", [0.0, 15.0, 240.0, 255.0])
def test_pixels_that_are_black_or_saturated_do_not_vote(level):
    base = torch.full((3, 8, 10), level)
    base[:, :, :3] = 100.0
    frames = (1.5 * base).clamp(max=255.0)[None]
    found = bg.relight(frames, base)
    assert torch.equal(found, 1.5 * base[None])
    # Where none has a vote, the light is taken as it was.
    assert torch.equal(bg.relight(frames[..., 3:], base[:, :, 3:])[0], base[:, :, 3:])


def test_relight_refuses_what_does_not_fit():
    with pytest.raises(TccamError, match="background: expected"):
        bg.relight(torch.zeros(2, 3, 4, 4), torch.zeros(3, 4, 5))
    with pytest.raises(TccamError, match="finite"):
        bg.relight(torch.full((2, 3, 4, 4), torch.nan), torch.zeros(3, 4, 4))
