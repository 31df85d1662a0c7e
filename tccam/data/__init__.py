"""Clips: the synthetic belt, video files and folders of pictures."""

from tccam.data.belt import BeltClip, BeltConfig, BeltObject, SyntheticBelt
from tccam.data.clip import CLASSES, ArrayClip, Clip

__all__ = [
    "CLASSES",
    "ArrayClip",
    "BeltClip",
    "BeltConfig",
    "BeltObject",
    "Clip",
    "SyntheticBelt",
]
