#!/bin/bash
# One GPU under Slurm: sbatch slurm_one_gpu.sh train --variant oTV
#SBATCH --job-name=sffshards
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# --signal is sent to srun's processes 300 s before the time limit: training saves after its step and ends with 143.
set -uo pipefail

srun sffshards "$@" --devices "${SFFSHARDS_DEVICES:-1}"
code=$?
if [[ $code -eq 143 ]]; then
    scontrol requeue "$SLURM_JOB_ID" # the same job waits again, and resumes
fi
exit "$code"
