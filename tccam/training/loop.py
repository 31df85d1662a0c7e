"""The training loop: from a configuration to a finished run, interrupted or not."""

from __future__ import annotations

import math
import re
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from torch import Tensor
from tqdm import tqdm

from tccam import flow
from tccam.data.clip import LabelledClip
from tccam.data.dataset import DataSet, FolderConfig, flow_content, open_data
from tccam.data.flows import FlowStore
from tccam.errors import TccamError
from tccam.network import CamNet
from tccam.store import RunStore, fingerprint, provenance
from tccam.training.batches import Batch, Sampler
from tccam.training.config import TrainConfig
from tccam.training.objective import objective, ramp

__all__ = ["Run", "fit", "learning_rate", "load_run", "run_key"]

_VALIDATION_BATCHES = 4


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        config: what was trained.
        key: the run's name in the store.
        network: the trained network, in eval mode, on the CPU.
        losses: the objective at each step, (steps,).
        terms: its terms at each step before weighting, by name, (steps,) each; see
            :func:`tccam.training.objective.objective`.
        validation: the objective and its terms on validation clips, in eval mode and with full
            weights, by name, (evaluations,) each; "step" is after how many steps.
        seconds: how long training took, all sessions together.
        provenance: versions, machine and commit, see :func:`tccam.store.provenance`.
    """

    config: TrainConfig
    key: str
    network: CamNet
    losses: Tensor
    terms: dict[str, Tensor]
    validation: dict[str, Tensor]
    seconds: float
    provenance: dict[str, Any]


def learning_rate(step: int, config: TrainConfig) -> float:
    """Polynomial decay after a linear warm-up: lr · (1 − step/steps)^power.

    Example:
        >>> learning_rate(0, TrainConfig()) > learning_rate(TrainConfig().steps - 1, TrainConfig())
        True
    """
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    return float(config.lr * rise * (1 - step / config.steps) ** config.power)


def fit(
    config: TrainConfig,
    *,
    belt: DataSet | None = None,
    store: RunStore | None = None,
    flows: FlowStore | None = None,
    fabric: Fabric | None = None,
    logger: Logger | None = None,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> Run:
    """Train, or return the finished run when the store has it.

    An interrupted run goes on at its last checkpoint: every batch is a function of the seed and the
    step alone. On the CPU of one machine, with the same number of threads, it ends with the same
    weights, to the bit, as a run that was never interrupted.

    Args:
        config: what to train.
        belt: the data of ``config.data``, to share it between runs; opened when None.
        store: where runs are kept; the default store when None.
        flows: where optical flow is kept; the default store when None.
        fabric: lightning's, already launched, for several processes: each computes its share of
            every batch. Give DDP ``broadcast_buffers=False``: a step has several forward passes.
            Its devices then count, not ``config.device``. One process on that device when None.
        logger: of lightning (CSV, TensorBoard or your own); gets every step's terms.
        checkpoint_every: steps between checkpoints.
        progress: whether to show a progress bar (on standard error).

    Returns:
        The finished run.

    Raises:
        TccamError: if ``belt`` is not the belt of ``config.data``, ``checkpoint_every`` is not
            positive, a class has no frame, the batch cannot be shared out over the processes, or
            training diverges.

    Example:
        >>> import tempfile
        >>> from tccam.data import BeltConfig
        >>> tiny = BeltConfig(train=1, frames=16, height=32, width=40)
        >>> config = TrainConfig(data=tiny, steps=2, warmup=1, threads=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = fit(config, store=RunStore(folder), progress=False)
        >>> tuple(run.losses.shape)
        (2,)
    """
    belt = belt or open_data(config.data)
    if isinstance(config.data, FolderConfig) and not config.data.content:
        config = replace(config, data=belt.config)  # a folder knows its content when it is opened
    if belt.config != config.data:
        raise TccamError("belt: its configuration is not the run's config.data")
    if checkpoint_every < 1:
        raise TccamError(f"checkpoint_every: expected at least 1 step, got {checkpoint_every}")
    fabric = fabric or _fabric(config)
    parts = config.accumulate * fabric.world_size
    if config.batch % (config.num_classes * config.centres * parts):
        raise TccamError(
            f"TrainConfig.batch: {config.batch} cannot be cut into {parts} parts "
            f"({fabric.world_size} processes × accumulate={config.accumulate}) of whole windows of "
            f"{config.num_classes} classes"
        )
    if fabric.strategy.precision.precision != config.precision:
        raise TccamError(
            f"fabric: expected the precision of the configuration, {config.precision}, got "
            f"{fabric.strategy.precision.precision}"
        )
    store, key = store or RunStore(), run_key(config, fabric)
    with _threads(config.threads):
        record = store.finished(key)
        fabric.barrier()
        if record is None:
            with store.lock(key) if fabric.is_global_zero else nullcontext():
                record = fabric.broadcast(store.finished(key))  # trained while we waited?
                if record is None:
                    training = _Training(config, key, belt, store, flows, fabric, logger, progress)
                    record = training.run(checkpoint_every)
        return _loaded(config, key, record, store)


def load_run(name: str | Path, store: RunStore | None = None) -> Run:
    """A finished run.

    Args:
        name: its name in the store, or the first digits of it; or the path of its folder, which may
            have been copied from elsewhere. No code in it is run.
        store: where runs are kept; the default store when None.

    Raises:
        TccamError: if there is no such run, more than one, or its files are damaged.

    Example:
        >>> import tempfile
        >>> from tccam.data import BeltConfig
        >>> tiny = BeltConfig(train=1, frames=16, height=32, width=40)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = fit(TrainConfig(data=tiny, steps=1), store=RunStore(folder), progress=False)
        ...     load_run(f"{folder}/{made.key}").config == made.config
        True
    """
    store, path, keys = store or RunStore(), Path(name), []
    if re.fullmatch("[0-9a-f]+", str(name)):
        keys = sorted(p.parent.name for p in store.root.glob(f"{name}*/run.json"))
    if not keys and str(name) and path.is_dir():
        store, keys = RunStore(path.resolve().parent), [path.resolve().name]
    if len(keys) != 1:
        found = f"{len(keys)} runs that begin so" if keys else "neither a run nor a folder"
        raise TccamError(f"{name}: {found} in {store.root}; expected one finished run")
    record = store.finished(keys[0])
    if record is None:
        raise TccamError(f"{name}: expected a finished run, with a run.json")
    try:
        config = TrainConfig.from_record(record["config"])
        return _loaded(config, keys[0], record, store)
    except TccamError as error:
        raise TccamError(f"{name}: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        found = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise TccamError(f"{name}: not a readable run ({found})") from None


def _loaded(config: TrainConfig, key: str, record: Mapping[str, Any], store: RunStore) -> Run:
    # The weights of the store are the whole network: nothing is downloaded for a finished run.
    network = _network(config, pretrained=False)
    weights = store.load(key, "weights")
    if weights is None:
        raise TccamError(f"{store.root / key}: the run has a record but no weights; delete it")
    network.load_state_dict(weights)
    terms = {name: torch.tensor(curve) for name, curve in record["terms"].items()}
    return Run(
        config,
        key,
        network.eval(),
        terms.pop("loss"),
        terms,
        {name: torch.tensor(curve) for name, curve in record["validation"].items()},
        record["seconds"],
        record["provenance"],
    )


def run_key(config: TrainConfig, fabric: Fabric | None = None) -> str:
    """The name of a run in the store.

    Beside the configuration and the sources it depends on the content of a file of weights, on
    OpenCV where that estimates flow or reads the pictures, on the kind of device and on the number
    of processes: batch normalisation sees each one's part.

    Example:
        >>> run_key(TrainConfig(seed=1)) == run_key(TrainConfig(seed=2))
        False
    """
    weights = Path(config.weights) if config.weights else None
    estimated = config.temporal and config.flow in flow.METHODS
    root = config.data.root if isinstance(config.data, FolderConfig) else None
    return fingerprint(
        config,
        weights=sha256(weights.read_bytes()).hexdigest() if weights and weights.is_file() else None,
        opencv=cv2.__version__ if estimated or isinstance(config.data, FolderConfig) else None,
        flows=flow_content(root) if root and config.temporal and config.flow == "files" else None,
        device=fabric.device.type if fabric and fabric.device.type != "cpu" else None,
        processes=fabric.world_size if fabric and fabric.world_size > 1 else None,
    )


def _fabric(config: TrainConfig) -> Fabric:
    """One process on the device of the configuration."""
    try:
        return Fabric(accelerator=config.device, devices=1, precision=config.precision)
    except (ValueError, RuntimeError, ImportError) as error:
        found = textwrap.shorten(str(error), 200)
        raise TccamError(
            f"TrainConfig.device: {config.device!r} cannot be used ({found})"
        ) from None


class _Training:
    """One session of a run, from its last checkpoint on."""

    def __init__(
        self,
        config: TrainConfig,
        key: str,
        belt: DataSet,
        store: RunStore,
        flows: FlowStore | None,
        fabric: Fabric,
        logger: Logger | None,
        progress: bool,
    ) -> None:
        self.config, self.key, self.store, self.fabric = config, key, store, fabric
        self.logger, self.progress = logger, progress and fabric.is_global_zero
        network = _network(config).train()
        # Channels last: half the time per step on a CPU, and what tensor cores want.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = _optimizer(self.network, config)
        self.parallel, self.stepper = fabric.setup(self.network, self.optimizer)

        def sampler(clips: Sequence[LabelledClip], augment: bool) -> Sampler:
            return Sampler(
                clips,
                config,
                network.output_stride,
                augment=augment,
                flows=flows,
                progress=self.progress,
            )

        _check_tiles(config, belt.train[0].size, network.output_stride)
        self.sampler = sampler(belt.train, augment=True)
        self.judge = sampler(belt.validation, augment=False) if config.validate_every else None
        self.history: dict[str, list[Tensor]] = {}
        self.validation: dict[str, list[Tensor]] = {}
        self.started, self.spent, self.logged = time.monotonic(), 0.0, 0
        self._resume()
        if fabric.broadcast(self.done) != self.done:
            raise TccamError(
                f"{store.root}: another process resumes at another step; the processes of one run "
                f"share one store"
            )

    @property
    def done(self) -> int:
        """Steps taken so far."""
        return len(self.history.get("loss", ()))

    def run(self, checkpoint_every: int) -> dict[str, Any]:
        """Train to the end, save the weights and return the record."""
        config = self.config
        bar = tqdm(
            range(self.done, config.steps),
            initial=self.done,
            total=config.steps,
            desc=f"{config.method}, {config.background}, seed {config.seed}",
            disable=not self.progress,
        )
        for step, batches in zip(bar, self._batches(self.done), strict=True):
            self._step(step, batches)
            if self.judge and (step + 1) % config.validate_every == 0:
                self._validate(step + 1)
            if (step + 1) % checkpoint_every == 0 and step + 1 < config.steps:
                curves = self._finite()
                self._checkpoint()
                self._log(curves)
        curves = self._finite()
        self._log(curves)
        record = {
            "config": asdict(config),
            "terms": {name: curve.tolist() for name, curve in curves.items()},
            "validation": {k: torch.stack(v).tolist() for k, v in self.validation.items()},
            "seconds": self.spent + time.monotonic() - self.started,
            "provenance": provenance(),
        }
        if self.fabric.is_global_zero:
            self.store.save(self.key, "weights", self.network.state_dict())
            self.store.finish(self.key, record)
            self.store.remove(self.key, "checkpoint")
        self.fabric.barrier()
        return record

    def _batches(self, first: int) -> Iterator[list[Batch]]:
        """This process's parts of every batch; made ahead where the CPU is not what computes."""
        config, fabric = self.config, self.fabric
        parts = config.accumulate * fabric.world_size
        mine = range(fabric.global_rank * config.accumulate, parts)[: config.accumulate]

        def make(step: int) -> list[Batch]:
            return [self.sampler.batch(step, part, parts) for part in mine]

        if fabric.device.type == "cpu":
            yield from map(make, range(first, config.steps))
            return
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(make, first) if first < config.steps else None
            for step in range(first + 1, config.steps + 1):
                assert coming is not None
                ready = coming.result()
                coming = ahead.submit(make, step) if step < config.steps else None
                yield ready

    def _step(self, step: int, batches: Sequence[Batch]) -> None:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, config) * group["factor"]
        self.stepper.zero_grad()
        totals: dict[str, Tensor] = {}
        for number, batch in enumerate(batches, start=1):
            waiting = self.fabric.no_backward_sync(self.parallel, enabled=number < len(batches))
            with waiting:
                moved = batch.to(self.fabric.device)
                terms = objective(self.parallel, moved, config, ramp(step, config))
                self.fabric.backward(terms["loss"] / len(batches))
            for name, term in terms.items():
                totals[name] = totals.get(name, 0) + term.detach() / len(batches)
        if config.clip_norm < float("inf"):
            self.fabric.clip_gradients(
                self.parallel, self.stepper, max_norm=config.clip_norm, error_if_nonfinite=False
            )
        self.stepper.step()
        for name, total in totals.items():
            self.history.setdefault(name, []).append(self._mean(total))

    @torch.no_grad()
    def _validate(self, step: int) -> None:
        """The objective on the same validation frames every time."""
        assert self.judge is not None
        self.network.eval()
        rows: dict[str, list[Tensor]] = {}
        for number in range(_VALIDATION_BATCHES):
            batch = self.judge.batch(number).to(self.fabric.device)
            for name, term in objective(self.parallel, batch, self.config).items():
                rows.setdefault(name, []).append(term)
        self.network.train()
        self.validation.setdefault("step", []).append(torch.tensor(step))
        for name, values in rows.items():
            self.validation.setdefault(name, []).append(torch.stack(values).mean().cpu())

    def _mean(self, value: Tensor) -> Tensor:
        """Over the processes."""
        if self.fabric.world_size == 1:
            return value
        mean: Tensor = self.fabric.all_reduce(value, reduce_op="mean")
        return mean

    def _finite(self) -> dict[str, Tensor]:
        """The curves on the CPU, or an error that names the first step whose loss is no number."""
        curves = {name: torch.stack(values).cpu() for name, values in self.history.items()}
        bad = ~curves["loss"].isfinite()
        if bad.any():
            first = int(bad.nonzero()[0])
            raise TccamError(
                f"training diverged: the loss at step {first} is {curves['loss'][first]}"
            )
        return curves

    def _log(self, curves: Mapping[str, Tensor]) -> None:
        """Hand the steps since the last time to the logger: no step waits for it."""
        if self.logger is None or not self.fabric.is_global_zero:
            return
        for step in range(self.logged, self.done):
            self.logger.log_metrics({k: float(v[step]) for k, v in curves.items()}, step)
        for number, step in enumerate(int(s) for s in self.validation.get("step", ())):
            if step > self.logged:
                row = {f"validation/{k}": float(v[number]) for k, v in self.validation.items()}
                row.pop("validation/step")
                self.logger.log_metrics(row, step - 1)
        self.logger.save()
        self.logged = self.done

    def _checkpoint(self) -> None:
        if not self.fabric.is_global_zero:
            return
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            if self.optimizer.defaults["momentum"]:
                tensors[f"momentum.{name}"] = self.optimizer.state[parameter]["momentum_buffer"]
        tensors.update({f"history.{k}": torch.stack(v) for k, v in self.history.items()})
        tensors.update({f"validation.{k}": torch.stack(v) for k, v in self.validation.items()})
        spent = self.spent + time.monotonic() - self.started
        tensors["seconds"] = torch.tensor(spent, dtype=torch.float64)
        self.store.save(self.key, "checkpoint", tensors)

    def _resume(self) -> None:
        """Bring everything to the last checkpoint, if there is one."""
        saved = self.store.load(self.key, "checkpoint")
        if saved is None:
            return
        try:
            self._take(saved)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            path = self.store.root / self.key / "checkpoint.safetensors"
            found = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
            raise TccamError(f"{path}: no checkpoint of this run ({found}); delete it") from None

    def _take(self, saved: Mapping[str, Tensor]) -> None:
        """Bring everything to a checkpoint."""
        self.network.load_state_dict(_under("network.", saved))
        device = self.fabric.device
        if self.optimizer.defaults["momentum"]:
            buffers = _under("momentum.", saved)
            for name, parameter in self.network.named_parameters():
                # In the parameter's memory format: another one may round otherwise.
                buffer = torch.empty_like(parameter).copy_(buffers[name])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        for name, curve in _under("history.", saved).items():
            self.history[name] = list(curve.to(device))
        for name, curve in _under("validation.", saved).items():
            self.validation[name] = list(curve)
        self.spent, self.logged = float(saved["seconds"]), self.done


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _check_tiles(config: TrainConfig, sizes: tuple[int, int], stride: int) -> None:
    """Refuse tiles whose cells would not lie on the picture's: some of them without a word."""
    side = math.isqrt(config.pieces)
    if config.spatial and any(size % (side * stride) for size in sizes):
        raise TccamError(
            f"TrainConfig.pieces: {config.pieces} tiles at stride {stride} need pictures whose "
            f"sides are multiples of {side * stride}, got {sizes[0]}×{sizes[1]}"
        )


def _network(config: TrainConfig, pretrained: bool = True) -> CamNet:
    """The untrained network of a configuration; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return CamNet(
            config.backbone,
            config.num_classes,
            weights=config.weights if pretrained else None,
            output_stride=config.output_stride,
            standardize=config.standardize,
        )


def _optimizer(network: CamNet, config: TrainConfig) -> torch.optim.SGD:
    body = list(network.features.named_parameters())
    biases = [p for name, p in body if name.endswith("bias") and config.bias_groups]
    weights = [p for name, p in body if not (name.endswith("bias") and config.bias_groups)]
    groups: list[dict[str, Any]] = [
        {"params": weights, "factor": 1.0},
        {"params": list(network.classifier.parameters()), "factor": 10.0},
    ]
    if biases:
        groups.append({"params": biases, "factor": 2.0, "weight_decay": 0.0})
    return torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run PyTorch on ``count`` CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
