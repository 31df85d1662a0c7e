"""`python -m benchmarks`: every ratio in one run, printed and kept in results/benchmarks.json."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import torch
import torchvision

from benchmarks import belt, cams, inference, step
from tccam.files import write_atomic
from tccam.store import machine, provenance

RESULTS = Path(__file__).resolve().parents[1] / "results" / "benchmarks.json"


def main() -> None:
    """Measure, print a table, write it."""
    rows = [*step.rows(), *inference.rows(), *cams.rows(), *belt.rows()]
    print(table(rows))
    facts = {
        "date": datetime.date.today().isoformat(),
        "machine": {**machine(), "threads": 2},
        "provenance": provenance(),
        "versions": {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "opencv": cv2.__version__,
        },
        "rows": rows,
    }
    if RESULTS.is_file():  # what benchmarks.segment has measured stays
        facts = json.loads(RESULTS.read_text(encoding="utf-8")) | facts
    write_atomic(RESULTS, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"written to {RESULTS.relative_to(Path.cwd())}", file=sys.stderr)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':<62}{'against':<42}{'ours':>10}{'other':>11}{'ratio':>8}  goal"]
    for row in rows:
        if "frames_per_second" in row:
            lines.append(f"{row['what']:<104}{row['frames_per_second']:8.0f} frames a second")
            continue
        lines.append(
            f"{row['what']:<62}{row['against']:<42}{row['ours_ms']:8.1f} ms"
            f"{row['other_ms']:8.1f} ms{row['ratio']:8.2f}  {row['goal']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
