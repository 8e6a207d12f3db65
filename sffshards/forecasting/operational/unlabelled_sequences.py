"""Sequences to forecast, from images with published names or from a list of sequences.

Labels are ignored; a record that needs one has 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.csv_tables import check_rows
from sffshards.base.errors import Field, InputError, format_count
from sffshards.base.file_reading import decode_text, read_bytes, read_text, split_lines
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.frame_codes import harps_of, pack_codes, parse_code, times_of
from sffshards.domain.frame_sequences import (
    CADENCE_MINUTES,
    NUM_FRAMES,
    PUBLISHED_WINDOWS,
    OnShort,
    Sequence,
    SequenceId,
    WindowRule,
)
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId
from sffshards.domain.labelled_frames import LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.sequence_table import SequenceTable, build_sequences
from sffshards.labels import IMAGE_FOLDER, SEQUENCE_FOLDER, format_others, list_images
from sffshards.tabular import KeywordTable

_DENSE_MINUTES = CADENCE_MINUTES // 2
"""Largest median step of frames that are denser than those of training, of which not every one is taken."""
_TOLERANCE_MINUTES = 6
"""Half of the time between two records of SHARPs, by which frames may be closer than the cadence."""
_MAX_SEQUENCE_BYTES = 1 << 16
"""Largest size of the file of a sequence, which has 16 names of some 50 bytes."""


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
    sequences by HARP and time; short ones repeat frames up to 16, as in training. Of images that are much closer than
    those of training, such as every 12 minutes, each sequence takes those that are 96 minutes apart.

    Raises
    ------
    InputError
        If there are no such images, or no sequence is long enough.
    """
    codes = _find_frames(folder, progress=progress)
    return list(_form_sequences(codes, where=folder, every=every, windows=windows, progress=progress))


def find_table_sequences(
    table: KeywordTable, *, every: bool, windows: WindowRule = PUBLISHED_WINDOWS, progress: Progress
) -> SequenceTable:
    """Return the sequences of the frames of a table of keywords, as `find_image_sequences` does those of images."""
    harps, seconds = np.array(list(table.rows), np.int64).T
    codes = np.sort(pack_codes(harps, seconds.astype("datetime64[s]")))
    return _form_sequences(codes, where=table.source, every=every, windows=windows, progress=progress)


def _form_sequences(
    codes: NDArray[np.int64], *, where: object, every: bool, windows: WindowRule, progress: Progress
) -> SequenceTable:
    """Return a sequence that ends at every frame, or only the latest of each HARP, of frames in order."""
    if (step := _find_step(codes)) is not None and step <= _DENSE_MINUTES:
        progress.note(
            f"{where}: frames every {step} minutes; each sequence takes those {CADENCE_MINUTES} minutes apart"
        )
        sequences = _build_spaced(codes, windows=windows)
    else:
        sequences = build_sequences(_without_labels(codes), part=Part.TEST, windows=windows)
    harps = np.setdiff1d(harps_of(codes), sequences.harps).tolist()
    note_dropped(where, len(codes) - len(sequences), harps, is_empty=not len(sequences), progress=progress)
    if every:
        return sequences
    is_latest = np.append(sequences.harps[1:] != sequences.harps[:-1], True)
    return sequences.take(np.flatnonzero(is_latest))


def _find_step(codes: NDArray[np.int64]) -> int | None:
    """Return the median time in minutes between a frame and the next of its HARP; None if no HARP has two."""
    minutes = np.diff(times_of(codes)).astype(np.int64)[np.diff(harps_of(codes)) == 0] // 60
    return int(np.median(minutes)) if len(minutes) else None


def _build_spaced(codes: NDArray[np.int64], *, windows: WindowRule) -> SequenceTable:
    """Return a sequence that ends at every frame, of frames that are the cadence of training apart.

    Parameters
    ----------
    codes
        Codes of frames in ascending order: by HARP and time.
    windows
        Longest gap within a sequence, and what to do with short ones.
    """
    harps, seconds = harps_of(codes), times_of(codes).astype(np.int64)
    numbers = np.arange(len(codes))
    first = np.searchsorted(harps, harps)
    # HARPs are apart by more than the longest time, so that one search serves all.
    keys = seconds + np.unique(harps, return_inverse=True)[1] * (np.ptp(seconds) + 1 + 60 * CADENCE_MINUTES)
    before = np.searchsorted(keys, keys - 60 * (CADENCE_MINUTES - _TOLERANCE_MINUTES), side="right") - 1
    gaps = seconds - seconds[np.maximum(before, 0)]
    is_cut = (before < first) | (gaps > 60 * (windows.max_gap_minutes or np.inf))
    before[is_cut] = -1
    chain = [numbers]
    for _ in range(NUM_FRAMES - 1):
        chain.append(np.where(chain[-1] < 0, -1, before[chain[-1]]))
    frames_nT = np.stack(chain[::-1], axis=1)
    counts = (frames_nT >= 0).sum(axis=1)
    spaced = SequenceTable(
        codes[frames_nT[frames_nT >= 0]],
        last=(np.cumsum(counts) - 1).astype(np.int32),
        counts=counts.astype(np.uint8),
        labels=np.zeros(len(codes), np.uint8),
        rows=numbers.astype(np.uint32),
        parts=np.full(len(codes), list(Part).index(Part.TEST), np.uint8),
    )
    is_kept = (counts >= windows.min_frames) | (windows.on_short is OnShort.KEEP)
    return spaced.take(np.flatnonzero(is_kept))


def find_named_sequences(folder: Path, names: Iterable[SequenceId], *, progress: Progress) -> list[Sequence]:
    """Return the sequences of the images in a folder from the first to the last time that a name states.

    Parameters
    ----------
    folder
        Folder of images named ``<frame name>.fits.jpg``.
    names
        Names of the sequences.
    progress
        Receives a note about ignored images.

    Raises
    ------
    InputError
        If the images of the region between these times are not those of a sequence of that name.
    """
    codes = _find_frames(folder, progress=progress)
    return [_cut_sequence(folder, codes, name) for name in names]


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
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        check_rows(number, where=path)
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


def _find_frames(folder: Path, *, progress: Progress) -> NDArray[np.int64]:
    """Return the codes of the images in a folder, in ascending order; raises `InputError` if there are none."""
    names, others = list_images(folder)
    found = [parse_code(name.removesuffix(IMAGE_SUFFIX)) for name in names]
    codes = np.sort(np.array([code for code in found if code is not None], np.int64))
    if num_other := len(names) - len(codes):
        others["images of other names"] = others.get("images of other names", 0) + num_other
    if not len(codes):
        raise InputError(
            folder,
            expected=f"images named hmi.sharp_720s.<HARP>.<yyyymmdd_hhmmss>_TAI.magnetogram{IMAGE_SUFFIX}",
            found=format_others(others) or "none",
            fix="convert them with `sffshards ingest`" if "FITS files" in others else "name their folder with {images}",
        )
    if others:
        progress.note(f"{folder}: {format_others(others)} ignored")
    return codes


def _without_labels(codes: NDArray[np.int64]) -> LabelledFrames:
    return LabelledFrames(codes, np.zeros(len(codes), np.uint8), np.arange(len(codes), dtype=np.uint32))


def _cut_sequence(folder: Path, codes: NDArray[np.int64], name: SequenceId) -> Sequence:
    times = times_of(codes)
    is_between = (times >= np.datetime64(name.t_start_tai)) & (times <= np.datetime64(name.t_end_tai))
    some = codes[is_between & (harps_of(codes) == name.harp)]
    found = build_sequences(_without_labels(some), part=Part.TEST)[-1] if len(some) else None
    if found is None or found.id != name:
        raise InputError(
            folder,
            expected=f"the images of {name.name}, at most {NUM_FRAMES} from the first to the last",
            found=f"{format_count(len(some), 'image')} of HARP {name.harp} between these times",
            fix="name a sequence of these images, or pass the list that has it as {sequences}",
        )
    return found


def _read_sequence(path: Path, *, row: int) -> Sequence:
    if not path.is_file():
        raise InputError(
            path,
            expected=f"a file with the {NUM_FRAMES} frames of the sequence",
            found="no such file",
            fix="write the files with `sffshards sequences`, and keep them in Seqs16/ beside the list",
        )
    lines = decode_text(read_bytes(path, max_bytes=_MAX_SEQUENCE_BYTES), where=path).split()
    frames = tuple(FrameId.parse(name, where=f"{path}:{number}") for number, name in enumerate(lines, start=1))
    try:
        sequence = Sequence(frames=frames, label=0, part=Part.TEST, row=row)
    except ValueError as error:
        raise InputError(path, expected=f"{NUM_FRAMES} frames of a HARP", found=str(error), fix="restore it") from None
    if sequence.name != path.name:
        found = f"those of {sequence.name}"
        raise InputError(path, expected="the frames that its name states", found=found, fix="restore the file")
    return sequence
