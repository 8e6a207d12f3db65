"""Forecasts of regions by each member and by all together, and of the full disk.

Shapes: M members, N sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.progress import Progress
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.task import Task
from sffshards.executors import DaskExecutor
from sffshards.forecasting import runs
from sffshards.forecasting.operational.clip_sources import (
    BuildSource,
    ImageSource,
    Shown,
    TableSource,
    describe_sequence,
)
from sffshards.forecasting.operational.ensemble_members import Member
from sffshards.forecasting.operational.member_predictions import check_workers, predict_member
from sffshards.forecasting.operational.tabular_members import TabularMember
from sffshards.tabular import InputGroup, gather_inputs
from sffshards.verification import THRESHOLD, ThresholdRule

if TYPE_CHECKING:
    from sffshards.forecasting.operational.combined_forecasts import CombinedMember

_SCALE_OPTIONS = ("source", "kind", "component", "scale", "clip_gauss", "knee_gauss", "colours")
"""Options of images, as `sffshards.images` records them, that the grey of a field depends on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The mean probability of several members, and its range."""

    probability: float
    """Mean over the members."""
    low: float
    """Minimum over the members."""
    high: float
    """Maximum over the members."""
    deviation: float | None
    """Sample standard deviation (n - 1); None for a single member."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionForecasts:
    """The probability that each member gives the event of the task after each sequence."""

    members: tuple[Member | TabularMember | CombinedMember, ...]
    """The members, all of one task."""
    shown: tuple[Shown, ...]
    """Description of each sequence."""
    raw_MN: NDArray[np.float64]
    """Raw probabilities of the networks."""
    calibrated_MN: NDArray[np.float64]
    """Probabilities after Platt calibration; raw for members without a calibration."""
    harp_numbers: HarpNumbers = HarpNumbers.DEFINITIVE
    """Which numbers the HARPs of the sequences have."""

    @property
    def task(self) -> Task:
        """Task of all members."""
        return self.members[0].task

    @property
    def ends(self) -> list[tuple[int, datetime]]:
        """HARP number and time of the last frame of each sequence."""
        return [(shown.harp, shown.t_end_tai) for shown in self.shown]

    @property
    def thresholds(self) -> dict[ThresholdRule, float]:
        """Thresholds of the mean raw probability: for each rule, the mean over the members that have one."""
        of_members = [member.decision.thresholds for member in self.members if member.decision is not None]
        return {ThresholdRule.HALF: THRESHOLD} | runs.mean_thresholds(of_members)

    @property
    def mean_raw(self) -> NDArray[np.float64]:
        """Mean raw probability of the members, to which thresholds apply: float64 of shape (N,)."""
        return np.asarray(self.raw_MN.mean(axis=0), np.float64)

    def spread(self, number: int) -> Spread:
        """Return the calibrated probability of a sequence, with its range."""
        return _spread_of(self.calibrated_MN[:, number])

    def calls(self, number: int) -> dict[ThresholdRule, bool]:
        """Return for each rule whether a flare is forecast for a sequence."""
        raw = float(self.mean_raw[number])
        return {rule: raw >= threshold for rule, threshold in self.thresholds.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class FullDiskForecast:
    """The forecast of all regions at one time."""

    t_end_tai: datetime
    """Time of the forecast, TAI."""
    regions: tuple[int, ...]
    """Positions of its sequences in `RegionForecasts.shown`, one per HARP."""
    spread: Spread
    """Probability of at least one flare, and its range."""


def _spread_of(probabilities_M: NDArray[np.float64]) -> Spread:
    """Return the mean and the range of the members' probabilities."""
    return Spread(
        probability=float(np.mean(probabilities_M)),
        low=float(np.min(probabilities_M)),
        high=float(np.max(probabilities_M)),
        deviation=float(np.std(probabilities_M, ddof=1)) if len(probabilities_M) > 1 else None,
    )


def forecast_regions(
    members: Sequence[Member],
    source: ImageSource | BuildSource,
    *,
    inference: runs.Inference,
    cluster: DaskExecutor | None = None,
    progress: Progress,
) -> RegionForecasts:
    """Forecast every sequence of a source with every member.

    Parameters
    ----------
    members
        One or more members of one task.
    source
        The sequences.
    inference
        Batch size, threads, device, the factories that the user named, and tables of numbers.
    cluster
        Cluster whose workers forecast the sequences, in whole batches; None to do so in this process.
    progress
        Receives the progress, and a note for each member that is not calibrated.

    Raises
    ------
    InputError
        If a checkpoint is damaged or of another network or of a factory that the user has not named, an image cannot be
        read, or a network takes numbers of which the table is not given or has nothing of these sequences.
    DamageError
        If a network returns values that are not finite.
    """
    for member in members:
        member.network.require_named(inference.factories, where=member.checkpoint)
        inference.sources.require(member.network.inputs, where=member.name)
    numbers = HarpNumbers.recorded_in(source.image_options)
    if any(member.network.inputs.groups for member in members):
        inference.sources.require_numbers(numbers, where="the images")
    if cluster is not None:
        check_workers(cluster, members, source)
    if (scaled := explain_scale(members, source.image_options)) is not None:
        progress.note(scaled)
    raw_MN = np.stack(
        [predict_member(member, source, inference=inference, cluster=cluster, progress=progress) for member in members]
    )
    return RegionForecasts(
        members=tuple(members),
        shown=tuple(source.shown),
        raw_MN=raw_MN,
        calibrated_MN=calibrate_members(members, raw_MN, progress),
        harp_numbers=numbers,
    )


def forecast_from_keywords(
    members: Sequence[TabularMember], source: TableSource, *, progress: Progress
) -> RegionForecasts:
    """Forecast every sequence of a table of keywords with every fitted forecaster.

    Parameters
    ----------
    members
        One or more members of one run.
    source
        The sequences.
    progress
        Receives notes on members that are not calibrated, and on regions without a known history.

    Raises
    ------
    InputError
        If a forecaster needs flares and there are none.
    """
    sequences, flares = source.sequences, source.flares
    groups = {group for member in members for group in member.forecaster.groups}
    needs_flares = any(member.needs_flares for member in members)
    if needs_flares and flares is None:
        fix = "give the flare list and the map of these regions"
        raise InputError(
            Field("flares"), expected="a flare list, as the run takes flare history", found="none", fix=fix
        )
    inputs = gather_inputs(
        sequences,
        keywords=source.keywords,
        flares=flares,
        with_course=any(group is InputGroup.COURSE for group in groups),
    )
    if needs_flares and flares is not None:
        reasons = flares.explain_unknown(sequences.harps, sequences.end_times)
        if reasons is not None:
            num_unknown = int(np.isnan(inputs.history_nF).all(axis=1).sum())
            of_all = f"{num_unknown:,} of {format_count(len(sequences), 'sequence')}"
            progress.note(f"{of_all} without a known flare history, replaced by medians of training: {reasons}")
    raw_MN = np.stack([member.forecaster.forecast(inputs) for member in members])
    return RegionForecasts(
        members=tuple(members),
        shown=tuple(describe_sequence(sequence) for sequence in sequences),
        raw_MN=raw_MN,
        calibrated_MN=calibrate_members(members, raw_MN, progress),
        harp_numbers=source.keywords.harp_numbers,
    )


def calibrate_members(
    members: Sequence[Member | TabularMember | CombinedMember], raw_MN: NDArray[np.float64], progress: Progress
) -> NDArray[np.float64]:
    """Return the probabilities of each member by its Platt calibration, or as they are."""
    calibrated = []
    for member, raw_N in zip(members, raw_MN, strict=True):
        applied = runs.calibrate(member.decision, raw_N, by=runs.Probability.PLATT)
        if applied is None:
            progress.note(f"{member.name}: raw probabilities, not calibrated: {member.reason}")
        calibrated.append(raw_N if applied is None else applied)
    return np.stack(calibrated)


def combine_regions(forecasts: RegionForecasts, *, tolerance_minutes: int, every: bool) -> list[FullDiskForecast]:
    """Compute the full-disk forecast at every time at which a sequence ends, in order of time, or at the last one.

    The probability is ``1 - prod(1 - p)`` over the regions, which assumes that they are independent. Each HARP
    contributes its latest sequence that ends at that time, or at most ``tolerance_minutes`` earlier. ``p`` is the mean
    over the members; the range comes from the full-disk probability of each member.

    Parameters
    ----------
    forecasts
        Forecasts of regions.
    tolerance_minutes
        Maximum age of a sequence, 0 or more.
    every
        Whether the forecasts hold every sequence of each HARP. If they hold only the latest, the full disk of an
        earlier time would lack the regions whose latest is later, so that only the last time has one.

    Raises
    ------
    InputError
        If the tolerance is negative.
    """
    if tolerance_minutes < 0:
        raise InputError(Field("tolerance"), expected="0 or more", found=str(tolerance_minutes), fix="choose another")
    order = sorted(range(len(forecasts.shown)), key=lambda number: forecasts.shown[number].t_end_tai)
    disks, first = [], 0
    for position, number in enumerate(order):
        time, is_last = forecasts.shown[number].t_end_tai, position + 1 == len(order)
        if not is_last and not (every and forecasts.shown[order[position + 1]].t_end_tai > time):
            continue
        while (time - forecasts.shown[order[first]].t_end_tai).total_seconds() > 60 * tolerance_minutes:
            first += 1
        latest = {forecasts.shown[near].harp: near for near in order[first : position + 1]}
        disks.append(_combine(forecasts, time, tuple(sorted(latest.values()))))
    return disks


def explain_scale(members: Sequence[Member], options: Mapping[str, object]) -> str | None:
    """Return how the grey scale of images differs from that of training, or None where it does not."""
    here = _describe_scale(options)
    for member in members:
        trained = _describe_scale(member.image_options)
        if trained != here:
            return (
                f"warning: the images have another grey scale than those of training, so do not rely on the forecasts: "
                f"here {here}; {member.name} was trained with {trained}"
            )
    return None


def _describe_scale(options: Mapping[str, object]) -> str:
    stated = [f"{name} {options[name]}" for name in _SCALE_OPTIONS if options.get(name) is not None]
    return ", ".join(stated) or "a scale that is not recorded"


def _combine(forecasts: RegionForecasts, time: datetime, regions: tuple[int, ...]) -> FullDiskForecast:
    of_regions = forecasts.calibrated_MN[:, regions]
    of_members = _spread_of(1 - np.prod(1 - of_regions, axis=1))
    together = float(1 - np.prod(1 - of_regions.mean(axis=0)))
    # Members that disagree on which region flares may all be on one side of the combined means.
    low, high = min(of_members.low, together), max(of_members.high, together)
    spread = replace(of_members, probability=together, low=low, high=high)
    return FullDiskForecast(t_end_tai=time, regions=regions, spread=spread)
