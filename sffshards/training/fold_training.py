"""Train the folds of a run: start them, skip finished ones, resume interrupted ones."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytorch_lightning as pl
import torch

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import SffshardsError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.output_checks import check_writable
from sffshards.base.package_faces import accepts_text
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.sample_sets import Stage
from sffshards.loading import ShardDataModule, Shuffle
from sffshards.models import NO_WEIGHTS, NetworkWithNumbers, build_model
from sffshards.shards.read import Place
from sffshards.tabular import NO_SOURCES, NumberSources
from sffshards.training.checkpoint_files import LAST_NAME
from sffshards.training.class_counts import describe_lacking, require_both_classes
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_checkpoints import (
    FoldKeeper,
    check_folder,
    is_aside,
    remove_leftovers,
    set_aside,
    settle_aside,
)
from sffshards.training.fold_record import (
    FoldRecord,
    fold_folder,
    read_record,
    require_network,
    start_record,
    write_record,
)
from sffshards.training.process_ranks import choose_environment, is_first_process
from sffshards.training.sample_numbers import SampleNumbers, prepare_numbers
from sffshards.training.stop_signals import StopRequest, TrainingStopped
from sffshards.training.trainer_setup import (
    ProgressReport,
    build_trainer,
    check_devices,
    check_logger,
    deterministic_on_cpu,
    quiet_lightning,
)
from sffshards.training.training_config import TrainingOptions
from sffshards.training.training_failures import explain_failure


@accepts_text
def train_folds(
    build: Place,
    run: Path,
    options: TrainingOptions,
    *,
    folds: Iterable[int],
    force: bool,
    progress: Progress,
    sources: NumberSources = NO_SOURCES,
) -> list[FoldRecord]:
    """Train folds one after the other, each in its folder of the run; see `train_fold`.

    Errors in the inputs of any fold are found before the first is trained. A fold's folder is read again
    when its turn comes: another process may have trained it in the meantime.
    """
    plans = [
        _plan_fold(build, fold_folder(run, fold), options, fold=fold, force=force, sources=sources) for fold in folds
    ]
    return [_train(plan, progress=progress) for plan in plans]


@accepts_text
def check_folds(build: Place, run: Path, options: TrainingOptions, *, folds: Iterable[int], here: bool = True) -> None:
    """Raise the errors that `train_folds` would raise before it trains; write nothing.

    If they are not trained ``here``, on this machine, its devices do not matter. The network of a factory is tried on a
    batch.
    """
    if here and options.model.is_factory:
        with torch.random.fork_rng(devices=[]):
            build_model(options.model, weights=NO_WEIGHTS, options=options.model_options)
    for fold in folds:
        _plan_fold(build, fold_folder(run, fold), options, fold=fold, force=False, here=here).data.build.close()


@accepts_text
def train_fold(
    build: Place,
    out: Path,
    options: TrainingOptions,
    *,
    fold: int,
    force: bool,
    progress: Progress,
    sources: NumberSources = NO_SOURCES,
) -> FoldRecord:
    """Train a fold by the recipe of the options, by default the published one.

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
    sources
        Tables of the numbers that the network takes beside images, if it takes some.

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
    return _train(_plan_fold(build, out, options, fold=fold, force=force, sources=sources), progress=progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class _FoldPlan:
    """A fold before it is trained: its inputs are checked, and nothing is written yet."""

    out: Path
    data: ShardDataModule
    record: FoldRecord
    force: bool
    """Whether another training is removed."""
    sources: NumberSources
    """Tables of numbers."""

    def take_numbers(self, *, progress: Progress = SILENT) -> SampleNumbers | None:
        """Return the numbers of all samples; raises as `prepare_numbers`."""
        inputs = self.record.options.inputs
        return prepare_numbers(self.data, inputs=inputs, sources=self.sources, progress=progress)

    def find_training(self) -> FoldRecord | None:
        """Return the record of the same training that the folder holds; raises as `check_folder`."""
        require_network(self.out)
        return None if self.force else check_folder(self.out, self.record)


def _plan_fold(
    build: Place,
    out: Path,
    options: TrainingOptions,
    *,
    fold: int,
    force: bool,
    here: bool = True,
    sources: NumberSources = NO_SOURCES,
) -> _FoldPlan:
    check_devices(options, here=here)
    choose_environment(devices=options.devices, num_nodes=options.num_nodes)  # raises before any work
    check_logger(options.logger, out)
    data = ShardDataModule(build, options, fold=fold)
    for stage in (Stage.TRAIN, Stage.VAL):
        data.stage_loader(stage, shuffle=Shuffle.NONE)  # raises early if the set is empty
    data.check_training(options.num_ranks)
    record = start_record(data.build.manifest, options, fold=fold, sources=sources)
    plan = _FoldPlan(out=out, data=data, record=record, force=force, sources=sources)
    plan.take_numbers()  # raises before any work
    there = plan.find_training()  # raises early if it is another one
    if not options.allow_one_class and not (there is not None and there.finished):
        require_both_classes(record, data.build.manifest)
    if is_first_process(options):
        check_writable(out)
    return plan


def _train(plan: _FoldPlan, *, progress: Progress) -> FoldRecord:
    record = None
    while record is None:  # again if another process has trained the fold before this one held the lock
        there = plan.find_training()
        if there is not None and there.is_complete(plan.record.options.max_epochs):
            progress.note(f"{plan.out}: already finished, kept")
            record = there
        else:
            record = _train_from(plan, there, progress=progress)
    plan.data.build.close()
    return record


def _train_from(plan: _FoldPlan, there: FoldRecord | None, *, progress: Progress) -> FoldRecord | None:
    """Train a fold to the end; None if its folder no longer holds ``there`` when it is locked."""
    out = plan.out
    is_first = is_first_process(plan.record.options)
    last = out / LAST_NAME
    resume = last if there is not None and last.is_file() else None
    fit = _Fit(plan, resume=resume, progress=progress)
    with ExitStack() as stack:
        if is_first:
            fit.keeper.check_place = stack.enter_context(folder_lock(out, progress=progress, wait=False))
            settle_aside(out)
            if plan.find_training() != there:
                return None
            _check_shards(plan.data, progress=progress)
            remove_leftovers(out)
            if plan.force:  # only now that the network, the devices and the shards are known to work
                set_aside(out)
                stack.callback(settle_aside, out)
            for lacking in describe_lacking(plan.record.class_counts, plan.record.options.class_weights):
                progress.note(f"fold {plan.record.fold}: {lacking}")
            if there is None:
                write_record(out, plan.record)
            elif there.finished:  # with fewer epochs than now
                write_record(out, replace(there, finished=False))
        fit.run()
        # What was trained is what the files say, of which this process may have written none.
        record = replace(read_record(out) if is_first else fit.keeper.record, finished=True)
        if is_first:
            write_record(out, record)
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
            self.module = _build_module(plan, weights=weights, progress=progress)
            self.trainer = build_trainer(plan.out, plan.record, callbacks=[self.keeper, report])

    def run(self) -> None:
        """Train to the end; raises `KeyboardInterrupt` or `TrainingStopped` if it is stopped."""
        out, trainer = self.plan.out, self.trainer
        with quiet_lightning(), deterministic_on_cpu(on_cpu=trainer.strategy.root_device.type == "cpu"), self.stop:
            if self.resume is not None:
                self.progress.note(f"{out}: resuming from {self.resume.name}")
            on_ctrl_c = signal.getsignal(signal.SIGINT)
            try:
                with storage_errors(out):  # of loggers; those of checkpoints name their file
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
            except SffshardsError:
                self.keeper.check_place()  # its absence may be the cause
                raise
            except Exception as error:
                explained = explain_failure(error, restored_from=None if self.keeper.has_started else self.resume)
                if explained is None:
                    raise
                raise explained from error

    def _note_stop(self, what: str) -> None:
        out = self.plan.out
        left = "the training that was there before is kept" if is_aside(out) else _describe_progress(self.keeper.record)
        self.progress.note(f"{out}: {what}; {left}")


def _describe_progress(record: FoldRecord) -> str:
    done = f"epoch {record.num_epochs - 1} is done" if record.num_epochs else "no epoch is done"
    return f"{done}; the same command without --force resumes from the last save"


def _build_module(plan: _FoldPlan, *, weights: str, progress: Progress) -> FlareClassifier:
    options, numbers = plan.record.options, plan.take_numbers(progress=progress)
    network = build_model(
        options.model,
        weights=weights,
        attention=options.attention,
        options=options.model_options,
        progress=progress,
    )
    if numbers is not None:
        network = NetworkWithNumbers(network, inputs=options.inputs)
        network.numbers.set_scale(numbers.scale)
    if options.compile_network:
        network.compile()  # in place: the names of its weights stay
    return FlareClassifier(network, plan.record, numbers=numbers)
