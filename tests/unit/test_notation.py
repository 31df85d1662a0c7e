"""The notation page speaks of code that exists, and every public thing shows how it is used."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import tccam
import tccam.cam

ROOT = Path(__file__).resolve().parents[2]
NOTATION = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
ROLE = re.compile(r"\{py:(func|class|meth)\}`~(tccam\.[\w.]+)`")
KIND = {"func": inspect.isfunction, "class": inspect.isclass, "meth": inspect.isfunction}


def rows(text):
    """Symbol → what it is called in the code, for every row of the page's tables."""
    cells = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    found = [[cell.strip() for cell in row] for row in cells]
    return {row[0]: row[2] for row in found if len(row) == 3 and row[0] != "symbol"}


def target(name):
    """What a dotted name stands for.

    Raises:
        AttributeError: if there is nothing of that name.
    """
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def names(thing):
    """The arguments of a function; those of a class, and its attributes."""
    found = set(inspect.signature(thing).parameters)
    return (
        found | set(dir(thing)) | set(inspect.get_annotations(thing))
        if inspect.isclass(thing)
        else found
    )


def faults(cell):
    """What a cell of the column "in the code" says that is not so, a line each."""
    roles, found = ROLE.findall(cell), []
    things = []
    for kind, name in roles:
        try:
            things.append(target(name))
        except AttributeError:
            found.append(f"{name}: there is no such thing")
            continue
        if not KIND[kind](things[-1]):
            found.append(f"{name}: is no {kind}")
    if not roles:
        found.append("names nothing of the library")
    for code in re.findall(r"(?<![~}])`([^`]+)`", ROLE.sub("", cell)):
        if code.startswith("("):  # a shape
            known = any(code in (thing.__doc__ or "") for thing in things)
        else:
            known = any(re.match(r"\w+", code)[0] in names(thing) for thing in things)
        if not known:
            found.append(f"{code}: not in {', '.join(name for _, name in roles)}")
    return found


def test_the_page_has_its_rows():
    assert len(rows(NOTATION)) >= 25
    assert sum(bool(cell) for cell in rows(NOTATION).values()) >= 20


@pytest.mark.parametrize(
    ("symbol", "cell"), [(s, c) for s, c in rows(NOTATION).items() if c], ids=lambda text: text[:20]
)
def test_what_a_symbol_is_called_exists(symbol, cell):
    assert faults(cell) == []


@pytest.mark.parametrize(
    "renamed",
    [
        "{py:func}`~tccam.cam.normalise`",
        "{py:class}`~tccam.cam.normalize`",
        "{py:func}`~tccam.cams.normalize`",
        "`epsilon` of {py:func}`~tccam.cam.normalize`",
        "`map[:, c]` of {py:class}`~tccam.network.CamOutput`",
        "`(C, B, h, w)` of {py:class}`~tccam.network.CamOutput`",
        "`maps`",
    ],
)
def test_a_rename_is_noticed(renamed):
    assert faults(renamed)


def public():
    """Every function and class that the library offers, by its full name."""
    modules = [m.name for m in pkgutil.walk_packages(tccam.__path__, "tccam.")]
    found = {}
    for name in modules:
        if not name.startswith("tccam.cli"):
            module = importlib.import_module(name)
            for member in getattr(module, "__all__", ()):
                thing = getattr(module, member)
                if inspect.isfunction(thing) or inspect.isclass(thing):
                    found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return found


def shown(thing):
    """Whether a thing's documentation, or that of its methods, runs an example of it."""
    tests = doctest.DocTestFinder().find(thing)
    return any(example.source for test in tests for example in test.examples)


# What readers are handed, and build none of: results, clips of a data set, protocols, errors,
# and the parts of graders.
HANDED = {
    "tccam.widgets.retraining.Retrained",
    "tccam.exercises.core.Case",
    "tccam.exercises.core.Exercise",
    "tccam.exercises.core.Feedback",
    "tccam.exercises.core.UnusableAnswerError",
    "tccam.background.Removed",
    "tccam.data.belt.BeltClip",
    "tccam.data.belt.BeltObject",
    "tccam.data.clip.Clip",
    "tccam.data.clip.LabelledClip",
    "tccam.data.dataset.DataSet",
    "tccam.data.dataset.LabelledFolder",
    "tccam.data.flows.ClipFlow",
    "tccam.data.recording.Written",
    "tccam.data.sprites.Sprite",
    "tccam.data.tree.Problem",
    "tccam.data.tree.Survey",
    "tccam.data.tree.Video",
    "tccam.errors.TccamError",
    "tccam.inference.Curve",
    "tccam.inference.Report",
    "tccam.metrics.BestThreshold",
    "tccam.metrics.Interval",
    "tccam.metrics.Paired",
    "tccam.metrics.PrecisionRecall",
    "tccam.network.CamOutput",
    "tccam.pseudo.SamPredictor",
    "tccam.segmentation.Segmented",
    "tccam.study.plan.Arm",
    "tccam.study.results.Comparison",
    "tccam.suitability.Check",
    "tccam.training.loop.Run",
}
# What needs published weights, a finished run, or minutes: chapters and tests show these.
HEAVY = {
    "tccam.data.dataset.FolderData",
    "tccam.data.dataset.flow_content",
    "tccam.data.flows.stream_flow",
    "tccam.data.precompute.static_picture",
    "tccam.data.sprites.draw",
    "tccam.files.download_state",
    "tccam.notebook.glue_comparisons",
    "tccam.pseudo.sam",
    "tccam.segmentation.segment",
    "tccam.segmentation.segment_files",
    "tccam.segmentation.write_annotations",
    "tccam.segmentation.write_overlay",
    "tccam.study.engine.run",
    "tccam.study.engine.score",
    "tccam.study.engine.verify",
    "tccam.study.results.save",
    "tccam.training.batches.FrameSet",
    "tccam.training.batches.Neighbours",
    "tccam.training.batches.Sampler",
    "tccam.widgets.base.Explorer",
}


def test_every_public_thing_has_an_example_that_runs():
    without = {name for name, thing in public().items() if not shown(thing)}
    assert sorted(without - HANDED - HEAVY) == []


def test_what_is_excused_exists_and_still_has_none():
    without = {name for name, thing in public().items() if not shown(thing)}
    assert sorted((HANDED | HEAVY) - without) == []


def test_most_things_have_one():
    assert len(HANDED | HEAVY) < len(public()) / 4


def test_a_thing_without_an_example_is_noticed():
    def bare():
        """Does nothing."""

    assert not shown(bare)
    assert shown(tccam.cam.normalize)
