"""Run the arms of a study, one training run each, and record what they are worth.

Finished runs are kept in the run store: a study that was interrupted, or shared out over several
processes (``--share 1/2`` and ``--share 2/2``), goes on where it stopped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tccam.data import SyntheticBelt
from tccam.data.flows import FlowStore
from tccam.files import write_atomic
from tccam.inference import choose_threshold, evaluate
from tccam.store import RunStore, machine, provenance
from tccam.training import TrainConfig, fit, run_key

RESULTS = Path(__file__).resolve().parents[1] / "results"
#: Belts are numbered by this plus the seed: no chapter has looked at these clips.
FRESH = 100


@dataclass(frozen=True)
class Arm:
    """One configuration to train.

    Attributes:
        facts: what tells it from the others: columns of the results, "arm" first.
        config: what to train.
    """

    facts: Mapping[str, Any]
    config: TrainConfig


def score(arm: Arm, belt: SyntheticBelt, store: RunStore, flows: FlowStore) -> dict[str, Any]:
    """Train, choose the threshold on the validation clips, judge on the test clips."""
    run = fit(arm.config, belt=belt, store=store, flows=flows, progress=False)
    torch.set_num_threads(arm.config.threads)
    background = arm.config.background
    threshold = choose_threshold(run.network, belt.validation, background)
    report = evaluate(run.network, belt.test, background, threshold)
    return {
        **arm.facts,
        "seed": arm.config.seed,
        **{name: round(value, 5) for name, value in asdict(report).items()},
        "seconds": round(run.seconds, 1),
        "cores": run.provenance["cores"],
    }


def record(name: str, question: str, arms: Sequence[Arm]) -> None:
    """The command line of a study: run all arms, or a share of them, and write the results."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--share", default="1/1", help="this process's part, such as 2/3")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    part, _, parts = (int(x) if x.isdigit() else 0 for x in arguments.share.partition("/"))
    if not 1 <= part <= parts:
        parser.error(f"--share: expected a part of all parts, such as 2/3; got {arguments.share!r}")
    store, flows = RunStore(), FlowStore()
    kept = store.root.parent / "scores"
    mine = [arm for number, arm in enumerate(_by_belt(arms)) if number % parts == part - 1]
    belt = SyntheticBelt(arms[0].config.data)
    for arm in tqdm(mine, desc=f"{name} {arguments.share}"):
        path = kept / f"{run_key(arm.config)}.json"
        if path.is_file():
            continue
        if belt.config != arm.config.data:
            belt = SyntheticBelt(arm.config.data)
        row = score(arm, belt, store, flows)
        write_atomic(path, json.dumps(row).encode())
    paths = [kept / f"{run_key(arm.config)}.json" for arm in arms]
    missing = sum(not path.is_file() for path in paths)
    if missing:
        print(f"{missing} of {len(arms)} runs are still to come: no results yet", file=sys.stderr)
        return
    rows = [
        {**json.loads(path.read_text()), **arm.facts} for arm, path in zip(arms, paths, strict=True)
    ]
    facts = {
        "question": question,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "provenance": provenance(),
        "command": f"python -m studies.{name}",
        "shared": shared([asdict(arm.config) for arm in arms]),
        "rows": rows,
    }
    target = arguments.results / f"{name}.json"
    text = json.dumps(facts, ensure_ascii=False, default=str)
    # One row a line: a difference of two recordings can be read.
    text = text.replace('{"arm"', '\n{"arm"').replace('"rows"', '\n"rows"')
    write_atomic(target, (text + "\n").encode())
    print(f"{len(rows)} runs written to {target.name}", file=sys.stderr)


def shared(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all configurations have in common; the rows and the arms' names say the rest."""
    common: dict[str, Any] = {}
    for name, value in configs[0].items():
        if isinstance(value, dict):
            common[name] = shared([config[name] for config in configs])
        elif all(config[name] == value for config in configs):
            common[name] = value
    return common


def _by_belt(arms: Sequence[Arm]) -> Iterator[Arm]:
    """The arms with those of one belt together, so that it is rendered once; coarse maps first."""
    yield from sorted(
        arms, key=lambda arm: (-(arm.config.output_stride or 0), repr(arm.config.data))
    )
