"""The Lightning trainer of a fold: devices, processes, loggers, progress, and the settings of torch and Lightning."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.accelerators import AcceleratorRegistry
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from sffshards.base.errors import Field, InputError
from sffshards.base.progress import Advance, Progress
from sffshards.training.checkpoint_files import AtomicCheckpoints
from sffshards.training.fold_record import FoldRecord
from sffshards.training.optimisation import WeightAverage
from sffshards.training.process_ranks import choose_environment, is_first_process
from sffshards.training.recipe import Precision
from sffshards.training.training_config import LoggerName, TrainingOptions

_PROJECT = "sffshards"
_PACKAGES = {LoggerName.WANDB: ("wandb",), LoggerName.MLFLOW: ("mlflow", "mlflow_skinny")}

_LOGGERS = ("pytorch_lightning", "lightning_fabric", "torch.distributed")

_HARMLESS = (
    ".*isinstance.treespec, LeafSpec.*",  # Lightning 2.6 calls torch 2.11 and later in a deprecated way
    ".*smaller than the logging interval.*",  # a small set
    ".*sync_dist=True.*",  # what is logged was summed over the ranks already
    ".*GPU available but not used.*",  # the user chose
    r".*module\(s\) in eval mode at the start of training.*",  # frozen parts
    ".*functional.all_gather is deprecated.*",  # Lightning 2.6 gathers in a way that torch 2.15 deprecates
    "Grad strides do not match bucket view strides.*",  # of the one-channel stem, whose gradient is a few kB
)


def build_trainer(out: Path, record: FoldRecord, *, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return the trainer of a fold, which stops early, logs, and writes checkpoints atomically."""
    options = record.options
    average = [WeightAverage(options)] if options.ema_decay else []
    stop = EarlyStopping("valid_loss", patience=options.stop_patience, mode="min")
    environment = choose_environment(devices=options.devices, num_nodes=options.num_nodes)
    title = f"{record.task} {options.variant} fold {record.fold}"
    # Lightning has read it from variables that another program may have left.
    vars(rank_zero_only)["rank"] = 0 if is_first_process(options) else 1
    with _without_trainer_variables():
        return pl.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy=options.strategy.value,
            accumulate_grad_batches=options.accumulate,
            precision=options.precision.value,
            max_epochs=options.max_epochs,
            callbacks=[stop, *average, *callbacks],
            gradient_clip_val=options.gradient_clip or None,
            logger=build_logger(options.logger, out, title=title),
            plugins=[AtomicCheckpoints(record), environment],
            default_root_dir=out,
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # each rank reads its own share of the plan
            enable_progress_bar=False,
            enable_model_summary=False,
        )


@contextmanager
def _without_trainer_variables() -> Iterator[None]:
    """Hide the environment variables by which Lightning would change options of a trainer that are not passed to it."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith("PL_TRAINER_")}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def check_devices(options: TrainingOptions, *, here: bool = True) -> None:
    """Raise `InputError` for an accelerator that this machine lacks, more devices than it has, or float16 on a CPU.

    If the training is not ``here``, only for an accelerator that Lightning does not know.
    """
    accelerator = options.accelerator
    known = ("auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators()))
    if accelerator not in known:
        raise InputError(
            Field("accelerator"), expected=f"one of {', '.join(known)}", found=repr(accelerator), fix="choose another"
        )
    if not here:
        return
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    num_gpus = torch.cuda.device_count()
    if on_gpu and options.devices > num_gpus and not torch.backends.mps.is_available():
        raise InputError(
            Field("devices"),
            expected=f"at most {num_gpus}, the GPUs of this machine" if num_gpus else "a GPU, for {accelerator} gpu",
            found=str(options.devices) if num_gpus else "none",
            fix="ask for fewer, or pass {accelerator} cpu",
        )
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if options.precision is Precision.FLOAT16 and (accelerator == "cpu" or (accelerator == "auto" and not has_gpu)):
        raise InputError(
            Field("precision"),
            expected=f"{Precision.FLOAT32} or {Precision.BFLOAT16} on a CPU",
            found=f"{options.precision}, in place of which Lightning would compute {Precision.BFLOAT16}",
            fix="choose one of them, or train on a GPU",
        )


def check_logger(name: LoggerName, out: Path) -> None:
    """Raise `InputError` for a logger whose package is not installed, or that cannot write to a folder of this name."""
    if name is not LoggerName.CSV and any("\udc80" <= letter <= "\udcff" for letter in str(out)):
        raise InputError(
            out,
            expected=f"a path in UTF-8, which {name} needs",
            found="other bytes",
            fix=f"choose another {{out}}, or pass {{logger}} {LoggerName.CSV}",
        )
    packages = _PACKAGES.get(name)
    if packages and not any(find_spec(package) for package in packages):
        raise InputError(
            Field("logger"),
            expected=f"the package {packages[0]}, for {name}",
            found="none",
            fix=f"install it with `pip install 'sffshards[{name}]'`, or choose another logger",
        )


def build_logger(name: LoggerName, out: Path, *, title: str) -> Logger:
    """Return a logger.

    Parameters
    ----------
    name
        Which logger.
    out
        Folder of the fold. The loggers write to ``tensorboard/``, to ``csv/version_<n>/``, one for each start, or to
        ``wandb/`` in it. MLflow writes to ``MLFLOW_TRACKING_URI``, by default ``mlruns/`` in the folder.
    title
        Name of the run in a service, such as ``48h oTV fold 0``.
    """
    check_logger(name, out)
    if name is LoggerName.CSV:
        return CSVLogger(out, name="csv")
    if name is LoggerName.WANDB:
        return WandbLogger(name=title, project=_PROJECT, save_dir=out)
    if name is LoggerName.MLFLOW:
        uri = os.environ.get("MLFLOW_TRACKING_URI", (out / "mlruns").absolute().as_uri())
        return MLFlowLogger(experiment_name=_PROJECT, run_name=title, tracking_uri=uri)
    return TensorBoardLogger(out, name="", version="tensorboard")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's advertisements, and its warnings that do not concern users.

    So are tracebacks of threads whose writes fail: TensorBoard's raises the error again in the training.
    """
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    excepthook = threading.excepthook

    def show_others(failed: threading.ExceptHookArgs) -> None:
        if not issubclass(failed.exc_type, OSError):
            excepthook(failed)

    with warnings.catch_warnings():
        for message in _HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        try:
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.ERROR)
            threading.excepthook = show_others
            yield
        finally:
            threading.excepthook = excepthook
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextmanager
def deterministic_on_cpu(*, on_cpu: bool) -> Iterator[None]:
    """Make torch use deterministic algorithms on a CPU, so that a seed gives the same weights every time.

    Not on a GPU: some of MViT's operations have no deterministic algorithm there.
    """
    before = torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    fill = settings.fill_uninitialized_memory
    try:
        if on_cpu:
            torch.use_deterministic_algorithms(mode=True)
            settings.fill_uninitialized_memory = False  # nothing here reads memory that it did not write
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
        settings.fill_uninitialized_memory = fill


class ProgressReport(pl.Callback):
    """Shows each epoch as a task of its training and validation samples, on the first rank and over all ranks.

    Parameters
    ----------
    progress
        Display of the progress.
    fold
        Number of the fold, for the description.
    """

    def __init__(self, progress: Progress, *, fold: int) -> None:
        super().__init__()
        self._progress = progress
        self._fold = fold
        self._open = ExitStack()
        self._advance: Advance | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Open the epoch's task with its first batch."""
        if self._advance is None and trainer.is_global_zero:
            loader: Any = trainer.train_dataloader
            val_loader: Any = trainer.val_dataloaders
            text = f"Fold {self._fold}, epoch {trainer.current_epoch} (at most {trainer.max_epochs} epochs)"
            # Not 0 where a run resumes within an epoch, as only the plan can.
            done = loader.source.count_samples(0, batch_idx) if batch_idx else 0
            task = self._progress.task(text, loader.num_samples + val_loader.num_samples, unit="samples", done=done)
            self._advance = self._open.enter_context(task)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a training batch."""
        self._count(batch.num_real)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Count a validation batch."""
        self._count(batch.num_real)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the epoch's task."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the epoch's task when training is interrupted."""
        self._close()

    def note_epoch(self, row: dict[str, float]) -> None:
        """Show the metrics of an epoch."""
        metrics = ", ".join(f"{name} {row[name]:.6f}" for name in ("train_loss", "valid_loss", "valid_accuracy"))
        self._progress.note(f"fold {self._fold}, epoch {row['epoch']:.0f}: {metrics}")

    def _count(self, num_samples: int) -> None:
        if self._advance is not None:
            self._advance(num_samples)

    def _close(self) -> None:
        self._open.close()
        self._advance = None
