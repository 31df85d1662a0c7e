"""Times of several ways to do one thing, measured in turn in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from tqdm import tqdm


def seconds(
    ways: Mapping[str, Callable[[], object]], rounds: int = 15, title: str = ""
) -> dict[str, float]:
    """The median time of each way, seconds.

    Every round runs all ways, one after the other, in an order that turns: a machine that becomes
    slower in the meantime becomes slower for all. One round before the first warms up.
    """
    names = list(ways)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number in tqdm(range(-1, rounds), desc=title):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            wait()
            started = time.perf_counter()
            ways[name]()
            wait()
            if number >= 0:
                spent[name].append(time.perf_counter() - started)
    return {name: median(times) for name, times in spent.items()}


def wait() -> None:
    """Let an accelerator finish what was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
