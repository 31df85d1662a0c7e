"""One training step of `both`: against its bare cost, and against the authors' procedure."""

from __future__ import annotations

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
    batches = {"now": [training.sampler.batch(0)]}
    steps = iter(range(10**6))

    def whole() -> None:  # batch, objective, gradient, optimiser: all that a step is
        number = next(steps)
        if fabric.device.type == "cpu":
            batches["now"] = [training.sampler.batch(number)]
        training._step(number % config.steps, batches["now"])

    first = batches["now"][0].to(fabric.device)
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
        result.append(_authors(name, config, first, training, rounds))
    return result


def _authors(
    name: str, config: TrainConfig, batch: Batch, training: Any, rounds: int
) -> dict[str, Any]:
    height, width = batch.images.shape[-2:]
    assert batch.flows is not None
    full = F.interpolate(
        batch.flows[:, 1].flatten(0, 1), (height, width), mode="nearest"
    ).unflatten(0, (-1, 2)) * (height / batch.flows.shape[-2])
    labels = F.one_hot(batch.labels[:, 1], config.num_classes).float()
    theirs = training.network.__class__("small", output_stride=config.output_stride)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    # The same loss, on the same weights, by both: otherwise the comparison means nothing.
    twin = replace(config, separate_passes=True, validity="none", half_cell_shift=True, cells=False)
    small = F.interpolate(
        full.flatten(0, 1), batch.flows.shape[-2:], mode="bilinear", align_corners=False
    ).unflatten(0, (-1, 2))
    small = small * torch.tensor(
        [batch.flows.shape[-1] / width, batch.flows.shape[-2] / height]
    ).reshape(2, 1, 1)
    flows = small[:, None].expand(-1, 3, -1, -1, -1, -1)
    same = Batch(batch.images, batch.labels, flows, batch.visible)
    one = objective(theirs, same, twin)["loss"]
    two = authors.step(theirs, batch.images, full, labels, config)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)

    def straightforward() -> None:
        loss = authors.step(theirs, batch.images, full, labels, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def ours() -> None:
        training._step(1, [batch])

    times = seconds({"ours": ours, "theirs": straightforward}, rounds, f"{name}: and the authors'")
    return {
        "what": f"training step, {name}",
        "against": "the authors' procedure, the same loss",
        "ours_ms": 1e3 * times["ours"],
        "other_ms": 1e3 * times["theirs"],
        "ratio": times["theirs"] / times["ours"],
        "goal": "≥ 1.6 faster",
    }
