"""Two sets of label lists compared, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

from sffshards.domain.frames import FrameId
from sffshards.labels.labelled_frames import Labels

__all__ = ["LabelDiff", "diff_labels"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelDiff:
    """In which frames two sets of lists of a horizon differ; frames in the order of the lists."""

    num_both: int
    """Frames that both have."""
    only_first: tuple[FrameId, ...]
    only_second: tuple[FrameId, ...]
    lost: tuple[FrameId, ...]
    """Positive in the first, negative in the second."""
    gained: tuple[FrameId, ...]
    """Negative in the first, positive in the second."""
    moved: tuple[FrameId, ...]
    """In another part in the second."""

    @property
    def is_same(self) -> bool:
        """Whether frames, labels and parts are all the same."""
        return not (self.only_first or self.only_second or self.lost or self.gained or self.moved)


def diff_labels(first: Labels, second: Labels) -> LabelDiff:
    """Compare labels and parts of all frames.

    Parameters
    ----------
    first, second
        From `sffshards.labels.labelled_frames.read_labels`; frames of no part are not said to have moved.
    """
    both = [frame for frame in first if frame in second]
    change = {frame: second[frame][0] - first[frame][0] for frame in both}
    return LabelDiff(
        num_both=len(both),
        only_first=tuple(frame for frame in first if frame not in second),
        only_second=tuple(frame for frame in second if frame not in first),
        lost=tuple(frame for frame in both if change[frame] < 0),
        gained=tuple(frame for frame in both if change[frame] > 0),
        moved=tuple(
            frame
            for frame in both
            if None not in (first[frame][1], second[frame][1]) and first[frame][1] is not second[frame][1]
        ),
    )
