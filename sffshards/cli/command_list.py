"""The list of commands, in the order in which a user needs them."""

from __future__ import annotations

import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sffshards import __version__
from sffshards.cli.command_options import to_typer

__all__ = ["register"]

_COMMANDS = (
    "demo",
    *("synth", "fetch", "ingest", "labels", "sequences"),  # data
    *("build", "info", "verify", "show"),  # shards
    *("baselines", "train", "evaluate", "score", "import_", "combine", "reproduce"),  # forecasts and their scores
    *("report", "predict", "explain"),  # results
)
"""Modules with a function of the same name or, of a group, with HELP and a tuple COMMANDS of functions.

A command whose name is a word of Python ends in an underscore here.
"""

_EXAMPLES = "\n\nExamples\n--------\n"
"""The heading of a docstring's last section, in which a command and, indented, its purpose alternate."""


class InOrder(TyperGroup):
    """A group that lists commands in the order above; Typer would list groups first."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in order."""
        return sorted(self.commands, key=[_name(module) for module in _COMMANDS].index)


def register(app: typer.Typer) -> None:
    """Add every command and ``--version``."""
    app.callback(cls=InOrder)(_root)
    for name in _COMMANDS:
        module = import_module(f"sffshards.cli.{name}")
        if hasattr(module, "COMMANDS"):
            group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
            firsts = [example for command in module.COMMANDS for example in _add(group, command)[:1]]
            app.add_typer(group, name=name, help=module.HELP, epilog=_format_examples(firsts))
        else:
            _add(app, getattr(module, name))


def _add(app: typer.Typer, command: Callable[..., None]) -> list[tuple[str, str]]:
    """Add a command and return its examples."""
    text, _, section = (inspect.getdoc(command) or "").partition(_EXAMPLES)
    lines = [line.strip() for line in section.splitlines()]
    examples = list(zip(lines[::2], lines[1::2], strict=True))
    run = _until_nobody_reads(to_typer(command))
    app.command(_name(command.__name__), help=text, epilog=_format_examples(examples))(run)
    return examples


def _name(function: str) -> str:
    """Return the name of a command from that of its function."""
    return function.removesuffix("_").replace("_", "-")


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


def _format_examples(examples: Sequence[tuple[str, str]]) -> str:
    if not examples:  # Python was started with -OO, which removes docstrings
        return ""
    lines = [f"  # {what}\n  {_continue(command)}" for command, what in examples]
    # The character \b keeps click from joining the lines into a paragraph.
    return "\b\n" + "\n".join(["Examples:", *lines])


def _continue(command: str) -> str:
    """Return a command in lines of less than 80 columns that a shell reads as one."""
    joined = re.sub(r"(?<= )(--[a-z-]+) (?!-)", "\\1\0", command)  # an option stays with its value
    lines = textwrap.wrap(joined, 72, break_long_words=False, break_on_hyphens=False)
    return " \\\n      ".join(lines).replace("\0", " ")
