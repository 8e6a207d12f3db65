"""Which runs lie in a folder, and what they are computed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sffshards.base.errors import Field, InputError
from sffshards.domain.task import Task
from sffshards.training import RECORD_NAME, find_folds, read_record

if TYPE_CHECKING:
    import torch

__all__ = ["choose_device", "find_runs"]


def find_runs(place: Path) -> dict[Path, Task]:
    """Give a run itself, or all runs in a folder such as ``runs/`` or ``runs/48h/``, each with its horizon.

    Raises
    ------
    InputError
        If there is none.
    """
    records = (path for depth in ("", "*/", "*/*/") for path in sorted(place.glob(f"{depth}fold*/{RECORD_NAME}")))
    runs = dict.fromkeys(path.parent.parent for path in records)
    if not runs:
        raise InputError(
            place,
            expected="a run, with fold0/run.json or the like, or a folder of runs",
            found="neither" if place.is_dir() else "no such folder",
            fix="train one with `sffshards train`",
        )
    return {run: read_record(next(iter(find_folds(run).values()))).task for run in runs}


def choose_device(name: str) -> torch.device:
    """Give the device of a name; ``auto`` is the first GPU, or else the CPU.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = f"{name!r} ({str(error).splitlines()[0][:80]})"
        raise InputError(
            Field("device"), expected="a device of this machine", found=found, fix="choose another"
        ) from None
    return device
