"""The commands, from a folder of pictures to masks: what they print, keep and refuse."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tccam import flow
from tccam.cli import apply, build_parser, common, data, main
from tccam.cli.train import _SUBJECTS
from tccam.data import BeltConfig, SyntheticBelt, VideoClip, write_video
from tccam.data.clip import CLASSES
from tccam.data.dataset import CLASS_FOLDERS, PICTURES, FolderConfig, FolderData, fitting_size
from tccam.data.recording import write_belt
from tccam.data.video import _Decoder, from_bgr
from tccam.errors import TccamError
from tccam.inference import accuracy, choose_threshold, evaluate
from tccam.network import CamNet
from tccam.store import RunStore
from tccam.suitability import examine
from tccam.training import TrainConfig, load_run

BELT = BeltConfig(height=32, width=64, frames=24, train=2, validation=1, test=1, lead_in=8)
TRAIN = ("--method", "plain", "--steps", "8", "--threads", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, stores and one run."""
    root = tmp_path_factory.mktemp("plant")
    write_belt(BELT, root / "data", progress=False)
    with pytest.MonkeyPatch.context() as patch:
        stores(patch, root)
        assert main(["train", str(root / "data"), *TRAIN]) == 0
    (made,) = (root / "runs").glob("*/run.json")
    (root / "key").write_text(made.parent.name)
    return root


def stores(patch, root):
    patch.setenv("TCCAM_RUNS", str(root / "runs"))
    patch.setenv("TCCAM_FLOWS", str(root / "flows"))


@pytest.fixture(autouse=True)
def here(place, monkeypatch, tmp_path):
    stores(monkeypatch, place)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(place):
    return (place / "key").read_text()


def said(capsys, *words):
    """What a command that succeeds says in JSON."""
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def torchrun(*words):
    """Two processes, as torchrun starts them."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*launcher, "--nproc-per-node=2", *map(str, words)],
        check=False, capture_output=True, text=True, timeout=500,
    )  # fmt: skip


@pytest.fixture
def several(place, tmp_path):
    """A video, one that is cut off, and a folder of pictures whose name seems to have an ending."""
    source = place / "data/test_set/images/before/video_000"
    frames = [from_bgr(cv2.imread(str(file))) for file in sorted(source.glob("*.png"))]
    write_video("one.avi", frames, 12)
    write_video("cut.mp4", frames, 12)
    whole = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    shutil.copytree(source, "video.000")
    return ["one.avi", "cut.mp4", "video.000"]


def pixels(made):
    """What the masks of a result hold, by name."""
    return {path.name: path.read_bytes() for path in Path(made["masks"]).glob("*.png")}


class TestTrain:
    def test_the_same_command_finds_its_run(self, place, run, capsys):
        found = said(capsys, "train", place / "data", *TRAIN)
        assert found["run"] == run
        assert found["config"]["data"]["root"] == str((place / "data").resolve())
        assert (found["config"]["data"]["height"], found["config"]["data"]["width"]) == (32, 64)
        assert found["config"]["num_classes"] == 3
        assert found["config"]["flow"] == "dis"
        assert len(list((place / "runs").glob("*/run.json"))) == 1

    def test_a_file_says_it_too_and_options_overrule_it(self, place, run, capsys, tmp_path):
        (tmp_path / "run.toml").write_text('method = "plain"\nsteps = 99\nthreads = 1\n')
        found = said(capsys, "train", place / "data", "--config", "run.toml", "--steps", "8")
        assert found["run"] == run
        record = place / "runs" / run / "run.json"
        assert said(capsys, "train", place / "data", "--config", record)["run"] == run

    def test_without_empty_frames_there_are_two_classes(self, tmp_path, capsys):
        write_belt(BELT, tmp_path / "two", progress=False)
        for folder in (tmp_path / "two").glob("train_val_dataset/*/bg"):
            folder.rename(folder.with_name(".bg"))
        found = said(capsys, "train", "two", *TRAIN[:3], "1", "--threads", "1")
        assert found["config"]["num_classes"] == 2

    @pytest.mark.slow
    def test_two_processes_train_as_one(self, place, tmp_path, monkeypatch, capsys):
        """Each sees half of the batch; its statistics are frozen: those of a half are others."""
        words = ["train", str(place / "data"), "--method", "both", "--steps", "4", "--batch", "12"]
        words += ["--lr", "0.01", "--threads", "1", "--json"]
        frozen = "CamNet.train = lambda self, mode=True: nn.Module.train(self, False)"
        (tmp_path / "two.py").write_text(
            "import sys\nfrom torch import nn\nfrom tccam.cli import main\n"
            f"from tccam.network import CamNet\n{frozen}\nsys.exit(main({words!r}))\n"
        )
        monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / "runs"))
        done = torchrun("two.py")
        assert done.returncode == 0, done.stderr
        two = json.loads(done.stdout)
        monkeypatch.setattr(CamNet, "train", lambda self, mode=True: nn.Module.train(self, False))
        one = said(capsys, *words[:-1])
        assert one["run"] != two["run"]  # with statistics that follow the batch it would be another
        curves = [
            {name: torch.tensor(curve) for name, curve in record["terms"].items()}
            for record in (RunStore(tmp_path / "runs").finished(run["run"]) for run in (one, two))
        ]
        assert len(curves[0]["loss"]) == 4
        for name in curves[0]:
            torch.testing.assert_close(curves[1][name], curves[0][name], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["train", "nowhere"], "nowhere: expected a folder with a data set, found nothing"),
            (["train", "DATA", "--config", "no.toml"], "no.toml: cannot be read"),
            (["train", "DATA", "--config", "bad.toml"], "bad.toml: there is no setting colour"),
            (["train", "DATA", "--steps", "0"], "TrainConfig.steps: expected"),
            (["train", "DATA", "--flow", "magic"], "TrainConfig.flow: expected one of"),
            (["evaluate", "zz", "DATA"], "zz: neither a run nor a folder"),
            (["evaluate", "RUN", "DATA", "--threshold", "40"], "--threshold: expected 0 … 1"),
            (["segment", "RUN", "no.mp4", "-o", "out"], "no.mp4: expected a video file"),
            (["segment", "RUN", "VIDEO", "-o", "out.mkv"], "out.mkv: expected a folder, or a"),
            (["segment", "RUN", "VIDEO", "-o", "a/out.mp4"], "a/out.mp4: its folder does not"),
            (["segment", "RUN", "VIDEO", "-o", "taken"], "taken"),
            (["segment", "RUN", "VIDEO", "-o", "out", "--threshold", "2"], "--threshold: expected"),
            (["explain", "RUN", "PICTURE"], "--background: the run was trained without"),
            (["explain", "RUN", "no.png"], "no.png: cannot be read"),
            (["segment", "VIDEO", "RUN", "-o", "out"], "RUN comes first: tccam segment RUN VIDEO"),
            (["segment", "no.mp4", "RUN", "-o", "out"], "RUN comes first: tccam segment RUN VIDEO"),
            (["explain", "PICTURE", "RUN"], "RUN comes first: tccam explain RUN PICTURE"),
            (["evaluate", "DATA", "RUN"], "RUN comes first: tccam evaluate RUN DIR"),
            (["export", "RUN", "-o", "map.pb"], "map.pb: expected a name that ends in .onnx or"),
            (["export", "RUN", "-o", "map.pt2", "--size", "64"], "--size: expected HxW, such as"),
            (["study", "show", "nothing"], "NAME: expected one of ablation"),
            (["data", "fetch", "nothing"], "NAME: expected one of ws2; got 'nothing'"),
            (["explain", "RUN", "PICTURE", "--background", "VIDEO", "-o", "a.txt"], "a.txt: exp"),
        ],
    )
    def test_refuses_in_one_line(self, place, run, capsys, tmp_path, words, message):
        (tmp_path / "bad.toml").write_text("colour = 1\n")
        (tmp_path / "taken").write_text("a file")
        video = place / "data/test_set/images/before/video_000"
        named = {"DATA": place / "data", "RUN": run, "VIDEO": video}
        named["PICTURE"] = sorted(video.glob("*.png"))[0]
        assert main([str(named.get(word, word)) for word in words]) == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("tccam: ")
        assert message in lines[-1]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.toml", "taken"]

    def test_says_how_good_it_is_and_what_comes_next(self, place, run, capsys, tmp_path):
        root = place / "data"
        known = FolderData(FolderConfig(str(root), 32, 64)).validation
        found = said(capsys, "train", root, *TRAIN)
        assert found["accuracy"] == accuracy(load_run(run).network, known, "divide")
        assert found["next"] == [
            f"tccam evaluate {run[:8]} {root}",
            f"tccam segment {run[:8]} VIDEO -o found.mp4 --threshold T",
        ]
        assert main(["train", str(root), *TRAIN]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"run {run}: 8 steps in ")
        assert lines[1] == f"accuracy on validation frames: {found['accuracy']:.3f}"
        assert lines[2:] == ["next:", *(f"  {line}" for line in found["next"])]

    @pytest.mark.parametrize("broken", ["missing", "one camera"])
    def test_without_validation_frames_there_is_no_accuracy(self, tmp_path, capsys, broken):
        write_belt(BELT, tmp_path / "my data", progress=False)
        split = tmp_path / "my data" / PICTURES["validation"]
        shutil.rmtree(split if broken == "missing" else split / "after")
        found = said(capsys, "train", "my data", *TRAIN[:3], "1", "--threads", "1")
        assert found["accuracy"] is None
        assert found["next"][0].endswith("'my data'")

    def test_one_number_is_the_shorter_side(self, place, capsys):
        short = said(capsys, "train", place / "data", *TRAIN[:3], "1", "--size", "16")
        assert [short["config"]["data"][side] for side in ("height", "width")] == [32, 32]
        both = said(capsys, "train", place / "data", *TRAIN[:3], "1", "--size", "32x32")
        assert both["run"] == short["run"]

    def test_its_help_has_every_setting_once_by_subject(self, capsys):
        names = [name for group in _SUBJECTS.values() for name in group]
        assert sorted([*names, "data"]) == sorted(field.name for field in fields(TrainConfig))
        with pytest.raises(SystemExit, match="0"):
            main(["train", "--help"])
        text = capsys.readouterr().out
        places = [text.index(f"\n{subject}:\n") for subject in _SUBJECTS]
        assert places == sorted(places)
        options = [line.split()[0] for line in text.splitlines() if line.startswith("  --")]
        settings = options[options.index("--backbone") :]
        assert [option.strip(",") for option in settings] == [
            "--" + name.replace("_", "-") for name in names
        ]


class TestEvaluate:
    def test_on_validation_it_chooses_the_threshold_that_test_frames_are_judged_at(
        self, place, run, capsys
    ):
        words = ("evaluate", run, place / "data", "--flow", "none")
        chosen, judged = said(capsys, *words, "--split", "validation"), said(capsys, *words)
        assert chosen["from"] == judged["from"] == "validation"
        assert chosen["threshold"] == judged["threshold"]
        assert chosen["iou_threshold"] == pytest.approx(chosen["iou_oracle"], abs=1e-6)

    def test_chooses_on_validation_and_scores_the_test_split(self, place, run, capsys):
        found = said(capsys, "evaluate", run[:6], place / "data", "--flow", "none")
        network = load_run(run, RunStore(place / "runs")).network
        data = FolderData(FolderConfig(str(place / "data"), 32, 64))
        threshold = choose_threshold(network, data.validation, "divide")
        report = evaluate(network, data.test, "divide", threshold)
        assert found["threshold"] == pytest.approx(threshold)
        assert found["from"] == "validation"
        for name in ("accuracy", "iou_argmax", "iou_threshold", "recall", "pxap"):
            assert found[name] == pytest.approx(getattr(report, name), nan_ok=True)

    def test_progress_goes_to_stderr(self, place, run, capsys):
        capsys.readouterr()
        assert main(["evaluate", run, str(place / "data"), "--flow", "none", "--json"]) == 0
        captured = capsys.readouterr()
        json.loads(captured.out)
        for split in ("validation", "test"):
            clips = getattr(FolderData(FolderConfig(str(place / "data"), 32, 64)), split)
            count = sum(len(clip) for clip in clips if clip.label == "before")
            assert f"{count}/{count}" in captured.err

    def test_neighbours_change_the_scores(self, place, run, capsys):
        alone = said(capsys, "evaluate", run, place / "data", "--flow", "none")
        helped = said(capsys, "evaluate", run, place / "data")
        assert alone["pxap"] != helped["pxap"]
        assert alone["accuracy"] == helped["accuracy"]

    def test_a_run_is_known_by_its_folder(self, place, run, capsys):
        words = (place / "data", "--threshold", "0.5", "--flow", "none")
        assert said(capsys, "evaluate", place / "runs" / run, *words)["from"] == "given"


class TestSegment:
    def test_a_folder_gets_masks_annotations_and_a_video(self, place, run, capsys, tmp_path):
        video = place / "data/test_set/images/before/video_000"
        made = said(capsys, "segment", run, video, "-o", "out")
        assert made["frames"] == BELT.frames
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
            "annotations.json", "overlay.webm", "png"
        ]  # fmt: skip
        assert len(VideoClip(made["video"])) == len(list((tmp_path / "out/png").glob("*.png")))
        pictures = place / "data/test_set/images/before/video_000"
        said(capsys, "segment", run, pictures, "-o", "named", "--threshold", "0.5")
        masks = sorted(path.stem for path in (tmp_path / "named/png").glob("*.png"))
        assert masks == sorted(path.stem for path in pictures.glob("*.png"))
        drawn = (tmp_path / "out/overlay.webm").stat().st_mtime_ns
        again = said(capsys, "segment", run, video, "-o", "out", "--category", "glass")
        assert again == made
        assert (tmp_path / "out/overlay.webm").stat().st_mtime_ns == drawn  # not once more
        annotations = json.loads((tmp_path / "out/annotations.json").read_text())
        assert annotations["categories"][0]["name"] == "glass"
        assert annotations["images"][3]["file_name"] == sorted(video.glob("*.png"))[3].name
        shutil.rmtree(tmp_path / "out/png")
        said(capsys, "segment", run, video, "-o", "out", "--threshold", "0.9")
        assert (tmp_path / "out/overlay.webm").stat().st_mtime_ns > drawn  # of other masks

    def test_several_videos_get_a_folder_each(self, run, several, capsys, tmp_path):
        assert main(["segment", run, *several, "-o", "out", "--flow", "none", "--json"]) == 1
        captured = capsys.readouterr()
        rows = json.loads(captured.out)
        assert [row["source"] for row in rows] == several
        assert [row.get("frames") for row in rows] == [BELT.frames, None, BELT.frames]
        assert rows[1]["error"] in captured.err
        assert "cut.mp4: expected a video" in rows[1]["error"]
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["one", "video.000"]
        assert main(["segment", run, *several[::2], "-o", "out", "--flow", "none"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 6
        for row in (rows[0], rows[2]):
            alone = said(capsys, "segment", run, row["source"], "-o", "alone", "--flow", "none")
            assert pixels(alone) == pixels(row)
            shutil.rmtree(tmp_path / "alone")

    @pytest.mark.slow
    def test_processes_share_the_videos(self, run, several, tmp_path):
        words = ["segment", run, *several, "-o", "out", "--flow", "none", "--json"]
        done = torchrun("-m", "tccam.cli", *words)
        assert done.returncode == 1
        rows = json.loads(done.stdout)
        assert [row["source"] for row in rows] == several
        assert ["error" in row for row in rows] == [False, True, False]
        assert done.stderr.count("tccam: cut.mp4") == 1  # one of the two has met it
        assert main([*words[:-1], "-o", "alone"]) == 1
        for name in ("one", "video.000"):
            there = {"masks": f"alone/{name}/png"}
            assert pixels({"masks": f"out/{name}/png"}) == pixels(there) != {}

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["one.avi", "cut.mp4", "-o", "out.webm"], "out.webm: expected a folder, for 2 videos"),
            (["one.avi", "a/one.mp4", "-o", "out"], "a/one.mp4: its masks and those of one.avi"),
        ],
    )
    def test_several_videos_need_a_folder_each(self, run, capsys, words, message):
        assert main(["segment", run, *words]) == 1
        assert message in capsys.readouterr().err

    def test_a_video_leaves_nothing_else(self, place, run, capsys, tmp_path):
        video = place / "data/test_set/images/before/video_000"
        assert said(capsys, "segment", run, video, "-o", "out.mp4", "--flow", "none")
        assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]

    def test_no_video_is_overwritten_by_mistake(self, place, run, capsys, tmp_path):
        frames = sorted((place / "data/test_set/images/before/video_000").glob("*.png"))
        pictures = [torch.from_numpy(cv2.imread(str(f))).permute(2, 0, 1) for f in frames]
        write_video("belt.avi", pictures, 12)
        before = (tmp_path / "belt.avi").read_bytes()
        for words in (["--overwrite"], []):
            assert main(["segment", run, "belt.avi", "-o", "belt.avi", *words]) == 1
            assert "this is the video itself" in capsys.readouterr().err
        assert (tmp_path / "belt.avi").read_bytes() == before
        (tmp_path / "out.avi").write_text("of somebody else")
        assert main(["segment", run, "belt.avi", "-o", "out.avi"]) == 1
        assert "out.avi: it exists" in capsys.readouterr().err
        assert said(capsys, "segment", run, "belt.avi", "-o", "out.avi", "--overwrite")


class TestExplain:
    def test_draws_beside_nobodys_data(self, place, run, capsys, tmp_path):
        video = place / "data/test_set/images/before/video_000"
        picture = sorted(video.glob("*.png"))[-1]
        before = sorted(video.iterdir())
        found = said(capsys, "explain", run, picture, "--background", video)
        assert sorted(video.iterdir()) == before
        drawn = cv2.imread(str(tmp_path / found["picture"]))
        assert drawn.shape == (32, 64, 3)
        empty = np.zeros((32, 64, 3), np.uint8)
        cv2.imwrite("black.png", empty)
        other = said(capsys, "explain", run, picture, "--background", "black.png", "-o", "b.png")
        assert other["before"] != found["before"]


@pytest.mark.parametrize(
    ("native", "short", "cell", "size"),
    [
        ((480, 640), 128, 32, (128, 160)),
        ((480, 640), 512, 64, (512, 640)),
        ((720, 1280), 512, 64, (512, 896)),
        ((360, 640), 512, 64, (384, 640)),
        ((20, 20), 128, 32, (32, 32)),
    ],
)
def test_a_size_fits_the_tiles_and_keeps_the_proportions(native, short, cell, size):
    assert fitting_size(native, short, cell) == size


@pytest.fixture(scope="module")
def belt(tmp_path_factory):
    """A recording that passes every check."""
    clip = SyntheticBelt(BeltConfig(train=1, validation=0, test=0)).train[0]
    return write_video(tmp_path_factory.mktemp("tape") / "belt.avi", iter(clip), fps=25)


class TestImport:
    def test_no_clip_for_validation_is_said(self, place, belt, tmp_path, capsys):
        words = ["data", "import", str(belt), "--to", str(tmp_path / "data"), "--label", "before"]
        assert main([*words, "--validation", "0.2"]) == 1
        assert "--validation: it takes clips, so it needs --clip-frames" in capsys.readouterr().err
        assert not (tmp_path / "data").exists()
        assert main([*words, "--validation", "0.2", "--clip-frames", "500"]) == 0
        assert "no clip for the validation split" in capsys.readouterr().err


class TestExamine:
    def test_it_says_what_the_library_finds(self, belt, capsys):
        clip = VideoClip(belt)
        found = said(capsys, "data", "examine", belt, "--size", "96x128")
        checks = examine(clip, size=(96, 128), progress=False)
        assert found == {"video": clip.name, "checks": [asdict(check) for check in checks]}

    def test_a_bad_recording_is_told_with_advice_and_a_status(self, tmp_path, capsys):
        grey = torch.full((20, 3, 32, 64), 90, dtype=torch.uint8)
        write_video(tmp_path / "grey.avi", iter(grey), fps=25)
        assert main(["data", "examine", str(tmp_path / "grey.avi")]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("good      static") for line in lines)
        worst = next(n for n, line in enumerate(lines) if line.startswith("bad       view"))
        assert "→ record more frames a second" in lines[worst + 1]

    def test_a_long_video_is_not_decoded_to_its_end(self, belt, capsys, monkeypatch):
        monkeypatch.setattr(VideoClip, "__len__", lambda self: pytest.fail("decoded"))
        monkeypatch.setattr(_Decoder, "skip", lambda self: pytest.fail("decoded"))
        read, calls = _Decoder.read, []
        monkeypatch.setattr(_Decoder, "read", lambda self: calls.append(1) or read(self))
        main(["data", "examine", str(belt), "--frames", "16"])
        assert "16/16" in capsys.readouterr().err
        assert len(calls) < 40  # of 60 frames: 16 are counted, and 16 are looked at

    @pytest.mark.parametrize("preset", ["fast", "full"])
    def test_it_examines_for_the_network_of_the_preset(self, preset):
        config = TrainConfig.preset(preset, "both")
        network = CamNet(config.backbone, output_stride=config.output_stride)
        assert data._STRIDES[preset] == network.output_stride
        assert config.pieces == 4


class TestExport:
    def test_its_ending_decides(self, run, capsys, tmp_path):
        found = said(capsys, "export", run[:8], "-o", "map.pt2", "--size", "32x64")
        assert found == {
            "file": "map.pt2", "run": run, "classes": "before,after,background", "size": "32x64",
            "background": "divide", "output_stride": "4",
        }  # fmt: skip
        assert torch.export.load("map.pt2").module()(torch.zeros(3, 3, 32, 64))[0].shape == (3, 3)

    def test_onnx_is_written_in_silence(self, place, run, capfd):
        assert main(["export", run, "-o", "map.onnx", "--frames"]) == 0
        assert capfd.readouterr() == ("map.onnx\n", "")


class TestRuns:
    def test_the_runs_of_the_store(self, place, run, capsys, monkeypatch):
        monkeypatch.setenv("TCCAM_RUNS", str(place / "listed"))
        shutil.copytree(place / "runs" / run, place / "listed" / run)
        listed = said(capsys, "runs")
        (found,) = listed["runs"]
        record = json.loads((place / "runs" / run / "run.json").read_text())
        assert listed["store"] == str(place / "listed")
        assert found.pop("date")[:2] == "20"
        assert found == {
            "run": run, "method": "plain", "steps": 8, "seconds": round(record["seconds"], 1),
            "data": str((place / "data").resolve()),
        }  # fmt: skip
        assert main(["runs"]) == 0
        head, line = capsys.readouterr().out.splitlines()
        assert head.split() == ["run", "date", "method", "steps", "seconds", "data"]
        assert line.startswith(f"{run[:8]}  20")
        assert line.endswith(found["data"])

    def test_the_latest_is_last_and_a_damaged_one_hides_none(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / "runs"))
        store = RunStore()
        for key in ("bb", "aa", "cc"):
            store.finish(key, {"config": {"method": "both", "steps": 1, "data": {}}, "seconds": 2})
        store.save("dd", "checkpoint", {"step": torch.tensor(1)})  # not finished
        (tmp_path / "runs/cc/run.json").write_text("{")
        os.utime(tmp_path / "runs/aa/run.json", (2e9, 2e9))
        assert main(["runs", "--json"]) == 0
        printed = capsys.readouterr()
        assert [found["run"] for found in json.loads(printed.out)["runs"]] == ["bb", "aa"]
        assert json.loads(printed.out)["runs"][0]["data"] == "belt"
        assert "cc/run.json: not a readable run record" in printed.err

    def test_an_empty_store_says_so(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / "none"))
        assert main(["runs"]) == 0
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", f"{tmp_path / 'none'}: no finished run\n")


SWIFT = """
import sys
from tccam.cli import main
for words in {words}:
    try:
        main(words)
    except SystemExit as end:
        print("status", end.code)
assert not {{"torch", "cv2", "numpy"}} & set(sys.modules)
"""


class TestWords:
    def test_help_and_mistakes_need_no_slow_import(self):
        words = [
            ["--help"], ["--version"], ["segment", "--help"], [], ["nothing"], ["export", "1f3a"],
            ["segment", "a", "b", "-o", "c", "--chunk", "x"], ["data", "import", "--label", "no"],
            ["evaluate", "a", "b", "--bad"], ["study", "show", "--bad"], ["runs", "--bad"],
            ["completion", "fish"],
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", SWIFT.format(words=words)],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = [line for line in done.stdout.splitlines() if line.startswith("status")]
        assert told == ["status 0"] * 3 + ["status 2"] * 9

    def test_what_help_offers_is_what_the_library_has(self):
        assert tuple(CLASS_FOLDERS) == data._LABELS
        assert tuple(PICTURES) == data._SPLITS
        assert flow.METHODS == data._METHODS
        assert apply._CLASSES == CLASSES

    @pytest.mark.parametrize("words", [["data", "check", "x"], ["runs"], ["segment", "a", "b"]])
    def test_an_unknown_option_gets_the_usage_of_its_command(self, capsys, words):
        with pytest.raises(SystemExit, match="2"):
            main([*words, "-o", "out", "--bad"])
        name = " ".join(words[:2] if words[0] == "data" else words[:1])
        assert capsys.readouterr().err.startswith(f"usage: tccam {name} [-h]")

    def test_the_version_is_the_packages(self, capsys):
        with pytest.raises(SystemExit, match="0"):
            main(["--version"])
        assert capsys.readouterr().out == f"tccam {version('tccam')}\n"

    def test_every_command_has_an_example(self):
        def leaves(parser):
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction):
                    for inner in action.choices.values():
                        yield from leaves(inner)
                    return
            yield parser

        found = list(leaves(build_parser()))
        assert len(found) > 15
        assert [parser.prog for parser in found if "example:" not in str(parser.epilog)] == []

    @pytest.mark.parametrize(
        ("text", "value"), [("512", 512), ("480x640", (480, 640)), ("9×16", (9, 16))]
    )
    def test_sizes(self, text, value):
        assert common.size(text) == value

    @pytest.mark.parametrize("text", ["", "x", "12x", "x12", "-3", "3.5", "1x2x3", "all"])
    def test_no_sizes(self, text):
        with pytest.raises(argparse.ArgumentTypeError, match="expected N or HxW"):
            common.size(text)

    def test_one_is_one(self):
        assert [common.counted(n, "error") for n in (0, 1, 2)] == [
            "0 errors", "1 error", "2 errors"
        ]  # fmt: skip

    def test_a_run_without_fault_gets_no_hint(self, tmp_path):
        with pytest.raises(TccamError) as caught:
            common.open_run("0123", "tccam segment RUN VIDEO")
        assert "RUN comes first" not in str(caught.value)


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
    def test_the_script_knows_every_option(self, shell, capsys):
        assert main(["completion", shell]) == 0
        script = capsys.readouterr().out
        for word in ("export", "validation", "ablation", "ws2"):
            assert word in script
        if shell != "tcsh":  # whose completion has no options below the first word
            assert "--jitter-together" in script

    @pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["train", "--wei"], ["--weights", "--weight-decay"]),
            (["study", "run", "abl"], ["ablation"]),
            (["segment", "1f3a", "mor"], ["morning.mp4"]),
            (["data", "check", "s"], ["sorting"]),
        ],
    )
    def test_bash_completes(self, words, found, capsys, tmp_path):
        (tmp_path / "morning.mp4").touch()
        (tmp_path / "sorting").mkdir()
        main(["completion", "bash"])
        (tmp_path / "script").write_text(capsys.readouterr().out)
        line = " ".join(["tccam", *words])
        asked = (
            f"source ./script; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
            f"_shtab_tccam tccam {words[-1]} {words[-2]}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        assert sorted(done.stdout.split()) == sorted(found)


@pytest.mark.parametrize("wrapped", [False, True])
def test_ctrl_c_is_no_traceback_where_a_class_is_made(wrapped, monkeypatch, capsys):
    """``__set_name__`` wraps what is raised in it, up to Python 3.11."""

    def check(_arguments):
        if not wrapped:
            raise KeyboardInterrupt
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr(data, "_check", check)
    assert main(["data", "check", "."]) == 130
    assert capsys.readouterr().err.startswith("tccam: interrupted")


def test_another_error_at_run_time_is_not_taken_for_ctrl_c(monkeypatch):
    def check(_arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(data, "_check", check)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["data", "check", "."])
