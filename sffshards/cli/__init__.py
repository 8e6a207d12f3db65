"""The command line: each command parses, calls one function of the library, and prints."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from types import ModuleType

import typer

from sffshards.base.errors import InputError, SffshardsError, make_printable
from sffshards.cli.terminal_output import open_streams, show_flag

__all__ = ["app", "main"]

_INTERRUPTED = 130
"""128 plus the number of SIGINT, by which shells know a program that Ctrl-C ended."""

_RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables that Lightning reads as whole numbers when it is imported."""

_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""Environment variables for whose values torch may end the process when it is imported, before Python can catch it."""

_OURS = ("sffshards", "__main__", "")
"""Packages that are no libraries, and what is no name of one."""

app = typer.Typer(
    name="sffshards",
    help=(
        "Solar-flare forecasting from sequences of SDO/HMI magnetograms: from images and label lists to shards, and "
        "from shards to trained and scored models.\n\n"
        "By default, build, train, evaluate and report each read what the step before wrote, in data/, shards/ "
        "and runs/. Start with `sffshards demo`.\n\n"
        "\b\n"
        "task     what is forecast: M48 is a flare of class M or above within 48 h\n"
        "part     one of six label lists: TrainVal0 to TrainVal4 for folds, and Test\n"
        "view     a copy of a sequence: unchanged, flipped or rotated\n"
        "variant  which sets have all six views of positives: base, oT, oTV, oTV_Test"
    ),
    no_args_is_help=True,
    # Plain help takes a third of the time of rich help.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an error of this package ends in one line and exit code 2."""
    open_streams()
    _drop_unreadable_ranks()
    sys.meta_path.insert(0, _BeforeTorch())
    try:
        from sffshards.cli import command_list

        command_list.register(app)
        app()
    except SffshardsError as error:
        print(f"error: {error.render(show_flag)}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("interrupted", file=sys.stderr)
        raise
    except KeyboardInterrupt:  # while modules are imported; Typer turns later ones into an exit
        print("interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except Exception as error:
        line = _explain(error)
        if line is None:
            raise
        print(make_printable(f"error: {line}"), file=sys.stderr)
        sys.exit(2)


def _explain(error: Exception) -> str | None:
    """Return where, what and what to do, for an error that is not of this package; None for one that is its fault."""
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); use fewer --workers or a smaller --batch-size"
    if isinstance(error, UnicodeEncodeError):  # of a library that encodes a path
        found = f"{error.object[:300]}: a name that is not in UTF-8, which a library needs"
        return f"{found}; rename the file or folder, or choose another"
    if library := _find_failed_import(error):
        found = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        fix = "check its installation, its environment variables, and that no file or folder of this name is imported"
        return f"{library}: cannot be imported ({found}); {fix} instead"
    if isinstance(error, OSError):  # while checking a path, or writing to standard output
        found = (error.strerror or str(error)).lower()
        return f"{error.filename or 'standard output'}: {found}; check the path and its permissions"
    return None


def _find_failed_import(error: Exception) -> str | None:
    """Return the name of the library that cannot be imported, or in whose place another module of its name was.

    Some raise errors for values of environment variables.
    """
    found = ""
    if isinstance(error, ImportError) and error.name:
        found = error.name
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        found = error.obj.__name__
    else:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            package = str(frame.f_globals.get("__name__"))
            if frame.f_code.co_name == "<module>" and package.partition(".")[0] not in _OURS:
                found = package  # of several libraries, the one that was imported last
    library = found.partition(".")[0]
    return library if library not in _OURS else None


def _drop_unreadable_ranks() -> None:
    """Remove ranks that are not numbers, which no launcher has set, from the environment."""
    for name in _RANKS:
        if not os.environ.get(name, "0").isdecimal():
            del os.environ[name]


class _BeforeTorch:
    """A finder of modules that finds none: it checks the variables of torch's allocator before torch is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Check once; the finders after this one find the module."""
        if name == "torch":
            sys.meta_path.remove(self)
            _check_allocator()


def _check_allocator() -> None:
    """Raise `InputError` if another process that imports torch with these variables is ended by torch."""
    named = {name: os.environ[name] for name in _ALLOCATOR if name in os.environ}
    command = [sys.executable, "-c", "import torch"]
    if named and subprocess.run(command, capture_output=True, check=False).returncode < 0:
        raise InputError(
            f"environment variable {' or '.join(named)}",
            expected="settings that torch knows, such as expandable_segments:True",
            found=" and ".join(repr(value[:80]) for value in named.values()),
            fix="correct it, or unset it",
        )
