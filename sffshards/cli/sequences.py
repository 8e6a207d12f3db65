"""`sffshards sequences`: the published sequence lists and Seqs16 files of label lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sffshards import labels
from sffshards.base.errors import format_count
from sffshards.base.option_fields import Option
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import make_progress, show
from sffshards.domain.sample_sets import Part

__all__ = ["sequences"]


def sequences(
    lists: Annotated[list[Path], typer.Argument(help="Label lists; sequence lists and *_orig.txt are skipped.")],
    out: Annotated[Path, Option("Folder to write to.")] = Path("seqs"),
    files: Annotated[bool, Option("Also write one file per sequence into Seqs16/.", flag="--files/--no-files")] = True,
    force: shared.ForceOption = False,
) -> None:
    """Write sequence lists in the published format.

    Each row of a label list yields one sequence: its frame and up to 15 preceding frames of the same HARP. The output
    is a list of sequences, Seq16_*.txt, and one file of frame names per sequence in Seqs16/. `build` does not need
    these files; the published programs do.

    Examples
    --------
    sffshards sequences data/M48/*.txt
        the sequence lists of all parts, into seqs/
    sffshards sequences my_list.txt --out my_seqs
        the sequence list of your own label list
    """
    from sffshards.domain.sequence_table import build_sequences  # with NumPy, which --help does without

    # All lists are read before anything is written, so that a malformed list leaves no partial output.
    skipped = {path: reason for path in lists if (reason := _why_not(path.name)) is not None}
    rows = {path: labels.read_label_list(path) for path in lists if path not in skipped}
    all_made = {path: build_sequences(labelled, part=Part.TEST) for path, labelled in rows.items()}
    progress = make_progress()
    with labels.claimed_outputs(out, all_made, files=files, force=force, progress=progress):
        for path, made in all_made.items():
            if files:
                with progress.task(f"Write {out / 'Seqs16'}", len(made)) as advance:
                    labels.write_sequence_files(out / labels.SEQUENCE_FOLDER, made, advance=advance)
            written = out / labels.sequence_list_name(path)
            labels.write_sequence_list(written, made)
            num_positive = int(made.labels.sum())
            show(f"{written}: {format_count(len(made), 'sequence')}, {num_positive:,} positive")
    for path, reason in skipped.items():
        show(f"{path}: skipped, {reason}")


def _why_not(name: str) -> str | None:
    """Return why a file is skipped, or None; the published folders hold more than the lists of the parts."""
    if name.startswith(labels.SEQUENCE_LIST_PREFIX):
        return "a sequence list already"
    if name.endswith("_orig.txt"):
        return "all parts in one, whose sequences would cross from one part into the next"
    return None
