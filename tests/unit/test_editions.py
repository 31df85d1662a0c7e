"""What the editions, the archive, the slides and the marks are made of."""

import doctest
import importlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name
sys.path.append(str(ROOT / "book" / "_ext"))

import bundle  # noqa: E402
import editions  # noqa: E402
import grade  # noqa: E402
import slides  # noqa: E402
import tccam_teach  # noqa: E402

from tccam import exercises, quizzes  # noqa: E402

CHAPTERS = bundle.chapters()
FOLDED = "before\n\n```{solution} ex-a\n:class: dropdown\n\nforty-two\n```\n\nafter\n"


def notebook(name):
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_bytes())


@pytest.mark.parametrize("name", ["access", "sharing", "terms", "tccam_book"])
def test_examples_of_the_book_s_own_code_hold(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.failed == 0
    assert found.attempted or name == "tccam_book"


def test_a_solution_is_folded_left_out_or_open():
    assert editions.edit(FOLDED, "self-study") == FOLDED
    assert editions.edit(FOLDED, "student") == "before\n\nafter\n"
    assert editions.edit(FOLDED, "teacher") == FOLDED.replace(":class: dropdown\n", "")


def test_a_fence_ends_where_its_own_length_stands_again():
    text = "````{solution} ex-a\n\n```python\nx = 42\n```\n````\nafter"
    assert editions.edit(text, "student") == "after"


@pytest.mark.parametrize(
    "text", ["```{solution} ex-a\nforty-two\n", "```{solution-start} ex-a\n```\nforty-two\n"]
)
def test_a_solution_without_a_clear_end_is_refused(text):
    for name in editions.EDITIONS:
        with pytest.raises(ValueError, match="cannot tell where this solution ends"):
            editions.edit(text, name)


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapters_lose_their_solutions_and_nothing_else(name):
    whole, short = notebook(name), editions.edit_notebook(notebook(name), "student")
    text = json.dumps(short)
    assert "{solution" in json.dumps(whole)
    assert "{solution" not in text
    assert text.count("{exercise}") == json.dumps(whole).count("{exercise}")
    code = [c["source"] for c in whole["cells"] if c["cell_type"] == "code"]
    assert [c["source"] for c in short["cells"] if c["cell_type"] == "code"] == code


def test_unknown_edition_is_refused(monkeypatch):
    monkeypatch.setenv("TCCAM_EDITION", "students")
    with pytest.raises(ValueError, match="TCCAM_EDITION: expected one of self-study, student"):
        editions.edition()
    monkeypatch.setenv("TCCAM_EDITION", "")
    assert editions.edition() == "self-study"


def test_archive_is_the_same_whenever_it_is_made(tmp_path):
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    bundle.write(first, "student")
    bundle.write(second, "student")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 15e6
    assert editions.leaks(tmp_path) == []
    with zipfile.ZipFile(first) as archive:
        names = set(archive.namelist())
        assert len(names) == len(archive.namelist())
        archive.extractall(tmp_path / "there")
    top = tmp_path / "there" / "tccam-notebooks"
    for name in CHAPTERS:
        nbformat.validate(nbformat.read(top / "notebooks" / f"{name}.ipynb", as_version=4))
    for name in ("README.md", "requirements.txt", "LICENSE", "LICENSE-CC-BY-4.0"):
        assert f"tccam-notebooks/{name}" in names
    code = "import tccam.study, sys; assert sys.argv[1] in tccam.__file__"
    done = subprocess.run(
        [sys.executable, "-c", code, str(top)],
        env={"PYTHONPATH": str(top / "library"), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_archive_for_readers_has_solutions(tmp_path):
    bundle.write(tmp_path / "a.zip", "self-study")
    found = editions.leaks(tmp_path)
    assert len({leak.partition(":")[0] for leak in found}) == len(CHAPTERS)


def test_markdown_falls_into_blocks():
    text = "# A\nWords: one.\n- a\n  b\n\n  c\n- d\n\n$$\nx\n$$\n\n:::{tip} T\nin\n:::\n|a|\n|-|\n"
    assert list(slides.blocks(text)) == [
        ("heading", "#", "A"),
        ("text", "", "Words: one."),
        ("list", "", "- a\n  b\n\n  c\n- d"),
        ("math", "", "$$\nx\n$$"),
        ("tip", "T", "in"),
        ("table", "", "|a|\n|-|"),
    ]


def test_roles_become_words():
    glued = {"a.ipynb": {"x": "-0.1234", "name": "'a\\xa0b'"}}
    text = (
        "{glue:text}`x:.2f` {glue:text}`name` {glue:text}`/notebooks/a.ipynb::x:.1f` "
        "{cite}`zhou2016` {cite:t}`marelli2025` [](the-belt.ipynb) [the belt](the-belt.ipynb#x) "
        "[out](https://example.org) {ref}`words <sec-a>` {func}`~tccam.cam.explain`"
    )
    assert slides.plain(text, glued, "a.ipynb").split(" ", 3)[:3] == ["−0.12", "a\xa0b", "−0.1"]
    rest = slides.plain(text, glued, "a.ipynb").split(" ", 3)[3]
    assert rest == (
        "(Zhou et al., 2016) Marelli et al. (2025) *The belt* the belt "
        "[out](https://example.org) words `tccam.cam.explain`"
    )


def test_slides_follow_the_rules():
    cells = [
        nbformat.v4.new_markdown_cell(
            "# T: t\n\n:::{admonition} Before\n:class: opening\n**Question**: why?\n:::\n\nIntro."
        ),
        nbformat.v4.new_markdown_cell(
            "## One\n\n" + "A first sentence that is long enough to stand alone on any slide, yes. "
            "The rest is for the speaker."
        ),
        nbformat.v4.new_code_cell("shown = 1"),
        nbformat.v4.new_code_cell("folded = 1", metadata={"tags": ["hide-input"]}),
        nbformat.v4.new_markdown_cell(
            "```{exercise}\n:label: ex-a\n\nDo it.\n```\n\n```{solution} ex-a\n\nDone.\n```\n"
        ),
    ]
    made = slides.deck({"cells": cells}, "puzzle-tiling", {})
    shown = [[cell["source"] for cell in slide.cells] for slide in made]
    assert [slide.heading for slide in made] == ["T: t", "One", "Exercise 4.1"]
    assert "Why?" in shown[0][0]
    assert "Intro." in made[0].notes
    assert shown[1][0].endswith("slide, yes.")
    assert "speaker" in made[1].notes[0]
    assert shown[1][1:] == ["shown = 1"]
    assert "Do it." in shown[2][0]
    assert made[2].notes == ["**Solution.**\n\nDone."]
    page = slides.convert(made, "T")
    assert page == slides.convert(slides.deck({"cells": cells}, "puzzle-tiling", {}), "T")
    assert page.count('<aside class="notes">') == 3


def test_each_question_has_a_slide_and_its_answers_are_notes():
    cells = [
        nbformat.v4.new_markdown_cell("# T: t\n\nIntro."),
        nbformat.v4.new_code_cell('notebook.quiz("the-belt", "check")'),
    ]
    made = slides.deck({"cells": cells}, "the-belt", {})
    questions = quizzes.load("the-belt")["check"]
    assert len(made) == len(questions)
    for slide, question in zip(made, questions, strict=True):
        shown = "".join(cell["source"] for cell in slide.cells)
        (told,) = slide.notes
        assert question["question"] in shown
        for answer in question["answers"]:
            assert answer["feedback"] not in shown
            if "answer" in answer:
                assert answer["answer"] in shown
                assert answer["feedback"] in told


def test_marks_are_read_from_notebooks(tmp_path):
    def handed_in(*texts):
        cells = []
        for text in texts:
            cell = nbformat.v4.new_code_cell('exercises.check("puzzle.tile", mine)')
            data = {"text/plain": text}
            cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
            cells.append(cell)
        return nbformat.v4.new_notebook(cells=cells)

    right = handed_in("✗ puzzle.tile: not yet.", "✓ puzzle.tile: right in all 4 cases.")
    assert grade.marks(right) == {"puzzle.tile": ("✓", "right in all 4 cases.")}
    (tmp_path / "in").mkdir()
    nbformat.write(right, tmp_path / "in" / "a.ipynb")
    nbformat.write(handed_in("○ puzzle.tile: nothing"), tmp_path / "in" / "b.ipynb")
    wrong = handed_in("✗ puzzle.loss: not yet. It is the\n    inverse of tile.\nFound: no")
    nbformat.write(wrong, tmp_path / "in" / "d.ipynb")
    (tmp_path / "in" / "c.ipynb").write_text("no notebook")
    command = [sys.executable, str(ROOT / "tools" / "grade.py"), str(tmp_path / "in")]
    done = subprocess.run(
        [*command, "--csv", str(tmp_path / "marks.csv")],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (tmp_path / "marks.csv").read_text(encoding="utf-8").splitlines()
    assert rows == [
        "notebook,right,puzzle.tile,puzzle.loss",
        "a.ipynb,1,✓,",
        "b.ipynb,0,○,",
        "c.ipynb,0,,",
        "d.ipynb,0,,✗",
    ]
    assert "c.ipynb: cannot be read" in done.stderr
    shown = done.stdout.splitlines()
    assert len({line.index(sign) for line, sign in zip(shown[1:3], "✓○", strict=True)}) == 1
    assert shown[-1] == "d.ipynb: puzzle.loss: not yet. It is the inverse of tile."


def test_marks_can_be_taken_from_a_run(tmp_path):
    sources = (
        "1 / 0",
        "from tccam import exercises, puzzle\nexercises.check('puzzle.tile', puzzle.tile)\n'more'",
        "print('✓ puzzle.loss: right in all 4 cases.')  # check(",
        "from tccam.exercises import check\ncheck('puzzle.loss', lambda *_: 1)\n'more'",
    )
    forged = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    found = grade.ran(forged, tmp_path, 60)
    assert {exercise: mark.sign for exercise, mark in found.items()} == {
        "puzzle.tile": "✓",
        "puzzle.loss": "✗",
    }
    assert found["puzzle.loss"].words.startswith("not yet. ")


def test_a_notebook_without_the_library_is_no_zero(tmp_path):
    notebook = nbformat.v4.new_notebook()
    (tmp_path / "tccam.py").write_text("raise ImportError")
    with pytest.raises(RuntimeError, match="tccam cannot be imported"):
        grade.ran(notebook, tmp_path, 60)


def test_a_warning_at_import_costs_no_marks(tmp_path):
    (tmp_path / "tccam.py").write_text(
        "import sys\nsys.stderr.write('slow')\nclass exercises:\n    check = print\n"
    )
    assert grade.ran(nbformat.v4.new_notebook(), tmp_path, 60) == {}


def test_lessons_take_the_minutes_that_they_say():
    text = (ROOT / "book" / "teach" / "lessons.md").read_text(encoding="utf-8")
    plans = text.split("\n```{tccam-chapter} ")[1:]
    assert [plan.partition("\n")[0] for plan in plans] == CHAPTERS
    for plan in plans:
        rows = re.findall(r"^\| (\d+|–) \| (\d+|–) \| .*\w", plan, re.MULTILINE)[1:]
        for column, total in enumerate((45, 90)):
            assert sum(int(row[column].replace("–", "0")) for row in rows) == total


def test_teachers_see_every_misconception_with_a_hint():
    text = "".join(tccam_teach._graders(tccam_teach._exercises(n), "") for n in CHAPTERS)
    cases = [case for exercise in exercises.catalog().values() for case in exercise.cases]
    rows = [line for line in text.splitlines() if line.count(" | ") == 2]
    assert len(rows) == len(cases) + len(CHAPTERS)  # a header each
    for case in cases:
        row = f"{tccam_teach._plain(case.misconception)} | {tccam_teach._plain(case.hints[-1])} |"
        assert row in text


def test_teachers_see_wrong_answers_of_quizzes():
    question = {
        "question": "How many?",
        "answers": [
            {"answer": "`4`", "correct": True, "feedback": "Yes."},
            {"answer": "2|3", "correct": False, "feedback": "Count\nagain."},
            {"range": [5, 9], "correct": False, "feedback": "Fewer."},
        ],
    }
    rows = tccam_teach._distractors([question]).splitlines()[2:4]
    assert rows == ["| How many? | 2\\|3 | Count again. |", "|  | 5 … 9 | Fewer. |"]
