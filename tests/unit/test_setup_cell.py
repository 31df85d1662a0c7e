"""The set-up cell of all chapters. `make colab` tries it in environments like Colab's."""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

from check_notebooks import check_setup  # noqa: E402
from set_repository import address  # noqa: E402
from setup_cell import ADDED, COLAB, LINES, NOT_IMPORTED  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def closure(names):
    """These packages, and all that they need."""
    found, waiting = set(), [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            try:
                wanted = [Requirement(text) for text in requires(name) or []]
            except PackageNotFoundError:  # of another system
                continue
            waiting += [
                canonicalize_name(requirement.name)
                for requirement in wanted
                if not requirement.marker or requirement.marker.evaluate({"extra": ""})
            ]
    return found


def test_cell_adds_what_colab_lacks_and_nothing_else():
    asked = [Requirement(text).name for text in PROJECT["dependencies"]]
    lacking = closure(asked) - closure(COLAB)
    assert lacking == {*ADDED, *NOT_IMPORTED}


def test_chapters_start_alike():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert check_setup(path, nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (LINES, None),
        (f"{LINES}\nimport torch", None),
        (LINES.replace("    import tccam", "    import tccam.cam"), 2),
        (LINES.replace("--no-deps", "--upgrade"), 6),
        (LINES.replace("safetensors ", ""), 7),
        ("import tccam", 1),
        ("", 1),
    ],
)
def test_lint_names_the_line_that_differs(source, line):
    notebook = new_notebook(cells=[new_markdown_cell("# A"), new_code_cell(source)])
    found = check_setup(Path("a.ipynb"), notebook)
    assert [(f.cell, f.line) for f in found] == ([] if line is None else [(1, line)])
    assert all("tools/setup_cell.py" in str(f) for f in found)


@pytest.fixture
def run(monkeypatch):
    """Run the cell where some modules are missing; what it asks pip for."""

    def execute(*missing):
        for name in missing:
            monkeypatch.setitem(sys.modules, name, None)
        shell, asked = InteractiveShell(), []
        shell.register_magic_function(asked.append, magic_name="pip")
        shell.run_cell(LINES).raise_error()
        return [text.split() for text in asked]

    yield execute
    InteractiveShell.clear_instance()


def test_where_the_library_is_nothing_is_installed(run):
    assert run() == []


@pytest.mark.parametrize(
    ("missing", "how"), [((), "--no-deps"), (("torch",), "matplotlib")], ids=["colab", "bare"]
)
def test_where_torch_is_dependencies_stay_out(run, missing, how):
    library = ['"tccam', "@", f'git+{address()}"']
    assert run("tccam", *missing) == [["install", "--quiet", how, *ADDED, *library]]
