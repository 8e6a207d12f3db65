#!/bin/bash
# Several GPUs of one node under Slurm: sbatch slurm_gpus.sh train --variant oTV --batch-size 10
# --ntasks-per-node and --gpus-per-node are the number of GPUs; srun starts one process per GPU.
#SBATCH --job-name=sffshards
#SBATCH --nodes=1
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

srun --kill-on-bad-exit=1 sffshards "$@" --devices "${SFFSHARDS_DEVICES:-${SLURM_NTASKS_PER_NODE:-4}}"
code=$?
if [[ $code -eq 143 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
