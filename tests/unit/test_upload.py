"""The chapter on your own video takes files by a button in Colab, and by name elsewhere."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks" / "your-own-video.ipynb"


def run_upload(tmp_path, **parameters):
    """What the cells of the parameters and of the upload define."""
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    [given] = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    [upload] = [c for c in cells if "files.upload()" in "".join(c["source"])]
    space = {}
    exec("from pathlib import Path\nimport tempfile\n" + "".join(given["source"]), space)
    space |= {"OUT": str(tmp_path)} | parameters
    exec("".join(upload["source"]), space)
    return space


def test_without_colab_the_names_in_the_parameters_count(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.colab", None)  # not installed
    assert run_upload(tmp_path)["embedded"]
    assert capsys.readouterr().out == ""
    space = run_upload(tmp_path, UPLOAD=True, BEFORE="a.mp4", AFTER="b.mp4")
    assert "write the names of your files into the parameters" in capsys.readouterr().out
    assert not space["embedded"]
    assert space["recordings"] == {"before": ["a.mp4"], "after": ["b.mp4"], "bg": []}


def test_in_colab_a_button_for_each_file(tmp_path, monkeypatch, capsys):
    chosen = iter([{"a.mp4": b""}, {"b.mp4": b""}, {}, {"c.mp4": b""}])  # no empty belt
    colab = ModuleType("google.colab")
    colab.files = ModuleType("google.colab.files")
    colab.files.upload = lambda: next(chosen)
    monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    assert run_upload(tmp_path)["embedded"]  # no button is shown unasked
    space = run_upload(tmp_path, UPLOAD=True)
    assert space["recordings"] == {"before": ["a.mp4"], "after": ["b.mp4"], "bg": []}
    assert space["SHIFT"] == "c.mp4"
    assert "EMPTY: choose a video, or cancel" in capsys.readouterr().out
    with pytest.raises(StopIteration):
        next(chosen)
