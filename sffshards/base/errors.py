"""The errors that this package raises on purpose; each says where, what was expected, what was found, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = [
    "ConflictError",
    "DamageError",
    "Field",
    "FormatError",
    "ImageError",
    "InputError",
    "SffshardsError",
    "StorageError",
    "TrainingError",
    "format_count",
]


_FIELD = re.compile(r"\{([a-z_]+)\}")


class Field(str):
    """The name of an option, as a library function has it; the command line shows the option's flag instead."""

    __slots__ = ()


class SffshardsError(Exception):
    """Base of all errors raised by sffshards.

    Where ``expected`` and ``fix`` speak of an option, they give its name in braces, as in ``"pass {force}"``: a
    Python user reads ``force``, a user of the command line ``--force``.

    Parameters
    ----------
    where
        The file and line, the member of a file, or the `Field` that is wrong.
    expected
        What was expected there.
    found
        What was found instead.
    fix
        What the user can do about it, as an imperative sentence without a full stop.
    """

    def __init__(self, where: object, *, expected: str, found: str, fix: str) -> None:
        self.where = where if isinstance(where, Field) else str(where)
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(f"{self.where}: expected {expected}, found {found}; {fix}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.where, self.expected, self.found, self.fix)

    def __str__(self) -> str:
        return self.render(lambda field: f"`{field}`")

    def render(self, show_field: Callable[[str], str]) -> str:
        """Return the error as one line, with every option shown as ``show_field`` shows its name."""
        where = show_field(self.where) if isinstance(self.where, Field) else self.where
        expected, fix = (_FIELD.sub(lambda match: show_field(match[1]), text) for text in (self.expected, self.fix))
        return " ".join(f"{where}: expected {expected}, found {self.found}; {fix}".split())


class InputError(SffshardsError, ValueError):
    """An option, a label list, a name or a folder layout that cannot be used."""


class ImageError(InputError):
    """An image that is missing, damaged or not an 8-bit grey JPEG of a usable size."""


class FormatError(SffshardsError, ValueError):
    """A file that is not of this package's formats, or of a version that this program does not know."""


class DamageError(SffshardsError, OSError):
    """A shard, index, manifest or store whose bytes are not those that were written."""


class ConflictError(SffshardsError, FileExistsError):
    """An output folder that belongs to something else, or that another process is writing."""


class StorageError(SffshardsError, OSError):
    """A read or write that the operating system refused: no space, no permission, no such place."""


class TrainingError(SffshardsError, RuntimeError):
    """A training run that cannot start or go on."""


def _rebuild(cls: type[SffshardsError], where: str, expected: str, found: str, fix: str) -> SffshardsError:
    """Rebuild an error that crossed a process border."""
    return cls(where, expected=expected, found=found, fix=fix)


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun, for messages.

    Examples
    --------
    >>> format_count(1, "flare"), format_count(1200, "flare"), format_count(2, "series", "series")
    ('1 flare', '1,200 flares', '2 series')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
