"""When does the temporal term help? Its gain over motion per frame, on two belts."""

from __future__ import annotations

from studies.recorded import FRESH, Arm, record
from tccam.data import BeltConfig
from tccam.training import TrainConfig

SEEDS = range(3)
STEPS, BATCH = 240, 9
STRIDE = 16
#: Pixels a frame: from a quarter of a cell to one and a half.
SPEEDS = (4.0, 8.0, 12.0, 16.0, 24.0)
BELTS = {"clear": BeltConfig.clear, "hard": BeltConfig.hard}


def arms() -> list[Arm]:
    """The temporal term and its control, for each belt, speed and seed."""
    return [
        Arm(
            {"arm": name, "belt": belt, "speed": speed, "stride": STRIDE},
            TrainConfig(
                data=make(seed=FRESH + seed, speed=speed, test=12),
                output_stride=STRIDE,
                steps=STEPS,
                batch=BATCH,
                seed=seed,
                threads=1,
                method="temporal",
                beta=beta,
            ),
        )
        for belt, make in BELTS.items()
        for speed in SPEEDS
        for seed in SEEDS
        for name, beta in (("control", 0.0), ("temporal", 6.0))
    ]


if __name__ == "__main__":
    record("motion", __doc__ or "", arms())
