"""Where the labels of a run's samples come from: the lists that it was made with, or a flare list.

A run with other labels is a run like any other: its forecasts are the same, and its thresholds and calibration are
fitted again, to the new labels of its validation sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import Field, InputError, format_count
from sffshards.domain.frame_codes import pack_codes
from sffshards.domain.sample_sets import LabelSet, Stage
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting.runs import Predictions, Run, RunFold
from sffshards.images import require_harp_numbers
from sffshards.labels import find_labels, require_known_labels

_SETS = {Stage.TRAIN: "training", Stage.VAL: "validation", Stage.TEST: "Test"}
"""Names of the sets in notes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSource:
    """What the labels of samples follow from."""

    flares: HarpFlares | None
    """Flares of active regions; None for the labels of the lists that runs were made with."""

    @property
    def title(self) -> str:
        """Name of the labels in tables, such as ``rebuilt from flares.csv``."""
        return (
            str(LabelSet.PUBLISHED) if self.flares is None else f"{LabelSet.REBUILT} from {self.flares.flares.source}"
        )

    def relabel(self, run: Run) -> Run:
        """Return a run with these labels; the run itself if they are those of the lists.

        Left out are samples whose horizon the flare list does not cover. Only plain views stay: which samples an
        oversampled set would show in several views depends on their labels.

        Raises
        ------
        InputError
            If the map of the flares has other HARP numbers than the run, or the flare list covers no sample of a set.
        """
        if self.flares is None:
            return run
        require_harp_numbers(self.flares.harp_map, run.first.harp_numbers, where=run.folder)
        return replace(run, folds=tuple(_relabel(fold, self.flares) for fold in run.folds))

    def explain(self, samples: Predictions, run: Run) -> str:
        """Return in words how many samples have no known label, and how many test samples no known region.

        Parameters
        ----------
        samples
            Test samples with these labels.
        run
            The run with the labels of its lists, whose samples are counted once each.
        """
        if self.flares is None:
            return ""
        unmapped = sum(not self.flares.knows(harp) for harp in samples.harp.tolist())
        unknown = ", ".join(f"{self._count_unknown(run, stage):,} of {name}" for stage, name in _SETS.items())
        return (
            f"{self.title}: left out, as the flare list does not cover their horizon, are {unknown}; of "
            f"{format_count(len(samples), 'test sample')}, {unmapped:,} have a HARP that is not in "
            f"{self.flares.harp_map.source}, and count as negative"
        )

    def choose_known(self, samples: Predictions, *, task: Task) -> Predictions:
        """Return the samples that have a label by this source, with the labels that they had."""
        if self.flares is None:
            return samples
        return samples.where(find_labels(_codes(samples), self.flares, task=task)[1])

    def _count_unknown(self, run: Run, stage: Stage) -> int:
        every = [_codes(fold.plain(stage)) for fold in run.evaluated if stage in fold.tables]
        if self.flares is None or not every:
            return 0
        return int((~find_labels(np.unique(np.concatenate(every)), self.flares, task=run.task)[1]).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelChoice:
    """The sets of labels that runs are scored by."""

    label_set: LabelSet
    main: LabelSource
    """Labels of all scores that do not state others: rebuilt ones, unless the published ones were chosen."""
    compared: tuple[LabelSource, ...]
    """Sets of labels that are shown side by side, the published ones first; empty where there is only one."""

    @classmethod
    def make(cls, label_set: LabelSet, flares: Sequence[HarpFlares]) -> LabelChoice:
        """Choose sets of labels: those of a label set and, with several flare lists, those of each list.

        Raises
        ------
        InputError
            If labels are to be rebuilt, and there is no flare list.
        """
        is_published = label_set is LabelSet.PUBLISHED
        if not is_published and not flares:
            fix = "give a flare list with --flares and --harp-map"
            raise InputError(Field("label_set"), expected="published without a flare list", found=label_set, fix=fix)
        published, rebuilt = LabelSource(flares=None), [LabelSource(flares=of) for of in flares]
        every = [
            *([] if label_set is LabelSet.REBUILT else [published]),
            *(rebuilt if len(rebuilt) > 1 or not is_published else []),
        ]
        main = published if is_published else rebuilt[0]
        return cls(label_set=label_set, main=main, compared=tuple(every) if len(every) > 1 else ())

    @property
    def is_rebuilt(self) -> bool:
        """Whether the main labels are not those of the lists."""
        return self.main.flares is not None


def _relabel(fold: RunFold, flares: HarpFlares) -> RunFold:
    tables = {}
    for stage in fold.tables:
        samples = fold.plain(stage)
        labels, is_known = find_labels(_codes(samples), flares, task=fold.task)
        where = f"the samples of {_SETS[stage]} in {fold.folder}"
        require_known_labels(int(is_known.sum()), len(is_known), flares, where=where)
        tables[stage] = replace(samples, label=labels).where(is_known)
    return replace(fold, tables=tables, is_relabelled=True)


def _codes(samples: Predictions) -> NDArray[np.int64]:
    return pack_codes(samples.harp, samples.t_end_tai)
