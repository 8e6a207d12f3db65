"""`sffshards import`: a table of forecasts by another system as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sffshards import labels as label_lists
from sffshards.base.option_fields import Option
from sffshards.cli import flare_options, forecast_options
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress, print_result
from sffshards.domain.sample_sets import Protocol
from sffshards.forecasting import imported

__all__ = ["import_"]


def import_(
    forecasts: forecast_options.ForecastsArgument,
    name: forecast_options.NameOption,
    labels: forecast_options.LabelFolderOption = Path("data"),
    task: forecast_options.TaskOption = None,
    horizon: shared.HorizonOption = None,
    threshold: shared.ThresholdOption = None,
    time_scale: forecast_options.TimeScaleOption = None,
    harp_map: flare_options.HarpMapOption = None,
    tolerance: forecast_options.ToleranceOption = 0,
    climatology: forecast_options.ClimatologyOption = None,
    protocol: shared.ProtocolOption = Protocol.PAPER,
    out: Annotated[Path, Option("Folder for the runs; the run is in a subfolder, such as 48h/other.")] = Path("runs"),
    force: Annotated[bool, Option("Replace a run of other options.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Import a table of forecasts as a run, from any system.

    The table and its times are read, and joined to labels, as `sffshards score` does. The forecasts are written to
    the folds of a run, which `evaluate` and `report` treat like that of a network. A table without a column of folds is
    used for all five folds. Thresholds and a calibration are fitted to each fold's validation part if the table
    forecasts it; without, the threshold is 0.5.

    Examples
    --------
    sffshards import forecasts.csv --name other
        into runs/48h/other, if the lists in data/ are those of M48
    sffshards import swpc.csv --name swpc --task M24 --harp-map harps.txt --time-scale utc --tolerance 90
        forecasts by NOAA region, up to 90 minutes before each label
    """
    forecast_options.check_name(name)
    found = label_lists.find_label_lists(labels)
    chosen = forecast_options.choose_task(found, task, horizon, threshold, where=labels)
    known = label_lists.read_parts(found[chosen])
    table = forecast_options.read_table(forecasts, chosen, time_scale=time_scale, harp_map=harp_map, labels=labels)
    joined = imported.join_labels(table, known, tolerance_minutes=tolerance)
    run = out / chosen.folder / name
    imported.import_run(
        joined,
        known,
        run,
        options=imported.ImportOptions(
            task=chosen, name=name, protocol=protocol, tolerance_minutes=tolerance, climatology=climatology
        ),
        sources=[forecasts, *found[chosen].values(), *([] if harp_map is None else [harp_map])],
        force=force,
        progress=make_progress(),
    )
    lines = [*forecast_options.format_joined(joined), f"{run}: imported; score with `sffshards evaluate {run}`"]
    described = {"format_version": 1, "run": str(run), "task": chosen.name, **imported.describe_joined(joined)}
    print_result("\n".join(lines), described, as_json=as_json)
