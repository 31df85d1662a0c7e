"""Whether a chapter still shows what the library computes.

When a chapter has run, ``tools/regenerate.py`` leaves a stamp in ``book/status.json``: hashes of
its code cells, of its outputs, and of every file that it depends on. These are the modules of the
library that it imports, and those that they import; the scripts and tables beside such a module;
the recorded studies and the quiz that it names. A chapter is stale when one of them has changed.
Markdown, and the comments, docstrings and layout of the library, outdate nothing. A hash depends
neither on the machine nor on line endings nor on the version of Python.

``python tools/stamps.py`` names what is stale; ``make lint`` and ``make html`` do the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from setup_cell import LINES

__all__ = ["dependencies", "inputs", "lines", "outputs", "stale"]

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
STATUS = Path("book", "status.json")
#: More than these in one line, and the line only counts the rest.
NAMED = 3


def inputs(path: Path, root: Path = ROOT) -> Json:
    """What a chapter is made from: the half of its stamp that is known before it runs.

    Args:
        path: the notebook.
        root: of the checkout.

    Returns:
        "code", the hash of its cells, and "files", the hash of each file that it depends on.
    """
    notebook = nbformat.read(path, as_version=4)
    # Its first lines are the same everywhere, do nothing here, and hold the public address.
    code = [cell["source"].removeprefix(LINES) for cell in _cells(notebook)]
    names = {file.relative_to(root).as_posix(): file for file in dependencies(path, root)}
    return {"code": _hash(code), "files": {name: _file(names[name]) for name in sorted(names)}}


def outputs(notebook: Json) -> str:
    """The hash of all that a chapter shows, the state of its widgets included."""
    shown = [cell["outputs"] for cell in _cells(notebook)]
    return _hash([shown, notebook["metadata"].get("widgets", {})])


def stale(root: Path = ROOT) -> dict[str, str]:
    """The chapters that have to run again, and why: a sentence without a full stop."""
    path = root / STATUS
    status: Json = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    found = {}
    for chapter in sorted((root / "notebooks").glob("*.ipynb")):
        stamp = status.get(chapter.stem, {}).get("stamp")
        if stamp is None:
            found[chapter.stem] = "it has no stamp yet"
        elif changed := list(_changed(chapter, stamp, root)):
            names, more = ", ".join(changed[:NAMED]), len(changed) - NAMED
            names += f" and {more} more" if more > 0 else ""
            found[chapter.stem] = f"{names} changed since {stamp['date']}"
    return found


def lines(found: dict[str, str]) -> list[str]:
    """What :func:`stale` found, one line a chapter, with the command that mends it."""
    return [
        f"notebooks/{name}.ipynb is stale: {why}: make notebooks NOTEBOOKS={name}"
        for name, why in found.items()
    ]


def dependencies(path: Path, root: Path = ROOT) -> set[Path]:
    """The files that a chapter's outputs depend on, beside the notebook itself."""
    from tccam.store import _imported  # noqa: PLC0415 - PyTorch is slow

    imported, texts = _names(path)
    found = _imported(root, sorted(imported))
    for folder in {module.parent for module in found}:
        found |= {file for file in folder.iterdir() if _is_data(file)}
    chapters = {_key(chapter) for chapter in path.parent.glob("*.ipynb")} - {_key(path)}
    for file in (root / "tccam").rglob("*"):  # what carries its name is a chapter's own
        if _key(file) == _key(path) and (file.suffix == ".py" or _is_data(file)):
            found.add(file)
    found = {file for file in found if _key(file) not in chapters}
    for file in (root / "results").glob("*"):
        if _is_data(file) and file.stem.removesuffix("-curves") in texts:
            found.add(file)
    return found


def _key(path: Path) -> str:
    return path.stem.replace("_", "-")


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix != ".py" and not path.name.startswith(".")


def _cells(notebook: Json) -> Iterator[Json]:
    yield from (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def _names(path: Path) -> tuple[set[str], set[str]]:
    """What a notebook imports of the library, and every text in its code."""
    from tccam.store import _imports  # noqa: PLC0415

    plain = TransformerManager()
    imported, texts = set(), set()
    for cell in _cells(nbformat.read(path, as_version=4)):
        source = plain.transform_cell(cell["source"])
        try:
            tree = ast.parse(source)
        except SyntaxError:  # who runs the chapter hears of it
            continue
        imported |= {name for name in _imports(source) if name.partition(".")[0] == "tccam"}
        values = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        texts |= {value for value in values if isinstance(value, str)}
    return imported, texts


def _changed(chapter: Path, stamp: Json, root: Path) -> Iterator[str]:
    """What is not as it was when the chapter ran."""
    now = inputs(chapter, root)
    if now["code"] != stamp["code"]:
        yield "its code"
    if outputs(nbformat.read(chapter, as_version=4)) != stamp["outputs"]:
        yield "its outputs"
    before = stamp["files"]
    yield from sorted(
        name for name in before.keys() | now["files"] if before.get(name) != now["files"].get(name)
    )


def _file(path: Path) -> str:
    """A hash of a module's code, or of another file's text or bytes."""
    from tccam.store import _code  # noqa: PLC0415

    data = path.read_bytes()
    if path.suffix == ".py":
        data = _code(data.decode("utf-8"))
    elif b"\0" not in data:
        data = data.replace(b"\r\n", b"\n")
    return hashlib.sha256(data).hexdigest()[:12]


def _hash(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


def main() -> int:
    """The command line; the exit status is 1 when a chapter is stale."""
    found = lines(stale())
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
