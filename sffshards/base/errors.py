"""Errors of the package; each states the place, what was expected, what was found, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

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
    "make_printable",
]


_FIELD = re.compile(r"\{([a-z_]+)\}")


class Field(str):
    """Name of an option in the library; the command line shows the flag of the option instead."""

    __slots__ = ()


class SffshardsError(Exception):
    """Base of all errors raised by sffshards.

    ``expected`` and ``fix`` name an option in braces, as in ``"pass {force}"``. A Python user then reads ``force``, and
    a user of the command line ``--force``.

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
        return partial(type(self), self.where, expected=self.expected, found=self.found, fix=self.fix), ()

    def __str__(self) -> str:
        return self.render(lambda field: f"`{field}`")

    def render(self, show_field: Callable[[str], str]) -> str:
        """Return the error as one line, with every option shown as ``show_field`` formats its name."""
        where = show_field(self.where) if isinstance(self.where, Field) else self.where
        expected, fix = (_FIELD.sub(lambda match: show_field(match[1]), text) for text in (self.expected, self.fix))
        return make_printable(" ".join(f"{where}: expected {expected}, found {self.found}; {fix}".split()))


class InputError(SffshardsError, ValueError):
    """An option, a label list, a name or a folder layout that cannot be used."""


class ImageError(InputError):
    """An image that is missing, damaged, or not an 8-bit grey JPEG of a usable size."""


class FormatError(SffshardsError, ValueError):
    """A file of another format, or of a format version that this program does not know."""


class DamageError(SffshardsError, OSError):
    """A shard, index, manifest or frame store whose bytes have changed since they were written."""


class ConflictError(SffshardsError, FileExistsError):
    """An output folder that belongs to something else, or that another process is writing."""


class StorageError(SffshardsError, OSError):
    """A read or write that the operating system refused: no space, no permission, no such place."""


class TrainingError(SffshardsError, RuntimeError):
    """A training that cannot start or continue."""


def make_printable(text: str) -> str:
    r"""Return text in which characters that a terminal would obey, or cannot show, are written as escapes.

    Names in archives and manifests, and what servers answer, come from others: they must not move the cursor, change
    the title of a window or hide what is printed beside them. Line breaks and tabs stay.

    Examples
    --------
    >>> make_printable("a\x1b[2Jb, Größe")
    'a\\x1b[2Jb, Größe'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun, for messages.

    Examples
    --------
    >>> format_count(1, "flare"), format_count(1200, "flare"), format_count(2, "series", "series")
    ('1 flare', '1,200 flares', '2 series')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
