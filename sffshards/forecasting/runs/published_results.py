"""The results that Grim and Gradvohl published: six test tables, each of a single fold.

From the notebooks of their program (github.com/lfgrim/SFF_MagSeq_MViTs), published with Solar Physics 299:33 (2024),
doi 10.1007/s11207-024-02276-0. The paper alone has means over folds; they are not copied here.
"""

from __future__ import annotations

from dataclasses import dataclass

from sffshards.domain.sample_sets import Variant
from sffshards.domain.task import M24, M48, Task
from sffshards.verification import ContingencyTable, ScoreName, compute_published_scores

PUBLISHED_DOI = "10.1007/s11207-024-02276-0"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedResult:
    """The published test result of one fold, at a probability of 0.5."""

    task: Task
    variant: Variant
    fold: int
    table: ContingencyTable

    @property
    def scores(self) -> dict[ScoreName, float]:
        """The eight published scores."""
        return compute_published_scores(self.table)


def _result(task: Task, variant: Variant, fold: int, *counts: int) -> PublishedResult:
    tp, fp, fn, tn = counts
    return PublishedResult(task=task, variant=variant, fold=fold, table=ContingencyTable(tp=tp, fp=fp, fn=fn, tn=tn))


PUBLISHED_RESULTS = (
    _result(M24, Variant.BASE, 3, 165, 952, 30, 8237),
    _result(M24, Variant.OT, 0, 156, 773, 39, 8416),
    _result(M24, Variant.OTV, 3, 163, 748, 32, 8441),
    _result(M48, Variant.BASE, 1, 374, 688, 39, 8283),
    _result(M48, Variant.OT, 0, 352, 547, 61, 8424),
    _result(M48, Variant.OTV, 2, 372, 655, 41, 8316),
)
"""Published results, one for each task and variant."""
