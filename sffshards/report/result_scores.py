"""The rows of the report's tables of results: forecasts, baselines and differences, scored with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sffshards.domain.sample_sets import Stage
from sffshards.domain.task import Task
from sffshards.flares import HarpFlares
from sffshards.forecasting import runs
from sffshards.forecasting.baselines import BaselineName
from sffshards.verification import (
    THRESHOLD,
    Forecast,
    ForecastScores,
    Interval,
    ProbabilityScore,
    ScoreName,
    ThresholdRule,
    estimate_interval,
    prepare_statistic,
    score_thresholds,
)

DIFFERENCES: tuple[runs.ComparedScore, ...] = tuple(one for one in runs.COMPARED_SCORES if one.is_main)
"""The scores that the report compares runs in: at 0.5, at the threshold chosen for the score, and of probabilities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedScores:
    """A row of the table of forecasts: a name and its scores."""

    name: str
    """Name of the forecast in tables."""
    by_rule: dict[ThresholdRule, ForecastScores]
    """Scores at a probability of 0.5 and, for a forecast that has them, at the thresholds chosen on validation."""
    calibrated_skill: Interval | None = None
    """Brier skill score of calibrated probabilities; None where there are none."""
    baseline: BaselineName | None = None
    """The baseline that it is; None for other runs and for forecasts of other origin, whatever their names."""

    @property
    def scores(self) -> ForecastScores:
        """Scores at a probability of 0.5."""
        return self.by_rule[ThresholdRule.HALF]

    @property
    def chosen(self) -> dict[ThresholdRule, tuple[float, Interval]]:
        """Thresholds that were chosen for a score, and the score there, by rule."""
        return {
            rule: (scores.threshold, scores.interval(rule.score))
            for rule, scores in self.by_rule.items()
            if rule.score is not None
        }

    def find(self, compared: runs.ComparedScore) -> Interval | None:
        """Return a score, or None where there is no such threshold or calibration."""
        if compared.probability is runs.Probability.PLATT:
            return self.calibrated_skill
        scores = self.by_rule.get(compared.rule or ThresholdRule.HALF)
        return None if scores is None else scores.interval(compared.score)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetScores:
    """The scores of an ensemble for a subset of the test set: first flares, or those after them."""

    name: str
    """Name of the run."""
    subset: runs.Subset
    scored: NamedScores | None
    """Scores of the subset; None where it has no samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The scores of the second run's ensemble minus those of the first's, on the same samples."""

    first: str
    """Name of the first run, which may be a baseline."""
    second: str
    """Name of the second run."""
    intervals: dict[str, Interval | None]
    """Second minus first, by the headings of `DIFFERENCES`; None where one run has no such threshold or calibration."""


def score_named(
    name: str, forecast: Forecast, *, thresholds: Mapping[ThresholdRule, float] | None = None
) -> NamedScores:
    """Score a forecast at 0.5 and at chosen thresholds.

    Parameters
    ----------
    name
        Name of the forecast in tables.
    forecast
        The forecast; its own threshold is not used.
    thresholds
        Thresholds by rule, as far as there are any.
    """
    at = {**(thresholds or {}), ThresholdRule.HALF: THRESHOLD}
    return NamedScores(name=name, by_rule=dict(zip(at, score_thresholds(forecast, list(at.values())), strict=True)))


def find_baseline(run: runs.Run) -> BaselineName | None:
    """Return the baseline that a run is recorded as; None for a run of any other kind, whatever its name."""
    name = run.first.name
    return BaselineName(name) if run.kind is runs.RunKind.BASELINE and name in set(BaselineName) else None


def score_ensemble(ensemble: runs.IssuedForecast, run: runs.Run) -> NamedScores:
    """Score the ensemble of a run's folds, or its only fold, and the skill of its calibrated probabilities.

    A baseline is under its own name, as its folds are not fitted.
    """
    if run.kind is runs.RunKind.BASELINE:
        return replace(score_issued(ensemble), baseline=find_baseline(run))
    name = f"{ensemble.name}, {'ensemble' if ensemble.num_folds > 1 else '1 fold'}"
    return score_issued(replace(ensemble, name=name))


def score_issued(issued: runs.IssuedForecast) -> NamedScores:
    """Score a forecast under its own name, and the skill of its calibrated probabilities."""
    skill = None
    if runs.Probability.PLATT in issued.probabilities:
        statistic = prepare_statistic(issued.forecast(runs.Probability.PLATT), ProbabilityScore.BRIER_SKILL)
        skill = estimate_interval(statistic)
    scored = score_named(issued.name, issued.forecast(), thresholds=issued.thresholds)
    return replace(scored, calibrated_skill=skill)


def score_subsets(
    ensemble: runs.IssuedForecast, task: Task, *, flares: HarpFlares | None = None
) -> tuple[SubsetScores, ...]:
    """Score an ensemble for first and later flares by a flare list, or without and with a flare known from labels."""
    found = []
    for subset, chosen in runs.find_subsets(ensemble.samples, task=task, flares=flares).items():
        name, forecast = f"{ensemble.name}, {subset}", ensemble.forecast(chosen=chosen)
        scored = score_named(name, forecast, thresholds=ensemble.thresholds) if chosen.any() else None
        found.append(SubsetScores(name=ensemble.name, subset=subset, scored=scored))
    return tuple(found)


def compare_ensembles(
    ensembles: Sequence[runs.IssuedForecast], pairs: Iterable[tuple[int, int]]
) -> tuple[Difference, ...]:
    """Compare pairs of ensembles of the same test samples, given by their positions; others are left out."""
    differences = []
    for first, second in ((ensembles[one], ensembles[other]) for one, other in pairs):
        if first.is_comparable(second):
            found = runs.compare_issued(first, second)
            intervals = {compared.heading: found.get(compared) for compared in DIFFERENCES}
            differences.append(Difference(first=first.name, second=second.name, intervals=intervals))
    return tuple(differences)


def validation_skill(scores: runs.FoldScores) -> float:
    """Return the mean TSS over the validation sets, by which the shown run is chosen; NaN where it is undefined."""
    return scores.means(Stage.VAL)[ScoreName.TSS].mean
