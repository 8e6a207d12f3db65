"""Commands for Typer: every `Option` of a command, its own or a configuration record's, becomes an option of Typer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, get_args

import typer

from sffshards.base.option_fields import Option, list_options

__all__ = ["OptionsOf", "to_typer"]


@dataclass(frozen=True, slots=True)
class OptionsOf:
    """The annotation of a parameter that receives the options of a configuration record, as a dictionary."""

    record: type
    """The configuration record; see `sffshards.base.option_fields`."""
    without: frozenset[str] = frozenset()
    """Fields that are not options of this command."""


def to_typer(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose signature Typer reads, with each record's options in place of the parameter."""
    signature = inspect.signature(command, eval_str=True)
    records: dict[str, list[str]] = {}

    def list_parameters() -> Iterator[inspect.Parameter]:
        for parameter in signature.parameters.values():
            kind, *notes = get_args(parameter.annotation) or [parameter.annotation]
            match notes:
                case [OptionsOf() as of]:
                    fields = [field for field in list_options(of.record) if field.name not in of.without]
                    flags = {field.name: field.flag for field in list_options(of.record)}
                    records[parameter.name] = [field.name for field in fields]
                    for field in fields:
                        yield _to_parameter(field.name, field.kind, field.option, field.default, flags)
                case [Option() as option]:
                    yield _to_parameter(parameter.name, kind, option, parameter.default, {})
                case _:
                    yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    @wraps(command)
    def run(**values: Any) -> None:
        for name, fields in records.items():
            values[name] = {field: values.pop(field) for field in fields}
        command(**values)

    parameters = list(list_parameters())
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _to_parameter(name: str, kind: Any, option: Option, default: Any, flags: dict[str, str]) -> inspect.Parameter:
    text = option.help.format_map(flags)
    if option.default_text:
        kind, text = kind | None, f"{text}  [default: {option.default_text}]"
    shown = typer.Option(
        option.flag or f"--{name.replace('_', '-')}",
        min=option.minimum,
        max=option.maximum,
        help=text,
        metavar=option.metavar,
        envvar=option.envvar,
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown])
