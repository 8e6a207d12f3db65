"""Forecasts of regions: what each member gives a sequence, and what they give together.

Shapes: M members, N sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.progress import Progress
from sffshards.domain.task import Task
from sffshards.forecasting.operational.clip_sources import BuildSource, ImageSource, Shown
from sffshards.forecasting.operational.ensemble_members import Member
from sffshards.forecasting.runs import (
    Inference,
    Probability,
    calibrate,
    fill_uncalibrated,
    mean_thresholds,
    predict_clips,
    predict_rows,
    require_finite,
)
from sffshards.models import NO_WEIGHTS, build_model, load_checkpoint
from sffshards.verification import THRESHOLD, ThresholdRule

__all__ = ["RegionForecasts", "Spread", "forecast_regions", "spread_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A probability of several members, and how far they lie apart."""

    probability: float
    """Their mean."""
    low: float
    """The least of them."""
    high: float
    """The greatest."""
    deviation: float | None
    """Sample standard deviation (n - 1); None of one member."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionForecasts:
    """What the members give each sequence: the probability of a flare of class M or above in the horizon after it."""

    members: tuple[Member, ...]
    shown: tuple[Shown, ...]
    raw_MN: NDArray[np.float64]
    """The networks' own probabilities."""
    calibrated_MN: NDArray[np.float64]
    """Calibrated by Platt's line; of a member without one, raw."""

    @property
    def task(self) -> Task:
        """Of all members."""
        return self.members[0].task

    @property
    def thresholds(self) -> dict[ThresholdRule, float]:
        """Thresholds of the mean raw probability: each rule's mean over the members that have one."""
        of_members = [member.decision.thresholds for member in self.members if member.decision is not None]
        return {ThresholdRule.HALF: THRESHOLD} | mean_thresholds(of_members)

    @property
    def mean_raw(self) -> NDArray[np.float64]:
        """The members' mean raw probability, which thresholds are of: float64 of shape (N,)."""
        return np.asarray(self.raw_MN.mean(axis=0), np.float64)

    def spread(self, number: int) -> Spread:
        """Give the calibrated probability of a sequence."""
        return spread_of(self.calibrated_MN[:, number])

    def calls(self, number: int) -> dict[ThresholdRule, bool]:
        """Say by each rule whether a flare is forecast of a sequence."""
        raw = float(self.mean_raw[number])
        return {rule: raw >= threshold for rule, threshold in self.thresholds.items()}


def spread_of(probabilities_M: NDArray[np.float64]) -> Spread:
    """Give mean, ends and deviation of the members' probabilities."""
    return Spread(
        probability=float(np.mean(probabilities_M)),
        low=float(np.min(probabilities_M)),
        high=float(np.max(probabilities_M)),
        deviation=float(np.std(probabilities_M, ddof=1)) if len(probabilities_M) > 1 else None,
    )


def forecast_regions(
    members: Sequence[Member], source: ImageSource | BuildSource, *, inference: Inference, progress: Progress
) -> RegionForecasts:
    """Forecast every sequence of a source with every member.

    Parameters
    ----------
    members
        At least one, of one horizon.
    source
        Of the sequences.
    inference
        How to compute.
    progress
        Told how far the work is, and which members are not calibrated.

    Raises
    ------
    InputError
        If a checkpoint is damaged or of another network, or an image cannot be read.
    DamageError
        If a network gives no numbers.
    """
    raw_MN = np.stack([_forecast(member, source, inference=inference, progress=progress) for member in members])
    calibrated: list[NDArray[np.float64] | None] = []
    for member, raw_N in zip(members, raw_MN, strict=True):
        applied = calibrate(member.decision, raw_N, by=Probability.PLATT)
        if applied is None:
            progress.note(f"{member.name}: raw probabilities, not calibrated: {member.reason}")
        calibrated.append(applied)
    return RegionForecasts(
        members=tuple(members),
        shown=tuple(source.shown),
        raw_MN=raw_MN,
        calibrated_MN=fill_uncalibrated(raw_MN, calibrated),
    )


def _forecast(
    member: Member, source: ImageSource | BuildSource, *, inference: Inference, progress: Progress
) -> NDArray[np.float64]:
    model = build_model(member.model, weights=NO_WEIGHTS, attention=member.attention)
    load_checkpoint(model, member.checkpoint, model_name=member.model)
    if isinstance(source, BuildSource):
        source.build.check_shards(source.rows, progress=progress)
        with progress.task(f"Forecast, {member.name}", len(source.rows)) as advance:
            raw_N = predict_rows(model, source.build, source.rows, inference=inference, advance=advance)
    else:
        with progress.task(f"Forecast, {member.name}", len(source.shown)) as advance:
            raw_N = predict_clips(model, source.clips(), inference=inference, advance=advance)
    require_finite(raw_N, checkpoint=member.checkpoint)
    return raw_N
