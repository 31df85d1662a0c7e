"""The ledger of claims: do the verdicts of ``book/claims.yml`` agree with the numbers?

``python tools/claims.py``    looks up every piece of evidence, and says where a verdict is wrong

A claim predicts something of a number: of a paired difference in a recorded study, or of a number
or a line that a chapter has stored. A prediction holds or it does not, and from that the verdict
follows: supported when all hold, not supported when none does, depends when some do. Each finding
is one line; the exit status is 1 when there is one.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_type_hints

import nbformat
import yaml
from check_notebooks import MARKERS

__all__ = [
    "GROUPS",
    "LEDGER",
    "VERDICTS",
    "Claim",
    "Entry",
    "Finding",
    "Glued",
    "Measured",
    "Printed",
    "Study",
    "check",
]

ROOT = Path(__file__).resolve().parent.parent
LEDGER = ROOT / "book" / "claims.yml"
#: Verdict → what it means.
VERDICTS = {
    "supported": "All that the claim predicts holds.",
    "not supported": "Nothing that it predicts holds.",
    "depends": "Some of it holds; the claim says on what it depends.",
    "not testable": "It cannot be tested here, whatever we do.",
}


class Group(NamedTuple):
    """A section of the ledger: its title, and how many claims it has."""

    title: str
    size: int


GROUPS = {
    "results": Group("The result", 3),
    "mechanisms": Group("Why it should work", 3),
    "breaks": Group("Where it should break", 3),
    "experiments": Group("First experiments", 3),
    "signatures": Group("Signs of failure", 3),
    "tradeoffs": Group("What it costs", 2),
    "checks": Group("Checks that are asked for", 3),
    "questions": Group("Open questions", 3),
    "facts": Group("Basics", 3),
}
SCORES = {
    "iou_argmax": "IoU by argmax",
    "iou_threshold": "IoU at the threshold",
    "pxap": "PxAP",
    "recall": "recall at the threshold",
    "precision": "precision at the threshold",
    "energy_outside": "energy outside objects",
}
SIDES = {"positive": "more than 0", "negative": "less than 0", "none": "no difference"}
#: A number in a text, with a hyphen or a minus.
_WRITTEN = r"[+−-]?\d+(?:\.\d+)?"
EXPECT = re.compile(r"(?P<sign>[<>]=?) *(?:(?P<number>[+-]?\d+(?:\.\d+)?)|\{(?P<key>\w+)\})")
#: Sign → how to compare, and how to say it of another measured number and of a fixed one.
SIGNS = {
    ">": (operator.gt, "more", "more than"),
    ">=": (operator.ge, "no less", "at least"),
    "<": (operator.lt, "less", "less than"),
    "<=": (operator.le, "no more", "at most"),
}
RECORD = "application/papermill.record/text/plain"


class Loader(yaml.SafeLoader):
    """YAML in which ``on`` is a word and not True, and a field is not given twice."""

    yaml_implicit_resolvers: ClassVar = {
        first: [found for found in kinds if first in "tTfF" or not found[0].endswith(":bool")]
        for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value]
        if len(set(names)) < len(names):
            name = Counter(names).most_common(1)[0][0]
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"the entry in line {line} has two fields {name!r}")
        return super().construct_mapping(node, deep)


class LedgerError(ValueError):
    """Something in the ledger that cannot be read or looked up; the message says what."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a claim, in one sentence."""

    claim: str
    sentence: str

    def __str__(self) -> str:
        return f"book/claims.yml: {self.claim}: {' '.join(self.sentence.split())}"


@dataclass(frozen=True)
class Measured:
    """A piece of evidence, looked up.

    Attributes:
        of: the arms that are compared; empty for a chapter's number.
        what: what was measured, in words.
        value: the numbers in words, with their interval where there is one.
        claimed: what the claim says of them.
        seeds: how many, where the number is a mean over seeds.
        holds: whether the prediction holds.
    """

    of: str
    what: str
    value: str
    claimed: str
    seeds: int | None
    holds: bool

    def __str__(self) -> str:
        about = f"{self.of}, {self.what}" if self.of else self.what
        return f"{about}: {self.value} {'holds' if self.holds else 'fails'}"


@dataclass(frozen=True)
class Study:
    """A paired difference of a recorded study, and the side of zero where the claim expects it."""

    study: str
    comparison: str | list
    place: Mapping
    score: str
    expect: str

    def look_up(self, records: Records) -> Measured:
        """The comparison; `positive` holds when the whole 95% interval is above zero."""
        if self.expect not in SIDES:
            raise LedgerError(f"expect: one of {', '.join(SIDES)}; got {self.expect!r}")
        recorded = records.study(self.study)
        name, pairs = self.comparison, recorded["pairs"]
        if isinstance(name, list):
            arms = {row["arm"] for row in recorded["rows"]}
            if len(name) != 2 or not arms.issuperset(name):
                raise LedgerError(f"comparison: two arms of the study {self.study}; got {name}")
            name, pairs = " − ".join(name), {" − ".join(name): name}
        elif name not in pairs:
            raise LedgerError(f"comparison: the study {self.study} has no {name!r}")
        if set(self.place) != set(recorded["axes"]):
            raise LedgerError(
                f"place: expected a value of {', '.join(recorded['axes'])}; got {dict(self.place)}"
            )
        (arm, control), place = pairs[name], {k: str(v) for k, v in self.place.items()}
        where = ", ".join(f"{axis} {value}" for axis, value in place.items())
        for found in records.compare({**recorded, "pairs": {name: (arm, control)}}, self.score):
            if {axis: str(value) for axis, value in found.place.items()} == place:
                break
        else:
            raise LedgerError(f"place: the study {self.study} has no {name!r} at {where}")
        gap = found.paired.difference
        holds = {"positive": gap.low > 0, "negative": gap.high < 0, "none": not found.clear}
        return Measured(
            of=f"*{arm}* less *{control}*",
            what=f"{where}, {SCORES.get(self.score, self.score)}",
            value=_interval(gap.mean, gap.low, gap.high, sign="+"),
            claimed=SIDES[self.expect],
            seeds=gap.n,
            holds=holds[self.expect],
        )


@dataclass(frozen=True)
class Glued:
    """A number that a chapter glues, and how the claim compares it."""

    notebook: str
    glue: str
    what: str
    expect: str
    low: str | None = None
    high: str | None = None
    interval: str | None = None
    seeds: str | int | None = None

    def look_up(self, records: Records) -> Measured:
        """The number; with an interval, its near end has to pass the comparison."""
        match = EXPECT.fullmatch(self.expect)
        if not match:
            raise LedgerError(f"expect: like '> 0.1' or '< {{key}}'; got {self.expect!r}")
        if (self.low is None) != (self.high is None):
            raise LedgerError("low and high come together")

        def number(key: str) -> float:
            return records.glued(self.notebook, key)

        compare, relation, bound = SIGNS[match["sign"]]
        other = number(match["key"]) if match["key"] else float(match["number"])
        value = near = number(self.glue)
        sign = "" if other else "+"  # a difference
        text = _number(value, sign)
        ends = None
        if self.low is not None and self.high is not None:
            ends = number(self.low), number(self.high)
        elif self.interval is not None:
            ends = records.ends(self.notebook, self.interval)
        if ends is not None:
            low, high = ends
            if not low <= value <= high:
                raise LedgerError(f"{self.glue} does not lie in its interval")
            near = low if ">" in match["sign"] else high
            text = _interval(value, low, high, sign)
        claimed = f"{bound} {match['number']}"
        if match["key"]:
            text, claimed = f"{text} against {_number(other)}", relation
        seeds = int(number(self.seeds)) if isinstance(self.seeds, str) else self.seeds
        return Measured("", self.what, text, claimed, seeds, bool(compare(near, other)))


@dataclass(frozen=True)
class Printed:
    """A line that a chapter prints, "…: True", in a cell whose output the tests check."""

    notebook: str
    prints: str
    expect: bool

    def look_up(self, records: Records) -> Measured:
        """The word after the colon."""
        said = records.printed(self.notebook, self.prints)
        return Measured("", self.prints, str(said), str(self.expect), None, said == self.expect)


@dataclass(frozen=True)
class Claim:
    """An entry of the ledger, as it is written."""

    id: str
    group: str
    claim: str
    source: str
    verdict: str
    on: str | None = None
    why: str | None = None
    note: str | None = None
    evidence: list = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """A claim with what was found for each piece of its evidence."""

    claim: Claim
    evidence: list[tuple[Study | Glued | Printed, Measured]]


class Records:
    """What was measured: the chapters and the recorded studies of a checkout, each read once."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._read: dict[str, Any] = {}

    def chapter(self, name: str) -> Any:
        """A chapter's notebook."""
        path = self.root / "notebooks" / f"{name}.ipynb"
        if not path.is_file():
            raise LedgerError(f"there is no notebooks/{name}.ipynb")
        if str(path) not in self._read:
            self._read[str(path)] = nbformat.read(path, as_version=4)
        return self._read[str(path)]

    def glued(self, chapter: str, key: str) -> float:
        """A number that a chapter glues, as a number or as it is written: "−0.03"."""
        value = self._glued(chapter, key)
        if isinstance(value, str) and re.fullmatch(rf"{_WRITTEN}%?", value):
            return _read_number(value.rstrip("%"))
        if isinstance(value, str):
            raise LedgerError(f"{chapter}.ipynb glues {key!r}, but {value!r} is not a number")
        return value

    def ends(self, chapter: str, key: str) -> tuple[float, float]:
        """The ends of an interval that a chapter glues as text: "+0.27 (+0.21 to +0.33)"."""
        text = str(self._glued(chapter, key))
        match = re.search(rf"\(({_WRITTEN})\sto\s({_WRITTEN})\)", text)
        if not match:
            raise LedgerError(f"{chapter}.ipynb glues {key!r}, but {text!r} holds no interval")
        return _read_number(match[1]), _read_number(match[2])

    def _glued(self, chapter: str, key: str) -> float | str:
        """What a chapter glues under a name."""
        for cell in self.chapter(chapter)["cells"]:
            for output in cell.get("outputs", []):
                if output.get("metadata", {}).get("scrapbook", {}).get("name") != key:
                    continue
                data = output["data"]
                text = str(data.get(RECORD, data.get("text/plain", "")))
                try:
                    value = ast.literal_eval(text)
                except (SyntaxError, ValueError):
                    value = text
                return value if isinstance(value, int | float | str) else text
        raise LedgerError(f"no cell of {chapter}.ipynb glues {key!r}")

    def printed(self, chapter: str, text: str) -> bool:
        """What stands after "text: " in the output of a checked cell."""
        found = []
        for cell in self.chapter(chapter)["cells"]:
            if not cell["source"].startswith(MARKERS[0]):
                continue
            for output in cell.get("outputs", []):
                lines = output.get("text", "").splitlines()
                found += [line for line in lines if line.startswith(f"{text}: ")]
        words = [line.removeprefix(f"{text}: ") for line in found]
        if len(words) != 1 or words[0] not in ("True", "False"):
            raise LedgerError(
                f"expected one checked line {text + ': True'!r}, or False, in {chapter}.ipynb; "
                f"found {found or 'none'}"
            )
        return words[0] == "True"

    def study(self, name: str) -> Any:
        """A recorded study."""
        from tccam.study.results import load  # noqa: PLC0415 - it brings torch along

        try:
            return load(name, self.root / "results")
        except ValueError as error:
            raise LedgerError(f"study: {error}") from error

    def compare(self, recorded: Mapping[str, Any], score: str) -> Any:
        """The comparisons of a recorded study."""
        from tccam.study.results import compare  # noqa: PLC0415

        try:
            return compare(recorded, score)
        except ValueError as error:
            raise LedgerError(f"score {score!r}: {error}") from error


def check(path: Path = LEDGER, root: Path = ROOT) -> tuple[list[Entry], list[Finding]]:
    """Read a ledger and hold it against the records.

    Args:
        path: of the ledger.
        root: the checkout whose ``notebooks`` and ``results`` have the numbers.

    Returns:
        The claims that could be read, with the evidence that could be looked up; and what is wrong.
    """
    try:
        written = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        return [], [Finding("the file", f"it cannot be read ({error})")]
    if not isinstance(written, list):
        return [], [Finding("the file", "expected a list of claims")]
    records, entries, findings = Records(root), [], []
    for number, raw in enumerate(written, 1):
        name = str(raw["id"]) if isinstance(raw, dict) and "id" in raw else f"claim {number}"
        try:
            claim = _made(Claim, raw)
        except LedgerError as error:
            findings.append(Finding(name, str(error)))
            continue
        evidence, wrong = _look_up(claim, records)
        entries.append(Entry(claim, evidence))
        wrong += _fields(entries[-1])
        if not wrong:
            wrong += _verdict(entries[-1])
        findings += [Finding(name, sentence) for sentence in wrong]
    return entries, findings + _whole(entries)


def _look_up(claim: Claim, records: Records) -> tuple[list[Any], list[str]]:
    """The evidence of a claim, and what cannot be found."""
    found, wrong = [], []
    for number, raw in enumerate(claim.evidence, 1):
        try:
            kinds = {"study": Study, "glue": Glued, "prints": Printed}
            kind = next((kinds[key] for key in kinds if isinstance(raw, dict) and key in raw), None)
            if kind is None:
                raise LedgerError("expected one of study, glue, prints")
            made = _made(kind, raw)
            found.append((made, made.look_up(records)))
        except LedgerError as error:
            wrong.append(f"evidence {number}: {error}")
    return found, wrong


def _made(kind: type, raw: Any) -> Any:
    """A dataclass from what the file says, if it says all that is needed, and nothing else."""
    if not isinstance(raw, dict):
        raise LedgerError(f"expected fields and values; got {raw!r}")
    needed = {f.name for f in fields(kind) if f.default is f.default_factory is MISSING}
    if missing := sorted(needed - raw.keys()):
        raise LedgerError(f"it has no {', '.join(missing)}")
    hints = get_type_hints(kind)
    if unknown := sorted(map(str, raw.keys() - hints.keys())):
        raise LedgerError(f"there is no field {', '.join(unknown)}")
    for name, value in raw.items():
        if not isinstance(value, hints[name]) or value in ("", None):
            raise LedgerError(f"{name}: {value!r} is not what belongs there")
    return kind(**raw)


def _fields(entry: Entry) -> list[str]:
    """What is wrong with a claim's fields."""
    claim, wrong = entry.claim, []
    if claim.group not in GROUPS:
        wrong.append(f"there is no group {claim.group!r}; there are {', '.join(GROUPS)}")
    if claim.verdict not in VERDICTS:
        wrong.append(f"there is no verdict {claim.verdict!r}; there are {', '.join(VERDICTS)}")
        return wrong
    tested = claim.verdict != "not testable"
    if tested != bool(claim.evidence):
        wrong.append(f"{claim.verdict!r} {'needs' if tested else 'has no'} evidence")
    for name, value, due in (
        ("on", claim.on, claim.verdict == "depends"),
        ("why", claim.why, not tested),
    ):
        if due != bool(value):
            wrong.append(f"{claim.verdict!r} {'needs' if due else 'has no'} {name!r}")
    for name in ("on", "why", "note"):
        if match := re.search(r"\d+\.\d+", getattr(claim, name) or ""):
            wrong.append(f"{name}: nobody checks the number {match[0]} there: make it evidence")
    return wrong


def _verdict(entry: Entry) -> list[str]:
    """Whether the verdict is the one that the evidence gives."""
    held = [measured.holds for _, measured in entry.evidence]
    if not held:
        return []
    says = "supported" if all(held) else "depends" if any(held) else "not supported"
    if says == entry.claim.verdict:
        return []
    lines = "; ".join(str(measured) for _, measured in entry.evidence)
    return [f"the verdict is {entry.claim.verdict!r}, the numbers say {says!r} ({lines})"]


def _whole(entries: list[Entry]) -> list[Finding]:
    """What is wrong with the ledger as a whole."""
    found = []
    names = Counter(entry.claim.id for entry in entries)
    found += [Finding(name, f"{n} claims have this id") for name, n in names.items() if n > 1]
    sizes = Counter(entry.claim.group for entry in entries)
    for name, group in GROUPS.items():
        if sizes[name] != group.size:
            sentence = f"the group {name!r} has {group.size} claims; found {sizes[name]}"
            found.append(Finding("the file", sentence))
    return found


def _number(value: float, sign: str = "") -> str:
    """A number as a reader wants it: three figures, or two decimals."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:{sign}.{decimals}f}".replace("-", "−")


def _read_number(text: str) -> float:
    return float(text.replace("−", "-"))


def _interval(value: float, low: float, high: float, sign: str = "") -> str:
    """A number and its 95% interval."""
    one, two, three = (f"{x:{sign}.3f}".replace("-", "−") for x in (value, low, high))
    return f"{one} ({two}\u00a0to\u00a0{three})"  # no line breaks in it


def main() -> int:
    """The command line; the exit status is 1 when there is something to mend."""
    _, findings = check()
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
