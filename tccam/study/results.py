"""The results of a study: a tidy table, where it comes from, and what it says."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tccam import metrics
from tccam.errors import TccamError
from tccam.files import write_atomic
from tccam.metrics import Paired

__all__ = ["Comparison", "compare", "folders", "load", "save"]


def folders() -> tuple[Path, ...]:
    """Where recorded studies are: in a checkout, in an installed package."""
    package = Path(__file__).parents[1]
    return package.parent / "results", package / "results"


def save(
    folder: Path, name: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Path:
    """Write ``NAME.csv``, one row a run, and ``NAME.json``, where they come from."""
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    path = folder / f"{name}.csv"
    story = json.dumps(facts, indent=1, ensure_ascii=False, default=str) + "\n"
    write_atomic(path, text.getvalue().encode())
    write_atomic(path.with_suffix(".json"), story.encode())
    return path


def load(name: str, folder: Path | None = None) -> dict[str, Any]:
    """A recorded study.

    Args:
        name: of the study, see ``tccam study list``.
        folder: where it is; where the library's own are when None.

    Returns:
        Among others "question", "date", "machine", "provenance", the "command" that runs it again,
        "pairs", and "rows", one dictionary a run.

    Raises:
        TccamError: if there is no such study, or its files are damaged.
    """
    places = folders() if folder is None else (folder,)
    for path in (place / f"{name}.csv" for place in places):
        if not path.is_file():
            continue
        try:
            facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
        except (OSError, ValueError, csv.Error) as error:
            raise TccamError(f"{path}: not a readable study ({error})") from error
        torn = any(None in row or None in row.values() for row in rows)
        if not rows or not isinstance(facts, dict) or torn:
            raise TccamError(f"{path}: expected a table of runs and its story in a .json beside it")
        return {**facts, "rows": [{k: _number(v) for k, v in row.items()} for row in rows]}
    known = sorted({path.stem for place in places for path in place.glob("*.csv")})
    raise TccamError(f"name: no study {name!r} is recorded; there are {', '.join(known) or 'none'}")


@dataclass(frozen=True)
class Comparison:
    """An arm against its control, at one value of each axis.

    Attributes:
        name: of the comparison.
        place: the value of each axis.
        values: the difference of each seed, in the order of the seeds.
        paired: its mean, spread and interval, and in how many seeds the arm is better.
    """

    name: str
    place: Mapping[str, Any]
    values: tuple[float, ...]
    paired: Paired

    @property
    def clear(self) -> bool:
        """Whether the 95% interval excludes zero. One in twenty does so by chance."""
        interval = self.paired.difference
        return not interval.low <= 0 <= interval.high


def compare(recorded: Mapping[str, Any], score: str) -> list[Comparison]:
    """All comparisons of a recorded study, paired by seed.

    Args:
        recorded: from :func:`load`.
        score: a column, such as "iou_threshold".

    Returns:
        For every value of the axes and every comparison whose arms were run there.

    Raises:
        TccamError: if there is no such column.
    """
    rows = recorded["rows"]
    if score not in rows[0]:
        raise TccamError(f"score: expected one of {', '.join(rows[0])}; got {score!r}")
    axes = list(recorded["axes"])
    table: dict[tuple[Any, ...], dict[str, dict[int, float]]] = {}
    for row in rows:
        place = table.setdefault(tuple(row[axis] for axis in axes), {})
        place.setdefault(row["arm"], {})[int(row["seed"])] = float(row[score])
    found = []
    for labels, arms in table.items():
        for name, (arm, control) in recorded["pairs"].items():
            if arm not in arms or control not in arms:
                continue
            a, b = arms[arm], arms[control]
            seeds = sorted(a.keys() & b.keys())
            paired = metrics.paired_difference([a[s] for s in seeds], [b[s] for s in seeds])
            values = tuple(a[s] - b[s] for s in seeds)
            found.append(Comparison(name, dict(zip(axes, labels, strict=True)), values, paired))
    return found


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
