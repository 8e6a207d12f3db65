"""The page: one HTML document, filled into the templates, that needs no other file and no server."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sffshards import __version__
from sffshards.base.errors import format_count
from sffshards.domain.sample_sets import NUM_FOLDS, Stage
from sffshards.forecasting.runs import PUBLISHED_DOI, Run, RunKind
from sffshards.report.chosen_examples import SIDE, Example, Outcome
from sffshards.report.explanation_figures import compress_picture
from sffshards.report.figure_style import Figure
from sffshards.report.provenance_tables import describe_build, describe_run, list_table, run_table
from sffshards.report.report_content import LabelContent, TaskContent
from sffshards.report.result_scores import validation_skill
from sffshards.report.result_tables import interval_cell
from sffshards.report.table_formats import Cell, Table
from sffshards.shards.format import Manifest
from sffshards.verification import MIN_FLARING_HARPS, ScoreName, explain_inestimable


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPage:
    """The part of the page on a task."""

    content: TaskContent
    labels: LabelContent
    with_published: bool
    """Whether published results are beside scores by the labels of the lists."""
    tables: Mapping[str, Table]
    """Tables by their names."""
    skill: tuple[Figure, ...]
    """Figures that compare the runs."""
    training: tuple[Figure, ...]
    """Figures of the losses, one per run."""
    timelines: tuple[Figure, ...]
    """Figures of the shown run over time, one per region."""
    strips: Mapping[Example, bytes]
    """Film strips as PNG, by example."""
    explanations: Mapping[str, bytes]
    """Pictures of what the forecasts of film strips depend on as PNG, by sequence."""
    manifest: Manifest | None
    """Manifest of the build that networks were trained on or, without any, of the film strips; None if not found."""
    no_build: str
    """Reason why the build was not found; empty if it was."""

    @property
    def has_networks(self) -> bool:
        """Whether a network made one of the runs."""
        return any(run.kind is RunKind.NETWORK for run in self.content.runs)

    @property
    def is_synthetic(self) -> bool:
        """Whether the forecasts are of synthetic data, as far as the build was found."""
        return self.manifest is not None and self.manifest.inputs.is_synthetic


def format_page(runs: Sequence[Run], pages: Sequence[TaskPage], *, place: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    runs
        All runs that were found, evaluated or not.
    pages
        Parts on each task with evaluated runs.
    place
        Folder of the runs, for the title.
    """
    # Everything that is not marked safe in a template is escaped: no text from data can become markup.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sffshards.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"base64": lambda data: base64.b64encode(data).decode("ascii"), "count": format_count}
    environment.filters["compress"] = compress_picture
    return environment.get_template("report.html.j2").render(
        place=place,
        version=__version__,
        doi=PUBLISHED_DOI,
        runs=runs,
        run_details=[(describe_run(run), run_table(run)) for run in runs],
        missing=[(f"{run.task} {run.name}", len(run.missing_folds)) for run in runs if run.missing_folds],
        num_evaluated=sum(len(run.evaluated) for run in runs),
        num_folds=NUM_FOLDS,
        min_harps=MIN_FLARING_HARPS,
        pages=pages,
        glances=[_glance(page.content) for page in pages],
        builds=[page.manifest and (describe_build(page.manifest), list_table(page.manifest)) for page in pages],
        outcomes=Outcome,
        strip_side=SIDE,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Glance:
    """The first facts on a task: the main scores of the shown run and of persistence, and why that run is shown."""

    scores: tuple[tuple[str, Cell, Cell | None], ...]
    """Names of scores with their cells, of the run and of persistence, if a run is that."""
    inestimable: str
    """Reason why the run's interval of TSS is not estimable; empty if it is."""
    num_shared: int | None
    """Number of test regions that are also in training or validation; None if no run has forecasts of those sets."""
    choice: str
    """Reason why the run is shown."""


def _glance(content: TaskContent) -> _Glance:
    shown = content.forecasts[content.shown].scores
    names = (ScoreName.TSS, ScoreName.HSS)
    persistence = content.persistence
    others = [
        None if persistence is None else interval_cell(persistence.scores.interval(name), shown) for name in names
    ]
    cells = [interval_cell(shown.interval(name), shown) for name in names]
    main = shown.interval(ScoreName.TSS)
    reason = None if math.isnan(main.estimate) else explain_inestimable(main, num_flaring_harps=shown.num_flaring_harps)
    pairs = [pair for pair in content.shared if pair.second is Stage.TEST]
    return _Glance(
        scores=tuple(zip(map(str, names), cells, others, strict=True)),
        inestimable=reason or "",
        num_shared=len({harp for pair in pairs for harp in pair.harps}) if pairs else None,
        choice=_explain_choice(content),
    )


def _explain_choice(content: TaskContent) -> str:
    """Return why a run is shown, where there are several; by its TSS on validation only where that is defined."""
    if len(content.runs) == 1:
        return ""
    num_others = sum(run.kind is not RunKind.BASELINE for run in content.runs)
    if num_others == 1:
        return "the only run other than baselines"
    runs = f"{num_others or len(content.runs)} runs"
    if 0 < num_others < len(content.runs):
        runs += " other than baselines"
    if math.isnan(validation_skill(content.folds[content.shown])):
        return f"the first of {runs}, as TSS on validation is undefined"
    return f"of {runs}, the one with the highest TSS on validation"
