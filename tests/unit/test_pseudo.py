"""Pseudo-labels: refinement keeps to the pictures, and a student learns what it is shown."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from tccam.background import foreground
from tccam.errors import TccamError
from tccam.metrics import frame_iou
from tccam.pseudo import (
    SegmentConfig,
    Segmenter,
    contrast_objects,
    grabcut,
    sam,
    segment,
    train_segmenter,
)
from tccam.store import _ROOTS, _imported

SIZE = (32, 40)
PLATE = torch.full((3, *SIZE), 90.0)
BOXES = ((slice(4, 16), slice(4, 16)), (slice(12, 28), slice(22, 36)))


def scene(*boxes: tuple[slice, slice]) -> Tensor:
    """A frame of a grey belt with bright boxes, uint8 (3, H, W)."""
    frame = torch.full((3, *SIZE), 90, dtype=torch.uint8)
    for rows, columns in boxes:
        frame[:, rows, columns] = torch.tensor([220, 180, 40], dtype=torch.uint8)[:, None, None]
    return frame


def scores(seed: int = 0) -> Tensor:
    return torch.rand(SIZE, generator=torch.Generator().manual_seed(seed))


# contrast_objects ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_objects_keep_the_energy_of_the_map_on_them_and_nothing_beside(seed: int) -> None:
    frame, field = scene(*BOXES), scores(seed)
    found, stands_out = contrast_objects(frame, PLATE, field), foreground(frame, PLATE)
    assert (found[~stands_out] == 0).all()
    assert found.sum() == pytest.approx(float(field[stands_out].sum()), rel=1e-5)


def test_two_objects_get_the_means_of_their_scores() -> None:
    field = torch.zeros(SIZE)
    field[4:10, 4:16] = 1.0  # half of the first box, nothing of the second
    found = contrast_objects(scene(*BOXES), PLATE, field)
    assert float(found[12, 10]) == pytest.approx(0.5, abs=0.05)
    assert float(found[20, 30]) == 0.0


def test_objects_that_touch_share_one_score() -> None:
    touching = (slice(8, 20), slice(4, 16)), (slice(8, 20), slice(16, 28))
    field = torch.zeros(SIZE)
    field[8:20, 4:16] = 1.0
    found = contrast_objects(scene(*touching), PLATE, field)
    assert found[12, 8] == found[12, 24]
    assert float(found[12, 8]) == pytest.approx(0.5, abs=0.05)


def test_objects_agree_with_scipy() -> None:
    generator = torch.Generator().manual_seed(3)
    frame = scene(*BOXES)
    frame[:, 26:32, 0:9] = torch.randint(160, 255, (3, 6, 9), generator=generator).byte()
    field = scores(3)
    names, count = ndimage.label(foreground(frame, PLATE).numpy(), np.ones((3, 3)))
    assert count > 1
    means = ndimage.mean(field.numpy(), names, range(1, count + 1))
    expected = np.concatenate(([0.0], means))[names]
    found = contrast_objects(frame, PLATE, field).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_empty_belt_has_no_objects() -> None:
    assert not contrast_objects(scene(), PLATE, scores()).any()


# grabcut ---------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_grabcut_keeps_what_is_sure_and_drops_what_cannot_be(seed: int) -> None:
    field = scores(seed)
    found = grabcut(scene(*BOXES), field, 0.5, sure=0.9, never=0.2)
    assert found[field >= 0.9].all()
    assert not found[field < 0.2].any()


def test_grabcut_fills_an_object_that_the_map_knows_in_part() -> None:
    box = BOXES[1]
    truth = torch.zeros(SIZE, dtype=torch.bool)
    truth[box] = True
    field = torch.full(SIZE, 0.1)
    field[16:24, 26:32] = 0.9
    found = grabcut(scene(box), field, 0.5)
    assert torch.equal(found, truth)
    assert torch.equal(found, grabcut(scene(box), field, 0.5))  # its random start is not


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_grabcut_leaves_a_one_sided_map_alone(value: float) -> None:
    found = grabcut(scene(*BOXES), torch.full(SIZE, value), 0.5)
    assert found.dtype == torch.bool
    assert (found == bool(value)).all()


# sam -------------------------------------------------------------------------------------------


class StandIn:
    """Does as ``segment_anything.SamPredictor`` does, with the box for a mask."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def set_image(self, image: np.ndarray) -> None:
        assert image.dtype == np.uint8
        assert image.shape == (*SIZE, 3)
        assert image.flags.c_contiguous
        self.image = image

    def predict(
        self, *, point_coords: Any, point_labels: Any, box: Any, multimask_output: bool
    ) -> tuple[Any, Any, Any]:
        self.asked.append({"point": point_coords, "label": point_labels, "box": box})
        assert point_coords.shape == (1, 2)
        assert point_labels.tolist() == [1]
        assert box.shape == (4,)
        assert multimask_output is False
        left, top, right, bottom = box.astype(int)
        mask = np.zeros((1, *SIZE), bool)
        mask[0, top : bottom + 1, left : right + 1] = True
        return mask, np.ones(1), np.zeros((1, 256, 256))


def test_sam_asks_once_for_each_spot_with_its_peak_and_box() -> None:
    field, stand_in, frame = torch.zeros(SIZE), StandIn(), scene(*BOXES)
    field[4:8, 10:16] = 0.6
    field[5, 12] = 0.9
    field[20, 30] = 0.7
    found = sam(frame, field, 0.5, predictor=stand_in)
    assert [q["point"].tolist() for q in stand_in.asked] == [[[12, 5]], [[30, 20]]]
    assert [q["box"].tolist() for q in stand_in.asked] == [[10, 4, 15, 7], [30, 20, 30, 20]]
    assert torch.equal(found, field >= 0.5)
    assert torch.equal(torch.from_numpy(stand_in.image).permute(2, 0, 1), frame)


def test_sam_finds_nothing_where_the_map_does_not_look() -> None:
    stand_in = StandIn()
    assert not sam(scene(), torch.zeros(SIZE), 0.5, predictor=stand_in).any()
    assert not stand_in.asked


def test_sam_without_its_package_says_what_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segment_anything", None)  # an import of it fails
    with pytest.raises(TccamError, match=r"segment-anything.*sam_vit_b_01ec64\.pth.*weights="):
        sam(scene(), scores(), 0.5)


def test_sam_makes_its_predictor_of_package_and_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[str] = []

    def vit_b(checkpoint: str) -> Any:
        loaded.append(checkpoint)
        return SimpleNamespace(eval=lambda: "network")

    package: Any = ModuleType("segment_anything")
    package.sam_model_registry = {"vit_b": vit_b}
    package.SamPredictor = lambda network: StandIn() if network == "network" else None
    monkeypatch.setitem(sys.modules, "segment_anything", package)
    weights = tmp_path / "sam_vit_b_01ec64.pth"
    with pytest.raises(TccamError, match=r"weights: there is no file"):
        sam(scene(), scores(), 0.5, weights=weights)
    weights.touch()
    field = torch.zeros(SIZE)
    field[3, 4] = 1.0
    assert torch.equal(sam(scene(), field, 0.5, weights=weights), field > 0)
    assert loaded == [str(weights)]


@pytest.mark.parametrize(
    ("image", "field", "message"),
    [
        (torch.zeros(32, 40), torch.zeros(32, 40), r"image: expected \(3, H, W\), got \(32, 40\)"),
        (scene(), torch.zeros(16, 20), r"scores: expected float \(32, 40\), got .* \(16, 20\)"),
        (scene(), torch.zeros(SIZE, dtype=torch.bool), r"scores: .*got torch\.bool"),
    ],
)
def test_refinement_refuses_what_does_not_fit(image: Tensor, field: Tensor, message: str) -> None:
    for refine in (
        lambda: grabcut(image, field, 0.5),
        lambda: contrast_objects(image, PLATE, field),
        lambda: sam(image, field, 0.5, predictor=StandIn()),
    ):
        with pytest.raises(TccamError, match=message):
            refine()


def test_grabcut_takes_any_level() -> None:
    image, field = scene(*BOXES), scores()
    for level in (0.0, 0.01, 0.95, 1.1):
        start = field >= level
        found = grabcut(image, field, level)
        assert found[field >= max(level, 0.8)].all()  # sure is kept
        assert not found[(field < 0.02) & ~start].any()  # never is never


def test_what_is_sure_has_to_reach_the_level() -> None:
    field = torch.full(SIZE, 0.85)  # the belt: enough to be sure, and below the level
    field[BOXES[1]] = 0.97
    truth = torch.zeros(SIZE, dtype=torch.bool)
    truth[BOXES[1]] = True
    assert torch.equal(grabcut(scene(BOXES[1]), field, 0.95), truth)


def test_grabcut_refuses_what_has_no_order() -> None:
    with pytest.raises(TccamError, match=r"never: expected 0 ≤ never ≤ sure=0\.8, got 0\.9"):
        grabcut(scene(), scores(), 0.9, never=0.9)
    with pytest.raises(TccamError, match=r"image: expected uint8"):
        grabcut(scene().float(), scores(), 0.5)


# the student -----------------------------------------------------------------------------------


def lesson(count: int = 8) -> tuple[Tensor, Tensor]:
    """Pictures with a bright box each (the last quarter without), and its masks."""
    generator = torch.Generator().manual_seed(0)
    pictures = 0.1 * torch.randn(count, 3, *SIZE, generator=generator)
    masks = torch.zeros(count, *SIZE, dtype=torch.bool)
    for k in range(3 * count // 4):
        row, column = (int(torch.randint(2, 16, (1,), generator=generator)) for _ in range(2))
        masks[k, row : row + 12, column : column + 14] = True
    return pictures + masks[:, None], masks


def weights(config: SegmentConfig, pictures: Tensor, masks: Tensor) -> list[Tensor]:
    network = train_segmenter(pictures, masks, config, progress=False)
    return list(network.state_dict().values())


def test_a_student_learns_what_it_is_shown() -> None:
    pictures, masks = lesson()
    network = train_segmenter(pictures, masks, SegmentConfig(steps=60), progress=False)
    found = segment(network, pictures, batch=3)
    assert found.shape == masks.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert frame_iou(found >= 0.5, masks)[:6].mean() > 0.7
    untrained = segment(Segmenter().eval(), pictures) >= 0.5
    assert frame_iou(untrained, masks)[:6].mean() < 0.5


def test_a_batch_of_odd_size_is_filled() -> None:
    data = lesson()
    with_odd = weights(SegmentConfig(steps=2, batch=5), *data)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(with_odd, weights(SegmentConfig(steps=2, batch=4), *data), strict=True)
    )


def test_seeds_name_students_even_side_by_side() -> None:
    data, configs = lesson(), [SegmentConfig(steps=4, seed=seed) for seed in (0, 1)]
    state = torch.random.get_rng_state()
    alone = [weights(config, *data) for config in configs]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda config: weights(config, *data), configs))
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(alone[0][0], alone[1][0])
    assert torch.equal(state, torch.random.get_rng_state())  # and nobody else's draws change


def test_training_leaves_its_input_as_it_was() -> None:
    pictures, masks = lesson()
    before = pictures.clone(), masks.clone()
    weights(SegmentConfig(steps=3), pictures, masks)
    assert torch.equal(pictures, before[0])
    assert torch.equal(masks, before[1])


def test_half_of_each_batch_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, masks = lesson()
    one = masks.clone()
    one[1:] = False  # one mask among seven empty ones
    seen: list[Tensor] = []
    loss = torch.nn.functional.binary_cross_entropy_with_logits

    def note(logits: Tensor, truth: Tensor) -> Tensor:
        seen.append(truth)
        return loss(logits, truth)

    monkeypatch.setattr("tccam.pseudo.F.binary_cross_entropy_with_logits", note)
    weights(SegmentConfig(steps=3, batch=6), pictures, one)
    assert [int(truth.flatten(1).any(1).sum()) for truth in seen] == [3, 3, 3]
    assert all(int(truth.sum()) == 3 * int(one[0].sum()) for truth in seen)


@pytest.mark.parametrize(
    ("pictures", "masks", "message"),
    [
        (torch.zeros(2, 3, 31, 40), torch.zeros(2, 31, 40).bool(), r"pictures: .*even"),
        (torch.zeros(2, 3, 32, 40), torch.zeros(2, 32, 40), r"masks: expected bool"),
        (torch.zeros(2, 3, 32, 40), torch.zeros(1, 32, 40).bool(), r"masks: expected bool \(2"),
        (torch.zeros(2, 3, 32, 40), torch.zeros(2, 32, 40).bool(), r"masks: .*not empty"),
    ],
)
def test_training_refuses_what_it_cannot_use(pictures: Tensor, masks: Tensor, message: str) -> None:
    with pytest.raises(TccamError, match=message):
        train_segmenter(pictures, masks, progress=False)


def test_a_configuration_refuses_what_is_out_of_its_limits() -> None:
    with pytest.raises(TccamError, match=r"SegmentConfig\.steps"):
        SegmentConfig(steps=1)
    with pytest.raises(TccamError, match=r"SegmentConfig\.jitter"):
        SegmentConfig(jitter=1.5)


def test_no_run_depends_on_this_module() -> None:
    root = Path(__file__).parents[2]
    assert root / "tccam" / "pseudo.py" not in _imported(root, _ROOTS)
