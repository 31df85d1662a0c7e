"""The book's tools, on small notebooks in a temporary folder."""

import datetime
import doctest
import hashlib
import json
import re
import shutil
import sys
import tarfile
import tempfile
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import check_notebooks  # noqa: E402
import regenerate  # noqa: E402
import set_repository  # noqa: E402
import vendor  # noqa: E402
from normalise import dumps, normalise, traces  # noqa: E402
from regenerate import Measured, still_holds, time_line  # noqa: E402

BOX = """# A chapter

:::{admonition} Before you start
:class: opening

**Time and memory**: measured by the next regeneration

**You need** Python.

**After this you can** add.

**Question**: what is one and one?
:::
"""


def code(source, outputs=(), **metadata):
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def display(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def hidden(name, text):
    """What ``glue(name, …)`` writes."""
    prefix = "application/papermill.record/"
    return display({prefix + "text/plain": text}, scrapbook={"name": name, "mime_prefix": prefix})


def notebook(*cells):
    """A chapter with which the lint is content, and ``cells`` after its own."""
    made = new_notebook(
        cells=[
            new_markdown_cell(BOX),
            code("ONE: int = 1", tags=["parameters"]),
            code("# NBVAL_CHECK_OUTPUT\nprint(ONE + ONE)", [stream("2\n")]),
            *cells,
        ]
    )
    for index, cell in enumerate(made.cells):
        cell.id = f"cell-{index}"
    return made


def sentences(nb, tmp_path):
    """What the lint says of a normalised notebook."""
    nb = normalise(nb, "a")
    path = tmp_path / "a.ipynb"
    path.write_text(dumps(nb), encoding="utf-8")
    return [str(f) for f in check_notebooks.check_notebook(path, nb)]


class TestNormalise:
    def test_is_idempotent_and_leaves_its_input_alone(self):
        nb = notebook(code("1", [hidden("one", "1")]), code(""))
        before = json.dumps(nb)
        once = normalise(nb, "a")
        assert json.dumps(nb) == before
        assert dumps(normalise(once, "a")) == dumps(once)

    def test_file_has_jupyters_layout(self):
        text = dumps(normalise(notebook(new_markdown_cell("α\nβ")), "a"))
        assert text.endswith("}\n")
        assert not text.endswith("\n\n")
        assert '    "α\\n",\n    "β"\n' in text
        assert '\n "cells": [' in text
        nbformat.validate(nbformat.reads(text, as_version=4))

    def test_removes_what_a_run_leaves(self):
        nb = notebook(
            code("2", papermill={"duration": 1.5}, execution={"iopub": "now"}, tags=[], keep=1)
        )
        nb.cells[-1].execution_count = 17
        nb.metadata = {
            "papermill": {"duration": 9},
            "language_info": {"name": "python", "version": "3.11.7"},
            "kernelspec": {"name": "tccam", "display_name": "tccam"},
            "widgets": {"kept": {}},
        }
        made = normalise(nb, "a")
        assert made["cells"][-1]["metadata"] == {"keep": 1}
        assert [c["execution_count"] for c in made["cells"][1:]] == [1, 2, 3]
        assert set(made["metadata"]) == {"kernelspec", "language_info", "widgets"}
        assert made["metadata"]["kernelspec"]["name"] == "python3"
        assert "version" not in made["metadata"]["language_info"]
        assert made["metadata"]["widgets"] == {"kept": {}}

    def test_drops_stderr_and_joins_what_was_printed_in_pieces(self):
        outputs = [
            stream("a"),
            stream("50%", "stderr"),
            stream("b\n"),
            display({"text/plain": "c"}),
        ]
        made = normalise(notebook(code("x", [*outputs, stream("d")])), "a")["cells"][-1]["outputs"]
        assert [o.get("text", "shown") for o in made] == ["ab\n", "shown", "d"]

    def test_ids_are_kept_when_valid_and_made_from_place_and_source_otherwise(self):
        nb = notebook(code("a"), code("a"), code("b"))
        for cell, name in zip(nb.cells[-3:], ["mine", "mine", "not valid"], strict=True):
            cell.id = name
        first, second = normalise(nb, "a"), normalise(nb, "a")
        ids = [cell["id"] for cell in first["cells"]]
        assert ids == [cell["id"] for cell in second["cells"]]
        assert ids[3] == "mine"
        assert len(set(ids)) == len(ids)
        nbformat.validate(nbformat.from_dict(first))

    def test_random_ids_of_widgets_and_players_are_the_same_in_every_run(self):
        def run(a, b, link, anim):
            view = {"application/vnd.jupyter.widget-view+json": {"model_id": a}}
            html = {"text/html": f"<script>anim{anim} = 1; '_anim_img{anim}'</script>"}
            nb = notebook(code("w", [display(view), display(html)]))
            state = {
                a: {"state": {"children": [f"IPY_MODEL_{b}"]}},
                b: {"state": {"value": 3}},
                link: {"state": {"source": [f"IPY_MODEL_{b}", "value"]}},
            }
            state = dict(sorted(state.items()))
            nb.metadata.widgets = {
                "application/vnd.jupyter.widget-state+json": {"state": state, "version_major": 2}
            }
            return dumps(normalise(nb, "a"))

        first = run("0" * 32, "1" * 32, "2" * 32, "3" * 32)
        assert first == run("f" * 32, "e" * 32, "b" * 32, "a" * 32)
        assert first == dumps(normalise(nbformat.reads(first, as_version=4), "a"))
        assert len(set(re.findall(r"[0-9a-f]{32}", first))) == 4
        assert "0" * 32 not in first

    def test_progress_bars_leave_nothing_behind(self):
        bar, box = "a" * 32, "b" * 32
        view = {"application/vnd.jupyter.widget-view+json": {"model_id": bar}}
        shown = {"application/vnd.jupyter.widget-view+json": {"model_id": box}}
        bar_output = display({**view, "text/plain": " 0%|          | 0/60 [00:00<?, ?it/s]"})
        nb = notebook(code("fit()", [bar_output]), code("w", [display(shown)]))
        state = {bar: {"state": {"value": "00:07"}}, box: {"state": {"value": 1}}}
        state["c" * 32] = {"model_name": "LayoutModel", "state": {}}
        widgets = {"application/vnd.jupyter.widget-state+json": {"state": state}}
        nb.metadata.widgets = widgets
        made = normalise(nb, "a")
        assert made["cells"][3]["outputs"] == []
        (kept,) = made["metadata"]["widgets"].values()
        assert list(kept["state"].values()) == [{"state": {"value": 1}}]
        del nb.cells[-1]
        assert "widgets" not in normalise(nb, "a")["metadata"]

    def test_widget_that_has_a_page_is_kept_as_that_alone(self):
        model = "0123456789abcdef" * 2
        view = {"application/vnd.jupyter.widget-view+json": {"model_id": model}}
        nb = notebook(code("1", [display({**view, "text/html": "<p>", "text/plain": "p"})]))
        state = {"state": {model: {"state": {}}}}
        nb.metadata.widgets = {"application/vnd.jupyter.widget-state+json": state}
        made = normalise(nb, "a")
        assert made["cells"][-1]["outputs"][0]["data"] == {"text/html": "<p>", "text/plain": "p"}
        assert "widgets" not in made["metadata"]

    def test_a_checksum_that_a_cell_prints_stays(self):
        digest = "d41d8cd98f00b204e9800998ecf8427e"
        made = normalise(notebook(code("x", [stream(digest)])), "a")
        assert made["cells"][-1]["outputs"][0]["text"] == digest

    @pytest.mark.parametrize(
        "text",
        [
            f"read {ROOT}/clip.mp4",
            str(Path.home() / "clip"),
            f"'{tempfile.gettempdir()}/x'",
            "/home/" + "someone/x",
            "/Users/" + "someone",
            "C:\\" + "Users\\someone",
            "file://" + f"{ROOT}",
            "<function f at 0x7f3a2b1c9d00>",
        ],
    )
    def test_traces_of_the_machine_are_found(self, text):
        assert [index for index, _ in traces(notebook(code("x", [stream(text)])))] == [3]

    @pytest.mark.parametrize(
        "text",
        ["and/or", "notebooks/the-belt.ipynb", "3/4", "https://example.org/home/x", "at 0x0f"],
    )
    def test_harmless_text_is_no_trace(self, text):
        assert not list(traces(notebook(code("x", [stream(text)]))))

    def test_pictures_may_hold_any_letters(self):
        path = "+" + "/home/" + "x" * 40
        outputs = [display({"image/png": path}), display({"text/html": f"base64,AA{path}"})]
        assert not list(traces(notebook(code("x", outputs))))


class TestTimeLine:
    @pytest.mark.parametrize(
        ("seconds", "mib", "text"),
        [
            (0.4, 95.4, "about 5 s, 0.1 GB"),
            (43.1, 871, "about 45 s, 0.9 GB"),
            (58.9, 871, "about 1 min, 0.9 GB"),
            (98.7, 871, "about 1 min 40 s, 0.9 GB"),
            (180.2, 1907.4, "about 3 min, 2.0 GB"),
        ],
    )
    def test_is_rounded_and_reads_back_as_still_true(self, seconds, mib, text):
        line = time_line(Measured(seconds, mib), 2, datetime.date(2026, 1, 31))
        assert line == f"**Time and memory**: {text} (measured on 2 CPU cores, 2026-01-31)"
        assert still_holds(line, Measured(seconds, mib))

    @pytest.mark.parametrize(
        ("seconds", "mib", "holds"),
        [(124, 954, True), (76, 954, True), (126, 954, False), (74, 954, False), (100, 700, False)],
    )
    def test_stays_within_a_quarter(self, seconds, mib, holds):
        line = "**Time and memory**: about 1 min 40 s, 1.0 GB (measured on 2 CPU cores, 2026-01-31)"
        assert still_holds(line, Measured(seconds, mib)) == holds

    def test_a_line_without_a_measurement_never_holds(self):
        assert not still_holds("**Time and memory**: soon", Measured(1, 1))

    def test_one_core_is_not_plural(self):
        assert "1 CPU core," in time_line(Measured(1, 1), 1, datetime.date(2026, 1, 31))


class TestLint:
    def test_a_good_chapter_passes(self, tmp_path):
        nb = notebook(
            code("plot()", [display({"image/png": "AA=="})], tags=["hide-input"], mystnb={
                "figure": {"caption": "A dot.", "name": "fig-dot"}, "image": {"alt": "One dot"}
            }),
            code("glue('one', 1)", [hidden("one", "1")]),
        )  # fmt: skip
        assert sentences(nb, tmp_path) == []

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            (code("# NBVAL_CHECK_OUTPUT: yes\n1", [stream("1")]), "line 1: not a marker of ours"),
            (code("#NBVAL_CHECK_OUTPUT\n1", [stream("1")]), "not a marker of ours"),
            (code("# NBVAL_SKIP\n1"), "not a marker of ours"),
            (code("1\n# NBVAL_CHECK_OUTPUT", [stream("1")]), "line 2: a marker comes first"),
            (code("# NBVAL_CHECK_OUTPUT\n1"), "it has none"),
            (code("# NBVAL_CHECK_OUTPUT\n1", [stream("0.12345678")]), "round what is checked"),
            (
                code("# NBVAL_CHECK_OUTPUT\n1", [display({"image/png": "AA=="})]),
                "nbval does not compare pictures",
            ),
            (
                code("1/0", [new_output("error", ename="E", evalue="bad", traceback=[])]),
                "an error is its output: E",
            ),
            (code("fit()", [stream(" 45%|####   | 9/20")]), "progress bar"),
            (code("TWO: int = 2", tags=["parameters"]), "2 cells are tagged 'parameters'"),
            (code("x", [display({"image/png": "AA=="})]), "mystnb.image.alt"),
            (code("x", [display({"image/png": "AA=="})]), "mystnb.figure.name"),
            (code("x", [display({"image/png": "AA=="})]), "'hide-input' folds its code"),
            (code("notebook.glue('a', 1)", [hidden("a", "1")]), "'remove-cell' takes it off"),
            (code("for a in b:\n    c = a\n    notebook.glue(c, a)"), "'remove-cell' takes it off"),
            (code("x\n" * 26), "26 lines of code"),
            (code("x", tags=["raises-exception"]), "'raises-exception' has no place"),
            (code("x = '/home/" + "me'"), "source: a path of this machine: "),
            (code("f", [stream("<f at 0x7f0011223344>")]), "a memory address"),
            (new_markdown_cell("See https://py" + "pi.org"), "a package registry"),
            (code("glue()", [hidden("a", "1"), hidden("a", "2")]), "'a' is glued twice"),
        ],
    )
    def test_names_what_is_wrong(self, tmp_path, cell, message):
        found = sentences(notebook(cell), tmp_path)
        assert any(message in sentence for sentence in found), found
        assert all(sentence.startswith("notebooks/a.ipynb: cell ") for sentence in found)

    @pytest.mark.parametrize(
        "source", ["ONE = 1", "one: int = 1", "ONE: int", "ONE: int = (\n 1)", "print(1)", "ONE: ="]
    )
    def test_parameters_are_one_typed_assignment_a_line(self, tmp_path, source):
        nb = notebook()
        nb.cells[1].source = source
        assert any("parameter" in sentence for sentence in sentences(nb, tmp_path))

    @pytest.mark.parametrize("gone", [*BOX.splitlines()[3:-1:2], "# A chapter", ":class: opening"])
    def test_opening_box_is_complete(self, tmp_path, gone):
        nb = notebook()
        nb.cells[0].source = BOX.replace(gone, "") if gone else BOX
        assert bool(sentences(nb, tmp_path)) == bool(gone)

    def test_a_chapter_that_checks_or_shows_nothing(self, tmp_path):
        nb = notebook()
        nb.cells[2] = code("print(2)")
        assert any("nbval checks nothing" in s for s in sentences(nb, tmp_path))
        assert any("no outputs" in s for s in sentences(nb, tmp_path))

    def test_a_chapter_that_is_not_normalised(self, tmp_path):
        path = tmp_path / "a.ipynb"
        nb = normalise(notebook(), "a")
        path.write_text(dumps(nb) + "\n", encoding="utf-8")
        (finding,) = check_notebooks.check_notebook(path, nb)
        assert "not normalised" in str(finding)

    def test_numbers_in_prose_are_glued_somewhere(self, tmp_path):
        page, chapter = tmp_path / "page.md", tmp_path / "a.ipynb"
        page.write_text(
            "{glue:text}`/notebooks/a.ipynb::iou:.2f` {glue:text}`/notebooks/a.ipynb::gone:.2f`\n"
            "\n```{glue:figure} missing\n```\n"
        )
        quoting = new_markdown_cell("{glue:text}`iou:.2f` {glue}`iou` {glue:}`other`")
        chapter.write_text(dumps(normalise(notebook(quoting), "a")), encoding="utf-8")
        findings = check_notebooks.check_quotes([page, chapter], {"a.ipynb": {"iou"}})
        assert [(f.line, f.sentence) for f in findings] == [
            (1, "no cell of a.ipynb glues 'gone'"),
            (3, "no cell of page.md glues 'missing'"),
            (1, "no cell of a.ipynb glues 'other'"),
        ]


@pytest.fixture
def chapters(tmp_path, monkeypatch):
    """A temporary folder of chapters in place of the book's."""
    monkeypatch.setattr(regenerate, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(regenerate, "STATUS", tmp_path / "status.json")
    for name in ("TCCAM_RUNS", "TCCAM_FLOWS"):  # cold, whatever has been trained on this machine
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "notebooks").mkdir()

    def write(name, *cells):
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.write_text(dumps(normalise(notebook(*cells), name)), encoding="utf-8")
        return path

    return write


class TestRegenerate:
    def test_a_run_is_normalised_measured_and_repeats(self, chapters, tmp_path, capsys):
        path = chapters(
            "good",
            code("import sys\n\nprint('warned', file=sys.stderr)\nsum(range(4))"),
            code("from tqdm.auto import tqdm\n\nfor _ in tqdm(range(3)):\n    pass\nprint('done')"),
            code("import os\n\nprint(os.path.basename(os.getcwd()))"),
        )
        assert regenerate.main(["good"]) == 0
        first = path.read_text(encoding="utf-8")
        made = json.loads(first)
        assert made["cells"][3]["outputs"][0]["data"]["text/plain"] == ["6"]
        assert len(made["cells"][3]["outputs"]) == 1
        assert [o["text"] for o in made["cells"][4]["outputs"]] == [["done\n"]]  # and no bar
        assert made["cells"][5]["outputs"][0]["text"] == ["notebooks\n"]
        assert "papermill" not in first
        line = next(s for s in made["cells"][0]["source"] if s.startswith("**Time and memory"))
        assert re.search(r"about .* s, 0\.\d GB \(measured on \d+ CPU core", line)

        status = json.loads((tmp_path / "status.json").read_text())["good"]
        assert 0 < status["seconds"] < 120
        assert 20 < status["peak_mib"] < 2000
        assert status["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
        assert regenerate.main(["good.ipynb"]) == 0
        again = path.read_text(encoding="utf-8")
        assert regenerate.TIME_LINE.sub("", again) == regenerate.TIME_LINE.sub("", first)

    def test_two_at_a_time_run_together_and_are_not_measured(self, chapters, tmp_path, capfd):
        meet = """
            import time
            from pathlib import Path

            Path("{}").touch()
            until = time.monotonic() + 60
            while not Path("{}").exists():
                assert time.monotonic() < until, "the other chapter does not run"
                time.sleep(0.1)
            print("met")
        """
        first = chapters("first", code(textwrap.dedent(meet.format("here", "there"))))
        second = chapters("second", code(textwrap.dedent(meet.format("there", "here"))))
        chapters("third", code("raise ValueError('broken belt')"))
        line = regenerate.TIME_LINE.search(BOX)[0]
        assert regenerate.main(["--jobs", "2"]) == 1
        for path in (first, second):
            made = nbformat.read(path, as_version=4)
            assert made.cells[3].outputs[0].text == "met\n"
            assert line in made.cells[0].source
        status = json.loads((tmp_path / "status.json").read_text())
        assert {name: list(known) for name, known in status.items()} == {
            "first": ["stamp"],
            "second": ["stamp"],
        }
        assert "1 of 3 failed: third" in capfd.readouterr().err

    def test_no_jobs_is_no_number_of_jobs(self, capsys):
        with pytest.raises(SystemExit):
            regenerate.main(["--jobs", "0"])
        assert "--jobs: expected at least 1" in capsys.readouterr().err

    def test_a_failing_chapter_stays_and_the_others_run(self, chapters, capfd):
        bad = chapters("bad", code("total = 1\nraise ValueError('broken belt')"))
        good = chapters("other")
        before = {path: path.read_text(encoding="utf-8") for path in (bad, good)}
        assert regenerate.main([]) == 1
        assert bad.read_text(encoding="utf-8") == before[bad]
        assert good.read_text(encoding="utf-8") != before[good]
        said = capfd.readouterr().err
        assert "    raise ValueError('broken belt')" in said
        assert "ValueError: broken belt" in said
        assert "1 of 2 failed: bad" in said
        assert sorted(p.name for p in bad.parent.iterdir()) == ["bad.ipynb", "other.ipynb"]

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            (code("x", [stream(f"{ROOT}/clip.mp4")]), "cell 3: stdout: a path of this machine"),
            (new_markdown_cell("No box"), "no line that starts with"),
        ],
    )
    def test_a_chapter_that_cannot_be_kept_stays(
        self, chapters, monkeypatch, capsys, cell, message
    ):
        def run_apart(source, target, parameters):
            made = notebook(cell)
            if "box" in cell.source:
                del made.cells[0]
            nbformat.write(made, target)
            return Measured(1, 100)

        monkeypatch.setattr(regenerate, "_run_apart", run_apart)
        path = chapters("a")
        before = path.read_text(encoding="utf-8")
        assert regenerate.main([]) == 1
        assert message in capsys.readouterr().err
        assert path.read_text(encoding="utf-8") == before

    def test_other_parameters_go_to_another_folder(self, chapters, tmp_path, capsys):
        path = chapters("one", code("print(ONE)"))
        before = path.read_text(encoding="utf-8")
        output = tmp_path / "elsewhere"
        assert regenerate.main(["one", "-p", "ONE", "21", "--output", str(output)]) == 0
        made = nbformat.read(output / "one.ipynb", as_version=4)
        assert made.cells[-2].outputs[0].text == "42\n"
        assert path.read_text(encoding="utf-8") == before
        assert not (tmp_path / "status.json").exists()
        assert regenerate.main(["one", "-p", "TWO", "2", "--output", str(output)]) == 1
        assert "no parameter TWO" in capsys.readouterr().err

    def test_other_parameters_never_touch_the_book(self, capsys):
        with pytest.raises(SystemExit):
            regenerate.main(["-p", "ONE", "2"])
        assert "-p needs --output" in capsys.readouterr().err

    def test_an_unknown_chapter_is_named(self, chapters, capsys):
        assert regenerate.main(["nowhere"]) == 1
        assert "there is no notebooks/nowhere.ipynb" in capsys.readouterr().err

    def test_examples_run(self):
        assert doctest.testmod(regenerate).failed == 0


class TestSetRepository:
    HERE = set_repository.address()
    THERE = "/".join(["https://github.com", "Some-Body", "other.name"])  # not in this file

    @pytest.fixture
    def copy(self, tmp_path):
        for path in set_repository.files():
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return tmp_path

    def test_no_file_names_another_address(self):
        slug = self.HERE.removeprefix("https://github.com/")
        name = slug.partition("/")[2]
        for path in set_repository.files():
            if path.name in {"set_repository.py", "test_tools.py"}:
                continue
            text = path.read_text(encoding="utf-8")
            for found in re.findall(r"(?:github\.com|github|gh)/([\w-]+/[\w-]+)", text):
                assert found == slug or found.partition("/")[2] != name, path

    def test_address_changes_everywhere_and_back(self, copy):
        before = {path: path.read_bytes() for path in set_repository.files(copy)}
        changed = set_repository.set_address(self.THERE, copy)
        assert set_repository.address(copy) == self.THERE
        names = {path.relative_to(copy).as_posix() for path in changed}
        assert {"pyproject.toml", "_config.yml", "CITATION.cff", "README.md"} <= names
        assert {f"notebooks/{p.name}" for p in (ROOT / "notebooks").glob("*.ipynb")} <= names
        assert not any(self.HERE.encode() in path.read_bytes() for path in before)
        assert set_repository.set_address(self.HERE, copy) == changed
        assert {path: path.read_bytes() for path in before} == before

    def test_links_to_colab_and_binder_follow(self, tmp_path):
        (tmp_path / "pyproject.toml").write_text(
            '[project]\nurls.Repository = "https://github.com/a/b"\n'
        )
        page = tmp_path / "page.md"
        page.write_text(
            "colab.research.google.com/github/a/b/x mybinder.org/v2/gh/a/b/main gh/a/bc"
        )
        set_repository.set_address("https://github.com/c/d/", tmp_path)
        assert page.read_text() == (
            "colab.research.google.com/github/c/d/x mybinder.org/v2/gh/c/d/main gh/a/bc"
        )

    @pytest.mark.parametrize("url", ["https://example.org/a/b", "a/b", "https://github.com/a"])
    def test_an_address_elsewhere_is_refused(self, url, copy):
        with pytest.raises(ValueError, match="expected an address like"):
            set_repository.set_address(url, copy)


class TestVendor:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        """A package of two files, and an npm that packs it."""
        for name, text in {"wanted/a.js": "1", "other.js": "2"}.items():
            (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "package" / name).write_text(text)
        archive = tmp_path / "archive"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(tmp_path / "package", "package")
        npm = tmp_path / "bin" / "npm"
        npm.parent.mkdir()
        npm.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/calls"\ncp "{archive}" thing.tgz\n')
        npm.chmod(0o755)
        monkeypatch.setenv("PATH", str(npm.parent), prepend=":")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        return vendor.Package("thing@1.2.3", "thing", digest, ("wanted",))

    def test_fetches_once_and_keeps_what_is_wanted(self, package, tmp_path):
        assert vendor.fetch(package, tmp_path / "vendor")
        assert not vendor.fetch(package, tmp_path / "vendor")
        files = sorted(p.name for p in (tmp_path / "vendor").rglob("*") if p.is_file())
        assert files == ["VERSION", "a.js"]
        assert (tmp_path / "calls").read_text().count("pack thing@1.2.3 --ignore-scripts") == 1

    def test_another_version_replaces_it(self, package, tmp_path):
        vendor.fetch(package, tmp_path / "vendor")
        (tmp_path / "vendor" / "thing" / "VERSION").write_text("thing@1.2.2")
        (tmp_path / "vendor" / "thing" / "old.js").write_text("")
        assert vendor.fetch(package, tmp_path / "vendor")
        assert not (tmp_path / "vendor" / "thing" / "old.js").exists()

    def test_another_archive_is_refused_and_nothing_stays(self, package, tmp_path):
        other = vendor.Package(package.name, package.folder, "0" * 64, package.wanted)
        with pytest.raises(vendor.FetchError, match="expected 0000"):
            vendor.fetch(other, tmp_path / "vendor")
        assert list((tmp_path / "vendor").iterdir()) == []

    def test_without_npm_the_book_uses_the_network(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(vendor, "VENDOR", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert vendor.main() == 0
        assert "there is no npm" in capsys.readouterr().err


def test_readme_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TCCAM_FLOWS", str(tmp_path / "flows"))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names = {}
    exec(blocks[0], names)
    assert names["maps"].shape == (8, 128, 160)
    assert 0 <= names["maps"].min() <= names["maps"].max() <= 1
    assert len(names["clip"]) == 60
    small = "steps=2, warmup=1, data=data.BeltConfig(train=2, validation=1, test=1)"
    assert "steps=240" in blocks[1]  # as it stands, but for a minute of training
    exec(blocks[1].replace("steps=240", small), names)
    assert names["run"].losses.shape == (2,)
    assert "iou_threshold" in capsys.readouterr().out
