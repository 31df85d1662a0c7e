"""What the pages for teachers take from the chapters, so that nothing of it is typed twice.

``{tccam-chapter} NAME`` says what a chapter takes and offers: measured run time, explorers,
exercises, quizzes, slides. ``{tccam-misconceptions}`` lists what students believe, from the graders
and the quizzes, with the words that answer it; ``{tccam-decks}`` links to the slides.
"""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import tccam_editions  # noqa: F401 - it brings the tools into the path
from bundle import chapters
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tccam_book import ROOT, STATUS
from tccam_book import _parsed as parsed

from tccam import exercises, widgets
from tccam.exercises import Exercise

QUIZZES = ROOT / "tccam" / "quizzes"
GRADERS = ROOT / "tccam" / "exercises"


class Chapter(SphinxDirective):
    """What a lesson on a chapter can use."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A list with a name for each line."""
        name = self.arguments[0]
        if name not in chapters():
            raise self.error(f"there is no chapter {name!r}")
        for path in (STATUS, _path(name), QUIZZES / f"{name}.json"):
            self.env.note_dependency(str(path))
        code, prose = _cells(name)
        graded = re.findall(r"exercises\.check\(\s*[\"']([\w.-]+)", code)
        texts = re.findall(r"\{exercise\}.*?:label: (\S+)", prose, re.DOTALL)
        by_label = {exercise.label: exercise.name for exercise in exercises.catalog().values()}
        tasks = [
            f"{{ref}}`{label}`" + (" (graded)" if by_label.get(label) in graded else "")
            for label in texts
        ]
        known = [w for w in widgets.__all__ if w != "Explorer" and re.search(rf"\b{w}\(", code)]
        lines = {
            "Alone, it runs in": _cost(name),
            "Explorers": ", ".join(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", w).lower() for w in known),
            "Exercises": ", ".join(tasks),
            "Quiz": ", ".join(
                f"{len(questions)} under *{part}*" for part, questions in _quizzes(name).items()
            ),
            "Slides": _deck(self, name),
        }
        rows = "".join(f"**{what}**: {found}  \n" for what, found in lines.items() if found)
        return parsed(self, f":::{{div}} lesson-facts\n{rows}:::\n")


class Misconceptions(SphinxDirective):
    """What students believe, chapter by chapter."""

    def run(self) -> list[nodes.Node]:
        """A section for each chapter: a table of the graders, and one of the quizzes."""
        for path in [*GRADERS.glob("*.py"), *QUIZZES.glob("*.json"), *map(_path, chapters())]:
            self.env.note_dependency(str(path))
        text = ""
        for name in chapters():
            own = _exercises(name)
            quizzes = [q for questions in _quizzes(name).values() for q in questions]
            if own or quizzes:
                title = re.search(r"^# (.*)", _cells(name)[1], re.MULTILINE)
                assert title  # the words of the link, as the list of sections has no others
                text += f"## [{title[1]}](/notebooks/{name}.ipynb)\n\n"
                text += _graders(own, _cells(name)[1]) if own else ""
                text += _distractors(quizzes) if quizzes else ""
        return parsed(self, text)


class Decks(SphinxDirective):
    """A link to the slides of every chapter."""

    def run(self) -> list[nodes.Node]:
        """A table in the edition for teachers, and a sentence in the others."""
        if self.config.tccam_edition != "teacher":
            return parsed(self, "`make book-teacher` makes the slides, and links them here.\n")
        rows = "".join(
            f"| [](/notebooks/{name}.ipynb) | {_deck(self, name)} |\n" for name in chapters()
        )
        return parsed(self, f"| chapter | slides |\n|---|---|\n{rows}\n")


def _path(name: str) -> Path:
    return ROOT / "notebooks" / f"{name}.ipynb"


@cache
def _cells_of(path: Path, _changed: int) -> tuple[str, str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    of = {"code": "", "markdown": "", "raw": ""}
    for cell in cells:
        of[cell["cell_type"]] += "".join(cell["source"]) + "\n"
    return of["code"], of["markdown"]


def _cells(name: str) -> tuple[str, str]:
    """All code, and all prose of a chapter."""
    path = _path(name)
    return _cells_of(path, path.stat().st_mtime_ns)


def _quizzes(name: str) -> dict[str, list[dict[str, Any]]]:
    path = QUIZZES / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _cost(name: str) -> str:
    run = json.loads(STATUS.read_text()).get(name) if STATUS.is_file() else None
    if "seconds" not in (run or {}):
        return "a time that was not measured yet"
    minutes, seconds = divmod(round(run["seconds"]), 60)
    time = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    memory = f"{run['peak_mib'] * 2**20 / 1e9:.1f} GB"
    return f"{time}, {memory} ({run['machine']['cores']} cores, {run['date']})"


def _deck(directive: SphinxDirective, name: str) -> str:
    if directive.config.tccam_edition != "teacher":
        return ""
    up = "../" * directive.env.docname.count("/")
    # A plain link: MyST would look for a page of the book.
    return f'<a href="{up}slides/{name}.slides.html">{name}.slides.html</a>'


def _exercises(name: str) -> tuple[Exercise, ...]:
    """The graded exercises of a chapter: its graders have a module of its name."""
    module = f"tccam.exercises.{name.replace('-', '_')}"
    if importlib.util.find_spec(module) is None:
        return ()
    found: tuple[Exercise, ...] = importlib.import_module(module).EXERCISES
    return found


def _graders(found: tuple[Exercise, ...], prose: str) -> str:
    table = "| exercise | what the student believes | the last hint |\n|---|---|---|\n"
    for exercise in found:
        there = f":label: {exercise.label}\n" in prose
        where = f"{{ref}}`{exercise.label}`, " if there else ""
        where += f"`{exercise.name}`"
        for case in exercise.cases:
            words = f"{_plain(case.misconception)} | {_plain(case.hints[-1])}"
            table += f"| {where} | {words} |\n"
            where = ""
    return f"{table}\n"


def _distractors(questions: list[dict[str, Any]]) -> str:
    table = "| question | wrong answer | what the book replies |\n|---|---|---|\n"
    for question in questions:
        asked = _cell(question["question"])
        for answer in question["answers"]:
            given = answer.get("answer", answer.get("value", answer.get("range", "any other")))
            if not answer.get("correct") and answer.get("feedback"):
                if isinstance(given, list):
                    given = " … ".join(map(str, given))
                table += f"| {asked} | {_cell(str(given))} | {_cell(answer['feedback'])} |\n"
                asked = ""
    return f"{table}\n"


def _plain(text: str) -> str:
    """Words for a cell of a table, whose only markup is `code`."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    words = (re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", part) for part in parts[::2])
    code = (part.replace("|", "\\|") for part in parts[1::2])
    return "".join(chain.from_iterable(zip_longest(words, code, fillvalue="")))


def _cell(text: str) -> str:
    """Markdown for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("tccam-chapter", Chapter)
    app.add_directive("tccam-misconceptions", Misconceptions)
    app.add_directive("tccam-decks", Decks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
