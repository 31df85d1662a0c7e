"""``python tools/set_repository.py https://github.com/SOMEBODY/NAME``: say where the project lives.

The public address stands once in pyproject.toml, and is copied from there to where readers need it:
buttons, set-up cells, citations, links. This command changes it everywhere at once.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["address", "files", "set_address"]

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")
TEXT = {".md", ".yml", ".yaml", ".toml", ".cff", ".ipynb", ".py", ".bib"}


def address(root: Path = ROOT) -> str:
    """The public address, as pyproject.toml has it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def files(root: Path = ROOT) -> Iterator[Path]:
    """The text files of the project; nothing hidden, built or fetched."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if any(part.startswith((".", "_build")) or part == "vendor" for part in parts):
            continue
        if path.suffix in TEXT and path.is_file():
            yield path


def set_address(new: str, root: Path = ROOT) -> list[Path]:
    """Replace the address in every file; returns the files that changed.

    Raises:
        ValueError: if ``new`` is not the address of a repository on GitHub, which Colab and Binder
            need.
    """
    match = ADDRESS.fullmatch(new)
    if not match:
        raise ValueError(f"expected an address like https://github.com/SOMEBODY/NAME, got {new!r}")
    old = address(root).removeprefix("https://github.com/")
    changed = []
    for path in files(root):
        before = path.read_text(encoding="utf-8")
        # Links to it take the forms github.com/…, colab's github/… and binder's gh/…
        after = re.sub(
            rf"(github\.com|github|gh)/{re.escape(old)}(?![\w-])", rf"\g<1>/{match[1]}", before
        )
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def main() -> int:
    """The command line."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        changed = set_address(sys.argv[1])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path in changed:
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
