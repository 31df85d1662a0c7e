"""Optical flow: estimate it, keep it, and fetch pictures and maps through it."""

from tccam.flow.estimation import METHODS, estimate, estimate_clip, weights_name
from tccam.flow.files import colors, read_flo, write_flo
from tccam.flow.geometry import compose, endpoint_error, occlusion, resize, warp

__all__ = [
    "METHODS",
    "colors",
    "compose",
    "endpoint_error",
    "estimate",
    "estimate_clip",
    "occlusion",
    "read_flo",
    "resize",
    "warp",
    "weights_name",
    "write_flo",
]
