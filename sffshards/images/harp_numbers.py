"""Which HARP numbers images and lists have: JSOC numbers the near-real-time and the definitive series apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from sffshards.base.errors import InputError
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.task import is_task_name
from sffshards.images.ingest_record import INGEST_NAME, read_ingested
from sffshards.labels import IMAGE_FOLDER, REBUILT_NAME, read_stated_numbers


class Numbered(Protocol):
    """A map or table by HARP number."""

    @property
    def source(self) -> str:
        """Path of the file."""
        ...  # pragma: no cover

    @property
    def harp_numbers(self) -> HarpNumbers:
        """Which numbers it has."""
        ...  # pragma: no cover


def choose_harp_numbers(files: Mapping[str, HarpNumbers]) -> HarpNumbers:
    """Return which HARP numbers files have; raises `InputError` if not all have the same.

    Parameters
    ----------
    files
        The numbers that each file has, by its name.
    """
    kinds = {numbers: name for name, numbers in files.items()}
    if len(kinds) > 1:
        raise InputError(
            kinds[HarpNumbers.NEAR_REAL_TIME],
            expected="near-real-time files alone, or definitive ones: the same HARP number is another region in each",
            found=f"both, as in {kinds[HarpNumbers.DEFINITIVE]}",
            fix="choose the {series} of one of them",
        )
    return next(iter(kinds), HarpNumbers.DEFINITIVE)


def find_harp_numbers(*places: Path) -> HarpNumbers:
    """Return which HARP numbers the images and lists of some places have: definitive, unless a record states otherwise.

    The records are ``ingest.json`` beside images, and ``labels.json`` beside rebuilt lists.

    Parameters
    ----------
    places
        Folders of images or lists, data folders, or lists.

    Raises
    ------
    InputError
        If some have near-real-time numbers and others definitive ones.
    FormatError
        If a record is damaged.
    """
    stated = {path: numbers for place in places for path, numbers in _read_stated(place)}
    kinds = {numbers: path for path, numbers in stated.items()}
    if len(kinds) > 1:
        raise InputError(
            kinds[HarpNumbers.NEAR_REAL_TIME],
            expected=f"definitive HARP numbers, as {kinds[HarpNumbers.DEFINITIVE]} states",
            found="near-real-time ones, which are numbers of other regions",
            fix="name images and lists of the same series",
        )
    return next(iter(kinds), HarpNumbers.DEFINITIVE)


def require_harp_numbers(of: Numbered, numbers: HarpNumbers, *, where: object) -> None:
    """Refuse a map or table of near-real-time HARP numbers for definitive ones, and the reverse.

    Parameters
    ----------
    of
        The map or table.
    numbers
        Which numbers it should have.
    where
        The place that has these numbers.

    Raises
    ------
    InputError
        If it has others.
    """
    fixes = {
        HarpNumbers.NEAR_REAL_TIME: "use images of the definitive series; a file of near-real-time numbers "
        "states it in a comment before its lines, `# near-real-time`",
        HarpNumbers.DEFINITIVE: "name a file of the definitive numbers, such as JSOC's all_harps_with_noaa_ars.txt",
    }
    if of.harp_numbers is not numbers:
        raise InputError(
            of.source,
            expected=f"{numbers} HARP numbers, as in {where}",
            found=f"{of.harp_numbers} ones, which are numbers of other regions",
            fix=fixes[numbers],
        )


def _read_stated(place: Path) -> Iterator[tuple[Path, HarpNumbers]]:
    """Yield the records that state the numbers of a place, and which they state."""
    folder = place.parent if place.is_file() or place.name == IMAGE_FOLDER else place
    if is_task_name(folder.name):
        folder = folder.parent
    ingested = read_ingested(folder)
    if ingested is not None:
        yield folder / INGEST_NAME, ingested.harp_numbers
    stated = read_stated_numbers(folder)
    if stated is not None:
        yield folder / REBUILT_NAME, stated
