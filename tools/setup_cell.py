"""The set-up cell that every chapter has: how a chapter gets the library where it is not installed.

Colab and its like have PyTorch and NumPy, built for their machines. The cell adds what is missing
beside them with ``--no-deps`` and replaces nothing. ``make lint`` holds every chapter to
:data:`LINES`, a unit test :data:`ADDED` to what pyproject.toml asks for, and ``make colab`` tries
the cell in two environments that imitate Colab.
"""

from __future__ import annotations

from set_repository import address

__all__ = ["ADDED", "COLAB", "LINES", "NOT_IMPORTED"]

#: What is there already, and what these packages need themselves.
COLAB = (
    "ipykernel",
    "ipywidgets",
    "matplotlib",
    "numpy",
    "opencv-python",
    "pillow",
    "torch",
    "torchvision",
    "tqdm",
)

#: What the library asks for, and no chapter imports.
NOT_IMPORTED = ("shtab",)  # it completes commands in a shell

#: What the cell has to add.
ADDED = ("lightning-fabric", "lightning-utilities", "safetensors")

#: How the cell begins. Where there is no PyTorch, there is nothing to keep: pip chooses.
LINES = f"""\
try:
    import tccam
except ModuleNotFoundError:  # Colab: add the library, keep the torch and numpy that are there
    from importlib.util import find_spec

    how = "--no-deps" if find_spec("torch") else "matplotlib"
    %pip install --quiet {{how}} {" ".join(ADDED)} \\
        "tccam @ git+{address()}"
"""
