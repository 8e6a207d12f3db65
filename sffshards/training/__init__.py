"""Training: the published recipe, the Lightning module that follows it, and the folds of a run."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.training.fold_record import (
        METRICS_NAME,
        RECORD_NAME,
        FoldRecord,
        find_folds,
        fold_folder,
        read_record,
    )
    from sffshards.training.fold_training import check_folds, train_fold, train_folds
    from sffshards.training.process_groups import is_first_process
    from sffshards.training.stop_signals import StopRequest, TrainingStopped
    from sffshards.training.training_choices import LoggerName, Precision, Strategy
    from sffshards.training.training_config import TrainingOptions

__all__ = [
    "METRICS_NAME",
    "RECORD_NAME",
    "FoldRecord",
    "LoggerName",
    "Precision",
    "StopRequest",
    "Strategy",
    "TrainingOptions",
    "TrainingStopped",
    "check_folds",
    "find_folds",
    "fold_folder",
    "is_first_process",
    "read_record",
    "train_fold",
    "train_folds",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "fold_record": ("FoldRecord", "METRICS_NAME", "RECORD_NAME", "find_folds", "fold_folder", "read_record"),
        "fold_training": ("check_folds", "train_fold", "train_folds"),
        "process_groups": ("is_first_process",),
        "stop_signals": ("StopRequest", "TrainingStopped"),
        "training_choices": ("LoggerName", "Precision", "Strategy"),
        "training_config": ("TrainingOptions",),
    },
)
