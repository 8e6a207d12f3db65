"""Commands for Typer: every `Option` of a command, its own or a configuration record's, becomes an option of Typer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_origin

import typer

from sffshards.base.errors import Field
from sffshards.base.option_fields import Option, OptionField, list_options, parse_pairs

__all__ = ["OptionsOf", "to_typer"]


_CONTEXT = "context"
"""Name of the parameter of a command by which Typer passes where its options come from."""


@dataclass(frozen=True, slots=True)
class OptionsOf:
    """The annotation of a parameter that receives those options of a configuration record that were given, by name."""

    record: type
    """The configuration record; see `sffshards.base.option_fields`."""
    without: frozenset[str] = frozenset()
    """Fields that are not options of this command."""


def to_typer(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose signature Typer reads, with each record's options in place of the parameter."""
    signature = inspect.signature(command, eval_str=True)
    records: dict[str, list[OptionField]] = {}

    def list_parameters() -> Iterator[inspect.Parameter]:
        for parameter in signature.parameters.values():
            kind, *notes = get_args(parameter.annotation) or [parameter.annotation]
            match notes:
                case [OptionsOf() as of]:
                    fields = [field for field in list_options(of.record) if field.name not in of.without]
                    flags = {field.name: field.flag for field in list_options(of.record)}
                    records[parameter.name] = fields
                    for field in fields:
                        yield _to_parameter(field.name, field.kind, field.option, field.default, flags)
                case [Option() as option]:
                    yield _to_parameter(parameter.name, kind, option, parameter.default, {})
                case _:
                    yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    @wraps(command)
    def run(**values: Any) -> None:
        context = values.pop(_CONTEXT, None)
        for name, fields in records.items():
            chosen = {field: values.pop(field.name) for field in fields}
            given = {field: value for field, value in chosen.items() if _is_given(context, field.name)}
            values[name] = {field.name: _read(field, value) for field, value in given.items()}
        command(**values)

    parameters = list(list_parameters())
    if records:
        parameters.append(inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _read(field: OptionField, value: Any) -> Any:
    """Return the value of a record's option; Typer knows no dictionaries, so it is given a list of pairs."""
    return parse_pairs(value or [], where=Field(field.name)) if get_origin(field.kind) is dict else value


def _is_given(context: typer.Context, name: str) -> bool:
    """Return whether an option was given by the user, and does not have its value by default."""
    source = context.get_parameter_source(name)
    return source is not None and not source.name.startswith("DEFAULT")


def _to_parameter(name: str, kind: Any, option: Option, default: Any, flags: dict[str, str]) -> inspect.Parameter:
    text = option.help.format_map(flags)
    if get_origin(kind) is dict:
        kind = list[str]
    elif hasattr(kind, "parse"):
        kind = str
    flag = option.flag or f"--{name.replace('_', '-')}"
    if kind is bool and flags:  # so that it can be switched off where a file switches it on
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    if option.default_text:
        kind, text = kind | None, f"{text}  [default: {option.default_text}]"
    shown = typer.Option(
        flag,
        min=option.minimum,
        max=option.maximum,
        help=text,
        metavar=option.metavar,
        envvar=option.envvar,
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown])
