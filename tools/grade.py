"""What ``exercises.check`` says in notebooks of students: ``python tools/grade.py FOLDER``.

Nothing is run: the table shows what stands under the cells. With ``--run`` every notebook is run
first, in a kernel of its own and from top to bottom, and what its checks return is what counts.
That runs what students wrote, as you. Below the table stands what is missing where one says ✗.
"""

from __future__ import annotations

import argparse
import csv
import re
import secrets
import sys
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from tccam import exercises

__all__ = ["Mark", "marks", "ran"]

VERDICT = re.compile(r"^([✓✗○]) ([a-z]+\.[a-z-]+): (.*(?:\n {4}.*)*)", re.MULTILINE)
KIND = "application/vnd.tccam.verdict+json"
#: Runs before a notebook's own cells: every check then says what it found under a word that
#: nobody knows beforehand, so that a text which looks like a verdict counts for nothing.
WITNESS = f"""\
def _witness(check):
    def checked(*arguments, **options):
        from IPython.display import display

        found = check(*arguments, **options)
        said = {{"word": "WORD", "text": found.text}}
        display({{"{KIND}": said, "text/plain": ""}}, raw=True)
        return found

    return checked

from tccam import exercises as _exercises
_exercises.check = _witness(_exercises.check)
del _witness, _exercises
"""


class Mark(NamedTuple):
    """What a check said: "✓" right, "✗" not yet, "○" nothing handed in; and its first sentences."""

    sign: str
    words: str


def marks(notebook: Any, word: str = "") -> dict[str, Mark]:
    """The last verdict on each exercise.

    Args:
        notebook: nbformat 4.
        word: of a notebook that :func:`ran` has run; otherwise what stands under cells counts.
    """
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and (word or "check(" in cell.source):
            for output in cell.outputs:
                data = output.get("data", {})
                if word:
                    said = data.get(KIND, {})
                    text = said["text"] if said.get("word") == word else ""
                else:
                    text = "".join(output.get("text", "") or data.get("text/plain", ""))
                for sign, name, words in VERDICT.findall(text):
                    found[name] = Mark(sign, " ".join(words.split()))
    return found


def ran(notebook: Any, folder: Path, limit: int) -> dict[str, Mark]:
    """The marks of a notebook that is run now; a cell that fails does not stop the others.

    Args:
        notebook: nbformat 4; it is changed.
        folder: that it runs in.
        limit: seconds that one cell may take.
    """
    from nbclient import NotebookClient  # noqa: PLC0415 - only where notebooks are run

    word = secrets.token_hex()
    witness = nbformat.v4.new_code_cell(WITNESS.replace("WORD", word))
    notebook.cells.insert(0, witness)
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
    client.execute()
    if any(output.output_type == "error" for output in witness.outputs):
        raise RuntimeError("tccam cannot be imported in its kernel")
    return marks(notebook, word)


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
            if arguments.run:
                rows[name] = ran(notebook, path.parent, arguments.limit)
            else:
                rows[name] = marks(notebook)
        except Exception as error:  # one broken notebook must not cost the others their marks
            words = str(error) or type(error).__name__
            print(f"{name}: cannot be read or run: {words.splitlines()[0]}", file=sys.stderr)
            rows[name] = {}
    names = [name for name in exercises.catalog() if any(name in row for row in rows.values())]
    table = [["notebook", "right", *names]]
    for name, row in rows.items():
        signs = [row[exercise].sign if exercise in row else "" for exercise in names]
        table.append([name, str(signs.count("✓")), *signs])
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(map(str.ljust, line, widths)).rstrip())
    for name, row in rows.items():
        for exercise, mark in row.items():
            if mark.sign == "✗":
                print(f"{name}: {exercise}: {mark.words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
