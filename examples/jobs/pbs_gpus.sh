#!/bin/bash
# Several GPUs of one node under PBS: qsub -v SFFSHARDS_ARGUMENTS="train --variant oTV" pbs_gpus.sh
# ngpus is the number of GPUs; sffshards itself starts one process per GPU.
#PBS -N sffshards
#PBS -l select=1:ncpus=32:ngpus=4:mem=128gb
#PBS -l walltime=24:00:00
#PBS -j oe
# For arguments, time limit and how to resume, see pbs_one_gpu.sh.
set -uo pipefail
cd "${PBS_O_WORKDIR:-.}" || exit 2

read -r -a arguments <<<"${SFFSHARDS_ARGUMENTS:-}"
exec timeout --preserve-status --signal=TERM "${SFFSHARDS_SECONDS:-86100}" \
    sffshards "${arguments[@]}" "$@" --devices "${SFFSHARDS_DEVICES:-4}"
