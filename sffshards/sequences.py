"""Windows of sixteen frames that end at the rows of a label list, as the published program cuts them or stricter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sffshards.atomic import storage_errors, temporary_path, write_atomic
from sffshards.errors import ConflictError
from sffshards.names import SEQUENCE_LIST_PREFIX, format_frame_name, format_sequence_name
from sffshards.records import NUM_FRAMES, PUBLISHED_WINDOWS, FrameId, LabelledFrame, OnShort, Part, Sequence, WindowRule

__all__ = [
    "SEQUENCE_FOLDER",
    "build_sequences",
    "check_outputs",
    "pad_short_run",
    "sequence_list_name",
    "write_sequence_files",
    "write_sequence_list",
]

SEQUENCE_FOLDER = "Seqs16"
"""Folder of the files of sequences, in the published layout."""


def build_sequences(
    rows: Iterable[LabelledFrame], *, part: Part, windows: WindowRule = PUBLISHED_WINDOWS
) -> list[Sequence]:
    """Make one sequence for every row: the last up to 16 rows of the same HARP, in the list's order.

    Parameters
    ----------
    rows
        The rows of one list. A list starts afresh, even in the middle of a HARP.
    part
        The part that the list is.
    windows
        After which gap in time a window starts afresh too, and whether short sequences are left out; as published:
        gaps are not looked at, and all are kept.

    Returns
    -------
    list of Sequence
        In the order of the rows: one a row, but for those that are left out.
    """
    runs: dict[int, deque[FrameId]] = {}
    sequences = []
    for labelled in rows:
        window = runs.setdefault(labelled.frame.harp, deque(maxlen=NUM_FRAMES))
        if window and _is_gap(window[-1], labelled.frame, windows):
            window.clear()
        window.append(labelled.frame)
        if windows.on_short is OnShort.DROP and len(window) < windows.min_frames:
            continue
        frames = pad_short_run(tuple(window))
        sequences.append(Sequence(frames=frames, label=labelled.label, part=part, row=labelled.row))
    return sequences


def _is_gap(before: FrameId, after: FrameId, windows: WindowRule) -> bool:
    if windows.max_gap_minutes is None:
        return False
    return (after.t_rec_tai - before.t_rec_tai).total_seconds() > 60 * windows.max_gap_minutes


def pad_short_run(frames: tuple[FrameId, ...]) -> tuple[FrameId, ...]:
    """Stretch a run of 1 to 16 frames to 16 slots: slot i takes frame ``int(i * n / 16)`` of n."""
    return tuple(frames[slot * len(frames) // NUM_FRAMES] for slot in range(NUM_FRAMES))


def check_outputs(out: Path, made: Mapping[Path, Iterable[Sequence]], *, files: bool, force: bool) -> None:
    """Refuse to write, for several lists, what would overwrite one another or what is there.

    Parameters
    ----------
    out
        Folder to write to.
    made
        The sequences of each label list.
    files
        Whether a file a sequence is to be written, too.
    force
        Whether files that are there may be replaced.

    Raises
    ------
    ConflictError
        If two lists would write the same file otherwise, or a file of other content is there and not ``force``.
    """
    wanted: dict[Path, tuple[str, Path]] = {}
    for label_list, sequences in made.items():
        texts = [(out / sequence_list_name(label_list), _format_list(sequences))]
        if files:
            texts += [(out / SEQUENCE_FOLDER / format_sequence_name(s), _format_file(s)) for s in sequences]
        for path, text in texts:
            other_text, other_list = wanted.setdefault(path, (text, label_list))
            if other_text != text:
                raise ConflictError(
                    path,
                    expected="one list that makes it",
                    found=f"{other_list} and {label_list}, which differ",
                    fix="give the lists one after the other, each with a folder of its own in --out",
                )
    for path, (text, _) in wanted.items() if not force else ():
        with storage_errors(path):
            if path.exists() and path.read_bytes() != text.encode("ascii"):
                raise ConflictError(
                    path,
                    expected="no such file, or the same",
                    found="one of other content",
                    fix="name another folder with --out, or replace it with --force",
                )


def write_sequence_list(path: Path, sequences: Iterable[Sequence]) -> None:
    """Write a published sequence list: ``<sequence name> <0|1>`` a line, each ended by a newline."""
    write_atomic(path, _format_list(sequences).encode("ascii"))


def write_sequence_files(
    folder: Path, sequences: Iterable[Sequence], *, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Write the published ``Seqs16`` files: a file a sequence, 16 frame names joined by newlines, none at the end.

    Parameters
    ----------
    folder
        Where to; made if absent.
    sequences
        What to write.
    advance
        Called with 1 after every file.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for sequence in sequences:
            text = _format_file(sequence)
            name = format_sequence_name(sequence)
            temporary = temporary_path(folder / name)
            temporary.write_text(text, encoding="ascii")
            temporary.replace(folder / name)
            advance(1)


def sequence_list_name(label_list: Path) -> str:
    """Give the published name of the sequence list made from a label list."""
    return f"{SEQUENCE_LIST_PREFIX}{label_list.name}"


def _format_list(sequences: Iterable[Sequence]) -> str:
    return "".join(f"{format_sequence_name(sequence)} {sequence.label}\n" for sequence in sequences)


def _format_file(sequence: Sequence) -> str:
    return "\n".join(format_frame_name(frame) for frame in sequence.frames)
