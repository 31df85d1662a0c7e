"""Run a study, on one core or on a cluster, and stop and go on as often as you like."""

from __future__ import annotations

import datetime
import itertools
import math
import os
import random
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tccam.data import BeltConfig, SyntheticBelt
from tccam.data.flows import FlowStore
from tccam.errors import TccamError
from tccam.inference import CURVE, Curve, Report, accuracy, choose_threshold, evaluate
from tccam.store import RunStore, machine, provenance
from tccam.study.plan import Arm, Study
from tccam.study.results import load, save
from tccam.training import fit, run_key

__all__ = ["run", "score", "verify"]

_SCORES = tuple(f.name for f in fields(Report) if f.name != "curve")


def run(
    study: Study,
    results: Path,
    *,
    store: RunStore | None = None,
    flows: FlowStore | None = None,
    jobs: int = 1,
    dask: str | None = None,
    progress: bool = True,
) -> Path:
    """Train and score what is still missing, then write the results.

    Finished runs are taken from the run store, whoever has made them; a run that was cut goes on at
    its checkpoint. Several processes may work on one study with one store: none trains what
    another trains at the time.

    Args:
        study: what to run.
        results: the folder of the results.
        store: where runs are kept; the default store when None.
        flows: where optical flow is kept; the default store when None.
        jobs: processes on this machine; −1 for one a core. Each run takes ``base.threads``.
        dask: the address of a running Dask cluster, such as "tcp://10.0.0.1:8786", whose workers
            share the folders of the stores; None for this machine.
        progress: whether to show a bar on stderr.

    Returns:
        The table, ``NAME.csv``. Beside it ``NAME.json`` tells where it comes from, and
        ``NAME-curves.csv`` has the curves of a study that records them.

    Raises:
        TccamError: if ``jobs`` is 0 or less than −1.
    """
    if jobs == 0 or jobs < -1:
        raise TccamError(f"jobs: expected a number of processes, or -1 for all cores; got {jobs}")
    store, flows = store or RunStore(), flows or FlowStore()
    runs = study.runs()
    started = time.monotonic()
    rows: dict[int, dict[str, Any]] = {}
    missing = []
    for number, arm in enumerate(runs):
        found = _kept(arm, store)
        if found is None:
            missing.append((number, arm))
        else:
            rows[number] = found
    with tqdm(
        total=len(runs), initial=len(rows), desc=study.name, unit="run", disable=not progress
    ) as bar:
        for number, row in _scored(missing, store, flows, jobs, dask):
            rows[number] = row
            bar.update()
    table = [{**arm.facts, **rows[number]} for number, arm in enumerate(runs)]
    facts = {
        "question": study.question,
        "command": f"tccam study run {study.name}",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "provenance": provenance(),
        "seeds": study.seeds,
        "pairs": study.pairs,
        "axes": {name: list(values) for name, values in study.axes.items()},
        "training_seconds": round(sum(row["seconds"] for row in table), 1),
        "session_seconds": round(time.monotonic() - started, 1),
        "base": asdict(study.base),
    }
    curves = [dict(zip(Curve._fields, row.pop("curve"), strict=True)) for row in table]
    return save(results, study.name, facts, table, curves if study.curves else None)


def score(arm: Arm, store: RunStore, flows: FlowStore) -> dict[str, Any]:
    """Train, choose the threshold on the validation clips, judge on the test clips.

    Args:
        arm: the run.
        store: where it is kept; if it is there already, nothing is computed.
        flows: where optical flow is kept.

    Returns:
        The fields of :class:`~tccam.inference.Report`, "seconds" of training, the last "loss", and
        "accuracy_swapped" if the run asks for it. "curve" is a list of lists.
    """
    if kept := _kept(arm, store):
        return kept
    config = arm.config
    data = config.data
    assert isinstance(data, BeltConfig)  # see Study
    belt = _belt(data)
    trained = fit(config, belt=belt, store=store, flows=flows, progress=False)
    torch.set_num_threads(config.threads)
    threshold = choose_threshold(trained.network, belt.validation, config.background)
    report = evaluate(trained.network, belt.test, config.background, threshold)
    row: dict[str, Any] = {name: round(getattr(report, name), 5) for name in _SCORES}
    row["curve"] = [[round(value, 4) for value in line] for line in report.curve]
    row |= {"seconds": round(trained.seconds, 1), "loss": round(float(trained.losses[-1]), 5)}
    if arm.swapped:
        swapped = _belt(replace(data, swap_backgrounds=True))
        recognised = accuracy(trained.network, swapped.test, config.background)
        row["accuracy_swapped"] = round(recognised, 5)
    store.note(trained.key, "score", row)
    return row


def verify(
    study: Study,
    results: Path,
    *,
    count: int = 1,
    store: RunStore | None = None,
    flows: FlowStore | None = None,
) -> list[str]:
    """Train some runs of a recorded study again and hold them against the record.

    Which runs is drawn by the library's sources: as the library changes, all get their turn. So a
    record is stale when it is no longer what the library computes, and not when a line changed.

    Args:
        study: the recorded study.
        results: the folder of the results.
        count: how many runs.
        store: where runs are kept; the default store when None.
        flows: where optical flow is kept; the default store when None.

    Returns:
        One line for each number that came out otherwise, by more than rounding on the same kind of
        machine with the same version of PyTorch, or by more than 0.02 on another; curves are
        compared where the study keeps them. Scores that an older record lacks do not count.

    Raises:
        TccamError: if the study is not recorded, or it was another study.
    """
    store, flows = store or RunStore(), flows or FlowStore()
    recorded = load(study.name, results)
    runs = study.runs()
    facts = list(runs[0].facts)
    rows = {_name(facts, row): row for row in recorded["rows"]}
    if set(rows) != {_name(facts, arm.facts) for arm in runs}:
        raise TccamError(f"{study.name}: the record holds other runs than the study; run it again")
    here, there = provenance(), recorded["provenance"]
    same = machine() == recorded["machine"] and here["torch"] == there["torch"]
    tolerance = 2e-5 if same else 0.02
    first = int(here["sources"][:8], 16)
    lines = []
    for arm in (runs[(first + k * 7919) % len(runs)] for k in range(count)):
        name = _name(facts, arm.facts)
        found = score(arm, store, flows)
        numbers = {
            column: (rows[name][column], found[column])
            for column in sorted(found.keys() & rows[name].keys() - {"seconds"})
        }
        allowed = dict.fromkeys(numbers, tolerance)
        points = [point for point in recorded["curves"] if _name(facts, point) == name]
        if study.curves and len(points) != len(CURVE):
            lines.append(f"{study.name}, {name}: {len(points)} points of its curves are recorded")
        elif study.curves:
            for curve, values in zip(Curve._fields, found["curve"], strict=True):
                for point, value in zip(points, values, strict=True):
                    what = f"{curve} at {point['threshold']}"
                    numbers[what] = point[curve], value
                    allowed[what] = max(tolerance, 2e-4)  # they have four digits
        for what, (was, value) in numbers.items():
            if not (abs(value - was) <= allowed[what] or (math.isnan(value) and math.isnan(was))):
                lines.append(f"{study.name}, {name}: {what} was {was}, is {value}")
        if study.swapped and "accuracy_swapped" not in rows[name]:
            lines.append(f"{study.name}, {name}: accuracy_swapped is not recorded")
    return lines


def _name(facts: Sequence[str], row: Mapping[str, Any]) -> str:
    """A run in words."""
    return ", ".join(f"{fact} {row[fact]}" for fact in facts)


def _kept(arm: Arm, store: RunStore) -> dict[str, Any] | None:
    """The row of a finished run, if it has all that the run asks for."""
    row = store.noted(run_key(arm.config), "score")
    if row is None or (arm.swapped and "accuracy_swapped" not in row):
        return None
    if not arm.swapped:
        row.pop("accuracy_swapped", None)
    return row


def _scored(
    missing: Sequence[tuple[int, Arm]],
    store: RunStore,
    flows: FlowStore,
    jobs: int,
    dask: str | None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of the missing runs, in the order in which they are ready."""
    # One task a belt, so that each is rendered once. Processes that share a store begin at
    # different places, and rarely wait for each other.
    tasks = [list(group) for _, group in itertools.groupby(missing, lambda m: m[1].config.data)]
    random.Random(os.getpid()).shuffle(tasks)
    if jobs == 1 and dask is None:
        for number, arm in itertools.chain.from_iterable(tasks):
            yield number, score(arm, store, flows)
        return
    try:
        from joblib import Parallel, delayed  # noqa: PLC0415 - needed by nobody else
    except ImportError as error:
        raise TccamError('jobs, dask: they need joblib: pip install "tccam[study]"') from error
    with _cluster(dask) as backend, warnings.catch_warnings():
        # Loky replaces a worker whose memory has grown, and warns; its task is done by then.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        work = Parallel(n_jobs=jobs, return_as="generator_unordered", **backend)
        for rows in work(delayed(_task)(task, store.root, flows.root) for task in tasks):
            yield from rows


def _task(
    task: Sequence[tuple[int, Arm]], store: Path, flows: Path
) -> list[tuple[int, dict[str, Any]]]:
    """The rows of all runs on one belt; runs in a process of its own."""
    return [(number, score(arm, RunStore(store), FlowStore(flows))) for number, arm in task]


@contextmanager
def _cluster(address: str | None) -> Iterator[dict[str, Any]]:
    """The engine behind joblib: this machine, or a Dask cluster."""
    if address is None:
        yield {"backend": "loky"}
        return
    try:
        from distributed import Client  # noqa: PLC0415 - an extra
        from joblib import parallel_config  # noqa: PLC0415
    except ImportError as error:
        raise TccamError('dask: it needs distributed: pip install "tccam[study]"') from error
    with Client(address), parallel_config(backend="dask"):
        yield {}


@lru_cache(maxsize=2)  # the present one, with its own cameras and exchanged
def _belt(config: BeltConfig) -> SyntheticBelt:
    return SyntheticBelt(config)
