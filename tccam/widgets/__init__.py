"""Explorers: figures that answer to the reader, in JupyterLab, Colab and on pages without a kernel.

Their arithmetic runs in the browser, on maps of one byte a pixel that travel with the page. Where
anywidget is installed an explorer is a widget whose ``state`` Python can read and write; elsewhere,
and in the book, the same few lines of JavaScript draw it with neither kernel nor network. The panel
that trains needs a kernel, and shows a still without one.
"""

from tccam.widgets.base import Explorer
from tccam.widgets.explorers import (
    MethodComparison,
    PuzzleExplorer,
    ThresholdExplorer,
    WarpExplorer,
)
from tccam.widgets.retraining import RetrainPanel

__all__ = [
    "Explorer",
    "MethodComparison",
    "PuzzleExplorer",
    "RetrainPanel",
    "ThresholdExplorer",
    "WarpExplorer",
]
