"""What an exercise is, and how an answer to it is judged."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tccam.errors import TccamError

__all__ = [
    "Case", "Exercise", "Feedback", "UnusableAnswerError", "call", "equal", "gradients", "within",
]  # fmt: skip

_WIDTH = 76  # columns of a cell's output on the page
_SEED = 2502_01455


class UnusableAnswerError(Exception):
    """An answer that cannot be judged: it crashed, or gave nothing. The message says which."""


@dataclass(frozen=True)
class Case:
    """One property that a right answer has, and what to say to an answer without it.

    Attributes:
        name: short and unique in its exercise, such as "row-major".
        says: the property as a sentence, without a full stop.
        misconception: what somebody believes whose answer fails here, for teachers.
        hints: from a nudge to nearly the answer; at least two.
        complain: answer → what is wrong with it, or "" where the property holds. It uses
            :func:`call`, :func:`equal` and :func:`within`.
    """

    name: str
    says: str
    misconception: str
    hints: tuple[str, ...]
    complain: Callable[[Any], str]


@dataclass(frozen=True)
class Exercise:
    """A task whose answer a program can judge.

    Attributes:
        name: as in ``check("puzzle.tile", ...)``: a word for the subject, and one for the task.
        label: of its text in the book, such as "ex-puzzle-tile".
        expects: what to hand in, as words after "expected", such as "a function of images".
        cases: looked at in this order; the first one that fails is what the reader hears of.
    """

    name: str
    label: str
    expects: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Feedback:
    """What the reader hears. It is true when the answer is right.

    Attributes:
        exercise: its name.
        passed: whether every case holds.
        case: the name of the first case that fails; "" if none does, or nothing was handed in.
        text: what is shown.
    """

    exercise: str
    passed: bool
    case: str
    text: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return self.text


def judge(exercise: Exercise, answer: Any, hint: int) -> Feedback:
    """Hold an answer against the cases of an exercise, the first that fails decides.

    Hidden inputs are the same in every run, and the reader's random numbers stay where they are.

    Args:
        exercise: the exercise.
        answer: a function or a value, as ``exercise.expects`` says.
        hint: which hint to show, from 1.

    Raises:
        TccamError: if ``hint`` is no whole number from 1 on.
    """
    if isinstance(hint, bool) or not isinstance(hint, int) or hint < 1:
        raise TccamError(f"hint: expected 1, 2, …, got {hint!r}")
    nothing = f"○ {exercise.name}: nothing to check yet. Expected {exercise.expects}."
    if answer is None or answer is ...:
        return Feedback(exercise.name, False, "", textwrap.fill(nothing, _WIDTH))
    for number, case in enumerate(exercise.cases):
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(_SEED + number)
            try:
                found = case.complain(answer)
            except NotImplementedError:
                return Feedback(exercise.name, False, "", textwrap.fill(nothing, _WIDTH))
            except UnusableAnswerError as error:
                found = str(error)
            except Exception as error:  # what an answer returns can break any comparison
                found = f"comparing your answer raised {type(error).__name__}: {error}"
        if found:
            return Feedback(
                exercise.name, False, case.name, _failure(exercise, number, found, hint)
            )
    count = len(exercise.cases)
    text = f"✓ {exercise.name}: right in {'its one case' if count == 1 else f'all {count} cases'}."
    return Feedback(exercise.name, True, "", text)


def _failure(exercise: Exercise, number: int, found: str, hint: int) -> str:
    case = exercise.cases[number]
    shown = min(hint, len(case.hints))
    lines = [
        f"✗ {exercise.name}: not yet. {case.says}.",
        f"Found: {found}",
        f"Hint {shown} of {len(case.hints)}: {case.hints[shown - 1]}",
    ]
    if number:
        lines[0] += f" ({number} of {len(exercise.cases)} cases hold.)"
    if shown < len(case.hints):
        lines.append(f'One more: exercises.check("{exercise.name}", …, hint={shown + 1})')
    elif hint > shown:
        lines.append("That was the last hint.")
    return "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent="    ") for line in lines)


def call(answer: Any, *inputs: Any, **options: Any) -> Any:
    """What a reader's function returns. It gets copies of tensors, which it may change.

    Raises:
        UnusableAnswerError: if it is no function, fails, or returns nothing.
        NotImplementedError: if it says itself that it is not written yet.

    Example:
        >>> call(lambda x: x + 1, torch.zeros(2))
        tensor([1., 1.])
    """
    if not callable(answer):
        raise UnusableAnswerError(f"expected a function, got {_words(answer)}")
    copies = [_copy(x) for x in inputs]
    try:
        result = answer(*copies, **{name: _copy(x) for name, x in options.items()})
    except NotImplementedError:
        raise
    except Exception as error:
        raise UnusableAnswerError(
            f"your function raised {type(error).__name__}: {error}"
        ) from error
    if result is None:
        if _says_nothing(answer):
            raise NotImplementedError
        raise UnusableAnswerError("your function returned None; is there a return?")
    return result


def _says_nothing(function: Any) -> bool:
    """Whether "..." is all that a function's body says."""
    code, empty = getattr(function, "__code__", None), (lambda: ...).__code__
    return code is not None and len(code.co_code) <= len(empty.co_code)


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()  # no leaf: it may be changed in place
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_copy(item) for item in value)
    return value


def equal(found: Any, expected: Any, *, what: str = "your result", atol: float = 1e-5) -> str:
    """How a number, a truth value, a sequence of them or a tensor differs from what it should be.

    Args:
        found: what the reader hands in.
        expected: what is right; shapes count, and of dtypes whether they are bool.
        what: subject of the sentence.
        atol: largest difference of an element that still counts as none.

    Returns:
        A sentence without the right numbers, or "" where there is no difference.

    Example:
        >>> equal(torch.zeros(2, 3), torch.zeros(3, 2))
        'your result has the shape (2, 3), expected (3, 2)'
        >>> equal(0.5, 0.5)
        ''
    """
    if isinstance(found, np.ndarray):
        found = found.copy()  # PyTorch reads no array backwards
    try:
        tensor = torch.as_tensor(found).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        return f"{what} is {_words(found)}, expected numbers"
    right = torch.as_tensor(expected)
    wrong = ""
    if tensor.shape != right.shape:
        wrong = f"has the shape {tuple(tensor.shape)}, expected {tuple(right.shape)}"
    elif (tensor.dtype == torch.bool) != (right.dtype == torch.bool):
        wrong = f"has the dtype {tensor.dtype}, expected {right.dtype}"
    elif not tensor.isfinite().all():
        wrong = "holds a number that is not finite"
    if wrong:
        return f"{what} {wrong}"
    apart = (tensor.double() - right.double()).abs() > atol
    if not apart.any():
        return ""
    if right.ndim == 0:
        return f"{what} is {_words(tensor.item())}, which is not it"
    place = tuple(apart.nonzero()[0].tolist())
    return f"{what} is wrong in {int(apart.sum())} of {right.numel()} places, first at {place}"


def within(found: Any, low: float, high: float, *, what: str = "your number") -> str:
    """Whether a number lies in a range: "", or a sentence that says that it does not.

    Example:
        >>> within(0.7, 0.5, 0.6)
        'your number is 0.7, expected 0.5 … 0.6'
    """
    try:
        number = float(found)
    except (TypeError, ValueError, RuntimeError):
        return f"{what} is {_words(found)}, expected a number"
    if low <= number <= high:
        return ""
    return f"{what} is {number:.4g}, expected {low:g} … {high:g}"


def gradients(loss: Any, sides: Mapping[str, Tensor]) -> str:
    """Whether a gradient of a loss arrives at all of its inputs: "", or at which it does not.

    Example:
        >>> one, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> gradients((one * other.detach()).sum(), {"one": one, "other": other})
        'no gradient arrives at other'
    """
    for name, side in sides.items():
        if not getattr(loss, "requires_grad", False):
            return "your result carries no gradient"
        (found,) = torch.autograd.grad(loss, side, retain_graph=True, allow_unused=True)
        if found is None:
            return f"no gradient arrives at {name}"
    return ""


def _words(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor) and value.numel() > 1:
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, bool | int | str):
        return repr(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"a {type(value).__name__}"
