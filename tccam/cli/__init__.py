"""The command line: ``tccam study run ablation``.

What takes seconds to import is imported when a command runs, so that help, versions and mistakes
come at once. Only ``tccam train`` has its options from the library, and looks them up when asked.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from tccam.errors import TccamError

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after ``tccam``; those of the process when None.

    Returns:
        The exit status, which is 0, or 1 when something is wrong (one line on stderr says what), or
        130 after Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says, our errors say better
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file may have a name that is no text
            stream.reconfigure(errors="backslashreplace")
    try:
        options = build_parser(words[0] if words else "").parse_args(words)
        status = int(options.command(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    # An OSError is a full disk, a missing permission, a folder where a file belongs.
    except (TccamError, OSError) as error:
        print("tccam:", " ".join(str(error).split("\n")), file=sys.stderr)
        return 1
    except (KeyboardInterrupt, RuntimeError) as error:
        # Up to Python 3.11 one that falls into the making of a class, on import, comes wrapped.
        if not any(isinstance(e, KeyboardInterrupt) for e in (error, error.__cause__)):
            raise
        print(
            "tccam: interrupted; the same command goes on where the last part was saved",
            file=sys.stderr,
        )
        return 130


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands.

    Args:
        command: the one that will be asked for; None for a parser that knows every option and
            choice of all of them, which takes the imports of all.
    """
    # Here, since they take a while to import: Ctrl-C may come as early as that.
    from tccam.cli import apply, completion, data, export, runs, study, train
    from tccam.cli.common import Parser

    parser = Parser(prog="tccam", description="Temporal-consistent class activation maps.")
    parser.add_argument("--version", action="version", version=f"tccam {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data.add(commands, choices=command is None)
    train.add(commands, settings=command in (None, "train"))
    runs.add(commands)
    apply.add(commands)
    export.add(commands)
    study.add(commands, choices=command is None)
    completion.add(commands)
    return parser


def _version() -> str:
    try:
        return version("tccam")
    except PackageNotFoundError:  # a checkout on the path
        return "not installed"
