"""Jobs of batch systems for Dask: when their workers end, and what becomes of the user's settings."""

from __future__ import annotations

import pytest

from sffshards.base.errors import InputError
from sffshards.executors.dask_clusters import _complete, _limit_life


@pytest.mark.parametrize(
    ("name", "walltime", "minutes"),
    [
        ("slurm", "60", 60),
        ("slurm", 60, 60),
        ("slurm", "90:00", 90),
        ("slurm", "02:00:30", 120.5),
        ("slurm", "1-12", 36 * 60),
        ("slurm", "1-12:30", 36 * 60 + 30),
        ("slurm", "1-12:30:30", 36 * 60 + 30.5),
        ("pbs", "3600", 60),
        ("pbs", "90:00", 90),
        ("pbs", "02:00:30", 120.5),
        ("pbs", "00:10:00.5", 10),
    ],
)
def test_workers_end_before_the_walltime_as_the_batch_system_reads_it(
    name: str, walltime: object, minutes: float
) -> None:
    margin = min(5, minutes / 10) + min(2, minutes / 20)
    assert _limit_life(walltime, name=name, given=[])[:2] == ["--lifetime", f"{(minutes - margin) * 60:.0f}s"]
    assert _limit_life(walltime, name=name, given=["--lifetime", "1h"]) == []


def test_a_job_without_a_limit_has_workers_without_one() -> None:
    assert _limit_life(None, name="pbs", given=[]) == _limit_life("0", name="slurm", given=[]) == []


@pytest.mark.parametrize(
    ("name", "walltime"),
    [
        *(("slurm", text) for text in ("", "1h", "12:", "1-", "1-1:1:1:1")),
        *(("pbs", text) for text in ("1-12", "0", "1:2:3:4", "9" * 40)),
    ],
)
def test_a_walltime_that_cannot_be_read_is_named(name: str, walltime: str) -> None:
    where = rf"^jobqueue\.{name}\.walltime in the Dask configuration"
    with pytest.raises(InputError, match=f"{where}: expected .*, found '{walltime}'; write it in quotes"):
        _limit_life(walltime, name=name, given=[])


def test_settings_of_the_user_are_kept_beside_those_that_are_added() -> None:
    mine = {
        "extra": ["--resources", "GPU=1"],
        "env-extra": ["module load cuda"],
        "scheduler-options": {"interface": "ib0", "dashboard-address": ":8799", "allowed_failures": 9},
    }
    chosen = _complete(mine, "slurm")
    assert chosen["worker_extra_args"] == ["--nthreads", "1", "--resources", "GPU=1"]
    assert chosen["job_script_prologue"][0] == "module load cuda"
    assert chosen["scheduler_options"] == {"interface": "ib0", "dashboard_address": ":8799"}
    assert _complete({}, "pbs")["scheduler_options"] == {"dashboard_address": ":0"}
