"""Estimated flow: known shifts, the belt's exact flow, RAFT from a file and from a server."""

import hashlib
import io
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import optical_flow

from tccam.background import median_background
from tccam.data import BeltConfig, SyntheticBelt, open_clip
from tccam.errors import TccamError
from tccam.flow import METHODS, endpoint_error, estimate, estimate_clip, weights_name

REPOSITORY = Path(__file__).parents[2]
GIF = REPOSITORY.parent / "shared" / "real_belt" / "fruit-and-vegetable.gif"
OPENCV = METHODS[:2]


def texture(height: int = 80, width: int = 112, seed: int = 0) -> Tensor:
    """A smooth random picture, uint8."""
    noise = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(noise, (height, width), mode="bicubic") * 255).clamp(0, 255).byte()[0]


def moved(picture: Tensor, u: int, v: int) -> Tensor:
    return picture.roll((v, u), (1, 2))


def median_flow(flow: Tensor) -> tuple[float, float]:
    inner = flow[:, 20:-20, 20:-20].flatten(1).median(1).values
    return float(inner[0]), float(inner[1])


@cache
def belt(speed: float, **changes: object) -> list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Pairs of frames of a validation clip: source, target, background, truth, object."""
    config = BeltConfig.hard(speed=speed, validation=1, **changes)
    clip = SyntheticBelt(config).validation[0]
    background, pairs = median_background(clip.frames), []
    for t in range(22, 56, 6):
        for s in (t - 1, t + 1):
            seen = clip.occupied[t] & clip.visible(t, s)
            pairs.append((clip.frames[t], clip.frames[s], background, clip.flow(t, s), seen))
    return pairs


def error_on_objects(speed: float, method: str, helped: bool, **changes: object) -> float:
    errors = [
        endpoint_error(
            estimate(source, target, method, background=background if helped else None), truth, seen
        )
        for source, target, background, truth, seen in belt(speed, **changes)
    ]
    return sum(errors) / len(errors)


@pytest.mark.parametrize("method", OPENCV)
@pytest.mark.parametrize("helped", [False, True])
@pytest.mark.parametrize("step", [(4, 0), (-3, 2), (0, -4), (0, 0)])
def test_flow_points_from_source_to_target(
    method: str, helped: bool, step: tuple[int, int]
) -> None:
    source = texture()
    background = torch.full((3, 80, 112), 128.0) if helped else None
    flow = estimate(source, moved(source, *step), method, background=background)
    assert flow.shape == (2, 80, 112)
    assert flow.dtype == torch.float32
    assert median_flow(flow) == pytest.approx(step, abs=0.2)


@pytest.mark.parametrize("step", [(-60, 0), (37, -21)])
def test_the_common_shift_reaches_over_half_of_the_picture(step: tuple[int, int]) -> None:
    background = torch.full((3, 80, 112), 128.0)
    source, target = (background.byte() for _ in range(2))
    x, y = (70, 40) if step[0] < 0 else (10, 40)
    thing = texture()[:, :32, :32]
    source[:, y : y + 32, x : x + 32] = thing
    target[:, y + step[1] : y + step[1] + 32, x + step[0] : x + step[0] + 32] = thing
    flow = estimate(source, target, background=background)
    inner = flow[:, y + 6 : y + 26, x + 6 : x + 26].flatten(1).median(1).values
    assert inner.tolist() == pytest.approx(step, abs=0.3)
    assert not flow[:, :8].any()  # what shows background is at rest
    plain = estimate(source, target)[:, y + 6 : y + 26, x + 6 : x + 26]
    assert (plain.flatten(1).median(1).values - inner).abs().max() > 5


@pytest.mark.parametrize("method", OPENCV)
def test_a_batch_is_its_pairs_and_bytes_are_floats(method: str) -> None:
    source = torch.stack([texture(seed=0), texture(seed=1), texture(seed=2)])
    target = torch.stack([moved(s, k, -k) for k, s in enumerate(source)])
    before = source.clone()
    for background in (None, torch.full((3, 80, 112), 100.0), source.float().mean(0) + 1):
        flow = estimate(source, target, method, background=background)
        assert flow.shape == (3, 2, 80, 112)
        for k in range(3):
            one = estimate(source[k].float(), target[k].float(), method, background=background)
            torch.testing.assert_close(one, flow[k], atol=1e-4, rtol=0)
    assert torch.equal(source, before)


# What was measured, with a third to spare. The plain estimates show that the belt is not easy.
@pytest.mark.parametrize(
    ("speed", "method", "limit", "plain"),
    [
        (2.0, "dis", 0.2, 0.0), (10.0, "dis", 0.5, 1.0), (20.0, "dis", 0.8, 5.0),
        (2.0, "farneback", 0.2, 0.0), (10.0, "farneback", 0.8, 0.0), (20.0, "farneback", 1.5, 2.0),
    ],
)  # fmt: skip
def test_help_finds_objects_on_the_hard_belt(
    speed: float, method: str, limit: float, plain: float
) -> None:
    assert error_on_objects(speed, method, True) < limit
    assert error_on_objects(speed, method, False) > plain


@pytest.mark.parametrize(
    "changes", [{"rotation": 3.0}, {"motion": "jitter"}, {"motion": "varying"}]
)
def test_help_finds_turning_and_uneven_motion(changes: dict[str, object]) -> None:
    assert error_on_objects(10.0, "dis", True, **changes) < 0.8


def test_rails_are_at_rest_beside_the_belt() -> None:
    clip = SyntheticBelt(BeltConfig(validation=1)).validation[0]
    background = median_background(clip.frames)
    flow = estimate(clip.frames[30], clip.frames[31], background=background)
    truth, ids = clip.flow(30, 31), clip.ids[30]
    assert endpoint_error(flow, truth, ids == 0) < 3
    assert endpoint_error(flow, truth, (ids == 1) & clip.visible(30, 31)) < 2


@pytest.mark.parametrize("method", OPENCV)
def test_objects_of_the_real_belt_move_to_the_left(method: str) -> None:
    if not GIF.is_file():
        pytest.skip(f"no real belt was tested: ../{GIF.relative_to(REPOSITORY.parent)} is absent")
    frames = open_clip(GIF).frames
    background = median_background(frames)
    # A box within an object, marked by hand: apple, broccoli, orange.
    for t, box in (
        (12, (150, 190, 310, 345)),
        (36, (165, 195, 130, 200)),
        (95, (150, 195, 175, 225)),
    ):
        top, bottom, left, right = box
        flow = estimate(frames[t], frames[t + 1], method, background=background)
        u, v = flow[:, top:bottom, left:right].flatten(1).median(1).values
        assert -19 < u < -14
        assert abs(v) < 1


def small_clip(count: int) -> Tensor:
    return torch.stack([moved(texture(48, 64), 2 * t, 0) for t in range(count)])


@pytest.mark.parametrize("method", OPENCV)
@pytest.mark.parametrize("helped", [False, True])
def test_a_clip_is_its_pairs_whatever_the_number_of_threads(method: str, helped: bool) -> None:
    frames = small_clip(6)
    background = torch.full((3, 48, 64), 90.0) if helped else None

    def run(threads: int | None) -> Tensor:
        stream = estimate_clip(
            frames, method, background=background, threads=threads, progress=False
        )
        return torch.stack(list(stream))

    flows = run(1)
    assert flows.shape == (6, 2, 2, 48, 64)
    assert not flows[0, 0].any()
    assert not flows[-1, 1].any()
    for threads in (2, 5, None):
        assert torch.equal(run(threads), flows)
    for t in range(1, 5):
        for side, other in enumerate((t - 1, t + 1)):
            one = estimate(frames[t], frames[other], method, background=background)
            torch.testing.assert_close(flows[t, side], one, atol=1e-4, rtol=0)


def test_opencvs_own_threads_change_nothing() -> None:
    source, target, background, _, _ = belt(10.0)[3]
    before, found = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            found.append([estimate(source, target, m, background=background) for m in OPENCV])
    finally:
        cv2.setNumThreads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_long_clip_is_a_stream() -> None:
    frames, read = small_clip(40), []

    def reading() -> Iterator[Tensor]:
        for t, frame in enumerate(frames):
            read.append(t)
            yield frame

    stream = estimate_clip(reading(), threads=2, progress=False)
    assert not read
    for t, _ in enumerate(stream):
        assert len(read) <= t + 5
    assert len(read) == 40


def test_short_clips_and_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(estimate_clip([])) == []
    (alone,) = estimate_clip(small_clip(1), progress=False)
    assert alone.shape == (2, 2, 48, 64)
    assert not alone.any()
    capsys.readouterr()
    assert len(list(estimate_clip(small_clip(3)))) == 3
    output = capsys.readouterr()
    assert not output.out
    assert "flow, dis: 100%" in output.err
    assert "3/3" in output.err


def raft(seed: int = 0) -> optical_flow.RAFT:
    torch.manual_seed(seed)
    return optical_flow.raft_small(weights=None).eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_raft_from_a_file_is_torchvisions(tmp_path: Path, suffix: str) -> None:
    network, path = raft(), tmp_path / f"raft{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(network.state_dict(), path)
    source, target = texture(132, 84), texture(132, 84, seed=1)
    flow = estimate(source, target, "raft_small", weights=path)
    assert flow.shape == (2, 132, 84)
    # By hand: to 136×128 by repeating the last row and column, to −1 … 1, and cut again.
    pair = []
    for picture in (source, target):
        rows, columns = torch.arange(136).clamp(max=131), torch.arange(128).clamp(max=83)
        pair.append(picture[None][:, :, rows][..., columns].float() / 255 * 2 - 1)
    with torch.no_grad():
        expected = network(*pair)[-1][0, :, :132, :84]
    torch.testing.assert_close(flow, expected, atol=1e-3, rtol=1e-4)
    assert expected.std() > 0.01
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights_name("raft_small", path) == digest


class _Weights(BaseHTTPRequestHandler):
    content = b""
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Weights]]:
    """Serves random weights where torchvision looks for its published ones, as often as asked."""
    buffer = io.BytesIO()
    torch.save(raft(3).state_dict(), buffer)
    handler = type("Handler", (_Weights,), {"content": buffer.getvalue(), "asked": []})
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        name = f"raft-{hashlib.sha256(handler.content).hexdigest()[:8]}.pth"
        url = f"http://127.0.0.1:{web.server_port}/{name}"
        published = optical_flow.Raft_Small_Weights.DEFAULT.value
        monkeypatch.setattr(published, "url", url)
        yield handler
        web.shutdown()


def test_published_weights_are_downloaded_once(server: type[_Weights], tmp_path: Path) -> None:
    path = tmp_path / "same.pth"
    torch.save(raft(3).state_dict(), path)
    source, target = texture(48, 64), texture(48, 64, seed=1)
    flow = estimate(source, target, "raft_small")
    assert torch.equal(flow, estimate(source, target, "raft_small", weights=path))
    (first, *_) = estimate_clip([source, target], "raft_small", progress=False)
    torch.testing.assert_close(first[1], flow, atol=1e-3, rtol=1e-4)
    assert len(server.asked) == 1


def test_a_damaged_download_is_refused(server: type[_Weights]) -> None:
    server.content = server.content[:-1] + b"?"
    with pytest.raises(TccamError, match=r"Raft_Small_Weights\.C_T_V2 .*hash.*path of a state"):
        estimate(texture(), texture(), "raft_small")


def test_without_a_network_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    published = optical_flow.Raft_Large_Weights.DEFAULT.value
    monkeypatch.setattr(published, "url", "http://127.0.0.1:9/raft-00000000.pth")
    with pytest.raises(TccamError, match=r"Raft_Large_Weights.*network.*path of a state dict"):
        estimate(texture(), texture(), "raft_large")


@pytest.mark.parametrize("damage", ["absent", "empty", "noise", "list", "other"])
def test_unusable_weights_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.pth"
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "noise":
        path.write_bytes(bytes(range(256)) * 8)
    elif damage == "list":
        torch.save([torch.zeros(1)], path)
    elif damage == "other":
        torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(TccamError, match=r"weights\.pth: ") as caught:
        estimate(texture(), texture(), "raft_small", weights=path)
    assert len(str(caught.value)) < 700


class _Trap:
    """Unpickles into a call, which a trusting loader makes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_calls_is_refused(tmp_path: Path) -> None:
    path, trace = tmp_path / "trap.pth", tmp_path / "trace"
    torch.save({"weight": _Trap(trace)}, path)
    with pytest.raises(TccamError, match=r"trap\.pth"):
        estimate(texture(), texture(), "raft_small", weights=path)
    assert not trace.exists()


NAN = torch.full((3, 32, 32), float("nan"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: estimate(p, p, "lucas"), r"method: .*farneback.*'lucas'"),
        (lambda p: estimate(p[0], p), r"source: .*\(3, H, W\).*\(32, 32\)"),
        (lambda p: estimate(p, p.numpy()), "target: .*ndarray"),
        (lambda p: estimate(p.int(), p.int()), "source: .*int32"),
        (lambda p: estimate(p, p.float()), "target: .*uint8.*float32"),
        (lambda p: estimate(p, p[:, :20]), "target: .*20, 32"),
        (lambda p: estimate(p[..., :15], p[..., :15]), "source: .*16×16"),
        (lambda p: estimate(p[None][:0], p[None][:0]), "source: .*at least one picture"),
        (lambda p: estimate(NAN, NAN), "source: .*NaN"),
        (lambda p: estimate(p, p, weights="a.pth"), "weights: dis has none, got 'a.pth'"),
        (lambda p: estimate(p, p, background=torch.zeros(3, 4, 4)), r"background: .*\(3, 32, 32\)"),
        (lambda p: list(estimate_clip([p, p[:, 8:]])), "frames: frame 1 is .*24.*first.*32"),
        (lambda p: list(estimate_clip([p, p.float()])), "frames: frame 1 is torch.float32"),
        (lambda p: list(estimate_clip([p[None]])), "frames: frame 0"),
        (lambda p: list(estimate_clip([p], "lucas")), "method"),
        (lambda p: list(estimate_clip([p], threads=0)), "threads: expected at least 1"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TccamError, match=message):
        call(torch.zeros(3, 32, 32, dtype=torch.uint8))
