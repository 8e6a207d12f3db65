"""The numbers of samples of each class, from which the weights of the loss follow, and sets that lack a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sffshards.base.errors import InputError
from sffshards.base.json_records import Count
from sffshards.domain.sample_sets import NUM_FOLDS, Protocol, SampleSet, Stage
from sffshards.shards.format import Manifest
from sffshards.training.recipe import ClassWeights

if TYPE_CHECKING:
    from sffshards.training.fold_record import FoldRecord
    from sffshards.training.training_config import TrainingOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class StageWeights:
    """Number of samples of each class, from which the weights of the classes in the loss follow."""

    num_negative: Count
    """Number of samples without a flare."""
    num_positive: Count
    """Number of samples with a flare."""

    def weigh(self, by: ClassWeights) -> tuple[float, float]:
        """Return the weights of negatives and positives; 0 for a class without samples, unless all are 1."""
        total = self.num_negative + self.num_positive
        if by is ClassWeights.NONE:
            return 1.0, 1.0
        if not total:
            return 0.0, 0.0
        if by is ClassWeights.PUBLISHED:
            return 1 - self.num_negative / total, 1 - self.num_positive / total
        negative, positive = (total / (2 * num) if num else 0.0 for num in (self.num_negative, self.num_positive))
        return negative, positive


def stage_weights(manifest: Manifest, samples: SampleSet) -> StageWeights:
    """Count the classes of a set as its loss weighs them.

    The paper's counts are exact. The published programs read each set's list with its first row as a header, and so
    lose that row's label.

    Parameters
    ----------
    manifest
        Manifest of the build.
    samples
        The set; its protocol states whose counts.

    Returns
    -------
    the counts, from which the weights follow
    """
    groups = samples.groups(manifest.task)
    counts = list(manifest.class_counts(groups))
    lost = manifest.groups[groups[0]].first_label if samples.protocol is Protocol.PUBLISHED else None
    if lost is not None and counts[lost]:
        counts[lost] -= 1
    return StageWeights(num_negative=counts[0], num_positive=counts[1])


def count_classes(manifest: Manifest, options: TrainingOptions, *, fold: int) -> dict[Stage, StageWeights]:
    """Return the numbers of samples by class of a fold's sets, and the weights that follow from them."""
    return {stage: stage_weights(manifest, options.sample_set(stage, fold=fold)) for stage in Stage}


def require_both_classes(record: FoldRecord, manifest: Manifest) -> None:
    """Check that the training and the validation set have both classes.

    Raises
    ------
    InputError
        If one lacks a class, which makes its loss zero or one-sided; folds of the build that have both are named.
    """
    weights = record.options.class_weights
    for found in describe_lacking(record.class_counts, weights):
        counts = [count_classes(manifest, record.options, fold=fold) for fold in range(NUM_FOLDS)]
        whole = ",".join(str(fold) for fold, of in enumerate(counts) if not any(describe_lacking(of, weights)))
        raise InputError(
            f"{record.task} fold {record.fold}",
            expected="samples of both classes to train on and to validate with",
            found=found.replace("; ", ", so that "),
            fix=f"{f'train only fold {whole}' if whole else 'use parts with both classes, which no fold has'}, "
            "or pass {allow_one_class} to train it anyway",
        )


def describe_lacking(class_counts: Mapping[Stage, StageWeights], weights: ClassWeights) -> Iterator[str]:
    """Yield which of the two sets lacks which class, and what follows from that."""
    consequence = "its loss is lowest for a constant forecast"
    if weights is ClassWeights.PUBLISHED:
        consequence = "with w_c = 1 - n_c/N its loss is 0"
    for stage in (Stage.TRAIN, Stage.VAL):
        counts = class_counts[stage]
        if not (counts.num_negative and counts.num_positive):
            yield f"the {stage} set has no {'positives' if counts.num_negative else 'negatives'}; {consequence}"
