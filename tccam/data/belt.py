"""The synthetic conveyor belt: the data set that comes with the library.

Two fixed cameras look down on one belt, one *before* a sorter and one *after*. Before, translucent
PET bottles (legal) travel with cartons, cans and bags (illegal); after, only bottles do. Everything
a classifier could cheat with is there (each camera has its own rails, marker, light and white
balance), and everything an evaluation needs is exact: masks, optical flow and visibility.

All arithmetic after the drawing of the sprites is done in integers, and every random draw comes
from a named stream, so that a clip has the same bytes on any machine and in any order of rendering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tccam.data.clip import CLASSES, LabelledClip
from tccam.data.draws import Draws, sine
from tccam.data.sprites import CLEAR, SCENES, Sprite, draw
from tccam.errors import TccamError, check_choices, check_limits

__all__ = ["BeltClip", "BeltConfig", "BeltObject", "SyntheticBelt"]

Motion = Literal["constant", "varying", "accelerating", "stop-and-go", "jitter"]
Scene = Literal["waste", "parts"]
Ints = NDArray[np.int32]

SPLITS = ("train", "validation", "test")
CAMERAS = CLASSES[:2]
BACKGROUND = CLASSES.index("background")

_ONE = 256  # one pixel, or a gain of one, in the fixed-point numbers below
_STATIC, _BELT, _FIRST_OBJECT = 0, 1, 2  # the id map: rails, the belt, the first object
_RAIL = 0.115  # height of a rail as a share of the picture's
# Names of the streams of draws.
_CAMERA, _TEXTURE, _OBJECTS, _MOTION, _NOISE = range(5)


@dataclass(frozen=True)
class BeltConfig:
    """Everything that defines a synthetic belt. Two equal configurations give equal bytes.

    Attributes:
        scene: what lies on the belt: "waste" (bottles are legal; cartons, cans and bags are not) or
            "parts" (flanges are legal; scratched and dented ones, and foreign bodies, are not).
        height: of the picture, pixels.
        width: of the picture, pixels.
        frames: a clip's length T, frames.
        train: clips of each camera in the training split.
        validation: clips of each camera in the validation split.
        test: clips of each camera in the test split.
        seed: names the whole data set: cameras, belt, objects, noise.
        lead_in: empty frames at the start of each clip; they feed the class *background*.
        objects: mean number of objects whose centre is in view.
        object_size: smallest and largest length of an object, as a share of the height.
        cue_size: diameter of the tell-tale print, as a share of a carton's width (0.46 of its
            length); 0 for none. Of parts, how wide a scratch (a sixth of it) and
            how deep a dent (half of it) is; a damaged part shows a trace even at 0.
        legal: probability that a legal object comes next on the belt before the sorter.
        legal_run: how many of them may follow each other there. A frame that shows one object more
            shows an illegal one; a frame that shows fewer may carry a label that is not true.
        opacity: how much of the belt a legal bottle's body hides, 0 to 1. Clear PET is faint, so
            that contrast to the background alone finds what is illegal; at 0.9 it does not.
        speed: of the belt to the right, pixels a frame.
        motion: "constant", "varying" (a slow sine), "accelerating" (evenly through the clip),
            "stop-and-go" (12 frames of travel, 6 of rest) or "jitter" (a new speed each frame).
        variation: how much "varying", "accelerating" and "jitter" change the speed, as a share of
            it.
        rotation: largest turn of an object about its own centre, degrees a frame.
        texture: contrast of the belt's texture, 1 as drawn, 0 a plain belt.
        glint: strength of the highlights that depend on the place in the picture, 0 to 1: an
            object looks different from one frame to the next while it passes the lamps.
        flicker: standard deviation of the lamps' brightness from frame to frame, share.
        drift: change of brightness from the first to the last frame of a clip, share.
        noise: standard deviation of the sensor noise, grey levels.
        shake: largest shift of the camera from its rest position, whole pixels.
        shadow: how dark a shadow each object casts beside itself, 0 to 1. It moves with its object,
            and is no part of it; it falls ahead, and comes into view a frame or two before.
        stuck: objects that have jammed at the rails and never move: illegal ones before the
            sorter, legal ones after it. No frame is empty then, and nothing to train the class
            *background* on.
        swap_backgrounds: each camera keeps its objects and label, but shows the other's rails,
            light and white balance. A classifier that looks at objects does not mind.

    Example:
        >>> BeltConfig(speed=4.5, motion="jitter").speed
        4.5
    """

    scene: Scene = "waste"
    height: int = 128
    width: int = 160
    frames: int = 60
    train: int = 32
    validation: int = 8
    test: int = 8
    seed: int = 0
    lead_in: int = 12
    objects: float = 3.0
    object_size: tuple[float, float] = (0.28, 0.42)
    cue_size: float = 0.34
    legal: float = 0.5
    legal_run: int = 1
    opacity: float = CLEAR
    speed: float = 10.0
    motion: Motion = "constant"
    variation: float = 0.5
    rotation: float = 0.0
    texture: float = 1.0
    glint: float = 0.35
    flicker: float = 0.02
    drift: float = 0.0
    noise: float = 4.0
    shake: int = 0
    shadow: float = 0.0
    stuck: int = 0
    swap_backgrounds: bool = False

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "height": (32, 4096), "width": (32, 4096), "frames": (1, 100_000),
            "train": (0, 10**6), "validation": (0, 10**6), "test": (0, 10**6),
            "seed": (0, 2**63), "lead_in": (0, self.frames), "objects": (0.1, 20),
            "cue_size": (0, 1), "legal": (0, 1), "legal_run": (1, 100), "opacity": (0, 1),
            "speed": (0.1, self.width), "variation": (0, 1),
            "rotation": (-45, 45), "texture": (0, 3), "glint": (0, 1), "flicker": (0, 0.5),
            "drift": (-1, 1), "noise": (0, 64), "shake": (0, 64),
            "shadow": (0, 1), "stuck": (0, 20),
        }  # fmt: skip
        check_limits(self, limits)
        check_choices(self, {"motion": get_args(Motion), "scene": get_args(Scene)})
        if len(self.object_size) != 2 or not 0.1 <= self.object_size[0] <= self.object_size[1] <= 1:
            raise TccamError(
                "BeltConfig.object_size: expected (smallest, largest) within 0.1 … 1, "
                f"got {self.object_size!r}"
            )

    @classmethod
    def clear(cls, **changes: Any) -> BeltConfig:
        """The belt where an object looks the same wherever it lies: almost no glints."""
        return replace(cls(glint=0.1), **changes)

    @classmethod
    def mixed(cls, **changes: Any) -> BeltConfig:
        """The belt where legal objects stand out as much as illegal ones, and are as many.

        Its lamps are weak. An opaque object mirrors a strong lamp where its camera has one, and a
        classifier then reads the camera there.
        """
        belt = cls(opacity=0.9, legal=0.7, legal_run=2, objects=4.0, glint=0.1)
        return replace(belt, **changes)

    @classmethod
    def parts(cls, **changes: Any) -> BeltConfig:
        """A line of machined parts, from which an inspector takes what is damaged or foreign."""
        line = cls(
            scene="parts",
            legal=0.6,
            legal_run=2,
            objects=3.0,
            object_size=(0.33, 0.35),
            texture=0.4,
        )
        return replace(line, **changes)

    @classmethod
    def hard(cls, **changes: Any) -> BeltConfig:
        """The belt where strong lamps change how an object looks from one frame to the next."""
        return replace(cls(glint=0.9), **changes)


@dataclass(frozen=True)
class _Camera:
    """What one camera adds to the scene, in the integers of the renderer."""

    rails: Ints  # (3, H, W) grey levels, where static
    static: NDArray[np.bool_]  # (H, W)
    gain: Ints  # (3, H, W), 256 = one: light, vignette, white balance
    glare: Ints  # (H, W) grey levels, lamps mirrored in the belt
    glint: Ints  # (H, W) grey levels, lamps mirrored in a shiny object


@dataclass(frozen=True)
class BeltObject:
    """One object of a clip.

    Attributes:
        sprite: what it looks like.
        x: column of its centre at frame 0, in 1/256 pixel; negative before it comes into view.
        y: row of its centre, pixels.
        turn: how far it turns about its centre, in 1/4096 turn a frame, clockwise.
        stuck: whether it stays where it is while the belt moves on.
    """

    sprite: Sprite
    x: int
    y: int
    turn: int
    stuck: bool = False

    @property
    def radius(self) -> int:
        """Half the side of the sprite, pixels."""
        return int(self.sprite.planes.shape[1]) // 2

    def patch(self, x: int, frame: int) -> NDArray[np.uint16]:
        """The sprite at ``frame`` with its centre ``x`` − ⌊x⌋ 256ths of a pixel right of middle.

        Returns:
            uint16 (6, n, n + 1), resampled bilinearly in fixed point.
        """
        part = x % _ONE
        if not self.turn:
            blended = self.sprite.framed[:, :, 1:] * np.uint16(_ONE - part)
            blended += self.sprite.framed[:, :, :-1] * np.uint16(part)
            blended >>= 8
            return blended
        # Look up, for every pixel of the patch, where it was on the unturned sprite.
        angle = self.turn * frame / 4096
        cos, sin = (round(float(sine(angle + quarter)) * 2**14) for quarter in (0.25, 0.0))
        size, middle = self.sprite.planes.shape[1], self.radius
        right = (np.arange(size + 1, dtype=np.int64) - middle)[None, :] * _ONE - part
        down = (np.arange(size, dtype=np.int64) - middle)[:, None] * _ONE
        source_x = ((right * cos + down * sin) >> 14) + middle * _ONE
        source_y = ((down * cos - right * sin) >> 14) + middle * _ONE
        limit = size * _ONE - 1
        inside = (source_x >= 0) & (source_x < limit) & (source_y >= 0) & (source_y < limit)
        source_x, source_y = np.clip(source_x, 0, limit), np.clip(source_y, 0, limit)
        flat = np.pad(self.sprite.planes, ((0, 0), (0, 1), (0, 1))).reshape(6, -1).astype(np.uint32)
        corner = (source_y >> 8) * (size + 1) + (source_x >> 8)
        fx, fy = (source_x & 255).astype(np.uint32), (source_y & 255).astype(np.uint32)
        top = flat[:, corner] * (_ONE - fx) + flat[:, corner + 1] * fx
        bottom = flat[:, corner + size + 1] * (_ONE - fx) + flat[:, corner + size + 2] * fx
        turned: NDArray[np.uint16] = ((top * (_ONE - fy) + bottom * fy) >> 16).astype(np.uint16)
        turned[:, ~inside] = 0
        return turned


class SyntheticBelt:
    """The synthetic data set: clips of two cameras in three splits.

    Args:
        config: what the belt is like; the default is the book's.

    Example:
        >>> belt = SyntheticBelt(BeltConfig(train=2, frames=20))
        >>> clip = belt.train[0]
        >>> clip.label, clip.frames.shape, clip.masks.dtype
        ('before', torch.Size([20, 3, 128, 160]), torch.bool)
    """

    def __init__(self, config: BeltConfig = BeltConfig()) -> None:
        self.config = config

    @cached_property
    def train(self) -> tuple[BeltClip, ...]:
        """Training clips: those of the camera *before*, then those of the camera *after*."""
        return self._split("train")

    @cached_property
    def validation(self) -> tuple[BeltClip, ...]:
        """Validation clips, for every choice: thresholds, schedules, methods."""
        return self._split("validation")

    @cached_property
    def test(self) -> tuple[BeltClip, ...]:
        """Test clips: nothing is ever chosen on them."""
        return self._split("test")

    def _split(self, split: str) -> tuple[BeltClip, ...]:
        count = getattr(self.config, split)
        return tuple(BeltClip(self, split, c, i) for c in CAMERAS for i in range(count))

    @cached_property
    def _cameras(self) -> dict[str, _Camera]:
        shown = CAMERAS[::-1] if self.config.swap_backgrounds else CAMERAS
        return {name: _camera(self.config, look) for name, look in zip(CAMERAS, shown, strict=True)}

    @cached_property
    def _texture(self) -> NDArray[np.uint16]:
        """The belt's surface, uint16 (3, rows, period + picture + 1): it repeats."""
        return _belt_texture(self.config)

    @cached_property
    def _noise(self) -> Ints:
        return _noise_table(self.config.noise)

    def __repr__(self) -> str:
        return f"SyntheticBelt({self.config!r})"


class BeltClip(LabelledClip):
    """One clip of the synthetic belt, with its truth.

    Frames are rendered when asked for, one by one or all at once (then kept). Every frame has its
    own stream of noise, so that the order does not matter.

    Attributes:
        objects: the objects that cross the picture, in order of appearance.
    """

    fps = 12.0

    def __init__(self, belt: SyntheticBelt, split: str, camera: str, index: int) -> None:
        self._belt, self._config, self.label = belt, belt.config, camera
        self.name = f"{split}/{camera}/{index:03d}"
        self._key = (belt.config.seed, SPLITS.index(split), CAMERAS.index(camera), index)

    def __len__(self) -> int:
        return self._config.frames

    def __getitem__(self, index: int) -> Tensor:
        index = self._index(index)
        if "_rendered" in self.__dict__:
            return self.frames[index]
        return torch.from_numpy(self._render(index)[0])

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._config.height, self._config.width

    @property
    def frames(self) -> Tensor:
        """All frames, uint8 (T, 3, H, W), RGB; channels last in memory."""
        return self._rendered[0]

    @property
    def ids(self) -> Tensor:
        """What each pixel shows, int16 (T, H, W): 0 static, 1 belt, 2 + k ``objects[k]``."""
        return self._rendered[1]

    @cached_property
    def masks(self) -> Tensor:
        """Where illegal objects are seen, bool (T, H, W): the masks of the evaluation."""
        legal = torch.tensor([True] * _FIRST_OBJECT + [o.sprite.legal for o in self.objects])
        return ~legal[self.ids.long()]

    @cached_property
    def occupied(self) -> Tensor:
        """Where any object is seen, legal or not, bool (T, H, W)."""
        return self.ids >= _FIRST_OBJECT

    @cached_property
    def labels(self) -> Tensor:
        """Image-level labels, int64 (T,), indices into CLASSES: empty frames are *background*."""
        camera = CAMERAS.index(str(self.label))
        seen = self.occupied.flatten(1).any(1)
        return torch.where(seen, camera, BACKGROUND)

    def flow(self, source: int, target: int) -> Tensor:
        """Exact optical flow from one frame to another.

        A surface point seen at pixel p of frame ``source`` is at p + flow(p) in frame ``target``,
        whether it is visible there or not. Rails have none (unless the camera shakes), the belt
        and what lies on it move together, turning objects turn.

        Args:
            source: index of the frame on whose grid the flow lies.
            target: index of the frame that the vectors point into.

        Returns:
            float32 (2, H, W), (u, v) in pixels, u to the right and v down.
        """
        source, target = self._index(source), self._index(target)
        shift = (self._shake[target] - self._shake[source]).astype(np.float64)
        travel = (self._travel[target] - self._travel[source]) / _ONE
        ids = self.ids[source].numpy()
        flow = np.empty((2, *ids.shape))
        flow[0] = np.where(ids == _STATIC, shift[1], shift[1] + travel)
        flow[1] = shift[0]
        for index, thing in enumerate(self.objects, _FIRST_OBJECT):
            if thing.stuck:
                flow[0][ids == index] -= travel
            if thing.turn:
                rows, columns = np.nonzero(ids == index)
                down = rows - self._shake[source, 0] - thing.y
                right = columns - self._shake[source, 1] - (thing.x + self._travel[source]) / _ONE
                angle = thing.turn * (target - source) / 4096
                cos, sin = float(sine(angle + 0.25)), float(sine(angle))
                flow[0, rows, columns] += right * (cos - 1) - down * sin
                flow[1, rows, columns] += right * sin + down * (cos - 1)
        return torch.from_numpy(flow.astype(np.float32))

    def visible(self, source: int, target: int) -> Tensor:
        """Where a point of frame ``source`` is also seen in frame ``target``, bool (H, W).

        False where it has left the picture or lies behind another object there.
        """
        return self.motion(source, target)[1]

    def motion(self, source: int, target: int) -> tuple[Tensor, Tensor]:
        """What :meth:`flow` and :meth:`visible` return, in one go."""
        flow = self.flow(source, target)
        height, width = self.size
        row = (torch.arange(height)[:, None] + flow[1]).round().long()
        column = (torch.arange(width) + flow[0]).round().long()
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        there = self.ids[target][row.clamp(0, height - 1), column.clamp(0, width - 1)]
        return flow, inside & (there == self.ids[source])

    @cached_property
    def objects(self) -> tuple[BeltObject, ...]:
        """The objects that cross the picture, in order of appearance."""
        config, draws = self._config, Draws(_OBJECTS, *self._key)
        low, high = (share * config.height for share in config.object_size)
        spacing = config.width / config.objects
        belt_top, belt_height = config.height * _RAIL, config.height * (1 - 2 * _RAIL)
        entry = int(self._travel[config.lead_in - 1]) if config.lead_in else -config.width * _ONE
        things: list[BeltObject] = []
        kinds = SCENES[config.scene]
        place, run = 0.0, config.legal_run
        while True:
            # Before the sorter never more legal objects in a row than that: a frame that shows one
            # object more shows an illegal one, and the label is true.
            illegal = self.label == "before" and (
                run >= config.legal_run or draws.uniform(0, 1) < 1 - config.legal
            )
            run = 0 if illegal else run + 1
            kind = draws.choice(kinds[illegal])
            length = draws.uniform(low, high)
            sprite = draw(kind, length, draws.uniform(0, 1), config.cue_size, draws, config.opacity)
            lane = draws.choice((0.29, 0.71)) + draws.uniform(-0.05, 0.05)
            turn = draws.uniform(-1, 1) * config.rotation / 360 * 4096
            radius = sprite.planes.shape[1] // 2
            x = -entry - round((place + radius + 2) * _ONE)
            if x + int(self._travel[-1]) < -radius * _ONE:
                return (*things, *self._jammed(belt_top, belt_height))
            y = round(belt_top + belt_height * lane)
            things.append(BeltObject(sprite, x, y, round(turn)))
            place += spacing * draws.uniform(0.75, 1.25)

    def _jammed(self, top: float, height: float) -> Iterator[BeltObject]:
        """The objects that are stuck at the lower rail."""
        config, draws = self._config, Draws(_OBJECTS, *self._key, 2)
        for number in range(config.stuck):
            kind = draws.choice(SCENES[config.scene][self.label == "before"])
            length = config.object_size[0] * config.height
            sprite = draw(kind, length, draws.uniform(0, 1), config.cue_size, draws, config.opacity)
            x = config.width * (number + draws.uniform(0.3, 0.7)) / config.stuck
            yield BeltObject(sprite, round(x * _ONE), round(top + height * 0.85), 0, stuck=True)

    @cached_property
    def _depth(self) -> list[int]:
        """Indices of the objects from the lowest to the topmost."""
        return Draws(_OBJECTS, *self._key, 1).shuffled(len(self.objects))

    @cached_property
    def _travel(self) -> NDArray[np.int64]:
        """How far the belt has moved at each frame, in 1/256 pixel, (T,)."""
        config, draws = self._config, Draws(_MOTION, *self._key)
        phase = draws.uniform(0, 1)
        steps = []
        for t in range(config.frames - 1):
            factor = 1.0
            if config.motion == "varying":
                factor += config.variation * float(sine(t / 24 + phase))
            elif config.motion == "accelerating":
                factor += config.variation * (2 * t / max(1, config.frames - 2) - 1)
            elif config.motion == "stop-and-go":
                factor = float((t + int(phase * 18)) % 18 < 12)
            elif config.motion == "jitter":
                factor += config.variation * draws.uniform(-1, 1)
            steps.append(round(config.speed * factor * _ONE))
        return np.cumsum([0, *steps])

    @cached_property
    def _shake(self) -> NDArray[np.int64]:
        """How far the picture has moved at each frame, (rows, columns) in pixels, (T, 2)."""
        reach, draws = self._config.shake, Draws(_MOTION, *self._key, 1)
        options = range(-reach, reach + 1)
        return np.array([[draws.choice(options) for _ in range(2)] for _ in range(len(self))])

    @cached_property
    def _light(self) -> list[int]:
        """Brightness of the lamps at each frame, 256 = one, (T,)."""
        config, draws = self._config, Draws(_MOTION, *self._key, 2)
        last = max(1, config.frames - 1)
        light = []
        for t in range(config.frames):
            # Twelve uniform draws: as good as normal here, and free of libm's logarithm.
            normal = sum(draws.uniform(0, 1) for _ in range(12)) - 6
            drift = config.drift * (t / last - 0.5)
            light.append(max(0, round(_ONE * (1 + config.flicker * normal + drift))))
        return light

    @cached_property
    def _rendered(self) -> tuple[Tensor, Tensor]:
        # Channels last, as networks want them: the frame set then joins clips and turns none round.
        frames = np.moveaxis(np.empty((len(self), *self.size, 3), np.uint8), -1, 1)
        ids = np.empty((len(self), *self.size), np.int16)
        for index in range(len(self)):
            frames[index], ids[index] = self._render(index)
        return torch.from_numpy(frames), torch.from_numpy(ids)

    def _render(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        """One frame, uint8 (3, H, W), and its id map, int16 (H, W)."""
        config, camera = self._config, self._belt._cameras[str(self.label)]
        height, width = self.size
        travel, pad = int(self._travel[index]), config.shake
        # The scene is drawn with a margin, so that a camera that shakes has something to see.
        texture = self._belt._texture
        start = (self._start * _ONE - travel) % ((texture.shape[2] - width - 2 * pad - 1) * _ONE)
        left, part = start >> 8, np.uint16(start & 255)
        columns = slice(left, left + width + 2 * pad)
        scene = texture[:, :, columns] * (np.uint16(_ONE) - part)
        scene += texture[:, :, left + 1 : left + 1 + width + 2 * pad] * part
        scene >>= 8
        ids = np.full(scene.shape[1:], _BELT, np.int16)
        for number in self._depth:
            thing = self.objects[number]
            if config.shadow:
                _shade(scene, thing, travel, index, pad, config)
            _place(scene, ids, camera.glint, thing, number, travel, index, pad)
        np.copyto(scene, camera.rails, where=camera.static, casting="unsafe")
        ids[camera.static] = _STATIC

        top, side = pad - self._shake[index]
        view = (slice(top, top + height), slice(side, side + width))
        picture = scene[:, *view].astype(np.int32)
        picture *= camera.gain
        picture >>= 8
        picture += camera.glare
        picture *= self._light[index]
        picture >>= 8
        if config.noise:
            noise = Draws(_NOISE, *self._key, index).bytes(3, height, width)
            picture += self._belt._noise.take(noise)
        return np.clip(picture, 0, 255).astype(np.uint8), ids[view]

    @cached_property
    def _start(self) -> int:
        """Which column of the texture the clip starts with."""
        return int(Draws(_TEXTURE, *self._key).uniform(0, self._belt._texture.shape[2]))


def _place(
    scene: NDArray[np.uint16],
    ids: NDArray[np.int16],
    glint: Ints,
    thing: BeltObject,
    number: int,
    travel: int,
    frame: int,
    pad: int,
) -> None:
    """Composite one object into the scene (3, H, W) and the id map (H, W), in place."""
    rows, columns, patch = _seen(thing, travel, frame, (pad, pad), ids.shape)
    if not patch.size:
        return
    color, opacity, gloss, coverage = patch[:3], patch[3], patch[4], patch[5]
    under = scene[:, rows, columns]
    under *= np.uint16(_ONE) - opacity - (opacity >> 7)  # 255 is opaque; 255 · 256 still fits
    under >>= 8
    under += color
    shine = ((gloss * glint[rows, columns].astype(np.uint32)) >> 8).astype(np.uint16)
    np.minimum(under + shine, 255, out=under)
    ids[rows, columns][coverage >= _ONE // 2] = _FIRST_OBJECT + number


def _shade(
    scene: NDArray[np.uint16],
    thing: BeltObject,
    travel: int,
    frame: int,
    pad: int,
    config: BeltConfig,
) -> None:
    """Darken the scene (3, H, W) where one object's shadow falls, in place."""
    aside = round(0.09 * config.height)
    where = (pad + aside, pad + aside)
    rows, columns, patch = _seen(thing, travel, frame, where, scene.shape[1:])
    light = np.uint16(_ONE) - (patch[5] * np.uint16(round(config.shadow * _ONE)) >> 8)
    scene[:, rows, columns] = scene[:, rows, columns] * light >> 8


def _seen(
    thing: BeltObject, travel: int, frame: int, shift: tuple[int, int], size: Sequence[int]
) -> tuple[slice, slice, NDArray[np.uint16]]:
    """Rows and columns of the scene where an object is seen, and its sprite there.

    Args:
        thing: the object.
        travel: of the belt, in 1/256 pixel.
        frame: which.
        shift: rows and columns by which the object is moved in the scene.
        size: the scene's height and width.
    """
    x = thing.x + (0 if thing.stuck else travel)
    top, left = thing.y - thing.radius + shift[0], (x >> 8) - thing.radius + shift[1]
    side = 2 * thing.radius + 1  # and one column more: it may lie between two
    rows = slice(max(0, top), min(size[0], top + side))
    columns = slice(max(0, left), min(size[1], left + side + 1))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return slice(0), slice(0), np.empty((6, 0, 0), np.uint16)
    patch = thing.patch(x, frame)
    own = (slice(s.start - o, s.stop - o) for s, o in ((rows, top), (columns, left)))
    return rows, columns, patch[:, *own]


def _camera(config: BeltConfig, look: str) -> _Camera:
    """Build the static part of one camera."""
    draws = Draws(_CAMERA, config.seed, CAMERAS.index(look))
    before = look == "before"
    pad, unit = config.shake, config.height / 128
    height, width = config.height + 2 * pad, config.width + 2 * pad
    y = (np.arange(height, dtype=np.float64) - pad)[:, None]
    x = (np.arange(width, dtype=np.float64) - pad)[None, :]
    rail = round(config.height * _RAIL)
    edge = np.minimum(y, config.height - 1 - y)  # rows from the nearer border
    static = np.broadcast_to(edge < rail, (height, width))

    # Rails: painted profiles with bolts and, so that no one can miss which camera it is, a marker.
    paint = (164.0, 170.0, 178.0) if before else (84.0, 104.0, 146.0)
    profile = 0.62 + 0.5 * np.clip(1 - ((edge - rail * 0.55) / (rail * 0.5)) ** 2, 0, 1)
    rails = np.asarray(paint)[:, None, None] * np.broadcast_to(profile, (height, width))
    pitch, phase = (26 if before else 38) * unit, draws.uniform(0, 20) * unit
    bolt_x = (x + phase) % pitch - pitch / 2
    bolt = np.sqrt(bolt_x**2 + (edge - rail * 0.5) ** 2) - 2.4 * unit
    rails *= 1 - 0.5 * np.clip(0.5 - bolt, 0, 1)
    rails += 60 * np.clip(0.5 - (bolt + 1.2 * unit), 0, 1)
    place = config.width * (draws.uniform(0.15, 0.3) if before else draws.uniform(0.7, 0.85))
    marker = (np.abs(x - place) < 13 * unit) & (np.abs(y - rail * 0.5) < rail * 0.3)
    striped = (np.floor((x + y) / (4 * unit)) % 2 == 0) if before else np.ones_like(marker)
    colors = ((240.0, 196.0, 30.0), (36.0, 36.0, 40.0)) if before else ((60.0, 190.0, 110.0),) * 2
    for color, where in zip(colors, (marker & striped, marker & ~striped), strict=True):
        rails = np.where(where, np.asarray(color)[:, None, None], rails)
    rails = np.where(edge == rail - 1, 26.0, rails)  # the gap between rail and belt

    # Light on the sensor's own grid: a gradient, a vignette and a white balance.
    v = np.linspace(-0.5, 0.5, config.height)[:, None]
    u = np.linspace(-0.5, 0.5, config.width)[None, :]
    tilt = draws.uniform(0.36, 0.44)
    light = 1.08 + tilt * (u if before else -u) + 0.5 * tilt * (-v if before else v)
    light = light - 0.5 * (u * u + v * v)
    balance = (1.16, 1.0, 0.82) if before else (0.84, 1.0, 1.18)
    gain = np.asarray(balance)[:, None, None] * light

    def bands(count: int, thickness: float, slant: float, u: Any, v: Any) -> NDArray[np.float64]:
        total = np.zeros(np.broadcast_shapes(u.shape, v.shape))
        for number in range(count):
            centre = -0.5 + (number + draws.uniform(0.25, 0.75)) / count
            distance = (u + slant * v - centre) / thickness
            total += np.clip(1 - distance * distance, 0, 1) ** 2
        return np.clip(total, 0, 1)

    on_belt = (np.abs(v) < 0.5 - _RAIL).astype(np.float64)
    glare = bands(2, 0.09, 0.15 if before else -0.2, u, v) * 20 * on_belt
    scene_u, scene_v = x / config.width - 0.5, y / config.height - 0.5
    glint = bands(4, 0.085, 0.3 if before else -0.35, scene_u, scene_v) * 255 * config.glint
    return _Camera(
        rails=np.round(np.clip(rails, 0, 255)).astype(np.int32),
        static=static,
        gain=np.round(gain * _ONE).astype(np.int32),
        glare=np.round(glare).astype(np.int32),
        glint=np.round(glint).astype(np.int32),
    )


def _belt_texture(config: BeltConfig) -> NDArray[np.uint16]:
    """The belt's surface: a weave, speckles, stains and seams on dark rubber."""
    draws = Draws(_TEXTURE, config.seed)
    unit = max(1, round(config.height / 128))
    height, view = config.height + 2 * config.shake, config.width + 2 * config.shake
    period = 4 * view
    y, x = np.arange(height)[:, None], np.arange(period)[None, :]
    relief = 5.0 * (((x // (2 * unit)) + (y // (2 * unit))) % 2) - 2.5
    relief = relief + (draws.bytes(height, period) / 255.0 - 0.5) * 10
    for cell, depth in ((32 * unit, 22.0), (12 * unit, 14.0)):
        relief += depth * (_value_noise(height, period, cell, draws) - 0.5)
    for seam in range(4):  # slanted joints, and a pale scuff behind each of them
        distance = (x + y // 3 - seam * period // 4) % period
        relief = np.where(distance < 2 * unit, -26.0, relief)
        scuff = (distance > 8 * unit) & (distance < 22 * unit) & (draws.bytes(height, 1) > 170)
        relief += 9.0 * scuff
    rubber = np.asarray((74.0, 78.0, 84.0))[:, None, None]
    surface = np.clip(rubber + relief * config.texture, 0, 255)
    repeated = np.concatenate([surface, surface[:, :, : view + 1]], axis=2)
    return np.round(repeated).astype(np.uint16)


def _value_noise(height: int, period: int, cell: int, draws: Draws) -> NDArray[np.float64]:
    """Smooth noise in [0, 1] that repeats after ``period`` columns, (height, period)."""
    rows, columns = height // cell + 2, max(1, period // cell)
    knots = draws.bytes(rows, columns) / 255.0
    y, x = np.arange(height) / cell, np.arange(period) * (columns / period)
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    fy, fx = (y - row)[:, None], (x - column)[None, :]
    fy, fx = fy * fy * (3 - 2 * fy), fx * fx * (3 - 2 * fx)
    right = (column + 1) % columns
    top = knots[row][:, column] * (1 - fx) + knots[row][:, right] * fx
    bottom = knots[row + 1][:, column] * (1 - fx) + knots[row + 1][:, right] * fx
    blended: NDArray[np.float64] = top * (1 - fy) + bottom * fy
    return blended


def _noise_table(sigma: float) -> Ints:
    """Normal noise for each of 256 equally likely bytes, whole grey levels, (256,).

    Rounding absorbs the last bits in which machines differ.
    """
    normal = NormalDist()
    return np.array([round(sigma * normal.inv_cdf((i + 0.5) / 256)) for i in range(256)], np.int32)
