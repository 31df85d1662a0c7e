"""A trained network as one file that other programs run: ONNX, or a PyTorch program.

What is exported is the network and, if asked for, the removal of the background before it. What
comes after takes a few lines in any language: relu the map of a class, enlarge it to the picture,
divide by its maximum, compare with a threshold (see :func:`tccam.inference.score_maps`).
"""

from __future__ import annotations

import copy
import io
import json
import textwrap
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tccam import background as static
from tccam.data.clip import CLASSES
from tccam.errors import TccamError
from tccam.files import write_atomic
from tccam.network import CamNet
from tccam.training import Run

__all__ = ["FORMATS", "METADATA", "OPSET", "save"]

#: The endings of the files that :func:`save` writes.
FORMATS = (".onnx", ".pt2")
#: The extra file of a .pt2 that holds the metadata, a JSON object.
METADATA = "tccam.json"
#: ONNX's version that PyTorch's exporter writes without converting, from 2.6 on.
OPSET = 18

_NEEDED = ("onnx", "onnxscript")


def save(
    run: Run | CamNet,
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    frames: bool = False,
    opset: int = OPSET,
) -> dict[str, str]:
    """Write a network as ONNX (.onnx) or as a PyTorch program (.pt2).

    A .onnx runs wherever there is an ONNX runtime. A .pt2 is what :func:`torch.export.save` writes,
    for ``torch.export.load(path).module()`` in the same PyTorch or a later one, and for its
    compilers; TorchScript, which it follows, is deprecated. Both come from the same traced graph,
    in eval mode on the CPU, and neither needs this library.

    ============== ======= ================== ==========================================
    input          dtype   shape              values
    ============== ======= ================== ==========================================
    ``images``     float32 (B, 3, H, W)       the background removed, see
                                              :func:`tccam.background.clean`
    with ``frames``, instead:
    ------------------------------------------------------------------------------------
    ``frames``     uint8   (B, 3, H, W)       RGB, 0 to 255
    ``background`` float32 (3, H, W)          the empty belt, grey levels 0 to 255
    ============== ======= ================== ==========================================

    The outputs are ``logits``, float32 (B, C), and ``maps``, float32 (B, C, h, w), neither relu'd
    nor normalised: see :class:`tccam.network.CamOutput`. B is free; so are H and W, of more than
    one cell (``output_stride`` pixels) each, unless ``size`` fixes them.

    The file says in its metadata, as texts: ``output_stride``, and of a run ``run`` (its name),
    ``classes`` (comma-separated, in the order of the maps), ``size`` (H×W that it was trained at,
    as ``128x160``; the data's own where that is ``0x0``) and ``background`` (how it is removed). In
    a .onnx they are its metadata properties, in a .pt2 the extra file :data:`METADATA`.

    Args:
        run: a finished run, or a network alone.
        path: of the file; its ending decides. It appears when it is complete.
        size: the only height and width that the file takes, for runtimes that want them fixed.
        frames: whether the file takes frames and removes their background itself, by the run's
            method. Not for "mask", whose noise estimate depends on the values.
        opset: of ONNX, :data:`OPSET` or later.

    Returns:
        The metadata.

    Raises:
        TccamError: if the name ends otherwise, a package is missing, ``frames`` is asked of a
            network alone or of "mask", ``size`` is less than a cell, or PyTorch cannot export.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     facts = save(CamNet("small"), f"{folder}/map.pt2")
        ...     program = torch.export.load(f"{folder}/map.pt2").module()
        >>> logits, maps = program(torch.zeros(5, 3, 32, 48))
        >>> tuple(logits.shape), tuple(maps.shape), facts
        ((5, 3), (5, 3, 8, 12), {'output_stride': '4'})
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise TccamError(f"{path}: expected a name that ends in {' or '.join(FORMATS)}")
    if opset < OPSET:
        raise TccamError(f"opset: expected {OPSET} or later, got {opset}")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if path.suffix == ".onnx" and missing:
        raise TccamError(
            f'{path}: ONNX needs {" and ".join(missing)}; pip install "tccam[export]", or choose '
            "a name that ends in .pt2"
        )
    network, facts = (run.network, _facts(run)) if isinstance(run, Run) else (run, {})
    facts["output_stride"] = str(network.output_stride)
    model = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    height, width = size or (4 * network.output_stride, 5 * network.output_stride)
    pictures = torch.zeros(2, network.in_channels, height, width)  # traced, not computed with
    seen: _Pictures | _Frames = _Pictures(model)
    inputs: dict[str, Tensor] = {"images": pictures}
    if frames:
        seen = _Frames(model, _method(run))
        inputs = {"frames": pictures.byte(), "background": pictures[0]}
    axes = {name: _axes(value, fixed=size is not None) for name, value in inputs.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch, about itself
            program = _traced(seen, inputs, axes)
            data = (
                _onnx(program, axes, facts, opset)
                if path.suffix == ".onnx"
                else _pt2(program, facts)
            )
    except TccamError:
        raise
    except Exception as error:  # whatever PyTorch's exporter and its packages lead to
        found = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise TccamError(f"{path}: the network cannot be exported ({found})") from error
    write_atomic(path, data)
    return facts


class _Pictures(nn.Module):
    """The network; a plain tuple is what every runtime knows."""

    def __init__(self, network: CamNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(images)
        return output.logits, output.maps


class _Frames(_Pictures):
    """The network behind the removal of the background."""

    def __init__(self, network: CamNet, method: str) -> None:
        super().__init__(network)
        self.method = method

    def forward(  # type: ignore[override]
        self, frames: Tensor, background: Tensor
    ) -> tuple[Tensor, Tensor]:
        return super().forward(static.clean(frames, background, self.method))


def _facts(run: Run) -> dict[str, str]:
    config = run.config
    return {
        "run": run.key,
        "classes": ",".join(CLASSES[: config.num_classes]),
        "size": f"{config.data.height}x{config.data.width}",
        "background": config.background,
    }


def _method(run: Run | CamNet) -> str:
    """How the graph removes a background."""
    if not isinstance(run, Run):
        raise TccamError("frames: a network alone does not say how backgrounds go; expected a run")
    if run.config.background == "mask":
        raise TccamError(
            f"frames: run {run.key} removes backgrounds by 'mask', which has no fixed graph; "
            "remove them before, with tccam.background.clean"
        )
    return run.config.background


def _axes(value: Tensor, fixed: bool) -> dict[int, str]:
    """The free axes of an input (B, 3, H, W) or (3, H, W), by name."""
    sides = {} if fixed else {value.ndim - 2: "height", value.ndim - 1: "width"}
    return sides | ({0: "batch"} if value.ndim == 4 else {})


def _traced(
    model: nn.Module, inputs: dict[str, Tensor], axes: dict[str, dict[int, str]]
) -> ExportedProgram:
    free = {name: dict.fromkeys(named, Dim.DYNAMIC) for name, named in axes.items()}
    program = torch.export.export(model, tuple(inputs.values()), dynamic_shapes=free, strict=False)
    for node in program.graph.nodes:  # the folders of this machine are nobody's business
        node.meta.pop("stack_trace", None)
    return program


def _onnx(
    program: ExportedProgram, axes: dict[str, dict[int, str]], facts: dict[str, str], opset: int
) -> bytes:
    made = torch.onnx.export(
        program,
        dynamo=True,
        input_names=list(axes),
        output_names=["logits", "maps"],
        dynamic_shapes=axes,
        opset_version=opset,
        verbose=False,
    )
    assert made is not None
    found = made.model.opset_imports[""]
    if found != opset:
        raise TccamError(f"opset: this PyTorch writes {found}, not {opset}")
    made.model.metadata_props.update(facts)
    data: bytes = made.model_proto.SerializeToString()
    return data


def _pt2(program: ExportedProgram, facts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(facts)})
    return buffer.getvalue()
