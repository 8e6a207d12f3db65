"""Train the folds of a run: start them, skip finished ones, resume interrupted ones."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytorch_lightning as pl

from sffshards.base.errors import Field, InputError, TrainingError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage
from sffshards.loading import ShardDataModule, Shuffle
from sffshards.models import NO_WEIGHTS, build_model
from sffshards.shards.read import Place
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_checkpoints import LAST_NAME, FoldKeeper, check_folder, clear_folder, remove_leftovers
from sffshards.training.fold_record import FoldRecord, fold_folder, start_record, write_record
from sffshards.training.stop_signals import StopRequest, TrainingStopped
from sffshards.training.trainer_setup import (
    ProgressReport,
    build_trainer,
    check_devices,
    check_logger,
    deterministic_on_cpu,
    is_first_process,
    quiet_lightning,
)
from sffshards.training.training_config import TrainingOptions


def train_folds(
    build: Place, run: Path, options: TrainingOptions, *, folds: Iterable[int], force: bool, progress: Progress
) -> list[FoldRecord]:
    """Train folds one after the other, each in its folder of the run; see `train_fold`.

    Errors in the inputs of any fold are found before the first is trained.
    """
    plans = [_plan_fold(build, fold_folder(run, fold), options, fold=fold, force=force) for fold in folds]
    return [_train(plan, force=force, progress=progress) for plan in plans]


def check_folds(build: Place, run: Path, options: TrainingOptions, *, folds: Iterable[int]) -> None:
    """Raise the errors that `train_folds` would raise before it trains; write nothing."""
    for fold in folds:
        _plan_fold(build, fold_folder(run, fold), options, fold=fold, force=False).data.build.close()


def train_fold(
    build: Place, out: Path, options: TrainingOptions, *, fold: int, force: bool, progress: Progress
) -> FoldRecord:
    """Train a fold by the published recipe.

    A finished fold is left as it is. An interrupted fold resumes where it was last saved, also within an epoch, and
    ends with the same result as one that was not interrupted. Call it in the same way on every rank.

    Parameters
    ----------
    build
        Folder of the build.
    out
        Folder of the fold, for ``run.json``, ``metrics.csv``, ``tensorboard/``, the three best checkpoints and
        ``last.ckpt``.
    options
        Options of the training run.
    fold
        Number of the fold, 0 to 4.
    force
        Whether to remove another training from ``out``.
    progress
        Shows the progress.

    Returns
    -------
    the fold's record, as ``run.json`` holds it

    Raises
    ------
    InputError
        If the build, an option or a weights file cannot be used; or if the training or validation set has samples of
        one class only, unless the options allow that.
    ConflictError
        If ``out`` holds a training with other options or on another build, and ``force`` is false.
    TrainingError
        If the loss is not finite; earlier checkpoints are kept.
    KeyboardInterrupt
        If the user stops it; the same call resumes it.
    TrainingStopped
        If SIGTERM or SIGUSR1 arrived; a checkpoint was saved after the step, and the same call resumes it.
    """
    return _train(_plan_fold(build, out, options, fold=fold, force=force), force=force, progress=progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class _FoldPlan:
    """A fold before it is trained: its inputs are checked, and nothing is written yet."""

    out: Path
    data: ShardDataModule
    record: FoldRecord
    there: FoldRecord | None
    """Record that an earlier, interrupted run of the same training left."""


def _plan_fold(build: Place, out: Path, options: TrainingOptions, *, fold: int, force: bool) -> _FoldPlan:
    check_devices(options)
    check_logger(options.logger)
    data = ShardDataModule(build, options, fold=fold)
    for stage in (Stage.TRAIN, Stage.VAL):
        data.stage_loader(stage, shuffle=Shuffle.NONE)  # raises early if the set is empty
    data.check_ranks(options.num_ranks)
    record = start_record(data.build.manifest, options, fold=fold)
    there = None if force else check_folder(out, record)
    if not options.allow_one_class and not (there is not None and there.finished):
        _require_both_classes(record)
    return _FoldPlan(out=out, data=data, record=record, there=there)


def _train(plan: _FoldPlan, *, force: bool, progress: Progress) -> FoldRecord:
    out, there = plan.out, plan.there
    if there is not None and there.finished:
        progress.note(f"{out}: already finished, kept")
        plan.data.build.close()
        return there
    is_first = is_first_process()
    last = out / LAST_NAME
    resume = last if there is not None and last.is_file() else None
    fit = _Fit(plan, resume=resume, progress=progress)
    with ExitStack() as stack:
        if is_first:
            stack.enter_context(folder_lock(out, progress=progress, wait=False))
            if force:  # only now that the network and the devices are known to work
                clear_folder(out)
            remove_leftovers(out)
            _warn_of_weights(plan.record, progress)
            if there is None:
                write_record(out, plan.record)
            _check_shards(plan.data, progress=progress)
        record = fit.run()
        if is_first:
            write_record(out, record)
    plan.data.build.close()
    return record


def _check_shards(data: ShardDataModule, *, progress: Progress) -> None:
    """Check the shards of the sets before training, with a progress bar."""
    for stage in (Stage.TRAIN, Stage.VAL):
        rows = data.build.set_rows(data.sample_set(stage))
        data.build.check_shards(rows, progress=progress)


class _Fit:
    """The network, the trainer and its callbacks, made before anything on disk changes."""

    def __init__(self, plan: _FoldPlan, *, resume: Path | None, progress: Progress) -> None:
        self.plan, self.resume, self.progress = plan, resume, progress
        options = plan.record.options
        report = ProgressReport(progress, fold=plan.record.fold)
        self.stop = StopRequest()
        self.keeper = FoldKeeper(plan.out, plan.record, after_epoch=report.note_epoch, stop=self.stop)
        with quiet_lightning():
            pl.seed_everything(options.seed, workers=True, verbose=False)
            weights = NO_WEIGHTS if resume else options.weights
            self.module = _build_module(plan.record, weights=weights, progress=progress)
            self.trainer = build_trainer(plan.out, plan.record, callbacks=[self.keeper, report])

    def run(self) -> FoldRecord:
        """Train to the end; raises `KeyboardInterrupt` or `TrainingStopped` if it is stopped."""
        out, trainer = self.plan.out, self.trainer
        with quiet_lightning(), deterministic_on_cpu(on_cpu=trainer.strategy.root_device.type == "cpu"), self.stop:
            if self.resume is not None:
                self.progress.note(f"{out}: resuming from {self.resume.name}")
            on_ctrl_c = signal.getsignal(signal.SIGINT)
            try:
                trainer.fit(self.module, datamodule=self.plan.data, ckpt_path=self.resume, weights_only=True)
            except TrainingStopped:
                self._note_stop(f"stopped by {self.stop.name or 'a signal to another process'}")
                raise
            except SystemExit:  # Lightning's answer to Ctrl-C
                if not trainer.interrupted:
                    raise
                signal.signal(signal.SIGINT, on_ctrl_c)  # Lightning leaves it ignored
                self._note_stop("stopped")
                raise KeyboardInterrupt from None
            except Exception as error:
                if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    raise _not_compiled(error) from error
                raise
        return replace(self.keeper.record, finished=True)

    def _note_stop(self, what: str) -> None:
        self.progress.note(f"{self.plan.out}: {what}; {_describe_progress(self.keeper.record)}")


def _not_compiled(error: Exception) -> TrainingError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return TrainingError(
        Field("compile_network"),
        expected="a network that torch.compile can make kernels for, and on a CPU a C++ compiler",
        found=f"{type(error).__name__}: {reason[0][:200]}",
        fix="leave out {compile_network}",
    )


def _describe_progress(record: FoldRecord) -> str:
    done = f"epoch {record.num_epochs - 1} is done" if record.num_epochs else "no epoch is done"
    return f"{done}; the same command without --force resumes from the last save"


def _build_module(record: FoldRecord, *, weights: str, progress: Progress) -> FlareClassifier:
    options = record.options
    network = build_model(options.model, weights=weights, attention=options.attention, progress=progress)
    if options.compile_network:
        network.compile()  # in place: the names of its weights stay
    return FlareClassifier(network, record)


def _warn_of_weights(record: FoldRecord, progress: Progress) -> None:
    """Note which set lacks a class, which makes its loss zero."""
    for lacking in _list_lacking(record):
        progress.note(f"fold {record.fold}: {lacking}; with w_c = 1 - n_c/N its loss is 0")


def _require_both_classes(record: FoldRecord) -> None:
    """Check that the loss of no set is zero whatever is forecast."""
    for lacking in _list_lacking(record):
        raise InputError(
            f"{record.task} fold {record.fold}",
            expected="samples of both classes to train on and to validate with",
            found=f"{lacking}, so that its loss is 0 whatever is forecast",
            fix="train other folds, use parts of both classes, or pass {allow_one_class} to train it all the same",
        )


def _list_lacking(record: FoldRecord) -> Iterator[str]:
    """Yield which of the two sets lacks which class."""
    for stage in (Stage.TRAIN, Stage.VAL):
        counts = record.class_counts[stage]
        if not (counts.num_negative and counts.num_positive):
            yield f"the {stage} set has no {'positives' if counts.num_negative else 'negatives'}"
