"""Files that are whole or not there, and weights that are read without running code."""

from __future__ import annotations

import os
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from tccam.errors import TccamError

__all__ = ["download_state", "existing", "read_state", "write_atomic"]


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside ``path``, then rename it in one step.

    A reader sees the old file or the new one, never half of one; a killed or failed writer leaves
    the old one. Folders are made as needed.

    Args:
        path: where the file belongs.
        data: all of it.

    Raises:
        OSError: if it cannot be written; no temporary file is left.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomic(Path(folder) / "new" / "a.txt", b"whole")
        ...     (Path(folder) / "new" / "a.txt").read_bytes()
        b'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)  # a temporary file is private; this one is as readable as any other
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a full disk, say
            error.filename = os.fspath(path)
        raise


def existing(path: Path) -> Path:
    """The same path, or an error that names it when there is no such file.

    Example:
        >>> existing(Path("weights.pt"))
        Traceback (most recent call last):
        ...
        tccam.errors.TccamError: weights.pt: there is no such file; expected a state dict
    """
    if not path.is_file():
        raise TccamError(f"{path}: there is no such file; expected a state dict")
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU; no code in it is run.

    Args:
        path: .safetensors, or what ``torch.save`` wrote.

    Raises:
        TccamError: if the file is missing, damaged, or no mapping from names to tensors.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"bias": torch.zeros(2)}, Path(folder) / "a.pt")
        ...     read_state(Path(folder) / "a.pt")
        {'bias': tensor([0., 0.])}
    """
    existing(path)
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        found = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise TccamError(f"{path}: not a readable state dict ({found})") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise TccamError(f"{path}: expected a state dict, a mapping from names to tensors")
    return state


def download_state(published: Any, name: str) -> dict[str, Tensor]:
    """The state dict of torchvision's published weights, from its cache or from the network.

    Args:
        published: a member of a torchvision weights enumeration.
        name: what messages call it.

    Raises:
        TccamError: if it cannot be downloaded, or arrives damaged.
    """
    try:
        state: dict[str, Tensor] = published.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError) as error:
        raise TccamError(
            f"weights: {name} could not be downloaded ({error}); connect to the network, "
            f"or give the path of a state dict that you have"
        ) from None
    return state
