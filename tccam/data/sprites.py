"""Waste and machined parts as seen from above, drawn from signed distances.

Every shape is a distance field in pixels: negative inside, positive outside. One field gives an
edge without jaggies, a shadow and a rim at any size and angle. Only +, −, ×, ÷, square roots and a
tabulated sine are used, so that a sprite has the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tccam.data.draws import Draws, sine
from tccam.errors import TccamError

__all__ = ["CLEAR", "PLANES", "SCENES", "Sprite", "draw"]

Array: TypeAlias = NDArray[np.float64]
Color: TypeAlias = tuple[float, float, float]

#: What lies on a belt: the kinds that are legal, and those that are not.
SCENES = {
    "waste": (("bottle",), ("carton", "can", "bag")),
    "parts": (("flange",), ("scratched", "dented", "foreign")),
}
_LEGAL = tuple(kind for legal, _ in SCENES.values() for kind in legal)
_KINDS = tuple(kind for scene in SCENES.values() for kinds in scene for kind in kinds)
#: What the planes of a sprite hold, each in 0 … 255.
PLANES = ("red", "green", "blue", "opacity", "gloss", "coverage")

#: How much of the belt a bottle of clear PET hides, and one whose plastic is solid colour.
CLEAR, _SOLID = 0.48, 0.9

_PET: tuple[Color, ...] = ((112, 186, 214), (104, 198, 158), (92, 188, 192))
_LABELS: tuple[Color, ...] = ((36, 92, 190), (30, 130, 96), (70, 110, 160))
_CUES: tuple[Color, ...] = ((214, 34, 40), (238, 112, 18), (206, 28, 112))
_WHITE: Color = (236, 238, 238)


@dataclass(frozen=True)
class Sprite:
    """One object, drawn once and moved many times.

    Attributes:
        kind: one of those of :data:`SCENES`.
        planes: uint16 (6, h, w) in 0 … 255, see :data:`PLANES`; h and w are odd and the object's
            centre is the middle pixel. Colour is premultiplied by opacity. *Coverage* is the
            silhouette, also where the object is translucent; the shadow has none.
    """

    kind: str
    planes: NDArray[np.uint16]

    @property
    def legal(self) -> bool:
        """Whether the object may stay on the belt."""
        return self.kind in _LEGAL

    @cached_property
    def framed(self) -> NDArray[np.uint16]:
        """The planes with an empty column at each side, uint16 (6, h, w + 2)."""
        return np.pad(self.planes, ((0, 0), (0, 0), (1, 1)))


class _Canvas:
    """Layers painted over each other in the object's own axes.

    ``x`` runs along the object and ``y`` across it, in pixels from its centre.
    """

    def __init__(self, length: float, turns: float) -> None:
        radius = int(length * 0.62) + 2  # half the object, and its shadow
        offset = np.arange(-radius, radius + 1, dtype=np.float64)
        across, down = offset[None, :], offset[:, None]
        cos, sin = float(sine(turns + 0.25)), float(sine(turns))
        self.x: Array = across * cos + down * sin
        self.y: Array = down * cos - across * sin
        size = (len(offset), len(offset))
        self.color, self.opacity = np.zeros((3, *size)), np.zeros(size)
        self.gloss, self.coverage = np.zeros(size), np.zeros(size)

    def paint(
        self,
        distance: Array,
        color: Color | Array,
        opacity: Array | float = 1.0,
        shade: Array | float = 1.0,
        gloss: Array | float = 0.0,
    ) -> None:
        """Paint one layer where ``distance`` ≤ 0, with an edge one pixel wide."""
        inside = np.clip(0.5 - distance, 0.0, 1.0)
        alpha = inside * opacity
        rgb = np.asarray(color, dtype=np.float64).reshape(3, 1, 1) / 255.0 * shade
        self.color = self.color * (1 - alpha) + np.clip(rgb, 0, 1) * alpha
        self.opacity = self.opacity * (1 - alpha) + alpha
        self.gloss = self.gloss * (1 - inside) + inside * gloss
        self.coverage = np.maximum(self.coverage, inside)

    def shadow(self, distance: Array, softness: float) -> None:
        """Darken the belt just outside the shape: painted first, it covers nothing."""
        depth = np.clip(1 - (distance + softness * 0.2) / softness, 0.0, 1.0)
        self.opacity = 0.42 * depth * depth

    def planes(self) -> NDArray[np.uint16]:
        stack = np.stack([*self.color, self.opacity, self.gloss, self.coverage])
        planes: NDArray[np.uint16] = np.round(np.clip(stack, 0, 1) * 255).astype(np.uint16)
        return planes


def _mix(a: Color, b: Color, share: float) -> Color:
    red, green, blue = (p * (1 - share) + q * share for p, q in zip(a, b, strict=True))
    return red, green, blue


def _box(x: Array, y: Array, half_x: float, half_y: float, corner: float) -> Array:
    """Distance to a rectangle with round corners."""
    dx, dy = np.abs(x) - half_x + corner, np.abs(y) - half_y + corner
    outside: Array = np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2)
    inside: Array = np.minimum(np.maximum(dx, dy), 0)
    return outside + inside - corner


def _disc(x: Array, y: Array, radius: float) -> Array:
    return np.sqrt(x * x + y * y) - radius


def _step(x: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _stripe(v: Array, centre: float, width: float) -> Array:
    """A bump of the given half-width: a highlight along a round body."""
    return np.clip(1 - ((v - centre) / width) ** 2, 0, 1)


def _bottle(
    canvas: _Canvas, length: float, tint: Color, draws: Draws, opacity: float = CLEAR
) -> None:
    half, wide = length / 2, length * 0.19
    u, y = canvas.x / half, canvas.y
    # Half-width along the axis: a body, a shoulder that narrows to the neck, and a collar.
    radius = wide * (1 - 0.62 * _step(u, 0.22, 0.62) + 0.1 * _stripe(u, 0.72, 0.04))
    radius -= wide * 0.05 * _stripe(u, -0.62, 0.05) + wide * 0.05 * _stripe(u, -0.48, 0.05)
    v = y / radius
    body = np.maximum(np.abs(y) - radius, _box(canvas.x + half * 0.06, y, half * 0.9, wide, 3.0))
    canvas.shadow(np.maximum(body, _box(canvas.x, y, half, wide, 2.0)), length * 0.09)
    rim = np.abs(v) * v * v
    shade = 0.78 + 0.34 * _stripe(v, -0.3, 0.7) - 0.22 * rim
    milky = _mix(tint, _WHITE, max(0.0, opacity - CLEAR))  # solid plastic is paler than clear
    canvas.paint(
        body,
        milky,
        opacity + (_SOLID - opacity) * rim,
        shade,
        0.35 + 0.65 * _stripe(v, -0.38, 0.28),
    )
    canvas.paint(
        np.maximum(body, np.abs(v + 0.4) * wide - wide * 0.1), _WHITE, 0.5 * _step(-u, -0.5, -0.2)
    )
    label, place = draws.choice(_LABELS), draws.uniform(-0.38, -0.22)
    band = np.maximum(body, np.abs(u - place) * half - half * 0.23)
    canvas.paint(band, _WHITE, 0.92, 1.0 - 0.4 * v * v, 0.25)
    stripe = np.maximum(body, np.abs(u - place) * half - half * 0.11)
    canvas.paint(stripe, label, 0.95, 1.05 - 0.4 * v * v, 0.25)
    cap = _box(canvas.x - half * 0.9, y, half * 0.11, wide * 0.47, 1.5)
    canvas.paint(cap, draws.choice((_WHITE, *_LABELS)), 1.0, 1.0 - 0.35 * v * v, 0.3)


def _carton(canvas: _Canvas, length: float, tint: Color, draws: Draws) -> None:
    half, wide = length * 0.46, length * 0.24
    x, y = canvas.x, canvas.y
    outline = _box(x, y, half, wide, 1.5)
    canvas.shadow(outline, length * 0.1)
    paper = (228.0, 222.0, 206.0)
    body = _mix(paper, tint, draws.uniform(0.4, 0.5))
    canvas.paint(outline, body, 0.94, 0.98, 0.2)
    # The narrow side panel lies in shade, the gable's two folds catch and lose the light.
    canvas.paint(np.maximum(outline, wide * 0.42 - y), body, 0.94, 0.74, 0.1)
    fold = half * 0.52
    canvas.paint(np.maximum(outline, fold - x), body, 0.94, 1.12, 0.3)
    slope = np.abs(y) - wide * (1.0 - (x - fold) / (half - fold) * 0.75)
    canvas.paint(np.maximum(np.maximum(outline, fold - x), -slope), body, 0.94, 0.66, 0.1)
    canvas.paint(np.maximum(outline, np.abs(x - fold) - 0.35), body, 0.6, 0.55)
    canvas.paint(_box(x - half * 0.95, y, half * 0.07, wide, 0.8), _WHITE, 0.95, 0.92, 0.3)
    for row in (-0.62, -0.74, -0.86):
        text = _box(x - row * half, y + wide * 0.2, half * 0.025, wide * 0.45, 0.3)
        canvas.paint(text, tint, 0.8, 0.6)


def _can(canvas: _Canvas, length: float, tint: Color, draws: Draws) -> None:
    half, wide = length * 0.42, length * 0.22
    x, y = canvas.x, canvas.y
    v, u = y / wide, x / half
    taper = wide * (1 - 0.13 * _step(np.abs(u), 0.84, 0.97))
    outline = np.maximum(np.abs(y) - taper, np.abs(x) - half)
    canvas.shadow(outline, length * 0.1)
    metal = (198.0, 202.0, 208.0)
    streaks = 0.72 + 0.5 * _stripe(v, -0.35, 0.3) + 0.22 * _stripe(v, 0.45, 0.2) - 0.25 * v * v
    canvas.paint(outline, metal, 0.98, streaks, 0.9 * _stripe(v, -0.35, 0.4) + 0.3)
    print_ = np.maximum(outline, np.abs(u) * half - half * 0.8)
    body = _mix(metal, tint, draws.uniform(0.4, 0.5))
    canvas.paint(print_, body, 0.95, streaks, 0.8 * _stripe(v, -0.35, 0.4) + 0.25)
    for end in (-0.97, 0.97):
        canvas.paint(_box(x - end * half, y, half * 0.035, wide * 0.86, 0.5), metal, 1.0, 1.2, 0.8)
    for ring in (-0.72, 0.72):
        band = np.maximum(outline, np.abs(u - ring) * half - half * 0.04)
        canvas.paint(band, tint, 0.8, streaks * 0.7)


def _bag(canvas: _Canvas, length: float, tint: Color, draws: Draws) -> None:
    half = length * 0.44
    x, y = canvas.x + length * 0.05, canvas.y * 1.25
    reach = np.sqrt(x * x + y * y) + 1e-9
    # A closed wobbling outline without arctan: harmonics of the direction's cosine and sine.
    c, s = x / reach, y / reach
    wobble = draws.uniform(-0.07, 0.07) * (c * c - s * s) + draws.uniform(-0.09, 0.09) * 2 * c * s
    wobble += draws.uniform(-0.08, 0.08) * c * (4 * c * c - 3) + 0.06 * s * (3 - 4 * s * s)
    outline = (reach - half * (0.86 + wobble)) * 0.85
    canvas.shadow(outline, length * 0.1)
    film = (206.0, 206.0, 214.0)
    body = _mix(film, tint, draws.uniform(0.4, 0.5))
    # Creases: ridges of three waves that run in random directions.
    crease = np.zeros_like(x)
    for _ in range(4):
        turn, scale = draws.uniform(0, 1), draws.uniform(1.6, 3.2) / length
        along = x * float(sine(turn + 0.25)) + y * float(sine(turn))
        crease += np.abs(sine(along * scale + draws.uniform(0, 1) + 0.12 * crease))
    shade = 0.62 + 0.17 * crease
    canvas.paint(outline, body, 0.86, shade, np.clip(crease - 2.2, 0, 1))
    # The knot, and the film that flares behind it.
    behind, across = canvas.x - half * 0.72, np.abs(canvas.y)
    flare = np.maximum(
        across - half * 0.09 - behind * 0.7, np.abs(behind - half * 0.2) - half * 0.2
    )
    notch = half * 0.3 - behind + across * 0.8
    canvas.paint(np.maximum(flare, -notch), body, 0.88, 0.6 + 0.2 * crease, 0.3)
    canvas.paint(_disc(canvas.x - half * 0.76, canvas.y, half * 0.13), body, 0.95, 0.55, 0.4)


def _cue(canvas: _Canvas, kind: str, length: float, diameter: float, draws: Draws) -> None:
    """The small saturated print that gives an illegal object away."""
    reach = {"carton": 0.18, "can": 0.2, "bag": 0.14}[kind] * length
    place = draws.uniform(-reach, reach * 0.5)
    radius = diameter / 2
    x, y = canvas.x - place, canvas.y + length * 0.05
    color = draws.choice(_CUES)
    canvas.paint(_disc(x, y, radius), color, 1.0, 1.0, 0.2)
    canvas.paint(_disc(x + radius * 0.3, y + radius * 0.3, radius * 0.3), _WHITE, 0.55)


_BODIES = {"carton": _carton, "can": _can, "bag": _bag}


def _flange(canvas: _Canvas, length: float, kind: str, defect: float, draws: Draws) -> None:
    """A turned steel ring with a bore and four bolt holes; sound, scratched or dented.

    Args:
        canvas: to paint on.
        length: its diameter, pixels.
        kind: "flange", "scratched" or "dented".
        defect: how wide the scratch or how deep the dent is, pixels.
        draws: of shades and places.
    """
    half = length * 0.48
    x, y = canvas.x, canvas.y
    outline = _disc(x, y, half)
    dent_x, dent_y = half * 1.15, draws.uniform(-0.3, 0.3) * half
    if kind == "dented":
        outline = np.maximum(outline, half * 0.15 + defect - _disc(x - dent_x, y - dent_y, 0.0))
    canvas.shadow(outline, length * 0.08)
    steel = (150.0, 154.0, 160.0)
    grooves = np.abs(_disc(x, y, 0.0) / half * 6 % 1 - 0.5)  # as the lathe leaves them
    light = 0.85 + 0.2 * _stripe((x + y) / half, draws.uniform(-0.4, 0.4), 0.5) + 0.12 * grooves
    canvas.paint(outline, steel, 1.0, light, 0.35)
    hub = _disc(x, y, half * 0.5)
    canvas.paint(np.maximum(outline, hub), steel, 1.0, light * 1.12, 0.4)
    holes = [_disc(x - u * half * 0.72, y - v * half * 0.72, half * 0.11) for u, v in _QUARTERS]
    for hole in (_disc(x, y, half * 0.24), *holes):
        canvas.paint(hole, (46.0, 48.0, 52.0), 1.0, 1.0)
    if kind == "dented":
        bruise = np.maximum(outline, _disc(x - dent_x, y - dent_y, half * 0.15 + 1.9 * defect))
        canvas.paint(bruise, (92.0, 88.0, 86.0), 0.8, 1.0, 0.1)
    if kind == "scratched":
        turn, place = draws.uniform(0, 1), draws.uniform(0.3, 0.6) * half
        along = x * float(sine(turn + 0.25)) + y * float(sine(turn))
        across = y * float(sine(turn + 0.25)) - x * float(sine(turn)) - place
        scratch = _box(along, across, half * 0.6, defect / 2, defect / 2)
        canvas.paint(np.maximum(outline, scratch), (236.0, 214.0, 190.0), 0.95, 1.0, 0.2)
        canvas.paint(
            np.maximum(outline, _box(along, across - defect, half * 0.5, defect / 3, 0.5)),
            (70.0, 62.0, 58.0),
            0.9,
        )


_QUARTERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


def _foreign(canvas: _Canvas, length: float, draws: Draws) -> None:
    """A splinter of the wooden pallet."""
    half, wide = length * draws.uniform(0.34, 0.44), length * draws.uniform(0.13, 0.19)
    x, y = canvas.x, canvas.y
    ragged = wide * (1 - 0.5 * _step(np.abs(x) / half, 0.5, 1.0)) + 0.6 * sine(x / length * 3)
    outline = np.maximum(np.abs(y) - ragged, np.abs(x) - half)
    canvas.shadow(outline, length * 0.08)
    grain = 0.85 + 0.25 * np.abs(sine(y / wide * 1.3 + 0.1 * sine(x / length)))
    canvas.paint(outline, (176.0, 132.0, 84.0), 1.0, grain, 0.05)


def draw(
    kind: str, length: float, turns: float, cue: float, draws: Draws, opacity: float = CLEAR
) -> Sprite:
    """Draw one object.

    Args:
        kind: one of those of :data:`SCENES`.
        length: of the object along its axis, in pixels.
        turns: direction of the axis, in turns (1 = 360°), clockwise from the x axis.
        cue: diameter of the tell-tale print, as a share of a carton's width, which is 0.46 of its
            length; 0 for none. Legal objects have none. Of damaged parts, a sixth of it is how wide
            a scratch is, and half of it how deep a dent.
        draws: where colours, creases and places come from.
        opacity: of a bottle's body, 0 … 1.

    Returns:
        The sprite.
    """
    if kind not in _KINDS:
        raise TccamError(f"kind: expected one of {', '.join(_KINDS)}; got {kind!r}")
    canvas = _Canvas(length, turns)
    if kind in ("flange", "scratched", "dented"):
        share = {"flange": 0.0, "scratched": 1 / 6, "dented": 1 / 2}[kind]
        _flange(canvas, length, kind, share * cue * length * 0.46, draws)
        return Sprite(kind, canvas.planes())
    if kind == "foreign":
        _foreign(canvas, length, draws)
        return Sprite(kind, canvas.planes())
    tint = draws.choice(_PET)
    if kind == "bottle":
        _bottle(canvas, length, tint, draws, opacity)
        return Sprite(kind, canvas.planes())
    _BODIES[kind](canvas, length, tint, draws)
    if cue > 0:
        _cue(canvas, kind, length, cue * length * 0.46, draws)
    return Sprite(kind, canvas.planes())
