"""Clips and data sets: the synthetic belt, video files and folders of pictures."""

from tccam.data.belt import BeltClip, BeltConfig, BeltObject, SyntheticBelt
from tccam.data.clip import CLASSES, ArrayClip, Clip, LabelledClip
from tccam.data.dataset import DataSet, FolderConfig, FolderData, LabelledFolder, open_data
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
    "DataSet",
    "FlowStore",
    "FolderClip",
    "FolderConfig",
    "FolderData",
    "LabelledClip",
    "LabelledFolder",
    "SyntheticBelt",
    "VideoClip",
    "open_clip",
    "open_data",
    "write_video",
]
