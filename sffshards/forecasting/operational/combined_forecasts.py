"""Forecasts of a combination of runs: those of its members for the same regions and times, by the fitted regression.

Shapes: M folds, N sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.base.progress import Progress
from sffshards.forecasting.combinations import COMBINATION_NAME, LogitRegression, read_combination
from sffshards.forecasting.operational.ensemble_members import FittedMember, describe_fitted
from sffshards.forecasting.operational.region_forecasts import RegionForecasts, calibrate_members
from sffshards.forecasting.runs import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class CombinedMember(FittedMember):
    """The regression of a fold of a combination, and what its probabilities are decided by."""

    regression: LogitRegression
    """Regression on the logits of the combined runs."""


def find_combined_members(run: Run) -> list[CombinedMember]:
    """Find the regression of each fold of a combination; raises as `read_combination` and `read_decision`."""
    return [
        CombinedMember(
            **describe_fitted(fold, fold.folder / COMBINATION_NAME), regression=read_combination(fold).regression
        )
        for fold in run.folds
    ]


def combine_forecasts(
    members: Sequence[CombinedMember], forecasts: Sequence[RegionForecasts], *, progress: Progress
) -> RegionForecasts:
    """Combine the forecasts of several runs of the same sequences, fold by fold.

    Parameters
    ----------
    members
        Folds of the combination, from `find_combined_members`.
    forecasts
        Forecasts by each run, in the order of the regression's weights, with a member for each fold of the combination.
    progress
        Receives a note on folds that are not calibrated.

    Raises
    ------
    InputError
        If the runs forecast other regions or times, have other HARP numbers, or lack a fold.
    """
    first, *others = forecasts
    for one in others:
        if one.harp_numbers is not first.harp_numbers:
            raise InputError(
                "sequences to forecast",
                expected=f"{first.harp_numbers} HARP numbers for all members",
                found=f"{one.harp_numbers} ones, which are numbers of other regions",
                fix="name images and keywords of one series",
            )
        if one.ends != first.ends:
            raise InputError(
                "sequences to forecast",
                expected="the same regions and times for all members, in the same order",
                found="others",
                fix="forecast the same frames",
            )
    raw_MN = np.stack(
        [
            member.regression.apply(np.column_stack([_take_fold(of, member.name) for of in forecasts]))
            for member in members
        ]
    )
    return RegionForecasts(
        members=tuple(members),
        shown=first.shown,
        raw_MN=raw_MN,
        calibrated_MN=calibrate_members(members, raw_MN, progress),
        harp_numbers=first.harp_numbers,
    )


def _take_fold(forecasts: RegionForecasts, name: str) -> NDArray[np.float64]:
    """Return the raw probabilities of the fold of a name, such as ``fold 0``: float64 of shape (N,)."""
    names = [member.name for member in forecasts.members]
    if name not in names:
        found, fix = ", ".join(names) or "no fold", "forecast with all folds of the combination"
        raise InputError("forecasts to combine", expected=f"{name} of each run", found=found, fix=fix)
    return np.asarray(forecasts.raw_MN[names.index(name)], np.float64)
