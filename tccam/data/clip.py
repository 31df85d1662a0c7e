"""A clip: consecutive frames of one fixed camera, and what is known about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from tccam.background import median_background
from tccam.errors import TccamError

__all__ = ["CLASSES", "ArrayClip", "Clip", "LabelledClip"]

#: The image-level labels, in the order of the network's outputs.
CLASSES = ("before", "after", "background")


class Clip(ABC):
    """Consecutive frames of one fixed camera, read one at a time or all at once.

    ``len(clip)`` is the number of frames T, ``clip[t]`` one frame and ``for frame in clip``
    streams them in order with one frame in memory. A frame is a uint8 tensor of shape (3, H, W),
    RGB, in [0, 255].

    Attributes:
        name: what messages and pictures call the clip.
        label: the camera's class, one of :data:`CLASSES`, or None when it is not known.
        fps: frames per second of the recording; 0.0 when it is not known.
    """

    name: str
    label: str | None = None
    fps: float = 0.0

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames T."""

    @abstractmethod
    def __getitem__(self, index: int) -> Tensor:
        """Frame ``index`` as uint8 (3, H, W); negative indices count from the end."""

    def __iter__(self) -> Iterator[Tensor]:
        for index in range(len(self)):
            yield self[index]

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self[0].shape[-2:]
        return int(height), int(width)

    @cached_property
    def frames(self) -> Tensor:
        """All frames, uint8 (T, 3, H, W). Long videos do not fit in memory: iterate instead."""
        return torch.stack(list(self))

    @cached_property
    def background(self) -> Tensor:
        """The median of all frames, float32 (3, H, W), see ``background.median_background``."""
        return median_background(self.frames)

    def _index(self, index: int) -> int:
        """``index`` as 0 … T−1, or IndexError."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {self.name!r} has {len(self)} frames; there is no {index}")
        return index % len(self)

    def __repr__(self) -> str:
        height, width = self.size
        return (
            f"{type(self).__name__}({self.name!r}, {len(self)} frames of {height}×{width}"
            f"{f', {self.label}' if self.label else ''})"
        )


class LabelledClip(Clip):
    """A clip to train and to judge on: the class of every frame is known."""

    #: Whether frames are read when they are asked for, and do not fit in memory together.
    lazy: bool = False

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """Image-level labels, int64 (T,), indices into :data:`CLASSES`."""

    @property
    @abstractmethod
    def masks(self) -> Tensor:
        """Where illegal objects are seen, bool (T, H, W).

        Raises:
            TccamError: if that is not known.
        """

    @property
    def occupied(self) -> Tensor:
        """Where any object is seen, legal or not, bool (T, H, W); as far as that is known."""
        return self.masks

    def truth(self, index: int) -> tuple[Tensor, Tensor]:
        """One frame of ``masks`` and of ``occupied``, bool (H, W) each.

        A clip that is ``lazy`` reads no other for it.

        Args:
            index: of the frame; negative indices count from the end.

        Raises:
            TccamError: as ``masks``.
        """
        return self.masks[index], self.occupied[index]

    @property
    def known(self) -> Tensor:
        """Frames whose mask is known, bool (T,)."""
        return torch.ones(len(self), dtype=torch.bool)

    @property
    def starts(self) -> Tensor:
        """Frames that do not follow the one before them, bool (T,): the first, and after a gap."""
        starts = torch.zeros(len(self), dtype=torch.bool)
        starts[0] = True
        return starts


class ArrayClip(Clip):
    """A clip that is already in memory.

    Args:
        frames: uint8 (T, 3, H, W), RGB, at least one frame.
        name: what messages call the clip.
        label: one of :data:`CLASSES` or None.
        fps: frames per second, 0.0 when not known.

    Raises:
        TccamError: if ``frames`` has another shape or dtype, or is empty.

    Example:
        >>> clip = ArrayClip(torch.zeros(5, 3, 8, 10, dtype=torch.uint8), "zeros")
        >>> len(clip), clip.size
        (5, (8, 10))
    """

    def __init__(
        self, frames: Tensor, name: str = "frames", label: str | None = None, fps: float = 0.0
    ) -> None:
        if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8:
            raise TccamError(
                f"frames: expected uint8 (T, 3, H, W), got {frames.dtype} {tuple(frames.shape)}"
            )
        if frames.shape[0] == 0:
            raise TccamError(f"clip {name!r}: it has no frames")
        self.frames = frames
        self.name, self.label, self.fps = name, label, fps

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Tensor:
        return self.frames[self._index(index)]
