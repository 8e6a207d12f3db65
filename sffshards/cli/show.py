"""`sffshards show`: the contact sheet of a sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.domain.frame_sequences import SequenceId
from sffshards.shards import read

__all__ = ["show"]


def show(
    sequence: Annotated[
        str | None, typer.Argument(help="Sequence name or sample key.  [default: the first positive of Test]")
    ] = None,
    shards: shared.ShardsOption = "shards",
    horizon: shared.HorizonOption = None,
    threshold: shared.ThresholdOption = None,
    out: Annotated[Path | None, Option("PNG file to write.", default_text="<key>.png in the current folder")] = None,
    force: shared.ReplaceOption = False,
) -> None:
    """Draw a sequence as a contact sheet.

    The sheet shows its 16 frames with times and gaps, its label and its views.

    Examples
    --------
    sffshards show
        the first positive sequence of the test part
    sffshards show hmi.sharp_720s.377.20110213_000000_TAI.to.20110214_000000_TAI
        one by its published name
    sffshards show harp00377-20110213T000000-20110214T000000 --out sheet.png
        one by its key
    """
    chosen = None if sequence is None else SequenceId.parse(sequence)
    folder, _ = shared.choose_build(shared.place_of(shards), shared.parse_task_choice(horizon, threshold))
    with read.open_build(folder) as build:
        print(read.write_sheet(build, sequence=chosen, out=out, force=force))
