"""A panel that trains: two weights, a button, and the map that comes of them."""

from __future__ import annotations

import base64
import html
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from tccam import metrics, viz
from tccam.data.clip import LabelledClip
from tccam.data.dataset import DataSet
from tccam.errors import TccamError
from tccam.inference import predict, score_maps
from tccam.training import FrameSet, TrainConfig, fit

__all__ = ["RetrainPanel", "Retrained"]

_VIEW = "application/vnd.jupyter.widget-view+json"
_HOW = (
    "The controls need a kernel. Open this chapter in JupyterLab, in Colab or in Binder (the rocket"
    " at the top of the page) and run its cells: two sliders and a button take the place of this"
    " sentence."
)


@dataclass(frozen=True)
class Retrained:
    """What a network makes of the clip.

    Attributes:
        scores: its map of *before* on the frame that is shown, float (H, W) in [0, 1].
        iou_argmax: of the argmax masks, mean over the frames of the clip that show illegal objects.
        iou_best: the same for the masks at the best threshold of this clip: an upper bound.
    """

    scores: Tensor
    iou_argmax: float
    iou_best: float


class RetrainPanel:
    """Train a small network with other weights α and β, and see its map beside the first one's.

    With a kernel and ipywidgets the panel has two sliders and a button. On a page there is no
    kernel: it shows a still, the pictures of ``start``, and says how to get the controls.

    Args:
        config: of the network to compare with; its method is "both", so that tiles and neighbours
            pass every network, and the weights alone differ. Few steps make short waits.
        data: of ``config.data``.
        clip: whose frame is shown.
        frame: index in the clip, of one that shows an illegal object.
        start: α and β of the second network, before the reader has chosen.

    Raises:
        TccamError: if the method is another, or there is no such frame.

    Example:
        >>> from tccam.data import BeltConfig, SyntheticBelt
        >>> belt = SyntheticBelt(BeltConfig(train=1, validation=1, frames=16))
        >>> RetrainPanel(TrainConfig(data=belt.config), belt, belt.validation[0], 8)
        Traceback (most recent call last):
        tccam.errors.TccamError: config: expected the method 'both', got 'plain'
    """

    def __init__(
        self,
        config: TrainConfig,
        data: DataSet,
        clip: LabelledClip,
        frame: int,
        start: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if config.method != "both":
            raise TccamError(f"config: expected the method 'both', got {config.method!r}")
        self._judged = clip.masks.flatten(1).any(1).nonzero().flatten()
        if frame not in self._judged:
            raise TccamError(f"frame: expected one that shows an illegal object, got {frame}")
        self.config, self.data, self.clip, self.frame, self.start = config, data, clip, frame, start
        self._pictures = FrameSet([clip], config.background).pictures(self._judged)
        self._found: dict[tuple[float, float], Retrained] = {}

    def retrain(self, alpha: float, beta: float) -> Retrained:
        """Train with these weights, or take what has been trained with them before.

        Raises:
            TccamError: if a weight is negative.
        """
        if (alpha, beta) not in self._found:
            config = replace(self.config, alpha=alpha, beta=beta)
            network = fit(config, belt=self.data, progress=False).network
            maps = predict(network, self._pictures).maps
            scores = score_maps(maps, self.clip.size, network.output_stride)
            truth = self.clip.masks[self._judged]
            self._found[alpha, beta] = Retrained(
                scores[self._judged == self.frame, 0][0].clone(),
                float(metrics.frame_iou(metrics.argmax_mask(scores), truth).mean()),
                metrics.best_threshold(scores[:, 0], truth).score,
            )
        return self._found[alpha, beta]

    def html(self, alpha: float, beta: float) -> str:
        """The frame and both maps, with their numbers, as HTML."""
        image, mask = self.clip[self.frame], self.clip.masks[self.frame]
        words = "The frame, its illegal objects outlined"
        parts = [_figure(viz.outline(image, mask), words, words)]
        for whose, a, b in (
            ("The book's", self.config.alpha, self.config.beta),
            ("Yours", alpha, beta),
        ):
            found = self.retrain(a, b)
            numbers = f"IoU {found.iou_argmax:.2f} argmax, {found.iou_best:.2f} best threshold"
            words = f"{whose}: α = {a:g}, β = {b:g}. {numbers}"
            drawn = viz.outline(viz.heat(image, found.scores), mask)
            parts.append(_figure(drawn, words, f"Map of before over the frame. {words}"))
        return f'<div style="display: flex; flex-wrap: wrap; gap: 1em">{"".join(parts)}</div>'

    @cached_property
    def controls(self) -> Any:
        """The panel as an ``ipywidgets.VBox``. Its button trains.

        Raises:
            TccamError: if ipywidgets is not installed.
        """
        try:
            import ipywidgets  # noqa: PLC0415 - pages and the library work without it
        except ImportError:
            raise TccamError("ipywidgets: not installed, and the controls are made of it") from None
        alpha, beta = (
            ipywidgets.FloatSlider(value, min=0, max=most, step=0.5, description=name)
            for name, value, most in zip(("α, tiles", "β, time"), self.start, (8, 12), strict=True)
        )
        button = ipywidgets.Button(description="Train", button_style="primary")
        status, shown = ipywidgets.HTML(), ipywidgets.HTML(self.html(*self.start))

        def train(_: Any) -> None:
            button.disabled = True
            status.value = f"Training {self.config.steps} steps …"
            try:
                shown.value = self.html(alpha.value, beta.value)
                status.value = f"Trained {self.config.steps} steps with seed {self.config.seed}."
            except Exception as error:  # in a callback it would be shown nowhere
                status.value = f"That did not work: {html.escape(str(error))}"
            finally:
                button.disabled = False

        button.on_click(train)
        return ipywidgets.VBox([alpha, beta, ipywidgets.HBox([button, status]), shown])

    def __repr__(self) -> str:
        (a, b), book = self.start, self.config
        return f"RetrainPanel: α = {a:g}, β = {b:g} beside α = {book.alpha:g}, β = {book.beta:g}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        try:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.controls.model_id}
        except TccamError:
            view = {}
        if view:
            bundle[_VIEW] = view
        if not view or "google.colab" not in sys.modules:  # where it may prefer the still
            bundle["text/html"] = f"{self.html(*self.start)}<p>{_HOW}</p>"
        return bundle


def _figure(image: Tensor, caption: str, alt: str) -> str:
    data, _, _ = viz.sheet(image[None], quality=90)
    text = base64.b64encode(data).decode()
    return (
        f'<figure style="margin: 0; flex: 1 1 12em; max-width: 20em">'
        f'<img alt="{html.escape(alt)}" src="data:image/webp;base64,{text}" style="width: 100%">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
