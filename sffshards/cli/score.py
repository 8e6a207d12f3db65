"""`sffshards score`: the scores of one table of forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sffshards import __version__, report, verification
from sffshards import labels as label_lists
from sffshards.base.atomic_files import write_files
from sffshards.base.errors import InputError, format_count
from sffshards.base.file_hashes import describe_files
from sffshards.base.option_fields import Option
from sffshards.base.output_checks import check_document
from sffshards.cli import flare_options, forecast_options
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import print_result, show
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.forecasting import imported, runs

__all__ = ["score"]

_FILE = "scores.json"


def score(
    forecasts: forecast_options.ForecastsArgument,
    labels: forecast_options.LabelFolderOption = Path("data"),
    task: forecast_options.TaskOption = None,
    horizon: shared.HorizonOption = None,
    threshold: shared.ThresholdOption = None,
    part: Annotated[Part, Option("Part whose labels the forecasts are scored against.")] = Part.TEST,
    time_scale: forecast_options.TimeScaleOption = None,
    harp_map: flare_options.HarpMapOption = None,
    tolerance: forecast_options.ToleranceOption = 0,
    at: Annotated[str, Option("Decision thresholds, such as 0.5,0.2, not chosen on the part that is scored.")] = "0.5",
    climatology: forecast_options.ClimatologyOption = None,
    out: Annotated[Path | None, Option(f"Folder for figures, tables and {_FILE}.")] = None,
    force: shared.ReplaceOption = False,
    markdown: Annotated[bool, Option("Print the table in Markdown.")] = False,
    latex: Annotated[bool, Option("Print the table in LaTeX.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Score a table of forecasts, from any system.

    The table is CSV, plain or .csv.gz, with columns for the region (harp, or noaa with --harp-map), time and
    probability, and optionally fold, task, horizon and threshold. Each forecast is joined to the label of its region
    and time; with --tolerance, to the first label up to so many minutes later. Rows that do not join are counted by
    reason; --json lists all. A column that holds labels or outcomes is refused.

    All scores are printed, with 95 % intervals from a jackknife over HARPs. --out also writes the reliability diagram,
    the ROC, precision and detection, and TSS and HSS by threshold.

    Examples
    --------
    sffshards score forecasts.csv --labels data --task M24
        scores of Test, with times that end with Z or _TAI
    sffshards score forecasts.csv.gz --horizon 48h --time-scale utc --out scored
        times in UTC, and figures
    sffshards score forecasts.csv --harp-map harps.txt --tolerance 60 --markdown
        forecasts by NOAA region, up to an hour before each label
    """
    formats = [flag for flag, chosen in (("--markdown", markdown), ("--latex", latex), ("--json", as_json)) if chosen]
    if len(formats) > 1:
        raise InputError(
            formats[0], expected="one format", found=f"{formats[1]} beside it", fix="leave one of them out"
        )
    if out is None:
        shared.refuse_ignored({"force": force or None}, because="without --out")
    thresholds = _parse_thresholds(at)
    found = label_lists.find_label_lists(labels)
    chosen = forecast_options.choose_task(found, task, horizon, threshold, where=labels)
    made_from = {
        "program": f"sffshards {__version__}",
        "task": chosen.name,
        "part": str(part),
        "thresholds": thresholds,
        "time_scale": None if time_scale is None else str(time_scale),
        "tolerance_minutes": tolerance,
        "climatology": climatology,
        "files": describe_files([forecasts, *found[chosen].values(), *([] if harp_map is None else [harp_map])]),
    }
    if out is not None:
        check_document(out / _FILE, made_from, force=force)
    known = label_lists.read_parts(found[chosen])
    table = forecast_options.read_table(forecasts, chosen, time_scale=time_scale, harp_map=harp_map, labels=labels)
    joined = imported.join_labels(table, known, parts=[part], tolerance_minutes=tolerance)
    others = [one for one in Part if one not in (part, Part.TEST)]
    rate = imported.find_climatology(known, parts=others) if climatology is None else climatology
    scores = imported.score_table(joined, part=part, climatology=rate, thresholds=thresholds)
    described = imported.describe_table_scores(scores, task=chosen) | {"made_from": made_from}
    shown = _build_table(scores, chosen)
    if out is not None:
        _write(out, scores, shown, described, task=chosen, force=force)
    if markdown or latex:
        show(report.format_markdown(shown) if markdown else report.format_latex(shown), end="")
        return
    lines = forecast_options.format_joined(joined)
    print_result("\n".join([report.format_text(shown), *lines]), described, as_json=as_json)


def _parse_thresholds(text: str) -> list[float]:
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        found = [-1.0]
    if not all(0 <= threshold <= 1 for threshold in found) or len(set(found)) < len(found):
        raise InputError(
            "--at", expected="thresholds from 0 to 1, each once", found=repr(text[:80]), fix="write 0.5,0.2"
        )
    return found


def _build_table(scores: imported.TableScores, task: Task) -> report.Table:
    first = scores.scores[0]
    title = (
        f"{task}: {scores.part}, {first.table.num_samples:,} samples, {first.table.num_positive:,} positive, of "
        f"{format_count(first.num_harps, 'HARP')}, {first.num_flaring_harps:,} of which flare; "
        f"{100 * verification.LEVEL:g} % intervals by HARP"
    )
    notes = [f"BSS is against a rate of flares of {first.climatology:.4g}."]
    if scores.of_folds:
        notes.append(f"The forecast is the mean of {format_count(len(scores.of_folds), 'fold')}.")
    return report.score_table(title, scores.scores, of_folds=list(scores.of_folds.values()), notes=notes)


def _write(
    out: Path,
    scores: imported.TableScores,
    shown: report.Table,
    described: dict[str, object],
    *,
    task: Task,
    force: bool,
) -> None:
    from sffshards.base.json_records import format_json

    contents = {
        out / _FILE: format_json(described),
        out / "scores.md": report.format_markdown(shown).encode(),
        out / "scores.tex": report.format_latex(shown).encode(),
    }
    for figure in report.draw_forecasts(task.name, [scores.forecast], kinds=[runs.RunKind.IMPORTED]):
        contents |= {out / f"{figure.name}.{suffix}": data for suffix, data in figure.files.items()}
    write_files(contents, force=force)
