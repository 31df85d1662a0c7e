"""Editions, slides, the archive of notebooks and the PDF, on a small book and on real chapters."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pikepdf
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import bundle  # noqa: E402
import editions  # noqa: E402
import pdf  # noqa: E402
from browser import SITE, new_context, serve  # noqa: E402

CHAPTERS = bundle.chapters()
VENDORED = (ROOT / "book" / "_static" / "vendor" / "reveal.js").is_dir()
# The chapters with the most code, the largest figures, and most of everything.
DECKS = ("the-belt", "puzzle-tiling", "reproduction")
WORD = "Xylographically"
CELL = f"""\
# Tiles

```{{exercise}}
:label: ex-tiles

How many tiles are there?
```

```{{solution}} ex-tiles
:label: sol-tiles
:class: dropdown

{WORD} speaking, count them: there are exactly four of them here.
```

## After

What follows stays.
"""
PAGE = """\
# How to

{bundle}`all notebooks`. See {ref}`the solution <sol-tiles>` of {ref}`ex-tiles`.

::::{edition} student
Only students read this.
::::

::::{edition} self-study teacher
Students do not read this: [](teach/index.md).
::::
"""
TOC = """\
format: jb-book
root: book/index
parts:
  - caption: All
    chapters:
      - file: book/how-to
      - file: notebooks/tiles
  - caption: For teachers
    chapters:
      - file: book/teach/index
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A book of four pages in an edition: the folder of its site."""
    sites = {}

    def build(name):
        if name not in sites:
            folder = tmp_path_factory.mktemp(name)
            (folder / "book" / "teach").mkdir(parents=True)
            (folder / "notebooks").mkdir()
            for part in ("_ext", "_static"):
                (folder / "book" / part).symlink_to(ROOT / "book" / part)
            shutil.copy(ROOT / "book" / "references.bib", folder / "book")
            config = (ROOT / "_config.yml").read_text(encoding="utf-8")
            (folder / "_config.yml").write_text(config, encoding="utf-8")
            (folder / "_toc.yml").write_text(TOC)
            (folder / "book" / "index.md").write_text("# A book\n\nWords.\n")
            (folder / "book" / "how-to.md").write_text(PAGE)
            (folder / "book" / "teach" / "index.md").write_text("# Teaching\n\nWords.\n")
            notebook = json.loads((ROOT / "notebooks" / "the-belt.ipynb").read_bytes())
            notebook["cells"] = [
                {"cell_type": "markdown", "id": "a", "metadata": {}, "source": [CELL]}
            ]
            (folder / "notebooks" / "tiles.ipynb").write_text(json.dumps(notebook))
            book = str(Path(sys.executable).with_name("jupyter-book"))
            command = [book, "build", str(folder), "-W", "-n"]
            done = subprocess.run(
                [*command, "--keep-going"],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "TCCAM_EDITION": name},
            )
            assert done.returncode == 0, done.stderr
            sites[name] = folder / "_build" / "html"
        return sites[name]

    return build


def everything(site):
    """Every text of a site, those in the archive included, and what the search knows."""
    text = ""
    for path in site.rglob("*"):
        if path.suffix in editions.TEXTS and "vendor" not in path.parts:
            text += path.read_text(encoding="utf-8")
    (path,) = site.glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(editions.TEXTS):
                text += archive.read(name).decode()
    return text.lower()


def test_students_get_no_solution(built):
    site = built("student")
    text = everything(site)
    assert WORD.lower() not in text
    assert WORD.lower()[:8] not in (site / "searchindex.js").read_text().lower()
    assert "how many tiles are there" in text
    assert "what follows stays" in text
    assert editions.leaks(site, site.parents[1]) == []


def test_other_editions_have_it_and_the_search_for_leaks_finds_it(built):
    for name in ("self-study", "teacher"):
        site = built(name)
        assert WORD.lower()[:8] in (site / "searchindex.js").read_text().lower()
        files = {leak.partition(":")[0] for leak in editions.leaks(site, site.parents[1])}
        assert {"notebooks/tiles.html", "_sources/notebooks/tiles.ipynb"} <= files


def test_solutions_are_folded_or_open(built):
    page = {
        name: (built(name) / "notebooks" / "tiles.html").read_text()
        for name in ("self-study", "teacher")
    }
    assert 'class="solution dropdown admonition"' in page["self-study"]
    assert 'class="solution admonition"' in page["teacher"]


def test_a_link_to_a_solution_becomes_words(built):
    links = {
        name: re.findall(
            r'<a [^>]*href="([^"]*)"[^>]*><span[^>]*>the solution',
            (built(name) / "book" / "how-to.html").read_text(),
        )
        for name in ("self-study", "student")
    }
    assert len(links["self-study"]) == 1
    assert links["student"] == []
    assert "the solution" in (built("student") / "book" / "how-to.html").read_text()


def test_pages_and_buttons_of_an_edition(built):
    for name in editions.EDITIONS:
        page = (built(name) / "book" / "how-to.html").read_text()
        students = name == "student"
        assert (built(name) / "book" / "teach" / "index.html").is_file() != students
        assert ("Only students read this" in page) == students
        assert ("Students do not read this" in page) != students
        chapter = (built(name) / "notebooks" / "tiles.html").read_text()
        for buttons in ("colab.research.google.com", "mybinder.org"):
            assert (buttons in chapter) != students
        assert 'href="../_sources/notebooks/tiles.ipynb"' in chapter


def test_archive_is_linked_and_there(built):
    for name in editions.EDITIONS:
        file = bundle.file_name(name)
        assert f'href="../{file}"' in (built(name) / "book" / "how-to.html").read_text()
        assert (built(name) / file).is_file()
        assert ("solutions" in file) == (name != "student")


def test_real_book_offers_the_archive():
    if not (SITE / "index.html").is_file():
        pytest.fail("there is no built book: run make html first", pytrace=False)
    file = bundle.file_name("self-study")
    for page in ("index", "how-to-use"):
        assert f'href="../{file}"' in (SITE / "book" / f"{page}.html").read_text()
    with zipfile.ZipFile(SITE / file) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
    assert {f"tccam-notebooks/notebooks/{name}.ipynb" for name in CHAPTERS} <= names


@pytest.fixture(scope="session")
def decks(tmp_path_factory):
    """A folder like that of the edition for teachers, with some decks."""
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "_static").mkdir()
    (folder / "_static" / "vendor").symlink_to(ROOT / "book" / "_static" / "vendor")
    command = [sys.executable, str(ROOT / "tools" / "slides.py"), *DECKS]
    subprocess.run([*command, "--to", str(folder / "slides")], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", DECKS)
def test_nothing_is_larger_than_its_slide(browser, decks, name):
    if not VENDORED:
        pytest.skip("npm was not there: REVEAL.JS COMES FROM THE NETWORK, slides not tested")
    with serve(decks) as address:
        context, elsewhere = new_context(browser)
        tab = context.new_page()
        tab.set_viewport_size({"width": 1280, "height": 720})
        errors = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"{address}/slides/{name}.slides.html", wait_until="load")
        tab.wait_for_selector("body[data-ready]", timeout=60_000)
        large, small, seen = [], [], tab.evaluate("Reveal.getTotalSlides()")
        for number in range(seen):
            bottom, right, zoom, unset = tab.evaluate(
                """() => {
                  const slide = Reveal.getCurrentSlide();
                  const all = [...slide.querySelectorAll("*:not(aside, aside *)")]
                    .map((e) => e.getBoundingClientRect()).filter((r) => r.width && r.height);
                  const most = (side) => Math.max(...all.map((r) => r[side]));
                  return [most("bottom"), most("right"),
                    +slide.style.zoom || 1, /\\$|\\{\\w+\\}`|\\\\xa0/.test(
                      [...slide.querySelectorAll(".jp-RenderedMarkdown")]
                        .map((e) => e.innerText).join(" "))];
                }"""
            )
            if bottom > 721 or right > 1281 or unset:
                large.append((number, bottom, right, unset))
            if zoom < 0.6:
                small.append((number, zoom))
            tab.evaluate("Reveal.next()")
        context.close()
    assert seen >= 15
    assert large == []
    assert small == []
    assert errors == []
    assert elsewhere == []


@pytest.mark.parametrize("words", ["Each axis becomes two", "The lower tiles start at pixel 63"])
def test_answers_are_in_the_notes_alone(decks, words):
    text = (decks / "slides" / "puzzle-tiling.slides.html").read_text(encoding="utf-8")
    notes = re.findall(r'<aside class="notes">.*?</aside>', text, re.DOTALL)
    assert any(words in note for note in notes)
    assert words not in re.sub(r'<aside class="notes">.*?</aside>', "", text, flags=re.DOTALL)


def test_small_book_is_printed(built, browser, tmp_path, monkeypatch):
    site = built("self-study")
    monkeypatch.setattr(pdf, "ROOT", site.parents[1])
    text = pdf.document(site, "self-study")
    with serve(site) as address:
        context, _ = new_context(browser)
        count = pdf.printed(context, address, text, tmp_path / "book.pdf")
        context.close()
    with pikepdf.open(tmp_path / "book.pdf") as book:
        assert count == len(book.pages)
        numbers = pdf._numbers(book)
        with book.open_outline() as outline:
            titles = [item.title for item in outline.root]
    assert titles == ["Contents", "A book", "How to", "Tiles", "Teaching", "Solutions"]
    # A chapter starts on a new page, and the list of contents comes before all of them.
    places = [numbers[f"page-{n}"] for n in (1, 2, 3)] + [numbers["solutions"]]
    assert places == [4, 5, 6, 7]
    assert count == 7
    for anchor in ("page-1", "page-2", "page-3", "solutions"):
        assert f'href="#{anchor}"' in text
    # The answer is at the end, and what leads to it.
    chapter, _, answers = text.partition('id="solutions"')
    assert WORD in answers
    assert WORD not in chapter
    assert re.search(r'href="#(page-2-answer-0)".*id="\1"', text, re.DOTALL)


def test_teachers_find_solutions_in_their_place(built, monkeypatch):
    monkeypatch.setattr(pdf, "ROOT", built("teacher").parents[1])
    text = pdf.document(built("teacher"), "teacher")
    assert 'id="solutions"' not in text
    assert WORD in text


def test_without_a_book_or_chromium_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert pdf.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr(pdf.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(pdf, "site", lambda name: tmp_path)
    assert pdf.main() == 1
    assert "run make html EDITION=self-study first" in capsys.readouterr().err
