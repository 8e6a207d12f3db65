"""The published data set, from Zenodo or a mirror, to a data folder that `sffshards build` takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sffshards.base.atomic_files import write_atomic
from sffshards.base.errors import DamageError, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import SILENT, Progress
from sffshards.fetch.http_transfer import read_json
from sffshards.fetch.verified_download import Checksum, Source, download
from sffshards.fetch.zip_extraction import Extracted, check_zip, extract_dataset

__all__ = ["DATASET_DOI", "FETCH_NAME", "RECORD_URL", "DatasetReport", "fetch_dataset"]

DATASET_DOI = "10.5281/zenodo.10246577"
RECORD_URL = "https://zenodo.org/api/records/10246577"
"""Zenodo's description of the record, in JSON: its files, with sizes and MD5."""

FETCH_NAME = "fetch.json"
"""What was fetched, beside it."""

_FORMAT_VERSION = 1
_MAX_BYTES = 1 << 38
_UNCHECKED = "nothing: no checksum of it is known to this program, and none was given"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Archive:
    """A zip of the data set."""

    name: str
    url: str
    checksum: Checksum | None
    checked_by: str
    """What says that it is the right one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReport:
    """What was fetched from an archive."""

    url: str
    sha256: str
    """Of the zip that arrived."""
    size_bytes: int
    checked_by: str
    num_images: int
    num_lists: int
    num_written: int
    num_others: int
    """Members of the zip that were left out."""


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
    """Fetch the published zip, verify it, and take its images and label lists out.

    This program knows no checksum of the zip. Without ``url``, the MD5 that Zenodo's record states is checked; what
    arrived is recorded with its SHA-256 in ``data/fetch.json``.

    Parameters
    ----------
    data
        The data folder to make or to add to.
    url
        Of the zip at a mirror.
    sha256
        What the zip must have, where the user knows it.
    archive
        The zip, where the user has fetched it by hand; nothing is asked over the network then.
    record_url
        Of Zenodo's description of the record.
    keep_archive
        Whether the zip stays in ``data``.
    force
        Whether to replace files of the same names that are others.
    progress
        Told how far it is.

    Returns
    -------
    A report for each zip.

    Raises
    ------
    DamageError
        If what arrives is another file, or no safe zip.
    ConflictError
        If other files of the same names are there.
    InputError
        If the URL cannot be used, or the record lists no zip.
    StorageError
        If it cannot be had now, or not be written; the next call goes on.
    """
    given = Checksum(algorithm="sha256", value=_parse_sha256(sha256)) if sha256 else None
    with folder_lock(data, progress=progress, wait=False):
        if archive is not None:
            report = _take(archive, str(archive), given, "the SHA-256 given" if given else _UNCHECKED)
            reports = [_extracted(report, extract_dataset(archive, data, force=force, progress=progress))]
        else:
            reports = []
            for found in _archives(url, given, record_url):
                path = data / found.name
                by_hand = _by_hand(data)
                source = Source(found.url, f"the zip {found.name}", by_hand, _MAX_BYTES)
                download(source, path, checksum=found.checksum, check=check_zip, progress=progress)
                report = _take(path, found.url, None, found.checked_by)
                reports.append(_extracted(report, extract_dataset(path, data, force=force, progress=progress)))
                if not keep_archive:
                    path.unlink()
        content = {"format_version": _FORMAT_VERSION, "archives": [asdict(report) for report in reports]}
        write_atomic(data / FETCH_NAME, (json.dumps(content, indent=1) + "\n").encode())
    return reports


def _take(path: Path, url: str, checksum: Checksum | None, checked_by: str) -> DatasetReport:
    """Describe a zip, after checking it."""
    sha256 = hash_file(path, expected="a zip that can be read")
    if checksum is not None and sha256 != checksum.value:
        raise DamageError(
            path,
            expected=f"a zip of SHA-256 {checksum.value[:16]}...",
            found=f"one of {sha256[:16]}...",
            fix="fetch it again, or check --sha256",
        )
    return DatasetReport(
        url=url,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        checked_by=checked_by,
        num_images=0,
        num_lists=0,
        num_written=0,
        num_others=0,
    )


def _extracted(report: DatasetReport, extracted: Extracted) -> DatasetReport:
    return DatasetReport(
        url=report.url,
        sha256=report.sha256,
        size_bytes=report.size_bytes,
        checked_by=report.checked_by,
        **extracted._asdict(),
    )


def _archives(url: str | None, given: Checksum | None, record_url: str) -> Iterator[_Archive]:
    """Say which zips to fetch: the one at a mirror, or those that the record lists."""
    if url is not None:
        name = _file_name(url.rpartition("/")[2].partition("?")[0])
        yield _Archive(name=name, url=url, checksum=given, checked_by="the SHA-256 given" if given else _UNCHECKED)
        return
    by_hand = f"give --url, or the zip itself with --archive (https://doi.org/{DATASET_DOI})"
    record = read_json(Source(record_url, "Zenodo's record of the data set", by_hand, 1 << 24))
    try:
        files = [(str(f["key"]), str(f["links"]["self"]), str(f["checksum"])) for f in record["files"]]
    except (LookupError, TypeError):
        files = []
    zips = [file for file in files if file[0].lower().endswith(".zip")]
    if not zips:
        raise InputError(record_url, expected="a record that lists a zip", found="none", fix=by_hand)
    for name, link, checksum in zips:
        algorithm, _, value = checksum.partition(":")
        if given is not None:
            yield _Archive(name=_file_name(name), url=link, checksum=given, checked_by="the SHA-256 given")
        elif algorithm == "md5" and re.fullmatch(r"[0-9a-f]{32}", value):
            known = Checksum(algorithm="md5", value=value)
            yield _Archive(name=_file_name(name), url=link, checksum=known, checked_by="the MD5 of Zenodo's record")
        else:
            yield _Archive(name=_file_name(name), url=link, checksum=None, checked_by=_UNCHECKED)


def _file_name(text: str) -> str:
    """Make a plain file name of what a server calls a file."""
    plain = re.sub(r"[^\w.-]", "_", text).lstrip(".")
    return plain if plain.lower().endswith(".zip") else f"{plain or 'dataset'}.zip"


def _parse_sha256(text: str) -> str:
    value = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise InputError("--sha256", expected="64 hexadecimal digits", found=repr(text[:80]), fix="check it")
    return value


def _by_hand(data: Path) -> str:
    return (
        f"fetch the zip of https://doi.org/{DATASET_DOI} elsewhere, and give it to "
        f"`sffshards fetch dataset {data} --archive FILE`"
    )
