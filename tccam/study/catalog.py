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

#: What the paper does not compare with. "longer" computes as many pictures as "temporal" does.
_BASELINES = replace(
    _ABLATION,
    name="baselines",
    question="Do other things help as much: more steps, equivariance, neighbours without motion?",
    arms={
        **{name: _ARMS[name] for name in ("plain", "plain, control", "temporal")},
        "plain, longer": {"method": "plain", "steps": 720},
        "equivariance": {"method": "plain", "gamma": 6.0},
        "temporal, zero flow": _ARMS["temporal, zero flow"],
        "temporal, shuffled flow": {"method": "temporal", "flow": "shuffled"},
    },
    pairs={
        "longer": ("plain, longer", "plain"),
        "equivariance": ("equivariance", "plain"),
        "temporal": ("temporal", "plain, control"),
        "zero flow": ("temporal, zero flow", "plain, control"),
        "shuffled flow": ("temporal, shuffled flow", "plain, control"),
        "temporal − longer": ("temporal", "plain, longer"),
        "temporal − equivariance": ("temporal", "equivariance"),
    },
    skipped=(),
    base=TrainConfig(data=BeltConfig.mixed(test=12), steps=240, threads=1),
)

#: Slips of the authors' code, each alone in the corrected method; then all of them, with those that
#: change no map by themselves; then three choices that are no slips.
_SLIP_ARMS: dict[str, Changes] = {
    "momentum": {"momentum": 1e-4},
    "half-cell shift": {"half_cell_shift": True, "cells": False},  # both are one grid
    "negated flow": {"previous": "negated"},
    "no validity": {"validity": "none"},
    "independent jitter": {"jitter_together": False},
    "two classes": {"num_classes": 2},
}
_FAITHFUL: Changes = {
    **{key: value for changes in _SLIP_ARMS.values() for key, value in changes.items()},
    "flip": False,
    "ramp": 0.0,
    "separate_passes": True,
}
_CHOICES: dict[str, Changes] = {"centre in": {"centre_in": True}, "detached": {"detach": True}}
_COARSE: dict[str, Changes] = {"stride 32": {"output_stride": 32}}
_SLIPS = Study(
    "slips",
    "What does each difference between the authors' code and their text cost?",
    arms={"fixed": {}, **_SLIP_ARMS, "faithful": _FAITHFUL, **_CHOICES, **_COARSE},
    pairs={name: (name, "fixed") for name in (*_SLIP_ARMS, "faithful", *_CHOICES, *_COARSE)},
    # Tiles of 64×80 pixels have no whole number of cells at stride 32.
    axes={"width": {"160": {}, "192": {"data.width": 192}}},
    skipped=(
        *({"width": "160", "arm": arm} for arm in _COARSE),
        *({"width": "192", "arm": arm} for arm in (*_SLIP_ARMS, "faithful", *_CHOICES)),
    ),
    base=TrainConfig(
        data=BeltConfig.mixed(test=12),
        method="both",
        steps=240,
        batch=12,  # in whole shares of two classes and of three
        output_stride=16,
        validity="visible",  # on this belt each cell is seen by one neighbour at least
        threads=1,
    ),
)

_WEIGHTS = Study(
    "weights",
    "How do α and β change the maps? (β = 0 is the control, α = 0 leaves the tiles their labels.)",
    arms={"both": {}},
    pairs={},
    axes={
        "alpha": {str(v): {"alpha": float(v)} for v in (0, 2, 8)},
        "beta": {str(v): {"beta": float(v)} for v in (0, 6, 24)},
    },
    seeds=3,
    curves=True,
    base=_SLIPS.base,
)

#: Sound and damaged parts look so alike that the camera is easier to recognise by its colours than
#: by what lies on the line. All arms run where they are hidden best.
_PARTS = Study(
    "parts",
    "Does the method carry over to a line of machined parts?",
    arms={
        name: _ARMS[name]
        for name in ("plain", "plain, control", "temporal", "puzzle", "puzzle, control", "both")
    },
    pairs={
        "temporal": ("temporal", "plain, control"),
        "puzzle − plain": ("puzzle", "plain"),
        "both": ("both", "puzzle, control"),
        "both − plain": ("both", "plain"),
    },
    axes={
        "background": {"divide": {}, "weber": {"background": "weber"}},
        "jitter": {"usual": {}, "colours": {"jitter": (0.25, 0.25, 0.5, 0.1)}},
    },
    skipped=tuple(
        {"background": background, "jitter": jitter, "arm": arm}
        for background, jitter in (("divide", "usual"), ("divide", "colours"), ("weber", "usual"))
        for arm in ("plain, control", "temporal", "puzzle", "puzzle, control", "both")
    ),
    swapped=True,
    base=TrainConfig(
        data=BeltConfig.parts(test=12), steps=240, batch=9, output_stride=4, threads=1
    ),
)

#: Minutes on a laptop: the book trains it in its own build.
_FAST = Study(
    "fast",
    "The ablation in small, with three seeds.",
    arms={
        name: _ARMS[name]
        for name in ("plain", "plain, control", "temporal", "puzzle", "puzzle, control", "both")
    },
    pairs={
        "temporal": ("temporal", "plain, control"),
        "puzzle − plain": ("puzzle", "plain"),
        "both": ("both", "puzzle, control"),
        "both − plain": ("both", "plain"),
    },
    axes={"stride": {"16": {"output_stride": 16}}},
    seeds=3,
    curves=True,
    base=TrainConfig(
        data=BeltConfig.mixed(
            height=96, width=128, speed=7.5, frames=48, train=16, validation=4, test=6
        ),
        steps=100,
        batch=9,
        warmup=10,
        threads=1,
    ),
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

_GAITS = Study(
    "gaits",
    "Does the temporal term survive motion that is not even?",
    arms={"control": {"beta": 0.0}, "temporal": {}, "zero flow": {"flow": "zero"}},
    pairs={
        "temporal": ("temporal", "control"),
        "zero flow": ("zero flow", "control"),
        "temporal − zero flow": ("temporal", "zero flow"),
    },
    axes={
        "motion": {
            "constant": {},
            "stop-and-go": {"data.motion": "stop-and-go"},
            "accelerating": {"data.motion": "accelerating", "data.variation": 0.9},
            "tumbling": {"data.rotation": 12.0},
        },
        "stride": {"16": {"output_stride": 16}},
    },
    swapped=True,
    base=TrainConfig(
        data=BeltConfig.mixed(test=12), method="temporal", steps=240, batch=9, threads=1
    ),
)

#: Small pictures, for the number of runs. 16 pixels a frame are whole cells at all strides but 32:
#: moved by whole cells, neighbours sample the same places, and have nothing to add.
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
        "speed": {str(v): {"data.speed": float(v)} for v in (3, 6, 16)},
        "stride": {str(s): {"output_stride": s} for s in (4, 8, 16, 32)},
    },
    swapped=True,
    base=TrainConfig(
        data=BeltConfig(height=96, width=120, test=12),
        method="temporal",
        steps=240,
        batch=9,
        threads=1,
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
    {
        s.name: s
        for s in (
            _ABLATION,
            _BASELINES,
            _SLIPS,
            _WEIGHTS,
            _MOTION,
            _GAITS,
            _CENTRAL,
            _PARTS,
            _FAST,
            _SMOKE,
        )
    }
)
