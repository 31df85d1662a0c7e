"""Lint for quizzes: what would be wrong, unfair or missing in the questions of a chapter.

``tools/check_notebooks.py`` runs it. A quiz is right when every answer is explained, when the text
tells which answer is right, and when it claims no result that it does not hold itself.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tccam.errors import TccamError
from tccam.quizzes import HEADINGS, TYPES, Quiz

__all__ = ["check_quizzes", "check_shown", "shown"]

Json = dict[str, Any]

LEAST = {"predict": 1, "check": 2}
FEWEST_OPTIONS = 3
FEWEST_WORDS = 4
KEYS = {"question", "type", "answers", "precision", "seed"}
ANSWER_KEYS = {
    "multiple_choice": {"answer", "correct", "feedback"},
    "many_choice": {"answer", "correct", "feedback"},
    "numeric": {"type", "value", "range", "correct", "feedback"},
}
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")
SMALL = {"0", "1", "2"}  # in formulas such as t − 1: nobody takes them for a result
TAG = re.compile(r"</?[a-zA-Z][^>]*>")


def check_quizzes(quizzes: Json) -> Iterator[str]:
    """What is wrong with the quizzes of one chapter, as sentences."""
    for name in sorted(quizzes.keys() - HEADINGS.keys()):
        yield f"{name!r} is no quiz: there are {', '.join(HEADINGS)}"
    for name, least in LEAST.items():
        questions = quizzes.get(name, [])
        if len(questions) < least:
            yield f"{name}: {len(questions)} questions; a chapter has at least {least}"
        for number, question in enumerate(questions, 1):
            for sentence in _question(question):
                yield f"{name}, question {number}: {sentence}"
    asked = [question.get("question") for part in quizzes.values() for question in part]
    for text, times in Counter(asked).items():
        if times > 1:
            yield f"the same question twice: {text!r}"


def _question(question: Json) -> Iterator[str]:
    kind, answers = question.get("type"), question.get("answers", [])
    if kind not in TYPES:
        yield f"type {kind!r}: expected {', '.join(TYPES)}"
        return
    unknown = question.keys() - KEYS
    for answer in answers:
        unknown |= answer.keys() - ANSWER_KEYS[kind]
    if unknown:
        yield f"nothing reads {', '.join(sorted(unknown))}"
    yield from _options(kind, answers)
    options = [_option(answer) for answer in answers]
    given = " ".join([str(question.get("question", "")), *options])
    known = SMALL | set(NUMBER.findall(given))
    texts = [question.get("question", ""), *(a.get("answer", "-") for a in answers)]
    for text in (*texts, *(answer.get("feedback", "") for answer in answers)):
        if not str(text).strip():
            yield "a text is empty"
        if re.sub(r"`[^`]*`", "", text).count("$") % 2 or text.count("`") % 2:
            yield f"a $ or ` without its partner: {text!r}"
        if match := TAG.search(text):
            yield f"texts are no HTML: {match[0]}"
    for answer in answers:
        feedback = answer.get("feedback", "")
        if len(feedback.split()) < FEWEST_WORDS:
            yield f"the feedback of {_option(answer)!r} explains nothing: {feedback!r}"
        for found in NUMBER.findall(feedback):
            if found not in known:
                yield f"the feedback of {_option(answer)!r} claims {found}, which is not asked"


def _options(kind: str, answers: list[Json]) -> Iterator[str]:
    options = [_option(answer) for answer in answers]
    if len(set(options)) < len(options):
        yield "two of its options are the same"
    for answer in answers:
        if not isinstance(answer.get("correct", False), bool) or (
            "correct" not in answer and answer.get("type") != "default"
        ):
            yield f"{_option(answer)!r} is neither true nor false"
    right = sum(answer.get("correct") is True for answer in answers)
    if kind == "numeric":
        if right != 1:
            yield f"{right} right answers; a number has one"
        if sum(answer.get("type") == "default" for answer in answers) != 1:
            yield "no feedback of the type 'default' for all other numbers"
        for answer in answers:
            if answer.get("type") not in ("value", "range", "default"):
                yield f"an answer of the type {answer.get('type')!r}"
            elif answer["type"] != "default" and answer["type"] not in answer:
                yield f"an answer has no {answer['type']}"
        return
    if len(answers) < FEWEST_OPTIONS:
        yield f"{len(answers)} options; there are at least {FEWEST_OPTIONS}"
    if kind == "multiple_choice" and right != 1:
        yield f"{right} right answers; multiple_choice has one"
    if kind == "many_choice" and right < 2:
        yield f"{right} right answers; many_choice has at least two"


def _option(answer: Json) -> str:
    return str(answer.get("answer", answer.get("value", answer.get("range", "other numbers"))))


def shown(notebook: Json) -> Iterator[tuple[int, str, str]]:
    """The quizzes that cells of a notebook show: (cell index, chapter, name)."""
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code" or "quiz(" not in cell["source"]:
            continue
        try:
            tree = ast.parse(cell["source"])
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "notebook.quiz":
                given = [a.value for a in node.args if isinstance(a, ast.Constant)]
                if len(given) == 2:
                    yield index, str(given[0]), str(given[1])


def check_shown(chapter: str, notebook: Json, quizzes: Json) -> Iterator[tuple[int, str]]:
    """Where a chapter and its quizzes disagree: (cell index, sentence).

    Args:
        chapter: its name.
        notebook: nbformat 4 as a dictionary, with sources joined into strings.
        quizzes: of this chapter; empty if it has none.
    """
    found = list(shown(notebook))
    for name in HEADINGS.keys() & quizzes.keys():
        times = sum((whose, what) == (chapter, name) for _, whose, what in found)
        if times != 1:
            yield 0, f"it shows its quiz {name!r} {times} times, not once"
    for index, whose, name in found:
        cell = notebook["cells"][index]
        if whose != chapter or name not in quizzes:
            yield index, f"{whose} has no quiz {name!r} for this chapter"
            continue
        if "hide-input" not in cell["metadata"].get("tags", []):
            yield index, "it shows a quiz: the tag 'hide-input' folds its code on the page"
        try:
            expected = Quiz(HEADINGS[name], quizzes[name]).html()
        except TccamError:  # check_quizzes says why
            continue
        if not cell["outputs"]:
            continue  # not regenerated yet: check_notebooks says so of a whole chapter
        if not any(
            output.get("data", {}).get("text/html") == expected for output in cell["outputs"]
        ):
            yield index, "it shows an older quiz: make notebooks regenerates it"
