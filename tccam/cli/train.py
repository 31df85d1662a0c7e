"""``tccam train`` and ``tccam evaluate``: your own videos."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from tccam.cli.common import RUN, SHORT, TILES, Commands, counted, open_run, size
from tccam.errors import TccamError

if TYPE_CHECKING:
    from tccam.data.clip import LabelledClip
    from tccam.data.dataset import FolderData
    from tccam.training import Run

__all__ = ["add"]

_CHECKPOINT = 20  # steps: what Ctrl-C loses at most
#: The settings of :class:`tccam.training.TrainConfig` by what they are about.
_SUBJECTS = {
    "network": ("backbone", "weights", "standardize", "output_stride", "num_classes"),
    "data and batches": (
        "background", "batch", "window", "accumulate", "jitter", "jitter_together", "flip",
        "validate_every",
    ),
    "terms": (
        "method", "alpha", "beta", "gamma", "ramp", "pieces", "level", "reduction", "fusion",
        "centre_in", "normalized", "detach", "separate_passes",
    ),
    "flow": ("flow", "previous", "assisted", "cells", "validity", "half_cell_shift"),
    "optimisation": (
        "steps", "lr", "momentum", "weight_decay", "bias_groups", "warmup", "power", "clip_norm",
    ),
    "machine": ("seed", "threads", "device", "precision"),
}  # fmt: skip
#: What a folder starts from where that is not what a configuration does.
_FOLDERS = {"method": "both", "flow": "dis"}
_OPTIONAL = {"weights": str, "output_stride": int}
_SCORES = ("accuracy", "iou_argmax", "iou_threshold", "iou_oracle", "iou_authors", "miou", "pxap")

_SCORES_HELP = """\
accuracy       share of the frames whose camera is recognised
iou_argmax     mean IoU over frames that show something illegal; a pixel is illegal where the map
               of "before" is the highest
iou_threshold  the same, where the map of "before" reaches the threshold
iou_oracle     the same at the best threshold for these very frames
iou_authors    as the paper scores: argmax, empty frames included
miou           mean of the IoU of illegal pixels and of all others, over all frames together
pxap           average precision of pixels
precision      share of the mask that is illegal
recall         share of the illegal pixels that are in the mask

"""


def add(commands: Commands, settings: bool) -> None:
    """Add both commands, training with its settings if asked for."""
    training = commands.add_parser(
        "train",
        usage="%(prog)s [-h] [OPTION ...] DIR",
        help="train on your own videos",
        description="Train on a folder in the layout of SERUSO and WS² (see: tccam data). The run "
        "is kept in the run store; the same command again finds it there, or goes on where it "
        "was cut. Settings overrule the file of --config, and that the preset.",
        epilog="example: tccam train belt/ --method both --preset fast --steps 400",
    )
    training.add_argument("folder", metavar="DIR")
    training.add_argument("--preset", choices=SHORT, default="fast", help="to start from (fast)")
    training.add_argument("--variant", choices=("fixed", "faithful"), default="fixed")
    training.add_argument("--size", type=size, metavar="N",
                          help="of the pictures: pixels of the shorter side, or HxW "
                          "(fast: 128; full: 512)")  # fmt: skip
    training.add_argument(
        "--skip-damaged", action="store_true", help="leave out pictures that cannot be read"
    )
    training.add_argument(
        "--config", type=Path, metavar="FILE", help="settings as TOML, or a run's run.json"
    )
    training.add_argument("--json", action="store_true", help="the result as JSON")
    known = _settings() if settings else {}
    for subject, names in _SUBJECTS.items() if settings else ():
        group = training.add_argument_group(subject)
        for name in names:
            option = "--" + name.replace("_", "-")
            group.add_argument(option, dest=name, default=argparse.SUPPRESS, **known[name])
    training.set_defaults(command=_train)

    judging = commands.add_parser(
        "evaluate",
        help="score a run on masks",
        description=(
            "Score a run on the masks of a folder. The threshold comes from the masks of the\n"
            "validation split where there are some, and never from the test split; on the\n"
            "validation split itself the scores at it are a little too good. Accuracy counts all\n"
            "frames that are not in a folder bg, empty ones too."
        ),
        epilog=_SCORES_HELP + "example: tccam evaluate 1f3a belt/ --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    judging.add_argument("run", metavar="RUN", help=RUN)
    judging.add_argument("folder", metavar="DIR")
    judging.add_argument("--split", choices=("test", "validation"), default="test")
    judging.add_argument("--threshold", type=float, metavar="T", help="instead of a chosen one")
    judging.add_argument(
        "--flow",
        choices=("dis", "farneback", "files", "none"),
        default="dis",
        help="how neighbours help, as in tccam segment; files: by the flows of the folder; none: "
        "each frame alone (dis)",
    )
    judging.add_argument("--json", action="store_true", help="the scores as JSON")
    judging.set_defaults(command=_evaluate)


def _settings() -> dict[str, dict[str, Any]]:
    """One option for each field of a configuration, described by its documentation."""
    from tccam.training import TrainConfig

    found = {}
    hints = get_type_hints(TrainConfig)
    lines = re.findall(r"^ {8}(\w+): ((?:.|\n(?! {8}\w+:|\n))*)", str(TrainConfig.__doc__), re.M)
    texts = {name: _plain(text) for name, text in lines}
    for field in fields(TrainConfig):
        kind = hints[field.name]
        options: dict[str, Any] = {"help": texts[field.name]}
        if field.name == "data":
            continue
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif get_origin(kind) is Literal:
            options["choices"] = get_args(kind)
        elif get_origin(kind) is tuple:
            options |= {"type": float, "nargs": len(get_args(kind)), "metavar": "X"}
        else:
            options |= {"type": _OPTIONAL.get(field.name, kind), "metavar": "X"}
        default = _FOLDERS.get(field.name, field.default)
        if isinstance(default, int | float | str) and kind is not bool:
            options["help"] += f" (fast: {default})"
        found[field.name] = options
    return found


def _plain(text: str) -> str:
    """A documentation's text as a help text: without markup."""
    bare = re.sub(r":\w+:`~?([^`]+)`|``([^`]+)``", r"\1\2", " ".join(text.split()))
    return bare.replace("%", "%%")


def _train(options: argparse.Namespace) -> int:
    from tccam.data.dataset import FolderConfig, FolderData, fitting_size
    from tccam.training import TrainConfig, fit

    known = {f.name for f in fields(TrainConfig)}
    changes = _from_file(options.config) | {k: v for k, v in vars(options).items() if k in known}
    damaged = "skip" if options.skip_damaged else "refuse"
    wanted = options.size or SHORT[options.preset]
    if isinstance(wanted, int):
        first = FolderData(FolderConfig(options.folder, damaged=damaged)).train[0]
        wanted = fitting_size(first.size, wanted, TILES[options.preset])
    height, width = wanted
    data = FolderData(FolderConfig(options.folder, height, width, damaged))
    changes = _for_folders(changes, data.train)
    if isinstance(changes.get("jitter"), list):
        changes["jitter"] = tuple(changes["jitter"])
    method = changes.pop("method", _FOLDERS["method"])
    config = TrainConfig.preset(
        options.preset, method, options.variant, **{**changes, "data": data.config}
    )
    from tccam.cli.processes import launched

    fabric = launched(config.device, config.precision)
    run = fit(config, belt=data, fabric=fabric, checkpoint_every=_CHECKPOINT)
    if fabric is not None and not fabric.is_global_zero:
        return 0
    if not options.json:
        steps = counted(config.steps, "step")
        print(f"run {run.key}: {steps} in {run.seconds:.0f} s", flush=True)
    accuracy = _accuracy(run, data)
    following = [
        f"tccam evaluate {run.key[:8]} {shlex.quote(options.folder)}{split}"
        for split in _judged(data)
    ]
    following.append(f"tccam segment {run.key[:8]} VIDEO -o found.mp4 --threshold T")
    if options.json:
        facts = {"run": run.key, "seconds": round(run.seconds, 1), "loss": float(run.losses[-1])}
        facts |= {"accuracy": accuracy, "next": following}
        print(json.dumps({**facts, "config": asdict(config)}))
    else:
        if accuracy is not None:
            print(f"accuracy on validation frames: {accuracy:.3f}")
        print("next:", *following, sep="\n  ")
    return 0


def _accuracy(run: Run, data: FolderData) -> float | None:
    """Share of validation frames whose camera is recognised; None without such a split."""
    from lightning_fabric import Fabric

    from tccam import inference
    from tccam.data.dataset import PICTURES

    if not (Path(data.config.root) / PICTURES["validation"]).is_dir():
        return None
    network = run.network.to(Fabric(accelerator=run.config.device, devices=1).device)
    try:
        return inference.accuracy(network, data.validation, run.config.background, progress=True)
    except TccamError as error:  # the run is finished all the same
        print(f"tccam: no accuracy: {error}", file=sys.stderr)
        return None


def _judged(data: FolderData) -> Iterable[str]:
    """What asks for the scores on the split that has masks, if there is one."""
    from tccam.data.dataset import MASKS

    for split, words in (("test", ""), ("validation", " --split validation")):
        if any((Path(data.config.root) / MASKS[split]).glob("*/*")):
            yield words
            return


def _from_file(path: Path | None) -> dict[str, Any]:
    """The settings of a file, without the data."""
    from tccam.training import TrainConfig

    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise TccamError(f"{path}: cannot be read ({error}); expected TOML, or JSON") from error
    values = values.get("config", values) if isinstance(values, Mapping) else None
    if not isinstance(values, Mapping):
        raise TccamError(f"{path}: expected settings of TrainConfig")
    known = {f.name for f in fields(TrainConfig)}
    if unknown := values.keys() - known:
        raise TccamError(f"{path}: there is no setting {', '.join(sorted(unknown))}")
    return {name: value for name, value in values.items() if name != "data"}


def _for_folders(changes: Mapping[str, Any], clips: Iterable[LabelledClip]) -> dict[str, Any]:
    """Settings that a folder cannot do without: nobody knows its exact flow."""
    fitting = dict(changes)
    if fitting.get("flow", "exact") == "exact":
        fitting["flow"] = _FOLDERS["flow"]
    if not any(clip.label == "background" for clip in clips):
        if "num_classes" not in changes:
            print("no folder bg: two classes, without the empty belt", file=sys.stderr)
        fitting.setdefault("num_classes", 2)
    return fitting


def _evaluate(options: argparse.Namespace) -> int:
    threshold, origin = options.threshold, "given"
    if threshold is not None and not 0 <= threshold <= 1:
        raise TccamError(f"--threshold: expected 0 … 1, got {threshold}")
    from tccam.data.dataset import FolderConfig, FolderData
    from tccam.inference import Window, choose_threshold, evaluate

    run = open_run(options.run, "tccam evaluate RUN DIR")
    height, width = (getattr(run.config.data, side) for side in ("height", "width"))
    damaged = getattr(run.config.data, "damaged", "refuse")
    data = FolderData(FolderConfig(options.folder, height, width, damaged))
    clips = getattr(data, options.split)
    window = None if options.flow == "none" else Window(flow=options.flow)
    if threshold is None:
        try:
            validation = data.validation
            threshold = choose_threshold(
                run.network, validation, run.config.background, window=window, progress=True
            )
            origin = "validation"
        except TccamError as error:
            raise TccamError(f"{error}; or give a --threshold") from None
    report = evaluate(
        run.network, clips, run.config.background, threshold, window=window, progress=True
    )
    scores = {name: getattr(report, name) for name in (*_SCORES, "precision", "recall")}
    facts = {"run": run.key, "split": options.split, "threshold": threshold, "from": origin}
    if options.json:
        print(json.dumps({**facts, **scores}))
        return 0
    print(f"run {run.key} on {options.split}, threshold {threshold:.2f} ({origin})")
    for name, value in scores.items():
        print(f"  {name:<14}{value:.4f}")
    print(f"next:\n  tccam segment {run.key[:8]} VIDEO -o found.mp4 --threshold {threshold:.2f}")
    return 0
