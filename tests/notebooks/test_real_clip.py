"""A chapter runs on the reader's own clip, and nothing but the data changes."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

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
