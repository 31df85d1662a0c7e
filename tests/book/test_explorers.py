"""Explorers in a reader's browser, on a page of their own, with the network off."""

import re

import pytest
import torch
from test_pages import FAINT, ROOT  # it puts the tools on the path

from tccam import flow, metrics, puzzle
from tccam.widgets import MethodComparison, PuzzleExplorer, ThresholdExplorer, WarpExplorer

assert ROOT
from browser import new_context  # noqa: E402

PAGE = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>An
explorer</title><meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ margin: 0 }} [data-dark] {{ background: #121212 }}</style>
<body{dark}><article class="bd-article">{content}</article></html>"""
COUNT, SIZE = 6, (32, 40)
KINDS = ("threshold", "comparison", "puzzle", "warp")
every_kind = pytest.mark.parametrize("kind", KINDS)
SMALL = """() => [...document.querySelectorAll("input, button")]
  .filter((e) => e.getClientRects().length)
  .map((e) => [e.ariaLabel || e.value, e.closest("label") || e])
  .map(([name, e]) => [name, e.getBoundingClientRect()])
  .filter(([, box]) => box.height < 43.5 || box.width < 32).map(([name]) => name)"""
NAMELESS = """() => [...document.querySelectorAll("input, button, svg[tabindex], [role]")]
  .filter((e) => !e.ariaLabel && !e.getAttribute("aria-label")
    && !e.closest("label")?.textContent.trim()).map((e) => e.outerHTML.slice(0, 80))"""


def levels(*shape):
    """Scores that survive the way to the page."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture(scope="module")
def clip():
    x, y = torch.arange(SIZE[1]), torch.arange(SIZE[0])[:, None]
    masks = torch.stack([(x - 6 * k).abs().maximum((y - 16).abs()) < 6 for k in range(COUNT)])
    masks[-1] = False
    maps = levels(COUNT, 2, *SIZE)
    near = (maps + masks[:, None]) / 2
    frames = masks[:, None].expand(-1, 3, -1, -1) * 0.6 + 0.2
    methods = {"plain": maps, "plain + neighbours": near, "temporal": near.flip(0)}
    return frames, methods, masks


@pytest.fixture(scope="module")
def pieces():
    return {1: levels(3, 8, 8), 4: levels(12, 4, 4) * 2, 16: levels(48, 2, 2)}


@pytest.fixture(scope="module")
def explorers(clip, pieces):
    classes, alt = ("before", "after"), "Squares that move to the right"
    return {
        "threshold": ThresholdExplorer(*clip, classes, alt=alt, start=2),
        "comparison": MethodComparison(*clip, classes, alt=alt, start=2),
        "puzzle": PuzzleExplorer(torch.rand(3, 3, 32, 32), pieces, alt="Noise in tiles"),
        "warp": WarpExplorer(levels(6, 8), (-2, 0.5), alt="Noise, moved"),
    }


@pytest.fixture
def show(browser, explorers, tmp_path):
    """Open a page with explorers; in the end, nothing has complained and nobody was asked."""
    opened = []

    def look(*kinds, width=1000, dark=False, motion="no-preference"):
        content = "".join(explorers[kind].html() for kind in kinds)
        page = tmp_path / "page.html"
        text = PAGE.format(content=content, dark=" data-dark" if dark else "")
        page.write_text(text, encoding="utf-8")
        context, _ = new_context(browser, width, motion=motion)
        context.unroute("**/*")
        asked, errors = [], []
        context.set_offline(True)
        tab = context.new_page()
        tab.emulate_media(color_scheme="dark" if dark else "light", reduced_motion=motion)
        tab.on("request", lambda r: asked.append(r.url[:80]))
        tab.on("console", lambda m: errors.append(m.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        opened.append((context, asked, errors))
        tab.goto(page.as_uri())
        for number in range(len(kinds)):
            tab.locator(".tccam-explorer").nth(number).wait_for(timeout=10_000)
        return tab

    yield look
    for context, asked, errors in opened:
        context.close()
        assert errors == []
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def number(tab):
    return float(tab.locator(".tx-number").text_content())


def slide(tab, name, share):
    """Drag a slider's thumb with the mouse from where it is to a share of its way."""
    box = tab.get_by_role("slider", name=name).bounding_box()
    value = tab.get_by_role("slider", name=name).evaluate("(e) => e.value / e.max")
    at = [box["x"] + 9 + (box["width"] - 18) * s for s in (value, share)]
    y = box["y"] + box["height"] / 2
    tab.mouse.move(at[0], y)
    tab.mouse.down()
    tab.mouse.move(at[1], y, steps=4)
    tab.mouse.up()


def test_threshold_slides_and_iou_follows(show, clip):
    _, maps, masks = clip
    tab = show("threshold")

    def expected(name, class_, frame, threshold):
        found = maps[name][:, class_].mul(255).round() / 255 >= threshold
        return metrics.frame_iou(found, masks)[frame].item()

    assert number(tab) == pytest.approx(expected("plain", 0, 2, 0.5), abs=0.0051)
    slide(tab, "Threshold", 0.8)
    threshold = float(tab.get_by_role("slider", name="Threshold").input_value())
    assert threshold == pytest.approx(0.8, abs=0.02)
    assert number(tab) == pytest.approx(expected("plain", 0, 2, threshold), abs=0.0051)
    for key, step in (("ArrowLeft", -0.01), ("ArrowRight", 0.01), ("PageDown", -0.1)):
        tab.get_by_role("slider", name="Threshold").press(key)
        threshold = round(threshold + step, 2)
        assert float(tab.get_by_role("slider", name="Threshold").input_value()) == threshold
    tab.get_by_text("with neighbours").click()
    assert tab.get_by_role("switch").is_checked()
    assert number(tab) == pytest.approx(expected("plain + neighbours", 0, 2, threshold), abs=0.0051)
    tab.get_by_role("radio", name="after").check(force=True)
    assert number(tab) == pytest.approx(expected("plain + neighbours", 1, 2, threshold), abs=0.0051)
    tab.get_by_role("radio", name="temporal").check(force=True)
    assert not tab.get_by_role("switch").is_visible()
    assert number(tab) == pytest.approx(expected("temporal", 1, 2, threshold), abs=0.0051)


def test_frames_are_stepped_and_played_on_request(show):
    tab = show("threshold")
    frame = tab.get_by_role("slider", name="frame")
    frame.press("ArrowRight")
    assert "frame 3 of 5, IoU" in frame.evaluate("(e) => e.ariaValueText")
    tab.wait_for_timeout(400)
    assert frame.input_value() == "3"  # it did not start by itself
    tab.get_by_role("button", name="Play").click()
    tab.wait_for_function("document.querySelector('.tx-scrubber input').value !== '3'")
    tab.get_by_role("button", name="Pause").press("Enter")
    stopped = frame.input_value()
    tab.wait_for_timeout(400)
    assert frame.input_value() == stopped
    frame.press("End")
    tab.get_by_role("slider", name="Threshold").press("End")
    assert number(tab) in (0, 1)  # nobody's mask, nobody's pixel: 1; one stray pixel: 0


def test_flow_is_dragged_typed_and_pressed(show):
    tab = show("warp")
    maps = levels(6, 8)[None, None]

    def check(u, v, cell=(4, 3), shifted=False):
        field = torch.tensor([float(u), float(v)]).reshape(1, 2, 1, 1).expand(1, 2, 6, 8)
        warped, valid = flow.warp(maps, field, half_cell_shift=shifted)
        text = tab.locator(".tx-say").text_content()
        assert [float(tab.get_by_label(n).input_value()) for n in ("u, to", "v, down")] == [u, v]
        assert f"Cell ({cell[0]}, {cell[1]}) is read at" in text
        assert f"{int((~valid).sum())} of 48 cells are invalid" in text
        if valid[0, 0, cell[1], cell[0]]:
            value = float(re.search(r"= ([\d.]+)\. ", text)[1])
            assert value == pytest.approx(warped[0, 0, cell[1], cell[0]].item(), abs=0.0051)
        else:
            assert "outside the picture" in text
        return text

    check(-2, 0.5)
    handle = tab.get_by_role("slider", name="Flow vector")
    handle.focus()
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowDown"):
        tab.keyboard.press(key)
    check(-1.75, 1.25)
    assert handle.evaluate("(e) => e.ariaValueText") == "u −1.75, v 1.25 cells"
    knob = tab.locator(".tx-knob").bounding_box()
    cell = tab.locator(".tx-have [data-cell]").first.bounding_box()["width"] / 1.02
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 2.5 * cell, y - 2 * cell, steps=5)
    tab.mouse.up()
    u, v = (float(tab.get_by_label(name).input_value()) for name in ("u, to", "v, down"))
    assert (u, v) == (pytest.approx(0.75, abs=0.06), pytest.approx(-0.75, abs=0.06))
    check(u, v)
    tab.get_by_label("u, to").fill("9")  # is brought back to what it may be
    tab.get_by_label("u, to").press("Tab")
    check(3, v)
    tab.get_by_role("application").press("ArrowRight")
    tab.get_by_role("application").press("ArrowDown")
    check(3, v, (5, 4))
    tab.get_by_label("u, to").fill("0")
    tab.get_by_label("v, down").fill("0")
    tab.get_by_label("v, down").press("Enter")
    assert "align_corners" not in check(0, 0, (5, 4))
    tab.get_by_text("align_corners mixed up").click()
    assert "align_corners=True" in check(0, 0, (5, 4), shifted=True)


def test_flow_is_dragged_with_a_finger(show):
    tab = show("warp", width=390)
    tab.evaluate("""() => {
      const handle = document.querySelector(".tx-handle");
      const box = document.querySelector(".tx-knob").getBoundingClientRect();
      const at = (type, dx) => handle.dispatchEvent(new PointerEvent(type, { bubbles: true,
        pointerId: 7, pointerType: "touch", clientX: box.x + box.width / 2 + dx,
        clientY: box.y + box.height / 2 }));
      handle.setPointerCapture = () => {};
      handle.hasPointerCapture = () => true;
      at("pointerdown", 0);
      at("pointermove", 30);
    }""")
    assert float(tab.get_by_label("u, to").input_value()) > -1
    style = "(e) => getComputedStyle(e).touchAction"
    assert tab.locator(".tx-handle").evaluate(style) == "none"


def test_tiles_are_cut_and_merged(show, pieces):
    tab = show("puzzle")
    for count in (1, 4, 16):
        tab.get_by_role("radio", name=str(count), exact=True).check(force=True)
        assert tab.locator(".tx-tiles canvas").count() == count
        for picture in range(3):
            tab.get_by_role("slider", name="picture").press("Home")
            for _ in range(picture):
                tab.get_by_role("slider", name="picture").press("ArrowRight")
            whole, tiles = pieces[1][:, None], puzzle.merge(pieces[count][:, None], count)
            one = slice(picture, picture + 1)
            expected = puzzle.spatial_loss(whole[one], tiles[one], torch.tensor([0]))
            assert number(tab) == pytest.approx(expected.item(), abs=0.003)
    tab.get_by_text("merged", exact=True).click()
    assert tab.locator(".tx-tiles").evaluate("(e) => e.classList.contains('tx-merged')")
    assert tab.get_by_text("Maps of the tiles, merged").is_visible()


def test_wipe_uncovers_one_of_two_methods(show, clip):
    _, maps, _ = clip
    tab = show("comparison")
    wipe = tab.get_by_role("slider", name="Wipe")
    clipped = "() => getComputedStyle(document.querySelectorAll('.tx-wipe .tx-stage')[1]).clipPath"
    assert "50%" in tab.evaluate(clipped)
    wipe.press("PageUp")
    assert "40%" in tab.evaluate(clipped)
    assert wipe.evaluate("(e) => e.ariaValueText") == "60% plain, the rest plain + neighbours"
    box = tab.locator(".tx-wipe").bounding_box()
    y = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + 0.6 * box["width"], y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.25 * box["width"], y, steps=5)
    tab.mouse.up()
    assert float(wipe.input_value()) == pytest.approx(0.25, abs=0.02)
    tab.get_by_role("group", name="Right", exact=True).get_by_role("radio", name="temporal").check(
        force=True
    )
    gap = (maps["plain"] - maps["temporal"])[2, 0].abs().mean().item()
    assert float(tab.locator(".tx-note output").text_content()) == pytest.approx(gap, abs=0.003)


def test_heat_and_outline_are_drawn_where_they_belong(show, clip):
    tab = show("threshold")
    paths = tab.locator(".tx-lines path.tx-mask").get_attribute("d")
    mask = clip[2][2].int()
    borders = (mask.diff(dim=0) != 0).sum() + (mask.diff(dim=1) != 0).sum()
    assert paths.count("M") == borders
    pixel = "() => [...document.querySelector('.tx-stage canvas').getContext('2d')"
    picture = tab.evaluate(f"{pixel}.getImageData(0, 0, 40, 32).data]")
    shown = torch.tensor(picture).reshape(*SIZE, 4)[..., :3].float().mean(-1)
    hot = clip[1]["plain"][2, 0]
    bare = ~clip[2][2]  # of one grey
    pair = torch.corrcoef(torch.stack((shown[bare], hot[bare])))
    assert pair[0, 1] > 0.7


@every_kind
def test_two_of_a_kind_share_a_page(show, kind):
    tab = show(kind, kind)
    assert tab.locator(".tccam-explorer").count() == 2
    radios = tab.locator(".tccam-explorer").nth(1).locator("[type=radio]:checked")
    assert tab.locator("[type=radio]:checked").count() == 2 * radios.count()


@every_kind
@pytest.mark.parametrize("width", [360, 390, 760])
def test_nothing_is_wider_than_the_window(show, kind, width):
    tab = show(kind, width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@every_kind
def test_fingers_find_their_targets(show, kind):
    assert show(kind, width=390).evaluate(SMALL) == []


@every_kind
def test_everything_has_a_name(show, kind):
    assert show(kind).evaluate(NAMELESS) == []


@every_kind
@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_the_light_and_in_the_dark(show, kind, dark):
    tab = show(kind, dark=dark)
    assert tab.evaluate(FAINT) == []
    paper = tab.locator(".tccam-explorer").evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 300) == dark


def test_who_asked_for_less_motion_gets_none(show):
    moves = "(e) => getComputedStyle(e).transitionDuration"
    assert show("puzzle").locator(".tx-tiles").evaluate(moves) == "0.3s"
    assert show("puzzle", motion="reduce").locator(".tx-tiles").evaluate(moves) == "0s"


def test_without_a_script_the_words_are_there(browser, explorers, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(content=explorers["warp"].html(), dark=""), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    shown = tab.locator("[data-explorer]").inner_text()
    context.close()
    assert shown == "Noise, moved"
