"""The three editions of the book, and what a solution is.

``TCCAM_EDITION`` names the edition that is built: ``self-study`` (solutions are folded),
``student`` (there are none, and no pages for teachers) or ``teacher`` (they are open).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["EDITIONS", "ROOT", "edition", "edit", "edit_notebook", "labels", "output", "site"]

ROOT = Path(__file__).resolve().parent.parent
EDITIONS = ("self-study", "student", "teacher")

SOLUTION = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{solution\}[ \t]+(?P<of>\S+)[ \t]*\n(?P<body>.*?)^(?P=fence)[ \t]*$\n*",
    re.MULTILINE | re.DOTALL,
)


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
        raise ValueError(f"cannot tell where this solution ends:\n{text[text.index('{solution') :]}")
    if name == "student":
        return SOLUTION.sub("", text)
    if name == "teacher":
        return SOLUTION.sub(lambda m: m[0].replace(":class: dropdown\n", "", 1), text)
    return text


def edit_notebook(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """A notebook as an edition shows it: a new one, in which sources are lists of lines."""

    def lines(cell: dict[str, Any], change: Callable[[str], str]) -> list[str]:
        return change("".join(cell["source"])).splitlines(keepends=True)

    cells = []
    for cell in notebook["cells"]:
        prose = cell["cell_type"] == "markdown"
        source = lines(cell, lambda text: edit(text, name) if prose else text)
        if source or not cell["source"]:
            cells.append({**cell, "source": source})
    return {**notebook, "cells": cells}


def labels(folder: Path = ROOT) -> set[str]:
    """The labels of solutions, to which a page may link."""
    found: set[str] = set()
    for path in [*folder.glob("notebooks/*.ipynb"), *folder.glob("book/**/*.md")]:
        text = path.read_text(encoding="utf-8")
        if "{solution" not in text:
            continue
        cells = json.loads(text)["cells"] if path.suffix == ".ipynb" else [{"source": text}]
        for cell in cells:
            for match in SOLUTION.finditer("".join(cell["source"])):
                found |= set(re.findall(r"^:label: *(\S+)", match["body"], re.MULTILINE))
    return found
