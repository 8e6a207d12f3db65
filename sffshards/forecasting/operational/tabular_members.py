"""The fitted forecasters of a run that forecast together from keywords and flare history, with their decisions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sffshards.forecasting.baselines import FORECASTER_NAME, TabularForecaster, read_forecaster
from sffshards.forecasting.operational.ensemble_members import FittedMember, describe_fitted
from sffshards.forecasting.runs import RunFold, read_run


@dataclass(frozen=True, kw_only=True, slots=True)
class TabularMember(FittedMember):
    """A fitted forecaster of a fold, and what its probabilities are decided by."""

    forecaster: TabularForecaster
    """The forecaster."""

    @property
    def needs_flares(self) -> bool:
        """Whether it takes flare history."""
        return not all(group.needs_keywords for group in self.forecaster.groups)


def find_tabular_members(run: Path, *, folds: Collection[int] | None) -> list[TabularMember]:
    """Find the fitted forecaster of each fold of a run.

    Parameters
    ----------
    run
        Folder of the run, such as ``runs/48h/keywords``.
    folds
        Which folds; None for all that are there.

    Raises
    ------
    InputError
        If there is no run, a fold is missing, or the run has no fitted forecaster.
    DamageError
        If a forecaster has changed since it was written.
    """
    return [_take(fold) for fold in read_run(run, folds=folds).folds]


def _take(fold: RunFold) -> TabularMember:
    path = fold.require_file(FORECASTER_NAME)
    return TabularMember(**describe_fitted(fold, path), forecaster=read_forecaster(path))
