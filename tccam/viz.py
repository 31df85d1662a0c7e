"""Pictures of the book: panels, overlays, a clip player, dots over seeds.

One place decides fonts, sizes and colours, so that a method has the same colour in all chapters.
Every colour map and palette here is safe for colour-blind readers.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tccam import metrics
from tccam.errors import TccamError

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ILLEGAL", "INK", "LEGAL", "PALETTE", "arrows", "differences", "dots", "heat", "outline",
    "panels", "picture", "player", "style",
]  # fmt: skip

INK = "#1b2a3a"
ILLEGAL = "#d95f02"
LEGAL = "#1b9e9e"
#: Okabe and Ito's colours, in the order in which series are drawn.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1b2a3a")


def style() -> None:
    """Set the book's look for every figure that follows (Matplotlib's global defaults)."""
    import matplotlib as mpl  # noqa: PLC0415 - the library works without Matplotlib
    from cycler import cycler  # noqa: PLC0415

    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "figure.facecolor": "white",
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=PALETTE),
            "legend.frameon": False,
            "image.cmap": "magma",
            "image.interpolation": "nearest",
        }
    )


def picture(image: Tensor) -> NDArray[np.uint8]:
    """Any picture of the library as uint8 (H, W, 3) in [0, 255], for showing.

    Args:
        image: (3, H, W), uint8 in [0, 255] or float in [0, 1] (clipped), RGB; or (H, W), bool or
            float in [0, 1], shown in grey.
    """
    if image.ndim == 2:
        image = image.expand(3, *image.shape)
    if image.ndim != 3 or image.shape[0] != 3:
        raise TccamError(f"image: expected (3, H, W) or (H, W), got {tuple(image.shape)}")
    if image.dtype != torch.uint8:
        image = (image.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def heat(image: Tensor, scores: Tensor, strength: float = 0.75) -> Tensor:
    """A map laid over its picture: the hotter, the more the colour covers.

    Args:
        image: uint8 (3, H, W) or float (3, H, W) in [0, 1].
        scores: float (H, W) in [0, 1].
        strength: opacity at a score of 1.

    Returns:
        float (3, H, W) in [0, 1].
    """
    import matplotlib as mpl  # noqa: PLC0415

    base = torch.from_numpy(picture(image)).permute(2, 0, 1).float() / 255
    base = base.mean(0, keepdim=True).expand(3, -1, -1)
    level = scores.detach().cpu().clamp(0, 1)
    colors = torch.from_numpy(mpl.colormaps["magma"](level.numpy())[..., :3]).permute(2, 0, 1)
    alpha = strength * level.sqrt()
    return base * (1 - alpha) + colors.float() * alpha


def outline(image: Tensor, mask: Tensor, color: str = "#ffd23f") -> Tensor:
    """A picture with the outline of a mask, one pixel wide, drawn just outside of it.

    Args:
        image: uint8 (3, H, W) or float (3, H, W) in [0, 1].
        mask: bool (H, W).
        color: as "#rrggbb".

    Returns:
        uint8 (3, H, W).
    """
    drawn = picture(image).copy()  # it may share the input's memory
    inside = mask.cpu().numpy().astype(np.uint8)
    ring = cv2.dilate(inside, np.ones((3, 3), np.uint8)) > inside
    drawn[ring] = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return torch.from_numpy(drawn).permute(2, 0, 1)


def panels(
    images: Mapping[str, Tensor], columns: int | None = None, width: float = 2.6
) -> tuple[Figure, list[Axes]]:
    """Pictures side by side, each under its title.

    Args:
        images: title → picture, see :func:`picture`.
        columns: pictures in a row; all of them by default.
        width: of one picture, inches.

    Returns:
        The figure and its axes.
    """
    import matplotlib.pyplot as plt  # noqa: PLC0415

    columns = columns or len(images)
    rows = -(-len(images) // columns)
    height, across = next(iter(images.values())).shape[-2:]
    size = (columns * width, rows * (width * height / across + 0.3))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="compressed")
    for axis in axes.flat[len(images) :]:
        axis.set_visible(False)
    for axis, (title, image) in zip(axes.flat, images.items(), strict=False):
        axis.imshow(picture(image))
        axis.set_title(title)
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(visible=True, color="0.75", linewidth=0.8)
    return figure, list(axes.flat)


def arrows(axis: Axes, flow: Tensor, step: int = 12, color: str = "#ffd23f") -> None:
    """Draw every ``step``-th vector of an optical flow, float (2, H, W) in pixels."""
    height, width = flow.shape[-2:]
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    u, v = flow[:, y, x].numpy()
    axis.quiver(x, y, u, v, angles="xy", scale_units="xy", scale=1, color=color, width=0.005)


def dots(
    axis: Axes, values: Mapping[str, Sequence[float]], label: str, color: str = PALETTE[0]
) -> None:
    """One row a name: a dot for every seed, a line for their mean. Nothing is hidden in a bar.

    Args:
        axis: where to draw.
        values: name → one value a seed.
        label: of the horizontal axis.
        color: of the dots.
    """
    for row, numbers in enumerate(values.values()):
        axis.plot(numbers, [row] * len(numbers), "o", color=color, alpha=0.65, ms=7, mew=0)
        axis.plot([np.mean(numbers)] * 2, [row - 0.28, row + 0.28], color=INK, lw=2)
    axis.set_yticks(range(len(values)), list(values))
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.set_xlabel(label)
    axis.grid(axis="x", alpha=0.25)


_WEBP_SIDE = 16383  # pixels: the format's limit

_PLAYER = Template("""\
<figure class="tccam-player" id="$id" role="group" aria-label="$alt" style="margin:0">
<div style="display:flex;flex-wrap:wrap;gap:8px">$views</div>
<div style="display:flex;gap:8px;align-items:center;margin-top:6px;max-width:${total}px">
<button type="button" aria-label="Play or pause" style="min-width:5.5em;min-height:2.2em"></button>
<input type="range" max="$last" value="$start" aria-label="Frame" style="flex:1;min-width:8em">
<output style="min-width:4.5em;text-align:right;font-variant-numeric:tabular-nums"></output>
</div>
<script>(() => {
  const root = document.getElementById("$id"), last = $last;
  const views = root.querySelectorAll("[data-sheet]"), bar = root.querySelector("input");
  const button = root.querySelector("button"), output = root.querySelector("output");
  let timer = null;
  const show = () => {
    const part = (index, count) => (count > 1 ? index / (count - 1) * 100 : 0) + "%";
    views.forEach(view => {
      const columns = +view.dataset.columns, rows = +view.dataset.rows, k = +bar.value;
      view.style.backgroundPosition =
        part(k % columns, columns) + " " + part(Math.floor(k / columns), rows);
    });
    output.textContent = bar.value + " / " + last;
  };
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "▶ Play"; };
  const next = () => { bar.value = +bar.value < last ? +bar.value + 1 : 0; show(); };
  button.onclick = () => {
    if (timer) return stop();
    button.textContent = "❚❚ Pause";
    timer = setInterval(next, $wait);
  };
  bar.oninput = () => { if (timer) stop(); show(); };
  stop();
  show();
})();</script></figure>""")


def player(
    views: Mapping[str, Tensor], alt: str, fps: float = 12.0, start: int = 0, width: int = 320
) -> HTML:
    """A clip that can be played, scrubbed and stepped with the keyboard, on any page.

    It needs no kernel and no network: the frames travel with the page as one WebP sheet a view.
    It does not start by itself, out of respect for readers who asked for less motion.

    Args:
        views: title → frames, uint8 (T, 3, H, W) or float in [0, 1], shown side by side in step.
        alt: what a reader who cannot see it should know.
        fps: frames per second.
        start: the frame to show first.
        width: of one view on a wide screen, CSS pixels; larger frames are made smaller.

    Returns:
        An IPython HTML object.
    """
    from IPython.display import HTML  # noqa: PLC0415 - only notebooks show players

    lengths = {title: len(frames) for title, frames in views.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise TccamError(f"views: expected the same number of frames in each, got {lengths}")
    count, parts, digest = next(iter(lengths.values())), [], hashlib.sha256(alt.encode())
    for title, frames in views.items():
        data, columns, rows = _sheet(frames, width, title)
        digest.update(data)
        height, across = frames.shape[-2:]
        sheet = base64.b64encode(data).decode()
        parts.append(
            f'<div style="flex:1 1 {min(width, 240)}px;max-width:{width}px">'
            f'<div style="font-size:.85em">{html.escape(title)}</div>'
            f'<div data-sheet data-columns="{columns}" data-rows="{rows}" '
            f'style="aspect-ratio:{across}/{height};border-radius:4px;'
            f"image-rendering:pixelated;background:url(data:image/webp;base64,{sheet}) 0 0/"
            f'{columns * 100}% {rows * 100}%"></div></div>'
        )
    fields: dict[str, Any] = {
        "id": f"player-{digest.hexdigest()[:10]}",
        "alt": html.escape(alt, quote=True),
        "views": "".join(parts),
        "last": count - 1,
        "start": start,
        "total": len(views) * (width + 8) - 8,
        "wait": round(1000 / (fps or 12.0)),
    }
    return HTML(_PLAYER.substitute(fields))


def _sheet(frames: Tensor, width: int, title: str) -> tuple[bytes, int, int]:
    """All frames in one WebP picture, row by row: its bytes, columns and rows."""
    tiles = [picture(frame) for frame in frames]
    height, across = tiles[0].shape[:2]
    if across > width:
        height, across = max(1, round(height * width / across)), width
        tiles = [cv2.resize(tile, (across, height), interpolation=cv2.INTER_AREA) for tile in tiles]
    columns = min(len(tiles), _WEBP_SIDE // across)
    rows = -(-len(tiles) // columns)
    if rows * height > _WEBP_SIDE:
        raise TccamError(f"views[{title!r}]: {len(tiles)} frames are too many for one sheet")
    sheet = np.zeros((rows * height, columns * across, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet[row * height :, column * across :][:height, :across] = tile
    coded, data = cv2.imencode(".webp", sheet[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 82])
    if not coded:
        raise TccamError(f"views[{title!r}]: OpenCV could not encode it as WebP")
    return data.tobytes(), columns, rows


def differences(
    axis: Axes, values: Mapping[str, Sequence[float]], label: str, color: str = PALETTE[0]
) -> None:
    """One row a comparison: a dot for every seed, the mean, its 95% interval, and a line at zero.

    Args:
        axis: where to draw.
        values: name → one paired difference a seed, at least two.
        label: of the horizontal axis.
        color: of the dots.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axis = Figure().subplots()
        >>> differences(axis, {"a − b": [0.02, 0.05, 0.03]}, "IoU")
        >>> [text.get_text() for text in axis.get_yticklabels()]
        ['a − b']
    """
    axis.axvline(0, color="0.6", lw=1)
    for row, numbers in enumerate(values.values()):
        found = metrics.interval(torch.tensor(numbers))
        axis.plot([found.low, found.high], [row, row], color=INK, lw=1.5)
        axis.plot(numbers, [row] * len(numbers), "o", color=color, alpha=0.55, ms=6, mew=0)
        axis.plot([found.mean], [row], "|", color=INK, ms=14, mew=2)
    axis.set_yticks(range(len(values)), list(values))
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.set_xlabel(label)
    axis.grid(axis="x", alpha=0.25)
