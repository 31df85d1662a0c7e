import doctest
import sys
from contextlib import contextmanager

import cv2
import matplotlib as mpl
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput, capture_output
from matplotlib.figure import Figure
from myst_nb import glue as myst_glue
from myst_nb.core.variables import format_plain_text

import tccam.notebook
from tccam.notebook import glue, versions

mpl.use("agg")


@pytest.fixture(scope="module", autouse=True)
def shell():
    """A kernel's display machinery: without a shell, IPython prints instead of publishing."""
    made = InteractiveShell.instance()
    yield made
    InteractiveShell.clear_instance()


@contextmanager
def published():
    """The outputs that a cell would get."""
    outputs: list[RichOutput] = []
    with capture_output() as captured:
        yield outputs
    outputs.extend(captured.outputs)


class Page:
    """Something that shows itself in two ways, as a table does."""

    def _repr_html_(self):
        return "<b>page</b>"

    def __repr__(self):
        return "page"


@pytest.mark.parametrize("display", [False, True])
@pytest.mark.parametrize(
    "value", [0.4375, 3, "paper", None, [1, 2.5], Page(), Figure(figsize=(1, 1))], ids=repr
)
def test_output_is_the_one_of_myst_nb(value, display):
    with published() as ours:
        glue("name", value, display=display)
    with published() as theirs:
        myst_glue("name", value, display=display)
    assert len(ours) == len(theirs) == 1
    assert ours[0].data == theirs[0].data
    assert ours[0].metadata == theirs[0].metadata


def test_nothing_shows_under_the_cell_unless_asked():
    with published() as outputs:
        glue("iou", 0.5)
    assert outputs[0].data == {"application/papermill.record/text/plain": "0.5"}
    assert outputs[0].metadata["scrapbook"] == {
        "name": "iou",
        "mime_prefix": "application/papermill.record/",
    }


@pytest.mark.parametrize(
    "scalar",
    [torch.tensor(0.4375), np.float32(0.4375), np.array(0.4375), np.float64(0.4375)],
    ids=["torch", "float32", "array", "float64"],
)
def test_prose_can_format_every_kind_of_scalar(scalar):
    with published() as outputs:
        glue("iou", scalar)
    (text,) = outputs[0].data.values()
    assert format_plain_text(text, ".2f") == "0.44"


def test_versions_name_what_runs_here_and_repeat(capsys):
    versions()
    first = capsys.readouterr().out
    versions()
    assert capsys.readouterr().out == first
    lines = dict(line.split(maxsplit=1) for line in first.splitlines())
    assert list(lines) == ["python", "tccam", "torch", "torchvision", "opencv", "device"]
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["torch"] == torch.__version__
    assert lines["opencv"] == cv2.__version__


@pytest.mark.parametrize(
    ("found", "expected"),
    [(True, "device       GPU test"), (False, "device       CPU: no GPU found")],
)
def test_versions_say_which_device_there_is(monkeypatch, capsys, found, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "test")
    versions()
    assert expected in capsys.readouterr().out


def test_examples_run():
    assert doctest.testmod(tccam.notebook) == (0, 1) or doctest.testmod(tccam.notebook).failed == 0
