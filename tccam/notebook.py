"""What a chapter needs around its pictures: glued numbers, recorded studies, the machine."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from typing import Any

import cv2
import torch
import torchvision

from tccam.study.results import load as recorded

__all__ = ["glue", "recorded", "versions"]

#: What marks an output that is stored in the notebook but not shown under its cell.
_HIDDEN = "application/papermill.record/"


def glue(name: str, value: Any, display: bool = False) -> None:
    r"""Store a value in the notebook under a name, for the prose to quote.

    The prose then says ``{glue:text}`name``` or, for a number, ``{glue:text}`name:.2f```, and
    the book shows what the cell computed. The output is the one that ``myst_nb.glue`` writes, so
    that a chapter needs nothing but this package to run. Scalars from numpy and torch are stored
    as plain Python numbers, which a format such as ``.2f`` can read.

    Args:
        name: what the prose calls the value; unique in its notebook.
        value: a number, a text, a figure, or anything else that IPython can show.
        display: whether to show the value under the cell as well.

    Example:
        >>> glue("iou", 0.4375)
    """
    from IPython.core.formatters import format_display_data  # noqa: PLC0415 - only notebooks
    from IPython.display import display as show  # noqa: PLC0415

    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    data, metadata = format_display_data(value)
    prefix = "" if display else _HIDDEN
    metadata["scrapbook"] = {"name": name, "mime_prefix": prefix}
    show({prefix + mime: shown for mime, shown in data.items()}, raw=True, metadata=metadata)


def versions() -> None:
    """Write the versions that a chapter runs with, and the device that its networks can use.

    The lines are the same in every run on one machine, so that a chapter can show them first.

    Example:
        >>> versions()  # doctest: +ELLIPSIS
        python ...
        device ...
    """
    if torch.cuda.is_available():
        device = f"GPU {torch.cuda.get_device_name()}"
    else:
        device = "CPU: no GPU found, that is enough here"
    lines = {
        "python": platform.python_version(),
        "tccam": version("tccam"),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "opencv": cv2.__version__,
        "device": device,
    }
    sys.stdout.write("".join(f"{name:<12} {what}\n" for name, what in lines.items()))
