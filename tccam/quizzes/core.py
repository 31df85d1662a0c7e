"""Questions on a page: a list to unfold, of which a script makes forms where it runs."""

from __future__ import annotations

import html
import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from tccam.errors import TccamError

__all__ = ["HEADINGS", "TYPES", "Quiz", "answers", "load", "option"]

Json = dict[str, Any]

#: What stands above a quiz, by its name.
HEADINGS = {"predict": "Predict before you read on", "check": "Check yourself"}
#: The kinds of questions that can be shown.
TYPES = ("multiple_choice", "many_choice", "numeric")

_HERE = Path(__file__).parent
_MARKUP = re.compile(r"`(?P<code>[^`]+)`|\$(?P<formula>[^$]+)\$")
_VERDICTS = {True: "Right.", False: "Not quite."}


def load(chapter: str) -> dict[str, list[Json]]:
    """The quizzes of a chapter: lists of questions by name.

    Raises:
        TccamError: if the chapter has none, or its file is not an object of lists.

    Example:
        >>> sorted(load("the-belt"))
        ['check', 'predict']
    """
    path = _HERE / f"{chapter}.json"
    if not re.fullmatch(r"[a-z0-9-]+", chapter) or not path.is_file():
        known = ", ".join(sorted(p.stem for p in _HERE.glob("*.json"))) or "none"
        raise TccamError(f"chapter: no quizzes for {chapter!r}; there are some for: {known}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TccamError(f"{path.name}: not JSON: {error}") from None
    if not isinstance(found, dict) or not all(map(_is_quiz, found.values())):
        raise TccamError(f"{path.name}: expected an object of lists of questions")
    return found


def _is_quiz(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(question, dict) for question in part)


@dataclass(frozen=True)
class Quiz:
    r"""Questions under a heading.

    Texts may hold ```code``` and ``$formulas$``. Answers are shown in the order of the list.

    Attributes:
        heading: such as "Check yourself".
        questions: in the format of jupyterquiz: "question", "type" (multiple_choice, many_choice,
            numeric), "answers", for numbers "precision" (significant digits). Other keys are not
            looked at.

    Example:
        >>> left = {"answer": "left", "correct": False, "feedback": "It came from there."}
        >>> right = {"answer": "right", "correct": True, "feedback": "So the flow says."}
        >>> ask = {"question": "Where to?", "type": "multiple_choice", "answers": [left, right]}
        >>> print(Quiz("Check yourself", [ask]))
        Check yourself
        <BLANKLINE>
        1. Where to?
        <BLANKLINE>
            a. left
            b. right
        <BLANKLINE>
        Explanations
        <BLANKLINE>
        1.  a. left: Not quite. It came from there.
            b. right: Right. So the flow says.
    """

    heading: str
    questions: list[Json]

    def __post_init__(self) -> None:
        for number, question in enumerate(self.questions, 1):
            if question.get("type") not in TYPES or not question.get("answers"):
                raise TccamError(
                    f"questions: expected a type of {', '.join(TYPES)} and answers, got "
                    f"{question.get('type')!r} and {question.get('answers')!r} in question {number}"
                )

    def html(self) -> str:
        """The quiz as a piece of HTML that needs neither a kernel nor a network."""
        style, script = ((_HERE / f"quiz.{kind}").read_text("utf-8") for kind in ("css", "js"))
        questions = "\n".join(map(_question, self.questions))
        heading = html.escape(self.heading)
        return (
            f'<div class="tccam-quiz tex2jax_process mathjax_process" role="group"'
            f' aria-label="{heading}">\n<p class="tq-title"><strong>{heading}</strong></p>\n'
            f"{questions}\n</div>\n<style>{style}</style>\n<script>{script}</script>"
        )

    def __str__(self) -> str:
        asked, told = [], []
        for number, question in enumerate(self.questions, 1):
            options = [
                f"{ascii_lowercase[i]}. {option(a)}" for i, a in enumerate(answers(question))
            ]
            start = f"{number}. "
            asked.append(_wrap(f"{start}{question['question']}"))
            if question["type"] != "numeric":
                asked.append("\n".join(_wrap(option, "    ") for option in options))
            lines = [
                f"{option}: {_VERDICTS[bool(answer.get('correct'))]} {answer.get('feedback', '')}"
                for option, answer in zip(options, answers(question), strict=True)
            ]
            told.append(start + "\n".join(_wrap(line, "    ") for line in lines)[len(start) :])
        return "\n\n".join([self.heading, *asked, "Explanations", *told])

    __repr__ = __str__

    def _repr_mimebundle_(self, **kwargs: Any) -> Json:
        # Markdown is what nbconvert makes LaTeX of.
        text = str(self)
        return {"text/html": self.html(), "text/markdown": text, "text/plain": text}


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        92,
        initial_indent=indent,
        subsequent_indent=indent + "   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def answers(question: Json) -> list[Json]:
    """The answers of a question in the order in which they are shown.

    The right ones of a numeric question come first: the others are what is said to a guess.

    Example:
        >>> guess, right = {"feedback": "More."}, {"value": 9, "correct": True}
        >>> answers({"type": "numeric", "answers": [guess, right]})[0]["value"]
        9
    """
    found: list[Json] = question["answers"]
    if question["type"] == "numeric":
        return sorted(found, key=lambda answer: not answer.get("correct"))
    return found


def option(answer: Json) -> str:
    """What an answer says; for numbers, which ones it is the answer to.

    Example:
        >>> option({"range": [0.4, 0.6]})
        '0.4 to 0.6'
    """
    if "answer" in answer:
        return str(answer["answer"])
    if "value" in answer:
        return f"{answer['value']}"
    if "range" in answer:
        return f"{answer['range'][0]} to {answer['range'][1]}"
    return "other numbers"


def _rich(text: str) -> str:
    """A text as HTML: escaped, with `code` and $formulas$."""

    def mark(match: re.Match[str]) -> str:
        if match["code"]:
            return f"<code>{match['code']}</code>"
        return rf'<span class="math">\({match["formula"]}\)</span>'

    return _MARKUP.sub(mark, html.escape(str(text)))


def _question(question: Json) -> str:
    items = []
    for answer in answers(question):
        correct = bool(answer.get("correct"))
        span = [answer["value"]] * 2 if "value" in answer else answer.get("range")
        data = f' data-from="{span[0]}" data-to="{span[1]}"' if span else ""
        items.append(
            f'<li data-correct="{str(correct).lower()}"{data}><span>{_rich(option(answer))}</span>'
            f"<details><summary>Explanation</summary><p><strong>{_VERDICTS[correct]}</strong> "
            f"{_rich(answer.get('feedback', ''))}</p></details></li>"
        )
    precision = f' data-precision="{question["precision"]}"' if "precision" in question else ""
    return (
        f'<div class="tq-question" data-type="{question["type"]}"{precision}>\n'
        f"<p>{_rich(question['question'])}</p>\n<ul>\n" + "\n".join(items) + "\n</ul>\n</div>"
    )
