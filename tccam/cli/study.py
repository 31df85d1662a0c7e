"""``tccam study``: many runs that answer one question."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tccam.cli.common import Commands, Parser, counted
from tccam.errors import TccamError

if TYPE_CHECKING:
    from tccam.study import Study

__all__ = ["add"]


def add(commands: Commands, choices: bool) -> None:
    """Add the command and its verbs, if asked for with the studies that there are."""
    study = commands.add_parser("study", help="many runs that answer one question")
    verbs = study.add_subparsers(required=True, metavar="VERB")

    names = _names() if choices else None

    def verb(name: str, text: str) -> Parser:
        example = f"tccam study {name}{'' if name == 'list' else ' ablation'}"
        made = verbs.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example: {example}",
        )
        if name != "list":
            made.add_argument("name", choices=names, metavar="NAME", help="see: tccam study list")
            made.add_argument(
                "--results", type=Path, metavar="DIR", help="where the results are (./results)"
            )
        return made

    verb("list", "what studies there are, and which are recorded").set_defaults(command=_list)
    running = verb("run", "train what is missing, and record the results")
    running.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; -1: all")
    running.add_argument("--dask", metavar="ADDRESS", help="of a Dask cluster, tcp://host:port")
    running.set_defaults(command=_run)
    showing = verb("show", "the paired differences of a recorded study")
    showing.add_argument("--score", default="iou_threshold", help="a column (iou_threshold)")
    showing.set_defaults(command=_show)
    drawing = verb("plot", "figures of a recorded study, as SVG files")
    drawing.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="where to (.)")
    drawing.set_defaults(command=_plot)
    checking = verb("verify", "train some runs of a recorded study again, and compare")
    checking.add_argument("--count", type=int, default=1, metavar="N", help="how many runs (1)")
    checking.set_defaults(command=_verify)


def _names() -> tuple[str, ...]:
    from tccam.study import STUDIES

    return tuple(STUDIES)


def _study(options: argparse.Namespace) -> Study:
    """The study of that name."""
    from tccam.study import STUDIES

    if options.name not in STUDIES:
        raise TccamError(f"NAME: expected one of {', '.join(STUDIES)}; got {options.name!r}")
    return STUDIES[options.name]


def _list(_options: argparse.Namespace) -> int:
    from tccam.study import STUDIES, load

    for study in STUDIES.values():
        try:
            date = f"recorded {load(study.name)['date']}"
        except TccamError:
            date = "not recorded"
        print(f"{study.name:<12}{len(study.runs()):5d} runs  {date:<22}{study.question}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from tccam.study import run

    study = _study(options)
    folder = options.results or Path("results")
    path = run(study, folder, jobs=options.jobs, dask=options.dask)
    print(f"{counted(len(study.runs()), 'run')} in {path}", file=sys.stderr)
    return 0


def _show(options: argparse.Namespace) -> int:
    from tccam.study import compare, load

    recorded = load(_study(options).name, options.results)
    print(f"{recorded['question']}\n{options.score}, mean difference with its 95% interval\n")
    for found in compare(recorded, options.score):
        place = ", ".join(f"{axis} {label}" for axis, label in found.place.items())
        gap = found.paired.difference
        print(
            f"{place:<32}{found.name:<38}{gap.mean:+.3f}  {gap.low:+.3f} … {gap.high:+.3f}"
            f"  better in {found.paired.wins} of {gap.n}{'  *' if found.clear else ''}"
        )
    return 0


def _plot(options: argparse.Namespace) -> int:
    from tccam import viz
    from tccam.study import load

    recorded = load(_study(options).name, options.results)
    viz.style()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, figure in viz.study_figures(recorded).items():
        path = options.output / f"{options.name}-{name}.svg"
        figure.savefig(path)
        print(path)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from tccam.study import verify

    folder = options.results or Path("results")
    lines = verify(_study(options), folder, count=options.count)
    same = f"{options.name}: {counted(options.count, 'run')} as recorded"
    print("\n".join(lines) if lines else same)
    return 1 if lines else 0
