"""Pictures are drawn on copies; colours can be told apart, and read on both themes."""

import itertools

import pytest
import torch

from tccam.viz import INK, METHOD_COLORS, PALETTE, method_colors, outline

PAPERS = ("#ffffff", "#10161f")  # of the light and of the dark theme
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SIGHT = {
    "full": torch.eye(3),
    "protanopia": torch.tensor(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": torch.tensor(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = torch.tensor(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(color):
    """sRGB "#rrggbb" as linear light."""
    coded = torch.tensor([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def lab(light):
    """CIE L*a*b* of linear light under D65."""
    x, y, z = (XYZ @ light.clamp(0, 1)) / XYZ.sum(1)
    fx, fy, fz = (
        v ** (1 / 3) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29 for v in (x, y, z)
    )
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def distance(one, other, sight):
    """CIE76 difference of two colours as someone sees them; 2 is just noticeable."""
    return float((lab(SIGHT[sight] @ linear(one)) - lab(SIGHT[sight] @ linear(other))).norm())


def contrast(one, other):
    """The ratio of the WCAG, 1 to 21."""
    low, high = sorted(float(XYZ[1] @ linear(color)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_the_measures_know_what_is_known():
    assert contrast("#000000", "#ffffff") == pytest.approx(21, abs=0.01)
    assert distance("#ffffff", "#000000", "full") == pytest.approx(100, abs=0.1)
    # Red and green of one lightness: far apart for some, close for others.
    assert distance("#c00000", "#507000", "full") > 80
    assert distance("#c00000", "#507000", "protanopia") < 25


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("colors", [tuple(METHOD_COLORS.values()), PALETTE], ids=["methods", "all"])
def test_colours_can_be_told_apart(colors, sight):
    pairs = itertools.combinations(colors, 2)
    assert min(distance(one, other, sight) for one, other in pairs) > 15


@pytest.mark.parametrize("method", METHOD_COLORS)
def test_methods_stand_out_on_both_themes(method):
    assert min(contrast(METHOD_COLORS[method], paper) for paper in PAPERS) >= 3


def test_ink_is_read_on_the_paper_of_figures():
    assert contrast(INK, "#ffffff") >= 7


def test_a_method_keeps_its_colour_in_any_company():
    for names in (["both", "plain"], ["a", "plain", "b", "both"], ["puzzle", "both", "plain, DIS"]):
        found = method_colors(names)
        assert list(found) == names
        assert len(set(found.values())) == len(names)
        for name in set(names) & set(METHOD_COLORS):
            assert found[name] == METHOD_COLORS[name]
    assert method_colors(["both, control"])["both, control"] == METHOD_COLORS["control"]
    assert set(method_colors(map(str, range(9))).values()) == set(PALETTE)


def test_an_outline_leaves_its_picture_alone_in_any_layout() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 2:5] = True
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    for layout in (torch.contiguous_format, torch.channels_last):
        frame = image.to(memory_format=layout)[0].clone(memory_format=torch.preserve_format)
        drawn = outline(frame, mask)
        assert not frame.any()
        assert drawn.any(0).sum() == 5 * 5 - 3 * 3  # a ring, one pixel wide
