from functools import partial
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms.v2.functional import normalize

from tccam.background import median_background
from tccam.cam import class_activation_map
from tccam.data import ArrayClip
from tccam.errors import TccamError
from tccam.network import CamNet, CamOutput, backbones

RESNETS = ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2")


def images(height: int = 64, width: int = 96, batch: int = 2, channels: int = 3) -> Tensor:
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0))


def without_fc(resnet: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in resnet.state_dict().items() if "fc" not in name}


def same_weights(network: nn.Module, other: nn.Module) -> bool:
    ours, theirs = network.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize(
    ("backbone", "stride"),
    [*(("small", s) for s in (4, 8, 16)), *(("resnet18", s) for s in (8, 16, 32))],
)
@pytest.mark.parametrize("size", [(64, 96), (61, 83), (32, 33)])
def test_maps_have_a_cell_for_every_started_stride(
    backbone: str, stride: int, size: tuple[int, int]
) -> None:
    net = CamNet(backbone, num_classes=4, output_stride=stride).eval()
    output = net(images(*size))
    assert isinstance(output, CamOutput)
    assert output.logits.shape == (2, 4)
    assert output.maps.shape == (2, 4, -(-size[0] // stride), -(-size[1] // stride))
    assert (net.output_stride, net.num_classes, net.backbone) == (stride, 4, backbone)


@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_logits_average_the_closed_form_maps(backbone: str) -> None:
    net = CamNet(backbone).eval()
    logits, maps = net(images(67, 90))
    features = net.features(images(67, 90))
    assert features.min() >= 0
    assert net.classifier.bias is None
    weight = net.classifier.weight.flatten(1)
    torch.testing.assert_close(maps, class_activation_map(features, weight))
    torch.testing.assert_close(logits, maps.mean(dim=(2, 3)))


def test_default_strides() -> None:
    assert CamNet("small").output_stride == 4
    assert CamNet("resnet18").output_stride == 32


def test_backbones_are_resnets_and_nothing_else() -> None:
    assert backbones()[0] == "small"
    assert {*RESNETS, "resnet34", "resnet101", "resnet152"} < set(backbones())
    assert not {"vgg16", "quantized_resnet18", "r3d_18", "fcn_resnet50"} & set(backbones())


@pytest.mark.parametrize(("stride", "count"), [(4, 20_816), (8, 20_816), (16, 78_640)])
def test_the_small_network_has_the_parameters_of_its_table(stride: int, count: int) -> None:
    net = CamNet("small", num_classes=3, output_stride=stride)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize(("stride", "field"), [(4, 33), (8, 41), (16, 89), (32, 185)])
def test_the_small_network_sees_the_receptive_field_of_its_table(stride: int, field: int) -> None:
    net = CamNet("small", output_stride=stride).eval()
    with torch.no_grad():  # Positive weights: no relu closes, so every path carries a gradient.
        for parameter in net.parameters():
            parameter.abs_()
    picture = torch.ones(1, 3, 192, 192, requires_grad=True)
    features = net.features(picture)
    features[0, :, features.shape[2] // 2, features.shape[3] // 2].sum().backward()
    assert picture.grad is not None
    seen = picture.grad[0].abs().sum(dim=0) > 0
    assert seen.any(dim=0).sum() == seen.any(dim=1).sum() == field


@pytest.mark.parametrize("backbone", ["resnet18", "resnext50_32x4d"])
@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
def test_dilation_inserts_cells_and_keeps_the_strided_ones(
    backbone: str, size: tuple[int, int]
) -> None:
    coarse = CamNet(backbone, output_stride=32).eval()
    with torch.no_grad():
        expected = coarse.features(images(*size))
        for stride in (16, 8):
            fine = CamNet(backbone, output_stride=stride).eval()
            fine.load_state_dict(coarse.state_dict())
            step = 32 // stride
            features = fine.features(images(*size))[..., ::step, ::step]
            torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stride", "replace"),
    [(32, None), (16, [False, False, True]), (8, [False, True, True])],
)
def test_resnet50_equals_torchvision(stride: int, replace: list[bool] | None) -> None:
    reference = models.resnet50(replace_stride_with_dilation=replace).eval()
    net = CamNet("resnet50", output_stride=stride).eval()
    net.features.load_state_dict(without_fc(reference))
    with torch.no_grad():
        net.classifier.weight.copy_(reference.fc.weight[:3, :, None, None])
        reference.fc.bias.zero_()
        logits = net(images(65, 97)).logits
        torch.testing.assert_close(logits, reference(images(65, 97))[:, :3], rtol=1e-5, atol=1e-5)


def test_standardize_is_imagenets_normalisation() -> None:
    plain, net = CamNet("resnet18").eval(), CamNet("resnet18", standardize=True).eval()
    net.load_state_dict(plain.state_dict())  # constants are not saved: the weights fit both
    published = models.ResNet18_Weights.DEFAULT.transforms()
    pictures = images()
    expected = plain(normalize(pictures, published.mean, published.std))
    torch.testing.assert_close(net(pictures).maps, expected.maps, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain(pictures).maps, expected.maps, rtol=1e-2)
    assert (plain.standardize, net.standardize) == (False, True)


def test_a_clip_keeps_its_median_background() -> None:
    frames = torch.zeros(5, 3, 8, 10, dtype=torch.uint8)
    frames[:, 0, 2, 3] = torch.tensor([10, 200, 30, 20, 40])
    clip = ArrayClip(frames)
    assert clip.background.dtype == torch.float32
    assert clip.background[0, 2, 3] == 30
    assert torch.equal(clip.background, median_background(frames))
    assert clip.background is clip.background  # computed once


def test_other_numbers_of_channels() -> None:
    for backbone in ("small", "resnet18"):
        net = CamNet(backbone, in_channels=5).eval()
        assert net(images(channels=5)).logits.shape == (2, 3)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_a_saved_network_comes_back(tmp_path: Path, suffix: str, backbone: str) -> None:
    net = CamNet(backbone)
    path = tmp_path / f"net{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(net.state_dict(), path)
    assert same_weights(CamNet(backbone, weights=path), net)
    assert same_weights(CamNet(backbone, weights=str(path)), net)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_torchvision_state_dict_fits_without_its_fc(tmp_path: Path, suffix: str) -> None:
    resnet = models.resnet18()
    path = tmp_path / f"resnet{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(resnet.state_dict(), path)
    net = CamNet("resnet18", weights=path)
    assert all(torch.equal(net.features.state_dict()[k], v) for k, v in without_fc(resnet).items())


def test_named_weights_come_through_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    resnet = models.resnet18()
    asked: dict[str, object] = {}

    def download(url: str, **options: object) -> dict[str, Tensor]:
        asked.update(options, url=url)
        return resnet.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    net = CamNet("resnet18", weights="IMAGENET1K_V1")
    assert asked["url"] == models.ResNet18_Weights.IMAGENET1K_V1.url
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True
    assert torch.equal(net.features.state_dict()["conv1.weight"], resnet.conv1.weight)
    CamNet("resnet18", weights="DEFAULT")
    assert asked["url"] == models.ResNet18_Weights.DEFAULT.url


def test_an_impossible_download_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(TccamError, match=r"resnet18 DEFAULT .*no route to host.*path") as caught:
        CamNet("resnet18", weights="DEFAULT")
    assert caught.value.__cause__ is None  # one short traceback, not the chain of urllib


class _Trap:
    """Unpickles into a call, which a trusting loader makes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_calls_is_refused(tmp_path: Path) -> None:
    path, trace = tmp_path / "trap.pth", tmp_path / "trace"
    torch.save({"conv1.weight": _Trap(trace)}, path)
    with pytest.raises(TccamError, match=r"trap\.pth"):
        CamNet("resnet18", weights=path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "damage", ["absent", "empty", "noise", "truncated", "altered", "folder", "other"]
)
def test_an_unusable_file_is_named(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "noise":
        path.write_bytes(bytes(range(256)) * 8)
    elif damage == "truncated":
        save(CamNet().state_dict(), path)
        path.write_bytes(path.read_bytes()[:2000])
    elif damage == "altered":  # inside the names: not even text any more
        save(CamNet().state_dict(), path)
        path.write_bytes(path.read_bytes().replace(b"features", b"f\xff\xfetures"))
    elif damage == "folder":
        path.mkdir()
    elif damage == "other":
        save(CamNet(output_stride=16).state_dict(), path)
    with pytest.raises(TccamError, match=path.name) as caught:
        CamNet("small", weights=path)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("content", [{"epoch": 3}, {0: torch.zeros(1)}, [torch.zeros(1)]])
def test_a_checkpoint_that_is_no_state_dict_is_named(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    with pytest.raises(TccamError, match=r"checkpoint\.pth: expected a state dict"):
        CamNet(weights=path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(CamNet, "vgg16"), r"backbone: .*resnet50.*'vgg16'"),
        (partial(CamNet, "small", output_stride=2), r"output_stride: small supports 4, 8, 16, 32"),
        (partial(CamNet, "resnet18", output_stride=4), r"output_stride: .*8, 16, 32; got 4"),
        (partial(CamNet, num_classes=0), "num_classes"),
        (partial(CamNet, in_channels=0), "in_channels"),
        (partial(CamNet, "resnet18", weights="imagenet"), r"weights: .*IMAGENET1K_V1.*'imagenet'"),
        (partial(CamNet, "small", weights="DEFAULT"), r"weights: small takes a .*'DEFAULT'"),
        (partial(CamNet, "resnet18", weights="DEFAULT", in_channels=1), "in_channels"),
        (partial(CamNet, standardize=True, in_channels=1), "standardize: .* not 1 channels"),
    ],
)
def test_bad_arguments_are_named(make: partial[CamNet], message: str) -> None:
    with pytest.raises(TccamError, match=message):
        make()


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (torch.zeros(3, 64, 64), r"expected float \(B, 3, H, W\)"),
        (torch.zeros(1, 4, 64, 64), r"got torch.float32 \(1, 4, 64, 64\)"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 3, 3, 64), r"3×64 pixels are less than one cell of 4×4"),
        (torch.zeros(1, 3, 64, 0), "64×0 pixels"),
    ],
)
def test_bad_pictures_are_refused(picture: Tensor, message: str) -> None:
    with pytest.raises(TccamError, match=message):
        CamNet().eval()(picture)
