"""Chapters where PyTorch and NumPy are there before the library, as in Colab. `make colab` runs it.

It downloads some gigabytes the first time, and needs a package registry: it is no part of
`make test`.
"""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

from set_repository import address  # noqa: E402
from setup_cell import ADDED, LINES  # noqa: E402

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
UV = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
COMMON = ("matplotlib", "tqdm", "pillow")
ENVIRONMENTS = {
    "older": (
        "torch==2.6.0",
        "torchvision==0.21.0",
        "numpy==1.26.4",
        "opencv-python-headless",
        "ipython==7.34.0",
        "ipykernel==6.17.1",
        "ipywidgets==7.7.1",
        *COMMON,
    ),
    "newer": (
        "torch==2.13.0",
        "torchvision==0.28.0",
        "numpy",
        "opencv-python",
        "ipykernel",
        "ipywidgets",
        *COMMON,
    ),
}
# The first of a name counts: setuptools brings others of its own along.
PROBE = """
import json
from importlib.metadata import distributions

print(json.dumps({d.metadata["Name"]: d.version for d in reversed([*distributions()])}))
"""
IN_USE = "import numpy, torch\nprint(torch.__version__.partition('+')[0], numpy.__version__)"

pytestmark = pytest.mark.slow


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


class Colab:
    """An environment, and a kernel in it."""

    def __init__(self, name, folder):
        self.python = folder / "bin" / "python"
        self.folder = folder
        self.kernel = f"colab-{name}"
        run(UV, "venv", "--python", sys.executable, "--seed", folder)
        # From elsewhere: our pyproject.toml would pin torch.
        install = ("install", "--python", self.python, *ENVIRONMENTS[name])
        run(UV, "pip", *install, cwd=folder)
        install = ("ipykernel", "install", "--prefix", folder, "--name", self.kernel)
        run(self.python, "-m", *install)
        self.before = self.installed()

    def installed(self):
        return json.loads(run(self.python, "-c", PROBE))

    def execute(self, notebook, target):
        """Run a notebook in a new kernel; a cell that fails raises."""
        source = target.with_suffix(".in.ipynb")
        nbformat.write(notebook, source)
        papermill.execute_notebook(
            source,
            target,
            kernel_name=self.kernel,
            language="python",
            cwd=target.parent,
            progress_bar=False,
        )
        return nbformat.read(target, as_version=4)


@pytest.fixture(scope="session", params=list(ENVIRONMENTS))
def colab(request, tmp_path_factory):
    """An environment in which nothing of the project has been installed yet."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "environment" / "share" / "jupyter"))
        for name in ("TCCAM_RUNS", "TCCAM_FLOWS", "IPYTHONDIR", "MPLCONFIGDIR"):
            patch.setenv(name, str(folder / name.lower()))
        patch.delenv("PYTHONPATH", raising=False)
        yield Colab(request.param, folder / "environment")
    shutil.rmtree(folder)


def in_colab(path, wheel):
    """A chapter that installs the library from a wheel."""
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.startswith(LINES)
    first.source = first.source.replace(f"git+{address()}", wheel.as_uri())
    return notebook


def imports(notebook):
    """Every import statement of a chapter, wherever it stands; not of what Colab alone has."""
    plain = TransformerManager()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(plain.transform_cell(cell.source))):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    statement = ast.unparse(node)
                    if "google.colab" not in statement:
                        yield statement


# The order matters: an environment is only once without the library.
def test_where_nothing_can_be_installed_nothing_changes(colab, tmp_path):
    notebook = new_notebook(cells=[new_code_cell(f"{LINES}\nimport tccam")])
    notebook.cells[0].source = LINES.replace(f"git+{address()}", "file:///nowhere.whl")
    notebook.cells[0].source += "\nimport tccam"
    with pytest.raises(papermill.PapermillExecutionError, match="No module named 'tccam'"):
        colab.execute(notebook, tmp_path / "out.ipynb")
    assert colab.installed() == colab.before


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_every_import_works_and_what_was_there_stays(colab, wheel, path, tmp_path):
    chapter = in_colab(path, wheel)
    first = next(cell for cell in chapter.cells if cell.cell_type == "code")
    cells = [first.source, "\n".join(imports(chapter)), IN_USE]
    made = colab.execute(
        new_notebook(cells=[new_code_cell(source) for source in cells]), tmp_path / path.name
    )
    before, now = colab.before, colab.installed()
    assert {name: now.get(name) for name in before} == before
    assert {name.lower() for name in now.keys() - before.keys()} == {"tccam", *ADDED}
    assert made.cells[-1].outputs[-1].text.split() == [before["torch"], before["numpy"]]


@pytest.mark.parametrize("name", ["the-belt", "cam-basics"])
def test_chapter_runs_from_top_to_bottom(colab, wheel, name, tmp_path):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    made = colab.execute(in_colab(path, wheel), tmp_path / path.name)
    mimes = {
        mime
        for cell in made.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for mime in output.get("data", {})
    }
    assert {"image/png", "text/html", "application/papermill.record/text/plain"} <= mimes
    assert {**colab.installed(), **colab.before} == colab.installed()
