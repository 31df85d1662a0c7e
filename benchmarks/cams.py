"""Class activation maps of 16 pictures at 224², against pytorch-grad-cam and torch-cam."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_grad_cam import GradCAM as ReferenceGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor
from torchcam.methods import CAM, GradCAM
from torchvision.models import resnet18

from benchmarks.timing import seconds
from tccam import cam

TARGET = 7


def rows(rounds: int = 7) -> list[dict[str, Any]]:
    """CAM against torch-cam's, Grad-CAM against both."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = resnet18(weights=None).eval()
    images = torch.rand(16, 3, 224, 224)
    targets = [ClassifierOutputTarget(TARGET)] * len(images)

    def ours(method: str) -> Tensor:
        return cam.explain(model, images, TARGET, method=method)

    def torch_cam(kind: Any) -> Tensor:
        # As its documentation does it: one context for a batch, then maps at the pictures' size.
        with kind(model, model.layer4, **({"fc_layer": "fc"} if kind is CAM else {})) as extractor:
            scores = model(images)
            maps = extractor([TARGET] * len(images), scores)[0]
            return torch.nn.functional.interpolate(
                maps[:, None], images.shape[-2:], mode="bilinear"
            )[:, 0]

    def grad_cam() -> Tensor:
        with ReferenceGradCAM(model, [model.layer4]) as extractor:
            return torch.from_numpy(extractor(images, targets))

    # They normalise before they enlarge, and torch-cam without a relu: up to that, one map.
    for one, other in (
        (ours("cam"), torch_cam(CAM)),
        (ours("gradcam"), torch_cam(GradCAM)),
        (ours("gradcam"), grad_cam()),
    ):
        pair = torch.stack((one.flatten(), other.detach().flatten()))
        assert torch.corrcoef(pair)[0, 1] > 0.98, "these are not the same maps"

    times = seconds(
        {
            "cam": lambda: ours("cam"),
            "torch-cam, cam": lambda: torch_cam(CAM),
            "gradcam": lambda: ours("gradcam"),
            "torch-cam, gradcam": lambda: torch_cam(GradCAM),
            "pytorch-grad-cam, gradcam": grad_cam,
        },
        rounds,
        "class activation maps",
    )
    pairs = (
        ("cam", "torch-cam"),
        ("gradcam", "torch-cam"),
        ("gradcam", "pytorch-grad-cam"),
    )
    return [
        {
            "what": f"{method}, ResNet18, 16 pictures of 224×224",
            "against": other,
            "ours_ms": 1e3 * times[method],
            "other_ms": 1e3 * times[f"{other}, {method}"],
            "ratio": times[f"{other}, {method}"] / times[method],
            "goal": "> 1 faster",
        }
        for method, other in pairs
    ]
