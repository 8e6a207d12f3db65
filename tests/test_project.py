"""The project as a whole: what its files say agrees, and importing it is cheap."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sffshards
from tests.commands import COMMANDS

ROOT = Path(__file__).parents[1]
HEAVY = ["av", "datasets", "decord", "matplotlib", "pandas", "pytorch_lightning", "sklearn", "tensorboard", "torch"]


def test_the_installed_version_is_the_one_that_the_package_says():
    assert importlib.metadata.version("sffshards") == sffshards.__version__


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {sffshards.__version__}\n" in citation


def test_the_citation_names_the_paper():
    assert "10.1007/s11207-024-02276-0" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_the_changelog_opens_with_what_is_not_released_yet():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def test_every_direct_dependency_is_pinned_by_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    requirements = list(project["project"]["dependencies"])
    for name, group in project["dependency-groups"].items():
        if name == "bench":
            continue  # rivals: some hold others to old versions, so theirs is an environment without constraints
        requirements += [entry for entry in group if isinstance(entry, str)]
    names = {re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    assert names <= pinned


def test_the_constraints_name_no_index():
    text = (ROOT / "constraints.txt").read_text("utf-8")
    assert not re.search(r"^-|://|file:", text, re.MULTILINE)


def test_the_build_installs_one_import_name_only():
    names = {path.parts[0] for path in importlib.metadata.files("sffshards") or [] if path.suffix == ".py"}
    assert {name for name in names if not name.startswith(("_", ".."))} <= {"sffshards"}


@pytest.mark.parametrize("module", ["sffshards", "sffshards.cli", "sffshards.cli.command_list"])
def test_importing_loads_no_heavy_library(module):
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.split() == []


def test_the_help_of_every_command_needs_no_heavy_library():
    """Torch and the like raise on import here; asking for help must not notice."""
    script = f"""
import sys
import typer
sys.modules.update(dict.fromkeys({HEAVY!r}))
from typer.testing import CliRunner
from sffshards.cli import app, command_list
command_list.register(app)
for command in {COMMANDS!r}:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0 and "Usage" in result.output, (command, result.output, result.exception)
"""
    env = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env)
    assert run.returncode == 0, run.stderr


def test_the_spelling_of_what_commands_write_is_not_checked():
    """After `sffshards demo` in a checkout, the checks of the checkout must still pass."""
    outputs = (ROOT / ".gitignore").read_text("utf-8").partition("# what the commands write by default\n")[2].split()
    skipped = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["codespell"]["skip"].split(",")
    folders = {f".{name.rstrip('/*')}" for name in outputs if name.startswith("/")}
    assert {"./sffshards-demo", "./report", "./shards"} <= folders
    assert folders <= {name.rstrip("/*") for name in skipped}


def test_ci_runs_the_second_command_of_the_readme():
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks[1].strip() == 'python -m pip install "nox[uv]" && nox'
    assert f"\n{blocks[1].strip()} || status=1\n" in (ROOT / ".ci" / "run").read_text("utf-8")
