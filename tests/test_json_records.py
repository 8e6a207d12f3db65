"""Records read from JSON: whatever is wrong with a file is one error line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from sffshards.base.errors import DamageError, FormatError, InputError
from sffshards.base.json_records import JsonFormat, decode_record, encode_record, read_record, write_record

NOTE = JsonFormat(expected="a note", fix="write it again", version=2)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size must be at least 0, got {self.size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    colour: Colour
    parts: dict[Colour, tuple[Inner, ...]]
    share: float = 0.5
    text: str | None = None


RECORD = Note(colour=Colour.RED, parts={Colour.RED: (Inner(size=1), Inner(size=2))})
TEXT = (
    '{"format_version": 2, "colour": "red", "parts": {"red": [{"size": 1}, {"size": 2}]}, "share": 0.5, "text": null}'
)


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "note.json", RECORD, version=2)
    assert read_record(tmp_path / "note.json", Note, expects=NOTE) == RECORD
    assert encode_record(RECORD, version=2).startswith(b'{\n "format_version": 2,\n "colour": "red",\n "parts": {')


def test_a_field_with_a_default_may_be_absent() -> None:
    assert decode_record(TEXT.replace(', "share": 0.5, "text": null', ""), Note, where="x", expects=NOTE) == RECORD


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"red",', '"green",', "green"),
        ('"size": 1', '"size": "1"', "Expected `int`, got `str`"),
        ('"size": 1', '"size": true', "Expected `int`, got `bool`"),
        ('"size": 1', '"size": -1', "size must be at least 0, got -1"),
        ('"size": 1', '"size": 1, "weight": 3', "unknown field `weight`"),
        ('"size": 1', "", "missing required field `size`"),
        ('"share"', '"shore"', "unknown field `shore`"),
        ("0.5", "NaN", "no JSON"),
        ("null}", "null", "no JSON"),
        (TEXT, "[1]", "JSON of type list"),
        (TEXT, "[" * 100_000, "no JSON"),
        ('"format_version": 2', '"format_version": "2"', "format version '2'"),
        ('"format_version": 2', '"format_version": true', "format version True"),
        ('"format_version": 2, ', "", "format version None"),
    ],
)
def test_wrong_content_is_one_line_that_says_what_was_found(old: str, new: str, found: str) -> None:
    with pytest.raises(DamageError) as caught:
        decode_record(TEXT.replace(old, new), Note, where="note.json", expects=NOTE)
    assert str(caught.value).startswith("note.json: expected a note, found ")
    assert found in str(caught.value)
    assert str(caught.value).endswith("; write it again")


def test_a_changed_digit_or_letter_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_record(path, RECORD, version=2)
    data = path.read_bytes()
    changed = [
        data[:k] + new + data[k + 1 :]
        for k, old in enumerate(data)
        for new in (b"7", b"e")
        if chr(old).isalnum() and bytes([old]) != new
    ]
    assert len(changed) > 200
    for content in changed:
        with pytest.raises((DamageError, FormatError)):
            decode_record(content, Note, where=path, expects=NOTE)
    path.write_bytes(data.replace(b'"size": 1', b'"size": 3'))
    with pytest.raises(DamageError, match="found content that does not match its checksum, `record_sha256`; write it"):
        read_record(path, Note, expects=NOTE)


def test_bytes_that_are_not_utf8_are_named() -> None:
    with pytest.raises(DamageError, match="expected a note"):
        decode_record(TEXT.encode().replace(b'"red"', b'"r\xff"'), Note, where="x", expects=NOTE)


def test_another_version_is_told_apart_from_damage() -> None:
    with pytest.raises(FormatError, match="expected format version 2, found 3; update sffshards, or write it again"):
        decode_record(TEXT.replace("2", "3", 1), Note, where="x", expects=NOTE)
    with pytest.raises(FormatError, match="expected format version 2, found 1; write it again"):
        decode_record(TEXT.replace("2", "1", 1), Note, where="x", expects=NOTE)


def test_the_error_is_of_the_class_that_the_reader_asks_for() -> None:
    with pytest.raises(InputError):
        decode_record("{}", Note, where="x", expects=JsonFormat(expected="a note", fix="f", error=InputError))
