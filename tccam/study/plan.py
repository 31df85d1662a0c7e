"""What a study is: a question, and the runs that answer it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tccam.data import BeltConfig
from tccam.errors import TccamError
from tccam.training import TrainConfig

__all__ = ["FRESH", "Arm", "Changes", "Study"]

#: Belts are numbered by this plus the seed: no chapter has looked at these clips.
FRESH = 100

#: Fields of the configuration that differ; those of its belt by the name "data.FIELD".
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One run of a study.

    Attributes:
        facts: the columns of the results that tell it from the others: "arm", one for each axis,
            "seed".
        config: what is trained.
        swapped: whether it is also tried with the cameras exchanged.
    """

    facts: Mapping[str, Any]
    config: TrainConfig
    swapped: bool = False


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it: every arm, at every value of every axis, per seed.

    All arms of one seed and one value of each axis train on the same clips and, unless an arm
    changes the batches themselves, draw the same centre frames in the same steps, so that their
    differences are paired. Every seed has a belt of its
    own that no chapter has looked at. Thresholds come from that belt's validation clips, scores
    from its test clips, see :class:`tccam.inference.Report`.

    Attributes:
        name: of the files that hold the results.
        question: in one sentence.
        arms: name → what it changes in the base.
        pairs: comparison → the arm, and the control that it is held against.
        axes: axis → label of a value → what that changes; keys "data.FIELD" change the belt.
        seeds: how many.
        base: what all runs share.
        skipped: facts of runs that are left out, such as {"stride": "4", "arm": "both, DIS flow"}.
        curves: whether the scores at every threshold are recorded too, see
            :class:`tccam.inference.Curve`.
        swapped: whether "accuracy_swapped" is recorded too: the accuracy on the test clips with
            the rails, light and white balance of the other camera. A network that looks at objects
            does not mind.

    Raises:
        TccamError: if an arm, an axis or a comparison names what does not exist.

    Example:
        >>> study = Study(
        ...     "toy", "Does it help?",
        ...     arms={"plain": {"method": "plain"}, "puzzle": {"method": "puzzle"}},
        ...     pairs={"puzzle − plain": ("puzzle", "plain")},
        ...     axes={"stride": {"4": {"output_stride": 4}, "16": {"output_stride": 16}}},
        ...     seeds=3,
        ... )
        >>> len(study.runs()), dict(study.runs()[0].facts)
        (12, {'arm': 'plain', 'stride': '4', 'seed': 0})
    """

    name: str
    question: str
    arms: Mapping[str, Changes]
    pairs: Mapping[str, tuple[str, str]]
    axes: Mapping[str, Mapping[str, Changes]] = field(default_factory=dict)
    seeds: int = 5
    base: TrainConfig = field(default_factory=lambda: TrainConfig(threads=1))
    skipped: tuple[Mapping[str, str], ...] = ()
    curves: bool = False
    swapped: bool = False

    def __post_init__(self) -> None:
        known = {f.name for f in fields(TrainConfig)}
        known |= {f"data.{f.name}" for f in fields(BeltConfig)}
        every = [*self.arms.values(), *(c for axis in self.axes.values() for c in axis.values())]
        for name in (name for changes in every for name in changes):
            if name not in known:
                raise TccamError(f"{self.name}: a run has no setting {name!r}")
        for name, pair in self.pairs.items():
            if missing := set(pair) - set(self.arms):
                raise TccamError(f"{self.name}: {name!r} compares {missing}, which is no arm")
        if not isinstance(self.base.data, BeltConfig):
            raise TccamError(
                f"{self.name}: a study needs belts, whose seeds differ from run to run"
            )
        if self.seeds < 1:
            raise TccamError(f"{self.name}: expected at least one seed, got {self.seeds}")

    def runs(self) -> list[Arm]:
        """Every run, those of one belt next to each other so that it is rendered once."""
        found = []
        places = itertools.product(*self.axes.values())
        for labels, seed in itertools.product(places, range(self.seeds)):
            place = dict(zip(self.axes, labels, strict=True))
            for arm, own in self.arms.items():
                facts = {"arm": arm, **place, "seed": seed}
                if any(out.items() <= facts.items() for out in self.skipped):
                    continue
                changes: dict[str, Any] = {"seed": seed, "data.seed": FRESH + seed}
                for axis, label in place.items():
                    changes |= self.axes[axis][label]
                config = _changed(self.base, {**changes, **own})
                found.append(Arm(facts, config, self.swapped))
        return sorted(found, key=lambda run: repr(run.config.data))


def _changed(config: TrainConfig, changes: Changes) -> TrainConfig:
    data = {k.removeprefix("data."): v for k, v in changes.items() if k.startswith("data.")}
    own = {k: v for k, v in changes.items() if not k.startswith("data.")}
    return replace(config, data=replace(config.data, **data), **own)
