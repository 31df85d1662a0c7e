"""``tccam completion``: commands and options at the press of a key."""

from __future__ import annotations

import argparse

from tccam.cli.common import Commands

__all__ = ["add"]

_FILES = ("FILE", "PICTURE", "VIDEO", "FILE|DIR")


def add(commands: Commands) -> None:
    """Add the command."""
    completing = commands.add_parser(
        "completion",
        help="completion for your shell",
        description="Print a script that lets the shell complete commands, options and files.",
        epilog="example: tccam completion bash > ~/.local/share/bash-completion/completions/tccam",
    )
    completing.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="bash|zsh|tcsh")
    completing.set_defaults(command=_complete)


def _complete(options: argparse.Namespace) -> int:
    import shtab

    from tccam.cli import build_parser

    parser = build_parser()
    _mark(parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(parser, options.shell))
    return 0


def _mark(parser: argparse.ArgumentParser, file: object, folder: object) -> None:
    """Say which arguments are files, by what the help calls them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _mark(inner, file, folder)
        elif action.metavar in _FILES or action.metavar == "DIR":
            action.complete = folder if action.metavar == "DIR" else file  # type: ignore[attr-defined]
