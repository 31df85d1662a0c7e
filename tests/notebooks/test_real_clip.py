"""Chapters run on the reader's own video, and nothing but the data changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import nbformat
import pytest

from tccam.data import open_clip, write_video

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT.parent / "shared" / "real_belt" / "fruit-and-vegetable.gif"


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell shows, without what it shows in it."""
    shown = []
    for output in cell.get("outputs", []):
        shown.append(output.get("name") or "+".join(sorted(output["data"])))
    return shown


def checked(cell: nbformat.NotebookNode) -> bool:
    return cell["source"].startswith("# NBVAL_CHECK_OUTPUT")


def test_the_belt_on_a_real_clip(tmp_path: Path) -> None:
    if not CLIP.is_file():
        pytest.skip("the real belt clip is not here: THE CHAPTER WAS NOT RUN ON REAL VIDEO")
    committed = (ROOT / "notebooks" / "the-belt.ipynb").read_bytes()
    command = ["tools/regenerate.py", "the-belt", "-p", "CLIP", str(CLIP), "--output", tmp_path]
    environment = os.environ | {
        "TCCAM_RUNS": str(tmp_path / "runs"),
        "TCCAM_FLOWS": str(tmp_path / "flows"),
    }
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
    assert (ROOT / "notebooks" / "the-belt.ipynb").read_bytes() == committed

    one = nbformat.reads(committed.decode(), as_version=4)
    other = nbformat.read(tmp_path / "the-belt.ipynb", as_version=4)
    injected = [c for c in other.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert len(injected) == 1
    assert "fruit-and-vegetable.gif" in injected[0].source
    cells = [c for c in other.cells if c is not injected[0]]
    assert [c.source for c in cells] == [c.source for c in one.cells]
    for ours, theirs in zip(one.cells, cells, strict=True):
        assert kinds(theirs) == kinds(ours), ours.source
        if checked(ours):  # what is said of the embedded belt stays true, to the letter
            assert [o.get("text") for o in theirs.outputs] == [o.get("text") for o in ours.outputs]
    shown = [o.text for c in cells for o in c.get("outputs", []) if o.output_type == "stream"]
    assert any("101 frames of 270×480" in text for text in shown)
    assert shown != [
        o.text for c in one.cells for o in c.get("outputs", []) if o.output_type == "stream"
    ]


def test_your_own_video_from_import_to_mask_video(tmp_path: Path) -> None:
    if not CLIP.is_file():
        pytest.skip("the real belt clip is not here: THE CHAPTER WAS NOT RUN ON REAL VIDEO")
    frames = list(open_clip(CLIP))
    write_video(tmp_path / "before.mp4", frames, fps=10)
    # The belt has no sorter: a mirror stands in for the other camera.
    write_video(tmp_path / "after.mp4", (frame.flip(-1) for frame in frames), fps=10)
    committed = {path: path.read_bytes() for path in (ROOT / "notebooks").glob("*.ipynb")}
    made = tmp_path / "made"
    parameters = {
        "BEFORE": tmp_path / "before.mp4", "AFTER": tmp_path / "after.mp4", "OUT": made,
        "SIZE": 96, "STEPS": 12,
    }  # fmt: skip
    words = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    command = ["tools/regenerate.py", "your-own-video", *words, "--output", str(tmp_path)]
    environment = os.environ | {
        "TCCAM_RUNS": str(tmp_path / "runs"),
        "TCCAM_FLOWS": str(tmp_path / "flows"),
    }
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
    assert {path: path.read_bytes() for path in (ROOT / "notebooks").glob("*.ipynb")} == committed

    masks = sorted((made / "masks").glob("*.png"))
    assert len(masks) == len(frames)
    assert {cv2.imread(str(mask), cv2.IMREAD_UNCHANGED).shape for mask in masks} == {(270, 480)}
    assert len(open_clip(made / "overlay.webm")) == len(frames)
    found = json.loads((made / "annotations.json").read_text(encoding="utf-8"))
    assert len(found["images"]) == len(frames)
    notebook = nbformat.read(tmp_path / "your-own-video.ipynb", as_version=4)
    shown = "".join(o.text for c in notebook.cells for o in c.get("outputs", []) if "text" in o)
    assert "no masks: threshold 0.15, a guess" in shown
    assert "\n0 errors" in shown
