"""What can be known of a recording before training: each way to break it fails its own check."""

from functools import cache

import pytest
import torch

from tccam.data import ArrayClip, BeltConfig, SyntheticBelt
from tccam.errors import TccamError
from tccam.suitability import examine


@cache
def verdicts(seed=0, split=0, stride=4, size=None, **changes):
    belt = SyntheticBelt(BeltConfig(train=1, validation=0, test=0, seed=seed, **changes))
    checks = examine(belt.train[split], stride=stride, size=size, samples=16, progress=False)
    return {check.name: check for check in checks}


@pytest.mark.parametrize(("seed", "split"), [(0, 0), (0, 1), (1, 0)])
def test_a_belt_as_it_should_be_passes(seed, split):
    found = verdicts(seed, split)
    assert {c.verdict for c in found.values()} == {"good"}, found
    assert not any(c.advice for c in found.values())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("static", {"drift": 0.5}),
        ("static", {"flicker": 0.15}),
        ("static", {"texture": 3.0}),
        ("light", {"drift": 0.5}),
        ("camera", {"shake": 3}),
        ("gaps", {"lead_in": 0, "objects": 9.0}),
        ("empty", {"lead_in": 0, "objects": 9.0}),
        ("view", {"speed": 70.0}),
    ],
)
def test_what_breaks_the_method_fails_its_check(name, changes):
    found = verdicts(**changes)[name]
    assert found.verdict == "bad", found
    assert found.advice


def test_a_weak_drift_is_doubtful():
    assert verdicts(drift=0.2)["light"].verdict == "doubtful"


def test_objects_are_measured_in_cells_and_in_tiles():
    fine, coarse = verdicts(stride=4), verdicts(stride=16)
    assert fine["size"].value == pytest.approx(4 * coarse["size"].value)
    assert fine["tiles"].value == coarse["tiles"].value
    assert coarse["size"].verdict != "good"
    assert verdicts(stride=16, object_size=(0.1, 0.12))["size"].verdict == "bad"


@pytest.mark.parametrize("speed", [4.0, 20.0])
def test_the_view_is_the_width_over_the_speed(speed):
    assert verdicts(speed=speed)["view"].value == pytest.approx(160 / speed, rel=0.05)


def test_half_the_size_halves_the_speed_and_keeps_the_view():
    assert verdicts(size=(64, 80))["view"].value == pytest.approx(16, rel=0.1)


def test_flow_that_cannot_follow_is_found():
    """Frames that have nothing to do with each other."""
    belt = SyntheticBelt(BeltConfig(train=2, validation=0, test=0, lead_in=0))
    one, other = belt.train[0].frames, belt.train[2].frames
    mixed = torch.stack((one[:40], other[:40].flip(0)), 1).flatten(0, 1)
    found = {c.name: c for c in examine(ArrayClip(mixed), progress=False)}
    assert found["motion"].value < 0.6
    assert found["motion"].verdict == "bad"


def test_an_object_that_never_leaves_is_not_seen():
    """The known blind spot, which the documentation owns up to."""
    assert verdicts(stuck=2)["static"].verdict == "good"


def test_nothing_moves():
    found = {c.name: c for c in examine(ArrayClip(torch.full((20, 3, 64, 64), 90).byte()),
                                        progress=False)}  # fmt: skip
    assert {n for n, c in found.items() if c.verdict == "bad"} == {
        "size", "tiles", "view", "motion",
    }  # fmt: skip
    assert found["empty"].value == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"samples": 2}, "samples"), ({"stride": 0}, "stride"), ({"frames": 3}, "frames"),
     ({"pieces": 0}, "pieces"), ({"method": "magic"}, "method")],
)  # fmt: skip
def test_arguments_are_checked(changes, message):
    clip = SyntheticBelt(BeltConfig(train=1, validation=0, test=0, frames=20)).train[0]
    with pytest.raises(TccamError, match=message):
        examine(clip, progress=False, **changes)


def test_a_short_clip_is_named():
    with pytest.raises(TccamError, match="frames: expected at least 16 frames, found 5"):
        examine(ArrayClip(torch.zeros(5, 3, 32, 32).byte()), progress=False)


def test_only_the_first_frames_are_looked_at():
    belt = SyntheticBelt(BeltConfig(train=1, validation=0, test=0))
    frames = belt.train[0].frames
    dark = torch.cat((frames, torch.zeros_like(frames)))
    one = examine(ArrayClip(frames), samples=8, progress=False)
    assert examine(ArrayClip(dark), frames=60, samples=8, progress=False) == one
