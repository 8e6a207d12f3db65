#!/bin/bash
# Several nodes under Slurm: sbatch --nodes=2 slurm_nodes.sh train --variant oTV
# The global batch is --batch-size x GPUs per node x nodes: --batch-size 1 here gives 8, near the published 10.
#SBATCH --job-name=sffshards
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -uo pipefail

srun --kill-on-bad-exit=1 sffshards "$@" \
    --devices "${SFFSHARDS_DEVICES:-${SLURM_NTASKS_PER_NODE:-4}}" --num-nodes "${SLURM_NNODES:-1}"
code=$?
if [[ $code -eq 143 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
