"""Lint for chapters: what would be wrong on the page, or silently not tested.

``python tools/check_notebooks.py``             every chapter, and the pages that quote them
``python tools/check_notebooks.py the-belt``    this one alone

Each finding is one line: file, cell (counted from 0), line in the cell, sentence. A chapter whose
outputs are not those of today's library is one line as well (see ``stamps.py``). The exit status is
1 when there is one. ``ruff check`` and ``ruff format`` read notebooks by themselves.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import stamps
from check_quizzes import check_quizzes, check_shown
from normalise import PROGRESS, Json, dumps, normalise, outputs_of, traces
from setup_cell import LINES

from tccam.errors import TccamError
from tccam.quizzes import load

__all__ = ["Finding", "check_notebook", "check_quotes", "check_setup", "glued", "quizzes_of"]

ROOT = Path(__file__).resolve().parent.parent
QUIZZES = ROOT / "tccam" / "quizzes"
LONGEST_CELL = 25
MARKERS = ("# NBVAL_CHECK_OUTPUT", "# NBVAL_IGNORE_OUTPUT")
BOX = ("Time and memory", "You need", "After this you can", "Question")
# Broken up, so that this file does not name them itself.
REGISTRIES = re.compile(r"py[p]i\.org|python[h]osted|registry\.npm[j]s|deb\.debi[a]n")
PARAMETER = re.compile(r"[A-Z][A-Z0-9_]*")
QUOTE_ROLE = re.compile(r"\{glue:?(?P<kind>\w*)\}`(?P<text>[^`]+)`")
QUOTE_BLOCK = re.compile(r"^[`:]{3,}\{glue:?\w*\}[ \t]+(?P<text>\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """Something to mend: the file, the cell and line it is in (0 and 1 are the first), and what."""

    file: str
    cell: int
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}: cell {self.cell}, line {self.line}: {self.sentence}"


def check_notebook(path: Path, notebook: Json) -> list[Finding]:
    """What is wrong with one chapter by itself."""
    name = f"notebooks/{path.name}"
    rules = (
        _markers,
        _outputs,
        _parameters,
        _opening_box,
        _figures,
        _cells,
        _folded,
        _hosts,
        traces,
        _duplicate_glue,
    )
    findings = [
        Finding(name, found[0], found[1] if len(found) == 3 else 1, found[-1])
        for rule in rules
        for found in rule(notebook)
    ]
    if path.read_text(encoding="utf-8") != dumps(normalise(notebook, path.stem)):
        findings.append(Finding(name, 0, 1, "it is not normalised: make notebooks regenerates it"))
    return sorted(findings, key=lambda finding: (finding.cell, finding.line))


def check_setup(path: Path, notebook: Json) -> list[Finding]:
    """A set-up cell that is not everybody's would be tried in no environment."""
    index, cell = next(_code(notebook), (0, {"source": ""}))
    wanted, found = LINES.splitlines(), cell["source"].splitlines()
    for number, line in enumerate(wanted, 1):
        if found[number - 1 : number] != [line]:
            sentence = f"the first code cell starts as tools/setup_cell.py has it: {line.strip()}"
            return [Finding(f"notebooks/{path.name}", index, number, sentence)]
    return []


def check_quotes(pages: Iterable[Path], chapters: dict[str, set[str]]) -> list[Finding]:
    """Numbers in prose that no cell has glued.

    Args:
        pages: notebooks and Markdown files.
        chapters: the glued names of each notebook, by file name.
    """
    findings = []
    for path in pages:
        for index, text in _prose(path):
            for match in _quotes(text):
                chapter, _, name = match["text"].rpartition("::")
                chapter = Path(chapter).name or path.name
                if match.groupdict().get("kind") == "text":  # the rest is a number's format
                    name = name.partition(":")[0]
                if name not in chapters.get(chapter, set()):
                    line = text.count("\n", 0, match.start()) + 1
                    file = f"{path.parent.name}/{path.name}"
                    sentence = f"no cell of {chapter} glues {name!r}"
                    findings.append(Finding(file, index, line, sentence))
    return findings


def quizzes_of(chapter: str, notebook: Json | None) -> list[Finding]:
    """What is wrong with the quizzes of a chapter, and where it does not show them.

    Args:
        chapter: its name.
        notebook: None when there is no such chapter.
    """
    file, quizzes = f"tccam/quizzes/{chapter}.json", {}
    findings = []
    if (QUIZZES / f"{chapter}.json").is_file():
        if notebook is None:
            return [Finding(file, 0, 1, "there is no chapter of this name")]
        try:
            quizzes = load(chapter)
        except TccamError as error:
            return [Finding(file, 0, 1, str(error))]
        findings = [Finding(file, 0, 1, sentence) for sentence in check_quizzes(quizzes)]
    for index, sentence in check_shown(chapter, notebook or {"cells": []}, quizzes):
        findings.append(Finding(f"notebooks/{chapter}.ipynb", index, 1, sentence))
    return findings


def glued(notebook: Json) -> Iterator[tuple[int, str]]:
    """The names that cells glue, as (cell index, name)."""
    for index, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            scrap = output.get("metadata", {}).get("scrapbook")
            if scrap:
                yield index, scrap["name"]


Found = Iterator[tuple[int, int, str]]


def _code(notebook: Json) -> Iterator[tuple[int, Json]]:
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            yield index, cell


def _markers(notebook: Json) -> Found:
    """Nbval ignores a marker with anything after it, without a word."""
    checked = False
    for index, cell in _code(notebook):
        for number, line in enumerate(cell["source"].splitlines(), 1):
            if not re.match(r"\s*#+\s*(NBVAL|PYTEST_VALIDATE)", line, re.IGNORECASE):
                continue
            if line not in MARKERS:
                yield index, number, f"not a marker of ours ({', '.join(MARKERS)}): {line.strip()}"
            elif number > 1:
                yield index, number, "a marker comes first in its cell"
        if MARKERS[0] in cell["source"].splitlines():
            checked = True
            texts = list(outputs_of(cell))
            if not texts:
                yield index, 1, "its output is checked, but it has none"
            for mime, text in texts:
                if mime.startswith("image/"):
                    yield index, 1, "nbval does not compare pictures: print what it shows"
                elif match := re.search(r"\d\.\d{7,}", text):
                    yield index, 1, f"round what is checked: {match[0]}"
    if not checked:
        yield 0, 1, f"nbval checks nothing in it: no cell starts with {MARKERS[0]}"


def _outputs(notebook: Json) -> Found:
    """A committed chapter is one that ran through."""
    if not any(cell["outputs"] for _, cell in _code(notebook)):
        yield 0, 1, "it has no outputs: make notebooks regenerates it"
    for index, cell in _code(notebook):
        for mime, text in outputs_of(cell):
            if mime == "error":
                yield index, 1, f"an error is its output: {text.splitlines()[0]}"
            if PROGRESS.search(text):
                yield index, 1, "a progress bar is in its output: send it to stderr"


def _parameters(notebook: Json) -> Found:
    """Papermill overrides one cell, which holds one typed assignment a line."""
    tagged = [(i, c) for i, c in _code(notebook) if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        yield 0, 1, f"{len(tagged)} cells are tagged 'parameters'; there has to be one"
    for index, cell in tagged:
        try:
            statements = ast.parse(cell["source"]).body
        except SyntaxError as error:
            yield index, error.lineno or 1, "the parameters are not Python"
            continue
        for statement in statements:
            if not (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and PARAMETER.fullmatch(statement.target.id)
                and statement.value is not None
                and statement.lineno == statement.end_lineno
            ):
                yield index, statement.lineno, "a parameter is one line like SEED: int = 0"


def _opening_box(notebook: Json) -> Found:
    """The first cell says what the chapter takes and gives."""
    first = notebook["cells"][0] if notebook["cells"] else {"cell_type": "", "source": ""}
    if first["cell_type"] != "markdown" or not first["source"].startswith("# "):
        yield 0, 1, "a chapter opens with a Markdown cell whose first line is its title"
        return
    if not re.search(r"^:class: .*\bopening\b", first["source"], re.MULTILINE):
        yield 0, 1, "its first cell has no box of the class 'opening'"
    for name in BOX:
        if not re.search(rf"^\*\*{name}\b", first["source"], re.MULTILINE):
            yield 0, 1, f"its opening box has no line that starts with **{name}**"


def _figures(notebook: Json) -> Found:
    """A picture has a caption and a name, and words for those who cannot see it."""
    for index, cell in _code(notebook):
        if not any(mime.startswith("image/") for mime, _ in outputs_of(cell)):
            continue
        meta = cell["metadata"].get("mystnb", {})
        for part, key in (("figure", "caption"), ("figure", "name"), ("image", "alt")):
            if not str(meta.get(part, {}).get(key, "")).strip():
                yield index, 1, f"its picture lacks the metadata mystnb.{part}.{key}"


def _cells(notebook: Json) -> Found:
    """Chapters are thin, and no tag hides a failure."""
    for index, cell in _code(notebook):
        lines = [line for line in cell["source"].splitlines() if line.strip()]
        if len(lines) > LONGEST_CELL:
            yield index, 1, f"{len(lines)} lines of code; a cell has at most {LONGEST_CELL}"
        tags = cell["metadata"].get("tags", [])
        for tag in {"raises-exception", "skip-execution", "injected-parameters"}.intersection(tags):
            yield index, 1, f"the tag {tag!r} has no place in a committed chapter"


def _folded(notebook: Json) -> Found:
    """The page shows what teaches: how a figure is drawn is folded, what is only glued is gone."""
    for index, cell in _code(notebook):
        tags = set(cell["metadata"].get("tags", []))
        mimes = [mime for mime, _ in outputs_of(cell)]
        if any(mime.startswith("image/") for mime in mimes) and "hide-input" not in tags:
            yield index, 1, "it draws a picture: the tag 'hide-input' folds its code on the page"
        if _only_glues(cell["source"]) and "remove-cell" not in tags:
            yield index, 1, "it only glues: the tag 'remove-cell' takes it off the page"


def _only_glues(source: str) -> bool:
    """Whether a cell is calls of ``notebook.glue`` and loops around them."""

    def glues(statement: ast.stmt) -> bool:
        if isinstance(statement, ast.For):
            return all(isinstance(s, ast.Assign) or glues(s) for s in statement.body)
        call = statement.value if isinstance(statement, ast.Expr) else None
        return isinstance(call, ast.Call) and ast.unparse(call.func) == "notebook.glue"

    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic
        return False
    return bool(body) and all(glues(statement) for statement in body)


def _hosts(notebook: Json) -> Found:
    """Package installers know where to look; a chapter does not tell them."""
    for index, cell in enumerate(notebook["cells"]):
        for text in (cell["source"], *(text for _, text in outputs_of(cell))):
            if match := REGISTRIES.search(text):
                yield index, 1, f"the name of a package registry: {match[0]}"


def _duplicate_glue(notebook: Json) -> Found:
    """One name, one value."""
    seen = set()
    for index, name in glued(notebook):
        if name in seen:
            yield index, 1, f"{name!r} is glued twice"
        seen.add(name)


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """A file's Markdown, as (cell index, text)."""
    if path.suffix == ".md":
        yield 0, path.read_text(encoding="utf-8")
        return
    for index, cell in enumerate(nbformat.read(path, as_version=4)["cells"]):
        if cell["cell_type"] == "markdown":
            yield index, cell["source"]
        else:
            caption = cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "")
            yield index, caption


def _quotes(text: str) -> Iterator[re.Match[str]]:
    yield from QUOTE_ROLE.finditer(text)
    yield from QUOTE_BLOCK.finditer(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 when there is something to mend."""
    parser = argparse.ArgumentParser(description="Look for what is wrong in chapters.")
    parser.add_argument("names", nargs="*", help="chapters; all when none is named")
    names = [Path(name).stem for name in parser.parse_args(arguments).names]
    notebooks: dict[Path, Json] = {}
    findings = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            notebooks[path] = nbformat.read(path, as_version=4)
        except Exception as error:  # nbformat has a dozen ways to say it
            findings.append(Finding(f"notebooks/{path.name}", 0, 1, f"not a notebook: {error}"))
    for path, notebook in notebooks.items():
        if not names or path.stem in names:
            findings += check_notebook(path, notebook)
            findings += check_setup(path, notebook)
    chapters = {p.name: {name for _, name in glued(n)} for p, n in notebooks.items()}
    findings += check_quotes([*notebooks, *sorted((ROOT / "book").rglob("*.md"))], chapters)
    books = {path.stem: notebook for path, notebook in notebooks.items()}
    for chapter in sorted({*books, *(path.stem for path in QUIZZES.glob("*.json"))}):
        if not names or chapter in names:
            findings += quizzes_of(chapter, books.get(chapter))
    stale = {k: v for k, v in stamps.stale(ROOT).items() if not names or k in names}
    for line in [*map(str, findings), *stamps.lines(stale)]:
        print(line)
    return 1 if findings or stale else 0


if __name__ == "__main__":
    sys.exit(main())
