"""Studies: planned, run on one core or many, killed and resumed, recorded, compared, verified."""

import csv
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tccam import metrics, puzzle
from tccam.cli import main
from tccam.data import BeltConfig, SyntheticBelt
from tccam.data.flows import FlowStore
from tccam.errors import TccamError
from tccam.inference import CURVE, Report, accuracy, choose_threshold, evaluate
from tccam.store import RunStore
from tccam.study import STUDIES, Study, compare, engine, load, plan, run, verify
from tccam.training import TrainConfig, fit, run_key

ROOT = Path(__file__).parents[2]
BELT = BeltConfig(
    height=48, width=64, frames=24, train=2, validation=1, test=1, speed=5.0, lead_in=8
)
TINY = Study(
    "tiny",
    "Does it run?",
    arms={"plain": {"method": "plain"}, "temporal": {"method": "temporal"}},
    pairs={"temporal − plain": ("temporal", "plain")},
    axes={
        "stride": {"4": {"output_stride": 4}, "8": {"output_stride": 8}},
        "belt": {"slow": {"data.speed": 2.0}, "fast": {"data.speed": 6.0}},
    },
    seeds=2,
    base=TrainConfig(data=BELT, steps=4, batch=6, warmup=1, threads=1),
    skipped=({"stride": "8", "belt": "slow"},),
)
SCORES = [f.name for f in fields(Report) if f.name != "curve"]
COLUMNS = ["arm", "stride", "belt", "seed", *SCORES, "seconds", "loss"]


def stores(folder: Path) -> dict[str, Any]:
    return {"store": RunStore(folder / "runs"), "flows": FlowStore(folder / "flows")}


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a table but for the times."""
    with path.open(encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished study and its stores."""
    folder = tmp_path_factory.mktemp("whole")
    run(TINY, folder, **stores(folder), progress=False)
    return folder


class TestPlan:
    def test_every_arm_at_every_place_for_every_seed(self) -> None:
        found = [tuple(arm.facts.values()) for arm in TINY.runs()]
        expected = {
            (arm, stride, belt, seed)
            for arm in ("plain", "temporal")
            for stride, belt in (("4", "slow"), ("4", "fast"), ("8", "fast"))
            for seed in (0, 1)
        }
        assert len(found) == len(expected)
        assert set(found) == expected

    def test_runs_on_one_belt_are_neighbours(self) -> None:
        belts = [arm.config.data for arm in STUDIES["central"].runs()]
        changes = sum(a != b for a, b in itertools.pairwise(belts))
        assert changes + 1 == len(set(belts))

    @pytest.mark.parametrize("name", STUDIES)
    def test_runs_differ_in_what_their_facts_say_alone(self, name: str) -> None:
        study = STUDIES[name]
        for arm in study.runs():
            changes = {"seed": arm.config.seed, "data.seed": plan.FRESH + arm.config.seed}
            for axis, values in study.axes.items():
                changes |= values[arm.facts[axis]]
            changes |= study.arms[arm.facts["arm"]]
            for field, value in asdict(arm.config).items():
                if field == "data":
                    for part, found in value.items():
                        base = getattr(study.base.data, part)
                        assert found == changes.get(f"data.{part}", base), part
                else:
                    assert value == changes.get(field, asdict(study.base)[field]), field
        assert study.name == name
        assert {arm.config.seed for arm in study.runs()} == set(range(study.seeds))

    @pytest.mark.parametrize("name", STUDIES)
    def test_tiles_have_whole_cells(self, name: str) -> None:
        for config in {arm.config for arm in STUDIES[name].runs() if arm.config.spatial}:
            assert config.output_stride is not None
            sides = config.data.height, config.data.width
            tiles = puzzle.tile(torch.zeros(1, 1, *sides), config.pieces)
            assert all(side % config.output_stride == 0 for side in tiles.shape[-2:])

    @pytest.mark.parametrize("name", STUDIES)
    def test_pairs_are_run_on_the_same_clips(self, name: str) -> None:
        study = STUDIES[name]
        for one, other in study.pairs.values():
            changed = set(study.arms[one]) | set(study.arms[other])
            assert not any(key == "seed" or key.startswith("data.") for key in changed)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"arms": {"a": {"speed": 1.0}}, "pairs": {}}, "no setting 'speed'"),
            ({"axes": {"x": {"1": {"data.velocity": 1.0}}}}, "no setting 'data.velocity'"),
            ({"pairs": {"a − b": ("plain", "b")}}, "'a − b' compares {'b'}, which is no arm"),
            ({"seeds": 0}, "at least one seed, got 0"),
        ],
    )
    def test_what_does_not_exist_is_named(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(TccamError, match=re.escape(message)):
            replace(TINY, **change)

    def test_the_slips_together_are_the_faithful_variant(self) -> None:
        study = STUDIES["slips"]
        arms = {arm.facts["arm"]: arm.config for arm in study.runs() if arm.facts["seed"] == 0}
        preset = TrainConfig.preset("fast", "both", "faithful", batch=12)
        for field in fields(TrainConfig):
            if field.name not in ("data", "output_stride", "steps", "threads"):
                faithful = getattr(arms["faithful"], field.name)
                assert faithful == getattr(preset, field.name), field.name
        changed = [name for name, config in arms.items() if config != arms["fixed"]]
        assert len(changed) == len(arms) - 1

    def test_no_chapter_trains_on_the_belts_of_the_studies(self) -> None:
        for path in (ROOT / "notebooks").glob("*.ipynb"):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            for code in ("".join(c["source"]) for c in cells if c["cell_type"] == "code"):
                fresh = re.search(rf"seed={plan.FRESH // 100}\d\d", code)
                assert not fresh or "TrainConfig" not in code, path.name


class TestRun:
    def test_table_is_tidy_and_tells_where_it_comes_from(self, whole: Path) -> None:
        rows = table(whole / "tiny.csv")
        assert list(rows[0]) == [name for name in COLUMNS if name != "seconds"]
        for row, arm in zip(rows, TINY.runs(), strict=True):
            assert {k: row[k] for k in arm.facts} == {k: str(v) for k, v in arm.facts.items()}
        story = json.loads((whole / "tiny.json").read_text(encoding="utf-8"))
        assert story["question"] == TINY.question
        assert story["command"] == "tccam study run tiny"
        assert story["provenance"]["sources"]
        assert story["machine"]["cores"] == os.cpu_count()
        assert story["base"]["data"]["height"] == BELT.height
        assert story["seeds"] == 2
        assert story["training_seconds"] > 0

    def test_a_row_is_what_the_library_computes(self, whole: Path) -> None:
        arm, row = TINY.runs()[3], load("tiny", whole)["rows"][3]
        belt = SyntheticBelt(arm.config.data)
        trained = fit(arm.config, belt=belt, **stores(whole), progress=False)
        threshold = choose_threshold(trained.network, belt.validation, "divide")
        report = evaluate(trained.network, belt.test, "divide", threshold)
        for name in SCORES:
            assert row[name] == pytest.approx(getattr(report, name), abs=1e-5), name
        assert row["loss"] == pytest.approx(float(trained.losses[-1]), abs=1e-5)

    def test_a_finished_study_trains_nothing(
        self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def trained(*_: object) -> None:
            raise AssertionError("a finished run was trained again")

        monkeypatch.setattr(engine, "score", trained)
        run(TINY, tmp_path, **stores(whole), progress=False)
        assert (tmp_path / "tiny.csv").read_bytes() == (whole / "tiny.csv").read_bytes()

    def test_nothing_is_recorded_before_the_last_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[plan.Arm] = []
        real = engine.score

        def score(arm: plan.Arm, *rest: Any) -> dict[str, Any]:
            calls.append(arm)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(arm, *rest)

        monkeypatch.setattr(engine, "score", score)
        with pytest.raises(KeyboardInterrupt):
            run(TINY, tmp_path / "results", **stores(tmp_path), progress=False)
        assert not (tmp_path / "results").exists()
        run(TINY, tmp_path / "results", **stores(tmp_path), progress=False)
        assert len(calls) == len(TINY.runs()) + 1  # the one that was cut, twice

    @pytest.mark.parametrize("jobs", [0, -2])
    def test_a_number_of_processes_that_is_none(self, tmp_path: Path, jobs: int) -> None:
        with pytest.raises(TccamError, match=f"got {jobs}"):
            run(TINY, tmp_path, **stores(tmp_path), jobs=jobs)

    def test_two_processes_of_joblib_give_the_same_bits(self, whole: Path, tmp_path: Path) -> None:
        run(TINY, tmp_path, **stores(tmp_path), jobs=2, progress=False)
        assert table(tmp_path / "tiny.csv") == table(whole / "tiny.csv")

    def test_a_dask_cluster_of_two_processes_gives_the_same_bits(
        self, whole: Path, tmp_path: Path
    ) -> None:
        import distributed  # noqa: PLC0415 - slow to import

        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster:
            run(
                TINY, tmp_path, **stores(tmp_path), dask=cluster.scheduler_address, progress=False
            )  # fmt: skip
        assert table(tmp_path / "tiny.csv") == table(whole / "tiny.csv")


def worker(folder: Path) -> "subprocess.Popen[str]":
    """A process that runs the study and notes each run that it trains."""
    code = f"""
        import os, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_study import TINY, stores
        from tccam.study import run
        from tccam.training.loop import _Training
        folder, train = Path({str(folder)!r}), _Training.run
        def noted(self, every):
            with (folder / "trained").open("a") as file:
                file.write(self.key + chr(10))
            return train(self, every)
        _Training.run = noted
        run(TINY, folder / str(os.getpid()), **stores(folder), progress=False)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE, text=True
    )


class TestResume:
    def test_killed_three_times_and_resumed(self, whole: Path, tmp_path: Path) -> None:
        moments = random.Random(0)
        trained, total = tmp_path / "trained", len(TINY.runs())
        for number in (2, 5, 8):  # somewhere in the run that is under way then
            process = worker(tmp_path)
            while not trained.exists() or len(trained.read_text().splitlines()) < number:
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process = worker(tmp_path)
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors
        (path,) = tmp_path.glob("*/tiny.csv")
        assert table(path) == table(whole / "tiny.csv")
        assert len(trained.read_text().splitlines()) <= total + 3

    def test_two_processes_at_once_train_no_run_twice(self, whole: Path, tmp_path: Path) -> None:
        both = [worker(tmp_path) for _ in range(2)]
        for process in both:
            errors = process.communicate(timeout=300)[1]
            assert process.returncode == 0, errors
        names = (tmp_path / "trained").read_text().splitlines()
        assert len(names) == len(set(names)) == len(TINY.runs())
        for path in tmp_path.glob("*/tiny.csv"):
            assert table(path) == table(whole / "tiny.csv")


class TestCompare:
    RECORDED: ClassVar[dict[str, Any]] = {
        "pairs": {"a − b": ["a", "b"], "a − c": ["a", "c"]},
        "axes": {"stride": ["4"]},
        "rows": [
            {"arm": arm, "stride": stride, "seed": seed, "iou": iou}
            for stride in (4, 16)
            for arm, values in {"b": (0.2, 0.3, 0.1), "a": (0.5, 0.4, 0.6)}.items()
            for seed, iou in zip((2, 0, 1), values, strict=True)
        ],
    }

    def test_is_paired_by_seed(self) -> None:
        fine, coarse = compare(self.RECORDED, "iou")
        assert (fine.name, fine.place, coarse.place) == ("a − b", {"stride": 4}, {"stride": 16})
        assert fine.values == pytest.approx((0.1, 0.5, 0.3))  # seeds 0, 1, 2
        assert fine.paired == metrics.paired_difference([0.4, 0.6, 0.5], [0.3, 0.1, 0.2])
        assert fine.paired.wins == 3
        assert not fine.clear  # 0.3 ± 4.3 · 0.2/√3

    def test_a_clear_difference_excludes_zero(self) -> None:
        rows = [
            {"arm": arm, "stride": 4, "seed": seed, "iou": level + 0.01 * seed}
            for arm, level in {"a": 0.5, "b": 0.2}.items()
            for seed in range(3)
        ]
        (found,) = compare({**self.RECORDED, "rows": rows}, "iou")
        assert found.clear

    def test_a_column_that_is_none(self) -> None:
        with pytest.raises(TccamError, match="score: expected one of arm, stride, seed, iou"):
            compare(self.RECORDED, "accuracy")


class TestRecord:
    def test_reads_back_what_was_written(self, whole: Path) -> None:
        found = load("tiny", whole)
        assert [row["seed"] for row in found["rows"]] == [a.facts["seed"] for a in TINY.runs()]
        assert found["rows"][0]["arm"] in TINY.arms
        assert isinstance(found["rows"][0]["iou_threshold"], float)
        assert found["rows"][0]["stride"] in (4, 8)

    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TccamError, match=r"no study 'nothing' is recorded; there are .*motion"):
            load("nothing")
        with pytest.raises(TccamError, match="there are none"):
            load("tiny", tmp_path)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("tiny.json", b"{"),
            ("tiny.json", b"[]"),
            ("tiny.csv", b"\xff\xfe"),
            ("tiny.csv", b"arm,seed\n"),
            ("tiny.csv", b"arm,seed\nplain,0,1\n"),
            ("tiny.json", None),
        ],
    )
    def test_damage_is_named(
        self, whole: Path, tmp_path: Path, name: str, content: bytes | None
    ) -> None:
        for file in ("tiny.csv", "tiny.json"):
            (tmp_path / file).write_bytes((whole / file).read_bytes())
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(TccamError, match=r"tiny\.csv: "):
            load("tiny", tmp_path)

    @pytest.mark.parametrize("name", [n for n in STUDIES if (ROOT / f"results/{n}.csv").is_file()])
    def test_recorded_studies_hold_the_runs_of_the_catalog(self, name: str) -> None:
        study, recorded = STUDIES[name], load(name)
        facts = list(study.runs()[0].facts)
        found = [tuple(str(row[fact]) for fact in facts) for row in recorded["rows"]]
        assert found == [tuple(map(str, arm.facts.values())) for arm in study.runs()]
        assert {k: tuple(v) for k, v in recorded["pairs"].items()} == dict(study.pairs)

    def test_curves_are_recorded_when_asked_for(self, whole: Path, tmp_path: Path) -> None:
        assert load("tiny", whole)["curves"] == []
        folder = tmp_path / "results"
        run(replace(TINY, curves=True), folder, **stores(whole), progress=False)
        recorded = load("tiny", folder)
        assert len(recorded["curves"]) == len(recorded["rows"]) * len(CURVE)
        again = tmp_path / "again"
        shutil.copytree(folder, again)
        run(TINY, again, **stores(whole), progress=False)
        assert load("tiny", again)["curves"] == []  # those of another run are gone
        row, first = recorded["rows"][0], recorded["curves"][: len(CURVE)]
        assert [point["threshold"] for point in first] == list(CURVE)
        assert all(point[fact] == row[fact] for point in first for fact in COLUMNS[:4])
        assert max(point["iou"] for point in first) <= row["iou_oracle"] + 1e-4
        recall = [point["recall"] for point in first]
        assert recall == sorted(recall, reverse=True)

    def test_the_cameras_are_exchanged_when_asked_for(self, whole: Path, tmp_path: Path) -> None:
        own = stores(whole)
        before = run(TINY, tmp_path, **own, progress=False).read_text(encoding="utf-8")
        trained = {path: path.stat().st_mtime_ns for path in whole.glob("runs/*/weights*")}
        assert trained
        study = replace(TINY, swapped=True)
        run(study, tmp_path, **own, progress=False)
        assert trained == {p: p.stat().st_mtime_ns for p in whole.glob("runs/*/weights*")}
        rows = load("tiny", tmp_path)["rows"]
        arm = study.runs()[0]
        row = next(r for r in rows if all(str(r[k]) == str(v) for k, v in arm.facts.items()))
        network = fit(arm.config, **own, progress=False).network
        exchanged = SyntheticBelt(replace(arm.config.data, swap_backgrounds=True))
        expected = accuracy(network, exchanged.test, arm.config.background)
        assert row["accuracy_swapped"] == round(expected, 5)
        # A study that does not ask gets the columns that it had.
        again = run(TINY, tmp_path, **own, progress=False).read_text(encoding="utf-8")
        assert again == before

    def test_torn_curves_are_named(self, whole: Path, tmp_path: Path) -> None:
        for file in ("tiny.csv", "tiny.json"):
            (tmp_path / file).write_bytes((whole / file).read_bytes())
        (tmp_path / "tiny-curves.csv").write_text("arm,iou\nplain\n", encoding="utf-8")
        with pytest.raises(TccamError, match=r"tiny\.csv: "):
            load("tiny", tmp_path)


class TestVerify:
    def test_a_true_record(self, whole: Path) -> None:
        assert verify(TINY, whole, count=3, **stores(whole)) == []

    def test_it_trains_again_where_nothing_is_kept(self, whole: Path, tmp_path: Path) -> None:
        assert verify(TINY, whole, **stores(tmp_path)) == []
        assert len(list((tmp_path / "runs").glob("*/score.json"))) == 1

    def test_a_number_that_is_not_what_the_library_computes(
        self, whole: Path, tmp_path: Path
    ) -> None:
        for file in ("tiny.csv", "tiny.json"):
            (tmp_path / file).write_bytes((whole / file).read_bytes())
        rows = load("tiny", whole)["rows"]
        for row in rows:
            row["iou_oracle"] += 0.001
        with (tmp_path / "tiny.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        (line,) = verify(TINY, tmp_path, **stores(whole))
        assert re.search(r"^tiny, arm .* seed \d: iou_oracle was .*, is ", line)

    def test_a_curve_that_is_not_what_the_library_computes(
        self, whole: Path, tmp_path: Path
    ) -> None:
        study = replace(TINY, curves=True)
        path = run(study, tmp_path, **stores(whole), progress=False)
        assert verify(study, tmp_path, **stores(whole)) == []
        path = path.with_name("tiny-curves.csv")
        with path.open(newline="") as file:
            points = list(csv.DictReader(file))
        for point in points:
            if point["threshold"] == str(CURVE[3]):
                point["recall"] = str(float(point["recall"]) - 0.001)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(points[0]))
            writer.writeheader()
            writer.writerows(points)
        (line,) = verify(study, tmp_path, **stores(whole))
        assert re.search(rf"seed \d: recall at {CURVE[3]} was .*, is ", line)

    def test_an_older_record_lacks_scores_that_came_later(
        self, whole: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "tiny.json").write_bytes((whole / "tiny.json").read_bytes())
        with (tmp_path / "tiny.csv").open("w", newline="") as file:
            kept = [column for column in COLUMNS if column not in ("recall", "precision")]
            writer = csv.DictWriter(file, kept, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(load("tiny", whole)["rows"])
        assert verify(TINY, tmp_path, **stores(whole)) == []
        # What the study itself asks for must be there.
        (line,) = verify(replace(TINY, swapped=True), tmp_path, **stores(whole))
        assert line.endswith("accuracy_swapped is not recorded")
        (line,) = verify(replace(TINY, curves=True), tmp_path, **stores(whole))
        assert line.endswith("0 points of its curves are recorded")

    def test_another_study(self, whole: Path) -> None:
        with pytest.raises(TccamError, match="tiny: the record holds other runs"):
            verify(replace(TINY, seeds=3), whole, **stores(whole))

    def test_the_recorded_smoke_study_is_what_this_library_computes(self, tmp_path: Path) -> None:
        assert verify(STUDIES["smoke"], ROOT / "results", **stores(tmp_path)) == []


class TestCommand:
    @pytest.fixture(autouse=True)
    def tiny(self, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TCCAM_RUNS", str(whole / "runs"))
        monkeypatch.setenv("TCCAM_FLOWS", str(whole / "flows"))
        monkeypatch.setattr("tccam.study.STUDIES", {"tiny": TINY})

    def test_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["study", "list"]) == 0
        assert re.search(r"tiny +12 runs +not recorded +Does it run\?", capsys.readouterr().out)

    def test_run_show_verify(
        self, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here = ["tiny", "--results", str(tmp_path)]
        assert main(["study", "run", *here]) == 0
        assert "12 runs in" in capsys.readouterr().err
        assert (tmp_path / "tiny.csv").read_bytes() == (whole / "tiny.csv").read_bytes()
        assert main(["study", "show", *here, "--score", "pxap"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == ["Does it run?", "pxap, mean difference with its 95% interval"]
        assert len(lines) == 3 + 3
        assert main(["study", "plot", *here, "--output", str(tmp_path / "new")]) == 0
        (drawn,) = capsys.readouterr().out.splitlines()
        assert Path(drawn) == tmp_path / "new" / "tiny-forest.svg"
        assert "temporal − plain" in Path(drawn).read_text(encoding="utf-8")
        assert main(["study", "verify", *here, "--count", "2"]) == 0
        assert "2 runs as recorded" in capsys.readouterr().out

    def test_errors_are_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["study", "show", "tiny", "--results", str(tmp_path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("tccam: name: no study 'tiny' is recorded")
        assert main(["study", "run", "nothing"]) == 1
        assert "NAME: expected one of tiny; got 'nothing'" in capsys.readouterr().err

    def test_interrupted(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def cut(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("tccam.study.run", cut)
        assert main(["study", "run", "tiny"]) == 130
        assert "goes on where the last part was saved" in capsys.readouterr().err

    def test_is_installed(self) -> None:
        command = Path(sys.executable).parent / "tccam"
        assert "ablation" in subprocess.check_output([command, "study", "list"], text=True)


def test_a_run_is_locked_while_it_trains(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.lock("one"), store.lock("two"):
        code = f"""
            from filelock import FileLock, Timeout
            try:
                FileLock({str(tmp_path / ".locks" / "one")!r}).acquire(timeout=0.1)
            except Timeout:
                print("held")
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            check=True,
            capture_output=True,
            text=True,
        )
    assert done.stdout == "held\n"


def test_key_does_not_depend_on_words(tmp_path: Path) -> None:
    from tccam.store import _code  # noqa: PLC0415

    plain = 'def f(x):\n    "Twice."\n    # a comment\n    return 2 * x\n'
    assert _code(plain) == _code('"""Module."""\ndef f(x):\n  """Two times."""\n  return (2*x)')
    assert _code(plain) != _code(plain.replace("2", "3"))
    assert _code("class A:\n    'Only words.'") == _code("class A:\n    'Others.'")
    assert run_key(TrainConfig()) != run_key(TrainConfig(seed=1))
