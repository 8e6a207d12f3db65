from .domain.sample_sets import SampleSet
from .domain.task import M24, M48, Task
from .forecasting.runs import evaluate_run
from .labels import find_data
from .loading import ShardDataModule
from .models import build_model
from .report import write_report
from .shards.build import BuildOptions, build_shards, verify_build
from .shards.read import open_build
from .training import TrainingOptions, train_folds

__version__: str

__all__ = [
    "M24",
    "M48",
    "BuildOptions",
    "SampleSet",
    "ShardDataModule",
    "Task",
    "TrainingOptions",
    "build_model",
    "build_shards",
    "evaluate_run",
    "find_data",
    "open_build",
    "train_folds",
    "verify_build",
    "write_report",
]
