"""Recorded studies: run in shares, resumed, written once and whole, and found again."""

import json
import re
import sys
from pathlib import Path

import pytest

from studies import ablation, motion, recorded
from tccam import notebook
from tccam.data import BeltConfig
from tccam.errors import TccamError
from tccam.training import TrainConfig

TINY = BeltConfig(
    height=48, width=64, frames=24, train=2, validation=1, test=1, speed=5.0, lead_in=8
)


def arms() -> list[recorded.Arm]:
    config = TrainConfig(data=TINY, steps=2, batch=6, warmup=1, threads=1)
    return [
        recorded.Arm(
            {"arm": name},
            TrainConfig(**{**vars(config), "method": name, "seed": seed}),
        )
        for name in ("plain", "temporal")
        for seed in (0, 1)
    ]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TCCAM_FLOWS", str(tmp_path / "flows"))
    return tmp_path / "results"


def run(monkeypatch: pytest.MonkeyPatch, results: Path, share: str) -> None:
    monkeypatch.setattr(sys, "argv", ["study", "--share", share, "--results", str(results)])
    recorded.record("tiny", "Does it run?", arms())


def test_shares_make_one_result(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, study, "1/2")
    assert not study.exists()
    assert "2 of 4 runs are still to come" in capsys.readouterr().err
    run(monkeypatch, study, "2/2")
    found = json.loads((study / "tiny.json").read_text())
    assert [(row["arm"], row["seed"]) for row in found["rows"]] == [
        ("plain", 0), ("plain", 1), ("temporal", 0), ("temporal", 1),
    ]  # fmt: skip
    assert all(0 <= row["iou_threshold"] <= 1 for row in found["rows"])
    assert found["provenance"]["sources"]
    assert found["machine"]["cores"]
    assert found["shared"]["data"]["height"] == TINY.height
    assert "method" not in found["shared"]

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(recorded, "score", trained)
    run(monkeypatch, study, "1/1")
    assert json.loads((study / "tiny.json").read_text())["rows"] == found["rows"]


def test_a_share_that_is_none_is_refused(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for share in ("3/2", "0/2", "half"):
        with pytest.raises(SystemExit):
            run(monkeypatch, study, share)


def test_arms_differ_in_what_their_name_says_alone() -> None:
    changes = {
        ablation: lambda arm: set(ablation.ARMS[arm]),
        motion: lambda arm: {"beta"},
    }
    for study, changed in changes.items():
        groups: dict[str, list[recorded.Arm]] = {}
        for arm in study.arms():
            facts = {k: v for k, v in arm.facts.items() if k != "arm"}
            groups.setdefault(f"{facts} {arm.config.seed}", []).append(arm)
            assert arm.config.data.seed == recorded.FRESH + arm.config.seed
        assert {arm.config.seed for group in groups.values() for arm in group} == set(study.SEEDS)
        for group in groups.values():
            assert len({arm.facts["arm"] for arm in group}) == len(group) > 1
            for arm in group:
                for name, value in vars(arm.config).items():
                    for other in group:
                        allowed = changed(arm.facts["arm"]) | changed(other.facts["arm"])
                        assert name in allowed or vars(other.config)[name] == value, name


def test_no_chapter_looks_at_the_belts_of_the_studies() -> None:
    for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        assert not re.search(rf"seed={recorded.FRESH // 100}\d\d", code), path.name


def test_what_is_shared() -> None:
    one, two = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 0, "b": {"c": 2, "d": 4}}
    assert recorded.shared([one, two]) == {"b": {"c": 2}}


def test_recorded_names_what_is_missing() -> None:
    with pytest.raises(TccamError, match="no study 'nothing'"):
        notebook.recorded("nothing")
