"""Where the figures of training go besides ``metrics.csv``: a file, TensorBoard, or a service of the user's."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from sffshards.base.errors import InputError
from sffshards.training.training_choices import LoggerName

__all__ = ["LOG_FOLDERS", "build_logger", "check_logger"]

LOG_FOLDERS = ("tensorboard", "csv", "wandb", "mlruns")
"""What loggers write into a fold's folder."""

_PROJECT = "sffshards"
_PACKAGES = {LoggerName.WANDB: ("wandb",), LoggerName.MLFLOW: ("mlflow", "mlflow_skinny")}


def check_logger(name: LoggerName) -> None:
    """Refuse a logger whose package is not installed.

    Raises
    ------
    InputError
        If so; it names the extra that installs it.
    """
    packages = _PACKAGES.get(name)
    if packages and not any(find_spec(package) for package in packages):
        raise InputError(
            f"--logger {name}",
            expected=f"the package {packages[0]}",
            found="none",
            fix=f"install it with `pip install 'sffshards[{name}]'`, or choose another logger",
        )


def build_logger(name: LoggerName, out: Path, *, title: str) -> Logger:
    """Make a logger.

    Parameters
    ----------
    name
        Which.
    out
        Folder of the fold, which gets what it writes here: ``tensorboard/``; ``csv/version_<n>/``, one for each start;
        or ``wandb/``. MLflow's goes where ``MLFLOW_TRACKING_URI`` says, by default into ``mlruns/``.
    title
        Names the training to the services, such as ``48h oTV fold 0``.
    """
    check_logger(name)
    if name is LoggerName.CSV:
        return CSVLogger(out, name="csv")
    if name is LoggerName.WANDB:
        return WandbLogger(name=title, project=_PROJECT, save_dir=out)
    if name is LoggerName.MLFLOW:
        uri = os.environ.get("MLFLOW_TRACKING_URI", (out / "mlruns").absolute().as_uri())
        return MLFlowLogger(experiment_name=_PROJECT, run_name=title, tracking_uri=uri)
    return TensorBoardLogger(out, name="", version="tensorboard")
