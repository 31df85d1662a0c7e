"""Masks for videos: what the network says, in any number of goes, and in files others can read."""

import json
import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tccam import background, segmentation
from tccam.data import (
    ArrayClip,
    BeltConfig,
    FlowStore,
    FolderClip,
    SyntheticBelt,
    VideoClip,
    write_video,
)
from tccam.data.flows import stream_flow
from tccam.errors import TccamError
from tccam.inference import BEFORE, Window, predict, score_maps
from tccam.segmentation import NEIGHBOURS, segment, segment_files
from tccam.store import RunStore
from tccam.training import TrainConfig, fit

BELT = BeltConfig(height=32, width=40, frames=20, train=2, validation=1, test=1, lead_in=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = TrainConfig(data=BELT, steps=30, warmup=5, threads=1)
    return fit(config, store=RunStore(tmp_path_factory.mktemp("runs")), progress=False)


@pytest.fixture(scope="module")
def clip():
    return ArrayClip(SyntheticBelt(BELT).test[0].frames, "belt", fps=12.0)


class TestSegment:
    def test_is_the_threshold_of_the_normalised_map(self, run, clip):
        found = list(segment(run, clip, 0.4, window=None, chunk=20))
        static = background.median_background(clip.frames)
        output = predict(run.network, background.clean(clip.frames, static, "divide"))
        scores = score_maps(output.maps, clip.size, run.network.output_stride)[:, BEFORE]
        present = output.logits.argmax(1) == BEFORE
        assert 0 < present.sum() < len(clip)
        assert [frame.present for frame in found] == present.tolist()
        for frame, score, seen in zip(found, scores, present, strict=True):
            assert torch.equal(frame.mask, (score >= 0.4) & seen)

    def test_neighbours_help_along_the_flow(self, run, clip):
        alone = list(segment(run, clip, 0.4, window=None))
        helped = list(segment(run, clip, 0.4))
        still = list(segment(run, clip, 0.4, window=Window(flow="zero")))
        for other in (alone, still):
            assert any(not torch.equal(a.mask, b.mask) for a, b in zip(helped, other, strict=True))

    def test_masks_are_on_the_grid_of_the_video(self, run, clip):
        large = [
            torch.from_numpy(np.repeat(np.repeat(frame.numpy(), 2, 1), 2, 2)) for frame in clip
        ]
        small = list(segment(run, clip, 0.4, window=None))
        found = list(segment(run, large, 0.4, window=None))
        assert found[0].mask.shape == (64, 80)
        inside = sum(int(frame.mask[::2, ::2].logical_and(s.mask).sum())
                     for frame, s in zip(found, small, strict=True))  # fmt: skip
        assert inside >= 0.8 * sum(int(s.mask.sum()) for s in small) > 0

    def test_a_short_end_takes_the_background_before_it(self, run, clip):
        parts = list(segmentation._chunks(run, clip, 15, None))
        assert [len(part.frames) for part in parts] == [15, 5]
        assert torch.equal(parts[0].background, parts[1].background)
        parts = list(segmentation._chunks(run, clip, 12, None))
        assert not torch.equal(parts[0].background, parts[1].background)

    def test_a_chunk_ends_where_numbers_are_missing(self, run, clip, tmp_path):
        for number, frame in zip([1, 2, 3, 4, 9, 10, 11, 12], clip, strict=False):
            pixels = np.ascontiguousarray(frame.permute(1, 2, 0).numpy()[..., ::-1])
            cv2.imwrite(str(tmp_path / f"frame_{number}.png"), pixels)
        folder = FolderClip(tmp_path)
        gaps = segmentation._gaps(folder)
        assert gaps == [4]
        parts = segmentation._chunks(run, folder, 6, None, gaps)
        assert [len(part.frames) for part in parts] == [4, 4]
        whole = list(segment(run, folder, 0.4, chunk=6))
        halves = [
            found
            for part in (clip.frames[:4], clip.frames[4:8])
            for found in segment(run, ArrayClip(part), 0.4, chunk=6)
        ]
        assert all(torch.equal(a.mask, b.mask) for a, b in zip(whole, halves, strict=True))

    def test_two_classes_know_an_empty_frame(self, tmp_path):
        """One of two classes is always the highest; its logit says whether it is there."""
        config = TrainConfig(data=BELT, num_classes=2, steps=1, threads=1)
        two = fit(config, store=RunStore(tmp_path), progress=False)
        with torch.no_grad():
            for weight in two.network.parameters():
                weight.zero_()
        frames = SyntheticBelt(BELT).test[0].frames[:4]
        assert not any(found.present for found in segment(two, frames, 0.4, window=None))

    def test_reads_no_further_than_its_chunk(self, run, clip):
        read = []

        def frames():
            for number, frame in enumerate(clip):
                read.append(number)
                yield frame

        first = next(segment(run, frames(), 0.4, window=None, chunk=5))
        assert first.mask.shape == clip.size
        assert read == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"chunk": 1}, "chunk: expected at least 2 frames, got 1"),
            ({"window": Window()}, "window: a video does not know its exact flow"),
        ],
    )
    def test_refuses(self, run, clip, changes, message):
        with pytest.raises(TccamError, match=message):
            list(segment(run, clip, 0.4, **changes))

    def test_a_frame_of_another_size_is_named(self, run, clip):
        frames = [*clip.frames[:3], torch.zeros(3, 8, 8, dtype=torch.uint8)]
        with pytest.raises(TccamError, match="frame 3 has"):
            list(segment(run, frames, 0.4))


class TestFiles:
    @pytest.mark.parametrize("after", [1, 3, 9, 10, 20])
    def test_a_cut_run_goes_on_and_ends_with_the_same_bytes(
        self, run, clip, tmp_path, monkeypatch, after
    ):
        whole = segment_files(run, clip, tmp_path / "whole", 0.4, chunk=6, progress=False)
        assert len(whole) == len(clip)
        real, written = segmentation.write_atomic, []

        def cut(path, data):
            if len(written) == after:
                raise KeyboardInterrupt
            written.append(path)
            real(path, data)

        monkeypatch.setattr(segmentation, "write_atomic", cut)
        with pytest.raises(KeyboardInterrupt):
            segment_files(run, clip, tmp_path / "cut", 0.4, chunk=6, progress=False)
        monkeypatch.undo()
        resumed = segment_files(run, clip, tmp_path / "cut", 0.4, chunk=6, progress=False)
        assert [p.name for p in resumed] == [p.name for p in whole]
        assert all(a.read_bytes() == b.read_bytes() for a, b in zip(whole, resumed, strict=True))
        before = [path.stat().st_mtime_ns for path in resumed]
        segment_files(run, clip, tmp_path / "cut", 0.4, chunk=6, progress=False)
        assert [path.stat().st_mtime_ns for path in resumed] == before

    def test_masks_are_what_segment_finds(self, run, clip, tmp_path):
        paths = segment_files(run, clip, tmp_path / "masks", 0.4, progress=False)
        for path, frame in zip(paths, segment(run, clip, 0.4), strict=True):
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert pixels.tolist() == (frame.mask.numpy() * 255).tolist()

    def test_other_settings_and_other_files_are_refused(self, run, clip, tmp_path):
        segment_files(run, clip, tmp_path / "masks", 0.4, progress=False)
        with pytest.raises(TccamError, match="made with another threshold; choose"):
            segment_files(run, clip, tmp_path / "masks", 0.5, progress=False)
        video = write_video(tmp_path / "one.avi", clip.frames, 12)
        segment_files(run, VideoClip(video), tmp_path / "of one", 0.4, progress=False)
        write_video(video, clip.frames[:14], 12)
        with pytest.raises(TccamError, match="made with another video; choose"):
            segment_files(run, VideoClip(video), tmp_path / "of one", 0.4, progress=False)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear")
        with pytest.raises(TccamError, match="mine: expected an empty folder"):
            segment_files(run, clip, tmp_path / "mine", 0.4, progress=False)
        segmentation.remove_files(tmp_path / "mine")
        assert (tmp_path / "mine" / "letter.txt").exists()
        (tmp_path / "masks" / "segment.json").write_text("{")
        with pytest.raises(TccamError, match=r"segment\.json: not a readable state"):
            segment_files(run, clip, tmp_path / "masks", 0.4, progress=False)

    def test_the_overlay_colours_the_mask_and_its_outline_alone(self, run, clip, tmp_path):
        masks = segment_files(run, clip, tmp_path / "masks", 0.4, progress=False)
        video = VideoClip(segmentation.write_overlay(tmp_path / "found.avi", clip, masks))
        assert video.fps == clip.fps
        inner = 0
        for shown, frame, path in zip(video, clip, masks, strict=True):
            mask = segmentation._mask(path).astype(np.uint8)
            kernel = np.ones((7, 7), np.uint8)
            outside = torch.from_numpy(cv2.dilate(mask, kernel) == 0)
            inside = torch.from_numpy(cv2.erode(mask, kernel, borderValue=0) == 1)
            assert (shown[:, outside].int() - frame[:, outside].int()).abs().max() <= 2  # the codec
            inner += int(inside.sum())
            if inside.any():
                wanted = (frame[:, inside].float() + torch.tensor([[217.0], [95], [2]])) / 2
                assert (shown[:, inside].float() - wanted).abs().max() <= 3
        assert inner > 0

    @pytest.mark.parametrize(
        ("size", "shorter", "wanted"),
        [((32, 40), None, (32, 40)), ((32, 40), 16, (16, 20)), ((33, 41), 99, (32, 40)),
         ((128, 65), 21, (40, 20))],
    )  # fmt: skip
    def test_the_overlay_has_the_size_that_is_asked_for(self, tmp_path, size, shorter, wanted):
        """The right half is found; beside its outline, the left half is as it was."""
        mask = np.zeros(size, np.uint8)
        mask[:, size[1] // 2 :] = 255
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        still = ArrayClip(torch.full((1, 3, *size), 90, dtype=torch.uint8))
        path = segmentation.write_overlay(
            tmp_path / "out.avi", still, [tmp_path / "mask.png"], shorter=shorter
        )
        shown = VideoClip(path)[0].int()
        assert shown.shape[1:] == wanted
        half = wanted[1] // 2
        assert (shown[:, :, : half - 3] - 90).abs().max() <= 2
        assert (shown[0, 3:-3, half + 4 : -3] - 90).min() > 50  # an odd width: half a column

    def test_annotations_are_coco(self, run, clip, tmp_path):
        masks = segment_files(run, clip, tmp_path / "masks", 0.4, progress=False)
        path = segmentation.write_annotations(tmp_path / "annotations.json", clip, masks, "glass")
        made = json.loads(path.read_text())
        assert made["images"] == [
            {"id": n, "file_name": f"frame_{n:06d}.jpg", "height": 32, "width": 40}
            for n in range(len(clip))
        ]
        assert made["categories"] == [{"id": 1, "name": "glass"}]
        found = made["annotations"]
        assert [one["id"] for one in found] == list(range(1, len(found) + 1))
        assert {one["iscrowd"] for one in found} == {0}
        regions = 0
        for image, file in enumerate(masks):
            mask, together = segmentation._mask(file), np.zeros(clip.size, int)
            regions += cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
            for one in (one for one in found if one["image_id"] == image):
                region = filled(one["segmentation"][0], mask.shape)
                rows, columns = region.nonzero()
                left, top, width, height = one["bbox"]
                assert one["area"] == region.sum()
                assert (left, top) == (columns.min(), rows.min())
                assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
                together += region
            assert together.tolist() == mask.tolist()
        assert len(found) == regions > 0

    def test_annotations_of_a_folder_name_its_files(self, run, clip, tmp_path):
        (tmp_path / "frames").mkdir()
        for number, frame in zip([7, 8, 12], clip, strict=False):
            pixels = np.ascontiguousarray(frame.permute(1, 2, 0).numpy()[..., ::-1])
            cv2.imwrite(str(tmp_path / f"frames/cam_{number:04d}.png"), pixels)
        folder = FolderClip(tmp_path / "frames")
        masks = segment_files(run, folder, tmp_path / "masks", 0.4, progress=False)
        path = segmentation.write_annotations(tmp_path / "annotations.json", folder, masks)
        made = json.loads(path.read_text())
        names = [image["file_name"] for image in made["images"]]
        assert names == ["cam_0007.png", "cam_0008.png", "cam_0012.png"]
        assert made["categories"] == [{"id": 1, "name": "illegal"}]

    def test_the_bar_knows_how_far_it_is(self, run, clip, tmp_path, monkeypatch, capsys):
        video = VideoClip(write_video(tmp_path / "one.avi", clip.frames, 12))
        monkeypatch.setattr(VideoClip, "__len__", None)  # it would decode the whole file
        segment_files(run, video, tmp_path / "masks", 0.4)
        assert "20/20 [" in capsys.readouterr().err


def test_the_outline_is_seen_on_any_colour():
    """A mask of the very colour of its object, on a belt of that colour too."""
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    for colour in ((217, 95, 2), (255, 255, 255), (0, 0, 0)):
        frame = torch.tensor(colour, dtype=torch.uint8)[:, None, None].repeat(1, 40, 40)
        kept = frame.clone()
        edge = segmentation._drawn(frame, mask)[:, 20, 8:13].float().mean(0)
        assert edge.max() - edge.min() > 200
        assert torch.equal(frame, kept)


def test_a_peak_lands_where_the_cell_looks():
    """Cell (2, 3) of stride 4 looks at pixel (8, 12): at twice the size, at (16.5, 24.5)."""
    maps = torch.zeros(8, 10)
    maps[2, 3] = 5.0
    inner, size = (32, 40), (64, 80)
    same = segmentation.frame_scores(maps, inner, inner, 4)
    assert divmod(int(same.argmax()), 40) == (8, 12)
    assert float(same.max()) == pytest.approx(1, abs=1e-4)
    twice = segmentation.frame_scores(maps, inner, size, 4)
    rows, columns = (twice == twice.max()).nonzero(as_tuple=True)
    assert rows.float().mean() == pytest.approx(16.5, abs=0.5)
    assert columns.float().mean() == pytest.approx(24.5, abs=0.5)
    weights = twice / twice.sum()
    assert float((weights.sum(1) * torch.arange(64)).sum()) == pytest.approx(16.5, abs=0.1)
    assert float((weights.sum(0) * torch.arange(80)).sum()) == pytest.approx(24.5, abs=0.1)


def filled(polygon, shape):
    """The pixels whose centre a polygon encloses: a ray to the left crosses it an odd number of
    times.
    """
    corners = np.array(polygon, float).reshape(-1, 2)
    x, y = np.arange(shape[1]) + 0.5, np.arange(shape[0])[:, None] + 0.5
    inside = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x > x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_enclose_the_mask_and_nothing_else(mask):
    found = segmentation.outlines(mask)
    assert len(found) == cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
    together = np.zeros(mask.shape, int)
    for polygon in found:
        region = filled(polygon, mask.shape)
        assert cv2.connectedComponents(region.astype(np.uint8))[0] == 2
        assert cv2.contourArea(polygon) == region.sum()
        together += region
    assert together.tolist() == mask.tolist()


def test_a_hole_is_cut_out():
    mask = np.ones((4, 5), bool)
    mask[1:3, 2:4] = False
    (ring,) = segmentation.outlines(mask)
    path = [[0, 0], [0, 4], [5, 4], [5, 0], [0, 0], [2, 1], [4, 1], [4, 3], [2, 3], [2, 1]]
    assert ring.tolist() == path


def test_flow_that_is_not_kept_is_the_flow_that_is(tmp_path):
    clip = SyntheticBelt(replace(BELT, speed=3.0)).train[0]
    kept = FlowStore(tmp_path).get(clip, "dis", 4, progress=False)
    static = background.streaming_median(clip)
    streamed = list(stream_flow(clip, "dis", 4, background=static))
    flow, visible = (torch.stack(tensors) for tensors in zip(*streamed, strict=True))
    assert torch.equal(flow, kept.flow)
    assert torch.equal(visible, kept.visible)
    assert NEIGHBOURS.assisted


def test_no_more_frames_are_alive_than_a_chunk(run, clip):
    alive, most = set(), 0

    def frames():
        nonlocal most
        for number in range(3 * len(clip)):
            frame = clip[number % len(clip)].clone()
            alive.add(number)
            weakref.finalize(frame, alive.discard, number)
            most = max(most, len(alive))
            yield frame
            del frame

    count = sum(1 for _ in segment(run, frames(), 0.4, window=None, chunk=10))
    assert count == 3 * len(clip)
    assert 10 <= most <= 12
