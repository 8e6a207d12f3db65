"""The tables of the page on first flares beside continuing activity, and on the differences between runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sffshards.forecasting.runs import Subset
from sffshards.report.markup import Cell, Markup, element, join, table
from sffshards.report.report_content import HorizonContent
from sffshards.report.result_scores import DIFFERENCES, Difference, SubsetScores
from sffshards.report.result_tables import chosen_cell, format_range, list_notes
from sffshards.verification import ProbabilityScore, ScoreName, ThresholdRule, explain_interval, explain_score

__all__ = ["difference_table", "subset_table"]

_NAMES = (ScoreName.TSS, ScoreName.HSS, ProbabilityScore.BRIER_SKILL, ProbabilityScore.ROC_AUC)


def subset_table(content: HorizonContent) -> Markup:
    """Give the scores of first flares and of continuing activity."""
    caption = join(
        element("b", "First flares and continuing activity"),
        f", test set, mean of folds. Continuing: the region's latest label of the test set that was known by then, of "
        f"{content.task} ago or earlier, was a flare. The others are first flares, or quiet: harder, and more "
        "useful, to forecast. Chosen thresholds are those of all samples.",
    )
    header = [
        *("forecast", "sequences", "with a flare", "TSS at 0.5", "HSS at 0.5"),
        *("TSS, chosen threshold", "HSS, chosen threshold", "BSS", "AUC"),
    ]
    ordered = [one for subset in (Subset.FIRST, Subset.CONTINUING) for one in content.subsets if one.subset is subset]
    rows = [_subset_row(one, width=len(header)) for one in ordered]
    whole = table(caption, header, rows, label=f"{content.task}, first flares and continuing activity")
    return join(whole, list_notes([note for one in ordered for note in _subset_notes(one)]))


def difference_table(content: HorizonContent) -> Markup:
    """Give by how much one run scores higher than another, or say that there are no two."""
    num_pairs = len(content.ensembles) * (len(content.ensembles) - 1) // 2
    if not num_pairs:
        return element("p", "Differences between runs: there is one run of this horizon alone.", class_="lead")
    notes = []
    if len(content.differences) < num_pairs:
        notes.append(f"{num_pairs - len(content.differences)} pairs of runs forecast other test samples: not compared.")
    if not content.differences:
        return list_notes(notes)
    caption = join(
        element("b", "Differences between runs"),
        ", test set, mean of folds: the score of the run named first minus that of the other; above 0 the first is "
        "better. In brackets: 95 % interval, the same regions drawn for both; one that holds 0 shows no difference. It "
        "tells of the choice of regions, not of what another training of the same would give.",
    )
    rows = [_difference_row(one) for one in content.differences]
    whole = table(caption, ["runs", *DIFFERENCES], rows, label=f"{content.task}, differences between runs")
    return join(whole, list_notes([*notes, *_difference_notes(content.differences)]))


def _subset_row(of: SubsetScores, *, width: int) -> list[Cell]:
    head = Cell(text=f"{of.name}, {of.subset}", kind="wide-name")
    if of.scored is None:
        return [head, Cell(text="0"), *(Cell(text="\u2013") for _ in range(width - 2))]
    scores, chosen = of.scored.scores, of.scored.chosen
    flaring = element("span", f"{scores.num_flaring_harps} regions", class_="small")
    ranges = {name: Cell(text=format_range(scores.interval(name))) for name in _NAMES}
    return [
        head,
        Cell(text=f"{scores.table.num_samples:,}"),
        Cell(text=join(f"{scores.table.num_positive:,}", flaring)),
        *(ranges[name] for name in (ScoreName.TSS, ScoreName.HSS)),
        *(chosen_cell(chosen.get(rule)) for rule in (ThresholdRule.MAX_TSS, ThresholdRule.MAX_HSS)),
        *(ranges[name] for name in (ProbabilityScore.BRIER_SKILL, ProbabilityScore.ROC_AUC)),
    ]


def _subset_notes(of: SubsetScores) -> list[str]:
    """Say of each score that is undefined, or has no interval, why; scores of one reason in one line."""
    if of.scored is None:
        return [f"{of.name}, {of.subset}: no test sequence is of this kind"]
    found: dict[str, list[str]] = {}
    for name in _NAMES:
        undefined, no_interval = explain_score(of.scored.scores, name), explain_interval(of.scored.scores, name)
        if undefined is not None:
            found.setdefault(f"undefined, as {undefined}", []).append(str(name))
        elif no_interval is not None:
            found.setdefault(f"without an interval, as {no_interval}", []).append(str(name))
    return [f"{of.name}, {of.subset}: {', '.join(names)} {why}" for why, names in found.items()]


def _difference_row(of: Difference) -> list[Cell]:
    cells = [Cell(text="\u2013" if one is None else format_range(one)) for one in of.intervals.values()]
    return [Cell(text=f"{of.second} minus {of.first}", kind="wide-name"), *cells]


def _difference_notes(differences: Sequence[Difference]) -> list[str]:
    every = [one for of in differences for one in of.intervals.values()]
    notes = []
    if None in every:
        notes.append("\u2013: validation gave one of the two no such threshold or calibration.")
    if any(one is not None and math.isnan(one.estimate) for one in every):
        notes.append("Undefined: the score of one of the two is, by the reasons above.")
    if any(one is not None and math.isnan(one.low) and not math.isnan(one.estimate) for one in every):
        notes.append("No interval: it takes the flares of about three regions at the least to draw them again.")
    return notes
