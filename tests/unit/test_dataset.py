"""Data sets in folders: what is read, what is refused, and that training on one is training."""

import logging
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from tccam.data import BeltConfig, FlowStore, SyntheticBelt
from tccam.data.dataset import (
    CLASS_FOLDERS,
    MASKS,
    PICTURES,
    FolderConfig,
    FolderData,
    open_data,
    resize_picture,
)
from tccam.data.folder import read_picture
from tccam.errors import TccamError
from tccam.store import RunStore
from tccam.training import FrameSet, TrainConfig, fit, load_run

BELT = BeltConfig(height=32, width=40, frames=20, train=2, validation=1, test=1, lead_in=6)
FULL = replace(BELT, lead_in=0)
FOLDERS = {label: folder for folder, label in CLASS_FOLDERS.items()}
CLASSES = ("before", "after", "background")


def write(path, picture):
    """A picture (3, H, W) or a mask (H, W), to the digit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = picture.numpy().astype(np.uint8)
    pixels = (
        cv2.cvtColor(pixels.transpose(1, 2, 0), cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    )
    assert cv2.imwrite(str(path), pixels)


def tree(root, config, apart=True):
    """The belt as a folder; frames that show nothing go to ``bg`` when ``apart``."""
    belt = SyntheticBelt(config)
    for split, clips in zip(PICTURES, (belt.train, belt.validation, belt.test), strict=True):
        for clip in clips:
            name = clip.name.split("/")[-1]
            for number, frame in enumerate(clip.frames):
                label = CLASSES[clip.labels[number]] if apart else clip.label
                video = f"{clip.label}_{name}" if label == "background" else name
                place = root / PICTURES[split] / FOLDERS[label] / video
                write(place / f"frame_{number:04d}.png", frame)
                if split in MASKS and label != "background":
                    place = root / MASKS[split] / label / video
                    write(place / f"frame_{number:04d}.png", clip.masks[number] * 255)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("apart"), BELT)


@pytest.fixture
def copied(tmp_path):
    return tree(tmp_path / "data", BELT)


class TestFolderData:
    def test_gives_back_what_the_belt_shows(self, folder):
        belt, data = SyntheticBelt(BELT), FolderData(FolderConfig(str(folder)))
        for split in ("train", "validation", "test"):
            wanted = {
                (
                    CLASSES[label],
                    clip.label + clip.name[-3:] if label == 2 else clip.name[-3:],
                    n,
                ): t
                for clip in getattr(belt, split)
                for n, (label, t) in enumerate(zip(clip.labels.tolist(), clip.frames, strict=True))
            }
            seen = {}
            for clip in getattr(data, split):
                video = clip.name.split("/")[-1].replace("_", "")
                for number, frame in zip(clip.numbers, clip, strict=True):
                    seen[clip.label, video, number] = frame
                assert (clip.labels == CLASSES.index(clip.label)).all()
            assert seen.keys() == wanted.keys()
            assert all(torch.equal(seen[key], wanted[key]) for key in wanted)

    def test_masks_are_those_of_the_frames(self, folder):
        belt, data = SyntheticBelt(BELT), FolderData(FolderConfig(str(folder)))
        (clip,), (found,) = (
            [c for c in source.test if c.label == "before"] for source in (belt, data)
        )
        assert torch.equal(found.masks, clip.masks[list(found.numbers)])
        assert found.masks.any()
        assert found.known.all()

    def test_the_truth_of_a_frame_is_read_alone(self, folder, monkeypatch):
        clips = FolderData(FolderConfig(str(folder))).test
        clip = next(clip for clip in clips if clip.label == "before")
        whole, read = clip.masks, []

        def spy(path):
            read.append(path.name)
            return read_picture(path)

        monkeypatch.setattr("tccam.data.dataset.read_picture", spy)
        for index in (0, 3, -1):
            assert all(torch.equal(truth, whole[index]) for truth in clip.truth(index))
        assert read == [f"frame_{clip.numbers[index]:04d}.png" for index in (0, 3, -1)]
        with pytest.raises(IndexError, match="there is no"):
            clip.truth(len(clip))

    def test_frames_come_in_the_size_that_is_asked_for(self, folder):
        data = FolderData(FolderConfig(str(folder), height=16, width=20))
        clip, native = data.test[0], FolderData(FolderConfig(str(folder))).test[0]
        assert clip.size == (16, 20)
        assert clip.masks.shape == (len(clip), 16, 20)
        blocks = native[0].float().reshape(3, 16, 2, 20, 2).mean((2, 4))  # areas of 2×2 pixels
        assert (clip[0].float() - blocks).abs().max() <= 0.5

    def test_a_gap_ends_a_run(self, copied):
        video = sorted((copied / PICTURES["training"] / "before").iterdir())[0]
        files = sorted(video.iterdir())
        files[4].unlink()
        clip = FolderData(FolderConfig(str(copied))).train[0]
        assert clip.starts.nonzero().flatten().tolist() == [0, 4]
        data = FrameSet([clip], "none")
        assert data.first.tolist() == [0] * 4 + [4] * (len(clip) - 4)
        assert data.last.tolist() == [3] * 4 + [len(clip) - 1] * (len(clip) - 4)

    def test_unmasked_frames_are_not_scored(self, copied):
        place = copied / MASKS["test"] / "before"
        masks = sorted(next(place.iterdir()).iterdir())
        masks[2].unlink()
        clip = FolderData(FolderConfig(str(copied))).test[0]
        assert clip.known.tolist() == [n != 2 for n in range(len(clip))]
        assert not clip.masks[2].any()

    def test_a_mask_of_another_size_is_refused(self, copied):
        file = sorted((copied / MASKS["test"] / "before" / "000").iterdir())[1]
        write(file, torch.zeros(16, 20))
        with pytest.raises(TccamError, match=rf"{file.name}: expected \(32, 40\) pixels"):
            _ = FolderData(FolderConfig(str(copied))).test[0].masks

    def test_a_video_after_the_sorter_needs_no_masks(self, copied):
        clips = FolderData(FolderConfig(str(copied))).train
        after = next(clip for clip in clips if clip.label == "after")
        assert not after.masks.any()
        assert after.known.all()
        assert not clips[0].masks.any()
        assert not clips[0].known.any()

    @pytest.mark.parametrize("number", [0, 3])
    def test_damaged_pictures_are_refused_or_skipped_by_name(self, copied, caplog, number):
        folder = copied / PICTURES["training"] / "before" / "000"
        file = sorted(folder.iterdir())[number]
        file.write_bytes(file.read_bytes()[:60])
        with pytest.raises(TccamError, match=file.name):
            list(FolderData(FolderConfig(str(copied))).train[0])
        with caplog.at_level(logging.WARNING):
            kept = FolderData(FolderConfig(str(copied), damaged="skip")).train[0]
        assert file.name in caplog.text
        assert len(kept) == len(list(folder.iterdir())) - 1
        assert kept.starts.sum() == (2 if number else 1)

    def test_knows_its_content_again(self, copied):
        config = FolderData(FolderConfig(str(copied))).config
        assert FolderData(config).config == config
        file = sorted((copied / PICTURES["validation"] / "after" / "000").iterdir())[0]
        (file.parent / ".hidden.png").touch()
        (copied / MASKS["validation"] / "before" / "000" / "new.png").touch()
        assert FolderData(config).config == config  # what a run does not see
        os.utime(file, (1, 1))
        with pytest.raises(TccamError, match="its files have changed"):
            FolderData(config)
        assert open_data(replace(config, content="")).config.content != config.content

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"root": "nowhere"}, "nowhere: expected a folder with a data set, found nothing"),
            ({"root": __file__}, "found a file"),
            ({"height": 32}, "expected a height and a width, or neither; got 32×0"),
            ({"height": -1, "width": 4}, "FolderConfig.height: expected 0"),
            ({"damaged": "mend"}, "FolderConfig.damaged: expected one of refuse, skip"),
        ],
    )
    def test_refuses(self, folder, changes, message):
        with pytest.raises(TccamError, match=message):
            FolderData(FolderConfig(**{"root": str(folder), **changes}))

    @pytest.mark.parametrize("missing", ["before", "after"])
    def test_a_split_without_a_camera_is_named(self, copied, missing):
        place = copied / PICTURES["test"] / missing
        place.rename(place.with_name("elsewhere"))
        data = FolderData(FolderConfig(str(copied)))
        assert data.train
        with pytest.raises(TccamError, match=f"images/{missing}: expected folders of frames"):
            _ = data.test


class TestTraining:
    @pytest.mark.parametrize(
        "changes", [{"method": "plain"}, {"method": "temporal", "flow": "zero"}]
    )
    def test_the_same_frames_give_the_same_weights(self, tmp_path, changes):
        """A folder of all frames is the belt with two classes."""
        root = tree(tmp_path / "data", FULL, apart=False)
        config = TrainConfig(
            data=FULL, background="none", num_classes=2, steps=3, warmup=1, threads=1, **changes
        )
        store, flows = RunStore(tmp_path / "runs"), FlowStore(tmp_path / "flows")
        data = FolderData(FolderConfig(str(root)))
        runs = [
            fit(config, store=store, flows=flows, progress=False),
            fit(replace(config, data=data.config), belt=data, store=store, progress=False),
        ]
        assert runs[0].key != runs[1].key
        # Pictures are divided by 255 there, and multiplied by a 255th here.
        torch.testing.assert_close(runs[0].losses, runs[1].losses, rtol=1e-5, atol=0)
        weights = [run.network.state_dict() for run in runs]
        for name, value in weights[0].items():
            torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)

    def test_estimates_flow_and_takes_empty_frames_as_background(self, folder, tmp_path):
        data = FolderData(FolderConfig(str(folder)))
        config = TrainConfig(data=data.config, method="both", flow="dis", steps=2, threads=1)
        store, flows = RunStore(tmp_path / "runs"), FlowStore(tmp_path / "flows")
        run = fit(config, belt=data, store=store, flows=flows, progress=False)
        assert run.losses.isfinite().all()
        again = load_run(run.key[:6], store)
        assert again.config == config
        assert torch.equal(again.losses, run.losses)
        moved = (store.root / run.key).rename(tmp_path / "my run")
        assert load_run(moved).key == "my run"

    def test_a_folder_that_is_not_open_yet_is_opened(self, folder, tmp_path):
        config = TrainConfig(data=FolderConfig(str(folder)), steps=1, threads=1)
        run = fit(config, store=RunStore(tmp_path / "runs"), progress=False)
        assert run.config.data.content

    def test_tiles_are_checked_on_pictures_of_their_own_size(self, folder, tmp_path):
        config = TrainConfig(
            data=FolderConfig(str(folder)), method="puzzle", output_stride=16, steps=1, threads=1
        )
        with pytest.raises(TccamError, match="multiples of 32, got 32×40"):
            fit(config, store=RunStore(tmp_path / "runs"), progress=False)


class TestLoadRun:
    @pytest.fixture
    def made(self, tmp_path):
        tiny = BeltConfig(train=1, frames=16, height=32, width=40)
        store = RunStore(tmp_path / "runs")
        runs = [
            fit(TrainConfig(data=tiny, steps=1, seed=s, threads=1), store=store, progress=False)
            for s in (0, 1)
        ]
        return store, runs

    def test_names_what_it_does_not_find(self, made, tmp_path):
        store, _ = made
        with pytest.raises(TccamError, match="zzz: neither a run nor a folder"):
            load_run("zzz", store)
        for nothing in ("", "a/b", "/nowhere/run", str(tmp_path / "no")):
            with pytest.raises(TccamError, match="neither a run nor a folder"):
                load_run(nothing, store)
        two = RunStore(tmp_path / "two")
        for name in ("ab1", "ab2"):
            two.finish(name, {})
        with pytest.raises(TccamError, match="ab: 2 runs that begin so"):
            load_run("ab", two)
        (tmp_path / "empty").mkdir()
        with pytest.raises(TccamError, match=r"expected a finished run, with a run\.json"):
            load_run(tmp_path / "empty")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("run.json", b"{", "not a readable run record"),
            ("run.json", b"[]", "expected a JSON object"),
            ("run.json", b"{}", "not a readable run"),
            ("run.json", b'{"config": "abc"}', "config: expected the fields of a run"),
            ("run.json", b'{"config": {"data": {}}, "terms": []}', "not a readable run"),
            ("run.json", b'{"config": {"colour": 1}}', "TrainConfig has no colour"),
            ("run.json", b'{"config": {"steps": "many"}}', "TrainConfig.steps: expected"),
            ("run.json", b'{"config": {"data": 3}}', "data: expected the fields"),
            ("weights.safetensors", b"\x00" * 40, "not a readable safetensors file"),
        ],
    )
    def test_damage_is_one_line(self, made, name, content, message):
        store, runs = made
        folder = store.root / runs[0].key
        (folder / name).write_bytes(content)
        with pytest.raises(TccamError, match=message) as caught:
            load_run(folder)
        assert "\n" not in str(caught.value)

    def test_weights_of_another_network_are_refused(self, made):
        store, runs = made
        folder = store.root / runs[0].key
        store.save(runs[0].key, "weights", {"classifier.weight": torch.zeros(1)})
        with pytest.raises(TccamError, match="not a readable run") as caught:
            load_run(folder)
        assert "\n" not in str(caught.value)


def test_resizing_keeps_what_fits_and_means_areas():
    picture = torch.arange(3 * 4 * 6, dtype=torch.uint8).reshape(3, 4, 6)
    assert resize_picture(picture, (4, 6)) is picture
    small = resize_picture(picture, (2, 3))
    assert torch.equal(small, picture.float().reshape(3, 2, 2, 3, 2).mean((2, 4)).round().byte())
    flat = torch.full((3, 4, 6), 7, dtype=torch.uint8)
    assert resize_picture(flat, (9, 13)).unique().tolist() == [7]
