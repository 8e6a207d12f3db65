"""Sequences to forecast, from images with published names or from a list of sequences.

Labels are ignored; a record that needs one has 0.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from sffshards.base.atomic_files import read_text, storage_errors
from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_sequences import (
    NUM_FRAMES,
    PUBLISHED_WINDOWS,
    Sequence,
    SequenceId,
    WindowRule,
    build_sequences,
)
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId, LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.labels import IMAGE_FOLDER, SEQUENCE_FOLDER


def find_image_folder(folder: Path) -> Path:
    """Return the folder of images: ``magnetogram_jpg`` in the named folder if there is one, else the folder itself."""
    within = folder / IMAGE_FOLDER
    return within if within.is_dir() else folder


def find_image_sequences(
    folder: Path, *, every: bool, windows: WindowRule = PUBLISHED_WINDOWS, progress: Progress
) -> list[Sequence]:
    """Return the sequences of the images in a folder: up to 16 frames of one HARP, in order of time.

    Parameters
    ----------
    folder
        Folder of images named ``<frame name>.fits.jpg``; other images are ignored and counted.
    every
        Whether to return a sequence that ends at every image, or only the latest of each HARP.
    windows
        Longest gap within a sequence, at which it is cut, and what to do with short ones.
    progress
        Receives notes about ignored images and dropped sequences.

    Returns
    -------
    sequences by HARP and time; short ones repeat frames up to 16, as in training

    Raises
    ------
    InputError
        If there are no such images, or no sequence is long enough.
    """
    with storage_errors(folder, expected="a folder of images"):
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(IMAGE_SUFFIX))
    frames, num_other = [], 0
    for name in names:
        try:
            frames.append(FrameId.parse(name.removesuffix(IMAGE_SUFFIX)))
        except InputError:
            num_other += 1
    if num_other:
        progress.note(f"{folder}: {format_count(num_other, 'image')} with other names ignored")
    if not frames:
        raise InputError(
            folder,
            expected=f"images named hmi.sharp_720s.<HARP>.<yyyymmdd_hhmmss>_TAI.magnetogram{IMAGE_SUFFIX}",
            found=f"{num_other} of other names" if num_other else "none",
            fix="name their folder with {images}",
        )
    rows = [LabelledFrame(frame=frame, label=0, row=row) for row, frame in enumerate(sorted(frames))]
    sequences = build_sequences(rows, part=Part.TEST, windows=windows)
    harps = {row.frame.harp for row in rows} - {sequence.harp for sequence in sequences}
    note_dropped(folder, len(rows) - len(sequences), harps, is_empty=not sequences, progress=progress)
    return sequences if every else list({sequence.harp: sequence for sequence in sequences}.values())


def read_sequence_list(
    path: Path, *, windows: WindowRule = PUBLISHED_WINDOWS, progress: Progress = SILENT
) -> list[Sequence]:
    """Read a sequence list, with or without labels, and the frames of each sequence from ``Seqs16/`` beside it.

    Parameters
    ----------
    path
        A text file with lines ``<sequence name>`` or ``<sequence name> <0|1>``.
    windows
        Which sequences to leave out, as too short or with too long a gap.
    progress
        Receives a note about sequences that are left out.

    Returns
    -------
    sequences by HARP and time, each once

    Raises
    ------
    InputError
        If the list is empty, a line is not the name of a sequence, or its file is missing or of another sequence; or if
        no sequence is long enough.
    """
    sequences: dict[str, Sequence] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}:{number}"
        if len(fields) > 2 or (len(fields) == 2 and fields[1] not in ("0", "1")):
            raise InputError(
                where, expected="a sequence name", found=repr(line[:120]), fix="correct or remove the line"
            )
        SequenceId.parse(fields[0], where=where)
        sequences[fields[0]] = _read_sequence(path.parent / SEQUENCE_FOLDER / fields[0], row=number - 1)
    if not sequences:
        raise InputError(path, expected="at least one sequence name", found="none", fix="restore the list")
    kept = [
        sequence
        for sequence in sequences.values()
        if windows.keeps(num_distinct=sequence.num_distinct, longest_gap_minutes=max(sequence.gaps_minutes))
    ]
    harps = {sequence.harp for sequence in sequences.values()} - {sequence.harp for sequence in kept}
    note_dropped(path, len(sequences) - len(kept), harps, is_empty=not kept, progress=progress)
    return sorted(kept, key=lambda sequence: (sequence.harp, sequence.t_end_tai))


def note_dropped(
    where: object, num_dropped: int, harps: Collection[int], *, is_empty: bool, progress: Progress
) -> None:
    """Report how many sequences were left out as too short or with too long a gap, and which HARPs have none left.

    Raises
    ------
    InputError
        If no sequence is left.
    """
    if is_empty:
        raise InputError(
            Field("min_frames"),
            expected=f"a sequence of enough frames in {where}",
            found=f"none of {num_dropped:,}",
            fix="lower {min_frames}, or allow longer gaps with {max_gap_minutes}",
        )
    if num_dropped:
        gone = f"; none is left of HARP {', '.join(map(str, sorted(harps)))}" if harps else ""
        dropped = format_count(num_dropped, "sequence")
        progress.note(f"{where}: {dropped} left out, too few frames or too long a gap{gone}")


def _read_sequence(path: Path, *, row: int) -> Sequence:
    if not path.is_file():
        raise InputError(
            path,
            expected=f"a file with the {NUM_FRAMES} frames of the sequence",
            found="no such file",
            fix="write the files with `sffshards sequences`, and keep them in Seqs16/ beside the list",
        )
    lines = read_text(path).split()
    frames = tuple(FrameId.parse(name, where=f"{path}:{number}") for number, name in enumerate(lines, start=1))
    try:
        sequence = Sequence(frames=frames, label=0, part=Part.TEST, row=row)
    except ValueError as error:
        raise InputError(path, expected=f"{NUM_FRAMES} frames of a HARP", found=str(error), fix="restore it") from None
    if sequence.name != path.name:
        found = f"those of {sequence.name}"
        raise InputError(path, expected="the frames that its name states", found=found, fix="restore the file")
    return sequence
