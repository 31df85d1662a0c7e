"""Tensors that are not what they should be: refused by name, or not turned into something good."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tccam import background, cam, flow, metrics, puzzle, temporal
from tccam.errors import TccamError

torch.manual_seed(0)
FRAMES = torch.rand(4, 3, 16, 24)
PICTURES = torch.rand(2, 3, 32, 40)
MAPS = torch.rand(2, 3, 8, 8)
STILL = torch.zeros(2, 2, 8, 8)
VALID = torch.ones(2, 1, 8, 8, dtype=torch.bool)
MASKS = torch.zeros(2, 8, 8, dtype=torch.bool)
MASKS[:, 2:4, 2:4] = True
SCORES = torch.rand(2, 8, 8)
LABELS = torch.tensor([0, 1])


def clip_flow(frames: Tensor) -> list[Tensor]:
    return list(flow.estimate_clip(frames, progress=False))


def shrunk(field: Tensor) -> Tensor:
    return flow.resize(field, (4, 4))


def cleaned(frames: Tensor, static: Tensor) -> Tensor:
    return background.clean(frames, static, "divide")


def fused(neighbours: Tensor, valids: Tensor) -> Tensor:
    return temporal.fuse([neighbours, neighbours], [valids, valids])


def pulled(centre: Tensor, neighbour: Tensor, still: Tensor, labels: Tensor) -> Tensor:
    return temporal.temporal_loss(centre, [neighbour], [still], labels)


#: A function and arguments that it takes; each of them in turn is then one that cannot be.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Tensor]]] = {
    "normalize": (cam.normalize, {"maps": MAPS}),
    "class_activation_map": (
        cam.class_activation_map,
        {"features": torch.rand(2, 5, 8, 8), "weight": torch.rand(3, 5)},
    ),
    "median_background": (background.median_background, {"frames": FRAMES}),
    "streaming_median": (background.streaming_median, {"frames": FRAMES}),
    "clean": (cleaned, {"frames": FRAMES, "static": FRAMES[0]}),
    "foreground": (background.foreground, {"frames": FRAMES, "background": FRAMES[0]}),
    "tile": (puzzle.tile, {"images": FRAMES}),
    "merge": (puzzle.merge, {"maps": FRAMES}),
    "spatial_loss": (puzzle.spatial_loss, {"maps": MAPS, "merged": MAPS, "labels": LABELS}),
    "estimate": (flow.estimate, {"source": PICTURES[0], "target": PICTURES[1]}),
    "estimate_clip": (clip_flow, {"frames": PICTURES}),
    "resize": (shrunk, {"field": STILL}),
    "warp": (flow.warp, {"maps": MAPS, "flow": STILL}),
    "occlusion": (flow.occlusion, {"forward": STILL, "backward": STILL}),
    "endpoint_error": (flow.endpoint_error, {"flow": STILL, "truth": STILL}),
    "fuse": (fused, {"neighbours": MAPS, "valids": VALID}),
    "temporal_loss": (
        pulled,
        {"centre": MAPS, "neighbour": MAPS, "still": STILL, "labels": LABELS},
    ),
    "frame_iou": (metrics.frame_iou, {"predicted": MASKS, "masks": MASKS}),
    "mean_iou": (metrics.mean_iou, {"predicted": MASKS.long(), "masks": MASKS.long()}),
    "boundary_f": (metrics.boundary_f, {"predicted": MASKS, "masks": MASKS}),
    "temporal_iou": (
        metrics.temporal_iou,
        {"warped": MASKS, "current": MASKS, "visible": MASKS},
    ),
    "argmax_mask": (metrics.argmax_mask, {"maps": MAPS}),
    "best_threshold": (metrics.best_threshold, {"scores": SCORES, "masks": MASKS}),
    "pxap": (metrics.pxap, {"scores": SCORES, "masks": MASKS}),
    "max_box_acc": (metrics.max_box_acc, {"scores": SCORES, "masks": MASKS}),
    "energy_outside": (metrics.energy_outside, {"maps": SCORES, "objects": MASKS}),
    "accuracy": (metrics.accuracy, {"logits": torch.rand(2, 3), "labels": LABELS}),
    "paired_difference": (metrics.paired_difference, {"a": torch.rand(4), "b": torch.rand(4)}),
}

#: Neither copies nor averages may hide a hole: NaN is refused, or it is in the answer.
CASES = [(name, argument) for name, (_, arguments) in CALLS.items() for argument in arguments]


def spoilt(tensor: Tensor, value: float) -> Tensor:
    copy = tensor.clone()
    copy.view(-1)[0] = value
    return copy


def answer(name: str, **changes: Tensor) -> Any:
    """What the function says, or None if it refuses in one line that names an argument."""
    function, arguments = CALLS[name]
    try:
        return function(**{**arguments, **changes})
    except TccamError as error:
        message = str(error)
    assert ": " in message
    assert "\n" not in message
    return None


def holes(value: Any) -> bool:
    """Whether there is a NaN in an answer."""
    if isinstance(value, Tensor):
        return bool(value.isnan().any())
    if isinstance(value, tuple | list):
        return any(map(holes, value))
    return isinstance(value, float) and math.isnan(value)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_right_is_taken(name):
    said = answer(name)
    assert said is not None
    assert not holes(said)


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_other_dtypes_and_shapes(name, argument):
    right = CALLS[name][1][argument]
    others = [right.long(), right.bool(), right.half(), right.double()]
    others += [right[0], right[None], right[:0], right[..., :0]]
    for other in others:
        if other.dtype != right.dtype or other.shape != right.shape:
            assert not holes(answer(name, **{argument: other}))


@pytest.mark.parametrize(("name", "argument"), [c for c in CASES if c[0] != "normalize"])
def test_too_many_dimensions_are_refused(name, argument):
    assert answer(name, **{argument: CALLS[name][1][argument][None, None, None]}) is None


@pytest.mark.parametrize(
    ("name", "argument"), [(n, a) for n, a in CASES if CALLS[n][1][a].is_floating_point()]
)
def test_a_hole_is_refused_or_seen(name, argument):
    said = answer(name, **{argument: spoilt(CALLS[name][1][argument], float("nan"))})
    # Middlebury's unknown pixels are NaN too: they are hidden, or do not count.
    unknown = name in ("warp", "occlusion", "endpoint_error") or argument == "still"
    assert said is None or holes(said) or unknown


def test_a_clip_of_one_frame_is_its_own_background():
    frame = FRAMES[:1]
    for median in (background.median_background, background.streaming_median):
        assert torch.equal(median(frame), frame[0])
    assert cleaned(frame, frame[0]).abs().max() == 0
    assert not background.foreground(frame, frame[0]).any()
    (only,) = clip_flow(PICTURES[:1])
    assert only.shape == (2, 2, 32, 40)
    assert only.abs().max() == 0
    assert fused(MAPS[:1], VALID[:1]).shape == (1, 3, 8, 8)
    assert pulled(MAPS[:1], MAPS[:1], STILL[:1], LABELS[:1]) == pytest.approx(0, abs=1e-6)
    assert metrics.frame_iou(MASKS[:1], MASKS[:1]).tolist() == [1.0]
    assert metrics.mean_iou(MASKS[:1].long(), MASKS[:1].long()) == 1.0
