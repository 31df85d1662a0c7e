"""Explorers: what travels is small and exact, and JavaScript computes what the library does."""

import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tccam import cam, flow, metrics, puzzle
from tccam.data import BeltConfig, SyntheticBelt
from tccam.errors import TccamError
from tccam.inference import score_maps
from tccam.widgets import (
    MethodComparison,
    PuzzleExplorer,
    ThresholdExplorer,
    WarpExplorer,
    base,
)
from tccam.widgets.base import explorer_script, pack, quantise

CORE = Path(base.__file__).with_name("core.js").read_text(encoding="utf-8")
THRESHOLDS = [k / 10 for k in range(11)]


def javascript(body, given):
    """What a function of ``given`` returns, run by Node, or by Chromium where there is none."""
    if shutil.which("node"):
        script = f"{CORE}\nconst given = {json.dumps(given)};\nconst f = async () => {{{body}}};\n"
        script += "console.log(JSON.stringify(await f()));"
        command = ["node", "--input-type=module", "-"]
        ran = subprocess.run(
            command, input=script, capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)
    if not shutil.which("chromium"):
        pytest.skip("neither Node nor Chromium is here: NO JAVASCRIPT WAS RUN")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        try:
            script = f"async (given) => {{{CORE}\nreturn (async () => {{{body}}})();}}"
            return browser.new_page().evaluate(script, given)
        finally:
            browser.close()


def levels_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def example(kind=ThresholdExplorer, **changes):
    frames, masks = torch.rand(3, 3, 8, 12), torch.rand(3, 8, 12) > 0.5
    maps = {"plain": torch.rand(3, 2, 8, 12), "other": torch.rand(3, 2, 8, 12)}
    given = {"frames": frames, "maps": maps, "masks": masks, "classes": ("a", "b"), "alt": "Noise"}
    return kind(**{**given, **changes})


# --- What travels


@given(st.floats(0, 1), st.floats(0.5, 8))
def test_a_level_is_within_half_a_step_of_its_score(score, scale):
    level = quantise("maps", torch.tensor([score * scale]), scale)
    assert abs(level[0] / 255 * scale - score * scale) <= scale / 510 + 1e-6


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 1), (2, 1, 9), (2, 9, 1), (4, 16, 32)])
def test_levels_come_back_exactly(shape):
    levels = levels_of(*shape)
    packed = pack(levels)
    assert packed["stride"] == 1 or levels.size < 20
    found = javascript("return Array.from(await unpack(given));", packed)
    assert found == levels.flatten().tolist()


@pytest.mark.parametrize(
    ("stride", "size"), [(2, (20, 26)), (4, (32, 40)), (8, (50, 63)), (16, (64, 96))]
)
def test_enlarged_maps_travel_on_the_networks_grid(stride, size):
    cells = torch.rand(3, 1, -(-size[0] // stride), -(-size[1] // stride))
    large = cam.enlarge(cells, size, stride)[:, 0]
    packed = pack(quantise("maps", large))
    assert packed["stride"] == stride
    found = np.reshape(javascript("return Array.from(await unpack(given));", packed), large.shape)
    assert np.abs(found / 255 - large.numpy()).max() < 1.6 / 255
    # And what JavaScript makes of the cells is what the library makes of them.
    small = torch.from_numpy(quantise("maps", large)[:, None, ::stride, ::stride].copy()).float()
    again = (cam.enlarge(small, size, stride)[:, 0] + 0.501).floor()
    assert (found == again.numpy()).all()


def test_other_maps_travel_as_they_are():
    tiles = F.interpolate(torch.rand(2, 1, 8, 10), (32, 40), mode="bilinear", align_corners=False)
    assert pack(quantise("maps", tiles[:, 0]))["stride"] == 1


def test_a_clip_with_three_methods_is_light():
    belt = SyntheticBelt(BeltConfig(frames=40, validation=1))
    clip = belt.validation[0]
    cells = F.avg_pool2d(clip.masks[:, None].float(), 9, 4, 4)
    maps = {
        name: score_maps(cells * torch.rand(40, 3, *cells.shape[-2:]), clip.size, 4)
        for name in ("plain", "puzzle", "temporal")
    }
    for kind in (ThresholdExplorer, MethodComparison):
        page = kind(clip.frames, maps, clip.masks, alt="A clip").html()
        assert 50_000 < len(page.encode()) < 500_000


def test_page_holds_data_and_asks_nobody():
    page = example().html()
    assert page.count("data:image/webp;base64,") == 1
    assert page.count("data:application/octet-stream;base64,") == 3
    assert not re.search(r"https?://|//cdn|@import|<link|\bfetch\(|import\s*\(|url\(", page)
    assert page.count("export default") == 1


def test_page_survives_any_text():
    alt = "</script><b>“ü” & '\"` ${x} \\u003c <!--"
    page = example(alt=alt).html()
    assert page.count("</script>") == 1
    assert "<b>" not in page
    values = re.search(r"pageModel\((.*)\) \}\);\n</script>", page)[1]
    assert json.loads(values)["data"]["alt"] == alt


def test_same_explorer_gives_same_bytes():
    torch.manual_seed(0)
    first = example().html()
    torch.manual_seed(0)
    assert example().html() == first
    assert example().html() != first


def test_state_can_be_set_from_python():
    explorer = example()
    explorer.state = {**explorer.state, "threshold": 0.25}
    assert '"threshold": 0.25' in explorer.html()


def test_explorer_is_a_widget_whose_bundle_carries_the_page():
    anywidget = pytest.importorskip("anywidget")
    explorer = example()
    assert isinstance(explorer, anywidget.AnyWidget)
    bundle, _ = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == explorer.html()
    assert bundle["text/plain"] == "ThresholdExplorer: Noise"
    assert list(inspect.signature(WarpExplorer).parameters)[:2] == ["maps", "flow"]
    sent = explorer.get_state()
    assert sent["_esm"] == explorer_script("threshold")
    assert sent["state"] == explorer.state


def test_without_anywidget_the_page_alone_serves(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tccam.widgets")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    torch.manual_seed(0)
    bare = example(importlib.import_module("tccam.widgets").ThresholdExplorer)
    bundle, _ = bare._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    torch.manual_seed(0)
    assert bundle["text/html"] == example().html()


# --- What JavaScript computes


def test_colors_are_magma():
    mine = np.reshape(
        javascript(
            "return [...Array(256).keys()].map((k) => [...COLORS.slice(3 * k, 3 * k + 3)]);", None
        ),
        (256, 3),
    )
    theirs = mpl.colormaps["magma"](np.arange(256), bytes=True)[:, :3].astype(int)
    assert np.abs(mine - theirs).max() <= 3


IOU = """
const levels = await unpack(given.levels), masks = await unpack(given.masks);
const n = given.pixels, part = (bytes, t) => bytes.subarray(t * n, (t + 1) * n);
return given.thresholds.map((t) => Array.from({ length: levels.length / n }, (_, k) =>
  iou(tally(part(levels, k), part(masks, k)), t)));
"""


def test_iou_by_hand():
    levels = np.array([[[255, 128, 0, 0]], [[0, 0, 0, 0]], [[51, 0, 0, 0]]], np.uint8)
    masks = np.array([[[255, 0, 255, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]], np.uint8)
    given = {"levels": pack(levels), "masks": pack(masks), "pixels": 4, "thresholds": [0.2, 0.6]}
    assert javascript(IOU, given) == [
        [pytest.approx(1 / 3), 1, 0],  # 0.2 is level 51 to the hair, and >= takes it in
        [0.5, 1, 1],  # what is empty twice is right
    ]


def test_iou_is_the_librarys():
    masks = torch.rand(6, 16, 20) > 0.7
    masks[2] = False
    levels = levels_of(6, 16, 20)
    levels[2] //= 3
    given = {
        "levels": pack(levels),
        "masks": pack(quantise("masks", masks)),
        "pixels": 320,
        "thresholds": THRESHOLDS,
    }
    maps = torch.from_numpy(levels).float() / 255
    expected = torch.stack([metrics.frame_iou(maps >= t, masks) for t in THRESHOLDS])
    assert expected[4:, 2].tolist() == [1.0] * 7
    assert np.abs(np.array(javascript(IOU, given)) - expected.numpy()).max() < 5e-4


WARP = """
const [h, w] = given.cells, levels = await unpack(given.levels);
return given.flows.map((vector) => [false, true].map((shifted) =>
  warp(levels, h, w, vector, shifted).map(({ value, valid }) => [value, +valid])));
"""


@pytest.mark.parametrize("size", [(5, 7), (1, 6), (6, 1), (9, 12)])
def test_warp_is_the_librarys(size):
    levels = levels_of(*size)
    flows = [(0, 0), (1, 0), (0, -1), (-2, 0.5), (0.25, 2.75), (-3, 3), (1.37, -0.61)]
    given = {"levels": pack(levels), "cells": size, "flows": flows}
    found = np.array(javascript(WARP, given)).reshape(len(flows), 2, *size, 2)
    maps = torch.from_numpy(levels).float()[None, None] / 255
    for vector, both in zip(flows, found, strict=True):
        field = torch.tensor(vector, dtype=torch.float32).reshape(1, 2, 1, 1).expand(1, 2, *size)
        for shifted, one in zip((False, True), both, strict=True):
            warped, valid = flow.warp(maps, field, half_cell_shift=shifted)
            assert (one[..., 1] == valid[0, 0].numpy()).all()
            assert np.abs(one[..., 0] - warped[0, 0].numpy()).max() < 5e-4


def test_warp_by_hand():
    given = {"levels": pack(np.array([[0, 51, 102]], np.uint8)), "cells": [1, 3]}
    given["flows"] = [[1, 0], [0.5, 0]]
    (right, _), (half, _) = javascript(WARP, given)
    assert right == [[0.2, 1], [0.4, 1], [0, 0]]
    assert half == [[pytest.approx(0.1), 1], [pytest.approx(0.3), 1], [0, 0]]


@pytest.mark.parametrize("pieces", [1, 4, 9, 16])
def test_merge_is_the_librarys(pieces):
    tiles = torch.from_numpy(levels_of(pieces * 3, 1, 2, 5))
    given = {"levels": pack(tiles[:, 0].numpy()), "pieces": pieces}
    body = "const bytes = await unpack(given.levels);"
    body += "return [0, 1, 2].map((b) => Array.from(merge(bytes, given.pieces, 3, b, 2, 5)));"
    expected = puzzle.merge(tiles, pieces)[:, 0]
    assert javascript(body, given) == expected.flatten(1).tolist()


def test_difference_is_the_spatial_loss():
    whole, merged = (torch.from_numpy(levels_of(1, 4, 6, seed=seed)) for seed in (0, 1))
    given = {"whole": pack(whole.numpy()), "merged": pack(merged.numpy())}
    body = "return mean(distance(await unpack(given.whole), await unpack(given.merged))) / 255;"
    expected = puzzle.spatial_loss(whole[None] / 255, merged[None] / 255, torch.tensor([0]))
    assert javascript(body, given) == pytest.approx(expected.item(), abs=5e-4)


# --- What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": torch.rand(3, 8, 12)}, r"frames: expected \(T, 3, H, W\), got \(3, 8, 12\)"),
        ({"frames": torch.rand(0, 3, 8, 12)}, "frames: expected"),
        ({"maps": {}}, "maps: expected at least"),
        ({"maps": {"x": torch.rand(3, 3, 8, 12)}}, r"maps\['x'\]: expected \(3, 2, 8, 12\)"),
        ({"maps": {"x": torch.rand(3, 2, 8, 12) + 1}}, r"maps\['x'\]: expected scores in 0 … 1"),
        ({"maps": {"x": torch.full((3, 2, 8, 12), torch.nan)}}, r"maps\['x'\]: expected scores"),
        ({"maps": {"x": torch.ones(3, 2, 8, 12).int()}}, r"maps\['x'\]: expected float or bool"),
        ({"maps": {"x": torch.rand(3, 8, 12), "y": torch.rand(3, 2, 8, 12)}}, r"maps\['y'\]"),
        ({"masks": torch.rand(3, 8, 12)}, r"masks: expected bool \(3, 8, 12\), got torch.float32"),
        ({"masks": torch.ones(2, 8, 12, dtype=torch.bool)}, "masks: expected bool"),
        ({"start": 3}, "start: expected 0 … 2, got 3"),
        ({"threshold": 1.2}, "threshold: expected 0 … 1, got 1.2"),
        ({"alt": " "}, "alt: expected a sentence"),
    ],
)
def test_threshold_explorer_names_what_is_wrong(changes, message):
    with pytest.raises(TccamError, match=message):
        example(**changes)


def test_one_class_needs_no_axis_for_it():
    explorer = example(maps={"plain": torch.rand(3, 8, 12)})
    assert explorer.data["classes"] == ["a"]


def test_comparison_wants_two_methods():
    with pytest.raises(TccamError, match="maps: expected at least two methods, got"):
        example(MethodComparison, maps={"plain": torch.rand(3, 2, 8, 12)})
    assert example(MethodComparison, masks=None).data["masks"] is None


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({4: torch.rand(8, 2, 3)}, "maps: expected 1 and"),
        ({1: torch.rand(2, 4, 6)}, "maps: expected 1 and"),
        ({1: torch.rand(3, 4, 6), 4: torch.rand(8, 2, 3)}, r"maps\[1\]: expected \(2, h, w\)"),
        ({1: torch.rand(2, 4, 6), 4: torch.rand(8, 2, 2)}, r"maps\[4\]: expected \(8, 2, 3\)"),
        ({1: torch.rand(2, 4, 6), 5: torch.rand(8, 2, 3)}, "squares such as .* got 5"),
        ({1: torch.rand(2, 4, 6), 9: torch.rand(18, 1, 2)}, "4×6 cells, got 9"),
        ({1: torch.rand(2, 4, 6), 0: torch.rand(8, 2, 3)}, "got 0"),
        ({1: torch.rand(2, 4, 6) - 1, 4: torch.rand(8, 2, 3)}, r"maps\[1\]: expected scores in 0"),
    ],
)
def test_puzzle_explorer_names_what_is_wrong(maps, message):
    with pytest.raises(TccamError, match=message):
        PuzzleExplorer(torch.rand(2, 3, 16, 24), maps, alt="Noise")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((torch.rand(1, 4, 6),), r"maps: expected \(h, w\)"),
        ((torch.rand(49, 6),), "1 … 48 cells"),
        ((torch.rand(4, 6), (4.0, 0.0)), r"flow: expected \(u, v\) within ±3 cells"),
        ((torch.rand(4, 6), (float("nan"), 0.0)), "flow: expected"),
        ((torch.rand(4, 6) * 2,), "maps: expected scores in 0 … 1"),
    ],
)
def test_warp_explorer_names_what_is_wrong(given, message):
    with pytest.raises(TccamError, match=message):
        WarpExplorer(*given, alt="Noise")
