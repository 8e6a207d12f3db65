"""The peak of memory of commands that are given files which would unpack to more than a machine has."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from sffshards.base.errors import DamageError, InputError
from sffshards.models.model_weights import read_state_dict
from tests.commands import run_measured
from tests.fits_files import file_name
from tests.hostile_files import (
    HOSTILE_FITS,
    TIME,
    bomb_of_zeros,
    list_of_many_lines,
    zip_of_many_members,
    zip_that_lies,
)
from tests.web import serve_files

MAX_PEAK_MB = 600
"""Peak of memory that no hostile file may reach; most stay below 300."""
NAME = "hmi.sharp_720s.377.20110213_000000_TAI.magnetogram"
KEYWORDS = (
    "USFLUX,MEANGAM,MEANGBT,MEANGBZ,MEANGBH,MEANJZD,TOTUSJZ,MEANJZH,TOTUSJH,ABSNJZH,SAVNCPP,MEANPOT,TOTPOT,MEANSHR,"
    "SHRGT45,R_VALUE,AREA_ACR"
)
PARTS = [*(f"TrainVal{number}" for number in range(5)), "Test"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")


def refused(*args, max_peak_mb=MAX_PEAK_MB, **options):
    """Run a command that must fail with one line, in little memory; give the line."""
    done, peak_mb = run_measured(*args, **options)
    print(f"{peak_mb:.0f} MB: {done.stderr}")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert peak_mb < max_peak_mb
    return " ".join(line for line in done.stderr.splitlines() if ": expected " in line)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "found"),
    {
        "tiles-of-zeros": "the same value 0 in every pixel",
        "tiles-gzip": "the same value 0 in every pixel",
        "tiles-doubles": "the same value 1 in every pixel",
        "tile-larger-than-image": "cannot be read",
        "tiled-200-gigapixels": "500000x500000 pixels (limit 16777216)",
        "tiles-many": "1048576 tiles (limit 65536)",
        "doubles": "more than 50 % of the pixels zero",
        "longs": "more than 50 % of the pixels zero",
        "heap": "it is truncated",
        "table-rows": "it is truncated",
        "gzip-300-megabytes": "unpacks to more bytes (limit 268435456)",
    }.items(),
)
def test_a_fits_file_takes_little_memory(tmp_path, kind, found):
    (tmp_path / file_name(1449, TIME)).write_bytes(HOSTILE_FITS[kind]())
    assert found in refused("ingest", tmp_path, "--out", tmp_path / "out", "--cadence", "all")


def sparse(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(40_000_000_000)
    return path


def write_tables(folder: Path) -> dict[str, Path]:
    """Write what `labels rebuild` needs."""
    contents = {
        "frames": f"{NAME} 1\n",
        "flares": "start_time,goes_class,noaa_ar\n2011-02-13 17:28,M6.6,11158\n",
        "harp-map": "377 11158\n",
    }
    for name, content in contents.items():
        (folder / f"{name}.txt").write_text(content)
    return {name: folder / f"{name}.txt" for name in contents}


ROWS = "at most 1,000,000 rows, found more"
TABLES = {
    "rows without content": ("flares", b",,\n", b"start_time,goes_class,noaa_ar\n", ROWS),
    "a row without end": ("flares", b",", b"start_time,goes_class,noaa_ar\n", "rows of at most 1,000,000 characters"),
    "names of columns without end": ("flares", b"a,", b"", "rows of at most 1,000,000 characters"),
    "a field of many lines": ("flares", b'"\n",', b"start_time,goes_class,noaa_ar\n", "at most 1,000,000 characters"),
    "objects": ("flares", b"{},", b"[", "of memory (limit 256)"),
    "lists": ("flares", b"[],", b"[", "of memory (limit 256)"),
    "a HARP over and over": ("harp-map", b"1 11000\n", b"", ROWS),
    "names that are none": ("frames", b"a\n", b"", "expected a name of the form hmi.sharp_720s"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_takes_little_memory(tmp_path, kind):
    name, line, head, found = TABLES[kind]
    files = write_tables(tmp_path)
    list_of_many_lines(files[name], line, 90_000_000, head)
    options = ["--flares", files["flares"], "--harp-map", files["harp-map"], "--out", tmp_path / "out"]
    assert found in refused("labels", "rebuild", files["frames"], "--horizon", "24h", *options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frames", "flares", "harp-map"])
def test_a_table_larger_than_a_text_can_be_is_not_read(tmp_path, name):
    files = write_tables(tmp_path)
    sparse(files[name])
    options = ["--flares", files["flares"], "--harp-map", files["harp-map"], "--out", tmp_path / "out"]
    line = refused("labels", "rebuild", files["frames"], "--horizon", "24h", *options)
    assert "expected at most 100,000,000 bytes, found 40,000,000,000" in line


def write_lists(data: Path) -> Path:
    """Write lists of one frame each; give the path of the first."""
    (data / "M24").mkdir(parents=True)
    (data / "magnetogram_jpg").mkdir()
    for number, part in enumerate(PARTS):
        line = NAME.replace("377", f"{number + 1}") + " 1\n"
        (data / "M24" / f"flare_Mclass_24h_{part}.txt").write_text(line)
    return data / "M24" / "flare_Mclass_24h_TrainVal0.txt"


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"a\n", "at most 100,000 faulty lines, found more, the first in flare_Mclass_24h_TrainVal0.txt:1"),
        (f"{NAME} 1\n".encode(), "at most 100,000 faulty lines, found more, the first in"),
    ],
)
@pytest.mark.parametrize("command", ["check", "build"])
def test_a_label_list_takes_little_memory(tmp_path, line, found, command):
    list_of_many_lines(write_lists(tmp_path / "data"), line, 90_000_000)
    end = ["--horizon", "24h", "--out", tmp_path / "out"]
    args = ["labels", "check", tmp_path / "data"] if command == "check" else ["build", tmp_path / "data", *end]
    assert found in refused(*args)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "body", "found"),
    [
        (f"HARPNUM,T_REC,{KEYWORDS}\n", b"0", "at most 100,000,000 bytes, unpacked, found a gzip file with more"),
        (f"HARPNUM,T_REC,{KEYWORDS}\n", b"\n", ROWS),
        ("", "\U0001f600".encode(), "rows of at most 1,000,000 characters"),
    ],
    ids=["one row", "rows", "wide characters"],
)
def test_a_packed_table_takes_little_memory(tmp_path, head, body, found):
    write_lists(tmp_path / "data")
    size = 1_000_000_000 if body == b"0" else 90_000_000
    (tmp_path / "keywords.csv.gz").write_bytes(bomb_of_zeros(head.encode(), body, size))
    args = ["baselines", tmp_path / "data", "--horizon", "24h", "--keywords", tmp_path / "keywords.csv.gz"]
    assert found in refused(*args)


IMAGE = f"magnetogram_jpg/{NAME}.fits.jpg"
ZIPS = {
    "a directory of 4 million members": (
        lambda path: zip_of_many_members(path, 4_000_000),
        "at most 500,000 members, found a directory of 188,000,000 bytes (limit 67,108,864)",
    ),
    "1.3 million members": (lambda path: zip_of_many_members(path, 1_300_000), "at most 500,000 members, found more"),
    "bzip2 that lies": (
        lambda path: zip_that_lies(path, IMAGE, zipfile.ZIP_BZIP2, 1000 << 20, 1 << 20),
        "another CRC-32 than it",
    ),
    "LZMA that lies": (lambda path: zip_that_lies(path, IMAGE, zipfile.ZIP_LZMA, 100 << 20, 1 << 20), "Bad CRC-32"),
    "deflate that lies": (
        lambda path: zip_that_lies(path, IMAGE, zipfile.ZIP_DEFLATED, 1000 << 20, 1 << 20),
        "Bad CRC-32",
    ),
    "a member of zeros": (
        lambda path: zip_that_lies(path, IMAGE, zipfile.ZIP_DEFLATED, 60 << 20, 60 << 20),
        "at most 200 to one, found one of 62,914,560",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_takes_little_memory(tmp_path, kind):
    make, found = ZIPS[kind]
    make(tmp_path / "a.zip")
    assert found in refused("fetch", "dataset", tmp_path / "data", "--archive", tmp_path / "a.zip")
    assert not list(tmp_path.rglob("*.jpg"))


def write_movie(path: Path, num_pictures: int, side: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        picture = np.full((side, side, 3), 90, np.uint8)
        for number in range(num_pictures):
            picture[:16, :16] = number % 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def patch(path: Path, box: bytes, offset: int, number: int) -> Path:
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, data.index(box) + offset, number)
    path.write_bytes(data)
    return path


def playlist(path: Path, text: str) -> Path:
    write_movie(path.parent / "other.mp4", 3, 64)
    path.write_text(text)
    return path


MOVIES = {
    "sparse": (sparse, "at most 8,589,934,592 bytes, found 40,000,000,000"),
    "268 million sizes": (lambda path: patch(write_movie(path, 3, 64), b"stsz", 12, 0xFFFFFFF), "expected"),
    "2 billion times": (lambda path: patch(write_movie(path, 3, 64), b"stts", 12, 0x7FFFFFFF), "expected"),
    "a playlist": (
        lambda path: playlist(path, "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n"),
        "a movie that FFmpeg reads, found none",
    ),
    "a list of movies": (
        lambda path: playlist(path, "ffconcat version 1.0\n" + "file other.mp4\n" * 1000),
        "a movie that FFmpeg reads, found none",
    ),
}
PLACE = ["--harp", "7117", "--start", "2017-09-03", "--cadence", "96m"]


@pytest.mark.long
@pytest.mark.parametrize("kind", MOVIES)
def test_a_movie_takes_little_memory(tmp_path, kind):
    make, found = MOVIES[kind]
    make(tmp_path / "a.mp4")
    assert found in refused("ingest", tmp_path / "a.mp4", *PLACE, "--out", tmp_path / "out")


@pytest.mark.long
@pytest.mark.parametrize(("num_pictures", "side"), [(2000, 1024), (12, 4096)])
def test_a_whole_movie_is_ingested_in_little_memory(tmp_path, num_pictures, side):
    """2,000 pictures of a megapixel take 2 GB as grey, and 6 GB in colour."""
    write_movie(tmp_path / "a.mp4", num_pictures, side)
    done, peak_mb = run_measured("ingest", tmp_path / "a.mp4", *PLACE, "--out", tmp_path / "out", timeout=1200)
    print(f"{peak_mb:.0f} MB")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "magnetogram_jpg").iterdir())) == num_pictures
    assert peak_mb < MAX_PEAK_MB


@pytest.mark.slow
@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_an_answer_without_end_takes_little_memory(tmp_path, scheme, is_gzipped):
    pytest.importorskip("s3fs")
    keys = {"ACCESS_KEY_ID": "made", "SECRET_ACCESS_KEY": "up", "DEFAULT_REGION": "us-east-1"}
    with serve_files() as server:
        server.files["/flares/48h/manifest.json"] = b""
        server.faults.append(("endless", is_gzipped))
        env = {"AWS_ENDPOINT_URL": server.url, **{f"AWS_{name}": value for name, value in keys.items()}}
        url = "s3://flares/48h" if scheme == "s3" else f"{server.url}/flares/48h"
        line = refused("info", url, env=env)
    assert ("found no JSON" if is_gzipped else "an answer of at most 268,435,456 bytes, found more") in line


def nested(depth: int) -> bytes:
    """Pickle a dictionary whose key is a tuple that holds another one twice, and so on: it hashes in 2**depth steps."""
    steps = b"".join(b"h%ch%c\x86q%c" % (number - 1, number - 1, number) for number in range(2, depth))
    return b"\x80\x02}q\x00K\x01q\x01" + steps + b"h\x00h%cK\x01s." % (depth - 1)


def archive(path: Path, description: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {"data.pkl": description, "version": b"3\n", "byteorder": b"little"}.items():
            file.writestr(f"a/{name}", content)


def members(path: Path) -> None:
    zip_of_many_members(path, 2_000_000)
    path.write_bytes(b"PK\x03\x04" + path.read_bytes())


WEIGHTS = {
    "nested tuples in an archive": (
        lambda path: archive(path, nested(60)),
        "to a depth of more than 16",
    ),
    "nested tuples": (lambda path: path.write_bytes(nested(60)), "to a depth of more than 16"),
    "2 million dictionaries": (lambda path: archive(path, b"\x80\x02](" + b"}" * 2_000_000 + b"e."), "found a list"),
    "2 million members": (members, "at most 100,000 members, found a directory of 94,000,000 bytes (limit 67,108,864)"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_checkpoint_takes_little_memory_and_time(tmp_path, kind):
    make, found = WEIGHTS[kind]
    make(tmp_path / "a.ckpt")
    with pytest.raises((InputError, DamageError), match=re.escape(found)):
        read_state_dict(tmp_path / "a.ckpt")
