"""The data loader: iterates over a set of a build, one epoch per pass, and resumes from a saved state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import webdataset as wds
from xxhash import xxh3_64_hexdigest

from sffshards.base.errors import ConflictError, FormatError
from sffshards.base.package_faces import accepts_text
from sffshards.loading.batch_pipeline import PlanSource, ReadClips
from sffshards.loading.clip_batches import ClipBatch
from sffshards.loading.loading_options import LoadingOptions, ViewSource
from sffshards.shards.read import Build

_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderState:
    """The position of a loader, without batches that were only read ahead; the same on every rank."""

    format_version: int
    """Version of this format."""
    manifest_sha256: str
    """SHA-256 of the build's manifest."""
    rows_xxh3: str
    """XXH3-64 of the set's index rows."""
    seed: int
    """Seed of the order."""
    shuffle: str
    """How the set is ordered, and for blocks their least number of shards."""
    global_batch: int
    """Number of samples per step, over all ranks."""
    epoch: int
    """Epoch of the pass."""
    step: int
    """Number of batches of the epoch that were yielded."""


@accepts_text
class ClipLoader:
    """Iterates over a set, one epoch per pass; a data loader for Lightning.

    Passes are counted unless something else tells the epoch: `set_epoch`, which Lightning's trainer calls, or a loaded
    state.

    Parameters
    ----------
    build
        Build that holds the clips.
    source
        Plan of the clips to read.
    num_threads
        Number of threads that read and decode ahead; 0 for none.
    pinned
        Whether batches lie in page-locked memory, for a GPU.
    views
        Whether augmented views are read, or left to `render_clips`.
    augmented_by
        Options by which clips are changed at random, by `render_clips`; None if they are not.
    epoch
        Function that returns the epoch when a pass begins, or None to count the passes.
    """

    def __init__(
        self,
        build: Build,
        source: PlanSource,
        *,
        num_threads: int,
        pinned: bool = False,
        views: ViewSource = ViewSource.STORED,
        augmented_by: LoadingOptions | None = None,
        epoch: Callable[[], int | None] | None = None,
    ) -> None:
        self.source = source
        reader = ReadClips(build, num_threads=num_threads, pinned=pinned, views=views, augmented_by=augmented_by)
        self._pipeline = wds.DataPipeline(source, reader)
        self._manifest_sha256 = build.manifest.sha256
        self._ask_epoch = epoch
        self._told: int | None = None
        self._epoch, self._step = 0, 0
        self._is_resumed = self._has_begun = False

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.source)

    @property
    def num_samples(self) -> int:
        """Number of samples of an epoch, over all ranks."""
        return len(self.source.rows)

    @property
    def pipeline(self) -> wds.DataPipeline:
        """The stages that read; ``pipeline.append`` adds one from batches to batches.

        For worker processes in place of threads, use ``webdataset.WebLoader(loader.pipeline, batch_size=None,
        num_workers=2)``. Every pass through it is another epoch, too.
        """
        self.source.count.share()
        return self._pipeline

    @property
    def batch_sampler(self) -> None:
        """None: Lightning expects the attribute of each loader that has a `sampler`."""

    @property
    def sampler(self) -> ClipLoader:
        """The loader itself: Lightning tells the sampler of each loader the epoch, by its `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of an epoch, as torch's `DistributedSampler` does; later passes are counted on."""
        self._told = epoch
        if not (self._is_resumed and epoch == self._epoch):
            self.source.begin_at(epoch, 0)

    def __iter__(self) -> Iterator[ClipBatch]:
        """Yield the batches of an epoch, or those that a loaded state leaves of it."""
        told, self._told = self._told, None
        if told is None and self._ask_epoch is not None:
            told = self._ask_epoch()
        resumes = self._is_resumed and told in (None, self._epoch)
        if not resumes:
            self._epoch, self._step = self.source.count.next_epoch if told is None else told, 0
        self._is_resumed, self._has_begun = False, True
        self.source.begin_at(self._epoch, self._step)
        for batch in self._pipeline:
            self._step += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return a `LoaderState` as plain numbers and text, fit for JSON."""
        if not (self._is_resumed or self._has_begun):
            self._epoch = self.source.count.next_epoch
        return asdict(self._state(self._epoch, self._step))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next pass resume where the state was saved, on any number of ranks.

        Raises
        ------
        FormatError
            If it is not a state, or has another version.
        ConflictError
            If it belongs to another set, order or global batch.
        """
        try:
            state = LoaderState(**state_dict)
            found = f"version {state.format_version}"
        except TypeError:
            found = f"fields {', '.join(map(str, state_dict))}"
        if found != (expected := f"version {_FORMAT_VERSION}"):
            fix = "begin the epoch again, or use the version of sffshards that saved it"
            raise FormatError("the loader's state", expected=f"a state of {expected}", found=found[:80], fix=fix)
        mine = asdict(self._state(state.epoch, state.step))
        different = [name for name, value in state_dict.items() if mine[name] != value]
        if different or not 0 <= state.step <= len(self) or state.epoch < 0:
            described = ", ".join(f"{name} {state_dict[name]} (here {mine[name]})" for name in different)
            raise ConflictError(
                "the loader's state",
                expected="a state of the same build, set, order and global batch",
                found=described or f"step {state.step} of {len(self)} in epoch {state.epoch}",
                fix="resume with the options that it was saved under",
            )
        self._epoch, self._step, self._is_resumed = state.epoch, state.step, True
        self.source.begin_at(state.epoch, state.step)

    def _state(self, epoch: int, step: int) -> LoaderState:
        self.source.settle()
        return LoaderState(
            format_version=_FORMAT_VERSION,
            manifest_sha256=self._manifest_sha256,
            rows_xxh3=xxh3_64_hexdigest(self.source.rows.astype("<i8").tobytes()),
            seed=self.source.seed,
            shuffle=self.source.describe_shuffle(),
            global_batch=self.source.global_batch,
            epoch=epoch,
            step=step,
        )
