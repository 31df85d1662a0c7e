"""Several processes: what ``torchrun --nproc-per-node N -m tccam.cli …`` starts."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["launched"]


def launched(device: str, precision: str = "32-true") -> Fabric | None:
    """The processes that torchrun has started, connected; None where it has started none.

    Args:
        device: "cpu", "cuda" or "auto"; each process takes another one of its machine's.
        precision: see lightning-fabric.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    here = int(os.environ["LOCAL_WORLD_SIZE"])
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=TorchElasticEnvironment().world_size() // here,
        # Who is done waits for the others, for as long as their videos are; torchrun ends all when
        # one dies.
        strategy=DDPStrategy(broadcast_buffers=False, timeout=timedelta(days=30)),
        precision=precision,
    )
    fabric.launch()
    return fabric
