"""``tccam data``: data folders, in the layout of SERUSO and WS²."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tccam.cli.common import SHORT, TILES, Commands, Parser, counted, size
from tccam.errors import TccamError

if TYPE_CHECKING:
    from tccam.data.recording import Written
    from tccam.data.tree import Survey

__all__ = ["add"]

_LABELS = ("before", "after", "bg")
_SPLITS = ("training", "validation", "test")
_STRIDES = {"fast": 4, "full": 32}  # of the networks of the presets
_METHODS = ("farneback", "dis", "raft_small", "raft_large")

# A belt to try the commands with: seconds to write, megabytes to keep.
_BELT = {
    "frames": (40, "of a clip"),
    "train": (4, "clips of each camera to train on"),
    "validation": (2, "clips of each camera to choose on"),
    "test": (2, "clips of each camera to score on"),
    "height": (128, "pixels"),
    "width": (160, "pixels"),
    "seed": (0, "names the data set"),
}


def add(commands: Commands, choices: bool) -> None:
    """Add the command and its verbs, if asked for with the data sets that there are."""
    data = commands.add_parser("data", help="data folders: fetch, fill and check one")
    verbs = data.add_subparsers(required=True, metavar="VERB")

    check = _verb(verbs, "check", _check, "what is in a data folder, and what is wrong with it",
                  "tccam data check ws2 --quick")  # fmt: skip
    check.add_argument("folder", metavar="DIR")
    check.add_argument("--quick", action="store_true", help="names and headers alone")

    _add_examine(verbs)

    importing = _verb(verbs, "import", _import, "add videos to a data folder",
                      "tccam data import before/*.mp4 --to sorting --label before --fps 5 "
                      "--size 512\n          --clip-frames 200 --validation 0.2")  # fmt: skip
    option = importing.add_argument
    option("videos", nargs="+", metavar="VIDEO", help="a video file, or a folder of pictures")
    option("--to", required=True, metavar="DIR", help="the data folder")
    option("--label", required=True, choices=_LABELS, help="bg: frames without objects")
    option("--split", default="training", choices=_SPLITS, help="(training)")
    option("--fps", type=float, metavar="N", help="frames to take a second (all)")
    option("--size", type=size, metavar="N", help="pixels of the shorter side, or HxW (as it is)")
    option("--clip-frames", type=int, metavar="N", help="cut into clips of at most N frames")
    option(
        "--validation",
        type=float,
        default=0.0,
        metavar="SHARE",
        help=("of the clips of each video, its last ones, for the validation split (0)"),
    )
    option(
        "--apart",
        type=int,
        default=1,
        metavar="N",
        help=("frames left out between the two splits (1)"),
    )
    option("--ending", default="jpg", choices=("jpg", "png"), help="png is lossless (jpg)")

    belt = _verb(verbs, "belt", _belt, "write the synthetic belt as a data folder",
                 "tccam data belt try --train 8 --flows")  # fmt: skip
    belt.add_argument("folder", metavar="DIR")
    for name, (default, text) in _BELT.items():
        belt.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{text} ({default})"
        )
    belt.add_argument("--flows", action="store_true", help="the exact flows as well, both ways")
    belt.add_argument("--ending", default="png", choices=("jpg", "png"), help="(png)")

    flow = _verb(verbs, "flow", _flow, "estimate the flows of a data folder, for --flow files",
                 "tccam data flow sorting --method dis --split training")  # fmt: skip
    flow.add_argument("--method", choices=_METHODS, default="dis", help="(dis)")
    flow.add_argument("--weights", type=Path, metavar="FILE", help="of RAFT (the published ones)")
    flow.add_argument("--device", default="cpu", help="where RAFT runs (cpu)")
    flow.add_argument(
        "--plain", action="store_true", help="estimate on the pictures, without their backgrounds"
    )
    flow.add_argument("--jobs", type=int, metavar="N", help="pairs of frames at a time (all cores)")

    static = _verb(verbs, "background", _background, "write what each camera sees without objects",
                   "tccam data background sorting --only 'bg/after*' --from empty.mp4")  # fmt: skip
    static.add_argument(
        "--from",
        type=Path,
        metavar="FILE",
        dest="source",
        help="a picture of the empty belt, a video or a folder of frames, for its median "
        "(each video's own median)",
    )
    static.add_argument(
        "--only",
        default="*",
        metavar="PATTERN",
        help="videos to write one for, those of one camera (all)",
    )
    for verb, folder in ((flow, "flows"), (static, "backgrounds")):
        verb.add_argument("folder", metavar="DIR")
        verb.add_argument("--split", choices=_SPLITS, help="one alone (all)")
        verb.add_argument("--overwrite", action="store_true", help=f"{folder} that are there")
        verb.add_argument(
            "--skip-damaged", action="store_true", help="leave out pictures that cannot be read"
        )

    fetching = _verb(
        verbs, "fetch", _fetch, "download a public data set", "tccam data fetch ws2 --to data/ws2"
    )
    fetching.add_argument(
        "name", metavar="NAME", choices=_names() if choices else None, help="such as ws2"
    )
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


def _add_examine(verbs: Commands) -> None:
    """The verb that says whether a recording will do."""
    examining = _verb(
        verbs,
        "examine",
        _examine,
        "nine checks of a recording, before anything is trained; status 1 if one is bad",
        "tccam data examine morning.mp4 --preset full",
    )
    option = examining.add_argument
    option("video", metavar="VIDEO", help="a video file, or a folder of pictures")
    option("--preset", choices=SHORT, default="fast", help="of the training to come (fast)")
    option(
        "--size",
        type=size,
        metavar="N",
        help="of the pictures: pixels of the shorter side, or HxW (fast: 128; full: 512)",
    )
    option(
        "--output-stride",
        type=int,
        metavar="N",
        help="pixels per cell of the maps (fast: 4; full: 32)",
    )
    option("--pieces", type=int, default=4, metavar="N", help="tiles of a picture (4)")
    option("--flow", choices=("dis", "farneback"), default="dis", help="(dis)")
    option(
        "--frames",
        type=int,
        default=600,
        metavar="N",
        help="of the first frames, that share one background (600)",
    )


def _verb(
    verbs: Commands,
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    example: str,
) -> Parser:
    """A verb with its help and an example."""
    made = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", action="store_true", help="one JSON document on stdout")
    made.set_defaults(command=command)
    return made


def _names() -> tuple[str, ...]:
    """The data sets that can be fetched."""
    from tccam.data.download import records

    return tuple(records())


def _check(options: argparse.Namespace) -> int:
    from tccam.data.tree import scan

    survey = scan(options.folder, quick=options.quick)
    if options.json:
        print(json.dumps({**asdict(survey), "errors": len(survey.errors),
                          "warnings": len(survey.warnings)}, indent=1))  # fmt: skip
    else:
        _show(survey)
    return 1 if survey.errors else 0


def _show(survey: Survey) -> None:
    """A table of the videos, then the problems."""
    print(f"{'frames':>6}{'size':>12}{'gaps':>6}{'masks':>7}{'flows':>7}{'background':>12}  video")
    for video in survey.videos:
        size = "×".join(map(str, video.size)) if video.size else "?"
        background = "yes" if video.background else "median"
        print(f"{video.frames:6}{size:>12}{len(video.gaps):6}{video.masks:7}{video.flows:7}"
              f"{background:>12}  {video.path}")  # fmt: skip
    for problem in survey.problems:
        print(f"{problem.severity}: {problem.path}: {problem.text}")
    frames = sum(video.frames for video in survey.videos)
    print(f"{counted(len(survey.videos), 'video')}, {counted(frames, 'frame')}: "
          f"{counted(len(survey.errors), 'error')}, "
          f"{counted(len(survey.warnings), 'warning')}")  # fmt: skip


def _examine(options: argparse.Namespace) -> int:
    from tccam.data import open_clip
    from tccam.data.dataset import fitting_size
    from tccam.suitability import examine

    clip = open_clip(options.video)
    wanted = options.size or SHORT[options.preset]
    checks = examine(
        clip,
        size=fitting_size(clip.size, wanted, TILES[options.preset])
        if isinstance(wanted, int)
        else wanted,
        stride=_STRIDES[options.preset] if options.output_stride is None else options.output_stride,
        pieces=options.pieces,
        frames=options.frames,
        method=options.flow,
    )
    if options.json:
        print(json.dumps({"video": clip.name, "checks": [asdict(c) for c in checks]}, indent=1))
    else:
        for check in checks:
            print(f"{check.verdict:<10}{check.name:<8}{check.found}")
            if check.advice:
                print(f"{'':<18}→ {check.advice}")
        verdicts = [check.verdict for check in checks]
        print(", ".join(f"{verdicts.count(v)} {v}" for v in ("good", "doubtful", "bad")))
    return 1 if any(check.verdict == "bad" for check in checks) else 0


def _import(options: argparse.Namespace) -> int:
    from tccam.data.dataset import PICTURES
    from tccam.data.recording import import_videos

    if options.validation and not options.clip_frames:
        raise TccamError("--validation: it takes clips, so it needs --clip-frames N")
    made = import_videos(
        options.videos,
        options.to,
        label=options.label,
        split=options.split,
        fps=options.fps,
        size=options.size,
        clip_frames=options.clip_frames,
        validation=options.validation,
        apart=options.apart,
        ending=options.ending,
    )
    if options.validation and not any(PICTURES["validation"] in w.path.as_posix() for w in made):
        print(
            "no clip for the validation split: there is one alone; choose fewer --clip-frames",
            file=sys.stderr,
        )
    return _made(made, options)


def _belt(options: argparse.Namespace) -> int:
    from tccam.data.belt import BeltConfig
    from tccam.data.recording import write_belt

    settings = {name: getattr(options, name) for name in _BELT}
    config = BeltConfig(**settings, lead_in=max(0, min(BeltConfig.lead_in, options.frames // 3)))
    made = write_belt(config, options.folder, flows=options.flows, ending=options.ending)
    return _made(made, options)


def _flow(options: argparse.Namespace) -> int:
    from tccam.data.precompute import write_flows

    made = write_flows(
        options.folder,
        options.method,
        **_videos(options),
        assisted=not options.plain,
        weights=options.weights,
        device=options.device,
        jobs=options.jobs,
    )
    return _made(made, options, "flows")


def _background(options: argparse.Namespace) -> int:
    from tccam.data.precompute import write_backgrounds

    made = write_backgrounds(
        options.folder, **_videos(options), only=options.only, source=options.source
    )
    return _made(made, options)


def _videos(options: argparse.Namespace) -> dict[str, Any]:
    """Which videos, and whether to write over what they have."""
    return {
        "splits": (options.split,) if options.split else _SPLITS,
        "damaged": "skip" if options.skip_damaged else "refuse",
        "overwrite": options.overwrite,
    }


def _made(made: tuple[Written, ...], options: argparse.Namespace, unit: str = "frames") -> int:
    """Say what was written."""
    if options.json:
        videos = [{**asdict(written), "path": written.path.as_posix()} for written in made]
        print(json.dumps({"videos": videos}, indent=1))
    else:
        for written in made:
            there = "" if written.new else "  (was there)"
            print(f"{written.frames:6} {unit}  {written.path}{there}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from tccam.data.download import fetch, listing, records

    known = records()
    if options.name not in known:
        raise TccamError(f"NAME: expected one of {', '.join(known)}; got {options.name!r}")
    record = known[options.name]
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
