"""From class maps to pseudo-labels: refine the masks, and train a segmentation network on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.fcn import FCNHead
from tqdm import tqdm

from tccam import background as plate
from tccam.errors import TccamError, check_limits
from tccam.network import CamNet

__all__ = [
    "SamPredictor",
    "SegmentConfig",
    "Segmenter",
    "contrast_objects",
    "grabcut",
    "sam",
    "segment",
    "train_segmenter",
]


# --- Refinement: one frame and its map


def grabcut(
    image: Tensor,
    scores: Tensor,
    level: float,
    *,
    sure: float = 0.8,
    never: float = 0.02,
    rounds: int = 2,
) -> Tensor:
    """OpenCV's GrabCut, seeded from a map: cut where colours change, near where the map ends.

    Pixels with a score of at least ``sure`` are object, those below ``never`` are not. Between the
    two GrabCut decides, by the colours of both sides and by the edges; it starts at ``level``.

    Args:
        image: uint8 (3, H, W), RGB.
        scores: float (H, W) in [0, 1].
        level: threshold of the mask to start from.
        sure: least score of a pixel that must be object; ``level`` where that is higher.
        never: scores below this cannot be object; ``level`` where that is lower.
        rounds: of colour models and cut.

    Returns:
        bool (H, W); nothing where no score reaches ``level``. The same in every call.

    Raises:
        TccamError: if shapes or dtypes do not fit, or not 0 ≤ never ≤ sure.

    Source:
        Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004.

    Example:
        >>> image = torch.full((3, 32, 32), 60, dtype=torch.uint8)
        >>> image[:, 8:24, 8:24] = 200
        >>> scores = torch.full((32, 32), 0.1)
        >>> scores[12:20, 12:20] = 0.9  # the map knows the middle
        >>> int(grabcut(image, scores, 0.5).sum())  # the colours know the rest: 16 · 16
        256
    """
    _check(image, scores)
    if image.dtype != torch.uint8:
        raise TccamError(f"image: expected uint8, got {image.dtype}")
    if not 0 <= never <= sure:
        raise TccamError(f"never: expected 0 ≤ never ≤ sure={sure}, got {never}")
    start = np.full(scores.shape, cv2.GC_BGD, np.uint8)
    values = scores.numpy()
    start[values >= never] = cv2.GC_PR_BGD
    start[values >= level] = cv2.GC_PR_FGD
    start[values >= max(sure, level)] = cv2.GC_FGD
    found = values >= level
    if not found.any() or found.all():  # GrabCut needs two sides
        return torch.from_numpy(found)
    cv2.setRNGSeed(0)  # its colour models start from random means
    picture = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[..., ::-1])
    mask, *_ = cv2.grabCut(picture, start, None, None, None, rounds, cv2.GC_INIT_WITH_MASK)
    return torch.from_numpy((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))


def contrast_objects(
    frame: Tensor, background: Tensor, scores: Tensor, threshold: float | None = None
) -> Tensor:
    """Outlines from contrast, classes from the map: each object gets the mean of its scores.

    The objects are the connected components of :func:`tccam.background.foreground`. Two objects
    that touch are one component, and share one score.

    Args:
        frame: uint8 or float (3, H, W), grey levels.
        background: (3, H, W), grey levels, of an empty belt.
        scores: float (H, W).
        threshold: least contrast, grey levels, see :func:`~tccam.background.foreground`.

    Returns:
        float (H, W), 0 off the objects. Compare it with a level to get a mask.

    Raises:
        TccamError: if shapes or dtypes do not fit.

    Example:
        >>> frame = torch.full((3, 32, 64), 90, dtype=torch.uint8)
        >>> frame[:, 8:24, 8:24] = frame[:, 8:24, 40:56] = 200
        >>> scores = torch.zeros(32, 64)
        >>> scores[8:16, 8:24] = 1.0  # the map knows half of the first object
        >>> found = contrast_objects(frame, torch.full((3, 32, 64), 90.0), scores)
        >>> round(float(found[20, 16]), 1), float(found[20, 48])
        (0.5, 0.0)
    """
    _check(frame, scores)
    objects = plate.foreground(frame, background, threshold).byte().numpy()
    count, names = cv2.connectedComponents(objects)
    index = torch.from_numpy(names).long()
    area = torch.bincount(index.flatten(), minlength=count)
    total = torch.bincount(index.flatten(), scores.double().flatten(), minlength=count)
    means = total / area.clamp_min(1)
    means[0] = 0.0  # the belt
    return means[index].to(scores.dtype)


class SamPredictor(Protocol):
    """What :func:`sam` needs of ``segment_anything.SamPredictor``, and nothing more."""

    def set_image(self, image: Any) -> None:
        """Take a picture, uint8 (H, W, 3) in [0, 255], RGB."""

    def predict(
        self, *, point_coords: Any, point_labels: Any, box: Any, multimask_output: bool
    ) -> tuple[Any, Any, Any]:
        """Masks bool (1, H, W), and two things more, for points (N, 2) as (x, y) and a box."""


def sam(
    image: Tensor,
    scores: Tensor,
    level: float,
    *,
    predictor: SamPredictor | None = None,
    weights: str | Path = "sam_vit_b_01ec64.pth",
) -> Tensor:
    """Segment Anything, prompted by a map: for each spot of it, its peak as point, and its box.

    Args:
        image: uint8 (3, H, W), RGB.
        scores: float (H, W) in [0, 1].
        level: a spot is a connected component of ``scores >= level``.
        predictor: a ``segment_anything.SamPredictor``; give one to load its weights only once.
            When None, one is made of ``weights``, on the CPU.
        weights: the file of the model ViT-B.

    Returns:
        bool (H, W), the union of the masks of all spots.

    Raises:
        TccamError: if shapes or dtypes do not fit, or package or weights are not there.

    Source:
        Kirillov et al., "Segment Anything", ICCV 2023, arXiv 2304.02643.
    """
    _check(image, scores)
    predictor = predictor or _sam_predictor(Path(weights))
    predictor.set_image(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    found = np.zeros(scores.shape, bool)
    spots = (scores >= level).byte().numpy()
    count, names, stats, _ = cv2.connectedComponentsWithStats(spots, connectivity=8)
    for spot in range(1, count):
        left, top, width, height = stats[spot, :4]
        inside = np.where(names == spot, scores.numpy(), -np.inf)
        row, column = np.unravel_index(inside.argmax(), inside.shape)
        masks, *_ = predictor.predict(
            point_coords=np.array([[column, row]], np.float32),
            point_labels=np.array([1]),  # 1: this point is on the object
            box=np.array([left, top, left + width - 1, top + height - 1], np.float32),
            multimask_output=False,
        )
        found |= np.asarray(masks[0], bool)
    return torch.from_numpy(found)


#: What is missing, and where to put it.
SAM_HELP = (
    "Segment Anything needs its package (pip install "
    "git+https://github.com/facebookresearch/segment-anything) and the weights of ViT-B "
    "(sam_vit_b_01ec64.pth, linked from that repository's README): put the file into the working "
    "directory, or say where it is with weights=…"
)


def _sam_predictor(weights: Path) -> SamPredictor:
    try:
        import segment_anything  # noqa: PLC0415 - not among the dependencies
    except ImportError as error:
        raise TccamError(
            f"sam: the package segment_anything is not installed. {SAM_HELP}"
        ) from error
    if not weights.is_file():
        raise TccamError(f"weights: there is no file {weights}. {SAM_HELP}")
    model = segment_anything.sam_model_registry["vit_b"](checkpoint=str(weights))
    predictor: SamPredictor = segment_anything.SamPredictor(model.eval())
    return predictor


def _check(image: Tensor, scores: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] != 3:
        raise TccamError(f"image: expected (3, H, W), got {tuple(image.shape)}")
    if scores.shape != image.shape[1:] or not scores.is_floating_point():
        raise TccamError(
            f"scores: expected float {tuple(image.shape[1:])}, got {scores.dtype} "
            f"{tuple(scores.shape)}"
        )


# --- A segmentation network


@dataclass(frozen=True)
class SegmentConfig:
    """How :func:`train_segmenter` trains: AdamW, whose rate rises and falls in one cycle.

    Attributes:
        steps: of the optimiser.
        batch: pictures a step, half of them with an empty mask where there are any.
        lr: highest learning rate.
        weight_decay: of AdamW.
        jitter: largest random change of brightness, a share.
        seed: of weights, batches and augmentation.

    Example:
        >>> SegmentConfig(steps=100).batch
        8
    """

    steps: int = 200
    batch: int = 8
    lr: float = 0.02
    weight_decay: float = 1e-4
    jitter: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        whole = float("inf")
        limits: dict[str, tuple[float, float]] = {
            "steps": (2, 10**9), "batch": (2, 10**6), "lr": (0, whole),
            "weight_decay": (0, whole), "jitter": (0, 1), "seed": (0, 2**40),
        }  # fmt: skip
        check_limits(self, limits)


class Segmenter(nn.Module):
    """The book's small backbone with the head of torchvision's FCN: pictures to logits.

    It looks at the picture at half its size. A quarter of the pixels trains in a quarter of the
    time, and an object of forty pixels still has twenty.

    Example:
        >>> tuple(Segmenter()(torch.zeros(2, 3, 32, 40)).shape)
        (2, 32, 40)
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = CamNet("small", output_stride=4).features
        self.head = FCNHead(32, 1)
        self.head[3] = nn.Identity()  # dropout would draw from the generator that all share

    def forward(self, images: Tensor) -> Tensor:
        """Logits of *illegal*, float (B, H, W), of pictures, float (B, 3, H, W)."""
        logits = self.head(self.features(F.avg_pool2d(images, 2)))
        # It trains through this enlargement, and so learns where a cell lies.
        return F.interpolate(logits, images.shape[-2:], mode="bilinear")[:, 0]


_SEEDING = Lock()  # PyTorch makes weights from one generator, whichever thread asks


def train_segmenter(
    pictures: Tensor,
    masks: Tensor,
    config: SegmentConfig = SegmentConfig(),
    *,
    progress: bool = True,
) -> Segmenter:
    """Train a segmentation network on masks, wherever they come from.

    Half of each batch is drawn from the pictures with a mask, the other half from those whose mask
    is empty: so one mask among hundreds of empty ones is seen in every step. Pictures are mirrored
    at random along both axes. Runs may train side by side, each in a thread of its own.

    Args:
        pictures: float (N, 3, H, W), with even sides.
        masks: bool (N, H, W).
        config: how.
        progress: whether to show a progress bar (on standard error).

    Returns:
        The network in eval mode. On one machine the same arguments give the same weights, to the
        bit, with the same number of threads.

    Raises:
        TccamError: if shapes or dtypes do not fit, or no picture has a mask.

    Example:
        >>> pictures, masks = torch.rand(4, 3, 32, 40), torch.zeros(4, 32, 40, dtype=torch.bool)
        >>> masks[:2, :16] = True
        >>> network = train_segmenter(pictures, masks, SegmentConfig(steps=2), progress=False)
        >>> network.training
        False
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or any(side % 2 for side in pictures.shape[2:]):
        raise TccamError(f"pictures: expected (N, 3, even, even), got {tuple(pictures.shape)}")
    wanted = (len(pictures), *pictures.shape[2:])
    if masks.dtype != torch.bool or masks.shape != wanted:
        raise TccamError(f"masks: expected bool {wanted}, got {masks.dtype} {tuple(masks.shape)}")
    shown = masks.flatten(1).any(1)
    if not shown.any():
        raise TccamError("masks: expected at least one that is not empty, got none")
    halves = [part for part in (shown.nonzero()[:, 0], (~shown).nonzero()[:, 0]) if len(part)]
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Segmenter().train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    draws = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, config.steps)
    for _ in tqdm(range(config.steps), desc="segmenter", disable=not progress):
        shares = [(config.batch + k) // len(halves) for k in range(len(halves))]
        index = torch.cat(
            [
                half[torch.randint(len(half), (share,), generator=draws)]
                for half, share in zip(halves, shares, strict=True)
            ]
        )
        images, truth = pictures[index], masks[index]
        gain = 1 + config.jitter * (2 * torch.rand(len(index), 1, 1, 1, generator=draws) - 1)
        for axis in (-1, -2):
            turned = torch.rand(len(index), generator=draws) < 0.5
            images[turned], truth[turned] = images[turned].flip(axis), truth[turned].flip(axis)
        loss = F.binary_cross_entropy_with_logits(network(images * gain), truth.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cycle.step()
    return network.eval()


@torch.no_grad()
def segment(network: Segmenter, pictures: Tensor, batch: int = 64) -> Tensor:
    """How likely each pixel is illegal, says a trained network.

    Args:
        network: from :func:`train_segmenter`.
        pictures: float (N, 3, H, W).
        batch: pictures at a time.

    Returns:
        float (N, H, W) in [0, 1].

    Example:
        >>> tuple(segment(Segmenter().eval(), torch.zeros(3, 3, 32, 40), batch=2).shape)
        (3, 32, 40)
    """
    return torch.cat([network(part).sigmoid() for part in torch.split(pictures, batch)])
