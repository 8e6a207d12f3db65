"""Goes over a set of a build, an epoch a pass, and can say where it is and go on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import webdataset as wds
from xxhash import xxh3_64_hexdigest

from sffshards.base.errors import ConflictError, FormatError
from sffshards.loading.batch_pipeline import ClipBatch, PlanSource, ReadClips
from sffshards.loading.loading_options import ViewSource
from sffshards.shards.read import Build

__all__ = ["ClipLoader", "LoaderState"]

_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderState:
    """How far a loader is: what was handed out, not what was read ahead. The same on every rank."""

    format_version: int
    manifest_sha256: str
    """Names the build."""
    rows_xxh3: str
    """Names the set: XXH3-64 of its index rows."""
    seed: int
    shuffle: str
    """How the set is put in order, and for blocks their least number of shards."""
    global_batch: int
    epoch: int
    step: int
    """Batches of the epoch that were handed out."""


class ClipLoader:
    """Goes over a set, an epoch a pass; what Lightning takes for a data loader.

    Parameters
    ----------
    build
        Where the clips are.
    source
        Which clips, in which order.
    num_threads
        Threads that read and decode ahead; 0 for none.
    pinned
        Whether batches lie in page-locked memory, for a GPU.
    views
        Whether further views are read, or left to `apply_views`.
    epoch
        Says which epoch a pass is, asked when it begins; None: the loader counts its passes.

    Attributes
    ----------
    pipeline
        The `webdataset.DataPipeline` that is run; ``pipeline.append`` adds a stage from batches to batches. With worker
        processes in place of threads: ``webdataset.WebLoader(loader.pipeline, batch_size=None, num_workers=2)``.
    """

    def __init__(
        self,
        build: Build,
        source: PlanSource,
        *,
        num_threads: int,
        pinned: bool = False,
        views: ViewSource = ViewSource.STORED,
        epoch: Callable[[], int] | None = None,
    ) -> None:
        self.source = source
        self.pipeline = wds.DataPipeline(source, ReadClips(build, num_threads=num_threads, pinned=pinned, views=views))
        self._manifest_sha256 = build.manifest.sha256
        self._ask_epoch = epoch
        self._epoch, self._step = 0, 0
        self._begun = False

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.source)

    @property
    def num_samples(self) -> int:
        """Count the samples of an epoch, over all ranks."""
        return len(self.source.rows)

    def __iter__(self) -> Iterator[ClipBatch]:
        """Go over the set once, or over what a state that was loaded leaves of it."""
        epoch = self._ask_epoch() if self._ask_epoch else self._epoch + self._begun
        if self._begun or epoch != self._epoch:
            self._step = 0
        self._epoch, self._begun = epoch, True
        self.source.epoch, self.source.first_step = self._epoch, self._step
        for batch in self.pipeline:
            self._step += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Give a `LoaderState` as plain numbers and text, fit for JSON."""
        return asdict(self._state(self._epoch, self._step))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next pass go on where the state was taken, on however many ranks.

        Raises
        ------
        FormatError
            If it is no state, or one of another version.
        ConflictError
            If it is of another set, order or global batch.
        """
        try:
            state = LoaderState(**state_dict)
        except TypeError:
            raise _unknown(f"fields {', '.join(map(str, state_dict))}") from None
        if state.format_version != _FORMAT_VERSION:
            raise _unknown(f"version {state.format_version}")
        mine = asdict(self._state(state.epoch, state.step))
        different = [name for name, value in state_dict.items() if mine[name] != value]
        if different or not 0 <= state.step <= len(self) or state.epoch < 0:
            described = ", ".join(f"{name} {state_dict[name]} (here {mine[name]})" for name in different)
            raise ConflictError(
                "the loader's state",
                expected="one of the same build, set, order and global batch",
                found=described or f"step {state.step} of {len(self)} in epoch {state.epoch}",
                fix="go on with the options that it was saved under",
            )
        self._epoch, self._step, self._begun = state.epoch, state.step, False

    def _state(self, epoch: int, step: int) -> LoaderState:
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


def _unknown(found: str) -> FormatError:
    return FormatError(
        "the loader's state",
        expected=f"a state of version {_FORMAT_VERSION}",
        found=found[:80],
        fix="begin the epoch anew, or take the version of sffshards that saved it",
    )
