"""The training, validation and test sets of a fold as a Lightning data module."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import distributed

from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.package_faces import accepts_text
from sffshards.domain.sample_sets import SampleSet, Stage
from sffshards.loading.batch_pipeline import EpochCount, PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.loading_options import Engine, LoadingOptions, Sampler, Shuffle, ViewSource
from sffshards.loading.stock_loader import ClassicLoader, require_shards
from sffshards.shards.read import Place, open_build


@accepts_text
class ShardDataModule(pl.LightningDataModule):
    """The sets of a fold of a build.

    Its loaders work with and without a Lightning trainer. Each rank reads its own share of every step: the ranks are
    those of the trainer, else of torch's process group. The order of the training set follows from the seed and the
    epoch, which is the trainer's while it fits with this module, else the number of earlier passes through the set.
    A trainer's ``overfit_batches`` turns shuffling off only if this module itself is its data module: in one of your
    own, pass ``shuffle="none"``.

    Parameters
    ----------
    folder
        Folder of the build.
    options
        Which sets to read, and how; the global batch, which the order follows, is ``batch_size`` times the ranks.
    fold
        Number of the fold, 0 to 4.

    Raises
    ------
    InputError
        If the folder holds no build.
    """

    def __init__(self, folder: Place, options: LoadingOptions, *, fold: int) -> None:
        super().__init__()
        self.build = open_build(folder, check=options.check)
        self.options = options
        self.fold = fold
        self._counts = {stage: EpochCount() for stage in Stage}

    def train_dataloader(self) -> ClipLoader | ClassicLoader:
        """Return the training set, in index order if the trainer is told to overfit some batches."""
        if self.options.engine is Engine.PLAN:
            overfits = getattr(self.trainer, "overfit_batches", 0) > 0
            shuffle = Shuffle.NONE if overfits else self.options.shuffle
            return self._make_loader(Stage.TRAIN, shuffle=shuffle, trains=True)
        num_ranks, rank = self._place()
        return ClassicLoader(
            self.build,
            rows=self._stage_rows(Stage.TRAIN),
            batch_size=self.options.batch_size,
            num_ranks=num_ranks,
            rank=rank,
            seed=self.options.seed,
            epoch=partial(self._begin_classic, num_ranks),
            pinned=self._pinned(),
        )

    def val_dataloader(self) -> ClipLoader:
        """Return the validation set in index order."""
        return self.stage_loader(Stage.VAL, shuffle=Shuffle.NONE)

    def test_dataloader(self) -> ClipLoader:
        """Return the test set in index order."""
        return self.stage_loader(Stage.TEST, shuffle=Shuffle.NONE)

    def predict_dataloader(self) -> list[ClipLoader]:
        """Return all three sets in index order: training, validation, test."""
        return [self.stage_loader(stage, shuffle=Shuffle.NONE) for stage in Stage]

    def sample_set(self, stage: Stage) -> SampleSet:
        """Return the set of a stage."""
        return self.options.sample_set(stage, fold=self.fold)

    def stage_loader(self, stage: Stage, *, shuffle: Shuffle) -> ClipLoader:
        """Return this rank's share of a set, every sample once and unchanged.

        Raises
        ------
        InputError
            If the set is empty.
        """
        return self._make_loader(stage, shuffle=shuffle, trains=False)

    def _make_loader(self, stage: Stage, *, shuffle: Shuffle, trains: bool) -> ClipLoader:
        rows, options = self._stage_rows(stage), self.options
        source_rows = rows if options.views is ViewSource.STORED else self.build.plain_rows()[rows]
        num_ranks, rank = self._place()
        source = PlanSource(
            rows=rows,
            global_batch=options.batch_size * num_ranks,
            num_ranks=num_ranks,
            rank=rank,
            seed=options.seed,
            shuffle=shuffle,
            shards=self.build.row_shards(source_rows),
            block_shards=options.block_shards,
            labels=self._stage_labels(rows) if trains and options.sampler is Sampler.BALANCED else None,
            count=self._counts[stage],
            ask_place=self._place,
        )
        return ClipLoader(
            self.build,
            source,
            num_threads=options.num_threads,
            pinned=self._pinned(),
            views=options.views,
            augmented_by=options if trains and options.augments else None,
            epoch=self._epoch,
        )

    def check_training(self, num_ranks: int) -> None:
        """Raise `InputError` if the stock reader has fewer shards than ranks, or balanced batches only one class."""
        if self.options.sampler is Sampler.BALANCED:
            self._stage_labels(self._stage_rows(Stage.TRAIN))
        if self.options.engine is Engine.CLASSIC:
            require_shards(self.build, self._stage_rows(Stage.TRAIN), num_ranks=num_ranks)

    def _stage_rows(self, stage: Stage) -> NDArray[np.int64]:
        samples = self.sample_set(stage)
        rows = self.build.set_rows(samples)
        if not len(rows):
            where, fix = f"{self.build.folder}, {samples}", "build shards from lists that have some"
            raise InputError(where, expected="samples in the set", found="none", fix=fix)
        return np.sort(rows)

    def _stage_labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the labels of a set; raises `InputError` where balanced batches cannot be drawn."""
        labels = np.asarray(self.build.index["label"])[rows].astype(np.int64)
        if len(np.unique(labels)) == 1:
            where, fix = f"{self.build.folder}, fold {self.fold}", "pass {sampler} published, or train another fold"
            raise InputError(where, expected="both classes, for balanced batches", found="one class", fix=fix)
        return labels

    def _pinned(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _place(self) -> tuple[int, int]:
        """Return the number of ranks and this rank: the trainer's, else those of torch's process group."""
        if self.trainer is not None:
            return self.trainer.world_size, self.trainer.global_rank
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_world_size(), distributed.get_rank()
        return 1, 0

    def _epoch(self) -> int | None:
        """Return the trainer's epoch while it fits; None where passes are counted."""
        trainer = self.trainer
        if trainer is None or (trainer.state.fn, trainer.state.status) != ("fit", "running"):
            return None
        return trainer.current_epoch

    def _begin_classic(self, num_ranks: int) -> int:
        """Return the epoch of a pass that the stock reader begins."""
        if (found := self._place()[0]) != num_ranks:
            raise InputError(
                Field("engine"),
                expected=f"{format_count(num_ranks, 'rank')}, as when the loader was made",
                found=str(found),
                fix="make the loader after the process group, or pass {engine} plan",
            )
        count, told = self._counts[Stage.TRAIN], self._epoch()
        if told is not None:
            count.next_epoch = told
        return count.begin(at_least=0)
