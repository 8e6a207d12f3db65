"""What made a run: versions of the packages, and the state of this package's own checkout."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import sffshards

__all__ = ["GitState", "read_git", "read_versions"]

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "webdataset", "pillow")
_TIMEOUT_SECONDS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class GitState:
    """The commit that a checkout is at."""

    commit: str
    dirty: bool
    """Whether a tracked file differs from it."""


def read_versions() -> dict[str, str]:
    """Give the versions of Python, of this package and of those that the result depends on."""
    own = {"python": platform.python_version(), "sffshards": sffshards.__version__}
    return own | {name: metadata.version(name) for name in _PACKAGES}


def read_git(package: Path | None = None) -> GitState | None:
    """Give the state of the checkout that a package lies in.

    Parameters
    ----------
    package
        Folder of the package; by default this one's.

    Returns
    -------
    None where it is installed without its repository, where the repository is not the package's own, or without git
    """
    package = (Path(sffshards.__file__).parent if package is None else package).resolve()
    commit = _ask(package, "rev-parse", "HEAD")
    top = _ask(package, "rev-parse", "--show-toplevel")
    changes = _ask(package, "status", "--porcelain", "--untracked-files=no")
    if commit is None or top is None or changes is None or Path(top) != package.parent:
        return None  # an environment may lie in a repository of the user's
    return GitState(commit=commit, dirty=bool(changes))


def _ask(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
