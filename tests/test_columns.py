"""Frames, rows and sequences as columns, against plain Python."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sffshards.domain import frame_codes
from sffshards.domain.frame_sequences import OnShort, Sample, WindowRule
from sffshards.domain.frames import FrameId
from sffshards.domain.labelled_frames import LabelledFrame, LabelledFrames
from sffshards.domain.sample_sets import Part
from sffshards.domain.sequence_table import SampleTable, SequenceTable, build_sequences
from sffshards.domain.views import View

FRAMES = st.builds(
    FrameId,
    harp=st.integers(1, 999_999_999),
    t_rec_tai=st.datetimes(datetime(1970, 1, 1), datetime(2241, 12, 31)).map(lambda time: time.replace(microsecond=0)),
)


@given(FRAMES)
def test_a_code_states_harp_and_time_and_gives_the_name_back(frame):
    code = frame_codes.code_of(frame)
    assert (code >> 33, code & (1 << 33) - 1) == (frame.harp, (frame.t_rec_tai - datetime(1970, 1, 1)).total_seconds())
    assert frame_codes.frame_of(code) == frame
    assert frame_codes.name_of(code) == frame.name
    assert frame_codes.parse_code(frame.name) == code
    assert frame_codes.parse_code(frame.name, latest=frame.t_rec_tai) == code
    if frame.t_rec_tai > datetime(1970, 1, 1):
        assert frame_codes.parse_code(frame.name, latest=frame.t_rec_tai - timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    "stamp", ["20110230_000000", "20110213_240000", "20110213_006000", "20110213_000060", "19691231_235959"]
)
def test_a_time_that_no_frame_has_gives_no_code(stamp):
    assert frame_codes.parse_code(f"hmi.sharp_720s.377.{stamp}_TAI.magnetogram") is None


def test_a_frame_after_the_last_code_is_refused():
    with pytest.raises(ValueError, match="years 1970 to 2241"):
        frame_codes.code_of(FrameId(harp=1, t_rec_tai=datetime(2951, 2, 13)))


@given(st.lists(FRAMES, unique=True, max_size=30))
def test_codes_are_put_in_the_order_of_names(frames):
    codes = frame_codes.codes_of(frames)
    ordered = list(frame_codes.iterate_names(frame_codes.sort_by_name(codes)))
    assert ordered == sorted(frame.name for frame in frames)
    known = np.sort(codes[::2])
    found = frame_codes.find_codes(known, codes)
    assert [known[place] if place >= 0 else None for place in found] == [
        code if code in set(known.tolist()) else None for code in codes.tolist()
    ]


ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 400), st.integers(0, 1)), max_size=120, unique_by=lambda row: row[:2]
)
RULES = st.builds(
    WindowRule,
    max_gap_minutes=st.none() | st.integers(1, 3000),
    min_frames=st.integers(1, 16),
    on_short=st.sampled_from(OnShort),
)


def plain_windows(rows, rule):
    """Cut windows row by row: the row's number, its label, and the frames before it that it may show."""
    runs: dict[int, deque[FrameId]] = {}
    for row in rows:
        run = runs.setdefault(row.frame.harp, deque(maxlen=16))
        minutes = (row.frame.t_rec_tai - run[-1].t_rec_tai).total_seconds() / 60 if run else 0
        if rule.max_gap_minutes is not None and minutes > rule.max_gap_minutes:
            run.clear()
        run.append(row.frame)
        if rule.on_short is OnShort.KEEP or len(run) >= rule.min_frames:
            yield row.row, row.label, [run[int(slot * len(run) / 16)] for slot in range(16)]


def labelled(rows):
    return [
        LabelledFrame(
            frame=FrameId(harp=harp, t_rec_tai=datetime(2011, 1, 1) + timedelta(minutes=12 * n)), label=label, row=row
        )
        for row, (harp, n, label) in enumerate(rows)
    ]


@given(ROWS, RULES)
def test_sequences_are_those_that_are_cut_row_by_row(rows, rule):
    table = build_sequences(labelled(rows), part=Part.TRAIN_VAL_3, windows=rule)
    assert [(s.row, s.label, list(s.frames)) for s in table] == list(plain_windows(labelled(rows), rule))
    assert {s.part for s in table} <= {Part.TRAIN_VAL_3}
    assert [s.num_distinct for s in table] == table.counts.tolist()
    assert [s.harp for s in table] == table.harps.tolist()
    assert [s.t_end_tai for s in table] == table.end_times.tolist()


@given(ROWS, ROWS, st.data())
def test_a_table_is_the_list_of_its_sequences(first, second, data):
    rule = WindowRule(max_gap_minutes=1000, min_frames=2, on_short=OnShort.DROP)
    parts = {Part.TRAIN_VAL_0: labelled(first), Part.TEST: labelled(second)}
    table = SequenceTable.join(build_sequences(rows, part=part, windows=rule) for part, rows in parts.items())
    plain = list(table)
    assert [s.part for s in plain] == sorted((s.part for s in plain), key=list(Part).index)
    shown = {frame for s in plain for frame in s.frames}
    assert table.frames_shown().tolist() == sorted(map(frame_codes.code_of, shown))
    bad = {frame for frame in shown if data.draw(st.booleans())}
    left = table.without(frame_codes.codes_of(bad))
    assert list(left) == [s for s in plain if not bad & set(s.frames)]
    chosen = data.draw(st.lists(st.integers(0, len(plain) - 1))) if plain else []
    for compact in (False, True):
        taken = table.take(np.array(chosen, np.int64), compact=compact)
        assert list(taken) == [plain[number] for number in chosen]
    assert len(taken.frames) == sum(plain[number].num_distinct for number in chosen)
    if plain:
        assert (table[-1], table[0], list(table[1:])) == (plain[-1], plain[0], plain[1:])


def test_samples_are_views_of_sequences():
    table = build_sequences(labelled([(7, n, n % 2) for n in range(3)]), part=Part.TEST)
    samples = SampleTable(table.take(np.array([2, 0, 1])), np.array([0, 5, 1], np.uint8))
    expected = [Sample(sequence=table[n], view=view) for n, view in ((2, View.NF), (0, View.R3), (1, View.HF))]
    assert list(samples) == expected
    assert samples[1] == expected[1]
    assert [key.decode() for key in samples.keys().tolist()] == [sample.key for sample in expected]
    assert list(SampleTable.merge([samples[:1], samples[1:]])) == expected


@given(ROWS)
def test_rows_of_a_list_are_kept_as_they_are(rows):
    plain = labelled(rows)
    table = LabelledFrames.of(plain)
    assert list(table) == plain
    assert [table[number] for number in range(len(plain))] == plain
    assert list(table[1::2]) == plain[1::2]
    assert list(LabelledFrames.join([table[:2], table[2:]])) == plain
    firsts = frame_codes.first_places(np.concatenate([table.codes, table.codes]))
    assert firsts.tolist() == [*range(len(plain)), *range(len(plain))]
