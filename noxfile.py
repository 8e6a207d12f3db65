"""Checks of the project, for developers and CI; plain ``nox`` runs those that every change must pass."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
MAIN = "3.12"
"""The Python of the sessions that need only one."""
ROOT = Path(__file__).parent
REPORTS = ROOT / ".nox" / "reports"
"""One JUnit file per test session; `.ci/run` adds them up."""
CACHES = ROOT / ".nox" / "caches"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(CACHES / "huggingface"), "TORCH_HOME": str(CACHES / "torch")}
"""Keeps tests away from servers and from the user's downloads."""
TEST_ENV = OFFLINE | {
    "OMP_NUM_THREADS": "1",  # one core per test process
    "PYTHONDONTWRITEBYTECODE": "",  # otherwise every test process compiles torch again
}

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
# `minimums` and `slow` include the tests of Python 3.11 and 3.12.
nox.options.sessions = ["lint", "typecheck", "minimums", "slow", "tests-3.13", "docs", "newcomer"]


def _show_pyenv_pythons() -> None:
    """Make pyenv's shims find all our Pythons, if pyenv is used and no version is selected yet."""
    if shutil.which("pyenv") is None or "PYENV_VERSION" in os.environ:
        return
    listing = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout
    newest: dict[str, tuple[int, str]] = {}
    for match in re.finditer(r"^(\d+\.\d+)\.(\d+)$", listing, re.MULTILINE):
        minor, patch = match[1], int(match[2])
        newest[minor] = max(newest.get(minor, (-1, "")), (patch, match[0]))
    # The running Python comes first, so that plain `python` does not change.
    order = sorted(PYTHONS, key=lambda minor: minor != f"{sys.version_info[0]}.{sys.version_info[1]}")
    if versions := [newest[minor][1] for minor in order if minor in newest]:
        os.environ["PYENV_VERSION"] = ":".join(versions)


_show_pyenv_pythons()


def _install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Install the pinned dependency groups, and the package in editable mode."""
    args = [f"--group={group}" for group in groups]
    if session.venv_backend != "uv":
        session.install("pip>=25.1", silent=True)  # the first to read dependency groups
    session.install("--constraint", "constraints.txt", *args, *(["--editable", "."] if package else []))


def _pytest(session: nox.Session, *args: str, spread: str = "loadfile") -> None:
    """Run pytest on a few processes, and write a JUnit file named after the session.

    A process that crashes ends the session: xdist's replacements of it may wait for ever.
    """
    processes = ["--numprocesses=auto", "--maxprocesses=4", "--max-worker-restart=0", f"--dist={spread}"]
    report = REPORTS / f"{session.name.replace('.', '_')}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    session.run("python", "-m", "pytest", f"--junit-xml={report}", *processes, *args, *session.posargs, env=TEST_ENV)


@nox.session(python=MAIN)
def lint(session: nox.Session) -> None:
    """Style, common bugs, spelling, and the order of the layers."""
    _install(session, "lint", package=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": str(ROOT)})


@nox.session(python=MAIN)
def typecheck(session: nox.Session) -> None:
    """Types, checked by mypy in strict mode."""
    _install(session, "typecheck")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, with warnings as errors."""
    _install(session, "test")
    _pytest(session)


@nox.session(python=MAIN)
def coverage(session: nox.Session) -> None:
    """The tests, including the slow ones, with branch coverage."""
    _install(session, "test")
    _pytest(session, "-m", "not realdata and not long and not docs", "--cov", "--cov-report=term", spread="worksteal")


@nox.session(python=MAIN)
def slow(session: nox.Session) -> None:
    """The tests, with those that take more than a second or two, such as interrupted builds and real training."""
    _install(session, "test")
    _pytest(session, "-m", "not realdata and not long and not docs", spread="worksteal")


@nox.session(python=MAIN)
def long(session: nox.Session) -> None:
    """Tests that take minutes, to run before a release: job scripts, interrupted experiments, compiled networks."""
    _install(session, "test")
    _pytest(session, "-m", "long", spread="worksteal")


@nox.session(python=PYTHONS[0])
def minimums(session: nox.Session) -> None:
    """The tests with the lowest versions that pyproject.toml allows."""
    if session.venv_backend != "uv":
        session.skip("only uv can resolve to the lowest versions: python -m pip install 'nox[uv]'")
    session.install("--resolution=lowest-direct", "--group=test", "--editable", ".")
    _pytest(session)


@nox.session(python=MAIN)
def docs(session: nox.Session) -> None:
    """The documentation: every code block runs, and the site builds without a warning."""
    _install(session, "docs")
    _pytest(session, "-m", "docs", "tests/test_docs.py", spread="worksteal")
    env = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", "--site-dir", str(ROOT / ".nox" / "site"), env=env)


@nox.session(python=PYTHONS[0])
def newcomer(session: nox.Session) -> None:
    """The first command of the README, in a fresh environment and a clean copy; its network must learn."""
    command = _first_command((ROOT / "README.md").read_text("utf-8"))
    folder = ROOT / ".nox" / "newcomer"
    shutil.rmtree(folder, ignore_errors=True)
    checkout = folder / "sffshards"
    _copy_checkout(checkout)
    session.run("python", "-m", "venv", str(folder / "venv"))
    bin_dir = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    env = {"PATH": os.pathsep.join([str(bin_dir), os.environ["PATH"]]), "VIRTUAL_ENV": str(bin_dir.parent)}
    env |= {"PIP_NO_COMPILE": "1", "PYTHONDONTWRITEBYTECODE": ""}  # compile only what the command imports
    with session.chdir(checkout):
        session.log(command)
        session.run("bash", "-euo", "pipefail", "-c", command, external=True, env=env)
    _check_skill(session, checkout / "sffshards-demo")
    shutil.rmtree(folder)


@nox.session(python=MAIN)
def realdata(session: nox.Session) -> None:
    """The tests on the published data, in the folder that SFFSHARDS_REAL_DATA names."""
    if not os.environ.get("SFFSHARDS_REAL_DATA"):
        session.error("SFFSHARDS_REAL_DATA must name the folder of the published data")
    _install(session, "test")
    _pytest(session, "-m", "realdata")


@nox.session(python=MAIN)
def bench(session: nox.Session) -> None:
    """The benchmarks, on an idle machine; name a script to run it alone."""
    session.install("--group=bench", "--editable", ".")
    for script in session.posargs or sorted(str(path) for path in Path("benchmarks").glob("*.py")):
        session.run("python", script)


@nox.session(python=MAIN)
def constraints(session: nox.Session) -> None:
    """Update constraints.txt: the versions of everything that a session installs."""
    session.install("uv", "--constraint", "constraints.txt")
    args = ["pip", "compile", "pyproject.toml", "--group=dev", "--universal", "--python-version=3.11", "--no-config"]
    quiet = ["--quiet", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate"]
    header = "--custom-compile-command=nox -s constraints"
    upgrade = "--upgrade" if "--upgrade" in session.posargs else "--no-upgrade"
    session.run("uv", *args, *quiet, header, upgrade, "--output-file=constraints.txt")


def _first_command(readme: str) -> str:
    """Return the first shell command in the README."""
    block = re.search(r"^```(?:sh|console)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    if block is None:
        raise ValueError("README.md: expected a block ```sh with the first command, found none")
    return "\n".join(line.removeprefix("$ ") for line in block[1].splitlines() if not line.startswith("#"))


def _check_skill(session: nox.Session, demo: Path) -> None:
    """Fail if the demo's network has no skill on regions that it was not trained on."""
    for path in demo.glob("runs/*/*/scores.json"):
        folds = json.loads(path.read_text("utf-8"))["folds"]
        skills = [fold["scores"]["TSS"] for fold in folds if fold["stage"] == "test"]
        session.log(f"true skill statistic on the test set: {skills}")
        if skills and min(skills) >= 0.5:
            return
    session.error("the demo's network has not learnt: expected a true skill statistic of at least 0.5 on the test set")


def _copy_checkout(target: Path) -> None:
    """Copy the files that git tracks, or would track after `git add`, as in a clone."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
