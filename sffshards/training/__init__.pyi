from .fold_record import (
    KIND_FIELD,
    METRICS_NAME,
    RECORD_NAME,
    FoldRecord,
    SavedCheckpoint,
    find_folds,
    fold_folder,
    read_record,
)
from .fold_training import check_folds, train_fold, train_folds
from .process_ranks import is_first_process, remove_ranks
from .recipe import PUBLISHED, ClassWeights, Loss, Optimizer, Precision, Recipe, Schedule, read_recipe
from .sample_numbers import describe_rows
from .stop_signals import STOP_EXIT_CODE, StopRequest, TrainingStopped
from .training_config import LoggerName, Strategy, TrainingOptions

__all__ = [
    "KIND_FIELD",
    "METRICS_NAME",
    "PUBLISHED",
    "RECORD_NAME",
    "STOP_EXIT_CODE",
    "ClassWeights",
    "FoldRecord",
    "LoggerName",
    "Loss",
    "Optimizer",
    "Precision",
    "Recipe",
    "SavedCheckpoint",
    "Schedule",
    "StopRequest",
    "Strategy",
    "TrainingOptions",
    "TrainingStopped",
    "check_folds",
    "describe_rows",
    "find_folds",
    "fold_folder",
    "is_first_process",
    "read_recipe",
    "read_record",
    "remove_ranks",
    "train_fold",
    "train_folds",
]
