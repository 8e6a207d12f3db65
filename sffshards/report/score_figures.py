"""The figures of skill: reliability, ROC, precision and detection, scores by threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sffshards.forecasting.runs import IssuedForecast, Probability, RunKind
from sffshards.report.figure_style import FAINT, INK, Figure, Style, draw, run_styles
from sffshards.verification import (
    THRESHOLD,
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

    from sffshards.report.report_content import TaskContent  # it imports torch, which scores do not need

NUM_BINS = 10
"""Number of bins of a reliability curve."""
_SQUARE = (4.4, 4.0)
_TALL = (4.4, 5.0)
_WIDE = (4.4, 3.3)
_DOTTED: dict[str, Any] = {"color": FAINT, "linewidth": 1, "linestyle": ":"}
"""The style of a line of reference."""


def draw_skill(content: TaskContent) -> Iterator[Figure]:
    """Yield the figures that compare the forecasts of a task's runs."""
    kinds = [run.kind for run in content.runs]
    yield from draw_forecasts(content.task.folder, content.ensembles, kinds=kinds)


def draw_forecasts(prefix: str, ensembles: Sequence[IssuedForecast], *, kinds: Sequence[RunKind]) -> Iterator[Figure]:
    """Yield reliability, ROC, precision and detection, and TSS and HSS by threshold, of forecasts of the same samples.

    Parameters
    ----------
    prefix
        Start of the figures' names, such as that of the task.
    ensembles
        The forecasts.
    kinds
        What made each of them; baselines are grey.
    """
    styles = run_styles([kind is RunKind.BASELINE for kind in kinds])
    yield _draw_reliability(f"{prefix}-reliability", [one.samples.probability for one in ensembles], ensembles, styles)
    yield _draw_roc(f"{prefix}-roc", ensembles, styles)
    yield _draw_precision(f"{prefix}-precision", ensembles, styles)
    calibrated = [one.probabilities.get(Probability.PLATT) for one in ensembles]
    if any(probability is not None for probability in calibrated):
        yield _draw_reliability(f"{prefix}-calibrated", calibrated, ensembles, styles)
    for score in (ScoreName.TSS, ScoreName.HSS):
        yield _draw_score(f"{prefix}-{score.lower()}", ensembles, styles, score)


def _draw_reliability(
    name: str,
    probabilities: Sequence[NDArray[np.float64] | None],
    ensembles: Sequence[IssuedForecast],
    styles: Sequence[Style],
) -> Figure:
    """Draw the fraction of flares at each forecast probability and, below, the number of forecasts."""

    def fill(curve_axes: Axes, count_axes: Axes) -> None:
        from matplotlib.ticker import LogLocator

        curve_axes.plot([0, 1], [0, 1], label="perfect", **_DOTTED)
        for one, probability, style in zip(ensembles, probabilities, styles, strict=True):
            if probability is not None:
                curve = trace_reliability(one.samples.label, probability, num_bins=NUM_BINS)
                filled = curve.num_samples > 0
                x, y = curve.mean_probability[filled], curve.flare_frequency[filled]
                curve_axes.plot(x, y, marker=style.marker, markersize=5, label=one.name, **style.line)
                counts = np.where(filled, curve.num_samples, np.nan)
                count_axes.stairs(counts, curve.edges, linewidth=1.4, **style.line)
        curve_axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="observed frequency of flares")
        count_axes.set(xlabel="forecast probability", ylabel="forecasts", yscale="log", ylim=(0.8, None))
        count_axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        count_axes.yaxis.set_major_locator(LogLocator(numticks=4))
        count_axes.minorticks_off()

    kind = name.rpartition("-")[2]
    heading = "Reliability after calibration" if kind == "calibrated" else "Reliability"
    return draw(name, fill, kind=kind, heading=heading, size=_TALL, ratios=(3, 1))


def _draw_roc(name: str, ensembles: Sequence[IssuedForecast], styles: Sequence[Style]) -> Figure:
    """Draw POD against POFD as the threshold falls; a marker is at the threshold 0.5."""

    def fill(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], label="chance", **_DOTTED)
        for one, style in zip(ensembles, styles, strict=True):
            forecast = one.samples.label, one.samples.probability
            curve, label = trace_thresholds(*forecast), f"{one.name}, area {format_score(roc_auc(*forecast))}"
            x, y = curve.score(ScoreName.POFD), curve.score(ScoreName.POD)
            at = [_find_place(curve.threshold, THRESHOLD)]
            ax.plot(x, y, label=label, marker=style.marker, markersize=6, markevery=at, **style.line)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="POFD, probability of false detection")
        ax.set(ylabel="POD, probability of detection")

    return draw(name, fill, kind="roc", heading="ROC", size=_SQUARE)


def _draw_precision(name: str, ensembles: Sequence[IssuedForecast], styles: Sequence[Style]) -> Figure:
    """Draw precision against POD as the threshold falls; a marker is at the threshold 0.5."""

    def fill(ax: Axes) -> None:
        rate = float(ensembles[0].samples.label.mean())
        ax.axhline(rate, label=f"rate of flares, {rate:.3f}", **_DOTTED)
        for one, style in zip(ensembles, styles, strict=True):
            forecast = one.samples.label, one.samples.probability
            curve, label = trace_thresholds(*forecast), f"{one.name}, AP {format_score(average_precision(*forecast))}"
            x, y = curve.score(ScoreName.POD), curve.score(ScoreName.PRE)
            ax.plot(x, y, drawstyle="steps-pre", label=label, **style.line)
            at = _find_place(curve.threshold, THRESHOLD)
            ax.plot(x[at], y[at], color=style.color, marker=style.marker, markersize=6)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), xlabel="POD, probability of detection", ylabel="PRE, precision")

    return draw(name, fill, kind="precision", heading="Precision and detection", size=_SQUARE)


def _find_place(thresholds: NDArray[np.float64], threshold: float) -> int:
    """Return the position on a curve of thresholds, which fall, that has the forecasts of a threshold."""
    return int(np.sum(thresholds >= threshold)) - 1


def _draw_score(name: str, ensembles: Sequence[IssuedForecast], styles: Sequence[Style], score: ScoreName) -> Figure:
    """Draw a score against the threshold; a marker is at the threshold that the validation sets chose."""
    (rule,) = [rule for rule in ThresholdRule if rule.score is score]

    def fill(ax: Axes) -> None:
        ax.axvline(0.5, label="0.5, as published", **_DOTTED)
        for one, style in zip(ensembles, styles, strict=True):
            curve = trace_thresholds(one.samples.label, one.samples.probability)
            values = curve.score(score)
            # The lowest threshold holds down to 0; above the first finite one, no flare is forecast.
            steps = np.concatenate([[1.0], curve.threshold[1:], [0.0]]), np.concatenate([values, values[-1:]])
            ax.plot(*steps, drawstyle="steps-post", label=one.name, **style.line)
            chosen = one.thresholds.get(rule)
            if chosen is not None:
                at = values[_find_place(curve.threshold, chosen)]
                ax.plot([chosen], [at], color=style.color, marker=style.marker, markersize=8, markeredgecolor=INK)
        ax.set(xlim=(0, 1), xlabel="threshold", ylabel=str(score))
        bottom, top = ax.get_ylim()
        ax.set_ylim(min(bottom, 0), max(top, 0.05))

    return draw(name, fill, kind="score", heading=f"{score} against threshold", size=_WIDE, facts=(str(score),))
