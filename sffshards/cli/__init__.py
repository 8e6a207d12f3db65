"""The command line: each command parses, calls one function of the library, and prints."""

from __future__ import annotations

import sys

import typer

from sffshards.base.errors import SffshardsError
from sffshards.cli.terminal_output import show_flag

__all__ = ["app", "main"]

_INTERRUPTED = 130
"""128 plus the number of SIGINT, by which shells know a program that Ctrl-C ended."""

app = typer.Typer(
    name="sffshards",
    help=(
        "Solar-flare forecasting from sequences of SDO/HMI magnetograms: from images and label lists to shards, and "
        "from shards to trained and scored models.\n\n"
        "By default, build, train, evaluate and report each read what the step before wrote, in data/, shards/ "
        "and runs/. Start with `sffshards demo`.\n\n"
        "\b\n"
        "task     what is forecast: M48 is a flare of class M or above within 48 h\n"
        "part     one of six label lists: TrainVal0 to TrainVal4 for the folds, and Test\n"
        "view     a copy of a sequence: unchanged, flipped or rotated\n"
        "variant  which sets have all six views of each positive sequence: base, oT, oTV, oTV_Test"
    ),
    no_args_is_help=True,
    # Plain help takes a third of the time of rich help.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an error of this package ends in one line and exit code 2."""
    from sffshards.cli import command_list

    command_list.register(app)
    try:
        app()
    except SffshardsError as error:
        print(f"error: {error.render(show_flag)}", file=sys.stderr)
        sys.exit(2)
    except MemoryError as error:
        print(f"error: not enough memory ({error}); use fewer --workers or a smaller --batch-size", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("interrupted", file=sys.stderr)
        raise
    except OSError as error:  # while checking a path, or writing to standard output
        place = error.filename or "standard output"
        found = (error.strerror or str(error)).lower()
        print(f"error: {place}: {found}; check the path and its permissions", file=sys.stderr)
        sys.exit(2)
