"""Clips: the synthetic belt, video files and folders of pictures."""

from tccam.data.belt import BeltClip, BeltConfig, BeltObject, SyntheticBelt
from tccam.data.clip import CLASSES, ArrayClip, Clip
from tccam.data.flows import ClipFlow, FlowStore
from tccam.data.folder import FolderClip, open_clip
from tccam.data.video import VideoClip, write_video

__all__ = [
    "CLASSES",
    "ArrayClip",
    "BeltClip",
    "BeltConfig",
    "BeltObject",
    "Clip",
    "ClipFlow",
    "FlowStore",
    "FolderClip",
    "SyntheticBelt",
    "VideoClip",
    "open_clip",
    "write_video",
]
