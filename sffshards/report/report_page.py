"""The page: everything that the report holds as one HTML document that asks nothing of any server."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from sffshards import __version__
from sffshards.domain.sample_sets import Stage
from sffshards.domain.task import Task
from sffshards.forecasting.runs import PUBLISHED_DOI, Run
from sffshards.report.chosen_examples import Example, Outcome
from sffshards.report.comparison_tables import difference_table, subset_table
from sffshards.report.gallery import Figure, Gallery
from sffshards.report.markup import Markup, element, join
from sffshards.report.report_content import HorizonContent
from sffshards.report.report_provenance import describe_build, run_tables, set_table, shared_table
from sffshards.report.result_tables import fold_table, forecast_table, format_range, stage_table
from sffshards.shards.format import Manifest
from sffshards.verification import ScoreName

__all__ = ["GENERATOR", "HorizonPage", "format_page"]

GENERATOR = f"sffshards {__version__} report"
"""Who made the page, in its head."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HorizonPage:
    """What the page shows of a horizon."""

    content: HorizonContent
    gallery: Gallery
    strips: dict[str, bytes]
    """Film strips as PNG, by sequence."""
    manifest: Manifest | None
    """Of the build."""
    no_build: str
    """Why there is none, if there is none."""


def format_page(runs: Sequence[Run], pages: Sequence[HorizonPage], *, place: str) -> str:
    """Give the page as HTML.

    Parameters
    ----------
    runs
        All that were found, evaluated or not.
    pages
        Of each horizon with evaluated runs.
    place
        The folder of runs, for the title.
    """
    title = f"Flare forecasts of {place}"
    body = join(
        element("a", "To the content", href="#content", class_="skip"),
        _header(runs, pages, place=place),
        element("main", *(_horizon(page) for page in pages), _data(runs, pages), _reading(), id="content"),
        element(
            "footer",
            f"Made by sffshards {__version__}. The method: Grim and Gradvohl (2024), Solar Physics 299:33, ",
            element("a", f"doi:{PUBLISHED_DOI}", href=f"https://doi.org/{PUBLISHED_DOI}"),
            ".",
        ),
    )
    style = Markup(files("sffshards.report").joinpath("page.css").read_text("utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=GENERATOR),
        element("title", title),
        element("style", style),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body), lang='en')}\n"


def _header(runs: Sequence[Run], pages: Sequence[HorizonPage], *, place: str) -> Markup:
    links = [("At a glance", "glance"), *((f"{p.content.task} forecasts", f"h{p.content.task}") for p in pages)]
    links += [("Data and sets", "data"), ("Provenance", "provenance"), ("How to read the scores", "reading")]
    num_folds = sum(len(run.evaluated) for run in runs)
    missing = [
        f"{run.task} {run.name}: folds {', '.join(map(str, run.missing_folds))}" for run in runs if run.missing_folds
    ]
    lead = (
        f"Will an active region give a flare of class M or above? {_count(len(runs), 'run')} in {place}, "
        f"{_count(num_folds, 'fold')} evaluated, scored on test regions beside forecasts that need no network."
    )
    warning = element(
        "p", f"Not evaluated, and so not in any mean: {'; '.join(missing)}.", class_="warning", role="note"
    )
    return element(
        "header",
        element("h1", "Flare forecasts, verified"),
        element("p", lead, class_="lead"),
        element(
            "nav",
            element("ul", *(element("li", element("a", text, href=f"#{to}")) for text, to in links)),
            aria_label="Sections",
        ),
        warning if missing else Markup(),
        element("h2", "At a glance", id="glance"),
        *(_glance(page.content) for page in pages),
    )


def _glance(content: HorizonContent) -> Markup:
    """Set the shown run's main scores beside persistence's."""
    shown, persistence = content.forecasts[content.shown], content.persistence
    cards = []
    for name in (ScoreName.TSS, ScoreName.HSS):
        ours, theirs = shown.scores.interval(name), persistence.scores.interval(name)
        cards.append(
            element(
                "div",
                element("p", f"{content.task}, {name} at 0.5"),
                element("p", format_range(ours), class_="big"),
                element("p", join(f"{persistence.name} ", format_range(theirs)), class_="lead"),
                class_="card",
            )
        )
    shared = {harp for pair in content.shared if pair.second is Stage.TEST for harp in pair.harps}
    table = shown.scores.table
    facts = (
        f"{table.num_positive:,} of {table.num_samples:,} test sequences have a flare, from "
        f"{shown.scores.num_flaring_harps} of {shown.scores.num_harps} active regions."
    )
    leak = (
        f"{_count(len(shared), 'test region')} also in training or validation."
        if shared
        else ("No test region is also in training or validation.")
    )
    cards.append(
        element(
            "div", element("p", f"{content.task}, test set"), element("p", facts), element("p", leak), class_="card"
        )
    )
    several = len(content.runs) > 1
    why = shown.name + (
        f": of {len(content.runs)} runs, the one with the highest TSS on validation." if several else "."
    )
    return join(element("div", *cards, class_="glance"), element("p", f"{content.task}: {why}", class_="lead"))


def _horizon(page: HorizonPage) -> Markup:
    content, gallery = page.content, page.gallery
    shown = content.runs[content.shown].name
    further = element(
        "details",
        element("summary", "Scores of the training and validation sets"),
        stage_table(content, Stage.TRAIN),
        stage_table(content, Stage.VAL),
    )
    return element(
        "section",
        element("h2", f"Flares within {content.task}", id=f"h{content.task}"),
        element("h3", "Results"),
        forecast_table(content),
        difference_table(content),
        subset_table(content),
        fold_table(content),
        further,
        element("h3", "Skill and reliability"),
        _figures(gallery.skill),
        element("h3", "Training"),
        _figures(gallery.training) if gallery.training else element("p", "No table of epochs lies in the runs."),
        element("h3", f"Regions in time, by {shown}"),
        _figures(gallery.timelines) if gallery.timelines else element("p", _NO_REGION),
        element("h3", f"Surest hits, misses and false alarms of {shown}"),
        _strips(page),
    )


def _figures(figures: Sequence[Figure]) -> Markup:
    return element(
        "div",
        *(
            element("figure", element("h4", f.heading), f.drawing.svg, element("figcaption", f.caption))
            for f in figures
        ),
        class_="figures",
    )


def _strips(page: HorizonPage) -> Markup:
    """Show the film strips, or say why there are none and name the sequences."""
    said = element(
        "p",
        "Sixteen frames up to the time of the forecast, the oldest at the upper left, as the network saw them: grey is "
        "no field, white and black its two polarities. At most three of each kind, one a region; test set, at a "
        "probability of 0.5.",
    )
    no_build = element("p", f"No film strips: {page.no_build}.", class_="warning", role="note")
    groups = []
    for outcome in Outcome:
        examples = [example for example in page.content.examples if example.outcome is outcome]
        shown = element("div", *(_strip(one, page) for one in examples), class_="strips")
        none = element("p", f"The test set holds no {outcome} at 0.5.")
        groups.append(join(element("h4", _HEADINGS[outcome]), shown if examples else none))
    return join(said, no_build if page.no_build else Markup(), *groups)


def _strip(example: Example, page: HorizonPage) -> Markup:
    said = f"HARP {example.harp}, {str(example.t_end_tai).replace('T', ' ')} TAI: probability {example.probability:.3f}"
    came = "no flare followed" if example.outcome is Outcome.FALSE_ALARM else "a flare followed"
    caption = element("figcaption", f"{said}, {came} within {page.content.task}. ", element("code", example.sequence))
    png = page.strips.get(example.sequence)
    if png is None:
        return element("figure", caption)
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    picture = element(
        "img", src=source, alt=f"Sixteen magnetograms of HARP {example.harp}; {came}", width="526", height="130"
    )
    return element("figure", picture, caption)


def _data(runs: Sequence[Run], pages: Sequence[HorizonPage]) -> Markup:
    sets = []
    for page in pages:
        task = page.content.task
        sets.append(join(element("h3", f"Sets of {task}"), set_table(page.content), shared_table(page.content)))
    builds = [_build(page.content.task, page) for page in pages]
    return join(
        element("section", element("h2", "Data and sets", id="data"), *sets),
        element(
            "section",
            element("h2", "Provenance", id="provenance"),
            element("h3", "Runs and protocol"),
            run_tables(runs),
            element("h3", "Builds"),
            *builds,
        ),
    )


def _build(task: Task, page: HorizonPage) -> Markup:
    if page.manifest is None:
        return element("p", f"{task}: {page.no_build}.", class_="warning", role="note")
    return join(element("h4", f"{task} build"), describe_build(page.manifest))


def _reading() -> Markup:
    """Say in a line what each score answers."""
    terms = [join(element("dt", name), element("dd", said)) for name, said in _SCORES.items()]
    return element("section", element("h2", "How to read the scores", id="reading"), element("dl", *terms))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


_HEADINGS = {Outcome.HIT: "Hits", Outcome.MISS: "Misses", Outcome.FALSE_ALARM: "False alarms"}
_NO_REGION = "No region of the test set has a flare, or is one of those named."
_SCORES = {
    "TSS, true skill statistic": "Flares detected less quiet times alarmed (POD - POFD). -1 to 1, no skill 0, perfect "
    "1. Says nothing of how many alarms are false where flares are rare.",
    "HSS, Heidke skill score": "Accuracy beyond what chance would give. No skill 0, perfect 1. Falls with false "
    "alarms.",
    "BSS, Brier skill score": "Squared error of the probabilities avoided, against always giving the training set's "
    "rate of flares. Below 0: worse than that. Perfect 1.",
    "AUC, area under the ROC": "How often a sequence with a flare is given a higher probability than one without. No "
    "skill 0.5, perfect 1.",
    "AP, average precision": "Mean precision over the flares. No skill: the rate of flares. Perfect 1.",
    "POD, PRE, FAR, POFD": "Flares detected; forecasts that were right; forecasts that were not (1 - PRE); quiet times "
    "alarmed.",
    "F1, ACC, CSI": "Harmonic mean of POD and PRE; fraction right of all; hits of hits, misses and false alarms.",
    "Persistence": "The region's latest label that is known by the time of the forecast. From the labels of the test "
    "set alone; a flare list (--data, --flares), which also knows of flares between them, makes it stronger.",
    "Ever flared": "A flare is forecast of every region that is known to have had one.",
    "95 % interval": "Regions, not sequences, are drawn again, for sequences of a region are much alike; with few "
    "flaring regions it is wide, and honest.",
}
