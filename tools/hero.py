"""``python tools/hero.py``: the moving picture of the landing page, from a network of the book.

A wide belt is rendered finely for the eye; its small version goes through the network of chapter
*CAM basics* (the store has it after `make notebooks`), whose map becomes the glow.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from tccam import cam, viz
from tccam.background import clean, median_background
from tccam.data import BeltConfig, SyntheticBelt
from tccam.training import TrainConfig, fit

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
SIZE, SMALL = (400, 960), (128, 307)
FRAMES, STILL, FPS = 64, 30, 12
GLOW = torch.tensor([1.0, 0.45, 0.05])[:, None, None]  # the book's orange, as light


def main() -> None:
    """Write hero.webp and hero-still.webp."""
    network = fit(TrainConfig(steps=240)).network
    config = BeltConfig(
        height=SIZE[0], width=SIZE[1], frames=FRAMES, lead_in=0, test=4, speed=14.0, objects=5.0
    )
    clip = SyntheticBelt(config).test[2]
    frames = clip.frames
    small = F.interpolate(frames.float(), SMALL, mode="area")
    with torch.no_grad():
        maps = network(clean(small, median_background(small))).maps[:, :1]
    glow = cam.normalize(cam.enlarge(maps, SIZE, network.output_stride, SMALL))
    level = glow / maps.flatten(1).max() * maps.flatten(1).amax(1)[:, None, None, None]
    shown = frames.float() / 255
    lit = 1 - (1 - 0.8 * shown) * (1 - 0.85 * level * GLOW)
    pictures = [Image.fromarray(viz.picture(frame)) for frame in lit]
    pictures[0].save(
        STATIC / "hero.webp", save_all=True, append_images=pictures[1:],
        duration=round(1000 / FPS), loop=0, quality=62, method=6,
    )  # fmt: skip
    pictures[STILL].save(STATIC / "hero-still.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
