"""Flows and backgrounds that are computed ahead: files to trust, and the same training."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tccam import flow as optical
from tccam.background import median_background
from tccam.cli import main
from tccam.data import (
    BeltConfig,
    FlowStore,
    FolderConfig,
    FolderData,
    LabelledFolder,
    SyntheticBelt,
)
from tccam.data.precompute import static_picture, write_backgrounds, write_flows
from tccam.data.recording import write_belt
from tccam.data.tree import scan
from tccam.data.video import write_video
from tccam.errors import TccamError
from tccam.flow import endpoint_error, read_flo, resize, write_flo
from tccam.store import RunStore
from tccam.training import TrainConfig, fit
from tccam.training.loop import run_key

BELT = BeltConfig(
    height=32, width=40, frames=9, train=1, validation=1, test=1, lead_in=0, rotation=8.0, speed=3.3
)
EMPTY = replace(BELT, lead_in=4)
BEFORE = "train_val_dataset/training/before/video_000"
FORWARD, BACKWARD = f"optical_flows/{BEFORE}", f"optical_flows_backward/{BEFORE}"


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Path:
    """A belt with its exact flows."""
    root = tmp_path_factory.mktemp("exact")
    write_belt(BELT, root, flows=True, progress=False)
    return root


@pytest.fixture
def root(exact, tmp_path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(exact, tmp_path / "data"))


def video(root: Path, **config) -> LabelledFolder:
    return FolderData(FolderConfig(str(root), **config)).train[0]


def clip(config: BeltConfig = BELT):
    return SyntheticBelt(config).train[0]


class TestReading:
    def test_what_was_written_comes_back(self, exact):
        found, belt = video(exact), clip()
        for t in range(8):
            assert torch.equal(found.flow(t, t + 1), belt.flow(t, t + 1))
            assert torch.equal(found.flow(t + 1, t), belt.flow(t + 1, t))

    def test_without_backward_files_the_way_back_is_the_inverted_one(self, root):
        shutil.rmtree(root / "optical_flows_backward")
        found, belt, errors, negated = video(root), clip(), [], []
        for t in range(1, 9):
            truth, seen = belt.flow(t, t - 1), belt.visible(t, t - 1)
            back = found.flow(t, t - 1)
            known = (back.abs() <= optical.UNKNOWN).all(0)
            assert (known & seen).sum() >= 0.99 * seen.sum()
            errors.append(endpoint_error(back, truth, seen))
            negated.append(endpoint_error(-belt.flow(t - 1, t), truth, seen))
        assert max(errors) < 0.01
        assert sum(errors) < 0.3 * sum(negated)  # which lies on the other frame's grid

    def test_a_single_backward_file_is_taken(self, root):
        for file in (root / BACKWARD).glob("*.flo"):
            if file.name != "frame_0004.flo":
                file.unlink()
        found, belt = video(root), clip()
        assert torch.equal(found.flow(3, 2), belt.flow(3, 2))
        assert not torch.equal(found.flow(4, 3), belt.flow(4, 3))

    def test_flows_are_resized_with_the_pictures(self, exact):
        found, belt = video(exact, height=16, width=30), clip()
        assert torch.equal(found.flow(2, 3), resize(belt.flow(2, 3), (16, 30)))

    def test_a_gap_needs_no_flow_and_shows_nothing(self, root, tmp_path):
        (root / BEFORE / "frame_0005.png").unlink()
        for number in (4, 5):
            (root / FORWARD / f"frame_{number:04d}.flo").unlink()
        found = FlowStore(tmp_path / "flows").get(video(root), "files", 8, progress=False)
        whole = FlowStore(tmp_path / "flows").get(clip(), "exact", 8)
        assert not found.visible[3, 1].any()
        assert not found.visible[4, 0].any()
        assert (found.flow[3, 1] > 1000).all()
        assert (found.flow[4, 0] > 1000).all()
        assert torch.equal(found.flow[:3], whole.flow[:3])
        assert torch.equal(found.flow[5:], whole.flow[6:])

    def test_what_nobody_knows_is_seen_nowhere(self, root, tmp_path):
        file = root / FORWARD / "frame_0003.flo"
        flow = read_flo(file)
        flow[0, 8, 16], flow[1, 16, 8], flow[0, 16, 16] = 1.7e9, math.nan, math.inf
        write_flo(file, flow)
        found = FlowStore(tmp_path).get(video(root), "files", 8, progress=False)
        for row, column in ((1, 2), (2, 1), (2, 2)):
            assert not found.visible[2, 1, row, column]
        assert found.flow.isfinite().all()
        _, valid = optical.warp(torch.zeros(1, 1, 4, 5), found.flow[2, 1][None])
        assert [bool(valid[0, 0, y, x]) for y, x in ((1, 2), (2, 1), (2, 2))] == [False] * 3

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda f: f.unlink(), r"0004.flo: expected the flow from frame 4 to 5, found nothing"),
            (lambda f: shutil.rmtree(f.parent), r"frame_0001.flo: expected the flow from frame 1"),
            (lambda f: f.write_bytes(f.read_bytes()[:-9]), r"0004.flo: 32×40 vectors are 10252 b"),
            (lambda f: f.write_bytes(b""), r"0004.flo: expected a .flo file"),
            (lambda f: write_flo(f, torch.zeros(2, 16, 20)),
             r"0004.flo: expected \(32, 40\) pixels .* found \(16, 20\)"),
            (lambda f: f.rename(f.with_name("flow4.flo")), r"flow4.flo: expected a name <prefix>"),
        ],
    )  # fmt: skip
    def test_damage_is_named(self, root, tmp_path, damage, message):
        damage(root / FORWARD / "frame_0004.flo")
        with pytest.raises(TccamError, match=message) as caught:
            FlowStore(tmp_path).get(video(root), "files", 8, progress=False)
        assert "\n" not in str(caught.value)

    def test_only_neighbours_in_a_folder_have_files(self, exact, tmp_path):
        with pytest.raises(TccamError, match="only a video of a data folder has files of flow"):
            FlowStore(tmp_path).get(clip(), "files", 8)
        with pytest.raises(TccamError, match="expected a neighbour of 3, got 5"):
            video(exact).flow(3, 5)


class TestStore:
    def test_files_of_a_method_are_that_method(self, root, tmp_path):
        for folder in ("optical_flows", "optical_flows_backward"):
            shutil.rmtree(root / folder)
        write_flows(root, progress=False)
        store = FlowStore(tmp_path / "flows")
        for mirrored in ((False, False), (True, True)):
            files, dis = (
                store.get(video(root), method, 8, mirrored=mirrored, progress=False)
                for method in ("files", "dis")
            )
            assert torch.equal(files.flow, dis.flow)
            assert torch.equal(files.visible, dis.visible)
            assert files.visible.any()

    def test_the_name_follows_the_files(self, root, tmp_path):
        store = FlowStore(tmp_path / "flows")

        def count(method: str = "files", **config) -> int:
            store.get(video(root, **config), method, 8, progress=False)
            return len(list((tmp_path / "flows").iterdir()))

        assert [count(), count()] == [1, 1]
        assert count(height=16, width=20) == 2
        os.utime(root / FORWARD / "frame_0002.flo", (1, 1))
        assert count() == 3
        shutil.rmtree(root / BACKWARD)
        assert count() == 4
        shutil.copytree(root, tmp_path / "copy")
        store.get(video(tmp_path / "copy"), "files", 8, progress=False)
        assert count() == 5  # files of one size and date are others in another folder
        assert count("dis") == 6
        median = store.get(video(root), "dis", 8).flow
        picture = root / "backgrounds" / f"{BEFORE}.png"
        cv2.imwrite(str(picture), np.zeros((32, 40, 3), np.uint8))
        assert count("dis") == 7
        assert not torch.equal(store.get(video(root), "dis", 8).flow, median)  # helped by another
        assert count() == 7


class TestTraining:
    CONFIG = TrainConfig(
        data=BELT, background="none", num_classes=2, batch=4, method="temporal", steps=3, warmup=1,
        threads=1, ramp=0.0,
    )  # fmt: skip

    def trained(self, root: Path, tmp_path: Path, **changes) -> Tensor:
        store, flows = RunStore(tmp_path / "runs"), FlowStore(tmp_path / "flows")
        data = FolderData(FolderConfig(str(root))) if "data" not in changes else None
        config = replace(self.CONFIG, **{"data": data.config, "flow": "files"} if data else {})
        return fit(config, belt=data, store=store, flows=flows, progress=False).losses

    def test_the_belts_files_train_as_the_belt(self, root, tmp_path):
        belt = self.trained(root, tmp_path, data=BELT)
        torch.testing.assert_close(self.trained(root, tmp_path), belt, rtol=1e-5, atol=0)
        shutil.rmtree(root / "optical_flows_backward")
        inverted = self.trained(root, tmp_path)
        torch.testing.assert_close(inverted, belt, rtol=0.01, atol=0)
        assert not torch.equal(inverted, belt)

    def test_a_run_knows_its_flows(self, root):
        config = replace(self.CONFIG, data=FolderData(FolderConfig(str(root))).config)
        files, dis, plain = (
            replace(config, **changes)
            for changes in (
                {"flow": "files"},
                {"flow": "dis"},
                {"flow": "files", "method": "plain"},
            )
        )
        before = [run_key(c) for c in (files, dis, plain)]
        file = root / FORWARD / "frame_0002.flo"
        write_flo(file, read_flo(file) + 1)
        after = [run_key(c) for c in (files, dis, plain)]
        assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True]
        assert FolderData(config.data).config == config.data


class TestWriteFlows:
    @pytest.fixture
    def bare(self, tmp_path) -> Path:
        """A belt with gaps, without anything computed."""
        root = tmp_path / "bare"
        write_belt(EMPTY, root, backgrounds=False, progress=False)
        return root

    def files(self, root: Path) -> dict[str, bytes]:
        return {
            str(file.relative_to(root)): file.read_bytes()
            for file in sorted(root.glob("optical_flows*/**/*.flo"))
        }

    def test_neighbours_get_the_estimated_flow_both_ways(self, bare):
        made = write_flows(bare, "farneback", progress=False)
        assert scan(bare, progress=False).problems == ()
        pairs = {v.path: (v.flows, v.backward) for v in scan(bare, progress=False).videos}
        assert all(ahead == back for ahead, back in pairs.values())
        assert sum(w.frames for w in made) == sum(map(sum, pairs.values())) > 0
        found = FolderData(FolderConfig(str(bare))).train[0]
        flows = list(
            optical.estimate_clip(
                found, "farneback", background=median_background(found.frames), progress=False
            )
        )
        assert torch.equal(found.flow(0, 1), flows[0][1])
        assert torch.equal(found.flow(1, 0), flows[1][0])

    def test_no_flow_crosses_a_gap(self, bare):
        (bare / "test_set/images/before/video_000/frame_0004.png").unlink()
        write_flows(bare, splits=["test"], progress=False)
        place = "optical_flows{}/test_set/images/before/video_000"
        ahead, back = (sorted(f.name for f in (bare / place.format(k)).glob("*.flo"))
                       for k in ("", "_backward"))  # fmt: skip
        assert ahead == [f"frame_{n:04d}.flo" for n in (1, 2, 5, 6, 7, 8)]
        assert back == [f"frame_{n:04d}.flo" for n in (2, 3, 6, 7, 8, 9)]
        assert not (bare / "optical_flows/train_val_dataset").exists()

    @pytest.mark.parametrize("point", [1, 2, 7, 16])
    def test_an_interruption_goes_on_to_the_same_bytes(self, bare, monkeypatch, point):
        write_flows(bare, progress=False)
        expected = self.files(bare)
        for folder in ("optical_flows", "optical_flows_backward"):
            shutil.rmtree(bare / folder)
        write, written = optical.write_flo, []

        def stop(path: Path, flow: Tensor) -> None:
            if len(written) == point:
                raise KeyboardInterrupt
            written.append(path)
            write(path, flow)

        monkeypatch.setattr(optical, "write_flo", stop)
        with pytest.raises(KeyboardInterrupt):
            write_flows(bare, progress=False)
        assert len(self.files(bare)) == point
        half = bare / FORWARD / "frame_0005.flo"  # of another program that was killed
        if half.exists():
            half.write_bytes(half.read_bytes()[:100])
        written.clear()
        monkeypatch.setattr(optical, "write_flo", lambda p, f: (written.append(p), write(p, f)))
        write_flows(bare, progress=False)
        assert self.files(bare) == expected
        assert len(written) <= len(expected) - point + 3
        assert not any(made.new for made in write_flows(bare, progress=False))

    def test_another_way_is_refused_or_overwrites(self, bare, monkeypatch):
        write_flows(bare, splits=["test"], progress=False)
        before = self.files(bare)
        for way in ({"method": "farneback"}, {"assisted": False}):
            with pytest.raises(TccamError, match=r"flows were estimated with .'method': 'dis'"):
                write_flows(bare, splits=["test"], progress=False, **way)
        assert self.files(bare) == before
        write_flows(bare, "farneback", splits=["test"], overwrite=True, progress=False)
        after = self.files(bare)
        assert before.keys() == after.keys()
        assert all(before[name] != after[name] for name in before)
        write_flows(bare, "farneback", splits=["test"], progress=False)
        write_backgrounds(bare, splits=["test"], progress=False)
        with pytest.raises(TccamError, match=r"now .*'background': "):
            write_flows(bare, "farneback", splits=["test"], progress=False)

    def test_an_interrupted_overwriting_leaves_no_mixture(self, bare, monkeypatch):
        test = {"root": bare, "splits": ["test"], "progress": False}
        write_flows(**test, method="farneback")
        expected = self.files(bare)
        write_flows(**test, overwrite=True)
        write, written = optical.write_flo, []

        def stop(path: Path, flow: Tensor) -> None:
            if len(written) == 5:
                raise KeyboardInterrupt
            written.append(path)
            write(path, flow)

        with monkeypatch.context() as patch:
            patch.setattr(optical, "write_flo", stop)
            with pytest.raises(KeyboardInterrupt):
                write_flows(**test, method="farneback", overwrite=True)
        shutil.rmtree(bare / "optical_flows/test_set/images/after")
        shutil.rmtree(bare / "optical_flows_backward/test_set/images/after")
        write_flows(**test, method="farneback")
        assert self.files(bare) == expected

    def test_flows_that_came_with_the_data_are_kept(self, root):
        before = self.files(root)
        shutil.rmtree(root / "optical_flows_backward")
        made = write_flows(root, progress=False)
        assert not any(written.new for written in made)
        assert not (root / "optical_flows_backward").exists()
        assert all(self.files(root)[name] == before[name] for name in self.files(root))
        write_flows(root, splits=["training"], overwrite=True, progress=False)
        assert self.files(root)[f"{FORWARD}/frame_0001.flo"] != before[f"{FORWARD}/frame_0001.flo"]

    def test_a_disk_that_is_too_small(self, bare, monkeypatch):
        usage = shutil.disk_usage(bare)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(TccamError, match=r"the flows take 0\.001 GB more, 0\.000 GB are free"):
            write_flows(bare, progress=False)
        assert self.files(bare) == {}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"method": "magic"}, "method: expected one of"),
            ({"weights": "a.pth"}, "weights: dis has none"),
            ({"splits": ["train"]}, "splits: expected some of training, validation, test; got 'tr"),
            ({"jobs": 0}, "threads: expected at least 1"),
            ({"root": "nowhere"}, "nowhere: expected a folder with a data set"),
        ],
    )
    def test_refuses(self, bare, arguments, message):
        with pytest.raises(TccamError, match=message):
            write_flows(**{"root": bare, "progress": False, **arguments})
        assert self.files(bare) == {}


class TestBackgrounds:
    def test_the_belts_are_those_that_it_trains_with(self, tmp_path):
        write_belt(EMPTY, tmp_path, progress=False)
        belts = {f"{c.label}_video_000": c.background for c in SyntheticBelt(EMPTY).train}
        runs = [v for v in FolderData(FolderConfig(str(tmp_path))).train if v.label == "background"]
        assert runs
        for run in runs:
            whole = belts[run.name.split("/")[1][:-5]]
            assert (run.background - whole).abs().max() <= 0.5
            assert (run.background - median_background(run.frames)).abs().max() > 2

    def test_a_median_is_written_and_taken(self, exact, tmp_path):
        root = Path(shutil.copytree(exact, tmp_path / "data"))
        shutil.rmtree(root / "backgrounds")
        native, small = median_background(video(root).frames), video(root, height=16, width=20)
        estimated = small.background
        made = write_backgrounds(root, progress=False)
        assert [w.frames for w in made] == [9] * 6
        assert scan(root, progress=False).problems == ()
        assert torch.equal(video(root).background, native.round())
        taken = video(root, height=16, width=20).background
        assert (taken - native.reshape(3, 16, 2, 20, 2).mean((2, 4))).abs().max() <= 1
        assert not torch.equal(taken, estimated)

    def test_what_is_there_is_kept(self, root):
        picture = video(root).backdrop
        cv2.imwrite(str(picture), np.full((32, 40, 3), (1, 2, 3), np.uint8))
        content = FolderData(FolderConfig(str(root))).config.content
        assert not any(w.new for w in write_backgrounds(root, progress=False))
        assert video(root).background[:, 0, 0].tolist() == [3, 2, 1]
        assert all(w.new for w in write_backgrounds(root, only="before/*", overwrite=True))
        assert video(root).background[:, 0, 0].tolist() != [3, 2, 1]
        assert FolderData(FolderConfig(str(root))).config.content != content

    def test_a_video_can_be_given_anothers(self, root):
        source = root / BEFORE
        write_backgrounds(root, only="after/*", source=source, overwrite=True, progress=False)
        median = median_background(video(root).frames).round()
        before, after = FolderData(FolderConfig(str(root))).train
        assert not torch.equal(before.frames[0], after.frames[0])
        assert torch.equal(before.background, median)  # as the belt has written it
        assert torch.equal(after.background, median)

    def test_sources(self, tmp_path):
        levels = torch.tensor([20, 40, 40]).byte().view(3, 1, 1, 1).expand(3, 3, 32, 48)
        film = write_video(tmp_path / "empty.avi", levels, 10)
        assert (static_picture(film, (32, 48)) - 40).abs().max() <= 3
        cv2.imwrite(str(tmp_path / "empty.jpg"), np.full((32, 48, 3), 77, np.uint8))
        found = static_picture(tmp_path / "empty.jpg", (16, 24))
        assert found.shape == (3, 16, 24)
        assert (found - 77).abs().max() <= 1

    def test_refuses(self, root):
        with pytest.raises(TccamError, match=r"only: no video of training, .* fits 'c\*'"):
            write_backgrounds(root, only="c*", progress=False)
        picture = video(root).backdrop
        cv2.imwrite(str(picture), np.zeros((16, 20, 3), np.uint8))
        with pytest.raises(TccamError, match=r"video_000.png: expected \(32, 40\) pixels"):
            _ = video(root).background
        picture.write_bytes(b"")
        with pytest.raises(TccamError, match=r"video_000.png: expected a picture, found 0 bytes"):
            _ = video(root).background

    def test_the_content_follows_those_of_training_and_validation(self, root):
        def content() -> str:
            return FolderData(FolderConfig(str(root))).config.content

        seen = [content()]
        for split, changed in (("training", True), ("validation", True), ("test", False)):
            folder = "test_set/images" if split == "test" else f"train_val_dataset/{split}"
            os.utime(root / "backgrounds" / folder / "after/video_000.png", (1, 1))
            seen.append(content())
            assert (seen[-1] != seen[-2]) is changed


class TestCommands:
    def said(self, capsys, *words: object) -> dict:
        capsys.readouterr()
        assert main([*map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    def test_flow(self, root, capsys, monkeypatch):
        words = ("data", "flow", root, "--method", "farneback", "--split", "training")
        assert not any(v["new"] for v in self.said(capsys, *words)["videos"])
        made = self.said(capsys, *words, "--overwrite", "--jobs", 1)["videos"]
        assert [(v["frames"], v["new"]) for v in made] == [(8, True)] * 4
        assert main([*map(str, words)]) == 0
        output = capsys.readouterr()
        assert output.out.startswith("     8 flows  ")
        assert "flows: 0.000 GB to write, " in output.err
        assert main([*map(str, words), "--plain"]) == 1
        assert "its flows were estimated with" in capsys.readouterr().err

    def test_background(self, root, capsys):
        words = ("data", "background", root, "--only", "after/*", "--from", root / BEFORE)
        assert not any(v["new"] for v in self.said(capsys, *words)["videos"])
        made = self.said(capsys, *words, "--overwrite")["videos"]
        assert [(Path(v["path"]).parts[-2:], v["new"]) for v in made] == [
            (("after", "video_000.png"), True)
        ] * 3

    def test_a_run_trains_and_is_scored_on_files(self, root, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("TCCAM_RUNS", str(tmp_path / "runs"))
        monkeypatch.setenv("TCCAM_FLOWS", str(tmp_path / "flows"))
        run = self.said(capsys, "train", root, "--method", "temporal", "--flow", "files",
                        "--steps", 2, "--threads", 1)  # fmt: skip
        assert run["config"]["flow"] == "files"
        scores = self.said(capsys, "evaluate", run["run"], root, "--flow", "files",
                           "--threshold", 0.5)  # fmt: skip
        assert scores["from"] == "given"
        (root / "optical_flows/test_set/images/before/video_000/frame_0003.flo").unlink()
        words = ["evaluate", run["run"], str(root), "--flow", "files", "--threshold", "0.5"]
        assert main(words) == 1
        assert "frame_0003.flo: expected the flow" in capsys.readouterr().err
