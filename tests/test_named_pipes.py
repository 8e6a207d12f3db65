"""Named pipes in place of files and folders: a command that opened one would wait for ever for its other end."""

from __future__ import annotations

import inspect
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sffshards.cli import app, command_list
from tests.command_chain import DAY, FLARES, Chain, copy_files
from tests.forked import describe_fault, run_forked, use_fast_network_in_time

pytestmark = pytest.mark.long

_TRAINING = ["--model", "mvit_tiny", "--epochs", "1", "--accelerator", "cpu", "--allow-one-class"]
_NETWORK = "http://127.0.0.1:9"

COMMANDS: dict[str, list[str]] = {
    "demo": ["demo"],
    "synth": ["synth", "out=new", "--harps", "2", "--frames", "1"],
    "fetch dataset": ["fetch", "dataset", "data=new"],
    "fetch labels": ["fetch", "labels", "data=new", "--url", _NETWORK],
    "fetch weights": ["fetch", "weights", "--url", _NETWORK],
    "fetch jsoc": ["fetch", "jsoc", *DAY, "--server", _NETWORK],
    "ingest": ["ingest", "source=fits", "--out", "new"],
    "labels check": ["labels", "check", "data=data"],
    "labels rebuild": ["labels", "rebuild", "data=data", *FLARES, "--out", "new"],
    "labels diff": ["labels", "diff", "first=data", "second=labels"],
    "labels split": ["labels", "split", "data=data", "--out", "new"],
    "sequences": ["sequences", "lists=data/M48/flare_Mclass_48h_Test.txt", "--out", "new"],
    "build": ["build", "data=data", "--horizon", "48h", "--out", "new"],
    "info": ["info", "shards=shards"],
    "verify": ["verify", "shards=shards", "--deep"],
    "show": ["show", "--shards", "shards", "--out", "new.png"],
    "baselines": ["baselines", "data=data", "--out", "new"],
    "train": ["train", "--fold", "0", *_TRAINING, "--out", "new"],
    "evaluate": ["evaluate", "runs=runs", "--device", "cpu"],
    "reproduce": ["reproduce", "--variants", "base", "--folds", "0", *_TRAINING, "--out", "new"],
    "report": ["report", "runs=runs"],
    "predict": ["predict", "--run", "runs/48h/base", "--images", "data/magnetogram_jpg", "--device", "cpu"],
}
"""Each command as it works; what is named before a sign of equality is an argument without a flag."""

WITH = {"--flares": ["--harp-map", "data/harps.txt"], "--harp-map": ["--flares", "data/flares.csv"], "--keywords": []}
"""What an option needs besides."""

NOT_READ = {
    ("build", "--stage"): "a local folder is built in directly",
    **{(command, "--cache-dir"): "only remote shards are cached" for command in ("train", "evaluate", "reproduce")},
}


def list_places(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield every command with each of its options that take a path."""
    if hasattr(command, "list_commands"):
        for one in command.list_commands(None):
            yield from list_places(command.get_command(None, one), f"{name} {one}".strip())
        return
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    for parameter in command.params:
        if "Path" in str(hints.get(parameter.name)) or parameter.name in ("shards", "out", "weights"):
            yield name, (parameter.opts or [parameter.name])[0]


def find_places() -> list[tuple[str, str]]:
    command_list.register(app)
    return sorted({*list_places(typer.main.get_command(app), "")} - {*NOT_READ})


def replace_place(arguments: list[str], option: str) -> list[str]:
    """Return a command line whose option, or argument of that name, is a pipe."""
    if not option.startswith("-"):
        arguments = [f"{option}=pipe" if one.startswith(f"{option}=") else one for one in arguments]
        assert f"{option}=pipe" in arguments, option
    elif option in arguments:
        at = arguments.index(option) + 1
        arguments = [*arguments[:at], "pipe", *arguments[at + 1 :]]
    else:
        arguments = [*arguments, option, "pipe", *WITH.get(option, [])]
    return [re.sub(r"^[a-z]+=", "", one) for one in arguments]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_in_place_of_a_file_or_folder_is_refused(name: str, chain: Chain, tmp_path: Path) -> None:
    folder, faults = tmp_path / "home", {}
    copy_files(chain.folder, folder, tuple(path.name for path in chain.folder.iterdir()))
    os.mkfifo(folder / "pipe")
    for command, option in find_places():
        if command == name:
            done = run_forked(*replace_place(COMMANDS[name], option), cwd=folder, before=use_fast_network_in_time)
            fault = describe_fault(done) or (None if done.code == 2 else f"is taken, exit code {done.code}")
            if fault:
                faults[option] = fault
    assert faults == {}


def test_every_command_is_tried() -> None:
    assert {command for command, _ in find_places()} == {*COMMANDS}
