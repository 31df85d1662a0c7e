"""What ``exercises.check`` says in notebooks of students: ``python tools/grade.py FOLDER``.

Nothing is run: the table shows what stands under the cells. With ``--run`` every notebook is run
first, in a kernel of its own and from top to bottom. That runs what students wrote, as you.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

from tccam import exercises

__all__ = ["marks", "ran"]

VERDICT = re.compile(r"^([✓✗○]) ([a-z]+\.[a-z-]+):", re.MULTILINE)


def marks(notebook: Any) -> dict[str, str]:
    """The last verdict on each exercise: "✓" right, "✗" not yet, "○" nothing handed in.

    Args:
        notebook: nbformat 4.
    """
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "check(" in cell.source:
            for output in cell.outputs:
                text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
                for sign, name in VERDICT.findall("".join(text)):
                    found[name] = sign
    return found


def ran(notebook: Any, folder: Path, limit: int) -> Any:
    """The notebook with what its cells say now; a cell that fails does not stop the others.

    Args:
        notebook: nbformat 4; it is changed.
        folder: that it runs in.
        limit: seconds that one cell may take.
    """
    from nbclient import NotebookClient  # noqa: PLC0415 - only where notebooks are run

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(
        notebook,
        timeout=limit,
        interrupt_on_timeout=True,
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def main() -> int:
    """Print a table, and write it if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with notebooks, in folders or not")
    parser.add_argument("--run", action="store_true", help="run the notebooks first")
    parser.add_argument("--limit", type=int, default=600, help="seconds a cell, with --run")
    parser.add_argument("--csv", type=Path, help="file to write the table to")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.rglob("*.ipynb"))
    paths = [path for path in paths if ".ipynb_checkpoints" not in path.parts]
    if not paths:
        parser.error(f"{arguments.folder}: there is no notebook in it")
    rows = {}
    for path in paths:
        name = path.relative_to(arguments.folder).as_posix()
        try:
            notebook = nbformat.read(path, as_version=4)
            rows[name] = marks(
                ran(notebook, path.parent, arguments.limit) if arguments.run else notebook
            )
        except Exception as error:  # one broken notebook must not cost the others their marks
            words = str(error) or type(error).__name__
            print(f"{name}: cannot be read or run: {words.splitlines()[0]}", file=sys.stderr)
            rows[name] = {}
    names = [name for name in exercises.catalog() if any(name in row for row in rows.values())]
    table = [["notebook", "right", *names]]
    for name, row in rows.items():
        right = sum(row.get(exercise) == "✓" for exercise in names)
        table.append([name, str(right), *(row.get(exercise, "") for exercise in names)])
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    for line in table:
        print("  ".join(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
