"""``tccam segment`` and ``tccam explain``: what a trained network sees in your videos."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tccam.cli.common import RUN, Commands, Parser, counted, open_run
from tccam.errors import TccamError

if TYPE_CHECKING:
    from tccam.training import Run

__all__ = ["add"]

_CLASSES = ("before", "after", "background")
_VIDEOS = (".mp4", ".avi")


def add(commands: Commands) -> None:
    """Add both commands."""
    segmenting = commands.add_parser(
        "segment",
        help="masks for a video",
        description="Find what a sorter would remove, in a video of any length. Cut off, the same "
        "command goes on. With a folder as output: masks as PNG, COCO annotations and the video "
        "with its masks laid over it; with a video as output: that video alone.",
        epilog="example: tccam segment 1f3a morning.mp4 -o found.mp4 --threshold 0.4",
    )
    _common(segmenting)
    segmenting.add_argument("video", metavar="VIDEO", help="a file, or a folder of pictures")
    segmenting.add_argument("-o", "--output", type=Path, required=True, metavar="FILE|DIR",
                            help="a video (.mp4, .avi), or a folder")  # fmt: skip
    segmenting.add_argument(
        "--threshold", type=float, default=0.5, metavar="T",
        help="of the normalised map (0.5; tccam evaluate chooses one where masks are known)",
    )  # fmt: skip
    segmenting.add_argument(
        "--flow", choices=("dis", "farneback", "none"), default="dis",
        help="neighbouring frames help along this flow; none: each frame alone (dis)",
    )  # fmt: skip
    segmenting.add_argument(
        "--chunk", type=int, default=600, metavar="N", help="frames that share a background (600)"
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
    if not 0 <= options.threshold <= 1:
        raise TccamError(f"--threshold: expected 0 … 1, got {options.threshold}")
    output = options.output
    to_video = output.suffix.lower() in _VIDEOS
    if not to_video and output.suffix:
        raise TccamError(
            f"{output}: expected a folder, or a name that ends in {' or '.join(_VIDEOS)}"
        )
    if to_video and not output.parent.is_dir():
        raise TccamError(f"{output}: its folder does not exist")
    from tccam import segmentation
    from tccam.data.folder import open_clip
    from tccam.inference import Window

    run = _loaded(options, "tccam segment RUN VIDEO")
    clip = open_clip(options.video)
    folder = output.with_name(f".{output.name}.masks") if to_video else output / "masks"
    for path in (output, output / "overlay.mp4"):
        if path.exists() and path.samefile(options.video):
            raise TccamError(f"{path}: this is the video itself; choose another name")
    if to_video and output.exists() and not options.overwrite:
        raise TccamError(f"{output}: it exists; choose another name, or add --overwrite")
    window = None if options.flow == "none" else Window(flow=options.flow)
    masks = segmentation.segment_files(
        run, clip, folder, options.threshold, window=window, chunk=options.chunk
    )
    print(f"{counted(len(masks), 'mask')}; writing the video", file=sys.stderr)
    made: dict[str, str | int] = {"frames": len(masks)}
    if to_video:
        segmentation.write_overlay(output, clip, masks)
        segmentation.remove_files(folder)
        files = {"video": str(output)}
    else:
        segmentation.write_overlay(output / "overlay.mp4", clip, masks)
        segmentation.write_annotations(output / "annotations.json", clip, masks)
        files = {
            "masks": str(folder),
            "video": str(output / "overlay.mp4"),
            "annotations": str(output / "annotations.json"),
        }
    print(json.dumps(made | files) if options.json else "\n".join(files.values()))
    return 0


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
