"""What all explorers are: some data, some state, and JavaScript that draws the two."""

from __future__ import annotations

import base64
import hashlib
import html
import inspect
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tccam import cam, viz
from tccam.errors import TccamError

if TYPE_CHECKING:

    class _Widget:
        data: dict[str, Any]
        state: dict[str, Any]

        def __init__(self, data: dict[str, Any], state: dict[str, Any]) -> None: ...
        def _repr_mimebundle_(self, **kwargs: Any) -> Any: ...

else:
    try:
        import anywidget
        import traitlets
    except ImportError:  # Colab, where the library comes without its dependencies

        class _Widget:
            def __init__(self, data, state):
                self.data, self.state = data, state

            def _repr_mimebundle_(self, **kwargs):
                return {}, {}

    else:

        class _Widget(anywidget.AnyWidget):
            data = traitlets.Dict().tag(sync=True)
            state = traitlets.Dict().tag(sync=True)

            def __init_subclass__(cls, **kwargs):
                super().__init_subclass__(**kwargs)
                # Or traitlets' own hides it from help().
                own = inspect.signature(cls.__init__, eval_str=True)
                cls.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])


__all__ = ["Explorer", "explorer_script", "grey_sheet", "pack", "quantise"]

_HERE = Path(__file__).parent
_LEVELS = 255
_STRIDES = (32, 16, 8, 4, 2)

_PAGE = Template("""\
<div data-explorer="$id"><p>$alt</p></div>
<style>$css</style>
<script type="module">$script
const place = document.querySelector("[data-explorer='$id']:not([data-live])");
place.dataset.live = "";
render({ el: place, model: pageModel($values) });
</script>""")


def explorer_script(name: str) -> str:
    """The JavaScript module of an explorer: what all share, then its own file.

    Example:
        >>> "function" in explorer_script("warp")
        True
    """
    return "\n".join((_HERE / f"{part}.js").read_text(encoding="utf-8") for part in ("core", name))


class Explorer(_Widget):
    """A figure that answers to the reader.

    With anywidget installed it is an ``anywidget.AnyWidget``. Its mime bundle carries HTML as well,
    which draws the same thing where no kernel answers.

    Attributes:
        data: what is explored: texts, numbers, packed pictures. JSON.
        state: what the reader has chosen, such as ``{"frame": 3, "threshold": 0.5}``. Assign a new
            dictionary to choose from Python.

    Args:
        data: see above; "alt" is what a reader who cannot see the figure should know.
        state: at the start.
    """

    _esm = ""
    _css = (_HERE / "explorer.css").read_text(encoding="utf-8")

    def __init__(self, data: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        if not str(data.get("alt", "")).strip():
            raise TccamError("alt: expected a sentence for who cannot see the figure, got none")
        super().__init__(data=dict(data), state=dict(state))

    def html(self) -> str:
        """The explorer as a piece of HTML that needs neither a kernel nor a network."""
        # "<" would end the script where a text holds "</script>".
        values = json.dumps({"data": self.data, "state": self.state}, ensure_ascii=False)
        values = values.replace("<", "\\u003c")
        fields = {
            "id": hashlib.sha256((self._esm + values).encode()).hexdigest()[:10],
            "alt": html.escape(self.data["alt"]),
            "css": self._css,
            "script": self._esm,
            "values": values,
        }
        return _PAGE.substitute(fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.data['alt']}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live, metadata = super()._repr_mimebundle_(**kwargs)
        return {**live, "text/plain": repr(self), "text/html": self.html()}, metadata


def quantise(name: str, maps: Tensor, scale: float = 1.0) -> NDArray[np.uint8]:
    """Scores as levels 0 … 255.

    Args:
        name: of the argument, for the error.
        maps: float of any shape in [0, ``scale``], or bool.
        scale: the score of level 255.

    Returns:
        ``round(255 · maps / scale)``, uint8 of the same shape.

    Raises:
        TccamError: if ``maps`` is empty, of another dtype, or holds anything out of range.

    Example:
        >>> quantise("maps", torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    if maps.dtype != torch.bool and not maps.is_floating_point():
        raise TccamError(f"{name}: expected float or bool, got {maps.dtype}")
    if maps.numel() == 0:
        raise TccamError(f"{name}: expected at least one score, got {tuple(maps.shape)}")
    scores = maps.detach().float().cpu()
    low, high = scores.min().item(), scores.max().item()
    if not (low >= 0 and high <= scale * (1 + 1e-6)):  # false for NaN
        raise TccamError(f"{name}: expected scores in 0 … {scale:g}, got {low:g} … {high:g}")
    levels: NDArray[np.uint8] = (scores * (_LEVELS / scale)).round().byte().numpy()
    return levels


def pack(levels: NDArray[np.uint8]) -> dict[str, Any]:
    """Pictures of one byte a pixel as text, for ``unpack`` in ``core.js``.

    A map that :func:`tccam.cam.enlarge` has brought to the picture's grid travels on the network's:
    the coarsest of the strides 32, 16, 8, 4, 2 that gives every pixel back within one level; others
    travel whole, many times as heavy. What is packed are differences to the left, then to above,
    deflated.

    Args:
        levels: uint8 (..., H, W).

    Returns:
        "bytes", the text; "size" (h, w) of what travels; its "stride"; the "picture" (H, W).

    Example:
        >>> spot = torch.zeros(1, 1, 8, 8)
        >>> spot[..., 4, 4] = 1
        >>> large = cam.enlarge(spot, (32, 32), stride=4)
        >>> packed = pack(quantise("maps", large))
        >>> packed["stride"], packed["size"], packed["picture"]
        (4, (8, 8), (32, 32))
    """
    height, width = levels.shape[-2:]
    flat = levels.reshape(-1, height, width)
    stride = next((s for s in _STRIDES if _comes_back(flat, s)), 1)
    small = flat[:, ::stride, ::stride].astype(np.int16)
    across = np.diff(small, axis=2, prepend=0)
    steps = np.diff(across, axis=1, prepend=0).astype(np.uint8)
    coded = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()
    return {
        "bytes": f"data:application/octet-stream;base64,{coded}",
        "size": small.shape[1:],
        "stride": stride,
        "picture": (height, width),
    }


def _comes_back(levels: NDArray[np.uint8], stride: int) -> bool:
    cells = torch.from_numpy(levels[:, None, ::stride, ::stride].copy()).float()
    if min(cells.shape[-2:]) < 2:
        return False
    large = cam.enlarge(cells, (levels.shape[1], levels.shape[2]), stride)[:, 0].numpy()
    return bool(np.abs(np.floor(large + 0.501) - levels).max() <= 1)  # as core.js rounds


def grey_sheet(name: str, frames: Tensor) -> dict[str, Any]:
    """The frames of a clip in grey, as the one WebP picture that explorers draw from.

    Args:
        name: of the argument, for the error.
        frames: uint8 (T, 3, H, W) in [0, 255], or float in [0, 1].

    Returns:
        "sheet", a data URL; its "columns" and "rows".

    Raises:
        TccamError: if there is no frame, or another shape.

    Example:
        >>> sorted(grey_sheet("frames", torch.rand(2, 3, 8, 8)))
        ['columns', 'rows', 'sheet']
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        raise TccamError(f"{name}: expected (T, 3, H, W), got {tuple(frames.shape)}")
    scale = 1.0 if frames.is_floating_point() else 255.0
    grey = [frame.float().mean(0) / scale for frame in frames]
    data, columns, rows = viz.sheet(torch.stack(grey), name=name, quality=60)
    text = base64.b64encode(data).decode()
    return {"sheet": f"data:image/webp;base64,{text}", "columns": columns, "rows": rows}
