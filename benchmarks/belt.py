"""How many frames a second the synthetic belt renders on one core."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch

from tccam.data import BeltConfig, SyntheticBelt

ROUNDS = 7


def rows() -> list[dict[str, Any]]:
    """Frames a second for three belts, the median over clips."""
    torch.set_num_threads(1)
    result = []
    for name, config in {
        "128×160, as it comes": BeltConfig(),
        "128×160, everything on": BeltConfig(
            motion="jitter", rotation=5.0, shake=2, drift=0.2, glint=0.9, speed=4.3
        ),
        "512×640": BeltConfig(height=512, width=640, frames=20, speed=40.0),
    }.items():
        belt = SyntheticBelt(config)
        _ = belt.train[0].frames  # the cameras and the texture are built once
        rates = []
        for clip in belt.train[1 : ROUNDS + 1]:
            started = time.perf_counter()
            frames = len(clip.frames)
            rates.append(frames / (time.perf_counter() - started))
        result.append({"what": f"belt, {name}, one core", "frames_per_second": median(rates)})
    return result
