"""The errors that this package raises on purpose; each says where, what was expected, what was found, what to do."""

from __future__ import annotations

__all__ = [
    "ConflictError",
    "DamageError",
    "FormatError",
    "ImageError",
    "InputError",
    "SffshardsError",
    "StorageError",
    "TrainingError",
]


class SffshardsError(Exception):
    """Base of all errors raised by sffshards.

    Parameters
    ----------
    where
        The file and line, the member of a file, or the option that is wrong.
    expected
        What was expected there.
    found
        What was found instead.
    fix
        What the user can do about it, as an imperative sentence without a full stop.
    """

    def __init__(self, where: object, *, expected: str, found: str, fix: str) -> None:
        self.where = str(where)
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(f"{self.where}: expected {expected}, found {found}; {fix}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.where, self.expected, self.found, self.fix)

    def __str__(self) -> str:
        return " ".join(str(self.args[0]).split()) if self.args else ""


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
