"""Write a report: read the runs, compute, draw, and put the page and the files beside it into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.base.progress import Progress
from sffshards.domain.task import Task
from sffshards.forecasting.runs import gather_runs
from sffshards.report.chosen_examples import check_harps
from sffshards.report.film_strips import draw_strip
from sffshards.report.gallery import make_gallery
from sffshards.report.report_baselines import ReportSources, score_baselines
from sffshards.report.report_content import HorizonContent, compute_content
from sffshards.report.report_files import format_report, format_tables
from sffshards.report.report_folder import PAGE_NAME, check_folder, write_folder
from sffshards.report.report_page import HorizonPage, format_page
from sffshards.report.result_scores import NamedScores
from sffshards.shards.format import Manifest
from sffshards.shards.read import Place, load_builds, open_build
from sffshards.verification import Resampling

__all__ = ["ReportOptions", "write_report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """What a report shows and how its intervals are made."""

    harps: tuple[int, ...] | None = None
    """Regions to show in time, wherever a horizon tests them; None for those with most flares."""
    per_outcome: int = 3
    """Film strips of each outcome, at most."""
    resampling: Resampling = field(default_factory=Resampling)
    further: Mapping[Task, Sequence[NamedScores]] = field(default_factory=dict)
    """Scores of more forecasts of the same test sequences, for the tables."""
    sources: ReportSources = field(default_factory=ReportSources)
    """Lists, flares and keywords, for baselines that stand in the tables before those further ones."""


def write_report(
    place: Path, out: Path, *, shards: Sequence[Place], options: ReportOptions, progress: Progress
) -> Path:
    """Write a report on runs.

    Parameters
    ----------
    place
        A run, or a folder of runs, evaluated.
    out
        Folder for ``index.html``, which needs no other file; ``report.json``, ``tables/`` and ``figures/``.
    shards
        Builds, or folders of builds, from which film strips and provenance come; none to do without.
    options
        What to show.
    progress
        Told how far the work is.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If there are no evaluated runs, or a table is malformed, or a region is in no test set at all, or baselines
        cannot be made of what is given.
    ConflictError
        If runs cannot stand side by side, or lists are of other samples, or files of another's stand in the folder.
    DamageError
        If a sample to be shown, or a table of predictions, is not as it was written.
    """
    check_folder(out)
    runs = gather_runs(place)
    check_harps(options.harps or (), runs)
    tasks = sorted({run.task for run in runs if run.evaluated})
    builds, absent = _find_builds(shards)
    contents, pages = [], []
    with progress.task("Report", len(tasks)) as advance:
        for task in tasks:
            baselines = score_baselines(options.sources, runs, task, resampling=options.resampling, progress=progress)
            content = compute_content(
                runs,
                task,
                resampling=options.resampling,
                harps=options.harps,
                per_outcome=options.per_outcome,
                further=(*baselines, *options.further.get(task, ())),
                catalogue=options.sources.catalogue,
            )
            contents.append(content)
            pages.append(_make_page(content, builds, absent))
            advance(1)
    # A path that is not text is shown by its bytes.
    written = {PAGE_NAME: format_page(runs, pages, place=str(place)).encode("utf-8", "backslashreplace")}
    for content, page in zip(contents, pages, strict=True):
        written |= {f"tables/{name}": text.encode("utf-8") for name, text in format_tables(content).items()}
        written |= {f"figures/{drawing.name}.png": drawing.png for drawing in page.gallery.drawings}
    write_folder(out, written, lambda names: format_report(runs, contents, files=names))
    return out / PAGE_NAME


def _find_builds(shards: Sequence[Place]) -> tuple[dict[str, tuple[Place, Manifest]], str]:
    """Give the builds there are by the checksum of their manifest, and say why one may not be among them."""
    if not shards:
        return {}, "no shards were named"
    found: dict[Place, Manifest] = {}
    for place in shards:
        with suppress(InputError):
            found |= load_builds(place)
    builds = {manifest.sha256: (folder, manifest) for folder, manifest in found.items()}
    places = ", ".join(map(str, shards))
    if not builds:
        return {}, f"no build lies in {places}"
    return builds, f"{places} holds other builds than the one that the runs were trained on"


def _make_page(content: HorizonContent, builds: dict[str, tuple[Place, Manifest]], absent: str) -> HorizonPage:
    found = builds.get(content.runs[0].first.manifest_sha256)
    strips = {}
    if found is not None:
        with open_build(found[0]) as build:
            strips = {one.sequence: draw_strip(build, one.sequence) for one in content.examples}
    return HorizonPage(
        content=content,
        gallery=make_gallery(content),
        strips=strips,
        manifest=None if found is None else found[1],
        no_build=absent if found is None else "",
    )
