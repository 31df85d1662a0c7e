"""Training: a frozen configuration in, a finished run out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from tccam import background
from tccam.data.belt import BeltClip, BeltConfig, SyntheticBelt
from tccam.data.clip import CLASSES
from tccam.errors import TccamError, check_limits
from tccam.network import CamNet
from tccam.store import RunStore, fingerprint, provenance

__all__ = ["FrameSet", "Run", "TrainConfig", "fit", "learning_rate", "objective"]


@dataclass(frozen=True)
class TrainConfig:
    """Everything that defines a training run. The defaults train in minutes on a CPU.

    Attributes:
        data: the belt to train on.
        background: how the static background is removed, one of ``background.METHODS``.
        num_classes: 2 (before, after) or 3 (and background: the frames that show no object). With
            two classes an empty frame carries the label of its camera, like any other.
        backbone: see :class:`tccam.network.CamNet`.
        output_stride: pixels per cell of the maps; None for the backbone's default.
        steps: optimiser steps.
        batch: frames a step, divided evenly over the classes.
        lr: learning rate of the backbone; the classifier learns ten times faster.
        momentum: of SGD, Nesterov's variant.
        weight_decay: L2 penalty on all weights.
        warmup: steps over which the learning rate rises linearly from zero.
        power: of the polynomial decay.
        clip_norm: largest norm of the gradient.
        brightness: largest random change of a picture's contrast, share.
        flip: whether pictures are mirrored at random, along both axes.
        seed: of weights, batches and augmentation.
        threads: CPU threads. Two runs are equal to the bit only with the same number.
        device: where to train.
    """

    data: BeltConfig = field(default_factory=BeltConfig)
    background: str = "divide"
    num_classes: int = 3
    backbone: str = "small"
    output_stride: int | None = None
    steps: int = 400
    batch: int = 18
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: int = 20
    power: float = 0.9
    clip_norm: float = 5.0
    brightness: float = 0.25
    flip: bool = True
    seed: int = 0
    threads: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.background not in background.METHODS:
            raise TccamError(
                f"TrainConfig.background: expected one of {', '.join(background.METHODS)}; "
                f"got {self.background!r}"
            )
        if self.num_classes not in (2, 3):
            raise TccamError(f"TrainConfig.num_classes: expected 2 or 3, got {self.num_classes}")
        if self.batch < self.num_classes or self.batch % self.num_classes:
            raise TccamError(
                f"TrainConfig.batch: expected a multiple of num_classes={self.num_classes}, "
                f"got {self.batch}"
            )
        limits: dict[str, tuple[float, float]] = {
            "steps": (1, 10**9), "lr": (0, float("inf")), "momentum": (0, 1),
            "weight_decay": (0, 1), "warmup": (0, 10**9), "power": (0, 100),
            "clip_norm": (0, float("inf")), "brightness": (0, 1), "seed": (0, 2**40),
            "threads": (1, 4096),
        }  # fmt: skip
        check_limits(self, limits)


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        config: what was trained.
        key: the run's name in the store.
        network: the trained network, in eval mode, on the CPU.
        losses: the objective at each step, (steps,).
        seconds: how long training took, all sessions together.
        provenance: versions, machine and commit, see :func:`tccam.store.provenance`.
    """

    config: TrainConfig
    key: str
    network: CamNet
    losses: Tensor
    seconds: float
    provenance: dict[str, Any]


class FrameSet:
    """The frames of several clips with each clip's median background.

    Args:
        clips: clips with frame labels.
        method: how the background is removed, one of ``background.METHODS``.

    Attributes:
        frames: uint8 (N, 3, H, W).
        labels: int64 (N,), indices into CLASSES.
        clip: int64 (N,), the clip of each frame.
    """

    def __init__(self, clips: Sequence[BeltClip], method: str) -> None:
        if not clips:
            raise TccamError("clips: expected at least one clip")
        self.method = method
        self.frames = torch.cat([clip.frames for clip in clips])
        self.labels = torch.cat([clip.labels for clip in clips])
        lengths = torch.tensor([len(clip) for clip in clips])
        self.clip = torch.arange(len(clips)).repeat_interleave(lengths)
        # A picture that keeps its background needs no estimate of it.
        self._backgrounds = (
            None
            if method == "none"
            else torch.stack([background.median_background(clip.frames) for clip in clips])
        )

    def __len__(self) -> int:
        return len(self.frames)

    def pictures(self, index: Tensor) -> Tensor:
        """What the network sees of the given frames, float32 (B, 3, H, W)."""
        frames = self.frames[index]
        if self._backgrounds is None:
            return frames.float() / 255
        return background.clean(frames, self._backgrounds[self.clip[index]], self.method)


def objective(logits: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft margin loss on one-hot labels: one binary decision a class.

    Args:
        logits: float (B, C).
        labels: int64 (B,) in 0 … C−1.

    Returns:
        Scalar, the mean over pictures and classes of −y·log σ(z) − (1−y)·log(1−σ(z)).
    """
    return F.multilabel_soft_margin_loss(logits, F.one_hot(labels, logits.shape[1]).float())


def learning_rate(step: int, config: TrainConfig) -> float:
    """Polynomial decay after a linear warm-up: lr · (1 − step/steps)^power."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    return float(config.lr * rise * (1 - step / config.steps) ** config.power)


def fit(
    config: TrainConfig,
    *,
    belt: SyntheticBelt | None = None,
    store: RunStore | None = None,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> Run:
    """Train, or return the finished run when the store has it.

    An interrupted run goes on at its last checkpoint: every batch is a function of the seed and the
    step alone. On the CPU of one machine, with the same number of threads, it ends with the same
    weights, to the bit, as a run that was never interrupted.

    Args:
        config: what to train.
        belt: the rendered data of ``config.data``, to share it between runs; made when None.
        store: where runs are kept; the default store when None.
        checkpoint_every: steps between checkpoints.
        progress: whether to show a progress bar (on standard error).

    Returns:
        The finished run.

    Raises:
        TccamError: if ``belt`` is not the belt of ``config.data``, ``checkpoint_every`` is not
            positive, a class has no frame, or training diverges.

    Example:
        >>> import tempfile
        >>> tiny = BeltConfig(train=1, frames=16, height=32, width=40)
        >>> config = TrainConfig(data=tiny, steps=2, warmup=1, threads=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = fit(config, store=RunStore(folder), progress=False)
        >>> tuple(run.losses.shape)
        (2,)
    """
    belt = belt or SyntheticBelt(config.data)
    if belt.config != config.data:
        raise TccamError("belt: its configuration is not the run's config.data")
    if checkpoint_every < 1:
        raise TccamError(f"checkpoint_every: expected at least 1 step, got {checkpoint_every}")
    store, key = store or RunStore(), fingerprint(config)
    with _threads(config.threads):
        record = store.finished(key)
        if record is None:
            record = _train(config, key, belt, store, checkpoint_every, progress)
        network = _network(config)
        weights = store.load(key, "weights")
        if weights is None:
            raise TccamError(f"{store.root / key}: the run has a record but no weights; delete it")
        network.load_state_dict(weights)
    return Run(
        config,
        key,
        network.eval(),
        torch.tensor(record["losses"]),
        record["seconds"],
        record["provenance"],
    )


def _train(
    config: TrainConfig,
    key: str,
    belt: SyntheticBelt,
    store: RunStore,
    checkpoint_every: int,
    progress: bool,
) -> dict[str, Any]:
    """Train from the last checkpoint to the end, save the weights and return the record."""
    # Channels last: half the time per step on a CPU, and what tensor cores want.
    network = _network(config).to(config.device).train()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, config)
    losses, spent = _resume(store, key, network, optimizer)
    data = FrameSet(belt.train, config.background)
    classes = _frames_of_class(data.labels, data.clip, belt.train, config.num_classes)
    started = time.monotonic()
    bar = tqdm(
        range(len(losses), config.steps),
        initial=len(losses),
        total=config.steps,
        desc=f"{config.background}, seed {config.seed}",
        disable=not progress,
    )
    for step in bar:
        images, labels = _batch(data, classes, config, step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config) * group["factor"]
        images = images.to(config.device, memory_format=torch.channels_last)
        loss = objective(network(images).logits, labels.to(config.device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()
        losses.append(loss.detach())
        if (step + 1) % checkpoint_every == 0 and step + 1 < config.steps:
            _finite(losses)
            _checkpoint(store, key, network, optimizer, losses, spent, started)
    curve = _finite(losses)
    store.save(key, "weights", network.state_dict())
    record = {
        "config": asdict(config),
        "losses": curve.tolist(),
        "seconds": spent + time.monotonic() - started,
        "provenance": provenance(),
    }
    store.finish(key, record)
    store.remove(key, "checkpoint")
    return record


def _network(config: TrainConfig) -> CamNet:
    """The untrained network of a configuration; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return CamNet(config.backbone, config.num_classes, output_stride=config.output_stride)


def _optimizer(network: CamNet, config: TrainConfig) -> torch.optim.SGD:
    groups = [
        {"params": list(network.features.parameters()), "factor": 1.0},
        {"params": list(network.classifier.parameters()), "factor": 10.0},
    ]
    return torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def _frames_of_class(
    labels: Tensor, clip: Tensor, clips: Sequence[BeltClip], num_classes: int
) -> list[Tensor]:
    """The indices of the frames of each class."""
    if num_classes == 2:
        camera = torch.tensor([CLASSES.index(str(c.label)) for c in clips])
        labels = camera[clip]
    frames = [(labels == c).nonzero().flatten() for c in range(num_classes)]
    for name, index in zip(CLASSES, frames, strict=False):
        if len(index) == 0:
            raise TccamError(f"data: no frame of class {name!r}; {num_classes} classes need some")
    return frames


def _batch(
    data: FrameSet, classes: Sequence[Tensor], config: TrainConfig, step: int
) -> tuple[Tensor, Tensor]:
    """The batch of a step, float (B, 3, H, W) and int64 (B,): the same for the same seed."""
    draws = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    share = config.batch // len(classes)
    index = torch.cat([c[torch.randint(len(c), (share,), generator=draws)] for c in classes])
    labels = torch.arange(len(classes)).repeat_interleave(share)
    images = data.pictures(index)
    scale = 1 + config.brightness * (2 * torch.rand(len(index), 1, 1, 1, generator=draws) - 1)
    images = images * scale
    if config.flip:
        for axis in (2, 3):
            mirrored = torch.rand(len(index), generator=draws) < 0.5
            images[mirrored] = images[mirrored].flip(axis)
    return images, labels


def _finite(losses: Sequence[Tensor]) -> Tensor:
    """The losses as one tensor on the CPU, or an error that names the first that is no number."""
    curve = torch.stack(list(losses)).cpu()
    if not curve.isfinite().all():
        first = int((~curve.isfinite()).nonzero()[0])
        raise TccamError(f"training diverged: the loss at step {first} is {curve[first]}")
    return curve


def _checkpoint(
    store: RunStore,
    key: str,
    network: CamNet,
    optimizer: torch.optim.SGD,
    losses: Sequence[Tensor],
    spent: float,
    started: float,
) -> None:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        if optimizer.defaults["momentum"]:
            tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"]
    tensors["losses"] = torch.stack(list(losses))
    tensors["seconds"] = torch.tensor(spent + time.monotonic() - started, dtype=torch.float64)
    store.save(key, "checkpoint", tensors)


def _resume(
    store: RunStore, key: str, network: CamNet, optimizer: torch.optim.SGD
) -> tuple[list[Tensor], float]:
    """Bring network and optimiser to the last checkpoint; the losses so far and seconds spent."""
    saved = store.load(key, "checkpoint")
    if saved is None:
        return [], 0.0
    network.load_state_dict(
        {k.removeprefix("network."): v for k, v in saved.items() if k.startswith("network.")}
    )
    device = next(network.parameters()).device
    for name, parameter in network.named_parameters():
        if optimizer.defaults["momentum"]:
            buffer = saved[f"momentum.{name}"].to(device)
            optimizer.state[parameter]["momentum_buffer"] = buffer
    return list(saved["losses"].to(device)), float(saved["seconds"])


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run PyTorch on ``count`` CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
