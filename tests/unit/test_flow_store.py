"""The flow store: cells and mirror images against the full-size truth, and files that survive."""

import logging
import multiprocessing
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tccam.data import ArrayClip, BeltClip, BeltConfig, ClipFlow, FlowStore, SyntheticBelt
from tccam.errors import TccamError
from tccam.flow import estimate_clip, occlusion, resize, warp

MIRRORS = [(False, False), (False, True), (True, False), (True, True)]
CONFIG = BeltConfig(
    height=61, width=83, frames=6, lead_in=0, rotation=8.0, shake=2, motion="jitter", speed=7.0,
    objects=2, train=2, validation=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def clip() -> BeltClip:
    return SyntheticBelt(CONFIG).train[0]


def same(one: ClipFlow, other: ClipFlow) -> bool:
    return torch.equal(one.flow, other.flow) and torch.equal(one.visible, other.visible)


def mirror(maps: Tensor, mirrored: tuple[bool, bool]) -> Tensor:
    return maps.flip([axis for axis, m in ((-2, mirrored[0]), (-1, mirrored[1])) if m])


@pytest.mark.parametrize("stride", [4, 5, 16])
@pytest.mark.parametrize("mirrored", MIRRORS)
def test_a_cell_holds_the_flow_of_its_pixel_in_the_mirrored_picture(
    tmp_path: Path, clip: BeltClip, stride: int, mirrored: tuple[bool, bool]
) -> None:
    found = FlowStore(tmp_path).get(clip, "exact", stride, mirrored=mirrored)
    assert found.flow.shape == (6, 2, 2, -(-61 // stride), -(-83 // stride))
    assert found.visible.shape == (6, 2, *found.flow.shape[-2:])
    assert (found.flow.dtype, found.visible.dtype) == (torch.float32, torch.bool)
    for t in range(6):
        for side, other in enumerate((t - 1, t + 1)):
            if not 0 <= other < 6:
                assert not found.flow[t, side].any()
                assert not found.visible[t, side].any()
                continue
            # The flow of the mirrored picture, worked out on its own at full size.
            full = mirror(clip.flow(t, other), mirrored).clone()
            full[0] *= -1 if mirrored[1] else 1
            full[1] *= -1 if mirrored[0] else 1
            expected = full[:, ::stride, ::stride] / stride
            torch.testing.assert_close(found.flow[t, side], expected, rtol=5e-4, atol=1e-4)
            seen = mirror(clip.visible(t, other), mirrored)[::stride, ::stride]
            assert torch.equal(found.visible[t, side], seen)


def test_objects_are_found_again_in_the_mirrored_picture(tmp_path: Path) -> None:
    """The chain of signs, end to end: the flow fetches the neighbour's picture, mirrored or not."""
    config = BeltConfig.clear(noise=0.0, flicker=0.0, frames=20, validation=1, speed=8.0)
    belt = SyntheticBelt(config).validation[0]
    for mirrored in MIRRORS:
        found = FlowStore(tmp_path).get(belt, "exact", 1, mirrored=mirrored)
        frames = mirror(belt.frames.float(), mirrored)
        occupied = mirror(belt.occupied, mirrored)
        for side, other in enumerate((17, 19)):
            fetched, valid = warp(frames[other][None], found.flow[18, side][None])
            where = found.visible[18, side] & valid[0, 0] & occupied[18]
            assert where.sum() > 200
            error = (fetched[0] - frames[18]).abs().mean(0)[where].mean()
            still = (frames[other] - frames[18]).abs().mean(0)[where].mean()
            assert error < 0.4 * still


@pytest.mark.parametrize("mirrored", MIRRORS)
def test_tiles_are_interpolated(
    tmp_path: Path, clip: BeltClip, mirrored: tuple[bool, bool]
) -> None:
    found = FlowStore(tmp_path).get(clip, "exact", None, size=(7, 9), mirrored=mirrored)
    full = mirror(clip.flow(2, 3), mirrored).clone()
    full[0] *= -1 if mirrored[1] else 1
    full[1] *= -1 if mirrored[0] else 1
    torch.testing.assert_close(found.flow[2, 1], resize(full, (7, 9)), rtol=1e-3, atol=1e-3)
    # Seen where all the (at most four) pixels around the tile's centre are.
    seen = mirror(clip.visible(2, 3), mirrored)
    for i in range(7):
        for j in range(9):
            y, x = (i + 0.5) * 61 / 7 - 0.5, (j + 0.5) * 83 / 9 - 0.5
            rows, columns = {int(y), -int(-y // 1)}, {int(x), -int(-x // 1)}
            expected = all(bool(seen[r, c]) for r in rows for c in columns)
            assert bool(found.visible[2, 1, i, j]) is expected


@pytest.mark.parametrize("assisted", [False, True])
def test_estimated_flow_is_that_of_the_clip(tmp_path: Path, clip: BeltClip, assisted: bool) -> None:
    found = FlowStore(tmp_path).get(clip, "dis", 8, assisted=assisted, progress=False)
    background = clip.frames.float().quantile(0.5, dim=0) if assisted else None
    full = torch.stack(list(estimate_clip(clip, "dis", background=background, progress=False)))
    expected = full[..., ::8, ::8] / 8
    torch.testing.assert_close(found.flow, expected, rtol=1e-3, atol=2e-3)
    there, back = full[2, 1], full[3, 0]
    seen_next, seen_before = ~occlusion(there, back), ~occlusion(back, there)
    assert torch.equal(found.visible[2, 1], seen_next[::8, ::8])
    assert torch.equal(found.visible[3, 0], seen_before[::8, ::8])
    assert not found.visible[0, 0].any()
    assert not found.visible[-1, 1].any()
    assert 0.2 < found.visible.float().mean() < 1


@pytest.mark.parametrize("method", ["exact", "dis"])
def test_one_frame_has_no_neighbours(tmp_path: Path, method: str) -> None:
    config = BeltConfig(frames=1, lead_in=0, train=1)
    found = FlowStore(tmp_path).get(SyntheticBelt(config).train[0], method, 16, progress=False)
    assert found.flow.shape == (1, 2, 2, 8, 10)
    assert not found.flow.any()
    assert not found.visible.any()


def test_all_mirror_images_are_estimated_once(
    tmp_path: Path, clip: BeltClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FlowStore(tmp_path)
    first = {m: store.get(clip, "dis", 8, mirrored=m, progress=False) for m in MIRRORS[:1]}
    monkeypatch.setattr("tccam.flow.estimate_clip", None)  # not called again
    for mirrored in MIRRORS:
        first[mirrored] = store.get(clip, "dis", 8, mirrored=mirrored)
    again = FlowStore(str(tmp_path))
    assert all(same(again.get(clip, "dis", 8, mirrored=m), first[m]) for m in MIRRORS)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_kept_costs_two_kilobytes_a_frame(tmp_path: Path) -> None:
    config = BeltConfig(height=256, width=256, frames=20, train=1)
    FlowStore(tmp_path).get(SyntheticBelt(config).train[0], "exact", 16)
    (file,) = tmp_path.iterdir()
    flow, visible, mirrors = 2 * 2 * 16 * 16 * 2, 2 * 16 * 16 // 8, 4
    assert 20 * mirrors * (flow + visible) < file.stat().st_size
    assert file.stat().st_size < 20 * mirrors * (flow + visible) + 2000


def test_the_name_follows_all_that_the_flow_depends_on(tmp_path: Path) -> None:
    frames = SyntheticBelt(CONFIG).train[0].frames[:3]
    changed = frames.clone()
    changed[2, 0, 40, 40] += 1
    store = FlowStore(tmp_path)

    def count() -> int:
        return len(list(tmp_path.iterdir()))

    for number, (content, method, options) in enumerate(
        [
            (frames, "dis", {"stride": 8}),
            (changed, "dis", {"stride": 8}),
            (frames[:2], "dis", {"stride": 8}),
            (frames, "farneback", {"stride": 8}),
            (frames, "dis", {"stride": 4}),
            (frames, "dis", {"stride": None, "size": (8, 11)}),
            (frames, "dis", {"stride": 8, "assisted": False}),
        ],
        start=1,
    ):
        store.get(ArrayClip(content, "a name"), method, progress=False, **options)
        assert count() == number
        store.get(ArrayClip(content, "another name"), method, progress=False, **options)
        assert count() == number


def test_clips_that_look_alike_may_move_differently(tmp_path: Path) -> None:
    store, plain = FlowStore(tmp_path), {"texture": 0.0, "noise": 0.0, "flicker": 0.0}
    clips = [
        SyntheticBelt(BeltConfig(frames=4, lead_in=4, speed=speed, **plain)).train[0]
        for speed in (2.0, 6.0)
    ]
    assert torch.equal(clips[0].frames, clips[1].frames)
    moves = [float(store.get(c, "exact", 16).flow[1, 1, 0].max()) for c in clips]
    assert moves == [2 / 16, 6 / 16]


def test_the_sources_are_part_of_the_name(
    tmp_path: Path, clip: BeltClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, version in enumerate(("one", "two"), start=1):
        monkeypatch.setattr("tccam.data.flows._sources", lambda *_, version=version: version)
        FlowStore(tmp_path).get(clip, "exact", 16)
        assert len(list(tmp_path.iterdir())) == number
    monkeypatch.setattr("cv2.__version__", "9.9.9")
    FlowStore(tmp_path).get(clip, "exact", 16)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "truncated", "noise", "altered", "other", "same size"])
def test_a_damaged_file_is_named_and_computed_again(
    tmp_path: Path, clip: BeltClip, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    store = FlowStore(tmp_path)
    expected = store.get(clip, "exact", 8)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    if damage == "other":  # another clip's file under this name
        store.get(clip, "exact", 4)
        (other,) = (path for path in tmp_path.iterdir() if path != file)
        bad = other.read_bytes()
    elif damage == "same size":
        store.get(SyntheticBelt(CONFIG).train[1], "exact", 8)
        (other,) = (path for path in tmp_path.iterdir() if path != file)
        bad = other.read_bytes()
    else:
        bad = {
            "empty": b"",
            "truncated": good[:-100],
            "noise": bytes(range(256)) * 20,
            "altered": good[:-1000] + bytes(1000),
        }[damage]
    mirrored = (True, True)  # the last in the file
    last = store.get(clip, "exact", 8, mirrored=mirrored)
    file.write_bytes(bad)
    with caplog.at_level(logging.WARNING, "tccam"):
        again = store.get(clip, "exact", 8, mirrored=mirrored)
    assert file.name in caplog.text
    assert same(again, last)
    assert file.read_bytes() == good
    assert same(store.get(clip, "exact", 8), expected)


def in_process(root: Path, clip: BeltClip, at_fsync: object = None) -> BaseProcess:
    """Another process that asks for the flow of a clip."""

    def run() -> None:
        torch.set_num_threads(1)  # a forked process has lost the threads of its parent
        if at_fsync is not None:
            os.fsync = at_fsync  # type: ignore[assignment]
        FlowStore(root).get(clip, "exact", 8)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def test_two_processes_at_once_leave_one_good_file(tmp_path: Path, clip: BeltClip) -> None:
    barrier = multiprocessing.get_context("fork").Barrier(2)
    meet = lambda _: barrier.wait(30)  # noqa: E731 - both have computed, neither has written
    pair = [in_process(tmp_path, clip, meet) for _ in range(2)]
    for process in pair:
        process.join(30)
        assert process.exitcode == 0
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    found = FlowStore(tmp_path).get(clip, "exact", 8)
    assert file.stat().st_mtime_ns == before  # read, not written again
    assert same(found, FlowStore(tmp_path / "other").get(clip, "exact", 8))


def test_a_killed_writer_leaves_no_file_under_the_name(tmp_path: Path, clip: BeltClip) -> None:
    written = multiprocessing.get_context("fork").Event()

    def hang(_: int) -> None:
        written.set()
        time.sleep(60)

    process = in_process(tmp_path, clip, hang)
    assert written.wait(30)
    process.kill()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert not list(tmp_path.glob("*.safetensors"))
    found = FlowStore(tmp_path).get(clip, "exact", 8)
    assert same(found, FlowStore(tmp_path / "other").get(clip, "exact", 8))
    assert len(list(tmp_path.glob("[!.]*.safetensors"))) == 1


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, clip: BeltClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        FlowStore(tmp_path / "root").get(clip, "exact", 8)
    assert not list((tmp_path / "root").iterdir())


def test_only_an_estimation_shows_a_bar(
    tmp_path: Path, clip: BeltClip, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FlowStore(tmp_path)
    store.get(clip, "exact", 16)
    assert capsys.readouterr() == ("", "")
    store.get(clip, "dis", 16)
    output = capsys.readouterr()
    assert not output.out
    assert "6/6" in output.err
    store.get(clip, "dis", 16)
    assert capsys.readouterr() == ("", "")


def test_the_folder_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TCCAM_FLOWS", str(tmp_path / "here"))
    assert FlowStore().root == tmp_path / "here"
    assert FlowStore(tmp_path).root == tmp_path
    monkeypatch.delenv("TCCAM_FLOWS")
    assert FlowStore().root == Path.home() / ".cache" / "tccam" / "flows"
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("method", "stride", "options", "message"),
    [
        ("exact", 8, {}, r"exact flow, not ArrayClip\('frames'.*farneback"),
        ("raft", 8, {}, r"method: expected one of \('exact', .*'raft'"),
        ("dis", None, {}, "size: .*None"),
        ("dis", 0, {}, "stride: .*0"),
        ("dis", 8, {"size": (3, 3)}, r"size: .*4×6 cells from 32×48.*\(3, 3\)"),
        ("dis", None, {"size": (0, 3)}, r"size.*\(0, 3\)"),
        ("dis", 8, {"weights": "a.pth"}, "weights: dis has none"),
    ],
)
def test_bad_arguments_are_named(
    tmp_path: Path, method: str, stride: int | None, options: dict[str, object], message: str
) -> None:
    clip = ArrayClip(torch.zeros(3, 3, 32, 48, dtype=torch.uint8))
    with pytest.raises(TccamError, match=message):
        FlowStore(tmp_path).get(clip, method, stride, progress=False, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
