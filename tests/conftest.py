"""What all tests share: the published data, where there is any, and how hypothesis searches."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.command_chain import Chain

# Machines differ in speed, so no test has a deadline; in CI the same examples come every time.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

# A shell lets what it runs in the background ignore Ctrl-C, and so would what tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """What all commands leave, given one after the other on small inputs; it takes a minute."""
    from tests.command_chain import import_everything, make_chain

    import_everything()
    with make_chain(tmp_path_factory.mktemp("chain")) as made:
        yield made


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that SFFSHARDS_REAL_DATA names: `labels/` with the published lists, `real-mini/` with images."""
    folder = os.environ.get("SFFSHARDS_REAL_DATA")
    if not folder:
        pytest.skip("SFFSHARDS_REAL_DATA is not set")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"SFFSHARDS_REAL_DATA: expected a folder, found none at {path}")
    return path


@pytest.fixture(scope="session")
def real_labels(real_data: Path) -> Path:
    """The published label lists: `M24/` with the published sequence lists, and `M48/`."""
    return real_data / "labels"


@pytest.fixture(scope="session")
def real_mini(real_data: Path) -> Path:
    """A small set of real images with its lists: `magnetogram_jpg/`, `M24/` and `M48/`."""
    return real_data / "real-mini"
