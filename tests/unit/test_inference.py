"""Inference: against the naive way of doing it, frame by frame and class by class."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tccam import cam, metrics, temporal
from tccam import flow as optical
from tccam.data import BeltConfig, FlowStore, LabelledClip, SyntheticBelt
from tccam.data.dataset import MASKS, PICTURES, FolderConfig, FolderData
from tccam.data.recording import write_belt
from tccam.errors import TccamError
from tccam.inference import (
    CURVE,
    Window,
    accuracy,
    assist,
    choose_threshold,
    evaluate,
    multiscale,
    predict,
    score_maps,
    stream,
)
from tccam.network import CamNet, CamOutput
from tccam.training import FrameSet

DATA = BeltConfig(
    height=48,
    width=64,
    frames=16,
    train=1,
    validation=1,
    test=2,
    speed=5.0,
    lead_in=6,
    motion="jitter",  # every step is another: a chain that takes the wrong one is found out
)
BELT = SyntheticBelt(DATA)
Flows = list[tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> FlowStore:
    return FlowStore(tmp_path_factory.mktemp("flows"))


@pytest.fixture(scope="module")
def network() -> CamNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = CamNet("small")
        with torch.no_grad():
            net.classifier.weight.mul_(5)
            for _ in range(5):
                net(torch.randn(8, 3, 48, 64))
    return net.eval()


def pictures_of(clip: int = 0) -> Tensor:
    data = FrameSet([BELT.test[clip]], "divide")
    return data.pictures(torch.arange(len(data)))


def flows_of(flows: FlowStore, clip: int = 0) -> Flows:
    found = flows.get(BELT.test[clip], "exact", 4, progress=False)
    return list(zip(found.flow, found.visible, strict=True))


@contextmanager
def counted(network: nn.Module) -> Iterator[list[int]]:
    """How many pictures each forward pass has."""
    counts: list[int] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    try:
        yield counts
    finally:
        hook.remove()


class Look(nn.Module):
    """A "network" whose maps are known: cell i of class c is channel c of pixel s·i."""

    def __init__(self, stride: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.output_stride, self.num_classes = stride, classes
        self.device = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> CamOutput:
        maps = images[:, : self.num_classes, :: self.output_stride, :: self.output_stride]
        return CamOutput(maps.mean((2, 3)), maps)


def spots(height: int, width: int, *places: tuple[float, float], sigma: float = 6.0) -> Tensor:
    """Smooth bright spots, float (1, 3, H, W), one for each channel."""
    y, x = torch.arange(height)[:, None], torch.arange(width)
    return torch.stack(
        [
            torch.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
            for row, column in places
        ]
    )[None]


def centre_of(plane: Tensor) -> tuple[float, float]:
    """Where a map's weight lies, (row, column)."""
    height, width = plane.shape
    rows = (plane.sum(1) * torch.arange(height)).sum() / plane.sum()
    columns = (plane.sum(0) * torch.arange(width)).sum() / plane.sum()
    return float(rows), float(columns)


# stream -----------------------------------------------------------------------------------------


def naive(network: CamNet, pictures: Tensor, fields: Flows, window: Window) -> list[Tensor]:
    """For every frame, a pass for each frame of its window."""
    answer = []
    for t in range(len(pictures)):
        centre = network(pictures[t : t + 1]).maps
        maps, flows, valids = [], [], []
        for side, step in enumerate((-1,) if window.past else (-1, 1)):
            flow, valid = None, torch.ones(centre.shape[2:], dtype=torch.bool)
            for distance in range(1, window.reach + 1):
                last, other = t + step * (distance - 1), t + step * distance
                if not 0 <= other < len(pictures):
                    break
                vectors, visible = fields[last][0][side], fields[last][1][side]
                if window.validity == "inside":
                    visible = torch.ones_like(visible)
                if flow is None:
                    flow, valid = vectors, visible
                else:
                    seen, _ = optical.warp(visible[None, None].double(), flow[None].double())
                    flow, inside = optical.compose(flow, vectors)
                    valid = valid & inside & (seen[0, 0] > 0.999)
                maps.append(network(pictures[other : other + 1]).maps)
                flows.append(flow[None])
                valids.append(valid[None, None])
        if maps:
            answer.append(temporal.aggregate(centre, maps, flows, valids, mode=window.fusion)[0])
        else:
            answer.append(F.relu(centre)[0])
    return answer


@torch.no_grad()
@pytest.mark.parametrize(
    "window", [Window(), Window(fusion="max"), Window(3, validity="inside"), Window(2, past=True)]
)
@pytest.mark.parametrize("batch", [1, 2, 7, 64])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_stream_equals_passes_for_every_window(
    window: Window, batch: int, count: int, network: CamNet, flows: FlowStore
) -> None:
    pictures, fields = pictures_of()[:count], flows_of(flows)[:count]
    with counted(network) as passes:
        found = list(stream(network, iter(pictures), iter(fields), window=window, batch=batch))
    assert sum(passes) == count  # each frame passes once
    assert max(passes) <= batch
    expected = naive(network, pictures, fields, window)
    assert len(found) == count
    for maps, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(maps, reference, atol=1e-5, rtol=0)
    if count == 16:  # and the neighbours matter
        alone = F.relu(network(pictures).maps)
        assert (torch.stack(found) - alone).abs().max() > 0.01


# assist -----------------------------------------------------------------------------------------


def drifting(count: int = 9, width: int = 6, speed: float = 1.0) -> tuple[Tensor, Flows]:
    """Random maps (T, 2, 3, w) that all move to the right, and their flow."""
    maps = torch.rand(count, 2, 3, width, generator=torch.Generator().manual_seed(0))
    vectors = torch.zeros(2, 2, 3, width)
    vectors[0, 0], vectors[1, 0] = -speed, speed
    return maps, [(vectors, torch.ones(2, 3, width, dtype=torch.bool))] * count


def along(maps: Tensor, t: int, reach: int, speed: int) -> Tensor:
    """The mean by hand: column x of frame t is column x + k·speed of frame t + k."""
    total, seen = torch.zeros_like(maps[0]), torch.zeros(maps.shape[-1])
    for k in range(-reach, reach + 1):
        for x in range(maps.shape[-1]):
            there = x + k * speed
            if 0 <= t + k < len(maps) and 0 <= there < maps.shape[-1]:
                total[..., x] += maps[t + k][..., there]
                seen[x] += 1
    return total / seen


@pytest.mark.parametrize("speed", [0, 1, 2])
@pytest.mark.parametrize("reach", [0, 1, 2, 4, 20])
@pytest.mark.parametrize("validity", ["inside", "visible"])
def test_the_window_follows_the_motion(speed: int, reach: int, validity: Any) -> None:
    maps, fields = drifting(speed=speed)
    found = list(assist(maps, fields, Window(reach, validity=validity)))
    for t, fused in enumerate(found):
        torch.testing.assert_close(fused, along(maps, t, reach, speed), atol=1e-5, rtol=0)
    past = list(assist(maps, fields, Window(reach, past=True, validity=validity)))
    for t, fused in enumerate(past):
        expected = along(maps[: t + 1], t, reach, speed)  # as if the clip ended here
        torch.testing.assert_close(fused, expected, atol=1e-5, rtol=0)


def test_whoever_is_hidden_on_the_way_is_not_met_again() -> None:
    maps, fields = drifting(3, speed=0.0)
    hidden = torch.ones(2, 3, 6, dtype=torch.bool)
    hidden[1, 0, 2] = False  # of frame 1, towards frame 2
    fields[1] = (fields[1][0], hidden)
    loose, strict = (
        list(assist(maps, fields, Window(2, validity=validity)))
        for validity in ("inside", "visible")
    )
    torch.testing.assert_close(loose[0], maps.mean(0))
    torch.testing.assert_close(strict[0][:, 0, 2], maps[:2, :, 0, 2].mean(0))  # frame 2 is missing
    strict[0][:, 0, 2] = loose[0][:, 0, 2]
    torch.testing.assert_close(strict[0], loose[0])  # and nothing else


def test_a_longer_window_never_lowers_the_maximum() -> None:
    maps, fields = drifting(speed=0.6)
    levels = [torch.stack(list(assist(maps, fields, Window(r, fusion="max")))) for r in range(5)]
    torch.testing.assert_close(levels[0], maps)
    for shorter, longer in pairwise(levels):
        assert (longer >= shorter).all()
        assert (longer > shorter).any()


def test_a_window_holds_its_own_frames_and_no_more() -> None:
    maps, fields = drifting(40)
    taken = 0

    def source() -> Iterator[Tensor]:
        nonlocal taken
        for frame in maps:
            taken += 1
            yield frame

    for done, _ in enumerate(assist(source(), fields, Window(3)), 1):
        assert taken == min(40, done + 3)
    taken = 0
    for done, _ in enumerate(assist(source(), fields, Window(3, past=True)), 1):
        assert taken == done  # nobody waits


def test_zero_flow_looks_at_the_same_place(flows: FlowStore) -> None:
    clip = BELT.test[0]
    still = Window(flow="zero").field(clip, 4, flows)
    moving = Window().field(clip, 4, flows)
    assert still.flow.shape == moving.flow.shape
    assert not still.flow.any()
    assert still.visible.all()
    maps = torch.rand(len(clip), 3, 12, 16)
    pairs = zip(still.flow, still.visible, strict=True)
    fused = torch.stack(list(assist(maps, pairs, Window(flow="zero"))))
    torch.testing.assert_close(fused[5], maps[4:7].mean(0))
    torch.testing.assert_close(fused[0], maps[:2].mean(0))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"reach": -1}, "Window.reach"),
        ({"reach": 1.5}, "Window.reach"),
        ({"fusion": "median"}, "Window.fusion"),
        ({"validity": "none"}, "Window.validity"),
        ({"flow": "magic"}, "Window.flow"),
    ],
)
def test_a_window_names_what_it_cannot_be(wrong: Any, name: str) -> None:
    with pytest.raises(TccamError, match=f"{name}: expected"):
        Window(**wrong)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_stream_without_flows_is_the_network(batch: int, network: CamNet) -> None:
    pictures = pictures_of()
    found = torch.stack(list(stream(network, pictures, batch=batch)))
    torch.testing.assert_close(found, F.relu(network(pictures).maps), atol=1e-5, rtol=0)


def test_stream_refuses_the_flow_of_another_clip(network: CamNet, flows: FlowStore) -> None:
    pictures = list(pictures_of())
    for some in (pictures[:3], []):
        with pytest.raises(TccamError, match="got more"):
            list(stream(network, some, flows_of(flows)))


def test_stream_of_nothing_is_empty(network: CamNet, flows: FlowStore) -> None:
    assert list(stream(network, [])) == []
    assert list(stream(network, [], [])) == []


def test_stream_reads_no_further_than_it_must(network: CamNet, flows: FlowStore) -> None:
    taken = 0

    def source() -> Iterator[Tensor]:
        nonlocal taken
        for picture in pictures_of():
            taken += 1
            yield picture

    maps = stream(network, source(), flows_of(flows), batch=2)
    next(maps)
    assert taken == 2
    next(maps)
    assert taken == 4


@torch.no_grad()
def test_stream_of_scales_lies_on_the_pictures_grid(network: CamNet, flows: FlowStore) -> None:
    pictures = pictures_of()[8:11]
    found = torch.stack(list(stream(network, pictures, scales=(0.5, 1.0), flip=True, batch=2)))
    expected = multiscale(network, pictures, (0.5, 1.0))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    fine = flows.get(BELT.test[0], "exact", 1, progress=False)
    fields = list(zip(fine.flow[8:11], fine.visible[8:11], strict=True))
    fused = list(stream(network, pictures, fields, scales=(0.5, 1.0), flip=True))
    middle = temporal.aggregate(
        expected[1:2],
        [expected[:1], expected[2:]],
        [fields[1][0][None, 0], fields[1][0][None, 1]],
        [fields[1][1][None, None, 0], fields[1][1][None, None, 1]],
    )
    torch.testing.assert_close(fused[1], middle[0], atol=1e-5, rtol=0)


def test_stream_refuses_flows_that_do_not_fit(network: CamNet, flows: FlowStore) -> None:
    pictures, fields = pictures_of(), flows_of(flows)
    with pytest.raises(TccamError, match="flows: expected one for each picture, got fewer"):
        list(stream(network, pictures, fields[:-1]))
    coarse = flows.get(BELT.test[0], "exact", 16, progress=False)
    with pytest.raises(TccamError, match=r"flow: expected .* on the grid of the maps"):
        list(stream(network, pictures, zip(coarse.flow, coarse.visible, strict=True)))


# several scales ---------------------------------------------------------------------------------


def rendered(plane: np.ndarray, size: tuple[int, int], seen: tuple[int, int], stride: int) -> Any:
    """One class map on the picture's grid, read pixel by pixel where the cells look."""
    rows = ((np.arange(size[0]) + 0.5) * seen[0] / size[0] - 0.5) / stride
    columns = ((np.arange(size[1]) + 0.5) * seen[1] / size[1] - 0.5) / stride
    places = np.meshgrid(rows, columns, indexing="ij")
    return scipy.ndimage.map_coordinates(plane.astype(np.float64), places, order=1, mode="nearest")


@torch.no_grad()
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0), (0.7, 1.3)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("batch", [1, 4])
def test_multiscale_equals_every_view_and_class_alone(
    scales: tuple[float, ...], flip: bool, batch: int, network: CamNet
) -> None:
    pictures = pictures_of()[8:11, :, :45, :62]  # sizes that are no multiples of the stride
    expected = np.zeros((3, 3, 45, 62))
    for n in range(3):
        for scale in scales:
            size = (round(45 * scale), round(62 * scale))
            for mirrored in (False, True) if flip else (False,):
                view = pictures[n : n + 1]
                if scale != 1:
                    view = F.interpolate(view, size, mode="bilinear", antialias=True)
                maps = F.relu(network(view.flip(-1) if mirrored else view).maps)[0]
                for c in range(3):
                    plane = rendered(maps[c].numpy(), (45, 62), size, 4)
                    expected[n, c] += plane[:, ::-1] if mirrored else plane
    expected /= len(scales) * (2 if flip else 1)
    found = multiscale(network, pictures, scales, flip=flip, batch=batch)
    assert found.shape == (3, 3, 45, 62)
    assert expected.max() > 0.1
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("width", [80, 83])
@pytest.mark.parametrize("stride", [4, 8])
def test_a_mirrored_view_lands_in_its_place(width: int, stride: int) -> None:
    places = ((30.0, 25.0), (40.0, 40.0), (35.0, 52.0))
    pictures = spots(72, width, *places)
    look: Any = Look(stride)
    for scales in ((1.0,), (0.5, 1.0, 2.0)):
        found = multiscale(look, pictures, scales, flip=True)[0]
        for plane, place in zip(found, places, strict=True):
            assert centre_of(plane) == pytest.approx(place, abs=0.075 * stride)
    # Turned back cell by cell, the mirrored view alone is beside it.
    turned = look(pictures.flip(-1)).maps.flip(-1)
    moved = centre_of(cam.enlarge(turned, (72, width), stride)[0, 0])[1]
    off = (width - 1) % stride  # where its last cell looks, from the other side
    assert moved - 25 == pytest.approx(-off, abs=0.5)
    assert off > 1


def test_multiscale_leaves_the_mode_and_names_bad_scales(network: CamNet) -> None:
    pictures = pictures_of()[:2]
    network.train()
    multiscale(network, pictures, (1.0,))
    assert network.training
    network.eval()
    assert multiscale(network, pictures[:0]).shape == (0, 3, 48, 64)
    for scales in ((), (0.0, 1.0), (-1.0,)):
        with pytest.raises(TccamError, match="scales: expected positive numbers"):
            multiscale(network, pictures, scales)
    with pytest.raises(TccamError, match="less than one cell"):
        multiscale(network, pictures, (0.02,))


# scores -----------------------------------------------------------------------------------------


def test_score_maps_are_placed_and_normalised() -> None:
    places = ((20.0, 24.0), (20.0, 24.0), (30.0, 33.0))
    pictures = spots(48, 64, *places)
    maps = Look()(pictures).maps - 0.1
    maps[:, 1] *= 7
    maps[:, 2] = -1.0
    scores = score_maps(maps, (48, 64), 4)
    assert scores.shape == (1, 3, 48, 64)
    assert scores.min() >= 0
    assert scores.max() <= 1
    torch.testing.assert_close(scores[:, 0], scores[:, 1], atol=1e-3, rtol=0)  # by its own maximum
    assert not scores[:, 2].any()  # negative evidence is none
    assert divmod(int(scores[0, 0].argmax()), 64) == (20, 24)
    tiles = score_maps(maps, (48, 64), None)
    assert centre_of(tiles[0, 0])[1] - centre_of(scores[0, 0])[1] == pytest.approx(1.5, abs=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledClip, ...]:
    """The test clips as a folder; each lacks a frame, and one mask is missing."""
    root = tmp_path_factory.mktemp("folder")
    write_belt(DATA, root, progress=False)
    for video in (root / PICTURES["test"]).glob("*/*"):
        sorted(video.iterdir())[9].unlink()
    mask = sorted((root / MASKS["test"] / "before").glob("*/*"))[7]
    mask.unlink()
    return FolderData(FolderConfig(str(root))).test


class Held(LabelledClip):
    """All of a clip in memory."""

    labels: Any = None
    masks: Any = None
    known: Any = None
    starts: Any = None
    background: Any = None

    def __init__(self, clip: LabelledClip) -> None:
        self.name, self.label = clip.name, clip.label
        for what in ("frames", "labels", "masks", "known", "starts", "background"):
            setattr(self, what, getattr(clip, what))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Tensor:
        return self.frames[index]


def seen_by(
    network: CamNet, clip: LabelledClip, window: Window | None, flows: FlowStore
) -> tuple[Tensor, Tensor]:
    """Logits and scores of all frames of a clip, each run of frames for itself."""
    pictures = FrameSet([clip], "divide").pictures(torch.arange(len(clip)))
    output = network(pictures)
    maps = F.relu(output.maps)
    if window is not None:
        found = flows.get(clip, window.flow, 4, assisted=window.assisted, progress=False)
        fields = list(zip(found.flow, found.visible, strict=True))
        ends = [*clip.starts.nonzero().flatten().tolist(), len(clip)]
        parts = [naive(network, pictures[i:j], fields[i:j], window) for i, j in pairwise(ends)]
        maps = torch.stack([frame for part in parts for frame in part])
    return output.logits, score_maps(maps, clip.size, 4)


def overlap(one: Any, other: Any) -> float:
    union = (one | other).sum()
    return (one & other).sum() / union if union else 1.0


def by_definition(scores: Any, logits: Any, clips: Any, threshold: float) -> dict[str, Any]:
    """A report, each score from its definition, with everything in memory."""
    labels, masks, occupied, known = (
        torch.cat([getattr(clip, what) for clip in clips]).numpy()
        for what in ("labels", "masks", "occupied", "known")
    )
    argmax = (scores[:, 0] > scores[:, 1]) & (scores[:, 0] > scores[:, 2])
    judged = (labels == 0) & masks.any((1, 2))
    before, truth, rest = scores[judged, 0], masks[judged], ~occupied[judged]

    def at(level: float) -> tuple[float, float, float, float]:
        """Frames' mean IoU, mIoU, precision and recall."""
        found = before >= np.float32(level)
        hits, drawn = (found & truth).sum(), found.sum()
        return (
            np.mean([overlap(*pair) for pair in zip(found, truth, strict=True)]),
            (overlap(found, truth) + overlap(~found, ~truth)) / 2,
            hits / drawn if drawn else 1.0,
            hits / truth.sum(),
        )

    table = {level: at(level) for level in metrics.THRESHOLDS}
    points = [(0.0, 0.0), *(table[level][2:] for level in sorted(table, reverse=True))]
    iou, miou, precision, recall = at(threshold)
    energy = before.sum((1, 2))
    return {
        "accuracy": (logits.argmax(1) == labels)[labels != 2].mean(),
        "iou_argmax": np.mean([overlap(argmax[n], masks[n]) for n in np.flatnonzero(judged)]),
        "iou_threshold": iou,
        "threshold": threshold,
        "iou_oracle": max(row[0] for row in table.values()),
        "iou_authors": np.mean([overlap(argmax[n], masks[n]) for n in np.flatnonzero(known)]),
        "miou": miou,
        "pxap": sum(here[0] * (here[1] - last[1]) for last, here in pairwise(points)),
        "precision": precision,
        "recall": recall,
        "energy_outside": np.mean(((before * rest).sum((1, 2)) / energy)[energy > 0]),
        "curve": [[table[level][k] for level in CURVE] for k in (0, 2, 3)],
    }


WINDOWS = [None, Window(), Window(fusion="max", flow="dis"), Window(2, flow="dis", assisted=False)]


@torch.no_grad()
@pytest.mark.parametrize("threshold", [0.4, 0.123])  # on the grid of the oracle, and beside it
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", ["belt", "folder"])
def test_evaluate_is_what_its_scores_are_defined_as(
    kind: str,
    window: Window | None,
    threshold: float,
    network: CamNet,
    flows: FlowStore,
    folder: tuple[LabelledClip, ...],
) -> None:
    clips: Any = BELT.test if kind == "belt" else folder
    if kind == "folder" and window is not None and window.flow == "exact":
        with pytest.raises(TccamError, match="only a synthetic belt knows its exact flow"):
            evaluate(network, clips, "divide", threshold, window=window, flows=flows)
        return
    seen = [seen_by(network, clip, window, flows) for clip in clips]
    logits, scores = (torch.cat(tensors).numpy() for tensors in zip(*seen, strict=True))
    expected = by_definition(scores, logits, clips, threshold)
    report = evaluate(network, clips, "divide", threshold, window=window, flows=flows)
    # Other batches round the maps otherwise, and a pixel or two crosses a threshold.
    for name, value in expected.items():
        found = getattr(report, name)
        np.testing.assert_allclose(found, value, atol=1e-6 if name == "accuracy" else 1e-3)
    assert accuracy(network, clips, "divide") == pytest.approx(report.accuracy)
    assert report.threshold == threshold
    if kind == "folder":
        assert sum(int((~clip.known).sum()) for clip in clips) == 1


@pytest.mark.parametrize("window", [None, *WINDOWS[2:], Window(flow="zero")])
def test_a_folder_is_judged_as_the_same_frames_in_memory(
    window: Window | None, network: CamNet, flows: FlowStore, folder: tuple[LabelledClip, ...]
) -> None:
    held = [Held(clip) for clip in folder]
    options: Any = {"window": window, "flows": flows}
    chosen = [choose_threshold(network, clips, "mask", **options) for clips in (folder, held)]
    assert chosen[0] == chosen[1]
    reports = [evaluate(network, clips, "mask", chosen[0], **options) for clips in (folder, held)]
    assert reports[0] == reports[1]  # to the bit


@pytest.mark.parametrize("window", [None, Window(2)])
def test_the_size_of_a_batch_changes_nothing(
    window: Window | None, flows: FlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    look: Any = Look()  # rounds alike in every batch
    options: Any = {"window": window, "flows": flows}
    thresholds, reports = set(), []
    for frames in (64, 1, 7):
        monkeypatch.setattr("tccam.inference._FRAMES", frames)
        thresholds.add(choose_threshold(look, BELT.test, "none", **options))
        with counted(look) as passes:
            reports.append(evaluate(look, BELT.test, "none", 0.4, **options))
        assert max(passes) == frames
        assert sum(passes) == 4 * DATA.frames  # each frame once, whatever the window
    assert len(thresholds) == 1
    assert reports[0] == reports[1] == reports[2]


def test_few_large_frames_pass_together(network: CamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    for pixels, most in ((5 * 48 * 64, 5), (1, 1)):
        monkeypatch.setattr("tccam.inference._PIXELS", pixels)
        with counted(network) as passes:
            evaluate(network, BELT.test, "divide", 0.4)
        assert max(passes) == most


def test_memory_does_not_grow_with_the_clips(tmp_path: Path) -> None:
    """Four times the frames: what stays of all of them is some 2 KB a frame."""
    config = replace(DATA, height=96, width=128, lead_in=0, test=1)
    for clip in SyntheticBelt(config).test:
        pixels = {PICTURES["test"]: clip.frames.permute(0, 2, 3, 1)}
        if clip.label == "before":
            pixels[MASKS["test"]] = clip.masks * 255
        for name, count in (("short", 32), ("long", 128)):
            for kind, pictures in pixels.items():
                place = tmp_path / name / kind / str(clip.label) / "video"
                place.mkdir(parents=True)
                for number in range(count):
                    picture = pictures[number % len(clip)].byte().numpy()
                    assert cv2.imwrite(str(place / f"frame_{number}.png"), picture)
    script = textwrap.dedent("""
        import resource, sys
        import torch
        from tccam import inference
        from tccam.data.dataset import FolderConfig, FolderData
        from tccam.inference import Window, choose_threshold, evaluate
        from tccam.network import CamNet
        torch.set_num_threads(1)
        inference._FRAMES = 8  # a batch that both folders fill
        network, window, peaks = CamNet("small"), Window(flow="dis", assisted=False), []
        for folder in sys.argv[1:]:
            clips = FolderData(FolderConfig(folder)).test
            threshold = choose_threshold(network, clips, "none")
            evaluate(network, clips, "none", threshold, window=window)
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        print(peaks[1] - peaks[0])
    """)
    folders = [str(tmp_path / name) for name in ("short", "long")]
    done = subprocess.run(
        [sys.executable, "-c", script, *folders],
        env={**os.environ, "TCCAM_FLOWS": str(tmp_path / "flows")},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert int(done.stdout) < 16, f"{done.stdout} MB more"
    assert not (tmp_path / "flows").exists()


def test_bars_are_shown_if_asked_for(network: CamNet, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(network, BELT.test, "divide", 0.4)
    assert capsys.readouterr() == ("", "")
    evaluate(network, BELT.test, "divide", 0.4, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{4 * DATA.frames}/{4 * DATA.frames}" in captured.err


def test_the_threshold_is_the_best_of_the_validation_clips(
    network: CamNet, flows: FlowStore
) -> None:
    for window in (None, Window(), Window(2, fusion="max")):
        options: Any = {"window": window, "flows": flows}
        chosen = choose_threshold(network, BELT.validation, "divide", **options)
        best = evaluate(network, BELT.validation, "divide", chosen, **options).iou_threshold
        for other in (0.1, 0.3, 0.5, 0.7, 0.9):
            worse = evaluate(network, BELT.validation, "divide", other, **options).iou_threshold
            assert worse <= best + 1e-6


def test_the_window_changes_the_report(network: CamNet, flows: FlowStore) -> None:
    windows = (None, Window(), Window(2), Window(fusion="max"), Window(flow="zero"))
    reports = [
        evaluate(network, BELT.test, "divide", 0.4, window=window, flows=flows)
        for window in windows
    ]
    assert len({report.pxap for report in reports}) == len(windows)
    assert len({report.accuracy for report in reports}) == 1  # of the frames alone


def test_clips_that_cannot_be_used(network: CamNet) -> None:
    after = [clip for clip in BELT.test if clip.label == "after"]
    for score in (evaluate, choose_threshold):
        arguments: Any = (0.5,) if score is evaluate else ()
        with pytest.raises(TccamError, match="illegal"):
            score(network, after, "divide", *arguments)


def test_predict_leaves_the_mode_alone(network: CamNet) -> None:
    pictures = pictures_of()[:5]
    network.train()
    small, large = predict(network, pictures, batch=2), predict(network, pictures, batch=64)
    assert network.training
    network.eval()
    torch.testing.assert_close(small.maps, large.maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(small.logits, small.maps.mean((2, 3)))


def test_the_shuffle_of_clips_changes_nothing(network: CamNet, flows: FlowStore) -> None:
    one = evaluate(network, BELT.test, "divide", 0.4, window=Window(), flows=flows)
    other = evaluate(network, BELT.test[::-1], "divide", 0.4, window=Window(), flows=flows)
    for name in (field.name for field in fields(one) if field.name != "curve"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-6)
    for here, there in zip(one.curve, other.curve, strict=True):
        assert there == pytest.approx(here, abs=1e-6)
    longer = SyntheticBelt(replace(DATA, frames=20)).test  # another length, another clip
    assert evaluate(network, longer, "divide", 0.4, window=Window(), flows=flows).pxap != one.pxap
