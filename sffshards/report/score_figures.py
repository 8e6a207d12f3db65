"""The figures of skill: reliability, ROC, precision and detection, scores by threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sffshards.forecasting.runs import IssuedForecast, Probability
from sffshards.report.figure_style import FAINT, INK, Figure, Style, draw, series_style
from sffshards.report.report_content import TaskContent
from sffshards.report.result_scores import reference_forecasts
from sffshards.verification import (
    ScoreName,
    ThresholdRule,
    average_precision,
    format_score,
    roc_auc,
    trace_reliability,
    trace_thresholds,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NUM_BINS", "draw_skill"]

NUM_BINS = 10
"""Number of bins of a reliability curve."""
_SQUARE = (4.4, 4.0)
_TALL = (4.4, 5.0)
_WIDE = (4.4, 3.3)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Series:
    """A run's forecast of the test set, and how it is drawn."""

    ensemble: IssuedForecast
    style: Style
    name: str
    label: NDArray[np.int64]
    probability: NDArray[np.float64]


def draw_skill(content: TaskContent) -> Iterator[Figure]:
    """Yield the figures that compare the forecasts of a task's runs."""
    task, series = content.task.folder, [_take(one, number) for number, one in enumerate(content.ensembles)]
    references = reference_forecasts(content.ensembles[content.shown], content.task)
    points = {name: references[name] for name in ("persistence", "ever flared")}
    yield _draw_reliability(f"{task}-reliability", {one.name: one.probability for one in series}, series)
    yield _draw_roc(f"{task}-roc", series, points)
    yield _draw_precision(f"{task}-precision", series)
    platt = {one.name: one.ensemble.probabilities.get(Probability.PLATT) for one in series}
    if calibrated := {name: probability for name, probability in platt.items() if probability is not None}:
        yield _draw_reliability(f"{task}-calibrated", calibrated, series)
    for score in (ScoreName.TSS, ScoreName.HSS):
        yield _draw_score(f"{task}-{score.lower()}", series, score)


def _take(one: IssuedForecast, number: int) -> _Series:
    rows = one.samples
    return _Series(
        ensemble=one, style=series_style(number), name=one.name, label=rows.label, probability=rows.probability
    )


def _draw_reliability(name: str, probabilities: Mapping[str, NDArray[np.float64]], series: Sequence[_Series]) -> Figure:
    """Draw the fraction of flares at each forecast probability and, below, the number of forecasts."""

    def fill(axes: list[Axes]) -> None:
        from matplotlib.ticker import LogLocator

        curve_axes, count_axes = axes
        curve_axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":", label="perfect")
        for one in (one for one in series if one.name in probabilities):
            curve = trace_reliability(one.label, probabilities[one.name], num_bins=NUM_BINS)
            filled, line = curve.num_samples > 0, {"color": one.style.color, "linestyle": one.style.linestyle}
            x, y = curve.mean_probability[filled], curve.flare_frequency[filled]
            curve_axes.plot(x, y, marker=one.style.marker, markersize=5, label=one.name, **line)  # type: ignore[arg-type]  # of both kinds
            counts = np.where(filled, curve.num_samples, np.nan)
            count_axes.stairs(counts, curve.edges, linewidth=1.4, **line)  # type: ignore[arg-type]  # of both kinds
        curve_axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="observed frequency of flares")
        count_axes.set(xlabel="forecast probability", ylabel="forecasts", yscale="log", ylim=(0.8, None))
        count_axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        count_axes.yaxis.set_major_locator(LogLocator(numticks=4))
        count_axes.minorticks_off()

    kind = name.rpartition("-")[2]
    heading = "Reliability after calibration" if kind == "calibrated" else "Reliability"
    return draw(name, fill, kind=kind, heading=heading, size=_TALL, ratios=(3, 1))


def _draw_roc(name: str, series: Sequence[_Series], references: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Draw POD against POFD as the threshold falls; yes-or-no references are points."""

    def fill(axes: list[Axes]) -> None:
        (ax,) = axes
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":", label="no skill")
        for one in series:
            curve = trace_thresholds(one.label, one.probability)
            label = f"{one.name}, area {format_score(roc_auc(one.label, one.probability))}"
            x, y = curve.score(ScoreName.POFD), curve.score(ScoreName.POD)
            ax.plot(x, y, color=one.style.color, linestyle=one.style.linestyle, label=label)
        for marker, (label, probability) in zip("xPv*", references.items(), strict=False):
            curve = trace_thresholds(series[0].label, probability)
            at_half = int(np.sum(curve.threshold >= 0.5)) - 1
            point = curve.score(ScoreName.POFD)[at_half], curve.score(ScoreName.POD)[at_half]
            ax.plot(*([value] for value in point), color=INK, marker=marker, linestyle="", markersize=7, label=label)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="POFD, probability of false detection")
        ax.set(ylabel="POD, probability of detection")

    return draw(name, fill, kind="roc", heading="ROC", size=_SQUARE)


def _draw_precision(name: str, series: Sequence[_Series]) -> Figure:
    """Draw precision against POD as the threshold falls."""

    def fill(axes: list[Axes]) -> None:
        (ax,) = axes
        rate = float(series[0].label.mean())
        ax.axhline(rate, color=FAINT, linewidth=1, linestyle=":", label=f"no skill, {rate:.3f}")
        for one in series:
            curve = trace_thresholds(one.label, one.probability)
            label = f"{one.name}, AP {format_score(average_precision(one.label, one.probability))}"
            x, y, style = curve.score(ScoreName.POD), curve.score(ScoreName.PRE), one.style
            ax.plot(x, y, color=style.color, linestyle=style.linestyle, drawstyle="steps-pre", label=label)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), xlabel="POD, probability of detection", ylabel="PRE, precision")

    return draw(name, fill, kind="precision", heading="Precision and detection", size=_SQUARE)


def _draw_score(name: str, series: Sequence[_Series], score: ScoreName) -> Figure:
    """Draw a score against the threshold; a marker is at the threshold that the validation sets chose."""
    (rule,) = [rule for rule in ThresholdRule if rule.score is score]

    def fill(axes: list[Axes]) -> None:
        (ax,) = axes
        ax.axvline(0.5, color=FAINT, linewidth=1, linestyle=":", label="0.5, as published")
        for one in series:
            curve, style = trace_thresholds(one.label, one.probability), one.style
            values = curve.score(score)
            # The lowest threshold holds down to 0; above the first finite one, no flare is forecast.
            steps = np.concatenate([[1.0], curve.threshold[1:], [0.0]]), np.concatenate([values, values[-1:]])
            ax.plot(*steps, color=style.color, linestyle=style.linestyle, drawstyle="steps-post", label=one.name)
            chosen = one.ensemble.thresholds.get(rule)
            if chosen is not None:
                at = values[int(np.sum(curve.threshold >= chosen)) - 1]
                ax.plot([chosen], [at], color=style.color, marker=style.marker, markersize=8, markeredgecolor=INK)
        ax.set(xlim=(0, 1), xlabel="threshold", ylabel=str(score))
        bottom, top = ax.get_ylim()
        ax.set_ylim(min(bottom, 0), max(top, 0.05))

    return draw(name, fill, kind="score", heading=f"{score} against threshold", size=_WIDE, facts=(str(score),))
