"""The notebooks as one file to download: ``python tools/bundle.py`` writes it.

The archive holds the chapters as the edition (``TCCAM_EDITION``) shows them, the library that they
need, what to install, and the licences. Its bytes depend on what is in it and on nothing else.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from editions import ROOT, edit_notebook, edition, output

__all__ = ["chapters", "file_name", "write"]

LIBRARY = ("pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "tccam", "results")
WHEN = (2026, 1, 1, 0, 0, 0)  # of every file: the archive has no date of its own
README = """\
# Temporal-consistent CAMs: the notebooks

The chapters of the book, {with_solutions}solutions, with their results. In this folder:

    python -m venv env
    env/bin/pip install -r requirements.txt     # Windows: env\\Scripts\\pip
    env/bin/jupyter lab notebooks/{first}.ipynb

Python 3.11 or newer; without a GPU, install torch and torchvision first, from the CPU index that
pytorch.org names, which is a much smaller download. `library` holds the package `tccam` that the
chapters import.

Chapters, in the order of the book:

{order}

`exercises.check(...)` judges an answer offline. Links and quoted numbers ({{glue:text}}) read best
on the pages of the book; the notebooks compute them.

Code: Apache-2.0 (LICENSE). Text and figures: CC BY 4.0 (LICENSE-CC-BY-4.0).
"""


def chapters() -> list[str]:
    """The names of the notebooks, in the order of the book."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [page["file"] for part in toc["parts"] for page in part["chapters"]]
    return [Path(file).name for file in files if file.startswith("notebooks/")]


def file_name(name: str) -> str:
    """The archive of an edition, whose name says whether solutions are in it."""
    return f"tccam-notebooks{'' if name == 'student' else '-with-solutions'}.zip"


def write(path: Path, name: str) -> None:
    """Write the archive of an edition."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in ("student", "teacher"):  # an archive of another edition does not stay behind
        path.with_name(file_name(other)).unlink(missing_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for place, content in sorted(_files(name)):
            entry = zipfile.ZipInfo(f"tccam-notebooks/{place}", WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # as on every machine: the permissions below are Unix's
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, compresslevel=9)


def _files(name: str) -> Iterator[tuple[str, bytes]]:
    order = chapters()
    words = {
        "with_solutions": "without " if name == "student" else "with ",
        "first": order[0],
        "order": "\n".join(f"- {chapter}" for chapter in order),
    }
    yield "README.md", README.format(**words).encode()
    yield "requirements.txt", b"./library[book]\n"
    for licence in ("LICENSE", "LICENSE-CC-BY-4.0"):
        yield licence, (ROOT / licence).read_bytes()
    for chapter in order:
        notebook: dict[str, Any] = json.loads((ROOT / f"notebooks/{chapter}.ipynb").read_bytes())
        text = json.dumps(edit_notebook(notebook, name), ensure_ascii=False, indent=1)
        yield f"notebooks/{chapter}.ipynb", f"{text}\n".encode()
    for part in LIBRARY:
        top = ROOT / part
        for file in [top] if top.is_file() else top.rglob("*"):
            parts = file.relative_to(ROOT).parts
            if file.is_file() and not any(p.startswith((".", "__pycache__")) for p in parts):
                yield f"library/{'/'.join(parts)}", file.read_bytes()


def main() -> int:
    """Write the archive of the edition beside its pages."""
    name = edition()
    path = output(name) / "_build" / file_name(name)
    write(path, name)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
