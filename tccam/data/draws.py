"""Random draws that are the same on every machine and with every NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draws", "sine"]

T = TypeVar("T")
# One turn of a sine, rounded to 14 bits: libraries differ in the last bit of sin(), this does not.
_SINE = np.round(np.sin(np.arange(4096) * (2 * np.pi / 4096)) * 2**14) / 2**14


def sine(turns: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Sine of an angle in turns, to 14 bits, bit-identical everywhere.

    Example:
        >>> float(sine(0.25)), float(sine(0.5))
        (1.0, 0.0)
    """
    steps = np.floor(np.asarray(turns, dtype=np.float64) * 4096.0).astype(np.int64)
    values: NDArray[np.float64] = _SINE[steps % 4096]
    return values


class Draws:
    """Uniform draws from the raw words of PCG64.

    NumPy promises a stable stream for the raw words of a bit generator, not for the distributions
    built on them; with these few lines the embedded data set does not depend on NumPy's version.

    Args:
        key: integers that name the stream, e.g. (seed, split, camera, clip).

    Example:
        >>> a, b = Draws(7, 1), Draws(7, 1)
        >>> a.uniform(0, 1) == b.uniform(0, 1)
        True
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def choice(self, options: Sequence[T]) -> T:
        """One of the options, each equally likely."""
        return options[int(self.uniform(0, len(options)))]

    def shuffled(self, count: int) -> list[int]:
        """The numbers 0 … count−1 in random order."""
        return sorted(range(count), key=lambda _: self.uniform(0, 1))

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """Independent uniform bytes of the given shape."""
        count = int(np.prod(shape))
        words = self._bits.random_raw(-(-count // 8))
        # Little-endian on purpose: the byte order of the machine must not show.
        return words.astype("<u8").view(np.uint8)[:count].reshape(shape)
