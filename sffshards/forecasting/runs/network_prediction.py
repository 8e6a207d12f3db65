"""Predictions by a network: the sets of a fold with its best checkpoint, rows of a build, or single clips.

Shapes: B batch, K 2 classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import EllipsisType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sffshards.base.errors import DamageError, Field, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.progress import Advance, Progress
from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs.forecast_record import RunKind
from sffshards.forecasting.runs.predictions_record import (
    PredictionsRecord,
    find_current_tables,
    write_predictions_record,
)
from sffshards.forecasting.runs.predictions_table import (
    Predictions,
    build_predictions,
    predictions_path,
    read_predictions,
    write_predictions,
)
from sffshards.forecasting.runs.run_fold import RunFold
from sffshards.forecasting.runs.run_folders import Run
from sffshards.loading import ClipLoader, PlanSource, Shuffle
from sffshards.models import (
    NO_WEIGHTS,
    ModelName,
    NetworkSpec,
    NetworkWithNumbers,
    build_model,
    load_checkpoint,
    scale_clips,
)
from sffshards.shards.read import Build, CheckLevel
from sffshards.tabular import NO_SOURCES, NumberSources, SampleInputs
from sffshards.training import describe_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Inference:
    """How predictions are computed; no setting changes them by more than rounding."""

    batch_size: int
    num_threads: int
    """Number of threads that read ahead."""
    device: torch.device
    check: CheckLevel = CheckLevel.FULL
    """How much of a sample is checked each time it is read."""
    factories: tuple[ModelName, ...] = ()
    """Factories of networks whose code the user allows to run, by naming them; a run's record alone does not."""
    sources: NumberSources = NO_SOURCES
    """Keywords and flares of the samples, for networks that take them."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(
                Field("batch_size"), expected="at least 1", found=str(self.batch_size), fix="choose another"
            )


def predict_fold(
    fold: RunFold, build: Build, *, inference: Inference, force: bool, progress: Progress
) -> dict[Stage, Predictions]:
    """Predict the training, validation and test set of a fold, each sample once, and write their tables.

    Unchanged tables of the same checkpoint and build are kept.

    Parameters
    ----------
    fold
        Folder and record of the fold.
    build
        Build that the fold was trained on.
    inference
        How predictions are computed.
    force
        Whether to predict again where there are tables of the same checkpoint.
    progress
        Receiver of progress.

    Returns
    -------
    the predictions of each set

    Raises
    ------
    InputError
        If the fold has no checkpoint yet, or it is damaged or of another network, or of a factory that the user has
        not named; or if its network takes numbers, and their tables are not given.
    ConflictError
        If these tables are not those that the fold was trained with.
    DamageError
        If the checkpoint is not the one that the fold's record describes, or returns values that are not numbers.
    """
    folder, record, path = fold.folder, fold.network, fold.require_checkpoint()
    made_from = _describe_source(fold)
    kept = {} if force else find_current_tables(folder, made_from)
    model = None
    for stage in Stage:
        if stage in kept:
            continue
        if model is None:
            fold.require_sources(inference.sources)
            model = load_network(record.options.network, path, factories=inference.factories)
        rows = np.sort(build.set_rows(record.sample_set(stage)))
        build.check_shards(rows, progress=progress)
        known = None
        if (inputs := record.options.inputs).groups:
            known = describe_rows(build, rows, inputs=inputs, sources=inference.sources)
        with progress.task(f"Fold {record.fold}, predict {stage}", len(rows)) as advance:
            probabilities = predict_rows(model, build, rows, numbers=known, inference=inference, advance=advance)
        require_finite(probabilities, checkpoint=path)
        table = predictions_path(folder, stage)
        write_predictions(table, build_predictions(build, rows, probabilities))
        kept[stage] = hash_file(table)
        done = {one: kept[one] for one in Stage if one in kept}  # in this order, whichever were computed again
        write_predictions_record(folder, replace(made_from, stages=done))
    return {stage: read_predictions(predictions_path(folder, stage)) for stage in Stage}


def load_network(spec: NetworkSpec, checkpoint: Path, *, factories: Collection[ModelName]) -> nn.Module:
    """Return a trained network from its checkpoint, on the CPU.

    Parameters
    ----------
    spec
        What the network is built from, such as ``options.network`` of the record of its training.
    checkpoint
        Checkpoint of Lightning, or a state dict.
    factories
        Factories that the user named; the code of no other is run.

    Raises
    ------
    InputError
        If the network is that of a factory which the user has not named, or the checkpoint does not fit.
    DamageError
        If the bytes of the checkpoint have changed since it was written.
    """
    spec.require_named(factories, where=checkpoint)
    model = build_model(spec.model, weights=NO_WEIGHTS, attention=spec.attention, options=spec.options)
    if spec.inputs.groups:
        model = NetworkWithNumbers(model, inputs=spec.inputs)
    load_checkpoint(model, checkpoint, model_name=spec.model)
    return model


def require_named(runs: Iterable[Run], inference: Inference, *, force: bool) -> None:
    """Check that the user named what runs need of which folds are to be predicted: factories, and tables of numbers.

    Raises
    ------
    InputError
        If one is needed and was not named.
    ConflictError
        If a table is not the one that the fold was trained with.
    """
    for fold in (fold for run in runs if run.kind is RunKind.NETWORK for fold in run.folds):
        network = fold.network.options.network
        if fold.network.best is None or not (network.model.is_factory or network.inputs.groups):
            continue
        if force or len(find_current_tables(fold.folder, _describe_source(fold))) < len(Stage):
            network.require_named(inference.factories, where=fold.folder)
            fold.require_sources(inference.sources)


def _describe_source(fold: RunFold) -> PredictionsRecord:
    """Return the record of predictions by a fold's best checkpoint, before there are any."""
    return PredictionsRecord(
        checkpoint=fold.best.name,
        checkpoint_sha256=fold.best.sha256,
        manifest_sha256=fold.network.manifest_sha256,
        stages={},
    )


def predict_rows(
    model: nn.Module,
    build: Build,
    rows: NDArray[np.int64],
    *,
    numbers: SampleInputs | None = None,
    inference: Inference,
    advance: Advance,
) -> NDArray[np.float64]:
    """Return the probability of a flare for rows of a build's index.

    Parameters
    ----------
    model
        Network from `load_network`; it is moved to the device and left in evaluation mode.
    build, rows
        Build, and rows of its index, shape (N,).
    numbers
        What is known of these samples besides, for a network that takes numbers; else None.
    inference
        How predictions are computed.
    advance
        Receiver of the number of samples done.

    Returns
    -------
    float64 of shape (N,), in the order of ``rows``
    """
    batch_size, pinned = inference.batch_size, inference.device.type == "cuda"
    source = PlanSource(rows=rows, global_batch=batch_size, num_ranks=1, rank=0, seed=0, shuffle=Shuffle.NONE)
    loader = ClipLoader(build, source, num_threads=inference.num_threads, pinned=pinned)
    return _predict(model, ((batch.clips_BTHW, batch.mask_B) for batch in loader), numbers, inference, advance)


def predict_clips(
    model: nn.Module,
    clips: Iterable[NDArray[np.uint8]],
    *,
    numbers: SampleInputs | None = None,
    inference: Inference,
    advance: Advance,
) -> NDArray[np.float64]:
    """Return the probability of a flare for clips that come one at a time.

    Parameters
    ----------
    model
        As of `predict_rows`.
    clips
        uint8, each of shape (16, 224, 224).
    numbers
        As of `predict_rows`.
    inference, advance
        As of `predict_rows`.

    Returns
    -------
    float64, one for each clip, in their order
    """
    waiting = iter(clips)
    stacks = iter(lambda: list(islice(waiting, inference.batch_size)), [])
    return _predict(model, ((torch.from_numpy(np.stack(stack)), ...) for stack in stacks), numbers, inference, advance)


def require_finite(probabilities: NDArray[np.float64], *, checkpoint: Path) -> None:
    """Check that the probabilities are numbers, which those of a network with damaged weights are not.

    Raises
    ------
    DamageError
        If a probability is not a number; the checkpoint is named.
    """
    num_undefined = int((~np.isfinite(probabilities)).sum())
    if num_undefined:
        raise DamageError(
            checkpoint,
            expected="a network that returns probabilities",
            found=f"no number for {num_undefined:,} of {len(probabilities):,} samples",
            fix="name another checkpoint, or train it again with `sffshards train --force`",
        )


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is the first GPU, or else the CPU.

    Raises
    ------
    InputError
        If this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = f"{name!r} ({str(error).splitlines()[0][:80]})"
        raise InputError(
            Field("device"), expected="a device of this machine", found=found, fix="choose another"
        ) from None
    return device


def _predict(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor | EllipsisType]],
    found: SampleInputs | None,
    inference: Inference,
    advance: Advance,
) -> NDArray[np.float64]:
    """Return the probabilities of batches of clips, each with the choice of its samples that count, which come first.

    If anything else is known of the samples, it is in the order of those that count.
    """
    device, parts, num_done = inference.device, [np.empty(0)], 0
    numbers_NF = None
    if isinstance(model, NetworkWithNumbers) and found is not None:
        numbers_NF = torch.from_numpy(model.take_numbers(found))
    model.to(device).eval()
    with torch.inference_mode():
        for clips_BTHW, chosen in batches:
            clips = scale_clips(clips_BTHW.to(device, non_blocking=device.type == "cuda"))
            if numbers_NF is None:
                logits_BK = model(clips)
            else:
                places_B = torch.arange(num_done, num_done + len(clips)).clamp(max=len(numbers_NF) - 1)
                logits_BK = model(clips, numbers_NF[places_B].to(device))
            logits_BK = logits_BK.cpu().double()
            # The softmax of two classes; 0.5 and more exactly where the flare's logit is not the smaller.
            parts.append(torch.sigmoid(logits_BK[:, 1] - logits_BK[:, 0])[chosen].numpy())
            num_done += len(parts[-1])
            advance(len(parts[-1]))
    return np.concatenate(parts)
