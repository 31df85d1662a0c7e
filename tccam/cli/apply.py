"""``tccam segment`` and ``tccam explain``: what a trained network sees in your videos."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tccam.cli.common import RUN, Commands, Parser, open_run
from tccam.errors import TccamError

if TYPE_CHECKING:
    from tccam.training import Run

__all__ = ["add"]

_CLASSES = ("before", "after", "background")
_VIDEOS = (".webm", ".mp4", ".avi")
_SHORTER = 360  # pixels of overlay.webm, which is for looking: VP8 takes its time


def add(commands: Commands) -> None:
    """Add both commands."""
    segmenting = commands.add_parser(
        "segment",
        help="masks for videos",
        description="Find what a sorter would remove, in videos of any length. Cut off, the same "
        "command goes on. With a folder as output: masks as PNG, COCO annotations and the video "
        "with its masks drawn in, at most 360 pixels high; several videos get a folder each in it. "
        "With a video as output: that alone, at full size. Browsers play .webm; .mp4 is quicker to "
        "write. Under torchrun the processes share the videos.",
        epilog="example: tccam segment 1f3a morning.mp4 -o found.webm --threshold 0.4",
    )
    _common(segmenting)
    segmenting.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="a file, or a folder of pictures"
    )
    segmenting.add_argument("-o", "--output", type=Path, required=True, metavar="FILE|DIR",
                            help="a video (.webm, .mp4, .avi), or a folder")  # fmt: skip
    segmenting.add_argument(
        "--threshold", type=float, metavar="T",
        help="of the normalised map; tccam evaluate chooses one where masks are known (a guess: "
        "0.15 for a run with tiles, 0.3 for others, as validation chose in the book's studies)",
    )  # fmt: skip
    segmenting.add_argument(
        "--flow", choices=("dis", "farneback", "none"), default="dis",
        help="neighbouring frames help along this flow; none: each frame alone (dis)",
    )  # fmt: skip
    segmenting.add_argument(
        "--chunk", type=int, default=600, metavar="N", help="frames that share a background (600)"
    )
    segmenting.add_argument(
        "--category", default="illegal", metavar="NAME", help="in the annotations (illegal)"
    )
    segmenting.add_argument("--overwrite", action="store_true", help="a video that is there")
    segmenting.set_defaults(command=_segment)

    explaining = commands.add_parser(
        "explain",
        help="a class activation map over a picture",
        description="Show where a trained network sees the class in a picture.",
        epilog="example: tccam explain 1f3a frame_0042.jpg --background morning.mp4 -o map.png",
    )
    _common(explaining)
    explaining.add_argument("picture", type=Path, metavar="PICTURE")
    explaining.add_argument("--class", dest="label", choices=_CLASSES, default=_CLASSES[0])
    explaining.add_argument(
        "--background", type=Path, metavar="FILE",
        help="the empty belt: a picture, or a video or folder whose median it is",
    )  # fmt: skip
    explaining.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a .png or .jpg (PICTURE-CLASS.png, here)"
    )
    explaining.set_defaults(command=_explain)


def _common(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (cpu)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def _loaded(options: argparse.Namespace, order: str) -> Run:
    run = open_run(options.run, order)
    try:
        run.network.to(options.device)
    except (RuntimeError, AssertionError) as error:
        raise TccamError(f"--device: {options.device!r} cannot be used ({error})") from None
    return run


def _segment(options: argparse.Namespace) -> int:
    output, several = options.output, len(options.videos) > 1
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise TccamError(f"--threshold: expected 0 … 1, got {options.threshold}")
    to_video = output.suffix.lower() in _VIDEOS
    if to_video and several:
        raise TccamError(f"{output}: expected a folder, for {len(options.videos)} videos")
    if not to_video and output.suffix:
        raise TccamError(
            f"{output}: expected a folder, or a name that ends in {' or '.join(_VIDEOS)}"
        )
    if to_video and not output.parent.is_dir():
        raise TccamError(f"{output}: its folder does not exist")
    places = _places(options.videos, output) if several else {options.videos[0]: output}
    import torch

    from tccam.cli.processes import launched

    fabric = launched(options.device)
    if fabric is not None:
        options.device = fabric.device
    run, made = _loaded(options, "tccam segment RUN VIDEO"), {}
    rank, processes = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    if options.threshold is None:
        options.threshold = 0.15 if run.config.method in ("puzzle", "both") else 0.3
        if rank == 0:
            print(f"threshold {options.threshold}, a guess: tccam evaluate chooses one where masks "
                  "are known", file=sys.stderr)  # fmt: skip
    for video in options.videos[rank::processes]:
        try:
            made[video] = _segmented(run, video, places[video], to_video, options, rank == 0)
        except (TccamError, OSError) as error:  # the other videos may be whole
            if not several:
                raise
            print(f"tccam: {error}", file=sys.stderr)
            made[video] = {"error": str(error)}
    if fabric is not None:
        parts: list[dict[str, Any]] = [{}] * processes
        torch.distributed.all_gather_object(parts, made)
        made = {video: facts for part in parts for video, facts in part.items()}
    if rank == 0:
        rows = [{"source": video, **made[video]} for video in options.videos]
        if options.json:
            print(json.dumps(rows if several else made[options.videos[0]]))
        else:
            keys = ("masks", "video", "annotations")
            for line in (row[key] for row in rows for key in keys if key in row):
                print(line)
    return int(any("error" in facts for facts in made.values()))


def _places(videos: Sequence[str], folder: Path) -> dict[str, Path]:
    """A folder for each of several videos: of its name, without the ending."""
    found: dict[Path, str] = {}
    for video in videos:
        path = Path(os.path.abspath(video))
        place = folder / (path.name if path.is_dir() else path.stem)
        if place in found:
            raise TccamError(
                f"{video}: its masks and those of {found[place]} would both go to {place}; give "
                "each a command of its own"
            )
        found[place] = video
    return {video: place for place, video in found.items()}


def _segmented(
    run: Run,
    video: str,
    output: Path,
    to_video: bool,
    options: argparse.Namespace,
    progress: bool,
) -> dict[str, Any]:
    """Write what is found in one video; how many frames, and what was written."""
    from tccam import segmentation
    from tccam.data.folder import open_clip
    from tccam.inference import Window

    clip = open_clip(video)
    overlay = output if to_video else output / "overlay.webm"
    folder = output.with_name(f".{output.name}.masks") if to_video else output / "png"
    if overlay.exists() and overlay.samefile(video):
        raise TccamError(f"{overlay}: this is the video itself; choose another name")
    if to_video and output.exists() and not options.overwrite:
        raise TccamError(f"{output}: it exists; choose another name, or add --overwrite")
    window = None if options.flow == "none" else Window(flow=options.flow)
    masks = segmentation.segment_files(
        run,
        clip,
        folder,
        options.threshold,
        window=window,
        chunk=options.chunk,
        progress=progress,
    )
    if to_video or not overlay.exists() or _made(overlay) < _made(masks[-1]):
        shorter = None if to_video else _SHORTER
        segmentation.write_overlay(overlay, clip, masks, shorter=shorter, progress=progress)
    if to_video:
        segmentation.remove_files(folder)
        return {"frames": len(masks), "video": str(overlay)}
    annotations = output / "annotations.json"
    segmentation.write_annotations(annotations, clip, masks, options.category)
    files = {"masks": folder, "video": overlay, "annotations": annotations}
    return {"frames": len(masks), **{name: str(path) for name, path in files.items()}}


def _made(path: Path) -> int:
    return path.stat().st_mtime_ns


def _explain(options: argparse.Namespace) -> int:
    import cv2
    import numpy as np
    import torch

    from tccam import background, segmentation
    from tccam.data.dataset import resize_picture
    from tccam.data.folder import read_picture
    from tccam.data.precompute import static_picture
    from tccam.files import write_atomic
    from tccam.inference import predict

    run = _loaded(options, "tccam explain RUN PICTURE")
    config = run.config
    number = _CLASSES.index(options.label)
    if number >= config.num_classes:
        raise TccamError(f"--class: the run knows {_CLASSES[: config.num_classes]} alone")
    picture = read_picture(options.picture)
    native = picture.shape[1], picture.shape[2]
    size = (config.data.height or native[0], config.data.width or native[1])
    frame = resize_picture(picture, size)
    if options.background is not None:
        static = static_picture(options.background, size)
    elif config.background == "none":
        static = torch.zeros(3, *size)
    else:
        raise TccamError(
            f"--background: the run was trained without the static background "
            f"({config.background!r}); give the empty belt, or a video of the camera"
        )
    seen = background.clean(frame, static, config.background)
    output = predict(run.network, seen[None])
    stride = run.network.output_stride
    scores = segmentation.frame_scores(output.maps[0, number], size, native, stride)
    chances = dict(zip(_CLASSES, output.logits[0].sigmoid().tolist(), strict=False))
    target = options.output or Path(f"{options.picture.stem}-{options.label}.png")
    levels = (scores * 255).round().to(torch.uint8).numpy()
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_MAGMA)
    grey = cv2.cvtColor(picture.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)[..., None]
    strength = 0.75 * np.sqrt(scores.numpy())[..., None]
    mixed = (grey * (1 - strength) + coloured * strength).round().astype(np.uint8)
    try:
        write_atomic(target, cv2.imencode(target.suffix, mixed)[1].tobytes())
    except cv2.error:
        raise TccamError(f"{target}: expected a name that ends in .png or .jpg") from None
    facts = {"picture": str(target), **{k: round(v, 4) for k, v in chances.items()}}
    if options.json:
        print(json.dumps(facts))
    else:
        print(target, *(f"{k} {v:.2f}" for k, v in chances.items()), sep="  ")
    return 0
