"""The training, validation and test sets of a fold as a Lightning data module."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import SampleSet, Stage
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.loading_options import Engine, LoadingOptions, Shuffle, ViewSource
from sffshards.loading.stock_loader import ClassicLoader, require_shards
from sffshards.shards.read import Place, open_build


class ShardDataModule(pl.LightningDataModule):
    """The sets of a fold of a build.

    Each rank reads its own share of every step, so the trainer must be made with ``use_distributed_sampler=False``.

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

    def train_dataloader(self) -> ClipLoader | ClassicLoader:
        """Return the training set, in an order that follows from the seed and the trainer's epoch."""
        if self.options.engine is Engine.PLAN:
            return self.stage_loader(Stage.TRAIN, shuffle=self.options.shuffle)
        num_ranks, rank = self._place()
        return ClassicLoader(
            self.build,
            rows=self._stage_rows(Stage.TRAIN),
            batch_size=self.options.batch_size,
            num_ranks=num_ranks,
            rank=rank,
            seed=self.options.seed,
            epoch=self._epoch,
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
        """Return this rank's share of a set.

        Raises
        ------
        InputError
            If the set is empty.
        """
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
        )
        return ClipLoader(
            self.build,
            source,
            num_threads=options.num_threads,
            pinned=self._pinned(),
            views=options.views,
            epoch=self._epoch,
        )

    def check_ranks(self, num_ranks: int) -> None:
        """Raise `InputError` if the stock reader has fewer shards of the training set than there are ranks."""
        if self.options.engine is Engine.CLASSIC:
            require_shards(self.build, self._stage_rows(Stage.TRAIN), num_ranks=num_ranks)

    def _stage_rows(self, stage: Stage) -> NDArray[np.int64]:
        samples = self.sample_set(stage)
        rows = self.build.set_rows(samples)
        if not len(rows):
            where, fix = f"{self.build.folder}, {samples}", "build shards from lists that have some"
            raise InputError(where, expected="samples in the set", found="none", fix=fix)
        return np.sort(rows)

    def _pinned(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _place(self) -> tuple[int, int]:
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch
