"""Optical flow: estimate it, keep it, and fetch pictures and maps through it."""

from tccam.flow.estimation import METHODS, estimate, estimate_clip, weights_name
from tccam.flow.files import colors, read_flo, write_flo
from tccam.flow.geometry import UNKNOWN, compose, endpoint_error, invert, occlusion, resize, warp

__all__ = [
    "METHODS",
    "UNKNOWN",
    "colors",
    "compose",
    "endpoint_error",
    "estimate",
    "estimate_clip",
    "invert",
    "occlusion",
    "read_flo",
    "resize",
    "warp",
    "weights_name",
    "write_flo",
]
