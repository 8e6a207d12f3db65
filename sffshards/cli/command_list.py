"""The list of commands, in the order in which a user needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sffshards import __version__
from sffshards.cli import (
    baselines,
    build,
    demo,
    evaluate,
    fetch,
    info,
    ingest,
    labels,
    predict,
    report,
    reproduce,
    sequences,
    show,
    synth,
    train,
    verify,
)

__all__ = ["register"]

_Command = tuple[Callable[..., None], tuple[tuple[str, str], ...]]

_COMMANDS: dict[str, _Command | ModuleType] = {
    "demo": (demo.demo, demo.EXAMPLES),
    "synth": (synth.synth, synth.EXAMPLES),
    "fetch": fetch,
    "ingest": (ingest.ingest, ingest.EXAMPLES),
    "labels": labels,
    "sequences": (sequences.sequences, sequences.EXAMPLES),
    "build": (build.build, build.EXAMPLES),
    "info": (info.info, info.EXAMPLES),
    "verify": (verify.verify, verify.EXAMPLES),
    "show": (show.show, show.EXAMPLES),
    "baselines": (baselines.baselines, baselines.EXAMPLES),
    "train": (train.train, train.EXAMPLES),
    "evaluate": (evaluate.evaluate, evaluate.EXAMPLES),
    "reproduce": (reproduce.reproduce, reproduce.EXAMPLES),
    "report": (report.report, report.EXAMPLES),
    "predict": (predict.predict, predict.EXAMPLES),
}
"""A function with its examples, or a module with the HELP and the COMMANDS of a group."""


class InOrder(TyperGroup):
    """A group that lists commands in the order above; Typer would list groups first."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in order."""
        return sorted(self.commands, key=list(_COMMANDS).index)


def register(app: typer.Typer) -> None:
    """Add every command and ``--version``."""
    app.callback(cls=InOrder)(_root)
    for name, command in _COMMANDS.items():
        if isinstance(command, ModuleType):
            group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
            for part in command.COMMANDS:
                _add(group, part)
            examples = tuple(of_part[0] for _, of_part in command.COMMANDS)
            app.add_typer(group, name=name, help=command.HELP, epilog=_format_examples(examples))
        else:
            _add(app, command)


def _add(app: typer.Typer, command: _Command) -> None:
    function, examples = command
    app.command(epilog=_format_examples(examples))(_until_nobody_reads(function))


def _until_nobody_reads(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that ends without an error when the reader of its output, such as `head`, ends first."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return run


def _print_version(version: bool) -> None:
    if version:
        print(f"sffshards {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Do nothing: the options of the program itself act when they are parsed."""


def _format_examples(examples: tuple[tuple[str, str], ...]) -> str:
    width = max(len(command) for command, _ in examples)
    lines = [f"  {command:<{width}}  # {what}" for command, what in examples]
    # The character \b keeps click from joining the lines into a paragraph.
    return "\b\n" + "\n".join(["Examples:", *lines])
