"""`python -m benchmarks.segment`: does the memory of `tccam segment` grow with the video?

A belt at 1080p and 2 frames a second, a network of 24 steps, every output; ten minutes.
The rows are kept in results/benchmarks.json, beside those of `python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.__main__ import RESULTS
from tccam.data import BeltConfig, SyntheticBelt, write_video
from tccam.data.dataset import resize_picture
from tccam.files import write_atomic
from tccam.store import RunStore, machine, provenance
from tccam.training import TrainConfig, fit

MINUTES = (1.0, 5.0, 20.0)
FPS = 2
SIZE = (1080, 1920)
BELT = BeltConfig(height=144, width=256, frames=60, train=2, validation=1, test=1)

# From a process of its own: one that is forked from a large process begins with its peak.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    """Measure, print a table, keep it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segment")
    parser.add_argument("--minutes", type=float, nargs="+", default=MINUTES, metavar="M")
    parser.add_argument("--dry", action="store_true", help="print, and keep nothing")
    options = parser.parse_args()
    torch.set_num_threads(2)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        run = fit(TrainConfig(data=BELT, steps=24), store=RunStore(root / "runs"))
        rows = [measured(root, run.key, minutes) for minutes in options.minutes]
    print(f"{'video':>10}{'frames':>9}{'peak memory':>14}{'frames a second':>18}")
    for row in rows:
        print(f"{row['minutes']:6g} min{row['frames']:9}{row['peak_mib']:10.0f} MiB", end="")
        print(f"{row['frames_per_second']:18.1f}")
    if options.dry:
        return
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    kept["segment"] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "provenance": provenance(),
        "rows": rows,
    }
    write_atomic(RESULTS, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"written to {RESULTS.name}", file=sys.stderr)


def measured(root: Path, key: str, minutes: float) -> dict[str, Any]:
    """What one video takes, start-up and all."""
    frames = round(60 * FPS * minutes)
    video = write_video(root / f"{frames}.mp4", looped(frames), FPS)
    words = ["segment", str(root / "runs" / key), str(video), "-o", str(root / str(frames))]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, sys.executable, "-m", "tccam.cli", *words],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "minutes": minutes,
        "frames": frames,
        "peak_mib": int(done.stdout) / unit,
        "frames_per_second": frames / seconds,
    }


def looped(frames: int) -> Iterator[Tensor]:
    """A clip of the belt again and again, at full size."""
    belt = itertools.cycle(SyntheticBelt(BELT).test[0].frames)
    for frame in tqdm(itertools.islice(belt, frames), "video", frames, unit="frame"):
        yield resize_picture(frame, SIZE)


if __name__ == "__main__":
    main()
