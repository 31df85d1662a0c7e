"""A real belt: fruit and vegetables in front of one fixed camera, as a 256-colour GIF.

The clip (Intel Corporation, CC BY 4.0) is not part of the repository; where it is absent, these
tests are skipped. Objects and empty stretches were marked by hand on the frames.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tccam.background import (
    divide,
    foreground,
    median_background,
    spread,
    static_share,
    streaming_median,
    subtract,
)
from tccam.data.folder import open_clip
from tccam.data.video import VideoClip

REPOSITORY = Path(__file__).parents[2]
GIF = REPOSITORY.parent / "shared" / "real_belt" / "fruit-and-vegetable.gif"
HEIGHT, WIDTH = 270, 480
WALL = 130  # rows above this show the wall behind the belt, and never an object


class Marked(NamedTuple):
    """One object, marked by hand; coordinates are (column, row)."""

    name: str
    box: tuple[int, int, int, int]  # left, top, right, bottom: all of the object is inside
    core: list[tuple[int, int]]  # a polygon: all of it is object


# fmt: off
MARKED: dict[int, list[Marked]] = {
    3: [Marked("apple, entering", (430, 140, 480, 199), [
        (436, 170), (437, 152), (447, 144), (465, 146), (479, 148), (479, 192), (450, 194),
        (440, 185)])],
    12: [Marked("apple", (296, 140, 358, 201), [
        (302, 156), (316, 146), (335, 149), (350, 155), (353, 167), (350, 182), (342, 193),
        (321, 195), (307, 187), (300, 175)])],
    23: [Marked("apple", (117, 141, 181, 203), [
        (122, 156), (137, 146), (155, 150), (172, 156), (176, 167), (173, 182), (165, 196),
        (131, 196), (123, 182), (120, 170)]),
        Marked("broccoli", (333, 146, 476, 211), [
        (338, 182), (345, 171), (365, 162), (380, 156), (400, 151), (417, 151), (424, 161),
        (430, 172), (440, 172), (444, 164), (464, 164), (465, 174), (450, 177), (450, 180),
        (473, 180), (473, 192), (445, 191), (430, 196), (425, 202), (405, 205), (380, 197),
        (360, 200), (345, 197)])],
    36: [Marked("broccoli", (114, 146, 273, 212), [
        (119, 184), (126, 167), (142, 162), (160, 156), (167, 150), (182, 150), (190, 159),
        (196, 170), (207, 172), (212, 166), (259, 167), (261, 176), (220, 177), (220, 180),
        (270, 183), (270, 195), (212, 191), (197, 194), (190, 204), (170, 202), (150, 197),
        (125, 200)])],
    67: [Marked("cauliflower, white on white", (264, 136, 381, 210), [
        (270, 195), (274, 180), (283, 175), (286, 162), (295, 149), (310, 141), (330, 140),
        (345, 145), (355, 160), (369, 165), (375, 180), (375, 190), (367, 202), (340, 205),
        (315, 204), (285, 200)])],
    82: [Marked("cauliflower", (22, 137, 125, 212), [
        (27, 197), (30, 182), (36, 177), (37, 160), (50, 147), (67, 142), (95, 145), (106, 152),
        (109, 162), (119, 172), (121, 187), (115, 197), (110, 206), (55, 206), (35, 204)]),
        Marked("orange", (371, 135, 446, 206), [
        (376, 170), (381, 150), (392, 141), (415, 138), (432, 145), (441, 160), (442, 177),
        (436, 195), (417, 201), (395, 200), (380, 190)])],
    95: [Marked("orange", (160, 136, 237, 209), [
        (164, 172), (166, 157), (175, 146), (190, 139), (210, 141), (225, 150), (233, 162),
        (233, 180), (227, 195), (217, 204), (175, 204), (167, 192)])],
}
# fmt: on
EMPTY = 53
# Frames where a sliver of an object is all there is: what is outside its box is empty.
SLIVERS = {0: (475, 150, 480, 200), 52: (0, 178, 11, 202), 54: (463, 168, 480, 199)}


def core(marked: Marked) -> Tensor:
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(canvas, [np.array(marked.core, np.int32)], 1)
    return torch.from_numpy(canvas).bool()


def outside(*boxes: tuple[int, int, int, int], margin: int = 4) -> Tensor:
    empty = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        rows = slice(max(0, top - margin), bottom + margin)
        empty[rows, max(0, left - margin) : right + margin] = False
    return empty


@pytest.fixture(scope="module")
def clip() -> VideoClip:
    if not GIF.is_file():
        pytest.skip(f"no real belt was tested: ../{GIF.relative_to(REPOSITORY.parent)} is absent")
    found = open_clip(GIF)
    assert isinstance(found, VideoClip)
    return found


@pytest.fixture(scope="module")
def behind(clip) -> Tensor:
    return median_background(clip.frames)


def test_the_gif_is_read_whole(clip):
    assert (len(clip), clip.size) == (101, (HEIGHT, WIDTH))
    assert clip.fps == pytest.approx(16.7, abs=0.1)
    # An orange is orange: red over green over blue.
    red, green, blue = clip[95][:, core(MARKED[95][0])].float().mean(1)
    assert red > green + 40
    assert green > blue + 40


def test_frames_of_a_gif_in_any_order(clip):
    # A GIF stores changes: a frame is right only if all before it were decoded.
    for index in (100, 0, 50, 49, 51, 50, -1):
        assert torch.equal(clip[index], clip.frames[index])


def test_the_median_is_the_empty_belt(clip, behind):
    np.testing.assert_array_equal(behind, np.median(clip.frames.numpy(), axis=0))
    difference = (clip[EMPTY].float() - behind).abs().amax(0)
    assert difference.median() <= 4  # measured 3: dithering and the camera's white balance
    assert difference.quantile(0.999) <= 20
    assert static_share(clip.frames, behind) > 0.99
    assert spread(clip.frames, behind).median() <= 4


def test_too_few_frames_are_no_background(clip):
    # From frame 30 to 40 the broccoli, head or stalk, hardly leaves this piece of the wall.
    few = clip.frames[30:41]
    wrong = (median_background(few) - clip[EMPTY].float()).abs().amax(0)
    assert wrong[166:175, 185:205].median() > 50


def test_streaming_comes_close(clip, behind):
    for seed in range(2):
        error = (streaming_median(clip, memory=51, seed=seed) - behind).abs()
        assert error.mean() < 0.6  # grey levels; measured 0.3
        assert (error > 10).float().mean() < 0.001  # dithering jumps between two palette colours


@pytest.mark.parametrize("number", MARKED)
def test_the_foreground_holds_the_objects(clip, behind, number):
    found = foreground(clip[number], behind)
    for marked in MARKED[number]:
        assert found[core(marked)].float().mean() > 0.95, marked.name
    around = outside(*(marked.box for marked in MARKED[number]))
    assert found[around].float().mean() < 0.02  # shadows, and reflections in the front rail
    assert not (found & around)[:WALL].any()


def test_an_empty_belt_has_no_foreground(clip, behind):
    assert foreground(clip[EMPTY], behind).float().mean() < 0.0005
    for number, box in SLIVERS.items():
        found = foreground(clip[number], behind)
        left, top, right, bottom = box
        assert found[top:bottom, left:right].any()
        assert found[outside(box)].float().mean() < 0.0005


@pytest.mark.parametrize("remove", [subtract, divide])
def test_removal_leaves_the_objects(clip, behind, remove):
    for number, objects in MARKED.items():
        size = remove(clip[number], behind).frames.abs().amax(0)
        around = outside(*(marked.box for marked in objects), margin=12)
        for marked in objects:
            assert size[core(marked)].mean() > 4 * size[around].mean(), marked.name
