"""Maps along a clip, with neighbours, scales and mirror images, against the straightforward way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks import authors
from benchmarks.timing import seconds
from tccam.data import BeltConfig, SyntheticBelt
from tccam.inference import stream
from tccam.network import CamNet
from tccam.training import FrameSet

FRAMES = 16
SCALES = (0.5, 1.0, 2.0)


def rows(rounds: int = 7) -> list[dict[str, Any]]:
    """Time a frame of a clip whose maps are equal by both ways."""
    torch.set_num_threads(2)
    belt = SyntheticBelt(BeltConfig(train=1, frames=FRAMES, lead_in=2))
    clip = belt.train[0]
    pictures = FrameSet([clip], "divide").pictures(torch.arange(FRAMES))
    flows = torch.zeros(FRAMES, 2, 2, *clip.size)
    visible = torch.zeros(FRAMES, 2, *clip.size, dtype=torch.bool)
    for t in range(FRAMES):
        for k, other in enumerate((t - 1, t + 1)):
            if 0 <= other < FRAMES:
                flows[t, k], visible[t, k] = clip.flow(t, other), clip.visible(t, other)
    result = []
    for stride in (4, 16):
        torch.manual_seed(0)
        network = CamNet("small", output_stride=stride).eval()

        def ours(network: CamNet = network) -> Tensor:
            fields = zip(flows, visible, strict=True)
            return torch.stack(
                list(stream(network, pictures, fields, scales=SCALES, flip=True, batch=8))
            )

        def theirs(network: CamNet = network) -> Tensor:
            frames = [
                authors.infer(
                    network,
                    pictures[[max(t - 1, 0), t, min(t + 1, FRAMES - 1)]],
                    flows[t],
                    visible[t],
                    SCALES,
                )
                for t in range(FRAMES)
            ]
            return torch.stack(frames)

        torch.testing.assert_close(ours(), theirs(), atol=1e-5, rtol=1e-4)
        times = seconds({"ours": ours, "theirs": theirs}, rounds, f"inference, stride {stride}")
        result.append(
            {
                "what": f"inferred frame, 3 scales, mirror, neighbours, stride {stride}",
                "against": "the straightforward way, the same maps",
                "ours_ms": 1e3 * times["ours"] / FRAMES,
                "other_ms": 1e3 * times["theirs"] / FRAMES,
                "ratio": times["theirs"] / times["ours"],
                "goal": "≥ 3 faster",
            }
        )
    return result
