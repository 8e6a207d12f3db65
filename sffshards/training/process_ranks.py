"""Which processes train together: those that torchrun, srun or Lightning started for the devices of this training.

Variables such as ``RANK`` that another program left in the environment do not make a process one of several.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sffshards.base.errors import Field, InputError
from sffshards.training.training_config import TrainingOptions

_SLURM_STEP = "SLURM_STEP_ID"
"""Environment variable that srun sets in the processes that it starts; a batch script does not have it."""

_RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("TORCHELASTIC_RUN_ID", "JSM_NAMESPACE_RANK", _SLURM_STEP, "SLURM_STEPID"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE"),
)
"""Environment variables by which this module, Lightning or torch know the ranks of processes."""

_CHECKED: set[int] = set()
"""Numbers of ranks for which the variables were checked: Lightning sets some when it trains, and removes one later."""


def is_first_process(options: TrainingOptions) -> bool:
    """Return whether this process is the first of those that train together, the only one that writes and prints."""
    if options.num_ranks == 1:
        return True
    if TorchElasticEnvironment.detect():
        return _read_number(os.environ, "RANK") == 0
    if _SLURM_STEP in os.environ:
        return _read_number(os.environ, "SLURM_PROCID") == 0
    node = "NODE_RANK" if "NODE_RANK" in os.environ else "GROUP_RANK"
    return _read_number(os.environ, "LOCAL_RANK") == _read_number(os.environ, node) == 0


def remove_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables for a process that trains alone, without those of a launcher."""
    return {name: value for name, value in environment.items() if name not in _RANK_VARIABLES}


def choose_environment(*, devices: int, num_nodes: int) -> ClusterEnvironment:
    """Return how the ranks find each other.

    Under Slurm, Lightning takes any process for one of ``SLURM_NTASKS`` that srun started, and waits for the others.
    Here it is one only if srun did start it, and if srun started as many as there are ranks. Lightning's requeueing of
    jobs is off.

    Raises
    ------
    InputError
        If torchrun, srun or another launcher started another number of processes than there are ranks, if several nodes
        are asked for in a Slurm job without srun, or if processes must be started from a session that cannot.
    """
    num_ranks = devices * num_nodes
    if TorchElasticEnvironment.detect():
        _check_started("torchrun", _read_number(os.environ, "WORLD_SIZE", 1), num_ranks)
        return TorchElasticEnvironment() if num_ranks > 1 else LightningEnvironment()
    if "SLURM_JOB_ID" in os.environ:
        by_srun = _choose_slurm(devices=devices, num_nodes=num_nodes)
        if by_srun is not None:
            return by_srun
    if num_ranks > 1 and num_ranks not in _CHECKED:
        _check_launch(os.environ, devices=devices, num_ranks=num_ranks)
        _CHECKED.add(num_ranks)
    return LightningEnvironment()


def _choose_slurm(*, devices: int, num_nodes: int) -> SLURMEnvironment | None:
    """Return the environment of srun's tasks; None for a single process on a single node."""
    by_srun = _SLURM_STEP in os.environ
    num_tasks = _read_number(os.environ, "SLURM_NTASKS", 1) if by_srun else 1
    if num_tasks == num_nodes == 1:
        return None
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(devices))  # Lightning requires it
    per_node = _read_number(os.environ, "SLURM_NTASKS_PER_NODE", devices)
    if (num_tasks, per_node) == (devices * num_nodes, devices):
        return SLURMEnvironment(auto_requeue=False)
    raise InputError(
        Field("devices"),
        expected=f"{devices * num_nodes} Slurm tasks, {devices} per node: one for each device",
        found=f"{num_tasks} that srun started, {per_node} per node" if by_srun else "none that srun started",
        fix="start `srun sffshards ...` with --nodes equal to {num_nodes}, and --ntasks-per-node equal to {devices}",
    )


def _check_started(launcher: str, found: int, num_ranks: int) -> None:
    if found != num_ranks:
        raise InputError(
            Field("devices"),
            expected=f"{num_ranks} processes that {launcher} started: one for each of {{devices}} x {{num_nodes}}",
            found=str(found),
            fix="pass as many {devices} as processes per node, or start the command without a launcher",
        )


def _check_launch(environment: Mapping[str, str], *, devices: int, num_ranks: int) -> None:
    """Check that the processes of this node can be started, or that this is one that was."""
    if "LOCAL_RANK" in environment:  # set by Lightning in the processes that it starts, together with the number of all
        found = environment.get("WORLD_SIZE", "none")
        if found != str(num_ranks) or _read_number(environment, "LOCAL_RANK") >= devices:
            raise InputError(
                "environment variable LOCAL_RANK",
                expected=f"a rank below {devices}, beside WORLD_SIZE={num_ranks}",
                found=f"LOCAL_RANK={environment['LOCAL_RANK'][:20]}, WORLD_SIZE={found[:20]}",
                fix="unset LOCAL_RANK, which another program left, or pass the {devices} that were started",
            )
        return
    main = sys.modules["__main__"]
    is_script = getattr(main, "__spec__", None) is not None or Path(sys.argv[0]).is_file()
    if devices > 1 and (hasattr(sys, "ps1") or sys.flags.interactive or not is_script):
        raise InputError(
            Field("devices"),
            expected="1 in a notebook, in an interactive session or without a script, which cannot start processes",
            found=str(devices),
            fix="pass {devices} 1, or run `sffshards train` or a script in a terminal",
        )


def _read_number(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal():
        fix = "unset it, or set it to a number"
        raise InputError(f"environment variable {name}", expected="a number", found=repr(text[:20]), fix=fix)
    return int(text)
