"""Options declared once, as annotations of a record's fields or a command's parameters; the command line follows."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from sffshards.base.errors import Field, InputError

__all__ = ["Option", "OptionField", "check_bounds", "list_options", "parse_pairs"]


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
    """Return the options of a configuration record: those that it declares itself, then those that it inherits.

    Those of a class come before those of the class that it is derived from.
    """
    hints = get_type_hints(record, include_extras=True)
    home = {name: place for place, kind in reversed(list(enumerate(record.__mro__))) for name in _annotated(kind)}
    found = []
    for field in sorted(fields(record), key=lambda field: home[field.name]):
        hint = hints[field.name]
        for option in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if isinstance(option, Option):
                default = option.preset if field.default is MISSING else field.default
                default = None if option.default_text else default
                found.append(OptionField(name=field.name, kind=get_args(hint)[0], default=default, option=option))
    return tuple(found)


def _annotated(kind: type) -> Iterable[str]:
    return inspect.get_annotations(kind)


def check_bounds(record: Any) -> None:
    """Check the numbers of a configuration record; raises `InputError` for the first that is out of its bounds."""
    for field in list_options(record.__class__):
        minimum, maximum, value = field.option.minimum, field.option.maximum, getattr(record, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            expected = "a finite number"
        elif minimum is not None and value < minimum:
            expected = f"at least {minimum}"
        elif maximum is not None and value > maximum:
            expected = f"at most {maximum}"
        else:
            continue
        raise InputError(Field(field.name), expected=expected, found=str(value), fix="choose another number")


def parse_pairs(pairs: Sequence[str], *, where: object) -> dict[str, Any]:
    """Return values by name from texts such as ``depth=3``; a value is JSON, or else text.

    Raises
    ------
    InputError
        If a text has no name and equals sign, or a name occurs twice; ``where`` is the place that the error names.

    Examples
    --------
    >>> parse_pairs(["depth=3", "kind=plain", "sizes=[1, 2]"], where="--option")
    {'depth': 3, 'kind': 'plain', 'sizes': [1, 2]}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (equals and name.isidentifier()) or name in found:
            shown = f"{name} twice" if name in found else repr(pair[:80])
            raise InputError(where, expected="name=value, each name once", found=shown, fix="correct it")
        try:
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            found[name] = text
    return found
