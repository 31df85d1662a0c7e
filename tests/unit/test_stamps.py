"""Stamps of chapters, on a small book with a small library in a temporary folder."""

import json
import re
import shutil
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tccam.store import _code

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import check_notebooks  # noqa: E402
import regenerate  # noqa: E402
import stamps  # noqa: E402
from normalise import dumps, normalise  # noqa: E402
from setup_cell import LINES  # noqa: E402

FILES = {
    "tccam/__init__.py": "",
    "numpy/__init__.py": "",  # as where the library is installed
    "tccam/puzzle.py": """
        '''Tiles.'''
        import numpy
        from tccam.cam import explain

        def tile(x):
            '''A tile.'''
            # as it was
            return explain(x)
    """,
    "tccam/cam.py": "def explain(x):\n    return 2 * x\n",
    "tccam/flow.py": "def warp(x):\n    return x\n",
    "tccam/widgets/__init__.py": "",
    "tccam/widgets/core.js": "const a = 1;\n",
    "tccam/quizzes/one.json": "{}\n",
    "tccam/quizzes/two.json": "{}\n",
    "tccam/exercises/__init__.py": "from tccam.exercises import one, two\n",
    "tccam/exercises/one.py": "answer = 1\n",
    "tccam/exercises/two.py": "answer = 2\n",
    "results/ablation.csv": "arm,iou\nplain,0.5\n",
    "results/ablation-curves.csv": "threshold\n0.5\n",
    "results/motion.csv": "arm\n",
}
NUMBER = {"application/papermill.record/text/plain": "0.5"}


def chapter(*sources):
    cells = [
        new_markdown_cell("# A chapter\n\n**Time and memory**: not measured yet"),
        new_code_cell(f"{LINES}\nfrom tccam import exercises, puzzle"),
        *map(new_code_cell, sources),
    ]
    return new_notebook(cells=cells)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Chapters *one* and *two*, which have just run."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks").mkdir()
    sources = {
        "one": ["%matplotlib inline\nnotebook.recorded('ablation')", "puzzle.tile(1)"],
        "two": ["from tccam.widgets import core", "print('motion')"],
    }
    for name, cells in sources.items():
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.write_text(dumps(normalise(chapter(*cells), name)), encoding="utf-8")

    def run_apart(source, target, parameters):
        made = nbformat.read(source, as_version=4)
        made.cells[-1].outputs = [new_output("display_data", data=NUMBER)]
        nbformat.write(made, target)
        return regenerate.Measured(3, 100)

    monkeypatch.setattr(regenerate, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(regenerate, "STATUS", tmp_path / "book" / "status.json")
    monkeypatch.setattr(regenerate, "_run_apart", run_apart)
    monkeypatch.setattr(check_notebooks, "ROOT", tmp_path)
    assert regenerate.main(["--jobs", "2"]) == 0
    return tmp_path


def edit(book, name, before, after):
    path = book / name
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def status(book):
    return json.loads((book / "book" / "status.json").read_text(encoding="utf-8"))


def test_a_chapter_that_has_run_is_fresh(book):
    assert stamps.stale(book) == {}
    assert list(status(book)["one"]) == ["stamp"]  # two at a time: nothing was measured


def test_a_chapter_depends_on_what_it_imports_and_names(book):
    names = {
        name: set(found["stamp"]["files"]) - {"tccam/__init__.py", "tccam/exercises/__init__.py"}
        for name, found in status(book).items()
    }
    library = {"tccam/puzzle.py", "tccam/cam.py"}
    own = {"tccam/quizzes/{}.json", "tccam/exercises/{}.py"}
    one = {"results/ablation.csv", "results/ablation-curves.csv"}
    two = {"results/motion.csv", "tccam/widgets/__init__.py", "tccam/widgets/core.js"}
    assert names["one"] == library | one | {name.format("one") for name in own}
    assert names["two"] == library | two | {name.format("two") for name in own}


@pytest.mark.parametrize(
    ("name", "before", "after", "which", "why"),
    [
        ("tccam/cam.py", "2 *", "3 *", ["one", "two"], "tccam/cam.py"),
        ("tccam/widgets/core.js", "1", "2", ["two"], "tccam/widgets/core.js"),
        ("tccam/quizzes/one.json", "{}", "[]", ["one"], "tccam/quizzes/one.json"),
        ("tccam/exercises/two.py", "2", "3", ["two"], "tccam/exercises/two.py"),
        ("results/ablation.csv", "0.5", "0.6", ["one"], "results/ablation.csv"),
        ("notebooks/one.ipynb", "tile(1)", "tile(2)", ["one"], "its code"),
        ("notebooks/one.ipynb", '"0.5"', '"0.6"', ["one"], "its outputs"),
        ("notebooks/one.ipynb", "# A chapter", "# Another", [], ""),
        ("notebooks/one.ipynb", "--no-deps", "--other", ["one"], "its code"),
        ("tccam/flow.py", "return x", "return -x", [], ""),
        ("tccam/puzzle.py", "A tile.", "One tile.", [], ""),
        ("tccam/puzzle.py", "# as it was\n", "\n\n", [], ""),
        ("results/motion.csv", "arm", "seed", ["two"], "results/motion.csv"),
    ],
)
def test_a_change_makes_those_stale_that_it_concerns(book, name, before, after, which, why):
    edit(book, name, before, after)
    found = stamps.stale(book)
    assert list(found) == which
    assert all(re.fullmatch(rf"{why} changed since \d{{4}}-\d\d-\d\d", s) for s in found.values())


def test_what_is_new_or_gone_counts_as_well(book):
    (book / "results" / "ablation.json").write_text("{}")
    (book / "tccam" / "quizzes" / "one.json").unlink()
    (found,) = stamps.stale(book).values()
    assert found.startswith("results/ablation.json, tccam/quizzes/one.json changed since 2")


def test_many_changes_are_counted(book):
    for name in FILES:
        (book / name).write_text("new = 1\n")
    found = stamps.stale(book)["one"]
    assert re.fullmatch(r"(\S+, ){2}\S+ and 5 more changed since \S+", found)


def test_another_machine_finds_the_same(book, tmp_path_factory):
    there = tmp_path_factory.mktemp("another place")
    shutil.copytree(book, there, dirs_exist_ok=True)
    for path in there.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert stamps.stale(there) == {}


def test_code_is_written_alike_in_every_version_of_python():
    # ast.dump leaves empty fields out from 3.13 on; 3.12 adds an empty text behind the format.
    written = _code('def f(x):\n    "Words."\n    return f"{x:{x}}é"\n').decode()
    load = "Name(id='x',ctx=Load())"
    inner = f"JoinedStr(values=[FormattedValue(value={load},conversion=-1)])"
    outer = f"FormattedValue(value={load},conversion=-1,format_spec={inner})"
    assert written == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x')]),body=["
        rf"Return(value=JoinedStr(values=[{outer},Constant(value='\xe9')]))])])"
    )


def test_measuring_and_stamping_leave_each_other_alone(book, monkeypatch):
    monkeypatch.setattr(regenerate, "_store_is_cold", lambda: True)
    for name in ("TCCAM_RUNS", "TCCAM_FLOWS"):
        monkeypatch.setenv(name, str(book / name))
    assert regenerate.main(["one"]) == 0
    measured = status(book)["one"]
    assert measured["seconds"] == 3
    edit(book, "tccam/cam.py", "2 *", "3 *")
    monkeypatch.setattr(regenerate, "_store_is_cold", lambda: False)
    assert regenerate.main(["one"]) == 0
    again = status(book)["one"]
    assert again["seconds"] == 3
    assert again["stamp"]["files"]["tccam/cam.py"] != measured["stamp"]["files"]["tccam/cam.py"]
    assert list(stamps.stale(book)) == ["two"]


def test_a_library_that_changes_while_a_chapter_runs_is_noticed(book, monkeypatch):
    run_apart = regenerate._run_apart

    def change(*arguments):
        edit(book, "tccam/cam.py", "2 *", "3 *")
        return run_apart(*arguments)

    monkeypatch.setattr(regenerate, "_run_apart", change)
    assert regenerate.main(["one"]) == 0
    assert "one" in stamps.stale(book)


def test_lint_says_one_line_a_chapter(book, capsys):
    edit(book, "tccam/puzzle.py", "explain(x)", "explain(-x)")
    edit(book, "tccam/cam.py", "2 *", "3 *")
    new = normalise(chapter(), "new")
    (book / "notebooks" / "new.ipynb").write_text(dumps(new), encoding="utf-8")
    assert check_notebooks.main([]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "is stale" in line]
    date = status(book)["one"]["stamp"]["date"]
    assert lines == [
        "notebooks/new.ipynb is stale: it has no stamp yet: make notebooks NOTEBOOKS=new",
        *(
            f"notebooks/{name}.ipynb is stale: tccam/cam.py, tccam/puzzle.py changed since {date}:"
            f" make notebooks NOTEBOOKS={name}"
            for name in ("one", "two")
        ),
    ]
    check_notebooks.main(["one"])
    assert capsys.readouterr().out.count("is stale") == 1
