"""``tccam runs``: what has been trained here."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime

from tccam.cli.common import Commands
from tccam.errors import TccamError

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    listing = commands.add_parser(
        "runs",
        help="the finished runs of the store",
        description="List the finished runs, the latest last. The store is the folder TCCAM_RUNS, "
        "or ~/.cache/tccam/runs.",
        epilog="example: tccam runs --json",
    )
    listing.add_argument("--json", action="store_true", help="the runs as JSON")
    listing.set_defaults(command=_list)


def _list(options: argparse.Namespace) -> int:
    from tccam.store import RunStore

    store, runs = RunStore(), []
    for path in store.root.glob("*/run.json"):
        try:
            record = store.finished(path.parent.name) or {}
        except TccamError as error:  # one damaged record hides no other
            print(f"tccam: {error}", file=sys.stderr)
            continue
        config = record.get("config", {})
        when = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
        runs.append(
            {
                "run": path.parent.name,
                "date": when.isoformat(timespec="seconds"),
                "method": config.get("method", "?"),
                "steps": config.get("steps", 0),
                "seconds": round(record.get("seconds", 0), 1),
                "data": config.get("data", {}).get("root", "belt"),
            }
        )
    runs.sort(key=lambda run: (run["date"], run["run"]))
    if options.json:
        print(json.dumps({"store": str(store.root), "runs": runs}, indent=1))
        return 0
    if not runs:
        print(f"{store.root}: no finished run", file=sys.stderr)
        return 0
    print(f"{'run':<10}{'date':<18}{'method':<10}{'steps':>7}{'seconds':>9}  data")
    for run in runs:
        date = run["date"][:16].replace("T", " ")
        print(f"{run['run'][:8]:<10}{date:<18}{run['method']:<10}{run['steps']:7}"
              f"{run['seconds']:9.0f}  {run['data']}")  # fmt: skip
    return 0
