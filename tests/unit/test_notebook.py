import ast
import doctest
import re
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
from tccam import metrics, notebook, viz
from tccam.errors import TccamError
from tccam.notebook import glue, glue_comparisons, table, versions
from tccam.study import compare

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


def a_study():
    """Two comparisons, one clear and one not, of three seeds."""
    values = {"plain": (0.4, 0.5, 0.6), "puzzle": (0.5, 0.61, 0.7), "both": (0.5, 0.4, 0.6)}
    rows = [
        {"arm": arm, "stride": 16, "seed": seed, "iou_argmax": value}
        for arm, line in values.items()
        for seed, value in enumerate(line)
    ]
    pairs = {"puzzle − plain": ["puzzle", "plain"], "both − plain": ["both", "plain"]}
    return {"rows": rows, "pairs": pairs, "axes": {"stride": ["16"]}}


def test_comparisons_are_glued_by_name_and_place():
    found = compare(a_study(), "iou_argmax")
    with published() as outputs:
        glue_comparisons("repro_argmax", found)
    texts = {
        output.metadata["scrapbook"]["name"]: ast.literal_eval(
            output.data["application/papermill.record/text/plain"]
        )
        for output in outputs
    }
    assert texts["repro_argmax_puzzle_plain_16_mean"] == "+0.103"
    clear, unclear = (texts[f"repro_argmax_{n}_plain_16"] for n in ("puzzle", "both"))
    assert re.fullmatch(r"\+0\.103.\(\+0\.0\d\d.to.\+0\.1\d\d\).\*", clear)
    assert re.fullmatch(r"0\.000.\(−0\.\d{3}.to.\+0\.\d{3}\)", unclear)
    assert len(texts) == 4


def test_one_seed_is_never_a_star():
    assert "*" not in notebook.difference(metrics.interval([0.3]))
    rows = [row for row in a_study()["rows"] if row["seed"] == 0]
    assert not any(found.clear for found in compare(a_study() | {"rows": rows}, "iou_argmax"))


def test_two_comparisons_of_one_name_are_refused():
    found = compare(a_study(), "iou_argmax")
    with pytest.raises(TccamError, match="two of them are called x_puzzle_plain_16"):
        glue_comparisons("x", [*found, found[0]])


def test_more_arms_than_colours_are_all_drawn():
    points = [
        {"arm": str(k), "seed": 0, "threshold": 0.5, "iou": k / 9, "precision": 1, "recall": 1}
        for k in range(9)
    ]
    axes = Figure().subplots(1, 2)
    viz.curves(axes, points, {str(k): str(k) for k in range(9)})
    looks = {(line.get_color(), line.get_linestyle()) for line in axes[0].lines}
    assert len(looks) == 9


def test_table_escapes_and_refuses_ragged_rows():
    shown = table(["arm", "a < b"], [["x & y", "1"]]).data
    assert shown.count("<tr>") == 2
    assert "<th scope='col'>a &lt; b</th>" in shown
    assert "<th scope='row'>x &amp; y</th><td>1</td>" in shown
    with pytest.raises(TccamError, match="rows: expected 2 texts, got"):
        table(["arm", "IoU"], [["plain"]])


def test_forest_shows_every_seed_its_mean_and_interval():
    axis = Figure().subplots()
    found = compare(a_study(), "iou_argmax")
    viz.forest(axis, {"argmax": found, "again": found})
    drawn = [sorted(line.get_xdata()) for line in axis.lines]
    for comparison in found:
        gap = comparison.paired.difference
        assert drawn.count(sorted(comparison.values)) == 2
        assert drawn.count([gap.low, gap.high]) == 2
        assert drawn.count([gap.mean]) == 2
    assert axis.get_ylim() == (1.5, -0.5)  # the first comparison on top
    for groups in ({}, {"a": []}, {"a": found, "b": found[:1]}):
        with pytest.raises(TccamError, match="groups: expected the same comparisons"):
            viz.forest(axis, groups)


def test_a_study_draws_a_panel_a_place():
    recorded = a_study() | {"curves": []}
    for row in recorded["rows"]:
        row["iou_threshold"] = row["iou_argmax"] ** 2
    recorded["rows"] += [row | {"stride": 4} for row in recorded["rows"]]
    figures = viz.study_figures(recorded)
    assert list(figures) == ["forest"]
    assert [axis.get_title("left") for axis in figures["forest"].axes] == ["stride 16", "stride 4"]
    names = [text.get_text() for text in figures["forest"].axes[0].get_yticklabels()]
    assert names == ["puzzle − plain", "both − plain"]
    recorded["curves"] = [
        {"arm": "plain", "stride": stride, "seed": 0, "threshold": 0.5, "iou": 0.1}
        | {"precision": 0.2, "recall": 0.3}
        for stride in (16, 4)
    ]
    figures = viz.study_figures(recorded | {"pairs": {}})
    assert list(figures) == ["curves"]
    assert len(figures["curves"].axes) == 4


def test_curves_are_means_over_seeds():
    points = [
        {"arm": "plain", "seed": s, "threshold": t, "iou": t + s, "precision": t, "recall": 1 - t}
        for s in (0, 1)
        for t in (0.5, 0.25)
    ]
    axes = Figure().subplots(1, 2)
    viz.curves(axes, points, {"plain": "Plain"})
    assert axes[0].lines[0].get_xydata().tolist() == [[0.25, 0.75], [0.5, 1.0]]
    assert axes[1].lines[0].get_xydata().tolist() == [[0.75, 0.25], [0.5, 0.5]]
    with pytest.raises(TccamError, match="no curve of 'puzzle'"):
        viz.curves(axes, points, {"puzzle": "Puzzle"})


def test_grid_says_its_values():
    axis = Figure().subplots()
    viz.grid(axis, np.array([[0.1, 0.2, 0.3]]), ["α"], [0, 3, 6])
    assert [text.get_text() for text in axis.texts] == ["0.10", "0.20", "0.30"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "3", "6"]
    with pytest.raises(TccamError, match=r"values: expected \(2, 3\), got \(1, 3\)"):
        viz.grid(axis, np.zeros((1, 3)), ["α", "β"], [0, 3, 6])


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
