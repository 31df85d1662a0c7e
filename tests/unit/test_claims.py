"""The ledger of claims: the committed one agrees with the numbers, and what is wrong is found."""

import csv
import json
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import claims  # noqa: E402

LEDGER = yaml.load(claims.LEDGER.read_text(encoding="utf-8"), claims.Loader)


def said(ledger, tmp_path, root=ROOT):
    """What the check says of a ledger, as a list or as text."""
    path = tmp_path / "claims.yml"
    text = ledger if isinstance(ledger, str) else yaml.safe_dump(ledger, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    return [str(finding) for finding in claims.check(path, root)[1]]


def test_the_committed_ledger_agrees_with_the_numbers(capsys):
    assert claims.main() == 0
    assert capsys.readouterr().out == ""


def test_it_is_the_whole_of_the_notes():
    entries, _ = claims.check()
    assert len(entries) == len(LEDGER) == sum(group.size for group in claims.GROUPS.values())
    for name in ("mechanisms", "breaks", "experiments", "checks", "questions"):
        assert claims.GROUPS[name].size == 3
    assert {entry.claim.verdict for entry in entries} <= set(claims.VERDICTS)
    assert sum(len(entry.evidence) for entry in entries) == sum(
        len(raw.get("evidence", [])) for raw in LEDGER
    )


def change(name, **fields):
    """A defect: some fields of a claim get other values; None removes one."""

    def made(ledger):
        claim = next(raw for raw in ledger if raw["id"] == name)
        claim |= fields
        for key in [key for key, value in claim.items() if value is None]:
            del claim[key]

    return name, made


def evidence(name, number, **fields):
    """A defect in one piece of evidence, counted from 1."""
    pieces = next(raw for raw in deepcopy(LEDGER) if raw["id"] == name)["evidence"]
    piece = pieces[number - 1]
    piece |= fields
    pieces[number - 1] = {key: value for key, value in piece.items() if value is not None}
    return change(name, evidence=pieces)


STUDY = "temporal"  # a claim whose evidence is a study: the first piece holds, the second does not
GLUED = "spatial"  # one whose evidence is glued: the first piece has an interval


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (change("bias-check", evidence=None), "'supported' needs evidence"),
        (change("bias-check", evidence=[]), "'supported' needs evidence"),
        (change("miou", evidence=LEDGER[1]["evidence"]), "'not testable' has no evidence"),
        (change("miou", why=None), "'not testable' needs 'why'"),
        (change("bias-check", why="It is so."), "'supported' has no 'why'"),
        (change("bias-check", on="the day"), "'supported' has no 'on'"),
        (change(STUDY, on=None), "'depends' needs 'on'"),
        (change(STUDY, verdict="supported", on=None), "is 'supported', the numbers say 'depends'"),
        (change("full-method", verdict="supported"), "the numbers say 'not supported'"),
        (change("bias-check", verdict="not supported"), "the numbers say 'supported'"),
        (change("bias-check", verdict="proven"), "there is no verdict 'proven'"),
        (change("bias-check", group="proofs"), "there is no group 'proofs'"),
        (change("bias-check", source=None), "it has no source"),
        (change("bias-check", source=""), "source: '' is not what belongs there"),
        (change("bias-check", claim=["A", "B"]), "claim: ['A', 'B'] is not what belongs there"),
        (change("bias-check", verdit="supported"), "there is no field verdit"),
        (change("bias-check", note="It is 0.43."), "nobody checks the number 0.43 there"),
        (change("bias-check", evidence=["glue"]), "evidence 1: expected one of study, glue,"),
        (evidence(STUDY, 1, study="ablatoin"), "evidence 1: study: name: no study 'ablatoin'"),
        (evidence(STUDY, 1, comparison="time"), "the study ablation has no 'time'"),
        (evidence(STUDY, 1, comparison=["both", "nothing"]), "two arms of the study ablation"),
        (evidence(STUDY, 1, comparison=["both"]), "two arms of the study ablation; got ['both']"),
        (evidence(STUDY, 2, place={"stride": 8}), "evidence 2: place: the study ablation has no"),
        (evidence(STUDY, 1, place={}), "place: expected a value of stride; got {}"),
        (evidence(STUDY, 1, score="iou"), "evidence 1: score 'iou': score: expected one of arm,"),
        (
            evidence(STUDY, 1, score="arm"),
            "evidence 1: score 'arm': arm: not a number for each seed",
        ),
        (evidence(STUDY, 1, expect="more"), "expect: one of positive, negative, none; got 'more'"),
        (evidence(STUDY, 1, glue="x"), "evidence 1: there is no field glue"),
        (evidence(GLUED, 1, glue="puzzle_x"), "no cell of puzzle-tiling.ipynb glues 'puzzle_x'"),
        (evidence(GLUED, 1, expect="> {puzzle_x}"), "puzzle-tiling.ipynb glues 'puzzle_x'"),
        (evidence(GLUED, 1, expect="about 0.2"), "expect: like '> 0.1' or '< {key}'; got 'about"),
        (evidence(GLUED, 1, expect="> 0.1 or so"), "expect: like '> 0.1'"),
        (evidence("inference", 1, high=None), "low and high come together"),
        (evidence("inference", 1, low="flow_seeds"), "does not lie in its interval"),
        (evidence(GLUED, 1, glue="puzzle_seeds"), "does not lie in its interval"),
        (evidence(GLUED, 1, interval="puzzle_seeds"), "holds no interval"),
        (evidence(GLUED, 1, seeds="puzzle_x"), "puzzle-tiling.ipynb glues 'puzzle_x'"),
        (evidence(GLUED, 1, notebook="puzzle"), "there is no notebooks/puzzle.ipynb"),
        (evidence(GLUED, 1, what=None), "evidence 1: it has no what"),
        (evidence("inference", 1, glue="flow_iou_10_4_x"), "glues 'flow_iou_10_4_x'"),
        (evidence("pooling", 1, prints="same logits"), "expected one checked line 'same logits: "),
        (evidence("pooling", 1, prints="library gives the same"), "found ['library gives the same"),
        (evidence("pooling", 1, expect="True"), "expect: 'True' is not what belongs there"),
    ],
)
def test_a_defect_is_named_in_one_line(defect, message, tmp_path):
    name, make = defect
    ledger = deepcopy(LEDGER)
    make(ledger)
    found = said(ledger, tmp_path)
    about = [line for line in found if line.startswith(f"book/claims.yml: {name}: ")]
    assert len(about) == 1, found
    assert message in about[0]
    assert "\n" not in about[0]
    assert all(line in about or "the file: the group" in line for line in found)


@pytest.mark.parametrize("group", claims.GROUPS)
def test_a_missing_member_of_a_group_is_noticed(group, tmp_path):
    ledger = deepcopy(LEDGER)
    ledger.remove(next(raw for raw in ledger if raw["group"] == group))
    size = claims.GROUPS[group].size
    expected = f"the group {group!r} has {size} claims; found {size - 1}"
    assert said(ledger, tmp_path) == [f"book/claims.yml: the file: {expected}"]


def test_an_id_stands_for_one_claim(tmp_path):
    ledger = deepcopy(LEDGER)
    ledger[1]["id"] = ledger[0]["id"]
    assert said(ledger, tmp_path) == [f"book/claims.yml: {ledger[0]['id']}: 2 claims have this id"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- id: [", "the file: it cannot be read"),
        ("claims: 3", "the file: expected a list of claims"),
        ("- a claim", "claim 1: expected fields and values; got 'a claim'"),
        ("- {id: a, claim: b, id: c}", "the entry in line 1 has two fields 'id'"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused(text, message, tmp_path):
    found = said(text, tmp_path)
    assert any(message in line for line in found), found
    assert all("\n" not in line for line in found)


@pytest.fixture
def copy(tmp_path):
    """A copy of the records that the ledger is held against."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "results", root / "results")
    (root / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        (root / "notebooks" / path.name).symlink_to(path)
    return root


def test_a_changed_number_of_a_study_overturns_a_verdict(copy, tmp_path):
    assert said(LEDGER, tmp_path, copy) == []
    path = copy / "results" / "ablation.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:  # the full method suddenly helps by 0.2 by argmax at stride 16
        if row["arm"] == "both" and row["stride"] == "16":
            row["iou_argmax"] = str(float(row["iou_argmax"]) + 0.2)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    (found,) = said(LEDGER, tmp_path, copy)
    expected = "full-method: the verdict is 'not supported', the numbers say 'depends' (*both* less"
    assert expected in found
    assert "stride 16, IoU by argmax: +0.192" in found


def test_a_changed_number_of_a_chapter_overturns_a_verdict(copy, tmp_path):
    path = copy / "notebooks" / "background-bias.ipynb"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    nb = json.loads(text)
    for cell in nb["cells"]:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("scrapbook", {}).get("name") == "bias_raw2_swapped":
                output["data"] = {claims.RECORD: "0.97"}
    path.write_text(json.dumps(nb), encoding="utf-8")
    (found,) = said(LEDGER, tmp_path, copy)
    assert "bias-check: the verdict is 'supported', the numbers say 'depends'" in found
    assert "accuracy with swapped backgrounds: 0.97 fails" in found


@pytest.fixture
def small(tmp_path):
    """Records that can be worked out by hand."""
    root = tmp_path / "small"
    (root / "results").mkdir(parents=True)
    (root / "notebooks").mkdir()
    # Differences of arm and control: 1 ± 0 at "up", −1 ± 0 at "down", 1 and −1 at "both".
    rows = [
        {"arm": arm, "side": side, "seed": seed, "score": gap[seed] * (arm == "arm")}
        for side, gap in {"up": (1, 1), "down": (-1, -1), "both": (1, -1)}.items()
        for arm in ("arm", "control")
        for seed in (0, 1)
    ]
    with (root / "results" / "tiny.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    story = {"pairs": {"gain": ["arm", "control"]}, "axes": {"side": ["up", "down", "both"]}}
    (root / "results" / "tiny.json").write_text(json.dumps(story))
    values = {"value": "0.3", "low": "0.1", "high": "0.5", "seeds": "3", "other": "0.2"}
    values |= {"text": "'0.3 ± 0.1'", "none": "nan"}
    outputs = [
        new_output(
            "display_data", data={claims.RECORD: value}, metadata={"scrapbook": {"name": name}}
        )
        for name, value in values.items()
    ]
    lines = new_output("stream", name="stdout", text="it is so: True\nnot this: False\n")
    loose = new_output("stream", name="stdout", text="unchecked: True\n")
    nb = new_notebook(
        cells=[
            new_code_cell("1", outputs=[*outputs, loose]),
            new_code_cell("# NBVAL_CHECK_OUTPUT\n1", outputs=[lines]),
        ]
    )
    nbformat.write(nb, root / "notebooks" / "tiny.ipynb")
    return claims.Records(root)


@pytest.mark.parametrize("comparison", ["gain", ["arm", "control"]])
@pytest.mark.parametrize(
    ("side", "expect", "holds"),
    [
        ("up", "positive", True),
        ("up", "negative", False),
        ("up", "none", False),
        ("down", "positive", False),
        ("down", "negative", True),
        ("down", "none", False),
        ("both", "positive", False),
        ("both", "negative", False),
        ("both", "none", True),
    ],
)
def test_a_difference_lies_on_one_side_or_contains_zero(small, comparison, side, expect, holds):
    found = claims.Study("tiny", comparison, {"side": side}, "score", expect).look_up(small)
    assert found.holds is holds
    assert found.seeds == 2
    assert found.of == "*arm* less *control*"
    assert found.what == f"side {side}, score"


@pytest.mark.parametrize(
    ("expect", "near", "holds"),
    [
        ("> 0.2", False, True),
        ("> 0.2", True, False),  # the near end is 0.1
        ("> 0.05", True, True),
        ("< 0.4", False, True),
        ("< 0.4", True, False),  # the near end is 0.5
        ("< 0.6", True, True),
        ("> {other}", False, True),
        ("> {other}", True, False),
        ("< {other}", False, False),
        ("> 0.3", False, False),
        (">= 0.3", False, True),
        ("<= 0.3", False, True),
        ("< 0.3", False, False),
        ("> -1", True, True),
    ],
)
def test_a_number_is_compared_and_an_interval_by_its_near_end(small, expect, near, holds):
    ends = {"low": "low", "high": "high"} if near else {}
    found = claims.Glued("tiny", "value", "it", expect, seeds="seeds", **ends).look_up(small)
    assert found.holds is holds
    assert found.seeds == 3
    assert found.value.startswith("0.30 against 0.20" if "{" in expect and not near else "0.3")


def test_a_difference_is_shown_with_its_sign_and_its_interval(small):
    found = claims.Glued("tiny", "value", "it", "> 0", "low", "high").look_up(small)
    assert found.value.replace("\u00a0", " ") == "+0.300 (+0.100 to +0.500)"
    assert found.claimed == "more than 0"
    assert str(found).startswith("it: +0.300")


@pytest.mark.parametrize("key", ["text", "none"])
def test_a_glued_value_that_is_no_number_is_refused(small, key):
    with pytest.raises(claims.LedgerError, match="is not a number"):
        claims.Glued("tiny", key, "it", "> 0").look_up(small)


def test_a_line_counts_if_its_cell_is_checked(small):
    assert claims.Printed("tiny", "it is so", True).look_up(small).holds
    assert not claims.Printed("tiny", "it is so", False).look_up(small).holds
    assert claims.Printed("tiny", "not this", False).look_up(small).holds
    with pytest.raises(claims.LedgerError, match="expected one checked line 'unchecked: True'"):
        claims.Printed("tiny", "unchecked", True).look_up(small)


def test_glued_numbers_are_looked_up_without_torch():
    program = (
        "import sys, claims\n"
        "claims.Records().glued('puzzle-tiling', 'puzzle_seeds')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT / "tools", check=True)


def test_a_minus_is_read_as_a_hyphen():
    assert claims._read_number("−0.03") == -0.03
