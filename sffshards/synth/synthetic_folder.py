"""Whose a folder of made data is: a note in it says from what it was made, and nobody else's data are written over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sffshards.base.atomic_files import read_text, write_atomic
from sffshards.base.errors import ConflictError
from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import Progress
from sffshards.labels import IMAGE_FOLDER, PUBLISHED_ROOT

__all__ = ["NOTE_NAME", "Origin", "claimed_folder"]

NOTE_NAME = "synth.json"
"""The note in a folder of made data; it is written before anything else."""

_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """All that made data depend on."""

    recipe: int
    """Raised whenever a release draws other images or flares from the same seed."""
    seed: int
    num_harps: int | None
    """Regions in each part; None where lists were given."""
    frames_per_harp: int | None
    """Frames of each region; None where lists were given."""
    lists_sha256: str | None
    """Digest of the given lists; None where none were."""

    def to_json(self) -> str:
        """Give the note's text."""
        return json.dumps({"format_version": _FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"


@contextmanager
def claimed_folder(out: Path, origin: Origin, *, precious: tuple[Path, ...], progress: Progress) -> Iterator[None]:
    """Hold a folder while made data are written to it.

    Parameters
    ----------
    out
        The folder; made if absent.
    origin
        What the data are made from; a folder with this origin is gone on with.
    precious
        Files that would be written over. If one is there in a folder without a note, it is somebody's own.
    progress
        Told when there is something to wait for.

    Raises
    ------
    ConflictError
        If the folder holds other made data or data that were not made, or another process is writing there.
    """
    _check(out, origin, precious)
    with folder_lock(out, progress=progress, wait=False):
        _check(out, origin, precious)
        if not (out / NOTE_NAME).exists():
            write_atomic(out / NOTE_NAME, origin.to_json().encode("ascii"))
        yield


def _check(out: Path, origin: Origin, precious: tuple[Path, ...]) -> None:
    note = out / NOTE_NAME
    if note.exists():
        text = read_text(note)
        if text != origin.to_json():
            raise ConflictError(
                note,
                expected=f"the note of this very set, {_on_one_line(origin.to_json())}",
                found=_on_one_line(text)[:300],
                fix="name another folder, or remove this one",
            )
        return
    foreign = next((path for path in (*precious, *_images(out)) if path.exists()), None)
    if foreign is not None:
        raise ConflictError(
            foreign,
            expected=f"a new folder, or one that `sffshards synth` made, with its {NOTE_NAME}",
            found="data that it did not make",
            fix="name another folder",
        )


def _images(out: Path) -> Iterator[Path]:
    for folder in (out / IMAGE_FOLDER, out / PUBLISHED_ROOT / IMAGE_FOLDER):  # the first would hide the second
        if folder.exists() and not folder.is_dir():
            yield folder
        elif folder.is_dir():
            yield from (path for path in folder.iterdir() if not path.name.startswith("."))


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
