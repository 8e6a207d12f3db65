"""Label lists: what they hold, and what is refused."""

from __future__ import annotations

import os

import pytest

from sffshards.base.errors import InputError, StorageError
from sffshards.domain.sample_sets import Part
from sffshards.labels.label_lists import format_label_list, read_label_list, read_parts
from tests.tiny import frame_name

A, B, C = (frame_name(377, number) for number in range(3))


def write(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{frame_name(7, 0)},1", "expected two fields.*; separate the two by a blank"),
        (f"{frame_name(7, 0)}.fits.jpg 1", r"; leave out '\.fits\.jpg'"),
        (f"magnetogram_jpg/{frame_name(7, 0)} 1", "; leave out 'magnetogram_jpg/'"),
        (frame_name(7, 0).replace("720s", "720s_nrt") + " 1", "; use frames of the definitive series"),
        (frame_name(7, 0).replace("_720s", "_cea_720s") + " 1", "; write hmi.sharp_720s, as in the published names"),
        ("hmi.sharp_720s.7.29510213_000000_TAI.magnetogram 1", "expected a time in the past, found 2951-02-13T00:00"),
        ("AR1 1", "; correct the line, or check that this is a label list"),
        ("start_time,label", "; correct the line, or check that this is a label list"),
        (f"{frame_name(7, 0)} 0\nAR1 1", "; correct or remove the line"),
    ],
)
def test_the_advice_fits_what_is_wrong_with_the_line(tmp_path, line, message):
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(InputError, match=message):
        read_label_list(tmp_path / "list.txt")


def test_a_list_may_start_with_a_byte_order_mark(tmp_path):
    (tmp_path / "list.txt").write_text(f"{frame_name(7, 0)} 1\n", encoding="utf-8-sig")
    assert [row.label for row in read_label_list(tmp_path / "list.txt")] == [1]


@pytest.mark.parametrize("end", ["", "\n"])
def test_rows_come_in_file_order_whether_or_not_the_last_line_ends(tmp_path, end):
    rows = read_label_list(write(tmp_path, f"{B} 0\n{A} 1{end}"))
    assert [(row.label, row.row) for row in rows] == [(0, 0), (1, 1)]
    assert rows[0].frame.t_rec_tai > rows[1].frame.t_rec_tai


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"list\.txt: expected at least one line"),
        (f"{A} 0\n{B}\n", r"list\.txt:2: expected two fields, .*, found 1 "),
        (f"{A} 0\n\n{B} 0\n", r"list\.txt:2: expected two fields, .*, found 0 "),
        (f"{A} 0 nf\n", r"list\.txt:1: expected two fields, .*, found 3 "),
        (f"{A} 0\n{B} 2\n", r"list\.txt:2: expected label 0 or 1, found '2'"),
        (f"{A} 0.0\n", r"list\.txt:1: expected label 0 or 1, found '0\.0'"),
        (f"{A}.fits.jpg 0\n", r"list\.txt:1: expected a name of the form"),
        (f"{A} 0\n{B} 0\n{A} 1\n", r"list\.txt:3: expected every frame once in a list, found .* first on line 1"),
        (b"\xff\xfe\x00", r"list\.txt: expected text in UTF-8, found text in UTF-16; save it as UTF-8"),
        (b"\xe9\x00", r"list\.txt: expected text in UTF-8, found byte 0xe9 at offset 0"),
    ],
)
def test_a_malformed_list_is_refused_in_one_line_that_names_the_place(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_label_list(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"absent\.txt: .* no such file or directory; check the path"):
        read_label_list(tmp_path / "absent.txt")


def test_a_frame_in_two_parts_is_refused(tmp_path):
    paths = {Part.TRAIN_VAL_0: tmp_path / "a.txt", Part.TEST: tmp_path / "b.txt"}
    paths[Part.TRAIN_VAL_0].write_text(f"{A} 0\n{B} 0\n")
    paths[Part.TEST].write_text(f"{C} 0\n{B} 0\n")
    with pytest.raises(InputError, match=r"b\.txt:2: expected every frame in one part only, .*a\.txt:2"):
        read_parts(paths)


def test_a_written_list_reads_back(tmp_path):
    rows = read_label_list(write(tmp_path, f"{A} 0\n{B} 1"))
    (tmp_path / "new.txt").write_text(format_label_list((row.frame, row.label) for row in rows))
    assert (tmp_path / "new.txt").read_text() == f"{A} 0\n{B} 1\n"
    assert sorted(os.listdir(tmp_path)) == ["list.txt", "new.txt"]
