"""Flow as a file (Middlebury's ``.flo``) and as a picture (its colour wheel)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tccam.errors import TccamError
from tccam.files import write_atomic
from tccam.flow.geometry import UNKNOWN

__all__ = ["colors", "read_flo", "write_flo"]

_MAGIC = b"PIEH"  # 202021.25 as a little-endian float32
_HEADER = 12  # bytes: magic, width, height
_LARGEST_SIDE = 99_999  # cells, as in Middlebury's own reader

# The wheel goes from one pure colour to the next in so many steps; the eye tells more shades
# between red and yellow than between yellow and green. Each arc starts at a colour.
_ARCS = (
    (15, (255, 0, 0)), (6, (255, 255, 0)), (4, (0, 255, 0)),
    (11, (0, 255, 255)), (13, (0, 0, 255)), (6, (255, 0, 255)),
)  # fmt: skip


def read_flo(path: str | os.PathLike[str]) -> Tensor:
    """Read a Middlebury ``.flo`` file.

    Args:
        path: of the file: "PIEH", width and height as int32, then u, v of each pixel in rows from
            the top, float32; all little-endian.

    Returns:
        float32 (2, H, W), in pixels, as it is in the file. Unknown pixels, which Middlebury marks
        by more than 1e9, are included.

    Raises:
        TccamError: if the file is missing or unreadable, is no ``.flo``, has an impossible size, or
            is longer or shorter than its size says.

    Source:
        Baker et al., "A database and evaluation methodology for optical flow", IJCV 2011, and
        https://vision.middlebury.edu/flow/.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> flow = torch.tensor([1.5, -2.0]).reshape(2, 1, 1).expand(2, 4, 6)
        >>> with TemporaryDirectory() as folder:
        ...     write_flo(f"{folder}/frame_0001.flo", flow)
        ...     torch.equal(read_flo(f"{folder}/frame_0001.flo"), flow)
        True
    """
    try:
        with Path(path).open("rb") as file:
            header = file.read(_HEADER)
            if header[:4] != _MAGIC:
                raise TccamError(
                    f"{path}: expected a .flo file, which starts with {_MAGIC!r}, "
                    f"found {header[:4]!r}"
                )
            width, height = (int(n) for n in np.frombuffer(header.ljust(_HEADER, b"\0"), "<i4")[1:])
            if len(header) < _HEADER:
                raise TccamError(f"{path}: cut off within its header of {_HEADER} bytes")
            if not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
                raise TccamError(
                    f"{path}: expected a size of 1 … {_LARGEST_SIDE}, found {height}×{width}"
                )
            expected, found = _HEADER + 8 * width * height, os.fstat(file.fileno()).st_size
            if found != expected:  # before memory is taken for what a damaged header promises
                raise TccamError(
                    f"{path}: {height}×{width} vectors are {expected} bytes, the file has {found}"
                )
            values = np.frombuffer(file.read(), "<f4").astype(np.float32)
    except OSError as error:
        raise TccamError(f"{path}: cannot be read ({error.strerror or error})") from None
    return torch.from_numpy(values).reshape(height, width, 2).permute(2, 0, 1).contiguous()


def write_flo(path: str | os.PathLike[str], flow: Tensor) -> None:
    """Write a Middlebury ``.flo`` file, see :func:`read_flo`; whole, or not at all.

    Args:
        path: of the file; folders are made as needed.
        flow: float (2, H, W), pixels; written as float32.

    Raises:
        TccamError: if ``flow`` has another shape or dtype, or is empty or too large for the format.
        OSError: if it cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_flo(f"{folder}/a.flo", torch.zeros(2, 1, 1))
        ...     Path(folder, "a.flo").read_bytes().hex(" ", 4)
        '50494548 01000000 01000000 00000000 00000000'
    """
    _check(flow)
    height, width = flow.shape[1:]
    if not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
        raise TccamError(f"flow: expected a size of 1 … {_LARGEST_SIDE}, got {height}×{width}")
    values = flow.detach().cpu().permute(1, 2, 0).numpy().astype("<f4")
    write_atomic(Path(path), _MAGIC + np.array([width, height], "<i4").tobytes() + values.tobytes())


def colors(flow: Tensor, largest: float | None = None) -> Tensor:
    """A flow as a picture: direction is hue, length is saturation.

    Middlebury's colour wheel: white is rest; right is red, down yellow, left cyan, up a violet
    blue, with the colours of the wheel between them.

    Args:
        flow: float (2, H, W), pixels.
        largest: length that gets the full colour, pixels; longer vectors are drawn darker. None
            takes the longest one of this flow; give it to compare pictures.

    Returns:
        uint8 (3, H, W), RGB. Black where the flow is unknown (NaN, infinite or above 1e9).

    Raises:
        TccamError: if ``flow`` has another shape or dtype, or ``largest`` is not positive.

    Source:
        Baker et al., "A database and evaluation methodology for optical flow", IJCV 2011.

    Example:
        >>> flow = torch.tensor([[[0.0, 1.0, -1.0]], [[0.0, 0.0, 0.0]]])
        >>> colors(flow)[:, 0].T.tolist()
        [[255, 255, 255], [255, 0, 0], [0, 209, 255]]
    """
    _check(flow)
    if largest is not None and not largest > 0:
        raise TccamError(f"largest: expected a positive number of pixels, got {largest}")
    known = (flow.abs() <= UNKNOWN).all(0)  # false for NaN
    u, v = torch.where(known, flow.detach(), 0.0).double()
    length = torch.hypot(u, v)
    if largest is None:
        largest = float(length.max()) if length.numel() else 0.0
    length = length / (largest or 1.0)
    wheel = _wheel().to(flow.device)
    # The wheel starts and ends at red, to the right, and turns downwards with v.
    place = (torch.atan2(-v, -u) / torch.pi + 1) / 2 * (len(wheel) - 1)
    index = place.floor().long()
    part = place - index
    hue = wheel[index] * (1 - part[..., None]) + wheel[(index + 1) % len(wheel)] * part[..., None]
    length = length[..., None]
    # White fades into the hue; beyond the largest length the hue is dimmed.
    colour = (
        torch.where(length <= 1 + 1e-6, 1 - length.clamp(max=1) * (1 - hue), 0.75 * hue)
        * known[..., None]
    )
    return (255 * colour + 1e-6).floor().byte().permute(2, 0, 1).contiguous()


def _wheel() -> Tensor:
    """The colours once around, float64 (55, 3) in [0, 1]."""
    steps = []
    for (count, start), (_, end) in zip(_ARCS, _ARCS[1:] + _ARCS[:1], strict=True):
        part = torch.arange(count, dtype=torch.float64)[:, None] / count
        here, there = (torch.tensor(c, dtype=torch.float64) for c in (start, end))
        rising = ((there - here) * part).abs().floor() * (there - here).sign()
        steps.append(here + rising)
    return torch.cat(steps) / 255


def _check(flow: Tensor) -> None:
    if flow.ndim != 3 or len(flow) != 2 or not flow.is_floating_point():
        raise TccamError(f"flow: expected float (2, H, W), got {flow.dtype} {tuple(flow.shape)}")
