"""One training step of `both`: against its bare cost, and against the straightforward way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from benchmarks import authors
from benchmarks.timing import seconds
from tccam import flow
from tccam.data import BeltConfig, SyntheticBelt
from tccam.data.flows import FlowStore
from tccam.network import CamNet
from tccam.store import RunStore
from tccam.training import TrainConfig, objective
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
    belt = SyntheticBelt(config.data)
    with TemporaryDirectory() as folder:
        fabric = Fabric(accelerator=config.device, devices=1, precision=config.precision)
        training = _Training(
            config, "bench", belt, RunStore(folder), FlowStore(folder), fabric, None, False
        )
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
        result += _authors(name, config, belt, training, rounds)
    return result


def _authors(
    name: str, config: TrainConfig, belt: SyntheticBelt, training: Any, rounds: int
) -> list[dict[str, Any]]:
    """The same step by the library and by the straightforward way, in both memory formats."""
    sampler = training.sampler
    training.config = replace(config, validity="none", half_cell_shift=True, ramp=0.0)
    with TemporaryDirectory() as place:
        folder = Path(place)
        _write_flows(belt, folder)

        def theirs(memory: torch.memory_format) -> Callable[[], object]:
            network = CamNet("small", output_stride=config.output_stride).to(memory_format=memory)
            network.load_state_dict(training.network.state_dict())
            optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
            steps = count(1)

            def loss(frames: list[Tensor], fields: Tensor, labels: Tensor) -> Tensor:
                frames = [frame.contiguous(memory_format=memory) for frame in frames]
                hot = F.one_hot(labels, config.num_classes).float()
                return authors.step(network, frames, fields, hot, config)

            def run() -> None:
                drawn = sampler.draw(next(steps))
                frames, fields = authors.batch(sampler.data, belt.train, folder, drawn)
                optimizer.zero_grad()
                loss(frames, fields, sampler.labels[drawn[0][:, 1]]).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
                optimizer.step()

            # One batch and one loss, where batch norm does not tell the passes apart. (The library
            # gets the authors' flow for it, resized as of tiles; its own looks at other pixels.)
            batch = sampler.batch(0)
            frames, fields = authors.batch(sampler.data, belt.train, folder, sampler.draw(0))
            torch.testing.assert_close(torch.stack(frames, 1), batch.images, atol=1e-4, rtol=1e-5)
            assert batch.flows is not None
            small = torch.stack([flow.resize(field, batch.flows.shape[-2:]) for field in fields])
            same = replace(batch, flows=small[:, None].expand_as(batch.flows))
            training.network.eval(), network.eval()
            one = objective(training.network, same, training.config)["loss"]
            two = loss(frames, fields, batch.labels[:, 1])
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
            training.network.train(), network.train()
            return run

        steps = count(1)
        ways = {
            "ours": lambda: training._step(1, [sampler.batch(next(steps))]),
            "plain": theirs(torch.contiguous_format),
            "last": theirs(torch.channels_last),
        }
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


def _write_flows(belt: SyntheticBelt, folder: Path) -> None:
    """The exact flow of every frame to its neighbours in full, as the authors keep it."""
    number = 0
    for clip in belt.train:
        for t in range(len(clip)):
            for k, other in enumerate((t - 1, t + 1)):
                if 0 <= other < len(clip):
                    flow.write_flo(folder / f"{number}-{k}.flo", clip.flow(t, other))
            number += 1
