"""Contact sheets: the frames of a sequence of a build, with times, gaps, label and views."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sffshards.base.atomic_files import write_files
from sffshards.base.errors import InputError, format_count
from sffshards.base.package_faces import accepts_text
from sffshards.domain.frame_sequences import NUM_FRAMES, SequenceId, parse_key
from sffshards.domain.frames import FRAME_SIDE
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import Task
from sffshards.domain.views import View
from sffshards.shards.format import VIEWS, SampleMeta
from sffshards.shards.read.build_reader import Build

_COLUMNS = 4
_MARGIN = 12
_CAPTION = 34
_TITLE = 76
_VIEW_SIDE = 144
_INK, _FAINT, _PAPER = (24, 24, 28), (110, 110, 118), (255, 255, 255)
_ALARM, _QUIET = (178, 34, 34), (40, 90, 160)
_font = ImageFont.load_default


@accepts_text
def write_sheet(build: Build, *, sequence: SequenceId | None, out: Path | None, force: bool = False) -> Path:
    """Write the contact sheet of a sequence as a PNG file.

    Parameters
    ----------
    build
        The build that holds the sequence.
    sequence
        The sequence to draw; None for the first positive of the test part, or else the first sample.
    out
        File to write; None for ``<key>.png`` in the current folder.
    force
        Whether to replace a file of other content.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    InputError
        If the build has no such sequence.
    ConflictError
        If a file of other content is there and not ``force``.
    """
    rows = find_samples(build, sequence)
    path = out if out is not None else Path(f"{_sequence_of(build, rows[0]).stem}.png")
    if not path.name or path.is_dir():
        raise InputError(path, expected="the name of a PNG file", found="a folder", fix="name a file as {out}")
    png = io.BytesIO()
    draw_sheet(build, rows).save(png, "PNG")
    write_files({path: png.getvalue()}, force=force)
    return path


def find_samples(build: Build, sequence: SequenceId | None) -> list[int]:
    """Return the index rows of all views of a sequence, the plain one first.

    Parameters
    ----------
    build
        The build to search.
    sequence
        The sequence; None for the first positive of the test part, or else the first sample.

    Raises
    ------
    InputError
        If the build has no such sequence.
    """
    if sequence is None:
        test = build.group_rows([f"{Part.TEST}/base"])
        positive = test[build.index["label"][test] == 1]
        sequence = _sequence_of(build, int(positive[0]) if len(positive) else 0)
    keys = [sequence.key(view).encode("ascii") for view in View]
    found = [int(row) for key in keys for row in np.flatnonzero(build.index["key"] == key)]
    if not found:
        fix = "list the keys with `sffshards info --keys`, or choose another build as {shards}"
        raise InputError(build.folder, expected=f"sequence {sequence.name}", found="none of that name", fix=fix)
    return found


def draw_sheet(build: Build, rows: list[int]) -> Image.Image:
    """Draw the sheet of the samples of one sequence, the plain view first."""
    meta = build.read_meta(rows[0])
    cell_width, cell_height = FRAME_SIDE + _MARGIN, FRAME_SIDE + _CAPTION + _MARGIN
    frames_height = (NUM_FRAMES // _COLUMNS) * cell_height
    width = 2 * _MARGIN + _COLUMNS * cell_width + _VIEW_SIDE
    sheet = Image.new("RGB", (width, _TITLE + frames_height + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_title(draw, meta, task=build.manifest.task)
    clip = build.read_clip(rows[0])
    for slot, (time, since) in enumerate(_format_captions(meta)):
        left = _MARGIN + (slot % _COLUMNS) * cell_width
        top = _TITLE + (slot // _COLUMNS) * cell_height
        sheet.paste(Image.fromarray(clip[slot]), (left, top))
        draw.text((left, top + FRAME_SIDE + 2), time, fill=_INK, font=_font(14))
        draw.text((left, top + FRAME_SIDE + 18), since, fill=_FAINT, font=_font(12))
    _draw_views(sheet, draw, build, rows, left=_MARGIN + _COLUMNS * cell_width)
    return sheet


def _sequence_of(build: Build, row: int) -> SequenceId:
    return parse_key(build.index[row]["key"].decode("ascii"))[0]


def _draw_title(draw: ImageDraw.ImageDraw, meta: SampleMeta, *, task: Task) -> None:
    outcome = task.event if meta.label else task.event.replace("a flare", "no flare", 1)
    colour = _ALARM if meta.label else _QUIET
    draw.text((_MARGIN, 10), meta.sequence, fill=_INK, font=_font(18))
    draw.text((_MARGIN, 34), f"label {meta.label}: {outcome}", fill=colour, font=_font(15))
    frames, gap = format_count(meta.num_distinct, "distinct frame"), _format_minutes(meta.longest_gap_minutes)
    facts = f"HARP {meta.harp}, part {meta.part}, {frames}, longest gap {gap}"
    draw.text((_MARGIN, 54), facts, fill=_FAINT, font=_font(13))


def _draw_views(sheet: Image.Image, draw: ImageDraw.ImageDraw, build: Build, rows: list[int], *, left: int) -> None:
    """Draw the last frame in every view of the sequence that the build holds."""
    draw.text((left, _TITLE - 20), "views, last frame", fill=_FAINT, font=_font(13))
    for position, row in enumerate(rows):
        top = _TITLE + position * (_VIEW_SIDE + 22)
        small = Image.fromarray(build.read_clip(row)[-1]).resize((_VIEW_SIDE, _VIEW_SIDE))
        sheet.paste(small, (left, top))
        draw.text((left, top + _VIEW_SIDE + 2), str(VIEWS[build.index[row]["view"]]), fill=_INK, font=_font(13))


def _format_captions(meta: SampleMeta) -> list[tuple[str, str]]:
    """Return two lines for every slot: its time, and the time since the previous slot."""
    times = [np.datetime64(time, "m") for time in meta.t_rec_tai]
    gaps = [int(gap) for gap in np.diff(times).astype(int)]
    since = ["first", *(f"+{_format_minutes(gap)}" if gap else "the same frame again" for gap in gaps)]
    return [(f"{str(time).replace('T', ' ')} TAI", text) for time, text in zip(times, since, strict=True)]


def _format_minutes(minutes: int) -> str:
    return f"{minutes} min" if minutes < 180 else f"{minutes / 60:.1f} h"
