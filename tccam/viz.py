"""Pictures of the book: panels, overlays, a clip player, dots over seeds.

One place decides fonts, sizes and colours, so that a method has the same colour in all chapters.
Every colour map and palette here is safe for colour-blind readers.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tccam import metrics
from tccam.errors import TccamError
from tccam.study.results import Comparison, compare

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ILLEGAL", "INK", "LEGAL", "METHOD_COLORS", "PALETTE", "arrows", "curves", "differences",
    "dots", "forest", "grid", "heat", "method_colors", "outline", "panels", "picture", "player",
    "sheet", "study_figures", "style",
]  # fmt: skip

INK = "#1b2a3a"
ILLEGAL = "#d95f02"
LEGAL = "#1b9e9e"
#: Okabe and Ito's colours, in the order in which series are drawn.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1b2a3a")
#: A method's colour, the same in all chapters; a control is grey.
METHOD_COLORS = MappingProxyType(
    {
        "plain": PALETTE[0],
        "puzzle": PALETTE[1],
        "temporal": PALETTE[2],
        "both": PALETTE[3],
        "control": "#5c6675",
    }
)


def style() -> None:
    """Set the book's look for every figure that follows (Matplotlib's global defaults).

    Example:
        >>> style()
        >>> import matplotlib
        >>> matplotlib.rcParams["image.cmap"]
        'magma'
    """
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


def method_colors(names: Iterable[str]) -> dict[str, str]:
    """A colour for each of a figure's series: a method's own, and for others what is left.

    Args:
        names: of methods and of anything else; "plain, control" counts as a control.

    Returns:
        name → "#rrggbb".

    Example:
        >>> method_colors(["temporal", "plain, control", "momentum"])
        {'temporal': '#009E73', 'plain, control': '#5c6675', 'momentum': '#0072B2'}
    """
    own = {
        name: METHOD_COLORS.get("control" if name.endswith(", control") else name) for name in names
    }
    left = itertools.cycle(color for color in PALETTE if color not in own.values())
    return {name: color or next(left) for name, color in own.items()}


def picture(image: Tensor) -> NDArray[np.uint8]:
    """Any picture of the library as uint8 (H, W, 3) in [0, 255], for showing.

    Args:
        image: (3, H, W), uint8 in [0, 255] or float in [0, 1] (clipped), RGB; or (H, W), bool or
            float in [0, 1], shown in grey.

    Example:
        >>> picture(torch.ones(3, 2, 4)).shape, picture(torch.ones(3, 2, 4)).max()
        ((2, 4, 3), np.uint8(255))
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

    Example:
        >>> heat(torch.zeros(3, 2, 4), torch.ones(2, 4)).shape
        torch.Size([3, 2, 4])
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

    Example:
        >>> mask = torch.zeros(5, 5, dtype=torch.bool)
        >>> mask[2, 2] = True
        >>> int(outline(torch.zeros(3, 5, 5), mask).any(0).sum())  # the eight neighbours
        8
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

    Example:
        >>> figure, axes = panels({"grey": torch.rand(4, 5), "colours": torch.rand(3, 4, 5)})
        >>> [axis.get_title() for axis in axes]
        ['grey', 'colours']
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
    """Draw every ``step``-th vector of an optical flow, float (2, H, W) in pixels.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axis = Figure().subplots()
        >>> arrows(axis, torch.ones(2, 24, 36))
        >>> axis.collections[0].N  # one each twelve pixels
        6
    """
    height, width = flow.shape[-2:]
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    u, v = flow[:, y, x].numpy()
    axis.quiver(x, y, u, v, angles="xy", scale_units="xy", scale=1, color=color, width=0.005)


def dots(
    axis: Axes, values: Mapping[str, Sequence[float]], label: str, color: str | None = None
) -> None:
    """One row a name: a dot for every seed, a line for their mean. Nothing is hidden in a bar.

    Args:
        axis: where to draw.
        values: name → one value a seed.
        label: of the horizontal axis.
        color: of the dots; by default those of :func:`method_colors`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axis = Figure().subplots()
        >>> dots(axis, {"plain": [0.4, 0.5], "temporal": [0.6, 0.5]}, "IoU")
        >>> [line.get_color() for line in axis.lines[::2]]
        ['#0072B2', '#009E73']
    """
    colors = method_colors(values)
    for row, (name, numbers) in enumerate(values.items()):
        own = color or colors[name]
        axis.plot(numbers, [row] * len(numbers), "o", color=own, alpha=0.65, ms=7, mew=0)
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

    Example:
        >>> shown = player({"noise": torch.rand(4, 3, 8, 8)}, alt="Four frames of noise")
        >>> 'aria-label="Four frames of noise"' in shown.data
        True
    """
    from IPython.display import HTML  # noqa: PLC0415 - only notebooks show players

    lengths = {title: len(frames) for title, frames in views.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise TccamError(f"views: expected the same number of frames in each, got {lengths}")
    count, parts, digest = next(iter(lengths.values())), [], hashlib.sha256(alt.encode())
    for title, frames in views.items():
        data, columns, rows = sheet(frames, width, name=f"views[{title!r}]")
        digest.update(data)
        height, across = frames.shape[-2:]
        coded = base64.b64encode(data).decode()
        parts.append(
            f'<div style="flex:1 1 {min(width, 240)}px;max-width:{width}px">'
            f'<div style="font-size:.85em">{html.escape(title)}</div>'
            f'<div data-sheet data-columns="{columns}" data-rows="{rows}" '
            f'style="aspect-ratio:{across}/{height};border-radius:4px;'
            f"image-rendering:pixelated;background:url(data:image/webp;base64,{coded}) 0 0/"
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


def sheet(
    frames: Tensor, width: int = 320, *, name: str = "frames", quality: int = 82
) -> tuple[bytes, int, int]:
    """All frames of a clip in one WebP picture, row by row, as browsers can show them in turn.

    Args:
        frames: (T, 3, H, W) or (T, H, W), each as :func:`picture` takes it.
        width: pixels; wider frames are made smaller.
        name: of the argument, for the error.
        quality: of WebP, 1 to 100.

    Returns:
        The file's bytes, its columns and its rows.

    Raises:
        TccamError: if the frames do not fit into one WebP picture.

    Example:
        >>> data, columns, rows = sheet(torch.rand(5, 3, 8, 8))
        >>> data[8:12], columns, rows
        (b'WEBP', 5, 1)
    """
    tiles = [picture(frame) for frame in frames]
    height, across = tiles[0].shape[:2]
    if across > width:
        height, across = max(1, round(height * width / across)), width
        tiles = [cv2.resize(tile, (across, height), interpolation=cv2.INTER_AREA) for tile in tiles]
    columns = min(len(tiles), _WEBP_SIDE // across)
    rows = -(-len(tiles) // columns)
    if rows * height > _WEBP_SIDE:
        raise TccamError(f"{name}: {len(tiles)} frames are too many for one sheet")
    canvas = np.zeros((rows * height, columns * across, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        canvas[row * height :, column * across :][:height, :across] = tile
    coded, data = cv2.imencode(".webp", canvas[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not coded:
        raise TccamError(f"{name}: OpenCV could not encode it as WebP")
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


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def forest(axis: Axes, groups: Mapping[str, Sequence[Comparison]]) -> None:
    """A forest plot: one row a comparison, with a dot for every seed, the mean and its interval.

    Args:
        axis: where to draw.
        groups: what is compared, such as "argmax" and "threshold" → the same comparisons by that
            score, see :func:`tccam.study.results.compare`; each group has a colour of its own.

    Raises:
        TccamError: if the groups hold other comparisons than each other, or none.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from tccam import study
        >>> found = study.compare(study.load("smoke"), "iou_argmax")
        >>> axis = Figure().subplots()
        >>> forest(axis, {"argmax": found[:1]})
        >>> [text.get_text() for text in axis.get_yticklabels()]
        ['puzzle − plain']
    """
    names = [[found.name for found in group] for group in groups.values()]
    if not names or not names[0] or any(other != names[0] for other in names):
        raise TccamError(f"groups: expected the same comparisons in each, got {names}")
    axis.axvline(0, color="0.6", lw=1)
    shifts = (np.arange(len(groups)) - (len(groups) - 1) / 2) * (0.68 / len(groups))
    for number, ((title, group), shift) in enumerate(zip(groups.items(), shifts, strict=True)):
        color = _color(number)
        for row, found in enumerate(group):
            gap, at = found.paired.difference, row + shift
            axis.plot([gap.low, gap.high], [at, at], color=color, lw=1.5)
            axis.plot(found.values, [at] * gap.n, "o", color=color, alpha=0.4, ms=5, mew=0)
            axis.plot([gap.mean], [at], "|", color=INK, ms=11, mew=2)
        axis.plot([], [], "o-", color=color, label=title)
    axis.set_yticks(range(len(names[0])), names[0])
    axis.set_ylim(len(names[0]) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.25)


def study_figures(recorded: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of a recorded study, one panel for each value of its axes.

    Args:
        recorded: see :func:`tccam.study.results.load`.

    Returns:
        "forest", the paired differences by argmax and at the threshold, if it compares anything;
        "curves", the scores over the threshold and precision over recall, if it records them.

    Example:
        >>> from tccam import study
        >>> sorted(study_figures(study.load("smoke")))
        ['forest']
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    found = {
        title: compare(recorded, score)
        for score, title in {"iou_argmax": "argmax", "iou_threshold": "threshold"}.items()
    }
    places = list(dict.fromkeys(_labels(recorded, row) for row in recorded["rows"]))
    made = {}
    if recorded["pairs"]:
        height = (0.35 * len(recorded["pairs"]) + 0.9) * len(places)
        made["forest"] = Figure(figsize=(6, height), layout="constrained")
        axes = made["forest"].subplots(len(places), 1, squeeze=False)[:, 0]
        for axis, place in zip(axes, places, strict=True):
            groups = {
                title: [c for c in group if tuple(c.place.values()) == place]
                for title, group in found.items()
            }
            forest(axis, groups)
            axis.set_title(_title(recorded, place), loc="left")
        axes[0].legend(loc="best")
        axes[-1].set_xlabel("difference in IoU")
    if recorded["curves"]:
        made["curves"] = Figure(figsize=(8, 3.4 * len(places)), layout="constrained")
        pairs = made["curves"].subplots(len(places), 2, squeeze=False)
        for pair, place in zip(pairs, places, strict=True):
            points = [p for p in recorded["curves"] if _labels(recorded, p) == place]
            curves(pair, points, {point["arm"]: point["arm"] for point in points})
            pair[0].set_title(_title(recorded, place), loc="left")
            pair[1].legend(loc="best")
    return made


def _labels(recorded: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[axis] for axis in recorded["axes"])


def _title(recorded: Mapping[str, Any], place: Sequence[Any]) -> str:
    labels = zip(recorded["axes"], place, strict=True)
    return ", ".join(f"{axis} {label}" for axis, label in labels)


def curves(
    axes: Sequence[Axes], points: Sequence[Mapping[str, Any]], arms: Mapping[str, str]
) -> None:
    """Scores over the threshold, and precision over recall: the mean of the seeds, an arm a line.

    Args:
        axes: two, for IoU over the threshold and for precision over recall.
        points: "curves" of one place of a recorded study, see :func:`tccam.study.results.load`.
        arms: the arms to draw → what the legend calls them.

    Raises:
        TccamError: if an arm has no points.

    Example:
        >>> from matplotlib.figure import Figure
        >>> points = [
        ...     {"arm": "plain", "threshold": t, "iou": t, "precision": t, "recall": 1 - t}
        ...     for t in (0.1, 0.9)
        ... ]
        >>> axes = Figure().subplots(1, 2)
        >>> curves(axes, points, {"plain": "the plain network"})
        >>> axes[0].lines[0].get_label()
        'the plain network'
    """
    colors = method_colors(arms)
    for number, (arm, title) in enumerate(arms.items()):
        color = colors[arm]
        dash = "--" if color in list(colors.values())[:number] else "-"
        own = [point for point in points if point["arm"] == arm]
        if not own:
            raise TccamError(f"arms: no curve of {arm!r} is among the points")
        levels = sorted({point["threshold"] for point in own})
        iou, precision, recall = (
            [np.mean([p[score] for p in own if p["threshold"] == level]) for level in levels]
            for score in ("iou", "precision", "recall")
        )
        axes[0].plot(levels, iou, color=color, ls=dash, label=title)
        axes[1].plot(recall, precision, color=color, ls=dash, label=title)
    axes[0].set(xlabel="threshold", ylabel="IoU", xlim=(0, 1), ylim=(0, None))
    axes[1].set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    for axis in axes:
        axis.grid(alpha=0.25)


def grid(
    axis: Axes, values: NDArray[np.float64], rows: Sequence[Any], columns: Sequence[Any]
) -> None:
    """A heat map whose cells say their value, two decimals each.

    Args:
        axis: where to draw.
        values: (R, C).
        rows: R labels.
        columns: C labels.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axis = Figure().subplots()
        >>> grid(axis, np.array([[0.25, 0.5]]), ["row"], ["a", "b"])
        >>> [text.get_text() for text in axis.texts]
        ['0.25', '0.50']
    """
    if values.shape != (len(rows), len(columns)):
        raise TccamError(f"values: expected {(len(rows), len(columns))}, got {values.shape}")
    low, high = np.nanmin(values), np.nanmax(values)
    axis.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        dark = value < (low + high) / 2
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="w" if dark else "k")
    axis.set_xticks(range(len(columns)), [str(label) for label in columns])
    axis.set_yticks(range(len(rows)), [str(label) for label in rows])
    axis.tick_params(length=0)
