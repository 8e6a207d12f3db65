"""What a tabular forecaster sees of samples: the keywords of each sequence's frames, and its region's flares before.

Shapes: n samples, T frames of a sequence, K keywords, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.frame_codes import harps_of, times_of
from sffshards.domain.sequence_table import SequenceTable
from sffshards.flares import HarpFlares
from sffshards.tabular.flare_history import ACTIVITY, HISTORY, describe_history
from sffshards.tabular.input_groups import InputGroup
from sffshards.tabular.keyword_features import COURSE, LAST, describe_course, describe_last
from sffshards.tabular.keyword_tables import KEYWORDS, KeywordTable

FEATURE_NAMES = {
    InputGroup.KEYWORDS: LAST,
    InputGroup.COURSE: COURSE,
    InputGroup.HISTORY: HISTORY,
    InputGroup.ACTIVITY: ACTIVITY,
}
"""Names of the features of each group, in their order."""

GROUP_DESCRIPTIONS = {
    InputGroup.KEYWORDS: f"{len(KEYWORDS)} SHARP keywords",
    InputGroup.COURSE: "their course",
    InputGroup.HISTORY: "flare history",
    InputGroup.ACTIVITY: "flares by class",
}
"""What each group consists of, in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleInputs:
    """What is known of samples, from which features follow."""

    keywords_nTK: NDArray[np.float64]
    """Keywords of the frames, in the order of `KEYWORDS`, nan where missing."""
    hours_nT: NDArray[np.float64]
    """Times of the frames in hours since 1970."""
    history_nF: NDArray[np.float64]
    """Flare history, in the order of `HISTORY` and `ACTIVITY`, nan where unknown."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.hours_nT)

    def take(self, rows: NDArray[np.int64] | list[int] | slice) -> SampleInputs:
        """Return what is known of some of the samples, by their positions or a slice."""
        return SampleInputs(
            keywords_nTK=self.keywords_nTK[rows], hours_nT=self.hours_nT[rows], history_nF=self.history_nF[rows]
        )

    @property
    def last(self) -> NDArray[np.float64]:
        """Keywords of the last frames."""
        return self.keywords_nTK[:, -1]

    def features(self, groups: Sequence[InputGroup], floors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the features of groups, in the order of `FEATURE_NAMES`, nan where missing.

        Parameters
        ----------
        groups
            The groups, at least one.
        floors
            From `sffshards.tabular.find_floors` of the training set.
        """
        return np.concatenate([self._describe(group, floors) for group in groups], axis=1)

    def _describe(self, group: InputGroup, floors: NDArray[np.float64]) -> NDArray[np.float64]:
        if group is InputGroup.HISTORY:
            return self.history_nF[:, : len(HISTORY)]
        if group is InputGroup.ACTIVITY:
            return self.history_nF[:, len(HISTORY) :]
        if group is InputGroup.KEYWORDS:
            return describe_last(self.last, floors)
        return describe_course(self.keywords_nTK, self.hours_nT, floors)


def gather_inputs(
    sequences: SequenceTable, *, keywords: KeywordTable | None, flares: HarpFlares | None, with_course: bool
) -> SampleInputs:
    """Return what is known of the sequences of a table, in its order.

    Parameters
    ----------
    sequences
        The sequences; a forecast of one is issued at its last frame.
    keywords
        Keywords of frames; None: all are missing.
    flares
        Flares from `sffshards.flares.assign_flares`; None: no history is known.
    with_course
        Whether the features need all frames of a sequence, and not only the last.
    """
    codes_nT = sequences.windows() if with_course else sequences.frames[sequences.last][:, None]
    return describe_frames(codes_nT, keywords=keywords, flares=flares)


def describe_frames(
    codes_nT: NDArray[np.int64], *, keywords: KeywordTable | None, flares: HarpFlares | None
) -> SampleInputs:
    """Return what is known of sequences by the codes of their frames, int64; see `gather_inputs`."""
    times_nT = times_of(codes_nT)
    shape = (*codes_nT.shape, len(KEYWORDS))
    history = np.full((len(codes_nT), len(HISTORY) + len(ACTIVITY)), np.nan)
    return SampleInputs(
        keywords_nTK=np.full(shape, np.nan) if keywords is None else keywords.of_frames(codes_nT),
        hours_nT=times_nT.astype(np.int64) / 3600,
        history_nF=history if flares is None else describe_history(flares, harps_of(codes_nT[:, -1]), times_nT[:, -1]),
    )
