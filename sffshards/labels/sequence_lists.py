"""The published sequence lists and ``Seqs16`` files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sffshards.base.atomic_files import check_replaceable, remove_temporary, replacing, write_atomic
from sffshards.base.errors import ConflictError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.domain.frame_sequences import Sequence

SEQUENCE_LIST_PREFIX = "Seq16_"
"""Prefix that a sequence list's file name adds to that of its label list."""

SEQUENCE_FOLDER = "Seqs16"
"""Name of the folder of sequence files in the published layout."""


_WRITTEN = re.compile(r"(Seq16_|hmi\.sharp_720s\.).+")
"""Names of files that are written here."""


def check_outputs(out: Path, made: Mapping[Path, Iterable[Sequence]], *, files: bool, force: bool) -> None:
    """Check that the sequences of several lists overwrite neither each other nor existing files.

    Parameters
    ----------
    out
        Folder to write to.
    made
        Sequences of each label list.
    files
        Whether one file per sequence is written as well.
    force
        Whether existing files may be replaced.

    Raises
    ------
    ConflictError
        If two lists need different content of one file, or a file of other content exists and not ``force``.
    """
    wanted: dict[Path, tuple[str, Path]] = {}
    for label_list, sequences in made.items():
        texts = [(out / sequence_list_name(label_list), _format_list(sequences))]
        if files:
            texts += [(out / SEQUENCE_FOLDER / s.name, _format_file(s)) for s in sequences]
        for path, text in texts:
            other_text, other_list = wanted.setdefault(path, (text, label_list))
            if other_text != text:
                raise ConflictError(
                    path,
                    expected="one list that writes it",
                    found=f"{other_list} and {label_list}, which differ",
                    fix="run the command for each list with a folder of its own in {out}",
                )
    check_replaceable({path: text.encode("ascii") for path, (text, _) in wanted.items()}, force=force)


@contextmanager
def claimed_outputs(
    out: Path, made: Mapping[Path, Iterable[Sequence]], *, files: bool, force: bool, progress: Progress
) -> Iterator[None]:
    """Hold a folder while sequences are written to it; temporary files that killed processes left there are removed.

    Parameters and errors are those of `check_outputs`; another process that is writing there is a `ConflictError`, too.
    """
    check_outputs(out, made, files=files, force=force)
    with folder_lock(out, progress=progress, wait=False):
        check_outputs(out, made, files=files, force=force)
        remove_temporary(out, _WRITTEN)
        remove_temporary(out / SEQUENCE_FOLDER, _WRITTEN)
        yield


def write_sequence_list(path: Path, sequences: Iterable[Sequence]) -> None:
    """Write a published sequence list: one line ``<sequence name> <0|1>`` per sequence, each ended by a newline."""
    write_atomic(path, _format_list(sequences).encode("ascii"))


def write_sequence_files(
    folder: Path, sequences: Iterable[Sequence], *, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Write the published ``Seqs16`` files, one per sequence: 16 frame names joined by newlines, none at the end.

    Parameters
    ----------
    folder
        Folder of the files, created if missing.
    sequences
        Sequences to write.
    advance
        Called with 1 after every file.
    """
    for sequence in sequences:
        with replacing(folder / sequence.name, sync=False) as temporary:
            temporary.write_text(_format_file(sequence), encoding="ascii")
        advance(1)


def sequence_list_name(label_list: Path) -> str:
    """Return the published name of the sequence list of a label list."""
    return f"{SEQUENCE_LIST_PREFIX}{label_list.name}"


def _format_list(sequences: Iterable[Sequence]) -> str:
    return "".join(f"{sequence.name} {sequence.label}\n" for sequence in sequences)


def _format_file(sequence: Sequence) -> str:
    return "\n".join(frame.name for frame in sequence.frames)
