"""Training: the same run twice is one run, and an interrupted one ends the same."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tccam.data import CLASSES, BeltConfig, SyntheticBelt
from tccam.errors import TccamError
from tccam.inference import Report, choose_threshold, evaluate, predict
from tccam.store import RunStore, fingerprint
from tccam.training import FrameSet, TrainConfig, fit, learning_rate, objective

DATA = BeltConfig(
    height=48, width=64, frames=24, train=2, validation=1, test=1, speed=5.0, lead_in=8
)
CONFIG = TrainConfig(data=DATA, steps=12, batch=6, warmup=3, threads=1)


def weights(run_network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.flatten() for p in run_network.state_dict().values()])


def test_same_configuration_gives_the_same_bits_and_trains_once(tmp_path: Path) -> None:
    one = fit(CONFIG, store=RunStore(tmp_path / "a"), progress=False)
    two = fit(CONFIG, store=RunStore(tmp_path / "b"), progress=False)
    assert torch.equal(weights(one.network), weights(two.network))
    assert torch.equal(one.losses, two.losses)
    stamp = (tmp_path / "a" / one.key / "weights.safetensors").stat().st_mtime_ns
    again = fit(CONFIG, store=RunStore(tmp_path / "a"), progress=False)
    assert (tmp_path / "a" / one.key / "weights.safetensors").stat().st_mtime_ns == stamp
    assert torch.equal(weights(again.network), weights(one.network))
    assert not again.network.training
    other = fit(replace(CONFIG, seed=1), store=RunStore(tmp_path / "a"), progress=False)
    assert other.key != one.key
    assert not torch.equal(weights(other.network), weights(one.network))


def test_global_state_is_left_alone(tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    fit(replace(CONFIG, steps=2, warmup=1), store=RunStore(tmp_path), progress=False)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_interrupted_run_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(CONFIG, store=RunStore(tmp_path / "whole"), progress=False)
    store, calls = RunStore(tmp_path / "cut"), 0

    def interrupt(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return objective(logits, labels)

    with monkeypatch.context() as patch:
        patch.setattr("tccam.training.objective", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(CONFIG, store=store, checkpoint_every=5, progress=False)
    assert store.finished(whole.key) is None
    resumed = fit(CONFIG, store=store, checkpoint_every=5, progress=False)
    assert torch.equal(weights(resumed.network), weights(whole.network))
    assert torch.equal(resumed.losses, whole.losses)
    assert sorted(p.name for p in (tmp_path / "cut" / whole.key).iterdir()) == [
        "run.json",
        "weights.safetensors",
    ]


def test_killed_process_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=60)
    whole = fit(config, store=RunStore(tmp_path / "whole"), progress=False)
    script = textwrap.dedent(f"""
        from tccam.data import BeltConfig
        from tccam.store import RunStore
        from tccam.training import TrainConfig, fit
        store = RunStore({str(tmp_path / "cut")!r})
        fit({config!r}, store=store, checkpoint_every=2, progress=False)
    """)
    process = subprocess.Popen([sys.executable, "-c", script])
    checkpoint = tmp_path / "cut" / whole.key / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the process ended before it could be killed"
    store = RunStore(tmp_path / "cut")
    assert store.finished(whole.key) is None
    resumed = fit(config, store=store, progress=False)
    assert torch.equal(weights(resumed.network), weights(whole.network))
    assert torch.equal(resumed.losses, whole.losses)
    left = sorted(path.name for path in checkpoint.parent.iterdir())
    assert left == ["run.json", "weights.safetensors"]


def test_it_learns_and_is_judged(tmp_path: Path) -> None:
    data = replace(DATA, height=64, width=80, frames=40, train=4)
    belt = SyntheticBelt(data)
    config = TrainConfig(data=data, steps=80, batch=12, background="subtract")
    run = fit(config, belt=belt, store=RunStore(tmp_path), progress=False)
    assert run.losses[-10:].mean() < 0.7 * run.losses[:10].mean()
    threshold = choose_threshold(run.network, belt.validation, config.background)
    report = evaluate(run.network, belt.test, config.background, threshold)
    assert report.threshold == threshold
    assert report.accuracy > 0.6
    area = torch.cat([c.masks for c in belt.test if c.label == "before"]).float().mean()
    assert report.pxap > 1.5 * float(area)  # a random map scores the share of object pixels
    assert all(0 <= value <= 1 for value in vars(report).values())
    assert isinstance(report, Report)


def test_objective_by_hand() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0]])
    terms = F.softplus(torch.tensor([-2.0, -1.0, 0.0]))  # −log σ(z) for y = 1, −log σ(−z) for 0
    assert objective(logits, torch.tensor([0])).item() == pytest.approx(terms.mean().item())


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step, TrainConfig()) for step in range(400)]
    assert max(rates) == pytest.approx(0.1, rel=0.06)
    assert rates.index(max(rates)) == 19
    assert rates[0] == pytest.approx(0.1 / 20)
    assert rates[-1] < 0.001
    assert learning_rate(200, TrainConfig(warmup=0)) == pytest.approx(0.1 * 0.5**0.9)


def test_frame_set_matches_its_clips() -> None:
    belt = SyntheticBelt(DATA)
    data = FrameSet(belt.train, "none")
    assert len(data) == 4 * 24
    index = torch.tensor([0, 30, 95])
    assert torch.equal(data.pictures(index)[1] * 255, belt.train[1].frames[6].float())
    assert data.labels[24:48].equal(belt.train[1].labels)
    subtracted = FrameSet(belt.train, "subtract").pictures(index)
    for picture, clip, t in zip(subtracted, (0, 1, 3), (0, 6, 23), strict=True):
        frames = belt.train[clip].frames.float()
        expected = (frames[t] - frames.quantile(0.5, dim=0, interpolation="midpoint")) / 255
        torch.testing.assert_close(picture, expected, atol=1e-6, rtol=0)


def test_two_classes_take_the_cameras_label(tmp_path: Path) -> None:
    config = replace(CONFIG, num_classes=2, background="none", steps=2, warmup=1)
    run = fit(config, store=RunStore(tmp_path), progress=False)
    assert run.network.num_classes == 2
    record = json.loads((tmp_path / run.key / "run.json").read_text())
    assert record["config"]["num_classes"] == 2
    assert record["provenance"]["torch"] == torch.__version__


def test_predict_leaves_the_mode_and_cuts_batches_right(tmp_path: Path) -> None:
    run = fit(replace(CONFIG, steps=2, warmup=1), store=RunStore(tmp_path), progress=False)
    network = run.network.train()
    pictures = torch.randn(5, 3, 48, 64)
    small, large = predict(network, pictures, batch=2), predict(network, pictures, batch=64)
    assert network.training
    torch.testing.assert_close(small.maps, large.maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(small.logits, small.maps.mean((2, 3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": "median"}, "background"),
        ({"num_classes": 4}, "num_classes"),
        ({"batch": 7}, "multiple"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "whole number"),
        ({"lr": float("nan")}, "lr"),
        ({"warmup": -5}, "warmup"),
        ({"brightness": 9.0}, "brightness"),
    ],
)
def test_bad_configurations(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TccamError, match=message):
        replace(CONFIG, **changes)  # type: ignore[arg-type]


def test_bad_data(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(TccamError, match="checkpoint_every"):
        fit(CONFIG, store=store, checkpoint_every=0, progress=False)
    with pytest.raises(TccamError, match="belt"):
        fit(CONFIG, belt=SyntheticBelt(replace(DATA, seed=5)), store=store, progress=False)
    full = replace(CONFIG, data=replace(DATA, lead_in=0, objects=8.0))
    with pytest.raises(TccamError, match="background"):
        fit(full, store=store, progress=False)
    with pytest.raises(TccamError, match="at least one clip"):
        FrameSet([], "none")
    after = [c for c in SyntheticBelt(DATA).test if c.label == CLASSES[1]]
    run = fit(replace(CONFIG, steps=2, warmup=1), store=store, progress=False)
    with pytest.raises(TccamError, match="illegal"):
        evaluate(run.network, after, "divide", 0.5)


def test_diverging_training_says_where(tmp_path: Path) -> None:
    wild, store = replace(CONFIG, lr=1e30, clip_norm=1e30), RunStore(tmp_path)
    for _ in range(2):  # the second time neither: no broken checkpoint is resumed from
        with pytest.raises(TccamError, match="diverged: the loss at step"):
            fit(wild, store=store, checkpoint_every=11, progress=False)
        assert store.finished(fingerprint(wild)) is None
        assert store.load(fingerprint(wild), "checkpoint") is None


def test_a_run_is_kept_where_there_is_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    run = fit(replace(CONFIG, steps=2, warmup=1), store=RunStore(tmp_path), progress=False)
    assert run.provenance["commit"] is None


def test_store_names_broken_files(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert store.finished("none") is None
    assert store.load("none", "weights") is None
    store.save("run", "weights", {"a": torch.arange(3.0)})
    assert torch.equal((store.load("run", "weights") or {})["a"], torch.arange(3.0))
    (tmp_path / "run" / "weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(TccamError, match=r"weights\.safetensors"):
        store.load("run", "weights")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(TccamError, match=r"run\.json"):
        store.finished("run")


def test_store_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path)
    store.save("run", "weights", {"a": torch.zeros(2)})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.save("run", "weights", {"a": torch.ones(2)})
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["weights.safetensors"]
    assert torch.equal((store.load("run", "weights") or {})["a"], torch.zeros(2))
