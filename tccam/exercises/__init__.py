"""Graders of the book's exercises: offline, by properties and hidden cases, with hints in tiers.

Each exercise stands in a chapter; ``check`` looks at what you hand in, and says what holds, what
does not, and where to look. Ask for the next hint with ``hint=2``.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import Any

from tccam.errors import TccamError
from tccam.exercises.core import Case, Exercise, Feedback, judge

__all__ = ["Case", "Exercise", "Feedback", "catalog", "check"]


def catalog() -> dict[str, Exercise]:
    """All exercises by name, chapter by chapter.

    Example:
        >>> catalog()["puzzle.tile"].label
        'ex-puzzle-tile'
    """
    found: dict[str, Exercise] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        exercises = getattr(importlib.import_module(module.name), "EXERCISES", ())
        found |= {exercise.name: exercise for exercise in exercises}
    return found


def check(name: str, answer: Any, *, hint: int = 1) -> Feedback:
    """Judge an answer to an exercise of the book.

    Nothing is remembered: the same answer gets the same words. Functions get copies of hidden
    inputs, which are the same in every run.

    Args:
        name: of the exercise, such as "puzzle.tile".
        answer: your function or value; ``...`` or None where there is none yet.
        hint: which hint you want for the first case that fails, from 1; the last one is nearly the
            answer.

    Returns:
        A :class:`Feedback`: true when the answer is right. Its text is shown under the cell.

    Raises:
        TccamError: if there is no such exercise or hint.

    Example:
        >>> from tccam import puzzle
        >>> check("puzzle.tile", puzzle.tile)
        ✓ puzzle.tile: right in all 5 cases.
        >>> bool(check("puzzle.tile", lambda images, pieces: images))
        False
    """
    exercises = catalog()
    if name not in exercises:
        close = difflib.get_close_matches(str(name), exercises, n=3, cutoff=0.4) or exercises
        raise TccamError(f"name: no exercise {name!r}; did you mean {', '.join(close)}?")
    return judge(exercises[name], answer, hint)
