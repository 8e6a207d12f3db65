from .fold_record import METRICS_NAME, RECORD_NAME, FoldRecord, find_folds, fold_folder, read_record
from .fold_training import check_folds, train_fold, train_folds
from .stop_signals import StopRequest, TrainingStopped
from .trainer_setup import is_first_process
from .training_config import LoggerName, Precision, Strategy, TrainingOptions

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
