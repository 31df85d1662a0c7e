"""One training step of `both`: against its bare cost, and against the straightforward way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from benchmarks import authors
from benchmarks.timing import seconds
from tccam.data import BeltConfig, SyntheticBelt
from tccam.data.flows import FlowStore
from tccam.store import RunStore
from tccam.training import Batch, TrainConfig, objective
from tccam.training.loop import _Training


def rows(rounds: int = 15) -> list[dict[str, Any]]:
    """The `fast` preset at both strides on the CPU; the `full` preset where there is a GPU."""
    fast = TrainConfig.preset("fast", "both", data=BeltConfig(train=4, validation=1, test=1))
    configs = {f"fast, stride {s}": replace(fast, output_stride=s) for s in (4, 16)}
    if torch.cuda.is_available():
        data = BeltConfig(height=512, width=512, speed=40.0, train=2, validation=1, test=1)
        configs["full, bf16"] = TrainConfig.preset("full", "both", data=data, weights=None)
    return [row for name, config in configs.items() for row in _compare(name, config, rounds)]


def _compare(name: str, config: TrainConfig, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(config.threads)
    with TemporaryDirectory() as folder:
        fabric = Fabric(accelerator=config.device, devices=1, precision=config.precision)
        training = _Training(
            config, "bench", SyntheticBelt(config.data), RunStore(folder), FlowStore(folder),
            fabric, None, False,
        )  # fmt: skip

    stream = training._batches(0)  # made ahead where a GPU computes

    def whole() -> None:  # batch, objective, gradient, optimiser: all that a step is
        training._step(1, next(stream))

    first = training.sampler.batch(0).to(fabric.device)
    images = first.images.flatten(0, 1)  # 3 pictures a sample
    images = torch.cat((images, first.images[:, 1]))  # and one more for the tiles
    images = images.contiguous(memory_format=torch.channels_last)
    share = len(images) // 4

    def bare() -> None:  # forward and backward of 4 pictures a sample, and nothing else
        training.network.zero_grad()
        parts = [images[: 3 * share], images[3 * share :]]
        loss = sum(training.parallel(part).logits.square().mean() for part in parts)
        fabric.backward(loss)

    times = seconds({"ours": whole, "bare": bare}, rounds, f"{name}: a step and its bare cost")
    result = [
        {
            "what": f"training step, {name}",
            "against": "forward + backward of the same pictures",
            "ours_ms": 1e3 * times["ours"],
            "other_ms": 1e3 * times["bare"],
            "ratio": times["ours"] / times["bare"],
            "goal": "≤ 1.05" if "full" in name else "≤ 1.10",
        }
    ]
    if "fast" in name:
        result += _authors(name, config, first, training, rounds)
    return result


def _authors(
    name: str, config: TrainConfig, batch: Batch, training: Any, rounds: int
) -> list[dict[str, Any]]:
    """The same loss by the library and by the straightforward way, in both memory formats."""
    height, width = batch.images.shape[-2:]
    assert batch.flows is not None
    h, w = batch.flows.shape[-2:]
    cell = torch.tensor([width / w, height / h]).reshape(2, 1, 1)
    full = F.interpolate(batch.flows[:, 1].flatten(0, 1), (height, width), mode="nearest")
    full = full.unflatten(0, (-1, 2)) * cell  # (B, 2, 2, H, W), pixels
    small = F.interpolate(full.flatten(0, 1), (h, w), mode="bilinear", align_corners=False)
    flows = (small.unflatten(0, (-1, 2)) / cell)[:, None].expand(-1, 3, -1, -1, -1, -1)
    same = Batch(batch.images, batch.labels, flows.contiguous(), batch.visible)
    labels = F.one_hot(batch.labels[:, 1], config.num_classes).float()
    training.config = replace(
        config, separate_passes=True, validity="none", half_cell_shift=True, ramp=0.0
    )

    def theirs(memory: torch.memory_format) -> tuple[Any, Callable[[], object]]:
        network = type(training.network)("small", output_stride=config.output_stride)
        network = network.to(memory_format=memory)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        frames = [batch.images[:, t].contiguous(memory_format=memory) for t in range(3)]

        def run() -> None:
            loss = authors.step(network, frames, full, labels, config)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
            optimizer.step()

        return network, run

    network, plain = theirs(torch.contiguous_format)
    one = objective(network, same, training.config)["loss"]
    two = authors.step(network, list(batch.images.unbind(1)), full, labels, config)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    last = theirs(torch.channels_last)[1]
    ways = {"ours": lambda: training._step(1, [same]), "plain": plain, "last": last}
    times = seconds(ways, rounds, f"{name}: the straightforward way")
    return [
        {
            "what": f"training step, {name}",
            "against": f"the straightforward way, the same loss{memory}",
            "ours_ms": 1e3 * times["ours"],
            "other_ms": 1e3 * times[way],
            "ratio": times[way] / times["ours"],
            "goal": goal,
        }
        for way, memory, goal in (
            ("plain", "", "≥ 1.6 faster"),
            ("last", ", channels last", "–"),
        )
    ]
