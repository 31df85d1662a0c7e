"""The studies of the book. ``tccam study run NAME`` repeats one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from tccam.data import BeltConfig
from tccam.study.plan import Changes, Study
from tccam.training import TrainConfig

__all__ = ["STUDIES"]

#: Arm → what it changes. A control lets the neighbours pass the network and asks nothing of them.
_ARMS: dict[str, Changes] = {
    "plain": {"method": "plain"},
    "plain, control": {"method": "temporal", "beta": 0.0},
    "temporal": {"method": "temporal"},
    "temporal, zero flow": {"method": "temporal", "flow": "zero"},
    "temporal, detached": {"method": "temporal", "detach": True},
    "puzzle": {"method": "puzzle"},
    "puzzle, control": {"method": "both", "beta": 0.0},
    "both": {"method": "both"},
    "both, zero flow": {"method": "both", "flow": "zero"},
    "both, DIS flow": {"method": "both", "flow": "dis"},
}
_PAIRS = {
    "neighbours in the batch": ("plain, control", "plain"),
    "neighbours in the batch, with tiles": ("puzzle, control", "puzzle"),
    "temporal": ("temporal", "plain, control"),
    "temporal − plain": ("temporal", "plain"),
    "temporal, zero flow": ("temporal, zero flow", "plain, control"),
    "temporal, detached": ("temporal, detached", "plain, control"),
    "puzzle − plain": ("puzzle", "plain"),
    "both": ("both", "puzzle, control"),
    "both, zero flow": ("both, zero flow", "puzzle, control"),
    "both, DIS flow": ("both, DIS flow", "puzzle, control"),
    "motion: temporal − zero flow": ("temporal", "temporal, zero flow"),
    "motion: both − zero flow": ("both", "both, zero flow"),
    "estimated: DIS − exact": ("both, DIS flow", "both"),
}
_STRIDES: dict[str, Changes] = {"16": {"output_stride": 16}, "4": {"output_stride": 4}}
_LAMPS: dict[str, Changes] = {"clear": {"data.glint": 0.1}, "hard": {"data.glint": 0.9}}

_ABLATION = Study(
    "ablation",
    "What do tiles and neighbours add to a plain classifier, and to each other?",
    arms=_ARMS,
    pairs=_PAIRS,
    axes={"stride": _STRIDES},
    # At stride 4 a step costs half as much again: the arms that decide.
    skipped=tuple({"stride": "4", "arm": a} for a in ("temporal, detached", "both, DIS flow")),
    base=TrainConfig(data=BeltConfig.hard(test=12), steps=240, threads=1),
)

_MIXED = replace(
    _ABLATION,
    name="mixed",
    question="The ablation where legal objects are as opaque and as many as illegal ones.",
    base=TrainConfig(data=BeltConfig.mixed(glint=0.9, test=12), steps=240, threads=1),
)

_MOTION = Study(
    "motion",
    "When does the temporal term help? Its gain over motion a frame, on two belts.",
    arms={"control": {"beta": 0.0}, "temporal": {}},
    pairs={"temporal": ("temporal", "control")},
    axes={
        "belt": _LAMPS,
        "speed": {str(v): {"data.speed": float(v)} for v in (4, 8, 12, 16, 24)},
        "stride": {"16": {"output_stride": 16}},
    },
    seeds=3,
    base=TrainConfig(data=BeltConfig(test=12), method="temporal", steps=240, batch=9, threads=1),
)

_CENTRAL = Study(
    "central",
    "When do neighbours help: over motion a frame, the stride of the maps, lamps and flow?",
    arms={
        "control": {"beta": 0.0},
        "exact": {},
        "estimated": {"flow": "dis"},
        "zero": {"flow": "zero"},
    },
    pairs={
        "exact − control": ("exact", "control"),
        "estimated − control": ("estimated", "control"),
        "zero − control": ("zero", "control"),
        "exact − zero": ("exact", "zero"),
    },
    axes={
        "belt": _LAMPS,
        "speed": {str(v): {"data.speed": float(v)} for v in (4, 8, 16, 24)},
        "stride": {str(s): {"output_stride": s} for s in (4, 8, 16, 32)},
    },
    base=TrainConfig(
        data=BeltConfig.mixed(test=12), method="temporal", steps=240, batch=9, threads=1
    ),
)

_SMOKE = Study(
    "smoke",
    "Does a study run? Two minutes on one core, and no answer to anything.",
    arms={"plain": {"method": "plain"}, "puzzle": {"method": "puzzle"}},
    pairs={"puzzle − plain": ("puzzle", "plain")},
    axes={"stride": _STRIDES},
    seeds=3,
    base=TrainConfig(
        data=BeltConfig.mixed(train=4, validation=2, test=2, frames=40), steps=30, threads=1
    ),
)

#: All studies by name.
STUDIES: Mapping[str, Study] = MappingProxyType(
    {s.name: s for s in (_ABLATION, _MIXED, _MOTION, _CENTRAL, _SMOKE)}
)
