"""The README and the pages of the documentation do what they say.

Blocks are run page by page, in order, in one empty folder for each page:

- ``python``: run in one namespace for the page;
- ``console``: each line after ``$`` is run by bash and must succeed; output that is shown must be what comes out, where
  ``...`` stands for anything;
- ``sh``: needs the published data, a GPU or a fresh machine, so is not run; but every ``sffshards`` command in it must
  exist and have the options that are shown;
- ``text`` and the languages of files: shown only.
"""

from __future__ import annotations

import doctest
import functools
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN_ONLY = {"text", "json", "toml", "yaml", "bibtex"}
FENCE = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$")
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    body: str

    @property
    def where(self) -> str:
        """The page and line, as an editor finds it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def find_blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"],
            body=re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE),
        )
        for match in FENCE.finditer(text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_does_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in find_blocks(page):
        if block.language == "python":
            # Empty lines before the code make a traceback show the page's own line numbers.
            exec(compile("\n" * block.line + block.body, block.where, "exec"), namespace)
        elif block.language == "console":
            run_console(block)
        elif block.language == "sh":
            check_commands(block)
        else:
            assert block.language in SHOWN_ONLY, f"{block.where}: no rule for a block of {block.language!r}"


def run_console(block: Block) -> None:
    body = block.body.replace("\\\n", "")
    assert body.startswith("$ "), f"{block.where}: expected a line that starts with '$ '"
    for entry in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, shown = entry.partition("\n")
        run = run_bash(command)
        output = run.stdout + run.stderr
        assert run.returncode == 0, f"{block.where}: $ {command}\nexit code {run.returncode}\n{output}"
        if shown.strip():
            same = doctest.OutputChecker().check_output(shown.strip() + "\n", output.strip() + "\n", ELLIPSIS)
            assert same, f"{block.where}: $ {command}\nexpected\n{shown}\nfound\n{output}"


def check_commands(block: Block) -> None:
    for line in block.body.replace("\\\n", "").splitlines():
        for part in re.split(r"&&|\|\||;|\|", line):
            words = shlex.split(part, comments=True)
            # A command may follow a launcher, as in `srun sffshards train`.
            if "sffshards" in words and words[-1] != "sffshards":
                command, *arguments = words[words.index("sffshards") + 1 :]
                if arguments and is_group(command):
                    command = f"{command} {arguments.pop(0)}"
                unknown = {word.split("=")[0] for word in arguments if word.startswith("-")} - options_of(command)
                assert not unknown, f"{block.where}: {command} has no {', '.join(sorted(unknown))}"


def options_of(command: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_of(command)))


def is_group(command: str) -> bool:
    return "\nCommands:\n" in help_of(command)


@functools.cache
def help_of(command: str) -> str:
    run = run_bash(f"sffshards {' '.join(map(shlex.quote, command.split()))} --help")
    assert run.returncode == 0, f"no command {command!r}:\n{run.stderr}"
    return run.stdout


def run_bash(command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "PATH": path, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )
