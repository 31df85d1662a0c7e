"""``tccam export``: a trained network for other programs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tccam.cli.common import RUN, Commands, open_run, size
from tccam.errors import TccamError

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    exporting = commands.add_parser(
        "export",
        help="a run as ONNX or as a PyTorch program",
        description="Write the network of a run as ONNX (.onnx) or as a PyTorch program (.pt2). It "
        "takes pictures without their background, float32 (B, 3, H, W), and gives logits (B, C) "
        "and class maps (B, C, h, w); B, H and W are free. ONNX needs the extra "
        '"tccam[export]".',
        epilog="example: tccam export 1f3a -o map.onnx --frames",
    )
    exporting.add_argument("run", metavar="RUN", help=RUN)
    exporting.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                           help="its ending decides: .onnx or .pt2")  # fmt: skip
    exporting.add_argument(
        "--frames",
        action="store_true",
        help="the file takes frames, uint8, and the empty belt, float32 in 0 … 255, and removes "
        "the background itself",
    )
    exporting.add_argument(
        "--size", type=size, metavar="HxW", help="the only size that the file takes (any)"
    )
    exporting.add_argument("--opset", type=int, metavar="N", help="of ONNX (18)")
    exporting.add_argument("--json", action="store_true", help="the result as JSON")
    exporting.set_defaults(command=_export)


def _export(options: argparse.Namespace) -> int:
    if isinstance(options.size, int):
        raise TccamError(f"--size: expected HxW, such as 480x640; got {options.size}")
    from tccam import export

    facts = export.save(
        open_run(options.run, "tccam export RUN -o FILE"),
        options.output,
        size=options.size,
        frames=options.frames,
        opset=export.OPSET if options.opset is None else options.opset,
    )
    print(json.dumps({"file": str(options.output), **facts}) if options.json else options.output)
    return 0
