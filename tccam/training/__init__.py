"""Training: a frozen configuration in, a finished run out."""

from tccam.training.batches import Batch, FrameSet, Neighbours, Sampler
from tccam.training.config import TrainConfig
from tccam.training.loop import Run, fit, learning_rate, load_run, run_key
from tccam.training.objective import classification_loss, objective, ramp

__all__ = [
    "Batch",
    "FrameSet",
    "Neighbours",
    "Run",
    "Sampler",
    "TrainConfig",
    "classification_loss",
    "fit",
    "learning_rate",
    "load_run",
    "objective",
    "ramp",
    "run_key",
]
