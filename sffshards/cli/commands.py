"""The list of commands, in the order in which a user needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Annotated, Any

import typer

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

_COMMANDS = (
    (demo.demo, demo.EXAMPLES),
    (synth.synth, synth.EXAMPLES),
    (ingest.ingest, ingest.EXAMPLES),
    (sequences.sequences, sequences.EXAMPLES),
    (build.build, build.EXAMPLES),
    (info.info, info.EXAMPLES),
    (verify.verify, verify.EXAMPLES),
    (show.show, show.EXAMPLES),
    (baselines.baselines, baselines.EXAMPLES),
    (train.train, train.EXAMPLES),
    (evaluate.evaluate, evaluate.EXAMPLES),
    (reproduce.reproduce, reproduce.EXAMPLES),
    (predict.predict, predict.EXAMPLES),
    (report.report, report.EXAMPLES),
)
_GROUPS = (("fetch", fetch.HELP, fetch.COMMANDS),)
"""Commands of several words; the help lists them first."""

_Command = tuple[Callable[..., None], tuple[tuple[str, str], ...]]


def register(app: typer.Typer) -> None:
    """Add every command and ``--version``."""
    app.callback()(_root)
    _add(app, _COMMANDS)
    for name, about, commands in _GROUPS:
        group = typer.Typer(rich_markup_mode=None)
        _add(group, commands)
        examples = tuple(example for _, examples in commands for example in examples)
        app.add_typer(group, name=name, help=about, epilog=_format_examples(examples), no_args_is_help=True)


def _add(app: typer.Typer, commands: Iterable[_Command]) -> None:
    for function, examples in commands:
        app.command(epilog=_format_examples(examples))(_until_nobody_reads(function))
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
    for of_labels, examples in labels.COMMANDS:
        group.command(epilog=_format_examples(examples))(_until_nobody_reads(of_labels))
    app.add_typer(group, name="labels", help=labels.HELP, epilog=_format_examples(labels.EXAMPLES))


def _until_nobody_reads(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command end well when the reader of its output, such as `head`, has gone."""

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
    """Nothing: the options of the program itself act when they are read."""


def _format_examples(examples: tuple[tuple[str, str], ...]) -> str:
    width = max(len(command) for command, _ in examples)
    lines = [f"  {command:<{width}}  # {what}" for command, what in examples]
    # The character \b keeps click from filling the lines into a paragraph.
    return "\b\n" + "\n".join(["Examples:", *lines])
