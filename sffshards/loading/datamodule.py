"""The sets of a variant and a fold as Lightning takes them."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.domain.sample_sets import SampleSet, Stage
from sffshards.loading.batch_pipeline import PlanSource
from sffshards.loading.clip_loader import ClipLoader
from sffshards.loading.epoch_plan import MIN_BLOCK_SHARDS
from sffshards.loading.loading_options import Engine, Shuffle, ViewSource
from sffshards.loading.stock_loader import ClassicLoader, require_shards
from sffshards.shards.read import CheckLevel, Place, open_build

__all__ = ["ShardDataModule"]


class ShardDataModule(pl.LightningDataModule):
    """Training, validation and test sets of a build.

    Each rank takes its own share of every step, so the trainer must be made with ``use_distributed_sampler=False``.

    Parameters
    ----------
    folder
        Folder of the build.
    samples
        A set of the fold; those of all stages are offered.
    batch_size
        Clips a step on each rank; the global batch, which the order follows, is ``batch_size`` times the ranks.
    seed
        Of the training set's order, together with the epoch.
    num_threads
        Threads that read and decode ahead; 0 for none.
    views
        Whether further views are read, or left to `apply_views`.
    shuffle, block_shards
        How the training set is put in order, and shards a block, at least, where that is in blocks.
    check
        How much of a sample is checked each time that it is read.
    engine
        What reads the training set; of the stock reader, ``num_threads``, ``views`` and ``shuffle`` say nothing.

    Raises
    ------
    InputError
        If the folder holds no build, or ``batch_size`` is not positive.
    """

    def __init__(
        self,
        folder: Place,
        samples: SampleSet,
        *,
        batch_size: int,
        seed: int,
        num_threads: int,
        views: ViewSource = ViewSource.STORED,
        shuffle: Shuffle = Shuffle.GLOBAL,
        block_shards: int = MIN_BLOCK_SHARDS,
        check: CheckLevel = CheckLevel.FULL,
        engine: Engine = Engine.PLAN,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError("--batch-size", expected="at least 1", found=str(batch_size), fix="choose another")
        self.build = open_build(folder, check=check)
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.num_threads = num_threads
        self.views = views
        self.shuffle = shuffle
        self.block_shards = block_shards
        self.engine = engine

    def train_dataloader(self) -> ClipLoader | ClassicLoader:
        """Give the training set, in an order of the seed and the trainer's epoch."""
        if self.engine is Engine.CLASSIC:
            return self._classic_loader()
        return self.stage_loader(Stage.TRAIN, shuffle=self.shuffle)

    def val_dataloader(self) -> ClipLoader:
        """Give the validation set in index order."""
        return self.stage_loader(Stage.VAL, shuffle=Shuffle.NONE)

    def test_dataloader(self) -> ClipLoader:
        """Give the test set in index order."""
        return self.stage_loader(Stage.TEST, shuffle=Shuffle.NONE)

    def predict_dataloader(self) -> list[ClipLoader]:
        """Give all three sets in index order: training, validation, test."""
        return [self.stage_loader(stage, shuffle=Shuffle.NONE) for stage in Stage]

    def stage_loader(self, stage: Stage, *, shuffle: Shuffle) -> ClipLoader:
        """Give this rank's share of a set.

        Raises
        ------
        InputError
            If the set is empty.
        """
        rows = self._stage_rows(stage)
        num_ranks, rank = self._place()
        source = PlanSource(
            rows=rows,
            global_batch=self.batch_size * num_ranks,
            num_ranks=num_ranks,
            rank=rank,
            seed=self.seed,
            shuffle=shuffle,
            shards=self.build.row_shards(rows if self.views is ViewSource.STORED else self.build.plain_rows()[rows]),
            block_shards=self.block_shards,
        )
        return ClipLoader(
            self.build,
            source,
            num_threads=self.num_threads,
            pinned=self._pinned(),
            views=self.views,
            epoch=self._epoch,
        )

    def check_ranks(self, num_ranks: int) -> None:
        """Refuse a number of ranks on which the training set cannot be read.

        Raises
        ------
        InputError
            If the stock reader has fewer shards than that.
        """
        if self.engine is Engine.CLASSIC:
            require_shards(self.build, self._stage_rows(Stage.TRAIN), num_ranks=num_ranks)

    def _classic_loader(self) -> ClassicLoader:
        num_ranks, rank = self._place()
        return ClassicLoader(
            self.build,
            rows=self._stage_rows(Stage.TRAIN),
            batch_size=self.batch_size,
            num_ranks=num_ranks,
            rank=rank,
            seed=self.seed,
            epoch=self._epoch,
            pinned=self._pinned(),
        )

    def _stage_rows(self, stage: Stage) -> NDArray[np.int64]:
        samples = self.samples.at(stage)
        rows = self.build.set_rows(samples)
        if not len(rows):
            raise InputError(
                f"{self.build.folder}, {samples}",
                expected="samples in the set",
                found="none",
                fix="build shards from lists that have some",
            )
        return np.sort(rows)

    def _pinned(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _place(self) -> tuple[int, int]:
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch
