"""Write a report: read the runs, compute, draw, and write the page and the files beside it into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.base.progress import Progress
from sffshards.forecasting.runs import gather_runs
from sffshards.report.chosen_examples import check_harps, draw_strip
from sffshards.report.provenance_tables import set_table, shared_table
from sffshards.report.report_content import ReportOptions, TaskContent, compute_content
from sffshards.report.report_files import format_report, format_tables
from sffshards.report.report_folder import PAGE_NAME, check_folder, write_folder
from sffshards.report.report_page import TaskPage, format_page
from sffshards.report.result_tables import result_tables
from sffshards.report.score_figures import draw_skill
from sffshards.report.table_formats import format_latex, format_markdown
from sffshards.report.time_figures import draw_timelines, draw_training
from sffshards.shards.format import Manifest
from sffshards.shards.read import Place, load_builds, open_build


def write_report(
    place: Path, out: Path, *, shards: Sequence[Place], options: ReportOptions, progress: Progress
) -> Path:
    """Write a report on runs.

    Parameters
    ----------
    place
        An evaluated run, or a folder of runs.
    out
        Folder for ``index.html``, which needs no other file; ``report.json``, ``tables/`` and ``figures/``.
    shards
        Builds, or folders of builds, that provide film strips and provenance; may be empty.
    options
        What to show.
    progress
        Receives the progress of the work.

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    InputError
        If there are no evaluated runs, a table is malformed, no test set holds a named region, or baselines cannot be
        computed from the sources.
    ConflictError
        If runs are not comparable, lists are of other samples, or files that no report wrote are in the folder.
    DamageError
        If a sample to be shown, or a table of predictions, is not as it was written.
    """
    check_folder(out)
    runs = gather_runs(place)
    check_harps(options.harps or (), runs)
    tasks = sorted({run.task for run in runs if run.evaluated})
    builds, absent = _find_builds(shards)
    pages = []
    with progress.task("Report", len(tasks)) as advance:
        for task in tasks:
            pages.append(_make_page(compute_content(runs, task, options), builds, absent))
            advance(1)
    # Bytes of a path that are not text are shown as escapes.
    written = {PAGE_NAME: format_page(runs, pages, place=str(place)).encode("utf-8", "backslashreplace")}
    for page in pages:
        written |= dict(_format_files(page))
    contents = [page.content for page in pages]
    write_folder(out, written, lambda names: format_report(runs, contents, files=names))
    return out / PAGE_NAME


def _find_builds(shards: Sequence[Place]) -> tuple[dict[str, tuple[Place, Manifest]], str]:
    """Return the builds by the checksum of their manifest, and the reason why another may not be among them."""
    if not shards:
        return {}, "no shards were named"
    found: dict[Place, Manifest] = {}
    for place in shards:
        with suppress(InputError):
            found |= load_builds(place)
    builds = {manifest.sha256: (folder, manifest) for folder, manifest in found.items()}
    places = ", ".join(map(str, shards))
    if not builds:
        return {}, f"there is no build in {places}"
    return builds, f"the builds in {places} are not the one that the runs were trained on"


def _make_page(content: TaskContent, builds: dict[str, tuple[Place, Manifest]], absent: str) -> TaskPage:
    found = builds.get(content.runs[0].first.manifest_sha256)
    strips = {}
    if found is not None:
        with open_build(found[0]) as build:
            strips = {one.sequence: draw_strip(build, one.sequence) for one in content.examples}
    manifest = None if found is None else found[1]
    # Scores on synthetic data do not compare with published ones.
    results = result_tables(content, with_published=manifest is None or not manifest.inputs.is_synthetic)
    return TaskPage(
        content=content,
        tables={table.name: table for table in (*results, set_table(content), shared_table(content))},
        skill=tuple(draw_skill(content)),
        training=tuple(draw_training(content)),
        timelines=tuple(draw_timelines(content)),
        strips=strips,
        manifest=manifest,
        no_build=absent if found is None else "",
    )


def _format_files(page: TaskPage) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a task by their names in the folder: numbers as CSV, tables as shown, figures."""
    for name, text in format_tables(page.content).items():
        yield f"tables/{name}", text.encode("utf-8", "backslashreplace")
    for table in page.tables.values():
        for suffix, formatted in (("md", format_markdown(table)), ("tex", format_latex(table))):
            name = f"tables/{page.content.task}-{table.name}.{suffix}"
            yield name, formatted.encode("utf-8", "backslashreplace")
    for figure in (*page.skill, *page.training, *page.timelines):
        for suffix, data in figure.files.items():
            yield f"figures/{figure.name}.{suffix}", data
