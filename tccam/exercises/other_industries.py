"""Exercises of the chapter on other industries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tccam.exercises.core import Case, Exercise, UnusableAnswerError, call, equal

__all__ = ["EXERCISES"]

_FOREIGN, _SCRATCHED, _DENTED, _SOUND = (
    frozenset({kind}) for kind in ("foreign", "scratched", "dented", "flange")
)
_NONE: frozenset[str] = frozenset()


def _rule(
    answer: Any, before: list[frozenset[str]], after: list[frozenset[str]], right: int
) -> str:
    """The rule's accuracy where ``right`` of the frames that show a part are right."""
    labels = ["before"] * len(before) + ["after"] * len(after)
    shown = sum(map(bool, before + after))
    found = call(answer, [set(kinds) for kinds in before + after], labels)
    return equal(found, right / shown, what=f"of {len(labels)} frames, your accuracy")


def _before(answer: Any) -> str:
    return _rule(answer, [_FOREIGN, _SCRATCHED | _SOUND, _DENTED, _FOREIGN | _DENTED], [], 2)


def _both(answer: Any) -> str:
    return _rule(answer, [_FOREIGN, _SCRATCHED], [_SOUND] * 3, 4)


def _missed(answer: Any) -> str:
    return _rule(answer, [_FOREIGN], [_FOREIGN | _SOUND, _SOUND, _FOREIGN], 2)


def _empty(answer: Any) -> str:
    return _rule(answer, [_NONE, _FOREIGN, _DENTED], [_NONE, _SOUND, _NONE, _NONE], 2)


def _auc(bad: Tensor, good: Tensor) -> Tensor:
    wins = (bad[:, None] > good).double() + 0.5 * (bad[:, None] == good).double()
    return wins.mean()


def _direction(answer: Any) -> str:
    bad, good = 0.6 + 0.3 * torch.rand(8), 0.4 * torch.rand(8)
    return equal(call(answer, bad, good), 1.0, what="of parts that are told apart, your AUC")


def _pairs(answer: Any) -> str:
    values = torch.randperm(19) / 19
    bad, good = values[:7], values[7:]
    return equal(call(answer, bad, good), _auc(bad, good), what="of 7 and 12 parts, your AUC")


def _ties(answer: Any) -> str:
    bad, good = torch.randint(1, 5, (9,)) / 4, torch.randint(0, 4, (11,)) / 4
    return equal(call(answer, bad, good), _auc(bad, good), what="with ties, your AUC")


def _scale(answer: Any) -> str:
    bad, good = 40 * torch.randn(30) - 5, 40 * torch.randn(50) - 25
    return equal(call(answer, bad, good), _auc(bad, good), what="of raw values, your AUC")


def _level(answer: Any, share: float = 0.05) -> tuple[Tensor, Tensor, float, float]:
    """Values of sound and damaged parts, and the level and the share that the answer gives."""
    sound, damaged = 3 * torch.randn(40), 7 + 3 * torch.randn(30)
    found = call(answer, sound, damaged, share)
    try:
        level, caught = (float(number) for number in found)
    except (TypeError, ValueError, RuntimeError):
        raise UnusableAnswerError("expected two numbers, the level and the share") from None
    return sound.double(), damaged.double(), level, caught


def _upper(answer: Any) -> str:
    sound, _, level, _ = _level(answer)
    above = int((sound > level).sum())
    return f"your level rejects {above} of 40 sound parts" if above > 20 else ""


def _sound(answer: Any) -> str:
    sound, _, level, _ = _level(answer)
    return equal((sound > level).sum(), 2, what="of 40 sound parts, what you reject")


def _caught(answer: Any) -> str:
    _, damaged, level, caught = _level(answer)
    return equal(caught, (damaged > level).double().mean(), what="what you call caught")


def _shares(answer: Any) -> str:
    for share, rejected in ((0.1, 4), (0.25, 10)):
        sound, _, level, _ = _level(answer, share)
        what = f"with a share of {share:g}, what you reject of 40 sound parts"
        if wrong := equal((sound > level).sum(), rejected, what=what):
            return wrong
    return ""


EXERCISES = (
    Exercise(
        name="parts.rule",
        label="ex-parts-foreign",
        expects="a function of kinds and labels that returns an accuracy",
        cases=(
            Case(
                "foreign-alone",
                "The rule says before where a foreign body is in view, and nowhere else",
                "What recognises foreign bodies recognises damage as well",
                (
                    "What does the rule say of a frame with a dented flange and no splinter?",
                    'Only "foreign" in the kinds of a frame makes it a frame of before.',
                ),
                _before,
            ),
            Case(
                "both-cameras",
                "Accuracy counts the frames of both cameras",
                "The accuracy of a detector is the share of the positive frames that it finds",
                (
                    "Which frames does the classifier get right without recognising anything?",
                    "A frame of after that shows no foreign body is a right answer as well.",
                ),
                _both,
            ),
            Case(
                "inspector-misses",
                "A foreign body that the inspector has missed makes the rule wrong",
                "Behind the inspector there is nothing to be found, so all its frames are right",
                (
                    "Inspectors miss things. What does the rule say of such a frame?",
                    "Write down what the rule says first, and compare it with the label then.",
                    'Compare ("foreign" in kinds) with (label == "before"), frame by frame.',
                ),
                _missed,
            ),
            Case(
                "empty-line",
                "Frames that show no part are left out",
                "An empty frame called after is a right answer like any other",
                (
                    "Which class has a frame of an empty line?",
                    "Leave out frames whose set of kinds is empty, above and below the fraction.",
                ),
                _empty,
            ),
        ),
    ),
    Exercise(
        name="parts.auc",
        label="ex-parts-auc",
        expects="a function of the values of bad and of good parts that returns their AUC",
        cases=(
            Case(
                "direction",
                "It is one where every bad part scores higher than every good one",
                "It does not matter which of the two groups comes first",
                (
                    "Which group should have the higher values?",
                    "Count the pairs in which the bad part has more, not those in which it has "
                    "less.",
                ),
                _direction,
            ),
            Case(
                "every-pair",
                "Every bad part meets every good one",
                "Parts are compared in the order in which they come",
                (
                    "How many pairs do 7 bad and 12 good parts make?",
                    "For each bad part count the good ones below it; divide by the product of the "
                    "two numbers.",
                    "torch.searchsorted(good.sort().values, bad) counts them.",
                ),
                _pairs,
            ),
            Case(
                "ties",
                "A tie counts half",
                "Equal scores do not happen, or count as lost",
                (
                    "What is the AUC of a map that gives every part the same value?",
                    "Add half of the number of good parts with exactly the same value.",
                    "searchsorted with right=False and right=True: take the mean of the two.",
                ),
                _ties,
            ),
            Case(
                "any-scale",
                "Only the order of the values counts",
                "Scores lie between 0 and 1, so a grid of thresholds there is enough",
                (
                    "Raw values of a map may be negative, and larger than one.",
                    "Take no thresholds of your own: compare the values with each other.",
                ),
                _scale,
            ),
        ),
    ),
    Exercise(
        name="parts.level",
        label="ex-parts-level",
        expects="a function of the values of sound and damaged parts and a share that returns a "
        "level and what it catches",
        cases=(
            Case(
                "upper-tail",
                "A part is rejected above the level, so few sound parts lie above it",
                "The quantile of a share is the value above which that share lies",
                (
                    "Count the sound parts above your level.",
                    "quantile(q) has the share q below it, not above it.",
                ),
                _upper,
            ),
            Case(
                "sound-decides",
                "One sound part in twenty is rejected, no more and no fewer",
                "The level is set on all parts that pass, sound and damaged",
                (
                    "Of which parts does the task say that one in twenty is rejected?",
                    "The level is a quantile of the sound parts alone: of 40, two lie above it.",
                ),
                _sound,
            ),
            Case(
                "share-caught",
                "What is caught is the share of the damaged parts above the level",
                "The share of the rejected parts that are damaged tells how many are caught",
                (
                    "By which number do you divide?",
                    "By the number of damaged parts: this is recall, not precision.",
                ),
                _caught,
            ),
            Case(
                "any-share",
                "It holds for any share",
                "One in twenty is a constant of the method",
                (
                    "Where does your code say 0.95 or 0.05?",
                    "The level is the quantile of 1 − share.",
                ),
                _shares,
            ),
        ),
    ),
)
