"""Flare lists and the map of HARPs: what is read, what is set aside, and which flares lie around a frame."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from sffshards.base.errors import InputError
from sffshards.domain.task import GoesClass
from sffshards.flares import (
    Flare,
    FlareList,
    FlareTime,
    FrameClock,
    HarpMap,
    UnusedReason,
    assign_flares,
    has_flare,
    read_flare_list,
    read_harp_map,
    tai_to_utc,
    utc_to_tai,
)

M1 = GoesClass.parse("M1.0")
HEADER = "start_time,peak_time,label,noaa_ar"
X54 = "2012-03-07 00:02:00,2012-03-07 00:24:00,X5.4,11429"


def write(tmp_path, *lines, name="flares.csv"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


# Classes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "watts"), [("A5.0", 5e-8), ("B9.9", 9.9e-7), ("C1", 1e-6), ("M1.0", 1e-5), ("X28", 2.8e-3)]
)
def test_a_class_is_its_peak_flux(text, watts):
    assert GoesClass.parse(text).flux_pw_per_m2 * 1e-12 == pytest.approx(watts, rel=1e-12)


def test_classes_are_ordered_by_flux_and_print_as_they_are_read():
    names = ["A1.0", "B1.0", "B9.9", "C1.0", "C9.9", "M1.0", "M9.9", "X1.0", "X10.0", "X28.0"]
    assert sorted(names, key=GoesClass.parse) == names
    assert [str(GoesClass.parse(name)) for name in names] == names


@pytest.mark.parametrize("text", ["M", "5.4", "Z1.0", "M0.0", "M1.0.0", "", "M-1"])
def test_what_is_no_class_is_refused(text):
    with pytest.raises(InputError, match=r"expected a class such as M1\.0"):
        GoesClass.parse(text)


# TAI and UTC --------------------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1972, 1, 1, 0, 1), datetime(2025, 12, 31)))
def test_tai_agrees_with_astropy_at_any_time(time):
    utc = np.array([time.replace(microsecond=0)], "datetime64[s]")
    tai = np.array([Time(str(utc[0]), scale="utc").tai.isot[:19]], "datetime64[s]")
    assert utc_to_tai(utc) == tai
    assert tai_to_utc(tai) == utc


@pytest.mark.parametrize(
    ("day", "before", "after"), [("2012-07-01", 34, 35), ("2015-07-01", 35, 36), ("2017-01-01", 36, 37)]
)
def test_the_offset_changes_with_the_leap_second(day, before, after):
    midnight = np.datetime64(day, "s")
    eve = midnight - np.timedelta64(1, "s")
    assert (utc_to_tai(np.array([eve, midnight])) - np.array([eve, midnight])).astype(int).tolist() == [before, after]
    # 23:59:60 and 00:00:00 of the next day are two seconds of TAI, and one of a clock without leap seconds.
    tai = utc_to_tai(np.array([midnight]))
    assert tai_to_utc(tai - np.timedelta64(1, "s")) == tai_to_utc(tai) == midnight


@pytest.mark.parametrize("convert", [utc_to_tai, tai_to_utc])
def test_times_before_the_table_are_refused(convert):
    with pytest.raises(InputError, match="expected 1972 or later, found 1971-12-31"):
        convert(np.array(["1971-12-31", "2012-01-01"], "datetime64[s]"))


# Flare lists --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (HEADER, X54),
        (f",{HEADER},obs", f"7,{X54},G15"),
        (
            "event_starttime,event_peaktime,event_endtime,fl_goescls,ar_noaanum,frm_name",
            "2012-03-07T00:02:00.000,2012-03-07T00:24:00.000,2012-03-07T00:40:00.000,X5.4,1429,SWPC",
        ),
        ("begin_time,max_time,max_class,region", "2012-03-07T00:02:00Z,2012-03-07T00:24:00Z,X5.4,11429.0"),
        ("Start_Time, peak_time,goes_class,noaa_active_region", "2012/03/07 00:02,2012/3/7 0:24,X5.4,11429"),
    ],
)
def test_columns_in_use_are_known_by_their_names(tmp_path, header, row):
    read = read_flare_list(write(tmp_path, "# a remark", header, row))
    assert read.flares == (
        Flare(
            start_utc=datetime(2012, 3, 7, 0, 2),
            peak_utc=datetime(2012, 3, 7, 0, 24),
            goes_class=GoesClass.parse("X5.4"),
            noaa_region=11429,
            line=3,
        ),
    )
    assert read.has_regions
    assert not read.unused


def test_json_of_swpc_is_read_and_has_no_regions(tmp_path):
    flare = {
        "time_tag": "2026-06-04T23:45:00Z",
        "begin_time": "2026-06-04T23:37:00Z",
        "begin_class": "C1.0",
        "max_time": "2026-06-04T23:42:00Z",
        "max_class": "M1.5",
        "max_xrlong": 1.5e-5,
        "end_time": "2026-06-04T23:45:00Z",
        "satellite": 18,
    }
    running = {**flare, "max_time": "Unk", "max_class": "Unk", "end_time": None}
    path = write(tmp_path, json.dumps([flare, running]), name="xray-flares-7-day.json")
    read = read_flare_list(path)
    assert [(str(f.goes_class), f.start_utc, f.noaa_region) for f in read.flares] == [
        ("M1.5", datetime(2026, 6, 4, 23, 37), None)
    ]
    assert read.count_unused() == {UnusedReason.NO_CLASS: 1}
    harp_map = read_harp_map(write(tmp_path, "1449 11429", name="map.txt"))
    with pytest.raises(InputError, match=r"xray-flares-7-day\.json: expected a column of NOAA regions"):
        assign_flares(read, harp_map, flare_time=FlareTime.START, clock=FrameClock.TAI)


def test_json_of_hek_is_read(tmp_path):
    event = {"event_starttime": "2012-03-07T00:02:00", "fl_goescls": "X5.4", "ar_noaanum": 11429}
    read = read_flare_list(write(tmp_path, json.dumps({"result": [event]}), name="hek.json"))
    assert [flare.noaa_region for flare in read.flares] == [11429]


def test_rows_that_cannot_be_used_are_listed_with_their_line_and_reason(tmp_path):
    bad = [
        "12-03-07 00:02,,M1.0,11429",
        "07-Mar-12 00:02,,M1.0,11429",
        "2012-13-07 00:02,,M1.0,11429",
        "2012-03-07 00:02,late,M1.0,11429",
        ",,M1.0,11429",
        "2012-03-07 00:02,,,11429",
        "2012-03-07 00:02,,M,11429",
        "2012-03-07 00:02,,M1.0,AR11429",
        "2012-03-07 00:02",
        "0001-01-01 00:00,,M1.0,11429",
        "2012-03-07 00:02,1971-12-31 23:59,M1.0,11429",
    ]
    read = read_flare_list(write(tmp_path, HEADER, *bad, *[X54] * 200))
    assert len(read.flares) == 200
    assert [(row.line, row.reason.name) for row in read.unused] == [
        (2, "TWO_DIGIT_YEAR"),
        (3, "TWO_DIGIT_YEAR"),
        (4, "BAD_TIME"),
        (5, "BAD_TIME"),
        (6, "NO_START"),
        (7, "NO_CLASS"),
        (8, "BAD_CLASS"),
        (9, "BAD_REGION"),
        (10, "FEW_FIELDS"),
        (11, "EARLY_TIME"),
        (12, "EARLY_TIME"),
    ]
    assert sum(read.count_unused().values()) == 11
    assert read.unused[0].text == "12-03-07 00:02"


GOOD_ROWS = [X54] * 40


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2012-03-07 00:02,2012-03-07 00:24,M1.0", UnusedReason.FEW_FIELDS),
        ("2012-03-07 00:02,2012-03-07 00:24,X5.4,11428,11429", UnusedReason.MANY_FIELDS),
        ("2012-03-07 00:02,2012-03-07 00:24,X5.4,11429,", UnusedReason.MANY_FIELDS),
        ("2012-03-07 12:00,2012-03-07 11:59,M1.0,11429", UnusedReason.EARLY_PEAK),
        ("2012-03-07 00:02,2012-03-06 23:59,M1.0,11429", UnusedReason.EARLY_PEAK),
        ("2012-03-06 23:50,2021-03-07 00:24,M1.0,11429", UnusedReason.LATE_PEAK),
        ("2012-03-06 23:50,2012-03-07 11:51,M1.0,11429", UnusedReason.LATE_PEAK),
        (",2012-03-07 00:24,M1.0,11429", UnusedReason.NO_START),
        ("2912-03-07 00:02,,M1.0,11429", UnusedReason.FUTURE_TIME),
        ("2012-03-07 00:02,2912-03-07 00:24,M1.0,11429", UnusedReason.FUTURE_TIME),
        ("2012-03-07 00:02,,M1.0,429", UnusedReason.BAD_REGION),
        ('2012-03-07 00:02,,M1.0,"11428,11429"', UnusedReason.BAD_REGION),
    ],
)
def test_a_row_that_contradicts_itself_is_set_aside_by_its_line(tmp_path, row, reason):
    read = read_flare_list(write(tmp_path, HEADER, *GOOD_ROWS, row))
    assert [(unused.line, unused.reason) for unused in read.unused] == [(42, reason)]
    with pytest.raises(InputError, match=f"first on line 2: {reason}"):
        read_flare_list(write(tmp_path, HEADER, row, X54))


def test_a_peak_past_midnight_that_has_the_date_of_the_start_is_of_the_day_after(tmp_path):
    read = read_flare_list(write(tmp_path, HEADER, "2012-03-06 23:50,2012-03-06 00:24,X5.4,11429", X54))
    assert [flare.peak_utc for flare in read.flares] == [datetime(2012, 3, 7, 0, 24)] * 2
    assert read.next_day_peaks == (2,)
    assert not read.unused


@pytest.mark.parametrize(
    ("peak", "end", "is_used"),
    [
        ("2012-03-07 00:24", "2012-03-07 00:40", True),
        ("2012-03-07 00:24", "2012-03-07 00:24", True),
        ("2012-03-07 00:24", "2012-03-07 00:23", False),
        ("2012-03-07 00:24", "2012-03-06 00:40", False),
        ("2012-03-07 00:24", "2021-03-07 00:40", False),
        ("", "2012-03-06 23:40", False),
        ("", "2012-03-07 00:02", True),
        ("2012-03-07 00:24", "MISSING", True),
        ("2012-03-07 00:24", "still going", True),
    ],
)
def test_a_row_with_an_end_before_its_peak_is_set_aside(tmp_path, peak, end, is_used):
    header = "start_time,peak_time,end_time,goes_class,noaa_ar"
    good = "2012-03-07 23:50,2012-03-07 00:01,2012-03-07 00:10,M1.0,11429"  # past midnight, with one date per flare
    row = f"2012-03-07 00:02,{peak},{end},X5.4,11429"
    read = read_flare_list(write(tmp_path, header, *[good] * 40, row))
    assert read.next_day_peaks == tuple(range(2, 42))
    assert [(unused.line, unused.reason.value) for unused in read.unused] == [
        (42, "an end before the peak, or more than a day after the start")
    ] * (not is_used)


@pytest.mark.parametrize(
    "mark",
    [
        {"overmax": True},
        {"overmax": "true"},
        {"next": "page2"},
        {"total": 500},
        {"numberMatched": 500},
        {"meta": {"total": 500}},
        {"count": 500, "page": 1},
        {"pages": 9},
    ],
)
def test_a_page_that_states_that_it_is_cut_is_refused(tmp_path, mark):
    event = {"event_starttime": "2012-03-07T00:02:00", "fl_goescls": "X5.4", "ar_noaanum": 11429}
    with pytest.raises(InputError, match=r"hek\.json: expected a whole flare list, found one page of it, cut after 1"):
        read_flare_list(write(tmp_path, json.dumps({"result": [event], **mark}), name="hek.json"))
    whole = {"result": [event], "overmax": False, "next": None, "total": 1}
    assert len(read_flare_list(write(tmp_path, json.dumps(whole), name="hek.json")).flares) == 1


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars"), (" ", "blanks")]
)
def test_another_separator_is_named_as_the_cause(tmp_path, separator, name):
    lines = [line.replace(" ", "T").replace(",", separator) for line in (HEADER, X54)]
    with pytest.raises(InputError, match=rf"list:2: expected columns separated by commas, found {name}; save"):
        read_flare_list(write(tmp_path, "# a remark, with a comma", *lines, name="list"))


def test_missing_numbers_in_json_are_read_as_python_writes_them(tmp_path):
    event = {"event_starttime": "2012-03-07T00:02:00", "fl_goescls": "X5.4", "ar_noaanum": float("nan")}
    text = json.dumps([event, {**event, "ar_noaanum": 11429.0, "event_peaktime": None}])
    assert "NaN" in text
    read = read_flare_list(write(tmp_path, text, name="hek.json"))
    assert [flare.noaa_region for flare in read.flares] == [None, 11429]
    lines = "\n".join(json.dumps({**event, "ar_noaanum": 11429}) for _ in range(2))
    with pytest.raises(InputError, match="expected one list of objects, found an object on each line; join them"):
        read_flare_list(write(tmp_path, lines, name="hek.jsonl"))


def test_a_flare_list_in_place_of_the_map_is_named_as_such(tmp_path):
    with pytest.raises(InputError, match=r"flares\.csv:1: expected <HARP> <NOAA>.*; check that this is a map of HARPs"):
        read_harp_map(write(tmp_path, HEADER, X54))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists_and_maps_are_read_with_a_byte_order_mark(tmp_path, encoding):
    event = {"event_starttime": "2012-03-07T00:02:00", "fl_goescls": "X5.4", "ar_noaanum": 11429}
    for text in (f"{HEADER}\r\n{X54}\r\n", json.dumps([event])):
        (tmp_path / "flares").write_bytes(text.encode(encoding))
        assert [flare.noaa_region for flare in read_flare_list(tmp_path / "flares").flares] == [11429]
    (tmp_path / "map").write_bytes("45 11073".encode(encoding))
    assert read_harp_map(tmp_path / "map").regions == {45: (11073,)}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (f"{HEADER}\n{X54}\n".encode("utf-16"), "found text in UTF-16; save it as UTF-8"),
        (b"PK\x03\x04\xff", "found a zip or an Excel workbook; unpack it, or save it as CSV"),
        (b"\x1f\x8b\x08", "found a gzip file; unpack it"),
        (f"{HEADER}\n{X54}\n".encode("utf-16-le"), "found byte 0x00 at offset 1; check that this is the right file"),
        (b"<!DOCTYPE html>", "found a web page or XML; download the file itself, or save it as CSV"),
    ],
)
def test_another_format_is_named_where_text_is_expected(tmp_path, data, found):
    (tmp_path / "flares").write_bytes(data)
    with pytest.raises(InputError, match=found):
        read_flare_list(tmp_path / "flares")


@pytest.mark.parametrize(
    "region",
    [
        "0",
        "",
        "nan",
        "--",
        "0.0",
        "N/A",
        "NA",
        "<NA>",
        "#N/A",
        "-nan",
        "None",
        "null",
        "NULL",
        "n/a",
        "1.#QNAN",
        "?",
        "n.a.",
        "-1",
        "-9999",
        "-999.0",
    ],
)
def test_a_flare_without_a_region_is_kept_and_counted(tmp_path, region):
    read = read_flare_list(write(tmp_path, HEADER, X54, f"2012-03-08 00:00,,M2.0,{region}"))
    assert [flare.noaa_region for flare in read.flares] == [11429, None]
    flares = assign_flares(
        read,
        HarpMap(source="m", regions={1: (1,)}, repeated=(), without_region=()),
        flare_time=FlareTime.START,
        clock=FrameClock.TAI,
    )
    assert flares.count_without_region(M1) == 1
    assert flares.count_without_region(GoesClass.parse("X1.0")) == 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "expected a column of the start, .*, found no columns"),
        (
            ["time,label", "2012-03-07 00:02,M1.0"],
            "expected a column of the start, one of start_time, .*found time, label",
        ),
        (["start_time,flux", "2012-03-07 00:02,1"], "expected a column of the class, .*found start_time, flux"),
        ([HEADER], "found no rows; check that this is the right file"),
        (
            [HEADER, X54, "12-03-07 00:02,,M1.0,11429"],
            r"found 1 flare and 1 such row of 2, first on line 3: a year of two digits \('12-03-07 00:02'\)",
        ),
        (
            [HEADER, X54, "0001-01-01 00:00,,M1.0,11429"],
            r"flares\.csv: .*, first on line 3: a time before 1972 \('0001-01-01 00:00'\)",
        ),
        ([HEADER, '2012-03-07,"'], "flares.csv:2: expected comma-separated values"),
        (['[{"begin_time": 1}'], "expected JSON, found no JSON"),
        ([f"[{'9' * 5000}]"], "expected JSON, found no JSON"),
        (["[1, 2]"], "expected a list of objects, .*, found other JSON"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_in_one_line(tmp_path, lines, message):
    with pytest.raises(InputError, match=message) as caught:
        read_flare_list(write(tmp_path, *lines))
    assert "\n" not in str(caught.value)


LINES = st.lists(
    st.one_of(
        st.text(max_size=60), st.sampled_from([HEADER, X54, "1449 11429", '[{"begin_time": "x"}]', '"', "#", "["])
    ),
    max_size=8,
)


@pytest.mark.slow
@given(LINES)
def test_any_text_is_read_or_refused(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "any.txt"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    for read in (read_flare_list, read_harp_map):
        refused = None
        try:
            found = read(path)
        except InputError as error:
            refused = str(error)
        if refused is not None:
            assert refused.startswith(str(path))
            assert "\n" not in refused
        else:
            assert found.source == str(path)
            assert found.regions if isinstance(found, HarpMap) else found.flares


# HARPs to regions ---------------------------------------------------------------------------------------------------


def test_a_map_of_jsoc_is_read_and_repeated_harps_have_all_their_regions(tmp_path):
    lines = ["HARPNUM NOAA_ARS", "", "1 11067", "45 11073,11077", "50 11070", "45 11078", "1 11067", "51 0", "52"]
    harp_map = read_harp_map(write(tmp_path, *lines))
    assert harp_map.regions == {1: (11067,), 45: (11073, 11077, 11078), 50: (11070,)}
    assert harp_map.repeated == (45,)
    assert harp_map.without_region == (51, 52)


def test_regions_of_four_digits_and_floats_are_the_same_regions_in_maps_as_in_lists(tmp_path):
    lines = ["1449 1429", "1450 11428.0,1430", "1451.0 11433", "1452 nan", "1453 N/A", "1454 --"]
    harp_map = read_harp_map(write(tmp_path, *lines))
    assert harp_map.regions == {1449: (11429,), 1450: (11428, 11430), 1451: (11433,)}
    assert harp_map.without_region == (1452, 1453, 1454)


@pytest.mark.parametrize(
    "line",
    ["45 11073;11077", "0 11073", "HARPNUM NOAA_ARS", "45,11073", "45 AR11073", "45 429", "45 110730", "45 11073,"],
)
def test_a_malformed_map_is_refused_with_its_line(tmp_path, line):
    with pytest.raises(InputError, match=r"map\.txt:2: expected <HARP> <NOAA>.*correct the line; regions have four"):
        read_harp_map(write(tmp_path, "1 11067", line, name="map.txt"))


@pytest.mark.parametrize("line", ["377,11158", "377;11158", "377: 11158", "HARPNUM,NOAA_ARS", "377 11158;11159"])
def test_a_map_with_other_separators_is_told_so(tmp_path, line):
    with pytest.raises(InputError, match=r"map\.txt:1: .*write a blank after the HARP, and commas between its regions"):
        read_harp_map(write(tmp_path, line, name="map.txt"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists_and_maps_may_have_any_line_ends(tmp_path, end, encoding):
    (tmp_path / "flares").write_bytes(f"# a remark{end}{HEADER}{end}{end}{X54}{end}".encode(encoding))
    (tmp_path / "map").write_bytes(f"HARPNUM NOAA_ARS{end}1449 11429{end}".encode(encoding))
    assert [flare.line for flare in read_flare_list(tmp_path / "flares").flares] == [4]
    assert read_harp_map(tmp_path / "map").regions == {1449: (11429,)}


@pytest.mark.parametrize(
    ("start", "found"),
    [(b"PAR1", "a Parquet file; save it as CSV"), (b"\x1f\x9d", "a file of compress"), (b"%PDF", "a PDF")],
)
def test_further_formats_are_named_where_text_is_expected(tmp_path, start, found):
    (tmp_path / "flares").write_bytes(start + bytes(100))
    with pytest.raises(InputError, match=f"expected text in UTF-8, found {found}"):
        read_flare_list(tmp_path / "flares")


def test_a_map_without_any_region_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a HARP with its NOAA regions, found none"):
        read_harp_map(write(tmp_path, "HARPNUM NOAA_ARS", "51 0"))


# Flares of HARPs ----------------------------------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)
NOON = datetime(2012, 3, 7, 12)


def flares_of(*flares, regions=None, flare_time=FlareTime.START, clock=FrameClock.AS_WRITTEN):
    """Flares at minutes from noon, each with its region and class, of HARP 1449 with two regions unless said."""
    made = tuple(
        Flare(
            start_utc=NOON + minutes * MINUTE,
            peak_utc=None if name == "C9.9" else NOON + (minutes + 10) * MINUTE,
            goes_class=GoesClass.parse(name),
            noaa_region=region,
            line=number,
        )
        for number, (minutes, region, name) in enumerate(flares, 2)
    )
    read = FlareList(source="flares.csv", flares=made, unused=(), has_regions=True)
    harp_map = HarpMap(source="map.txt", regions=regions or {1449: (11429, 11430)}, repeated=(), without_region=())
    return assign_flares(read, harp_map, flare_time=flare_time, clock=clock)


def flared(flares, *minutes, harp=1449, threshold=M1, after_hours=0, until_hours=24):
    times = np.array([NOON + m * MINUTE for m in minutes], "datetime64[s]")
    harps = np.full(len(times), harp)
    came = has_flare(flares, harps, times, threshold=threshold, after_hours=after_hours, until_hours=until_hours)
    return came.astype(int).tolist()


@pytest.mark.parametrize(
    ("comments", "until", "first", "last"),
    [
        ([], None, "2012-03-07 00:02", "2012-03-07 00:02"),
        (["# covers 2012-03-01 to 2012-03-08 06:30"], None, "2012-03-01", "2012-03-08 06:30"),
        (["# near-real-time", "#Covers 2012/03/01T00:00Z to 2012-03-08"], None, "2012-03-01", "2012-03-08"),
        (["# covers 2012-03-01 to 2012-03-08"], datetime(2012, 3, 9), "2012-03-01", "2012-03-09"),
    ],
)
def test_a_list_covers_what_it_states_or_the_time_of_its_flares(tmp_path, comments, until, first, last):
    path = write(tmp_path, *comments, HEADER, X54)
    harp_map = HarpMap(source="map.txt", regions={1449: (11429,)}, repeated=(), without_region=())
    read = read_flare_list(path, until_utc=until)
    for clock, seconds in ((FrameClock.AS_WRITTEN, 0), (FrameClock.TAI, 34)):
        flares = assign_flares(read, harp_map, flare_time=FlareTime.START, clock=clock)
        expected = [np.datetime64(time) + np.timedelta64(seconds, "s") for time in (first, last)]
        assert [flares.first, flares.last] == expected


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("# covers 2012-03-08 to 2012-03-09", ":3: expected flares from 2012-03-08 00:00:00 to 2012-03-09 00:00:00"),
        ("# covers 2012-03-01 to 2012-03-07", ":3: expected flares from"),
        ("# covers March to April", ":1: expected the time up to which the list is complete, found 'March'"),
        ("# covers 2012-03-01 to 2999-01-01", "found '2999-01-01', a time in the future"),
    ],
)
def test_a_statement_that_the_flares_contradict_or_that_is_no_time_is_refused(tmp_path, comment, message):
    with pytest.raises(InputError) as error:
        read_flare_list(write(tmp_path, comment, HEADER, X54))
    assert message in str(error.value)


def test_frames_without_a_known_history_are_counted_with_what_helps(tmp_path):
    flares = flares_of((0, 11429, "M1.0"), (60, 11429, "M1.0"))
    times = np.array([NOON + minutes * MINUTE for minutes in (-1, 0, 60, 61, 62)], "datetime64[s]")
    assert flares.explain_unknown(np.full(2, 1449), times[1:3]) is None
    text = flares.explain_unknown(np.array([1449, 1449, 1449, 1449, 9]), times)
    assert text is not None
    assert text.startswith("1 of a HARP that map.txt lacks, 1 before flares.csv begins, 2 after ")
    assert "state it in a first line such as `# covers 2010-05-01 to 2026-11-25`" in text


def test_a_span_leaves_out_its_beginning_and_holds_its_end():
    flares = flares_of((0, 11429, "M1.0"))
    assert flared(flares, -24 * 60 - 1, -24 * 60, -1, 0, 1) == [0, 1, 1, 0, 0]
    assert flared(flares, -1, 0, 24 * 60 - 1, 24 * 60, after_hours=-24, until_hours=0) == [0, 1, 1, 0]
    assert flared(flares, -1, 0, 10**6, after_hours=None, until_hours=0) == [0, 1, 1]


def test_the_clock_decides_at_the_edges_only():
    flares = flares_of((0, 11429, "M1.0"), clock=FrameClock.TAI)
    # The flare is 34 s later by the clock of the frames: ahead of the frame of the same digits, past the end of a day.
    assert flared(flares, -24 * 60, -24 * 60 + 1, 0, 1) == [0, 1, 1, 0]


def test_every_region_of_a_harp_counts_and_every_harp_of_a_region():
    flares = flares_of(
        (0, 11430, "M1.0"),
        (0, 11431, "X1.0"),
        (0, None, "X1.0"),
        regions={1449: (11429, 11430), 1450: (11430,), 1451: (1,)},
    )
    assert [flared(flares, -1, harp=harp) for harp in (1449, 1450, 1451, 9)] == [[1], [1], [0], [0]]
    assert (flares.count_flares(M1), flares.count_without_region(M1)) == (3, 1)
    assert [flares.knows(harp) for harp in (1449, 1450, 1451, 9)] == [True, True, True, False]


def test_weaker_flares_do_not_count_and_peaks_count_where_asked():
    strong = flares_of((0, 11429, "C9.9"), (5, 11429, "M1.0"))
    assert flared(strong, -1, 4, 5) == [1, 1, 0]
    c1 = GoesClass.parse("C1")
    weak = flares_of((0, 11429, "C9.9"), (5, 11429, "M1.0"), flare_time=FlareTime.PEAK)
    assert flared(weak, 4, 14, 15, threshold=c1) == [1, 1, 0]
    assert (weak.count_flares(c1), weak.count_without_peak(c1)) == (2, 1)
    assert strong.first == weak.first == np.datetime64(NOON)


@given(
    st.lists(
        st.tuples(
            st.integers(-5000, 5000),
            st.sampled_from([11428, 11429, 11430, None]),
            st.sampled_from(["C9.9", "M1.0", "X2"]),
        ),
        min_size=1,
        max_size=30,
    ),
    st.lists(st.integers(-6000, 6000), min_size=1, max_size=20),
    st.sampled_from([24, 48]),
    st.sampled_from(FrameClock),
)
def test_a_label_is_whether_any_flare_of_any_region_lies_in_the_half_open_span(flares, minutes, hours, clock):
    delay = timedelta(seconds=34 if clock is FrameClock.TAI else 0)
    expected = [
        int(
            any(
                region in (11429, 11430)
                and name != "C9.9"
                and t < NOON + start * MINUTE + delay <= t + timedelta(hours=hours)
                for start, region, name in flares
            )
        )
        for t in (NOON + m * MINUTE for m in minutes)
    ]
    assert flared(flares_of(*flares, clock=clock), *minutes, until_hours=hours) == expected
    shorter = np.array(flared(flares_of(*flares, clock=clock), *minutes, until_hours=hours // 2))
    assert not (shorter > expected).any()
