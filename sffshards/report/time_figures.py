"""The figures over time: losses by epoch, and the probability of a region with its flares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.task import GoesClass
from sffshards.forecasting.runs import IssuedForecast, Run, RunKind
from sffshards.report.chosen_examples import RegionFlare
from sffshards.report.figure_style import ALARM, FAINT, INK, Figure, draw, run_styles, series_style
from sffshards.report.report_content import TaskContent
from sffshards.verification import THRESHOLD

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (4.4, 3.0)
_MAX_TICKS = 8
"""Maximum number of ticks; with fewer, no spacing in hours covers just under three days."""
_CLASS_X = GoesClass.parse("X1.0")
_ROOM = 0.11
"""Fraction of the width that the class of a flare takes."""
_GAP = np.timedelta64(6, "h")
"""A line is broken where there is no forecast for longer."""
_MAX_NAMED = 12
"""Maximum number of flares that a caption lists."""


def draw_training(content: TaskContent) -> Iterator[Figure]:
    """Yield a figure for each run that has a table of epochs."""
    for number, run in enumerate(content.runs):
        if any(fold.epochs for fold in run.folds):
            yield _draw_losses(f"{content.task}-training-{number}", run)


def draw_timelines(content: TaskContent) -> Iterator[Figure]:
    """Yield a figure for each chosen region that the shown run forecasts."""
    rows = content.ensembles[content.shown].samples
    for harp in content.harps:
        if (rows.harp == harp).any():
            yield _draw_timeline(content, harp)


def _draw_losses(name: str, run: Run) -> Figure:
    """Draw each fold's training and validation loss by epoch; a ring marks the epoch whose network is scored."""

    def fill(ax: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        for fold in (fold for fold in run.folds if fold.epochs):
            color = series_style(fold.number).color
            epochs, valid = [row.epoch for row in fold.epochs], [row.valid_loss for row in fold.epochs]
            marker = "." if len(epochs) == 1 else ""
            ax.plot(epochs, valid, color=color, marker=marker, label=f"fold {fold.number}")
            train = [row.train_loss for row in fold.epochs]
            ax.plot(epochs, train, color=color, marker=marker, linestyle=":", linewidth=1.2)
            best = fold.network.best
            if best is not None and best.epoch in epochs:
                at = [best.epoch], [valid[epochs.index(best.epoch)]]
                ax.plot(*at, color=color, marker="o", markersize=8, markerfacecolor="none")
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))

    return draw(name, fill, kind="training", heading=f"Training of {run.name}", size=_SIZE)


def _draw_timeline(content: TaskContent, harp: int) -> Figure:
    """Draw a region's probability of a flare; shaded where one followed, with triangles at flares of a list."""
    task, ensemble = content.task, content.ensembles[content.shown]
    style = run_styles([run.kind is RunKind.BASELINE for run in content.runs])[content.shown]
    flares = () if content.flares is None else content.flares[harp]
    rows = np.flatnonzero(ensemble.samples.harp == harp)
    rows = rows[np.argsort(ensemble.samples.t_end_tai[rows], kind="stable")]

    def fill(ax: Axes) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        times, low, high, mean = _break_gaps(ensemble, rows)
        followed = ensemble.samples.t_end_tai[rows[ensemble.samples.label[rows] == 1]]
        for start, end in _find_spans(ensemble.samples.t_end_tai[rows], ensemble.samples.label[rows]):
            ax.axvspan(start, end, color=ALARM, alpha=0.22, linewidth=0)  # type: ignore[arg-type]  # takes times
        if len(followed):
            ax.plot(followed, np.full(len(followed), 1.03), color=ALARM, marker="|", markersize=6, linestyle="")
        ax.axhline(THRESHOLD, color=FAINT, linewidth=1, linestyle=":")
        ax.fill_between(times, low, high, color=style.color, alpha=0.25, linewidth=0)
        ax.plot(times, mean, color=style.color, marker="." if len(rows) < 40 else "")
        locator = AutoDateLocator(minticks=3, maxticks=_MAX_TICKS)  # type: ignore[no-untyped-call]  # not annotated there
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        ax.set(ylim=(-0.02, 1.26 if flares else 1.08), ylabel="probability", yticks=np.linspace(0, 1, 6))
        _mark_flares(ax, flares)

    facts = (ensemble.name, str(ensemble.num_folds), *_list_flares(content, harp))
    return draw(f"{task}-harp-{harp}", fill, kind="timeline", heading=f"HARP {harp}", size=_SIZE, facts=facts)


def _list_flares(content: TaskContent, harp: int) -> tuple[str, ...]:
    """Return the flares of a list as text; empty text if the region has none, nothing without a list."""
    if content.flares is None:
        return ()
    flares = content.flares[harp]
    named = [f"{flare.goes_class} {str(flare.start)[5:16].replace('T', ' ')}" for flare in flares[:_MAX_NAMED]]
    more = f", and {len(flares) - _MAX_NAMED} more" if len(flares) > _MAX_NAMED else ""
    return (", ".join(named) + more,)


def _mark_flares(ax: Axes, flares: Sequence[RegionFlare]) -> None:
    """Mark the start of each flare with a triangle, and label flares where there is room, the strongest first."""
    for flare in flares:
        fill = INK if flare.goes_class >= _CLASS_X else "none"
        at = [flare.start], [1.11]
        ax.plot(*at, color=INK, marker="v", markersize=5, markerfacecolor=fill, linestyle="")
    low, high = ax.get_xlim()
    named: list[float] = []
    for flare in sorted(flares, key=lambda flare: flare.goes_class, reverse=True):
        place = (float(ax.convert_xunits(flare.start)) - low) / (high - low)  # type: ignore[no-untyped-call]
        if all(abs(place - other) > _ROOM for other in named):
            named.append(place)
            side = "left" if place < _ROOM / 2 else "right" if place > 1 - _ROOM / 2 else "center"
            ax.text(place, 0.93, str(flare.goes_class), transform=ax.transAxes, fontsize=7, color=INK, ha=side)


def _break_gaps(ensemble: IssuedForecast, rows: NDArray[np.int64]) -> tuple[NDArray[np.generic], ...]:
    """Return times, the minimum and maximum over folds, and their mean, with NaN where the line is broken."""
    times = ensemble.samples.t_end_tai[rows]
    gaps = np.flatnonzero(np.diff(times) > _GAP) + 1
    of_folds_FN = ensemble.member_probabilities[:, rows]
    columns = of_folds_FN.min(axis=0), of_folds_FN.max(axis=0), ensemble.samples.probability[rows]
    broken = [np.insert(column, gaps, np.nan) for column in columns]
    return np.insert(times, gaps, times[gaps]), *broken


def _find_spans(times: NDArray[np.datetime64], labels: NDArray[np.int64]) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the first and last times of uninterrupted series of positive labels."""
    spans: list[tuple[np.datetime64, np.datetime64]] = []
    for position in np.flatnonzero(labels == 1).tolist():
        time = times[position]
        if spans and position and labels[position - 1] == 1 and time - spans[-1][1] <= _GAP:
            spans[-1] = (spans[-1][0], time)
        else:
            spans.append((time, time))
    return spans
