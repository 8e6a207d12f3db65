"""The figures of forecasts: reliability, ROC, precision and detection, scores by threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sffshards.forecasting.runs import IssuedForecast, Probability
from sffshards.report.figure_style import FAINT, INK, Drawing, Style, draw
from sffshards.verification import (
    ScoreName,
    ThresholdRule,
    average_precision,
    roc_auc,
    trace_reliability,
    trace_thresholds,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NUM_BINS", "Series", "draw_precision", "draw_reliability", "draw_roc", "draw_score"]

NUM_BINS = 10
_SQUARE = (4.4, 4.0)
_TALL = (4.4, 5.0)
_WIDE = (4.4, 3.3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A forecast, and how it is drawn."""

    ensemble: IssuedForecast
    style: Style

    @property
    def name(self) -> str:
        """Of the run."""
        return self.ensemble.name

    @property
    def label(self) -> NDArray[np.int64]:
        """Of the test set's sequences."""
        return self.ensemble.samples.label

    @property
    def probability(self) -> NDArray[np.float64]:
        """Of a flare."""
        return self.ensemble.samples.probability


def draw_reliability(name: str, series: Sequence[Series], *, calibrated: bool) -> Drawing:
    """Draw how often flares came at a forecast probability, and below, how many forecasts there were."""
    given = [one.ensemble.probabilities.get(Probability.PLATT if calibrated else Probability.RAW) for one in series]

    def fill(axes: list[Axes]) -> None:
        from matplotlib.ticker import LogLocator

        curve_axes, count_axes = axes
        curve_axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":", label="perfect")
        for one, probability in zip(series, given, strict=True):
            if probability is None:
                continue
            curve = trace_reliability(one.label, probability, num_bins=NUM_BINS)
            filled, style = curve.num_samples > 0, one.style
            curve_axes.plot(
                curve.mean_probability[filled],
                curve.flare_frequency[filled],
                color=style.color,
                linestyle=style.linestyle,
                marker=style.marker,
                markersize=5,
                label=one.name,
            )
            counts = np.where(filled, curve.num_samples, np.nan)
            count_axes.stairs(counts, curve.edges, color=style.color, linestyle=style.linestyle, linewidth=1.4)
        curve_axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="flares that came, fraction")
        count_axes.set(xlabel="forecast probability", ylabel="forecasts", yscale="log", ylim=(0.8, None))
        count_axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        count_axes.yaxis.set_major_locator(LogLocator(numticks=4))
        count_axes.minorticks_off()

    return draw(
        name,
        fill,
        title=f"Reliability{' after calibration' if calibrated else ''}, with counts",
        size=_TALL,
        ratios=(3, 1),
    )


def draw_roc(name: str, series: Sequence[Series], references: dict[str, NDArray[np.float64]]) -> Drawing:
    """Draw flares detected over false alarms as the threshold falls; yes-or-no references are points."""

    def fill(axes: list[Axes]) -> None:
        (ax,) = axes
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":", label="no skill")
        for one in series:
            curve = trace_thresholds(one.label, one.probability)
            label = f"{one.name}, area {_said(roc_auc(one.label, one.probability))}"
            x, y = curve.score(ScoreName.POFD), curve.score(ScoreName.POD)
            ax.plot(x, y, color=one.style.color, linestyle=one.style.linestyle, label=label)
        for marker, (said, probability) in zip("xPv*", references.items(), strict=False):
            curve = trace_thresholds(series[0].label, probability)
            at_half = int(np.sum(curve.threshold >= 0.5)) - 1
            point = curve.score(ScoreName.POFD)[at_half], curve.score(ScoreName.POD)[at_half]
            ax.plot(*([value] for value in point), color=INK, marker=marker, linestyle="", markersize=7, label=said)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="POFD, false alarms by quiet times", ylabel="POD")

    return draw(name, fill, title="ROC curve", size=_SQUARE, ratios=(1,))


def draw_precision(name: str, series: Sequence[Series]) -> Drawing:
    """Draw precision over the flares detected as the threshold falls."""

    def fill(axes: list[Axes]) -> None:
        (ax,) = axes
        rate = float(series[0].label.mean())
        ax.axhline(rate, color=FAINT, linewidth=1, linestyle=":", label=f"no skill, {rate:.3f}")
        for one in series:
            curve = trace_thresholds(one.label, one.probability)
            label = f"{one.name}, AP {_said(average_precision(one.label, one.probability))}"
            x, y = curve.score(ScoreName.POD), curve.score(ScoreName.PRE)
            style = one.style
            ax.plot(x, y, color=style.color, linestyle=style.linestyle, drawstyle="steps-pre", label=label)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), xlabel="POD, flares detected", ylabel="PRE, forecasts right")

    return draw(name, fill, title="Precision and detection", size=_SQUARE, ratios=(1,))


def draw_score(name: str, series: Sequence[Series], score: ScoreName) -> Drawing:
    """Draw a score against the threshold; a marker stands where the validation sets put it."""

    def fill(axes: list[Axes]) -> None:
        (ax,) = axes
        (rule,) = [rule for rule in ThresholdRule if rule.score is score]
        ax.axvline(0.5, color=FAINT, linewidth=1, linestyle=":", label="0.5, as published")
        for one in series:
            curve = trace_thresholds(one.label, one.probability)
            values, style = curve.score(score), one.style
            # The last, lowest threshold holds down to 0; none above the first finite one calls a flare.
            threshold = np.concatenate([[1.0], curve.threshold[1:], [0.0]])
            values = np.concatenate([values, values[-1:]])
            ax.plot(
                threshold,
                values,
                color=style.color,
                linestyle=style.linestyle,
                drawstyle="steps-post",
                label=one.name,
            )
            chosen = one.ensemble.thresholds.get(rule)
            if chosen is not None:
                at = curve.score(score)[int(np.sum(curve.threshold >= chosen)) - 1]
                ax.plot([chosen], [at], color=style.color, marker=style.marker, markersize=8, markeredgecolor=INK)
        ax.set(xlim=(0, 1), xlabel="threshold", ylabel=str(score))
        bottom, top = ax.get_ylim()
        ax.set_ylim(min(bottom, 0), max(top, 0.05))

    return draw(name, fill, title=f"{score} against the threshold", size=_WIDE, ratios=(1,))


def _said(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"
