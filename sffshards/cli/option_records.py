"""Commands whose options are the fields of a configuration record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Annotated, Any

import typer

from sffshards.base.option_fields import OptionField, list_options

__all__ = ["with_options"]

_Command = Callable[..., None]


def with_options(record: type, *, after: str, without: Collection[str] = ()) -> Callable[[_Command], _Command]:
    """Return a decorator that adds a record's options to a command.

    Parameters
    ----------
    record
        The configuration record; see `sffshards.base.option_fields`.
    after
        Name of the command's parameter after which the options are listed.
    without
        Fields that are not options of this command.

    Returns
    -------
    a decorator; the command receives the values as a dictionary, ``choices``
    """
    flags = {field.name: field.flag for field in list_options(record)}
    options = [field for field in list_options(record) if field.name not in without]

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def run(**values: Any) -> None:
            choices = {field.name: values.pop(field.name) for field in options}
            command(**values, choices=choices)

        signature = inspect.signature(command, eval_str=True)
        parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "choices"]
        place = [parameter.name for parameter in parameters].index(after) + 1
        parameters[place:place] = [_to_parameter(field, flags) for field in options]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _to_parameter(field: OptionField, flags: dict[str, str]) -> inspect.Parameter:
    option, kind = field.option, field.kind
    text = option.help.format_map(flags)
    if option.default_text:
        kind, text = kind | None, f"{text}  [default: {option.default_text}]"
    shown = typer.Option(field.flag, min=option.minimum, help=text, show_default=not option.default_text)
    return inspect.Parameter(
        field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=Annotated[kind, shown]
    )
