"""Which figures a horizon's part of the page shows, each with the sentence that says how to read it."""

from __future__ import annotations

from dataclasses import dataclass

from sffshards.forecasting.runs import Probability
from sffshards.report.figure_style import Drawing, series_style
from sffshards.report.report_content import HorizonContent
from sffshards.report.result_scores import reference_forecasts
from sffshards.report.score_figures import Series, draw_precision, draw_reliability, draw_roc, draw_score
from sffshards.report.time_figures import draw_timeline, draw_training
from sffshards.verification import ScoreName

__all__ = ["Figure", "Gallery", "make_gallery"]

_MAX_NAMED = 12
"""Flares of a region named below its figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure and its caption."""

    heading: str
    caption: str
    drawing: Drawing


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """The figures of a horizon."""

    skill: tuple[Figure, ...]
    training: tuple[Figure, ...]
    timelines: tuple[Figure, ...]

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """All of them."""
        return tuple(figure.drawing for figure in (*self.skill, *self.training, *self.timelines))


def make_gallery(content: HorizonContent) -> Gallery:
    """Draw the figures of a horizon."""
    training = [
        Figure(
            heading=f"Training of {run.name}",
            caption="Loss by epoch, a colour a fold: solid on the validation set, dotted on the training set; the ring "
            "is the epoch whose network is scored. Where the solid line turns up, the network learns its training set "
            "by heart.",
            drawing=draw_training(f"{content.task}-training-{number}", run),
        )
        for number, run in enumerate(content.runs)
        if any(fold.epochs for fold in run.folds)
    ]
    shown = content.ensembles[content.shown]
    timelines = [
        Figure(
            heading=f"HARP {harp}",
            caption=_timeline_caption(content, harp, shown.name),
            drawing=draw_timeline(
                f"{content.task}-harp-{harp}",
                shown,
                harp,
                task=content.task,
                style=series_style(content.shown),
                flares=() if content.flares is None else content.flares[harp],
            ),
        )
        for harp in content.harps
        if (shown.samples.harp == harp).any()
    ]
    return Gallery(skill=_draw_skill(content), training=tuple(training), timelines=tuple(timelines))


def _draw_skill(content: HorizonContent) -> tuple[Figure, ...]:
    task = content.task
    series = [Series(ensemble=one, style=series_style(number)) for number, one in enumerate(content.ensembles)]
    references = reference_forecasts(content.ensembles[content.shown], task)
    points = {name: references[name] for name in ("persistence", "ever flared")}
    figures = [
        Figure(
            heading="Reliability",
            caption="Above: of the forecasts near a probability, the fraction that a flare followed. On the dotted "
            "line a 30 % is a 30 %; below it, flares are forecast too often. Below: how many forecasts there were, "
            "on a logarithmic scale: points of few forecasts say little. Test set, mean of folds.",
            drawing=draw_reliability(f"{task}-reliability", series, calibrated=False),
        ),
        Figure(
            heading="ROC",
            caption="Flares detected against quiet times alarmed, from the highest threshold (lower left) to the "
            "lowest. Nearer the upper left is better; the height above the dotted line is TSS. Markers are "
            "yes-or-no forecasts without a network. Test set, mean of folds.",
            drawing=draw_roc(f"{task}-roc", series, points),
        ),
        Figure(
            heading="Precision and detection",
            caption="Of the flares forecast, the fraction that came, against the flares detected. Nearer the upper "
            "right is better; where flares are rare this shows false alarms that a ROC hides. Test set, mean of folds.",
            drawing=draw_precision(f"{task}-precision", series),
        ),
    ]
    by_threshold = [
        Figure(
            heading=f"{score} against threshold",
            caption=f"{score} of the test set, mean of folds, for every probability from which a flare is called. The "
            f"markers stand at thresholds chosen for {score} on the validation sets; how far they are from the top is "
            "what choosing in advance costs.",
            drawing=draw_score(f"{task}-{str(score).lower()}", series, score),
        )
        for score in (ScoreName.TSS, ScoreName.HSS)
    ]
    if all(Probability.PLATT not in ensemble.probabilities for ensemble in content.ensembles):
        return *figures, *by_threshold
    calibrated = Figure(
        heading="Reliability after calibration",
        caption="As the first figure, of probabilities that a line in the logit, fitted on the validation set of each "
        "fold, has set right: what would be issued as a probability. Test set, mean of folds.",
        drawing=draw_reliability(f"{task}-calibrated", series, calibrated=True),
    )
    return *figures, calibrated, *by_threshold


def _timeline_caption(content: HorizonContent, harp: int, name: str) -> str:
    said = (
        f"Probability of a flare of HARP {harp} within {content.task}, by {name}: line, mean of folds; band, lowest "
        "to highest fold. Shaded: such a flare did follow, by the labels. TAI, test set."
    )
    if content.flares is None:
        return said
    flares = content.flares[harp]
    if not flares:
        return f"{said} The flare list has no flare of class M or above of this region in these days."
    named = ", ".join(f"{flare.goes_class} {str(flare.start)[5:16].replace('T', ' ')}" for flare in flares[:_MAX_NAMED])
    more = f", and {len(flares) - _MAX_NAMED} more" if len(flares) > _MAX_NAMED else ""
    return f"{said} Triangles: starts of flares by the list, in UTC, filled for class X: {named}{more}."
