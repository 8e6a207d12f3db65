"""MkDocs hook that fills the page of commands with the ``--help`` of each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

MARKER = "<!-- docs/hooks.py inserts the --help of every command here. -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the help of the program and of each command at the marker."""
    if MARKER not in markdown:
        return markdown
    overview = _help()
    commands = _list_commands(overview)
    if not commands:
        raise ValueError(f"sffshards --help: expected a list of commands, found\n{overview}")
    sections = [f"```text\n{overview}```"]
    for command in commands:
        text = _help(command)
        sections.append(f"## sffshards {command}\n\n```text\n{text}```")
        of_group = {name: _help(command, name) for name in _list_commands(text)}
        sections += [f"### sffshards {command} {name}\n\n```text\n{of}```" for name, of in of_group.items()]
    return markdown.replace(MARKER, "\n\n".join(sections))


def _list_commands(text: str) -> list[str]:
    listed = re.split(r"\n\n  ?Examples:", text.partition("\nCommands:\n")[2])[0]
    return re.findall(r"^  ([a-z][\w-]*)  ", listed, re.MULTILINE)


def _help(*command: str) -> str:
    code = "from sffshards.cli import main; import sys; sys.argv[0] = 'sffshards'; main()"
    env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TYPER_USE_RICH": "0"}
    run = subprocess.run(
        [sys.executable, "-c", code, *command, "--help"], capture_output=True, text=True, check=True, env=env
    )
    return run.stdout.strip() + "\n"
