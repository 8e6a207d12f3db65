"""Connect to a Dask cluster, or start one."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sffshards.base.errors import Field, InputError, StorageError
from sffshards.executors.dask_executor import DaskExecutor

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["open_cluster"]

_TIMEOUT_S = 30
"""Time in seconds to wait for a scheduler, and for a worker of a cluster that runs already."""
_MAX_DEATHS = 2
"""Workers that a task may end, one after another, before the next one ends it: three in all."""
_LOCAL_SETTINGS = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}
"""Settings of Dask for workers of this machine: looking at each a hundred times a second took a fifth of their time."""
_PROLOGUE = "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False"
"""The same for workers in jobs, in the language of their script."""
_BATCH_SYSTEMS = {"pbs": "PBSCluster", "slurm": "SLURMCluster"}
_WALLTIMES = {
    "pbs": (r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+)(?:\.\d+)?",),
    "slurm": (
        r"(?P<minutes>\d+)(?::(?P<seconds>\d+))?",
        r"(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)",
        r"(?P<days>\d+)-(?P<hours>\d+)(?::(?P<minutes>\d+)(?::(?P<seconds>\d+))?)?",
    ),
}
"""Forms of a walltime, as the manuals of qsub and sbatch describe them."""
_WALLTIME_FORMS = {
    "pbs": "[[hours:]minutes:]seconds",
    "slurm": "minutes[:seconds], hours:minutes:seconds, or days-hours[:minutes[:seconds]]",
}
_FORMS = "tcp://host:port, the path of a scheduler file (.json), pbs, slurm, or local:N"


def open_cluster(name: str, *, num_jobs: int = 1, one_worker_per_job: bool = False) -> DaskExecutor:
    """Connect to a Dask cluster, or start one.

    Parameters
    ----------
    name
        ``tcp://host:8786`` or the path of a scheduler file: a cluster that runs already. ``pbs`` or ``slurm``: jobs of
        the batch system, as the section ``jobqueue`` of the user's Dask configuration describes them.
        ``local:4``: four processes of this machine.
    num_jobs
        Number of jobs to keep queued or running in the batch system.
    one_worker_per_job
        Whether a job runs one worker, which has the whole machine or the job's GPU; otherwise one per core, where the
        configuration does not name a number of processes.

    Raises
    ------
    InputError
        If the name has another form, a package is not installed, or nothing answers.
    """
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise _lack("distributed") from None
    import dask

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    own = {"distributed.scheduler.allowed-failures": _MAX_DEATHS}
    if name.startswith("local:"):  # read whenever a process ends: a busy machine may take long to start another
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"})
    if name in _BATCH_SYSTEMS:
        with dask.config.set(own):
            cluster = _start_jobs(name, num_jobs=num_jobs, one_worker_per_job=one_worker_per_job)
            return DaskExecutor(_owning_client(cluster), one_worker_per_job=one_worker_per_job)
    if match := re.fullmatch(r"local:([1-9]\d{0,3})", name):
        with dask.config.set(own | _LOCAL_SETTINGS):
            return DaskExecutor(_owning_client(_start_processes(int(match[1]))), timeout_s=_TIMEOUT_S)
    return DaskExecutor(_connect(name), timeout_s=_TIMEOUT_S)


def _start_processes(num_workers: int) -> Any:
    """Start workers on this machine."""
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            memory_limit=None,  # as for processes without Dask, which would pause them instead
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # any free port, where Dask listens all the same
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise StorageError(
            "a worker of this machine",
            expected="a process that starts",
            found=" ".join(str(error).split())[:100],
            fix="run the same command again, with fewer workers if memory is short",
        ) from error


def _owning_client(cluster: Any) -> Client:
    from distributed import Client

    return Client(cluster)


def _connect(name: str) -> Client:
    from distributed import Client

    if name.endswith(".json"):
        if not Path(name).is_file():
            raise InputError(
                Field("cluster"), expected="a scheduler file", found=f"no file {name}", fix=f"name {_FORMS}"
            )
        where = {"scheduler_file": name}
    elif re.fullmatch(r"(tcp|tls|ucx)://\S+:\d+", name):
        where = {"address": name}
    else:
        raise InputError(Field("cluster"), expected=_FORMS, found=repr(name[:60]), fix="name one of them")
    try:
        return Client(**where, timeout=_TIMEOUT_S)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            Field("cluster"),
            expected="a scheduler that answers",
            found=f"none at {name} ({' '.join(str(error).split())[:100]})",
            fix="start one with `dask scheduler`, or check the address",
        ) from error


def _start_jobs(name: str, *, num_jobs: int, one_worker_per_job: bool) -> Any:
    """Queue jobs of a batch system, which are replaced when they end."""
    import dask

    jobqueue = _import_jobqueue()
    settings = {key.replace("_", "-"): value for key, value in dask.config.get(f"jobqueue.{name}").items()}
    if missing := [key for key in ("cores", "memory") if not settings.get(key)]:
        raise InputError(
            f"jobqueue.{name} in the Dask configuration",
            expected="a description of a job: cores, memory, walltime, queue",
            found=f"no {' and no '.join(missing)}",
            fix="write it to ~/.config/dask/jobqueue.yaml; the documentation of dask-jobqueue has examples",
        )
    chosen = _complete(settings, name)
    if one_worker_per_job or settings.get("processes") is None:
        chosen["processes"] = 1 if one_worker_per_job else settings.get("cores")
    try:
        cluster = getattr(jobqueue, _BATCH_SYSTEMS[name])(**chosen)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"jobqueue.{name} in the Dask configuration",
            expected="settings with which a scheduler starts here",
            found=" ".join(str(error).split())[:200],
            fix="correct them; scheduler-options and interface are those that concern the scheduler",
        ) from error
    cluster.adapt(minimum_jobs=num_jobs, maximum_jobs=num_jobs)
    return cluster


def _complete(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the settings that are passed on: those of the user's to which something is added, with that."""
    arguments = settings.get("worker-extra-args") or settings.get("extra") or []
    prologue = settings.get("job-script-prologue") or settings.get("env-extra") or []
    scheduler = {key.replace("-", "_"): value for key, value in (settings.get("scheduler-options") or {}).items()}
    scheduler.pop("allowed_failures", None)  # `_MAX_DEATHS`, on which the executor relies
    life = _limit_life(settings.get("walltime"), name=name, given=arguments)
    return {
        # One thread, also where a process has several cores: it computes one task at a time.
        "worker_extra_args": ["--nthreads", "1", *arguments, *life],
        "job_script_prologue": [*prologue, _PROLOGUE],
        # Any free port, where the user names none: several users share a login node.
        "scheduler_options": {"dashboard_address": ":0"} | scheduler,
        "silence_logs": logging.CRITICAL,
    }


def _import_jobqueue() -> ModuleType:
    """Import dask-jobqueue, which makes Ctrl-C end the program without a word; keep what Ctrl-C did before."""
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ModuleNotFoundError:
        raise _lack("dask-jobqueue") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def _limit_life(walltime: object, *, name: str, given: Sequence[object]) -> list[str]:
    """Return options by which workers end in good order before the wall time of their job, not all at once.

    There are none where a job has no limit, or the options that the user has given already contain one.
    """
    if walltime is None or any(str(option).startswith("--lifetime") for option in given):
        return []
    limit = _parse_walltime(str(walltime), name)
    if not limit:  # Slurm's 0 stands for no limit
        return []
    margin = min(timedelta(minutes=5), limit / 10)
    stagger = min(timedelta(minutes=2), limit / 20)
    life = limit - margin - stagger
    return ["--lifetime", f"{life.total_seconds():.0f}s", "--lifetime-stagger", f"{stagger.total_seconds():.0f}s"]


def _parse_walltime(text: str, name: str) -> timedelta:
    """Parse a walltime as the batch system of this name reads it."""
    matches = (re.fullmatch(form, text.strip(), re.ASCII) for form in _WALLTIMES[name])
    if match := next(filter(None, matches), None):
        with suppress(OverflowError, ValueError):  # of numbers with very many digits
            limit = timedelta(**{unit: int(number) for unit, number in match.groupdict().items() if number})
            if limit or name == "slurm":
                return limit
    raise InputError(
        f"jobqueue.{name}.walltime in the Dask configuration",
        expected=_WALLTIME_FORMS[name],
        found=repr(text[:40]),
        fix='write it in quotes in ~/.config/dask/jobqueue.yaml, such as "24:00:00"',
    )


def _lack(package: str) -> InputError:
    return InputError(
        Field("cluster"),
        expected=f"the package {package}",
        found="none",
        fix='install it with `python -m pip install "sffshards[dask]"`',
    )
