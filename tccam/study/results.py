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
from tccam.inference import CURVE
from tccam.metrics import Paired

__all__ = ["Comparison", "compare", "folders", "load", "save"]


def folders() -> tuple[Path, ...]:
    """Where recorded studies are: in a checkout, in an installed package.

    Example:
        >>> folders()[-1].name
        'results'
    """
    package = Path(__file__).parents[1]
    return package.parent / "results", package / "results"


def save(
    folder: Path,
    name: str,
    facts: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Sequence[float]]] | None = None,
) -> Path:
    """Write ``NAME.csv``, one row a run, and ``NAME.json``, where they come from.

    Curves, one for each row, go to ``NAME-curves.csv``: one row for each run and threshold.
    """
    path = folder / f"{name}.csv"
    story = json.dumps(facts, indent=1, ensure_ascii=False, default=str) + "\n"
    write_atomic(path, _table(rows))
    write_atomic(path.with_suffix(".json"), story.encode())
    path.with_name(f"{name}-curves.csv").unlink(missing_ok=True)  # of another run
    if curves is not None:
        known = ["arm", *facts["axes"], "seed"]
        points = [
            {k: row[k] for k in known} | {"threshold": t} | {k: v[i] for k, v in curve.items()}
            for row, curve in zip(rows, curves, strict=True)
            for i, t in enumerate(CURVE)
        ]
        write_atomic(path.with_name(f"{name}-curves.csv"), _table(points))
    return path


def _table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table.

    Raises:
        ValueError: if it is torn or empty.
    """
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
    if not rows or any(None in row or None in row.values() for row in rows):
        raise ValueError("torn, or empty")
    return [{k: _number(v) for k, v in row.items()} for row in rows]


def load(name: str, folder: Path | None = None) -> dict[str, Any]:
    """A recorded study.

    Args:
        name: of the study, see ``tccam study list``.
        folder: where it is; where the library's own are when None.

    Returns:
        Among others "question", "date", "machine", "provenance", the "command" that runs it again,
        "pairs", "rows", one dictionary a run, and "curves", one for each run and threshold if the
        study records them.

    Raises:
        TccamError: if there is no such study, or its files are damaged.

    Example:
        >>> load("smoke")["pairs"]
        {'puzzle − plain': ['puzzle', 'plain']}
    """
    places = folders() if folder is None else (folder,)
    for path in (place / f"{name}.csv" for place in places):
        if not path.is_file():
            continue
        curves = path.with_name(f"{name}-curves.csv")
        try:
            facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            rows = _rows(path)
            points = _rows(curves) if curves.is_file() else []
        except (OSError, ValueError, csv.Error, RecursionError) as error:
            raise TccamError(f"{path}: not a readable study ({error})") from error
        if not _whole(facts, rows):
            raise TccamError(f"{path}: expected its story, axes and pairs, in a .json beside it")
        return {**facts, "rows": rows, "curves": points}
    known = sorted(
        {
            path.stem
            for place in places
            for path in place.glob("*.json")
            if path.with_suffix(".csv").is_file()
        }
    )
    raise TccamError(f"name: no study {name!r} is recorded; there are {', '.join(known) or 'none'}")


def _whole(facts: Any, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a story has what :func:`compare` asks of it."""
    if not isinstance(facts, dict):
        return False
    axes, pairs = facts.get("axes"), facts.get("pairs")
    return (
        isinstance(axes, dict)
        and isinstance(pairs, dict)
        and all(axis in list(rows[0]) for axis in (*axes, "arm", "seed"))
        and all(
            isinstance(p, list) and [type(arm) for arm in p] == [str] * 2 for p in pairs.values()
        )
    )


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
        """Whether the 95% interval excludes zero. Without any difference one in twenty does."""
        interval = self.paired.difference
        return interval.low > 0 or interval.high < 0


def compare(
    recorded: Mapping[str, Any],
    score: str,
    pairs: Mapping[str, tuple[str, str]] | None = None,
) -> list[Comparison]:
    """All comparisons of a recorded study, paired by seed.

    Args:
        recorded: from :func:`load`.
        score: a column, such as "iou_threshold".
        pairs: comparison → an arm and its control; those of the study when None.

    Returns:
        For every value of the axes and every comparison whose arms were run there.

    Raises:
        TccamError: if there is no such column, or it has other than numbers.

    Example:
        >>> [found.name for found in compare(load("smoke"), "iou_argmax")][:1]
        ['puzzle − plain']
    """
    rows = recorded["rows"]
    if score not in rows[0]:
        raise TccamError(f"score: expected one of {', '.join(rows[0])}; got {score!r}")
    axes = list(recorded["axes"])
    table: dict[tuple[Any, ...], dict[str, dict[int, float]]] = {}
    for row in rows:
        place = table.setdefault(tuple(row[axis] for axis in axes), {})
        try:
            place.setdefault(row["arm"], {})[int(row["seed"])] = float(row[score])
        except (ValueError, OverflowError) as error:
            raise TccamError(f"{score}: not a number for each seed ({error})") from None
    found = []
    for labels, arms in table.items():
        for name, (arm, control) in (recorded["pairs"] if pairs is None else pairs).items():
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
