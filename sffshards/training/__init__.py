"""Training: the published recipe, the Lightning module that follows it, and the folds of a run."""

from typing import TYPE_CHECKING

from sffshards.lazy import import_on_demand

if TYPE_CHECKING:
    from sffshards.training.cluster import is_first_process
    from sffshards.training.fit import check_folds, train_fold, train_folds
    from sffshards.training.recipe import StageWeights, TrainingOptions, stage_weights
    from sffshards.training.record import FoldRecord, find_folds, fold_folder, read_record
    from sffshards.training.stop import STOP_EXIT_CODE, TrainingStopped

__all__ = [
    "STOP_EXIT_CODE",
    "FoldRecord",
    "StageWeights",
    "TrainingOptions",
    "TrainingStopped",
    "check_folds",
    "find_folds",
    "fold_folder",
    "is_first_process",
    "read_record",
    "stage_weights",
    "train_fold",
    "train_folds",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "cluster": ("is_first_process",),
        "fit": (
            "check_folds",
            "train_fold",
            "train_folds",
        ),
        "recipe": (
            "StageWeights",
            "TrainingOptions",
            "stage_weights",
        ),
        "record": (
            "FoldRecord",
            "find_folds",
            "fold_folder",
            "read_record",
        ),
        "stop": (
            "STOP_EXIT_CODE",
            "TrainingStopped",
        ),
    },
)
