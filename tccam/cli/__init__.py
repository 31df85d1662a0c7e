"""The command line: ``tccam study run ablation``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from tccam.errors import TccamError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after ``tccam``; those of the process when None.

    Returns:
        The exit status, which is 0, or 1 when something is wrong (one line on stderr says what), or
        130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file may have a name that is no text
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
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
    except KeyboardInterrupt:
        print(
            "tccam: interrupted; the same command goes on where the last part was saved",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    # Here, since they take seconds to import: Ctrl-C may come as early as that.
    from tccam.cli import apply, data, study, train  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="tccam", description="Temporal-consistent class activation maps."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data.add(commands)
    train.add(commands)
    apply.add(commands)
    study.add(commands)
    return parser
