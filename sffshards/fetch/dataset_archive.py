"""The published data set, from Zenodo or a mirror, to a data folder that `sffshards build` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sffshards.base.atomic_files import write_atomic
from sffshards.base.errors import Field, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import folder_lock
from sffshards.base.json_records import format_json, to_plain
from sffshards.base.progress import SILENT, Progress
from sffshards.fetch.http_transfer import Source, read_json
from sffshards.fetch.verified_download import download, require_checksum
from sffshards.fetch.zip_extraction import Extracted, check_zip, extract_dataset

DATASET_DOI = "10.5281/zenodo.10246577"
RECORD_URL = "https://zenodo.org/api/records/10246577"
"""Zenodo's description of the record, in JSON: its files, with sizes and MD5."""

FETCH_NAME = "fetch.json"
"""The file, in the data folder, that says what was fetched."""

_FORMAT_VERSION = 1
_MAX_BYTES = 1 << 35
"""Largest size of a zip; the published one takes some gigabytes."""
_CHECKED_BY = {"sha256": "the SHA-256 given", "md5": "the MD5 of Zenodo's record"}
_UNCHECKED = "nothing: no checksum of it is known to this program, and none was given"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReport(Extracted):
    """What was fetched and extracted from a zip."""

    url: str
    """The URL, or the path, of the zip."""
    sha256: str
    """SHA-256 of the zip that arrived."""
    size_bytes: int
    """Size of the zip."""
    checked_by: str
    """The checksum that the zip was compared with, in words."""


def fetch_dataset(
    data: Path,
    *,
    url: str | None = None,
    sha256: str | None = None,
    archive: Path | None = None,
    record_url: str = RECORD_URL,
    keep_archive: bool = False,
    force: bool = False,
    progress: Progress = SILENT,
) -> list[DatasetReport]:
    """Fetch the published zip, verify it, and extract its images and label lists.

    This program knows no checksum of the zip. Without ``url``, the MD5 that Zenodo's record states is checked; what
    arrived is recorded with its SHA-256 in ``data/fetch.json``.

    Parameters
    ----------
    data
        The data folder to make or to add to.
    url
        URL of the zip at a mirror.
    sha256
        SHA-256 of the zip, if the user knows it.
    archive
        Path of the zip, if the user has downloaded it; the network is not used then.
    record_url
        URL of Zenodo's description of the record.
    keep_archive
        Whether the zip stays in ``data``.
    force
        Whether to replace other files of the same names.
    progress
        Shows what arrived and what is extracted.

    Returns
    -------
    list of DatasetReport
        One report per zip.

    Raises
    ------
    DamageError
        If what arrives is another file, or not a safe zip.
    ConflictError
        If other files of the same names are there.
    InputError
        If the URL cannot be used, or the record lists no zip.
    StorageError
        If the server fails for long, or the disk; the next call resumes.
    """
    given = _parse_sha256(sha256) if sha256 else None
    reports = []
    with folder_lock(data, progress=progress, wait=False):
        if archive is not None:
            require_checksum(archive, given, where=archive, fix="download it again, or check {sha256}")
            extracted = extract_dataset(archive, data, force=force, progress=progress)
            reports.append(_report(archive, str(archive), given, extracted))
        else:
            for name, source in _find_zips(url, given, record_url, data):
                path = data / name
                download(source, path, check=check_zip, progress=progress)
                extracted = extract_dataset(path, data, force=force, progress=progress)
                reports.append(_report(path, source.url, source.checksum, extracted))
                if not keep_archive:
                    path.unlink()
        content = {"format_version": _FORMAT_VERSION, "archives": [to_plain(report) for report in reports]}
        write_atomic(data / FETCH_NAME, format_json(content))
    return reports


def _report(path: Path, url: str, checksum: str | None, extracted: Extracted) -> DatasetReport:
    return DatasetReport(
        url=url,
        sha256=hash_file(path, expected="a zip that can be read"),
        size_bytes=path.stat().st_size,
        checked_by=_CHECKED_BY[checksum.partition(":")[0]] if checksum else _UNCHECKED,
        **asdict(extracted),
    )


def _find_zips(url: str | None, given: str | None, record_url: str, data: Path) -> Iterator[tuple[str, Source]]:
    """Yield names and sources of the zips to fetch: the one at a mirror, or those that the record lists."""
    by_hand = (
        f"download the zip of https://doi.org/{DATASET_DOI} on another machine, and pass it to "
        f"`sffshards fetch dataset {data}` with {{archive}}"
    )
    files = [(url.rpartition("/")[2].partition("?")[0], url, "")] if url is not None else _list_zips(record_url)
    for found, link, checksum in files:
        plain = re.sub(r"[^\w.-]", "_", found).lstrip(".")
        name = plain if plain.lower().endswith(".zip") else f"{plain or 'dataset'}.zip"
        known = checksum if re.fullmatch(r"md5:[0-9a-f]{32}", checksum) else None
        yield name, Source(link, f"the zip {name}", by_hand, _MAX_BYTES, given or known)


def _list_zips(record_url: str) -> list[tuple[str, str, str]]:
    """Return name, URL and checksum of every zip that Zenodo's record lists."""
    fix = f"pass {{url}}, or the zip itself with {{archive}} (https://doi.org/{DATASET_DOI})"
    record = read_json(Source(record_url, "Zenodo's record of the data set", fix, 1 << 24))
    try:
        files = [(str(f["key"]), str(f["links"]["self"]), str(f["checksum"])) for f in record["files"]]
    except (LookupError, TypeError):
        files = []
    zips = [file for file in files if file[0].lower().endswith(".zip")]
    if not zips:
        raise InputError(record_url, expected="a record that lists a zip", found="none", fix=fix)
    return zips


def _parse_sha256(text: str) -> str:
    """Return a SHA-256 as `Source` takes it."""
    value = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise InputError(Field("sha256"), expected="64 hexadecimal digits", found=repr(text[:80]), fix="check it")
    return f"sha256:{value}"
