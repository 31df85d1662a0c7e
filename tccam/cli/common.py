"""What the commands share: their parser, and words that several of them take or say."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tccam.errors import TccamError

if TYPE_CHECKING:
    from tccam.training import Run

__all__ = ["RUN", "SHORT", "TILES", "Commands", "Parser", "counted", "open_run", "size"]

#: What the help says about RUN.
RUN = "its name, the first digits, or its folder (see: tccam runs)"
#: Preset → pixels of a picture's shorter side, and what its sides are multiples of, so that 2×2
#: tiles of whole cells divide them.
SHORT = {"fast": 128, "full": 512}
TILES = {"fast": 32, "full": 64}

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """A parser that answers for what it was given.

    Python's own hands unknown words up to the top-level parser, whose usage helps nobody.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse everything, or exit with this command's usage."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def size(text: str) -> int | tuple[int, int]:
    """``512``, the shorter side, or ``480x640``, height and width."""
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected N or HxW, such as 512 or 480x640; got {text!r}")
    return (int(match[1]), int(match[2])) if match[2] else int(match[1])


def counted(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def open_run(name: str, order: str) -> Run:
    """A finished run.

    Args:
        name: what the user gave.
        order: the command as it should be, for who gave a video or folder in its place.
    """
    from tccam.training import load_run

    try:
        return load_run(name)
    except TccamError as error:
        path = Path(name)
        if (path.suffix or path.exists()) and not (path / "run.json").exists():
            raise TccamError(f"{error}; RUN comes first: {order}") from None
        raise
