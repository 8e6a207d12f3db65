"""Which processes train together: those that Slurm or torchrun started, or those that Lightning starts here."""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sffshards.base.errors import InputError

__all__ = ["choose_environment", "is_first_process"]

_SLURM_STEP = "SLURM_STEP_ID"
"""Set by srun in what it starts, and not in a batch script."""


def choose_environment(*, devices: int, num_nodes: int) -> ClusterEnvironment | None:
    """Say how the ranks find each other; None where Lightning may find out by itself.

    Under Slurm, Lightning takes any process for one of ``SLURM_NTASKS`` that srun started, and waits for the others.
    Here it is one only if srun did start it, and as many as there are ranks. Nor does Lightning queue a job again
    behind the user's back.

    Raises
    ------
    InputError
        If srun started another number of processes than there are ranks, or several nodes are asked for without it.
    """
    if TorchElasticEnvironment.detect() or "SLURM_JOB_ID" not in os.environ:
        return None
    by_srun = _SLURM_STEP in os.environ
    num_tasks = int(os.environ.get("SLURM_NTASKS", "1")) if by_srun else 1
    if num_tasks == num_nodes == 1:
        return LightningEnvironment()
    per_node = int(os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(devices)))  # Lightning insists on it
    if (num_tasks, per_node) == (devices * num_nodes, devices):
        return SLURMEnvironment(auto_requeue=False)
    raise InputError(
        "--devices, --num-nodes",
        expected=f"{devices * num_nodes} tasks of Slurm, {devices} on a node: one for each device",
        found=f"{num_tasks} that srun started, {per_node} on a node" if by_srun else "none that srun started",
        fix="take `srun sffshards ...` with --nodes as --num-nodes is, and --ntasks-per-node as --devices is",
    )


def is_first_process() -> bool:
    """Say whether this process is the first of those that train together; it alone writes and speaks."""
    names = ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK"]
    if _SLURM_STEP in os.environ:
        names.append("SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)
