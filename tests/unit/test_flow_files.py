"""Flow files byte by byte, against OpenCV's reader and writer; colours against torchvision's."""

import math
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.utils import flow_to_image

from tccam.errors import TccamError
from tccam.flow import colors, read_flo, write_flo


def some_flow(height: int = 5, width: int = 7, seed: int = 0) -> Tensor:
    return torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed)) * 9


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    flow = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[-1.0, -2.0, -3.0], [0.5, 0, 1e10]]])
    write_flo(tmp_path / "a.flo", flow)
    vectors = [1, -1, 2, -2, 3, -3, 4, 0.5, 5, 0, 6, 1e10]
    expected = struct.pack("<f2i12f", 202021.25, 3, 2, *vectors)
    assert (tmp_path / "a.flo").read_bytes() == expected
    assert expected[:4] == b"PIEH"


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("flo") / "frame_0001.flo"
    flow = some_flow(height, width, seed)
    flow[0, 0, 0] = math.nan
    write_flo(str(path), flow)
    found = read_flo(str(path))
    assert found.dtype == torch.float32
    assert torch.equal(found.view(torch.int32), flow.contiguous().view(torch.int32))
    found += 1  # what was read is the caller's own


def test_opencv_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    flow = some_flow()
    write_flo(tmp_path / "ours.flo", flow)
    theirs = cv2.readOpticalFlow(str(tmp_path / "ours.flo"))
    assert np.array_equal(theirs, flow.permute(1, 2, 0).numpy())
    cv2.writeOpticalFlow(str(tmp_path / "theirs.flo"), theirs)
    assert torch.equal(read_flo(tmp_path / "theirs.flo"), flow)
    assert (tmp_path / "theirs.flo").read_bytes() == (tmp_path / "ours.flo").read_bytes()


def test_other_layouts_and_dtypes_are_written_as_float32(tmp_path: Path) -> None:
    flow = some_flow().double().transpose(1, 2)
    write_flo(tmp_path / "deep" / "down" / "a.flo", flow)
    assert torch.equal(read_flo(tmp_path / "deep" / "down" / "a.flo"), flow.float())


GOOD = struct.pack("<4s2i4f", b"PIEH", 2, 1, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "PIEH"),
        (b"HEIP" + GOOD[4:], "PIEH.*HEIP"),
        (struct.pack(">f", 202021.25) + GOOD[4:], "PIEH"),
        (GOOD[:9], "header"),
        (GOOD[:12], "28 bytes, the file has 12"),
        (GOOD[:-1], "28 bytes, the file has 27"),
        (GOOD + b"\0", "28 bytes, the file has 29"),
        (struct.pack("<4s2i", b"PIEH", 0, 1), "found 1×0"),
        (struct.pack("<4s2i4f", b"PIEH", 2, -1, 1, 2, 3, 4), "found -1×2"),
        (struct.pack("<4s2i", b"PIEH", 2**31 - 1, 2**31 - 1), "found 2147483647×"),
        (struct.pack("<4s2i", b"PIEH", 99_999, 99_999), "the file has 12"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "frame_0042.flo"
    path.write_bytes(content)
    with pytest.raises(TccamError, match=rf"frame_0042\.flo: .*{message}"):
        read_flo(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TccamError, match=r"absent\.flo"):
        read_flo(tmp_path / "absent.flo")
    with pytest.raises(TccamError, match=tmp_path.name):
        read_flo(tmp_path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.flo"
    write_flo(path, some_flow())
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_flo(path, some_flow(seed=1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("seed", range(5))
def test_colours_are_torchvisions(seed: int) -> None:
    flow = some_flow(60, 80, seed)
    difference = (colors(flow).int() - flow_to_image(flow).int()).abs()
    assert difference.max() <= 1  # theirs rounds in float32
    assert (difference > 0).float().mean() < 0.001


def test_colours_by_hand() -> None:
    flow = torch.tensor([[[0.0, 1.0, 0.5, -1.0, 0.0]], [[0.0, 0.0, 0.0, 0.0, 1.0]]])
    white, red, pink, cyan, yellow = colors(flow)[:, 0].T.tolist()
    assert (white, red, pink) == ([255, 255, 255], [255, 0, 0], [255, 127, 127])
    # Left is half way round the 55 colours less one: the 28th, third of the eleven that lead
    # from cyan to blue.
    assert cyan == [0, 255 - math.floor(255 * 2 / 11), 255]
    # Down is a quarter: half way between the 14th and the 15th of the fifteen from red to yellow.
    assert yellow == [255, (math.floor(255 * 13 / 15) + math.floor(255 * 14 / 15)) // 2, 0]


def test_the_length_that_is_largest_can_be_given() -> None:
    flow = some_flow(20, 20)
    longest = float(flow.double().square().sum(0).sqrt().max())
    assert (colors(flow).int() - colors(flow, longest).int()).abs().max() <= 1
    paler = colors(flow, 4 * longest)
    assert paler.float().mean() > colors(flow).float().mean()
    tripled = colors(3 * flow, 3 * longest).int()
    assert (tripled - colors(flow, longest).int()).abs().max() <= 1
    assert colors(torch.tensor([[[9.0]], [[0.0]]]), 1.0).flatten().tolist() == [191, 0, 0]


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf, 1.67e9])
def test_the_unknown_is_black_and_does_not_count(unknown: float) -> None:
    flow = some_flow(6, 6)
    flow[1, 2, 3] = 0.0
    flow[0, 2, 3] = 0.0
    expected = colors(flow)
    flow[1, 2, 3] = unknown
    expected[:, 2, 3] = 0
    assert torch.equal(colors(flow), expected)


def test_rest_is_white() -> None:
    assert (colors(torch.zeros(2, 3, 3)) == 255).all()
    assert colors(torch.zeros(2, 0, 3)).shape == (3, 0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: write_flo(p, torch.zeros(3, 4, 4)), r"flow: .*\(3, 4, 4\)"),
        (lambda p: write_flo(p, torch.zeros(1, 2, 4, 4)), "flow"),
        (lambda p: write_flo(p, torch.zeros(2, 4, 4, dtype=torch.int32)), "int32"),
        (lambda p: write_flo(p, torch.zeros(2, 0, 4)), "0×4"),
        (lambda p: colors(torch.zeros(4, 4)), "flow"),
        (lambda p: colors(torch.zeros(2, 4, 4), 0.0), "largest: .*0.0"),
        (lambda p: colors(torch.zeros(2, 4, 4), math.nan), "largest: .*nan"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TccamError, match=message):
        call(tmp_path / "a.flo")
    assert not list(tmp_path.iterdir())
