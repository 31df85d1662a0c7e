"""The classifier whose last layer is its own localiser: a backbone and a 1×1 convolution."""

from __future__ import annotations

import textwrap
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tccam.errors import TccamError
from tccam.files import download_state, read_state

__all__ = ["CamNet", "CamOutput", "backbones"]

#: The residual blocks of the small backbone, (channels, stride) each, for every output stride.
#: The stem has stride 2 itself.
_SMALL_BLOCKS = {
    4: ((16, 2), (32, 1)),
    8: ((16, 2), (32, 2)),
    16: ((16, 2), (32, 2), (64, 2)),
    32: ((16, 2), (32, 2), (64, 2), (64, 2)),
}
#: The stages of a ResNet that give up their stride for dilation, for every output stride.
_DILATED_STAGES = {32: (), 16: ("layer4",), 8: ("layer3", "layer4")}
#: Of the pictures of ImageNet, RGB in [0, 1]: what torchvision's weights were trained with.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STATE_SUFFIXES = (".safetensors", ".pth", ".pt")


class CamOutput(NamedTuple):
    """What :class:`CamNet` returns.

    Attributes:
        logits: one score per class before any sigmoid or softmax, (B, C).
        maps: the class maps that the logits average, (B, C, h, w); neither relu'd nor normalised.
    """

    logits: Tensor
    maps: Tensor


class CamNet(nn.Module):
    """A classifier that sees with global average pooling, so that its maps come for free.

    A 1×1 convolution without bias turns features f into class maps, and their mean is the logit::

        maps_c(p) = Σ_k w_ck f_k(p)        logit_c = 1/(h·w) Σ_p maps_c(p)

    The two sums commute: this is the network of Zhou et al., *Learning Deep Features for
    Discriminative Localization*, CVPR 2016 (arXiv 1512.04150), with its map computed on the way.
    The paper takes ``"resnet50"`` at output stride 32; ``"small"`` trains on a CPU in minutes.

    ========= ============= ============================== ========== ===============
    backbone  output stride residual blocks                parameters receptive field
    ========= ============= ============================== ========== ===============
    ``small`` 4 (default)   16 (stride 2), 32 (stride 1)   20 816     33 px
    ``small`` 8             16, 32 (stride 2 each)         20 816     41 px
    ``small`` 16            16, 32, 64 (stride 2 each)     78 640     89 px
    ``small`` 32            16, 32, 64, 64 (stride 2 each) 156 848    185 px
    ResNets   32 (default)  as in torchvision              –          –
    ResNets   16, 8         last stages dilated            –          –
    ========= ============= ============================== ========== ===============

    Parameters are counted for three classes and three channels.

    Attributes:
        features: the backbone, (B, in_channels, H, W) → (B, K, ⌈H/stride⌉, ⌈W/stride⌉), ≥ 0.
        classifier: the 1×1 convolution, weight (C, K, 1, 1).
        backbone: its name.
        num_classes: C.
        output_stride: pixels per cell of the maps.
        in_channels: channels of the pictures.
        standardize: whether the network brings pictures to ImageNet's mean and deviation itself.

    Args:
        backbone: one of :func:`backbones`.
        num_classes: number of classes C.
        weights: None (random), the name of torchvision weights (``"IMAGENET1K_V2"``,
            ``"DEFAULT"``; downloaded once), or a state dict's file (.safetensors, .pth, .pt),
            either of a whole CamNet or of a torchvision ResNet, whose ``fc`` is dropped.
        output_stride: pixels per cell; None takes the backbone's default.
        in_channels: channels of the pictures; ImageNet weights need 3.
        standardize: subtract ImageNet's mean and divide by its deviation before the backbone, which
            pretrained weights expect. Pictures then come in [0, 1], or as their contrast to a
            background.

    Raises:
        TccamError: for an unknown backbone or weights name, an unsupported output stride, a file
            that does not fit, or a download that fails.

    Example:
        >>> net = CamNet("small", num_classes=3)
        >>> logits, maps = net(torch.zeros(2, 3, 128, 96))
        >>> tuple(logits.shape), tuple(maps.shape)
        ((2, 3), (2, 3, 32, 24))
    """

    _mean: Tensor
    _deviation: Tensor

    def __init__(
        self,
        backbone: str = "small",
        num_classes: int = 3,
        weights: str | Path | None = None,
        output_stride: int | None = None,
        in_channels: int = 3,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        for name, count in (("num_classes", num_classes), ("in_channels", in_channels)):
            if count < 1:
                raise TccamError(f"{name}: expected at least 1, got {count}")
        if backbone != "small" and backbone not in backbones():
            raise TccamError(
                f"backbone: expected one of {', '.join(backbones())}; got {backbone!r}"
            )
        strides = tuple(_SMALL_BLOCKS if backbone == "small" else _DILATED_STAGES)
        output_stride = strides[0] if output_stride is None else output_stride
        if output_stride not in strides:
            raise TccamError(
                f"output_stride: {backbone} supports {', '.join(map(str, sorted(strides)))}; "
                f"got {output_stride!r}"
            )
        self.backbone = backbone
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.in_channels = in_channels
        self.standardize = standardize
        if standardize and in_channels != 3:
            raise TccamError(f"standardize: ImageNet's colours are 3, not {in_channels} channels")
        # Not saved: constants, so that the weights fit with and without.
        for name, colour in (("_mean", _MEAN), ("_deviation", _DEVIATION)):
            self.register_buffer(name, torch.tensor(colour)[:, None, None], persistent=False)
        if backbone == "small":
            self.features, channels = _small(output_stride, in_channels)
        else:
            self.features, channels = _resnet(backbone, output_stride, in_channels)
        self.classifier = nn.Conv2d(channels, num_classes, kernel_size=1, bias=False)
        if weights is not None:
            self._load(weights)

    def forward(self, images: Tensor) -> CamOutput:
        """Class scores and the maps that they average.

        Args:
            images: float (B, in_channels, H, W), as the network was trained to see them.

        Returns:
            logits (B, C) and maps (B, C, h, w), h = ⌈H/output_stride⌉, w = ⌈W/output_stride⌉.

        Raises:
            TccamError: if ``images`` has another shape or dtype, or is smaller than one cell.
        """
        self._check(images)
        if self.standardize:
            images = (images - self._mean) / self._deviation
        maps = self.classifier(self.features(images))
        return CamOutput(
            logits=maps.mean(dim=(2, 3), dtype=torch.promote_types(maps.dtype, torch.float32)),
            maps=maps,
        )

    def _check(self, images: Tensor) -> None:
        if (
            images.ndim != 4
            or images.shape[1] != self.in_channels
            or not images.is_floating_point()
        ):
            raise TccamError(
                f"images: expected float (B, {self.in_channels}, H, W), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        if min(images.shape[-2:]) < self.output_stride:
            raise TccamError(
                f"images: {images.shape[-2]}×{images.shape[-1]} pixels are less than one cell of "
                f"{self.output_stride}×{self.output_stride} (output_stride)"
            )

    def _load(self, weights: str | Path) -> None:
        if Path(weights).suffix in _STATE_SUFFIXES:
            state = read_state(Path(weights))
        else:
            if self.in_channels != 3:
                raise TccamError(
                    f"in_channels: {weights!r} was trained on 3 channels, not {self.in_channels}"
                )
            state = _download(self.backbone, str(weights))
        state = {key: value for key, value in state.items() if not key.startswith("fc.")}
        module = self if "classifier.weight" in state else self.features
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise TccamError(
                f"{weights}: the weights do not fit {self.backbone} with {self.num_classes} "
                f"classes: {textwrap.shorten(str(error), 300)}"
            ) from None


def backbones() -> tuple[str, ...]:
    """Names that :class:`CamNet` takes: ``"small"`` and every ResNet of torchvision.

    Returns:
        The names, ``"small"`` first, the others in alphabetical order.

    Example:
        >>> backbones()[:3]
        ('small', 'resnet101', 'resnet152')
    """
    from torchvision import models  # noqa: PLC0415 - it takes seconds

    families = ["resnet*", "resnext*", "wide_resnet*"]
    return ("small", *models.list_models(module=models, include=families))


class _ResidualBlock(nn.Module):
    """relu(r(x) + p(x)): two 3×3 convolutions r beside a 1×1 projection p."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.projection = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.projection(x))


def _small(output_stride: int, in_channels: int) -> tuple[nn.Module, int]:
    """The small feature extractor and its number of channels."""
    channels = 16
    stem = nn.Sequential(
        nn.Conv2d(in_channels, channels, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, (width, stride) in enumerate(_SMALL_BLOCKS[output_stride], start=1):
        layers[f"block{number}"] = _ResidualBlock(channels, width, stride)
        channels = width
    return nn.Sequential(layers), channels


def _resnet(backbone: str, output_stride: int, in_channels: int) -> tuple[nn.Module, int]:
    """A torchvision ResNet without its head, and its number of channels.

    The stages keep their names, so that torchvision's state dicts fit.
    """
    from torchvision.models import get_model  # noqa: PLC0415 - it takes seconds

    resnet = get_model(backbone, weights=None)
    channels: int = resnet.fc.in_features
    layers = OrderedDict(resnet.named_children())
    del layers["avgpool"], layers["fc"]
    if in_channels != 3:
        layers["conv1"] = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    dilation = 1
    for name in _DILATED_STAGES[output_stride]:
        dilation = _dilate(layers[name], dilation)
    return nn.Sequential(layers), channels


def _dilate(stage: nn.Module, dilation: int) -> int:
    """Trade a stage's stride for dilation, in place; return the dilation that follows it.

    Every 3×3 convolution after the removed stride lies on a grid twice as fine, so its taps move
    twice as far apart. At every second cell the result is the strided stage's, which is also what
    torchvision's ``replace_stride_with_dilation`` computes; that one refuses ResNet-18 and 34.
    """
    # A block registers its convolutions in the order of execution, the projection last.
    for conv in (module for module in stage.modules() if isinstance(module, nn.Conv2d)):
        if conv.kernel_size == (3, 3):
            conv.dilation = conv.padding = (dilation, dilation)
            dilation *= conv.stride[0]
        conv.stride = (1, 1)
    return dilation


def _download(backbone: str, name: str) -> dict[str, Tensor]:
    """The state dict of named torchvision weights, from its cache or from the network."""
    from torchvision.models import get_model_weights  # noqa: PLC0415 - it takes seconds

    published = {} if backbone == "small" else get_model_weights(backbone).__members__
    if name not in published:
        names = ", ".join((*published, *(f"a {suffix} file" for suffix in _STATE_SUFFIXES)))
        raise TccamError(f"weights: {backbone} takes {names}; got {name!r}")
    return download_state(published[name], f"{backbone} {name}")
