"""A folder of ingested images, and the record in it of the options and files that they were made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sffshards.base.atomic_files import remove_temporary, storage_errors
from sffshards.base.errors import ConflictError, FormatError, InputError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.json_records import Count, JsonFormat, read_record, write_record
from sffshards.base.progress import Progress
from sffshards.domain.frames import HARP_NUMBERS, IMAGE_SUFFIX, FrameId, HarpNumbers
from sffshards.labels import IMAGE_FOLDER, is_system_file

INGEST_NAME = "ingest.json"
"""File name of the record, beside ``magnetogram_jpg/``."""

_DEFAULTS = {HARP_NUMBERS: HarpNumbers.DEFINITIVE}
"""Options that older records and those of movies do not state."""

Option = str | float | Count | None
"""A value of an option, as JSON holds it."""

_FORMAT_VERSION = 1
_EXPECTS = JsonFormat(
    expected=f"a record of ingested images, format version {_FORMAT_VERSION}",
    fix="name another folder, or remove this file",
    version=_FORMAT_VERSION,
    error=FormatError,
)
_WRITTEN = re.compile(r"hmi\..+" + re.escape(IMAGE_SUFFIX))
_SAVE_EVERY = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """The source of an image."""

    source: str
    """Name of the file that the image was made from."""
    sha256: str
    """SHA-256 of that file."""
    quality: int = 0
    """JSOC's QUALITY of the frame, as 32 bits without a sign; 0 for a movie."""
    num_missing: int = 0
    """Number of pixels without a value, which are shown as zero field."""
    num_zero: int = 0
    """Number of pixels whose field is exactly zero."""
    has_stale_datasum: bool = False
    """Whether the pixels disagreed with the DATASUM of the file, which was ignored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestRecord:
    """The content of ``ingest.json``."""

    options: dict[str, Option]
    """Everything that the images depend on besides their sources."""
    frames: dict[str, Ingested] = field(default_factory=dict)
    """Source of each image, by the frame's name."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Reasons for which files were not wanted, by file name."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Reasons for which files could not be used, by file name."""
    outdated: tuple[str, ...] = ()
    """Names of frames whose images an ingest from scratch has not replaced yet; the last are removed when it ends."""

    @property
    def harp_numbers(self) -> HarpNumbers:
        """Which numbers the HARPs have; those of movies, and of older records, are taken as definitive."""
        return HarpNumbers(str(self.options.get(HARP_NUMBERS, HarpNumbers.DEFINITIVE)))

    def __post_init__(self) -> None:
        if not all(value.isprintable() for value in self.options.values() if isinstance(value, str)):
            raise ValueError("an option that cannot be printed")
        _ = self.harp_numbers  # raises where it is no such value
        try:
            for name in (*self.frames, *self.outdated):
                FrameId.parse(name)
        except InputError as error:
            raise ValueError(str(error)) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestReport:
    """Counts of an ingest."""

    num_images: int
    """Images in the folder now."""
    num_written: int
    """Images written this time."""
    num_kept: int
    """Wanted images that existed already."""
    left_out: Mapping[str, int]
    """Number of files that were not wanted, by reason."""
    num_bad: int
    """Number of files that could not be used, and were skipped."""


class IngestFolder:
    """A folder of images with its record, held by the only process that writes there."""

    def __init__(self, out: Path, record: IngestRecord) -> None:
        self.out = out
        self.record = record
        self._num_unsaved = 0

    def path_of(self, name: str) -> Path:
        """Return the path of a frame's image."""
        return self.out / IMAGE_FOLDER / (name + IMAGE_SUFFIX)

    def has(self, name: str, *, source: str, sha256: str) -> bool:
        """Return whether the image of a frame exists; raises `ConflictError` if it was made from another source."""
        known = self.record.frames.get(name)
        if known is None or not self.path_of(name).is_file():
            return False
        if known.sha256 != sha256:
            raise ConflictError(
                self.path_of(name),
                expected=f"an image made from {source} (SHA-256 {sha256[:16]}...)",
                found=f"one made from {known.source} (SHA-256 {known.sha256[:16]}...)",
                fix="name another folder, or start from scratch with {force}",
            )
        return True

    def add(self, name: str, ingested: Ingested) -> None:
        """Record an image that has been written."""
        self.record.frames[name] = ingested
        self._num_unsaved += 1
        if self._num_unsaved >= _SAVE_EVERY:
            self.save()

    def pass_over(self, sources: Iterable[str], *, left_out: Mapping[str, str], skipped: Mapping[str, str]) -> None:
        """Record which of these files are not used now, and why; earlier reasons are removed."""
        for source in sources:
            self.record.left_out.pop(source, None)
            self.record.skipped.pop(source, None)
        self.record.left_out.update(left_out)
        self.record.skipped.update(skipped)

    def remove_outdated(self) -> None:
        """Remove the images that were there before an ingest from scratch, and that it has not replaced."""
        with storage_errors(self.out):
            for name in set(self.record.outdated) - set(self.record.frames):
                self.path_of(name).unlink(missing_ok=True)
        self.record = replace(self.record, outdated=())

    def save(self) -> None:
        """Write the record; raises `StorageError` if the system refuses."""
        ordered = replace(
            self.record,
            frames=dict(sorted(self.record.frames.items())),
            left_out=dict(sorted(self.record.left_out.items())),
            skipped=dict(sorted(self.record.skipped.items())),
        )
        write_record(self.out / INGEST_NAME, ordered, version=_FORMAT_VERSION)
        self._num_unsaved = 0


def read_ingested(out: Path) -> IngestRecord | None:
    """Read the record of a folder of ingested images, or return None where there is none.

    Raises
    ------
    FormatError
        If the record is of another version, or damaged.
    StorageError
        If the system refuses.
    """
    path = out / INGEST_NAME
    return read_record(path, IngestRecord, expects=_EXPECTS) if path.is_file() else None


@contextmanager
def claimed_images(
    out: Path, options: Mapping[str, Option], *, force: bool, progress: Progress
) -> Iterator[IngestFolder]:
    """Hold a folder while images are written to it; its record is saved when the block ends, however it ends.

    Parameters
    ----------
    out
        The folder; created if absent. Writing resumes in one with a record of the same options.
    options
        Options that the images are made with.
    force
        Whether to start from scratch: images that the record names are replaced one by one, and removed when the block
        ends without an error if they were not; others may be overwritten.
    progress
        Receives notes.

    Raises
    ------
    ConflictError
        If the folder holds images made with other options or from other sources, or another process is writing there.
    """
    _read_or_refuse(out, options, force=force)
    with folder_lock(out, progress=progress, wait=False):
        folder = IngestFolder(out, _read_or_refuse(out, options, force=force))
        with storage_errors(out):
            (out / IMAGE_FOLDER).mkdir(parents=True, exist_ok=True)
        remove_temporary(out / IMAGE_FOLDER, _WRITTEN)
        if force:
            names = {*folder.record.frames, *folder.record.outdated}
            folder.record = replace(folder.record, frames={}, outdated=tuple(sorted(names)))
        folder.save()
        try:
            yield folder
            folder.remove_outdated()
        finally:
            folder.save()


def _read_or_refuse(out: Path, options: Mapping[str, Option], *, force: bool) -> IngestRecord:
    """Return the record of a folder, or raise why images may not be written there."""
    known = read_ingested(out)
    if known is not None and not force:
        for key in {**known.options, **options}:
            mine, theirs = (of.get(key, _DEFAULTS.get(key)) for of in (options, known.options))
            if mine != theirs:
                raise ConflictError(
                    out / INGEST_NAME,
                    expected=f"images made with {key} {mine}",
                    found=f"images made with {key} {theirs}",
                    fix="name another folder, or start from scratch with {force}",
                )
        return known
    foreign = next((path for path in (out / IMAGE_FOLDER).glob("*") if not is_system_file(path.name)), None)
    if foreign is not None and not force:
        raise ConflictError(
            foreign,
            expected=f"a new folder, or one that `sffshards ingest` wrote, with its {INGEST_NAME}",
            found="images that it did not write",
            fix="name another folder, or overwrite those of the same names with {force}",
        )
    known = known or IngestRecord(options={})
    return IngestRecord(options=dict(options), frames=known.frames, outdated=known.outdated)
