"""`sffshards show`: the contact sheet of a sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards.cli.shared_options import (
    HorizonOption,
    ReplaceOption,
    ShardsOption,
    ThresholdOption,
    choose_build,
    parse_task_choice,
    place_of,
)

__all__ = ["EXAMPLES", "show"]

EXAMPLES = (
    ("sffshards show", "the first positive sequence of the test part"),
    ("sffshards show hmi.sharp_720s.377.20110213_000000_TAI.to.20110214_000000_TAI", "one by its published name"),
    ("sffshards show harp00377-20110213T000000-20110214T000000 --out sheet.png", "one by its key"),
)


def show(
    sequence: Annotated[
        str | None,
        typer.Argument(help="Sequence name or sample key.  [default: the first positive of Test]", show_default=False),
    ] = None,
    shards: ShardsOption = "shards",
    horizon: HorizonOption = None,
    threshold: ThresholdOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="PNG file to write.  [default: <key>.png in the current folder]", show_default=False),
    ] = None,
    force: ReplaceOption = False,
) -> None:
    """Draw a sequence as a contact sheet.

    The sheet shows its 16 frames with times and gaps, its label and its views.
    """
    from sffshards.domain.frame_sequences import SequenceId
    from sffshards.shards.read import open_build, write_sheet

    chosen = None if sequence is None else SequenceId.parse(sequence)
    folder, _ = choose_build(place_of(shards), parse_task_choice(horizon, threshold))
    with open_build(folder) as build:
        path = write_sheet(build, sequence=chosen, out=out, force=force)
    print(path)
