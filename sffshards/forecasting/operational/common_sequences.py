"""The sequences that all members of a combination can forecast, of images and of a table of keywords."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sffshards.base.errors import InputError, format_count
from sffshards.base.progress import Progress
from sffshards.forecasting.operational.clip_sources import BuildSource, ImageSource, TableSource

_MAX_NAMED = 10
"""Number of regions that a note names."""


def share_sequences(
    clips: ImageSource | BuildSource,
    table: TableSource,
    *,
    every: bool,
    tolerance_minutes: int,
    progress: Progress,
) -> tuple[ImageSource | BuildSource, TableSource]:
    """Return the sequences of images and of keywords that end at the same time, in the same order.

    Parameters
    ----------
    clips, table
        All sequences of each, not only the latest of each HARP.
    every
        Whether to return every sequence that both have. Otherwise it is one per HARP, which ends at the latest time
        that both have.
    tolerance_minutes
        Without ``every``, HARPs are left out if that time is further than this before the latest time of either.
    progress
        Receives notes on what is left out, and on HARPs whose latest time only one of both has.

    Raises
    ------
    InputError
        If they share no sequence.
    """
    of_clips, of_table = ({end: row for row, end in enumerate(source.ends)} for source in (clips, table))
    common = of_clips.keys() & of_table.keys()
    if every:
        chosen = common
        for source, other, which in ((of_clips, of_table, "keywords"), (of_table, of_clips, "images")):
            if num_alone := len(source.keys() - other.keys()):
                progress.note(f"{format_count(num_alone, 'sequence')} left out, without {which} of the same time")
    else:
        chosen = _choose_latest(of_clips.keys() | of_table.keys(), common, tolerance_minutes, progress)
    if not chosen:
        within = "" if every else f", at most {tolerance_minutes} minutes before the latest"
        raise InputError(
            "sequences to forecast",
            expected=f"regions with images and keywords of the same time{within}",
            found="none",
            fix="name images and keywords of the same frames",
        )
    ends = sorted(chosen)
    return clips.take([of_clips[end] for end in ends]), table.take([of_table[end] for end in ends])


def _choose_latest(
    known: Collection[tuple[int, datetime]],
    common: Collection[tuple[int, datetime]],
    tolerance_minutes: int,
    progress: Progress,
) -> set[tuple[int, datetime]]:
    """Return the latest common time of each HARP, where it is no older than a tolerance."""
    latest, shared = dict(sorted(known)), dict(sorted(common))
    ages = {harp: latest[harp] - time for harp, time in shared.items()}
    kept = {harp for harp, age in ages.items() if age <= timedelta(minutes=tolerance_minutes)}
    if late := sorted(harp for harp in kept if ages[harp]):
        progress.note(f"{_name(late)}: forecast at an earlier time, the latest with images and keywords")
    if gone := sorted(latest.keys() - kept):
        progress.note(
            f"{_name(gone)}: left out; images and keywords have no common time, or none in the last "
            f"{tolerance_minutes} minutes of the region"
        )
    return {(harp, shared[harp]) for harp in kept}


def _name(harps: Sequence[int]) -> str:
    shown = ", ".join(map(str, harps[:_MAX_NAMED]))
    return f"HARP {shown}" + (f" and {len(harps) - _MAX_NAMED:,} more" if len(harps) > _MAX_NAMED else "")
