import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytorch_grad_cam
import torch
import torch.nn.functional as F
import torchcam.methods
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision import models

from tccam.cam import METHODS, class_activation_map, enlarge, explain, normalize
from tccam.errors import TccamError
from tccam.network import CamNet

GRADIENT = ("gradcam", "gradcam++", "layercam", "hirescam", "xgradcam")
RESCORING = ("scorecam", "ablationcam")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def camnet(seed: int = 0, **options: Any) -> CamNet:
    torch.manual_seed(seed)
    return CamNet("small", **options)


class Tiny(nn.Module):
    """The picture, relu'd, is the features; a linear head on their average, or on every cell."""

    def __init__(self, weight: list[Any], *, pooled: bool = True) -> None:
        super().__init__()
        self.features = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity()
        matrix = torch.tensor(weight, dtype=torch.float32).flatten(1)
        self.fc = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        self.fc.weight.data = matrix

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.pool(self.features(images)).flatten(1))
        return logits


# normalize ---------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e4), shift=st.floats(-2, 2))
def test_normalized_maps_lie_in_the_unit_interval(seed: int, scale: float, shift: float) -> None:
    maps = (torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed)) + shift) * scale
    normalized = normalize(maps)
    assert normalized.min() >= 0
    assert normalized.max() <= 1
    assert not normalized[maps <= 0].any()
    x = maps.double().numpy()
    peak = np.maximum(x, 0).max(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(normalized, np.maximum(x - 1e-5, 0) / (peak + 1e-5), atol=1e-6)


def test_normalize_treats_every_map_by_itself() -> None:
    maps = random(2, 3, 5, 4)
    scales = torch.tensor([1.0, 10.0, 100.0])[:, None, None]
    torch.testing.assert_close(normalize(maps * scales), normalize(maps), rtol=0, atol=1e-4)
    for shape in ((5, 4), (3, 5, 4), (2, 3, 5, 4), (7, 2, 3, 5, 4)):
        assert normalize(random(*shape)).shape == shape
        assert normalize(random(*shape)).amax(dim=(-2, -1)).min() > 1 - 1e-3


def test_normalize_by_hand() -> None:
    maps = torch.tensor([[-3.0, 0.5], [1.0, 2.0]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 0.4 / 2.1], [0.9 / 2.1, 1.9 / 2.1]], dtype=torch.float64)
    torch.testing.assert_close(normalize(maps, eps=0.1), expected)
    assert not normalize(torch.tensor([[-1.0, -1e-5]])).any()  # −eps + eps divides nothing


@pytest.mark.parametrize("value", [0.0, -2.0, 1e-7, 0.1, 1.0, 3e4])
@pytest.mark.parametrize("size", [(1, 1), (4, 5)])
def test_a_constant_map_points_nowhere(value: float, size: tuple[int, int]) -> None:
    maps = torch.full((1, 2, *size), value, requires_grad=True)
    normalized = normalize(maps)
    assert not normalized.any()
    (gradient,) = torch.autograd.grad(normalized.sum(), maps)
    assert not gradient.any()


def test_rounding_does_not_make_a_constant_map_point_somewhere() -> None:
    maps = F.interpolate(torch.full((1, 1, 3, 3), 0.1), (17, 23), mode="bilinear")
    assert maps.unique().numel() > 1  # what the test is about
    assert not normalize(maps).any()


def test_the_gradient_of_normalize_passes_through_the_maximum() -> None:
    maps = (random(2, 4, 4).double() - 0.2).requires_grad_()
    assert torch.autograd.gradcheck(normalize, (maps,))
    ties = torch.tensor([[1.0, 1.0], [0.0, -1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(normalize(ties).sum(), ties)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_normalize_keeps_the_dtype(dtype: torch.dtype) -> None:
    assert normalize(random(2, 3, 3).to(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("maps", "eps", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.uint8), 1e-5, "uint8"),
        (torch.zeros(4), 1e-5, r"\(4,\)"),
        (torch.zeros(1, 3, 0, 5), 1e-5, r"\(1, 3, 0, 5\)"),
        (torch.zeros(2, 2), 0.0, "eps"),
    ],
)
def test_normalize_names_what_is_wrong(maps: Tensor, eps: float, message: str) -> None:
    with pytest.raises(TccamError, match=message):
        normalize(maps, eps)


# The closed form ---------------------------------------------------------------------------------


def test_class_activation_map_is_a_convolution_whose_mean_is_the_logit() -> None:
    features, weight = random(2, 6, 5, 4), torch.randn(3, 6)
    maps = class_activation_map(features, weight)
    torch.testing.assert_close(maps, F.conv2d(features, weight[..., None, None]))
    torch.testing.assert_close(maps.mean(dim=(2, 3)), features.mean(dim=(2, 3)) @ weight.T)


@pytest.mark.parametrize(("features", "weight"), [((2, 6, 5), (3, 6)), ((2, 6, 5, 4), (6, 3))])
def test_class_activation_map_names_shapes(
    features: tuple[int, ...], weight: tuple[int, ...]
) -> None:
    with pytest.raises(TccamError, match="features, weight"):
        class_activation_map(torch.zeros(features), torch.zeros(weight))


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "xgradcam"])
@pytest.mark.parametrize("size", [(64, 96), (61, 83)])
def test_on_averaged_features_gradient_methods_are_the_closed_form(
    method: str, size: tuple[int, int]
) -> None:
    net = camnet()
    native = partial(explain, net, random(3, 3, *size), torch.tensor([0, 2, 1]), size="map")
    closed = native(method="cam", normalized=False)
    height, width = closed.shape[1:]
    torch.testing.assert_close(
        native(method=method, normalized=False) * height * width, closed, rtol=1e-4, atol=1e-5
    )


def test_cam_is_the_map_that_the_network_returns() -> None:
    net, images = camnet().eval(), random(2, 3, 61, 83)
    maps = net(images).maps[:, 1]
    closed = explain(net, images, 1, size="map", normalized=False)
    torch.testing.assert_close(closed, F.relu(maps))


# By hand: two channels of 2×2 --------------------------------------------------------------------

A = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, 4.0], [4.0, 0.0]]]])  # sums 4 and 8
#: y_0 = mean of 3·A_1 − A_2 = 1 and y_1 = −mean of A_1 = −1
POOLED = [[3.0, -1.0], [-1.0, 0.0]]
SOFTMAX = 1 / (1 + np.exp(-1.75))  # masked pictures score 1.25 and −0.5


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("cam", [[3, 2], [-4, 3]]),
        ("gradcam", [[0.75, 0.5], [-1, 0.75]]),
        ("gradcam++", [[0.6, 1.2], [0, 0.6]]),  # w_1 = 4 · 0.75 / (2 + 0.75·4), w_2 = 0
        ("layercam", [[0.75, 1.5], [0, 0.75]]),
        ("hirescam", [[0.75, 0.5], [-1, 0.75]]),
        ("xgradcam", [[0.75, 0.5], [-1, 0.75]]),
        ("scorecam", [[SOFTMAX, 4 - 2 * SOFTMAX], [4 - 4 * SOFTMAX, SOFTMAX]]),
        ("ablationcam", [[3, -2], [-8, 3]]),  # y_0 is −2 without A_1 and 3 without A_2
    ],
)
def test_averaged_features_by_hand(method: str, expected: list[list[float]]) -> None:
    maps = explain(Tiny(POOLED), A, 0, method=method, size="map", normalized=False)
    torch.testing.assert_close(maps, F.relu(torch.tensor([expected], dtype=torch.float32)))


#: Each cell has its own weight, so that g_1 = [[1, −1], [2, 0]] and g_2 = [[1, 1], [0, −2]] / 2.
CELLS = [[[[1.0, -1.0], [2.0, 0.0]], [[0.5, 0.5], [0.0, -1.0]]]]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("gradcam", [[0.5, 1], [0, 0.5]]),  # w = 1/2, 0
        ("gradcam++", [[11 / 30, 7 / 5], [2 / 3, 11 / 30]]),  # w_1 = 1/6 + 2/10
        ("layercam", [[1, 2], [0, 0]]),
        ("hirescam", [[1, 0], [0, 0]]),
        ("xgradcam", [[-0.25, 0.5], [1, -0.25]]),  # w = −1/4, 1/4
    ],
)
def test_weighted_cells_by_hand(method: str, expected: list[list[float]]) -> None:
    model = Tiny(CELLS, pooled=False)
    maps = explain(model, A, 0, method=method, size="map", normalized=False)
    torch.testing.assert_close(maps, F.relu(torch.tensor([expected], dtype=torch.float32)))


def test_eigencam_of_proportional_channels_by_hand() -> None:
    first = A[:, :1]  # A_2 = 2·A_1, so v = (1, 2)/√5 and A v = √5·A_1
    maps = explain(
        Tiny(POOLED), torch.cat([first, 2 * first], 1), 0, method="eigencam", normalized=False
    )
    torch.testing.assert_close(maps, 5**0.5 * first[:, 0])


def test_ablation_keeps_its_sense_for_a_negative_logit() -> None:
    # The logit is −1, 2 without A_1 and −3 without A_2: the second channel speaks for the class.
    maps = explain(Tiny([[-3.0, 1.0]]), A, 0, method="ablationcam", normalized=False)
    torch.testing.assert_close(maps, torch.tensor([[[0.0, 2.0], [8.0, 0.0]]]))


@pytest.mark.parametrize("method", METHODS)
def test_silent_features_explain_nothing(method: str) -> None:
    maps = explain(Tiny(POOLED), -A, 0, method=method)
    assert torch.equal(maps, torch.zeros(1, 2, 2))


# The pipeline ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_explanations_fit_the_pictures(method: str) -> None:
    net, images = camnet(), random(2, 3, 37, 50)
    maps = explain(net, images, torch.tensor([2, 0]), method=method)
    assert maps.shape == (2, 37, 50)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert not maps.requires_grad
    assert explain(net, images, 0, method=method, size=(20, 30)).shape == (2, 20, 30)
    assert explain(net, images, 0, method=method, size="map").shape == (2, 10, 13)


@pytest.mark.parametrize("method", METHODS)
def test_every_picture_is_explained_by_itself(method: str) -> None:
    net, images, target = camnet(), random(3, 3, 37, 50), torch.tensor([2, 0, 1])
    together = explain(net, images, target, method=method, normalized=False)
    for index in range(3):
        alone = explain(
            net, images[index : index + 1], int(target[index]), method=method, normalized=False
        )
        torch.testing.assert_close(together[index], alone[0], rtol=1e-3, atol=1e-5)


def test_maps_are_relud_enlarged_then_normalised() -> None:
    net, images = camnet(), random(2, 3, 61, 83)
    native = explain(net, images, 0, size="map", normalized=False)
    placed = enlarge(native[:, None], (61, 83), stride=4)[:, 0]
    peak = placed.amax((-2, -1), keepdim=True)
    assert torch.equal(explain(net, images, 0), normalize(placed / peak))
    assert torch.equal(explain(net, images, 0, normalized=False), placed)
    peak = native.amax((-2, -1), keepdim=True)
    assert torch.equal(explain(net, images, 0, size="map"), normalize(native / peak))
    assert explain(net, images, 0).amax(dim=(1, 2)).min() > 0.999
    # The cells of a layer whose place in the picture is not known are taken for tiles.
    stem = net.features[0]
    native = explain(net, images, 0, method="gradcam", layer=stem, size="map", normalized=False)
    tiles = F.interpolate(native[:, None], (61, 83), mode="bilinear", align_corners=False)[:, 0]
    whole = explain(net, images, 0, method="gradcam", layer=stem, normalized=False)
    assert torch.equal(whole, tiles)


@pytest.mark.parametrize("method", ["cam", "gradcam", "layercam", "hirescam", "xgradcam"])
def test_explanations_do_not_depend_on_the_scale_of_the_logits(method: str) -> None:
    net, images = camnet(), random(2, 3, 37, 50)
    loud = explain(net, images, 0, method=method)
    with torch.no_grad():
        net.classifier.weight.mul_(1e-6)
    quiet = explain(net, images, 0, method=method)
    assert quiet.amax((1, 2)).min() > 0.999
    torch.testing.assert_close(quiet, loud, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("backbone", "stride"), [("small", 4), ("small", 16), ("resnet18", 32)])
def test_cells_look_at_multiples_of_the_stride(backbone: str, stride: int) -> None:
    """The convention of `enlarge`, read off the network: the gradient of a cell has its centre."""
    net = CamNet(backbone, 2, output_stride=stride).eval()
    picture = torch.zeros(1, 3, 16 * stride, 16 * stride, requires_grad=True)
    # Every path through the network counts: no relu is closed, and no maximum prefers a corner.
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.bias)
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(3, stride=2, padding=1))
    net(picture).maps[0, 0, 8, 8].backward()
    assert picture.grad is not None
    weight = picture.grad[0].abs().sum(0).double()
    pixels = torch.arange(16 * stride, dtype=torch.double)
    centre = float((weight.sum(0) * pixels).sum() / weight.sum())
    assert centre == pytest.approx(8 * stride, abs=0.02 * stride)


def test_enlarge_by_hand() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    wide = enlarge(ramp, (8, 8), stride=2)[0, 0, 3]
    torch.testing.assert_close(wide, torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3]))
    # At half the picture's size a pixel of the answer lies between two of the picture.
    half = enlarge(ramp, (4, 4), stride=2, picture=(8, 8))[0, 0, 3]
    torch.testing.assert_close(half, torch.tensor([0.25, 1.25, 2.25, 3.0]))
    assert torch.equal(enlarge(ramp, (4, 4), stride=1), ramp)
    with pytest.raises(TccamError, match="maps"):
        enlarge(ramp[0], (4, 4))


@pytest.mark.parametrize("method", RESCORING)
def test_the_size_of_the_chunks_changes_nothing(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net, images = camnet(), random(2, 3, 32, 40)
    whole = explain(net, images, 0, method=method, batch_size=100)
    assert not capsys.readouterr().err
    chunked = explain(net, images, 0, method=method, batch_size=5, progress=True)
    assert "14/14" in capsys.readouterr().err  # ⌈32/5⌉ chunks for each of two pictures
    torch.testing.assert_close(whole, chunked, rtol=1e-4, atol=1e-5)


def test_eigencam_follows_the_svd_and_its_largest_cell_is_positive() -> None:
    net, images = camnet(), random(3, 3, 61, 83)
    maps = explain(net, images, 0, method="eigencam", size="map", normalized=False)
    assert maps.min() > 0  # after a relu the principal component has one sign
    for features, answer in zip(net.eval().features(images), maps, strict=True):
        matrix = features.detach().flatten(1).T.double().numpy()
        principal = np.linalg.svd(matrix)[2][0]
        np.testing.assert_allclose(answer.flatten(), np.abs(matrix @ principal), rtol=1e-4)

    signed = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    activations = torch.randn(8, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    principal = partial(explain, method="eigencam", layer=signed[0], normalized=False)
    maps = principal(signed, activations, 0)
    torch.testing.assert_close(principal(signed, -activations, 0), maps)
    assert (maps.amax(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_need_no_leave(
    method: str, context: Callable[[], AbstractContextManager[None]]
) -> None:
    net = camnet()
    expected = explain(net, random(2, 3, 37, 50), 1, method=method)
    frozen = copy.deepcopy(net).requires_grad_(False)
    torch.testing.assert_close(explain(frozen, random(2, 3, 37, 50), 1, method=method), expected)
    with context():
        images, target = random(2, 3, 37, 50), torch.tensor([1, 1])
        torch.testing.assert_close(explain(net, images, target, method=method), expected)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_models_are_explained_in_single(method: str) -> None:
    net, images = camnet(), random(2, 3, 37, 50)
    expected = explain(net, images, 1, method=method)
    maps = explain(net.bfloat16(), images.bfloat16(), 1, method=method)
    assert maps.dtype == torch.float32
    assert (maps - expected).abs().mean() < 0.05


def test_layers_that_work_in_place_are_captured_before() -> None:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
    for method in set(METHODS) - {"cam"}:
        maps = [
            explain(model, random(2, 3, 16, 20), 0, method=method, layer=model[1])
            for inplace in (True, False)
            for model in [nn.Sequential(*body, nn.ReLU(inplace=inplace), *head)]
        ]
        assert torch.equal(*maps)


# The model is left as it was found ---------------------------------------------------------------


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that an explanation might disturb."""
    state: dict[str, Any] = {}
    for name, module in model.named_modules():
        hooks = [list(value) for key, value in sorted(vars(module).items()) if "_hooks" in key]
        state[f"{name} is"] = (module.training, hooks, sorted(vars(module)))
    for name, parameter in model.named_parameters():
        state[f"{name} asks"] = parameter.requires_grad
        state[f"{name}.grad"] = None if parameter.grad is None else parameter.grad.clone()
    return state | {name: value.clone() for name, value in model.state_dict().items()}


def assert_undisturbed(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    assert after.keys() == before.keys()
    for key, value in before.items():
        same = torch.equal(after[key], value) if isinstance(value, Tensor) else after[key] == value
        assert same, key


def in_training() -> CamNet:
    """A network in the middle of its life: mixed modes, frozen parts, gradients, statistics."""
    net = camnet()
    net(random(2, 3, 32, 32)).logits.sum().backward()
    net.features.get_submodule("stem").eval().requires_grad_(False)
    net.classifier.weight.grad = None
    return net


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was_found(method: str) -> None:
    net = in_training()
    images = random(2, 3, 32, 40).requires_grad_()
    untouched, before = images.detach().clone(), snapshot(net)
    explain(net, images, 0, method=method)
    assert_undisturbed(net, before)
    assert torch.equal(images, untouched)
    assert images.grad is None
    assert torch.is_grad_enabled()


class InterruptionError(Exception):
    """What a model may throw, on its way forward or back."""


@contextmanager
def failing(net: CamNet, *, forward: int) -> Iterator[None]:
    """Let the head fail after ``forward`` passes; 0 lets it fail on the first way back."""
    passes = 0

    def give_up(*_: object) -> None:
        raise InterruptionError

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal passes
        passes += 1
        if forward == 0:
            output.register_hook(give_up)
        elif passes == forward:
            raise InterruptionError

    handle = net.classifier.register_forward_hook(hook)
    yield
    handle.remove()


@pytest.mark.parametrize(
    ("method", "forward"),
    [
        *((method, 1) for method in METHODS),
        *((method, 3) for method in RESCORING),
        *((method, 0) for method in GRADIENT),
    ],
)
def test_the_model_is_left_as_it_was_found_after_an_error(method: str, forward: int) -> None:
    net = in_training()
    with failing(net, forward=forward):
        before = snapshot(net)
        with pytest.raises(InterruptionError):
            explain(net, random(2, 3, 32, 40), 0, method=method, batch_size=8)
        assert_undisturbed(net, before)
    assert torch.is_grad_enabled()


# Bad input ---------------------------------------------------------------------------------------


class Unpooled(nn.Module):
    """A look-alike of a CAM network: maximum instead of average."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(images).amax(dim=(2, 3)))
        return logits


class Detached(Unpooled):
    """Its logits carry no gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach()


class Bystander(Unpooled):
    """One of its layers runs for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.aside = nn.Conv2d(3, 6, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.aside(images)
        return super().forward(images)


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (CamNet, {"method": "lime"}, r"method: expected one of cam, gradcam.*'lime'"),
        (CamNet, {"images": random(3, 32, 32)}, r"images: expected float \(B, channels, H, W\)"),
        (CamNet, {"images": torch.zeros(1, 3, 32, 32, dtype=torch.uint8)}, "images: .*uint8"),
        (CamNet, {"images": random(0, 3, 32, 32)}, r"images: .*\(0, 3, 32, 32\)"),
        (CamNet, {"images": random(1, 3, 32, 32) / 0}, "images: .*infinity"),
        (CamNet, {"target": 3}, "target: expected classes 0 … 2, got 3 … 3"),
        (CamNet, {"target": -1}, "target: expected classes 0 … 2"),
        (CamNet, {"target": torch.tensor([0, 1, 2])}, r"target: .*\(2,\) integers, got \(3,\)"),
        (CamNet, {"target": torch.tensor([0.0, 1.0])}, "target: expected integers"),
        (CamNet, {"size": (0, 5)}, "size"),
        (CamNet, {"size": "image"}, "size"),
        (CamNet, {"batch_size": 0}, "batch_size"),
        (CamNet, {"layer": nn.ReLU()}, "layer: ReLU is not a module of the model"),
        (models.resnet18, {"layer": "layer4"}, "layer: str is not a module of the model"),
        (models.mobilenet_v2, {}, '"cam" needs a single linear'),
        (Unpooled, {}, '"cam" needs a single linear'),
        (Detached, {"method": "gradcam"}, "the logits do not depend differentiably"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 3)), {}, "neither `features` nor `layer4`"),
    ],
)
def test_bad_arguments_are_named(
    model: Callable[[], nn.Module], change: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"images": random(2, 3, 32, 32), "target": 0} | change
    with pytest.raises(TccamError, match=message):
        explain(model(), **arguments)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer1.0.relu", "expected ReLU to run once per forward pass, it ran 2 times"),
        ("fc", r"expected its output to be \(B, K, h, w\), got \(2, 1000\)"),
    ],
)
def test_unusable_layers_are_named(layer: str, message: str) -> None:
    resnet = models.resnet18()
    with pytest.raises(TccamError, match=message):
        explain(
            resnet, random(2, 3, 32, 32), 0, method="gradcam", layer=resnet.get_submodule(layer)
        )


@pytest.mark.parametrize("method", GRADIENT)
def test_a_layer_without_influence_is_named(method: str) -> None:
    model = Bystander()
    with pytest.raises(TccamError, match="do not depend differentiably on Conv2d"):
        explain(model, random(2, 3, 8, 8), 0, method=method, layer=model.aside)


def test_a_model_without_logits_is_named() -> None:
    model = nn.Sequential(nn.Identity())
    with pytest.raises(TccamError, match=r"model: expected logits \(2, C\), got \(2, 3, 4, 4\)"):
        explain(model, random(2, 3, 4, 4), 0, layer=model[0])


# Parity with pytorch-grad-cam and torch-cam ------------------------------------------------------


class Logits(nn.Module):
    """A CamNet for libraries that expect bare logits."""

    def __init__(self) -> None:
        super().__init__()
        net = CamNet("small")
        self.features, self.classifier = net.features, net.classifier

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images)).mean(dim=(2, 3))
        return logits


class Unstrided(nn.Module):
    """A network whose maps are as large as its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(images).mean(dim=(2, 3)))
        return logits


class Centred(nn.Sequential):
    """A layer whose output has zero mean over the cells."""

    def forward(self, images: Tensor) -> Tensor:
        activations: Tensor = super().forward(images)
        return activations - activations.mean(dim=(2, 3), keepdim=True)


#: Heads are scaled where small logits would hide a difference: Score-CAM's softmax is flat there,
#: and pytorch-grad-cam's Grad-CAM++ adds 1e-6 to sums of squared gradients, which the paper does
#: not and which outweighs gradients below 1e-3.
SCALE = {"scorecam": 1e2, "gradcam++": 1e4}


def network(name: str, method: str) -> tuple[nn.Module, str, str]:
    """A classifier with random weights, and the names of the layer to explain and of its head."""
    torch.manual_seed(1)
    model: nn.Module
    if name == "resnet18":
        model, head = models.resnet18(num_classes=5), "fc"
        layer = "layer1" if method in RESCORING else "layer4"  # 64 channels rather than 512
    elif name == "camnet":
        model, layer, head = Logits(), "features", "classifier"
    else:
        model, layer, head = Unstrided(), "features", "fc"
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    model.get_submodule(head).weight.data *= SCALE.get(method, 1.0)
    if method == "eigencam":
        # pytorch-grad-cam centres the activations, which the paper does not. On activations of
        # zero mean the two are one.
        setattr(model, layer, Centred(model.get_submodule(layer)))
    return model.eval(), layer, head


def pytorch_grad_cam_map(
    name: str, model: nn.Module, layer: str, images: Tensor, target: Tensor
) -> Tensor:
    """The map of pytorch-grad-cam before it is relu'd, stretched and resized."""
    method = getattr(pytorch_grad_cam, name)(model, [model.get_submodule(layer)])
    compute, found = method.get_cam_image, []

    def recorded(*arguments: Any) -> Any:
        found.append(compute(*arguments))
        return found[0]

    method.get_cam_image = recorded
    method(images, [ClassifierOutputTarget(int(index)) for index in target])
    method.activations_and_grads.release()
    return torch.as_tensor(found[0])


def torch_cam_map(
    name: str, model: nn.Module, layer: str, images: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The map of torch-cam before it is stretched."""
    with getattr(torchcam.methods, name)(model, layer, **options) as method:
        maps: Tensor = method(target.tolist(), model(images), normalized=False)[0]
    return maps.detach()


def relative_error(maps: Tensor, reference: Tensor) -> float:
    """Largest difference after the relu, as a share of the reference's peak."""
    reference = F.relu(reference)
    return float((maps - reference).abs().max() / reference.max())


def parity(name: str, method: str, library: Callable[..., Tensor], reference: str) -> float:
    model, layer, head = network(name, method)
    size = (67, 90) if layer == "layer4" or name == "camnet" else (29, 42)
    images, target = random(3, 3, *size), torch.tensor([0, 2, 1])
    if method == "ablationcam":
        # Where they agree on the sign: see the test of negative logits.
        scores, target = model(images).max(dim=1)
        assert scores.min() > 0
    options = {"fc_layer": head} if method == "cam" else {}
    theirs = library(reference, model, layer, images, target, **options)
    ours = explain(
        model,
        images,
        target,
        method=method,
        layer=model.get_submodule(layer),
        size="map",
        normalized=False,
    )
    if method == "eigencam":  # an SVD has no sign
        peaks = theirs.flatten(1).gather(1, theirs.flatten(1).abs().argmax(dim=1, keepdim=True))
        theirs = theirs * peaks.sign()[:, :, None]
    return relative_error(ours, theirs)


@pytest.mark.parametrize("name", ["camnet", "resnet18", "unstrided"])
@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("gradcam", "GradCAM"),
        ("gradcam++", "GradCAMPlusPlus"),
        ("layercam", "LayerCAM"),
        ("hirescam", "HiResCAM"),
        ("xgradcam", "XGradCAM"),
        ("eigencam", "EigenCAM"),
        ("scorecam", "ScoreCAM"),
        ("ablationcam", "AblationCAM"),
    ],
)
def test_parity_with_pytorch_grad_cam(
    name: str, method: str, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its Score-CAM resizes with align_corners=True, on which the paper is silent; the order
    # resize, then stretch to [0, 1], is the paper's.
    resize = partial(nn.Upsample, mode="bilinear", align_corners=False)
    monkeypatch.setattr("torch.nn.UpsamplingBilinear2d", resize)
    assert parity(name, method, pytorch_grad_cam_map, reference) < 1e-4


@pytest.mark.parametrize(
    ("name", "method", "reference"),
    [
        *((name, "cam", "CAM") for name in ("camnet", "resnet18", "unstrided")),
        *((name, "gradcam", "GradCAM") for name in ("camnet", "resnet18", "unstrided")),
        *((name, "layercam", "LayerCAM") for name in ("camnet", "resnet18", "unstrided")),
        *((name, "xgradcam", "XGradCAM") for name in ("camnet", "resnet18", "unstrided")),
        # It stretches the masks to [0, 1] before they are resized, the paper after: comparable
        # where nothing is resized. Its Grad-CAM++ (0.5) is left out: it cubes the gradient inside
        # the sum of the activations, and its division by the denominator acts on a copy.
        ("unstrided", "scorecam", "ScoreCAM"),
    ],
)
def test_parity_with_torch_cam(name: str, method: str, reference: str) -> None:
    assert parity(name, method, torch_cam_map, reference) < 1e-4
