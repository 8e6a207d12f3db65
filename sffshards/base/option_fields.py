"""Options declared once, as annotations of a record's fields or a command's parameters; the command line follows."""

from __future__ import annotations

import inspect
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from sffshards.base.errors import Field, InputError

__all__ = ["Option", "OptionField", "check_bounds", "list_options"]


@dataclass(frozen=True, slots=True)
class Option:
    """What a user reads about an option, and which values it takes.

    It stands in the annotation of a field or a parameter, as in
    ``epochs: Annotated[int, Option("Number of epochs.")] = 100``.
    """

    help: str
    """The help text, one or more sentences; a name in braces, as in ``"{shuffle} blocks"``, is another field's flag."""
    _: KW_ONLY
    flag: str | None = None
    """The flag of the option; None for its name with dashes."""
    minimum: float | None = None
    """The least value of a number."""
    maximum: float | None = None
    """The greatest value of a number."""
    preset: object = None
    """The default of the command line where the record has none."""
    default_text: str | None = None
    """The default in words where it depends on other options; the command line then passes None."""
    metavar: str | None = None
    """The value's place in the help text, such as ``<hours>``; None for the name of its type."""
    envvar: str | None = None
    """The environment variable that may hold the value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionField:
    """A field of a configuration record that is an option."""

    name: str
    kind: Any
    """The type of the field's values."""
    default: Any
    """The default of the command line; None where the default depends on other options."""
    option: Option

    @property
    def flag(self) -> str:
        """The flag of the option, such as ``--batch-size``."""
        return self.option.flag or f"--{self.name.replace('_', '-')}"


@cache
def list_options(record: type) -> tuple[OptionField, ...]:
    """Return the options of a configuration record: those that it declares itself, then those that it inherits."""
    hints = get_type_hints(record, include_extras=True)
    own = inspect.get_annotations(record)
    found = []
    for field in sorted(fields(record), key=lambda field: field.name not in own):
        hint = hints[field.name]
        for option in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if isinstance(option, Option):
                default = option.preset if field.default is MISSING else field.default
                default = None if option.default_text else default
                found.append(OptionField(name=field.name, kind=get_args(hint)[0], default=default, option=option))
    return tuple(found)


def check_bounds(record: Any) -> None:
    """Check the numbers of a configuration record; raises `InputError` for the first that is out of its bounds."""
    for field in list_options(record.__class__):
        minimum, maximum, value = field.option.minimum, field.option.maximum, getattr(record, field.name)
        if minimum is not None and value < minimum:
            expected = f"at least {minimum}"
        elif maximum is not None and value > maximum:
            expected = f"at most {maximum}"
        else:
            continue
        raise InputError(Field(field.name), expected=expected, found=str(value), fix="choose another number")
