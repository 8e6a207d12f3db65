"""SHARP magnetograms of a region from JSOC: what arrived is kept when the service fails, and gone on from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin

from sffshards.base.atomic_files import read_text, write_atomic
from sffshards.base.errors import DamageError, InputError, SffshardsError, StorageError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import SILENT, Progress
from sffshards.domain.times import format_duration, parse_tai
from sffshards.fetch import http_transfer as stream
from sffshards.fetch.verified_download import Source, download

__all__ = ["JSOC_NAME", "JSOC_URL", "JsocQuery", "JsocReport", "fetch_jsoc"]

T = TypeVar("T")

JSOC_URL = "http://jsoc.stanford.edu"
JSOC_NAME = "jsoc.json"
"""What was asked, and what arrived, beside the files."""
KEYWORDS_NAME = "keywords.json"
"""What JSOC says of each file, for the headers of its stored files do not; `sffshards ingest` reads it."""

_KEYWORDS = ("T_REC", "HARPNUM", "QUALITY", "CROTA2", "CTYPE1", "CTYPE2", "CDELT1", "CDELT2", "NOAA_ARS")
_NO_VALUES = frozenset({"", "nan", "NaN", "MISSING", "Invalid KeyLink"})
"""What JSOC answers where a record has no such keyword."""
_FORMAT_VERSION = 1
_MAX_FILE_BYTES = 1 << 28
_MAX_FAILURES = 3
"""Files in a row that cannot be had, after which the service counts as down."""
EXPORT_WAIT_S = 3600.0
"""Within which an export must be ready."""
_POLL_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JsocQuery:
    """Which magnetograms."""

    harp: int
    start_tai: datetime
    end_tai: datetime
    """Time of the last, inclusive."""
    cadence: timedelta
    series: str
    """Such as ``hmi.sharp_cea_720s``; those that end in ``_nrt`` have HARP numbers of their own."""
    segment: str
    """``magnetogram``, ``Br``..."""

    def __post_init__(self) -> None:
        if self.end_tai < self.start_tai:
            raise InputError(
                "--end", expected=f"a time from {self.start_tai} on", found=f"{self.end_tai}", fix="exchange them"
            )
        for option, text in (("--series", self.series), ("--segment", self.segment)):
            if not text.replace("_", "").replace(".", "").isalnum():
                raise InputError(option, expected="letters, digits, _ and .", found=repr(text[:60]), fix="check it")

    @property
    def record_set(self) -> str:
        """The query as JSOC writes it."""
        start, end = (f"{time:%Y.%m.%d_%H:%M:%S}_TAI" for time in (self.start_tai, self.end_tai))
        return f"{self.series}[{self.harp}][{start}-{end}@{format_duration(self.cadence)}]"

    def file_name(self, t_rec_tai: datetime) -> str:
        """Name the file of a record as JSOC's exports do."""
        return f"{self.series}.{self.harp}.{t_rec_tai:%Y%m%d_%H%M%S}_TAI.{self.segment}.fits"


@dataclass(frozen=True, kw_only=True, slots=True)
class JsocReport:
    """What arrived."""

    num_records: int
    """That JSOC has."""
    num_fetched: int
    """Of them, fetched this time."""
    num_kept: int
    """That were there already."""
    offline: tuple[str, ...]
    """Names of files that JSOC has on tape only."""


class _Record(NamedTuple):
    name: str
    path: str
    """At JSOC; empty where it is not on disk there."""
    keywords: Mapping[str, str]


class _Jsoc(NamedTuple):
    client: Any
    server: str
    note: Path
    """Where what was asked is noted."""


def fetch_jsoc(
    out: Path,
    query: JsocQuery,
    *,
    email: str | None = None,
    server: str = JSOC_URL,
    progress: Progress = SILENT,
) -> JsocReport:
    """Fetch the magnetograms of a region to a folder that `ingest` takes.

    Without an e-mail address, JSOC's stored files are fetched as they are, and their keywords to ``keywords.json``.
    With one that is registered there, an export is asked for, which also brings what is on tape, keywords in headers.

    Parameters
    ----------
    out
        The folder to make or to add to.
    query
        Which.
    email
        Registered at JSOC for exports.
    server
        Address of JSOC, or of one that answers alike.
    progress
        Told of every file.

    Raises
    ------
    InputError
        If JSOC has no such record, or refuses the query or the address.
    StorageError
        If the service fails, or the disk; files that arrived are kept, and the next call goes on.
    """
    with folder_lock(out, progress=progress, wait=False):
        client = _make_client(server)
        records = _ask(client, query, server)
        note = _read_note(out / JSOC_NAME)
        _write_keywords(out / KEYWORDS_NAME, records)
        wanted = [record for record in records if not (out / record.name).is_file()]
        urls = {record.name: urljoin(f"{server}/", record.path.lstrip("/")) for record in wanted if record.path}
        if email is not None and wanted:
            urls = _export(_Jsoc(client, server, out / JSOC_NAME), query, email, note, progress=progress)
        present = [record for record in wanted if record.name in urls]
        _fetch_all(present, urls, out, note, progress=progress)
        return JsocReport(
            num_records=len(records),
            num_fetched=len(present),
            num_kept=len(records) - len(wanted),
            offline=tuple(record.name for record in wanted if record.name not in urls),
        )


def _make_client(server: str) -> Any:
    import drms

    if not server.startswith(("http://", "https://")):
        raise InputError("--server", expected="http:// or https://", found=repr(server[:80]), fix="check the address")
    return drms.Client(
        drms.ServerConfig(
            name="sffshards",
            cgi_baseurl=f"{server}/cgi-bin/ajax/",
            cgi_jsoc_info="jsoc_info",
            cgi_jsoc_fetch="jsoc_fetch",
            cgi_check_address="checkAddress.sh",
            cgi_show_series="show_series",
            http_download_baseurl=f"{server}/",
        )
    )


def _ask(client: Any, query: JsocQuery, server: str) -> list[_Record]:
    """Ask JSOC for records, their keywords, and where their files lie."""

    def ask() -> tuple[Any, Any]:
        keys, segments = client.query(
            query.record_set, key=",".join(_KEYWORDS), seg=query.segment, convert_numeric=False
        )
        return keys, segments

    keys, segments = _retry(ask, server)
    if len(keys) == 0 or len(keys) != len(segments):
        raise InputError(
            query.record_set,
            expected="records of it at JSOC",
            found="none",
            fix="check the HARP, the times and the series; a region is observed for two weeks at most",
        )
    records = []
    for row, place in zip(keys.to_dict("records"), segments.to_dict("records"), strict=True):
        keywords = {name: str(row[name]) for name in _KEYWORDS if str(row.get(name, "")) not in _NO_VALUES}
        name = query.file_name(parse_tai(keywords.get("T_REC", ""), where=f"T_REC of {query.record_set}"))
        path = str(place.get(query.segment, ""))
        records.append(_Record(name, path if path.startswith("/") else "", keywords))
    return records


def _export(jsoc: _Jsoc, query: JsocQuery, email: str, note: dict[str, Any], *, progress: Progress) -> dict[str, str]:
    """Have JSOC export the records, or go on with the export asked for before; give URLs by file name."""
    record_set = f"{query.record_set}{{{query.segment}}}"
    known, request = note["exports"].get(record_set), None
    if known is not None:  # JSOC keeps exports for some days only, and then knows nothing of them
        request = _retry(lambda: _await(jsoc.client.export_from_id(known), progress), jsoc.server, lasting=False)
    if request is None:
        request = _retry(
            lambda: jsoc.client.export(record_set, method="url", protocol="fits", email=email, filenamefmt=False),
            jsoc.server,
        )
        if request.id:
            note["exports"][record_set] = str(request.id)
            _write_note(jsoc.note, note)
        request = _retry(lambda: _await(request, progress), jsoc.server)
    urls = {}
    for _, row in request.urls.iterrows():
        # A record is named series[HARP][T_REC]{segment}.
        stamp = str(row["record"]).rpartition("][")[2].partition("]")[0]
        urls[query.file_name(parse_tai(stamp, where=f"a record of export {request.id}"))] = str(row["url"])
    return urls


def _await(request: Any, progress: Progress) -> Any:
    """Wait until an export is ready."""
    progress.note(f"JSOC export {request.id}: waiting until it is ready")
    if not request.wait(timeout=EXPORT_WAIT_S, sleep=_POLL_S):
        raise TimeoutError(f"export {request.id} not ready in {EXPORT_WAIT_S:g} s")
    return request


def _fetch_all(
    records: list[_Record], urls: Mapping[str, str], out: Path, note: dict[str, Any], *, progress: Progress
) -> None:
    """Fetch files one by one; go on after a failure, but not after `_MAX_FAILURES` in a row."""
    failures: list[SffshardsError] = []
    in_row = 0
    with progress.task("magnetograms", len(records)) as advance:
        for record in records:
            try:
                _fetch_one(record.name, urls[record.name], out, note)
                in_row = 0
            except (DamageError, StorageError) as error:
                progress.note(str(error))
                failures.append(error)
                in_row += 1
                if in_row == _MAX_FAILURES or _is_of_disk(error):
                    break
            advance(1)
    if failures:
        num_left = sum(not (out / record.name).is_file() for record in records)
        last = failures[-1]
        raise StorageError(
            last.where,
            expected=f"{len(records)} files",
            found=f"{len(records) - num_left}, which are kept ({last.found})",
            fix="run the same command again later: it goes on from here",
        )


def _fetch_one(name: str, url: str, out: Path, note: dict[str, Any]) -> None:
    source = Source(url, f"the file {name}", f"fetch it elsewhere and put it at {out / name}", _MAX_FILE_BYTES)
    sha256 = download(source, out / name, checksum=None, check=_check_fits, progress=SILENT)
    note["files"][name] = {"url": url, "size_bytes": (out / name).stat().st_size, "sha256": sha256}
    _write_note(out / JSOC_NAME, note)


def _check_fits(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(10)
    size = path.stat().st_size
    if start != b"SIMPLE  = " or size % 2880:
        raise DamageError(
            path,
            expected="a FITS file, in blocks of 2880 bytes",
            found=f"{size} bytes of something else",
            fix="try later",
        )


def _is_of_disk(error: SffshardsError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno is not None


def _retry(ask: Callable[[], T], server: str, *, lasting: bool = True) -> T:
    """Ask JSOC until it answers; give None where it refuses for good and ``lasting`` is false."""
    import http.client

    from drms.exceptions import DrmsError

    for attempt in range(stream.NUM_TRIES):
        try:
            return ask()
        except (DrmsError, ValueError) as error:
            # A status that says no, or no JSON: both happen for a moment, and for good.
            reason = f"JSOC says: {str(error)[:150]}"
            if isinstance(error, DrmsError) and attempt >= 1:
                if not lasting:
                    return None  # type: ignore[return-value]
                raise InputError(
                    server, expected="an answer", found=reason, fix="check the query, and --email"
                ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)[:150] or type(error).__name__
        time.sleep(stream.FIRST_PAUSE_S * 2**attempt if attempt + 1 < stream.NUM_TRIES else 0)
    raise _down(server, reason)


def _down(server: str, reason: str) -> StorageError:
    return StorageError(
        server,
        expected="JSOC to answer",
        found=reason,
        fix="run the same command again later: it goes on from here; or look at http://jsoc.stanford.edu",
    )


def _read_note(path: Path) -> dict[str, Any]:
    """Read what arrived before; a note of another form is begun anew, for the files speak for themselves."""
    empty: dict[str, Any] = {"format_version": _FORMAT_VERSION, "exports": {}, "files": {}}
    if not path.is_file():
        return empty
    try:
        content = json.loads(read_text(path))
        if content["format_version"] != _FORMAT_VERSION:
            return empty
        return {**empty, "exports": dict(content["exports"]), "files": dict(content["files"])}
    except (ValueError, LookupError, TypeError, RecursionError):
        return empty


def _write_note(path: Path, note: Mapping[str, Any]) -> None:
    write_atomic(path, (json.dumps(note, indent=1, sort_keys=True) + "\n").encode())


def _write_keywords(path: Path, records: list[_Record]) -> None:
    files = dict(_known_keywords(path)) | {record.name: dict(record.keywords) for record in records}
    _write_note(path, {"format_version": _FORMAT_VERSION, "files": files})


def _known_keywords(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if path.is_file():
        try:
            yield from json.loads(read_text(path))["files"].items()
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return
