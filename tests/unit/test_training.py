"""Training: the same run twice is one run, and an interrupted one ends the same."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger, Logger, TensorBoardLogger
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from tccam import store as tccam_store
from tccam.data import CLASSES, BeltConfig, FlowStore, SyntheticBelt
from tccam.errors import TccamError
from tccam.inference import CURVE, Report, choose_threshold, evaluate, predict
from tccam.network import CamNet
from tccam.store import RunStore, fingerprint
from tccam.training import Run, TrainConfig, fit, learning_rate, objective, run_key
from tccam.training.loop import _optimizer

DATA = BeltConfig(
    height=48, width=64, frames=24, train=2, validation=1, test=1, speed=5.0, lead_in=10
)
CONFIG = TrainConfig(data=DATA, steps=12, batch=6, warmup=3, threads=1)
BOTH = replace(CONFIG, method="both", validate_every=4)
BELT = SyntheticBelt(DATA)
METHODS = ("plain", "puzzle", "temporal", "both")

Train = Callable[..., Run]


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> FlowStore:
    return FlowStore(tmp_path_factory.mktemp("flows"))


@pytest.fixture
def train(tmp_path: Path, flows: FlowStore) -> Train:
    """Fit without a bar, in a store of the test's own."""

    def run(config: TrainConfig, store: str = "runs", **options: Any) -> Run:
        belt = BELT if config.data == DATA else None
        runs = RunStore(tmp_path / store)
        return fit(config, belt=belt, store=runs, flows=flows, progress=False, **options)

    return run


def weights(network: nn.Module) -> Tensor:
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def same_run(one: Run, two: Run) -> bool:
    """To the bit."""
    assert one.terms.keys() == two.terms.keys()
    assert one.validation.keys() == two.validation.keys()
    return (
        torch.equal(weights(one.network), weights(two.network))
        and torch.equal(one.losses, two.losses)
        and all(torch.equal(one.terms[k], two.terms[k]) for k in one.terms)
        and all(torch.equal(one.validation[k], two.validation[k]) for k in one.validation)
    )


def interrupt(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let the objective be interrupted, as by a key, when it is called for that time."""
    calls = 0

    def stop(*arguments: Any) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return objective(*arguments)

    monkeypatch.setattr("tccam.training.loop.objective", stop)


# a run is a function of its configuration -----------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, BOTH], ids=["plain", "both"])
def test_same_configuration_gives_the_same_bits_and_trains_once(
    config: TrainConfig, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = train(config, "a"), train(config, "b")
    assert same_run(one, two)
    with monkeypatch.context() as patch:
        interrupt(patch, 1)  # not a single step is taken again
        again = train(config, "a")
    assert same_run(again, one)
    assert not again.network.training
    other = train(replace(config, seed=1), "a")
    assert other.key != one.key
    assert not torch.equal(weights(other.network), weights(one.network))


def test_global_state_is_left_alone(train: Train) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train(replace(CONFIG, steps=1, warmup=1, threads=threads + 1))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("config", "call"),
    [
        (CONFIG, 8),
        (BOTH, 2),  # before the first checkpoint
        (BOTH, 8),  # while it is validated
        (BOTH, 14),
        (replace(BOTH, momentum=0.0), 8),
        (replace(BOTH, accumulate=2), 15),
    ],
    ids=["plain", "both, 2", "both, 8", "both, 14", "no momentum", "accumulate"],
)
def test_interrupted_run_goes_on_to_the_same_bits(
    config: TrainConfig,
    call: int,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(config, validate_every=5)
    whole = train(config, "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, call)
        with pytest.raises(KeyboardInterrupt):
            train(config, "cut", checkpoint_every=5)
    store = RunStore(tmp_path / "cut")
    assert store.finished(whole.key) is None
    resumed = train(config, "cut", checkpoint_every=7)
    assert same_run(resumed, whole)
    names = sorted(path.name for path in (tmp_path / "cut" / whole.key).iterdir())
    assert names == ["run.json", "weights.safetensors"]


def test_a_resumed_run_repeats_nothing_before_its_checkpoint(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, checkpoint_every=5)
    with monkeypatch.context() as patch:
        interrupt(patch, 8)  # 12 steps − 5 are 7 calls
        train(CONFIG)


@pytest.mark.parametrize(
    ("config", "function", "call"),
    [
        (CONFIG, "os.fsync", 3),  # half of its third checkpoint is written
        (BOTH, "tccam.training.loop.objective", 16),  # past an evaluation
    ],
    ids=["plain", "both"],
)
def test_killed_process_resumes_to_the_same_bits(
    config: TrainConfig, function: str, call: int, train: Train, tmp_path: Path, flows: FlowStore
) -> None:
    whole = train(config, "whole")
    module, name = function.rsplit(".", 1)
    script = textwrap.dedent(f"""
        import os, signal
        import {module}
        from tccam.data import BeltConfig, FlowStore
        from tccam.store import RunStore
        from tccam.training import TrainConfig, fit
        kept, calls = {function}, 0
        def killed(*arguments):
            global calls
            calls += 1
            if calls == {call}:
                os.kill(os.getpid(), signal.SIGKILL)
            return kept(*arguments)
        {module}.{name} = killed
        store, flows = RunStore({str(tmp_path / "cut")!r}), FlowStore({str(flows.root)!r})
        fit({config!r}, store=store, flows=flows, checkpoint_every=2, progress=False)
    """)
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    folder = tmp_path / "cut" / whole.key
    assert (folder / "checkpoint.safetensors").exists()
    assert RunStore(tmp_path / "cut").finished(whole.key) is None
    resumed = train(config, "cut")
    assert same_run(resumed, whole)
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.safetensors"]


def test_accumulation_sees_the_batch_in_parts(train: Train) -> None:
    # The first step of both starts from the same weights; batch norm sees one part at a time, so
    # that the losses are close and not equal.
    whole, parts = (
        train(replace(CONFIG, method="both", batch=18, steps=1, warmup=0, accumulate=a))
        for a in (1, 3)
    )
    assert whole.losses[0] != parts.losses[0]
    torch.testing.assert_close(whole.losses, parts.losses, rtol=0.1, atol=0)


def test_in_eval_mode_accumulation_is_the_whole_batch(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CamNet, "train", lambda self, mode=True: nn.Module.train(self, False))
    config = replace(CONFIG, method="both", batch=18, window=5, num_classes=2)
    whole = train(config)
    parts = train(replace(config, accumulate=3))
    torch.testing.assert_close(parts.losses, whole.losses, rtol=1e-4, atol=1e-5)


# what is recorded -------------------------------------------------------------------------------


def test_a_run_knows_its_terms_and_where_it_comes_from(train: Train, tmp_path: Path) -> None:
    run = train(BOTH)
    assert set(run.terms) == {"classification", "tiles", "spatial", "temporal"}
    assert all(len(curve) == 12 for curve in (run.losses, *run.terms.values()))
    assert run.validation["step"].tolist() == [4, 8, 12]
    assert set(run.validation) == {"step", "loss", *run.terms}
    total = run.terms["classification"] + run.terms["tiles"]
    share = (torch.arange(12) / 6).clamp_max(1)  # ramp 0.5
    total += share * (2 * run.terms["spatial"] + 6 * run.terms["temporal"])
    torch.testing.assert_close(run.losses, total)
    judged = run.validation  # always with the full weights
    total = judged["classification"] + judged["tiles"]
    torch.testing.assert_close(
        judged["loss"], total + 2 * judged["spatial"] + 6 * judged["temporal"]
    )
    record = json.loads((tmp_path / "runs" / run.key / "run.json").read_text())
    assert record["config"]["method"] == "both"
    assert record["provenance"]["torch"] == torch.__version__
    assert run.seconds > 0


@pytest.mark.parametrize("method", METHODS)
def test_validation_changes_nothing_and_asks_the_same_objective(
    method: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, method=method, steps=6)
    without = train(config)
    asked: list[tuple[bool, bool, float]] = []

    def spy(network: nn.Module, batch: Any, config: TrainConfig, *weight: float) -> Any:
        inner = next(module for module in network.modules() if isinstance(module, CamNet))
        asked.append((inner.training, torch.is_grad_enabled(), *weight))  # type: ignore[arg-type]
        return objective(network, batch, config, *weight)

    monkeypatch.setattr("tccam.training.loop.objective", spy)
    judged = train(replace(config, validate_every=3))
    assert torch.equal(weights(judged.network), weights(without.network))  # statistics included
    assert torch.equal(judged.losses, without.losses)
    training, validation = [a for a in asked if a[1]], [a for a in asked if not a[1]]
    assert [a[2] for a in training] == [0, 1 / 3, 2 / 3, 1, 1, 1]
    assert all(a[0] for a in training)
    assert validation == [(False, False)] * 8  # twice four batches, in eval mode


def test_validation_asks_for_the_same_frames_every_time(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CamNet, "train", lambda self, mode=True: nn.Module.train(self, False))
    run = train(replace(BOTH, lr=0.0))  # nothing moves, not even batch norm
    for curve in run.validation.values():
        assert len(curve) == 3
    assert (run.validation["loss"] == run.validation["loss"][0]).all()


def rows_of(logger: Logger, folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What a logger has written, (step, value) by name, over all its sessions."""
    found: dict[str, list[tuple[int, float]]] = {}
    for version in sorted(folder.rglob("version_*")):
        if isinstance(logger, CSVLogger):
            with (version / "metrics.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    for name, value in row.items():
                        if name != "step" and value:
                            found.setdefault(name, []).append((int(row["step"]), float(value)))
        else:
            events = EventAccumulator(str(version))
            events.Reload()
            for name in events.Tags()["scalars"]:
                found.setdefault(name, []).extend((e.step, e.value) for e in events.Scalars(name))
    return found


@pytest.mark.parametrize("kind", [CSVLogger, TensorBoardLogger])
@pytest.mark.parametrize("cut", [None, 2, 10, 16])
def test_loggers_get_every_step_once(
    kind: Callable[..., Logger],
    cut: int | None,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if cut is not None:
        with monkeypatch.context() as patch:
            interrupt(patch, cut)
            with pytest.raises(KeyboardInterrupt):
                train(BOTH, checkpoint_every=3, logger=kind(tmp_path / "logs"))
    logger = kind(tmp_path / "logs")
    run = train(BOTH, checkpoint_every=3, logger=logger)
    logger.finalize("success")
    found = rows_of(logger, tmp_path / "logs")
    judged = {f"validation/{name}" for name in run.validation if name != "step"}
    assert set(found) == {"loss", *run.terms, *judged}
    for name, curve in {"loss": run.losses, **run.terms}.items():
        assert [step for step, _ in found[name]] == list(range(12))
        torch.testing.assert_close(torch.tensor([v for _, v in found[name]]), curve)
    for name in judged:  # after steps 4, 8 and 12
        assert [step for step, _ in found[name]] == [3, 7, 11]
        curve = run.validation[name.removeprefix("validation/")]
        torch.testing.assert_close(torch.tensor([v for _, v in found[name]]), curve)


# the optimiser ----------------------------------------------------------------------------------


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step, TrainConfig()) for step in range(400)]
    assert max(rates) == pytest.approx(0.1, rel=0.06)
    assert rates.index(max(rates)) == 19
    assert rates[0] == pytest.approx(0.1 / 20)
    assert rates[-1] < 0.001
    assert learning_rate(200, TrainConfig(warmup=0)) == pytest.approx(0.1 * 0.5**0.9)
    assert learning_rate(200, TrainConfig(warmup=0, power=0.0)) == 0.1


def test_parameter_groups_are_puzzle_cams_when_asked() -> None:
    network = CamNet("small")
    for grouped in (False, True):
        optimizer = _optimizer(network, replace(CONFIG, bias_groups=grouped))
        group = {id(p): g for g in optimizer.param_groups for p in g["params"]}
        assert len(group) == len(list(network.parameters()))
        for name, parameter in network.named_parameters():
            bias, head = name.endswith("bias"), name.startswith("classifier")
            factor = 10.0 if head else 2.0 if bias and grouped else 1.0
            assert group[id(parameter)]["factor"] == factor
            decays = group[id(parameter)]["weight_decay"] == CONFIG.weight_decay
            assert decays is not (bias and grouped)
        assert optimizer.defaults["nesterov"]
        assert optimizer.defaults["momentum"] == 0.9
    assert not _optimizer(network, replace(CONFIG, momentum=0.0)).defaults["nesterov"]


def test_the_first_step_is_as_long_as_the_groups_say(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In one step from the same weights the update is proportional to the rate of the group.
    start = {k: v.clone() for k, v in _start(CONFIG).named_parameters()}
    once = replace(CONFIG, steps=1, warmup=0, momentum=0.0, weight_decay=0.0, clip_norm=1e9)
    plain, grouped = (
        dict(train(replace(once, bias_groups=g)).network.named_parameters()) for g in (False, True)
    )
    for name, before in start.items():
        factor = 2.0 if name.endswith("bias") else 1.0
        torch.testing.assert_close(
            grouped[name] - before, factor * (plain[name] - before), rtol=1e-4, atol=1e-7
        )
        assert (plain[name] - before).abs().max() > 0
    slow = dict(train(replace(once, lr=0.05)).network.named_parameters())
    torch.testing.assert_close(
        slow["classifier.weight"] - start["classifier.weight"],
        0.5 * (plain["classifier.weight"] - start["classifier.weight"]),
    )


def _start(config: TrainConfig) -> CamNet:
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return CamNet(config.backbone, config.num_classes)


def test_the_gradient_is_clipped_to_its_norm(train: Train) -> None:
    once = replace(CONFIG, steps=1, warmup=0, momentum=0.0, weight_decay=0.0, lr=1.0)
    start = {k: v.clone() for k, v in _start(CONFIG).named_parameters()}
    after = dict(train(replace(once, clip_norm=0.01)).network.named_parameters())
    steps = [
        (after[name] - before) / (10 if name.startswith("classifier") else 1)
        for name, before in start.items()
    ]
    assert torch.cat([s.flatten() for s in steps]).norm().item() == pytest.approx(0.01, rel=1e-3)


# configurations ---------------------------------------------------------------------------------

BASE = replace(
    CONFIG,
    data=replace(DATA, motion="jitter", rotation=6.0),
    method="both",
    steps=3,
    warmup=0,
    ramp=0.0,
    background="subtract",
)
Untouched = Callable[..., Run]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, flows: FlowStore) -> Untouched:
    """Runs of the base configuration with some changes; each is trained once."""
    store, belt = RunStore(tmp_path_factory.mktemp("base")), SyntheticBelt(BASE.data)

    def run(**changes: Any) -> Run:
        config = replace(BASE, **changes)
        return fit(config, belt=belt, store=store, flows=flows, progress=False)

    return run


@pytest.mark.parametrize(
    "changes",
    [
        # the faithful variant, slip by slip
        {"momentum": 1e-4},
        {"half_cell_shift": True},
        {"cells": False},
        {"previous": "negated"},
        # With the maximum, and motion along the belt alone, this takes cells that neither neighbour
        # has: the border ring of the shifted sampling.
        {"validity": "none"},
        {"jitter_together": False},
        {"flip": False},
        {"ramp": 1.0},
        {"separate_passes": True},
        {"bias_groups": True},
        {"warmup": 2},
        {"clip_norm": 0.1},
        {"background": "divide"},
        # the others
        {"validity": "visible"},
        {"method": "plain"},
        {"method": "puzzle"},
        {"method": "temporal"},
        {"num_classes": 2},
        {"window": 4},
        {"accumulate": 2},
        {"weight_decay": 0.1},
        {"power": 2.0},
        {"jitter": (0.25, 0.2, 0.2, 0.1)},
        {"alpha": 0.0},
        {"beta": 0.0},
        {"pieces": 16},
        {"level": "normalized"},
        {"reduction": "present"},
        {"flow": "zero"},
        {"flow": "shuffled"},
        {"flow": "dis"},
        {"fusion": "mean"},
        {"centre_in": True},
        {"normalized": "each"},
        {"detach": True},
        {"standardize": True},
        {"output_stride": 8},
        {"precision": "bf16-mixed"},
    ],
    ids=lambda changes: ", ".join(f"{k}={v}" for k, v in changes.items()),
)
def test_every_switch_changes_what_is_learnt(changes: dict[str, Any], untouched: Untouched) -> None:
    given: dict[str, Any] = {}
    if {"window", "accumulate"} & changes.keys():
        given = {"batch": 12}
    if changes == {"validity": "none"}:
        given = {"half_cell_shift": True}
    before, after = untouched(**given), untouched(**given, **changes)
    assert after.losses.isfinite().all()
    one, other = weights(before.network), weights(after.network)
    assert one.shape != other.shape or not torch.equal(one, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", ["fixed", "faithful"])
def test_presets_train_with_every_method(method: Any, variant: str, train: Train) -> None:
    lr = {"fixed": 0.02, "faithful": 0.1}[variant]  # without momentum a step is ten times shorter
    config = TrainConfig.preset(
        "fast", method, variant, data=DATA, steps=30, batch=6, threads=1, lr=lr
    )
    run = train(config)
    assert run.losses.isfinite().all()
    # Without a ramp both terms pull from the first step on: then it is their sum that falls.
    curve = run.losses if variant == "faithful" else run.terms["classification"]
    assert curve[-5:].mean() < curve[:5].mean()


def test_the_variants_differ_in_the_slips_alone() -> None:
    slips = {
        "momentum": (0.9, 1e-4),
        "half_cell_shift": (False, True),
        "cells": (True, False),
        "previous": ("backward", "negated"),
        "validity": ("inside", "none"),
        "jitter_together": (True, False),
        "flip": (True, False),
        "num_classes": (3, 2),
        "ramp": (0.5, 0.0),
        "separate_passes": (False, True),
    }
    for name in ("fast", "full"):
        fixed, faithful = (TrainConfig.preset(name, "both", v) for v in ("fixed", "faithful"))
        found = {
            key: (value, vars(faithful)[key])
            for key, value in vars(fixed).items()
            if vars(faithful)[key] != value
        }
        assert found == slips


def test_the_full_preset_is_the_authors_table() -> None:
    full = TrainConfig.preset("full", "both", "faithful")
    assert (full.data.height, full.data.width, full.output_stride) == (512, 512, 32)
    assert (full.backbone, full.weights, full.background) == ("resnet50", "DEFAULT", "subtract")
    assert (full.lr, full.weight_decay, full.power, full.bias_groups) == (0.1, 1e-4, 0.9, True)
    assert (full.alpha, full.beta, full.pieces) == (2.0, 6.0, 4)
    assert full.jitter == (0.3, 0.3, 0.3, 0.1)
    assert (full.level, full.reduction, full.fusion) == ("raw", "mean", "max")
    assert (full.detach, full.centre_in) == (False, False)
    assert TrainConfig.preset(seed=4, beta=0.0).beta == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "slow"}, "name: expected one of fast, full; got 'slow'"),
        ({"variant": "better"}, "variant: .*'better'"),
        ({"methods": "both"}, "TrainConfig has no methods"),
        ({"method": "all"}, "TrainConfig.method: expected one of plain, puzzle, temporal, both"),
    ],
)
def test_bad_presets(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TccamError, match=message):
        TrainConfig.preset(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": "median"}, "TrainConfig.background: expected one of .*; got 'median'"),
        ({"method": "temporl"}, "TrainConfig.method"),
        ({"level": "cam"}, "TrainConfig.level"),
        ({"reduction": "sum"}, "TrainConfig.reduction"),
        ({"flow": "flownet"}, "TrainConfig.flow: expected one of exact, files, zero, shuffled"),
        ({"previous": "forward"}, "TrainConfig.previous"),
        ({"fusion": "min"}, "TrainConfig.fusion"),
        ({"normalized": "none"}, "TrainConfig.normalized"),
        ({"validity": True}, "TrainConfig.validity"),
        ({"precision": "16"}, "TrainConfig.precision"),
        ({"num_classes": 4}, "TrainConfig.num_classes"),
        ({"batch": 7}, "TrainConfig.batch: expected a multiple of num_classes=3 × 1 centres"),
        ({"method": "both", "window": 4}, "TrainConfig.batch: .* 2 centres .*, got 9"),
        ({"accumulate": 2, "batch": 9}, "TrainConfig.batch: .* accumulate=2, got 9"),
        ({"window": 2}, "TrainConfig.window"),
        ({"steps": 0}, "TrainConfig.steps"),
        ({"steps": 2.5}, "whole number"),
        ({"lr": float("nan")}, "TrainConfig.lr"),
        ({"warmup": -5}, "TrainConfig.warmup"),
        ({"ramp": 1.5}, "TrainConfig.ramp"),
        ({"jitter": (0.1, 0.1, 0.1)}, "TrainConfig.jitter"),
        ({"jitter": (9.0, 0.0, 0.0, 0.0)}, "TrainConfig.jitter"),
        ({"seed": -1}, "TrainConfig.seed"),
    ],
)
def test_bad_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TccamError, match=message):
        replace(CONFIG, **{"batch": 9, **changes})


def test_bad_data(train: Train, flows: FlowStore, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(TccamError, match="checkpoint_every"):
        train(CONFIG, checkpoint_every=0)
    with pytest.raises(TccamError, match="belt"):
        fit(CONFIG, belt=SyntheticBelt(replace(DATA, seed=5)), store=store, progress=False)
    with pytest.raises(TccamError, match="background"):
        train(replace(CONFIG, data=replace(DATA, lead_in=0, objects=8.0)))
    with pytest.raises(TccamError, match="at least one clip"):
        train(replace(CONFIG, data=replace(DATA, validation=0), validate_every=2))
    with pytest.raises(TccamError, match="sides are multiples of 20, got 48×64"):
        train(replace(CONFIG, method="puzzle", pieces=25))
    after = [c for c in SyntheticBelt(DATA).test if c.label == CLASSES[1]]
    run = train(replace(CONFIG, steps=2, warmup=1))
    with pytest.raises(TccamError, match="illegal"):
        evaluate(run.network, after, "divide", 0.5)


# training ---------------------------------------------------------------------------------------


def test_it_learns_and_is_judged(train: Train) -> None:
    data = replace(DATA, height=64, width=80, frames=40, train=4)
    belt = SyntheticBelt(data)
    config = TrainConfig(data=data, steps=80, batch=12, background="subtract", threads=1)
    run = train(config)
    assert run.losses[-10:].mean() < 0.7 * run.losses[:10].mean()
    threshold = choose_threshold(run.network, belt.validation, config.background)
    report = evaluate(run.network, belt.test, config.background, threshold)
    assert report.threshold == threshold
    assert report.accuracy > 0.6
    area = torch.cat([c.masks for c in belt.test if c.label == "before"]).float().mean()
    assert report.pxap > 1.5 * float(area)  # a random map scores the share of object pixels
    curve = report.curve
    scores = [value for name, value in vars(report).items() if name != "curve"]
    assert all(0 <= value <= 1 for value in (*scores, *curve.iou, *curve.precision, *curve.recall))
    nearest = min(range(len(CURVE)), key=lambda k: abs(CURVE[k] - threshold))
    assert curve.iou[nearest] == pytest.approx(report.iou_threshold, abs=0.05)
    assert curve.recall[nearest] == pytest.approx(report.recall, abs=0.1)
    assert list(curve.recall) == sorted(curve.recall, reverse=True)
    assert isinstance(report, Report)


def test_two_classes_take_the_cameras_label(train: Train, tmp_path: Path) -> None:
    config = replace(CONFIG, num_classes=2, background="none", steps=2, warmup=1)
    run = train(config)
    assert run.network.num_classes == 2
    record = json.loads((tmp_path / "runs" / run.key / "run.json").read_text())
    assert record["config"]["num_classes"] == 2


def test_predict_leaves_the_mode_and_cuts_batches_right(train: Train) -> None:
    run = train(replace(CONFIG, steps=2, warmup=1))
    network = run.network.train()
    pictures = torch.randn(5, 3, 48, 64)
    small, large = predict(network, pictures, batch=2), predict(network, pictures, batch=64)
    assert network.training
    torch.testing.assert_close(small.maps, large.maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(small.logits, small.maps.mean((2, 3)))


def test_mixed_precision_trains_on_the_cpu(train: Train) -> None:
    run = train(replace(BOTH, precision="bf16-mixed", steps=20))
    exact = train(replace(BOTH, steps=20))
    assert run.losses.dtype == torch.float32
    assert run.losses.isfinite().all()
    assert all(p.dtype == torch.float32 for p in run.network.parameters())
    torch.testing.assert_close(run.losses[:3], exact.losses[:3], rtol=0.05, atol=0)
    assert not torch.equal(run.losses, exact.losses)


def test_diverging_training_says_where(train: Train, tmp_path: Path) -> None:
    wild, store = replace(CONFIG, lr=1e30, clip_norm=1e30), RunStore(tmp_path / "runs")
    for _ in range(2):  # the second time neither: no broken checkpoint is resumed from
        with pytest.raises(TccamError, match=r"diverged: the loss at step \d+ is (nan|inf)"):
            train(wild, checkpoint_every=11)
        assert store.finished(fingerprint(wild)) is None
        assert store.load(fingerprint(wild), "checkpoint") is None


def test_a_run_without_its_weights_says_so(train: Train, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=2, warmup=1)
    key = train(config).key
    (tmp_path / "runs" / key / "weights.safetensors").unlink()
    with pytest.raises(TccamError, match="no weights"):
        train(config)


def test_a_run_is_kept_where_there_is_no_git(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert train(replace(CONFIG, steps=2, warmup=1)).provenance["commit"] is None


# several processes ------------------------------------------------------------------------------


@pytest.fixture
def frozen_statistics(monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep the network in eval mode: batch norm would see half a batch in each of two processes."""
    monkeypatch.setattr(CamNet, "train", lambda self, mode=True: nn.Module.train(self, False))
    return "CamNet.train = lambda self, mode=True: nn.Module.train(self, False)"


def test_two_processes_are_one_run(
    train: Train, tmp_path: Path, flows: FlowStore, frozen_statistics: str
) -> None:
    config = replace(BOTH, batch=12, accumulate=2, steps=8, lr=0.01)
    alone = train(config)
    script = tmp_path / "two.py"
    script.write_text(
        textwrap.dedent(f"""
        from pathlib import Path
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
        from torch import nn
        from tccam.data import BeltConfig, FlowStore
        from tccam.network import CamNet
        from tccam.store import RunStore
        from tccam.training import TrainConfig, fit
        {frozen_statistics}
        strategy = DDPStrategy(broadcast_buffers=False, process_group_backend="gloo")
        fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy)
        fabric.launch()
        store, flows = RunStore({str(tmp_path / "two")!r}), FlowStore({str(flows.root)!r})
        config = {config!r}
        run = fit(config, store=store, flows=flows, fabric=fabric, checkpoint_every=3)
        assert fabric.world_size == 2
        Path(f"{tmp_path}/done-{{fabric.global_rank}}").write_text(str(len(run.losses)))
    """)
    )
    done = subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"done-{rank}").read_text() for rank in range(2)] == ["8", "8"]
    (folder,) = (tmp_path / "two").glob("[!.]*")
    assert folder.name != alone.key  # batch norm sees parts: it is another run than one process's
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["run.json", "weights.safetensors"]
    record = json.loads((folder / "run.json").read_text())
    for name, curve in {"loss": alone.losses, **alone.terms}.items():
        torch.testing.assert_close(torch.tensor(record["terms"][name]), curve, rtol=1e-4, atol=1e-6)
    for name, curve in alone.validation.items():
        found = torch.tensor(record["validation"][name])
        torch.testing.assert_close(found, curve, rtol=1e-4, atol=1e-6)
    together = CamNet()
    together.load_state_dict(RunStore(tmp_path / "two").load(folder.name, "weights") or {})
    torch.testing.assert_close(weights(together), weights(alone.network), rtol=1e-4, atol=1e-5)


def test_a_batch_that_processes_cannot_share_is_named(train: Train) -> None:
    class Three:
        world_size = 3

    with pytest.raises(TccamError, match=r"TrainConfig\.batch: 6 .* 3 parts \(3 processes"):
        train(CONFIG, fabric=Three())


# the store --------------------------------------------------------------------------------------


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


def test_fabric_must_have_the_precision_of_the_configuration(tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    with pytest.raises(TccamError, match="precision"):
        fit(CONFIG, fabric=fabric, store=RunStore(tmp_path), progress=False)


def test_a_run_is_named_by_all_that_it_depends_on(tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    config = replace(CONFIG, weights=str(file))
    names = [run_key(config)]
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_file(CamNet().state_dict(), file)
        names.append(run_key(config))
    assert len(set(names)) == 3
    assert run_key(config) == names[-1]
    assert run_key(CONFIG) == fingerprint(CONFIG)


def test_a_run_depends_on_the_code_that_training_and_scoring_import(tmp_path: Path) -> None:
    package = Path(tccam_store.__file__).parent
    shutil.copytree(package, tmp_path / "tccam", ignore=shutil.ignore_patterns("__pycache__"))

    def digest() -> str:
        code = "from tccam.store import sources_hash; print(sources_hash())"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def appended(name: str, text: str) -> str:
        path = tmp_path / "tccam" / name
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
        return digest()

    first = digest()
    assert first == tccam_store.sources_hash()
    for name in ("viz.py", "notebook.py", "cli/study.py", "study/catalog.py"):
        assert appended(name, "\nNEW = 1\n") == first, name
    assert appended("temporal.py", "\n# a comment\n") == first
    found = [first]
    for name in ("temporal.py", "data/sprites.py", "flow/geometry.py", "metrics.py", "errors.py"):
        found.append(appended(name, "\nNEW = 1\n"))
    assert len(set(found)) == len(found)


def test_tiles_whose_cells_would_be_moved_are_refused(train: Train) -> None:
    # Tiles of 28 rows: at stride 8 their cells do not lie on those of the picture.
    data = replace(DATA, height=56)
    with pytest.raises(TccamError, match="sides are multiples of 16, got 56×64"):
        train(replace(CONFIG, data=data, method="puzzle", output_stride=8))
    assert train(replace(CONFIG, data=data, method="puzzle")).losses.isfinite().all()
