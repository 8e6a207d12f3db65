"""What a baseline is: its forecasts of the samples of Test, and their scores.

Shapes: n samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sffshards.verification import Forecast, ForecastScores, Interval, ProbabilityScore, ScoreName, ThresholdRule

__all__ = ["Baseline", "BaselineName", "Samples"]


class BaselineName(StrEnum):
    """The baselines, in the order in which they are shown."""

    NO_SKILL = "no skill"
    """A flare at random, as often as in training."""
    CLIMATOLOGY = "climatology"
    """The rate of flares in training, always."""
    PERSISTENCE = "persistence"
    """What the region did in the horizon before."""
    EVER_FLARED = "ever flared"
    """A flare wherever the region has had one."""
    REGRESSION = "logistic regression"
    """On SHARP keywords, a fit a fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The samples of a part: a row a label."""

    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    t_end_tai: NDArray[np.datetime64]
    """Times that the forecasts are issued at, datetime64[s] of shape (n,)."""
    label: NDArray[np.int64]
    """0 or 1, shape (n,)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A baseline's forecasts of Test, one or one a fold, with their scores."""

    name: BaselineName
    source: str
    """What it follows from, in words."""
    rule: ThresholdRule
    folds: tuple[int, ...]
    """Those of the forecasts; empty where nothing depends on the fold."""
    forecasts: tuple[Forecast, ...]
    """One, or one a fold; all of the samples of Test in the order of its list."""
    scores: tuple[ForecastScores, ...]
    """Of each forecast."""
    mean: dict[ScoreName | ProbabilityScore, Interval]
    """Of the scores over the forecasts, with the interval of this mean by HARP; nan where one is undefined."""
    deviation: dict[ScoreName | ProbabilityScore, float]
    """Standard deviation of the scores over folds (n - 1); nan with fewer than two."""
