"""What defines a training run, and the presets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

from tccam import background, flow
from tccam.consistency import Reduction
from tccam.data.belt import BeltConfig
from tccam.data.dataset import FolderConfig
from tccam.errors import TccamError, check_choices, check_limits, check_types
from tccam.puzzle import Level
from tccam.temporal import Fusion, Normalized

__all__ = ["Method", "TrainConfig"]

Method = Literal["plain", "puzzle", "temporal", "both"]
Previous = Literal["backward", "negated"]
Validity = Literal["none", "inside", "visible"]
Precision = Literal["32-true", "bf16-mixed"]
_Config = TypeVar("_Config")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that defines a training run. The defaults train in minutes on a CPU.

    The objective is ``L = L_cls(full) + L_cls(merged tiles) + α·L_spatial + β·L_temporal``; the
    method says which terms there are, and so which pictures pass the network. (A baseline adds
    ``γ·L_equivariance`` to any of them.) Every control of a
    fair comparison is a configuration: ``beta=0`` with the method "temporal" lets the neighbours
    pass the network without asking anything of them; ``flow="zero"`` and ``flow="shuffled"`` take
    the motion away; ``batch`` and ``steps`` equal the computation.

    Attributes:
        data: what to train on: the belt, or a folder of videos, opened once (see
            :class:`tccam.data.dataset.FolderData`).
        background: how the static background is removed, one of ``background.METHODS``.
        method: "plain" (the classifier alone), "puzzle" (and the spatial term), "temporal" (and
            the temporal term) or "both".
        num_classes: 2 (before, after) or 3 (and background: the frames that show no object). With
            two classes an empty frame carries the label of its camera, like any other.
        backbone: see :class:`tccam.network.CamNet`.
        weights: where the backbone starts, see :class:`tccam.network.CamNet`; None for random.
        standardize: whether pictures are brought to ImageNet's mean and deviation first.
        output_stride: pixels per cell of the maps; None for the backbone's default.
        steps: optimiser steps.
        batch: centre frames a step, divided evenly over the classes.
        window: frames in a row that are loaded together, at least 3. A window of T serves its
            T − 2 inner frames as centres, whose neighbours it shares. Plain and puzzle need none.
        accumulate: parts that a batch is computed in, one after the other. Batch normalisation
            then sees one part at a time.
        lr: learning rate of the backbone; the classifier learns ten times faster.
        momentum: of SGD, Nesterov's variant.
        weight_decay: L2 penalty on all weights.
        bias_groups: as PuzzleCAM groups its parameters: biases learn twice as fast, and decay not.
        warmup: steps over which the learning rate rises linearly from zero.
        power: of the polynomial decay.
        clip_norm: largest norm of the gradient.
        jitter: largest random change of brightness, contrast, saturation (shares) and hue (turns).
        jitter_together: whether the frames of a window share their jitter; the authors draw it for
            each frame.
        flip: whether pictures are mirrored at random, along both axes.
        alpha: weight of the spatial term.
        beta: weight of the temporal term.
        gamma: weight of the equivariance term, for comparison: the maps of the picture at half its
            size, see :func:`tccam.consistency.equivariance_loss`; 0 for none.
        ramp: share of the steps over which the weights rise linearly from 0.
        pieces: tiles of a picture.
        level: what the spatial term compares, see :func:`tccam.puzzle.spatial_loss`.
        reduction: of both terms, see :func:`tccam.consistency.l1`.
        flow: "exact" (the belt's truth), "files" (of a data folder, see
            :class:`tccam.data.dataset.FolderData`), one of ``flow.METHODS``, or a control: "zero",
            or "shuffled" (of a random frame, turned by a quarter or more).
        previous: flow to the previous frame: "backward" (from t to t−1: measured, or inverted where
            there are files of forward flow alone) or "negated" (the authors': minus the flow from
            t−1 to t, right where motion does not vary in space).
        assisted: whether an estimation is helped by the clip's background, see
            :func:`~tccam.flow.estimation.estimate`.
        cells: whether the flow is taken where the network's cells look (True), or interpolated at
            the centres of tiles as the authors do, see :func:`~tccam.flow.geometry.resize`.
        fusion: of the neighbours, see :func:`tccam.temporal.fuse`.
        centre_in: whether the centre is fused with its neighbours.
        normalized: see :func:`tccam.temporal.temporal_loss`.
        detach: whether the fused map is a fixed target.
        validity: cells that are compared: "none" is left out (the authors'), those "inside" a
            neighbour's picture, or those "visible" in one, occlusion included. With the fusion
            "max" and motion along one axis, every cell is inside one of two neighbours, and
            "inside" does what "none" does.
        half_cell_shift: the authors' sampling, see :func:`~tccam.flow.geometry.warp`.
        separate_passes: the authors' forward passes: one for each frame of a triplet, so that
            batch normalisation sees the centres alone. Otherwise one for all frames.
        validate_every: steps between evaluations of the objective on validation clips; 0 for none.
        seed: of weights, batches and augmentation.
        threads: CPU threads. Two runs are equal to the bit only with the same number.
        device: where to train: "cpu", "cuda", "mps" or "auto", see lightning-fabric's accelerator.
        precision: "32-true" or "bf16-mixed".

    Example:
        >>> TrainConfig.preset("fast", "both", seed=3).method
        'both'
    """

    data: BeltConfig | FolderConfig = field(default_factory=BeltConfig)
    background: str = "divide"
    method: Method = "plain"
    num_classes: int = 3
    backbone: str = "small"
    weights: str | None = None
    standardize: bool = False
    output_stride: int | None = None
    steps: int = 400
    batch: int = 18
    window: int = 3
    accumulate: int = 1
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    bias_groups: bool = False
    warmup: int = 20
    power: float = 0.9
    clip_norm: float = 5.0
    jitter: tuple[float, float, float, float] = (0.25, 0.0, 0.0, 0.0)
    jitter_together: bool = True
    flip: bool = True
    alpha: float = 2.0
    beta: float = 6.0
    gamma: float = 0.0
    ramp: float = 0.5
    pieces: int = 4
    level: Level = "raw"
    reduction: Reduction = "mean"
    flow: str = "exact"
    previous: Previous = "backward"
    assisted: bool = True
    cells: bool = True
    fusion: Fusion = "max"
    centre_in: bool = False
    normalized: Normalized = "fused"
    detach: bool = False
    validity: Validity = "inside"
    half_cell_shift: bool = False
    separate_passes: bool = False
    validate_every: int = 0
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    precision: Precision = "32-true"

    @property
    def spatial(self) -> bool:
        """Whether tiles pass the network."""
        return self.method in ("puzzle", "both")

    @property
    def temporal(self) -> bool:
        """Whether neighbours pass the network."""
        return self.method in ("temporal", "both")

    @property
    def centres(self) -> int:
        """Frames of a window that are centres."""
        return self.window - 2 if self.temporal else 1

    @classmethod
    def preset(
        cls, name: str = "fast", method: Method = "both", variant: str = "fixed", **changes: Any
    ) -> TrainConfig:
        """A configuration to start from.

        The two variants differ in the authors' slips alone, and in no recipe.

        Args:
            name: "fast" (the small network at 128×160, minutes on a CPU) or "full" (ResNet50 with
                ImageNet weights at 512×512 and the authors' table, for a GPU).
            method: see the class.
            variant: "fixed" trains as the paper's text says; "faithful" as the authors' code does,
                slips included. What their code does at inference is not a matter of training:
                :mod:`tccam.inference` has no variant.
            changes: of single fields.

        Raises:
            TccamError: if a name is unknown.

        Example:
            >>> full = TrainConfig.preset("full", "both", "faithful")
            >>> full.momentum, full.half_cell_shift, full.output_stride
            (0.0001, True, 32)
        """
        if name not in _PRESETS:
            raise TccamError(f"name: expected one of {', '.join(_PRESETS)}; got {name!r}")
        if variant not in ("fixed", "faithful"):
            raise TccamError(f"variant: expected 'fixed' or 'faithful', got {variant!r}")
        config = {**_PRESETS[name], **(_SLIPS if variant == "faithful" else {}), **changes}
        unknown = set(config) - {f.name for f in fields(cls)}
        if unknown:
            raise TccamError(f"changes: TrainConfig has no {', '.join(sorted(unknown))}")
        return replace(cls(), method=method, **config)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainConfig:
        """The configuration that ``dataclasses.asdict`` made a dictionary of, JSON in between.

        Args:
            record: field → value; the belt or folder is a dictionary itself.

        Raises:
            TccamError: if it has a field that there is not (of a later version, say), or a value
                that cannot be.

        Example:
            >>> import dataclasses
            >>> config = TrainConfig(steps=7)
            >>> TrainConfig.from_record(dataclasses.asdict(config)) == config
            True
        """
        if not isinstance(record, Mapping):
            raise TccamError(f"config: expected the fields of a run, got {record!r}")
        values = dict(record)
        data = values.pop("data", {})
        if not isinstance(data, Mapping):
            raise TccamError(f"data: expected the fields of a belt or a folder, got {data!r}")
        kind = FolderConfig if "root" in data else BeltConfig
        return _made(cls, {**values, "data": _made(kind, data)})

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "background": background.METHODS, "method": get_args(Method),
            "level": get_args(Level), "reduction": get_args(Reduction),
            "flow": ("exact", "files", "zero", "shuffled", *flow.METHODS),
            "previous": get_args(Previous), "fusion": get_args(Fusion),
            "normalized": get_args(Normalized), "validity": get_args(Validity),
            "precision": get_args(Precision),
        }  # fmt: skip
        check_choices(self, choices)
        check_types(self)
        whole = float("inf")
        limits: dict[str, tuple[float, float]] = {
            "num_classes": (2, 3), "steps": (1, 10**9), "window": (3, 10**6),
            "accumulate": (1, 10**6), "lr": (0, whole),
            "momentum": (0, 1), "weight_decay": (0, 1), "warmup": (0, 10**9), "power": (0, 100),
            "clip_norm": (0, whole), "alpha": (0, whole), "beta": (0, whole), "gamma": (0, whole),
            "ramp": (0, 1), "pieces": (1, 10**6), "validate_every": (0, 10**9), "seed": (0, 2**40),
            "threads": (1, 4096), "batch": (1, 10**6),
        }  # fmt: skip
        check_limits(self, limits)
        shares = self.jitter if isinstance(self.jitter, tuple) else ()
        if len(shares) != 4 or not all(type(s) in (int, float) and 0 <= s <= 1 for s in shares):
            raise TccamError(
                "TrainConfig.jitter: expected brightness, contrast, saturation and hue, each "
                f"0 … 1; got {self.jitter!r}"
            )
        unit = self.num_classes * self.centres * self.accumulate
        if self.batch % unit:
            raise TccamError(
                f"TrainConfig.batch: expected a multiple of num_classes={self.num_classes} × "
                f"{self.centres} centres a window × accumulate={self.accumulate}, got {self.batch}"
            )


def _made(kind: type[_Config], values: Mapping[str, Any]) -> _Config:
    unknown = set(values) - {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise TccamError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return kind(**tuples)
    except TypeError as error:  # a text where a number belongs
        raise TccamError(f"{kind.__name__}: {error}") from None


#: The faithful variant, by the numbers of "Where the authors' code and their text differ": what is
#: no slip (the network, the background, the warm-up) is the same in both variants.
_SLIPS: dict[str, Any] = {
    "momentum": 1e-4,  # 1: weight decay lands in the place of the momentum
    "half_cell_shift": True,  # 2
    "cells": False,  # the flow is interpolated at the centres of tiles
    "previous": "negated",  # 3
    "validity": "none",  # 4
    "jitter_together": False,  # 9
    "flip": False,  # 9
    "num_classes": 2,  # 11
    "ramp": 0.0,  # the text ramps both weights
    "separate_passes": True,
}

_PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "full": {
        "data": BeltConfig(height=512, width=512, speed=40.0),
        "background": "subtract",
        "backbone": "resnet50",
        "weights": "DEFAULT",
        "standardize": True,
        "output_stride": 32,
        "steps": 3000,
        "batch": 36,  # the authors' 32, in whole shares of two classes and of three
        "bias_groups": True,
        "warmup": 100,
        "jitter": (0.3, 0.3, 0.3, 0.1),
        "flow": "dis",
        "precision": "bf16-mixed",
        "device": "auto",
    },
}
