"""``tccam data``: data folders on the disk."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tccam.data.download import fetch, listing, records

__all__ = ["add"]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its verbs."""
    data = commands.add_parser("data", help="data folders on the disk")
    verbs = data.add_subparsers(required=True, metavar="VERB")

    fetching = _verb(
        verbs, "fetch", _fetch, "download a public data set", "tccam data fetch ws2 --to data/ws2"
    )
    fetching.add_argument("name", choices=records(), metavar="NAME", help=", ".join(records()))
    fetching.add_argument("--to", type=Path, metavar="DIR", help="where to (data/NAME)")
    fetching.add_argument("--list", action="store_true", help="say what there is, download nothing")
    fetching.add_argument("--jobs", type=int, default=4, metavar="N", help="files at a time (4)")
    fetching.add_argument(
        "--limit",
        type=float,
        default=1000,
        metavar="GB",
        help="that an archive may unpack to (1000)",
    )
    fetching.add_argument(
        "--ratio", type=float, default=100, metavar="R", help="unpacked to packed size (100)"
    )
    fetching.add_argument("--json", action="store_true", help="print one JSON document")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    made = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example: {example}",
    )
    made.set_defaults(command=command)
    return made


def _fetch(options: argparse.Namespace) -> int:
    record = records()[options.name]
    if options.list:
        offered = listing(record)
        if options.json:
            print(json.dumps({"record": asdict(record), **asdict(offered)}, indent=1))
            return 0
        for file in offered.files:
            print(f"{file.size / 1e9:9.3f} GB  {file.name}  {file.checksum}")
        print(f"{offered.size / 1e9:9.3f} GB  {record.title}, {record.page}")
        print(f"licence: {offered.license or 'not stated'}")
        return 0
    done = fetch(
        record,
        options.to or Path("data") / record.name,
        jobs=options.jobs,
        limit=options.limit * 1e9,
        ratio=options.ratio,
    )
    if not done.fresh:
        print(f"{done.folder}: all of {record.name} is there already", file=sys.stderr)
    roots = [str(root) for root in done.roots]
    if options.json:
        print(json.dumps({"folder": str(done.folder), "roots": roots, "fresh": done.fresh}))
    else:
        print("\n".join(roots))
    return 0
