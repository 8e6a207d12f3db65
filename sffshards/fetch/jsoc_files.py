"""Fetch SHARP magnetograms of a region from JSOC to a folder: what arrived is kept when the service fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sffshards.base.errors import DamageError, SffshardsError, StorageError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import folder_lock
from sffshards.base.json_records import Count, Sha256, read_own_record, write_record
from sffshards.base.progress import SILENT, Progress
from sffshards.fetch.http_transfer import Source
from sffshards.fetch.jsoc_service import JSOC_URL, JsocQuery, JsocRecord, JsocService
from sffshards.fetch.verified_download import download
from sffshards.images import KEYWORDS_NAME, KEYWORDS_VERSION, KeywordsFile

JSOC_NAME = "jsoc.json"
"""The file, beside the magnetograms, that says what was asked for and what arrived."""
_VERSION = 1
_MAX_FILE_BYTES = 1 << 28
_MAX_FAILURES = 3
"""Number of files in a row that fail, after which the service counts as down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JsocReport:
    """What arrived from JSOC."""

    num_records: int
    """Number of records that JSOC has."""
    num_without_image: int
    """Number of these records for which QUALITY says that there is no image."""
    num_fetched: int
    """Number of files that were fetched this time."""
    num_kept: int
    """Number of files that were there already."""
    offline: tuple[str, ...]
    """Names of files that JSOC has on tape only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    url: str
    size_bytes: Count
    sha256: Sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    """What was asked for and what arrived, as `JSOC_NAME` holds it."""

    exports: dict[str, str] = field(default_factory=dict)
    """Request ids of exports by record set."""
    files: dict[str, _File] = field(default_factory=dict)


def fetch_jsoc(
    out: Path, query: JsocQuery, *, email: str | None = None, server: str = JSOC_URL, progress: Progress = SILENT
) -> JsocReport:
    """Fetch the magnetograms of a region to a folder that `sffshards ingest` reads.

    Without an e-mail address, JSOC's stored files are fetched as they are, and their keywords to ``keywords.json``.
    With one that is registered there, an export is asked for, which also brings what is on tape, keywords in headers.

    Parameters
    ----------
    out
        The folder to make or to add to.
    query
        The region and the times.
    email
        Address that is registered at JSOC for exports.
    server
        Address of JSOC, or of a server that answers alike.
    progress
        Shows the number of files.

    Raises
    ------
    InputError
        If JSOC has no such record, or refuses the query or the e-mail address.
    StorageError
        If the service fails, or the disk; files that arrived are kept, and the next call resumes.
    """
    with folder_lock(out, progress=progress, wait=False):
        service = JsocService(server, progress=progress)
        records = service.find_records(query)
        # A damaged note is replaced: the files speak for themselves.
        note = read_own_record(out / JSOC_NAME, _Note, version=_VERSION) or _Note()
        path = out / KEYWORDS_NAME
        keywords = read_own_record(path, KeywordsFile, version=KEYWORDS_VERSION) or KeywordsFile()
        keywords.files.update((record.name, record.keywords) for record in records)
        write_record(path, keywords, version=KEYWORDS_VERSION)
        observed = [record for record in records if record.has_image]
        wanted = [record for record in observed if not _is_here(out / record.name, note)]
        urls = {record.name: record.url for record in wanted if record.url}
        if email is not None and wanted:
            # JSOC may refuse an export that includes records without an image.
            condition = "" if len(observed) == len(records) else "[? QUALITY >= 0 ?]"
            record_set = f"{query.record_set}{condition}{{{query.segment}}}"
            urls = _export(service, query, record_set, email=email, note=note, out=out)
        present = [record for record in wanted if record.name in urls]
        _fetch_all(present, urls, out, note, progress=progress)
        return JsocReport(
            num_records=len(records),
            num_fetched=len(present),
            num_without_image=len(records) - len(observed),
            num_kept=len(observed) - len(wanted),
            offline=tuple(record.name for record in wanted if record.name not in urls),
        )


def _export(
    service: JsocService, query: JsocQuery, record_set: str, *, email: str, note: _Note, out: Path
) -> dict[str, str]:
    """Return URLs by file name of an export, the one that was asked for before if there is one."""
    known = note.exports.get(record_set)
    export = service.find_export(known) if known else None
    if export is None:
        export = service.request_export(record_set, email)
        if export.id:
            note.exports[record_set] = str(export.id)
            write_record(out / JSOC_NAME, note, version=_VERSION)
    return service.export_urls(query, export)


def _fetch_all(
    records: list[JsocRecord], urls: Mapping[str, str], out: Path, note: _Note, *, progress: Progress
) -> None:
    """Fetch files one by one, also after a failure, but not after `_MAX_FAILURES` in a row."""
    last: SffshardsError | None = None
    in_row = 0
    with progress.task("magnetograms", len(records)) as advance:
        for record in records:
            try:
                _fetch_one(record.name, urls[record.name], out, note)
                in_row = 0
            except (DamageError, StorageError) as error:
                progress.note(error)
                last, in_row = error, in_row + 1
                if in_row == _MAX_FAILURES:
                    break
            advance(1)
    if last is not None:
        num_here = sum((out / record.name).is_file() for record in records)
        raise StorageError(
            last.where,
            expected=f"{len(records)} files",
            found=f"{num_here}, which are kept ({last.found})",
            fix="run the same command again later, which resumes",
        )


def _fetch_one(name: str, url: str, out: Path, note: _Note) -> None:
    by_hand = f"download it on another machine and put it at {out / name}"
    source = Source(url, f"the file {name}", by_hand, _MAX_FILE_BYTES)
    sha256 = download(source, out / name, check=_check_fits, replace=True, progress=SILENT)  # a damaged one, if any
    note.files[name] = _File(url=url, size_bytes=(out / name).stat().st_size, sha256=sha256)
    write_record(out / JSOC_NAME, note, version=_VERSION)


def _is_here(path: Path, note: _Note) -> bool:
    """Return whether a file is there, unchanged since it arrived; one without a note is taken as it is."""
    known = note.files.get(path.name)
    return path.is_file() and (known is None or hash_file(path) == known.sha256)


def _check_fits(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(10)
    size = path.stat().st_size
    if start != b"SIMPLE  = " or size % 2880:
        expected, found = "a FITS file, in blocks of 2880 bytes", f"{size} bytes of something else"
        raise DamageError(path, expected=expected, found=found, fix="try later")
