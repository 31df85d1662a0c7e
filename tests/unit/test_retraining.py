"""The panel that trains: its button, and what is left of it where no kernel answers."""

import sys
from dataclasses import replace

import pytest
import torch

from tccam.data import BeltConfig, SyntheticBelt
from tccam.errors import TccamError
from tccam.inference import predict, score_maps
from tccam.training import FrameSet, TrainConfig, fit
from tccam.widgets import RetrainPanel

TINY = BeltConfig(train=1, validation=1, test=1, frames=32, height=32, width=48)
CONFIG = TrainConfig(data=TINY, method="both", output_stride=8, steps=6, warmup=1, threads=1)
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return str(tmp_path_factory.mktemp("runs"))  # what one test has trained serves the others


@pytest.fixture
def panel(runs, monkeypatch):
    monkeypatch.setenv("TCCAM_RUNS", runs)
    belt = SyntheticBelt(TINY)
    clip = next(clip for clip in belt.validation if clip.label == "before")
    return RetrainPanel(CONFIG, belt, clip, frame=22)


def test_button_trains_with_the_weights_of_the_sliders(panel):
    pytest.importorskip("ipywidgets")
    alpha, beta, row, shown = panel.controls.children
    button, status = row.children
    still = shown.value
    alpha.value, beta.value = 4.0, 1.5
    assert shown.value == still  # nothing is trained until the button is pressed
    button.click()
    assert "Yours: α = 4, β = 1.5" in shown.value
    assert "The book&#x27;s: α = 2, β = 6" in shown.value
    assert status.value == "Trained 6 steps with seed 0."
    assert not button.disabled
    expected = fit(replace(CONFIG, alpha=4.0, beta=1.5), belt=panel.data, progress=False).network
    pictures = FrameSet([panel.clip], CONFIG.background).pictures(torch.tensor([panel.frame]))
    scores = score_maps(predict(expected, pictures).maps, panel.clip.size, 8)[0, 0]
    assert torch.allclose(panel.retrain(4.0, 1.5).scores, scores, atol=1e-5)
    assert not torch.allclose(panel.retrain(0.0, 0.0).scores, scores, atol=1e-3)


def test_failure_is_shown_and_the_button_comes_back(panel, monkeypatch):
    pytest.importorskip("ipywidgets")
    button, status = panel.controls.children[2].children
    monkeypatch.setattr(panel, "html", lambda *_: 1 / 0)
    button.click()
    assert status.value == "That did not work: division by zero"
    assert not button.disabled


def test_kernel_gets_controls_and_a_page_gets_the_still(panel, monkeypatch):
    pytest.importorskip("ipywidgets")
    bundle = panel._repr_mimebundle_()
    assert bundle[VIEW]["model_id"] == panel.controls.model_id
    assert bundle["text/html"].count("<img alt=") == 3
    assert "need a kernel" in bundle["text/html"]
    assert "<button" not in bundle["text/html"]
    assert bundle["text/plain"] == "RetrainPanel: α = 0, β = 0 beside α = 2, β = 6"
    monkeypatch.setitem(sys.modules, "google.colab", None)
    assert set(panel._repr_mimebundle_()) == {"text/plain", VIEW}


def test_without_ipywidgets_there_is_the_still(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert set(panel._repr_mimebundle_()) == {"text/plain", "text/html"}
    with pytest.raises(TccamError, match="ipywidgets: not installed"):
        panel.controls.children  # noqa: B018


def test_methods_and_frames_that_do_not_fit_are_refused(panel):
    with pytest.raises(TccamError, match="config: expected the method 'both', got 'plain'"):
        RetrainPanel(replace(CONFIG, method="plain"), panel.data, panel.clip, panel.frame)
    with pytest.raises(TccamError, match=r"frame: expected one .* got 99"):
        RetrainPanel(CONFIG, panel.data, panel.clip, 99)
