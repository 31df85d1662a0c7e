"""Files for other programs: the same numbers, whoever runs them, and nothing half-written."""

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tccam import background, export
from tccam.data import BeltConfig
from tccam.errors import TccamError
from tccam.network import CamNet
from tccam.store import RunStore
from tccam.training import TrainConfig, fit

BELT = BeltConfig(train=1, frames=16, height=32, width=40)
SMALL = TrainConfig(data=BELT, method="plain", steps=2, warmup=1, batch=6, threads=1)
CONFIGS = {
    "small": SMALL,
    "resnet18": replace(SMALL, backbone="resnet18", output_stride=8, standardize=True),
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def run(request, tmp_path_factory):
    """A run of two steps: its batch normalisation has seen pictures."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    return fit(CONFIGS[request.param], store=store, progress=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("runs"))
    return fit(SMALL, store=store, progress=False)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "map.onnx"
    export.save(run, path)
    return path


def pictures(count, height=32, width=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 3, height, width, generator=generator) - 1


FRAMES = (127 * (pictures(3) + 1)).byte()
EMPTY = (127 * (pictures(1, seed=1)[0] + 1)).floor()


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def expect(found, network, images):
    """Logits and maps as PyTorch computes them, to 1e-4 of the largest."""
    with torch.no_grad():
        expected = network(images)
    for mine, theirs in zip(found, expected, strict=True):
        bound = 1e-4 * float(theirs.abs().max())
        np.testing.assert_allclose(np.asarray(mine), theirs.numpy(), rtol=0, atol=bound)


class TestOnnx:
    @pytest.mark.parametrize("shape", [(1, 32, 40), (3, 32, 40), (2, 49, 24)])
    def test_another_runtime_sees_the_same(self, run, exported, shape):
        images = pictures(*shape)
        found = session(exported).run(["logits", "maps"], {"images": images.numpy()})
        expect(found, run.network, images)

    def test_batch_normalisation_is_not_trivial(self, run):
        norm = next(m for m in run.network.modules() if isinstance(m, torch.nn.BatchNorm2d))
        assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))

    def test_it_says_what_it_is(self, run, exported):
        known = session(exported)
        stride = run.network.output_stride
        assert known.get_modelmeta().custom_metadata_map == {
            "run": run.key,
            "classes": "before,after,background",
            "size": "32x40",
            "background": "divide",
            "output_stride": str(stride),
        }
        (images,) = known.get_inputs()
        assert (images.name, images.shape) == ("images", ["batch", 3, "height", "width"])
        assert [output.name for output in known.get_outputs()] == ["logits", "maps"]

    def test_a_size_can_be_fixed(self, small, tmp_path):
        export.save(small, tmp_path / "fixed.onnx", size=(32, 40), frames=True)
        fixed = session(tmp_path / "fixed.onnx")
        shapes = {value.name: value.shape for value in fixed.get_inputs()}
        assert shapes == {"frames": ["batch", 3, 32, 40], "background": [3, 32, 40]}
        found = fixed.run(None, {"frames": FRAMES.numpy(), "background": EMPTY.numpy()})
        expect(found, small.network, background.clean(FRAMES, EMPTY, "divide"))

    def test_it_can_take_frames(self, small, tmp_path):
        export.save(small, tmp_path / "frames.onnx", frames=True)
        found = session(tmp_path / "frames.onnx").run(
            None, {"frames": FRAMES.numpy(), "background": EMPTY.numpy()}
        )
        expect(found, small.network, background.clean(FRAMES, EMPTY, "divide"))

    def test_our_folders_are_not_in_it(self, exported):
        assert str(Path(export.__file__).parent).encode() not in exported.read_bytes()


class TestProgram:
    def test_it_is_loaded_again(self, run, tmp_path):
        facts = export.save(run, tmp_path / "map.pt2")
        told = {export.METADATA: ""}
        program = torch.export.load(tmp_path / "map.pt2", extra_files=told).module()
        assert json.loads(told[export.METADATA]) == facts
        assert facts["run"] == run.key
        for shape in ((1, 32, 40), (3, 49, 24)):
            expect(program(pictures(*shape)), run.network, pictures(*shape))

    @pytest.mark.parametrize("method", [m for m in background.METHODS if m != "mask"])
    def test_it_can_take_frames(self, small, tmp_path, method):
        run = replace(small, config=replace(SMALL, background=method))
        assert export.save(run, tmp_path / "map.pt2", frames=True)["background"] == method
        program = torch.export.load(tmp_path / "map.pt2").module()
        expect(program(FRAMES, EMPTY), run.network, background.clean(FRAMES, EMPTY, method))

    def test_our_folders_are_not_in_it(self, small, tmp_path):
        export.save(small, tmp_path / "map.pt2")
        here = str(Path(export.__file__).parent).encode()
        with zipfile.ZipFile(tmp_path / "map.pt2") as archive:
            assert not any(here in archive.read(name) for name in archive.namelist())


def test_the_network_stays_as_it_is(tmp_path):
    network = CamNet("small").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert export.save(network, tmp_path / "map.pt2") == {"output_stride": "4"}
    assert network.training
    assert all(value.requires_grad for value in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class TestRefuses:
    @pytest.mark.parametrize("name", ["map", "map.pt", "map.onnx.gz"])
    def test_another_ending(self, small, tmp_path, name):
        with pytest.raises(TccamError, match=r"map.*: expected a name that ends in .onnx or .pt2"):
            export.save(small, tmp_path / name)

    @pytest.mark.parametrize("package", ["onnx", "onnxscript"])
    def test_a_missing_package(self, small, tmp_path, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(TccamError, match=rf'needs {package}; pip install "tccam\[export\]"'):
            export.save(small, tmp_path / "map.onnx")
        assert export.save(small, tmp_path / "map.pt2")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"opset": 11}, "opset: expected 18 or later, got 11"),
            ({"size": (2, 40)}, "less than one cell"),
        ],
    )
    def test_what_cannot_be(self, small, tmp_path, options, message):
        with pytest.raises(TccamError, match=message):
            export.save(small, tmp_path / "map.onnx", **options)
        assert list(tmp_path.iterdir()) == []

    def test_frames_without_a_method_that_can_be_drawn(self, small, tmp_path):
        with pytest.raises(TccamError, match="frames: a network alone"):
            export.save(small.network, tmp_path / "map.pt2", frames=True)
        run = replace(small, config=replace(SMALL, background="mask"))
        with pytest.raises(TccamError, match="removes backgrounds by 'mask'"):
            export.save(run, tmp_path / "map.pt2", frames=True)


class TestFailure:
    def test_of_the_exporter(self, small, tmp_path, monkeypatch):
        def fail(*_arguments, **_options):
            raise RuntimeError("no such operator")

        monkeypatch.setattr(torch.export, "export", fail)
        with pytest.raises(TccamError, match=r"map.pt2: .* exported \(RuntimeError: no such op"):
            export.save(small, tmp_path / "map.pt2")
        assert list(tmp_path.iterdir()) == []

    def test_of_the_disk(self, small, tmp_path, monkeypatch):
        name = "map.pt2"
        (tmp_path / name).write_text("of yesterday")

        def full(_handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            export.save(small, tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "of yesterday"
