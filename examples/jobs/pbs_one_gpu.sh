#!/bin/bash
# One GPU under PBS: qsub -v SFFSHARDS_ARGUMENTS="train --variant oTV" pbs_one_gpu.sh
#PBS -N sffshards
#PBS -l select=1:ncpus=8:ngpus=1:mem=32gb
#PBS -l walltime=24:00:00
#PBS -j oe
# qsub passes no arguments to a script, so they are in a variable. Without qsub, write them after the script's name.
# `timeout` sends SIGTERM 300 s before the walltime, as PBS may send its own only seconds before SIGKILL. Training
# then saves after its step and ends with 143. To resume, submit a job with -W depend=afternotok:<this job's id>.
set -uo pipefail
cd "${PBS_O_WORKDIR:-.}" || exit 2

read -r -a arguments <<<"${SFFSHARDS_ARGUMENTS:-}"
exec timeout --preserve-status --signal=TERM "${SFFSHARDS_SECONDS:-86100}" \
    sffshards "${arguments[@]}" "$@" --devices "${SFFSHARDS_DEVICES:-1}"
