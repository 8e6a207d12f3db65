"""Train the folds of a run: start, skip what is done, go on with what was cut off."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import AcceleratorRegistry
from pytorch_lightning.callbacks import EarlyStopping

from sffshards.base.errors import InputError, TrainingError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Stage
from sffshards.loading import ShardDataModule, Shuffle
from sffshards.models import KINETICS400, NO_WEIGHTS, build_model
from sffshards.shards.read import Place
from sffshards.training.flare_classifier import FlareClassifier
from sffshards.training.fold_checkpoints import LAST_NAME, AtomicCheckpoints, FoldKeeper
from sffshards.training.fold_folder import check_folder, clear_folder, remove_leftovers
from sffshards.training.fold_record import FoldRecord, fold_folder, write_record
from sffshards.training.lightning_settings import quiet_lightning, repeatable_on_cpu
from sffshards.training.process_groups import choose_environment, is_first_process
from sffshards.training.software_versions import read_git, read_versions
from sffshards.training.stop_signals import StopRequest, TrainingStopped
from sffshards.training.training_config import TrainingOptions, stage_weights
from sffshards.training.training_loggers import build_logger, check_logger
from sffshards.training.training_progress import ProgressReport

__all__ = ["check_folds", "train_fold", "train_folds"]


def train_folds(
    build: Place, run: Path, options: TrainingOptions, *, folds: Iterable[int], force: bool, progress: Progress
) -> list[FoldRecord]:
    """Train folds one after the other, each in its folder of the run; see `train_fold`.

    What stands in the way of any of them is found before the first is trained.
    """
    plans = [_plan_fold(build, fold_folder(run, fold), options, fold=fold, force=force) for fold in folds]
    return [_train(plan, force=force, progress=progress) for plan in plans]


def check_folds(build: Place, run: Path, options: TrainingOptions, *, folds: Iterable[int]) -> None:
    """Raise what `train_folds` would raise before it trains; nothing is written."""
    for fold in folds:
        _plan_fold(build, fold_folder(run, fold), options, fold=fold, force=False).data.build.close()


def train_fold(
    build: Place, out: Path, options: TrainingOptions, *, fold: int, force: bool, progress: Progress
) -> FoldRecord:
    """Train a fold by the published recipe.

    A fold that is finished is left as it is; one that was cut off goes on where it was last saved, in the middle of an
    epoch too, and ends as if it had not been. Call it in the same way on every rank.

    Parameters
    ----------
    build
        Folder of the build.
    out
        Folder of the fold: it gets ``run.json``, ``metrics.csv``, ``tensorboard/``, the three best checkpoints and
        ``last.ckpt``.
    options
        How to train.
    fold
        Which fold, 0 to 4.
    force
        Throw away what another training left in ``out``.
    progress
        Told how far the work is.

    Returns
    -------
    the fold's record, as ``run.json`` holds it

    Raises
    ------
    InputError
        If the build, an option or a weights file cannot be used.
    ConflictError
        If ``out`` holds a training of other options or on another build, and not ``force``.
    TrainingError
        If the loss is not finite; earlier checkpoints are kept.
    KeyboardInterrupt
        If the user stops it; the same call goes on later.
    TrainingStopped
        If SIGTERM or SIGUSR1 came: it was saved after the step; the same call goes on.
    """
    return _train(_plan_fold(build, out, options, fold=fold, force=force), force=force, progress=progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class _FoldPlan:
    """A fold before it is trained: nothing is written yet, and whatever can be refused was."""

    out: Path
    data: ShardDataModule
    record: FoldRecord
    there: FoldRecord | None
    """What an earlier run of the same training left."""


def _plan_fold(build: Place, out: Path, options: TrainingOptions, *, fold: int, force: bool) -> _FoldPlan:
    _check_devices(options)
    check_logger(options.logger)
    data = ShardDataModule(
        build,
        options.sample_set(Stage.TRAIN, fold=fold),
        batch_size=options.batch_size,
        seed=options.seed,
        num_threads=options.num_threads,
        views=options.views,
        shuffle=options.shuffle,
        block_shards=options.block_shards,
        check=options.check,
        engine=options.engine,
    )
    for stage in (Stage.TRAIN, Stage.VAL):
        data.stage_loader(stage, shuffle=Shuffle.NONE)  # fails early if there is nothing in it
    data.check_ranks(options.num_ranks)
    record = _start_record(data, options, fold=fold)
    return _FoldPlan(out=out, data=data, record=record, there=None if force else check_folder(out, record))


def _train(plan: _FoldPlan, *, force: bool, progress: Progress) -> FoldRecord:
    out, there = plan.out, plan.there
    if there is not None and there.finished:
        progress.note(f"{out}: finished before, kept as it is")
        plan.data.build.close()
        return there
    is_first = is_first_process()
    last = out / LAST_NAME
    resume = last if there is not None and last.is_file() else None
    fit = _Fit(plan, resume=resume, progress=progress)
    with ExitStack() as stack:
        if is_first:
            stack.enter_context(folder_lock(out, progress=progress, wait=False))
            if force:  # only now that the network and the devices are there
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
    """Check the sets' shards before they are needed, where the user sees it."""
    for stage in (Stage.TRAIN, Stage.VAL):
        rows = data.build.set_rows(data.samples.at(stage))
        data.build.check_shards(rows, progress=progress)


class _Fit:
    """Network, trainer and what watches it, made before anything on disk is touched."""

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
            self.trainer = _build_trainer(plan.out, plan.record, callbacks=[self.keeper, report])

    def run(self) -> FoldRecord:
        """Train to the end; raises `KeyboardInterrupt` or `TrainingStopped` where it is stopped."""
        out, trainer = self.plan.out, self.trainer
        with quiet_lightning(), repeatable_on_cpu(on_cpu=trainer.strategy.root_device.type == "cpu"), self.stop:
            if self.resume is not None:
                self.progress.note(f"{out}: going on from {self.resume.name}")
            on_ctrl_c = signal.getsignal(signal.SIGINT)
            try:
                trainer.fit(self.module, datamodule=self.plan.data, ckpt_path=self.resume, weights_only=True)
            except TrainingStopped:
                self._note_stop(f"{self.stop.name or 'a signal to another process'} came, stopped")
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
        "--compile",
        expected="a network that torch.compile can make kernels for, and on a CPU a C++ compiler",
        found=f"{type(error).__name__}: {reason[0][:200]}",
        fix="leave --compile out",
    )


def _describe_progress(record: FoldRecord) -> str:
    done = f"epoch {record.num_epochs - 1} is done" if record.num_epochs else "no epoch is done"
    return f"{done}; the same command without --force goes on from where it last saved"


def _build_module(record: FoldRecord, *, weights: str, progress: Progress) -> FlareClassifier:
    options = record.options
    network = build_model(options.model, weights=weights, attention=options.attention, progress=progress)
    if options.compile_network:
        network.compile()  # in place: the names of its weights stay
    return FlareClassifier(
        network,
        model=str(options.model),
        train_weights=record.class_counts[Stage.TRAIN].values,
        val_weights=record.class_counts[Stage.VAL].values,
        learning_rate=options.learning_rate,
        decay_factor=options.decay_factor,
        decay_patience=options.decay_patience,
        min_learning_rate=options.min_learning_rate,
        seed=options.seed,
        fold=record.fold,
        accumulate=options.accumulate,
    )


def _build_trainer(out: Path, record: FoldRecord, *, callbacks: list[pl.Callback]) -> pl.Trainer:
    options = record.options
    stop = EarlyStopping("valid_loss", patience=options.stop_patience, mode="min")
    environment = choose_environment(devices=options.devices, num_nodes=options.num_nodes)
    title = f"{record.task} {options.variant} fold {record.fold}"
    return pl.Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=options.strategy.value,
        accumulate_grad_batches=options.accumulate,
        precision=options.precision.value,
        max_epochs=options.max_epochs,
        callbacks=[stop, *callbacks],
        logger=build_logger(options.logger, out, title=title),
        plugins=[AtomicCheckpoints(), *([environment] if environment else [])],
        default_root_dir=out,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # each rank reads its own share of the plan
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _start_record(data: ShardDataModule, options: TrainingOptions, *, fold: int) -> FoldRecord:
    manifest = data.build.manifest
    counts = {stage: stage_weights(manifest, options.sample_set(stage, fold=fold)) for stage in Stage}
    return FoldRecord(
        task=manifest.task,
        fold=fold,
        manifest_sha256=manifest.sha256,
        weights_sha256=_hash_weights(options.weights),
        options=options,
        class_counts=counts,
        versions=read_versions(),
        git=read_git(),
    )


def _hash_weights(weights: str) -> str | None:
    if weights in (KINETICS400, NO_WEIGHTS):
        return None
    return hash_file(Path(weights), expected="a weights file that can be read")


def _check_devices(options: TrainingOptions) -> None:
    """Refuse an accelerator that there is not, or more devices than there are, before any work."""
    accelerator = options.accelerator
    known = ("auto", "gpu", *AcceleratorRegistry.available_accelerators())
    if accelerator not in known:
        raise InputError(
            "--accelerator", expected=f"one of {', '.join(known)}", found=repr(accelerator), fix="choose another"
        )
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    num_gpus = torch.cuda.device_count()
    if on_gpu and options.devices > num_gpus and not torch.backends.mps.is_available():
        raise InputError(
            "--devices",
            expected=f"at most {num_gpus}, the GPUs here" if num_gpus else "a GPU, for --accelerator gpu",
            found=str(options.devices) if num_gpus else "none",
            fix="ask for fewer, or take --accelerator cpu",
        )


def _warn_of_weights(record: FoldRecord, progress: Progress) -> None:
    """Say in a line which set's loss a missing class makes zero."""
    for stage in (Stage.TRAIN, Stage.VAL):
        counts = record.class_counts[stage]
        if not (counts.num_negative and counts.num_positive):
            missing = "positives" if counts.num_negative else "negatives"
            progress.note(
                f"fold {record.fold}: the {stage} set has no {missing}; by w_c = 1 - n_c/N its loss is 0 throughout"
            )
