"""Full disks, missing permissions and Ctrl-C: one line, nothing by halves, and it goes on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from tccam.cli import main
from tccam.data import BeltConfig, FlowStore, write_video
from tccam.data.recording import write_belt
from tccam.errors import TccamError
from tccam.store import RunStore
from tccam.training import TrainConfig, fit

BELT = BeltConfig(height=32, width=64, frames=12, train=1, validation=1, test=1, lead_in=4)
NOISE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 3, 64, 96), np.uint8))
NOBODY = 65534


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> Path:
    """A video, a data folder and a run."""
    root = tmp_path_factory.mktemp("plant")
    write_video(root / "belt.avi", NOISE, 10)
    write_belt(BELT, root / "data", progress=False)
    config = TrainConfig(data=BELT, steps=2, warmup=1, threads=1)
    fit(config, store=RunStore(root / "runs"), flows=FlowStore(root / "flows"), progress=False)
    return root


@pytest.fixture
def here(plant, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TCCAM_RUNS", str(plant / "runs"))
    monkeypatch.setenv("TCCAM_FLOWS", str(tmp_path / "flows"))
    return tmp_path


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by its place; of a WebM video, which has a number drawn anew each
    time it is written, its size."""
    return {
        path.relative_to(root).as_posix(): (
            b"%d" % path.stat().st_size if path.suffix == ".webm" else path.read_bytes()
        )
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.parent.name != ".locks"
    }


def weights(root: Path) -> dict[str, bytes]:
    """A store's files but for times."""
    return {k: v for k, v in tree(root).items() if k.endswith(".safetensors")}


def commands(plant: Path, out: Path) -> dict[str, list[str]]:
    """Commands that write into ``out``."""
    (run,) = (path.parent.name for path in (plant / "runs").glob("*/run.json"))
    video, data = str(plant / "belt.avi"), str(plant / "data")
    training = ["--method", "plain", "--steps", "60", "--threads", "1", "--backbone", "small"]
    clips = ["--label", "before", "--ending", "png", "--clip-frames", "15"]
    return {
        "import": ["data", "import", video, "--to", str(out / "made"), *clips],
        "belt": ["data", "belt", str(out / "made"), "--train", "1", "--validation", "0"],
        "masks": ["segment", run, video, "-o", str(out / "masks"), "--chunk", "15"],
        "video": ["segment", run, video, "-o", str(out / "made.avi"), "--flow", "none"],
        "train": ["train", data, *training],
    }


def line(capsys) -> str:
    """What a command that failed has said last, below its bars."""
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err.replace("\r", "\n").strip().splitlines()[-1]


# A full disk --------------------------------------------------------------------------------------


@contextmanager
def disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A small disk; without the right to mount one the test is skipped."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(place)]
    if os.name != "posix" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("name", ["import", "belt", "masks", "video", "train"])
def test_a_full_disk_is_named_and_the_same_command_goes_on(name, plant, here, monkeypatch, capsys):
    (here / "whole").mkdir()
    if name == "train":
        monkeypatch.setenv("TCCAM_RUNS", str(here / "whole"))
    assert main(commands(plant, here / "whole")[name]) == 0
    whole = tree(here / "whole")
    with disk(here / "disk", sum(map(len, whole.values())) // 2048) as small:
        if name == "train":
            monkeypatch.setenv("TCCAM_RUNS", str(small))
        command = commands(plant, small)[name]
        assert main(command) == 1
        said = line(capsys)
        assert said.startswith("tccam: ")
        assert str(small) in said
        for place, data in tree(small).items():  # whole, or a state that the next call reads
            if place.startswith(".made.avi.masks/"):
                continue  # what the next call goes on with
            if place.endswith((".png", ".jpg", ".avi", ".mp4", "weights.safetensors")):
                assert data == whole[place], place
            else:
                assert Path(place).name in (
                    ".tccam.json", "segment.json", ".background.safetensors",
                    "checkpoint.safetensors",
                ), place  # fmt: skip
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert main(command) == 0
        if name == "train":
            assert weights(small) == weights(here / "whole")
        else:
            assert tree(small) == whole


@pytest.mark.parametrize("name", ["made.avi", "made.mp4"])
def test_a_video_is_whole_or_not_there(name, here):
    with disk(here / "disk", 100) as small:
        with pytest.raises((TccamError, OSError), match=name) as caught:
            write_video(small / name, NOISE, 10)
        assert "\n" not in str(caught.value)
        assert list(small.iterdir()) == []


# Permissions --------------------------------------------------------------------------------------


@contextmanager
def nobody(*open_: Path) -> Iterator[None]:
    """Without root's rights, to whom every door is open; but for those above these places."""
    if os.geteuid() != 0:
        yield
        return
    folders = {folder: folder.stat().st_mode for place in open_ for folder in place.parents}
    for folder, mode in folders.items():  # the temporary folders of root are root's alone
        folder.chmod(mode | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in folders.items():
            folder.chmod(mode)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
@pytest.mark.parametrize("name", ["import", "belt", "masks", "video", "train"])
def test_where_nothing_may_be_written(name, plant, here, monkeypatch, capsys):
    locked = here / "locked"
    locked.mkdir(mode=0o555)
    if name == "train":
        monkeypatch.setenv("TCCAM_RUNS", str(locked / "runs"))
    with nobody(plant / "runs", locked):
        assert main(commands(plant, locked)[name]) == 1
    said = line(capsys)
    assert said.startswith("tccam: ")
    assert "locked" in said
    assert list(locked.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
def test_what_may_not_be_read(plant, here, monkeypatch, capsys):
    shutil.copytree(plant / "data", here / "data")
    shutil.copytree(plant / "runs", here / "runs")
    shutil.copy(plant / "belt.avi", here / "belt.avi")
    for path in (here, *here.rglob("*")):
        path.chmod(0o777)
    monkeypatch.setenv("TCCAM_RUNS", str(here / "runs"))
    (run,) = (path.parent for path in (here / "runs").glob("*/run.json"))
    picture = here / "data/train_val_dataset/training/before/video_000/frame_0006.png"
    table = [
        (here / "belt.avi", ["data", "import", "belt.avi", "--to", "made", "--label", "after"]),
        (picture, ["train", "data", "--method", "plain", "--steps", "1"]),
        (picture.parent, ["train", "data", "--method", "plain", "--steps", "1"]),
        (picture, ["explain", str(run), str(picture)]),
        (run / "run.json", ["segment", str(run), "data/test_set/images/before/video_000",
                            "-o", "out"]),
        (run / "weights.safetensors", ["explain", str(run), str(picture)]),
        (here, ["data", "check", "data"]),
    ]  # fmt: skip
    for victim, command in table:
        before, mode = sorted(os.listdir(here)), victim.stat().st_mode
        victim.chmod(0o000)
        try:
            with nobody(here):
                assert main(command) == 1
        finally:
            victim.chmod(mode)
        said = line(capsys)
        assert said.startswith("tccam: ")
        assert victim.name in said or victim == here, said
        assert sorted({*os.listdir(here)} - {"flows"}) == [n for n in before if n != "flows"]


# Ctrl-C -------------------------------------------------------------------------------------------

# It has imported all that a command needs, and starts one in a fork of itself at each line: then
# the moments fall into the work.
SERVER = """
import json, os, signal, sys
from tccam.cli import apply, data, main, train
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
for line in sys.stdin:
    runs, error, command = json.loads(line)
    if not (child := os.fork()):
        os.environ["TCCAM_RUNS"] = runs
        os.dup2(os.open(error, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        os._exit(main(command))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as started:
        assert started.stdout.readline() == "ready\n"
        yield started
        started.stdin.close()  # and it ends


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks of POSIX")
@pytest.mark.parametrize("name", ["import", "masks", "train"])
def test_ctrl_c_at_any_moment(name, server, plant, here):
    def run(out: str, after: float | None = None) -> tuple[int, str]:
        """Status and last words of a command, with Ctrl-C after some seconds."""
        runs = here / out / "runs" if name == "train" else plant / "runs"
        server.stdin.write(
            json.dumps((str(runs), str(here / "error"), commands(plant, here / out)[name]))
        )
        server.stdin.write("\n")
        server.stdin.flush()
        child = int(server.stdout.readline())
        if after is not None:
            time.sleep(after)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGINT)
        return int(server.stdout.readline()), (here / "error").read_text()

    begun = time.monotonic()
    assert run("whole")[0] == 0
    lasts, moments, cuts = time.monotonic() - begun, random.Random(0), 0
    for _ in range(5):
        status, error = run("cut", moments.uniform(0.05, 0.7) * lasts)
        assert "Traceback" not in error
        if status == 0:
            break
        assert status == 130, error
        assert error.strip().splitlines()[-1].startswith("tccam: interrupted")
        assert not list((here / "cut").rglob("*.unfinished"))
        cuts += 1
    assert cuts
    assert run("cut")[0] == 0
    if name == "train":
        assert weights(here / "cut") == weights(here / "whole")
    else:
        assert tree(here / "cut") == tree(here / "whole")


def test_ctrl_c_before_anything_has_begun(here):
    script = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tccam.cli import main
print("ready", flush=True)
sys.exit(main(["study", "list"]))
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.3)  # of the seconds that PyTorch takes to import
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, "")
    assert error.startswith("tccam: interrupted")
    assert "Traceback" not in error
