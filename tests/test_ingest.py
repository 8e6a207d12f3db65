"""FITS files and movies to images: which way is up, how field becomes grey, which frames are taken, what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import warnings
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sffshards.base.errors import ConflictError, FormatError, ImageError, InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.times import parse_duration, parse_tai
from sffshards.executors.local_executor import LocalExecutor
from sffshards.images import (
    BadQuality,
    Colours,
    Component,
    FitsOptions,
    MovieOptions,
    Scale,
    ingest_fits,
    ingest_movie,
    parse_crop,
    read_ingested,
)
from sffshards.images.fits_headers import parse_quality
from sffshards.images.grey_scales import invert_colours, scale_field
from sffshards.images.ingest_options import choose_on_grid
from sffshards.images.ingest_record import IngestFolder
from tests.commands import error_of, run
from tests.fits_files import file_name, make_fits

ALL = FitsOptions(
    component=Component.MAGNETOGRAM,
    scale=Scale.LINEAR,
    clip_gauss=800.0,
    jpeg_quality=95,
    bad_quality=BadQuality.DROP,
    cadence=None,
    tolerance=timedelta(0),
    series=None,
)
TIME = "20120306_142400"
IMAGE = "hmi.sharp_720s.1449.20120306_142400_TAI.magnetogram.fits.jpg"


def options(**changes):
    return FitsOptions(**{name: getattr(ALL, name) for name in ALL.__dataclass_fields__} | changes)


def put(folder, harp=1449, time=TIME, *, name=None, **kwargs):
    folder.mkdir(exist_ok=True)
    path = folder / (name or file_name(harp, time))
    path.write_bytes(make_fits(harp, time, **kwargs))
    return path


def record_of(data):
    record = read_ingested(data)
    assert record is not None
    return record


def pixels(path):
    """The levels of an image, which must be grey."""
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image, int)


def corners(path):
    """Grey in the middle of the upper left, upper right, lower left and lower right quarter."""
    grey = pixels(path)
    height, width = grey.shape
    return [grey[height * y // 4, width * x // 4] for y, x in ((1, 1), (1, 3), (3, 1), (3, 3))]


# Which way is up


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("camera", [True, False])
def test_north_is_up_and_west_right(tmp_path, camera, compressed):
    series = "hmi.sharp_720s" if camera else "hmi.sharp_cea_720s"
    put(tmp_path / "fits", name=file_name(1449, TIME, series=series), camera=camera, compressed=compressed)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    image = tmp_path / "data" / "magnetogram_jpg" / IMAGE
    # North east 400 G, north west 800, south east -800, south west -400.
    assert corners(image) == pytest.approx([191, 255, 0, 64], abs=2)


def test_a_mirrored_axis_is_turned(tmp_path):
    # East to the right and downwards rows in the file: CDELT1 and CDELT2 negative.
    field = np.kron([[400.0, 800.0], [-800.0, -400.0]], np.ones((20, 30)))[:, ::-1]
    put(tmp_path / "fits", field=field, CDELT1=-0.03, CDELT2=-0.03)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert corners(tmp_path / "data" / "magnetogram_jpg" / IMAGE) == pytest.approx([191, 255, 0, 64], abs=2)


def test_a_gzipped_file_is_read(tmp_path):
    folder = tmp_path / "fits"
    path = put(folder)
    (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert ingest_fits(folder, tmp_path / "data", options=ALL).num_written == 1


def test_another_angle_than_half_a_turn_is_refused(tmp_path):
    put(tmp_path / "fits", CROTA2=45.0)
    with pytest.raises(InputError, match="1 of 1 that cannot"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)


HALF_TURN = {"PC1_1": -1.0, "PC1_2": 0.0, "PC2_1": 0.0, "PC2_2": -1.0}


@pytest.mark.parametrize(
    "keywords",
    [
        {**HALF_TURN, "CROTA2": 180.0},
        HALF_TURN,
        {"PC1_1": -0.9998, "PC1_2": 0.02, "PC2_1": -0.02, "PC2_2": -0.9998},
        {"CD1_1": -0.5, "CD2_2": -0.5},
        {"PC1_1": -1.0, "CDELT2": -0.5},
        {"PC001001": -1.0, "PC002002": -1.0},
        {"CROTA1": 180.0},
    ],
)
def test_a_matrix_turns_an_image_as_the_angle_does(tmp_path, keywords):
    name = file_name(1449, TIME, series="hmi.sharp_720s")
    put(tmp_path / "fits", name=name, camera=True, drop=("CROTA2",), **keywords)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert corners(tmp_path / "data" / "magnetogram_jpg" / IMAGE) == pytest.approx([191, 255, 0, 64], abs=2)


@pytest.mark.parametrize(
    ("keywords", "found"),
    [
        ({"PC1_1": 0.0, "PC1_2": -1.0, "PC2_1": 1.0, "PC2_2": 0.0}, "PCi_j within 5 degrees of 0 or 180"),
        ({**HALF_TURN, "CROTA2": 0.0}, "PCi_j and CROTA2 that agree"),
        ({"CTYPE1": "CRLT-CEA", "CTYPE2": "CRLN-CEA"}, "CTYPE1, a longitude"),
        ({"PC001001": -1.0, "PC002002": -1.0}, "PC00i00j and CROTA2 that agree"),
        ({"CROTA1": 180.0}, "CROTA2 and CROTA1 that agree"),
        ({"CDELT1": 0.0}, "CDELT1 and CDELT2, the size of a pixel, found 0"),
        ({"T_REC": "2951.03.06_14:24:00_TAI"}, "a header that agrees with the file name"),
        ({"BUNIT": "DN"}, "BUNIT, a unit of magnetic field"),
        ({"QUALITY": "good"}, "QUALITY, a word of 32 bits"),
        ({"SEGMENT": "Br"}, "an image of magnetogram, as the file is named, found a header that says Br"),
        ({"EXTNAME": "BITMAP"}, "found a header that says bitmap"),
        ({"SEGMENT": "Bp", "EXTNAME": "BT"}, "one segment in SEGMENT and EXTNAME, found Bp and Bt"),
    ],
)
def test_a_header_that_contradicts_itself_or_the_name_is_refused(tmp_path, keywords, found):
    bad = put(tmp_path / "fits", compressed=False, **keywords)
    put(tmp_path / "fits", harp=1450)
    with pytest.raises(InputError, match="1 of 2 that cannot"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL, skip_bad=True)
    assert found in record_of(tmp_path / "data").skipped[bad.name]


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("Gauss", 1), ("GAUSS", 1), ("Mx/cm^2", 1), ("T", 1e-4), ("mT", 0.1), ("kG", 1e-3), ("10**-4 T", 1), ("", 1)],
)
def test_other_units_than_gauss_are_converted(tmp_path, unit, scale):
    field = np.kron([[-800.0, -400.0], [400.0, 800.0]], np.ones((20, 30)))
    put(tmp_path / "fits", compressed=False, field=field * scale, BUNIT=unit)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert corners(tmp_path / "data" / "magnetogram_jpg" / IMAGE) == pytest.approx([191, 255, 0, 64], abs=2)


# Several images in a file


def several(*levels, extension=True):
    """A file with an image of each segment, its field uniform but for one pixel, in gauss."""
    images = [fits.PrimaryHDU()]
    for segment, level in levels:
        field = np.full((40, 60), float(level))
        field[0, 0] += 1
        (image,) = fits.open(io.BytesIO(make_fits(1449, TIME, compressed=False, field=field)))[1:]
        if segment:
            image.header["EXTNAME" if extension else "SEGMENT"] = segment
        images.append(image)
    buffer = io.BytesIO()
    fits.HDUList(images).writeto(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("extension", [True, False])
@pytest.mark.parametrize("name", ["sharp_1449.fits", "sharp_1449.magnetogram.fits", file_name(1449, TIME)])
def test_of_several_images_the_named_segment_is_taken(tmp_path, name, extension):
    data = several(("bitmap", 33), ("BR", -400), ("MAGNETOGRAM", 400), extension=extension)
    (tmp_path / name).write_bytes(data)
    ingest_fits(tmp_path / name, tmp_path / "data", options=ALL)
    assert corners(tmp_path / "data" / "magnetogram_jpg" / IMAGE) == [191] * 4


def test_of_several_images_the_wanted_component_is_taken_if_the_name_states_none(tmp_path):
    (tmp_path / "sharp.fits").write_bytes(several(("MAGNETOGRAM", 400), ("BR", -400)))
    ingest_fits(tmp_path / "sharp.fits", tmp_path / "data", options=options(component=Component.BR))
    assert corners(tmp_path / "data" / "magnetogram_jpg" / IMAGE) == [64] * 4
    with pytest.raises(InputError, match="1 left out: shows magnetogram, Br"):
        ingest_fits(tmp_path / "sharp.fits", tmp_path / "bp", options=options(component=Component.BP))


@pytest.mark.slow
@pytest.mark.parametrize(
    "levels",
    [
        [("", 33), ("", 400)],
        [("BITMAP", 33), ("", 400)],
        [("MAGNETOGRAM", 33), ("MAGNETOGRAM", 400)],
        [("BITMAP", 33), ("BR", 400)],
    ],
)
def test_several_images_of_which_none_or_two_are_the_named_segment_are_refused(tmp_path, levels):
    path = tmp_path / file_name(1449, TIME)
    path.write_bytes(several(*levels))
    stderr = error_of("ingest", path, "--cadence", "all", "--workers", "1", "--out", tmp_path / "data")
    assert "that cannot" in stderr
    assert not (tmp_path / "data").exists()


# Grey


@pytest.mark.parametrize(
    ("scale", "grey"),
    [
        (Scale.LINEAR, [0, 0, 96, 128, 159, 255, 255, 128]),
        # 127.5 (1 + arctan(2) / arctan(8)) = 225.09, and as much below.
        (Scale.ARCTAN, [0, 0, 30, 128, 225, 255, 255, 128]),
        # 127.5 (1 + ln(3) / ln(9)) = 191.25.
        (Scale.SYMLOG, [0, 0, 64, 128, 191, 255, 255, 128]),
    ],
)
def test_field_becomes_grey_as_the_scale_says(scale, grey):
    field = np.array([-1e9, -800, -200, 0, 200, 800, 900, np.nan])
    assert scale_field(field, scale=scale, clip_gauss=800.0).tolist() == grey


@given(
    field=st.lists(st.floats(-5000, 5000), min_size=2, max_size=30),
    scale=st.sampled_from(Scale),
    clip=st.floats(1, 5000),
)
def test_every_scale_rises_and_is_odd(field, scale, clip):
    ordered = np.sort(np.array(field))
    grey = scale_field(ordered, scale=scale, clip_gauss=clip).astype(int)
    assert (np.diff(grey) >= 0).all()
    mirrored = scale_field(-ordered, scale=scale, clip_gauss=clip).astype(int)
    assert np.abs(grey + mirrored - 255).max() <= 1


@pytest.mark.parametrize("compressed", [True, False])
def test_pixels_without_a_value_are_zero_field_and_counted(tmp_path, compressed):
    """Compressed, JSOC marks them by the smallest integer, which BLANK names."""
    field = np.full((40, 60), 800.0)
    field[:20] = np.nan
    blank = {"BLANK": -(2**31)} if compressed else {}
    put(
        tmp_path / "fits", field=np.where(np.indices(field.shape)[1] < 3, -800.0, field), compressed=compressed, **blank
    )
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert corners(tmp_path / "data" / "magnetogram_jpg" / IMAGE) == pytest.approx([255, 255, 128, 128], abs=2)
    record = record_of(tmp_path / "data")
    assert record.frames[IMAGE.removesuffix(".fits.jpg")].num_missing == 20 * 57


# Which frames


def test_a_slot_takes_its_nearest_good_frame(tmp_path):
    folder = tmp_path / "fits"
    put(folder, time="20120306_142400", QUALITY=0x10400)
    put(folder, time="20120306_141200")
    put(folder, time="20120306_144800")
    put(folder, time="20120306_160000", QUALITY=0x400)
    put(folder, time="20120306_172400")
    report = ingest_fits(
        folder, tmp_path / "data", options=options(cadence=timedelta(minutes=96), tolerance=timedelta(minutes=12))
    )
    names = sorted(path.name for path in (tmp_path / "data" / "magnetogram_jpg").iterdir())
    # 17:24 is 12 minutes from 17:36; 14:48 misses 14:24 by 24.
    assert [name.split(".")[3] for name in names] == [
        "20120306_141200_TAI",
        "20120306_160000_TAI",
        "20120306_172400_TAI",
    ]
    assert report.left_out == {"of poor quality": 1, "not nearest to a slot of the grid": 1}


def test_poor_frames_are_kept_when_told_and_their_quality_recorded(tmp_path):
    put(tmp_path / "fits", QUALITY=0x10400)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=options(bad_quality=BadQuality.KEEP))
    assert record_of(tmp_path / "data").frames[IMAGE.removesuffix(".fits.jpg")].quality == 0x10400


@pytest.mark.parametrize(
    ("quality", "bits"),
    [
        (0x10400, 0x10400),
        (-2147483648, 0x80000000),
        (-2147417088, 0x80010400),
        ("0xC0000000", 0xC0000000),
        ("-2147483648", 0x80000000),
        ("2147483648", 0x80000000),
        (65536.0, 0x10000),
    ],
)
def test_quality_is_a_word_of_32_bits_in_all_its_spellings(tmp_path, quality, bits):
    """JSOC's QUALITY.txt: without observables, QUALITY is negative, for bit 31 is set."""
    folder = tmp_path / "fits"
    path = put(folder, drop=("QUALITY",))
    put(folder, harp=1450)
    content = {"format_version": 1, "files": {path.name: {"QUALITY": quality}}}
    (folder / "keywords.json").write_text(json.dumps(content))
    assert ingest_fits(folder, tmp_path / "data", options=ALL).left_out == {"of poor quality": 1}
    ingest_fits(folder, tmp_path / "kept", options=options(bad_quality=BadQuality.KEEP))
    assert record_of(tmp_path / "kept").frames[IMAGE.removesuffix(".fits.jpg")].quality == bits


@pytest.mark.parametrize("quality", ["00010400", "1e5", "c0000000", "4294967296", "-2147483649", "0.5", "nan", "True"])
def test_a_quality_that_is_no_word_of_32_bits_is_refused(quality):
    with pytest.raises(ImageError, match="32 bits"):
        parse_quality(quality, where="a.fits")


def test_a_frame_without_field_of_poor_quality_is_left_out_rather_than_called_damaged(tmp_path):
    put(tmp_path / "fits", compressed=False, field=np.full((40, 60), np.nan), QUALITY=-2147483648)
    put(tmp_path / "fits", harp=1450)
    report = ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert (report.num_written, report.left_out) == (1, {"of poor quality": 1})


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_a_frame_that_is_mostly_empty_is_left_out_and_its_neighbour_taken(tmp_path, empty):
    """Definitive files of HARP 11930 are mostly zero or NaN; they are no quiet Sun."""
    field = np.random.default_rng(0).normal(0, 100, (40, 60))
    mostly, half = field.copy(), field.copy()
    mostly.flat[:1201] = empty
    half.flat[:1200] = empty
    put(tmp_path / "fits", time="20120306_142400", field=mostly, compressed=False)
    put(tmp_path / "fits", time="20120306_143600", field=half, compressed=False)
    grid = options(cadence=timedelta(minutes=96), tolerance=timedelta(minutes=12))
    report = ingest_fits(tmp_path / "fits", tmp_path / "data", options=grid)
    assert report.left_out == {"more than 50 % of the pixels zero or without a value": 1}
    ((name, made),) = record_of(tmp_path / "data").frames.items()
    assert name.split(".")[3] == "20120306_143600_TAI"
    assert (made.num_zero, made.num_missing) == ((1200, 0) if empty == 0 else (0, 1200))
    kept = ingest_fits(tmp_path / "fits", tmp_path / "all", options=options(max_empty_percent=60.0))
    assert kept.num_written == 2


@pytest.mark.parametrize("fill", [-32768.0, -9999.0, -2147483648.0, 65535.0])
def test_a_frame_of_a_number_for_none_is_left_out(tmp_path, fill):
    """Programs that know no NaN write such a number, and lose the BLANK that says so."""
    field = np.random.default_rng(0).normal(0, 100, (40, 60))
    field.flat[:1201] = fill
    put(tmp_path / "fits", field=field, compressed=False)
    put(tmp_path / "fits", harp=1450)
    report = ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    reason = "more than 50 % of the pixels without a value or beyond 8000 G, as where -32768 means none"
    assert (report.num_written, report.left_out) == (1, {reason: 1})


def test_a_frame_of_the_future_is_refused(tmp_path):
    put(tmp_path / "fits", time="29510306_142400")
    put(tmp_path / "fits", harp=1450)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL, skip_bad=True)
    (found,) = record_of(tmp_path / "data").skipped.values()
    assert found == "expected T_REC, a time in the past, found 2951-03-06T14:24:00"


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"BZh9", "found a bzip2 file"),
        (b"PK\x03\x04", "found a zip"),
        (b"\x1f\x9d", "found a file of compress (.Z)"),
        (b"\xff\xd8\xff\xe0", "found a JPEG image"),
        (b"\0\0\0\x0cjP  ", "found a JPEG 2000 image"),
        (b"\x89HDF", "found an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1", "found a pointer of Git LFS"),
    ],
)
def test_another_format_in_place_of_fits_is_named(tmp_path, start, found):
    path = put(tmp_path / "fits")
    path.write_bytes(start + bytes(3000))
    put(tmp_path / "fits", harp=1450)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL, skip_bad=True)
    assert found in record_of(tmp_path / "data").skipped[path.name]


def test_links_to_nothing_and_pipes_are_counted(tmp_path):
    put(tmp_path / "fits", harp=1450)
    (tmp_path / "fits" / "a.fits").symlink_to("a.fits")
    (tmp_path / "fits" / "b.fits").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fits" / "c.fits")
    report = ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert report.left_out == {"a link to nothing": 2, "no regular file": 1}


def test_a_patch_that_is_too_small_is_left_out_with_that_reason(tmp_path):
    field = np.random.default_rng(0).normal(0, 100, (60, 40))
    put(tmp_path / "fits", time="20120306_142400", field=field)
    put(tmp_path / "fits", time="20120306_160000", field=field[:, :16])
    put(tmp_path / "fits", time="20120306_173600", field=field[:, :15])
    report = ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert (report.num_written, report.left_out) == (2, {"fewer than 16 pixels a side": 1})


@given(
    minutes=st.lists(st.integers(0, 4000), unique=True, min_size=1, max_size=40),
    tolerance=st.integers(0, 48),
)
def test_the_grid_takes_one_frame_a_slot_and_none_farther_than_the_tolerance(minutes, tolerance):
    frames = [FrameId(harp=7, t_rec_tai=datetime(2012, 3, 6) + timedelta(minutes=m)) for m in minutes]
    chosen = choose_on_grid(frames, cadence=timedelta(minutes=96), tolerance=timedelta(minutes=tolerance))
    reference = set()
    for slot in range(0, 4100, 96):  # a day holds 15 slots of 96 minutes, so midnight is one
        near = [m for m in minutes if abs(m - slot) <= tolerance and (m - slot + 48) // 96 == 0]
        if near:
            reference.add(min(near, key=lambda m: (abs(m - slot), m)))
    assert {round((f.t_rec_tai - datetime(2012, 3, 6)).total_seconds() / 60) for f in chosen} == reference


def test_other_components_are_passed_over_and_named_ones_taken(tmp_path):
    folder = tmp_path / "fits"
    put(folder)
    put(folder, name=file_name(1449, TIME, segment="Br"), field=np.kron([[1, 1], [1, 800.0]], np.ones((20, 30))))
    report = ingest_fits(folder, tmp_path / "data", options=options(component=Component.BR))
    assert report.left_out == {"shows magnetogram": 1}
    assert corners(tmp_path / "data" / "magnetogram_jpg" / IMAGE) == pytest.approx([128, 255, 128, 128], abs=2)


def test_files_that_are_not_taken_are_counted_by_reason(tmp_path):
    folder = tmp_path / "fits"
    (folder / "377" / "deep").mkdir(parents=True)
    names = [file_name(377, f"20110213_{hour:02d}0000") for hour in range(4)]
    (folder / names[0]).write_bytes(make_fits(377, "20110213_000000"))
    for name in (f"{names[1]}.bz2", f"{names[2]}.1", f"377/deep/{names[3]}", "JSOC.tar", "list.txt"):
        (folder / name).write_bytes(b"x")
    for name in (f"._{names[0]}", "Thumbs.db", ".DS_Store", "keywords.json", "jsoc.json"):
        (folder / name).write_bytes(b'{"format_version": 1}')
    report = ingest_fits(folder, tmp_path / "data", options=ALL)
    assert report.num_images == 1
    assert report.left_out == {
        "a FITS file with the suffix .bz2": 1,
        "a FITS file with the suffix .1": 1,
        "in a subfolder": 1,
        "an archive": 1,
        "no FITS file by name": 1,
    }
    record = json.loads((tmp_path / "data" / "ingest.json").read_text())
    assert record["left_out"][f"377/deep/{names[3]}"] == "in a subfolder"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("377/a.fits", "found none, but 1 other file, such as 377/a.fits, in a subfolder; name the subfolder"),
        ("a.fits.bz2", "such as a.fits.bz2, a FITS file with the suffix .bz2; unpack or rename them to .fits"),
        ("JSOC_1.tar", "such as JSOC_1.tar, an archive; unpack it"),
        ("._a.fits", "found none; check the path"),
        ("a.jp2", "such as a.jp2, a picture; fetch the FITS files, which alone have the field in gauss"),
    ],
)
def test_a_folder_without_fits_is_refused_with_what_it_has(tmp_path, name, message):
    (tmp_path / "fits" / name).parent.mkdir(parents=True)
    (tmp_path / "fits" / name).write_bytes(b"x")
    with pytest.raises(InputError, match=re.escape(message)):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    if name == "JSOC_1.tar":
        with pytest.raises(InputError, match="found an archive; unpack it"):
            ingest_fits(tmp_path / "fits" / name, tmp_path / "data", options=ALL)


def test_near_real_time_and_definitive_regions_of_one_number_are_not_mixed(tmp_path):
    nrt, other = "hmi.sharp_cea_720s_nrt", "hmi.sharp_cea_720s"
    for series, time in ((nrt, "20110213_000000"), (other, "20110213_013600")):
        for folder in (tmp_path / series, tmp_path / "both"):
            folder.mkdir(exist_ok=True)
            (folder / file_name(377, time, series=series)).write_bytes(make_fits(377, time))
    with pytest.raises(InputError, match="expected near-real-time files alone, or definitive ones: the same"):
        ingest_fits(tmp_path / "both", tmp_path / "data", options=ALL)
    assert not (tmp_path / "data").exists()
    for first, second in ((nrt, other), (other, nrt)):
        ingest_fits(tmp_path / first, tmp_path / first / "data", options=ALL)
        record = read_ingested(tmp_path / first / "data")
        assert record is not None
        assert record.harp_numbers == ("near-real-time" if first == nrt else "definitive")
        with pytest.raises(ConflictError, match="expected images made with harp_numbers"):
            ingest_fits(tmp_path / second, tmp_path / first / "data", options=ALL)


@pytest.mark.parametrize(
    ("keywords", "numbers"),
    [
        ({"SOURCE": "hmi.Mharp_720s_nrt[1449][2012.03.06_14:24:00_TAI]"}, "near-real-time"),
        ({"SERIES": "hmi.sharp_cea_720s_nrt"}, "near-real-time"),
        ({"SOURCE": "hmi.Mharp_720s[1449][2012.03.06_14:24:00_TAI]"}, "definitive"),
    ],
)
def test_near_real_time_files_that_were_renamed_are_known_by_their_header(tmp_path, keywords, numbers):
    (tmp_path / "fits").mkdir()
    (tmp_path / "fits" / "1.magnetogram.fits").write_bytes(make_fits(1449, "20120306_142400", **keywords))
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    record = read_ingested(tmp_path / "data")
    assert record is not None
    assert record.harp_numbers == numbers


def test_two_projections_are_not_mixed(tmp_path):
    folder = tmp_path / "fits"
    put(folder)
    name = file_name(1449, "20120306_160000", series="hmi.sharp_720s")
    put(folder, time="20120306_160000", name=name, camera=True)
    with pytest.raises(InputError, match="the `series`"):
        ingest_fits(folder, tmp_path / "data", options=ALL)
    assert ingest_fits(folder, tmp_path / "data", options=options(series="hmi.sharp_720s")).num_images == 1


# The record


def test_the_record_says_how_each_image_was_made(tmp_path):
    path = put(tmp_path / "fits")
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=options(scale=Scale.ARCTAN))
    record = json.loads((tmp_path / "data" / "ingest.json").read_text())
    assert record["format_version"] == 1
    assert record["options"]["scale"] == "arctan"
    assert record["options"]["knee_gauss"] == 100.0
    assert record["frames"] == {
        IMAGE.removesuffix(".fits.jpg"): {
            "source": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "quality": 0,
            "num_missing": 0,
            "num_zero": 0,
            "has_stale_datasum": False,
        }
    }


@pytest.mark.slow
def test_what_is_there_is_kept_and_what_is_missing_made(tmp_path):
    folder, data = tmp_path / "fits", tmp_path / "data"
    put(folder)
    put(folder, time="20120306_160000")
    ingest_fits(folder, data, options=ALL)
    image = data / "magnetogram_jpg" / IMAGE
    before = image.read_bytes()
    image.unlink()
    put(folder, harp=1450)
    with LocalExecutor(2) as executor:
        report = ingest_fits(folder, data, options=ALL, executor=executor)
    assert (report.num_written, report.num_kept, report.num_images) == (2, 1, 3)
    assert image.read_bytes() == before


def test_other_options_need_force(tmp_path):
    folder, data = tmp_path / "fits", tmp_path / "data"
    put(folder)
    put(folder, harp=1450)
    ingest_fits(folder, data, options=ALL)
    with pytest.raises(ConflictError, match="clip_gauss 300"):
        ingest_fits(folder, data, options=options(clip_gauss=300.0))
    (folder / file_name(1450, TIME)).unlink()
    report = ingest_fits(folder, data, options=options(clip_gauss=300.0), force=True)
    assert report.num_images == 1
    # The other region's image had the old scale: it is gone.
    assert [path.name for path in (data / "magnetogram_jpg").iterdir()] == [IMAGE]


@pytest.mark.slow
def test_an_ingest_from_scratch_replaces_images_one_by_one_and_resumes(tmp_path, monkeypatch):
    folder, data = tmp_path / "fits", tmp_path / "data"
    for harp in (1449, 1450, 1451):
        put(folder, harp=harp)
    ingest_fits(folder, data, options=ALL)
    before = {path.name: path.read_bytes() for path in (data / "magnetogram_jpg").iterdir()}
    (folder / file_name(1451, TIME)).unlink()

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IngestFolder, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest_fits(folder, data, options=options(clip_gauss=300.0), force=True)
    after = {path.name: path.read_bytes() for path in (data / "magnetogram_jpg").iterdir()}
    assert after.keys() == before.keys()
    assert sum(after[name] != before[name] for name in before) == 1
    write_lists(data, {p: [FrameId(harp=k, t_rec_tai=datetime(2012, 3, 6)).name] for k, p in enumerate(PARTS, 1)})
    error = error_of("build", "data", "--horizon", "48h", cwd=tmp_path)
    assert (
        "found 3 of an earlier one, which one from scratch has not replaced yet; run that `sffshards ingest`" in error
    )
    report = ingest_fits(folder, data, options=options(clip_gauss=300.0))
    assert (report.num_written, report.num_images) == (2, 2)
    assert sorted(path.name for path in (data / "magnetogram_jpg").iterdir()) == sorted(before)[:2]
    assert json.loads((data / "ingest.json").read_text())["outdated"] == []


def test_another_source_for_a_frame_is_a_conflict(tmp_path):
    put(tmp_path / "fits")
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    put(tmp_path / "fits", RECNUM=5)
    with pytest.raises(ConflictError, match="SHA-256"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)


def test_images_of_other_origin_are_not_written_over(tmp_path):
    put(tmp_path / "fits")
    image = tmp_path / "data" / "magnetogram_jpg" / IMAGE
    image.parent.mkdir(parents=True)
    image.write_bytes(b"mine")
    with pytest.raises(ConflictError, match="did not write"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert image.read_bytes() == b"mine"


def test_a_record_of_another_form_is_refused(tmp_path):
    put(tmp_path / "fits")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ingest.json").write_text('{"format_version": 2}')
    with pytest.raises(FormatError, match="format version 1"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)


@pytest.mark.parametrize(
    ("key", "forged"),
    [
        ("frames", {"../../x": {"source": "a", "sha256": "b", "quality": 0, "num_missing": 0}}),
        ("frames", {"a\0b": {"source": "a", "sha256": "b", "quality": 0, "num_missing": 0}}),
        ("options", {"scale": {"x": [1]}}),
        ("options", {"scale": "\ud800"}),
        ("options", {"clip_gauss": float("nan")}),
        ("options", {"clip_gauss": 10**400}),
        ("options", [["scale", "linear"]]),
    ],
)
def test_a_record_with_names_or_options_that_are_none_is_refused(tmp_path, key, forged):
    put(tmp_path / "fits")
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    path = tmp_path / "data" / "ingest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: forged}))
    with pytest.raises(FormatError, match="format version 1"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL, force=True)


# Bad files


@pytest.mark.slow
@pytest.mark.parametrize("ends", [False, True])
def test_a_header_without_end_is_not_read_to_its_end(tmp_path, ends):
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"]
    header = "".join(card.ljust(80) for card in cards) + "COMMENT".ljust(80) * 200_000 + "END".ljust(80) * ends
    (tmp_path / file_name(1449, TIME)).write_bytes(header.encode() + b" " * (-len(header) % 2880))
    line = error_of("ingest", tmp_path, "--out", tmp_path / "data")
    assert "1 of 1 that cannot" in line


def zero_data(data):
    return make_fits(1449, TIME, field=np.zeros((40, 60)))


def flip_a_byte(data):
    data = bytearray(make_fits(1449, TIME, compressed=False, checksum=True))
    data[-3000] ^= 0x40
    return bytes(data)


BAD = {
    "with a byte flipped": (flip_a_byte, "DATASUM"),
    "truncated": (lambda data: data[:-2880], "it is truncated"),
    "empty": (lambda data: b"", "an empty file"),
    "zero-filled": (lambda data: bytes(len(data)), "zero bytes where its header should be"),
    "of zero field": (zero_data, "the same value 0 in every pixel"),
    "a web page": (lambda data: b"<!DOCTYPE html><html>" + b" " * 5000, "found a web page or XML"),
    "without T_REC": (lambda data: make_fits(1449, TIME, drop=("T_REC",)), "no T_REC"),
    "without QUALITY": (lambda data: make_fits(1449, TIME, drop=("QUALITY", "HARPNUM")), "no HARPNUM, QUALITY"),
    "of UTC": (lambda data: make_fits(1449, TIME, T_REC="2012-03-06T14:24:00Z"), "T_REC in TAI"),
    "of another HARP": (lambda data: make_fits(1450, TIME), "HARP 1450"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_ends_it_or_is_skipped_and_named(tmp_path, kind):
    spoil, found = BAD[kind]
    folder, data = tmp_path / "fits", tmp_path / "data"
    for harp in (1450, 1451):
        put(folder, harp=harp)
    bad = put(folder)
    bad.write_bytes(spoil(bad.read_bytes()))
    with pytest.raises(InputError, match=bad.name):
        ingest_fits(folder, data, options=ALL)
    assert not (data / "magnetogram_jpg" / IMAGE).exists()
    report = ingest_fits(folder, data, options=ALL, skip_bad=True)
    assert (report.num_images, report.num_bad) == (2, 1)
    assert found in record_of(data).skipped[bad.name]


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [True, False])
def test_a_stale_datasum_is_named_and_may_be_ignored(tmp_path, compressed):
    """Programs that change pixels may keep the DATASUM of the old ones."""
    path = put(tmp_path / "fits", compressed=compressed, checksum=True)
    data = bytearray(path.read_bytes())
    first = data.rindex(b"DATASUM = '") + len(b"DATASUM = '")
    data[first] = ord("1") if data[first] == ord("2") else ord("2")
    path.write_bytes(data)
    done = run("ingest", path, "--out", tmp_path / "data", "--cadence", "all", "--workers", "1", code=2)
    assert (
        "DATASUM, found others: a program changed them and kept the old DATASUM, or the file is damaged" in done.stderr
    )
    run("ingest", path, "--out", tmp_path / "data", "--cadence", "all", "--ignore-datasum", "--workers", "1")
    assert record_of(tmp_path / "data").frames[IMAGE.removesuffix(".fits.jpg")].has_stale_datasum


def gzip_tile_bomb(num_bytes):
    """A file whose only tile is 16x16 pixels, and unpacks to more."""
    field = np.random.default_rng(0).integers(-500, 500, (16, 16)).astype(np.int32)
    header = fits.open(io.BytesIO(make_fits(1449, TIME)))[1].header
    image = fits.CompImageHDU(field, header, compression_type="GZIP_1", tile_shape=(16, 16))
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer)
    (table,) = fits.open(io.BytesIO(buffer.getvalue()), disable_image_compression=True)[1:]
    tile = np.array([np.frombuffer(gzip.compress(bytes(num_bytes)), np.uint8)], dtype=object)
    column = fits.Column(name="COMPRESSED_DATA", format="1PB()", array=tile)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column], header=table.header)]).writeto(buffer)
    return buffer.getvalue()


def wide_tiles():
    """A file that states more pixels than its tiles hold."""
    data = make_fits(1449, TIME)
    return data.replace(b"ZNAXIS1 =                   60", b"ZNAXIS1 =                 9000")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (gzip_tile_bomb(100_000), "a tile that unpacks to more bytes than the image (limit 2048)"),
        (wide_tiles(), "cannot be read"),
        (
            make_fits(1449, TIME, compressed=False).replace(b"= " + b"60".rjust(20), b"= " + b"999999".rjust(20)),
            "limit 16777216",
        ),
        (several(*[("BR", 400)] * 100), "more images and tables (limit 100)"),
        (gzip.compress(make_fits(1449, TIME) + bytes(1 << 28)), "unpacks to more bytes (limit 268435456)"),
    ],
    ids=["gzip tile", "wide tiles", "pixels", "units", "gzip"],
)
def test_a_file_that_unpacks_to_more_than_a_sharp_is_refused_with_the_limit(tmp_path, data, found):
    put(tmp_path / "fits", harp=1450)
    path = put(tmp_path / "fits")
    path.write_bytes(data)
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL, skip_bad=True)
    assert found in record_of(tmp_path / "data").skipped[path.name]


@pytest.mark.slow
def test_each_bad_file_is_named_in_one_line(tmp_path):
    folder = tmp_path / "fits"
    for harp in (1450, 1451, 1452):
        put(folder, harp=harp)
    put(folder).write_bytes(b"")
    put(folder, time="20120306_160000").write_bytes(bytes(3000))
    done = run("ingest", folder, "--out", tmp_path / "data", "--cadence", "all", "--skip-bad", "--workers", "1")
    named = [line for line in done.stderr.splitlines() if ": expected " in line]
    assert all("--skip-bad" in line for line in named)
    assert [line.split(": ")[0].rpartition("/")[2] for line in named] == [
        file_name(1449, TIME),
        file_name(1449, "20120306_160000"),
    ]
    assert "3 images; 3 written, 2 bad files skipped" in done.stdout


def test_too_many_bad_files_end_it_though_they_may_be_skipped(tmp_path):
    put(tmp_path / "fits")
    for number in range(2):
        (tmp_path / "fits" / f"other{number}.fits").write_bytes(b"")
    with pytest.raises(InputError, match="2 of 3"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL, skip_bad=True)


def test_a_folder_without_fits_is_refused(tmp_path):
    with pytest.raises(InputError, match="FITS files"):
        ingest_fits(tmp_path, tmp_path / "data", options=ALL)


def test_a_folder_of_which_no_frame_is_wanted_is_refused(tmp_path):
    put(tmp_path / "fits", QUALITY=0x10400)
    put(tmp_path / "fits", name=file_name(1449, TIME, segment="Br"))
    with pytest.raises(InputError, match="1 left out: of poor quality, 1 left out: shows Br"):
        ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    assert not (tmp_path / "data").exists()


def test_keywords_that_a_header_lacks_are_taken_from_beside_it(tmp_path):
    path = put(tmp_path / "fits", drop=("T_REC", "HARPNUM", "QUALITY", "CROTA2", "CTYPE1"))
    keywords = {"T_REC": "2012.03.06_14:24:00_TAI", "HARPNUM": "1449", "QUALITY": "0x00000000", "CROTA2": "0"}
    content = {"format_version": 1, "files": {path.name: keywords}}
    (tmp_path / "fits" / "keywords.json").write_text(json.dumps(content))
    assert ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL).num_written == 1


# Movies


def write_movie(path, pictures, *, codec="mpeg4"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def movie_options(**changes):
    given: dict[str, Any] = {
        "harp": 7117,
        "start_tai": datetime(2017, 9, 3),
        "cadence": timedelta(hours=6),
        "crop": (16, 16, 64, 32),
        "colours": Colours.GREY,
        "jpeg_quality": 95,
        "num_frames": None,
    }
    return MovieOptions(**given | changes)


@pytest.fixture
def movie(tmp_path):
    """Five grey pictures, each with a panel of its own level in a white frame."""
    pictures = []
    for number in range(5):
        picture = np.full((64, 96, 3), 255, np.uint8)
        picture[16:48, 16:80] = 40 * number + 20
        pictures.append(picture)
    path = tmp_path / "movie.mp4"
    write_movie(path, pictures)
    return path


def test_a_movie_becomes_cropped_frames_at_its_times(tmp_path, movie):
    report = ingest_movie(movie, tmp_path / "data", options=movie_options())
    images = sorted((tmp_path / "data" / "magnetogram_jpg").iterdir())
    assert report.num_written == len(images) == 5
    assert [path.name.split(".")[3] for path in images][:2] == ["20170903_000000_TAI", "20170903_060000_TAI"]
    pictures = [pixels(path) for path in images]
    assert {picture.shape for picture in pictures} == {(32, 64)}
    assert [picture.mean() for picture in pictures] == pytest.approx([20, 60, 100, 140, 180], abs=4)
    assert ingest_movie(movie, tmp_path / "data", options=movie_options()).num_kept == 5


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.mp4", "libx264"), ("a.mpg", "mpeg1video")])
def test_the_pictures_of_a_movie_are_those_that_decord_decodes(tmp_path, monkeypatch, name, codec):
    decord = pytest.importorskip("decord")
    blocks = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    write_movie(tmp_path / name, [np.roll(blocks, 3 * k, axis=1) for k in range(7)], codec=codec)
    written = []
    monkeypatch.setattr("sffshards.images.movie_ingest.write_picture", lambda grey, *_, **__: written.append(grey))
    ingest_movie(tmp_path / name, tmp_path / "data", options=movie_options(crop=None))
    reader = decord.VideoReader(str(tmp_path / name))
    expected = [np.floor(reader.next().asnumpy().mean(axis=-1) + 0.5) for _ in range(len(reader))]
    assert len(expected) == 7
    assert np.array_equal(written, expected)


def test_a_movie_with_fewer_frames_than_said_is_refused(tmp_path, movie):
    with pytest.raises(ImageError, match="expected 13 pictures, found 5"):
        ingest_movie(movie, tmp_path / "data", options=movie_options(num_frames=13))
    assert not (tmp_path / "data").exists()


def test_a_movie_past_the_calendar_is_refused(tmp_path, movie):
    with pytest.raises(
        InputError, match="`start`: expected times of pictures before the year 10000, found 5, one each"
    ):
        ingest_movie(movie, tmp_path / "data", options=movie_options(start_tai=datetime(9999, 12, 31)))
    assert not (tmp_path / "data").exists()


def test_a_movie_of_the_future_is_refused(tmp_path, movie):
    with pytest.raises(InputError, match="`start`: expected a time in the past, found 2951-01-02T00:00:00"):
        ingest_movie(movie, tmp_path / "data", options=movie_options(start_tai=datetime(2951, 1, 1)))


@pytest.mark.parametrize(("box", "offset"), [(b"stsz", 12), (b"cmov", 0)])
def test_a_movie_that_states_too_much_is_not_opened(tmp_path, movie, box, offset):
    """FFmpeg allocates as many places as a table states, and unpacks one that is packed."""
    data = bytearray(movie.read_bytes())
    if box == b"cmov":
        data = data.replace(b"mvhd", box)
    else:
        struct.pack_into(">I", data, data.index(box) + offset, 50_000_000)
    movie.write_bytes(data)
    with pytest.raises(ImageError, match="a packed one" if box == b"cmov" else "at most 1,048,576 pictures, found 50"):
        ingest_movie(movie, tmp_path / "data", options=movie_options())


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:9,\nmovie.mp4\n", "ffconcat version 1.0\nfile movie.mp4\n"])
def test_a_playlist_is_no_movie(tmp_path, movie, text):
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(ImageError, match="expected a movie that FFmpeg reads, found none"):
        ingest_movie(tmp_path / "list.mp4", tmp_path / "data", options=movie_options())


def test_a_movie_that_is_cut_off_is_refused(tmp_path, movie):
    short = tmp_path / "short.mp4"
    short.write_bytes(movie.read_bytes()[:-500])
    with pytest.raises(ImageError):
        ingest_movie(short, tmp_path / "data", options=movie_options())
    assert not list(tmp_path.glob("data/magnetogram_jpg/*"))


def test_a_movie_whose_pictures_do_not_decode_is_refused(tmp_path, movie):
    data = bytearray(movie.read_bytes())
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    data[start + size // 2 : start + size] = bytes(size - size // 2)
    movie.write_bytes(data)
    with pytest.raises(ImageError, match="pictures, as it states itself"):
        ingest_movie(movie, tmp_path / "data", options=movie_options())
    assert not list(tmp_path.glob("data/magnetogram_jpg/*"))


def cut_movie(path, num_cut):
    """Cut pictures away by an edit list, which players obey, without removing them from the file."""
    data = bytearray(path.read_bytes())
    start = data.index(b"elst")
    duration, media_time = struct.unpack_from(">iI", data, start + 12)
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    shown = duration * (5 - num_cut) // 5
    struct.pack_into(">iI", data, start + 12, shown, media_time + num_cut * scale // 25)
    path.write_bytes(data)


@pytest.mark.parametrize("num_cut", [1, 3])
def test_pictures_that_a_movie_cuts_away_are_not_taken(tmp_path, movie, num_cut):
    cut_movie(movie, num_cut)
    report = ingest_movie(movie, tmp_path / "data", options=movie_options(num_frames=5 - num_cut))
    images = sorted((tmp_path / "data" / "magnetogram_jpg").iterdir())
    assert report.num_written == len(images) == 5 - num_cut
    assert [pixels(path).mean() for path in images] == pytest.approx([20, 60, 100, 140, 180][num_cut:], abs=4)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_that_the_decoder_notices_is_not_concealed(tmp_path, codec):
    """FFmpeg conceals damaged blocks unless told otherwise: of these movies it shows nearly all, with other pixels."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (8, 12, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    path = tmp_path / "a.mp4"
    write_movie(path, [np.roll(blocks, 3 * k, axis=1) for k in range(13)], codec=codec)
    whole = path.read_bytes()
    start = whole.index(b"mdat") + 4
    size = int.from_bytes(whole[start - 8 : start - 4], "big") - 8
    num_refused = 0
    for number in range(20):
        data = bytearray(whole)
        place = start + 100 + int(rng.integers(size - 200))
        data[place : place + 32] = rng.bytes(32)
        path.write_bytes(data)
        with suppress(ImageError):
            ingest_movie(path, tmp_path / f"data{number}", options=movie_options(crop=None))
            continue
        assert not (tmp_path / f"data{number}").exists()
        num_refused += 1
    assert num_refused >= 15


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_long_movie_does_not_fill_the_memory(tmp_path):
    """300 pictures of 1 megapixel would take 300 MB as grey and 900 MB in colour."""
    picture = np.full((1024, 1024, 3), 90, np.uint8)
    write_movie(tmp_path / "a.mp4", [picture] * 300)
    code = (
        "from pathlib import Path; from sffshards.cli import main\n"
        "try: main()\n"
        "finally: print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    place = ["--harp", "7117", "--start", "2017-09-03", "--cadence", "96m", "--out", str(tmp_path / "data")]
    command = [sys.executable, "-c", code, "ingest", str(tmp_path / "a.mp4"), *place]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 300_000


@pytest.mark.parametrize("suffix", ["mov", "MKV", "avi", "webm", "gif"])
def test_a_movie_of_another_kind_is_named_so(tmp_path, movie, suffix):
    other = movie.rename(tmp_path / f"m.{suffix}")
    given = ["--harp", "7117", "--start", "2017-09-03", "--cadence", "6h"]
    assert f"found a movie of a kind that is not read (.{suffix.lower()})" in error_of("ingest", other, *given)
    assert "ffmpeg -i" in error_of("ingest", other)


def test_pictures_larger_than_the_full_disk_are_refused(tmp_path, monkeypatch, movie):
    monkeypatch.setattr("sffshards.images.movie_files.MAX_PIXELS", 64 * 95)
    with pytest.raises(ImageError, match="at most 6080 pixels, those of HMI's full disk, found 96x64"):
        ingest_movie(movie, tmp_path / "data", options=movie_options())


def test_a_crop_outside_the_pictures_is_refused(tmp_path, movie):
    with pytest.raises(ImageError, match="of 96x64"):
        ingest_movie(movie, tmp_path / "data", options=movie_options(crop=(60, 16, 64, 32)))


def test_colours_are_turned_back_to_field():
    # matplotlib's seismic: dark blue, blue, white, red, dark red at 0, 1/4, 1/2, 3/4 and 1.
    shown = [[0, 0, 77], [0, 0, 255], [255, 255, 255], [255, 0, 0], [128, 0, 0]]
    grey = invert_colours(np.array([shown], np.uint8), colours=Colours.SEISMIC)
    assert grey[0].tolist() == pytest.approx([0, 64, 128, 191, 255], abs=1)
    grey = invert_colours(np.array([shown], np.uint8), colours=Colours.BWR)
    assert grey[0, 1:4].tolist() == pytest.approx([0, 128, 255], abs=1)


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "1,2,3,-4", ""])
def test_a_crop_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="`crop`"):
        parse_crop(text)


# Times, and the command


@pytest.mark.parametrize("text", ["96", "0m", "-1h", "1.5h", "m", "all"])
def test_a_span_of_time_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="--cadence"):
        parse_duration(text, where="--cadence")


@pytest.mark.parametrize("text", ["2012-03-06T14:24:00Z", "2012-03-06T14:24:00+00:00", "yesterday", "2012-13-01", ""])
def test_a_time_that_is_none_or_of_a_zone_is_refused(text):
    with pytest.raises(InputError, match="TAI"):
        parse_tai(text, where="--start")


def test_the_command_says_what_a_movie_lacks(tmp_path, movie):
    assert "no --harp and no --cadence" in error_of("ingest", movie, "--start", "2017-09-03", cwd=tmp_path)


def test_the_command_refuses_what_only_movies_have(tmp_path):
    put(tmp_path / "fits")
    assert "--crop: expected a movie" in error_of("ingest", "fits", "--crop", "1,2,30,40", cwd=tmp_path)


@pytest.mark.slow
def test_the_command_prints_json(tmp_path):
    put(tmp_path / "fits")
    done = run("ingest", "fits", "--cadence", "all", "--workers", "1", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {
        "num_images": 1,
        "num_written": 1,
        "num_kept": 0,
        "left_out": {},
        "num_bad": 0,
    }


@pytest.mark.slow
def test_the_json_counts_what_was_left_out_by_reason(tmp_path):
    put(tmp_path / "fits")
    put(tmp_path / "fits", time="20120306_143600")  # of two frames near one point of the grid, one is kept
    done = run("ingest", "fits", "--workers", "1", "--json", cwd=tmp_path)
    (count,) = json.loads(done.stdout)["left_out"].values()
    assert count == 1


# To shards


PARTS = ("TrainVal0", "TrainVal1", "TrainVal2", "TrainVal3", "TrainVal4", "Test")


def write_lists(data, frames_by_part):
    """Write the 48h lists of frames, each region's last frame positive."""
    (data / "M48").mkdir()
    for part, frames in frames_by_part.items():
        rows = [f"{name} {int(name == frames[-1])}" for name in frames]
        (data / "M48" / f"flare_Mclass_48h_{part}.txt").write_text("\n".join(rows) + "\n")


def build_and_verify(home):
    """Build shards of what was ingested as any other data, verify them and show one; give what `build` says."""
    built = run("build", "data", "--horizon", "48h", "--workers", "1", cwd=home).stdout
    run("verify", cwd=home)
    run("show", "--out", "sheet.png", cwd=home)
    return built


def names_in(data):
    return sorted(path.name.removesuffix(".fits.jpg") for path in (data / "magnetogram_jpg").iterdir())


@pytest.mark.slow
def test_ingested_regions_are_built_unchanged(tmp_path):
    for position in range(6):
        for hour in (0, 2, 3):
            put(tmp_path / "fits", harp=100 + position, time=f"20120306_{hour:02d}0000", CRVAL1=float(hour))
    ingest_fits(tmp_path / "fits", tmp_path / "data", options=ALL)
    names = names_in(tmp_path / "data")
    write_lists(tmp_path / "data", {part: names[3 * k : 3 * k + 3] for k, part in enumerate(PARTS)})
    assert "(18 images decoded" in build_and_verify(tmp_path)


# Real files


@pytest.mark.realdata
def test_real_fits_give_the_images_that_others_made_of_them(real_data, real_mini, tmp_path):
    """The images of these HARPs were made by another program from the same files, linearly from -800 to 800 G."""
    keep = options(bad_quality=BadQuality.KEEP, jpeg_quality=92)
    report = ingest_fits(real_data / "fits", tmp_path / "data", options=keep, skip_bad=True)
    assert (report.num_written, report.num_bad) == (20, 3)
    num_compared = 0
    for path in (tmp_path / "data" / "magnetogram_jpg").iterdir():
        theirs = real_mini / "magnetogram_jpg" / path.name
        if theirs.exists():
            difference = pixels(path) - pixels(theirs)
            assert np.abs(difference).mean() < 0.1, path.name
            num_compared += 1
    assert num_compared >= 16


@pytest.mark.realdata
def test_the_real_movie_gives_its_magnetogram_panel(real_data, tmp_path):
    (path,) = (real_data / "movies").iterdir()
    crop = {"crop": (62, 468, 365, 157), "colours": Colours.SEISMIC, "num_frames": 13}
    ingest_movie(path, tmp_path / "data", options=movie_options(**crop))
    images = sorted((tmp_path / "data" / "magnetogram_jpg").iterdir())
    assert len(images) == 13
    first = pixels(images[0])
    # The panel's frame is outside; the spots of both signs are inside, on a quiet Sun.
    assert first.shape == (157, 365)
    assert 120 < np.median(first) < 136
    assert first.min() < 60
    assert first.max() > 195


@pytest.mark.realdata
def test_real_regions_go_from_fits_to_shards(real_data, tmp_path):
    run("ingest", real_data / "fits", "--cadence", "all", "--skip-bad", "--workers", "1", cwd=tmp_path)
    names = names_in(tmp_path / "data")
    assert {int(name.split(".")[2]) for name in names} == {1441, 1446, 1447, 1449, 1460}
    write_lists(tmp_path / "data", {part: names[k::6] for k, part in enumerate(PARTS)})
    assert "(16 images decoded" in build_and_verify(tmp_path)


@pytest.mark.realdata
def test_the_real_movie_goes_to_shards(real_data, tmp_path):
    (path,) = (real_data / "movies").iterdir()
    panel = ["--crop", "62,468,365,157", "--colours", "seismic", "--frames", "13"]
    run("ingest", path, "--harp", "7117", "--start", "2017-09-03", "--cadence", "6h", *panel, cwd=tmp_path)
    names = names_in(tmp_path / "data")
    assert names[-1] == "hmi.sharp_720s.7117.20170906_000000_TAI.magnetogram"
    write_lists(tmp_path / "data", {part: names[2 * k : 2 * k + 2] for k, part in enumerate(PARTS)})
    assert "(12 images decoded" in build_and_verify(tmp_path)
