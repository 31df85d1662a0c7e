"""What a chapter needs around its pictures: glued numbers, recorded studies, the machine."""

from __future__ import annotations

import html
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import cv2
import torch

from tccam.errors import TccamError
from tccam.metrics import Interval
from tccam.quizzes import HEADINGS, Quiz, load
from tccam.study.results import Comparison
from tccam.study.results import load as recorded

if TYPE_CHECKING:
    from IPython.display import HTML

__all__ = ["difference", "glue", "glue_comparisons", "quiz", "recorded", "table", "versions"]

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


def difference(gap: Interval) -> str:
    r"""A mean difference as the book writes it: with sign, interval, a star where that excludes 0.

    Example:
        >>> from tccam import metrics
        >>> difference(metrics.interval([0.02, 0.05, 0.03])).split("\N{NO-BREAK SPACE}")
        ['+0.033', '(−0.005', 'to', '+0.071)']
    """
    star = " *" if gap.low > 0 or gap.high < 0 else ""
    text = f"{_signed(gap.mean)} ({_signed(gap.low)} to {_signed(gap.high)}){star}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "−")
    return "0.000" if text[1:] == "0.000" else text


def glue_comparisons(prefix: str, comparisons: Iterable[Comparison]) -> None:
    """Store what a study found under names for the prose: PREFIX_comparison_place.

    "temporal − plain" at stride 16 is named ``PREFIX_temporal_plain_16``, and its text is that of
    :func:`difference`. ``…_mean`` is the mean difference alone, with its sign.

    Args:
        prefix: of the names, such as "repro_argmax".
        comparisons: see :func:`tccam.study.results.compare`.

    Raises:
        TccamError: if two of them get the same name.
    """
    names: set[str] = set()
    for found in comparisons:
        words = re.findall(r"[A-Za-z0-9]+", " ".join([found.name, *map(str, found.place.values())]))
        name = "_".join([prefix, *words])
        if name in names:
            raise TccamError(f"comparisons: two of them are called {name}")
        names.add(name)
        glue(name, difference(found.paired.difference))
        glue(f"{name}_mean", _signed(found.paired.difference.mean))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> HTML:
    """A table of what a cell computed. The first column names the rows.

    Args:
        header: of the columns.
        rows: of texts, as many as the header has.

    Returns:
        An IPython HTML object.

    Raises:
        TccamError: if a row has another length.

    Example:
        >>> shown = table(["arm", "IoU"], [["plain", "0.52"]]).data
        >>> "<th scope='row'>plain</th><td>0.52</td>" in shown
        True
    """
    from IPython.display import HTML  # noqa: PLC0415 - only notebooks

    head = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in header)
    lines = []
    for row in rows:
        if len(row) != len(header):
            raise TccamError(f"rows: expected {len(header)} texts, got {list(row)}")
        name, *cells = map(html.escape, row)
        lines.append(f"<th scope='row'>{name}</th>" + "".join(f"<td>{c}</td>" for c in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return HTML(
        f"<div class='pst-scrollable-table-container'><table class='table'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def quiz(chapter: str, name: str) -> Quiz:
    """Questions of a chapter, for the reader to answer on the page.

    Args:
        chapter: such as "the-belt".
        name: "predict", for questions that come before a result, or "check", for those after it.

    Raises:
        TccamError: if there are no such questions.

    Example:
        >>> quiz("the-belt", "check").heading
        'Check yourself'
    """
    quizzes = load(chapter)
    if name not in quizzes or name not in HEADINGS:
        raise TccamError(f"name: {chapter} has {', '.join(quizzes)}, got {name!r}")
    return Quiz(HEADINGS[name], quizzes[name])


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
        "torchvision": version("torchvision"),
        "opencv": cv2.__version__,
        "device": device,
    }
    sys.stdout.write("".join(f"{name:<12} {what}\n" for name, what in lines.items()))
