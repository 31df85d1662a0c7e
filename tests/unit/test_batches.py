"""Batches: a function of seed and step, paired over methods, with flow that fits the pictures."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from tccam.data import CLASSES, BeltConfig, FlowStore, SyntheticBelt
from tccam.errors import TccamError
from tccam.training import Batch, FrameSet, Neighbours, Sampler, TrainConfig
from tccam.training.batches import recolor

DATA = BeltConfig(
    height=48, width=64, frames=24, train=2, validation=1, test=1, speed=5.0, lead_in=10
)
CONFIG = TrainConfig(data=DATA, method="both", batch=18, steps=10, threads=1)
BELT = SyntheticBelt(DATA)
MIRRORED = [(False, False), (False, True), (True, False), (True, True)]


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> FlowStore:
    return FlowStore(tmp_path_factory.mktemp("flows"))


@pytest.fixture
def frames_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Batch], Tensor]:
    """The frames that the last batch was made of, (W, T)."""
    asked: list[Tensor] = []
    pictures = FrameSet.pictures

    def spy(self: FrameSet, index: Tensor) -> Tensor:
        asked.append(index)
        return pictures(self, index)

    monkeypatch.setattr(FrameSet, "pictures", spy)

    return lambda batch: asked[-1].unflatten(0, batch.images.shape[:2])


# frames -----------------------------------------------------------------------------------------


def test_frame_set_matches_its_clips() -> None:
    data = FrameSet(BELT.train, "none")
    assert len(data) == 4 * 24
    index = torch.tensor([0, 30, 95])
    expected = BELT.train[1].frames[6] / 255
    torch.testing.assert_close(data.pictures(index)[1], expected, atol=1e-6, rtol=0)
    assert data.labels[24:48].equal(BELT.train[1].labels)
    assert data.first.tolist() == [0] * 24 + [24] * 24 + [48] * 24 + [72] * 24
    assert data.last.tolist() == [23] * 24 + [47] * 24 + [71] * 24 + [95] * 24
    assert data.camera.tolist() == [0] * 48 + [1] * 48
    subtracted = FrameSet(BELT.train, "subtract").pictures(index)
    for picture, clip, t in zip(subtracted, (0, 1, 3), (0, 6, 23), strict=True):
        frames = BELT.train[clip].frames.float()
        expected = (frames[t] - frames.quantile(0.5, dim=0, interpolation="midpoint")) / 255
        torch.testing.assert_close(picture, expected, atol=1e-5, rtol=0)


def test_the_truth_of_frames_is_that_of_their_clips() -> None:
    clips = [SyntheticBelt(replace(DATA, frames=14)).train[0], *BELT.train]
    index = torch.randperm(14 + 4 * 24, generator=torch.Generator().manual_seed(0))
    masks, occupied = FrameSet(clips, "none").truth(index)
    assert torch.equal(masks, torch.cat([clip.masks for clip in clips])[index])
    assert torch.equal(occupied, torch.cat([clip.occupied for clip in clips])[index])
    assert (masks != occupied).any()


def test_clips_of_different_lengths_keep_their_ends() -> None:
    short = SyntheticBelt(replace(DATA, frames=14)).train[0]
    data = FrameSet([short, BELT.train[0]], "none")
    assert data.first.tolist() == [0] * 14 + [14] * 24
    assert data.last.tolist() == [13] * 14 + [37] * 24


def test_no_clip_is_refused() -> None:
    with pytest.raises(TccamError, match="at least one clip"):
        FrameSet([], "none")


# which frames -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 77])
@pytest.mark.parametrize("seed", [0, 3])
def test_all_methods_draw_the_same_centres_and_see_them_alike(
    step: int, seed: int, flows: FlowStore, frames_of: Callable[[Batch], Tensor]
) -> None:
    batches, frames = {}, {}
    for method in ("plain", "puzzle", "temporal", "both"):
        config = replace(CONFIG, method=method, seed=seed)
        batches[method] = Sampler(BELT.train, config, 4, flows=flows).batch(step)
        frames[method] = frames_of(batches[method])
    for method, centre in (("plain", 0), ("puzzle", 0), ("temporal", 1), ("both", 1)):
        assert torch.equal(frames[method][:, centre], frames["plain"][:, 0])
        # The same jitter, the same mirrors.
        assert torch.equal(batches[method].images[:, centre], batches["plain"].images[:, 0])
        assert torch.equal(batches[method].labels[:, centre], batches["plain"].labels[:, 0])
    assert frames["both"].shape == (18, 3)
    assert frames["plain"].shape == (18, 1)
    assert batches["plain"].flows is None
    assert batches["plain"].visible is None


@pytest.mark.parametrize("window", [3, 4, 8])
def test_windows_are_frames_in_a_row_of_one_clip(
    window: int, flows: FlowStore, frames_of: Callable[[Batch], Tensor]
) -> None:
    sampler = Sampler(BELT.train, replace(CONFIG, window=window, batch=36), 4, flows=flows)
    for step in range(25):
        frames = frames_of(sampler.batch(step))
        assert frames.shape == (36 // (window - 2), window)
        assert (frames.diff(dim=1) == 1).all()
        assert (frames // 24 == frames[:, :1] // 24).all()  # clips of 24 frames


@pytest.mark.parametrize("method", ["plain", "both"])
def test_every_frame_with_two_neighbours_is_a_centre_and_no_other(
    method: str, flows: FlowStore, frames_of: Callable[[Batch], Tensor]
) -> None:
    sampler = Sampler(BELT.train, replace(CONFIG, method=method), 4, flows=flows)
    centre = 1 if method == "both" else 0
    seen = torch.cat([frames_of(sampler.batch(step))[:, centre] for step in range(60)])
    inner = [frame for frame in range(96) if 0 < frame % 24 < 23]
    assert sorted(set(seen.tolist())) == inner


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_each_part_holds_as_many_of_each_class(classes: int, parts: int, flows: FlowStore) -> None:
    config = replace(CONFIG, num_classes=classes, batch=18 * classes, method="temporal")
    sampler = Sampler(BELT.train, config, 4, flows=flows)
    for part in range(parts):
        labels = sampler.batch(5, part, parts).labels[:, 1]
        assert labels.bincount(minlength=classes).tolist() == [18 // parts] * classes


def test_the_first_centre_of_a_long_window_is_balanced(flows: FlowStore) -> None:
    labels = Sampler(BELT.train, replace(CONFIG, window=5), 4, flows=flows).batch(2).labels
    assert labels[:, 1].bincount().tolist() == [2, 2, 2]


@pytest.mark.parametrize("parts", [2, 3, 6])
@pytest.mark.parametrize("jitter_together", [True, False])
def test_parts_together_are_the_batch(parts: int, jitter_together: bool, flows: FlowStore) -> None:
    config = replace(CONFIG, jitter=(0.3, 0.3, 0.3, 0.1), jitter_together=jitter_together)
    sampler = Sampler(BELT.train, config, 4, flows=flows)
    whole, shares = sampler.batch(9), [sampler.batch(9, part, parts) for part in range(parts)]
    for name in ("images", "labels", "flows", "visible"):
        together = torch.cat([getattr(share, name) for share in shares])
        assert torch.equal(together, getattr(whole, name))


def test_a_batch_depends_on_seed_and_step_alone(flows: FlowStore) -> None:
    sampler = Sampler(BELT.train, CONFIG, 4, flows=flows)
    first = sampler.batch(4)
    torch.rand(3)  # nor on the global random state
    sampler.batch(5)
    again = Sampler(BELT.train, CONFIG, 4, flows=flows).batch(4)
    assert torch.equal(first.images, again.images)
    assert first.flows is not None
    assert again.flows is not None
    assert torch.equal(first.flows, again.flows)
    assert not torch.equal(first.images, sampler.batch(5).images)
    other = Sampler(BELT.train, replace(CONFIG, seed=1), 4, flows=flows).batch(4)
    assert not torch.equal(first.images, other.images)


def test_two_classes_take_the_label_of_the_camera() -> None:
    config = replace(CONFIG, num_classes=2, method="plain")
    sampler = Sampler(BELT.train, config, 4)
    assert torch.equal(sampler.labels, sampler.data.camera)
    assert CLASSES.index("background") not in sampler.labels


def test_a_class_without_a_centre_is_named(flows: FlowStore) -> None:
    full = SyntheticBelt(replace(DATA, lead_in=0, objects=8.0))
    with pytest.raises(TccamError, match="no frame of class 'background' with 1 frame"):
        Sampler(full.train, replace(CONFIG, data=full.config), 4, flows=flows)
    with pytest.raises(TccamError, match=r"with 23 frame\(s\) after"):
        Sampler(BELT.train, replace(CONFIG, window=25, batch=69), 4, flows=flows)


# pictures ---------------------------------------------------------------------------------------


def test_validation_sees_pictures_as_they_are(
    flows: FlowStore, frames_of: Callable[[Batch], Tensor]
) -> None:
    sampler = Sampler(BELT.train, CONFIG, 4, augment=False, flows=flows)
    batch = sampler.batch(0)
    frames = frames_of(batch)
    expected = sampler.data.pictures(frames.flatten()).unflatten(0, frames.shape)
    assert torch.equal(batch.images, expected)
    assert sampler.neighbours is not None
    still = torch.zeros(len(frames), 2, dtype=torch.bool)
    assert batch.flows is not None
    assert torch.equal(batch.flows, sampler.neighbours.of(frames, still)[0])


@pytest.mark.parametrize("together", [True, False])
def test_jitter_is_shared_by_a_window_or_drawn_for_each_frame(
    together: bool, flows: FlowStore, frames_of: Callable[[Batch], Tensor]
) -> None:
    config = replace(
        CONFIG, jitter=(0.5, 0.0, 0.0, 0.0), jitter_together=together, flip=False, background="none"
    )
    sampler = Sampler(BELT.train, config, 4, flows=flows)
    batch = sampler.batch(0)
    frames = frames_of(batch)
    plain = sampler.data.pictures(frames.flatten()).unflatten(0, frames.shape)
    gain = batch.images.sum((2, 3, 4)) / plain.sum((2, 3, 4))  # (W, T)
    assert 0.5 <= gain.min() < 0.7
    assert 1.3 < gain.max() <= 1.5
    spread = gain.amax(1) - gain.amin(1)
    assert bool((spread < 1e-4).all()) is together
    assert gain[:, 1].std() > 0.1


def scene(*shape: int) -> Tensor:
    """Colours far enough from 0 and 1 that torchvision has nothing to clip."""
    return 0.45 + 0.1 * torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def changed(images: Tensor, *change: float) -> Tensor:
    images = images.clone()
    recolor(images, torch.tensor(change).expand(*images.shape[:2], 4))
    return images


@pytest.mark.parametrize("amount", [-0.3, -0.1, 0.2, 0.3])
def test_recolor_equals_torchvision(amount: float) -> None:
    images = scene(2, 3, 3, 10, 12)
    pairs = (
        ((amount, 0.0, 0.0, 0.0), tv.adjust_brightness(images, 1 + amount)),
        ((0.0, amount, 0.0, 0.0), tv.adjust_contrast(images, 1 + amount)),
        ((0.0, 0.0, amount, 0.0), tv.adjust_saturation(images, 1 + amount)),
        (
            (amount, amount, amount, 0.0),
            tv.adjust_saturation(
                tv.adjust_contrast(tv.adjust_brightness(images, 1 + amount), 1 + amount), 1 + amount
            ),
        ),
    )
    for change, expected in pairs:
        assert (expected - images).abs().max() > 0.001
        torch.testing.assert_close(changed(images, *change), expected, atol=2e-4, rtol=0)


def test_no_change_is_the_identity() -> None:
    images = scene(2, 3, 3, 10, 12)
    assert torch.equal(changed(images, 0.0, 0.0, 0.0, 0.0), images)
    torch.testing.assert_close(changed(images, 0.0, 0.0, 0.0, 1.0), images)  # a whole turn


@pytest.mark.parametrize("turn", [0.05, -0.1, 0.4])
def test_hue_turns_about_the_grey_axis(turn: float) -> None:
    grey = torch.linspace(-0.5, 1, 20).expand(1, 1, 3, 4, 20)
    torch.testing.assert_close(changed(grey, 0, 0, 0, turn), grey, atol=1e-6, rtol=0)
    colours = torch.randn(1, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    turned = changed(colours, 0, 0, 0, turn)
    torch.testing.assert_close(turned.norm(dim=2), colours.norm(dim=2))
    torch.testing.assert_close(turned.mean(2), colours.mean(2))
    torch.testing.assert_close(changed(turned, 0, 0, 0, -turn), colours, atol=1e-5, rtol=0)
    chroma, rotated = (x - x.mean(2, keepdim=True) for x in (colours, turned))
    cosine = (chroma * rotated).sum(2) / chroma.square().sum(2)
    torch.testing.assert_close(cosine, torch.full_like(cosine, math.cos(2 * math.pi * turn)))
    # A third of a turn takes red to green, as it does on torchvision's wheel.
    red = torch.tensor([0.8, 0.2, 0.2]).reshape(1, 1, 3, 1, 1)
    third = changed(red, 0, 0, 0, 1 / 3).flatten()
    torch.testing.assert_close(third, tv.adjust_hue(red, 1 / 3).flatten(), atol=1e-5, rtol=0)


def test_each_picture_has_its_own_change() -> None:
    images, change = scene(2, 3, 3, 10, 12), torch.rand(2, 3, 4) - 0.5
    together = images.clone()
    recolor(together, change)
    for w in range(2):
        for t in range(3):
            alone = images[w : w + 1, t : t + 1].clone()
            recolor(alone, change[w : w + 1, t : t + 1])
            torch.testing.assert_close(together[w, t], alone[0, 0])


# flow -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [4, 16])
@pytest.mark.parametrize("previous", ["backward", "negated"])  # equal: the belt's speed is constant
def test_the_flow_of_mirrored_pictures_fits_them(
    stride: int, previous: str, flows: FlowStore
) -> None:
    clean = SyntheticBelt(
        replace(DATA, height=80, width=112, noise=0.0, glint=0.0, flicker=0.0, frames=30)
    )
    config = replace(
        CONFIG,
        data=clean.config,
        batch=48,
        background="none",
        jitter=(0.0, 0.0, 0.0, 0.0),
        previous=previous,
    )
    sampler = Sampler(clean.train, config, stride, flows=flows)
    assert sampler.neighbours is not None
    of, asked = sampler.neighbours.of, []

    def spy(index: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
        asked.append((index, mirrored))
        return of(index, mirrored)

    sampler.neighbours.of = spy  # type: ignore[method-assign]
    occupied = torch.cat([clip.occupied for clip in clean.train])
    errors: dict[tuple[bool, bool], list[float]] = {mirrored: [] for mirrored in MIRRORED}
    wrong: dict[tuple[bool, bool], list[float]] = {mirrored: [] for mirrored in MIRRORED}
    for step in range(4):
        batch = sampler.batch(step)
        assert batch.flows is not None
        assert batch.visible is not None
        index, mirrors = asked[-1]
        for w in range(len(index)):
            mirrored = (bool(mirrors[w, 0]), bool(mirrors[w, 1]))
            axes = [axis for axis, m in zip((-2, -1), mirrored, strict=True) if m]
            objects = occupied[index[w, 1]].flip(axes)
            centre = batch.images[w, 1]
            for side, frame in ((0, 0), (1, 2)):
                u, v = batch.flows[w, 1, side]
                seen = batch.visible[w, 1, side]
                for i, j in (objects[::stride, ::stride] & seen).nonzero().tolist():
                    y = round(stride * (i + float(v[i, j])))
                    x = round(stride * (j + float(u[i, j])))
                    here = centre[:, stride * i, stride * j]
                    other = batch.images[w, frame]
                    errors[mirrored].append(float((other[:, y, x] - here).abs().mean()))
                    x = max(0, min(111, round(stride * (j - float(u[i, j])))))
                    wrong[mirrored].append(float((other[:, y, x] - here).abs().mean()))
    for mirrored in MIRRORED:
        assert len(errors[mirrored]) > 30
        error, control = (sum(x[mirrored]) / len(x[mirrored]) for x in (errors, wrong))
        # The lamps light another place of the picture differently, so not 0.
        assert error < 0.03, mirrored
        assert control > 3 * error, mirrored


@pytest.mark.parametrize("stride", [4, 16])
@pytest.mark.parametrize("mirrored", MIRRORED)
def test_cells_of_mirrored_pictures_look_at_their_own_pixels(
    stride: int, mirrored: tuple[bool, bool], flows: FlowStore
) -> None:
    belt = SyntheticBelt(replace(DATA, rotation=8.0))  # every pixel of an object moves its own way
    config = replace(CONFIG, data=belt.config)
    data = FrameSet(belt.train, "none")
    neighbours = Neighbours(belt.train, data, config, stride, store=flows)
    inner = torch.arange(1, 23)  # of the first clip
    field, visible = neighbours.of(inner[None], torch.tensor([mirrored]))
    axes = [axis for axis, m in zip((-2, -1), mirrored, strict=True) if m]
    sign = torch.tensor([-1.0 if mirrored[1] else 1.0, -1.0 if mirrored[0] else 1.0])
    for row, t in enumerate(inner.tolist()):
        for side, other in enumerate((t - 1, t + 1)):
            whole = belt.train[0].flow(t, other).flip(axes) * sign[:, None, None]
            expected = whole[:, ::stride, ::stride] / stride
            torch.testing.assert_close(field[0, row, side], expected, atol=4e-3, rtol=0)
            seen = belt.train[0].visible(t, other).flip(axes)[::stride, ::stride]
            assert torch.equal(visible[0, row, side], seen)


def both_flows(config: TrainConfig, flows: FlowStore) -> tuple[Neighbours, Tensor, Tensor]:
    data = FrameSet(BELT.train, "none")
    neighbours = Neighbours(BELT.train, data, config, 4, store=flows)
    every = torch.arange(len(data))[None]
    field, visible = neighbours.of(every, torch.zeros(1, 2, dtype=torch.bool))
    return neighbours, field[0], visible[0]


def test_exact_flow_is_the_clips_own(flows: FlowStore) -> None:
    _, field, visible = both_flows(CONFIG, flows)
    assert field.shape == (96, 2, 2, 12, 16)
    assert visible.shape == (96, 2, 12, 16)
    clip = BELT.train[1]
    torch.testing.assert_close(
        field[24 + 7, 0], clip.flow(7, 6)[:, ::4, ::4] / 4, atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        field[24 + 7, 1], clip.flow(7, 8)[:, ::4, ::4] / 4, atol=1e-3, rtol=0
    )
    assert torch.equal(visible[24 + 7, 1], clip.visible(7, 8)[::4, ::4])
    assert not visible[24, 0].any()  # the first frame has no previous one
    assert not visible[47, 1].any()


def test_zero_is_no_flow_and_everything_seen(flows: FlowStore) -> None:
    _, field, visible = both_flows(replace(CONFIG, flow="zero"), flows)
    assert not field.any()
    assert visible.all()


def test_negated_is_minus_the_flow_from_the_previous_frame(flows: FlowStore) -> None:
    data = replace(DATA, rotation=8.0)  # one speed everywhere would make them the same
    belt = SyntheticBelt(data)
    frames = FrameSet(belt.train, "none")
    every = torch.arange(len(frames))[None]
    for mirrored in MIRRORED:
        mirrors = torch.tensor([mirrored])
        fields = []
        for previous in ("backward", "negated"):
            config = replace(CONFIG, data=data, previous=previous)
            neighbours = Neighbours(belt.train, frames, config, 4, store=flows)
            fields.append(neighbours.of(every, mirrors)[0][0])
        backward, negated = fields
        assert torch.equal(backward[:, 1], negated[:, 1])
        assert torch.equal(negated[1:, 0], -negated[:-1, 1])
        inner = (every[0] > frames.first) & (every[0] < frames.last)
        assert (negated[inner, 0] - backward[inner, 0]).abs().max() > 0.1


@pytest.mark.parametrize("motion", ["constant", "jitter"])
def test_shuffled_is_as_long_as_the_motion_and_never_along_it(
    motion: Any, flows: FlowStore
) -> None:
    data = replace(DATA, motion=motion)
    belt = SyntheticBelt(data)
    frames = FrameSet(belt.train, "none")
    every, still = torch.arange(len(frames))[None], torch.zeros(1, 2, dtype=torch.bool)

    def of(**changes: Any) -> Tensor:
        config = replace(CONFIG, data=data, **changes)
        return Neighbours(belt.train, frames, config, 4, store=flows).of(every, still)[0][0]

    exact, shuffled = of(), of(flow="shuffled")
    moving = exact.norm(dim=2) > 0.01  # (N, 2, h, w)
    assert moving.float().mean() > 0.3
    wrong = (shuffled - exact).norm(dim=2) / exact.norm(dim=2).clamp_min(1e-6)
    assert (wrong[moving] < 0.5).float().mean() < 0.02
    quarters = set()
    for t in range(len(frames)):
        turns = [shuffled[t]]
        for _ in range(3):
            turns.append(torch.stack((turns[-1][:, 1], -turns[-1][:, 0]), 1))  # turned back
        found = [
            (s, q)
            for q, turn in enumerate(turns)
            for s in range(len(frames))
            if 0 < s % 24 < 23 and torch.allclose(exact[s], turn)
        ]
        assert found  # the flow of a frame that has two neighbours
        quarters |= {q for _, q in found[:1]}
    assert quarters == {1, 2, 3}
    assert torch.equal(of(flow="shuffled"), shuffled)
    assert not torch.equal(of(flow="shuffled", seed=1), shuffled)


def test_without_cells_flow_lies_at_the_centres_of_tiles(flows: FlowStore) -> None:
    data = replace(DATA, rotation=4.0)
    belt = SyntheticBelt(data)
    frames = FrameSet(belt.train, "none")
    still = torch.zeros(1, 2, dtype=torch.bool)
    config = replace(CONFIG, data=data, cells=False)
    field, _ = Neighbours(belt.train, frames, config, 4, store=flows).of(
        torch.tensor([[15]]), still
    )
    # Bilinear at 4·i + 1.5: the mean of the four pixels in the middle of a tile.
    whole = belt.train[0].flow(15, 16)
    middle = sum(whole[:, y::4, x::4] for y in (1, 2) for x in (1, 2)) / 4
    torch.testing.assert_close(field[0, 0, 1], middle / 4, atol=2e-3, rtol=0)
    assert (middle / 4 - whole[:, ::4, ::4] / 4).abs().max() > 0.01


def test_only_the_mirrors_that_are_drawn_are_kept(flows: FlowStore) -> None:
    neighbours, _, _ = both_flows(replace(CONFIG, flip=False), flows)
    with pytest.raises(KeyError):
        neighbours.of(torch.tensor([[1]]), torch.tensor([[True, False]]))
