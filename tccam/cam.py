"""Class activation maps: where in a picture a classifier finds its evidence.

Notation, here and in the docstrings: A_k is channel k of the activations of the explained layer,
on a grid of h × w cells p; y_c is the logit of class c; g_k = ∂y_c/∂A_k its gradient on the same
grid. Every method but LayerCAM, HiResCAM and Eigen-CAM is a weighted sum Σ_k w_k A_k(p) and
differs from the others in its weights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from tccam.errors import TccamError

__all__ = ["METHODS", "class_activation_map", "enlarge", "explain", "normalize"]


def normalize(maps: Tensor, eps: float = 1e-5) -> Tensor:
    """Bring every map to [0, 1] by its own maximum.

    ``relu(x − eps) / (max relu(x) + eps)``, the form that the losses of PuzzleCAM (arXiv
    2101.11253) use. Evidence against a class and evidence below ``eps`` become 0; the peak becomes
    (m − eps)/(m + eps), a hair below 1. A map that is constant (max − min ≤ eps·max) points
    nowhere and becomes 0 everywhere, whatever its value: full evidence for every cell would be
    a statement that the map does not make. Differentiable, the maximum included.

    Args:
        maps: finite float (…, h, w), one map for every index of the leading axes.
        eps: positive, in the units of ``maps``.

    Returns:
        The maps in [0, 1], of the same shape and dtype; never NaN, nor is the gradient.

    Raises:
        TccamError: if ``maps`` is not floating point or has no cells, or ``eps`` is not positive.

    Example:
        >>> normalize(torch.tensor([[[-1.0, 0.0], [2.0, 4.0]]])).round(decimals=3)
        tensor([[[0.0000, 0.0000],
                 [0.5000, 1.0000]]])
    """
    if not maps.is_floating_point() or maps.ndim < 2 or 0 in maps.shape[-2:]:
        raise TccamError(f"maps: expected float (…, h, w), got {maps.dtype} {tuple(maps.shape)}")
    if eps <= 0:
        raise TccamError(f"eps: expected a positive number, got {eps}")
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    constant = peak - maps.amin(dim=(-2, -1), keepdim=True) <= eps * peak
    scaled = F.relu(maps - eps) / (F.relu(peak) + eps)
    return scaled.masked_fill(constant, 0.0)


def enlarge(
    maps: Tensor,
    size: tuple[int, int],
    stride: int | None = None,
    picture: tuple[int, int] | None = None,
) -> Tensor:
    """Bring maps from the network's grid to the picture's, bilinearly.

    **Convention.** Where is a cell? A convolution with an odd kernel, stride 2 and symmetric
    padding centres its output i on input pixel 2i, and so on through the layers: cell i of a
    network of stride s looks at pixel s·i. The usual enlargement (``F.interpolate`` with
    ``align_corners=False``) takes cells for tiles, centred on s·i + (s − 1)/2, and so moves every
    map by (s − 1)/2 pixels down and to the right: 1.5 at stride 4, 7.5 at 16, 15.5 at 32. With
    ``stride`` given, cells lie where the network looks; beyond the outermost the map is continued.

    Args:
        maps: float (B, C, h, w).
        size: height and width to bring them to, pixels.
        stride: pixels of the picture per cell, for ResNets and CamNet; None for tiles.
        picture: height and width that the network saw; None if it is ``size``.

    Returns:
        float (B, C, H, W), where (H, W) is ``size``.

    Raises:
        TccamError: if ``maps`` has another shape or dtype.

    Example:
        >>> spot = torch.zeros(1, 1, 4, 4)
        >>> spot[..., 2, 2] = 1
        >>> placed, moved = enlarge(spot, (16, 16), stride=4), enlarge(spot, (16, 16))
        >>> divmod(int(placed.argmax()), 16), [divmod(int(moved.argmax()), 16)]
        ((8, 8), [(9, 9)])
    """
    if maps.ndim != 4 or not maps.is_floating_point() or 0 in maps.shape[-2:]:
        raise TccamError(f"maps: expected float (B, C, h, w), got {maps.dtype} {tuple(maps.shape)}")
    if stride is None:
        return F.interpolate(maps, size, mode="bilinear", align_corners=False)
    axes = []
    for cells, pixels, seen in zip(maps.shape[-2:], size, picture or size, strict=True):
        # Pixel centres of the answer on the picture's grid, then in cells, then in [−1, 1].
        place = (torch.arange(pixels, device=maps.device) + 0.5) * (seen / pixels) - 0.5
        axes.append((2 * place / stride + 1) / cells - 1)
    rows, columns = torch.meshgrid(axes[0], axes[1], indexing="ij")
    # In bfloat16 places would be a tenth of a cell off.
    fine = torch.promote_types(maps.dtype, torch.float32)
    grid = torch.stack((columns, rows), -1).to(fine).expand(len(maps), -1, -1, -1)
    large = F.grid_sample(maps.to(fine), grid, padding_mode="border", align_corners=False)
    return large.to(maps.dtype)


def class_activation_map(features: Tensor, weight: Tensor) -> Tensor:
    """The class activation maps of a linear classifier on globally averaged features.

    ``map_c(p) = Σ_k w_ck f_k(p)``, whose mean over the cells p is the logit of class c without
    its bias: equation 2 of Zhou et al., *Learning Deep Features for Discriminative Localization*,
    CVPR 2016 (arXiv 1512.04150).

    Args:
        features: float (B, K, h, w), what global average pooling sees.
        weight: float (C, K), the classifier's weight.

    Returns:
        The maps, (B, C, h, w); neither relu'd nor normalised.

    Raises:
        TccamError: if the shapes are others or do not agree on K.

    Example:
        >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # two channels of 1×2
        >>> class_activation_map(features, torch.tensor([[3.0, -1.0]]))
        tensor([[[[ 3., -2.]]]])
    """
    if features.ndim != 4 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise TccamError(
            f"features, weight: expected (B, K, h, w) and (C, K), "
            f"got {tuple(features.shape)} and {tuple(weight.shape)}"
        )
    if not features.is_floating_point() or features.dtype != weight.dtype:
        raise TccamError(
            f"features, weight: expected one float type, got {features.dtype} and {weight.dtype}"
        )
    return torch.einsum("bkhw,ck->bchw", features, weight)


def explain(
    model: nn.Module,
    images: Tensor,
    target: int | Tensor,
    *,
    method: str = "cam",
    layer: nn.Module | None = None,
    size: tuple[int, int] | Literal["map"] | None = None,
    normalized: bool = True,
    batch_size: int = 32,
    progress: bool = False,
) -> Tensor:
    """Show where ``model`` finds its evidence for a class.

    =============== ======================================================= ==================
    method          map before the relu                                     cost
    =============== ======================================================= ==================
    ``cam``         Σ_k w_ck A_k, w the linear layer after average pooling  1 forward
    ``gradcam``     Σ_k w_k A_k, w_k = mean of g_k                          1 backward
    ``gradcam++``   Σ_k w_k A_k, w_k = Σ_p relu(g_k)/(2 + g_k Σ_q A_k)      1 backward
    ``layercam``    Σ_k relu(g_k) A_k                                       1 backward
    ``hirescam``    Σ_k g_k A_k                                             1 backward
    ``xgradcam``    Σ_k w_k A_k, w_k = Σ_p g_k A_k / Σ_q A_k                1 backward
    ``eigencam``    first principal component of A, the same for each class 1 decomposition
    ``scorecam``    Σ_k w_k A_k, w = softmax of y_c(picture masked by A_k)  K forwards/picture
    ``ablationcam`` Σ_k w_k A_k, w_k = relative drop of y_c without A_k     K forwards/picture
    =============== ======================================================= ==================

    The map is relu'd, brought to its size by :func:`enlarge`, then normalised, so that its peak is
    1 at the size you asked for. A model with an ``output_stride`` (CamNet) has its cells put where
    the network looks; those of any other are taken for tiles, as other implementations do, and as
    Score-CAM does with its masks. The gradient is the logit's, not a
    probability's, which would fade wherever the network is sure. The model runs in evaluation mode
    and is left as it was found: modes, gradients, hooks and statistics, also after an error. Works
    under ``torch.no_grad`` and with frozen parameters.

    Args:
        model: returns logits (B, C), or something that has them as ``.logits``.
        images: finite float (B, channels, H, W), normalised as the model expects; moved to its
            device.
        target: the class to explain, one for all pictures or integers (B,).
        method: one of :data:`METHODS`.
        layer: the module whose output (B, K, h, w) is explained, called once per forward pass.
            None takes ``model.features`` (:class:`~tccam.network.CamNet`) or ``model.layer4``
            (torchvision ResNets).
        size: (height, width) of the answer; None for the pictures' own, "map" for the grid h × w
            of the layer.
        normalized: whether :func:`normalize` has the last word.
        batch_size: pictures per forward pass of Score-CAM and Ablation-CAM.
        progress: whether these two show a progress bar.

    Returns:
        The maps, float (B, height, width), ≥ 0 and if normalised in [0, 1]; no gradient attached.

    Raises:
        TccamError: if an argument is unusable, or ``model`` does not fit ``method`` or ``layer``.

    Example:
        >>> from torchvision.models import resnet18
        >>> maps = explain(resnet18(), torch.rand(2, 3, 64, 96), target=7, method="gradcam")
        >>> tuple(maps.shape), bool(maps.min() >= 0), bool(maps.max() <= 1)
        ((2, 64, 96), True, True)
    """
    if method not in _METHODS:
        raise TccamError(f"method: expected one of {', '.join(METHODS)}; got {method!r}")
    if images.ndim != 4 or not images.is_floating_point() or 0 in images.shape:
        raise TccamError(
            f"images: expected float (B, channels, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    if not images.isfinite().all():
        raise TccamError("images: expected finite values, found NaN or infinity")
    sized = isinstance(size, tuple) and len(size) == 2 and min(size) >= 1
    if not (sized or size is None or size == "map"):
        raise TccamError(f'size: expected (height, width), None or "map"; got {size!r}')
    if batch_size < 1:
        raise TccamError(f"batch_size: expected at least 1, got {batch_size}")
    layer = _default_layer(model) if layer is None else layer
    if all(layer is not module for module in model.modules()):
        raise TccamError(f"layer: {type(layer).__name__} is not a module of the model")

    with _undisturbed(model):
        sight = _look(model, layer, images, target, batch_size=batch_size, progress=progress)
        with torch.no_grad():
            maps = F.relu(_METHODS[method](sight))
    if size != "map":
        picture = (images.shape[-2], images.shape[-1])
        own = layer is getattr(model, "features", None)
        stride = getattr(model, "output_stride", None) if own else None
        maps = enlarge(maps[:, None], size or picture, stride, picture)[:, 0]
    if not normalized:
        return maps
    # First by the peak: gradients are h·w times smaller than maps, and `normalize` drops the small.
    peak = maps.amax((-2, -1), keepdim=True)
    return normalize(maps / peak.clamp_min(torch.finfo(maps.dtype).tiny))


@dataclass(frozen=True, eq=False)
class _Sight:
    """One forward pass as seen from a layer: all that a method may look at.

    B pictures, K channels, C classes.
    """

    model: nn.Module
    layer: nn.Module
    images: Tensor  # (B, channels, H, W)
    target: Tensor  # (B,) integers
    activations: Tensor  # (B, K, h, w), a leaf of the logits' graph, at least float32
    logits: Tensor  # (B, C)
    scores: Tensor  # (B,), the logit y_c of each picture's target
    batch_size: int
    progress: bool


def _look(
    model: nn.Module,
    layer: nn.Module,
    images: Tensor,
    target: int | Tensor,
    *,
    batch_size: int,
    progress: bool,
) -> _Sight:
    """Run the model once and keep what passes through ``layer``."""
    leaves: list[Tensor] = []

    def tap(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise TccamError(f"layer: expected its output to be (B, K, h, w), got {found}")
        # The graph is cut here: a leaf has a gradient even where every parameter is frozen. It
        # is at least float32, for half precision underflows in the products of the methods. The
        # model goes on with a copy, since what comes next may work in place.
        dtype = torch.promote_types(output.dtype, torch.float32)
        torch.set_grad_enabled(True)
        leaves.append(output.detach().to(dtype).requires_grad_())
        return leaves[-1].to(output.dtype, copy=True)

    # A copy also of tensors made in inference mode, which no graph may hold. Channels last: a fifth
    # less time for a convolution on a CPU.
    images = images.to(
        next(model.parameters(), images).device, copy=True, memory_format=torch.channels_last
    )
    # What comes before the layer needs no graph, and half the memory without.
    with torch.no_grad(), _hooked(layer, tap):
        logits = _logits(model, images)
    if len(leaves) != 1:
        raise TccamError(
            f"layer: expected {type(layer).__name__} to run once per forward pass, "
            f"it ran {len(leaves)} times"
        )
    classes = _classes(target, logits)
    scores = logits.gather(1, classes[:, None]).squeeze(1)
    return _Sight(
        model=model,
        layer=layer,
        images=images,
        target=classes,
        activations=leaves[0],
        logits=logits,
        scores=scores,
        batch_size=batch_size,
        progress=progress,
    )


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """The model's logits (B, C), bare or as an attribute of what it returns."""
    output = model(images)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise TccamError(f"model: expected logits ({len(images)}, C), got {found}")
    return logits


def _classes(target: int | Tensor, logits: Tensor) -> Tensor:
    """``target`` as integers (B,), each in 0 … C−1."""
    batch, count = logits.shape
    classes = torch.as_tensor(target)
    if classes.is_floating_point() or classes.dtype == torch.bool:
        raise TccamError(f"target: expected integers, got {classes.dtype}")
    if classes.shape not in ((), (batch,)):
        raise TccamError(
            f"target: expected an integer or ({batch},) integers, got {tuple(classes.shape)}"
        )
    if classes.min() < 0 or classes.max() >= count:
        raise TccamError(
            f"target: expected classes 0 … {count - 1}, "
            f"got {int(classes.min())} … {int(classes.max())}"
        )
    return classes.to(logits.device, torch.long, copy=True).expand(batch)


def _default_layer(model: nn.Module) -> nn.Module:
    """The feature extractor of a CamNet, the last stage of a ResNet."""
    for name in ("features", "layer4"):
        layer = getattr(model, name, None)
        if isinstance(layer, nn.Module):
            return layer
    raise TccamError(
        f"layer: {type(model).__name__} has neither `features` nor `layer4`; "
        f"name the module to explain"
    )


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients at hand; every module's mode comes back, whatever happens."""
    # Not model.eval(): models override it, and .train() would forget single frozen modules.
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _hooked(
    layer: nn.Module, hook: Callable[[nn.Module, object, Tensor], Tensor]
) -> Iterator[None]:
    """What ``hook`` returns takes the place of the layer's output."""
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _gradients(sight: _Sight) -> Tensor:
    """∂y_c/∂A, (B, K, h, w). No parameter's ``.grad`` is touched."""
    gradients = None
    if sight.logits.requires_grad:
        # Pictures do not see each other in evaluation mode: one backward pass serves all.
        (gradients,) = torch.autograd.grad(
            sight.scores, sight.activations, torch.ones_like(sight.scores), allow_unused=True
        )
    if gradients is None:
        raise TccamError(
            f"layer: the logits do not depend differentiably on {type(sight.layer).__name__}"
        )
    return gradients


def _weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """Σ_k w_k A_k from (B, K) and (B, K, h, w), (B, h, w)."""
    return torch.einsum("bk,bkhw->bhw", weights, activations)


def _cam(sight: _Sight) -> Tensor:
    """Σ_k w_ck A_k with the classifier's own weights.

    Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """
    pooled = sight.activations.mean(dim=(2, 3))
    for name in ("classifier", "fc"):
        head = getattr(sight.model, name, None)
        if not isinstance(head, nn.Linear | nn.Conv2d):
            continue
        weight = head.weight.flatten(1).to(pooled.dtype)
        if weight.shape != (sight.logits.shape[1], pooled.shape[1]):
            continue
        # The closed form holds for one kind of network only; a look-alike would get a wrong map.
        logits = F.linear(pooled, weight, None if head.bias is None else head.bias.to(weight))
        if (logits - sight.logits).abs().max() <= 0.05 * sight.logits.abs().max():
            return _weighted_sum(weight[sight.target], sight.activations)
    raise TccamError(
        f'method: "cam" needs a single linear `classifier` or `fc` on the global average of '
        f"layer, which {type(sight.model).__name__} does not have; try another method"
    )


def _gradcam(sight: _Sight) -> Tensor:
    """w_k = 1/(h·w) Σ_p g_k(p).

    Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-Based
    Localization, ICCV 2017.
    """
    return _weighted_sum(_gradients(sight).mean(dim=(2, 3)), sight.activations)


def _gradcam_plus_plus(sight: _Sight) -> Tensor:
    """w_k = Σ_p α_k(p) relu(g_k(p)), α_k(p) = 1/(2 + g_k(p) Σ_q A_k(q)) where g_k(p) ≠ 0.

    Chattopadhay et al., Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep
    Convolutional Networks, WACV 2018, equation 19 with g² cancelled, which needs no guard against
    small gradients. The paper's score is exp(y_c); its factor exp(y_c) > 0, the same for all k,
    is left out.
    """
    gradients = _gradients(sight)
    denominator = 2 + gradients * sight.activations.sum(dim=(2, 3), keepdim=True)
    # At least 2 where g > 0 and A ≥ 0; elsewhere it may be 0, and 0/0 must not count.
    denominator = denominator.masked_fill(denominator == 0, 1.0)
    return _weighted_sum((F.relu(gradients) / denominator).sum(dim=(2, 3)), sight.activations)


def _layercam(sight: _Sight) -> Tensor:
    """Σ_k relu(g_k(p)) A_k(p).

    Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE
    Transactions on Image Processing 2021.
    """
    return (F.relu(_gradients(sight)) * sight.activations).sum(dim=1)


def _hirescam(sight: _Sight) -> Tensor:
    """Σ_k g_k(p) A_k(p).

    Draelos and Carin, Use HiResCAM instead of Grad-CAM for Faithful Explanations of Convolutional
    Neural Networks, arXiv 2011.08891, 2020.
    """
    return (_gradients(sight) * sight.activations).sum(dim=1)


def _xgradcam(sight: _Sight) -> Tensor:
    """w_k = Σ_p g_k(p) A_k(p) / Σ_q A_k(q); 0 for a silent channel.

    Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs,
    BMVC 2020.
    """
    mass = sight.activations.sum(dim=(2, 3))
    product = (_gradients(sight) * sight.activations).sum(dim=(2, 3))
    return _weighted_sum(product / mass.masked_fill(mass == 0, 1.0), sight.activations)


def _eigencam(sight: _Sight) -> Tensor:
    """A(p)·v, v the first right singular vector of the (h·w) × K matrix A.

    Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020.
    Not centred, as in the paper. A singular vector has no sign: here the cell of largest
    magnitude is positive. After a relu, A ≥ 0 and the whole map is ≥ 0 (Perron–Frobenius).
    """
    cells = sight.activations.flatten(2).transpose(1, 2)  # (B, h·w, K)
    left, singular, _ = torch.linalg.svd(cells, full_matrices=False)
    maps: Tensor = left[..., 0] * singular[:, :1]  # A v = σ u
    sign = maps.gather(1, maps.abs().argmax(dim=1, keepdim=True)).sign()
    return (maps * sign).reshape(-1, *sight.activations.shape[2:])


def _scorecam(sight: _Sight) -> Tensor:
    """Weights w = softmax_k y_c(X ∘ H_k), H_k: A_k at the picture's size, then scaled to [0, 1].

    Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks,
    CVPR Workshops 2020, algorithm 1. The paper subtracts y_c of a baseline picture, the same for
    all k, which the softmax ignores.
    """

    def logits(picture: int, channels: Tensor) -> Tensor:
        image = sight.images[picture]
        masks = sight.activations[picture, channels, None]  # (n, 1, h, w)
        masks = F.interpolate(masks, image.shape[-2:], mode="bilinear", align_corners=False)
        masks = masks - masks.amin(dim=(2, 3), keepdim=True)
        peak = masks.amax(dim=(2, 3), keepdim=True)
        masks = masks / peak.masked_fill(peak == 0, 1.0)  # a silent channel hides all
        return _logits(sight.model, image * masks.to(image.dtype))

    return _weighted_sum(_scores_per_channel(sight, logits).softmax(dim=1), sight.activations)


def _ablationcam(sight: _Sight) -> Tensor:
    """w_k = (y_c − y_c with A_k set to zero) / |y_c|.

    Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via
    Gradient-free Localization, WACV 2020. The paper divides by y_c, which turns the map inside
    out for a class whose logit is negative; the magnitude keeps its sense.
    """

    def logits(picture: int, channels: Tensor) -> Tensor:
        count = len(channels)
        ablated = sight.activations[picture].repeat(count, 1, 1, 1)  # (n, K, h, w)
        ablated[torch.arange(count, device=ablated.device), channels] = 0.0
        images = sight.images[picture].expand(count, -1, -1, -1)
        with _hooked(sight.layer, lambda _module, _inputs, out: ablated.to(out.dtype)):
            return _logits(sight.model, images)

    scores = sight.scores[:, None]
    drop = scores - _scores_per_channel(sight, logits)
    return _weighted_sum(drop / scores.abs().clamp(min=1e-12), sight.activations)


def _scores_per_channel(sight: _Sight, logits: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Scores (B, K) of the targets when ``logits(picture, channels)`` singles out each channel."""
    pictures, channels = sight.activations.shape[:2]
    scores = sight.activations.new_empty(pictures, channels)
    chunks = torch.split(torch.arange(channels, device=scores.device), sight.batch_size)
    work = [(picture, chunk) for picture in range(pictures) for chunk in chunks]
    for picture, chunk in tqdm(work, disable=not sight.progress):
        scores[picture, chunk] = logits(picture, chunk)[:, sight.target[picture]].to(scores.dtype)
    return scores


_METHODS: dict[str, Callable[[_Sight], Tensor]] = {
    "cam": _cam,
    "gradcam": _gradcam,
    "gradcam++": _gradcam_plus_plus,
    "layercam": _layercam,
    "hirescam": _hirescam,
    "xgradcam": _xgradcam,
    "eigencam": _eigencam,
    "scorecam": _scorecam,
    "ablationcam": _ablationcam,
}
#: What :func:`explain` can compute.
METHODS = tuple(_METHODS)
