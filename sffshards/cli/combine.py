"""`sffshards combine`: a run that combines the forecasts of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.base.option_fields import Option
from sffshards.cli import forecast_options
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import format_table, make_progress, print_result
from sffshards.forecasting import combinations

__all__ = ["combine"]


def combine(
    members: Annotated[list[Path], typer.Argument(help="Two or more evaluated runs of one task.")],
    name: forecast_options.NameOption,
    fold: Annotated[
        int | None, Option("Combine only this fold.", minimum=0, maximum=4, default_text="all, which must be the same")
    ] = None,
    out: Annotated[
        Path | None, Option("Folder that the run's folder is created in.", default_text="that of the first run")
    ] = None,
    force: Annotated[bool, Option("Replace a run of other options.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Combine the forecasts of runs by a logistic regression.

    The regression takes the logits of the members' probabilities. It is fitted in each fold, to the validation set
    only, and written to combination.json in the fold's folder. Validation is forecast by regressions that were fitted
    to its other regions, so that thresholds and calibration are not chosen on forecasts that know the labels.

    The members must have the same task, folds and samples; with --fold, they must have this fold. The result is a run,
    for `evaluate` and `report`.

    Examples
    --------
    sffshards combine runs/48h/oTV runs/48h/other --name both
        into runs/48h/both
    sffshards combine runs/48h/base runs/48h/keywords --fold 0 --name fold0
        one fold of runs that have others too
    """
    from sffshards.base.json_records import to_plain

    forecast_options.check_name(name)
    run = (members[0].parent if out is None else out) / name
    combined = combinations.combine_runs(
        members, run, name=name, folds=None if fold is None else [fold], force=force, progress=make_progress()
    )
    fitted = {fold.number: combinations.read_combination(fold).regression for fold in combined.folds}
    names = next(iter(fitted.values())).members
    rows = [
        [str(fold), f"{one.intercept:z.3f}", *(f"{weight:z.3f}" for weight in one.weights)]
        for fold, one in fitted.items()
    ]
    lines = [
        f"{run}: weights of the members' logits",
        format_table(["fold", "intercept", *names], rows),
        f"score with `sffshards evaluate {run}`",
    ]
    folds = [{"fold": fold, **to_plain(one)} for fold, one in fitted.items()]
    print_result("\n".join(lines), {"format_version": 1, "run": str(run), "folds": folds}, as_json=as_json)
