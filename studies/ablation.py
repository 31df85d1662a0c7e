"""Does the temporal term help? Every method with its controls, at a coarse and a fine map."""

from __future__ import annotations

from typing import Any

from studies.recorded import FRESH, Arm, record
from tccam.data import BeltConfig
from tccam.training import TrainConfig

SEEDS = range(5)
STEPS = 240
#: Arm → what it changes. A control lets the neighbours pass the network and asks nothing of them.
ARMS: dict[str, dict[str, Any]] = {
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
#: At stride 4 a step costs half as much again: the arms that decide.
FINE = (
    "plain", "plain, control", "temporal", "temporal, zero flow", "puzzle", "puzzle, control",
    "both", "both, zero flow",
)  # fmt: skip


def arms() -> list[Arm]:
    """One arm a method, stride and seed; each seed has a belt of its own."""
    return [
        Arm(
            {"arm": name, "stride": stride},
            TrainConfig(
                data=BeltConfig.hard(seed=FRESH + seed, test=12),
                output_stride=stride,
                steps=STEPS,
                seed=seed,
                threads=1,
                **changes,
            ),
        )
        for stride, names in ((16, tuple(ARMS)), (4, FINE))
        for name, changes in ARMS.items()
        if name in names
        for seed in SEEDS
    ]


if __name__ == "__main__":
    record("ablation", __doc__ or "", arms())
