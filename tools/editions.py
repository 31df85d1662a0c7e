"""The three editions of the book, and what a solution is.

``TCCAM_EDITION`` names the edition that is built: ``self-study`` (solutions are folded),
``student`` (there are none, and no pages for teachers) or ``teacher`` (they are open).
``python tools/editions.py`` looks for solutions in the built edition for students.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

__all__ = [
    "EDITIONS",
    "ROOT",
    "edit",
    "edit_notebook",
    "edition",
    "labels",
    "leaks",
    "output",
    "site",
]

ROOT = Path(__file__).resolve().parent.parent
EDITIONS = ("self-study", "student", "teacher")

SOLUTION = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{solution\}[ \t]+\S+[ \t]*\n(?P<body>.*?)^(?P=fence)[ \t]*$\n*",
    re.MULTILINE | re.DOTALL,
)
SHORTEST = 24  # letters and digits of a piece of a solution that is looked for
TEXTS = (".html", ".ipynb", ".md", ".js", ".json", ".txt", ".py")


def edition() -> str:
    """The edition that ``TCCAM_EDITION`` asks for; self-study where it says nothing.

    Raises:
        ValueError: if there is no such edition.
    """
    name = os.environ.get("TCCAM_EDITION") or "self-study"
    if name not in EDITIONS:
        raise ValueError(f"TCCAM_EDITION: expected one of {', '.join(EDITIONS)}, got {name!r}")
    return name


def output(name: str) -> Path:
    """The folder of an edition, in which Jupyter Book makes ``_build``."""
    return ROOT if name == "self-study" else ROOT / "_build" / name


def site(name: str) -> Path:
    """The folder of an edition's pages."""
    return output(name) / "_build" / "html"


def edit(text: str, name: str) -> str:
    """A page or cell as an edition shows it.

    Args:
        text: MyST Markdown.
        name: of the edition.

    Raises:
        ValueError: if a solution is written in a way that this function does not understand. It
            would be left in the book for students.
    """
    if len(SOLUTION.findall(text)) != text.count("{solution"):
        raise ValueError(
            f"cannot tell where this solution ends:\n{text[text.index('{solution') :]}"
        )
    if name == "student":
        return SOLUTION.sub("", text)
    if name == "teacher":
        return SOLUTION.sub(lambda m: m[0].replace(":class: dropdown\n", "", 1), text)
    return text


def edit_notebook(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """A notebook as an edition shows it: a new one, in which sources are lists of lines."""
    cells = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        source = edit(text, name) if cell["cell_type"] == "markdown" else text
        if source or not text:
            cells.append({**cell, "source": source.splitlines(keepends=True)})
    return {**notebook, "cells": cells}


@cache
def labels(folder: Path = ROOT) -> set[str]:
    """The labels of solutions, to which a page may link."""
    bodies = "\n".join(m["body"] for text in _prose(folder) for m in SOLUTION.finditer(text))
    return set(re.findall(r"^:label: *(\S+)", bodies, re.MULTILINE))


def leaks(built: Path, source: Path = ROOT) -> list[str]:
    """Words of solutions in the files of a site, archives included.

    Args:
        built: the site.
        source: the folder of the book. What its other texts or its library say as well is no leak.

    Returns:
        "file: words" for every find.
    """
    bodies = [m["body"] for text in _prose(source) for m in SOLUTION.finditer(text)]
    known = "".join(_bare(edit(text, "student")) for text in _prose(source, code=True))
    for path in [*source.glob("tccam/**/*.py"), *source.glob("tccam/**/*.json")]:
        known += _bare(path.read_text(encoding="utf-8"))
    # Pages mark words up; what lies between two marks stays in one piece.
    pieces = {piece for body in bodies for piece in re.split(r"[`$*{}\[\]<>|()\n]|:label:", body)}
    secrets = {_bare(piece): piece.strip() for piece in pieces if len(_bare(piece)) >= SHORTEST}
    secrets = {bare: piece for bare, piece in secrets.items() if bare not in known}
    return [
        f"{name}: {piece}"
        for name, text in _texts(built)
        for bare, piece in secrets.items()
        if bare in text
    ]


def _prose(folder: Path, code: bool = False) -> Iterator[str]:
    """The Markdown of every page and cell, and the code of cells as well if that is asked for."""
    for path in sorted([*folder.glob("notebooks/*.ipynb"), *folder.glob("book/**/*.md")]):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            yield text
        else:
            cells = json.loads(text)["cells"]
            for cell in cells:
                if code or cell["cell_type"] == "markdown":
                    yield "".join(cell["source"])


def _bare(text: str) -> str:
    """Letters and digits alone."""
    return re.sub(r"[\W_]+", "", text).lower()


def _texts(built: Path) -> Iterator[tuple[str, str]]:
    """The bare text of every file, and of those in archives."""
    for path in sorted(built.rglob("*")):
        name = path.relative_to(built).as_posix()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.endswith(TEXTS):
                        yield f"{name}/{member}", _shown(archive.read(member).decode(), member)
        elif path.suffix in TEXTS and "vendor" not in path.parts:
            yield name, _shown(path.read_text(encoding="utf-8"), name)


def _shown(text: str, name: str) -> str:
    if name.endswith(".html"):
        text = html.unescape(re.sub(r"<[^>]*>", "", text))
    elif name.endswith(".ipynb"):
        text = "".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return _bare(text)


def main() -> int:
    """Refuse an edition for students that holds a solution."""
    found = leaks(site("student"))
    for leak in found:
        print(leak, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
