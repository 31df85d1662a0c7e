"""Graders: solutions of the book pass, typical mistakes fail where they should."""

import ast
import importlib.util
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import tccam
from tccam import exercises
from tccam.errors import TccamError
from tccam.exercises import core

ROOT = Path(__file__).resolve().parents[2]
CATALOG = exercises.catalog()
MISTAKES = {}
for path in sorted((ROOT / "tests" / "unit" / "mistakes").glob("*.py")):
    spec = importlib.util.spec_from_file_location(f"mistakes_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    MISTAKES |= module.MISTAKES

PRELUDE = """
import math
import numpy as np
import torch
import torch.nn.functional as F
import tccam
from tccam import background, cam, exercises, flow, inference, metrics, network, pseudo, puzzle
from tccam import study, temporal, training, viz
from tccam.data import BeltConfig, SyntheticBelt
from tccam.network import CamNet
"""
SOLUTION = re.compile(r"^(`{3,}|:{3,})\{solution\} (\S+)\n(.*?)\n\1$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@cache
def chapters():
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["cells"]
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    }


@cache
def solutions():
    """Label → (chapter, Python code) of every solution in the book that has code."""
    found = {}
    for chapter, cells in chapters().items():
        for cell in cells:
            for _, label, text in SOLUTION.findall("".join(cell["source"])):
                if blocks := CODE.findall(text):
                    found[label] = chapter, "\n".join(blocks)
    return found


def calls():
    """(chapter, exercise, what is handed in, as code) of every check in the book."""
    for chapter, cells in chapters().items():
        for cell in cells:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and "exercises.check(" in source:
                for node in ast.walk(ast.parse(source)):
                    if isinstance(node, ast.Call) and ast.unparse(node.func) == "exercises.check":
                        name, answer = node.args
                        yield chapter, ast.literal_eval(name), ast.unparse(answer)


def test_every_exercise_is_in_one_chapter():
    assert sorted(name for _, name, _ in calls()) == sorted(CATALOG)


def test_nothing_handed_in_is_not_judged():
    """Every stub of the book, as it is handed out."""
    for chapter, cells in chapters().items():
        for cell in cells:
            if cell["cell_type"] == "code" and "exercises.check(" in "".join(cell["source"]):
                (output,) = cell["outputs"]
                said = "".join(output["data"]["text/plain"])
                assert said.startswith("○ "), (chapter, said)


def test_every_chapter_grades_two_answers():
    graded = [chapter for chapter, _, _ in calls()]
    assert {c: graded.count(c) for c in chapters() if graded.count(c) < 2} == {}


def test_every_exercise_states_its_target():
    blocks = re.compile(r"^(`{3,}|:{3,})\{exercise\}[^\n]*\n(.*?)\n\1$", re.MULTILINE | re.DOTALL)
    texts = [
        text
        for cells in chapters().values()
        for cell in cells
        for _, text in blocks.findall("".join(cell["source"]))
    ]
    assert len(texts) >= 24
    assert [text for text in texts if "**Target**:" not in text] == []
    labels = {label for text in texts for label in re.findall(r":label: (\S+)", text)}
    assert {e.label for e in CATALOG.values()} <= labels


@pytest.mark.parametrize(("chapter", "name", "answer"), list(calls()))
def test_the_book_s_solution_is_right(chapter, name, answer):
    where, code = solutions()[CATALOG[name].label]
    assert where == chapter
    space = {}
    exec(PRELUDE + code, space)
    feedback = exercises.check(name, eval(answer, space))
    assert feedback, feedback


@pytest.mark.parametrize("name", CATALOG)
def test_every_case_catches_a_typical_mistake(name):
    wrong = MISTAKES[name]
    assert list(wrong) == [case.name for case in CATALOG[name].cases]
    for case in CATALOG[name].cases:
        for tier, hint in enumerate(case.hints, 1):
            feedback = exercises.check(name, wrong[case.name], hint=tier)
            assert not feedback
            assert feedback.case == case.name, feedback
            assert " ".join(hint.split()) in " ".join(feedback.text.split())


@pytest.mark.parametrize("name", CATALOG)
def test_hints_come_in_tiers(name):
    exercise = CATALOG[name]
    assert re.fullmatch(r"[a-z]+\.[a-z-]+", exercise.name)
    assert exercise.label.startswith("ex-")
    for case in exercise.cases:
        assert len(case.hints) >= 2
        assert len(set(case.hints)) == len(case.hints)
        assert case.misconception
        assert not case.says.endswith(".")


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("nonsense", [3, "x", lambda *_: "x", lambda *_: torch.zeros(0), object()])
def test_nonsense_gets_words_and_no_traceback(name, nonsense):
    feedback = exercises.check(name, nonsense)
    assert not feedback
    assert "not yet" in feedback.text


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("nothing", [None, ...])
def test_nothing_is_not_wrong(name, nothing):
    feedback = exercises.check(name, nothing)
    assert not feedback
    assert feedback.text.startswith("○")


def test_function_of_an_ellipsis_is_not_started():
    def not_yet(images, pieces):
        """Only words."""
        ...

    assert exercises.check("puzzle.tile", not_yet).text.startswith("○")

    def forgot(images, pieces):
        images.reshape(-1)

    def divides(images, pieces):
        images / pieces

    for answer in (forgot, divides):
        assert "is there a return" in exercises.check("puzzle.tile", answer).text


def test_checks_leave_random_numbers_and_inputs_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert exercises.check("puzzle.tile", lambda x, n: tccam.puzzle.tile(x.mul_(1), n))
    assert torch.equal(torch.rand(1), expected)

    def spoils(images, pieces):
        tiles = tccam.puzzle.tile(images, pieces).clone()
        images.zero_()
        return tiles

    assert exercises.check("puzzle.tile", spoils)  # the same picture is cut into 1, 9 and 16
    kinds = [{"foreign"}, {1: "a"}]
    core.call(lambda given: [given[0].clear(), given], kinds)
    assert kinds[0] == {"foreign"}


def test_unknown_names_and_hints_are_refused():
    with pytest.raises(TccamError, match=r"name: no exercise 'puzzle.tiles'; did you mean puzzle"):
        exercises.check("puzzle.tiles", None)
    for hint in (0, "2", True):
        with pytest.raises(TccamError, match="hint: expected 1, 2"):
            exercises.check("puzzle.tile", None, hint=hint)


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (torch.zeros(2), torch.zeros(3), "shape (2,), expected (3,)"),
        (torch.zeros(2), torch.ones(2), "wrong in 2 of 2 places, first at (0,)"),
        (torch.tensor([0.0, torch.nan]), torch.zeros(2), "not finite"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bool), "dtype"),
        ("a", 1.0, "expected numbers"),
        (2, 3, "is 2, which is not it"),
        (np.arange(3.0)[::-1], torch.tensor([2.0, 1.0, 0.0]), ""),
        (np.float64(0.5), 0.5, ""),
        ((1, 2), (1, 2), ""),
    ],
)
def test_comparison_says_what_differs(found, expected, words):
    said = core.equal(found, expected)
    assert words in said
    assert bool(said) == bool(words)
