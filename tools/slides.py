"""Slides of the chapters, by nbconvert: ``python tools/slides.py [NAME ...]``.

They go beside the pages of the edition for teachers, to ``slides/NAME.slides.html``. What is on a
slide is decided by rule: a heading starts one; of a paragraph the first sentence is shown, and all
of it stands in the speaker's notes; formulas, lists and tables are shown; a figure, an explorer, a
question of a quiz and an exercise have slides of their own; code that the page folds is left out;
solutions and answers are notes alone. What does not fit goes on the next slide.
"""

from __future__ import annotations

import argparse
import ast
import html
import json
import math
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import nbformat
import vendor
from bundle import chapters
from editions import ROOT, site
from nbconvert import SlidesExporter
from pybtex.database import parse_file

from tccam import quizzes

__all__ = ["Slide", "blocks", "convert", "deck", "plain"]

Json = dict[str, Any]

HERE = Path(__file__).resolve().parent
NETWORK = "https://cdn.jsdelivr.net/npm"
# Pixels of a slide of 1280×720, as slides.css sets it.
ROOM = 545  # under the heading
WIDTH = 88  # characters of a line
LINE, CODE, ROW = 36, 23, 34
LEAD = 3 * LINE  # of text that may stand above a figure
FULL = 10_000  # an item that wants a slide of its own

FENCE = re.compile(r"^(`{3,}|:{3,})(?:\{([\w:-]+)\}[ \t]*(.*)|.*)$")
ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
LINK = re.compile(r"(?<!!)\[([^\]\[]*)\]\(([^)\s]+)\)")
QUIZ = re.compile(r"notebook\.quiz\(\"(?P<chapter>[\w-]+)\", \"(?P<name>\w+)\"\)")
SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z*_`$\[(])")


@dataclass
class Slide:
    """What is on one slide.

    Attributes:
        heading: its heading; a slide that goes on has that of the one before.
        first: whether the heading starts here, so that the slide starts a column.
        cells: shown, in order.
        notes: Markdown for the speaker.
        used: pixels below the heading, by estimate.
    """

    heading: str
    first: bool
    cells: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    used: int = 0


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """The blocks of a Markdown cell.

    Yields:
        (kind, argument, content): "heading" with its marks, "math", "table", "list", "text",
        "code", or the name of a directive with its argument.
    """
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        line = lines[i]
        if not line.strip():
            i += 1
            continue
        start = i
        if fence := FENCE.match(line):
            i = next(
                (k for k in range(i + 1, len(lines)) if lines[k].rstrip() == fence[1]), len(lines)
            )
            yield fence[2] or "code", (fence[3] or "").strip(), "\n".join(lines[start + 1 : i])
            i += 1
        elif line.startswith("#"):
            marks, _, words = line.partition(" ")
            yield "heading", marks, words
            i += 1
        elif line.startswith("$$"):
            ends = (
                k
                for k in range(i, len(lines))
                if lines[k].rstrip().endswith("$$") and (k > start or len(lines[k].rstrip()) > 2)
            )
            i = next(ends, len(lines) - 1)
            yield "math", "", "\n".join(lines[start : i + 1])
            i += 1
        elif not re.fullmatch(r"\([\w-]+\)=", line.strip()):
            kind = _kind(line)
            while i < len(lines) and (lines[i].strip() or (kind == "list" and _goes_on(lines, i))):
                if i > start and (FENCE.match(lines[i]) or lines[i].startswith(("#", "$$"))):
                    break
                if kind == "text" and i > start and _kind(lines[i]) != "text":
                    break
                i += 1
            yield kind, "", "\n".join(lines[start:i])
        else:
            i += 1


def _kind(line: str) -> str:
    if re.match(r"([-*]|\d+\.) ", line):
        return "list"
    return "table" if line.startswith("|") else "text"


def _goes_on(lines: list[str], i: int) -> bool:
    """Whether a list goes on after an empty line."""
    return i + 1 < len(lines) and bool(re.match(r"  |([-*]|\d+\.) ", lines[i + 1]))


def plain(text: str, glued: dict[str, Json], notebook: str) -> str:
    """Markdown without the roles of the book: numbers resolved, links and citations as words.

    Args:
        text: MyST Markdown.
        glued: what the cells of each notebook have glued, by file name.
        notebook: the file name of the notebook that the text stands in.
    """

    def role(match: re.Match[str]) -> str:
        kind, content = match[1], match[2]
        words = re.fullmatch(r"(.*?)\s*<[^>]*>", content)
        if kind.startswith("glue"):
            return _quoted(content, glued, notebook)
        if kind.startswith("cite"):
            cited = [_cited(key.strip()) for key in content.split(",")]
            if kind == "cite:t":
                return ", ".join(re.sub(r", (?=\d+$)", " (", found) + ")" for found in cited)
            return f"({'; '.join(cited)})"
        if words:
            return words[1]
        if kind in {"ref", "numref"}:
            return "an exercise" if content.startswith("ex-") else "the section above"
        return f"`{content.lstrip('~.!')}`" if kind not in {"term", "doc"} else content

    def link(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if re.match(r"https?:", target):
            return match[0]
        return words or f"*{_title(target)}*"

    return LINK.sub(link, ROLE.sub(role, text))


def _quoted(content: str, glued: dict[str, Json], notebook: str) -> str:
    where, _, name = content.rpartition("::")
    name, _, form = name.partition(":")
    value = ast.literal_eval(glued[Path(where).name or notebook][name])
    return re.sub(r"(?<![\w.])-(?=[\d.])", "−", format(value, form))


@cache
def _bibliography() -> Any:
    return parse_file(str(ROOT / "book" / "references.bib")).entries


def _cited(key: str) -> str:
    entry = _bibliography()[key]
    people = entry.persons["author"]
    name, *others = (" ".join(map(str, person.rich_last_names)) for person in people)
    if len(people) == 2:
        name += f" and {others[0]}"
    return f"{name}{' et al.' if len(people) > 2 else ''}, {entry.fields['year']}"


@cache
def _title(target: str) -> str:
    """The title of a page that a link leads to."""
    path = target.partition("#")[0]
    file = ROOT / path.lstrip("/") if path.startswith("/") else ROOT / "notebooks" / path
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        text = "".join(json.loads(text)["cells"][0]["source"])
    found = re.search(r"^# (.*)", text, re.MULTILINE)
    return found[1].partition(":")[0] if found else file.stem


def _glued(path: Path) -> Json:
    found = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if scrap := output.get("metadata", {}).get("scrapbook"):
                found[scrap["name"]] = "".join(
                    next(v for k, v in output["data"].items() if k.endswith("text/plain"))
                )
    return found


class _Deck:
    """Puts the cells of a chapter on slides."""

    def __init__(self, name: str, glued: dict[str, Json]) -> None:
        self.name, self.glued = f"{name}.ipynb", glued
        self.slides: list[Slide] = []
        order = chapters()
        self.chapter = order.index(name) + 1 if name in order else 0
        self.exercises = 0

    def plain(self, text: str) -> str:
        return plain(text, self.glued, self.name)

    def start(self, heading: str, first: bool = False) -> None:
        if first or not self.slides or self.slides[-1].cells or self.slides[-1].heading != heading:
            self.slides.append(Slide(heading, first))

    def put(self, cell: Json, height: int, note: str = "") -> None:
        slide = self.slides[-1]
        if slide.cells and slide.used + height > ROOM:
            # "In one line:" goes with what it announces.
            announced = len(slide.cells) > 1 and slide.cells[-1]["source"].endswith(":")
            self.slides.append(Slide(slide.heading, False))
            if announced:
                self.slides[-1].cells.append(slide.cells.pop())
                self.slides[-1].used = 2 * LINE
            slide = self.slides[-1]
        slide.cells.append(cell)
        slide.used += height
        if note:
            slide.notes.append(note)

    def alone(self, cell: Json, note: str = "", heading: str | None = None) -> None:
        """Put a cell on a slide of its own; what follows goes under the old heading again."""
        before = self.slides[-1].heading
        self.start(before if heading is None else heading)
        self.put(cell, FULL, note)
        self.slides[-1].used = FULL
        if heading is not None:
            self.slides.append(Slide(before, False))

    def markdown(self, text: str) -> None:
        for kind, argument, content in blocks(text):
            shown = self.plain(content)
            if kind == "heading":
                self.start(shown, first=True) if len(argument) < 3 else self.start(shown)
            elif kind == "text" and self.slides[-1].heading == self.slides[0].heading:
                self.slides[0].notes.append(shown)  # the first slide is the question
            elif kind == "text":
                point = _first_sentence(shown)
                self.put(_prose(point), _height(point), shown)
            elif kind == "list":
                for item in re.split(r"\n(?=(?:[-*]|\d+\.) )", shown):
                    point = _first_sentence(item)
                    self.put(_prose(point), _height(point, 4) - 8, item)
            elif kind == "math":
                rows = content.count(r"\\") + 1
                self.put(_prose(content), 60 + 50 * rows)
            elif kind == "table":
                self.put(_prose(shown), ROW * (shown.count("\n") + 1))
            elif kind == "code":
                self.put(_prose(f"```\n{content}\n```"), CODE * (content.count("\n") + 3))
            elif kind == "exercise":
                body = _without_options(shown)
                self.exercises += 1  # as on the pages
                number = f"{self.chapter}.{self.exercises}"
                self.alone(_box("", body, "exercise"), heading=f"Exercise {number}")
                self.slides.pop()  # its solution follows
            elif kind == "solution":
                body = _without_options(shown)
                self.slides[-1].notes.append(f"**Solution.**\n\n{body}")
                self.slides.append(Slide(self.slides[0].heading, False))
            elif kind == "admonition":
                self.admonition(argument, content)

    def admonition(self, title: str, content: str) -> None:
        body = self.plain(_without_options(content))
        title = self.plain(title)
        if ":class: opening" in content:
            lines = dict(re.findall(r"^\*\*(.+?)\*\*: (.*)$", body, re.MULTILINE))
            self.put(_box("Question", _upper(lines["Question"]), "question"), 0, body)
            aims = lines.get("After this you can", "")
            self.put(_prose(f"**After this you can** {aims}"), 0)
            self.slides[-1].used = FULL
        elif "dropdown" in content:
            self.alone(_box("Check yourself", title, "question"), f"**Answer.** {body}", "")
        else:
            self.alone(_box(title, body, "question"), heading="")

    def quiz(self, chapter: str, name: str) -> None:
        """Each question with its options; which are right, and why, is a note."""
        for question in quizzes.load(chapter)[name]:
            options, told = [], []
            for letter, answer in zip(ascii_lowercase, quizzes.answers(question), strict=False):
                right = "right" if answer.get("correct") else "wrong"
                words = quizzes.option(answer)
                if question["type"] != "numeric":
                    options.append(f"**{letter}.** {words}")
                    told.append(f"**{letter}, {right}.** {answer['feedback']}")
                elif answer.get("correct"):
                    told.append(f"**{words}.** {answer['feedback']}")
            box = _box(quizzes.HEADINGS[name], question["question"], "question")
            shown = _prose("\n\n".join([box.source, *options]))
            self.alone(shown, "\n\n".join(told), "")

    def code(self, cell: Json) -> None:
        tags = set(cell["metadata"].get("tags", []))
        source = re.sub(r"^# NBVAL_\w+_OUTPUT\n", "", "".join(cell["source"]))
        if tags & {"remove-cell", "hide-cell", "parameters"} or source.startswith("try:\n"):
            return
        if asked := QUIZ.search(source):
            self.quiz(asked["chapter"], asked["name"])
            return
        pictures, texts = [], []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                pictures.append(_output("".join(data["text/html"])))
            elif "image/png" in data:
                pictures.append(_output(_figure(cell, "".join(data["image/png"]), self)))
            elif output["output_type"] == "stream" and output["name"] == "stdout":
                texts.append(output)
        printed = "".join("".join(output["text"]) for output in texts)
        if "hide-input" not in tags:
            height = CODE * (source.count("\n") + 1) + 40
            self.put(_code(source), height)
        if printed and "hide-input" not in tags:
            self.put(_printed(printed), CODE * (printed.count("\n") + 1) + 20)
        for picture in pictures:
            slide = self.slides[-1]
            if slide.cells and slide.used <= LEAD:  # a sentence or two may stand above it
                picture.outputs[0].data["text/html"] = f'<div class="below">{_html(picture)}</div>'
                slide.cells.append(picture)
                slide.used = FULL
            else:
                self.alone(picture)


def _first_sentence(text: str) -> str:
    """The beginning of a paragraph, up to the end of a sentence."""
    text = text.strip()
    for match in SENTENCE.finditer(text):
        head = text[: match.start()]
        if (
            head.count("$") % 2 == head.count("`") % 2 == head.count("**") % 2 == 0
            and len(head) > 60
        ):
            return head
    return text


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _height(text: str, less: int = 0) -> int:
    length = len(re.sub(r"[*`$\\]|\b(mathrm|frac|bigl|bigr|left|right)\b", "", text))
    return LINE * math.ceil(length / (WIDTH - less)) + 18


def _without_options(text: str) -> str:
    return re.sub(r"^:[\w-]+:.*\n?", "", text, flags=re.MULTILINE).strip()


def _script(folder: str) -> str:
    """Where slides find a script: beside the pages, or in the network."""
    package = next(package for package in vendor.PACKAGES if package.folder == folder)
    there = (vendor.VENDOR / folder).is_dir()
    return f"../_static/vendor/{folder}" if there else f"{NETWORK}/{package.name}"


def _prose(text: str) -> Json:
    return nbformat.v4.new_markdown_cell(text)


def _box(title: str, body: str, kind: str) -> Json:
    head = f"**{title}**\n\n" if title else ""
    return _prose(f'<div class="box {kind}">\n\n{head}{body}\n\n</div>')


def _html(cell: Json) -> str:
    return str(cell["outputs"][0]["data"]["text/html"])


def _output(shown: str) -> Json:
    cell = nbformat.v4.new_code_cell("")
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": shown})]
    cell.metadata["transient"] = {"remove_source": True}
    return cell


def _printed(text: str) -> Json:
    return _output(f'<pre class="printed">{html.escape(text.rstrip())}</pre>')


def _code(source: str) -> Json:
    return nbformat.v4.new_code_cell(source.rstrip())


def _figure(cell: Json, data: str, deck: _Deck) -> str:
    about = cell["metadata"].get("mystnb", {})
    words = html.escape(about.get("image", {}).get("alt", ""), quote=True)
    caption = deck.plain(about.get("figure", {}).get("caption", ""))
    caption = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", html.escape(caption, quote=False))
    caption = re.sub(r"`([^`]+)`", r"<code>\1</code>", caption)
    data = data.replace("\n", "")
    return (
        f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def deck(notebook: Json, name: str, glued: dict[str, Json]) -> list[Slide]:
    """The slides of a chapter.

    Args:
        notebook: nbformat 4.
        name: of the chapter.
        glued: what the notebooks have glued, by file name.
    """
    made = _Deck(name, glued)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            made.markdown("".join(cell["source"]))
        else:
            made.code(cell)
    return [slide for slide in made.slides if slide.cells]


def convert(slides: Iterable[Slide], title: str) -> str:
    """Slides as one HTML page, by nbconvert.

    Args:
        slides: in order.
        title: of the page.
    """
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["title"] = title
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    for number, slide in enumerate(slides):
        marks = "#" if number == 0 else "##"
        cells = [_prose(f"{marks} {slide.heading}")] if slide.heading else []
        cells += slide.cells
        for place, cell in enumerate(cells):
            kind = ("slide" if slide.first else "subslide") if place == 0 else "-"
            cell.metadata["slideshow"] = {"slide_type": kind}
        if slide.notes:
            notes = _prose("\n\n".join(slide.notes))
            notes.metadata["slideshow"] = {"slide_type": "notes"}
            cells.append(notes)
        notebook.cells += cells
    for number, cell in enumerate(notebook.cells):
        cell.id = f"slide-{number}"  # nbformat draws them at random
    exporter = SlidesExporter(
        raw_template=(HERE / "slides.html.j2").read_text(encoding="utf-8"),
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=False,
    )
    exporter.reveal_theme = "../reset"  # the themes load fonts from the network; slides.css is ours
    exporter.reveal_url_prefix = _script("reveal.js")
    mathjax = _script("mathjax")
    body, _ = exporter.from_notebook_node(
        notebook, {"mathjax": f"{mathjax}/es5/tex-mml-chtml.js", "metadata": {"name": title}}
    )
    return str(body)


def main() -> int:
    """Write the decks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="of chapters; all if there is none")
    parser.add_argument("--to", type=Path, default=site("teacher") / "slides", help="folder")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(chapters()):
        parser.error(f"no chapter {', '.join(sorted(unknown))}")
    arguments.to.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "slides.css", arguments.to / "slides.css")
    glued = {path.name: _glued(path) for path in ROOT.glob("notebooks/*.ipynb")}
    for name in arguments.names or chapters():
        notebook = json.loads((ROOT / f"notebooks/{name}.ipynb").read_bytes())
        slides = deck(notebook, name, glued)
        title = slides[0].heading
        (arguments.to / f"{name}.slides.html").write_text(convert(slides, title), encoding="utf-8")
        print(f"{name}: {len(slides)} slides")
    return 0


if __name__ == "__main__":
    sys.exit(main())
