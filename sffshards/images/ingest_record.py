"""Whose a folder of ingested images is, and the record in it: with which options, from which files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from sffshards.base.atomic_files import read_text, storage_errors, write_atomic
from sffshards.base.errors import ConflictError, FormatError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.domain.frames import IMAGE_SUFFIX, FrameId
from sffshards.labels import IMAGE_FOLDER

__all__ = ["INGEST_NAME", "IngestFolder", "IngestReport", "Ingested", "Options", "claimed_images", "read_ingested"]

INGEST_NAME = "ingest.json"
"""The record in a folder of ingested images, beside ``magnetogram_jpg/``."""

Options = Mapping[str, str | float | int | None]
"""All that the images depend on beside their sources."""

_FORMAT_VERSION = 1
_SAVE_EVERY = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """How an image was made."""

    source: str
    """Name of the file that it was made from."""
    sha256: str
    """SHA-256 of that file, as it lay there."""
    quality: int = 0
    """JSOC's QUALITY of it, as bits; 0 for a movie."""
    num_missing: int = 0
    """Pixels without a value, which are shown as zero field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestReport:
    """What was done."""

    num_images: int
    """Images in the folder now."""
    num_written: int
    """Of them, written this time."""
    num_kept: int
    """Wanted ones that were there already."""
    left_out: Mapping[str, int]
    """Files that were not wanted, by reason."""
    num_bad: int
    """Files that could not be used, and were skipped."""


@dataclass(kw_only=True, slots=True)
class IngestFolder:
    """A folder of images, and its record; it alone writes there."""

    out: Path
    options: Options
    frames: dict[str, Ingested] = field(default_factory=dict)
    """How each image was made, by the frame's name."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why files were not wanted, by their names."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why files could not be used, by their names."""
    _unsaved: int = 0

    def path_of(self, name: str) -> Path:
        """Give the place of a frame's image."""
        return self.out / IMAGE_FOLDER / (name + IMAGE_SUFFIX)

    def has(self, name: str, *, source: str, sha256: str) -> bool:
        """Say whether a frame is there, from this source.

        Raises
        ------
        ConflictError
            If it is there from another.
        """
        known = self.frames.get(name)
        if known is None or not self.path_of(name).is_file():
            return False
        if known.sha256 != sha256:
            raise ConflictError(
                self.path_of(name),
                expected=f"an image made from {source} (SHA-256 {sha256[:16]}...)",
                found=f"one made from {known.source} (SHA-256 {known.sha256[:16]}...)",
                fix="name another folder with --out, or begin anew with --force",
            )
        return True

    def add(self, name: str, ingested: Ingested) -> None:
        """Record an image that has been written."""
        self.frames[name] = ingested
        self._unsaved += 1
        if self._unsaved >= _SAVE_EVERY:
            self.save()

    def pass_over(self, sources: Iterable[str], *, left_out: Mapping[str, str], skipped: Mapping[str, str]) -> None:
        """Record which of these files are passed over now, and why; what was said of them before is forgotten."""
        for source in sources:
            self.left_out.pop(source, None)
            self.skipped.pop(source, None)
        self.left_out.update(left_out)
        self.skipped.update(skipped)

    def save(self) -> None:
        """Write the record; raises `StorageError` if the system refuses."""
        content = {
            "format_version": _FORMAT_VERSION,
            "options": dict(self.options),
            "frames": {name: asdict(ingested) for name, ingested in sorted(self.frames.items())},
            "left_out": dict(sorted(self.left_out.items())),
            "skipped": dict(sorted(self.skipped.items())),
        }
        write_atomic(self.out / INGEST_NAME, (json.dumps(content, indent=1) + "\n").encode())
        self._unsaved = 0


def read_ingested(out: Path) -> IngestFolder | None:
    """Read the record of a folder of ingested images; None where there is none.

    Raises
    ------
    FormatError
        If it is not of this form.
    StorageError
        If the system refuses.
    """
    path = out / INGEST_NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(read_text(path))
        if content["format_version"] != _FORMAT_VERSION:
            raise ValueError
        names = {entry.name for entry in fields(Ingested)}
        frames = {FrameId.parse(name).name: _parse_ingested(value, names) for name, value in content["frames"].items()}
        left_out, skipped = ({str(k): str(v) for k, v in content[key].items()} for key in ("left_out", "skipped"))
        options = {name: _parse_option(value) for name, value in content["options"].items()}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise FormatError(
            path,
            expected=f"a record of ingested images, format version {_FORMAT_VERSION}",
            found="something else",
            fix="name another folder with --out, or remove this one",
        ) from None
    return IngestFolder(out=out, options=options, frames=frames, left_out=left_out, skipped=skipped)


@contextmanager
def claimed_images(out: Path, options: Options, *, force: bool, progress: Progress) -> Iterator[IngestFolder]:
    """Hold a folder while images are written to it; its record is saved when the block ends, however it ends.

    Parameters
    ----------
    out
        The folder; made if absent. One with a record of the same options is gone on with.
    options
        What the images are made with.
    force
        Whether to begin anew: images that the record names are removed, others there may be written over.
    progress
        Told what should be known.

    Raises
    ------
    ConflictError
        If the folder holds images made with other options, or of other origin, or another process is writing there.
    """
    _find(out, options, force=force)
    with folder_lock(out, progress=progress, wait=False):
        folder = _find(out, options, force=force)
        if force:
            _remove_images(folder)
        with storage_errors(out):
            (out / IMAGE_FOLDER).mkdir(parents=True, exist_ok=True)
        folder.save()
        try:
            yield folder
        finally:
            folder.save()


def _find(out: Path, options: Options, *, force: bool) -> IngestFolder:
    """Give the folder as it is, or raise why it is not to be written to."""
    known = read_ingested(out)
    if known is None:
        images = out / IMAGE_FOLDER
        foreign = next((path for path in images.glob("*") if not path.name.startswith(".")), None)
        if foreign is not None and not force:
            raise ConflictError(
                foreign,
                expected=f"a new folder, or one that `sffshards ingest` made, with its {INGEST_NAME}",
                found="images that it did not make",
                fix="name another folder with --out, or give --force to write over those of the same names",
            )
        return IngestFolder(out=out, options=options)
    changed = [key for key in {**known.options, **options} if known.options.get(key) != options.get(key)]
    if changed and not force:
        key = changed[0]
        raise ConflictError(
            out / INGEST_NAME,
            expected=f"images made with {key} {options.get(key)}",
            found=f"some made with {key} {known.options.get(key)}",
            fix="name another folder with --out, or begin anew with --force",
        )
    return IngestFolder(out=out, options=options, frames=known.frames) if force else known


def _remove_images(folder: IngestFolder) -> None:
    with storage_errors(folder.out):
        for name in folder.frames:
            folder.path_of(name).unlink(missing_ok=True)
    folder.frames.clear()


def _parse_option(value: object) -> str | float | int | None:
    """Take an option that a manifest can hold too."""
    if value is None or (isinstance(value, str) and value.isprintable()):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    raise ValueError


def _parse_ingested(value: Mapping[str, object], names: set[str]) -> Ingested:
    if set(value) != names:
        raise ValueError
    source, sha256, quality, num_missing = (value[key] for key in ("source", "sha256", "quality", "num_missing"))
    if not (isinstance(source, str) and isinstance(sha256, str)):
        raise TypeError
    if not (isinstance(quality, int) and isinstance(num_missing, int)):
        raise TypeError
    return Ingested(source=source, sha256=sha256, quality=quality, num_missing=num_missing)
