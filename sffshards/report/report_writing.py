"""Write a report: read the runs, compute, draw, and write the page and the files beside it into a folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sffshards.base.errors import InputError
from sffshards.base.progress import Progress
from sffshards.domain.frame_sequences import SequenceId
from sffshards.forecasting.label_sets import LabelChoice, format_labelled
from sffshards.forecasting.runs import RunKind, gather_runs
from sffshards.images import require_harp_numbers
from sffshards.report.chosen_examples import Example, check_harps, draw_strip, explain_examples, find_row
from sffshards.report.provenance_tables import set_table, shared_table
from sffshards.report.report_content import LabelContent, ReportOptions, TaskContent, compute_content, compute_labels
from sffshards.report.report_files import format_report, format_tables
from sffshards.report.report_folder import PAGE_NAME, check_folder, write_folder
from sffshards.report.report_page import TaskPage, format_page
from sffshards.report.result_tables import label_tables, result_tables
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
        If there are no evaluated runs, a table is malformed, no test set holds a named region, the flares have other
        HARP numbers than the runs, or labels are rebuilt without flares.
    ConflictError
        If runs are not comparable, or files that no report wrote are in the folder.
    DamageError
        If a sample to be shown, or a table of predictions, is not as it was written.
    """
    check_folder(out)
    runs = gather_runs(place, with_baselines=True)
    check_harps(options.harps or (), runs)
    if options.catalogue is not None:
        for run in runs:
            require_harp_numbers(options.catalogue.harp_map, run.first.harp_numbers, where=run.folder)
    tasks = sorted({run.task for run in runs if run.evaluated})
    builds = _find_builds(shards)
    lists = [] if options.catalogue is None else [options.catalogue, *options.other_catalogues]
    choice = LabelChoice.make(options.label_set, lists)
    labelled = [choice.main.relabel(run) for run in runs]
    pages = []
    with progress.task("Report", len(tasks)) as advance:
        for task in tasks:
            content = compute_content(labelled, task, options)
            pages.append(
                _make_page(
                    content,
                    compute_labels(runs, content, choice),
                    builds,
                    shards,
                    with_published=options.with_published,
                )
            )
            advance(1)
    if options.explain_on is not None:
        pages = [_explain(page, builds, device=options.explain_on, progress=progress) for page in pages]
    # Bytes of a path that are not text are shown as escapes.
    written = {PAGE_NAME: format_page(runs, pages, place=str(place)).encode("utf-8", "backslashreplace")}
    for page in pages:
        written |= dict(_format_files(page))
    contents = [(page.content, page.labels) for page in pages]
    write_folder(out, written, lambda names: format_report(runs, contents, files=names))
    return out / PAGE_NAME


def _find_builds(shards: Sequence[Place]) -> dict[str, tuple[Place, Manifest]]:
    """Return the builds by the checksum of their manifest."""
    found: dict[Place, Manifest] = {}
    for place in shards:
        with suppress(InputError):
            found |= load_builds(place)
    return {manifest.sha256: (folder, manifest) for folder, manifest in found.items()}


def _explain_absent(content: TaskContent, builds: Collection[str], shards: Sequence[Place]) -> str:
    """Return why there is no build with the film strips of a task."""
    places = ", ".join(map(str, shards))
    if not shards:
        return "no shards were named"
    if not builds:
        return f"there is no build in {places}"
    if any(run.kind is RunKind.NETWORK for run in content.runs):
        return f"the builds in {places} are not the one that the runs were trained on"
    return f"no build in {places} has all the sequences that are shown"


def _find_build(content: TaskContent, builds: dict[str, tuple[Place, Manifest]]) -> tuple[Place, Manifest] | None:
    """Return the build that the networks of a task were trained on, if there are any and it was found."""
    return builds.get(next((run.first.manifest_sha256 for run in content.runs if run.first.manifest_sha256), ""))


def _explain(page: TaskPage, builds: dict[str, tuple[Place, Manifest]], *, device: str, progress: Progress) -> TaskPage:
    """Return a page with pictures of what the forecasts of its film strips depend on, if the build was found."""
    content = page.content
    found = _find_build(content, builds)
    if found is None:
        reason = page.no_build or "no network made the forecasts"
        progress.note(f"{content.task}: not explained: {reason}")
        return page
    with open_build(found[0]) as build:
        shown = content.runs[content.shown]
        pictures = explain_examples(shown, content.examples, build, device=device, progress=progress)
    return replace(page, explanations=pictures)


def _make_page(
    content: TaskContent,
    labels: LabelContent,
    builds: dict[str, tuple[Place, Manifest]],
    shards: Sequence[Place],
    *,
    with_published: bool,
) -> TaskPage:
    manifest, strips = _draw_strips(content, builds)
    # Scores on synthetic data, or by other labels, do not compare with published ones.
    is_real = with_published and (manifest is None or not manifest.inputs.is_synthetic)
    is_real = is_real and not any(run.first.is_rebuilt for run in content.runs)
    results = result_tables(content, with_published=is_real and not labels.choice.is_rebuilt)
    sets = [set_table(content), *([shared_table(content)] if content.shared else [])]
    title = f", labels {labels.choice.main.title}" if labels.choice.is_rebuilt else ""
    tables = [replace(table, title=f"{table.title}{title}") for table in (*results, *sets)]
    return TaskPage(
        content=content,
        labels=labels,
        with_published=is_real,
        tables={table.name: table for table in (*tables, *label_tables(labels, with_published=is_real))},
        skill=tuple(draw_skill(content)),
        training=tuple(draw_training(content)),
        timelines=tuple(draw_timelines(content)),
        strips=strips,
        explanations={},
        manifest=manifest,
        no_build=_explain_absent(content, builds, shards) if manifest is None else "",
    )


def _draw_strips(
    content: TaskContent, builds: dict[str, tuple[Place, Manifest]]
) -> tuple[Manifest | None, dict[Example, bytes]]:
    """Draw the examples from the build of the networks or, without networks, from the first that has them all.

    Returns
    -------
    the manifest of the build, or None if there is none, and the film strips of those examples that it has
    """
    trained_on = {run.first.manifest_sha256 for run in content.runs} - {None}
    for sha256, (place, manifest) in builds.items():
        if sha256 in trained_on or (not trained_on and manifest.task == content.task):
            with open_build(place) as build:
                rows = {one: find_row(build, one) for one in content.examples}
                if trained_on or None not in rows.values():
                    return manifest, {one: draw_strip(build, row) for one, row in rows.items() if row is not None}
    return None, {}


def _format_files(page: TaskPage) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a task by their names in the folder: numbers as CSV, tables as shown, figures."""
    for name, text in format_tables(page.content).items():
        yield f"tables/{name}", text.encode("utf-8", "backslashreplace")
    if page.labels.by_labels:
        text = format_labelled(page.labels.by_labels)
        yield f"tables/{page.content.task}-label-sets.csv", text.encode("utf-8", "backslashreplace")
    for table in page.tables.values():
        for suffix, formatted in (("md", format_markdown(table)), ("tex", format_latex(table))):
            name = f"tables/{page.content.task}-{table.name}.{suffix}"
            yield name, formatted.encode("utf-8", "backslashreplace")
    for figure in (*page.skill, *page.training, *page.timelines):
        for suffix, data in figure.files.items():
            yield f"figures/{figure.name}.{suffix}", data
    for sequence, picture in page.explanations.items():
        yield f"figures/{page.content.task.folder}-explanation-{SequenceId.parse(sequence).stem}.png", picture
