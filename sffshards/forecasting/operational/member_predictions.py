"""The raw probabilities of one member: by its network in this process, or divided among the workers of a cluster.

Shapes: N sequences.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sffshards.base.errors import ConflictError
from sffshards.base.file_hashes import hash_file
from sffshards.base.progress import Advance, Progress
from sffshards.domain.frame_codes import pack_codes
from sffshards.executors import NETWORK_PACKAGES, DaskExecutor
from sffshards.forecasting import runs
from sffshards.forecasting.operational.clip_sources import BuildSource, ImageSource
from sffshards.forecasting.operational.ensemble_members import Member
from sffshards.models import ModelName, NetworkSpec
from sffshards.tabular import NO_SOURCES, NetworkInputs, NumberSources, SampleInputs

_PIECES_PER_WORKER = 8
_MAX_PIECE = 100
"""Sequences for a worker at a time, which take it a minute or two on a processor core."""


def check_workers(cluster: DaskExecutor, members: Sequence[Member], source: ImageSource | BuildSource) -> None:
    """Check that every worker sees checkpoints and images, and has the same packages; raises `InputError`."""
    place = source.build.folder if isinstance(source, BuildSource) else source.folder
    reads = [*(member.checkpoint for member in members), *([place] if isinstance(place, Path) else [])]
    cluster.check_places(reads=reads, writes=[], packages=NETWORK_PACKAGES)


def predict_member(
    member: Member,
    source: ImageSource | BuildSource,
    *,
    inference: runs.Inference,
    cluster: DaskExecutor | None,
    progress: Progress,
) -> NDArray[np.float64]:
    """Return the raw probability that a member gives each sequence of a source; raises as `forecast_regions`.

    Returns
    -------
    float64 of shape (N,)
    """
    known = describe_numbers(source, member.network.inputs, inference.sources)
    if cluster is None:
        predict = partial(_predict, load_network(member, factories=inference.factories), source, known, inference)
    else:
        sent = replace(inference, sources=NO_SOURCES)
        predict = partial(_predict_on, cluster, _divide(member, source, known, sent, cluster.num_workers))
    if isinstance(source, BuildSource):
        source.build.check_shards(source.rows, progress=progress)
    with progress.task(f"Forecast, {member.name}", len(source)) as advance:
        raw_N = predict(advance)
    runs.require_finite(raw_N, checkpoint=member.checkpoint)
    return raw_N


def describe_numbers(
    source: ImageSource | BuildSource, inputs: NetworkInputs, sources: NumberSources
) -> SampleInputs | None:
    """Return what is known of the sequences besides their images, if a network takes it; else None.

    Raises
    ------
    InputError
        As `sffshards.tabular.NumberSources.describe`.
    """
    if not inputs.groups:
        return None
    shown = source.shown
    harps = np.array([one.harp for one in shown], np.int64)
    return sources.describe(inputs, pack_codes(harps, np.array([one.t_end_tai for one in shown], "datetime64[s]")))


def _predict_on(cluster: DaskExecutor, pieces: Iterator[_Piece], advance: Advance) -> NDArray[np.float64]:
    parts = []
    for part in cluster.run(_predict_piece, pieces):
        parts.append(part)
        advance(len(part))
    return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """Sequences for a worker."""

    member: Member
    source: ImageSource | BuildSource
    known: SampleInputs | None
    """What is known of the sequences besides their images, if the network takes it."""
    inference: runs.Inference
    first: int
    """Position of the first one among all sequences."""
    num_threads: int | None
    """Number of threads that the user chose."""

    def __str__(self) -> str:
        return f"{self.member.name}, sequences {self.first + 1} to {self.first + len(self.source)}"


def _divide(
    member: Member,
    source: ImageSource | BuildSource,
    known: SampleInputs | None,
    inference: runs.Inference,
    num_workers: int,
) -> Iterator[_Piece]:
    """Yield pieces of whole batches: the last bits of a probability may depend on the size of its batch."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    size = min(_MAX_PIECE, -(-len(source) // (_PIECES_PER_WORKER * num_workers)))
    size = -(-size // inference.batch_size) * inference.batch_size
    for first in range(0, len(source), size):
        yield _Piece(
            member=member,
            source=source.part(first, first + size),
            known=None if known is None else known.take(slice(first, first + size)),
            inference=inference,
            first=first,
            num_threads=int(threads) if threads.isdecimal() else None,
        )


def _predict_piece(piece: _Piece) -> NDArray[np.float64]:
    """Return the raw probabilities of a piece, with the network that this process loaded for the last one."""
    if piece.num_threads:  # Dask has given its workers one
        torch.set_num_threads(piece.num_threads)
    member = piece.member
    model = _load_again(member.checkpoint, member.checkpoint_sha256, member.network, piece.inference.factories)
    try:
        return _predict(model, piece.source, piece.known, piece.inference, lambda _: None)
    finally:
        if isinstance(piece.source, BuildSource):
            piece.source.build.close()


@lru_cache(maxsize=1)
def _load_again(checkpoint: Path, sha256: str, network: NetworkSpec, factories: tuple[ModelName, ...]) -> nn.Module:
    """Return the network of a checkpoint that another process has read before."""
    if (found := hash_file(checkpoint)) != sha256:
        raise ConflictError(
            checkpoint,
            expected=f"the checkpoint that the command found ({sha256[:12]})",
            found=f"another one ({found[:12]})",
            fix="run the command again when nothing is trained there",
        )
    return runs.load_network(network, checkpoint, factories=factories)


def load_network(member: Member, *, factories: Collection[ModelName] = ()) -> nn.Module:
    """Return the network of a member, on the CPU.

    Parameters
    ----------
    member
        The member.
    factories
        Factories that the user named; the code of no other is run.

    Raises
    ------
    InputError, DamageError
        If its checkpoint cannot be used, or its network is that of a factory which was not named.
    """
    return runs.load_network(member.network, member.checkpoint, factories=factories)


def _predict(
    model: nn.Module,
    source: ImageSource | BuildSource,
    known: SampleInputs | None,
    inference: runs.Inference,
    advance: Advance,
) -> NDArray[np.float64]:
    if isinstance(source, BuildSource):
        rows = source.rows
        return runs.predict_rows(model, source.build, rows, numbers=known, inference=inference, advance=advance)
    return runs.predict_clips(model, source.clips(), numbers=known, inference=inference, advance=advance)
