"""Published names, and the keys of samples."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sffshards.base.errors import InputError
from sffshards.domain.frame_sequences import Sequence, SequenceId, parse_key
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.views import View

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(lambda t: t.replace(microsecond=0))
FRAMES = st.builds(lambda harp, t: FrameId(harp=harp, t_rec_tai=t), st.integers(1, 999_999_999), TIMES)


def sequence_of(*frames: FrameId) -> Sequence:
    padded = [frames[i * len(frames) // 16] for i in range(16)]
    return Sequence(frames=tuple(padded), label=0, part=Part.TEST, row=0)


def test_frame_name_has_the_published_form():
    frame = FrameId(harp=377, t_rec_tai=datetime(2011, 2, 13, 1, 36))
    assert frame.name == "hmi.sharp_720s.377.20110213_013600_TAI.magnetogram"


def test_sequence_name_and_key_have_the_published_forms():
    first, last = (FrameId(harp=377, t_rec_tai=datetime(2011, 2, day)) for day in (13, 14))
    sequence = sequence_of(first, last)
    assert sequence.name == "hmi.sharp_720s.377.20110213_000000_TAI.to.20110214_000000_TAI"
    assert sequence.id.key(View.R2) == "harp00377-20110213T000000-20110214T000000-r2"


@given(FRAMES)
def test_a_frame_name_parses_back(frame):
    assert FrameId.parse(frame.name) == frame


@given(FRAMES, st.sampled_from(list(View)))
def test_a_key_holds_no_dot_and_parses_back(frame, view):
    sequence = sequence_of(frame)
    key = sequence.id.key(view)
    assert "." not in key
    assert len(key) <= 48
    assert parse_key(key) == (
        SequenceId(harp=frame.harp, t_start_tai=frame.t_rec_tai, t_end_tai=frame.t_rec_tai),
        view,
    )
    assert parse_key(key)[0].name == sequence.name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hmi.sharp_720s.377.20110213_000000_TAI.magnetogram.fits.jpg",
        "hmi.sharp_720s.0377.20110213_000000_TAI.magnetogram",
        "hmi.sharp_720s.0.20110213_000000_TAI.magnetogram",
        "hmi.sharp_720s.377.20110230_000000_TAI.magnetogram",
        "hmi.sharp_720s.377.20110213_250000_TAI.magnetogram",
        "hmi.sharp_720s.377.20110213_000000_UTC.magnetogram",
        "hmi.sharp_720s.٣٧٧.20110213_000000_TAI.magnetogram",
        "../../etc/passwd",
    ],
)
def test_what_is_no_frame_name_is_refused_with_its_place(text):
    with pytest.raises(InputError, match=r"^list\.txt:7: expected a name of the form"):
        FrameId.parse(text, where="list.txt:7")


def test_a_frame_of_long_before_the_mission_is_refused():
    with pytest.raises(InputError, match=r"list\.txt:7: expected a year from 1970 on, .*; correct or remove the line"):
        FrameId.parse("hmi.sharp_720s.377.19691231_235959_TAI.magnetogram", where="list.txt:7")


def test_a_sequence_is_found_by_its_name_its_key_or_its_key_without_view():
    key = "harp00377-20110213T000000-20110214T000000"
    for text in ("hmi.sharp_720s.377.20110213_000000_TAI.to.20110214_000000_TAI", key, f"{key}-hf"):
        assert SequenceId.parse(text).stem == key
    with pytest.raises(InputError, match="expected a sequence name"):
        SequenceId.parse("harp377")
